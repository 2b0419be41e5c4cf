//! `encap_table`: which datagrams are encapsulated, and to which exits.
//!
//! ```text
//!   destination ─► own address ─► longest prefix ─► DEFAULT_ADDR ─► none: drop, counted
//!                       │
//!                       ▼  in the hash table itself, four to a cache line
//!   target:  [ address | exit and flags | datagrams | octets ]
//!                             │       or, of a target with several,
//!                             ├─► exit_sets:  [ exits 8 x u32 | flags 8 x u16 | .. ]
//!                             ▼                    │   shared by all targets with the same:
//!                        texit_table ◄─────────────┘   few, and in the cache
//! ```
//!
//! One access to memory that may be far away, whatever the number of targets: to the line
//! with the address, which is also where the datagram is counted.
//!
//! Spec: the paper, section 2 (`encap_target`), Table 3 (ENCAP_ADD, ENCAP_REM, ENCAP_OK),
//! section 5 (netmasks); RFC 2002 for the flag bits.
//! Kept: at most MAXEXITCOUNT exits; S keeps former bindings; DEFAULT_ADDR is a target
//! like any other that serves those without an entry.
//! Differs: the list of exits is not in the target, and shared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, unbounded};
use crossbeam_skiplist::SkipSet;
use streams::Errno;

use crate::addr_map::{Counts, LIMIT, Replaced};
use crate::ahead::FAR;
pub use crate::exit_sets::MAXEXITCOUNT;
use crate::exit_sets::{ExitSet, ExitSets, Pair};
use crate::prefix_map::{Key, PrefixMap, PrefixView};
use crate::slab::Chunks;
use crate::texit_table::{ExitId, ExitTable, TExit};

/// The target whose entry serves all destinations without one. A class E address that
/// ends in a zero bit: no unicast or multicast address, and no broadcast address of any
/// subnet.
pub const DEFAULT_ADDR: u32 = 0xffff_fffe;
/// The key of the default entry.
pub const DEFAULT_KEY: Key = Key::host(DEFAULT_ADDR);

/// Flag S: prior bindings are retained.
pub const ENCAP_S: u16 = 0x80;
/// Flag B: broadcasts of the home network, too.
pub const ENCAP_B: u16 = 0x40;
/// Flag D: the mobile node decapsulates itself.
pub const ENCAP_D: u16 = 0x20;
/// Flag M: minimal encapsulation (RFC 2004).
pub const ENCAP_M: u16 = 0x10;
/// Flag G: GRE (RFC 2784).
pub const ENCAP_G: u16 = 0x08;
/// Flag V: header compression between agent and mobile node; kept, without effect.
pub const ENCAP_V: u16 = 0x04;

/// What was encapsulated for a target (the paper's `encap_target`) since that was last
/// carried to a wider count.
#[derive(Debug, Default)]
pub struct Target {
    datagrams: AtomicU32,
    octets: AtomicU32,
}

impl Target {
    /// Counts a datagram encapsulated for it. True: the count is about to overflow, and
    /// [`EncapView::carry`] has to see to it.
    #[inline(always)]
    #[must_use]
    pub fn count(&self, octets: u16) -> bool {
        let sum = self.octets.load(Relaxed).wrapping_add(u32::from(octets));
        self.octets.store(sum, Relaxed);
        let datagrams = self.datagrams.load(Relaxed).wrapping_add(1);
        self.datagrams.store(datagrams, Relaxed);
        sum >= CARRY
    }

    fn get(&self) -> Counted {
        Counted {
            datagrams: self.datagrams.load(Relaxed).into(),
            octets: self.octets.load(Relaxed).into(),
        }
    }
}

impl Counts for Target {
    fn copied(&self) -> Target {
        Target {
            datagrams: self.datagrams.load(Relaxed).into(),
            octets: self.octets.load(Relaxed).into(),
        }
    }
    fn reset(&self) {
        self.datagrams.store(0, Relaxed);
        self.octets.store(0, Relaxed);
    }
}

/// Octets in a target's own count before they are carried; datagrams are fewer.
const CARRY: u32 = 1 << 31;

/// Datagrams and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    datagrams: u64,
    octets: u64,
}

impl Counted {
    fn add(&mut self, o: Counted) {
        self.datagrams = self.datagrams.wrapping_add(o.datagrams);
        self.octets = self.octets.wrapping_add(o.octets);
    }

    /// What was counted between two looks.
    fn since(self, before: Counted) -> Counted {
        Counted {
            datagrams: self.datagrams.wrapping_sub(before.datagrams),
            octets: self.octets.wrapping_sub(before.octets),
        }
    }
}

/// A count on its way to a wider one.
type Carried = (Key, Counted);

/// Where a look-up ended: one exit with its flags, or the number of a set of exits.
///
/// ```text
///   bit 31 30     25 24                                 0
///       0 │  flags  │  exit                             │
///       1 │  set                                        │
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit(u32);

const A_SET: u32 = 1 << 31;
const EXIT_BITS: u32 = 25;
/// The flags that have a meaning, which fit in six bits.
const SHORT_FLAGS: u16 = 0xfc;

impl Hit {
    /// The exit, if there is one only.
    #[inline(always)]
    pub fn only(self) -> Option<Pair> {
        (self.0 & A_SET == 0).then_some((
            self.0 & ((1 << EXIT_BITS) - 1),
            (self.0 >> EXIT_BITS << 2) as u16,
        ))
    }

    /// What stands for one exit in one word, if its flags are the usual ones.
    fn one(pairs: &[Pair]) -> Option<Hit> {
        let &[(exit, flags)] = pairs else { return None };
        let short = flags & !SHORT_FLAGS == 0 && exit < 1 << EXIT_BITS;
        short.then_some(Hit(u32::from(flags >> 2) << EXIT_BITS | exit))
    }

    fn set(self) -> Option<u32> {
        (self.0 & A_SET != 0).then_some(self.0 & !A_SET)
    }

    /// The exits and their flags; `set` is the set, if it is one.
    fn pairs(self, set: Option<&ExitSet>) -> impl Iterator<Item = Pair> + use<> {
        let set = set.map(ExitSet::pairs);
        self.only().into_iter().chain(set.into_iter().flatten())
    }
}

/// The table as a datagram looks at it.
#[derive(Debug)]
pub struct EncapView {
    map: PrefixView<Target>,
    sets: Chunks<ExitSet>,
    broadcast: Arc<SkipSet<u32>>,
    carried: Sender<Carried>,
    far: bool,
}

impl EncapView {
    /// Are there so many targets that their memory is far away?
    #[inline(always)]
    pub fn is_far(&self) -> bool {
        self.far
    }

    /// Begins to look up a destination, without waiting for the memory.
    #[inline(always)]
    pub fn fetch(&self, dst: u32) {
        self.map.fetch(dst);
    }

    /// The target that serves a destination, and its exits: its own, else the longest
    /// prefix, else the default entry. Every datagram's question.
    #[inline(always)]
    pub fn serve(&self, dst: u32) -> Option<(&Target, Hit)> {
        let (value, target) = match self.map.lookup(dst) {
            Some(t) => t,
            None => self.map.get(DEFAULT_KEY)?,
        };
        Some((target, Hit(value)))
    }

    /// The target for a multicast or broadcast heard on a link: as [`EncapView::serve`]
    /// but never the default entry, which would tunnel each routing protocol's hello.
    pub fn lookup_heard(&self, dst: u32) -> Option<Hit> {
        self.map.lookup(dst).map(|(value, _)| Hit(value))
    }

    /// The exits of a target and their flags.
    pub fn exits(&self, hit: Hit) -> impl Iterator<Item = Pair> + use<> {
        hit.pairs(hit.set().and_then(|id| self.sets.get(id)))
    }

    /// Targets in a subnet that want its broadcasts, with their exits.
    pub fn wanting_broadcasts(&self, net: u32, mask: u32) -> impl Iterator<Item = (u32, Hit)> {
        let first = net & mask;
        let all = self.broadcast.range(first..=first | !mask);
        all.filter_map(|e| Some((*e.value(), Hit(self.map.get(Key::host(*e.value()))?.0))))
    }

    /// Hands the count of the target that serves a destination on, to be kept in a wider one.
    #[cold]
    pub fn carry(&self, dst: u32) {
        let key = self.map.key_of(dst).unwrap_or(DEFAULT_KEY);
        if let Some((_, target)) = self.map.get(key) {
            // Nobody is left to read it if it can't be sent.
            let _ = self.carried.send((key, target.get()));
            target.reset();
        }
    }
}

/// The table, for who changes it.
#[derive(Debug)]
pub struct EncapTable {
    map: PrefixMap<Target>,
    sets: ExitSets,
    /// Pairs of a target and an exit.
    bindings: usize,
    /// What targets have counted beyond what stands beside them.
    carried: BTreeMap<Key, Counted>,
    carry: (Sender<Carried>, Receiver<Carried>),
    /// Targets with flag B on an exit, by address.
    broadcast: Arc<SkipSet<u32>>,
}

impl Default for EncapTable {
    fn default() -> EncapTable {
        EncapTable {
            map: PrefixMap::default(),
            sets: ExitSets::default(),
            bindings: 0,
            carried: BTreeMap::new(),
            carry: unbounded(),
            broadcast: Arc::default(),
        }
    }
}

impl EncapTable {
    /// Targets.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// No targets.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Pairs of a target and an exit.
    pub fn bindings(&self) -> usize {
        self.bindings
    }

    /// The key of the target that serves a destination.
    pub fn key_of(&self, dst: u32) -> Option<Key> {
        let default = || self.map.get(DEFAULT_KEY).map(|_| DEFAULT_KEY);
        self.map.key_of(dst).or_else(default)
    }

    /// The exits that serve a destination, as [`EncapView::serve`] says.
    pub fn lookup(&self, dst: u32) -> Option<Hit> {
        self.get(self.key_of(dst)?)
    }

    /// The exits of the target with exactly this key.
    pub fn get(&self, key: Key) -> Option<Hit> {
        self.map.get(key).map(|(value, _)| Hit(value))
    }

    /// The exits of a target and their flags.
    pub fn exits(&self, hit: Hit) -> impl Iterator<Item = Pair> + use<> {
        hit.pairs(hit.set().and_then(|id| self.sets.get(id)))
    }

    /// How many.
    pub fn count(&self, hit: Hit) -> usize {
        let set = hit.set().and_then(|id| self.sets.get(id));
        set.map_or(1, ExitSet::len)
    }

    /// Datagrams and bytes encapsulated for a target; `replaced` are the segments in which it
    /// may still be counted.
    pub fn counts<'a>(
        &mut self,
        key: Key,
        replaced: impl Iterator<Item = (u8, &'a Replaced<Target>)>,
    ) -> (u64, u64) {
        while let Ok((key, n)) = self.carry.1.try_recv() {
            self.carried.entry(key).or_default().add(n);
        }
        let Some((_, target)) = self.map.get(key) else {
            return (0, 0);
        };
        let mut all = self.carried.get(&key).copied().unwrap_or_default();
        all.add(target.get());
        for (_, r) in replaced.filter(|(len, _)| *len == key.len) {
            if let Some((now, copied)) = r.counted(key.addr) {
                all.add(now.get().since(copied.get()));
            }
        }
        (all.datagrams, all.octets)
    }

    /// What was still counted in a segment after it was written anew is kept.
    pub fn settle(&mut self, len: u8, replaced: &Replaced<Target>) {
        for (addr, now, copied) in replaced.all() {
            let more = now.get().since(copied.get());
            let key = Key { addr, len };
            if more != Counted::default() && self.map.get(key).is_some() {
                self.carried.entry(key).or_default().add(more);
            }
        }
    }

    /// See [`crate::ordered_map::OrderedMap::tidy`].
    pub fn tidy(&mut self) {
        self.map.tidy();
    }

    /// All targets, single addresses first, then prefixes, each in order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Hit)> {
        self.iter_from(0)
    }

    /// The same, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (Key, Hit)> {
        self.map.iter_from(skip).map(|(k, value)| (k, Hit(value)))
    }

    /// Adds an exit to a target, or changes the flags of one it has (ENCAP_ADD). Without
    /// flag S the exits that it had before go; they are returned.
    ///
    /// # Errors
    /// ENOSPC for a ninth exit; nothing has changed then.
    pub fn add(
        &mut self,
        exits: &mut ExitTable,
        key: Key,
        exit: u32,
        flags: u16,
    ) -> Result<Vec<u32>, Errno> {
        let had: Vec<Pair> = self
            .get(key)
            .map(|hit| self.exits(hit).collect())
            .unwrap_or_default();
        let known = exits.find(exit);
        let slot = had.iter().position(|(id, _)| Some(*id) == known);
        let keep = flags & ENCAP_S != 0;
        if keep && slot.is_none() && had.len() == MAXEXITCOUNT {
            return Err(Errno::ENOSPC); // the decisions: the ninth exit of one target
        }
        let mut now = if keep { had.clone() } else { Vec::new() };
        let held = match slot {
            Some(i) if keep => {
                now[i].1 = flags;
                None
            }
            _ => {
                let id = exits.hold(exit).ok_or(Errno::ENOSPC)?;
                now.push((id, flags));
                Some(id)
            }
        };
        if let Err(e) = self.store(key, &now) {
            held.into_iter().for_each(|id| exits.release(id));
            return Err(e);
        }
        let mut gone = Vec::new();
        if !keep {
            for (id, _) in had {
                let addr = exits.at(id).map(TExit::addr);
                exits.release(id);
                gone.extend(addr.filter(|a| *a != exit));
            }
        }
        Ok(gone)
    }

    /// Takes one exit from a target (ENCAP_REM with both addresses).
    ///
    /// # Errors
    /// ENXIO if there is no such target or it has no such exit.
    pub fn remove_exit(&mut self, exits: &mut ExitTable, key: Key, exit: u32) -> Result<(), Errno> {
        let hit = self.get(key).ok_or(Errno::ENXIO)?;
        let id = exits.find(exit).ok_or(Errno::ENXIO)?;
        let mut now: Vec<(ExitId, u16)> = self.exits(hit).collect();
        let at = now.iter().position(|(x, _)| *x == id).ok_or(Errno::ENXIO)?;
        now.remove(at);
        self.store(key, &now)?;
        exits.release(id);
        Ok(())
    }

    /// Takes a target with all its exits (ENCAP_REM with exit 0); returns their addresses.
    ///
    /// # Errors
    /// ENXIO if there is no such target.
    pub fn remove(&mut self, exits: &mut ExitTable, key: Key) -> Result<Vec<u32>, Errno> {
        let hit = self.get(key).ok_or(Errno::ENXIO)?;
        let had: Vec<(ExitId, u16)> = self.exits(hit).collect();
        let gone = had
            .iter()
            .filter_map(|(id, _)| exits.at(*id).map(TExit::addr))
            .collect();
        self.store(key, &[])?;
        for (id, _) in had {
            exits.release(id);
        }
        Ok(gone)
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.sets.bytes()
    }

    /// Gives a target these exits; a target without exits is no target.
    fn store(&mut self, key: Key, exits: &[Pair]) -> Result<(), Errno> {
        let old = self.get(key);
        let before = old.map_or(0, |hit| self.count(hit));
        if exits.is_empty() {
            self.map.remove(key);
            if !self.carried.is_empty() {
                self.carried.remove(&key);
            }
        } else {
            let new = match Hit::one(exits) {
                Some(one) => one,
                None => Hit(A_SET | self.sets.hold(exits).ok_or(Errno::ENOSPC)?),
            };
            debug_assert!(new.0 < LIMIT);
            self.map.insert(key, new.0);
        }
        self.bindings = self.bindings + exits.len() - before;
        if let Some(set) = old.and_then(Hit::set) {
            self.sets.release(set);
        }
        if key.len == 32 {
            if exits.iter().any(|(_, f)| f & ENCAP_B != 0) {
                self.broadcast.insert(key.addr);
            } else if !self.broadcast.is_empty() {
                self.broadcast.remove(&key.addr);
            }
        }
        Ok(())
    }

    /// See [`crate::slab::Slab::make_room`].
    pub fn make_room(&mut self) {
        self.sets.make_room();
    }

    /// See [`ExitSets::take_freed`].
    pub fn take_freed(&mut self) -> Vec<u32> {
        self.sets.take_freed()
    }

    /// See [`ExitSets::give_back`].
    pub fn give_back(&mut self, set: u32) {
        self.sets.give_back(set);
    }

    /// What is to be looked at from now on.
    pub fn view(&self) -> EncapView {
        EncapView {
            map: self.map.view(),
            sets: self.sets.shown(),
            broadcast: self.broadcast.clone(),
            carried: self.carry.0.clone(),
            far: self.len() >= FAR,
        }
    }

    /// Is there something else to be looked at since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        self.map.take_changed() | self.sets.take_changed()
    }

    /// The segments that were written anew while they were shown, by prefix length.
    pub fn take_replaced(&mut self) -> Vec<(u8, Replaced<Target>)> {
        self.map.take_replaced()
    }
}

#[cfg(test)]
mod tests;
