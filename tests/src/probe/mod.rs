//! probe: a driver, a module and a multiplexor that do what a case tells them to.
//!
//! ```text
//!   case ──► ops ──► doorbell ──► interrupt: putnext, putq, getq, canputnext .. ──► result
//!   put procedures ──► seen (every message, before anything is done to it)
//!   M_IOCTL ──► the next answer of the script: ack, nak, copyin, copyout, hold, drop
//! ```
//!
//! Each is registered as a driver and as a module. Left alone, a module hands everything
//! on, a driver frees data, refuses ioctls and turns M_FLUSH round; both flush as they
//! should.
//!
//! | name | perimeter | service procedures |
//! |---|---|---|
//! | `probe` | none | both sides |
//! | `pass` | none | none |
//! | `perq` `qpair` `permod` `putshare` `outer` | D_MTPERQ, D_MTQPAIR, D_MTPERMOD, QPAIR + PUTSHARED, QPAIR + OUTPERIM | both sides |
//! | `probemux` | none | both sides; can have streams linked below |
//!
//! What a probe is told and what it saw is kept by thread: a case runs on one.

mod ioctl;
mod module;
mod perform;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use streams::prelude::*;
use streams::{Doorbell, Kernel, Process, Signal};

use crate::scenario::text::Tok;
use ioctl::{Answer, parse_answer};
pub use module::{Mux, Probe};
use module::{OUTER, PASS, PERMOD, PERQ, PROBE, PUTSHARE, QPAIR};

/// A side of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Messages from below.
    Rd,
    /// Messages from above.
    Wr,
}

impl Side {
    fn of<M: Module>(q: &Queue<'_, M>) -> Side {
        if q.is_read() { Side::Rd } else { Side::Wr }
    }
}

/// Where an instance stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// At the bottom of a stream.
    Driver,
    /// Pushed.
    Module,
    /// The lower side of a multiplexor.
    Lower,
}

/// What is done with a message that is not control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    /// putnext.
    Pass,
    /// freemsg.
    Sink,
    /// putq; the service procedure passes it on, or frees it at the end of a stream.
    Queue,
    /// qreply.
    Echo,
    /// qwriter(PERIM_INNER); the writer then passes it on.
    Inner,
    /// qwriter(PERIM_OUTER).
    Outer,
}

/// What the next open of a probe does.
#[derive(Clone, Debug)]
enum OnOpen {
    Fail(Errno),
    Minor(u32),
    /// It waits for a message (qwait(9F)).
    Wait,
}

/// What a case knows of one instance.
struct Inst {
    place: Place,
    bell: Option<Doorbell>,
    /// For a lower side: its write queue, and who can reach it.
    lower: Option<(QRef, usize)>,
    alive: bool,
    ops: VecDeque<Op>,
    result: Option<Result<Vec<Tok>, String>>,
    seen: [Vec<Vec<Tok>>; 2],
    policy: [Policy; 2],
    stopped: [bool; 2],
    /// How often the service procedure has run.
    served: [u32; 2],
    answers: VecDeque<Answer>,
    held: VecDeque<Msg>,
    /// What a timeout does.
    timers: Vec<Op>,
    /// A close that waits for a message (qwait(9F)).
    slow_close: bool,
    /// An open that waits until a message has come.
    slow_open: bool,
}

impl Inst {
    fn new(place: Place, bell: Option<Doorbell>) -> Inst {
        let policy = match place {
            Place::Module => [Policy::Pass; 2],
            Place::Driver => [Policy::Pass, Policy::Sink],
            Place::Lower => [Policy::Sink, Policy::Pass],
        };
        Inst {
            place,
            bell,
            lower: None,
            alive: true,
            ops: VecDeque::new(),
            result: None,
            seen: Default::default(),
            policy,
            stopped: [false; 2],
            served: [0; 2],
            answers: VecDeque::new(),
            held: VecDeque::new(),
            timers: Vec::new(),
            slow_close: false,
            slow_open: false,
        }
    }
}

#[derive(Clone, Debug)]
struct Op(Side, Vec<Tok>);

#[derive(Default)]
struct Bench {
    insts: Vec<Inst>,
    on_open: VecDeque<OnOpen>,
    /// Opens and closes in their order: `open probe`, `close pass`.
    life: Vec<Tok>,
    /// Which procedure of which probe was entered (true) and left, in order.
    path: Vec<(usize, &'static str, bool)>,
    process: Weak<Process>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Never held across a call into the kernel: a put may come back here.
fn bench<R>(f: impl FnOnce(&mut Bench) -> R) -> R {
    BENCH.with(|b| f(&mut b.borrow_mut()))
}

fn inst<R>(id: usize, f: impl FnOnce(&mut Inst) -> R) -> R {
    bench(|b| f(&mut b.insts[id]))
}

// ---- what the runner calls ----

/// Makes the probes known to a kernel, and forgets what earlier ones saw.
///
/// # Errors
/// EEXIST.
pub fn register(k: &Kernel) -> Result<(), Errno> {
    reset();
    fn both<const K: u8>(k: &Kernel) -> Result<(), Errno> {
        k.add_drv::<Probe<K>>()?;
        k.add_mod::<Probe<K>>()
    }
    both::<PROBE>(k)?;
    both::<PASS>(k)?;
    both::<PERQ>(k)?;
    both::<QPAIR>(k)?;
    both::<PERMOD>(k)?;
    both::<PUTSHARE>(k)?;
    both::<OUTER>(k)?;
    k.add_drv::<Mux>().map(|_| ())
}

/// Forgets everything. Messages held are freed.
pub fn reset() {
    let old = bench(std::mem::take);
    drop(old);
}

/// The number that the next instance will have.
pub fn next_id() -> usize {
    bench(|b| b.insts.len())
}

/// Where an instance stands.
pub fn place(id: usize) -> Place {
    inst(id, |i| i.place)
}

/// The process that `after .. kill` means.
pub fn set_process(p: &Arc<Process>) {
    bench(|b| b.process = Arc::downgrade(p));
}

/// What came to one side since it was last asked.
pub fn take_seen(id: usize, side: Side) -> Vec<Vec<Tok>> {
    inst(id, |i| std::mem::take(&mut i.seen[side as usize]))
}

/// Opens and closes since they were last asked for.
pub fn take_life() -> Vec<Tok> {
    bench(|b| std::mem::take(&mut b.life))
}

/// Procedures entered and left since they were last asked for: whose, which, entered.
pub fn take_path() -> Vec<(usize, &'static str, bool)> {
    bench(|b| std::mem::take(&mut b.path))
}

/// `%onopen`: what the next open does.
pub fn on_open(args: &[Tok]) -> Result<(), String> {
    let what = match args {
        [Tok::Word(w)] if w == "wait" => OnOpen::Wait,
        [Tok::Key(k, v)] if k == "minor" => OnOpen::Minor(num(v)? as u32),
        [Tok::Word(e)] => OnOpen::Fail(errno(e)?),
        _ => return Err("%onopen ERRNO | minor=N | wait".into()),
    };
    bench(|b| b.on_open.push_back(what));
    Ok(())
}

/// `%set`: how a side treats what comes.
pub fn set(id: usize, side: Option<Side>, how: &str) -> Result<(), String> {
    let side = side.unwrap_or(Side::Wr) as usize;
    inst(id, |i| {
        match how {
            "pass" => i.policy[side] = Policy::Pass,
            "sink" => i.policy[side] = Policy::Sink,
            "queue" => i.policy[side] = Policy::Queue,
            "echo" => i.policy[side] = Policy::Echo,
            "inner" => i.policy[side] = Policy::Inner,
            "outer" => i.policy[side] = Policy::Outer,
            "stop" => i.stopped[side] = true,
            "go" => i.stopped[side] = false,
            "slowclose" => i.slow_close = true,
            _ => return Err(format!("no such way: {how}")),
        }
        Ok(())
    })
}

/// `%answer`: what the next M_IOCTL or M_IOCDATA gets.
pub fn answer(id: usize, args: &[Tok]) -> Result<(), String> {
    let a = parse_answer(args)?;
    inst(id, |i| i.answers.push_back(a));
    Ok(())
}

/// Has an instance do something on one side; `idle` is what makes interrupts run.
///
/// `None`: the doorbell was rung, but the interrupt did not run.
///
/// # Errors
/// The case is written wrongly.
pub fn run(
    id: usize,
    side: Side,
    op: &[Tok],
    idle: impl FnOnce(),
) -> Result<Option<Vec<Tok>>, String> {
    let bell = bench(|b| {
        // A lower side has the upper one act for it, as long as that is open.
        let upper = b.insts[id]
            .lower
            .map(|(_, upper)| upper)
            .filter(|u| b.insts[*u].alive);
        let at = upper.unwrap_or(id);
        let mut op = op.to_vec();
        if upper.is_some() {
            op.insert(0, Tok::key("of", Tok::Num(id as i64)));
        }
        b.insts[at].ops.push_back(Op(side, op));
        b.insts[at].bell.clone().map(|bell| (bell, at))
    });
    let Some((bell, at)) = bell else {
        return Err("it has no doorbell".into());
    };
    bell.ring();
    idle();
    let result = inst(at, |i| {
        i.ops.clear();
        i.result.take()
    });
    result.transpose()
}

/// A time as a case writes it.
pub fn show_time(t: Duration) -> String {
    if t.subsec_millis() == 0 {
        format!("{}s", t.as_secs())
    } else {
        format!("{}ms", t.as_millis())
    }
}

/// The error of this name.
pub fn errno(name: &str) -> Result<Errno, String> {
    Errno::from_name(name).ok_or_else(|| format!("no error is called {name}"))
}

/// The signal of this name.
pub fn signal(name: &str) -> Result<Signal, String> {
    use Signal::*;
    [
        SIGHUP, SIGINT, SIGPIPE, SIGALRM, SIGTERM, SIGURG, SIGPOLL, SIGTSTP,
    ]
    .into_iter()
    .find(|s| format!("{s:?}") == name)
    .ok_or_else(|| format!("no signal is called {name}"))
}

fn num(t: &Tok) -> Result<i64, String> {
    match t {
        Tok::Num(n) => Ok(*n),
        t => Err(format!("{t} is no number")),
    }
}
