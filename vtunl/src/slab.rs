//! Things that stay where they are as long as they are used, each under a number.
//!
//! ```text
//!   chunks  [ 0 .. 63 ] [ 64 .. 1087 ] [ 1088 .. ]          none is ever moved: who looks
//!              │ free                                       has the chunks, and the list of
//!   free    [ 7, 300 ]                                      them anew when there is one more
//! ```
//!
//! One gives numbers while others look: what can change in a thing is therefore an atomic.
//! A number is given again only when its owner says that nobody looks at it any more.

use std::sync::Arc;

/// Things in the first chunk.
const FIRST: u32 = 64;
/// Things in each other chunk.
const CHUNK: u32 = 1024;

/// The things as they are looked at.
#[derive(Debug)]
pub struct Chunks<T>(Arc<Vec<Arc<[T]>>>);

impl<T> Clone for Chunks<T> {
    fn clone(&self) -> Self {
        Chunks(self.0.clone())
    }
}

impl<T> Chunks<T> {
    /// The thing with this number.
    #[inline(always)]
    pub fn get(&self, id: u32) -> Option<&T> {
        if id < FIRST {
            return self.0.first()?.get(id as usize);
        }
        let id = id - FIRST;
        self.0
            .get(1 + (id / CHUNK) as usize)?
            .get((id % CHUNK) as usize)
    }
}

/// The things, for who gives them numbers.
#[derive(Debug)]
pub struct Slab<T> {
    shown: Chunks<T>,
    free: Vec<u32>,
    /// Numbers whose things are no longer used, but may still be looked at.
    freed: Vec<u32>,
    /// The first number that was never given.
    next: u32,
    changed: bool,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            shown: Chunks(Arc::default()),
            free: Vec::new(),
            freed: Vec::new(),
            next: 0,
            changed: false,
        }
    }
}

impl<T: Default> Slab<T> {
    /// The thing with this number.
    #[inline(always)]
    pub fn get(&self, id: u32) -> Option<&T> {
        self.shown.get(id)
    }

    /// Numbers that there are things for.
    fn room(&self) -> u32 {
        match self.shown.0.len() as u32 {
            0 => 0,
            n => FIRST + (n - 1) * CHUNK,
        }
    }

    /// Sees to it that there is a thing for the next number.
    pub fn make_room(&mut self) {
        if !self.free.is_empty() || self.next < self.room() {
            return;
        }
        let size = if self.next == 0 { FIRST } else { CHUNK };
        let chunk = std::iter::repeat_with(T::default).take(size as usize);
        let chunk: Vec<T> = chunk.collect();
        Arc::make_mut(&mut self.shown.0).push(chunk.into());
        self.changed = true;
    }

    /// Gives a number; `None` if it would be as high as `most`. What the thing was before is
    /// still to be seen in it.
    pub fn take(&mut self, most: u32) -> Option<u32> {
        self.make_room();
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        let id = Some(self.next).filter(|id| *id < most)?;
        self.next += 1;
        Some(id)
    }

    /// The thing with this number is no longer used.
    pub fn free(&mut self, id: u32) {
        self.freed.push(id);
    }

    /// The numbers freed since this was last asked. They are to be given back when nobody
    /// looks at their things.
    pub fn take_freed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.freed)
    }

    /// Nobody looks at the thing with this number any more: it may be given again.
    pub fn give_back(&mut self, id: u32) {
        self.free.push(id);
    }

    /// Numbers given, in use or not.
    pub fn len(&self) -> usize {
        self.next as usize
    }

    /// No number was ever given.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.room() as usize * size_of::<T>() + self.free.capacity() * 4
    }

    /// What is to be looked at from now on.
    pub fn shown(&self) -> Chunks<T> {
        self.shown.clone()
    }

    /// Is there one more chunk since this was last asked?
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn numbers_are_given_again_and_things_stay_where_they_are() {
        let mut s = Slab::<AtomicU32>::default();
        let ids: Vec<u32> = (0..9000).map(|_| s.take(u32::MAX).expect("room")).collect();
        let places: Vec<*const AtomicU32> = ids
            .iter()
            .map(|i| std::ptr::from_ref(s.get(*i).expect("it")))
            .collect();
        let shown = s.shown();
        s.give_back(ids[7]);
        assert_eq!(s.take(u32::MAX), Some(ids[7]));
        assert_eq!((0..5000).filter_map(|_| s.take(u32::MAX)).count(), 5000);
        for (id, place) in ids.iter().zip(places) {
            assert_eq!(s.get(*id).map(std::ptr::from_ref), Some(place));
            assert_eq!(shown.get(*id).map(std::ptr::from_ref), Some(place));
        }
        assert_eq!(s.len(), 14_000);
        assert_eq!(s.take(14_000), None);
    }
}
