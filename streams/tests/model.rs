//! The real framework under a model checker: shuttle chooses, at every lock and atomic,
//! which thread goes on, over thousands of schedules, and sees when none can. Looked for:
//! lost messages, order within a queue, lost wake-ups, deadlock. Run by `.ci/model`:
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p streams --test model --release
//! ```
//!
//! A schedule that fails is printed; `shuttle::replay` runs it again.
#![cfg(shuttle)]

#[allow(dead_code)] // the random run uses the rest
#[path = "../../tests/tests/random/modules.rs"]
mod modules;

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use shuttle::thread;
use streams::prelude::*;
use streams::{Config, Doorbell, Ioctl, Kernel, Process, Sys, oflag};

/// Schedules tried of each model; `SCHEDULES` in the environment for more.
fn check(model: impl Fn() + Send + Sync + Clone + 'static) {
    let n = std::env::var("SCHEDULES")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(500);
    shuttle::check_random(model.clone(), n);
    shuttle::check_pct(model, n, 3);
}

fn world() -> (Kernel, Arc<Process>) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    streams::register(&k).expect("fresh names");
    modules::register(&k).expect("fresh names");
    k.add_mod::<Bell>().expect("fresh names");
    let p = Arc::new(k.process(Cred::ROOT));
    (k, p)
}

/// Messages written to one end, numbered.
const MANY: u8 = 5;

fn writer(p: &Arc<Process>, fd: i32) -> thread::JoinHandle<()> {
    let p = p.clone();
    thread::spawn(move || {
        for n in 0..MANY {
            let sent = p.write(fd, &[n; 30]);
            assert_eq!(sent, Ok(30));
        }
    })
}

fn reader(p: &Arc<Process>, fd: i32) -> thread::JoinHandle<()> {
    let p = p.clone();
    thread::spawn(move || {
        let mut got = Vec::new();
        while got.len() < 30 * usize::from(MANY) {
            got.extend(p.read(fd, 64).expect("more"));
        }
        let want: Vec<u8> = (0..MANY).flat_map(|n| [n; 30]).collect();
        assert_eq!(
            got, want,
            "order within a queue, nothing lost, nothing twice"
        );
    })
}

fn all_well(k: &Kernel) {
    assert_eq!(k.broken_invariants(), Vec::<String>::new());
    assert!(k.drops().is_empty(), "{:?}", k.drops());
}

/// Two pipes with the same module on them, each written and read by threads of its own.
fn through(name: &'static str) {
    check(move || {
        let (k, p) = world();
        let done = Arc::new(AtomicBool::new(false));
        // A call that sleeps moves the clock itself if it knows of a timer, and not if
        // another thread sets one later: somebody must, where there are timers.
        let clock = (name == "slow").then(|| clock(&k, &done));
        let mut threads = Vec::new();
        for _ in 0..2 {
            let (a, b) = p.pipe().expect("a pipe");
            p.push(a, name).expect("push");
            threads.push(writer(&p, a));
            threads.push(reader(&p, b));
        }
        for t in threads {
            t.join().expect("it ended well");
        }
        done.store(true, Ordering::SeqCst);
        if let Some(clock) = clock {
            clock.join().expect("it ended well");
        }
        all_well(&k);
    });
}

/// Moves the clock until `done`.
fn clock(k: &Kernel, done: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (k, done) = (k.clone(), done.clone());
    thread::spawn(move || {
        while !done.load(Ordering::SeqCst) {
            k.advance(Duration::from_millis(1));
            thread::yield_now();
        }
    })
}

macro_rules! through {
    ($($name:ident),*) => { $(
        /// mt-streams(9F): what the module's perimeter lets in together.
        #[test]
        fn $name() {
            through(stringify!($name));
        }
    )* };
}
through!(nullmod, queuing, paired, permod, shared, outer, slow);

/// D_MTPERMOD brings streams into one domain: three pushes at once on three pipes that are
/// written meanwhile.
#[test]
fn domains_join_from_three_sides() {
    check(|| {
        let (k, p) = world();
        let pipes: Vec<_> = (0..3).map(|_| p.pipe().expect("a pipe")).collect();
        let mut threads = Vec::new();
        for &(a, b) in &pipes {
            threads.push(writer(&p, a));
            let pusher = p.clone();
            threads.push(thread::spawn(move || {
                pusher.push(a, "permod").expect("push")
            }));
            threads.push(reader(&p, b));
        }
        for t in threads {
            t.join().expect("it ended well");
        }
        all_well(&k);
    });
}

/// I_LINK and I_UNLINK while the lower stream is written and the upper used (streamio(7I)):
/// who writes to a linked stream is told EINVAL; what was taken before is not lost.
#[test]
fn linking_under_traffic() {
    check(|| {
        let (k, p) = world();
        let up = p.open("/dev/mux", oflag::O_RDWR).expect("mux");
        let low = p.open("/dev/echo", oflag::O_RDWR).expect("echo");
        let (a, b) = p.pipe().expect("a pipe");
        let mut threads = vec![writer(&p, a), reader(&p, b)];
        let linker = p.clone();
        threads.push(thread::spawn(move || {
            for _ in 0..2 {
                let id = linker.ioctl(up, Ioctl::Link(low)).expect("I_LINK").rval;
                linker.ioctl(up, Ioctl::Unlink(id)).expect("I_UNLINK");
            }
        }));
        let user = p.clone();
        threads.push(thread::spawn(move || {
            for n in 0..MANY {
                match user.write(low, &[n]) {
                    Ok(1) | Err(Errno::EINVAL) => {}
                    other => panic!("{other:?}"),
                }
            }
        }));
        let pusher = p.clone();
        threads.push(thread::spawn(move || {
            pusher.push(up, "permod").expect("push")
        }));
        for t in threads {
            t.join().expect("it ended well");
        }
        assert_eq!(k.broken_invariants(), Vec::<String>::new());
    });
}

/// A ring that comes while an interrupt runs makes another run: the last is never lost.
struct Bell;
impl Module for Bell {
    type Shared = Rung;
    const INFO: ModuleInfo = ModuleInfo::named(92, "bell");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        let bell = q.doorbell();
        let slot = SLOT.with(|s| s.borrow().clone()).ok_or(Errno::EINVAL)?;
        *slot.bell.lock().map_err(|_| Errno::EIO)? = Some(bell);
        q.shared().0 = Some(slot);
        Ok(Bell)
    }
    fn interrupt(q: &mut Queue<'_, Self>) {
        if let Some(slot) = &q.shared().0 {
            let rung = slot.rung.load(Ordering::SeqCst);
            slot.seen.store(rung, Ordering::SeqCst);
        }
    }
}
#[derive(Default)]
struct Rung(Option<Arc<Slot>>);
struct Slot {
    bell: std::sync::Mutex<Option<Doorbell>>,
    rung: AtomicU32,
    seen: AtomicU32,
}
std::thread_local! {
    /// What the next open of `bell` uses: the checker runs every thread of a model on one.
    static SLOT: std::cell::RefCell<Option<Arc<Slot>>> = const { std::cell::RefCell::new(None) };
}

/// ddi_trigger_softintr(9F): at least one interrupt after each ring, while the stream's
/// domain joins another.
#[test]
fn no_ring_is_lost() {
    check(|| {
        let (k, p) = world();
        let slot = Arc::new(Slot {
            bell: std::sync::Mutex::new(None),
            rung: AtomicU32::new(0),
            seen: AtomicU32::new(0),
        });
        SLOT.with(|s| *s.borrow_mut() = Some(slot.clone()));
        let (a, _b) = p.pipe().expect("a pipe");
        p.push(a, "bell").expect("push");
        let bell = slot
            .bell
            .lock()
            .expect("unpoisoned")
            .clone()
            .expect("opened");
        let done = Arc::new(AtomicBool::new(false));
        let pump = {
            let (k, done) = (k.clone(), done.clone());
            thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    k.step();
                    thread::yield_now();
                }
                k.run_until_idle();
            })
        };
        let mut threads = Vec::new();
        for _ in 0..2 {
            let (bell, slot) = (bell.clone(), slot.clone());
            threads.push(thread::spawn(move || {
                for _ in 0..3 {
                    slot.rung.fetch_add(1, Ordering::SeqCst);
                    bell.ring();
                }
            }));
        }
        let (c, _d) = p.pipe().expect("a pipe");
        p.push(c, "permod").expect("push");
        p.push(a, "permod").expect("push");
        for t in threads {
            t.join().expect("it ended well");
        }
        done.store(true, Ordering::SeqCst);
        pump.join().expect("it ended well");
        assert_eq!(slot.seen.load(Ordering::SeqCst), 6);
        SLOT.with(|s| s.borrow_mut().take());
    });
}

/// close(2) of one end against a sleeping reader and a writer of the other: the reader gets
/// what was written and then 0, the writer EPIPE; nobody sleeps for ever.
#[test]
fn closing_wakes_everybody() {
    check(|| {
        let (k, p) = world();
        p.sigaction(streams::Signal::SIGPIPE, streams::Action::Ignore)
            .expect("sigaction");
        let (a, b) = p.pipe().expect("a pipe");
        p.push(a, "queuing").expect("push");
        let w = p.clone();
        let writer = thread::spawn(move || {
            for _ in 0..400 {
                match w.write(a, &[7; 30]) {
                    Ok(30) => {}
                    Err(Errno::EPIPE) => return,
                    other => panic!("{other:?}"),
                }
            }
            panic!("12000 bytes that nobody reads went in");
        });
        let r = p.clone();
        let reader = thread::spawn(move || assert_eq!(r.read(a, 10), Ok(Vec::new())));
        p.close(b).expect("close");
        writer.join().expect("it ended well");
        reader.join().expect("it ended well");
        assert_eq!(k.broken_invariants(), Vec::<String>::new());
    });
}
