//! A link to nowhere: counts what is sent, and may hand out one frame again and again.
//!
//! ```text
//!   send ──► counted, gone          recv ◄── the same frame, as often as was ordered
//! ```
//!
//! For measuring what is above it and for tests; `looped` gives back what is sent.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use streams::Doorbell;

use super::{Link, Medium, copy_cut};

/// What goes through a [`Null`]; a clone counts the same link.
#[derive(Clone, Default)]
pub struct NullCount(Arc<Inner>);

#[derive(Default)]
struct Inner {
    frames: AtomicU64,
    bytes: AtomicU64,
    ordered: AtomicU64,
    bell: Mutex<Option<Doorbell>>,
}

impl NullCount {
    /// Frames sent into the link.
    pub fn frames(&self) -> u64 {
        self.0.frames.load(Ordering::Relaxed)
    }
    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
    /// Lets the link hand out its frame `n` more times.
    pub fn order(&self, n: u64) {
        self.0.ordered.fetch_add(n, Ordering::Relaxed);
        self.ring();
    }
    fn ring(&self) {
        if let Some(b) = &*self.0.bell.lock() {
            b.ring();
        }
    }
}

/// The link.
pub struct Null {
    medium: Medium,
    template: Vec<u8>,
    looped: Option<VecDeque<Vec<u8>>>,
    count: NullCount,
    /// Stutters: whether the last frame was refused.
    refused: Option<bool>,
}

impl Null {
    /// Of this kind; swallows all.
    pub fn new(medium: Medium) -> Null {
        let count = NullCount::default();
        Null {
            medium,
            template: Vec::new(),
            looped: None,
            count,
            refused: None,
        }
    }
    /// What it hands out when told by [`NullCount::order`].
    pub fn with_frame(mut self, frame: &[u8]) -> Null {
        self.template = frame.to_vec();
        self
    }
    /// Gives back what is sent.
    pub fn looped(mut self) -> Null {
        self.looped = Some(VecDeque::new());
        self
    }
    /// Has no room for a frame when it is first offered.
    pub fn stuttering(mut self) -> Null {
        self.refused = Some(false);
        self
    }
    /// What goes through it.
    pub fn count(&self) -> NullCount {
        self.count.clone()
    }
}

impl Link for Null {
    fn medium(&self) -> Medium {
        self.medium
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let c = &*self.count.0;
        if let Some(refused) = &mut self.refused {
            *refused = !*refused;
            if *refused {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        // Only this link writes the counters: no read-modify-write is needed.
        c.frames
            .store(c.frames.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let n = frame.len() as u64;
        c.bytes
            .store(c.bytes.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        if let Some(q) = &mut self.looped {
            q.push_back(frame.to_vec());
            self.count.ring();
        }
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(f) = self.looped.as_mut().and_then(VecDeque::pop_front) {
            return Ok(Some(copy_cut(&f, buf)));
        }
        let ordered = &self.count.0.ordered;
        if ordered.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        ordered.fetch_sub(1, Ordering::Relaxed);
        Ok(Some(copy_cut(&self.template, buf)))
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.count.0.bell.lock() = Some(bell);
    }
}
