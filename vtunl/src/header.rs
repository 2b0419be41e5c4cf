//! IPv4 headers as vtunl meets them: one read of the inner, one write of the outer.
//!
//! ```text
//!    0      4      8             16    19                     31
//!   +------+------+-------------+-----------------------------+
//!   |  4   | IHL  | TOS     ECN | total length                |  word 0
//!   | identification            |DF,MF| fragment offset       |  word 1
//!   | TTL         | protocol    | header checksum             |  word 2
//!   | source                                                  |  word 3
//!   | destination                                             |  word 4
//! ```
//!
//! The header is handled as five words: the checksum of a header of ours is the folded
//! sum of the words as they are written, so that nothing is read back.
//!
//! Spec: RFC 791 section 3.1, RFC 1071 (checksum), RFC 1624 (its incremental update).

use streams::message::Msg;

use crate::why::Why;

/// Bytes of a header without options.
pub const IPV4_LEN: usize = 20;
/// Don't fragment.
pub const IP_DF: u16 = 0x4000;
/// More fragments.
pub const IP_MF: u16 = 0x2000;
/// Protocol number: ICMP.
pub const IPPROTO_ICMP: u8 = 1;
/// Protocol number: IP in IP (the paper's IPPROTO_ENCAP).
pub const IPPROTO_ENCAP: u8 = 4;
/// Protocol number: IPv6.
pub const IPPROTO_IPV6: u8 = 41;
/// Protocol number: GRE.
pub const IPPROTO_GRE: u8 = 47;
/// Protocol number: minimal encapsulation.
pub const IPPROTO_MINIMAL: u8 = 55;

/// What vtunl reads of an IPv4 header, checked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source.
    pub src: u32,
    /// Destination.
    pub dst: u32,
    /// Total length.
    pub len: u16,
    /// Bytes of header.
    pub header: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Identification.
    pub ident: u16,
    /// Flags and fragment offset.
    pub frag: u16,
}

impl Ipv4 {
    /// Reads the header at the start of `b`, which holds the header at least.
    #[inline(always)] // its fields stay in registers
    pub fn read(b: &[u8]) -> Result<Ipv4, Why> {
        let Some(h) = b.first_chunk::<IPV4_LEN>() else {
            return Err(Why::Malformed);
        };
        let header = (h[0] & 15) * 4;
        let len = u16::from_be_bytes([h[2], h[3]]);
        // RFC 791 3.1: version 4, at least five words, no shorter than its header.
        if h[0] >> 4 != 4
            || usize::from(header) < IPV4_LEN
            || usize::from(header) > b.len()
            || len < u16::from(header)
        {
            return Err(Why::Malformed);
        }
        Ok(Ipv4 {
            src: u32::from_be_bytes([h[12], h[13], h[14], h[15]]),
            dst: u32::from_be_bytes([h[16], h[17], h[18], h[19]]),
            len,
            header,
            tos: h[1],
            ttl: h[8],
            proto: h[9],
            ident: u16::from_be_bytes([h[4], h[5]]),
            frag: u16::from_be_bytes([h[6], h[7]]),
        })
    }

    /// Reads the header at the start of a message, pulling it into the first block if it
    /// isn't, and holds its length against the bytes there are: what is behind the
    /// datagram (padding of a link) is cut off.
    #[inline(always)]
    pub fn of(mp: &mut Msg) -> Result<Ipv4, Why> {
        let h = match Ipv4::read(mp.rd()) {
            Ok(h) => h,
            Err(why) => Ipv4::of_split(mp).ok_or(why)?,
        };
        let have = mp.msgsize();
        let want = usize::from(h.len);
        if have != want {
            if have < want {
                return Err(Why::Malformed);
            }
            trim(mp, want);
        }
        Ok(h)
    }

    #[cold]
    fn of_split(mp: &mut Msg) -> Option<Ipv4> {
        mp.cont()?;
        let n = mp.msgsize().min(60);
        if !mp.pullupmsg(Some(n)) {
            return None;
        }
        Ipv4::read(mp.rd()).ok()
    }

    /// Don't fragment?
    #[inline]
    pub fn df(&self) -> bool {
        self.frag & IP_DF != 0
    }

    /// A fragment, first or later?
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.frag & !(IP_DF | 0x8000) != 0
    }
}

/// Keeps the first `want` bytes of a message.
#[cold]
pub fn trim(mp: &mut Msg, want: usize) {
    let mut left = want;
    let mut at = Some(mp);
    while let Some(b) = at {
        b.truncate(left);
        left -= b.len();
        if left == 0 {
            drop(b.take_cont());
            return;
        }
        at = b.cont_mut();
    }
}

/// Adds up 32-bit words, to be folded.
#[inline(always)]
pub(crate) fn fold(sum: u64) -> u16 {
    let s = (sum & 0xffff_ffff) + (sum >> 32);
    let s = (s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    s as u16
}

/// The checksum of bytes that hold a zero checksum, or 0 if they hold the right one
/// (RFC 1071).
#[inline]
pub fn checksum(b: &[u8]) -> u16 {
    !fold(sum_of(b))
}

/// Is the checksum right of the header of `len` bytes at the start of `b`?
#[inline(always)]
pub fn header_sum_is_right(b: &[u8], len: u8) -> bool {
    match b.first_chunk::<IPV4_LEN>() {
        // Without options: five words, no loop.
        Some(h) if usize::from(len) == IPV4_LEN => {
            let (w, _) = h.as_chunks::<4>();
            fold(w.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum()) == 0xffff
        }
        _ => b.get(..usize::from(len)).is_some_and(|h| checksum(h) == 0),
    }
}

/// The unfolded sum of bytes, a trailing odd one padded with zero.
#[inline]
pub fn sum_of(b: &[u8]) -> u64 {
    let (words, rest) = b.as_chunks::<4>();
    let mut sum: u64 = words
        .iter()
        .map(|w| u64::from(u32::from_be_bytes(*w)))
        .sum();
    let mut last = [0u8; 4];
    if !rest.is_empty() {
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_be_bytes(last));
    }
    sum
}

/// The checksum of all bytes of a message from byte `from` on.
pub fn checksum_of(mp: &Msg, from: usize) -> u16 {
    let mut sum = 0u64;
    let mut skip = from;
    let mut at = 0usize; // bytes summed so far: a block may begin at an odd one
    for b in mp.blocks() {
        let d = b.rd();
        let n = skip.min(d.len());
        skip -= n;
        let mut d = &d[n..];
        if at & 1 == 1
            && let Some((first, rest)) = d.split_first()
        {
            sum += u64::from(*first);
            at += 1;
            d = rest;
        }
        at += d.len();
        sum = u64::from(fold(sum)) + sum_of_even(d);
    }
    !fold(sum)
}

/// As [`sum_of`], for a block that may end at an odd byte: in 16-bit halves.
fn sum_of_even(d: &[u8]) -> u64 {
    u64::from(fold(sum_of(d)))
}

/// The checksum after one 16-bit word went from `old` to `new` (RFC 1624 equation 3).
#[inline]
pub fn checksum_update(sum: u16, old: u16, new: u16) -> u16 {
    let s = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    !(s as u16)
}

/// An outer header of ours: everything but the checksum.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// TOS octet.
    pub tos: u8,
    /// Total length.
    pub len: u16,
    /// Identification.
    pub ident: u16,
    /// Don't fragment.
    pub df: bool,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub proto: u8,
    /// Source: our end.
    pub src: u32,
    /// Destination: the exit.
    pub dst: u32,
}

impl Outer {
    /// The header's words, checksum included.
    #[inline(always)]
    fn words(&self) -> [u32; 5] {
        let w0 = 0x4500_0000 | u32::from(self.tos) << 16 | u32::from(self.len);
        let frag = if self.df { u32::from(IP_DF) } else { 0 };
        let w1 = u32::from(self.ident) << 16 | frag;
        let w2 = u32::from(self.ttl) << 24 | u32::from(self.proto) << 16;
        let sum = u64::from(w0)
            + u64::from(w1)
            + u64::from(w2)
            + u64::from(self.src)
            + u64::from(self.dst);
        [w0, w1, w2 | u32::from(!fold(sum)), self.src, self.dst]
    }

    /// The header's bytes, checksum included.
    pub fn bytes(&self) -> [u8; IPV4_LEN] {
        let mut out = [0; IPV4_LEN];
        self.write(&mut out);
        out
    }

    /// Writes the header, word by word: from registers, not through a copy.
    #[inline(always)]
    pub fn write(&self, out: &mut [u8]) {
        let Some(out) = out.first_chunk_mut::<IPV4_LEN>() else {
            return;
        };
        let (out, _) = out.as_chunks_mut::<4>();
        for (to, w) in out.iter_mut().zip(self.words()) {
            *to = w.to_be_bytes();
        }
    }

    /// Puts the header in front of a message, in its headroom if it can be.
    #[inline(always)]
    pub fn prepend(&self, mp: &mut Msg, spare: usize) {
        self.write(mp.prepend(IPV4_LEN, spare));
    }
}

/// Writes one byte of a header with its checksum's update. `at` is within the header.
#[inline]
pub fn set_byte(h: &mut [u8], at: usize, value: u8) {
    let pair = at & !1;
    let (Some(&[a, b]), Some(&[c, d])) = (
        h.get(pair..pair + 2).and_then(|s| s.first_chunk::<2>()),
        h.get(10..12).and_then(|s| s.first_chunk::<2>()),
    ) else {
        return;
    };
    let old = u16::from_be_bytes([a, b]);
    h[at] = value;
    let new = u16::from_be_bytes([h[pair], h[pair + 1]]);
    let sum = checksum_update(u16::from_be_bytes([c, d]), old, new);
    h[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One's complement sum by the book (RFC 1071), for comparison.
    fn by_the_book(b: &[u8]) -> u16 {
        let mut s = 0u32;
        for w in b.chunks(2) {
            s += u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0));
            s = (s & 0xffff) + (s >> 16);
        }
        !(s as u16)
    }

    #[test]
    fn an_outer_header_is_what_an_independent_encoder_writes() {
        // RFC 791 3.1, compared with etherparse.
        let o = Outer {
            tos: 0xb9,
            len: 1500,
            ident: 0x1234,
            df: true,
            ttl: 64,
            proto: 4,
            src: 0x0a00_0001,
            dst: 0xc0a8_0102,
        };
        let h = etherparse::Ipv4HeaderSlice::from_slice(&o.bytes())
            .unwrap()
            .to_header();
        assert_eq!(h.source, [10, 0, 0, 1]);
        assert_eq!(h.destination, [192, 168, 1, 2]);
        assert_eq!(
            (h.total_len, h.identification, h.time_to_live),
            (1500, 0x1234, 64)
        );
        assert!(h.dont_fragment && !h.more_fragments);
        assert_eq!(h.header_checksum, h.calc_header_checksum());
        assert_eq!(h.to_bytes().as_slice(), o.bytes());
    }

    #[test]
    fn padding_is_cut_and_short_datagrams_are_refused() {
        let o = Outer {
            tos: 0,
            len: 24,
            ident: 0,
            df: false,
            ttl: 1,
            proto: 17,
            src: 1,
            dst: 2,
        };
        let mut b = o.bytes().to_vec();
        b.extend_from_slice(&[1, 2, 3, 4, 0, 0, 0]);
        let mut mp = Msg::data(&b[..21]);
        mp.linkb(Msg::data(&b[21..]));
        mp.linkb(Msg::data(b"more padding"));
        assert!(Ipv4::of(&mut mp).is_ok());
        assert_eq!(mp.to_vec(), &b[..24]);
        assert_eq!(Ipv4::of(&mut Msg::data(&b[..23])), Err(Why::Malformed));
        // A header in pieces is joined.
        let mut mp = Msg::data(&b[..3]);
        mp.linkb(Msg::data(&b[3..24]));
        assert_eq!(Ipv4::of(&mut mp).map(|h| h.len), Ok(24));
    }

    proptest! {
        #[test]
        fn checksums_agree_with_the_book(
            b in prop::collection::vec(any::<u8>(), 0..90), cuts in prop::collection::vec(0usize..90, 0..4),
            from in 0usize..30,
        ) {
            prop_assert_eq!(checksum(&b), by_the_book(&b));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(b.len())).collect();
            cuts.sort_unstable();
            let mut mp = Msg::data(&b[..cuts.first().copied().unwrap_or(b.len())]);
            for (i, c) in cuts.iter().enumerate() {
                mp.linkb(Msg::data(&b[*c..cuts.get(i + 1).copied().unwrap_or(b.len())]));
            }
            let from = from.min(b.len());
            prop_assert_eq!(checksum_of(&mp, from), by_the_book(&b[from..]));
        }

        #[test]
        fn updating_a_byte_keeps_the_checksum_right(at in prop::sample::select(vec![1usize, 8]), v: u8, tos: u8, ttl: u8) {
            let o = Outer { tos, len: 40, ident: 7, df: false, ttl, proto: 4, src: 0xffff_ffff, dst: 3 };
            let mut h = o.bytes();
            set_byte(&mut h, at, v);
            prop_assert_eq!(h[at], v);
            prop_assert_eq!(checksum(&h), 0);
        }

        #[test]
        fn reading_anything_never_panics(b in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Ipv4::read(&b);
            let _ = Ipv4::of(&mut Msg::data(&b));
        }
    }
}
