//! The transport provider interface, as far as timod and tirdwr look into it.
//!
//! Spec: sys/tihdr.h, the reference's (IP and TPI) section 4.

use crate::message::Msg;

/// Primitives (`PRIM_type`, the first word).
#[allow(missing_docs)] // each is the one of its name
pub mod prim {
    pub const T_CONN_REQ: u32 = 0;
    pub const T_DATA_REQ: u32 = 3;
    pub const T_EXDATA_REQ: u32 = 4;
    pub const T_INFO_REQ: u32 = 5;
    pub const O_T_BIND_REQ: u32 = 6;
    pub const T_UNBIND_REQ: u32 = 7;
    pub const T_SVR4_OPTMGMT_REQ: u32 = 9;
    pub const T_ORDREL_REQ: u32 = 10;
    pub const T_CONN_CON: u32 = 12;
    pub const T_DISCON_IND: u32 = 13;
    pub const T_DATA_IND: u32 = 14;
    pub const T_EXDATA_IND: u32 = 15;
    pub const T_INFO_ACK: u32 = 16;
    pub const T_BIND_ACK: u32 = 17;
    pub const T_ERROR_ACK: u32 = 18;
    pub const T_OK_ACK: u32 = 19;
    pub const T_OPTMGMT_ACK: u32 = 22;
    pub const T_ORDREL_IND: u32 = 23;
    pub const T_ADDR_REQ: u32 = 24;
    pub const T_ADDR_ACK: u32 = 25;
    pub const T_BIND_REQ: u32 = 26;
    pub const T_OPTMGMT_REQ: u32 = 27;
    pub const T_CAPABILITY_REQ: u32 = 30;
    pub const T_CAPABILITY_ACK: u32 = 31;
}

/// TLI_error: a system error, UNIX_error says which.
pub const TSYSERR: u32 = 8;

/// Word number `i` of a block.
pub fn word(b: &[u8], i: usize) -> Option<u32> {
    let w = b.get(4 * i..4 * i + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(w))
}

/// The primitive that a message starts with.
pub fn prim_of(mp: &Msg) -> Option<u32> {
    word(mp.rd(), 0)
}

/// The bytes that the words `i` (length) and `i + 1` (offset) name in a block.
pub fn part(b: &[u8], i: usize) -> Option<&[u8]> {
    let len = usize::try_from(word(b, i)?).ok()?;
    let at = usize::try_from(word(b, i + 1)?).ok()?;
    b.get(at..at.checked_add(len)?)
}

/// A block of words.
pub fn words(w: &[u32]) -> Vec<u8> {
    w.iter().flat_map(|w| w.to_ne_bytes()).collect()
}
