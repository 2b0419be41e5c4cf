//! Data link providers: DLPI 2 as messages and as a STREAMS driver over any link.
#![deny(unsafe_code)]

pub mod prim;
pub mod state;
