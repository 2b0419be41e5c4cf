//! log: where modules and programs leave messages, and loggers read them.
//!
//! ```text
//!   q.strlog(..) in any domain ──► hub ──► who wants it? ──► its box, its doorbell rung
//!   putmsg to /dev/log ───────────┘                                │
//!                            logger's stream  ◄── M_PROTO + M_DATA ┘ (interrupt)
//! ```
//!
//! The hub is outside every domain: a module that logs never enters the logger's. Nobody
//! listening costs one load.
//!
//! Spec: log(7D), strlog(9F), the reference's section 9.
//! Kept: I_TRCLOG, I_ERRLOG, I_CONSLOG by I_STR on /dev/log, EBUSY for a stream that is a
//! logger, and for a second error or console logger; each kind has its own sequence.
//! Differs: nothing is kept for a logger that is yet to come.

use crate::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::Mutex;

use crate::intr::Doorbell;
use crate::kernel::Env;
use crate::prelude::*;
use crate::strlog::*;

/// Minor of /dev/conslog: for writing only.
pub const CONSMIN: u32 = 0;
/// Records that wait for one logger, at most.
const BOX: usize = 4096;

/// One open.
pub struct Log {
    /// Opened as /dev/conslog.
    console: bool,
}

/// What a logger gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Trace,
    Error,
    Console,
}

const KINDS: [(Kind, u16); 3] = [
    (Kind::Trace, SL_TRACE),
    (Kind::Error, SL_ERROR),
    (Kind::Console, SL_CONSOLE),
];

/// A stream that has become a logger.
struct Logger {
    stream: u32,
    kind: Kind,
    ids: Vec<TraceId>,
    bell: Doorbell,
    waiting: VecDeque<LogRecord>,
}

#[derive(Default)]
struct Loggers {
    all: Vec<Logger>,
    /// The sequence of each of KINDS.
    seq: [i32; 3],
}

/// The meeting point of those who log and those who read. One in each kernel.
#[derive(Default)]
pub(crate) struct Hub {
    listening: AtomicBool,
    loggers: Mutex<Loggers>,
}

impl Hub {
    /// Does anybody listen?
    pub fn listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// Gives a record to who wants it; false if one of them had no room for it.
    pub fn post(&self, env: &Env, mut r: LogRecord) -> bool {
        let now = env.now();
        r.ltime = i32::try_from(now.as_millis() / 10).unwrap_or(i32::MAX);
        r.ttime = i32::try_from(date(env, now).as_secs()).unwrap_or(i32::MAX);
        if r.pri == 0 {
            r.pri = priority(r.flags);
        }
        let mut l = self.loggers.lock();
        let Loggers { all, seq } = &mut *l;
        let mut room = true;
        for (i, (kind, bit)) in KINDS.into_iter().enumerate() {
            if r.flags & bit == 0 {
                continue;
            }
            seq[i] = seq[i].wrapping_add(1);
            r.seq = seq[i];
            for to in all.iter_mut().filter(|l| l.kind == kind) {
                if kind == Kind::Trace && !to.ids.iter().any(|id| id.wants(&r)) {
                    continue;
                }
                if to.waiting.len() >= BOX {
                    room = false;
                    continue;
                }
                to.waiting.push_back(r.clone());
                to.bell.ring();
            }
        }
        room
    }

    fn join(&self, l: Logger) -> Result<(), Errno> {
        let mut loggers = self.loggers.lock();
        let one = l.kind != Kind::Trace && loggers.all.iter().any(|o| o.kind == l.kind);
        if one || loggers.all.iter().any(|o| o.stream == l.stream) {
            return Err(Errno::EBUSY);
        }
        loggers.all.push(l);
        self.listening.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn leave(&self, stream: u32) {
        let mut loggers = self.loggers.lock();
        loggers.all.retain(|l| l.stream != stream);
        let any = !loggers.all.is_empty();
        self.listening.store(any, Ordering::Relaxed);
    }

    fn take(&self, stream: u32) -> Option<LogRecord> {
        let mut loggers = self.loggers.lock();
        let me = loggers.all.iter_mut().find(|l| l.stream == stream)?;
        me.waiting.pop_front()
    }
}

/// Seconds since 1970; a clock set by hand starts there.
fn date(env: &Env, now: Duration) -> Duration {
    if env.clock.is_manual() {
        return now;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(now)
}

/// The syslog level that the flags stand for; the facility is the kernel's, 0.
fn priority(flags: u16) -> i32 {
    match flags {
        f if f & SL_FATAL != 0 => 2,
        f if f & SL_ERROR != 0 => 3,
        f if f & SL_WARN != 0 => 4,
        f if f & SL_NOTE != 0 => 5,
        f if f & SL_TRACE != 0 => 7,
        _ => 6,
    }
}

impl Module for Log {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(44, "log").marks(8192, 2048);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(rsrv);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let console = match (how.sflag, how.minor) {
            (SFlag::Clone, _) => false,
            (_, Some(CONSMIN)) => true,
            _ => return Err(Errno::ENXIO),
        };
        how.minor = Some(16 + q.stream_id()); // each open is a stream of its own
        Ok(Log { console })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        q.dom.env.log.leave(q.stream_id());
        Wait::Done
    }

    /// Records wait in the box.
    fn interrupt(q: &mut Queue<'_, Self>) {
        rsrv(&mut q.rd());
    }
}

/// Sends up as long as there is room; the reader back-enables us for the rest.
fn rsrv(q: &mut Queue<'_, Log>) {
    let me = q.stream_id();
    while q.canputnext() {
        let Some(r) = q.dom.env.log.take(me) else {
            return;
        };
        let mut mp = Msg::of(MsgType::Proto, &r.ctl());
        mp.set_cont(Some(Msg::data(&r.data())));
        q.putnext(mp);
    }
}

fn wput(q: &mut Queue<'_, Log>, mp: Msg) {
    match mp.ty() {
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        MsgType::Proto => {
            let text = mp.cont().map(Msg::to_vec);
            let r = text.and_then(|t| LogRecord::parse(mp.rd(), &t));
            write(q, mp, r);
        }
        MsgType::Data if q.ptr().console => {
            let text = mp.to_vec();
            let text = String::from_utf8_lossy(&text);
            let mut r = LogRecord::new(0, 0, 0, SL_CONSOLE, text.trim_end_matches(['\n', '\0']));
            r.pri = 8 + 6; // LOG_USER, LOG_INFO
            write(q, mp, Some(r));
        }
        _ => q.freemsg(mp),
    }
}

fn write(q: &mut Queue<'_, Log>, mp: Msg, r: Option<LogRecord>) {
    let Some(r) = r else {
        return q.discard(mp, "not a log record");
    };
    q.freemsg(mp);
    let env = q.dom.env.clone();
    if env.log.listening() {
        env.log.post(&env, r);
    }
}

fn ioctl(q: &mut Queue<'_, Log>, mp: Msg) {
    match become_logger(q, &mp) {
        Ok(()) => q.iocack0(mp, 0),
        Err(e) => q.iocnak(mp, e),
    }
}

fn become_logger(q: &mut Queue<'_, Log>, mp: &Msg) -> Result<(), Errno> {
    if q.ptr().console || mp.is_transparent() {
        return Err(Errno::EINVAL);
    }
    let kind = match mp.ioctl_cmd() {
        Some(I_TRCLOG) => Kind::Trace,
        Some(I_ERRLOG) => Kind::Error,
        Some(I_CONSLOG) => Kind::Console,
        _ => return Err(Errno::EINVAL),
    };
    let data = mp.cont().map(Msg::to_vec).unwrap_or_default();
    let each = data.chunks_exact(TraceId::SIZE);
    let ids: Vec<TraceId> = each.filter_map(TraceId::parse).collect();
    if kind == Kind::Trace && ids.is_empty() {
        return Err(Errno::EINVAL);
    }
    let logger = Logger {
        stream: q.stream_id(),
        kind,
        ids,
        bell: q.rd().doorbell(),
        waiting: VecDeque::new(),
    };
    q.dom.env.log.join(logger)
}
