//! Log records, and the programs' side of the log: strace(1M) and strerr(1M).
//!
//! ```
//! use streams::{Cred, Kernel, strlog::{self, TraceId}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = Kernel::new()?;
//! streams::register(&kernel)?;
//! let p = kernel.process(Cred::ROOT);
//! let fd = strlog::strace(&p, &[TraceId::ALL])?;
//! # strlog::send(&p, fd, &strlog::LogRecord::new(1, 2, 3, strlog::SL_TRACE, "hello"))?;
//! println!("{}", strlog::next(&p, fd)?);      // one line, as strace prints it
//! # Ok(()) }
//! ```
//!
//! Spec: strlog(9F), log(7D), strace(1M), strerr(1M), sys/strlog.h, the reference's
//! section 9.

use std::fmt;

use crate::errno::Errno;
use crate::process::oflag;
use crate::sys::Sys;

/// A fatal error.
pub const SL_FATAL: u16 = 0x01;
/// The administrator is to be notified.
pub const SL_NOTIFY: u16 = 0x02;
/// For the error log.
pub const SL_ERROR: u16 = 0x04;
/// For the trace log.
pub const SL_TRACE: u16 = 0x08;
/// For the console log.
pub const SL_CONSOLE: u16 = 0x10;
/// A warning.
pub const SL_WARN: u16 = 0x20;
/// A notice.
pub const SL_NOTE: u16 = 0x40;

const LOGCTL: i32 = (b'L' as i32) << 8;
/// I_STR: this stream is a trace logger; trace_ids say for what.
pub const I_TRCLOG: i32 = LOGCTL | 1;
/// I_STR: this stream is the error logger.
pub const I_ERRLOG: i32 = LOGCTL | 2;
/// I_STR: this stream is the console logger.
pub const I_CONSLOG: i32 = LOGCTL | 3;

/// Bytes of a log_ctl.
pub const LOG_CTL: usize = 24;

/// What a trace logger wants (struct trace_ids); -1 stands for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId {
    /// `ti_mid`: the module.
    pub mid: i16,
    /// `ti_sid`: its part.
    pub sid: i16,
    /// `ti_level`: up to this level.
    pub level: i8,
}

impl TraceId {
    /// Everything.
    pub const ALL: TraceId = TraceId {
        mid: -1,
        sid: -1,
        level: -1,
    };
    /// Bytes of one.
    pub(crate) const SIZE: usize = 6;

    fn to_bytes(self) -> [u8; 6] {
        let (m, s) = (self.mid.to_ne_bytes(), self.sid.to_ne_bytes());
        [m[0], m[1], s[0], s[1], self.level as u8, 0]
    }
    /// From the bytes of a struct trace_ids.
    pub(crate) fn parse(b: &[u8]) -> Option<TraceId> {
        match *b {
            [m0, m1, s0, s1, level, _] => Some(TraceId {
                mid: i16::from_ne_bytes([m0, m1]),
                sid: i16::from_ne_bytes([s0, s1]),
                level: level as i8,
            }),
            _ => None,
        }
    }
    /// Is this record wanted?
    pub fn wants(&self, r: &LogRecord) -> bool {
        (self.mid < 0 || self.mid == r.mid)
            && (self.sid < 0 || self.sid == r.sid)
            && (self.level < 0 || r.level <= self.level)
    }
}

/// A log message: its log_ctl and its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// `mid`: the module's `mi_idnum`.
    pub mid: i16,
    /// `sid`: its part.
    pub sid: i16,
    /// `level`.
    pub level: i8,
    /// SL_ bits.
    pub flags: u16,
    /// `ltime`: ticks of 10 ms since boot.
    pub ltime: i32,
    /// `ttime`: seconds since 1970; with a clock set by hand, since boot.
    pub ttime: i32,
    /// `seq_no`: counted by each kind of log.
    pub seq: i32,
    /// `pri`: facility and level of syslog.
    pub pri: i32,
    /// The text.
    pub text: String,
}

impl LogRecord {
    /// A record without its times and numbers, which the log driver sets.
    pub fn new(mid: i16, sid: i16, level: i8, flags: u16, text: &str) -> LogRecord {
        LogRecord {
            mid,
            sid,
            level,
            flags,
            text: text.to_owned(),
            ..LogRecord::default()
        }
    }

    /// The control part (struct log_ctl).
    pub fn ctl(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(LOG_CTL);
        b.extend(self.mid.to_ne_bytes());
        b.extend(self.sid.to_ne_bytes());
        b.extend([self.level as u8, 0]);
        b.extend(self.flags.to_ne_bytes());
        for w in [self.ltime, self.ttime, self.seq, self.pri] {
            b.extend(w.to_ne_bytes());
        }
        b
    }

    /// From the two parts of a message; `None` if the control part is no log_ctl.
    pub fn parse(ctl: &[u8], data: &[u8]) -> Option<LogRecord> {
        if ctl.len() != LOG_CTL {
            return None;
        }
        let short = |i: usize| [ctl[i], ctl[i + 1]];
        let int = |i: usize| i32::from_ne_bytes([ctl[i], ctl[i + 1], ctl[i + 2], ctl[i + 3]]);
        let text = data.split(|b| *b == 0).next().unwrap_or_default();
        Some(LogRecord {
            mid: i16::from_ne_bytes(short(0)),
            sid: i16::from_ne_bytes(short(2)),
            level: ctl[4] as i8,
            flags: u16::from_ne_bytes(short(6)),
            ltime: int(8),
            ttime: int(12),
            seq: int(16),
            pri: int(20),
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }

    /// The data part: the text and its end.
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut b = self.text.replace('\0', " ").into_bytes();
        b.push(0);
        b
    }
}

/// One line of strace(1M): sequence, time, ticks, level, flags, module, part, text.
impl fmt::Display for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.ttime.rem_euclid(86_400);
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        let mut flags = String::new();
        for (bit, letter) in [(SL_ERROR, 'E'), (SL_FATAL, 'F'), (SL_NOTIFY, 'N')] {
            if self.flags & bit != 0 {
                flags.push(letter);
            }
        }
        if flags.is_empty() {
            flags.push('-');
        }
        let (seq, ticks, level) = (self.seq, self.ltime, self.level);
        let (mid, sid, text) = (self.mid, self.sid, &self.text);
        write!(
            f,
            "{seq:06} {h:02}:{m:02}:{s:02} {ticks:08x} {level:3} {flags:3} {mid} {sid} {text}"
        )
    }
}

/// Opens the trace log for what `ids` want, as strace(1M) does.
///
/// # Errors
/// ENOENT, ENXIO: no log driver. EINVAL: no ids.
pub fn strace(sys: &dyn Sys, ids: &[TraceId]) -> Result<i32, Errno> {
    let data: Vec<u8> = ids.iter().flat_map(|i| i.to_bytes()).collect();
    logger(sys, I_TRCLOG, &data)
}

/// Opens the error log, as strerr(1M) does.
///
/// # Errors
/// ENOENT, ENXIO: no log driver. EBUSY: there is an error logger.
pub fn strerr(sys: &dyn Sys) -> Result<i32, Errno> {
    logger(sys, I_ERRLOG, &[])
}

/// Opens the console log, as syslogd(1M) does.
///
/// # Errors
/// As [`strerr`].
pub fn conslog(sys: &dyn Sys) -> Result<i32, Errno> {
    logger(sys, I_CONSLOG, &[])
}

fn logger(sys: &dyn Sys, cmd: i32, data: &[u8]) -> Result<i32, Errno> {
    let fd = sys.open("/dev/log", oflag::O_RDWR)?;
    match sys.i_str(fd, cmd, data) {
        Ok(_) => Ok(fd),
        Err(e) => {
            let _ = sys.close(fd); // it was just opened
            Err(e)
        }
    }
}

/// Waits for the next record.
///
/// # Errors
/// As getmsg(2); EBADMSG: the message is no log record.
pub fn next(sys: &dyn Sys, fd: i32) -> Result<LogRecord, Errno> {
    let got = sys.getmsg(fd, 1024, 65_536, false)?;
    let (ctl, data) = (got.ctl.unwrap_or_default(), got.data.unwrap_or_default());
    LogRecord::parse(&ctl, &data).ok_or(Errno::EBADMSG)
}

/// Writes a record to the log, as syslog(3C) does.
///
/// # Errors
/// As putmsg(2).
pub fn send(sys: &dyn Sys, fd: i32, r: &LogRecord) -> Result<(), Errno> {
    sys.putmsg(fd, Some(&r.ctl()), Some(&r.data()), false)
}
