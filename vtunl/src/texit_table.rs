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
//! Datagrams and ICMP change an exit while commands read it and set its bound, and nobody
//! waits: what belongs together, the path's MTU, its bound and its state, is one word.
//!
//! Spec: the paper, section 2 (`t_exit`) and Figure 3; RFC 1191 for the plateaus.
//! Kept: one `t_exit` for all targets with that exit, gone with its last reference.
//! Kept: the bound lives as long as the exit (the decisions, MAXPMTU_SET).
//! Differs: aging is lazy: soft state that is over is found out when it is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::addr_map::{Replaced, Segments};
use crate::counter::Counter;
use crate::ordered_map::OrderedMap;
use crate::slab::{Chunks, Slab};

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

/// Numbers of exits are below this, so that they fit in 25 bits beside their flags.
const MOST: u32 = 1 << 25;

/// GRE's optional fields towards one exit (RFC 2890).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GreOptions {
    /// The checksum is sent, over header and payload.
    pub checksum: bool,
    /// The key, if one is sent.
    pub key: Option<u32>,
    /// Sequence numbers are sent.
    pub sequence: bool,
}

const CHECKSUM: u64 = 1 << 32;
const KEY: u64 = 1 << 33;
const SEQUENCE: u64 = 1 << 34;

impl GreOptions {
    fn packed(self) -> u64 {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        bit(self.checksum, CHECKSUM)
            | bit(self.key.is_some(), KEY)
            | bit(self.sequence, SEQUENCE)
            | u64::from(self.key.unwrap_or(0))
    }

    fn unpacked(w: u64) -> GreOptions {
        GreOptions {
            checksum: w & CHECKSUM != 0,
            key: (w & KEY != 0).then_some(w as u32),
            sequence: w & SEQUENCE != 0,
        }
    }
}

/// What is known of the path to an exit, and how it is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The current path MTU, outer header included; never above the bound.
    pub pmtu: u16,
    /// The bound.
    pub maxpmtu: u16,
    /// What else the path has told: `EXIT_*` bits.
    pub state: u16,
    /// The TTL of outer headers; 0 for the tunnel's own.
    pub ttl: u8,
}

impl Path {
    const START: Path = Path {
        pmtu: PMTU_START,
        maxpmtu: PMTU_START,
        state: 0,
        ttl: 0,
    };

    fn packed(self) -> u64 {
        u64::from(self.pmtu)
            | u64::from(self.maxpmtu) << 16
            | u64::from(self.state) << 32
            | u64::from(self.ttl) << 48
    }

    #[inline(always)]
    fn unpacked(w: u64) -> Path {
        Path {
            pmtu: w as u16,
            maxpmtu: (w >> 16) as u16,
            state: (w >> 32) as u16,
            ttl: (w >> 48) as u8,
        }
    }
}

/// A tunnel exit (the paper's `t_exit`).
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct TExit {
    addr: AtomicU32,
    /// The last identification of an outer datagram that may be fragmented.
    ident: AtomicU16,
    path: AtomicU64,
    /// Datagrams sent there.
    pub datagrams: Counter,
    /// Bytes of inner datagrams sent there.
    pub octets: Counter,
    gre: AtomicU64,
    /// The next GRE sequence number.
    next_sequence: AtomicU32,
    /// The last sequence number that came from there, and one bit more: one came.
    received: AtomicU64,
    /// The second in which the path MTU was learned.
    pmtu_at: AtomicU32,
    /// The second in which the last other bit of the state was set.
    state_at: AtomicU32,
}

const _: () = assert!(size_of::<TExit>() == 64);

/// The bit of `received` that says that a number came.
const CAME: u64 = 1 << 32;

impl TExit {
    /// Begins anew as the exit with this address.
    fn begin(&self, addr: u32) {
        self.addr.store(addr, Relaxed);
        self.ident.store(addr as u16, Relaxed); // anywhere: it only has to move on
        self.path.store(Path::START.packed(), Relaxed);
        self.datagrams.set(0);
        self.octets.set(0);
        self.gre.store(0, Relaxed);
        self.forget_sequence();
    }

    fn forget_sequence(&self) {
        self.next_sequence.store(0, Relaxed);
        self.received.store(0, Relaxed);
    }

    /// Its address.
    #[inline(always)]
    pub fn addr(&self) -> u32 {
        self.addr.load(Relaxed)
    }

    /// The path to it.
    #[inline(always)]
    pub fn path(&self) -> Path {
        Path::unpacked(self.path.load(Relaxed))
    }

    /// The current path MTU.
    #[inline(always)]
    pub fn pmtu(&self) -> u16 {
        self.path().pmtu
    }

    /// Changes what is known of the path; returns what was before.
    fn change(&self, f: impl Fn(&mut Path)) -> Path {
        let mut w = self.path.load(Relaxed);
        loop {
            let old = Path::unpacked(w);
            let mut new = old;
            f(&mut new);
            let new = new.packed();
            match self.path.compare_exchange_weak(w, new, Relaxed, Relaxed) {
                Ok(_) => return old,
                Err(now) => w = now,
            }
        }
    }

    /// Is there soft state, so that its age matters?
    #[inline(always)]
    pub fn is_soft(&self) -> bool {
        self.path().state != 0
    }

    /// Forgets soft state that is too old.
    pub fn age(&self, now: Duration) {
        let told = !EXIT_PMTU_LEARNED;
        let state = self.path().state;
        let old = |at: &AtomicU32, age| older(at.load(Relaxed), now, age);
        if state & EXIT_PMTU_LEARNED != 0 && old(&self.pmtu_at, PMTU_AGE) {
            // RFC 1191 6.3: the stale estimate goes back to what the first hop allows.
            self.change(|p| {
                p.state &= told;
                p.pmtu = p.maxpmtu;
            });
        }
        if state & told != 0 && old(&self.state_at, STATE_AGE) {
            self.change(|p| p.state &= EXIT_PMTU_LEARNED);
        }
    }

    /// Remembers what the path told about reachability.
    pub fn set_state(&self, bits: u16, now: Duration) {
        self.state_at.store(now.as_secs() as u32, Relaxed);
        self.change(|p| p.state |= bits);
    }

    /// Sets the bound; the estimate follows it down (the paper, MAXPMTU_SET).
    pub fn set_bound(&self, bound: u16) {
        self.change(|p| {
            p.maxpmtu = bound;
            if p.state & EXIT_PMTU_LEARNED == 0 || p.pmtu > bound {
                p.pmtu = bound;
            }
        });
    }

    /// Sets the TTL of outer headers; 0 for the tunnel's own.
    pub fn set_ttl(&self, ttl: u8) {
        self.change(|p| p.ttl = ttl);
    }

    /// Takes in the next-hop MTU of an ICMP 3/4 about an outer datagram of `sent` bytes;
    /// 0 is an old router's. True if the estimate went down.
    pub fn learn_pmtu(&self, next_hop: u16, sent: u16, now: Duration) -> bool {
        self.age(now);
        let mtu = match next_hop {
            // RFC 1191 section 5: an old router tells none; take the next plateau below.
            0 => plateau_below(sent),
            // RFC 1191 section 3: never below 68.
            n => n.max(PMTU_FLOOR),
        };
        // RFC 1191 section 3: a Too Big never raises the estimate.
        if mtu > self.pmtu() {
            return false;
        }
        self.pmtu_at.store(now.as_secs() as u32, Relaxed);
        let before = self.change(|p| {
            if mtu <= p.pmtu {
                p.pmtu = mtu;
                p.state |= EXIT_PMTU_LEARNED;
            }
        });
        mtu < before.pmtu
    }

    /// The next identification of an outer datagram that may be fragmented.
    #[inline(always)]
    pub fn next_ident(&self) -> u16 {
        let ident = self.ident.load(Relaxed).wrapping_add(1);
        self.ident.store(ident, Relaxed);
        ident
    }

    /// GRE's optional fields, if any is in use.
    #[inline]
    pub fn gre(&self) -> Option<GreOptions> {
        let w = self.gre.load(Relaxed);
        (w != 0).then(|| GreOptions::unpacked(w))
    }

    /// Sets GRE's optional fields. The other end drops a number that it has had (RFC 2890
    /// 2.2): a count that is in use goes on.
    pub fn set_gre(&self, o: GreOptions) {
        if !o.sequence {
            self.forget_sequence();
        }
        self.gre.store(o.packed(), Relaxed);
    }

    /// The sequence number of the next GRE datagram sent.
    pub fn next_sequence(&self) -> u32 {
        let n = self.next_sequence.load(Relaxed);
        self.next_sequence.store(n.wrapping_add(1), Relaxed);
        n
    }

    #[cfg(test)]
    pub(crate) fn begin_sequence(&self, number: u32) {
        self.next_sequence.store(number, Relaxed);
    }

    /// Takes in a sequence number that came from there: false if it is not after the last
    /// one (RFC 2890 section 2.2).
    pub fn receive_sequence(&self, number: u32) -> bool {
        let last = self.received.load(Relaxed);
        if last & CAME != 0 && (number.wrapping_sub(last as u32) as i32) <= 0 {
            return false;
        }
        self.received.store(CAME | u64::from(number), Relaxed);
        true
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

/// The table as it is looked at.
#[derive(Debug)]
pub struct ExitView {
    by_addr: Arc<Segments>,
    exits: Chunks<TExit>,
}

impl ExitView {
    /// The exit at an index that a target holds.
    #[inline(always)]
    pub fn at(&self, id: ExitId) -> Option<&TExit> {
        self.exits.get(id)
    }

    /// The exit with this address.
    pub fn get(&self, addr: u32) -> Option<&TExit> {
        self.at(self.by_addr.get(addr)?.0)
    }
}

/// The table, for who changes it.
#[derive(Debug, Default)]
pub struct ExitTable {
    by_addr: OrderedMap,
    exits: Slab<TExit>,
    /// Targets that use each.
    refs: Vec<u32>,
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
        self.exits.get(id)
    }

    /// The index of the exit with this address.
    #[inline]
    pub fn find(&self, addr: u32) -> Option<ExitId> {
        self.by_addr.get(addr).map(|(id, ())| id)
    }

    /// The exit with this address.
    pub fn get(&self, addr: u32) -> Option<&TExit> {
        self.at(self.find(addr)?)
    }

    /// Targets that use an exit.
    pub fn refs(&self, id: ExitId) -> u32 {
        self.refs.get(id as usize).copied().unwrap_or(0)
    }

    /// One more reference to the exit with this address, which is made if it is new; `None`
    /// if there are too many.
    pub fn hold(&mut self, addr: u32) -> Option<ExitId> {
        let id = match self.find(addr) {
            Some(id) => id,
            None => {
                let id = self.exits.take(MOST)?;
                self.exits.get(id)?.begin(addr);
                let upto = self.refs.len().max(id as usize + 1);
                self.refs.resize(upto, 0);
                self.by_addr.insert(addr, id);
                id
            }
        };
        *self.refs.get_mut(id as usize)? += 1;
        Some(id)
    }

    /// One reference less; the last one takes the exit with it.
    pub fn release(&mut self, id: ExitId) {
        let Some(refs) = self.refs.get_mut(id as usize).filter(|r| **r > 0) else {
            return;
        };
        *refs -= 1;
        if *refs > 0 {
            return;
        }
        if let Some(addr) = self.at(id).map(TExit::addr) {
            self.by_addr.remove(addr);
        }
        self.exits.free(id);
    }

    /// See [`OrderedMap::tidy`].
    pub fn tidy(&mut self) {
        self.by_addr.tidy();
    }

    /// All exits, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (ExitId, &TExit)> {
        self.iter_from(0)
    }

    /// The same, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (ExitId, &TExit)> {
        let all = self.by_addr.iter_from(skip);
        all.filter_map(|(_, id)| Some((id, self.at(id)?)))
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.by_addr.bytes() + self.exits.bytes() + self.refs.capacity() * 4
    }

    /// See [`Slab::make_room`].
    pub fn make_room(&mut self) {
        self.exits.make_room();
    }

    /// See [`Slab::take_freed`].
    pub fn take_freed(&mut self) -> Vec<ExitId> {
        self.exits.take_freed()
    }

    /// See [`Slab::give_back`].
    pub fn give_back(&mut self, id: ExitId) {
        self.exits.give_back(id);
    }

    /// What is to be looked at from now on.
    pub fn view(&self) -> ExitView {
        ExitView {
            by_addr: self.by_addr.shown(),
            exits: self.exits.shown(),
        }
    }

    /// Is there something else to be looked at since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        self.by_addr.take_changed() | self.exits.take_changed()
    }

    /// The segments that were written anew while they were shown.
    pub fn take_replaced(&mut self) -> Vec<Replaced<()>> {
        self.by_addr.take_replaced()
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
        assert_eq!(t.refs(a), 2);
        t.get(7).unwrap().set_bound(900);
        t.release(a);
        assert_eq!(t.get(7).map(|x| x.path().maxpmtu), Some(900));
        t.release(a);
        assert!(t.get(7).is_none() && t.is_empty());
        // The decisions, MAXPMTU_SET: the bound goes with the last reference.
        t.hold(7);
        assert_eq!(t.get(7).map(|x| x.path().maxpmtu), Some(PMTU_START));
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
        let x = t.at(id).unwrap();
        // (next hop, length sent, estimate after), RFC 1191 sections 3 and 5
        for (mtu, sent, want) in [
            (1400, 1500, 1400),
            (1480, 1500, 1400),
            (0, 1400, 1006),
            (20, 1006, 68),
        ] {
            x.learn_pmtu(mtu, sent, T0);
            assert_eq!(x.pmtu(), want, "told {mtu}");
        }
        x.age(T0 + PMTU_AGE - Duration::from_secs(1));
        assert_eq!(x.pmtu(), 68);
        x.age(T0 + PMTU_AGE); // RFC 1191 section 6.3
        assert_eq!((x.pmtu(), x.path().state), (PMTU_START, 0));
    }

    #[test]
    fn the_bound_holds_the_estimate_down() {
        // The paper: t_exit_maxpmtu, "current bound on Path MTU".
        let mut t = ExitTable::default();
        let id = t.hold(7).unwrap();
        let x = t.at(id).unwrap();
        x.set_bound(1000);
        assert_eq!(x.pmtu(), 1000);
        x.learn_pmtu(1200, 1500, T0);
        assert_eq!(x.pmtu(), 1000);
        x.learn_pmtu(600, 1000, T0);
        x.set_bound(1400);
        assert_eq!(x.pmtu(), 600);
        x.age(T0 + PMTU_AGE);
        assert_eq!(x.pmtu(), 1400);
    }

    #[test]
    fn what_icmp_said_is_believed_for_a_while() {
        let mut t = ExitTable::default();
        let id = t.hold(7).unwrap();
        let x = t.at(id).unwrap();
        x.set_state(EXIT_HOST_UNREACH, T0);
        x.age(T0 + STATE_AGE / 2);
        assert_eq!(x.path().state, EXIT_HOST_UNREACH);
        x.age(T0 + STATE_AGE);
        assert!(!x.is_soft());
    }
}
