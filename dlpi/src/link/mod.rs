//! What is below a provider: something that takes and gives frames.
//!
//! ```text
//!   provider.rs ── send(frame) ──► Link ──► TUN, wire, capture file
//!               ◄── recv(buf) ──   ▲ readable: its descriptor, or its doorbell
//! ```
//!
//! A backend author writes [`Link`]; the DLPI driver is common to all.

pub mod null;
pub mod pcap;
pub mod tun;
pub mod wire;

use std::io;
use std::os::fd::BorrowedFd;

use streams::Doorbell;

/// What kind of link it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Frames are IP datagrams; there is one other end.
    PointToPoint,
    /// Frames are Ethernet II; this is our address.
    Ether([u8; 6]),
}

/// A link. `send` and `recv` never block.
pub trait Link: Send {
    /// Its kind.
    fn medium(&self) -> Medium;
    /// Largest datagram, bytes, without the link's header.
    fn mtu(&self) -> u32;
    /// Sends one whole frame.
    ///
    /// # Errors
    /// The host's; `WouldBlock` if there is no room now.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
    /// Takes the next frame into `buf`: its bytes, or `None` if there is none now.
    ///
    /// # Errors
    /// The host's; the link is then dead.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>>;
    /// The descriptor that becomes readable with a frame, if there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// For a link without a descriptor: rung when there are frames.
    fn attach(&mut self, _bell: Doorbell) {}
}

/// Makes the link of a PPA at its first attach.
pub type Factory = Box<dyn FnMut(u32) -> io::Result<Box<dyn Link>> + Send>;
