//! What a route is: the internet routing entry (IRE), its kinds and flags.
//!
//! The table of them is ire_table.rs.
//!
//! Spec: IRE types as in Solaris `inet/ip.h`, RTF bits as in route(7P).

pub use crate::ire_table::IreTable;

/// The route may be used.
pub const RTF_UP: u16 = 0x1;
/// The next hop is a gateway, not the destination.
pub const RTF_GATEWAY: u16 = 0x2;
/// The destination is one host.
pub const RTF_HOST: u16 = 0x4;
/// Datagrams are refused with host unreachable.
pub const RTF_REJECT: u16 = 0x8;
/// Made by a redirect.
pub const RTF_DYNAMIC: u16 = 0x10;
/// Changed by a redirect.
pub const RTF_MODIFIED: u16 = 0x20;
/// Added by hand.
pub const RTF_STATIC: u16 = 0x800;
/// Datagrams are dropped without a word.
pub const RTF_BLACKHOLE: u16 = 0x1000;
/// Not to be told to others by a routing daemon.
pub const RTF_PRIVATE: u16 = 0x2000;

/// [`Ire::ill`] of a route that names no interface.
pub const NO_ILL: u32 = u32::MAX;

/// What a route is, with the numbers of `inet/ip.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum IreKind {
    /// A broadcast address of an interface.
    Broadcast = 0x01,
    /// A default route.
    Default = 0x02,
    /// An address of this host.
    Local = 0x04,
    /// An address of the loopback interface.
    Loopback = 0x08,
    /// A network by way of a gateway.
    Prefix = 0x10,
    /// What is known about one destination.
    Cache = 0x20,
    /// On the link, and the link needs no address resolution.
    IfNoResolver = 0x40,
    /// On the link, by address resolution.
    IfResolver = 0x80,
    /// A host by way of a gateway.
    Host = 0x100,
    /// A host by way of the gateway that a redirect named.
    HostRedirect = 0x200,
}

impl IreKind {
    /// The order among routes of equal length; the lowest is used.
    pub(crate) fn rank(self) -> u8 {
        match self {
            IreKind::Broadcast | IreKind::Local | IreKind::Loopback => 0,
            IreKind::Cache => 1,
            IreKind::HostRedirect => 2, // newer than the host route that it corrects
            IreKind::Host => 3,
            IreKind::IfNoResolver | IreKind::IfResolver => 4,
            IreKind::Prefix => 5,
            IreKind::Default => 6,
        }
    }
}

/// One route. Addresses are in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ire {
    /// What it is.
    pub kind: IreKind,
    /// The destination, an address or a network.
    pub dst: u32,
    /// How much of `dst` counts; ones without a gap, from the left.
    pub mask: u32,
    /// The next hop; 0: the destination itself.
    pub gateway: u32,
    /// The number of the interface; [`NO_ILL`]: that by which the gateway is reached.
    pub ill: u32,
    /// The number of the address there that the route belongs to, and goes down with.
    pub ipif: u16,
    /// The source address for what starts here; 0: none said.
    pub src: u32,
    /// RTF bits.
    pub flags: u16,
    /// The largest datagram, 0 if not known.
    pub mtu: u32,
}

impl Ire {
    /// What the name of a deleted route gives: everything sent to it is dropped.
    pub const GONE: Ire = Ire {
        kind: IreKind::Default,
        dst: 0,
        mask: 0,
        gateway: 0,
        ill: NO_ILL,
        ipif: 0,
        src: 0,
        flags: RTF_BLACKHOLE,
        mtu: 0,
    };

    /// Same route, for EEXIST: routes without a gateway may differ by their interface and
    /// its address, since each of those has its own 255.255.255.255.
    pub(crate) fn same(&self, o: &Ire) -> bool {
        let place = |i: &Ire| (i.ill, i.ipif);
        self.kind == o.kind
            && self.gateway == o.gateway
            && (self.gateway != 0 || place(self) == place(o))
    }
}

/// The name of a route in its table, good until the table's generation changes.
pub type IreId = u32;

/// The mask with `len` ones; all of them from 32 on.
pub fn mask_of(len: u8) -> u32 {
    (u64::MAX << 32u32.saturating_sub(u32::from(len))) as u32
}

/// How many ones a mask has; none if there is a gap.
pub fn len_of(mask: u32) -> Option<u8> {
    let len = mask.leading_ones() as u8;
    (mask_of(len) == mask).then_some(len)
}
