//! An Ethernet in memory that joins emulated hosts: what one sends, all others hear.
//!
//! ```text
//!   host A ─ port ─┐
//!   host B ─ port ─┼── wire        each port has a queue of frames and a doorbell
//!   host C ─ port ─┘
//! ```

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use streams::Doorbell;

use super::{Link, Medium};

/// Frames a port keeps for a host that does not read.
const QUEUE: usize = 4096;

/// The wire; clones are the same one.
#[derive(Clone, Default)]
pub struct Wire {
    ports: Arc<Mutex<Vec<Tap>>>,
}

struct Tap {
    id: u64,
    to: Sender<Vec<u8>>,
    bell: Option<Doorbell>,
}

impl Wire {
    /// A new port with this address.
    pub fn port(&self, mac: [u8; 6]) -> Port {
        let (to, from) = bounded(QUEUE);
        let mut ports = self.ports.lock();
        let id = ports.iter().map(|t| t.id + 1).max().unwrap_or(0);
        ports.push(Tap { id, to, bell: None });
        Port {
            wire: self.clone(),
            id,
            mac,
            from,
        }
    }
}

/// One host's end of a [`Wire`].
pub struct Port {
    wire: Wire,
    id: u64,
    mac: [u8; 6],
    from: Receiver<Vec<u8>>,
}

impl Link for Port {
    fn medium(&self) -> Medium {
        Medium::Ether(self.mac)
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let ports = self.wire.ports.lock();
        for t in ports.iter().filter(|t| t.id != self.id) {
            // A host that does not read loses frames, as on a real wire.
            if let Ok(()) | Err(TrySendError::Full(_)) = t.to.try_send(frame.to_vec())
                && let Some(b) = &t.bell
            {
                b.ring();
            }
        }
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Ok(frame) = self.from.try_recv() else {
            return Ok(None);
        };
        let n = frame.len().min(buf.len());
        buf[..n].copy_from_slice(&frame[..n]);
        Ok(Some(n))
    }
    fn attach(&mut self, bell: Doorbell) {
        if let Some(t) = self.wire.ports.lock().iter_mut().find(|t| t.id == self.id) {
            t.bell = Some(bell);
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.wire.ports.lock().retain(|t| t.id != self.id);
    }
}
