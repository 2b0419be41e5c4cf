//! The system calls on a stream, but for ioctl(2): what `%open` to `%poll` do.
//!
//! Spec: open(2), read(2), write(2), getmsg(2), putmsg(2), poll(2), pipe(2), dup(2).

use std::time::Duration;

use streams::sys::{MORECTL, MOREDATA};
use streams::{Got, Ioctl, PollFd, Sys, Which};

use super::text::Tok;
use super::{Machine, Outcome, Wrong, at_name, nothing, reply_value, time};
use crate::probe::{self, Place};

impl Machine {
    /// The calls; `None` if the verb is none of them.
    pub(super) fn call_verb(&mut self, verb: &str, args: &[Tok]) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "open" => self.open(args)?,
            "close" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.close(fd).map(nothing)
            }
            "use" => {
                let (name, _) = at_name(args).ok_or("%use @name")?;
                self.fd = name.to_owned();
                Ok(Vec::new())
            }
            "dup" => {
                let [Tok::Key(name, from)] = args else {
                    return Err("%dup new=@old".into());
                };
                let (p, fd, _) = self.on_fd(std::slice::from_ref(&**from))?;
                p.dup(fd).map(|new| {
                    self.fds.insert(name.clone(), (self.proc.clone(), new));
                    Vec::new()
                })
            }
            "flags" => {
                let (p, fd, rest) = self.on_fd(args)?;
                p.set_flags(fd, flags(rest)?).map(nothing)
            }
            "pipe" => {
                let [Tok::Word(a), Tok::Word(b)] = args else {
                    return Err("%pipe a b".into());
                };
                self.process(&self.proc)?.pipe().map(|(x, y)| {
                    self.fds.insert(a.clone(), (self.proc.clone(), x));
                    self.fds.insert(b.clone(), (self.proc.clone(), y));
                    self.fd = a.clone();
                    Vec::new()
                })
            }
            "push" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let (name, module) = named(rest).ok_or("%push [name=]module")?;
                let from = probe::next_id();
                let r = p.ioctl(fd, Ioctl::Push(module.clone())).map(reply_value);
                self.adopt(from, Place::Module, &name.unwrap_or(module));
                r
            }
            "pop" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.ioctl(fd, Ioctl::Pop).map(reply_value)
            }
            "write" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Bytes(data)] = rest else {
                    return Err("%write \"data\"".into());
                };
                p.write(fd, data).map(|n| vec![Tok::Num(n as i64)])
            }
            "read" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Num(n)] = rest else {
                    return Err("%read COUNT".into());
                };
                p.read(fd, *n as usize).map(|d| vec![Tok::Bytes(d)])
            }
            "put" | "putmsg" | "putpmsg" => self.putpmsg(verb, args)?,
            "getpmsg" => self.getpmsg(args)?,
            "getmsg" => {
                let (fd, rest) = at_name(args).map_or((None, args), |(n, r)| (Some(n), r));
                let mut full = Vec::new();
                full.extend(fd.map(|n| Tok::word(format!("@{n}"))));
                if !rest.first().is_some_and(|t| t.is("hipri")) {
                    full.push(Tok::word("any"));
                }
                full.extend_from_slice(rest);
                self.getpmsg(&full)?
            }
            "poll" => self.poll(args)?,
            "cloexec" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.set_cloexec(fd, true).map(nothing)
            }
            _ => return Ok(None),
        }))
    }

    fn open(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (name, path) = named(args).ok_or("%open [name=]PATH [FLAGS]")?;
        let mut how = flags(&args[1..])?;
        if !args[1..].iter().any(|_| how & 3 != 0) {
            how |= streams::oflag::O_RDWR;
        }
        let name = name.unwrap_or_else(|| "fd".into());
        let from = probe::next_id();
        let r = self.process(&self.proc)?.open(&path, how);
        self.adopt(from, Place::Driver, &name);
        Ok(r.map(|fd| {
            self.fds.insert(name.clone(), (self.proc.clone(), fd));
            self.fd = name;
            Vec::new()
        }))
    }

    fn putpmsg(&mut self, verb: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut ctl, mut data, mut hipri, mut band) = (None, None, false, 0);
        for t in rest {
            match t {
                Tok::Bytes(b) => data = Some(&b[..]),
                Tok::Word(w) if w == "hipri" => hipri = true,
                Tok::Key(k, v) => match (k.as_str(), &**v) {
                    ("ctl", Tok::Bytes(b)) => ctl = Some(&b[..]),
                    ("data", Tok::Bytes(b)) => data = Some(&b[..]),
                    ("band", Tok::Num(n)) => {
                        band = u8::try_from(*n).map_err(|_| "a band is 0 to 255")?;
                    }
                    _ => return Err(format!("%{verb} has no {k}")),
                },
                t => return Err(format!("%{verb}: {t}?")),
            }
        }
        Ok(p.putpmsg(fd, ctl, data, hipri, band).map(nothing))
    }

    pub(super) fn getpmsg(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut ctlmax, mut datmax) = (65536, 65536);
        let mut which = None;
        for t in rest {
            match t {
                Tok::Word(w) if w == "any" => which = Some(Which::Any),
                Tok::Word(w) if w == "hipri" => which = Some(Which::Hipri(true)),
                Tok::Word(w) if w == "badhipri" => which = Some(Which::Hipri(false)),
                Tok::Key(k, v) => match (k.as_str(), &**v) {
                    ("band", Tok::Num(n)) => which = Some(Which::Band(*n as u8)),
                    ("ctlmax", Tok::Num(n)) => ctlmax = *n as i32,
                    ("datamax", Tok::Num(n)) => datmax = *n as i32,
                    _ => return Err(format!("%getpmsg has no {k}")),
                },
                t => return Err(format!("%getpmsg: {t}?")),
            }
        }
        let which = which.ok_or("any, hipri or band=N")?;
        Ok(p.getpmsg(fd, ctlmax, datmax, which).map(got))
    }

    fn poll(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut events, mut timeout) = (None, Some(Duration::ZERO));
        for t in rest {
            match t {
                Tok::Num(n) => events = Some(*n as u16),
                Tok::Key(k, v) if k == "timeout" => {
                    timeout = match &**v {
                        Tok::Word(w) if w == "never" => None,
                        Tok::Word(w) => Some(time(w)?),
                        Tok::Num(0) => Some(Duration::ZERO),
                        t => return Err(format!("timeout={t}")),
                    }
                }
                t => return Err(format!("%poll: {t}?")),
            }
        }
        let events = events.ok_or("%poll EVENTS")?;
        let mut fds = [PollFd {
            fd,
            events,
            revents: 0,
        }];
        Ok(p.poll(&mut fds, timeout)
            .map(|_| vec![Tok::Num(fds[0].revents.into())]))
    }
}

fn got(g: Got) -> Vec<Tok> {
    let mut v = Vec::new();
    if g.hipri {
        v.push(Tok::word("hipri"));
    }
    if let Some(d) = g.data {
        v.push(Tok::Bytes(d));
    }
    if let Some(c) = g.ctl {
        v.push(Tok::key("ctl", Tok::Bytes(c)));
    }
    v.push(Tok::key("band", Tok::Num(g.band.into())));
    if g.more & MORECTL != 0 {
        v.push(Tok::word("MORECTL"));
    }
    if g.more & MOREDATA != 0 {
        v.push(Tok::word("MOREDATA"));
    }
    v
}

/// `value` or `name=value`.
fn named(args: &[Tok]) -> Option<(Option<String>, String)> {
    match args.first()? {
        Tok::Word(w) => Some((None, w.clone())),
        Tok::Bytes(b) => Some((None, String::from_utf8_lossy(b).into_owned())),
        Tok::Key(k, v) => match &**v {
            Tok::Word(w) => Some((Some(k.clone()), w.clone())),
            _ => None,
        },
        Tok::Num(_) => None,
    }
}

fn flags(args: &[Tok]) -> Result<u32, Wrong> {
    args.iter().try_fold(0, |sum, t| match t {
        Tok::Num(n) => Ok(sum | *n as u32),
        t => Err(format!("{t} is no open flag")),
    })
}
