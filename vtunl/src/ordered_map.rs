//! A hash table whose keys are also kept in order: found in one access, dumped in pieces.
//!
//! Spec: the paper, section 2 (tables hashed on addresses) and Table 3 (their dumps).

use crate::addr_map::{AddrMap, Counts, Replaced, Segments};
use crate::key_list::KeyList;
use std::sync::Arc;

/// The map, for who changes it; others look at what is [`OrderedMap::shown`].
#[derive(Debug)]
pub struct OrderedMap<C = ()> {
    map: AddrMap<C>,
    keys: KeyList,
}

impl<C> Default for OrderedMap<C> {
    fn default() -> Self {
        OrderedMap {
            map: AddrMap::default(),
            keys: KeyList::default(),
        }
    }
}

impl<C: Counts> OrderedMap<C> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key, and what is counted with it.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<(u32, &C)> {
        self.map.get(key)
    }

    /// Sets the value of a key, returning the former one.
    pub fn insert(&mut self, key: u32, value: u32) -> Option<u32> {
        let old = self.map.insert(key, value);
        if old.is_none() {
            self.keys.insert(key);
        }
        old
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: u32) -> Option<u32> {
        let old = self.map.remove(key);
        if old.is_some() {
            self.keys.remove(key);
        }
        old
    }

    /// Puts the keys in order, so that the entries can be had without delay.
    pub fn tidy(&mut self) {
        self.keys.tidy();
    }

    /// The entries by key, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (u32, u32)> {
        let keys = self.keys.iter_from(skip);
        keys.filter_map(|k| Some((k, self.map.get(k)?.0)))
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.keys.bytes()
    }

    /// What is to be looked at from now on.
    pub fn shown(&self) -> Arc<Segments<C>> {
        self.map.shown()
    }

    /// See [`AddrMap::take_changed`].
    pub fn take_changed(&mut self) -> bool {
        self.map.take_changed()
    }

    /// See [`AddrMap::take_replaced`].
    pub fn take_replaced(&mut self) -> Vec<Replaced<C>> {
        self.map.take_replaced()
    }
}
