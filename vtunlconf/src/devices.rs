//! The data links of an emulated host: which wire, device of this machine or capture file is
//! behind `le0`, `tun0`, `pcap0`.
//!
//! ```text
//!   plumb le0 on backbone ─► specs: (le, 0) = a port on the wire ─┐
//!   open /dev/le, DL_ATTACH 0 ─► the driver asks for PPA 0 ───────┴─► the link
//! ```
//!
//! A link is made when it is attached. What this machine says if that fails is kept for
//! the command that caused it: the emulated kernel has only an errno for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use dlpi::link::Link;
use dlpi::link::capture::CaptureFile;
use dlpi::link::fault::{Faults, Faulty};
use dlpi::link::packet::Packet;
use dlpi::link::pcap::{Pcap, PcapControl, PcapOptions, Speed};
use dlpi::link::roam::{Radio, Roam};
use dlpi::link::tap::Tap;
use dlpi::link::tun::{Tun, TunOptions};
use dlpi::link::wire::Wire;
use dlpi::{Dlpi, Links};
use streams::{Errno, Kernel};

/// Names of Ethernet drivers: every one works the same.
pub const ETHERNETS: &[&str] = &["le", "hme", "qe", "qfe", "eri"];
/// The TUN driver.
pub const TUN: &str = "tun";
/// The capture file driver.
pub const PCAP: &str = "pcap";

/// What is behind a unit of a driver.
#[derive(Clone)]
pub enum Spec {
    /// A port on a wire, with this hardware address and these faults.
    Wire(Wire, [u8; 6], Faults),
    /// A TUN device of this machine.
    Tun(TunOptions),
    /// A TAP device of this machine, with our hardware address.
    Tap(TunOptions, Option<[u8; 6]>),
    /// A TUN's or TAP's descriptor that the parent has handed over.
    Handed(i32),
    /// An Ethernet interface of this machine, through packet(7).
    Live(String),
    /// Capture files: what comes in, what goes out. Nothing comes in before it is let.
    Pcap(Option<PathBuf>, Option<PathBuf>, Gate),
}

/// The links of one host.
#[derive(Clone, Default)]
pub struct Devices {
    inner: Arc<Mutex<Inner>>,
    outputs: Outputs,
    host: String,
}

/// The capture files that are being written, by every host: two that write one are two
/// interfaces in it.
#[derive(Clone, Default)]
pub struct Outputs(Arc<Mutex<BTreeMap<PathBuf, CaptureFile>>>);

impl Outputs {
    /// The file at this path.
    fn open(&self, path: &Path) -> io::Result<CaptureFile> {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        all.retain(|_, f| f.is_shared()); // by a link that still writes it
        if let Some(f) = all.get(path) {
            return Ok(f.clone());
        }
        let f = CaptureFile::create(path)?;
        all.insert(path.to_owned(), f.clone());
        Ok(f)
    }
}

#[derive(Default)]
struct Inner {
    specs: BTreeMap<(String, u32), Spec>,
    /// What moves the ports that are attached.
    radios: BTreeMap<(String, u32), Radio>,
    error: Option<io::Error>,
}

impl Devices {
    /// Those of a host.
    pub fn of(host: &str, outputs: &Outputs) -> Devices {
        Devices {
            outputs: outputs.clone(),
            host: host.to_owned(),
            ..Devices::default()
        }
    }

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
        dlpi::register_llc1(kernel, ETHERNETS[0])
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
        let Some(Spec::Wire(wire, ..)) = inner.specs.get_mut(&at) else {
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
            Some(Spec::Wire(wire, mac, faults)) => {
                let (port, radio) = Roam::new(&wire, mac);
                let at = (driver.to_owned(), ppa);
                self.lock().radios.insert(at, radio);
                Ok(with_faults(port, mac, faults))
            }
            Some(Spec::Tap(options, mac)) => Tap::open(&options, mac).map(boxed),
            Some(Spec::Tun(options)) => Tun::with(&options).map(boxed),
            Some(Spec::Live(name)) => Packet::open(&name).map(boxed),
            Some(Spec::Handed(number)) => {
                dlpi::sys::duplicate(number).and_then(|fd| match driver {
                    TUN => Tun::from_fd(fd).map(boxed),
                    _ => Tap::from_fd(fd, None).map(boxed),
                })
            }
            Some(Spec::Pcap(input, output, gate)) => self.capture(driver, ppa, input, output, gate),
        };
        made.map_err(|e| {
            let kind = e.kind();
            self.lock().error = Some(e);
            kind.into()
        })
    }

    /// A capture that is played when the routes are there, and not while the interface is
    /// plumbed.
    fn capture(
        &self,
        driver: &str,
        ppa: u32,
        input: Option<PathBuf>,
        output: Option<PathBuf>,
        gate: Gate,
    ) -> io::Result<Box<dyn Link>> {
        let options = PcapOptions {
            speed: Speed::Step,
            paced: input.is_some(),
            name: format!("{}:{driver}{ppa}", self.host),
            ..PcapOptions::default()
        };
        let input = match input {
            Some(p) => Some(Box::new(File::open(p)?) as Box<dyn Read + Send>),
            None => None,
        };
        let output = output.map(|p| self.outputs.open(&p)).transpose()?;
        let link = Pcap::new(input, output, options)?;
        gate.set(link.control());
        Ok(boxed(link))
    }
}

fn boxed(link: impl Link + 'static) -> Box<dyn Link> {
    Box::new(link)
}

/// A port whose frames meet the faults of its wire on their way out.
fn with_faults(port: Roam, mac: [u8; 6], faults: Faults) -> Box<dyn Link> {
    if faults == Faults::default() {
        return boxed(port);
    }
    // Each port draws numbers of its own.
    let own = mac.iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let out = Faults {
        seed: faults.seed ^ own << 16,
        ..faults
    };
    boxed(Faulty::with(port, out, Faults::default()))
}

/// What plays a capture, once its link is there.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Option<PcapControl>>>);

impl Gate {
    fn set(&self, control: PcapControl) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(control);
    }
    /// What steers the capture.
    pub fn control(&self) -> Option<PcapControl> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
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
