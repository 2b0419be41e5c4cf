//! `encap_table`: which datagrams are encapsulated, and to which exits.
//!
//! ```text
//!   destination ─► own address ─► longest prefix ─► DEFAULT_ADDR ─► none: drop, counted
//!                       │
//!                       ▼  in the hash table itself, four to a cache line
//!   target:  [ address | set of exits | datagrams | octets ]
//!                             │
//!                             ▼  shared by all targets with the same: few, and in the cache
//!   exit_sets:      [ exits 8 x u32 | flags 8 x u16 | .. ]
//!                        │
//!                        ▼  texit_table
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

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use streams::Errno;

use crate::addr_map::Value;
use crate::bury::bury;
pub use crate::exit_sets::MAXEXITCOUNT;
use crate::exit_sets::{ExitSet, ExitSets, Pair};
use crate::prefix_map::{Key, PrefixMap};
use crate::texit_table::{ExitId, ExitTable};

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

/// A target (the paper's `encap_target`), without its address: its exits, and what was
/// encapsulated for it since that was last carried to a wider count.
#[derive(Clone, Debug)]
pub struct Target {
    set: u32,
    datagrams: Cell<u32>,
    octets: Cell<u32>,
}

impl Target {
    fn new(set: u32) -> Target {
        Target {
            set,
            datagrams: Cell::new(0),
            octets: Cell::new(0),
        }
    }

    /// Counts a datagram encapsulated for it. True: the count is about to overflow, and
    /// [`EncapTable::carry`] has to see to it.
    #[inline(always)]
    #[must_use]
    pub fn count(&self, octets: u16) -> bool {
        let sum = self.octets.get().wrapping_add(u32::from(octets));
        self.octets.set(sum);
        self.datagrams.set(self.datagrams.get().wrapping_add(1));
        sum >= CARRY
    }
}

impl Value for Target {
    const FREE: Target = Target {
        set: u32::MAX,
        datagrams: Cell::new(0),
        octets: Cell::new(0),
    };
    #[inline(always)]
    fn is_free(&self) -> bool {
        self.set == u32::MAX
    }
}

/// Octets in a target's own count before they are carried; datagrams are fewer.
const CARRY: u32 = 1 << 31;

/// Where a look-up ended: the target's set of exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    set: u32,
    count: u8,
}

impl Hit {
    /// Number of exits.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.into()
    }
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct EncapTable {
    map: PrefixMap<Target>,
    sets: ExitSets,
    /// Pairs of a target and an exit.
    bindings: usize,
    /// What targets have counted beyond what fits them, datagrams and octets.
    carried: BTreeMap<Key, (u64, u64)>,
    /// Targets with flag B on an exit, by address.
    broadcast: BTreeSet<u32>,
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

    /// The target that serves a destination, and its exits: its own, else the longest
    /// prefix, else the default entry. Every datagram's question.
    #[inline(always)]
    pub fn serve(&self, dst: u32) -> Option<(&Target, &ExitSet)> {
        let t = match self.map.lookup(dst) {
            Some(t) => t,
            None => self.map.get(DEFAULT_KEY)?,
        };
        Some((t, self.sets.get(t.set)?))
    }

    /// As [`EncapTable::serve`], to be asked about.
    pub fn lookup(&self, dst: u32) -> Option<Hit> {
        let (t, set) = self.serve(dst)?;
        Some(hit(t, set))
    }

    /// The target for a multicast or broadcast heard on a link: as [`EncapTable::lookup`]
    /// but never the default entry, which would tunnel each routing protocol's hello.
    pub fn lookup_heard(&self, dst: u32) -> Option<Hit> {
        self.hit(self.map.lookup(dst)?)
    }

    /// The target with exactly this key.
    pub fn get(&self, key: Key) -> Option<Hit> {
        self.hit(self.map.get(key)?)
    }

    /// The key of the target that serves a destination.
    pub fn key_of(&self, dst: u32) -> Option<Key> {
        let default = || self.map.get(DEFAULT_KEY).map(|_| DEFAULT_KEY);
        self.map.key_of(dst).or_else(default)
    }

    fn hit(&self, t: &Target) -> Option<Hit> {
        Some(hit(t, self.sets.get(t.set)?))
    }

    /// The exits of a target and their flags.
    pub fn exits(&self, hit: Hit) -> impl Iterator<Item = (ExitId, u16)> + use<> {
        let set = self.sets.get(hit.set).map(ExitSet::pairs);
        set.into_iter().flatten()
    }

    /// Carries the count of the target that serves a destination to a wider one.
    #[cold]
    pub fn carry(&mut self, dst: u32) {
        let Some(key) = self.key_of(dst) else { return };
        if let Some(t) = self.map.get(key) {
            let wide = self.carried.entry(key).or_default();
            wide.0 += u64::from(t.datagrams.take());
            wide.1 += u64::from(t.octets.take());
        }
    }

    /// Datagrams and bytes encapsulated for a target.
    pub fn counts(&self, key: Key) -> (u64, u64) {
        let (d, o) = self.carried.get(&key).copied().unwrap_or_default();
        match self.map.get(key) {
            Some(t) => (
                d + u64::from(t.datagrams.get()),
                o + u64::from(t.octets.get()),
            ),
            None => (0, 0),
        }
    }

    /// All targets, single addresses first, then prefixes, each in order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Hit)> {
        self.iter_from(0)
    }

    /// The same, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (Key, Hit)> {
        let all = self.map.iter_from(skip);
        all.filter_map(|(k, t)| Some((k, self.hit(t)?)))
    }

    /// Targets in a subnet that want its broadcasts, with their exits.
    pub fn wanting_broadcasts(&self, net: u32, mask: u32) -> impl Iterator<Item = (u32, Hit)> {
        let first = net & mask;
        let all = self.broadcast.range(first..=first | !mask);
        all.filter_map(|addr| Some((*addr, self.get(Key::host(*addr))?)))
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
                let addr = exits.at(id).map(|x| x.addr);
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
            .filter_map(|(id, _)| exits.at(*id).map(|x| x.addr))
            .collect();
        self.store(key, &[])?;
        for (id, _) in had {
            exits.release(id);
        }
        Ok(gone)
    }

    /// Takes all targets (ENCAP_REM with target 0); their memory is given back by and by.
    pub fn clear(&mut self, exits: &mut ExitTable) {
        let entries = self.len();
        bury(std::mem::take(self), entries);
        exits.clear();
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.sets.bytes()
    }

    /// Gives a target these exits; a target without exits is no target.
    fn store(&mut self, key: Key, exits: &[Pair]) -> Result<(), Errno> {
        let old = self.map.get(key).cloned();
        let before = old.as_ref().and_then(|t| self.sets.get(t.set));
        let before = before.map_or(0, ExitSet::len);
        if exits.is_empty() {
            self.map.remove(key);
            if !self.carried.is_empty() {
                self.carried.remove(&key);
            }
        } else {
            let set = self.sets.hold(exits).ok_or(Errno::ENOSPC)?;
            let mut target = old.clone().unwrap_or_else(|| Target::new(set));
            target.set = set;
            self.map.insert(key, target);
        }
        self.bindings = self.bindings + exits.len() - before;
        if let Some(t) = old {
            self.sets.release(t.set);
        }
        if key.len == 32 {
            if exits.iter().any(|(_, f)| f & ENCAP_B != 0) {
                self.broadcast.insert(key.addr);
            } else if !self.broadcast.is_empty() {
                self.broadcast.remove(&key.addr);
            }
        }
        if self.is_empty() {
            // What sets took is given back.
            let sets = std::mem::take(&mut self.sets);
            let entries = sets.slots();
            bury(sets, entries);
        }
        Ok(())
    }
}

fn hit(t: &Target, set: &ExitSet) -> Hit {
    Hit {
        set: t.set,
        count: set.len() as u8,
    }
}

#[cfg(test)]
mod tests;
