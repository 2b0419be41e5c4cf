//! ICMP messages as bytes: an error about a datagram, an answer to an echo, a rate limit.
//!
//! ```text
//!   [ IP 20 | type code checksum | rest 4 | offending header, then its first 64 bytes ]
//! ```
//!
//! Spec: RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2, the reference's ip-tpi 8.2.
//! Kept: Solaris quotes the header and 64 bytes (ip_icmp_return_data_bytes); of protocol 4
//! the inner header counts as header; ten errors at once, then one in 100 ms.

use std::time::Duration;

use crate::wire::{
    HEADER, IP_OFFMASK, be16, be32, checksum, checksum_replace, header, proto, put16, put32,
};

/// Bytes behind the header that an error quotes (ip_icmp_return_data_bytes).
pub const QUOTE: usize = 64;
/// The longest quotation: it is a datagram, and so is the error around it.
const MAX_QUOTE: usize = 65535 - HEADER - 8;

/// The whole datagram of an ICMP error about `offending`, from `src`; `rest` is the second
/// word of the ICMP header. `None` where RFC 1812 4.3.2.7 forbids one: about an ICMP error,
/// a broadcast or multicast, a source that is no single host, a fragment but the first.
///
/// `ttl` is ip_def_ttl, `quote` the bytes to give back behind the header.
pub fn error(
    offending: &[u8],
    ty: u8,
    code: u8,
    rest: u32,
    src: u32,
    ttl: u8,
    quote: usize,
) -> Option<Vec<u8>> {
    let first = offending.first_chunk::<HEADER>()?;
    let ihl = usize::from(first[0] & 0xf) * 4;
    if ihl < HEADER || offending.len() < ihl {
        return None;
    }
    let (from, to) = (be32(first, 12), be32(first, 16));
    // A loopback source is one too, if it got this far: from a link it is dropped on arrival.
    if from == 0 || from >= 0xe000_0000 || to >= 0xe000_0000 || be16(first, 6) & IP_OFFMASK != 0 {
        return None;
    }
    // A type that is not there may be an error's.
    if first[9] == proto::ICMP && offending.get(ihl).is_none_or(|t| is_error(*t)) {
        return None;
    }
    let mut quoted = ihl;
    if first[9] == proto::ENCAP {
        quoted += usize::from(offending.get(ihl).copied().unwrap_or(0) & 0xf) * 4;
    }
    let quoted = quoted.saturating_add(quote).min(MAX_QUOTE);
    let quote = &offending[..offending.len().min(quoted)];
    let len = HEADER + 8 + quote.len();
    // RFC 1812 4.3.2.5: precedence 6 for errors, the rest of the TOS as it was.
    let tos = first[1] & 0x1e | 0xc0;
    let mut b = header(len, proto::ICMP, ttl, tos, 0, src, from).to_vec();
    b.extend_from_slice(&[ty, code, 0, 0]);
    b.extend_from_slice(&rest.to_be_bytes());
    b.extend_from_slice(quote);
    let c = checksum(&b[HEADER..]);
    put16(&mut b, HEADER + 2, c);
    Some(b)
}

/// Is this ICMP type an error message? About one there is never another.
pub fn is_error(ty: u8) -> bool {
    matches!(ty, 3 | 4 | 5 | 11 | 12)
}

/// Makes an echo (8), timestamp (13) or address mask request (17) its answer: `from` to who
/// asked, with a full TTL. The header checksum is the sender's to fill. False, and nothing
/// changed, if there is no such answer.
pub fn reply(b: &mut [u8], ihl: usize, from: u32, ttl: u8) -> bool {
    let answer = match b.get(ihl) {
        Some(8) => 0,
        Some(13) => 14,
        Some(17) => 18,
        _ => return false,
    };
    if ihl < HEADER || b.len() < ihl + 8 {
        return false;
    }
    let to = be32(b, 12);
    put32(b, 12, from);
    put32(b, 16, to);
    put16(b, 6, 0);
    b[8] = ttl;
    let first = u16::from_be_bytes([answer, b[ihl + 1]]);
    put_half(b, ihl, 0, first);
    true
}

fn put_half(b: &mut [u8], ihl: usize, at: usize, v: u16) {
    let mut c = checksum_replace(be16(b, ihl + 2), be16(b, ihl + at), v);
    put16(b, ihl + at, v);
    if c == 0 {
        // RFC 1624 3: the update can't tell a message of zeros, whose sum is 0xffff.
        put16(b, ihl + 2, 0);
        c = checksum(b.get(ihl..).unwrap_or(&[]));
    }
    put16(b, ihl + 2, c);
}

/// Stores a word at `at` of the ICMP message behind a header of `ihl` bytes, and keeps its
/// checksum right.
pub fn put_word(b: &mut [u8], ihl: usize, at: usize, v: u32) {
    put_half(b, ihl, at, (v >> 16) as u16);
    put_half(b, ihl, at + 2, v as u16);
}

/// Bounds the errors sent: a bucket of tokens (RFC 1812 4.3.2.8).
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// A token comes back after this time (ip_icmp_err_interval); zero: no limit.
    pub interval: Duration,
    /// Tokens at most (ip_icmp_err_burst).
    pub burst: u32,
    tokens: u32,
    since: Duration,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit::new(Duration::from_millis(100), 10)
    }
}

impl RateLimit {
    /// A full bucket.
    pub fn new(interval: Duration, burst: u32) -> RateLimit {
        RateLimit {
            interval,
            burst,
            tokens: burst,
            since: Duration::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Duration) -> bool {
        if self.interval.is_zero() {
            return true; // 8.2: the limit is off
        }
        let one = self.interval.as_nanos();
        let back = now.saturating_sub(self.since).as_nanos() / one;
        if back >= u128::from(self.burst.saturating_sub(self.tokens)) {
            (self.tokens, self.since) = (self.burst, now);
        } else {
            self.tokens += back as u32;
            self.since += self.interval * back as u32; // the rest of an interval is kept
        }
        let yes = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        yes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{check, sum};

    fn udp(src: u32, dst: u32) -> Vec<u8> {
        let mut b = header(HEADER + 200, 17, 9, 0x10, 7, src, dst).to_vec();
        b.resize(HEADER + 200, 0x55);
        b
    }
    const A: u32 = 0x0a00_0001;
    const B: u32 = 0x0a00_0002;

    #[test]
    fn an_error_quotes_the_header_and_64_bytes() {
        let e = error(&udp(A, B), 3, 4, 1400, 0x0a00_00fe, 255, QUOTE).expect("allowed");
        let h = check(&e, e.len()).expect("sound");
        assert_eq!((h.src, h.dst, h.proto, h.ttl), (0x0a00_00fe, A, 1, 255));
        assert_eq!(e.len(), 20 + 8 + 20 + 64);
        assert_eq!(sum(&e[20..]), 0xffff);
        assert_eq!((e[20], e[21], be16(&e, 26)), (3, 4, 1400));
        assert_eq!(e[1], 0xd0); // RFC 1812 4.3.2.5
    }

    #[test]
    fn the_must_nots_of_rfc_1812() {
        // 4.3.2.7, one line each
        let no = |b: &[u8]| error(b, 11, 0, 0, A, 255, QUOTE).is_none();
        assert!(
            no(&error(&udp(A, B), 3, 1, 0, B, 255, QUOTE).expect("allowed")),
            "about an ICMP error"
        );
        assert!(no(&udp(A, 0xe000_0001)), "to a multicast");
        assert!(no(&udp(A, u32::MAX)), "to the broadcast address");
        assert!(no(&udp(0, B)), "from nobody");
        assert!(no(&udp(0xe000_0001, B)), "from a multicast");
        assert!(no(&udp(0xf000_0001, B)), "from class E");
        let mut f = udp(A, B);
        f[7] = 5;
        assert!(no(&f), "about a later fragment");
        assert!(no(&udp(A, B)[..10]), "about half a header");
        let mut echo = udp(A, B);
        (echo[9], echo[20]) = (1, 8);
        assert!(!no(&echo), "but about an echo request");
    }

    #[test]
    fn the_inner_header_of_a_tunnelled_datagram_is_quoted_too() {
        let mut b = header(20 + 220, 4, 9, 0, 7, A, B).to_vec();
        b.extend(udp(1, 2));
        assert_eq!(
            error(&b, 3, 0, 0, B, 255, QUOTE).expect("allowed").len(),
            28 + 20 + 20 + 64
        );
        // However much is asked for, the error is a datagram.
        let huge = error(&b, 3, 0, 0, B, 255, usize::MAX).expect("allowed");
        assert_eq!(huge.len(), 28 + 240);
    }

    #[test]
    fn a_request_is_turned_round() {
        // RFC 792; checksums by RFC 1624
        for (ask, answer) in [(8, 0), (13, 14), (17, 18)] {
            let mut b = header(31, 1, 5, 0, 7, A, B).to_vec();
            b.extend([ask, 0, 0, 0, 1, 2, 3, 4, 0xff, 0xff, 9]);
            let c = checksum(&b[20..]);
            put16(&mut b, 22, c);
            assert!(reply(&mut b, 20, B, 255));
            assert_eq!((be32(&b, 12), be32(&b, 16)), (B, A));
            assert_eq!((b[8], b[20], sum(&b[20..])), (255, answer, 0xffff));
            put_word(&mut b, 20, 4, 0xdead_beef);
            assert_eq!((be32(&b, 24), sum(&b[20..])), (0xdead_beef, 0xffff));
        }
        let mut error = header(28, 1, 5, 0, 7, A, B).to_vec();
        error.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!reply(&mut error, 20, B, 255));
    }

    #[test]
    fn an_echo_of_zeros_is_answered_with_the_checksum_of_zeros() {
        // RFC 1624 3: an update in place would leave 0, and the answer would be dropped
        let mut b = header(28, 1, 5, 0, 7, A, B).to_vec();
        b.extend([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        assert!(reply(&mut b, 20, B, 255));
        assert_eq!(b[20..], [0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn errors_come_in_bursts_of_ten_then_ten_a_second() {
        // ip-tpi.md 8.2 "rate limit"
        let ms = Duration::from_millis;
        let mut r = RateLimit::default();
        assert_eq!((0..20).filter(|_| r.allow(ms(5000))).count(), 10);
        assert!(!r.allow(ms(5099)) && r.allow(ms(5100)) && !r.allow(ms(5100)));
        // Asked at awkward times: no part of an interval is lost.
        let sent = (0..1000).filter(|i| r.allow(ms(6000 + i * 99))).count();
        assert!((990..=1000).contains(&sent), "{sent}");
        let mut off = RateLimit::new(Duration::ZERO, 0);
        assert!((0..100).all(|_| off.allow(ms(1))));
        assert!(!RateLimit::new(ms(1), 0).allow(ms(9)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            mut b in proptest::collection::vec(any::<u8>(), 0..200),
            ihl in 0..80usize,
            quote in any::<usize>(),
        ) {
            if let Some(e) = error(&b, 3, 1, 0, A, 9, quote) {
                prop_assert!(check(&e, e.len()).is_ok());
            }
            reply(&mut b, ihl, A, 1);
            put_word(&mut b, ihl, 4, 9);
        }
    }
}
