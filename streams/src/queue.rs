//! A queue: its place in the stream, its messages, its marks.
//!
//! ```text
//!   pair (even index: read side, odd index: write side)
//!   ┌───────────┬───────────┐
//!   │ read  q_next ▲        │     list: high priority, then bands 255..1, then band 0,
//!   │ write q_next ▼        │           first in first out inside each
//!   └───────────┴───────────┘
//! ```
//!
//! Spec: queue(9S), qband(9S), module_info(9S), putq(9F), getq(9F), putbq(9F), insq(9F),
//! rmvq(9F), flushq(9F), flushband(9F), strqget(9F).
//! Kept: counting, water marks, who is enabled when (the reference's 6.3 and 6.4).
//! Differs: a message on a queue is named by its position, not by its address.

use std::collections::VecDeque;

use crate::domain::Domain;
use crate::message::Msg;
use crate::module::Ops;
use crate::perimeter::Waiting;
use crate::private::Private;

/// A put procedure as the framework calls it.
pub(crate) type PutFn = fn(&mut Domain, u32, Msg);
/// A service procedure as the framework calls it.
pub(crate) type SrvFn = fn(&mut Domain, u32);

/// No queue.
pub(crate) const NONE: u32 = u32::MAX;

/// Names a queue from outside; a stale one is refused, never somebody else's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QRef {
    pub(crate) idx: u32,
    pub(crate) generation: u32,
}

/// `q_flag` bits. The values up to QISDRV are Solaris's.
pub(crate) mod flag {
    pub const QENAB: u32 = 0x01;
    pub const QWANTR: u32 = 0x02;
    pub const QWANTW: u32 = 0x04;
    pub const QFULL: u32 = 0x08;
    pub const QREADR: u32 = 0x10;
    pub const QUSE: u32 = 0x20;
    pub const QNOENB: u32 = 0x40;
    pub const QBACK: u32 = 0x100;
    pub const QWCLOSE: u32 = 0x20000;
    pub const QISDRV: u32 = 0x20_0000;
    /// A stream head's queue.
    pub const QHEAD: u32 = 0x100_0000;
    /// The put must go the long way: perimeter, trace, or somebody waits for it.
    pub const QSLOW: u32 = 0x200_0000;
    /// Hops are traced.
    pub const QTRACE: u32 = 0x400_0000;
    /// An open or close of the pair waits for a put or service procedure (qwait(9F)).
    pub const QWAIT: u32 = 0x800_0000;
    /// Puts to this queue are shared in their perimeter (D_MTPUTSHARED).
    pub const QPUTSHARED: u32 = 0x1000_0000;
    /// The open of the pair has not returned yet: puts to it wait.
    pub const QOPENING: u32 = 0x2000_0000;
    /// Of what makes the queue slow there is an exclusive inner perimeter and nothing else.
    pub const QGUARD: u32 = 0x4000_0000;
}

/// `qb_flag` bits.
pub(crate) const QB_FULL: u32 = 1;
pub(crate) const QB_WANTW: u32 = 2;
pub(crate) const QB_BACK: u32 = 4;

/// A priority band of a queue, qband(9S).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QBand {
    pub count: usize,
    pub hiwat: usize,
    pub lowat: usize,
    pub flag: u32,
}

/// What `flushq` discards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// FLUSHDATA: M_DATA, M_PROTO, M_PCPROTO, M_DELAY.
    Data,
    /// FLUSHALL: everything.
    All,
}

/// One queue in its slot: 256 bytes, so that finding it is a shift, and what a hop reads
/// is in its first cache line.
#[repr(C, align(128))]
pub(crate) struct Slot {
    pub putp: PutFn,
    pub next: u32,
    pub flag: u32,
    /// The slot that holds the inner perimeter; NONE for none.
    pub inner: u32,
    /// The slot that holds the outer perimeter; NONE for none.
    pub outer: u32,
    pub generation: u32,
    /// The pair that stands for all instances of the module: their perimeter, and what they
    /// share.
    pub modslot: u32,
    /// Who is inside the perimeter that this slot holds, and who waits for it.
    pub perim: Waiting,
    pub ops: &'static Ops,
    /// The name it was registered under (`mi_idname`).
    pub name: &'static str,
    pub ptr: Option<Box<Private>>,
    pub srvp: Option<SrvFn>,
    /// The head's own state while a multiplexor owns `ptr` (STPLEX).
    pub linked_head: Option<Box<Private>>,

    pub list: VecDeque<Msg>,
    pub count: usize,
    pub hiwat: usize,
    pub lowat: usize,
    pub minpsz: i64,
    pub maxpsz: i64,
    pub bands: Vec<QBand>,

    /// Messages for this queue that wait on a syncq.
    pub nsync: u32,
    /// Messages for this queue that were deferred.
    pub ndeferred: u32,
    /// The stream that the queue is part of.
    pub stream: u32,
    /// The module's own number for the pair.
    pub number: u32,
}

const _: () = assert!(size_of::<Slot>() == 256);

impl Slot {
    pub fn empty() -> Slot {
        Slot {
            putp: |dom, idx, mp| dom.discard(idx, mp, "no such queue"),
            next: NONE,
            flag: 0,
            inner: NONE,
            outer: NONE,
            generation: 0,
            modslot: NONE,
            ops: &crate::module::NO_OPS,
            name: "none",
            ptr: None,
            srvp: None,
            linked_head: None,
            list: VecDeque::new(),
            count: 0,
            hiwat: 0,
            lowat: 0,
            minpsz: 0,
            maxpsz: 0,
            bands: Vec::new(),
            perim: Waiting::default(),
            nsync: 0,
            ndeferred: 0,
            stream: 0,
            number: 0,
        }
    }

    #[inline]
    pub fn has(&self, f: u32) -> bool {
        self.flag & f != 0
    }

    /// The accounts agree with the list (invariants 3 and 4 of the reference's section 10).
    pub fn check(&self) {
        if let Err(what) = self.accounts() {
            panic!("{}: {what}", self.name);
        }
    }

    /// What is wrong with the accounts or the order.
    pub fn accounts(&self) -> Result<(), &'static str> {
        let mut normal = 0;
        let mut last = u16::MAX;
        for m in &self.list {
            let class = class(m);
            if class > last {
                return Err("a message stands in front of one of a higher class");
            }
            last = class;
            if m.is_high_pri() || m.band() == 0 {
                normal += m.msgsize();
            }
        }
        if self.count != normal {
            return Err("q_count is not the bytes of band 0 and high priority");
        }
        for (i, b) in self.bands.iter().enumerate() {
            let of_band = |m: &&Msg| !m.is_high_pri() && usize::from(m.band()) == i + 1;
            let sum: usize = self.list.iter().filter(of_band).map(Msg::msgsize).sum();
            if b.count != sum {
                return Err("qb_count is not the bytes of its band");
            }
        }
        Ok(())
    }
}

/// Where a message stands in the order: high priority, then bands 255 to 0.
#[inline]
fn class(m: &Msg) -> u16 {
    if m.is_high_pri() {
        256
    } else {
        m.band() as u16
    }
}

impl Domain {
    /// putq(9F): behind the last message of the same class; marks, and enables as 6.3.
    #[inline]
    pub(crate) fn putq(&mut self, idx: u32, mut mp: Msg) {
        let s = self.slot_mut(idx);
        let high = mp.is_high_pri();
        if high {
            mp.set_band(0);
        }
        let band = mp.band();
        if !high && band == 0 {
            s.count += mp.msgsize();
            if s.count >= s.hiwat {
                s.flag |= flag::QFULL;
            }
            s.list.push_back(mp);
            if s.flag & (flag::QNOENB | flag::QWANTR) == flag::QWANTR {
                self.qenable(idx);
            }
        } else {
            self.putq_banded(idx, mp, high, band);
        }
        self.queued(idx);
    }

    fn putq_banded(&mut self, idx: u32, mp: Msg, high: bool, band: u8) {
        let s = self.slot_mut(idx);
        let c = class(&mp);
        let at = s
            .list
            .iter()
            .rposition(|m| class(m) >= c)
            .map_or(0, |i| i + 1);
        s.account_in(&mp);
        s.list.insert(at, mp);
        let wanted = s.has(flag::QWANTR) || band > 0;
        if high || (!s.has(flag::QNOENB) && wanted) {
            self.qenable(idx);
        }
    }

    /// putbq(9F): in front of its class.
    pub(crate) fn putbq(&mut self, idx: u32, mut mp: Msg) {
        let s = self.slot_mut(idx);
        let high = mp.is_high_pri();
        if high {
            mp.set_band(0);
        }
        let c = class(&mp);
        let at = s
            .list
            .iter()
            .position(|m| class(m) <= c)
            .unwrap_or(s.list.len());
        s.account_in(&mp);
        s.list.insert(at, mp);
        if high || s.flag & (flag::QNOENB | flag::QWANTR) == flag::QWANTR {
            self.qenable(idx);
        }
        self.queued(idx);
    }

    /// insq(9F) by position: false, and the message back, if the order would break.
    pub(crate) fn insq(&mut self, idx: u32, at: usize, mp: Msg) -> Result<(), Msg> {
        let s = self.slot_mut(idx);
        let c = class(&mp);
        let at = at.min(s.list.len());
        let before_ok = at == 0 || class(&s.list[at - 1]) >= c;
        let behind_ok = at == s.list.len() || class(&s.list[at]) <= c;
        if !before_ok || !behind_ok {
            return Err(mp);
        }
        s.account_in(&mp);
        s.list.insert(at, mp);
        if s.flag & (flag::QNOENB | flag::QWANTR) == flag::QWANTR {
            self.qenable(idx);
        }
        self.queued(idx);
        Ok(())
    }

    /// getq(9F): the first message, or none and QWANTR.
    #[inline]
    pub(crate) fn getq(&mut self, idx: u32) -> Option<Msg> {
        let s = self.slot_mut(idx);
        let Some(mp) = s.list.pop_front() else {
            s.flag |= flag::QWANTR;
            return None;
        };
        s.flag &= !flag::QWANTR;
        self.account_out(idx, &mp);
        Some(mp)
    }

    /// rmvq(9F) by position.
    pub(crate) fn rmvq(&mut self, idx: u32, at: usize) -> Option<Msg> {
        let mp = self.slot_mut(idx).list.remove(at)?;
        self.account_out(idx, &mp);
        Some(mp)
    }

    /// Takes `mp` off the accounts; below the low mark, back-enables who waits (6.4).
    #[inline]
    fn account_out(&mut self, idx: u32, mp: &Msg) {
        let s = self.slot_mut(idx);
        let n = mp.msgsize();
        if mp.is_high_pri() || mp.band() == 0 {
            s.count -= n;
            if s.count < s.hiwat {
                s.flag &= !flag::QFULL;
            }
            if s.has(flag::QWANTW) && (s.count < s.lowat || s.lowat == 0) {
                s.flag &= !flag::QWANTW;
                self.backenable(idx);
            }
        } else if let Some(b) = s.bands.get_mut(mp.band() as usize - 1) {
            b.count -= n;
            if b.count < b.hiwat {
                b.flag &= !QB_FULL;
            }
            if b.flag & QB_WANTW != 0 && (b.count < b.lowat || b.lowat == 0) {
                b.flag &= !QB_WANTW;
                self.backenable_band(idx, mp.band());
            }
        }
    }

    /// flushq(9F).
    pub(crate) fn flushq(&mut self, idx: u32, what: Flush) {
        self.flush_where(idx, |m| what == Flush::All || m.datamsg());
    }

    /// flushband(9F): band 0 is the normal and, as in Solaris, the high-priority messages.
    pub(crate) fn flushband(&mut self, idx: u32, band: u8, what: Flush) {
        self.flush_where(idx, |m| {
            let of_band = if m.is_high_pri() {
                band == 0
            } else {
                m.band() == band
            };
            of_band && (what == Flush::All || m.datamsg())
        });
    }

    /// Removes what `gone` says, with its accounts. The list is walked once.
    pub(crate) fn flush_where(&mut self, idx: u32, gone: impl Fn(&Msg) -> bool) {
        let list = std::mem::take(&mut self.slot_mut(idx).list);
        let mut keep = VecDeque::with_capacity(list.len());
        for mp in list {
            if gone(&mp) {
                self.account_out(idx, &mp);
                self.pool.free(mp);
            } else {
                keep.push_back(mp);
            }
        }
        // account_out may have back-enabled, which only schedules: the list is still ours.
        self.slot_mut(idx).list = keep;
        self.queued(idx);
    }

    /// Debug builds check the accounts after each change.
    #[inline]
    fn queued(&mut self, idx: u32) {
        if cfg!(debug_assertions) && self.slot(idx).list.len() < 64 {
            self.slot(idx).check();
        }
    }

    /// The marks of a band, made if need be with the queue's own (putq(9F)).
    pub(crate) fn band_mut(&mut self, idx: u32, band: u8) -> &mut QBand {
        let s = self.slot_mut(idx);
        s.make_bands(band);
        &mut s.bands[band as usize - 1]
    }
}

impl Slot {
    fn make_bands(&mut self, band: u8) {
        let (hiwat, lowat) = (self.hiwat, self.lowat);
        while self.bands.len() < band as usize {
            self.bands.push(QBand {
                count: 0,
                hiwat,
                lowat,
                flag: 0,
            });
        }
    }

    fn account_in(&mut self, mp: &Msg) {
        let n = mp.msgsize();
        if mp.is_high_pri() || mp.band() == 0 {
            self.count += n;
            if self.count >= self.hiwat {
                self.flag |= flag::QFULL;
            }
        } else {
            self.make_bands(mp.band());
            let b = &mut self.bands[mp.band() as usize - 1];
            b.count += n;
            if b.count >= b.hiwat {
                b.flag |= QB_FULL;
            }
        }
    }
}
