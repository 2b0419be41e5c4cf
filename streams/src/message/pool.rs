//! The free lists of a domain: blocks that went through `freemsg` and wait for `allocb`.
//!
//! A domain runs on one thread at a time, so the lists need no lock. Buffers come in
//! size classes; what fits none is freed to the allocator. The lists are bounded, so
//! that a burst does not stay for ever.

use super::{Block, Buf, Msg, MsgType};

/// Bytes of the buffers in each class.
const CLASSES: [usize; 4] = [128, 512, 2048, 9216];
/// Blocks kept of each class.
const KEEP: usize = 256;

/// Free blocks with their buffers, by size class.
#[derive(Default)]
pub struct Pool {
    free: [Vec<Msg>; CLASSES.len()],
}

impl Pool {
    /// An M_DATA block with `head` bytes of headroom and at least `size` bytes of room.
    #[inline]
    pub fn alloc(&mut self, head: usize, size: usize) -> Msg {
        let want = head + size;
        for (i, c) in CLASSES.iter().enumerate() {
            if want <= *c {
                let mut mp = match self.free[i].pop() {
                    Some(mp) => mp,
                    None => Msg::allocb(*c),
                };
                mp.0.rptr = head as u32;
                mp.0.wptr = head as u32;
                return mp;
            }
        }
        Msg::with_headroom(head, size)
    }

    /// Takes a message back, block by block.
    #[inline]
    pub fn free(&mut self, mut mp: Msg) {
        let rest = mp.take_cont();
        self.free_block(mp);
        if let Some(rest) = rest {
            self.free_rest(rest);
        }
    }

    /// What hangs behind the first block.
    #[cold]
    fn free_rest(&mut self, mp: Msg) {
        let mut next = Some(mp);
        while let Some(mut mp) = next {
            next = mp.take_cont();
            self.free_block(mp);
        }
    }

    #[inline]
    fn free_block(&mut self, mut mp: Msg) {
        let Block { data, ctl, .. } = &mut *mp.0;
        *ctl = None;
        if let Buf::Own(d) = data
            && let Some(i) = CLASSES.iter().position(|c| *c == d.len())
            && self.free[i].len() < KEEP
        {
            mp.0.ty = MsgType::Data;
            mp.0.band = 0;
            mp.0.flag = 0;
            mp.0.tag = 0;
            self.free[i].push(mp);
        }
    }

    /// Free blocks held now.
    pub fn len(&self) -> usize {
        self.free.iter().map(Vec::len).sum()
    }

    /// Nothing held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
