//! Groups in a case: the options that join, leave and send, and who is a member.
//!
//! ```text
//!   %group [@n] IP_ADD_MEMBERSHIP 239.1.2.3 [on=10.0.0.1] [source=10.0.0.9]  -> EADDRINUSE
//!   %group [@n] IP_MULTICAST_IF [10.0.0.1] | IP_MULTICAST_TTL [0] | IP_MULTICAST_LOOP [0]
//!                                          without a value -> what it is
//!   %members hme0 -> 224.0.0.1 1 239.1.2.3 2      netstat -g: groups and how many have joined
//!
//!   igmp=TYPE.CODE group=A [qrv=N qqic=N [source=A]] [data=..]    with qrv a v3 query
//!   igmp= group= records="TO_EX A {SOURCE,..}, .."                of one that is looked at
//! ```
//!
//! Spec: ip(7P), netinet/in.h: ip_mreq, ip_mreq_source.

use std::net::Ipv4Addr;

use ipmod::membership::{
    IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_BLOCK_SOURCE, IP_DROP_MEMBERSHIP,
    IP_DROP_SOURCE_MEMBERSHIP, IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_MULTICAST_TTL,
    IP_UNBLOCK_SOURCE,
};
use ipmod::plumb;
use ipmod::tpi::{T_ERROR_ACK, T_SVR4_OPTMGMT_REQ};
use ipmod::tpi_options::{T_CURRENT, T_NEGOTIATE};
use streams::{Errno, Process, Sys};

use super::datagram::Fields;
use super::ip::{addr, word};
use super::text::Tok;
use super::{Outcome, Wrong};
use crate::packets::checksum;

const OPTIONS: &[(&str, u32)] = &[
    ("IP_MULTICAST_IF", IP_MULTICAST_IF),
    ("IP_MULTICAST_TTL", IP_MULTICAST_TTL),
    ("IP_MULTICAST_LOOP", IP_MULTICAST_LOOP),
    ("IP_ADD_MEMBERSHIP", IP_ADD_MEMBERSHIP),
    ("IP_DROP_MEMBERSHIP", IP_DROP_MEMBERSHIP),
    ("IP_BLOCK_SOURCE", IP_BLOCK_SOURCE),
    ("IP_UNBLOCK_SOURCE", IP_UNBLOCK_SOURCE),
    ("IP_ADD_SOURCE_MEMBERSHIP", IP_ADD_SOURCE_MEMBERSHIP),
    ("IP_DROP_SOURCE_MEMBERSHIP", IP_DROP_SOURCE_MEMBERSHIP),
];

const TSYSERR: u32 = 8;

/// `%group`
pub fn option(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    let known = OPTIONS.iter().find(|o| o.0 == name);
    let number = known.ok_or_else(|| format!("{name} is no option"))?.1;
    let f = Fields(args);
    let any = Ipv4Addr::UNSPECIFIED;
    let (value, flags) = match args.get(1) {
        Some(Tok::Num(n)) if f.word("byte").is_some() => (vec![*n as u8], T_NEGOTIATE),
        Some(Tok::Num(n)) => ((*n as u32).to_ne_bytes().to_vec(), T_NEGOTIATE),
        Some(Tok::Word(a)) => {
            let mut v = addr(a)?.octets().to_vec();
            if let Some(source) = f.addr("source")? {
                v.extend(source.octets());
            }
            if number >= IP_ADD_MEMBERSHIP {
                v.extend(f.addr("on")?.unwrap_or(any).octets());
            }
            (v, T_NEGOTIATE)
        }
        _ => (Vec::new(), T_CURRENT),
    };
    let mut opt: Vec<u8> = [0, number, value.len() as u32]
        .iter()
        .flat_map(|w| w.to_ne_bytes())
        .collect();
    opt.extend(&value);
    opt.resize(opt.len().next_multiple_of(4), 0);
    let head = [T_SVR4_OPTMGMT_REQ, opt.len() as u32, 16, flags].map(u32::to_ne_bytes);
    let ctl = [&head.concat()[..], &opt].concat();
    if let Err(e) = p.putmsg(fd, Some(&ctl), None, false) {
        return Ok(Err(e));
    }
    let ack = match p.getmsg(fd, 256, 0, false) {
        Err(e) => return Ok(Err(e)),
        Ok(got) => got.ctl.unwrap_or_default(),
    };
    let at = |i: usize| {
        let w = ack.get(4 * i..4 * i + 4).and_then(|w| w.try_into().ok());
        w.map_or(0, u32::from_ne_bytes)
    };
    Ok(match (at(0), at(2)) {
        (T_ERROR_ACK, TSYSERR) => Err(Errno::from_number(at(3) as i32)),
        (T_ERROR_ACK, 2) => Ok(vec![Tok::word("TBADOPT")]),
        (T_ERROR_ACK, n) => Ok(vec![Tok::word(format!("T_ERROR_ACK {n}"))]),
        _ if flags == T_NEGOTIATE => Ok(Vec::new()),
        _ if number == IP_MULTICAST_IF => {
            Ok(vec![Tok::word(Ipv4Addr::from(at(7).to_be()).to_string())])
        }
        _ => Ok(vec![Tok::Num(at(7).into())]),
    })
}

/// An IGMP message of a datagram that is built.
pub fn igmp(f: &Fields<'_>, ty: u8, code: u8) -> Result<Vec<u8>, Wrong> {
    let group = f.addr("group")?.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut m = vec![ty, code, 0, 0];
    m.extend(group.octets());
    if let Some(qrv) = f.num("qrv")? {
        let source = f.addr("source")?;
        let qqic = f.num("qqic")?.unwrap_or(125) as u8;
        m.extend([qrv as u8, qqic, 0, source.is_some().into()]);
        m.extend(source.iter().flat_map(|s| s.octets()));
    }
    m.extend(f.bytes("data")?);
    let sum = checksum(&[&m]);
    m[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(m)
}

/// The records of a version 3 report, as text.
pub fn records(p: &[u8]) -> String {
    let addr = |at: usize| match p.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        _ => "cut short".to_owned(),
    };
    let half = |at: usize| match p.get(at..at + 2) {
        Some(&[a, b]) => usize::from(u16::from_be_bytes([a, b])),
        _ => 0,
    };
    let mut at = 8;
    let one = |_| {
        let kinds = ["?", "IS_IN", "IS_EX", "TO_IN", "TO_EX", "ALLOW", "BLOCK"];
        let kind = p.get(at).and_then(|k| kinds.get(usize::from(*k)));
        let (n, group) = (half(at + 2), addr(at + 4));
        let sources: Vec<String> = (0..n).map(|i| addr(at + 8 + 4 * i)).collect();
        at += 8 + 4 * n;
        let head = format!("{} {group}", kind.unwrap_or(&"?"));
        match n {
            0 => head,
            _ => format!("{head} {{{}}}", sources.join(",")),
        }
    };
    (0..half(6)).map(one).collect::<Vec<_>>().join(", ")
}

/// `%members`
pub fn members(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    let all = plumb::groups(p).map_err(|e| e.to_string())?;
    let of = all.into_iter().filter(|m| m.interface == name);
    let shown = of.flat_map(|m| {
        [
            Tok::word(m.group.to_string()),
            Tok::Num(m.references.into()),
        ]
    });
    let shown: Vec<Tok> = shown.collect();
    Ok(Ok(match shown.is_empty() {
        true => vec![Tok::word("nothing")],
        false => shown,
    }))
}
