//! What the IP above sees: a point-to-point data link, DLPI style 2. And the data path.
//!
//! ```text
//!        ip                 down: look-up, one outer header per exit ─► IP below
//!   UNITDATA_REQ, M_DATA    up:   outer header off ─► UNITDATA_IND, or M_DATA if IP has
//!        │  ▲                     asked for the fast path (DL_IOC_HDR_INFO)
//!      vtunl                      blocked: on our queue, until the next one has room
//! ```
//!
//! Spec: dlpi(7P); how Solaris IP reads a DL_INFO_ACK: no addresses and no broadcast make
//! a point-to-point interface (the paper, section 2).
//! Kept: DL_* states, what is answered in each, DL_BADPRIM for what is no primitive.
//! Differs: the largest SDU is what an outer header leaves of 65535: the path MTU is
//! that of an exit, not of the interface, and who sends too much with DF set is told.
//! Not done: a connection-oriented service, XID and TEST (DL_NOTSUPPORTED).

use dlpi::prim::{
    DL_CURR_PHYS_ADDR, DL_FACT_PHYS_ADDR, DL_UNITDATA_REQ, DlErrno, InfoAck, Prim, SAP_IP,
    SAP_IPV6, fast, mac,
};
use dlpi::state::{Answer, State, answer};
use streams::prelude::*;

use crate::ahead::{self, Ahead};
use crate::decap::{self, decapsulate};
use crate::dls_user;
use crate::encap::{SPARE, embedded, encapsulate, encapsulate_v6, overhead, overhead_v6};
use crate::encap_table::{ENCAP_M, MAXEXITCOUNT};
use crate::header::Ipv4;
use crate::icmp6::{self, ICMP6_TOO_BIG};
use crate::personality::{Role, Vtunl, addr};
use crate::pieces;
use crate::soft_state::{
    ICMP_UNREACH, ICMP_UNREACH_HOST, ICMP_UNREACH_NEEDFRAG, ICMP_UNREACH_NET, icmp_error,
    inner_mtu, may_answer,
};
use crate::texit_table::{EXIT_DEAD, EXIT_HOST_UNREACH, EXIT_TTL_EXCEEDED, ExitId};
use crate::view::View;
use crate::why::Why;

/// The largest datagram that an outer header fits around.
pub const MAX_SDU: u32 = 65_515;
/// Headroom of the block in front of a duplicate: the longest header and what others add.
const FRONT: usize = SPARE + 36;

// ---- data, downwards ----

/// M_DATA from above.
#[inline]
pub(crate) fn wdata(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    if q.qsize() != 0 || !q.canputnext() {
        if q.has_next() {
            return q.putq(mp);
        }
        return drop_it(q, mp, Why::NotUp);
    }
    send(q, mp, Ahead::No);
}

/// Room below again, or enough to be looked up together.
pub(crate) fn wsrv(q: &mut Queue<'_, Vtunl>) {
    let far = q.ptr().reader.look().encap.is_far();
    let fetch = |view: &View, _, dst| view.encap.fetch(dst);
    ahead::serve(q, far, ahead::HEADER, fetch, |q, mp| {
        send(q, mp, Ahead::Done);
    });
}

/// One datagram into the tunnel.
#[inline(always)]
fn send(q: &mut Queue<'_, Vtunl>, mut mp: Msg, ahead: Ahead) {
    let v = q.ptr();
    if !v.up {
        return drop_it(q, mp, Why::NotUp);
    }
    let view = v.reader.look();
    if ahead == Ahead::No && view.encap.is_far() {
        return ahead::put_off(q, mp, wsrv);
    }
    let h = match Ipv4::of(&mut mp) {
        Ok(h) => h,
        Err(why) if mp.rd().first().is_some_and(|b| b >> 4 == 6) => return send_v6(q, mp, why),
        Err(why) => return drop_it(q, mp, why),
    };
    let Some((target, hit)) = view.encap.serve(h.dst) else {
        return drop_it(q, mp, Why::NoTarget);
    };
    // The case that has to be fast: one exit, no soft state, over IP.
    if let Some((id, flags)) = hit.only()
        && let Some(x) = view.exits.at(id)
        && !x.is_soft()
        && v.role == Role::Transport
        && view.debug < 3
    {
        return match encapsulate(&mut mp, &h, x, flags, v.address, &view.policy, &view.stats) {
            Ok(()) => {
                if target.count(h.len) {
                    view.encap.carry(h.dst);
                }
                view.stats.encapsulated.add(1);
                v.encapsulated += 1;
                q.putnext(mp);
            }
            Err(why) => refuse(q, mp, &h, why, id, flags),
        };
    }
    send_all(q, mp, &h);
}

/// To each exit of a target: a duplicate with a header of its own.
#[cold]
#[inline(never)]
fn send_all(q: &mut Queue<'_, Vtunl>, mp: Msg, h: &Ipv4) {
    let now = q.now();
    let view = q.ptr().reader.look();
    let Some((target, hit)) = view.encap.serve(h.dst) else {
        return drop_it(q, mp, Why::NoTarget);
    };
    if target.count(h.len) {
        view.encap.carry(h.dst);
    }
    let mut exits = [(0 as ExitId, 0u16); MAXEXITCOUNT];
    let mut n = 0;
    let (mut all_dead, mut state) = (true, 0);
    for (to, pair) in exits.iter_mut().zip(view.encap.exits(hit)) {
        (*to, n) = (pair, n + 1);
        if let Some(x) = view.exits.at(pair.0) {
            x.age(now);
            let told = x.path().state;
            all_dead &= told & EXIT_DEAD != 0;
            state |= told;
        }
    }
    if all_dead {
        // RFC 2003 5: the source is told, and the datagram is sent all the same.
        let host = state & (EXIT_HOST_UNREACH | EXIT_TTL_EXCEEDED) != 0;
        let code = if host {
            ICMP_UNREACH_HOST
        } else {
            ICMP_UNREACH_NET
        };
        tell_source(q, &mp, h, ICMP_UNREACH, code, 0);
    }
    let mut rest = Some(mp);
    for (i, (id, flags)) in exits[..n].iter().copied().enumerate() {
        let Some(mut all) = rest.take() else { return };
        let mut one = if i + 1 == n {
            all
        } else {
            let one = all.dupmsg();
            rest = Some(all);
            one
        };
        // The data is shared from now on: the header gets a block of the pool in front. A
        // minimal header goes behind the datagram's own, and makes its block itself.
        if n > 1 && flags & ENCAP_M == 0 {
            let mut front = q.alloc(FRONT, 0);
            front.set_tag(one.tag());
            front.set_band(one.band());
            front.set_flag(one.flag());
            front.set_cont(Some(one));
            one = front;
        }
        let v = q.ptr();
        let view = v.reader.look();
        let Some(x) = view.exits.at(id) else {
            continue;
        };
        match encapsulate(&mut one, h, x, flags, v.address, &view.policy, &view.stats) {
            Ok(()) => {
                view.stats.encapsulated.add(1);
                v.encapsulated += 1;
                if view.debug >= 3 {
                    let (a, b) = (addr(h.dst), addr(x.addr()));
                    q.strlog(3, format_args!("{} bytes for {a} to exit {b}", h.len));
                }
                emit(q, one);
            }
            Err(why) => refuse(q, one, h, why, id, flags),
        }
    }
}

/// An IPv6 datagram: by the IPv4 address in its destination, else by the default entry.
#[cold]
fn send_v6(q: &mut Queue<'_, Vtunl>, mut mp: Msg, malformed: Why) {
    if mp.len() < 40 {
        mp.pullupmsg(Some(40));
    }
    let dst = mp
        .rd()
        .get(24..40)
        .and_then(|d| d.first_chunk::<16>())
        .copied();
    let Some(dst) = dst else {
        return drop_it(q, mp, malformed);
    };
    let key = embedded(&dst).unwrap_or(crate::encap_table::DEFAULT_ADDR);
    let n = mp.msgsize();
    let view = q.ptr().reader.look();
    let Some((target, hit)) = view.encap.serve(key) else {
        return drop_it(q, mp, Why::NoTarget);
    };
    let exits: Vec<(ExitId, u16)> = view.encap.exits(hit).collect();
    if target.count(u16::try_from(n).unwrap_or(u16::MAX)) {
        view.encap.carry(key);
    }
    let mut rest = Some(mp);
    for (i, (id, flags)) in exits.iter().enumerate() {
        let Some(mut one) = rest.take() else { return };
        if i + 1 < exits.len() {
            rest = Some(one.dupmsg());
        }
        let now = q.now();
        let v = q.ptr();
        let view = v.reader.look();
        let Some(x) = view.exits.at(*id) else {
            continue;
        };
        x.age(now);
        let to = x.addr();
        match encapsulate_v6(&mut one, x, *flags, v.address, &view.policy) {
            Ok(()) => {
                view.stats.encapsulated.add(1);
                v.encapsulated += 1;
                if view.debug >= 3 {
                    let n = one.msgsize();
                    q.strlog(3, format_args!("IPv6 in {n} bytes to exit {}", addr(to)));
                }
                emit(q, one);
            }
            Err(why) => {
                if why == Why::TooBig {
                    // RFC 4213 3.2.2: MUST be told.
                    let mtu = icmp6::tunnel_mtu(x.pmtu(), overhead_v6(*flags, x));
                    tell_source_v6(q, &one, ICMP6_TOO_BIG, 0, mtu);
                }
                drop_it(q, one, why);
            }
        }
    }
}

/// An outer datagram on its way: down to /dev/ip, or, where a data link is below, up to
/// IP for rerouting (the paper, Figure 2(b)).
pub(crate) fn emit(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    if q.ptr().role == Role::Transport {
        q.wr().putnext(mp);
    } else {
        deliver(&mut q.rd(), mp);
    }
}

/// An ICMP message of ours on its way. It goes where outer datagrams go: IP routes it as
/// a datagram that originates here. Whose IPv6 it is about is above us.
pub(crate) fn send_icmp(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    match mp.rd().first().map(|b| b >> 4) {
        Some(6) => deliver(&mut q.rd(), mp),
        _ => emit(q, mp),
    }
}

/// A datagram that can't be encapsulated: its source is told if it is to be told.
#[cold]
#[inline(never)]
fn refuse(q: &mut Queue<'_, Vtunl>, mp: Msg, h: &Ipv4, why: Why, id: ExitId, flags: u16) {
    if pieces::mend(why, h) {
        return pieces::send(q, mp, h, id, flags);
    }
    if why == Why::TooBig {
        // The decisions: the tunnel MTU less the encapsulation's size.
        let exit = q.ptr().reader.look().exits.at(id);
        let mtu = exit.map_or(0, |x| inner_mtu(x.pmtu(), overhead(flags, x)));
        tell_source(q, &mp, h, ICMP_UNREACH, ICMP_UNREACH_NEEDFRAG, mtu);
    }
    drop_it(q, mp, why);
}

/// An ICMP error to an inner source, if the rules and the rate allow one.
fn tell_source(q: &mut Queue<'_, Vtunl>, mp: &Msg, h: &Ipv4, ty: u8, code: u8, rest: u32) {
    let now = q.now();
    let (v, all) = q.both();
    let mut quote = [0u8; 548];
    let mut n = 0;
    for b in mp.blocks() {
        let take = b.len().min(quote.len() - n);
        quote[n..n + take].copy_from_slice(&b.rd()[..take]);
        n += take;
    }
    if !may_answer(h, &quote[..n]) {
        return;
    }
    let stats = &v.reader.look().stats;
    if !all.limiter.allow(now) {
        stats.icmp_limited.add(1);
        return;
    }
    let ident = stats.icmp_relayed.add(1) as u16;
    let m = icmp_error(v.address, h, &quote[..n], ty, code, rest, ident);
    send_icmp(q, m);
}

/// The same to an IPv6 source.
fn tell_source_v6(q: &mut Queue<'_, Vtunl>, mp: &Msg, ty: u8, code: u8, rest: u32) {
    let now = q.now();
    let (v, all) = q.both();
    let Some(m) = icmp6::error(v.address, &mp.to_vec(), ty, code, rest) else {
        return;
    };
    let stats = &v.reader.look().stats;
    if !all.limiter.allow(now) {
        stats.icmp_limited.add(1);
        return q.freemsg(m);
    }
    stats.icmp_relayed.add(1);
    send_icmp(q, m);
}

/// The end of a datagram: counted here and by the framework.
#[cold]
#[inline(never)]
pub(crate) fn drop_it(q: &mut Queue<'_, Vtunl>, mp: Msg, why: Why) {
    let v = q.ptr();
    v.drops[why as usize] += 1;
    let view = v.reader.look();
    view.stats.count_drop(why);
    if view.debug >= 2 {
        match Ipv4::read(mp.rd()) {
            Ok(h) => {
                let (a, b) = (addr(h.src), addr(h.dst));
                q.strlog(
                    2,
                    format_args!("{a} to {b}, {} bytes: {}", h.len, why.text()),
                );
            }
            Err(_) => q.strlog(2, format_args!("{}", why.text())),
        }
    }
    q.discard(mp, why.text());
}

// ---- data, upwards ----

/// M_DATA from below.
#[inline]
pub(crate) fn rdata(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    if q.qsize() != 0 || !q.canputnext() {
        return q.putq(mp);
    }
    receive(q, mp, Ahead::No);
}

/// Room above again, or enough to be looked up together.
pub(crate) fn rsrv(q: &mut Queue<'_, Vtunl>) {
    let far = q.ptr().reader.look().decap.is_far();
    let fetch = |view: &View, src, dst| view.decap.fetch(src, dst);
    ahead::serve(q, far, ahead::INNER_HEADER, fetch, |q, mp| {
        receive(q, mp, Ahead::Done);
    });
}

/// One datagram out of the tunnel, or heard on the link.
#[inline(always)]
fn receive(q: &mut Queue<'_, Vtunl>, mut mp: Msg, ahead: Ahead) {
    let v = q.ptr();
    if !v.up {
        return drop_it(q, mp, Why::NotUp);
    }
    if v.role == Role::DlsUser {
        return dls_user::hear(q, mp);
    }
    let view = v.reader.look();
    if ahead == Ahead::No && view.decap.is_far() {
        return ahead::put_off(q, mp, rsrv);
    }
    if view.debug < 3 && decap::plain(&mut mp, &view.decap) {
        view.stats.decapsulated.add(1);
        v.decapsulated += 1;
        let fast = v.fast;
        return if fast { q.putnext(mp) } else { deliver(q, mp) };
    }
    // Where a rule has something to say, or another encapsulation comes.
    let outer = match Ipv4::of(&mut mp) {
        Ok(h) => h,
        Err(why) => return drop_it(q, mp, why),
    };
    match decapsulate(&mut mp, &outer, &view.decap, &view.exits, &view.stats) {
        Ok(inner) => {
            view.stats.decapsulated.add(1);
            v.decapsulated += 1;
            let fast = v.fast;
            if view.debug >= 3 {
                let a = addr(outer.src);
                q.strlog(3, format_args!("{} bytes from exit {a}", inner.len()));
            }
            if fast { q.putnext(mp) } else { deliver(q, mp) }
        }
        Err(why) => drop_it(q, mp, why),
    }
}

/// Gives the IP above a datagram, in the form that it has asked for. `q` is the read side.
pub(crate) fn deliver(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    if q.ptr().fast {
        return q.putnext(mp);
    }
    let mut ind = q.alloc(0, fast::UNITDATA_IND_SIZE);
    fast::put_unitdata_ind(&mut ind, &[], &[], false);
    ind.set_cont(Some(mp));
    q.putnext(ind);
}

// ---- the provider ----

/// M_PROTO or M_PCPROTO from above: a DLPI request.
pub(crate) fn wproto(q: &mut Queue<'_, Vtunl>, mut mp: Msg) {
    let number = Prim::number_of(mp.rd()).unwrap_or(u32::MAX);
    if number == DL_UNITDATA_REQ {
        let data = mp.take_cont();
        let bound = q.ptr().dl_state == State::Idle;
        match data {
            Some(data) if !bound => drop_it(q, data, Why::NotUp),
            // The address is of no interest: there is one other end.
            Some(data) => wdata(q, data),
            None => {}
        }
        if bound {
            return q.freemsg(mp);
        }
    }
    let reply = match Prim::parse(&mp) {
        Ok(p) => request(q, &p),
        Err(e) => Prim::error_ack(number, e),
    };
    q.freemsg(mp);
    q.qreply(reply.emit());
}

/// The table says what a request gets in our state; what we have is given here.
fn request(q: &mut Queue<'_, Vtunl>, p: &Prim) -> Prim {
    let v = q.ptr();
    let (number, state) = (p.number(), v.dl_state);
    let next = match answer(state, number) {
        Answer::Go(next) => next,
        Answer::Do => state,
        Answer::Nak(e) => return Prim::error_ack(number, e),
        Answer::UdErr(e) => {
            return Prim::UderrorInd {
                dest: vec![],
                unix_errno: 0,
                errno: e.0,
            };
        }
    };
    let reply = match p {
        Prim::InfoReq => Prim::InfoAck { info: info(state) },
        Prim::BindReq {
            sap: sap @ (SAP_IP | SAP_IPV6),
            ..
        } => Prim::BindAck {
            sap: *sap,
            addr: vec![],
            max_conind: 0,
            xidtest_flg: 0,
        },
        Prim::BindReq { .. } => return Prim::error_ack(number, DlErrno::BADADDR),
        Prim::PhysAddrReq {
            addr_type: DL_FACT_PHYS_ADDR | DL_CURR_PHYS_ADDR,
        } => Prim::PhysAddrAck { addr: vec![] },
        // Any PPA: it only names the interface. Multicasts all go to the one other end.
        Prim::AttachReq { .. }
        | Prim::DetachReq
        | Prim::UnbindReq
        | Prim::EnabmultiReq { .. }
        | Prim::DisabmultiReq { .. } => Prim::ok_ack(number),
        _ => return Prim::error_ack(number, DlErrno::NOTSUPPORTED),
    };
    v.fast &= next == State::Idle;
    v.dl_state = next;
    v.settle();
    reply
}

fn info(state: State) -> InfoAck {
    InfoAck {
        max_sdu: MAX_SDU,
        mac_type: mac::DL_OTHER,
        current_state: state as u32,
        ..InfoAck::default()
    }
}

/// DL_IOC_HDR_INFO: IP asks for the link header of a fast path. There is none: an empty
/// block says so, and from now on bare M_DATA goes both ways.
pub(crate) fn fastpath(q: &mut Queue<'_, Vtunl>, mut mp: Msg) {
    let template = mp.cont().and_then(|c| Prim::number_of(c.rd()));
    if q.ptr().dl_state != State::Idle || template != Some(DL_UNITDATA_REQ) {
        return q.iocnak(mp, Errno::EINVAL);
    }
    q.ptr().fast = true;
    let header = q.alloc(0, 0);
    mp.linkb(header);
    q.iocack(mp, 0);
}
