//! Soft state and relaying, row by row.

use super::*;
use crate::encap::{Policy, encapsulate};
use crate::encap_table::{ENCAP_G, ENCAP_M};
use crate::testing::*;
use crate::texit_table::{EXIT_PMTU_LEARNED, ExitTable, STATE_AGE};
use proptest::prelude::*;

const T: Duration = Duration::from_secs(5000);

struct World {
    exits: ExitTable,
    stats: Stats,
    limiter: Limiter,
}

fn world() -> World {
    let mut exits = ExitTable::default();
    exits.hold(EXIT).unwrap();
    World {
        exits,
        stats: Stats::default(),
        limiter: Limiter::default(),
    }
}

impl World {
    /// Sends `o` through the tunnel and hears `ty`/`code` about it, quoting `n` bytes.
    fn about(
        &mut self,
        o: Outer,
        flags: u16,
        ty: u8,
        code: u8,
        word: u32,
        n: usize,
    ) -> Option<Vec<u8>> {
        let mut mp = datagram(o);
        let h = Ipv4::of(&mut mp).unwrap();
        let x = self.exits.get(EXIT).unwrap();
        encapsulate(&mut mp, &h, x, flags, US, &Policy::default(), &self.stats).unwrap();
        let quote = mp.to_vec();
        let router = Ipv4 {
            src: US,
            ..header(&mp)
        };
        let e = icmp_error(
            0x0909_0909,
            &router,
            &quote[..n.min(quote.len())],
            ty,
            code,
            word,
            1,
        );
        heard(
            &e,
            US,
            &self.exits.view(),
            &self.stats,
            &mut self.limiter,
            T,
        )
        .map(|m| m.to_vec())
    }
    fn state(&self) -> u16 {
        self.exits.get(EXIT).unwrap().path().state
    }
}

const DF: Outer = Outer {
    df: true,
    len: 60,
    ..UDP
};

#[test]
fn the_relaying_table_of_rfc_2003_section_4() {
    use Relay::*;
    // (type, code, pointer, relayed as)
    let rows = [
        (3, 0, 0, Unreach(0)),  // 4.1 network
        (3, 1, 0, Unreach(1)),  // 4.1 host
        (3, 2, 0, Unreach(0)),  // 4.1 protocol: never code 2
        (3, 3, 0, No),          // 4.1 port: MUST NOT
        (3, 4, 0, TooBig),      // 4.1 MUST
        (3, 5, 0, No),          // 4.1 source route failed: MUST NOT
        (3, 13, 0, Unreach(0)), // not covered
        (4, 0, 0, No),          // 4.2 source quench
        (5, 1, 0, No),          // 4.3 redirect: MUST NOT
        (11, 0, 0, Unreach(1)), // 4.4 MUST, as host unreachable
        (11, 1, 0, Unreach(1)),
        (12, 0, 1, Parameter(1)),  // 4.5 TOS, copied from the inner header
        (12, 0, 8, No),            // 4.5 our own field
        (12, 0, 20, Parameter(0)), // 4.5 the inner header itself
        (12, 0, 28, Parameter(8)),
        (12, 1, 0, No),
        (8, 0, 0, No), // 4.6
    ];
    for (ty, code, pointer, want) in rows {
        assert_eq!(
            relay(ty, code, pointer, 20),
            want,
            "{ty}/{code} at {pointer}"
        );
    }
}

#[test]
fn the_state_bits_of_each_error() {
    let rows = [
        (3, 0, EXIT_NET_UNREACH),
        (3, 1, EXIT_HOST_UNREACH),
        (3, 2, EXIT_PROTO_UNREACH),
        (3, 3, 0),
        (3, 4, 0),
        (3, 5, EXIT_NET_UNREACH),
        (3, 13, EXIT_NET_UNREACH),
        (4, 0, EXIT_CONGESTED),
        (5, 0, 0),
        (11, 0, EXIT_TTL_EXCEEDED),
        (11, 1, 0),
        (12, 0, 0),
    ];
    for (ty, code, bits) in rows {
        let mut w = world();
        w.about(DF, 0, ty, code, 0x05000000, 28);
        assert_eq!(w.state() & !EXIT_PMTU_LEARNED, bits, "{ty}/{code}");
        assert_eq!(w.stats.icmp_heard.get(), 1);
        let x = w.exits.get(EXIT).unwrap();
        x.age(T + STATE_AGE); // RFC 2003 section 5: soft
        assert_eq!(x.path().state & !EXIT_PMTU_LEARNED, 0);
    }
}

#[test]
fn an_error_reaches_the_inner_source_if_the_quote_does() {
    // RFC 2003 4: 28 quoted bytes (RFC 792) do not reach the inner addresses.
    for (flags, around) in [(0u16, 20usize), (ENCAP_G, 24), (ENCAP_M, 20)] {
        let mut w = world();
        assert_eq!(w.about(DF, flags, 3, 1, 0, 28), None);
        assert_eq!(w.state(), EXIT_HOST_UNREACH);
        let v = w.about(DF, flags, 3, 1, 0, 548).unwrap();
        let h = Ipv4::read(&v).unwrap();
        assert_eq!(
            (h.src, h.dst, h.proto, h.len),
            (US, SRC, 1, 28 + 60),
            "around {around}"
        );
        assert_eq!((v[20], v[21]), (3, 1));
        assert_eq!((checksum(&v[..20]), checksum(&v[20..])), (0, 0));
        assert_eq!(v[28..], bytes(DF)); // the outer header is gone
    }
}

#[test]
fn fragmentation_needed_lowers_the_tunnel_mtu_and_tells_the_source() {
    // RFC 2003 4.1 and 5.1, RFC 1191: (flags, bytes added)
    for (flags, over) in [(0u16, 20u32), (ENCAP_G, 24), (ENCAP_M, 12)] {
        let mut w = world();
        let o = Outer { len: 1400, ..DF };
        let v = w.about(o, flags, 3, 4, 1300, 548).unwrap();
        assert_eq!((v[20], v[21]), (3, 4));
        assert_eq!(
            u32::from_be_bytes([v[24], v[25], v[26], v[27]]),
            1300 - over
        );
        let x = w.exits.get(EXIT).unwrap();
        assert_eq!((x.pmtu(), x.path().state), (1300, EXIT_PMTU_LEARNED));
        // An old router tells no MTU: the next plateau below.
        let mut w = world();
        w.about(o, flags, 3, 4, 0, 28);
        assert_eq!(w.exits.get(EXIT).unwrap().pmtu(), 1006);
        // Whose DF is clear is not told.
        assert_eq!(
            w.about(Outer { len: 900, ..UDP }, flags, 3, 4, 800, 548),
            None
        );
        assert_eq!(w.exits.get(EXIT).unwrap().pmtu(), 800);
    }
}

#[test]
fn errors_about_what_we_did_not_send_are_ignored() {
    let mut w = world();
    let h = header(&datagram(DF));
    let strange = Outer {
        len: 48,
        proto: 4,
        src: US + 1,
        dst: EXIT,
        ..UDP
    };
    let unknown = Outer {
        len: 48,
        proto: 4,
        src: US,
        dst: EXIT + 1,
        ..UDP
    };
    for o in [strange, unknown] {
        let e = icmp_error(9 << 24, &h, &bytes(o), 3, 1, 0, 1);
        assert!(heard(&e, US, &w.exits.view(), &w.stats, &mut w.limiter, T).is_none());
    }
    assert_eq!((w.state(), w.stats.icmp_heard.get()), (0, 0));
}

#[test]
fn who_is_never_answered() {
    // RFC 1812 4.3.2.7
    let ok = header(&datagram(DF));
    assert!(may_answer(&ok, &bytes(DF)));
    for src in [0, 0x7f00_0001, 0xe000_0001, u32::MAX, 0xf000_0001] {
        assert!(!may_answer(&Ipv4 { src, ..ok }, &bytes(DF)), "{src:x}");
    }
    for dst in [0xe000_0001, u32::MAX] {
        assert!(!may_answer(&Ipv4 { dst, ..ok }, &bytes(DF)));
    }
    assert!(
        !may_answer(&Ipv4 { frag: 3, ..ok }, &bytes(DF)),
        "a later fragment"
    );
    let icmp = Outer { proto: 1, ..DF };
    let h = header(&datagram(icmp));
    for (ty, may) in [
        (8, true),
        (0, true),
        (3, false),
        (4, false),
        (5, false),
        (11, false),
        (12, false),
    ] {
        let mut b = bytes(icmp);
        b[20] = ty;
        assert_eq!(may_answer(&h, &b), may, "type {ty}");
    }
}

#[test]
fn a_hundred_errors_a_second() {
    // RFC 1812 4.3.2.8
    let mut w = world();
    let sent = (0..500)
        .filter(|_| w.about(DF, 0, 3, 1, 0, 548).is_some())
        .count();
    assert_eq!((sent, w.stats.icmp_limited.get()), (100, 400));
    assert!(w.limiter.allow(T + Duration::from_millis(10)));
    assert!(!w.limiter.allow(T + Duration::from_millis(10)));
    assert!(w.limiter.allow(T + Duration::from_secs(3600)));
}

#[test]
fn the_quote_is_as_long_as_576_bytes_allow() {
    // RFC 1812 4.3.2.3
    let v = world()
        .about(
            Outer {
                len: 1400,
                df: true,
                ..UDP
            },
            0,
            3,
            1,
            0,
            1420,
        )
        .unwrap();
    assert!(v.len() <= 576);
}

proptest! {
    #[test]
    fn any_m_ctl_is_read_without_a_panic(b in prop::collection::vec(any::<u8>(), 0..120), near: bool) {
        let mut w = world();
        let mut b = b;
        if near && b.len() > 60 {
            b[0] = 0x45;
            b[2] = 0xff;
            b[28] = 0x45;
            b[30] = 0xff;
            b[37] = [4, 47, 55, 41][usize::from(b[37] & 3)];
            b[40..44].copy_from_slice(&US.to_be_bytes());
            b[44..48].copy_from_slice(&EXIT.to_be_bytes());
        }
        if let Some(m) = heard(&Msg::data(&b), US, &w.exits.view(), &w.stats, &mut w.limiter, T) {
            prop_assert!(m.msgsize() <= 576);
        }
    }
}

/// RFC 4213 sections 3.2.2 and 3.4: the source of an IPv6 datagram is told by ICMPv6.
#[test]
fn errors_about_ipv6_inside_are_told_as_icmpv6() {
    // Type, code, MTU; the datagram's length; the flags, the ICMPv6 type, code and MTU.
    let rows = [
        (3, 4, 1400, 1480, 0, Some((2, 0, 1380))),
        (3, 4, 1400, 1480, ENCAP_G, Some((2, 0, 1376))),
        (3, 4, 1000, 1480, 0, Some((2, 0, 1280))),
        (3, 4, 1000, 1280, 0, None), // the next one goes in fragments
        (3, 1, 0, 100, 0, Some((1, 3, 0))),
        (3, 1, 0, 100, ENCAP_G, Some((1, 3, 0))),
        (3, 3, 0, 100, 0, None),
        (11, 0, 0, 100, 0, Some((1, 3, 0))),
        (4, 0, 0, 100, 0, None),
    ];
    for (ty, code, mtu, len, flags, told) in rows {
        let mut w = world();
        let mut b = vec![0x60, 0, 0, 0, 0, 0, 17, 9];
        b[4..6].copy_from_slice(&(len - 40u16).to_be_bytes());
        b.resize(usize::from(len), 0);
        b[8..10].copy_from_slice(&[0x20, 1]);
        let mut mp = Msg::data(&b);
        let x = w.exits.get(EXIT).unwrap();
        crate::encap::encapsulate_v6(&mut mp, x, flags, US, &Policy::default()).unwrap();
        let router = Ipv4 {
            src: US,
            ..header(&mp)
        };
        let quote = mp.to_vec();
        let e = icmp_error(0x0909_0909, &router, &quote, ty, code, mtu, 1);
        let got = heard(&e, US, &w.exits.view(), &w.stats, &mut w.limiter, T).map(|m| m.to_vec());
        let seen = got.map(|g| {
            let mtu = u32::from_be_bytes([g[44], g[45], g[46], g[47]]);
            (g[40], g[41], mtu)
        });
        assert_eq!(seen, told, "{ty} {code} {mtu} {len} {flags}");
    }
}
