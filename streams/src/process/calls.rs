//! The system calls of a process: what is checked before the stream is asked, and what
//! happens when the call returns.
//!
//! Spec: read(2), write(2), getmsg(2), putmsg(2), poll(2), ioctl(2), the reference's 2.1.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::signal::Action;
use super::{Process, abi, oflag};
use crate::errno::Errno;
use crate::file::Stream;
use crate::head::Sides;
use crate::sys::{Got, Ioctl, IoctlReply, PollFd, Sys, Which, event};

impl Process {
    /// Runs a call to its end and delivers the signals it leaves.
    fn call<T>(&self, f: impl Future<Output = Result<T, Errno>>) -> Result<T, Errno> {
        self.caller.alive()?;
        let r = self.env.block_on(f);
        self.returns();
        r
    }

    /// A call returns: handlers run; a signal that nobody caught ends the process.
    fn returns(&self) {
        if !self.caller.has_news() {
            return;
        }
        let (run, killed) = self.caller.returns();
        for (action, info) in run {
            if let Action::Handle(f) = action {
                f(info);
            }
        }
        if killed.is_some() {
            self.exit();
        }
    }

    /// The stream of a descriptor that is open for reading.
    fn reader(&self, fd: i32) -> Result<(Arc<Stream>, u32), Errno> {
        let (s, flags) = self.stream(fd)?;
        match flags & oflag::O_ACCMODE {
            oflag::O_WRONLY => Err(Errno::EBADF),
            _ => Ok((s, flags)),
        }
    }

    /// The stream of a descriptor that is open for writing.
    fn writer(&self, fd: i32) -> Result<(Arc<Stream>, u32), Errno> {
        let (s, flags) = self.stream(fd)?;
        match flags & oflag::O_ACCMODE {
            oflag::O_RDONLY => Err(Errno::EBADF),
            _ => Ok((s, flags)),
        }
    }

    /// Looks at every stream once.
    fn poll_once(
        &self,
        fds: &mut [PollFd],
        streams: &[Option<Arc<Stream>>],
        cx: &mut std::task::Context<'_>,
    ) -> usize {
        let mut n = 0;
        for (p, s) in fds.iter_mut().zip(streams) {
            p.revents = match s {
                _ if p.fd < 0 => 0,
                None => event::POLLNVAL,
                Some(s) => match s.poll_events(p.events, Some(cx)) {
                    Poll::Ready(e) => e,
                    Poll::Pending => 0,
                },
            };
            n += usize::from(p.revents != 0);
        }
        n
    }

    async fn streamio(
        &self,
        s: &Arc<Stream>,
        flags: u32,
        request: Ioctl,
    ) -> Result<IoctlReply, Errno> {
        let c = &*self.caller;
        let value = IoctlReply::value;
        match request {
            Ioctl::Push(name) => {
                s.push(c, &name, false).await?;
                s.acquire_tty(c, flags);
                Ok(value(0))
            }
            Ioctl::PushNoCtty(name) => s.push(c, &name, false).await.map(|()| value(0)),
            Ioctl::Pop => s.pop(c, flags).await.map(|()| value(0)),
            Ioctl::Insert { pos, name } => s.insert(c, flags, pos, &name).await.map(|()| value(0)),
            Ioctl::Remove { pos, name } => s.remove(c, flags, pos, &name).await.map(|()| value(0)),
            Ioctl::Find(name) => {
                s.usable(Sides::Both, None)?;
                Ok(value(s.find(&name)? as i32))
            }
            Ioctl::Str(req) => s.i_str(c, req).await,
            Ioctl::Link(lower) | Ioctl::Plink(lower) => {
                let persistent = matches!(request, Ioctl::Plink(_));
                let lower = self.stream(lower).ok().map(|l| l.0);
                s.link(c, lower, persistent).await.map(value)
            }
            Ioctl::Unlink(id) => s.unlink(Some(c), id, false).await.map(|()| value(0)),
            Ioctl::Punlink(id) => s.unlink(Some(c), id, true).await.map(|()| value(0)),
            Ioctl::MuxId2Fd(id) => {
                s.usable(Sides::Both, None)?;
                self.install(s.linked_file(id)?).map(value)
            }
            Ioctl::SendFd(fd) => {
                s.usable(Sides::Both, None)?;
                s.sendfd(c, self.file(fd)?).map(|()| value(0))
            }
            Ioctl::RecvFd => {
                let (mp, file, from) = s.recvfd(c, flags).await?;
                match self.install(file) {
                    Ok(fd) => {
                        s.with(|dom| dom.pool.free(mp));
                        Ok(IoctlReply::of_recvfd(fd, from))
                    }
                    Err(e) => {
                        s.with(|dom| dom.rq_putback(s.head, mp));
                        Err(e)
                    }
                }
            }
            Ioctl::FdInsert(req) => {
                let other = self.stream(req.fildes).ok().map(|o| o.0);
                s.fdinsert(c, other, req, flags).await.map(|()| value(0))
            }
            Ioctl::Flush(how) => s.i_flush(c, how, None).await.map(|()| value(0)),
            Ioctl::FlushBand { band, how } => {
                s.i_flush(c, how, Some(band)).await.map(|()| value(0))
            }
            Ioctl::ESetSig { pid, events } => {
                s.usable(Sides::Both, None)?;
                c.check_kill(&self.env.procs, pid)?;
                let pid = if pid == 0 { c.pid as i32 } else { pid };
                s.setsig(pid, events).map(|()| value(0))
            }
            Ioctl::EGetSig { pid } => {
                s.usable(Sides::Both, None)?;
                let pid = if pid == 0 { c.pid as i32 } else { pid };
                s.getsig(pid).map(|e| IoctlReply::of_int(0, e))
            }
            Ioctl::SetSig(events) => {
                s.usable(Sides::Both, None)?;
                s.setsig(c.pid as i32, events).map(|()| value(0))
            }
            Ioctl::GetSig => {
                s.usable(Sides::Both, None)?;
                s.getsig(c.pid as i32).map(|e| IoctlReply::of_int(0, e))
            }
            Ioctl::Raw { cmd, arg, mem } => self.raw(s, flags, cmd, arg, mem).await,
            other => s.simple_ioctl(other),
        }
    }

    /// An ioctl as ioctl(2) has it: a number, an argument, memory.
    async fn raw(
        &self,
        s: &Arc<Stream>,
        flags: u32,
        cmd: i32,
        arg: u64,
        mut mem: Vec<u8>,
    ) -> Result<IoctlReply, Errno> {
        let c = &*self.caller;
        if let Some(call) = abi::decode(cmd, arg, &mem) {
            let request = match call {
                Ok(r) => r,
                // What is wrong with the stream is told before what is wrong with the
                // argument (3.1); I_FLUSHBAND is the other way round (2.2).
                Err(Errno::EFAULT) if cmd != crate::sys::I_FLUSHBAND => {
                    s.usable(abi::sides(cmd), abi::hup(cmd))?;
                    return Err(Errno::EFAULT);
                }
                Err(e) => return Err(e),
            };
            let reply = Box::pin(self.streamio(s, flags, request)).await?;
            abi::encode(cmd, arg, &mut mem, &reply)?;
            return Ok(IoctlReply { data: mem, ..reply });
        }
        if let Some(r) = s.tty_ioctl(c, cmd, arg, &mut mem) {
            return r.map(|rval| IoctlReply {
                rval,
                data: mem,
                names: Vec::new(),
            });
        }
        s.transparent(c, cmd, arg, mem).await
    }
}

impl Sys for Process {
    fn open(&self, path: &str, flags: u32) -> Result<i32, Errno> {
        self.has_room()?; // first of all: a driver is not opened for nothing
        let file = self.call(async {
            let file = crate::head::open_close::open(&self.env, &self.caller, path, flags).await?;
            file.file.stream.acquire_tty(&self.caller, flags);
            Ok(file)
        })?;
        self.install(file)
    }

    fn close(&self, fd: i32) -> Result<(), Errno> {
        let file = self.take(fd).ok_or(Errno::EBADF)?;
        self.cloexec.lock().remove(&fd);
        self.closed(file);
        self.returns();
        Ok(())
    }

    fn read(&self, fd: i32, count: usize) -> Result<Vec<u8>, Errno> {
        let (s, flags) = self.reader(fd)?;
        self.call(s.read(&self.caller, count, flags))
    }

    fn write(&self, fd: i32, data: &[u8]) -> Result<usize, Errno> {
        let (s, flags) = self.writer(fd)?;
        self.call(s.write(&self.caller, data, flags))
    }

    fn getpmsg(&self, fd: i32, ctlmax: i32, datmax: i32, which: Which) -> Result<Got, Errno> {
        let (s, flags) = self.reader(fd)?;
        self.call(s.getpmsg(&self.caller, ctlmax, datmax, which, flags))
    }

    fn putpmsg(
        &self,
        fd: i32,
        ctl: Option<&[u8]>,
        data: Option<&[u8]>,
        hipri: bool,
        band: u8,
    ) -> Result<(), Errno> {
        let (s, flags) = self.writer(fd)?;
        self.call(s.putpmsg(&self.caller, ctl, data, hipri, band, flags))
    }

    fn poll(&self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let streams: Vec<Option<Arc<Stream>>> = fds
            .iter()
            .map(|p| self.stream(p.fd).ok().map(|s| s.0))
            .collect();
        let deadline = timeout.map(|t| self.env.now() + t);
        let mut armed = false;
        self.call(std::future::poll_fn(|cx| {
            let n = self.poll_once(fds, &streams, cx);
            let now = self.env.now();
            if n > 0 || deadline.is_some_and(|d| now >= d) {
                return Poll::Ready(Ok(n));
            }
            if self.caller.interrupted(cx.waker()) {
                return Poll::Ready(Err(Errno::EINTR));
            }
            if let (Some(d), false) = (deadline, armed) {
                armed = true;
                self.env.wake_at(d, cx.waker().clone());
            }
            Poll::Pending
        }))
    }

    fn ioctl(&self, fd: i32, request: Ioctl) -> Result<IoctlReply, Errno> {
        let (s, flags) = self.stream(fd)?;
        let linked = s.with(|dom| dom.head(s.head).is_none_or(|h| h.plexed));
        if linked {
            return Err(Errno::EINVAL); // 2.1 step 4: for every ioctl
        }
        self.call(self.streamio(&s, flags, request))
    }

    fn pipe(&self) -> Result<(i32, i32), Errno> {
        let (a, b) = crate::pipe::pipe(&self.env);
        let a = match self.install(a) {
            Ok(a) => a,
            Err(e) => {
                self.let_go(b);
                return Err(e);
            }
        };
        match self.install(b) {
            Ok(b) => Ok((a, b)),
            Err(e) => {
                let _ = self.close(a); // it was just opened
                Err(e)
            }
        }
    }
}
