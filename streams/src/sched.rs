//! What runs when: deferred hops, service procedures, timers.
//!
//! ```text
//!   qenable(q) ──► run list ──► service procedure ──► (putbq) back-enabled later
//!                    ▲ QENAB keeps it from standing there twice
//! ```
//!
//! The list runs to the end after the downstream work of each system call, on the
//! caller's thread, before the call returns; a kernel made for tests may step it, and a
//! seed may choose the order.
//!
//! Spec: qenable(9F), noenable(9F), srv(9E), qtimeout(9F), the reference's 6.5.
//! Kept: once per QENAB; a queue enabled while its procedure runs will run again.
//! Differs: under a seed the order is the seed's, not first in first out.

use std::task::Waker;
use std::time::Duration;

use crate::domain::Domain;
use crate::message::Msg;
use crate::queue::{QRef, flag};

/// Something to happen at a time.
pub(crate) enum Timer {
    /// `Module::timeout(q, tag)`.
    Queue(QRef, u64),
    /// A sleeping system call.
    Wake(Waker),
    /// Every qbufcall(9F) that waits.
    Memory,
}

/// Names a pending qtimeout(9F).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutId(pub(crate) Duration, pub(crate) u64);

impl Domain {
    /// qenable(9F): schedules the service procedure, if there is one.
    #[inline]
    pub(crate) fn qenable(&mut self, idx: u32) {
        let s = self.slot_mut(idx);
        if s.srvp.is_some() && s.flag & (flag::QENAB | flag::QWCLOSE) == 0 {
            s.flag |= flag::QENAB;
            self.runq.push_back(idx);
        }
    }

    /// Leaves a hop for later: the stack is deep. What comes for the queue meanwhile stays
    /// behind it.
    #[cold]
    pub(crate) fn defer(&mut self, idx: u32, mp: Msg) {
        self.slot_mut(idx).ndeferred += 1;
        self.refresh_slow(idx);
        self.deferred.push_back((self.qref(idx), mp));
    }

    /// Runs everything that is ready.
    #[inline]
    pub(crate) fn run(&mut self) {
        while !self.runq.is_empty() || !self.deferred.is_empty() {
            self.run_one();
        }
    }

    /// Runs one ready thing; false if there was none.
    pub(crate) fn run_one(&mut self) -> bool {
        if let Some((q, mp)) = self.deferred.pop_front() {
            match self.resolve(q) {
                Some(idx) => {
                    self.slot_mut(idx).ndeferred -= 1;
                    self.refresh_slow(idx);
                    if let Some(mp) = self.enter_or_wait(idx, false, mp) {
                        self.call_put(idx, mp);
                        self.leave(idx, false);
                    }
                }
                None => self.discard_event(mp),
            }
            return true;
        }
        let n = self.runq.len();
        if n == 0 {
            return false;
        }
        if n > 1 && self.rng != 0 {
            let pick = (self.random() % n as u64) as usize;
            self.runq.swap(0, pick);
        }
        let Some(idx) = self.runq.pop_front() else {
            return false;
        };
        let s = self.slot_mut(idx);
        // The queue may have been closed, and its slot used again, since it was enabled.
        if s.flag & flag::QENAB == 0 {
            return true;
        }
        // QBACK stays for the stream head's: it tells S_OUTPUT by it.
        s.flag &= !flag::QENAB;
        if let Some(srv) = s.srvp {
            let guarded = s.flag & flag::QSLOW != 0;
            if !guarded {
                srv(self, idx);
                return true;
            }
            self.trace_service(idx);
            self.enter_top(idx);
            srv(self, idx);
            self.leave(idx, false);
            if self.slot(idx).has(flag::QWAIT) {
                self.wake_head_of(idx);
            }
        }
        true
    }

    /// A number from the domain's seed (xorshift64).
    pub(crate) fn random(&mut self) -> u64 {
        let mut x = self.rng;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.rng = x;
        x
    }

    /// Time since the kernel was made; within one entry it stands still.
    #[inline]
    pub(crate) fn now(&mut self) -> Duration {
        match self.entry_time {
            Some(t) => t,
            None => {
                let t = self.env.now();
                self.entry_time = Some(t);
                t
            }
        }
    }

    /// Sets a timer.
    pub(crate) fn set_timer(&mut self, after: Duration, timer: Timer) -> TimeoutId {
        let at = self.now().saturating_add(after);
        let id = self.env.next_id();
        self.timers.insert((at, id), timer);
        TimeoutId(at, id)
    }

    /// Runs the timers that are due; says when the next one is.
    pub(crate) fn fire_timers(&mut self) -> Option<Duration> {
        let now = self.now();
        while let Some((&key, _)) = self.timers.first_key_value() {
            if key.0 > now {
                return Some(key.0);
            }
            match self.timers.remove(&key) {
                Some(Timer::Wake(w)) => self.wakers.push(w),
                Some(Timer::Memory) => self.memory_is_back(),
                Some(Timer::Queue(q, tag)) => {
                    if let Some(idx) = self.resolve(q) {
                        let f = self.slot(idx).ops.timeout;
                        self.callback(idx, |dom| f(dom, idx, tag));
                    }
                }
                None => {}
            }
        }
        None
    }

    /// A callback that enters the queue's perimeter (qtimeout(9F), qbufcall(9F), interrupts).
    pub(crate) fn callback(&mut self, idx: u32, f: impl FnOnce(&mut Domain)) {
        let q = self.qref(idx);
        self.enter_top(idx);
        f(self);
        if self.resolve(q).is_some() {
            self.leave(idx, false);
            if self.slot(idx).has(flag::QWAIT) {
                self.wake_head_of(idx);
            }
        }
    }
}
