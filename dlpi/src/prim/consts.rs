//! The numbers that fields of primitives hold.
//!
//! Spec: sys/dlpi.h, dlpi(7P), le(7D) for the ioctls.

/// Media, `dl_mac_type`.
pub mod mac {
    /// IEEE 802.3.
    pub const DL_CSMACD: u32 = 0;
    /// Token bus.
    pub const DL_TPB: u32 = 1;
    /// Token ring.
    pub const DL_TPR: u32 = 2;
    /// Metro net.
    pub const DL_METRO: u32 = 3;
    /// Ethernet.
    pub const DL_ETHER: u32 = 4;
    /// HDLC.
    pub const DL_HDLC: u32 = 5;
    /// Character synchronous.
    pub const DL_CHAR: u32 = 6;
    /// Channel to channel.
    pub const DL_CTCA: u32 = 7;
    /// FDDI.
    pub const DL_FDDI: u32 = 8;
    /// None of these.
    pub const DL_OTHER: u32 = 9;
    /// Loopback.
    pub const DL_LOOP: u32 = 0x0e;
    /// An IPv4 tunnel (Sun, later than 2.6).
    pub const DL_IPV4: u32 = 0x8000_0001;
    /// An IPv6 tunnel (Sun, later than 2.6).
    pub const DL_IPV6: u32 = 0x8000_0002;
}

/// Connection-oriented service.
pub const DL_CODLS: u32 = 1;
/// Connectionless service.
pub const DL_CLDLS: u32 = 2;
/// Acknowledged connectionless service.
pub const DL_ACLDLS: u32 = 4;

/// The stream is attached by its open.
pub const DL_STYLE1: u32 = 0x500;
/// The stream is attached by DL_ATTACH_REQ.
pub const DL_STYLE2: u32 = 0x501;
/// `dl_version`.
pub const DL_VERSION_2: u32 = 2;

/// DL_PROMISCON_REQ: every frame on the medium.
pub const DL_PROMISC_PHYS: u32 = 1;
/// DL_PROMISCON_REQ: every SAP.
pub const DL_PROMISC_SAP: u32 = 2;
/// DL_PROMISCON_REQ: every multicast address.
pub const DL_PROMISC_MULTI: u32 = 3;

/// `dl_xidtest_flg`: the provider answers XID.
pub const DL_AUTO_XID: u32 = 1;
/// `dl_xidtest_flg`: the provider answers TEST.
pub const DL_AUTO_TEST: u32 = 2;

/// `dl_addr_type`: the address that the link was made with.
pub const DL_FACT_PHYS_ADDR: u32 = 1;
/// `dl_addr_type`: the address in use.
pub const DL_CURR_PHYS_ADDR: u32 = 2;
/// `dl_addr_type`: an IPv6 interface identifier.
pub const DL_IPV6_TOKEN: u32 = 3;
/// `dl_addr_type`: the link-layer address for IPv6.
pub const DL_IPV6_LINK_LAYER_ADDR: u32 = 4;

/// `dl_flag` of XID and TEST: the poll or final bit.
pub const DL_POLL_FINAL: u32 = 1;

/// A quality that is not known.
pub const DL_UNKNOWN: i32 = -1;
/// A quality that does not matter.
pub const DL_QOS_DONT_CARE: i32 = -2;
/// `dl_qos_type`: the qualities selected of connectionless service.
pub const DL_QOS_CL_SEL1: u32 = 0x104;
/// `dl_protection`: none.
pub const DL_PROT_NONE: i32 = 0xb01;

/// `dl_subs_bind_class`.
pub const DL_PEER_BIND: u32 = 1;
/// `dl_subs_bind_class`.
pub const DL_HIERARCHICAL_BIND: u32 = 2;

/// What DL_NOTIFY_REQ asks for and DL_NOTIFY_IND tells.
pub mod note {
    /// The physical address changed.
    pub const DL_NOTE_PHYS_ADDR: u32 = 0x01;
    /// Physical promiscuity was turned on.
    pub const DL_NOTE_PROMISC_ON_PHYS: u32 = 0x02;
    /// Physical promiscuity was turned off.
    pub const DL_NOTE_PROMISC_OFF_PHYS: u32 = 0x04;
    /// The link went down.
    pub const DL_NOTE_LINK_DOWN: u32 = 0x08;
    /// The link came up.
    pub const DL_NOTE_LINK_UP: u32 = 0x10;
    /// An aggregation became available.
    pub const DL_NOTE_AGGR_AVAIL: u32 = 0x20;
    /// An aggregation went away.
    pub const DL_NOTE_AGGR_UNAVAIL: u32 = 0x40;
    /// The largest SDU changed; `data` has the new size.
    pub const DL_NOTE_SDU_SIZE: u32 = 0x80;
    /// The speed changed; `data` has it in kbit/s.
    pub const DL_NOTE_SPEED: u32 = 0x100;
    /// Fast-path headers must be asked for again.
    pub const DL_NOTE_FASTPATH_FLUSH: u32 = 0x200;
    /// Capabilities must be negotiated again.
    pub const DL_NOTE_CAPAB_RENEG: u32 = 0x400;
}

/// ioctl: whole link-layer frames as M_DATA from now on.
pub const DLIOCRAW: i32 = 0x4401;
/// ioctl: native mode of a wireless link (later than 2.6).
pub const DLIOCNATIVE: i32 = 0x4402;
/// ioctl: the link header for a DL_UNITDATA_REQ template, the "fast path".
pub const DL_IOC_HDR_INFO: i32 = 0x440a;

/// The SAP of IPv4.
pub const SAP_IP: u32 = 0x0800;
/// The SAP of ARP.
pub const SAP_ARP: u32 = 0x0806;
/// The SAP of RARP.
pub const SAP_RARP: u32 = 0x8035;
/// The SAP of IPv6.
pub const SAP_IPV6: u32 = 0x86dd;
