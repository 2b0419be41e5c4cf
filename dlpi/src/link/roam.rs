//! A port that can be unplugged from one wire and plugged into another while the driver
//! has it open: a station that moves.
//!
//! ```text
//!   driver ══ Roam ══ port on wire a          Radio::move_to(b)
//!                  ╳                          what waited at a's port is lost, as it is
//!                  ╰─ port on wire b          when a cable is pulled
//! ```
//!
//! Spec: none; the emulation's own. The driver is told nothing: no DL_NOTE_LINK_DOWN, for
//! a mobile node has to notice by itself (RFC 5944 2.4.2).

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use streams::Doorbell;

use super::wire::{Port, Wire};
use super::{Event, Link, Medium};
use crate::addr::Mac;

struct Inner {
    port: Port,
    bell: Option<Doorbell>,
    mac: Mac,
    mtu: u32,
}

/// The hand that moves a [`Roam`]. Clones move the same one.
#[derive(Clone)]
pub struct Radio(Arc<Mutex<Inner>>);

/// A link that is on the wire where its [`Radio`] has put it.
pub struct Roam(Arc<Mutex<Inner>>);

impl Roam {
    /// A port on a wire, and what moves it from there.
    pub fn new(wire: &Wire, mac: Mac) -> (Roam, Radio) {
        let port = wire.port(mac);
        let inner = Arc::new(Mutex::new(Inner {
            mtu: port.mtu(),
            port,
            bell: None,
            mac,
        }));
        (Roam(inner.clone()), Radio(inner))
    }
}

impl Radio {
    /// Unplugs the port and plugs it into another wire, with the same address. Frames that
    /// waited are lost. The link's MTU stays what the driver was told first.
    pub fn move_to(&self, wire: &Wire) {
        let mut me = self.0.lock();
        let mut port = wire.port(me.mac);
        if let Some(bell) = &me.bell {
            port.attach(bell.clone());
        }
        me.port = port;
    }
}

impl Link for Roam {
    fn medium(&self) -> Medium {
        Medium::Ether(self.0.lock().mac)
    }
    fn mtu(&self) -> u32 {
        self.0.lock().mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.lock().port.send(frame)
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.0.lock().port.recv(buf)
    }
    fn lost(&self) -> u64 {
        self.0.lock().port.lost()
    }
    fn event(&mut self) -> Option<Event> {
        self.0.lock().port.event()
    }
    fn attach(&mut self, bell: Doorbell) {
        let mut me = self.0.lock();
        me.bell = Some(bell.clone());
        me.port.attach(bell);
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        let mut me = self.0.lock();
        me.mac = *mac;
        me.port.set_address(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(l: &mut dyn Link) -> Option<u8> {
        let mut buf = [0; 64];
        let n = l.recv(&mut buf).ok().flatten()?;
        buf[..n].last().copied()
    }

    #[test]
    fn a_moved_port_hears_the_new_wire_and_not_the_old() {
        let (a, b) = (Wire::default(), Wire::default());
        let (mut x, mut y) = (a.port([2, 0, 0, 0, 0, 1]), b.port([2, 0, 0, 0, 0, 2]));
        let (mut moving, radio) = Roam::new(&a, [2, 0, 0, 0, 0, 9]);
        let frame = |n| [[0xff; 14].as_slice(), &[n]].concat();
        assert!(x.send(&frame(1)).is_ok() && y.send(&frame(2)).is_ok());
        assert_eq!(got(&mut moving), Some(1));
        assert!(x.send(&frame(3)).is_ok()); // waits at the port that is pulled
        radio.move_to(&b);
        assert_eq!((a.ports(), b.ports()), (1, 2));
        assert!(x.send(&frame(4)).is_ok() && y.send(&frame(5)).is_ok());
        assert_eq!(got(&mut moving), Some(5));
        assert_eq!(got(&mut moving), None);
        assert!(moving.send(&frame(6)).is_ok());
        assert_eq!((got(&mut y), got(&mut x)), (Some(6), None));
    }
}
