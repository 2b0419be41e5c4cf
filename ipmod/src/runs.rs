//! 256 entries as runs of equal ones, in blocks of whole cache lines.
//!
//! ```text
//!   a block      0         8      10      11
//!                ├─────────┼───────┼───────┼──────────────── ─ ─
//!                │ starts  │ ranks │ cover │ values, one a run
//!                └─────────┴───────┴───────┴──────────────── ─ ─   words of 32 bits
//!                 256 bits  8 bytes          16 words a line, 1 to 17 lines
//!
//!   entry i ─► run: starts at or before i, counted = ranks[i / 32] + ones in its word
//!           ─► values[run - 1]
//! ```
//!
//! To read one entry takes two cache lines, the first and that of the value. Which one that
//! will be can be guessed before the first is there: entry i of 256 is about value i n / 256
//! of n, and the name of a block tells its size. So both are fetched at once, and a lookup
//! waits for memory once and not twice.
//!
//! Blocks come in eight sizes and never move; those given back are used again for the same
//! size, so that the arena is at most some three times what it ever held at once.

use std::hint::black_box;
use std::ops::Range;

/// Words in a cache line.
const LINE: usize = 16;
/// Lines in a chunk of the arena; a block lies in one chunk.
const CHUNK: usize = 1024;
/// Words in a chunk, less one.
const MASK: usize = CHUNK * LINE - 1;
/// Lines of the blocks that are given out.
const SIZES: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 17];
/// Values that a block of each size has in the middle between the fewest and the most.
const MIDDLE: [u32; 8] = [0, 13, 29, 45, 69, 101, 149, 221];

/// The name of a block: its first line, and which of [`SIZES`] it has. Below 2^31.
pub(crate) type Block = u32;
const SIZE_SHIFT: u32 = 28;

const RANKS: usize = 8;
const COVER: usize = 10;
const VALUES: usize = 11;

#[repr(align(64))]
struct Chunk([u32; CHUNK * LINE]);

/// Blocks of 256 entries.
#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<Box<Chunk>>,
    /// Lines given out of the last chunk.
    used: usize,
    /// Blocks to be used again, by size.
    free: [Vec<Block>; SIZES.len()],
}

/// The runs of a block while it is rewritten.
struct Draft {
    starts: [u32; 8],
    values: [u32; 256],
    n: usize,
}

impl Draft {
    fn new() -> Draft {
        Draft {
            starts: [0; 8],
            values: [0; 256],
            n: 0,
        }
    }

    /// The entries from `at` on are `v`, until the next call says otherwise.
    fn push(&mut self, at: usize, v: u32) {
        if self.n == 0 || self.values[self.n - 1] != v {
            self.starts[at / 32] |= 1 << (at % 32);
            self.values[self.n] = v;
            self.n += 1;
        }
    }
}

/// The chunk of a block, and the word there where it begins.
#[inline]
fn place(b: Block) -> (usize, usize) {
    let line = (b & ((1 << SIZE_SHIFT) - 1)) as usize;
    (line / CHUNK, line % CHUNK * LINE)
}

/// Which of [`SIZES`] a block has.
#[inline]
fn size(b: Block) -> usize {
    (b >> SIZE_SHIFT & 7) as usize
}

/// The bit of an entry, if it is in this word of the starts.
fn bit_in(word: usize, at: usize) -> u32 {
    if at / 32 == word { 1 << (at % 32) } else { 0 }
}

/// Which of [`SIZES`] holds so many values.
fn size_of(values: usize) -> usize {
    let lines = (VALUES + values).div_ceil(LINE);
    SIZES.partition_point(|s| *s < lines)
}

impl Arena {
    /// The words of the chunk that a block is in, and where it begins there.
    #[inline]
    fn at(&self, b: Block) -> (&[u32; CHUNK * LINE], usize) {
        let (chunk, at) = place(b);
        (&self.chunks[chunk].0, at)
    }

    fn at_mut(&mut self, b: Block) -> &mut [u32] {
        let (chunk, at) = place(b);
        &mut self.chunks[chunk].0[at..]
    }

    /// Entry `i`, below 256.
    #[inline]
    pub fn get(&self, b: Block, i: u32) -> u32 {
        let (words, at) = self.at(b);
        let guess = (MIDDLE[size(b)] * i) >> 8;
        black_box(words[(at + VALUES + guess as usize) & MASK]); // only fetched
        let w = (i >> 5 & 7) as usize;
        let upto = words[(at + w) & MASK] & (u32::MAX >> (31 - (i & 31)));
        let ranks = words[(at + RANKS + w / 4) & MASK];
        let run = (ranks >> (w % 4 * 8) & 255) + upto.count_ones();
        words[(at + VALUES - 1 + run as usize) & MASK]
    }

    /// The word that a block carries beside its entries.
    #[inline]
    pub fn cover(&self, b: Block) -> u32 {
        let (words, at) = self.at(b);
        words[(at + COVER) & MASK]
    }

    /// That word, to be changed.
    pub fn cover_mut(&mut self, b: Block) -> &mut u32 {
        &mut self.at_mut(b)[COVER]
    }

    /// A block of equal entries.
    pub fn make(&mut self, cover: u32, v: u32) -> Block {
        let mut all = Draft::new();
        all.push(0, v);
        self.write(None, cover, &all)
    }

    /// Gives a block back.
    pub fn free(&mut self, b: Block) {
        self.free[size(b)].push(b);
    }

    /// The value of all entries, if they have one.
    pub fn single(&self, b: Block) -> Option<u32> {
        (self.runs(b) == 1).then(|| self.get(b, 0))
    }

    /// Changes the entries of a range, one call of `f` for each run or part of one. The
    /// block may get another name.
    pub fn edit(
        &mut self,
        b: Block,
        range: Range<usize>,
        mut f: impl FnMut(&mut Arena, u32) -> u32,
    ) -> Block {
        let mut old = [0; VALUES + 256];
        let len = VALUES + self.runs(b);
        old[..len].copy_from_slice(&self.at_mut(b)[..len]);
        let mut new = Draft::new();
        let mut run = VALUES - 1;
        for word in 0..8 {
            let starts = old[word];
            let mut at_these = starts | bit_in(word, range.start) | bit_in(word, range.end);
            while at_these != 0 {
                let i = at_these.trailing_zeros();
                at_these &= at_these - 1;
                run += (starts >> i & 1) as usize;
                let at = word * 32 + i as usize;
                let v = match range.contains(&at) {
                    true => f(self, old[run]),
                    false => old[run],
                };
                new.push(at, v);
            }
        }
        self.write(Some(b), old[COVER], &new)
    }

    /// Runs of a block.
    fn runs(&self, b: Block) -> usize {
        let (words, at) = self.at(b);
        let last = words[(at + 7) & MASK].count_ones();
        (words[(at + RANKS + 1) & MASK] >> 24) as usize + last as usize
    }

    /// Writes a block: in its place if its size is right, else in another.
    fn write(&mut self, old: Option<Block>, cover: u32, new: &Draft) -> Block {
        let fit = size_of(new.n);
        let b = match old {
            Some(b) if size(b) == fit => b,
            _ => {
                if let Some(b) = old {
                    self.free(b);
                }
                self.take(fit)
            }
        };
        let words = self.at_mut(b);
        words[..RANKS].copy_from_slice(&new.starts);
        let mut before = 0;
        let mut ranks = [0u8; 8];
        for (rank, word) in ranks.iter_mut().zip(new.starts) {
            *rank = before as u8; // 224 at most
            before += word.count_ones();
        }
        for i in 0..2 {
            words[RANKS + i] = u32::from_le_bytes([0, 1, 2, 3].map(|j| ranks[4 * i + j]));
        }
        words[COVER] = cover;
        words[VALUES..VALUES + new.n].copy_from_slice(&new.values[..new.n]);
        b
    }

    /// A block of a size that nobody has.
    fn take(&mut self, size: usize) -> Block {
        if let Some(b) = self.free[size].pop() {
            return b;
        }
        let lines = SIZES[size];
        if self.chunks.is_empty() || self.used + lines > CHUNK {
            self.chunks.push(Box::new(Chunk([0; CHUNK * LINE])));
            self.used = 0;
        }
        let b = (self.chunks.len() - 1) * CHUNK + self.used;
        self.used += lines;
        (size << SIZE_SHIFT | b) as Block
    }
}

#[cfg(test)]
impl Arena {
    /// Has every block been given back?
    pub(crate) fn all_free(&self) -> bool {
        let free: usize = self.free.iter().zip(SIZES).map(|(f, n)| f.len() * n).sum();
        // What is left at the end of a chunk is less than the largest block.
        let given = self.chunks.len().saturating_sub(1) * CHUNK + self.used;
        given - free <= self.chunks.len().saturating_sub(1) * 16
    }
}
