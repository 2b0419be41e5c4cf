//! The bytes of a primitive: a fixed head of 32-bit words in host order, then the
//! addresses that offsets in the head point at.
//!
//! ```text
//!   0        4                 SIZE            SIZE+len
//!   ├────────┼───── words ──────┼── address 1 ──┼── address 2 ──┤
//!    number    len1 off1 len2 off2 ..
//!                    └───────────▲      └────────▲   offsets count from byte 0
//! ```
//!
//! Spec: dlpi(7P), sys/dlpi.h (t_uscalar_t is 32 bits wide).
//! Kept: an address of length 0 has offset 0 and points nowhere.
//! Differs: none.
//! Not done: the 64-bit alignment that some providers pad with (no structure needs it).

use super::{DlErrno, DlError};

/// Reads the fields of one M_PROTO block in their order.
pub(super) struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(block: &'a [u8]) -> Reader<'a> {
        Reader { block, at: 0 }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DlError> {
        // A block shorter than its structure: DL_BADPRIM, as Solaris drivers answer.
        let b = self.block[self.at..]
            .first_chunk::<N>()
            .ok_or(DlErrno::BADPRIM)?;
        self.at += N;
        Ok(*b)
    }

    pub fn word(&mut self) -> Result<u32, DlError> {
        self.take::<4>().map(u32::from_ne_bytes)
    }

    /// The bytes an (offset, length) pair points at: DL_BADADDR outside the block.
    pub fn bytes(&self, off: u32, len: u32) -> Result<&'a [u8], DlError> {
        bytes_at(self.block, off, len)
    }
}

/// The bytes an (offset, length) pair points at in a block.
#[inline]
pub(super) fn bytes_at(block: &[u8], off: u32, len: u32) -> Result<&[u8], DlError> {
    if len == 0 {
        return Ok(&[]); // the offset of nothing means nothing
    }
    let (off, len) = (off as usize, len as usize);
    block
        .get(off..)
        .and_then(|b| b.get(..len))
        .ok_or(DlError::from(DlErrno::BADADDR))
}

/// Writes a head and the addresses behind it.
pub(super) struct Writer {
    size: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Writer {
    /// `size` is that of the structure: where the addresses begin.
    pub fn new(size: usize) -> Writer {
        Writer {
            size,
            head: Vec::with_capacity(size + 24),
            tail: Vec::new(),
        }
    }

    pub fn word(&mut self, w: u32) {
        self.head.extend_from_slice(&w.to_ne_bytes());
    }

    /// Puts an address behind the head; its length and offset.
    pub fn tail(&mut self, bytes: &[u8]) -> (u32, u32) {
        if bytes.is_empty() {
            return (0, 0);
        }
        let off = (self.size + self.tail.len()) as u32;
        self.tail.extend_from_slice(bytes);
        (bytes.len() as u32, off)
    }

    pub fn finish(mut self) -> Vec<u8> {
        debug_assert_eq!(self.head.len(), self.size);
        self.head.extend_from_slice(&self.tail);
        self.head
    }
}

/// One field of a primitive, by its Rust type.
pub(super) trait Field: Sized {
    /// Bytes it takes in the head.
    const SIZE: usize;
    fn get(r: &mut Reader<'_>) -> Result<Self, DlError>;
    fn put(&self, w: &mut Writer);
}

impl Field for u32 {
    const SIZE: usize = 4;
    fn get(r: &mut Reader<'_>) -> Result<u32, DlError> {
        r.word()
    }
    fn put(&self, w: &mut Writer) {
        w.word(*self);
    }
}

impl Field for i32 {
    const SIZE: usize = 4;
    fn get(r: &mut Reader<'_>) -> Result<i32, DlError> {
        r.take::<4>().map(i32::from_ne_bytes)
    }
    fn put(&self, w: &mut Writer) {
        w.word(*self as u32);
    }
}

impl Field for u16 {
    const SIZE: usize = 2;
    fn get(r: &mut Reader<'_>) -> Result<u16, DlError> {
        r.take::<2>().map(u16::from_ne_bytes)
    }
    fn put(&self, w: &mut Writer) {
        w.head.extend_from_slice(&self.to_ne_bytes());
    }
}

/// An address: length, then offset.
impl Field for Vec<u8> {
    const SIZE: usize = 8;
    fn get(r: &mut Reader<'_>) -> Result<Vec<u8>, DlError> {
        let (len, off) = (r.word()?, r.word()?);
        r.bytes(off, len).map(<[u8]>::to_vec)
    }
    fn put(&self, w: &mut Writer) {
        let (len, off) = w.tail(self);
        w.word(len);
        w.word(off);
    }
}

/// Bytes that the head names by offset first, then length (DL_SUBS_BIND_REQ and the
/// capability primitives).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OffLen(pub Vec<u8>);

impl Field for OffLen {
    const SIZE: usize = 8;
    fn get(r: &mut Reader<'_>) -> Result<OffLen, DlError> {
        let (off, len) = (r.word()?, r.word()?);
        r.bytes(off, len).map(|b| OffLen(b.to_vec()))
    }
    fn put(&self, w: &mut Writer) {
        let (len, off) = w.tail(&self.0);
        w.word(off);
        w.word(len);
    }
}
