//! What finding a route costs: one route, a thousand, a million.
//!
//! `cargo bench -p ipmod`. Prefix lengths are spread like those of a full Internet table
//! (mostly /24); the destinations asked for are spread over the prefixes, in random order.

#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ipmod::ire::{Ire, IreKind, IreTable, mask_of};

/// A small generator: the table is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 32) as u32
    }
}

fn table(n: usize, hosts: bool) -> (IreTable, Vec<u32>) {
    let (mut t, mut r, mut asked) = (IreTable::new(), Random(1), Vec::new());
    while t.len() < n {
        let len = match r.next() % 10 {
            _ if hosts => 32,
            0 => 16,
            1 | 2 => 20,
            3 | 4 => 22,
            _ => 24,
        };
        let dst = r.next();
        let ire = Ire {
            kind: IreKind::Prefix,
            dst,
            mask: mask_of(len),
            gateway: 1,
            ..Ire::GONE
        };
        if t.add(ire).is_ok() {
            asked.push(dst);
        }
    }
    for i in (1..asked.len()).rev() {
        asked.swap(i, r.next() as usize % (i + 1));
    }
    (t, asked)
}

fn lookup(c: &mut Criterion) {
    for (name, n, hosts) in [
        ("1", 1, false),
        ("1e3", 1_000, false),
        ("1e6", 1_000_000, false),
        ("1e6 host routes", 1_000_000, true),
    ] {
        let (t, asked) = table(n, hosts);
        let mut i = 0;
        c.bench_function(&format!("lookup among {name}"), |b| {
            b.iter(|| {
                i = if i + 1 < asked.len() { i + 1 } else { 0 };
                black_box(t.lookup(black_box(asked[i])))
            });
        });
        // The same when each destination is known only after the route before: the time that
        // one datagram waits. Above, the processor fetches for several lookups at once.
        let mut i = 0;
        c.bench_function(&format!("lookup in turn among {name}"), |b| {
            b.iter(|| {
                let id = t.lookup(black_box(asked[i])).unwrap_or(0);
                i += 1 + (id >> 31) as usize; // 1: ids are below 2^31, which the compiler can't know
                i = if i < asked.len() { i } else { 0 };
            });
        });
    }
    c.bench_function("add and delete among 1e6", |b| {
        let (mut t, asked) = table(1_000_000, false);
        let mut i = 0;
        b.iter(|| {
            i = if i + 1 < asked.len() { i + 1 } else { 0 };
            let mask = mask_of(25);
            t.add(Ire {
                dst: asked[i],
                mask,
                gateway: 1,
                ..Ire::GONE
            })
            .ok();
            t.delete(asked[i], mask, None, |_| true).ok();
        });
    });
}

criterion_group!(benches, lookup);
criterion_main!(benches);
