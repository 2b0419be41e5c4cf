//! Groups: join and leave with a port that listens, and who is a member (netstat -g).
//!
//! Spec: ip(7P) IP_ADD_MEMBERSHIP and its kin, netstat(1M) -g.

use std::net::Ipv4Addr;

use ipmod::ill::iff;
use ipmod::membership::{
    self, IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_MEMBERSHIP,
    IP_DROP_SOURCE_MEMBERSHIP, IP_MULTICAST_IF,
};
use ipmod::{plumb, tpi};
use streams::{Errno, Process, Sys};

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail, Tried};
use crate::lex::Word;
use crate::out::Table;
use crate::shell::Shell;
use crate::values;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "join",
        aliases: &[],
        group: Group::Ip,
        usage: &["ADDR PORT [on IF | source SRC]..."],
        help: "join a group with a UDP port that listens",
        long: "From now on `received` shows what comes for the group, by the interface that \
               is named or that a route for the group names. With `source` only what comes \
               from there; several sources are several commands. The routers on the link \
               hear of it by IGMP.",
        examples: &[
            "listen 5000",
            "join 239.1.2.3 5000",
            "join 239.1.2.3 5000 on le1",
        ],
        run: join,
    },
    Command {
        name: "leave",
        aliases: &[],
        group: Group::Ip,
        usage: &["ADDR PORT [on IF | source SRC]..."],
        help: "leave a group that a UDP port has joined",
        long: "The opposite of `join`. A port that is closed leaves by itself.",
        examples: &["leave 239.1.2.3 5000"],
        run: leave,
    },
];

fn join(sh: &mut Shell, args: &Args<'_>) -> Done {
    member(sh, args, true)
}

fn leave(sh: &mut Shell, args: &Args<'_>) -> Done {
    member(sh, args, false)
}

fn member(sh: &mut Shell, args: &Args<'_>, joins: bool) -> Done {
    let (group_word, port_word) = (args.need("ADDR")?, args.need("PORT")?);
    let names = sh.lab.names.clone();
    let group = names.addr(group_word)?;
    let port = values::number16(port_word, 1..=u16::MAX)?;
    let source = args.find("SRC").map(|w| names.addr(w)).transpose()?;
    let host = sh.lab.host()?;
    let Some((_, fd)) = host.listening.iter().find(|l| l.0 == port).copied() else {
        return Err(Fail::failed(format!("nobody listens to port {port}"))
            .at(port_word.span)
            .mend(format!("`listen {port}` opens it")));
    };
    let on = match args.find("IF") {
        Some(w) => by_name(&host.admin, w)?,
        None => Ipv4Addr::UNSPECIFIED,
    };
    let (name, value) = match (joins, source) {
        (true, None) => (IP_ADD_MEMBERSHIP, vec![group, on]),
        (false, None) => (IP_DROP_MEMBERSHIP, vec![group, on]),
        (true, Some(s)) => (IP_ADD_SOURCE_MEMBERSHIP, vec![group, s, on]),
        (false, Some(s)) => (IP_DROP_SOURCE_MEMBERSHIP, vec![group, s, on]),
    };
    let done = set(&host.admin, fd, name, &value);
    sh.lab.settle();
    done.map_err(|e| {
        let what = if joins { "join" } else { "leave" };
        let fail = Fail::errno(format!("{what} {group}"), e).at(group_word.span);
        match (e, joins) {
            (Errno::EINVAL, _) if !group.is_multicast() => {
                fail.mend("a group is an address from 224.0.0.0 to 239.255.255.255")
            }
            (Errno::EINVAL, _) => fail.mend("it was joined the other way, with or without source"),
            (Errno::EADDRINUSE, _) => fail.mend("it is joined already: see `netstat -g`"),
            (Errno::EADDRNOTAVAIL, true) => {
                fail.mend("it needs an interface that is up and has MULTICAST: see `ifconfig -a`")
            }
            (Errno::EADDRNOTAVAIL, false) => fail.mend("`netstat -g` shows what is joined"),
            _ => fail,
        }
    })
}

/// The address that names an interface: its own, or that of a point-to-point interface's far
/// end, as it may share its own with another.
fn by_name(sys: &Process, w: &Word) -> Result<Ipv4Addr, Fail> {
    let all = plumb::interfaces(sys).tried("ip_ill_status")?;
    let Some(i) = all.iter().find(|i| i.name == w.text) else {
        return Err(Fail::errno(w.text.clone(), Errno::ENXIO)
            .at(w.span)
            .meant(&w.text, all.iter().map(|i| i.name.as_str())));
    };
    let shared = all.iter().any(|o| o.name != i.name && o.addr == i.addr);
    Ok(match i.flags & iff::POINTOPOINT != 0 && shared {
        true => i.dst,
        false => i.addr,
    })
}

/// T_SVR4_OPTMGMT_REQ of one option whose value is addresses.
fn set(sys: &Process, fd: i32, name: u32, value: &[Ipv4Addr]) -> Result<(), Errno> {
    let req = membership::request(name, value);
    sys.putmsg(fd, Some(&req), None, false)?;
    // The answer has high priority: what came for `received` stays behind it.
    let ack = sys.getmsg(fd, 256, 0, true)?;
    match tpi::words(&ack.ctl.unwrap_or_default()) {
        [tpi::T_OPTMGMT_ACK, ..] => Ok(()),
        [tpi::T_ERROR_ACK, _, 8, e] => Err(Errno::from_number(e as i32)),
        _ => Err(Errno::EPROTO),
    }
}

/// `via IF` of a command that sends: IP_MULTICAST_IF of its stream.
pub fn via(sys: &Process, fd: i32, args: &Args<'_>) -> Done {
    let Some(w) = args.find("IF") else {
        return Ok(());
    };
    let addr = by_name(sys, w)?;
    set(sys, fd, IP_MULTICAST_IF, &[addr]).map_err(|e| {
        Fail::errno(format!("via {}", w.text), e)
            .at(w.span)
            .mend("the interface has to be up: see `ifconfig -a`")
    })
}

/// `netstat -g`; `-gv` with the sources.
pub fn show(sh: &mut Shell, verbose: bool) -> Done {
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    let short = ["Interface", "Group", "RefCnt"];
    let mut t = match verbose {
        false => Table::new(&short),
        true => Table::new(&["Interface", "Group", "RefCnt", "Mode", "Sources"]),
    };
    for g in plumb::groups(&host.admin).tried("ip_group_status")? {
        let head = [g.interface, names.show(g.group), g.references.to_string()];
        let sources: Vec<String> = g.sources.iter().map(|s| names.show(*s)).collect();
        match verbose {
            false => t.row(head),
            true => t.row(head.into_iter().chain([g.mode, sources.join(",")])),
        }
    }
    sh.out.table(&t);
    Ok(())
}
