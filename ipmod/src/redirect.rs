//! ICMP redirects: telling a host of a shorter way, and believing a router that does.
//!
//! ```text
//!   host ──► this router ──► back by the same link ──► better router
//!     ◄── redirect (type 5, code 1, the better router's address)
//!
//!   redirect heard ─► from the router in use? ─► a neighbour? ─► host route, flags UGHD
//!                                                                └─► gone after a minute
//! ```
//!
//! Spec: RFC 792 p. 12, RFC 1122 3.2.2.2 and 3.3.1.2, RFC 1812 4.3.3.2 and 5.2.7.2, the
//! reference's ip-tpi 7 and 8.1 to 8.3.
//! Kept: only host redirects are sent; the datagram that caused one is forwarded all the
//! same; none about a source-routed datagram.

use std::time::Duration;

use streams::prelude::*;

use crate::icmp_out::{self, ty};
use crate::ire::{Ire, IreKind, RTF_DYNAMIC, RTF_GATEWAY, RTF_HOST, RTF_UP};
use crate::module::OnStack;
use crate::stack::Stack;
use crate::wire::{HEADER, Header, be32};

/// The timer of routes that redirects made, on the stream of an interface.
pub(crate) const REDIRECTS: u64 = 2;
/// Such routes at most: a neighbour that lies must not fill the table.
const MOST: usize = 1024;
/// Redirect for the host.
const HOST: u8 = 1;

/// A datagram goes out by the link that it came in by: its sender may hear of it.
#[cold]
pub(crate) fn tell<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, next: u32, mp: &Msg) {
    let s = q.shared();
    let on_link = |a| {
        let link = s.ill(ill);
        link.is_some_and(|i| i.up().any(|p| p.mask != u32::MAX && p.on_subnet(a)))
    };
    let near = on_link(h.src) && on_link(next);
    if s.params.send_redirects && near && !source_routed(mp.rd(), h.ihl) {
        icmp_out::error(q, ill, mp, ty::REDIRECT, HOST, next);
    }
}

/// Has it a loose or strict source route (RFC 791 3.1)?
fn source_routed(b: &[u8], ihl: usize) -> bool {
    let mut rest = b.get(HEADER..ihl).unwrap_or(&[]);
    while let Some(&kind) = rest.first() {
        let n = match kind {
            0 => return false,
            1 => 1,
            131 | 137 => return true,
            _ => usize::from(rest.get(1).copied().unwrap_or(0)).max(2),
        };
        rest = rest.get(n..).unwrap_or(&[]);
    }
    false
}

/// A redirect for us; `body` is the ICMP message.
pub(crate) fn hear<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, body: &[u8]) {
    let now = q.now();
    let s = q.shared();
    let Some(quoted) = body.get(8..).filter(|b| b.len() >= HEADER + 8) else {
        s.mib.icmp_in_errors += 1;
        return;
    };
    let (gateway, src, dst) = (be32(body, 4), be32(quoted, 12), be32(quoted, 16));
    if !believable(s, ill, h.src, gateway, src, dst) {
        s.mib.icmp_in_bad_redirects += 1;
        return;
    }
    forget(s, |d| d == dst);
    let full = s.redirects.len() >= MOST;
    let Some(i) = s.ill(ill).filter(|_| !full) else {
        return;
    };
    let Some(p) = i.near(gateway) else { return };
    let (id, mtu, from, wq) = (p.id, p.mtu, p.addr, i.wq);
    let added = s.ires.add(Ire {
        kind: IreKind::HostRedirect,
        dst,
        mask: u32::MAX,
        gateway,
        ill,
        ipif: id,
        src: from,
        flags: RTF_UP | RTF_GATEWAY | RTF_HOST | RTF_DYNAMIC,
        mtu,
    });
    if added.is_err() {
        return;
    }
    let life = s.params.redirect_interval;
    s.redirects.push((dst, now + life));
    if let Some(mut timed) = wq.and_then(|wq| q.at(wq)) {
        timed.qtimeout(life, REDIRECTS);
    }
}

/// RFC 1122 3.2.2.2: about a datagram of ours, from the router that we use for it, to
/// another one on the same link.
fn believable(s: &mut Stack, ill: u32, router: u32, gateway: u32, src: u32, dst: u32) -> bool {
    if s.params.ignore_redirect || !s.is_local(src) || s.is_local(gateway) || s.is_local(dst) {
        return false;
    }
    let Some(id) = s.route(dst) else { return false };
    let used = *s.ires.get(id);
    let neighbour = s.ill(ill).is_some_and(|i| {
        i.up()
            .any(|p| p.on_subnet(gateway) && gateway != p.broadcast)
    });
    used.ill == ill && used.gateway == router && gateway != router && neighbour
}

/// Routes whose time is past go.
pub(crate) fn expire<M: OnStack>(q: &mut Queue<'_, M>) {
    let now = q.now();
    let s = q.shared();
    let old: Vec<u32> = due(&s.redirects, now).collect();
    forget(s, |d| old.contains(&d));
}

fn due(all: &[(u32, Duration)], now: Duration) -> impl Iterator<Item = u32> {
    all.iter().filter(move |r| r.1 <= now).map(|r| r.0)
}

/// Takes routes that redirects made away, by their destination.
fn forget(s: &mut Stack, which: impl Fn(u32) -> bool) {
    let gone: Vec<u32> = s
        .redirects
        .iter()
        .map(|r| r.0)
        .filter(|d| which(*d))
        .collect();
    for dst in gone {
        s.redirects.retain(|r| r.0 != dst);
        // It may have gone with its interface.
        let _ = s
            .ires
            .delete(dst, u32::MAX, None, |i| i.kind == IreKind::HostRedirect);
    }
}
