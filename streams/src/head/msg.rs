//! getmsg, getpmsg, putmsg, putpmsg: messages as the user sees them, control and data part.
//!
//! Spec: getmsg(2), putmsg(2), the reference's 5.2 and 5.4.

use std::sync::Arc;
use std::task::Poll;

use super::readq::Taken;
use super::{Sides, Sleep};
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{Msg, MsgType};
use crate::process::{Caller, oflag};
use crate::queue::NONE;
use crate::sys::{Got, MORECTL, MOREDATA, Which};

impl Stream {
    /// getpmsg(2): `ctlmax` and `datmax` are the maxlen of the two parts, -1 for a part
    /// that is not asked for.
    pub(crate) async fn getpmsg(
        self: &Arc<Self>,
        caller: &Caller,
        ctlmax: i32,
        datmax: i32,
        which: Which,
        flags: u32,
    ) -> Result<Got, Errno> {
        if which == Which::Hipri(false) {
            return Err(Errno::EINVAL);
        }
        self.wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                dom.rq_signals(head);
                let Some(h) = dom.head(head) else {
                    return Poll::Ready(Err(Errno::EBADF));
                };
                if let Err(e) = h.geterr(Sides::Read, None) {
                    return Poll::Ready(Err(e));
                }
                let hup = h.hup;
                let fits = dom.slot(head).list.front().is_some_and(|m| match which {
                    Which::Any => true,
                    Which::Hipri(_) => m.is_high_pri(),
                    Which::Band(b) => m.is_high_pri() || m.band() >= b,
                });
                if fits {
                    return Poll::Ready(take(dom, head, ctlmax, datmax));
                }
                if hup || (ctlmax == 0 && datmax == 0 && dom.slot(head).list.is_empty()) {
                    let len = |max| if max < 0 { None } else { Some(Vec::new()) };
                    return Poll::Ready(Ok(Got {
                        ctl: len(ctlmax),
                        data: len(datmax),
                        more: 0,
                        hipri: false,
                        band: 0,
                    }));
                }
                if flags & oflag::NONBLOCK != 0 {
                    return Poll::Ready(Err(Errno::EAGAIN));
                }
                Poll::Pending
            },
        )
        .await
    }

    /// putpmsg(2).
    pub(crate) async fn putpmsg(
        self: &Arc<Self>,
        caller: &Caller,
        ctl: Option<&[u8]>,
        data: Option<&[u8]>,
        hipri: bool,
        band: u8,
        flags: u32,
    ) -> Result<(), Errno> {
        if hipri && (ctl.is_none() || band != 0) {
            return Err(Errno::EINVAL);
        }
        self.wait_for(
            Sleep {
                caller: Some(caller),
                deadline: None,
            },
            |dom, head| {
                let Some(h) = dom.head(head) else {
                    return Poll::Ready(Err(Errno::EBADF));
                };
                if let Err(e) = h.geterr(Sides::Write, Some(Errno::ENXIO)) {
                    return Poll::Ready(Err(e));
                }
                if ctl.is_none() && data.is_none() {
                    return Poll::Ready(Ok(()));
                }
                let below = dom.slot(head | 1).next;
                if below == NONE {
                    return Poll::Ready(Err(Errno::ENXIO));
                }
                if let Err(e) = check_sizes(dom, below, ctl, data) {
                    return Poll::Ready(Err(e));
                }
                if !hipri && !dom.bcanputnext(head | 1, band) {
                    if flags & oflag::NONBLOCK != 0 {
                        return Poll::Ready(Err(Errno::EAGAIN));
                    }
                    return Poll::Pending;
                }
                let Some(mut mp) = build(dom, head, ctl, data, hipri) else {
                    return Poll::Ready(Err(Errno::ENOSR));
                };
                mp.set_band(band);
                dom.putnext(head | 1, mp);
                Poll::Ready(Ok(()))
            },
        )
        .await
    }
}

/// The message that a putmsg sends; `None` without memory.
fn build(
    dom: &mut Domain,
    head: u32,
    ctl: Option<&[u8]>,
    data: Option<&[u8]>,
    hipri: bool,
) -> Option<Msg> {
    let body = match data {
        Some(d) => Some(dom.make_data(head, d)?),
        None => None,
    };
    let Some(c) = ctl else { return body };
    // At least 64 bytes, so that a driver can answer in the same block.
    let mut m = dom.allocb(0, c.len().max(64))?;
    m.append(c);
    m.set_ty(if hipri {
        MsgType::PcProto
    } else {
        MsgType::Proto
    });
    m.set_cont(body);
    Some(m)
}

/// ERANGE for what the queue below does not take (5.4): a message is never split.
fn check_sizes(
    dom: &Domain,
    below: u32,
    ctl: Option<&[u8]>,
    data: Option<&[u8]>,
) -> Result<(), Errno> {
    let max = dom.rmax(below);
    let min = dom.slot(below).minpsz;
    let bad_data = data.is_some_and(|d| (d.len() as i64) < min || d.len() > max);
    let ctlsz = dom.env.tune.strctlsz();
    let bad_ctl = ctl.is_some_and(|c| ctlsz != 0 && c.len() > ctlsz);
    if max == 0 || bad_data || bad_ctl {
        Err(Errno::ERANGE)
    } else {
        Ok(())
    }
}

/// Takes the parts of the first message that fit; what is left goes back to the front.
fn take(dom: &mut Domain, head: u32, ctlmax: i32, datmax: i32) -> Result<Got, Errno> {
    if dom
        .slot(head)
        .list
        .front()
        .is_some_and(|m| m.ty() == MsgType::PassFp)
    {
        return Err(Errno::EBADMSG);
    }
    let Some(mp) = dom.rq_take(head) else {
        return Err(Errno::EAGAIN);
    };
    let last = Taken::of(&mp);
    let (ty, band, flag, hipri) = (mp.ty(), mp.band(), mp.flag(), mp.is_high_pri());
    let mut ctl_blocks = Vec::new();
    let mut dat_blocks = Vec::new();
    let mut rest = Some(mp);
    while let Some(mut b) = rest {
        rest = b.take_cont();
        if b.ty() == MsgType::Data {
            dat_blocks.push(b)
        } else {
            ctl_blocks.push(b)
        }
    }
    let (ctl, ctl_left) = take_part(ctl_blocks, ctlmax);
    let (data, dat_left) = take_part(dat_blocks, datmax);
    let size = |v: &[Msg]| v.iter().map(Msg::len).sum::<usize>();
    let mut more = 0;
    if ctlmax >= 0 && size(&ctl_left) > 0 {
        more |= MORECTL;
    }
    if datmax >= 0 && size(&dat_left) > 0 {
        more |= MOREDATA;
    }
    // 5.2: a remainder of zero-length blocks only is not put back, unless a part was not
    // asked for at all.
    let kept_ctl = !ctl_left.is_empty() && (ctlmax < 0 || size(&ctl_left) > 0);
    let kept_dat = !dat_left.is_empty() && (datmax < 0 || size(&dat_left) > 0);
    let mut back: Option<Msg> = None;
    let ctl_back = if kept_ctl { ctl_left } else { Vec::new() };
    let dat_back = if kept_dat { dat_left } else { Vec::new() };
    for b in ctl_back.into_iter().chain(dat_back) {
        match &mut back {
            Some(m) => m.linkb(b),
            None => back = Some(b),
        }
    }
    if let Some(mut m) = back {
        // Once the control part is read, the data that is left is ordinary.
        if hipri && !kept_ctl {
            m.set_ty(MsgType::Data);
            m.set_band(0);
        } else {
            m.set_ty(if kept_ctl { ty } else { MsgType::Data });
            m.set_band(band);
        }
        m.set_flag(flag);
        dom.rq_putback(head, m);
    }
    dom.rq_release(head, last.band);
    dom.rq_settle(head, last);
    Ok(Got {
        ctl,
        data,
        more,
        hipri,
        band: if hipri { 0 } else { band },
    })
}

/// Takes up to `max` bytes of a part: `None` if the part is absent or not asked for.
fn take_part(blocks: Vec<Msg>, max: i32) -> (Option<Vec<u8>>, Vec<Msg>) {
    if max < 0 || blocks.is_empty() {
        return (None, blocks);
    }
    let max = max as usize;
    let mut got = Vec::new();
    let mut left = Vec::new();
    for mut b in blocks {
        let n = b.len().min(max - got.len());
        got.extend_from_slice(&b.rd()[..n]);
        b.advance_rptr(n);
        if !b.is_empty() {
            left.push(b);
        }
    }
    (Some(got), left)
}
