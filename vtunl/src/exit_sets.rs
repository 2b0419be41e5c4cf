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
//! in the cache however many the targets are. A set is one cache line.
//!
//! Spec: the paper, section 2 and Figure 3: targets with an exit in common share it.
//! Differs: here they share the whole list of exits, too.

use crate::addr_map::AddrMap;
use crate::slab::Slab;
use crate::texit_table::ExitId;

/// Exits of one target at most.
pub const MAXEXITCOUNT: usize = 8;

/// No set.
const NONE: u32 = u32::MAX;

/// An exit of a set, with its flags.
pub type Pair = (ExitId, u16);

/// One to eight exits, in the order in which they came.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct ExitSet {
    exits: [ExitId; MAXEXITCOUNT],
    flags: [u16; MAXEXITCOUNT],
    /// Targets that have it.
    refs: u32,
    /// The next set with the same hash.
    next: u32,
    count: u8,
}

const _: () = assert!(size_of::<ExitSet>() == 64);

impl ExitSet {
    fn new(pairs: &[Pair]) -> ExitSet {
        let mut s = ExitSet {
            exits: [0; MAXEXITCOUNT],
            flags: [0; MAXEXITCOUNT],
            refs: 0,
            next: NONE,
            count: pairs.len().min(MAXEXITCOUNT) as u8,
        };
        for (i, (id, flags)) in pairs.iter().take(MAXEXITCOUNT).enumerate() {
            s.exits[i] = *id;
            s.flags[i] = *flags;
        }
        s
    }

    /// Its exits.
    #[inline]
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = Pair> + use<> {
        let n = usize::from(self.count).min(MAXEXITCOUNT);
        self.exits.into_iter().zip(self.flags).take(n)
    }

    /// The exit, if there is one only.
    #[inline(always)]
    pub fn only(&self) -> Option<Pair> {
        (self.count == 1).then_some((self.exits[0], self.flags[0]))
    }

    /// Exits.
    #[inline]
    pub fn len(&self) -> usize {
        self.count.into()
    }

    /// A set without exits is none, and never kept.
    pub fn is_empty(&self) -> bool {
        self.count == 0
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

/// The sets in use.
#[derive(Clone, Debug, Default)]
pub struct ExitSets {
    /// The first set with a hash.
    by_hash: AddrMap<u32>,
    sets: Slab<ExitSet>,
}

impl ExitSets {
    /// The set with this number.
    #[inline(always)]
    pub fn get(&self, id: u32) -> Option<&ExitSet> {
        self.sets.get(id)
    }

    /// One more target has these exits; `None` if there are too many sets.
    pub fn hold(&mut self, pairs: &[Pair]) -> Option<u32> {
        let h = hash(pairs);
        let first = self.by_hash.get(h).copied().unwrap_or(NONE);
        let mut at = first;
        while let Some(s) = self.sets.get_mut(at) {
            if s.pairs().eq(pairs.iter().copied()) {
                s.refs += 1;
                return Some(at);
            }
            at = s.next;
        }
        let mut new = ExitSet::new(pairs);
        (new.refs, new.next) = (1, first);
        let id = self.sets.insert(new, NONE)?;
        self.by_hash.insert(h, id);
        Some(id)
    }

    /// One target less has it; with the last one it goes.
    pub fn release(&mut self, id: u32) {
        let Some(s) = self.sets.get_mut(id) else {
            return;
        };
        s.refs = s.refs.saturating_sub(1);
        if s.refs > 0 {
            return;
        }
        let next = s.next;
        let pairs: Vec<Pair> = s.pairs().collect();
        let h = hash(&pairs);
        let first = self.by_hash.get(h).copied().unwrap_or(NONE);
        if first == id {
            match next {
                NONE => self.by_hash.remove(h),
                n => self.by_hash.insert(h, n),
            };
        } else {
            let mut at = first;
            while let Some(s) = self.sets.get_mut(at) {
                if s.next == id {
                    s.next = next;
                    break;
                }
                at = s.next;
            }
        }
        self.sets.free(id);
    }

    /// Sets in use.
    pub fn len(&self) -> usize {
        let chain = |first: u32| {
            let follow = |at: &u32| Some(self.sets.get(*at)?.next).filter(|n| *n != NONE);
            std::iter::successors(Some(first), follow).count()
        };
        self.by_hash.iter().map(|(_, first)| chain(*first)).sum()
    }

    /// Sets that there is room for, used or not.
    pub fn slots(&self) -> usize {
        self.sets.len()
    }

    /// No set in use.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.by_hash.bytes() + self.sets.bytes()
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
                    m.1 -= 1;
                    if m.1 == 0 { model.remove(&pairs); }
                }
                prop_assert_eq!(t.len(), model.len());
                for (pairs, (id, refs)) in &model {
                    let s = t.get(*id).expect("held");
                    prop_assert!(s.pairs().eq(pairs.iter().copied()) && s.refs == *refs);
                }
            }
        }
    }
}
