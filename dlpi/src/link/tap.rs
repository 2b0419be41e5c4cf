//! The host's TAP device: Ethernet frames to and from the host's own stack.
//!
//! ```text
//!   host (its address) ── tap0 ══ descriptor ══ Tap (our address) ──► provider
//! ```
//!
//! The two ends are two stations on one Ethernet, so the emulation has an address of its
//! own; the interface's address belongs to the host.
//!
//! Spec: the host kernel's tuntap.rst.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tun_tap::Mode;

use super::tun::{Device, TunOptions};
use super::{Event, Link, Medium, mac_from_name};
use crate::addr::Mac;

/// A TAP interface of the host.
pub struct Tap {
    dev: Device,
    mac: Mac,
}

impl Tap {
    /// Makes (or, if it persists, takes up) an interface. Without an address given, ours
    /// is made from the interface's name.
    ///
    /// # Errors
    /// As [`super::tun::Tun::open`].
    pub fn open(options: &TunOptions, mac: Option<Mac>) -> io::Result<Tap> {
        Device::open(options, Mode::Tap).map(|dev| Tap::over(dev, mac))
    }

    /// A TAP descriptor that somebody else has opened, without packet information.
    ///
    /// # Errors
    /// It is none, or a TUN's.
    pub fn from_fd(fd: OwnedFd, mac: Option<Mac>) -> io::Result<Tap> {
        Device::from_fd(fd, Mode::Tap).map(|dev| Tap::over(dev, mac))
    }

    fn over(dev: Device, mac: Option<Mac>) -> Tap {
        let mac = mac.unwrap_or_else(|| mac_from_name(&dev.name));
        Tap { dev, mac }
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.dev.name
    }
}

impl Link for Tap {
    fn medium(&self) -> Medium {
        Medium::Ether(self.mac)
    }
    fn mtu(&self) -> u32 {
        self.dev.watched.mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.dev.send(frame)
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.dev.recv(buf)
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.dev.file.as_fd())
    }
    fn polled(&self) -> bool {
        true
    }
    fn event(&mut self) -> Option<Event> {
        self.dev.event()
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        self.mac = *mac;
        Ok(())
    }
}
