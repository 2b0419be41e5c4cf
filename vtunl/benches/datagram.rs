//! What a datagram costs inside vtunl: the look-up, the header on, the header off.
//!
//! `cargo bench -p vtunl --bench datagram`

#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use streams::Msg;
use vtunl::decap::decapsulate;
use vtunl::decap_table::{DECAP_IF_DST, DecapTable};
use vtunl::encap::{Policy, encapsulate};
use vtunl::encap_table::{ENCAP_G, ENCAP_M, ENCAP_S, EncapTable};
use vtunl::header::{Ipv4, Outer};
use vtunl::prefix_map::Key;
use vtunl::texit_table::ExitTable;
use vtunl::why::Stats;

const US: u32 = 0x0a00_0001;
const EXIT: u32 = 0xc0a8_0201;
const MH: u32 = 0x0a01_0003;

fn datagram(len: u16) -> Msg {
    let o = Outer {
        tos: 0,
        len,
        ident: 7,
        df: true,
        ttl: 63,
        proto: 17,
        src: 0x0a05_0005,
        dst: MH,
    };
    let mut mp = Msg::with_headroom(64, 2048);
    mp.append(&o.bytes());
    mp.append(&vec![0; usize::from(len) - 20]);
    mp
}

/// Targets spread over the address space, look-ups in an order no cache foresees.
fn lookup(c: &mut Criterion) {
    let mut g = c.benchmark_group("lookup");
    for n in [1_000u32, 100_000, 1_000_000] {
        let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
        let addr = |i: u32| 0x0a00_0000 + i;
        for i in 0..n {
            t.add(&mut x, Key::host(addr(i)), EXIT, 0).expect("room");
        }
        let view = t.view();
        let mut i = 0u32;
        g.bench_function(format!("{n} targets"), |b| {
            b.iter(|| {
                i = i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let found = view.serve(addr(((u64::from(i) * u64::from(n)) >> 32) as u32));
                let (target, hit) = found.expect("a target");
                let full = target.count(64);
                black_box((hit.only(), full))
            });
        });
    }
    g.finish();
}

fn tables(c: &mut Criterion) {
    let mut g = c.benchmark_group("add and remove");
    for exits in [1u32, 8] {
        let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
        for i in 0..1_000_000 {
            t.add(&mut x, Key::host(0x0a00_0000 + i), EXIT, 0)
                .expect("room");
        }
        let mut i = 0u32;
        g.bench_function(
            format!("a target with {exits} exits among a million"),
            |b| {
                b.iter(|| {
                    i = i.wrapping_add(7919) & 0xffff;
                    let key = Key::host(0x0b00_0000 + i);
                    for e in 0..exits {
                        t.add(&mut x, key, EXIT + e, ENCAP_S).expect("room");
                    }
                    t.remove(&mut x, key).expect("just added");
                    // Nobody looks at what is gone.
                    t.take_freed().into_iter().for_each(|set| t.give_back(set));
                    x.take_freed()
                        .into_iter()
                        .for_each(|exit| x.give_back(exit));
                });
            },
        );
    }
    g.finish();
}

/// The same message again and again: the header on, and off with one pointer move.
fn encap(c: &mut Criterion) {
    let mut g = c.benchmark_group("encap");
    for (name, flags) in [("IPIP", 0), ("GRE", ENCAP_G), ("minimal", ENCAP_M)] {
        for len in [64u16, 1400] {
            let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
            t.add(&mut x, Key::host(MH), EXIT, flags).expect("room");
            let (policy, stats) = (Policy::default(), Stats::default());
            let (targets, exits) = (t.view(), x.view());
            g.bench_function(format!("{name} {len}"), |b| {
                let mut mp = datagram(len);
                let room = mp.headroom();
                let original: [u8; 20] = *mp.rd().first_chunk().expect("a header");
                b.iter(|| {
                    let h = Ipv4::of(&mut mp).expect("a header");
                    let (_, hit) = targets.serve(h.dst).expect("a target");
                    let (id, flags) = hit.only().expect("one exit");
                    let exit = exits.at(id).expect("an exit");
                    encapsulate(&mut mp, &h, exit, flags, US, &policy, &stats).expect("fits");
                    mp.advance_rptr(room - mp.headroom());
                    if flags & ENCAP_M != 0 {
                        mp.rd_mut()[..20].copy_from_slice(&original);
                    }
                });
            });
        }
    }
    g.finish();
}

fn decap(c: &mut Criterion) {
    let mut g = c.benchmark_group("decap");
    for (name, flags) in [("IPIP", 0), ("GRE", ENCAP_G), ("minimal", ENCAP_M)] {
        for len in [64u16, 1400] {
            let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
            t.add(&mut x, Key::host(MH), EXIT, flags).expect("room");
            let (policy, stats) = (Policy::default(), Stats::default());
            let mut mp = datagram(len);
            let h = Ipv4::of(&mut mp).expect("a header");
            let exit = x.get(EXIT).expect("an exit");
            encapsulate(&mut mp, &h, exit, flags, US, &policy, &stats).expect("fits");
            let outer = mp.to_vec();
            let mut table = DecapTable::default();
            table.add(Key::host(MH), DECAP_IF_DST).expect("flags");
            let (table, exits) = (table.view(), x.view());
            let mut mp = Msg::data(&outer);
            g.bench_function(format!("{name} {len}"), |b| {
                b.iter(|| {
                    let h = Ipv4::of(&mut mp).expect("a header");
                    decapsulate(&mut mp, &h, &table, &exits, &stats).expect("served");
                    if flags & ENCAP_M != 0 {
                        mp.prepend(12, 0);
                        mp.rd_mut()[..32].copy_from_slice(&outer[..32]);
                    } else {
                        mp.prepend(outer.len() - usize::from(len), 0);
                    }
                });
            });
        }
    }
    g.finish();
}

/// A duplicate and a header for each of n exits, and all of them freed.
fn replicate(c: &mut Criterion) {
    let mut g = c.benchmark_group("replicate");
    for n in [1u32, 2, 8] {
        let mut x = ExitTable::default();
        let ids: Vec<u32> = (0..n).map(|i| x.hold(EXIT + i).expect("room")).collect();
        let (policy, stats) = (Policy::default(), Stats::default());
        g.bench_function(format!("{n} exits"), |b| {
            b.iter_batched(
                || datagram(1400),
                |mut mp| {
                    let h = Ipv4::of(&mut mp).expect("a header");
                    for id in &ids {
                        let mut one = mp.dupmsg();
                        let exit = x.at(*id).expect("an exit");
                        encapsulate(&mut one, &h, exit, 0, US, &policy, &stats).expect("fits");
                        drop(black_box(one));
                    }
                    mp
                },
                BatchSize::SmallInput,
            );
        });
    }
    g.finish();
}

criterion_group!(benches, lookup, tables, encap, decap, replicate);
criterion_main!(benches);
