//! The framework through its system calls: each test names the rule it reads.

use std::time::Duration;

use streams::message::{Ctl, LinkBlk};
use streams::prelude::*;
use streams::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK, event};
use streams::{Config, Ioctl, Kernel, PollFd, Process, StrIoctl, Sys, oflag};

fn kernel() -> Kernel {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    streams::register(&k).expect("fresh names");
    k
}

fn echo() -> (Kernel, Process, i32) {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("echo opens");
    (k, p, fd)
}

#[test]
fn bytes_go_down_and_come_back_through_pushed_modules() {
    let (_k, p, fd) = echo();
    p.push(fd, "nullmod").expect("push");
    p.push(fd, "nullmod").expect("push");
    assert_eq!(
        p.ioctl(fd, Ioctl::List).map(|r| r.names),
        Ok(vec!["nullmod".into(), "nullmod".into(), "echo".into()])
    );
    assert_eq!(p.write(fd, b"hello"), Ok(5));
    assert_eq!(p.read(fd, 3), Ok(b"hel".to_vec())); // RNORM: the rest stays
    assert_eq!(p.read(fd, 99), Ok(b"lo".to_vec()));
    p.ioctl(fd, Ioctl::Pop).expect("pop");
    p.ioctl(fd, Ioctl::Pop).expect("pop");
    assert_eq!(p.ioctl(fd, Ioctl::Pop), Err(Errno::EINVAL)); // no module above the driver
}

#[test]
fn a_read_that_nothing_can_end_is_a_deadlock_and_not_a_hang() {
    let (_k, p, fd) = echo();
    assert_eq!(p.read(fd, 1), Err(Errno::EDEADLK));
    p.set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("flags");
    assert_eq!(p.read(fd, 1), Err(Errno::EAGAIN));
}

#[test]
fn messages_keep_their_parts_and_bands() {
    let (_k, p, fd) = echo();
    p.putpmsg(fd, Some(b"ctl"), Some(b"data"), false, 3)
        .expect("putpmsg");
    p.putmsg(fd, Some(b"urgent"), None, true)
        .expect("high priority");
    let got = p.getmsg(fd, 64, 64, false).expect("first");
    assert!(got.hipri);
    assert_eq!((got.ctl.as_deref(), got.data), (Some(&b"urgent"[..]), None));
    let got = p.getmsg(fd, 2, 64, false).expect("second");
    assert_eq!(
        (got.ctl.as_deref(), got.data.as_deref(), got.more, got.band),
        (Some(&b"ct"[..]), Some(&b"data"[..]), 1, 3)
    );
    let got = p.getmsg(fd, 64, -1, false).expect("rest");
    assert_eq!(
        (got.ctl.as_deref(), got.data, got.more),
        (Some(&b"l"[..]), None, 0)
    );
}

#[test]
fn flow_control_stops_a_writer_and_lets_it_go_on() {
    let (_k, p, fd) = echo();
    p.set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("flags");
    let mut sent = 0;
    while let Ok(n) = p.write(fd, &[7; 1000]) {
        sent += n;
        assert!(sent < 100_000, "never stopped");
    }
    assert_eq!(p.write(fd, b"x"), Err(Errno::EAGAIN));
    let mut polls = [PollFd {
        fd,
        events: event::POLLOUT | event::POLLIN,
        revents: 0,
    }];
    assert_eq!(p.poll(&mut polls, Some(Duration::ZERO)), Ok(1));
    assert_eq!(polls[0].revents, event::POLLIN);
    let mut got = 0;
    while let Ok(v) = p.read(fd, 4096) {
        got += v.len();
    }
    assert_eq!(got, sent);
    assert_eq!(p.poll(&mut polls, Some(Duration::ZERO)), Ok(1));
    assert_eq!(polls[0].revents, event::POLLOUT);
}

#[test]
fn an_unknown_i_str_is_refused_and_a_forged_link_too() {
    let (_k, p, fd) = echo();
    assert_eq!(p.i_str(fd, 0x1234, b"x"), Err(Errno::EINVAL));
    assert_eq!(p.i_str(fd, I_LINK, b""), Err(Errno::EINVAL));
}

#[test]
fn a_pipe_is_two_heads() {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let (a, b) = p.pipe().expect("pipe");
    p.write(a, b"one").expect("write");
    p.write(b, b"two").expect("write");
    assert_eq!(p.read(b, 10), Ok(b"one".to_vec()));
    assert_eq!(p.read(a, 10), Ok(b"two".to_vec()));
    p.push(a, "nullmod").expect("push on a pipe end");
    p.write(b, b"three").expect("write");
    assert_eq!(p.read(a, 10), Ok(b"three".to_vec()));
    p.close(b).expect("close");
    assert_eq!(p.read(a, 10), Ok(vec![])); // end of file
    assert_eq!(p.write(a, b"x"), Err(Errno::EPIPE));
    assert_eq!(p.take_signals(), vec![streams::Signal::SIGPIPE]);
}

/// A driver that never answers an ioctl, and a module whose open waits for a timer.
struct Mute;
impl Module for Mute {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1, "mute");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Mute)
    }
}

struct Slow(bool);
impl Module for Slow {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(2, "slow");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        q.qtimeout(Duration::from_secs(3), 0);
        Ok(Slow(false))
    }
    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        Ok(if q.ptr().0 { Wait::Done } else { Wait::Again })
    }
    fn timeout(q: &mut Queue<'_, Self>, _: u64) {
        q.ptr().0 = true;
    }
}

#[test]
fn an_unanswered_i_str_times_out() {
    let k = kernel();
    k.add_drv::<Mute>().expect("add_drv");
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/mute", oflag::O_RDWR).expect("open");
    let before = k.now();
    let req = StrIoctl {
        cmd: 77,
        timeout: 4,
        data: vec![],
    };
    assert_eq!(p.ioctl(fd, Ioctl::Str(req)), Err(Errno::ETIME));
    assert_eq!(k.now() - before, Duration::from_secs(4));
    assert_eq!(k.rem_drv("mute"), Err(Errno::EBUSY));
    p.close(fd).expect("close");
    assert_eq!(k.rem_drv("mute"), Ok(()));
}

#[test]
fn an_open_may_wait() {
    let k = kernel();
    k.add_mod::<Slow>().expect("add_mod");
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    p.push(fd, "slow")
        .expect("push waits three seconds of emulated time");
    assert_eq!(k.now(), Duration::from_secs(3));
}

/// A multiplexor: what its upper streams send goes to the last stream linked.
#[derive(Default)]
struct Mux;
#[derive(Default)]
struct MuxShared {
    lower: Option<QRef>,
    upper: Option<QRef>,
}
impl Module for Mux {
    type Shared = MuxShared;
    const INFO: ModuleInfo = ModuleInfo::named(3, "fanmux");
    const PERIMETER: Perimeter = Perimeter::MTPERMOD;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(mux_wput);
    const MUX: Option<(QInit<Self>, QInit<Self>)> =
        Some((QInit::put(mux_lrput), QInit::put(|q, mp| q.freemsg(mp))));
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Mux)
    }
}
fn mux_wput(q: &mut Queue<'_, Mux>, mp: Msg) {
    match mp.ty() {
        MsgType::Ioctl => {
            let cmd = mp.ioc().map_or(0, |i| i.cmd);
            let blk: Option<LinkBlk> = match mp.cont().and_then(Msg::ctl) {
                Some(Ctl::Link(l)) => Some(*l),
                _ => None,
            };
            match (cmd, blk) {
                (I_LINK | I_PLINK, Some(l)) => q.shared().lower = Some(l.qbot),
                (I_UNLINK | I_PUNLINK, Some(_)) => q.shared().lower = None,
                _ => return q.iocnak(mp, Errno::EINVAL),
            }
            q.iocack(mp, 0);
        }
        MsgType::Data => {
            let me = q.rd().qref();
            q.shared().upper = Some(me);
            match q.shared().lower {
                Some(l) => q.putnext_of(l, mp),
                None => q.discard(mp, "nothing linked"),
            }
        }
        _ => q.freemsg(mp),
    }
}
fn mux_lrput(q: &mut Queue<'_, Mux>, mp: Msg) {
    match q.shared().upper {
        Some(u) => q.putnext_of(u, mp),
        None => q.discard(mp, "nobody above"),
    }
}

#[test]
fn a_persistent_link_outlives_its_process_and_is_undone_from_another() {
    let k = kernel();
    k.add_drv::<Mux>().expect("add_drv");
    let p = k.process(Cred::ROOT);
    let up = p.open("/dev/fanmux", oflag::O_RDWR).expect("open");
    let low = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    p.push(low, "nullmod").expect("push");
    let id = p.ioctl(up, Ioctl::Plink(low)).expect("I_PLINK").rval;
    assert!(id >= 1);
    assert_eq!(p.read(low, 1), Err(Errno::EINVAL)); // 4.4: linked
    assert_eq!(
        p.ioctl(low, Ioctl::Look).map(|r| r.rval),
        Err(Errno::EINVAL)
    );
    p.write(up, b"through").expect("write");
    assert_eq!(p.read(up, 99), Ok(b"through".to_vec()));
    assert_eq!(p.ioctl(up, Ioctl::Unlink(id)), Err(Errno::EINVAL)); // the wrong kind
    drop(p);
    assert_eq!(
        k.stacks()
            .iter()
            .filter(|s| s.linked_under.is_some())
            .count(),
        1
    );
    let other = k.process(Cred::ROOT);
    let up = other.open("/dev/fanmux", oflag::O_RDWR).expect("open");
    other.write(up, b"again").expect("write");
    assert_eq!(other.read(up, 99), Ok(b"again".to_vec()));
    other.ioctl(up, Ioctl::Punlink(id)).expect("I_PUNLINK");
    assert_eq!(k.stacks().len(), 1); // the lower stream was closed with its last reference
    other.write(up, b"x").expect("write");
    assert_eq!(k.drops().get(&("fanmux", "nothing linked")), Some(&1));
}

#[test]
fn a_link_that_would_close_a_cycle_is_refused() {
    let k = kernel();
    k.add_drv::<Mux>().expect("add_drv");
    let p = k.process(Cred::ROOT);
    let a = p.open("/dev/fanmux", oflag::O_RDWR).expect("open");
    let b = p.open("/dev/fanmux", oflag::O_RDWR).expect("open");
    assert_eq!(
        p.ioctl(a, Ioctl::Link(b)).map(|r| r.rval),
        Err(Errno::EINVAL)
    ); // over majors
    assert_eq!(
        p.ioctl(a, Ioctl::Link(99)).map(|r| r.rval),
        Err(Errno::EBADF)
    );
    let e = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    assert_eq!(
        p.ioctl(e, Ioctl::Link(a)).map(|r| r.rval),
        Err(Errno::EINVAL)
    ); // no mux
    let id = p.ioctl(a, Ioctl::Link(e)).expect("link").rval;
    p.close(a).expect("the last close unlinks");
    p.write(e, b"free again").expect("write");
    assert_eq!(p.read(e, 99), Ok(b"free again".to_vec()));
    assert_eq!(
        p.ioctl(b, Ioctl::Unlink(id)).map(|r| r.rval),
        Err(Errno::EINVAL)
    );
}

#[test]
fn the_trace_shows_each_hop_and_each_drop() {
    let k = kernel();
    k.set_trace(true);
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    p.push(fd, "nullmod").expect("push");
    p.write(fd, b"hop").expect("write");
    let way: Vec<_> = k
        .take_trace()
        .into_iter()
        .filter(|e| e.tag != 0 && e.what == streams::trace::What::Put)
        .map(|e| (e.module, e.read_side))
        .collect();
    assert_eq!(
        way,
        [
            ("nullmod", false),
            ("echo", false),
            ("nullmod", true),
            ("strhead", true)
        ]
    );
}

#[test]
fn two_threads_use_two_streams_of_one_kernel() {
    let k = Kernel::new().expect("a kernel");
    streams::register(&k).expect("fresh names");
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                let p = k.process(Cred::ROOT);
                let fd = p.open("/dev/echo", oflag::O_RDWR).expect("open");
                for i in 0..1000u32 {
                    p.write(fd, &i.to_ne_bytes()).expect("write");
                    assert_eq!(p.read(fd, 4), Ok(i.to_ne_bytes().to_vec()));
                }
            });
        }
    });
}

#[test]
fn a_reader_on_another_thread_is_woken() {
    let k = Kernel::new().expect("a kernel");
    streams::register(&k).expect("fresh names");
    let p = k.process(Cred::ROOT);
    let (a, b) = p.pipe().expect("pipe");
    std::thread::scope(|s| {
        let reader = s.spawn(|| p.read(b, 10));
        p.write(a, b"wake").expect("write");
        assert_eq!(reader.join().expect("no panic"), Ok(b"wake".to_vec()));
    });
}

/// A multiplexor whose streams share nothing.
struct Loner;
impl Module for Loner {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(4, "loner");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Ioctl => q.iocack(mp, 0),
        _ => q.freemsg(mp),
    });
    const MUX: Option<(QInit<Self>, QInit<Self>)> = Some((
        QInit::put(|q, mp| q.freemsg(mp)),
        QInit::put(|q, mp| q.freemsg(mp)),
    ));
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Loner)
    }
}

#[test]
fn a_persistent_link_is_undone_from_a_stream_of_another_domain() {
    // The reference's 4.3: on any stream open to the same driver.
    let k = kernel();
    k.add_drv::<Loner>().expect("add_drv");
    let p = k.process(Cred::ROOT);
    let up = p.open("/dev/loner", oflag::O_RDWR).expect("open");
    let low = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    let id = p.ioctl(up, Ioctl::Plink(low)).expect("I_PLINK").rval;
    let other = p.open("/dev/loner", oflag::O_RDWR).expect("open");
    p.ioctl(other, Ioctl::Punlink(id)).expect("I_PUNLINK");
    p.write(low, b"free again").expect("write");
    assert_eq!(p.read(low, 99), Ok(b"free again".to_vec()));
}
