//! vtunl in streams, as in Figure 2, over stand-ins for /dev/ip and a data link. Each test
//! cites the row that it reads.
//!
//! ```text
//!    test process (as ip: DLPI up here)        getmsg, putmsg
//!          │
//!        vtunl
//!          │
//!    "ip" or "le" of below.rs                  answers binds; what goes down comes to the
//!                                              stream opened first, and back
//! ```

mod below;
mod dls_user;
mod ioctls;
mod provider;
mod told;
mod transport;
mod world;
