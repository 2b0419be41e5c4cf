//! A datagram leaves: the header is finished, then down the interface's stream.
//!
//! ```text
//!   our own ─► route, source, ident, checksum ─► MTU ─┐
//!   forwarded ────────────────────────────────────────┴─► send ─► link header ─► putnext
//!                                                          │ no link address yet: resolve.rs
//! ```
//!
//! Spec: ip_wput, ip_wput_ire, the reference's ip-tpi sections 3 and 6.3; RFC 6864 (ident).
//! Differs: the identification of an atomic datagram (DF, no fragment) is left as it is.

use dlpi::prim::fast;
use streams::message::{MSGTUNNEL, MSGTUNNELS};
use streams::prelude::*;

use crate::forward::{in_pieces, leads_out};
use crate::icmp_out::{self, code, ty};
use crate::ill::{Dlsap, iff};
use crate::ire::{IreKind, RTF_BLACKHOLE, RTF_REJECT};
use crate::module::OnStack;
use crate::stack::{NO_ILL, Stack};
use crate::wire::{self, HEADER, IP_DF, IP_MF, IP_OFFMASK, be16, be32, is_multicast};
use crate::{input, multicast, resolve};

/// Tunnels through this stack that a datagram may go into before they count as a loop.
const NESTED: u16 = 4;

/// Sends a complete datagram of this host: header first, total length set.
pub fn ip_output<M: OnStack>(q: &mut Queue<'_, M>, mut mp: Msg) {
    if mp.len() < HEADER && !mp.pullupmsg(Some(HEADER)) {
        return q.discard(mp, "header cut short");
    }
    let b = mp.rd();
    let ihl = usize::from(b[0] & 0xf) * 4;
    let len = usize::from(be16(b, 2));
    if b[0] >> 4 != 4 || ihl < HEADER || len < ihl || len != mp.msgsize() {
        q.shared().mib.out_discards += 1;
        return q.discard(mp, "a header that does not fit its datagram");
    }
    if ihl > mp.len() && !mp.pullupmsg(Some(ihl)) {
        return q.discard(mp, "header cut short");
    }
    let b = mp.rd();
    let (dst, src, frag) = (be32(b, 16), be32(b, 12), be16(b, 6));
    let s = q.shared();
    s.mib.out_requests += 1;
    if is_multicast(dst) {
        return multicast::ip_output(q, mp);
    }
    let Some(id) = s.route(dst) else {
        s.mib.out_no_routes += 1;
        finish_header(s, &mut mp, ihl, src, frag);
        icmp_out::error(q, 0, &mp, ty::UNREACHABLE, code::HOST, 0);
        return q.discard(mp, "no route");
    };
    let ire = s.ires.get(id);
    let (kind, gateway, mtu, flags) = (ire.kind, ire.gateway, ire.mtu, ire.flags);
    let out = ire.ill;
    let from = if src != 0 { src } else { s.source_for(id) };
    if flags & (RTF_REJECT | RTF_BLACKHOLE) != 0 {
        s.mib.out_no_routes += 1;
        if flags & RTF_REJECT != 0 {
            finish_header(s, &mut mp, ihl, from, frag);
            icmp_out::error(q, 0, &mp, ty::UNREACHABLE, code::HOST, 0);
        }
        return q.discard(mp, "reject route");
    }
    finish_header(s, &mut mp, ihl, from, frag);
    let no_paths = s.path_mtu.is_empty();
    if !leads_out(kind) {
        return input::ip_input(q, 0, mp, false); // ours: looped back inside
    }
    let next = if gateway != 0 { gateway } else { dst };
    if kind == IreKind::Broadcast {
        let copy = mp.copymsg();
        input::ip_input(q, out, copy, true);
    } else if no_paths && len <= mtu as usize {
        let way = s.way(out, next, &mut mp); // what nearly every one takes
        return go(q, way, out, next, mp);
    }
    let mtu = if no_paths {
        mtu
    } else {
        let now = q.now();
        mtu.min(q.shared().path_mtu.get(dst, now))
    };
    if len > mtu as usize {
        if frag & IP_DF != 0 {
            q.shared().mib.frag_fails += 1;
            icmp_out::error(q, 0, &mp, ty::UNREACHABLE, code::FRAG_NEEDED, mtu);
            return q.discard(mp, "too big, and must not be fragmented");
        }
        return in_pieces(q, mp, out, next, mtu);
    }
    send(q, out, next, mp);
}

/// Source, identification, checksum.
#[inline(always)]
pub(crate) fn finish_header(s: &mut Stack, mp: &mut Msg, ihl: usize, src: u32, frag: u16) {
    let atomic = frag & IP_DF != 0 && frag & (IP_MF | IP_OFFMASK) == 0;
    let ident = if atomic { None } else { Some(s.next_ident()) };
    wire::complete(mp.rd_mut(), ihl, src, ident);
}

impl Stack {
    /// The source address of a datagram by a route.
    pub(crate) fn source_for(&self, id: crate::ire::IreId) -> u32 {
        let ire = self.ires.get(id);
        if ire.src != 0 {
            return ire.src;
        }
        let to = if ire.gateway != 0 {
            ire.gateway
        } else {
            ire.dst
        };
        self.ill(ire.ill).map_or(0, |i| i.source_to(to))
    }
}

/// How a datagram leaves by an interface.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// As it is now, down this stream.
    Down(QRef),
    /// Back inside: lo0.
    Inside,
    /// The neighbour's header isn't known.
    Resolve,
    /// As DL_UNITDATA_REQ: the link has no fast path.
    Unitdata,
    /// Not at all.
    No(&'static str),
}

impl Stack {
    /// How a datagram leaves by an interface for a neighbour; the header that it needs is put
    /// in front.
    #[inline(always)]
    pub(crate) fn way(&mut self, out: u32, next: u32, mp: &mut Msg) -> Way {
        let Some(ill) = self.ills.get(out as usize).and_then(Option::as_ref) else {
            return Way::No("the interface is gone");
        };
        if ill.flags & iff::UP == 0 {
            return Way::No("the interface is down");
        }
        let Some(wq) = ill.wq else {
            return Way::Inside;
        };
        if ill.flags & iff::BROADCAST != 0 {
            // A broadcast link: the neighbour's header goes in front.
            match self.neighbours.header((out, next)) {
                Some(h) => mp.prepend(h.len(), 0).copy_from_slice(h),
                None => return Way::Resolve,
            }
        } else if !ill.fastpath {
            return Way::Unitdata;
        }
        if !ill.tunnel {
            return Way::Down(wq);
        }
        if mp.flag() & MSGTUNNELS >= NESTED * MSGTUNNEL {
            return Way::No("tunnels nested too deep");
        }
        mp.set_flag(mp.flag() + MSGTUNNEL);
        Way::Down(wq)
    }
}

/// Hands a finished datagram to an interface, for the neighbour `next`.
#[inline]
pub fn send<M: OnStack>(q: &mut Queue<'_, M>, out: u32, next: u32, mut mp: Msg) {
    let way = q.shared().way(out, next, &mut mp);
    go(q, way, out, next, mp);
}

/// Sends a datagram the way that was found for it.
#[inline(always)]
pub(crate) fn go<M: OnStack>(q: &mut Queue<'_, M>, way: Way, out: u32, next: u32, mp: Msg) {
    match way {
        Way::Down(wq) => down(q, wq, mp),
        Way::Inside => input::ip_input(q, 0, mp, false),
        Way::Resolve => resolve::resolve(q, out, next, mp),
        Way::Unitdata => unresolved(q, out, mp),
        Way::No(why) => discarded(q, mp, why),
    }
}

/// Down the interface's stream, if there is room.
#[inline]
fn down<M: OnStack>(q: &mut Queue<'_, M>, wq: QRef, mp: Msg) {
    let Some(mut w) = q.at(wq) else {
        return q.discard(mp, "the interface is gone");
    };
    if w.canputnext() {
        w.putnext(mp);
    } else {
        discarded(q, mp, "the link is blocked");
    }
}

/// There is no way out for it.
#[cold]
fn discarded<M: OnStack>(q: &mut Queue<'_, M>, mp: Msg, why: &'static str) {
    q.shared().mib.out_discards += 1;
    q.discard(mp, why);
}

/// As DL_UNITDATA_REQ, to a link whose addresses say nothing and that has no fast path.
#[inline(never)]
fn unresolved<M: OnStack>(q: &mut Queue<'_, M>, out: u32, mp: Msg) {
    let to = q.shared().ill(out).and_then(|ill| {
        let none = Dlsap::from_elem(0, ill.info.phys_len() as usize);
        Some((ill.wq?, ill.dlsap(&none, dlpi::prim::SAP_IP as u16)))
    });
    match to {
        Some((wq, dlsap)) => unitdata(q, wq, &dlsap, mp),
        None => q.discard(mp, "the interface is gone"),
    }
}

/// As DL_UNITDATA_REQ, to a neighbour without a header.
pub(crate) fn send_unitdata<M: OnStack>(q: &mut Queue<'_, M>, out: u32, dlsap: &[u8], mp: Msg) {
    if out == NO_ILL {
        return q.discard(mp, "the interface is gone");
    }
    match q.shared().ill(out).and_then(|i| i.wq) {
        Some(wq) => unitdata(q, wq, dlsap, mp),
        None => q.discard(mp, "the interface is gone"),
    }
}

fn unitdata<M: OnStack>(q: &mut Queue<'_, M>, wq: QRef, dlsap: &[u8], mp: Msg) {
    let mut req = q.alloc(0, fast::UNITDATA_REQ_SIZE + dlsap.len());
    if !fast::put_unitdata_req(&mut req, dlsap) {
        return q.discard(mp, "no room for a primitive");
    }
    req.set_cont(Some(mp));
    down(q, wq, req);
}
