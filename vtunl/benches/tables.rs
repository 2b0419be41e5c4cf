//! A thousand targets and a million, with eight exits each: memory, and what it costs to add
//! one, to look one up and to take one away.
//!
//! `cargo bench -p vtunl --bench tables`. The two sizes in turn, five times; medians.
//! Look-ups follow one another (each address depends on the last answer), so that a memory
//! access that is waited for is seen.

use std::hint::black_box;
use std::time::Instant;

use vtunl::encap_table::{ENCAP_S, EncapTable, MAXEXITCOUNT};
use vtunl::prefix_map::Key;
use vtunl::texit_table::ExitTable;

const BASE: u32 = 0x0a00_0000;
/// Foreign agents, shared by all targets.
const AGENTS: u32 = 64;

/// One round: bytes a target, then nanoseconds for add, look-up, remove.
fn round(n: u32) -> [f64; 4] {
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let add = |t: &mut EncapTable, x: &mut ExitTable, i: u32| {
        for e in 0..MAXEXITCOUNT as u32 {
            let exit = 0xc0a8_0000 + (i.wrapping_mul(7) + e) % AGENTS;
            t.add(x, Key::host(BASE + i), exit, ENCAP_S).expect("room");
        }
    };
    (0..n).for_each(|i| add(&mut t, &mut x, i));
    let bytes = (t.bytes() + x.bytes()) as f64 / f64::from(n);

    let mut at = 1u32;
    let looks = 1_000_000;
    let start = Instant::now();
    for _ in 0..looks {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let i = ((u64::from(at) * u64::from(n)) >> 32) as u32;
        let hit = t.lookup(BASE + i).expect("a target");
        let target = t.target(hit).expect("a target");
        at ^= black_box(target.pairs(hit).0.len() as u32 & 1);
    }
    let look = start.elapsed().as_nanos() as f64 / f64::from(looks);

    // As many are taken away and put back, all over the table.
    let turns = n.min(20_000);
    let step = (n / turns).max(1);
    let start = Instant::now();
    for k in 0..turns {
        t.remove(&mut x, Key::host(BASE + k * step))
            .expect("it is there");
    }
    let remove = start.elapsed().as_nanos() as f64 / f64::from(turns);
    let start = Instant::now();
    (0..turns).for_each(|k| add(&mut t, &mut x, k * step));
    let added = start.elapsed().as_nanos() as f64 / f64::from(turns);
    [bytes, added, look, remove]
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let rounds = if quick { 1 } else { 5 };
    let mut all: [Vec<[f64; 4]>; 2] = Default::default();
    for _ in 0..rounds {
        all[0].push(round(1_000));
        all[1].push(round(1_000_000));
    }
    let median = |runs: &[[f64; 4]], what: usize| {
        let mut v: Vec<f64> = runs.iter().map(|r| r[what]).collect();
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    };
    println!("targets with 8 exits           1000   1000000     ratio");
    for (i, name) in ["bytes a target", "add, ns", "look-up, ns", "remove, ns"]
        .iter()
        .enumerate()
    {
        let (few, many) = (median(&all[0], i), median(&all[1], i));
        println!("{name:<24}{few:>11.1}{many:>10.1}{:>10.2}", many / few);
    }
}
