//! What a kernel can be tuned to, and memory that runs out when a test wants it to.
//!
//! ```text
//!   allocb ─► enough? ─► block                 Kernel::fail_allocations(Some(n)):
//!               └ no ──► none; qbufcall(tag)     n more succeed, then none does
//!                         └► Module::bufcall, when there is memory again
//! ```
//!
//! Spec: strmsgsz, strctlsz, nstrpush in the Tunable Parameters manual; allocb(9F),
//! bufcall(9F), qbufcall(9F), the reference's 5.0.

use crate::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::domain::Domain;
use crate::kernel::Kernel;
use crate::message::Msg;
use crate::queue::QRef;
use crate::sched::Timer;

/// Parameters of the STREAMS framework.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tunable {
    /// `strmsgsz`: bound of the data part of a message; 0 for none. 65536.
    StrMsgSz,
    /// `strctlsz`: bound of the control part of a message; 0 for none. 1024.
    StrCtlSz,
    /// `nstrpush`: modules that may be pushed on a stream. 9.
    NStrPush,
}

/// The parameters of one kernel.
pub(crate) struct Tunables {
    strmsgsz: AtomicUsize,
    strctlsz: AtomicUsize,
    nstrpush: AtomicUsize,
}

impl Default for Tunables {
    fn default() -> Tunables {
        Tunables {
            strmsgsz: AtomicUsize::new(65536),
            strctlsz: AtomicUsize::new(1024),
            nstrpush: AtomicUsize::new(9),
        }
    }
}

impl Tunables {
    pub fn strmsgsz(&self) -> usize {
        self.strmsgsz.load(Ordering::Relaxed)
    }
    pub fn strctlsz(&self) -> usize {
        self.strctlsz.load(Ordering::Relaxed)
    }
    pub fn nstrpush(&self) -> usize {
        self.nstrpush.load(Ordering::Relaxed)
    }
    fn of(&self, t: Tunable) -> &AtomicUsize {
        match t {
            Tunable::StrMsgSz => &self.strmsgsz,
            Tunable::StrCtlSz => &self.strctlsz,
            Tunable::NStrPush => &self.nstrpush,
        }
    }
}

/// The memory for messages that may fail.
pub(crate) struct Memory {
    /// Allocations that still succeed; negative: all.
    left: AtomicI64,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            left: AtomicI64::new(-1),
        }
    }
}

impl Memory {
    /// Would an allocation succeed?
    #[inline]
    pub fn available(&self) -> bool {
        self.left.load(Ordering::Relaxed) != 0
    }

    /// Accounts one allocation; false if it fails.
    #[inline]
    fn take(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        left < 0 || self.take_slow()
    }

    #[cold]
    fn take_slow(&self) -> bool {
        let one_less = |n| {
            if n == 0 {
                None
            } else {
                Some(n - i64::from(n > 0))
            }
        };
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
            .is_ok()
    }
}

/// Names a qbufcall(9F) that has not been called back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufcallId(pub(crate) u64);

/// A qbufcall that waits for memory.
pub(crate) struct Bufcall {
    pub id: u64,
    pub q: QRef,
    pub tag: u64,
}

impl Kernel {
    /// Sets a parameter.
    pub fn tune(&self, t: Tunable, value: usize) {
        self.env.tune.of(t).store(value, Ordering::Relaxed);
    }

    /// What a parameter is set to.
    pub fn tuned(&self, t: Tunable) -> usize {
        self.env.tune.of(t).load(Ordering::Relaxed)
    }

    /// Lets allocations fail that may (allocb, esballoc, dupb of a module; a message that a
    /// system call makes) once `after` more have succeeded; `None`: none fails any more, and
    /// every qbufcall(9F) that waits is called back.
    pub fn fail_allocations(&self, after: Option<u32>) {
        let left = after.map_or(-1, i64::from);
        self.env.memory.left.store(left, Ordering::Release);
        if left == 0 {
            return;
        }
        for cell in self.env.live_domains() {
            cell.with(Domain::memory_is_back);
        }
    }
}

impl Domain {
    /// allocb(9F), which may fail: `head` bytes of headroom, `size` of room.
    #[inline]
    pub(crate) fn allocb(&mut self, head: usize, size: usize) -> Option<Msg> {
        if !self.env.memory.take() {
            return None;
        }
        Some(self.pool.alloc(head, size))
    }

    /// Accounts an allocation that is not the pool's; false if it fails.
    pub(crate) fn may_alloc(&self) -> bool {
        self.env.memory.take()
    }

    /// Calls back once there is memory: soon, if there is some now.
    pub(crate) fn qbufcall(&mut self, q: QRef, tag: u64) -> BufcallId {
        let id = self.env.next_id();
        self.bufcalls.push(Bufcall { id, q, tag });
        if self.env.memory.available() {
            self.set_timer(std::time::Duration::ZERO, Timer::Memory);
        }
        BufcallId(id)
    }

    /// Calls everybody back who waits for memory.
    pub(crate) fn memory_is_back(&mut self) {
        for call in std::mem::take(&mut self.bufcalls) {
            if let Some(idx) = self.resolve(call.q) {
                let f = self.slot(idx).ops.bufcall;
                self.callback(idx, |dom| f(dom, idx, call.tag));
            }
        }
    }
}
