//! The host's TUN device: bare IP packets to and from the host's own stack.
//!
//! ```text
//!   host's routes ──► tun0 (interface) ══ descriptor ══ Tun ──► provider
//! ```
//!
//! Opening makes the interface; a parent that may do so can hand over the descriptor
//! instead ([`Tun::from_fd`]), so that this program needs no privilege.
//!
//! Spec: the host kernel's tuntap.rst.
//! Kept: no packet information in front, non-blocking, point to point.
//! Not done: several queues, offload headers (IFF_VNET_HDR).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tun_tap::{Iface, Mode};

use super::{Event, Link, Medium, Watched};
use crate::sys;

/// How a TUN or TAP is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunOptions {
    /// The interface; `%d` in it becomes the first free number.
    pub name: String,
    /// Its MTU; `None` leaves the host's.
    pub mtu: Option<u32>,
    /// Brings the interface up.
    pub up: bool,
    /// It stays when this program ends. Otherwise an interface that somebody has made to stay
    /// does, and one that is made here goes.
    pub persist: bool,
    /// The host's IPv4 address on it, and its netmask.
    pub address: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl TunOptions {
    /// An interface of this name, brought up, with the host's MTU.
    pub fn named(name: &str) -> TunOptions {
        TunOptions {
            name: name.to_owned(),
            mtu: None,
            up: true,
            persist: false,
            address: None,
        }
    }
}

/// What TUN and TAP have in common.
pub(super) struct Device {
    pub file: File,
    pub name: String,
    pub watched: Watched,
}

impl Device {
    pub fn open(options: &TunOptions, mode: Mode) -> io::Result<Device> {
        // Longer names would be cut without a word.
        sys::check_name(&options.name)?;
        let iface = Iface::without_packet_info(&options.name, mode)?;
        let name = iface.name().to_owned();
        let fd = sys::own_fd(iface);
        if options.persist {
            sys::tun_persist(fd.as_fd(), true)?;
        }
        let dev = Device::adopt(fd, name)?;
        if let Some(mtu) = options.mtu {
            sys::set_mtu(&dev.name, mtu)?;
        }
        if let Some((addr, mask)) = options.address {
            sys::set_ipv4(&dev.name, addr, mask)?;
        }
        if options.up {
            sys::set_up(&dev.name, true)?;
        }
        let watched = Watched::now(&dev.name);
        Ok(Device { watched, ..dev })
    }

    /// A descriptor from elsewhere, which must be of this kind.
    pub fn from_fd(fd: OwnedFd, mode: Mode) -> io::Result<Device> {
        let (name, is_tap) = sys::tun_identity(fd.as_fd())?;
        if is_tap != (mode == Mode::Tap) {
            let why = format!("{name}: the descriptor is of the other kind (TUN, TAP)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Device::adopt(fd, name)
    }

    fn adopt(fd: OwnedFd, name: String) -> io::Result<Device> {
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Device {
            file: File::from(fd),
            watched: Watched::now(&name),
            name,
        })
    }

    /// One frame is one write.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write(frame).map(|_| ())
    }

    pub fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.read(buf) {
            Ok(0) => Ok(None), // the other end of a test's socket was closed
            Ok(n) => Ok(Some(n)),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Tells what the host has made of the interface: up, down, another MTU.
    pub fn event(&mut self) -> Option<Event> {
        self.watched.event(&self.name)
    }
}

/// A TUN interface of the host.
pub struct Tun(Device);

impl Tun {
    /// Makes (or, if it persists, takes up) the interface of this name, brought up.
    ///
    /// # Errors
    /// InvalidInput: the name. What the host says: PermissionDenied without
    /// CAP_NET_ADMIN, NotFound without `/dev/net/tun`, ResourceBusy.
    pub fn open(name: &str) -> io::Result<Tun> {
        Tun::with(&TunOptions::named(name))
    }

    /// The same as the options say.
    ///
    /// # Errors
    /// As [`Tun::open`].
    pub fn with(options: &TunOptions) -> io::Result<Tun> {
        Device::open(options, Mode::Tun).map(Tun)
    }

    /// A TUN descriptor that somebody else has opened, without packet information; a number
    /// that a parent has handed over becomes one by [`sys::duplicate`].
    ///
    /// # Errors
    /// It is none, or a TAP's.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Tun> {
        Device::from_fd(fd, Mode::Tun).map(Tun)
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Lets the interface stay when its last descriptor is closed, or no longer.
    ///
    /// # Errors
    /// PermissionDenied: it is another user's.
    pub fn persist(&self, on: bool) -> io::Result<()> {
        sys::tun_persist(self.0.file.as_fd(), on)
    }
}

impl Link for Tun {
    fn medium(&self) -> Medium {
        Medium::PointToPoint
    }
    fn mtu(&self) -> u32 {
        self.0.watched.mtu
    }
    #[inline]
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame)
    }
    #[inline]
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.0.recv(buf)
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.file.as_fd())
    }
    fn polled(&self) -> bool {
        true
    }
    fn event(&mut self) -> Option<Event> {
        self.0.event()
    }
}
