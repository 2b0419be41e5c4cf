//! Hosts, names, time.

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail};
use crate::lab::ClockKind;
use crate::lex::Statement;
use crate::out::Table;
use crate::shell::Shell;
use crate::values;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "host",
        aliases: &[],
        group: Group::Lab,
        usage: &["[NAME]"],
        help: "make an emulated host, or go to it",
        long: "A host is an emulated Solaris kernel. The commands that follow are for the \
               host last named. A command that needs a host when there is none yet makes \
               one called localhost. Without a name: lists the hosts.",
        examples: &["host nobel1", "host"],
        run: host,
    },
    Command {
        name: "on",
        aliases: &[],
        group: Group::Lab,
        usage: &["HOST WORDS..."],
        help: "run one command on another host",
        long: "The current host stays what it is.",
        examples: &["on fa2 show stacks"],
        run: on,
    },
    Command {
        name: "hosts",
        aliases: &[],
        group: Group::Lab,
        usage: &["", "NAME ADDR", "delete NAME", "read FILE"],
        help: "give names to addresses, as /etc/hosts does",
        long: "A name can be used wherever a command takes an address, on every host. \
               `read` takes a file in the form of /etc/hosts. Without arguments: lists \
               the names.",
        examples: &["hosts nobel1 192.168.15.1", "hosts"],
        run: hosts,
    },
    Command {
        name: "clock",
        aliases: &[],
        group: Group::Lab,
        usage: &["[emulated | real]"],
        help: "let commands move time, or the machine's clock",
        long: "With the emulated clock nothing happens between commands but what they \
               cause, time passes only in `run` and in calls that wait, and every run of a \
               script is the same: the default for scripts. With the real clock hosts live \
               by themselves, as a TUN device needs it: the default when somebody types. \
               It can be changed until the first host is made.",
        examples: &["clock real", "clock"],
        run: clock,
    },
    Command {
        name: "run",
        aliases: &[],
        group: Group::Lab,
        usage: &["for TIME", "until idle", "forever"],
        help: "let time pass",
        long: "`for` lets the time pass on every host. `until idle` lets everything happen \
               that is under way. `forever` waits for SIGINT (Ctrl-C), SIGTERM or SIGHUP, \
               then goes on with the next command: a script that builds a tunnel ends with \
               it.",
        examples: &["run for 10m", "run until idle", "run forever"],
        run,
    },
];

fn host(sh: &mut Shell, args: &Args<'_>) -> Done {
    let Some(name) = args.find("NAME") else {
        let mut t = Table::new(&["Host", "Streams", "Current"]);
        for h in sh.lab.hosts() {
            let current = sh.lab.current() == Some(h.name.as_str());
            let mark = if current { "*" } else { "" };
            t.row([
                h.name.clone(),
                h.kernel.stacks().len().to_string(),
                mark.into(),
            ]);
        }
        sh.out.table(&t);
        return Ok(());
    };
    if name.text.is_empty()
        || name
            .text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(Fail::usage("a host's name has no blanks").at(name.span));
    }
    match sh.lab.position(&name.text) {
        Some(at) => {
            sh.lab.select(at);
        }
        None => {
            sh.lab.add(&name.text)?;
        }
    }
    Ok(())
}

fn on(sh: &mut Shell, args: &Args<'_>) -> Done {
    let name = args.need("HOST")?;
    let at = sh.lab.position(&name.text).ok_or_else(|| {
        Fail::usage(format!("there is no host `{}`", name.text))
            .at(name.span)
            .meant(&name.text, sh.lab.hosts().iter().map(|h| h.name.as_str()))
            .mend(format!(
                "`host {}` makes one",
                crate::lex::quote(&name.text)
            ))
    })?;
    let words = args.rest("WORDS").to_vec();
    let before = sh.lab.select(at);
    let done = sh.run_words(&Statement { words });
    // The command may have been `host`: then that one stays.
    if sh.lab.current() == Some(name.text.as_str()) {
        sh.lab.select(before);
    }
    done
}

fn hosts(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("delete") {
        let name = args.need("NAME")?;
        if !sh.lab.names.forget(&name.text) {
            return Err(
                Fail::failed(format!("no address is called `{}`", name.text))
                    .at(name.span)
                    .meant(&name.text, sh.lab.names.iter().map(|n| n.0)),
            );
        }
        return Ok(());
    }
    if args.has("read") {
        let file = args.need("FILE")?;
        return read_hosts(sh, &file.text).map_err(|f| f.at(file.span));
    }
    if let Some(name) = args.find("NAME") {
        if name.text.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(Fail::usage("the name comes first, then the address").at(name.span));
        }
        let addr = sh.lab.names.addr(args.need("ADDR")?)?;
        sh.lab.names.define(&name.text, addr);
        return Ok(());
    }
    for (name, addr) in sh.lab.names.iter() {
        sh.out
            .line(format!("hosts {} {addr}", crate::lex::quote(name)));
    }
    Ok(())
}

/// Reads a file in the form of /etc/hosts; lines with addresses that are not IPv4 are
/// passed over, as the file is shared with IPv6.
///
/// # Errors
/// It can't be read, or a line has no address.
pub fn read_hosts(sh: &mut Shell, path: &str) -> Done {
    let text = std::fs::read_to_string(path).map_err(|e| Fail::io(path, &e))?;
    for (i, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(addr) = words.next() else { continue };
        match addr.parse() {
            Ok(std::net::IpAddr::V4(a)) => {
                for name in words {
                    sh.lab.names.define(name, a);
                }
            }
            Ok(std::net::IpAddr::V6(_)) => {}
            Err(_) => {
                return Err(
                    Fail::failed(format!("{path}:{}: `{addr}` is no address", i + 1))
                        .mend("a line has an address and its names: 10.0.0.1 nobel1"),
                );
            }
        }
    }
    Ok(())
}

fn clock(sh: &mut Shell, args: &Args<'_>) -> Done {
    let kind = match (args.has("emulated"), args.has("real")) {
        (true, _) => ClockKind::Emulated,
        (_, true) => ClockKind::Real,
        _ => {
            let kind = match sh.lab.clock {
                ClockKind::Emulated => "emulated",
                ClockKind::Real => "real",
            };
            sh.out.line(format!("clock {kind}"));
            return Ok(());
        }
    };
    if kind != sh.lab.clock && !sh.lab.hosts().is_empty() {
        return Err(
            Fail::failed("the clock can't be changed once there are hosts")
                .mend("make it the first command, or start with --clock"),
        );
    }
    sh.lab.clock = kind;
    Ok(())
}

fn run(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("until") {
        sh.lab.settle();
    } else if args.has("forever") {
        if sh.lab.clock == ClockKind::Emulated {
            return Err(
                Fail::failed("with the emulated clock nothing would happen, for ever").mend(
                    "`run for 1h` lets time pass; `clock real` as the first command, or \
                           --clock real, takes the machine's clock",
                ),
            );
        }
        sh.out.note("running: Ctrl-C or SIGTERM ends it");
        if let Some(signal) = sh.signals.clone().wait(None) {
            sh.out.note(format!("{signal}: ending"));
        }
    } else {
        let word = args.need("TIME")?;
        let time = values::time(word)?;
        if sh.lab.clock == ClockKind::Real {
            if let Some(signal) = sh.signals.clone().wait(Some(time)) {
                return Err(Fail::failed(format!("{signal} ended it early")).at(word.span));
            }
        } else {
            sh.lab.pass(time);
        }
    }
    Ok(())
}
