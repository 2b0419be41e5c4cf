//! faulty: a module that misbehaves on order, to test what is above and below it.
//!
//! ```text
//!   Fault { side, every, arg } by I_STR      every n-th data message of a side is ..
//!
//!   FLT_DROP     lost                        FLT_NAK      M_IOCTLs are refused with errno arg
//!   FLT_DUP      sent twice                  FLT_ERROR    M_ERROR arg goes up, once
//!   FLT_DELAY    held for arg milliseconds   FLT_HANGUP   M_HANGUP, or with arg M_UNHANGUP
//!   FLT_REORDER  sent behind the next one    FLT_CLEAR    from here on all is well
//!   FLT_NEXT     how the next push of the module fares: errno arg, after `every` ms
//!   FLT_CLOSE    this instance takes arg milliseconds to close
//! ```
//!
//! It counts rather than rolls dice, so that a failing test fails again. What is behind a
//! delayed message waits with it: a delay keeps the order.
//!
//! Spec: the role of "testmod" in the SVR4 STREAMS verification suites.

use std::time::Duration;

use crate::prelude::*;
use crate::sched::TimeoutId;

const FLT: i32 = (b'F' as i32) << 8;
/// Lose every n-th message.
pub const FLT_DROP: i32 = FLT | 1;
/// Send every n-th message twice.
pub const FLT_DUP: i32 = FLT | 2;
/// Hold every n-th message for `arg` milliseconds.
pub const FLT_DELAY: i32 = FLT | 3;
/// Send every n-th message behind the next one.
pub const FLT_REORDER: i32 = FLT | 4;
/// Refuse every n-th M_IOCTL with errno `arg`.
pub const FLT_NAK: i32 = FLT | 5;
/// Send M_ERROR with errno `arg` up now.
pub const FLT_ERROR: i32 = FLT | 6;
/// Send M_HANGUP up now; M_UNHANGUP if `arg` is not 0.
pub const FLT_HANGUP: i32 = FLT | 7;
/// Undo every fault of this instance.
pub const FLT_CLEAR: i32 = FLT | 8;
/// The next open of the module waits `every` milliseconds and fails with errno `arg`
/// (0: succeeds).
pub const FLT_NEXT: i32 = FLT | 9;
/// The close of this instance takes `arg` milliseconds.
pub const FLT_CLOSE: i32 = FLT | 10;

/// The argument of an FLT_ ioctl.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Fault {
    /// 0: the read side, 1: the write side.
    pub side: u32,
    /// Which messages: every n-th; 0 for none.
    pub every: u32,
    /// Errno or milliseconds.
    pub arg: u32,
}

impl Fault {
    /// A fault of messages going up.
    pub const fn up(every: u32, arg: u32) -> Fault {
        Fault {
            side: 0,
            every,
            arg,
        }
    }
    /// A fault of messages going down.
    pub const fn down(every: u32, arg: u32) -> Fault {
        Fault {
            side: 1,
            every,
            arg,
        }
    }
    /// As I_STR data.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.side, self.every, self.arg]
            .iter()
            .flat_map(|w| w.to_ne_bytes())
            .collect()
    }
    fn parse(b: &[u8]) -> Result<Fault, Errno> {
        let word = |i: usize| -> Result<u32, Errno> {
            let w = b.get(4 * i..4 * i + 4).and_then(|w| w.try_into().ok());
            w.map(u32::from_ne_bytes).ok_or(Errno::EINVAL)
        };
        let f = Fault {
            side: word(0)?,
            every: word(1)?,
            arg: word(2)?,
        };
        if f.side > 1 {
            return Err(Errno::EINVAL);
        }
        Ok(f)
    }
}

/// Counts to n and starts again.
#[derive(Clone, Copy, Default)]
struct Every {
    n: u32,
    at: u32,
}

impl Every {
    fn set(&mut self, n: u32) {
        *self = Every { n, at: 0 };
    }
    fn hit(&mut self) -> bool {
        if self.n == 0 {
            return false;
        }
        self.at += 1;
        if self.at < self.n {
            return false;
        }
        self.at = 0;
        true
    }
}

/// What one side does to messages.
#[derive(Default)]
struct Side {
    drop: Every,
    dup: Every,
    delay: Every,
    delay_ms: u64,
    reorder: Every,
    /// Waits for the next one to overtake it.
    held: Option<Msg>,
    /// The queue stands still until then.
    pause: Option<TimeoutId>,
    /// The first message has been held long enough.
    released: bool,
}

/// One instance.
#[derive(Default)]
pub struct Faulty {
    sides: [Side; 2],
    nak: Every,
    nak_errno: u32,
    open_error: u32,
    /// The open has been waited for.
    open_done: bool,
    close_ms: u64,
    /// The close has started and waits for its time.
    closing: bool,
}

/// What the next open does.
#[derive(Default)]
pub struct Next(Fault);

const OPENED: u64 = 2;
const CLOSED: u64 = 3;

impl Module for Faulty {
    type Shared = Next;
    const INFO: ModuleInfo = ModuleInfo::named(0x666c, "faulty");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(put).srv(srv);
    const WRITE: QInit<Self> = QInit::put(put).srv(srv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        let next = std::mem::take(&mut q.shared().0);
        if next.every == 0 && next.arg != 0 {
            return Err(Errno::from_number(next.arg as i32));
        }
        if next.every > 0 {
            q.qtimeout(Duration::from_millis(next.every.into()), OPENED);
        }
        Ok(Faulty {
            open_error: next.arg,
            open_done: next.every == 0,
            ..Faulty::default()
        })
    }

    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        let me = q.ptr();
        match (me.open_done, me.open_error) {
            (false, _) => Ok(Wait::Again),
            (true, 0) => Ok(Wait::Done),
            (true, e) => Err(Errno::from_number(e as i32)),
        }
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let ms = std::mem::take(&mut q.ptr().close_ms);
        if ms > 0 {
            q.qtimeout(Duration::from_millis(ms), CLOSED);
            q.ptr().closing = true;
        }
        if q.ptr().closing {
            return Wait::Again;
        }
        clear(q);
        Wait::Done
    }

    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        match tag {
            OPENED => q.ptr().open_done = true,
            CLOSED => q.ptr().closing = false,
            _ => {
                q.side().pause = None;
                q.side().released = true;
                q.qenable();
            }
        }
    }
}

impl Queue<'_, Faulty> {
    /// What this side is up to.
    fn side(&mut self) -> &mut Side {
        let i = usize::from(!self.is_read());
        &mut self.ptr().sides[i]
    }
}

fn put(q: &mut Queue<'_, Faulty>, mp: Msg) {
    match mp.ty() {
        MsgType::Data | MsgType::Proto => q.putq(mp),
        MsgType::Flush => {
            if let Some(mp) = q.side().held.take() {
                q.discard(mp, "flushed");
            }
            q.flush_module(mp);
        }
        MsgType::Ioctl if !q.is_read() => ioctl(q, mp),
        _ => q.putnext(mp),
    }
}

fn srv(q: &mut Queue<'_, Faulty>) {
    while q.side().pause.is_none() {
        let Some(mp) = q.getq() else { return };
        if !q.bcanputnext(mp.band()) {
            return q.putbq(mp);
        }
        send(q, mp);
    }
}

/// Sends one message on, with the faults that are ordered for it.
fn send(q: &mut Queue<'_, Faulty>, mut mp: Msg) {
    let side = q.side();
    if !std::mem::take(&mut side.released) && side.delay.hit() {
        let after = Duration::from_millis(side.delay_ms);
        let id = q.qtimeout(after, 0);
        q.side().pause = Some(id);
        return q.putbq(mp); // it goes first when the time has come
    }
    let side = q.side();
    if side.drop.hit() {
        return q.discard(mp, "FLT_DROP");
    }
    let twice = side.dup.hit().then(|| mp.dupmsg());
    let late = side.held.take();
    if late.is_none() && side.reorder.hit() {
        side.held = Some(mp);
    } else {
        q.putnext(mp);
    }
    for mp in [twice, late].into_iter().flatten() {
        q.putnext(mp);
    }
}

fn ioctl(q: &mut Queue<'_, Faulty>, mut mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    if !(FLT_DROP..=FLT_CLOSE).contains(&cmd) {
        let me = q.ptr();
        if me.nak.hit() {
            let e = Errno::from_number(me.nak_errno as i32);
            return q.iocnak(mp, e);
        }
        return q.putnext(mp);
    }
    match mp.miocpullup(12).and_then(Fault::parse) {
        Ok(f) => {
            q.iocack0(mp, 0); // before an FLT_ERROR could fail the call itself
            order(q, cmd, f);
        }
        Err(e) => q.iocnak(mp, e),
    }
}

fn order(q: &mut Queue<'_, Faulty>, cmd: i32, f: Fault) {
    let byte = u8::try_from(f.arg).unwrap_or(u8::MAX);
    let me = q.ptr();
    let side = &mut me.sides[usize::from(f.side == 1)];
    match cmd {
        FLT_DROP => side.drop.set(f.every),
        FLT_DUP => side.dup.set(f.every),
        FLT_DELAY => {
            side.delay.set(f.every);
            side.delay_ms = f.arg.into();
        }
        FLT_REORDER => side.reorder.set(f.every),
        FLT_NAK => {
            me.nak.set(f.every);
            me.nak_errno = f.arg;
        }
        FLT_CLOSE => me.close_ms = f.arg.into(),
        FLT_NEXT => q.shared().0 = f,
        FLT_ERROR => {
            q.other().putnextctl1(MsgType::Error, byte);
        }
        FLT_HANGUP => {
            let up = f.arg != 0;
            q.other().putnextctl(if up {
                MsgType::UnHangup
            } else {
                MsgType::Hangup
            });
        }
        _ => {
            me.nak.set(0);
            clear(q);
        }
    }
}

/// Ends the faults of both sides. Nothing that waits is lost.
fn clear(q: &mut Queue<'_, Faulty>) {
    for i in [q.rd().qref(), q.wr().qref()] {
        if let Some(mut q) = q.at(i) {
            let old = std::mem::take(q.side());
            if let Some(id) = old.pause {
                q.quntimeout(id);
            }
            if let Some(mp) = old.held {
                q.putnext(mp);
            }
            q.qenable();
        }
    }
}
