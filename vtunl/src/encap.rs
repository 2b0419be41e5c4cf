//! Encapsulation: one outer header for each exit of a target.
//!
//! ```text
//!            headroom            the inner datagram, untouched
//!   ┌───────────────┬───────────┬──────────────────────────────┐
//!   │               │ outer 20  │ inner header   payload       │   IPIP (RFC 2003)
//!   │               │ outer 20 + GRE 4..16 │ inner ...         │   G: GRE (RFC 2784, 2890)
//!   │        header │ minimal 8 or 12      │ payload           │   M: minimal (RFC 2004)
//!   └───────────────┴───────────┴──────────────────────────────┘
//! ```
//!
//! The header goes into the headroom of the first block: nothing is allocated and nothing
//! copied. The duplicates for further exits share the data and get a front block each.
//!
//! Spec: RFC 2003 section 3, RFC 2004 section 3, RFC 2784 section 2, RFC 2890, RFC 4213
//! section 3, RFC 6040 section 4.1, RFC 6864; the paper, section 2.
//! Kept: a datagram whose DF is clear goes out with DF clear and is fragmented outside
//! (RFC 2003 5.1 allows it; [`Df::Always`] does as it recommends, [`Df::Inner`] leaves the
//! pieces to `pieces.rs`).
//! Kept: the inner TTL is decremented by whoever forwards, before it gets here.
//! Differs: identification is a counter per exit, 0 under DF (RFC 6864 section 4).

use streams::message::Msg;

use crate::encap_table::{ENCAP_G, ENCAP_M};
use crate::header::{
    IPPROTO_ENCAP, IPPROTO_GRE, IPPROTO_IPV6, IPPROTO_MINIMAL, IPV4_LEN, Ipv4, Outer, checksum,
    checksum_of,
};
use crate::icmp6::IPV6_MIN_MTU;
use crate::texit_table::{GreOptions, PMTU_FLOOR, TExit};
use crate::why::{Stats, Why};

/// Headroom of a front block that has to be made: a link header, and another tunnel's.
pub const SPARE: usize = 64;
/// Own headers that a datagram may carry before the tunnel is taken to lead into itself.
pub const MAX_NESTING: usize = 4;
/// `b_flag` of a datagram that arrived from a link and is forwarded: set by the IP above,
/// which alone knows. Without it a datagram counts as one of this node's own.
pub use streams::message::MSGFORWARDED;
/// The TTL of outer headers.
pub const OUTER_TTL: u8 = 64;

/// When the outer DF bit is set for a datagram whose own is clear; in the order of `vp_df`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Df {
    /// Never: the bit is copied, and what is too big is fragmented outside.
    #[default]
    Copy,
    /// As long as it fits the path MTU (RFC 2003 section 5.1, "SHOULD normally").
    Always,
    /// Always: what does not fit is cut before it is encapsulated (RFC 4459 section 3.4).
    Inner,
}

/// How outer headers are made and read, for all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// TTL of outer headers.
    pub ttl: u8,
    /// RFC 6040 compatibility mode: the outer ECN field is 0.
    pub ecn_compat: bool,
    /// The DSCP of all outer headers ("pipe"); none copies the inner ("uniform").
    pub pipe: Option<u8>,
    /// The outer DF bit.
    pub df: Df,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            ttl: OUTER_TTL,
            ecn_compat: false,
            pipe: None,
            df: Df::Copy,
        }
    }
}

impl Policy {
    /// Reads a `struct vtunl_policy`; none if a value is out of its range.
    pub fn parse(b: &[u8]) -> Option<Policy> {
        let &[ttl, ecn, dscp, df] = b else {
            return None;
        };
        let df = *[Df::Copy, Df::Always, Df::Inner].get(usize::from(df))?;
        let sound = ttl != 0 && ecn <= 1 && (dscp <= 63 || dscp == 0xff);
        sound.then_some(Policy {
            ttl,
            ecn_compat: ecn == 1,
            pipe: (dscp != 0xff).then_some(dscp),
            df,
        })
    }

    /// Writes one.
    pub fn emit(&self) -> [u8; 4] {
        let (ecn, dscp) = (u8::from(self.ecn_compat), self.pipe.unwrap_or(0xff));
        [self.ttl, ecn, dscp, self.df as u8]
    }

    /// The TOS octet of the outer header over an inner one (RFC 6040 section 4.1,
    /// RFC 2983).
    #[inline]
    pub fn outer_tos(&self, inner: u8) -> u8 {
        let ecn = if self.ecn_compat { 0 } else { inner & 3 };
        let dscp = match self.pipe {
            None => inner & !3,
            Some(d) => d << 2,
        };
        dscp | ecn
    }
}

/// Bytes that the encapsulation chosen by `flags` adds to a datagram.
#[inline]
pub fn overhead(flags: u16, x: &TExit) -> u16 {
    if flags & ENCAP_G != 0 {
        IPV4_LEN as u16 + gre_len(x.gre())
    } else if flags & ENCAP_M != 0 {
        12
    } else {
        IPV4_LEN as u16
    }
}

/// The same for IPv6, of which there is no minimal encapsulation.
pub fn overhead_v6(flags: u16, x: &TExit) -> u32 {
    u32::from(overhead(flags & ENCAP_G, x))
}

fn gre_len(o: Option<GreOptions>) -> u16 {
    let Some(o) = o else { return 4 };
    4 + 4 * (u16::from(o.checksum) + u16::from(o.key.is_some()) + u16::from(o.sequence))
}

/// Encapsulates a datagram with header `h` for one exit. On an error it is as it was.
#[inline(always)] // the fast path is one straight line of code
pub fn encapsulate(
    mp: &mut Msg,
    h: &Ipv4,
    x: &TExit,
    flags: u16,
    src: u32,
    policy: &Policy,
    stats: &Stats,
) -> Result<(), Why> {
    let len = u32::from(h.len) + IPV4_LEN as u32;
    let plain = flags & (ENCAP_M | ENCAP_G) == 0
        && len <= u32::from(x.pmtu())
        && h.ttl != 0
        && h.src != x.addr()
        && h.src != src;
    if !plain {
        return encapsulate_with_care(mp, h, x, flags, src, policy, stats);
    }
    ipip(mp, h, x, h.df() || policy.df != Df::Copy, src, policy);
    Ok(())
}

/// RFC 2003: the outer header, in front of everything.
#[inline(always)]
fn ipip(mp: &mut Msg, h: &Ipv4, x: &TExit, df: bool, src: u32, policy: &Policy) {
    x.datagrams.add(1);
    x.octets.add(h.len.into());
    let outer = Outer {
        tos: policy.outer_tos(h.tos),
        len: h.len + IPV4_LEN as u16,
        ident: next_ident(x, df),
        df,
        ttl: outer_ttl(x, policy),
        proto: IPPROTO_ENCAP,
        src,
        dst: x.addr(),
    };
    outer.prepend(mp, SPARE);
    originate(mp);
}

/// The outer datagram is one of this node's own, whatever the inner one was.
#[inline(always)]
fn originate(mp: &mut Msg) {
    if mp.flag() & MSGFORWARDED != 0 {
        mp.set_flag(mp.flag() & !MSGFORWARDED);
    }
}

/// Where a rule has something to say, or another encapsulation is wanted.
#[inline(never)]
fn encapsulate_with_care(
    mp: &mut Msg,
    h: &Ipv4,
    x: &TExit,
    flags: u16,
    src: u32,
    policy: &Policy,
    stats: &Stats,
) -> Result<(), Why> {
    // RFC 2003 3.1: a TTL of 0 is never encapsulated.
    if h.ttl == 0 {
        return Err(Why::TtlZero);
    }
    // RFC 2003 3.2: whom the exit sent it must not go back to the exit.
    if h.src == x.addr() {
        return Err(Why::ExitSource);
    }
    if h.src == src {
        // RFC 2003 3.2, with the paper's address sharing: ours, and it came from outside.
        if mp.flag() & MSGFORWARDED != 0 {
            return Err(Why::OwnSource);
        }
        check_nesting(mp, h, x.addr(), src)?;
    }
    let mut flags = flags;
    if flags & (ENCAP_M | ENCAP_G) == ENCAP_M && h.is_fragment() {
        // RFC 2004 1: a fragment has no place for its offset; RFC 2003 carries it.
        flags &= !ENCAP_M;
        stats.minimal_as_ipip.add(1);
    }
    let len = u32::from(h.len) + u32::from(overhead(flags, x));
    let mut df = h.df() || policy.df != Df::Copy;
    if len > u32::from(x.pmtu()) {
        if len > 0xffff {
            return Err(Why::TooLong);
        }
        // RFC 2003 5.1. RFC 791 3.2: 68 bytes go everywhere, if need be in pieces.
        if (h.df() || policy.df == Df::Inner) && h.len > PMTU_FLOOR {
            return Err(Why::TooBig);
        }
        df = false;
    }
    if flags & (ENCAP_M | ENCAP_G) == 0 {
        ipip(mp, h, x, df, src, policy);
        return Ok(());
    }
    x.datagrams.add(1);
    x.octets.add(h.len.into());
    if flags & ENCAP_G != 0 {
        gre(mp, h.tos, df, 0x0800, x, src, policy);
    } else {
        minimal(mp, h, x, src);
    }
    originate(mp);
    Ok(())
}

/// RFC 6864 4: any identification does under DF; else it must not come again soon.
#[inline]
fn next_ident(x: &TExit, df: bool) -> u16 {
    if df { 0 } else { x.next_ident() }
}

/// The TTL of outer headers: the exit's own, or the tunnel's.
#[inline]
fn outer_ttl(x: &TExit, policy: &Policy) -> u8 {
    match x.path().ttl {
        0 => policy.ttl,
        own => own,
    }
}

/// RFC 2784 with RFC 2890: outer header and GRE header in one piece.
fn gre(mp: &mut Msg, tos: u8, df: bool, payload: u16, x: &TExit, src: u32, policy: &Policy) {
    let n = gre_len(x.gre());
    let len = mp.msgsize() + usize::from(n) + IPV4_LEN;
    let mut h = [0u8; 16];
    h[2..4].copy_from_slice(&payload.to_be_bytes());
    let mut at = 4;
    let mut sum = false;
    if let Some(o) = x.gre() {
        if o.checksum {
            h[0] |= 0x80;
            at += 4;
            sum = true;
        }
        if let Some(key) = o.key {
            h[0] |= 0x20;
            h[at..at + 4].copy_from_slice(&key.to_be_bytes());
            at += 4;
        }
        if o.sequence {
            h[0] |= 0x10;
            h[at..at + 4].copy_from_slice(&x.next_sequence().to_be_bytes());
        }
    }
    let outer = Outer {
        tos: policy.outer_tos(tos),
        len: len as u16,
        ident: next_ident(x, df),
        df,
        ttl: outer_ttl(x, policy),
        proto: IPPROTO_GRE,
        src,
        dst: x.addr(),
    };
    let room = mp.prepend(IPV4_LEN + usize::from(n), SPARE);
    outer.write(room);
    room[IPV4_LEN..].copy_from_slice(&h[..usize::from(n)]);
    if sum {
        // RFC 2784 2.1: over the GRE header and the payload, the checksum being 0.
        let c = checksum_of(mp, IPV4_LEN);
        mp.rd_mut()[IPV4_LEN + 4..IPV4_LEN + 6].copy_from_slice(&c.to_be_bytes());
    }
}

/// RFC 2004 section 3: the header stays and changes, the minimal header goes behind it.
fn minimal(mp: &mut Msg, h: &Ipv4, x: &TExit, src: u32) {
    let n = usize::from(h.header);
    let mut header = [0u8; 60];
    header[..n].copy_from_slice(&mp.rd()[..n]);
    let mut m = [0u8; 12];
    m[0] = h.proto;
    m[4..8].copy_from_slice(&h.dst.to_be_bytes());
    // RFC 2004 3: the source is kept in the header unless we are the source.
    let size = if h.src == src {
        8
    } else {
        m[1] = 0x80;
        m[8..12].copy_from_slice(&h.src.to_be_bytes());
        12
    };
    let c = checksum(&m[..size]);
    m[2..4].copy_from_slice(&c.to_be_bytes());

    header[9] = IPPROTO_MINIMAL;
    header[2..4].copy_from_slice(&(h.len + size as u16).to_be_bytes());
    header[12..16].copy_from_slice(&src.to_be_bytes());
    header[16..20].copy_from_slice(&x.addr().to_be_bytes());
    header[10..12].fill(0);
    let c = checksum(&header[..n]);
    header[10..12].copy_from_slice(&c.to_be_bytes());

    mp.advance_rptr(n);
    let room = mp.prepend(n + size, SPARE);
    room[..n].copy_from_slice(&header[..n]);
    room[n..].copy_from_slice(&m[..size]);
}

/// Encapsulates an IPv6 datagram for one exit (RFC 4213; `atun`'s job). On an error it is
/// as it was.
pub fn encapsulate_v6(
    mp: &mut Msg,
    x: &TExit,
    flags: u16,
    src: u32,
    policy: &Policy,
) -> Result<(), Why> {
    let Some(h) = mp.rd().first_chunk::<8>() else {
        return Err(Why::Malformed);
    };
    let len = 40 + u32::from(u16::from_be_bytes([h[4], h[5]]));
    let (tos, hops) = (h[0] << 4 | h[1] >> 4, h[7]);
    if h[0] >> 4 != 6 || len as usize != mp.msgsize() {
        return Err(Why::Malformed);
    }
    if hops == 0 {
        return Err(Why::TtlZero);
    }
    let over = overhead_v6(flags, x);
    if len + over > 0xffff {
        return Err(Why::TooLong);
    }
    // RFC 4213 3.2.2, the table of the dynamic tunnel MTU.
    let room = u32::from(x.pmtu()).saturating_sub(over);
    let df = room > IPV6_MIN_MTU;
    if len > room.max(IPV6_MIN_MTU) {
        return Err(Why::TooBig);
    }
    x.datagrams.add(1);
    x.octets.add(len.into());
    if flags & ENCAP_G != 0 {
        gre(mp, tos, df, 0x86dd, x, src, policy);
        originate(mp);
        return Ok(());
    }
    let outer = Outer {
        tos: policy.outer_tos(tos),
        len: (len + over) as u16,
        ident: next_ident(x, df),
        df,
        ttl: outer_ttl(x, policy),
        proto: IPPROTO_IPV6,
        src,
        dst: x.addr(),
    };
    outer.prepend(mp, SPARE);
    originate(mp);
    Ok(())
}

/// The IPv4 address in an IPv6 one by which a datagram finds its exit: IPv4-compatible
/// (`::a.b.c.d`, RFC 1933) or 6to4 (`2002:aabb:ccdd::`, RFC 3056).
pub fn embedded(addr: &[u8; 16]) -> Option<u32> {
    let w = |at: usize| u32::from_be_bytes([addr[at], addr[at + 1], addr[at + 2], addr[at + 3]]);
    if addr[..12] == [0; 12] && w(12) > 0x00ff_ffff {
        return Some(w(12));
    }
    if addr[..2] == [0x20, 0x02] {
        return Some(w(2));
    }
    None
}

/// The decisions, loops: a datagram that is ours already and carries our own headers. It
/// must not go once more to the exit it is on the way to, nor nest deeper than a bound.
#[cold]
fn check_nesting(mp: &Msg, h: &Ipv4, exit: u32, src: u32) -> Result<(), Why> {
    let depth = nesting(mp, h, src);
    if depth >= MAX_NESTING || (depth > 0 && h.dst == exit) {
        return Err(Why::Nesting);
    }
    Ok(())
}

/// Encapsulating headers from our address at the front of a datagram.
pub fn nesting(mp: &Msg, h: &Ipv4, own: u32) -> usize {
    let mut h = *h;
    let mut at = 0usize;
    let mut depth = 0;
    while depth < MAX_NESTING && h.src == own {
        let next = match h.proto {
            IPPROTO_ENCAP => usize::from(h.header),
            IPPROTO_GRE => match peek::<4>(mp, at + usize::from(h.header)) {
                Some(g) => {
                    let words = (g[0] >> 7) + (g[0] >> 5 & 1) + (g[0] >> 4 & 1);
                    usize::from(h.header) + 4 + 4 * usize::from(words)
                }
                None => return depth + 1,
            },
            // What is inside is no IPv4 header of ours.
            IPPROTO_MINIMAL | IPPROTO_IPV6 => return depth + 1,
            _ => return depth,
        };
        depth += 1;
        at += next;
        match peek::<IPV4_LEN>(mp, at).map(|b| (b[0] >> 4, b)) {
            Some((4, b)) => {
                h.header = (b[0] & 15) * 4;
                h.proto = b[9];
                h.src = u32::from_be_bytes([b[12], b[13], b[14], b[15]]);
            }
            _ => return depth,
        }
    }
    depth
}

/// Copies bytes from anywhere in a message, whatever its blocks.
pub fn peek<const N: usize>(mp: &Msg, from: usize) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (mut skip, mut n) = (from, 0);
    for b in mp.blocks() {
        let d = b.rd();
        let d = &d[skip.min(d.len())..];
        skip = skip.saturating_sub(b.len());
        let take = d.len().min(N - n);
        out[n..n + take].copy_from_slice(&d[..take]);
        n += take;
        if n == N {
            return Some(out);
        }
    }
    None
}

#[cfg(test)]
mod tests;
