//! What fuzzing found once, and some thousand inputs beside: each target of `fuzz/` as a
//! test. A find is a file in `tests/fuzz/TARGET/`; RFC 1122 1.2.2 (be liberal in what you
//! accept, and expect malevolent input).

use std::panic::{AssertUnwindSafe, catch_unwind};

use vtunl_tests::fuzz::TARGETS;
use vtunl_tests::scenario::conformance::top;

/// Inputs of each target that are made here.
const MADE: u64 = 150;

/// xorshift64*.
fn next(x: &mut u64) -> u64 {
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 24
}

/// Pieces of a few dozen bytes; small numbers are likely, they look like lengths and types.
fn input(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::new();
    for _ in 0..next(&mut x) % 12 {
        let n = next(&mut x) % 90;
        all.extend((n as u16).to_le_bytes());
        for _ in 0..n {
            let b = next(&mut x);
            all.push(if b & 0x300 == 0 {
                b as u8
            } else {
                b as u8 & 0xf
            });
        }
    }
    all
}

fn run(name: &str, what: &str, target: fn(&[u8]), data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(data))).is_err() {
        panic!("{name}: {what} breaks it: {data:02x?}");
    }
}

#[test]
fn every_find_stays_mended() {
    for (name, target) in TARGETS {
        let Ok(dir) = std::fs::read_dir(top().join("tests/fuzz").join(name)) else {
            continue; // nothing was ever found
        };
        for file in dir {
            let path = file.expect("a directory that can be read").path();
            let data = std::fs::read(&path).expect("a find");
            run(name, &path.display().to_string(), *target, &data);
        }
    }
}

#[test]
fn random_bytes_break_nothing() {
    for (name, target) in TARGETS {
        for seed in 1..=MADE {
            run(
                name,
                &format!("the input of seed {seed}"),
                *target,
                &input(seed),
            );
        }
    }
}
