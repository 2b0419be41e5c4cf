//! mipagent.conf: what an agent or a mobile node is told.
//!
//! ```text
//!   [General]                      [SPI 257]                  [Node]           ours: the
//!    Version = 1.0                  ReplayMethod = timestamps  HomeAddress =    mobile node
//!   [Advertisements le0]            Key = 00112233..          [CareOf 10.5.0.71/24]
//!    HomeAgent = yes               [Address 10.1.0.71]         Router =
//!   [GlobalSecurityParameters]      Type = node
//!    MaxClockSkew = 7               SPI = 257
//! ```
//!
//! Spec: mipagent.conf(4): sections, names, yes and no, keys as hexadecimal digits; names
//! and sections are read without regard to case.
//! Kept: an unknown name is an error, with its line.
//! Differs: `[Node]` and `[CareOf]` tell a mobile node, which Solaris has none of;
//! `CareOfAddress`, `AdvInterval`, `Busy`, `Minimal`, `GRE`, `MaxVisitors` and `Dummy` in
//! `[Advertisements]` are ours; ReplayMethod none, Pool, NAI and IPsec are refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::auth::Key;
use crate::conf::{Advertise, CareOf, Conf, Foreign, Home, Mobile, Node, Reverse};
use crate::identification::{Replay, SKEW};
use crate::message::{self, D};
use crate::tunnel::DUMMY;

/// A line that is wrong, and how it could be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line; 0: of the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.cause)
    }
}

struct Section {
    line: usize,
    kind: String,
    name: String,
    values: BTreeMap<String, (usize, String)>,
}

fn wrong<T>(line: usize, cause: impl Into<String>, mend: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        line,
        cause: cause.into(),
        mend: mend.into(),
    })
}

/// Names that each kind of section has.
const NAMES: &[(&str, &[&str])] = &[
    ("general", &["version"]),
    (
        "advertisements",
        &[
            "homeagent",
            "foreignagent",
            "prefixflags",
            "advertiseonbcast",
            "reglifetime",
            "advlifetime",
            "advfrequency",
            "advinterval",
            "advlimitunsolicited",
            "reversetunnel",
            "reversetunnelrequired",
            "careofaddress",
            "busy",
            "registrationrequired",
            "minimal",
            "gre",
            "maxvisitors",
            "dummy",
            "simultaneous",
        ],
    ),
    (
        "globalsecurityparameters",
        &[
            "maxclockskew",
            "ha-faauth",
            "mn-faauth",
            "challenge",
            "keydistribution",
        ],
    ),
    ("spi", &["replaymethod", "key"]),
    ("address", &["type", "spi"]),
    (
        "node",
        &[
            "interface",
            "homeaddress",
            "homeagent",
            "router",
            "spi",
            "flags",
            "lifetime",
        ],
    ),
    ("careof", &["router"]),
];

fn sections(text: &str) -> Result<Vec<Section>, Wrong> {
    let mut all: Vec<Section> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let n = i + 1;
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let Some(head) = head.strip_suffix(']') else {
                return wrong(n, "a section that has no end", "[Name] or [Name which]");
            };
            let (kind, name) = head
                .trim()
                .split_once(char::is_whitespace)
                .unwrap_or((head.trim(), ""));
            let kind = kind.to_ascii_lowercase();
            if !NAMES.iter().any(|k| k.0 == kind) {
                let known =
                    "General, Advertisements, GlobalSecurityParameters, SPI, Address, Node, CareOf";
                return wrong(
                    n,
                    format!("there is no section [{head}]"),
                    format!("there are {known}"),
                );
            }
            all.push(Section {
                line: n,
                kind,
                name: name.trim().to_owned(),
                values: BTreeMap::new(),
            });
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return wrong(n, format!("`{line}` is no setting"), "Name = value");
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim().to_owned());
        let Some(s) = all.last_mut() else {
            return wrong(n, "a setting before any section", "begin with [General]");
        };
        let names = NAMES
            .iter()
            .find(|k| k.0 == s.kind)
            .map_or(&[][..], |k| k.1);
        if !names.contains(&key.as_str()) {
            let cause = format!("[{}] has no `{key}`", s.kind);
            return wrong(n, cause, format!("it has {}", names.join(", ")));
        }
        if s.values.insert(key.clone(), (n, value)).is_some() {
            return wrong(n, format!("`{key}` is set twice"), "remove one of them");
        }
    }
    Ok(all)
}

impl Section {
    fn text(&self, key: &str) -> Option<(usize, &str)> {
        self.values.get(key).map(|(n, v)| (*n, v.as_str()))
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, Wrong> {
        let Some((n, v)) = self.text(key) else {
            return Ok(None);
        };
        match v.parse() {
            Ok(v) => Ok(Some(v)),
            Err(_) => wrong(n, format!("`{v}` is no {what}"), format!("{key} = {what}")),
        }
    }

    fn yes(&self, key: &str) -> Result<Option<bool>, Wrong> {
        let Some((n, v)) = self.text(key) else {
            return Ok(None);
        };
        match v.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Ok(Some(true)),
            "no" | "false" | "off" | "0" => Ok(Some(false)),
            _ => wrong(
                n,
                format!("`{v}` is neither yes nor no"),
                format!("{key} = yes"),
            ),
        }
    }

    fn address(&self, key: &str) -> Result<Option<Ipv4Addr>, Wrong> {
        self.parsed(key, "IPv4 address")
    }

    fn seconds(&self, key: &str) -> Result<Option<u16>, Wrong> {
        self.parsed(key, "number of seconds up to 65535")
    }
}

/// `10.1.0.71/24`.
fn prefixed(n: usize, v: &str) -> Result<(Ipv4Addr, u8), Wrong> {
    let read = || {
        let (a, p) = v.split_once('/')?;
        let p: u8 = p.parse().ok().filter(|p| *p <= 32)?;
        Some((a.parse().ok()?, p))
    };
    match read() {
        Some(r) => Ok(r),
        None => wrong(
            n,
            format!("`{v}` is no address with a prefix length"),
            "10.1.0.71/24",
        ),
    }
}

fn hex(n: usize, v: &str) -> Result<Vec<u8>, Wrong> {
    let digits: Option<Vec<u8>> = v.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    match digits {
        Some(d) if !d.is_empty() && d.len() % 2 == 0 => {
            Ok(d.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect())
        }
        _ => wrong(
            n,
            "a key that is not hexadecimal",
            "Key = 32 hexadecimal digits",
        ),
    }
}

/// Security associations by SPI, and who has which.
struct Keys {
    spis: HashMap<u32, Node>,
    nodes: HashMap<Ipv4Addr, Node>,
    agents: HashMap<Ipv4Addr, Key>,
}

fn keys(all: &[Section]) -> Result<Keys, Wrong> {
    let mut k = Keys {
        spis: HashMap::new(),
        nodes: HashMap::new(),
        agents: HashMap::new(),
    };
    for s in all.iter().filter(|s| s.kind == "spi") {
        let spi = match s.name.parse::<u32>() {
            Ok(spi) if spi > 255 => spi,
            _ => {
                let cause = format!("`{}` is no SPI", s.name);
                return wrong(
                    s.line,
                    cause,
                    "a number above 255: those below are reserved",
                );
            }
        };
        let Some((n, key)) = s.text("key") else {
            return wrong(
                s.line,
                format!("SPI {spi} has no Key"),
                "Key = 32 hexadecimal digits",
            );
        };
        let secret = hex(n, key)?;
        let replay = match s.text("replaymethod") {
            None => Replay::Timestamps,
            Some((n, v)) => match v.to_ascii_lowercase().as_str() {
                "timestamps" => Replay::Timestamps,
                "nonces" => Replay::Nonces,
                _ => {
                    let cause = format!("there is no ReplayMethod `{v}`");
                    return wrong(n, cause, "timestamps or nonces: RFC 5944 5.7 wants one");
                }
            },
        };
        let key = Key { spi, secret };
        k.spis.insert(spi, Node { key, replay });
    }
    for s in all.iter().filter(|s| s.kind == "address") {
        let Ok(addr) = s.name.parse::<Ipv4Addr>() else {
            let cause = format!("`{}` is no IPv4 address", s.name);
            return wrong(s.line, cause, "[Address 10.1.0.71]");
        };
        let node = spi_of(s, &k)?;
        match s.text("type").map(|(n, t)| (n, t.to_ascii_lowercase())) {
            Some((_, t)) if t == "node" => drop(k.nodes.insert(addr, node)),
            Some((_, t)) if t == "agent" => drop(k.agents.insert(addr, node.key)),
            Some((n, t)) => return wrong(n, format!("there is no Type `{t}`"), "node or agent"),
            None => {
                return wrong(
                    s.line,
                    format!("[Address {addr}] has no Type"),
                    "Type = node",
                );
            }
        }
    }
    Ok(k)
}

fn spi_of(s: &Section, k: &Keys) -> Result<Node, Wrong> {
    let Some(spi) = s.parsed::<u32>("spi", "SPI")? else {
        return wrong(
            s.line,
            "no SPI is named",
            "SPI = the number of an [SPI] section",
        );
    };
    match k.spis.get(&spi) {
        Some(n) => Ok(n.clone()),
        None => wrong(
            s.line,
            format!("there is no [SPI {spi}]"),
            "add the section",
        ),
    }
}

fn advertise(s: &Section) -> Result<Advertise, Wrong> {
    let mut a = Advertise::on(&s.name);
    if s.name.is_empty() {
        return wrong(
            s.line,
            "[Advertisements] of no interface",
            "[Advertisements le0]",
        );
    }
    a.home = s.yes("homeagent")?.unwrap_or(true);
    a.foreign = s.yes("foreignagent")?.unwrap_or(true);
    a.prefixes = s.yes("prefixflags")?.unwrap_or(true);
    a.broadcast = s.yes("advertiseonbcast")?.unwrap_or(false);
    a.solicited_only = s.yes("advlimitunsolicited")?.unwrap_or(false);
    a.registration = s.seconds("reglifetime")?.unwrap_or(a.registration);
    a.lifetime = s.seconds("advlifetime")?.unwrap_or(a.lifetime);
    // 2.3: three times in a lifetime, at most once a second
    let third = Duration::from_secs((u64::from(a.lifetime) / 3).max(1));
    let every = s
        .seconds("advinterval")?
        .map(|n| Duration::from_secs(n.max(1).into()));
    a.interval = every.unwrap_or(third);
    Ok(a)
}

fn reverse(s: &Section) -> Result<Reverse, Wrong> {
    let had = s.yes("reversetunnel")?.unwrap_or(false);
    Ok(match s.yes("reversetunnelrequired")?.unwrap_or(false) {
        true => Reverse::Required,
        false if had => Reverse::Yes,
        false => Reverse::No,
    })
}

impl Conf {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Conf, Wrong> {
        let all = sections(text)?;
        let k = keys(&all)?;
        let none = Section {
            line: 0,
            kind: String::new(),
            name: String::new(),
            values: BTreeMap::new(),
        };
        let global = all.iter().find(|s| s.kind == "globalsecurityparameters");
        let global = global.unwrap_or(&none);
        let mut conf = Conf::default();
        for s in all.iter().filter(|s| s.kind == "advertisements") {
            let a = advertise(s)?;
            if a.home {
                let mut h = Home::new(Ipv4Addr::UNSPECIFIED);
                h.lifetime = a.registration;
                h.skew = global
                    .parsed("maxclockskew", "number of seconds")?
                    .unwrap_or(SKEW);
                h.reverse = reverse(s)?;
                h.dummy = s.address("dummy")?.unwrap_or(DUMMY);
                h.simultaneous = s.yes("simultaneous")?.unwrap_or(true);
                (h.peers, h.nodes) = (k.agents.clone(), k.nodes.clone());
                h.peers_only = global.yes("ha-faauth")?.unwrap_or(false);
                conf.home.get_or_insert(h);
            }
            if a.foreign {
                let care_of = s.address("careofaddress")?;
                let mut f = Foreign::new(care_of.unwrap_or(Ipv4Addr::UNSPECIFIED));
                f.lifetime = a.registration;
                f.required = s.yes("registrationrequired")?.unwrap_or(false);
                f.busy = s.yes("busy")?.unwrap_or(false);
                f.minimal = s.yes("minimal")?.unwrap_or(false);
                f.gre = s.yes("gre")?.unwrap_or(false);
                f.most = s.parsed("maxvisitors", "number")?.unwrap_or(f.most);
                let keys = k.nodes.iter().map(|(a, n)| (*a, n.key.clone()));
                (f.peers, f.nodes) = (k.agents.clone(), keys.collect());
                f.peers_only = global.yes("ha-faauth")?.unwrap_or(false);
                f.nodes_only = global.yes("mn-faauth")?.unwrap_or(false);
                conf.foreign.get_or_insert(f);
            }
            conf.advertise.push(a);
        }
        if let Some(s) = all.iter().find(|s| s.kind == "node") {
            conf.mobile = Some(mobile(s, &all, &k)?);
        }
        if conf.advertise.is_empty() && conf.mobile.is_none() {
            let cause = "the file makes neither an agent nor a mobile node";
            return wrong(0, cause, "add [Advertisements le0] or [Node]");
        }
        Ok(conf)
    }
}

fn mobile(s: &Section, all: &[Section], k: &Keys) -> Result<Mobile, Wrong> {
    let Some((n, home)) = s.text("homeaddress") else {
        return wrong(
            s.line,
            "[Node] has no HomeAddress",
            "HomeAddress = 10.1.0.71/24",
        );
    };
    let (home, prefix) = prefixed(n, home)?;
    let agent = s.address("homeagent")?.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let node = spi_of(s, k)?;
    let interface = s.text("interface").map_or("le0", |v| v.1);
    let mut m = Mobile::new(interface, home, prefix, agent, node.key);
    m.replay = node.replay;
    m.router = s.address("router")?;
    m.lifetime = s.seconds("lifetime")?.unwrap_or(m.lifetime);
    m.peers = k.agents.clone();
    if let Some((n, letters)) = s.text("flags") {
        for c in letters.chars() {
            m.flags |= match c.to_ascii_uppercase() {
                'S' => message::S,
                'B' => message::B,
                'M' => message::M,
                'G' => message::G,
                'T' => message::T,
                _ => {
                    let cause = format!("there is no flag `{c}`");
                    return wrong(
                        n,
                        cause,
                        "of S, B, M, G, T; D follows from the care-of address",
                    );
                }
            };
        }
        debug_assert_eq!(m.flags & D, 0);
    }
    for s in all.iter().filter(|s| s.kind == "careof") {
        let (addr, prefix) = prefixed(s.line, &s.name)?;
        let Some(router) = s.address("router")? else {
            return wrong(
                s.line,
                format!("[CareOf {addr}] has no Router"),
                "Router = 10.5.0.1",
            );
        };
        m.care_of.push(CareOf {
            addr,
            prefix,
            router,
        });
    }
    Ok(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "
        [General]
            Version = 1.0           # as Solaris's file begins
        [Advertisements le0]
            homeagent = yes
            ForeignAgent = no
            RegLifetime = 200
            AdvLifetime = 9
            ReverseTunnel = yes
        [GlobalSecurityParameters]
            MaxClockSkew = 30
            HA-FAauth = yes
        [SPI 257]
            ReplayMethod = nonces
            Key = 0123456789abcdef0123456789ABCDEF
        [SPI 258]
            Key = 00ff
        [Address 10.1.0.71]
            Type = node
            SPI = 257
        [Address 192.168.0.2]
            Type = agent
            SPI = 258
    ";

    #[test]
    fn a_home_agents_file() {
        // mipagent.conf(4)
        let c = Conf::parse(AGENT).expect("sound");
        let (h, a) = (c.home.expect("a home agent"), &c.advertise[0]);
        assert!(c.foreign.is_none() && c.mobile.is_none());
        assert_eq!((h.lifetime, h.skew, h.reverse), (200, 30, Reverse::Yes));
        assert_eq!((a.lifetime, a.interval), (9, Duration::from_secs(3)));
        let node = &h.nodes[&Ipv4Addr::new(10, 1, 0, 71)];
        assert_eq!((node.replay, node.key.spi), (Replay::Nonces, 257));
        assert_eq!(node.key.secret[..2], [1, 0x23]);
        assert_eq!(h.peers[&Ipv4Addr::new(192, 168, 0, 2)].secret, [0, 0xff]);
        assert!(h.peers_only);
    }

    #[test]
    fn a_mobile_nodes_file() {
        let c = Conf::parse(
            "[SPI 300]\nKey = aa\n[Node]\nHomeAddress = 10.1.0.71/24\nHomeAgent = 10.1.0.1\n\
             SPI = 300\nFlags = sb\n[CareOf 10.5.0.71/24]\nRouter = 10.5.0.1\n",
        )
        .expect("sound");
        let m = c.mobile.expect("a node");
        assert_eq!(m.flags, message::S | message::B);
        assert_eq!(m.care_of[0].router, Ipv4Addr::new(10, 5, 0, 1));
        assert_eq!((m.prefix, m.interface.as_str()), (24, "le0"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let at = |text: &str| Conf::parse(text).map_err(|w| (w.line, w.cause));
        let expect = |text, line, words: &str| {
            let (n, cause) = at(text).expect_err("wrong");
            assert!(n == line && cause.contains(words), "{text}: {n} {cause}");
        };
        expect("", 0, "neither an agent nor");
        expect("x = 1", 1, "before any section");
        expect("[Genral]", 1, "no section");
        expect("[General", 1, "no end");
        expect("[General]\nnonsense", 2, "no setting");
        expect("[General]\nspeed = 3", 2, "has no `speed`");
        expect(
            "[Advertisements le0]\nhomeagent = maybe",
            2,
            "neither yes nor no",
        );
        expect("[Advertisements le0]\nbusy = no\nbusy = no", 3, "twice");
        expect("[SPI 200]\nKey = aa", 1, "no SPI");
        expect("[SPI 256]\nKey = xyz", 2, "not hexadecimal");
        expect(
            "[SPI 256]\nKey = aa\nReplayMethod = none",
            3,
            "no ReplayMethod",
        );
        expect("[Address 1.2.3.4]\nSPI = 256", 1, "there is no [SPI 256]");
        expect("[Node]\nHomeAddress = 10.0.0.1", 2, "prefix length");
    }
}
