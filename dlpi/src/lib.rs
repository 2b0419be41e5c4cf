//! Data link providers: DLPI 2 as values, as one STREAMS driver, over any link.
//!
//! ```text
//!   ip, snoop, client.rs ── DL_* primitives, M_DATA ──► provider/ ── frames ──► link/
//!                             prim/                     state.rs           tun tap packet
//!                                                       filter.rs llc.rs   wire pcap null
//!                                                                          fault over any
//!   style 2   open ─ ATTACH ppa ─► UNBOUND ─ BIND sap ─► IDLE
//!   style 1   open ──────────────► UNBOUND ─ BIND sap ─► IDLE
//! ```
//!
//! A device is registered under a name with what makes its links:
//!
//! ```
//! use dlpi::{client::Client, link::wire::Wire, prim::SAP_IP};
//! use streams::{Config, Cred, Kernel};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wire = Wire::default();
//! let kernel = Kernel::with_config(Config::test())?;
//! let ports = vec![(wire.clone(), [2, 0, 0, 0, 0, 1]), (wire, [2, 0, 0, 0, 0, 2])];
//! dlpi::register_wire(&kernel, "le", ports)?;
//! let p = kernel.process(Cred::ROOT);
//! let a = Client::open(&p, "/dev/le", Some(0))?;
//! let b = Client::open(&p, "/dev/le", Some(1))?;
//! a.bind(SAP_IP)?;
//! b.bind(SAP_IP)?;
//! a.send(&b.dlsap(SAP_IP)?, b"hello")?;
//! assert_eq!(b.recv()?.data, b"hello");
//! # Ok(()) }
//! ```
//!
//! A backend author implements [`link::Link`].
//!
//! Spec: dlpi(7P); Data Link Provider Interface 2.0.0; le(7D), hme(7D).
#![deny(unsafe_code)]

pub mod addr;
pub mod client;
pub mod filter;
pub mod link;
pub mod llc;
pub mod prim;
pub mod provider;
pub mod state;
pub mod sys;

pub use provider::{Dlpi, Links, Statistics};

use std::io;
use std::path::PathBuf;

use link::Link;
use link::pcap::Pcap;
use link::tun::Tun;
use link::wire::Wire;
use streams::{Errno, Kernel};

/// Registers a device under a name: `/dev/NAME`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register(kernel: &Kernel, name: &'static str, links: Links) -> Result<(), Errno> {
    kernel.add_drv_with::<Dlpi>(name, links).map(|_| ())
}

/// Links by PPA from a list.
fn listed<T: Send + 'static, L: Link + 'static>(
    list: Vec<T>,
    make: impl Fn(&T) -> io::Result<L> + Send + 'static,
) -> Links {
    Links::new(Box::new(move |ppa| match list.get(ppa as usize) {
        Some(of) => Ok(Box::new(make(of)?)),
        None => Err(io::ErrorKind::NotFound.into()),
    }))
}

/// Registers `/dev/tun`: PPA n is the host's interface `names[n]`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register_tun(kernel: &Kernel, names: Vec<String>) -> Result<(), Errno> {
    register(kernel, "tun", listed(names, |n| Tun::open(n)))
}

/// Registers an Ethernet: PPA n is a port on a wire with an address, `ports[n]`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register_wire(
    kernel: &Kernel,
    name: &'static str,
    ports: Vec<(Wire, addr::Mac)>,
) -> Result<(), Errno> {
    register(
        kernel,
        name,
        listed(ports, |(wire, mac)| Ok(wire.port(*mac))),
    )
}

/// Registers `/dev/llc1` over the units of an Ethernet driver: LLC class I on its links
/// (llc1(7D)), PPA n as there.
///
/// # Errors
/// EEXIST: the name is taken. EINVAL: there is no data link driver of that name.
pub fn register_llc1(kernel: &Kernel, over: &str) -> Result<(), Errno> {
    kernel
        .add_drv_sharing::<Dlpi>(provider::LLC1, over)
        .map(|_| ())
}

/// Registers `/dev/pcap`: PPA n reads the first and writes the second file of `files[n]`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register_pcap(
    kernel: &Kernel,
    files: Vec<(Option<PathBuf>, Option<PathBuf>)>,
) -> Result<(), Errno> {
    register(
        kernel,
        "pcap",
        listed(files, |(i, o)| Pcap::open(i.as_deref(), o.as_deref())),
    )
}
