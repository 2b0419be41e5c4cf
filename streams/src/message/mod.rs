//! Messages: chains of blocks over data that may be shared.
//!
//! ```text
//!   Msg ──► block ──b_cont──► block ──► none          one message
//!             │                 │
//!             ▼                 ▼
//!      base   rptr   wptr   lim
//!       ├──────┼──────┼──────┤                         one data buffer
//!       headroom  data  tailroom
//! ```
//!
//! A block owns its buffer until `dupmsg` makes it shared; from then on it is
//! read-only until it is copied ([`Msg::unshare`]) or the other owners are gone.
//! Dropping a `Msg` frees the whole chain; `Queue::freemsg` frees it into the
//! pool of the running domain instead, so that the steady state allocates nothing.
//!
//! Spec: msgb(9S), datab(9S), allocb(9F), esballoc(9F), dupmsg(9F), copymsg(9F).
//! Differs: `db_type` belongs to the block, so a duplicate may change its own type.

mod ops;
mod pool;
mod types;

use std::fmt;

use bytes::Bytes;

pub use pool::Pool;
pub use types::*;

/// A message: one or more blocks. Moving it is moving a pointer; dropping it frees it.
#[must_use = "a message that is dropped here is lost without being counted: use discard or freemsg"]
pub struct Msg(Box<Block>);

/// One message block and the buffer it looks at.
pub(crate) struct Block {
    rptr: u32,
    wptr: u32,
    ty: MsgType,
    band: u8,
    flag: u16,
    tag: u32,
    data: Buf,
    cont: Option<Msg>,
    ctl: Option<Box<Ctl>>,
}

/// The buffer behind a block.
enum Buf {
    /// Ours alone: may be written.
    Own(Box<[u8]>),
    /// Seen by others too (dupb), or lent by an outsider (esballoc): read-only.
    Shared(Bytes),
}

/// An outsider's buffer, and what he wants to be told at its end.
struct Lent {
    data: Bytes,
    free: Option<Box<dyn FnOnce() + Send>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(free) = self.free.take() {
            free();
        }
    }
}

impl Buf {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Buf::Own(b) => b.len(),
            Buf::Shared(b) => b.len(),
        }
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Buf::Own(b) => b,
            Buf::Shared(b) => b,
        }
    }
}

impl Msg {
    /// allocb(9F): an M_DATA block with room for `size` bytes and nothing in it.
    pub fn allocb(size: usize) -> Msg {
        Msg::from_buf(Buf::Own(vec![0; size].into_boxed_slice()), 0, 0)
    }

    /// A block with `head` bytes of headroom and `size` bytes of room behind it.
    pub fn with_headroom(head: usize, size: usize) -> Msg {
        let mut mp = Msg::allocb(head + size);
        mp.0.rptr = head as u32;
        mp.0.wptr = head as u32;
        mp
    }

    /// esballoc(9F): a block over a buffer that an outsider owns; read-only until copied.
    pub fn esballoc(data: Bytes) -> Msg {
        let n = data.len() as u32;
        Msg::from_buf(Buf::Shared(data), 0, n)
    }

    /// esballoc(9F) with a free routine: `free` runs when the last block that looks at the
    /// buffer is gone, on whatever thread that is.
    pub fn esballoc_with(data: Bytes, free: impl FnOnce() + Send + 'static) -> Msg {
        Msg::esballoc(Bytes::from_owner(Lent {
            data,
            free: Some(Box::new(free)),
        }))
    }

    /// An M_DATA block holding a copy of `data`.
    pub fn data(data: &[u8]) -> Msg {
        Msg::of(MsgType::Data, data)
    }

    /// A block of the given type holding a copy of `data`.
    pub fn of(ty: MsgType, data: &[u8]) -> Msg {
        let mut mp = Msg::from_buf(Buf::Own(data.into()), 0, data.len() as u32);
        mp.0.ty = ty;
        mp
    }

    /// A control message: its type, and the typed head that it carries.
    pub fn control(ty: MsgType, ctl: Ctl) -> Msg {
        let mut mp = Msg::allocb(0);
        mp.0.ty = ty;
        mp.0.ctl = Some(Box::new(ctl));
        mp
    }

    fn from_buf(data: Buf, rptr: u32, wptr: u32) -> Msg {
        Msg(Box::new(Block {
            rptr,
            wptr,
            ty: MsgType::Data,
            band: 0,
            flag: 0,
            tag: 0,
            data,
            cont: None,
            ctl: None,
        }))
    }

    /// `db_type` of the first block.
    #[inline]
    pub fn ty(&self) -> MsgType {
        self.0.ty
    }
    /// Changes the type of the first block.
    #[inline]
    pub fn set_ty(&mut self, ty: MsgType) {
        self.0.ty = ty;
    }
    /// High priority: never flow controlled.
    #[inline]
    pub fn is_high_pri(&self) -> bool {
        self.0.ty.is_high_pri()
    }
    /// `b_band` of the first block.
    #[inline]
    pub fn band(&self) -> u8 {
        self.0.band
    }
    /// Sets `b_band`.
    #[inline]
    pub fn set_band(&mut self, band: u8) {
        self.0.band = band;
    }
    /// `b_flag` of the first block (MSGMARK, MSGNOLOOP, MSGDELIM..).
    #[inline]
    pub fn flag(&self) -> u16 {
        self.0.flag
    }
    /// Sets `b_flag`.
    #[inline]
    pub fn set_flag(&mut self, flag: u16) {
        self.0.flag = flag;
    }
    /// The number the flow trace knows this message by; 0 until it is traced.
    #[inline]
    pub fn tag(&self) -> u32 {
        self.0.tag
    }
    /// Gives the message its number in the flow trace.
    #[inline]
    pub fn set_tag(&mut self, tag: u32) {
        self.0.tag = tag;
    }

    /// `b_cont`: the rest of the message.
    #[inline]
    pub fn cont(&self) -> Option<&Msg> {
        self.0.cont.as_ref()
    }
    /// `b_cont`, to be changed.
    #[inline]
    pub fn cont_mut(&mut self) -> Option<&mut Msg> {
        self.0.cont.as_mut()
    }
    /// Cuts the chain behind the first block and returns the rest.
    #[inline]
    pub fn take_cont(&mut self) -> Option<Msg> {
        self.0.cont.take()
    }
    /// Hangs `rest` behind the first block, returning what hung there.
    pub fn set_cont(&mut self, rest: Option<Msg>) -> Option<Msg> {
        std::mem::replace(&mut self.0.cont, rest)
    }

    /// The typed head of a control message.
    #[inline]
    pub fn ctl(&self) -> Option<&Ctl> {
        self.0.ctl.as_deref()
    }
    /// The typed head, to be changed.
    #[inline]
    pub fn ctl_mut(&mut self) -> Option<&mut Ctl> {
        self.0.ctl.as_deref_mut()
    }
    /// Replaces the typed head, returning the former one.
    pub fn set_ctl(&mut self, ctl: Option<Ctl>) -> Option<Ctl> {
        std::mem::replace(&mut self.0.ctl, ctl.map(Box::new)).map(|b| *b)
    }
    /// The iocblk of an M_IOCTL, M_IOCACK or M_IOCNAK.
    #[inline]
    pub fn ioc(&self) -> Option<&IocBlk> {
        match self.ctl() {
            Some(Ctl::Ioc(i)) => Some(i),
            _ => None,
        }
    }
    /// The iocblk, to be changed.
    #[inline]
    pub fn ioc_mut(&mut self) -> Option<&mut IocBlk> {
        match self.ctl_mut() {
            Some(Ctl::Ioc(i)) => Some(i),
            _ => None,
        }
    }

    /// `b_rptr..b_wptr`: the data of the first block.
    #[inline]
    pub fn rd(&self) -> &[u8] {
        let b = &*self.0;
        &b.data.bytes()[b.rptr as usize..b.wptr as usize]
    }
    /// Bytes in the first block.
    #[inline]
    pub fn len(&self) -> usize {
        (self.0.wptr - self.0.rptr) as usize
    }
    /// No bytes in the first block.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.wptr == self.0.rptr
    }
    /// Bytes free before the data.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.0.rptr as usize
    }
    /// Bytes free behind the data.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.0.data.len() - self.0.wptr as usize
    }
    /// `db_ref > 1`, or the buffer is an outsider's: writing needs a copy.
    #[inline]
    pub fn is_shared(&self) -> bool {
        matches!(&self.0.data, Buf::Shared(_))
    }

    /// Makes the first block writable: takes the buffer back if the other owners
    /// are gone, else copies it, keeping headroom and tailroom.
    #[inline]
    pub fn unshare(&mut self) {
        if self.is_shared() {
            self.unshare_slow();
        }
    }

    #[cold]
    fn unshare_slow(&mut self) {
        let b = &mut *self.0;
        if let Buf::Shared(d) = &mut b.data {
            let own: Box<[u8]> = match std::mem::take(d).try_into_mut() {
                Ok(m) => Vec::from(m).into_boxed_slice(),
                Err(shared) => shared[..].into(),
            };
            b.data = Buf::Own(own);
        }
    }

    /// The data of the first block, to be changed; copies a shared buffer first.
    #[inline]
    pub fn rd_mut(&mut self) -> &mut [u8] {
        self.unshare();
        let b = &mut *self.0;
        match &mut b.data {
            Buf::Own(d) => &mut d[b.rptr as usize..b.wptr as usize],
            Buf::Shared(_) => &mut [],
        }
    }

    /// The room behind the data of the first block, to be filled and then claimed with
    /// [`Msg::advance_wptr`]; copies a shared buffer first.
    pub fn room_mut(&mut self) -> &mut [u8] {
        self.unshare();
        let b = &mut *self.0;
        match &mut b.data {
            Buf::Own(d) => &mut d[b.wptr as usize..],
            Buf::Shared(_) => &mut [],
        }
    }

    /// `b_wptr += n`, bounded by the buffer. Returns how far it went.
    pub fn advance_wptr(&mut self, n: usize) -> usize {
        let n = n.min(self.tailroom());
        self.0.wptr += n as u32;
        n
    }
    /// `b_rptr += n`, bounded by the data. Returns how far it went.
    #[inline]
    pub fn advance_rptr(&mut self, n: usize) -> usize {
        let n = n.min(self.len());
        self.0.rptr += n as u32;
        n
    }
    /// `b_wptr = b_rptr + n`: keeps the first `n` bytes of the block.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.0.wptr = self.0.rptr + n as u32;
        }
    }

    /// Opens `n` bytes in front of the data and returns them to be written: in the
    /// headroom if there is enough and the block is unshared, else in a new block in
    /// front, with `spare` bytes of headroom of its own. Everything but the data (type,
    /// band, flags, tag) goes with the front of the message.
    #[inline]
    pub fn prepend(&mut self, n: usize, spare: usize) -> &mut [u8] {
        if self.is_shared() || self.headroom() < n {
            self.new_front(n, spare);
        } else {
            self.0.rptr -= n as u32;
        }
        let b = &mut *self.0;
        match &mut b.data {
            Buf::Own(d) => &mut d[b.rptr as usize..b.rptr as usize + n],
            Buf::Shared(_) => &mut [],
        }
    }

    #[cold]
    fn new_front(&mut self, n: usize, spare: usize) {
        let mut front = Msg::with_headroom(spare, n);
        front.advance_wptr(n);
        front.0.ty = self.0.ty;
        front.0.band = self.0.band;
        front.0.flag = self.0.flag;
        front.0.tag = self.0.tag;
        front.0.ctl = self.0.ctl.take();
        let rest = std::mem::replace(self, front);
        self.0.cont = Some(rest);
    }

    /// Appends to the tailroom of the first block; false if there is not enough.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        if self.tailroom() < bytes.len() {
            return false;
        }
        self.room_mut()[..bytes.len()].copy_from_slice(bytes);
        self.advance_wptr(bytes.len());
        true
    }

    /// The blocks of the message, first to last.
    pub fn blocks(&self) -> impl Iterator<Item = &Msg> {
        std::iter::successors(Some(self), |m| m.cont())
    }

    /// All bytes of the message, whatever the types of the blocks.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut v = Vec::with_capacity(self.msgsize());
        for b in self.blocks() {
            v.extend_from_slice(b.rd());
        }
        v
    }
}

impl Drop for Block {
    /// Frees a long chain in a loop: a chain of a million blocks must not recurse.
    fn drop(&mut self) {
        let mut rest = self.cont.take();
        while let Some(mut m) = rest {
            rest = m.take_cont();
        }
    }
}

impl fmt::Debug for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.blocks().enumerate() {
            let sep = if i == 0 { "" } else { " + " };
            write!(f, "{sep}{}[{}]", b.ty().name(), b.len())?;
            if b.0.band != 0 {
                write!(f, " band {}", b.0.band)?;
            }
            if let Some(c) = b.ctl() {
                write!(f, " {c:?}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
