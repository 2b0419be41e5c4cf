//! What a user of /dev/tcp asks for and has answered: T_BIND_REQ to T_DISCON_REQ.
//!
//! ```text
//!   TS_UNBND ── bind ──► TS_IDLE ── connect ──► TS_WCON_CREQ ─────────────┐
//!      ▲                  │ ▲  ▲                                          ▼ the peer agrees
//!      └──── unbind ──────┘ │  └── T_CONN_IND: TS_WRES_CIND ── accept ──► TS_DATA_XFER
//!                           └───────────────── disconnect ◄── every one but TS_UNBND
//! ```
//!
//! Spec: tihdr(7P), tcp(7P), the reference's ip-tpi 4. The drawing is kept: what is out of
//! its state is T_ERROR_ACK TOUTSTATE.

use streams::prelude::*;

use crate::ire::IreKind;
use crate::tcp::{Tcp, flush};
use crate::tcp_engine::{Conn, end};
use crate::tcp_news::pump;
use crate::tpi::{self, Bad, O_T_CONN_RES, T_CONN_RES, Tli, Tpi, state};
use crate::tpi_options;
use crate::wire::is_multicast;

/// CONIND_number is cut to this: each has its buffers.
const QLEN: u32 = 16;

pub(crate) fn request(q: &mut Queue<'_, Tcp>, mp: Msg) {
    let w = tpi::words(mp.rd());
    let data = mp.cont().is_some_and(|c| c.msgsize() > 0);
    let answer = match (w[0], mp.len()) {
        (T_CONN_RES | O_T_CONN_RES, 20..) => accept(q, w[0], w[1], word(mp.rd(), 16)),
        (tpi::T_DISCON_REQ, 8..) => disconnect(q, w[1]),
        _ => match Tpi::parse(mp.rd()) {
            // CDATA_size is -2.
            Ok(Tpi::ConnReq { .. }) if data => tpi::error_ack(w[0], Tli::BADDATA, None),
            Ok(t) => ask(q, t),
            Err(Bad::Malformed(p)) => tpi::error_ack(p, Tli::SYSERR, Some(Errno::EINVAL)),
            Err(Bad::Unsupported(p @ (T_CONN_RES | O_T_CONN_RES))) => {
                tpi::error_ack(p, Tli::SYSERR, Some(Errno::EINVAL)) // cut short
            }
            Err(Bad::Unsupported(p) | Bad::Unknown(p)) => tpi::error_ack(p, Tli::NOTSUPPORT, None),
        },
    };
    q.freemsg(mp);
    q.qreply(answer);
    pump(q);
}

fn word(b: &[u8], at: usize) -> u32 {
    let w = b.get(at..at + 4).and_then(|w| w.try_into().ok());
    w.map_or(0, u32::from_ne_bytes)
}

fn ask(q: &mut Queue<'_, Tcp>, t: Tpi) -> Msg {
    let me = q.rd().qref();
    let e = &mut q.shared().tcp;
    let Some(i) = e.conns.iter().position(|c| c.rq == me) else {
        return tpi::error_ack(u32::MAX, Tli::OUTSTATE, None);
    };
    let c = &e.conns[i];
    let (now, id) = (c.state, c.id);
    match t {
        Tpi::InfoReq => tpi::info_ack_cots(now),
        Tpi::CapabilityReq(bits) => tpi::capability_ack_as(bits, &tpi::info_ack_cots(now), id),
        Tpi::AddrReq => addresses(c),
        Tpi::Bind {
            prim, addr, conind, ..
        } => bind(q, i, prim, &addr, conind),
        Tpi::UnbindReq => unbind(q, i),
        Tpi::ConnReq { dest } => connect(q, i, &dest),
        Tpi::OptmgmtReq { prim, opts, flags } => options(q, i, prim, &opts, flags),
        Tpi::UnitdataReq { .. } => tpi::error_ack(tpi::T_UNITDATA_REQ, Tli::NOTSUPPORT, None),
        Tpi::DisconReq => tpi::error_ack(tpi::T_DISCON_REQ, Tli::SYSERR, Some(Errno::EINVAL)),
    }
}

/// T_ADDR_ACK: the ends of the connection, else what the stream is bound to.
fn addresses(c: &Conn) -> Msg {
    let bytes = |(a, p)| tpi::sockaddr_bytes(p, a);
    match c.ends {
        Some((own, peer)) => tpi::addr_ack(&bytes(own), &bytes(peer)),
        None if c.state == state::UNBND => tpi::addr_ack(&[], &[]),
        None => tpi::addr_ack(&bytes(c.bound), &[]),
    }
}

fn bind(q: &mut Queue<'_, Tcp>, i: usize, prim: u32, addr: &[u8], conind: u32) -> Msg {
    let privileged = q.ptr().privileged;
    let s = q.shared();
    if s.tcp.conns[i].state != state::UNBND {
        return tpi::error_ack(prim, Tli::OUTSTATE, None);
    }
    let (want, local) = match tpi::sockaddr(addr) {
        Some(a) => a,
        None if addr.is_empty() => (0, 0),
        None => return tpi::error_ack(prim, Tli::BADADDR, None),
    };
    if want != 0 && want < 1024 && !privileged {
        return tpi::error_ack(prim, Tli::ACCES, None);
    }
    if local != 0 && !s.is_local(local) {
        return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EADDRNOTAVAIL));
    }
    let e = &mut s.tcp;
    let busy = want != 0 && e.port_is_busy(want, false);
    if busy && prim == tpi::T_BIND_REQ {
        return tpi::error_ack(prim, Tli::ADDRBUSY, None);
    }
    // O_T_BIND_REQ: another one, and the user compares.
    let port = if want == 0 || busy {
        e.anonymous_port()
    } else {
        Some(want)
    };
    let Some(port) = port else {
        return tpi::error_ack(prim, Tli::NOADDR, None);
    };
    let c = &mut e.conns[i];
    let qlen = conind.min(QLEN);
    (c.state, c.bound, c.qlen) = (state::IDLE, (local, port), qlen as usize);
    e.listen(i);
    tpi::bind_ack(&tpi::sockaddr_bytes(port, local), qlen)
}

fn unbind(q: &mut Queue<'_, Tcp>, i: usize) -> Msg {
    let e = &mut q.shared().tcp;
    let c = &mut e.conns[i];
    if c.state != state::IDLE {
        return tpi::error_ack(tpi::T_UNBIND_REQ, Tli::OUTSTATE, None);
    }
    (c.state, c.bound, c.qlen, c.ends) = (state::UNBND, (0, 0), 0, None);
    let (rq, listening) = (c.rq, std::mem::take(&mut c.listening));
    if let Some(h) = c.sock.take() {
        e.part(h, false);
    }
    e.stop_listening(listening);
    flush(q, rq);
    tpi::ok_ack(tpi::T_UNBIND_REQ)
}

fn connect(q: &mut Queue<'_, Tcp>, i: usize, dest: &[u8]) -> Msg {
    let s = q.shared();
    let refuse = |e, unix| tpi::error_ack(tpi::T_CONN_REQ, e, unix);
    let c = &s.tcp.conns[i];
    if c.state != state::IDLE || c.qlen > 0 {
        return refuse(Tli::OUTSTATE, None);
    }
    let (own, port) = c.bound;
    let unicast = |a: u32| a != 0 && !is_multicast(a) && a < 0xf000_0000;
    let Some((to_port, to)) = tpi::sockaddr(dest).filter(|(p, a)| *p != 0 && unicast(*a)) else {
        return refuse(Tli::BADADDR, None);
    };
    let Some(route) = s.route(to) else {
        return refuse(Tli::SYSERR, Some(Errno::ENETUNREACH));
    };
    if s.ires.get(route).kind == IreKind::Broadcast {
        return refuse(Tli::BADADDR, None);
    }
    let from = if own != 0 { own } else { s.source_for(route) };
    let (from, to) = ((from, port), (to, to_port));
    let e = &mut s.tcp;
    let options = e.conns[i].options;
    if let Some(h) = e.conns[i].sock.take() {
        e.part(h, false);
    }
    let Some(h) = e.connect(from, to, &options) else {
        return refuse(Tli::BADADDR, None);
    };
    e.mib.active_opens += 1;
    let c = &mut e.conns[i];
    (c.sock, c.ends, c.state) = (Some(h), Some((from, to)), state::WCON_CREQ);
    (c.why, c.fin) = (None, false);
    tpi::ok_ack(tpi::T_CONN_REQ)
}

/// Options of the stream, and at once of its connection.
fn options(q: &mut Queue<'_, Tcp>, i: usize, prim: u32, opts: &[u8], flags: u32) -> Msg {
    let e = &mut q.shared().tcp;
    let before = e.conns[i].options;
    let answer = tpi_options::manage(&mut e.conns[i].options, None, prim, opts, flags);
    let c = &e.conns[i];
    if c.options == before {
        return answer;
    }
    let (options, sockets) = (c.options, c.sock.iter().chain(&c.listening));
    for h in sockets.copied().collect::<Vec<_>>() {
        options.apply(e.tcp(h));
    }
    answer
}

/// T_CONN_RES: the connection moves to the stream that has this ACCEPTOR_id.
fn accept(q: &mut Queue<'_, Tcp>, prim: u32, acceptor: u32, seq: u32) -> Msg {
    let (me, now) = (q.rd().qref(), q.now());
    let e = &mut q.shared().tcp;
    let refuse = |e| tpi::error_ack(prim, e, None);
    let asked = e.conns.iter().position(|c| c.rq == me);
    let Some(l) = asked.filter(|l| e.conns[*l].state == state::WRES_CIND) else {
        return refuse(Tli::OUTSTATE);
    };
    let Some(at) = e.conns[l].pending.iter().position(|p| p.0 == seq) else {
        return refuse(Tli::BADSEQ);
    };
    let alone = e.conns[l].pending.len() == 1;
    let fits = |c: &Conn| match c.rq == me {
        // The listener itself: it hears of no others as long as the connection lasts.
        true => c.id == acceptor && alone,
        false => {
            let free = matches!(c.state, state::UNBND | state::IDLE);
            c.id == acceptor && c.qlen == 0 && free
        }
    };
    let Some(a) = e.conns.iter().position(fits) else {
        return refuse(Tli::BADF);
    };
    let (_, h) = e.conns[l].pending.remove(at);
    if e.conns[l].pending.is_empty() {
        e.conns[l].state = state::IDLE;
    }
    let mut options = e.conns[l].options; // those of the listener
    let s = e.tcp(h);
    options.apply(s);
    let ends = s.local_endpoint().zip(s.remote_endpoint());
    let ends = ends.map(|(own, peer)| (end(own), end(peer)));
    if let Some(mss) = ends.and_then(|(own, peer)| e.mss_between(own, peer)) {
        options.maxseg = mss;
    }
    if let Some(h) = e.conns[a].sock.take() {
        e.part(h, false);
    }
    let c = &mut e.conns[a];
    (c.sock, c.state) = (Some(h), state::DATA_XFER);
    (c.why, c.fin, c.heard) = (None, false, now);
    c.ends = ends;
    c.options = options;
    if a == l {
        let listening = std::mem::take(&mut e.conns[l].listening);
        e.stop_listening(listening);
    }
    e.listen(l);
    tpi::ok_ack(prim)
}

/// T_DISCON_REQ: refuses a connection indicated, or aborts the one there is.
fn disconnect(q: &mut Queue<'_, Tcp>, seq: u32) -> Msg {
    let me = q.rd().qref();
    let e = &mut q.shared().tcp;
    let refuse = |e| tpi::error_ack(tpi::T_DISCON_REQ, e, None);
    let Some(i) = e.conns.iter().position(|c| c.rq == me) else {
        return refuse(Tli::OUTSTATE);
    };
    let c = &mut e.conns[i];
    let (rq, was) = (c.rq, c.state);
    let h = match was {
        state::UNBND | state::IDLE => return refuse(Tli::OUTSTATE),
        state::WRES_CIND => match c.pending.iter().position(|p| p.0 == seq) {
            Some(at) => Some(c.pending.remove(at).1),
            None => return refuse(Tli::BADSEQ),
        },
        _ => {
            c.ends = None;
            c.sock.take()
        }
    };
    if c.pending.is_empty() {
        c.state = state::IDLE;
    }
    if let Some(h) = h {
        e.part(h, true);
    }
    e.listen(i);
    if !matches!(was, state::WRES_CIND | state::WCON_CREQ) {
        flush(q, rq);
    }
    tpi::ok_ack(tpi::T_DISCON_REQ)
}
