//! The data links of an emulated host: which wire, TUN device or capture file is behind
//! `le0`, `tun0`, `pcap0`.
//!
//! ```text
//!   plumb le0 on backbone ─► specs: (le, 0) = a port on the wire ─┐
//!   open /dev/le, DL_ATTACH 0 ─► the driver asks for PPA 0 ───────┴─► the link
//! ```
//!
//! A link is made when it is attached. What this machine says if that fails is kept for
//! the command that caused it: the emulated kernel has only an errno for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use dlpi::link::pcap::Pcap;
use dlpi::link::roam::{Radio, Roam};
use dlpi::link::tap::Tap;
use dlpi::link::tun::{Tun, TunOptions};
use dlpi::link::wire::Wire;
use dlpi::link::{Link, Medium};
use dlpi::{Dlpi, Links};
use streams::{Doorbell, Errno, Kernel};

/// Names of Ethernet drivers: every one works the same.
pub const ETHERNETS: &[&str] = &["le", "hme", "qe", "qfe", "eri"];
/// The TUN driver.
pub const TUN: &str = "tun";
/// The capture file driver.
pub const PCAP: &str = "pcap";

/// What is behind a unit of a driver.
#[derive(Clone)]
pub enum Spec {
    /// A port on a wire, with this hardware address.
    Wire(Wire, [u8; 6]),
    /// The TUN device of this machine with this name.
    Tun(String),
    /// The TAP device of this machine with this name.
    Tap(String),
    /// Capture files: what comes in, what goes out. Nothing comes in before it is let.
    Pcap(Option<PathBuf>, Option<PathBuf>, Gate),
}

/// The links of one host.
#[derive(Clone, Default)]
pub struct Devices {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    specs: BTreeMap<(String, u32), Spec>,
    /// What moves the ports that are attached.
    radios: BTreeMap<(String, u32), Radio>,
    error: Option<io::Error>,
}

impl Devices {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Registers the drivers.
    ///
    /// # Errors
    /// EEXIST: one of the names is taken.
    pub fn register(&self, kernel: &Kernel) -> Result<(), Errno> {
        for driver in ETHERNETS.iter().copied().chain([TUN, PCAP]) {
            let me = self.clone();
            let make = move |ppa| me.make(driver, ppa);
            kernel.add_drv_with::<Dlpi>(driver, Links::new(Box::new(make)))?;
        }
        Ok(())
    }

    /// What is behind a unit from now on.
    pub fn set(&self, driver: &str, ppa: u32, spec: Spec) {
        self.lock().specs.insert((driver.to_owned(), ppa), spec);
    }

    /// Nothing is behind a unit any more.
    pub fn clear(&self, driver: &str, ppa: u32) {
        let at = (driver.to_owned(), ppa);
        let mut inner = self.lock();
        inner.specs.remove(&at);
        inner.radios.remove(&at);
    }

    /// Unplugs a unit's port and plugs it into another wire; the driver notices nothing.
    /// False: the unit is no port on a wire.
    pub fn move_to(&self, driver: &str, ppa: u32, to: &Wire) -> bool {
        let mut inner = self.lock();
        let at = (driver.to_owned(), ppa);
        let Some(Spec::Wire(wire, _)) = inner.specs.get_mut(&at) else {
            return false;
        };
        *wire = to.clone();
        if let Some(radio) = inner.radios.get(&at) {
            radio.move_to(to);
        }
        true
    }

    /// Is there anything behind a unit?
    pub fn has(&self, driver: &str, ppa: u32) -> bool {
        self.lock().specs.contains_key(&(driver.to_owned(), ppa))
    }

    /// What this machine said last when a link could not be made.
    pub fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    fn make(&self, driver: &str, ppa: u32) -> io::Result<Box<dyn Link>> {
        let spec = self.lock().specs.get(&(driver.to_owned(), ppa)).cloned();
        let made = match spec {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Spec::Wire(wire, mac)) => {
                let (port, radio) = Roam::new(&wire, mac);
                let at = (driver.to_owned(), ppa);
                self.lock().radios.insert(at, radio);
                Ok(Box::new(port) as Box<dyn Link>)
            }
            Some(Spec::Tap(name)) => {
                Tap::open(&TunOptions::named(&name), None).map(|t| Box::new(t) as Box<dyn Link>)
            }
            Some(Spec::Tun(name)) => Tun::open(&name).map(|t| Box::new(t) as Box<dyn Link>),
            Some(Spec::Pcap(input, output, gate)) => {
                Pcap::open(input.as_deref(), output.as_deref())
                    .map(|inner| Box::new(Gated { inner, gate }) as Box<dyn Link>)
            }
        };
        made.map_err(|e| {
            let kind = e.kind();
            self.lock().error = Some(e);
            kind.into()
        })
    }
}

/// Holds back what a link has to give until it is opened: a capture is played when the
/// routes are there, and not while the interface is plumbed.
#[derive(Clone, Default)]
pub struct Gate {
    open: Arc<AtomicBool>,
    bell: Arc<Mutex<Option<Doorbell>>>,
    came: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Gate {
    /// Lets what the link has come in.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        let bell = self.bell.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some(b) = bell {
            b.ring();
        }
    }
    /// Frames that have come in.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Acquire)
    }
    /// There is nothing more to come.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

struct Gated<L> {
    inner: L,
    gate: Gate,
}

impl<L: Link> Link for Gated<L> {
    fn medium(&self) -> Medium {
        self.inner.medium()
    }
    fn mtu(&self) -> u32 {
        self.inner.mtu()
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.inner.send(frame)
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.gate.open.load(Ordering::Acquire) {
            return Ok(None);
        }
        let got = self.inner.recv(buf)?;
        match got {
            Some(_) => self.gate.came.fetch_add(1, Ordering::AcqRel),
            None => u64::from(self.gate.ended.swap(true, Ordering::AcqRel)),
        };
        Ok(got)
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.gate.bell.lock().unwrap_or_else(|e| e.into_inner()) = Some(bell.clone());
        self.inner.attach(bell);
    }
}

/// Driver and unit of a device name: `le0`.
pub fn split(device: &str) -> Option<(&str, u32)> {
    let device = device.strip_prefix("/dev/").unwrap_or(device);
    let at = device.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (driver, ppa) = device.split_at(at);
    let known = ETHERNETS.contains(&driver) || driver == TUN || driver == PCAP;
    let ppa = ppa.parse().ok().filter(|n| *n < 1000);
    known.then_some(())?;
    Some((driver, ppa?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names() {
        assert_eq!(split("le0"), Some(("le", 0)));
        assert_eq!(split("/dev/hme12"), Some(("hme", 12)));
        for bad in ["le", "0", "xx0", "", "le-1", "le99999999999", "é0"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
