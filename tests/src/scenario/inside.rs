//! What is inside a datagram in a case: tunnelled datagrams, built and looked at by fields.
//!
//! ```text
//!   in_src= in_dst= in_ttl= ..      the inner IPv4 datagram, fields as datagram.rs has them
//!   in_in_src= ..                   one more inside
//!   six_src= six_dst= six_hop= six_tc= six_next= six_len= six_data="x"     an IPv6 one
//!   gre="\0\0\x08\0"                GRE header in front of it; gresum=good|bad fills the sum
//!   min=8|12 min_proto= min_dst= min_src= min_flags= minsum=bad     RFC 2004's header, data=
//! ```
//!
//! Looked at besides: gre_flags gre_proto gre_key gre_seq gre_sum=good|bad|none, min_len,
//! six_icmp=TYPE.CODE six_rest= six_quoted=BYTES, bytes="..." of the whole.
//!
//! Spec: RFC 2003, RFC 2004, RFC 2784, RFC 2890, RFC 4213, RFC 8200, RFC 4443; written anew
//! here, not with vtunl's codecs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Wrong;
use super::datagram::{self, Fields};
use super::text::Tok;
use crate::packets::{Ip4, checksum};

/// IP protocol numbers.
pub const IPV6: u8 = 41;
/// Generic routing encapsulation.
pub const GRE: u8 = 47;
/// Minimal encapsulation.
pub const MINIMAL: u8 = 55;

/// The keys that begin with a prefix, without it.
pub fn under(f: &Fields<'_>, prefix: &str) -> Vec<Tok> {
    let cut = |t: &Tok| match t {
        Tok::Key(k, v) => k.strip_prefix(prefix).map(|k| Tok::key(k, (**v).clone())),
        _ => None,
    };
    f.0.iter().filter_map(cut).collect()
}

/// What an outer datagram carries, and as which protocol; `None`: the fields name nothing
/// of a tunnel.
pub fn payload(f: &Fields<'_>) -> Result<Option<(u8, Vec<u8>)>, Wrong> {
    if f.word("min").is_some() {
        return minimal(f).map(|b| Some((MINIMAL, b)));
    }
    let (four, six) = (under(f, "in_"), under(f, "six_"));
    let (proto, inner) = match (four.is_empty(), six.is_empty()) {
        (false, _) => (4, datagram::build(&Fields(&four))?),
        (_, false) => (IPV6, ipv6(&Fields(&six))?),
        _ if f.word("gre").is_some() => (GRE, f.bytes("data")?),
        _ => return Ok(None),
    };
    let mut head = f.bytes("gre")?;
    if head.is_empty() {
        return Ok(Some((proto, inner)));
    }
    if let Some(how) = f.word("gresum") {
        let sum = checksum(&[&head, &inner]) ^ u16::from(how == "bad");
        head.get_mut(4..6)
            .ok_or("gresum= needs a GRE header with a checksum field")?
            .copy_from_slice(&sum.to_be_bytes());
    }
    head.extend(inner);
    Ok(Some((GRE, head)))
}

/// RFC 2004 3.1, and the payload behind it.
fn minimal(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let any = Ipv4Addr::UNSPECIFIED;
    let long = f.num("min")? == Some(12);
    let flags = f.num("min_flags")?.unwrap_or(0) as u8 | if long { 0x80 } else { 0 };
    let mut m = vec![f.num("min_proto")?.unwrap_or(99) as u8, flags, 0, 0];
    m.extend(f.addr("min_dst")?.unwrap_or(any).octets());
    if long {
        m.extend(f.addr("min_src")?.unwrap_or(any).octets());
    }
    let sum = checksum(&[&m]) ^ u16::from(f.word("minsum").is_some());
    m[2..4].copy_from_slice(&sum.to_be_bytes());
    m.extend(f.bytes("data")?);
    Ok(m)
}

/// An IPv6 datagram (RFC 8200 section 3).
pub fn ipv6(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let addr = |key: &str| match f.word(key) {
        None => Ok(Ipv6Addr::UNSPECIFIED),
        Some(w) => w
            .parse()
            .map_err(|_| format!("{key}={w} is no IPv6 address")),
    };
    let (src, dst) = (addr("src")?, addr("dst")?);
    let data = f.bytes("data")?;
    let len = f.num("len")?.unwrap_or(data.len() as i64) as u16;
    let tc = f.num("tc")?.unwrap_or(0) as u8;
    let ver = f.num("ver")?.unwrap_or(6) as u8;
    let mut b = vec![ver << 4 | tc >> 4, tc << 4, 0, 0];
    b.extend(len.to_be_bytes());
    b.push(f.num("next")?.unwrap_or(59) as u8);
    b.push(f.num("hop")?.unwrap_or(64) as u8);
    b.extend(src.octets());
    b.extend(dst.octets());
    b.extend(data);
    Ok(b)
}

fn word(b: &[u8], at: usize) -> Option<u32> {
    b.get(at..at + 4)?
        .first_chunk()
        .map(|w| u32::from_be_bytes(*w))
}

fn half(b: &[u8], at: usize) -> u16 {
    b.get(at..at + 2)
        .map_or(0, |h| u16::from_be_bytes([h[0], h[1]]))
}

/// The GRE header at the front: its length, and what its fields are.
fn gre_len(g: &[u8]) -> usize {
    let f = g.first().copied().unwrap_or(0);
    4 + 4 * usize::from((f >> 7) + (f >> 5 & 1) + (f >> 4 & 1))
}

/// The datagram that a datagram carries, as far as it is there.
pub fn inner(b: &[u8]) -> Option<&[u8]> {
    let head = usize::from(b.first()? & 15) * 4;
    let (proto, behind) = (*b.get(9)?, b.get(head..)?);
    // A later fragment carries no header.
    if half(b, 6) & 0x1fff != 0 {
        return None;
    }
    match proto {
        4 | IPV6 => Some(behind),
        GRE => behind.get(gre_len(behind)..),
        _ => None,
    }
}

fn none() -> Tok {
    Tok::word("none")
}

fn num(n: impl Into<i64>) -> Tok {
    Tok::Num(n.into())
}

/// A field of an IPv6 datagram.
pub fn six(b: &[u8], key: &str) -> Result<Tok, Wrong> {
    let Some(h) = b.first_chunk::<40>().filter(|h| h[0] >> 4 == 6) else {
        return Ok(none());
    };
    let addr = |at: usize| {
        let mut a = [0; 16];
        a.copy_from_slice(&h[at..at + 16]);
        Tok::word(Ipv6Addr::from(a).to_string())
    };
    let icmp = &b[40..];
    Ok(match key {
        "src" => addr(8),
        "dst" => addr(24),
        "hop" => num(h[7]),
        "next" => num(h[6]),
        "tc" => num(h[0] << 4 | h[1] >> 4),
        "len" => num(half(b, 4)),
        "data" => Tok::Bytes(icmp.to_vec()),
        "icmp" if h[6] == 58 && icmp.len() >= 8 => Tok::word(format!("{}.{}", icmp[0], icmp[1])),
        "icmp" => none(),
        "rest" => word(icmp, 4).map_or(none(), num),
        "quoted" => num(icmp.len().saturating_sub(8) as i64),
        _ => return Err(format!("an IPv6 datagram has no {key}")),
    })
}

fn gre(g: &[u8], key: &str) -> Result<Tok, Wrong> {
    let f = g.first().copied().unwrap_or(0);
    let behind_sum = 4 + 4 * usize::from(f >> 7);
    let behind_key = behind_sum + 4 * usize::from(f >> 5 & 1);
    let at = |has: bool, at: usize| {
        if has {
            word(g, at).map_or(none(), num)
        } else {
            none()
        }
    };
    Ok(match key {
        "flags" => num(half(g, 0)),
        "proto" => num(half(g, 2)),
        "key" => at(f & 0x20 != 0, behind_sum),
        "seq" => at(f & 0x10 != 0, behind_key),
        "sum" if f & 0x80 == 0 => none(),
        "sum" => Tok::word(if checksum(&[g]) == 0 { "good" } else { "bad" }),
        _ => return Err(format!("GRE has no {key}")),
    })
}

fn min(m: &[u8], key: &str) -> Result<Tok, Wrong> {
    let size = if m.get(1).is_some_and(|f| f & 0x80 != 0) {
        12
    } else {
        8
    };
    let Some(m12) = m.get(..size) else {
        return Ok(none());
    };
    let addr = |at| word(m12, at).map_or(none(), |a| Tok::word(Ipv4Addr::from(a).to_string()));
    Ok(match key {
        "len" => num(size as i64),
        "proto" => num(m12[0]),
        "flags" => num(m12[1]),
        "dst" => addr(4),
        "src" => addr(8),
        "sum" => Tok::word(if checksum(&[m12]) == 0 { "good" } else { "bad" }),
        "data" => Tok::Bytes(m[size..].to_vec()),
        _ => return Err(format!("a minimal header has no {key}")),
    })
}

/// A field of what a datagram carries; `None`: the key is of the datagram itself.
pub fn field(b: &[u8], key: &str) -> Result<Option<Tok>, Wrong> {
    if key == "bytes" {
        return Ok(Some(Tok::Bytes(b.to_vec())));
    }
    if let Some(key) = key.strip_prefix("six_") {
        let at = if b.first().is_some_and(|v| v >> 4 == 6) {
            Some(b)
        } else {
            inner(b)
        };
        return six(at.unwrap_or(&[]), key).map(Some);
    }
    if let Some(key) = key.strip_prefix("in_") {
        let Some(inner) = inner(b) else {
            return Ok(Some(none()));
        };
        return datagram::field(inner, key).map(Some);
    }
    let is_gre = key.strip_prefix("gre_");
    let is_min = key.strip_prefix("min_");
    if is_gre.is_none() && is_min.is_none() {
        return Ok(None);
    }
    let d = Ip4::parse(b)?;
    match (is_gre, is_min) {
        (Some(key), _) if d.proto == GRE => gre(&d.payload, key).map(Some),
        (_, Some(key)) if d.proto == MINIMAL => min(&d.payload, key).map(Some),
        _ => Ok(Some(none())),
    }
}

/// The checksums behind the outer header: ICMPv6's, and the inner header's.
pub fn sums(b: &[u8]) -> Result<(), Wrong> {
    if b.first().is_some_and(|v| v >> 4 == 6) {
        if b.get(6) == Some(&58) {
            let mut pseudo = b.get(8..40).unwrap_or(&[]).to_vec();
            pseudo.extend((b.len() as u32 - 40).to_be_bytes());
            pseudo.extend([0, 0, 0, 58]);
            if checksum(&[&pseudo, &b[40..]]) != 0 {
                return Err("the ICMPv6 checksum is wrong".into());
            }
        }
        return Ok(());
    }
    crate::packets::check(b, &[crate::packets::sums_right()])?;
    let d = Ip4::parse(b)?;
    match d.proto {
        GRE if !d.mf && d.offset == 0 => match inner(b) {
            Some(i) if i.first().is_some_and(|v| v >> 4 == 4) => sums(i),
            _ => Ok(()),
        },
        MINIMAL if d.offset == 0 && min(&d.payload, "sum")? == Tok::word("bad") => {
            Err("the minimal header's checksum is wrong".into())
        }
        _ => Ok(()),
    }
}
