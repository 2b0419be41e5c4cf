//! A count that one thread writes and others read.
//!
//! Datagrams pass in one domain, so that only one thread counts at a time; who reads, reads
//! as it is. Adding costs what it costs in a plain integer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A count that starts here.
    pub const fn new(n: u64) -> Counter {
        Counter(AtomicU64::new(n))
    }

    /// So many more; returns the new count.
    #[inline(always)]
    pub fn add(&self, n: u64) -> u64 {
        let sum = self.0.load(Relaxed).wrapping_add(n);
        self.0.store(sum, Relaxed);
        sum
    }

    /// The count.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Begins anew.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}
