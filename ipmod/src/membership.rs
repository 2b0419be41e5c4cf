//! Which groups a stream has joined, and how it sends to groups: the IP_* options of one
//! stream.
//!
//! ```text
//!   T_SVR4_OPTMGMT_REQ IP_ADD_MEMBERSHIP [group | interface's address] ─► Groups of the stream
//!                      IP_MULTICAST_IF, _TTL, _LOOP                         │ commit
//!                                                     multicast.rs: all streams' ─► interfaces
//!
//!   0.0.0.0 for the interface: a route of an interface for the group, the default route's,
//!   the first that is able
//! ```
//!
//! Spec: ip(7P), udp(7P), netinet/in.h, RFC 1112 section 7, RFC 3678 4.1 (sources).
//! Kept: numbers and structures; EINVAL no group address, or another mode than before;
//! EADDRNOTAVAIL no such interface, none that can, or not a member; EADDRINUSE joined
//! already; EHOSTUNREACH no interface for IP_MULTICAST_IF; ENOBUFS too many sources.
//! Kept: the address of a point-to-point interface's far end names it too, if no interface
//! has it as its own.
//! Differs: MCAST_* and the SIOC*MSFILTER ioctls of RFC 3678 are absent.

use std::net::Ipv4Addr;

use streams::Errno;

use crate::filter::Filter;
use crate::ill::{Ill, iff};
use crate::ipif::Ipif;
use crate::ire::{IreKind, RTF_BLACKHOLE, RTF_REJECT};
use crate::stack::Stack;
use crate::tpi::T_SVR4_OPTMGMT_REQ;
use crate::tpi_options::{IPPROTO_IP, Refused, T_NEGOTIATE, Value};
use crate::wire::{be32, is_multicast};

/// The interface that datagrams to groups leave by (its address).
pub const IP_MULTICAST_IF: u32 = 0x10;
/// Their time to live.
pub const IP_MULTICAST_TTL: u32 = 0x11;
/// Whether this host hears them too.
pub const IP_MULTICAST_LOOP: u32 = 0x12;
/// Joins (ip_mreq: group, interface).
pub const IP_ADD_MEMBERSHIP: u32 = 0x13;
/// Leaves.
pub const IP_DROP_MEMBERSHIP: u32 = 0x14;
/// No longer from a source (ip_mreq_source: group, source, interface).
pub const IP_BLOCK_SOURCE: u32 = 0x15;
/// From it again.
pub const IP_UNBLOCK_SOURCE: u32 = 0x16;
/// Joins for a source alone.
pub const IP_ADD_SOURCE_MEMBERSHIP: u32 = 0x17;
/// Leaves it.
pub const IP_DROP_SOURCE_MEMBERSHIP: u32 = 0x18;

/// Sources of one membership (MAX_FILTER_SIZE).
pub const MAX_SOURCES: usize = 64;

/// A group that a stream has joined on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The interface.
    pub ill: u32,
    /// The group.
    pub group: u32,
    /// From whom.
    pub filter: Filter,
}

/// The groups of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Those that it has joined.
    pub joined: Vec<Joined>,
    /// IP_MULTICAST_IF: the interface, and by which address it was named.
    pub out: Option<(u32, u32)>,
    /// IP_MULTICAST_TTL, once it is set.
    pub ttl: Option<u8>,
    /// IP_MULTICAST_LOOP.
    pub loopback: bool,
}

impl Default for Groups {
    fn default() -> Groups {
        Groups {
            joined: Vec::new(),
            out: None,
            ttl: None, // RFC 1112 6.1: 1
            loopback: true,
        }
    }
}

/// Is it one of the options above?
pub fn is_option(name: u32) -> bool {
    (IP_MULTICAST_IF..=IP_DROP_SOURCE_MEMBERSHIP).contains(&name)
}

/// T_SVR4_OPTMGMT_REQ's control part for one of these options: the addresses of an ip_mreq or
/// ip_mreq_source, or the one of IP_MULTICAST_IF.
pub fn request(name: u32, value: &[Ipv4Addr]) -> Vec<u8> {
    let len = 4 * value.len() as u32;
    let head = [T_SVR4_OPTMGMT_REQ, 12 + len, 16, T_NEGOTIATE];
    let words = head.into_iter().chain([IPPROTO_IP, name, len]);
    let mut b: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    b.extend(value.iter().flat_map(|a| a.octets()));
    b
}

impl Groups {
    /// The time to live of what a transport sends to a group.
    pub fn ttl(&self) -> u8 {
        self.ttl.unwrap_or(1)
    }

    /// Is a datagram to a group wanted, that came from this source by this interface?
    pub fn wants(&self, ill: u32, group: u32, source: u32) -> bool {
        let of = |j: &&Joined| j.ill == ill && j.group == group;
        let joined = self.joined.iter().find(of);
        joined.is_some_and(|j| j.filter.admits(source))
    }

    /// The value of an option; memberships have none to be told.
    pub(crate) fn get(&self, name: u32) -> Result<Value, Refused> {
        let word = match name {
            IP_MULTICAST_IF => self.out.map_or(0, |o| o.1).to_be_bytes(),
            IP_MULTICAST_TTL => u32::from(self.ttl()).to_ne_bytes(),
            IP_MULTICAST_LOOP => u32::from(self.loopback).to_ne_bytes(),
            _ => return Err(Refused::Errno(Errno::EINVAL)),
        };
        Ok(Value::from_slice(&word))
    }

    /// Sets an option.
    pub(crate) fn set(&mut self, s: &mut Stack, name: u32, value: &[u8]) -> Result<(), Refused> {
        // Bytes, as Solaris has them, or words.
        let number = || match value {
            [b] => Ok(u32::from(*b)),
            [a, b, c, d] => Ok(u32::from_ne_bytes([*a, *b, *c, *d])),
            _ => Err(Refused::Value),
        };
        match name {
            IP_MULTICAST_TTL => {
                self.ttl = Some(u8::try_from(number()?).map_err(|_| Refused::Value)?);
                Ok(())
            }
            IP_MULTICAST_LOOP => {
                self.loopback = number()? != 0;
                Ok(())
            }
            IP_MULTICAST_IF if value.len() != 4 => Err(Refused::Value),
            IP_MULTICAST_IF => {
                self.out = match be32(value, 0) {
                    0 => None,
                    addr => {
                        let ill = s.ill_at(addr).ok_or(Refused::Errno(Errno::EHOSTUNREACH))?;
                        Some((ill, addr))
                    }
                };
                Ok(())
            }
            IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP if value.len() == 8 => {
                self.member(s, name, be32(value, 0), None, be32(value, 4))
            }
            IP_BLOCK_SOURCE..=IP_DROP_SOURCE_MEMBERSHIP if value.len() == 12 => {
                let source = Some(be32(value, 4));
                self.member(s, name, be32(value, 0), source, be32(value, 8))
            }
            _ => Err(Refused::Value),
        }
    }

    /// Joins, leaves, and changes the sources.
    fn member(
        &mut self,
        s: &mut Stack,
        name: u32,
        group: u32,
        source: Option<u32>,
        interface: u32,
    ) -> Result<(), Refused> {
        let refuse = |e| Err(Refused::Errno(e));
        let no_host = |a: u32| a == 0 || a >= 0xe000_0000;
        if !is_multicast(group) || source.is_some_and(no_host) {
            return refuse(Errno::EINVAL);
        }
        let ill = match interface {
            0 => s.multicast_ill(group),
            addr => s.ill_at(addr),
        };
        let able = |at: &u32| s.ill(*at).is_some_and(|i| i.flags & iff::MULTICAST != 0);
        let Some(ill) = ill.filter(able) else {
            return refuse(Errno::EADDRNOTAVAIL);
        };
        let of = |j: &Joined| j.ill == ill && j.group == group;
        let at = self.joined.iter().position(of);
        let Some(source) = source else {
            match (name, at) {
                (IP_ADD_MEMBERSHIP, Some(_)) => return refuse(Errno::EADDRINUSE),
                (IP_ADD_MEMBERSHIP, None) => self.joined.push(Joined {
                    ill,
                    group,
                    filter: Filter::everything(),
                }),
                (_, None) => return refuse(Errno::EADDRNOTAVAIL),
                (_, Some(at)) => drop(self.joined.remove(at)),
            }
            return Ok(());
        };
        let exclude = matches!(name, IP_BLOCK_SOURCE | IP_UNBLOCK_SOURCE);
        let adds = matches!(name, IP_BLOCK_SOURCE | IP_ADD_SOURCE_MEMBERSHIP);
        let at = match at {
            Some(at) => at,
            None if name == IP_ADD_SOURCE_MEMBERSHIP => {
                self.joined.push(Joined {
                    ill,
                    group,
                    filter: Filter::default(),
                });
                self.joined.len() - 1
            }
            None => return refuse(Errno::EADDRNOTAVAIL),
        };
        let f = &mut self.joined[at].filter;
        if f.exclude != exclude {
            return refuse(Errno::EINVAL);
        }
        if adds && f.sources.len() >= MAX_SOURCES {
            return refuse(Errno::ENOBUFS);
        }
        let changed = match adds {
            true => f.sources.insert(source),
            false => f.sources.remove(&source),
        };
        if !changed {
            return refuse(Errno::EADDRNOTAVAIL);
        }
        if f.is_nothing() {
            self.joined.remove(at); // its last source: it leaves
        }
        Ok(())
    }
}

impl Stack {
    /// The interface that is up with this address, or with this one at its far end.
    pub(crate) fn ill_at(&self, addr: u32) -> Option<u32> {
        let find = |of: fn(&Ipif) -> u32| {
            let up = |i: &Ill| i.up().any(|p| of(p) == addr);
            let at = self.ills.iter().position(|i| i.as_ref().is_some_and(up));
            at.map(|at| at as u32)
        };
        find(|p| p.addr).or_else(|| find(|p| p.dst))
    }

    /// The interface of a group that nobody has named one for. Routes through gateways say
    /// nothing about groups, but for the default route (the paper, section 2: such datagrams
    /// bypass them).
    pub(crate) fn multicast_ill(&mut self, group: u32) -> Option<u32> {
        if let Some(id) = self.route(group) {
            let r = *self.ires.get(id);
            if r.flags & (RTF_REJECT | RTF_BLACKHOLE) != 0 {
                return None;
            }
            let on_link = |k| matches!(k, IreKind::IfResolver | IreKind::IfNoResolver);
            if on_link(r.kind) {
                return Some(r.ill);
            }
            let covers = self.ires.iter().map(|(_, r)| r);
            let covers = covers.filter(|r| on_link(r.kind) && group & r.mask == r.dst);
            if let Some(best) = covers.max_by_key(|r| r.mask) {
                return Some(best.ill);
            }
            if r.kind == IreKind::Default && self.is_able(r.ill) {
                return Some(r.ill);
            }
        }
        let all = 0..self.ills.len() as u32;
        let able: Vec<u32> = all.filter(|i| self.is_able(*i)).collect();
        let shared = |i: &u32| {
            let flags = self.ill(*i).map_or(0, |i| i.flags);
            flags & iff::POINTOPOINT == 0
        };
        able.iter().copied().find(shared).or(able.first().copied())
    }

    /// May groups be joined on it, without its being asked for?
    fn is_able(&self, at: u32) -> bool {
        let want = iff::UP | iff::MULTICAST;
        self.ill(at)
            .is_some_and(|i| i.flags & (want | iff::LOOPBACK) == want && i.up().next().is_some())
    }
}
