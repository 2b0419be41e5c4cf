//! connld: each open of a name is a connection of its own.
//!
//! ```text
//!   server: pipe (a, b); push connld on b; fattach b, "/door"; I_RECVFD on a
//!   client: open "/door" ──► a new pipe: one end is the client's,
//!                            the other goes to a as M_PASSFP
//! ```
//!
//! The module itself passes everything. open(2) of an attached stream that has it makes the
//! pipe, and waits until the server has received its end (unless it must not sleep).
//!
//! Spec: connld(7M), the reference's section 9.
//! Kept: pushed only on a pipe whose other end is open (EPIPE), and once (ENXIO).

use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::Poll;

use crate::file::{File, FileRef, Stream};
use crate::head::{Sleep, open_close::reopen};
use crate::kernel::Env;
use crate::prelude::*;
use crate::process::{Caller, oflag};
use crate::queue::{NONE, flag};

/// The module.
pub struct ConnLd;

impl Module for ConnLd {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1003, "connld");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        let head = q.dom.head_of(q.idx).ok_or(Errno::EINVAL)?;
        if !q.dom.head(head).is_some_and(|h| h.is_pipe) {
            return Err(Errno::EINVAL);
        }
        if peer_head(q.dom, head).is_none() {
            return Err(Errno::EPIPE); // a FIFO, or the other end is closed
        }
        let mut below = q.dom.slot(q.idx | 1).next;
        while below != NONE && below & 1 == 1 {
            if q.dom.slot(below).name == Self::INFO.name {
                return Err(Errno::ENXIO);
            }
            below = q.dom.slot(below).next;
        }
        Ok(ConnLd)
    }
}

/// The head at the other end of a pipe.
fn peer_head(dom: &crate::domain::Domain, head: u32) -> Option<u32> {
    let own = dom.slot(head).stream;
    let mut at = dom.slot(head | 1).next;
    while at != NONE {
        let s = dom.slot(at);
        if s.has(flag::QHEAD) {
            return (s.stream != own).then_some(at);
        }
        at = s.next;
    }
    None
}

/// Opens a stream by the name it is attached to.
pub(crate) async fn open(
    env: &Arc<Env>,
    caller: &Caller,
    attached: &FileRef,
    flags: u32,
) -> Result<FileRef, Errno> {
    let stream = attached.file.stream.clone();
    let file = reopen(&stream, caller, flags).await?;
    if !stream.list().iter().any(|n| n == ConnLd::INFO.name) {
        return Ok(file);
    }
    let _ = file.release(); // not the last: it is attached
    let (mine, theirs) = crate::pipe::pipe(env);
    mine.file.flags.store(flags, Ordering::Relaxed);
    let passed = theirs.file.clone();
    let cred = caller.cred;
    stream
        .with(|dom| {
            let to = peer_head(dom, stream.head)?;
            let mp = Msg::control(MsgType::PassFp, Ctl::PassFp(theirs, cred));
            dom.put(to, mp);
            Some(())
        })
        .ok_or(Errno::ENXIO)?; // the server is gone
    if flags & oflag::NONBLOCK != 0 {
        return Ok(mine);
    }
    let offer = Offer { stream, passed };
    let sleep = Sleep {
        caller: Some(caller),
        deadline: None,
    };
    let file = &offer.passed;
    let pipe = file.stream.clone();
    let r = pipe.wait_for(sleep, |_, _| {
        if file.received.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        match file.refs.load(Ordering::Acquire) {
            0 => Poll::Ready(Err(Errno::ENXIO)), // thrown away unread
            _ => Poll::Pending,
        }
    });
    r.await.map(|()| mine)
}

/// An end on its way to the server. Who stops waiting takes it back.
struct Offer {
    stream: Arc<Stream>,
    passed: Arc<File>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.stream.with(|dom| {
            let Some(to) = peer_head(dom, self.stream.head) else {
                return;
            };
            let ours = |m: &Msg| match m.ctl() {
                Some(Ctl::PassFp(f, _)) => Arc::ptr_eq(&f.file, &self.passed),
                _ => false,
            };
            if let Some(at) = dom.slot(to).list.iter().position(ours)
                && let Some(mp) = dom.rmvq(to, at)
            {
                dom.pool.free(mp);
            }
        });
        self.stream.env.bury();
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;
    use crate::sys::event;
    use crate::{Config, Kernel, PollFd, Process, Signal, Sys, oflag};

    /// What I_RECVFD does, without its copying.
    fn receive(p: &Process, fd: i32) -> Option<(i32, Cred)> {
        let (s, _) = p.stream(fd).ok()?;
        let mut mp = s.with(|dom| dom.getq(s.head))?;
        let Some(Ctl::PassFp(file, cred)) = mp.set_ctl(None) else {
            return None;
        };
        Some((p.install(file).ok()?, cred))
    }

    fn door(k: &Kernel) -> (Process, i32, i32) {
        crate::register(k).expect("fresh names");
        let p = k.process(Cred::ROOT);
        let (a, b) = p.pipe().expect("pipe");
        p.push(b, "connld").expect("push");
        p.mkfile("/door", 0o666).expect("mkfile");
        p.fattach(b, "/door").expect("fattach");
        (p, a, b)
    }

    #[test]
    fn each_open_of_the_name_is_a_connection_of_its_own() {
        let k = Kernel::new().expect("a kernel");
        let (server, a, b) = door(&k);
        server.close(b).expect("the attachment keeps it open");
        std::thread::scope(|s| {
            for id in [7u32, 8] {
                let k = &k;
                let client = s.spawn(move || {
                    let p = k.process(Cred::user(id));
                    let fd = p.open("/door", oflag::O_RDWR)?; // until it is received
                    p.write(fd, &id.to_ne_bytes())?;
                    p.read(fd, 99)
                });
                let mut at = [PollFd {
                    fd: a,
                    events: event::POLLIN,
                    revents: 0,
                }];
                assert_eq!(server.poll(&mut at, None), Ok(1));
                let (fd, cred) = receive(&server, a).expect("M_PASSFP");
                assert_eq!(cred.uid, id);
                assert_eq!(server.read(fd, 99), Ok(id.to_ne_bytes().to_vec()));
                server.write(fd, b"welcome").expect("write");
                let got = client.join().expect("no panic");
                assert_eq!(got, Ok(b"welcome".to_vec()));
            }
        });
        server.fdetach("/door").expect("fdetach");
        assert_eq!(server.read(a, 1), Ok(vec![])); // the other end is closed now
    }

    #[test]
    fn an_open_that_is_interrupted_takes_its_message_back() {
        let k = Kernel::with_config(Config::test()).expect("a kernel");
        let (server, a, _b) = door(&k);
        let p = k.process(Cred::user(7));
        p.kill(Signal::SIGTERM);
        assert_eq!(p.open("/door", oflag::O_RDWR), Err(Errno::EINTR));
        assert!(receive(&server, a).is_none());
        assert_eq!(p.open("/door", oflag::O_RDWR), Err(Errno::EDEADLK)); // nobody receives
        assert!(receive(&server, a).is_none());
        k.run_until_idle(); // what was let go of is closed
        let before = k.stacks().len();
        let fd = p.open("/door", oflag::O_RDWR | oflag::O_NONBLOCK);
        p.close(fd.expect("does not wait")).expect("close");
        let (fd, _) = receive(&server, a).expect("M_PASSFP");
        assert_eq!(server.read(fd, 1), Ok(vec![])); // the client is gone
        assert_eq!(k.stacks().len(), before + 1);
    }

    #[test]
    fn an_end_that_is_thrown_away_ends_the_open() {
        let k = Kernel::new().expect("a kernel");
        let (server, a, b) = door(&k);
        server.close(b).expect("close");
        std::thread::scope(|s| {
            let client = s.spawn(|| k.process(Cred::user(7)).open("/door", oflag::O_RDWR));
            let mut at = [PollFd {
                fd: a,
                events: event::POLLIN,
                revents: 0,
            }];
            assert_eq!(server.poll(&mut at, None), Ok(1));
            server.close(a).expect("close");
            assert_eq!(client.join().expect("no panic"), Err(Errno::ENXIO));
        });
        let p = k.process(Cred::ROOT);
        assert_eq!(p.open("/door", oflag::O_RDWR), Err(Errno::ENXIO)); // no server
    }

    #[test]
    fn connld_goes_on_a_whole_pipe_once() {
        let k = Kernel::with_config(Config::test()).expect("a kernel");
        let (p, a, b) = door(&k);
        assert_eq!(p.push(b, "connld"), Err(Errno::ENXIO));
        let echo = p.open("/dev/echo", oflag::O_RDWR).expect("open");
        assert_eq!(p.push(echo, "connld"), Err(Errno::EINVAL));
        p.mkfifo("/fifo", 0o600).expect("mkfifo");
        let fifo = p.open("/fifo", oflag::O_RDWR).expect("open");
        assert_eq!(p.push(fifo, "connld"), Err(Errno::EPIPE));
        p.write(a, b"passes").expect("write");
        assert_eq!(p.read(b, 9), Ok(b"passes".to_vec()));
    }
}
