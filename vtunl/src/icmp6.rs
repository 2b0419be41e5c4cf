//! ICMPv6 errors to the sources of IPv6 datagrams that the tunnel can't carry.
//!
//! ```text
//!      IPv6 above  ──► datagram ──► vtunl: too big, or the exit is unreachable
//!                  ◄── [ IPv6 fe80::our address > its source | ICMPv6 8 | as much of it
//!                                                              as fits 1280 bytes ]
//! ```
//!
//! They go up: whose datagrams these are is above us.
//!
//! Spec: RFC 4443 sections 2.2 to 2.4, 3.1 and 3.2; RFC 4213 sections 3.2.2, 3.4 and 3.7
//! (the link-local address of the tunnel's end).
//! Not done: who may be answered is not looked for behind an encrypted header.

use streams::message::Msg;

use crate::encap::SPARE;
use crate::header::{fold, sum_of};

/// Destination unreachable (RFC 4443 3.1).
pub const ICMP6_UNREACH: u8 = 1;
/// Code: the address.
pub const ICMP6_UNREACH_ADDR: u8 = 3;
/// Packet too big (RFC 4443 3.2).
pub const ICMP6_TOO_BIG: u8 = 2;
/// The smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const IPV6_MIN_MTU: u32 = 1280;

const HEADER: usize = 40;
const ICMPV6: u8 = 58;
/// Extension headers that are looked through: a chain longer than that is no one's.
const CHAIN: usize = 8;

/// What the source is told about its datagrams' size: the path MTU less what we add, but
/// never below 1280 (RFC 4213 3.2.2).
pub fn tunnel_mtu(pmtu: u16, overhead: u32) -> u32 {
    u32::from(pmtu).saturating_sub(overhead).max(IPV6_MIN_MTU)
}

/// An ICMPv6 error from our end of the tunnel, `us`, about a datagram that begins with
/// `quote`; `rest` is the second word of its header. None: it must not be answered.
pub fn error(us: u32, quote: &[u8], ty: u8, code: u8, rest: u32) -> Option<Msg> {
    let h = quote.first_chunk::<HEADER>()?;
    let to = &h[8..24];
    // RFC 4443 2.4 (e): no error about an error, about a multicast but that it is too big,
    // or to a source that is not one node.
    let one_node = to[0] != 0xff && to.iter().any(|b| *b != 0);
    let group = h[24] == 0xff && ty != ICMP6_TOO_BIG;
    if h[0] >> 4 != 6 || !one_node || group || is_error(quote) {
        return None;
    }
    let quote = &quote[..quote.len().min(IPV6_MIN_MTU as usize - HEADER - 8)];
    let n = HEADER + 8 + quote.len();
    let mut b = [0u8; IPV6_MIN_MTU as usize];
    b[0] = 0x60;
    b[4..6].copy_from_slice(&((n - HEADER) as u16).to_be_bytes());
    (b[6], b[7]) = (ICMPV6, 255);
    // RFC 4213 3.7: fe80::/64 and the IPv4 address.
    b[8..10].copy_from_slice(&[0xfe, 0x80]);
    b[20..24].copy_from_slice(&us.to_be_bytes());
    b[24..40].copy_from_slice(to);
    (b[40], b[41]) = (ty, code);
    b[44..48].copy_from_slice(&rest.to_be_bytes());
    b[48..n].copy_from_slice(quote);
    let c = pseudo_sum(&b[..n]);
    b[42..44].copy_from_slice(&c.to_be_bytes());
    let mut mp = Msg::with_headroom(SPARE, n);
    mp.append(&b[..n]);
    Some(mp)
}

/// RFC 4443 2.3: over the addresses, the length, the next header and the message.
fn pseudo_sum(b: &[u8]) -> u16 {
    let length_and_header = (b.len() - HEADER) as u64 + u64::from(ICMPV6);
    !fold(sum_of(&b[8..]) + length_and_header)
}

/// Is the datagram an ICMPv6 error (types below 128), a redirect (137), or a part of which
/// that can't be seen?
fn is_error(quote: &[u8]) -> bool {
    let (mut next, mut at) = (quote[6], HEADER);
    for _ in 0..CHAIN {
        let Some(&[n, len, f0, f1]) = quote.get(at..).and_then(|x| x.first_chunk::<4>()) else {
            return next == ICMPV6;
        };
        at += match next {
            ICMPV6 => return n < 128 || n == 137,
            // Fragment: a later one has no header to look at (RFC 8200 4.5).
            44 if u16::from_be_bytes([f0, f1]) & 0xfff8 != 0 => return n == ICMPV6,
            44 => 8,
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => 8 + 8 * usize::from(len),
            _ => return false,
        };
        next = n;
    }
    true
}

#[cfg(test)]
mod tests;
