//! A bench for one module: both its ends in the author's hands, one step at a time.
//!
//! ```text
//!        ┌───────── above() ◄── what came up
//!        │  down(mp) ──┐
//!     [ top ]          ▼                       full_above(true): no room there
//!        ▲      ┌─────────────┐
//!        └───── │  the module │                step(): one service procedure or timer
//!        ┌────► └─────────────┘                advance(t): time passes
//!        │             │
//!     [ bottom ] ◄─────┘                       full_below(true): no room there
//!           └─ up(mp)      below() ◄── what went down
//! ```
//!
//! A driver has no bottom: [`Bench::new_driver`], and [`Bench::interrupt`] for its device.
//! Memory fails when told to: `b.kernel().fail_allocations(Some(0))`.
//!
//! Put procedures run at once, service procedures in [`Bench::step`] or [`Bench::run`], and
//! time stands still: every run is the same. Nothing is between the ends and the module, so
//! what it sends is seen as it was sent, from its open on.
//!
//! ```
//! use streams::prelude::*;
//! use streams::modules::nullmod::NullMod;
//! use streams::testbench::Bench;
//! # fn main() -> Result<(), Errno> {
//! let mut b = Bench::<NullMod>::new()?;
//! b.down(Msg::data(b"hello"));
//! assert_eq!(b.below_bytes(), [b"hello"]);
//! assert!(b.above().is_empty());
//! # Ok(()) }
//! ```
#![doc = include_str!("../../../doc/write-your-first-module.md")]

mod ends;

use crate::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Domain, DomainCell};
use crate::errno::Errno;
use crate::file::Stream;
use crate::head::open_close::{instance, wait_opened};
use crate::kernel::{Config, Kernel};
use crate::message::{CopyResp, Cred, Ctl, IocBlk, Msg, MsgType, TRANSPARENT};
use crate::module::{Close, Module, Open, SFlag};
use crate::process::{Process, oflag};
use crate::queue::{NONE, flag};
use crate::sys::{Sys, USER_BASE};
use ends::{Bottom, End, Top};

/// Answers a message that went down with one that comes up.
type Answer = Box<dyn FnMut(&Msg) -> Option<Msg> + Send>;

/// How a bench is set up.
pub struct Setup<M: Module> {
    cred: Cred,
    shared: Option<M::Shared>,
    answer: Option<Answer>,
    driver: bool,
}

impl<M: Module> Setup<M> {
    /// The subject is a driver: it is opened as a device through its clone node, nothing is
    /// below it, and [`Bench::interrupt`] is what its device does.
    pub fn driver(mut self) -> Setup<M> {
        self.driver = true;
        self
    }
    /// Who opens the module; the superuser otherwise.
    pub fn cred(mut self, cred: Cred) -> Setup<M> {
        self.cred = cred;
        self
    }
    /// The start value of what all instances share.
    pub fn shared(mut self, shared: M::Shared) -> Setup<M> {
        self.shared = Some(shared);
        self
    }
    /// A bottom that answers: what `f` returns for a message comes up at once. An open that
    /// waits for a reply (qwait(9F)) needs one.
    pub fn answer(mut self, f: impl FnMut(&Msg) -> Option<Msg> + Send + 'static) -> Setup<M> {
        self.answer = Some(Box::new(f));
        self
    }
    /// Opens the module.
    ///
    /// # Errors
    /// What its open says; EDEADLK: it waits for something that never comes.
    pub fn open(self) -> Result<Bench<M>, Errno> {
        Bench::make(self)
    }
}

/// What became of an ioctl that a bench sent down.
#[derive(Debug)]
pub enum Outcome {
    /// M_IOCACK: its value and data.
    Ack(i32, Vec<u8>),
    /// M_IOCNAK: its error; EINVAL for none.
    Nak(Errno),
    /// The module passed it on; here it is.
    Passed(Msg),
    /// Neither: the module keeps it.
    Held,
}

/// A side of the module under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Going up.
    Read,
    /// Going down.
    Write,
}

/// One queue of the module, as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueView {
    /// Messages.
    pub messages: usize,
    /// Bytes of band 0 and high priority.
    pub count: usize,
    /// QFULL: whoever asks canput is told to wait.
    pub full: bool,
    /// QENAB: its service procedure is to run.
    pub enabled: bool,
}

/// A module between two recorded ends.
pub struct Bench<M: Module> {
    stream: Arc<Stream>,
    process: Process,
    kernel: Kernel,
    top: u32,
    pair: u32,
    /// NONE under a driver.
    bottom: u32,
    /// The descriptor of a driver's stream.
    fd: Option<i32>,
    closed: bool,
    next_ioc: u32,
    _module: PhantomData<fn(M)>,
}

impl<M: Module> Bench<M> {
    /// A bench with the module just opened, by the superuser.
    ///
    /// # Errors
    /// What its open says.
    pub fn new() -> Result<Bench<M>, Errno> {
        Self::setup().open()
    }

    /// A bench that is still to be opened.
    pub fn setup() -> Setup<M> {
        Setup {
            cred: Cred::ROOT,
            shared: None,
            answer: None,
            driver: false,
        }
    }

    /// A bench with the driver just opened, by the superuser: see [`Setup::driver`].
    ///
    /// # Errors
    /// What its open says.
    pub fn new_driver() -> Result<Bench<M>, Errno> {
        Self::setup().driver().open()
    }

    /// The driver with the upper end right above it.
    fn make_driver(setup: Setup<M>) -> Result<Bench<M>, Errno> {
        let kernel = stepped()?;
        kernel.add_mod::<Top>()?;
        match setup.shared {
            Some(s) => kernel.add_drv_with::<M>(M::INFO.name, s)?,
            None => kernel.add_drv::<M>()?,
        };
        let process = kernel.process(setup.cred);
        let fd = process.open(&format!("/dev/{}", M::INFO.name), oflag::O_RDWR)?;
        process.push(fd, "top")?;
        let (stream, _) = process.stream(fd)?;
        let (top, pair) = stream.with(|dom| {
            let top = dom.slot(stream.head + 1).next & !1;
            // What the open sent went past, as the end was not there yet.
            let early: Vec<Msg> = dom.slot_mut(stream.head).list.drain(..).collect();
            dom.slot_mut(stream.head).count = 0;
            if let Some(end) = dom.ptr::<Top>(top) {
                end.0.seen.extend(early);
            }
            (top, dom.bottom(stream.head) & !1)
        });
        Ok(Bench {
            stream,
            process,
            kernel,
            top,
            pair,
            bottom: NONE,
            fd: Some(fd),
            closed: false,
            next_ioc: 1_000_000,
            _module: PhantomData,
        })
    }

    fn make(setup: Setup<M>) -> Result<Bench<M>, Errno> {
        if setup.driver {
            return Self::make_driver(setup);
        }
        let kernel = stepped()?;
        kernel.add_drv::<Bottom>()?;
        kernel.add_mod::<Top>()?;
        match setup.shared {
            Some(s) => kernel.add_mod_with::<M>(M::INFO.name, s)?,
            None => kernel.add_mod::<M>()?,
        }
        let process = kernel.process(setup.cred);
        let fd = process.open("/dev/bottom", oflag::O_RDWR)?;
        process.push(fd, "top")?;
        let (stream, _) = process.stream(fd)?;
        let (top, bottom) = stream.with(|dom| {
            let top = dom.slot(stream.head + 1).next & !1;
            (top, dom.bottom(stream.head) & !1)
        });
        stream.with(|dom| {
            if let Some(end) = dom.ptr::<Bottom>(bottom) {
                end.0.answer = setup.answer;
            }
        });
        let mut bench = Bench {
            stream,
            process,
            kernel,
            top,
            pair: top,
            bottom,
            fd: None,
            closed: true,
            next_ioc: 1_000_000, // not an id that the head gives
            _module: PhantomData,
        };
        bench.insert(M::INFO.name)?;
        Ok(bench)
    }

    /// Puts the module between the ends (what _I_INSERT does) and opens it.
    fn insert(&mut self, name: &'static str) -> Result<(), Errno> {
        let env = &self.kernel.env;
        let known = env.registry.read().modules.get(name).cloned();
        let entry = known.ok_or(Errno::EINVAL)?;
        if let Some(home) = entry.home(env) {
            DomainCell::join(&home, &self.stream.cell);
        }
        let caller = &self.process.caller;
        let mut how = Open {
            major: self.stream.major.unwrap_or(0),
            minor: Some(self.stream.minor),
            flag: 0,
            sflag: SFlag::Module,
            cred: caller.cred,
            name,
        };
        let (id, top) = (self.stream.id, self.top);
        self.pair = self.stream.with(|dom| {
            let pair = dom.alloc_pair(id);
            dom.install(pair, &entry);
            dom.attach_under(top, pair);
            match instance(dom, pair, &mut how) {
                Ok(()) => Ok(pair),
                Err(e) => {
                    dom.detach(pair);
                    Err(e)
                }
            }
        })?;
        entry.opens.fetch_add(1, Ordering::AcqRel);
        let opened = env.block_on(wait_opened(&self.stream, caller, self.pair));
        self.closed = false;
        if opened.is_err() {
            self.close();
        }
        opened
    }

    // ---- messages ----

    /// Sends a message down to the module: its write put procedure runs.
    pub fn down(&mut self, mp: Msg) {
        let top = self.top;
        self.stream.with(|dom| dom.putnext(top + 1, mp));
    }
    /// Sends a message up to the module: its read put procedure runs.
    pub fn up(&mut self, mp: Msg) {
        let bottom = self.bottom;
        self.stream.with(|dom| match bottom {
            NONE => dom.pool.free(mp), // nothing is under a driver
            bottom => dom.putnext(bottom, mp),
        });
    }
    /// The device wants attention: [`Module::interrupt`] runs.
    pub fn interrupt(&mut self) {
        if self.closed {
            return;
        }
        let pair = self.pair;
        self.stream.with(|dom| {
            let f = dom.slot(pair).ops.interrupt;
            dom.callback(pair, |dom| f(dom, pair));
        });
    }
    /// Takes what has come out above, in its order.
    pub fn above(&mut self) -> Vec<Msg> {
        self.end_above(|e| std::mem::take(&mut e.seen))
    }
    /// Takes what has come out below, in its order.
    pub fn below(&mut self) -> Vec<Msg> {
        self.end_below(|e| std::mem::take(&mut e.seen))
    }
    /// As [`Bench::above`], each message as its bytes.
    pub fn above_bytes(&mut self) -> Vec<Vec<u8>> {
        self.above().iter().map(Msg::to_vec).collect()
    }
    /// As [`Bench::below`], each message as its bytes.
    pub fn below_bytes(&mut self) -> Vec<Vec<u8>> {
        self.below().iter().map(Msg::to_vec).collect()
    }

    fn end_above<R: Default>(&mut self, f: impl FnOnce(&mut End) -> R) -> R {
        let top = self.top;
        self.stream
            .with(|dom| dom.ptr::<Top>(top).map(|t| f(&mut t.0)))
            .unwrap_or_default()
    }
    fn end_below<R: Default>(&mut self, f: impl FnOnce(&mut End) -> R) -> R {
        let bottom = self.bottom;
        if bottom == NONE {
            return R::default();
        }
        self.stream
            .with(|dom| dom.ptr::<Bottom>(bottom).map(|t| f(&mut t.0)))
            .unwrap_or_default()
    }

    // ---- flow ----

    /// There is no room above (canputnext fails on the read side), or there is again: then
    /// who was told to wait is back-enabled.
    pub fn full_above(&mut self, full: bool) {
        let q = self.top;
        self.stream.with(|dom| set_full(dom, q, full));
    }
    /// The same below, for the write side.
    pub fn full_below(&mut self, full: bool) {
        if self.bottom != NONE {
            let q = self.bottom + 1;
            self.stream.with(|dom| set_full(dom, q, full));
        }
    }

    // ---- time and schedule ----

    /// Does one round of what is ready; false if there was nothing.
    pub fn step(&mut self) -> bool {
        self.kernel.step()
    }
    /// Runs until there is nothing ready. Returns the rounds.
    pub fn run(&mut self) -> usize {
        self.kernel.run_until_idle()
    }
    /// Time passes; what falls due on the way runs at its time.
    pub fn advance(&mut self, by: Duration) {
        self.kernel.advance(by);
    }

    // ---- looking in ----

    /// The instance (`q_ptr`); `None` once it is closed.
    pub fn module<R>(&mut self, f: impl FnOnce(&mut M) -> R) -> Option<R> {
        if self.closed {
            return None;
        }
        let pair = self.pair;
        self.stream.with(|dom| dom.ptr::<M>(pair).map(f))
    }
    /// What the instances share; `None` once the module is closed.
    pub fn shared<R>(&mut self, f: impl FnOnce(&mut M::Shared) -> R) -> Option<R> {
        if self.closed {
            return None;
        }
        let pair = self.pair;
        self.stream.with(|dom| dom.shared(pair).map(f))
    }
    /// One of the module's queues.
    pub fn queue(&mut self, side: Side) -> QueueView {
        let idx = self.pair + u32::from(side == Side::Write);
        self.stream.with(|dom| {
            let s = dom.slot(idx);
            QueueView {
                messages: s.list.len(),
                count: s.count,
                full: s.has(flag::QFULL),
                enabled: s.has(flag::QENAB),
            }
        })
    }
    /// Drops so far: module, reason, how many.
    pub fn drops(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.kernel.drops()
    }
    /// The kernel, to register more with or to trace.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    // ---- ioctls ----

    /// An M_IOCTL as I_STR sends it, and everything that is ready run: what became of it.
    pub fn ioctl(&mut self, cmd: i32, data: &[u8]) -> Outcome {
        let body = (!data.is_empty()).then(|| Msg::data(data));
        let id = self.send_ioctl(cmd, data.len(), body);
        self.outcome(id, &mut [])
    }

    /// A transparent M_IOCTL whose argument points at `mem`: M_COPYIN and M_COPYOUT are
    /// answered from and to it.
    pub fn transparent(&mut self, cmd: i32, mem: &mut [u8]) -> Outcome {
        let arg = Msg::data(&USER_BASE.to_ne_bytes());
        let id = self.send_ioctl(cmd, TRANSPARENT, Some(arg));
        self.outcome(id, mem)
    }

    fn send_ioctl(&mut self, cmd: i32, count: usize, body: Option<Msg>) -> u32 {
        self.next_ioc += 1;
        let ioc = IocBlk {
            cmd,
            cr: self.process.cred(),
            id: self.next_ioc,
            count,
            rval: 0,
            error: 0,
        };
        let mut mp = Msg::control(MsgType::Ioctl, Ctl::Ioc(ioc));
        mp.set_cont(body);
        self.down(mp);
        self.next_ioc
    }

    fn outcome(&mut self, id: u32, mem: &mut [u8]) -> Outcome {
        loop {
            self.run();
            let mine = |m: &Msg| match m.ctl() {
                Some(Ctl::Ioc(i)) => i.id == id,
                Some(Ctl::CopyReq(c)) => c.id == id,
                _ => false,
            };
            if let Some(mp) = self.end_below(|e| e.take(mine)) {
                return Outcome::Passed(mp);
            }
            let Some(mut mp) = self.end_above(|e| e.take(mine)) else {
                return Outcome::Held;
            };
            let error = mp.ioc().map_or(0, |i| i.error);
            match mp.ty() {
                MsgType::IocAck if error == 0 => {
                    let rval = mp.ioc().map_or(0, |i| i.rval);
                    let data = mp.take_cont().map(|m| m.to_vec()).unwrap_or_default();
                    return Outcome::Ack(rval, data);
                }
                MsgType::IocAck | MsgType::IocNak => {
                    return Outcome::Nak(Errno::from_number(error));
                }
                _ => self.copy(mp, mem),
            }
        }
    }

    /// Answers an M_COPYIN or M_COPYOUT as the head does.
    fn copy(&mut self, mut mp: Msg, mem: &mut [u8]) {
        let is_in = mp.ty() == MsgType::CopyIn;
        let Some(Ctl::CopyReq(c)) = mp.set_ctl(None) else {
            return;
        };
        let start = c.addr.checked_sub(USER_BASE);
        let start = start.and_then(|s| usize::try_from(s).ok());
        let range = start.and_then(|s| Some(s..s.checked_add(c.size)?));
        let user = range.and_then(|r| mem.get_mut(r));
        let from = mp.take_cont();
        let (rval, data) = match user {
            None => (Errno::EFAULT.number(), None),
            Some(u) if is_in => (0, Some(Msg::data(u))),
            Some(u) => {
                let from = from.map(|m| m.to_vec()).unwrap_or_default();
                let n = from.len().min(u.len());
                u[..n].copy_from_slice(&from[..n]);
                (0, None)
            }
        };
        let resp = CopyResp {
            cmd: c.cmd,
            cr: c.cr,
            id: c.id,
            rval,
            private: c.private,
        };
        let mut answer = Msg::control(MsgType::IocData, Ctl::CopyResp(resp));
        answer.set_cont(data);
        self.down(answer);
    }

    // ---- the end ----

    /// Closes the module: its close runs, and what it sends is recorded.
    pub fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if let Some(fd) = self.fd {
            let _ = self
                .process
                .set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK);
            let _ = self.process.close(fd); // it is open: the bench alone has it
            return;
        }
        let reg = self.kernel.env.registry.read();
        let Some(entry) = reg.modules.get(M::INFO.name).cloned() else {
            return;
        };
        drop(reg);
        let how = Close {
            flag: oflag::O_NONBLOCK,
            cred: self.process.cred(),
        };
        let gone = self.kernel.env.block_on(async {
            self.stream.take_down(self.pair, &entry, &how).await;
            Ok(())
        });
        if gone.is_err() {
            // It waits for ever: its queues go all the same.
            let pair = self.pair;
            self.stream.with(|dom| dom.detach(pair));
        }
    }
}

impl<M: Module> Drop for Bench<M> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A kernel whose service procedures run step by step and whose time stands still.
fn stepped() -> Result<Kernel, Errno> {
    let config = Config {
        stepped: true,
        ..Config::test()
    };
    Kernel::with_config(config).map_err(|_| Errno::ENFILE)
}

/// A queue of an end that has no room, or has again.
fn set_full(dom: &mut Domain, idx: u32, full: bool) {
    let s = dom.slot_mut(idx);
    if full {
        s.flag |= flag::QFULL;
        return;
    }
    s.flag &= !flag::QFULL;
    if s.has(flag::QWANTW) {
        s.flag &= !flag::QWANTW;
        dom.backenable(idx);
    }
}
