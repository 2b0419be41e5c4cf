//! The home agent: who of its mobile nodes is where.
//!
//! ```text
//!   Request ─► authentic? ─► new? ─► granted ─► VTUNL_ENCAP_ADD target exit flags lifetime
//!                131, 132     133    134 to 139   first binding: proxy ARP, route by ip0
//!   lifetime ends, VTUNL_NOTIFY ─► last binding: no proxy ARP, no route: at home
//! ```
//!
//! vtunl keeps bindings, copies datagrams to each, and ends their lifetimes; here is only
//! what it does not know: keys, replays, ARP, routes, the outer sources of reverse tunnels.
//!
//! Spec: RFC 5944 3.8 (home agent), 4.6 (proxy and gratuitous ARP), 5.7 (replays); RFC 3024
//! 3.4, 4.3 (reverse tunnels).
//! Kept: the order of 3.8.2.1; one reply for each request that is understood.
//! Differs: of M and G together, M is used.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::addr::Mac;
use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::lifetime::Notice;

use crate::code;
use crate::conf::{Home, Reverse};
use crate::extension::{self, Bad, FOREIGN_HOME};
use crate::identification::Judge;
use crate::message::{B, D, G, Key, M, Proof, REQUEST_LEN, Reply, Request, S, T, letters};
use crate::status::{Log, remaining};

const HOST: Ipv4Addr = Ipv4Addr::BROADCAST;
const ALONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Decapsulate what comes from an address.
const DECAP_IF_SRC: u16 = 1;

struct Mobile {
    key: Key,
    judge: Judge,
    away: bool,
    /// Where reverse tunnels may come from.
    reverse: Vec<Ipv4Addr>,
}

/// Counters, as mipagentstat has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// Messages that got no answer: not understood, or of nobody we know.
    pub discarded: u64,
    /// Authentications that failed: the RFC wants these told.
    pub violations: u64,
}

/// A binding, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The mobile node.
    pub home: Ipv4Addr,
    /// Its care-of address.
    pub care_of: Ipv4Addr,
    /// Letters of the registration's flags.
    pub flags: String,
    /// Seconds left; `None`: for ever.
    pub left: Option<u32>,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct From {
    /// Its source.
    pub addr: Ipv4Addr,
    /// The link address, if it was heard on the home link.
    pub mac: Option<Mac>,
}

/// A home agent in one emulated system. Its tunnel is plumbed already.
pub struct HomeAgent<'a> {
    sys: &'a dyn Sys,
    ctl: i32,
    conf: Home,
    /// Of the interface with the agent's address; none on a link without addresses.
    mac: Option<Mac>,
    mobiles: HashMap<Ipv4Addr, Mobile>,
    /// Counters.
    pub counters: Counters,
}

impl Drop for HomeAgent<'_> {
    fn drop(&mut self) {
        let _ = self.sys.close(self.ctl); // the process may have ended
    }
}

impl<'a> HomeAgent<'a> {
    /// Takes the bindings of an emulated host over.
    ///
    /// # Errors
    /// EADDRNOTAVAIL: no interface has the agent's address; those of open(2) of /dev/vtunl.
    pub fn new(sys: &'a dyn Sys, conf: Home) -> Result<Self, Errno> {
        let all = plumb::interfaces(sys)?;
        let mut own = all.iter().filter(|i| i.addr == conf.address).peekable();
        own.peek().ok_or(Errno::EADDRNOTAVAIL)?;
        let mac = own.find_map(|i| parse_mac(&i.mac));
        let ctl = sys.open("/dev/vtunl", oflag::O_RDWR | oflag::O_NONBLOCK)?;
        Client::new(sys, ctl).notify(true)?;
        let mobile = |(home, m): (&Ipv4Addr, &crate::conf::Node)| {
            let judge = Judge::new(m.replay, conf.skew);
            let (key, away, reverse) = (m.key.clone(), false, Vec::new());
            (
                *home,
                Mobile {
                    key,
                    judge,
                    away,
                    reverse,
                },
            )
        };
        let mut mobiles: HashMap<Ipv4Addr, Mobile> = conf.nodes.iter().map(mobile).collect();
        // Bindings are vtunl's: those of an agent that has ended are still there.
        let vt = Client::new(sys, ctl);
        let open = vt.decap_targets()?;
        for t in vt.targets()? {
            let Some(m) = mobiles.get_mut(&t.addr) else {
                continue;
            };
            m.away = true;
            let reversed = open
                .targets
                .iter()
                .any(|d| d.0 == t.addr && d.2 == DECAP_IF_SRC);
            let source = |c: &Ipv4Addr| open.sources.iter().any(|s| s.0 == *c);
            let exits = t.exits.iter().map(|e| e.0);
            m.reverse = exits.filter(|c| reversed && source(c)).collect();
        }
        Ok(HomeAgent {
            sys,
            ctl,
            conf,
            mac,
            mobiles,
            counters: Counters::default(),
        })
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.conf.address
    }

    /// Is this one of its mobile nodes?
    pub fn serves(&self, home: Ipv4Addr) -> bool {
        self.mobiles.contains_key(&home)
    }

    /// The descriptor on which vtunl tells of lifetimes that ended.
    pub fn fd(&self) -> i32 {
        self.ctl
    }

    fn vtunl(&self) -> Client<'a, dyn Sys + 'a> {
        Client::new(self.sys, self.ctl)
    }

    /// The reply to a message; `None`: it is no request, or of nobody we know a key of.
    /// `now`: the time of day, seconds since 1900 as in NTP, or any clock that the mobile
    /// nodes share.
    pub fn answer(
        &mut self,
        b: &[u8],
        from: From,
        now: Duration,
        log: &mut Log,
    ) -> Option<Vec<u8>> {
        let known = Request::parse(b).filter(|r| self.serves(r.home));
        // 1.8: an extension that must be understood and is not ends the message.
        let silent = matches!(extension::all(b, REQUEST_LEN), Err(Bad::Unknown(_)));
        let Some(r) = known.filter(|_| !silent) else {
            self.counters.discarded += 1;
            return None;
        };
        let key = self.mobiles.get(&r.home)?.key.clone();
        let judged = self.judge(b, &r, &key, from, now);
        let (code, lifetime) = match judged {
            Ok((code, granted)) => (code, granted),
            Err(code) => (code, 0),
        };
        match judged {
            Ok(_) => self.counters.accepted += 1,
            Err(_) => self.counters.denied += 1,
        }
        self.tell(&r, code, lifetime, log);
        let matched = code != code::IDENTIFICATION;
        let m = self.mobiles.get_mut(&r.home)?;
        // 5.7: who has not proven who he is learns nothing of clocks or nonces.
        let id = match code {
            code::AUTHENTICATION | code::FOREIGN_AUTHENTICATION => r.id,
            _ => m.judge.reply(r.id, matched, &key, now),
        };
        let reply = Reply {
            code,
            lifetime,
            home: r.home,
            agent: self.conf.address,
            id,
        };
        let reply = reply.emit(&key);
        // 3.8.3.3: the foreign agent's behind the mobile node's.
        Some(match self.conf.peers.get(&from.addr) {
            Some(shared) => shared.sign(reply, FOREIGN_HOME),
            None => reply,
        })
    }

    fn tell(&self, r: &Request, code: u8, lifetime: u16, log: &mut Log) {
        let text = if !code::accepts(code) {
            format!("denied: {} ({code})", code::text(code))
        } else if lifetime == 0 && r.care_of == r.home {
            "deregistered, all care-of addresses".to_owned()
        } else if lifetime == 0 {
            format!("deregistered from {}", r.care_of)
        } else {
            let flags = letters(r.flags);
            let space = if flags.is_empty() { "" } else { " flags " };
            format!("bound to {} for {lifetime} s{space}{flags}", r.care_of)
        };
        log.add("home", r.home, text);
    }

    /// 3.8.2.1: validity in the order of the RFC, then the binding. Code and lifetime.
    fn judge(
        &mut self,
        b: &[u8],
        r: &Request,
        key: &Key,
        from: From,
        now: Duration,
    ) -> Result<(u8, u16), u8> {
        if Request::proven(b, key).map_err(|_| code::MALFORMED)? != Proof::Sound {
            self.counters.violations += 1;
            return Err(code::AUTHENTICATION);
        }
        if let Some(shared) = self.conf.peers.get(&from.addr) {
            let proof = shared.check(b, REQUEST_LEN, FOREIGN_HOME);
            if proof != Ok(Proof::Sound) {
                self.counters.violations += 1;
                return Err(code::FOREIGN_AUTHENTICATION);
            }
        } else if self.conf.peers_only && by_agent(r, from.addr) {
            // HA-FAauth = yes: an agent that we share nothing with
            return Err(code::FOREIGN_AUTHENTICATION);
        }
        let m = self.mobiles.get_mut(&r.home).ok_or(code::PROHIBITED)?;
        if !m.judge.is_new(r.id, now) {
            return Err(code::IDENTIFICATION);
        }
        // 3.8.2.1, 3.8.3.2: not our address, or that of all of a subnet: the reply has it.
        if r.agent != self.conf.address {
            return Err(code::UNKNOWN_AGENT);
        }
        if r.lifetime == 0 {
            return self.deregister(r, from).map(|()| (0, 0)).map_err(as_code);
        }
        if r.care_of == r.home {
            return Err(code::MALFORMED); // at home there is nothing to be bound
        }
        match self.conf.reverse {
            Reverse::No if r.flags & T != 0 => return Err(code::REVERSE_TUNNEL),
            Reverse::Required if r.flags & T == 0 => return Err(code::REVERSE_MANDATORY),
            _ => {}
        }
        self.register(r).map_err(as_code)
    }

    fn register(&mut self, r: &Request) -> Result<(u8, u16), Errno> {
        let granted = r.lifetime.min(self.conf.lifetime);
        let forever = granted == u16::MAX;
        // vtunl's flags are those of the request; without M and G both.
        let mut flags = r.flags & (S | B | D | M | G);
        if flags & (M | G) == M | G {
            flags &= !G;
        }
        // 3.8.3.1: code 1, and the other bindings go, where S is not served.
        let alone = flags & S != 0 && !self.conf.simultaneous;
        if alone {
            flags &= !S;
        }
        let binding = Binding {
            flags: flags.into(),
            lifetime: if forever { 0 } else { granted.into() },
            ..Binding::new(r.home, r.care_of)
        };
        self.vtunl().encap_add(&binding)?;
        if !self.mobiles.get(&r.home).is_some_and(|m| m.away) {
            self.leaves(r.home)?;
        }
        let before = self.mobiles.get(&r.home).map(|m| m.reverse.clone());
        let mut reverse = before.unwrap_or_default();
        if flags & S == 0 {
            reverse.clear();
        }
        reverse.retain(|c| *c != r.care_of);
        if r.flags & T != 0 {
            reverse.push(r.care_of);
        }
        self.set_reverse(r.home, reverse)?;
        Ok((u8::from(alone), granted))
    }

    /// 4.6: the home agent answers for a mobile node that is away, and says so at once.
    fn leaves(&mut self, home: Ipv4Addr) -> Result<(), Errno> {
        // First the route: what is drawn here by the ARP entry must not go out again, to us.
        match plumb::route_add(self.sys, home, HOST, self.conf.dummy, 1) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
        // A home network that is behind no link of ours (a virtual one, 4.2.3) needs no entry.
        if let Some(mac) = self.mac {
            match plumb::arp_set(self.sys, home, Some(mac), true, true) {
                Ok(()) | Err(Errno::ENETUNREACH) => {}
                Err(e) => return Err(e),
            }
        }
        self.set_away(home, true);
        Ok(())
    }

    /// 3.8.3.2: one binding, or with the home address for a care-of address all of them.
    fn deregister(&mut self, r: &Request, from: From) -> Result<(), Errno> {
        let exit = (r.care_of != r.home).then_some(r.care_of);
        match self.vtunl().encap_rem(r.home, ALONE, exit) {
            Ok(()) | Err(Errno::ENXIO) => {}
            Err(e) => return Err(e),
        }
        let at_home = from.mac.filter(|_| exit.is_none());
        self.settle(r.home, at_home)
    }

    /// Lifetimes that have ended.
    ///
    /// # Errors
    /// Those of getmsg(2) and of the ioctls.
    pub fn poll(&mut self, log: &mut Log) -> Result<bool, Errno> {
        let mut any = false;
        loop {
            let got = match self.sys.getmsg(self.ctl, 65536, 0, true) {
                Err(Errno::EAGAIN | Errno::EBADMSG) => return Ok(any),
                r => r?,
            };
            any = true;
            let notice = got.ctl.as_deref().and_then(Notice::parse);
            for e in notice.map(|n| n.expired).unwrap_or_default() {
                let (home, exit) = (e.key.addr.into(), Ipv4Addr::from_bits(e.exit));
                log.add("home", home, format!("binding to {exit} expired"));
            }
            // A notice may have been lost: all are looked at.
            let away = self.mobiles.iter().filter(|(_, m)| m.away);
            let away: Vec<Ipv4Addr> = away.map(|(home, _)| *home).collect();
            for home in away {
                self.settle(home, None)?;
            }
        }
    }

    /// After a binding is gone: who has none left is at home. `mac`: the mobile node's, if
    /// it said so itself.
    fn settle(&mut self, home: Ipv4Addr, mac: Option<Mac>) -> Result<(), Errno> {
        let targets = self.vtunl().targets()?;
        let exits = targets.iter().find(|t| t.addr == home);
        let exits: Vec<Ipv4Addr> =
            exits.map_or(Vec::new(), |t| t.exits.iter().map(|e| e.0).collect());
        let mut reverse = self
            .mobiles
            .get(&home)
            .map_or(Vec::new(), |m| m.reverse.clone());
        reverse.retain(|c| exits.contains(c));
        self.set_reverse(home, reverse)?;
        if !exits.is_empty() || !self.mobiles.get(&home).is_some_and(|m| m.away) {
            return Ok(());
        }
        // Each may have been removed by hand.
        if mac.is_some() {
            // 4.6: a gratuitous ARP on behalf of the node that has come back.
            let _ = plumb::arp_set(self.sys, home, mac, true, true);
        }
        let _ = plumb::arp_set(self.sys, home, None, false, false);
        let _ = plumb::route_delete(self.sys, home, HOST, self.conf.dummy);
        self.set_away(home, false);
        Ok(())
    }

    /// RFC 3024 4.3: what comes by a reverse tunnel is taken from registered care-of
    /// addresses only.
    fn set_reverse(&mut self, home: Ipv4Addr, now: Vec<Ipv4Addr>) -> Result<(), Errno> {
        let vt = self.vtunl();
        let Some(m) = self.mobiles.get_mut(&home) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut m.reverse, now.clone());
        if before == now {
            return Ok(());
        }
        let used = |c: &Ipv4Addr| self.mobiles.values().any(|m| m.reverse.contains(c));
        for c in now.iter().filter(|c| !before.contains(c)) {
            match vt.source_add(*c, HOST) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => return Err(e),
            }
        }
        match (before.is_empty(), now.is_empty()) {
            (true, false) => vt.decap_add(home, ALONE, DECAP_IF_SRC)?,
            // It may have been removed by hand.
            (false, true) => vt.decap_rem(home, ALONE).or_else(gone)?,
            _ => {}
        }
        for c in before.iter().filter(|c| !used(c)) {
            vt.source_rem(*c, HOST).or_else(gone)?;
        }
        Ok(())
    }

    fn set_away(&mut self, home: Ipv4Addr, away: bool) {
        if let Some(m) = self.mobiles.get_mut(&home) {
            m.away = away;
        }
    }

    /// Every binding of our mobile nodes, by address.
    ///
    /// # Errors
    /// Those of the ioctl.
    pub fn bindings(&self) -> Result<Vec<Bound>, Errno> {
        let mut all: Vec<Bound> = Vec::new();
        for t in self.vtunl().targets()? {
            let Some(m) = self.mobiles.get(&t.addr) else {
                continue;
            };
            all.extend(t.exits.iter().map(|(exit, flags, left)| {
                let reverse = if m.reverse.contains(exit) { T } else { 0 };
                Bound {
                    home: t.addr,
                    care_of: *exit,
                    flags: letters(*flags as u8 & !T | reverse),
                    left: remaining(*left),
                }
            }));
        }
        all.sort_by_key(|b| (b.home, b.care_of));
        Ok(all)
    }
}

/// Did a foreign agent send the request on? Nodes write from their home address or, with an
/// address of their own, from that (3.6.1.1).
fn by_agent(r: &Request, from: Ipv4Addr) -> bool {
    from != r.home && (r.flags & D == 0 || from != r.care_of)
}

fn gone(e: Errno) -> Result<(), Errno> {
    if e == Errno::ENXIO { Ok(()) } else { Err(e) }
}

/// What an ioctl's error is in a reply.
fn as_code(e: Errno) -> u8 {
    match e {
        Errno::ENOSPC => code::TOO_MANY,
        Errno::EINVAL => code::MALFORMED,
        Errno::EPERM => code::PROHIBITED,
        Errno::ENOMEM => code::RESOURCES,
        _ => code::UNSPECIFIED,
    }
}

/// `8:0:20:0:0:1`.
pub(crate) fn parse_mac(text: &str) -> Option<Mac> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|b| u8::from_str_radix(b, 16).ok())
        .collect();
    bytes?.try_into().ok()
}
