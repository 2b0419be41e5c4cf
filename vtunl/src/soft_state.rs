//! Tunnel soft state: what ICMP says about our outer datagrams, and who is told.
//!
//! ```text
//!   M_CTL from IP:  [ IP | ICMP 8 | our outer header | inner header | ... ]
//!                                        │                 │
//!            texit_table: PMTU, state ◄──┘                 └──► ICMP to the inner source,
//!                 │                                             if the quote reaches it
//!                 └──► the next datagram: its source is told (RFC 2003 section 5)
//! ```
//!
//! Spec: RFC 2003 sections 4 and 5, RFC 1933 section 3 (as the paper says), RFC 1191,
//! RFC 1812 section 4.3.2, RFC 792.
//! Kept: an error tells at most about the exits in the table, and lowers the PMTU only.
//! Kept: a datagram to an exit that is said to be dead is sent all the same.
//! Differs: a datagram too big with DF is not also encapsulated: it could but be dropped
//! inside, and answered a second time.
//! Kept: errors about IPv6 inside IPv4 are told as ICMPv6 (RFC 4213 section 3.4: "MAY").

use std::time::Duration;

use streams::message::Msg;

use crate::encap::SPARE;
use crate::header::{
    IPPROTO_ENCAP, IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_IPV6, IPPROTO_MINIMAL, IPV4_LEN, Ipv4, Outer,
    checksum,
};
use crate::icmp6::{self, ICMP6_TOO_BIG, ICMP6_UNREACH, ICMP6_UNREACH_ADDR};
use crate::texit_table::{
    EXIT_CONGESTED, EXIT_HOST_UNREACH, EXIT_NET_UNREACH, EXIT_PROTO_UNREACH, EXIT_TTL_EXCEEDED,
    ExitView, PMTU_FLOOR,
};
use crate::why::Stats;

/// ICMP destination unreachable.
pub const ICMP_UNREACH: u8 = 3;
/// Code: the network.
pub const ICMP_UNREACH_NET: u8 = 0;
/// Code: the host.
pub const ICMP_UNREACH_HOST: u8 = 1;
/// Code: fragmentation needed and DF set.
pub const ICMP_UNREACH_NEEDFRAG: u8 = 4;
const ICMP_QUENCH: u8 = 4;
const ICMP_TIMXCEED: u8 = 11;
const ICMP_PARAMPROB: u8 = 12;

/// An ICMP message whole, IP header included (RFC 1812 4.3.2.3: as much as fits 576).
const ICMP_MOST: usize = 576;
/// ICMP errors that may be sent in a burst, and in a second (RFC 1812 4.3.2.8).
const ICMP_RATE: u64 = 100;

/// What an error about an outer datagram becomes for the inner one's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// Nothing.
    No,
    /// Destination unreachable with this code.
    Unreach(u8),
    /// Fragmentation needed; the MTU is the tunnel's.
    TooBig,
    /// Parameter problem at this byte of the inner datagram.
    Parameter(u8),
}

/// RFC 2003 section 4, type by type. `pointer` is a parameter problem's, `outer` the
/// length of the headers in front of the inner datagram.
pub fn relay(ty: u8, code: u8, pointer: u8, outer: usize) -> Relay {
    match (ty, code) {
        // 4.1: the network, and the protocol that only we have chosen: code 0.
        (ICMP_UNREACH, 0 | 2) => Relay::Unreach(ICMP_UNREACH_NET),
        (ICMP_UNREACH, 1) => Relay::Unreach(ICMP_UNREACH_HOST),
        // 4.1: port unreachable and source route failed MUST NOT be relayed.
        (ICMP_UNREACH, 3 | 5) => Relay::No,
        (ICMP_UNREACH, 4) => Relay::TooBig,
        // Codes younger than RFC 2003: as the network.
        (ICMP_UNREACH, _) => Relay::Unreach(ICMP_UNREACH_NET),
        // 4.4: MUST be reported as host unreachable.
        (ICMP_TIMXCEED, _) => Relay::Unreach(ICMP_UNREACH_HOST),
        // 4.5: only a field that was copied from the inner header, or the inner itself.
        (ICMP_PARAMPROB, 0) if usize::from(pointer) >= outer => {
            Relay::Parameter((usize::from(pointer) - outer) as u8)
        }
        (ICMP_PARAMPROB, 0) if pointer == 1 => Relay::Parameter(1),
        // 4.2 source quench, 4.3 redirect, 4.6 the rest.
        _ => Relay::No,
    }
}

/// The `EXIT_*` bits that an error sets.
pub fn state_bits(ty: u8, code: u8) -> u16 {
    match (ty, code) {
        (ICMP_UNREACH, 1 | 7 | 8 | 10 | 12) => EXIT_HOST_UNREACH,
        (ICMP_UNREACH, 2) => EXIT_PROTO_UNREACH,
        (ICMP_UNREACH, 3 | 4) => 0,
        (ICMP_UNREACH, _) => EXIT_NET_UNREACH,
        (ICMP_QUENCH, 0) => EXIT_CONGESTED,
        // Code 1 is about fragments that did not come together, not about the path.
        (ICMP_TIMXCEED, 0) => EXIT_TTL_EXCEEDED,
        _ => 0,
    }
}

/// A token bucket for the ICMP errors that we send.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    tokens: u64,
    filled: Duration,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter {
            tokens: ICMP_RATE,
            filled: Duration::ZERO,
        }
    }
}

impl Limiter {
    /// May one more be sent?
    pub fn allow(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_millis() as u64;
        let new = passed.saturating_mul(ICMP_RATE) / 1000;
        if new > 0 {
            self.tokens = ICMP_RATE.min(self.tokens.saturating_add(new));
            self.filled = now;
        }
        let ok = self.tokens > 0;
        self.tokens -= u64::from(ok);
        ok
    }
}

/// RFC 1812 4.3.2.7: may this datagram be answered with an ICMP error at all? `quote` is
/// its start.
pub fn may_answer(h: &Ipv4, quote: &[u8]) -> bool {
    let host = |a: u32| a >> 24 != 0 && a >> 24 != 127 && a >> 28 < 0xe;
    let error = h.proto == IPPROTO_ICMP
        && !matches!(
            quote.get(usize::from(h.header)),
            Some(0 | 8 | 9 | 10 | 13..=18)
        );
    h.frag & 0x1fff == 0 && host(h.src) && h.dst >> 28 < 0xe && !error
}

/// An ICMP error from `us` about a datagram with header `h` that begins with `quote`;
/// `rest` is the second word of the ICMP header.
pub fn icmp_error(us: u32, h: &Ipv4, quote: &[u8], ty: u8, code: u8, rest: u32, ident: u16) -> Msg {
    let quote = &quote[..quote.len().min(ICMP_MOST - IPV4_LEN - 8)];
    let ip = Outer {
        // RFC 1812 4.3.2.5: precedence 6, the TOS of the datagram; no ECN of ours.
        tos: 0xc0 | h.tos & 0x1c,
        len: (IPV4_LEN + 8 + quote.len()) as u16,
        ident,
        df: false,
        ttl: 255,
        proto: IPPROTO_ICMP,
        src: us,
        dst: h.src,
    };
    let mut b = [0u8; ICMP_MOST];
    let n = IPV4_LEN + 8 + quote.len();
    b[..IPV4_LEN].copy_from_slice(&ip.bytes());
    b[20..22].copy_from_slice(&[ty, code]);
    b[24..28].copy_from_slice(&rest.to_be_bytes());
    b[28..n].copy_from_slice(quote);
    let sum = checksum(&b[IPV4_LEN..n]);
    b[22..24].copy_from_slice(&sum.to_be_bytes());
    let mut mp = Msg::with_headroom(SPARE, n);
    mp.append(&b[..n]);
    mp
}

/// What was heard, read: the error, our outer header, and the inner datagram's start with
/// its header, as far as the quote reaches.
struct Heard {
    ty: u8,
    code: u8,
    word: u32,
    outer: Ipv4,
    /// Bytes between the start of the outer header and the inner datagram.
    around: usize,
    inner: Option<(Ipv4, Vec<u8>)>,
    inner_v6: Option<Vec<u8>>,
}

impl Heard {
    fn read(b: &[u8]) -> Option<Heard> {
        let ip = Ipv4::read(b).ok()?;
        let icmp = b.get(usize::from(ip.header)..)?;
        let &[ty, code, _, _, w0, w1, w2, w3] = icmp.first_chunk::<8>()?;
        let quote = &icmp[8..];
        let outer = Ipv4::read(quote).ok()?;
        let behind = &quote[usize::from(outer.header)..];
        let hl = usize::from(outer.header);
        let mut inner_v6 = None;
        let (around, inner) = match outer.proto {
            IPPROTO_IPV6 => {
                inner_v6 = Some(behind.to_vec());
                (hl, None)
            }
            IPPROTO_ENCAP => (hl, Some(behind.to_vec())),
            IPPROTO_GRE => match behind.first_chunk::<4>() {
                Some(&[f, _, p0, p1]) => {
                    let n = 4 + 4 * usize::from((f >> 7) + (f >> 5 & 1) + (f >> 4 & 1));
                    let payload = behind.get(n..).map(<[u8]>::to_vec);
                    match u16::from_be_bytes([p0, p1]) {
                        0x0800 => (hl + n, payload),
                        0x86dd => {
                            inner_v6 = payload;
                            (hl + n, None)
                        }
                        _ => (hl, None),
                    }
                }
                _ => (hl, None),
            },
            IPPROTO_MINIMAL => (hl, original(quote, &outer)),
            _ => (hl, None),
        };
        // RFC 792: a quote has a header and 8 bytes, if there are so many; less is of no use.
        let inner = inner.and_then(|q| {
            let h = Ipv4::read(&q).ok()?;
            let enough = (usize::from(h.header) + 8).min(h.len.into());
            (q.len() >= enough).then_some((h, q))
        });
        Some(Heard {
            ty,
            code,
            word: u32::from_be_bytes([w0, w1, w2, w3]),
            outer,
            around,
            inner,
            inner_v6,
        })
    }
}

/// The original datagram's start from a quote of its minimally encapsulated form.
fn original(quote: &[u8], outer: &Ipv4) -> Option<Vec<u8>> {
    let n = usize::from(outer.header);
    let m = quote.get(n..)?;
    // RFC 2004 3.2: without the S bit we were the source, and IP has told it already.
    if m.get(1)? & 0x80 == 0 {
        return None;
    }
    let m = m.first_chunk::<12>()?;
    let mut q = quote[..n].to_vec();
    q[9] = m[0];
    q[2..4].copy_from_slice(&outer.len.checked_sub(12)?.to_be_bytes());
    q[16..20].copy_from_slice(&m[4..8]);
    q[12..16].copy_from_slice(&m[8..12]);
    q[10..12].fill(0);
    let c = checksum(&q);
    q[10..12].copy_from_slice(&c.to_be_bytes());
    q.extend_from_slice(&quote[n + 12..]);
    Some(q)
}

/// Takes in an ICMP message that IP hands up (M_CTL) about a datagram from `us`; returns
/// the error for the inner source, if there is one to be sent.
pub fn heard(
    mp: &Msg,
    us: u32,
    exits: &ExitView,
    stats: &Stats,
    limiter: &mut Limiter,
    now: Duration,
) -> Option<Msg> {
    let b = mp.to_vec();
    let e = Heard::read(&b)?;
    if e.outer.src != us {
        return None;
    }
    let x = exits.get(e.outer.dst)?;
    stats.icmp_heard.add(1);
    let mut mtu = 0;
    if (e.ty, e.code) == (ICMP_UNREACH, ICMP_UNREACH_NEEDFRAG) {
        x.learn_pmtu(e.word as u16, e.outer.len, now);
        mtu = x.pmtu();
    }
    let bits = state_bits(e.ty, e.code);
    if bits != 0 {
        x.set_state(bits, now);
    }
    if let Some(quote) = &e.inner_v6 {
        let m = relay_v6(&e, quote, us, mtu)?;
        if !limiter.allow(now) {
            stats.icmp_limited.add(1);
            return None;
        }
        stats.icmp_relayed.add(1);
        return Some(m);
    }
    let (h, quote) = e.inner?;
    let (ty, code, rest) = match relay(e.ty, e.code, (e.word >> 24) as u8, e.around) {
        Relay::No => return None,
        Relay::Unreach(code) => (ICMP_UNREACH, code, 0),
        // Who left DF clear did not ask; his datagrams are fragmented from now on.
        Relay::TooBig if !h.df() => return None,
        Relay::TooBig => {
            // RFC 2003 4.1: the MTU of the tunnel, without the header that we add.
            let over = if e.outer.proto == IPPROTO_MINIMAL {
                12
            } else {
                e.around as u16
            };
            (ICMP_UNREACH, ICMP_UNREACH_NEEDFRAG, inner_mtu(mtu, over))
        }
        Relay::Parameter(at) => (ICMP_PARAMPROB, 0, u32::from(at) << 24),
    };
    if !may_answer(&h, &quote) {
        return None;
    }
    if !limiter.allow(now) {
        stats.icmp_limited.add(1);
        return None;
    }
    let ident = stats.icmp_relayed.add(1) as u16;
    Some(icmp_error(us, &h, &quote, ty, code, rest, ident))
}

/// RFC 4213 section 3.4 and 3.2.2: the error for the source of an IPv6 datagram.
fn relay_v6(e: &Heard, quote: &[u8], us: u32, pmtu: u16) -> Option<Msg> {
    match relay(e.ty, e.code, 0, e.around) {
        Relay::Unreach(_) => icmp6::error(us, quote, ICMP6_UNREACH, ICMP6_UNREACH_ADDR, 0),
        Relay::TooBig => {
            let mtu = icmp6::tunnel_mtu(pmtu, e.around as u32);
            // What is no larger than that was sent with DF before the path was known to be
            // narrow: the next one goes in fragments.
            let len = 40 + u32::from(u16::from_be_bytes([*quote.get(4)?, *quote.get(5)?]));
            (len > mtu).then(|| icmp6::error(us, quote, ICMP6_TOO_BIG, 0, mtu))?
        }
        _ => None,
    }
}

/// What the inner source is told: the path's MTU less what we add, but 68 at least, since
/// nobody may go below (RFC 1191 section 3).
pub fn inner_mtu(pmtu: u16, overhead: u16) -> u32 {
    u32::from(pmtu.saturating_sub(overhead).max(PMTU_FLOOR))
}

#[cfg(test)]
mod tests;
