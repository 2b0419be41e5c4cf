//! What is configured, as the commands that configure it.

use crate::command::{Args, Command, Group};
use crate::commands::{ip, tunnel};
use crate::diag::{Done, Fail, Tried};
use crate::lab::{ClockKind, LOADABLE};
use crate::lex::quote;
use crate::shell::Shell;

/// The rows.
pub const COMMANDS: &[Command] = &[Command {
    name: "save",
    aliases: &[],
    group: Group::Shell,
    usage: &["FILE"],
    help: "write the configuration of every host as a script",
    long: "The same commands that `show config all` prints: running the file makes the hosts, \
           wires, interfaces, routes and tunnels again. A file that is there is replaced.",
    examples: &["save lab.vt"],
    run: save,
}];

fn save(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("FILE")?;
    let mut text = all_lines(sh)?.join("\n");
    text.push('\n');
    // Whole or not at all: a full disk must not leave half a configuration.
    let temporary = format!("{}.new", w.text);
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &w.text))
        .map_err(|e| Fail::io(&w.text, &e).at(w.span))
}

/// Names, clock, wires, and every host.
///
/// # Errors
/// A system call's.
pub fn all_lines(sh: &mut Shell) -> Result<Vec<String>, Fail> {
    let mut lines = Vec::new();
    if sh.lab.clock == ClockKind::Real {
        lines.push("clock real".to_owned());
    }
    let names = sh.lab.names.iter();
    lines.extend(names.map(|(n, a)| format!("hosts {} {a}", quote(n))));
    lines.extend(sh.lab.wires.keys().map(|w| {
        let faults = sh.lab.faults.get(w).map(|f| format!(" {}", f.1));
        format!("wire {}{}", quote(w), faults.unwrap_or_default())
    }));
    let here = sh.lab.here();
    for at in 0..sh.lab.hosts().len() {
        sh.lab.select(at);
        let got = host_lines(sh);
        sh.lab.select(here);
        lines.extend(got?);
    }
    if let Some(name) = sh
        .lab
        .current()
        .filter(|_| here + 1 != sh.lab.hosts().len())
    {
        lines.push(format!("host {}", quote(name)));
    }
    Ok(lines)
}

/// The current host.
///
/// # Errors
/// A system call's.
pub fn host_lines(sh: &mut Shell) -> Result<Vec<String>, Fail> {
    let host = sh.lab.host()?;
    let mut lines = vec![format!("host {}", quote(&host.name))];
    let loaded = host.kernel.modinfo();
    let mut has_vtunl = false;
    for l in LOADABLE
        .iter()
        .filter(|l| loaded.iter().any(|r| r.name == l.name))
    {
        lines.push(format!("add_drv {}", l.name));
        has_vtunl |= l.name == "vtunl";
    }
    let plumbed: Vec<(String, String)> = host
        .plumbed
        .iter()
        .map(|p| (p.name.clone(), p.line.clone()))
        .collect();
    lines.extend(ip::config_lines(&host.admin, &plumbed).tried("the configuration of IP")?);
    if host.control.is_some() {
        lines.push("plumb control".to_owned());
    }
    lines.extend(
        host.listening
            .iter()
            .map(|(port, _)| format!("listen {port}")),
    );
    if has_vtunl {
        lines.extend(tunnel::config_lines(sh)?);
    }
    Ok(lines)
}
