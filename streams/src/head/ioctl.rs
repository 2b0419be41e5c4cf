//! The ioctl engine: one M_IOCTL down, one answer up.
//!
//! ```text
//!   I_STR  ─► M_IOCTL ─────────────────────────► module or driver
//!          ◄─ M_IOCACK / M_IOCNAK ◄──────────────
//!   transparent: in between any number of
//!          ◄─ M_COPYIN / M_COPYOUT ◄── , ─► M_IOCDATA ─►
//! ```
//!
//! One is outstanding on a stream; others wait their turn. A late answer to a call that
//! has given up is freed, a late copy request is refused.
//!
//! Spec: streamio(7I) I_STR, the reference's section 3.

use crate::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::termio::{self, Sized};
use super::{STRTIMOUT, Sides, Sleep};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{CopyResp, Cred, Ctl, IocBlk, Msg, MsgType, TRANSPARENT};
use crate::process::Caller;
use crate::sys::{IoctlReply, StrIoctl, USER_BASE};

/// The ioctl that a head waits for.
pub(crate) struct Outstanding {
    id: u32,
    reply: Option<Msg>,
}

/// M_IOCACK, M_IOCNAK, M_COPYIN or M_COPYOUT has come up.
pub(crate) fn answer(dom: &mut Domain, idx: u32, mp: Msg) {
    let id = match mp.ctl() {
        Some(Ctl::Ioc(i)) => i.id,
        Some(Ctl::CopyReq(c)) => c.id,
        _ => return dom.pool.free(mp),
    };
    match dom.head(idx).and_then(|h| h.ioc.as_mut()) {
        Some(o) if o.id == id && o.reply.is_none() => {
            o.reply = Some(mp);
            dom.wake_head(idx);
        }
        // Nobody waits: a copy request is refused, an answer freed (3.4).
        _ if matches!(mp.ty(), MsgType::CopyIn | MsgType::CopyOut) => {
            refuse_copy(dom, idx, mp);
        }
        _ => dom.pool.free(mp),
    }
}

/// Answers a copy request of which nobody knows anything (3.4).
pub(crate) fn refuse_copy(dom: &mut Domain, idx: u32, mp: Msg) {
    iocdata(dom, idx, mp, 1, None);
}

/// Answers a copy request with M_IOCDATA.
fn iocdata(dom: &mut Domain, idx: u32, mut mp: Msg, rval: i32, data: Option<Msg>) {
    let Some(Ctl::CopyReq(c)) = mp.set_ctl(None) else {
        return dom.pool.free(mp);
    };
    mp.set_ty(MsgType::IocData);
    mp.set_ctl(Some(Ctl::CopyResp(CopyResp {
        cmd: c.cmd,
        cr: c.cr,
        id: c.id,
        rval,
        private: c.private,
    })));
    if let Some(old) = mp.set_cont(data) {
        dom.pool.free(old);
    }
    dom.putnext(idx | 1, mp);
}

/// A call's memory, where transparent ioctls copy from and to: bytes at [`USER_BASE`].
struct UserMem<'a>(&'a mut Vec<u8>);

impl UserMem<'_> {
    fn range(&self, addr: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(addr.checked_sub(USER_BASE)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.0.len()).then_some(start..end)
    }
}

impl Stream {
    /// I_STR (3.1, 3.2).
    pub(crate) async fn i_str(
        self: &Arc<Self>,
        caller: &Caller,
        req: StrIoctl,
    ) -> Result<IoctlReply, Errno> {
        self.with(|dom| match dom.head(self.head) {
            Some(h) => h.geterr(Sides::Both, Some(Errno::ENXIO)),
            None => Err(Errno::EBADF),
        })?;
        // Linking has its own calls: a module must not see one that is forged (3.1).
        let strmsgsz = self.env.tune.strmsgsz();
        let long = strmsgsz != 0 && req.data.len() > strmsgsz;
        if req.timeout < -1 || crate::sys::is_link_command(req.cmd) || long {
            return Err(Errno::EINVAL);
        }
        let wait = match req.timeout {
            -1 => None,
            0 => Some(STRTIMOUT),
            n => Some(Duration::from_secs(n as u64)),
        };
        let data = self.arg_block(&req.data)?;
        let mut mem = req.data;
        self.doioctl(caller, req.cmd, mem.len(), data, wait, &mut mem)
            .await
    }

    /// The block that carries an ioctl's data; none for no data.
    fn arg_block(&self, data: &[u8]) -> Result<Option<Msg>, Errno> {
        if data.is_empty() {
            return Ok(None);
        }
        self.with(|dom| {
            let mut mp = dom.allocb(0, data.len()).ok_or(Errno::ENOSR)?;
            mp.append(data);
            Ok(Some(mp))
        })
    }

    /// A transparent ioctl (3.4): `arg` is the third argument, `mem` the caller's memory.
    /// The terminal's own commands go as an I_STR does, with the sizes that are known of
    /// them (2.1 step 7).
    pub(crate) async fn transparent(
        self: &Arc<Self>,
        caller: &Caller,
        cmd: i32,
        arg: u64,
        mut mem: Vec<u8>,
    ) -> Result<IoctlReply, Errno> {
        self.with(|dom| match dom.head(self.head) {
            Some(h) => h.geterr(Sides::Both, Some(Errno::ENXIO)),
            None => Err(Errno::EBADF),
        })?;
        if let Some(sized) = termio::sized(cmd) {
            return self.termio(caller, cmd, sized, arg, mem).await;
        }
        let data = self.arg_block(&arg.to_ne_bytes())?;
        let mut r = self
            .doioctl(caller, cmd, TRANSPARENT, data, None, &mut mem)
            .await?;
        r.data = mem;
        Ok(r)
    }

    /// An ioctl of a terminal.
    async fn termio(
        self: &Arc<Self>,
        caller: &Caller,
        cmd: i32,
        sized: Sized,
        arg: u64,
        mut mem: Vec<u8>,
    ) -> Result<IoctlReply, Errno> {
        let range = |n| UserMem(&mut mem.clone()).range(arg, n).ok_or(Errno::EFAULT);
        let data = match sized {
            Sized::Value => (arg as i32).to_ne_bytes().to_vec(),
            Sized::In(n) => mem[range(n)?].to_vec(),
            Sized::Out(_) => Vec::new(),
        };
        let data = self.arg_block(&data)?;
        let n = data.as_ref().map_or(0, Msg::len);
        let r = self.doioctl(caller, cmd, n, data, None, &mut mem).await?;
        if !r.data.is_empty() && !matches!(sized, Sized::Value) {
            let to = UserMem(&mut mem).range(arg, r.data.len());
            mem[to.ok_or(Errno::EFAULT)?].copy_from_slice(&r.data);
        }
        Ok(IoctlReply { data: mem, ..r })
    }

    /// Takes the one ioctl slot of the stream and gives the ioctl its id. Later callers
    /// wait up to 15 s, then ETIME.
    pub(crate) async fn begin_ioctl(
        self: &Arc<Self>,
        caller: Option<&Caller>,
        must: bool,
    ) -> Result<u32, Errno> {
        let now = self.env.now();
        let deadline = (!must).then_some(now + STRTIMOUT);
        self.wait_for(Sleep { caller, deadline }, |dom, head| {
            let id = dom.env.next_ioc.fetch_add(1, Ordering::Relaxed);
            let Some(h) = dom.head(head) else {
                return Poll::Ready(Err(Errno::EBADF));
            };
            if !must && let Err(e) = h.geterr(Sides::Both, Some(Errno::ENXIO)) {
                return Poll::Ready(Err(e));
            }
            if h.ioc.is_some() {
                return Poll::Pending;
            }
            h.ioc = Some(Outstanding { id, reply: None });
            Poll::Ready(Ok(id))
        })
        .await
    }

    /// Gives the slot back.
    pub(crate) fn end_ioctl(self: &Arc<Self>) {
        self.with(|dom| {
            let late = dom.head(self.head).and_then(|h| h.ioc.take()?.reply);
            match late {
                // It came after the caller had given up: 3.2.
                Some(mp) if matches!(mp.ty(), MsgType::CopyIn | MsgType::CopyOut) => {
                    iocdata(dom, self.head, mp, 1, None);
                }
                Some(mp) => dom.pool.free(mp),
                None => {}
            }
            dom.wake_head(self.head);
        });
    }

    /// Sends one M_IOCTL and sees it through to its answer.
    async fn doioctl(
        self: &Arc<Self>,
        caller: &Caller,
        cmd: i32,
        count: usize,
        data: Option<Msg>,
        wait: Option<Duration>,
        mem: &mut Vec<u8>,
    ) -> Result<IoctlReply, Errno> {
        let id = self.begin_ioctl(Some(caller), false).await?;
        let r = self.exchange(caller, cmd, id, count, data, wait, mem).await;
        self.end_ioctl();
        r
    }

    #[allow(clippy::too_many_arguments)] // the fields of one iocblk, and what to do with the answer
    async fn exchange(
        self: &Arc<Self>,
        caller: &Caller,
        cmd: i32,
        id: u32,
        count: usize,
        data: Option<Msg>,
        wait: Option<Duration>,
        mem: &mut Vec<u8>,
    ) -> Result<IoctlReply, Errno> {
        let deadline = wait.map(|w| self.env.now() + w);
        // One ioctl after another must not keep datagrams away.
        self.with_fair(|dom| send_ioctl(dom, self.head, cmd, id, caller.cred, count, data));
        loop {
            let sleep = Sleep {
                caller: Some(caller),
                deadline,
            };
            let mut reply = self
                .wait_for(sleep, |dom, head| take_reply(dom, head, false))
                .await?;
            match reply.ty() {
                MsgType::IocAck => return finish(reply, count == TRANSPARENT),
                MsgType::IocNak => {
                    let e = reply.ioc().map_or(0, |i| i.error);
                    return Err(if e == 0 {
                        Errno::EINVAL
                    } else {
                        Errno::from_number(e)
                    });
                }
                _ => {}
            }
            // M_COPYIN or M_COPYOUT.
            let is_in = reply.ty() == MsgType::CopyIn;
            let Some(Ctl::CopyReq(c)) = reply.ctl() else {
                return Err(Errno::EPROTO);
            };
            let (addr, size) = (c.addr, c.size);
            let user = UserMem(mem);
            let range = user.range(addr, size);
            let (rval, data) = match range {
                None => (Errno::EFAULT.number(), None),
                Some(r) if is_in => (0, Some(Msg::data(&user.0[r]))),
                Some(r) => {
                    let from = reply.take_cont().map(|m| m.to_vec()).unwrap_or_default();
                    let n = size.min(from.len());
                    user.0[r][..n].copy_from_slice(&from[..n]);
                    (0, None)
                }
            };
            self.with(|dom| iocdata(dom, self.head, reply, rval, data));
            if rval != 0 {
                // 3.4: the call fails at once; the module frees its state on the M_IOCDATA.
                return Err(Errno::EFAULT);
            }
        }
    }
}

/// Puts an M_IOCTL down the stream.
pub(crate) fn send_ioctl(
    dom: &mut Domain,
    head: u32,
    cmd: i32,
    id: u32,
    cr: Cred,
    count: usize,
    data: Option<Msg>,
) {
    let ioc = IocBlk {
        cmd,
        cr,
        id,
        count,
        rval: 0,
        error: 0,
    };
    let mut mp = Msg::control(MsgType::Ioctl, Ctl::Ioc(ioc));
    mp.set_cont(data);
    dom.putnext(head | 1, mp);
}

/// Looks for the answer. `must`: a link or unlink, which no error of the stream ends.
pub(crate) fn take_reply(dom: &mut Domain, head: u32, must: bool) -> Poll<Result<Msg, Errno>> {
    let Some(h) = dom.head(head) else {
        return Poll::Ready(Err(Errno::EBADF));
    };
    if let Some(mp) = h.ioc.as_mut().and_then(|o| o.reply.take()) {
        return Poll::Ready(Ok(mp));
    }
    if !must && let Err(e) = h.geterr(Sides::Both, Some(Errno::ENXIO)) {
        return Poll::Ready(Err(e));
    }
    Poll::Pending
}

/// M_IOCACK (3.3): an error, or the return value and data.
pub(crate) fn finish(mut mp: Msg, transparent: bool) -> Result<IoctlReply, Errno> {
    let (error, rval, count) = mp.ioc().map_or((0, 0, 0), |i| (i.error, i.rval, i.count));
    if error != 0 {
        return Err(Errno::from_number(error));
    }
    let mut data = mp.take_cont().map(|m| m.to_vec()).unwrap_or_default();
    data.truncate(if transparent { 0 } else { count });
    Ok(IoctlReply {
        rval,
        data,
        names: Vec::new(),
    })
}
