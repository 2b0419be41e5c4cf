//! vtunl: a versatile tunneling interface. IP sends it datagrams as to a data link, and it
//! sends them on as payload of IP.
//!
//! ```text
//!   Figure 2(a), a tunnel               Figure 2(b), a link heard     Figure 2(c), control
//!
//!        ip   (module, "ip0")               ip   (module)                  head
//!         │    DLPI, provider.rs             ▲    provider.rs               │
//!       vtunl  encap.rs ▼ ▲ decap.rs       vtunl  dls_user.rs, encap.rs   vtunl  ioctl.rs
//!         │    TPI, transport.rs             ▲    DLPI                   (driver)
//!      /dev/ip (driver)                   /dev/le                        control.rs
//!                 │                              │                          │
//!                 └── look, without waiting ─────┴──► view.rs ◄── change ── tables.rs
//!                   encap_table.rs ─► exit_sets.rs ─► texit_table.rs   decap_table.rs   one of each
//! ```
//!
//! A datagram's way: `provider::wdata`, `encap_table` (look-up), `encap` (the header),
//! down; and up: `provider::rdata`, `decap` (header off, checks), to the IP above.
//!
//! Spec: V. Gupta, "A Versatile Tunneling Interface", Sun Microsystems, 1997 ("the paper");
//! RFC 2003, 2004, 2784, 2890, 4213, 6040, 1191, 1812; dlpi(7P), TPI.
//! Kept: both personalities, all ioctls, the shared tables of Figure 3.
//! Differs: where the paper is silent: see `vtunl/README.md`.
//!
//! [`register`] makes it known to a kernel; [`client`] is the user's side.
#![forbid(unsafe_code)]

pub mod addr_map;
mod ahead;
mod bury;
pub mod client;
mod control;
pub mod counter;
pub mod decap;
pub mod decap_table;
mod dls_user;
pub mod encap;
pub mod encap_table;
pub mod exit_sets;
pub mod header;
pub mod icmp6;
pub mod ioctl;
pub mod key_list;
pub mod lifetime;
pub mod ordered_map;
mod personality;
mod pieces;
pub mod prefix_map;
mod provider;
pub mod slab;
pub mod soft_state;
pub mod tables;
pub mod texit_table;
mod transport;
pub mod view;
pub mod why;

pub use personality::{Vtunl, register};
pub use tables::Tables;

#[cfg(test)]
mod testing;
