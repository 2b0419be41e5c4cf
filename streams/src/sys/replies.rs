//! What some ioctls take and give that is more than an int, as values.
//!
//! A reply crosses process boundaries as bytes; these put it together and take it apart.
//!
//! Spec: strpeek, strrecvfd, strfdinsert in sys/stropts.h, the reference's 2.4.

use super::IoctlReply;
use crate::message::Cred;

/// What I_PEEK saw (struct strpeek).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// The control part; `None` for len = -1.
    pub ctl: Option<Vec<u8>>,
    /// The data part; `None` for len = -1.
    pub data: Option<Vec<u8>>,
    /// RS_HIPRI: it is a high-priority message.
    pub hipri: bool,
}

/// A descriptor that I_RECVFD received (struct strrecvfd).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvFd {
    /// The new descriptor.
    pub fd: i32,
    /// Effective user id of the sender.
    pub uid: u32,
    /// Effective group id of the sender.
    pub gid: u32,
}

/// An I_FDINSERT (struct strfdinsert).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdInsert {
    /// The control part; the id of the other stream is written into it.
    pub ctl: Vec<u8>,
    /// The data part, if there is one.
    pub data: Option<Vec<u8>>,
    /// `flags`: 0 or RS_HIPRI.
    pub flags: u32,
    /// The other stream.
    pub fildes: i32,
    /// Where in the control part its id goes.
    pub offset: i32,
}

fn int(data: &[u8], at: usize) -> Option<i32> {
    let b = data.get(at..at.checked_add(4)?)?;
    Some(i32::from_ne_bytes(b.try_into().ok()?))
}

impl IoctlReply {
    /// The int that was copied out (I_GRDOPT, I_GETSIG, FIONREAD..).
    pub fn int(&self) -> Option<i32> {
        int(&self.data, 0)
    }

    pub(crate) fn of_int(rval: i32, out: i32) -> IoctlReply {
        IoctlReply {
            rval,
            data: out.to_ne_bytes().to_vec(),
            names: Vec::new(),
        }
    }

    /// What I_PEEK saw; `None` if there was no message.
    pub fn peeked(&self) -> Option<Peeked> {
        if self.rval != 1 {
            return None;
        }
        let (ctl, dat) = (int(&self.data, 0)?, int(&self.data, 4)?);
        let hipri = int(&self.data, 8)? != 0;
        let mut rest = self.data.get(12..)?;
        let mut part = |len: i32| -> Option<Vec<u8>> {
            let (mine, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = behind;
            Some(mine.to_vec())
        };
        Some(Peeked {
            ctl: part(ctl),
            data: part(dat),
            hipri,
        })
    }

    pub(crate) fn of_peek(p: &Peeked) -> IoctlReply {
        let len = |v: &Option<Vec<u8>>| v.as_ref().map_or(-1, |v| v.len() as i32);
        let mut data = Vec::new();
        for n in [len(&p.ctl), len(&p.data), i32::from(p.hipri)] {
            data.extend(n.to_ne_bytes());
        }
        data.extend(p.ctl.iter().chain(&p.data).flatten());
        IoctlReply {
            rval: 1,
            data,
            names: Vec::new(),
        }
    }

    /// The descriptor that I_RECVFD received.
    pub fn received(&self) -> Option<RecvFd> {
        Some(RecvFd {
            fd: int(&self.data, 0)?,
            uid: int(&self.data, 4)? as u32,
            gid: int(&self.data, 8)? as u32,
        })
    }

    pub(crate) fn of_recvfd(fd: i32, from: Cred) -> IoctlReply {
        let mut data = Vec::new();
        for n in [fd, from.uid as i32, from.gid as i32] {
            data.extend(n.to_ne_bytes());
        }
        IoctlReply {
            rval: 0,
            data,
            names: Vec::new(),
        }
    }
}
