//! The head's read queue, from the reader's side: taking, putting back, and what follows.
//!
//! ```text
//!   rq_take ─► the reader uses a part ─► rq_putback the rest ─► rq_release ─► rq_settle
//!                                                    back-enable, once ┘        └ M_SIG, SIGPOLL
//! ```
//!
//! What is put back was never gone for those who wait for room: flow control is looked at
//! when it is known what stays.
//!
//! Spec: getq(9F), the reference's 5.2 "after return", 5.6, 5.9, 6.4.

use super::rput::input_events;
use crate::domain::Domain;
use crate::message::{Msg, MsgType};
use crate::queue::{QB_FULL, QB_WANTW, flag};

/// What a reader has taken, for [`Domain::rq_settle`].
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub band: u8,
    pub high: bool,
}

impl Taken {
    pub fn of(mp: &Msg) -> Taken {
        Taken {
            band: mp.band(),
            high: mp.is_high_pri(),
        }
    }
}

impl Domain {
    /// Takes the first message and tells nobody yet.
    pub(crate) fn rq_take(&mut self, head: u32) -> Option<Msg> {
        let s = self.slot_mut(head);
        let mp = s.list.pop_front()?;
        let n = mp.msgsize();
        if mp.is_high_pri() || mp.band() == 0 {
            s.count -= n;
            if s.count < s.hiwat {
                s.flag &= !flag::QFULL;
            }
        } else if let Some(b) = s.bands.get_mut(mp.band() as usize - 1) {
            b.count -= n;
            if b.count < b.hiwat {
                b.flag &= !QB_FULL;
            }
        }
        Some(mp)
    }

    /// Puts a message back in front of its band.
    pub(crate) fn rq_putback(&mut self, head: u32, mp: Msg) {
        self.putbq(head, mp);
    }

    /// Back-enables who waits for room in this band, if there is room now.
    pub(crate) fn rq_release(&mut self, head: u32, band: u8) {
        let s = self.slot_mut(head);
        if band == 0 {
            if s.has(flag::QWANTW) && (s.count < s.lowat || s.lowat == 0) {
                s.flag &= !flag::QWANTW;
                self.backenable(head);
            }
        } else if let Some(b) = s.bands.get_mut(band as usize - 1)
            && b.flag & QB_WANTW != 0
            && (b.count < b.lowat || b.lowat == 0)
        {
            b.flag &= !QB_WANTW;
            self.backenable_band(head, band);
        }
    }

    /// The reader has what it wanted: signals that waited for the front are sent, and if the
    /// first message is of another kind now, who asked for that is told.
    pub(crate) fn rq_settle(&mut self, head: u32, last: Taken) {
        self.rq_signals(head);
        if last.high {
            self.head_recheck_pri(head);
            self.wake_head(head); // poll sees ordinary messages again
        }
        let front = self.slot(head).list.front();
        if let Some(f) = front
            && !f.is_high_pri()
            && (last.high || f.band() != last.band)
        {
            let band = f.band();
            self.wake_head(head);
            self.sigpoll(head, input_events(band), band, 0);
        }
    }

    /// Acts on every M_SIG that stands at the front (5.9).
    pub(crate) fn rq_signals(&mut self, head: u32) {
        while let Some(f) = self.slot(head).list.front()
            && f.ty() == MsgType::Sig
        {
            let sig = f.rd().first().copied().unwrap_or(0);
            if let Some(mp) = self.rq_take(head) {
                let band = mp.band();
                self.pool.free(mp);
                self.rq_release(head, band);
                self.strsignal(head, sig, band);
            }
        }
    }
}
