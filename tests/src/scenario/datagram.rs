//! Datagrams in a case: built from fields, and looked at by fields.
//!
//! ```text
//!   src= dst= ttl= tos= id= proto= df=1 mf=1 frag=BYTES opts="\x44.." data="x"*100
//!   udp=SPORT.DPORT     tcp=SPORT.DPORT (a SYN)      icmp=TYPE.CODE rest=WORD
//!   igmp=TYPE.CODE      groups.rs
//!   about_src= about_dst= about_proto= about_ttl= about_frag= about_len= about_icmp=
//!                                 the datagram that an ICMP error quotes, 8 bytes of it
//!   ver= hlen= len= sum=bad cut=N pad=N link=broadcast|multicast      how it is damaged
//! ```
//!
//! Looked at besides: rest, mtu, ptr, gw of ICMP's second word; quoted=BYTES behind ICMP's
//! header; len. Checksums have to be right always. What a tunnel puts around and inside:
//! inside.rs.

use std::net::Ipv4Addr;

use super::text::Tok;
use super::{Wrong, groups, inside};
use crate::packets::{ICMP, IGMP, Ip4, TCP, UDP, checksum, ip4};

/// What stands in a case.
pub struct Fields<'a>(pub &'a [Tok]);

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Tok> {
        self.0.iter().find_map(|t| match t {
            Tok::Key(k, v) if k == key => Some(&**v),
            _ => None,
        })
    }
    pub fn num(&self, key: &str) -> Result<Option<i64>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Tok::Num(n)) => Ok(Some(*n)),
            Some(t) => Err(format!("{key}={t} is no number")),
        }
    }
    pub fn addr(&self, key: &str) -> Result<Option<Ipv4Addr>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Tok::Word(w)) => w.parse().map(Some).map_err(|_| format!("{key}={w}?")),
            Some(t) => Err(format!("{key}={t} is no address")),
        }
    }
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>, Wrong> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Tok::Bytes(b)) => Ok(b.clone()),
            Some(t) => Err(format!("{key}={t} is no string")),
        }
    }
    /// `key=A.B`
    fn pair(&self, key: &str) -> Result<Option<(u16, u16)>, Wrong> {
        let Some(t) = self.get(key) else {
            return Ok(None);
        };
        let text = t.to_string();
        let parts = text.split_once('.');
        let both = parts.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        both.map(Some).ok_or_else(|| format!("{key}={text}?"))
    }
    pub fn word(&self, key: &str) -> Option<String> {
        self.get(key).map(Tok::to_string)
    }
    fn about(&self) -> bool {
        let named = |t: &Tok| matches!(t, Tok::Key(k, _) if k.starts_with("about_"));
        self.0.iter().any(named)
    }
}

/// The datagram that these fields describe.
pub fn build(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let six = inside::under(f, "six_");
    if !six.is_empty() && f.word("dst").is_none() {
        return inside::ipv6(&Fields(&six));
    }
    let (src, dst) = (f.addr("src")?, f.addr("dst")?);
    let any = Ipv4Addr::UNSPECIFIED;
    let mut d = ip4(src.unwrap_or(any), dst.ok_or("dst=ADDRESS")?);
    d = d.options(&f.bytes("opts")?);
    d.ttl = f.num("ttl")?.unwrap_or(64) as u8;
    d.tos = f.num("tos")?.unwrap_or(0) as u8;
    d.id = f.num("id")?.unwrap_or(1) as u16;
    (d.df, d.mf) = (f.num("df")? == Some(1), f.num("mf")? == Some(1));
    d.offset = f.num("frag")?.unwrap_or(0) as u16;
    let data = f.bytes("data")?;
    d = match (f.pair("udp")?, f.pair("tcp")?, f.pair("icmp")?) {
        (Some((from, to)), ..) => d.udp(from, to, &data),
        (_, Some((from, to)), _) => syn(d, from, to),
        (.., Some((ty, code))) => {
            let data = if f.about() { quoted(f)? } else { data };
            let rest = f.num("rest")?.unwrap_or(0) as u32;
            let rest = f.addr("gw")?.map_or(rest, u32::from);
            d.icmp(ty as u8, code as u8, rest.to_be_bytes(), &data)
        }
        _ => match (f.pair("igmp")?, inside::payload(f)?) {
            (Some((ty, code)), _) => d.carrying(IGMP, &groups::igmp(f, ty as u8, code as u8)?),
            (_, Some((proto, carried))) => d.carrying(proto, &carried),
            _ => d.carrying(f.num("proto")?.unwrap_or(255) as u8, &data),
        },
    };
    if let Some(p) = f.num("proto")? {
        d.proto = p as u8;
    }
    let mut b = d.bytes();
    damage(f, &mut b)?;
    Ok(b)
}

/// The first 28 bytes of the datagram that an error is about.
fn quoted(f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let any = Ipv4Addr::UNSPECIFIED;
    let src = f.addr("about_src")?.unwrap_or(any);
    let mut d = ip4(src, f.addr("about_dst")?.unwrap_or(any));
    d.ttl = f.num("about_ttl")?.unwrap_or(1) as u8;
    let proto = f.num("about_proto")?.unwrap_or(UDP.into()) as u8;
    let len = f.num("about_len")?.unwrap_or(28).max(28) as usize;
    let mut b = d.carrying(proto, &vec![0; len - 20]).bytes();
    b.truncate(f.num("about_cut")?.unwrap_or(28) as usize);
    Ok(b)
}

fn syn(d: Ip4, from: u16, to: u16) -> Ip4 {
    let mut t = [from.to_be_bytes(), to.to_be_bytes()].concat();
    t.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0]);
    let pseudo = [&d.src.octets()[..], &d.dst.octets(), &[0, TCP, 0, 20]].concat();
    let sum = checksum(&[&pseudo, &t]);
    t[16..18].copy_from_slice(&sum.to_be_bytes());
    d.carrying(TCP, &t)
}

/// What no program would send.
fn damage(f: &Fields<'_>, b: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut redo = false;
    if let Some(v) = f.num("ver")? {
        b[0] = ((v as u8) << 4) | (b[0] & 15);
        redo = true;
    }
    if let Some(v) = f.num("hlen")? {
        b[0] = (b[0] & 0xf0) | (v as u8 / 4);
        redo = true;
    }
    if let Some(v) = f.num("len")? {
        b[2..4].copy_from_slice(&(v as u16).to_be_bytes());
        redo = true;
    }
    if redo {
        let head = (usize::from(b[0] & 15) * 4).clamp(20, b.len());
        b[10..12].fill(0);
        let sum = checksum(&[&b[..head]]);
        b[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    match f.word("sum").as_deref() {
        Some("bad") => b[10] ^= 0x55,
        Some("badicmp" | "badigmp") => b[22] ^= 0x55,
        Some(w) => return Err(format!("sum={w}?")),
        None => {}
    }
    if let Some(n) = f.num("cut")? {
        b.truncate(n as usize);
    }
    let pad = f.num("pad")?.unwrap_or(0) as usize;
    b.resize(b.len() + pad, 0xaa);
    Ok(())
}

/// What a datagram says of a field.
pub fn field(b: &[u8], key: &str) -> Result<Tok, Wrong> {
    if let Some(tok) = inside::field(b, key)? {
        return Ok(tok);
    }
    let d = Ip4::parse(b)?;
    let num = |n: usize| Tok::Num(n as i64);
    let addr = |a: Ipv4Addr| Tok::word(a.to_string());
    let p = &d.payload;
    let half = |at: usize| {
        p.get(at..at + 2)
            .map_or(0, |w| u16::from_be_bytes([w[0], w[1]]))
    };
    let rest = || u32::from(half(4)) << 16 | u32::from(half(6));
    if let Some(key) = key.strip_prefix("about_") {
        return about(p.get(8..).unwrap_or(&[]), key);
    }
    let is = |proto| d.proto == proto && d.offset == 0;
    Ok(match key {
        "src" => addr(d.src),
        "dst" => addr(d.dst),
        "ttl" => num(d.ttl.into()),
        "tos" => num(d.tos.into()),
        "id" => num(d.id.into()),
        "proto" => num(d.proto.into()),
        "df" => num(d.df.into()),
        "mf" => num(d.mf.into()),
        "frag" => num(d.offset.into()),
        "len" => num(20 + d.options.len() + p.len()),
        "opts" => Tok::Bytes(d.options.clone()),
        "udp" if is(UDP) => Tok::word(format!("{}.{}", half(0), half(2))),
        "tcp" if is(TCP) => Tok::word(format!("{}.{}", half(0), half(2))),
        "icmp" if is(ICMP) => Tok::word(format!("{}.{}", half(0) >> 8, half(0) & 0xff)),
        "igmp" if is(IGMP) => Tok::word(format!("{}.{}", half(0) >> 8, half(0) & 0xff)),
        "group" if is(IGMP) => addr(rest().into()),
        "records" if is(IGMP) => Tok::Bytes(groups::records(p).into()),
        "data" if matches!(d.proto, UDP | ICMP) && d.offset == 0 => {
            Tok::Bytes(p.get(8..).unwrap_or(&[]).to_vec())
        }
        "data" => Tok::Bytes(p.clone()),
        "quoted" => num(p.len().saturating_sub(8)),
        "rest" => num(rest() as usize),
        "mtu" => num((rest() & 0xffff) as usize),
        "ptr" => num((rest() >> 24) as usize),
        "gw" => addr(rest().into()),
        "udp" | "tcp" | "icmp" | "igmp" | "records" => Tok::word("none"),
        _ => return Err(format!("a datagram has no {key}")),
    })
}

/// The same of a header that is quoted; what follows it is cut short.
fn about(b: &[u8], key: &str) -> Result<Tok, Wrong> {
    let addr = |at: usize| {
        let a = b.get(at..at + 4).and_then(|a| <[u8; 4]>::try_from(a).ok());
        Tok::word(a.map_or("none".to_owned(), |a| Ipv4Addr::from(a).to_string()))
    };
    let num = |at: usize| Tok::Num(b.get(at).copied().unwrap_or(0).into());
    if let Some(key) = key.strip_prefix("in_") {
        return about(inside::inner(b).unwrap_or(&[]), key);
    }
    Ok(match key {
        "src" => addr(12),
        "dst" => addr(16),
        "ttl" => num(8),
        "proto" => num(9),
        _ => return Err(format!("a quoted datagram has no {key}")),
    })
}

/// Each field that is expected, as it is here; checksums must be right.
pub fn look(b: &[u8], link: &str, expect: &[Tok]) -> Result<Vec<Tok>, Wrong> {
    inside::sums(b)?;
    let one = |t: &Tok| match t {
        Tok::Key(k, _) if k == "link" => Ok(Tok::key("link", Tok::word(link))),
        Tok::Key(k, _) => Ok(Tok::key(k.clone(), field(b, k)?)),
        t => Err(format!("{t} is no field")),
    };
    expect.iter().map(one).collect()
}
