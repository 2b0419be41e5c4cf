//! I_SENDFD and I_RECVFD: an open file through a pipe. I_FDINSERT: another stream's name.
//!
//! ```text
//!   I_SENDFD fd ─► M_PASSFP(file, who) ───────────► read queue of the head at the far end
//!                  past every module in between      └─► I_RECVFD ─► lowest free descriptor
//! ```
//!
//! Spec: streamio(7I), the reference's 2.2, 2.5 and section 9.
//! Kept: a file that nobody receives is closed with its message.

use std::sync::Arc;
use std::task::Poll;

use super::{Sides, Sleep};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::message::{Cred, Ctl, Msg, MsgType};
use crate::process::{Caller, oflag};
use crate::queue::{NONE, flag};
use crate::sys::FdInsert;
use crate::sys::stropts::RS_HIPRI;

/// The head at the other end of a pipe, however many modules are between.
fn far_head(dom: &Domain, head: u32) -> Option<u32> {
    let mut at = dom.slot(head | 1).next;
    while at != NONE {
        let s = dom.slot(at);
        if s.has(flag::QHEAD) {
            return Some(at & !1);
        }
        at = s.next;
    }
    None
}

impl Stream {
    /// I_SENDFD: puts a reference to the file on the far head's read queue.
    pub(crate) fn sendfd(&self, caller: &Caller, file: FileRef) -> Result<(), Errno> {
        self.usable(Sides::Both, Some(Errno::ENXIO))?;
        let cred = caller.cred;
        self.with(|dom| {
            let far = match dom.head(self.head) {
                Some(h) if h.is_pipe => far_head(dom, self.head).filter(|f| *f != self.head),
                _ => None,
            };
            let far = far.ok_or(Errno::EINVAL)?;
            if dom.slot(far).has(flag::QFULL) || !dom.env.memory.available() {
                return Err(Errno::EAGAIN);
            }
            let mp = Msg::control(MsgType::PassFp, Ctl::PassFp(file, cred));
            dom.put(far, mp);
            Ok(())
        })
    }

    /// I_RECVFD: waits for a file. The message is returned with it, to be put back should
    /// the file find no descriptor.
    pub(crate) async fn recvfd(
        self: &Arc<Self>,
        caller: &Caller,
        flags: u32,
    ) -> Result<(Msg, FileRef, Cred), Errno> {
        let sleep = Sleep {
            caller: Some(caller),
            deadline: None,
        };
        self.wait_for(sleep, |dom, head| {
            dom.rq_signals(head);
            let Some(h) = dom.head(head) else {
                return Poll::Ready(Err(Errno::EBADF));
            };
            if let Err(e) = h.geterr(Sides::Read, None) {
                return Poll::Ready(Err(e));
            }
            let hup = h.hup;
            match dom.slot(head).list.front() {
                None if hup => return Poll::Ready(Err(Errno::ENXIO)),
                None if flags & oflag::NONBLOCK != 0 => return Poll::Ready(Err(Errno::EAGAIN)),
                None => return Poll::Pending,
                Some(m) if m.ty() != MsgType::PassFp => {
                    return Poll::Ready(Err(Errno::EBADMSG));
                }
                Some(_) => {}
            }
            let Some(mp) = dom.rq_take(head) else {
                return Poll::Ready(Err(Errno::EAGAIN));
            };
            let last = super::readq::Taken::of(&mp);
            dom.rq_release(head, last.band);
            dom.rq_settle(head, last);
            let Some(Ctl::PassFp(file, cred)) = mp.ctl() else {
                return Poll::Ready(Err(Errno::EBADMSG)); // a forged one: it names no file
            };
            let (file, cred) = (file.clone(), *cred);
            Poll::Ready(Ok((mp, file, cred)))
        })
        .await
    }

    /// I_FDINSERT: a putmsg whose control part is told the other stream's id, its minor.
    pub(crate) async fn fdinsert(
        self: &Arc<Self>,
        caller: &Caller,
        other: Option<Arc<Stream>>,
        req: FdInsert,
        flags: u32,
    ) -> Result<(), Errno> {
        self.usable(Sides::Both, Some(Errno::ENXIO))?;
        let offset = usize::try_from(req.offset).map_err(|_| Errno::EINVAL)?;
        let other = other.ok_or(Errno::EINVAL)?;
        if offset % 4 != 0 {
            return Err(Errno::EINVAL);
        }
        other.usable(Sides::Both, Some(Errno::ENXIO))?;
        let mut ctl = req.ctl;
        let place = offset
            .checked_add(4)
            .and_then(|end| ctl.get_mut(offset..end));
        let place = place.ok_or(Errno::EINVAL)?;
        if req.flags & !RS_HIPRI != 0 {
            return Err(Errno::EINVAL);
        }
        place.copy_from_slice(&other.minor.to_ne_bytes());
        let hipri = req.flags == RS_HIPRI;
        self.putpmsg(caller, Some(&ctl), req.data.as_deref(), hipri, 0, flags)
            .await
    }
}
