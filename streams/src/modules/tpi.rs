//! The transport provider interface: its numbers, for all who speak it, and as much of its
//! blocks as timod and tirdwr look into.
//!
//! Spec: sys/tihdr.h, the reference's (IP and TPI) section 4.

use crate::message::Msg;

/// Primitives (`PRIM_type`, the first word), with the numbers of Solaris 2.6 and later.
pub mod prim {
    macro_rules! primitives {
        ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
            $($(#[$doc])* pub const $name: u32 = $number;)*

            /// All of them: name and number.
            pub const PRIMITIVES: &[(&str, u32)] = &[$((stringify!($name), $number)),*];
        };
    }

    primitives! {
        /// Connect.
        T_CONN_REQ = 0;
        /// Accept a connection, as before XTI. T_CONN_RES up to 2.5.
        O_T_CONN_RES = 1;
        /// Disconnect, or refuse a connection.
        T_DISCON_REQ = 2;
        /// Send data.
        T_DATA_REQ = 3;
        /// Send urgent data.
        T_EXDATA_REQ = 4;
        /// What is the provider, and in which state?
        T_INFO_REQ = 5;
        /// Bind, as before XTI: a busy address gives another one. T_BIND_REQ up to 2.5.
        O_T_BIND_REQ = 6;
        /// Unbind.
        T_UNBIND_REQ = 7;
        /// Send a datagram.
        T_UNITDATA_REQ = 8;
        /// Options, with SVR4's opthdr.
        T_SVR4_OPTMGMT_REQ = 9;
        /// Release in order: no more data will be sent.
        T_ORDREL_REQ = 10;
        /// Somebody connects.
        T_CONN_IND = 11;
        /// Connected.
        T_CONN_CON = 12;
        /// Disconnected, or refused.
        T_DISCON_IND = 13;
        /// Data have come.
        T_DATA_IND = 14;
        /// Urgent data have come.
        T_EXDATA_IND = 15;
        /// Answer to T_INFO_REQ.
        T_INFO_ACK = 16;
        /// Bound, and to which address.
        T_BIND_ACK = 17;
        /// A request is refused.
        T_ERROR_ACK = 18;
        /// A request is done.
        T_OK_ACK = 19;
        /// A datagram has come.
        T_UNITDATA_IND = 20;
        /// A datagram that was sent has met an error.
        T_UDERROR_IND = 21;
        /// Answer to either request about options.
        T_OPTMGMT_ACK = 22;
        /// The peer has released: no more data will come.
        T_ORDREL_IND = 23;
        /// Which are the local and the remote address?
        T_ADDR_REQ = 24;
        /// Answer to T_ADDR_REQ.
        T_ADDR_ACK = 25;
        /// Bind: a busy address is refused.
        T_BIND_REQ = 26;
        /// Options, with XTI's T_opthdr.
        T_OPTMGMT_REQ = 27;
        /// Accept a connection on the stream of an ACCEPTOR_id.
        T_CONN_RES = 28;
        /// What can the provider do?
        T_CAPABILITY_REQ = 30;
        /// Answer to T_CAPABILITY_REQ.
        T_CAPABILITY_ACK = 31;
    }
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
