//! Interrupts: how the world outside gets a procedure to run.
//!
//! ```text
//!   descriptor readable ──► Watch ─┐
//!   another thread ──► ring() ─────┴─► Doorbell ──► job ──► pump ──► Module::interrupt(q)
//!   timer due ─────────────────────────────────────────────┘
//! ```
//!
//! With the real clock worker threads pump. One of them leads: it sleeps until something is
//! ready, hands the lead on and does what it found, so that the interrupts of two domains
//! run side by side. The first doorbell or timer starts the first worker; a leader that
//! has something to do, and nobody to lead after it, starts another, up to
//! `Config::workers`. With a manual clock nothing runs by itself: `Kernel::step` pumps.
//!
//! ```text
//!   leader     ── sleeps ──► takes events ──► does them ──► follows
//!   follower   ── waits for the lead ───────► sleeps ──► takes events ..
//! ```
//!
//! Spec: ddi_add_intr(9F), ddi_trigger_softintr(9F).

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::Mutex;
use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::domain::{Domain, DomainCell};
use crate::kernel::Env;
use crate::queue::QRef;

/// Makes `Module::interrupt` of one queue run. Rings that come before it runs are one.
#[derive(Clone)]
pub struct Doorbell {
    inner: Arc<Bell>,
}

struct Bell {
    pending: AtomicBool,
    /// The next interrupt lets others in after it.
    gives_way: AtomicBool,
    cell: Weak<DomainCell>,
    q: QRef,
    env: Weak<Env>,
}

impl Doorbell {
    pub(crate) fn new(dom: &Domain, q: QRef) -> Doorbell {
        let bell = Bell {
            pending: AtomicBool::new(false),
            gives_way: AtomicBool::new(false),
            cell: dom.cell.clone(),
            q,
            env: Arc::downgrade(&dom.env),
        };
        dom.env.ensure_pump();
        Doorbell {
            inner: Arc::new(bell),
        }
    }

    /// Asks for an interrupt. Cheap if one is pending already.
    pub fn ring(&self) {
        if self.set_pending()
            && let Some(env) = self.inner.env.upgrade()
        {
            env.pump.post(self.clone());
        }
    }

    /// The same for work that is done in pieces and is in no hurry: who waits for the domain
    /// when a piece is done has it before the next one.
    pub fn ring_after_others(&self) {
        self.inner.gives_way.store(true, Ordering::Release);
        self.ring();
    }

    /// False if a ring is pending already.
    fn set_pending(&self) -> bool {
        !self.inner.pending.swap(true, Ordering::AcqRel)
    }

    /// Runs the interrupt in its domain.
    fn deliver(&self) {
        self.inner.pending.store(false, Ordering::Release);
        let Some(cell) = self.inner.cell.upgrade() else {
            return;
        };
        let work = |dom: &mut Domain| {
            if let Some(idx) = dom.resolve(self.inner.q) {
                let f = dom.slot(idx).ops.interrupt;
                dom.callback(idx, |dom| f(dom, idx));
            }
        };
        if self.inner.gives_way.swap(false, Ordering::AcqRel) {
            cell.with_fair(work);
        } else {
            cell.with(work);
        }
    }
}

/// A descriptor that rings a doorbell; dropping it ends that.
pub struct Watch {
    fd: RawFd,
    token: Token,
    env: Weak<Env>,
    /// A descriptor that is only watched through here.
    kept: Option<OwnedFd>,
}

impl Watch {
    /// Keeps the watched descriptor open as long as the watch.
    pub(crate) fn keep(&mut self, fd: OwnedFd) {
        self.kept = Some(fd);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(env) = self.env.upgrade() {
            env.pump.unwatch(self.fd, self.token);
        }
    }
}

/// What only the leader touches.
struct Lead {
    poll: Poll,
    events: Events,
}

/// The pump of one kernel.
pub(crate) struct Pump {
    jobs: Sender<Doorbell>,
    inbox: Receiver<Doorbell>,
    lead: Mutex<Lead>,
    registry: mio::Registry,
    waker: Waker,
    watched: Mutex<HashMap<Token, Doorbell>>,
    next_token: AtomicUsize,
    /// When some domain has a timer due.
    due: Mutex<BinaryHeap<DueTimer>>,
    /// Worker threads, and how many there may be.
    workers: AtomicUsize,
    max_workers: usize,
    /// Workers that wait for the lead.
    followers: AtomicUsize,
    asleep: AtomicBool,
}

struct DueTimer(Duration, Weak<DomainCell>);

impl PartialEq for DueTimer {
    fn eq(&self, o: &Self) -> bool {
        self.0 == o.0
    }
}
impl Eq for DueTimer {}
impl PartialOrd for DueTimer {
    fn partial_cmp(&self, o: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for DueTimer {
    fn cmp(&self, o: &Self) -> std::cmp::Ordering {
        o.0.cmp(&self.0) // the heap's greatest is the earliest
    }
}

const WAKE: Token = Token(0);

impl Pump {
    pub fn new(max_workers: usize) -> io::Result<Pump> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKE)?;
        let (jobs, inbox) = unbounded();
        Ok(Pump {
            jobs,
            inbox,
            lead: Mutex::new(Lead {
                poll,
                events: Events::with_capacity(64),
            }),
            registry,
            waker,
            watched: Mutex::default(),
            next_token: AtomicUsize::new(1),
            due: Mutex::default(),
            workers: AtomicUsize::new(0),
            max_workers: max_workers.max(1),
            followers: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
        })
    }

    fn post(&self, bell: Doorbell) {
        let _ = self.jobs.send(bell); // the receiver lives as long as the sender: both are ours
        self.wake();
    }

    /// Wakes the leader if it sleeps. What was made ready before is seen by a leader that
    /// is about to: both swap the flag, and who comes second sees what the first did before.
    pub fn wake(&self) {
        if self.asleep.swap(false, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    pub fn watch(&self, fd: BorrowedFd<'_>, bell: Doorbell, env: &Arc<Env>) -> io::Result<Watch> {
        let token = Token(self.next_token.fetch_add(1, Ordering::Relaxed));
        self.watched.lock().insert(token, bell.clone());
        let raw = fd.as_raw_fd();
        if let Err(e) = self
            .registry
            .register(&mut SourceFd(&raw), token, Interest::READABLE)
        {
            self.watched.lock().remove(&token);
            return Err(e);
        }
        bell.ring(); // what is readable already makes no edge
        Ok(Watch {
            fd: raw,
            token,
            env: Arc::downgrade(env),
            kept: None,
        })
    }

    fn unwatch(&self, fd: RawFd, token: Token) {
        let _ = self.registry.deregister(&mut SourceFd(&fd)); // it may be closed already
        self.watched.lock().remove(&token);
    }

    pub fn timer_due(&self, at: Duration, cell: &Arc<DomainCell>) {
        self.due.lock().push(DueTimer(at, Arc::downgrade(cell)));
        self.wake();
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.lock().peek().map(|d| d.0)
    }

    /// Waits up to `wait` for something to happen and does it. True if anything did.
    pub fn turn(&self, env: &Arc<Env>, wait: Option<Duration>) -> bool {
        let mut did = false;
        self.followers.fetch_add(1, Ordering::Relaxed);
        let mut lead = self.lead.lock();
        self.followers.fetch_sub(1, Ordering::Relaxed);
        lead.collect(self, env, wait);
        drop(lead);
        if !self.inbox.is_empty() {
            self.call_another(env); // somebody must listen, and share the work
        }
        while let Ok(bell) = self.inbox.try_recv() {
            bell.deliver();
            did = true;
        }
        let now = env.now();
        while let Some(cell) = self.next_timer(now) {
            did = true;
            if let Some(cell) = cell.upgrade() {
                cell.with(|dom| {
                    dom.published_due = None;
                    dom.fire_timers();
                });
            }
        }
        did
    }

    /// A domain with a timer that is due.
    fn next_timer(&self, now: Duration) -> Option<Weak<DomainCell>> {
        let mut heap = self.due.lock();
        let due = heap.peek().is_some_and(|d| d.0 <= now);
        due.then(|| heap.pop()).flatten().map(|d| d.1)
    }

    /// Starts the first worker of a kernel with the real clock.
    pub fn start(&self, env: &Arc<Env>) {
        if self.workers.load(Ordering::Relaxed) == 0 {
            self.call_another(env);
        }
    }

    /// Starts a worker, unless one waits for the lead or there are enough.
    #[cold]
    fn call_another(&self, env: &Arc<Env>) {
        let n = self.workers.load(Ordering::Relaxed);
        if env.clock.is_manual()
            || n >= self.max_workers
            || (n > 0 && self.followers.load(Ordering::Relaxed) > 0)
            || self
                .workers
                .compare_exchange(n, n + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let env = Arc::downgrade(env);
        let name = format!("streams-{n}");
        let spawned = crate::sync::thread::Builder::new()
            .name(name)
            .spawn(move || {
                while let Some(env) = env.upgrade() {
                    // Bounded, so that the thread ends soon after its kernel.
                    env.pump.turn(&env, Some(Duration::from_millis(500)));
                    env.bury();
                }
            });
        if spawned.is_err() {
            self.workers.fetch_sub(1, Ordering::AcqRel); // the others go on alone
        }
    }
}

impl Lead {
    /// Sleeps up to `wait` until a descriptor is readable, a doorbell rings or a timer is
    /// due, and puts the doorbells of the descriptors where every worker takes them from.
    fn collect(&mut self, pump: &Pump, env: &Env, wait: Option<Duration>) {
        pump.asleep.swap(true, Ordering::AcqRel);
        let mut wait = wait;
        if !pump.inbox.is_empty() {
            wait = Some(Duration::ZERO);
        } else if let Some(due) = pump.next_due().filter(|_| !env.clock.is_manual()) {
            let left = due.saturating_sub(env.now());
            wait = Some(wait.map_or(left, |w| w.min(left)));
        }
        let _ = self.poll.poll(&mut self.events, wait); // EINTR: the caller turns again
        pump.asleep.store(false, Ordering::Release);
        let watched = pump.watched.lock();
        for e in self.events.iter().filter(|e| e.token() != WAKE) {
            if let Some(bell) = watched.get(&e.token())
                && bell.set_pending()
            {
                let _ = pump.jobs.send(bell.clone()); // the receiver is ours too
            }
        }
    }
}
