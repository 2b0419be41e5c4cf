//! Registration messages.
//!
//! ```text
//!   Request  │1│flags│lifetime│home address│home agent│care-of address│identification 8│..
//!   Reply    │3│code │lifetime│home address│home agent│identification 8│..
//! ```
//!
//! Spec: RFC 5944 3.3 (request), 3.4 (reply); the bit T: RFC 3024 3.2.

use std::net::Ipv4Addr;

pub use crate::auth::{Key, Proof};
use crate::extension::{Bad, MOBILE_HOME};

const REQUEST: u8 = 1;
const REPLY: u8 = 3;

/// Bytes of a request's fixed part.
pub const REQUEST_LEN: usize = 24;
/// Bytes of a reply's fixed part.
pub const REPLY_LEN: usize = 20;

/// Simultaneous bindings.
pub const S: u8 = 0x80;
/// Broadcasts of the home network are wanted.
pub const B: u8 = 0x40;
/// The mobile node decapsulates itself: a co-located care-of address.
pub const D: u8 = 0x20;
/// Minimal encapsulation.
pub const M: u8 = 0x10;
/// GRE.
pub const G: u8 = 0x08;
/// Reverse tunnelling (RFC 3024).
pub const T: u8 = 0x02;

/// Letters of flags, as `SB`.
pub fn letters(flags: u8) -> String {
    let all = [(S, 'S'), (B, 'B'), (D, 'D'), (M, 'M'), (G, 'G'), (T, 'T')];
    all.iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|f| f.1)
        .collect()
}

/// A Registration Request (3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// S, B, D, M, G, r, T, x from the highest bit on.
    pub flags: u8,
    /// Seconds; 0 deregisters, 0xffff is for ever.
    pub lifetime: u16,
    /// The home address.
    pub home: Ipv4Addr,
    /// The home agent.
    pub agent: Ipv4Addr,
    /// The care-of address.
    pub care_of: Ipv4Addr,
    /// A timestamp or nonces (5.7).
    pub id: u64,
}

/// A Registration Reply (3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// See [`crate::code`].
    pub code: u8,
    /// Seconds granted.
    pub lifetime: u16,
    /// The home address.
    pub home: Ipv4Addr,
    /// The home agent.
    pub agent: Ipv4Addr,
    /// The request's low half, and what the replay protection puts above it.
    pub id: u64,
}

fn addr(b: &[u8], at: usize) -> Option<Ipv4Addr> {
    let a: [u8; 4] = b.get(at..at + 4)?.try_into().ok()?;
    Some(a.into())
}

fn id(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

fn lifetime(b: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*b.get(2)?, *b.get(3)?]))
}

impl Request {
    /// The fixed part; `None`: another type, or cut short.
    pub fn parse(b: &[u8]) -> Option<Request> {
        if *b.first()? != REQUEST {
            return None;
        }
        Some(Request {
            flags: *b.get(1)?,
            lifetime: lifetime(b)?,
            home: addr(b, 4)?,
            agent: addr(b, 8)?,
            care_of: addr(b, 12)?,
            id: id(b, 16)?,
        })
    }

    /// The fixed part's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut b = vec![REQUEST, self.flags];
        b.extend(self.lifetime.to_be_bytes());
        for a in [self.home, self.agent, self.care_of] {
            b.extend(a.octets());
        }
        b.extend(self.id.to_be_bytes());
        b
    }

    /// As a mobile node sends it: authenticated for its home agent.
    pub fn emit(&self, key: &Key) -> Vec<u8> {
        key.sign(self.bytes(), MOBILE_HOME)
    }

    /// What the mobile-home authentication proves.
    ///
    /// # Errors
    /// The extensions are bad.
    pub fn proven(b: &[u8], key: &Key) -> Result<Proof, Bad> {
        key.check(b, REQUEST_LEN, MOBILE_HOME)
    }
}

impl Reply {
    /// The fixed part; `None`: another type, or cut short.
    pub fn parse(b: &[u8]) -> Option<Reply> {
        if *b.first()? != REPLY {
            return None;
        }
        Some(Reply {
            code: *b.get(1)?,
            lifetime: lifetime(b)?,
            home: addr(b, 4)?,
            agent: addr(b, 8)?,
            id: id(b, 12)?,
        })
    }

    /// The fixed part's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut b = vec![REPLY, self.code];
        b.extend(self.lifetime.to_be_bytes());
        for a in [self.home, self.agent] {
            b.extend(a.octets());
        }
        b.extend(self.id.to_be_bytes());
        b
    }

    /// As a home agent sends it: authenticated for the mobile node.
    pub fn emit(&self, key: &Key) -> Vec<u8> {
        key.sign(self.bytes(), MOBILE_HOME)
    }

    /// As [`Request::proven`].
    ///
    /// # Errors
    /// The extensions are bad.
    pub fn proven(b: &[u8], key: &Key) -> Result<Proof, Bad> {
        key.check(b, REPLY_LEN, MOBILE_HOME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_and_a_reply_as_bytes() {
        // RFC 5944 3.3, 3.4
        let r = Request {
            flags: S | D,
            lifetime: 300,
            home: [10, 1, 0, 71].into(),
            agent: [10, 1, 0, 1].into(),
            care_of: [192, 168, 0, 2].into(),
            id: 0x0102_0304_0506_0708,
        };
        let want = [
            1, 0xa0, 1, 44, 10, 1, 0, 71, 10, 1, 0, 1, 192, 168, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(r.bytes(), want);
        assert_eq!(Request::parse(&want), Some(r));
        let reply = Reply {
            code: 133,
            lifetime: 0,
            home: r.home,
            agent: r.agent,
            id: r.id,
        };
        let want = [
            3, 133, 0, 0, 10, 1, 0, 71, 10, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(reply.bytes(), want);
        assert_eq!(Reply::parse(&want), Some(reply));
        assert_eq!(Reply::parse(&want[..19]), None);
        assert_eq!(Request::parse(&want), None);
        assert_eq!(letters(r.flags), "SD");
    }

    proptest! {
        /// Whatever comes: no panic, and what was read is what was written.
        #[test]
        fn any_bytes(b in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(r) = Request::parse(&b) {
                prop_assert_eq!(&r.bytes()[..], &b[..REQUEST_LEN]);
            }
            if let Some(r) = Reply::parse(&b) {
                prop_assert_eq!(&r.bytes()[..], &b[..REPLY_LEN]);
            }
            let key = Key { spi: 256, secret: vec![1; 16] };
            prop_assert_ne!(Request::proven(&b, &key), Ok(Proof::Sound));
        }
    }
}
