//! Why a request failed: `dl_errno`, and the UNIX error beside it.
//!
//! Spec: sys/dlpi.h; dlpi(7P) on DL_ERROR_ACK.
//! Kept: only DL_SYSERR promises a UNIX error, but any answer may carry one (IP hands it
//! to the waiting ifconfig if it isn't zero).
//! Differs: none.
//! Not done: provider-specific numbers from 0x80 have no names.

use std::fmt;

use streams::Errno;

/// A `dl_errno` value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DlErrno(pub u32);

macro_rules! dl_errnos {
    ($($name:ident = $num:literal, $text:literal;)*) => {
        impl DlErrno {
            $(#[doc = concat!("`DL_", stringify!($name), "`: ", $text, ".")]
            pub const $name: DlErrno = DlErrno($num);)*

            /// Every value with a name.
            pub const ALL: &'static [DlErrno] = &[$(DlErrno::$name),*];

            /// The name in sys/dlpi.h; `DL_?` for one without.
            pub const fn name(self) -> &'static str {
                match self.0 { $($num => concat!("DL_", stringify!($name)),)* _ => "DL_?" }
            }

            /// What it means.
            pub const fn text(self) -> &'static str {
                match self.0 { $($num => $text,)* _ => "provider specific error" }
            }
        }
    };
}

dl_errnos! {
    BADSAP = 0x00, "bad LSAP selector";
    BADADDR = 0x01, "address format or value invalid";
    ACCESS = 0x02, "no permission";
    OUTSTATE = 0x03, "primitive issued in the wrong state";
    SYSERR = 0x04, "a UNIX error, given beside";
    BADCORR = 0x05, "bad correlation number";
    BADDATA = 0x06, "data size outside the limits";
    UNSUPPORTED = 0x07, "service not supplied by the provider";
    BADPPA = 0x08, "no such physical point of attachment";
    BADPRIM = 0x09, "primitive unknown or malformed";
    BADQOSPARAM = 0x0a, "bad quality of service parameter";
    BADQOSTYPE = 0x0b, "bad quality of service structure type";
    BADTOKEN = 0x0c, "bad token";
    BOUND = 0x0d, "bound to the address already";
    INITFAILED = 0x0e, "initialisation of the link failed";
    NOADDR = 0x0f, "no address could be allocated";
    NOTINIT = 0x10, "link not initialised";
    UNDELIVERABLE = 0x11, "previous data unit could not be delivered";
    NOTSUPPORTED = 0x12, "primitive known, but not supported";
    TOOMANY = 0x13, "limit exceeded";
    NOTENAB = 0x14, "multicast or promiscuity was not enabled";
    BUSY = 0x15, "other streams use the link";
    NOAUTO = 0x16, "automatic XID and TEST not supported";
    NOXIDAUTO = 0x17, "automatic XID not supported";
    NOTESTAUTO = 0x18, "automatic TEST not supported";
    XIDAUTO = 0x19, "XID is handled automatically";
    TESTAUTO = 0x1a, "TEST is handled automatically";
    PENDING = 0x1b, "an answer is outstanding";
}

impl fmt::Debug for DlErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#x})", self.name(), self.0)
    }
}

impl fmt::Display for DlErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

/// A DLPI answer that says no: the pair of DL_ERROR_ACK and DL_UDERROR_IND.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DlError {
    /// `dl_errno`.
    pub errno: DlErrno,
    /// `dl_unix_errno`: a Solaris number, 0 for none.
    pub unix: i32,
}

impl DlError {
    /// DL_SYSERR with a UNIX error.
    pub fn sys(e: Errno) -> DlError {
        DlError {
            errno: DlErrno::SYSERR,
            unix: e as i32,
        }
    }
    /// The same with a UNIX error beside it.
    pub fn with_unix(mut self, number: i32) -> DlError {
        self.unix = number;
        self
    }
}

impl From<DlErrno> for DlError {
    fn from(errno: DlErrno) -> DlError {
        DlError { errno, unix: 0 }
    }
}

impl fmt::Display for DlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unix {
            0 => write!(f, "{}", self.errno),
            n => write!(f, "{}, UNIX error {n}", self.errno),
        }
    }
}

impl std::error::Error for DlError {}
