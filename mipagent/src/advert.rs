//! Agent advertisements and solicitations: ICMP router discovery with an extension.
//!
//! ```text
//!   │9│code│sum│n│2│lifetime│ router, preference │..│16│len│sequence│registration lifetime│
//!      0 or 16                                      │flags│0│ care-of address │..
//!                                                   │19│n│ prefix length of each router │
//! ```
//!
//! Spec: RFC 1256 3 (messages), RFC 5944 2.1 (agent advertisement), 2.1.1 (extension 16),
//! 2.1.2 (prefix lengths, 19), 2.1.3 (padding), 2.3.2 (sequence numbers).

use std::net::Ipv4Addr;

use ipmod::wire::{be16, be32, checksum, put16, sum};

/// ICMP type of an advertisement.
pub const ADVERTISEMENT: u8 = 9;
/// ICMP type of a solicitation.
pub const SOLICITATION: u8 = 10;
const AGENT: u8 = 16;
const PREFIXES: u8 = 19;
const PADDING: u8 = 0;

/// Bits of an agent's flags.
pub mod flag {
    /// Registration with a foreign agent is required.
    pub const R: u8 = 0x80;
    /// Busy.
    pub const B: u8 = 0x40;
    /// Home agent.
    pub const H: u8 = 0x20;
    /// Foreign agent.
    pub const F: u8 = 0x10;
    /// Minimal encapsulation.
    pub const M: u8 = 0x08;
    /// GRE.
    pub const G: u8 = 0x04;
    /// Reverse tunnelling.
    pub const T: u8 = 0x01;
}

/// What the extension of a mobility agent says (2.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Counts advertisements: 0 to 255 after a start, never again when it wraps.
    pub sequence: u16,
    /// The longest lifetime of a registration, seconds.
    pub registration: u16,
    /// See [`flag`].
    pub flags: u8,
    /// Care-of addresses.
    pub care_of: Vec<Ipv4Addr>,
}

/// A router or agent advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertisement {
    /// 16: the agent does not route common traffic.
    pub code: u8,
    /// Seconds that it may be believed.
    pub lifetime: u16,
    /// Router addresses and preferences.
    pub routers: Vec<(Ipv4Addr, u32)>,
    /// The extension of a mobility agent.
    pub agent: Option<Agent>,
    /// A prefix length for each router; empty: there is no such extension.
    pub prefixes: Vec<u8>,
}

/// The sequence number that follows (2.3.2: 0xffff is followed by 256).
pub fn following(sequence: u16) -> u16 {
    sequence.checked_add(1).unwrap_or(256)
}

/// Has the agent lost its state between two advertisements (2.4.2, last paragraph)? A
/// number below 256 that is not above the last one can't come by counting.
pub fn rebooted(last: u16, new: u16) -> bool {
    new < 256 && new <= last
}

impl Advertisement {
    /// As an ICMP message.
    pub fn emit(&self) -> Vec<u8> {
        let mut b = vec![ADVERTISEMENT, self.code, 0, 0];
        b.extend([self.routers.len() as u8, 2]);
        b.extend(self.lifetime.to_be_bytes());
        for (router, preference) in &self.routers {
            b.extend(router.octets());
            b.extend(preference.to_be_bytes());
        }
        if let Some(a) = &self.agent {
            b.extend([AGENT, 6 + 4 * a.care_of.len() as u8]);
            b.extend(a.sequence.to_be_bytes());
            b.extend(a.registration.to_be_bytes());
            b.extend([a.flags, 0]);
            a.care_of.iter().for_each(|c| b.extend(c.octets()));
        }
        if !self.prefixes.is_empty() {
            b.extend([PREFIXES, self.prefixes.len() as u8]);
            b.extend(&self.prefixes);
        }
        let c = checksum(&b);
        put16(&mut b, 2, c);
        b
    }

    /// Reads an ICMP message. `None`: another type, malformed, or with an extension below
    /// 128 that is not known (1.8): it is ignored.
    pub fn parse(b: &[u8]) -> Option<Advertisement> {
        // RFC 1256 6.2: checksum, code, at least one address, entries of two words or more
        let sound = b.len() >= 8 && b[0] == ADVERTISEMENT && sum(b) == 0xffff;
        if !sound || !matches!(b[1], 0 | 16) || b[5] < 2 {
            return None;
        }
        let (n, size) = (usize::from(b[4]), 4 * usize::from(b[5]));
        let mut at = 8 + n * size;
        let entries = b.get(8..at)?;
        let router = |e: &[u8]| (be32(e, 0).into(), be32(e, 4));
        let mut ad = Advertisement {
            code: b[1],
            lifetime: be16(b, 6),
            routers: entries.chunks_exact(size).map(router).collect(),
            ..Advertisement::default()
        };
        while at < b.len() {
            if b[at] == PADDING {
                at += 1;
                continue;
            }
            let (ty, len) = (b[at], usize::from(*b.get(at + 1)?));
            let data = b.get(at + 2..at + 2 + len)?;
            match ty {
                AGENT => ad.agent = Some(agent(data)?),
                PREFIXES => ad.prefixes = data.get(..n.min(len))?.to_vec(),
                128.. => {}
                _ => return None,
            }
            at += 2 + len;
        }
        // RFC 1256 6.2.1: a router names itself; 2.1: an agent need not.
        let empty = n == 0 && ad.agent.is_none();
        (!empty && (ad.prefixes.is_empty() || ad.prefixes.len() == n)).then_some(ad)
    }

    /// The networks that the routers are on, as far as prefix lengths tell.
    pub fn networks(&self) -> Vec<(Ipv4Addr, u8)> {
        let pairs = self.routers.iter().zip(&self.prefixes);
        pairs
            .filter(|(_, n)| **n <= 32)
            .map(|(r, n)| (masked(r.0, *n), *n))
            .collect()
    }
}

/// The first `n` bits of an address.
pub fn masked(a: Ipv4Addr, n: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(n.min(32))).unwrap_or(0);
    Ipv4Addr::from_bits(a.to_bits() & mask)
}

fn agent(b: &[u8]) -> Option<Agent> {
    let (head, rest) = b.split_at_checked(6)?;
    if rest.len() % 4 != 0 {
        return None;
    }
    let a = Agent {
        sequence: be16(head, 0),
        registration: be16(head, 2),
        flags: head[4],
        care_of: rest.chunks_exact(4).map(|c| be32(c, 0).into()).collect(),
    };
    // 2.1.1: a foreign agent has a care-of address; B is for foreign agents only.
    let foreign = a.flags & flag::F != 0;
    (!(foreign && a.care_of.is_empty()) && (foreign || a.flags & flag::B == 0)).then_some(a)
}

/// A solicitation as an ICMP message (RFC 1256 3).
pub fn solicitation() -> Vec<u8> {
    let mut b = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    let c = checksum(&b);
    put16(&mut b, 2, c);
    b
}

/// Is this ICMP message a solicitation (RFC 1256 6.1.1)?
pub fn is_solicitation(b: &[u8]) -> bool {
    b.len() >= 8 && b[0] == SOLICITATION && b[1] == 0 && sum(b) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one() -> Advertisement {
        Advertisement {
            code: 0,
            lifetime: 3,
            routers: vec![([10, 3, 0, 1].into(), 0)],
            agent: Some(Agent {
                sequence: 7,
                registration: 300,
                flags: flag::F | flag::R,
                care_of: vec![[192, 168, 0, 2].into()],
            }),
            prefixes: vec![24],
        }
    }

    #[test]
    fn an_advertisement_as_bytes() {
        // RFC 1256 3; RFC 5944 2.1.1, 2.1.2
        let b = one().emit();
        let want = [
            9, 0, b[2], b[3], 1, 2, 0, 3, 10, 3, 0, 1, 0, 0, 0, 0, 16, 10, 0, 7, 1, 44, 0x90, 0,
            192, 168, 0, 2, 19, 1, 24,
        ];
        assert_eq!(b, want);
        assert_eq!(Advertisement::parse(&b), Some(one()));
        assert_eq!(one().networks(), [([10, 3, 0, 0].into(), 24)]);
        assert!(is_solicitation(&solicitation()) && !is_solicitation(&b));
    }

    #[test]
    fn what_is_ignored() {
        // RFC 1256 6.2.1; RFC 5944 1.8, 2.1.1, 2.1.3
        let sealed = |mut b: Vec<u8>| {
            put16(&mut b, 2, 0);
            let c = checksum(&b);
            put16(&mut b, 2, c);
            Advertisement::parse(&b)
        };
        let with = |tail: &[u8]| sealed([&one().emit()[..], tail].concat());
        assert!(with(&[0]).is_some() && with(&[200, 1, 9]).is_some());
        assert!(with(&[99, 0]).is_none() && with(&[200, 9]).is_none());
        let mut wrong = one().emit();
        wrong[9] ^= 1;
        assert_eq!(Advertisement::parse(&wrong), None, "checksum");
        for (flags, care_of) in [(flag::F, vec![]), (flag::H | flag::B, vec![])] {
            let agent = one().agent.map(|a| Agent {
                flags,
                care_of,
                ..a
            });
            assert_eq!(
                Advertisement::parse(&Advertisement { agent, ..one() }.emit()),
                None
            );
        }
    }

    #[test]
    fn sequence_numbers_tell_a_reboot_from_a_wrap() {
        // RFC 5944 2.3.2, 2.4.2
        assert_eq!((following(9), following(0xffff)), (10, 256));
        assert!(rebooted(1000, 0) && rebooted(5, 5) && rebooted(200, 3));
        assert!(!rebooted(5, 6) && !rebooted(0xffff, 256) && !rebooted(300, 299));
    }

    proptest! {
        /// Whatever comes: no panic, and what is understood can be said again.
        #[test]
        fn any_bytes(mut b in prop::collection::vec(any::<u8>(), 8..64)) {
            b[0] = ADVERTISEMENT;
            put16(&mut b, 2, 0);
            let c = checksum(&b);
            put16(&mut b, 2, c);
            if let Some(ad) = Advertisement::parse(&b) {
                prop_assert_eq!(Advertisement::parse(&ad.emit()), Some(ad));
            }
        }
    }
}
