//! LLC class I for a stream: UI, XID and TEST between LSAPs.
//!
//! ```text
//!   DL_UNITDATA_REQ, DL_XID_REQ/RES, DL_TEST_REQ/RES ─► | DSAP SSAP control | data ─► Link
//!   Link ─► command ─► DL_XID_IND, DL_TEST_IND, DL_UNITDATA_IND
//!                 └──► DL_AUTO_XID, DL_AUTO_TEST: the response goes back from here
//!           response ─► DL_XID_CON, DL_TEST_CON
//! ```
//!
//! LLC is on for a stream of /dev/llc1, whose SAPs are all LSAPs, and for one of le, hme and
//! so on that is bound to an LSAP with DL_AUTO_XID or DL_AUTO_TEST. Any other stream in 802.3
//! mode has the LLC header in its data, as le(7D) says: XID and TEST are DL_NOTSUPPORTED there
//! and with an Ethernet type.
//!
//! Spec: DLPI 2.0.0 DL_XID_REQ to DL_TEST_CON, llc1(7D), IEEE 802.2 6.6 and 6.7.
//! Kept: DL_XIDAUTO and DL_TESTAUTO for requests and responses alike; XID without data is
//! that of class I; a response has the final bit as the command its poll bit; DLSAPs of llc1
//! are 6 + 1 bytes. The station itself (DSAP 0) answers as long as a stream has LLC on.
//! Differs: a SNAP SAP follows its LSAP in the DLSAP (DLPI leaves it to the provider).
//! Not done: the duplicate address check.

use streams::prelude::*;

use super::{Dlpi, output};
use crate::addr::{ETHER_HDR, Ether, MAX_LENGTH, Mac, is_group};
use crate::link::Medium;
use crate::llc::{
    LLC_HDR, LSAP_NULL, LSAP_SNAP, Llc, SNAP_HDR, TEST, UI, XID, XID_CLASS_I, is_individual,
};
use crate::prim::*;
use crate::state::{Answer, answer};

/// The device whose every SAP is an LSAP.
pub const LLC1: &str = "llc1";

/// How a stream with LLC is bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mode {
    pub lsap: u8,
    /// DL_AUTO_XID, DL_AUTO_TEST.
    pub auto: u32,
    /// Bytes of a SAP in a DLSAP.
    pub sap_len: usize,
}

/// The address of a SAP at a station.
pub(super) fn dlsap(mac: &Mac, lsap: u8, snap: Option<[u8; SNAP_HDR]>, sap_len: usize) -> Vec<u8> {
    let mut v = mac.to_vec();
    match sap_len {
        1 => v.push(lsap),
        _ => v.extend(u16::from(lsap).to_ne_bytes()),
    }
    v.extend(snap.iter().flatten());
    v
}

/// Takes such an address apart; DL_BADADDR if it is none.
fn split(dlsap: &[u8], sap_len: usize) -> Result<(Mac, u8, Option<[u8; SNAP_HDR]>), DlErrno> {
    let (mac, rest) = dlsap.split_first_chunk::<6>().ok_or(DlErrno::BADADDR)?;
    let (sap, snap) = rest.split_at_checked(sap_len).ok_or(DlErrno::BADADDR)?;
    let lsap = match *sap {
        [l] => l,
        [a, b] => u8::try_from(u16::from_ne_bytes([a, b])).map_err(|_| DlErrno::BADADDR)?,
        _ => return Err(DlErrno::BADADDR),
    };
    match snap {
        [] => Ok((*mac, lsap, None)),
        snap if lsap == LSAP_SNAP => {
            let snap = snap.try_into().map_err(|_| DlErrno::BADADDR)?;
            Ok((*mac, lsap, Some(snap)))
        }
        _ => Err(DlErrno::BADADDR),
    }
}

/// The mode that a bind asks for; `None` if it is one without LLC.
pub(super) fn mode(d: &Dlpi, ether: bool, sap: u32, xidtest: u32) -> Result<Option<Mode>, DlErrno> {
    if !d.llc1 && xidtest == 0 {
        return Ok(None);
    }
    if !ether {
        return Err(if d.llc1 {
            DlErrno::UNSUPPORTED
        } else {
            DlErrno::NOAUTO
        });
    }
    if xidtest & !(DL_AUTO_XID | DL_AUTO_TEST) != 0 || (!d.llc1 && sap > MAX_LENGTH) {
        return Err(DlErrno::NOAUTO); // an Ethernet type has no XID
    }
    if !is_individual(sap) {
        return Err(DlErrno::BADSAP);
    }
    Ok(Some(Mode {
        lsap: sap as u8,
        auto: xidtest,
        sap_len: d.sap_len(),
    }))
}

/// What could not be sent: why, and the data again.
pub(super) type Refused = (DlError, Option<Msg>);

/// What a PDU is, without its addresses.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    control: u8,
    response: bool,
    poll: bool,
}

impl Kind {
    /// Unnumbered information.
    pub const UI: Kind = Kind {
        control: UI,
        response: false,
        poll: false,
    };
}

/// The frame of a PDU from a stream to a DLSAP.
pub(super) fn frame(
    q: &mut Queue<'_, Dlpi>,
    mode: Mode,
    dest: &[u8],
    kind: Kind,
    data: Option<Msg>,
) -> Result<(usize, Msg), Refused> {
    let (d, links) = q.both();
    let Some((at, port)) = d.port.and_then(|at| links.port(at).map(|p| (at, p))) else {
        return Err((DlErrno::OUTSTATE.into(), data));
    };
    let Medium::Ether(own) = port.medium else {
        return Err((DlErrno::NOTSUPPORTED.into(), data));
    };
    let (dst, dsap, snap) = match split(dest, mode.sap_len) {
        Ok(to) => to,
        Err(e) => return Err((e.into(), data)),
    };
    let head = Llc {
        dsap,
        ssap: mode.lsap,
        response: kind.response,
        control: kind.control,
        poll: kind.poll,
        snap: snap.filter(|_| kind.control == UI),
    }
    .emit();
    let len = head.len() + data.as_ref().map_or(0, Msg::msgsize);
    if len > port.mtu().min(MAX_LENGTH as usize) {
        port.stats.oerrors += 1;
        return Err((DlErrno::BADDATA.into(), data));
    }
    let ether = Ether {
        dst,
        src: own,
        kind: len as u16,
    };
    Ok((at, assembled(q, &ether, &head, data)))
}

/// Headers, and the data behind them.
fn assembled(q: &mut Queue<'_, Dlpi>, ether: &Ether, head: &[u8], data: Option<Msg>) -> Msg {
    let mut front = q.alloc(0, ETHER_HDR + head.len());
    front.append(&ether.emit());
    front.append(head);
    if let Some(mut data) = data {
        data.set_ty(MsgType::Data);
        front.set_tag(data.tag());
        front.set_cont(Some(data));
    }
    front
}

/// DL_XID_REQ, DL_XID_RES, DL_TEST_REQ and DL_TEST_RES: sent without an acknowledgement, or
/// refused with one.
pub(super) fn request(q: &mut Queue<'_, Dlpi>, number: u32, mut mp: Msg) {
    let data = mp.take_cont();
    let parsed = Prim::parse(&mp);
    q.freemsg(mp);
    let asked = match answer(q.ptr().state, number) {
        Answer::Nak(DlErrno::OUTSTATE) => Err(parsed.err().unwrap_or(DlErrno::OUTSTATE.into())),
        Answer::Nak(e) | Answer::UdErr(e) => Err(e.into()),
        Answer::Do | Answer::Go(_) => parsed,
    };
    let done = match asked {
        Ok(p) => send(q, &p, data),
        Err(e) => Err((e, data)),
    };
    if let Err((e, data)) = done {
        if let Some(data) = data {
            q.discard(data, "XID or TEST that was refused");
        }
        q.qreply(Prim::error_ack(number, e).emit());
    }
}

fn send(q: &mut Queue<'_, Dlpi>, p: &Prim, data: Option<Msg>) -> Result<(), Refused> {
    let (control, response, flag, dest) = match p {
        Prim::XidReq { flag, dest } => (XID, false, *flag, dest),
        Prim::XidRes { flag, dest } => (XID, true, *flag, dest),
        Prim::TestReq { flag, dest } => (TEST, false, *flag, dest),
        Prim::TestRes { flag, dest } => (TEST, true, *flag, dest),
        _ => return Err((DlErrno::BADPRIM.into(), data)),
    };
    let Some(mode) = q.ptr().llc else {
        return Err((DlErrno::NOTSUPPORTED.into(), data));
    };
    let auto = match control {
        XID if mode.auto & DL_AUTO_XID != 0 => Some(DlErrno::XIDAUTO),
        TEST if mode.auto & DL_AUTO_TEST != 0 => Some(DlErrno::TESTAUTO),
        _ => None,
    };
    if let Some(e) = auto {
        return Err((e.into(), data));
    }
    let data = match data {
        None if control == XID => Some(Msg::of(MsgType::Data, &XID_CLASS_I)),
        data => data,
    };
    let kind = Kind {
        control,
        response,
        poll: flag & DL_POLL_FINAL != 0,
    };
    let (at, frame) = frame(q, mode, dest, kind, data)?;
    output::send(q, at, frame);
    Ok(())
}

/// A frame that a stream's LSAP takes.
pub(super) fn deliver(
    q: &mut Queue<'_, Dlpi>,
    at: usize,
    to: QRef,
    mode: Mode,
    mut mp: Msg,
    (e, h): (&Ether, &Llc),
) {
    let Some(mut up) = q.at(to) else {
        return q.discard(mp, "the stream is gone");
    };
    let auto = match h.control {
        XID => mode.auto & DL_AUTO_XID != 0,
        TEST => mode.auto & DL_AUTO_TEST != 0,
        UI if !h.response => false,
        _ => return up.discard(mp, "LLC of another class than I"),
    };
    if auto && h.response {
        return up.discard(mp, "LLC response that nobody asked for");
    }
    if auto {
        return respond(&mut up, at, mode.lsap, mp, (e, h));
    }
    if !up.canputnext() {
        up.discard(mp, "the receiver is blocked");
        if let Some(p) = q.shared().port(at) {
            p.stats.nocanput += 1;
        }
        return;
    }
    let snap = if h.snap.is_some() { SNAP_HDR } else { 0 };
    mp.advance_rptr(ETHER_HDR + LLC_HDR + snap);
    let dest = dlsap(&e.dst, h.dsap, h.snap, mode.sap_len);
    let src = dlsap(&e.src, h.ssap, h.snap, mode.sap_len);
    let flag = if h.poll { DL_POLL_FINAL } else { 0 };
    let prim = match (h.control, h.response) {
        (XID, false) => Prim::XidInd { flag, dest, src },
        (XID, true) => Prim::XidCon { flag, dest, src },
        (TEST, false) => Prim::TestInd { flag, dest, src },
        (TEST, true) => Prim::TestCon { flag, dest, src },
        _ => Prim::UnitdataInd {
            dest,
            src,
            group: u32::from(is_group(&e.dst)),
        },
    };
    let mut ind = prim.emit();
    ind.set_tag(mp.tag());
    ind.set_cont(Some(mp));
    up.putnext(ind);
}

/// The response to an XID or TEST command, whose frame is `mp`, from an LSAP of this station.
fn respond(q: &mut Queue<'_, Dlpi>, at: usize, lsap: u8, mut mp: Msg, (e, h): (&Ether, &Llc)) {
    let own = q.shared().port(at).and_then(|p| p.medium.address());
    let Some(src) = own.filter(|_| !is_group(&e.src)) else {
        return q.discard(mp, "LLC command from a group");
    };
    let info = match h.control {
        TEST => {
            mp.advance_rptr(ETHER_HDR + LLC_HDR);
            mp
        }
        _ => {
            q.freemsg(mp);
            Msg::of(MsgType::Data, &XID_CLASS_I)
        }
    };
    let head = h.response(lsap).emit();
    let ether = Ether {
        dst: e.src,
        src,
        kind: (head.len() + info.msgsize()) as u16,
    };
    let mut w = q.wr();
    let frame = assembled(&mut w, &ether, &head, Some(info));
    output::send(&mut w, at, frame);
}

/// Does the station itself have to answer this? Through which stream.
pub(super) fn for_station(q: &mut Queue<'_, Dlpi>, at: usize, h: &Llc) -> Option<QRef> {
    let asks = h.dsap == LSAP_NULL && !h.response && matches!(h.control, XID | TEST);
    let users = &q.shared().port(at).filter(|_| asks)?.users;
    let mut on = users.iter().filter_map(|u| Some((u.q, u.llc?)));
    let taken = users
        .iter()
        .filter_map(|u| u.llc)
        .any(|m| m.lsap == LSAP_NULL);
    on.next().filter(|_| !taken).map(|(q, _)| q)
}

/// The station's answer.
pub(super) fn answer_as_station(
    q: &mut Queue<'_, Dlpi>,
    at: usize,
    through: QRef,
    mp: Msg,
    of: (&Ether, &Llc),
) {
    match q.at(through) {
        Some(mut up) => respond(&mut up, at, LSAP_NULL, mp, of),
        None => q.discard(mp, "the stream is gone"),
    }
}
