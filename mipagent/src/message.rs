//! Registration messages and the mobile-home authentication extension.
//!
//! Spec: RFC 5944 3.3 (request), 3.4 (reply), 3.5.1 and 3.5.2 (authenticator: HMAC-MD5
//! over all up to and with the extension's SPI).

use std::net::Ipv4Addr;

use hmac::{Hmac, Mac};
use md5::Md5;

const REQUEST: u8 = 1;
const REPLY: u8 = 3;
const MOBILE_HOME: u8 = 32;
const AUTH_LEN: usize = 2 + 4 + 16;

/// Simultaneous bindings.
pub const S: u8 = 0x80;
/// Reverse tunnelling requested (RFC 3024).
pub const T: u8 = 0x02;

/// What a mobile node and its home agent share (RFC 5944 1.6: mobility security association).
#[derive(Clone, Debug)]
pub struct Key {
    /// The security parameter index.
    pub spi: u32,
    /// The secret.
    pub secret: Vec<u8>,
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
    /// An NTP timestamp (5.7.1).
    pub id: u64,
}

/// A Registration Reply (3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0 and 1: accepted.
    pub code: u8,
    /// Seconds granted.
    pub lifetime: u16,
    /// The home address.
    pub home: Ipv4Addr,
    /// The home agent.
    pub agent: Ipv4Addr,
    /// The request's, or with code 133 the agent's time above the request's low half.
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

    /// As it is sent, authenticated by `key`.
    pub fn emit(&self, key: &Key) -> Vec<u8> {
        let mut b = vec![REQUEST, self.flags];
        b.extend(self.lifetime.to_be_bytes());
        for a in [self.home, self.agent, self.care_of] {
            b.extend(a.octets());
        }
        b.extend(self.id.to_be_bytes());
        sign(b, key)
    }

    /// Is there a mobile-home authentication by `key`? `None`: the extensions are malformed.
    pub fn proven(b: &[u8], key: &Key) -> Option<bool> {
        proven(b, 24, key)
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

    /// As it is sent, authenticated by `key`.
    pub fn emit(&self, key: &Key) -> Vec<u8> {
        let mut b = vec![REPLY, self.code];
        b.extend(self.lifetime.to_be_bytes());
        for a in [self.home, self.agent] {
            b.extend(a.octets());
        }
        b.extend(self.id.to_be_bytes());
        sign(b, key)
    }

    /// As [`Request::proven`].
    pub fn proven(b: &[u8], key: &Key) -> Option<bool> {
        proven(b, 20, key)
    }
}

fn sign(mut b: Vec<u8>, key: &Key) -> Vec<u8> {
    b.extend([MOBILE_HOME, 20]);
    b.extend(key.spi.to_be_bytes());
    if let Ok(mut m) = Hmac::<Md5>::new_from_slice(&key.secret) {
        m.update(&b);
        b.extend(m.finalize().into_bytes());
    }
    b
}

fn proven(b: &[u8], mut at: usize, key: &Key) -> Option<bool> {
    while at < b.len() {
        let (ty, len) = (b[at], usize::from(*b.get(at + 1)?));
        let end = at + 2 + len;
        let ext = b.get(at..end)?;
        if ty == MOBILE_HOME {
            let spi = ext.get(2..6) == Some(&key.spi.to_be_bytes());
            let mac = Hmac::<Md5>::new_from_slice(&key.secret).ok();
            let sound = mac.is_some_and(|mut m| {
                m.update(&b[..(at + 6).min(end)]);
                ext.len() == AUTH_LEN && m.verify_slice(&ext[6..]).is_ok()
            });
            return Some(spi && sound);
        }
        at = end;
    }
    Some(false)
}
