//! Large tables that nobody needs any more are freed where no datagram waits for it.
//!
//! Spec: the paper, Table 3: VTUNL_ENCAP_REM and VTUNL_DECAP_REM with target 0 take all.

use std::thread;

/// What has so many entries or more takes longer to free than a thread to start.
const MANY: usize = 4096;

/// Frees what had so many entries: at once, or by a thread of its own. Nobody sees the
/// difference but who waits for the caller.
pub(crate) fn bury<T: Send + 'static>(old: T, entries: usize) {
    if entries < MANY {
        return drop(old);
    }
    let freer = thread::Builder::new().name("vtunl-free".to_owned());
    // Without a thread the closure is dropped here, and with it what it holds.
    let _ = freer.spawn(move || drop(old));
}
