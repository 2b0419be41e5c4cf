//! pipe(2): two heads, the write side of each feeding the read side of the other.
//!
//! ```text
//!   head A  write ──► read  head B
//!           read ◄── write
//! ```
//!
//! Spec: pipe(2), the reference's section 9.

use crate::sync::atomic::AtomicU32;
use std::sync::Arc;

use crate::domain::{Domain, DomainCell};
use crate::file::{FileRef, Stream};
use crate::kernel::Env;
use crate::message::{Msg, MsgType};
use crate::process::oflag;
use crate::queue::{NONE, flag};

/// PIPE_BUF: high water of a pipe's read queues.
pub(crate) const PIPE_BUF: usize = 5120;

/// Makes a pipe; both ends are open for reading and writing.
pub(crate) fn pipe(env: &Arc<Env>) -> (FileRef, FileRef) {
    let cell = DomainCell::new(env);
    let (ida, idb) = (env.next_stream(), env.next_stream());
    let (a, b) = cell.with(|dom| {
        let (a, b) = (dom.make_head(ida, true), dom.make_head(idb, true));
        dom.slot_mut(a + 1).next = b;
        dom.slot_mut(b + 1).next = a;
        for q in [a, b] {
            dom.slot_mut(q).hiwat = PIPE_BUF;
            if dom.env.tracing() {
                dom.mark_pair(q, flag::QTRACE, true);
            }
        }
        (a, b)
    });
    let end = |id, head| {
        let stream = Arc::new(Stream {
            id,
            env: env.clone(),
            cell: cell.clone(),
            head,
            major: None,
            minor: 0,
            path: "pipe".to_owned(),
            refs: AtomicU32::new(0),
            fifo: None,
        });
        env.streams.lock().insert(id, Arc::downgrade(&stream));
        FileRef::new(stream, oflag::O_RDWR)
    };
    (end(ida, a), end(idb, b))
}

/// A pipe end closes: the other one reads its rest, then end of file; writing there
/// fails (M_HANGUP).
pub(crate) fn orphan_peer(dom: &mut Domain, head: u32) {
    let to = dom.slot(head + 1).next;
    if to == NONE {
        return;
    }
    dom.putnext(head + 1, Msg::of(MsgType::Hangup, &[]));
    // `to` is the queue that we put to; the one that puts to us is its partner.
    dom.slot_mut(to ^ 1).next = NONE;
    dom.slot_mut(head + 1).next = NONE;
}
