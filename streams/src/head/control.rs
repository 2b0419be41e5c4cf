//! The ioctls that the head answers from what it has: none of them sleeps.
//!
//! Spec: streamio(7I), the reference's 2.1, 2.2 and 2.5.
//! Kept: reading ones fail on a read error only, the others on either (2.1).

use std::time::Duration;

use super::{Head, Sides, mode};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{MSGMARK, Msg, MsgType};
use crate::sys::stropts::{ANYMARK, LASTMARK, RERRNONPERSIST, RERRNORM, WERRNONPERSIST, WERRNORM};
use crate::sys::{Ioctl, IoctlReply, Peeked};

impl Stream {
    /// The general check of 2.1: linked, errors, and for some a hangup.
    pub(crate) fn usable(&self, sides: Sides, hup: Option<Errno>) -> Result<(), Errno> {
        self.with(|dom| match dom.head(self.head) {
            Some(h) => h.geterr(sides, hup),
            None => Err(Errno::EBADF),
        })
    }

    /// Any ioctl that needs no process and never sleeps.
    pub(crate) fn simple_ioctl(&self, request: Ioctl) -> Result<IoctlReply, Errno> {
        let sides = match request {
            // 2.1 step 2.
            Ioctl::Nread
            | Ioctl::Peek { .. }
            | Ioctl::AtMark(_)
            | Ioctl::Fionread
            | Ioctl::FioRdChk => Sides::Read,
            _ => Sides::Both,
        };
        self.usable(sides, None)?;
        match request {
            Ioctl::Look => Ok(IoctlReply {
                names: vec![self.look()?],
                ..IoctlReply::value(0)
            }),
            Ioctl::List => {
                let names = self.list();
                Ok(IoctlReply {
                    names,
                    ..IoctlReply::value(self.list().len() as i32)
                })
            }
            Ioctl::ListN(n) => {
                let room = usize::try_from(n).ok().filter(|n| *n > 0);
                if room.is_some() && !self.env.memory.available() {
                    return Err(Errno::EAGAIN);
                }
                let mut names = self.list();
                names.truncate(room.ok_or(Errno::EINVAL)?);
                Ok(IoctlReply {
                    rval: 0,
                    data: (names.len() as i32).to_ne_bytes().to_vec(),
                    names,
                })
            }
            Ioctl::Anchor => self.anchor().map(|()| IoctlReply::value(0)),
            _ => self.with(|dom| {
                dom.rq_signals(self.head);
                match look(dom, self.head, &request) {
                    Some(r) => r,
                    None => set(dom, self.head, &request),
                }
            }),
        }
    }

    /// I_ANCHOR: what is pushed now stays, for those without privilege.
    fn anchor(&self) -> Result<(), Errno> {
        self.with(|dom| {
            let h = dom.head(self.head).ok_or(Errno::EBADF)?;
            if h.is_pipe {
                return Err(Errno::EINVAL);
            }
            if h.hup {
                return Err(Errno::ENXIO);
            }
            h.anchor = h.pushed;
            Ok(())
        })
    }
}

fn band_of(b: i32) -> Result<u8, Errno> {
    u8::try_from(b).map_err(|_| Errno::EINVAL)
}

/// What is on the read queue.
fn look(dom: &mut Domain, head: u32, request: &Ioctl) -> Option<Result<IoctlReply, Errno>> {
    let canput = match request {
        Ioctl::CanPut(b) => Some(band_of(*b).map(|b| dom.bcanputnext(head | 1, b))),
        _ => None,
    };
    let list = &dom.slot(head).list;
    Some(match request {
        Ioctl::Nread => {
            let bytes = list.front().map_or(0, Msg::msgdsize) as i32;
            Ok(IoctlReply::of_int(list.len() as i32, bytes))
        }
        Ioctl::Fionread => {
            let bytes: usize = list.iter().map(Msg::msgdsize).sum();
            Ok(IoctlReply::of_int(
                0,
                i32::try_from(bytes).unwrap_or(i32::MAX),
            ))
        }
        Ioctl::FioRdChk => {
            let bytes: usize = list.iter().map(Msg::msgdsize).sum();
            Ok(IoctlReply::value(i32::try_from(bytes).unwrap_or(i32::MAX)))
        }
        Ioctl::Peek {
            ctlmax,
            datmax,
            hipri,
        } if dom.env.memory.available() => peek(list.front(), *ctlmax, *datmax, *hipri),
        Ioctl::Peek { .. } => Err(Errno::ENOSR),
        Ioctl::AtMark(what) => {
            if what & !(ANYMARK | LASTMARK) != 0 {
                return Some(Err(Errno::EINVAL));
            }
            let marked = |m: &Msg| m.flag() & MSGMARK != 0;
            let at = list.front().is_some_and(marked);
            let last = at && !list.iter().skip(1).any(marked);
            let yes = (what & ANYMARK != 0 && at) || (what & LASTMARK != 0 && last);
            Ok(IoctlReply::value(i32::from(yes)))
        }
        Ioctl::CkBand(b) => band_of(*b).map(|b| {
            let has = list.iter().any(|m| !m.is_high_pri() && m.band() == b);
            IoctlReply::value(i32::from(has))
        }),
        Ioctl::GetBand => match list.front() {
            Some(m) => Ok(IoctlReply::of_int(0, m.band().into())),
            None => Err(Errno::ENODATA),
        },
        Ioctl::CanPut(_) => canput?.map(|yes| IoctlReply::value(i32::from(yes))),
        _ => return None,
    })
}

/// I_PEEK (2.5): a copy of what getmsg would return.
fn peek(first: Option<&Msg>, ctlmax: i32, datmax: i32, hipri: bool) -> Result<IoctlReply, Errno> {
    let first = match first {
        Some(m) if !hipri || m.is_high_pri() => m,
        _ => return Ok(IoctlReply::value(0)),
    };
    if first.ty() == MsgType::PassFp {
        return Err(Errno::EBADMSG);
    }
    let part = |max: i32, data: bool| {
        let max = usize::try_from(max).ok()?;
        let mut blocks = first
            .blocks()
            .filter(|b| (b.ty() == MsgType::Data) == data)
            .peekable();
        blocks.peek()?;
        Some(blocks.flat_map(|b| b.rd()).copied().take(max).collect())
    };
    Ok(IoctlReply::of_peek(&Peeked {
        ctl: part(ctlmax, false),
        data: part(datmax, true),
        hipri: first.is_high_pri(),
    }))
}

/// What the head is told, and what it says it was told.
fn set(dom: &mut Domain, head: u32, request: &Ioctl) -> Result<IoctlReply, Errno> {
    let h: &mut Head = dom.head(head).ok_or(Errno::EBADF)?;
    match *request {
        Ioctl::SetReadOpt(m) => {
            let both = mode::RMSGD | mode::RMSGN;
            if m & !(mode::RMODEMASK | mode::RPROTMASK) != 0 || m & both == both {
                return Err(Errno::EINVAL);
            }
            h.set_readopt(m);
        }
        Ioctl::GetReadOpt => return Ok(IoctlReply::of_int(0, h.readopt)),
        Ioctl::SetWriteOpt(m) => {
            if m & !(mode::SNDZERO | mode::SNDPIPE) != 0 {
                return Err(Errno::EINVAL);
            }
            h.writeopt = m;
        }
        Ioctl::GetWriteOpt => return Ok(IoctlReply::of_int(0, h.writeopt)),
        Ioctl::SetClTime(ms) => {
            let ms = u64::try_from(ms).map_err(|_| Errno::EINVAL)?;
            h.closetime = Duration::from_millis(ms);
        }
        Ioctl::GetClTime => {
            let ms = i32::try_from(h.closetime.as_millis());
            return Ok(IoctlReply::of_int(0, ms.unwrap_or(i32::MAX)));
        }
        Ioctl::SetErrOpt(m) => {
            let (r, w) = (RERRNORM | RERRNONPERSIST, WERRNORM | WERRNONPERSIST);
            if m & !(r | w) != 0 || m & r == r || m & w == w {
                return Err(Errno::EINVAL);
            }
            h.set_erropt(m);
        }
        Ioctl::GetErrOpt => {
            let r = [RERRNORM, RERRNONPERSIST][usize::from(h.rnonpersist)];
            let w = [WERRNORM, WERRNONPERSIST][usize::from(h.wnonpersist)];
            return Ok(IoctlReply::of_int(0, r | w));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(IoctlReply::value(0))
}
