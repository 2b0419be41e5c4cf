//! What the tests are made of. Nothing here ships.
//!
//! Which kind of test to write:
//!
//! | to show | write | with |
//! |---|---|---|
//! | one rule of the manual | a case in `conformance/*.st` | [`scenario`], [`probe`] |
//! | what a datagram became | a test in `tests/` | [`packets`] |
//! | what was counted, and that nothing else was | the same | [`assert_delta!`] |
//! | that the host's own stack agrees | a test in `tests/` | [`linux`], [`netns`], [`peer`] |
//!
//! No test sleeps: an emulated kernel has a clock set by hand and runs until it is idle;
//! a test with the host's stack waits for output or for a process to end.

pub mod delta;
pub mod fuzz;
pub mod gateway;
pub mod linux;
pub mod netns;
pub mod packets;
pub mod peer;
pub mod probe;
pub mod row;
pub mod scenario;
pub mod transport;
pub mod uml;

/// The Rust of README.md is compiled and run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
