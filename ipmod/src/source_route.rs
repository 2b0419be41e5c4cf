//! Options of datagrams that pass: routes and times recorded, source routes followed.
//!
//! ```text
//!   input.rs ─ for us, and its source route goes on ─► follow ─► next address ─► forward.rs
//!   forward.rs ─ has options ─► on_forward: our address and the time written in
//!                     │ malformed                  │ strict, and we are not on its way
//!                     ▼                            ▼
//!              parameter problem             source route failed
//! ```
//!
//! Spec: RFC 791 3.1, RFC 1122 3.2.1.8, RFC 1812 5.2.4.1 and 5.3.13, ip_rput_options and
//! ip_rput_forward_options; ip_forward_src_routed, which was 1 until Solaris 10.

use streams::prelude::*;

use crate::icmp_out::{self, code, ty};
use crate::ire::{IreKind, RTF_BLACKHOLE, RTF_REJECT};
use crate::module::OnStack;
use crate::options::{self, SourceRoute};
use crate::wire::Header;
use crate::{deliver, forward};

/// A datagram with options has come that is addressed to us: it is delivered, or goes on
/// along its source route.
#[cold]
pub fn deliver_or_follow<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    mut mp: Msg,
    group: bool,
) {
    let mut h = *h;
    // Each turn uses up an address of the route, and a header has room for nine.
    loop {
        let route = match options::source_route(mp.rd(), h.ihl) {
            Ok(Some(r)) => r,
            Ok(None) => return deliver::deliver(q, ill, &h, mp, group),
            Err(pointer) => return malformed(q, ill, mp, pointer),
        };
        let Some((_, next)) = route.next else {
            return deliver::deliver(q, ill, &h, mp, group);
        };
        let s = q.shared();
        if group || !s.params.forwarding || !s.params.forward_src_routed {
            return failed(q, ill, mp);
        }
        let Some(id) = s.route(next) else {
            return failed(q, ill, mp);
        };
        let ire = *s.ires.get(id);
        let on_link = matches!(ire.kind, IreKind::IfResolver | IreKind::IfNoResolver);
        let ours = matches!(ire.kind, IreKind::Local | IreKind::Loopback);
        let refused = ire.flags & (RTF_REJECT | RTF_BLACKHOLE) != 0
            || matches!(ire.kind, IreKind::Broadcast | IreKind::Loopback);
        if refused || (route.strict && !on_link && !ours) {
            return failed(q, ill, mp); // RFC 1812 5.3.13.4: a strict hop is a neighbour
        }
        let leaves_by = if ours { next } else { s.source_for(id) };
        options::advance(mp.rd_mut(), h.ihl, route, leaves_by);
        h.dst = next;
        if !ours {
            return forward::forward(q, ill, &h, id, mp, group);
        }
    }
}

/// A datagram with options is forwarded by way of the interface `out`: what it asks for is
/// written. `None`: it was refused.
#[cold]
pub fn on_forward<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    out: u32,
    mut mp: Msg,
) -> Option<Msg> {
    let now = q.now();
    let s = q.shared();
    let ours = |a: u32| {
        let id = s.ires.lookup(a);
        id.is_some_and(|id| s.ires.get(id).kind == IreKind::Local)
    };
    // A strict route names every router. If it has been followed here, the last address
    // written into it is one of ours.
    let off_its_way = match options::source_route(mp.rd(), h.ihl) {
        Ok(Some(r @ SourceRoute { strict: true, .. })) => {
            !options::last_hop(mp.rd(), r).is_some_and(ours)
        }
        Ok(_) => false,
        Err(pointer) => {
            malformed(q, ill, mp, pointer);
            return None;
        }
    };
    if off_its_way {
        failed(q, ill, mp);
        return None;
    }
    let addr = s.ill(out).map_or(0, |i| i.source_to(h.dst));
    match options::record(mp.rd_mut(), h.ihl, addr, now, ours) {
        Ok(()) => Some(mp),
        Err(pointer) => {
            malformed(q, ill, mp, pointer);
            None
        }
    }
}

fn malformed<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, mp: Msg, pointer: u8) {
    q.shared().mib.in_hdr_errors += 1;
    icmp_out::error(q, ill, &mp, ty::PARAMETER, 0, u32::from(pointer) << 24);
    q.discard(mp, "malformed option");
}

fn failed<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, mp: Msg) {
    q.shared().mib.forw_prohibits += 1;
    icmp_out::error(q, ill, &mp, ty::UNREACHABLE, code::SOURCE_ROUTE, 0);
    q.discard(mp, "source route failed");
}
