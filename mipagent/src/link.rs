//! A link as agents and mobile nodes need it: who, by link address, has sent this?
//!
//! ```text
//!   /dev/le ─ DL_ATTACH, DL_BIND ip ─ pfmod ─► registrations (UDP 434), advertisements,
//!                                              solicitations, each with its DLSAP
//!   replies and advertisements ◄── DL_UNITDATA_REQ to that DLSAP or a group
//! ```
//!
//! IP has its own stream on the same link and sees the same datagrams; here they are only
//! looked at for what IP does not tell: the link address a mobile node is answered at, the
//! TTL, and the link. The filter keeps all other traffic out of this stream.
//!
//! Spec: RFC 5944 3.7.2.1 and 3.7.2.2 (link-layer source address), 2.1 (TTL, groups);
//! dlpi(7P), pfmod(7M).
//! Differs: fragments and datagrams with IP options are not looked at.

use std::net::Ipv4Addr;

use dlpi::addr::{Dlsap, Mac};
use dlpi::client::Client;
use dlpi::prim::SAP_IP;
use ipmod::wire::{self, HEADER, be16, fold, header, proto, put16, sum};
use streams::modules::pfmod::{PFIOCSETF, enf, packetfilt};
use streams::{Errno, Sys};

use crate::PORT;
use crate::advert::{ADVERTISEMENT, SOLICITATION};

/// 224.0.0.1, where agents advertise.
pub const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// 224.0.0.2, where nodes solicit.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// 224.0.0.11, the group of mobility agents (RFC 5944 3.6.1.1).
pub const ALL_AGENTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 11);

/// A datagram heard on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The link address that it came from.
    pub mac: Mac,
    /// Its source.
    pub src: Ipv4Addr,
    /// Its destination.
    pub dst: Ipv4Addr,
    /// Its time to live.
    pub ttl: u8,
    /// What it is.
    pub what: What,
}

/// The kinds of datagram that pass the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// To UDP port 434: the source port and the data.
    Registration(u16, Vec<u8>),
    /// An ICMP message of router discovery.
    Discovery(Vec<u8>),
}

/// A DLPI stream on the link of an interface.
pub struct Link<'a> {
    dl: Client<'a>,
    name: String,
    mac: Mac,
}

fn errno(e: dlpi::client::Error) -> Errno {
    match e {
        dlpi::client::Error::Sys(e) => e,
        dlpi::client::Error::Dl(_, e) if e.unix != 0 => Errno::from_number(e.unix),
        _ => Errno::EPROTO,
    }
}

impl<'a> Link<'a> {
    /// Listens on the link of an interface, `le0`, to what is sent to these groups too.
    ///
    /// # Errors
    /// EINVAL: not an interface's name, or its link has no addresses; those of open(2) and
    /// of the data link provider.
    pub fn open(sys: &'a dyn Sys, name: &str, groups: &[Ipv4Addr]) -> Result<Link<'a>, Errno> {
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let ppa = name[digits..].parse().map_err(|_| Errno::EINVAL)?;
        let path = format!("/dev/{}", &name[..digits]);
        let dl = Client::open(sys, &path, Some(ppa)).map_err(errno)?;
        dl.bind(SAP_IP).map_err(errno)?;
        let mac = dl.phys_addr().map_err(errno)?;
        let mac = Mac::try_from(&mac[..]).map_err(|_| Errno::EINVAL)?;
        for g in groups {
            dl.multicast(&group(*g), true).map_err(errno)?;
        }
        sys.push(dl.fd(), "pfmod")?;
        sys.i_str(
            dl.fd(),
            PFIOCSETF,
            &packetfilt(&filter()).ok_or(Errno::EINVAL)?,
        )?;
        let name = name.to_owned();
        Ok(Link { dl, name, mac })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Our link address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The descriptor, for poll(2).
    pub fn fd(&self) -> i32 {
        self.dl.fd()
    }

    /// The next datagram, if there is one. What is malformed is passed over.
    ///
    /// # Errors
    /// Those of poll(2) and getmsg(2).
    pub fn hear(&self) -> Result<Option<Heard>, Errno> {
        loop {
            let got = match self.dl.try_recv() {
                Ok(None) => return Ok(None),
                Ok(Some(d)) => d,
                // What was sent before could not be: a link loses frames.
                Err(dlpi::client::Error::Dl(..)) => continue,
                Err(e) => return Err(errno(e)),
            };
            let from = got.src.first_chunk::<6>();
            if let (Some(mac), Some(mut heard)) = (from, read(&got.data)) {
                heard.mac = *mac;
                return Ok(Some(heard));
            }
        }
    }

    /// Sends an ICMP message with TTL 1 (RFC 5944 2.1, 2.2).
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send_discovery(
        &self,
        to: Option<Mac>,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        icmp: &[u8],
    ) -> Result<(), Errno> {
        let ip = header(
            HEADER + icmp.len(),
            proto::ICMP,
            1,
            0,
            0,
            src.into(),
            dst.into(),
        );
        self.send(to.unwrap_or_else(|| group(dst)), &[&ip, icmp].concat())
    }

    /// Sends a registration message to a link address (3.7.2.3, 3.7.3.2).
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send_registration(
        &self,
        to: Mac,
        src: Ipv4Addr,
        dst: (Ipv4Addr, u16),
        data: &[u8],
    ) -> Result<(), Errno> {
        self.send(to, &udp_datagram((src, PORT), dst, 255, data))
    }

    fn send(&self, to: Mac, datagram: &[u8]) -> Result<(), Errno> {
        let dlsap = Dlsap::ether(&to, SAP_IP as u16);
        self.dl.send(dlsap.as_slice(), datagram).map_err(errno)
    }
}

/// A whole UDP datagram.
pub(crate) fn udp_datagram(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    ttl: u8,
    data: &[u8],
) -> Vec<u8> {
    let len = 8 + data.len();
    let mut udp = vec![0; 8];
    put16(&mut udp, 0, from.1);
    put16(&mut udp, 2, to.1);
    put16(&mut udp, 4, len as u16);
    udp.extend_from_slice(data);
    let c = !fold(pseudo(from.0, to.0, len) + u64::from(sum(&udp)));
    put16(&mut udp, 6, if c == 0 { 0xffff } else { c });
    let (src, dst) = (from.0.into(), to.0.into());
    let ip = header(HEADER + len, proto::UDP, ttl, 0, 0, src, dst);
    [&ip, &udp[..]].concat()
}

/// The pseudo header's share of a UDP checksum (RFC 768).
fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, len: usize) -> u64 {
    u64::from(src.to_bits()) + u64::from(dst.to_bits()) + u64::from(proto::UDP) + len as u64
}

/// The link address of a group or broadcast (RFC 1112 6.4).
fn group(a: Ipv4Addr) -> Mac {
    match a.octets() {
        [224..=239, b, c, d] => [1, 0, 0x5e, b & 0x7f, c, d],
        _ => dlpi::addr::BROADCAST,
    }
}

/// What a datagram is, if it is one of ours and sound.
fn read(b: &[u8]) -> Option<Heard> {
    let h = wire::check(b, b.len()).ok()?;
    let body = b.get(h.ihl..h.len)?;
    let (src, dst) = (h.src.into(), h.dst.into());
    let what = match h.proto {
        proto::UDP => {
            let len = usize::from(be16(body, 4));
            let udp = body.get(..len).filter(|u| u.len() >= 8)?;
            let summed =
                be16(udp, 6) == 0 || fold(pseudo(src, dst, len) + u64::from(sum(udp))) == 0xffff;
            if !summed || be16(udp, 2) != PORT {
                return None;
            }
            What::Registration(be16(udp, 0), udp[8..].to_vec())
        }
        proto::ICMP => What::Discovery(body.to_vec()),
        _ => return None,
    };
    Some(Heard {
        mac: [0; 6],
        src,
        dst,
        ttl: h.ttl,
        what,
    })
}

/// A filter program: UDP to port 434, and router discovery, without options or fragments.
fn filter() -> Vec<u16> {
    use enf::{AND, EQ, OR, PUSH00FF, PUSHFF00, PUSHLIT, PUSHWORD};
    // Words are in the machine's order, datagrams in the network's.
    let net = |v: u16| u16::from_ne_bytes(v.to_be_bytes());
    let low = if cfg!(target_endian = "little") {
        PUSHFF00
    } else {
        PUSH00FF
    };
    let high = if cfg!(target_endian = "little") {
        PUSH00FF
    } else {
        PUSHFF00
    };
    let is =
        |word: u16, mask: u16, value: u16| [PUSHWORD + word, mask | AND, PUSHLIT | EQ, net(value)];
    [
        // word 0: version and header length; word 3: offset; word 4: protocol
        &is(0, high, 0x4500)[..],
        &[
            PUSHWORD + 3,
            PUSHLIT | AND,
            net(0x3fff),
            PUSHLIT | EQ,
            0,
            AND,
        ],
        &is(4, low, u16::from(proto::UDP)),
        &[PUSHWORD + 11, PUSHLIT | EQ, net(PORT), AND],
        &is(4, low, u16::from(proto::ICMP)),
        &is(10, high, u16::from(ADVERTISEMENT) << 8),
        &is(10, high, u16::from(SOLICITATION) << 8),
        &[OR, AND, OR, AND],
    ]
    .concat()
}
