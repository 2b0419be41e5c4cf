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

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use streams::message::{CopyReq, Ctl, IocBlk, TRANSPARENT};
use streams::prelude::*;
use streams::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK, USER_BASE};
use streams::{Doorbell, Kernel, Process, QField, Signal};

use crate::scenario::message::{build, describe};
use crate::scenario::text::Tok;

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

/// What an M_IOCTL or M_IOCDATA is answered with.
#[derive(Clone, Debug)]
enum Answer {
    Ack {
        rval: i32,
        error: i32,
        data: Option<Vec<u8>>,
    },
    Nak(i32),
    CopyIn {
        addr: Option<u64>,
        size: usize,
    },
    CopyOut {
        addr: Option<u64>,
        data: Vec<u8>,
    },
    /// Keeps it until `reply`.
    Hold,
    /// Frees it: no answer ever.
    Drop,
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

// ---- the module ----

const PROBE: u8 = 0;
const PASS: u8 = 1;
const PERQ: u8 = 2;
const QPAIR: u8 = 3;
const PERMOD: u8 = 4;
const PUTSHARE: u8 = 5;
const OUTER: u8 = 6;

/// A probe of one kind.
pub struct Probe<const K: u8> {
    id: usize,
}

const fn name(kind: u8) -> &'static str {
    match kind {
        PROBE => "probe",
        PASS => "pass",
        PERQ => "perq",
        QPAIR => "qpair",
        PERMOD => "permod",
        PUTSHARE => "putshare",
        _ => "outer",
    }
}

impl<const K: u8> Module for Probe<K> {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x7000 + K as u16, name(K));
    const PERIMETER: Perimeter = match K {
        PROBE | PASS => Perimeter::MTSAFE,
        PERQ => Perimeter::MTPERQ,
        QPAIR => Perimeter::MTQPAIR,
        PERMOD => Perimeter::MTPERMOD,
        PUTSHARE => Perimeter::MTQPAIR.put_shared(),
        _ => Perimeter::MTQPAIR.outer(),
    };
    const READ: QInit<Self> = match K {
        PASS => QInit::put(put),
        _ => QInit::put(put).srv(srv),
    };
    const WRITE: QInit<Self> = match K {
        PASS => QInit::put(put),
        _ => QInit::put(put).srv(srv),
    };

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        open(q, how).map(|id| Probe { id })
    }
    fn reopen(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<(), Errno> {
        reopen(how)
    }
    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        let id = q.ptr().id;
        let waits = inst(id, |i| i.slow_open && i.seen.iter().all(Vec::is_empty));
        Ok(if waits { Wait::Again } else { Wait::Done })
    }
    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        close(q.ptr().id, Self::INFO.name)
    }
    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        timeout(q, tag);
    }
    fn bufcall(q: &mut Queue<'_, Self>, tag: u64) {
        timeout(q, tag);
    }
    fn writer(q: &mut Queue<'_, Self>, mp: Msg, _: u32) {
        writer(q, mp);
    }
    fn interrupt(q: &mut Queue<'_, Self>) {
        interrupt(q);
    }
}

/// The probe that has streams linked below it.
pub struct Mux {
    id: usize,
}

impl Module for Mux {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x7100, "probemux");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(put).srv(srv);
    const WRITE: QInit<Self> = QInit::put(mux_wput).srv(srv);
    const MUX: Option<(QInit<Self>, QInit<Self>)> =
        Some((QInit::put(put).srv(srv), QInit::put(put).srv(srv)));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        open(q, how).map(|id| Mux { id })
    }
    fn reopen(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<(), Errno> {
        reopen(how)
    }
    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        close(q.ptr().id, "probemux")
    }
    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        timeout(q, tag);
    }
    fn bufcall(q: &mut Queue<'_, Self>, tag: u64) {
        timeout(q, tag);
    }
    fn writer(q: &mut Queue<'_, Self>, mp: Msg, _: u32) {
        writer(q, mp);
    }
    fn interrupt(q: &mut Queue<'_, Self>) {
        interrupt(q);
    }
}

/// Both kinds know their number.
trait Numbered: Module {
    fn id(&self) -> usize;
}
impl<const K: u8> Numbered for Probe<K> {
    fn id(&self) -> usize {
        self.id
    }
}
impl Numbered for Mux {
    fn id(&self) -> usize {
        self.id
    }
}

fn open<M: Module>(q: &mut Queue<'_, M>, how: &mut Open) -> Result<usize, Errno> {
    let place = if how.sflag == SFlag::Module {
        Place::Module
    } else {
        Place::Driver
    };
    let bell = q.doorbell();
    bench(|b| {
        let mut slow = false;
        b.life
            .push(Tok::word(format!("open:{}:{}", how.name, sflag(how))));
        match b.on_open.pop_front() {
            Some(OnOpen::Fail(e)) => return Err(e),
            Some(OnOpen::Minor(m)) => how.minor = Some(m),
            Some(OnOpen::Wait) => slow = true,
            None => {}
        }
        b.insts.push(Inst::new(place, Some(bell)));
        if let Some(i) = b.insts.last_mut() {
            i.slow_open = slow;
        }
        Ok(b.insts.len() - 1)
    })
}

fn sflag(how: &Open) -> &'static str {
    match how.sflag {
        SFlag::Driver => "drv",
        SFlag::Module => "mod",
        SFlag::Clone => "clone",
    }
}

fn reopen(how: &mut Open) -> Result<(), Errno> {
    bench(|b| {
        b.life
            .push(Tok::word(format!("reopen:{}:{}", how.name, sflag(how))));
        match b.on_open.pop_front() {
            Some(OnOpen::Fail(e)) => Err(e),
            _ => Ok(()),
        }
    })
}

fn close(id: usize, name: &str) -> Wait {
    bench(|b| {
        if std::mem::take(&mut b.insts[id].slow_close) {
            b.life.push(Tok::word(format!("closing:{name}")));
            return Wait::Again;
        }
        b.life.push(Tok::word(format!("close:{name}")));
        b.insts[id].alive = false;
        Wait::Done
    })
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

fn timeout<M: Numbered>(q: &mut Queue<'_, M>, tag: u64) {
    let id = q.ptr().id();
    let op = inst(id, |i| i.timers.get(tag as usize).cloned());
    if let Some(Op(side, toks)) = op {
        let r = on_side(q, side, &toks);
        if let Err(e) = r {
            inst(id, |i| i.result = Some(Err(e)));
        }
    }
}

fn interrupt<M: Numbered>(q: &mut Queue<'_, M>) {
    let id = q.ptr().id();
    while let Some(Op(side, toks)) = inst(id, |i| i.ops.pop_front()) {
        let r = match toks.split_first() {
            Some((Tok::Key(k, v), rest)) if k == "of" => on_lower(q, side, v, rest),
            _ => on_side(q, side, &toks),
        };
        inst(id, |i| i.result = Some(r));
    }
}

fn on_side<M: Numbered>(q: &mut Queue<'_, M>, s: Side, op: &[Tok]) -> Result<Vec<Tok>, String> {
    match s {
        Side::Rd => perform(&mut q.rd(), op),
        Side::Wr => perform(&mut q.wr(), op),
    }
}

fn on_lower<M: Numbered>(
    q: &mut Queue<'_, M>,
    side: Side,
    low: &Tok,
    op: &[Tok],
) -> Result<Vec<Tok>, String> {
    let id = num(low)? as usize;
    let Some((qbot, _)) = inst(id, |i| i.lower) else {
        return Err("no lower side".into());
    };
    match q.at(qbot) {
        Some(mut lower) => on_side(&mut lower, side, op),
        None => Err("the lower queue is gone".into()),
    }
}

fn put<M: Numbered>(q: &mut Queue<'_, M>, mp: Msg) {
    let Some(m) = q.try_ptr() else {
        return q.discard(mp, "a probe without an instance");
    };
    let (id, side) = (m.id(), Side::of(q));
    let text = describe(&mp);
    let (place, policy, scripted) = inst(id, |i| {
        i.seen[side as usize].push(text);
        (i.place, i.policy[side as usize], !i.answers.is_empty())
    });
    let asks = matches!(mp.ty(), MsgType::Ioctl | MsgType::IocData);
    let which = if side == Side::Rd { "rd" } else { "wr" };
    bench(|b| b.path.push((id, which, true)));
    match (place, side, mp.ty()) {
        (Place::Driver, Side::Wr, MsgType::Flush) => q.flush_driver(mp),
        (Place::Module, _, MsgType::Flush) => q.flush_module(mp),
        (Place::Driver, Side::Wr, _) if asks => give_answer(q, id, mp),
        (Place::Module, Side::Wr, _) if asks && scripted => give_answer(q, id, mp),
        _ => match policy {
            Policy::Pass if q.has_next() => q.putnext(mp),
            Policy::Pass | Policy::Sink => q.freemsg(mp),
            Policy::Queue => q.putq(mp),
            Policy::Echo => q.qreply(mp),
            Policy::Inner => q.qwriter_inner(mp, 0),
            Policy::Outer => q.qwriter_outer(mp, 0),
        },
    }
    bench(|b| b.path.push((id, which, false)));
}

fn writer<M: Numbered>(q: &mut Queue<'_, M>, mp: Msg) {
    let id = q.ptr().id();
    bench(|b| b.path.push((id, "writer", true)));
    if q.has_next() {
        q.putnext(mp)
    } else {
        q.freemsg(mp)
    }
    bench(|b| b.path.push((id, "writer", false)));
}

fn srv<M: Numbered>(q: &mut Queue<'_, M>) {
    let Some(m) = q.try_ptr() else { return };
    let (id, side) = (m.id(), Side::of(q));
    inst(id, |i| i.served[side as usize] += 1);
    while !inst(id, |i| i.stopped[side as usize]) {
        let Some(mp) = q.getq() else { return };
        if !q.has_next() {
            q.freemsg(mp);
            continue;
        }
        if !mp.is_high_pri() && !q.bcanputnext(mp.band()) {
            return q.putbq(mp);
        }
        q.putnext(mp);
    }
}

/// The multiplexor's upper write side: as a driver's, but it says yes to a link and gives
/// the lower queues an instance.
fn mux_wput(q: &mut Queue<'_, Mux>, mp: Msg) {
    let cmd = mp.ioc().map_or(0, |i| i.cmd);
    let link = match mp.cont().and_then(Msg::ctl) {
        Some(Ctl::Link(l)) if mp.ty() == MsgType::Ioctl => Some(*l),
        _ => None,
    };
    let (Some(link), I_LINK | I_PLINK | I_UNLINK | I_PUNLINK) = (link, cmd) else {
        return put(q, mp);
    };
    let upper = q.ptr().id();
    let text = describe(&mp);
    let scripted = inst(upper, |i| {
        i.seen[Side::Wr as usize].push(text);
        !i.answers.is_empty()
    });
    if matches!(cmd, I_LINK | I_PLINK) {
        let id = bench(|b| {
            let mut i = Inst::new(Place::Lower, None);
            i.lower = Some((link.qbot, upper));
            b.insts.push(i);
            b.insts.len() - 1
        });
        if let Some(mut lower) = q.at(link.qbot) {
            lower.set_ptr(Mux { id });
            let bell = lower.doorbell();
            inst(id, |i| i.bell = Some(bell));
        }
    }
    if scripted {
        return give_answer(q, upper, mp);
    }
    let mut mp = mp;
    if let Some(data) = mp.take_cont() {
        q.freemsg(data);
    }
    q.iocack(mp, 0);
}

/// Answers with the next of the script; M_IOCNAK with EINVAL if there is none.
fn give_answer<M: Numbered>(q: &mut Queue<'_, M>, id: usize, mp: Msg) {
    // A copy that failed is the end of it (the reference's 3.4).
    if let Some(Ctl::CopyResp(r)) = mp.ctl()
        && r.rval != 0
    {
        return q.freemsg(mp);
    }
    let a = inst(id, |i| i.answers.pop_front()).unwrap_or(Answer::Nak(Errno::EINVAL.number()));
    carry_out(q, id, mp, a);
}

fn carry_out<M: Numbered>(q: &mut Queue<'_, M>, id: usize, mut mp: Msg, a: Answer) {
    match a {
        Answer::Hold => inst(id, |i| i.held.push_back(mp)),
        Answer::Drop => q.freemsg(mp),
        Answer::Nak(error) => {
            to_iocblk(&mut mp, MsgType::IocNak, -1, error);
            if let Some(rest) = mp.take_cont() {
                q.freemsg(rest);
            }
            q.qreply(mp);
        }
        Answer::Ack { rval, error, data } => {
            if let Some(old) = mp.set_cont(data.map(|d| Msg::data(&d))) {
                q.freemsg(old);
            }
            to_iocblk(&mut mp, MsgType::IocAck, rval, error);
            q.qreply(mp);
        }
        Answer::CopyIn { addr, size } => copy(q, mp, MsgType::CopyIn, addr, size, None),
        Answer::CopyOut { addr, data } => {
            let size = data.len();
            copy(q, mp, MsgType::CopyOut, addr, size, Some(Msg::data(&data)));
        }
    }
}

/// The head of an M_IOCTL or M_IOCDATA: command, who, id.
fn asked(mp: &Msg) -> Option<(i32, Cred, u32)> {
    match mp.ctl()? {
        Ctl::Ioc(i) => Some((i.cmd, i.cr, i.id)),
        Ctl::CopyResp(r) => Some((r.cmd, r.cr, r.id)),
        _ => None,
    }
}

fn to_iocblk(mp: &mut Msg, ty: MsgType, rval: i32, error: i32) {
    let Some((cmd, cr, id)) = asked(mp) else {
        return;
    };
    let count = mp.cont().map_or(0, Msg::msgsize);
    mp.set_ty(ty);
    mp.set_ctl(Some(Ctl::Ioc(IocBlk {
        cmd,
        cr,
        id,
        count,
        rval,
        error,
    })));
}

fn copy<M: Numbered>(
    q: &mut Queue<'_, M>,
    mut mp: Msg,
    ty: MsgType,
    addr: Option<u64>,
    size: usize,
    data: Option<Msg>,
) {
    let Some((cmd, cr, id)) = asked(&mp) else {
        return q.discard(mp, "no ioctl to answer");
    };
    // Without an address of its own, the one that the user gave as the argument.
    let arg = match mp.ioc() {
        Some(i) if i.count == TRANSPARENT => mp
            .cont()
            .and_then(|c| c.rd().try_into().ok())
            .map_or(USER_BASE, u64::from_ne_bytes),
        _ => USER_BASE,
    };
    let addr = addr.unwrap_or(arg);
    if let Some(old) = mp.set_cont(data) {
        q.freemsg(old);
    }
    mp.set_ty(ty);
    mp.set_ctl(Some(Ctl::CopyReq(CopyReq {
        cmd,
        cr,
        id,
        addr,
        size,
        private: None,
    })));
    q.qreply(mp);
}

fn parse_answer(args: &[Tok]) -> Result<Answer, String> {
    let mut rval = 0;
    let mut error = 0;
    let mut addr = None;
    let mut size = None;
    let mut data = None;
    for t in args.iter().skip(1) {
        match t {
            Tok::Key(k, v) => match (k.as_str(), &**v) {
                ("rval", v) => rval = num(v)? as i32,
                ("error", Tok::Word(e)) => error = errno(e)?.number(),
                ("addr", v) => addr = Some(num(v)? as u64),
                ("size", v) => size = Some(num(v)? as usize),
                _ => return Err(format!("an answer has no {k}")),
            },
            Tok::Bytes(b) => data = Some(b.clone()),
            Tok::Word(e) => error = errno(e)?.number(),
            Tok::Num(n) => size = Some(*n as usize),
        }
    }
    match args.first() {
        Some(t) if t.is("ack") => Ok(Answer::Ack { rval, error, data }),
        Some(t) if t.is("nak") => Ok(Answer::Nak(error)),
        Some(t) if t.is("hold") => Ok(Answer::Hold),
        Some(t) if t.is("drop") => Ok(Answer::Drop),
        Some(t) if t.is("copyin") => Ok(Answer::CopyIn {
            addr,
            size: size.ok_or("copyin SIZE")?,
        }),
        Some(t) if t.is("copyout") => Ok(Answer::CopyOut {
            addr,
            data: data.ok_or("copyout \"data\"")?,
        }),
        _ => Err("ack | nak | hold | drop | copyin SIZE | copyout \"data\"".into()),
    }
}

/// One `%do`: what a module may do with its queue, by the manual's names.
fn perform<M: Numbered>(q: &mut Queue<'_, M>, op: &[Tok]) -> Result<Vec<Tok>, String> {
    let id = q.ptr().id();
    let Some((Tok::Word(what), args)) = op.split_first() else {
        return Err("%do [@probe] [rd|wr] CALL ..".into());
    };
    let yes = |b: bool| Ok(vec![Tok::Num(i64::from(b))]);
    let arg = |i: usize| args.get(i).map_or(Ok(0), num);
    let flush = || match args.last() {
        Some(t) if t.is("FLUSHALL") => Flush::All,
        _ => Flush::Data,
    };
    match what.as_str() {
        "putnext" => q.putnext(build(args)?),
        "qreply" => q.qreply(build(args)?),
        "put" => {
            let me = q.qref();
            q.put(me, build(args)?);
        }
        "putq" => q.putq(build(args)?),
        "putbq" => q.putbq(build(args)?),
        "insq" => match q.insq(arg(0)? as usize, build(&args[1..])?) {
            Ok(()) => return yes(true),
            Err(mp) => {
                q.freemsg(mp);
                return yes(false);
            }
        },
        "getq" => return Ok(took(q.getq())),
        "rmvq" => return Ok(took(q.rmvq(arg(0)? as usize))),
        "flushq" => q.flushq(flush()),
        "flushband" => q.flushband(arg(0)? as u8, flush()),
        "qsize" => return Ok(vec![Tok::Num(q.qsize() as i64)]),
        "count" => return Ok(vec![Tok::Num(q.count() as i64)]),
        "messages" => {
            let texts: Vec<_> = q.messages().map(describe).collect();
            return Ok(if texts.is_empty() {
                vec![Tok::word("nothing")]
            } else {
                texts.join(&Tok::word(","))
            });
        }
        "canputnext" => return yes(q.canputnext()),
        "canput" => {
            let me = q.qref();
            return yes(q.canput(me));
        }
        "bcanputnext" => {
            let b = arg(0)? as u8;
            return yes(q.bcanputnext(b));
        }
        "strqset" => {
            let (field, band, value) = (arg(0)? as i32, arg(1)? as u8, arg(2)?);
            let set = QField::from_number(field).and_then(|f| q.strqset(f, band, value));
            return Ok(vec![Tok::word(set.err().map_or("done", |e| e.name()))]);
        }
        "strqget" => {
            let (field, band) = (arg(0)? as i32, arg(1)? as u8);
            let got = QField::from_number(field).and_then(|f| q.strqget(f, band));
            return Ok(vec![got.map_or_else(|e| Tok::word(e.name()), Tok::Num)]);
        }
        "allocb" => {
            let got = q.allocb(arg(0)? as usize);
            let there = got.is_some();
            if let Some(mp) = got {
                q.freemsg(mp);
            }
            return yes(there);
        }
        "bufcall" => {
            let op = Op(Side::of(q), args.to_vec());
            let tag = inst(id, |i| {
                i.timers.push(op);
                i.timers.len() - 1
            });
            q.qbufcall(tag as u64);
        }
        "unbufcall" => {
            let call = q.qbufcall(0);
            return yes(q.qunbufcall(call));
        }
        "qenable" => q.qenable(),
        "noenable" => q.noenable(),
        "enableok" => q.enableok(),
        "marks" => q.set_marks(arg(0)? as usize, arg(1)? as usize),
        "sizes" => q.set_packet_sizes(arg(0)?, arg(1)?),
        "putnextctl" => return yes(q.putnextctl(msg_type(args)?)),
        "putnextctl1" => {
            let (ty, byte) = (msg_type(args)?, arg(1)? as u8);
            return yes(q.putnextctl1(ty, byte));
        }
        "served" => {
            let side = Side::of(q) as usize;
            return Ok(vec![Tok::Num(
                inst(id, |i| std::mem::take(&mut i.served[side])).into(),
            )]);
        }
        "reply" => {
            let a = parse_answer(args)?;
            let mp = inst(id, |i| i.held.pop_front()).ok_or("it holds no ioctl")?;
            carry_out(&mut q.wr(), id, mp, a);
        }
        "twice" => {
            // The same thing again, within one entry: what a put procedure meets when it
            // is called while it runs.
            perform(q, args)?;
            return perform(q, args);
        }
        "after" => {
            let Some((Tok::Word(t), rest)) = args.split_first() else {
                return Err("after TIME CALL ..".into());
            };
            let after = crate::scenario::time(t)?;
            let op = Op(Side::of(q), rest.to_vec());
            let tag = inst(id, |i| {
                i.timers.push(op);
                i.timers.len() - 1
            });
            q.qtimeout(after, tag as u64);
        }
        "now" => return Ok(vec![Tok::word(show_time(q.now()))]),
        "kill" => {
            let Some(Tok::Word(s)) = args.first() else {
                return Err("kill SIGNAL".into());
            };
            let sig = signal(s)?;
            if let Some(p) = bench(|b| b.process.upgrade()) {
                p.kill(sig);
            }
        }
        other => return Err(format!("%do knows no {other}")),
    }
    Ok(Vec::new())
}

fn took(mp: Option<Msg>) -> Vec<Tok> {
    match mp {
        Some(mp) => describe(&mp),
        None => vec![Tok::word("nothing")],
    }
}

fn msg_type(args: &[Tok]) -> Result<MsgType, String> {
    match args.first() {
        Some(Tok::Word(w)) => {
            crate::scenario::message::type_named(w).ok_or_else(|| format!("no type {w}"))
        }
        _ => Err("a message type is missing".into()),
    }
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
