//! IP as a STREAMS driver (`/dev/ip`) and module (`ip`), with ARP, ICMP, IGMP, UDP, TCP and
//! routing.
//!
//! ```text
//!   /dev/udp tcp icmp ──┐   T_UNITDATA_REQ          (linked under /dev/udp: interface streams)
//!   /dev/ip  ──┤ driver.rs  M_DATA, T_BIND_REQ              │
//!              ▼                                            ▼
//!        output.rs ◄── forward.rs ◄── input.rs ◄──────── module.rs ─── ip over le0
//!              │           │              └─► deliver.rs ─► icmp_in, udp, subscribers
//!              ▼           └─► fragment, icmp_out      (to groups: multicast.rs)
//!        the interface's stream ─► resolve.rs (ARP) ─► data link provider
//! ```
//!
//! Spec: ip(7P), arp(7P), udp(7P), tcp(7P), icmp(7P), RFC 791, 792, 793, 826, 1112,
//! 1122, 1812, 2236, 3376.
//! Kept: one streamtab for driver and module; plumbing, names, ioctl numbers, TPI.
//! Differs: ip and arp share their tables.
#![forbid(unsafe_code)]

pub mod dad;
pub mod deliver;
pub mod filter;
pub mod fragment;
pub mod icmp;
pub mod icmp_out;
pub mod igmp;
pub mod igmp_host;
pub mod ill;
pub mod input;
pub mod ioctl;
pub mod ipif;
pub mod ire;
pub mod ire_table;
pub mod membership;
pub mod mib;
pub mod module;
pub mod multicast;
pub mod neighbour;
pub mod options;
pub mod output;
pub mod plumb;
pub mod pmtu;
mod raw;
pub mod raw_options;
pub mod reassemble;
mod redirect;
pub mod resolve;
pub mod stack;
pub mod tcp;
mod tcp_engine;
mod tcp_news;
pub mod tcp_options;
mod tcp_request;
mod tcp_segment;
pub mod tpi;
pub mod tpi_options;
pub mod udp;
pub mod udp_options;
pub mod wire;

mod driver;
mod forward;
mod gateways;
mod icmp_in;
mod ifreq;
mod ndd;
mod notify;
mod runs;
mod slab;
mod source_route;
mod transparent;
mod trie;

pub use module::Ip;
pub use raw::RawIp;
pub use resolve::Arp;
pub use stack::Stack;
pub use tcp::Tcp;
pub use udp::Udp;

use streams::{Errno, Kernel};

/// Makes ip (driver and module), arp, tcp, udp, icmp and rawip known to a kernel.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    kernel.add_drv_with::<Ip>("ip", Stack::seeded(kernel.random_seed()))?;
    kernel.add_mod::<Ip>()?;
    kernel.add_mod_sharing::<Arp>("arp", "ip")?;
    kernel.add_drv_sharing::<Tcp>("tcp", "ip")?;
    kernel.add_drv_sharing::<RawIp>("icmp", "ip")?;
    kernel.add_drv_sharing::<RawIp>("rawip", "ip")?;
    kernel.add_drv_sharing::<Udp>("udp", "ip").map(|_| ())
}
