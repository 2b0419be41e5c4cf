//! The longest prefix of an address: a trie of three levels.
//!
//! ```text
//!   dst  1100'0000 1010'1000 | 0000'0001 | 0000'0111
//!        root, 65536 words   | middle    | low
//!        [ leaf, block ] ───►[256 as runs]──►[256 as runs]
//!          /1 to /16           /17 to /24      /25 to /31        and one word for /0
//!                               cover: /1..16   cover: /17..24
//! ```
//!
//! Each level keeps the prefixes of its own lengths, every entry the longest of them that
//! covers it, or nothing. A block also keeps the entry that it stands in the place of, its
//! cover, so that a question is answered on the way down and never backs up: the last entry
//! that isn't empty. It takes two cache lines beyond the root where no prefix is longer than
//! /24, four below; with a million routes the whole is some 13 MB.
//!
//! A change touches only its own level: one block, or as many words of the root as it
//! covers and the covers of their blocks. So the dearest are those of /1, 32768 words, and
//! those of a /17 to /24 rewrite a block of at most 256 runs.
//!
//! Hosts (/32) are in a hash beside it: nothing is longer, so who is found there is found,
//! and a home agent has as many as it has mobile hosts. A bit for each /16 says whether
//! there are any, and keeps the question from all other destinations. The hash is in shards,
//! because a hash that grows moves all it has.
//!
//! Why not a crate: those there are take two to twenty times as long to answer (tree bitmap,
//! Patricia), or ever longer to change (poptrie); the figures are in doc/benchmarks.md.

use rustc_hash::FxHashMap;

use crate::runs::{Arena, Block};

/// Entry: the rest names a block.
const CHILD: u32 = 1 << 31;
/// Leaf: its length within its level, above the value.
const LEN_SHIFT: u32 = 26;
const LEN_MASK: u32 = 15 << LEN_SHIFT;
/// Shards of a hash.
pub(crate) const SHARDS: usize = 256;

/// What a prefix leads to: any number but 0 with no bits beside these.
pub(crate) const VALUE: u32 = !(CHILD | LEN_MASK);

/// Prefixes and their values.
pub(crate) struct Trie {
    /// The value of /0; 0: none.
    default: u32,
    root: Vec<u32>,
    blocks: Arena,
    hosts: Vec<FxHashMap<u32, u32>>,
    /// How many hosts there are in each /16, and a bit for those that have some.
    hosts_in: Vec<u32>,
    some_in: Box<[u64; 1024]>,
}

/// A change to entries.
#[derive(Clone, Copy)]
enum Edit {
    /// Write this one over entries that are no longer.
    Put(u32),
    /// Write the second where the first is.
    Swap(u32, u32),
}

impl Edit {
    fn of(self, e: u32) -> u32 {
        match self {
            Edit::Put(new) if e & LEN_MASK <= new & LEN_MASK => new,
            Edit::Swap(old, new) if e == old => new,
            _ => e,
        }
    }
}

/// The value of a prefix as an entry; no value is no entry.
fn leaf(len: u8, value: u32) -> u32 {
    match value {
        0 => 0,
        v => ((u32::from(len) + 15) % 16) << LEN_SHIFT | v,
    }
}

/// The shard of a hash that has this key.
#[inline]
pub(crate) fn shard(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> 24) as usize % SHARDS
}

/// This entry, or that where it is empty.
#[inline]
fn or(e: u32, cover: u32) -> u32 {
    if e == 0 { cover } else { e }
}

impl Trie {
    /// Without prefixes.
    pub fn new() -> Trie {
        Trie {
            default: 0,
            root: vec![0; 1 << 16],
            blocks: Arena::default(),
            hosts: vec![FxHashMap::default(); SHARDS],
            hosts_in: vec![0; 1 << 16],
            some_in: Box::new([0; 1024]),
        }
    }

    /// The value of the longest prefix of `dst`; 0: there is none.
    #[inline]
    pub fn get(&self, dst: u32) -> u32 {
        let net = (dst >> 16) as usize;
        if self.some_in[net >> 6] >> (net & 63) & 1 == 1
            && let Some(&v) = self.hosts[shard(dst)].get(&dst)
        {
            return v;
        }
        let mut e = self.root[net];
        if e & CHILD != 0 {
            let mid = e & !CHILD;
            e = self.blocks.get(mid, dst >> 8 & 255);
            if e & CHILD != 0 {
                let low = e & !CHILD;
                e = or(self.blocks.get(low, dst & 255), self.blocks.cover(low));
            }
            e = or(e, self.blocks.cover(mid));
        }
        or(e, self.default) & VALUE
    }

    /// Gives a prefix that had none its value. The bits of `net` beyond `len` are 0.
    pub fn add(&mut self, net: u32, len: u8, value: u32) {
        debug_assert!(value != 0 && value & !VALUE == 0);
        match len {
            0 => self.default = value,
            32.. => {
                if self.hosts[shard(net)].insert(net, value).is_none() {
                    self.count_host(net, 1);
                }
            }
            _ => self.edit(net, len, Edit::Put(leaf(len, value))),
        }
    }

    /// Gives a prefix another value.
    pub fn replace(&mut self, net: u32, len: u8, old: u32, new: u32) {
        match len {
            _ if old == new => {}
            0 | 32.. => self.add(net, len, new),
            _ => self.edit(net, len, Edit::Swap(leaf(len, old), leaf(len, new))),
        }
    }

    /// Takes a prefix away. `value_of` tells the value of another one, 0 if it isn't there:
    /// it is asked for the shorter ones of the same level, which now show again.
    pub fn remove(&mut self, net: u32, len: u8, old: u32, value_of: impl Fn(u32, u8) -> u32) {
        let first = match len {
            0 => return self.default = 0,
            1..=16 => 1,
            17..=24 => 17,
            25..=31 => 25,
            32.. => {
                if self.hosts[shard(net)].remove(&net).is_some() {
                    self.count_host(net, -1);
                }
                return;
            }
        };
        let cover = (first..len)
            .rev()
            .map(|l| leaf(l, value_of(net & crate::ire::mask_of(l), l)))
            .find(|e| *e != 0)
            .unwrap_or(0);
        self.edit(net, len, Edit::Swap(leaf(len, old), cover));
    }

    /// One host more or less (-1) in the /16 of `host`.
    fn count_host(&mut self, host: u32, change: i32) {
        let net = (host >> 16) as usize;
        let n = &mut self.hosts_in[net];
        *n = n.saturating_add_signed(change);
        let bit = 1 << (net & 63);
        match *n {
            0 => self.some_in[net >> 6] &= !bit,
            _ => self.some_in[net >> 6] |= bit,
        }
    }

    /// Changes the entries of a prefix's range, on its level. Blocks are made on the way
    /// down, and given back on the way up if nothing is left in them.
    fn edit(&mut self, net: u32, len: u8, edit: Edit) {
        let Trie { root, blocks, .. } = self;
        let at = (net >> 16) as usize;
        if len <= 16 {
            for e in &mut root[at..at + (1 << (16 - len))] {
                let e = match *e & CHILD {
                    0 => e,
                    _ => blocks.cover_mut(*e & !CHILD),
                };
                *e = edit.of(*e);
            }
            return;
        }
        let mid = net as usize >> 8 & 255;
        let (range, low) = match len {
            ..=24 => (mid..mid + (1 << (24 - len)), None),
            _ => {
                let low = net as usize & 255;
                (mid..mid + 1, Some(low..low + (1 << (32 - len))))
            }
        };
        root[at] = change(blocks, root[at], range, |blocks, e| {
            match (&low, e & CHILD) {
                (Some(range), _) => change(blocks, e, range.clone(), |_, e| edit.of(e)),
                (None, 0) => edit.of(e),
                (None, _) => {
                    let cover = blocks.cover_mut(e & !CHILD);
                    *cover = edit.of(*cover);
                    e
                }
            }
        });
    }
}

/// Changes a range of the entries below `e`, and says what `e` is then.
fn change(
    blocks: &mut Arena,
    e: u32,
    range: std::ops::Range<usize>,
    f: impl FnMut(&mut Arena, u32) -> u32,
) -> u32 {
    let block: Block = match e & CHILD {
        0 => blocks.make(e, 0),
        _ => e & !CHILD,
    };
    let block = blocks.edit(block, range, f);
    match blocks.single(block) {
        Some(0) => {
            let cover = blocks.cover(block);
            blocks.free(block);
            cover
        }
        _ => CHILD | block,
    }
}

#[cfg(test)]
impl Trie {
    /// Nothing left of what was in it?
    pub(crate) fn is_clear(&self) -> bool {
        self.default == 0
            && self.root.iter().all(|e| *e == 0)
            && self.blocks.all_free()
            && self.hosts.iter().all(FxHashMap::is_empty)
            && self.hosts_in.iter().all(|n| *n == 0)
            && self.some_in.iter().all(|w| *w == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ire::mask_of;

    /// Prefixes by length and address; the longest match is a linear search.
    #[derive(Default)]
    struct Naive(BTreeMap<(u8, u32), u32>);

    impl Naive {
        fn get(&self, dst: u32) -> u32 {
            let covers = |(len, net): &(u8, u32)| dst & mask_of(*len) == *net;
            let longest = self.0.iter().rev().find(|(p, _)| covers(p));
            longest.map_or(0, |(_, v)| *v)
        }
    }

    /// Sets, replaces or (value 0) removes a prefix in both.
    fn set(t: &mut Trie, n: &mut Naive, net: u32, len: u8, value: u32) {
        let old = match value {
            0 => n.0.remove(&(len, net)),
            v => n.0.insert((len, net), v),
        };
        match (old, value) {
            (None, 0) => {}
            (None, v) => t.add(net, len, v),
            (Some(old), 0) => t.remove(net, len, old, |net, len| {
                n.0.get(&(len, net)).copied().unwrap_or(0)
            }),
            (Some(old), v) => t.replace(net, len, old, v),
        }
    }

    fn prefix() -> impl Strategy<Value = (u32, u8)> {
        let place = prop::sample::select(vec![0, 0xc0a8_0000, 0xc0a8_0100, 0xffff_ff00u32]);
        let len = prop_oneof![0..=32u8, Just(24), Just(25)];
        (place, 0..1u32 << 10, len).prop_map(|(p, low, len)| ((p ^ low) & mask_of(len), len))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_linear_search(
            changes in prop::collection::vec((prefix(), 0..4u32), 1..120),
            asks in prop::collection::vec(prefix(), 40),
        ) {
            let (mut t, mut n) = (Trie::new(), Naive::default());
            for (i, ((net, len), what)) in changes.into_iter().enumerate() {
                let value = if what == 0 { 0 } else { i as u32 + 1 };
                set(&mut t, &mut n, net, len, value);
                let ends = [net, net | !mask_of(len), net.wrapping_sub(1)];
                for dst in ends.into_iter().chain(asks.iter().map(|a| a.0)) {
                    prop_assert_eq!(t.get(dst), n.get(dst), "{:08x}", dst);
                }
            }
            for (len, net) in n.0.clone().into_keys() {
                set(&mut t, &mut n, net, len, 0);
            }
            prop_assert!(t.is_clear());
        }
    }

    /// All of a /16: every block goes through every size, and no entry is like another.
    #[test]
    fn a_full_block() {
        let (mut t, mut n) = (Trie::new(), Naive::default());
        let turn = |i: u32| i * 167 % 256; // odd, so that all come, out of order
        for i in 0..256 {
            set(&mut t, &mut n, 0x0a00_0000 | turn(i) << 8, 24, i + 1);
            set(&mut t, &mut n, 0x0a00_0700 | turn(i) & !1, 31, i + 1000);
        }
        set(&mut t, &mut n, 0x0a00_0000, 15, 5000);
        set(&mut t, &mut n, 0x0a00_0000, 17, 5001);
        set(&mut t, &mut n, 0, 0, 5002);
        let probes = [0x0a01_0000, 0x0a02_0000, 0x09ff_ffff];
        for dst in (0x0a00_0000..0x0a01_0000)
            .step_by(41)
            .chain(0x0a00_0700..0x0a00_0800)
            .chain(probes)
        {
            assert_eq!(t.get(dst), n.get(dst), "{dst:08x}");
        }
        for i in 0..200 {
            set(&mut t, &mut n, 0x0a00_0000 | turn(i) << 8, 24, 0);
        }
        for dst in (0x0a00_0000..0x0a01_0000).step_by(41) {
            assert_eq!(t.get(dst), n.get(dst), "{dst:08x}");
        }
        for (len, net) in n.0.clone().into_keys() {
            set(&mut t, &mut n, net, len, 0);
        }
        assert!(t.is_clear());
    }
}
