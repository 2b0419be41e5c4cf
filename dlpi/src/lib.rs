//! Data link providers: DLPI 2 over TUN, capture files and an in-memory Ethernet.
//!
//! ```text
//!   ip, snoop ── DL_* primitives, M_DATA ──► provider.rs ── frames ──► link/
//!                  prim/                      state.rs                 tun pcap wire
//! ```
//!
//! Spec: dlpi(7P); Data Link Provider Interface 2.0.0.
#![deny(unsafe_code)]

pub mod link;
pub mod prim;
pub mod provider;
pub mod state;
mod sys;

pub use provider::{Dlpi, Links};

use std::path::PathBuf;

use link::pcap::Pcap;
use link::tun::Tun;
use link::wire::Wire;
use streams::{Errno, Kernel};

/// Registers `/dev/tun`: PPA n is the host's interface `names[n]`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register_tun(kernel: &Kernel, names: Vec<String>) -> Result<(), Errno> {
    let make = move |ppa: u32| match names.get(ppa as usize) {
        Some(n) => Ok(Box::new(Tun::open(n)?) as Box<dyn link::Link>),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    kernel
        .add_drv_with::<Dlpi>("tun", Links::new(Box::new(make)))
        .map(|_| ())
}

/// Registers `/dev/le`: PPA n is a port with the address `macs[n]` on `wires[n]`.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register_wire(
    kernel: &Kernel,
    name: &'static str,
    ports: Vec<(Wire, [u8; 6])>,
) -> Result<(), Errno> {
    let make = move |ppa: u32| match ports.get(ppa as usize) {
        Some((w, mac)) => Ok(Box::new(w.port(*mac)) as Box<dyn link::Link>),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    kernel
        .add_drv_with::<Dlpi>(name, Links::new(Box::new(make)))
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
    let make = move |ppa: u32| match files.get(ppa as usize) {
        Some((i, o)) => {
            Ok(Box::new(Pcap::open(i.as_deref(), o.as_deref())?) as Box<dyn link::Link>)
        }
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    kernel
        .add_drv_with::<Dlpi>("pcap", Links::new(Box::new(make)))
        .map(|_| ())
}
