//! Sets of exits with their flags, each kept once for all targets that have it.
//!
//! ```text
//!   encap_table          exit_sets                                texit_table
//!   MH1 ──┬───────────►  [ FA2 ]  refs 2 ───────────────────────► FA2
//!   MH4 ──┘                                                ┌────►
//!   MH3 ──────────────►  [ FA1, FA2 ]  refs 1 ─────────────┴────► FA1
//! ```
//!
//! A home agent has many mobile nodes and few foreign agents: their sets are few, and stay
//! in the cache however many the targets are. A set is one cache line. It never changes while
//! a target has it, so that a datagram sees all of it or another.
//!
//! Spec: the paper, section 2 and Figure 3: targets with an exit in common share it.
//! Differs: here they share the whole list of exits, too.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed};

use crate::addr_map::AddrMap;
use crate::slab::{Chunks, Slab};
use crate::texit_table::ExitId;

/// Exits of one target at most.
pub const MAXEXITCOUNT: usize = 8;

/// No set.
const NONE: u32 = u32::MAX;
/// Numbers of sets are below this, so that they fit in 31 bits beside other things.
const MOST: u32 = 1 << 30;

/// An exit of a set, with its flags.
pub type Pair = (ExitId, u16);

/// One to eight exits, in the order in which they came.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ExitSet {
    exits: [AtomicU32; MAXEXITCOUNT],
    flags: [AtomicU16; MAXEXITCOUNT],
    count: AtomicU32,
}

const _: () = assert!(size_of::<ExitSet>() == 64);

impl ExitSet {
    fn fill(&self, pairs: &[Pair]) {
        let n = pairs.len().min(MAXEXITCOUNT);
        for (i, (id, flags)) in pairs[..n].iter().enumerate() {
            self.exits[i].store(*id, Relaxed);
            self.flags[i].store(*flags, Relaxed);
        }
        self.count.store(n as u32, Relaxed);
    }

    /// Its exits.
    #[inline]
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = Pair> + use<> {
        let n = self.len();
        let exits: [ExitId; MAXEXITCOUNT] = std::array::from_fn(|i| self.exits[i].load(Relaxed));
        let flags: [u16; MAXEXITCOUNT] = std::array::from_fn(|i| self.flags[i].load(Relaxed));
        exits.into_iter().zip(flags).take(n)
    }

    /// Exits.
    #[inline]
    pub fn len(&self) -> usize {
        (self.count.load(Relaxed) as usize).min(MAXEXITCOUNT)
    }

    /// A set without exits is none, and never kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn hash(pairs: &[Pair]) -> u32 {
    let mut h = 0u64;
    for (id, flags) in pairs {
        h = (h ^ (u64::from(*id) << 16 | u64::from(*flags)) ^ 0x51)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23);
    }
    // Tests know few hashes, so that sets share them.
    (h ^ h >> 32) as u32 & if cfg!(test) { 3 } else { u32::MAX }
}

/// What only its owner knows of a set.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Targets that have it.
    refs: u32,
    /// The next set with the same hash.
    next: u32,
}

/// The sets in use.
#[derive(Debug, Default)]
pub struct ExitSets {
    /// The first set with a hash.
    by_hash: AddrMap,
    sets: Slab<ExitSet>,
    held: Vec<Held>,
}

impl ExitSets {
    /// The set with this number.
    #[inline(always)]
    pub fn get(&self, id: u32) -> Option<&ExitSet> {
        self.sets.get(id)
    }

    fn first(&self, hash: u32) -> u32 {
        self.by_hash.get(hash).map_or(NONE, |(first, ())| first)
    }

    fn held(&mut self, id: u32) -> Option<&mut Held> {
        self.held.get_mut(id as usize)
    }

    /// One more target has these exits; `None` if there are too many sets.
    pub fn hold(&mut self, pairs: &[Pair]) -> Option<u32> {
        let h = hash(pairs);
        let first = self.first(h);
        let mut at = first;
        while let Some(s) = self.sets.get(at) {
            let same = s.pairs().eq(pairs.iter().copied());
            let held = self.held(at)?;
            if same {
                held.refs += 1;
                return Some(at);
            }
            at = held.next;
        }
        let id = self.sets.take(MOST)?;
        self.sets.get(id)?.fill(pairs);
        let new = Held {
            refs: 1,
            next: first,
        };
        match self.held(id) {
            Some(held) => *held = new,
            None => self.held.push(new),
        }
        self.by_hash.insert(h, id);
        Some(id)
    }

    /// One target less has it; with the last one it goes.
    pub fn release(&mut self, id: u32) {
        let Some(held) = self.held(id) else {
            return;
        };
        held.refs = held.refs.saturating_sub(1);
        if held.refs > 0 {
            return;
        }
        let next = held.next;
        let pairs: Vec<Pair> = self
            .get(id)
            .map(|s| s.pairs().collect())
            .unwrap_or_default();
        let h = hash(&pairs);
        let first = self.first(h);
        if first == id {
            match next {
                NONE => self.by_hash.remove(h),
                n => self.by_hash.insert(h, n),
            };
        } else {
            let mut at = first;
            while let Some(held) = self.held(at) {
                if held.next == id {
                    held.next = next;
                    break;
                }
                at = held.next;
            }
        }
        self.sets.free(id);
    }

    /// Sets in use.
    pub fn len(&self) -> usize {
        let chain = |first: u32| {
            let next = |at: &u32| Some(self.held.get(*at as usize)?.next);
            std::iter::successors(Some(first), move |at| next(at).filter(|n| *n != NONE)).count()
        };
        self.by_hash.iter().map(|(_, first)| chain(first)).sum()
    }

    /// No set in use.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.by_hash.bytes() + self.sets.bytes() + self.held.capacity() * size_of::<Held>()
    }

    /// See [`Slab::make_room`].
    pub fn make_room(&mut self) {
        self.sets.make_room();
    }

    /// See [`Slab::take_freed`].
    pub fn take_freed(&mut self) -> Vec<u32> {
        self.sets.take_freed()
    }

    /// See [`Slab::give_back`].
    pub fn give_back(&mut self, id: u32) {
        self.sets.give_back(id);
    }

    /// What is to be looked at from now on.
    pub fn shown(&self) -> Chunks<ExitSet> {
        self.sets.shown()
    }

    /// See [`Slab::take_changed`].
    pub fn take_changed(&mut self) -> bool {
        self.sets.take_changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// As many sets as there are different ones, each with the references it was given.
        #[test]
        fn a_set_is_kept_once_and_as_long_as_it_is_held(
            ops in prop::collection::vec((any::<bool>(), prop::collection::vec((0u32..3, 0u16..2), 1..4)), 0..200),
        ) {
            let mut t = ExitSets::default();
            let mut model: HashMap<Vec<Pair>, (u32, u32)> = HashMap::new();
            for (hold, pairs) in ops {
                if hold {
                    let id = t.hold(&pairs).expect("room");
                    let m = model.entry(pairs).or_insert((id, 0));
                    prop_assert_eq!(m.0, id);
                    m.1 += 1;
                } else if let Some(m) = model.get_mut(&pairs) {
                    t.release(m.0);
                    t.take_freed().into_iter().for_each(|id| t.give_back(id));
                    m.1 -= 1;
                    if m.1 == 0 { model.remove(&pairs); }
                }
                prop_assert_eq!(t.len(), model.len());
                for (pairs, (id, refs)) in &model {
                    let s = t.get(*id).expect("held");
                    prop_assert!(s.pairs().eq(pairs.iter().copied()) && t.held[*id as usize].refs == *refs);
                }
            }
        }
    }
}
