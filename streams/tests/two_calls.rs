//! Two system calls on one stream at once: who waits for whom, and what ends the wait.

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use streams::message::Ctl;
use streams::prelude::*;
use streams::{Action, Ioctl, Kernel, MsgType, Process, Signal, StrIoctl, Sys, oflag};

/// Only a test that fails waits so long.
const LONG: Duration = Duration::from_secs(20);

/// A kernel with the real clock: calls of other threads may end a wait.
fn live() -> (Kernel, Process) {
    let k = Kernel::new().expect("a kernel");
    streams::register(&k).expect("fresh names");
    k.add_mod::<Waiter>().expect("fresh names");
    k.add_drv::<Holder>().expect("fresh names");
    let p = k.process(Cred::ROOT);
    p.sigaction(Signal::SIGINT, Action::Catch)
        .expect("a handler");
    (k, p)
}

/// Its open waits until something comes by (qwait(9F)).
struct Waiter {
    come: bool,
}
/// Who wants to know that an open has begun to wait.
static WAITS: Mutex<Option<Sender<()>>> = Mutex::new(None);

impl Module for Waiter {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(93, "waiter");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| {
        q.ptr().come = true;
        q.freemsg(mp);
    });
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Waiter { come: false })
    }
    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        if q.ptr().come {
            return Ok(Wait::Done);
        }
        if let Some(s) = WAITS.lock().map_err(|_| Errno::EIO)?.take() {
            let _ = s.send(()); // a test that failed does not listen
        }
        Ok(Wait::Again)
    }
}

/// streamio(7I) I_PUSH, I_POP; the reference's 2.2 and 2.5: one plumbs at a time. Another is
/// EAGAIN if it may not block, waits otherwise, and a signal ends the wait with EINTR.
#[test]
fn one_plumbs_at_a_time() {
    let (_k, p) = live();
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("echo");
    p.push(fd, "nullmod").expect("push");
    let (tell, waits) = channel();
    *WAITS.lock().expect("unpoisoned") = Some(tell);
    let (first, second) = (p.fork(), p.fork());
    std::thread::scope(|s| {
        let pusher = s.spawn(|| first.push(fd, "waiter"));
        waits.recv_timeout(LONG).expect("the open waits");

        p.set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("flags");
        assert_eq!(p.ioctl(fd, Ioctl::Pop).err(), Some(Errno::EAGAIN));
        p.set_flags(fd, oflag::O_RDWR).expect("flags");

        second.kill(Signal::SIGINT); // ends its next sleep, whenever that begins
        assert_eq!(second.ioctl(fd, Ioctl::Pop).err(), Some(Errno::EINTR));
        second.kill(Signal::SIGINT);
        assert_eq!(second.push(fd, "nullmod").err(), Some(Errno::EINTR));

        let popper = s.spawn(|| second.ioctl(fd, Ioctl::Pop).map(|r| r.rval));
        p.write(fd, b"come").expect("write");
        assert_eq!(pusher.join().expect("no panic"), Ok(()));
        assert_eq!(popper.join().expect("no panic"), Ok(0));
    });
    // What was pushed last was popped.
    let names = p.ioctl(fd, Ioctl::List).expect("I_LIST").names;
    assert_eq!(names, ["nullmod", "echo"]);
}

/// A driver that keeps an M_IOCTL until it is told to answer it.
struct Holder {
    held: Vec<Msg>,
    seen: Sender<usize>,
}
static SEEN: Mutex<Option<Sender<usize>>> = Mutex::new(None);

impl Module for Holder {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(94, "holder");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Ioctl => {
            let me = q.ptr();
            me.held.push(mp);
            let _ = me.seen.send(me.held.len());
        }
        _ => {
            q.freemsg(mp);
            if let Some(mut io) = q.ptr().held.pop() {
                if let Some(Ctl::Ioc(i)) = io.ctl_mut() {
                    i.count = 0;
                    i.rval = 7;
                }
                io.set_ty(MsgType::IocAck);
                q.qreply(io);
            }
        }
    });
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let seen = SEEN
            .lock()
            .map_err(|_| Errno::EIO)?
            .take()
            .ok_or(Errno::ENXIO)?;
        Ok(Holder {
            held: Vec::new(),
            seen,
        })
    }
}

fn held(p: &Process) -> (i32, Receiver<usize>) {
    let (tell, seen) = channel();
    *SEEN.lock().expect("unpoisoned") = Some(tell);
    (p.open("/dev/holder", oflag::O_RDWR).expect("holder"), seen)
}

fn question() -> Ioctl {
    Ioctl::Str(StrIoctl {
        cmd: 1,
        timeout: -1,
        data: Vec::new(),
    })
}

/// The reference's 3.2 and 10 #1: one ioctl is outstanding on a stream; the next waits until
/// it is answered, and a signal ends that wait.
#[test]
fn one_ioctl_is_outstanding() {
    let (_k, p) = live();
    let (fd, seen) = held(&p);
    let (a, b) = (p.fork(), p.fork());
    std::thread::scope(|s| {
        let first = s.spawn(|| a.ioctl(fd, question()).map(|r| r.rval));
        assert_eq!(seen.recv_timeout(LONG), Ok(1));
        b.kill(Signal::SIGINT);
        assert_eq!(b.ioctl(fd, question()).err(), Some(Errno::EINTR));
        let second = s.spawn(|| b.ioctl(fd, question()).map(|r| r.rval));
        p.write(fd, b"answer").expect("write");
        assert_eq!(first.join().expect("no panic"), Ok(7));
        // Only now does the driver get the second: it holds one again, not two.
        assert_eq!(seen.recv_timeout(LONG), Ok(1));
        p.write(fd, b"answer").expect("write");
        assert_eq!(second.join().expect("no panic"), Ok(7));
    });
}

/// Reads share a stream: two readers that sleep get one message each (read(2)).
#[test]
fn two_readers_get_one_message_each() {
    let (_k, p) = live();
    let (a, b) = p.pipe().expect("a pipe");
    let (q, r) = (p.fork(), p.fork());
    std::thread::scope(|s| {
        let one = s.spawn(|| q.getmsg(b, 64, 64, false).map(|g| g.data));
        let two = s.spawn(|| r.getmsg(b, 64, 64, false).map(|g| g.data));
        p.write(a, b"x").expect("write");
        p.write(a, b"y").expect("write");
        let mut got = [one, two].map(|t| t.join().expect("no panic").expect("a message"));
        got.sort();
        assert_eq!(got, [Some(b"x".to_vec()), Some(b"y".to_vec())]);
    });
}
