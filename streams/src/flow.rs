//! Flow control: who may send, and who is told when there is room again.
//!
//! ```text
//!   [head] ──► [nullmod] ──► [driver]      nullmod has no service procedure, so
//!     ▲         skipped         │ full     canputnext asks the driver's queue;
//!     └──── back-enabled ◄──────┘          draining below lowat wakes the head.
//! ```
//!
//! Spec: canput(9F), canputnext(9F), bcanput(9F), bcanputnext(9F).
//! Kept: the nearest queue ahead with a service procedure answers, else the last one; the
//! nearest behind with a service procedure is scheduled.

use crate::domain::Domain;
use crate::queue::{NONE, QB_BACK, QB_FULL, QB_WANTW, flag};

/// Messages waiting to be put from which a queue counts as full (the reference's 7.2).
const SYNCQ_FULL: u32 = 10_000;

impl Domain {
    /// The queue that answers for `idx`: the first from it on that has a service
    /// procedure, else the end of the stream.
    #[inline]
    pub(crate) fn flow_end(&self, mut idx: u32) -> u32 {
        loop {
            let s = self.slot(idx);
            if s.srvp.is_some() || s.next == NONE {
                return idx;
            }
            idx = s.next;
        }
    }

    /// canput(9F): room at `idx` or where it leads? If not, QWANTW.
    #[inline]
    pub(crate) fn canput(&mut self, idx: u32) -> bool {
        let end = self.flow_end(idx);
        let s = self.slot(end);
        let full = s.flag & flag::QFULL != 0 || s.nsync + s.ndeferred >= SYNCQ_FULL;
        if full {
            self.want_room(end);
        }
        !full
    }

    /// Who asked is told once there is room.
    #[cold]
    fn want_room(&mut self, end: u32) {
        self.slot_mut(end).flag |= flag::QWANTW;
        self.trace_full(end);
    }

    /// canputnext(9F).
    #[inline]
    pub(crate) fn canputnext(&mut self, idx: u32) -> bool {
        match self.slot(idx).next {
            NONE => false,
            next => self.canput(next),
        }
    }

    /// bcanput(9F): band 0 is canput; a band that has no marks yet has room.
    pub(crate) fn bcanput(&mut self, idx: u32, band: u8) -> bool {
        if band == 0 {
            return self.canput(idx);
        }
        let end = self.flow_end(idx);
        match self.slot_mut(end).bands.get_mut(band as usize - 1) {
            Some(b) if b.flag & QB_FULL != 0 => {
                b.flag |= QB_WANTW;
                self.trace_full(end);
                false
            }
            _ => true,
        }
    }

    /// bcanputnext(9F).
    pub(crate) fn bcanputnext(&mut self, idx: u32, band: u8) -> bool {
        match self.slot(idx).next {
            NONE => false,
            next => self.bcanput(next, band),
        }
    }

    /// backq(9F): the queue that puts to this one.
    pub(crate) fn backq(&self, idx: u32) -> u32 {
        match self.slot(idx ^ 1).next {
            NONE => NONE,
            n => n ^ 1,
        }
    }

    /// Schedules the nearest queue behind `idx` that has a service procedure.
    pub(crate) fn backenable(&mut self, idx: u32) {
        if let Some(at) = self.behind(idx) {
            self.slot_mut(at).flag |= flag::QBACK;
            self.qenable(at);
        }
    }

    /// The same for a band above 0, which is marked at a stream head (QB_BACK): there it
    /// is told apart (S_WRBAND).
    pub(crate) fn backenable_band(&mut self, idx: u32, band: u8) {
        if let Some(at) = self.behind(idx) {
            if self.slot(at).has(flag::QHEAD) {
                self.band_mut(at, band).flag |= QB_BACK;
            } else {
                self.slot_mut(at).flag |= flag::QBACK;
            }
            self.qenable(at);
        }
    }

    /// A queue with a service procedure has come between one that was told to wait and the
    /// one that it waits for: that one will enable the newcomer, so who waits looks again.
    pub(crate) fn backenable_inserted(&mut self, idx: u32) {
        let s = self.slot(idx);
        if s.srvp.is_none() || s.next == NONE {
            return;
        }
        let end = self.flow_end(s.next);
        if self.slot(end).has(flag::QWANTW) {
            self.backenable(idx);
        }
        for i in 0..self.slot(end).bands.len() {
            if self.slot(end).bands[i].flag & QB_WANTW != 0 {
                self.backenable_band(idx, i as u8 + 1);
            }
        }
    }

    /// The nearest queue behind `idx` that has a service procedure.
    fn behind(&self, idx: u32) -> Option<u32> {
        let mut at = self.backq(idx);
        while at != NONE {
            if self.slot(at).srvp.is_some() {
                return Some(at);
            }
            at = self.backq(at);
        }
        None
    }
}
