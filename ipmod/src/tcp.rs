//! tcp: the driver /dev/tcp, a connection-oriented transport provider with orderly release.
//!
//! ```text
//!   T_BIND_REQ, T_CONN_REQ, T_CONN_RES ─┐                     ┌─► T_CONN_CON, T_CONN_IND
//!   M_DATA, T_DATA_REQ ─► write queue ──┴─► tcp_engine.rs ────┼─► M_DATA
//!   T_ORDREL_REQ ───────► write queue ──►                     └─► T_ORDREL_IND, T_DISCON_IND
//! ```
//!
//! Spec: tcp(7P), tihdr(7P), RFC 793.
//! Kept: T_CONN_IND once the handshake is over; data goes up as M_DATA; the accepting
//! stream is named by the ACCEPTOR_id of its T_CAPABILITY_ACK.
//! Absent: T_OPTMGMT_REQ, urgent data. A closed stream's last segments are sent again only
//! while another /dev/tcp stream is open, whose timer they use.

use smoltcp::socket::tcp::State;
use streams::prelude::*;

use crate::module::OnStack;
use crate::output;
use crate::stack::Stack;
use crate::tcp_engine::Conn;
use crate::tpi::{self, Bad, Tli, Tpi, state};
use crate::wire::{self, HEADER, Header, be32, proto};

const T_CONN_RES: u32 = 1;
const T_DATA_REQ: u32 = 3;
const T_ORDREL_REQ: u32 = 10;

/// A /dev/tcp stream; its state is the engine's.
pub struct Tcp {
    privileged: bool,
}

impl Module for Tcp {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5606, "tcp").marks(32768, 4096);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| q.putnext(mp)).srv(pump);
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let (id, rq) = (q.stream_id(), q.rd().qref());
        q.shared().tcp.conns.push(Conn {
            id,
            rq,
            state: state::UNBND,
            addr: 0,
            port: 0,
            sock: None,
            listening: Vec::new(),
            pending: Vec::new(),
        });
        Ok(Tcp {
            privileged: how.cred.privileged,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let me = q.rd().qref();
        let e = &mut q.shared().tcp;
        e.armed = None; // it may have been this stream's
        if let Some(i) = e.conns.iter().position(|c| c.rq == me) {
            let c = e.conns.remove(i);
            for h in c.listening {
                e.sockets.remove(h);
            }
            for (_, h) in c.pending {
                e.tcp(h).abort();
                e.orphans.push(h);
            }
            if let Some(h) = c.sock {
                e.tcp(h).close();
                e.orphans.push(h);
            }
        }
        pump(q);
        Wait::Done
    }

    fn timeout(q: &mut Queue<'_, Self>, _: u64) {
        q.shared().tcp.armed = None;
        pump(q);
    }
}

fn wput(q: &mut Queue<'_, Tcp>, mp: Msg) {
    match mp.ty() {
        MsgType::Data => q.putq(mp),
        MsgType::Proto | MsgType::PcProto => match tpi::words(mp.rd())[0] {
            T_DATA_REQ | T_ORDREL_REQ if mp.len() >= 4 => q.putq(mp),
            _ => request(q, mp),
        },
        MsgType::Ioctl | MsgType::IocData => crate::ioctl::client_ioctl(q, mp),
        MsgType::Flush => q.flush_driver(mp),
        _ => q.discard(mp, "not for tcp"),
    }
}

/// Data and the release behind it, in order, as the socket has room.
fn wsrv(q: &mut Queue<'_, Tcp>) {
    let me = q.rd().qref();
    while let Some(mut mp) = q.getq() {
        let e = &mut q.shared().tcp;
        let Some((i, h)) = e
            .conns
            .iter()
            .position(|c| c.rq == me && matches!(c.state, state::DATA_XFER | state::WREQ_ORDREL))
            .and_then(|i| Some((i, e.conns[i].sock?)))
        else {
            q.discard(mp, "data without a connection");
            continue;
        };
        if mp.ty() != MsgType::Data {
            if tpi::words(mp.rd())[0] == T_ORDREL_REQ {
                e.tcp(h).close();
                e.conns[i].state = match e.conns[i].state {
                    state::DATA_XFER => state::WIND_ORDREL,
                    _ => state::IDLE,
                };
                q.freemsg(mp);
                continue;
            }
            let data = mp.take_cont();
            q.freemsg(mp);
            match data {
                Some(d) => mp = d,
                None => continue,
            }
        }
        let len = mp.msgsize();
        let mut sent = 0;
        let e = &mut q.shared().tcp;
        for b in mp.blocks() {
            let n = e.tcp(h).send_slice(b.rd()).unwrap_or(0);
            sent += n;
            if n < b.len() {
                break;
            }
        }
        if sent < len {
            mp.adjmsg(sent as isize);
            q.putbq(mp);
            break; // pump enables us when there is room
        }
        q.freemsg(mp);
    }
    pump(q);
}

fn request(q: &mut Queue<'_, Tcp>, mp: Msg) {
    let w = tpi::words(mp.rd());
    let answer = match (w[0], mp.len()) {
        (T_CONN_RES, 20..) => accept(q, w[1], be_native(mp.rd(), 16)),
        (tpi::T_DISCON_REQ, 8..) => disconnect(q, w[1]),
        _ => match Tpi::parse(mp.rd()) {
            Ok(t) => ask(q, t),
            Err(Bad::Malformed(p)) => tpi::error_ack(p, Tli::SYSERR, Some(Errno::EINVAL)),
            Err(Bad::Unsupported(p) | Bad::Unknown(p)) => tpi::error_ack(p, Tli::NOTSUPPORT, None),
        },
    };
    q.freemsg(mp);
    q.qreply(answer);
    pump(q);
}

fn be_native(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4)
        .and_then(|w| w.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn ask(q: &mut Queue<'_, Tcp>, t: Tpi) -> Msg {
    let me = q.rd().qref();
    let privileged = q.ptr().privileged;
    let s = q.shared();
    let Some(i) = s.tcp.conns.iter().position(|c| c.rq == me) else {
        return tpi::error_ack(u32::MAX, Tli::OUTSTATE, None);
    };
    let (now, id) = (s.tcp.conns[i].state, s.tcp.conns[i].id);
    match t {
        Tpi::InfoReq => tpi::info_ack_cots(now),
        Tpi::CapabilityReq(bits) => tpi::capability_ack_as(bits, &tpi::info_ack_cots(now), id),
        Tpi::Bind {
            prim, addr, conind, ..
        } => {
            if now != state::UNBND {
                return tpi::error_ack(prim, Tli::OUTSTATE, None);
            }
            let (mut port, local) = match tpi::sockaddr(&addr) {
                Some(a) => a,
                None if addr.is_empty() => (0, 0),
                None => return tpi::error_ack(prim, Tli::BADADDR, None),
            };
            if port != 0 && port < 1024 && !privileged {
                return tpi::error_ack(prim, Tli::ACCES, None);
            }
            if local != 0 && !s.is_local(local) {
                return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EADDRNOTAVAIL));
            }
            let e = &mut s.tcp;
            let busy = |p: u16| e.conns.iter().any(|c| c.port == p);
            if port != 0 && busy(port) {
                return tpi::error_ack(prim, Tli::ADDRBUSY, None);
            }
            if port == 0 {
                match (32768..=u16::MAX).find(|p| !busy(*p)) {
                    Some(p) => port = p,
                    None => return tpi::error_ack(prim, Tli::NOADDR, None),
                }
            }
            let qlen = conind.min(16);
            let listening = (0..qlen).map(|_| e.listen(local, port)).collect();
            let c = &mut e.conns[i];
            (c.state, c.addr, c.port, c.listening) = (state::IDLE, local, port, listening);
            tpi::bind_ack(&tpi::sockaddr_bytes(port, local), qlen)
        }
        Tpi::UnbindReq => {
            let e = &mut s.tcp;
            if now != state::IDLE {
                return tpi::error_ack(tpi::T_UNBIND_REQ, Tli::OUTSTATE, None);
            }
            for h in std::mem::take(&mut e.conns[i].listening) {
                e.sockets.remove(h);
            }
            e.orphans.extend(e.conns[i].sock.take());
            (e.conns[i].state, e.conns[i].port) = (state::UNBND, 0);
            tpi::ok_ack(tpi::T_UNBIND_REQ)
        }
        Tpi::ConnReq { dest } => {
            let refuse = |e| tpi::error_ack(tpi::T_CONN_REQ, e, None);
            let Some((port, to)) = tpi::sockaddr(&dest).filter(|(p, a)| *p != 0 && *a != 0) else {
                return refuse(Tli::BADADDR);
            };
            if now != state::IDLE || !s.tcp.conns[i].listening.is_empty() {
                return refuse(Tli::OUTSTATE);
            }
            let from = match s.tcp.conns[i].addr {
                0 => s.route(to).map_or(0, |id| s.source_for(id)),
                a => a,
            };
            let e = &mut s.tcp;
            e.orphans.extend(e.conns[i].sock.take());
            let Some(h) = e.connect((from, e.conns[i].port), (to, port)) else {
                return refuse(Tli::BADADDR);
            };
            let c = &mut e.conns[i];
            (c.sock, c.state) = (Some(h), state::WCON_CREQ);
            tpi::ok_ack(tpi::T_CONN_REQ)
        }
        Tpi::UnitdataReq { .. } => tpi::error_ack(tpi::T_UNITDATA_REQ, Tli::NOTSUPPORT, None),
        Tpi::OptmgmtReq { .. } => tpi::error_ack(tpi::T_SVR4_OPTMGMT_REQ, Tli::NOTSUPPORT, None),
        Tpi::AddrReq => tpi::error_ack(tpi::T_ADDR_REQ, Tli::NOTSUPPORT, None),
        Tpi::DisconReq => tpi::error_ack(tpi::T_DISCON_REQ, Tli::SYSERR, Some(Errno::EINVAL)),
    }
}

/// T_CONN_RES: the connection moves to the stream that has this ACCEPTOR_id.
fn accept(q: &mut Queue<'_, Tcp>, acceptor: u32, seq: u32) -> Msg {
    let me = q.rd().qref();
    let e = &mut q.shared().tcp;
    let refuse = |e| tpi::error_ack(T_CONN_RES, e, None);
    let Some(l) = e.conns.iter().position(|c| c.rq == me) else {
        return refuse(Tli::OUTSTATE);
    };
    let Some(at) = e.conns[l].pending.iter().position(|p| p.0 == seq) else {
        return refuse(Tli::BADSEQ);
    };
    let fits = |c: &Conn| {
        c.id == acceptor
            && c.rq != me
            && c.sock.is_none()
            && c.listening.is_empty()
            && matches!(c.state, state::UNBND | state::IDLE)
    };
    let Some(a) = e.conns.iter().position(fits) else {
        return refuse(Tli::BADF);
    };
    let (_, h) = e.conns[l].pending.remove(at);
    if e.conns[l].pending.is_empty() {
        e.conns[l].state = state::IDLE;
    }
    let c = &mut e.conns[a];
    (c.sock, c.state) = (Some(h), state::DATA_XFER);
    tpi::ok_ack(T_CONN_RES)
}

/// T_DISCON_REQ: refuses a connection indicated, or aborts the one there is.
fn disconnect(q: &mut Queue<'_, Tcp>, seq: u32) -> Msg {
    let me = q.rd().qref();
    let e = &mut q.shared().tcp;
    let i = e.conns.iter().position(|c| c.rq == me);
    let h = i.and_then(|i| {
        let c = &mut e.conns[i];
        let h = match c.pending.iter().position(|p| p.0 == seq) {
            Some(at) => Some(c.pending.remove(at).1),
            None => c.sock.take(),
        };
        if h.is_some() && c.pending.is_empty() {
            c.state = state::IDLE;
        }
        h
    });
    let Some(h) = h else {
        return tpi::error_ack(tpi::T_DISCON_REQ, Tli::OUTSTATE, None);
    };
    e.tcp(h).abort();
    e.orphans.push(h);
    tpi::ok_ack(tpi::T_DISCON_REQ)
}

/// Segments in and out, then news to every stream, then the timer.
pub(crate) fn pump<M: OnStack>(q: &mut Queue<'_, M>) {
    if std::mem::replace(&mut q.shared().tcp.busy, true) {
        return;
    }
    loop {
        let now = q.now();
        let e = &mut q.shared().tcp;
        e.poll(now);
        let out = std::mem::take(&mut e.phy.tx);
        for b in out {
            let (src, dst, ttl) = (be32(&b, 12), be32(&b, 16), b[8]);
            let mut mp = Msg::of(MsgType::Data, &b);
            let head = wire::header(b.len(), proto::TCP, ttl, 0, 0, src, dst);
            mp.adjmsg(HEADER as isize);
            mp.prepend(HEADER, 64).copy_from_slice(&head);
            output::ip_output(q, mp);
        }
        for i in 0..q.shared().tcp.conns.len() {
            news(q, i);
        }
        let e = &mut q.shared().tcp;
        if e.phy.rx.is_empty() && e.phy.tx.is_empty() {
            break;
        }
    }
    let now = q.now();
    let e = &mut q.shared().tcp;
    e.busy = false;
    let Some(after) = e.delay(now) else { return };
    let Some(rq) = e.conns.first().map(|c| c.rq) else {
        return;
    };
    if e.armed.is_none_or(|t| t > now + after) {
        e.armed = Some(now + after);
        if let Some(mut timed) = q.at(rq) {
            timed.qtimeout(after, 0);
        }
    }
}

/// What has happened to a stream's sockets, told to its user.
fn news<M: OnStack>(q: &mut Queue<'_, M>, i: usize) {
    let e = &mut q.shared().tcp;
    let (rq, addr, port) = (e.conns[i].rq, e.conns[i].addr, e.conns[i].port);
    for n in 0..e.conns[i].listening.len() {
        let e = &mut q.shared().tcp;
        let h = e.conns[i].listening[n];
        let s = e.tcp(h);
        let done = s.may_send() || s.state() == State::CloseWait;
        let Some(peer) = s.remote_endpoint().filter(|_| done) else {
            continue;
        };
        let smoltcp::wire::IpAddress::Ipv4(a) = peer.addr;
        let seq = e.next_seq;
        e.next_seq = e.next_seq.wrapping_add(1).max(1);
        e.conns[i].listening[n] = e.listen(addr, port);
        e.conns[i].pending.push((seq, h));
        e.conns[i].state = state::WRES_CIND;
        up(
            q,
            rq,
            tpi::conn_ind(&tpi::sockaddr_bytes(peer.port, a.into()), seq),
        );
    }
    let e = &mut q.shared().tcp;
    let Some(h) = e.conns[i].sock else { return };
    let s = e.tcp(h);
    let (open, peer, established) = (s.is_open(), s.remote_endpoint(), s.may_send());
    let room = s.can_send();
    if e.conns[i].state == state::WCON_CREQ && established {
        e.conns[i].state = state::DATA_XFER;
        if let Some(p) = peer {
            let smoltcp::wire::IpAddress::Ipv4(a) = p.addr;
            up(q, rq, tpi::conn_con(&tpi::sockaddr_bytes(p.port, a.into())));
        }
    }
    while q.at(rq).is_some_and(|mut u| u.canputnext()) {
        let s = q.shared().tcp.tcp(h);
        let Ok(data) = s.recv(|b| (b.len(), b.to_vec())) else {
            break;
        };
        if data.is_empty() {
            break;
        }
        up(q, rq, Msg::of(MsgType::Data, &data));
    }
    let e = &mut q.shared().tcp;
    let s = e.tcp(h);
    let drained = !s.can_recv();
    let finished = drained
        && matches!(
            s.state(),
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait
        );
    let c = &mut e.conns[i];
    match c.state {
        state::DATA_XFER if finished => {
            c.state = state::WREQ_ORDREL;
            up(q, rq, tpi::ordrel_ind());
        }
        state::WIND_ORDREL if finished => {
            c.state = state::IDLE;
            up(q, rq, tpi::ordrel_ind());
        }
        state::IDLE => {}
        _ if !open && drained => {
            let why = if c.state == state::WCON_CREQ {
                Errno::ECONNREFUSED
            } else {
                Errno::ECONNRESET
            };
            c.state = state::IDLE;
            c.sock = None;
            e.orphans.push(h);
            up(q, rq, tpi::discon_ind(why));
        }
        _ => {}
    }
    if room && let Some(mut u) = q.at(rq) {
        let mut w = u.wr();
        if w.qsize() > 0 {
            w.qenable();
        }
    }
}

fn up<M: OnStack>(q: &mut Queue<'_, M>, rq: QRef, mp: Msg) {
    match q.at(rq) {
        Some(mut u) => u.putnext(mp),
        None => q.discard(mp, "the receiver is gone"),
    }
}

/// A TCP segment for us.
pub(crate) fn tcp_input<M: OnStack>(q: &mut Queue<'_, M>, h: &Header, mp: Msg) {
    let mut b = mp.to_vec();
    if h.ihl != HEADER {
        b.drain(HEADER..h.ihl.min(b.len())); // options are IP's business
        let head = wire::header(b.len(), proto::TCP, 64, 0, 0, h.src, h.dst);
        b[..HEADER].copy_from_slice(&head);
    }
    // A datagram put together from pieces still has its own length and sum.
    q.shared().mib.in_delivers += 1;
    q.shared().tcp.phy.rx.push_back(b);
    q.freemsg(mp);
    pump(q);
}
