//! Refusing a datagram: an ICMP error to who sent it, when the rules allow one.
//!
//! ```text
//!   offending datagram ─► must-nots (icmp.rs) ─► rate limit ─► output.rs
//! ```
//!
//! Spec: RFC 792, RFC 1812 4.3, the reference's ip-tpi 8.2.

use streams::prelude::*;

use crate::ire::IreKind;
use crate::module::OnStack;
use crate::wire::be32;
use crate::{icmp, output};

/// ICMP types.
pub mod ty {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER: u8 = 12;
}

/// Codes of destination unreachable.
pub mod code {
    /// Network.
    pub const NET: u8 = 0;
    /// Host.
    pub const HOST: u8 = 1;
    /// Protocol.
    pub const PROTOCOL: u8 = 2;
    /// Port.
    pub const PORT: u8 = 3;
    /// Fragmentation needed.
    pub const FRAG_NEEDED: u8 = 4;
    /// Source route failed.
    pub const SOURCE_ROUTE: u8 = 5;
}

/// Sends an ICMP error about `mp`, which came in on `ill`; `rest` is the second word (the
/// MTU, or the pointer in its first byte). The datagram itself stays the caller's.
#[cold]
pub fn error<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, mp: &Msg, ty: u8, code: u8, rest: u32) {
    let now = q.now();
    let whole = if mp.cont().is_some() {
        Some(mp.to_vec())
    } else {
        None
    };
    let offending = whole.as_deref().unwrap_or(mp.rd());
    let (src, dst) = (be32(offending, 12), be32(offending, 16));
    let s = q.shared();
    // RFC 1812 4.3.2.7: neither end is a broadcast address of a link of ours.
    let broadcast = |a| {
        let id = s.ires.lookup(a);
        id.is_some_and(|id| s.ires.get(id).kind == IreKind::Broadcast)
    };
    if broadcast(src) || broadcast(dst) {
        s.mib.icmp_out_drops += 1;
        return;
    }
    // The source is the address that was meant, if it is ours, else that of the way back.
    let from = if s.is_local(dst) {
        dst
    } else {
        let back = s.route(src).map_or(0, |id| s.source_for(id));
        if back != 0 {
            back
        } else {
            s.ill(ill).map_or(0, |i| i.source_to(src))
        }
    };
    let (ttl, quote) = (s.params.def_ttl, s.params.return_data);
    let built = icmp::error(offending, ty, code, rest, from, ttl, quote);
    let Some(error) = built.filter(|_| s.icmp_limit.allow(now)) else {
        s.mib.icmp_out_drops += 1;
        return;
    };
    s.mib.icmp_out_msgs += 1;
    let mut msg = q.alloc(64, error.len());
    msg.append(&error);
    msg.set_tag(mp.tag());
    output::ip_output(q, msg);
}
