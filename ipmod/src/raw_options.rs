//! The options of a /dev/icmp or /dev/rawip stream; tpi_options.rs reads the requests,
//! membership.rs has those of groups.
//!
//! Spec: icmp(7P), ip(7P), sys/socket.h, netinet/in.h.

pub use crate::membership::{IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_MULTICAST_TTL};
use crate::tpi_options::{self, Refused};
pub use crate::tpi_options::{IP_TOS, IP_TTL, IPPROTO_IP, SOL_SOCKET};
pub use crate::udp_options::{SO_BROADCAST, SO_DGRAM_ERRIND};
use crate::wire::proto;

/// The protocol of the stream; 255 for one whose user writes whole datagrams.
pub const SO_PROTOTYPE: u32 = 0x1009;
/// SOCK_RAW.
pub const SO_TYPE: u32 = 0x1008;
/// The user writes the header too.
pub const IP_HDRINCL: u32 = 2;
/// IPPROTO_RAW.
const RAW: u8 = 255;

/// The options of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// SO_PROTOTYPE.
    pub proto: u8,
    /// IP_HDRINCL.
    pub hdrincl: bool,
    /// SO_BROADCAST.
    pub broadcast: bool,
    /// SO_DGRAM_ERRIND.
    pub errind: bool,
    /// IP_TOS.
    pub tos: u8,
    /// IP_TTL.
    pub ttl: u8,
    /// Who has opened it may have any protocol.
    pub privileged: bool,
}

impl Options {
    /// Of a fresh stream.
    pub fn new(privileged: bool) -> Options {
        Options {
            proto: proto::ICMP,
            hdrincl: false,
            broadcast: false,
            errind: false,
            tos: 0,
            ttl: 255, // icmp_def_ttl
            privileged,
        }
    }
}

impl tpi_options::Options for Options {
    const ALL: &'static [(u32, u32)] = &[
        (SOL_SOCKET, SO_PROTOTYPE),
        (SOL_SOCKET, SO_TYPE),
        (SOL_SOCKET, SO_BROADCAST),
        (SOL_SOCKET, SO_DGRAM_ERRIND),
        (IPPROTO_IP, IP_HDRINCL),
        (IPPROTO_IP, IP_TOS),
        (IPPROTO_IP, IP_TTL),
        (IPPROTO_IP, IP_MULTICAST_IF),
        (IPPROTO_IP, IP_MULTICAST_TTL),
        (IPPROTO_IP, IP_MULTICAST_LOOP),
    ];

    fn get(&self, level: u32, name: u32) -> Option<u32> {
        Some(match (level, name) {
            (SOL_SOCKET, SO_PROTOTYPE) => self.proto.into(),
            (SOL_SOCKET, SO_TYPE) => 4, // SOCK_RAW of Solaris
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast.into(),
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind.into(),
            (IPPROTO_IP, IP_HDRINCL) => self.hdrincl.into(),
            (IPPROTO_IP, IP_TOS) => self.tos.into(),
            (IPPROTO_IP, IP_TTL) => self.ttl.into(),
            _ => return None,
        })
    }

    fn set(&mut self, level: u32, name: u32, value: u32) -> Result<(), Refused> {
        let byte = || u8::try_from(value).map_err(|_| Refused::Value);
        match (level, name) {
            (SOL_SOCKET, SO_PROTOTYPE) => {
                let proto = byte()?;
                if proto != proto::ICMP && !self.privileged {
                    return Err(Refused::Privilege);
                }
                (self.proto, self.hdrincl) = (proto, proto == RAW);
            }
            (SOL_SOCKET, SO_TYPE) => return Err(Refused::ReadOnly),
            (SOL_SOCKET, SO_BROADCAST) => self.broadcast = value != 0,
            (SOL_SOCKET, SO_DGRAM_ERRIND) => self.errind = value != 0,
            (IPPROTO_IP, IP_HDRINCL) if !self.privileged => return Err(Refused::Privilege),
            (IPPROTO_IP, IP_HDRINCL) => self.hdrincl = value != 0,
            (IPPROTO_IP, IP_TOS) => self.tos = byte()?,
            (IPPROTO_IP, IP_TTL) if value == 0 => return Err(Refused::Value),
            (IPPROTO_IP, IP_TTL) => self.ttl = byte()?,
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    fn fresh(&self) -> Options {
        Options::new(self.privileged)
    }
}
