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

use streams::Msg;

use crate::wire::{
    HEADER, IP_OFFMASK, be16, be32, checksum, checksum_replace, header, is_multicast, proto, put16,
};

/// Bytes behind the header that an error quotes (ip_icmp_return_data_bytes).
const QUOTE: usize = 64;
/// TTL of errors (ip_def_ttl).
const TTL: u8 = 255;

/// The whole datagram of an ICMP error about `offending`, from `src`; `rest` is the second
/// word of the ICMP header. `None` where RFC 1812 4.3.2.7 forbids one: about an ICMP error,
/// a broadcast or multicast, a source that is no single host, a fragment but the first.
pub fn error(offending: &[u8], ty: u8, code: u8, rest: u32, src: u32) -> Option<Vec<u8>> {
    let first = offending.first_chunk::<HEADER>()?;
    let ihl = usize::from(first[0] & 0xf) * 4;
    if ihl < HEADER || offending.len() < ihl {
        return None;
    }
    let (from, to) = (be32(first, 12), be32(first, 16));
    let one_host = |a: u32| a != 0 && a >> 24 != 127 && a < 0xe000_0000;
    if !one_host(from) && from >> 24 != 127 {
        return None;
    }
    if is_multicast(to) || to == u32::MAX || be16(first, 6) & IP_OFFMASK != 0 {
        return None;
    }
    let is_error = |t: u8| matches!(t, 3 | 4 | 5 | 11 | 12);
    if first[9] == proto::ICMP && offending.get(ihl).copied().is_some_and(is_error) {
        return None;
    }
    let mut quoted = ihl;
    if first[9] == proto::ENCAP {
        quoted += usize::from(offending.get(ihl).copied().unwrap_or(0) & 0xf) * 4;
    }
    let quote = &offending[..offending.len().min(quoted + QUOTE)];
    let len = HEADER + 8 + quote.len();
    // RFC 1812 4.3.2.5: precedence 6 for errors, the rest of the TOS as it was.
    let tos = first[1] & 0x1e | 0xc0;
    let mut b = header(len, proto::ICMP, TTL, tos, 0, src, from).to_vec();
    b.extend_from_slice(&[ty, code, 0, 0]);
    b.extend_from_slice(&rest.to_be_bytes());
    b.extend_from_slice(quote);
    let c = checksum(&b[HEADER..]);
    put16(&mut b, HEADER + 2, c);
    Some(b)
}

/// Makes an echo request its answer: addresses exchanged, type 0, a full TTL. The header
/// checksum is the sender's to fill, for the source may change.
pub fn echo_reply(mp: &mut Msg) {
    let b = mp.rd_mut();
    let ihl = usize::from(b.first().copied().unwrap_or(0) & 0xf) * 4;
    if b.len() < ihl + 8 || ihl < HEADER {
        return;
    }
    let (src, dst) = (be32(b, 12), be32(b, 16));
    b[12..16].copy_from_slice(&dst.to_be_bytes());
    b[16..20].copy_from_slice(&src.to_be_bytes());
    b[8] = TTL;
    let c = checksum_replace(be16(b, ihl + 2), be16(b, ihl), u16::from(b[ihl + 1]));
    b[ihl] = 0;
    put16(b, ihl + 2, c);
}

/// A token bucket (RFC 1812 4.3.2.8; ip_icmp_err_interval and ip_icmp_err_burst).
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    tokens: u32,
    last: Duration,
}

/// A token comes back after this time.
const INTERVAL: Duration = Duration::from_millis(100);
/// Tokens at most.
const BURST: u32 = 10;

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit {
            tokens: BURST,
            last: Duration::ZERO,
        }
    }
}

impl RateLimit {
    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Duration) -> bool {
        let back = now.saturating_sub(self.last).as_millis() / INTERVAL.as_millis();
        if back > 0 {
            let back = u32::try_from(back).unwrap_or(BURST);
            self.tokens = self.tokens.saturating_add(back).min(BURST);
            self.last = now;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
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
        let e = error(&udp(A, B), 3, 4, 1400, 0x0a00_00fe).expect("allowed");
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
        let no = |b: &[u8]| error(b, 11, 0, 0, A).is_none();
        assert!(
            no(&error(&udp(A, B), 3, 1, 0, B).expect("allowed")),
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
            error(&b, 3, 0, 0, B).expect("allowed").len(),
            28 + 20 + 20 + 64
        );
    }

    #[test]
    fn an_echo_is_turned_round() {
        let mut b = header(28, 1, 5, 0, 7, A, B).to_vec();
        b.extend([8, 0, 0, 0, 1, 2, 3, 4]);
        let c = checksum(&b[20..]);
        put16(&mut b, 22, c);
        let mut mp = Msg::data(&b);
        echo_reply(&mut mp);
        assert_eq!(
            (be32(mp.rd(), 12), be32(mp.rd(), 16), mp.rd()[20]),
            (B, A, 0)
        );
        assert_eq!(sum(&mp.rd()[20..]), 0xffff);
    }

    #[test]
    fn errors_come_in_bursts_of_ten() {
        let mut r = RateLimit::default();
        let t = Duration::from_secs(5);
        assert_eq!((0..20).filter(|_| r.allow(t)).count(), 10);
        assert!(r.allow(t + INTERVAL));
        assert!(!r.allow(t + INTERVAL));
    }
}
