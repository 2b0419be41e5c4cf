//! Figure 2(b): vtunl over a DLPI device, whose broadcasts and multicasts it encapsulates.
//!
//! ```text
//!   /dev/le ─ all broadcasts, multicasts ─► vtunl ─ outer datagrams ─► ip: routes them
//!
//!   10.1.0.255 ──► target MH with B, exit FA     with D:    [US▸FA [10.1.0.255 ..]]
//!                                                without D: [US▸FA [US▸MH [10.1.0.255 ..]]]
//!   224.1.2.3  ──► target 224.1.2.3, exit X                 [US▸X  [224.1.2.3 ..]]
//! ```
//!
//! Spec: the paper, section 2 and Figure 2(b); RFC 2002 section 4.3 (broadcasts); RFC 2003
//! section 3; dlpi(7P).
//! Kept: what arrived from the link with our address as source is not encapsulated.
//! Kept: a multicast's TTL is decremented, for that is forwarding (RFC 2003 3.1); a
//! broadcast's is not: it is delivered on the home network, wherever the host is.
//! Differs: the default entry does not serve what is heard; neither are unicasts looked
//! at: the device's own IP has them.

use dlpi::prim::{DL_PROMISC_MULTI, DL_UNITDATA_IND, Prim, SAP_IP};
use dlpi::state::State;
use streams::prelude::*;

use crate::encap::encapsulate;
use crate::encap_table::{ENCAP_B, ENCAP_D};
use crate::header::{IPPROTO_ENCAP, Ipv4, Outer, checksum, set_byte};
use crate::ioctl::Req;
use crate::personality::{Asked, Role, Vtunl, addr, finish};
use crate::pieces;
use crate::provider::{self, drop_it};
use crate::texit_table::ExitId;
use crate::why::Why;

/// VTUNL_SETCONF_DLSUSER: attaches and binds the device, and asks for its multicasts.
///
/// Errors: EINVAL over /dev/ip or nothing, or if configured otherwise; the device's.
pub(crate) fn configure(q: &mut Queue<'_, Vtunl>, req: &Req) -> Result<Wait, Errno> {
    let over_link = q.has_next() && q.driver_name() != "ip" && q.driver_name() != "vtunl";
    let a = req.address;
    if !over_link || q.ptr().role == Role::Transport {
        return Err(Errno::EINVAL);
    }
    if a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 0xe {
        return Err(Errno::EADDRNOTAVAIL);
    }
    let v = q.ptr();
    let again = v.role == Role::DlsUser;
    if again && v.ppa != req.ppa {
        return Err(Errno::EBUSY);
    }
    v.address = a;
    v.mask = req.addr_mask;
    if again {
        return Ok(Wait::Done);
    }
    v.role = Role::DlsUser;
    v.ppa = req.ppa;
    v.below = State::Unattached as u32;
    ask(
        q,
        Asked::Attach,
        &Prim::AttachReq {
            ppa: req.ppa.into(),
        },
    );
    Ok(Wait::Again)
}

fn ask(q: &mut Queue<'_, Vtunl>, asked: Asked, p: &Prim) {
    q.ptr().ask(asked, p.number());
    q.wr().putnext(p.emit());
}

/// On the way out: unbinds and detaches, and waits for the device to say so.
pub(crate) fn leave(q: &mut Queue<'_, Vtunl>) -> Wait {
    let v = q.ptr();
    v.up = false;
    if v.asked == Asked::Nothing && !v.dead && v.below == State::Idle as u32 {
        ask(q, Asked::Unbind, &Prim::UnbindReq);
    }
    let v = q.ptr();
    if v.asked == Asked::Nothing && !v.dead && v.below == State::Unbound as u32 {
        ask(q, Asked::Detach, &Prim::DetachReq);
    }
    let v = q.ptr();
    if v.asked == Asked::Nothing || v.dead {
        Wait::Done
    } else {
        Wait::Again
    }
}

/// M_PROTO or M_PCPROTO from the device: a datagram, or an answer.
pub(crate) fn rproto(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    if Prim::number_of(mp.rd()) == Some(DL_UNITDATA_IND) {
        return provider::rdata(q, mp);
    }
    let p = Prim::parse(&mp);
    q.freemsg(mp);
    let (request, error) = match p {
        Ok(Prim::OkAck { correct_primitive }) => (correct_primitive, None),
        Ok(Prim::BindAck { .. }) => (dlpi::prim::DL_BIND_REQ, None),
        Ok(Prim::ErrorAck {
            error_primitive,
            errno,
            unix_errno,
        }) => (error_primitive, Some((errno, unix_errno))),
        _ => return,
    };
    let v = q.ptr();
    if v.asked == Asked::Nothing || request != v.last_req {
        return;
    }
    let asked = std::mem::replace(&mut v.asked, Asked::Nothing);
    v.last_resp = match p {
        Ok(p) => p.number(),
        Err(_) => 0,
    };
    if let Some((errno, unix)) = error {
        answered(q, asked, error_of(errno, unix));
        return q.wake();
    }
    match asked {
        Asked::Attach => {
            v.below = State::Unbound as u32;
            ask(q, Asked::Bind, &Prim::bind(SAP_IP));
        }
        Asked::Bind => {
            v.below = State::Idle as u32;
            ask(
                q,
                Asked::Promisc,
                &Prim::PromisconReq {
                    level: DL_PROMISC_MULTI,
                },
            );
        }
        Asked::Promisc => finish(q, Ok(())),
        Asked::Unbind => {
            v.below = State::Unbound as u32;
            leave(q);
        }
        Asked::Detach => v.below = State::Unattached as u32,
        Asked::Nothing | Asked::TBind | Asked::TUnbind => {}
    }
    q.wake();
}

/// The device has refused.
fn answered(q: &mut Queue<'_, Vtunl>, asked: Asked, e: Errno) {
    match asked {
        // A link without multicast still has broadcasts.
        Asked::Promisc => finish(q, Ok(())),
        Asked::Attach | Asked::Bind => {
            // What was refused is not configured.
            let v = q.ptr();
            v.role = Role::Module;
            (v.address, v.mask, v.ppa) = (0, 0, 0);
            if asked == Asked::Bind {
                ask(q, Asked::Detach, &Prim::DetachReq);
                q.ptr().asked = Asked::Nothing; // its answer is of no interest
            }
            finish(q, Err(e));
        }
        _ => {}
    }
}

/// What a DL_ERROR_ACK is to the user.
fn error_of(errno: u32, unix: u32) -> Errno {
    use dlpi::prim::DlErrno;
    match DlErrno(errno) {
        DlErrno::SYSERR if unix != 0 => Errno::from_number(unix as i32),
        DlErrno::BADPPA => Errno::ENXIO,
        DlErrno::ACCESS => Errno::EPERM,
        DlErrno::BUSY | DlErrno::BOUND => Errno::EBUSY,
        _ => Errno::EIO,
    }
}

/// A frame that the device has taken from the link: a broadcast or multicast of a target
/// is encapsulated and given to IP.
pub(crate) fn hear(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    let mut mp = match mp.ty() {
        MsgType::Data => mp,
        _ => {
            let mut mp = mp;
            let data = mp.take_cont();
            q.freemsg(mp);
            match data {
                Some(data) => data,
                None => return,
            }
        }
    };
    let h = match Ipv4::of(&mut mp) {
        Ok(h) => h,
        Err(why) => return drop_it(q, mp, why),
    };
    let v = q.ptr();
    let view = v.reader.look();
    let us = v.address;
    let host = !v.mask;
    let on_net = v.mask != 0 && h.dst & v.mask == us & v.mask;
    // RFC 919: all ones; the zeros of 4.2BSD, too.
    let broadcast = h.dst == u32::MAX || (on_net && (h.dst & host == host || h.dst & host == 0));
    let multicast = h.dst >> 28 == 0xe;
    if !broadcast && !multicast {
        return q.freemsg(mp);
    }
    if checksum(&mp.rd()[..usize::from(h.header)]) != 0 {
        return drop_it(q, mp, Why::InnerChecksum);
    }
    // RFC 2003 3.2: it arrived from a link, and has our address as source.
    if h.src == us {
        return drop_it(q, mp, Why::OwnSource);
    }
    // The exits, and the home address to nest for (RFC 2002 4.3).
    let mut to: Vec<(ExitId, u16, Option<u32>)> = Vec::new();
    if let Some(hit) = view.encap.lookup_heard(h.dst) {
        to.extend(view.encap.exits(hit).map(|(id, flags)| (id, flags, None)));
    }
    if broadcast {
        for (home, hit) in view.encap.wanting_broadcasts(us, v.mask) {
            let wanting = view.encap.exits(hit).filter(|(_, f)| f & ENCAP_B != 0);
            to.extend(wanting.map(|(id, f)| (id, f, (f & ENCAP_D == 0).then_some(home))));
        }
    }
    if to.is_empty() {
        return q.freemsg(mp);
    }
    if multicast {
        // RFC 2003 3.1: forwarding; what has no hop left stays on its link.
        if h.ttl <= 1 {
            return drop_it(q, mp, Why::TtlZero);
        }
        set_byte(mp.rd_mut(), 8, h.ttl - 1);
    }
    view.stats.heard.add(1);
    let h = match Ipv4::read(mp.rd()) {
        Ok(h) => h,
        Err(why) => return drop_it(q, mp, why),
    };
    for (id, flags, nest) in to {
        let one = mp.dupmsg();
        tunnel(q, one, h, id, flags, nest);
    }
    q.freemsg(mp);
}

/// One copy to one exit, first wrapped for the mobile node's home address if `nest`.
fn tunnel(
    q: &mut Queue<'_, Vtunl>,
    mut mp: Msg,
    h: Ipv4,
    id: ExitId,
    flags: u16,
    nest: Option<u32>,
) {
    let v = q.ptr();
    let view = v.reader.look();
    let mut h = h;
    if let Some(home) = nest {
        let len = u32::from(h.len) + 20;
        let Ok(len) = u16::try_from(len) else {
            return drop_it(q, mp, Why::TooLong);
        };
        let inner = Outer {
            tos: view.policy.outer_tos(h.tos),
            len,
            ident: h.ident,
            df: h.df(),
            ttl: view.policy.ttl,
            proto: IPPROTO_ENCAP,
            src: v.address,
            dst: home,
        };
        inner.prepend(&mut mp, crate::encap::SPARE);
        match Ipv4::of(&mut mp) {
            Ok(outer) => h = outer,
            Err(why) => return drop_it(q, mp, why),
        }
    }
    let Some(x) = view.exits.at(id) else {
        return q.freemsg(mp);
    };
    match encapsulate(&mut mp, &h, x, flags, v.address, &view.policy, &view.stats) {
        Ok(()) => {
            view.stats.encapsulated.add(1);
            v.encapsulated += 1;
            if view.debug >= 3 {
                let (a, b) = (addr(h.dst), addr(x.addr()));
                q.strlog(
                    3,
                    format_args!("heard: {} bytes for {a} to exit {b}", h.len),
                );
            }
            provider::deliver(&mut q.rd(), mp);
        }
        Err(why) if pieces::mend(why, &h) => pieces::send(q, mp, &h, id, flags),
        Err(why) => drop_it(q, mp, why),
    }
}
