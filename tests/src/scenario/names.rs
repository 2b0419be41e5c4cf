//! The names of the headers and their numbers, for words in a case.

use streams::message;
use streams::sys::{self, event, stropts};
use streams::{mode, oflag};

/// The number a word stands for: a number, a name, or several joined by `|`.
pub fn number(word: &str) -> Option<i64> {
    if let Some(hex) = word.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok();
    }
    if let Ok(n) = word.parse() {
        return Some(n);
    }
    let mut sum = 0;
    for part in word.split('|') {
        let known = all().find(|(name, _)| *name == part).map(|(_, n)| *n);
        sum |= known.or_else(|| super::tunnel::command(part))?;
    }
    Some(sum)
}

/// The name of an ioctl command, or its number.
pub fn command(cmd: i32) -> String {
    let known = all().find(|(n, v)| n.starts_with("I_") && *v == i64::from(cmd));
    known.map_or_else(|| format!("{cmd:#x}"), |(n, _)| (*n).to_owned())
}

/// The names of every ioctl command of streamio(7I), and of vtunl's.
pub fn commands() -> impl Iterator<Item = &'static str> {
    let head = HERE.iter().map(|(n, _)| *n).filter(|n| n.starts_with("I_"));
    head.chain(vtunl::ioctl::IOCTLS.iter().map(|r| r.name))
}

fn all() -> impl Iterator<Item = &'static (&'static str, i64)> {
    HERE.iter().chain(HEADER)
}

macro_rules! names {
    ($($module:ident :: { $($name:ident),* $(,)? })*) => {
        &[$($((stringify!($name), $module::$name as i64)),*),*]
    };
}

const HERE: &[(&str, i64)] = names! {
    sys::{
        I_NREAD, I_PUSH, I_POP, I_LOOK, I_FLUSH, I_SRDOPT, I_GRDOPT, I_STR, I_SETSIG,
        I_GETSIG, I_FIND, I_LINK, I_UNLINK, I_RECVFD, I_PEEK, I_FDINSERT, I_SENDFD,
        I_SWROPT, I_GWROPT, I_LIST, I_PLINK, I_PUNLINK, I_ANCHOR, I_FLUSHBAND, I_CKBAND,
        I_GETBAND, I_ATMARK, I_SETCLTIME, I_GETCLTIME, I_CANPUT, I_SERROPT, I_GERROPT,
        I_ESETSIG, I_EGETSIG, I_PUSH_NOCTTY, I_MUXID2FD, I_INSERT, I_REMOVE, FIONREAD,
        FIORDCHK, MUXID_ALL, USER_BASE,
    }
    event::{
        POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL, POLLRDNORM, POLLRDBAND,
        POLLWRBAND,
    }
    mode::{
        RNORM, RMSGD, RMSGN, RPROTDAT, RPROTDIS, RPROTNORM, RFLUSHPCPROT, SNDZERO, SNDPIPE,
    }
    message::{
        FLUSHR, FLUSHW, FLUSHRW, FLUSHBAND, MSGMARK, MSGNOLOOP, MSGDELIM, MSGMARKNEXT,
        MSGNOTMARKNEXT, INFPSZ,
    }
    stropts::{
        S_INPUT, S_HIPRI, S_OUTPUT, S_WRNORM, S_MSG, S_ERROR, S_HANGUP, S_RDNORM, S_RDBAND,
        S_WRBAND, S_BANDURG, ANYMARK, LASTMARK, RERRNORM, RERRNONPERSIST, WERRNORM,
        WERRNONPERSIST, RS_HIPRI,
    }
    oflag::{ O_RDONLY, O_WRONLY, O_RDWR, O_NDELAY, O_NONBLOCK, O_NOCTTY }
};

/// What the crates do not name yet, from sys/stropts.h.
const HEADER: &[(&str, i64)] = &[
    ("POLLWRNORM", 4),
    ("TCSBRK", 0x5405),
    ("TCGETA", 0x5401),
    ("TCSETA", 0x5402),
    ("TIOCGPGRP", 0x7414),
    ("TIOCSPGRP", 0x7415),
    ("TIOCGSID", 0x7416),
];
