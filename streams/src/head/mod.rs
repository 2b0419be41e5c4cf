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
//!                                                               rput, readq the read queue
//!   control: the other ioctls    flush: I_FLUSH                 sigpoll     SIGPOLL
//!   passfd: I_SENDFD             tty: controlling terminals     setopts     M_SETOPTS
//! ```
//!
//! A call that must sleep is a future: it looks under the domain's lock, and if there is
//! nothing for it leaves its waker and looks again when the head wakes it.
//!
//! Spec: streamio(7I), read(2), write(2), getmsg(2), putmsg(2), the reference's section 5.

mod control;
mod flush;
pub(crate) mod ioctl;
pub(crate) mod link;
pub(crate) mod msg;
pub(crate) mod open_close;
mod passfd;
pub(crate) mod plumb;
pub(crate) mod poll;
pub(crate) mod rdwr;
mod readq;
mod rput;
mod setopts;
mod sigpoll;
mod termio;
mod tty;

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{INFPSZ, MsgType};
use crate::module::{ModuleInfo, NO_OPS, Ops};
use crate::private::Private;
use crate::process::Caller;
use crate::queue::flag;

/// High and low water of the head's read queue (STRHIGH, STRLOW).
pub(crate) const STRHIGH: usize = 5120;
pub(crate) const STRLOW: usize = 1024;
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
#[repr(align(128))]
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
    /// SO_MAXBLK: bytes of one data block; [`INFPSZ`] for any.
    pub maxblk: i64,
    pub closetime: Duration,
    /// Errors that go when they were reported (I_SERROPT, SO_ERROPT).
    pub rnonpersist: bool,
    pub wnonpersist: bool,
    /// Who wants SIGPOLL.
    pub registered: Vec<sigpoll::Registration>,
    pub tty: tty::Tty,
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
            maxblk: INFPSZ,
            closetime: STRTIMOUT,
            rnonpersist: false,
            wnonpersist: false,
            registered: Vec::new(),
            tty: tty::Tty::default(),
            is_pipe,
        }
    }
}

/// The table of a head's pair: "strrhead" and "strwhead".
pub(crate) static HEAD_OPS: Ops = Ops {
    info: ModuleInfo::named(0, "strhead"),
    rput: rput::strrput,
    wput: |dom, idx, mp| dom.discard(idx, mp, "put to a stream head's write queue"),
    wsrv: Some(sigpoll::strwsrv),
    ..NO_OPS
};

impl Domain {
    /// The state of the head whose pair starts at `head`; `None` if it is no head now.
    #[inline]
    pub(crate) fn head(&mut self, head: u32) -> Option<&mut Head> {
        let s = self.slot_mut(head & !1);
        // While linked the multiplexor owns q_ptr; the head's state waits aside.
        if let Some(p) = s.linked_head.as_mut() {
            return p.get();
        }
        s.ptr.as_mut()?.get()
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
            (even, HEAD_OPS.rput, None, STRHIGH, STRLOW, INFPSZ),
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
        self.slot_mut(even).ptr = Some(Box::new(Private::new(Head::new(is_pipe))));
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

/// Which sides' errors stop a call.
#[derive(Clone, Copy)]
pub(crate) enum Sides {
    Read,
    Write,
    Both,
}

impl Head {
    /// strgeterr (5.7): linked, read error, write error; hangup only for writers. An error
    /// that does not persist is cleared with that.
    pub fn geterr(&mut self, sides: Sides, hup: Option<Errno>) -> Result<(), Errno> {
        if self.plexed {
            return Err(Errno::EINVAL);
        }
        if self.rerr != 0 && matches!(sides, Sides::Read | Sides::Both) {
            let e = Errno::from_number(self.rerr);
            if self.rnonpersist {
                self.rerr = 0;
            }
            return Err(e);
        }
        if self.werr != 0 && matches!(sides, Sides::Write | Sides::Both) {
            let e = Errno::from_number(self.werr);
            if self.wnonpersist {
                self.werr = 0;
            }
            return Err(e);
        }
        match hup {
            Some(e) if self.hup => Err(e),
            _ => Ok(()),
        }
    }

    /// Leaves a waker with the head, once.
    pub fn sleep(&mut self, w: &Waker) {
        if !self.waiters.iter().any(|x| x.will_wake(w)) {
            self.waiters.push(w.clone());
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
                    Some(h) => h.sleep(cx.waker()),
                    None => return Poll::Ready(Err(Errno::EBADF)),
                }
                Poll::Pending
            })
        })
        .await
    }
}
