//! How a mobile node's IP is configured at home and away.
//!
//! ```text
//!             le0                       routes                             ARP
//!   home      home address / prefix     default by the router at home      as always
//!   visiting  home address / 32, -arp   default by the agent, which is     the agent's, by hand
//!                                       on the link by a host route
//!   own       care-of address / prefix  default by the router there        as always
//! ```
//!
//! ip0 has the home address everywhere, so connections stay where they are; it takes off
//! what the home agent puts on: everything for an own care-of address, the inner of the two
//! headers of a broadcast for one of an agent.
//!
//! Spec: RFC 5944 4.2.1 (default router), 4.6 (no ARP for the home address while away, a
//! gratuitous one at home), 4.3 (broadcasts); RFC 3024 5 (reverse tunnels).

use std::net::Ipv4Addr;

use dlpi::addr::Mac;
use ipmod::ill::iff;
use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::{Binding, Client, DEFAULT};

use crate::advert::masked;
use crate::conf::{CareOf, Mobile};
use crate::message::T;
use crate::tunnel::{self, DUMMY, IPIP};

const HOST: Ipv4Addr = Ipv4Addr::BROADCAST;
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const DECAP_IF_DST: u16 = 2;

/// Where a mobile node's IP believes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At home.
    Home,
    /// On the link of a foreign agent.
    Visiting(Ipv4Addr, Mac),
    /// On a network where it has an address of its own.
    Own(CareOf),
}

/// The configuration of one mobile node.
pub struct Roaming<'a> {
    sys: &'a dyn Sys,
    ctl: i32,
    interface: String,
    home: Ipv4Addr,
    prefix: u8,
    router: Option<Ipv4Addr>,
    reverse: bool,
    at: Option<At>,
    tunnel: Option<String>,
    agent: Ipv4Addr,
}

impl Drop for Roaming<'_> {
    fn drop(&mut self) {
        let _ = self.sys.close(self.ctl); // the process may have ended
    }
}

/// The mask of a prefix.
pub fn mask(prefix: u8) -> Ipv4Addr {
    masked(HOST, prefix)
}

fn settled(r: Result<(), Errno>) -> Result<(), Errno> {
    match r {
        Err(Errno::EEXIST | Errno::ESRCH | Errno::ENXIO | Errno::ENETUNREACH) => Ok(()),
        r => r,
    }
}

impl<'a> Roaming<'a> {
    /// Takes a host over; its interface is plumbed, vtunl is loaded.
    ///
    /// # Errors
    /// Those of open(2) of /dev/vtunl and of plumbing ip0.
    pub fn new(sys: &'a dyn Sys, m: &Mobile) -> Result<Roaming<'a>, Errno> {
        let ctl = sys.open("/dev/vtunl", oflag::O_RDWR)?;
        let mut r = Roaming {
            sys,
            ctl,
            interface: m.interface.clone(),
            home: m.home,
            prefix: m.prefix,
            router: m.router,
            reverse: m.flags & T != 0,
            at: None,
            tunnel: None,
            agent: ANY,
        };
        plumb::nd_set(sys, "ip_forwarding", "0")?;
        // A broadcast of the home network comes by ip0, not by the interface that has it; as
        // nothing is forwarded this means no more than that it is heard.
        plumb::nd_set(sys, "ip_forward_directed_broadcasts", "1")?;
        // The link first: a tunnel may share its address, a link may not.
        plumb::set_address(sys, &m.interface, m.home)?;
        plumb::set_netmask(sys, &m.interface, mask(m.prefix))?;
        plumb::up(sys, &m.interface)?;
        r.plumb_tunnel(m.home)?;
        // 4.3: to our address, and what is broadcast at home.
        for to in [m.home, HOST, r.broadcast()] {
            Client::new(sys, ctl).decap_add(to, ANY, DECAP_IF_DST)?;
        }
        Ok(r)
    }

    /// What comes out of a tunnel is taken from this home agent only (RFC 2003 6.2).
    ///
    /// # Errors
    /// Those of the ioctl.
    pub fn trust(&mut self, agent: Ipv4Addr) -> Result<(), Errno> {
        let vt = Client::new(self.sys, self.ctl);
        if self.agent != ANY {
            settled(vt.source_rem(self.agent, HOST))?;
        }
        self.agent = agent;
        settled(vt.source_add(agent, HOST))
    }

    /// Where it is.
    pub fn at(&self) -> Option<At> {
        self.at
    }

    fn plumb_tunnel(&mut self, from: Ipv4Addr) -> Result<(), Errno> {
        if let Some(name) = self.tunnel.take() {
            plumb::unplumb(self.sys, &name)?;
        }
        self.tunnel = Some(tunnel::plumb(self.sys, IPIP, from, self.home, DUMMY)?);
        Ok(())
    }

    /// The broadcast address of the home network.
    fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.home.to_bits() | !mask(self.prefix).to_bits())
    }

    fn arp(&self, on: bool) -> Result<(), Errno> {
        let (set, clear) = if on { (0, iff::NOARP) } else { (iff::NOARP, 0) };
        plumb::set_flags(self.sys, &self.interface, set, clear)
    }

    /// Forgets the routes of where it was.
    fn leave(&mut self) -> Result<(), Errno> {
        let drop = |dst, mask, gw| settled(plumb::route_delete(self.sys, dst, mask, gw));
        match self.at.take() {
            Some(At::Home) => {
                if let Some(r) = self.router {
                    drop(ANY, ANY, r)?;
                }
            }
            Some(At::Visiting(agent, _)) => {
                drop(ANY, ANY, agent)?;
                settled(plumb::arp_set(self.sys, agent, None, false, false))?;
                drop(agent, HOST, self.home)?;
            }
            Some(At::Own(c)) => {
                drop(ANY, ANY, c.router)?;
                if self.reverse {
                    drop(ANY, ANY, DUMMY)?;
                    drop(self.agent, HOST, c.router)?;
                    let vt = Client::new(self.sys, self.ctl);
                    settled(vt.encap_rem(DEFAULT, ANY, None))?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Configures IP for a place.
    ///
    /// # Errors
    /// Those of the ioctls.
    pub fn go(&mut self, to: At) -> Result<(), Errno> {
        if self.at == Some(to) {
            return Ok(());
        }
        self.leave()?;
        let (sys, le) = (self.sys, self.interface.clone());
        let route = |dst, mask, gw, flags| settled(plumb::route_add(sys, dst, mask, gw, flags));
        match to {
            At::Home => {
                // 4.6: ARP again, and the new address is announced when it is set.
                self.arp(true)?;
                plumb::set_address(sys, &le, self.home)?;
                plumb::set_netmask(sys, &le, mask(self.prefix))?;
                plumb::up(sys, &le)?;
                if let Some(r) = self.router {
                    route(ANY, ANY, r, 1)?;
                }
            }
            At::Visiting(agent, mac) => {
                // 4.6: nothing about the home address is broadcast on this link.
                self.arp(false)?;
                plumb::set_netmask(sys, &le, HOST)?;
                plumb::set_address(sys, &le, self.home)?;
                plumb::set_broadcast(sys, &le, self.broadcast())?; // 4.3: heard from afar
                plumb::up(sys, &le)?;
                route(agent, HOST, self.home, 0)?;
                plumb::arp_set(sys, agent, Some(mac), true, false)?;
                route(ANY, ANY, agent, 1)?;
            }
            At::Own(c) => {
                self.arp(false)?; // until the home address is off the link
                plumb::set_address(sys, &le, c.addr)?;
                plumb::set_netmask(sys, &le, mask(c.prefix))?;
                plumb::up(sys, &le)?;
                self.arp(true)?;
                if self.reverse {
                    self.plumb_tunnel(c.addr)?;
                    route(self.agent, HOST, c.router, 1)?;
                    Client::new(sys, self.ctl).encap_add(&Binding::new(DEFAULT, self.agent))?;
                    route(ANY, ANY, DUMMY, 1)?;
                } else {
                    route(ANY, ANY, c.router, 1)?;
                }
            }
        }
        self.at = Some(to);
        Ok(())
    }
}
