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

use super::port::{Links, Port, tick};
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
    let Some(at) = q.number().checked_sub(1) else {
        return later(q, mp);
    };
    if let Some(mp) = transmit(q, at as usize, mp) {
        wait(q, mp);
    }
}

/// One that cannot go at once.
#[cold]
fn later(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    let d = q.ptr();
    match d.port {
        Some(at) if d.bare && !d.waiting => {
            if let Some(mp) = transmit(q, at, mp) {
                wait(q, mp);
            }
        }
        Some(_) if d.bare => q.putq(mp),
        _ => q.discard(mp, "M_DATA on a stream that is neither raw nor fast"),
    }
}

/// Sets the number of the pair by its state: the port, counted from 1, to which M_DATA goes at
/// once; else 0.
pub(super) fn aim(q: &mut Queue<'_, Dlpi>) {
    let d = q.ptr();
    let at = d.port.filter(|_| d.bare && !d.waiting);
    q.set_number(at.map_or(0, |at| at as u32 + 1));
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

/// What became of a frame that was offered to a link.
enum Offered {
    /// It is sent.
    Sent,
    /// The link has no room now.
    Full,
    /// It is lost, for this reason.
    Lost(&'static str),
    /// Not offered yet: others hear it, it is for ourselves, or the link looks at the time.
    Watched,
}

impl Links {
    /// Offers a whole frame to a link.
    #[inline]
    fn offer(&mut self, at: usize, mp: &Msg) -> Offered {
        let Some((port, scratch)) = self.port_and_scratch(at) else {
            return Offered::Lost("not attached");
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
            return Offered::Lost("longer than the link takes, or shorter than its header");
        }
        if port.timed || port.snoopers > 0 || port.is_ours(frame) {
            return Offered::Watched;
        }
        port.send(frame)
    }
}

impl Port {
    /// Is the frame for ourselves?
    #[inline]
    fn is_ours(&self, frame: &[u8]) -> bool {
        match self.medium {
            Medium::Ether(own) => frame.first_chunk() == Some(&own),
            Medium::PointToPoint => false,
        }
    }

    /// Sends a frame, and accounts for it.
    #[inline]
    fn send(&mut self, frame: &[u8]) -> Offered {
        match self.link.send(frame) {
            Ok(()) => {
                self.count_sent(frame);
                self.sent(frame)
            }
            Err(e) => self.refused(&e),
        }
    }

    #[inline]
    fn sent(&mut self, frame: &[u8]) -> Offered {
        self.stats.opackets += 1;
        self.stats.obytes += frame.len() as u64;
        Offered::Sent
    }

    #[cold]
    fn refused(&mut self, e: &io::Error) -> Offered {
        if e.kind() == io::ErrorKind::WouldBlock {
            self.stats.noxmtbuf += 1;
            Offered::Full
        } else {
            self.stats.oerrors += 1;
            Offered::Lost("the link refused it")
        }
    }
}

/// Sends a whole frame. Gives it back if the link has no room now.
#[inline(always)]
fn transmit(q: &mut Queue<'_, Dlpi>, at: usize, mp: Msg) -> Option<Msg> {
    let offered = q.shared().offer(at, &mp);
    settle(q, at, mp, offered)
}

/// The end of a frame that was offered, or the frame itself if it must wait.
#[inline]
fn settle(q: &mut Queue<'_, Dlpi>, at: usize, mp: Msg, offered: Offered) -> Option<Msg> {
    match offered {
        Offered::Sent => q.freemsg(mp),
        Offered::Full => return Some(mp),
        Offered::Lost(why) => q.discard(mp, why),
        Offered::Watched => return transmit_watched(q, at, mp),
    }
    None
}

/// The same for a frame that others hear, that is for ourselves, or whose link looks at
/// the time. All of these may allocate.
#[cold]
fn transmit_watched(q: &mut Queue<'_, Dlpi>, at: usize, mp: Msg) -> Option<Msg> {
    let frame = mp.to_vec();
    let Some(port) = q.shared().port(at) else {
        return Some(mp);
    };
    let (timed, ours, snooped) = (port.timed, port.is_ours(&frame), port.snoopers > 0);
    if timed {
        tick(q, at);
    }
    let Some(port) = q.shared().port(at) else {
        return Some(mp);
    };
    let offered = if ours {
        // It doesn't leave this host: le(7D) receives what is for itself.
        port.sent(&frame)
    } else {
        port.send(&frame)
    };
    let left = settle(q, at, mp, offered);
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
    q.set_number(0);
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
    aim(q);
}
