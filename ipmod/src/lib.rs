//! (crate head)

#![forbid(unsafe_code)]

pub mod ire;
