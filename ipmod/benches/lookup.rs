//! What finding a route costs: one route, a thousand, a million; and what changing one does.
//!
//! `cargo bench -p ipmod --bench lookup`. Two tables of a million: prefixes of any network,
//! which is the worst for caches, and prefixes as in the Internet's own table: lengths as
//! they are there, in 28000 of the /16s, half of them inside another. Destinations lie
//! anywhere in the prefixes, in random order.
//!
//! "In turn" is what one datagram waits: each destination is known only after the route
//! before. Without it the processor looks up several at once. The measure for that, on a
//! machine that others use too, is one access to as much memory.

#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::hint::black_box;
use std::time::{Duration, Instant};

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

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
}

/// How many of a thousand prefixes have which length (the Internet's table in 2024).
const LENGTHS: [(u8, u32); 16] = [
    (8, 1),
    (11, 2),
    (12, 1),
    (13, 1),
    (14, 2),
    (15, 3),
    (16, 14),
    (17, 9),
    (18, 14),
    (19, 25),
    (20, 45),
    (21, 52),
    (22, 112),
    (23, 104),
    (24, 605),
    (28, 10),
];

/// What a table is like.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Random,
    Internet,
    Hosts,
}

/// A length, for a number below 1000.
fn length(mut at: u32) -> u8 {
    for (len, share) in LENGTHS {
        match at.checked_sub(share) {
            Some(rest) => at = rest,
            None => return len,
        }
    }
    24
}

fn route(dst: u32, len: u8, gateway: u32) -> Ire {
    Ire {
        kind: IreKind::Prefix,
        dst,
        mask: mask_of(len),
        gateway,
        ..Ire::GONE
    }
}

/// A table of `n` routes, and an address in each, shuffled.
fn table(n: usize, kind: Kind) -> (IreTable, Vec<u32>) {
    let (mut t, mut r) = (IreTable::new(), Random(1));
    let blocks: Vec<u32> = (0..28_000)
        .map(|_| (r.next() % 223 + 1) << 24 | r.next() & 0xff_0000)
        .collect();
    let mut nets: Vec<(u32, u8)> = Vec::new();
    while t.len() < n {
        let (dst, len) = match kind {
            Kind::Random => (
                r.next(),
                [16, 20, 20, 22, 22, 24, 24, 24, 24, 24][r.below(10)],
            ),
            Kind::Hosts => (r.next(), 32),
            Kind::Internet => {
                let len = length(r.below(1000) as u32);
                let outer = nets.get(r.below(2 * nets.len().max(1)));
                match outer {
                    Some(&(net, outer)) if outer < len => (net | r.next() & !mask_of(outer), len),
                    _ => (blocks[r.below(blocks.len())] | r.next() & 0xffff, len),
                }
            }
        };
        if t.add(route(dst, len, 1)).is_ok() {
            nets.push((dst & mask_of(len), len));
        }
    }
    let within = |&(net, len): &(u32, u8)| net | r.next() & !mask_of(len);
    let mut asked: Vec<u32> = nets.iter().map(within).collect();
    for i in (1..asked.len()).rev() {
        asked.swap(i, r.below(i + 1));
    }
    (t, asked)
}

fn lookup(c: &mut Criterion) {
    for (name, n, kind) in [
        ("1", 1, Kind::Random),
        ("1e3", 1_000, Kind::Random),
        ("1e6", 1_000_000, Kind::Random),
        ("1e6 of the Internet", 1_000_000, Kind::Internet),
        ("1e6 host routes", 1_000_000, Kind::Hosts),
    ] {
        let (t, asked) = table(n, kind);
        let mut i = 0;
        c.bench_function(&format!("lookup among {name}"), |b| {
            b.iter(|| {
                i = if i + 1 < asked.len() { i + 1 } else { 0 };
                black_box(t.lookup(black_box(asked[i])))
            });
        });
        let mut i = 0;
        c.bench_function(&format!("lookup in turn among {name}"), |b| {
            b.iter(|| {
                let id = t.lookup(black_box(asked[i])).unwrap_or(0);
                i += 1 + (id >> 31) as usize; // 1: ids are below 2^31, which the compiler can't know
                i = if i < asked.len() { i } else { 0 };
            });
        });
    }
}

/// The measure for all of it: one access to as much memory as a million routes take in the
/// trie, its place known only after the one before.
fn memory(c: &mut Criterion) {
    const LINES: usize = 13_000_000 / 64;
    let mut r = Random(3);
    // One cycle through all lines (Sattolo).
    let mut next: Vec<u32> = (0..LINES as u32).collect();
    for i in (1..LINES).rev() {
        next.swap(i, r.below(i));
    }
    let lines: Vec<[u32; 16]> = next.iter().map(|n| [*n; 16]).collect();
    let mut at = 0;
    c.bench_function("one access to 13 MB", |b| {
        b.iter(|| at = lines[at as usize][0]);
    });
    black_box(at);
}

/// Changes: what is usual, and the dearest there are.
fn change(c: &mut Criterion) {
    let (mut t, asked) = table(1_000_000, Kind::Internet);
    let mut i = 0;
    let both = |t: &mut IreTable, dst: u32, len: u8| {
        let added = t.add(route(dst, len, 2));
        let deleted = t.delete(dst, mask_of(len), Some(2), |_| true);
        black_box((added.is_ok(), deleted.is_ok()));
    };
    for (name, len) in [
        ("a /25", Some(25)),
        ("a /24", Some(24)),
        ("a /17", Some(17)),
        ("a host", Some(32)),
        ("a /1", None),
    ] {
        c.bench_function(&format!("add and delete {name} among 1e6"), |b| {
            b.iter(|| {
                i = if i + 1 < asked.len() { i + 1 } else { 0 };
                match len {
                    Some(len) => both(&mut t, asked[i], len),
                    None => both(&mut t, 0, 1),
                }
            });
        });
    }
    // Every /24 of a /16, and a /17 over half of them.
    for net in 0..256 {
        t.add(route(0xdf00_0000 | net << 8, 24, 1)).ok();
    }
    c.bench_function("add and delete a /17 over 128 of /24", |b| {
        b.iter(|| both(&mut t, 0xdf00_0000, 17));
    });
    // The longest that any of a million additions takes, in a build from nothing. Each is
    // the least of five builds: what else runs here doesn't come at the same addition.
    let mut least = vec![Duration::MAX; asked.len()];
    for _ in 0..5 {
        let mut t = IreTable::new();
        for (dst, least) in asked.iter().zip(&mut least) {
            let start = Instant::now();
            t.add(route(*dst, 24, 1)).ok();
            *least = start.elapsed().min(*least);
        }
    }
    least.sort_unstable();
    let (half, all) = (least[least.len() / 2], least[least.len() - 1]);
    println!("a million additions: half take up to {half:?}, the longest {all:?}");
}

criterion_group!(benches, memory, lookup, change);
criterion_main!(benches);
