//! ARP: who on this link has that address? And the arp module that asks on the wire.
//!
//! ```text
//!   output.rs ─► no header for the neighbour ─► wait here ─► request ─► arp stream ─► link
//!   link ─► arp stream ─► reply ─► header (fast path) ─► what waited goes out
//! ```
//!
//! Spec: RFC 826, RFC 1122 2.3.2, RFC 5227, arp(7P); RFC 2002 4.6 (proxy, gratuitous).
//! Kept: arp is a module on a stream of its own, bound to SAP 0x0806.
//! Differs: the table is the stack's, not the module's: ip and arp share it instead of
//! asking one another with M_CTL.

use std::time::Duration;

use dlpi::prim::{DL_UNITDATA_IND, Prim, SAP_ARP, SAP_IP, fast};
use streams::prelude::*;

use crate::ill::iff;
use crate::ioctl;
use crate::module::{OnStack, fast_path_probe};
use crate::multicast::link_address;
use crate::neighbour::{AGAIN, Neighbour};
use crate::output::send_unitdata;
use crate::stack::{NO_ILL, Stack};
use crate::wire::{be16, be32, is_multicast};
use crate::{dad, gateways};

/// The timer that forgets silent neighbours; the others have an address for a tag.
const SWEEP: u64 = 1 << 32;

/// The timers that announce published addresses: how often still, and the address.
const PUBLISH: u64 = 1 << 62;

/// What an ARP packet of Ethernet and IP starts with.
const ETHER_IP: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Keeps a datagram until the neighbour's link address is known, and asks for it.
#[cold]
pub fn resolve<M: OnStack>(q: &mut Queue<'_, M>, out: u32, next: u32, mp: Msg) {
    let now = q.now();
    let s = q.shared();
    let Some(ill) = s.ill(out) else {
        return q.discard(mp, "the interface is gone");
    };
    let broadcast = next == u32::MAX || next == 0 || ill.up().any(|p| p.broadcast == next);
    let multicast = is_multicast(next);
    let known = if multicast && ill.flags & iff::MULTI_BCAST == 0 {
        Some(link_address(next))
    } else if broadcast || multicast {
        ill.info
            .brdcst_addr
            .get(..6)
            .and_then(|b| b.try_into().ok())
    } else {
        s.neighbours.get((out, next)).and_then(|n| n.mac())
    };
    if let Some(mac) = known {
        // Known, but without a fast path header: ask for one once, and go the long way.
        let ill = s.ill(out).map(|i| (i.dlsap(&mac, SAP_IP as u16), i.wq));
        let (_, probe) = s.neighbours.learn((out, next), mac, now);
        let Some((dlsap, Some(wq))) = ill else {
            return q.discard(mp, "the interface is gone");
        };
        if probe {
            q.putnext_of(wq, fast_path_probe(&dlsap));
        }
        return send_unitdata(q, out, &dlsap, mp);
    }
    if !ill.resolves() {
        // IFF_NOARP: nobody is asked; whom SIOCSARP has told is known above.
        s.mib.out_discards += 1;
        return q.discard(mp, "no ARP on this interface");
    }
    let waits = s.neighbours.wait((out, next), mp, now);
    if let Some((mp, why)) = waits.dropped {
        q.shared().mib.out_discards += 1;
        q.discard(mp, why);
    }
    if waits.ask {
        request(q, out, next);
    }
}

/// Broadcasts an ARP request, and has it repeated until it is answered.
fn request<M: OnStack>(q: &mut Queue<'_, M>, out: u32, next: u32) {
    let link = q.shared().ill(out);
    let Some((arp, from)) = link.and_then(|i| Some((i.arp?, i.source_to(next)))) else {
        return give_up(q, out, next);
    };
    send_request(q, out, from, next);
    // The arp module's instance repeats it.
    if let Some(mut a) = q.at(arp) {
        a.qtimeout(AGAIN, u64::from(next));
    }
}

/// Broadcasts a request for `target` from an address of ours: an announcement if they are
/// the same, a probe from 0.
pub(crate) fn send_request<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, from: u32, target: u32) {
    let mac = q.shared().ill(ill).and_then(|i| mac_of(&i.mac));
    if let Some(sha) = mac {
        let f = Packet {
            op: REQUEST,
            sha,
            spa: from,
            tha: [0; 6],
            tpa: target,
        };
        send_arp(q, ill, None, &f);
    }
}

/// Sends an ARP packet, to one neighbour or to all.
fn send_arp<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, to: Option<[u8; 6]>, f: &Packet) {
    let link = q.shared().ill(ill).filter(|i| i.resolves());
    let Some(i) = link else {
        return; // IFF_NOARP: nothing is said, and no announcement that was to be repeated
    };
    let dest = to.as_ref().map_or(&i.info.brdcst_addr[..], |t| &t[..]);
    let (Some(arp), dlsap) = (i.arp, i.dlsap(dest, SAP_ARP as u16)) else {
        return;
    };
    let mut mp = q.alloc(0, fast::UNITDATA_REQ_SIZE + dlsap.len());
    fast::put_unitdata_req(&mut mp, &dlsap);
    mp.set_cont(Some(Msg::data(&f.emit())));
    q.putnext_of(arp, mp);
}

fn mac_of(b: &[u8]) -> Option<[u8; 6]> {
    b.get(..6)?.try_into().ok()
}

/// An ARP packet of Ethernet and IP (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    op: u16,
    /// Who speaks: link address and address; 0 in a probe.
    sha: [u8; 6],
    pub(crate) spa: u32,
    /// Who is meant.
    tha: [u8; 6],
    pub(crate) tpa: u32,
}

impl Packet {
    /// Reads one; `None`: another link or protocol, or cut short.
    fn parse(b: &[u8]) -> Option<Packet> {
        let b = b.first_chunk::<28>().filter(|b| b[..6] == ETHER_IP)?;
        Some(Packet {
            op: be16(b, 6),
            sha: mac_of(&b[8..])?,
            spa: be32(b, 14),
            tha: mac_of(&b[18..])?,
            tpa: be32(b, 24),
        })
    }

    fn emit(&self) -> [u8; 28] {
        let mut b = [0; 28];
        b[..6].copy_from_slice(&ETHER_IP);
        b[6..8].copy_from_slice(&self.op.to_be_bytes());
        b[8..14].copy_from_slice(&self.sha);
        b[14..18].copy_from_slice(&self.spa.to_be_bytes());
        b[18..24].copy_from_slice(&self.tha);
        b[24..28].copy_from_slice(&self.tpa.to_be_bytes());
        b
    }

    /// A request?
    pub(crate) fn is_request(&self) -> bool {
        self.op == REQUEST
    }

    /// Who speaks, as Solaris's messages print it: `08:00:20:01:02:03`.
    pub(crate) fn sender(&self) -> String {
        self.sha.map(|b| format!("{b:02x}")).join(":")
    }
}

/// Nobody answered: what waited is lost.
fn give_up<M: OnStack>(q: &mut Queue<'_, M>, out: u32, next: u32) {
    let Some(gone) = q.shared().neighbours.remove((out, next)) else {
        return;
    };
    for mp in gateways::no_answer(q, out, next, gone.waiting) {
        crate::icmp_out::error(q, out, &mp, 3, 1, 0);
        q.discard(mp, "no answer to ARP");
    }
}

/// Tells the link that a published address is here: at the link address of its entry, and
/// a few times more. A home agent does it for a mobile node (RFC 2002 4.6).
pub(crate) fn announce_for<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, addr: u32) {
    let count = q.shared().params.dad.publish_count;
    publish(q, ill, addr, count);
}

/// One announcement of a published address, and how many are left.
fn publish<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, addr: u32, count: u32) {
    let s = q.shared();
    let every = s.params.dad.publish_interval;
    let entry = s.neighbours.get((ill, addr)).filter(|n| n.published);
    let (Some(sha), true) = (entry.and_then(Neighbour::mac), count > 0) else {
        return; // withdrawn meanwhile
    };
    let f = Packet {
        op: REQUEST,
        sha,
        spa: addr,
        tha: [0; 6],
        tpa: addr,
    };
    send_arp(q, ill, None, &f);
    let arp = q.shared().ill(ill).and_then(|i| i.arp);
    if count > 1
        && let Some(mut a) = arp.and_then(|a| q.at(a))
    {
        a.qtimeout(
            every,
            PUBLISH | u64::from(count - 1) << 32 | u64::from(addr),
        );
    }
}

/// The arp module: an ARP conversation with one link.
pub struct Arp {
    ill: u32,
    step: Step,
    pending: Option<Msg>,
    sweeping: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Unnamed,
    Attach,
    Bind,
    Bound,
    Unbind,
    Detach,
    Gone,
}

impl Module for Arp {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5702, "arp").marks(65536, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(rput);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Arp {
            ill: NO_ILL,
            step: Step::Unnamed,
            pending: None,
            sweeping: false,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let (step, ill) = match q.try_ptr() {
            Some(a) => (a.step, a.ill),
            None => return Wait::Done,
        };
        if let Some(i) = q.shared().ill_mut(ill) {
            i.arp = None;
        }
        // Nobody is left who would ask again.
        let unresolved = |n: &Neighbour| n.mac().is_none();
        for mp in q.shared().neighbours.remove_where(ill, unresolved) {
            q.discard(mp, "no answer to ARP");
        }
        match step {
            Step::Bound => {
                q.ptr().step = Step::Unbind;
                q.wr().putnext(Prim::UnbindReq.emit());
                Arp::close(
                    q,
                    &Close {
                        flag: 0,
                        cred: Cred::ROOT,
                    },
                )
            }
            Step::Unbind | Step::Detach | Step::Attach | Step::Bind => Wait::Again,
            Step::Unnamed | Step::Gone => Wait::Done,
        }
    }

    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        let ill = q.ptr().ill;
        let now = q.now();
        let s = q.shared();
        if tag == SWEEP {
            let before = now.saturating_sub(s.params.arp_interval);
            s.neighbours.sweep(ill, before);
            let more = s.neighbours.sweepable(ill);
            q.ptr().sweeping = false;
            if more {
                sweep_later(q);
            }
            return;
        }
        if tag & dad::CLAIM != 0 {
            return dad::timeout(q, ill, tag);
        }
        if tag & gateways::GATEWAY != 0 {
            return gateways::timeout(q, ill, tag as u32);
        }
        if tag & PUBLISH != 0 {
            return publish(q, ill, tag as u32, (tag >> 32) as u32 & 0xff);
        }
        // Once a second: questions without an answer are asked again, or given up.
        let next = tag as u32;
        match s.neighbours.again((ill, next), now) {
            Some(true) => request(q, ill, next),
            Some(false) => give_up(q, ill, next),
            None => {}
        }
    }
}

/// Has the silent neighbours forgotten, by and by.
fn sweep_later(q: &mut Queue<'_, Arp>) {
    if !std::mem::replace(&mut q.ptr().sweeping, true) {
        let every = q.shared().params.timer_interval;
        q.qtimeout(every, SWEEP);
    }
}

fn wput(q: &mut Queue<'_, Arp>, mut mp: Msg) {
    if mp.ty() != MsgType::Ioctl {
        return q.putnext(mp);
    }
    match mp.ioc().map_or(0, |i| i.cmd) {
        // The name of the interface whose addresses it resolves.
        ioctl::SIOCSLIFNAME => {
            let name = ioctl::name_of(&mp.cont().map(Msg::to_vec).unwrap_or_default());
            let Some(at) = q.shared().ill_named(&name) else {
                return q.iocnak(mp, Errno::ENXIO);
            };
            let Some((ppa, style)) = q.shared().ill(at).map(|i| (i.ppa, i.info.provider_style))
            else {
                return q.iocnak(mp, Errno::ENXIO);
            };
            mp.take_cont();
            let a = q.ptr();
            if a.step != Step::Unnamed {
                return q.iocnak(mp, Errno::EALREADY);
            }
            a.ill = at;
            a.pending = Some(mp);
            if style == dlpi::prim::DL_STYLE2 {
                a.step = Step::Attach;
                q.putnext(Prim::AttachReq { ppa }.emit());
            } else {
                a.step = Step::Bind;
                q.putnext(Prim::bind(SAP_ARP).emit());
            }
        }
        _ => q.putnext(mp),
    }
}

fn rput(q: &mut Queue<'_, Arp>, mut mp: Msg) {
    match mp.ty() {
        MsgType::Proto | MsgType::PcProto => {}
        MsgType::Data => return arp_input(q, mp),
        MsgType::Flush => return q.flush_module(mp),
        _ => return q.putnext(mp),
    }
    if mp.rd().first_chunk::<4>().map(|w| u32::from_ne_bytes(*w)) == Some(DL_UNITDATA_IND) {
        if let Some(data) = mp.take_cont() {
            arp_input(q, data);
        }
        return q.freemsg(mp);
    }
    let Ok(p) = Prim::parse(&mp) else {
        return q.discard(mp, "an unknown primitive");
    };
    q.freemsg(mp);
    let a = q.ptr();
    match (a.step, &p) {
        (Step::Attach, Prim::OkAck { .. }) => {
            a.step = Step::Bind;
            q.wr().putnext(Prim::bind(SAP_ARP).emit());
        }
        (Step::Bind, Prim::BindAck { .. }) => {
            a.step = Step::Bound;
            let (ill, pending) = (a.ill, a.pending.take());
            let wq = q.wr().qref();
            if let Some(i) = q.shared().ill_mut(ill) {
                i.arp = Some(wq);
            }
            if let Some(mp) = pending {
                q.wr().iocack(mp, 0);
            }
        }
        (Step::Unbind, _) => {
            a.step = Step::Detach;
            q.wr().putnext(Prim::DetachReq.emit());
        }
        (Step::Detach, _) => a.step = Step::Gone,
        (_, Prim::ErrorAck { unix_errno, .. }) => {
            let e = if *unix_errno == 0 {
                Errno::ENXIO
            } else {
                Errno::from_number(*unix_errno as i32)
            };
            a.step = Step::Unnamed;
            if let Some(mp) = a.pending.take() {
                q.wr().iocnak(mp, e);
            }
        }
        _ => {}
    }
}

/// An ARP packet (RFC 826): learn, and answer if it asks for us.
fn arp_input(q: &mut Queue<'_, Arp>, mut mp: Msg) {
    let now = q.now();
    let at = q.ptr().ill;
    if mp.len() < 28 && !mp.pullupmsg(Some(28)) {
        return q.discard(mp, "ARP cut short");
    }
    let Some(f) = Packet::parse(mp.rd()) else {
        return q.discard(mp, "ARP for another link or protocol");
    };
    q.freemsg(mp);
    let Some(i) = q.shared().ill(at) else { return };
    if mac_of(&i.mac) == Some(f.sha) {
        return; // our own
    }
    if !i.resolves() {
        return; // IFF_NOARP: neither heard nor answered
    }
    if dad::hear(q, at, &f) {
        return;
    }
    let s = q.shared();
    s.ires.set_dead(f.spa, false); // it is there
    let Some(i) = s.ill(at) else { return };
    let ours = i.with_addr(f.tpa).and_then(|_| mac_of(&i.mac));
    // Whom we answer for, we answer for with the link address of the entry (arp(7P)).
    let entry = s.neighbours.get((at, f.tpa)).filter(|n| n.published);
    let answer = ours.or(entry.filter(|_| i.is_up()).and_then(Neighbour::mac));
    let asks_us = answer.filter(|_| f.is_request());
    // RFC 826: update who is known; who asks for us becomes known.
    let sender = s.neighbours.get((at, f.spa));
    let (known, spoken_for) = (sender.is_some(), sender.is_some_and(|n| n.published));
    if spoken_for && f.op == REPLY {
        dad::proxy_problem(q, at, &f);
    }
    if f.spa != 0 && !spoken_for && (known || asks_us.is_some()) {
        learn(q, at, f.spa, f.sha, now);
    }
    if let Some(sha) = asks_us {
        let reply = Packet {
            op: REPLY,
            sha,
            spa: f.tpa,
            tha: f.sha,
            tpa: f.spa,
        };
        send_arp(q, at, Some(f.sha), &reply);
    }
}

/// A neighbour's link address: kept, and what waited for it goes out.
fn learn(q: &mut Queue<'_, Arp>, at: u32, addr: u32, mac: [u8; 6], now: Duration) {
    let s = q.shared();
    let (waiting, probe) = s.neighbours.learn((at, addr), mac, now);
    let link = s.ill(at).map(|i| (i.dlsap(&mac, SAP_IP as u16), i.wq));
    if let (true, Some((dlsap, Some(wq)))) = (probe, link) {
        q.putnext_of(wq, fast_path_probe(&dlsap));
    }
    for mp in waiting {
        crate::output::send(q, at, addr, mp);
    }
    sweep_later(q);
}

/// `0:20:e:1:2:3`, as arp(1M) prints it.
pub fn mac_text(mac: &[u8]) -> String {
    mac.iter()
        .map(|b| format!("{b:x}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// SIOCSARP, SIOCDARP from the outside: sets or removes an entry.
pub(crate) fn set_entry<M: OnStack>(
    q: &mut Queue<'_, M>,
    at: u32,
    addr: u32,
    entry: Option<([u8; 6], bool, bool)>,
) -> Result<(), Errno> {
    let now = q.now();
    match entry {
        None => {
            let gone = q
                .shared()
                .neighbours
                .remove((at, addr))
                .ok_or(Errno::ENXIO)?;
            for mp in gone.waiting {
                q.discard(mp, "its neighbour was deleted");
            }
        }
        Some((mac, permanent, published)) => {
            q.shared().ires.set_dead(addr, false);
            let n = Neighbour::by_hand(mac, permanent, published, now);
            for mp in q.shared().neighbours.put((at, addr), n) {
                crate::output::send(q, at, addr, mp);
            }
        }
    }
    Ok(())
}
