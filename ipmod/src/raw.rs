//! icmp: the driver /dev/icmp and /dev/rawip, datagrams of one protocol, header and all.
//!
//! ```text
//!   T_BIND_REQ ─► subscriber of the protocol (ICMP, or SO_PROTOTYPE)
//!   T_UNITDATA_REQ + payload ─► IP header ─► output.rs    (IP_HDRINCL: + whole datagram)
//!   T_CONN_REQ ─► peer, then M_DATA goes to it
//!   deliver.rs ─► T_UNITDATA_IND + [IP header | payload]
//! ```
//!
//! Spec: icmp(7P), rawip(7P), tihdr(7P), the reference's ip-tpi 2.1, 4.
//! Kept: what comes has its IP header, the length in it in host order and without the
//! header, as BSD gives it (icmp_bsd_compat); SRC is a sockaddr_in with port 0; who has no
//! privilege has ICMP alone; T_DATA_REQ, T_EXDATA_REQ and T_ORDREL_REQ are M_ERROR EPROTO.
//! Differs: IP options are not put into what is sent.

use streams::prelude::*;

use crate::module::OnStack;
use crate::raw_options::Options;
use crate::stack::{Stack, Subscriber};
use crate::tpi::{self, Bad, Tli, Tpi, state};
use crate::tpi_options::{self, Net};
use crate::wire::{self, HEADER, be16, be32, is_multicast};
use crate::{deliver, ioctl, multicast, output};

/// A /dev/icmp or /dev/rawip stream.
pub struct RawIp {
    state: u32,
    addr: u32,
    peer: u32,
    options: Options,
}

/// What waits for a program to read it, bytes (`icmp_recv_hiwat`).
const RECV_HIWAT: usize = 8192;

impl Module for RawIp {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5704, "icmp").marks(8192, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        tpi::head_room(q, RECV_HIWAT);
        Ok(RawIp {
            state: state::UNBND,
            addr: 0,
            peer: 0,
            options: Options::new(how.cred.privileged),
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let me = q.rd().qref();
        q.shared().subscribers.retain(|s| s.q != me);
        multicast::leave_all(q);
        Wait::Done
    }
}

/// What IP needs to know of this stream has changed.
fn publish(q: &mut Queue<'_, RawIp>) {
    let me = q.rd().qref();
    let (r, s) = q.both();
    s.subscribers.retain(|s| s.q != me);
    if r.state != state::UNBND {
        s.subscribers.push(Subscriber {
            proto: r.options.proto,
            q: me,
            local: r.addr,
            remote: r.peer,
            tpi: true,
            errind: r.options.errind,
        });
    }
}

fn wput(q: &mut Queue<'_, RawIp>, mp: Msg) {
    match mp.ty() {
        MsgType::Data if q.ptr().options.hdrincl => output::ip_output(q, mp),
        MsgType::Data => match q.ptr().peer {
            0 => q.discard(mp, "data for nobody: not connected"),
            to => datagram(q, to, mp),
        },
        MsgType::Proto | MsgType::PcProto => request(q, mp),
        MsgType::Ioctl | MsgType::IocData => ioctl::client_ioctl(q, mp),
        MsgType::Flush => q.flush_driver(mp),
        _ => q.discard(mp, "not for icmp"),
    }
}

fn request(q: &mut Queue<'_, RawIp>, mut mp: Msg) {
    let answer = match Tpi::parse(mp.rd()) {
        Ok(Tpi::UnitdataReq { dest }) => {
            let data = mp.take_cont();
            q.freemsg(mp);
            return send(q, &dest, data);
        }
        Err(Bad::Malformed(tpi::T_UNITDATA_REQ)) => tpi::uderror_ind(&[], Errno::EINVAL),
        Ok(t) => ask(q, t),
        Err(Bad::Malformed(p)) => tpi::error_ack(p, Tli::SYSERR, Some(Errno::EINVAL)),
        // T_DATA_REQ, T_EXDATA_REQ, T_ORDREL_REQ have no answer.
        Err(Bad::Unsupported(3 | 4 | 10)) => {
            q.discard(mp, "not for a connectionless provider");
            let eproto = Errno::EPROTO.number() as u8;
            q.rd().putnextctl1(MsgType::Error, eproto);
            return;
        }
        Err(Bad::Unsupported(p) | Bad::Unknown(p)) => tpi::error_ack(p, Tli::NOTSUPPORT, None),
    };
    q.freemsg(mp);
    let connected = tpi::words(answer.rd())[..2] == [tpi::T_OK_ACK, tpi::T_CONN_REQ];
    q.qreply(answer);
    if connected {
        let con = tpi::conn_con(&tpi::sockaddr_bytes(0, q.ptr().peer));
        q.qreply(con);
    }
}

fn ask(q: &mut Queue<'_, RawIp>, t: Tpi) -> Msg {
    let me = q.rd().qref();
    let r = q.ptr();
    let now = r.state;
    let refuse = |prim, tli| tpi::error_ack(prim, tli, None);
    match t {
        Tpi::InfoReq => tpi::info_ack(65535, now),
        Tpi::CapabilityReq(bits) => tpi::capability_ack(bits, &tpi::info_ack(65535, now)),
        Tpi::AddrReq => {
            let (own, peer) = [r.addr, r.peer].map(|a| tpi::sockaddr_bytes(0, a)).into();
            let own = if now == state::UNBND { &[][..] } else { &own };
            tpi::addr_ack(own, if r.peer == 0 { &[] } else { &peer })
        }
        Tpi::OptmgmtReq { prim, opts, flags } => {
            let (r, s) = q.both();
            let mut groups = s.multicast.of(me);
            let net = Net {
                stack: s,
                groups: &mut groups,
            };
            let answer = tpi_options::manage(&mut r.options, Some(net), prim, &opts, flags);
            multicast::commit(q, groups);
            publish(q);
            answer
        }
        Tpi::Bind { prim, .. } if now != state::UNBND => refuse(prim, Tli::OUTSTATE),
        Tpi::Bind { prim, addr, .. } => {
            let local = match tpi::sockaddr(&addr) {
                Some((_, a)) => a,
                None if addr.is_empty() => 0,
                None => return refuse(prim, Tli::BADADDR),
            };
            if local != 0 && !is_multicast(local) && !q.shared().is_local(local) {
                return tpi::error_ack(prim, Tli::SYSERR, Some(Errno::EADDRNOTAVAIL));
            }
            let r = q.ptr();
            (r.state, r.addr) = (state::IDLE, local);
            publish(q);
            tpi::bind_ack(&tpi::sockaddr_bytes(0, local), 0)
        }
        Tpi::UnbindReq if now != state::IDLE => refuse(tpi::T_UNBIND_REQ, Tli::OUTSTATE),
        Tpi::UnbindReq => {
            (r.state, r.addr) = (state::UNBND, 0);
            publish(q);
            tpi::ok_ack(tpi::T_UNBIND_REQ)
        }
        Tpi::ConnReq { .. } if now != state::IDLE => refuse(tpi::T_CONN_REQ, Tli::OUTSTATE),
        Tpi::ConnReq { dest } => {
            let Some((_, peer)) = tpi::sockaddr(&dest).filter(|(_, a)| *a != 0) else {
                return refuse(tpi::T_CONN_REQ, Tli::BADADDR);
            };
            (r.state, r.peer) = (state::DATA_XFER, peer);
            publish(q);
            tpi::ok_ack(tpi::T_CONN_REQ)
        }
        Tpi::DisconReq if now != state::DATA_XFER => refuse(tpi::T_DISCON_REQ, Tli::OUTSTATE),
        Tpi::DisconReq => {
            (r.state, r.peer) = (state::IDLE, 0);
            publish(q);
            tpi::ok_ack(tpi::T_DISCON_REQ)
        }
        Tpi::UnitdataReq { .. } => refuse(tpi::T_UNITDATA_REQ, Tli::NOTSUPPORT),
    }
}

/// T_UNITDATA_REQ: where to, and the payload.
fn send(q: &mut Queue<'_, RawIp>, dest: &[u8], data: Option<Msg>) {
    let (now, hdrincl) = (q.ptr().state, q.ptr().options.hdrincl);
    let wrong = match (now, tpi::sockaddr(dest)) {
        (state::UNBND, _) => Errno::EPROTO,
        (state::DATA_XFER, _) => Errno::EISCONN,
        (_, None) => Errno::EINVAL,
        (_, Some((_, to))) => {
            let data = data.unwrap_or_else(|| q.alloc(64, 0));
            return match hdrincl {
                true => output::ip_output(q, data),
                false => datagram(q, to, data),
            };
        }
    };
    if let Some(d) = data {
        q.discard(d, "a datagram that cannot be sent");
    }
    q.qreply(tpi::uderror_ind(dest, wrong));
}

/// An IP header, then IP's output.
fn datagram(q: &mut Queue<'_, RawIp>, to: u32, mut data: Msg) {
    let (from, o) = (q.ptr().addr, q.ptr().options);
    let len = data.msgsize() + HEADER;
    if len > 65535 {
        q.discard(data, "longer than a datagram");
        let dest = tpi::sockaddr_bytes(0, to);
        return q.qreply(tpi::uderror_ind(&dest, Errno::EMSGSIZE));
    }
    let ttl = if is_multicast(to) {
        let me = q.rd().qref();
        q.shared().multicast.of(me).ttl()
    } else {
        o.ttl
    };
    let from = if is_multicast(from) { 0 } else { from };
    let head = wire::header(len, o.proto, ttl, o.tos, 0, from, to);
    data.prepend(HEADER, 64).copy_from_slice(&head);
    output::ip_output(q, data);
}

/// A datagram as the user of such a stream gets it.
pub(crate) fn indication(mp: Msg) -> Msg {
    let mut own = if mp.is_shared() { mp.copymsg() } else { mp };
    let b = own.rd_mut();
    let ihl = u16::from(b[0] & 0xf) * 4;
    let len = be16(b, 2).wrapping_sub(ihl);
    b[2..4].copy_from_slice(&len.to_ne_bytes());
    let mut ind = tpi::unitdata_ind(&tpi::sockaddr_bytes(0, be32(b, 12)));
    ind.set_tag(own.tag());
    ind.set_cont(Some(own));
    ind
}

/// An ICMP error about a datagram of such a stream: told to who asked.
pub(crate) fn icmp_error<M: OnStack>(q: &mut Queue<'_, M>, to: QRef, dst: u32, e: Errno) {
    let ind = tpi::uderror_ind(&tpi::sockaddr_bytes(0, dst), e);
    deliver::give(q, to, ind);
}
