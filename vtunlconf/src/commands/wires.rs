//! Wires, with their faults, and captures that are played.

use dlpi::link::fault::Faults;
use dlpi::link::pcap::Speed;

use crate::command::{Args, Command, Group};
use crate::commands::behind::wire_named;
use crate::diag::{Done, Fail};
use crate::lab::ClockKind;
use crate::lex::quote;
use crate::out::Table;
use crate::shell::Shell;
use crate::values;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "wire",
        aliases: &[],
        group: Group::Lab,
        usage: &[
            "[NAME [loss PERCENT | duplicate PERCENT | reorder PERCENT | corrupt PERCENT \
             | delay TIME | jitter TIME | rate RATE | seed NUMBER]...]",
            "NAME (up | down)",
        ],
        help: "make an Ethernet in memory that joins hosts",
        long: "`plumb DEVICE on WIRE` gives a host a port on it. What a port sends is lost, \
               doubled, overtaken by what follows or has a bit flipped in so many cases out of \
               a hundred; it takes a time and up to so much more, and no more than so many bits \
               go in a second. Which frames it meets comes from the seed: it is the same in \
               every run. Faults are those of ports that are plumbed from then on. `down` takes \
               the carrier away from all its ports, `up` gives it back. Without a name: lists \
               the wires.",
        examples: &[
            "wire backbone",
            "wire radio loss 5% delay 20ms jitter 5ms rate 2M seed 7",
            "wire",
        ],
        run: wire,
    },
    Command {
        name: "move",
        aliases: &[],
        group: Group::Streams,
        usage: &["IF to WIRE"],
        help: "unplug an interface from its wire and plug it into another",
        long: "The host is told nothing, as a mobile node that is carried to another \
               network; frames on their way to it are lost.",
        examples: &["move le0 to cell2"],
        run: move_,
    },
    Command {
        name: "replay",
        aliases: &["pcap"],
        group: Group::Streams,
        usage: &["IF [recorded | step COUNT]"],
        help: "let the datagrams of a capture file come in",
        long: "The interface was plumbed with `in FILE`. All its datagrams come in one \
               after the other, as fast as the host takes them; with `recorded` after the \
               pauses that they were captured with; with `step` only so many, and the next \
               `replay` goes on behind them.",
        examples: &[
            "replay pcap0",
            "replay pcap0 step 1",
            "replay pcap0 recorded",
        ],
        run: replay,
    },
];

fn wire(sh: &mut Shell, args: &Args<'_>) -> Done {
    let Some(w) = args.find("NAME") else {
        return list(sh);
    };
    if args.has("up") || args.has("down") {
        wire_named(sh, w)?.set_up(args.has("up"));
        sh.lab.settle();
        return Ok(());
    }
    if let Some(given) = faults(args)? {
        sh.lab.faults.insert(w.text.clone(), given);
    }
    sh.lab.wires.entry(w.text.clone()).or_default();
    Ok(())
}

fn list(sh: &mut Shell) -> Done {
    let names: Vec<String> = sh.lab.wires.keys().cloned().collect();
    let mut t = Table::new(&["Wire", "Ports", "Faults"]);
    for name in names {
        let on = format!(" on {}", quote(&name));
        let ports = sh.lab.hosts().iter().flat_map(|h| {
            let mine = h
                .plumbed
                .iter()
                .filter(|p| p.line.ends_with(&on) || p.line.contains(&format!("{on} ")));
            mine.map(|p| format!("{}:{}", h.name, p.name))
        });
        let ports: Vec<String> = ports.collect();
        let faults = sh.lab.faults.get(&name).map(|f| f.1.clone());
        t.row([name, ports.join(" "), faults.unwrap_or_default()]);
    }
    sh.out.table(&t);
    Ok(())
}

/// The faults that were asked for, and the words that do; `None` if there are none.
fn faults(args: &Args<'_>) -> Result<Option<(Faults, String)>, Fail> {
    let mut f = Faults::default();
    let mut words = Vec::new();
    let mut last = "";
    for (label, w) in args.items() {
        match (last, label) {
            ("loss", "PERCENT") => f.loss = values::percent(w)?,
            ("duplicate", "PERCENT") => f.duplicate = values::percent(w)?,
            ("reorder", "PERCENT") => f.reorder = values::percent(w)?,
            ("corrupt", "PERCENT") => f.corrupt = values::percent(w)?,
            ("delay", "TIME") => f.delay = values::time(w)?,
            ("jitter", "TIME") => f.jitter = values::time(w)?,
            ("rate", "RATE") => f.rate = values::rate(w)?,
            ("seed", "NUMBER") => f.seed = values::number(w, 0..=u32::MAX)?.into(),
            _ => {
                last = label;
                continue;
            }
        }
        words.push(format!("{last} {}", w.text));
    }
    Ok((!words.is_empty()).then(|| (f, words.join(" "))))
}

fn move_(sh: &mut Shell, args: &Args<'_>) -> Done {
    let (w, to) = (args.need("IF")?, args.need("WIRE")?);
    let wire = wire_named(sh, to)?;
    let host = sh.lab.host()?;
    let known = host.plumbed.iter_mut().find(|p| p.name == w.text);
    let moved = known.and_then(|p| {
        let (driver, ppa) = p.device.clone()?;
        let (before, after) = p.line.split_once(" on ")?;
        let rest = after.split_once(' ').map_or("", |r| r.1);
        let line = format!("{before} on {} {rest}", quote(&to.text));
        p.line = line.trim_end().to_owned();
        Some((driver, ppa))
    });
    match moved {
        Some((driver, ppa)) if host.devices.move_to(&driver, ppa, &wire) => Ok(()),
        _ => Err(Fail::failed(format!("`{}` is not on a wire", w.text))
            .at(w.span)
            .mend(format!("`plumb {} on WIRE` plugs it in", w.text))),
    }
}

fn replay(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("IF")?;
    let host = sh.lab.host()?;
    let gate = host
        .plumbed
        .iter()
        .find(|p| p.name == w.text)
        .and_then(|p| p.gate.clone());
    let play = gate.and_then(|g| g.control()).ok_or_else(|| {
        Fail::failed(format!("`{}` has no capture to play", w.text))
            .at(w.span)
            .mend(format!("`plumb {} in FILE` gives it one", w.text))
    })?;
    let before = play.read();
    let mut wanted = u64::MAX;
    match args.find("COUNT") {
        Some(n) => {
            let n = values::number(n, 1..=u32::MAX)?;
            wanted = before + u64::from(n);
            play.run_at(Speed::Step);
            play.step(n.into());
        }
        None if args.has("recorded") => play.run_at(Speed::Recorded),
        None => play.run_at(Speed::Fast),
    }
    sh.lab.settle();
    while !play.ended() && play.read() < wanted {
        match sh.lab.clock {
            // It goes on by itself for a while.
            ClockKind::Real => {
                sh.lab.settle();
                if sh.signals.pending() {
                    play.pause();
                    return Err(Fail::failed("interrupted").at(w.span));
                }
            }
            ClockKind::Emulated => {
                let now = sh.lab.host()?.kernel.now();
                match play.due().filter(|d| *d > now) {
                    Some(due) => sh.lab.pass(due - now),
                    None => break, // the host takes no more
                }
            }
        }
    }
    sh.out
        .line(format!("{} datagrams came in", play.read() - before));
    if let Some(why) = play.damage().filter(|_| play.ended()) {
        sh.out.note(format!("the capture ends early: {why}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "wires_tests.rs"]
mod tests;
