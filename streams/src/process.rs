//! An emulated process: credentials, descriptors, signals, and the system calls.
//!
//! ```text
//!   Process ──► descriptors ──► FileRef ─┐      fork: the child's refer to the same files
//!      │                                 ├──► File (flags) ──► Stream
//!   fork ─────► descriptors ──► FileRef ─┘      dup: so do both of one process
//!      └──► Caller: who it is, its group, what it does about signals
//! ```
//!
//! Spec: intro(2), dup(2), fork(2), exec(2), exit(2), fcntl(2), the reference's 2.1.
//! Kept: the lowest free descriptor; files shared by dup and fork; close-on-exec; a
//! process that closes any descriptor of a stream gets no SIGPOLL from it any more (8.3).

mod abi;
mod calls;
pub(crate) mod signal;
pub(crate) mod table;

use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::sync::Mutex;

use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::kernel::{Env, Life};
use crate::message::Cred;

pub use signal::{Action, SigInfo, Signal, si_code};
pub(crate) use signal::{Caller, Ids};

/// open(2) flags with Solaris's values.
pub mod oflag {
    /// Reading only.
    pub const O_RDONLY: u32 = 0;
    /// Writing only.
    pub const O_WRONLY: u32 = 1;
    /// Both.
    pub const O_RDWR: u32 = 2;
    /// The bits of the access mode.
    pub const O_ACCMODE: u32 = 3;
    /// Don't sleep (System V).
    pub const O_NDELAY: u32 = 0x04;
    /// Don't sleep (POSIX).
    pub const O_NONBLOCK: u32 = 0x80;
    /// Don't make it the controlling terminal.
    pub const O_NOCTTY: u32 = 0x800;
    /// Either of the two.
    pub const NONBLOCK: u32 = O_NDELAY | O_NONBLOCK;
}

/// Descriptors a process may have, unless it sets another limit.
const NOFILES: usize = 1024;

/// A process of a kernel. Dropping it closes its descriptors.
#[repr(align(128))] // what two threads write is never on one cache line
pub struct Process {
    pub(crate) env: Arc<Env>,
    pub(crate) caller: Arc<Caller>,
    files: Mutex<Vec<Option<FileRef>>>,
    /// Descriptors that exec closes (FD_CLOEXEC).
    cloexec: Mutex<BTreeSet<i32>>,
    nofiles: AtomicUsize,
    life: Arc<Life>,
}

impl Process {
    pub(crate) fn new(env: Arc<Env>, life: Arc<Life>, cred: Cred) -> Process {
        let pid = env.next_pid.fetch_add(1, Ordering::Relaxed);
        let ids = Ids {
            ppid: 1,
            pgrp: pid,
            sid: pid,
            ctty: None,
        };
        Process::with(env, life, Caller::new(cred, pid, ids))
    }

    fn with(env: Arc<Env>, life: Arc<Life>, caller: Caller) -> Process {
        let caller = Arc::new(caller);
        env.procs.add(&caller);
        Process {
            env,
            caller,
            files: Mutex::default(),
            cloexec: Mutex::default(),
            nofiles: AtomicUsize::new(NOFILES),
            life,
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
        self.caller.post_info(SigInfo {
            sender: Some(self.pid()),
            ..SigInfo::kernel(sig)
        });
    }
    /// The signals it has caught since it was last asked, in their order.
    pub fn take_signals(&self) -> Vec<Signal> {
        let all = self.take_siginfo();
        all.into_iter().map(|i| i.signal).collect()
    }
    /// The same with what siginfo(3HEAD) says of each.
    pub fn take_siginfo(&self) -> Vec<SigInfo> {
        self.caller.take_caught()
    }
    /// sigaction(2): returns what was done before.
    ///
    /// # Errors
    /// EINVAL: SIGKILL and SIGSTOP can't be caught.
    pub fn sigaction(&self, sig: Signal, action: Action) -> Result<Action, Errno> {
        self.caller.set_action(sig, action)
    }
    /// The signal that has ended the process.
    pub fn killed_by(&self) -> Option<Signal> {
        self.caller.killed()
    }

    /// fork(2): a child with the same descriptors, group, session and signal actions. Both
    /// share the files, so that flags changed by one hold for the other.
    pub fn fork(&self) -> Process {
        let pid = self.env.next_pid.fetch_add(1, Ordering::Relaxed);
        let child = Process::with(self.env.clone(), self.life.clone(), self.caller.child(pid));
        child.files.lock().clone_from(&self.files.lock());
        child.cloexec.lock().clone_from(&self.cloexec.lock());
        let limit = self.nofiles.load(Ordering::Relaxed);
        child.nofiles.store(limit, Ordering::Relaxed);
        child
    }

    /// exec(2), as far as it is the kernel's: closes what is marked so, and handlers are
    /// gone with the old program.
    pub fn exec(&self) {
        self.caller.exec();
        for fd in std::mem::take(&mut *self.cloexec.lock()) {
            if let Some(f) = self.take(fd) {
                self.closed(f);
            }
        }
    }

    /// fcntl(F_SETFD): does exec close this descriptor?
    ///
    /// # Errors
    /// EBADF.
    pub fn set_cloexec(&self, fd: i32, on: bool) -> Result<(), Errno> {
        self.stream(fd)?;
        let mut set = self.cloexec.lock();
        if on {
            set.insert(fd)
        } else {
            set.remove(&fd)
        };
        Ok(())
    }
    /// fcntl(F_GETFD).
    ///
    /// # Errors
    /// EBADF.
    pub fn cloexec(&self, fd: i32) -> Result<bool, Errno> {
        self.stream(fd)?;
        Ok(self.cloexec.lock().contains(&fd))
    }

    /// fcntl(F_SETFL): changes O_NDELAY and O_NONBLOCK; the access mode stays.
    ///
    /// # Errors
    /// EBADF.
    pub fn set_flags(&self, fd: i32, flags: u32) -> Result<(), Errno> {
        let f = self.file(fd)?;
        let access = f.file.flags() & oflag::O_ACCMODE;
        let flags = flags & !oflag::O_ACCMODE | access;
        f.file.flags.store(flags, Ordering::Relaxed);
        Ok(())
    }
    /// fcntl(F_GETFL).
    ///
    /// # Errors
    /// EBADF.
    pub fn flags(&self, fd: i32) -> Result<u32, Errno> {
        Ok(self.stream(fd)?.1)
    }
    /// setrlimit(2) with RLIMIT_NOFILE: descriptors that the process may have.
    pub fn set_nofiles(&self, limit: usize) {
        self.nofiles.store(limit, Ordering::Relaxed);
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

    /// dup2(2): `to` is closed first if it is open.
    ///
    /// # Errors
    /// EBADF: `fd` is not open, or `to` is out of range.
    pub fn dup2(&self, fd: i32, to: i32) -> Result<i32, Errno> {
        let f = self.file(fd)?;
        let at = usize::try_from(to).map_err(|_| Errno::EBADF)?;
        if at >= self.nofiles.load(Ordering::Relaxed) {
            return Err(Errno::EBADF);
        }
        if fd == to {
            return Ok(to);
        }
        let mut files = self.files.lock();
        if at >= files.len() {
            files.resize_with(at + 1, || None);
        }
        let old = files[at].replace(f);
        drop(files);
        self.cloexec.lock().remove(&to);
        if let Some(old) = old {
            self.closed(old);
        }
        Ok(to)
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

    /// EMFILE if no descriptor is left.
    pub(crate) fn has_room(&self) -> Result<(), Errno> {
        let used = self.files.lock().iter().filter(|f| f.is_some()).count();
        if used >= self.nofiles.load(Ordering::Relaxed) {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    /// Gives a file the lowest free descriptor.
    pub(crate) fn install(&self, file: FileRef) -> Result<i32, Errno> {
        let mut files = self.files.lock();
        let at = files
            .iter()
            .position(Option::is_none)
            .unwrap_or(files.len());
        if at >= self.nofiles.load(Ordering::Relaxed) {
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

    /// Takes a descriptor's file out of the table.
    fn take(&self, fd: i32) -> Option<FileRef> {
        let at = usize::try_from(fd).ok()?;
        self.files.lock().get_mut(at)?.take()
    }

    /// A descriptor was closed: its stream sends the process no more signals (8.3).
    fn closed(&self, file: FileRef) {
        let s = &file.file.stream;
        s.with(|dom| dom.unregister(s.head, self.caller.pid));
        self.let_go(file);
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

    /// Closes every descriptor, as exit(2) does; nobody can signal the process any more.
    pub fn exit(&self) {
        let files = std::mem::take(&mut *self.files.lock());
        for f in files.into_iter().flatten() {
            self.closed(f);
        }
        self.cloexec.lock().clear();
        self.env.procs.remove(self.caller.pid);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.exit();
    }
}
