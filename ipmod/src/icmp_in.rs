//! ICMP has arrived: echo is answered, errors go to the protocol that they are about.
//!
//! ```text
//!   echo, timestamp, address mask ──► turned round in place ──► output.rs
//!   error ─► path MTU ──► M_CTL [IP][ICMP][offending IP ..] ──► its protocol's subscribers
//!   redirect ─► redirect.rs
//!   all ───► subscribers of protocol 1, as data
//! ```
//!
//! Spec: RFC 792, RFC 1122 3.2.2, RFC 1191, the reference's ip-tpi 2.2.
//! Differs: a subscriber of protocol 1 gets an error once, as data, and not as M_CTL too.

use streams::prelude::*;

use crate::ire::IreKind;
use crate::module::OnStack;
use crate::stack::Subscriber;
use crate::wire::{self, HEADER, Header, be16, be32, is_multicast, proto};
use crate::{deliver, icmp, options, output, raw, redirect};

/// An ICMP datagram for us.
pub fn icmp_input<M: OnStack>(
    q: &mut Queue<'_, M>,
    ill: u32,
    h: &Header,
    mut mp: Msg,
    group: bool,
) {
    let s = q.shared();
    s.mib.in_delivers += 1; // RFC 1213: to protocols, ICMP included
    s.mib.icmp_in_msgs += 1;
    if mp.cont().is_some() && !mp.pullupmsg(None) {
        return q.discard(mp, "ICMP cut short");
    }
    let body = mp.rd().get(h.ihl..).unwrap_or(&[]);
    if body.len() < 8 || wire::sum(body) != 0xffff {
        q.shared().mib.icmp_in_errors += 1;
        return q.discard(mp, "ICMP checksum or length");
    }
    let ty = body[0];
    // Raw users of ICMP (ping, traceroute) see all of it; as Solaris, before IP acts on it.
    deliver::copies(q, ill, h, &mut mp);
    match ty {
        8 | 13 | 17 => query(q, ill, h, mp, group),
        3 | 4 | 11 | 12 => error_for_protocol(q, h, mp),
        5 => {
            redirect::hear(q, ill, h, mp.rd().get(h.ihl..).unwrap_or(&[]));
            q.freemsg(mp);
        }
        _ => q.freemsg(mp), // read, and of no further use to IP
    }
}

/// Answers an echo, timestamp or address mask request; one to a broadcast, from the
/// interface's own address.
fn query<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mut mp: Msg, group: bool) {
    let now = q.now();
    let ty = mp.rd().get(h.ihl).copied().unwrap_or(0);
    let s = q.shared();
    let p = s.params;
    let (needs, allowed) = match ty {
        13 => (
            20,
            if group {
                p.timestamp_broadcast
            } else {
                p.timestamp
            },
        ),
        // RFC 1122 3.2.2.9: routers answer, hosts don't.
        17 => (12, p.forwarding && (!group || p.mask_broadcast)),
        _ if is_multicast(h.dst) => (8, p.echo_multicast),
        _ => (8, !group || p.echo_broadcast),
    };
    if !allowed {
        return q.discard(mp, "a query that is not answered");
    }
    if mp.len() < h.ihl + needs {
        s.mib.icmp_in_errors += 1;
        return q.discard(mp, "ICMP checksum or length");
    }
    let i = s.ill(ill);
    let from = if group {
        i.map_or(0, |i| i.source_to(h.src))
    } else {
        h.dst
    };
    let mask = i
        .and_then(|i| i.with_addr(from).or_else(|| i.near(h.src)))
        .map_or(0, |p| p.mask);
    let ours = |a: u32| {
        let id = s.ires.lookup(a);
        id.is_some_and(|id| s.ires.get(id).kind == IreKind::Local)
    };
    let b = mp.rd_mut();
    icmp::reply(b, h.ihl, from, p.def_ttl);
    match ty {
        13 => {
            icmp::put_word(b, h.ihl, 12, options::stamp(now));
            icmp::put_word(b, h.ihl, 16, options::stamp(now));
        }
        17 => icmp::put_word(b, h.ihl, 8, mask),
        _ => {}
    }
    if h.ihl > HEADER {
        // RFC 1122 3.2.2.6: recorded on the way back too, and a source route turned round.
        if options::record(b, h.ihl, from, now, ours).is_err() {
            return q.discard(mp, "malformed option");
        }
        options::reverse(b, h.ihl);
    }
    s.mib.icmp_out_msgs += 1;
    output::ip_output(q, mp);
}

/// An error about a datagram of ours: the path MTU first, then its protocol.
fn error_for_protocol<M: OnStack>(q: &mut Queue<'_, M>, h: &Header, mut mp: Msg) {
    let now = q.now();
    let body = mp.rd().get(h.ihl..).unwrap_or(&[]);
    let (ty, code, hint) = (body[0], body[1], u32::from(be16(body, 6)));
    let inner = body.get(8..).unwrap_or(&[]);
    if inner.len() < HEADER + 8 {
        q.shared().mib.icmp_in_errors += 1;
        return q.discard(mp, "ICMP error without the datagram it is about");
    }
    let (inner_proto, src, dst) = (inner[9], be32(inner, 12), be32(inner, 16));
    let offending = u32::from(be16(inner, 2));
    let s = q.shared();
    if ty == 3 && code == 4 {
        // 2.2: only about what we have sent.
        if s.is_local(src) {
            s.path_mtu.learn(dst, hint, offending, now);
        }
    }
    // 2.2: to the streams of the offending datagram's protocol, the addresses reversed.
    let to: Vec<Subscriber> = s
        .subscribers
        .iter()
        .filter(|u| u.proto == inner_proto && u.proto != proto::ICMP)
        .filter(|u| (u.local == 0 || u.local == src) && (u.remote == 0 || u.remote == dst))
        .copied()
        .collect();
    if inner_proto == proto::UDP {
        crate::udp::icmp_error(q, inner, ty, code);
    }
    if inner_proto == proto::TCP {
        crate::tcp_news::icmp_error(q, inner, ty, code);
    }
    for u in &to {
        if u.tpi {
            if u.errind {
                raw::icmp_error(q, u.q, dst, errno(ty, code));
            }
            continue;
        }
        let mut copy = mp.dupmsg();
        copy.set_ty(MsgType::Ctl);
        match q.at(u.q) {
            Some(mut up) => up.putnext(copy),
            None => q.discard(copy, "the receiver is gone"),
        }
    }
    q.freemsg(mp);
}

/// What an ICMP error is to a user (RFC 1122 4.1.3.3, 4.2.3.9).
pub(crate) fn errno(ty: u8, code: u8) -> Errno {
    match (ty, code) {
        (3, 3 | 2) => Errno::ECONNREFUSED,
        (3, 4) => Errno::EMSGSIZE,
        (3, 0 | 6 | 11) => Errno::ENETUNREACH,
        _ => Errno::EHOSTUNREACH,
    }
}
