//! Figure 2(a): vtunl over /dev/ip, to which it is a transport protocol.
//!
//! ```text
//!   SETCONF_TRANSPORT ─► T_BIND_REQ | protocol byte ─► IP     datagrams of that protocol
//!         M_IOCACK ◄─── T_BIND_ACK ◄────────────────── IP     come up, and ICMP about them
//! ```
//!
//! Spec: the paper, section 2 ("registers with /dev/ip"); TPI (tihdr.h); Solaris's ip_bind:
//! address length 0 and one byte behind the address subscribe to a protocol.
//! Kept: one subscriber for each encapsulating protocol, EBUSY for a second.
//! Differs: answers to nothing that was asked are freed, as Solaris's tun does.

use ipmod::tpi::{O_T_BIND_REQ, T_BIND_ACK, T_ERROR_ACK, T_OK_ACK, T_UNBIND_REQ, Tli};
use streams::prelude::*;

use crate::header::{IPPROTO_ENCAP, IPPROTO_GRE, IPPROTO_IPV6, IPPROTO_MINIMAL};
use crate::ioctl::Req;
use crate::personality::{Asked, Role, Vtunl, addr, finish};
use crate::provider;
use crate::soft_state;

/// State: not bound.
pub const TS_UNBND: u32 = 0;
/// State: waiting for the answer to a bind.
pub const TS_WACK_BREQ: u32 = 1;
/// State: waiting for the answer to an unbind.
pub const TS_WACK_UREQ: u32 = 2;
/// State: bound.
pub const TS_IDLE: u32 = 3;

/// Words of a TPI primitive, then further bytes.
fn tpi(words: &[u32], rest: &[u8]) -> Msg {
    let mut b: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    b.extend_from_slice(rest);
    Msg::of(MsgType::Proto, &b)
}

/// VTUNL_SETCONF_TRANSPORT: asks IP for the protocol's datagrams.
///
/// Errors: EINVAL over anything but /dev/ip, and for a protocol that encapsulates nothing;
/// EADDRNOTAVAIL for an address that no host has; EBUSY if another instance has the
/// protocol, or this one another protocol.
pub(crate) fn configure(q: &mut Queue<'_, Vtunl>, req: &Req) -> Result<Wait, Errno> {
    let protocol = req.ip_protocol;
    let known = [IPPROTO_ENCAP, IPPROTO_IPV6, IPPROTO_GRE, IPPROTO_MINIMAL].contains(&protocol);
    let over_ip = q.has_next() && q.driver_name() == "ip";
    if !known || !over_ip || q.ptr().role == Role::DlsUser {
        return Err(Errno::EINVAL);
    }
    let a = req.address;
    if a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 0xe {
        return Err(Errno::EADDRNOTAVAIL);
    }
    if q.ptr().role == Role::Transport {
        if q.ptr().protocol != protocol {
            return Err(Errno::EBUSY);
        }
        q.ptr().address = a; // subscribed already: a new source is all that is asked
        return Ok(Wait::Done);
    }
    let me = q.rd().qref();
    let t = q.shared();
    if t.subscribers.iter().any(|(p, _)| *p == protocol) {
        return Err(Errno::EBUSY);
    }
    t.subscribers.push((protocol, me));
    let v = q.ptr();
    v.role = Role::Transport;
    v.protocol = protocol;
    v.address = a;
    v.mask = 0;
    v.below = TS_WACK_BREQ;
    v.ask(Asked::TBind, O_T_BIND_REQ);
    // T_BIND_REQ as Solaris 2.5 has it. ip_bind: no address; the protocol follows and is not
    // counted.
    q.wr().putnext(tpi(&[O_T_BIND_REQ, 0, 16, 0], &[protocol]));
    Ok(Wait::Again)
}

/// On the way out: gives the protocol back, and waits for IP to say so.
pub(crate) fn unbind(q: &mut Queue<'_, Vtunl>) -> Wait {
    let v = q.ptr();
    if v.below == TS_IDLE && !v.dead && v.asked == Asked::Nothing {
        v.below = TS_WACK_UREQ;
        v.ask(Asked::TUnbind, T_UNBIND_REQ);
        v.settle();
        q.putnext(tpi(&[T_UNBIND_REQ], &[]));
    }
    let v = q.ptr();
    if v.asked == Asked::TUnbind && !v.dead {
        Wait::Again
    } else {
        Wait::Done
    }
}

/// An M_PROTO or M_PCPROTO from IP.
pub(crate) fn answer(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    let (words, _) = mp.rd().as_chunks::<4>();
    let word = |i: usize| words.get(i).map_or(0, |w| u32::from_ne_bytes(*w));
    let (number, tli, unix) = (word(0), word(2), word(3));
    let v = q.ptr();
    let asked = v.asked;
    if asked != Asked::Nothing && matches!(number, T_BIND_ACK | T_ERROR_ACK | T_OK_ACK) {
        v.last_resp = number;
        v.asked = Asked::Nothing;
        match (asked, number) {
            (Asked::TBind, T_BIND_ACK) => {
                v.below = TS_IDLE;
                if q.ptr().reader.look().debug >= 1 {
                    let (p, a) = (q.ptr().protocol, addr(q.ptr().address));
                    q.strlog(
                        1,
                        format_args!("subscribed to protocol {p}, tunnel source {a}"),
                    );
                }
                finish(q, Ok(()));
            }
            (Asked::TBind, _) => {
                v.below = TS_UNBND;
                v.role = Role::Module;
                (v.protocol, v.address) = (0, 0);
                let me = q.rd().qref();
                q.shared().subscribers.retain(|(_, i)| *i != me);
                finish(q, Err(error(tli, unix)));
            }
            _ => v.below = TS_UNBND,
        }
    }
    q.freemsg(mp);
    q.wake();
}

/// What a T_ERROR_ACK is to the user (Solaris's tun).
fn error(tli: u32, unix: u32) -> Errno {
    match Tli(tli) {
        Tli::SYSERR if unix != 0 => Errno::from_number(unix as i32),
        Tli::BADADDR => Errno::EADDRNOTAVAIL,
        _ => Errno::EINVAL,
    }
}

/// M_CTL: IP's copy of an ICMP message about a datagram of ours.
pub(crate) fn icmp(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    let now = q.now();
    let (v, all) = q.both();
    let view = v.reader.look();
    let (exits, stats) = (&view.exits, &view.stats);
    let told = soft_state::heard(&mp, v.address, exits, stats, &mut all.limiter, now);
    if view.debug >= 2 {
        q.strlog(
            2,
            format_args!("ICMP about a datagram of ours, relayed: {}", told.is_some()),
        );
    }
    q.freemsg(mp);
    if let Some(m) = told {
        provider::send_icmp(q, m);
    }
}
