//! A host with IP and its links: the verbs of ip.rs, arp.rs, groups.rs, link.rs and tunnel.rs,
//! and the datagrams that come out.

use streams::Sys;

use super::text::Tok;
use super::{Failure, Machine, Outcome, Wrong, arp, datagram, groups, ip, link, nothing, tunnel};
use crate::probe::{self, Side};

impl Machine {
    /// What a host with IP does, and what arrives there; `None` if the verb is none of them.
    pub(super) fn network_verb(
        &mut self,
        verb: &str,
        args: &[Tok],
    ) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "net" => ip::net(&*self.process(&self.proc)?, args)?,
            "ifconfig" => ip::ifconfig(&*self.process(&self.proc)?, args)?,
            "route" => ip::route(&*self.process(&self.proc)?, args)?,
            "sioc" => {
                let (p, fd, rest) = self.on_fd(args)?;
                ip::sioc(&p, fd, rest)?
            }
            "ire" => ip::ire(&*self.process("init")?, args)?,
            "ndd" => ip::ndd(&*self.process(&self.proc)?, args)?,
            "mib" => ip::mib(&*self.process("init")?, args)?,
            "drops" => ip::drops(&self.kernel, args)?,
            "group" => {
                let (p, fd, rest) = self.on_fd(args)?;
                groups::option(&p, fd, rest)?
            }
            "members" => groups::members(&*self.process("init")?, args)?,
            "in" => {
                self.wires.arrive(args)?;
                Ok(Vec::new())
            }
            "send" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let d = datagram::build(&datagram::Fields(rest))?;
                p.putmsg(fd, None, Some(&d), false).map(nothing)
            }
            "down" => {
                let (p, fd, rest) = self.on_fd(args)?;
                tunnel::down(&p, fd, &datagram::build(&datagram::Fields(rest))?)
            }
            "bounce" => {
                let (name, rest) = args.split_first().ok_or("%bounce INTERFACE TYPE.CODE")?;
                self.wires
                    .arrived(name, tunnel::bounce(&self.last, rest)?)?;
                Ok(Vec::new())
            }
            "arp" => {
                let (p, fd, rest) = self.on_fd(args)?;
                arp::ioctl(&p, fd, rest)?
            }
            "arpin" => arp::arrive(&self.wires, args)?,
            "arpout" => arp::left(&self.wires, args.first().ok_or("%arpout INTERFACE")?)?,
            "hush" => {
                self.wires.hush(args.first().ok_or("%hush INTERFACE")?)?;
                Ok(Vec::new())
            }
            "forget" => {
                self.wires.forget();
                Ok(Vec::new())
            }
            "tpi" => {
                let (p, fd, rest) = self.on_fd(args)?;
                ip::ask(&p, fd, rest)?
            }
            "tpistate" => {
                let (p, fd, _) = self.on_fd(args)?;
                ip::state(&p, fd)?
            }
            "tpinext" => {
                let (p, fd, _) = self.on_fd(args)?;
                ip::answer(&p, fd)?
            }
            "accept" => {
                let Some((on, rest)) = args.split_last() else {
                    return Err("%accept [@n] @on".into());
                };
                let (p, fd, _) = self.on_fd(rest)?;
                let on = self.on_fd(std::slice::from_ref(on))?.1;
                ip::accept(&p, fd, on)?
            }
            "dl" => {
                let (p, fd, rest) = self.on_fd(args)?;
                link::ask(&p, fd, rest)?
            }
            "dlget" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::got(&self.kernel, &p, fd)
            }
            "dlinfo" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::info_fields(&p, fd)?
            }
            "dlstate" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::state(&p, fd)?
            }
            "tunnel" => tunnel::tunnel(&*self.process(&self.proc)?, args)?,
            "hear" => tunnel::hear(&*self.process(&self.proc)?, args)?,
            "vt" => {
                let (p, fd, rest) = self.on_fd(args)?;
                tunnel::ioctl(&p, fd, rest)?
            }
            "log" => {
                let p = self.process(&self.proc)?;
                tunnel::log(&p, args)?.map(|fd| {
                    self.fds.insert("log".into(), (self.proc.clone(), fd));
                    Vec::new()
                })
            }
            "said" => {
                let (p, fd, _) = self.on_fd(&[Tok::word("@log")])?;
                tunnel::said(&p, fd)
            }
            "notice" => {
                let (p, fd, _) = self.on_fd(args)?;
                tunnel::notice(&p, fd)
            }
            _ => return Ok(None),
        }))
    }

    /// `%out`, `%up`, `%ctl`: the next datagram, by the fields that are expected.
    pub(super) fn datagram(
        &mut self,
        verb: &str,
        args: &[Tok],
        want: Option<&[Tok]>,
    ) -> Result<(), Failure> {
        let want = want.ok_or_else(|| format!("%{verb} .. -> FIELDS or nothing"))?;
        let mut to = "unicast";
        let got = match verb {
            "out" => {
                let name = args.first().ok_or("%out INTERFACE".to_owned())?;
                let left = self.wires.left(name)?;
                left.map(|(how, d)| {
                    to = how;
                    d
                })
            }
            "up" => {
                let (p, fd, _) = self.on_fd(args)?;
                let got = p.getmsg(fd, 0, 65536, false);
                got.ok().and_then(|g| g.data)
            }
            "above" => {
                let (p, fd, _) = self.on_fd(args)?;
                tunnel::above(&p, fd)
            }
            _ => {
                let (id, _, _) = self.on_probe(args)?;
                let seen = probe::take_seen(id, Side::Rd);
                let ctl = seen
                    .into_iter()
                    .find(|m| m.first().is_some_and(|t| t.is("M_CTL")));
                let bytes = ctl.iter().flatten().filter_map(|t| match t {
                    Tok::Bytes(b) => Some(&b[..]),
                    _ => None,
                });
                let bytes: Vec<u8> = bytes.flatten().copied().collect();
                ctl.is_some().then_some(bytes)
            }
        };
        if let (Some(b), "out") = (&got, verb) {
            self.last.clone_from(b);
        }
        let shown = match got {
            None => vec![Tok::word("nothing")],
            Some(_) if want.iter().any(|t| t.is("nothing")) => vec![Tok::word("a datagram")],
            Some(b) => datagram::look(&b, to, want).map_err(Failure::Differs)?,
        };
        self.compare(want, &Ok(shown))
    }
}
