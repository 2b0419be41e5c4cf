//! I_PUSH, I_POP, I_LOOK, I_LIST, I_FIND: the modules of a stream.
//!
//! ```text
//!   head ──► [new] ──► top ──► .. ──► driver      I_PUSH puts a pair right under the head
//! ```
//!
//! Spec: streamio(7I), the reference's 2.2 and 2.5.

use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::Poll;

use super::open_close::{instance, wait_opened};
use super::{Sides, Sleep};
use crate::domain::{Domain, DomainCell};
use crate::errno::Errno;
use crate::file::Stream;
use crate::module::{Close, Open, SFlag};
use crate::process::{Caller, oflag};
use crate::queue::{NONE, flag};

impl Stream {
    /// Waits for its turn to plumb, and takes it.
    async fn begin_plumbing(self: &Arc<Self>, caller: &Caller, flags: u32) -> Result<(), Errno> {
        self.wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                let Some(h) = dom.head(head) else {
                    return Poll::Ready(Err(Errno::EBADF));
                };
                if let Err(e) = h.geterr(Sides::Both, Some(Errno::ENXIO)) {
                    return Poll::Ready(Err(e));
                }
                if h.plumbing {
                    if flags & oflag::NONBLOCK != 0 {
                        return Poll::Ready(Err(Errno::EAGAIN));
                    }
                    return Poll::Pending;
                }
                h.plumbing = true;
                Poll::Ready(Ok(()))
            },
        )
        .await
    }

    fn end_plumbing(self: &Arc<Self>) {
        self.with(|dom| {
            if let Some(h) = dom.head(self.head) {
                h.plumbing = false;
            }
            dom.wake_head(self.head);
        });
    }

    /// I_PUSH. The autopush of an open is not counted against a busy plumbing.
    pub(crate) async fn push(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        _auto: bool,
    ) -> Result<(), Errno> {
        self.begin_plumbing(caller, 0).await?;
        let r = self.push_locked(caller, name, 0).await;
        self.end_plumbing();
        r
    }

    /// `_I_INSERT`: pushes a module under `pos` others.
    pub(crate) async fn insert(
        self: &Arc<Self>,
        caller: &Caller,
        flags: u32,
        pos: i32,
        name: &str,
    ) -> Result<(), Errno> {
        caller.cred.require_priv()?;
        self.begin_plumbing(caller, flags).await?;
        let r = match self.at_pos(pos) {
            Ok((n, pushed)) if n <= pushed => self.push_locked(caller, name, n).await,
            _ => Err(Errno::EINVAL),
        };
        self.end_plumbing();
        r
    }

    /// `_I_REMOVE`: pops the module that has `pos` others above it.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        caller: &Caller,
        flags: u32,
        pos: i32,
        name: &str,
    ) -> Result<(), Errno> {
        caller.cred.require_priv()?;
        self.begin_plumbing(caller, flags).await?;
        let r = match self.at_pos(pos) {
            Ok((n, pushed)) if n < pushed && self.list().get(n).is_some_and(|m| m == name) => {
                self.pop_locked(caller, flags, n).await
            }
            _ => Err(Errno::EINVAL),
        };
        self.end_plumbing();
        r
    }

    /// A position from the top, and how many modules there are.
    fn at_pos(&self, pos: i32) -> Result<(usize, usize), Errno> {
        let n = usize::try_from(pos).map_err(|_| Errno::EINVAL)?;
        let pushed = self.with(|dom| dom.head(self.head).map_or(0, |h| h.pushed));
        Ok((n, pushed))
    }

    /// Pushes a module under `pos` others.
    async fn push_locked(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        pos: usize,
    ) -> Result<(), Errno> {
        let entry = self
            .env
            .registry
            .read()
            .modules
            .get(name)
            .cloned()
            .ok_or(Errno::EINVAL)?;
        let count = self.with(|dom| dom.head(self.head).map_or(0, |h| h.pushed));
        if count >= self.env.tune.nstrpush() {
            return Err(Errno::EINVAL); // 2.5: not ENXIO
        }
        if let Some(home) = entry.home(&self.env) {
            DomainCell::join(&home, &self.cell);
        }
        let mut how = Open {
            major: self.major.unwrap_or(0),
            minor: Some(self.minor),
            flag: 0,
            sflag: SFlag::Module,
            cred: caller.cred,
            name: entry.name,
        };
        let pair = self.with(|dom| {
            let pair = dom.alloc_pair(self.id);
            dom.install(pair, &entry);
            let above = dom.pair_at(self.head, pos);
            dom.attach_under(above, pair);
            if dom.slot(self.head).has(flag::QTRACE) {
                dom.mark_pair(pair, flag::QTRACE, true);
            }
            match instance(dom, pair, &mut how) {
                Ok(()) => Ok(pair),
                Err(e) => {
                    dom.detach(pair);
                    Err(e)
                }
            }
        })?;
        entry.opens.fetch_add(1, Ordering::AcqRel);
        if let Err(e) = wait_opened(self, caller, pair).await {
            let how = Close {
                flag: oflag::O_NONBLOCK,
                cred: caller.cred,
            };
            self.take_down(pair, &entry, &how).await;
            return Err(e);
        }
        self.with(|dom| {
            if let Some(h) = dom.head(self.head) {
                h.pushed += 1;
                // What is put under the anchor is held by it too.
                h.anchor += usize::from(h.anchor + pos >= h.pushed && h.anchor > 0);
            }
        });
        Ok(())
    }

    /// I_POP.
    pub(crate) async fn pop(self: &Arc<Self>, caller: &Caller, flags: u32) -> Result<(), Errno> {
        self.begin_plumbing(caller, flags).await?;
        let r = self.pop_locked(caller, flags, 0).await;
        self.end_plumbing();
        r
    }

    /// Pops the module under `pos` others.
    async fn pop_locked(
        self: &Arc<Self>,
        caller: &Caller,
        flags: u32,
        pos: usize,
    ) -> Result<(), Errno> {
        let top = self.with(|dom| {
            let above = dom.pair_at(self.head, pos);
            let top = dom.top_module(above).ok_or(Errno::EINVAL)?;
            let h = dom.head(self.head).ok_or(Errno::EBADF)?;
            if h.pushed.saturating_sub(pos) <= h.anchor {
                caller.cred.require_priv()?; // I_ANCHOR
                h.anchor = h.anchor.saturating_sub(1);
            }
            Ok(top)
        })?;
        let name = self.with(|dom| dom.slot(top).name);
        let entry = self
            .env
            .registry
            .read()
            .modules
            .get(name)
            .cloned()
            .ok_or(Errno::EINVAL)?;
        self.take_down(
            top,
            &entry,
            &Close {
                flag: flags,
                cred: caller.cred,
            },
        )
        .await;
        self.with(|dom| {
            if let Some(h) = dom.head(self.head) {
                h.pushed = h.pushed.saturating_sub(1);
            }
        });
        Ok(())
    }

    /// I_LOOK: the name of the top module.
    pub(crate) fn look(&self) -> Result<String, Errno> {
        self.with(|dom| {
            let top = dom.top_module(self.head).ok_or(Errno::EINVAL)?;
            Ok(dom.slot(top).name.to_owned())
        })
    }

    /// I_LIST: top module first, driver last.
    pub(crate) fn list(&self) -> Vec<String> {
        self.with(|dom| {
            let mut v = Vec::new();
            let mut at = dom.slot(self.head + 1).next;
            while at != NONE && at & 1 == 1 {
                v.push(dom.slot(at).name.to_owned());
                at = dom.slot(at).next;
            }
            v
        })
    }

    /// I_FIND: is a module of this name pushed?
    pub(crate) fn find(&self, name: &str) -> Result<bool, Errno> {
        if !self.env.registry.read().modules.contains_key(name) {
            return Err(Errno::EINVAL);
        }
        let drv = usize::from(self.major.is_some());
        let names = self.list();
        Ok(names[..names.len().saturating_sub(drv)]
            .iter()
            .any(|n| n == name))
    }
}

impl Domain {
    /// The pair right under the head, if it is a module of this stream.
    pub(crate) fn top_module(&self, head: u32) -> Option<u32> {
        let top = self.slot(head + 1).next;
        if top == NONE {
            return None;
        }
        let s = self.slot(top);
        let own = s.stream == self.slot(head).stream;
        (own && s.flag & (flag::QHEAD | flag::QISDRV) == 0).then_some(top & !1)
    }

    /// The pair that has `pos` modules of its stream above it, the head's for 0.
    pub(crate) fn pair_at(&self, head: u32, pos: usize) -> u32 {
        (0..pos).fold(head, |at, _| match self.slot(at | 1).next {
            NONE => at,
            next => next & !1,
        })
    }

    /// Puts a pair between a head and what is below it.
    pub(crate) fn attach_under(&mut self, head: u32, pair: u32) {
        let mut below = self.slot(head + 1).next;
        if below == head {
            below = pair; // a FIFO: the module's write side feeds its own read side
        }
        self.slot_mut(pair + 1).next = below;
        self.slot_mut(head + 1).next = pair + 1;
        self.slot_mut(pair).next = head;
        if below != NONE && below != pair {
            self.slot_mut(below ^ 1).next = pair;
        }
        self.backenable_inserted(pair);
        self.backenable_inserted(pair + 1);
    }
}
