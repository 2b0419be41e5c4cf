//! Decapsulation, rule by rule.

use super::*;
use crate::decap_table::{DECAP_IF_DST, DecapTable};
use crate::encap::{Policy, encapsulate};
use crate::encap_table::{ENCAP_G, ENCAP_M};
use crate::header::Outer;
use crate::prefix_map::Key;
use crate::testing::*;
use crate::texit_table::{ExitTable, GreOptions};
use proptest::prelude::*;

struct World {
    table: DecapTable,
    exits: ExitTable,
    stats: Stats,
}

/// A far end that decapsulates all.
fn open() -> World {
    let mut exits = ExitTable::default();
    exits.hold(US).unwrap();
    let mut table = DecapTable::default();
    table.set_all(true);
    World {
        table,
        exits,
        stats: Stats::default(),
    }
}

impl World {
    fn take(&mut self, mp: &mut Msg) -> Result<Inner, Why> {
        let outer = Ipv4::of(mp)?;
        let (table, exits) = (self.table.view(), self.exits.view());
        decapsulate(mp, &outer, &table, &exits, &self.stats)
    }
    fn take_bytes(&mut self, b: &[u8]) -> Result<Vec<u8>, Why> {
        let mut mp = Msg::data(b);
        self.take(&mut mp).map(|_| mp.to_vec())
    }
}

/// What the near end makes of a datagram.
fn tunnelled(o: Outer, flags: u16, gre: Option<GreOptions>) -> Vec<u8> {
    tunnelled_at(o, flags, gre, 0)
}

/// The same with this sequence number.
fn tunnelled_at(o: Outer, flags: u16, gre: Option<GreOptions>, sequence: u32) -> Vec<u8> {
    let mut x = ExitTable::default();
    x.hold(EXIT).unwrap();
    let x = x.get(EXIT).unwrap();
    x.set_gre(gre.unwrap_or_default());
    x.begin_sequence(sequence);
    let mut mp = datagram(o);
    let h = Ipv4::of(&mut mp).unwrap();
    encapsulate(
        &mut mp,
        &h,
        x,
        flags,
        US,
        &Policy::default(),
        &Stats::default(),
    )
    .unwrap();
    mp.to_vec()
}

fn wrap(inner: &[u8], tos: u8) -> Vec<u8> {
    let o = Outer {
        tos,
        len: inner.len() as u16 + 20,
        proto: 4,
        src: US,
        dst: EXIT,
        ..UDP
    };
    [&o.bytes()[..], inner].concat()
}

#[test]
fn each_encapsulation_comes_back_as_it_went_whatever_the_blocks() {
    let gre = GreOptions {
        checksum: true,
        key: Some(5),
        sequence: true,
    };
    let ways = [
        (0, None),
        (ENCAP_M, None),
        (ENCAP_G, None),
        (ENCAP_G, Some(gre)),
    ];
    for (flags, gre) in ways {
        for df in [true, false] {
            let o = Outer {
                df,
                tos: 0xba,
                len: 61,
                ..UDP
            };
            for mut mp in cut(&tunnelled(o, flags, gre)) {
                let mut w = open();
                assert_eq!(w.take(&mut mp), Ok(Inner::V4(61)));
                assert_eq!(mp.to_vec(), bytes(o));
                assert!(!mp.is_empty());
            }
        }
    }
}

#[test]
fn figure_4_of_rfc_6040() {
    const D: u8 = 9; // drop
    // Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer the same.
    let order = [0u8, 2, 1, 3];
    let table = [[0, 0, 0, D], [2, 2, 1, 3], [1, 1, 1, 3], [3, 3, 3, 3]];
    let alarm = [[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]];
    for (i, inner) in order.into_iter().enumerate() {
        for (j, outer) in order.into_iter().enumerate() {
            let want = table[i][j];
            let mut w = open();
            let got = w.take_bytes(&wrap(
                &bytes(Outer {
                    tos: 0xb8 | inner,
                    ..UDP
                }),
                outer,
            ));
            assert_eq!(
                w.stats.ecn_alarms.get(),
                alarm[i][j],
                "alarm {inner} {outer}"
            );
            match got {
                Err(why) => assert_eq!((want, why), (D, Why::EcnMarked)),
                Ok(v) => {
                    assert_eq!(v[1], 0xb8 | want, "{inner} {outer}");
                    assert_eq!(checksum(&v[..20]), 0);
                }
            }
        }
    }
}

#[test]
fn an_inner_datagram_that_is_not_sound_is_refused() {
    // RFC 2003 3.1, RFC 791 3.1: (what is wrong, why)
    let sound = bytes(UDP);
    type Break = fn(&mut Vec<u8>);
    let rows: [(Break, Why); 6] = [
        (|b| b[0] = 0x65, Why::Malformed),
        (|b| b[0] = 0x44, Why::Malformed),
        (|b| b[3] = 29, Why::Malformed),
        (|b| b.truncate(19), Why::Malformed),
        (|b| b[10] ^= 1, Why::InnerChecksum),
        (|b| set_byte(b, 8, 0), Why::TtlZero),
    ];
    for (i, (spoil, why)) in rows.into_iter().enumerate() {
        let mut b = sound.clone();
        spoil(&mut b);
        assert_eq!(open().take_bytes(&wrap(&b, 0)), Err(why), "row {i}");
    }
    // Bytes behind the inner datagram are cut off.
    let padded = [&sound[..], &[0; 9]].concat();
    assert_eq!(open().take_bytes(&wrap(&padded, 0)), Ok(sound));
}

#[test]
fn only_whom_the_table_serves_from_whom_it_takes() {
    // The paper, section 2: selective decapsulation. RFC 2003 6.2: sources.
    let b = wrap(&bytes(UDP), 0);
    let mut w = open();
    w.table = DecapTable::default();
    assert_eq!(w.take_bytes(&b), Err(Why::NotServed));
    w.table.add(Key::host(DST), DECAP_IF_DST).unwrap();
    assert_eq!(w.take_bytes(&b), Ok(bytes(UDP)));
    w.table.add_source(Key::host(SRC));
    assert_eq!(w.take_bytes(&b), Err(Why::Stranger));
    w.table.add_source(Key::host(US));
    assert_eq!(w.take_bytes(&b), Ok(bytes(UDP)));
    // A tunnel of another kind serves the same hosts.
    for flags in [ENCAP_M, ENCAP_G] {
        assert_eq!(w.take_bytes(&tunnelled(UDP, flags, None)), Ok(bytes(UDP)));
        let o = Outer {
            dst: DST + 1,
            ..UDP
        };
        assert_eq!(
            w.take_bytes(&tunnelled(o, flags, None)),
            Err(Why::NotServed)
        );
    }
    assert_eq!(
        w.take_bytes(&bytes(Outer { src: US, ..UDP })),
        Err(Why::Protocol)
    );
}

#[test]
fn gre_headers_that_are_not_understood() {
    // RFC 2784 2.3 (reserved bits, version), 2.4 (payload): (byte, value, why)
    let rows = [
        (20, 0x40, Why::GreRouting), // RFC 1701
        (20, 0x08, Why::GreHeader),  // strict source route
        (20, 0x04, Why::GreHeader),  // bit 5
        (21, 0x01, Why::GreHeader),  // version 1: PPTP
        (22, 0x88, Why::GreHeader),  // no IP inside
    ];
    let sound = tunnelled(UDP, ENCAP_G, None);
    for (at, v, why) in rows {
        let mut b = sound.clone();
        b[at] = v;
        assert_eq!(open().take_bytes(&b), Err(why), "byte {at}");
    }
    let mut b = sound.clone();
    b[20] = 3; // bits 6 and 7: ignored on receipt
    assert_eq!(open().take_bytes(&b), Ok(bytes(UDP)));
    let o = GreOptions {
        checksum: true,
        ..GreOptions::default()
    };
    let mut b = tunnelled(UDP, ENCAP_G, Some(o));
    *b.last_mut().unwrap() ^= 1;
    assert_eq!(open().take_bytes(&b), Err(Why::GreChecksum));
    // RFC 2784 3.1: the payload's destination is who encapsulated it.
    assert_eq!(
        open().take_bytes(&tunnelled(Outer { dst: US, ..UDP }, ENCAP_G, None)),
        Err(Why::GreLoop)
    );
}

#[test]
fn gre_keys_and_sequence_numbers() {
    // RFC 2890 2.1, 2.2
    let with = |key, sequence: Option<u32>| {
        let o = GreOptions {
            key,
            sequence: sequence.is_some(),
            ..GreOptions::default()
        };
        tunnelled_at(UDP, ENCAP_G, Some(o), sequence.unwrap_or(0))
    };
    let mut w = open();
    let o = GreOptions {
        key: Some(7),
        sequence: true,
        ..GreOptions::default()
    };
    w.exits.get(US).unwrap().set_gre(o);
    assert_eq!(w.take_bytes(&with(None, None)), Err(Why::GreHeader));
    assert_eq!(w.take_bytes(&with(Some(8), Some(1))), Err(Why::GreHeader));
    for (seq, ok) in [
        (5, true),
        (6, true),
        (6, false),
        (5, false),
        (8, true),
        (u32::MAX, false),
    ] {
        assert_eq!(w.take_bytes(&with(Some(7), Some(seq))).is_ok(), ok, "{seq}");
    }
}

#[test]
fn minimal_headers_that_are_not_sound() {
    // RFC 2004 3: the checksum covers the minimal header.
    let mut b = tunnelled(UDP, ENCAP_M, None);
    b[24] ^= 1;
    assert_eq!(open().take_bytes(&b), Err(Why::MinimalChecksum));
    let o = Outer {
        len: 27,
        proto: 55,
        src: US,
        ..UDP
    };
    assert_eq!(open().take_bytes(&bytes(o)), Err(Why::Malformed));
    // Reserved bits are ignored on receipt.
    let mut b = tunnelled(UDP, ENCAP_M, None);
    b[21] |= 0x7f;
    b[22..24].fill(0);
    let c = checksum(&b[20..32]);
    b[22..24].copy_from_slice(&c.to_be_bytes());
    assert_eq!(open().take_bytes(&b), Ok(bytes(UDP)));
}

#[test]
fn ipv6_comes_out_unless_its_source_is_nobody() {
    // RFC 4213 3.6; RFC 6040 for the traffic class.
    let v6 = |src: [u8; 16]| {
        let mut b = vec![0x60, 0x20, 0, 0, 0, 4, 59, 9];
        b.extend_from_slice(&src);
        b.extend_from_slice(&[0x20, 2, 10, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        b.extend_from_slice(b"data");
        let o = Outer {
            tos: 3,
            len: 64,
            proto: 41,
            src: US,
            dst: EXIT,
            ..UDP
        };
        [&o.bytes()[..], &b].concat()
    };
    let a = |a: u16, b: u16, c: u32| {
        let mut v = [0u8; 16];
        v[..2].copy_from_slice(&a.to_be_bytes());
        v[10..12].copy_from_slice(&b.to_be_bytes());
        v[12..].copy_from_slice(&c.to_be_bytes());
        v
    };
    let ok = open().take_bytes(&v6(a(0x2001, 0, 9))).unwrap();
    assert_eq!(
        (ok.len(), ok[0] << 4 | ok[1] >> 4),
        (44, 3),
        "ECT(0) and CE: CE"
    );
    for bad in [
        a(0xff02, 0, 1),
        a(0, 0, 1),
        a(0, 0xffff, SRC),
        a(0, 0, 0x7f00_0001),
        a(0, 0, u32::MAX),
    ] {
        assert_eq!(open().take_bytes(&v6(bad)), Err(Why::Martian));
    }
    let mut w = open();
    w.table = DecapTable::default();
    assert_eq!(w.take_bytes(&v6(a(0x2001, 0, 9))), Err(Why::NotServed));
    w.table.add(Key::host(DST), DECAP_IF_DST).unwrap();
    assert!(
        w.take_bytes(&v6(a(0x2001, 0, 9))).is_ok(),
        "6to4 destination"
    );
}

proptest! {
    /// Whatever comes out of the network, in whatever blocks: an answer, no panic.
    #[test]
    fn anything_is_taken_apart_or_refused(
        mut b in prop::collection::vec(any::<u8>(), 20..140), proto in prop::sample::select(vec![4u8, 47, 55, 41]),
        inner: bool, at in 0usize..140,
    ) {
        b[0] = 0x45;
        let n = b.len() as u16;
        b[2..4].copy_from_slice(&n.to_be_bytes());
        b[9] = proto;
        if inner && b.len() > 24 {
            b[20] = match proto { 4 => 0x45, 41 => 0x60, 47 => b[20] & 0xb0, _ => b[20] };
        }
        // The short way takes what the long one takes, and makes the same of it.
        let mut w = open();
        let mut mp = Msg::data(&b);
        if plain(&mut mp, &w.table.view()) {
            prop_assert_eq!(w.take_bytes(&b), Ok(mp.to_vec()));
        }
        let at = at.min(b.len());
        let mut mp = Msg::data(&b[..at]);
        mp.linkb(Msg::data(&b[at..]));
        if open().take(&mut mp).is_ok() {
            prop_assert!(mp.msgsize() < b.len());
        }
    }

    /// In and out again is the identity, for all encapsulations and lengths.
    #[test]
    fn a_tunnel_changes_nothing(len in 20u16..1400, tos: u8, ident: u16, df: bool, ttl in 1u8.., proto: u8, m: bool, g: bool) {
        let flags = if m { ENCAP_M } else { 0 } | if g { ENCAP_G } else { 0 };
        let o = Outer { tos, len, ident, df, ttl, proto, ..UDP };
        let outer = tunnelled(o, flags, None);
        prop_assert_eq!(open().take_bytes(&outer), Ok(bytes(o)));
        let mut mp = Msg::data(&outer);
        prop_assert_eq!(plain(&mut mp, &open().table.view()), outer[9] == IPPROTO_ENCAP);
        prop_assert!(outer[9] != IPPROTO_ENCAP || mp.to_vec() == bytes(o));
    }
}
