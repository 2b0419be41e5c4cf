//! T_OPTMGMT_REQ on /dev/udp: the options of one stream, looked at and set.
//!
//! ```text
//!   T_NEGOTIATE [level name len value]..  ──► set, each ──► T_OPTMGMT_ACK T_SUCCESS, the same
//!   T_CURRENT, T_CHECK                    ──► looked up ──► T_OPTMGMT_ACK with the values
//!   T_DEFAULT                             ──► what a fresh stream has
//! ```
//!
//! Spec: tihdr(7P) T_OPTMGMT_REQ, udp(7P), ip(7P), sys/socket.h, the reference's ip-tpi 4.2
//! to 4.5. The structure is SVR4's opthdr: level, name, length, value, each a word.
//! Kept: an option that is unknown fails the whole request (TBADOPT), and nothing is set.
//! Differs: T_CHECK does not try a value, it tells the one there is.

use streams::prelude::*;

use crate::tpi::{self, Tli};

/// Level of options of the socket layer.
pub const SOL_SOCKET: u32 = 0xffff;
/// Broadcasts may be sent.
pub const SO_BROADCAST: u32 = 0x20;
/// Errors come as T_UDERROR_IND.
pub const SO_DGRAM_ERRIND: u32 = 0x200;
/// Level of options of IP.
pub const IPPROTO_IP: u32 = 0;
/// Type of service.
pub const IP_TOS: u32 = 3;
/// Time to live of unicast datagrams.
pub const IP_TTL: u32 = 4;
/// Time to live of multicast datagrams.
pub const IP_MULTICAST_TTL: u32 = 0x11;

/// T_NEGOTIATE: set.
pub const T_NEGOTIATE: u32 = 4;
/// T_CHECK.
pub const T_CHECK: u32 = 8;
/// T_DEFAULT.
pub const T_DEFAULT: u32 = 0x10;
/// T_SUCCESS: in the answer.
pub const T_SUCCESS: u32 = 0x20;
/// T_CURRENT.
pub const T_CURRENT: u32 = 0x80;

/// The options of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// SO_BROADCAST.
    pub broadcast: bool,
    /// SO_DGRAM_ERRIND.
    pub errind: bool,
    /// IP_TOS.
    pub tos: u8,
    /// IP_TTL; `None` for the default of the host.
    pub ttl: Option<u8>,
    /// IP_MULTICAST_TTL.
    pub multicast_ttl: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            broadcast: false,
            errind: false,
            tos: 0,
            ttl: None,
            multicast_ttl: 1, // RFC 1112 6.1
        }
    }
}

impl Options {
    fn get(&self, level: u32, name: u32, default_ttl: u8) -> Option<u32> {
        Some(match (level, name) {
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast.into(),
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind.into(),
            (IPPROTO_IP, IP_TOS) => self.tos.into(),
            (IPPROTO_IP, IP_TTL) => self.ttl.unwrap_or(default_ttl).into(),
            (IPPROTO_IP, IP_MULTICAST_TTL) => self.multicast_ttl.into(),
            _ => return None,
        })
    }

    /// `None`: no such option, or a value that it can't have.
    fn set(&mut self, level: u32, name: u32, value: u32) -> Option<()> {
        let byte = || u8::try_from(value).ok();
        match (level, name) {
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast = value != 0,
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind = value != 0,
            (IPPROTO_IP, IP_TOS) => self.tos = byte()?,
            (IPPROTO_IP, IP_TTL) => self.ttl = Some(byte().filter(|t| *t > 0)?),
            (IPPROTO_IP, IP_MULTICAST_TTL) => self.multicast_ttl = byte()?,
            _ => return None,
        }
        Some(())
    }
}

/// The answer to a T_OPTMGMT_REQ; `mine` is changed only if all of it can be.
pub(crate) fn manage(
    mine: &mut Options,
    default_ttl: u8,
    prim: u32,
    opts: &[u8],
    flags: u32,
) -> Msg {
    if !matches!(flags, T_NEGOTIATE | T_CHECK | T_DEFAULT | T_CURRENT) {
        return tpi::error_ack(prim, Tli::BADFLAG, None);
    }
    let bad = || tpi::error_ack(prim, Tli::BADOPT, None);
    let mut new = *mine;
    let mut out = Vec::new();
    let mut rest = opts;
    while !rest.is_empty() {
        let Some((head, behind)) = rest.split_first_chunk::<12>() else {
            return bad();
        };
        let [level, name, len, ..] = tpi::words(head);
        let Some((value, behind)) = behind.split_at_checked(len as usize) else {
            return bad();
        };
        rest = behind;
        let now = match flags {
            T_NEGOTIATE => {
                let word = value.first_chunk().map(|w| u32::from_ne_bytes(*w));
                match word.and_then(|w| new.set(level, name, w).map(|()| w)) {
                    Some(w) => Some(w),
                    None => return bad(),
                }
            }
            T_DEFAULT => Options::default().get(level, name, default_ttl),
            _ => new.get(level, name, default_ttl),
        };
        let Some(now) = now else { return bad() };
        for w in [level, name, 4, now] {
            out.extend(w.to_ne_bytes());
        }
    }
    *mine = new;
    tpi::optmgmt_ack(&out, T_SUCCESS)
}
