//! open and close: from a device node to a stream, and back to nothing.
//!
//! ```text
//!   first open   head + driver pair ─► driver open ─► (wait) ─► autopush
//!   same minor   every module's reopen, top to bottom
//!   last close   unlink all ─► each module: drain, close ─► driver ─► head
//! ```
//!
//! Spec: open(2), close(2), clone(7D), the reference's section 8.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::task::Poll;

use super::{Sleep, link};
use crate::domain::{Domain, DomainCell};
use crate::errno::Errno;
use crate::file::{FileRef, Stream};
use crate::kernel::Env;
use crate::message::Cred;
use crate::module::{Close, Open, SFlag, Wait};
use crate::process::{Caller, oflag};
use crate::queue::{NONE, flag};
use crate::registry::{Entry, Node};

/// Opens a device node.
pub(crate) async fn open(
    env: &Arc<Env>,
    caller: &Caller,
    path: &str,
    flags: u32,
) -> Result<FileRef, Errno> {
    let path = &*crate::names::resolve(env, path)?;
    if let Some(r) = crate::names::open(env, caller, path, flags).await {
        return r;
    }
    let (node, entry) = {
        let reg = env.registry.read();
        let node = *reg.nodes.get(path).ok_or(Errno::ENOENT)?;
        let node = reg.through_clone(node);
        let entry = reg
            .drivers
            .get(&node.major)
            .map(|d| d.entry.clone())
            .ok_or(Errno::ENXIO)?;
        (node, entry)
    };
    if let Some(minor) = node.minor {
        let open = env
            .devices
            .lock()
            .get(&(node.major, minor))
            .and_then(|w| w.upgrade());
        if let Some(stream) = open {
            return reopen(&stream, caller, flags).await;
        }
    }
    first_open(env, caller, path, node, &entry, flags).await
}

async fn first_open(
    env: &Arc<Env>,
    caller: &Caller,
    path: &str,
    node: Node,
    entry: &Arc<Entry>,
    flags: u32,
) -> Result<FileRef, Errno> {
    let cell = entry.home(env).unwrap_or_else(|| DomainCell::new(env));
    let id = env.next_stream();
    let mut how = Open {
        major: node.major,
        minor: node.minor,
        flag: flags,
        sflag: if node.minor.is_some() {
            SFlag::Driver
        } else {
            SFlag::Clone
        },
        cred: caller.cred,
        name: entry.name,
    };
    let made = cell.with(|dom| {
        let head = dom.make_head(id, false);
        let drv = dom.alloc_pair(id);
        dom.install(drv, entry);
        for i in [drv, drv + 1] {
            dom.slot_mut(i).flag |= flag::QISDRV;
        }
        dom.slot_mut(head + 1).next = drv + 1;
        dom.slot_mut(drv).next = head;
        if dom.env.tracing() {
            dom.mark_pair(head, flag::QTRACE, true);
            dom.mark_pair(drv, flag::QTRACE, true);
        }
        match instance(dom, drv, &mut how) {
            Ok(()) => Ok((head, drv)),
            Err(e) => {
                dom.free_pair(drv);
                dom.free_pair(head);
                Err(e)
            }
        }
    });
    let (head, drv) = made?;
    entry.opens.fetch_add(1, Ordering::AcqRel);
    let minor = how.minor.unwrap_or_else(|| 0x1_0000 + id);
    let stream = Arc::new(Stream {
        id,
        env: env.clone(),
        cell,
        head,
        major: Some(node.major),
        minor,
        path: path.to_owned(),
        refs: AtomicU32::new(0),
        fifo: None,
    });
    // 8.4: a driver may choose its minor, never another major.
    let opened = match how.major == node.major {
        true => wait_opened(&stream, caller, drv).await,
        false => Err(Errno::ENXIO),
    };
    if let Err(e) = opened {
        stream
            .take_down(
                drv,
                entry,
                &Close {
                    flag: flags | oflag::O_NONBLOCK,
                    cred: caller.cred,
                },
            )
            .await;
        stream.with(|dom| dom.free_pair(head));
        return Err(e);
    }
    let dev = (node.major, minor);
    env.devices.lock().insert(dev, Arc::downgrade(&stream));
    env.streams.lock().insert(id, Arc::downgrade(&stream));
    let file = FileRef::new(stream.clone(), flags);
    // 8.1: what sad(7D) wants on this device.
    if let Some(auto) = crate::autopush::find(env, node.major, minor) {
        for name in &auto.list {
            if let Err(e) = stream.push(caller, name, true).await {
                if let Some(s) = file.release() {
                    s.close(Some(caller), flags | oflag::O_NONBLOCK).await;
                }
                return Err(e);
            }
        }
        stream.with(|dom| {
            if let Some(h) = dom.head(head) {
                h.anchor = auto.anchor as usize;
            }
        });
    }
    Ok(file)
}

/// Calls open(9E) of a fresh pair and keeps the instance.
pub(crate) fn instance(dom: &mut Domain, pair: u32, how: &mut Open) -> Result<(), Errno> {
    let f = dom.slot(pair).ops.open;
    // qprocson(9F): until open has returned, what comes for the pair waits.
    dom.mark_pair(pair, flag::QOPENING, true);
    dom.enter_top(pair);
    let r = f(dom, pair, how).map(|m| dom.slot_mut(pair).ptr = Some(m));
    dom.leave(pair, false);
    dom.mark_pair(pair, flag::QOPENING, false);
    r
}

/// Asks `Module::opened` until it is done (qwait(9F)).
pub(crate) async fn wait_opened(
    stream: &Arc<Stream>,
    caller: &Caller,
    pair: u32,
) -> Result<(), Errno> {
    let r = stream
        .wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, _| {
                dom.mark_pair(pair, flag::QWAIT, true);
                let f = dom.slot(pair).ops.opened;
                match f(dom, pair) {
                    Ok(Wait::Done) => Poll::Ready(Ok(())),
                    Ok(Wait::Again) => Poll::Pending,
                    Err(e) => Poll::Ready(Err(e)),
                }
            },
        )
        .await;
    stream.with(|dom| dom.mark_pair(pair, flag::QWAIT, false));
    r
}

/// A further open of a stream that is open (8.2).
pub(crate) async fn reopen(
    stream: &Arc<Stream>,
    caller: &Caller,
    flags: u32,
) -> Result<FileRef, Errno> {
    let file = FileRef::new(stream.clone(), flags);
    let (major, minor, cred) = (stream.major.unwrap_or(0), stream.minor, caller.cred);
    let r = stream
        .wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                let Some(h) = dom.head(head) else {
                    return Poll::Ready(Err(Errno::ENXIO));
                };
                if h.rerr != 0 || h.werr != 0 {
                    return Poll::Ready(Err(Errno::EIO));
                }
                if h.plumbing {
                    if flags & oflag::NONBLOCK != 0 {
                        return Poll::Ready(Err(Errno::EAGAIN));
                    }
                    return Poll::Pending;
                }
                let mut at = dom.slot(head + 1).next;
                // A pipe's or FIFO's write side goes on as a read side.
                while at != NONE && at & 1 == 1 {
                    let s = dom.slot(at);
                    let is_drv = s.has(flag::QISDRV);
                    let (f, name, next) = (s.ops.reopen, s.name, s.next);
                    let mut how = Open {
                        major,
                        minor: Some(minor),
                        flag: if is_drv { flags } else { 0 },
                        sflag: if is_drv { SFlag::Driver } else { SFlag::Module },
                        cred,
                        name,
                    };
                    if let Err(e) = f(dom, at & !1, &mut how) {
                        return Poll::Ready(Err(e));
                    }
                    at = next;
                }
                if let Some(h) = dom.head(head) {
                    h.hup &= h.is_pipe; // there it is the other end that is missing
                    (h.rerr, h.werr) = (0, 0);
                }
                Poll::Ready(Ok(()))
            },
        )
        .await;
    match r {
        Ok(()) => Ok(file),
        Err(e) => {
            if let Some(s) = file.release() {
                s.close(Some(caller), flags).await;
            }
            Err(e)
        }
    }
}

impl Stream {
    /// The last close (8.3). `flags` are those of the last file.
    pub(crate) async fn close(self: &Arc<Self>, caller: Option<&Caller>, flags: u32) {
        if let Some(major) = self.major {
            let mut devices = self.env.devices.lock();
            // Another open of the minor may have made a stream of its own meanwhile.
            let dev = (major, self.minor);
            if devices
                .get(&dev)
                .is_some_and(|w| std::ptr::eq(w.as_ptr(), &**self))
            {
                devices.remove(&dev);
            }
        }
        self.env.streams.lock().remove(&self.id);
        link::unlink_all_of(self).await;
        let cred = caller.map_or(Cred::ROOT, |c| c.cred);
        let how = Close { flag: flags, cred };
        loop {
            // A pipe's head has its other end below it, not a module.
            let below = self.with(|dom| {
                let next = dom.slot(self.head + 1).next;
                let pair = next & !1;
                (next != NONE
                    && !dom.slot(next).has(flag::QHEAD)
                    && dom.slot(next).stream == self.id)
                    .then(|| (pair, dom.slot(pair).name, dom.slot(pair).has(flag::QISDRV)))
            });
            let Some((pair, name, is_drv)) = below else {
                break;
            };
            let entry = {
                let reg = self.env.registry.read();
                if is_drv {
                    self.major
                        .and_then(|m| reg.drivers.get(&m))
                        .map(|d| d.entry.clone())
                } else {
                    reg.modules.get(name).cloned()
                }
            };
            self.drain(caller, pair, flags).await;
            match entry {
                Some(e) => self.take_down(pair, &e, &how).await,
                None => self.with(|dom| dom.detach(pair)),
            }
        }
        self.with(|dom| {
            dom.wake_head(self.head);
            crate::pipe::orphan_peer(dom, self.head);
            dom.free_pair(self.head);
        });
    }

    /// A close that waits for nothing: the last reference went away inside a message.
    pub(crate) async fn close_now(self: &Arc<Self>) {
        self.close(None, oflag::O_NONBLOCK).await;
    }

    /// Waits for the write queue of the pair to empty before it is closed.
    async fn drain(self: &Arc<Self>, caller: Option<&Caller>, pair: u32, flags: u32) {
        if flags & oflag::NONBLOCK != 0 {
            return;
        }
        let time = self.with(|dom| {
            let now = dom.now();
            let h = dom.head(self.head)?;
            (!h.hup && !h.closetime.is_zero()).then(|| now + h.closetime)
        });
        let Some(deadline) = time else { return };
        let _ = self // whatever ends the wait, the close goes on
            .wait_for(
                Sleep {
                    caller,
                    deadline: Some(deadline),
                },
                |dom, head| {
                    let hup = dom
                        .head(head)
                        .is_none_or(|h| h.hup || h.rerr != 0 || h.werr != 0);
                    if hup || dom.slot(pair | 1).list.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    // Somebody must tell us when it has gone down.
                    dom.mark_pair(pair, flag::QWAIT, true);
                    Poll::Pending
                },
            )
            .await;
    }

    /// close(9E) of one module or the driver, then its queues go.
    pub(crate) async fn take_down(self: &Arc<Self>, pair: u32, entry: &Entry, how: &Close) {
        let _ = self // a module's close has no error
            .wait_for(Sleep::FOREVER, |dom, _| {
                dom.mark_pair(pair, flag::QWAIT, true);
                let f = dom.slot(pair).ops.close;
                match f(dom, pair, how) {
                    Wait::Done => Poll::Ready(Ok(())),
                    Wait::Again => Poll::Pending,
                }
            })
            .await;
        self.with(|dom| dom.detach(pair));
        entry.opens.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Domain {
    /// Takes a pair out of its stream: neighbours meet, what waits for it goes on
    /// (a module) or is freed (a driver), its queues are gone (qprocsoff(9F)).
    pub(crate) fn detach(&mut self, pair: u32) {
        let (r, w) = (pair, pair + 1);
        let (up, mut down) = (self.slot(r).next, self.slot(w).next);
        if down == r {
            down = up; // the lowest of a FIFO: who is above meets himself
        }
        if down != NONE {
            // The queue below put to us; now it puts to who was above.
            self.slot_mut(down ^ 1).next = up;
        }
        if up != NONE {
            self.slot_mut(up ^ 1).next = down;
        }
        let perims = [self.slot(r).inner, self.slot(w).inner, self.slot(r).outer];
        let mut waiting = Vec::new();
        for p in perims {
            if p != NONE {
                waiting.extend(self.slot_mut(p).perim.take_waiters_of(r));
                waiting.extend(self.slot_mut(p).perim.take_waiters_of(w));
            }
        }
        for e in waiting {
            let to = self.slot(e.idx).next;
            if to != NONE {
                self.put(to, e.mp);
            } else {
                self.discard_event(e.mp);
            }
        }
        // Who was told to wait for room here must look again.
        for q in [r, w] {
            if self.slot(q).flag & flag::QWANTW != 0 {
                self.backenable(q);
            }
        }
        self.free_pair(pair);
    }
}
