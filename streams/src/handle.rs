//! `Queue`: what a procedure is handed, with the manual's calls on it.
//!
//! Spec: the STREAMS routines of section 9F, named as there.
//! State is borrowed from the domain (`ptr`, `shared`), so the compiler refuses to hold
//! it across a `putnext`.

use std::marker::PhantomData;
use std::time::Duration;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::intr::Doorbell;
use crate::message::{Cred, Ctl, FLUSHBAND, FLUSHR, FLUSHW, Msg, MsgType};
use crate::module::Module;
use crate::private::Private;
use crate::queue::{Flush, NONE, QRef, flag};
use crate::sched::{TimeoutId, Timer};

/// One queue, seen by the module `M` that owns it, for as long as a procedure runs.
pub struct Queue<'a, M> {
    pub(crate) dom: &'a mut Domain,
    pub(crate) idx: u32,
    _module: PhantomData<fn(M)>,
}

impl<'a, M: Module> Queue<'a, M> {
    #[inline]
    pub(crate) fn new(dom: &'a mut Domain, idx: u32) -> Queue<'a, M> {
        Queue {
            dom,
            idx,
            _module: PhantomData,
        }
    }

    // ---- the hop ----

    /// putnext(9F): gives the message to the next queue in its direction.
    #[inline]
    pub fn putnext(&mut self, mp: Msg) {
        self.dom.putnext(self.idx, mp);
    }
    /// qreply(9F): sends the message back the other way.
    #[inline]
    pub fn qreply(&mut self, mp: Msg) {
        self.dom.putnext(self.idx ^ 1, mp);
    }
    /// put(9F): calls the put procedure of any queue of this domain. A stale reference is
    /// a counted drop.
    #[inline]
    pub fn put(&mut self, q: QRef, mp: Msg) {
        match self.dom.resolve(q) {
            Some(idx) => self.dom.put(idx, mp),
            None => self.discard(mp, "the queue is gone"),
        }
    }
    /// putnext(9F) of another queue of this domain, as a multiplexor does.
    #[inline]
    pub fn putnext_of(&mut self, q: QRef, mp: Msg) {
        match self.dom.resolve(q) {
            Some(idx) => self.dom.putnext(idx, mp),
            None => self.discard(mp, "the queue is gone"),
        }
    }
    /// Acts as another queue that this module owns.
    #[inline]
    pub fn at(&mut self, q: QRef) -> Option<Queue<'_, M>> {
        let idx = self.dom.resolve(q)?;
        Some(Queue::new(self.dom, idx))
    }
    /// OTHERQ(9F).
    #[inline]
    pub fn other(&mut self) -> Queue<'_, M> {
        Queue::new(self.dom, self.idx ^ 1)
    }
    /// RD(9F).
    #[inline]
    pub fn rd(&mut self) -> Queue<'_, M> {
        Queue::new(self.dom, self.idx & !1)
    }
    /// WR(9F).
    #[inline]
    pub fn wr(&mut self) -> Queue<'_, M> {
        Queue::new(self.dom, self.idx | 1)
    }
    /// The read side of the pair?
    #[inline]
    pub fn is_read(&self) -> bool {
        self.idx & 1 == 0
    }
    /// Names this queue for later.
    #[inline]
    pub fn qref(&self) -> QRef {
        self.dom.qref(self.idx)
    }
    /// Is there a queue behind this one, in its direction? A driver's write side has none.
    #[inline]
    pub fn has_next(&self) -> bool {
        self.dom.slot(self.idx).next != NONE
    }
    /// Is nothing between this module, or driver, and the stream head or multiplexor above?
    /// In C: the queue behind its read queue has none behind it.
    pub fn is_topmost(&self) -> bool {
        let above = self.dom.slot(self.idx & !1).next;
        above == NONE || self.dom.slot(above).next == NONE
    }
    /// The name of the driver at the bottom of the stream (`mi_idname`).
    pub fn driver_name(&self) -> &'static str {
        self.dom.slot(self.dom.bottom(self.idx)).name
    }
    /// The number of the stream, as the trace shows it.
    pub fn stream_id(&self) -> u32 {
        self.dom.slot(self.idx).stream
    }

    // ---- the queue ----

    /// putq(9F).
    #[inline]
    pub fn putq(&mut self, mp: Msg) {
        self.dom.trace_queue(self.idx, &mp);
        self.dom.putq(self.idx, mp);
    }
    /// getq(9F).
    #[inline]
    pub fn getq(&mut self) -> Option<Msg> {
        self.dom.getq(self.idx)
    }
    /// putbq(9F).
    #[inline]
    pub fn putbq(&mut self, mp: Msg) {
        self.dom.putbq(self.idx, mp);
    }
    /// insq(9F): at a position (0 is the front); the message back if order would break.
    pub fn insq(&mut self, at: usize, mp: Msg) -> Result<(), Msg> {
        self.dom.insq(self.idx, at, mp)
    }
    /// rmvq(9F): the message at a position.
    pub fn rmvq(&mut self, at: usize) -> Option<Msg> {
        self.dom.rmvq(self.idx, at)
    }
    /// The messages on the queue, first to last.
    pub fn messages(&self) -> impl Iterator<Item = &Msg> {
        self.dom.slot(self.idx).list.iter()
    }
    /// flushq(9F).
    pub fn flushq(&mut self, what: Flush) {
        self.dom.flushq(self.idx, what);
    }
    /// flushband(9F).
    pub fn flushband(&mut self, band: u8, what: Flush) {
        self.dom.flushband(self.idx, band, what);
    }
    /// qsize(9F).
    pub fn qsize(&self) -> usize {
        self.dom.slot(self.idx).list.len()
    }
    /// `q_count`: bytes of band 0 and high priority.
    pub fn count(&self) -> usize {
        self.dom.slot(self.idx).count
    }
    /// qenable(9F).
    pub fn qenable(&mut self) {
        self.dom.qenable(self.idx);
    }
    /// noenable(9F).
    pub fn noenable(&mut self) {
        self.dom.slot_mut(self.idx).flag |= flag::QNOENB;
    }
    /// enableok(9F): does not schedule.
    pub fn enableok(&mut self) {
        self.dom.slot_mut(self.idx).flag &= !flag::QNOENB;
    }
    /// Changes the marks, as strqset(9F) with QHIWAT and QLOWAT.
    pub fn set_marks(&mut self, hiwat: usize, lowat: usize) {
        let s = self.dom.slot_mut(self.idx);
        s.hiwat = hiwat;
        s.lowat = lowat;
    }
    /// Changes the packet sizes, as strqset(9F) with QMINPSZ and QMAXPSZ.
    pub fn set_packet_sizes(&mut self, minpsz: i64, maxpsz: i64) {
        let s = self.dom.slot_mut(self.idx);
        s.minpsz = minpsz;
        s.maxpsz = maxpsz;
    }

    /// The packet sizes of the next queue, as strqget(9F) reads them from `q_next`.
    pub fn next_packet_sizes(&self) -> (i64, i64) {
        match self.dom.slot(self.idx).next {
            NONE => (0, crate::message::INFPSZ),
            next => {
                let s = self.dom.slot(next);
                (s.minpsz, s.maxpsz)
            }
        }
    }
    /// The messages that wait on the next queue up: the stream head's, for a module that
    /// was just pushed.
    pub(crate) fn above(&self) -> impl Iterator<Item = &Msg> {
        let next = self.dom.slot(self.idx & !1).next;
        let list = (next != NONE).then(|| self.dom.slot(next).list.iter());
        list.into_iter().flatten()
    }
    /// Replaces each message that waits on the next queue up.
    pub(crate) fn strip_above(&mut self, mut f: impl FnMut(Msg) -> Option<Msg>) {
        let next = self.dom.slot(self.idx & !1).next;
        if next == NONE {
            return;
        }
        for _ in 0..self.dom.slot(next).list.len() {
            let Some(mp) = self.dom.rmvq(next, 0) else {
                return;
            };
            let band = mp.band();
            if let Some(mut mp) = f(mp) {
                mp.set_band(band);
                let _ = self.dom.insq(next, usize::MAX, mp); // the order was right before
            }
        }
    }

    // ---- flow control ----

    /// canputnext(9F).
    #[inline]
    pub fn canputnext(&mut self) -> bool {
        self.dom.canputnext(self.idx)
    }
    /// bcanputnext(9F).
    pub fn bcanputnext(&mut self, band: u8) -> bool {
        self.dom.bcanputnext(self.idx, band)
    }
    /// canput(9F) of any queue of this domain; a stale one has no room.
    pub fn canput(&mut self, q: QRef) -> bool {
        match self.dom.resolve(q) {
            Some(idx) => self.dom.canput(idx),
            None => false,
        }
    }

    // ---- state ----

    /// `q_ptr`: this instance.
    ///
    /// # Panics
    /// In `open`, before the instance exists.
    #[inline]
    pub fn ptr(&mut self) -> &mut M {
        match self.dom.ptr::<M>(self.idx) {
            Some(m) => m,
            None => no_instance(M::INFO.name),
        }
    }
    /// The instance, if it exists already.
    #[inline]
    pub fn try_ptr(&mut self) -> Option<&mut M> {
        self.dom.ptr::<M>(self.idx)
    }
    /// The module's own number for this pair, such as which interface or port it is; 0 until
    /// it is set. It is had by one access where `ptr` takes three, for what every datagram asks.
    #[inline]
    pub fn number(&self) -> u32 {
        self.dom.slot(self.idx).number
    }
    /// Changes the number.
    pub fn set_number(&mut self, n: u32) {
        for idx in [self.idx, self.idx ^ 1] {
            self.dom.slot_mut(idx).number = n;
        }
    }
    /// Gives the lower queues of a multiplexor an instance (they start with none).
    pub fn set_ptr(&mut self, m: M) {
        self.dom.slot_mut(self.idx & !1).ptr = Some(Box::new(Private::new(m)));
    }
    /// What all instances share.
    #[inline]
    pub fn shared(&mut self) -> &mut M::Shared {
        match self.dom.shared(self.idx) {
            Some(s) => s,
            None => no_instance(M::INFO.name),
        }
    }
    /// The instance and what all share, at once.
    #[inline]
    pub fn both(&mut self) -> (&mut M, &mut M::Shared) {
        match self.dom.both(self.idx) {
            Some(both) => both,
            None => no_instance(M::INFO.name),
        }
    }

    // ---- memory and ends ----

    /// allocb(9F) from the domain's pool: `head` bytes of headroom, `size` of room.
    #[inline]
    pub fn alloc(&mut self, head: usize, size: usize) -> Msg {
        self.dom.pool.alloc(head, size)
    }
    /// freemsg(9F), back to the domain's pool.
    #[inline]
    pub fn freemsg(&mut self, mp: Msg) {
        self.dom.pool.free(mp);
    }
    /// The end of a datagram that will not arrive: counted by module and reason, traced,
    /// freed. The only way to drop one.
    pub fn discard(&mut self, mp: Msg, why: &'static str) {
        self.dom.discard(self.idx, mp, why);
    }

    // ---- control messages ----

    /// miocack(9F): answers an M_IOCTL with success, `rval` and the data it carries.
    pub fn iocack(&mut self, mut mp: Msg, rval: i32) {
        let count = mp.cont().map_or(0, Msg::msgsize);
        mp.set_ty(MsgType::IocAck);
        match mp.ioc_mut() {
            Some(i) => {
                i.error = 0;
                i.rval = rval;
                i.count = count;
            }
            None => {
                let Some(Ctl::CopyResp(r)) = mp.set_ctl(None) else {
                    return self.discard(mp, "an answer to no ioctl");
                };
                let ioc = crate::message::IocBlk {
                    cmd: r.cmd,
                    cr: r.cr,
                    id: r.id,
                    count: 0,
                    rval,
                    error: 0,
                };
                mp.set_ctl(Some(Ctl::Ioc(ioc)));
            }
        }
        self.qreply(mp);
    }
    /// miocnak(9F): answers an M_IOCTL with an error.
    pub fn iocnak(&mut self, mut mp: Msg, error: Errno) {
        mp.set_ty(MsgType::IocNak);
        if let Some(rest) = mp.take_cont() {
            self.freemsg(rest);
        }
        match mp.ioc_mut() {
            Some(i) => {
                i.error = error.number();
                i.count = 0;
            }
            None => {
                let Some(Ctl::CopyResp(r)) = mp.set_ctl(None) else {
                    return self.discard(mp, "an answer to no ioctl");
                };
                let ioc = crate::message::IocBlk {
                    cmd: r.cmd,
                    cr: r.cr,
                    id: r.id,
                    count: 0,
                    rval: -1,
                    error: error.number(),
                };
                mp.set_ctl(Some(Ctl::Ioc(ioc)));
            }
        }
        self.qreply(mp);
    }
    /// Who sent this M_IOCTL.
    pub fn cred(mp: &Msg) -> Cred {
        mp.ioc().map_or(
            Cred {
                uid: u32::MAX,
                gid: u32::MAX,
                privileged: false,
            },
            |i| i.cr,
        )
    }
    /// putnextctl(9F): sends a control message without data. False for a data type.
    pub fn putnextctl(&mut self, ty: MsgType) -> bool {
        self.putnextctl_with(ty, &[])
    }
    /// putnextctl1(9F): with one byte.
    pub fn putnextctl1(&mut self, ty: MsgType, byte: u8) -> bool {
        self.putnextctl_with(ty, &[byte])
    }
    fn putnextctl_with(&mut self, ty: MsgType, bytes: &[u8]) -> bool {
        if ty.is_data() && ty != MsgType::Delay {
            return false;
        }
        self.putnext(Msg::of(ty, bytes));
        true
    }
    /// The flush rule of a module (the reference's 5.11): flush the sides named, pass on.
    pub fn flush_module(&mut self, mp: Msg) {
        self.flush_sides(&mp, true, true);
        self.putnext(mp);
    }
    /// The flush rule of a driver: flush the sides named; turn the read side's round.
    pub fn flush_driver(&mut self, mut mp: Msg) {
        self.flush_sides(&mp, true, true);
        let how = mp.rd().first().copied().unwrap_or(0);
        if how & FLUSHR != 0 {
            if let Some(b) = mp.rd_mut().first_mut() {
                *b &= !FLUSHW;
            }
            self.qreply(mp);
        } else {
            self.freemsg(mp);
        }
    }
    /// Flushes the queues of the pair that an M_FLUSH names.
    pub fn flush_sides(&mut self, mp: &Msg, read: bool, write: bool) {
        let how = mp.rd().first().copied().unwrap_or(0);
        let band = if how & FLUSHBAND != 0 {
            mp.rd().get(1).copied()
        } else {
            None
        };
        let (r, w) = (self.idx & !1, self.idx | 1);
        for (idx, asked) in [
            (r, read && how & FLUSHR != 0),
            (w, write && how & FLUSHW != 0),
        ] {
            if asked {
                match band {
                    Some(b) => self.dom.flushband(idx, b, Flush::Data),
                    None => self.dom.flushq(idx, Flush::Data),
                }
            }
        }
    }

    // ---- perimeters, time, events ----

    /// qwriter(9F): [`Module::writer`] with `tag`, as soon as it can have the inner
    /// (PERIM_INNER) perimeter to itself.
    pub fn qwriter_inner(&mut self, mp: Msg, tag: u32) {
        self.dom.qwriter(self.idx, mp, tag, false);
    }
    /// qwriter(9F) with PERIM_OUTER.
    pub fn qwriter_outer(&mut self, mp: Msg, tag: u32) {
        self.dom.qwriter(self.idx, mp, tag, true);
    }
    /// Time since the kernel was made. Stands still within one entry into the domain.
    #[inline]
    pub fn now(&mut self) -> Duration {
        self.dom.now()
    }
    /// qtimeout(9F): [`Module::timeout`] with `tag` after `after`.
    pub fn qtimeout(&mut self, after: Duration, tag: u64) -> TimeoutId {
        let q = self.qref();
        self.dom.set_timer(after, Timer::Queue(q, tag))
    }
    /// quntimeout(9F): true if it had not run yet.
    pub fn quntimeout(&mut self, id: TimeoutId) -> bool {
        self.dom.timers.remove(&(id.0, id.1)).is_some()
    }
    /// A doorbell for this queue, to be rung from any thread.
    pub fn doorbell(&self) -> Doorbell {
        Doorbell::new(self.dom, self.qref())
    }
    /// Rings the doorbell whenever the descriptor becomes readable; until the queue is
    /// closed or the watch dropped. Edges, not levels: read until EAGAIN, or ring again.
    pub fn watch_fd(
        &mut self,
        fd: std::os::fd::BorrowedFd<'_>,
    ) -> std::io::Result<crate::intr::Watch> {
        let bell = self.doorbell();
        self.dom.env.watch(fd, bell)
    }
    /// As [`Queue::watch_fd`] with a descriptor that the watch keeps open.
    ///
    /// # Errors
    /// The host's: the descriptor can't be polled.
    pub fn watch_owned(&mut self, fd: std::os::fd::OwnedFd) -> std::io::Result<crate::intr::Watch> {
        use std::os::fd::AsFd;
        let mut watch = self.watch_fd(fd.as_fd())?;
        watch.keep(fd);
        Ok(watch)
    }
    /// Wakes an open or close of this pair that waits, beyond the put and service
    /// procedures that do so by themselves.
    pub fn wake(&mut self) {
        self.dom.wake_head_of(self.idx);
    }
    /// strlog(9F) with SL_TRACE: a line for the trace loggers and the flow trace.
    pub fn strlog(&mut self, level: u8, text: std::fmt::Arguments<'_>) {
        let level = i8::try_from(level).unwrap_or(i8::MAX);
        self.strlog_to(0, level, crate::strlog::SL_TRACE, text);
    }
    /// strlog(9F): a line for the loggers that `flags` (SL_ bits) name, from part `sid` of
    /// the module. False if one of them had no room for it.
    pub fn strlog_to(
        &mut self,
        sid: i16,
        level: i8,
        flags: u16,
        text: std::fmt::Arguments<'_>,
    ) -> bool {
        self.dom.strlog(self.idx, level as u8, text);
        let env = &self.dom.env;
        if !env.log.listening() {
            return true;
        }
        let mid = M::INFO.id as i16;
        let r = crate::strlog::LogRecord::new(mid, sid, level, flags, &text.to_string());
        env.log.post(env, r)
    }
}

#[cold]
#[inline(never)]
fn no_instance(name: &str) -> ! {
    unreachable!("{name}: an instance is used before its open has returned")
}
