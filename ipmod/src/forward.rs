//! Somebody else's datagram: one hop less to live, and on towards its destination.
//!
//! ```text
//!   TTL ─► options ─► MTU ─► output::send        each step may refuse: icmp_out.rs
//! ```
//!
//! Spec: RFC 1812 5.3, ip_rput_forward, the reference's ip-tpi 8.1.

use streams::message::MSGFORWARDED;
use streams::prelude::*;

use crate::icmp_out::{self, code, ty};
use crate::ire::{Ire, IreId, IreKind, RTF_BLACKHOLE, RTF_REJECT};
use crate::module::OnStack;
use crate::output::Way;
use crate::stack::Stack;
use crate::wire::{self, HEADER, Header, IP_DF};
use crate::{fragment, output, redirect, source_route};

/// What becomes of somebody else's datagram.
pub(crate) enum Onward {
    /// Its header is done: this way, by this interface, to this neighbour.
    Go(Way, u32, u32),
    /// It has options, goes back where it came from, or is larger than the way out.
    Care(Care),
    /// Nowhere, for this reason.
    No(&'static str),
    /// Nowhere, and its source hears of it: type and code of the ICMP error.
    Refused(u8, u8, &'static str),
}

/// What is to be known of a datagram that needs care.
#[derive(Clone, Copy)]
pub(crate) struct Care {
    out: u32,
    next: u32,
    mtu: u32,
    back: bool,
}

impl Stack {
    /// Decides about a datagram that came in on `ill`, for which there is this route; of one
    /// that can go, the header is edited.
    #[inline(always)]
    pub(crate) fn onward(
        &mut self,
        ill: u32,
        h: &Header,
        ire: Ire,
        mp: &mut Msg,
        group: bool,
    ) -> Onward {
        if !self.params.forwarding {
            self.mib.forw_prohibits += 1;
            return Onward::No("not a router");
        }
        if group {
            self.mib.forw_prohibits += 1;
            return Onward::No("link-level broadcast of a unicast datagram");
        }
        let (out, gateway, mtu) = (ire.ill, ire.gateway, ire.mtu);
        if ire.flags & RTF_REJECT != 0 {
            return Onward::Refused(ty::UNREACHABLE, code::HOST, "reject route");
        }
        if ire.flags & RTF_BLACKHOLE != 0 {
            return Onward::No("reject route");
        }
        // RFC 2003 3.2: what claims to come from us is not tunnelled; of all our addresses
        // only IP knows.
        if self.ill(out).is_some_and(|i| i.tunnel) && self.is_local(h.src) {
            self.mib.forw_prohibits += 1;
            return Onward::No("own source, towards a tunnel");
        }
        if h.ttl <= 1 {
            self.mib.in_hdr_errors += 1;
            return Onward::Refused(ty::TIME_EXCEEDED, 0, "time to live exceeded");
        }
        let next = if gateway != 0 { gateway } else { h.dst };
        let back = out == ill && gateway != 0;
        if h.ihl > HEADER || back || h.len > mtu as usize {
            return Onward::Care(Care {
                out,
                next,
                mtu,
                back,
            });
        }
        wire::decrement_ttl(mp.rd_mut());
        mp.set_flag(mp.flag() | MSGFORWARDED); // a tunnel asks: RFC 2003 3.2
        self.mib.forw_datagrams += 1;
        Onward::Go(self.way(out, next, mp), out, next)
    }
}

/// Forwards a datagram that came in on `ill`, by the route `id`.
pub fn forward<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    id: IreId,
    mut mp: Msg,
    group: bool,
) {
    let s = q.shared();
    let ire = *s.ires.get(id);
    let on = s.onward(ill, h, ire, &mut mp, group);
    follow(q, ill, h, on, mp);
}

/// Does with a datagram what was decided.
#[inline(always)]
pub(crate) fn follow<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, on: Onward, mp: Msg) {
    match on {
        Onward::Go(way, out, next) => output::go(q, way, out, next, mp),
        Onward::Care(care) => with_care(q, ill, h, mp, care),
        Onward::No(why) => q.discard(mp, why),
        Onward::Refused(ty, code, why) => {
            icmp_out::error(q, ill, &mp, ty, code, 0);
            q.discard(mp, why);
        }
    }
}

/// Forwards what has options, goes back where it came from, or is larger than the way out.
#[cold]
fn with_care<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mut mp: Msg, care: Care) {
    let Care {
        out,
        next,
        mtu,
        back,
    } = care;
    if h.ihl > HEADER {
        mp = match source_route::on_forward(q, ill, h, out, mp) {
            Some(mp) => mp,
            None => return,
        };
    }
    if back {
        redirect::tell(q, ill, h, next, &mp); // and on it goes all the same
    }
    if h.len > mtu as usize {
        return too_big(q, ill, h, mp, out, next, mtu);
    }
    wire::decrement_ttl(mp.rd_mut());
    mp.set_flag(mp.flag() | MSGFORWARDED);
    q.shared().mib.forw_datagrams += 1;
    output::send(q, out, next, mp);
}

/// Forwards a broadcast of another link: it goes no further there than `ip_broadcast_ttl` says.
#[cold]
pub(crate) fn directed_broadcast<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    id: IreId,
    mut mp: Msg,
) {
    // One that has no hop left is refused below, as any other.
    if h.ttl > 1 {
        let ttl = q.shared().params.broadcast_ttl.saturating_add(1);
        let b = mp.rd_mut();
        b[8] = ttl;
        wire::fill_checksum(b, h.ihl);
    }
    forward(q, ill, h, id, mp, false);
}

/// Larger than the way out takes: in pieces, or refused.
#[cold]
fn too_big<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    mut mp: Msg,
    out: u32,
    next: u32,
    mtu: u32,
) {
    if h.frag & IP_DF != 0 {
        q.shared().mib.frag_fails += 1;
        icmp_out::error(q, ill, &mp, ty::UNREACHABLE, code::FRAG_NEEDED, mtu);
        return q.discard(mp, "too big, and must not be fragmented");
    }
    wire::decrement_ttl(mp.rd_mut());
    mp.set_flag(mp.flag() | MSGFORWARDED);
    q.shared().mib.forw_datagrams += 1;
    in_pieces(q, mp, out, next, mtu);
}

/// Fragments a datagram and sends the pieces.
pub(crate) fn in_pieces<M: OnStack>(q: &mut Queue<'_, M>, mp: Msg, out: u32, next: u32, mtu: u32) {
    let mut pieces = Vec::new();
    match fragment::fragment(mp, mtu as usize, |piece| pieces.push(piece)) {
        Ok(()) => {
            let s = q.shared();
            s.mib.frag_oks += 1;
            s.mib.frag_creates += pieces.len() as u64;
            for piece in pieces {
                output::send(q, out, next, piece);
            }
        }
        Err(mp) => {
            q.shared().mib.frag_fails += 1;
            q.discard(mp, "cannot be fragmented");
        }
    }
}

/// Nobody knows the way.
#[cold]
pub(crate) fn no_route<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    _h: &Header,
    mp: Msg,
    group: bool,
) {
    let s = q.shared();
    s.mib.out_no_routes += 1;
    if s.params.forwarding && !group {
        icmp_out::error(q, ill, &mp, ty::UNREACHABLE, code::HOST, 0);
    }
    q.discard(mp, "no route");
}

/// Routes that send datagrams out, as opposed to in.
pub(crate) fn leads_out(kind: IreKind) -> bool {
    !matches!(kind, IreKind::Local | IreKind::Loopback)
}
