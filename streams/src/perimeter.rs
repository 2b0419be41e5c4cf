//! Perimeters: who is inside a module, and who waits on its syncq.
//!
//! ```text
//!     outer (all instances)   shared by put, service, callbacks; exclusive for qwriter(OUTER)
//!    ┌─────────────────────────────────────┐
//!    │  inner (queue, pair or module)      │   exclusive, or shared by puts (D_MTPUTSHARED)
//!    │  ┌──────────┐      ┌──────────┐     │
//!    │  │ rq    wq │      │ rq    wq │     │   busy: the message joins the syncq, its
//!    │  └──────────┘      └──────────┘     │   sender goes on; the leaver drains it
//!    └─────────────────────────────────────┘
//! ```
//!
//! A domain runs on one thread at a time, so "busy" means: further down on this very
//! stack. Nothing here is atomic, and nothing can deadlock.
//!
//! Spec: mt-streams(9F), qwriter(9F), put(9F).
//! Kept: a put never re-enters its exclusive perimeter; order on a queue; illegal
//! combinations are refused.
//! Differs: MTSAFE entries of one domain never run at the same instant.

use std::collections::VecDeque;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::message::Msg;
use crate::queue::NONE;

/// What a module asks for, as the D_MT flags in its cb_ops (mt-streams(9F)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Perimeter {
    /// The extent of the inner perimeter.
    pub inner: Inner,
    /// D_MTPUTSHARED: puts share the inner perimeter.
    pub put_shared: bool,
    /// D_MTOUTPERIM: one outer perimeter around all instances.
    pub outer: bool,
    /// D_MTOCEXCL: open and close are exclusive in the outer perimeter.
    pub oc_excl: bool,
}

/// The extent of an inner perimeter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inner {
    /// D_MTSAFE: none.
    None,
    /// D_MTPERQ: each queue by itself.
    PerQ,
    /// D_MTQPAIR: a read and write pair.
    QPair,
    /// D_MTPERMOD: all instances together.
    PerMod,
}

impl Perimeter {
    /// D_MP alone: no perimeter.
    pub const MTSAFE: Perimeter = Perimeter::of(Inner::None);
    /// D_MTPERQ.
    pub const MTPERQ: Perimeter = Perimeter::of(Inner::PerQ);
    /// D_MTQPAIR.
    pub const MTQPAIR: Perimeter = Perimeter::of(Inner::QPair);
    /// D_MTPERMOD.
    pub const MTPERMOD: Perimeter = Perimeter::of(Inner::PerMod);

    const fn of(inner: Inner) -> Perimeter {
        Perimeter {
            inner,
            put_shared: false,
            outer: false,
            oc_excl: false,
        }
    }
    /// Adds D_MTPUTSHARED.
    pub const fn put_shared(mut self) -> Perimeter {
        self.put_shared = true;
        self
    }
    /// Adds D_MTOUTPERIM.
    pub const fn outer(mut self) -> Perimeter {
        self.outer = true;
        self
    }
    /// Adds D_MTOCEXCL.
    pub const fn oc_excl(mut self) -> Perimeter {
        self.oc_excl = true;
        self
    }

    /// EINVAL for a combination that Solaris refuses to load.
    pub fn check(&self) -> Result<(), Errno> {
        let none = self.inner == Inner::None;
        let bad = (self.put_shared && none)
            || (self.outer && self.inner == Inner::PerMod)
            || (self.oc_excl && !self.outer);
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }
}

/// Who is inside a perimeter, and who waits. One word says it all, so that the way in is
/// one comparison: 0 is nobody inside and nobody waiting.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Waiting {
    /// How many are inside together, with [`EXCL`] and [`WAITERS`].
    state: u32,
    /// The syncq: first come, first served.
    waiters: VecDeque<Event>,
}

/// Someone is inside exclusively.
const EXCL: u32 = 1 << 31;
/// The syncq is not empty.
const WAITERS: u32 = 1 << 30;

/// Something that waits for a perimeter.
pub(crate) struct Event {
    pub idx: u32,
    pub generation: u32,
    pub mp: Msg,
    pub what: What,
}

/// What to do once inside.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// The queue's put procedure.
    Put,
    /// `Module::writer` with this tag, exclusive in the inner perimeter (qwriter(9F)).
    Inner(u32),
    /// `Module::writer` with this tag, exclusive in the outer perimeter.
    Outer(u32),
}

impl Waiting {
    #[inline]
    pub fn is_free(&self) -> bool {
        self.state == 0
    }
    /// Goes in alone; only if it is free.
    #[inline]
    pub fn take(&mut self) {
        self.state = EXCL;
    }
    #[inline]
    pub fn give_back(&mut self) {
        self.state &= !EXCL;
    }
    #[inline]
    pub fn has_waiters(&self) -> bool {
        self.state & WAITERS != 0
    }
    fn is_excl(&self) -> bool {
        self.state & EXCL != 0
    }
    fn may_enter(&self, shared: bool) -> bool {
        !self.has_waiters() && self.open_to(shared)
    }
    fn open_to(&self, shared: bool) -> bool {
        !self.is_excl() && (shared || self.state & !WAITERS == 0)
    }
    fn enter(&mut self, shared: bool) {
        if shared {
            self.state += 1;
        } else {
            self.state |= EXCL;
        }
    }
    fn leave(&mut self, shared: bool) {
        if shared {
            self.state -= 1;
        } else {
            self.state &= !EXCL;
        }
    }
    fn wait(&mut self, event: Event) {
        self.waiters.push_back(event);
        self.state |= WAITERS;
    }
    fn next_waiter(&mut self) -> Option<Event> {
        let first = self.waiters.pop_front();
        self.count_waiters();
        first
    }
    fn count_waiters(&mut self) {
        if self.waiters.is_empty() {
            self.state &= !WAITERS;
        }
    }
    /// Takes what waits for one queue (qprocsoff(9F)).
    pub fn take_waiters_of(&mut self, idx: u32) -> Vec<Event> {
        let (gone, stay): (VecDeque<_>, VecDeque<_>) =
            self.waiters.drain(..).partition(|e| e.idx == idx);
        self.waiters = stay;
        self.count_waiters();
        gone.into()
    }
}

impl Domain {
    /// Enters the perimeters of a queue for a put, or leaves the message on the syncq of
    /// the one that is busy.
    pub(crate) fn enter_or_wait(&mut self, idx: u32, shared: bool, mp: Msg) -> Option<Msg> {
        let s = self.slot(idx);
        let (inner, outer, generation) = (s.inner, s.outer, s.generation);
        let event = |mp| Event {
            idx,
            generation,
            mp,
            what: What::Put,
        };
        if outer != NONE {
            let o = &mut self.slot_mut(outer).perim;
            if !o.may_enter(true) {
                o.wait(event(mp));
                self.slot_mut(idx).nsync += 1;
                return None;
            }
        }
        if inner != NONE {
            let i = &mut self.slot_mut(inner).perim;
            if !i.may_enter(shared) {
                i.wait(event(mp));
                self.slot_mut(idx).nsync += 1;
                return None;
            }
            i.enter(shared);
        }
        if outer != NONE {
            self.slot_mut(outer).perim.enter(true);
        }
        Some(mp)
    }

    /// Enters for a service procedure or a callback: these start with nobody inside.
    pub(crate) fn enter_top(&mut self, idx: u32) {
        let (inner, outer) = (self.slot(idx).inner, self.slot(idx).outer);
        if outer != NONE {
            self.slot_mut(outer).perim.enter(true);
        }
        if inner != NONE {
            self.slot_mut(inner).perim.enter(false);
        }
    }

    /// Leaves what `enter_or_wait` or `enter_top` entered, and drains the syncqs.
    pub(crate) fn leave(&mut self, idx: u32, shared: bool) {
        let (inner, outer) = (self.slot(idx).inner, self.slot(idx).outer);
        if inner != NONE {
            self.slot_mut(inner).perim.leave(shared);
        }
        if outer != NONE {
            self.slot_mut(outer).perim.leave(true);
        }
        if inner != NONE && self.slot(inner).perim.has_waiters() {
            self.drain_syncq(inner);
        }
        if outer != NONE && self.slot(outer).perim.has_waiters() {
            self.drain_syncq(outer);
        }
    }

    /// Lets in those who wait, in their order, as far as they may enter.
    #[cold]
    pub(crate) fn drain_syncq(&mut self, perim: u32) {
        loop {
            let p = &self.slot(perim).perim;
            let Some(first) = p.waiters.front() else {
                return;
            };
            let (idx, what) = (first.idx, first.what);
            let live = self.is_live(idx, first.generation);
            let s = self.slot(idx);
            let shared = s.has(crate::queue::flag::QPUTSHARED) && matches!(what, What::Put);
            let open = !live
                || match what {
                    What::Outer(_) => s.outer == NONE || self.slot(s.outer).perim.open_to(false),
                    What::Put | What::Inner(_) => {
                        (s.outer == NONE || self.slot(s.outer).perim.open_to(true))
                            && (s.inner == NONE || self.slot(s.inner).perim.open_to(shared))
                    }
                };
            if !open {
                return;
            }
            let Some(event) = self.slot_mut(perim).perim.next_waiter() else {
                return;
            };
            if !live {
                self.discard_event(event.mp);
                continue;
            }
            let s = self.slot_mut(idx);
            s.nsync = s.nsync.saturating_sub(1);
            let (inner, outer) = (s.inner, s.outer);
            match what {
                What::Outer(tag) => {
                    let f = self.slot(idx).ops.writer;
                    self.slot_mut(outer).perim.enter(false);
                    f(self, idx, event.mp, tag);
                    self.slot_mut(outer).perim.leave(false);
                }
                What::Put | What::Inner(_) => {
                    if outer != NONE {
                        self.slot_mut(outer).perim.enter(true);
                    }
                    if inner != NONE {
                        self.slot_mut(inner).perim.enter(shared);
                    }
                    match what {
                        What::Inner(tag) => {
                            let f = self.slot(idx).ops.writer;
                            f(self, idx, event.mp, tag);
                        }
                        _ => self.call_put(idx, event.mp),
                    }
                    if inner != NONE {
                        self.slot_mut(inner).perim.leave(shared);
                    }
                    if outer != NONE {
                        self.slot_mut(outer).perim.leave(true);
                        if outer != perim && self.slot(outer).perim.has_waiters() {
                            self.drain_syncq(outer);
                        }
                    }
                }
            }
        }
    }

    /// qwriter(9F): `Module::writer` exclusively in the inner or outer perimeter: now if
    /// nobody else is inside, else after them, before anyone who comes later.
    pub(crate) fn qwriter(&mut self, idx: u32, mp: Msg, tag: u32, outer: bool) {
        let s = self.slot(idx);
        let (generation, f) = (s.generation, s.ops.writer);
        let (perim, what) = if outer {
            (s.outer, What::Outer(tag))
        } else {
            (s.inner, What::Inner(tag))
        };
        if perim == NONE {
            // Nothing to exclude: MTSAFE entries never run at the same instant.
            return f(self, idx, mp, tag);
        }
        // Exclusive already (no D_MTPUTSHARED): the manual lets it run at once.
        if !outer && self.slot(perim).perim.is_excl() {
            return f(self, idx, mp, tag);
        }
        self.slot_mut(idx).nsync += 1;
        self.slot_mut(perim).perim.wait(Event {
            idx,
            generation,
            mp,
            what,
        });
        self.drain_syncq(perim);
    }
}
