//! read and write: bytes over messages.
//!
//! Spec: read(2), write(2), streamio(7I) I_SRDOPT and I_SWROPT, the reference's 5.1, 5.3.

use std::sync::Arc;
use std::task::Poll;

use super::readq::Taken;
use super::{Sides, Sleep, mode};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{INFPSZ, MSGDELIM, MSGMARK, Msg, MsgType};
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

/// How one step of a write ended.
enum Sent {
    /// So much went down.
    Bytes(usize),
    /// There is no room below.
    Full,
}

/// Room made for the answer of a read before it is known how much there is.
const READ_AHEAD: usize = 65536;

impl Stream {
    /// read(2): at most `count` bytes (5.1).
    pub(crate) async fn read(
        self: &Arc<Self>,
        caller: &Caller,
        count: usize,
        flags: u32,
    ) -> Result<Vec<u8>, Errno> {
        let mut buf = Vec::with_capacity(count.min(READ_AHEAD));
        self.wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                let mut last = None;
                let ended = look(dom, head, &mut buf, count, flags, &mut last);
                if let Some(last) = last {
                    dom.rq_settle(head, last);
                }
                ended
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
                            Ok(None) => return Poll::Ready(Ok(())),
                            Ok(Some(Sent::Bytes(n))) => {
                                first = false;
                                sent += n;
                                if sent >= data.len() {
                                    return Poll::Ready(Ok(()));
                                }
                            }
                            Ok(Some(Sent::Full)) => {
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

/// Reads on as far as it goes.
fn look(
    dom: &mut Domain,
    head: u32,
    buf: &mut Vec<u8>,
    count: usize,
    flags: u32,
    last: &mut Option<Taken>,
) -> Poll<Result<(), Errno>> {
    loop {
        dom.rq_signals(head);
        let Some(h) = dom.head(head) else {
            return Poll::Ready(Err(Errno::EBADF));
        };
        if let Err(e) = h.geterr(Sides::Read, None) {
            return Poll::Ready(Err(e));
        }
        if count == 0 {
            return Poll::Ready(Ok(()));
        }
        let (hup, mread, ndelon) = (h.hup, h.mread, h.ndelon);
        match read_step(dom, head, buf, count, last) {
            Err(e) => return Poll::Ready(Err(e)),
            Ok(Step::More) => {}
            Ok(Step::Stop) => return Poll::Ready(Ok(())),
            Ok(Step::Empty) if !buf.is_empty() || hup => return Poll::Ready(Ok(())),
            Ok(Step::Empty) => {
                if flags & oflag::O_NONBLOCK != 0 {
                    return Poll::Ready(Err(Errno::EAGAIN));
                }
                if flags & oflag::O_NDELAY != 0 {
                    return Poll::Ready(if ndelon { Ok(()) } else { Err(Errno::EAGAIN) });
                }
                if mread {
                    if let Some(last) = last.take() {
                        dom.rq_settle(head, last);
                    }
                    let want = count as u64;
                    dom.putnext(head | 1, Msg::of(MsgType::Read, &want.to_ne_bytes()));
                    if !dom.slot(head).list.is_empty() {
                        continue; // it was answered at once
                    }
                }
                return Poll::Pending;
            }
        }
    }
}

/// Takes what the first message gives to a read.
fn read_step(
    dom: &mut Domain,
    head: u32,
    buf: &mut Vec<u8>,
    count: usize,
    last: &mut Option<Taken>,
) -> Result<Step, Errno> {
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
            throw_away(dom, head, last);
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
        throw_away(dom, head, last);
        return Ok(Step::Stop);
    }
    let Some(mp) = dom.rq_take(head) else {
        return Ok(Step::Empty);
    };
    let (band, delimited) = (mp.band(), mp.flag() & MSGDELIM != 0);
    let mark = mp.flag() & (MSGDELIM | MSGMARK);
    let taken = Taken::of(&mp);
    // An M_PCPROTO that was held is gone: another may come.
    let high = taken.high || last.is_some_and(|l| l.high);
    *last = Some(Taken { high, ..taken });
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
    let whole = chain.is_none();
    if let Some(mut left) = chain {
        if readopt & mode::RMODEMASK == mode::RMSGD {
            dom.pool.free(left);
        } else {
            left.set_band(band);
            left.set_flag(left.flag() | mark);
            dom.rq_putback(head, left);
        }
    }
    dom.rq_release(head, band);
    let by_message = readopt & mode::RMODEMASK != mode::RNORM;
    let ended = buf.len() >= count || by_message || (whole && delim && delimited);
    Ok(if ended { Step::Stop } else { Step::More })
}

/// Takes the first message off and frees it.
fn throw_away(dom: &mut Domain, head: u32, last: &mut Option<Taken>) {
    if let Some(mp) = dom.rq_take(head) {
        let taken = Taken::of(&mp);
        dom.pool.free(mp);
        dom.rq_release(head, taken.band);
        *last = Some(taken);
    }
}

impl Domain {
    /// The most data that one message to this queue may have: its own limit, and strmsgsz.
    pub(crate) fn rmax(&self, below: u32) -> usize {
        let s = self.slot(below);
        let own = if s.maxpsz == INFPSZ {
            usize::MAX
        } else {
            usize::try_from(s.maxpsz).unwrap_or(0)
        };
        match self.env.tune.strmsgsz() {
            0 => own,
            all => own.min(all),
        }
    }

    /// The data part of a message to be sent: with the room that SO_WROFF and SO_TAIL ask
    /// for, in blocks no longer than SO_MAXBLK. `None` without memory.
    pub(crate) fn make_data(&mut self, head: u32, data: &[u8]) -> Option<Msg> {
        let h = self.head(head)?;
        let (wroff, tail) = (h.wroff, h.tail);
        let most = usize::try_from(h.maxblk).ok().filter(|n| *n > 0);
        let (first, mut rest) = data.split_at(data.len().min(most.unwrap_or(data.len())));
        let mut mp = self.allocb(wroff, first.len() + tail)?;
        mp.append(first);
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(most.unwrap_or(rest.len())));
            let mut b = self.allocb(0, part.len())?;
            b.append(part);
            mp.linkb(b);
            rest = behind;
        }
        Some(mp)
    }
}

/// Sends the next packet of a write; `None` if there is nothing to send.
fn write_step(
    dom: &mut Domain,
    head: u32,
    caller: &Caller,
    data: &[u8],
    sent: usize,
    first: bool,
) -> Result<Option<Sent>, Errno> {
    let Some(h) = dom.head(head) else {
        return Err(Errno::EBADF);
    };
    let (delim, is_pipe, writeopt) = (h.delim, h.is_pipe, h.writeopt);
    if let Err(e) = h.geterr(Sides::Write, Some(Errno::EIO)) {
        if writeopt & mode::SNDPIPE != 0 && !h.plexed {
            caller.post(Signal::SIGPIPE);
            return Err(Errno::EPIPE);
        }
        return Err(e);
    }
    let below = dom.slot(head | 1).next;
    if below == crate::queue::NONE {
        return Err(Errno::EIO);
    }
    let rmax = dom.rmax(below);
    let rmin = usize::try_from(dom.slot(below).minpsz).unwrap_or(0);
    if first {
        if rmax == 0 {
            return Ok(None); // 5.3: returns 0, nothing sent
        }
        if rmin > 0 && (data.len() < rmin || data.len() > rmax) {
            return Err(Errno::ERANGE);
        }
        if data.is_empty() && is_pipe && writeopt & mode::SNDZERO == 0 {
            return Ok(None);
        }
    }
    if !dom.canputnext(head | 1) {
        return Ok(Some(Sent::Full));
    }
    let n = (data.len() - sent).min(rmax);
    let Some(mut mp) = dom.make_data(head, &data[sent..sent + n]) else {
        return Err(Errno::EAGAIN);
    };
    if delim && sent + n == data.len() {
        mp.set_flag(MSGDELIM);
    }
    dom.putnext(head | 1, mp);
    Ok(Some(Sent::Bytes(n)))
}
