//! Loading and unloading drivers.

use streams::Errno;

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail};
use crate::lab::LOADABLE;
use crate::out::Table;
use crate::shell::Shell;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "add_drv",
        aliases: &[],
        group: Group::Streams,
        usage: &["DRIVER"],
        help: "load a driver into the current host's kernel",
        long: "As add_drv(1M). A host starts without vtunl: `add_drv vtunl` makes it known \
               as the driver /dev/vtunl and as the module vtunl.",
        examples: &["add_drv vtunl"],
        run: add_drv,
    },
    Command {
        name: "rem_drv",
        aliases: &[],
        group: Group::Streams,
        usage: &["DRIVER"],
        help: "unload a driver",
        long: "As rem_drv(1M): EBUSY as long as a stream of it is open, as driver or as \
               module.",
        examples: &["rem_drv vtunl"],
        run: rem_drv,
    },
    Command {
        name: "modinfo",
        aliases: &[],
        group: Group::Streams,
        usage: &["[MODULE]"],
        help: "list the drivers and modules of the current host",
        long: "As modinfo(1M): what is both, as vtunl is, has two rows.",
        examples: &["modinfo", "modinfo vtunl"],
        run: modinfo,
    },
];

fn add_drv(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("DRIVER")?;
    let host = sh.lab.host()?;
    let fail = |e| Fail::errno(format!("add_drv {}", w.text), e).at(w.span);
    match LOADABLE.iter().find(|l| l.name == w.text) {
        Some(l) => (l.add)(&host.kernel).map_err(|e| match e {
            Errno::EEXIST => fail(e).mend("it is loaded already: see `modinfo`"),
            _ => fail(e),
        }),
        None if host.kernel.modinfo().iter().any(|r| r.name == w.text) => {
            Err(fail(Errno::EEXIST).mend("it is loaded already: see `modinfo`"))
        }
        None => Err(fail(Errno::ENOENT).meant(&w.text, LOADABLE.iter().map(|l| l.name))),
    }
}

fn rem_drv(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("DRIVER")?;
    let kernel = &sh.lab.host()?.kernel;
    let rows: Vec<_> = kernel
        .modinfo()
        .into_iter()
        .filter(|r| r.name == w.text)
        .collect();
    let fail = |e| Fail::errno(format!("rem_drv {}", w.text), e).at(w.span);
    if rows.is_empty() {
        let all = kernel.modinfo();
        return Err(fail(Errno::ENOENT).meant(&w.text, all.iter().map(|r| r.name)));
    }
    // Both or neither: a file of Solaris holds the driver and the module.
    if let Some(busy) = rows.iter().find(|r| r.opens > 0) {
        let n = busy.opens;
        return Err(fail(Errno::EBUSY).mend(format!(
            "{n} of its instances are open: `show stacks` shows where, `unplumb` closes them"
        )));
    }
    for row in rows {
        match row.major {
            Some(_) => kernel.rem_drv(row.name).map_err(fail)?,
            None => kernel.rem_mod(row.name).map_err(fail)?,
        }
    }
    Ok(())
}

fn modinfo(sh: &mut Shell, args: &Args<'_>) -> Done {
    let only = args.find("MODULE");
    let rows = sh.lab.host()?.kernel.modinfo();
    let mut t = Table::new(&["Id", "Name", "Kind", "Major", "Open"]);
    for r in rows
        .iter()
        .filter(|r| only.is_none_or(|w| w.text == r.name))
    {
        t.row([
            r.id.to_string(),
            r.name.to_owned(),
            if r.major.is_some() {
                "driver"
            } else {
                "module"
            }
            .to_owned(),
            r.major.map_or_else(|| "-".to_owned(), |m| m.to_string()),
            r.opens.to_string(),
        ]);
    }
    if let Some(w) = only
        && t.rows.is_empty()
    {
        return Err(Fail::failed(format!("there is no module `{}`", w.text))
            .at(w.span)
            .meant(&w.text, rows.iter().map(|r| r.name)));
    }
    sh.out.table(&t);
    Ok(())
}
