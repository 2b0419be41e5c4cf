//! What happens to connections: segments in and out, and what is said about it upwards.
//!
//! ```text
//!   deliver.rs ─► segment ─► engine ─► tcp_segment.rs ─► output.rs      (MSS of a SYN: at most what the route
//!                              │                       to the other end carries, either way)
//!                              ▼ each stream's sockets
//!   T_CONN_IND  T_CONN_CON  M_DATA  T_ORDREL_IND  T_DISCON_IND
//!
//!   timer: on a stream of /dev/tcp; when all have closed, on an interface's
//! ```
//!
//! Spec: tihdr(7P), RFC 793; RFC 1122 4.2.2.6 (MSS), 4.2.3.9 (ICMP).
//! Kept: an ICMP error ends a connection that is being made if it is a hard one; any other
//! is no more than the reason in T_DISCON_IND should nothing better come.

use smoltcp::socket::tcp::State;
use streams::prelude::*;

use crate::module::OnStack;
use crate::output;
use crate::stack::Stack;
use crate::tcp::flush;
use crate::tcp_engine::end;
use crate::tcp_segment::{cut, too_long};
use crate::tpi::{self, state};
use crate::wire::{self, HEADER, Header, IP_DF, be16, be32, fold, proto, put16};

/// The timer of TCP, on the stream of an interface.
pub(crate) const TIMER: u64 = 0x746370;

const FIN_SYN_RST: usize = 13;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Segments in and out, then news to every stream, then the timer.
pub(crate) fn pump<M: OnStack>(q: &mut Queue<'_, M>) {
    if std::mem::replace(&mut q.shared().tcp.busy, true) {
        return;
    }
    loop {
        let now = q.now();
        let e = &mut q.shared().tcp;
        e.poll(now);
        while let Some(mut b) = q.shared().tcp.phy.tx.pop_front() {
            let dst = be32(&b, 16);
            let s = q.shared();
            s.tcp.mib.out_segs += 1;
            s.tcp.mib.out_rsts += u64::from(b[HEADER + FIN_SYN_RST] & RST != 0);
            clamp(s, dst, now, &mut b[HEADER..]);
            let mtu = route_mtu(s, dst, now);
            if too_long(&b, mtu) {
                cut(&b, mtu).for_each(|piece| send(q, &piece));
            } else {
                send(q, &b);
            }
        }
        for i in 0..q.shared().tcp.conns.len() {
            indicated(q, i);
            asked_for(q, i);
            connected(q, i);
        }
        let e = &mut q.shared().tcp;
        if e.phy.rx.is_empty() && e.phy.tx.is_empty() {
            break;
        }
    }
    q.shared().tcp.busy = false;
    arm(q);
}

/// A segment, with the addresses and the TTL in front of it.
fn send<M: OnStack>(q: &mut Queue<'_, M>, b: &[u8]) {
    let (src, dst, ttl) = (be32(b, 12), be32(b, 16), b[8]);
    let s = q.shared();
    let (own, peer) = ((src, be16(b, HEADER)), (dst, be16(b, HEADER + 2)));
    let tos = s.tcp.tos_between(own, peer);
    let mut head = wire::header(b.len(), proto::TCP, ttl, tos, 0, src, dst);
    if s.path_mtu.discovery {
        put16(&mut head, 6, IP_DF); // RFC 1191 3
    }
    let mut mp = Msg::of(MsgType::Data, b);
    mp.adjmsg(HEADER as isize);
    mp.prepend(HEADER, 64).copy_from_slice(&head);
    output::ip_output(q, mp);
}

/// Has the engine work again when it must.
fn arm<M: OnStack>(q: &mut Queue<'_, M>) {
    let now = q.now();
    let s = q.shared();
    let Some(at) = s.tcp.delay(now).map(|d| now + d) else {
        return;
    };
    if s.tcp.armed.is_some_and(|a| a.0 <= at) {
        return;
    }
    let stream = s.tcp.conns.first().map(|c| c.rq);
    let interface = || s.ills.iter().flatten().find_map(|i| i.wq);
    let Some(on) = stream.or_else(interface) else {
        return; // nobody can reach us either
    };
    if let Some((_, _, id)) = s.tcp.armed.take() {
        q.quntimeout(id);
    }
    if let Some(mut timed) = q.at(on) {
        let id = timed.qtimeout(at - now, TIMER);
        q.shared().tcp.armed = Some((at, on, id));
    }
}

/// An interface's timer, or the interface is going and had it.
pub(crate) fn rearm<M: OnStack>(q: &mut Queue<'_, M>, gone: Option<QRef>) {
    let e = &mut q.shared().tcp;
    match gone {
        Some(wq) => e.forget_timer_of(&[wq]),
        None => e.armed = None,
    }
    if !e.is_quiet() {
        pump(q);
    }
}

/// Connections to a listening stream: made, or gone before they were answered.
fn indicated<M: OnStack>(q: &mut Queue<'_, M>, i: usize) {
    let e = &mut q.shared().tcp;
    if e.conns[i].qlen == 0 {
        return;
    }
    let rq = e.conns[i].rq;
    let mut say = Vec::new();
    for (seq, h) in std::mem::take(&mut e.conns[i].pending) {
        if e.tcp(h).is_open() {
            e.conns[i].pending.push((seq, h));
            continue;
        }
        e.part(h, true);
        say.push(tpi::discon_ind(Errno::ECONNRESET, seq));
    }
    for h in std::mem::take(&mut e.conns[i].listening) {
        let s = e.tcp(h);
        let made = s.may_send() || s.state() == State::CloseWait;
        match s.remote_endpoint().map(end) {
            Some((addr, port)) if made => {
                let seq = e.next_seq;
                e.next_seq = e.next_seq.wrapping_add(1).max(1);
                e.mib.passive_opens += 1;
                e.tcp(h).set_timeout(None);
                e.conns[i].pending.push((seq, h));
                say.push(tpi::conn_ind(&tpi::sockaddr_bytes(port, addr), seq));
            }
            _ if s.is_open() => e.conns[i].listening.push(h),
            _ => e.part(h, true), // given up in the handshake
        }
    }
    e.listen(i);
    let c = &mut e.conns[i];
    c.state = match c.pending.is_empty() {
        false => state::WRES_CIND,
        true if c.state == state::WRES_CIND => state::IDLE,
        true => c.state,
    };
    for mp in say {
        up(q, rq, mp);
    }
}

/// The connection that a stream asked for is there.
fn asked_for<M: OnStack>(q: &mut Queue<'_, M>, i: usize) {
    let e = &mut q.shared().tcp;
    let c = &e.conns[i];
    let (rq, options, ends) = (c.rq, c.options, c.ends);
    let Some(h) = c.sock.filter(|_| c.state == state::WCON_CREQ) else {
        return;
    };
    let s = e.tcp(h);
    let made = s.may_send() || s.state() == State::CloseWait;
    let Some((_, (addr, port))) = ends.filter(|_| made) else {
        return;
    };
    options.apply(s);
    e.conns[i].state = state::DATA_XFER;
    up(q, rq, tpi::conn_con(&tpi::sockaddr_bytes(port, addr)));
}

/// Data, and the end of a connection.
fn connected<M: OnStack>(q: &mut Queue<'_, M>, i: usize) {
    let c = &q.shared().tcp.conns[i];
    let rq = c.rq;
    let Some(h) = c.sock else { return };
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
    let (open, drained, room) = (s.is_open(), !s.can_recv(), s.can_send());
    let released = matches!(
        s.state(),
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    );
    let c = &mut e.conns[i];
    c.fin |= released;
    // When both have released the socket closes, whether all has been read or not.
    let heard_all = drained && (released || (c.fin && c.why.is_none()));
    match c.state {
        state::DATA_XFER if heard_all => {
            c.state = state::WREQ_ORDREL;
            up(q, rq, tpi::ordrel_ind());
        }
        state::WIND_ORDREL if heard_all => {
            c.state = state::IDLE;
            c.ends = None;
            up(q, rq, tpi::ordrel_ind());
        }
        state::IDLE => {
            c.ends = None;
            if c.qlen > 0 {
                // It has accepted on itself: now it listens again.
                c.sock = None;
                e.part(h, false);
                e.listen(i);
            }
        }
        was if !open && drained => {
            let why = c.why.take().unwrap_or(Errno::ETIMEDOUT);
            e.mib.attempt_fails += u64::from(was == state::WCON_CREQ);
            (c.state, c.sock, c.ends) = (state::IDLE, None, None);
            e.part(h, true);
            e.listen(i);
            if was != state::WCON_CREQ {
                flush(q, rq);
            }
            return up(q, rq, tpi::discon_ind(why, u32::MAX));
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
    if b.len() < HEADER + 20 {
        return q.discard(mp, "TCP cut short");
    }
    let now = q.now();
    let s = q.shared();
    let own = (h.dst, be16(&b, HEADER + 2));
    let peer = (h.src, be16(&b, HEADER));
    if let Some(c) = s.tcp.between(own, peer) {
        c.heard = now;
        if b[HEADER + FIN_SYN_RST] & RST != 0 {
            c.why = Some(match c.state {
                state::WCON_CREQ => Errno::ECONNREFUSED,
                _ => Errno::ECONNRESET,
            });
        }
    }
    if b[HEADER + FIN_SYN_RST] & SYN != 0 {
        // RFC 793 would have it reset; a queue that is full is silent, and the peer asks again.
        if b[HEADER + FIN_SYN_RST] & ACK == 0 && s.tcp.queue_is_full(own) {
            return q.discard(mp, "the connection queue is full");
        }
        let mss = clamp(s, h.src, now, &mut b[HEADER..]);
        s.tcp.heard_syn(own, peer, mss);
    }
    // A datagram put together from pieces still has its own length and sum.
    s.mib.in_delivers += 1;
    s.tcp.mib.in_segs += 1;
    s.tcp.phy.rx.push_back(b);
    q.freemsg(mp);
    pump(q);
}

/// What goes to an address in one piece.
fn route_mtu(s: &mut Stack, to: u32, now: std::time::Duration) -> usize {
    let mtu = s.route(to).map_or(576, |id| s.ires.get(id).mtu);
    match s.path_mtu.is_empty() {
        true => mtu as usize,
        false => mtu.min(s.path_mtu.get(to, now)) as usize,
    }
}

/// What a segment to an address may carry: its route's MTU without the two headers.
fn route_mss(s: &mut Stack, to: u32, now: std::time::Duration) -> u16 {
    u16::try_from(route_mtu(s, to, now).saturating_sub(40))
        .unwrap_or(u16::MAX)
        .max(28)
}

/// The MSS option of a SYN says at most what the route to `to` carries; what it says then.
fn clamp(s: &mut Stack, to: u32, now: std::time::Duration, tcp: &mut [u8]) -> u16 {
    if tcp[FIN_SYN_RST] & SYN == 0 {
        return 0;
    }
    let most = route_mss(s, to, now);
    let head = (usize::from(tcp[12] >> 4) * 4).clamp(20, tcp.len());
    let mut at = 20;
    while at < head {
        let len = match tcp[at] {
            0 => break,
            1 => 1,
            _ => usize::from(tcp.get(at + 1).copied().unwrap_or(0)),
        };
        if tcp[at] == 2 && len == 4 && at + 4 <= head {
            let said = be16(tcp, at + 2);
            if said <= most {
                return said;
            }
            put16(tcp, at + 2, most);
            // RFC 1624: at an odd place the bytes count the other way round.
            let turn = |v: u16| if at % 2 == 1 { v.swap_bytes() } else { v };
            let sum = u64::from(!be16(tcp, 16)) + u64::from(!turn(said)) + u64::from(turn(most));
            put16(tcp, 16, !fold(sum));
            return most;
        }
        at += len.max(1);
    }
    536.min(most)
}

/// An ICMP error about a segment of ours (RFC 1122 4.2.3.9).
pub(crate) fn icmp_error<M: OnStack>(q: &mut Queue<'_, M>, inner: &[u8], ty: u8, code: u8) {
    let ihl = usize::from(inner[0] & 0xf) * 4;
    let (sport, dport) = (be16(inner, ihl), be16(inner, ihl + 2));
    let (own, peer) = ((be32(inner, 12), sport), (be32(inner, 16), dport));
    let now = q.now();
    let s = q.shared();
    let mss = route_mss(s, peer.0, now);
    let e = &mut s.tcp;
    let Some(c) = e.between(own, peer) else {
        return;
    };
    if (ty, code) == (3, 4) {
        // pmtu.rs has learned it already; RFC 1191 6.4.
        c.options.maxseg = c.options.maxseg.min(mss.into());
        return;
    }
    let hard = ty == 3 && matches!(code, 2 | 3) && c.state == state::WCON_CREQ;
    c.why = Some(match (ty, code) {
        _ if hard => Errno::ECONNREFUSED,
        (3, 0 | 6 | 11) => Errno::ENETUNREACH,
        (3, 1 | 5 | 7 | 8 | 12) => Errno::EHOSTUNREACH,
        _ => return,
    });
    if let Some(h) = c.sock.filter(|_| hard) {
        e.tcp(h).abort();
        pump(q);
    }
}
