//! The rows of Tables 2 and 3, their arguments, and the extensions: one table for the
//! module, the shell and the manual.
//!
//! ```text
//!   I_STR ─► M_IOCTL ─ cmd ─► row ─► argument codec ─► privileged? ─► control.rs
//! ```
//!
//! Structures are those of a C program on this host (native byte order, natural
//! alignment); every IPv4 address is in network byte order. `include/vtunl.h` has the
//! same for C; a test compares sizes, offsets and numbers.
//!
//! Spec: the paper, section 3, Tables 2 and 3; the decisions, "Constants", "Structures".
//! Kept: the buffers of ENCAP_GET and DECAP_GET hold exactly what the paper lists.
//! Beyond: rows from 32 on, which show and set what the extensions add.

use streams::Errno;

use crate::decap_table::{DECAP_IF_DST, DECAP_IF_EITHER, DECAP_IF_SRC};
use crate::encap_table::{ENCAP_B, ENCAP_D, ENCAP_G, ENCAP_M, ENCAP_S, ENCAP_V};
use crate::prefix_map::Key;

/// The first byte of all vtunl ioctl numbers.
pub const VTUNLIOC: i32 = (b'V' as i32) << 8;
/// Bytes of `struct vtunl_req`.
pub const REQ_LEN: usize = 24;
/// Bytes of `struct vtunl_xreq`, which adds mask and lifetime.
pub const XREQ_LEN: usize = 32;
/// Bytes of `struct vtunl_conf` (LP64).
pub const CONF_LEN: usize = 56;
/// Characters of a module's name, without the end.
pub const MAXMNAME_SZ: usize = 11;

/// What an ioctl takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// `struct vtunl_req` or `vtunl_xreq`, in.
    Req,
    /// The same, in and out.
    ReqOut,
    /// An int, in.
    IntIn,
    /// An int, out.
    IntOut,
    /// `struct vtunl_conf`, out.
    Conf,
    /// A character buffer, out.
    Buffer,
    /// `struct vtunl_policy`, in.
    PolicyIn,
    /// `struct vtunl_policy`, out.
    PolicyOut,
    /// `struct vtunl_exit`, in.
    ExitIn,
}

impl Arg {
    /// The C type, as the manual shows it.
    pub const fn c_type(self) -> &'static str {
        match self {
            Arg::Req | Arg::ReqOut => "struct vtunl_req",
            Arg::IntIn | Arg::IntOut => "int",
            Arg::Conf => "struct vtunl_conf",
            Arg::Buffer => "char []",
            Arg::PolicyIn | Arg::PolicyOut => "struct vtunl_policy",
            Arg::ExitIn => "struct vtunl_exit",
        }
    }

    /// Is this a length that the argument may have?
    pub const fn takes(self, len: usize) -> bool {
        match self {
            Arg::Req | Arg::ReqOut => len == REQ_LEN || len == XREQ_LEN,
            Arg::IntIn | Arg::IntOut => len == 4,
            Arg::Conf => len == CONF_LEN,
            Arg::Buffer => true,
            Arg::PolicyIn | Arg::PolicyOut => len == 4,
            Arg::ExitIn => len == EXIT_LEN,
        }
    }
}

/// One ioctl.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number.
    pub cmd: i32,
    /// Its name in vtunl.h.
    pub name: &'static str,
    /// Its argument.
    pub arg: Arg,
    /// The fields of the argument that it uses.
    pub fields: &'static str,
    /// Needs a privileged credential.
    pub privileged: bool,
    /// Concerns the instance it is sent to (Table 2), not the tables of all (Table 3).
    pub instance: bool,
    /// What it does.
    pub help: &'static str,
}

macro_rules! rows {
    ($($(#[$doc:meta])* $konst:ident = $n:literal, $arg:ident, $privileged:literal, $instance:literal, $fields:literal, $help:literal;)*) => {
        $(#[doc = $help] pub const $konst: i32 = VTUNLIOC | $n;)*
        /// Every ioctl, by number.
        pub const IOCTLS: &[Row] = &[$(Row {
            cmd: $konst,
            name: stringify!($konst),
            arg: Arg::$arg,
            fields: $fields,
            privileged: $privileged,
            instance: $instance,
            help: $help,
        }),*];
    };
}

rows! {
    VTUNL_SETCONF_TRANSPORT = 1, Req, true, true, "vr_address vr_ip_protocol",
        "Configure an instance over /dev/ip: tunnel source, and the protocol subscribed to.";
    VTUNL_SETCONF_DLSUSER = 2, Req, true, true, "vr_address vr_addr_mask vr_ppa",
        "Configure an instance over a DLPI device: its address, netmask and PPA.";
    VTUNL_GETCONF = 3, Conf, false, true, "vtunl_conf",
        "Get information about this instance.";
    VTUNL_ENCAP_ADD = 4, Req, true, false, "vr_target_addr vr_t_exit_addr vr_encap_flags",
        "Encapsulate for a target, with this exit; flag S keeps the exits that it has.";
    VTUNL_ENCAP_REM = 5, Req, true, false, "vr_target_addr vr_t_exit_addr",
        "Cancel encapsulation for a target and exit; exit 0: all of the target's; target 0: all.";
    VTUNL_ENCAP_OK = 6, Req, false, false, "vr_target_addr",
        "0 if encapsulation is offered to the address, ENXIO otherwise.";
    VTUNL_ENCAP_SIZE = 7, IntOut, false, false, "integer",
        "The buffer that VTUNL_ENCAP_GET needs now.";
    VTUNL_ENCAP_GET = 8, Buffer, false, false, "character buffer",
        "Dump the encapsulation configuration.";
    VTUNL_DECAP_ADD = 9, Req, true, false, "vr_target_addr vr_decap_flags",
        "Decapsulate datagrams of an address, as source, destination or either; 0: of all.";
    VTUNL_DECAP_REM = 10, Req, true, false, "vr_target_addr",
        "Cancel decapsulation for an address; 0: no longer for all.";
    VTUNL_DECAP_OK = 11, Req, false, false, "vr_target_addr",
        "0 if decapsulation is provided for the address, ENXIO otherwise.";
    VTUNL_DECAP_SIZE = 12, IntOut, false, false, "integer",
        "The buffer that VTUNL_DECAP_GET needs now.";
    VTUNL_DECAP_GET = 13, Buffer, false, false, "character buffer",
        "Dump the decapsulation configuration.";
    VTUNL_DEBUG_SET = 14, IntIn, true, false, "integer",
        "Set the debug level: 0 quiet to 3 most verbose.";
    VTUNL_DEBUG_GET = 15, IntOut, false, false, "integer",
        "Get the debug level.";
    VTUNL_MAXPMTU_SET = 16, Req, true, false, "vr_address vr_mtu_bound",
        "Set an upper bound on the path MTU to an exit.";
    VTUNL_MAXPMTU_GET = 17, ReqOut, false, false, "vr_address vr_mtu_bound",
        "Get the bound on the path MTU to an exit.";
    VTUNL_NOTIFY = 32, IntIn, true, true, "integer",
        "Send an M_PCPROTO up this stream when bindings expire; 0: no longer.";
    VTUNL_STATS = 33, Buffer, false, false, "character buffer",
        "Counters of all instances, with the reasons of drops.";
    VTUNL_ENCAP_GETX = 34, Buffer, false, false, "character buffer",
        "Targets with masks, flags, remaining lifetimes and counters.";
    VTUNL_EXIT_GETX = 35, Buffer, false, false, "character buffer",
        "Exits with references, path MTU, state, options and counters.";
    VTUNL_DECAP_GETX = 36, Buffer, false, false, "character buffer",
        "Decapsulation targets with masks, and the outer sources allowed.";
    VTUNL_POLICY_SET = 37, PolicyIn, true, false, "vtunl_policy",
        "Set TTL, ECN mode, DSCP and DF of outer headers.";
    VTUNL_POLICY_GET = 38, PolicyOut, false, false, "vtunl_policy",
        "Get TTL, ECN mode, DSCP and DF of outer headers.";
    VTUNL_EXIT_SET = 39, ExitIn, true, false, "vtunl_exit",
        "Set TTL and GRE options towards an exit.";
    VTUNL_SOURCE_ADD = 40, Req, true, false, "vr_address vr_addr_mask",
        "Take datagrams to decapsulate from these outer sources only.";
    VTUNL_SOURCE_REM = 41, Req, true, false, "vr_address vr_addr_mask",
        "Take an outer source from the list; an empty list allows all.";
    VTUNL_INST_STATS = 42, Buffer, false, true, "character buffer",
        "Counters of this instance, with the reasons of its drops.";
}

/// The row of an ioctl number.
pub fn row(cmd: i32) -> Option<&'static Row> {
    IOCTLS.iter().find(|r| r.cmd == cmd)
}

/// Names of the encapsulation flags, in the paper's order.
pub const ENCAP_FLAGS: &[(char, u16)] = &[
    ('S', ENCAP_S),
    ('B', ENCAP_B),
    ('D', ENCAP_D),
    ('M', ENCAP_M),
    ('G', ENCAP_G),
    ('V', ENCAP_V),
];
/// Names of the decapsulation flags.
pub const DECAP_FLAGS: &[(&str, u16)] = &[
    ("src", DECAP_IF_SRC),
    ("dst", DECAP_IF_DST),
    ("either", DECAP_IF_EITHER),
];

/// `type` in vtunl_conf: a driver, or a module that is not configured yet.
pub const VTUNL_NONE: i32 = 0;
/// `type` in vtunl_conf: over /dev/ip, Figure 2(a).
pub const VTUNL_TRANSPORT: i32 = 1;
/// `type` in vtunl_conf: over a DLPI device, Figure 2(b).
pub const VTUNL_DLSUSER: i32 = 2;

/// `struct vtunl_req` and `vtunl_xreq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Req {
    /// `vr_target_addr`
    pub target_addr: u32,
    /// `vr_t_exit_addr`
    pub t_exit_addr: u32,
    /// `vr_encap_flags`
    pub encap_flags: u16,
    /// `vr_decap_flags`
    pub decap_flags: u16,
    /// `vr_address`
    pub address: u32,
    /// `vr_addr_mask`
    pub addr_mask: u32,
    /// `vr_ppa`
    pub ppa: u8,
    /// `vr_ip_protocol`
    pub ip_protocol: u8,
    /// `vr_mtu_bound`
    pub mtu_bound: u16,
    /// `vr_target_mask`; 0: a single address.
    pub target_mask: u32,
    /// `vr_lifetime`, seconds; 0: for ever.
    pub lifetime: u32,
}

impl Req {
    /// Reads either length; EINVAL for another.
    pub fn parse(b: &[u8]) -> Result<Req, Errno> {
        if !Arg::Req.takes(b.len()) {
            return Err(Errno::EINVAL);
        }
        let mut r = Reader(b);
        let mut q = Req {
            target_addr: r.addr()?,
            t_exit_addr: r.addr()?,
            encap_flags: r.u16()?,
            decap_flags: r.u16()?,
            address: r.addr()?,
            addr_mask: r.addr()?,
            ppa: r.u8()?,
            ip_protocol: r.u8()?,
            mtu_bound: r.u16()?,
            ..Req::default()
        };
        if b.len() == XREQ_LEN {
            q.target_mask = r.addr()?;
            q.lifetime = r.u32()?;
        }
        Ok(q)
    }

    /// Writes the longer form; the first [`REQ_LEN`] bytes are the shorter.
    pub fn emit(&self) -> [u8; XREQ_LEN] {
        let mut w = Vec::with_capacity(XREQ_LEN);
        w.extend_from_slice(&self.target_addr.to_be_bytes());
        w.extend_from_slice(&self.t_exit_addr.to_be_bytes());
        w.extend_from_slice(&self.encap_flags.to_ne_bytes());
        w.extend_from_slice(&self.decap_flags.to_ne_bytes());
        w.extend_from_slice(&self.address.to_be_bytes());
        w.extend_from_slice(&self.addr_mask.to_be_bytes());
        w.extend_from_slice(&[self.ppa, self.ip_protocol]);
        w.extend_from_slice(&self.mtu_bound.to_ne_bytes());
        w.extend_from_slice(&self.target_mask.to_be_bytes());
        w.extend_from_slice(&self.lifetime.to_ne_bytes());
        let mut out = [0; XREQ_LEN];
        out.copy_from_slice(&w);
        out
    }

    /// The target and its mask.
    pub fn target(&self) -> Result<Key, Errno> {
        Key::masked(self.target_addr, self.target_mask)
    }
}

/// `struct vtunl_conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// `type`: [`VTUNL_NONE`], [`VTUNL_TRANSPORT`], [`VTUNL_DLSUSER`].
    pub kind: i32,
    /// `ppa` of the DLS provider.
    pub ppa: u8,
    /// `ip_protocol` subscribed to.
    pub ip_protocol: u8,
    /// `address` of the DLS provider, or tunnel source.
    pub address: u32,
    /// `addr_mask` of the DLS provider.
    pub addr_mask: u32,
    /// `last_req`: the last request sent to ip or the DLS provider.
    pub last_req: u64,
    /// `last_resp`: its last response.
    pub last_resp: u64,
    /// `state` as those messages tell: TS_* over ip, DL_* over a DLS provider.
    pub state: u64,
    /// `modname`: "ip" or the DLS provider's.
    pub modname: String,
}

impl Conf {
    /// The structure's bytes, with C's padding.
    pub fn emit(&self) -> [u8; CONF_LEN] {
        let mut out = [0; CONF_LEN];
        out[0..4].copy_from_slice(&self.kind.to_ne_bytes());
        out[4] = self.ppa;
        out[5] = self.ip_protocol;
        out[8..12].copy_from_slice(&self.address.to_be_bytes());
        out[12..16].copy_from_slice(&self.addr_mask.to_be_bytes());
        out[16..24].copy_from_slice(&self.last_req.to_ne_bytes());
        out[24..32].copy_from_slice(&self.last_resp.to_ne_bytes());
        out[32..40].copy_from_slice(&self.state.to_ne_bytes());
        for (to, from) in out[40..40 + MAXMNAME_SZ]
            .iter_mut()
            .zip(self.modname.bytes())
        {
            *to = from;
        }
        out
    }

    /// Reads what [`Conf::emit`] writes.
    pub fn parse(b: &[u8]) -> Result<Conf, Errno> {
        if b.len() != CONF_LEN {
            return Err(Errno::EINVAL);
        }
        let mut r = Reader(b);
        let kind = r.u32()? as i32;
        let (ppa, ip_protocol, _) = (r.u8()?, r.u8()?, r.u16()?);
        let (address, addr_mask) = (r.addr()?, r.addr()?);
        let (last_req, last_resp, state) = (r.u64()?, r.u64()?, r.u64()?);
        let name =
            r.0.iter()
                .take(MAXMNAME_SZ)
                .take_while(|c| **c != 0)
                .copied()
                .collect();
        let modname = String::from_utf8(name).map_err(|_| Errno::EINVAL)?;
        Ok(Conf {
            kind,
            ppa,
            ip_protocol,
            address,
            addr_mask,
            last_req,
            last_resp,
            state,
            modname,
        })
    }
}

/// Bytes of `struct vtunl_exit`.
pub const EXIT_LEN: usize = 16;
/// Flag in `vtunl_exit`: send the GRE checksum.
pub const GRE_CHECKSUM: u32 = 1;
/// Flag in `vtunl_exit`: send, and ask for, the GRE key.
pub const GRE_KEY: u32 = 2;
/// Flag in `vtunl_exit`: send, and check, GRE sequence numbers.
pub const GRE_SEQUENCE: u32 = 4;

/// `struct vtunl_exit`: options towards one exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitReq {
    /// The exit.
    pub addr: u32,
    /// `GRE_*` bits.
    pub flags: u32,
    /// The GRE key, if [`GRE_KEY`] is set.
    pub key: u32,
    /// TTL of outer headers; 0: that of all.
    pub ttl: u8,
}

impl ExitReq {
    /// Reads the structure.
    pub fn parse(b: &[u8]) -> Result<ExitReq, Errno> {
        let mut r = Reader(b);
        Ok(ExitReq {
            addr: r.addr()?,
            flags: r.u32()?,
            key: r.u32()?,
            ttl: r.u8()?,
        })
    }
    /// Writes the structure.
    pub fn emit(&self) -> [u8; EXIT_LEN] {
        let mut out = [0; EXIT_LEN];
        out[0..4].copy_from_slice(&self.addr.to_be_bytes());
        out[4..8].copy_from_slice(&self.flags.to_ne_bytes());
        out[8..12].copy_from_slice(&self.key.to_ne_bytes());
        out[12] = self.ttl;
        out
    }
}

/// Takes fields off the front of a buffer; EINVAL where it ends.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Errno::EINVAL)?;
        self.0 = rest;
        Ok(*head)
    }
    pub fn u8(&mut self) -> Result<u8, Errno> {
        self.take::<1>().map(|[b]| b)
    }
    pub fn u16(&mut self) -> Result<u16, Errno> {
        self.take().map(u16::from_ne_bytes)
    }
    pub fn u32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_ne_bytes)
    }
    pub fn u64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_ne_bytes)
    }
    pub fn addr(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
