//! I_LINK, I_PLINK and their undoing: streams under a multiplexing driver.
//!
//! ```text
//!        upper stream                      upper stream
//!   head ─► .. ─► mux driver          head ─► .. ─► mux driver
//!                                                     │ st_muxwinit
//!   lower: head ─► modules ─► driver    lower: [head] ─► modules ─► driver
//!          (the user's)                         run by the mux from now on
//! ```
//!
//! A link belongs to the upper stream (I_LINK) or to its driver (I_PLINK): the latter
//! outlives the process and is found again from any stream open to the driver.
//!
//! Spec: streamio(7I), the reference's section 4.
//! Kept: checks in their order, the cycle rule over majors, who may unlink.
//! Differs: what comes up the lower stream while the driver is asked is not held back;
//! nothing can come, for the two are one domain and it is locked.

use crate::sync::atomic::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ioctl::{finish, send_ioctl, take_reply};
use super::{Sides, Sleep};
use crate::domain::{Domain, DomainCell};
use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::message::{Cred, Ctl, LinkBlk, Msg, MsgType};
use crate::process::{Caller, oflag};
use crate::queue::{Flush, flag};
use crate::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK, MUXID_ALL};

/// One link.
#[derive(Clone)]
pub(crate) struct Link {
    /// The upper stream, for I_LINK; its driver, for I_PLINK.
    pub upper: Upper,
    pub upper_major: u32,
    pub lower: Arc<Stream>,
}

/// Whom a link belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Upper {
    /// A stream, by its number.
    Stream(u32),
    /// A driver, by its major: the link is persistent.
    Major(u32),
}

/// Every link of a kernel, by multiplexor id.
#[derive(Default)]
pub(crate) struct Links {
    pub by_id: BTreeMap<i32, Link>,
    last_id: i32,
}

impl Links {
    /// Would `upper` over `lower` close a cycle of majors? (4.1)
    fn makes_cycle(&self, upper: u32, lower: u32) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![lower];
        while let Some(m) = todo.pop() {
            if m == upper {
                return true;
            }
            if seen.insert(m) {
                let below = self.by_id.values().filter(|l| l.upper_major == m);
                todo.extend(below.filter_map(|l| l.lower.major));
            }
        }
        false
    }

    fn next_id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }
}

impl Stream {
    /// I_LINK or I_PLINK: returns the multiplexor id.
    pub(crate) async fn link(
        self: &Arc<Self>,
        caller: &Caller,
        lower: Option<Arc<Stream>>,
        persistent: bool,
    ) -> Result<i32, Errno> {
        // 4.1, in its order.
        self.with(|dom| match dom.head(self.head) {
            Some(h) => h.geterr(Sides::Both, Some(Errno::ENXIO)),
            None => Err(Errno::EBADF),
        })?;
        let major = self.major.ok_or(Errno::EINVAL)?;
        let mux = self
            .env
            .registry
            .read()
            .drivers
            .get(&major)
            .map(|d| d.entry.clone());
        let mux_ops = mux.as_ref().and_then(|e| e.ops.mux).ok_or(Errno::EINVAL)?;
        let lower = lower.ok_or(Errno::EBADF)?;
        if Arc::ptr_eq(self, &lower) {
            return Err(Errno::EINVAL);
        }
        let lower_major = lower.major.ok_or(Errno::EINVAL)?;
        let busy = lower.with(|dom| {
            dom.head(lower.head).is_none_or(|h| {
                h.plexed || h.hup || h.rerr != 0 || h.werr != 0 || h.ioc.is_some() || h.plumbing
            })
        });
        if busy {
            return Err(Errno::EINVAL);
        }
        let id = {
            let mut links = self.env.links.lock();
            if links.makes_cycle(major, lower_major) {
                return Err(Errno::EINVAL);
            }
            if !self.env.memory.available() {
                return Err(Errno::EAGAIN);
            }
            links.next_id()
        };
        DomainCell::join(&self.cell, &lower.cell);
        let ioc = self.begin_ioctl(Some(caller), false).await?;
        let blk = self.with(|dom| {
            let drv = dom.bottom(self.head | 1);
            plex(dom, lower.head, mux_ops, drv);
            let qtop = (!persistent).then(|| dom.qref(drv));
            let blk = LinkBlk {
                qtop,
                qbot: dom.qref(lower.head | 1),
                index: id,
            };
            let cmd = if persistent { I_PLINK } else { I_LINK };
            send_link(dom, self.head, cmd, ioc, caller.cred, blk);
            blk
        });
        debug_assert_eq!(blk.index, id);
        // No timeout, no signal, no stream error ends this wait (4.2).
        let reply = self
            .wait_for(Sleep::FOREVER, |dom, head| take_reply(dom, head, true))
            .await;
        self.end_ioctl();
        let answered = reply.and_then(|mp| acked(mp, Errno::EINVAL));
        if let Err(e) = answered {
            lower.with(|dom| unplex(dom, lower.head, false));
            return Err(e);
        }
        lower.refs.fetch_add(1, Ordering::AcqRel);
        let upper = if persistent {
            Upper::Major(major)
        } else {
            Upper::Stream(self.id)
        };
        let link = Link {
            upper,
            upper_major: major,
            lower: lower.clone(),
        };
        self.env.links.lock().by_id.insert(id, link);
        lower.with(|dom| dom.wake_head(lower.head));
        Ok(id)
    }

    /// `_I_MUXID2FD`: a file of the stream that a persistent link of this driver holds.
    pub(crate) fn linked_file(self: &Arc<Self>, id: i32) -> Result<FileRef, Errno> {
        let major = self.major.ok_or(Errno::EINVAL)?;
        let links = self.env.links.lock();
        match links.by_id.get(&id) {
            Some(l) if l.upper == Upper::Major(major) => {
                Ok(FileRef::new(l.lower.clone(), oflag::O_RDWR))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// I_UNLINK or I_PUNLINK; MUXID_ALL for all that this stream, or its driver, has.
    pub(crate) async fn unlink(
        self: &Arc<Self>,
        caller: Option<&Caller>,
        id: i32,
        persistent: bool,
    ) -> Result<(), Errno> {
        let major = self.major.ok_or(Errno::EINVAL)?;
        let mine = if persistent {
            Upper::Major(major)
        } else {
            Upper::Stream(self.id)
        };
        let todo: Vec<i32> = {
            let links = self.env.links.lock();
            if id == MUXID_ALL {
                links
                    .by_id
                    .iter()
                    .filter(|(_, l)| l.upper == mine)
                    .map(|(i, _)| *i)
                    .collect()
            } else {
                match links.by_id.get(&id) {
                    Some(l) if l.upper == mine => vec![id],
                    _ => return Err(Errno::EINVAL), // unknown, or of the other kind (4.3)
                }
            }
        };
        for id in todo {
            self.unlink_one(caller, id, persistent, false).await?;
        }
        Ok(())
    }

    async fn unlink_one(
        self: &Arc<Self>,
        caller: Option<&Caller>,
        id: i32,
        persistent: bool,
        closing: bool,
    ) -> Result<(), Errno> {
        let Some(link) = self.env.links.lock().by_id.get(&id).cloned() else {
            return Err(Errno::EINVAL);
        };
        // A persistent link may be undone from a stream that has had nothing to do with it.
        DomainCell::join(&self.cell, &link.lower.cell);
        let ioc = self.begin_ioctl(None, true).await?;
        self.with(|dom| {
            let drv = dom.bottom(self.head | 1);
            let qtop = (!persistent).then(|| dom.qref(drv));
            let blk = LinkBlk {
                qtop,
                qbot: dom.qref(link.lower.head | 1),
                index: id,
            };
            let cmd = if persistent { I_PUNLINK } else { I_UNLINK };
            let cred = caller.map_or(Cred::ROOT, |c| c.cred);
            send_link(dom, self.head, cmd, ioc, cred, blk);
        });
        let reply = self
            .wait_for(Sleep::FOREVER, |dom, head| take_reply(dom, head, true))
            .await;
        self.end_ioctl();
        if let Err(e) = reply.and_then(|mp| acked(mp, Errno::EINVAL))
            && !closing
        {
            return Err(e); // the link stays; at close it goes whatever the driver says
        }
        self.env.links.lock().by_id.remove(&id);
        let lower = &link.lower;
        lower.with(|dom| unplex(dom, lower.head, true));
        if let Some(last) = lower.unref() {
            Box::pin(last.close(caller, 0)).await;
        }
        Ok(())
    }
}

/// At the last close of an upper stream: all its I_LINK links, whatever the driver says.
pub(crate) async fn unlink_all_of(stream: &Arc<Stream>) {
    let mine = Upper::Stream(stream.id);
    let ids: Vec<i32> = {
        let links = stream.env.links.lock();
        links
            .by_id
            .iter()
            .filter(|(_, l)| l.upper == mine)
            .map(|(i, _)| *i)
            .collect()
    };
    for id in ids {
        let _ = stream.unlink_one(None, id, false, true).await; // gone either way
    }
}

fn send_link(dom: &mut Domain, head: u32, cmd: i32, id: u32, cr: Cred, blk: LinkBlk) {
    let data = Msg::control(MsgType::Data, Ctl::Link(blk));
    send_ioctl(dom, head, cmd, id, cr, size_of::<LinkBlk>(), Some(data));
}

/// M_IOCACK without an error; else its error, or `otherwise` for none.
fn acked(mp: Msg, otherwise: Errno) -> Result<(), Errno> {
    if mp.ty() == MsgType::IocAck {
        return finish(mp, false).map(|_| ());
    }
    match mp.ioc().map_or(0, |i| i.error) {
        0 => Err(otherwise),
        e => Err(Errno::from_number(e)),
    }
}

/// Gives the head's queues to the multiplexor whose write queue is `drv` (STPLEX).
fn plex(dom: &mut Domain, head: u32, mux: crate::module::MuxOps, drv: u32) {
    let d = dom.slot(drv);
    let (name, modslot, ops) = (d.name, d.modslot, d.ops);
    if let Some(h) = dom.head(head) {
        h.plexed = true;
    }
    for (idx, putp, srvp) in [(head, mux.rput, mux.rsrv), (head + 1, mux.wput, mux.wsrv)] {
        let s = dom.slot_mut(idx);
        s.putp = putp;
        s.srvp = srvp;
        s.ops = ops; // timeouts, bufcalls and interrupts too are the driver's,
        s.name = name; // as are drops and traces,
        s.modslot = modslot;
        dom.enclose(idx, ops.perimeter, modslot); // and they enter its perimeter
    }
    let s = dom.slot_mut(head);
    s.linked_head = s.ptr.take();
}

/// Makes the queues a stream head's again.
fn unplex(dom: &mut Domain, head: u32, flush: bool) {
    if flush {
        dom.flushq(head, Flush::All);
        dom.flushq(head + 1, Flush::All);
    }
    let ops = &super::HEAD_OPS;
    for (idx, putp, srvp) in [(head, ops.rput, None), (head + 1, ops.wput, ops.wsrv)] {
        let s = dom.slot_mut(idx);
        s.putp = putp;
        s.srvp = srvp;
        s.ops = ops;
        s.name = ops.info.name;
        s.modslot = crate::queue::NONE;
        s.number = 0;
        s.flag &= !flag::QENAB;
        dom.enclose(idx, ops.perimeter, crate::queue::NONE);
    }
    let s = dom.slot_mut(head);
    if let Some(h) = s.linked_head.take() {
        s.ptr = Some(h);
    }
    if let Some(h) = dom.head(head) {
        h.plexed = false;
    }
}
