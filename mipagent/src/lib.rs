//! Mobile IP: home agent, foreign agent and mobile node, each a user of the system-call
//! interface of an emulated host and of nothing else.
//!
//! ```text
//!   mobile.rs                     foreign.rs                    home.rs
//!   mobile node ──Request──► foreign agent ──Request──► home agent ─┬─► VTUNL_ENCAP_ADD
//!       ▲  │      link.rs         │   ▲      port.rs                ├─► SIOCSARP, published
//!       │  │                      │   └──────Reply──────────────────┴─► route by ip0
//!       │  └ SIOCSIFADDR,         └─► VTUNL_DECAP_ADD, route and ARP entry of the visitor
//!       │    routes, SIOCSARP
//!       └─ advertisements (advert.rs): who is here, have I moved? (detect.rs)
//! ```
//!
//! `conf_file.rs` reads mipagent.conf, `agent.rs` and `mobile.rs` are the daemons, `status.rs`
//! is what mipagentstat prints, `demo.rs` a small internet in memory.
//!
//! Spec: RFC 5944, RFC 1256 (advertisements), RFC 3024 (reverse tunnels); mipagent(1M),
//! mipagent.conf(4), mipagentstat(1M).
//! Kept: formats, codes, the three authentications, timestamps and nonces, simultaneous
//! bindings, broadcasts, minimal and GRE encapsulation, lifetimes, proxy ARP.
//! Differs: what the mobile node and the agents have to know of a link (the address that
//! a request came from) is read from DLPI, not with IP_RECVSLLA.
//! Not done: reverse tunnels from a foreign agent (vtunl looks up destinations, not
//! sources): refused with code 74; challenges (RFC 4721), NAIs, key distribution by AAA.
#![forbid(unsafe_code)]

pub mod advert;
pub mod agent;
pub mod auth;
pub mod cli;
pub mod code;
pub mod conf;
pub mod conf_file;
pub mod daemon;
pub mod demo;
pub mod detect;
pub mod extension;
pub mod foreign;
pub mod home;
pub mod identification;
pub mod link;
pub mod message;
pub mod mobile;
pub mod port;
pub mod roaming;
pub mod status;
pub mod traffic;
pub mod tunnel;
pub mod world;

/// The port of registrations (RFC 5944 3.3).
pub const PORT: u16 = 434;
