//! Things that stay where they are as long as they are used, each under a number.
//!
//! ```text
//!   chunks  [ 0 .. 255 ] [ 256 .. 511 ] [ 512 .. ]          none is ever moved: one more
//!              │ free                                      thing costs a chunk at most,
//!   free    [ 7, 300 ]                                     never a copy of all
//! ```

/// Things in a chunk.
const CHUNK: usize = 256;

/// The things.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// The thing with this number.
    #[inline(always)]
    pub fn get(&self, id: u32) -> Option<&T> {
        self.chunks
            .get(id as usize / CHUNK)?
            .get(id as usize % CHUNK)
    }

    /// The thing with this number, to be changed.
    #[inline(always)]
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(id as usize / CHUNK)?
            .get_mut(id as usize % CHUNK)
    }

    /// Keeps a thing and gives it a number; `None` if it would be as high as `most`.
    pub fn insert(&mut self, thing: T, most: u32) -> Option<u32> {
        while let Some(id) = self.free.pop() {
            if let Some(place) = self.get_mut(id) {
                *place = thing;
                return Some(id);
            }
        }
        if self.chunks.last().is_none_or(|c| c.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let last = self.chunks.last_mut()?;
        let id = u32::try_from(before + last.len())
            .ok()
            .filter(|i| *i < most)?;
        last.push(thing);
        Some(id)
    }

    /// The number is no longer used, and will be given to another thing.
    pub fn free(&mut self, id: u32) {
        self.free.push(id);
    }

    /// Things kept, used or not.
    pub fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, Vec::len);
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// Nothing was ever kept.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>() + self.free.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again_and_things_stay_where_they_are() {
        let mut s = Slab::default();
        let ids: Vec<u32> = (0..3000)
            .map(|i| s.insert(i, u32::MAX).expect("room"))
            .collect();
        let places: Vec<*const u32> = ids
            .iter()
            .map(|i| std::ptr::from_ref(s.get(*i).expect("it")))
            .collect();
        s.free(ids[7]);
        assert_eq!(s.insert(9, u32::MAX), Some(ids[7]));
        let more = (0..5000).filter_map(|i| s.insert(i, u32::MAX)).count();
        assert_eq!(more, 5000);
        for (id, place) in ids.iter().zip(places).skip(8) {
            assert_eq!(s.get(*id).map(std::ptr::from_ref), Some(place));
        }
        assert_eq!(s.len(), 8000);
        assert_eq!(s.insert(1, 8000), None);
    }
}
