//! The one system-call interface: what programs, the shell, the daemon and tests call.
//!
//! Every argument and answer is a plain value that can cross a process boundary.
//!
//! Spec: open(2), close(2), read(2), write(2), getmsg(2), putmsg(2), poll(2), ioctl(2),
//! pipe(2), streamio(7I); sys/stropts.h for the numbers.

use std::time::Duration;

use crate::errno::Errno;

mod replies;
pub mod stropts;

pub use replies::{FdInsert, Peeked, RecvFd};

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $num:literal;)*) => {
        $($(#[$doc])* pub const $name: i32 = $num;)*
        /// The streamio command with this number, by name.
        pub fn command_name(cmd: i32) -> Option<&'static str> {
            match cmd { $($num => Some(stringify!($name)),)* _ => None }
        }
    };
}

commands! {
    /// Bytes in the first message, and how many messages.
    I_NREAD = 0x5301;
    /// Push a module.
    I_PUSH = 0x5302;
    /// Pop the top module.
    I_POP = 0x5303;
    /// Name of the top module.
    I_LOOK = 0x5304;
    /// Flush queues.
    I_FLUSH = 0x5305;
    /// Set the read mode.
    I_SRDOPT = 0x5306;
    /// Get the read mode.
    I_GRDOPT = 0x5307;
    /// An ioctl for a module or driver.
    I_STR = 0x5308;
    /// Ask for SIGPOLL.
    I_SETSIG = 0x5309;
    /// What SIGPOLL was asked for.
    I_GETSIG = 0x530a;
    /// Is a module there?
    I_FIND = 0x530b;
    /// Link under a multiplexor.
    I_LINK = 0x530c;
    /// Undo I_LINK.
    I_UNLINK = 0x530d;
    /// Receive a passed descriptor.
    I_RECVFD = 0x530e;
    /// Look at the first message.
    I_PEEK = 0x530f;
    /// Send a message that names another stream.
    I_FDINSERT = 0x5310;
    /// Pass a descriptor.
    I_SENDFD = 0x5311;
    /// Set the write mode.
    I_SWROPT = 0x5313;
    /// Get the write mode.
    I_GWROPT = 0x5314;
    /// List modules.
    I_LIST = 0x5315;
    /// Link persistently.
    I_PLINK = 0x5316;
    /// Undo I_PLINK.
    I_PUNLINK = 0x5317;
    /// Anchor the modules pushed so far.
    I_ANCHOR = 0x5318;
    /// Flush one band.
    I_FLUSHBAND = 0x531c;
    /// Is there a message of a band?
    I_CKBAND = 0x531d;
    /// Band of the first message.
    I_GETBAND = 0x531e;
    /// Is the first message marked?
    I_ATMARK = 0x531f;
    /// Set the close timeout.
    I_SETCLTIME = 0x5320;
    /// Get the close timeout.
    I_GETCLTIME = 0x5321;
    /// Is a band writable?
    I_CANPUT = 0x5322;
    /// Set error persistence.
    I_SERROPT = 0x5323;
    /// Get error persistence.
    I_GERROPT = 0x5324;
    /// I_SETSIG for another process.
    I_ESETSIG = 0x5325;
    /// I_GETSIG for another process.
    I_EGETSIG = 0x5326;
    /// I_PUSH that never makes the stream a controlling terminal (`__I_PUSH_NOCTTY`).
    I_PUSH_NOCTTY = 0x5327;
    /// A descriptor for a persistently linked stream (`_I_MUXID2FD`).
    I_MUXID2FD = 0x532e;
    /// Push a module anywhere (`_I_INSERT`).
    I_INSERT = 0x532f;
    /// Pop a module anywhere (`_I_REMOVE`).
    I_REMOVE = 0x5330;
    /// Bytes of data queued.
    FIONREAD = 0x4004_667f;
    /// Bytes of data queued, as the return value.
    FIORDCHK = 0x6603;
}

/// Every link, for I_UNLINK and I_PUNLINK.
pub const MUXID_ALL: i32 = -1;
/// Where a call's memory starts, for transparent ioctls.
pub const USER_BASE: u64 = 0x1000;
/// getmsg: more of the control part waits.
pub const MORECTL: i32 = 1;
/// getmsg: more of the data part waits.
pub const MOREDATA: i32 = 2;

/// Commands that only the stream head may send down (the reference's 3.1).
pub(crate) fn is_link_command(cmd: i32) -> bool {
    matches!(
        cmd,
        I_LINK | I_UNLINK | I_PLINK | I_PUNLINK | 0x5331 | 0x5332
    )
}

/// poll(2) events, with Solaris's values.
pub mod event {
    /// A message can be read.
    pub const POLLIN: u16 = 0x0001;
    /// A high-priority message can be read.
    pub const POLLPRI: u16 = 0x0002;
    /// Band 0 can be written.
    pub const POLLOUT: u16 = 0x0004;
    /// The stream is in error.
    pub const POLLERR: u16 = 0x0008;
    /// The stream is hung up.
    pub const POLLHUP: u16 = 0x0010;
    /// No such descriptor, or linked under a multiplexor.
    pub const POLLNVAL: u16 = 0x0020;
    /// Band 0 can be read.
    pub const POLLRDNORM: u16 = 0x0040;
    /// A band above 0 can be read.
    pub const POLLRDBAND: u16 = 0x0080;
    /// A band above 0 can be written.
    pub const POLLWRBAND: u16 = 0x0100;
}

/// An I_STR (struct strioctl).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrIoctl {
    /// `ic_cmd`.
    pub cmd: i32,
    /// `ic_timout`: -1 for ever, 0 the default of 15 s, else seconds.
    pub timeout: i32,
    /// `ic_dp`, `ic_len`.
    pub data: Vec<u8>,
}

/// An ioctl with its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is the streamio(7I) command of its name
pub enum Ioctl {
    Push(String),
    Pop,
    Look,
    List,
    Find(String),
    Str(StrIoctl),
    Link(i32),
    Unlink(i32),
    Plink(i32),
    Punlink(i32),
    Nread,
    SetReadOpt(i32),
    GetReadOpt,
    SetWriteOpt(i32),
    GetWriteOpt,
    Flush(i32),
    FlushBand {
        band: u8,
        how: i32,
    },
    CkBand(i32),
    GetBand,
    CanPut(i32),
    SetClTime(i32),
    GetClTime,
    PushNoCtty(String),
    /// I_LIST with `sl_nmods`: at most so many names; the return value is 0, the data their
    /// number.
    ListN(i32),
    /// I_PEEK: the maxlen of each part; [`IoctlReply::peeked`] reads the answer.
    Peek {
        ctlmax: i32,
        datmax: i32,
        hipri: bool,
    },
    SetSig(i32),
    GetSig,
    /// `pid` 0: the caller; negative: a process group.
    ESetSig {
        pid: i32,
        events: i32,
    },
    EGetSig {
        pid: i32,
    },
    SendFd(i32),
    /// I_RECVFD; [`IoctlReply::received`] reads the answer.
    RecvFd,
    FdInsert(FdInsert),
    AtMark(i32),
    Anchor,
    SetErrOpt(i32),
    GetErrOpt,
    Fionread,
    FioRdChk,
    /// `_I_MUXID2FD`: the descriptor is the return value.
    MuxId2Fd(i32),
    /// `_I_INSERT`: `pos` modules stay above the new one.
    Insert {
        pos: i32,
        name: String,
    },
    /// `_I_REMOVE`: the module with `pos` others above it.
    Remove {
        pos: i32,
        name: String,
    },
    /// Any command as ioctl(2) has it: `mem` is the caller's memory, from [`USER_BASE`] on;
    /// it comes back in the reply. A streamio command finds its argument there in the
    /// layout of a 64-bit process; any other is sent as a transparent ioctl.
    Raw {
        cmd: i32,
        arg: u64,
        mem: Vec<u8>,
    },
}

/// What an ioctl returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoctlReply {
    /// The call's return value.
    pub rval: i32,
    /// Data copied to the user.
    pub data: Vec<u8>,
    /// Names (I_LOOK, I_LIST).
    pub names: Vec<String>,
}

impl IoctlReply {
    pub(crate) fn value(rval: i32) -> IoctlReply {
        IoctlReply {
            rval,
            ..IoctlReply::default()
        }
    }
}

/// Which message a getpmsg wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// MSG_ANY: the first.
    Any,
    /// MSG_HIPRI: only a high-priority one. `Hipri(false)` is a malformed request.
    Hipri(bool),
    /// MSG_BAND: of this band or above.
    Band(u8),
}

/// What getmsg(2) and getpmsg(2) return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// The control part; `None` for len = -1.
    pub ctl: Option<Vec<u8>>,
    /// The data part; `None` for len = -1.
    pub data: Option<Vec<u8>>,
    /// [`MORECTL`] and [`MOREDATA`].
    pub more: i32,
    /// It was a high-priority message.
    pub hipri: bool,
    /// Its band.
    pub band: u8,
}

/// One entry of poll(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollFd {
    /// The descriptor; a negative one is passed over.
    pub fd: i32,
    /// Asked for.
    pub events: u16,
    /// Found.
    pub revents: u16,
}

/// The system calls. [`crate::Process`] serves them in this process.
pub trait Sys: Send + Sync {
    /// open(2): `flags` are O_* bits with Solaris's values ([`crate::oflag`]).
    ///
    /// # Errors
    /// ENOENT no such node, ENXIO no driver, and what the driver says.
    fn open(&self, path: &str, flags: u32) -> Result<i32, Errno>;
    /// close(2).
    ///
    /// # Errors
    /// EBADF.
    fn close(&self, fd: i32) -> Result<(), Errno>;
    /// read(2) of at most `count` bytes.
    ///
    /// # Errors
    /// EBADF, EAGAIN, EINTR, EBADMSG, EINVAL (linked), or the stream's.
    fn read(&self, fd: i32, count: usize) -> Result<Vec<u8>, Errno>;
    /// write(2).
    ///
    /// # Errors
    /// EBADF, EAGAIN, EINTR, ERANGE, EIO (hung up), EPIPE, EINVAL (linked), or the stream's.
    fn write(&self, fd: i32, data: &[u8]) -> Result<usize, Errno>;
    /// getpmsg(2): maxlen of each part, -1 for a part not asked for.
    ///
    /// # Errors
    /// EBADF, EAGAIN, EINTR, EBADMSG, EINVAL, or the stream's.
    fn getpmsg(&self, fd: i32, ctlmax: i32, datmax: i32, which: Which) -> Result<Got, Errno>;
    /// putpmsg(2).
    ///
    /// # Errors
    /// EBADF, EAGAIN, EINTR, ERANGE, ENXIO (hung up), EINVAL, or the stream's.
    fn putpmsg(
        &self,
        fd: i32,
        ctl: Option<&[u8]>,
        data: Option<&[u8]>,
        hipri: bool,
        band: u8,
    ) -> Result<(), Errno>;
    /// poll(2): waits up to `timeout` (`None`: for ever); returns how many have events.
    ///
    /// # Errors
    /// EINTR.
    fn poll(&self, fds: &mut [PollFd], timeout: Option<Duration>) -> Result<usize, Errno>;
    /// ioctl(2).
    ///
    /// # Errors
    /// Those of the command, streamio(7I).
    fn ioctl(&self, fd: i32, request: Ioctl) -> Result<IoctlReply, Errno>;
    /// pipe(2): two ends, each for reading and writing.
    ///
    /// # Errors
    /// EMFILE.
    fn pipe(&self) -> Result<(i32, i32), Errno>;

    /// getmsg(2): any message, or with `hipri` only a high-priority one.
    ///
    /// # Errors
    /// As [`Sys::getpmsg`].
    fn getmsg(&self, fd: i32, ctlmax: i32, datmax: i32, hipri: bool) -> Result<Got, Errno> {
        self.getpmsg(
            fd,
            ctlmax,
            datmax,
            if hipri {
                Which::Hipri(true)
            } else {
                Which::Any
            },
        )
    }
    /// putmsg(2).
    ///
    /// # Errors
    /// As [`Sys::putpmsg`].
    fn putmsg(
        &self,
        fd: i32,
        ctl: Option<&[u8]>,
        data: Option<&[u8]>,
        hipri: bool,
    ) -> Result<(), Errno> {
        self.putpmsg(fd, ctl, data, hipri, 0)
    }
    /// An I_STR with the default timeout.
    ///
    /// # Errors
    /// Those of the command.
    fn i_str(&self, fd: i32, cmd: i32, data: &[u8]) -> Result<IoctlReply, Errno> {
        self.ioctl(
            fd,
            Ioctl::Str(StrIoctl {
                cmd,
                timeout: 0,
                data: data.to_vec(),
            }),
        )
    }
    /// I_PUSH.
    ///
    /// # Errors
    /// EINVAL no such module or too many; what its open says.
    fn push(&self, fd: i32, module: &str) -> Result<(), Errno> {
        self.ioctl(fd, Ioctl::Push(module.to_owned())).map(|_| ())
    }
}
