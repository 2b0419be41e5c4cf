//! IPv4 datagrams as values: built up in one expression, taken apart and checked in another.
//!
//! ```
//! use vtunl_tests::packets::*;
//! let inner = ip4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(9).udp(7, 7, b"hello");
//! let outer = ip4([192, 0, 2, 1], [192, 0, 2, 2]).ipip(&inner.bytes()).bytes();
//! expect(&outer, &[proto(4), sums_right(), inside(&[ttl(9), dst([10, 0, 0, 2]), udp_to(7)])]);
//! ```
//!
//! The code here shares nothing with the crates under test, so a mistake in theirs is not
//! repeated here.
//!
//! Spec: RFC 791, RFC 792, RFC 768, RFC 1071, RFC 2003.

use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;

/// IP protocol numbers.
pub const ICMP: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// IP in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;

/// An IPv4 datagram. Length and checksum are computed when it becomes bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ip4 {
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Don't fragment.
    pub df: bool,
    /// More fragments.
    pub mf: bool,
    /// Fragment offset in bytes.
    pub offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// A datagram with TTL 64 and nothing in it.
pub fn ip4(src: impl Into<Ipv4Addr>, dst: impl Into<Ipv4Addr>) -> Ip4 {
    Ip4 {
        tos: 0,
        id: 0,
        df: false,
        mf: false,
        offset: 0,
        ttl: 64,
        proto: 255,
        src: src.into(),
        dst: dst.into(),
        options: Vec::new(),
        payload: Vec::new(),
    }
}

impl Ip4 {
    /// Sets the time to live.
    pub fn ttl(mut self, ttl: u8) -> Ip4 {
        self.ttl = ttl;
        self
    }
    /// Sets the identification.
    pub fn id(mut self, id: u16) -> Ip4 {
        self.id = id;
        self
    }
    /// Sets the type of service.
    pub fn tos(mut self, tos: u8) -> Ip4 {
        self.tos = tos;
        self
    }
    /// Forbids fragmentation.
    pub fn df(mut self) -> Ip4 {
        self.df = true;
        self
    }
    /// Adds options, padded with end-of-list.
    pub fn options(mut self, options: &[u8]) -> Ip4 {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }
    /// Carries these bytes as this protocol.
    pub fn carrying(mut self, proto: u8, payload: &[u8]) -> Ip4 {
        self.proto = proto;
        self.payload = payload.to_vec();
        self
    }
    /// Carries a UDP datagram.
    pub fn udp(self, from: u16, to: u16, data: &[u8]) -> Ip4 {
        let mut u = Vec::with_capacity(8 + data.len());
        u.extend_from_slice(&from.to_be_bytes());
        u.extend_from_slice(&to.to_be_bytes());
        u.extend_from_slice(&(8 + data.len() as u16).to_be_bytes());
        u.extend_from_slice(&[0, 0]);
        u.extend_from_slice(data);
        let sum = match checksum(&[&self.pseudo_header(UDP, u.len()), &u]) {
            0 => 0xffff, // RFC 768: 0 would say that there is none
            s => s,
        };
        u[6..8].copy_from_slice(&sum.to_be_bytes());
        self.carrying(UDP, &u)
    }
    /// Carries an ICMP message.
    pub fn icmp(self, ty: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Ip4 {
        let mut m = vec![ty, code, 0, 0];
        m.extend_from_slice(&rest);
        m.extend_from_slice(data);
        let sum = checksum(&[&m]);
        m[2..4].copy_from_slice(&sum.to_be_bytes());
        self.carrying(ICMP, &m)
    }
    /// Carries an echo request.
    pub fn echo_request(self, id: u16, seq: u16, data: &[u8]) -> Ip4 {
        let (i, s) = (id.to_be_bytes(), seq.to_be_bytes());
        self.icmp(8, 0, [i[0], i[1], s[0], s[1]], data)
    }
    /// Carries another datagram (RFC 2003).
    pub fn ipip(self, inner: &[u8]) -> Ip4 {
        self.carrying(IPIP, inner)
    }

    /// The datagram on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let head = 20 + self.options.len();
        let total = (head + self.payload.len()) as u16;
        let flags = (u16::from(self.mf) << 13) | (u16::from(self.df) << 14);
        let frag = flags | (self.offset / 8);
        let mut b = vec![0x40 | (head / 4) as u8, self.tos];
        b.extend_from_slice(&total.to_be_bytes());
        b.extend_from_slice(&self.id.to_be_bytes());
        b.extend_from_slice(&frag.to_be_bytes());
        b.extend_from_slice(&[self.ttl, self.proto, 0, 0]);
        b.extend_from_slice(&self.src.octets());
        b.extend_from_slice(&self.dst.octets());
        b.extend_from_slice(&self.options);
        let sum = checksum(&[&b]);
        b[10..12].copy_from_slice(&sum.to_be_bytes());
        b.extend_from_slice(&self.payload);
        b
    }

    /// The same cut into fragments of at most `mtu` bytes, options in the first only.
    pub fn fragments(&self, mtu: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < self.payload.len() || at == 0 {
            let mut f = self.clone();
            if at > 0 {
                f.options.clear();
            }
            let room = (mtu - 20 - f.options.len()) / 8 * 8;
            let end = (at + room).min(self.payload.len());
            f.offset = self.offset + at as u16;
            f.mf = self.mf || end < self.payload.len();
            f.payload = self.payload[at..end].to_vec();
            out.push(f.bytes());
            if end == self.payload.len() {
                break;
            }
            at = end;
        }
        out
    }

    /// Reads a datagram; every length is checked, checksums are not.
    pub fn parse(b: &[u8]) -> Result<Ip4, String> {
        let word = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        if b.len() < 20 {
            return Err(format!("{} bytes are no IPv4 header", b.len()));
        }
        if b[0] >> 4 != 4 {
            return Err(format!("version {}", b[0] >> 4));
        }
        let head = usize::from(b[0] & 15) * 4;
        let total = usize::from(word(2));
        if head < 20 || head > total || total > b.len() {
            return Err(format!(
                "header {head}, total {total}, here {} bytes",
                b.len()
            ));
        }
        let addr = |at: usize| Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]);
        Ok(Ip4 {
            tos: b[1],
            id: word(4),
            df: word(6) & 0x4000 != 0,
            mf: word(6) & 0x2000 != 0,
            offset: (word(6) & 0x1fff) * 8,
            ttl: b[8],
            proto: b[9],
            src: addr(12),
            dst: addr(16),
            options: b[20..head].to_vec(),
            payload: b[head..total].to_vec(),
        })
    }

    fn pseudo_header(&self, proto: u8, len: usize) -> Vec<u8> {
        let mut p = self.src.octets().to_vec();
        p.extend_from_slice(&self.dst.octets());
        p.extend_from_slice(&[0, proto]);
        p.extend_from_slice(&(len as u16).to_be_bytes());
        p
    }

    fn is_fragment(&self) -> bool {
        self.mf || self.offset > 0
    }
}

/// The internet checksum (RFC 1071) over the parts as if they were one.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    let mut odd: Option<u8> = None;
    for byte in parts.iter().flat_map(|p| p.iter()) {
        match odd.take() {
            None => odd = Some(*byte),
            Some(high) => sum += u32::from(u16::from_be_bytes([high, *byte])),
        }
    }
    if let Some(high) = odd {
        sum += u32::from(high) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// One thing to be true of a datagram.
#[derive(Clone)]
pub struct Check(String, Rc<Test>);

type Test = dyn Fn(&Ip4, &[u8]) -> Result<(), String>;

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Check {
    fn new(
        name: impl Into<String>,
        f: impl Fn(&Ip4, &[u8]) -> Result<(), String> + 'static,
    ) -> Check {
        Check(name.into(), Rc::new(f))
    }

    fn field<T: PartialEq + fmt::Debug + 'static>(
        name: &'static str,
        want: T,
        get: impl Fn(&Ip4) -> T + 'static,
    ) -> Check {
        Check::new(name, move |ip, _| {
            let got = get(ip);
            if got == want {
                Ok(())
            } else {
                Err(format!("{got:?}, expected {want:?}"))
            }
        })
    }
}

/// Every check, or what the first that fails has to say.
pub fn check(bytes: &[u8], checks: &[Check]) -> Result<(), String> {
    let ip = Ip4::parse(bytes)?;
    for c in checks {
        c.1(&ip, bytes).map_err(|e| format!("{}: {e}", c.0))?;
    }
    Ok(())
}

/// Asserts every check.
///
/// # Panics
/// If one fails, with the datagram.
#[track_caller]
pub fn expect(bytes: &[u8], checks: &[Check]) {
    if let Err(why) = check(bytes, checks) {
        panic!("{why}\nin {:02x?}", &bytes[..bytes.len().min(96)]);
    }
}

/// The source is this.
pub fn src(a: impl Into<Ipv4Addr>) -> Check {
    Check::field("src", a.into(), |ip| ip.src)
}
/// The destination is this.
pub fn dst(a: impl Into<Ipv4Addr>) -> Check {
    Check::field("dst", a.into(), |ip| ip.dst)
}
/// The time to live is this.
pub fn ttl(n: u8) -> Check {
    Check::field("ttl", n, |ip| ip.ttl)
}
/// The protocol is this.
pub fn proto(n: u8) -> Check {
    Check::field("proto", n, |ip| ip.proto)
}
/// The type of service is this.
pub fn tos(n: u8) -> Check {
    Check::field("tos", n, |ip| ip.tos)
}
/// The don't-fragment bit is this.
pub fn df(on: bool) -> Check {
    Check::field("df", on, |ip| ip.df)
}
/// It is a fragment at this offset, and more follow or not.
pub fn fragment(offset: u16, more: bool) -> Check {
    Check::field("fragment", (offset, more), |ip| (ip.offset, ip.mf))
}
/// The payload is this.
pub fn payload(p: &[u8]) -> Check {
    Check::field("payload", p.to_vec(), |ip| ip.payload.clone())
}

/// The header's checksum is right, and that of the ICMP, UDP or TCP inside; of the
/// datagram inside as well, if there is one.
pub fn sums_right() -> Check {
    Check::new("checksums", |ip, bytes| {
        let head = 20 + ip.options.len();
        if checksum(&[&bytes[..head]]) != 0 {
            return Err("of the IP header is wrong".into());
        }
        let sum = match ip.proto {
            _ if ip.is_fragment() => 0,
            IPIP => return check(&ip.payload, &[sums_right()]),
            ICMP | IGMP => checksum(&[&ip.payload]),
            UDP if ip.payload.get(6..8) == Some(&[0, 0]) => 0,
            UDP | TCP => checksum(&[&ip.pseudo_header(ip.proto, ip.payload.len()), &ip.payload]),
            _ => 0,
        };
        if sum == 0 {
            Ok(())
        } else {
            Err(format!("of protocol {} is wrong", ip.proto))
        }
    })
}

/// What it carries is a datagram for which all of these are true.
pub fn inside(checks: &[Check]) -> Check {
    let owned = checks.to_vec();
    Check::new("inside", move |ip, _| check(&ip.payload, &owned))
}

/// It is ICMP of this type and code.
pub fn icmp(ty: u8, code: u8) -> Check {
    Check::new("icmp", move |ip, _| match (ip.proto, ip.payload.get(..2)) {
        (ICMP, Some(&[t, c])) if (t, c) == (ty, code) => Ok(()),
        (p, head) => Err(format!(
            "protocol {p} {head:?}, expected type {ty} code {code}"
        )),
    })
}

/// It is UDP for this port.
pub fn udp_to(port: u16) -> Check {
    Check::new("udp", move |ip, _| match (ip.proto, ip.payload.get(2..4)) {
        (UDP, Some(p)) if p == port.to_be_bytes() => Ok(()),
        (p, got) => Err(format!("protocol {p} {got:?}, expected port {port}")),
    })
}

/// What a tunnel owes its user: the same datagram but for TTL and header checksum.
pub fn same_but_ttl(before: &[u8]) -> Check {
    let before = Ip4::parse(before);
    Check::new("the same datagram", move |ip, _| {
        let mut want = before.clone()?;
        want.ttl = ip.ttl;
        if *ip == want {
            Ok(())
        } else {
            Err(format!("{ip:?}, expected {want:?}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_checksum_of_rfc_1071() {
        let b = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&b]), !0xddf2);
        assert_eq!(checksum(&[&b[..3], &b[3..]]), !0xddf2);
    }

    #[test]
    fn what_is_built_is_what_is_read() {
        let d = ip4([10, 0, 0, 1], [10, 0, 0, 2])
            .ttl(3)
            .tos(9)
            .id(77)
            .df()
            .udp(1, 2, b"abc");
        assert_eq!(Ip4::parse(&d.bytes()), Ok(d.clone()));
        expect(&d.bytes(), &[sums_right(), udp_to(2), df(true), tos(9)]);
    }

    #[test]
    fn a_wrong_sum_is_told_even_inside() {
        let mut inner = ip4([10, 0, 0, 1], [10, 0, 0, 2])
            .echo_request(1, 2, b"x")
            .bytes();
        inner[21] ^= 1;
        let outer = ip4([1, 1, 1, 1], [2, 2, 2, 2]).ipip(&inner).bytes();
        assert!(
            check(&outer, &[sums_right()])
                .unwrap_err()
                .contains("protocol 1")
        );
    }

    #[test]
    fn fragments_cover_the_whole() {
        let d = ip4([10, 0, 0, 1], [10, 0, 0, 2])
            .id(5)
            .udp(1, 2, &[7; 3000]);
        let f = d.fragments(1500);
        assert_eq!(f.len(), 3);
        expect(&f[0], &[fragment(0, true)]);
        expect(&f[2], &[fragment(2960, false)]);
        let all: Vec<u8> = f
            .iter()
            .flat_map(|b| Ip4::parse(b).map(|i| i.payload).unwrap_or_default())
            .collect();
        assert_eq!(all, d.payload);
    }

    #[test]
    fn only_the_ttl_may_differ() {
        let d = ip4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2, b"abc");
        expect(&d.clone().ttl(60).bytes(), &[same_but_ttl(&d.bytes())]);
        assert!(check(&d.clone().id(1).bytes(), &[same_but_ttl(&d.bytes())]).is_err());
    }
}
