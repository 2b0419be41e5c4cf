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
//! One changes it while others look things up, and nobody waits. What is looked at, the
//! [`Segments`], is shared: a place is one word that changes at once, from free to taken, to
//! another value, to gone. What has to move (a segment that grows, shrinks, splits or is full
//! of what is gone) is written anew, and who looks has the old segment until he is given the
//! new ones (`view.rs`).
//!
//! Open addressing, walked place by place: a look-up reads one cache line in all but few
//! cases. A place that is gone stays so until its segment is written anew, or the same key
//! comes back: nobody ever finds another's counts under his hands.
//!
//! The table grows and shrinks by a segment at a time, and a segment by a quarter: no
//! insertion or removal moves more than the entries of one segment, however many there are
//! in all, and a table is never less than half full.
//!
//! Spec: the paper, section 2: tables "hashed on their 32-bit address fields".
//! Differs: colliding entries stand side by side instead of hanging in chains.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

/// Entries in a segment, on average, once there are several.
const SEGMENT: usize = 2048;
/// Places of the smallest segment.
const SMALLEST: usize = 16;

/// A value that no entry can have: nothing was ever here, and a walk ends.
const NEVER: u32 = u32::MAX;
/// The value of what was taken out: a walk goes on.
const GONE: u32 = u32::MAX - 1;
/// Values are below this.
pub const LIMIT: u32 = GONE;
/// The word of a place that was never used.
const FREE: u64 = u64::MAX;

/// What stands beside a value and is counted up by whoever looks things up.
pub trait Counts: Default + Send + Sync + 'static {
    /// The same counts, for a place to which the entry moves.
    fn copied(&self) -> Self;
    /// Begins anew.
    fn reset(&self);
}

impl Counts for () {
    fn copied(&self) {}
    fn reset(&self) {}
}

/// An entry, or room for one.
#[derive(Debug)]
pub struct Place<C> {
    /// Key and value.
    word: AtomicU64,
    /// What is counted with it.
    pub counts: C,
}

impl<C: Counts> Place<C> {
    fn empty() -> Place<C> {
        Place {
            word: AtomicU64::new(FREE),
            counts: C::default(),
        }
    }

    #[inline(always)]
    fn load(&self) -> (u32, u32) {
        let w = self.word.load(Acquire);
        ((w >> 32) as u32, w as u32)
    }

    fn store(&self, key: u32, value: u32) {
        let w = u64::from(key) << 32 | u64::from(value);
        self.word.store(w, Release);
    }

    /// Key and value, if there is an entry.
    fn entry(&self) -> Option<(u32, u32)> {
        Some(self.load()).filter(|(_, value)| *value < LIMIT)
    }
}

/// Some of the entries, in a table of their own.
pub type Segment<C> = Arc<[Place<C>]>;

/// The table as it is looked at.
#[derive(Debug)]
pub struct Segments<C = ()> {
    segments: Vec<Segment<C>>,
    /// All ones, and as many as number the segments.
    mask: u32,
}

impl<C> Default for Segments<C> {
    fn default() -> Self {
        Segments {
            segments: Vec::new(),
            mask: 0,
        }
    }
}

impl<C> Clone for Segments<C> {
    fn clone(&self) -> Self {
        Segments {
            segments: self.segments.clone(),
            mask: self.mask,
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

/// The place after this one; after the last one the first.
#[inline(always)]
fn after(at: usize, places: usize) -> usize {
    if at + 1 == places { 0 } else { at + 1 }
}

/// The place of a key in a segment, and its value.
#[inline(always)]
fn find<C: Counts>(places: &[Place<C>], key: u32, hash: u64) -> Option<(usize, u32)> {
    let mut at = home(hash, places.len());
    loop {
        let (k, value) = places.get(at)?.load();
        if k == key && value < LIMIT {
            return Some((at, value));
        }
        if value == NEVER {
            return None;
        }
        at = after(at, places.len());
    }
}

impl<C: Counts> Segments<C> {
    /// The value of a key, and what is counted with it.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<(u32, &C)> {
        let h = hash(key);
        let n = self.segments.len();
        let places = self.segments.get(segment_of(h, self.mask, n))?;
        let (at, value) = find(places, key, h)?;
        Some((value, &places[at].counts))
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        let all = self.segments.iter().flat_map(|s| s.iter());
        all.filter_map(Place::entry)
    }

    /// Bytes that the places take.
    pub fn bytes(&self) -> usize {
        let segments = self.segments.iter().map(|s| size_of_val(&**s));
        segments.sum::<usize>() + self.segments.capacity() * size_of::<Segment<C>>()
    }
}

/// A segment that was written anew, perhaps while others still count in it.
#[derive(Debug)]
pub struct Replaced<C> {
    old: Segment<C>,
    /// What its places had counted when they were copied.
    copied: Box<[C]>,
}

impl<C: Counts> Replaced<C> {
    fn new(old: &Segment<C>) -> Replaced<C> {
        Replaced {
            old: old.clone(),
            copied: old.iter().map(|p| p.counts.copied()).collect(),
        }
    }

    /// The entries, each with what it had counted when it was copied.
    fn entries(&self) -> impl Iterator<Item = (u32, u32, &C)> {
        let both = self.old.iter().zip(&self.copied);
        both.filter_map(|(p, copied)| p.entry().map(|(key, value)| (key, value, copied)))
    }

    /// For a key: what it has counted here, now and when it was copied.
    pub fn counted(&self, key: u32) -> Option<(&C, &C)> {
        let (at, _) = find(&self.old, key, hash(key))?;
        Some((&self.old[at].counts, &self.copied[at]))
    }

    /// The same for all that were here.
    pub fn all(&self) -> impl Iterator<Item = (u32, &C, &C)> {
        let both = self.old.iter().zip(&self.copied);
        both.filter_map(|(p, copied)| Some((p.entry()?.0, &p.counts, copied)))
    }
}

/// How full a segment is.
#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    /// Entries.
    live: usize,
    /// Places that are not free: entries, and what is gone.
    used: usize,
}

/// A map from addresses to values, for who changes it.
#[derive(Debug)]
pub struct AddrMap<C = ()> {
    shown: Arc<Segments<C>>,
    fill: Vec<Fill>,
    len: usize,
    /// The segments are others than when they were last shown.
    changed: bool,
    replaced: Vec<Replaced<C>>,
}

impl<C> Default for AddrMap<C> {
    fn default() -> Self {
        AddrMap {
            shown: Arc::default(),
            fill: Vec::new(),
            len: 0,
            changed: false,
            replaced: Vec::new(),
        }
    }
}

/// Empty places, so many.
fn empty<C: Counts>(places: usize) -> Vec<Place<C>> {
    std::iter::repeat_with(Place::empty).take(places).collect()
}

/// Puts down an entry that is not there yet, where there is room.
fn put_down<C: Counts>(places: &mut [Place<C>], key: u32, value: u32, counts: C) {
    let mut at = home(hash(key), places.len());
    while places[at].load().1 != NEVER {
        at = after(at, places.len());
    }
    places[at].counts = counts;
    places[at].store(key, value);
}

/// Places for so many entries and a few more.
fn room_for(entries: usize) -> usize {
    (entries * 15 / 8).max(SMALLEST)
}

impl<C: Counts> AddrMap<C> {
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
        self.shown.bytes() + self.fill.capacity() * size_of::<Fill>()
    }

    /// What is to be looked at from now on.
    pub fn shown(&self) -> Arc<Segments<C>> {
        self.shown.clone()
    }

    /// Are there other segments to be shown since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The segments that were written anew while they were shown.
    pub fn take_replaced(&mut self) -> Vec<Replaced<C>> {
        std::mem::take(&mut self.replaced)
    }

    /// The value of a key, and what is counted with it.
    #[inline(always)]
    pub fn get(&self, key: u32) -> Option<(u32, &C)> {
        self.shown.get(key)
    }

    fn segment(&self, hash: u64) -> usize {
        segment_of(hash, self.shown.mask, self.shown.segments.len())
    }

    /// Sets the value of a key, returning the former one. A new key has counted nothing.
    pub fn insert(&mut self, key: u32, value: u32) -> Option<u32> {
        debug_assert!(value < LIMIT, "this value marks a place without entry");
        if self.len >= self.shown.segments.len() * SEGMENT {
            self.split();
        }
        let h = hash(key);
        let s = self.segment(h);
        // Two thirds full: written anew, with a quarter more room for what is not gone.
        let Fill { live, used } = self.fill[s];
        if (used + 1) * 3 > self.shown.segments[s].len() * 2 {
            self.rewrite(s, room_for(live + 1));
        }
        let places = &self.shown.segments[s];
        let mut at = home(h, places.len());
        loop {
            let place = &places[at];
            match place.load() {
                (k, old) if k == key && old < LIMIT => {
                    place.store(key, value);
                    return Some(old);
                }
                (k, state) if state == NEVER || (k == key && state == GONE) => {
                    place.counts.reset();
                    place.store(key, value);
                    self.fill[s].live += 1;
                    self.fill[s].used += usize::from(state == NEVER);
                    self.len += 1;
                    return None;
                }
                _ => at = after(at, places.len()),
            }
        }
    }

    /// Takes a key out, returning its value.
    pub fn remove(&mut self, key: u32) -> Option<u32> {
        let h = hash(key);
        let s = self.segment(h);
        let places = self.shown.segments.get(s)?;
        let (at, old) = find(places, key, h)?;
        let n = places.len();
        places[at].store(key, GONE);
        self.fill[s].live -= 1;
        self.len -= 1;
        let live = self.fill[s].live;
        let segments = self.fill.len();
        if self.len == 0 {
            self.replace(Segments::default(), Vec::new());
        } else if segments > 1 && self.len * 4 < segments * SEGMENT {
            self.join();
        } else if n > SMALLEST && live * 4 < n {
            // A segment that shrank to a quarter gives its memory back.
            self.rewrite(s, room_for(live));
        }
        Some(old)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.shown.iter()
    }

    /// The entries of a segment are elsewhere from now on. If nobody else has it, nobody
    /// counts in it.
    fn retire(&mut self, old: Replaced<C>) {
        if Arc::strong_count(&old.old) > 1 {
            self.replaced.push(old);
        }
    }

    /// Other segments, for a table without entries.
    fn replace(&mut self, segments: Segments<C>, fill: Vec<Fill>) {
        self.shown = Arc::new(segments);
        self.fill = fill;
        self.changed = true;
    }

    /// Another segment in the place of one.
    fn put_segment(&mut self, s: usize, places: Vec<Place<C>>, live: usize, old: Replaced<C>) {
        Arc::make_mut(&mut self.shown).segments[s] = places.into();
        self.fill[s] = Fill { live, used: live };
        self.changed = true;
        self.retire(old);
    }

    /// Writes a segment anew, with so many places and without what is gone.
    fn rewrite(&mut self, s: usize, places: usize) {
        let old = Replaced::new(&self.shown.segments[s]);
        let mut new = empty(places);
        for (key, value, counts) in old.entries() {
            put_down(&mut new, key, value, counts.copied());
        }
        self.put_segment(s, new, self.fill[s].live, old);
    }

    /// One segment more: half of the one whose turn it is.
    fn split(&mut self) {
        let n = self.shown.segments.len();
        let mask = mask_of(n);
        if n == 0 {
            let segments = vec![empty(SMALLEST).into()];
            return self.replace(Segments { segments, mask }, vec![Fill::default()]);
        }
        let from = segment_of(n as u64, mask, n);
        let goes = |key: u32| hash(key) as u32 & mask == n as u32;
        let old = Replaced::new(&self.shown.segments[from]);
        let going = old.entries().filter(|(key, ..)| goes(*key)).count();
        let staying = self.fill[from].live - going;
        let mut both = [empty(room_for(staying)), empty(room_for(going))];
        for (key, value, counts) in old.entries() {
            let to = &mut both[usize::from(goes(key))];
            put_down(to, key, value, counts.copied());
        }
        let [stays, gone] = both;
        let shown = Arc::make_mut(&mut self.shown);
        shown.mask = mask;
        shown.segments.push(gone.into());
        self.fill.push(Fill {
            live: going,
            used: going,
        });
        self.put_segment(from, stays, staying, old);
    }

    /// One segment less: what was split last goes back.
    fn join(&mut self) {
        let n = self.fill.len() - 1;
        let to = segment_of(n as u64, mask_of(n), n);
        let live = self.fill[to].live + self.fill[n].live;
        let old = [to, n].map(|s| Replaced::new(&self.shown.segments[s]));
        let mut new = empty(room_for(live));
        for (key, value, counts) in old.iter().flat_map(Replaced::entries) {
            put_down(&mut new, key, value, counts.copied());
        }
        let shown = Arc::make_mut(&mut self.shown);
        shown.segments.pop();
        shown.mask = mask_of(n - 1);
        self.fill.pop();
        let [kept, gone] = old;
        self.retire(gone);
        self.put_segment(to, new, live, kept);
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
        let mut m: AddrMap = AddrMap::default();
        for k in 0..100_000 {
            assert_eq!(m.insert(k << 8, k), None);
        }
        assert!(m.fill.len() == 100_000usize.div_ceil(SEGMENT));
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
            let mut m: AddrMap = AddrMap::default();
            for k in 0..20_000u32 {
                m.insert(k.wrapping_mul(step), k);
                let most = m.fill.last().map_or(0, |s| s.used);
                assert!(most < SEGMENT * 3, "{most} of {} at step {step}", m.len());
            }
            let most = m.fill.iter().map(|s| s.used).max().unwrap_or(0);
            assert!(most < SEGMENT * 3, "{most} at step {step}");
        }
    }

    proptest! {
        /// The paper, section 2: the hash tables behave as a map from address to entry,
        /// whatever collides.
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0u8..3, 0u32..40, 0u32..9), 0..400)) {
            let mut m: AddrMap = AddrMap::default();
            let mut model = HashMap::new();
            for (op, k, v) in ops {
                // Few keys, far apart or next to each other: collisions and gaps abound.
                let k = if k % 2 == 0 { k } else { k << 24 };
                match op {
                    0 => prop_assert_eq!(m.insert(k, v), model.insert(k, v)),
                    1 => prop_assert_eq!(m.remove(k), model.remove(&k)),
                    _ => prop_assert_eq!(m.get(k).map(|e| e.0), model.get(&k).copied()),
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// The same through growth and decline by many segments: blocks of addresses come
        /// and go, each checked as it does.
        #[test]
        fn it_is_a_map_while_segments_split_and_join(
            ops in prop::collection::vec((any::<bool>(), 0u32..24, 1u32..4), 1..24),
        ) {
            let mut m: AddrMap = AddrMap::default();
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
                prop_assert!(model.iter().all(|(k, v)| m.get(*k).map(|e| e.0) == Some(*v)));
                prop_assert_eq!(m.iter().count(), model.len());
            }
        }
    }
}
