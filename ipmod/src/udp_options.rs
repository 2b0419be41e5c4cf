//! The options of a /dev/udp stream; tpi_options.rs reads the requests, membership.rs has
//! those of groups.
//!
//! Spec: udp(7P), ip(7P), sys/socket.h, the reference's ip-tpi 4.5.

pub use crate::membership::{IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_MULTICAST_TTL};
use crate::tpi_options::{self, Refused};
pub use crate::tpi_options::{
    IP_TOS, IP_TTL, IPPROTO_IP, SOL_SOCKET, T_CHECK, T_CURRENT, T_DEFAULT, T_NEGOTIATE, T_SUCCESS,
};

/// The port may be somebody else's already.
pub const SO_REUSEADDR: u32 = 0x4;
/// Broadcasts may be sent.
pub const SO_BROADCAST: u32 = 0x20;
/// Errors come as T_UDERROR_IND.
pub const SO_DGRAM_ERRIND: u32 = 0x200;

/// The options of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// SO_REUSEADDR.
    pub reuse: bool,
    /// SO_BROADCAST.
    pub broadcast: bool,
    /// SO_DGRAM_ERRIND.
    pub errind: bool,
    /// IP_TOS.
    pub tos: u8,
    /// IP_TTL; `None` for the default of the host.
    pub ttl: Option<u8>,
    /// `ip_def_ttl`, as it was when the options were last looked at.
    pub default_ttl: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            reuse: false,
            broadcast: false,
            errind: false,
            tos: 0,
            ttl: None,
            default_ttl: 255,
        }
    }
}

impl tpi_options::Options for Options {
    const ALL: &'static [(u32, u32)] = &[
        (SOL_SOCKET, SO_REUSEADDR),
        (SOL_SOCKET, SO_BROADCAST),
        (SOL_SOCKET, SO_DGRAM_ERRIND),
        (IPPROTO_IP, IP_TOS),
        (IPPROTO_IP, IP_TTL),
        (IPPROTO_IP, IP_MULTICAST_IF),
        (IPPROTO_IP, IP_MULTICAST_TTL),
        (IPPROTO_IP, IP_MULTICAST_LOOP),
    ];

    fn get(&self, level: u32, name: u32) -> Option<u32> {
        Some(match (level, name) {
            (SOL_SOCKET, SO_REUSEADDR) => self.reuse.into(),
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast.into(),
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind.into(),
            (IPPROTO_IP, IP_TOS) => self.tos.into(),
            (IPPROTO_IP, IP_TTL) => self.ttl.unwrap_or(self.default_ttl).into(),
            _ => return None,
        })
    }

    fn set(&mut self, level: u32, name: u32, value: u32) -> Result<(), Refused> {
        let byte = || u8::try_from(value).map_err(|_| Refused::Value);
        match (level, name) {
            (SOL_SOCKET, SO_REUSEADDR) => self.reuse = value != 0,
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast = value != 0,
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind = value != 0,
            (IPPROTO_IP, IP_TOS) => self.tos = byte()?,
            (IPPROTO_IP, IP_TTL) if value == 0 => return Err(Refused::Value),
            (IPPROTO_IP, IP_TTL) => self.ttl = Some(byte()?),
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    fn fresh(&self) -> Options {
        Options {
            default_ttl: self.default_ttl,
            ..Options::default()
        }
    }
}
