//! Open streams and the files that refer to them.
//!
//! ```text
//!   descriptor ─► File (flags) ─► Stream ─► domain, head queue
//!   descriptor ─► File ──────────┘  ▲
//!   link under a multiplexor ───────┘      the last one to go closes the stream
//! ```

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::fmt;
use std::sync::Arc;

use crate::domain::{Domain, DomainCell};
use crate::fifo::Ends;
use crate::kernel::Env;

/// An open stream. It stays open as long as a file or a link refers to it.
#[repr(align(128))] // what two threads write is never on one cache line
pub(crate) struct Stream {
    pub id: u32,
    pub env: Arc<Env>,
    pub cell: Arc<DomainCell>,
    /// The even number of the head's pair.
    pub head: u32,
    /// Major of the driver; `None` for a pipe or FIFO.
    pub major: Option<u32>,
    pub minor: u32,
    /// The path it was opened by, for showing.
    pub path: String,
    /// Files and links that keep it open.
    pub refs: AtomicU32,
    /// Who has it open, if it is a FIFO.
    pub fifo: Option<Ends>,
}

impl Stream {
    /// Runs `f` in the stream's domain.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut Domain) -> R) -> R {
        self.cell.with(f)
    }

    /// The same, and who waits for the domain has it next.
    pub fn with_fair<R>(&self, f: impl FnOnce(&mut Domain) -> R) -> R {
        self.cell.with_fair(f)
    }
}

/// An open file: a stream and the flags of this open.
#[repr(align(128))] // every call counts a reference
pub(crate) struct File {
    pub stream: Arc<Stream>,
    /// O_* bits; fcntl(F_SETFL) may change them.
    pub flags: AtomicU32,
    /// Descriptors and passed references.
    pub refs: AtomicU32,
    /// It has been somebody's descriptor: a passed file has arrived (connld(7M)).
    pub received: AtomicBool,
}

impl File {
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }
}

/// A reference to an open file: what a descriptor holds, and what I_SENDFD passes.
/// Dropping the last one closes the file, without waiting for queues to drain.
pub struct FileRef {
    pub(crate) file: Arc<File>,
    /// Released by hand: the drop has nothing to do.
    released: bool,
}

impl FileRef {
    pub(crate) fn new(stream: Arc<Stream>, flags: u32) -> FileRef {
        stream.refs.fetch_add(1, Ordering::AcqRel);
        FileRef::counted(stream, flags)
    }

    /// A file of a stream that may be closing: `None` if it is.
    pub(crate) fn of_live(stream: &Arc<Stream>, flags: u32) -> Option<FileRef> {
        let one_more = |n| if n == 0 { None } else { Some(n + 1) };
        let refs = &stream.refs;
        refs.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        Some(FileRef::counted(stream.clone(), flags))
    }

    fn counted(stream: Arc<Stream>, flags: u32) -> FileRef {
        if let Some(ends) = &stream.fifo {
            ends.opened(flags);
        }
        FileRef {
            file: Arc::new(File {
                stream,
                flags: AtomicU32::new(flags),
                refs: AtomicU32::new(1),
                received: AtomicBool::new(false),
            }),
            released: false,
        }
    }

    /// Lets go of the reference; returns the stream if nothing refers to it any more.
    pub(crate) fn release(mut self) -> Option<Arc<Stream>> {
        self.released = true;
        let gone = self.let_go()?;
        if gone.last {
            return Some(gone.stream);
        }
        gone.stream.ends_changed();
        None
    }

    /// `None`: others refer to the file.
    fn let_go(&self) -> Option<Gone> {
        let file = &self.file;
        if file.refs.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        if let Some(ends) = &file.stream.fifo {
            ends.closed(file.flags());
        }
        let last = file.stream.unref().is_some();
        let stream = file.stream.clone();
        Some(Gone { stream, last })
    }
}

/// A file that nobody refers to any more.
struct Gone {
    stream: Arc<Stream>,
    /// Nothing else has the stream open.
    last: bool,
}

impl Stream {
    /// Drops one reference; the stream itself if it was the last.
    pub fn unref(self: &Arc<Self>) -> Option<Arc<Stream>> {
        (self.refs.fetch_sub(1, Ordering::AcqRel) == 1).then(|| self.clone())
    }
}

impl Clone for FileRef {
    fn clone(&self) -> FileRef {
        self.file.refs.fetch_add(1, Ordering::AcqRel);
        FileRef {
            file: self.file.clone(),
            released: false,
        }
    }
}

impl Drop for FileRef {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        if let Some(gone) = self.let_go()
            && (gone.last || gone.stream.fifo.is_some())
        {
            // We may be inside the domain: somebody outside closes it.
            let env = gone.stream.env.clone();
            env.graves.lock().push(gone.stream);
            env.pump.wake();
        }
    }
}

impl fmt::Debug for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file of stream {}", self.file.stream.id)
    }
}
