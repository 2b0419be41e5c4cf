//! Fragmentation of the inner datagram, before it is encapsulated.
//!
//! ```text
//!   [ inner, DF clear, too big ] ──► [ piece | MF ] [ piece | MF ] [ piece ]
//!                                       │              │             │
//!                              [ outer DF │ piece ]   each fits the path; the final host,
//!                                                     not the exit, puts them together
//! ```
//!
//! Spec: RFC 2003 section 5.1, RFC 4459 section 3.4; RFC 791 section 3.2 (ipmod's `fragment`).
//! Kept: a piece is a fragment, which RFC 2004 can't carry: flag M makes it IPIP, counted.
//! Differs: what can't be cut (no room behind a long header) is fragmented outside.

use ipmod::fragment::fragment;
use streams::prelude::*;

use crate::encap::{Df, Policy, encapsulate, overhead};
use crate::encap_table::ENCAP_M;
use crate::header::Ipv4;
use crate::personality::Vtunl;
use crate::provider::{drop_it, emit};
use crate::texit_table::ExitId;
use crate::why::Why;

/// Sends a datagram with DF clear, larger than the exit `id` takes whole, in pieces.
#[cold]
#[inline(never)]
pub(crate) fn send(q: &mut Queue<'_, Vtunl>, mut mp: Msg, h: &Ipv4, id: ExitId, flags: u16) {
    let view = q.ptr().reader.look();
    let Some(x) = view.exits.at(id) else {
        return q.freemsg(mp);
    };
    let room = x.pmtu().saturating_sub(overhead(flags & !ENCAP_M, x));
    // The front block of a duplicate is empty.
    mp.pullupmsg(Some(usize::from(h.header)));
    let mut pieces = Vec::new();
    match fragment(mp, usize::from(room), |piece| pieces.push(piece)) {
        Ok(()) => {
            view.stats.pieces.add(pieces.len() as u64);
            let policy = view.policy;
            for piece in pieces {
                one(q, piece, id, flags, &policy);
            }
        }
        Err(mp) => {
            let outside = Policy {
                df: Df::Copy,
                ..view.policy
            };
            one(q, mp, id, flags, &outside);
        }
    }
}

fn one(q: &mut Queue<'_, Vtunl>, mut mp: Msg, id: ExitId, flags: u16, policy: &Policy) {
    let v = q.ptr();
    let view = v.reader.look();
    let Some(x) = view.exits.at(id) else {
        return q.freemsg(mp);
    };
    let done = Ipv4::of(&mut mp)
        .and_then(|h| encapsulate(&mut mp, &h, x, flags, v.address, policy, &view.stats));
    match done {
        Ok(()) => {
            view.stats.encapsulated.add(1);
            v.encapsulated += 1;
            emit(q, mp);
        }
        Err(why) => drop_it(q, mp, why),
    }
}

/// Is this refusal one that pieces mend? Only [`Df::Inner`] refuses what may be cut.
pub(crate) fn mend(why: Why, h: &Ipv4) -> bool {
    why == Why::TooBig && !h.df()
}
