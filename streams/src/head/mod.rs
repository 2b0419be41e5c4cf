//! The stream head: the end that system calls talk to.
//!
//! ```text
//!      read, getmsg        write, putmsg, ioctl        poll
//!   ┌───────▲───────────────────┬───────────────────────▲───┐
//!   │ read queue  ◄─ strrput    │ write queue (service:  │   │  open_close  open, close
//!   │ (a reader drains it)      │ wakes who waits)       │   │  plumb       I_PUSH, I_POP
//!   └───────▲───────────────────▼────────────────────────────┘  ioctl       I_STR, transparent
//!           │                   │                               msg, rdwr   messages, bytes
//!        modules             modules                            poll, link  events, multiplexors
//! ```
//!
//! A call that must sleep is a future: it looks under the domain's lock, and if there is
//! nothing for it leaves its waker and looks again when the head wakes it.
//!
//! Spec: streamio(7I), read(2), write(2), getmsg(2), putmsg(2), the reference's section 5.

pub(crate) mod ioctl;
pub(crate) mod link;
pub(crate) mod msg;
pub(crate) mod open_close;
pub(crate) mod plumb;
pub(crate) mod poll;
pub(crate) mod rdwr;

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{FLUSHBAND, FLUSHR, FLUSHW, MSGNOLOOP, Msg, MsgType, StrOptions};
use crate::module::{ModuleInfo, NO_OPS, Ops};
use crate::process::Caller;
use crate::queue::{Flush, flag};

/// High and low water of the head's read queue (STRHIGH, STRLOW).
pub(crate) const STRHIGH: usize = 5120;
pub(crate) const STRLOW: usize = 1024;
/// Bound of the data part of a message (strmsgsz).
pub(crate) const STRMSGSZ: usize = 65536;
/// Bound of the control part of a message (strctlsz).
pub(crate) const STRCTLSZ: usize = 1024;
/// Modules that may be pushed (nstrpush).
pub(crate) const NSTRPUSH: usize = 9;
/// Default of ioctl and close timeouts (STRTIMOUT, sd_closetime).
pub(crate) const STRTIMOUT: Duration = Duration::from_secs(15);

/// Read modes (I_SRDOPT).
pub mod mode {
    /// Byte stream.
    pub const RNORM: i32 = 0;
    /// Message, the rest discarded.
    pub const RMSGD: i32 = 1;
    /// Message, the rest kept.
    pub const RMSGN: i32 = 2;
    /// The bits of the read mode.
    pub const RMODEMASK: i32 = 3;
    /// Control parts read as data.
    pub const RPROTDAT: i32 = 4;
    /// Control parts discarded.
    pub const RPROTDIS: i32 = 8;
    /// Control parts fail the read with EBADMSG.
    pub const RPROTNORM: i32 = 0x10;
    /// The bits of the protocol mode.
    pub const RPROTMASK: i32 = 0x1c;
    /// A flush of the head keeps an M_PCPROTO (through M_SETOPTS only).
    pub const RFLUSHPCPROT: i32 = 0x20;
    /// write of 0 bytes sends a zero-length message (pipes).
    pub const SNDZERO: i32 = 1;
    /// write to a dead pipe raises SIGPIPE.
    pub const SNDPIPE: i32 = 2;
}

/// The state of a stream head (`stdata`): the private data of its pair.
pub(crate) struct Head {
    /// Who sleeps on this stream.
    pub waiters: Vec<Waker>,
    /// Pushed modules.
    pub pushed: usize,
    /// So many of them only the privileged may pop (I_ANCHOR).
    pub anchor: usize,
    /// An open, close, push or pop is under way (STWOPEN, STRCLOSE, STRPLUMB).
    pub plumbing: bool,
    /// The outstanding ioctl.
    pub ioc: Option<ioctl::Outstanding>,
    /// Read and write errors; 0 for none.
    pub rerr: i32,
    pub werr: i32,
    /// M_HANGUP was seen.
    pub hup: bool,
    /// Linked under a multiplexor (STPLEX).
    pub plexed: bool,
    /// An M_PCPROTO waits on the read queue (STRPRI).
    pub pri: bool,
    pub readopt: i32,
    pub writeopt: i32,
    pub wroff: usize,
    pub tail: usize,
    pub delim: bool,
    pub mread: bool,
    pub ndelon: bool,
    pub keep_pcproto: bool,
    pub closetime: Duration,
    /// A pipe or FIFO end.
    pub is_pipe: bool,
}

impl Head {
    fn new(is_pipe: bool) -> Head {
        Head {
            waiters: Vec::new(),
            pushed: 0,
            anchor: 0,
            plumbing: false,
            ioc: None,
            rerr: 0,
            werr: 0,
            hup: false,
            plexed: false,
            pri: false,
            readopt: mode::RNORM | mode::RPROTNORM,
            writeopt: if is_pipe { mode::SNDPIPE } else { 0 },
            wroff: 0,
            tail: 0,
            delim: false,
            mread: false,
            ndelon: false,
            keep_pcproto: false,
            closetime: STRTIMOUT,
            is_pipe,
        }
    }
}

/// The table of a head's pair: "strrhead" and "strwhead".
pub(crate) static HEAD_OPS: Ops = Ops {
    info: ModuleInfo::named(0, "strhead"),
    rput: strrput,
    wput: |dom, idx, mp| dom.discard(idx, mp, "put to a stream head's write queue"),
    wsrv: Some(strwsrv),
    ..NO_OPS
};

impl Domain {
    /// The state of the head whose pair starts at `head`; `None` if it is no head now.
    #[inline]
    pub(crate) fn head(&mut self, head: u32) -> Option<&mut Head> {
        let s = self.slot_mut(head & !1);
        // While linked the multiplexor owns q_ptr; the head's state waits aside.
        if let Some(p) = s.linked_head.as_mut() {
            return p.downcast_mut();
        }
        s.ptr.as_mut()?.downcast_mut()
    }

    /// Wakes everybody who sleeps on a head.
    pub(crate) fn wake_head(&mut self, head: u32) {
        if let Some(h) = self.head(head) {
            let w = std::mem::take(&mut h.waiters);
            self.wakers.extend(w);
        }
    }

    /// Wakes those who sleep on the head of the stream that a queue is in.
    pub(crate) fn wake_head_of(&mut self, idx: u32) {
        if let Some(h) = self.head_of(idx) {
            self.wake_head(h);
        }
    }

    /// A fresh head pair of a stream.
    pub(crate) fn make_head(&mut self, stream: u32, is_pipe: bool) -> u32 {
        let even = self.alloc_pair(stream);
        for (idx, putp, srvp, hiwat, lowat, maxpsz) in [
            (
                even,
                HEAD_OPS.rput,
                None,
                STRHIGH,
                STRLOW,
                crate::message::INFPSZ,
            ),
            (even + 1, HEAD_OPS.wput, HEAD_OPS.wsrv, 0, 0, 0),
        ] {
            let s = self.slot_mut(idx);
            s.ops = &HEAD_OPS;
            s.name = HEAD_OPS.info.name;
            s.putp = putp;
            s.srvp = srvp;
            s.hiwat = hiwat;
            s.lowat = lowat;
            s.maxpsz = maxpsz;
            s.flag |= flag::QHEAD;
        }
        self.slot_mut(even).ptr = Some(Box::new(Head::new(is_pipe)));
        even
    }

    /// Recomputes STRPRI from what is queued.
    pub(crate) fn head_recheck_pri(&mut self, head: u32) {
        let pri = self
            .slot(head)
            .list
            .front()
            .is_some_and(|m| m.ty() == MsgType::PcProto);
        if let Some(h) = self.head(head) {
            h.pri = pri;
        }
    }
}

/// The head's read put procedure: a message has come up.
fn strrput(dom: &mut Domain, idx: u32, mp: Msg) {
    match mp.ty() {
        MsgType::Data | MsgType::Proto | MsgType::PassFp => {
            dom.putq(idx, mp);
            dom.wake_head(idx);
        }
        _ => strrput_nondata(dom, idx, mp),
    }
}

/// Everything but data (table 1.1 of the reference).
fn strrput_nondata(dom: &mut Domain, idx: u32, mut mp: Msg) {
    match mp.ty() {
        MsgType::PcProto => {
            let Some(h) = dom.head(idx) else {
                return dom.pool.free(mp);
            };
            // At most one is held; the first stays (invariant 2).
            if h.pri {
                return dom.discard(idx, mp, "a second M_PCPROTO");
            }
            h.pri = true;
            dom.putq(idx, mp);
            dom.wake_head(idx);
        }
        MsgType::IocAck | MsgType::IocNak | MsgType::CopyIn | MsgType::CopyOut => {
            ioctl::answer(dom, idx, mp);
        }
        MsgType::Ioctl => {
            // A twisted pipe: nobody down there can answer.
            mp.set_ty(MsgType::IocNak);
            dom.putnext(idx | 1, mp);
        }
        MsgType::Flush => flush(dom, idx, mp),
        MsgType::SetOpts => {
            if let Some(crate::message::Ctl::SetOpts(o)) = mp.ctl() {
                let o = *o;
                setopts(dom, idx, &o);
            }
            dom.pool.free(mp);
        }
        MsgType::Error => {
            error(dom, idx, mp.rd());
            dom.pool.free(mp);
        }
        MsgType::Hangup => {
            if let Some(h) = dom.head(idx) {
                h.hup = true;
            }
            dom.wake_head(idx);
            dom.pool.free(mp);
        }
        MsgType::UnHangup => {
            if let Some(h) = dom.head(idx) {
                h.hup = false;
            }
            dom.wake_head(idx);
            dom.pool.free(mp);
        }
        // The reference's 5.12: freed without a word, as they mean nothing up here.
        _ => dom.pool.free(mp),
    }
}

/// M_ERROR (5.8): one byte sets both sides, two set each; 0xff leaves a side.
fn error(dom: &mut Domain, idx: u32, bytes: &[u8]) {
    let Some(h) = dom.head(idx) else { return };
    let mut flush = 0;
    let mut set = |err: &mut i32, byte: u8, side: u8| {
        if byte != 0xff {
            if byte != 0 && *err == 0 {
                flush |= side;
            }
            *err = byte as i32;
        }
    };
    match *bytes {
        [] | [0] => return,
        [e] => {
            set(&mut h.rerr, e, FLUSHR);
            set(&mut h.werr, e, FLUSHW);
        }
        [r, w, ..] => {
            set(&mut h.rerr, r, FLUSHR);
            set(&mut h.werr, w, FLUSHW);
        }
    }
    dom.wake_head(idx);
    if flush != 0 {
        let mp = Msg::of(MsgType::Flush, &[flush]);
        dom.putnext(idx | 1, mp);
    }
}

/// M_FLUSH at the head (5.11): flush, then turn the write half round once.
fn flush(dom: &mut Domain, idx: u32, mut mp: Msg) {
    let how = mp.rd().first().copied().unwrap_or(0);
    if how & FLUSHR != 0 {
        let keep = dom.head(idx).is_some_and(|h| h.keep_pcproto);
        if how & FLUSHBAND != 0 {
            let band = mp.rd().get(1).copied().unwrap_or(0);
            dom.flushband(idx, band, Flush::All);
        } else {
            dom.flush_where(idx, |m| !(keep && m.ty() == MsgType::PcProto));
        }
        dom.head_recheck_pri(idx);
        dom.wake_head(idx);
    }
    if how & FLUSHW != 0 && mp.flag() & MSGNOLOOP == 0 {
        if let Some(b) = mp.rd_mut().first_mut() {
            *b &= !FLUSHR;
        }
        mp.set_flag(mp.flag() | MSGNOLOOP);
        dom.putnext(idx | 1, mp);
    } else {
        dom.pool.free(mp);
    }
}

/// M_SETOPTS (5.10).
fn setopts(dom: &mut Domain, idx: u32, o: &StrOptions) {
    if let Some(h) = dom.head(idx) {
        if let Some(r) = o.readopt {
            h.readopt = r & mode::RMODEMASK
                | if r & mode::RPROTMASK != 0 {
                    r
                } else {
                    h.readopt
                } & mode::RPROTMASK;
            h.keep_pcproto = r & mode::RFLUSHPCPROT != 0;
        }
        if let Some(n) = o.wroff {
            h.wroff = n as usize;
        }
        if let Some(n) = o.tail {
            h.tail = n as usize;
        }
        if let Some(on) = o.delim {
            h.delim = on;
        }
        if let Some(on) = o.mread {
            h.mread = on;
        }
        if let Some(on) = o.ndel {
            h.ndelon = on;
        }
    }
    let (hiwat, lowat) = match o.band {
        Some(b) if b > 0 => {
            let qb = dom.band_mut(idx, b);
            (&mut qb.hiwat, &mut qb.lowat)
        }
        _ => {
            let s = dom.slot_mut(idx);
            (&mut s.hiwat, &mut s.lowat)
        }
    };
    if let Some(n) = o.hiwat {
        *hiwat = n;
    }
    if let Some(n) = o.lowat {
        *lowat = n;
    }
    let s = dom.slot_mut(idx);
    if let Some(n) = o.minpsz {
        s.minpsz = n;
    }
    if let Some(n) = o.maxpsz {
        s.maxpsz = n;
    }
    if s.count < s.hiwat {
        s.flag &= !flag::QFULL;
    }
    dom.backenable(idx);
}

/// The head's write service procedure: back-enabled, so wake who waits for room.
fn strwsrv(dom: &mut Domain, idx: u32) {
    dom.wake_head(idx & !1);
}

/// Which sides' errors stop a call.
#[derive(Clone, Copy)]
pub(crate) enum Sides {
    Read,
    Write,
    Both,
}

impl Head {
    /// strgeterr (5.7): linked, read error, write error; hangup only for writers.
    pub fn geterr(&self, sides: Sides, hup: Option<Errno>) -> Result<(), Errno> {
        if self.plexed {
            return Err(Errno::EINVAL);
        }
        let (r, w) = match sides {
            Sides::Read => (self.rerr, 0),
            Sides::Write => (0, self.werr),
            Sides::Both => (self.rerr, self.werr),
        };
        if r != 0 {
            return Err(Errno::from_number(r));
        }
        if w != 0 {
            return Err(Errno::from_number(w));
        }
        match hup {
            Some(e) if self.hup => Err(e),
            _ => Ok(()),
        }
    }
}

/// What a sleeping call may be ended by, besides what it waits for.
pub(crate) struct Sleep<'a> {
    pub caller: Option<&'a Caller>,
    pub deadline: Option<Duration>,
}

impl Sleep<'_> {
    /// Not even a signal ends it.
    pub const FOREVER: Sleep<'static> = Sleep {
        caller: None,
        deadline: None,
    };
}

impl Stream {
    /// Sleeps until `look` finds what it looks for: it is called under the domain's lock,
    /// now and whenever the head wakes its sleepers. A signal ends the sleep with EINTR,
    /// the deadline with ETIME.
    pub(crate) async fn wait_for<T>(
        self: &Arc<Self>,
        sleep: Sleep<'_>,
        mut look: impl FnMut(&mut Domain, u32) -> Poll<Result<T, Errno>>,
    ) -> Result<T, Errno> {
        let mut armed = false;
        std::future::poll_fn(|cx| {
            self.with(|dom| {
                if let Poll::Ready(r) = look(dom, self.head) {
                    return Poll::Ready(r);
                }
                if let Some(c) = sleep.caller
                    && c.interrupted(cx.waker())
                {
                    return Poll::Ready(Err(Errno::EINTR));
                }
                if let Some(at) = sleep.deadline {
                    let now = dom.now();
                    if now >= at {
                        return Poll::Ready(Err(Errno::ETIME));
                    }
                    if !armed {
                        armed = true;
                        dom.set_timer(at - now, crate::sched::Timer::Wake(cx.waker().clone()));
                    }
                }
                match dom.head(self.head) {
                    Some(h) => h.waiters.push(cx.waker().clone()),
                    None => return Poll::Ready(Err(Errno::EBADF)),
                }
                Poll::Pending
            })
        })
        .await
    }
}
