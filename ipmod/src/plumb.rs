//! The user's side: plumb an interface, give it an address, add routes, list them.
//!
//! ```text
//!   open /dev/le ─ I_PUSH ip ─ IF_UNITSEL ──┐
//!   open /dev/le ─ I_PUSH arp ─ SIOCSLIFNAME ├─ I_PLINK under /dev/udp ─ SIOCSIFMUXID ─ close all
//! ```
//!
//! Every function is a few system calls, as in ifconfig(1M) and route(1M); nothing here
//! knows the emulation.
//!
//! Spec: ifconfig(1M), route(1M), the reference's ip-tpi section 6.

use std::net::Ipv4Addr;

use streams::{Errno, Ioctl, StrIoctl, Sys, oflag};

use crate::ill::iff;
use crate::ioctl::{self, ifreq, rtentry};
use crate::tpi::{sockaddr, sockaddr_bytes};

/// The node that interfaces are linked under.
pub const MUX: &str = "/dev/udp";

/// A line of `ifconfig -a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// IFF bits.
    pub flags: u16,
    /// Largest datagram, bytes.
    pub mtu: u32,
    /// Its address.
    pub addr: Ipv4Addr,
    /// Netmask.
    pub mask: Ipv4Addr,
    /// Broadcast address.
    pub broadcast: Ipv4Addr,
    /// Far end of a point-to-point link.
    pub dst: Ipv4Addr,
    /// Link address, or `-`.
    pub mac: String,
    /// Whether it is `ours` alone, `probing` or a `duplicate`; `-` without ARP or down.
    pub claim: String,
}

/// A line of `netstat -r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub dst: Ipv4Addr,
    /// Mask.
    pub mask: Ipv4Addr,
    /// Gateway, or the interface's own address.
    pub gateway: Ipv4Addr,
    /// Interface; `-` for none.
    pub interface: String,
    /// Kind, such as `Prefix`.
    pub kind: String,
    /// RTF bits.
    pub flags: u16,
    /// Largest datagram, bytes.
    pub mtu: u32,
}

/// A line of `arp -a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpEntry {
    /// Interface.
    pub interface: String,
    /// Address.
    pub addr: Ipv4Addr,
    /// Link address, or `incomplete`.
    pub mac: String,
    /// S static, P published, U unresolved.
    pub flags: String,
}

/// A line of `netstat -g`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Interface.
    pub interface: String,
    /// The group.
    pub group: Ipv4Addr,
    /// How many streams have joined it; one more for 224.0.0.1.
    pub references: u32,
    /// INCLUDE or EXCLUDE.
    pub mode: String,
    /// The sources that are included or excluded.
    pub sources: Vec<Ipv4Addr>,
}

/// Closes a descriptor when it goes out of scope: plumbing must not leak on an error.
struct Fd<'a>(&'a dyn Sys, i32);
impl Drop for Fd<'_> {
    fn drop(&mut self) {
        let _ = self.0.close(self.1); // it may have been closed already
    }
}

fn open<'a>(sys: &'a dyn Sys, path: &str) -> Result<Fd<'a>, Errno> {
    Ok(Fd(sys, sys.open(path, oflag::O_RDWR)?))
}

fn i_str(sys: &dyn Sys, fd: i32, cmd: i32, data: &[u8]) -> Result<Vec<u8>, Errno> {
    sys.ioctl(
        fd,
        Ioctl::Str(StrIoctl {
            cmd,
            timeout: 0,
            data: data.to_vec(),
        }),
    )
    .map(|r| r.data)
}

/// Plumbs an interface: PPA `ppa` of the device at `path`, with `modules` pushed on the
/// device before ip (vtunl, say). Returns its name.
///
/// # Errors
/// Those of open(2), I_PUSH, IF_UNITSEL (EEXIST: the interface is there) and I_PLINK.
pub fn plumb(sys: &dyn Sys, path: &str, modules: &[&str], ppa: u32) -> Result<String, Errno> {
    let dev = open(sys, path)?;
    for m in modules {
        sys.push(dev.1, m)?;
    }
    plumb_fd(sys, dev.1, path, ppa)
}

/// Plumbs the stream behind a descriptor, which may have been configured already, as far
/// as ip. `path` is opened again for ARP. The descriptor stays the caller's.
///
/// # Errors
/// As [`plumb`].
pub fn plumb_fd(sys: &dyn Sys, fd: i32, path: &str, ppa: u32) -> Result<String, Errno> {
    sys.push(fd, "ip")?;
    i_str(sys, fd, ioctl::IF_UNITSEL, &ppa.to_ne_bytes())?;
    let flags = i_str(sys, fd, ioctl::SIOCGIFFLAGS, &ifreq("", &[]))?;
    let name = ioctl::name_of(&flags);
    let bits = u16::from_ne_bytes([flags[16], flags[17]]);
    let mux = open(sys, MUX)?;
    let ip_id = sys.ioctl(mux.1, Ioctl::Plink(fd))?.rval;
    let arp_id = if bits & iff::BROADCAST != 0 {
        match plumb_arp(sys, mux.1, path, &name) {
            Ok(id) => id,
            Err(e) => {
                let _ = sys.ioctl(mux.1, Ioctl::Punlink(ip_id)); // back to where we were
                return Err(e);
            }
        }
    } else {
        0
    };
    let ids = [ip_id.to_ne_bytes(), arp_id.to_ne_bytes()].concat();
    i_str(sys, mux.1, ioctl::SIOCSIFMUXID, &ifreq(&name, &ids))?;
    Ok(name)
}

fn plumb_arp(sys: &dyn Sys, mux: i32, path: &str, name: &str) -> Result<i32, Errno> {
    let dev = open(sys, path)?;
    sys.push(dev.1, "arp")?;
    i_str(sys, dev.1, ioctl::SIOCSLIFNAME, &ifreq(name, &[]))?;
    Ok(sys.ioctl(mux, Ioctl::Plink(dev.1))?.rval)
}

/// Unplumbs an interface: its links are undone and its streams close. Of a logical one
/// (`le0:1`) only the address goes.
///
/// # Errors
/// ENXIO no such interface; EPERM.
pub fn unplumb(sys: &dyn Sys, name: &str) -> Result<(), Errno> {
    if name.contains(':') {
        return remove_logical(sys, name, None);
    }
    let mux = open(sys, MUX)?;
    let b = i_str(sys, mux.1, ioctl::SIOCGIFMUXID, &ifreq(name, &[]))?;
    let id = |at: usize| i32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    let (ip, arp) = (id(16), id(20));
    set_flags(sys, name, 0, iff::UP)?;
    if arp != 0 {
        sys.ioctl(mux.1, Ioctl::Punlink(arp))?;
    }
    sys.ioctl(mux.1, Ioctl::Punlink(ip)).map(|_| ())
}

fn set(sys: &dyn Sys, cmd: i32, name: &str, union: &[u8]) -> Result<Vec<u8>, Errno> {
    let fd = open(sys, MUX)?;
    i_str(sys, fd.1, cmd, &ifreq(name, union))
}

/// SIOCLIFADDIF: another address for an interface, which is down at first. Its name.
///
/// # Errors
/// ENXIO no such interface; ENOBUFS: it has `ip_addrs_per_if` of them; EADDRNOTAVAIL not a
/// host's address; EPERM.
pub fn add_logical(sys: &dyn Sys, name: &str, a: Ipv4Addr) -> Result<String, Errno> {
    let fd = open(sys, MUX)?;
    let req = ioctl::lifreq(name, &sockaddr_bytes(0, a.into()));
    let made = i_str(sys, fd.1, ioctl::SIOCLIFADDIF, &req)?;
    Ok(ioctl::name_of(&made))
}

/// SIOCLIFREMOVEIF: takes an interface's address away, or the logical interface of that name.
///
/// # Errors
/// ENXIO no such interface; EADDRNOTAVAIL it has no such address; EINVAL it is the
/// interface's first; EPERM.
pub fn remove_logical(sys: &dyn Sys, name: &str, a: Option<Ipv4Addr>) -> Result<(), Errno> {
    let fd = open(sys, MUX)?;
    let addr = a.map(|a| sockaddr_bytes(0, a.into()));
    let union = addr.as_ref().map_or(&[][..], |b| b);
    let req = ioctl::lifreq(name, union);
    i_str(sys, fd.1, ioctl::SIOCLIFREMOVEIF, &req).map(|_| ())
}

fn set_addr(sys: &dyn Sys, cmd: i32, name: &str, a: Ipv4Addr) -> Result<(), Errno> {
    set(sys, cmd, name, &sockaddr_bytes(0, a.into())).map(|_| ())
}

/// SIOCSIFADDR.
///
/// # Errors
/// ENXIO no such interface; EADDRNOTAVAIL not a host's address; EPERM.
pub fn set_address(sys: &dyn Sys, name: &str, a: Ipv4Addr) -> Result<(), Errno> {
    set_addr(sys, ioctl::SIOCSIFADDR, name, a)
}

/// SIOCSIFDSTADDR.
///
/// # Errors
/// EINVAL: not point-to-point; as [`set_address`].
pub fn set_destination(sys: &dyn Sys, name: &str, a: Ipv4Addr) -> Result<(), Errno> {
    set_addr(sys, ioctl::SIOCSIFDSTADDR, name, a)
}

/// SIOCSIFNETMASK.
///
/// # Errors
/// EINVAL: the ones are not together; as [`set_address`].
pub fn set_netmask(sys: &dyn Sys, name: &str, a: Ipv4Addr) -> Result<(), Errno> {
    set_addr(sys, ioctl::SIOCSIFNETMASK, name, a)
}

/// SIOCSIFBRDADDR.
///
/// # Errors
/// EADDRNOTAVAIL: no broadcast link; as [`set_address`].
pub fn set_broadcast(sys: &dyn Sys, name: &str, a: Ipv4Addr) -> Result<(), Errno> {
    set_addr(sys, ioctl::SIOCSIFBRDADDR, name, a)
}

/// SIOCSIFMTU.
///
/// # Errors
/// EINVAL: below 68 or above what the link takes; ENXIO; EPERM.
pub fn set_mtu(sys: &dyn Sys, name: &str, mtu: u32) -> Result<(), Errno> {
    set(sys, ioctl::SIOCSIFMTU, name, &mtu.to_ne_bytes()).map(|_| ())
}

/// SIOCGIFFLAGS.
///
/// # Errors
/// ENXIO no such interface.
pub fn flags(sys: &dyn Sys, name: &str) -> Result<u16, Errno> {
    let b = set(sys, ioctl::SIOCGIFFLAGS, name, &[])?;
    Ok(u16::from_ne_bytes([b[16], b[17]]))
}

/// SIOCSIFFLAGS: sets and clears bits.
///
/// # Errors
/// EINVAL: point-to-point without a destination; EADDRNOTAVAIL: the address is up
/// elsewhere; what the data link says; ENXIO; EPERM.
pub fn set_flags(sys: &dyn Sys, name: &str, on: u16, off: u16) -> Result<(), Errno> {
    let now = flags(sys, name)?;
    set(
        sys,
        ioctl::SIOCSIFFLAGS,
        name,
        &(now & !off | on).to_ne_bytes(),
    )
    .map(|_| ())
}

/// Up.
///
/// # Errors
/// As [`set_flags`].
pub fn up(sys: &dyn Sys, name: &str) -> Result<(), Errno> {
    set_flags(sys, name, iff::UP, 0)
}

/// Down.
///
/// # Errors
/// As [`set_flags`].
pub fn down(sys: &dyn Sys, name: &str) -> Result<(), Errno> {
    set_flags(sys, name, 0, iff::UP)
}

/// SIOCADDRT. A gateway that is one of this host's addresses makes an interface route.
///
/// # Errors
/// ENETUNREACH: the gateway is on no link of ours; EEXIST; EPERM.
pub fn route_add(
    sys: &dyn Sys,
    dst: Ipv4Addr,
    mask: Ipv4Addr,
    gateway: Ipv4Addr,
    flags: u16,
) -> Result<(), Errno> {
    route(sys, ioctl::SIOCADDRT, dst, mask, gateway, flags)
}

/// SIOCDELRT.
///
/// # Errors
/// ESRCH: no such route; EPERM.
pub fn route_delete(
    sys: &dyn Sys,
    dst: Ipv4Addr,
    mask: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<(), Errno> {
    route(sys, ioctl::SIOCDELRT, dst, mask, gateway, 0)
}

fn route(
    sys: &dyn Sys,
    cmd: i32,
    dst: Ipv4Addr,
    mask: Ipv4Addr,
    gw: Ipv4Addr,
    flags: u16,
) -> Result<(), Errno> {
    let fd = open(sys, MUX)?;
    i_str(
        sys,
        fd.1,
        cmd,
        &rtentry(dst.into(), mask.into(), gw.into(), flags),
    )
    .map(|_| ())
}

/// ndd -get.
///
/// # Errors
/// ENOENT: no such parameter.
pub fn nd_get(sys: &dyn Sys, name: &str) -> Result<String, Errno> {
    let fd = open(sys, MUX)?;
    let b = i_str(sys, fd.1, ioctl::ND_GET, &[name.as_bytes(), &[0]].concat())?;
    Ok(String::from_utf8_lossy(&b).into_owned())
}

/// ndd -set.
///
/// # Errors
/// ENOENT no such parameter, EINVAL no such value, EPERM.
pub fn nd_set(sys: &dyn Sys, name: &str, value: &str) -> Result<(), Errno> {
    let fd = open(sys, MUX)?;
    let data = [name.as_bytes(), &[0], value.as_bytes(), &[0]].concat();
    i_str(sys, fd.1, ioctl::ND_SET, &data).map(|_| ())
}

/// Splits a report of ndd into lines of words, each line read by `f`.
fn report<T>(sys: &dyn Sys, name: &str, f: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, Errno> {
    let text = nd_get(sys, name)?;
    let line = |l: &str| f(&l.split(' ').collect::<Vec<_>>()).ok_or(Errno::EPROTO);
    text.lines().map(line).collect()
}

/// Every interface.
///
/// # Errors
/// Those of open(2) on /dev/udp.
pub fn interfaces(sys: &dyn Sys) -> Result<Vec<Interface>, Errno> {
    report(sys, "ip_ipif_status", |w| {
        let a = |i: usize| w.get(i)?.parse().ok();
        Some(Interface {
            name: (*w.first()?).to_owned(),
            flags: u16::from_str_radix(w.get(1)?, 16).ok()?,
            mtu: w.get(2)?.parse().ok()?,
            addr: a(3)?,
            mask: a(4)?,
            broadcast: a(5)?,
            dst: a(6)?,
            mac: (*w.get(7)?).to_owned(),
            claim: (*w.get(9)?).to_owned(),
        })
    })
}

/// Every route.
///
/// # Errors
/// As [`interfaces`].
pub fn routes(sys: &dyn Sys) -> Result<Vec<Route>, Errno> {
    report(sys, "ip_ire_status", |w| {
        Some(Route {
            dst: w.first()?.parse().ok()?,
            mask: w.get(1)?.parse().ok()?,
            gateway: w.get(2)?.parse().ok()?,
            interface: (*w.get(3)?).to_owned(),
            kind: (*w.get(4)?).to_owned(),
            flags: u16::from_str_radix(w.get(5)?, 16).ok()?,
            mtu: w.get(6)?.parse().ok()?,
        })
    })
}

/// The path MTUs that routers have said, by destination (RFC 1191).
///
/// # Errors
/// As [`interfaces`].
pub fn path_mtus(sys: &dyn Sys) -> Result<Vec<(Ipv4Addr, u32)>, Errno> {
    report(sys, "ip_pmtu_status", |w| {
        Some((w.first()?.parse().ok()?, w.get(1)?.parse().ok()?))
    })
}

/// The ARP table.
///
/// # Errors
/// As [`interfaces`].
pub fn arp_table(sys: &dyn Sys) -> Result<Vec<ArpEntry>, Errno> {
    report(sys, "arp_cache_status", |w| {
        Some(ArpEntry {
            interface: (*w.first()?).to_owned(),
            addr: w.get(1)?.parse().ok()?,
            mac: (*w.get(2)?).to_owned(),
            flags: (*w.get(3)?).to_owned(),
        })
    })
}

/// Every group that is received (`netstat -g`).
///
/// # Errors
/// As [`interfaces`].
pub fn groups(sys: &dyn Sys) -> Result<Vec<Group>, Errno> {
    report(sys, "ip_group_status", |w| {
        let sources = match *w.get(4)? {
            "-" => Vec::new(),
            all => all
                .split(',')
                .map(|a| a.parse().ok())
                .collect::<Option<_>>()?,
        };
        Some(Group {
            interface: (*w.first()?).to_owned(),
            group: w.get(1)?.parse().ok()?,
            references: w.get(2)?.parse().ok()?,
            mode: (*w.get(3)?).to_owned(),
            sources,
        })
    })
}

/// The counters of netstat -s, by name.
///
/// # Errors
/// As [`interfaces`].
pub fn counters(sys: &dyn Sys) -> Result<Vec<(String, u64)>, Errno> {
    report(sys, "ip_mib", |w| {
        Some(((*w.first()?).to_owned(), w.get(1)?.parse().ok()?))
    })
}

/// An ARP entry: SIOCSARP (`mac` given) or SIOCDARP.
///
/// # Errors
/// ENETUNREACH: the address is on no link of ours; ENXIO: no such entry; EPERM.
pub fn arp_set(
    sys: &dyn Sys,
    addr: Ipv4Addr,
    mac: Option<[u8; 6]>,
    permanent: bool,
    publish: bool,
) -> Result<(), Errno> {
    let mut b = vec![0; ioctl::ARPREQ];
    b[..16].copy_from_slice(&sockaddr_bytes(0, addr.into()));
    if let Some(m) = mac {
        b[18..24].copy_from_slice(&m);
    }
    let flags = 3u32 | if permanent { 4 } else { 0 } | if publish { 8 } else { 0 };
    b[32..36].copy_from_slice(&flags.to_ne_bytes());
    let fd = open(sys, MUX)?;
    let cmd = if mac.is_some() {
        ioctl::SIOCSARP
    } else {
        ioctl::SIOCDARP
    };
    i_str(sys, fd.1, cmd, &b).map(|_| ())
}

/// The address of an interface (SIOCGIFADDR).
///
/// # Errors
/// ENXIO no such interface.
pub fn address(sys: &dyn Sys, name: &str) -> Result<Ipv4Addr, Errno> {
    let b = set(sys, ioctl::SIOCGIFADDR, name, &[])?;
    sockaddr(&b[16..32])
        .map(|a| a.1.into())
        .ok_or(Errno::EPROTO)
}
