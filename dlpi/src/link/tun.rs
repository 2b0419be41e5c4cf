//! A Linux TUN device: the host's own IP stack is the other end.
//!
//! ```text
//!   provider.rs ─► write(2) ─► /dev/net/tun ─► the host routes it
//!               ◄─ read(2)  ◄─               ◄─ what the host routes to the interface
//! ```
//!
//! Spec: Linux Documentation/networking/tuntap. Frames are IP datagrams, no header.

use std::io;
use std::os::fd::BorrowedFd;

use tun_tap::{Iface, Mode};

use super::{Link, Medium};
use crate::sys::borrow_fd;

/// Longest interface name (IFNAMSIZ without its NUL).
const NAME: usize = 15;

/// An open TUN device.
pub struct Tun {
    iface: Iface,
    mtu: u32,
}

impl Tun {
    /// Opens, or makes, the interface of this name.
    ///
    /// # Errors
    /// `InvalidInput`: the name is empty or longer than 15 bytes. Else the host's:
    /// `PermissionDenied` without CAP_NET_ADMIN, `NotFound` without /dev/net/tun.
    pub fn open(name: &str) -> io::Result<Tun> {
        if name.is_empty() || name.len() > NAME {
            let text = format!("TUN interface name {name:?}: 1 to {NAME} bytes are allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let iface = Iface::without_packet_info(name, Mode::Tun)?;
        iface.set_non_blocking()?;
        let path = format!("/sys/class/net/{}/mtu", iface.name());
        let mtu = std::fs::read_to_string(path)
            .ok()
            .and_then(|t| t.trim().parse().ok());
        Ok(Tun {
            mtu: mtu.unwrap_or(1500),
            iface,
        })
    }
}

impl Link for Tun {
    fn medium(&self) -> Medium {
        Medium::PointToPoint
    }
    fn mtu(&self) -> u32 {
        self.mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.iface.send(frame).map(|_| ())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.iface.recv(buf) {
            Ok(n) => Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(borrow_fd(&self.iface))
    }
}
