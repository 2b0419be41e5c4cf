//! The DLPI driver: one for every link, style 2, connectionless.
//!
//! ```text
//!   open ─► UNATTACHED ─ ATTACH ─► UNBOUND ─ BIND ─► IDLE ─┬─ UNITDATA_REQ ─► Link::send
//!                       ◄ DETACH ─         ◄ UNBIND ─      ├─ M_DATA (fast path, raw) ─►
//!   Link::recv ─► interrupt ─► SAP, address ─► UNITDATA_IND or M_DATA, to each stream ─┘
//! ```
//!
//! A link is made at the first attach of its PPA and closed at the last detach. Several
//! streams may share it; each that is bound to the frame's SAP gets a copy.
//!
//! Spec: dlpi(7P), le(7D), the reference's dlpi sections 1 to 8.
//! Kept: states and answers, DL_INFO_ACK of Ethernet and point-to-point providers, SAP
//! rules, the fast path, DLIOCRAW.
//! Not done: subsequent binds, XID, TEST, statistics, DL_NOTIFY (refused as unsupported).

use rustc_hash::FxHashMap;
use streams::Watch;
use streams::prelude::*;

use crate::link::{Factory, Link, Medium};
use crate::prim::{
    DL_IOC_HDR_INFO, DL_PROMISC_MULTI, DL_PROMISC_PHYS, DL_PROMISC_SAP, DLIOCRAW, DlErrno, DlError,
    InfoAck, Prim, fast, mac,
};
use crate::state::State;

/// Frames taken from a link before others get their turn.
const BATCH: usize = 64;
/// Headroom of a received frame: what a tunnel puts in front fits.
const HEADROOM: usize = 128;
/// Bytes of an Ethernet header.
const ETHER: usize = 14;
/// Up to this size a frame is read straight into its message.
const DIRECT: usize = 9000;

/// The links of one device name.
pub struct Links {
    make: Factory,
    ppas: FxHashMap<u32, Ppa>,
    scratch: Vec<u8>,
}

impl Links {
    /// Links made by `make` at the first attach of a PPA.
    pub fn new(make: Factory) -> Links {
        Links {
            make,
            ppas: FxHashMap::default(),
            scratch: Vec::new(),
        }
    }
}

impl Default for Links {
    /// No PPA has a link.
    fn default() -> Links {
        Links::new(Box::new(|_| Err(std::io::ErrorKind::NotFound.into())))
    }
}

struct Ppa {
    link: Box<dyn Link>,
    medium: Medium,
    streams: Vec<Attached>,
    /// Whose doorbell the link rings.
    bell: Option<QRef>,
    watch: Option<Watch>,
}

/// A stream attached to a link, with what a frame is matched against.
struct Attached {
    q: QRef,
    sap: u32,
    bound: bool,
    fast: bool,
    raw: bool,
    promisc: u32,
    multi: Vec<[u8; 6]>,
}

/// A stream of the driver.
pub struct Dlpi {
    ppa: Option<u32>,
    state: State,
    cred: Cred,
    /// Bare frames may be sent: the fast path was asked for, or DLIOCRAW.
    fast: bool,
    raw: bool,
}

impl Module for Dlpi {
    type Shared = Links;
    const INFO: ModuleInfo = ModuleInfo::named(0x646c, "dlpi").marks(65536, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        Ok(Dlpi {
            ppa: None,
            state: State::Unattached,
            cred: how.cred,
            fast: false,
            raw: false,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        if q.try_ptr().is_some() {
            detach(q);
        }
        Wait::Done
    }

    fn interrupt(q: &mut Queue<'_, Self>) {
        receive(q);
    }
}

/// Write side.
fn wput(q: &mut Queue<'_, Dlpi>, mut mp: Msg) {
    match mp.ty() {
        MsgType::Data => {
            // A bare frame: the fast path, or a raw stream.
            let d = q.ptr();
            let (ppa, bare) = (d.ppa, d.state == State::Idle && (d.fast || d.raw));
            if bare {
                return transmit(q, ppa, mp);
            }
            q.discard(mp, "M_DATA on a stream that is neither raw nor fast");
        }
        MsgType::Proto | MsgType::PcProto => {
            if let Ok(u) = fast::unitdata_req(mp.rd()) {
                let (dest, n) = small(u.dest);
                let data = mp.take_cont();
                return unitdata(q, &dest[..n], mp, data);
            }
            request(q, mp);
        }
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        MsgType::Flush => q.flush_driver(mp),
        _ => q.discard(mp, "not for a data link"),
    }
}

/// An address on the stack, so that its message can be changed meanwhile.
fn small(a: &[u8]) -> ([u8; 16], usize) {
    let mut b = [0; 16];
    let n = a.len().min(16);
    b[..n].copy_from_slice(&a[..n]);
    (b, n)
}

/// DL_UNITDATA_REQ: the link's header, then out.
fn unitdata(q: &mut Queue<'_, Dlpi>, dest: &[u8], req: Msg, data: Option<Msg>) {
    let (state, ppa) = (q.ptr().state, q.ptr().ppa);
    q.freemsg(req);
    let Some(mut data) = data else { return };
    if state != State::Idle {
        q.discard(data, "sent before it was bound");
        return uderror(q, dest, DlErrno::OUTSTATE);
    }
    let Some(p) = ppa.and_then(|p| q.shared().ppas.get(&p)) else {
        return q.discard(data, "not attached");
    };
    if let Medium::Ether(own) = p.medium {
        let len = data.msgsize();
        let [a, b, c, d, e, f, s, t] = *dest else {
            q.discard(data, "an address of another kind");
            return uderror(q, dest, DlErrno::BADADDR);
        };
        if len > p.link.mtu() as usize {
            q.discard(data, "larger than the link takes");
            return uderror(q, dest, DlErrno::BADDATA);
        }
        let sap = u16::from_ne_bytes([s, t]);
        // A SAP up to 1500 means 802.3: the field is the length.
        let ty = if sap <= 1500 { len as u16 } else { sap };
        data.prepend(ETHER, 0)
            .copy_from_slice(&ether([a, b, c, d, e, f], own, ty));
    }
    transmit(q, ppa, data);
}

fn ether(dest: [u8; 6], src: [u8; 6], ty: u16) -> [u8; ETHER] {
    let mut h = [0; ETHER];
    h[..6].copy_from_slice(&dest);
    h[6..12].copy_from_slice(&src);
    h[12..].copy_from_slice(&ty.to_be_bytes());
    h
}

fn uderror(q: &mut Queue<'_, Dlpi>, dest: &[u8], e: DlErrno) {
    q.qreply(
        Prim::UderrorInd {
            dest: dest.to_vec(),
            unix_errno: 0,
            errno: e.0,
        }
        .emit(),
    );
}

/// A whole frame goes out.
#[inline]
fn transmit(q: &mut Queue<'_, Dlpi>, ppa: Option<u32>, mp: Msg) {
    let links = q.shared();
    let Some(p) = ppa.and_then(|p| links.ppas.get_mut(&p)) else {
        return q.discard(mp, "not attached");
    };
    let sent = if mp.cont().is_none() {
        p.link.send(mp.rd())
    } else {
        links.scratch.clear();
        for b in mp.blocks() {
            links.scratch.extend_from_slice(b.rd());
        }
        p.link.send(&links.scratch)
    };
    match sent {
        Ok(()) => q.freemsg(mp),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => q.discard(mp, "the link is full"),
        Err(_) => q.discard(mp, "the link refused it"),
    }
}

/// Every other primitive: one answer.
fn request(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    let number = Prim::number_of(mp.rd()).unwrap_or(u32::MAX);
    let parsed = Prim::parse(&mp);
    q.freemsg(mp);
    let answer = match parsed {
        Ok(p) => answer(q, &p),
        Err(e) => Err(e),
    };
    match answer {
        Ok(p) => q.qreply(p.emit()),
        Err(e) => q.qreply(Prim::error_ack(number, e).emit()),
    }
}

fn answer(q: &mut Queue<'_, Dlpi>, p: &Prim) -> Result<Prim, DlError> {
    let ok = Ok(Prim::ok_ack(p.number()));
    let state = q.ptr().state;
    let need = |want: State| {
        if state == want {
            Ok(())
        } else {
            Err(DlError::from(DlErrno::OUTSTATE))
        }
    };
    match p {
        Prim::InfoReq => Ok(Prim::InfoAck { info: info(q) }),
        Prim::AttachReq { ppa } => {
            need(State::Unattached)?;
            attach(q, *ppa)?;
            ok
        }
        Prim::DetachReq => {
            need(State::Unbound)?;
            detach(q);
            ok
        }
        Prim::BindReq {
            sap,
            xidtest_flg,
            service_mode,
            ..
        } => {
            need(State::Unbound)?;
            if *xidtest_flg != 0 {
                return Err(DlErrno::NOAUTO.into());
            }
            if u32::from(*service_mode) != crate::prim::DL_CLDLS {
                return Err(DlErrno::UNSUPPORTED.into());
            }
            if *sap > 0xffff {
                return Err(DlErrno::BADSAP.into());
            }
            attached(q, |a| {
                a.sap = *sap;
                a.bound = true;
            })?;
            q.ptr().state = State::Idle;
            let addr = info(q).addr;
            Ok(Prim::BindAck {
                sap: *sap,
                addr,
                max_conind: 0,
                xidtest_flg: 0,
            })
        }
        Prim::UnbindReq => {
            need(State::Idle)?;
            attached(q, |a| {
                a.bound = false;
                a.fast = false;
            })?;
            let d = q.ptr();
            (d.state, d.fast) = (State::Unbound, false);
            ok
        }
        Prim::PhysAddrReq { .. } => {
            if state == State::Unattached {
                return Err(DlErrno::OUTSTATE.into());
            }
            let addr = match medium(q) {
                Some(Medium::Ether(m)) => m.to_vec(),
                _ => Vec::new(),
            };
            Ok(Prim::PhysAddrAck { addr })
        }
        Prim::PromisconReq { level } | Prim::PromiscoffReq { level } => {
            if state == State::Unattached {
                return Err(DlErrno::OUTSTATE.into());
            }
            if !matches!(*level, DL_PROMISC_PHYS | DL_PROMISC_SAP | DL_PROMISC_MULTI) {
                return Err(DlErrno::UNSUPPORTED.into());
            }
            let bit = 1 << *level;
            let on = matches!(p, Prim::PromisconReq { .. });
            let was = attached(q, |a| {
                let was = a.promisc & bit != 0;
                a.promisc = if on {
                    a.promisc | bit
                } else {
                    a.promisc & !bit
                };
                was
            })?;
            if !on && !was {
                return Err(DlErrno::NOTENAB.into());
            }
            ok
        }
        Prim::EnabmultiReq { addr } | Prim::DisabmultiReq { addr } => {
            if state == State::Unattached {
                return Err(DlErrno::OUTSTATE.into());
            }
            if !matches!(medium(q), Some(Medium::Ether(_))) {
                return Err(DlErrno::NOTSUPPORTED.into());
            }
            let m: [u8; 6] = addr[..].try_into().map_err(|_| DlErrno::BADADDR)?;
            if m[0] & 1 == 0 {
                return Err(DlErrno::BADADDR.into());
            }
            let on = matches!(p, Prim::EnabmultiReq { .. });
            let had = attached(q, |a| {
                let had = a.multi.iter().position(|x| *x == m);
                match had {
                    Some(i) if !on => {
                        a.multi.swap_remove(i);
                    }
                    None if on => a.multi.push(m),
                    _ => {}
                }
                had.is_some()
            })?;
            if !on && !had {
                return Err(DlErrno::NOTENAB.into());
            }
            ok
        }
        Prim::SetPhysAddrReq { .. } if !q.ptr().cred.privileged => Err(DlError::sys(Errno::EPERM)),
        Prim::UdqosReq { .. }
        | Prim::SetPhysAddrReq { .. }
        | Prim::SubsBindReq { .. }
        | Prim::SubsUnbindReq { .. }
        | Prim::GetStatisticsReq
        | Prim::XidReq { .. }
        | Prim::TestReq { .. }
        | Prim::XidRes { .. }
        | Prim::TestRes { .. } => Err(DlErrno::NOTSUPPORTED.into()),
        _ => Err(DlErrno::UNSUPPORTED.into()),
    }
}

fn medium(q: &mut Queue<'_, Dlpi>) -> Option<Medium> {
    let ppa = q.ptr().ppa?;
    Some(q.shared().ppas.get(&ppa)?.medium.clone())
}

/// The filter entry of this stream.
fn attached<T>(q: &mut Queue<'_, Dlpi>, f: impl FnOnce(&mut Attached) -> T) -> Result<T, DlError> {
    let (me, ppa) = (q.rd().qref(), q.ptr().ppa);
    let p = ppa
        .and_then(|p| q.shared().ppas.get_mut(&p))
        .ok_or(DlErrno::OUTSTATE)?;
    let a = p
        .streams
        .iter_mut()
        .find(|a| a.q == me)
        .ok_or(DlErrno::OUTSTATE)?;
    Ok(f(a))
}

/// DL_INFO_ACK (the reference's 5.1 and 5.3). Before the attach the lengths are those of
/// Ethernet, as Solaris's drivers have them; the second DL_INFO_ACK counts for IP.
fn info(q: &mut Queue<'_, Dlpi>) -> InfoAck {
    let (state, ppa, me) = (q.ptr().state, q.ptr().ppa, q.rd().qref());
    let base = InfoAck {
        current_state: state as u32,
        ..InfoAck::default()
    };
    let Some(p) = ppa.and_then(|p| q.shared().ppas.get(&p)) else {
        return base;
    };
    let sap = p
        .streams
        .iter()
        .find(|a| a.q == me && a.bound)
        .map(|a| a.sap as u16);
    let max_sdu = p.link.mtu();
    match p.medium {
        Medium::PointToPoint => InfoAck { max_sdu, ..base },
        Medium::Ether(m) => InfoAck {
            max_sdu,
            mac_type: mac::DL_ETHER,
            addr_length: 8,
            sap_length: -2,
            addr: match sap {
                Some(s) => [&m[..], &s.to_ne_bytes()].concat(),
                None => vec![0; 8],
            },
            brdcst_addr: vec![0xff; 6],
            ..base
        },
    }
}

fn attach(q: &mut Queue<'_, Dlpi>, ppa: u32) -> Result<(), DlError> {
    let me = q.rd().qref();
    let links = q.shared();
    if !links.ppas.contains_key(&ppa) {
        let link = (links.make)(ppa).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                DlError::from(DlErrno::BADPPA).with_unix(Errno::ENXIO.number())
            }
            std::io::ErrorKind::PermissionDenied => {
                DlError::from(DlErrno::ACCESS).with_unix(Errno::EACCES.number())
            }
            std::io::ErrorKind::ResourceBusy => DlError::sys(Errno::EBUSY),
            std::io::ErrorKind::InvalidInput => DlError::sys(Errno::EINVAL),
            _ => DlError::from(DlErrno::INITFAILED).with_unix(Errno::EIO.number()),
        })?;
        let medium = link.medium();
        links.ppas.insert(
            ppa,
            Ppa {
                link,
                medium,
                streams: Vec::new(),
                bell: None,
                watch: None,
            },
        );
    }
    if let Some(p) = links.ppas.get_mut(&ppa) {
        let (sap, promisc, multi) = (0, 0, Vec::new());
        p.streams.push(Attached {
            q: me,
            sap,
            bound: false,
            fast: false,
            raw: false,
            promisc,
            multi,
        });
    }
    let d = q.ptr();
    (d.ppa, d.state) = (Some(ppa), State::Unbound);
    ring_here(q, ppa);
    Ok(())
}

/// Makes the link ring this stream, if it rings nobody's.
fn ring_here(q: &mut Queue<'_, Dlpi>, ppa: u32) {
    let me = q.rd().qref();
    let bell = q.rd().doorbell();
    let mut rq = q.rd();
    let Some(p) = rq.shared().ppas.get_mut(&ppa) else {
        return;
    };
    if p.bell.is_some() {
        return;
    }
    p.bell = Some(me);
    p.link.attach(bell);
    let fd = p.link.fd().and_then(|f| f.try_clone_to_owned().ok());
    if let Some(fd) = fd {
        // The clone is the same open file; the watch only needs it while it registers.
        let watch = rq.watch_owned(fd).ok();
        if let Some(p) = rq.shared().ppas.get_mut(&ppa) {
            p.watch = watch;
        }
    }
}

fn detach(q: &mut Queue<'_, Dlpi>) {
    let me = q.rd().qref();
    let d = q.ptr();
    d.state = State::Unattached;
    let Some(ppa) = d.ppa.take() else { return };
    let links = q.shared();
    let Some(p) = links.ppas.get_mut(&ppa) else {
        return;
    };
    p.streams.retain(|a| a.q != me);
    if p.streams.is_empty() {
        links.ppas.remove(&ppa);
        return;
    }
    if p.bell == Some(me) {
        (p.bell, p.watch) = (None, None);
        let heir = p.streams[0].q;
        if let Some(mut q) = q.at(heir) {
            ring_here(&mut q, ppa);
        }
    }
}

fn ioctl(q: &mut Queue<'_, Dlpi>, mut mp: Msg) {
    match mp.ioc().map_or(0, |i| i.cmd) {
        DLIOCRAW => match attached(q, |a| a.raw = true) {
            Ok(()) => {
                q.ptr().raw = true;
                mp.take_cont();
                q.iocack(mp, 0);
            }
            Err(_) => q.iocnak(mp, Errno::EINVAL),
        },
        // 8: the template comes back with the link header behind it.
        DL_IOC_HDR_INFO => {
            let (state, medium) = (q.ptr().state, medium(q));
            let dest = mp
                .cont()
                .and_then(|t| fast::unitdata_req(t.rd()).ok())
                .map(|u| small(u.dest));
            let header = match (medium, dest) {
                (Some(Medium::PointToPoint), Some(_)) => Some(Vec::new()),
                (Some(Medium::Ether(own)), Some((d, 8))) => {
                    let ty = u16::from_ne_bytes([d[6], d[7]]);
                    Some(ether([d[0], d[1], d[2], d[3], d[4], d[5]], own, ty).to_vec())
                }
                _ => None,
            };
            let Some(header) = header.filter(|_| state == State::Idle) else {
                return q.iocnak(mp, Errno::EINVAL);
            };
            if attached(q, |a| a.fast = true).is_err() {
                return q.iocnak(mp, Errno::EINVAL);
            }
            q.ptr().fast = true;
            mp.linkb(Msg::data(&header));
            q.iocack(mp, 0);
        }
        _ => q.iocnak(mp, Errno::EINVAL),
    }
}

/// Takes frames from the link, a batch at most.
fn receive(q: &mut Queue<'_, Dlpi>) {
    let Some(ppa) = q.ptr().ppa else { return };
    let Some(mtu) = q
        .shared()
        .ppas
        .get(&ppa)
        .map(|p| p.link.mtu() as usize + ETHER)
    else {
        return;
    };
    for _ in 0..BATCH {
        let direct = mtu <= DIRECT;
        let mut mp = q.alloc(HEADROOM, if direct { mtu } else { 0 });
        let links = q.shared();
        let Some(p) = links.ppas.get_mut(&ppa) else {
            return q.freemsg(mp);
        };
        let got = if direct {
            p.link.recv(mp.room_mut())
        } else {
            links.scratch.resize(mtu, 0);
            let got = p.link.recv(&mut links.scratch);
            if let Ok(Some(n)) = got {
                mp = Msg::with_headroom(HEADROOM, n);
                mp.room_mut()[..n].copy_from_slice(&links.scratch[..n]);
            }
            got
        };
        match got {
            Ok(Some(n)) => {
                mp.advance_wptr(n);
                deliver(q, ppa, mp);
            }
            Ok(None) => return q.freemsg(mp),
            Err(_) => {
                q.freemsg(mp);
                return link_died(q, ppa);
            }
        }
    }
    q.doorbell().ring(); // there may be more
}

/// The link is gone: everybody on it is told.
fn link_died(q: &mut Queue<'_, Dlpi>, ppa: u32) {
    let all: Vec<QRef> = match q.shared().ppas.get_mut(&ppa) {
        Some(p) => {
            p.watch = None;
            p.streams.iter().map(|a| a.q).collect()
        }
        None => return,
    };
    for s in all {
        q.putnext_of(s, Msg::of(MsgType::Hangup, &[]));
    }
}

/// What a stream gets of a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Fast,
    Indication,
    Raw,
}

/// Gives a frame to every stream that it is for.
#[inline]
fn deliver(q: &mut Queue<'_, Dlpi>, ppa: u32, mut mp: Msg) {
    let Some(p) = q.shared().ppas.get(&ppa) else {
        return q.discard(mp, "not attached");
    };
    let (ty, group, ours) = match p.medium {
        Medium::PointToPoint => (crate::prim::SAP_IP, false, true),
        Medium::Ether(own) => {
            let Some(h) = mp.rd().first_chunk::<ETHER>() else {
                return q.discard(mp, "frame cut short");
            };
            let ty = u32::from(u16::from_be_bytes([h[12], h[13]]));
            (ty, h[0] & 1 != 0, h[0] & 1 == 0 && h[..6] == own)
        }
    };
    let dest: [u8; 6] = match (&p.medium, mp.rd().first_chunk::<6>()) {
        (Medium::Ether(_), Some(d)) => *d,
        _ => [0; 6],
    };
    let wants = |a: &Attached| -> Option<As> {
        let bit = |l: u32| a.promisc & (1 << l) != 0;
        let sap = a.bound && (a.sap == ty || (a.sap <= 1500 && ty <= 1500) || bit(DL_PROMISC_SAP));
        let to_us = ours
            || dest == [0xff; 6]
            || bit(DL_PROMISC_PHYS)
            || (group
                && (bit(DL_PROMISC_MULTI) || a.multi.contains(&dest) || is_ip_multicast(&dest)));
        (sap && to_us).then_some(match (a.raw, a.fast && ours) {
            (true, _) => As::Raw,
            (_, true) => As::Fast,
            _ => As::Indication,
        })
    };
    let ether = p.medium != Medium::PointToPoint;
    let mut to = p
        .streams
        .iter()
        .filter_map(|a| wants(a).map(|how| (a.q, how)));
    let Some(first) = to.next() else {
        return q.discard(mp, "no stream for this SAP or address");
    };
    let others: Vec<(QRef, As)> = to.collect(); // empty, and without an allocation, for one stream
    for (s, how) in others {
        let copy = mp.dupmsg();
        hand_up(q, s, how, copy, ether, group);
    }
    hand_up(q, first.0, first.1, mp, ether, group);
}

/// 01:00:5e: IP of 2.x asks for these one by one; a stream that asked for none hears all.
fn is_ip_multicast(dest: &[u8; 6]) -> bool {
    dest[..3] == [0x01, 0x00, 0x5e]
}

/// One stream's copy, in the form it asked for.
#[inline]
fn hand_up(q: &mut Queue<'_, Dlpi>, to: QRef, how: As, mut mp: Msg, ether: bool, group: bool) {
    let (mut dest, mut src, mut n) = ([0; 8], [0; 8], 0);
    if ether && how != As::Raw {
        if let Some(h) = mp.rd().first_chunk::<ETHER>() {
            let sap = u16::from_be_bytes([h[12], h[13]]).to_ne_bytes();
            dest[..6].copy_from_slice(&h[..6]);
            src[..6].copy_from_slice(&h[6..12]);
            dest[6..].copy_from_slice(&sap);
            src[6..].copy_from_slice(&sap);
            n = 8;
        }
        mp.advance_rptr(ETHER);
    }
    let mut up = match q.at(to) {
        Some(up) => up,
        None => return q.discard(mp, "the stream is gone"),
    };
    if !up.canputnext() {
        return up.discard(mp, "the receiver is blocked");
    }
    if how != As::Indication {
        return up.putnext(mp);
    }
    let mut ind = up.alloc(0, fast::UNITDATA_IND_SIZE + 16);
    fast::put_unitdata_ind(&mut ind, &dest[..n], &src[..n], group);
    ind.set_tag(mp.tag());
    ind.set_cont(Some(mp));
    up.putnext(ind);
}
