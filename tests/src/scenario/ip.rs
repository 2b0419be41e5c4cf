//! A host with IP in a case: interfaces on links that the case holds the other end of.
//!
//! ```text
//!   %net  hme0 10.0.0.1/24 [mtu=N]        an Ethernet; its neighbours answer ARP
//!   %net  mem0 10.0.0.1 10.0.0.2 [mtu=N]  a point-to-point link; hme3 has no multicast
//!   %ifconfig hme0 up | down | mtu N | ADDR     one of the SIOCSIF* ioctls
//!   %route [delete] 10.2.0.0/16 10.0.0.9 [reject|blackhole]
//!   %ndd  ip_forwarding [0]               ND_SET, or ND_GET -> value
//!   %sioc SIOCGIFADDR hme0 [addr=A | num=N | "union"] -> addr=A | num=N | nothing
//!   %sioc SIOCLIFADDIF hme0 [addr=A] -> if=hme0:1
//!   %ire  10.0.0.0/24 -> kind=IfResolver if=hme0 gw=10.0.0.1 flags=0 mtu=1500 | nothing
//!   %mib  ipInDiscards -> 1               a counter
//!   %drops "no route" -> 1                what was discarded for this reason; ? shows all
//!   %group [@n] IP_ADD_MEMBERSHIP 239.1.2.3 [on=A] [source=A]     groups.rs
//!   %in   hme0 [times=N] FIELDS           a datagram arrives (datagram.rs)
//!   %out  hme0 -> FIELDS | nothing        the next one that has left
//!   %send [@n] FIELDS                     M_DATA down a stream of /dev/ip
//!   %up   [@n] -> FIELDS | nothing        the next M_DATA at the head
//!   %ctl  @m -> FIELDS | nothing          the next M_CTL that a probe has seen come up
//!   %tpi  [@n] T_BIND_REQ [local= port= remote= rport= "address"] [proto=N] [conind=N] -> T_BIND_ACK
//!   %tpi  [@n] T_OPTMGMT_REQ flags=4 level=N name=N [value=N] -> T_OPTMGMT_ACK value=N
//!   %tpinext [@n] -> T_CONN_CON | nothing     the next primitive
//!   %tpistate [@n] -> 3                   CURRENT_state of T_INFO_ACK
//!   %accept [@n] @on                      T_CONN_RES for the connection indicated
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use dlpi::Links;
use dlpi::link::{Link, Medium};
use ipmod::{ioctl, ire, plumb, tpi};
use streams::{Doorbell, Errno, Kernel, Process, Sys};

use super::datagram::{Fields, build};
use super::text::Tok;
use super::{Outcome, Wrong};

pub(super) const OURS: [u8; 6] = [8, 0, 0x20, 0, 0, 1];
pub(super) const THEIRS: [u8; 6] = [8, 0, 0x20, 0, 0, 2];
pub(super) const ETHER: usize = 14;

/// How the link was told to carry a datagram, and the datagram.
pub type Left = (&'static str, Vec<u8>);

/// One end of a link; the case has the other.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Frames>>);

#[derive(Default)]
struct Frames {
    bell: Option<Doorbell>,
    inbox: VecDeque<Vec<u8>>,
    outbox: VecDeque<Left>,
    arps: VecDeque<Vec<u8>>,
    /// Nobody answers ARP.
    hushed: bool,
}

impl Wire {
    fn with<R>(&self, f: impl FnOnce(&mut Frames) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn arrive(&self, frame: Vec<u8>) {
        self.with(|w| w.inbox.push_back(frame));
        if let Some(bell) = self.with(|w| w.bell.clone()) {
            bell.ring();
        }
    }
}

struct End {
    wire: Wire,
    ether: bool,
    /// It can receive groups.
    groups: bool,
}

impl Link for End {
    fn medium(&self) -> Medium {
        match self.ether {
            true => Medium::Ether(OURS),
            false => Medium::PointToPoint,
        }
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match (self.ether, frame.get(12..14)) {
            (true, Some([8, 6])) => {
                self.wire.with(|w| w.arps.push_back(frame.to_vec()));
                let hushed = self.wire.with(|w| w.hushed);
                if let Some(reply) = arp_reply(frame).filter(|_| !hushed) {
                    self.wire.arrive(reply);
                }
            }
            (true, _) => {
                let d = frame.get(ETHER..).unwrap_or(&[]).to_vec();
                let how = match frame.first_chunk() {
                    Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => "broadcast",
                    Some(to) if *to == group_address(&d) => "multicast",
                    Some([1, ..]) => "another group",
                    _ => "unicast",
                };
                self.wire.with(|w| w.outbox.push_back((how, d)));
            }
            (false, _) => {
                let d = ("unicast", frame.to_vec());
                self.wire.with(|w| w.outbox.push_back(d));
            }
        }
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.wire.with(|w| w.inbox.pop_front()).map(|f| {
            buf[..f.len()].copy_from_slice(&f);
            f.len()
        }))
    }
    fn attach(&mut self, bell: Doorbell) {
        self.wire.with(|w| w.bell = Some(bell));
    }
    fn multicast(&mut self, _: &[u8; 6], _: bool) -> io::Result<()> {
        match self.groups {
            true => Ok(()),
            false => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The link address of the group that a datagram is for (RFC 1112 6.4); to a host it comes
/// to that of all systems.
fn group_address(d: &[u8]) -> [u8; 6] {
    match d.get(16..20) {
        Some(&[224..=239, a, b, c]) => [1, 0, 0x5e, a & 0x7f, b, c],
        _ => [1, 0, 0x5e, 0, 0, 1],
    }
}

/// Whoever is asked for is there, but for the asker itself (RFC 826).
fn arp_reply(f: &[u8]) -> Option<Vec<u8>> {
    let (op, spa, tpa) = (f.get(20..22)?, f.get(28..32)?, f.get(38..42)?);
    if op != [0, 1] || spa == tpa || spa == [0; 4] {
        return None; // an answer, an announcement, a probe
    }
    let mut r = [
        &OURS[..],
        &THEIRS,
        &f[12..20],
        &[0, 2],
        &THEIRS,
        tpa,
        &OURS,
        spa,
    ]
    .concat();
    r.resize(60, 0);
    Some(r)
}

/// The links of a case, by interface.
#[derive(Default)]
pub struct Wires(BTreeMap<String, Wire>);

impl Wires {
    fn named(&self, name: &Tok) -> Result<(&Wire, bool), Wrong> {
        let name = name.to_string();
        let wire = self.0.get(&name);
        let wire = wire.ok_or_else(|| format!("there is no %net {name}"))?;
        Ok((wire, name.starts_with("hme")))
    }

    /// Makes ip and its links known to a kernel; their units are made as they are plumbed.
    pub fn register(&mut self, k: &Kernel) -> Result<(), Errno> {
        ipmod::register(k)?;
        for driver in ["hme", "mem"] {
            let wires: Vec<Wire> = (0..4).map(|_| Wire::default()).collect();
            for (ppa, w) in wires.iter().enumerate() {
                self.0.insert(format!("{driver}{ppa}"), w.clone());
            }
            let make = move |ppa: u32| match wires.get(ppa as usize) {
                Some(wire) => Ok(Box::new(End {
                    wire: wire.clone(),
                    ether: driver == "hme",
                    groups: ppa != 3,
                }) as Box<dyn Link>),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            dlpi::register(k, driver, Links::new(Box::new(make)))?;
        }
        Ok(())
    }

    /// `%in`
    pub fn arrive(&self, args: &[Tok]) -> Result<(), Wrong> {
        let (name, rest) = args.split_first().ok_or("%in INTERFACE FIELDS")?;
        let (wire, ether) = self.named(name)?;
        let f = Fields(rest);
        let mut frame = build(&f)?;
        if ether {
            let to = match f.word("link").as_deref() {
                Some("broadcast") => [0xff; 6],
                Some("multicast") => group_address(&frame),
                _ => OURS,
            };
            let head = [&to[..], &THEIRS, &[8, 0]].concat();
            frame.splice(..0, head);
        }
        for _ in 0..f.num("times")?.unwrap_or(1) {
            wire.arrive(frame.clone());
        }
        Ok(())
    }

    /// `%forget`
    pub fn forget(&self) {
        self.0.values().for_each(|w| {
            w.with(|w| {
                w.outbox.clear();
                w.arps.clear();
            });
        });
    }

    /// A frame arrives, as it is.
    pub fn frame(&self, name: &Tok, frame: Vec<u8>) -> Result<(), Wrong> {
        self.named(name)?.0.arrive(frame);
        Ok(())
    }

    /// The next ARP packet that has left.
    pub fn arp_left(&self, name: &Tok) -> Result<Option<Vec<u8>>, Wrong> {
        Ok(self.named(name)?.0.with(|w| w.arps.pop_front()))
    }

    /// `%hush`
    pub fn hush(&self, name: &Tok) -> Result<(), Wrong> {
        self.named(name)?.0.with(|w| w.hushed = true);
        Ok(())
    }

    /// A datagram that the case has made arrives.
    pub fn arrived(&self, name: &Tok, mut datagram: Vec<u8>) -> Result<(), Wrong> {
        let (wire, ether) = self.named(name)?;
        if ether {
            let head = [&OURS[..], &THEIRS, &[8, 0]].concat();
            datagram.splice(..0, head);
        }
        wire.arrive(datagram);
        Ok(())
    }

    /// `%out`
    pub fn left(&self, name: &Tok) -> Result<Option<Left>, Wrong> {
        Ok(self.named(name)?.0.with(|w| w.outbox.pop_front()))
    }
}

pub fn word(args: &[Tok], i: usize) -> Result<String, Wrong> {
    let t = args.get(i).ok_or("a word is missing")?;
    Ok(match t {
        Tok::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        t => t.to_string(),
    })
}

pub fn addr(text: &str) -> Result<Ipv4Addr, Wrong> {
    text.parse().map_err(|_| format!("{text} is no address"))
}

/// `10.0.0.0/8`, or an address alone for a host.
pub fn prefix(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), Wrong> {
    let (a, bits) = text.split_once('/').unwrap_or((text, "32"));
    let bits: u32 = bits.parse().map_err(|_| format!("{text}?"))?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Ok((addr(a)?, mask.into()))
}

fn done(r: Result<(), Errno>) -> Outcome {
    r.map(|()| Vec::new())
}

/// `%net`, as ifconfig(1M) does it.
pub fn net(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (name, own) = (word(args, 0)?, word(args, 1)?);
    let cut = name.len() - 1;
    let ppa = name[cut..].parse().map_err(|_| format!("{name}?"))?;
    let (own, mask) = prefix(&own)?;
    let peer = match args.get(2) {
        Some(Tok::Word(w)) => Some(addr(w)?),
        _ => None,
    };
    let mtu = Fields(args).num("mtu")?;
    let steps = || {
        let name = plumb::plumb(p, &format!("/dev/{}", &name[..cut]), &[], ppa)?;
        plumb::set_address(p, &name, own)?;
        match peer {
            Some(peer) => plumb::set_destination(p, &name, peer)?,
            None => plumb::set_netmask(p, &name, mask)?,
        }
        if let Some(mtu) = mtu {
            plumb::set_mtu(p, &name, mtu as u32)?;
        }
        plumb::up(p, &name)
    };
    Ok(done(steps()))
}

/// `%ifconfig`
pub fn ifconfig(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (name, what) = (word(args, 0)?, word(args, 1)?);
    Ok(done(match what.as_str() {
        "up" => plumb::up(p, &name),
        "down" => plumb::down(p, &name),
        "unplumb" => plumb::unplumb(p, &name),
        "mtu" => {
            let n = word(args, 2)?.parse().map_err(|_| "mtu N")?;
            plumb::set_mtu(p, &name, n)
        }
        "destination" => plumb::set_destination(p, &name, addr(&word(args, 2)?)?),
        a => plumb::set_address(p, &name, addr(a)?),
    }))
}

/// `%route`
pub fn route(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let gone = args.first().is_some_and(|t| t.is("delete"));
    let args = &args[usize::from(gone)..];
    let ((dst, mask), gw) = (prefix(&word(args, 0)?)?, addr(&word(args, 1)?)?);
    let mut flags = if mask == Ipv4Addr::BROADCAST {
        ire::RTF_HOST
    } else {
        0
    };
    for t in args.get(2..).unwrap_or(&[]) {
        flags |= match t.to_string().as_str() {
            "reject" => ire::RTF_REJECT,
            "blackhole" => ire::RTF_BLACKHOLE,
            w => return Err(format!("{w}?")),
        };
    }
    if !plumb::interfaces(p).is_ok_and(|l| l.iter().any(|i| i.addr == gw)) {
        flags |= ire::RTF_GATEWAY;
    }
    Ok(done(match gone {
        true => plumb::route_delete(p, dst, mask, gw),
        false => plumb::route_add(p, dst, mask, gw, flags),
    }))
}

/// `%ndd`
pub fn ndd(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    Ok(match args.get(1) {
        Some(v) => done(plumb::nd_set(p, &name, &v.to_string())),
        None => plumb::nd_get(p, &name).map(|v| {
            let v = v.trim_end_matches('\0').to_owned();
            vec![
                v.parse()
                    .map_or_else(|_| Tok::Bytes(v.clone().into()), Tok::Num),
            ]
        }),
    })
}

const SIOCS: &[(&str, i32)] = &[
    ("SIOCSIFADDR", ioctl::SIOCSIFADDR),
    ("SIOCGIFADDR", ioctl::SIOCGIFADDR),
    ("SIOCSIFDSTADDR", ioctl::SIOCSIFDSTADDR),
    ("SIOCGIFDSTADDR", ioctl::SIOCGIFDSTADDR),
    ("SIOCSIFFLAGS", ioctl::SIOCSIFFLAGS),
    ("SIOCGIFFLAGS", ioctl::SIOCGIFFLAGS),
    ("SIOCSIFMTU", ioctl::SIOCSIFMTU),
    ("SIOCGIFMTU", ioctl::SIOCGIFMTU),
    ("SIOCGIFBRDADDR", ioctl::SIOCGIFBRDADDR),
    ("SIOCSIFBRDADDR", ioctl::SIOCSIFBRDADDR),
    ("SIOCGIFNETMASK", ioctl::SIOCGIFNETMASK),
    ("SIOCSIFNETMASK", ioctl::SIOCSIFNETMASK),
    ("SIOCGIFMETRIC", ioctl::SIOCGIFMETRIC),
    ("SIOCSIFMETRIC", ioctl::SIOCSIFMETRIC),
    ("SIOCGIFINDEX", ioctl::SIOCGIFINDEX),
    ("SIOCGIFMUXID", ioctl::SIOCGIFMUXID),
    ("SIOCSIFMUXID", ioctl::SIOCSIFMUXID),
    ("SIOCSIFINDEX", ioctl::SIOCSIFINDEX),
    ("SIOCLIFADDIF", ioctl::SIOCLIFADDIF),
    ("SIOCLIFREMOVEIF", ioctl::SIOCLIFREMOVEIF),
];

/// `%sioc`: an ioctl(2) whose argument is an ifreq, as I_STR.
pub fn sioc(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (cmd, name) = (word(args, 0)?, word(args, 1)?);
    let known = SIOCS.iter().find(|c| c.0 == cmd);
    let number = known.ok_or_else(|| format!("{cmd} has no ifreq"))?.1;
    let f = Fields(args);
    let union = match (f.addr("addr")?, f.num("num")?, args.get(2)) {
        (Some(a), ..) => tpi::sockaddr_bytes(0, a.into()).to_vec(),
        (_, Some(n), _) => (n as u32).to_ne_bytes().to_vec(),
        (.., Some(Tok::Bytes(b))) => b.clone(),
        _ => Vec::new(),
    };
    let wide = cmd.starts_with("SIOCLIF");
    let req = match wide {
        true => ioctl::lifreq(&name, &union),
        false => ioctl::ifreq(&name, &union),
    };
    let asked = p.i_str(fd, number, &req);
    Ok(asked.map(|r| {
        if wide && !r.data.is_empty() {
            return vec![Tok::key("if", Tok::word(ioctl::name_of(&r.data)))];
        }
        let Some(u) = r.data.get(16..32) else {
            return vec![Tok::word("nothing")];
        };
        if cmd.contains("ADDR") || cmd.contains("MASK") {
            let a = Ipv4Addr::new(u[4], u[5], u[6], u[7]);
            return vec![Tok::key("addr", Tok::word(a.to_string()))];
        }
        let wide = u32::from_ne_bytes([u[0], u[1], u[2], u[3]]);
        let n = match cmd.ends_with("FLAGS") {
            true => i64::from(u16::from_ne_bytes([u[0], u[1]])),
            false => wide.into(),
        };
        vec![Tok::key("num", Tok::Num(n))]
    }))
}

/// `%ire`: one route of ip_ire_status.
pub fn ire(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (dst, mask) = prefix(&word(args, 0)?)?;
    let all = plumb::nd_get(p, "ip_ire_status").map_err(|e| e.to_string())?;
    let head = format!("{dst} {mask} ");
    let Some(row) = all.lines().find_map(|l| l.strip_prefix(&head)) else {
        return Ok(Ok(vec![Tok::word("nothing")]));
    };
    let w: Vec<&str> = row.split(' ').collect();
    let [gw, name, kind, flags, mtu] = w[..] else {
        return Err(format!("ip_ire_status: {row}"));
    };
    let num = |t: &str, radix| i64::from_str_radix(t, radix).map_or(Tok::word(t), Tok::Num);
    Ok(Ok(vec![
        Tok::key("gw", Tok::word(gw)),
        Tok::key("if", Tok::word(name)),
        Tok::key("kind", Tok::word(kind)),
        Tok::key("flags", num(flags, 16)),
        Tok::key("mtu", num(mtu, 10)),
    ]))
}

/// `%mib`
pub fn mib(p: &Process, args: &[Tok]) -> Result<Outcome, Wrong> {
    let name = word(args, 0)?;
    let all = plumb::counters(p).map_err(|e| e.to_string())?;
    let one = all.iter().find(|c| c.0 == name);
    let n = one.ok_or_else(|| format!("no counter is called {name}"))?.1;
    Ok(Ok(vec![Tok::Num(n as i64)]))
}

/// `%drops`
pub fn drops(k: &Kernel, args: &[Tok]) -> Result<Outcome, Wrong> {
    let reason = word(args, 0)?;
    let all = k.drops();
    if reason == "?" {
        let each = all
            .iter()
            .map(|((who, why), n)| format!("{who}: {why}: {n}"));
        return Ok(Ok(each.map(|s| Tok::Bytes(s.into_bytes())).collect()));
    }
    let of = all.iter().filter(|((_, why), _)| *why == reason);
    Ok(Ok(vec![Tok::Num(of.map(|(_, n)| *n as i64).sum())]))
}

const ERRORS: &[(&str, u32)] = &[
    ("TBADADDR", 1),
    ("TBADOPT", 2),
    ("TACCES", 3),
    ("TBADF", 4),
    ("TOUTSTATE", 6),
    ("TBADSEQ", 7),
    ("TSYSERR", 8),
    ("TBADFLAG", 16),
    ("TNOTSUPPORT", 18),
    ("TADDRBUSY", 23),
];

fn name_of(table: &[(&str, u32)], n: u32) -> Tok {
    let known = table.iter().find(|e| e.1 == n);
    known.map_or(Tok::Num(n.into()), |e| Tok::word(e.0))
}

/// The address of a request, in the form that its keys name: ip_bind_v4.
fn address(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let any = Ipv4Addr::UNSPECIFIED;
    let (local, remote) = (f.addr("local")?, f.addr("remote")?);
    let (port, rport) = (f.num("port")?, f.num("rport")?);
    let bytes = |a: Option<Ipv4Addr>| a.unwrap_or(any).octets();
    Ok(match (local, remote, port) {
        (None, None, None) => Vec::new(),
        (_, Some(_), _) => {
            let ports = [port.unwrap_or(0) as u16, rport.unwrap_or(0) as u16];
            let ports = ports.map(u16::to_be_bytes).concat();
            [&bytes(local)[..], &bytes(remote), &ports].concat()
        }
        (_, None, Some(port)) => {
            tpi::sockaddr_bytes(port as u16, local.unwrap_or(any).into()).to_vec()
        }
        (Some(a), None, None) => a.octets().to_vec(),
    })
}

/// One option, as SVR4 (T_SVR4_OPTMGMT_REQ) or XTI (T_OPTMGMT_REQ) write it.
fn option(prim: u32, [level, name]: [u32; 2], value: Option<i64>) -> Vec<u8> {
    let given = value.is_some() as u32;
    let mut w = match prim {
        9 => vec![level, name, 4],
        _ => vec![16 + 4 * given, level, name, 0],
    };
    let word = value.map(|v| v as u32).or((prim == 9).then_some(0));
    w.extend(word);
    w.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

/// `%tpistate`
pub fn state(p: &Process, fd: i32) -> Result<Outcome, Wrong> {
    if let Err(e) = p.putmsg(fd, Some(&5u32.to_ne_bytes()), None, true) {
        return Ok(Err(e));
    }
    let ctl = p.getmsg(fd, 64, 0, true).ok().and_then(|g| g.ctl);
    let ack = ctl.as_deref().and_then(|c| c.get(36..40)?.first_chunk());
    let state = ack.map(|w| u32::from_ne_bytes(*w));
    Ok(Ok(vec![Tok::Num(state.ok_or("no T_INFO_ACK")?.into())]))
}

/// `%accept`
pub fn accept(p: &Process, listener: i32, on: i32) -> Result<Outcome, Wrong> {
    let word = |ctl: Option<Vec<u8>>, i: usize| {
        let w = ctl?.get(4 * i..4 * i + 4)?.first_chunk().copied()?;
        Some(u32::from_ne_bytes(w))
    };
    let ind = p.getmsg(listener, 256, 0, false);
    let seq = ind
        .ok()
        .and_then(|g| word(g.ctl, 5))
        .ok_or("no T_CONN_IND")?;
    let cap = [30u32, 2].map(u32::to_ne_bytes).concat();
    if let Err(e) = p.putmsg(on, Some(&cap), None, false) {
        return Ok(Err(e));
    }
    let ack = p.getmsg(on, 256, 0, false);
    let id = ack
        .ok()
        .and_then(|g| word(g.ctl, 13))
        .ok_or("no ACCEPTOR_id")?;
    let res = [28, id, 0, 0, seq].map(u32::to_ne_bytes).concat();
    if let Err(e) = p.putmsg(listener, Some(&res), None, false) {
        return Ok(Err(e));
    }
    answer(p, listener)
}

/// `%tpi`
pub fn ask(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (name, rest) = args.split_first().ok_or("%tpi PRIMITIVE")?;
    let known = tpi::PRIMITIVES.iter().find(|e| name.is(e.0)).map(|e| e.1);
    let prim = match (known, name) {
        (Some(n), _) => n,
        (_, Tok::Num(n)) => *n as u32,
        _ => return Err(format!("{name} is no primitive")),
    };
    let f = Fields(rest);
    let mut addr = address(&f)?;
    if let Some(Tok::Bytes(b)) = rest.iter().find(|t| matches!(t, Tok::Bytes(_))) {
        addr.clone_from(b); // an address of any shape
    }
    let get = |key| f.num(key).map(|n| n.unwrap_or(0) as u32);
    let conind = get("conind")?;
    if f.word("level").is_some() {
        addr = option(prim, [get("level")?, get("name")?], f.num("value")?);
    }
    let words: &[u32] = match prim {
        0 | 8 => &[prim, addr.len() as u32, 20, 0, 0],
        2 | 3 | 4 | 30 => &[prim, 1],
        6 | 26 => &[prim, addr.len() as u32, 16, conind],
        9 | 27 => &[prim, addr.len() as u32, 16, get("flags")?],
        5 | 7 | 10 | 24 => &[prim],
        _ => &[prim, 0, 0, 0, 0],
    };
    let mut ctl: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    ctl.extend_from_slice(&addr);
    ctl.extend(f.num("proto")?.map(|n| n as u8));
    let data = (prim == 8).then_some(&b"data"[..]);
    if let Err(e) = p.putmsg(fd, Some(&ctl), data, prim == 5) {
        return Ok(Err(e));
    }
    answer(p, fd)
}

/// The primitive that has come, and what is wrong; `nothing`.
pub fn answer(p: &Process, fd: i32) -> Result<Outcome, Wrong> {
    let got = match p.getmsg(fd, 256, 65536, false) {
        Err(Errno::EAGAIN) => return Ok(Ok(vec![Tok::word("nothing")])),
        Err(e) => return Ok(Err(e)),
        Ok(got) => got,
    };
    let Some(ctl) = got.ctl else {
        return Ok(Ok(vec![Tok::word("data")]));
    };
    let word = |i: usize| {
        let w = ctl.get(4 * i..4 * i + 4).and_then(|w| w.try_into().ok());
        w.map_or(0, u32::from_ne_bytes)
    };
    let mut v = vec![name_of(tpi::PRIMITIVES, word(0))];
    let errno = |n: u32| Tok::word(super::error_word(Errno::from_number(n as i32)));
    match word(0) {
        18 => {
            v.push(name_of(ERRORS, word(2)));
            v.extend((word(3) != 0).then(|| errno(word(3))));
        }
        21 => v.push(errno(word(5))),
        13 => v.push(errno(word(1))),
        22 => {
            // One option: the value is the last word of it.
            v.push(Tok::key("flags", Tok::Num(word(3).into())));
            let last = ctl.len() / 4 - 1;
            v.extend((last > 3).then(|| Tok::key("value", Tok::Num(word(last).into()))));
        }
        _ => {}
    }
    Ok(Ok(v))
}
