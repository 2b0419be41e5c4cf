//! FIFOs: one head whose write side feeds its own read side.
//!
//! ```text
//!   head   write ─► module wq ─┐          a module on it sees everything twice:
//!          read  ◄─ module rq ◄┘          going down, then coming up
//! ```
//!
//! Whoever opens the name gets the same stream. It is hung up (M_HANGUP's rules: reads end,
//! writes are EPIPE) as long as it lacks a reader or a writer.
//!
//! Spec: mknod(2), open(2), read(2), write(2) on FIFOs, the reference's section 9.
//! Kept: an open for reading waits for a writer and one for writing for a reader; with
//! O_NONBLOCK the one succeeds, the other is ENXIO.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::task::Poll;

use crate::domain::DomainCell;
use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::head::{Sleep, open_close::reopen};
use crate::kernel::Env;
use crate::names::Kind;
use crate::pipe::PIPE_BUF;
use crate::process::{Caller, oflag};
use crate::queue::flag;

/// Who has a FIFO open, and how often it was opened.
#[derive(Default)]
pub(crate) struct Ends {
    readers: AtomicU32,
    writers: AtomicU32,
    reads: AtomicU32,
    writes: AtomicU32,
}

fn access(flags: u32) -> (bool, bool) {
    let mode = flags & 3;
    (mode != oflag::O_WRONLY, mode != oflag::O_RDONLY)
}

impl Ends {
    /// A file was opened.
    pub fn opened(&self, flags: u32) {
        let (r, w) = access(flags);
        if r {
            self.readers.fetch_add(1, Ordering::AcqRel);
            self.reads.fetch_add(1, Ordering::AcqRel);
        }
        if w {
            self.writers.fetch_add(1, Ordering::AcqRel);
            self.writes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The last reference to a file has gone.
    pub fn closed(&self, flags: u32) {
        let (r, w) = access(flags);
        if r {
            self.readers.fetch_sub(1, Ordering::AcqRel);
        }
        if w {
            self.writers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn both(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0 && self.writers.load(Ordering::Acquire) > 0
    }
}

impl Stream {
    /// Readers or writers of a FIFO have come or gone.
    pub(crate) fn ends_changed(&self) {
        let Some(ends) = &self.fifo else { return };
        self.with(|dom| {
            if let Some(h) = dom.head(self.head) {
                h.hup = !ends.both();
            }
            dom.wake_head(self.head);
        });
    }
}

/// The stream of a FIFO, made if nobody has it open; a file of it, and whether it is new.
fn stream_of(env: &Arc<Env>, path: &str, flags: u32) -> Result<(FileRef, bool), Errno> {
    let mut names = env.names.lock();
    let Some(Kind::Fifo(at)) = names.get_mut(path).map(|n| &mut n.kind) else {
        return Err(Errno::ENOENT);
    };
    if let Some(file) = at.upgrade().and_then(|s| FileRef::of_live(&s, flags)) {
        return Ok((file, false));
    }
    let id = env.next_stream();
    let cell = DomainCell::new(env);
    let head = cell.with(|dom| {
        let head = dom.make_head(id, true);
        dom.slot_mut(head + 1).next = head;
        dom.slot_mut(head).hiwat = PIPE_BUF;
        if dom.env.tracing() {
            dom.mark_pair(head, flag::QTRACE, true);
        }
        head
    });
    let stream = Arc::new(Stream {
        id,
        env: env.clone(),
        cell,
        head,
        major: None,
        minor: 0,
        path: path.to_owned(),
        refs: AtomicU32::new(0),
        fifo: Some(Ends::default()),
    });
    *at = Arc::downgrade(&stream);
    env.streams.lock().insert(id, Arc::downgrade(&stream));
    Ok((FileRef::new(stream, flags), true))
}

/// Opens a FIFO.
pub(crate) async fn open(
    env: &Arc<Env>,
    caller: &Caller,
    path: &str,
    flags: u32,
) -> Result<FileRef, Errno> {
    let (mut file, new) = stream_of(env, path, flags)?;
    let stream = file.file.stream.clone();
    stream.ends_changed();
    let r = meet(&stream, caller, flags).await;
    if r.is_ok() && !new {
        // 8.2: every module's open once more.
        match reopen(&stream, caller, flags).await {
            Ok(again) => {
                close(std::mem::replace(&mut file, again), caller, flags).await;
                return Ok(file);
            }
            Err(e) => {
                close(file, caller, flags).await;
                return Err(e);
            }
        }
    }
    match r {
        Ok(()) => Ok(file),
        Err(e) => {
            close(file, caller, flags).await;
            Err(e)
        }
    }
}

async fn close(file: FileRef, caller: &Caller, flags: u32) {
    if let Some(last) = file.release() {
        last.close(Some(caller), flags).await;
    }
}

/// Waits for the other side to be opened.
async fn meet(stream: &Arc<Stream>, caller: &Caller, flags: u32) -> Result<(), Errno> {
    let Some(ends) = &stream.fifo else {
        return Ok(());
    };
    // An open that came and went while we waited counts too.
    let (there, count) = match access(flags) {
        (true, true) => return Ok(()),
        (true, false) => (&ends.writers, &ends.writes),
        _ => (&ends.readers, &ends.reads),
    };
    let before = count.load(Ordering::Acquire);
    let nonblock = flags & oflag::NONBLOCK != 0;
    let writing = access(flags).1;
    let sleep = Sleep {
        caller: Some(caller),
        deadline: None,
    };
    stream
        .wait_for(sleep, |_, _| {
            let met = there.load(Ordering::Acquire) > 0 || count.load(Ordering::Acquire) != before;
            match (met, nonblock, writing) {
                (true, _, _) | (_, true, false) => Poll::Ready(Ok(())),
                (_, true, true) => Poll::Ready(Err(Errno::ENXIO)),
                _ => Poll::Pending,
            }
        })
        .await
}
