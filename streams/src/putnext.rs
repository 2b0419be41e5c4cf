//! The hop: from a queue to the put procedure of the next one.
//!
//! ```text
//!   putnext(q, mp) ──► q_next ──► nothing special ──► its put procedure, on this stack
//!                                 perimeter busy  ──► its syncq, and return
//!                                 stack deep      ──► deferred, and return
//!                                 stream end      ──► a counted drop
//! ```
//!
//! Spec: putnext(9F), put(9F), qreply(9F), mt-streams(9F).
//! Kept: never blocks; first in first out per queue; a put never re-enters its perimeter.

use crate::domain::Domain;
use crate::message::Msg;
use crate::queue::{NONE, flag};

impl Domain {
    /// putnext(9F).
    #[inline]
    pub(crate) fn putnext(&mut self, idx: u32, mp: Msg) {
        let next = self.slot(idx).next;
        if next == NONE {
            return self.discard(idx, mp, "putnext past the end of the stream");
        }
        self.put(next, mp);
    }

    /// put(9F): calls the queue's own put procedure, inside its perimeter. The last call in
    /// it: the hop needs no frame of its own.
    #[inline]
    pub(crate) fn put(&mut self, idx: u32, mp: Msg) {
        let s = self.slot(idx);
        if s.flag & flag::QSLOW == 0 {
            let putp = s.putp;
            putp(self, idx, mp);
        } else {
            self.put_odd(idx, mp);
        }
    }

    /// The put of a queue with something special. With an exclusive inner perimeter and
    /// nothing else it is still short.
    #[inline(never)]
    fn put_odd(&mut self, idx: u32, mp: Msg) {
        let s = self.slot(idx);
        let (guarded, putp, inner) = (s.has(flag::QGUARD), s.putp, s.inner);
        if !guarded || !self.slot(inner).perim.is_free() {
            return self.put_slow(idx, mp);
        }
        self.slot_mut(inner).perim.take();
        putp(self, idx, mp);
        let p = &mut self.slot_mut(inner).perim;
        p.give_back();
        if p.has_waiters() {
            self.drain_syncq(inner);
        }
    }

    /// Every other put: traced, waited for, deferred, shared, with an outer perimeter.
    #[cold]
    fn put_slow(&mut self, idx: u32, mut mp: Msg) {
        if self.slot(idx).has(flag::QTRACE) {
            self.trace_put(idx, &mut mp);
        }
        let s = self.slot(idx);
        let behind = s.ndeferred > 0; // others are: it stays behind them
        if behind || self.stack_is_deep() || s.has(flag::QOPENING) {
            return self.defer(idx, mp);
        }
        let shared = s.has(flag::QPUTSHARED);
        let Some(mp) = self.enter_or_wait(idx, shared, mp) else {
            return;
        };
        self.call_put(idx, mp);
        self.leave(idx, shared);
    }

    /// Runs the put procedure; whoever waits for one of the pair (qwait(9F)) is told.
    pub(crate) fn call_put(&mut self, idx: u32, mp: Msg) {
        let s = self.slot(idx);
        let (putp, waited) = (s.putp, s.has(flag::QWAIT));
        putp(self, idx, mp);
        if waited {
            self.wake_head_of(idx);
        }
    }
}
