//! streamio commands as ioctl(2) has them: a number, an argument, and the caller's memory.
//!
//! ```text
//!   cmd, arg, memory ─► decode ─► Ioctl ─► the call ─► IoctlReply ─► encode ─► memory
//!                          └─ EFAULT: the argument points nowhere ──────┘
//! ```
//!
//! Structures are laid out as for a 64-bit process, in the order of the host's bytes.
//!
//! Spec: sys/stropts.h, the reference's 2.2 and 2.4.
//! Kept: what is to be written is checked before anything is done, so that EFAULT leaves
//! the stream as it was.

use crate::errno::Errno;
use crate::head::Sides;
use crate::sys::stropts::RS_HIPRI;
use crate::sys::*;

/// FMNAMESZ + 1.
const NAME: usize = 9;

/// The caller's memory.
struct User<'a>(&'a [u8]);

impl User<'_> {
    fn bytes(&self, addr: u64, len: usize) -> Result<&[u8], Errno> {
        let range = at(self.0, addr, len)?;
        self.0.get(range).ok_or(Errno::EFAULT)
    }
    fn int(&self, addr: u64) -> Result<i32, Errno> {
        let b = self.bytes(addr, 4)?;
        b.try_into()
            .map(i32::from_ne_bytes)
            .map_err(|_| Errno::EFAULT)
    }
    fn ptr(&self, addr: u64) -> Result<u64, Errno> {
        let b = self.bytes(addr, 8)?;
        b.try_into()
            .map(u64::from_ne_bytes)
            .map_err(|_| Errno::EFAULT)
    }
    /// A module's name; EINVAL for one that is too long or is no text.
    fn name(&self, addr: u64) -> Result<String, Errno> {
        let mut name = Vec::new();
        for i in 0..NAME as u64 {
            match self.bytes(addr.checked_add(i).ok_or(Errno::EFAULT)?, 1)? {
                [0] => return String::from_utf8(name).map_err(|_| Errno::EINVAL),
                b => name.extend_from_slice(b),
            }
        }
        Err(Errno::EINVAL)
    }
    /// A strbuf for output: its maxlen, once its room is known to be there.
    fn room(&self, addr: u64) -> Result<i32, Errno> {
        let max = self.int(addr)?;
        if max > 0 {
            self.bytes(self.ptr(addr + 8)?, max as usize)?;
        }
        Ok(max)
    }
    /// A strbuf for input: `None` for len = -1.
    fn input(&self, addr: u64) -> Result<Option<Vec<u8>>, Errno> {
        match usize::try_from(self.int(addr + 4)?) {
            Ok(len) => Ok(Some(self.bytes(self.ptr(addr + 8)?, len)?.to_vec())),
            Err(_) => Ok(None),
        }
    }
}

fn at(mem: &[u8], addr: u64, len: usize) -> Result<std::ops::Range<usize>, Errno> {
    let start = addr.checked_sub(USER_BASE).ok_or(Errno::EFAULT)?;
    let start = usize::try_from(start).map_err(|_| Errno::EFAULT)?;
    let end = start.checked_add(len).ok_or(Errno::EFAULT)?;
    if end <= mem.len() {
        Ok(start..end)
    } else {
        Err(Errno::EFAULT)
    }
}

/// Whose error a command fails with (2.1 steps 2 and 3).
pub(super) fn sides(cmd: i32) -> Sides {
    match cmd {
        I_RECVFD | I_PEEK | I_NREAD | I_ATMARK | FIONREAD | FIORDCHK => Sides::Read,
        _ => Sides::Both,
    }
}

/// What a command that a hangup ends is told before its argument is looked at.
pub(super) fn hup(cmd: i32) -> Option<Errno> {
    let ended = matches!(
        cmd,
        I_STR | I_PUSH | I_PUSH_NOCTTY | I_FDINSERT | I_INSERT | I_REMOVE
    );
    ended.then_some(Errno::ENXIO)
}

/// The typed call; `None` if the command is not the head's.
pub(super) fn decode(cmd: i32, arg: u64, mem: &[u8]) -> Option<Result<Ioctl, Errno>> {
    let u = User(mem);
    let int = arg as i32;
    // A command that copies an int out.
    let out = |request: Ioctl| u.int(arg).map(|_| request);
    Some(match cmd {
        I_PUSH => u.name(arg).map(Ioctl::Push),
        I_PUSH_NOCTTY => u.name(arg).map(Ioctl::PushNoCtty),
        I_FIND => u.name(arg).map(Ioctl::Find),
        I_POP => Ok(Ioctl::Pop),
        I_LOOK => u.bytes(arg, NAME).map(|_| Ioctl::Look),
        I_LIST if arg == 0 => Ok(Ioctl::List),
        I_LIST => list(&u, arg),
        I_FLUSH => Ok(Ioctl::Flush(int)),
        I_FLUSHBAND => u.bytes(arg, 8).and_then(|b| {
            Ok(Ioctl::FlushBand {
                band: b[0],
                how: u.int(arg + 4)?,
            })
        }),
        I_STR => str_ioctl(&u, arg),
        I_LINK => Ok(Ioctl::Link(int)),
        I_UNLINK => Ok(Ioctl::Unlink(int)),
        I_PLINK => Ok(Ioctl::Plink(int)),
        I_PUNLINK => Ok(Ioctl::Punlink(int)),
        I_SRDOPT => Ok(Ioctl::SetReadOpt(int)),
        I_GRDOPT => out(Ioctl::GetReadOpt),
        I_SWROPT => Ok(Ioctl::SetWriteOpt(int)),
        I_GWROPT => out(Ioctl::GetWriteOpt),
        I_NREAD => out(Ioctl::Nread),
        FIONREAD => out(Ioctl::Fionread),
        FIORDCHK => Ok(Ioctl::FioRdChk),
        I_CKBAND => Ok(Ioctl::CkBand(int)),
        I_GETBAND => out(Ioctl::GetBand),
        I_CANPUT => Ok(Ioctl::CanPut(int)),
        I_SETCLTIME => u.int(arg).map(Ioctl::SetClTime),
        I_GETCLTIME => out(Ioctl::GetClTime),
        I_ATMARK => Ok(Ioctl::AtMark(int)),
        I_ANCHOR => Ok(Ioctl::Anchor),
        I_SERROPT => Ok(Ioctl::SetErrOpt(int)),
        I_GERROPT => out(Ioctl::GetErrOpt),
        I_SETSIG => Ok(Ioctl::SetSig(int)),
        I_GETSIG => out(Ioctl::GetSig),
        I_ESETSIG => u.bytes(arg, 8).and_then(|_| {
            Ok(Ioctl::ESetSig {
                pid: u.int(arg)?,
                events: u.int(arg + 4)?,
            })
        }),
        I_EGETSIG => u
            .bytes(arg, 8)
            .and_then(|_| Ok(Ioctl::EGetSig { pid: u.int(arg)? })),
        I_PEEK => peek(&u, arg),
        I_SENDFD => Ok(Ioctl::SendFd(int)),
        I_RECVFD => u.bytes(arg, 20).map(|_| Ioctl::RecvFd),
        I_FDINSERT => fdinsert(&u, arg),
        I_MUXID2FD => Ok(Ioctl::MuxId2Fd(int)),
        I_INSERT | I_REMOVE => u.bytes(arg, 16).and_then(|_| {
            let (pos, name) = (u.int(arg)?, u.name(u.ptr(arg + 8)?)?);
            Ok(match cmd {
                I_INSERT => Ioctl::Insert { pos, name },
                _ => Ioctl::Remove { pos, name },
            })
        }),
        // _I_GETPEERCRED, _I_PLINK_LH, _I_CMD, old I_RECVFD: the kernel's own.
        0x5312 | 0x5331..=0x5333 => Err(Errno::EINVAL),
        _ => return None,
    })
}

/// struct str_list.
fn list(u: &User<'_>, arg: u64) -> Result<Ioctl, Errno> {
    u.bytes(arg, 16)?;
    let n = u.int(arg)?;
    if n > 0 {
        let bytes = (n as usize).checked_mul(NAME).ok_or(Errno::EFAULT)?;
        u.bytes(u.ptr(arg + 8)?, bytes)?;
    }
    Ok(Ioctl::ListN(n))
}

/// struct strioctl.
fn str_ioctl(u: &User<'_>, arg: u64) -> Result<Ioctl, Errno> {
    u.bytes(arg, 24)?;
    let (cmd, timeout, len) = (u.int(arg)?, u.int(arg + 4)?, u.int(arg + 8)?);
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if timeout < -1 || is_link_command(cmd) {
        return Err(Errno::EINVAL); // before the data is copied in: 3.1
    }
    let data = match len {
        0 => Vec::new(),
        n => u.bytes(u.ptr(arg + 16)?, n)?.to_vec(),
    };
    Ok(Ioctl::Str(StrIoctl { cmd, timeout, data }))
}

/// struct strpeek.
fn peek(u: &User<'_>, arg: u64) -> Result<Ioctl, Errno> {
    u.bytes(arg, 40)?;
    let flags = u.int(arg + 32)? as u32;
    if flags & !RS_HIPRI != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Ioctl::Peek {
        ctlmax: u.room(arg)?,
        datmax: u.room(arg + 16)?,
        hipri: flags == RS_HIPRI,
    })
}

/// struct strfdinsert.
fn fdinsert(u: &User<'_>, arg: u64) -> Result<Ioctl, Errno> {
    u.bytes(arg, 48)?;
    Ok(Ioctl::FdInsert(FdInsert {
        ctl: u.input(arg)?.unwrap_or_default(),
        data: u.input(arg + 16)?,
        flags: u.int(arg + 32)? as u32,
        fildes: u.int(arg + 36)?,
        offset: u.int(arg + 40)?,
    }))
}

/// Writes what a call returned where the caller wants it.
pub(super) fn encode(cmd: i32, arg: u64, mem: &mut [u8], reply: &IoctlReply) -> Result<(), Errno> {
    let mut put = |addr: u64, bytes: &[u8]| -> Result<(), Errno> {
        let range = at(mem, addr, bytes.len())?;
        mem[range].copy_from_slice(bytes);
        Ok(())
    };
    match cmd {
        I_LOOK => put(arg, &c_name(reply.names.first())),
        I_LIST if arg != 0 => {
            put(arg, &(reply.names.len() as i32).to_ne_bytes())?;
            let to = User(mem).ptr(arg + 8)?;
            for (i, n) in reply.names.iter().enumerate() {
                let range = at(mem, to + (i * NAME) as u64, NAME)?;
                mem[range].copy_from_slice(&c_name(Some(n)));
            }
            Ok(())
        }
        I_STR => {
            put(arg + 8, &(reply.data.len() as i32).to_ne_bytes())?;
            if reply.data.is_empty() {
                return Ok(());
            }
            let range = at(mem, User(mem).ptr(arg + 16)?, reply.data.len())?;
            mem[range].copy_from_slice(&reply.data);
            Ok(())
        }
        I_PEEK => match reply.peeked() {
            None => Ok(()),
            Some(p) => {
                put(arg + 32, &i32::from(p.hipri).to_ne_bytes())?;
                strbuf(mem, arg, p.ctl.as_deref())?;
                strbuf(mem, arg + 16, p.data.as_deref())
            }
        },
        I_EGETSIG => put(arg + 4, &reply.data),
        I_RECVFD | I_NREAD | I_GRDOPT | I_GWROPT | I_GETBAND | I_GETCLTIME | I_GERROPT
        | I_GETSIG | FIONREAD => put(arg, &reply.data),
        _ => Ok(()),
    }
}

/// A name of nine bytes, the last one 0.
fn c_name(name: Option<&String>) -> [u8; NAME] {
    let mut to = [0; NAME];
    for (t, b) in to[..NAME - 1]
        .iter_mut()
        .zip(name.into_iter().flat_map(|n| n.bytes()))
    {
        *t = b;
    }
    to
}

/// Fills a strbuf: its len, and what it points to.
fn strbuf(mem: &mut [u8], addr: u64, part: Option<&[u8]>) -> Result<(), Errno> {
    let len = part.map_or(-1, |p| p.len() as i32);
    let range = at(mem, addr + 4, 4)?;
    mem[range].copy_from_slice(&len.to_ne_bytes());
    if let Some(p) = part
        && !p.is_empty()
    {
        let range = at(mem, User(mem).ptr(addr + 8)?, p.len())?;
        mem[range].copy_from_slice(p);
    }
    Ok(())
}
