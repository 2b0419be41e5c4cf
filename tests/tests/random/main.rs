//! Random sequences of operations on random topologies, against the invariants and an
//! account of every message. A million steps; a failing sequence shrinks to a short one.
//!
//! ```text
//!   seed ──► [Op; STEPS] ──► world.rs does each ──► broken? ──► shrink: without this half,
//!                              │ kernel's invariants            that quarter, .. still
//!                              │ order of every flow, band      broken? ──► printed
//!                              └ at the end: nothing is lost
//! ```
//!
//! `SEED=n` repeats one sequence, `STEPS=n` changes the number of steps, of which each
//! sequence has 250. Without them the seed is the same always, so that a run of CI can be
//! repeated anywhere; the seeds of the sequences follow from it and are printed.

mod modules;
mod op;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use op::{Op, Rng};
use world::World;

/// Steps in a sequence.
const LENGTH: usize = 250;

/// What went wrong with a sequence, and at which step; nothing if all was well.
fn broken(seed: u64, ops: &[Op]) -> Option<(usize, String)> {
    let mut at = 0;
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut w = World::new(seed);
        for (i, op) in ops.iter().enumerate() {
            at = i;
            w.apply(op)?;
        }
        at = ops.len();
        w.finish()
    }));
    match run {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some((at, why)),
        Err(p) => {
            let text = p.downcast_ref::<String>().cloned();
            let text = text.or_else(|| p.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some((at, format!("panic: {}", text.unwrap_or_default())))
        }
    }
}

/// Leaves out whatever can be left out while the sequence stays broken (delta debugging).
fn shrink(seed: u64, mut ops: Vec<Op>) -> Vec<Op> {
    let mut part = ops.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        while from < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(from..(from + part).min(ops.len()));
            if broken(seed, &fewer).is_some() {
                ops = fewer;
            } else {
                from += part;
            }
        }
        part /= 2;
    }
    ops
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs the sequences `first`, `first + stride`, .. and reports the first broken one.
fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let ops = op::sequence(&mut Rng(seed), LENGTH);
        if broken(seed, &ops).is_some() {
            let short = shrink(seed, ops);
            let (at, why) = broken(seed, &short).unwrap_or_default();
            let list: Vec<String> = short.iter().map(|o| format!("  {o:?}")).collect();
            panic!("seed {seed}, at step {at}: {why}\n{}", list.join("\n"));
        }
    }
}

/// The invariants of section 10, of queue(9S), of mt-streams(9F); order and conservation
/// of messages (putmsg(2), getmsg(2), pipe(2), streamio(7I)).
#[test]
fn a_million_steps_break_no_invariant() {
    if let Some(seed) = number("SEED") {
        return run(std::iter::once(seed));
    }
    let sequences = number("STEPS").unwrap_or(1_000_000) / LENGTH as u64;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    println!("{sequences} sequences of {LENGTH} steps: seeds 1 to {sequences}");
    std::thread::scope(|s| {
        let hands: Vec<_> = (0..threads)
            .map(|t| s.spawn(move || run((t + 1..=sequences).step_by(threads as usize))))
            .collect();
        for h in hands {
            if let Err(p) = h.join() {
                std::panic::resume_unwind(p);
            }
        }
    });
}

/// The checker can fail: a module that loses every third message is found, and the
/// sequence that shows it is short.
#[test]
fn a_module_that_loses_messages_is_found() {
    let found = (1..200).find_map(|seed| {
        let mut ops = vec![Op::Pipe, Op::Push(0, modules::LOSING)];
        ops.extend(op::sequence(&mut Rng(seed), 60));
        broken(seed, &ops).map(|_| shrink(seed, ops))
    });
    let short = found.expect("a loss is noticed");
    assert!(short.len() <= 8, "{short:?}");
}
