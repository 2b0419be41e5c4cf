//! Looking up ahead: where the tables are so large that the memory for an entry is far away.
//!
//! ```text
//!   a turn of the pump:   datagram, datagram, ..  ─► putq       on our queue, not yet looked up
//!   its end, or enough:   service procedure ─► look at all of them at once, waiting for none
//!                                           └► then send one after the other: it is here now
//! ```
//!
//! One access to memory takes longer than all else that is done for a datagram; many at once
//! take little longer than one. A link hands up what it has read in one turn, so that there
//! are many; where there is one, it goes on as soon as it came.
//!
//! Spec: srv(9E), putq(9F): deferring work to the service procedure is what it is for.

use streams::prelude::*;

use crate::personality::Vtunl;
use crate::view::View;

/// Entries from which on the memory of one is likely to be far away: what a second-level
/// cache holds.
pub(crate) const FAR: usize = 16_384;

/// Datagrams that are looked up at once.
const TOGETHER: usize = 64;
/// Bytes that wait at most, well below the mark at which the queue is full.
const ENOUGH: usize = 32_768;

/// Has a datagram been looked up ahead?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// No: it came just now.
    No,
    /// Yes, or it need not be.
    Done,
}

/// Where the addresses of a datagram stand.
pub(crate) const HEADER: usize = 12;
/// Where those of a datagram inside another stand, if neither header has options.
pub(crate) const INNER_HEADER: usize = 32;

/// Puts a datagram off, until there are enough or no more are to come.
pub(crate) fn put_off(q: &mut Queue<'_, Vtunl>, mp: Msg, srv: fn(&mut Queue<'_, Vtunl>)) {
    q.putq(mp);
    if q.count() >= ENOUGH || q.qsize() >= TOGETHER {
        srv(q);
    }
}

/// The service procedure of a side: passes on what waits as long as there is room. `far`: it is
/// looked up ahead, by the addresses that stand at this offset.
#[inline(always)]
pub(crate) fn serve(
    q: &mut Queue<'_, Vtunl>,
    far: bool,
    at: usize,
    fetch: fn(&View, u32, u32),
    pass: impl Fn(&mut Queue<'_, Vtunl>, Msg),
) {
    let mut looked = 0;
    while let Some(mp) = q.getq() {
        if !q.canputnext() {
            return q.putbq(mp);
        }
        if far && looked == 0 {
            looked = look(q, &mp, at, fetch);
        }
        looked = looked.saturating_sub(1);
        pass(q, mp);
    }
}

/// Begins to look up this datagram and those that wait behind it, by the addresses at an
/// offset: source and destination. Says how many there are.
fn look(q: &mut Queue<'_, Vtunl>, first: &Msg, at: usize, fetch: fn(&View, u32, u32)) -> usize {
    let mut addresses = [(0, 0); TOGETHER];
    let waiting = std::iter::once(first).chain(q.messages());
    let mut n = 0;
    for (to, mp) in addresses.iter_mut().zip(waiting) {
        let word = |at: usize| mp.rd().get(at..at + 4).and_then(|b| b.first_chunk());
        let word = |at| word(at).copied().map_or(0, u32::from_be_bytes);
        *to = (word(at), word(at + 4));
        n += 1;
    }
    let view = q.ptr().reader.look();
    for (src, dst) in &addresses[..n] {
        fetch(view, *src, *dst);
    }
    n
}
