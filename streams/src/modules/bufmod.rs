//! bufmod: gathers small messages going up into chunks, so that one read brings many.
//!
//! ```text
//!   chunk:  ┌────────┬──────────┬───┐┌────────┬──────────┬───┐
//!           │ sb_hdr │ message  │pad││ sb_hdr │ message  │pad│ ..   goes up when full, when
//!           └────────┴──────────┴───┘└────────┴──────────┴───┘      its time is over, when
//!             24      ≤ snap      to 8                              something else comes
//! ```
//!
//! Spec: bufmod(7M), sys/bufmod.h.
//! Kept: chunk, timeout, snapshot length, the five flags, drops counted in the header, the
//! marks set at the head with SBIOCSCHUNK, ERRNO ERANGE for an infinite SBIOCGTIME.
//! Differs: sb_hdr has the 32-bit timeval, struct timeval of the ioctls 64-bit members; an
//! I_STR may bring the 32-bit one. Time is since the kernel was made.

use std::time::Duration;

use crate::prelude::*;
use crate::sched::TimeoutId;

const SBIOC: i32 = (b'B' as i32) << 8;
/// Set the timeout (struct timeval).
pub const SBIOCSTIME: i32 = SBIOC | 1;
/// Get the timeout.
pub const SBIOCGTIME: i32 = SBIOC | 2;
/// No timeout.
pub const SBIOCCTIME: i32 = SBIOC | 3;
/// Set the chunk size (u32).
pub const SBIOCSCHUNK: i32 = SBIOC | 4;
/// Get the chunk size.
pub const SBIOCGCHUNK: i32 = SBIOC | 5;
/// Set the snapshot length (u32, 0 for all).
pub const SBIOCSSNAP: i32 = SBIOC | 6;
/// Get the snapshot length.
pub const SBIOCGSNAP: i32 = SBIOC | 7;
/// Set the SB_ flags (u32).
pub const SBIOCSFLAGS: i32 = SBIOC | 8;
/// Get the flags.
pub const SBIOCGFLAGS: i32 = SBIOC | 9;

/// A message going down sends the chunk up.
pub const SB_SEND_ON_WRITE: u32 = 1;
/// No sb_hdr before each message.
pub const SB_NO_HEADER: u32 = 2;
/// M_PROTO is not made M_DATA.
pub const SB_NO_PROTO_CVT: u32 = 4;
/// The first message after a chunk goes up at once.
pub const SB_DEFER_CHUNK: u32 = 8;
/// Hold back instead of dropping when the reader is slow.
pub const SB_NO_DROPS: u32 = 16;

/// Bytes of an sb_hdr.
pub const SB_HDR: usize = 24;
const ALIGN: usize = 8;
const DFLT_CHUNK: u32 = 8192;

/// One instance.
pub struct BufMod {
    /// The chunk that is gathered.
    chunk: Option<Msg>,
    len: usize,
    messages: u32,
    size: u32,
    /// `None`: a chunk waits until it is full.
    timeout: Option<Duration>,
    timer: Option<TimeoutId>,
    snap: u32,
    flags: u32,
    drops: u32,
    /// SB_FRCVD: the first message of this time has gone up.
    first_seen: bool,
}

impl Module for BufMod {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(21, "bufmod").marks(1, 0);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(rput).srv(rsrv);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push().map_err(|_| Errno::EINVAL)?;
        Ok(BufMod {
            chunk: None,
            len: 0,
            messages: 0,
            size: DFLT_CHUNK,
            timeout: None,
            timer: None,
            snap: 0,
            flags: 0,
            drops: 0,
            first_seen: false,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        if let Some(mp) = take_chunk(q) {
            q.freemsg(mp); // as Solaris: what nobody read in time is gone
        }
        Wait::Done
    }

    fn timeout(q: &mut Queue<'_, Self>, _: u64) {
        q.ptr().timer = None;
        close_chunk(&mut q.rd());
    }
}

impl Queue<'_, BufMod> {
    fn has(&mut self, flag: u32) -> bool {
        self.ptr().flags & flag != 0
    }
}

// ---- the read side ----

fn rput(q: &mut Queue<'_, BufMod>, mut mp: Msg) {
    match mp.ty() {
        MsgType::Data => add(q, mp),
        MsgType::Proto if !q.has(SB_NO_PROTO_CVT) => {
            mp.set_ty(MsgType::Data);
            add(q, mp);
        }
        MsgType::Flush => {
            if mp.rd().first().is_some_and(|how| how & FLUSHR != 0) {
                if let Some(old) = take_chunk(q) {
                    q.freemsg(old);
                }
                q.flushq(Flush::All);
            }
            q.putnext(mp);
        }
        _ if mp.is_high_pri() => q.putnext(mp),
        _ => {
            close_chunk(q);
            send(q, mp, 1);
        }
    }
}

/// A data message: into the chunk, and the chunk up if it is full.
fn add(q: &mut Queue<'_, BufMod>, mp: Msg) {
    if q.has(SB_DEFER_CHUNK) && !q.ptr().first_seen {
        close_chunk(q);
        send(q, mp, 1);
        q.ptr().first_seen = true;
    } else {
        gather(q, mp);
    }
    if q.ptr().timer.is_none()
        && let Some(after) = q.ptr().timeout.filter(|t| !t.is_zero())
    {
        let id = q.qtimeout(after, 0);
        q.ptr().timer = Some(id);
    }
}

fn gather(q: &mut Queue<'_, BufMod>, mut mp: Msg) {
    let original = mp.msgsize();
    let (snap, size) = (q.ptr().snap as usize, q.ptr().size as usize);
    let headers = !q.has(SB_NO_HEADER);
    if snap > 0 && original > snap {
        cut(&mut mp, snap);
    }
    let len = mp.msgsize();
    let pad = len.next_multiple_of(ALIGN) - len;
    let total = if headers { SB_HDR + len + pad } else { len };
    if q.ptr().len + total > size {
        close_chunk(q);
    }
    if !headers && total > size {
        return send(q, mp, 1); // too big for any chunk
    }
    if headers {
        let when = q.now();
        let drops = q.ptr().drops;
        let mut front = q.alloc(0, SB_HDR);
        for word in [
            original as u32,
            len as u32,
            total as u32,
            drops,
            when.as_secs() as u32,
            when.subsec_micros(),
        ] {
            front.append(&word.to_ne_bytes());
        }
        mp.linkb(Msg::data(&[0; ALIGN][..pad]));
        front.set_cont(Some(mp));
        mp = front;
    }
    let me = q.ptr();
    me.len += total;
    me.messages += 1;
    match &mut me.chunk {
        Some(c) => c.linkb(mp),
        None => me.chunk = Some(mp),
    }
    // No further message could fit.
    if headers && total + SB_HDR + ALIGN > size {
        close_chunk(q);
    }
}

/// Keeps the first `keep` bytes of a message, whatever its blocks.
fn cut(mp: &mut Msg, mut keep: usize) {
    let mut at = Some(mp);
    while let Some(b) = at {
        let n = keep.min(b.len());
        b.truncate(n);
        keep -= n;
        at = b.cont_mut();
    }
}

fn take_chunk(q: &mut Queue<'_, BufMod>) -> Option<Msg> {
    if let Some(id) = q.ptr().timer.take() {
        q.quntimeout(id);
    }
    let me = q.ptr();
    me.len = 0;
    me.messages = 0;
    me.first_seen = false;
    me.chunk.take()
}

/// The chunk goes up as it is. To be called on the read side.
fn close_chunk(q: &mut Queue<'_, BufMod>) {
    let n = q.ptr().messages;
    if let Some(mp) = take_chunk(q) {
        send(q, mp, n);
    }
}

/// Sends up; if there is no room, waits or is dropped, as the flags say.
fn send(q: &mut Queue<'_, BufMod>, mp: Msg, messages: u32) {
    let room = q.bcanputnext(mp.band());
    if room && q.qsize() == 0 {
        q.putnext(mp);
    } else if q.has(SB_NO_DROPS) || room {
        q.putq(mp);
    } else {
        q.ptr().drops += messages;
        q.discard(mp, "the reader is slow");
    }
}

fn rsrv(q: &mut Queue<'_, BufMod>) {
    while let Some(mp) = q.getq() {
        if !mp.is_high_pri() && !q.bcanputnext(mp.band()) {
            return q.putbq(mp);
        }
        q.putnext(mp);
    }
}

// ---- the write side: ioctls ----

fn wput(q: &mut Queue<'_, BufMod>, mp: Msg) {
    if q.has(SB_SEND_ON_WRITE) {
        close_chunk(&mut q.rd());
    }
    let ours = mp
        .ioctl_cmd()
        .is_some_and(|c| (SBIOCSTIME..=SBIOCGFLAGS).contains(&c));
    match mp.ty() {
        MsgType::Ioctl if ours => ioctl(q, mp),
        MsgType::IocData if ours => iocdata(q, mp),
        MsgType::Flush => {
            q.flush_sides(&mp, false, true);
            q.putnext(mp);
        }
        _ => q.putnext(mp),
    }
}

fn ioctl(q: &mut Queue<'_, BufMod>, mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    let transparent = mp.is_transparent();
    match (get(q, cmd), cmd) {
        (Some(Err(e)), _) => q.iocnak(mp, e),
        (Some(Ok(value)), _) if transparent => q.mcopyout(mp, None, None, Msg::data(&value)),
        (Some(Ok(value)), _) => q.iocack_with(mp, &value),
        (None, SBIOCCTIME) => {
            q.ptr().timeout = None;
            q.iocack0(mp, 0);
        }
        (None, SBIOCSTIME) if transparent => q.mcopyin(mp, None, 16, None),
        (None, _) if transparent => q.mcopyin(mp, None, 4, None),
        (None, _) => set_and_answer(q, cmd, mp),
    }
}

fn iocdata(q: &mut Queue<'_, BufMod>, mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    match mp.ctl() {
        Some(Ctl::CopyResp(r)) if r.rval != 0 => q.freemsg(mp), // 3.4: the call has failed
        _ if get(q, cmd).is_some() => q.iocack0(mp, 0),
        _ => set_and_answer(q, cmd, mp),
    }
}

fn set_and_answer(q: &mut Queue<'_, BufMod>, cmd: i32, mp: Msg) {
    let value = mp.cont().map(Msg::to_vec).unwrap_or_default();
    match set(q, cmd, &value) {
        Ok(()) => q.iocack0(mp, 0),
        Err(e) => return q.iocnak(mp, e),
    }
    if matches!(cmd, SBIOCSTIME | SBIOCSCHUNK) {
        close_chunk(&mut q.rd());
    }
}

/// What a command that asks returns; `None` for one that does not.
fn get(q: &mut Queue<'_, BufMod>, cmd: i32) -> Option<Result<Vec<u8>, Errno>> {
    let me = q.ptr();
    let word = match cmd {
        SBIOCGCHUNK => me.size,
        SBIOCGSNAP => me.snap,
        SBIOCGFLAGS => me.flags,
        SBIOCGTIME => {
            return Some(me.timeout.map_or(Err(Errno::ERANGE), |t| {
                let (s, us) = (t.as_secs() as i64, i64::from(t.subsec_micros()));
                Ok([s.to_ne_bytes(), us.to_ne_bytes()].concat())
            }));
        }
        _ => return None,
    };
    Some(Ok(word.to_ne_bytes().to_vec()))
}

fn set(q: &mut Queue<'_, BufMod>, cmd: i32, value: &[u8]) -> Result<(), Errno> {
    if cmd == SBIOCSTIME {
        let t = timeval(value)?;
        let me = q.ptr();
        me.timeout = Some(t);
        if t.is_zero() {
            me.size = 0; // polling: every message by itself
        }
        return Ok(());
    }
    let word = value.try_into().map_err(|_| Errno::EINVAL)?;
    let word = u32::from_ne_bytes(word);
    match cmd {
        SBIOCSCHUNK => {
            q.ptr().size = word;
            set_marks(q, word as usize, 1);
        }
        SBIOCSSNAP => {
            q.ptr().snap = word;
            if q.ptr().size == 0 {
                let fudge = match word {
                    0..=100 => 4,
                    101..=400 => 2,
                    _ => 1,
                };
                set_marks(q, word as usize, fudge);
            }
        }
        SBIOCSFLAGS => q.ptr().flags = word,
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// The head's marks follow the size of what it gets.
fn set_marks(q: &mut Queue<'_, BufMod>, size: usize, fudge: usize) {
    let opts = StrOptions {
        hiwat: Some(4 * size * fudge + 512),
        lowat: Some(2 * size * fudge + 256),
        ..StrOptions::default()
    };
    q.rd()
        .putnext(Msg::control(MsgType::SetOpts, Ctl::SetOpts(opts)));
}

/// struct timeval, with 64-bit or 32-bit members; EINVAL if negative.
fn timeval(b: &[u8]) -> Result<Duration, Errno> {
    let (s, us) = match b.len() {
        16 => (
            i64::from_ne_bytes(b[..8].try_into().map_err(|_| Errno::EINVAL)?),
            i64::from_ne_bytes(b[8..].try_into().map_err(|_| Errno::EINVAL)?),
        ),
        8 => (
            i32::from_ne_bytes(b[..4].try_into().map_err(|_| Errno::EINVAL)?).into(),
            i32::from_ne_bytes(b[4..].try_into().map_err(|_| Errno::EINVAL)?).into(),
        ),
        _ => return Err(Errno::EINVAL),
    };
    let s = u64::try_from(s).map_err(|_| Errno::EINVAL)?;
    let us = u64::try_from(us).map_err(|_| Errno::EINVAL)?;
    Ok(Duration::from_secs(s).saturating_add(Duration::from_micros(us)))
}
