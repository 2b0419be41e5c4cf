//! A datagram has arrived: checks, then for us or forwarded.
//!
//! ```text
//!   link ─► header, checksum ─► route ─┬─ ours, broadcast ─► deliver.rs
//!                                      ├─ group ─────────► multicast.rs
//!                                      └─ somebody else's ────────► forward.rs
//! ```
//!
//! Spec: RFC 791 3.2, RFC 1122 3.2.1, RFC 1812 5.2 and 5.3.7, ip_rput.

use streams::prelude::*;

use crate::ill::Ill;
use crate::ire::IreKind;
use crate::module::OnStack;
use crate::wire::{self, HEADER, is_multicast};
use crate::{deliver, forward, multicast, source_route};

/// A datagram from interface `ill`; `group`: the link said multicast or broadcast.
pub fn ip_input<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, mut mp: Msg, group: bool) {
    let have = mp.msgsize();
    let h = match wire::check(mp.rd(), have) {
        Ok(h) => h,
        // The header may be spread over blocks: pull it up once and look again.
        Err(_) if mp.cont().is_some() && mp.len() < 60 && mp.pullupmsg(Some(have.min(60))) => {
            match wire::check(mp.rd(), have) {
                Ok(h) => h,
                Err(why) => return bad_header(q, mp, why),
            }
        }
        Err(why) => return bad_header(q, mp, why),
    };
    if have > h.len {
        mp.adjmsg(-((have - h.len) as isize)); // the link's padding
    }
    let s = q.shared();
    // if(7P): one that is down takes none. Its link is unbound then, so that none comes.
    if ill != 0 && !s.ill(ill).is_some_and(Ill::is_up) {
        return q.discard(mp, "from an interface that is down");
    }
    s.mib.in_receives += 1;
    // RFC 1812 5.3.7: nobody has such a source.
    if h.src >= 0xe000_0000 || (h.src >> 24 == 127 && ill != 0) {
        s.mib.in_addr_errors += 1;
        return q.discard(mp, "martian source");
    }
    if is_multicast(h.dst) {
        return multicast::ip_input(q, ill, &h, mp);
    }
    let Some(id) = s.route(h.dst) else {
        return forward::no_route(q, ill, &h, mp, group);
    };
    let ire = *s.ires.get(id);
    match ire.kind {
        IreKind::Local if s.params.strict_dst && ire.ill != ill && ill != 0 => {
            s.mib.forw_prohibits += 1; // RFC 1122 3.3.4.2: the strong model
            q.discard(mp, "an address of another interface");
        }
        IreKind::Local if h.ihl > HEADER => {
            source_route::deliver_or_follow(q, ill, &h, mp, group);
        }
        IreKind::Local if !group && let Some(to) = deliver::tunnel_end(s, &h) => {
            deliver::give_to(q, &to, mp);
        }
        IreKind::Local => deliver::deliver(q, ill, &h, mp, group),
        IreKind::Loopback if ill == 0 => deliver::deliver(q, ill, &h, mp, group),
        IreKind::Loopback => {
            s.mib.in_addr_errors += 1;
            q.discard(mp, "loopback address on a link")
        }
        IreKind::Broadcast => {
            let limited = matches!(h.dst, 0 | u32::MAX);
            if limited || ire.ill == ill {
                deliver::deliver(q, ill, &h, mp, true);
            } else if s.params.directed_broadcasts {
                let copy = mp.copymsg();
                deliver::deliver(q, ill, &h, copy, true);
                forward::directed_broadcast(q, ill, &h, id, mp);
            } else {
                // RFC 2644: off by default.
                s.mib.forw_prohibits += 1;
                q.discard(mp, "directed broadcast");
            }
        }
        _ => {
            let on = s.onward(ill, &h, ire, &mut mp, group);
            forward::follow(q, ill, &h, on, mp);
        }
    }
}

#[cold]
fn bad_header<M: OnStack>(q: &mut Queue<'_, M>, mp: Msg, why: &'static str) {
    let s = q.shared();
    s.mib.in_receives += 1;
    s.mib.in_hdr_errors += 1;
    q.discard(mp, why);
}
