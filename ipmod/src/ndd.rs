//! ndd: parameters by name, and the reports `ip_ill_status`, `ip_ipif_status`, `ip_ire_status`,
//! `arp_cache_status`.
//!
//! Spec: ndd(1M), the reference's ip-tpi 8.3. The reports' columns are our own; a line an
//! entry, words separated by blanks.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use streams::Errno;

use crate::ill::Ill;
use crate::resolve::mac_text;
use crate::stack::Stack;

/// A parameter: its name, the values it may have, how it is read and set.
struct Param {
    name: &'static str,
    min: u64,
    max: u64,
    get: fn(&Stack) -> u64,
    set: fn(&mut Stack, u64),
}

macro_rules! params {
    ($($name:literal $min:literal ..= $max:literal $($field:ident).+ : $how:tt;)*) => {
        &[$(Param {
            name: $name,
            min: $min,
            max: $max,
            get: |s| params!(@get $how s.$($field).+),
            set: |s, v| s.$($field).+ = params!(@set $how v),
        }),*]
    };
    (@get bool $e:expr) => { u64::from($e) };
    (@set bool $v:expr) => { $v != 0 };
    (@get ms $e:expr) => { $e.as_millis() as u64 };
    (@set ms $v:expr) => { Duration::from_millis($v) };
    (@get s $e:expr) => { $e.as_secs() };
    (@set s $v:expr) => { Duration::from_secs($v) };
    (@get $t:ident $e:expr) => { $e as u64 };
    (@set $t:ident $v:expr) => { $v as $t };
}

/// The reference's ip-tpi 8.3, with its ranges.
const PARAMS: &[Param] = params! {
    "ip_forwarding" 0..=1 params.forwarding: bool;
    "ip_respond_to_echo_broadcast" 0..=1 params.echo_broadcast: bool;
    "ip_respond_to_echo_multicast" 0..=1 params.echo_multicast: bool;
    "igmp_max_version" 1..=3 multicast.max_version: u8;
    "ip_respond_to_timestamp" 0..=1 params.timestamp: bool;
    "ip_respond_to_timestamp_broadcast" 0..=1 params.timestamp_broadcast: bool;
    "ip_respond_to_address_mask_broadcast" 0..=1 params.mask_broadcast: bool;
    "ip_forward_directed_broadcasts" 0..=1 params.directed_broadcasts: bool;
    "ip_forward_src_routed" 0..=1 params.forward_src_routed: bool;
    "ip_send_redirects" 0..=1 params.send_redirects: bool;
    "ip_ignore_redirect" 0..=1 params.ignore_redirect: bool;
    "ip_ire_redirect_interval" 60000..=999999999 params.redirect_interval: ms;
    "ip_def_ttl" 1..=255 params.def_ttl: u8;
    "ip_broadcast_ttl" 1..=255 params.broadcast_ttl: u8;
    "ip_path_mtu_discovery" 0..=1 path_mtu.discovery: bool;
    "ip_ire_pathmtu_interval" 5000..=999999999 path_mtu.interval: ms;
    "ip_ire_flush_interval" 60000..=999999999 params.arp_interval: ms;
    "ip_ire_timer_interval" 1000..=999999999 params.timer_interval: ms;
    "ip_strict_dst_multihoming" 0..=1 params.strict_dst: bool;
    "ip_wroff_extra" 0..=256 params.wroff_extra: usize;
    "ip_ire_arp_interval" 60000..=999999999 params.arp_interval: ms;
    "ip_icmp_return_data_bytes" 8..=65536 params.return_data: usize;
    "ip_icmp_err_interval" 0..=99999 icmp_limit.interval: ms;
    "ip_icmp_err_burst" 1..=99999 icmp_limit.burst: u32;
    "ip_reass_queue_bytes" 0..=4294967295 reassembly.limit: usize;
    "ip_addrs_per_if" 1..=8192 params.addrs_per_if: u32;
    "arp_probe_count" 0..=20 params.dad.probe_count: u32;
    "arp_probe_interval" 10..=20000 params.dad.probe_interval: ms;
    "arp_publish_count" 1..=20 params.dad.publish_count: u32;
    "arp_publish_interval" 1000..=20000 params.dad.publish_interval: ms;
    "ip_max_defend" 0..=1000 params.dad.max_defend: u32;
    "ip_defend_interval" 0..=999999 params.dad.defend_interval: s;
    "ip_dup_recovery" 0..=3600000 params.dad.dup_recovery: ms;
};

/// A report: what it is called, what it says.
type Report = (&'static str, fn(&Stack) -> String);

const REPORTS: &[Report] = &[
    ("?", names),
    ("ip_ill_status", ills),
    ("ip_ipif_status", ipifs),
    ("ip_ire_status", ires),
    ("ip_group_status", groups),
    ("ip_pmtu_status", pmtus),
    ("arp_cache_status", arps),
    ("ip_mib", mib),
];

/// ND_GET and ND_SET: "name\0" or "name\0value\0" in, text out.
pub(crate) fn nd(s: &mut Stack, set: bool, data: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut parts = data
        .split(|b| *b == 0)
        .map(|p| String::from_utf8_lossy(p).into_owned());
    let name = parts.next().unwrap_or_default();
    let value = parts.next().unwrap_or_default();
    if let Some(p) = PARAMS.iter().find(|p| p.name == name) {
        if !set {
            return Ok((p.get)(s).to_string().into_bytes());
        }
        let n: u64 = value.parse().map_err(|_| Errno::EINVAL)?;
        if n < p.min || n > p.max {
            return Err(Errno::EINVAL);
        }
        (p.set)(s, n);
        return Ok(Vec::new());
    }
    let report = REPORTS.iter().find(|r| r.0 == name).ok_or(Errno::ENOENT)?;
    if set {
        return Err(Errno::EACCES); // read only
    }
    Ok((report.1)(s).into_bytes())
}

/// What there is to ask for.
fn names(_: &Stack) -> String {
    let reports = REPORTS.iter().map(|r| format!("{} (read only)\n", r.0));
    let params = PARAMS
        .iter()
        .map(|p| format!("{} (read and write)\n", p.name));
    reports.chain(params).collect()
}

fn ip(a: u32) -> Ipv4Addr {
    Ipv4Addr::from(a)
}

/// name flags addresses link-address ip-muxid arp-muxid
fn ills(s: &Stack) -> String {
    let mut t = String::new();
    for i in s.ills.iter().flatten().filter(|i| !i.name.is_empty()) {
        let _ = writeln!(
            t,
            "{} {:x} {} {} {} {}",
            i.name,
            i.flags,
            i.ipifs.len(),
            link_address(i),
            i.muxid[0],
            i.muxid[1]
        );
    }
    t
}

fn link_address(i: &Ill) -> String {
    match i.mac.is_empty() {
        true => "-".to_owned(),
        false => mac_text(&i.mac),
    }
}

/// name flags mtu address mask broadcast far-end link-address metric claim
fn ipifs(s: &Stack) -> String {
    let mut t = String::new();
    let links = s.ills.iter().flatten().filter(|i| !i.name.is_empty());
    for (i, p) in links.flat_map(|i| i.ipifs.iter().map(move |p| (i, p))) {
        let _ = writeln!(
            t,
            "{} {:x} {} {} {} {} {} {} {} {}",
            i.name_of(p.id),
            i.flags_of(p),
            p.mtu,
            ip(p.addr),
            ip(p.mask),
            ip(p.broadcast),
            ip(p.dst),
            link_address(i),
            p.metric,
            crate::dad::word(i, p)
        );
    }
    t
}

/// destination mask gateway interface kind flags mtu
fn ires(s: &Stack) -> String {
    let mut t = String::new();
    for (_, r) in s.ires.iter() {
        let name = s
            .ill(r.ill)
            .map_or_else(|| "-".to_owned(), |i| i.name_of(r.ipif));
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

/// interface group references mode sources (with commas, `-` for none)
fn groups(s: &Stack) -> String {
    let mut t = String::new();
    for m in s.members() {
        let name = s.ill(m.ill).map_or("-", |i| i.name.as_str());
        let mode = if m.filter.exclude {
            "EXCLUDE"
        } else {
            "INCLUDE"
        };
        let sources = m.filter.sources.iter().map(|a| ip(*a).to_string());
        let sources = match sources.collect::<Vec<_>>().join(",") {
            none if none.is_empty() => "-".to_owned(),
            some => some,
        };
        let _ = writeln!(
            t,
            "{name} {} {} {mode} {sources}",
            ip(m.group),
            m.references
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
            .mac()
            .map_or_else(|| "incomplete".to_owned(), |m| mac_text(&m));
        let flags = [
            (n.permanent, 'S'),
            (n.published, 'P'),
            (n.mac().is_none(), 'U'),
        ];
        let flags: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
        let _ = writeln!(t, "{name} {} {mac} {flags}", ip(*addr));
    }
    t
}

/// destination mtu
fn pmtus(s: &Stack) -> String {
    let all = s.path_mtu.iter();
    all.map(|(d, m, _)| format!("{} {m}\n", ip(d))).collect()
}

/// name value
fn mib(s: &Stack) -> String {
    s.mib
        .rows()
        .iter()
        .map(|(n, v)| format!("{n} {v}\n"))
        .collect()
}
