//! vtunl (crate head to follow).
#![forbid(unsafe_code)]

pub mod addr_map;
pub mod decap;
pub mod decap_table;
pub mod encap;
pub mod encap_table;
pub mod header;
pub mod ioctl;
pub mod lifetime;
pub mod prefix_map;
pub mod soft_state;
pub mod tables;
pub mod texit_table;
pub mod why;

#[cfg(test)]
mod testing;
