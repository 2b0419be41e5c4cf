//! A hash table whose keys are also kept in order: found in one access, dumped in pieces.
//!
//! Spec: the paper, section 2 (tables hashed on addresses) and Table 3 (their dumps).

use crate::addr_map::{AddrMap, Value};
use crate::bury::bury;
use crate::key_list::KeyList;

/// The map.
#[derive(Clone, Debug)]
pub struct OrderedMap<V = u32> {
    map: AddrMap<V>,
    keys: KeyList,
}

impl<V> Default for OrderedMap<V> {
    fn default() -> Self {
        OrderedMap {
            map: AddrMap::default(),
            keys: KeyList::default(),
        }
    }
}

impl<V: Value> OrderedMap<V> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<&V> {
        self.map.get(key)
    }

    /// Sets the value of a key, returning the former one.
    pub fn insert(&mut self, key: u32, value: V) -> Option<V> {
        let old = self.map.insert(key, value);
        if old.is_none() {
            self.keys.insert(key);
        }
        old
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: u32) -> Option<V> {
        let old = self.map.remove(key);
        if old.is_some() {
            self.keys.remove(key);
        }
        old
    }

    /// The entries by key, the first `skip` left out.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = (u32, &V)> {
        let keys = self.keys.iter_from(skip);
        keys.filter_map(|k| Some((k, self.map.get(k)?)))
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.map.bytes() + self.keys.bytes()
    }
}

impl<V: Value + Send + 'static> OrderedMap<V> {
    /// Empties the table; its memory is given back by and by.
    pub fn clear(&mut self) {
        let entries = self.len();
        bury(std::mem::take(self), entries);
    }
}
