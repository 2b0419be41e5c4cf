//! `decap_table`: whose datagrams are decapsulated.
//!
//! ```text
//!   inner source ──────► entry with DECAP_IF_SRC? ─┐
//!   inner destination ─► entry with DECAP_IF_DST? ─┴─► one yes is enough; or decapall
//! ```
//!
//! Spec: the paper, section 2 (selective decapsulation) and Table 3 (DECAP_*).
//! Kept: target 0 turns decapsulation of all datagrams on and off.
//! Kept: at the start nothing is decapsulated (the decisions; an open decapsulator is
//! CVE-2020-10136).
//! Beyond: prefixes (the longest match decides), and a list of outer sources from which
//! datagrams are taken (RFC 2003 section 6.2); an empty list takes all.

use streams::Errno;

use crate::addr_map::Replaced;
use crate::ahead::FAR;
use crate::prefix_map::{Key, PrefixMap, PrefixView};

/// Decapsulate if the address is the inner source.
pub const DECAP_IF_SRC: u16 = 1;
/// Decapsulate if the address is the inner destination.
pub const DECAP_IF_DST: u16 = 2;
/// Decapsulate in either case.
pub const DECAP_IF_EITHER: u16 = 3;

/// The table as it is looked at.
#[derive(Debug)]
pub struct DecapView {
    /// The paper's `vtunldecapall`: all datagrams are decapsulated.
    pub all: bool,
    targets: PrefixView,
    sources: PrefixView,
    /// There are `sources`.
    restricted: bool,
    far: bool,
}

impl DecapView {
    /// Is an inner datagram with these addresses to be decapsulated?
    #[inline(always)]
    pub fn serves(&self, src: u32, dst: u32) -> bool {
        let has = |addr, flag: u16| {
            self.targets
                .lookup(addr)
                .is_some_and(|(flags, ())| flags & u32::from(flag) != 0)
        };
        self.all || has(dst, DECAP_IF_DST) || has(src, DECAP_IF_SRC)
    }

    /// Are there so many targets that their memory is far away, and is each looked up?
    #[inline(always)]
    pub fn is_far(&self) -> bool {
        self.far
    }

    /// Begins to look up both addresses, without waiting for the memory.
    #[inline(always)]
    pub fn fetch(&self, src: u32, dst: u32) {
        self.targets.fetch(dst);
        self.targets.fetch(src);
    }

    /// Is there a list of outer sources?
    #[inline]
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Are datagrams from this outer source taken?
    #[inline]
    pub fn takes_from(&self, outer_src: u32) -> bool {
        !self.restricted || self.sources.lookup(outer_src).is_some()
    }
}

/// The table, for who changes it.
#[derive(Debug, Default)]
pub struct DecapTable {
    all: bool,
    targets: PrefixMap,
    sources: PrefixMap,
    changed: bool,
}

impl DecapTable {
    /// Targets.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// No targets.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The paper's `vtunldecapall`: are all datagrams decapsulated?
    pub fn all(&self) -> bool {
        self.all
    }

    /// Decapsulates all datagrams, or only those with an entry.
    pub fn set_all(&mut self, all: bool) {
        self.changed |= self.all != all;
        self.all = all;
    }

    /// DECAP_ADD: serves an address, or changes its flags.
    ///
    /// # Errors
    /// EINVAL for flags that are none of the three.
    pub fn add(&mut self, key: Key, flags: u16) -> Result<(), Errno> {
        if flags == 0 || flags & !DECAP_IF_EITHER != 0 {
            return Err(Errno::EINVAL);
        }
        self.targets.insert(key, u32::from(flags));
        Ok(())
    }

    /// DECAP_REM.
    ///
    /// # Errors
    /// ENXIO if the address has no entry.
    pub fn remove(&mut self, key: Key) -> Result<(), Errno> {
        self.targets.remove(key).map(|_| ()).ok_or(Errno::ENXIO)
    }

    /// DECAP_OK: the flags with which an address is served; all of them if all are.
    pub fn flags(&self, addr: u32) -> Option<u16> {
        match self.targets.lookup(addr) {
            Some((flags, ())) => Some(flags as u16),
            None => self.all.then_some(DECAP_IF_EITHER),
        }
    }

    /// See [`crate::ordered_map::OrderedMap::tidy`].
    pub fn tidy(&mut self) {
        self.targets.tidy();
        self.sources.tidy();
    }

    /// All targets with their flags.
    pub fn iter(&self) -> impl Iterator<Item = (Key, u16)> {
        self.iter_from(0)
    }

    /// The same, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (Key, u16)> {
        self.targets.iter_from(skip).map(|(k, f)| (k, f as u16))
    }

    /// Takes datagrams from this outer source, and from now on only from those listed.
    pub fn add_source(&mut self, key: Key) {
        self.changed |= self.sources.is_empty();
        self.sources.insert(key, 0);
    }

    /// Takes no more datagrams from this outer source.
    ///
    /// # Errors
    /// ENXIO if it is not listed.
    pub fn remove_source(&mut self, key: Key) -> Result<(), Errno> {
        if self.sources.len() == 1 && self.sources.get(key).is_some() {
            // All are taken again, at once: the list is not seen empty before.
            self.sources = PrefixMap::default();
            self.changed = true;
            return Ok(());
        }
        self.sources.remove(key).map(|_| ()).ok_or(Errno::ENXIO)
    }

    /// How many outer sources are listed.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// The outer sources from which datagrams are taken; none listed: all.
    pub fn sources(&self) -> impl Iterator<Item = Key> {
        self.sources.iter().map(|(k, _)| k)
    }

    /// What is to be looked at from now on.
    pub fn view(&self) -> DecapView {
        DecapView {
            all: self.all,
            targets: self.targets.view(),
            sources: self.sources.view(),
            restricted: !self.sources.is_empty(),
            far: !self.all && self.targets.len() >= FAR,
        }
    }

    /// Is there something else to be looked at since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
            | self.targets.take_changed()
            | self.sources.take_changed()
    }

    /// The segments that were written anew while they were shown.
    pub fn take_replaced(&mut self) -> Vec<(u8, Replaced<()>)> {
        let mut all = self.targets.take_replaced();
        all.extend(self.sources.take_replaced());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u32 = 0x0a00_0001;
    const B: u32 = 0x0a00_0002;
    const C: u32 = 0x0a00_0003;

    #[test]
    fn nothing_is_decapsulated_until_somebody_says_so() {
        // The decisions, "decapsulation at boot".
        let t = DecapTable::default();
        assert!(!t.view().serves(A, B));
        assert_eq!(t.flags(A), None);
    }

    #[test]
    fn the_flags_say_where_the_address_has_to_stand() {
        // The paper, Table 3, VTUNL_DECAP_ADD: (flags, as source, as destination)
        let rows = [
            (DECAP_IF_SRC, true, false),
            (DECAP_IF_DST, false, true),
            (DECAP_IF_EITHER, true, true),
        ];
        for (flags, src, dst) in rows {
            let mut t = DecapTable::default();
            t.add(Key::host(A), flags).unwrap();
            assert_eq!(
                (
                    t.view().serves(A, B),
                    t.view().serves(B, A),
                    t.view().serves(B, C)
                ),
                (src, dst, false)
            );
        }
        let mut t = DecapTable::default();
        for bad in [0, 4, 7, 0x8001] {
            assert_eq!(t.add(Key::host(A), bad), Err(Errno::EINVAL));
        }
        assert!(t.is_empty());
    }

    #[test]
    fn decapall_serves_everybody_and_leaves_the_table_alone() {
        let mut t = DecapTable::default();
        t.add(Key::host(A), DECAP_IF_DST).unwrap();
        t.set_all(true);
        assert!(t.view().serves(B, C));
        t.set_all(false);
        assert!(!t.view().serves(B, C) && t.view().serves(B, A));
    }

    #[test]
    fn multicast_and_broadcast_destinations_match_like_any_other() {
        // The decisions, "decap table and multicast or broadcast inner destinations".
        let mut t = DecapTable::default();
        t.add(Key::host(0xe000_0109), DECAP_IF_DST).unwrap();
        t.add(Key::host(u32::MAX), DECAP_IF_EITHER).unwrap();
        assert!(
            t.view().serves(A, 0xe000_0109)
                && t.view().serves(A, u32::MAX)
                && !t.view().serves(A, 0xe000_0001)
        );
    }

    #[test]
    fn the_longest_prefix_decides() {
        let mut t = DecapTable::default();
        t.add(Key::masked(0x0a00_0000, 0xff00_0000).unwrap(), DECAP_IF_DST)
            .unwrap();
        t.add(Key::host(A), DECAP_IF_SRC).unwrap();
        assert!(t.view().serves(C, B) && !t.view().serves(C, A) && t.view().serves(A, 0x0b00_0001));
        t.remove(Key::host(A)).unwrap();
        assert!(t.view().serves(0x0b00_0001, A));
        assert_eq!(t.remove(Key::host(A)), Err(Errno::ENXIO));
    }

    #[test]
    fn outer_sources_are_restricted_only_if_some_are_listed() {
        // RFC 2003 section 6.2: accept from trusted sources.
        let mut t = DecapTable::default();
        assert!(t.view().takes_from(A));
        t.add_source(Key::host(B));
        assert!(!t.view().takes_from(A) && t.view().takes_from(B));
        t.remove_source(Key::host(B)).unwrap();
        assert!(t.view().takes_from(A));
    }
}
