//! The addresses of an interface: le0 has the first, le0:1 and its like (ipifs) the others.
//!
//! ```text
//!   le0   ─┐                    ┌─► local, subnet, broadcasts   up: these routes are there,
//!   le0:1 ─┼─ ill: one link ────┼─► local, subnet, broadcasts   each under its ipif's number
//!   le0:7 ─┘  one arp           └─► local, far end (ppp)
//! ```
//!
//! An ipif is made by the first ioctl that sets something of it, or by SIOCLIFADDIF; the
//! first one, number 0, is as old as its link and stays as long. What the link is (it
//! broadcasts, it runs, it needs no ARP) is the ill's; what an address is, is the ipif's.
//!
//! Invariant: `Ill::ipifs` is in order of number and starts with number 0; the ill is up when
//! one of them is; a route with an ipif's number is gone once that ipif is down.
//!
//! Spec: if(7P), ifconfig(1M) "Logical interfaces", the reference's ip-tpi 5.3, 6.2, 7.

use streams::Errno;

use crate::dad::Claim;
use crate::ill::{Ill, iff};
use crate::ire::{Ire, IreKind, RTF_UP};
use crate::stack::Stack;
use crate::wire::{class_mask, is_multicast};

/// An address of an interface, and what goes with it. Addresses are in host order.
#[derive(Clone, Debug, Default)]
pub struct Ipif {
    /// Its number: 1 in `le0:1`, 0 in `le0`.
    pub id: u16,
    /// The address; 0 before it is set.
    pub addr: u32,
    /// Netmask.
    pub mask: u32,
    /// Broadcast address.
    pub broadcast: u32,
    /// Far end of a point-to-point link.
    pub dst: u32,
    /// Largest datagram, bytes.
    pub mtu: u32,
    /// `ifr_metric`.
    pub metric: u32,
    /// Its own IFF bits: [`iff::OF_ADDRESS`].
    pub flags: u16,
    /// Whether somebody else has it too.
    pub claim: Claim,
    /// Routes that were added by hand and are down with it.
    pub(crate) saved: Vec<Ire>,
}

impl Ipif {
    /// Up?
    #[inline]
    pub fn is_up(&self) -> bool {
        self.flags & iff::UP != 0
    }

    /// Is this address on its subnet?
    pub fn on_subnet(&self, a: u32) -> bool {
        self.addr != 0 && (a ^ self.addr) & self.mask == 0
    }

    /// Gives it an address; the broadcast address follows where the link has one.
    pub fn set_addr(&mut self, a: u32, point_to_point: bool, broadcasts: bool) {
        self.addr = a;
        if point_to_point {
            self.mask = u32::MAX;
        } else if self.mask == 0 {
            self.mask = class_mask(a);
        }
        if broadcasts {
            self.broadcast = a | !self.mask;
        }
    }
}

/// Splits `le0:1` into the link's name and the number. `None`: not a name of an ipif.
/// A number has no zeros in front, as otherwise one would have several names.
pub fn split_name(name: &str) -> Option<(&str, u16)> {
    let Some((link, id)) = name.split_once(':') else {
        return Some((name, 0));
    };
    let plain = id == "0" || (!id.starts_with('0') && id.bytes().all(|b| b.is_ascii_digit()));
    let id = id.parse().ok().filter(|_| plain)?;
    Some((link, id))
}

impl Ill {
    /// One of its addresses by number.
    pub fn ipif(&self, id: u16) -> Option<&Ipif> {
        self.ipifs.iter().find(|p| p.id == id)
    }

    /// The same, to be changed.
    pub fn ipif_mut(&mut self, id: u16) -> Option<&mut Ipif> {
        self.ipifs.iter_mut().find(|p| p.id == id)
    }

    /// The addresses that are up.
    pub fn up(&self) -> impl Iterator<Item = &Ipif> {
        self.ipifs.iter().filter(|p| p.is_up() && p.addr != 0)
    }

    /// The one that is up with this address.
    pub fn with_addr(&self, a: u32) -> Option<&Ipif> {
        self.up().find(|p| p.addr == a)
    }

    /// The one to speak to a neighbour from: on its subnet, else the first that is up.
    pub fn near(&self, a: u32) -> Option<&Ipif> {
        let mut up = self.up();
        up.find(|p| p.on_subnet(a)).or_else(|| self.up().next())
    }

    /// The address to speak to a neighbour from; 0 if the interface has none.
    pub fn source_to(&self, a: u32) -> u32 {
        self.near(a).map_or(0, |p| p.addr)
    }

    /// The name of one of its addresses, such as `le0:1`.
    pub fn name_of(&self, id: u16) -> String {
        match id {
            0 => self.name.clone(),
            _ => format!("{}:{id}", self.name),
        }
    }

    /// The IFF bits that a user sees: the link's and the address's.
    pub fn flags_of(&self, p: &Ipif) -> u16 {
        self.flags & !iff::OF_ADDRESS | p.flags
    }

    /// Says whether an address is up; the ill is up when one is.
    pub fn set_up(&mut self, id: u16, up: bool) {
        let set = |flags: &mut u16, up| {
            *flags = *flags & !iff::UP | if up { iff::UP } else { 0 };
        };
        if let Some(p) = self.ipif_mut(id) {
            set(&mut p.flags, up);
        }
        let any = self.ipifs.iter().any(Ipif::is_up);
        set(&mut self.flags, any);
    }
}

impl Stack {
    /// An address by its name: the interface, and its number there. `None`: no such interface
    /// or no such address.
    pub fn ipif_named(&self, name: &str) -> Option<(u32, u16)> {
        let (link, id) = split_name(name)?;
        let at = self.ill_named(link)?;
        self.ill(at)?.ipif(id).map(|_| (at, id))
    }

    /// The same; makes it if its interface is there.
    ///
    /// # Errors
    /// ENXIO: no such interface, or its number is beyond `ip_addrs_per_if`.
    pub fn ipif_made(&mut self, name: &str) -> Result<(u32, u16), Errno> {
        let (link, id) = split_name(name).ok_or(Errno::ENXIO)?;
        let at = self.ill_named(link).ok_or(Errno::ENXIO)?;
        let most = self.params.addrs_per_if;
        let ill = self.ill_mut(at).ok_or(Errno::ENXIO)?;
        if ill.ipif(id).is_none() {
            if u32::from(id) >= most {
                return Err(Errno::ENXIO);
            }
            let place = ill.ipifs.partition_point(|p| p.id < id);
            let mtu = ill.ipifs.first().map_or(0, |p| p.mtu);
            let new = Ipif {
                id,
                mtu,
                ..Ipif::default()
            };
            ill.ipifs.insert(place, new);
        }
        Ok((at, id))
    }

    /// The lowest number that no address of an interface has.
    ///
    /// # Errors
    /// ENXIO: no such interface. ENOBUFS: it has `ip_addrs_per_if` of them.
    pub fn free_ipif(&self, at: u32) -> Result<u16, Errno> {
        let ill = self.ill(at).ok_or(Errno::ENXIO)?;
        let used = ill.ipifs.iter().zip(0..).take_while(|(p, n)| p.id == *n);
        let id = used.count() as u32;
        u16::try_from(id)
            .ok()
            .filter(|_| id < self.params.addrs_per_if)
            .ok_or(Errno::ENOBUFS)
    }

    /// Takes an address away with its routes; number 0 stays with its link.
    ///
    /// # Errors
    /// ENXIO: there is none. EINVAL: it is number 0.
    pub fn remove_ipif(&mut self, at: u32, id: u16) -> Result<(), Errno> {
        if id == 0 {
            return Err(Errno::EINVAL);
        }
        self.ipif_down(at, id);
        let ill = self.ill_mut(at).ok_or(Errno::ENXIO)?;
        let place = ill.ipifs.iter().position(|p| p.id == id);
        ill.ipifs.remove(place.ok_or(Errno::ENXIO)?);
        Ok(())
    }

    /// An address comes up with its routes (ipif_up_done), and those that went down with it.
    pub fn ipif_up(&mut self, at: u32, id: u16) {
        if let Some(ill) = self.ill_mut(at) {
            ill.set_up(id, true);
        }
        self.add_interface_routes(at, id);
        let p = self.ill_mut(at).and_then(|i| i.ipif_mut(id));
        let Some((saved, src, mtu)) = p.map(|p| (std::mem::take(&mut p.saved), p.addr, p.mtu))
        else {
            return;
        };
        for r in saved {
            // One that was added again meanwhile is there already.
            let _ = self.ires.add(Ire { src, mtu, ..r });
        }
    }

    /// An address goes down; all of its routes go, those added by hand until it is up again.
    pub fn ipif_down(&mut self, at: u32, id: u16) {
        self.give_claim_up(at, id);
        self.save_routes(at, |r| r.ipif == id);
        if let Some(ill) = self.ill_mut(at) {
            ill.set_up(id, false);
        }
        self.ires.delete_where(|r| r.ill == at && r.ipif == id);
    }

    /// Keeps the routes by hand of an interface to which `pred` agrees with their addresses.
    fn save_routes(&mut self, at: u32, pred: impl Fn(&Ire) -> bool) {
        let by_hand = |r: &&Ire| {
            r.ill == at && r.flags & RTF_UP != 0 && r.kind != IreKind::HostRedirect && pred(r)
        };
        let all: Vec<Ire> = self
            .ires
            .iter()
            .map(|r| r.1)
            .filter(by_hand)
            .copied()
            .collect();
        let Some(ill) = self.ill_mut(at) else { return };
        for r in all {
            if let Some(p) = ill.ipif_mut(r.ipif) {
                p.saved.push(r);
            }
        }
    }

    /// All addresses of an interface go down, and everything that leads to its link.
    pub fn ill_down(&mut self, at: u32) {
        self.save_routes(at, |_| true);
        if let Some(ill) = self.ill_mut(at) {
            ill.flags &= !iff::UP;
            for p in &mut ill.ipifs {
                p.flags &= !iff::UP;
                p.claim = Claim::default();
            }
        }
        self.ires.delete_where(|r| r.ill == at);
    }

    /// The routes that an address makes by being up.
    pub fn add_interface_routes(&mut self, at: u32, id: u16) {
        let Some(ill) = self.ill(at) else { return };
        let Some(p) = ill.ipif(id) else { return };
        let (addr, mask, dst, mtu, link) = (p.addr, p.mask, p.dst, p.mtu, ill.flags);
        let broadcast = p.broadcast;
        let ire = |kind, dst, mask| Ire {
            kind,
            dst,
            mask,
            gateway: 0,
            ill: at,
            ipif: id,
            src: addr,
            flags: 0,
            mtu,
        };
        let mut add = Vec::new();
        if addr != 0 {
            let kind = match addr >> 24 {
                127 => IreKind::Loopback,
                _ => IreKind::Local,
            };
            add.push(ire(kind, addr, u32::MAX));
        }
        let on_link = if link & iff::NOARP != 0 {
            IreKind::IfNoResolver
        } else {
            IreKind::IfResolver
        };
        if link & iff::LOOPBACK != 0 {
            // Nobody is on its link.
        } else if link & iff::POINTOPOINT != 0 {
            add.push(ire(on_link, dst, u32::MAX));
        } else if addr != 0 {
            add.push(ire(on_link, addr & mask, mask));
        }
        if link & iff::BROADCAST != 0 && addr != 0 {
            let class = class_mask(addr);
            let mut all = vec![0, u32::MAX, addr & mask, broadcast, addr | !mask];
            if mask & !class != 0 {
                all.extend([addr & class, addr | !class]);
            }
            for a in all {
                add.push(ire(IreKind::Broadcast, a, u32::MAX));
            }
        }
        for i in add {
            // A point-to-point link may share its address: the first route to it is used.
            let _ = self.ires.add(i);
        }
    }

    /// Takes the routes away that an address made by being up.
    pub fn remove_interface_routes(&mut self, at: u32, id: u16) {
        let own = |i: &Ire| {
            matches!(
                i.kind,
                IreKind::Local
                    | IreKind::Loopback
                    | IreKind::IfNoResolver
                    | IreKind::IfResolver
                    | IreKind::Broadcast
            ) && i.flags & RTF_UP == 0 // those added by hand stay
        };
        self.ires
            .delete_where(|i| i.ill == at && i.ipif == id && own(i));
    }

    /// The mask of a network of which only the number is told: that of an interface on a
    /// subnet of the same class network, else the class's.
    pub fn net_mask(&self, net: u32) -> u32 {
        let class = class_mask(net);
        let subnets = self.ills.iter().flatten().flat_map(Ill::up);
        let mut alike =
            subnets.filter(|p| (p.addr ^ net) & class == 0 && p.mask != u32::MAX && p.mask != 0);
        alike.next().map_or(class, |p| p.mask)
    }

    /// May this be an interface's address (SIOCSIFADDR)?
    pub fn valid_address(addr: u32, mask: u32, point_to_point: bool) -> Result<(), Errno> {
        if is_multicast(addr) || addr >> 28 == 0xf {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let host = addr & !mask;
        if addr != 0 && !point_to_point && mask != u32::MAX && (host == 0 || host == !mask) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        // ip-tpi.md 6.2 "logical unit suffix :N"
        assert_eq!(split_name("le0"), Some(("le0", 0)));
        assert_eq!(split_name("le0:0"), Some(("le0", 0)));
        assert_eq!(split_name("le0:12"), Some(("le0", 12)));
        for bad in ["le0:", "le0:01", "le0:x", "le0:+1", "le0:1:2", "le0:65536"] {
            assert_eq!(split_name(bad), None, "{bad}");
        }
    }
}
