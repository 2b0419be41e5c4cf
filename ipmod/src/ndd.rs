//! ndd: parameters by name, and the reports `ip_ill_status`, `ip_ire_status`, `arp_cache_status`.
//!
//! Spec: ndd(1M), the reference's ip-tpi 8.3. The reports' columns are our own; a line an
//! entry, words separated by blanks.

use std::fmt::Write;
use std::net::Ipv4Addr;

use streams::Errno;

use crate::resolve::mac_text;
use crate::stack::Stack;

/// ND_GET and ND_SET: "name\0" or "name\0value\0" in, text out.
pub(crate) fn nd(s: &mut Stack, set: bool, data: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut parts = data
        .split(|b| *b == 0)
        .map(|p| String::from_utf8_lossy(p).into_owned());
    let name = parts.next().unwrap_or_default();
    let value = parts.next().unwrap_or_default();
    let text = if set {
        let n: u32 = value.parse().map_err(|_| Errno::EINVAL)?;
        let flag = || {
            if n <= 1 {
                Ok(n == 1)
            } else {
                Err(Errno::EINVAL)
            }
        };
        match name.as_str() {
            "ip_forwarding" => s.params.forwarding = flag()?,
            "ip_respond_to_echo_broadcast" => s.params.echo_broadcast = flag()?,
            "ip_forward_directed_broadcasts" => s.params.directed_broadcasts = flag()?,
            "ip_def_ttl" => {
                s.params.def_ttl = u8::try_from(n)
                    .ok()
                    .filter(|t| *t > 0)
                    .ok_or(Errno::EINVAL)?;
            }
            _ => return Err(Errno::ENOENT),
        }
        String::new()
    } else {
        match name.as_str() {
            "ip_forwarding" => u8::from(s.params.forwarding).to_string(),
            "ip_respond_to_echo_broadcast" => u8::from(s.params.echo_broadcast).to_string(),
            "ip_forward_directed_broadcasts" => u8::from(s.params.directed_broadcasts).to_string(),
            "ip_def_ttl" => s.params.def_ttl.to_string(),
            "ip_ill_status" => ills(s),
            "ip_ire_status" => ires(s),
            "arp_cache_status" => arps(s),
            "ip_mib" => mib(s),
            _ => return Err(Errno::ENOENT),
        }
    };
    Ok(text.into_bytes())
}

fn ip(a: u32) -> Ipv4Addr {
    Ipv4Addr::from(a)
}

/// name flags mtu address mask broadcast far-end link-address ip-muxid arp-muxid
fn ills(s: &Stack) -> String {
    let mut t = String::new();
    for i in s.ills.iter().flatten().filter(|i| !i.name.is_empty()) {
        let mac = if i.mac.is_empty() {
            "-".to_owned()
        } else {
            mac_text(&i.mac)
        };
        let _ = writeln!(
            t,
            "{} {:x} {} {} {} {} {} {mac} {} {}",
            i.name,
            i.flags,
            i.mtu,
            ip(i.addr),
            ip(i.mask),
            ip(i.broadcast),
            ip(i.dst),
            i.muxid[0],
            i.muxid[1]
        );
    }
    t
}

/// destination mask gateway interface kind flags mtu
fn ires(s: &Stack) -> String {
    let mut t = String::new();
    for (_, r) in s.ires.iter() {
        let name = s.ill(r.ill).map_or("-", |i| i.name.as_str());
        let gw = if r.gateway != 0 { r.gateway } else { r.src };
        let _ = writeln!(
            t,
            "{} {} {} {name} {:?} {:x} {}",
            ip(r.dst),
            ip(r.mask),
            ip(gw),
            r.kind,
            r.flags,
            r.mtu
        );
    }
    t
}

/// interface address link-address flags
fn arps(s: &Stack) -> String {
    let mut rows: Vec<_> = s.neighbours.iter().collect();
    rows.sort_by_key(|(k, _)| **k);
    let mut t = String::new();
    for ((at, addr), n) in rows {
        let name = s.ill(*at).map_or("-", |i| i.name.as_str());
        let mac = n
            .mac
            .map_or_else(|| "incomplete".to_owned(), |m| mac_text(&m));
        let flags = [
            (n.permanent, 'S'),
            (n.published, 'P'),
            (n.mac.is_none(), 'U'),
        ];
        let flags: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        let _ = writeln!(t, "{name} {} {mac} {flags}", ip(*addr));
    }
    t
}

/// name value
fn mib(s: &Stack) -> String {
    s.mib
        .rows()
        .iter()
        .map(|(n, v)| format!("{n} {v}\n"))
        .collect()
}
