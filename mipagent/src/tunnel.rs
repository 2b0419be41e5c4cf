//! Plumbs the tunnel that an agent or a mobile node needs: Figure 2(a) of the paper.
//!
//! ```text
//!   open /dev/ip ─ I_PUSH vtunl ─ VTUNL_SETCONF_TRANSPORT ─ plumb_fd ─► ip0, up
//! ```
//!
//! Spec: the paper, section 3; ifconfig(1M).

use std::net::Ipv4Addr;

use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::Client;

/// Where ip0 leads to when nobody says: an address of no host (RFC 5737).
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// IP in IP.
pub const IPIP: u8 = 4;

/// Plumbs a tunnel whose outer datagrams come from `from`, with `addr` on its interface;
/// the interface's name.
///
/// # Errors
/// EBUSY: there is one for the protocol. EADDRNOTAVAIL: `from` is no host's address. EINVAL:
/// vtunl is not loaded.
pub fn plumb(
    sys: &dyn Sys,
    protocol: u8,
    from: Ipv4Addr,
    addr: Ipv4Addr,
    far: Ipv4Addr,
) -> Result<String, Errno> {
    let fd = sys.open("/dev/ip", oflag::O_RDWR)?;
    let done = (|| {
        sys.push(fd, "vtunl")?;
        Client::new(sys, fd).setconf_transport(from, protocol)?;
        plumb::plumb_fd(sys, fd, "/dev/ip", u32::MAX)
    })();
    sys.close(fd)?; // the link holds the stream
    let name = done?;
    plumb::set_address(sys, &name, addr)?;
    plumb::set_destination(sys, &name, far)?;
    plumb::up(sys, &name)?;
    Ok(name)
}
