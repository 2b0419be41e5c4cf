//! mux: a multiplexor to learn from. Any number of streams above, any number linked below,
//! and a table of who talks to whom.
//!
//! ```text
//!    upper 0      upper 1      upper 2         streams open to /dev/mux, by minor
//!       │ ▲          │            │
//!       ▼ │          ▼            ▼            MUX_ROUTE: which lower stream I write to
//!    ───┴─┼──────────┴─────────┐  │
//!         │                    ▼  ▼
//!      lower 7 ──────────►  lower 8            linked streams, by multiplexor id
//!                                              MUX_INPUT: which upper stream reads it
//! ```
//!
//! The first link of an upper stream joins the two both ways. A message that has nowhere to
//! go is a counted drop. Flow control works through the middle in both directions: a full
//! lower stream holds the uppers' write queues, a full upper one the lower's read queue.
//!
//! Spec: the STREAMS Programming Guide, "Multiplexing"; the reference's 4.5.
//! Kept: the lower side acts as its stream's head (M_FLUSH turned, stray M_IOCTL refused).

use std::collections::BTreeMap;

use crate::prelude::*;
use crate::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK};

/// What this stream writes goes to this multiplexor id (I_STR, int).
pub const MUX_ROUTE: i32 = (b'm' as i32) << 8 | 1;
/// What comes up this multiplexor id is read here (I_STR, int).
pub const MUX_INPUT: i32 = (b'm' as i32) << 8 | 2;

/// One stream of the multiplexor: above by its minor, below by its multiplexor id.
pub struct Mux(i32);

/// Who talks to whom.
#[derive(Default)]
pub struct Table {
    uppers: BTreeMap<i32, Upper>,
    lowers: BTreeMap<i32, Lower>,
}

/// A stream above.
struct Upper {
    /// Its write queue.
    wq: QRef,
    /// The stream below that it writes to.
    down: Option<i32>,
}

/// A stream below.
struct Lower {
    /// Its write queue, which is ours while it is linked.
    wq: QRef,
    /// The stream above that reads it.
    up: Option<i32>,
}

impl Module for Mux {
    type Shared = Table;
    const INFO: ModuleInfo = ModuleInfo::named(0x6d75, "mux");
    const PERIMETER: Perimeter = Perimeter::MTPERMOD;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(upper_rsrv);
    const WRITE: QInit<Self> = QInit::put(upper_wput).srv(upper_wsrv);
    const MUX: Option<(QInit<Self>, QInit<Self>)> = Some((
        QInit::put(lower_rput).srv(lower_rsrv),
        QInit::put(|q, mp| q.putnext(mp)).srv(lower_wsrv),
    ));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let wq = q.wr().qref();
        let uppers = &mut q.shared().uppers;
        let free = || (0..i32::MAX).find(|m| !uppers.contains_key(m));
        let minor = match how.minor {
            Some(m) => i32::try_from(m).map_err(|_| Errno::ENXIO)?,
            None => free().ok_or(Errno::ENXIO)?,
        };
        how.minor = Some(minor as u32);
        uppers.insert(minor, Upper { wq, down: None });
        Ok(Mux(minor))
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let minor = q.ptr().0;
        let t = q.shared();
        t.uppers.remove(&minor);
        for l in t.lowers.values_mut().filter(|l| l.up == Some(minor)) {
            l.up = None;
        }
        Wait::Done
    }
}

impl Table {
    /// The write queue below an upper stream.
    fn below(&self, minor: i32) -> Option<QRef> {
        let id = self.uppers.get(&minor)?.down?;
        self.lowers.get(&id).map(|l| l.wq)
    }
    /// The write queue of the stream above a lower one; its partner is the read queue.
    fn above(&self, id: i32) -> Option<QRef> {
        let minor = self.lowers.get(&id)?.up?;
        self.uppers.get(&minor).map(|u| u.wq)
    }
}

// ---- the upper side: a driver ----

fn upper_wput(q: &mut Queue<'_, Mux>, mp: Msg) {
    match mp.ty() {
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        MsgType::Flush => q.flush_driver(mp),
        _ if mp.is_high_pri() => send_down(q, mp),
        _ => q.putq(mp),
    }
}

fn upper_wsrv(q: &mut Queue<'_, Mux>) {
    while let Some(mp) = q.getq() {
        if !mp.is_high_pri() && !room_below(q, mp.band()) {
            return q.putbq(mp); // lower_wsrv wakes us
        }
        send_down(q, mp);
    }
}

/// Room below this upper stream? Nowhere to send counts as room: the message is dropped.
fn room_below(q: &mut Queue<'_, Mux>, band: u8) -> bool {
    let minor = q.ptr().0;
    let below = q.shared().below(minor);
    match below.and_then(|b| q.at(b)) {
        Some(mut low) => low.bcanputnext(band),
        None => true,
    }
}

fn send_down(q: &mut Queue<'_, Mux>, mp: Msg) {
    let minor = q.ptr().0;
    match q.shared().below(minor) {
        Some(low) => q.putnext_of(low, mp),
        None => q.discard(mp, "no stream below"),
    }
}

/// Back-enabled from above: the streams that feed this one may go on.
fn upper_rsrv(q: &mut Queue<'_, Mux>) {
    let minor = q.ptr().0;
    let feeders: Vec<QRef> = q
        .shared()
        .lowers
        .values()
        .filter(|l| l.up == Some(minor))
        .map(|l| l.wq)
        .collect();
    for wq in feeders {
        if let Some(mut low) = q.at(wq) {
            low.rd().qenable();
        }
    }
}

// ---- the lower side: a stream head ----

fn lower_rput(q: &mut Queue<'_, Mux>, mut mp: Msg) {
    match mp.ty() {
        MsgType::Flush => {
            q.flush_sides(&mp, true, false);
            let how = mp.rd().first().copied().unwrap_or(0);
            if how & FLUSHW == 0 {
                return q.freemsg(mp);
            }
            if let Some(b) = mp.rd_mut().first_mut() {
                *b = how & (FLUSHW | FLUSHBAND) & !FLUSHR;
            }
            q.qreply(mp);
        }
        MsgType::Ioctl => {
            mp.set_ty(MsgType::IocNak);
            q.qreply(mp);
        }
        // Answers to nobody's question: we send no ioctls of our own.
        MsgType::IocAck | MsgType::IocNak | MsgType::CopyIn | MsgType::CopyOut => q.freemsg(mp),
        _ if mp.is_high_pri() => send_up(q, mp),
        _ => q.putq(mp),
    }
}

fn lower_rsrv(q: &mut Queue<'_, Mux>) {
    while let Some(mp) = q.getq() {
        if !mp.is_high_pri() && !room_above(q, mp.band()) {
            return q.putbq(mp); // upper_rsrv wakes us
        }
        send_up(q, mp);
    }
}

fn room_above(q: &mut Queue<'_, Mux>, band: u8) -> bool {
    let above = lower_id(q).and_then(|id| q.shared().above(id));
    match above.and_then(|a| q.at(a)) {
        Some(mut up) => up.rd().bcanputnext(band),
        None => true,
    }
}

fn send_up(q: &mut Queue<'_, Mux>, mp: Msg) {
    let above = lower_id(q).and_then(|id| q.shared().above(id));
    match above.and_then(|a| q.at(a)) {
        Some(mut up) => up.rd().putnext(mp),
        None => q.discard(mp, "no stream above"),
    }
}

/// Back-enabled from below: the streams that write here may go on.
fn lower_wsrv(q: &mut Queue<'_, Mux>) {
    let Some(id) = lower_id(q) else { return };
    let writers: Vec<QRef> = q
        .shared()
        .uppers
        .values()
        .filter(|u| u.down == Some(id))
        .map(|u| u.wq)
        .collect();
    for wq in writers {
        if let Some(mut up) = q.at(wq) {
            up.qenable();
        }
    }
}

/// The multiplexor id of a lower queue; none while the link is being made or undone.
fn lower_id(q: &mut Queue<'_, Mux>) -> Option<i32> {
    q.try_ptr().map(|m| m.0)
}

// ---- ioctls ----

fn ioctl(q: &mut Queue<'_, Mux>, mut mp: Msg) {
    let r = match mp.ioctl_cmd() {
        Some(I_LINK | I_PLINK) => link(q, &mp),
        Some(I_UNLINK | I_PUNLINK) => unlink(q, &mp),
        Some(MUX_ROUTE) => id_of(&mut mp).and_then(|id| route(q, id, true, false)),
        Some(MUX_INPUT) => id_of(&mut mp).and_then(|id| route(q, id, false, true)),
        _ => Err(Errno::EINVAL),
    };
    match r {
        Ok(()) => q.iocack0(mp, 0),
        Err(e) => q.iocnak(mp, e),
    }
}

fn id_of(mp: &mut Msg) -> Result<i32, Errno> {
    let arg = mp.miocpullup(4)?;
    arg.try_into()
        .map(i32::from_ne_bytes)
        .map_err(|_| Errno::EINVAL)
}

fn link_block(mp: &Msg) -> Result<LinkBlk, Errno> {
    match mp.cont().and_then(Msg::ctl) {
        Some(Ctl::Link(l)) => Ok(*l),
        _ => Err(Errno::EINVAL),
    }
}

fn link(q: &mut Queue<'_, Mux>, mp: &Msg) -> Result<(), Errno> {
    let l = link_block(mp)?;
    q.at(l.qbot).ok_or(Errno::EINVAL)?.set_ptr(Mux(l.index));
    let low = Lower {
        wq: l.qbot,
        up: None,
    };
    q.shared().lowers.insert(l.index, low);
    let minor = q.ptr().0;
    let first = q
        .shared()
        .uppers
        .get(&minor)
        .is_some_and(|u| u.down.is_none());
    if first && l.qtop.is_some() {
        route(q, l.index, true, true)?;
    }
    Ok(())
}

fn unlink(q: &mut Queue<'_, Mux>, mp: &Msg) -> Result<(), Errno> {
    let l = link_block(mp)?;
    let t = q.shared();
    t.lowers.remove(&l.index).ok_or(Errno::EINVAL)?;
    for u in t.uppers.values_mut().filter(|u| u.down == Some(l.index)) {
        u.down = None;
    }
    Ok(())
}

/// Sets where this upper stream writes to, what it reads from, or both.
fn route(q: &mut Queue<'_, Mux>, id: i32, down: bool, up: bool) -> Result<(), Errno> {
    let minor = q.ptr().0;
    let t = q.shared();
    let low = t.lowers.get_mut(&id).ok_or(Errno::ENXIO)?;
    if up {
        low.up = Some(minor);
    }
    let wq = low.wq;
    if down && let Some(u) = t.uppers.get_mut(&minor) {
        u.down = Some(id);
    }
    // What waited for the former way looks again.
    q.wr().qenable();
    if let Some(mut low) = q.at(wq) {
        low.rd().qenable();
    }
    Ok(())
}
