//! What is below the driver: one small trait for whoever brings a link.
//!
//! ```text
//!   provider ── send(frame) ──► Link ──► descriptor, capture, wire
//!   provider ◄─ recv(buffer) ── Link ◄──
//!        ▲                        │
//!        └── interrupt ◄─ doorbell┘     or fd() becomes readable
//! ```
//!
//! An Ethernet has an address and its frames begin with a header; a point-to-point link
//! carries bare IP packets. It never blocks: `send` that would answers WouldBlock and the
//! driver keeps the frame, `recv` that would answers `None`.
//!
//! Spec: none; this is the emulation's own boundary, where Solaris has the hardware.

pub mod capture;
pub mod fault;
pub mod null;
pub mod packet;
pub mod pcap;
pub mod roam;
pub mod tap;
pub mod tun;
pub mod wire;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use streams::Doorbell;

use crate::addr::Mac;
use crate::prim::mac;
use crate::sys;

/// What kind of link it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Frames are IP datagrams; there is one other end.
    PointToPoint,
    /// Frames begin with an Ethernet header; this is our address.
    Ether(Mac),
}

impl Medium {
    /// Our address, if there are addresses.
    pub fn address(self) -> Option<Mac> {
        match self {
            Medium::Ether(mac) => Some(mac),
            Medium::PointToPoint => None,
        }
    }
}

/// Makes the link of a PPA at its first attach.
///
/// An error of kind NotFound is DL_BADPPA, PermissionDenied DL_ACCESS, NotConnected
/// DL_NOTINIT, any other DL_INITFAILED; each with its UNIX error.
pub type Factory = Box<dyn FnMut(u32) -> io::Result<Box<dyn Link>> + Send>;

/// Something that happened to a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It came up.
    Up,
    /// It went down.
    Down,
    /// Its MTU is this now.
    Mtu(u32),
}

/// A link: what a backend author writes. The first four have no default.
pub trait Link: Send {
    /// Its kind, and its address as it is now.
    fn medium(&self) -> Medium;

    /// The largest payload of a frame, without a link header.
    fn mtu(&self) -> u32;

    /// Sends one whole frame.
    ///
    /// # Errors
    /// WouldBlock: not now, and nothing was sent; the driver tries again after a ring or a
    /// millisecond. Any other error loses the frame, counted.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;

    /// Receives one frame into `buf`: its length, or `None` if there is none now. A
    /// frame that is longer than `buf` is cut and its length in `buf` is all of `buf`.
    ///
    /// # Errors
    /// The link is broken: the driver stops reading until it is rung.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>>;

    /// The descriptor that becomes readable when a frame is there.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// For a link without a descriptor: to be rung when `recv` has something again.
    fn attach(&mut self, _bell: Doorbell) {}

    /// `dl_mac_type`.
    fn mac_type(&self) -> u32 {
        match self.medium() {
            Medium::Ether(_) => mac::DL_ETHER,
            Medium::PointToPoint => mac::DL_OTHER,
        }
    }

    /// This link looks at the time: [`Link::tick`] is called before `send` and `recv`.
    fn timed(&self) -> bool {
        false
    }

    /// The time, since the kernel was made. Returns when to be called again.
    fn tick(&mut self, _now: Duration) -> Option<Duration> {
        None
    }

    /// What is not read now can be read later without loss: the driver reads only what
    /// the streams above have room for.
    fn patient(&self) -> bool {
        false
    }

    /// Frames that it lost before they could be received: no room in its ring.
    fn lost(&self) -> u64 {
        0
    }

    /// It has to be asked for events: the driver does so each second as long as a stream
    /// wants to know of them. Any other link rings when there is one.
    fn polled(&self) -> bool {
        false
    }

    /// Something that happened since it was last asked.
    fn event(&mut self) -> Option<Event> {
        None
    }

    /// Receives, or no longer receives, a group address.
    ///
    /// # Errors
    /// The link refuses; the request fails with DL_SYSERR.
    fn multicast(&mut self, _group: &Mac, _on: bool) -> io::Result<()> {
        Ok(())
    }

    /// Receives every frame on the medium, or no longer does.
    ///
    /// # Errors
    /// As [`Link::multicast`].
    fn promiscuous(&mut self, _on: bool) -> io::Result<()> {
        Ok(())
    }

    /// Changes the address.
    ///
    /// # Errors
    /// Unsupported, unless the link can.
    fn set_address(&mut self, _mac: &Mac) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Brings what was sent to where it goes: a file's buffer to the disk.
    ///
    /// # Errors
    /// It could not be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Box<dyn Link> {
    fn medium(&self) -> Medium {
        (**self).medium()
    }
    fn mtu(&self) -> u32 {
        (**self).mtu()
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        (**self).send(frame)
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        (**self).recv(buf)
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).fd()
    }
    fn attach(&mut self, bell: Doorbell) {
        (**self).attach(bell);
    }
    fn mac_type(&self) -> u32 {
        (**self).mac_type()
    }
    fn timed(&self) -> bool {
        (**self).timed()
    }
    fn tick(&mut self, now: Duration) -> Option<Duration> {
        (**self).tick(now)
    }
    fn patient(&self) -> bool {
        (**self).patient()
    }
    fn lost(&self) -> u64 {
        (**self).lost()
    }
    fn polled(&self) -> bool {
        (**self).polled()
    }
    fn event(&mut self) -> Option<Event> {
        (**self).event()
    }
    fn multicast(&mut self, group: &Mac, on: bool) -> io::Result<()> {
        (**self).multicast(group, on)
    }
    fn promiscuous(&mut self, on: bool) -> io::Result<()> {
        (**self).promiscuous(on)
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        (**self).set_address(mac)
    }
    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }
}

/// What the host was last said to have made of an interface.
pub(crate) struct Watched {
    pub up: bool,
    pub mtu: u32,
}

impl Watched {
    /// As it is now. The interface may live in another network namespace, where it can't be
    /// asked: then it is taken for an Ethernet that is up.
    pub fn now(name: &str) -> Watched {
        Watched {
            up: sys::is_running(name).unwrap_or(true),
            mtu: sys::mtu(name).unwrap_or(1500),
        }
    }

    /// The first thing that is different by now.
    pub fn event(&mut self, name: &str) -> Option<Event> {
        let up = sys::is_running(name).ok()?;
        if up != self.up {
            self.up = up;
            return Some(if up { Event::Up } else { Event::Down });
        }
        let mtu = sys::mtu(name).ok()?;
        (mtu != self.mtu).then(|| {
            self.mtu = mtu;
            Event::Mtu(mtu)
        })
    }
}

/// Copies what fits of a frame into a buffer; how much.
#[inline]
pub(crate) fn copy_cut(frame: &[u8], buf: &mut [u8]) -> usize {
    let n = frame.len().min(buf.len());
    buf[..n].copy_from_slice(&frame[..n]);
    n
}

/// A locally administered address made from a name: the same for the same name.
pub fn mac_from_name(name: &str) -> Mac {
    // FNV-1a
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in name.bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    let [a, b, c, d, e, ..] = h.to_be_bytes();
    [0x02, a, b, c, d, e]
}
