//! Numbered places that never move.
//!
//! A vector that grows moves all it has: with a million routes that is one change in a
//! million that takes a thousand times as long. Here a chunk is added, and nothing moves.

use std::ops::{Index, IndexMut};

/// Places in a chunk.
const CHUNK: usize = 1024;

/// Things by number. The number of one that was taken away is given out again.
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[T; CHUNK]>>,
    /// Numbers given out so far.
    used: usize,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            used: 0,
            free: Vec::new(),
        }
    }
}

impl<T: Default> Slab<T> {
    /// Puts something in; its number.
    pub fn insert(&mut self, one: T) -> u32 {
        let i = self.free.pop().unwrap_or_else(|| {
            if self.used == self.chunks.len() * CHUNK {
                let chunk = std::array::from_fn(|_| T::default());
                self.chunks.push(Box::new(chunk));
            }
            self.used += 1;
            (self.used - 1) as u32
        });
        self[i] = one;
        i
    }

    /// Takes something out.
    pub fn remove(&mut self, i: u32) -> T {
        self.free.push(i);
        std::mem::take(&mut self[i])
    }
}

impl<T> Slab<T> {
    /// What is there; a number that was never given out has nothing.
    #[inline]
    pub fn get(&self, i: u32) -> Option<&T> {
        let chunk = self.chunks.get(i as usize / CHUNK)?;
        Some(&chunk[i as usize % CHUNK])
    }

    /// What is there, to be changed.
    #[inline]
    pub fn get_mut(&mut self, i: u32) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(i as usize / CHUNK)?;
        Some(&mut chunk[i as usize % CHUNK])
    }

    /// Every place with its number, those that are free too.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.chunks.iter().flat_map(|c| c.iter()))
    }

    /// Things that are in it.
    pub fn len(&self) -> usize {
        self.used - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, i: u32) -> &T {
        &self.chunks[i as usize / CHUNK][i as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, i: u32) -> &mut T {
        &mut self.chunks[i as usize / CHUNK][i as usize % CHUNK]
    }
}
