//! The datagram primitives without allocation: read in place, written into a block that
//! the caller took from the pool.
//!
//! ```text
//!   DL_UNITDATA_REQ   07 | len off | min max | dest ..
//!   DL_UNITDATA_IND   08 | len off | len off | group | dest .. src ..
//! ```
//!
//! Spec: dlpi(7P). Same layouts as [`super::Prim`], proven equal in the tests.

use streams::{Msg, MsgType};

use super::codec::bytes_at;
use super::{DL_UNITDATA_IND, DL_UNITDATA_REQ, DlErrno, DlError};

/// Bytes of a DL_UNITDATA_REQ without the address.
pub const UNITDATA_REQ_SIZE: usize = 20;
/// Bytes of a DL_UNITDATA_IND without the addresses.
pub const UNITDATA_IND_SIZE: usize = 24;

/// A DL_UNITDATA_REQ in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitdataReq<'a> {
    /// The DLSAP it goes to.
    pub dest: &'a [u8],
    /// Lowest and desired priority.
    pub priority: (i32, i32),
}

/// A DL_UNITDATA_IND in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitdataInd<'a> {
    /// The DLSAP it was sent to.
    pub dest: &'a [u8],
    /// The DLSAP it came from.
    pub src: &'a [u8],
    /// The destination was a multicast or broadcast address.
    pub group: bool,
}

#[inline]
fn words<const N: usize>(block: &[u8]) -> Result<[u32; N], DlError> {
    let (words, _) = block.as_chunks::<4>();
    let head = words.first_chunk::<N>().ok_or(DlErrno::BADPRIM)?;
    Ok(head.map(u32::from_ne_bytes))
}

/// Reads a DL_UNITDATA_REQ. DL_BADPRIM if it is none or too short, DL_BADADDR if the
/// address is outside the block.
#[inline]
pub fn unitdata_req(block: &[u8]) -> Result<UnitdataReq<'_>, DlError> {
    let [number, len, off, min, max] = words::<5>(block)?;
    if number != DL_UNITDATA_REQ {
        return Err(DlErrno::BADPRIM.into());
    }
    Ok(UnitdataReq {
        dest: bytes_at(block, off, len)?,
        priority: (min as i32, max as i32),
    })
}

/// Reads a DL_UNITDATA_IND; errors as [`unitdata_req`].
#[inline]
pub fn unitdata_ind(block: &[u8]) -> Result<UnitdataInd<'_>, DlError> {
    let [number, dlen, doff, slen, soff, group] = words::<6>(block)?;
    if number != DL_UNITDATA_IND {
        return Err(DlErrno::BADPRIM.into());
    }
    let (dest, src) = (bytes_at(block, doff, dlen)?, bytes_at(block, soff, slen)?);
    Ok(UnitdataInd {
        dest,
        src,
        group: group != 0,
    })
}

/// Appends native words.
#[inline]
fn put_words(room: &mut [u8], words: &[u32]) {
    let (room, _) = room.as_chunks_mut::<4>();
    for (to, w) in room.iter_mut().zip(words) {
        *to = w.to_ne_bytes();
    }
}

/// Makes an empty block a DL_UNITDATA_REQ. False, and the block unchanged, if it has not
/// the room.
#[inline]
pub fn put_unitdata_req(mp: &mut Msg, dest: &[u8]) -> bool {
    let size = UNITDATA_REQ_SIZE;
    if mp.tailroom() < size + dest.len() {
        return false;
    }
    let room = mp.room_mut();
    let off = if dest.is_empty() { 0 } else { size as u32 };
    put_words(room, &[DL_UNITDATA_REQ, dest.len() as u32, off, 0, 0]);
    room[size..size + dest.len()].copy_from_slice(dest);
    mp.advance_wptr(size + dest.len());
    mp.set_ty(MsgType::Proto);
    true
}

/// Makes an empty block a DL_UNITDATA_IND. False, and the block unchanged, if it has not
/// the room.
#[inline]
pub fn put_unitdata_ind(mp: &mut Msg, dest: &[u8], src: &[u8], group: bool) -> bool {
    let size = UNITDATA_IND_SIZE;
    let all = size + dest.len() + src.len();
    if mp.tailroom() < all {
        return false;
    }
    let room = mp.room_mut();
    let doff = if dest.is_empty() { 0 } else { size };
    let soff = if src.is_empty() { 0 } else { size + dest.len() };
    let (dlen, slen) = (dest.len() as u32, src.len() as u32);
    put_words(
        room,
        &[
            DL_UNITDATA_IND,
            dlen,
            doff as u32,
            slen,
            soff as u32,
            u32::from(group),
        ],
    );
    room[size..size + dest.len()].copy_from_slice(dest);
    room[size + dest.len()..all].copy_from_slice(src);
    mp.advance_wptr(all);
    mp.set_ty(MsgType::Proto);
    true
}
