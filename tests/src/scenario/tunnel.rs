//! vtunl in a case: the streams of Figure 2, every ioctl by its name, what is told.
//!
//! ```text
//!   %add_drv vtunl   %rem_drv vtunl -> EBUSY   %modinfo vtunl -> 2 drivers=1 opens=N
//!   %tunnel 10.0.0.1 192.0.2.1 [proto=4]    Figure 2(a): vtunl between /dev/ip and ip, up
//!   %hear   hme0 10.0.0.1/24 [unit=9]       Figure 2(b): vtunl between /dev/hme and ip, up
//!   %vt     [@n] ENCAP_ADD target=10.2.0.1[/24] exit=10.0.0.9 [flags=SB] [life=60] [long=1]
//!   %vt     [@n] DECAP_ADD target=0.0.0.0 decap=SRC|DST|EITHER
//!   %vt     [@n] MAXPMTU_SET addr=A bound=N     SETCONF_DLSUSER addr= mask= ppa=     proto=
//!   %vt     [@n] GETCONF -> type= ppa= proto= address= mask= req= resp= state= name="ip"
//!   %vt     [@n] ENCAP_SIZE -> N                DEBUG_SET N, NOTIFY N
//!   %vt     [@n] POLICY_SET ttl= ecn= dscp= df=      EXIT_SET exit= ttl= gre= key=
//!   %vt     [@n] ENCAP_GET | DECAP_GET | ENCAP_GETX | EXIT_GETX | DECAP_GETX -> "entry" ..
//!   %vt     [@n] STATS "encapsulated" -> 1      INST_STATS
//!   %istr   VTUNL_ENCAP_ADD "24 bytes" -> 0     any of them to the byte
//!   %down   [@n] FIELDS                     DL_UNITDATA_REQ to a vtunl under the head
//!   %above  [@n] -> FIELDS | nothing        what it gives up: DL_UNITDATA_IND or M_DATA
//!   %bounce hme0 3.4 [rest=N] [cut=BYTES] [from=A]    ICMP about the last that %out showed
//!   %forget                                 what has left on all links is of no interest
//!   %log    3 [arp]   %said -> "text" | nothing     strlog lines up to a level, of vtunl or arp
//!   %notice [@n] -> number=1 "10.2.0.1/32 10.0.0.9" ..   the M_PCPROTO of VTUNL_NOTIFY
//! ```
//!
//! Numbers and layouts of the ioctls are checked to the byte by `%istr`; here they go
//! through vtunl's own codecs.

use std::net::Ipv4Addr;

use dlpi::prim::Prim;
use ipmod::plumb;
use streams::strlog::{self, LogRecord, TraceId};
use streams::{Errno, Kernel, Process, Sys, Which, oflag};
use vtunl::client::Client;
use vtunl::ioctl::*;
use vtunl::lifetime::Notice;

use super::datagram::Fields;
use super::ip::{addr, prefix, word};
use super::text::Tok;
use super::{Outcome, Wrong};
use crate::packets::ip4;

/// `mi_idnum` of vtunl.
const MID: i16 = 0x7674;
/// And of arp.
const ARP_MID: i16 = 5702;

/// The number of an ioctl by its name.
pub fn command(name: &str) -> Option<i64> {
    let row = IOCTLS.iter().find(|r| r.name == name)?;
    Some(row.cmd.into())
}

/// `%add_drv`, `%rem_drv`, `%modinfo`
pub fn kernel(k: &Kernel, verb: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    Ok(match verb {
        "add_drv" if name == "vtunl" => vtunl::register(k).map(|()| Vec::new()),
        "add_drv" => return Err(format!("there is no {name} to be added")),
        // A file of Solaris holds the driver and the module.
        "rem_drv" => k
            .rem_drv(&name)
            .and_then(|()| k.rem_mod(&name))
            .map(|()| Vec::new()),
        _ => {
            let rows: Vec<_> = k.modinfo().into_iter().filter(|r| r.name == name).collect();
            let drivers = rows.iter().filter(|r| r.major.is_some()).count() as i64;
            let opens = rows.iter().map(|r| r.opens).max().unwrap_or(0);
            Ok(vec![
                Tok::Num(rows.len() as i64),
                Tok::key("drivers", Tok::Num(drivers)),
                Tok::key("opens", Tok::Num(opens.into())),
            ])
        }
    })
}

/// `%tunnel`: the steps of vtunlconf(1M) for Figure 2(a).
pub fn tunnel(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (own, peer) = (addr(&word(args, 0)?)?, addr(&word(args, 1)?)?);
    let proto = Fields(args).num("proto")?.unwrap_or(4) as u8;
    let steps = || {
        let fd = p.open("/dev/ip", oflag::O_RDWR)?;
        p.push(fd, "vtunl")?;
        Client::new(p, fd).setconf_transport(own, proto)?;
        let name = plumb::plumb_fd(p, fd, "/dev/ip", u32::MAX)?;
        plumb::set_address(p, &name, own)?;
        plumb::set_destination(p, &name, peer)?;
        plumb::up(p, &name)?;
        p.close(fd)?;
        Ok(vec![Tok::word(name)])
    };
    Ok(steps())
}

/// `%hear`: those for Figure 2(b). The interface has a unit of its own.
pub fn hear(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    let (path, ppa) = name.split_at(name.len() - 1);
    let path = format!("/dev/{path}");
    let ppa: u8 = ppa.parse().map_err(|_| format!("{name}?"))?;
    let (own, mask) = prefix(&word(args, 1)?)?;
    let unit = Fields(args).num("unit")?.unwrap_or(9) as u32;
    let steps = || {
        let fd = p.open(&path, oflag::O_RDWR)?;
        p.push(fd, "vtunl")?;
        Client::new(p, fd).setconf_dlsuser(own, mask, ppa)?;
        let name = plumb::plumb_fd(p, fd, &path, unit)?;
        plumb::set_address(p, &name, own)?;
        plumb::set_destination(p, &name, Ipv4Addr::new(192, 0, 2, 200))?;
        plumb::up(p, &name)?;
        p.close(fd)?;
        Ok(vec![Tok::word(name)])
    };
    Ok(steps())
}

fn bits(text: &str) -> Result<u16, Wrong> {
    let mut all = 0;
    for c in text.chars() {
        let known = ENCAP_FLAGS.iter().find(|(name, _)| *name == c);
        all |= known.ok_or_else(|| format!("{c} is no flag"))?.1;
    }
    Ok(all)
}

fn request(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let a = |key| f.addr(key).map(|a| a.map_or(0, Ipv4Addr::to_bits));
    let n = |key| f.num(key).map(|n| n.unwrap_or(0));
    let (target, mask) = match f.word("target") {
        None => (Ipv4Addr::UNSPECIFIED, None),
        Some(w) if w == "default" => (vtunl::client::DEFAULT, None),
        Some(w) if w.contains('/') => prefix(&w).map(|(a, m)| (a, Some(m)))?,
        Some(w) => (addr(&w)?, None),
    };
    let encap_flags = match (f.num("flags"), f.word("flags")) {
        (Ok(Some(n)), _) => n as u16,
        (_, Some(w)) => bits(&w)?,
        _ => 0,
    };
    let decap_flags = match f.word("decap").as_deref() {
        Some("SRC") => 1,
        Some("DST") => 2,
        Some("EITHER") => 3,
        _ => n("decap")? as u16,
    };
    let q = Req {
        target_addr: target.to_bits(),
        t_exit_addr: a("exit")?,
        encap_flags,
        decap_flags,
        address: a("addr")?,
        addr_mask: a("mask")?,
        ppa: n("ppa")? as u8,
        ip_protocol: n("proto")? as u8,
        mtu_bound: n("bound")? as u16,
        target_mask: match mask {
            Some(m) => m.to_bits(),
            None => a("tmask")?,
        },
        lifetime: n("life")? as u32,
    };
    let long = q.target_mask != 0 || q.lifetime != 0 || f.word("long").is_some();
    Ok(q.emit()[..if long { XREQ_LEN } else { REQ_LEN }].to_vec())
}

fn key(k: &str, n: impl Into<i64>) -> Tok {
    Tok::key(k, Tok::Num(n.into()))
}

fn at(k: &str, a: u32) -> Tok {
    Tok::key(k, Tok::word(Ipv4Addr::from(a).to_string()))
}

fn text(s: String) -> Tok {
    Tok::Bytes(s.into_bytes())
}

fn len(mask: Ipv4Addr) -> u32 {
    mask.to_bits().leading_ones()
}

fn flags_word(flags: u16) -> String {
    let set = ENCAP_FLAGS.iter().filter(|(_, b)| flags & b != 0);
    let word: String = set.map(|(c, _)| *c).collect();
    if word.is_empty() { "-".into() } else { word }
}

/// `%vt`
pub fn ioctl(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (name, rest) = (word(args, 0)?, &args[1..]);
    let full = format!("VTUNL_{name}");
    let row = IOCTLS.iter().find(|r| r.name == full);
    let row = row.ok_or_else(|| format!("{name} is no ioctl of vtunl"))?;
    let f = Fields(rest);
    let c = Client::new(p, fd);
    if row.arg == Arg::Buffer {
        return dump(&c, &name, rest);
    }
    let n = |key: &str, otherwise: i64| f.num(key).map(|n| n.unwrap_or(otherwise));
    let data = match row.arg {
        Arg::Req | Arg::ReqOut => request(&f)?,
        Arg::IntIn => match rest {
            [Tok::Num(n)] => (*n as i32).to_ne_bytes().to_vec(),
            _ => return Err(format!("%vt {name} N")),
        },
        Arg::PolicyIn => vec![
            n("ttl", 64)? as u8,
            n("ecn", 0)? as u8,
            n("dscp", 255)? as u8,
            n("df", 0)? as u8,
        ],
        Arg::ExitIn => ExitReq {
            addr: f.addr("exit")?.map_or(0, Ipv4Addr::to_bits),
            flags: n("gre", 0)? as u32,
            key: n("key", 0)? as u32,
            ttl: n("ttl", 0)? as u8,
        }
        .emit()
        .to_vec(),
        Arg::Conf => vec![0; CONF_LEN],
        _ => vec![0; 4],
    };
    let reply = match p.i_str(fd, row.cmd, &data) {
        Err(e) => return Ok(Err(e)),
        Ok(r) => r.data,
    };
    let bad = |e: Errno| format!("{name} gave {} bytes: {}", reply.len(), e.name());
    Ok(Ok(match row.arg {
        Arg::ReqOut => vec![key("bound", Req::parse(&reply).map_err(bad)?.mtu_bound)],
        Arg::IntOut => match reply[..] {
            [a, b, c, d] => vec![Tok::Num(u32::from_ne_bytes([a, b, c, d]).into())],
            _ => return Err(bad(Errno::EINVAL)),
        },
        Arg::Conf => {
            let c = Conf::parse(&reply).map_err(bad)?;
            vec![
                key("type", c.kind),
                key("ppa", c.ppa),
                key("proto", c.ip_protocol),
                at("address", c.address),
                at("mask", c.addr_mask),
                key("req", c.last_req as i64),
                key("resp", c.last_resp as i64),
                key("state", c.state as i64),
                Tok::key("name", text(c.modname)),
            ]
        }
        Arg::PolicyOut => match reply[..] {
            [ttl, ecn, dscp, df] => vec![
                key("ttl", ttl),
                key("ecn", ecn),
                key("dscp", dscp),
                key("df", df),
            ],
            _ => return Err(bad(Errno::EINVAL)),
        },
        _ if reply.is_empty() => Vec::new(),
        _ => vec![Tok::Bytes(reply)],
    }))
}

/// The dumps, an entry a string.
fn dump(c: &Client<'_, Process>, name: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
    let entries = || -> Result<Vec<Tok>, Errno> {
        Ok(match name {
            "ENCAP_GET" => {
                let conf = c.encap_get()?;
                let one = |(t, x): &(Ipv4Addr, Vec<Ipv4Addr>)| {
                    let x: Vec<String> = x.iter().map(Ipv4Addr::to_string).collect();
                    text(format!("{t} {}", x.join(" ")))
                };
                let mut v: Vec<Tok> = conf.targets.iter().map(one).collect();
                v.extend(conf.exits.iter().map(|x| {
                    text(format!(
                        "{} pmtu={} max={} state={}",
                        x.addr, x.pmtu, x.maxpmtu, x.state
                    ))
                }));
                v
            }
            "DECAP_GET" => {
                let conf = c.decap_get()?;
                let all = key("all", i64::from(conf.all));
                let rows = conf.targets.iter().map(|(a, f)| text(format!("{a} {f}")));
                [all].into_iter().chain(rows).collect()
            }
            "ENCAP_GETX" => c
                .targets()?
                .iter()
                .map(|t| {
                    let mut s = format!(
                        "{}/{} n={} o={}",
                        t.addr,
                        len(t.mask),
                        t.datagrams,
                        t.octets
                    );
                    for (x, flags, left) in &t.exits {
                        s.push_str(&format!(" {x} {} {left}", flags_word(*flags)));
                    }
                    text(s)
                })
                .collect(),
            "EXIT_GETX" => c
                .exits()?
                .iter()
                .map(|x| {
                    text(format!(
                        "{} refs={} pmtu={} max={} state={} ttl={} n={} o={} gre={} key={}",
                        x.conf.addr,
                        x.refs,
                        x.conf.pmtu,
                        x.conf.maxpmtu,
                        x.conf.state,
                        x.ttl,
                        x.datagrams,
                        x.octets,
                        x.gre_flags,
                        x.gre_key
                    ))
                })
                .collect(),
            "DECAP_GETX" => {
                let conf = c.decap_targets()?;
                let mut v = vec![key("all", i64::from(conf.all))];
                let rows = conf.targets.iter();
                v.extend(rows.map(|(a, m, f)| text(format!("{a}/{} {f}", len(*m)))));
                let from = conf.sources.iter();
                v.extend(from.map(|(a, m)| text(format!("from {a}/{}", len(*m)))));
                v
            }
            _ => {
                let all = match name {
                    "STATS" => c.stats()?,
                    _ => c.instance_stats()?,
                };
                let wanted = args.first().map(|t| match t {
                    Tok::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
                    t => t.to_string(),
                });
                let row = all.iter().find(|(n, _)| Some(n) == wanted.as_ref());
                match row {
                    Some((_, n)) => vec![Tok::Num(*n as i64)],
                    None => vec![Tok::word("no such row")],
                }
            }
        })
    };
    Ok(entries())
}

/// `%down`
pub fn down(p: &Process, fd: i32, datagram: &[u8]) -> Outcome {
    let req = Prim::UnitdataReq {
        dest: Vec::new(),
        priority_min: 0,
        priority_max: 0,
    };
    p.putmsg(fd, Some(&req.emit_bytes()), Some(datagram), false)?;
    Ok(Vec::new())
}

/// `%above`
pub fn above(p: &Process, fd: i32) -> Option<Vec<u8>> {
    p.getmsg(fd, 512, 70_000, false).ok()?.data
}

/// `%bounce`: the error that a router sends about a datagram.
pub fn bounce(about: &[u8], args: &[Tok]) -> Result<Vec<u8>, Wrong> {
    let f = Fields(args);
    let kind = word(args, 0)?;
    let parts = kind.split_once('.');
    let both = parts.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (ty, code) = both.ok_or_else(|| format!("{kind} is no type and code"))?;
    let source = about.get(12..16).and_then(|a| a.first_chunk::<4>());
    let to = Ipv4Addr::from(*source.ok_or("no %out before %bounce")?);
    let from = f.addr("from")?.unwrap_or(Ipv4Addr::new(10, 0, 0, 254));
    let rest = f.num("rest")?.unwrap_or(0) as u32;
    // RFC 1812 4.3.2.3: as much as fits 576 bytes.
    let cut = f.num("cut")?.unwrap_or(548) as usize;
    let quote = &about[..about.len().min(cut)];
    Ok(ip4(from, to)
        .icmp(ty, code, rest.to_be_bytes(), quote)
        .bytes())
}

/// `%log`
pub fn log(p: &Process, args: &[Tok]) -> Result<Result<i32, Errno>, Wrong> {
    let (level, mid) = match args {
        [Tok::Num(level)] => (level, MID),
        [Tok::Num(level), of] if of.is("arp") => (level, ARP_MID),
        _ => return Err("%log LEVEL [arp]".into()),
    };
    let id = TraceId {
        mid,
        sid: -1,
        level: *level as i8,
    };
    let fd = match strlog::strace(p, &[id]) {
        Ok(fd) => fd,
        Err(e) => return Ok(Err(e)),
    };
    Ok(p.set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
        .map(|_| fd))
}

/// `%said`
pub fn said(p: &Process, fd: i32) -> Outcome {
    let got = match p.getmsg(fd, 64, 1024, false) {
        Err(Errno::EAGAIN) => return Ok(vec![Tok::word("nothing")]),
        got => got?,
    };
    let (ctl, data) = (got.ctl.unwrap_or_default(), got.data.unwrap_or_default());
    let r = LogRecord::parse(&ctl, &data).ok_or(Errno::EBADMSG)?;
    Ok(vec![text(r.text), key("level", r.level)])
}

/// `%notice`
pub fn notice(p: &Process, fd: i32) -> Outcome {
    let got = match p.getpmsg(fd, 4096, 0, Which::Hipri(true)) {
        Err(Errno::EAGAIN) => return Ok(vec![Tok::word("nothing")]),
        got => got?,
    };
    let n = Notice::parse(&got.ctl.unwrap_or_default()).ok_or(Errno::EBADMSG)?;
    let mut v = vec![key("number", n.number)];
    v.extend(n.expired.iter().map(|b| {
        let (a, x) = (Ipv4Addr::from(b.key.addr), Ipv4Addr::from(b.exit));
        text(format!("{a}/{} {x}", b.key.len))
    }));
    Ok(v)
}
