//! Addresses and prefixes to values, the longest match deciding.
//!
//! ```text
//!   10.1.0.3 ─► hosts ─ none ─► /24 ─ none ─► /16: value      one hash table a length, and
//!                                                             a bit for each length in use
//! ```
//!
//! Spec: the paper, section 5: netmasks "provide a convenient mechanism for specifying
//! multiple IP addresses that need to be processed in the same manner".
//! Differs: contiguous netmasks only.

use std::hint::black_box;
use std::sync::Arc;

use streams::Errno;

use crate::addr_map::{Counts, Replaced, Segments};
use crate::ordered_map::OrderedMap;

/// An address, or all addresses with the same first `len` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The address, zero behind the prefix.
    pub addr: u32,
    /// Bits of the prefix; 32 for one address.
    pub len: u8,
}

impl Key {
    /// One address.
    pub const fn host(addr: u32) -> Key {
        Key { addr, len: 32 }
    }

    /// An address and a netmask; a zero mask is none. EINVAL for a mask with holes, and
    /// for an address with bits beyond its mask.
    pub fn masked(addr: u32, mask: u32) -> Result<Key, Errno> {
        let mask = if mask == 0 { u32::MAX } else { mask };
        let len = mask.leading_ones();
        if mask != prefix_mask(len as u8) || addr & !mask != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Key {
            addr,
            len: len as u8,
        })
    }

    /// The netmask.
    pub fn mask(&self) -> u32 {
        prefix_mask(self.len)
    }
}

/// The netmask with this many bits.
pub fn prefix_mask(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

/// A map from addresses and prefixes to values as it is looked at.
#[derive(Debug)]
pub struct PrefixView<C = ()> {
    hosts: Arc<Segments<C>>,
    /// By length, 0 to 31; empty until the first prefix.
    prefixes: Vec<Arc<Segments<C>>>,
    /// Bit `n`: there are prefixes of `n` bits.
    lens: u32,
}

impl<C: Counts> PrefixView<C> {
    /// The value of exactly this key, and what is counted with it.
    #[inline]
    pub fn get(&self, key: Key) -> Option<(u32, &C)> {
        match key.len {
            32 => self.hosts.get(key.addr),
            n => self.prefixes.get(n as usize)?.get(key.addr),
        }
    }

    /// The value of the longest match.
    #[inline(always)]
    pub fn lookup(&self, addr: u32) -> Option<(u32, &C)> {
        match self.hosts.get(addr) {
            None if self.lens != 0 => self.lookup_prefix(addr),
            own => own,
        }
    }

    /// Begins to look up an address of its own, without waiting for the memory.
    #[inline(always)]
    pub fn fetch(&self, addr: u32) {
        black_box(self.hosts.get(addr).map(|(value, _)| value));
    }

    #[inline(never)]
    fn lookup_prefix(&self, addr: u32) -> Option<(u32, &C)> {
        self.get(self.prefix_of(addr)?)
    }

    /// The key of the longest match.
    pub fn key_of(&self, addr: u32) -> Option<Key> {
        match self.hosts.get(addr) {
            Some(_) => Some(Key::host(addr)),
            None => self.prefix_of(addr),
        }
    }

    /// The longest prefix of an address that has an entry.
    fn prefix_of(&self, addr: u32) -> Option<Key> {
        longest(self.lens, addr, |key| self.get(key).is_some())
    }
}

/// The longest prefix of an address among those of these lengths that is there.
fn longest(mut lens: u32, addr: u32, has: impl Fn(Key) -> bool) -> Option<Key> {
    while lens != 0 {
        let len = (31 - lens.leading_zeros()) as u8;
        let addr = addr & prefix_mask(len);
        let key = Key { addr, len };
        if has(key) {
            return Some(key);
        }
        lens &= !(1 << len);
    }
    None
}

/// The same for who changes it.
#[derive(Debug)]
pub struct PrefixMap<C = ()> {
    hosts: OrderedMap<C>,
    prefixes: Vec<OrderedMap<C>>,
    lens: u32,
    len: usize,
    /// There are other prefix lengths than were last shown.
    changed: bool,
}

impl<C> Default for PrefixMap<C> {
    fn default() -> Self {
        PrefixMap {
            hosts: OrderedMap::default(),
            prefixes: Vec::new(),
            lens: 0,
            len: 0,
            changed: false,
        }
    }
}

impl<C: Counts> PrefixMap<C> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of exactly this key, and what is counted with it.
    #[inline]
    pub fn get(&self, key: Key) -> Option<(u32, &C)> {
        match key.len {
            32 => self.hosts.get(key.addr),
            n => self.prefixes.get(n as usize)?.get(key.addr),
        }
    }

    /// The key of the longest match.
    pub fn key_of(&self, addr: u32) -> Option<Key> {
        let host = Key::host(addr);
        match self.get(host) {
            Some(_) => Some(host),
            None => longest(self.lens, addr, |key| self.get(key).is_some()),
        }
    }

    /// The value of the longest match, and what is counted with it.
    pub fn lookup(&self, addr: u32) -> Option<(u32, &C)> {
        self.get(self.key_of(addr)?)
    }

    /// Sets the value of a key, returning the former one.
    pub fn insert(&mut self, key: Key, value: u32) -> Option<u32> {
        let old = self.map_mut(key.len).insert(key.addr, value);
        self.len += usize::from(old.is_none());
        if key.len < 32 {
            self.set_lens(self.lens | 1 << key.len);
        }
        old
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: Key) -> Option<u32> {
        let map = self.map_mut(key.len);
        let old = map.remove(key.addr);
        if map.is_empty() && key.len < 32 {
            self.set_lens(self.lens & !(1 << key.len));
        }
        self.len -= usize::from(old.is_some());
        old
    }

    fn set_lens(&mut self, lens: u32) {
        self.changed |= self.lens != lens;
        self.lens = lens;
    }

    /// See [`OrderedMap::tidy`].
    pub fn tidy(&mut self) {
        self.hosts.tidy();
        self.prefixes.iter_mut().for_each(OrderedMap::tidy);
    }

    /// All entries, single addresses first, then the longest prefixes, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Key, u32)> {
        self.iter_from(0)
    }

    /// The same, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (Key, u32)> {
        let lens = (0..32u8).rev().filter(|n| self.lens & 1 << n != 0);
        let maps = std::iter::once((32, &self.hosts))
            .chain(lens.filter_map(|n| self.prefixes.get(n as usize).map(|m| (n, m))));
        let mut left = skip;
        maps.flat_map(move |(len, map)| {
            let here = left.min(map.len());
            left -= here;
            map.iter_from(here)
                .map(move |(addr, v)| (Key { addr, len }, v))
        })
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.hosts.bytes() + self.prefixes.iter().map(OrderedMap::bytes).sum::<usize>()
    }

    /// What is to be looked at from now on.
    pub fn view(&self) -> PrefixView<C> {
        PrefixView {
            hosts: self.hosts.shown(),
            prefixes: self.prefixes.iter().map(OrderedMap::shown).collect(),
            lens: self.lens,
        }
    }

    /// Is there something else to be looked at since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        let mut changed = std::mem::take(&mut self.changed) | self.hosts.take_changed();
        for m in &mut self.prefixes {
            changed |= m.take_changed();
        }
        changed
    }

    /// The segments that were written anew while they were shown, by prefix length.
    pub fn take_replaced(&mut self) -> Vec<(u8, Replaced<C>)> {
        let hosts = self.hosts.take_replaced().into_iter().map(|r| (32, r));
        let prefixes = self.prefixes.iter_mut().zip(0u8..);
        let others =
            prefixes.flat_map(|(m, len)| m.take_replaced().into_iter().map(move |r| (len, r)));
        hosts.chain(others).collect()
    }

    fn map_mut(&mut self, len: u8) -> &mut OrderedMap<C> {
        if len >= 32 {
            return &mut self.hosts;
        }
        if self.prefixes.is_empty() {
            self.prefixes.resize_with(32, OrderedMap::default);
            self.changed = true;
        }
        &mut self.prefixes[len as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_with_holes_and_addresses_beyond_them_are_einval() {
        for (a, m) in [(0x0a00_0000, 0xff00_ff00), (0x0a00_0001, 0xffff_ff00)] {
            assert_eq!(Key::masked(a, m), Err(Errno::EINVAL));
        }
        assert_eq!(Key::masked(7, 0), Ok(Key::host(7)));
    }

    #[test]
    fn the_longest_match_wins_down_to_no_bits_at_all() {
        let mut m: PrefixMap = PrefixMap::default();
        for len in 0..=32u8 {
            m.insert(
                Key {
                    addr: 0x0a01_0203 & prefix_mask(len),
                    len,
                },
                u32::from(len),
            );
        }
        for len in (0..=32u8).rev() {
            for found in [m.lookup(0x0a01_0203), m.view().lookup(0x0a01_0203)] {
                assert_eq!(found.map(|f| f.0), Some(u32::from(len)));
            }
            let key = Key {
                addr: 0x0a01_0203 & prefix_mask(len),
                len,
            };
            assert_eq!(m.key_of(0x0a01_0203), Some(key));
            assert_eq!(
                m.remove(Key {
                    addr: 0x0a01_0203 & prefix_mask(len),
                    len
                }),
                Some(u32::from(len))
            );
        }
        assert!(m.is_empty() && m.lookup(0x0a01_0203).is_none());
    }
}
