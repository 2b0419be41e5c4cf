//! A kernel: a value that owns streams, drivers, time and processes.
//!
//! Many fit in one process; they share nothing. A kernel for programs has the real clock
//! and a pump thread; one for tests has a clock set by hand and runs on the caller's
//! thread alone, so that every run of a seed is the same.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::sync::{Mutex, RwLock};

use crate::autopush::AutoPush;
use crate::clock::Clock;
use crate::domain::DomainCell;
use crate::drivers::log::Hub;
use crate::errno::Errno;
use crate::file::Stream;
use crate::head::link::Links;
use crate::intr::{Doorbell, Pump, Watch};
use crate::message::Cred;
use crate::module::Module;
use crate::names::Names;
use crate::process::{Process, table::Procs};
use crate::queue::flag;
use crate::registry::{ModInfoRow, Node, Registry, State};
use crate::sched::Timer;
use crate::show::StackView;
use crate::trace::Event;
use crate::tunable::{Memory, Tunables};

/// What every part of one kernel reaches.
pub(crate) struct Env {
    pub clock: Clock,
    seed: AtomicU64,
    stepped: AtomicBool,
    tracing: AtomicBool,
    next_page: AtomicU32,
    next_id: AtomicU64,
    next_tag: AtomicU32,
    next_stream: AtomicU32,
    pub next_ioc: AtomicU32,
    pub next_pid: AtomicU32,
    pub domains: Mutex<Vec<Weak<DomainCell>>>,
    pub registry: RwLock<Registry>,
    /// Open streams by device, for the second open of the same minor.
    pub devices: Mutex<HashMap<(u32, u32), Weak<Stream>>>,
    /// Every open stream, for `show`.
    pub streams: Mutex<BTreeMap<u32, Weak<Stream>>>,
    pub links: Mutex<Links>,
    pub names: Mutex<Names>,
    pub autopush: Mutex<AutoPush>,
    pub log: Hub,
    pub procs: Procs,
    pub tune: Tunables,
    pub memory: Memory,
    /// Streams whose last file went away inside a domain and wait to be closed.
    pub graves: Mutex<Vec<Arc<Stream>>>,
    /// A domain without queues: the timers of poll(2).
    sleepers: Mutex<Option<Arc<DomainCell>>>,
    pub pump: Pump,
}

impl Env {
    pub fn now(&self) -> Duration {
        self.clock.now()
    }
    pub fn seed(&self) -> u64 {
        self.seed.load(Ordering::Relaxed)
    }
    pub fn stepped(&self) -> bool {
        self.stepped.load(Ordering::Relaxed)
    }
    pub fn tracing(&self) -> bool {
        self.tracing.load(Ordering::Relaxed)
    }
    pub fn next_page(&self) -> u32 {
        self.next_page.fetch_add(1, Ordering::Relaxed)
    }
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
    pub fn next_tag(&self) -> u32 {
        self.next_tag.fetch_add(1, Ordering::Relaxed)
    }
    pub fn next_stream(&self) -> u32 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a worker thread, unless time is set by hand.
    pub fn ensure_pump(self: &Arc<Self>) {
        if !self.clock.is_manual() {
            self.pump.start(self);
        }
    }

    pub fn watch(
        self: &Arc<Self>,
        fd: std::os::fd::BorrowedFd<'_>,
        bell: Doorbell,
    ) -> std::io::Result<Watch> {
        self.ensure_pump();
        self.pump.watch(fd, bell, self)
    }

    /// Does one round of what is ready; false if there was nothing.
    pub fn step(self: &Arc<Self>) -> bool {
        let mut did = self.pump.turn(self, Some(Duration::ZERO));
        for cell in self.live_domains() {
            did |= cell.with(|dom| dom.run_one());
        }
        self.bury();
        did
    }

    pub fn live_domains(&self) -> Vec<Arc<DomainCell>> {
        let mut list = self.domains.lock();
        list.retain(|w| w.upgrade().is_some_and(|c| c.moved.get().is_none()));
        list.iter().filter_map(Weak::upgrade).collect()
    }

    /// Closes the streams whose last file was dropped inside a message.
    pub fn bury(self: &Arc<Self>) {
        loop {
            let Some(stream) = self.graves.lock().pop() else {
                return;
            };
            if stream.refs.load(Ordering::Acquire) > 0 {
                stream.ends_changed(); // a FIFO that others have open
                continue;
            }
            let _ = self.block_on(async {
                stream.close_now().await;
                Ok(())
            });
        }
    }

    /// Wakes somebody at a time, independent of any stream.
    pub fn wake_at(self: &Arc<Self>, at: Duration, waker: Waker) {
        let after = at.saturating_sub(self.now());
        let mut sleepers = self.sleepers.lock();
        let cell = sleepers
            .get_or_insert_with(|| DomainCell::new(self))
            .clone();
        drop(sleepers);
        cell.with(|dom| dom.set_timer(after, Timer::Wake(waker)));
    }

    /// Runs a system call to its end on this thread. With a clock set by hand, what is
    /// ready runs meanwhile, and when nothing is, time jumps to the next timer; EDEADLK
    /// if there is none: nothing could ever end the call.
    pub fn block_on<T>(
        self: &Arc<Self>,
        call: impl Future<Output = Result<T, Errno>>,
    ) -> Result<T, Errno> {
        let mut call = pin!(call);
        let me = Arc::new(Parker {
            thread: crate::sync::thread::current(),
            woken: AtomicBool::new(false),
        });
        let waker = Waker::from(me.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(r) = call.as_mut().poll(&mut cx) {
                return r;
            }
            while !me.woken.swap(false, Ordering::AcqRel) {
                if !self.clock.is_manual() {
                    crate::sync::thread::park();
                } else if !self.step() {
                    match self.pump.next_due() {
                        Some(at) => self.clock.advance_to(at),
                        None if me.woken.load(Ordering::Acquire) => {}
                        // The model checker knows whether another thread can end it.
                        None if cfg!(shuttle) => crate::sync::thread::park(),
                        None => return Err(Errno::EDEADLK),
                    }
                }
            }
        }
    }
}

/// Wakes the thread that runs a system call.
struct Parker {
    thread: crate::sync::thread::Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Ends with the last kernel value and process: then links, attachments and what modules
/// share, which keep the kernel, are let go.
pub(crate) struct Life(Arc<Env>);

impl Drop for Life {
    fn drop(&mut self) {
        let env = &self.0;
        let links = std::mem::take(&mut env.links.lock().by_id);
        let names = std::mem::take(&mut *env.names.lock());
        drop((links, names));
        env.bury();
        let registry = std::mem::take(&mut *env.registry.write());
        let sleepers = env.sleepers.lock().take();
        drop((registry, sleepers));
    }
}

/// How a kernel is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    /// Time stands still until it is moved or a call has to wait for it.
    pub manual_clock: bool,
    /// Nonzero: service procedures run in the order of this seed.
    pub seed: u64,
    /// Service procedures run only in [`Kernel::step`].
    pub stepped: bool,
    /// At most so many worker threads run interrupts, timers and what these enable, with
    /// the real clock; 0: as many as the machine has processors.
    pub workers: usize,
}

impl Config {
    fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// For tests: manual clock, first in first out, run to idle after each call.
    pub fn test() -> Config {
        Config {
            manual_clock: true,
            ..Config::default()
        }
    }
    /// For tests, with a seeded schedule.
    pub fn seeded(seed: u64) -> Config {
        Config {
            seed,
            ..Config::test()
        }
    }
}

/// An emulated kernel. Clones are the same kernel.
///
/// What looks into every domain ([`Kernel::kstats`], [`Kernel::drops`], [`Kernel::stacks`], the
/// traces) is for programs, never for a module: that is in a domain already and would wait for
/// itself. To leave its own one out would not do, as two modules that look would wait for one
/// another.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) env: Arc<Env>,
    life: Arc<Life>,
}

impl Kernel {
    /// A kernel with the real clock.
    ///
    /// # Errors
    /// The host refuses an event queue (too many open files).
    pub fn new() -> std::io::Result<Kernel> {
        Kernel::with_config(Config::default())
    }

    /// A kernel made to measure.
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn with_config(config: Config) -> std::io::Result<Kernel> {
        let clock = if config.manual_clock {
            Clock::Manual(AtomicU64::new(0))
        } else {
            Clock::Real(Instant::now())
        };
        let env = Env {
            clock,
            seed: AtomicU64::new(config.seed),
            stepped: AtomicBool::new(config.stepped),
            tracing: AtomicBool::new(false),
            next_page: AtomicU32::new(0),
            next_id: AtomicU64::new(1),
            next_tag: AtomicU32::new(1),
            next_stream: AtomicU32::new(1),
            next_ioc: AtomicU32::new(1),
            next_pid: AtomicU32::new(2), // 1 is init
            domains: Mutex::default(),
            registry: RwLock::default(),
            devices: Mutex::default(),
            streams: Mutex::default(),
            links: Mutex::default(),
            names: Mutex::default(),
            autopush: Mutex::default(),
            log: Hub::default(),
            procs: Procs::default(),
            tune: Tunables::default(),
            memory: Memory::default(),
            graves: Mutex::default(),
            sleepers: Mutex::default(),
            pump: Pump::new(config.workers())?,
        };
        let env = Arc::new(env);
        let life = Arc::new(Life(env.clone()));
        Ok(Kernel { env, life })
    }

    // ---- add_drv, modinfo ----

    /// add_drv(1M): a driver under its own name, with the clone node `/dev/NAME`.
    ///
    /// A crate with drivers and modules has a function that makes them known; the program
    /// that embeds the kernel links the crate in by calling it:
    ///
    /// ```
    /// mod acme {                       // somebody else's crate
    ///     use streams::{Kernel, prelude::*};
    ///
    ///     pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    ///         kernel.add_drv::<Sink>().map(|_| ())
    ///     }
    ///
    ///     pub struct Sink;
    ///     impl Module for Sink {
    ///         type Shared = ();
    ///         const INFO: ModuleInfo = ModuleInfo::named(0xac3e, "sink");
    ///         const PERIMETER: Perimeter = Perimeter::MTSAFE;
    ///         const READ: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));
    ///         const WRITE: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));
    ///         fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
    ///             how.require_device()?;
    ///             Ok(Sink)
    ///         }
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use streams::{Cred, Errno, Kernel, Sys, oflag};
    /// let kernel = Kernel::new()?;
    /// acme::register(&kernel)?;        // the one line: modload(1M)
    ///
    /// let p = kernel.process(Cred::ROOT);
    /// let fd = p.open("/dev/sink", oflag::O_WRONLY)?;
    /// assert_eq!(kernel.modinfo()[0].opens, 1);
    /// assert_eq!(kernel.rem_drv("sink"), Err(Errno::EBUSY)); // modunload(1M): in use
    /// p.close(fd)?;
    /// kernel.rem_drv("sink")?;
    /// assert_eq!(p.open("/dev/sink", oflag::O_WRONLY), Err(Errno::ENOENT));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// EEXIST: the name is taken. EINVAL: the perimeter is none that Solaris loads.
    pub fn add_drv<M: Module>(&self) -> Result<u32, Errno> {
        self.env
            .registry
            .write()
            .add_drv::<M>(M::INFO.name, State::Default)
    }
    /// add_drv(1M) under another name, with a start value for what its instances share.
    ///
    /// # Errors
    /// As [`Kernel::add_drv`].
    pub fn add_drv_with<M: Module>(
        &self,
        name: &'static str,
        shared: M::Shared,
    ) -> Result<u32, Errno> {
        self.env
            .registry
            .write()
            .add_drv::<M>(name, State::Start(shared))
    }
    /// Makes a module known to I_PUSH under its own name.
    ///
    /// # Errors
    /// As [`Kernel::add_drv`].
    pub fn add_mod<M: Module>(&self) -> Result<(), Errno> {
        self.env
            .registry
            .write()
            .add_mod::<M>(M::INFO.name, State::Default)
    }
    /// A module with a start value for what its instances share. With a driver of the same
    /// type that was given one, too, it shares nothing, not even a domain.
    ///
    /// # Errors
    /// As [`Kernel::add_drv`].
    pub fn add_mod_with<M: Module>(
        &self,
        name: &'static str,
        shared: M::Shared,
    ) -> Result<(), Errno> {
        self.env
            .registry
            .write()
            .add_mod::<M>(name, State::Start(shared))
    }
    /// A driver that shares its state with the module or driver named `with`: /dev/udp
    /// with ip.
    ///
    /// # Errors
    /// As [`Kernel::add_drv`]; EINVAL: there is no `with`, or its state has another type.
    pub fn add_drv_sharing<M: Module>(&self, name: &'static str, with: &str) -> Result<u32, Errno> {
        self.env
            .registry
            .write()
            .add_drv::<M>(name, State::With(with))
    }
    /// A module that shares its state with the module or driver named `with`.
    ///
    /// # Errors
    /// As [`Kernel::add_drv_sharing`].
    pub fn add_mod_sharing<M: Module>(&self, name: &'static str, with: &str) -> Result<(), Errno> {
        self.env
            .registry
            .write()
            .add_mod::<M>(name, State::With(with))
    }
    /// rem_drv(1M).
    ///
    /// # Errors
    /// EBUSY while a stream of it is open, ENOENT if there is no such driver.
    pub fn rem_drv(&self, name: &str) -> Result<(), Errno> {
        self.env.registry.write().rem_drv(name)
    }
    /// Unloads a module.
    ///
    /// # Errors
    /// EBUSY while it is pushed, ENOENT if there is no such module.
    pub fn rem_mod(&self, name: &str) -> Result<(), Errno> {
        self.env.registry.write().rem_mod(name)
    }
    /// modinfo(1M).
    pub fn modinfo(&self) -> Vec<ModInfoRow> {
        self.env.registry.read().modinfo()
    }
    /// Every device node and its major number.
    pub fn devices(&self) -> Vec<(String, u32)> {
        self.env
            .registry
            .read()
            .nodes
            .iter()
            .map(|(p, n)| (p.clone(), n.major))
            .collect()
    }

    /// mknod(2): a node for `minor` of a driver; without one, a clone node.
    ///
    /// # Errors
    /// EEXIST: the path is taken. ENXIO: no such driver.
    pub fn mknod(&self, path: &str, driver: &str, minor: Option<u32>) -> Result<(), Errno> {
        let mut reg = self.env.registry.write();
        let major = reg.major(driver).ok_or(Errno::ENXIO)?;
        reg.mknod(path, Node { major, minor })
    }
    /// Removes a device node.
    ///
    /// # Errors
    /// ENOENT: there is none.
    pub fn rmnod(&self, path: &str) -> Result<(), Errno> {
        let gone = self.env.registry.write().nodes.remove(path);
        gone.map(|_| ()).ok_or(Errno::ENOENT)
    }
    /// The major number of a driver.
    pub fn major(&self, driver: &str) -> Option<u32> {
        self.env.registry.read().major(driver)
    }

    // ---- processes ----

    /// A new process with these credentials.
    pub fn process(&self, cred: Cred) -> Process {
        Process::new(self.env.clone(), self.life.clone(), cred)
    }

    // ---- time and schedule ----

    /// Time since the kernel was made.
    pub fn now(&self) -> Duration {
        self.env.now()
    }
    /// A number that a module's random choices may start from: the same in every run under a
    /// clock set by hand ([`Config::seed`]), else one that nobody can guess.
    pub fn random_seed(&self) -> u64 {
        if self.env.clock.is_manual() {
            return self.env.seed();
        }
        // The standard library's keys are random for each process, and differ each time.
        RandomState::new().hash_one(self.env.seed())
    }
    /// Does one round of what is ready: interrupts, due timers, one service procedure in
    /// each domain. False if there was nothing to do.
    pub fn step(&self) -> bool {
        self.env.step()
    }
    /// Steps until there is nothing to do. Returns the rounds.
    pub fn run_until_idle(&self) -> usize {
        let mut n = 0;
        while self.env.step() {
            n += 1;
        }
        n
    }
    /// Moves a manual clock on, running every timer on the way at its time.
    pub fn advance(&self, by: Duration) {
        let end = self.now() + by;
        loop {
            self.run_until_idle();
            match self.env.pump.next_due() {
                Some(at) if at <= end => self.env.clock.advance_to(at),
                _ => break,
            }
        }
        self.env.clock.advance_to(end);
        self.run_until_idle();
    }

    // ---- looking in ----

    /// Turns the flow trace of every stream on or off, of those opened later too.
    pub fn set_trace(&self, on: bool) {
        self.env.tracing.store(on, Ordering::Relaxed);
        for cell in self.env.live_domains() {
            cell.with(|dom| {
                for pair in dom.pairs() {
                    dom.mark_pair(pair, flag::QTRACE, on);
                }
            });
        }
    }
    /// Takes the events traced so far, in the order of time.
    pub fn take_trace(&self) -> Vec<Event> {
        let mut all: Vec<Event> = self
            .env
            .live_domains()
            .iter()
            .flat_map(|c| c.with(|d| d.trace.take()))
            .collect();
        all.sort_by_key(|e| e.when);
        all
    }
    /// Every statistic of the modules and drivers opened so far (kstat(3KSTAT)).
    ///
    /// Not to be called from inside a module: it enters every domain ([`Kernel`]).
    pub fn kstats(&self) -> crate::kstat::Snapshot {
        crate::kstat::snapshot(&self.env)
    }
    /// Drops since the kernel was made: module, reason, how many; by module and reason.
    pub fn drops(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut sum = BTreeMap::new();
        for cell in self.env.live_domains() {
            cell.with(|d| {
                for (k, n) in &d.drops {
                    *sum.entry(*k).or_default() += n;
                }
            });
        }
        sum
    }
    /// Every open stream: its modules from the head down, and what is linked where.
    pub fn stacks(&self) -> Vec<StackView> {
        crate::show::stacks(&self.env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Ioctl, Sys};

    /// Links (streamio(7I) I_PLINK) and attachments (fattach(3C)) outlive their process,
    /// not their kernel.
    #[test]
    fn a_kernel_with_links_and_names_ends() {
        let k = Kernel::with_config(Config::test()).expect("a kernel");
        crate::register(&k).expect("names");
        let p = k.process(Cred::ROOT);
        let up = p.open("/dev/mux", 2).expect("mux");
        let low = p.open("/dev/echo", 2).expect("echo");
        p.ioctl(up, Ioctl::Plink(low)).expect("I_PLINK");
        let (a, _b) = p.pipe().expect("pipe");
        p.mkfile("/tmp/name", 0o600).expect("mkfile");
        p.fattach(a, "/tmp/name").expect("fattach");
        p.poll(&mut [], Some(Duration::from_millis(1)))
            .expect("poll");
        let env = Arc::downgrade(&k.env);
        drop(k);
        assert!(env.upgrade().is_some());
        drop(p);
        assert_eq!(env.strong_count(), 0);
    }

    /// Counts its instances in what they share.
    struct Own;

    impl crate::module::Module for Own {
        type Shared = u32;
        const INFO: crate::ModuleInfo = crate::ModuleInfo::named(0x6f77, "own");
        const PERIMETER: crate::Perimeter = crate::Perimeter::MTSAFE;
        const READ: crate::QInit<Self> = crate::QInit::put(|q, mp| q.putnext(mp));
        const WRITE: crate::QInit<Self> = crate::QInit::put(|q, mp| q.freemsg(mp));
        fn open(q: &mut crate::Queue<'_, Self>, _: &mut crate::Open) -> Result<Self, Errno> {
            *q.shared() += 1;
            Ok(Own)
        }
        fn kstats(n: &mut u32, name: &'static str) -> Vec<crate::kstat::Kstat> {
            vec![crate::kstat::Kstat::new(name, *n, name, "misc")]
        }
    }

    /// add_drv(1M), modinfo(1M): one binary is busy with either; what its driver and its module
    /// share is theirs together, or each one's own if each was given a start value.
    #[test]
    fn a_driver_and_a_module_share_unless_each_has_a_start_value() {
        for (own, counts) in [(false, vec![12]), (true, vec![11, 21])] {
            let k = Kernel::with_config(Config::test()).expect("a kernel");
            crate::register(&k).expect("names");
            k.add_drv_with::<Own>("own", 10).expect("a driver");
            match own {
                true => k.add_mod_with::<Own>("own", 20).expect("a module"),
                false => k.add_mod::<Own>().expect("a module"),
            }
            let p = k.process(Cred::ROOT);
            p.open("/dev/own", 2).expect("the driver");
            let other = p.open("/dev/echo", 2).expect("another");
            p.push(other, "own").expect("the module");
            let found = k.kstats().chain.into_iter().filter(|s| s.module == "own");
            assert_eq!(found.map(|s| s.instance).collect::<Vec<_>>(), counts);
            let rows = k.modinfo().into_iter().filter(|r| r.name == "own");
            assert_eq!(rows.map(|r| r.opens).collect::<Vec<_>>(), [2, 2]);
        }
    }
}
