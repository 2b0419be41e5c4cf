//! An emulated process: credentials, descriptors, signals, and the system calls.
//!
//! Spec: intro(2), the reference's 2.1 for what is checked before an ioctl.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::head::{Sides, mode};
use crate::kernel::Env;
use crate::message::{Cred, FLUSHBAND, FLUSHRW, Msg, MsgType};
use crate::queue::NONE;
use crate::sys::{Got, Ioctl, IoctlReply, PollFd, Sys, Which, event};

/// open(2) flags with Solaris's values.
pub mod oflag {
    /// Reading only.
    pub const O_RDONLY: u32 = 0;
    /// Writing only.
    pub const O_WRONLY: u32 = 1;
    /// Both.
    pub const O_RDWR: u32 = 2;
    /// Don't sleep (System V).
    pub const O_NDELAY: u32 = 0x04;
    /// Don't sleep (POSIX).
    pub const O_NONBLOCK: u32 = 0x80;
    /// Either of the two.
    pub const NONBLOCK: u32 = O_NDELAY | O_NONBLOCK;
}

/// Signals, with Solaris's numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, clippy::upper_case_acronyms)]
#[repr(u8)]
pub enum Signal {
    SIGHUP = 1,
    SIGINT = 2,
    SIGPIPE = 13,
    SIGALRM = 14,
    SIGTERM = 15,
    SIGURG = 21,
    SIGPOLL = 22,
    SIGTSTP = 24,
}

/// Descriptors a process may have.
const NOFILES: usize = 1024;

/// Who makes a system call.
pub(crate) struct Caller {
    pub cred: Cred,
    pub pid: u32,
    signals: Mutex<Signals>,
}

#[derive(Default)]
struct Signals {
    pending: BTreeSet<Signal>,
    caught: Vec<Signal>,
    /// A sleeping call to be interrupted.
    sleeper: Option<Waker>,
}

impl Caller {
    /// Sends a signal to the process.
    pub fn post(&self, sig: Signal) {
        let mut s = self.signals.lock();
        s.pending.insert(sig);
        s.caught.push(sig);
        if let Some(w) = s.sleeper.take() {
            w.wake();
        }
    }

    /// A signal that a sleep must end for? Else remembers whom to wake for one.
    pub fn interrupted(&self, waker: &Waker) -> bool {
        let mut s = self.signals.lock();
        if s.pending.pop_first().is_some() {
            return true;
        }
        s.sleeper = Some(waker.clone());
        false
    }
}

/// A process of a kernel. Dropping it closes its descriptors.
pub struct Process {
    pub(crate) env: Arc<Env>,
    pub(crate) caller: Arc<Caller>,
    files: Mutex<Vec<Option<FileRef>>>,
}

impl Process {
    pub(crate) fn new(env: Arc<Env>, cred: Cred) -> Process {
        let pid = env.next_pid.fetch_add(1, Ordering::Relaxed);
        let caller = Arc::new(Caller {
            cred,
            pid,
            signals: Mutex::default(),
        });
        Process {
            env,
            caller,
            files: Mutex::default(),
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.caller.pid
    }
    /// Its credentials.
    pub fn cred(&self) -> Cred {
        self.caller.cred
    }
    /// Sends it a signal: a call that sleeps ends with EINTR.
    pub fn kill(&self, sig: Signal) {
        self.caller.post(sig);
    }
    /// The signals it has got since it was last asked, in their order.
    pub fn take_signals(&self) -> Vec<Signal> {
        let mut s = self.caller.signals.lock();
        s.pending.clear();
        std::mem::take(&mut s.caught)
    }

    /// fcntl(F_SETFL): changes O_NDELAY and O_NONBLOCK.
    ///
    /// # Errors
    /// EBADF.
    pub fn set_flags(&self, fd: i32, flags: u32) -> Result<(), Errno> {
        self.file(fd)?.file.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }

    /// fstat(2) `st_rdev`: major and minor of the device; none for a pipe or FIFO.
    ///
    /// # Errors
    /// EBADF.
    pub fn device(&self, fd: i32) -> Result<Option<(u32, u32)>, Errno> {
        let (s, _) = self.stream(fd)?;
        Ok(s.major.map(|m| (m, s.minor)))
    }

    /// dup(2).
    ///
    /// # Errors
    /// EBADF, EMFILE.
    pub fn dup(&self, fd: i32) -> Result<i32, Errno> {
        let f = self.file(fd)?;
        self.install(f)
    }

    pub(crate) fn file(&self, fd: i32) -> Result<FileRef, Errno> {
        let files = self.files.lock();
        let f = usize::try_from(fd)
            .ok()
            .and_then(|i| files.get(i))
            .and_then(Option::as_ref);
        f.cloned().ok_or(Errno::EBADF)
    }

    /// The stream behind a descriptor, and the flags of its open.
    pub(crate) fn stream(&self, fd: i32) -> Result<(Arc<Stream>, u32), Errno> {
        let files = self.files.lock();
        let f = usize::try_from(fd)
            .ok()
            .and_then(|i| files.get(i))
            .and_then(Option::as_ref);
        let f = f.ok_or(Errno::EBADF)?;
        Ok((f.file.stream.clone(), f.file.flags()))
    }

    /// Gives a file the lowest free descriptor.
    pub(crate) fn install(&self, file: FileRef) -> Result<i32, Errno> {
        let mut files = self.files.lock();
        let at = files
            .iter()
            .position(Option::is_none)
            .unwrap_or(files.len());
        if at >= NOFILES {
            drop(files);
            self.let_go(file);
            return Err(Errno::EMFILE);
        }
        if at == files.len() {
            files.push(None);
        }
        let arrived = !file.file.received.swap(true, Ordering::AcqRel);
        let stream = file.file.stream.clone();
        files[at] = Some(file);
        drop(files);
        if arrived && stream.major.is_none() {
            stream.with(|dom| dom.wake_head(stream.head)); // an open of connld(7M) waits
        }
        Ok(at as i32)
    }

    /// Lets go of a file, closing the stream if that was the last reference.
    pub(crate) fn let_go(&self, file: FileRef) {
        let flags = file.file.flags();
        if let Some(stream) = file.release() {
            let _ = self.env.block_on(async {
                stream.close(Some(&self.caller), flags).await;
                Ok(())
            });
        }
        self.env.bury();
    }

    /// Closes every descriptor, as exit(2) does.
    pub fn exit(&self) {
        let files = std::mem::take(&mut *self.files.lock());
        for f in files.into_iter().flatten() {
            self.let_go(f);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.exit();
    }
}

impl Sys for Process {
    fn open(&self, path: &str, flags: u32) -> Result<i32, Errno> {
        let open = crate::head::open_close::open(&self.env, &self.caller, path, flags);
        let file = self.env.block_on(open)?;
        self.install(file)
    }

    fn close(&self, fd: i32) -> Result<(), Errno> {
        let slot = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let file = self
            .files
            .lock()
            .get_mut(slot)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        self.let_go(file);
        Ok(())
    }

    fn read(&self, fd: i32, count: usize) -> Result<Vec<u8>, Errno> {
        let (s, flags) = self.stream(fd)?;
        self.env.block_on(s.read(&self.caller, count, flags))
    }

    fn write(&self, fd: i32, data: &[u8]) -> Result<usize, Errno> {
        let (s, flags) = self.stream(fd)?;
        self.env.block_on(s.write(&self.caller, data, flags))
    }

    fn getpmsg(&self, fd: i32, ctlmax: i32, datmax: i32, which: Which) -> Result<Got, Errno> {
        let (s, flags) = self.stream(fd)?;
        self.env
            .block_on(s.getpmsg(&self.caller, ctlmax, datmax, which, flags))
    }

    fn putpmsg(
        &self,
        fd: i32,
        ctl: Option<&[u8]>,
        data: Option<&[u8]>,
        hipri: bool,
        band: u8,
    ) -> Result<(), Errno> {
        let (s, flags) = self.stream(fd)?;
        self.env
            .block_on(s.putpmsg(&self.caller, ctl, data, hipri, band, flags))
    }

    fn poll(&self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno> {
        let streams: Vec<Option<Arc<Stream>>> = fds
            .iter()
            .map(|p| self.stream(p.fd).ok().map(|s| s.0))
            .collect();
        let deadline = timeout.map(|t| self.env.now() + t);
        let mut armed = false;
        self.env.block_on(std::future::poll_fn(|cx| {
            let mut n = 0;
            for (p, s) in fds.iter_mut().zip(&streams) {
                p.revents = match s {
                    _ if p.fd < 0 => 0,
                    None => event::POLLNVAL,
                    Some(s) => match s.poll_events(p.events, Some(cx)) {
                        std::task::Poll::Ready(e) => e,
                        std::task::Poll::Pending => 0,
                    },
                };
                n += usize::from(p.revents != 0);
            }
            let now = self.env.now();
            if n > 0 || deadline.is_some_and(|d| now >= d) {
                return std::task::Poll::Ready(Ok(n));
            }
            if self.caller.interrupted(cx.waker()) {
                return std::task::Poll::Ready(Err(Errno::EINTR));
            }
            if let (Some(d), false) = (deadline, armed) {
                armed = true;
                self.env.wake_at(d, cx.waker().clone());
            }
            std::task::Poll::Pending
        }))
    }

    fn ioctl(&self, fd: i32, request: Ioctl) -> Result<IoctlReply, Errno> {
        let (s, flags) = self.stream(fd)?;
        let linked = s.with(|dom| dom.head(s.head).is_none_or(|h| h.plexed));
        if linked {
            return Err(Errno::EINVAL); // 2.1 step 4: for every ioctl
        }
        let c = &*self.caller;
        let env = &self.env;
        let value = IoctlReply::value;
        match request {
            Ioctl::Push(name) => env.block_on(s.push(c, &name, false)).map(|()| value(0)),
            Ioctl::Pop => env.block_on(s.pop(c, flags)).map(|()| value(0)),
            Ioctl::Look => {
                s.usable(Sides::Both, None)?;
                Ok(IoctlReply {
                    names: vec![s.look()?],
                    ..value(0)
                })
            }
            Ioctl::List => {
                s.usable(Sides::Both, None)?;
                let names = s.list();
                Ok(IoctlReply {
                    rval: names.len() as i32,
                    names,
                    data: Vec::new(),
                })
            }
            Ioctl::Find(name) => {
                s.usable(Sides::Both, None)?;
                Ok(value(s.find(&name)? as i32))
            }
            Ioctl::Str(req) => env.block_on(s.i_str(c, req)),
            Ioctl::Link(lower) | Ioctl::Plink(lower) => {
                let persistent = matches!(request, Ioctl::Plink(_));
                let lower = self.stream(lower).ok().map(|l| l.0);
                env.block_on(s.link(c, lower, persistent)).map(value)
            }
            Ioctl::Unlink(id) => env
                .block_on(s.unlink(Some(c), id, false))
                .map(|()| value(0)),
            Ioctl::Punlink(id) => env.block_on(s.unlink(Some(c), id, true)).map(|()| value(0)),
            Ioctl::Raw { cmd, arg, mem } => env.block_on(s.transparent(c, cmd, arg, mem)),
            other => s.simple_ioctl(other),
        }
    }

    fn pipe(&self) -> Result<(i32, i32), Errno> {
        let (a, b) = crate::pipe::pipe(&self.env);
        let a = self.install(a)?;
        match self.install(b) {
            Ok(b) => Ok((a, b)),
            Err(e) => {
                let _ = self.close(a); // it was just opened
                Err(e)
            }
        }
    }
}

impl Stream {
    /// The general check of 2.1: linked, errors, and for some a hangup.
    pub(crate) fn usable(&self, sides: Sides, hup: Option<Errno>) -> Result<(), Errno> {
        self.with(|dom| match dom.head(self.head) {
            Some(h) => h.geterr(sides, hup),
            None => Err(Errno::EBADF),
        })
    }

    /// The ioctls that the head answers from what it has.
    fn simple_ioctl(&self, request: Ioctl) -> Result<IoctlReply, Errno> {
        let sides = if matches!(request, Ioctl::Nread) {
            Sides::Read
        } else {
            Sides::Both
        };
        self.usable(sides, None)?;
        self.with(|dom| {
            let head = self.head;
            let hup = dom.head(head).is_some_and(|h| h.hup);
            let band_of = |b: i32| u8::try_from(b).map_err(|_| Errno::EINVAL);
            let rval = match request {
                Ioctl::Nread => {
                    let list = &dom.slot(head).list;
                    let bytes = list.front().map_or(0, Msg::msgdsize) as i32;
                    let data = bytes.to_ne_bytes().to_vec();
                    return Ok(IoctlReply {
                        rval: list.len() as i32,
                        data,
                        names: Vec::new(),
                    });
                }
                Ioctl::SetReadOpt(m) => {
                    let both = mode::RMSGD | mode::RMSGN;
                    if m & !0x1f != 0 || m & both == both {
                        return Err(Errno::EINVAL);
                    }
                    if let Some(h) = dom.head(head) {
                        let prot = m & mode::RPROTMASK;
                        // Several RPROT bits together are accepted and ignored (2.5).
                        let prot = if prot.count_ones() == 1 {
                            prot
                        } else {
                            h.readopt & mode::RPROTMASK
                        };
                        h.readopt = m & mode::RMODEMASK | prot;
                    }
                    0
                }
                Ioctl::GetReadOpt => return Ok(int_out(dom.head(head).map_or(0, |h| h.readopt))),
                Ioctl::SetWriteOpt(m) => {
                    if m & !(mode::SNDZERO | mode::SNDPIPE) != 0 {
                        return Err(Errno::EINVAL);
                    }
                    if let Some(h) = dom.head(head) {
                        h.writeopt = m;
                    }
                    0
                }
                Ioctl::GetWriteOpt => return Ok(int_out(dom.head(head).map_or(0, |h| h.writeopt))),
                Ioctl::Flush(how) => {
                    if hup {
                        return Err(Errno::ENXIO);
                    }
                    if how & !(FLUSHRW as i32) != 0 {
                        return Err(Errno::EINVAL);
                    }
                    send_flush(dom, head, &[how as u8]);
                    0
                }
                Ioctl::FlushBand { band, how } => {
                    if hup {
                        return Err(Errno::ENXIO);
                    }
                    if how & !(FLUSHRW as i32) != 0 {
                        return Err(Errno::EINVAL);
                    }
                    send_flush(dom, head, &[how as u8 | FLUSHBAND, band]);
                    0
                }
                Ioctl::CkBand(b) => {
                    let b = band_of(b)?;
                    i32::from(
                        dom.slot(head)
                            .list
                            .iter()
                            .any(|m| !m.is_high_pri() && m.band() == b),
                    )
                }
                Ioctl::GetBand => {
                    let band = dom
                        .slot(head)
                        .list
                        .front()
                        .map(Msg::band)
                        .ok_or(Errno::ENODATA)?;
                    return Ok(int_out(band.into()));
                }
                Ioctl::CanPut(b) => {
                    let b = band_of(b)?;
                    i32::from(dom.bcanputnext(head | 1, b))
                }
                Ioctl::SetClTime(ms) => {
                    let ms = u64::try_from(ms).map_err(|_| Errno::EINVAL)?;
                    if let Some(h) = dom.head(head) {
                        h.closetime = Duration::from_millis(ms);
                    }
                    0
                }
                Ioctl::GetClTime => {
                    let ms = dom.head(head).map_or(0, |h| h.closetime.as_millis());
                    return Ok(int_out(i32::try_from(ms).unwrap_or(i32::MAX)));
                }
                _ => return Err(Errno::EINVAL),
            };
            Ok(IoctlReply::value(rval))
        })
    }
}

/// An int copied out to the user.
fn int_out(v: i32) -> IoctlReply {
    IoctlReply {
        rval: 0,
        data: v.to_ne_bytes().to_vec(),
        names: Vec::new(),
    }
}

fn send_flush(dom: &mut Domain, head: u32, bytes: &[u8]) {
    if dom.slot(head | 1).next != NONE {
        dom.putnext(head | 1, Msg::of(MsgType::Flush, bytes));
    }
}
