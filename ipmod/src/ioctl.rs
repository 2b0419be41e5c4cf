//! The ioctls of IP: interfaces, routes, ARP entries, ndd.
//!
//! ```text
//!   client stream (/dev/udp, /dev/ip)  SIOCSIFADDR, SIOCADDRT, ND_GET ..
//!   interface stream, before it is linked   IF_UNITSEL, SIOCSLIFNAME, SIOCGIFFLAGS
//! ```
//!
//! Spec: if(7P), routing(7P), arp(7P), ndd(1M); numbers and structures of sys/sockio.h.
//! Kept: numbers, layouts, errors, who may; both forms, I_STR and transparent
//! (transparent.rs).
//! Differs: SIOCGIFCONF as an I_STR answers with the list itself.

use streams::prelude::*;

use crate::ill::{IP_MIN_MTU, Ill, iff};
use crate::ipif::Ipif;
use crate::ire::{Ire, IreKind, RTF_BLACKHOLE, RTF_GATEWAY, RTF_HOST, RTF_REJECT, RTF_UP};
use crate::module::{Ip, OnStack, bring_up_at, name_ill};
use crate::stack::Stack;
use crate::tpi::{sockaddr, sockaddr_bytes};
use crate::{ifreq, resolve, transparent};

macro_rules! numbers {
    ($($(#[$d:meta])* $name:ident = $v:literal;)*) => { $($(#[$d])* pub const $name: i32 = $v as u32 as i32;)* };
}

numbers! {
    /// Add a route (rtentry).
    SIOCADDRT = 0x8030720au32;
    /// Delete a route.
    SIOCDELRT = 0x8030720bu32;
    /// Set the address.
    SIOCSIFADDR = 0x8020690cu32;
    /// Get the address.
    SIOCGIFADDR = 0xc020690du32;
    /// Set the far end's address.
    SIOCSIFDSTADDR = 0x8020690eu32;
    /// Get the far end's address.
    SIOCGIFDSTADDR = 0xc020690fu32;
    /// Set the flags.
    SIOCSIFFLAGS = 0x80206910u32;
    /// Get the flags.
    SIOCGIFFLAGS = 0xc0206911u32;
    /// Set the MTU.
    SIOCSIFMTU = 0x80206915u32;
    /// Get the MTU.
    SIOCGIFMTU = 0xc0206916u32;
    /// Get the broadcast address.
    SIOCGIFBRDADDR = 0xc0206917u32;
    /// Set the broadcast address.
    SIOCSIFBRDADDR = 0x80206918u32;
    /// Get the netmask.
    SIOCGIFNETMASK = 0xc0206919u32;
    /// Set the netmask.
    SIOCSIFNETMASK = 0x8020691au32;
    /// Get the metric.
    SIOCGIFMETRIC = 0xc020691bu32;
    /// Set the metric.
    SIOCSIFMETRIC = 0x8020691cu32;
    /// Set an ARP entry (arpreq).
    SIOCSARP = 0x8024691eu32;
    /// Get an ARP entry.
    SIOCGARP = 0xc024691fu32;
    /// Delete an ARP entry.
    SIOCDARP = 0x80246920u32;
    /// How many interfaces.
    SIOCGIFNUM = 0x40046957u32;
    /// Get the multiplexor ids.
    SIOCGIFMUXID = 0xc0206958u32;
    /// Set the multiplexor ids.
    SIOCSIFMUXID = 0x80206959u32;
    /// Name an interface: its name and PPA in an ifreq.
    SIOCSIFNAME = 0x80206949u32;
    /// List the interfaces, by its old number.
    O_SIOCGIFCONF = 0xc0086914u32;
    /// Set the index.
    SIOCSIFINDEX = 0x8020695bu32;
    /// Get the index.
    SIOCGIFINDEX = 0xc020695au32;
    /// List the interfaces: as an I_STR, the ifreqs one after another.
    SIOCGIFCONF = 0xc008695cu32;
    /// Name an interface by its PPA.
    IF_UNITSEL = 0x80047336u32;
    /// Name an interface.
    SIOCSLIFNAME = 0xc0786981u32;
    /// Take an address of an interface away (lifreq).
    SIOCLIFREMOVEIF = 0x8078696eu32;
    /// Give an interface another address (lifreq).
    SIOCLIFADDIF = 0xc078696fu32;
    /// ndd -get: the name in, the value out.
    ND_GET = 0x4e00u32;
    /// ndd -set: name and value.
    ND_SET = 0x4e01u32;
}

/// Bytes of an ifreq.
pub const IFREQ: usize = 32;
/// Bytes of a lifreq; more than fits its ioctls' numbers.
pub const LIFREQ: usize = 376;
/// Where the union of a lifreq starts.
pub(crate) const LIFR_UNION: usize = 40;
/// Bytes of an rtentry.
pub const RTENTRY: usize = 48;
/// Bytes of an arpreq.
pub const ARPREQ: usize = 36;

/// The name at the start of an ifreq or lifreq; a NUL is forced at its end.
pub fn name_of(req: &[u8]) -> String {
    let most = if req.len() == LIFREQ { 31 } else { 15 };
    let name = &req[..req.len().min(most)];
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// An ifreq: a name and the 16 bytes of its union.
pub fn ifreq(name: &str, union: &[u8]) -> Vec<u8> {
    let mut b = vec![0; IFREQ];
    let n = name.len().min(15);
    b[..n].copy_from_slice(&name.as_bytes()[..n]);
    let m = union.len().min(16);
    b[16..16 + m].copy_from_slice(&union[..m]);
    b
}

/// A lifreq: a name and what its union starts with.
pub fn lifreq(name: &str, union: &[u8]) -> Vec<u8> {
    let mut b = vec![0; LIFREQ];
    let n = name.len().min(31);
    b[..n].copy_from_slice(&name.as_bytes()[..n]);
    let m = union.len().min(LIFREQ - LIFR_UNION);
    b[LIFR_UNION..LIFR_UNION + m].copy_from_slice(&union[..m]);
    b
}

/// M_IOCTL or M_IOCDATA on an interface stream that is not linked yet.
pub(crate) fn module_ioctl(q: &mut Queue<'_, Ip>, ill: u32, mut mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    let ours = matches!(cmd, IF_UNITSEL | SIOCSLIFNAME | SIOCSIFNAME | SIOCGIFFLAGS);
    if ours && (mp.is_transparent() || mp.ty() == MsgType::IocData) {
        let fetched = match mp.ty() {
            MsgType::IocData => transparent::resume(q, mp),
            _ => transparent::start(q, mp),
        };
        let Some(f) = fetched else { return };
        if cmd != SIOCGIFFLAGS {
            return name(q, ill, f.mp, cmd, f.cred, &f.data);
        }
        return match q.shared().ill(ill) {
            Some(i) => {
                let out = ifreq(&i.name, &i.flags.to_ne_bytes());
                transparent::answer(q, f, &out);
            }
            None => q.iocnak(f.mp, Errno::ENXIO),
        };
    }
    let data = mp.cont().map(Msg::to_vec).unwrap_or_default();
    match cmd {
        IF_UNITSEL | SIOCSLIFNAME | SIOCSIFNAME => {
            let cred = Queue::<Ip>::cred(&mp);
            name(q, ill, mp, cmd, cred, &data);
        }
        SIOCGIFFLAGS => {
            let Some(i) = q.shared().ill(ill) else {
                return q.iocnak(mp, Errno::ENXIO);
            };
            let out = ifreq(&i.name, &i.flags.to_ne_bytes());
            mp.set_cont(Some(Msg::data(&out)));
            q.iocack(mp, 0);
        }
        _ if mp.ty() == MsgType::IocData => q.putnext(mp),
        // 1: other SIOC* are refused here; what is not IP's goes on down.
        _ if matches!((cmd as u32 >> 8) & 0xff, 0x69 | 0x72) => q.iocnak(mp, Errno::EINVAL),
        _ => q.putnext(mp),
    }
}

/// IF_UNITSEL, SIOCSLIFNAME, SIOCSIFNAME: names the interface, and asks the provider about it.
fn name(q: &mut Queue<'_, Ip>, ill: u32, mut mp: Msg, cmd: i32, cred: Cred, data: &[u8]) {
    if let Err(e) = cred.require_priv() {
        return q.iocnak(mp, e);
    }
    let driver = q.driver_name();
    let s = q.shared();
    if s.ill(ill).is_none_or(|i| !i.name.is_empty()) {
        return q.iocnak(mp, Errno::EALREADY);
    }
    let named = if cmd == IF_UNITSEL {
        <[u8; 4]>::try_from(data)
            .map_err(|_| Errno::EINVAL)
            .map(|p| match u32::from_ne_bytes(p) {
                u32::MAX => {
                    let free = (0..).find(|n| s.ill_named(&format!("{driver}{n}")).is_none());
                    free.unwrap_or(0)
                }
                n => n,
            })
            .map(|ppa| (format!("{driver}{ppa}"), ppa))
    } else {
        let name = name_of(data);
        let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        // 5.3: the digits are the PPA; one that is given too must be the same.
        let at = if data.len() == LIFREQ { 32 } else { 20 };
        let given = data.get(at..at + 4).and_then(|b| b.try_into().ok());
        let given = given.map_or(0, u32::from_ne_bytes);
        match name[digits..].parse::<u32>() {
            Ok(ppa) if digits > 0 && (given == 0 || given == ppa) => Ok((name, ppa)),
            _ => Err(Errno::EINVAL),
        }
    };
    let (name, ppa) = match named {
        Ok(n) => n,
        Err(e) => return q.iocnak(mp, e),
    };
    if s.ill_named(&name).is_some() {
        return q.iocnak(mp, Errno::EEXIST);
    }
    mp.take_cont();
    let me = q.wr().qref();
    if let Some(i) = q.shared().ill_mut(ill) {
        i.name = name;
        i.ppa = ppa;
        i.error = None;
        i.pending = Some((mp, me));
    }
    name_ill(q, ill);
}

/// M_IOCTL or M_IOCDATA on a client stream.
pub(crate) fn client_ioctl<M: OnStack>(q: &mut Queue<'_, M>, mut mp: Msg) {
    if mp.is_transparent() || mp.ty() == MsgType::IocData {
        let fetched = match mp.ty() {
            MsgType::IocData => transparent::resume(q, mp),
            _ => transparent::start(q, mp),
        };
        let Some(f) = fetched else { return };
        return match run(q, f.cmd, f.cred, &f.data) {
            Ok(Done::Data(out)) => transparent::answer(q, f, &out),
            Ok(Done::BringUp(at, id)) => bring_up(q, at, id, f.mp),
            Err(e) => q.iocnak(f.mp, e),
        };
    }
    let cmd = mp.ioc().map_or(0, |i| i.cmd);
    let cred = Queue::<M>::cred(&mp);
    let data = mp.cont().map(Msg::to_vec).unwrap_or_default();
    match run(q, cmd, cred, &data) {
        Ok(Done::Data(out)) => {
            mp.set_cont((!out.is_empty()).then(|| Msg::data(&out)));
            q.iocack(mp, 0);
        }
        Ok(Done::BringUp(at, id)) => bring_up(q, at, id, mp),
        Err(e) => q.iocnak(mp, e),
    }
}

/// The answer comes when the provider has answered.
fn bring_up<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16, mut mp: Msg) {
    mp.take_cont();
    let me = q.wr().qref();
    let Some(i) = q.shared().ill_mut(at) else {
        return q.iocnak(mp, Errno::ENXIO);
    };
    let Some(wq) = i.wq else {
        return q.iocnak(mp, Errno::ENXIO);
    };
    i.pending = Some((mp, me));
    bring_up_at(q, wq, at, id);
}

/// How an ioctl is answered.
pub(crate) enum Done {
    /// With these bytes.
    Data(Vec<u8>),
    /// When the provider has let this address of an interface come up.
    BringUp(u32, u16),
}

fn run<M: OnStack>(q: &mut Queue<'_, M>, cmd: i32, cred: Cred, data: &[u8]) -> Result<Done, Errno> {
    let set = matches!(
        cmd,
        SIOCADDRT
            | SIOCDELRT
            | SIOCSIFADDR
            | SIOCSIFDSTADDR
            | SIOCSIFFLAGS
            | SIOCSIFMTU
            | SIOCSIFBRDADDR
            | SIOCSIFNETMASK
            | SIOCSIFMETRIC
            | SIOCSARP
            | SIOCDARP
            | SIOCSIFMUXID
            | SIOCSIFINDEX
            | SIOCLIFADDIF
            | SIOCLIFREMOVEIF
            | ND_SET
    );
    if set {
        cred.require_priv()?;
    }
    let none = Ok(Done::Data(Vec::new()));
    match cmd {
        SIOCADDRT | SIOCDELRT => {
            route(q.shared(), cmd == SIOCADDRT, data)?;
            none
        }
        SIOCSARP | SIOCGARP | SIOCDARP => arp(q, cmd, data).map(Done::Data),
        SIOCGIFNUM => {
            let n = named(q.shared()).count() as u32;
            Ok(Done::Data(n.to_ne_bytes().to_vec()))
        }
        SIOCGIFCONF | O_SIOCGIFCONF => {
            let all = named(q.shared());
            let one = |(i, p): (&Ill, &Ipif)| ifreq(&i.name_of(p.id), &sockaddr_bytes(0, p.addr));
            Ok(Done::Data(all.flat_map(one).collect()))
        }
        SIOCLIFADDIF | SIOCLIFREMOVEIF => ifreq::logical(q, cmd, data).map(Done::Data),
        ND_GET | ND_SET => crate::ndd::nd(q.shared(), cmd == ND_SET, data).map(Done::Data),
        _ if (cmd as u32 >> 8) & 0xff == 0x69 => ifreq::interface(q, cmd, data),
        _ => Err(Errno::EINVAL),
    }
}

/// The addresses of all interfaces that have a name.
fn named(s: &Stack) -> impl Iterator<Item = (&Ill, &Ipif)> {
    let links = s.ills.iter().flatten().filter(|i| !i.name.is_empty());
    links.flat_map(|i| i.ipifs.iter().map(move |p| (i, p)))
}

/// SIOCADDRT, SIOCDELRT (rtentry).
fn route(s: &mut Stack, add: bool, b: &[u8]) -> Result<(), Errno> {
    if b.len() != RTENTRY {
        return Err(Errno::EINVAL);
    }
    let dst = sockaddr(&b[4..20]).ok_or(Errno::EAFNOSUPPORT)?.1;
    let gw = sockaddr(&b[20..36]).ok_or(Errno::EAFNOSUPPORT)?.1;
    let flags = u16::from_ne_bytes([b[36], b[37]]);
    // Beyond the structure of 2.6 there is no mask; its last word, unused there, has it.
    let given = u32::from_be_bytes([b[44], b[45], b[46], b[47]]);
    let mask = if flags & RTF_HOST != 0 {
        u32::MAX
    } else if dst == 0 {
        0
    } else if given != 0 {
        given
    } else {
        s.net_mask(dst)
    };
    if !add {
        let dst = dst & mask;
        return s
            .ires
            .delete(dst, mask, None, |i| match i.gateway {
                0 => i.src == gw,
                g => g == gw,
            })
            .map(|_| ());
    }
    if gw == 0 {
        return Err(Errno::ENETUNREACH);
    }
    // The gateway must be on a link of ours, or be one of our addresses (interface route).
    let id = s.ires.lookup(gw).ok_or(Errno::ENETUNREACH)?;
    let via = *s.ires.get(id);
    let reject = flags & (RTF_REJECT | RTF_BLACKHOLE);
    let (ill, ipif, gateway, kind) = match via.kind {
        IreKind::Local | IreKind::Loopback => {
            // The route is the address's own: of the first interface that has it up.
            let has = |at: u32| Some((at, s.ill(at)?.with_addr(gw)?.id));
            let mut ills = 0..s.ills.len() as u32;
            let (at, id) = ills.find_map(has).ok_or(Errno::ENETUNREACH)?;
            let noarp = s.ill(at).is_some_and(|i| i.flags & iff::NOARP != 0);
            let kind = match noarp {
                true => IreKind::IfNoResolver,
                false => IreKind::IfResolver,
            };
            (at, id, 0, kind)
        }
        IreKind::IfNoResolver | IreKind::IfResolver => {
            let kind = match mask {
                0 => IreKind::Default,
                u32::MAX => IreKind::Host,
                _ => IreKind::Prefix,
            };
            (via.ill, via.ipif, gw, kind)
        }
        _ => return Err(Errno::ENETUNREACH),
    };
    let p = s.ill(ill).and_then(|i| i.ipif(ipif));
    let (src, mtu) = p.map_or((0, IP_MIN_MTU), |p| (p.addr, p.mtu));
    let flags = flags & !RTF_UP | RTF_UP | reject | if gateway != 0 { RTF_GATEWAY } else { 0 };
    s.ires
        .add(Ire {
            kind,
            dst: dst & mask,
            mask,
            gateway,
            ill,
            ipif,
            src,
            flags,
            mtu,
        })
        .map(|_| ())
}

/// An rtentry for SIOCADDRT and SIOCDELRT.
pub fn rtentry(dst: u32, mask: u32, gateway: u32, flags: u16) -> Vec<u8> {
    let mut b = vec![0; RTENTRY];
    b[4..20].copy_from_slice(&sockaddr_bytes(0, dst));
    b[20..36].copy_from_slice(&sockaddr_bytes(0, gateway));
    let flags = if mask == u32::MAX {
        flags | RTF_HOST
    } else {
        flags
    };
    b[36..38].copy_from_slice(&flags.to_ne_bytes());
    b[44..48].copy_from_slice(&mask.to_be_bytes());
    b
}

/// SIOCSARP, SIOCGARP, SIOCDARP (arpreq).
fn arp<M: OnStack>(q: &mut Queue<'_, M>, cmd: i32, b: &[u8]) -> Result<Vec<u8>, Errno> {
    if b.len() != ARPREQ {
        return Err(Errno::EINVAL);
    }
    let addr = sockaddr(&b[..16]).ok_or(Errno::EAFNOSUPPORT)?.1;
    let flags = u32::from_ne_bytes([b[32], b[33], b[34], b[35]]);
    let s = q.shared();
    // The interface is the one whose net the address is on: a home agent answers there for a
    // node that it has a route to elsewhere.
    let able = |at| s.ill(at).is_some_and(|i| i.flags & iff::BROADCAST != 0);
    let at = s.ires.on_link(addr, able).ok_or(Errno::ENETUNREACH)?.ill;
    const PERM: u32 = 4;
    const PUBL: u32 = 8;
    match cmd {
        SIOCGARP => {
            let n = s.neighbours.get((at, addr)).ok_or(Errno::ENXIO)?;
            let mac = n.mac().ok_or(Errno::ENXIO)?;
            let mut out = b.to_vec();
            out[18..24].copy_from_slice(&mac);
            let f = 3 | if n.permanent { PERM } else { 0 } | if n.published { PUBL } else { 0 };
            out[32..36].copy_from_slice(&f.to_ne_bytes());
            Ok(out)
        }
        SIOCSARP => {
            let mac: [u8; 6] = b[18..24].try_into().map_err(|_| Errno::EINVAL)?;
            resolve::set_entry(
                q,
                at,
                addr,
                Some((mac, flags & PERM != 0, flags & PUBL != 0)),
            )?;
            if flags & PUBL != 0 {
                resolve::announce_for(q, at, addr);
            }
            Ok(Vec::new())
        }
        _ => resolve::set_entry(q, at, addr, None).map(|()| Vec::new()),
    }
}
