//! A glance at the first bytes of a message: what datagram it is, for showing.
//!
//! Only for people's eyes: the modules have their own, complete readers. What is not
//! understood is not shown as understood; no input makes it panic.
//!
//! Spec: RFC 791, 792, 768, 826, 2003, 2004, 2784.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 header and what it carries, as far as the bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub ident: u16,
    /// Fragment offset in bytes, and whether more follow.
    pub fragment: (u16, bool),
    /// Total length.
    pub len: u16,
    /// The encapsulated datagram, if it is a tunnel's.
    pub inner: Option<Box<Datagram>>,
    /// What the protocol's own header says, in words.
    pub detail: String,
    /// The payload's first bytes.
    head: Vec<u8>,
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    /// A datagram.
    Ip(Datagram),
    /// ARP, in words.
    Arp(String),
}

fn be16(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]))
}

fn addr(b: &[u8], at: usize) -> Option<Ipv4Addr> {
    let o: [u8; 4] = b.get(at..at + 4)?.try_into().ok()?;
    Some(Ipv4Addr::from(o))
}

/// Reads the first bytes of a message; with or without an Ethernet header in front.
pub fn peek(bytes: &[u8]) -> Option<Peeked> {
    match datagram(bytes, 4) {
        Some(d) => Some(Peeked::Ip(d)),
        None => match be16(bytes, 12) {
            Some(0x0800) => datagram(bytes.get(14..)?, 4).map(Peeked::Ip),
            Some(0x0806) => arp(bytes.get(14..)?).map(Peeked::Arp),
            _ => arp(bytes).map(Peeked::Arp),
        },
    }
}

fn arp(b: &[u8]) -> Option<String> {
    if b.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let (from, about) = (addr(b, 14)?, addr(b, 24)?);
    match be16(b, 6)? {
        1 => Some(format!("ARP: who is {about}? tell {from}")),
        2 => Some(format!("ARP: {from} tells {about} who it is")),
        _ => None,
    }
}

fn datagram(b: &[u8], nested: u8) -> Option<Datagram> {
    let ihl = usize::from(b.first()? & 15) * 4;
    if b.first()? >> 4 != 4 || ihl < 20 {
        return None;
    }
    let frag = be16(b, 6)?;
    let mut d = Datagram {
        src: addr(b, 12)?,
        dst: addr(b, 16)?,
        proto: *b.get(9)?,
        ttl: *b.get(8)?,
        ident: be16(b, 4)?,
        fragment: ((frag & 0x1fff) * 8, frag & 0x2000 != 0),
        len: be16(b, 2)?,
        inner: None,
        detail: String::new(),
        head: Vec::new(),
    };
    let payload = b.get(ihl..).unwrap_or_default();
    d.head = payload.iter().take(8).copied().collect();
    if d.fragment.0 > 0 {
        return Some(d); // the protocol's header is in the first fragment
    }
    if nested > 0 {
        let inner = match d.proto {
            4 => datagram(payload, nested - 1),
            47 => gre(payload).and_then(|p| datagram(p, nested - 1)),
            55 => minimal(&d, payload),
            _ => None,
        };
        d.inner = inner.map(Box::new);
    }
    d.detail = detail(&d, payload).unwrap_or_default();
    Some(d)
}

/// RFC 2784, 2890: past the header and its optional words.
fn gre(b: &[u8]) -> Option<&[u8]> {
    let flags = be16(b, 0)?;
    let words = [0x8000, 0x2000, 0x1000].iter().filter(|f| flags & **f != 0);
    (be16(b, 2)? == 0x0800).then(|| b.get(4 + 4 * words.count()..))?
}

/// RFC 2004: the inner header is what the outer one lacks.
fn minimal(outer: &Datagram, b: &[u8]) -> Option<Datagram> {
    let (proto, has_source) = (*b.first()?, b.get(1)? & 0x80 != 0);
    let long = if has_source { 12 } else { 8 };
    let payload = b.get(long..).unwrap_or_default();
    let mut d = Datagram {
        src: if has_source { addr(b, 8)? } else { outer.src },
        dst: addr(b, 4)?,
        proto,
        len: outer.len.saturating_sub(long as u16),
        inner: None,
        detail: String::new(),
        head: payload.iter().take(8).copied().collect(),
        ..outer.clone()
    };
    d.detail = detail(&d, payload).unwrap_or_default();
    Some(d)
}

fn detail(d: &Datagram, b: &[u8]) -> Option<String> {
    Some(match d.proto {
        1 => {
            let (kind, code) = (*b.first()?, *b.get(1)?);
            let number = || be16(b, 6).map_or(String::new(), |n| format!(" {n}"));
            match (kind, code) {
                (0, _) => format!("echo reply{}", number()),
                (8, _) => format!("echo request{}", number()),
                (3, 0) => "network unreachable".into(),
                (3, 1) => "host unreachable".into(),
                (3, 2) => "protocol unreachable".into(),
                (3, 3) => "port unreachable".into(),
                (3, 4) => format!("fragmentation needed, mtu{}", number()),
                (3, _) => format!("unreachable, code {code}"),
                (5, _) => "redirect".into(),
                (11, 0) => "time exceeded".into(),
                (11, _) => "reassembly time exceeded".into(),
                (12, _) => "parameter problem".into(),
                _ => format!("type {kind} code {code}"),
            }
        }
        6 | 17 => format!("{} > {}", be16(b, 0)?, be16(b, 2)?),
        _ => return None,
    })
}

/// The name of a protocol, or its number.
pub fn protocol(n: u8) -> String {
    match n {
        1 => "icmp".into(),
        2 => "igmp".into(),
        4 => "ipip".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        47 => "gre".into(),
        55 => "minimal".into(),
        n => format!("proto {n}"),
    }
}

/// What stays the same of a datagram on its whole way, from host to host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Ipv4Addr, Ipv4Addr, u8, u16, Vec<u8>);

/// A key for what is known of a datagram before its sender's IP has completed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Early {
    /// It is not complete: no identification or no source yet.
    Open(Key),
    /// It is complete; this is what it looked like before.
    Complete(Key),
}

impl Datagram {
    /// The innermost datagram.
    pub fn innermost(&self) -> &Datagram {
        self.inner.as_ref().map_or(self, |d| d.innermost())
    }

    /// A tunnel's header with nothing seen inside.
    pub fn is_cut_tunnel(&self) -> bool {
        self.inner.is_none() && self.fragment.0 == 0 && matches!(self.proto, 4 | 47 | 55)
    }

    /// This header with that datagram inside.
    pub fn around(&self, inner: &Datagram) -> Datagram {
        Datagram {
            inner: Some(Box::new(inner.clone())),
            ..self.clone()
        }
    }

    /// The headers around the innermost datagram, the outermost first.
    pub fn outers(&self) -> Vec<&Datagram> {
        let mut v = Vec::new();
        let mut d = self;
        while let Some(inner) = &d.inner {
            v.push(d);
            d = inner;
        }
        v
    }

    /// What the datagram is known by before it has a source and an identification.
    pub fn early_key(&self) -> Early {
        let d = self.innermost();
        // A UDP checksum comes with the source.
        let n = if d.proto == 17 { 6 } else { 8 };
        let head = d.head.iter().take(n).copied().collect();
        let key = Key(Ipv4Addr::UNSPECIFIED, d.dst, d.proto, 0, head);
        match d.ident == 0 && d.src.is_unspecified() {
            true => Early::Open(key),
            false => Early::Complete(key),
        }
    }

    /// What to know the datagram by.
    pub fn key(&self) -> Key {
        let d = self.innermost();
        // Linux sends datagrams with DF under the identification 0.
        let more = if d.ident == 0 {
            d.head.clone()
        } else {
            Vec::new()
        };
        Key(d.src, d.dst, d.proto, d.ident, more)
    }
}

impl fmt::Display for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {}", self.src, self.dst, protocol(self.proto))?;
        if !self.detail.is_empty() {
            write!(f, " {}", self.detail)?;
        }
        match self.fragment {
            (0, false) => Ok(()),
            (at, more) => write!(f, " fragment {at}{}", if more { "+" } else { "" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 10.0.0.1 > 10.1.0.3, UDP 5 > 7, 4 bytes.
    fn udp() -> Vec<u8> {
        let mut b = vec![0x45, 0, 0, 32, 0, 9, 0, 0, 64, 17, 0, 0];
        b.extend([
            10, 0, 0, 1, 10, 1, 0, 3, 0, 5, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4,
        ]);
        b
    }

    fn ipip(inner: &[u8]) -> Vec<u8> {
        let len = (inner.len() + 20) as u16;
        let mut b = vec![0x45, 0];
        b.extend(len.to_be_bytes());
        b.extend([0, 1, 0, 0, 255, 4, 0, 0, 192, 168, 1, 1, 192, 168, 2, 1]);
        b.extend(inner);
        b
    }

    fn ip(b: &[u8]) -> Datagram {
        match peek(b) {
            Some(Peeked::Ip(d)) => d,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tunnels_are_looked_through_and_the_key_stays() {
        let (plain, tunnelled) = (ip(&udp()), ip(&ipip(&udp())));
        assert_eq!(plain.to_string(), "10.0.0.1 > 10.1.0.3 udp 5 > 7");
        assert_eq!(tunnelled.to_string(), "192.168.1.1 > 192.168.2.1 ipip");
        assert_eq!(plain.key(), tunnelled.key());
        assert_eq!(tunnelled.outers().len(), 1);
        let mut ether = vec![0; 12];
        ether.extend([8, 0]);
        ether.extend(udp());
        assert_eq!(ip(&ether).key(), plain.key());
    }

    #[test]
    fn minimal_encapsulation_and_gre_too() {
        let mut b = udp();
        b[9] = 55;
        b[16..20].copy_from_slice(&[192, 168, 2, 1]);
        let payload = b.split_off(20);
        b.extend([17, 0, 0, 0, 10, 1, 0, 3]);
        b.extend(&payload);
        assert_eq!(ip(&b).key(), ip(&udp()).key());
        let mut g = ipip(&[]);
        g[9] = 47;
        g.extend([0x20, 0, 8, 0, 0, 0, 0, 1]);
        g.extend(udp());
        assert_eq!(ip(&g).key(), ip(&udp()).key());
    }

    #[test]
    fn arp_in_words() {
        let mut b = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 1];
        b.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
        assert_eq!(
            peek(&b),
            Some(Peeked::Arp("ARP: who is 10.0.0.2? tell 10.0.0.1".into()))
        );
    }

    proptest! {
        #[test]
        fn any_bytes(b in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..60) {
            let _ = peek(&b);
            let whole = ipip(&ipip(&udp()));
            if let Some(Peeked::Ip(d)) = peek(&whole[..cut.min(whole.len())]) {
                let _ = (d.key(), d.to_string(), d.outers().len());
            }
        }
    }
}
