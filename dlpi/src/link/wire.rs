//! An Ethernet in memory: what one port sends, every other port receives.
//!
//! ```text
//!   port a ──send──►┬──► port b's ring of frames ──recv──►     a doorbell for each
//!                   └──► port c's ring of frames ──recv──►     that was empty
//! ```
//!
//! Ports may be in different kernels and threads. A port's ring is bounded; one that is
//! full loses frames, counted, as a receiver does that does not keep up. Buffers go back
//! from receiver to sender, so that a steady flow allocates nothing.
//!
//! Spec: IEEE 802.3 as seen from above the MAC: unreliable, in order, to all stations.
//! Not done: collisions, frame check sequences. Faults come from [`super::fault::Faulty`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};

use streams::Doorbell;

use super::{Event, Link, Medium, copy_cut};
use crate::addr::Mac;

/// Frames that wait at one port.
const DEPTH: usize = 1024;

/// The wire: make ports with [`Wire::port`]. Clones are the same wire.
#[derive(Clone)]
pub struct Wire(Arc<Shared>);

struct Shared {
    mtu: u32,
    stations: RwLock<Vec<Arc<Station>>>,
    lost: AtomicU64,
    /// There is a carrier.
    up: AtomicBool,
}

/// The receiving half of a port, as the others see it.
struct Station {
    frames: Sender<Vec<u8>>,
    /// Buffers that were received from and may be filled again.
    spare: Receiver<Vec<u8>>,
    bell: Mutex<Option<Doorbell>>,
    /// Frames that its ring had no room for.
    lost: AtomicU64,
}

impl Station {
    /// Puts a frame into the ring; false if it is full.
    fn give(&self, frame: &[u8]) -> bool {
        let mut buf = self.spare.try_recv().unwrap_or_default();
        buf.clear();
        buf.extend_from_slice(frame);
        let was_empty = self.frames.is_empty();
        match self.frames.try_send(buf) {
            Ok(()) => {
                // A receiver reads until the ring is empty, so only the first frame has
                // to ring. The length is read again: it may have emptied it meanwhile.
                if (was_empty || self.frames.len() <= 1)
                    && let Some(bell) = &*self.bell.lock()
                {
                    bell.ring();
                }
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}

impl Default for Wire {
    /// An Ethernet: 1500 bytes.
    fn default() -> Wire {
        Wire::new(1500)
    }
}

impl Wire {
    /// A wire without ports.
    pub fn new(mtu: u32) -> Wire {
        let stations = RwLock::default();
        Wire(Arc::new(Shared {
            mtu,
            stations,
            lost: AtomicU64::new(0),
            up: AtomicBool::new(true),
        }))
    }

    /// A new port with this address. Dropping it unplugs it.
    pub fn port(&self, mac: Mac) -> Port {
        let (frames, inbox) = bounded(DEPTH);
        let (back, spare) = bounded(DEPTH);
        let me = Arc::new(Station {
            frames,
            spare,
            bell: Mutex::new(None),
            lost: AtomicU64::new(0),
        });
        self.0.stations.write().push(me.clone());
        Port {
            wire: self.clone(),
            mac,
            me,
            inbox,
            back,
            up: true,
        }
    }

    /// Takes the carrier away from every port, or gives it back: DL_NOTE_LINK_DOWN and
    /// DL_NOTE_LINK_UP. Without it nothing can be sent.
    pub fn set_up(&self, up: bool) {
        self.0.up.store(up, Ordering::Relaxed);
        for s in self.0.stations.read().iter() {
            if let Some(bell) = &*s.bell.lock() {
                bell.ring();
            }
        }
    }

    /// There is a carrier.
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// Ports plugged in.
    pub fn ports(&self) -> usize {
        self.0.stations.read().len()
    }

    /// Frames lost because a port's ring was full.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

/// One station's end of the wire.
pub struct Port {
    wire: Wire,
    mac: Mac,
    me: Arc<Station>,
    inbox: Receiver<Vec<u8>>,
    back: Sender<Vec<u8>>,
    /// What was told of the carrier last.
    up: bool,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.wire
            .0
            .stations
            .write()
            .retain(|s| !Arc::ptr_eq(s, &self.me));
    }
}

impl Link for Port {
    fn medium(&self) -> Medium {
        Medium::Ether(self.mac)
    }
    fn mtu(&self) -> u32 {
        self.wire.0.mtu
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        if !self.wire.is_up() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let stations = self.wire.0.stations.read();
        for s in stations.iter().filter(|s| !Arc::ptr_eq(s, &self.me)) {
            if !s.give(frame) {
                self.wire.0.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Ok(frame) = self.inbox.try_recv() else {
            return Ok(None);
        };
        let n = copy_cut(&frame, buf);
        let _ = self.back.try_send(frame); // no room for spares: it is freed
        Ok(Some(n))
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.me.bell.lock() = Some(bell.clone());
        if !self.inbox.is_empty() {
            bell.ring(); // for what came before there was anybody to tell
        }
    }
    fn lost(&self) -> u64 {
        self.me.lost.load(Ordering::Relaxed)
    }
    fn event(&mut self) -> Option<Event> {
        let up = self.wire.is_up();
        (up != self.up).then(|| {
            self.up = up;
            if up { Event::Up } else { Event::Down }
        })
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        self.mac = *mac;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> Vec<u8> {
        let mut f = vec![0xff; 6];
        f.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0, n]);
        f
    }

    fn got(p: &mut Port) -> Option<Vec<u8>> {
        let mut buf = [0; 100];
        let n = p.recv(&mut buf).ok().flatten()?;
        Some(buf[..n].to_vec())
    }

    #[test]
    fn a_frame_reaches_every_other_port_in_order() {
        let wire = Wire::new(1500);
        let [mut a, mut b, mut c] = [1, 2, 3].map(|i| wire.port([2, 0, 0, 0, 0, i]));
        for n in 0..3 {
            let f = frame(n);
            assert!(a.send(&f).is_ok());
        }
        for p in [&mut b, &mut c] {
            for n in 0..3 {
                assert_eq!(got(p), Some(frame(n)));
            }
            assert_eq!(got(p), None);
        }
        assert_eq!(got(&mut a), None, "not to the sender");
    }

    #[test]
    fn a_full_port_loses_and_counts() {
        let wire = Wire::new(1500);
        let (mut a, mut b) = (wire.port([2, 0, 0, 0, 0, 1]), wire.port([2, 0, 0, 0, 0, 2]));
        let f = frame(0);
        for _ in 0..DEPTH + 5 {
            assert!(a.send(&f).is_ok());
        }
        assert_eq!((wire.lost(), b.lost(), a.lost()), (5, 5, 0));
        for _ in 0..DEPTH {
            assert!(got(&mut b).is_some());
        }
        assert_eq!(got(&mut b), None);
    }

    #[test]
    fn an_unplugged_port_is_gone() {
        let wire = Wire::new(1500);
        let mut a = wire.port([2, 0, 0, 0, 0, 1]);
        let mut b = wire.port([2, 0, 0, 0, 0, 2]);
        let f = frame(0);
        assert!(a.send(&f).is_ok());
        assert!(got(&mut b).is_some());
        drop(b);
        assert_eq!(wire.ports(), 1);
        assert!(a.send(&f).is_ok());
        assert_eq!(wire.lost(), 0);
    }
}
