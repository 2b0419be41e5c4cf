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

use crate::ioctl;
use crate::module::{OnStack, fast_path_probe};
use crate::neighbour::{AGAIN, Neighbour};
use crate::output::send_unitdata;
use crate::stack::{NO_ILL, Stack};
use crate::wire::{be16, be32, is_multicast};

/// The timer that forgets silent neighbours; the others have an address for a tag.
const SWEEP: u64 = 1 << 32;
/// How often (ip_ire_timer_interval).
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
    let known = if is_multicast(next) {
        let [_, b, c, d] = next.to_be_bytes();
        Some([0x01, 0x00, 0x5e, b & 0x7f, c, d]) // RFC 1112 6.4
    } else if broadcast {
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
    let Some((arp, frame, dlsap)) = q.shared().arp_frame(out, REQUEST, next, None) else {
        return give_up(q, out, next);
    };
    send_arp(q, arp, &dlsap, &frame);
    // The arp module's instance repeats it.
    if let Some(mut a) = q.at(arp) {
        a.qtimeout(AGAIN, u64::from(next));
    }
}

fn send_arp<M: OnStack>(q: &mut Queue<'_, M>, arp: QRef, dlsap: &[u8], frame: &[u8]) {
    let mut mp = q.alloc(0, fast::UNITDATA_REQ_SIZE + dlsap.len());
    fast::put_unitdata_req(&mut mp, dlsap);
    mp.set_cont(Some(Msg::data(frame)));
    q.putnext_of(arp, mp);
}

/// Nobody answered: what waited is lost.
fn give_up<M: OnStack>(q: &mut Queue<'_, M>, out: u32, next: u32) {
    let Some(gone) = q.shared().neighbours.remove((out, next)) else {
        return;
    };
    for mp in gone.waiting {
        crate::icmp_out::error(q, out, &mp, 3, 1, 0);
        q.discard(mp, "no answer to ARP");
    }
}

/// Tells the link that our address is here (a gratuitous request).
pub(crate) fn announce<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, id: u16) {
    let Some(i) = q.shared().ill(ill).filter(|i| i.resolves()) else {
        return;
    };
    let up = i.ipif(id).filter(|p| p.is_up() && p.addr != 0);
    if let Some(addr) = up.map(|p| p.addr) {
        announce_for(q, ill, addr);
    }
}

/// The same for any address: a home agent does it for a mobile node (RFC 2002 4.6).
pub fn announce_for<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, addr: u32) {
    let s = q.shared();
    let mac = s.published(ill, addr);
    if let Some((arp, mut frame, dlsap)) = s.arp_frame(ill, REQUEST, addr, None) {
        frame[14..18].copy_from_slice(&addr.to_be_bytes());
        if let Some(mac) = mac {
            frame[8..14].copy_from_slice(&mac);
        }
        send_arp(q, arp, &dlsap, &frame);
    }
}

impl Stack {
    /// The link address that we answer with for somebody else (SIOCSARP, ATF_PUBL).
    fn published(&self, ill: u32, addr: u32) -> Option<[u8; 6]> {
        let n = self.neighbours.get((ill, addr))?;
        n.published.then_some(n.mac()?)
    }

    /// An ARP packet from an interface: the arp queue to send it by, its bytes, the DLSAP.
    fn arp_frame(
        &self,
        ill: u32,
        op: u16,
        target: u32,
        to: Option<[u8; 6]>,
    ) -> Option<(QRef, [u8; 28], Vec<u8>)> {
        let i = self.ill(ill)?;
        let mac = i.mac.get(..6)?;
        let mut f = [0; 28];
        f[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, op as u8]);
        f[8..14].copy_from_slice(mac);
        f[14..18].copy_from_slice(&i.source_to(target).to_be_bytes());
        if let Some(to) = to {
            f[18..24].copy_from_slice(&to);
        }
        f[24..28].copy_from_slice(&target.to_be_bytes());
        let dest = to.as_ref().map_or(&i.info.brdcst_addr[..], |t| &t[..]);
        Some((i.arp?, f, i.dlsap(dest, SAP_ARP as u16)))
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
        q.qtimeout(SWEEP_EVERY, SWEEP);
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
    let f = mp.rd();
    if f[..6] != [0, 1, 8, 0, 6, 4] {
        return q.discard(mp, "ARP for another link or protocol");
    }
    let op = be16(f, 6);
    let mac: [u8; 6] = f[8..14].try_into().unwrap_or_default();
    let (sender, target) = (be32(f, 14), be32(f, 24));
    q.freemsg(mp);
    let s = q.shared();
    let Some(i) = s.ill(at) else { return };
    if i.mac.get(..6) == Some(&mac[..]) {
        return; // our own
    }
    if i.with_addr(sender).is_some() {
        let text =
            format_args!("{}: {} has our address", i.name.clone(), mac_text(&mac)).to_string();
        return q.strlog(1, format_args!("{text}"));
    }
    if !i.resolves() {
        return; // IFF_NOARP: neither heard nor answered
    }
    let published = s.published(at, target).filter(|_| i.is_up());
    let for_us = i.with_addr(target).is_some() || published.is_some();
    // RFC 826: update who is known; who asks for us becomes known.
    let known = s.neighbours.get((at, sender)).is_some();
    if sender != 0 && (known || (for_us && op == REQUEST)) {
        learn(q, at, sender, mac, now);
    }
    if op == REQUEST
        && for_us
        && let Some((arp, mut frame, dlsap)) = q.shared().arp_frame(at, REPLY, sender, Some(mac))
    {
        frame[14..18].copy_from_slice(&target.to_be_bytes());
        if let Some(mac) = published {
            frame[8..14].copy_from_slice(&mac);
        }
        send_arp(q, arp, &dlsap, &frame);
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
    let all = &mut q.shared().neighbours;
    match entry {
        None => {
            let gone = all.remove((at, addr)).ok_or(Errno::ENXIO)?;
            for mp in gone.waiting {
                q.discard(mp, "its neighbour was deleted");
            }
        }
        Some((mac, permanent, published)) => {
            let n = Neighbour::by_hand(mac, permanent, published, now);
            for mp in all.put((at, addr), n) {
                crate::output::send(q, at, addr, mp);
            }
        }
    }
    Ok(())
}
