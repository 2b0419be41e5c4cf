//! vtunl (crate head to follow).
#![forbid(unsafe_code)]

pub mod addr_map;
pub mod decap;
pub mod decap_table;
pub mod encap;
pub mod encap_table;
pub mod header;
pub mod prefix_map;
pub mod texit_table;
pub mod why;

#[cfg(test)]
mod testing;
