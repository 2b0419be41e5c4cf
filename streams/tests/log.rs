//! log(7D), strlog(9F), strace(1M), strerr(1M): the reference's section 9.

mod common;

use std::time::Duration;

use common::{open, root};
use streams::prelude::*;
use streams::strlog::*;
use streams::{Kernel, Sys, oflag};

/// Logs each message that goes down: its first byte is the level, the second the flags.
struct Talker;
impl Module for Talker {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(77, "talker");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| {
        if let [level, flags, rest @ ..] = mp.rd() {
            let text = String::from_utf8_lossy(rest);
            let there = q.strlog_to(5, *level as i8, (*flags).into(), format_args!("{text}"));
            assert!(there);
        }
        q.freemsg(mp);
    });
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Talker)
    }
}

fn talker() -> (Kernel, streams::Process, i32) {
    let (k, p) = root();
    k.add_mod::<Talker>().expect("add_mod");
    let fd = open(&p, "/dev/nuls");
    p.push(fd, "talker").expect("push");
    (k, p, fd)
}

fn say(p: &streams::Process, fd: i32, level: u8, flags: u16, text: &str) {
    let mut b = vec![level, flags as u8];
    b.extend(text.as_bytes());
    p.write(fd, &b).expect("write");
}

/// The texts that wait for a logger.
fn texts(p: &streams::Process, fd: i32) -> Vec<String> {
    p.set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("F_SETFL");
    std::iter::from_fn(|| next(p, fd).ok().map(|r| r.text)).collect()
}

#[test]
fn a_record_reaches_the_loggers_that_its_flags_name() {
    let (k, p, fd) = talker();
    let trace = strace(&p, &[TraceId::ALL]).expect("I_TRCLOG");
    let err = strerr(&p).expect("I_ERRLOG");
    let cons = conslog(&p).expect("I_CONSLOG");
    say(&p, fd, 1, SL_TRACE, "t");
    say(&p, fd, 1, SL_ERROR, "e");
    say(&p, fd, 1, SL_CONSOLE | SL_ERROR, "ce");
    say(&p, fd, 1, 0, "nobody");
    k.run_until_idle();
    assert_eq!(texts(&p, trace), ["t"]);
    assert_eq!(texts(&p, err), ["e", "ce"]);
    assert_eq!(texts(&p, cons), ["ce"]);
}

#[test]
fn the_log_ctl_says_who_when_and_how_bad() {
    let (k, p, fd) = talker();
    let err = strerr(&p).expect("I_ERRLOG");
    k.advance(Duration::from_secs(3661));
    say(&p, fd, 9, SL_ERROR | SL_FATAL | SL_NOTIFY, "on fire");
    say(&p, fd, 9, SL_ERROR, "again");
    let r = next(&p, err).expect("the reader waits for it");
    assert_eq!((r.mid, r.sid, r.level, r.seq), (77, 5, 9, 1));
    assert_eq!((r.ltime, r.ttime, r.pri), (366_100, 3661, 2)); // LOG_CRIT
    assert_eq!(
        r.to_string(),
        "000001 01:01:01 00059614   9 EFN 77 5 on fire"
    );
    let r = next(&p, err).expect("second");
    assert_eq!((r.seq, r.pri), (2, 3)); // LOG_ERR
    assert_eq!(LogRecord::parse(&r.ctl(), b"again\0junk"), Some(r));
    assert_eq!(LogRecord::parse(b"short", b""), None);
}

#[test]
fn trace_ids_choose_module_part_and_level() {
    let (k, p, fd) = talker();
    let id = |mid, sid, level| TraceId { mid, sid, level };
    let open = |ids: &[TraceId]| strace(&p, ids).expect("I_TRCLOG");
    let fds = [
        open(&[id(77, -1, -1)]),
        open(&[id(78, -1, -1)]),
        open(&[id(77, 6, -1)]),
        open(&[id(-1, 5, 3)]),
        open(&[id(78, -1, -1), id(-1, -1, 9)]),
    ];
    say(&p, fd, 3, SL_TRACE, "three");
    say(&p, fd, 4, SL_TRACE, "four");
    k.run_until_idle();
    let got = fds.map(|fd| texts(&p, fd).len());
    assert_eq!(got, [2, 0, 0, 1, 2]);
}

#[test]
fn one_error_logger_at_a_time_and_a_stream_is_one_logger() {
    let (_k, p, _) = talker();
    let err = strerr(&p).expect("I_ERRLOG");
    assert_eq!(strerr(&p), Err(Errno::EBUSY));
    assert_eq!(p.i_str(err, I_CONSLOG, b"").map(|_| ()), Err(Errno::EBUSY));
    p.close(err).expect("close");
    let err = strerr(&p).expect("the former has gone");
    p.close(err).expect("close");
    let fd = open(&p, "/dev/log");
    assert_eq!(p.i_str(fd, I_TRCLOG, b"").map(|_| ()), Err(Errno::EINVAL)); // no ids
    assert_eq!(p.i_str(fd, 1, b"").map(|_| ()), Err(Errno::EINVAL));
    let r = common::transparent(&p, fd, I_ERRLOG, b"");
    assert_eq!(r.map(|_| ()), Err(Errno::EINVAL)); // I_STR only
    let cons = open(&p, "/dev/conslog");
    assert_eq!(p.i_str(cons, I_ERRLOG, b"").map(|_| ()), Err(Errno::EINVAL)); // for writing
}

#[test]
fn programs_log_through_the_same_driver() {
    let (k, p) = root();
    let trace = strace(&p, &[TraceId::ALL]).expect("I_TRCLOG");
    let cons = conslog(&p).expect("I_CONSLOG");
    let fd = open(&p, "/dev/log");
    let r = LogRecord::new(3, 4, 5, SL_TRACE, "from a program");
    send(&p, fd, &r).expect("putmsg");
    p.putmsg(fd, Some(b"odd"), Some(b"x"), false)
        .expect("putmsg");
    let line = open(&p, "/dev/conslog");
    p.write(line, b"a line\n").expect("write");
    p.write(fd, b"not a record").expect("write");
    k.run_until_idle();
    assert_eq!(texts(&p, trace), ["from a program"]);
    assert_eq!(texts(&p, cons), ["a line"]);
    assert_eq!(k.drops().get(&("log", "not a log record")), Some(&1));
}

#[test]
fn a_slow_logger_keeps_order_and_loses_only_beyond_its_box() {
    let (k, p, fd) = talker();
    let trace = strace(&p, &[TraceId::ALL]).expect("I_TRCLOG");
    for i in 0..1000 {
        say(&p, fd, 1, SL_TRACE, &i.to_string());
    }
    k.run_until_idle();
    let want: Vec<_> = (0..1000).map(|i| i.to_string()).collect();
    let mut got = Vec::new();
    while got.len() < 1000 {
        let more = texts(&p, trace);
        assert!(!more.is_empty(), "stalled after {}", got.len());
        got.extend(more);
    }
    assert_eq!(got, want);
}

#[test]
fn the_short_form_of_strlog_reaches_the_trace_log() {
    struct Short;
    impl Module for Short {
        type Shared = ();
        const INFO: ModuleInfo = ModuleInfo::named(8, "short");
        const PERIMETER: Perimeter = Perimeter::MTSAFE;
        const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
        const WRITE: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| {
            q.strlog(2, format_args!("{} bytes", mp.len()));
            q.freemsg(mp);
        });
        fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
            Ok(Short)
        }
    }
    let (k, p) = root();
    k.add_drv::<Short>().expect("add_drv");
    let fd = open(&p, "/dev/short");
    p.write(fd, b"nobody listens").expect("write");
    let trace = strace(&p, &[TraceId::ALL]).expect("I_TRCLOG");
    p.write(fd, b"four").expect("write");
    let r = next(&p, trace).expect("a record");
    assert_eq!(
        (r.mid, r.level, r.flags, &*r.text),
        (8, 2, SL_TRACE, "4 bytes")
    );
}
