//! IGMP messages as bytes: queries read, reports and leaves written, of all three versions.
//!
//! ```text
//!   v1, v2   | type  code  checksum | group |                  code: tenths of a second, 0: v1
//!   v3 query | 0x11  code  checksum | group | S QRV | QQIC | n | source..
//!   v3 report| 0x22  0     checksum | 0  m |  m times [ type 0 n | group | source.. ]
//!
//!   around it [ IP 24, with router alert | TTL 1, precedence 6 ]
//! ```
//!
//! Spec: RFC 1112 appendix I, RFC 2236 section 2, RFC 3376 section 4, RFC 2113 (router alert).
//! Differs: version 1 reports have the router alert option too, as Solaris sends them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::wire::{self, HEADER, be16, be32, put16, put32};

/// All systems of a link (224.0.0.1).
pub const ALL_SYSTEMS: u32 = 0xe000_0001;
/// All routers of a link (224.0.0.2): they hear leaves.
pub const ALL_ROUTERS: u32 = 0xe000_0002;
/// All routers with IGMPv3 (224.0.0.22): they hear its reports.
pub const ALL_V3_ROUTERS: u32 = 0xe000_0016;

/// Membership query.
pub const QUERY: u8 = 0x11;
/// Version 1 report.
pub const V1_REPORT: u8 = 0x12;
/// Version 2 report.
pub const V2_REPORT: u8 = 0x16;
/// Version 2 leave.
pub const LEAVE: u8 = 0x17;
/// Version 3 report.
pub const V3_REPORT: u8 = 0x22;

/// Bytes of a message of version 1 or 2, and the least of any.
const SHORT: usize = 8;
/// Bytes of a version 3 query without sources.
const V3_QUERY: usize = 12;
/// Bytes of the IP header around a message.
const OUTER: usize = HEADER + 4;
/// The router alert option (RFC 2113).
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 1112.
    V1 = 1,
    /// RFC 2236.
    V2,
    /// RFC 3376.
    V3,
}

/// A membership query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Of the router that asks.
    pub version: Version,
    /// Answers are spread over this time.
    pub within: Duration,
    /// The group; 0 for all.
    pub group: u32,
    /// The sources asked about; none for all.
    pub sources: BTreeSet<u32>,
    /// Querier's robustness variable; 0 if it says none.
    pub robustness: u8,
    /// Querier's query interval; zero if it says none.
    pub interval: Duration,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A router asks.
    Query(Query),
    /// A neighbour reports a group, version 1 or 2.
    Report(u32),
    /// Anything else, of use to routers alone.
    Other,
}

/// Why a message can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Fewer bytes than it needs.
    Short,
    /// The checksum.
    Checksum,
}

/// Tenths of a second or seconds as eight bits: from 128 up with an exponent (RFC 3376
/// 4.1.1, 4.1.7).
fn expand(code: u8) -> u32 {
    match code {
        0..128 => code.into(),
        _ => (u32::from(code & 0xf) | 0x10) << ((code >> 4 & 7) + 3),
    }
}

/// Reads the IGMP message that follows an IP header.
///
/// # Errors
/// [`Bad`]
pub fn parse(b: &[u8]) -> Result<Message, Bad> {
    if b.len() < SHORT {
        return Err(Bad::Short);
    }
    if wire::sum(b) != 0xffff {
        return Err(Bad::Checksum);
    }
    let (code, group) = (b[1], be32(b, 4));
    match b[0] {
        QUERY => {}
        V1_REPORT | V2_REPORT => return Ok(Message::Report(group)),
        _ => return Ok(Message::Other),
    }
    // RFC 3376 7.1: the length tells the versions apart.
    if b.len() == SHORT {
        let (version, tenths) = match code {
            0 => (Version::V1, 100), // RFC 1112 appendix I: ten seconds
            n => (Version::V2, u64::from(n)),
        };
        return Ok(Message::Query(Query {
            version,
            within: Duration::from_millis(100 * tenths),
            group,
            sources: BTreeSet::new(),
            robustness: 0,
            interval: Duration::ZERO,
        }));
    }
    let n = usize::from(be16(b, 10));
    if b.len() < V3_QUERY + 4 * n {
        return Err(Bad::Short);
    }
    Ok(Message::Query(Query {
        version: Version::V3,
        within: Duration::from_millis(100 * u64::from(expand(code))),
        group,
        sources: (0..n).map(|i| be32(b, V3_QUERY + 4 * i)).collect(),
        robustness: b[8] & 7,
        interval: Duration::from_secs(expand(b[9]).into()),
    }))
}

/// What a group record of a version 3 report says (RFC 3376 4.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// MODE_IS_INCLUDE.
    IsInclude = 1,
    /// MODE_IS_EXCLUDE.
    IsExclude,
    /// CHANGE_TO_INCLUDE_MODE.
    ToInclude,
    /// CHANGE_TO_EXCLUDE_MODE.
    ToExclude,
    /// ALLOW_NEW_SOURCES.
    Allow,
    /// BLOCK_OLD_SOURCES.
    Block,
}

/// A group record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// Of which group.
    pub group: u32,
    /// And which sources.
    pub sources: Vec<u32>,
}

/// What a host sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// A report of version 1 or 2.
    Report(Version, u32),
    /// A version 2 leave.
    Leave(u32),
    /// Records of version 3 reports.
    Records(Vec<Record>),
}

/// The datagrams of what is sent, from `src` over a link with this MTU; each with the
/// address that it goes to.
pub fn datagrams(what: &Send, src: u32, mtu: usize) -> Vec<(u32, Vec<u8>)> {
    let short = |ty: u8, group: u32, dst: u32| {
        let mut b = vec![ty, 0, 0, 0, 0, 0, 0, 0];
        put32(&mut b, 4, group);
        (dst, datagram(src, dst, b))
    };
    match what {
        Send::Report(Version::V1, group) => vec![short(V1_REPORT, *group, *group)],
        Send::Report(_, group) => vec![short(V2_REPORT, *group, *group)],
        Send::Leave(group) => vec![short(LEAVE, *group, ALL_ROUTERS)],
        Send::Records(all) => reports(all, mtu.saturating_sub(OUTER))
            .into_iter()
            .map(|b| (ALL_V3_ROUTERS, datagram(src, ALL_V3_ROUTERS, b)))
            .collect(),
    }
}

/// Version 3 reports with these records, none longer than `most` bytes (RFC 3376 4.2.16).
fn reports(records: &[Record], most: usize) -> Vec<Vec<u8>> {
    let new = || vec![V3_REPORT, 0, 0, 0, 0, 0, 0, 0];
    let fits = (most.saturating_sub(SHORT + 8) / 4).max(1);
    let (mut done, mut b) = (Vec::new(), new());
    for r in records {
        // A list too long for one message: what is excluded is cut short, as the rest of it
        // would be received all the same; the others go on in a record of their own.
        let cut = matches!(r.kind, Kind::IsExclude | Kind::ToExclude);
        let parts: Vec<&[u32]> = match r.sources.chunks(fits).collect::<Vec<_>>() {
            all if all.is_empty() => vec![&[]],
            mut all => {
                all.truncate(if cut { 1 } else { all.len() });
                all
            }
        };
        for part in parts {
            let len = 8 + 4 * part.len();
            if b.len() > SHORT && b.len() + len > most {
                done.push(std::mem::replace(&mut b, new()));
            }
            b.extend([r.kind as u8, 0]);
            b.extend((part.len() as u16).to_be_bytes());
            b.extend(r.group.to_be_bytes());
            b.extend(part.iter().flat_map(|s| s.to_be_bytes()));
            let n = be16(&b, 6) + 1;
            put16(&mut b, 6, n);
        }
    }
    if b.len() > SHORT {
        done.push(b);
    }
    done
}

/// The message in a datagram of TTL 1.
fn datagram(src: u32, dst: u32, mut body: Vec<u8>) -> Vec<u8> {
    let sum = wire::checksum(&body);
    put16(&mut body, 2, sum);
    // RFC 3376 4: precedence of internetwork control.
    let (len, igmp) = (OUTER + body.len(), wire::proto::IGMP);
    let mut b = wire::header(len, igmp, 1, 0xc0, 0, src, dst).to_vec();
    b.extend(ROUTER_ALERT);
    b[0] = 0x46;
    wire::fill_checksum(&mut b, OUTER);
    b.extend(body);
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of Linux 6.18 about 239.1.2.3, as it stood on a wire: it has joined.
    const LINUX_REPORT: [u8; 40] = [
        0x46, 0xc0, 0, 40, 0, 0, 0x40, 0, 1, 2, 0x41, 0xf8, 192, 0, 2, 1, 224, 0, 0, 22, 0x94, 4,
        0, 0, 0x22, 0, 0xe8, 0xf9, 0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 2, 3,
    ];
    const G: u32 = 0xef01_0203;

    fn query(code: u8, group: u32, rest: &[u8]) -> Vec<u8> {
        let mut b = vec![QUERY, code, 0, 0];
        b.extend(group.to_be_bytes());
        b.extend(rest);
        let c = wire::checksum(&b);
        put16(&mut b, 2, c);
        b
    }

    #[test]
    fn a_join_is_what_linux_sends() {
        let join = Send::Records(vec![Record {
            kind: Kind::ToExclude,
            group: G,
            sources: vec![],
        }]);
        let [(dst, b)] = &datagrams(&join, 0xc000_0201, 1500)[..] else {
            panic!("one");
        };
        assert_eq!(*dst, ALL_V3_ROUTERS);
        // but for the identification, DF and with them the checksum
        assert_eq!(
            (&b[..6], &b[12..]),
            (&LINUX_REPORT[..6], &LINUX_REPORT[12..])
        );
        assert_eq!(wire::sum(&b[..24]), 0xffff);
    }

    #[test]
    fn the_versions_are_told_apart() {
        // RFC 3376 7.1
        let read = |b: &[u8]| match parse(b) {
            Ok(Message::Query(q)) => (q.version, q.within.as_millis(), q.robustness),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(&query(0, 0, &[])), (Version::V1, 10_000, 0));
        assert_eq!(read(&query(25, 0, &[])), (Version::V2, 2500, 0));
        assert_eq!(read(&query(0, 0, &[2, 125, 0, 0])), (Version::V3, 0, 2));
        assert_eq!(parse(&query(1, 0, &[2])), Err(Bad::Short));
        assert_eq!(parse(&query(1, 0, &[2, 125, 0, 1])), Err(Bad::Short));
        assert_eq!(parse(&query(1, 0, &[])[..7]), Err(Bad::Short));
        let mut b = query(1, 0, &[]);
        b[7] ^= 1;
        assert_eq!(parse(&b), Err(Bad::Checksum));
    }

    #[test]
    fn long_times_have_an_exponent() {
        // RFC 3376 4.1.1
        assert_eq!((expand(127), expand(128), expand(0xff)), (127, 128, 31744));
        assert_eq!(expand(0x8f), 0x1f << 3);
    }

    #[test]
    fn sources_are_read() {
        let rest = [0x0a, 60, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2];
        let Ok(Message::Query(q)) = parse(&query(100, G, &rest)) else {
            panic!("a query");
        };
        assert_eq!(q.sources, [0x0a00_0001, 0x0a00_0002].into());
        assert_eq!((q.robustness, q.interval.as_secs()), (2, 60));
    }

    #[test]
    fn a_report_is_no_longer_than_the_link_takes() {
        // RFC 3376 4.2.16: exclusions are cut short, other lists go on
        let record = |kind| Record {
            kind,
            group: G,
            sources: (0..30).collect(),
        };
        let all = [Kind::Allow, Kind::IsExclude].map(record);
        let sent = datagrams(&Send::Records(all.to_vec()), 1, 100);
        let lists: Vec<u16> = sent.iter().map(|(_, b)| be16(b, OUTER + 10)).collect();
        assert!(sent.iter().all(|(_, b)| b.len() <= 100), "{sent:?}");
        assert_eq!(lists, [15, 15, 15]);
        // many groups: as many records as there is room for
        let one = |g| Record {
            kind: Kind::IsExclude,
            group: G + g,
            sources: vec![],
        };
        let all: Vec<Record> = (0..400).map(one).collect();
        let sent = datagrams(&Send::Records(all), 1, 1500);
        let counts: Vec<u16> = sent.iter().map(|(_, b)| be16(b, OUTER + 6)).collect();
        assert_eq!(counts, [183, 183, 34]);
        assert!(sent.iter().all(|(_, b)| wire::sum(&b[OUTER..]) == 0xffff));
    }

    #[test]
    fn old_reports_go_to_their_group() {
        // RFC 2236 section 9
        let v2 = datagrams(&Send::Report(Version::V2, G), 9, 1500);
        let leave = datagrams(&Send::Leave(G), 9, 1500);
        assert_eq!((v2[0].0, leave[0].0), (G, ALL_ROUTERS));
        assert_eq!(v2[0].1[OUTER], V2_REPORT);
        assert_eq!(parse(&v2[0].1[OUTER..]), Ok(Message::Report(G)));
        assert_eq!(parse(&leave[0].1[OUTER..]), Ok(Message::Other));
    }
}
