//! The hash table under all of vtunl's tables: a 32-bit address to a 32-bit value.
//!
//! ```text
//!   hash(10.1.0.7) ─► [ .. | 10.1.0.7 ▸ 12 | 10.9.0.1 ▸ 3 | free | .. ]
//!                            └─ home            └─ one place on, found by walking
//! ```
//!
//! Open addressing, eight bytes a place, walked place by place: a look-up reads one cache
//! line in all but few cases. A removal closes the gap behind it, so that there are no
//! tombstones and a table that was large and empties again stays fast.
//!
//! Spec: the paper, section 2: tables "hashed on their 32-bit address fields".
//! Differs: colliding entries stand side by side instead of hanging in chains.

/// No value: the place is free.
const FREE: u32 = u32::MAX;
/// Places of the smallest table.
const SMALLEST: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Place {
    key: u32,
    value: u32,
}

const EMPTY: Place = Place {
    key: 0,
    value: FREE,
};

/// A map from addresses to values below `u32::MAX`.
#[derive(Clone, Debug, Default)]
pub struct AddrMap {
    places: Box<[Place]>,
    len: usize,
    shift: u32,
}

impl AddrMap {
    /// Entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the places take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.places)
    }

    /// Where the walk for a key begins. Fibonacci hashing after folding the high half
    /// down: neighbouring addresses and equal host parts of many nets both spread.
    #[inline(always)]
    fn home(&self, key: u32) -> usize {
        let k = u64::from(key ^ (key >> 15)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (k >> self.shift) as usize
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<u32> {
        let places = &*self.places;
        let mask = places.len().wrapping_sub(1);
        if places.is_empty() {
            return None;
        }
        let mut at = self.home(key) & mask;
        loop {
            let p = places[at];
            if p.value == FREE {
                return None;
            }
            if p.key == key {
                return Some(p.value);
            }
            at = (at + 1) & mask;
        }
    }

    /// Sets the value of a key, returning the former one.
    pub fn insert(&mut self, key: u32, value: u32) -> Option<u32> {
        debug_assert!(value != FREE, "u32::MAX marks a free place");
        if (self.len + 1) * 8 > self.places.len() * 5 {
            self.resize((self.places.len() * 2).max(SMALLEST));
        }
        let mask = self.places.len() - 1;
        let mut at = self.home(key) & mask;
        loop {
            let p = &mut self.places[at];
            if p.value == FREE {
                *p = Place { key, value };
                self.len += 1;
                return None;
            }
            if p.key == key {
                return Some(std::mem::replace(&mut p.value, value));
            }
            at = (at + 1) & mask;
        }
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: u32) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut gap = self.home(key) & mask;
        let old = loop {
            let p = self.places[gap];
            if p.value == FREE {
                return None;
            }
            if p.key == key {
                break p.value;
            }
            gap = (gap + 1) & mask;
        };
        // Close the gap: whoever walked over it on the way from home moves into it.
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let p = self.places[at];
            if p.value == FREE {
                break;
            }
            let walked = at.wrapping_sub(self.home(p.key)) & mask;
            if walked >= at.wrapping_sub(gap) & mask {
                self.places[gap] = p;
                gap = at;
            }
        }
        self.places[gap] = EMPTY;
        self.len -= 1;
        // A table that shrank to an eighth gives its memory back.
        if self.places.len() > SMALLEST && self.len * 8 < self.places.len() {
            self.resize((self.places.len() / 4).max(SMALLEST));
        }
        Some(old)
    }

    /// Empties the table and gives its memory back.
    pub fn clear(&mut self) {
        *self = AddrMap::default();
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.places
            .iter()
            .filter(|p| p.value != FREE)
            .map(|p| (p.key, p.value))
    }

    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(&mut self.places, vec![EMPTY; places].into_boxed_slice());
        self.shift = 64 - places.trailing_zeros();
        let mask = places - 1;
        for p in old.iter().filter(|p| p.value != FREE) {
            let mut at = self.home(p.key) & mask;
            while self.places[at].value != FREE {
                at = (at + 1) & mask;
            }
            self.places[at] = *p;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_empty_table_has_nothing_and_takes_no_memory() {
        let m = AddrMap::default();
        assert_eq!(
            (m.get(0), m.get(u32::MAX), m.len(), m.bytes()),
            (None, None, 0, 0)
        );
    }

    #[test]
    fn a_table_that_empties_gives_its_memory_back() {
        let mut m = AddrMap::default();
        for k in 0..100_000 {
            assert_eq!(m.insert(k << 8, k), None);
        }
        for k in 0..100_000 {
            assert_eq!(m.remove(k << 8), Some(k));
        }
        assert!(m.is_empty() && m.bytes() <= SMALLEST * 8);
    }

    proptest! {
        /// The paper, section 2: the hash tables behave as a map from address to entry,
        /// whatever collides.
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0u8..3, 0u32..40, 0u32..9), 0..400)) {
            let mut m = AddrMap::default();
            let mut model = HashMap::new();
            for (op, k, v) in ops {
                // Few keys, far apart or next to each other: collisions and gaps abound.
                let k = if k % 2 == 0 { k } else { k << 24 };
                match op {
                    0 => prop_assert_eq!(m.insert(k, v), model.insert(k, v)),
                    1 => prop_assert_eq!(m.remove(k), model.remove(&k)),
                    _ => prop_assert_eq!(m.get(k), model.get(&k).copied()),
                }
                prop_assert_eq!(m.len(), model.len());
            }
            let mut all: Vec<_> = m.iter().collect();
            let mut want: Vec<_> = model.into_iter().collect();
            all.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(all, want);
        }
    }
}
