//! Decapsulation: the outer header off, if the datagram inside is one that we serve.
//!
//! ```text
//!   │ outer │ inner header  payload  (padding) │      outer source allowed?  protocol?
//!           └─► rptr                 └─► cut        inner header sound?  TTL?  served?
//!                                                   ECN of both headers: one, or the end
//! ```
//!
//! Spec: RFC 2003 sections 3 and 6.2, RFC 2004 section 3, RFC 2784 section 2, RFC 2890
//! section 2, RFC 4213 section 3.6, RFC 6040 section 4.2; the paper, section 2.
//! Kept: the inner TTL stays; IP decrements it if it forwards.
//! Differs: an inner datagram is checked before the tables are asked, so that a counter
//! never blames the configuration for a broken datagram.

use streams::message::Msg;

use crate::decap_table::DecapView;
use crate::encap::embedded;
use crate::header::{
    IPPROTO_ENCAP, IPPROTO_GRE, IPPROTO_IPV6, IPPROTO_MINIMAL, IPV4_LEN, Ipv4, checksum,
    checksum_of, fold, header_sum_is_right, set_byte, trim,
};
use crate::texit_table::ExitView;
use crate::why::{Stats, Why};

/// What came out of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// An IPv4 datagram of so many bytes.
    V4(u16),
    /// An IPv6 datagram of so many bytes.
    V6(u16),
}

impl Inner {
    /// Its bytes.
    pub fn len(&self) -> u16 {
        match *self {
            Inner::V4(n) | Inner::V6(n) => n,
        }
    }

    /// Never: a datagram has a header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The usual case, in one look at both headers: IP in IP, without options, in one block,
/// and nothing that a rule has something to say about. True: the outer header is off. False:
/// nothing has changed, and [`decapsulate`] says why.
#[inline(always)]
pub fn plain(mp: &mut Msg, table: &DecapView) -> bool {
    const BOTH: usize = 2 * IPV4_LEN;
    let b = mp.rd();
    let Some(h) = b.first_chunk::<BOTH>() else {
        return false;
    };
    let (words, _) = h.as_chunks::<4>();
    let word = |n: usize| u32::from_be_bytes(words[n]);
    let (outer, inner) = (word(0), word(5));
    let len = b.len() as u32;
    // Version 4, five words, and a length that is that of the block.
    let sound = |w: u32, len: u32| w >> 24 == 0x45 && w & 0xffff == len;
    let sum: u64 = (5..10).map(|n| u64::from(word(n))).sum();
    let plain = sound(outer, len)
        && sound(inner, len - IPV4_LEN as u32)
        && h[9] == IPPROTO_ENCAP
        && h[28] != 0 // TTL
        && (outer ^ inner) >> 16 & 3 == 0 // ECN
        && fold(sum) == 0xffff
        && mp.cont().is_none()
        && !table.is_restricted()
        && table.serves(word(8), word(9));
    if plain {
        mp.advance_rptr(IPV4_LEN);
    }
    plain
}

/// Takes the outer header, already read as `outer`, off a datagram.
pub fn decapsulate(
    mp: &mut Msg,
    outer: &Ipv4,
    table: &DecapView,
    exits: &ExitView,
    stats: &Stats,
) -> Result<Inner, Why> {
    // RFC 2003 6.2: taken from trusted sources only, if there is a list of them.
    if table.is_restricted() && !table.takes_from(outer.src) {
        return Err(Why::Stranger);
    }
    match outer.proto {
        IPPROTO_ENCAP => {
            strip(mp, usize::from(outer.header));
            inner_v4(mp, outer, table, stats)
        }
        IPPROTO_GRE => gre(mp, outer, table, exits, stats),
        IPPROTO_MINIMAL => minimal(mp, outer, table),
        IPPROTO_IPV6 => {
            strip(mp, usize::from(outer.header));
            inner_v6(mp, outer, table, stats)
        }
        _ => Err(Why::Protocol),
    }
}

/// Takes `n` bytes off the front; blocks that are empty then, too.
#[inline]
fn strip(mp: &mut Msg, n: usize) {
    if n < mp.len() {
        mp.advance_rptr(n);
    } else {
        strip_blocks(mp, n);
    }
}

#[cold]
fn strip_blocks(mp: &mut Msg, n: usize) {
    mp.adjmsg(n as isize);
    while mp.is_empty() {
        match mp.take_cont() {
            Some(rest) => *mp = rest,
            None => return,
        }
    }
}

/// The inner datagram at the front of the message, and the ECN field of the header that
/// was around it.
fn inner_v4(mp: &mut Msg, outer: &Ipv4, table: &DecapView, stats: &Stats) -> Result<Inner, Why> {
    let h = Ipv4::of(mp)?;
    if !header_sum_is_right(mp.rd(), h.header) {
        return Err(Why::InnerChecksum);
    }
    // RFC 2003 3.1: TTL 0 after decapsulation is discarded.
    if h.ttl == 0 {
        return Err(Why::TtlZero);
    }
    if !table.serves(h.src, h.dst) {
        return Err(Why::NotServed);
    }
    if (h.tos ^ outer.tos) & 3 != 0 {
        join_ecn(mp, h.tos, outer.tos, stats)?;
    }
    Ok(Inner::V4(h.len))
}

/// The ECN field of both headers, in the one that is left (RFC 6040).
#[cold]
fn join_ecn(mp: &mut Msg, inner: u8, outer: u8, stats: &Stats) -> Result<(), Why> {
    let ecn = ecn(inner, outer, stats)?;
    if ecn != inner & 3 {
        set_byte(mp.rd_mut(), 1, inner & !3 | ecn);
    }
    Ok(())
}

/// RFC 6040 figure 4: the ECN field that goes on, and whether it is an alarming pair.
/// None: drop.
pub fn ecn_out(inner: u8, outer: u8) -> (Option<u8>, bool) {
    const NOT: u8 = 0;
    const ECT1: u8 = 1;
    const ECT0: u8 = 2;
    const CE: u8 = 3;
    match (inner & 3, outer & 3) {
        (NOT, NOT) => (Some(NOT), false),
        (NOT, CE) => (None, true),
        (NOT, _) => (Some(NOT), true),
        (ECT0, ECT1) => (Some(ECT1), false),
        (ECT1, ECT0) => (Some(ECT1), true),
        (CE, ECT1) => (Some(CE), true),
        (_, CE) => (Some(CE), false),
        (inner, _) => (Some(inner), false),
    }
}

fn ecn(inner: u8, outer: u8, stats: &Stats) -> Result<u8, Why> {
    let (out, alarm) = ecn_out(inner, outer);
    if alarm {
        stats.ecn_alarms.add(1);
    }
    out.ok_or(Why::EcnMarked)
}

/// RFC 2784 and 2890: checks and takes off the GRE header.
fn gre(
    mp: &mut Msg,
    outer: &Ipv4,
    table: &DecapView,
    exits: &ExitView,
    stats: &Stats,
) -> Result<Inner, Why> {
    let n = usize::from(outer.header);
    let want = (n + 16).min(usize::from(outer.len));
    if !mp.pullupmsg(Some(want)) {
        return Err(Why::Malformed);
    }
    let g = &mp.rd()[n..];
    let Some(&[f0, f1, p0, p1]) = g.first_chunk::<4>() else {
        return Err(Why::Malformed);
    };
    // RFC 2784 2.3: who does not do RFC 1701's routing discards what has it.
    if f0 & 0x40 != 0 {
        return Err(Why::GreRouting);
    }
    // RFC 2784 2.3: bits 1 to 5, but for key and sequence (RFC 2890); 2.3.1: version 0.
    if f0 & 0x4c != 0 || f1 & 7 != 0 {
        return Err(Why::GreHeader);
    }
    let mut at = 4;
    let mut word = |has: bool| -> Result<Option<u32>, Why> {
        if !has {
            return Ok(None);
        }
        let w = g
            .get(at..at + 4)
            .and_then(|s| s.first_chunk::<4>())
            .ok_or(Why::Malformed)?;
        at += 4;
        Ok(Some(u32::from_be_bytes(*w)))
    };
    let sum = word(f0 & 0x80 != 0)?;
    let key = word(f0 & 0x20 != 0)?;
    let seq = word(f0 & 0x10 != 0)?;
    if sum.is_some() && checksum_of(mp, n) != 0 {
        return Err(Why::GreChecksum);
    }
    let exit = exits.get(outer.src);
    if let Some((x, o)) = exit.and_then(|x| Some((x, x.gre()?))) {
        // RFC 2890 2.1: the key says which flow; another one is not ours.
        if o.key.is_some() && key != o.key {
            return Err(Why::GreHeader);
        }
        // RFC 2890 2.2: a number not after the last one is out of sequence.
        if let (Some(seq), true) = (seq, o.sequence)
            && !x.receive_sequence(seq)
        {
            return Err(Why::GreSequence);
        }
    }
    strip(mp, n + at);
    match u16::from_be_bytes([p0, p1]) {
        0x0800 => {
            // RFC 2784 3.1: a payload that goes back to who encapsulated it is a loop.
            if mp.rd().get(16..20) == Some(&outer.src.to_be_bytes()) {
                return Err(Why::GreLoop);
            }
            inner_v4(mp, outer, table, stats)
        }
        0x86dd => inner_v6(mp, outer, table, stats),
        _ => Err(Why::GreHeader),
    }
}

/// RFC 2004 section 3: restores the header from the minimal one.
fn minimal(mp: &mut Msg, outer: &Ipv4, table: &DecapView) -> Result<Inner, Why> {
    let n = usize::from(outer.header);
    let want = (n + 12).min(usize::from(outer.len));
    if !mp.pullupmsg(Some(want)) {
        return Err(Why::Malformed);
    }
    let m = &mp.rd()[n..];
    let size = match m.get(1) {
        Some(s) if s & 0x80 != 0 => 12,
        _ => 8,
    };
    let Some(m) = m.get(..size) else {
        return Err(Why::Malformed);
    };
    if checksum(m) != 0 {
        return Err(Why::MinimalChecksum);
    }
    let dst: [u8; 4] = [m[4], m[5], m[6], m[7]];
    let src: [u8; 4] = if size == 12 {
        [m[8], m[9], m[10], m[11]]
    } else {
        outer.src.to_be_bytes()
    };
    let proto = m[0];
    if outer.ttl == 0 {
        return Err(Why::TtlZero);
    }
    if !table.serves(u32::from_be_bytes(src), u32::from_be_bytes(dst)) {
        return Err(Why::NotServed);
    }
    let len = outer.len - size as u16;
    let mut header = [0u8; 60];
    header[..n].copy_from_slice(&mp.rd()[..n]);
    header[9] = proto;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[12..16].copy_from_slice(&src);
    header[16..20].copy_from_slice(&dst);
    header[10..12].fill(0);
    let c = checksum(&header[..n]);
    header[10..12].copy_from_slice(&c.to_be_bytes());
    // The header goes where the minimal header ends: the room is there.
    strip(mp, n + size);
    mp.prepend(n, 0).copy_from_slice(&header[..n]);
    Ok(Inner::V4(len))
}

/// RFC 4213 section 3.6: checks an IPv6 datagram that came out of a tunnel.
fn inner_v6(mp: &mut Msg, outer: &Ipv4, table: &DecapView, stats: &Stats) -> Result<Inner, Why> {
    if mp.len() < 40 && !mp.pullupmsg(Some(40)) {
        return Err(Why::Malformed);
    }
    let Some(h) = mp.rd().first_chunk::<40>() else {
        return Err(Why::Malformed);
    };
    let len = 40 + usize::from(u16::from_be_bytes([h[4], h[5]]));
    let have = mp.msgsize();
    if h[0] >> 4 != 6 || have < len || len > 0xffff {
        return Err(Why::Malformed);
    }
    let (mut src, mut dst) = ([0u8; 16], [0u8; 16]);
    src.copy_from_slice(&h[8..24]);
    dst.copy_from_slice(&h[24..40]);
    let (tos, hops) = (h[0] << 4 | h[1] >> 4, h[7]);
    if is_martian_v6(&src) {
        return Err(Why::Martian);
    }
    if hops == 0 {
        return Err(Why::TtlZero);
    }
    // The table knows IPv4 addresses: one inside either address counts as that host's.
    let served =
        table.all || table.serves(embedded(&src).unwrap_or(0), embedded(&dst).unwrap_or(0));
    if !served {
        return Err(Why::NotServed);
    }
    let ecn = ecn(tos, outer.tos, stats)?;
    if have > len {
        trim(mp, len);
    }
    if ecn != tos & 3 {
        let h = mp.rd_mut();
        h[1] = h[1] & !0x30 | ecn << 4;
    }
    Ok(Inner::V6(len as u16))
}

/// RFC 4213 3.6: source addresses that no datagram from outside can have: multicast,
/// loopback, IPv4-compatible or mapped forms of addresses that are no host's.
fn is_martian_v6(a: &[u8; 16]) -> bool {
    let v4 = [a[12], a[13], a[14], a[15]];
    let no_host = matches!(v4[0], 0 | 127 | 224..=239) || v4 == [255; 4];
    let compatible = a[..12] == [0; 12];
    let mapped = a[..10] == [0; 10] && a[10..12] == [0xff, 0xff];
    a[0] == 0xff || mapped || (compatible && no_host)
}

#[cfg(test)]
mod tests;
