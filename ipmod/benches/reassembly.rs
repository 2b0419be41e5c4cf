//! What it costs to put a datagram together: in order, out of order, many at once, and at
//! the limit of memory.
//!
//! `cargo bench -p ipmod --bench reassembly`. Each figure is of one whole datagram, the
//! making of its fragments' messages included; at the limit, of one fragment, which pushes the
//! oldest datagram out.
#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ipmod::reassemble::{MAX_BYTES, Outcome, Reassembly};
use ipmod::wire::{self, IP_MF};
use streams::Msg;

/// The fragments of a datagram of `len` bytes of payload, 1480 in each.
fn pieces(len: usize, id: u16) -> Vec<Vec<u8>> {
    (0..len.div_ceil(1480))
        .map(|i| {
            let at = i * 1480;
            let n = (len - at).min(1480);
            let more = if at + n < len { IP_MF } else { 0 };
            let mut h = wire::header(20 + n, 17, 64, 0, id, 0x0a00_0002, 0x0a00_0001).to_vec();
            wire::put16(&mut h, 6, more | (at / 8) as u16);
            wire::put16(&mut h, 10, 0);
            wire::fill_checksum(&mut h, 20);
            h.resize(20 + n, 7);
            h
        })
        .collect()
}

fn bench(c: &mut Criterion) {
    let mut g = c.benchmark_group("reassembly");
    let reversed = |mut v: Vec<Vec<u8>>| {
        v.reverse();
        v
    };
    // Two halves, one after the other: every second fragment first.
    let combed = |v: Vec<Vec<u8>>| {
        let (even, odd): (Vec<_>, Vec<_>) = v.into_iter().enumerate().partition(|p| p.0 % 2 == 0);
        even.into_iter().chain(odd).map(|p| p.1).collect()
    };
    // The same order in every run: each next one is drawn from those left.
    let shuffled = |mut v: Vec<Vec<u8>>| {
        let mut x = 1u32;
        for i in (1..v.len()).rev() {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            v.swap(i, (x >> 16) as usize % (i + 1));
        }
        v
    };
    for (name, all) in [
        ("2 fragments", pieces(2960, 1)),
        ("45 fragments, 65 kB", pieces(65_480, 1)),
        ("45 fragments, backwards", reversed(pieces(65_480, 1))),
        (
            "45 fragments, every second first",
            combed(pieces(65_480, 1)),
        ),
        ("45 fragments, at random", shuffled(pieces(65_480, 1))),
    ] {
        let mut r = Reassembly::default();
        g.bench_function(name, |b| {
            b.iter_batched(
                || all.iter().map(|p| Msg::data(p)).collect::<Vec<_>>(),
                |msgs| {
                    let mut whole = None;
                    for mp in msgs {
                        if let Outcome::Whole(mp) = r.input(Duration::ZERO, mp) {
                            whole = Some(mp);
                        }
                    }
                    whole.expect("it is whole with the last")
                },
                BatchSize::SmallInput,
            );
        });
    }
    // A hundred half datagrams are kept; each turn ends one and begins another.
    let mut r = Reassembly::default();
    for id in 0..100 {
        let first = &pieces(2960, id)[0];
        assert!(matches!(
            r.input(Duration::ZERO, Msg::data(first)),
            Outcome::Kept
        ));
    }
    let mut id = 0u16;
    g.bench_function("2 fragments among 100 unfinished", |b| {
        b.iter_batched(
            || {
                let both = pieces(2960, id);
                let again = Msg::data(&both[0]);
                id = (id + 1) % 100;
                (Msg::data(&both[1]), again)
            },
            |(last, first)| {
                let done = r.input(Duration::ZERO, last);
                assert!(matches!(done, Outcome::Whole(_)));
                r.input(Duration::ZERO, first)
            },
            BatchSize::SmallInput,
        );
    });
    // First fragments of ever new datagrams: the memory they may have is full.
    let mut r = Reassembly::default();
    let mut next = {
        let firsts: Vec<Vec<u8>> = (0..4096).map(|id| pieces(2960, id).remove(0)).collect();
        let mut id = 0;
        move || {
            id = (id + 1) % firsts.len();
            Msg::data(&firsts[id])
        }
    };
    for _ in 0..2000 {
        let _kept = r.input(Duration::ZERO, next());
    }
    assert!(r.pruned > 0, "the limit was not reached");
    g.bench_function("a fragment at the limit of memory", |b| {
        b.iter_batched(
            &mut next,
            |mp| {
                let got = r.input(Duration::ZERO, mp);
                assert!(matches!(got, Outcome::Kept));
            },
            BatchSize::SmallInput,
        );
    });
    assert!(r.bytes() <= MAX_BYTES);
    g.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = bench
}
criterion_main!(benches);
