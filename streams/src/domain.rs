//! A domain: the streams that may call one another, behind one mutex.
//!
//! ```text
//!   kernel ──┬── domain A  [page][page]      independent streams run on different threads
//!            └── domain B  [page]
//!                     │ I_LINK: B joins A
//!                     ▼
//!            ┬── domain A  [page][page][page]    pages move, queue numbers stay
//!            └── domain B  → A                   who still knows B is sent on
//! ```
//!
//! Queue numbers are given out by the kernel in pages of eight, so that two domains never
//! have the same number and joining them moves pointers only.
//!
//! Differs: Solaris locks queues and syncqs one by one; here the lock is the domain's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Mutex, unlock_fair};
use rustc_hash::FxHashMap;

use crate::kernel::Env;
use crate::message::{Msg, Pool};
use crate::perimeter::{Inner, Perimeter};
use crate::private::Private;
use crate::queue::{NONE, QRef, Slot, flag};
use crate::registry::Entry;
use crate::sched::Timer;
use crate::trace::Trace;

/// Queues in a page.
const PAGE: u32 = 8;
/// Bytes of stack that nested put procedures may use before messages are deferred.
const STACK: usize = 256 * 1024;

/// The plain data of a domain. Whoever holds `&mut Domain` is alone in it.
pub struct Domain {
    pages: Vec<Option<Box<[Slot; PAGE as usize]>>>,
    /// What the instances of a module share, by the number of the pair that the module has
    /// for itself; beside the pages, so that both can be had at once.
    shared: Vec<Option<Private>>,
    /// Free pairs, by their even number.
    free: Vec<u32>,
    /// The address below which the stack counts as deep.
    stack_limit: usize,
    /// Messages whose hop waits for a shallower stack.
    pub(crate) deferred: VecDeque<(QRef, Msg)>,
    /// Queues whose service procedure is to run.
    pub(crate) runq: VecDeque<u32>,
    pub(crate) timers: BTreeMap<(Duration, u64), Timer>,
    /// Who waits for memory.
    pub(crate) bufcalls: Vec<crate::tunable::Bufcall>,
    pub(crate) pool: Pool,
    /// Datagrams and messages dropped, by module and reason.
    pub(crate) drops: FxHashMap<(&'static str, &'static str), u64>,
    /// Sleepers to be woken once the domain is unlocked.
    pub(crate) wakers: Vec<Waker>,
    pub(crate) trace: Trace,
    pub(crate) env: Arc<Env>,
    pub(crate) cell: Weak<DomainCell>,
    /// The time of this entry, read at most once.
    pub(crate) entry_time: Option<Duration>,
    pub(crate) rng: u64,
    /// The earliest timer that the pump knows of.
    pub(crate) published_due: Option<Duration>,
}

/// A domain and where it went if it joined another.
#[repr(align(128))] // what two threads write is never on one cache line
pub(crate) struct DomainCell {
    pub dom: Mutex<Domain>,
    pub moved: OnceLock<Arc<DomainCell>>,
}

impl DomainCell {
    pub fn new(env: &Arc<Env>) -> Arc<DomainCell> {
        let cell = Arc::new_cyclic(|me| DomainCell {
            dom: Mutex::new(Domain::new(env.clone(), me.clone())),
            moved: OnceLock::new(),
        });
        env.domains.lock().push(Arc::downgrade(&cell));
        cell
    }

    /// The domain that this one is now.
    pub fn root(self: &Arc<Self>) -> Arc<DomainCell> {
        let mut at = self;
        while let Some(to) = at.moved.get() {
            at = to;
        }
        at.clone()
    }

    /// Runs `f` alone in the domain, then the service procedures it made runnable
    /// (unless a test steps them), then wakes the sleepers, unlocked.
    #[inline]
    pub fn with<R>(self: &Arc<Self>, f: impl FnOnce(&mut Domain) -> R) -> R {
        self.enter(f, false)
    }

    /// The same for what may wait its turn, such as a change of configuration: who sleeps
    /// for the lock meanwhile has it next. Without, a thread that asks again and again keeps
    /// others away.
    pub fn with_fair<R>(self: &Arc<Self>, f: impl FnOnce(&mut Domain) -> R) -> R {
        self.enter(f, true)
    }

    #[inline]
    fn enter<R>(self: &Arc<Self>, f: impl FnOnce(&mut Domain) -> R, fair: bool) -> R {
        let mut f = Some(f);
        let mut cell = self;
        loop {
            while let Some(to) = cell.moved.get() {
                cell = to;
            }
            let mut dom = cell.dom.lock();
            if cell.moved.get().is_some() {
                continue;
            }
            let Some(f) = f.take() else {
                unreachable!("entered twice")
            };
            dom.entry_time = None;
            dom.stack_limit = stack_here().saturating_sub(STACK);
            let r = f(&mut dom);
            if !dom.env.stepped() {
                dom.run();
            }
            let due = dom.due_to_publish();
            if dom.wakers.is_empty() && due.is_none() {
                if fair {
                    unlock_fair(dom);
                }
                return r;
            }
            let wakers = std::mem::take(&mut dom.wakers);
            let env = dom.env.clone();
            if fair {
                unlock_fair(dom);
            } else {
                drop(dom);
            }
            for w in wakers {
                w.wake();
            }
            if let Some(due) = due {
                env.ensure_pump();
                env.pump.timer_due(due, cell);
            }
            return r;
        }
    }

    /// Joins `b` into `a`: from now on they are one domain.
    pub fn join(a: &Arc<DomainCell>, b: &Arc<DomainCell>) {
        loop {
            let (a, b) = (a.root(), b.root());
            if Arc::ptr_eq(&a, &b) {
                return;
            }
            // Two domains are locked in the order of their addresses.
            let swap = Arc::as_ptr(&a) > Arc::as_ptr(&b);
            let (first, second) = if swap { (&b, &a) } else { (&a, &b) };
            let g1 = first.dom.lock();
            let g2 = second.dom.lock();
            if a.moved.get().is_some() || b.moved.get().is_some() {
                continue;
            }
            let (mut ga, mut gb) = if swap { (g2, g1) } else { (g1, g2) };
            ga.absorb(&mut gb);
            let _ = b.moved.set(a.clone());
            return;
        }
    }
}

impl Domain {
    fn new(env: Arc<Env>, cell: Weak<DomainCell>) -> Domain {
        Domain {
            pages: Vec::new(),
            shared: Vec::new(),
            free: Vec::new(),
            stack_limit: 0,
            deferred: VecDeque::new(),
            runq: VecDeque::new(),
            timers: BTreeMap::new(),
            bufcalls: Vec::new(),
            pool: Pool::default(),
            drops: FxHashMap::default(),
            wakers: Vec::new(),
            trace: Trace::default(),
            rng: env.seed(),
            env,
            cell,
            entry_time: None,
            published_due: None,
        }
    }

    /// The earliest timer, if the pump must learn of it.
    fn due_to_publish(&mut self) -> Option<Duration> {
        let first = self.timers.first_key_value().map(|(k, _)| k.0)?;
        if self.published_due.is_some_and(|p| p <= first) {
            return None;
        }
        self.published_due = Some(first);
        Some(first)
    }

    /// Takes everything that `other` has.
    fn absorb(&mut self, other: &mut Domain) {
        for (i, page) in other.pages.iter_mut().enumerate() {
            if let Some(p) = page.take() {
                if self.pages.len() <= i {
                    self.pages.resize_with(i + 1, || None);
                }
                self.pages[i] = Some(p);
            }
        }
        for (i, state) in other.shared.iter_mut().enumerate() {
            if let Some(state) = state.take() {
                self.share(2 * i as u32, state);
            }
        }
        self.free.append(&mut other.free);
        self.deferred.append(&mut other.deferred);
        self.runq.append(&mut other.runq);
        self.timers.append(&mut other.timers);
        self.bufcalls.append(&mut other.bufcalls);
        for (k, n) in other.drops.drain() {
            *self.drops.entry(k).or_default() += n;
        }
        self.wakers.append(&mut other.wakers);
        self.trace.absorb(&mut other.trace);
        self.published_due = None;
    }

    /// Is so much stack used since the entry that a hop should wait instead of nest?
    #[inline]
    pub(crate) fn stack_is_deep(&self) -> bool {
        stack_here() < self.stack_limit
    }

    /// The slot of a queue. The framework only keeps numbers of queues that live here; a
    /// missing page is its own bug.
    #[inline]
    pub(crate) fn slot(&self, idx: u32) -> &Slot {
        match self.pages.get((idx / PAGE) as usize) {
            Some(Some(p)) => &p[(idx % PAGE) as usize],
            _ => no_slot(idx),
        }
    }

    /// The slot of a queue, to be changed.
    #[inline]
    pub(crate) fn slot_mut(&mut self, idx: u32) -> &mut Slot {
        match self.pages.get_mut((idx / PAGE) as usize) {
            Some(Some(p)) => &mut p[(idx % PAGE) as usize],
            _ => no_slot(idx),
        }
    }

    /// Is this the queue that `generation` meant, here and in use?
    #[inline]
    pub(crate) fn is_live(&self, idx: u32, generation: u32) -> bool {
        match self.pages.get((idx / PAGE) as usize) {
            Some(Some(p)) => {
                let s = &p[(idx % PAGE) as usize];
                s.generation == generation && s.has(flag::QUSE)
            }
            _ => false,
        }
    }

    /// The number behind a reference, if its queue still lives in this domain.
    #[inline]
    pub(crate) fn resolve(&self, q: QRef) -> Option<u32> {
        self.is_live(q.idx, q.generation).then_some(q.idx)
    }

    /// The reference that names a queue.
    #[inline]
    pub(crate) fn qref(&self, idx: u32) -> QRef {
        QRef {
            idx,
            generation: self.slot(idx).generation,
        }
    }

    /// A fresh pair; returns the even number (the read side).
    pub(crate) fn alloc_pair(&mut self, stream: u32) -> u32 {
        let even = match self.free.pop() {
            Some(e) => e,
            None => {
                let page = self.env.next_page();
                let at = page as usize;
                if self.pages.len() <= at {
                    self.pages.resize_with(at + 1, || None);
                }
                self.pages[at] = Some(Box::new(std::array::from_fn(|_| Slot::empty())));
                let base = page * PAGE;
                self.free.extend((1..PAGE / 2).rev().map(|i| base + 2 * i));
                base
            }
        };
        for (idx, side) in [(even, flag::QREADR), (even + 1, 0)] {
            let s = self.slot_mut(idx);
            s.flag = flag::QUSE | flag::QWANTR | side;
            s.stream = stream;
        }
        even
    }

    /// Makes a pair the queues of a module or driver: procedures, limits, perimeters.
    pub(crate) fn install(&mut self, even: u32, entry: &Entry) {
        let ops = entry.ops;
        let modslot = entry.modslot();
        let p = ops.perimeter;
        let sides = [(even, ops.rput, ops.rsrv), (even + 1, ops.wput, ops.wsrv)];
        for (idx, putp, srvp) in sides {
            let s = self.slot_mut(idx);
            s.ops = ops;
            s.name = entry.name;
            s.putp = putp;
            s.srvp = srvp;
            s.modslot = modslot;
            s.minpsz = ops.info.minpsz;
            s.maxpsz = ops.info.maxpsz;
            s.hiwat = ops.info.hiwat;
            s.lowat = ops.info.lowat;
            self.enclose(idx, p, modslot);
        }
    }

    /// Puts a queue into the perimeters that its module asks for (mt-streams(9F)).
    pub(crate) fn enclose(&mut self, idx: u32, p: Perimeter, modslot: u32) {
        let s = self.slot_mut(idx);
        s.inner = match p.inner {
            Inner::None => NONE,
            Inner::PerQ => idx,
            Inner::QPair => idx & !1,
            Inner::PerMod => modslot,
        };
        s.outer = if p.outer { modslot } else { NONE };
        s.flag &= !flag::QPUTSHARED;
        if p.put_shared {
            s.flag |= flag::QPUTSHARED;
        }
        self.refresh_slow(idx);
    }

    /// Recomputes whether puts to the queue must go the long way.
    pub(crate) fn refresh_slow(&mut self, idx: u32) {
        let s = self.slot_mut(idx);
        let odd = s.outer != NONE
            || s.ndeferred > 0
            || s.flag & (flag::QTRACE | flag::QWAIT | flag::QOPENING | flag::QPUTSHARED) != 0;
        let slow = odd || s.inner != NONE;
        s.flag &= !(flag::QSLOW | flag::QGUARD);
        if slow {
            s.flag |= flag::QSLOW;
        }
        if s.inner != NONE && !odd {
            s.flag |= flag::QGUARD;
        }
    }

    /// Sets or clears a flag of both queues of a pair.
    pub(crate) fn mark_pair(&mut self, even: u32, f: u32, on: bool) {
        for idx in [even & !1, even | 1] {
            let s = self.slot_mut(idx);
            if on {
                s.flag |= f;
            } else {
                s.flag &= !f;
            }
            self.refresh_slow(idx);
        }
    }

    /// Gives a pair back; references to it go stale, its messages are freed.
    pub(crate) fn free_pair(&mut self, even: u32) {
        for idx in [even, even + 1] {
            let s = self.slot_mut(idx);
            let generation = s.generation.wrapping_add(1);
            let mut old = std::mem::replace(s, Slot::empty());
            s.generation = generation;
            for mp in old.list.drain(..) {
                self.pool.free(mp);
            }
        }
        self.free.push(even);
    }

    /// Every pair in use, by its even number.
    pub(crate) fn pairs(&self) -> Vec<u32> {
        let mut v = Vec::new();
        for (i, p) in self.pages.iter().enumerate() {
            if let Some(p) = p {
                let base = i as u32 * PAGE;
                v.extend(
                    (0..PAGE)
                        .step_by(2)
                        .filter(|j| p[*j as usize].has(flag::QUSE))
                        .map(|j| base + j),
                );
            }
        }
        v
    }

    /// The typed private data of a pair.
    #[inline]
    pub(crate) fn ptr<T: 'static>(&mut self, idx: u32) -> Option<&mut T> {
        self.slot_mut(idx & !1).ptr.as_mut()?.get()
    }

    /// What the instances of a queue's module share.
    #[inline]
    pub(crate) fn shared<T: 'static>(&mut self, idx: u32) -> Option<&mut T> {
        let at = self.slot(idx).modslot;
        self.shared_at(at)?.get()
    }

    /// Both at once.
    #[inline]
    pub(crate) fn both<T: 'static, S: 'static>(&mut self, idx: u32) -> Option<(&mut T, &mut S)> {
        let page = self.pages.get_mut((idx / PAGE) as usize)?.as_mut()?;
        let at = page[(idx % PAGE) as usize].modslot;
        let pair = &mut page[((idx & !1) % PAGE) as usize];
        let shared = self.shared.get_mut((at / 2) as usize)?.as_mut()?;
        Some((pair.ptr.as_mut()?.get()?, shared.get()?))
    }

    /// What the module shares whose own pair this is.
    #[inline]
    pub(crate) fn shared_at(&mut self, modslot: u32) -> Option<&mut Private> {
        self.shared.get_mut((modslot / 2) as usize)?.as_mut()
    }

    /// Keeps what a module shares.
    pub(crate) fn share(&mut self, modslot: u32, state: Private) {
        let at = (modslot / 2) as usize;
        if self.shared.len() <= at {
            self.shared.resize_with(at + 1, || None);
        }
        self.shared[at] = Some(state);
    }

    /// The pair of the stream head above (or below) a queue.
    pub(crate) fn head_of(&self, idx: u32) -> Option<u32> {
        let mut at = idx & !1;
        loop {
            let s = self.slot(at);
            if s.has(flag::QHEAD) {
                return Some(at);
            }
            if s.next == NONE {
                return None;
            }
            at = s.next & !1;
        }
    }

    /// The queue at the far end downstream of a write queue: the driver's.
    pub(crate) fn bottom(&self, idx: u32) -> u32 {
        let mut at = idx | 1;
        // The write side of a pipe or FIFO goes on as a read side.
        while self.slot(at).next != NONE && self.slot(at).next & 1 == 1 {
            at = self.slot(at).next;
        }
        at
    }

    /// The end of a message that is nobody's any more: counted, traced, freed.
    #[cold]
    pub(crate) fn discard(&mut self, idx: u32, mp: Msg, why: &'static str) {
        let module = self.slot(idx).name;
        *self.drops.entry((module, why)).or_default() += 1;
        self.trace_drop(idx, &mp, why);
        self.pool.free(mp);
    }

    /// A message whose queue went away while it waited.
    #[cold]
    pub(crate) fn discard_event(&mut self, mp: Msg) {
        *self
            .drops
            .entry(("streams", "the queue was closed"))
            .or_default() += 1;
        self.pool.free(mp);
    }
}

/// About where the stack is now: the address of a local, never followed.
#[inline(always)]
fn stack_here() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}

#[cold]
#[inline(never)]
fn no_slot(idx: u32) -> ! {
    unreachable!("queue {idx} is not in this domain")
}
