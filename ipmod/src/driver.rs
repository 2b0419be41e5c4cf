//! /dev/ip: the end that transports and raw users sit on.
//!
//! ```text
//!   T_BIND_REQ .. protocol ─► subscriber        M_DATA (a whole datagram) ─► output.rs
//!   deliver.rs ─► M_DATA up                     M_IOCTL SIOC*, ND_* ─► ioctl.rs
//! ```
//!
//! Spec: ip(7P), the reference's ip-tpi sections 2 and 3.
//! Kept: address lengths 0, 4, 16 and 12; the protocol byte behind the address; a second
//! bind replaces the first; no TPI state; of options those of groups alone.

use streams::message::{Ctl, LinkBlk};
use streams::prelude::*;
use streams::sys::{I_LINK, I_PLINK, I_PUNLINK, I_UNLINK};

use crate::module::Ip;
use crate::stack::Subscriber;
use crate::tpi::{self, Tli, Tpi};
use crate::tpi_options::{self, Net, NoOptions};
use crate::wire::{HEADER, be32, is_multicast};
use crate::{ioctl, multicast, output};

/// Write side of a /dev/ip stream.
pub(crate) fn wput(q: &mut Queue<'_, Ip>, mp: Msg) {
    if mp.ty() == MsgType::Data {
        let mp = with_ttl(q, mp);
        output::ip_output(q, mp);
    } else {
        control(q, mp);
    }
}

/// The same of what is no datagram.
#[inline(never)]
fn control(q: &mut Queue<'_, Ip>, mp: Msg) {
    match mp.ty() {
        MsgType::Proto | MsgType::PcProto => request(q, mp),
        MsgType::Ioctl => {
            let link = matches!(
                mp.cont().and_then(Msg::ctl),
                Some(Ctl::Link(LinkBlk { .. }))
            );
            match mp.ioc().map_or(0, |i| i.cmd) {
                I_LINK | I_PLINK | I_UNLINK | I_PUNLINK if link => q.iocack(mp, 0),
                _ => ioctl::client_ioctl(q, mp),
            }
        }
        MsgType::IocData => ioctl::client_ioctl(q, mp),
        MsgType::Flush => q.flush_driver(mp),
        _ => q.discard(mp, "not for ip"),
    }
}

/// A datagram to a group has the time to live that IP_MULTICAST_TTL has set, if it has.
fn with_ttl(q: &mut Queue<'_, Ip>, mut mp: Msg) -> Msg {
    let Some(head) = mp.rd().first_chunk::<HEADER>() else {
        return mp;
    };
    if is_multicast(be32(head, 16)) {
        let me = q.rd().qref();
        let ttl = q.shared().multicast.of(me).ttl;
        if let (Some(ttl), Some(b)) = (ttl, mp.rd_mut().get_mut(8)) {
            *b = ttl;
        }
    }
    mp
}

fn request(q: &mut Queue<'_, Ip>, mp: Msg) {
    let prim = mp
        .rd()
        .first_chunk::<4>()
        .map_or(0, |w| u32::from_ne_bytes(*w));
    let answer = match Tpi::parse(mp.rd()) {
        Ok(Tpi::Bind {
            prim,
            addr,
            conind,
            trailer,
        }) => bind(q, prim, &addr, conind, trailer),
        Ok(Tpi::UnbindReq) => {
            let me = q.rd().qref();
            q.shared().subscribers.retain(|s| s.q != me);
            tpi::ok_ack(tpi::T_UNBIND_REQ)
        }
        Ok(Tpi::OptmgmtReq { prim, opts, flags }) => {
            let me = q.rd().qref();
            let s = q.shared();
            let mut groups = s.multicast.of(me);
            let net = Net {
                stack: s,
                groups: &mut groups,
            };
            let answer = tpi_options::manage(&mut NoOptions, Some(net), prim, &opts, flags);
            multicast::commit(q, groups);
            answer
        }
        _ => tpi::error_ack(prim, Tli::NOTSUPPORT, None),
    };
    q.freemsg(mp);
    q.qreply(answer);
}

fn bind(q: &mut Queue<'_, Ip>, prim: u32, addr: &[u8], conind: u32, trailer: Option<u8>) -> Msg {
    let Some(protocol) = trailer else {
        return tpi::error_ack(prim, Tli::BADADDR, None);
    };
    let me = q.rd().qref();
    let (local, remote, subscribe) = match addr.len() {
        0 => (0, 0, true),
        4 => (be32(addr, 0), 0, false),
        16 => match tpi::sockaddr(addr) {
            Some((_, a)) => (a, 0, true),
            None => return tpi::error_ack(prim, Tli::BADADDR, None),
        },
        12 => (be32(addr, 0), be32(addr, 4), true),
        _ => return tpi::error_ack(prim, Tli::BADADDR, None),
    };
    let s = q.shared();
    if local != 0 && !s.is_local(local) {
        return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EADDRNOTAVAIL));
    }
    if addr.len() == 12 && s.route(remote).is_none() {
        return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::ENETUNREACH));
    }
    if subscribe {
        s.subscribers.retain(|s| s.q != me);
        s.subscribers.push(Subscriber {
            proto: protocol,
            q: me,
            local,
            remote,
            tpi: false,
            errind: false,
        });
    }
    tpi::bind_ack(addr, conind)
}
