//! An interface: a link below (ill) and the address on it (ipif).
//!
//! ```text
//!   I_PUSH ip ─► DL_INFO ─► named (IF_UNITSEL): ATTACH BIND INFO PHYS_ADDR UNBIND
//!             ─► up (SIOCSIFFLAGS): BIND, routes      down: routes gone, UNBIND
//! ```
//!
//! Spec: if(7P), dlpi(7P), the reference's dlpi sections 5.2 and 10, ip-tpi section 7.

use dlpi::prim::{InfoAck, Prim};
use streams::{Errno, Msg, QRef};

use crate::ire::{Ire, IreKind};
use crate::stack::Stack;
use crate::wire::{class_mask, is_multicast};

/// Interface flags (net/if.h).
pub mod iff {
    /// Up.
    pub const UP: u16 = 0x1;
    /// Has a broadcast address.
    pub const BROADCAST: u16 = 0x2;
    /// Loopback.
    pub const LOOPBACK: u16 = 0x8;
    /// Point to point.
    pub const POINTOPOINT: u16 = 0x10;
    /// Resources are there.
    pub const RUNNING: u16 = 0x40;
    /// No ARP.
    pub const NOARP: u16 = 0x80;
    /// Supports multicast.
    pub const MULTICAST: u16 = 0x800;
    /// Shares its address with another interface.
    pub const UNNUMBERED: u16 = 0x2000;
    /// What SIOCSIFFLAGS can't change.
    pub const FIXED: u16 =
        BROADCAST | LOOPBACK | POINTOPOINT | RUNNING | 0x100 | 0x200 | MULTICAST | UNNUMBERED;
}

/// Smallest MTU (RFC 791).
pub const IP_MIN_MTU: u32 = 68;

/// Which answer of the provider an interface waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dl {
    /// Pushed, nothing asked yet.
    New,
    /// None.
    Idle,
    /// The first DL_INFO_ACK, at push.
    Info,
    /// Naming: attach.
    Attach,
    /// Naming: first bind.
    Bind,
    /// Naming: the DL_INFO_ACK that counts.
    SecondInfo,
    /// Naming: the physical address.
    PhysAddr,
    /// Naming: unbind.
    Unbind,
    /// Coming up: bind.
    Up,
    /// Coming up: the fast path header.
    FastPath,
    /// Closing: unbind.
    CloseUnbind,
    /// Closing: detach.
    CloseDetach,
}

/// An interface.
pub struct Ill {
    /// Its name, such as `le0`; empty until it is named.
    pub name: String,
    /// Its PPA.
    pub ppa: u32,
    /// The write queue of its ip instance; none for lo0.
    pub wq: Option<QRef>,
    /// The write queue of its arp instance.
    pub arp: Option<QRef>,
    /// What the provider said.
    pub info: InfoAck,
    /// Its link address.
    pub mac: Vec<u8>,
    /// Largest datagram.
    pub mtu: u32,
    /// IFF bits.
    pub flags: u16,
    /// Its address, mask, broadcast address and the far end's.
    pub addr: u32,
    /// Netmask.
    pub mask: u32,
    /// Broadcast address.
    pub broadcast: u32,
    /// Far end of a point-to-point link.
    pub dst: u32,
    /// `ifr_metric`.
    pub metric: u32,
    /// Multiplexor ids (SIOCSIFMUXID).
    pub muxid: [i32; 2],
    /// The answer it waits for.
    pub dl: Dl,
    /// The first error of the conversation.
    pub error: Option<Errno>,
    /// The ioctl that the conversation is for, and the queue to answer on.
    pub pending: Option<(Msg, QRef)>,
    /// Bare M_DATA is accepted below (DL_IOC_HDR_INFO was acknowledged).
    pub fastpath: bool,
    /// Bound to a SAP.
    pub bound: bool,
    /// Its link is a tunnel through this very IP.
    pub tunnel: bool,
}

impl Ill {
    /// lo0.
    pub fn loopback() -> Ill {
        let mut lo = Ill::new();
        lo.name = "lo0".to_owned();
        lo.mtu = 8232;
        lo.flags = iff::UP | iff::LOOPBACK | iff::RUNNING | iff::MULTICAST;
        lo.addr = 0x7f00_0001;
        lo.mask = 0xff00_0000;
        lo
    }

    /// An interface that has no name yet.
    pub fn new() -> Ill {
        Ill {
            name: String::new(),
            ppa: 0,
            wq: None,
            arp: None,
            info: InfoAck::default(),
            mac: Vec::new(),
            mtu: 0,
            flags: 0,
            addr: 0,
            mask: 0,
            broadcast: 0,
            dst: 0,
            metric: 0,
            muxid: [0; 2],
            dl: Dl::New,
            error: None,
            pending: None,
            fastpath: false,
            bound: false,
            tunnel: false,
        }
    }

    /// Up?
    #[inline]
    pub fn is_up(&self) -> bool {
        self.flags & iff::UP != 0
    }

    /// Needs ARP?
    #[inline]
    pub fn resolves(&self) -> bool {
        self.flags & iff::NOARP == 0 && self.flags & iff::BROADCAST != 0
    }

    /// Takes what a DL_INFO_ACK says (the reference's dlpi 5.2).
    pub fn classify(&mut self, info: InfoAck) {
        self.flags &= iff::UP;
        self.flags |= iff::RUNNING;
        if !info.brdcst_addr.is_empty() {
            self.flags |= iff::BROADCAST | iff::MULTICAST;
        } else if info.phys_len() > 0 {
            self.flags |= iff::NOARP;
        } else {
            self.flags |= iff::NOARP | iff::POINTOPOINT | iff::MULTICAST;
        }
        if self.mtu == 0 || self.mtu > info.max_sdu {
            self.mtu = info.max_sdu;
        }
        self.info = info;
    }

    /// The DLSAP of a link address with IP's SAP, as this provider orders it.
    pub fn dlsap(&self, mac: &[u8], sap: u16) -> Vec<u8> {
        let n = self.info.sap_length.unsigned_abs() as usize;
        let sap = &sap.to_ne_bytes()[..n.min(2)];
        if self.info.sap_length < 0 {
            [mac, sap].concat()
        } else {
            [sap, mac].concat()
        }
    }
}

impl Default for Ill {
    fn default() -> Ill {
        Ill::new()
    }
}

impl Stack {
    /// The routes of an interface that comes up (ipif_up_done).
    pub fn add_interface_routes(&mut self, at: u32) {
        let Some(ill) = self.ill(at) else { return };
        let (addr, mask, dst, mtu, flags) = (ill.addr, ill.mask, ill.dst, ill.mtu, ill.flags);
        let broadcast = ill.broadcast;
        let ire = |kind, dst, mask| Ire {
            kind,
            dst,
            mask,
            gateway: 0,
            ill: at,
            src: addr,
            flags: 0,
            mtu,
            uses: 0,
        };
        let mut add = Vec::new();
        if addr != 0 {
            add.push(ire(IreKind::Local, addr, u32::MAX));
        }
        let on_link = if flags & iff::NOARP != 0 {
            IreKind::IfNoResolver
        } else {
            IreKind::IfResolver
        };
        if flags & iff::POINTOPOINT != 0 {
            add.push(ire(on_link, dst, u32::MAX));
        } else if addr != 0 {
            add.push(ire(on_link, addr & mask, mask));
        }
        if flags & iff::BROADCAST != 0 && addr != 0 {
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
            // A point-to-point link may share its address: the first route to it stays.
            let _ = self.ires.add(i);
        }
    }

    /// Takes the routes of an interface away; those of an address that another interface
    /// has too come back for it.
    pub fn remove_interface_routes(&mut self, at: u32) {
        let local = |i: &Ire| {
            matches!(
                i.kind,
                IreKind::Local | IreKind::IfNoResolver | IreKind::IfResolver | IreKind::Broadcast
            )
        };
        self.ires.delete_where(|i| i.ill == at && local(i));
        let addr = self.ill(at).map_or(0, |i| i.addr);
        let heir = (0..self.ills.len() as u32).find(|&i| {
            i != at
                && self
                    .ill(i)
                    .is_some_and(|l| l.is_up() && l.addr == addr && addr != 0)
        });
        if let Some(h) = heir {
            self.add_interface_routes(h);
        }
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

/// The bind of IP's SAP.
pub(crate) fn bind_ip() -> Msg {
    Prim::bind(dlpi::prim::SAP_IP).emit()
}
