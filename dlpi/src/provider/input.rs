//! Up: from `Link::recv` to a DL_UNITDATA_IND or bare M_DATA for each stream concerned.
//!
//! ```text
//!   interrupt ─► recv into a pooled block, 64 at most ─► header: SAP, destination
//!        ▲ again if there may be more                         │
//!        └────────                    each stream's filter ◄──┘
//!                     raw: the whole frame  fast and unicast: the payload  else: UNITDATA_IND
//! ```
//!
//! Spec: dlpi(7P) DL_UNITDATA_IND; le(7D).
//! Kept: several streams of one SAP get a copy each; group_address tells a multicast or
//! broadcast; a fast-path stream still gets indications for those; padding of 802.3
//! frames goes.
//! Differs: a link that can wait (a capture) is read only while every bound stream has
//! room, so that a replay loses nothing.

use std::time::Duration;

use streams::prelude::*;

use super::llc::Mode;
use super::port::{self, Port, User, tick};
use super::stats::Statistics;
use super::{Dlpi, llc, request};
use crate::addr::{Dest, Dlsap, ETHER_HDR, Ether, sap_of_packet};
use crate::filter::{Carried, Sap};
use crate::link::{Event, Medium};
use crate::llc::Llc;
use crate::prim::fast;

/// Frames taken from a link before others get their turn.
const BATCH: usize = 64;
/// Headroom of a received frame: what a tunnel puts in front fits.
pub(super) const HEADROOM: usize = 128;
/// Up to this size a frame is read straight into its message.
const DIRECT: usize = 9000;
/// How often a link is asked whether anything has happened to it.
const ASK: Duration = Duration::from_secs(1);

/// Interrupt, timeout, and the read side's service procedure: takes frames from the link.
pub(super) fn receive(q: &mut Queue<'_, Dlpi>) {
    let Some(at) = q.try_ptr().and_then(|d| d.port) else {
        return;
    };
    let Some(p) = q.shared().port(at) else { return };
    let (max, patient, timed) = (p.max_frame, p.patient, p.timed);
    if !p.polled && p.users.iter().any(|u| u.notes != 0) {
        ask(q, at);
    }
    if timed {
        tick(q, at);
    }
    for _ in 0..BATCH {
        if patient && !all_ready(q, at) {
            return; // a bind or the back-enabling of our read queue brings us back
        }
        // One byte more shows a frame that is too long.
        let direct = max < DIRECT;
        let mut mp = q.alloc(HEADROOM, if direct { max + 1 } else { 0 });
        let Some((p, scratch)) = q.shared().port_and_scratch(at) else {
            return q.freemsg(mp);
        };
        let got = if direct {
            p.link.recv(&mut mp.room_mut()[..max + 1])
        } else {
            scratch.resize(max + 1, 0);
            p.link.recv(&mut scratch[..])
        };
        let n = match got {
            Ok(Some(n)) => n,
            Ok(None) => {
                let _ = p.link.flush(); // a file that is full tells at the next write too
                q.freemsg(mp);
                if timed {
                    tick(q, at);
                }
                return;
            }
            Err(_) => {
                q.freemsg(mp);
                return died(q, at);
            }
        };
        if n > max {
            p.stats.ierrors += 1;
            q.discard(mp, "longer than the link's MTU");
            continue;
        }
        if direct {
            mp.advance_wptr(n);
            if let Some(to) = p.straight(&mut mp) {
                put_up(q, at, to, mp);
                continue;
            }
        } else {
            q.freemsg(mp);
            mp = q.alloc(HEADROOM, n);
            mp.append(&q.shared().scratch[..n]);
        }
        deliver(q, at, mp, To::Received);
    }
    if let Some(p) = q.shared().port(at) {
        p.ring(); // there may be more
    }
}

/// Is there a stream that can take frames, and has every such stream room?
fn all_ready(q: &mut Queue<'_, Dlpi>, at: usize) -> bool {
    let mut some = false;
    for i in 0.. {
        let Some(u) = q.shared().port(at).and_then(|p| p.users.get(i)) else {
            break;
        };
        if u.bound {
            let to = u.q;
            some = true;
            if q.at(to).is_some_and(|mut u| !u.canputnext()) {
                return false;
            }
        }
    }
    some
}

/// Asks the link what has happened to it, not too often if that costs system calls, and tells
/// who wants to know.
pub(super) fn ask(q: &mut Queue<'_, Dlpi>, at: usize) {
    let now = q.now();
    let Some(p) = q.shared().port(at) else { return };
    if p.polled && p.asked.is_some_and(|t| now.saturating_sub(t) < ASK) {
        return;
    }
    p.asked = Some(now);
    // Bounded: a link that flaps must not keep us here.
    for _ in 0..8 {
        let Some(p) = q.shared().port(at) else { return };
        let Some(e) = p.link.event() else { return };
        match e {
            Event::Up => p.up = true,
            Event::Down => p.up = false,
            Event::Mtu(_) => p.measure(),
        }
        request::tell(q, at, e);
    }
}

/// A stream wants to know what happens to a link that has to be asked: it is, each second.
pub(super) fn watch(q: &mut Queue<'_, Dlpi>) {
    let noted = port::with_user(q, |u| u.notes != 0) == Some(true);
    let (d, links) = q.both();
    let polled = d
        .port
        .and_then(|at| links.port(at))
        .is_some_and(|p| p.polled);
    if noted && polled && !std::mem::replace(&mut d.watching, true) {
        q.rd().qtimeout(ASK, super::WATCH);
    }
}

/// The second is over.
pub(super) fn watched(q: &mut Queue<'_, Dlpi>) {
    let Some(d) = q.try_ptr() else { return };
    d.watching = false;
    if let Some(at) = d.port {
        ask(q, at);
        watch(q);
    }
}

/// The link is broken: everybody on it is told, and nobody reads it any more.
fn died(q: &mut Queue<'_, Dlpi>, at: usize) {
    let Some(p) = q.shared().port(at) else { return };
    p.stats.ierrors += 1;
    p.unwatch();
    let all: Vec<QRef> = p.users.iter().map(|u| u.q).collect();
    for u in all {
        q.putnext_of(u, Msg::of(MsgType::Hangup, &[]));
    }
}

/// Who may get a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Whoever its address and SAP are for.
    Received,
    /// The same, of a frame that we send to ourselves.
    Looped,
    /// Only who listens to the medium: the frame is one that we send.
    Snoopers,
}

/// What a stream gets of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Payload,
    Indication,
    Raw,
    Llc(Mode),
}

/// The addresses of a frame.
#[derive(Clone, Copy)]
struct Heading {
    carries: Carried,
    to: Dest,
    ether: Option<Ether>,
}

impl Port {
    /// The only stream on the link, if the frame is for us and the stream gets the payload
    /// alone: nearly always it is so, and there is nothing to choose. Counted, and the header
    /// is off.
    #[inline]
    fn straight(&mut self, mp: &mut Msg) -> Option<QRef> {
        let [u] = &self.users[..] else { return None };
        if !u.bound || !u.fast || u.raw {
            return None;
        }
        let (sap, header) = match self.medium {
            Medium::PointToPoint => (sap_of_packet(mp.rd())?, 0),
            Medium::Ether(own) => {
                let e = Ether::parse(mp.rd()).filter(|e| e.dst == own)?;
                (e.kind, ETHER_HDR)
            }
        };
        if !u.filter.is_first_type(sap) {
            return None;
        }
        let to = u.q;
        self.stats.ipackets += 1;
        self.stats.rbytes += mp.len() as u64;
        mp.advance_rptr(header);
        Some(to)
    }
}

/// Gives a frame to every stream that it is for.
#[inline]
pub(super) fn deliver(q: &mut Queue<'_, Dlpi>, at: usize, mut mp: Msg, who: To) {
    let Some(p) = q.shared().port(at) else {
        return q.discard(mp, "not attached");
    };
    let size = mp.len();
    let h = match p.medium {
        Medium::PointToPoint => {
            let Some(sap) = sap_of_packet(mp.rd()) else {
                p.stats.ierrors += 1;
                return q.discard(mp, "neither IPv4 nor IPv6");
            };
            Heading {
                carries: Carried::of_type(sap),
                to: Dest::Us,
                ether: None,
            }
        }
        Medium::Ether(own) => {
            let Some(e) = Ether::parse(mp.rd()) else {
                p.stats.ierrors += 1;
                return q.discard(mp, "shorter than an Ethernet header");
            };
            let mut carries = Carried::of_type(e.kind);
            if carries.sap == Sap::Raw {
                // IEEE 802.3 3.2.6: the length tells data from padding.
                if ETHER_HDR + usize::from(e.kind) > mp.len() {
                    p.stats.ierrors += 1;
                    return q.discard(mp, "shorter than its 802.3 length");
                }
                mp.truncate(ETHER_HDR + usize::from(e.kind));
                carries.llc = Llc::parse(&mp.rd()[ETHER_HDR..]);
            }
            Heading {
                carries,
                to: Dest::of(&e.dst, &own),
                ether: Some(e),
            }
        }
    };
    // Nobody answers what is for another station, or what we send ourselves.
    let llc_on = who != To::Snoopers && h.to != Dest::Other;
    let wants = |u: &User| -> Option<(QRef, As)> {
        let snooper = || u.filter.has(crate::prim::DL_PROMISC_PHYS);
        if !(u.bound || u.raw)
            || !u.filter.accepts(&h.carries, h.to)
            || (who == To::Snoopers && !snooper())
        {
            return None;
        }
        let how = match u.llc {
            _ if u.raw => As::Raw,
            Some(mode) if llc_on && u.filter.by_llc(&h.carries) => As::Llc(mode),
            _ if u.fast && h.to == Dest::Us && u.filter.is_first(&h.carries) => As::Payload,
            _ => As::Indication,
        };
        Some((u.q, how))
    };
    let mut to = p.users.iter().filter_map(wants);
    let first = to.next();
    // Empty, and without an allocation, for one stream.
    let others: Vec<(QRef, As)> = to.collect();
    if who == To::Received {
        count(&mut p.stats, &h, size, first.is_some());
    }
    if llc_on
        && let (Some(e), Some(l)) = (&h.ether, &h.carries.llc)
        && let Some(through) = llc::for_station(q, at, l)
    {
        let copy = mp.dupmsg();
        llc::answer_as_station(q, at, through, copy, (e, l));
        if first.is_none() {
            return q.freemsg(mp);
        }
    }
    let Some(first) = first else {
        if who == To::Snoopers {
            return q.freemsg(mp); // it was only a copy
        }
        return q.discard(mp, "no stream for this SAP or address");
    };
    for (to, how) in others {
        let copy = mp.dupmsg();
        hand_up(q, at, to, how, copy, &h);
    }
    hand_up(q, at, first.0, first.1, mp, &h);
}

/// Counts a frame that came. One for another station, or for a group that no stream has, is
/// the hardware's to pass over, unless somebody listens to it.
fn count(stats: &mut Statistics, h: &Heading, size: usize, wanted: bool) {
    let ours = matches!(h.to, Dest::Us | Dest::Broadcast);
    if !wanted && !ours {
        return;
    }
    stats.ipackets += 1;
    stats.rbytes += size as u64;
    match h.to {
        Dest::Broadcast => stats.brdcstrcv += 1,
        Dest::Multicast(_) => stats.multircv += 1,
        Dest::Us | Dest::Other => {}
    }
    if !wanted {
        stats.unknowns += 1;
    }
}

/// One stream's copy, in the form it asked for.
fn hand_up(q: &mut Queue<'_, Dlpi>, at: usize, to: QRef, how: As, mut mp: Msg, h: &Heading) {
    if let (As::Llc(mode), Some(e), Some(l)) = (how, &h.ether, &h.carries.llc) {
        return llc::deliver(q, at, to, mode, mp, (e, l));
    }
    if h.ether.is_some() && how != As::Raw {
        mp.advance_rptr(ETHER_HDR);
    }
    if how == As::Indication {
        let (dest, src) = match h.ether {
            Some(e) => (Dlsap::ether(&e.dst, e.kind), Dlsap::ether(&e.src, e.kind)),
            None => (Dlsap::NONE, Dlsap::NONE),
        };
        let mut ind = q.alloc(0, fast::UNITDATA_IND_SIZE + 16);
        fast::put_unitdata_ind(&mut ind, dest.as_slice(), src.as_slice(), h.to.is_group());
        ind.set_tag(mp.tag());
        ind.set_cont(Some(mp));
        mp = ind;
    }
    put_up(q, at, to, mp);
}

/// Up one stream, if it has room.
#[inline]
fn put_up(q: &mut Queue<'_, Dlpi>, at: usize, to: QRef, mp: Msg) {
    let Some(mut up) = q.at(to) else {
        return q.discard(mp, "the stream is gone");
    };
    if up.canputnext() {
        up.putnext(mp);
    } else {
        blocked(&mut up, at, mp);
    }
}

#[cold]
fn blocked(up: &mut Queue<'_, Dlpi>, at: usize, mp: Msg) {
    up.discard(mp, "the receiver is blocked");
    if let Some(p) = up.shared().port(at) {
        p.stats.nocanput += 1;
    }
}
