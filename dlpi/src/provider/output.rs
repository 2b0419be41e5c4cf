//! Down: from DL_UNITDATA_REQ or bare M_DATA to `Link::send`.
//!
//! ```text
//!   M_DATA, fast or raw ────────────────────────┐
//!   UNITDATA_REQ ─► header in the headroom ─────┴─► checks ─► Link::send ─► freemsg
//!                                                      │          │ WouldBlock
//!                    ours? snooped? a copy up ◄────────┘          ▼
//!                                                     write queue ─ 1 ms ─► again
//! ```
//!
//! Spec: dlpi(7P) DL_UNITDATA_REQ; le(7D) on SAPs and DLIOCRAW.
//! Kept: the SAP in the address sets the type, one up to 1500 the length; what is wrong
//! with a DL_UNITDATA_REQ is told by DL_UDERROR_IND; a frame to our own address comes
//! back; who listens to all hears what we send.
//! Differs: on a point-to-point link the address is not looked at.
//! Not done: priorities; padding to 60 bytes (the host's hardware pads).

use std::io;
use std::time::Duration;

use streams::prelude::*;

use super::port::{Port, tick};
use super::{Dlpi, RETRY, input, llc};
use crate::addr::{Dlsap, ETHER_HDR, Ether, MAX_LENGTH};
use crate::link::Medium;
use crate::prim::{DlErrno, DlError, Prim, fast};
use crate::state::{Answer, State, answer};

/// After so long a link that had no room is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// A link header ready to be put in front: 14 bytes, or none on a point-to-point link.
pub(super) struct Header([u8; ETHER_HDR], usize);

impl Header {
    pub fn as_slice(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// DL_IOC_HDR_INFO: the header for a destination; `None` if the stream is not bound, the
/// address is none of this link, or there is no fixed header (802.3: it has the length).
pub(super) fn header_for(q: &mut Queue<'_, Dlpi>, dest: &[u8]) -> Option<Header> {
    let (d, links) = q.both();
    if d.state != State::Idle {
        return None;
    }
    if d.llc.is_some() {
        return None; // as 802.3
    }
    match links.port(d.port?)?.medium {
        Medium::PointToPoint => Some(Header([0; ETHER_HDR], 0)),
        Medium::Ether(own) => {
            let (mac, sap) = Dlsap::split_ether(dest).ok()?;
            let fixed = u32::from(sap) > MAX_LENGTH;
            fixed.then(|| Header(Ether::to_sap(mac, own, sap, 0).emit(), ETHER_HDR))
        }
    }
}

/// M_DATA: a whole frame, if the stream asked for that.
#[inline]
pub(super) fn bare(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    let d = q.ptr();
    match d.port {
        Some(port) if d.bare && !d.waiting => {
            if let Some(mp) = transmit(q, port, mp) {
                wait(q, mp);
            }
        }
        Some(_) if d.bare => q.putq(mp),
        _ => q.discard(mp, "M_DATA on a stream that is neither raw nor fast"),
    }
}

/// DL_UNITDATA_REQ.
pub(super) fn unitdata(q: &mut Queue<'_, Dlpi>, mut req: Msg) {
    let data = req.take_cont();
    match frame_of(q, &req, data) {
        Ok((port, frame)) => {
            q.freemsg(req);
            send(q, port, frame);
        }
        Err((e, data, why)) => {
            if let Some(data) = data {
                q.discard(data, why);
            }
            let dest = fast::unitdata_req(req.rd())
                .map(|u| u.dest.to_vec())
                .unwrap_or_default();
            q.freemsg(req);
            let (unix_errno, errno) = (e.unix as u32, e.errno.0);
            q.qreply(
                Prim::UderrorInd {
                    dest,
                    unix_errno,
                    errno,
                }
                .emit(),
            );
        }
    }
}

/// Sends a frame, or lets it wait its turn.
#[inline]
pub(super) fn send(q: &mut Queue<'_, Dlpi>, port: usize, frame: Msg) {
    if q.ptr().waiting {
        q.putq(frame);
    } else if let Some(frame) = transmit(q, port, frame) {
        wait(q, frame);
    }
}

/// A refusal: the answer, the data again, the reason of the drop.
type Refused = (DlError, Option<Msg>, &'static str);

/// The frame that a DL_UNITDATA_REQ asks for, and where it goes.
#[inline]
fn frame_of(
    q: &mut Queue<'_, Dlpi>,
    req: &Msg,
    data: Option<Msg>,
) -> Result<(usize, Msg), Refused> {
    let no = |e: DlErrno, data, why| Err((DlError::from(e), data, why));
    let u = match fast::unitdata_req(req.rd()) {
        Ok(u) => u,
        Err(e) => return Err((e, data, "a malformed DL_UNITDATA_REQ")),
    };
    let (d, links) = q.both();
    if let Answer::UdErr(e) = answer_idle(d.state) {
        return no(e, data, "sent before the stream was bound");
    }
    if let Some(mode) = d.llc {
        if data.is_none() {
            return no(DlErrno::BADDATA, None, "");
        }
        return llc::frame(q, mode, u.dest, llc::Kind::UI, data)
            .map_err(|(e, data)| (e, data, "no address or size of this link"));
    }
    let Some((at, port)) = d.port.and_then(|at| links.port(at).map(|p| (at, p))) else {
        return no(DlErrno::OUTSTATE, data, "not attached");
    };
    let Some(mut data) = data else {
        return no(DlErrno::BADDATA, None, "");
    };
    let len = data.msgsize();
    if len > port.max_frame - port.header() {
        port.stats.oerrors += 1;
        return no(DlErrno::BADDATA, Some(data), "larger than the link takes");
    }
    if let Medium::Ether(own) = port.medium {
        let (mac, sap) = match Dlsap::split_ether(u.dest) {
            Ok(to) => to,
            Err(e) => return no(e, Some(data), "not an address of this link"),
        };
        if u32::from(sap) <= MAX_LENGTH && len > MAX_LENGTH as usize {
            port.stats.oerrors += 1;
            return no(DlErrno::BADDATA, Some(data), "larger than an 802.3 length");
        }
        let header = Ether::to_sap(mac, own, sap, len).emit();
        if !data.is_shared() && data.headroom() >= ETHER_HDR {
            data.prepend(ETHER_HDR, 0).copy_from_slice(&header);
        } else {
            let mut front = q.alloc(0, ETHER_HDR);
            front.append(&header);
            front.set_tag(data.tag());
            front.set_cont(Some(data));
            data = front;
        }
    }
    data.set_ty(MsgType::Data);
    Ok((at, data))
}

/// What the table says of a datagram, without looking it up in the usual case.
#[inline]
fn answer_idle(state: State) -> Answer {
    if state == State::Idle {
        Answer::Do
    } else {
        answer(state, crate::prim::DL_UNITDATA_REQ)
    }
}

/// Sends a whole frame. Gives it back if the link has no room now.
#[inline]
fn transmit(q: &mut Queue<'_, Dlpi>, at: usize, mp: Msg) -> Option<Msg> {
    let Some((port, scratch)) = q.shared().port_and_scratch(at) else {
        q.discard(mp, "not attached");
        return None;
    };
    let frame = match mp.cont() {
        None => mp.rd(),
        Some(_) => {
            scratch.clear();
            mp.blocks().for_each(|b| scratch.extend_from_slice(b.rd()));
            &scratch[..]
        }
    };
    if frame.len() > port.max_frame || frame.len() < port.header() {
        port.stats.oerrors += 1;
        q.discard(mp, "longer than the link takes, or shorter than its header");
        return None;
    }
    if port.timed || port.snoopers > 0 || is_ours(port, frame) {
        return transmit_watched(q, at, mp);
    }
    let len = frame.len() as u64;
    let sent = port.link.send(frame);
    if sent.is_ok() {
        port.count_sent(frame);
    }
    finish(q, at, mp, len, sent)
}

#[inline]
fn is_ours(port: &Port, frame: &[u8]) -> bool {
    match port.medium {
        Medium::Ether(own) => frame.first_chunk() == Some(&own),
        Medium::PointToPoint => false,
    }
}

/// Accounts for a frame that was given to the link, or gives it back.
#[inline]
fn finish(
    q: &mut Queue<'_, Dlpi>,
    at: usize,
    mp: Msg,
    len: u64,
    sent: io::Result<()>,
) -> Option<Msg> {
    let Some(port) = q.shared().port(at) else {
        return Some(mp);
    };
    match sent {
        Ok(()) => {
            port.stats.opackets += 1;
            port.stats.obytes += len;
            q.freemsg(mp);
            None
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            port.stats.noxmtbuf += 1;
            Some(mp)
        }
        Err(_) => {
            port.stats.oerrors += 1;
            q.discard(mp, "the link refused it");
            None
        }
    }
}

/// The same for a frame that others hear, that is for ourselves, or whose link looks at
/// the time. All of these may allocate.
#[cold]
fn transmit_watched(q: &mut Queue<'_, Dlpi>, at: usize, mp: Msg) -> Option<Msg> {
    let frame = mp.to_vec();
    let Some(port) = q.shared().port(at) else {
        return Some(mp);
    };
    let (timed, ours, snooped) = (port.timed, is_ours(port, &frame), port.snoopers > 0);
    if timed {
        tick(q, at);
    }
    let left = if ours {
        // It doesn't leave this host: le(7D) receives what is for itself.
        finish(q, at, mp, frame.len() as u64, Ok(()))
    } else {
        let Some(port) = q.shared().port(at) else {
            return Some(mp);
        };
        let sent = port.link.send(&frame);
        if sent.is_ok() {
            port.count_sent(&frame);
        }
        finish(q, at, mp, frame.len() as u64, sent)
    };
    if left.is_none() && (ours || snooped) {
        let mut copy = q.alloc(input::HEADROOM, frame.len());
        copy.append(&frame);
        input::deliver(
            &mut q.rd(),
            at,
            copy,
            if ours {
                input::To::Looped
            } else {
                input::To::Snoopers
            },
        );
    }
    if timed {
        tick(q, at);
    }
    left
}

/// The link has no room: the frame waits, and what follows behind it.
#[cold]
fn wait(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    q.noenable(); // the timeout runs the service procedure, not the next putq
    q.putbq(mp);
    if !std::mem::replace(&mut q.ptr().waiting, true) {
        q.qtimeout(AGAIN, RETRY);
    }
}

/// The write side's timeout: time to try again.
pub(super) fn retry(q: &mut Queue<'_, Dlpi>) {
    q.enableok();
    q.qenable();
}

/// The write side's service procedure: what waited goes out, in its order.
pub(super) fn resume(q: &mut Queue<'_, Dlpi>) {
    while let Some(mp) = q.getq() {
        let left = match q.ptr().port {
            Some(port) => transmit(q, port, mp),
            None => {
                q.discard(mp, "detached while it waited");
                None
            }
        };
        if let Some(mp) = left {
            q.noenable();
            q.putbq(mp);
            q.qtimeout(AGAIN, RETRY);
            return;
        }
    }
    q.ptr().waiting = false;
}
