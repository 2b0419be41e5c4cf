//! The foreign agent: who visits, and who is waiting for an answer from home.
//!
//! ```text
//!   Request from a link ─► 65 to 77? ─► pending ─► Request to the home agent
//!                                         │ 7 s: 78, ICMP errors: 80 to 88
//!   Reply to the link ◄─ visitor ◄────────┴─────── Reply of the home agent
//!                          │ VTUNL_DECAP_ADD home, dst     decapsulated datagrams for it
//!                          │ route: home is on this link   .. leave on this link
//!                          └ SIOCSARP: its link address    .. without asking by ARP
//! ```
//!
//! What a tunnel brings for anybody else vtunl's selective decapsulation drops in silence,
//! which is what 4.2.2 asks for: it is neither forwarded nor answered with ICMP.
//!
//! Spec: RFC 5944 3.7 (foreign agent), 3.3 and 3.4 (codes), 3.5.3, 3.5.4, 4.2.2.
//! Kept: a visitor's lifetime is that of the reply and never more than was asked for; the
//! authentication between agents is taken off before a reply goes on.
//! Not done: reverse tunnels: a datagram's way is chosen by its destination alone, so what
//! visitors send can't be told from what others do: T is refused with code 74.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::addr::Mac;
use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::Client;

use crate::code;
use crate::conf::Foreign;
use crate::extension::{self, Bad, FOREIGN_HOME, MOBILE_FOREIGN, MOBILE_HOME};
use crate::link::Heard;
use crate::message::{D, G, M, Proof, REPLY_LEN, REQUEST_LEN, Reply, Request, T};
use crate::status::Log;

const HOST: Ipv4Addr = Ipv4Addr::BROADCAST;
const ALONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Decapsulate what goes to an address.
const DECAP_IF_DST: u16 = 2;

/// A link of the agent: its interface's name and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// Its name.
    pub name: String,
    /// Our address there.
    pub addr: Ipv4Addr,
}

/// A mobile node that has registered here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Its home address.
    pub home: Ipv4Addr,
    /// Its home agent.
    pub agent: Ipv4Addr,
    /// Its link address.
    pub mac: Mac,
    /// The index of the link that it is on.
    pub link: usize,
    /// The flags of its registration.
    pub flags: u8,
    /// Seconds granted.
    pub granted: u16,
    /// When that ends; `None`: never.
    pub until: Option<Duration>,
}

impl Visitor {
    /// Seconds left; `None`: for ever.
    pub fn left(&self, now: Duration) -> Option<u64> {
        self.until
            .map(|u| u.saturating_sub(now).as_millis().div_ceil(1000) as u64)
    }
}

/// A request that was relayed.
struct Pending {
    request: Request,
    /// Where the answer goes on the link.
    to: To,
    sent: Duration,
}

/// Where a mobile node is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    /// The index of the link.
    pub link: usize,
    /// The link address.
    pub mac: Mac,
    /// Source of the answer.
    pub from: Ipv4Addr,
    /// Destination.
    pub addr: Ipv4Addr,
    /// Port.
    pub port: u16,
}

/// What the agent wants sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// On a link, to a mobile node.
    Link(To, Vec<u8>),
    /// To a home agent.
    Home(Ipv4Addr, Vec<u8>),
}

/// Counters, as mipagentstat has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent on.
    pub relayed: u64,
    /// Registrations that were accepted.
    pub accepted: u64,
    /// Requests denied here.
    pub denied: u64,
    /// Messages that were of no use.
    pub discarded: u64,
    /// Authentications that failed.
    pub violations: u64,
}

/// A foreign agent in one emulated system. Its tunnel is plumbed already.
pub struct ForeignAgent<'a> {
    sys: &'a dyn Sys,
    ctl: i32,
    conf: Foreign,
    links: Vec<On>,
    visitors: HashMap<Ipv4Addr, Visitor>,
    pending: HashMap<Ipv4Addr, Pending>,
    /// Counters.
    pub counters: Counters,
}

impl Drop for ForeignAgent<'_> {
    fn drop(&mut self) {
        let _ = self.sys.close(self.ctl); // the process may have ended
    }
}

impl<'a> ForeignAgent<'a> {
    /// An agent for mobile nodes on these links.
    ///
    /// # Errors
    /// EADDRNOTAVAIL: the care-of address is not ours; those of open(2) of /dev/vtunl.
    pub fn new(sys: &'a dyn Sys, conf: Foreign, links: Vec<On>) -> Result<Self, Errno> {
        let own = plumb::interfaces(sys)?;
        if !own.iter().any(|i| i.addr == conf.care_of) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let ctl = sys.open("/dev/vtunl", oflag::O_RDWR)?;
        Ok(ForeignAgent {
            sys,
            ctl,
            conf,
            links,
            visitors: HashMap::new(),
            pending: HashMap::new(),
            counters: Counters::default(),
        })
    }

    /// The care-of address that it offers.
    pub fn care_of(&self) -> Ipv4Addr {
        self.conf.care_of
    }

    /// Who visits.
    pub fn visitors(&self) -> impl Iterator<Item = &Visitor> {
        let mut all: Vec<&Visitor> = self.visitors.values().collect();
        all.sort_by_key(|v| v.home);
        all.into_iter()
    }

    /// Requests that wait for a reply.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The name of a link.
    pub fn link_name(&self, link: usize) -> &str {
        self.links.get(link).map_or("-", |l| l.name.as_str())
    }

    /// Takes new visitors (flag B of advertisements is its negation)?
    pub fn busy(&self) -> bool {
        self.conf.busy || self.visitors.len() + self.pending.len() >= self.conf.most
    }

    /// A message to port 434 that came by a link.
    pub fn request(
        &mut self,
        link: usize,
        heard: &Heard,
        port: u16,
        b: &[u8],
        now: Duration,
        log: &mut Log,
    ) -> Option<Send> {
        let silent = matches!(extension::all(b, REQUEST_LEN), Err(Bad::Unknown(_)));
        let own = self.links.get(link).map(|l| l.addr);
        let (Some(r), Some(own)) = (Request::parse(b).filter(|_| !silent), own) else {
            self.counters.discarded += 1;
            return None;
        };
        let to = To {
            link,
            mac: heard.mac,
            // 3.7.3.2: from the address that was written to, if one host has it
            from: if heard.dst == own { heard.dst } else { own },
            addr: if heard.src.is_unspecified() {
                r.home
            } else {
                heard.src
            },
            port,
        };
        match self.judge(b, &r, heard) {
            Ok(()) => {}
            Err(code) => return Some(self.deny(&r, to, code, log)),
        }
        let on = self.relayed(b, &r)?;
        self.counters.relayed += 1;
        let pending = Pending {
            request: r,
            to,
            sent: now,
        };
        // 3.7.2.2: one pending request for each home address, the latest.
        self.pending.insert(r.home, pending);
        Some(Send::Home(r.agent, on))
    }

    /// 3.7.2.1: may it go on?
    fn judge(&mut self, b: &[u8], r: &Request, heard: &Heard) -> Result<(), u8> {
        let list = extension::ordered(b, REQUEST_LEN).map_err(|_| code::FA_REQUEST)?;
        if let Some(key) = self.conf.nodes.get(&r.home) {
            let proof = key.check(b, REQUEST_LEN, MOBILE_FOREIGN);
            if proof != Ok(Proof::Sound) {
                self.counters.violations += 1;
                return Err(code::FA_MN_AUTHENTICATION);
            }
        } else if self.conf.nodes_only {
            return Err(code::FA_MN_AUTHENTICATION);
        }
        let one_host = |a: Ipv4Addr| {
            !(a.is_unspecified() || a.is_multicast() || a.is_broadcast() || a.is_loopback())
        };
        let signed = list.iter().any(|e| e.ty == MOBILE_HOME);
        if !signed || !one_host(r.home) || self.is_ours(r.home) || !one_host(r.agent) {
            return Err(code::FA_REQUEST);
        }
        // A home agent that is this host would have taken the request itself.
        if self.is_ours(r.agent) {
            return Err(code::UNKNOWN_AGENT);
        }
        if self.conf.peers_only && !self.conf.peers.contains_key(&r.agent) {
            return Err(code::FA_PROHIBITED);
        }
        let leaving = r.lifetime == 0;
        let colocated = r.flags & D != 0;
        // 3.7.2.1: a care-of address that is not offered here, and not the node's own
        if r.care_of != self.conf.care_of && !colocated && !(leaving && r.care_of == r.home) {
            return Err(code::FA_CARE_OF);
        }
        if r.flags & T != 0 && !colocated {
            // RFC 3024 3.2: such a request comes from the link, nobody has forwarded it.
            let far = heard.ttl != 255;
            return Err(if far {
                code::FA_DISTANT
            } else {
                code::FA_REVERSE
            });
        }
        if leaving {
            return Ok(());
        }
        if r.lifetime > self.conf.lifetime {
            return Err(code::FA_LIFETIME);
        }
        let lacking = r.flags & M != 0 && !self.conf.minimal || r.flags & G != 0 && !self.conf.gre;
        if lacking && !colocated {
            return Err(code::FA_ENCAPSULATION);
        }
        let known = self.visitors.contains_key(&r.home) || self.pending.contains_key(&r.home);
        if self.busy() && !known {
            return Err(code::FA_RESOURCES);
        }
        Ok(())
    }

    fn is_ours(&self, a: Ipv4Addr) -> bool {
        a == self.conf.care_of || self.links.iter().any(|l| l.addr == a)
    }

    /// 3.7.2.2: the request as it goes on; what was for us comes off, ours comes on.
    fn relayed(&self, b: &[u8], r: &Request) -> Option<Vec<u8>> {
        let on = extension::without(b, REQUEST_LEN, MOBILE_FOREIGN).ok()?;
        let on = extension::without(&on, REQUEST_LEN, FOREIGN_HOME).ok()?;
        Some(match self.conf.peers.get(&r.agent) {
            Some(key) => key.sign(on, FOREIGN_HOME),
            None => on,
        })
    }

    /// 3.7.2.3: a reply of our own.
    fn deny(&mut self, r: &Request, to: To, code: u8, log: &mut Log) -> Send {
        self.counters.denied += 1;
        log.add(
            "foreign",
            r.home,
            format!("denied: {} ({code})", code::text(code)),
        );
        let lifetime = match code {
            code::FA_LIFETIME => self.conf.lifetime, // what would be accepted
            _ => r.lifetime,
        };
        let reply = Reply {
            code,
            lifetime,
            home: r.home,
            agent: r.agent,
            id: r.id,
        };
        Send::Link(to, self.for_node(reply.bytes(), r.home))
    }

    /// With an authentication for the mobile node, if we share a key with it.
    fn for_node(&self, b: Vec<u8>, home: Ipv4Addr) -> Vec<u8> {
        match self.conf.nodes.get(&home) {
            Some(key) => key.sign(b, MOBILE_FOREIGN),
            None => b,
        }
    }

    /// A message to port 434 that IP has brought.
    ///
    /// # Errors
    /// Those of the ioctls.
    pub fn reply(&mut self, b: &[u8], now: Duration, log: &mut Log) -> Result<Option<Send>, Errno> {
        // 3.7.3.1: a reply belongs to a request that is pending: home address, low half.
        let mine = Reply::parse(b).and_then(|reply| {
            let p = self.pending.get(&reply.home)?;
            (p.request.id as u32 == reply.id as u32).then_some(reply)
        });
        let Some(reply) = mine else {
            self.counters.discarded += 1;
            return Ok(None);
        };
        let list = match extension::ordered(b, REPLY_LEN) {
            Err(Bad::Unknown(_)) => {
                self.counters.discarded += 1;
                return Ok(None);
            }
            r => r,
        };
        let Some(p) = self.pending.remove(&reply.home) else {
            return Ok(None);
        };
        let r = p.request;
        if !list.is_ok_and(|l| l.iter().any(|e| e.ty == MOBILE_HOME)) {
            return Ok(Some(self.deny(&r, p.to, code::FA_REPLY, log)));
        }
        if let Some(key) = self.conf.peers.get(&r.agent) {
            let proof = key.check(b, REPLY_LEN, FOREIGN_HOME);
            if proof != Ok(Proof::Sound) {
                self.counters.violations += 1;
                return Ok(Some(self.deny(&r, p.to, code::FA_HA_AUTHENTICATION, log)));
            }
        }
        if code::accepts(reply.code) {
            self.counters.accepted += 1;
            let done = match reply.lifetime.min(r.lifetime) {
                0 => self.leaves(r.home, "deregistered", log),
                granted => self.visits(&p, granted, now, log),
            };
            if let Err(e) = done {
                // The binding exists, but datagrams would be lost here: 3.7.3.1, code 66.
                let _ = self.leaves(r.home, "no room", log); // what there was of it
                log.add("foreign", r.home, format!("cannot be served: {e}"));
                return Ok(Some(self.deny(&r, p.to, code::FA_RESOURCES, log)));
            }
        }
        let Ok(on) = extension::without(b, REPLY_LEN, FOREIGN_HOME) else {
            return Ok(None); // looked at above
        };
        Ok(Some(Send::Link(p.to, self.for_node(on, r.home))))
    }

    /// Somebody is to be served from now on, or longer than before.
    fn visits(
        &mut self,
        p: &Pending,
        granted: u16,
        now: Duration,
        log: &mut Log,
    ) -> Result<(), Errno> {
        let r = p.request;
        let flags = r.flags;
        let until = (granted != u16::MAX).then(|| now + Duration::from_secs(granted.into()));
        let v = Visitor {
            home: r.home,
            agent: r.agent,
            mac: p.to.mac,
            link: p.to.link,
            flags,
            granted,
            until,
        };
        let before = self.visitors.get(&r.home).cloned();
        let same = |b: &Visitor| (b.mac, b.link, b.flags & D) == (v.mac, v.link, v.flags & D);
        let changed = !before.as_ref().is_some_and(same);
        if let Some(b) = before.as_ref().filter(|_| changed) {
            self.forget(b);
        }
        if flags & D == 0 && changed {
            let own = self.links.get(v.link).map_or(ALONE, |l| l.addr);
            // First the route: the ARP entry goes to the link that the address is on.
            match plumb::route_add(self.sys, v.home, HOST, own, 0) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
            plumb::arp_set(self.sys, v.home, Some(v.mac), true, false)?;
            Client::new(self.sys, self.ctl).decap_add(v.home, ALONE, DECAP_IF_DST)?;
        }
        if before.is_none() {
            log.add("foreign", v.home, format!("visits for {granted} s"));
        }
        self.visitors.insert(v.home, v);
        Ok(())
    }

    fn leaves(&mut self, home: Ipv4Addr, why: &str, log: &mut Log) -> Result<(), Errno> {
        if let Some(v) = self.visitors.remove(&home) {
            self.forget(&v);
            log.add("foreign", home, format!("visits no more: {why}"));
        }
        Ok(())
    }

    /// Each entry may have been removed by hand.
    fn forget(&self, v: &Visitor) {
        if v.flags & D != 0 {
            return;
        }
        let own = self.links.get(v.link).map_or(ALONE, |l| l.addr);
        let _ = Client::new(self.sys, self.ctl).decap_rem(v.home, ALONE);
        let _ = plumb::arp_set(self.sys, v.home, None, false, false);
        let _ = plumb::route_delete(self.sys, v.home, HOST, own);
    }

    /// ICMP says that a home agent can't be reached: codes 80 to 88 (3.7.2.3).
    pub fn unreachable(&mut self, agent: Ipv4Addr, e: Errno, log: &mut Log) -> Vec<Send> {
        let code = match e {
            Errno::ENETUNREACH => code::HOME_NETWORK,
            Errno::EHOSTUNREACH => code::HOME_HOST,
            Errno::ECONNREFUSED => code::HOME_PORT,
            _ => code::HOME_OTHER,
        };
        self.give_up(code, log, |p| p.request.agent == agent)
    }

    /// Pending requests whose time is over (78), and visitors.
    ///
    /// # Errors
    /// Those of the ioctls.
    pub fn expire(&mut self, now: Duration, log: &mut Log) -> Result<Vec<Send>, Errno> {
        let patience = self.conf.patience;
        let late = |p: &Pending| now.saturating_sub(p.sent) >= patience;
        let sends = self.give_up(code::FA_TIMEOUT, log, late);
        let over = |v: &&Visitor| v.until.is_some_and(|u| u <= now);
        let mut over: Vec<Ipv4Addr> = self
            .visitors
            .values()
            .filter(over)
            .map(|v| v.home)
            .collect();
        over.sort();
        for home in over {
            self.leaves(home, "expired", log)?;
        }
        Ok(sends)
    }

    fn give_up(&mut self, code: u8, log: &mut Log, which: impl Fn(&Pending) -> bool) -> Vec<Send> {
        let mut gone: Vec<Ipv4Addr> = self
            .pending
            .iter()
            .filter(|(_, p)| which(p))
            .map(|(home, _)| *home)
            .collect();
        gone.sort();
        let gone: Vec<Pending> = gone.iter().filter_map(|h| self.pending.remove(h)).collect();
        gone.iter()
            .map(|p| self.deny(&p.request, p.to, code, log))
            .collect()
    }
}
