//! The only unsafe code: descriptors and their ioctls, each block with its reason.
//!
//! Everything here takes and returns plain values or owned descriptors; no pointer
//! leaves a function.
//!
//! Spec: netdevice(7), packet(7), ioctl_tun of the host's kernel (tuntap.rst).
#![allow(unsafe_code)] // the crate denies it everywhere else

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use crate::addr::Mac;

/// Takes over the descriptor of something that only gives it away raw.
pub fn own_fd(from: impl IntoRawFd) -> OwnedFd {
    // SAFETY: into_raw_fd gives up ownership of an open descriptor, so nobody else closes it.
    unsafe { OwnedFd::from_raw_fd(from.into_raw_fd()) }
}

/// A descriptor of our own for what a descriptor number of this process means: one that a
/// parent has handed over. The number stays open.
pub fn duplicate(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes integers, and refuses a number that is not open.
    let fd = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(r: c_int) -> io::Result<c_int> {
    if r < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(r)
    }
}

/// O_NONBLOCK on.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointer; the descriptor is open as long as it is borrowed.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes an integer; the descriptor as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// An interface name that fits `ifr_name` and that the kernel takes (dev_valid_name):
/// EINVAL or ENAMETOOLONG in words.
pub fn check_name(name: &str) -> io::Result<()> {
    let bad = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("interface name {name:?}: {why}"),
        ))
    };
    if name.len() >= libc::IFNAMSIZ {
        return bad("longer than 15 bytes");
    }
    if name.is_empty() || name == "." || name == ".." {
        return bad("not a name");
    }
    if name
        .bytes()
        .any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0)
    {
        return bad("has a slash, a colon or a blank");
    }
    Ok(())
}

/// An `ifreq` with this name and nothing else.
fn ifreq(name: &str) -> io::Result<libc::ifreq> {
    check_name(name)?;
    // SAFETY: ifreq is a C structure of integers, arrays and a union of such; all zeros is one.
    let mut r: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, b) in r.ifr_name.iter_mut().zip(name.bytes()) {
        *to = b as libc::c_char;
    }
    Ok(r)
}

/// A socket to send interface ioctls through.
fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes integers only.
    let fd =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An interface ioctl: the kernel reads and writes the ifreq.
fn ifioctl(request: libc::c_ulong, r: &mut libc::ifreq) -> io::Result<()> {
    let s = control_socket()?;
    // SAFETY: every request used here takes a pointer to one ifreq, which `r` is for the
    // length of the call; the kernel writes no further than its size.
    check(unsafe { libc::ioctl(s.as_raw_fd(), request as _, std::ptr::from_mut(r)) })?;
    Ok(())
}

/// SIOCGIFMTU.
pub fn mtu(name: &str) -> io::Result<u32> {
    let mut r = ifreq(name)?;
    ifioctl(libc::SIOCGIFMTU as _, &mut r)?;
    // SAFETY: SIOCGIFMTU has just filled in this member of the union; any bits are an int.
    let mtu = unsafe { r.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// SIOCSIFMTU.
pub fn set_mtu(name: &str, mtu: u32) -> io::Result<()> {
    let mut r = ifreq(name)?;
    r.ifr_ifru.ifru_mtu = c_int::try_from(mtu).map_err(|_| io::ErrorKind::InvalidInput)?;
    ifioctl(libc::SIOCSIFMTU as _, &mut r)
}

/// Is an interface up, with a carrier (IFF_UP and IFF_RUNNING)?
pub fn is_running(name: &str) -> io::Result<bool> {
    let mut r = ifreq(name)?;
    ifioctl(libc::SIOCGIFFLAGS as _, &mut r)?;
    // SAFETY: SIOCGIFFLAGS has just filled in this member of the union; any bits are a short.
    let flags = c_int::from(unsafe { r.ifr_ifru.ifru_flags });
    let both = libc::IFF_UP | libc::IFF_RUNNING;
    Ok(flags & both == both)
}

/// Brings an interface up or down.
pub fn set_up(name: &str, up: bool) -> io::Result<()> {
    let mut r = ifreq(name)?;
    ifioctl(libc::SIOCGIFFLAGS as _, &mut r)?;
    // SAFETY: SIOCGIFFLAGS has just filled in this member of the union; any bits are a short.
    let flags = unsafe { r.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    r.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
    ifioctl(libc::SIOCSIFFLAGS as _, &mut r)
}

/// An interface's IPv4 address and netmask (SIOCSIFADDR, SIOCSIFNETMASK).
pub fn set_ipv4(name: &str, addr: Ipv4Addr, mask: Ipv4Addr) -> io::Result<()> {
    for (request, a) in [(libc::SIOCSIFADDR, addr), (libc::SIOCSIFNETMASK, mask)] {
        let mut r = ifreq(name)?;
        // sockaddr_in: the port, then the address.
        let mut sa_data = [0; 14];
        for (to, b) in sa_data[2..].iter_mut().zip(a.octets()) {
            *to = b as libc::c_char;
        }
        r.ifr_ifru.ifru_addr = libc::sockaddr {
            sa_family: libc::AF_INET as libc::sa_family_t,
            sa_data,
        };
        ifioctl(request as _, &mut r)?;
    }
    Ok(())
}

/// The Ethernet address of an interface (SIOCGIFHWADDR).
pub fn hardware_address(name: &str) -> io::Result<Mac> {
    let mut r = ifreq(name)?;
    ifioctl(libc::SIOCGIFHWADDR as _, &mut r)?;
    // SAFETY: SIOCGIFHWADDR has just filled in this member; sockaddr is integers throughout.
    let sa = unsafe { r.ifr_ifru.ifru_hwaddr };
    if sa.sa_family != libc::ARPHRD_ETHER {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{name} is no Ethernet"),
        ));
    }
    let mut mac = [0; 6];
    for (to, b) in mac.iter_mut().zip(sa.sa_data) {
        *to = b as u8;
    }
    Ok(mac)
}

/// TUNSETPERSIST: the interface stays when the descriptor is closed.
pub fn tun_persist(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes its argument as an integer, not a pointer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETPERSIST as _, c_int::from(on)) })?;
    Ok(())
}

/// What a TUN or TAP descriptor is: its name, and whether it is a TAP; an error if it
/// puts packet information in front of frames, or is no such descriptor.
pub fn tun_identity(fd: BorrowedFd<'_>) -> io::Result<(String, bool)> {
    let mut r = ifreq("x")?;
    // SAFETY: TUNGETIFF writes one ifreq to where it is pointed, which `r` is.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNGETIFF as _,
            std::ptr::from_mut(&mut r),
        )
    })?;
    // SAFETY: TUNGETIFF has just filled in this member of the union; any bits are a short.
    let flags = c_int::from(unsafe { r.ifr_ifru.ifru_flags });
    if flags & libc::IFF_NO_PI == 0 {
        let why = "the descriptor was opened with packet information (without IFF_NO_PI)";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let name = r
        .ifr_name
        .iter()
        .take_while(|c| **c != 0)
        .map(|c| *c as u8)
        .collect();
    let name = String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((name, flags & libc::IFF_TAP != 0))
}

/// The number of an interface.
fn if_index(name: &str) -> io::Result<c_int> {
    let mut r = ifreq(name)?;
    ifioctl(libc::SIOCGIFINDEX as _, &mut r)?;
    // SAFETY: SIOCGIFINDEX has just filled in this member of the union; any bits are an int.
    Ok(unsafe { r.ifr_ifru.ifru_ifindex })
}

/// A packet socket on one interface, non-blocking, that doesn't see what it sends itself.
pub fn packet_socket(name: &str) -> io::Result<(OwnedFd, c_int)> {
    let index = if_index(name)?;
    let all = (libc::ETH_P_ALL as u16).to_be();
    let ty = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // Protocol 0 until it is bound: else it would take frames of every interface first.
    // SAFETY: socket(2) takes integers only.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, ty, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(&fd, libc::PACKET_IGNORE_OUTGOING, &1)?;
    // SAFETY: sockaddr_ll is integers and an array of them; all zeros is one.
    let mut sa: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    sa.sll_family = libc::AF_PACKET as u16;
    sa.sll_protocol = all;
    sa.sll_ifindex = index;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_ll of the length given, alive during the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&sa).cast(), len) })?;
    Ok((fd, index))
}

/// setsockopt(2) at SOL_PACKET with a plain value.
fn set_option<T: Copy>(fd: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    let at = std::ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `len` bytes from `at`, which are those of `value`.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, at, len) })?;
    Ok(())
}

/// PACKET_STATISTICS: frames that a packet socket had no room for since the last time it was
/// asked.
pub fn packet_drops(fd: &OwnedFd) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    let at = std::ptr::from_mut(&mut stats).cast();
    // SAFETY: the kernel writes at most `len` bytes to `at`, which are those of `stats`, two
    // integers, and to `len`; both live during the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            at,
            &mut len,
        )
    })?;
    Ok(stats.tp_drops)
}

/// Adds or drops what a packet socket receives: a group, or everything (`None`).
pub fn packet_membership(
    fd: &OwnedFd,
    index: c_int,
    group: Option<&Mac>,
    on: bool,
) -> io::Result<()> {
    let mut address = [0; 8];
    let (kind, alen) = match group {
        Some(mac) => {
            address[..6].copy_from_slice(mac);
            (libc::PACKET_MR_MULTICAST, 6)
        }
        None => (libc::PACKET_MR_PROMISC, 0),
    };
    let mreq = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: kind as u16,
        mr_alen: alen,
        mr_address: address,
    };
    let option = if on {
        libc::PACKET_ADD_MEMBERSHIP
    } else {
        libc::PACKET_DROP_MEMBERSHIP
    };
    set_option(fd, option, &mreq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_they_are_cut() {
        for good in ["tun0", "a", "fifteen-letters"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "sixteen--letters",
            "a/b",
            "a b",
            "a:1",
            "a\0",
            "a\n",
        ] {
            let e = check_name(bad).expect_err(bad);
            assert_eq!(e.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(mtu("no-such-link0").is_err());
        assert!(set_up("no-such-link0", true).is_err());
        let any = Ipv4Addr::LOCALHOST;
        assert!(set_ipv4("no-such-link0", any, any).is_err());
        assert!(duplicate(-1).is_err() && duplicate(999_999).is_err());
        assert!(hardware_address("no-such-link0").is_err());
        assert!(packet_socket("no-such-link0").is_err());
        assert!(
            hardware_address("lo").is_err(),
            "the loopback has no Ethernet address"
        );
        let pipe = std::io::pipe().expect("a pipe");
        assert!(tun_identity(std::os::fd::AsFd::as_fd(&pipe.0)).is_err());
        assert!(set_nonblocking(std::os::fd::AsFd::as_fd(&pipe.0)).is_ok());
    }
}
