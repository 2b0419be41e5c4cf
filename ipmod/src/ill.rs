//! An interface: a link below (ill); the addresses on it are in ipif.rs.
//!
//! ```text
//!   I_PUSH ip ─► DL_INFO ─► named (IF_UNITSEL): ATTACH BIND INFO PHYS_ADDR UNBIND
//!             ─► up (SIOCSIFFLAGS): BIND, routes      down: routes gone, UNBIND
//! ```
//!
//! Spec: if(7P), dlpi(7P), the reference's dlpi sections 5.2 and 10, ip-tpi section 7.

use dlpi::prim::{InfoAck, Prim};
use smallvec::SmallVec;
use streams::{Errno, Msg, QRef};

use crate::ipif::Ipif;

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
    /// Multicasts go as broadcasts: the link has none.
    pub const MULTI_BCAST: u16 = 0x1000;
    /// Shares its address with another interface.
    pub const UNNUMBERED: u16 = 0x2000;
    /// DHCP looks after it.
    pub const DHCPRUNNING: u16 = 0x4000;
    /// Not to be told to others by a routing daemon.
    pub const PRIVATE: u16 = 0x8000;
    /// Belongs to an address, not to its link.
    pub const OF_ADDRESS: u16 = UP | UNNUMBERED | DHCPRUNNING | PRIVATE;
    /// What SIOCSIFFLAGS can't change.
    pub const FIXED: u16 = BROADCAST
        | LOOPBACK
        | POINTOPOINT
        | RUNNING
        | 0x100
        | 0x200
        | MULTICAST
        | MULTI_BCAST
        | UNNUMBERED;
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
    /// Naming: which changes of the link are told.
    Notify,
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

/// A data link address with its SAP, short enough to be kept in its place.
pub type Dlsap = SmallVec<[u8; 16]>;

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
    /// The link's IFF bits; IFF_UP when one of its addresses is up.
    pub flags: u16,
    /// Its addresses, in order of their numbers; number 0 is always there.
    pub ipifs: Vec<Ipif>,
    /// Multiplexor ids (SIOCSIFMUXID).
    pub muxid: [i32; 2],
    /// The answer it waits for.
    pub dl: Dl,
    /// The first error of the conversation.
    pub error: Option<Errno>,
    /// The ioctl that the conversation is for, and the queue to answer on.
    pub pending: Option<(Msg, QRef)>,
    /// The address that is coming up.
    pub rising: u16,
    /// Its index, if it was set (SIOCSIFINDEX); else it is by its place.
    pub index: Option<u32>,
    /// Claims to an address that were started (dad.rs).
    pub turns: u32,
    /// Bare M_DATA is accepted below (DL_IOC_HDR_INFO was acknowledged).
    pub fastpath: bool,
    /// Bound to a SAP.
    pub bound: bool,
    /// The provider has said that the link is down (DL_NOTE_LINK_DOWN).
    pub no_carrier: bool,
    /// Its link is a tunnel through this very IP.
    pub tunnel: bool,
}

impl Ill {
    /// lo0.
    pub fn loopback() -> Ill {
        let mut lo = Ill::new();
        lo.name = "lo0".to_owned();
        lo.flags = iff::UP | iff::LOOPBACK | iff::RUNNING | iff::MULTICAST;
        lo.ipifs = vec![Ipif {
            addr: 0x7f00_0001,
            mask: 0xff00_0000,
            mtu: 8232,
            flags: iff::UP,
            ..Ipif::default()
        }];
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
            flags: 0,
            ipifs: vec![Ipif::default()],
            muxid: [0; 2],
            dl: Dl::New,
            error: None,
            pending: None,
            rising: 0,
            index: None,
            turns: 0,
            fastpath: false,
            bound: false,
            no_carrier: false,
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
        for p in &mut self.ipifs {
            if p.mtu == 0 || p.mtu > info.max_sdu {
                p.mtu = info.max_sdu;
            }
        }
        self.info = info;
    }

    /// The DLSAP of a link address with IP's SAP, as this provider orders it.
    pub fn dlsap(&self, mac: &[u8], sap: u16) -> Dlsap {
        let n = self.info.sap_length.unsigned_abs() as usize;
        let sap = &sap.to_ne_bytes()[..n.min(2)];
        let (first, then) = match self.info.sap_length < 0 {
            true => (mac, sap),
            false => (sap, mac),
        };
        let mut all = Dlsap::from_slice(first);
        all.extend_from_slice(then);
        all
    }
}

impl Default for Ill {
    fn default() -> Ill {
        Ill::new()
    }
}

/// The bind of IP's SAP.
pub(crate) fn bind_ip() -> Msg {
    Prim::bind(dlpi::prim::SAP_IP).emit()
}
