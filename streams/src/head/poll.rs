//! poll(2): what could be done now.
//!
//! Spec: poll(2), the reference's 5.5.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::domain::Domain;
use crate::file::Stream;
use crate::message::MsgType;
use crate::queue::{NONE, QB_FULL, QB_WANTW, flag};
use crate::sys::event;

impl Stream {
    /// The events of `want` that hold now; if none, the waker is left with the head.
    pub(crate) fn poll_events(
        self: &Arc<Self>,
        want: u16,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<u16> {
        self.with(|dom| {
            let head = self.head;
            dom.rq_signals(head);
            let Some(h) = dom.head(head) else {
                return Poll::Ready(event::POLLNVAL);
            };
            if h.plexed {
                return Poll::Ready(event::POLLNVAL);
            }
            let reads = event::POLLIN | event::POLLRDNORM | event::POLLRDBAND | event::POLLPRI;
            let writes = event::POLLOUT | event::POLLWRBAND;
            if (want & reads != 0 && h.rerr != 0) || (want & writes != 0 && h.werr != 0) {
                return Poll::Ready(event::POLLERR);
            }
            let (hup, pri) = (h.hup, h.pri);
            let mut got = 0;
            if hup {
                got |= event::POLLHUP;
            } else {
                if want & event::POLLOUT != 0 && dom.canputnext(head | 1) {
                    got |= event::POLLOUT;
                }
                if want & event::POLLWRBAND != 0 {
                    got |= bands_writable(dom, head);
                }
            }
            if pri {
                got |= event::POLLPRI & want;
            } else if let Some(m) = dom.slot(head).list.front() {
                let band = if m.band() == 0 || m.ty() == MsgType::PassFp {
                    event::POLLRDNORM
                } else {
                    event::POLLRDBAND
                };
                got |= (event::POLLIN | band) & want;
            } else if hup {
                got |= (event::POLLIN | event::POLLRDNORM) & want;
            }
            if got != 0 {
                return Poll::Ready(got);
            }
            // A getq that finds the queue empty sets QWANTR; poll only asks to be woken.
            if let (Some(cx), Some(h)) = (cx, dom.head(head)) {
                h.sleep(cx.waker());
            }
            debug_assert!(dom.slot(head).has(flag::QUSE));
            Poll::Pending
        })
    }
}

/// POLLWRBAND if some band of the queue that answers for flow control has room, or it has
/// none; else the full ones tell when they have.
fn bands_writable(dom: &mut Domain, head: u32) -> u16 {
    let below = dom.slot(head | 1).next;
    if below == NONE {
        return 0;
    }
    let end = dom.flow_end(below);
    let bands = &mut dom.slot_mut(end).bands;
    if bands.is_empty() || bands.iter().any(|b| b.flag & QB_FULL == 0) {
        return event::POLLWRBAND;
    }
    for b in bands {
        b.flag |= QB_WANTW;
    }
    0
}
