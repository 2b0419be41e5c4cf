//! Message types and the values that control messages carry.
//!
//! A type below 0x80 is ordinary (flow controlled, banded); from 0x80 on it is
//! high priority (queued first, never flow controlled).
//!
//! Spec: sys/stream.h, msgb(9S), datab(9S), iocblk(9S), copyreq(9S), stroptions(9S).
//! Differs: the values that in C overlay the data block (`iocblk`, `copyreq`,
//! `stroptions`, `linkblk`) are typed and travel in [`Ctl`] beside the data.

use crate::file::FileRef;
use crate::queue::QRef;

macro_rules! msg_types {
    ($($(#[$doc:meta])* $name:ident = $val:literal, $text:literal;)*) => {
        /// Message types (`db_type`), with Solaris's values.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MsgType { $($(#[$doc])* $name = $val),* }

        impl MsgType {
            /// Every type, in the order of the values.
            pub const ALL: &'static [MsgType] = &[$(MsgType::$name),*];

            /// The manual's name, such as `M_PROTO`.
            pub const fn name(self) -> &'static str {
                match self { $(MsgType::$name => $text),* }
            }

            /// The type with this value, if there is one.
            pub const fn from_value(v: u8) -> Option<MsgType> {
                match v { $($val => Some(MsgType::$name),)* _ => None }
            }
        }
    };
}

msg_types! {
    /// User data.
    Data = 0x00, "M_DATA";
    /// Protocol control, ordinary.
    Proto = 0x01, "M_PROTO";
    /// Line break.
    Break = 0x08, "M_BREAK";
    /// A passed file reference (I_SENDFD).
    PassFp = 0x09, "M_PASSFP";
    /// Obsolete event.
    Event = 0x0a, "M_EVENT";
    /// Signal, in order with the data.
    Sig = 0x0b, "M_SIG";
    /// Real-time output delay.
    Delay = 0x0c, "M_DELAY";
    /// Module to module control.
    Ctl = 0x0d, "M_CTL";
    /// An ioctl on its way down.
    Ioctl = 0x0e, "M_IOCTL";
    /// Stream head options.
    SetOpts = 0x10, "M_SETOPTS";
    /// Reserved.
    Rse = 0x11, "M_RSE";
    /// Positive answer to an ioctl.
    IocAck = 0x81, "M_IOCACK";
    /// Negative answer to an ioctl.
    IocNak = 0x82, "M_IOCNAK";
    /// Protocol control, high priority.
    PcProto = 0x83, "M_PCPROTO";
    /// Signal, at once.
    PcSig = 0x84, "M_PCSIG";
    /// A reader is about to sleep.
    Read = 0x85, "M_READ";
    /// Flush queues.
    Flush = 0x86, "M_FLUSH";
    /// Stop output.
    Stop = 0x87, "M_STOP";
    /// Resume output.
    Start = 0x88, "M_START";
    /// The line is gone.
    Hangup = 0x89, "M_HANGUP";
    /// The stream has failed.
    Error = 0x8a, "M_ERROR";
    /// Ask the head to copy from the user.
    CopyIn = 0x8b, "M_COPYIN";
    /// Ask the head to copy to the user.
    CopyOut = 0x8c, "M_COPYOUT";
    /// Answer to M_COPYIN and M_COPYOUT.
    IocData = 0x8d, "M_IOCDATA";
    /// Reserved, high priority.
    PcRse = 0x8e, "M_PCRSE";
    /// Stop input.
    StopI = 0x8f, "M_STOPI";
    /// Resume input.
    StartI = 0x90, "M_STARTI";
    /// Obsolete event, high priority.
    PcEvent = 0x91, "M_PCEVENT";
    /// The line is back.
    UnHangup = 0x92, "M_UNHANGUP";
    /// Private head command.
    Cmd = 0x93, "M_CMD";
}

impl MsgType {
    /// High priority: queued first and never flow controlled (`QPCTL` bit, 0x80).
    #[inline]
    pub const fn is_high_pri(self) -> bool {
        self as u8 >= 0x80
    }

    /// One of the types that `flushq(FLUSHDATA)` discards and `putctl` refuses.
    #[inline]
    pub const fn is_data(self) -> bool {
        matches!(
            self,
            MsgType::Data | MsgType::Proto | MsgType::PcProto | MsgType::Delay
        )
    }
}

/// `b_flag`: the message is marked (SO_OOBINLINE, I_ATMARK).
pub const MSGMARK: u16 = 0x01;
/// `b_flag`: the stream head must not turn this M_FLUSH round again.
pub const MSGNOLOOP: u16 = 0x02;
/// `b_flag`: the message ends a record.
pub const MSGDELIM: u16 = 0x04;
/// `b_flag`: the mark stands on the next message.
pub const MSGMARKNEXT: u16 = 0x10;
/// `b_flag`: the mark does not stand on the next message.
pub const MSGNOTMARKNEXT: u16 = 0x20;

/// `b_flag`, ours: IP forwards this datagram; it arrived from a link.
pub const MSGFORWARDED: u16 = 0x0100;
/// `b_flag`, ours: the tunnels that this datagram has gone into on its way through IP, a number
/// of three bits; each counts [`MSGTUNNEL`].
pub const MSGTUNNELS: u16 = 0x0e00;
/// One tunnel in [`MSGTUNNELS`].
pub const MSGTUNNEL: u16 = 0x0200;

/// M_FLUSH byte 0: flush read queues.
pub const FLUSHR: u8 = 1;
/// M_FLUSH byte 0: flush write queues.
pub const FLUSHW: u8 = 2;
/// M_FLUSH byte 0: flush both.
pub const FLUSHRW: u8 = 3;
/// M_FLUSH byte 0: only the band named in byte 1.
pub const FLUSHBAND: u8 = 4;

/// `ioc_count` of a transparent ioctl.
pub const TRANSPARENT: usize = usize::MAX;
/// No limit on the packet size.
pub const INFPSZ: i64 = -1;

/// Who asks: the credentials that an open, an ioctl or a close carries (cred(9S)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cred {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Holds every privilege (superuser).
    pub privileged: bool,
}

impl Cred {
    /// The superuser.
    pub const ROOT: Cred = Cred {
        uid: 0,
        gid: 0,
        privileged: true,
    };
    /// An ordinary user.
    pub const fn user(uid: u32) -> Cred {
        Cred {
            uid,
            gid: uid,
            privileged: false,
        }
    }
    /// EPERM unless privileged (drv_priv(9F)).
    pub fn require_priv(&self) -> Result<(), crate::Errno> {
        if self.privileged {
            Ok(())
        } else {
            Err(crate::Errno::EPERM)
        }
    }
}

/// iocblk(9S): the head of M_IOCTL, M_IOCACK and M_IOCNAK.
#[derive(Clone, Copy, Debug)]
pub struct IocBlk {
    /// The command.
    pub cmd: i32,
    /// Who asks.
    pub cr: Cred,
    /// Matches the answer to the question.
    pub id: u32,
    /// Bytes of data in the continuation; [`TRANSPARENT`] for a transparent ioctl.
    pub count: usize,
    /// What ioctl(2) returns.
    pub rval: i32,
    /// 0, or why it failed (Solaris number).
    pub error: i32,
}

/// copyreq(9S): the head of M_COPYIN and M_COPYOUT.
#[derive(Debug)]
pub struct CopyReq {
    /// The command, from the iocblk.
    pub cmd: i32,
    /// Who asks.
    pub cr: Cred,
    /// From the iocblk.
    pub id: u32,
    /// User address to copy from or to.
    pub addr: u64,
    /// Bytes to copy.
    pub size: usize,
    /// The module's own, returned in the answer (`cq_private`).
    pub private: Option<crate::message::Msg>,
}

/// copyresp(9S): the head of M_IOCDATA.
#[derive(Debug)]
pub struct CopyResp {
    /// The command.
    pub cmd: i32,
    /// Who asks.
    pub cr: Cred,
    /// From the copyreq.
    pub id: u32,
    /// 0, or the error of the copy.
    pub rval: i32,
    /// As given in the copyreq.
    pub private: Option<crate::message::Msg>,
}

/// linkblk(9S): what I_LINK, I_PLINK and their undoing carry to the multiplexing driver.
#[derive(Clone, Copy, Debug)]
pub struct LinkBlk {
    /// The upper stream's lowest write queue; none for a persistent link.
    pub qtop: Option<QRef>,
    /// The head write queue of the lower stream, now run by the driver.
    pub qbot: QRef,
    /// The multiplexor id.
    pub index: i32,
}

/// stroptions(9S): what M_SETOPTS changes at the stream head. Absent fields stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct StrOptions {
    /// SO_READOPT: read and protocol mode bits (RNORM.., RPROT..).
    pub readopt: Option<i32>,
    /// SO_WROFF: bytes of headroom in each written message.
    pub wroff: Option<u16>,
    /// SO_TAIL: bytes of room behind the data.
    pub tail: Option<u16>,
    /// SO_MINPSZ of the head's read queue.
    pub minpsz: Option<i64>,
    /// SO_MAXPSZ of the head's read queue.
    pub maxpsz: Option<i64>,
    /// SO_HIWAT, of `band` if given.
    pub hiwat: Option<usize>,
    /// SO_LOWAT, of `band` if given.
    pub lowat: Option<usize>,
    /// SO_BAND: the band that the marks are for.
    pub band: Option<u8>,
    /// SO_MREADON, SO_MREADOFF.
    pub mread: Option<bool>,
    /// SO_NDELON, SO_NDELOFF: old tty meaning of O_NDELAY.
    pub ndel: Option<bool>,
    /// SO_ISTTY, SO_ISNTTY.
    pub istty: Option<bool>,
    /// SO_TOSTOP, SO_TONSTOP.
    pub tostop: Option<bool>,
    /// SO_DELIM, SO_NODELIM.
    pub delim: Option<bool>,
    /// SO_ERROPT: RERRNORM.. WERRNONPERSIST bits.
    pub erropt: Option<i32>,
    /// SO_MAXBLK.
    pub maxblk: Option<i64>,
}

/// The typed head of a control message.
#[derive(Debug)]
pub enum Ctl {
    /// M_IOCTL, M_IOCACK, M_IOCNAK.
    Ioc(IocBlk),
    /// M_COPYIN, M_COPYOUT.
    CopyReq(CopyReq),
    /// M_IOCDATA.
    CopyResp(CopyResp),
    /// The data of an I_LINK, I_PLINK, I_UNLINK or I_PUNLINK.
    Link(LinkBlk),
    /// M_SETOPTS.
    SetOpts(StrOptions),
    /// M_PASSFP.
    PassFp(FileRef, Cred),
}
