//! A live Ethernet interface of the host, through a packet socket.
//!
//! ```text
//!   wire ── eth0 ──┬── the host's stack
//!                  └── packet socket ══ Packet ──► provider      both see what comes in
//! ```
//!
//! Spec: packet(7).
//! Kept: the interface's own address; group addresses and promiscuity are the socket's,
//! so they end with it.
//! Differs: the host's stack stays on the interface; give it no address there.
//! Not done: checksums and segments that the host left to its hardware are not filled in
//! (a veth's other end should have offload turned off); VLAN tags are stripped by the host.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Event, Link, Medium, Watched};
use crate::addr::Mac;
use crate::sys;

/// A packet socket on one interface.
pub struct Packet {
    file: File,
    socket: OwnedFd,
    index: i32,
    name: String,
    watched: Watched,
    mac: Mac,
    promiscuous: bool,
    /// The address is not the interface's: the host would filter it out.
    foreign: bool,
    /// Frames that the socket had no room for.
    lost: AtomicU64,
}

impl Packet {
    /// Opens a socket on an interface that there is.
    ///
    /// # Errors
    /// What the host says: EPERM without privilege, ENODEV, no Ethernet.
    pub fn open(name: &str) -> io::Result<Packet> {
        let mac = sys::hardware_address(name)?;
        let (socket, index) = sys::packet_socket(name)?;
        let file = File::from(socket.try_clone()?);
        Ok(Packet {
            file,
            socket,
            index,
            name: name.to_owned(),
            watched: Watched::now(name),
            mac,
            promiscuous: false,
            foreign: false,
            lost: AtomicU64::new(0),
        })
    }

    fn promisc(&mut self, on: bool) -> io::Result<()> {
        let on = on || self.foreign;
        if self.promiscuous != on {
            sys::packet_membership(&self.socket, self.index, None, on)?;
            self.promiscuous = on;
        }
        Ok(())
    }
}

impl Link for Packet {
    fn medium(&self) -> Medium {
        Medium::Ether(self.mac)
    }
    fn mtu(&self) -> u32 {
        self.watched.mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self.file.write(frame) {
            Ok(_) => Ok(()),
            // The interface's queue is full.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(e) => Err(e),
        }
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.read(buf) {
            Ok(n) => Ok(Some(n)),
            // Said once when the interface goes down; the socket is good again when it is up.
            Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
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
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
    fn lost(&self) -> u64 {
        // The host forgets what it has told.
        let more = sys::packet_drops(&self.socket).unwrap_or(0);
        self.lost.fetch_add(more.into(), Ordering::Relaxed) + u64::from(more)
    }
    fn polled(&self) -> bool {
        true
    }
    fn event(&mut self) -> Option<Event> {
        self.watched.event(&self.name)
    }
    fn multicast(&mut self, group: &Mac, on: bool) -> io::Result<()> {
        sys::packet_membership(&self.socket, self.index, Some(group), on)
    }
    fn promiscuous(&mut self, on: bool) -> io::Result<()> {
        self.promisc(on)
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        // The interface keeps its own: ours is a second station behind it.
        self.foreign = true;
        self.promisc(true)?;
        self.mac = *mac;
        Ok(())
    }
}
