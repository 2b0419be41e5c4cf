//! ip, the module: an interface stream, between what is above and a data link below.
//!
//! ```text
//!   (linked head)        M_IOCTL IF_UNITSEL, ..
//!        │ wput ▼   ▲ up: what is not IP's
//!   ┌────┴──────────┴────┐
//!   │  ip (module)  ill  │──► input.rs: M_DATA, DL_UNITDATA_IND
//!   └────┬──────────▲────┘
//!        ▼ DLPI     │
//!     data link provider
//! ```
//!
//! The same type is the driver /dev/ip (driver.rs): which one an instance is shows in how
//! it was opened. All instances share one [`Stack`].
//!
//! Spec: ip(7P), dlpi(7P), the reference's ip-tpi section 1 and dlpi section 10.
//! Kept: the conversation with the provider, in its order; what is freed, passed, refused.
//! Differs: DL_CAPABILITY is not asked for.

use dlpi::prim::{DL_CURR_PHYS_ADDR, DL_IOC_HDR_INFO, DL_UNITDATA_IND, Prim};
use streams::kstat::Kstat;
use streams::message::{FLUSHR, FLUSHW};
use streams::prelude::*;

use crate::ill::{Dl, Ill, bind_ip, iff};
use crate::notify;
use crate::stack::Stack;
use crate::{deliver, driver, input, ioctl, multicast, redirect, tcp_news};

/// An instance of ip.
pub enum Ip {
    /// Pushed on a data link: an interface.
    Module {
        /// Its interface.
        ill: u32,
    },
    /// Opened as /dev/ip.
    Driver,
}

/// The number of the pairs of /dev/ip. That of the others is their interface's: 0 is lo0, which
/// has no stream.
const DRIVER: u32 = 0;

/// A module or driver that lives on the stack: ip, arp, udp.
pub trait OnStack: Module<Shared = Stack> {}
impl<M: Module<Shared = Stack>> OnStack for M {}

impl Module for Ip {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5701, "ip").marks(65536, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(rput);
    const WRITE: QInit<Self> = QInit::put(wput);
    const MUX: Option<(QInit<Self>, QInit<Self>)> =
        Some((QInit::put(lrput), QInit::put(|q, mp| q.freemsg(mp))));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        if how.sflag != SFlag::Module {
            return Ok(Ip::Driver);
        }
        let mut ill = Ill::new();
        ill.wq = Some(q.wr().qref());
        ill.tunnel = q.driver_name() == "ip";
        let ill = q.shared().add_ill(ill);
        q.set_number(ill);
        Ok(Ip::Module { ill })
    }

    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        let Ip::Module { ill } = *q.ptr() else {
            return Ok(Wait::Done);
        };
        let Some(i) = q.shared().ill_mut(ill) else {
            return Err(Errno::ENXIO);
        };
        if i.dl == Dl::New {
            i.dl = Dl::Info;
            q.wr().putnext(Prim::InfoReq.emit());
        }
        match q.shared().ill(ill) {
            Some(Ill { error: Some(e), .. }) => Err(*e),
            Some(i) if i.dl == Dl::Info => Ok(Wait::Again),
            _ => Ok(Wait::Done),
        }
    }

    fn kstats(stack: &mut Stack, _: &'static str) -> Vec<Kstat> {
        crate::mib::kstats(stack)
    }

    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        let Ip::Module { ill } = *q.ptr() else { return };
        if tag == deliver::REASSEMBLY {
            deliver::expire(q, ill);
            deliver::arm(q, ill);
        }
        if tag == redirect::REDIRECTS {
            redirect::expire(q);
        }
        if tag == multicast::IGMP {
            multicast::expire(q, ill);
        }
        if tag == tcp_news::TIMER {
            tcp_news::rearm(q, None);
        }
    }

    fn close(q: &mut Queue<'_, Self>, _how: &Close) -> Wait {
        match q.try_ptr() {
            Some(Ip::Module { ill }) => {
                let ill = *ill;
                let done = close_ill(q, ill);
                if done == Wait::Done {
                    let wq = q.wr().qref();
                    tcp_news::rearm(q, Some(wq));
                }
                done
            }
            _ => {
                let me = q.rd().qref();
                q.shared().subscribers.retain(|s| s.q != me);
                multicast::leave_all(q);
                Wait::Done
            }
        }
    }
}

/// Unbinds and detaches, then forgets the interface.
fn close_ill(q: &mut Queue<'_, Ip>, at: u32) -> Wait {
    multicast::gone(q, at);
    let s = q.shared();
    s.ill_down(at);
    for mp in s.neighbours.remove_where(at, |_| true) {
        q.discard(mp, "the interface is gone");
    }
    let s = q.shared();
    let Some(i) = s.ill_mut(at) else {
        return Wait::Done;
    };
    match i.dl {
        Dl::CloseUnbind | Dl::CloseDetach => Wait::Again,
        _ if i.bound => {
            i.bound = false;
            i.dl = Dl::CloseUnbind;
            q.wr().putnext(Prim::UnbindReq.emit());
            close_ill(q, at)
        }
        Dl::Idle
            if i.ppa != u32::MAX
                && !i.name.is_empty()
                && i.info.provider_style == dlpi::prim::DL_STYLE2 =>
        {
            i.dl = Dl::CloseDetach;
            i.name.clear();
            q.wr().putnext(Prim::DetachReq.emit());
            close_ill(q, at)
        }
        _ => {
            if let Some(slot) = s.ills.get_mut(at as usize) {
                *slot = None;
            }
            Wait::Done
        }
    }
}

/// Read side: from the data link, or (a driver) never.
fn rput(q: &mut Queue<'_, Ip>, mp: Msg) {
    match q.number() {
        DRIVER => q.putnext(mp),
        ill if mp.ty() == MsgType::Data => input::ip_input(q, ill, mp, false),
        ill => from_provider(q, ill, mp),
    }
}

/// What a provider sends beside bare datagrams.
#[inline(never)]
fn from_provider(q: &mut Queue<'_, Ip>, ill: u32, mut mp: Msg) {
    match mp.ty() {
        MsgType::Proto | MsgType::PcProto => {
            let word = mp.rd().first_chunk::<4>().map(|w| u32::from_ne_bytes(*w));
            if word == Some(DL_UNITDATA_IND) {
                let group = dlpi::prim::fast::unitdata_ind(mp.rd()).is_ok_and(|u| u.group);
                match mp.take_cont() {
                    Some(data) => {
                        q.freemsg(mp);
                        input::ip_input(q, ill, data, group);
                    }
                    None => q.discard(mp, "an indication without data"),
                }
            } else if let Ok(p) = Prim::parse(&mp) {
                q.freemsg(mp);
                match p {
                    Prim::NotifyInd {
                        notification, data, ..
                    } => notify::indicated(q.shared(), ill, notification, data),
                    answer => dl_answer(q, ill, &answer),
                }
            } else {
                q.discard(mp, "an unknown primitive");
            }
        }
        MsgType::IocAck | MsgType::IocNak
            if mp
                .ioc()
                .is_some_and(|i| i.cmd == DL_IOC_HDR_INFO && i.id == 0) =>
        {
            fast_path_answer(q, ill, mp);
        }
        MsgType::Error | MsgType::Hangup => {
            let e = match mp.rd().first() {
                Some(&e) if mp.ty() == MsgType::Error => Errno::from_number(e.into()),
                _ => Errno::ENXIO,
            };
            q.freemsg(mp);
            let s = q.shared();
            s.ill_down(ill);
            if let Some(i) = s.ill_mut(ill) {
                i.flags &= !iff::RUNNING;
                i.bound = false;
                i.error = Some(e);
            }
            multicast::follow(q, ill);
            finish(q, ill, Some(e));
        }
        MsgType::Flush => {
            // 1.1: nothing of ours is queued; the write half goes back down.
            let how = mp.rd().first().copied().unwrap_or(0);
            if how & FLUSHW == 0 {
                return q.freemsg(mp);
            }
            if let Some(b) = mp.rd_mut().first_mut() {
                *b &= !FLUSHR;
            }
            q.qreply(mp);
        }
        _ => q.putnext(mp),
    }
}

/// Write side.
fn wput(q: &mut Queue<'_, Ip>, mp: Msg) {
    match q.number() {
        DRIVER => driver::wput(q, mp),
        ill => match mp.ty() {
            MsgType::Ioctl | MsgType::IocData => ioctl::module_ioctl(q, ill, mp),
            _ => q.putnext(mp),
        },
    }
}

/// Under the driver as a multiplexor: what an interface stream passes up past its ip.
pub(crate) fn lrput<M: OnStack>(q: &mut Queue<'_, M>, mut mp: Msg) {
    match mp.ty() {
        MsgType::Flush => {
            // As a stream head: the write half turns round.
            let how = mp.rd().first().copied().unwrap_or(0);
            if how & FLUSHW == 0 {
                return q.freemsg(mp);
            }
            if let Some(b) = mp.rd_mut().first_mut() {
                *b &= !FLUSHR;
            }
            q.qreply(mp);
        }
        MsgType::Ioctl => q.iocnak(mp, Errno::EINVAL),
        _ => q.freemsg(mp),
    }
}

/// Sends the next request of a conversation.
fn ask(q: &mut Queue<'_, Ip>, ill: u32, dl: Dl, mp: Msg) {
    if let Some(i) = q.shared().ill_mut(ill) {
        i.dl = dl;
    }
    q.wr().putnext(mp);
}

/// Starts naming the interface: attach (style 2), bind, info, address, unbind.
pub(crate) fn name_ill(q: &mut Queue<'_, Ip>, ill: u32) {
    let Some(i) = q.shared().ill(ill) else { return };
    let (style, ppa) = (i.info.provider_style, i.ppa);
    if style == dlpi::prim::DL_STYLE2 {
        ask(q, ill, Dl::Attach, Prim::AttachReq { ppa }.emit());
    } else {
        ask(q, ill, Dl::Bind, bind_ip());
    }
}

/// Starts bringing the interface at `wq` up, for one of its addresses.
pub(crate) fn bring_up_at<M: OnStack>(q: &mut Queue<'_, M>, wq: QRef, ill: u32, id: u16) {
    if let Some(i) = q.shared().ill_mut(ill) {
        i.dl = Dl::Up;
        i.rising = id;
    }
    q.putnext_of(wq, bind_ip());
}

/// An answer of the provider: the next step.
fn dl_answer(q: &mut Queue<'_, Ip>, ill: u32, p: &Prim) {
    if multicast::dl_answer(q, ill, p) {
        return;
    }
    let Some(i) = q.shared().ill_mut(ill) else {
        return;
    };
    match (i.dl, p) {
        (Dl::Info, Prim::InfoAck { info }) => {
            i.classify(info.clone());
            i.dl = Dl::Idle;
        }
        (Dl::Attach, Prim::OkAck { .. }) => ask(q, ill, Dl::Bind, bind_ip()),
        (Dl::Bind, Prim::BindAck { .. }) => ask(q, ill, Dl::SecondInfo, Prim::InfoReq.emit()),
        (Dl::SecondInfo, Prim::InfoAck { info }) => {
            i.classify(info.clone());
            let addr = Prim::PhysAddrReq {
                addr_type: DL_CURR_PHYS_ADDR,
            };
            ask(q, ill, Dl::PhysAddr, addr.emit());
        }
        (Dl::PhysAddr, Prim::PhysAddrAck { addr }) => {
            i.mac.clone_from(addr);
            ask(q, ill, Dl::Notify, notify::request());
        }
        // A provider without addresses may refuse; that ends nothing.
        (Dl::PhysAddr, Prim::ErrorAck { .. }) => ask(q, ill, Dl::Notify, notify::request()),
        // One of 2.6 knows no such request.
        (Dl::Notify, Prim::NotifyAck { .. } | Prim::ErrorAck { .. }) => {
            ask(q, ill, Dl::Unbind, Prim::UnbindReq.emit());
        }
        (Dl::Unbind, _) => {
            i.dl = Dl::Idle;
            finish(q, ill, None);
        }
        (Dl::Up, Prim::BindAck { .. }) => {
            i.bound = true;
            if i.resolves() {
                up_done(q, ill);
            } else {
                let dest = vec![0; i.info.phys_len() as usize];
                let dest = i.dlsap(&dest, dlpi::prim::SAP_IP as u16);
                i.dl = Dl::FastPath;
                let probe = fast_path_probe(&dest);
                q.wr().putnext(probe);
            }
        }
        (Dl::CloseUnbind | Dl::CloseDetach, _) => i.dl = Dl::Idle,
        (Dl::Idle | Dl::New, _) => {}
        (_, Prim::ErrorAck { unix_errno, .. }) => {
            // 3.1: the UNIX error if there is one, else ENXIO.
            let e = match *unix_errno {
                0 => Errno::ENXIO,
                n => Errno::from_number(n as i32),
            };
            i.dl = Dl::Idle;
            finish(q, ill, Some(e));
        }
        _ => {}
    }
}

/// DL_IOC_HDR_INFO for a destination.
pub(crate) fn fast_path_probe(dlsap: &[u8]) -> Msg {
    let ioc = IocBlk {
        cmd: DL_IOC_HDR_INFO,
        cr: Cred::ROOT,
        id: 0,
        count: 0,
        rval: 0,
        error: 0,
    };
    let mut mp = Msg::control(MsgType::Ioctl, Ctl::Ioc(ioc));
    let template = Prim::UnitdataReq {
        dest: dlsap.to_vec(),
        priority_min: 0,
        priority_max: 0,
    }
    .emit();
    if let Some(i) = mp.ioc_mut() {
        i.count = template.len();
    }
    mp.set_cont(Some(template));
    mp
}

/// The provider has answered a fast path probe.
fn fast_path_answer(q: &mut Queue<'_, Ip>, ill: u32, mut mp: Msg) {
    let yes = mp.ty() == MsgType::IocAck;
    let mut template = mp.take_cont();
    let header = template
        .as_mut()
        .and_then(Msg::take_cont)
        .map(|h| h.to_vec());
    let Some(i) = q.shared().ill_mut(ill) else {
        return q.freemsg(mp);
    };
    if i.dl == Dl::FastPath {
        i.fastpath = yes;
        q.freemsg(mp);
        return up_done(q, ill);
    }
    if let (true, Some(header), Some(t)) = (yes, header, &template)
        && let Ok(u) = dlpi::prim::fast::unitdata_req(t.rd())
    {
        let mac = u.dest.get(..6).and_then(|m| <[u8; 6]>::try_from(m).ok());
        if let Some(mac) = mac {
            q.shared().neighbours.set_header(ill, mac, &header);
        }
    }
    q.freemsg(mp);
}

/// The address that asked for it is up: flags, routes, and the ioctl is done.
fn up_done(q: &mut Queue<'_, Ip>, ill: u32) {
    let s = q.shared();
    let Some(i) = s.ill_mut(ill) else { return };
    i.dl = Dl::Idle;
    if !i.no_carrier {
        i.flags |= iff::RUNNING;
    }
    i.error = None;
    let id = i.rising;
    crate::dad::rise(q, ill, id);
    finish(q, ill, None);
}

/// Answers the ioctl that an interface's conversation was for.
fn finish(q: &mut Queue<'_, Ip>, ill: u32, error: Option<Errno>) {
    let Some(i) = q.shared().ill_mut(ill) else {
        return;
    };
    let Some((mp, to)) = i.pending.take() else {
        return;
    };
    let naming = matches!(
        mp.ioctl_cmd(),
        Some(ioctl::IF_UNITSEL | ioctl::SIOCSLIFNAME)
    );
    if error.is_some() && naming {
        i.name.clear(); // a naming that failed leaves the stream as it was
    }
    let Some(mut to) = q.at(to) else {
        return q.discard(mp, "who asked is gone");
    };
    match error {
        None => to.iocack(mp, 0),
        Some(e) => to.iocnak(mp, e),
    }
}
