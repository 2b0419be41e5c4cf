//! IPv4 headers as bytes: checked once, then read and edited in place.
//!
//! ```text
//!   0        8        16       24       32
//!   | ver ihl|  tos   |  total length   |
//!   |  identification |flg| frag offset |
//!   |  ttl   | proto  | header checksum |
//!   |              source               |
//!   |            destination            |
//! ```
//!
//! [`check`] is the one place that argues about lengths; everything else works on what it
//! has passed. No function here panics, whatever the bytes.
//!
//! Spec: RFC 791, RFC 1071 and RFC 1624 (checksums).

/// Bytes of a header without options.
pub const HEADER: usize = 20;
/// More fragments.
pub const IP_MF: u16 = 0x2000;
/// Don't fragment.
pub const IP_DF: u16 = 0x4000;
/// The bits of the offset.
pub const IP_OFFMASK: u16 = 0x1fff;

/// Protocol numbers.
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// IPv4 in IPv4 (IPPROTO_ENCAP).
    pub const ENCAP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IPv4.
    pub const IPV6: u8 = 41;
    /// RSVP.
    pub const RSVP: u8 = 46;
    /// PIM.
    pub const PIM: u8 = 103;
}

/// What a sound header says. Addresses are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Header length in bytes, options included.
    pub ihl: usize,
    /// Total length.
    pub len: usize,
    /// Flags and offset.
    pub frag: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Source.
    pub src: u32,
    /// Destination.
    pub dst: u32,
}

/// Two bytes, big endian; 0 past the end.
#[inline]
pub fn be16(b: &[u8], at: usize) -> u16 {
    match b.get(at..at + 2) {
        Some(&[x, y]) => u16::from_be_bytes([x, y]),
        _ => 0,
    }
}

/// Four bytes, big endian; 0 past the end.
#[inline]
pub fn be32(b: &[u8], at: usize) -> u32 {
    match b.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Stores two bytes big endian; nothing past the end.
#[inline]
pub fn put16(b: &mut [u8], at: usize, v: u16) {
    if let Some(to) = b.get_mut(at..at + 2) {
        to.copy_from_slice(&v.to_be_bytes());
    }
}

/// Stores four bytes big endian; nothing past the end.
#[inline]
pub fn put32(b: &mut [u8], at: usize, v: u32) {
    if let Some(to) = b.get_mut(at..at + 4) {
        to.copy_from_slice(&v.to_be_bytes());
    }
}

/// One's complement sum of 16-bit words, folded (RFC 1071). An odd last byte counts as
/// the high half of a word.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    fold(sum_from(0, bytes))
}

/// The running, unfolded form of [`sum`]: start with 0 or another part's sum. Only the
/// last part may have an odd length.
#[inline]
pub fn sum_from(mut acc: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    for w in words {
        acc += u64::from(u32::from_be_bytes(*w));
    }
    let (halves, odd) = rest.as_chunks::<2>();
    for h in halves {
        acc += u64::from(u16::from_be_bytes(*h));
    }
    if let [b] = odd {
        acc += u64::from(*b) << 8;
    }
    acc
}

/// Folds a running sum to 16 bits.
#[inline]
pub fn fold(mut acc: u64) -> u16 {
    acc = (acc >> 32) + (acc & 0xffff_ffff);
    acc = (acc >> 16) + (acc & 0xffff);
    acc = (acc >> 16) + (acc & 0xffff);
    acc = (acc >> 16) + (acc & 0xffff);
    acc as u16
}

/// The checksum to store over bytes whose own checksum field is 0.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// Replaces one 16-bit word under a checksum (RFC 1624, equation 3).
#[inline]
pub fn checksum_replace(old_sum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!old_sum) + u64::from(!old) + u64::from(new))
}

/// Reads and proves the header at the start of a block that holds `b`, of a message with
/// `have` bytes in all. The error is the reason to drop it by (ip_rput's checks).
#[inline]
pub fn check(b: &[u8], have: usize) -> Result<Header, &'static str> {
    let Some(h) = b.first_chunk::<HEADER>() else {
        return Err("header cut short");
    };
    if h[0] >> 4 != 4 {
        return Err("not version 4");
    }
    let ihl = usize::from(h[0] & 0xf) * 4;
    let len = usize::from(be16(h, 2));
    if ihl < HEADER || len < ihl {
        return Err("header length");
    }
    if have < len {
        return Err("shorter than its total length");
    }
    // Without options: five words, no loop.
    let sum = if ihl == HEADER {
        sum(h)
    } else {
        match b.get(..ihl) {
            Some(whole) => sum(whole),
            None => return Err("header cut short"),
        }
    };
    if sum != 0xffff {
        return Err("header checksum");
    }
    Ok(Header {
        ihl,
        len,
        frag: be16(h, 6),
        ttl: h[8],
        proto: h[9],
        src: be32(h, 12),
        dst: be32(h, 16),
    })
}

/// Takes one off the TTL and keeps the checksum right (RFC 1141: the sum rises by 0x100). Both
/// are in one word, and stored as one: who reads it next need not wait for two stores.
#[inline]
pub fn decrement_ttl(h: &mut [u8]) {
    if let Some(h) = h.first_chunk_mut::<HEADER>() {
        let word = be32(h, 8);
        let ttl = (word >> 24).wrapping_sub(1) & 0xff;
        let s = (word & 0xffff) + 0x0100;
        let s = (s + (s >> 16)) & 0xffff;
        put32(h, 8, ttl << 24 | word & 0x00ff_0000 | s);
    }
}

/// Completes a header: source, identification if it gets one, checksum. It is summed before
/// it is written: what was just stored in parts is slow to read as a whole.
#[inline]
pub fn complete(h: &mut [u8], ihl: usize, src: u32, ident: Option<u16>) {
    if ihl == HEADER
        && let Some(h) = h.first_chunk_mut::<HEADER>()
    {
        let ident = match ident {
            Some(i) => u32::from(i) << 16 | u32::from(be16(h, 6)),
            None => be32(h, 4),
        };
        let words = [
            be32(h, 0),
            ident,
            be32(h, 8) & 0xffff_0000,
            src,
            be32(h, 16),
        ];
        let sum = fold(words.into_iter().map(u64::from).sum());
        put32(h, 4, ident);
        put32(h, 8, words[2] | u32::from(!sum));
        put32(h, 12, src);
        return;
    }
    put32(h, 12, src);
    if let Some(i) = ident {
        put16(h, 4, i);
    }
    fill_checksum(h, ihl);
}

/// Computes the header checksum and stores it.
#[inline]
pub fn fill_checksum(h: &mut [u8], ihl: usize) {
    put16(h, 10, 0);
    if let Some(whole) = h.get(..ihl) {
        let c = checksum(whole);
        put16(h, 10, c);
    }
}

/// A header of 20 bytes with its checksum. `len` is the total length.
pub fn header(
    len: usize,
    proto: u8,
    ttl: u8,
    tos: u8,
    ident: u16,
    src: u32,
    dst: u32,
) -> [u8; HEADER] {
    let mut h = [0; HEADER];
    h[0] = 0x45;
    h[1] = tos;
    put16(&mut h, 2, len as u16);
    put16(&mut h, 4, ident);
    h[8] = ttl;
    h[9] = proto;
    put32(&mut h, 12, src);
    put32(&mut h, 16, dst);
    fill_checksum(&mut h, HEADER);
    h
}

/// 224.0.0.0/4.
#[inline]
pub fn is_multicast(a: u32) -> bool {
    a >> 28 == 0xe
}

/// The mask of an address's class (A, B, C), as route and ifconfig assume it.
pub fn class_mask(a: u32) -> u32 {
    match a >> 29 {
        0..=3 => 0xff00_0000,
        4 | 5 => 0xffff_0000,
        _ => 0xffff_ff00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping from 10.0.0.1 to 10.0.0.2 as a Linux host sends it.
    const PACKET: [u8; 28] = [
        0x45, 0, 0, 28, 0x12, 0x34, 0x40, 0, 64, 1, 0x14, 0xab, 10, 0, 0, 1, 10, 0, 0, 2, 8, 0,
        0xf7, 0xfd, 0, 1, 0, 1,
    ];

    #[test]
    fn a_real_header_is_read() {
        // RFC 791 3.1
        let h = check(&PACKET, PACKET.len()).expect("sound");
        assert_eq!((h.ihl, h.len, h.ttl, h.proto), (20, 28, 64, proto::ICMP));
        assert_eq!((h.src, h.dst, h.frag), (0x0a00_0001, 0x0a00_0002, IP_DF));
        assert_eq!(sum(&PACKET[20..]), 0xffff);
    }

    #[test]
    fn each_damage_has_its_reason() {
        let damaged = |at: usize, v: u8| {
            let mut p = PACKET;
            p[at] = v;
            check(&p, p.len()).expect_err("damaged")
        };
        assert_eq!(damaged(0, 0x65), "not version 4");
        assert_eq!(damaged(0, 0x44), "header length");
        assert_eq!(damaged(3, 29), "shorter than its total length");
        assert_eq!(damaged(8, 63), "header checksum");
        assert_eq!(check(&PACKET[..19], 19), Err("header cut short"));
    }

    #[test]
    fn the_ttl_goes_down_and_the_checksum_stays_right() {
        // RFC 1624
        let mut p = PACKET;
        for ttl in (0..64).rev() {
            decrement_ttl(&mut p);
            let h = check(&p, p.len()).expect("sound");
            assert_eq!(h.ttl, ttl);
        }
    }

    #[test]
    fn a_header_completed_is_as_if_filled_in() {
        // RFC 791 3.1: whatever stood in the fields before, with and without options
        for (ihl, ident) in [(20, Some(0xfffe)), (20, None), (24, Some(7)), (24, None)] {
            let mut p = PACKET;
            p[0] = 0x40 | (ihl as u8 / 4);
            let mut want = p;
            put32(&mut want, 12, 0xc0a8_0102);
            put16(&mut want, 4, ident.unwrap_or(0x1234));
            fill_checksum(&mut want, ihl);
            complete(&mut p, ihl, 0xc0a8_0102, ident);
            assert_eq!(p, want);
            assert!(check(&p, p.len()).is_ok_and(|h| h.src == 0xc0a8_0102));
        }
        complete(&mut [0; 7], 20, 1, None); // too short: nothing to do, no panic
    }

    #[test]
    fn replacing_a_word_is_the_same_as_summing_again() {
        let mut p = PACKET;
        let old = be16(&p, 4);
        for new in [0u16, 1, 0xffff, 0x8000, 0x1234] {
            let c = checksum_replace(be16(&PACKET, 10), old, new);
            put16(&mut p, 4, new);
            fill_checksum(&mut p, 20);
            // 0 and 0xffff are the same sum; a header never sums to the former.
            assert_eq!(c, be16(&p, 10));
        }
    }
}
