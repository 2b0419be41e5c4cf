//! getconf: what each instance of vtunl is and has been told (VTUNL_GETCONF).
//!
//! The ioctl reaches vtunl only as long as it is right under the stream head, so what an
//! interface's instance says is asked while the interface is plumbed, before ip is pushed;
//! that of the control stream is asked now (the paper, section 3).

use std::net::Ipv4Addr;

use vtunl::ioctl::{Conf, VTUNL_DLSUSER, VTUNL_TRANSPORT};

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail, Tried};
use crate::out::Table;
use crate::shell::Shell;

/// The command.
pub const COMMANDS: &[Command] = &[Command {
    name: "getconf",
    aliases: &[],
    group: Group::Tunnel,
    usage: &["[IF]"],
    help: "what each instance of vtunl is: VTUNL_GETCONF",
    long: "An instance over /dev/ip is a tunnel, Figure 2(a) of the paper; one over a data \
           link hears its broadcasts, Figure 2(b); that of the control stream is neither. \
           The requests are the last ones that the instance sent to ip or the data link, and \
           the answers to them: TPI or DLPI primitives by number. The ioctl reaches vtunl only \
           before ip is pushed on it, so an interface shows what it answered then.",
    examples: &["getconf", "getconf ip0"],
    run: getconf,
}];

fn getconf(sh: &mut Shell, args: &Args<'_>) -> Done {
    let only = args.find("IF");
    let host = sh.lab.host()?;
    let mut all: Vec<(String, Conf)> = host
        .plumbed
        .iter()
        .filter_map(|p| Some((p.name.clone(), p.conf.clone()?)))
        .collect();
    if let Some(w) = only {
        let known: Vec<String> = all.iter().map(|c| c.0.clone()).collect();
        all.retain(|c| c.0 == w.text);
        if all.is_empty() {
            return Err(
                Fail::failed(format!("`{}` has no vtunl in its stream", w.text))
                    .at(w.span)
                    .meant(&w.text, known.iter().map(String::as_str)),
            );
        }
    } else {
        let control = host.with_control(|p, fd| {
            vtunl::client::Client::new(p, fd)
                .getconf()
                .tried("VTUNL_GETCONF")
        })?;
        all.push(("control".to_owned(), control));
    }
    let columns = [
        "Instance", "Type", "Over", "PPA", "Protocol", "Address", "Mask", "Request", "Answer",
        "State",
    ];
    let mut t = Table::new(&columns);
    for (name, c) in all {
        let kind = match c.kind {
            VTUNL_TRANSPORT => "tunnel, Fig. 2(a)",
            VTUNL_DLSUSER => "listener, Fig. 2(b)",
            _ => "control, Fig. 2(c)",
        };
        let dash = |s: String, shown: bool| if shown { s } else { "-".to_owned() };
        t.row([
            name,
            kind.to_owned(),
            dash(c.modname.clone(), !c.modname.is_empty()),
            dash(c.ppa.to_string(), c.kind == VTUNL_DLSUSER),
            dash(c.ip_protocol.to_string(), c.ip_protocol != 0),
            dash(Ipv4Addr::from(c.address).to_string(), c.address != 0),
            dash(Ipv4Addr::from(c.addr_mask).to_string(), c.addr_mask != 0),
            c.last_req.to_string(),
            c.last_resp.to_string(),
            c.state.to_string(),
        ]);
    }
    sh.out.table(&t);
    Ok(())
}
