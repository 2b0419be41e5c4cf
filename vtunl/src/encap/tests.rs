//! Encapsulation, rule by rule.

use super::*;
use crate::encap_table::ENCAP_S;
use crate::header::IP_DF;
use crate::testing::*;
use crate::texit_table::ExitTable;
use proptest::prelude::*;

struct World {
    exits: ExitTable,
    policy: Policy,
    stats: Stats,
}

fn world() -> World {
    let mut exits = ExitTable::default();
    exits.hold(EXIT).unwrap();
    World {
        exits,
        policy: Policy::default(),
        stats: Stats::default(),
    }
}

impl World {
    fn exit(&self) -> &TExit {
        self.exits.get(EXIT).unwrap()
    }
    fn send(&mut self, mp: &mut Msg, flags: u16) -> Result<(), Why> {
        let h = Ipv4::of(mp)?;
        let World {
            exits,
            policy,
            stats,
        } = self;
        encapsulate(mp, &h, exits.get(EXIT).unwrap(), flags, US, policy, stats)
    }
    fn send_o(&mut self, o: Outer, flags: u16) -> Result<Vec<u8>, Why> {
        let mut mp = datagram(o);
        self.send(&mut mp, flags)?;
        let v = mp.to_vec();
        assert_eq!(checksum(&v[..20]), 0, "outer checksum");
        Ok(v)
    }
}

#[test]
fn the_outer_header_of_rfc_2003_3_1() {
    let mut w = world();
    let inner = Outer { tos: 0xb8, ..UDP };
    let v = w.send_o(inner, ENCAP_S).unwrap();
    let h = Ipv4::read(&v).unwrap();
    assert_eq!((v[0], h.tos, h.len), (0x45, 0xb8, 48)); // IHL 5, TOS copied, length + 20
    assert_eq!((h.ttl, h.proto), (OUTER_TTL, 4)); // TTL of its own, protocol 4
    assert_eq!((h.src, h.dst), (US, EXIT));
    assert_eq!(&v[20..], bytes(inner)); // the inner one is not changed
    let x = w.exit();
    assert_eq!((x.datagrams.get(), x.octets.get()), (1, 28));
}

#[test]
fn the_outer_header_goes_into_the_headroom() {
    let mut mp = datagram(UDP);
    world().send(&mut mp, 0).unwrap();
    assert_eq!((mp.headroom(), mp.len()), (44, 48));
    assert!(mp.cont().is_none());
}

#[test]
fn inner_df_is_copied_and_ident_is_zero_under_df_and_moves_on_without() {
    // RFC 2003 3.1: inner DF set, outer MUST be set. RFC 6864 4.
    let mut w = world();
    for df in [true, false] {
        let a = Ipv4::read(&w.send_o(Outer { df, ..UDP }, 0).unwrap()).unwrap();
        let b = Ipv4::read(&w.send_o(Outer { df, ..UDP }, 0).unwrap()).unwrap();
        assert_eq!(a.df(), df);
        assert_eq!(a.ident != b.ident, !df);
        if df {
            assert_eq!(a.ident, 0);
        }
    }
    w.policy.df = Df::Always;
    assert!(Ipv4::read(&w.send_o(UDP, 0).unwrap()).unwrap().df());
}

#[test]
fn ecn_and_dscp_as_rfc_6040_4_1_and_rfc_2983() {
    for tos in 0..=255u8 {
        let mut w = world();
        let outer = |w: &mut World| w.send_o(Outer { tos, ..UDP }, 0).unwrap()[1];
        assert_eq!(outer(&mut w), tos); // normal, uniform
        w.policy.ecn_compat = true;
        assert_eq!(outer(&mut w), tos & !3); // compatibility
        w.policy = Policy {
            pipe: Some(46),
            ..Policy::default()
        };
        assert_eq!(outer(&mut w), 46 << 2 | tos & 3); // pipe
    }
}

#[test]
fn what_is_not_tunnelled() {
    let mut w = world();
    // RFC 2003 3.1: TTL 0. 3.2: source is the tunnel's destination.
    assert_eq!(w.send_o(Outer { ttl: 0, ..UDP }, 0), Err(Why::TtlZero));
    assert_eq!(
        w.send_o(Outer { src: EXIT, ..UDP }, 0),
        Err(Why::ExitSource)
    );
    // The paper's address sharing: what this node originates itself is tunnelled.
    assert!(w.send_o(Outer { src: US, ..UDP }, 0).is_ok());
    assert_eq!(w.send_o(Outer { len: 65516, ..UDP }, 0), Err(Why::TooLong));
    assert!(w.send_o(Outer { len: 65515, ..UDP }, 0).is_ok());
}

#[test]
fn our_own_source_from_outside_is_refused_and_the_mark_does_not_go_on() {
    // The decisions, loops; RFC 2003 3.2. (source, marked as forwarded, outcome)
    let rows = [
        (US, true, Err(Why::OwnSource)),
        (US, false, Ok(())),
        (SRC, true, Ok(())),
        (SRC, false, Ok(())),
    ];
    for (src, forwarded, want) in rows {
        for flags in [0, ENCAP_M, ENCAP_G] {
            let mut mp = datagram(Outer { src, ..UDP });
            if forwarded {
                mp.set_flag(MSGFORWARDED);
            }
            assert_eq!(world().send(&mut mp, flags), want, "{src:x} {forwarded}");
            assert_eq!(mp.flag() != 0, want.is_err());
        }
    }
}

#[test]
fn too_big_for_the_tunnel() {
    // The decisions, "inner DF set and too big"; RFC 2003 5.1.
    let mut w = world();
    w.exit().set_bound(1400);
    assert!(
        w.send_o(
            Outer {
                df: true,
                len: 1380,
                ..UDP
            },
            0
        )
        .is_ok()
    );
    assert_eq!(
        w.send_o(
            Outer {
                df: true,
                len: 1381,
                ..UDP
            },
            0
        ),
        Err(Why::TooBig)
    );
    w.policy.df = Df::Always;
    // DF clear: the outer one may be fragmented, whatever the policy.
    let v = w.send_o(Outer { len: 1381, ..UDP }, 0).unwrap();
    assert_eq!(u16::from_be_bytes([v[6], v[7]]) & IP_DF, 0);
    // RFC 791 3.2: 68 bytes go through, even DF.
    w.exit().set_bound(68);
    let v = w
        .send_o(
            Outer {
                df: true,
                len: 68,
                ..UDP
            },
            0,
        )
        .unwrap();
    assert_eq!(u16::from_be_bytes([v[6], v[7]]) & IP_DF, 0);
    assert_eq!(
        w.send_o(
            Outer {
                df: true,
                len: 69,
                ..UDP
            },
            0
        ),
        Err(Why::TooBig)
    );
}

#[test]
fn nesting_is_bounded_and_the_same_tunnel_is_not_entered_twice() {
    // The decisions, loops: "an exit whose own route leads back into the tunnel".
    let mut w = world();
    let mut mp = datagram(Outer { src: US, ..UDP });
    w.send(&mut mp, 0).unwrap();
    assert_eq!(w.send(&mut mp, 0), Err(Why::Nesting));
    // Through ever other exits: as deep as the bound.
    for flags in [0, ENCAP_G] {
        let mut mp = datagram(UDP);
        let mut depth = 0;
        let mut x = ExitTable::default();
        let end = loop {
            let to = EXIT + 1 + depth;
            x.hold(to).unwrap();
            let h = Ipv4::of(&mut mp).unwrap();
            let r = encapsulate(
                &mut mp,
                &h,
                x.get(to).unwrap(),
                flags,
                US,
                &w.policy,
                &w.stats,
            );
            if r.is_err() {
                break r;
            }
            depth += 1;
        };
        assert_eq!((end, depth as usize), (Err(Why::Nesting), MAX_NESTING));
    }
    // Somebody else's tunnel inside ours is fine, however deep (RFC 2003 3.2).
    let mut inner = bytes(UDP);
    for i in 0..8 {
        let o = Outer {
            len: inner.len() as u16 + 20,
            proto: 4,
            src: SRC + i,
            ..UDP
        };
        inner = [o.bytes().to_vec(), inner].concat();
    }
    assert_eq!(w.send(&mut Msg::data(&inner), 0), Ok(()));
}

#[test]
fn duplicates_share_the_data_and_have_headers_of_their_own() {
    // The paper, section 2: "tunnel packets destined to a specific IP address to multiple
    // exit points".
    let mut w = world();
    let mut a = datagram(UDP);
    let mut b = a.dupmsg();
    w.send(&mut b, 0).unwrap();
    w.send(&mut a, ENCAP_G).unwrap();
    assert_eq!(b.to_vec()[20..], bytes(UDP));
    assert_eq!(a.to_vec()[24..], bytes(UDP));
    assert_eq!(b.rd().len(), 20);
    assert_eq!(b.headroom(), SPARE);
}

#[test]
fn gre_with_each_option() {
    // RFC 2784 2, RFC 2890 2: (checksum, key, sequence, flags, length)
    let rows = [
        (false, None, None, 0x00, 4),
        (true, None, None, 0x80, 8),
        (false, Some(0xdead_beef), None, 0x20, 8),
        (false, None, Some(9), 0x10, 8),
        (true, Some(1), Some(2), 0xb0, 16),
    ];
    for (sum, key, sequence, flags, len) in rows {
        let mut w = world();
        let o = GreOptions {
            checksum: sum,
            key,
            sequence: sequence.is_some(),
        };
        w.exit().set_gre(o);
        w.exit().begin_sequence(sequence.unwrap_or(0));
        let v = w.send_o(UDP, ENCAP_G).unwrap();
        assert_eq!(
            (v[9], v[20], v[21], &v[22..24]),
            (47, flags, 0, &[8, 0][..])
        );
        assert_eq!(v[20 + len..], bytes(UDP));
        assert_eq!(usize::from(Ipv4::read(&v).unwrap().len), v.len());
        assert_eq!(overhead(ENCAP_G, w.exit()) as usize, 20 + len);
        if sum {
            assert_eq!(checksum(&v[20..]), 0); // RFC 2784 2.1
        }
        if let Some(s) = sequence {
            assert_eq!(v[16 + len..20 + len], s.to_be_bytes());
            assert_eq!(w.exit().next_sequence(), s + 1);
        }
    }
}

#[test]
fn minimal_encapsulation_moves_addresses_and_protocol() {
    // RFC 2004 3: (original source, S, length of the minimal header)
    for (src, s, n) in [(SRC, 0x80, 12usize), (US, 0, 8)] {
        let inner = Outer {
            src,
            tos: 0xb9,
            ident: 0x55,
            df: true,
            ..UDP
        };
        let v = world().send_o(inner, ENCAP_M).unwrap();
        let h = Ipv4::read(&v).unwrap();
        assert_eq!(
            (h.proto, h.src, h.dst, h.len),
            (55, US, EXIT, 28 + n as u16)
        );
        assert_eq!((h.tos, h.ident, h.frag, h.ttl), (0xb9, 0x55, IP_DF, 17)); // all kept
        assert_eq!((v[20], v[21]), (17, s));
        assert_eq!(checksum(&v[20..20 + n]), 0);
        assert_eq!(v[24..28], DST.to_be_bytes());
        if s != 0 {
            assert_eq!(v[28..32], SRC.to_be_bytes());
        }
        assert_eq!(v[20 + n..], bytes(inner)[20..]);
    }
}

#[test]
fn a_fragment_goes_as_ipip_and_is_counted() {
    // The decisions, M; RFC 2004 section 1. (flags and offset, carried minimally)
    for (frag, minimal) in [
        (0u16, true),
        (IP_DF, true),
        (0x2000, false),
        (0x0001, false),
    ] {
        let mut w = world();
        let mut b = bytes(UDP);
        b[6..8].copy_from_slice(&frag.to_be_bytes());
        let mut mp = Msg::data(&b);
        w.send(&mut mp, ENCAP_M).unwrap();
        assert_eq!(mp.to_vec()[9], if minimal { 55 } else { 4 });
        assert_eq!(w.stats.minimal_as_ipip.get(), u64::from(!minimal));
    }
}

#[test]
fn options_stay_with_the_minimal_header_and_inside_the_others() {
    // RFC 2003 3.1: inner options are not copied. RFC 2004 3: the header keeps its own.
    let mut b = bytes(Outer { len: 32, ..UDP });
    b[0] = 0x46;
    b.splice(20..24, [1, 1, 1, 0]);
    b[10..12].fill(0);
    let c = checksum(&b[..24]);
    b[10..12].copy_from_slice(&c.to_be_bytes());
    let mut w = world();
    let mut mp = Msg::data(&b);
    w.send(&mut mp, 0).unwrap();
    assert_eq!((mp.to_vec()[0], &mp.to_vec()[20..]), (0x45, &b[..]));
    let mut mp = Msg::data(&b);
    w.send(&mut mp, ENCAP_M).unwrap();
    let v = mp.to_vec();
    assert_eq!((v[0], &v[20..24], v[24]), (0x46, &[1, 1, 1, 0][..], 17));
    assert_eq!(checksum(&v[..24]), 0);
}

fn v6(len: u16) -> Msg {
    let mut b = vec![0x6b, 0x90, 0, 0, 0, 0, 59, 9];
    b[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    b.resize(usize::from(len), 0);
    Msg::data(&b)
}

#[test]
fn ipv6_inside_ipv4_and_its_mtu_table() {
    // RFC 4213 3.2.2: (path MTU, length, outer DF or the refusal)
    let rows = [
        (1300, 1280, Ok(false)),        // room 1280 <= 1280: outer DF clear
        (1300, 1281, Err(Why::TooBig)), // and no more than 1280
        (576, 1280, Ok(false)),         // however small the path
        (1301, 1281, Ok(true)),         // room > 1280: outer DF set
        (1500, 1480, Ok(true)),
        (1500, 1481, Err(Why::TooBig)),
    ];
    for (pmtu, len, want) in rows {
        let w = world();
        w.exit().set_bound(pmtu);
        let mut mp = v6(len);
        let r = encapsulate_v6(&mut mp, w.exits.get(EXIT).unwrap(), 0, US, &w.policy);
        assert_eq!(r, want.map(|_| ()), "{pmtu} {len}");
        if let Ok(df) = want {
            let h = header(&mp);
            assert_eq!((h.proto, h.df(), h.len, h.tos), (41, df, len + 20, 0xb9));
        }
    }
    assert_eq!(
        embedded(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1, 0, 3]),
        Some(DST)
    ); // RFC 1933
    assert_eq!(
        embedded(&[0x20, 2, 10, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        Some(DST)
    ); // RFC 3056
    assert_eq!(
        embedded(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        None
    );
}

proptest! {
    /// Whatever comes, there is no panic, and a refused datagram is as it was.
    #[test]
    fn anything_is_encapsulated_or_refused(
        mut b in prop::collection::vec(any::<u8>(), 0..120), ip: bool, flags: u16, src in 0u32..3, bound in 68u16..200,
    ) {
        if ip && b.len() >= 20 {
            b[0] = 0x45;
            let n = b.len() as u16;
            b[2..4].copy_from_slice(&n.to_be_bytes());
            b[9] = [4, 47, 55, 41, 17][usize::from(b[9]) % 5];
            b[12..16].copy_from_slice(&[US, SRC, EXIT][src as usize].to_be_bytes());
        }
        let mut w = world();
        w.exit().set_bound(bound);
        let mut mp = Msg::data(&b);
        if w.send(&mut mp, flags).is_err() && ip {
            prop_assert_eq!(&mp.to_vec(), &b);
        } else if ip && b.len() >= 20 {
            let v = mp.to_vec();
            prop_assert_eq!(checksum(&v[..20]), 0);
            prop_assert_eq!(usize::from(Ipv4::read(&v).unwrap().len), v.len());
        }
        let mut mp = Msg::data(&b);
        let _ = encapsulate_v6(&mut mp, w.exits.get(EXIT).unwrap(), flags, US, &w.policy);
    }
}
