//! Time: real, or set by hand.
//!
//! Spec: drv_getparm(9F) LBOLT, gethrtime(9F). All times are since the kernel was made.

use crate::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where a kernel reads its time.
pub(crate) enum Clock {
    /// The machine's monotonic clock.
    Real(Instant),
    /// Nanoseconds, moved by tests.
    Manual(AtomicU64),
}

impl Clock {
    pub fn now(&self) -> Duration {
        match self {
            Clock::Real(start) => start.elapsed(),
            Clock::Manual(ns) => Duration::from_nanos(ns.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock to `to`, never back. A real one moves by itself.
    pub fn advance_to(&self, to: Duration) {
        if let Clock::Manual(ns) = self {
            let to = u64::try_from(to.as_nanos()).unwrap_or(u64::MAX);
            ns.fetch_max(to, Ordering::Relaxed);
        }
    }

    pub fn is_manual(&self) -> bool {
        matches!(self, Clock::Manual(_))
    }
}
