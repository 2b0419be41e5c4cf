//! STREAMS in user space: messages, queues, perimeters, the stream head, multiplexors.
//!
//! ```text
//!   Process (descriptors) ── open read write getmsg putmsg poll ioctl ──┐
//!                                                                        ▼
//!                                      ┌──────────── stream head ────────────┐
//!                                      │ read queue ▲          │ write queue │
//!                                      └────────────┼──────────▼─────────────┘
//!                        putnext up ──►      module │ pair     │    ◄── putnext down
//!                                      ┌────────────┼──────────▼─────────────┐
//!                                      │           driver (a device, a mux)  │
//!                                      └─────────────────────────────────────┘
//! ```
//!
//! Start at [`Kernel`] and [`Sys`] to use streams, at [`Module`] and [`prelude`] to write a
//! module. `doc/architecture.md` tells how it is built.
//!
//! ```
//! use streams::{Cred, Kernel, Sys, oflag};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = Kernel::new()?;
//! streams::register(&kernel)?;
//! let p = kernel.process(Cred::ROOT);
//! let fd = p.open("/dev/echo", oflag::O_RDWR)?;
//! p.push(fd, "nullmod")?;
//! p.write(fd, b"hello")?;
//! assert_eq!(p.read(fd, 100)?, b"hello");
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod clock;
mod copy;
mod ddi;
mod domain;
mod errno;
mod fifo;
mod file;
mod flow;
mod handle;
mod head;
mod intr;
mod invariants;
mod kernel;
mod module;
mod names;
mod perimeter;
mod pipe;
mod private;
mod process;
mod putnext;
mod queue;
mod registry;
mod sched;
mod show;
mod sync;
mod tunable;

pub mod autopush;
pub mod drivers;
pub mod kstat;
pub mod message;
pub mod modules;
pub mod prelude;
pub mod strlog;
pub mod sys;
#[cfg(feature = "testbench")]
pub mod testbench;
pub mod trace;

pub use ddi::{Frozen, QField};
pub use errno::Errno;
pub use file::FileRef;
pub use handle::Queue;
pub use head::mode;
pub use intr::{Doorbell, Watch};
pub use kernel::{Config, Kernel};
pub use message::{Cred, Msg, MsgType};
pub use module::{Close, Module, ModuleInfo, Open, QInit, SFlag, Wait};
pub use perimeter::{Inner, Perimeter};
pub use process::{Action, Process, SigInfo, Signal, oflag, si_code};
pub use queue::{Flush, QRef};
pub use registry::ModInfoRow;
pub use sched::TimeoutId;
pub use show::{LinkView, ModuleView, StackView};
pub use sys::{FdInsert, Got, Ioctl, IoctlReply, PollFd, StrIoctl, Sys, Which};
pub use tunable::{BufcallId, Tunable};

/// The code of the chapters is compiled and run with the tests.
#[cfg(doctest)]
mod chapters {
    #[doc = include_str!("../../doc/messages.md")]
    struct Messages;
    #[doc = include_str!("../../doc/queues.md")]
    struct Queues;
    #[doc = include_str!("../../doc/perimeters.md")]
    struct Perimeters;
    #[doc = include_str!("../../doc/stream-head.md")]
    struct StreamHead;
    #[doc = include_str!("../../doc/multiplexors.md")]
    struct Multiplexors;
}

/// Makes the drivers and modules of this crate known to a kernel.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    drivers::register(kernel)?;
    modules::register(kernel)
}
