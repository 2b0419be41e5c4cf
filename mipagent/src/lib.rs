//! A Mobile-IP home agent: UDP port 434 on one side, vtunl's ioctls on the other.
//!
//! ```text
//!   mobile node ──Request──► /dev/udp 434 ─► message.rs ─► home.rs ─┬─► VTUNL_ENCAP_ADD
//!     (co-located care-of)                                          ├─► SIOCSARP, published
//!               ◄──Reply────────────────────────────────────────────┴─► host route by ip0
//! ```
//!
//! Spec: RFC 5944 sections 3.3 to 3.8, 4.6, 5.7.1.
//! Kept: formats, codes, the mobile-home authentication, timestamps, simultaneous bindings.
//! Differs: no foreign agent, no nonces, no advertisements: mobile nodes have co-located
//! care-of addresses.
#![forbid(unsafe_code)]

pub mod home;
pub mod message;

/// The port of registrations (RFC 5944 3.3).
pub const PORT: u16 = 434;
