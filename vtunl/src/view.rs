//! What a datagram looks at, and how it is changed without anybody waiting.
//!
//! ```text
//!   command ─► tables.rs ─┬─ an entry, where it stands ───────────► one word ─┐
//!                         └─ what has to move: a new View ─► Feed ──┐         ▼
//!                                  version + 1                      │   the next datagram
//!   datagram ─► Reader::look ── version as before? ─ yes ───────────┼───► View
//!                                       └─ no: takes the new View ◄─┘
//!                                          and says so: "passed"
//!
//!   what is old (a View, an exit's number, a segment) is used again, or freed, when every
//!   Reader has passed the version in which it became old
//! ```
//!
//! A datagram takes no lock, and what it has begun to look at stays as it is until it is done.
//! Who changes the tables never makes it wait, not even if he is stopped half-way; he waits
//! for nobody either: what can't be freed yet is freed by a later command.
//!
//! Spec: the paper, section 2 and Figure 3, tables shared by all instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use arc_swap::ArcSwap;

use crate::decap_table::{DecapTable, DecapView};
use crate::encap::Policy;
use crate::encap_table::{EncapTable, EncapView};
use crate::texit_table::{ExitTable, ExitView};
use crate::why::Stats;

/// The tables and all else that decides on a datagram.
#[derive(Debug)]
pub struct View {
    /// Targets.
    pub encap: EncapView,
    /// Exits.
    pub exits: ExitView,
    /// Who is decapsulated.
    pub decap: DecapView,
    /// How outer headers are made.
    pub policy: Policy,
    /// The debug level, 0 to 3.
    pub debug: u8,
    /// Counters.
    pub stats: Arc<Stats>,
}

impl View {
    /// What these tables show, with policy and debug level.
    pub(crate) fn of(
        encap: &EncapTable,
        exits: &ExitTable,
        decap: &DecapTable,
        policy: Policy,
        debug: u8,
        stats: &Arc<Stats>,
    ) -> View {
        View {
            encap: encap.view(),
            exits: exits.view(),
            decap: decap.view(),
            policy,
            debug,
            stats: stats.clone(),
        }
    }
}

/// Where the current view is had from.
#[derive(Debug)]
pub struct Feed {
    version: AtomicU64,
    view: ArcSwap<View>,
}

impl Feed {
    /// With a first view.
    pub(crate) fn new(view: View) -> Feed {
        Feed {
            version: AtomicU64::new(0),
            view: ArcSwap::from_pointee(view),
        }
    }

    /// The counters.
    pub fn stats(&self) -> Arc<Stats> {
        self.view.load().stats.clone()
    }

    /// Something has become old, and perhaps there is a new view: the version from which on
    /// nobody looks at what is old, and the old view.
    pub(crate) fn publish(&self, view: Option<View>) -> (u64, Option<Arc<View>>) {
        let before = view.map(|v| self.view.swap(Arc::new(v)));
        let version = self.version.load(Ordering::Relaxed) + 1;
        self.version.store(version, Ordering::Release);
        // Who joins after this sees the new version; who joined before is seen to have.
        fence(Ordering::SeqCst);
        (version, before)
    }
}

/// The version that a reader has passed: it looks at nothing that was old then.
pub type Passed = Arc<AtomicU64>;

/// Looks at the tables for datagrams, one at a time.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    view: Arc<View>,
    seen: u64,
    passed: Passed,
}

impl Reader {
    /// A reader. Who frees what is old must know what it has passed before it first looks.
    pub fn new(feed: Arc<Feed>, passed: Passed) -> Reader {
        fence(Ordering::SeqCst);
        let seen = feed.version.load(Ordering::Acquire);
        let view = feed.view.load_full();
        passed.store(seen, Ordering::Release);
        Reader {
            feed,
            view,
            seen,
            passed,
        }
    }

    /// The tables as they are now. Whoever asks again has nothing left of the last answer:
    /// the compiler sees to that.
    #[inline(always)]
    pub fn look(&mut self) -> &View {
        if self.feed.version.load(Ordering::Acquire) != self.seen {
            self.refresh();
        }
        &self.view
    }

    #[cold]
    #[inline(never)]
    fn refresh(&mut self) {
        // The view is as new as the version, or newer.
        self.seen = self.feed.version.load(Ordering::Acquire);
        self.view = self.feed.view.load_full();
        self.passed.store(self.seen, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
