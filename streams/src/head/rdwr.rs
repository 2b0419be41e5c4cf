//! read and write: bytes over messages.
//!
//! Spec: read(2), write(2), streamio(7I) I_SRDOPT and I_SWROPT, the reference's 5.1, 5.3.

use std::sync::Arc;
use std::task::Poll;

use super::{STRMSGSZ, Sides, Sleep, mode};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{INFPSZ, MSGDELIM, Msg, MsgType};
use crate::process::{Caller, Signal, oflag};

/// How the front of the queue ended one step of a read.
enum Step {
    /// Nothing there.
    Empty,
    /// The read is over with what it has.
    Stop,
    /// There may be more.
    More,
}

impl Stream {
    /// read(2): at most `count` bytes (5.1).
    pub(crate) async fn read(
        self: &Arc<Self>,
        caller: &Caller,
        count: usize,
        flags: u32,
    ) -> Result<Vec<u8>, Errno> {
        let mut buf = Vec::with_capacity(count.min(STRMSGSZ));
        self.wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                Poll::Ready(loop {
                    let Some(h) = dom.head(head) else {
                        break Err(Errno::EBADF);
                    };
                    if let Err(e) = h.geterr(Sides::Read, None) {
                        break Err(e);
                    }
                    if count == 0 {
                        break Ok(());
                    }
                    let (hup, mread, ndelon) = (h.hup, h.mread, h.ndelon);
                    match read_step(dom, head, &mut buf, count) {
                        Err(e) => break Err(e),
                        Ok(Step::More) => {}
                        Ok(Step::Stop) => break Ok(()),
                        Ok(Step::Empty) if !buf.is_empty() || hup => break Ok(()),
                        Ok(Step::Empty) => {
                            if flags & oflag::O_NONBLOCK != 0 {
                                break Err(Errno::EAGAIN);
                            }
                            if flags & oflag::O_NDELAY != 0 {
                                break if ndelon { Ok(()) } else { Err(Errno::EAGAIN) };
                            }
                            if mread {
                                let want = (count - buf.len()) as u64;
                                dom.putnext(head | 1, Msg::of(MsgType::Read, &want.to_ne_bytes()));
                                if !dom.slot(head).list.is_empty() {
                                    continue; // it was answered at once
                                }
                            }
                            return Poll::Pending;
                        }
                    }
                })
            },
        )
        .await?;
        Ok(buf)
    }

    /// write(2) (5.3).
    pub(crate) async fn write(
        self: &Arc<Self>,
        caller: &Caller,
        data: &[u8],
        flags: u32,
    ) -> Result<usize, Errno> {
        let mut sent = 0;
        let mut first = true;
        let r = self
            .wait_for(
                Sleep {
                    caller: Some(caller),
                    deadline: None,
                },
                |dom, head| {
                    loop {
                        match write_step(dom, head, caller, data, sent, first) {
                            Ok(Some(n)) => {
                                first = false;
                                sent += n;
                                if sent >= data.len() {
                                    return Poll::Ready(Ok(()));
                                }
                            }
                            Ok(None) => {
                                let ndelay = flags & oflag::O_NDELAY != 0
                                    && !dom.head(head).is_some_and(|h| h.ndelon);
                                if flags & oflag::O_NONBLOCK != 0 || ndelay {
                                    return Poll::Ready(Err(Errno::EAGAIN));
                                }
                                return Poll::Pending;
                            }
                            Err(e) => return Poll::Ready(Err(e)),
                        }
                    }
                },
            )
            .await;
        match r {
            Ok(()) => Ok(sent),
            // What has gone down can't be called back: a short count tells so.
            Err(_) if sent > 0 => Ok(sent),
            Err(e) => Err(e),
        }
    }
}

/// Takes what the first message gives to a read.
fn read_step(dom: &mut Domain, head: u32, buf: &mut Vec<u8>, count: usize) -> Result<Step, Errno> {
    let Some(h) = dom.head(head) else {
        return Err(Errno::EBADF);
    };
    let (readopt, delim) = (h.readopt, h.delim);
    let Some(front) = dom.slot(head).list.front() else {
        return Ok(Step::Empty);
    };
    let ty = front.ty();
    if ty == MsgType::PassFp {
        if readopt & mode::RPROTDIS != 0 {
            if let Some(mp) = dom.getq(head) {
                dom.pool.free(mp);
            }
            return Ok(Step::More);
        }
        return if buf.is_empty() {
            Err(Errno::EBADMSG)
        } else {
            Ok(Step::Stop)
        };
    }
    if ty != MsgType::Data && readopt & (mode::RPROTDAT | mode::RPROTDIS) == 0 {
        return if buf.is_empty() {
            Err(Errno::EBADMSG)
        } else {
            Ok(Step::Stop)
        };
    }
    // A zero-length message ends what is being read, or is itself the end (5.1).
    if ty == MsgType::Data && front.msgsize() == 0 {
        if !buf.is_empty() {
            return Ok(Step::Stop);
        }
        if let Some(mp) = dom.getq(head) {
            dom.pool.free(mp);
        }
        return Ok(Step::Stop);
    }
    let Some(mp) = dom.getq(head) else {
        return Ok(Step::Empty);
    };
    let (band, mark, was_pri) = (mp.band(), mp.flag() & MSGDELIM, ty == MsgType::PcProto);
    let mut rest = Some(mp);
    // Control blocks become data, or go.
    let mut chain: Option<Msg> = None;
    while let Some(mut b) = rest {
        rest = b.take_cont();
        let control = b.ty() != MsgType::Data;
        if control && readopt & mode::RPROTDIS != 0 {
            dom.pool.free(b);
            continue;
        }
        b.set_ty(MsgType::Data);
        if buf.len() < count {
            let n = b.len().min(count - buf.len());
            buf.extend_from_slice(&b.rd()[..n]);
            b.advance_rptr(n);
        }
        if b.is_empty() {
            dom.pool.free(b);
        } else if let Some(c) = &mut chain {
            c.linkb(b);
        } else {
            chain = Some(b);
        }
    }
    if was_pri {
        dom.head_recheck_pri(head);
    }
    let whole = chain.is_none();
    if let Some(mut left) = chain {
        if readopt & mode::RMODEMASK == mode::RMSGD {
            dom.pool.free(left);
        } else {
            left.set_band(band);
            left.set_flag(left.flag() | mark);
            dom.putbq(head, left);
        }
    }
    let by_message = readopt & mode::RMODEMASK != mode::RNORM;
    let ended = buf.len() >= count || by_message || (whole && delim && mark != 0);
    Ok(if ended { Step::Stop } else { Step::More })
}

/// Sends the next packet of a write; `None` if there is no room.
fn write_step(
    dom: &mut Domain,
    head: u32,
    caller: &Caller,
    data: &[u8],
    sent: usize,
    first: bool,
) -> Result<Option<usize>, Errno> {
    let Some(h) = dom.head(head) else {
        return Err(Errno::EBADF);
    };
    if let Err(e) = h.geterr(Sides::Write, Some(Errno::EIO)) {
        if h.is_pipe && h.hup {
            if h.writeopt & mode::SNDPIPE != 0 {
                caller.post(Signal::SIGPIPE);
            }
            return Err(Errno::EPIPE);
        }
        return Err(e);
    }
    let (wroff, tail, delim) = (h.wroff, h.tail, h.delim);
    let (is_pipe, writeopt) = (h.is_pipe, h.writeopt);
    let below = dom.slot(head | 1).next;
    if below == crate::queue::NONE {
        return Err(Errno::EIO);
    }
    let (rmin, rmax) = {
        let s = dom.slot(below);
        let max = if s.maxpsz == INFPSZ {
            STRMSGSZ as i64
        } else {
            s.maxpsz.min(STRMSGSZ as i64)
        };
        (s.minpsz.max(0) as usize, max.max(0) as usize)
    };
    if first {
        if rmax == 0 {
            return Ok(Some(data.len())); // 5.3: returns, nothing sent
        }
        if rmin > 0 && (data.len() < rmin || data.len() > rmax) {
            return Err(Errno::ERANGE);
        }
        if data.is_empty() && is_pipe && writeopt & mode::SNDZERO == 0 {
            return Ok(Some(0));
        }
    }
    if !dom.canputnext(head | 1) {
        return Ok(None);
    }
    let n = (data.len() - sent).min(rmax);
    let mut mp = dom.pool.alloc(wroff, n + tail);
    mp.append(&data[sent..sent + n]);
    if delim && sent + n == data.len() {
        mp.set_flag(MSGDELIM);
    }
    dom.putnext(head | 1, mp);
    Ok(Some(n))
}
