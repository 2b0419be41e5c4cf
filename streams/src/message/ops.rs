//! What the DDI does with whole messages: duplicate, copy, join, cut, pull up.
//!
//! Spec: dupb(9F), dupmsg(9F), copyb(9F), copymsg(9F), linkb(9F), unlinkb(9F), rmvb(9F),
//! pullupmsg(9F), msgpullup(9F), adjmsg(9F), msgdsize(9F), msgsize, datamsg(9F).

use super::{Block, Buf, Ctl, Msg, MsgType};
use bytes::Bytes;

impl Msg {
    /// dupb(9F): a second block over the same data. Both are read-only from now on.
    /// The typed head of a control message is copied; one that can't be (a passed file,
    /// a copyreq's private message) stays with the original.
    pub fn dupb(&mut self) -> Msg {
        let b = &mut *self.0;
        if let Buf::Own(d) = &mut b.data {
            b.data = Buf::Shared(Bytes::from(std::mem::take(d)));
        }
        let data = match &b.data {
            Buf::Shared(s) => Buf::Shared(s.clone()),
            Buf::Own(_) => Buf::Own(Box::default()),
        };
        Msg(Box::new(b.twin(data)))
    }

    /// dupmsg(9F): [`Msg::dupb`] for every block.
    pub fn dupmsg(&mut self) -> Msg {
        let mut dup = self.dupb();
        if let Some(c) = self.cont_mut() {
            let rest = c.dupmsg();
            dup.set_cont(Some(rest));
        }
        dup
    }

    /// copyb(9F): a block with its own copy of the data, headroom and tailroom.
    pub fn copyb(&self) -> Msg {
        Msg(Box::new(self.0.twin(Buf::Own(self.0.data.bytes().into()))))
    }

    /// copymsg(9F): [`Msg::copyb`] for every block.
    pub fn copymsg(&self) -> Msg {
        let mut copy = self.copyb();
        if let Some(c) = self.cont() {
            copy.set_cont(Some(c.copymsg()));
        }
        copy
    }

    /// linkb(9F): hangs `tail` behind the last block.
    pub fn linkb(&mut self, tail: Msg) {
        let mut last = self;
        while last.0.cont.is_some() {
            match last.0.cont.as_mut() {
                Some(c) => last = c,
                None => return,
            }
        }
        last.0.cont = Some(tail);
    }

    /// unlinkb(9F): takes the first block off; `self` keeps it, the rest is returned.
    pub fn unlinkb(&mut self) -> Option<Msg> {
        self.take_cont()
    }

    /// rmvb(9F): removes block number `n` (0 is the first) and returns what remains and
    /// the block removed; `None` in its place if the message has no such block.
    pub fn rmvb(mut self, n: usize) -> (Option<Msg>, Option<Msg>) {
        if n == 0 {
            let rest = self.take_cont();
            return (rest, Some(self));
        }
        let mut at = &mut self;
        for _ in 1..n {
            match at.0.cont.as_mut() {
                Some(c) => at = c,
                None => return (Some(self), None),
            }
        }
        let mut gone = at.take_cont();
        if let Some(g) = &mut gone {
            at.0.cont = g.take_cont();
        }
        (Some(self), gone)
    }

    /// msgdsize(9F): bytes in the M_DATA blocks.
    pub fn msgdsize(&self) -> usize {
        self.blocks()
            .filter(|b| b.ty() == MsgType::Data)
            .map(Msg::len)
            .sum()
    }

    /// Bytes in all blocks; what a queue counts.
    #[inline]
    pub fn msgsize(&self) -> usize {
        match self.cont() {
            None => self.len(),
            Some(_) => self.blocks().map(Msg::len).sum(),
        }
    }

    /// datamsg(9F): M_DATA, M_PROTO, M_PCPROTO or M_DELAY.
    pub fn datamsg(&self) -> bool {
        self.ty().is_data()
    }

    /// pullupmsg(9F): makes the first `len` bytes contiguous in the first block; `None`
    /// means all. Blocks of another type than the first end the run, as on Solaris.
    /// False, and nothing changed, if there are not so many bytes.
    pub fn pullupmsg(&mut self, len: Option<usize>) -> bool {
        let ty = self.ty();
        let have: usize = self
            .blocks()
            .take_while(|b| b.ty() == ty)
            .map(Msg::len)
            .sum();
        let want = match len {
            None => have,
            Some(n) if n <= have => n,
            Some(_) => return false,
        };
        if want <= self.len() && len.is_some() {
            return true;
        }
        if self.cont().is_none() {
            return true;
        }
        let mut front = Msg(Box::new(self.0.twin(Buf::Own(
            vec![0; self.headroom() + want.max(64)].into_boxed_slice(),
        ))));
        front.0.wptr = front.0.rptr;
        front.0.ctl = self.0.ctl.take();
        let (rptr, empty) = (front.0.rptr, Msg::from_buf(Buf::Own(Box::default()), 0, 0));
        debug_assert_eq!(rptr, self.0.rptr);
        let mut rest = Some(std::mem::replace(self, empty));
        let mut left = want;
        while let Some(mut b) = rest {
            if b.ty() != ty || (left == 0 && !b.is_empty()) {
                front.set_cont(Some(b));
                break;
            }
            let n = left.min(b.len());
            front.append(&b.rd()[..n]);
            left -= n;
            b.advance_rptr(n);
            if b.is_empty() {
                rest = b.take_cont();
            } else {
                rest = Some(b);
            }
        }
        *self = front;
        true
    }

    /// msgpullup(9F): a new message whose first block holds the first `len` bytes
    /// (`None`: all of the first type); the original stays as it is.
    pub fn msgpullup(&self, len: Option<usize>) -> Option<Msg> {
        let mut copy = self.copymsg();
        if copy.pullupmsg(len) {
            Some(copy)
        } else {
            None
        }
    }

    /// adjmsg(9F): trims `len` bytes from the front, or `-len` from the back, going over
    /// block boundaries but only through blocks of one type. False, and nothing changed,
    /// if there are not so many bytes.
    pub fn adjmsg(&mut self, len: isize) -> bool {
        let mut left = len.unsigned_abs();
        if len >= 0 {
            let ty = self.ty();
            let have: usize = self
                .blocks()
                .take_while(|b| b.ty() == ty)
                .map(Msg::len)
                .sum();
            if have < left {
                return false;
            }
            let mut at = self;
            loop {
                left -= at.advance_rptr(left);
                match at.0.cont.as_mut() {
                    Some(c) if left > 0 => at = c,
                    _ => return true,
                }
            }
        }
        // From the back: the run of blocks that have the type of the last one.
        let types: Vec<(MsgType, usize)> = self.blocks().map(|b| (b.ty(), b.len())).collect();
        let Some(&(last, _)) = types.last() else {
            return false;
        };
        let run = types.iter().rev().take_while(|(t, _)| *t == last).count();
        let first = types.len() - run;
        let have: usize = types[first..].iter().map(|(_, n)| n).sum();
        if have < left {
            return false;
        }
        let mut keep = have - left;
        let mut at = Some(self);
        let mut i = 0;
        while let Some(b) = at {
            if i >= first {
                let n = keep.min(b.len());
                b.truncate(n);
                keep -= n;
            }
            i += 1;
            at = b.0.cont.as_mut();
        }
        true
    }
}

impl Block {
    /// A block with everything of this one but the chain and another buffer.
    fn twin(&self, data: Buf) -> Block {
        Block {
            rptr: self.rptr,
            wptr: self.wptr,
            ty: self.ty,
            band: self.band,
            flag: self.flag,
            tag: self.tag,
            data,
            cont: None,
            ctl: self.ctl.as_deref().and_then(copy_ctl).map(Box::new),
        }
    }
}

fn copy_ctl(c: &Ctl) -> Option<Ctl> {
    Some(match c {
        Ctl::Ioc(i) => Ctl::Ioc(*i),
        Ctl::Link(l) => Ctl::Link(*l),
        Ctl::SetOpts(s) => Ctl::SetOpts(*s),
        Ctl::CopyReq(_) | Ctl::CopyResp(_) | Ctl::PassFp(..) => return None,
    })
}
