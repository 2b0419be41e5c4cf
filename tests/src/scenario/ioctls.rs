//! ioctl(2): the commands of streamio(7I), by name; the caller's memory as it is; links.
//!
//! Spec: streamio(7I), ioctl(2).

use streams::sys::StrIoctl;
use streams::{FdInsert, Ioctl, IoctlReply, Process, Sys};

use super::text::Tok;
use super::{Machine, Outcome, Wrong, key_or, names, reply_value};
use crate::probe::{self, Place};

impl Machine {
    /// The ways to call ioctl(2); `None` if the verb is none of them.
    pub(super) fn ioctl_verb(
        &mut self,
        verb: &str,
        args: &[Tok],
    ) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "ioctl" => self.ioctl(args)?,
            "raw" => self.raw(args)?,
            "istr" => self.istr(args)?,
            "link" | "plink" => {
                let Some(last) = args.last() else {
                    return Err("%link [@upper] [l=]@low".into());
                };
                let (name, low) = match last {
                    Tok::Key(k, v) => (k.clone(), (**v).clone()),
                    t => ("lower".to_owned(), t.clone()),
                };
                let low = match &low {
                    Tok::Num(n) => *n as i32,
                    t => self.on_fd(std::slice::from_ref(t))?.1,
                };
                let (p, fd, _) = self.on_fd(if args.len() > 1 { args } else { &[] })?;
                let from = probe::next_id();
                let how = if verb == "link" {
                    Ioctl::Link(low)
                } else {
                    Ioctl::Plink(low)
                };
                let r = p.ioctl(fd, how).map(reply_value);
                self.adopt(from, Place::Lower, &name);
                r
            }
            "unlink" | "punlink" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Num(id)] = rest else {
                    return Err("%unlink ID".into());
                };
                let id = *id as i32;
                let how = if verb == "unlink" {
                    Ioctl::Unlink(id)
                } else {
                    Ioctl::Punlink(id)
                };
                p.ioctl(fd, how).map(reply_value)
            }
            _ => return Ok(None),
        }))
    }

    fn istr(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let Some((Tok::Num(cmd), rest)) = rest.split_first() else {
            return Err("%istr COMMAND [\"data\"] [timeout=N]".into());
        };
        let mut req = StrIoctl {
            cmd: *cmd as i32,
            timeout: 0,
            data: Vec::new(),
        };
        for t in rest {
            match t {
                Tok::Bytes(b) => req.data = b.clone(),
                Tok::Key(k, v) if k == "timeout" => match **v {
                    Tok::Num(n) => req.timeout = n as i32,
                    _ => return Err("timeout=SECONDS".into()),
                },
                t => return Err(format!("%istr: {t}?")),
            }
        }
        Ok(p.ioctl(fd, Ioctl::Str(req)).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if !r.data.is_empty() {
                v.push(Tok::Bytes(r.data));
            }
            v
        }))
    }

    /// `%ioctl NAME args`: return value, then what is copied out.
    fn ioctl(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let Some((Tok::Num(cmd), rest)) = rest.split_first() else {
            return Err("%ioctl COMMAND ..".into());
        };
        let cmd = *cmd as i32;
        let word = |i: usize| match rest.get(i) {
            Some(Tok::Bytes(b)) => Ok(String::from_utf8_lossy(b).into_owned()),
            Some(Tok::Word(w)) => Ok(w.clone()),
            _ => Err("a name is missing".to_string()),
        };
        let int = |i: usize| match rest.get(i) {
            Some(Tok::Num(n)) => Ok(*n as i32),
            _ => Err("a number is missing".to_string()),
        };
        use streams::sys::*;
        let request = match cmd {
            I_NREAD => Ioctl::Nread,
            I_PUSH => Ioctl::Push(word(0)?),
            I_POP => Ioctl::Pop,
            I_LOOK => Ioctl::Look,
            I_FLUSH => Ioctl::Flush(int(0)?),
            I_SRDOPT => Ioctl::SetReadOpt(int(0)?),
            I_GRDOPT => Ioctl::GetReadOpt,
            I_FIND => Ioctl::Find(word(0)?),
            I_LINK | I_PLINK => return Err("write %link or %plink".into()),
            I_UNLINK => Ioctl::Unlink(int(0)?),
            I_PUNLINK => Ioctl::Punlink(int(0)?),
            I_SWROPT => Ioctl::SetWriteOpt(int(0)?),
            I_GWROPT => Ioctl::GetWriteOpt,
            I_LIST => Ioctl::List,
            I_FLUSHBAND => match rest {
                [Tok::Num(how), Tok::Key(k, v)] if k == "band" => match **v {
                    Tok::Num(b) => Ioctl::FlushBand {
                        band: b as u8,
                        how: *how as i32,
                    },
                    _ => return Err("band=N".into()),
                },
                _ => return Err("I_FLUSHBAND FLUSHR band=N".into()),
            },
            I_CKBAND => Ioctl::CkBand(int(0)?),
            I_GETBAND => Ioctl::GetBand,
            I_SETCLTIME => Ioctl::SetClTime(int(0)?),
            I_GETCLTIME => Ioctl::GetClTime,
            I_CANPUT => Ioctl::CanPut(int(0)?),
            I_PEEK => Ioctl::Peek {
                ctlmax: key_or(rest, "ctlmax", 65536)?,
                datmax: key_or(rest, "datamax", 65536)?,
                hipri: rest.iter().any(|t| t.is("hipri")),
            },
            I_SETSIG => Ioctl::SetSig(int(0)?),
            I_GETSIG => Ioctl::GetSig,
            I_ESETSIG => Ioctl::ESetSig {
                pid: self.pid(rest.first())?,
                events: int(1)?,
            },
            I_EGETSIG => Ioctl::EGetSig {
                pid: self.pid(rest.first())?,
            },
            I_SENDFD => Ioctl::SendFd(self.on_fd(rest)?.1),
            I_RECVFD => return self.recvfd(&p, fd, rest),
            I_FDINSERT => Ioctl::FdInsert(self.fd_insert(rest)?),
            I_ATMARK => Ioctl::AtMark(int(0)?),
            I_ANCHOR => Ioctl::Anchor,
            I_SERROPT => Ioctl::SetErrOpt(int(0)?),
            I_GERROPT => Ioctl::GetErrOpt,
            I_PUSH_NOCTTY => Ioctl::PushNoCtty(word(0)?),
            I_MUXID2FD => Ioctl::MuxId2Fd(int(0)?),
            I_INSERT => Ioctl::Insert {
                pos: int(0)?,
                name: word(1)?,
            },
            I_REMOVE => Ioctl::Remove {
                pos: int(0)?,
                name: word(1)?,
            },
            FIONREAD => Ioctl::Fionread,
            FIORDCHK => Ioctl::FioRdChk,
            c if (0x5301..=0x5333).contains(&c) => {
                return Err(format!("{} is asked for by %raw", names::command(c)));
            }
            cmd => {
                let arg = match rest.first() {
                    Some(Tok::Num(n)) => *n as u64,
                    _ => USER_BASE,
                };
                let mem = rest.iter().find_map(|t| match t {
                    Tok::Bytes(b) => Some(b.clone()),
                    _ => None,
                });
                Ioctl::Raw {
                    cmd,
                    arg,
                    mem: mem.unwrap_or_default(),
                }
            }
        };
        Ok(p.ioctl(fd, request).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if cmd == I_PEEK {
                return peeked(v, r);
            }
            let one_int = matches!(
                cmd,
                I_NREAD | I_GRDOPT | I_GWROPT | I_GETBAND | I_GETCLTIME | I_GETSIG | I_EGETSIG
            ) || matches!(cmd, I_GERROPT | FIONREAD);
            match <[u8; 4]>::try_from(&r.data[..]) {
                Ok(int) if one_int => v.push(Tok::Num(i32::from_ne_bytes(int).into())),
                _ if r.data.is_empty() => {}
                _ => v.push(Tok::Bytes(r.data)),
            }
            v.extend(r.names.into_iter().map(|n| Tok::Bytes(n.into_bytes())));
            v
        }))
    }

    /// `%ioctl I_RECVFD [name]`: the descriptor gets the name; what comes out is the uid.
    fn recvfd(&mut self, p: &Process, fd: i32, rest: &[Tok]) -> Result<Outcome, Wrong> {
        let name = match rest {
            [Tok::Word(name)] => name.clone(),
            _ => "received".to_owned(),
        };
        Ok(p.ioctl(fd, Ioctl::RecvFd).map(|r| {
            let Some(got) = r.received() else {
                return vec![Tok::word("nothing")];
            };
            self.fds.insert(name, (self.proc.clone(), got.fd));
            vec![
                Tok::Num(r.rval.into()),
                Tok::key("uid", Tok::Num(got.uid.into())),
            ]
        }))
    }

    /// `%ioctl I_FDINSERT @other ctl="..." ["data"] offset=N [flags=N]`
    fn fd_insert(&self, rest: &[Tok]) -> Result<FdInsert, Wrong> {
        let mut req = FdInsert {
            flags: key_or(rest, "flags", 0)? as u32,
            offset: key_or(rest, "offset", 0)?,
            fildes: match rest.first() {
                Some(Tok::Num(n)) => *n as i32,
                _ => self.on_fd(rest)?.1,
            },
            ..FdInsert::default()
        };
        for t in rest {
            match t {
                Tok::Bytes(b) => req.data = Some(b.clone()),
                Tok::Key(k, v) if k == "ctl" => match &**v {
                    Tok::Bytes(b) => req.ctl = b.clone(),
                    t => return Err(format!("ctl={t}")),
                },
                _ => {}
            }
        }
        Ok(req)
    }

    /// `%raw COMMAND ARG "memory"`: ioctl(2) as it is; `-> RVAL "memory"`.
    fn raw(&self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (Some(Tok::Num(cmd)), Some(Tok::Num(arg))) = (rest.first(), rest.get(1)) else {
            return Err("%raw COMMAND ARG [\"memory\"]".into());
        };
        let mem = match rest.get(2) {
            Some(Tok::Bytes(b)) => b.clone(),
            _ => Vec::new(),
        };
        let (cmd, arg) = (*cmd as i32, *arg as u64);
        let had = mem.clone();
        Ok(p.ioctl(fd, Ioctl::Raw { cmd, arg, mem }).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if r.data != had {
                v.push(Tok::Bytes(r.data));
            }
            v
        }))
    }
}

fn peeked(mut v: Vec<Tok>, r: IoctlReply) -> Vec<Tok> {
    let Some(p) = r.peeked() else { return v };
    if p.hipri {
        v.push(Tok::word("hipri"));
    }
    v.extend(p.data.map(Tok::Bytes));
    v.extend(p.ctl.map(|c| Tok::key("ctl", Tok::Bytes(c))));
    v
}
