//! udp: the driver /dev/udp, a connectionless transport provider over this very stack.
//!
//! ```text
//!   T_BIND_REQ ─► port      T_UNITDATA_REQ ─► UDP header ─► output.rs
//!   T_CONN_REQ ─► peer      M_DATA ─► to the peer, the same way
//!   deliver.rs ─► the port that fits best ─► T_UNITDATA_IND
//!   I_PLINK of interface streams: kept alive under here
//! ```
//!
//! Interfaces are linked under /dev/udp and not under /dev/ip, because a tunnel's stream
//! has ip at its bottom and the linking of majors must not close a cycle.
//!
//! Spec: udp(7P), tihdr(7P), RFC 768, the reference's ip-tpi 4.5.
//! Kept: states, error replies, an anonymous port in place of a busy one (O_T_BIND_REQ),
//! unless it may be shared (SO_REUSEADDR).
//! Kept: of several streams on a port the connected one hears its peer, then the one with
//! the exact address, then the one with none; T_UDERROR_IND about what happened to a
//! datagram only for who asked (SO_DGRAM_ERRIND), of one that can't be sent always.

use streams::message::{Ctl, LinkBlk};
use streams::prelude::*;
use streams::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK};

use crate::module::{OnStack, lrput};
use crate::stack::{Port, Stack};
use crate::tpi::{self, Bad, Tli, Tpi, state};
use crate::tpi_options::{self, Net};
use crate::udp_options::Options;
use crate::wire::{self, HEADER, Header, be16, be32, is_multicast, proto, put16};
use crate::{icmp_out, ioctl, multicast, output};
use smallvec::SmallVec;

/// A /dev/udp stream.
pub struct Udp {
    state: u32,
    addr: u32,
    port: u16,
    peer: Option<(u32, u16)>,
    options: Options,
    privileged: bool,
}

/// What waits for a program to read it, bytes (`udp_recv_hiwat`).
const RECV_HIWAT: usize = 57344;

impl Module for Udp {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5607, "udp").marks(32768, 4096);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput);
    const MUX: Option<(QInit<Self>, QInit<Self>)> =
        Some((QInit::put(lrput), QInit::put(|q, mp| q.freemsg(mp))));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        tpi::head_room(q, RECV_HIWAT);
        Ok(Udp {
            state: state::UNBND,
            addr: 0,
            port: 0,
            peer: None,
            options: Options::default(),
            privileged: how.cred.privileged,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        unbind(q);
        multicast::leave_all(q);
        Wait::Done
    }
}

fn unbind(q: &mut Queue<'_, Udp>) {
    let me = q.rd().qref();
    let Some(u) = q.try_ptr() else { return };
    let port = std::mem::take(&mut u.port);
    u.state = state::UNBND;
    u.peer = None;
    let ports = &mut q.shared().ports;
    if let Some(list) = ports.get_mut(&port) {
        list.retain(|p| p.q != me);
        if list.is_empty() {
            ports.remove(&port);
        }
    }
}

/// What others need to know of this stream has changed.
fn publish(q: &mut Queue<'_, Udp>) {
    let me = q.rd().qref();
    let (u, s) = q.both();
    let mine = s.ports.get_mut(&u.port).into_iter().flatten();
    for p in mine.filter(|p| p.q == me) {
        (p.peer, p.errind) = (u.peer, u.options.errind);
    }
}

fn wput(q: &mut Queue<'_, Udp>, mp: Msg) {
    match mp.ty() {
        MsgType::Proto | MsgType::PcProto => request(q, mp),
        MsgType::Ioctl => {
            let cmd = mp.ioc().map_or(0, |i| i.cmd);
            let link = matches!(
                mp.cont().and_then(Msg::ctl),
                Some(Ctl::Link(LinkBlk { .. }))
            );
            match cmd {
                I_LINK | I_PLINK | I_UNLINK | I_PUNLINK if link => q.iocack(mp, 0),
                _ => ioctl::client_ioctl(q, mp),
            }
        }
        MsgType::IocData => ioctl::client_ioctl(q, mp),
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Data => match q.ptr().peer {
            Some(to) => datagram(q, to, mp),
            None => q.discard(mp, "data for nobody: not connected"),
        },
        _ => q.discard(mp, "not for udp"),
    }
}

fn request(q: &mut Queue<'_, Udp>, mp: Msg) {
    let t = match Tpi::parse(mp.rd()) {
        Ok(t) => t,
        Err(Bad::Malformed(tpi::T_UNITDATA_REQ)) => {
            q.discard(mp, "a malformed T_UNITDATA_REQ");
            return q.qreply(tpi::uderror_ind(&[], Errno::EINVAL));
        }
        Err(Bad::Malformed(prim)) => {
            q.freemsg(mp);
            return q.qreply(tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EINVAL)));
        }
        Err(Bad::Unsupported(prim) | Bad::Unknown(prim)) => {
            q.freemsg(mp);
            return q.qreply(tpi::error_ack(prim, Tli::NOTSUPPORT, None));
        }
    };
    match t {
        Tpi::CapabilityReq(bits) => {
            let info = tpi::info_ack(65507, q.ptr().state);
            q.freemsg(mp);
            q.qreply(tpi::capability_ack(bits, &info));
        }
        Tpi::AddrReq => {
            let u = q.ptr();
            let local = tpi::sockaddr_bytes(u.port, u.addr);
            let local = if u.state == state::UNBND {
                &[][..]
            } else {
                &local
            };
            let remote = u.peer.map(|(a, p)| tpi::sockaddr_bytes(p, a));
            let answer = tpi::addr_ack(local, remote.as_ref().map_or(&[][..], |r| r));
            q.freemsg(mp);
            q.qreply(answer);
        }
        Tpi::OptmgmtReq { prim, opts, flags } => {
            let me = q.rd().qref();
            let (u, s) = q.both();
            u.options.default_ttl = s.params.def_ttl;
            let mut groups = s.multicast.of(me);
            let net = Net {
                stack: s,
                groups: &mut groups,
            };
            let answer = tpi_options::manage(&mut u.options, Some(net), prim, &opts, flags);
            multicast::commit(q, groups);
            publish(q);
            q.freemsg(mp);
            q.qreply(answer);
        }
        Tpi::ConnReq { dest } => {
            q.freemsg(mp);
            connect(q, &dest);
        }
        Tpi::DisconReq => {
            q.freemsg(mp);
            let u = q.ptr();
            if u.state != state::DATA_XFER {
                return q.qreply(tpi::error_ack(tpi::T_DISCON_REQ, Tli::OUTSTATE, None));
            }
            (u.state, u.peer) = (state::IDLE, None);
            publish(q);
            q.qreply(tpi::ok_ack(tpi::T_DISCON_REQ));
        }
        Tpi::InfoReq => {
            let state = q.ptr().state;
            q.freemsg(mp);
            q.qreply(tpi::info_ack(65507, state));
        }
        Tpi::Bind { prim, addr, .. } => {
            let answer = bind(q, prim, &addr);
            q.freemsg(mp);
            q.qreply(answer);
        }
        Tpi::UnbindReq => {
            let ok = q.ptr().state == state::IDLE;
            q.freemsg(mp);
            if ok {
                unbind(q);
                q.qreply(tpi::ok_ack(tpi::T_UNBIND_REQ));
            } else {
                q.qreply(tpi::error_ack(tpi::T_UNBIND_REQ, Tli::OUTSTATE, None));
            }
        }
        Tpi::UnitdataReq { dest } => send(q, &dest, mp),
    }
}

/// T_CONN_REQ: from now on to this peer and from it alone.
fn connect(q: &mut Queue<'_, Udp>, dest: &[u8]) {
    let refuse = |e| tpi::error_ack(tpi::T_CONN_REQ, e, None);
    if q.ptr().state != state::IDLE {
        return q.qreply(refuse(Tli::OUTSTATE));
    }
    let peer = tpi::sockaddr(dest).filter(|(port, addr)| *port != 0 && *addr != 0);
    let Some((port, addr)) = peer else {
        return q.qreply(refuse(Tli::BADADDR));
    };
    let u = q.ptr();
    (u.state, u.peer) = (state::DATA_XFER, Some((addr, port)));
    publish(q);
    q.qreply(tpi::ok_ack(tpi::T_CONN_REQ));
    q.qreply(tpi::conn_con(dest));
}

/// Binds to an address and port; the answer to send.
fn bind(q: &mut Queue<'_, Udp>, prim: u32, addr: &[u8]) -> Msg {
    if q.ptr().state != state::UNBND {
        return tpi::error_ack(prim, Tli::OUTSTATE, None);
    }
    let (want, local) = match tpi::sockaddr(addr) {
        Some((port, a)) => (port, a),
        None if addr.is_empty() => (0, 0),
        None => return tpi::error_ack(prim, Tli::BADADDR, None),
    };
    if want != 0 && want < 1024 && !q.ptr().privileged {
        return tpi::error_ack(prim, Tli::ACCES, None);
    }
    if local != 0 && !is_multicast(local) && !q.shared().is_local(local) {
        return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EADDRNOTAVAIL));
    }
    let me = q.rd().qref();
    let reuse = q.ptr().options.reuse;
    let s = q.shared();
    let busy = |s: &Stack, p: u16| {
        s.ports.get(&p).is_some_and(|l| {
            l.iter()
                .any(|x| x.addr == 0 || local == 0 || x.addr == local)
        })
    };
    let mut port = want;
    if port == 0 || (busy(s, port) && !reuse) {
        if port != 0 && prim == tpi::T_BIND_REQ {
            return tpi::error_ack(prim, Tli::ADDRBUSY, None);
        }
        let first = s.last_port;
        loop {
            s.last_port = s.last_port.checked_add(1).unwrap_or(32768).max(32768);
            if !busy(s, s.last_port) {
                break;
            }
            if s.last_port == first {
                return tpi::error_ack(prim, Tli::NOADDR, None);
            }
        }
        port = s.last_port;
    }
    s.ports.entry(port).or_default().push(Port {
        addr: local,
        peer: None,
        errind: false,
        q: me,
    });
    let u = q.ptr();
    (u.state, u.addr, u.port) = (state::IDLE, local, port);
    publish(q); // options may have been set before
    tpi::bind_ack(&tpi::sockaddr_bytes(port, local), 0)
}

/// T_UNITDATA_REQ: where to, and the data.
fn send(q: &mut Queue<'_, Udp>, dest: &[u8], mut mp: Msg) {
    let state = q.ptr().state;
    let to = tpi::sockaddr(dest).filter(|_| state == state::IDLE);
    let Some((port, addr)) = to else {
        let e = match state {
            state::IDLE => Errno::EINVAL,
            state::DATA_XFER => Errno::EISCONN,
            _ => Errno::EPROTO,
        };
        let ind = tpi::uderror_ind(dest, e);
        q.discard(mp, "a datagram that cannot be sent");
        return q.qreply(ind);
    };
    let data = match mp.take_cont() {
        Some(d) => d,
        None => q.alloc(64, 0),
    };
    q.freemsg(mp);
    datagram(q, (addr, port), data);
}

/// A UDP header, then IP's output.
fn datagram(q: &mut Queue<'_, Udp>, (daddr, dport): (u32, u16), mut data: Msg) {
    let (from, port, options) = {
        let u = q.ptr();
        (u.addr, u.port, u.options)
    };
    let len = data.msgsize() + 8;
    if len + HEADER > 65535 {
        q.discard(data, "longer than a datagram");
        let dest = tpi::sockaddr_bytes(dport, daddr);
        return q.qreply(tpi::uderror_ind(&dest, Errno::EMSGSIZE));
    }
    let me = q.rd().qref();
    let s = q.shared();
    s.mib.udp_out_datagrams += 1;
    let group = is_multicast(daddr);
    // One bound to a group has no address to send from.
    let src = if from != 0 && !is_multicast(from) {
        from
    } else if group {
        s.multicast_source(me, daddr)
    } else {
        s.route(daddr).map_or(0, |id| s.source_for(id))
    };
    let ttl = if group {
        s.multicast.of(me).ttl()
    } else {
        options.ttl.unwrap_or(s.params.def_ttl)
    };
    let mut h = [0; 8];
    put16(&mut h, 0, port);
    put16(&mut h, 2, dport);
    put16(&mut h, 4, len as u16);
    let body = data.blocks().fold((0u64, false), |(acc, odd), b| {
        // An odd block shifts what follows by a byte.
        let part = u64::from(wire::sum(b.rd()));
        let part = if odd {
            u64::from((part as u16).swap_bytes())
        } else {
            part
        };
        (acc + part, odd ^ (b.len() % 2 == 1))
    });
    let sum = pseudo(src, daddr, len) + body.0 + u64::from(wire::sum(&h));
    let c = !wire::fold(sum);
    put16(&mut h, 6, if c == 0 { 0xffff } else { c });
    data.prepend(8, 64).copy_from_slice(&h);
    let ip = wire::header(len + HEADER, proto::UDP, ttl, options.tos, 0, src, daddr);
    data.prepend(HEADER, 64).copy_from_slice(&ip);
    output::ip_output(q, data);
}

/// The pseudo header's share of a UDP checksum (RFC 768).
fn pseudo(src: u32, dst: u32, len: usize) -> u64 {
    u64::from(src) + u64::from(dst) + u64::from(proto::UDP) + len as u64
}

/// How well a stream fits a datagram: 4 for its peer, 2 for its own address; `None` if it
/// is not for it.
fn fit(p: &Port, h: &Header, sport: u16) -> Option<u32> {
    let own = match p.addr {
        0 => 0,
        a if a == h.dst => 2,
        _ => return None,
    };
    match p.peer {
        None => Some(own),
        Some(peer) if peer == (h.src, sport) => Some(4 + own),
        Some(_) => None,
    }
}

/// A UDP datagram for us.
pub fn udp_input<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mut mp: Msg, group: bool) {
    if mp.cont().is_some() && !mp.pullupmsg(None) {
        return q.discard(mp, "UDP cut short");
    }
    let body = mp.rd().get(h.ihl..).unwrap_or(&[]);
    let len = usize::from(be16(body, 4));
    let sound = body.len() >= 8 && len >= 8 && len <= body.len();
    let summed = sound
        && (be16(body, 6) == 0
            || wire::fold(pseudo(h.src, h.dst, len) + u64::from(wire::sum(&body[..len])))
                == 0xffff);
    if !summed {
        q.shared().mib.udp_in_errors += 1;
        return q.discard(mp, "UDP checksum or length");
    }
    let (sport, dport) = (be16(body, 0), be16(body, 2));
    let s = q.shared();
    // Of groups a stream hears those that it has joined on this interface.
    let filtered = is_multicast(h.dst);
    let groups = &s.multicast;
    let mut to: SmallVec<[(u32, QRef); 4]> = s
        .ports
        .get(&dport)
        .into_iter()
        .flatten()
        .filter_map(|p| Some((fit(p, h, sport)?, p.q)))
        .filter(|(_, u)| !filtered || groups.wants(*u, ill, h.dst, h.src))
        .collect();
    to.sort_by_key(|t| std::cmp::Reverse(t.0)); // stable: who came first, first
    if to.is_empty() {
        if crate::deliver::is_wanted(s, ill, h) {
            return crate::deliver::fanout(q, ill, h, mp, group);
        }
        s.mib.udp_no_ports += 1;
        if !group {
            icmp_out::error(
                q,
                ill,
                &mp,
                icmp_out::ty::UNREACHABLE,
                icmp_out::code::PORT,
                0,
            );
        }
        return q.discard(mp, "no UDP port");
    }
    s.mib.udp_in_datagrams += 1;
    s.mib.in_delivers += 1;
    mp.adjmsg(h.ihl as isize + 8);
    mp.truncate(len - 8);
    let n = if group { to.len() } else { 1 };
    for (i, (_, u)) in to[..n].iter().enumerate() {
        let data = if i + 1 == n {
            std::mem::replace(&mut mp, Msg::allocb(0))
        } else {
            mp.dupmsg()
        };
        let mut ind = tpi::unitdata_ind(&tpi::sockaddr_bytes(sport, h.src));
        ind.set_tag(data.tag());
        ind.set_cont(Some(data));
        crate::deliver::give(q, *u, ind);
    }
}

/// An ICMP error about a datagram that one of our ports sent: T_UDERROR_IND.
pub(crate) fn icmp_error<M: OnStack>(q: &mut Queue<'_, M>, inner: &[u8], ty: u8, code: u8) {
    let ihl = usize::from(inner[0] & 0xf) * 4;
    let (sport, dport) = (be16(inner, ihl), be16(inner, ihl + 2));
    let (src, dst) = (be32(inner, 12), be32(inner, 16));
    let e = crate::icmp_in::errno(ty, code);
    let mine = |p: &&crate::stack::Port| {
        (p.addr == 0 || p.addr == src) && p.peer.is_none_or(|peer| peer == (dst, dport))
    };
    let ports = &q.shared().ports;
    let to = ports.get(&sport).and_then(|l| l.iter().find(mine));
    let to = to.filter(|p| p.errind).map(|p| p.q);
    if let Some(u) = to {
        let ind = tpi::uderror_ind(&tpi::sockaddr_bytes(dport, dst), e);
        crate::deliver::give(q, u, ind);
    }
}
