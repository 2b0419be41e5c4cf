//! The probe as a module, a driver and a multiplexor: its entry points.
//!
//! ```text
//!   put ─► seen ─┬─ M_FLUSH: as it should be        M_IOCTL: ioctl.rs
//!                └─ the side's policy: pass, sink, queue, echo, inner, outer
//!   interrupt, timeout ─► what the case has asked for: perform.rs
//! ```

use streams::message::Ctl;
use streams::prelude::*;
use streams::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK};

use super::ioctl::give_answer;
use super::perform::perform;
use super::{Inst, OnOpen, Op, Place, Policy, Side, bench, inst, num};
use crate::scenario::message::describe;
use crate::scenario::text::Tok;

pub(super) const PROBE: u8 = 0;
pub(super) const PASS: u8 = 1;
pub(super) const PERQ: u8 = 2;
pub(super) const QPAIR: u8 = 3;
pub(super) const PERMOD: u8 = 4;
pub(super) const PUTSHARE: u8 = 5;
pub(super) const OUTER: u8 = 6;

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
pub(super) trait Numbered: Module {
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
