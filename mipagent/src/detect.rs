//! Which agents are on the link, and has the link changed?
//!
//! ```text
//!   advertisement ─► known: lifetime anew, sequence ─► rebooted?  register again
//!                 └► new: same network as the current agent's? ─► no: we have moved
//!   lifetime over ─► the agent is gone ─► another one, or ask (solicit)
//! ```
//!
//! Spec: RFC 5944 2.4.2.1 (lifetimes), 2.4.2.2 (prefixes), 2.4.2.3 (returning home), 2.4
//! (solicitations), 2.3.2 (sequence numbers).
//! Kept: without prefix lengths on both sides nothing follows from a new agent.
//! Differs: of two networks heard at once the current one is kept while it is heard, so
//! that a node in both does not register to and fro.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::addr::Mac;

use crate::advert::{Advertisement, flag, masked, rebooted};
use crate::conf::CareOf;

/// An agent or router that was heard.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// Its address: the source of its advertisements.
    pub addr: Ipv4Addr,
    /// Its link address.
    pub mac: Mac,
    /// What it said last.
    pub said: Advertisement,
    /// When.
    pub heard: Duration,
    /// Since when it has been heard without a break.
    pub since: Duration,
}

impl Neighbour {
    fn until(&self) -> Duration {
        self.heard + Duration::from_secs(self.said.lifetime.into())
    }

    fn has(&self, bit: u8) -> bool {
        self.said.agent.as_ref().is_some_and(|a| a.flags & bit != 0)
    }
}

/// Where the node should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// At home: this home agent is on the link.
    Home(Ipv4Addr),
    /// With a foreign agent: address, link address, care-of address, longest lifetime.
    Visit {
        /// The agent.
        agent: Ipv4Addr,
        /// Its link address.
        mac: Mac,
        /// The care-of address.
        care_of: Ipv4Addr,
        /// Seconds at most.
        lifetime: u16,
        /// Its flags.
        flags: u8,
    },
    /// With an address of its own; by way of an agent that insists on it (flag R).
    Own(CareOf, Option<(Ipv4Addr, Mac)>),
    /// Nobody is heard.
    Nowhere,
}

/// What was heard.
#[derive(Default)]
pub struct Detector {
    known: HashMap<Ipv4Addr, Neighbour>,
    current: Option<Ipv4Addr>,
}

impl Detector {
    /// An advertisement. True: the agent that we are with has lost its state.
    pub fn heard(&mut self, addr: Ipv4Addr, mac: Mac, said: Advertisement, now: Duration) -> bool {
        self.known.retain(|_, n| n.until() > now);
        // RFC 1256 3: lifetime 0 takes leave.
        if said.lifetime == 0 {
            self.known.remove(&addr);
            return false;
        }
        let before = self.known.get(&addr);
        let sequence = |n: &Advertisement| n.agent.as_ref().map(|a| a.sequence);
        let lost = before
            .and_then(|b| Some(rebooted(sequence(&b.said)?, sequence(&said)?)))
            .unwrap_or(false);
        let since = before.map_or(now, |b| b.since);
        let n = Neighbour {
            addr,
            mac,
            said,
            heard: now,
            since,
        };
        self.known.insert(addr, n);
        lost && self.current == Some(addr)
    }

    /// When the next neighbour is forgotten.
    pub fn next(&self) -> Option<Duration> {
        self.known.values().map(Neighbour::until).min()
    }

    /// 2.4.2.2: is `n` on another network than the current agent, as prefixes tell?
    fn elsewhere(&self, n: &Neighbour) -> bool {
        let current = self.current.and_then(|c| self.known.get(&c));
        let Some(c) = current else { return true };
        let (a, b) = (c.said.networks(), n.said.networks());
        !a.is_empty() && !b.is_empty() && !a.iter().any(|net| b.contains(net))
    }

    /// Has the current agent been silent for longer than it takes to notice?
    fn silent(&self, now: Duration) -> bool {
        let current = self.current.and_then(|c| self.known.get(&c));
        current.is_none_or(|c| {
            let half = Duration::from_millis(500 * u64::from(c.said.lifetime));
            now.saturating_sub(c.heard) >= half
        })
    }

    /// Where the node should be. `home`: its home agent; `own`: its addresses on networks
    /// without a foreign agent.
    pub fn choose(
        &mut self,
        home: Ipv4Addr,
        net: (Ipv4Addr, u8),
        own: &[CareOf],
        now: Duration,
    ) -> Choice {
        self.known.retain(|_, n| n.until() > now);
        // 2.4.2.3: the home agent, or if we do not know it one on our own network
        let is_home = |n: &&Neighbour| {
            let ours = n.said.networks().contains(&(masked(net.0, net.1), net.1));
            n.has(flag::H) && (n.addr == home || home.is_unspecified() && ours)
        };
        let fresh = |a: &&Neighbour, b: &&Neighbour| {
            (a.since, a.heard, a.addr).cmp(&(b.since, b.heard, b.addr))
        };
        if let Some(h) = self.known.values().filter(is_home).max_by(fresh) {
            // A home agent that was left is heard for its lifetime, from afar in time.
            let at_home = h.said.networks();
            let elsewhere = |n: &Neighbour| !n.said.networks().iter().any(|x| at_home.contains(x));
            let left = |n: &Neighbour| n.since > h.heard && elsewhere(n);
            if !self.known.values().any(left) {
                let agent = h.addr;
                self.current = Some(agent);
                return Choice::Home(agent);
            }
        }
        let usable = |n: &&Neighbour| {
            let foreign = n.has(flag::F) && (!n.has(flag::B) || self.current == Some(n.addr));
            !is_home(n) && (foreign || own_on(n, own).is_some())
        };
        let current = self.current.and_then(|c| self.known.get(&c));
        let current = current.filter(usable);
        let pick = match current {
            None => self.known.values().filter(usable).max_by(fresh),
            Some(c) => {
                // Heard only since we are here, or once the current one has fallen silent.
                let silent = self.silent(now);
                let later = |n: &&Neighbour| n.since > c.heard || silent && n.heard > c.heard;
                let other = self.known.values().filter(usable).filter(later);
                other
                    .filter(|n| self.elsewhere(n))
                    .max_by(fresh)
                    .or(Some(c))
            }
        };
        let Some(pick) = pick else {
            return Choice::Nowhere;
        };
        let choice = self.at(pick, own);
        self.current = Some(pick.addr);
        choice
    }

    fn at(&self, n: &Neighbour, own: &[CareOf]) -> Choice {
        let agent = n.said.agent.as_ref().filter(|_| n.has(flag::F));
        match (agent, own_on(n, own)) {
            // 2.1.1, 3.1: R: by way of the agent, even with an address of one's own
            (Some(a), Some(c)) if a.flags & flag::R != 0 => Choice::Own(c, Some((n.addr, n.mac))),
            (_, Some(c)) => Choice::Own(c, None),
            (Some(a), None) => Choice::Visit {
                agent: n.addr,
                mac: n.mac,
                care_of: a.care_of.first().copied().unwrap_or(n.addr),
                lifetime: a.registration,
                flags: a.flags,
            },
            (None, None) => Choice::Nowhere,
        }
    }
}

/// The node's own address on a neighbour's network.
fn own_on(n: &Neighbour, own: &[CareOf]) -> Option<CareOf> {
    let nets = n.said.networks();
    // Routers that advertise no prefix lengths (RFC 1256) are known by their address.
    let there = |c: &&CareOf| {
        let net = (masked(c.addr, c.prefix), c.prefix);
        nets.contains(&net) || nets.is_empty() && c.router == n.addr
    };
    own.iter().find(there).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::Agent;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const HOME: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

    fn addr(net: u8) -> Ipv4Addr {
        [10, net, 0, 1].into()
    }

    fn ad(net: u8, flags: u8, sequence: u16) -> Advertisement {
        Advertisement {
            lifetime: 3,
            routers: vec![(addr(net), 0)],
            agent: Some(Agent {
                sequence,
                registration: 300,
                flags,
                care_of: vec![[192, 168, 0, net].into()],
            }),
            prefixes: vec![24],
            ..Advertisement::default()
        }
    }

    fn hear(d: &mut Detector, net: u8, flags: u8, seq: u16, at: u64) -> bool {
        d.heard(addr(net), [net; 6], ad(net, flags, seq), S(at))
    }

    /// The network of the agent chosen, 1 at home, 0 nowhere.
    fn net(d: &mut Detector, at: u64) -> u8 {
        match d.choose(HOME, (HOME, 24), &[], S(at)) {
            Choice::Home(agent) => agent.octets()[1],
            Choice::Visit { agent, .. } => agent.octets()[1],
            Choice::Own(c, _) => c.addr.octets()[1],
            Choice::Nowhere => 0,
        }
    }

    #[test]
    fn a_new_network_is_a_move_and_a_lifetime_ends() {
        // RFC 5944 2.4.2.1, 2.4.2.2
        let mut d = Detector::default();
        assert_eq!(net(&mut d, 0), 0);
        hear(&mut d, 3, flag::F, 0, 1);
        assert_eq!(net(&mut d, 1), 3);
        hear(&mut d, 4, flag::F, 0, 2);
        assert_eq!(net(&mut d, 2), 4);
        // Both are heard: it stays with the one it is with.
        hear(&mut d, 3, flag::F, 1, 3);
        assert_eq!(net(&mut d, 3), 4);
        hear(&mut d, 4, flag::F, 1, 4);
        assert_eq!(net(&mut d, 4), 4);
        hear(&mut d, 3, flag::F, 2, 6);
        assert_eq!(net(&mut d, 6), 3, "nothing else is left");
        hear(&mut d, 4, flag::F, 2, 7);
        assert_eq!(net(&mut d, 7), 4);
        hear(&mut d, 3, flag::F, 3, 8);
        assert_eq!(net(&mut d, 8), 4);
        hear(&mut d, 3, flag::F, 4, 9);
        assert_eq!(
            net(&mut d, 9),
            3,
            "back: the other is silent for half its lifetime"
        );
        assert_eq!(net(&mut d, 12), 0, "nobody is left");
        hear(&mut d, 5, flag::F | flag::B, 0, 13);
        assert_eq!(net(&mut d, 13), 0, "busy");
    }

    #[test]
    fn home_goes_before_all_and_is_left_for_what_comes_after() {
        // RFC 5944 2.4.2.3
        let mut d = Detector::default();
        hear(&mut d, 3, flag::F, 0, 1);
        hear(&mut d, 1, flag::H, 0, 2);
        assert_eq!(net(&mut d, 2), 1);
        hear(&mut d, 4, flag::F, 0, 3);
        assert_eq!(net(&mut d, 3), 4, "the home agent was last heard before");
        hear(&mut d, 1, flag::H, 1, 4);
        assert_eq!(net(&mut d, 4), 1);
    }

    #[test]
    fn a_reboot_of_the_current_agent_is_noticed() {
        // RFC 5944 2.4.2, 2.3.2
        let mut d = Detector::default();
        assert!(!hear(&mut d, 3, flag::F, 9, 1));
        net(&mut d, 1);
        assert!(!hear(&mut d, 3, flag::F, 10, 2));
        assert!(hear(&mut d, 3, flag::F, 0, 3));
        assert!(!hear(&mut d, 4, flag::F, 9, 3) && !hear(&mut d, 4, flag::F, 0, 4));
    }

    #[test]
    fn an_own_address_where_there_is_a_plain_router() {
        // RFC 5944 3.1; RFC 1256: no extension
        let own = CareOf {
            addr: [10, 5, 0, 71].into(),
            prefix: 24,
            router: [10, 5, 0, 1].into(),
        };
        let router = Advertisement {
            lifetime: 3,
            routers: vec![(own.router, 0)],
            ..Advertisement::default()
        };
        let mut d = Detector::default();
        d.heard(own.router, [5; 6], router, S(0));
        let got = d.choose(HOME, (HOME, 24), &[own], S(0));
        assert_eq!(got, Choice::Own(own, None));
        let insists = ad(5, flag::F | flag::R, 0);
        d.heard(own.router, [5; 6], insists, S(1));
        let got = d.choose(HOME, (HOME, 24), &[own], S(1));
        assert_eq!(got, Choice::Own(own, Some((own.router, [5; 6]))));
    }
}
