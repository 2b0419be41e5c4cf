//! The options of a /dev/udp stream; tpi_options.rs reads the requests.
//!
//! Spec: udp(7P), ip(7P), sys/socket.h, the reference's ip-tpi 4.5.

use crate::tpi_options::{self, Refused};
pub use crate::tpi_options::{
    IP_TOS, IP_TTL, IPPROTO_IP, SOL_SOCKET, T_CHECK, T_CURRENT, T_DEFAULT, T_NEGOTIATE, T_SUCCESS,
};

/// Broadcasts may be sent.
pub const SO_BROADCAST: u32 = 0x20;
/// Errors come as T_UDERROR_IND.
pub const SO_DGRAM_ERRIND: u32 = 0x200;
/// Time to live of multicast datagrams.
pub const IP_MULTICAST_TTL: u32 = 0x11;

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
    /// `ip_def_ttl`, as it was when the options were last looked at.
    pub default_ttl: u8,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            broadcast: false,
            errind: false,
            tos: 0,
            ttl: None,
            multicast_ttl: 1, // RFC 1112 6.1
            default_ttl: 255,
        }
    }
}

impl tpi_options::Options for Options {
    const ALL: &'static [(u32, u32)] = &[
        (SOL_SOCKET, SO_BROADCAST),
        (SOL_SOCKET, SO_DGRAM_ERRIND),
        (IPPROTO_IP, IP_TOS),
        (IPPROTO_IP, IP_TTL),
        (IPPROTO_IP, IP_MULTICAST_TTL),
    ];

    fn get(&self, level: u32, name: u32) -> Option<u32> {
        Some(match (level, name) {
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast.into(),
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind.into(),
            (IPPROTO_IP, IP_TOS) => self.tos.into(),
            (IPPROTO_IP, IP_TTL) => self.ttl.unwrap_or(self.default_ttl).into(),
            (IPPROTO_IP, IP_MULTICAST_TTL) => self.multicast_ttl.into(),
            _ => return None,
        })
    }

    fn set(&mut self, level: u32, name: u32, value: u32) -> Result<(), Refused> {
        let byte = || u8::try_from(value).map_err(|_| Refused::Value);
        match (level, name) {
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast = value != 0,
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind = value != 0,
            (IPPROTO_IP, IP_TOS) => self.tos = byte()?,
            (IPPROTO_IP, IP_TTL) if value == 0 => return Err(Refused::Value),
            (IPPROTO_IP, IP_TTL) => self.ttl = Some(byte()?),
            (IPPROTO_IP, IP_MULTICAST_TTL) => self.multicast_ttl = byte()?,
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
