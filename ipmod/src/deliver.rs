//! A datagram is for us: reassemble it, then hand it to who wants its protocol.
//!
//! ```text
//!   pieces ─► reassemble.rs ─► whole ─┬─ ICMP ─► icmp_in.rs ─┐
//!                                     ├─ UDP ──► udp.rs      ├─► subscribers of the protocol
//!                                     └─ others ─────────────┘   (T_BIND_REQ on /dev/ip)
//! ```
//!
//! Spec: ip_fanout_proto, the reference's ip-tpi section 2.1; RFC 1122 3.2.1, 3.3.2, 4.2.3.10
//! and RFC 9293 3.9.2.3 (MUST-57): TCP that is not for us alone goes to nobody.
//! Kept: a subscriber that is blocked loses the datagram, counted, and no quench is sent;
//! protocol 4 goes to the first match only.

use streams::prelude::*;

use crate::module::OnStack;
use crate::reassemble::Outcome;
use crate::stack::{Stack, Subscriber};
use crate::wire::{Header, IP_MF, IP_OFFMASK, check, is_multicast, proto};
use crate::{icmp_in, icmp_out, multicast, raw, tcp_news, udp};

/// The timer of reassembly, on the stream of an interface.
pub(crate) const REASSEMBLY: u64 = 1;

/// Delivers a datagram that is addressed to us; `group`: to others as well.
pub fn deliver<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mp: Msg, group: bool) {
    if h.frag & (IP_MF | IP_OFFMASK) != 0 {
        return piece(q, ill, mp, group);
    }
    whole(q, ill, h, mp, group);
}

/// A fragment: kept until its datagram is whole.
#[cold]
fn piece<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, mp: Msg, group: bool) {
    expire(q, ill);
    let now = q.now();
    let s = q.shared();
    s.mib.reasm_reqds += 1;
    let got = s.reassembly.input(now, mp);
    s.mib.reasm_fails += std::mem::take(&mut s.reassembly.pruned);
    match got {
        Outcome::Kept => arm(q, ill),
        Outcome::Twice(mp) => {
            q.shared().mib.reasm_duplicates += 1;
            q.discard(mp, "fragment twice");
        }
        Outcome::Dropped(mp, why) => {
            q.shared().mib.reasm_fails += 1;
            q.discard(mp, why);
        }
        Outcome::Whole(mp) => {
            q.shared().mib.reasm_oks += 1;
            match check(mp.rd(), mp.msgsize()) {
                Ok(h) => whole(q, ill, &h, mp, group),
                Err(why) => q.discard(mp, why),
            }
        }
    }
}

/// Gives up the datagrams whose time is past; their senders hear of it (RFC 1122 3.3.2).
pub(crate) fn expire<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let now = q.now();
    for e in q.shared().reassembly.expire(now) {
        q.shared().mib.reasm_fails += 1;
        if let Some(first) = e.first {
            icmp_out::error(q, ill, &first, icmp_out::ty::TIME_EXCEEDED, 1, 0);
            q.discard(first, "reassembly time exceeded");
        }
    }
}

/// Has the next expiry noticed: the interface's stream has a timer, lo0 has none and makes
/// do with the next fragment.
pub(crate) fn arm<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let now = q.now();
    let s = q.shared();
    let Some(wq) = s.ill(ill).and_then(|i| i.wq) else {
        return;
    };
    let Some(after) = s.reassembly.arm(now) else {
        return;
    };
    if let Some(mut timed) = q.at(wq) {
        timed.qtimeout(after, REASSEMBLY);
    }
}

/// A whole datagram.
#[inline]
fn whole<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mp: Msg, group: bool) {
    match h.proto {
        proto::ICMP => icmp_in::icmp_input(q, ill, h, mp, group),
        proto::IGMP => multicast::igmp_input(q, ill, h, mp),
        proto::TCP if group => {
            q.shared().mib.in_discards += 1;
            q.discard(mp, "TCP by broadcast or multicast");
        }
        proto::TCP if tcp_is_ours(q.shared()) => tcp_news::tcp_input(q, h, mp),
        proto::UDP => udp::udp_input(q, ill, h, mp, group),
        _ => fanout(q, ill, h, mp, group),
    }
}

/// TCP is /dev/tcp's, unless nobody uses that and somebody has subscribed to the protocol.
fn tcp_is_ours(s: &Stack) -> bool {
    !s.tcp.is_quiet() || !s.subscribers.iter().any(|x| x.proto == proto::TCP)
}

impl Subscriber {
    /// Is a datagram for it?
    #[inline]
    fn wants(&self, h: &Header) -> bool {
        self.proto == h.proto
            && (self.local == 0 || self.local == h.dst)
            && (self.remote == 0 || self.remote == h.src)
    }
}

/// The one stream that a tunnelled datagram goes to: the first that subscribed to its
/// protocol, as whole as it came. `None`: it takes the long way.
#[inline]
pub(crate) fn tunnel_end(s: &mut Stack, h: &Header) -> Option<Subscriber> {
    let whole = h.frag & (IP_MF | IP_OFFMASK) == 0;
    if !whole || !matches!(h.proto, proto::ENCAP | proto::IPV6) {
        return None;
    }
    let first = s.subscribers.iter().find(|x| x.wants(h)).copied()?;
    s.mib.in_delivers += 1;
    Some(first)
}

/// Is a datagram for this subscriber?
#[inline]
fn hears(s: &Stack, ill: u32, h: &Header, x: &Subscriber) -> bool {
    // A transport user hears the groups that it has joined; PIM and RSVP as in ip_fanout_proto.
    let filtered = is_multicast(h.dst) && !matches!(h.proto, proto::PIM | proto::RSVP);
    x.wants(h) && (!filtered || !x.tpi || s.multicast.wants(x.q, ill, h.dst, h.src))
}

/// Is it for any?
pub(crate) fn is_wanted(s: &Stack, ill: u32, h: &Header) -> bool {
    s.subscribers.iter().any(|x| hears(s, ill, h, x))
}

/// Copies for the subscribers of a protocol that ip itself acts on: ICMP and IGMP.
pub(crate) fn copies<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mp: &mut Msg) {
    let s = q.shared();
    let all = s.subscribers.iter().filter(|x| hears(s, ill, h, x));
    let all: Vec<Subscriber> = all.copied().collect();
    for to in all {
        give_to(q, &to, mp.dupmsg());
    }
}

/// Gives a datagram to the subscribers of its protocol.
#[inline]
pub fn fanout<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mp: Msg, group: bool) {
    let s = q.shared();
    let all = s.subscribers.iter().filter(|x| hears(s, ill, h, x));
    let mut all = all.copied();
    let Some(first) = all.next() else {
        s.mib.in_unknown_protos += 1;
        if !group {
            icmp_out::error(
                q,
                ill,
                &mp,
                icmp_out::ty::UNREACHABLE,
                icmp_out::code::PROTOCOL,
                0,
            );
        }
        return q.discard(mp, "no protocol");
    };
    let only_first = matches!(h.proto, proto::ENCAP | proto::IPV6) && !group;
    let others: Vec<Subscriber> = if only_first {
        Vec::new()
    } else {
        all.collect()
    };
    s.mib.in_delivers += 1;
    let mut mp = mp;
    for other in &others {
        let copy = mp.dupmsg();
        give_to(q, other, copy);
    }
    give_to(q, &first, mp);
}

/// As a subscriber has it: the datagram alone, or behind T_UNITDATA_IND.
#[inline]
pub(crate) fn give_to<M: OnStack>(q: &mut Queue<'_, M>, to: &Subscriber, mp: Msg) {
    let mp = if to.tpi { raw::indication(mp) } else { mp };
    give(q, to.q, mp);
}

/// Up one subscriber's stream, if it has room.
#[inline]
pub(crate) fn give<M: OnStack>(q: &mut Queue<'_, M>, to: QRef, mp: Msg) {
    let Some(mut up) = q.at(to) else {
        return q.discard(mp, "the receiver is gone");
    };
    if up.canputnext() {
        return up.putnext(mp);
    }
    q.shared().mib.in_discards += 1;
    q.discard(mp, "the receiver is blocked");
}
