//! `encap_table`: which datagrams are encapsulated, and to which exits.
//!
//! ```text
//!   destination ─► own address ─► longest prefix ─► DEFAULT_ADDR ─► none: drop, counted
//!                       │
//!                       ▼  index and number of exits, from the hash table's place
//!   slab: [ exits 8 x u32 | flags 8 x u16 | datagrams | octets ]    64 bytes, one cache line
//!                │
//!                ▼  texit_table's slab
//! ```
//!
//! Spec: the paper, section 2 (`encap_target`), Table 3 (ENCAP_ADD, ENCAP_REM, ENCAP_OK),
//! section 5 (netmasks); RFC 2002 for the flag bits.
//! Kept: at most MAXEXITCOUNT exits; S keeps former bindings; DEFAULT_ADDR is a target
//! like any other that serves those without an entry.
//! Differs: targets and their addresses are kept apart: the address is in the hash table,
//! so that a target with eight exits takes 64 bytes and at most 26 in the hash table.

use std::collections::BTreeSet;

use streams::Errno;

use crate::prefix_map::{Key, PrefixMap};
use crate::texit_table::{ExitId, ExitTable};

/// Exits of one target at most.
pub const MAXEXITCOUNT: usize = 8;

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

/// A target (the paper's `encap_target`), without its address.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Target {
    exits: [ExitId; MAXEXITCOUNT],
    flags: [u16; MAXEXITCOUNT],
    /// Datagrams encapsulated for it, each counted once.
    pub datagrams: u64,
    /// Their bytes.
    pub octets: u64,
}

const _: () = assert!(size_of::<Target>() == 64);

impl Target {
    /// Its exits and their flags.
    #[inline]
    pub fn pairs(&self, hit: Hit) -> (&[ExitId], &[u16]) {
        let n = hit.count();
        (&self.exits[..n], &self.flags[..n])
    }

    /// Counts a datagram encapsulated for it.
    #[inline]
    pub fn count(&mut self, octets: u16) {
        self.datagrams += 1;
        self.octets += u64::from(octets);
    }

    const NEW: Target = Target {
        exits: [0; MAXEXITCOUNT],
        flags: [0; MAXEXITCOUNT],
        datagrams: 0,
        octets: 0,
    };
}

/// Where a look-up ended: the target's place in the slab and its number of exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    index: u32,
    count: u8,
}

impl Hit {
    fn unpack(value: u32) -> Hit {
        Hit {
            index: value >> 4,
            count: (value & 15) as u8,
        }
    }
    fn pack(self) -> u32 {
        self.index << 4 | u32::from(self.count)
    }
    /// Number of exits.
    #[inline]
    pub fn count(&self) -> usize {
        usize::from(self.count).min(MAXEXITCOUNT)
    }
}

/// Targets at most, so that an index and a count fit one word.
const MOST: u32 = (1 << 28) - 1;

/// The table.
#[derive(Clone, Debug, Default)]
pub struct EncapTable {
    map: PrefixMap,
    slab: Vec<Target>,
    free: Vec<u32>,
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

    /// The target that serves a destination: its own, else the longest prefix, else the
    /// default entry.
    #[inline]
    pub fn lookup(&self, dst: u32) -> Option<Hit> {
        match self.map.lookup(dst) {
            Some(v) => Some(Hit::unpack(v)),
            None => self.get(DEFAULT_KEY),
        }
    }

    /// The target for a multicast or broadcast heard on a link: as [`EncapTable::lookup`]
    /// but never the default entry, which would tunnel each routing protocol's hello.
    #[inline]
    pub fn lookup_heard(&self, dst: u32) -> Option<Hit> {
        self.map.lookup(dst).map(Hit::unpack)
    }

    /// The target behind a look-up.
    #[inline]
    pub fn target(&mut self, hit: Hit) -> Option<&mut Target> {
        self.slab.get_mut(hit.index as usize)
    }

    /// The target with exactly this key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<Hit> {
        self.map.get(key).map(Hit::unpack)
    }

    /// The exits of a target and their flags.
    pub fn exits(&self, hit: Hit) -> impl Iterator<Item = (ExitId, u16)> {
        let t = self.slab.get(hit.index as usize);
        let n = hit.count();
        t.into_iter()
            .flat_map(move |t| t.exits.into_iter().zip(t.flags).take(n))
    }

    /// Datagrams and bytes encapsulated for a target.
    pub fn counts(&self, hit: Hit) -> (u64, u64) {
        self.slab
            .get(hit.index as usize)
            .map_or((0, 0), |t| (t.datagrams, t.octets))
    }

    /// All targets, single addresses first, then prefixes, each in order of the addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Hit)> {
        self.map.iter().map(|(k, v)| (k, Hit::unpack(v)))
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
        let old = self.get(key);
        let known = exits.find(exit);
        let hit = match old {
            Some(hit) => hit,
            None => Hit {
                index: self.new_target()?,
                count: 0,
            },
        };
        let slot = self.exits(hit).position(|(id, _)| Some(id) == known);
        let keep = flags & ENCAP_S != 0;
        if keep && slot.is_none() && hit.count() == MAXEXITCOUNT {
            return Err(Errno::ENOSPC); // the decisions: the ninth exit of one target
        }
        let had: Vec<(ExitId, u16)> = self.exits(hit).collect();
        let mut now = if keep { had.clone() } else { Vec::new() };
        let mut gone = Vec::new();
        match slot {
            Some(i) if keep => now[i].1 = flags,
            _ => now.push((exits.hold(exit), flags)),
        }
        if !keep {
            for (id, _) in had {
                let addr = exits.at(id).map(|x| x.addr);
                exits.release(id);
                gone.extend(addr.filter(|a| *a != exit));
            }
        }
        self.store(key, hit.index, &now);
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
        exits.release(id);
        self.store(key, hit.index, &now);
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
        for (id, _) in had {
            exits.release(id);
        }
        self.store(key, hit.index, &[]);
        Ok(gone)
    }

    /// Takes all targets (ENCAP_REM with target 0).
    pub fn clear(&mut self, exits: &mut ExitTable) {
        *self = EncapTable::default();
        *exits = ExitTable::default();
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.slab.capacity() * size_of::<Target>() + self.free.capacity() * 4
    }

    fn new_target(&mut self) -> Result<u32, Errno> {
        if let Some(i) = self.free.pop() {
            return Ok(i);
        }
        let i = self.slab.len() as u32;
        if i >= MOST {
            return Err(Errno::ENOSPC);
        }
        self.slab.push(Target::NEW);
        Ok(i)
    }

    /// Writes a target's exits; a target without exits is no target.
    fn store(&mut self, key: Key, index: u32, exits: &[(ExitId, u16)]) {
        if let Some(t) = self.slab.get_mut(index as usize) {
            for (i, (id, flags)) in exits.iter().take(MAXEXITCOUNT).enumerate() {
                t.exits[i] = *id;
                t.flags[i] = *flags;
            }
        }
        if key.len == 32 {
            if exits.iter().any(|(_, f)| f & ENCAP_B != 0) {
                self.broadcast.insert(key.addr);
            } else {
                self.broadcast.remove(&key.addr);
            }
        }
        if exits.is_empty() {
            self.map.remove(key);
            if let Some(t) = self.slab.get_mut(index as usize) {
                *t = Target::NEW;
                self.free.push(index);
            }
        } else {
            self.map.insert(
                key,
                Hit {
                    index,
                    count: exits.len() as u8,
                }
                .pack(),
            );
        }
        if self.is_empty() {
            *self = EncapTable::default();
        }
    }
}

#[cfg(test)]
mod tests;
