//! pipe(2): two heads, the write side of each feeding the read side of the other.
//!
//! ```text
//!   head A  write ──► read  head B
//!           read ◄── write
//!
//!   head A  write ──► dead  end      B has closed: what comes is answered as by a driver
//!           read ◄── end             that knows nothing, and never stands still
//! ```
//!
//! Spec: pipe(2), the reference's section 9.

use crate::sync::atomic::AtomicU32;
use std::sync::Arc;

use crate::domain::{Domain, DomainCell};
use crate::file::{FileRef, Stream};
use crate::kernel::Env;
use crate::message::{FLUSHR, FLUSHW, Msg, MsgType};
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
/// fails (M_HANGUP). What its modules still send goes to a dead end.
pub(crate) fn orphan_peer(dom: &mut Domain, head: u32) {
    let to = dom.slot(head + 1).next;
    if to == NONE {
        return;
    }
    dom.slot_mut(head + 1).next = NONE;
    if dom.slot(to).name == DEAD {
        return dom.free_pair(to & !1); // both ends are gone
    }
    let dead = dom.alloc_pair(dom.slot(head).stream);
    for q in [dead, dead + 1] {
        let s = dom.slot_mut(q);
        s.name = DEAD;
        s.putp = dead_put;
    }
    dom.slot_mut(dead + 1).next = to;
    // `to` is the queue that we put to; the one that puts to us is its partner.
    dom.slot_mut(to ^ 1).next = dead;
    dom.putnext(dead + 1, Msg::of(MsgType::Hangup, &[]));
}

/// The name of a dead end's queues.
const DEAD: &str = "dead";

/// What reaches the end of a pipe that was closed: M_FLUSH is turned round, M_IOCTL and copy
/// requests are refused, all else is freed.
fn dead_put(dom: &mut Domain, idx: u32, mut mp: Msg) {
    let how = mp.rd().first().copied().unwrap_or(0);
    match mp.ty() {
        MsgType::Flush if how & FLUSHR != 0 => {
            if let Some(b) = mp.rd_mut().first_mut() {
                *b &= !FLUSHW;
            }
            dom.putnext(idx | 1, mp);
        }
        MsgType::Ioctl => {
            mp.set_ty(MsgType::IocNak);
            dom.putnext(idx | 1, mp);
        }
        MsgType::CopyIn | MsgType::CopyOut => crate::head::ioctl::refuse_copy(dom, idx, mp),
        _ => dom.pool.free(mp),
    }
}
