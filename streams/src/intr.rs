//! Interrupts: how the world outside gets a procedure to run.
//!
//! ```text
//!   descriptor readable ──► Watch ─┐
//!   another thread ──► ring() ─────┴─► Doorbell ──► job ──► pump ──► Module::interrupt(q)
//!   timer due ─────────────────────────────────────────────┘
//! ```
//!
//! With the real clock one thread per kernel pumps, started by the first doorbell or
//! timer. With a manual clock nothing runs by itself: `Kernel::step` pumps.
//!
//! Spec: ddi_add_intr(9F), ddi_trigger_softintr(9F).

use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

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
    cell: Weak<DomainCell>,
    q: QRef,
    env: Weak<Env>,
}

impl Doorbell {
    pub(crate) fn new(dom: &Domain, q: QRef) -> Doorbell {
        let bell = Bell {
            pending: AtomicBool::new(false),
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
        if !self.inner.pending.swap(true, Ordering::AcqRel)
            && let Some(env) = self.inner.env.upgrade()
        {
            env.pump.post(self.clone());
        }
    }

    /// Runs the interrupt in its domain.
    fn deliver(&self) {
        self.inner.pending.store(false, Ordering::Release);
        let Some(cell) = self.inner.cell.upgrade() else {
            return;
        };
        cell.with(|dom| {
            if let Some(idx) = dom.resolve(self.inner.q) {
                let f = dom.slot(idx).ops.interrupt;
                dom.callback(idx, |dom| f(dom, idx));
            }
        });
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

/// The pump of one kernel.
pub(crate) struct Pump {
    jobs: Sender<Doorbell>,
    inbox: Receiver<Doorbell>,
    poll: Mutex<Poll>,
    registry: mio::Registry,
    waker: Waker,
    watched: Mutex<HashMap<Token, Doorbell>>,
    next_token: AtomicUsize,
    /// When some domain has a timer due.
    due: Mutex<BinaryHeap<DueTimer>>,
    started: AtomicBool,
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
    pub fn new() -> io::Result<Pump> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKE)?;
        let (jobs, inbox) = unbounded();
        Ok(Pump {
            jobs,
            inbox,
            poll: Mutex::new(poll),
            registry,
            waker,
            watched: Mutex::default(),
            next_token: AtomicUsize::new(1),
            due: Mutex::default(),
            started: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        })
    }

    fn post(&self, bell: Doorbell) {
        let _ = self.jobs.send(bell); // the receiver lives as long as the sender: both are ours
        self.wake();
    }

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
    pub fn turn(&self, env: &Env, wait: Option<Duration>) -> bool {
        let mut did = self.poll_fds(wait);
        while let Ok(bell) = self.inbox.try_recv() {
            bell.deliver();
            did = true;
        }
        let now = env.now();
        loop {
            let due = {
                let mut heap = self.due.lock();
                match heap.peek() {
                    Some(d) if d.0 <= now => heap.pop(),
                    _ => None,
                }
            };
            let Some(DueTimer(_, cell)) = due else { break };
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

    fn poll_fds(&self, wait: Option<Duration>) -> bool {
        let mut events = Events::with_capacity(64);
        let mut poll = self.poll.lock();
        self.asleep.store(true, Ordering::Release);
        let wait = if self.inbox.is_empty() {
            wait
        } else {
            Some(Duration::ZERO)
        };
        let _ = poll.poll(&mut events, wait); // EINTR: the caller turns again
        self.asleep.store(false, Ordering::Release);
        drop(poll);
        let mut did = false;
        for e in events.iter().filter(|e| e.token() != WAKE) {
            let bell = self.watched.lock().get(&e.token()).cloned();
            if let Some(bell) = bell {
                bell.deliver();
                did = true;
            }
        }
        did
    }

    /// Starts the pumping thread of a kernel with the real clock, once.
    pub fn start(&self, env: &Arc<Env>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let env = Arc::downgrade(env);
        let name = "streams-pump".to_owned();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            while let Some(env) = env.upgrade() {
                let wait = env.pump.next_due().map(|d| d.saturating_sub(env.now()));
                // Bounded, so that the thread ends soon after its kernel.
                let wait = wait.map_or(Duration::from_millis(500), |w| {
                    w.min(Duration::from_millis(500))
                });
                env.pump.turn(&env, Some(wait));
                env.bury();
            }
        });
        if spawned.is_err() {
            self.started.store(false, Ordering::Release);
        }
    }
}
