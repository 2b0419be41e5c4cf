//! `texit_table`: the tunnel exits, each shared by all targets that use it.
//!
//! ```text
//!   encap_table          texit_table
//!   MH1 ─────────────┐
//!   MH4 ─────────────┴──► FA2  refs 2      the slab keeps an exit at one index for as long
//!   MH3 ──┬──────────────► FA3  refs 1     as it is referred to, so that a target holds
//!         └──────────────► FA1  refs 1     four bytes and a datagram costs one access
//! ```
//!
//! Spec: the paper, section 2 (`t_exit`) and Figure 3; RFC 1191 for the plateaus.
//! Kept: one `t_exit` for all targets with that exit, gone with its last reference.
//! Kept: the bound lives as long as the exit (the decisions, MAXPMTU_SET).
//! Differs: aging is lazy: soft state that is over is found out when it is looked at.

use std::time::Duration;

use crate::bury::bury;
use crate::ordered_map::OrderedMap;
use crate::slab::Slab;

/// State bit: the path reports the exit's network unreachable (ICMP 3/0 and its like).
pub const EXIT_NET_UNREACH: u16 = 0x0001;
/// State bit: the exit itself is reported unreachable (ICMP 3/1).
pub const EXIT_HOST_UNREACH: u16 = 0x0002;
/// State bit: the exit does not know our encapsulation (ICMP 3/2).
pub const EXIT_PROTO_UNREACH: u16 = 0x0004;
/// State bit: the tunnel is longer than its TTL (ICMP 11).
pub const EXIT_TTL_EXCEEDED: u16 = 0x0008;
/// State bit: the path asked for less (ICMP 4).
pub const EXIT_CONGESTED: u16 = 0x0010;
/// State bit: the path MTU was learned and is below the bound.
pub const EXIT_PMTU_LEARNED: u16 = 0x0020;
/// The bits that say a datagram will not arrive.
pub const EXIT_DEAD: u16 =
    EXIT_NET_UNREACH | EXIT_HOST_UNREACH | EXIT_PROTO_UNREACH | EXIT_TTL_EXCEEDED;

/// The path MTU before anything is known, and the bound before one is set.
pub const PMTU_START: u16 = u16::MAX;
/// No path MTU goes below this (RFC 791, RFC 1191 section 3).
pub const PMTU_FLOOR: u16 = 68;
/// A learned path MTU is forgotten after this (RFC 1191 section 6.3).
pub const PMTU_AGE: Duration = Duration::from_secs(600);
/// What an ICMP error said about reachability is believed for this long.
pub const STATE_AGE: Duration = Duration::from_secs(60);

/// RFC 1191 table 7-1.
pub const PLATEAUS: [u16; 11] = [
    65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68,
];

/// The number of an exit in the slab.
pub type ExitId = u32;

/// GRE's optional fields towards one exit (RFC 2890).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GreOptions {
    /// The checksum is sent, over header and payload.
    pub checksum: bool,
    /// The key, if one is sent.
    pub key: Option<u32>,
    /// The next sequence number, if they are sent.
    pub sequence: Option<u32>,
    /// The last sequence number that came from there.
    pub received: Option<u32>,
}

/// A tunnel exit (the paper's `t_exit`).
#[derive(Clone, Debug)]
pub struct TExit {
    /// Its address.
    pub addr: u32,
    /// Targets that use it.
    pub refs: u32,
    /// The current path MTU, outer header included; never above the bound.
    pub pmtu: u16,
    /// The bound.
    pub maxpmtu: u16,
    /// What else the path has told: `EXIT_*` bits.
    pub state: u16,
    /// The next identification of an outer datagram that may be fragmented.
    pub ident: u16,
    /// The TTL of outer headers; 0 for the tunnel's own.
    pub ttl: u8,
    /// Datagrams sent there.
    pub datagrams: u64,
    /// Bytes of inner datagrams sent there.
    pub octets: u64,
    /// GRE's optional fields, if any is in use.
    pub gre: Option<Box<GreOptions>>,
    /// The second in which the path MTU was learned.
    pmtu_at: u32,
    /// The second in which the last bit of `state` was set.
    state_at: u32,
}

impl TExit {
    fn new(addr: u32) -> TExit {
        TExit {
            addr,
            refs: 0,
            pmtu: PMTU_START,
            maxpmtu: PMTU_START,
            state: 0,
            ident: addr as u16, // anywhere: it only has to move on
            ttl: 0,
            datagrams: 0,
            octets: 0,
            gre: None,
            pmtu_at: 0,
            state_at: 0,
        }
    }

    /// Is there soft state, so that its age matters?
    #[inline]
    pub fn is_soft(&self) -> bool {
        self.state != 0
    }

    /// Forgets soft state that is too old.
    pub fn age(&mut self, now: Duration) {
        if self.state & EXIT_PMTU_LEARNED != 0 && older(self.pmtu_at, now, PMTU_AGE) {
            // RFC 1191 6.3: the stale estimate goes back to what the first hop allows.
            self.state &= !EXIT_PMTU_LEARNED;
            self.pmtu = self.maxpmtu;
        }
        let told = !EXIT_PMTU_LEARNED;
        if self.state & told != 0 && older(self.state_at, now, STATE_AGE) {
            self.state &= EXIT_PMTU_LEARNED;
        }
    }

    /// Remembers what the path told about reachability.
    pub fn set_state(&mut self, bits: u16, now: Duration) {
        self.state |= bits;
        self.state_at = now.as_secs() as u32;
    }

    /// Sets the bound; the estimate follows it down (the paper, MAXPMTU_SET).
    pub fn set_bound(&mut self, bound: u16) {
        self.maxpmtu = bound;
        if self.state & EXIT_PMTU_LEARNED == 0 || self.pmtu > bound {
            self.pmtu = bound;
        }
    }

    /// Takes in the next-hop MTU of an ICMP 3/4 about an outer datagram of `sent` bytes;
    /// 0 is an old router's. True if the estimate went down.
    pub fn learn_pmtu(&mut self, next_hop: u16, sent: u16, now: Duration) -> bool {
        self.age(now);
        let mtu = match next_hop {
            // RFC 1191 section 5: an old router tells none; take the next plateau below.
            0 => plateau_below(sent),
            // RFC 1191 section 3: never below 68.
            n => n.max(PMTU_FLOOR),
        };
        // RFC 1191 section 3: a Too Big never raises the estimate.
        if mtu > self.pmtu {
            return false;
        }
        let down = mtu < self.pmtu;
        self.pmtu = mtu;
        self.state |= EXIT_PMTU_LEARNED;
        self.pmtu_at = now.as_secs() as u32;
        down
    }
}

/// Is a thing of second `at` as old as `age`? (A kernel that runs for 136 years wraps.)
fn older(at: u32, now: Duration, age: Duration) -> bool {
    now.as_secs() >= u64::from(at) + age.as_secs()
}

/// The highest plateau strictly below `len` (RFC 1191 section 5).
pub fn plateau_below(len: u16) -> u16 {
    PLATEAUS
        .iter()
        .copied()
        .find(|p| *p < len)
        .unwrap_or(PMTU_FLOOR)
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct ExitTable {
    by_addr: OrderedMap,
    slab: Slab<TExit>,
}

impl ExitTable {
    /// Exits in use.
    pub fn len(&self) -> usize {
        self.by_addr.len()
    }

    /// No exit in use.
    pub fn is_empty(&self) -> bool {
        self.by_addr.is_empty()
    }

    /// The exit at an index that a target holds.
    #[inline]
    pub fn at(&self, id: ExitId) -> Option<&TExit> {
        self.slab.get(id)
    }

    /// The exit at an index that a target holds, to be changed.
    #[inline]
    pub fn at_mut(&mut self, id: ExitId) -> Option<&mut TExit> {
        self.slab.get_mut(id)
    }

    /// The index of the exit with this address.
    #[inline]
    pub fn find(&self, addr: u32) -> Option<ExitId> {
        self.by_addr.get(addr).copied()
    }

    /// The exit with this address.
    pub fn get(&self, addr: u32) -> Option<&TExit> {
        self.at(self.find(addr)?)
    }

    /// The exit with this address, to be changed.
    pub fn get_mut(&mut self, addr: u32) -> Option<&mut TExit> {
        let id = self.find(addr)?;
        self.at_mut(id)
    }

    /// One more reference to the exit with this address, which is made if it is new; `None`
    /// if there are too many.
    pub fn hold(&mut self, addr: u32) -> Option<ExitId> {
        let id = match self.find(addr) {
            Some(id) => id,
            None => {
                let id = self.slab.insert(TExit::new(addr), u32::MAX)?;
                self.by_addr.insert(addr, id);
                id
            }
        };
        self.slab.get_mut(id)?.refs += 1;
        Some(id)
    }

    /// One reference less; the last one takes the exit with it.
    pub fn release(&mut self, id: ExitId) {
        let Some(x) = self.slab.get_mut(id) else {
            return;
        };
        x.refs = x.refs.saturating_sub(1);
        if x.refs == 0 {
            self.by_addr.remove(x.addr);
            self.slab.free(id);
        }
        if self.by_addr.is_empty() {
            self.clear();
        }
    }

    /// Forgets all exits; the memory is given back by and by.
    pub fn clear(&mut self) {
        let exits = self.slab.len();
        bury(std::mem::take(self), exits);
    }

    /// All exits, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = &TExit> {
        let all = self.by_addr.iter_from(0);
        all.filter_map(|(_, id)| self.at(*id))
    }

    /// The exits from number `skip` on, at most `most` of them, in the order of their
    /// addresses, without the soft state that is too old.
    pub fn aged_from(&mut self, skip: usize, most: usize, now: Duration) -> Vec<&TExit> {
        let ids: Vec<ExitId> = self
            .by_addr
            .iter_from(skip)
            .map(|(_, id)| *id)
            .take(most)
            .collect();
        for id in &ids {
            if let Some(x) = self.slab.get_mut(*id).filter(|x| x.is_soft()) {
                x.age(now);
            }
        }
        ids.iter().filter_map(|id| self.slab.get(*id)).collect()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.by_addr.bytes() + self.slab.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(1000);

    #[test]
    fn an_exit_is_shared_and_goes_with_its_last_reference() {
        // The paper, section 2: "they share the latter's t_exit structure".
        let mut t = ExitTable::default();
        let a = t.hold(7).unwrap();
        assert_eq!(t.hold(7), Some(a));
        assert_eq!(t.get(7).map(|x| x.refs), Some(2));
        t.get_mut(7).unwrap().set_bound(900);
        t.release(a);
        assert_eq!(t.get(7).map(|x| (x.refs, x.maxpmtu)), Some((1, 900)));
        t.release(a);
        assert!(t.get(7).is_none() && t.is_empty());
        // The decisions, MAXPMTU_SET: the bound goes with the last reference.
        t.hold(7);
        assert_eq!(t.get(7).map(|x| x.maxpmtu), Some(PMTU_START));
    }

    #[test]
    fn plateaus_are_those_of_rfc_1191_table_7_1() {
        for (sent, want) in [
            (65535, 32000),
            (1500, 1492),
            (1492, 1006),
            (1006, 508),
            (576, 508),
            (296, 68),
            (68, 68),
            (0, 68),
        ] {
            assert_eq!(plateau_below(sent), want, "sent {sent}");
        }
    }

    #[test]
    fn path_mtu_goes_down_only_not_below_68_and_is_forgotten_after_ten_minutes() {
        let mut t = ExitTable::default();
        let id = t.hold(7).unwrap();
        let x = t.at_mut(id).unwrap();
        // (next hop, length sent, estimate after), RFC 1191 sections 3 and 5
        for (mtu, sent, want) in [
            (1400, 1500, 1400),
            (1480, 1500, 1400),
            (0, 1400, 1006),
            (20, 1006, 68),
        ] {
            x.learn_pmtu(mtu, sent, T0);
            assert_eq!(x.pmtu, want, "told {mtu}");
        }
        x.age(T0 + PMTU_AGE - Duration::from_secs(1));
        assert_eq!(x.pmtu, 68);
        x.age(T0 + PMTU_AGE); // RFC 1191 section 6.3
        assert_eq!((x.pmtu, x.state), (PMTU_START, 0));
    }

    #[test]
    fn the_bound_holds_the_estimate_down() {
        // The paper: t_exit_maxpmtu, "current bound on Path MTU".
        let mut t = ExitTable::default();
        let id = t.hold(7).unwrap();
        let x = t.at_mut(id).unwrap();
        x.set_bound(1000);
        assert_eq!(x.pmtu, 1000);
        x.learn_pmtu(1200, 1500, T0);
        assert_eq!(x.pmtu, 1000);
        x.learn_pmtu(600, 1000, T0);
        x.set_bound(1400);
        assert_eq!(x.pmtu, 600);
        x.age(T0 + PMTU_AGE);
        assert_eq!(x.pmtu, 1400);
    }

    #[test]
    fn what_icmp_said_is_believed_for_a_while() {
        let mut t = ExitTable::default();
        let id = t.hold(7).unwrap();
        let x = t.at_mut(id).unwrap();
        x.set_state(EXIT_HOST_UNREACH, T0);
        x.age(T0 + STATE_AGE / 2);
        assert_eq!(x.state, EXIT_HOST_UNREACH);
        x.age(T0 + STATE_AGE);
        assert!(!x.is_soft());
    }
}
