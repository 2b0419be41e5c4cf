//! A thousand targets and a million: memory, and what it costs to add one, to look one up
//! and to take one away; the longest that a single command takes; and, as a measure for all
//! of it, one access to memory of the same size.
//!
//! `cargo bench -p vtunl --bench tables`; `-- --quick` for one round. The two sizes in turn,
//! five times; the fastest round of each, as the others share the machine with somebody.
//!
//! overlapped: as many look-ups at once as the processor can begin. dependent: each address
//! depends on the last answer, so that all of an access is waited for. Addresses come at
//! random, all alike (uniform) or the n-th most used one n times less often (Zipf).

use std::hint::black_box;
use std::time::{Duration, Instant};

use vtunl::Tables;
use vtunl::encap_table::{ENCAP_S, EncapTable, MAXEXITCOUNT};
use vtunl::ioctl::{
    Req, VTUNL_DECAP_ADD, VTUNL_DECAP_GETX, VTUNL_DECAP_REM, VTUNL_ENCAP_ADD, VTUNL_ENCAP_GETX,
    VTUNL_ENCAP_REM, VTUNL_ENCAP_SIZE, VTUNL_EXIT_GETX,
};
use vtunl::prefix_map::Key;
use vtunl::texit_table::ExitTable;

const BASE: u32 = 0x0a00_0000;
/// Foreign agents, shared by all targets.
const AGENTS: u32 = 64;
const LOOKS: usize = 1 << 20;

/// Numbers that look random (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }
    /// With a probability that goes down as the number goes up.
    fn zipf(&mut self, n: u32) -> u32 {
        let u = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        let rank = f64::from(n).powf(u) as u32 - 1;
        (u64::from(rank) * 0x9e37_79b1 % u64::from(n)) as u32 // neighbours are not alike
    }
}

/// What is measured of a table of one size.
const NAMES: [&str; 8] = [
    "bytes a target",
    "add, ns",
    "remove, ns",
    "look-up, overlapped, uniform",
    "look-up, overlapped, Zipf",
    "look-up, dependent, uniform",
    "look-up, dependent, Zipf",
    "one access, dependent",
];

/// Nobody looks at what is gone.
fn give_back(t: &mut EncapTable, x: &mut ExitTable) {
    t.take_freed().into_iter().for_each(|set| t.give_back(set));
    x.take_freed()
        .into_iter()
        .for_each(|exit| x.give_back(exit));
}

fn first(mut exits: impl Iterator<Item = (u32, u16)>) -> (u32, u16) {
    exits.next().expect("an exit")
}

fn round(n: u32, exits: u32) -> [f64; 8] {
    let (mut t, mut x) = (EncapTable::default(), ExitTable::default());
    let add = |t: &mut EncapTable, x: &mut ExitTable, i: u32| {
        for e in 0..exits {
            let exit = 0xc0a8_0000 + (i.wrapping_mul(7) + e) % AGENTS;
            t.add(x, Key::host(BASE + i), exit, ENCAP_S).expect("room");
            give_back(t, x);
        }
    };
    (0..n).for_each(|i| add(&mut t, &mut x, i));
    let bytes = (t.bytes() + x.bytes()) as f64 / f64::from(n);

    let mut random = Random(0x1234_5678_9abc_def1);
    let uniform: Vec<u32> = (0..LOOKS).map(|_| BASE + random.below(n)).collect();
    let zipf: Vec<u32> = (0..LOOKS).map(|_| BASE + random.zipf(n)).collect();
    let ns = |start: Instant, n: usize| start.elapsed().as_nanos() as f64 / n as f64;
    let view = t.view();
    let overlapped = |addresses: &[u32]| {
        let start = Instant::now();
        for a in addresses {
            let (target, hit) = view.serve(*a).expect("a target");
            black_box((target.count(64), hit.only()));
        }
        ns(start, LOOKS)
    };
    let dependent = |addresses: &[u32]| {
        let mut at = 0usize;
        let start = Instant::now();
        for _ in 0..LOOKS {
            let (target, hit) = view.serve(addresses[at]).expect("a target");
            black_box(target.count(64));
            let (id, _) = hit.only().unwrap_or_else(|| first(view.exits(hit)));
            let none = black_box(id) as usize >> 25; // no number is so high, as nobody knows
            at = (at + 1 + none) & (LOOKS - 1);
        }
        ns(start, LOOKS)
    };
    let looks = [
        overlapped(&uniform),
        overlapped(&zipf),
        dependent(&uniform),
        dependent(&zipf),
    ];
    let chase = chase(t.bytes());

    // As many are taken away and put back, all over the table.
    let turns = n.min(20_000);
    let step = (n / turns).max(1);
    let start = Instant::now();
    for k in 0..turns {
        t.remove(&mut x, Key::host(BASE + k * step))
            .expect("it is there");
        give_back(&mut t, &mut x);
    }
    let remove = ns(start, turns as usize);
    let start = Instant::now();
    (0..turns).for_each(|k| add(&mut t, &mut x, k * step));
    let added = ns(start, turns as usize);
    let [a, b, c, d] = looks;
    [bytes, added, remove, a, b, c, d, chase]
}

/// Nanoseconds for an access to so much memory whose address the access before it tells.
fn chase(bytes: usize) -> f64 {
    #[derive(Clone)]
    #[repr(align(64))]
    struct Line(u32);
    let lines = (bytes / 64).max(2) as u32;
    // One cycle through all lines (Sattolo).
    let mut next: Vec<Line> = (0..lines).map(Line).collect();
    let mut random = Random(99);
    for i in (1..lines).rev() {
        let j = random.below(i);
        let (a, b) = (next[i as usize].0, next[j as usize].0);
        next[i as usize].0 = b;
        next[j as usize].0 = a;
    }
    let mut at = 0u32;
    let start = Instant::now();
    for _ in 0..LOOKS {
        at = next[at as usize].0;
    }
    black_box(at);
    start.elapsed().as_nanos() as f64 / LOOKS as f64
}

/// Every command of a million-target table's life, each timed by itself: the longest and the
/// ten-thousandth longest of each kind. The same commands three times; each counts with its
/// shortest time, as what happened once only was not ours.
fn longest(targets: u32) {
    let kinds = [
        "add",
        "add, lifetime",
        "size",
        "dump",
        "exits",
        "decap add",
        "decap dump",
        "decap rem",
        "expire",
        "remove",
        "remove all",
    ];
    let mut times: Vec<Vec<u32>> = vec![Vec::new(); kinds.len()];
    for run in 0..3 {
        let mut at = vec![0; kinds.len()];
        let mut t = Tables::default();
        let now = Duration::from_secs(1);
        let mut time = |t: &mut Tables, kind: usize, f: &mut dyn FnMut(&mut Tables)| {
            let start = Instant::now();
            f(t);
            let ns = start.elapsed().as_nanos() as u32;
            let all = &mut times[kind];
            match run {
                0 => all.push(ns),
                _ => all[at[kind]] = all[at[kind]].min(ns),
            }
            at[kind] += 1;
        };
        let mixed = |i: u32| (u64::from(i) * 7919 % u64::from(targets)) as u32;
        let ask = |t: &mut Tables, cmd: i32, arg: &[u8]| t.command(cmd, arg, now).expect("done");
        let req = |i: u32, lifetime| Req {
            target_addr: BASE + i,
            t_exit_addr: 0xc0a8_0000 + i % 5000,
            decap_flags: 1,
            lifetime,
            ..Req::default()
        };
        for i in 0..targets {
            let life = i % 2;
            let r = req(mixed(i), life * 60).emit();
            time(&mut t, life as usize, &mut |t| {
                drop(ask(t, VTUNL_ENCAP_ADD, &r))
            });
            if i % 64 == 0 {
                time(&mut t, 2, &mut |t| drop(ask(t, VTUNL_ENCAP_SIZE, &[0; 4])));
                let mut page = vec![0; 0xffff];
                page[..4].copy_from_slice(&(i / 2).to_ne_bytes());
                time(&mut t, 3, &mut |t| drop(ask(t, VTUNL_ENCAP_GETX, &page)));
                time(&mut t, 4, &mut |t| drop(ask(t, VTUNL_EXIT_GETX, &page)));
            }
        }
        for i in 0..targets {
            let r = req(mixed(i), 0).emit();
            time(&mut t, 5, &mut |t| drop(ask(t, VTUNL_DECAP_ADD, &r)));
            if i % 64 == 0 {
                let mut page = vec![0; 0xffff];
                page[..4].copy_from_slice(&(i / 2).to_ne_bytes());
                time(&mut t, 6, &mut |t| drop(ask(t, VTUNL_DECAP_GETX, &page)));
            }
        }
        for i in 0..targets {
            let r = req(mixed(i), 0).emit();
            time(&mut t, 7, &mut |t| drop(ask(t, VTUNL_DECAP_REM, &r)));
        }
        // Half of all end in the same second.
        let late = Duration::from_secs(100);
        loop {
            time(&mut t, 8, &mut |t| drop(t.expire(late)));
            if !t.overdue {
                break;
            }
        }
        for i in 0..targets / 4 {
            let r = Req {
                t_exit_addr: 0,
                ..req(i, 0)
            };
            if t.encap.get(Key::host(r.target_addr)).is_some() {
                let r = r.emit();
                time(&mut t, 9, &mut |t| drop(ask(t, VTUNL_ENCAP_REM, &r)));
            }
        }
        let all = Req::default().emit();
        time(&mut t, 10, &mut |t| drop(ask(t, VTUNL_ENCAP_REM, &all)));
    }
    println!("\nsingle commands, {targets} targets, us    number   99.99 %   longest");
    for (name, mut all) in kinds.iter().zip(times) {
        all.sort_unstable();
        let at = |share: f64| f64::from(all[((all.len() - 1) as f64 * share) as usize]) / 1e3;
        println!(
            "{name:<32}{:>13}{:>10.1}{:>10.1}",
            all.len(),
            at(0.9999),
            at(1.0)
        );
    }
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let rounds = if quick { 1 } else { 5 };
    for exits in [1, MAXEXITCOUNT as u32] {
        let mut best = [[f64::MAX; 8]; 2];
        for _ in 0..rounds {
            for (best, n) in best.iter_mut().zip([1_000, 1_000_000]) {
                for (b, new) in best.iter_mut().zip(round(n, exits)) {
                    *b = b.min(new);
                }
            }
        }
        println!("\ntargets with {exits} exits             1000   1000000     ratio");
        for (name, (few, many)) in NAMES.iter().zip(best[0].iter().zip(best[1])) {
            println!("{name:<30}{few:>8.1}{many:>10.1}{:>10.2}", many / few);
        }
    }
    longest(1_000_000);
}
