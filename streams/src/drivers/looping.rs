//! loop: two minors, joined by an ioctl; what is written to one is read from the other.
//!
//! ```text
//!   stream A   wput ─► wq ─► wsrv ──┐   ┌── wsrv ◄─ wq ◄─ wput   stream B
//!                                    ╳        canputnext of the other's read side;
//!              rsrv ◄────────────────┘└───► rsrv   back-enabled, it wakes the other's wq
//! ```
//!
//! `LOOP_SET` with the minor of the other stream joins them. A message written before that
//! is an error of the stream (M_ERROR ENXIO). When one closes the other is hung up.
//!
//! Spec: the STREAMS Programming Guide, "Loop-Around Driver".
//! Kept: LOOP_SET by I_STR with an int; EINVAL, ENXIO, EBUSY; M_HANGUP at close; flush.
//! Differs: the minor is the lowest free one, and there is no limit on their number.

use std::collections::BTreeMap;

use crate::prelude::*;

/// Joins this stream with the one whose minor is given (I_STR, int).
pub const LOOP_SET: i32 = (b'l' as i32) << 8 | 1;

/// One minor.
pub struct Loop {
    minor: u32,
    /// The write queue of the other stream.
    peer: Option<QRef>,
}

/// Every open minor, by its write queue.
#[derive(Default)]
pub struct Minors(BTreeMap<u32, QRef>);

impl Module for Loop {
    type Shared = Minors;
    const INFO: ModuleInfo = ModuleInfo::named(0x6c6f, "loop").marks(512, 128);
    const PERIMETER: Perimeter = Perimeter::MTPERMOD; // an instance touches another one
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(rsrv);
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let wq = q.wr().qref();
        let taken = &mut q.shared().0;
        let minor = match how.minor {
            Some(m) => m,
            None => (0..).find(|m| !taken.contains_key(m)).ok_or(Errno::ENXIO)?,
        };
        how.minor = Some(minor);
        taken.insert(minor, wq);
        Ok(Loop { minor, peer: None })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let minor = q.ptr().minor;
        q.shared().0.remove(&minor);
        if let Some(peer) = q.ptr().peer.take()
            && let Some(mut other) = q.at(peer)
        {
            other.ptr().peer = None;
            other.rd().putnextctl(MsgType::Hangup);
        }
        Wait::Done
    }
}

fn wput(q: &mut Queue<'_, Loop>, mp: Msg) {
    match mp.ty() {
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::Flush => flush(q, mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        _ if q.ptr().peer.is_none() => {
            q.discard(mp, "not joined to another minor");
            q.other()
                .putnextctl1(MsgType::Error, Errno::ENXIO.number() as u8);
        }
        _ => q.putq(mp),
    }
}

fn ioctl(q: &mut Queue<'_, Loop>, mut mp: Msg) {
    if mp.ioctl_cmd() != Some(LOOP_SET) {
        return q.iocnak(mp, Errno::EINVAL);
    }
    match join(q, &mut mp) {
        Ok(()) => q.iocack0(mp, 0),
        Err(e) => q.iocnak(mp, e),
    }
}

fn join(q: &mut Queue<'_, Loop>, mp: &mut Msg) -> Result<(), Errno> {
    if mp.ioc().is_none_or(|i| i.count != 4) {
        return Err(Errno::EINVAL);
    }
    let arg = mp.miocpullup(4)?.try_into().map_or(-1, i32::from_ne_bytes);
    let minor = u32::try_from(arg).map_err(|_| Errno::ENXIO)?;
    let peer = *q.shared().0.get(&minor).ok_or(Errno::ENXIO)?;
    let me = q.wr().qref();
    if q.ptr().peer.is_some() {
        return Err(Errno::EBUSY);
    }
    let mut other = q.at(peer).ok_or(Errno::ENXIO)?;
    // Still opening, it has no instance yet; joined with itself, it is its own peer.
    let there = other.try_ptr().ok_or(Errno::ENXIO)?;
    if there.peer.is_some() {
        return Err(Errno::EBUSY);
    }
    there.peer = Some(me);
    q.ptr().peer = Some(peer);
    Ok(())
}

/// The write side of this stream is the read side of the other.
fn flush(q: &mut Queue<'_, Loop>, mp: Msg) {
    let how = mp.rd().first().copied().unwrap_or(0);
    if let Some(peer) = q.ptr().peer
        && let Some(mut other) = q.at(peer)
    {
        let (r, w) = (how & FLUSHR != 0, how & FLUSHW != 0);
        // What we write waits on our write queue, what we are to read on the other's.
        if r {
            other.flushq(Flush::Data);
        }
        if w {
            other.rd().flushq(Flush::Data);
        }
    }
    q.flush_driver(mp);
}

fn wsrv(q: &mut Queue<'_, Loop>) {
    while let Some(mp) = q.getq() {
        let Some(peer) = q.ptr().peer else {
            q.discard(mp, "the other minor was closed");
            continue;
        };
        let Some(mut other) = q.at(peer) else {
            q.discard(mp, "the other minor was closed");
            continue;
        };
        let mut up = other.rd();
        if !mp.is_high_pri() && !up.bcanputnext(mp.band()) {
            return q.putbq(mp); // the reader back-enables the other's read side
        }
        up.putnext(mp);
    }
}

/// Back-enabled: there is room above, so whoever writes to us may go on.
fn rsrv(q: &mut Queue<'_, Loop>) {
    if let Some(peer) = q.ptr().peer
        && let Some(mut other) = q.at(peer)
    {
        other.qenable();
    }
}
