//! The addresses of a table in order, so that a dump can begin anywhere.
//!
//! ```text
//!   lowest  [  10.0.0.1 |  10.1.4.0 |  172.16.0.9 ]     one word a chunk, searched
//!               │            │             │
//!   chunks  [ .., .. ]  [ .., .., .. ]  [ .., .. ]      a hundred addresses or so each
//!               ▲ sorted, a thousand at once
//!   late    [ +10.9.0.1 | -10.0.0.7 | .. ]              what has changed since
//! ```
//!
//! An address costs four bytes, and one sixth more for room. Coming and going moves what
//! is behind it in its chunk; the number of an address is found by adding up chunks. What
//! comes and goes is only noted, and put in its place when there is much of it or somebody
//! looks: a change by itself would wait for memory that is far away.
//!
//! Spec: the paper, Table 3 (VTUNL_ENCAP_GET, VTUNL_DECAP_GET).

/// Addresses in a chunk at most.
const MOST: usize = 128;

/// Changes that are made at once.
const LATE: usize = 1024;

/// Where a key is in a chunk, or would be. A chunk is a few cache lines that are fetched at
/// once, where a binary search waits for one after the other.
fn search(chunk: &[u32], key: u32) -> Result<usize, usize> {
    let before = chunk.iter().filter(|k| **k < key).count();
    match chunk.get(before) {
        Some(k) if *k == key => Ok(before),
        _ => Err(before),
    }
}

/// A sorted list.
#[derive(Clone, Debug, Default)]
pub struct KeyList {
    lowest: Vec<u32>,
    chunks: Vec<Vec<u32>>,
    /// Key, number of the change, and whether the key came or went, in one word each.
    late: Vec<u64>,
}

impl KeyList {
    /// The chunk in which a key is, or would be.
    fn chunk(&self, key: u32) -> usize {
        self.lowest.partition_point(|l| *l <= key).saturating_sub(1)
    }

    /// Puts a key in, unless it is there.
    pub fn insert(&mut self, key: u32) {
        self.change(key, true);
    }

    /// Takes a key out, if it is there.
    pub fn remove(&mut self, key: u32) {
        self.change(key, false);
    }

    fn change(&mut self, key: u32, comes: bool) {
        if self.late.len() == LATE {
            self.tidy();
        }
        let number = self.late.len() as u64;
        self.late
            .push(u64::from(key) << 32 | number << 1 | u64::from(comes));
    }

    /// Makes the changes that were only noted.
    pub fn tidy(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        late.sort_unstable();
        // Of each key the last change counts.
        let last = late.chunk_by(|a, b| a >> 32 == b >> 32);
        for change in last.filter_map(<[u64]>::last) {
            let key = (change >> 32) as u32;
            if change & 1 == 1 {
                self.put_in(key);
            } else {
                self.take_out(key);
            }
        }
        late.clear();
        if !self.chunks.is_empty() {
            self.late = late;
        }
    }

    fn put_in(&mut self, key: u32) {
        let at = self.chunk(key);
        let Some(c) = self.chunks.get_mut(at) else {
            self.lowest.push(key);
            self.chunks.push(vec![key]);
            return;
        };
        let Err(i) = search(c, key) else {
            return;
        };
        if c.len() < MOST {
            c.insert(i, key);
            self.lowest[at] = c[0];
            return;
        }
        // Full: two. Where addresses come in order the old one is not touched again.
        let cut = if i == MOST { MOST } else { MOST / 2 };
        let mut upper = Vec::with_capacity(MOST / 2);
        upper.extend(c.drain(cut..));
        c.shrink_to(MOST * 3 / 4);
        let to = if i >= cut { &mut upper } else { &mut *c };
        to.insert(if i >= cut { i - cut } else { i }, key);
        self.lowest[at] = c[0];
        self.lowest.insert(at + 1, upper[0]);
        self.chunks.insert(at + 1, upper);
    }

    fn take_out(&mut self, key: u32) {
        let at = self.chunk(key);
        let Some(c) = self.chunks.get_mut(at) else {
            return;
        };
        let Ok(i) = search(c, key) else {
            return;
        };
        c.remove(i);
        if let Some(first) = c.first() {
            self.lowest[at] = *first;
        }
        // What is empty goes; what is small joins a neighbour that has room.
        let left = c.len();
        if left == 0 {
            self.drop_chunk(at);
        } else if left < MOST / 8 {
            if at + 1 < self.chunks.len() {
                self.join(at);
            } else if at > 0 {
                self.join(at - 1);
            }
        }
    }

    fn drop_chunk(&mut self, at: usize) {
        self.chunks.remove(at);
        self.lowest.remove(at);
        if self.chunks.is_empty() {
            (self.lowest, self.chunks) = Default::default();
        }
    }

    /// A chunk and the next become one, if they fit.
    fn join(&mut self, at: usize) {
        if self.chunks[at].len() + self.chunks[at + 1].len() > MOST * 3 / 4 {
            return;
        }
        let upper = std::mem::take(&mut self.chunks[at + 1]);
        self.chunks[at].extend(upper);
        self.drop_chunk(at + 1);
    }

    /// The keys in order, the first `skip` left out. Takes long if the list is not tidy.
    pub fn iter_from(&self, skip: usize) -> impl Iterator<Item = u32> {
        let tidied = (!self.late.is_empty()).then(|| {
            let mut all = self.clone();
            all.tidy();
            all.tidy_from(skip).collect::<Vec<u32>>()
        });
        let tidy = tidied.is_none().then(|| self.tidy_from(skip));
        let others = tidied.into_iter().flatten();
        others.chain(tidy.into_iter().flatten())
    }

    fn tidy_from(&self, skip: usize) -> impl Iterator<Item = u32> {
        let mut left = skip;
        let whole = |c: &&Vec<u32>| {
            let skipped = left >= c.len();
            if skipped {
                left -= c.len();
            }
            skipped
        };
        let first = self.chunks.iter().take_while(whole).count();
        let chunks = self.chunks.get(first..).unwrap_or(&[]);
        chunks.iter().flatten().skip(left).copied()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        let keys: usize = self.chunks.iter().map(Vec::capacity).sum();
        keys * 4
            + self.late.capacity() * 8
            + self.lowest.capacity() * 4
            + self.chunks.capacity() * size_of::<Vec<u32>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// A sorted set, whatever comes and goes, and every number of keys skipped.
        #[test]
        fn it_is_a_sorted_set(
            ops in prop::collection::vec((any::<bool>(), 0u32..40, 1u32..5, any::<bool>()), 1..40),
            skip in 0usize..9000,
        ) {
            let mut l = KeyList::default();
            let mut model = BTreeSet::new();
            for (add, block, step, tidy) in ops {
                for i in 0..300u32 {
                    let k = block * 400 + i * step;
                    if add {
                        l.insert(k);
                        model.insert(k);
                    } else {
                        l.remove(k);
                        model.remove(&k);
                    }
                }
                if tidy {
                    l.tidy();
                }
                prop_assert!(l.iter_from(0).eq(model.iter().copied()));
                prop_assert!(l.iter_from(skip).eq(model.iter().copied().skip(skip)));
                prop_assert!(l.chunks.iter().all(|c| !c.is_empty() && c.len() <= MOST));
            }
        }
    }

    #[test]
    fn addresses_that_come_in_order_fill_their_chunks() {
        let mut l = KeyList::default();
        (0..100_000).for_each(|k| l.insert(k));
        l.tidy();
        assert!(l.bytes() < 100_000 * 5, "{} bytes", l.bytes());
        (0..100_000).for_each(|k| l.remove(k));
        l.tidy();
        assert_eq!(l.bytes(), 0);
    }
}
