//! (crate head)

#![forbid(unsafe_code)]

pub mod fragment;
pub mod ire;
mod octets;
