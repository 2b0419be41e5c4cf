//! Local management: one request, one answer.
//!
//! ```text
//!   M_PROTO ─► state.rs: may it? ─► parse ─► carry out ─► new state ─► the ack goes up
//!                  │ no               │ malformed  │ fails
//!                  └──────────────────┴────────────┴─────────► DL_ERROR_ACK
//! ```
//!
//! The state changes before the answer goes up: who gets it may ask the next thing from
//! within that very putnext.
//!
//! Spec: dlpi(7P); le(7D) for what an Ethernet answers.
//! Kept: DL_INFO_ACK of Ethernet and of point-to-point providers, so that IP takes them
//! for what they are; DL_SET_PHYS_ADDR_REQ needs privilege and reaches every stream.
//! Differs: a stream that asked for DL_NOTE_PHYS_ADDR is told of a new address by that
//! and not by M_ERROR. Before the attach DL_INFO_ACK has no addresses: what kind of link
//! it is comes out when it is made.

use streams::prelude::*;

use super::port::{self, errno_of};
use super::stats::Statistics;
use super::{Dlpi, input, llc};
use crate::addr::{BROADCAST, Dlsap, MAX_LENGTH, Mac, is_group};
use crate::filter::Sap;
use crate::link::{Event, Medium};
use crate::llc::{LLC_HDR, LSAP_GLOBAL, LSAP_NULL, LSAP_SNAP};
use crate::prim::note::*;
use crate::prim::*;
use crate::state::{Answer, State, answer};

/// The DL_NOTE_* bits that mean something here.
const NOTES: u32 = DL_NOTE_PHYS_ADDR
    | DL_NOTE_PROMISC_ON_PHYS
    | DL_NOTE_PROMISC_OFF_PHYS
    | DL_NOTE_LINK_DOWN
    | DL_NOTE_LINK_UP
    | DL_NOTE_SDU_SIZE
    | DL_NOTE_FASTPATH_FLUSH;

type Done = Result<Prim, DlError>;

/// Answers every primitive but DL_UNITDATA_REQ.
pub(super) fn request(q: &mut Queue<'_, Dlpi>, number: u32, mp: Msg) {
    let parsed = Prim::parse(&mp);
    q.freemsg(mp);
    let d = q.ptr();
    let styled = d.style1 && matches!(number, DL_ATTACH_REQ | DL_DETACH_REQ);
    let done = match answer(d.state, number) {
        // A style 1 stream is attached for its life.
        _ if styled => Err(DlErrno::NOTSUPPORTED.into()),
        Answer::Nak(DlErrno::OUTSTATE) => Err(parsed.err().unwrap_or(DlErrno::OUTSTATE.into())),
        Answer::Nak(e) | Answer::UdErr(e) => Err(e.into()),
        Answer::Do => parsed.and_then(|p| carry_out(q, &p)),
        Answer::Go(next) => parsed.and_then(|p| {
            let ack = carry_out(q, &p)?;
            q.ptr().set_state(next);
            Ok(ack)
        }),
    };
    let ok = done.is_ok();
    let ack = done.unwrap_or_else(|e| Prim::error_ack(number, e));
    q.qreply(ack.emit());
    if ok {
        afterwards(q, number);
    }
}

fn carry_out(q: &mut Queue<'_, Dlpi>, p: &Prim) -> Done {
    let ok = Ok(Prim::ok_ack(p.number()));
    match p {
        Prim::InfoReq => Ok(Prim::InfoAck { info: info(q) }),
        Prim::AttachReq { ppa } => {
            let raw = q.ptr().raw;
            let at = port::attach(q, *ppa, raw)?;
            q.ptr().port = Some(at);
            ok
        }
        Prim::DetachReq => {
            q.flushq(Flush::All);
            if let Some(at) = q.ptr().port.take() {
                port::detach(q, at);
            }
            ok
        }
        Prim::BindReq {
            sap,
            service_mode,
            xidtest_flg,
            ..
        } => bind(q, *sap, *service_mode, *xidtest_flg),
        Prim::UnbindReq => {
            // Frames of the old SAP must not go out under a new one.
            q.flushq(Flush::Data);
            let d = q.ptr();
            (d.fast, d.waiting, d.llc) = (false, false, None);
            port::with_user(q, |u| {
                (u.bound, u.fast, u.llc) = (false, false, None);
                u.filter.bind(None);
            });
            ok
        }
        Prim::SubsBindReq { sap, class } => {
            let further = further_sap(q, &sap.0, *class)?;
            port::with_user(q, |u| u.filter.bind_further(further)).ok_or(DlErrno::OUTSTATE)??;
            Ok(Prim::SubsBindAck { sap: sap.clone() })
        }
        Prim::SubsUnbindReq { sap } => {
            let further = bound_sap(q, &sap.0)?;
            port::with_user(q, |u| u.filter.unbind_further(further)).ok_or(DlErrno::OUTSTATE)??;
            ok
        }
        Prim::UdqosReq { qos } => select_quality(qos).map_or_else(|e| Err(e.into()), |()| ok),
        Prim::EnabmultiReq { addr } => multicast(q, addr, true).map_or_else(Err, |()| ok),
        Prim::DisabmultiReq { addr } => multicast(q, addr, false).map_or_else(Err, |()| ok),
        Prim::PromisconReq { level } => promiscuous(q, *level, true).map_or_else(Err, |()| ok),
        Prim::PromiscoffReq { level } => promiscuous(q, *level, false).map_or_else(Err, |()| ok),
        Prim::PhysAddrReq { addr_type } => phys_addr(q, *addr_type),
        Prim::SetPhysAddrReq { addr } => set_phys_addr(q, addr).map_or_else(Err, |()| ok),
        Prim::GetStatisticsReq => {
            let (d, links) = q.both();
            let port = d.port.and_then(|at| links.port(at));
            let stats = port.map_or_else(Statistics::default, |p| p.statistics());
            Ok(Prim::GetStatisticsAck {
                stat: stats.to_bytes(),
            })
        }
        Prim::NotifyReq { notifications, .. } => {
            if let Some(at) = q.ptr().port {
                input::ask(&mut q.rd(), at); // what is told as new from now on
            }
            port::with_user(q, |u| u.notes = notifications & NOTES);
            Ok(Prim::NotifyAck {
                notifications: NOTES,
            })
        }
        // The table lets nothing else through.
        _ => Err(DlErrno::NOTSUPPORTED.into()),
    }
}

/// What follows an answer.
fn afterwards(q: &mut Queue<'_, Dlpi>, number: u32) {
    let (d, links) = q.both();
    let Some((at, p)) = d.port.and_then(|at| links.port(at).map(|p| (at, p))) else {
        return;
    };
    match number {
        DL_BIND_REQ => p.ring(), // a link that waited for a stream may go on
        DL_SET_PHYS_ADDR_REQ => new_address(q, at),
        DL_NOTIFY_REQ => {
            // How things stand now.
            let (up, mtu, mac) = (p.up, p.mtu() as u32, p.medium.address());
            let link = if up {
                DL_NOTE_LINK_UP
            } else {
                DL_NOTE_LINK_DOWN
            };
            let me = Some(q.rd().qref());
            indicate(q, at, me, link, 0, &[]);
            indicate(q, at, me, DL_NOTE_SDU_SIZE, mtu, &[]);
            if let Some(mac) = mac {
                indicate(q, at, me, DL_NOTE_PHYS_ADDR, DL_CURR_PHYS_ADDR, &mac);
            }
            input::watch(q);
        }
        _ => {}
    }
}

/// DL_INFO_ACK.
fn info(q: &mut Queue<'_, Dlpi>) -> InfoAck {
    let (d, links) = q.both();
    let mut info = InfoAck {
        current_state: d.state as u32,
        provider_style: if d.style1 { DL_STYLE1 } else { DL_STYLE2 },
        ..InfoAck::default()
    };
    let Some(p) = d.port.and_then(|at| links.port(at)) else {
        return info;
    };
    info.max_sdu = p.link.mtu();
    info.mac_type = p.link.mac_type();
    if let Medium::Ether(mac) = p.medium {
        let sap_len = d.sap_len();
        (info.addr_length, info.sap_length) = (6 + sap_len as u32, -(sap_len as i32));
        info.brdcst_addr = BROADCAST.to_vec();
        info.addr = match (d.state, d.llc) {
            (State::Idle, Some(mode)) => llc::dlsap(&mac, mode.lsap, None, sap_len),
            (State::Idle, None) => Dlsap::ether(&mac, d.sap).as_slice().to_vec(),
            _ => vec![0; 6 + sap_len],
        };
        if d.llc1 && info.mac_type == mac::DL_ETHER {
            info.mac_type = mac::DL_CSMACD; // llc1(7D)
        }
        if d.llc1 || d.llc.is_some() {
            info.max_sdu = info.max_sdu.min(MAX_LENGTH) - LLC_HDR as u32;
        }
    }
    info
}

fn bind(q: &mut Queue<'_, Dlpi>, sap: u32, service_mode: u16, xidtest: u32) -> Done {
    if u32::from(service_mode) != DL_CLDLS {
        return Err(DlErrno::UNSUPPORTED.into());
    }
    let (d, links) = q.both();
    let medium = d.port.and_then(|at| links.port(at)).map(|p| p.medium);
    let ether = medium.and_then(Medium::address);
    let mode = llc::mode(d, ether.is_some(), sap, xidtest)?;
    let short = u16::try_from(sap).map_err(|_| DlErrno::BADSAP)?;
    (d.sap, d.llc) = (short, mode);
    let bound = match mode {
        Some(mode) => Sap::Lsap(mode.lsap),
        None => Sap::of(short),
    };
    port::with_user(q, |u| {
        (u.bound, u.llc) = (true, mode);
        u.filter.bind(Some(bound));
    });
    let addr = match (ether, mode) {
        (Some(mac), Some(mode)) => llc::dlsap(&mac, mode.lsap, None, mode.sap_len),
        (Some(mac), None) => Dlsap::ether(&mac, short).as_slice().to_vec(),
        (None, _) => Vec::new(),
    };
    Ok(Prim::BindAck {
        sap,
        addr,
        max_conind: 0,
        xidtest_flg: xidtest,
    })
}

/// The SAP that DL_SUBS_BIND_REQ means. A peer is of the kind that the stream is bound to: a
/// type (2 bytes in host order) or an LSAP (1 byte, or 2). Below LSAP AA are SNAP's 5 bytes.
fn further_sap(q: &mut Queue<'_, Dlpi>, sap: &[u8], class: u32) -> Result<Sap, DlError> {
    let llc = q.ptr().llc;
    let sap = match class {
        DL_PEER_BIND => bound_sap(q, sap)?,
        DL_HIERARCHICAL_BIND if llc.is_some_and(|m| m.lsap == LSAP_SNAP) => bound_sap(q, sap)?,
        _ => return Err(DlErrno::UNSUPPORTED.into()),
    };
    match (class, sap) {
        (DL_HIERARCHICAL_BIND, Sap::Snap(_)) => Ok(sap),
        // The station's own and everybody's are nobody's to bind.
        (DL_PEER_BIND, Sap::Lsap(l)) if l != LSAP_NULL && l != LSAP_GLOBAL => Ok(sap),
        (DL_PEER_BIND, Sap::Type(_) | Sap::Raw) => Ok(sap),
        _ => Err(DlErrno::BADADDR.into()),
    }
}

/// The SAP of these bytes on this stream.
fn bound_sap(q: &mut Queue<'_, Dlpi>, sap: &[u8]) -> Result<Sap, DlError> {
    let llc = q.ptr().llc.is_some();
    match *sap {
        [a, b] if !llc => Ok(Sap::of(u16::from_ne_bytes([a, b]))),
        [l] if llc => Ok(Sap::Lsap(l)),
        [a, b] => u8::try_from(u16::from_ne_bytes([a, b]))
            .map(Sap::Lsap)
            .map_err(|_| DlErrno::BADADDR.into()),
        [a, b, c, d, e] if llc => Ok(Sap::Snap([a, b, c, d, e])),
        _ => Err(DlErrno::BADADDR.into()),
    }
}

/// DL_UDQOS_REQ: these links promise nothing, so only that may be asked for.
fn select_quality(qos: &[u8]) -> Result<(), DlErrno> {
    let (words, _) = qos.as_chunks::<4>();
    let mut words = words.iter().map(|w| i32::from_ne_bytes(*w));
    if words.next() != Some(DL_QOS_CL_SEL1 as i32) {
        return Err(DlErrno::BADQOSTYPE);
    }
    let any = |n: i32| matches!(n, DL_UNKNOWN | DL_QOS_DONT_CARE);
    let mut next = || words.next().ok_or(DlErrno::BADQOSPARAM);
    let (delay, priority, protection, errors) = (next()?, next()?, next()?, next()?);
    let fits = any(delay)
        && (any(priority) || priority == 0)
        && (any(protection) || protection == DL_PROT_NONE)
        && any(errors);
    fits.then_some(()).ok_or(DlErrno::BADQOSPARAM)
}

fn multicast(q: &mut Queue<'_, Dlpi>, addr: &[u8], on: bool) -> Result<(), DlError> {
    let me = q.rd().qref();
    let (d, links) = q.both();
    let p = d
        .port
        .and_then(|at| links.port(at))
        .ok_or(DlErrno::OUTSTATE)?;
    if p.medium == Medium::PointToPoint {
        return Err(DlErrno::NOTSUPPORTED.into());
    }
    let u = p
        .users
        .iter_mut()
        .find(|u| u.q == me)
        .ok_or(DlErrno::OUTSTATE)?;
    if on && !u.filter.enable(addr)? {
        return Ok(());
    }
    let group = if on {
        Mac::try_from(addr).map_err(|_| DlErrno::BADADDR)?
    } else {
        u.filter.disable(addr)?
    };
    // The link hears a group as long as any stream wants it.
    if p.has_group(&group, me) {
        return Ok(());
    }
    p.link.multicast(&group, on).map_err(|e| {
        if on && let Some(u) = p.users.iter_mut().find(|u| u.q == me) {
            let _ = u.filter.disable(addr); // just enabled above
        }
        DlError::sys(errno_of(&e))
    })
}

fn promiscuous(q: &mut Queue<'_, Dlpi>, level: u32, on: bool) -> Result<(), DlError> {
    let me = q.rd().qref();
    let (d, links) = q.both();
    let Some((at, p)) = d.port.and_then(|at| links.port(at).map(|p| (at, p))) else {
        return Err(DlErrno::OUTSTATE.into());
    };
    let u = p
        .users
        .iter_mut()
        .find(|u| u.q == me)
        .ok_or(DlErrno::OUTSTATE)?;
    let changed = if on {
        u.filter.promisc_on(level)?
    } else {
        u.filter.promisc_off(level)?;
        true
    };
    if level != DL_PROMISC_PHYS || !changed {
        return Ok(());
    }
    let was = p.snoopers;
    p.snoopers = if on { was + 1 } else { was - 1 };
    if (was == 0) == (p.snoopers == 0) {
        return Ok(());
    }
    if let Err(e) = p.link.promiscuous(on) {
        p.snoopers = was;
        if let Some(u) = p.users.iter_mut().find(|u| u.q == me) {
            let undo = if on {
                u.filter.promisc_off(level)
            } else {
                u.filter.promisc_on(level).map(|_| ())
            };
            undo?;
        }
        return Err(DlError::sys(errno_of(&e)));
    }
    let what = if on {
        DL_NOTE_PROMISC_ON_PHYS
    } else {
        DL_NOTE_PROMISC_OFF_PHYS
    };
    indicate(q, at, None, what, 0, &[]);
    Ok(())
}

fn phys_addr(q: &mut Queue<'_, Dlpi>, addr_type: u32) -> Done {
    let (d, links) = q.both();
    let p = d
        .port
        .and_then(|at| links.port(at))
        .ok_or(DlErrno::OUTSTATE)?;
    let medium = match addr_type {
        DL_FACT_PHYS_ADDR => p.factory,
        DL_CURR_PHYS_ADDR => p.medium,
        _ => return Err(DlErrno::UNSUPPORTED.into()),
    };
    Ok(Prim::PhysAddrAck {
        addr: medium.address().map_or(Vec::new(), |m| m.to_vec()),
    })
}

fn set_phys_addr(q: &mut Queue<'_, Dlpi>, addr: &[u8]) -> Result<(), DlError> {
    let (d, links) = q.both();
    d.cred.require_priv().map_err(DlError::sys)?;
    let p = d
        .port
        .and_then(|at| links.port(at))
        .ok_or(DlErrno::OUTSTATE)?;
    if p.medium == Medium::PointToPoint {
        return Err(DlErrno::NOTSUPPORTED.into());
    }
    let mac = Mac::try_from(addr)
        .ok()
        .filter(|m| !is_group(m))
        .ok_or(DlErrno::BADADDR)?;
    p.link.set_address(&mac).map_err(|e| match e.kind() {
        std::io::ErrorKind::Unsupported => DlErrno::NOTSUPPORTED.into(),
        _ => DlError::sys(errno_of(&e)),
    })?;
    p.medium = Medium::Ether(mac);
    Ok(())
}

/// The link has a new address: everybody else on it has to know.
fn new_address(q: &mut Queue<'_, Dlpi>, at: usize) {
    let me = q.rd().qref();
    let Some(p) = q.shared().port(at) else { return };
    let Some(mac) = p.medium.address() else {
        return;
    };
    let unaware = |u: &&port::User| u.q != me && u.notes & DL_NOTE_PHYS_ADDR == 0;
    let others: Vec<QRef> = p.users.iter().filter(unaware).map(|u| u.q).collect();
    indicate(q, at, None, DL_NOTE_PHYS_ADDR, DL_CURR_PHYS_ADDR, &mac);
    indicate(q, at, None, DL_NOTE_FASTPATH_FLUSH, 0, &[]);
    for to in others {
        // le(7D): "an M_ERROR message is sent up all other streams attached".
        q.putnext_of(to, Msg::of(MsgType::Error, &[Errno::EIO as u8]));
    }
}

/// Something happened to the link.
pub(super) fn tell(q: &mut Queue<'_, Dlpi>, at: usize, e: Event) {
    match e {
        Event::Up => indicate(q, at, None, DL_NOTE_LINK_UP, 0, &[]),
        Event::Down => indicate(q, at, None, DL_NOTE_LINK_DOWN, 0, &[]),
        Event::Mtu(mtu) => indicate(q, at, None, DL_NOTE_SDU_SIZE, mtu, &[]),
    }
}

/// DL_NOTIFY_IND to one stream, or to all, that asked for this note.
fn indicate(
    q: &mut Queue<'_, Dlpi>,
    at: usize,
    only: Option<QRef>,
    notification: u32,
    data: u32,
    addr: &[u8],
) {
    let Some(p) = q.shared().port(at) else { return };
    let asked = |u: &&port::User| u.notes & notification != 0 && only.is_none_or(|o| o == u.q);
    let to: Vec<QRef> = p.users.iter().filter(asked).map(|u| u.q).collect();
    for u in to {
        let ind = Prim::NotifyInd {
            notification,
            data,
            addr: addr.to_vec(),
        };
        q.putnext_of(u, ind.emit());
    }
}
