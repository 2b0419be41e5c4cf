//! The hash table under all of vtunl's tables: a 32-bit address to a value.
//!
//! ```text
//!   hash(10.1.0.7) ─► segment 2 ─► [ .. | 10.1.0.7 ▸ 12 | 10.9.0.1 ▸ 3 | free | .. ]
//!                                       └─ home            └─ one place on, found by walking
//!
//!   full: one segment more, which takes half of one other     [0][1][2][3] ─► [0][1][2][3][4]
//!         (linear hashing: 0, then 1, ..., each in its turn)   └─────── half of it ──────┘
//! ```
//!
//! Open addressing, walked place by place: a look-up reads one cache line in all but few
//! cases. A removal closes the gap behind it, so that there are no tombstones.
//!
//! The table grows and shrinks by a segment at a time, and a segment by a quarter: no
//! insertion or removal moves more than the entries of one segment, however many there are
//! in all, and a table is never less than half full.
//!
//! Spec: the paper, section 2: tables "hashed on their 32-bit address fields".
//! Differs: colliding entries stand side by side instead of hanging in chains.

/// Entries in a segment, on average, once there are several.
const SEGMENT: usize = 2048;
/// Places of the smallest segment.
const SMALLEST: usize = 16;

/// What a table holds. One value stands for "none": the place is free.
pub trait Value: Clone {
    /// No value.
    const FREE: Self;
    /// Is it that one?
    fn is_free(&self) -> bool;
}

impl Value for u32 {
    const FREE: u32 = u32::MAX;
    #[inline(always)]
    fn is_free(&self) -> bool {
        *self == u32::MAX
    }
}

#[derive(Clone, Debug)]
struct Place<V> {
    key: u32,
    value: V,
}

impl<V: Value> Place<V> {
    const EMPTY: Place<V> = Place {
        key: 0,
        value: V::FREE,
    };
}

/// Some of the entries, in a table of their own.
#[derive(Clone, Debug)]
struct Segment<V> {
    places: Box<[Place<V>]>,
    used: usize,
}

impl<V> Default for Segment<V> {
    fn default() -> Self {
        Segment {
            places: Box::default(),
            used: 0,
        }
    }
}

/// A map from addresses to values.
#[derive(Clone, Debug)]
pub struct AddrMap<V = u32> {
    segments: Vec<Segment<V>>,
    /// All ones, and as many as number the segments.
    mask: u32,
    len: usize,
}

impl<V> Default for AddrMap<V> {
    fn default() -> Self {
        AddrMap {
            segments: Vec::new(),
            mask: 0,
            len: 0,
        }
    }
}

/// All bits of the key in all bits of the answer: neighbouring addresses and equal host
/// parts of many nets both spread.
#[inline(always)]
fn hash(key: u32) -> u64 {
    let wide = u128::from(u64::from(key) ^ 0x2d35_8dcc_aa6c_78a5) * 0x9e37_79b9_7f4a_7c15;
    wide as u64 ^ (wide >> 64) as u64
}

/// Where the walk for a hash begins among so many places: the hash's upper half, scaled.
#[inline(always)]
fn home(hash: u64, places: usize) -> usize {
    (((hash >> 32) * places as u64) >> 32) as usize
}

/// The segment of a hash among `n`, the hash's lower half deciding: one that is not there
/// yet is still in that which it will be split from.
#[inline(always)]
fn segment_of(hash: u64, mask: u32, n: usize) -> usize {
    let at = hash as u32 & mask;
    if (at as usize) < n {
        at as usize
    } else {
        (at & mask >> 1) as usize
    }
}

impl<V: Value> Segment<V> {
    #[inline(always)]
    fn find(&self, key: u32, hash: u64) -> Option<usize> {
        let places = &*self.places;
        let mut at = home(hash, places.len());
        loop {
            let p = places.get(at)?;
            if p.value.is_free() {
                return None;
            }
            if p.key == key {
                return Some(at);
            }
            at += 1;
            if at == places.len() {
                at = 0;
            }
        }
    }

    fn put(&mut self, key: u32, hash: u64, value: V) -> Option<V> {
        if let Some(at) = self.find(key, hash) {
            return Some(std::mem::replace(&mut self.places[at].value, value));
        }
        // Two thirds full: a quarter more.
        if (self.used + 1) * 3 > self.places.len() * 2 {
            self.resize((self.places.len() * 5 / 4).max(SMALLEST));
        }
        self.place(key, hash, value);
        None
    }

    /// Puts down a key that is not there, where there is room.
    fn place(&mut self, key: u32, hash: u64, value: V) {
        let mut at = home(hash, self.places.len());
        while !self.places[at].value.is_free() {
            at = self.after(at);
        }
        self.places[at] = Place { key, value };
        self.used += 1;
    }

    fn take(&mut self, key: u32, hash: u64) -> Option<V> {
        let mut gap = self.find(key, hash)?;
        let places = self.places.len();
        let old = std::mem::replace(&mut self.places[gap], Place::EMPTY).value;
        // Close the gap: whoever walked over it on the way from home moves into it.
        let walked = |from: usize, to: usize| {
            if to >= from {
                to - from
            } else {
                to + places - from
            }
        };
        let mut at = gap;
        loop {
            at = self.after(at);
            let p = &self.places[at];
            if p.value.is_free() {
                break;
            }
            let from = home(self::hash(p.key), places);
            if walked(from, at) >= walked(gap, at) {
                self.places.swap(gap, at);
                gap = at;
            }
        }
        self.used -= 1;
        // A segment that shrank to a quarter gives its memory back.
        if places > SMALLEST && self.used * 4 < places {
            self.resize((self.used * 2).max(SMALLEST));
        }
        Some(old)
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places.len() {
            0
        } else {
            at + 1
        }
    }

    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(
            &mut self.places,
            vec![Place::EMPTY; places].into_boxed_slice(),
        );
        self.used = 0;
        for p in old.into_iter().filter(|p| !p.value.is_free()) {
            self.place(p.key, hash(p.key), p.value);
        }
    }

    /// A segment with room for so many entries and a few more.
    fn with_room(entries: usize) -> Segment<V> {
        Segment {
            places: vec![Place::EMPTY; (entries * 16 / 9).max(SMALLEST)].into_boxed_slice(),
            used: 0,
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Place<V>> {
        self.places.iter().filter(|p| !p.value.is_free())
    }
}

impl<V: Value> AddrMap<V> {
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
        let segments = self.segments.iter().map(|s| size_of_val(&*s.places));
        segments.sum::<usize>() + self.segments.capacity() * size_of::<Segment<V>>()
    }

    /// The value of a key.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<&V> {
        let h = hash(key);
        let s = self
            .segments
            .get(segment_of(h, self.mask, self.segments.len()))?;
        Some(&s.places[s.find(key, h)?].value)
    }

    /// Sets the value of a key, returning the former one.
    pub fn insert(&mut self, key: u32, value: V) -> Option<V> {
        debug_assert!(!value.is_free(), "this value marks a free place");
        if self.len >= self.segments.len() * SEGMENT {
            self.split();
        }
        let h = hash(key);
        let at = segment_of(h, self.mask, self.segments.len());
        let old = self.segments[at].put(key, h, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: u32) -> Option<V> {
        let h = hash(key);
        let n = self.segments.len();
        let old = self
            .segments
            .get_mut(segment_of(h, self.mask, n))?
            .take(key, h)?;
        self.len -= 1;
        if n > 1 && self.len * 4 < n * SEGMENT {
            self.join();
        } else if self.len == 0 {
            *self = AddrMap::default();
        }
        Some(old)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &V)> {
        let all = self.segments.iter().flat_map(Segment::entries);
        all.map(|p| (p.key, &p.value))
    }

    /// One segment more: half of the one whose turn it is.
    fn split(&mut self) {
        let n = self.segments.len();
        self.mask = mask_of(n);
        let from = segment_of(n as u64, self.mask, n);
        let Some(old) = self.segments.get_mut(from) else {
            self.segments.push(Segment::default());
            return;
        };
        let old = std::mem::take(old);
        let half = old.used / 2 + old.used / 16;
        let mut both = [Segment::with_room(half), Segment::with_room(half)];
        for p in old.places.into_iter().filter(|p| !p.value.is_free()) {
            let h = hash(p.key);
            let new = h as u32 & self.mask == n as u32;
            let to = &mut both[usize::from(new)];
            if (to.used + 1) * 3 > to.places.len() * 2 {
                to.resize(to.places.len() * 5 / 4); // the halves were not even
            }
            to.place(p.key, h, p.value);
        }
        let [stays, goes] = both;
        self.segments[from] = stays;
        self.segments.push(goes);
    }

    /// One segment less: what was split last goes back.
    fn join(&mut self) {
        let Some(gone) = self.segments.pop() else {
            return;
        };
        let n = self.segments.len();
        self.mask = mask_of(n - 1);
        let to = segment_of(n as u64, mask_of(n), n);
        for p in gone.places.into_iter().filter(|p| !p.value.is_free()) {
            self.segments[to].put(p.key, hash(p.key), p.value);
        }
    }
}

/// All ones, enough to number what is numbered up to `last`.
fn mask_of(last: usize) -> u32 {
    u32::MAX
        .checked_shr((last as u32).leading_zeros())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_empty_table_has_nothing_and_takes_no_memory() {
        let m: AddrMap = AddrMap::default();
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
        assert!(m.segments.len() == 100_000usize.div_ceil(SEGMENT));
        assert!(m.bytes() < 100_000 * 16, "half full at least");
        for k in 0..100_000 {
            assert_eq!(m.remove(k << 8), Some(k));
        }
        assert!(m.is_empty() && m.bytes() == 0);
    }

    /// What an insertion or removal moves is bounded by a segment: no segment is ever much
    /// larger than the others (the paper, section 2: the tables are on every datagram's way).
    #[test]
    fn no_segment_grows_beyond_its_share() {
        for step in [1u32, 256, 0x0001_0001] {
            let mut m = AddrMap::default();
            for k in 0..20_000u32 {
                m.insert(k.wrapping_mul(step), k);
                let most = m.segments.last().map_or(0, |s| s.used);
                assert!(most < SEGMENT * 3, "{most} of {} at step {step}", m.len());
            }
            let most = m.segments.iter().map(|s| s.used).max().unwrap_or(0);
            assert!(most < SEGMENT * 3, "{most} at step {step}");
        }
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
                    _ => prop_assert_eq!(m.get(k), model.get(&k)),
                }
                prop_assert_eq!(m.len(), model.len());
            }
            let mut all: Vec<_> = m.iter().map(|(k, v)| (k, *v)).collect();
            let mut want: Vec<_> = model.into_iter().collect();
            all.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(all, want);
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// The same through growth and decline by many segments: blocks of addresses come
        /// and go, each checked as it does.
        #[test]
        fn it_is_a_map_while_segments_split_and_join(
            ops in prop::collection::vec((any::<bool>(), 0u32..24, 1u32..4), 1..24),
        ) {
            let mut m = AddrMap::default();
            let mut model = HashMap::new();
            for (add, block, step) in ops {
                for i in 0..900u32 {
                    let k = (block << 20).wrapping_add(i.wrapping_mul(step * 77));
                    if add {
                        prop_assert_eq!(m.insert(k, i), model.insert(k, i));
                    } else {
                        prop_assert_eq!(m.remove(k), model.remove(&k));
                    }
                }
                prop_assert_eq!(m.len(), model.len());
                prop_assert!(model.iter().all(|(k, v)| m.get(*k) == Some(v)));
                prop_assert_eq!(m.iter().count(), model.len());
            }
        }
    }
}
