//! The daemon of a router: home agent, foreign agent, or both, and what it advertises.
//!
//! ```text
//!   link.rs ─┬─ solicitation ─► an advertisement to who asked
//!            ├─ request, home agent is another ──────────────► foreign.rs
//!            └─ request from a home address that is at home ─► home.rs, answered on the link
//!   port.rs ─┬─ request ─► home.rs         reply ─► foreign.rs
//!            └─ ICMP error ─► foreign.rs
//! ```
//!
//! Spec: RFC 5944 2.3 (advertisements by agents), 3.7, 3.8.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::addr::Mac;
use ipmod::plumb;
use serde_json::{Value, json};
use streams::{Errno, Sys};

use crate::PORT;
use crate::advert::{self, Advertisement, flag, following};
use crate::conf::{Advertise, Conf, Foreign, Reverse};
use crate::foreign::{ForeignAgent, On, Send, To};
use crate::home::{From, HomeAgent};
use crate::link::{ALL_AGENTS, ALL_ROUTERS, ALL_SYSTEMS, Heard, Link, What};
use crate::message::Request;
use crate::port::{Came, Port};
use crate::status::{self, Log};

/// A link where the agent advertises.
struct Served<'a> {
    link: Link<'a>,
    addr: Ipv4Addr,
    prefix: u8,
    advertise: Advertise,
    sequence: u16,
    next: Option<Duration>,
    /// Solicitations that are to be answered: by unicast.
    asked: Vec<(Mac, Ipv4Addr)>,
}

impl Served<'_> {
    /// Everybody on this link (3.6.1.2: a node that looks for its home agent).
    fn has_broadcast(&self, a: Ipv4Addr) -> bool {
        let rest = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        a.is_broadcast() || a.to_bits() == self.addr.to_bits() | rest
    }
}

/// Home agent, foreign agent, or both, in one emulated system.
pub struct Agent<'a> {
    port: Port<'a>,
    links: Vec<Served<'a>>,
    home: Option<HomeAgent<'a>>,
    foreign: Option<ForeignAgent<'a>>,
    conf: Conf,
}

impl<'a> Agent<'a> {
    /// Starts. The host's interfaces are up, its tunnel is plumbed. Addresses that the
    /// configuration leaves out are those of its interfaces.
    ///
    /// # Errors
    /// ENXIO: no such interface, or it is not up. EADDRNOTAVAIL: the care-of address or the
    /// home agent's is not ours. EADDRINUSE: another program has port 434. Those of
    /// opening /dev/vtunl and the links.
    pub fn new(sys: &'a dyn Sys, mut conf: Conf, now: Duration) -> Result<Agent<'a>, Errno> {
        let all = plumb::interfaces(sys)?;
        let mut links = Vec::new();
        for a in &conf.advertise {
            let i = all
                .iter()
                .find(|i| i.name == a.interface && i.flags & 1 != 0);
            let i = i.ok_or(Errno::ENXIO)?;
            let groups = [ALL_ROUTERS, ALL_AGENTS];
            links.push(Served {
                link: Link::open(sys, &a.interface, &groups)?,
                addr: i.addr,
                prefix: i.mask.to_bits().count_ones() as u8,
                advertise: a.clone(),
                sequence: 0,
                next: (!a.solicited_only).then_some(now),
                asked: Vec::new(),
            });
        }
        let first = |home: bool| {
            let l = links.iter().find(|l: &&Served<'_>| {
                if home {
                    l.advertise.home
                } else {
                    l.advertise.foreign
                }
            });
            l.map_or(Ipv4Addr::UNSPECIFIED, |l| l.addr)
        };
        let (at_home, abroad) = (first(true), first(false));
        let home = match &mut conf.home {
            Some(h) => {
                if h.address.is_unspecified() {
                    h.address = at_home;
                }
                Some(HomeAgent::new(sys, h.clone())?)
            }
            None => None,
        };
        let foreign = match &mut conf.foreign {
            Some(f) => {
                if f.care_of.is_unspecified() {
                    f.care_of = abroad;
                }
                let on = links.iter().map(|l| On {
                    name: l.link.name().to_owned(),
                    addr: l.addr,
                });
                Some(ForeignAgent::new(sys, f.clone(), on.collect())?)
            }
            None => None,
        };
        Ok(Agent {
            port: Port::open(sys)?,
            links,
            home,
            foreign,
            conf,
        })
    }

    /// The home agent.
    pub fn home(&self) -> Option<&HomeAgent<'a>> {
        self.home.as_ref()
    }

    /// The foreign agent.
    pub fn foreign(&self) -> Option<&ForeignAgent<'a>> {
        self.foreign.as_ref()
    }

    /// The descriptors that something may come on.
    pub fn fds(&self) -> Vec<i32> {
        let links = self.links.iter().map(|l| l.link.fd());
        let home = self.home.iter().map(HomeAgent::fd);
        links.chain(home).chain([self.port.fd()]).collect()
    }

    /// When there is something to do though nothing comes.
    pub fn next(&self) -> Option<Duration> {
        self.links.iter().filter_map(|l| l.next).min()
    }

    /// Hears, answers and advertises all there is; true if anything was. `now` as for
    /// [`HomeAgent::answer`].
    ///
    /// # Errors
    /// Those of system calls: the host is not usable.
    pub fn poll(&mut self, now: Duration, log: &mut Log) -> Result<bool, Errno> {
        let mut any = false;
        if let Some(h) = &mut self.home {
            any |= h.poll(log)?;
        }
        for at in 0..self.links.len() {
            while let Some(heard) = self.links[at].link.hear()? {
                any = true;
                self.heard(at, &heard, now, log)?;
            }
        }
        while let Some(came) = self.port.receive()? {
            any = true;
            self.came(came, now, log)?;
        }
        if let Some(f) = &mut self.foreign {
            let sends = f.expire(now, log)?;
            any |= !sends.is_empty();
            for s in sends {
                self.send(s)?;
            }
        }
        Ok(any | self.advertise(now)?)
    }

    /// Something on a link.
    fn heard(
        &mut self,
        at: usize,
        heard: &Heard,
        now: Duration,
        log: &mut Log,
    ) -> Result<(), Errno> {
        let (port, data) = match &heard.what {
            What::Discovery(icmp) => {
                if advert::is_solicitation(icmp) {
                    let l = &mut self.links[at];
                    // RFC 1256 6.1.1: who has no address yet is answered by multicast.
                    match heard.src.is_unspecified() {
                        true => l.next = Some(now),
                        false => l.asked.push((heard.mac, heard.src)),
                    }
                }
                return Ok(());
            }
            What::Registration(port, data) => (*port, data),
        };
        let Some(r) = Request::parse(data) else {
            return Ok(()); // a reply: the port has it too
        };
        // What goes through here to another agent is not for us.
        let own = [
            Some(self.links[at].addr),
            self.home.as_ref().map(HomeAgent::address),
        ];
        let all = heard.dst.is_multicast() || self.links[at].has_broadcast(heard.dst);
        if !all && !own.contains(&Some(heard.dst)) {
            return Ok(());
        }
        if self.home.as_ref().is_some_and(|h| h.serves(r.home)) {
            // What comes from the home address comes from home; IP would send the reply
            // where the mobile node was before. All else the port has.
            if heard.src != r.home || !self.links[at].advertise.home {
                return Ok(());
            }
            let from = From {
                addr: heard.src,
                mac: Some(heard.mac),
            };
            let reply = self
                .home
                .as_mut()
                .and_then(|h| h.answer(data, from, now, log));
            let own = self.links[at].addr;
            return match reply {
                Some(b) => quiet(self.links[at].link.send_registration(
                    heard.mac,
                    own,
                    (heard.src, port),
                    &b,
                )),
                None => Ok(()),
            };
        }
        let here = self.links[at].advertise.foreign;
        if let Some(f) = self.foreign.as_mut().filter(|_| here)
            && let Some(s) = f.request(at, heard, port, data, now, log)
        {
            self.send(s)?;
        }
        Ok(())
    }

    /// Something on the port.
    fn came(&mut self, came: Came, now: Duration, log: &mut Log) -> Result<(), Errno> {
        let (from, port, data) = match came {
            Came::Failed(to, e) => {
                let sends = self.foreign.as_mut().map(|f| f.unreachable(to, e, log));
                for s in sends.unwrap_or_default() {
                    self.send(s)?;
                }
                return Ok(());
            }
            Came::Message(from, port, data) => (from, port, data),
        };
        let Some(r) = Request::parse(&data) else {
            let sent = match &mut self.foreign {
                Some(f) => f.reply(&data, now, log)?,
                None => None,
            };
            return match sent {
                Some(s) => self.send(s),
                None => Ok(()),
            };
        };
        let on_link = from == r.home && self.links.iter().any(|l| l.advertise.home);
        let Some(h) = self.home.as_mut().filter(|_| !on_link) else {
            return Ok(()); // see heard()
        };
        let own = h.address();
        let who = From {
            addr: from,
            mac: None,
        };
        match h.answer(&data, who, now, log) {
            Some(b) => quiet(self.port.send_from(own, from, port, &b)),
            None => Ok(()),
        }
    }

    fn send(&self, s: Send) -> Result<(), Errno> {
        match s {
            Send::Home(agent, b) => quiet(self.port.send(agent, PORT, &b)),
            Send::Link(
                To {
                    link,
                    mac,
                    from,
                    addr,
                    port,
                },
                b,
            ) => match self.links.get(link) {
                Some(l) => quiet(l.link.send_registration(mac, from, (addr, port), &b)),
                None => Ok(()),
            },
        }
    }

    /// 2.3: what is due, and what was asked for.
    fn advertise(&mut self, now: Duration) -> Result<bool, Errno> {
        let mut any = false;
        for at in 0..self.links.len() {
            let due = self.links[at].next.is_some_and(|t| t <= now);
            let asked = std::mem::take(&mut self.links[at].asked);
            if !due && asked.is_empty() {
                continue;
            }
            any = true;
            let all = if self.links[at].advertise.broadcast {
                Ipv4Addr::BROADCAST
            } else {
                ALL_SYSTEMS
            };
            let to = asked.into_iter().map(|(mac, a)| (Some(mac), a));
            let to: Vec<_> = to.chain(due.then_some((None, all))).collect();
            for (mac, dst) in to {
                let icmp = self.advertisement(at).emit();
                let l = &mut self.links[at];
                l.sequence = following(l.sequence);
                quiet(l.link.send_discovery(mac, l.addr, dst, &icmp))?;
            }
            let l = &mut self.links[at];
            if due {
                let again = !l.advertise.solicited_only;
                l.next = again.then_some(now + l.advertise.interval);
            }
        }
        Ok(any)
    }

    /// What is advertised on a link now (2.1).
    fn advertisement(&self, at: usize) -> Advertisement {
        let l = &self.links[at];
        let a = &l.advertise;
        let mut ad = Advertisement {
            code: 0,
            lifetime: a.lifetime,
            routers: vec![(l.addr, 0)],
            agent: None,
            prefixes: if a.prefixes {
                vec![l.prefix]
            } else {
                Vec::new()
            },
        };
        if !a.home && !a.foreign {
            return ad; // a router, RFC 1256
        }
        let mut agent = advert::Agent {
            sequence: l.sequence,
            registration: a.registration,
            flags: 0,
            care_of: Vec::new(),
        };
        if let Some(f) = self.foreign.as_ref().filter(|_| a.foreign) {
            agent.flags |= flag::F | if f.busy() { flag::B } else { 0 };
            agent.care_of.push(f.care_of());
        }
        if let Some(f) = self.conf.foreign.as_ref().filter(|_| a.foreign) {
            agent.flags |= offered(f);
        }
        if let Some(h) = self.conf.home.as_ref().filter(|_| a.home) {
            agent.flags |= flag::H;
            // RFC 3024 3.1: only a foreign agent's T says anything to visitors.
            if h.reverse != Reverse::No && !a.foreign {
                agent.flags |= flag::T;
            }
        }
        ad.agent = Some(agent);
        ad
    }

    /// Tables and counters, as JSON.
    pub fn status(&self, now: Duration) -> Value {
        json!({
            "home": self.home.as_ref().map(status::home_json),
            "foreign": self.foreign.as_ref().map(|f| status::foreign_json(f, now)),
        })
    }
}

fn offered(f: &Foreign) -> u8 {
    let bits = [
        (f.required, flag::R),
        (f.minimal, flag::M),
        (f.gre, flag::G),
    ];
    bits.iter().filter(|b| b.0).map(|b| b.1).sum()
}

/// A link or a stream that is full loses what is sent: registrations are repeated.
fn quiet(r: Result<(), Errno>) -> Result<(), Errno> {
    match r {
        Err(Errno::EAGAIN) => Ok(()),
        r => r,
    }
}
