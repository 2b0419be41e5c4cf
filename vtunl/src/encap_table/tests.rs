//! ENCAP_ADD, ENCAP_REM and look-up, row by row, and against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::prefix_map::prefix_mask;

const MH1: u32 = 0x0a01_0001;
const MH3: u32 = 0x0a01_0003;
const FA1: u32 = 0xc0a8_0101;
const FA2: u32 = 0xc0a8_0201;
const FA3: u32 = 0xc0a8_0301;

fn exits_of(t: &EncapTable, x: &ExitTable, dst: u32) -> Vec<(u32, u16)> {
    let Some(hit) = t.lookup(dst) else {
        return Vec::new();
    };
    t.exits(hit)
        .map(|(id, f)| (x.at(id).unwrap().addr(), f))
        .collect()
}

#[test]
fn figure_3_shares_the_exits() {
    // The paper, Figure 3: MH1, MH4 to FA2; MH2 to FA3; MH3 to FA1 and FA2.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let pairs = [(1, FA2), (2, FA3), (3, FA1), (3, FA2), (4, FA2)];
    for (mh, fa) in pairs {
        t.add(&mut x, Key::host(0x0a01_0000 + mh), fa, ENCAP_S)
            .unwrap();
    }
    assert_eq!((t.len(), x.len()), (4, 3));
    assert_eq!(x.find(FA2).map(|id| x.refs(id)), Some(3));
    assert_eq!(exits_of(&t, &x, MH3), [(FA1, ENCAP_S), (FA2, ENCAP_S)]);
}

#[test]
fn without_s_the_exits_are_replaced_with_s_they_are_retained() {
    // The paper, section 3: "If the S bit is set, prior mobility bindings are retained."
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let k = Key::host(MH1);
    assert_eq!(t.add(&mut x, k, FA1, 0), Ok(vec![]));
    assert_eq!(t.add(&mut x, k, FA2, ENCAP_S), Ok(vec![]));
    assert_eq!(t.add(&mut x, k, FA3, 0), Ok(vec![FA1, FA2]));
    assert_eq!(exits_of(&t, &x, MH1), [(FA3, 0)]);
    assert_eq!(x.len(), 1);
}

#[test]
fn the_same_pair_again_updates_its_flags() {
    // The decisions, ENCAP_ADD; the exit keeps what it has learned.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let k = Key::host(MH1);
    t.add(&mut x, k, FA1, 0).unwrap();
    x.get(FA1).unwrap().set_bound(900);
    t.add(&mut x, k, FA2, ENCAP_S).unwrap();
    t.add(&mut x, k, FA1, ENCAP_S | ENCAP_G).unwrap();
    assert_eq!(
        exits_of(&t, &x, MH1),
        [(FA1, ENCAP_S | ENCAP_G), (FA2, ENCAP_S)]
    );
    assert_eq!(t.add(&mut x, k, FA1, ENCAP_M), Ok(vec![FA2]));
    assert_eq!(exits_of(&t, &x, MH1), [(FA1, ENCAP_M)]);
    assert_eq!(x.find(FA1).map(|id| x.refs(id)), Some(1));
    assert_eq!(x.get(FA1).map(|e| e.path().maxpmtu), Some(900));
}

#[test]
fn the_ninth_exit_is_enospc_and_changes_nothing() {
    // The decisions, MAXEXITCOUNT.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let k = Key::host(MH1);
    for i in 0..8 {
        t.add(&mut x, k, FA1 + i, ENCAP_S).unwrap();
    }
    let before = exits_of(&t, &x, MH1);
    assert_eq!(t.add(&mut x, k, FA3, ENCAP_S), Err(Errno::ENOSPC));
    assert_eq!(exits_of(&t, &x, MH1), before);
    assert_eq!(x.len(), 8);
    t.add(&mut x, k, FA1 + 7, ENCAP_S | ENCAP_B).unwrap(); // one of the eight: fine
    t.add(&mut x, k, FA3, 0).unwrap(); // replaces all
    assert_eq!(x.len(), 1);
}

#[test]
fn removal_of_a_pair_a_target_and_all() {
    // The paper, Table 3, VTUNL_ENCAP_REM.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    for (mh, fa) in [(MH1, FA1), (MH1, FA2), (MH3, FA1), (DEFAULT_ADDR, FA3)] {
        t.add(&mut x, Key::host(mh), fa, ENCAP_S).unwrap();
    }
    assert_eq!(
        t.remove_exit(&mut x, Key::host(MH1), FA3),
        Err(Errno::ENXIO)
    );
    assert_eq!(t.remove_exit(&mut x, Key::host(9), FA1), Err(Errno::ENXIO));
    t.remove_exit(&mut x, Key::host(MH1), FA1).unwrap();
    assert_eq!(exits_of(&t, &x, MH1), [(FA2, ENCAP_S)]);
    // The last exit takes the target with it: the default entry serves from now on.
    t.remove_exit(&mut x, Key::host(MH1), FA2).unwrap();
    assert_eq!(exits_of(&t, &x, MH1), [(FA3, ENCAP_S)]);
    assert_eq!(t.remove(&mut x, Key::host(MH3)), Ok(vec![FA1]));
    assert_eq!(t.remove(&mut x, Key::host(MH3)), Err(Errno::ENXIO));
    t.remove(&mut x, DEFAULT_KEY).unwrap();
    assert!(t.is_empty() && x.is_empty());
}

#[test]
fn own_address_then_longest_prefix_then_default() {
    // The decisions, look-up; the paper, section 5, netmasks.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let key = |a, m| Key::masked(a, m).unwrap();
    t.add(&mut x, DEFAULT_KEY, FA1, 0).unwrap();
    t.add(&mut x, key(0x0a00_0000, 0xff00_0000), FA2, 0)
        .unwrap();
    t.add(&mut x, key(0x0a01_0000, 0xffff_0000), FA3, 0)
        .unwrap();
    t.add(&mut x, Key::host(MH1), FA3 + 1, 0).unwrap();
    for (dst, exit) in [
        (MH1, FA3 + 1),
        (MH3, FA3),
        (0x0a02_0001, FA2),
        (0x0b00_0001, FA1),
    ] {
        assert_eq!(exits_of(&t, &x, dst), [(exit, 0)], "{dst:x}");
    }
    assert_eq!(t.view().lookup_heard(0x0b00_0001), None);
    t.remove(&mut x, key(0x0a01_0000, 0xffff_0000)).unwrap();
    assert_eq!(exits_of(&t, &x, MH3), [(FA2, 0)]);
    t.remove(&mut x, DEFAULT_KEY).unwrap();
    assert_eq!(t.lookup(0x0b00_0001), None);
}

#[test]
fn default_addr_is_no_address_that_a_datagram_goes_to() {
    // The decisions, DEFAULT_ADDR: neither unicast, multicast, nor a broadcast.
    let d = DEFAULT_ADDR;
    assert!(d != 0 && d != u32::MAX);
    assert!(d >> 28 == 0xf, "class E: neither unicast nor multicast");
    for len in 1..=31 {
        assert!(
            d & !prefix_mask(len) != !prefix_mask(len),
            "broadcast of a /{len}"
        );
    }
}

#[test]
fn targets_that_want_broadcasts_are_found_by_subnet() {
    // The decisions, B; RFC 2002 4.3.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    for (mh, flags) in [
        (MH1, ENCAP_B),
        (MH3, ENCAP_B | ENCAP_D),
        (0x0a01_0004, 0),
        (0x0b01_0001, ENCAP_B),
    ] {
        t.add(&mut x, Key::host(mh), FA1, flags).unwrap();
    }
    let found = |t: &EncapTable| -> Vec<u32> {
        t.view()
            .wanting_broadcasts(0x0a01_0077, 0xffff_ff00)
            .map(|(a, _)| a)
            .collect()
    };
    assert_eq!(found(&t), [MH1, MH3]);
    t.add(&mut x, Key::host(MH1), FA1, 0).unwrap();
    t.remove(&mut x, Key::host(MH3)).unwrap();
    assert!(found(&t).is_empty());
}

#[test]
fn a_million_targets_with_eight_exits_are_compact() {
    // Issue: memory per target. 16 a place, of which half are used at least; 4 in order.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let n = 100_000; // the million is in the benchmarks; the shape is the same
    for i in 0..n {
        for e in 0..8 {
            t.add(&mut x, Key::host(0x0a00_0000 + i), FA1 + e, ENCAP_S)
                .unwrap();
        }
        // Nobody looks at sets that are gone.
        t.take_freed().into_iter().for_each(|set| t.give_back(set));
    }
    assert_eq!((t.len(), x.len()), (n as usize, 8));
    let each = t.bytes() / n as usize;
    assert!(each <= 40, "{each} bytes");
}

#[test]
fn counts_go_on_where_a_targets_own_would_overflow() {
    // VTUNL_ENCAP_GETX tells datagrams and octets in 64 bits.
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let net = Key::masked(0x0a01_0000, 0xffff_0000).unwrap();
    t.add(&mut x, net, FA1, 0).unwrap();
    t.add(&mut x, DEFAULT_KEY, FA1, 0).unwrap();
    let mut carried = 0;
    let view = t.view();
    let none = std::iter::empty;
    for _ in 0..100_000 {
        for dst in [MH1, 0x0b00_0001] {
            let (target, _) = view.serve(dst).unwrap();
            if target.count(65_515) {
                view.carry(dst);
                carried += 1;
            }
        }
    }
    assert_eq!(carried, 2 * (100_000 / (CARRY / 65_515 + 1)));
    let want = (100_000, 100_000 * 65_515);
    assert_eq!(
        (t.counts(net, none()), t.counts(DEFAULT_KEY, none())),
        (want, want)
    );
    // Another exit changes nothing; a target that goes takes its count along.
    t.add(&mut x, net, FA2, 0).unwrap();
    assert_eq!(t.counts(net, none()), want);
    t.remove(&mut x, net).unwrap();
    t.add(&mut x, net, FA2, 0).unwrap();
    assert_eq!(t.counts(net, none()), (0, 0));
}

#[derive(Clone, Debug)]
enum Op {
    Add(Key, u32, u16),
    Rem(Key, u32),
    RemAll,
}

fn key() -> impl Strategy<Value = Key> {
    (0u32..6, prop::sample::select(vec![32u8, 32, 24, 16, 8])).prop_map(|(i, len)| Key {
        addr: (0x0a00_0000 | i << 8 | i) & prefix_mask(len),
        len,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (key(), 0u32..12, prop::bool::ANY).prop_map(|(k, e, s)| {
            Op::Add(k, FA1 + e, if s { ENCAP_S } else { 0 })
        }),
        3 => (key(), 0u32..12).prop_map(|(k, e)| Op::Rem(k, FA1 + e)),
        2 => key().prop_map(|k| Op::Rem(k, 0)),
        1 => Just(Op::RemAll),
    ]
}

proptest! {
    /// The tables against a model that is a map of vectors: same answers, same exits,
    /// reference counts equal to the number of targets that use an exit.
    #[test]
    fn the_tables_are_their_model(ops in prop::collection::vec(op(), 0..120)) {
        let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
        let mut model: BTreeMap<Key, Vec<(u32, u16)>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Add(k, e, f) => {
                    let had = model.get(&k).cloned().unwrap_or_default();
                    let mut now = if f & ENCAP_S != 0 { had.clone() } else { vec![] };
                    let want = match now.iter().position(|p| p.0 == e) {
                        Some(i) => { now[i].1 = f; Ok(()) }
                        None if now.len() == 8 => Err(Errno::ENOSPC),
                        None => { now.push((e, f)); Ok(()) }
                    };
                    prop_assert_eq!(t.add(&mut x, k, e, f).map(|_| ()), want);
                    if want.is_ok() { model.insert(k, now); }
                }
                Op::Rem(k, 0) => {
                    prop_assert_eq!(t.remove(&mut x, k).is_ok(), model.remove(&k).is_some());
                }
                Op::Rem(k, e) => {
                    let v = model.entry(k).or_default();
                    let n = v.len();
                    v.retain(|p| p.0 != e);
                    let had = v.len() < n;
                    if v.is_empty() { model.remove(&k); }
                    prop_assert_eq!(t.remove_exit(&mut x, k, e).is_ok(), had);
                }
                Op::RemAll => {
                    (t, x) = Default::default();
                    model.clear();
                }
            }
            let got: BTreeMap<Key, Vec<(u32, u16)>> = t.iter().map(|(k, hit)| {
                (k, t.exits(hit).map(|(id, f)| (x.at(id).unwrap().addr(), f)).collect())
            }).collect();
            prop_assert_eq!(&got, &model);
            let mut refs: BTreeMap<u32, u32> = BTreeMap::new();
            for (e, _) in model.values().flatten() { *refs.entry(*e).or_default() += 1; }
            let held: BTreeMap<u32, u32> = x.iter().map(|(id, e)| (e.addr(), x.refs(id))).collect();
            prop_assert_eq!(held, refs);
            for dst in [0x0a00_0000u32, 0x0a00_0101, 0x0a00_0102, 0x0a01_0000, 0x0b00_0000] {
                let want = model.iter().filter(|(k, _)| dst & k.mask() == k.addr)
                    .max_by_key(|(k, _)| k.len).map(|(_, v)| v.clone()).unwrap_or_default();
                prop_assert_eq!(exits_of(&t, &x, dst), want);
            }
        }
    }
}
