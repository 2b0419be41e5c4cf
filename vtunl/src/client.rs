//! The user's side: each ioctl as a call with typed arguments and answers.
//!
//! ```no_run
//! # use streams::{Errno, Sys, oflag};
//! use vtunl::client::{Binding, Client};
//! # fn f(sys: &dyn Sys) -> Result<(), Errno> {
//! let fd = sys.open("/dev/vtunl", oflag::O_RDWR)?;
//! let vtunl = Client::new(sys, fd);
//! let target = "10.1.0.3".parse().map_err(|_| Errno::EINVAL)?;
//! let exit = "192.168.2.1".parse().map_err(|_| Errno::EINVAL)?;
//! vtunl.encap_add(&Binding::new(target, exit))?;
//! assert!(vtunl.encap_ok(target)?);
//! # Ok(()) }
//! ```
//!
//! Spec: the paper, section 3: I_STR on a stream with vtunl directly under the head.
//! Kept: sizes are asked first (ENCAP_SIZE), then the dump; a table that grew in between
//! is asked for again.
//! Differs: what exceeds an I_STR's 64 KiB comes in pieces through the extended dumps.

use std::net::Ipv4Addr;

use streams::{Errno, Ioctl, StrIoctl, Sys};

use crate::encap::Policy;
use crate::encap_table::DEFAULT_ADDR;
use crate::ioctl::*;
use crate::tables::STAT_NAME;

/// The largest buffer that an I_STR takes.
const MOST: usize = 65_536;

/// The default entry's address.
pub const DEFAULT: Ipv4Addr = Ipv4Addr::from_bits(DEFAULT_ADDR);

/// A target at an exit, for ENCAP_ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The target.
    pub target: Ipv4Addr,
    /// Its netmask; 0.0.0.0 for a single address.
    pub mask: Ipv4Addr,
    /// The exit.
    pub exit: Ipv4Addr,
    /// ENCAP_* flags.
    pub flags: u16,
    /// Seconds; 0 for ever.
    pub lifetime: u32,
}

impl Binding {
    /// One address at one exit, no flags, for ever.
    pub fn new(target: Ipv4Addr, exit: Ipv4Addr) -> Binding {
        Binding {
            target,
            mask: Ipv4Addr::UNSPECIFIED,
            exit,
            flags: 0,
            lifetime: 0,
        }
    }
}

/// What ENCAP_GET tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncapConf {
    /// Targets, each with its exits.
    pub targets: Vec<(Ipv4Addr, Vec<Ipv4Addr>)>,
    /// Exits.
    pub exits: Vec<ExitConf>,
}

/// An exit in ENCAP_GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitConf {
    /// Its address.
    pub addr: Ipv4Addr,
    /// The current path MTU.
    pub pmtu: u16,
    /// The bound.
    pub maxpmtu: u16,
    /// `EXIT_*` bits.
    pub state: u16,
}

/// What DECAP_GET tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecapConf {
    /// `vtunldecapall`.
    pub all: bool,
    /// Targets with their flags.
    pub targets: Vec<(Ipv4Addr, u16)>,
}

/// A target in ENCAP_GETX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStat {
    /// The target.
    pub addr: Ipv4Addr,
    /// Its netmask.
    pub mask: Ipv4Addr,
    /// Datagrams encapsulated for it.
    pub datagrams: u64,
    /// Their bytes.
    pub octets: u64,
    /// Exit, flags, seconds left (0 for ever).
    pub exits: Vec<(Ipv4Addr, u16, u32)>,
}

/// An exit in EXIT_GETX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStat {
    /// As in ENCAP_GET.
    pub conf: ExitConf,
    /// Targets that use it.
    pub refs: u32,
    /// TTL towards it; 0 for the policy's.
    pub ttl: u8,
    /// Datagrams sent there.
    pub datagrams: u64,
    /// Bytes of inner datagrams sent there.
    pub octets: u64,
    /// `GRE_*` bits.
    pub gre_flags: u32,
    /// The GRE key.
    pub gre_key: u32,
}

/// What DECAP_GETX tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecapStat {
    /// `vtunldecapall`.
    pub all: bool,
    /// Address, netmask, flags.
    pub targets: Vec<(Ipv4Addr, Ipv4Addr, u16)>,
    /// Outer sources allowed, with netmasks; none: all.
    pub sources: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// vtunl's ioctls on one descriptor.
pub struct Client<'a, S: Sys + ?Sized> {
    sys: &'a S,
    fd: i32,
}

/// All calls fail with EPERM without privilege where one is needed, with EINVAL if what is
/// under the head is not vtunl, and as told at each.
impl<'a, S: Sys + ?Sized> Client<'a, S> {
    /// The vtunl right under the head of `fd`.
    pub fn new(sys: &'a S, fd: i32) -> Self {
        Client { sys, fd }
    }

    fn str(&self, cmd: i32, data: Vec<u8>) -> Result<Vec<u8>, Errno> {
        let req = StrIoctl {
            cmd,
            timeout: 0,
            data,
        };
        self.sys.ioctl(self.fd, Ioctl::Str(req)).map(|r| r.data)
    }

    fn req(&self, cmd: i32, q: &Req) -> Result<Vec<u8>, Errno> {
        let long = q.target_mask != 0 || q.lifetime != 0;
        let n = if long { XREQ_LEN } else { REQ_LEN };
        self.str(cmd, q.emit()[..n].to_vec())
    }

    fn int(&self, cmd: i32) -> Result<u32, Errno> {
        Reader(&self.str(cmd, vec![0; 4])?).u32()
    }

    /// VTUNL_SETCONF_TRANSPORT: over /dev/ip, Figure 2(a).
    ///
    /// # Errors
    /// EBUSY: the protocol has a subscriber. EINVAL: not over /dev/ip.
    pub fn setconf_transport(&self, address: Ipv4Addr, ip_protocol: u8) -> Result<(), Errno> {
        let q = Req {
            address: address.to_bits(),
            ip_protocol,
            ..Req::default()
        };
        self.req(VTUNL_SETCONF_TRANSPORT, &q).map(|_| ())
    }

    /// VTUNL_SETCONF_DLSUSER: over a DLPI device, Figure 2(b).
    ///
    /// # Errors
    /// EINVAL: not over such a device. ENXIO: no such PPA.
    pub fn setconf_dlsuser(&self, address: Ipv4Addr, mask: Ipv4Addr, ppa: u8) -> Result<(), Errno> {
        let (address, addr_mask) = (address.to_bits(), mask.to_bits());
        let q = Req {
            address,
            addr_mask,
            ppa,
            ..Req::default()
        };
        self.req(VTUNL_SETCONF_DLSUSER, &q).map(|_| ())
    }

    /// VTUNL_GETCONF.
    ///
    /// # Errors
    /// None of its own.
    pub fn getconf(&self) -> Result<Conf, Errno> {
        Conf::parse(&self.str(VTUNL_GETCONF, vec![0; CONF_LEN])?)
    }

    /// VTUNL_ENCAP_ADD.
    ///
    /// # Errors
    /// EINVAL: no such target or exit can be. ENOSPC: a ninth exit.
    pub fn encap_add(&self, b: &Binding) -> Result<(), Errno> {
        let q = Req {
            target_addr: b.target.to_bits(),
            target_mask: b.mask.to_bits(),
            t_exit_addr: b.exit.to_bits(),
            encap_flags: b.flags,
            lifetime: b.lifetime,
            ..Req::default()
        };
        self.req(VTUNL_ENCAP_ADD, &q).map(|_| ())
    }

    /// VTUNL_ENCAP_REM: one exit of a target, or all.
    ///
    /// # Errors
    /// ENXIO: there is no such target or exit.
    pub fn encap_rem(
        &self,
        target: Ipv4Addr,
        mask: Ipv4Addr,
        exit: Option<Ipv4Addr>,
    ) -> Result<(), Errno> {
        let q = Req {
            target_addr: target.to_bits(),
            target_mask: mask.to_bits(),
            t_exit_addr: exit.map_or(0, Ipv4Addr::to_bits),
            ..Req::default()
        };
        self.req(VTUNL_ENCAP_REM, &q).map(|_| ())
    }

    /// VTUNL_ENCAP_REM of all targets.
    ///
    /// # Errors
    /// None of its own.
    pub fn encap_rem_all(&self) -> Result<(), Errno> {
        self.req(VTUNL_ENCAP_REM, &Req::default()).map(|_| ())
    }

    /// VTUNL_ENCAP_OK: is the address served?
    ///
    /// # Errors
    /// None of its own.
    pub fn encap_ok(&self, target: Ipv4Addr) -> Result<bool, Errno> {
        self.served(VTUNL_ENCAP_OK, target)
    }

    fn served(&self, cmd: i32, target: Ipv4Addr) -> Result<bool, Errno> {
        match self.req(
            cmd,
            &Req {
                target_addr: target.to_bits(),
                ..Req::default()
            },
        ) {
            Ok(_) => Ok(true),
            Err(Errno::ENXIO) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// A dump by its size and its command, until the buffer is large enough.
    fn dump(&self, size: i32, get: i32) -> Result<Vec<u8>, Errno> {
        let mut tries = 0;
        loop {
            let n = self.int(size)? as usize;
            match self.str(get, vec![0; n]) {
                // It grew in between.
                Err(Errno::ENOSPC) if tries < 8 => tries += 1,
                r => return r,
            }
        }
    }

    /// VTUNL_ENCAP_SIZE and VTUNL_ENCAP_GET.
    ///
    /// # Errors
    /// EINVAL: the tables are larger than an I_STR; see [`Client::targets`].
    pub fn encap_get(&self) -> Result<EncapConf, Errno> {
        let b = self.dump(VTUNL_ENCAP_SIZE, VTUNL_ENCAP_GET)?;
        let mut r = Reader(&b);
        let (_, n) = (r.u32()?, r.u32()?);
        let mut conf = EncapConf::default();
        for _ in 0..n {
            let (target, n) = (ip(&mut r)?, r.u32()?);
            let exits: Result<Vec<Ipv4Addr>, Errno> = (0..n).map(|_| ip(&mut r)).collect();
            conf.targets.push((target, exits?));
        }
        for _ in 0..r.u32()? {
            let (addr, pmtu, maxpmtu, state) = (ip(&mut r)?, r.u16()?, r.u16()?, r.u16()?);
            conf.exits.push(ExitConf {
                addr,
                pmtu,
                maxpmtu,
                state,
            });
        }
        Ok(conf)
    }

    /// VTUNL_DECAP_ADD.
    ///
    /// # Errors
    /// EINVAL: flags that are none.
    pub fn decap_add(&self, target: Ipv4Addr, mask: Ipv4Addr, flags: u16) -> Result<(), Errno> {
        let (target_addr, target_mask) = (target.to_bits(), mask.to_bits());
        let q = Req {
            target_addr,
            target_mask,
            decap_flags: flags,
            ..Req::default()
        };
        self.req(VTUNL_DECAP_ADD, &q).map(|_| ())
    }

    /// VTUNL_DECAP_REM.
    ///
    /// # Errors
    /// ENXIO: the address has no entry.
    pub fn decap_rem(&self, target: Ipv4Addr, mask: Ipv4Addr) -> Result<(), Errno> {
        let (target_addr, target_mask) = (target.to_bits(), mask.to_bits());
        self.req(
            VTUNL_DECAP_REM,
            &Req {
                target_addr,
                target_mask,
                ..Req::default()
            },
        )
        .map(|_| ())
    }

    /// VTUNL_DECAP_ADD or VTUNL_DECAP_REM of target 0: all datagrams, or no longer all.
    ///
    /// # Errors
    /// None of its own.
    pub fn decap_all(&self, on: bool) -> Result<(), Errno> {
        let cmd = if on { VTUNL_DECAP_ADD } else { VTUNL_DECAP_REM };
        self.req(cmd, &Req::default()).map(|_| ())
    }

    /// VTUNL_DECAP_OK: is the address served?
    ///
    /// # Errors
    /// None of its own.
    pub fn decap_ok(&self, target: Ipv4Addr) -> Result<bool, Errno> {
        self.served(VTUNL_DECAP_OK, target)
    }

    /// VTUNL_DECAP_SIZE and VTUNL_DECAP_GET.
    ///
    /// # Errors
    /// EINVAL: the table is larger than an I_STR.
    pub fn decap_get(&self) -> Result<DecapConf, Errno> {
        let b = self.dump(VTUNL_DECAP_SIZE, VTUNL_DECAP_GET)?;
        let mut r = Reader(&b);
        let (_, all, n) = (r.u32()?, r.u32()?, r.u32()?);
        let targets: Result<Vec<_>, Errno> = (0..n).map(|_| Ok((ip(&mut r)?, r.u16()?))).collect();
        Ok(DecapConf {
            all: all != 0,
            targets: targets?,
        })
    }

    /// VTUNL_DEBUG_SET.
    ///
    /// # Errors
    /// EINVAL: a level above 3.
    pub fn debug_set(&self, level: u32) -> Result<(), Errno> {
        self.str(VTUNL_DEBUG_SET, level.to_ne_bytes().to_vec())
            .map(|_| ())
    }

    /// VTUNL_DEBUG_GET.
    ///
    /// # Errors
    /// None of its own.
    pub fn debug_get(&self) -> Result<u32, Errno> {
        self.int(VTUNL_DEBUG_GET)
    }

    /// VTUNL_MAXPMTU_SET.
    ///
    /// # Errors
    /// EINVAL: below 68. ENXIO: no such exit.
    pub fn maxpmtu_set(&self, exit: Ipv4Addr, bound: u16) -> Result<(), Errno> {
        let q = Req {
            address: exit.to_bits(),
            mtu_bound: bound,
            ..Req::default()
        };
        self.req(VTUNL_MAXPMTU_SET, &q).map(|_| ())
    }

    /// VTUNL_MAXPMTU_GET.
    ///
    /// # Errors
    /// ENXIO: no such exit.
    pub fn maxpmtu_get(&self, exit: Ipv4Addr) -> Result<u16, Errno> {
        let q = Req {
            address: exit.to_bits(),
            ..Req::default()
        };
        Req::parse(&self.req(VTUNL_MAXPMTU_GET, &q)?).map(|q| q.mtu_bound)
    }

    /// VTUNL_NOTIFY: M_PCPROTOs up this stream when bindings expire, read with getmsg and
    /// [`crate::lifetime::Notice::parse`].
    ///
    /// # Errors
    /// None of its own.
    pub fn notify(&self, on: bool) -> Result<(), Errno> {
        self.str(VTUNL_NOTIFY, i32::from(on).to_ne_bytes().to_vec())
            .map(|_| ())
    }

    /// VTUNL_STATS: names and values.
    ///
    /// # Errors
    /// None of its own.
    pub fn stats(&self) -> Result<Vec<(String, u64)>, Errno> {
        self.counters(VTUNL_STATS)
    }

    /// VTUNL_INST_STATS: names and values of this instance.
    ///
    /// # Errors
    /// None of its own.
    pub fn instance_stats(&self) -> Result<Vec<(String, u64)>, Errno> {
        self.counters(VTUNL_INST_STATS)
    }

    fn counters(&self, cmd: i32) -> Result<Vec<(String, u64)>, Errno> {
        let mut all = Vec::new();
        self.pages(cmd, |r| {
            let mut name = [0; STAT_NAME];
            for b in &mut name {
                *b = r.u8()?;
            }
            let name = name
                .iter()
                .take_while(|b| **b != 0)
                .map(|b| char::from(*b))
                .collect();
            all.push((name, r.u64()?));
            Ok(())
        })?;
        Ok(all)
    }

    /// VTUNL_ENCAP_GETX: every target.
    ///
    /// # Errors
    /// None of its own.
    pub fn targets(&self) -> Result<Vec<TargetStat>, Errno> {
        let mut all = Vec::new();
        self.pages(VTUNL_ENCAP_GETX, |r| {
            let (addr, mask, n) = (ip(r)?, ip(r)?, r.u32()?);
            let (datagrams, octets) = (r.u64()?, r.u64()?);
            let exit = |_| {
                let (exit, flags, _, left) = (ip(r)?, r.u16()?, r.u16()?, r.u32()?);
                Ok((exit, flags, left))
            };
            let exits = (0..n).map(exit).collect::<Result<Vec<_>, Errno>>()?;
            all.push(TargetStat {
                addr,
                mask,
                datagrams,
                octets,
                exits,
            });
            Ok(())
        })?;
        Ok(all)
    }

    /// VTUNL_EXIT_GETX: every exit.
    ///
    /// # Errors
    /// None of its own.
    pub fn exits(&self) -> Result<Vec<ExitStat>, Errno> {
        let mut all = Vec::new();
        self.pages(VTUNL_EXIT_GETX, |r| {
            let (addr, refs) = (ip(r)?, r.u32()?);
            let (pmtu, maxpmtu, state) = (r.u16()?, r.u16()?, r.u16()?);
            let (ttl, _) = (r.u8()?, r.u8()?);
            let (datagrams, octets) = (r.u64()?, r.u64()?);
            let (gre_flags, gre_key) = (r.u32()?, r.u32()?);
            let conf = ExitConf {
                addr,
                pmtu,
                maxpmtu,
                state,
            };
            all.push(ExitStat {
                conf,
                refs,
                ttl,
                datagrams,
                octets,
                gre_flags,
                gre_key,
            });
            Ok(())
        })?;
        Ok(all)
    }

    /// VTUNL_DECAP_GETX: every target and every outer source.
    ///
    /// # Errors
    /// ENOSPC: more outer sources than fit an I_STR.
    pub fn decap_targets(&self) -> Result<DecapStat, Errno> {
        let mut all = DecapStat::default();
        loop {
            let b = self.page(VTUNL_DECAP_GETX, all.targets.len())?;
            let mut r = Reader(&b);
            let (_, on, n) = (r.u32()?, r.u32()?, r.u32()?);
            all.all = on != 0;
            for _ in 0..n {
                let (addr, mask, flags) = (ip(&mut r)?, ip(&mut r)?, r.u32()?);
                all.targets.push((addr, mask, flags as u16));
            }
            let sources = (0..r.u32()?).map(|_| Ok((ip(&mut r)?, ip(&mut r)?)));
            all.sources = sources.collect::<Result<_, Errno>>()?;
            if n == 0 {
                return Ok(all);
            }
        }
    }

    fn page(&self, cmd: i32, skip: usize) -> Result<Vec<u8>, Errno> {
        let mut b = vec![0; MOST];
        b[..4].copy_from_slice(&(skip as u32).to_ne_bytes());
        self.str(cmd, b)
    }

    /// Pieces of an extended dump, entry by entry, until none is left.
    fn pages(
        &self,
        cmd: i32,
        mut entry: impl FnMut(&mut Reader<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut seen = 0;
        loop {
            let b = self.page(cmd, seen)?;
            let mut r = Reader(&b);
            let (_, n) = (r.u32()?, r.u32()?);
            for _ in 0..n {
                entry(&mut r)?;
            }
            seen += n as usize;
            if n == 0 {
                return Ok(());
            }
        }
    }

    /// VTUNL_POLICY_SET.
    ///
    /// # Errors
    /// EINVAL: TTL 0, or a DSCP above 63.
    pub fn policy_set(&self, p: &Policy) -> Result<(), Errno> {
        self.str(VTUNL_POLICY_SET, p.emit().to_vec()).map(|_| ())
    }

    /// VTUNL_POLICY_GET.
    ///
    /// # Errors
    /// None of its own.
    pub fn policy_get(&self) -> Result<Policy, Errno> {
        let b = self.str(VTUNL_POLICY_GET, vec![0; 4])?;
        Policy::parse(&b).ok_or(Errno::EINVAL)
    }

    /// VTUNL_EXIT_SET.
    ///
    /// # Errors
    /// ENXIO: no such exit. EINVAL: flags that are none.
    pub fn exit_set(&self, x: &ExitReq) -> Result<(), Errno> {
        self.str(VTUNL_EXIT_SET, x.emit().to_vec()).map(|_| ())
    }

    /// VTUNL_SOURCE_ADD.
    ///
    /// # Errors
    /// EINVAL: no such address or mask can be.
    pub fn source_add(&self, address: Ipv4Addr, mask: Ipv4Addr) -> Result<(), Errno> {
        self.source(VTUNL_SOURCE_ADD, address, mask)
    }

    /// VTUNL_SOURCE_REM.
    ///
    /// # Errors
    /// ENXIO: it is not listed.
    pub fn source_rem(&self, address: Ipv4Addr, mask: Ipv4Addr) -> Result<(), Errno> {
        self.source(VTUNL_SOURCE_REM, address, mask)
    }

    fn source(&self, cmd: i32, address: Ipv4Addr, mask: Ipv4Addr) -> Result<(), Errno> {
        let (address, addr_mask) = (address.to_bits(), mask.to_bits());
        self.req(
            cmd,
            &Req {
                address,
                addr_mask,
                ..Req::default()
            },
        )
        .map(|_| ())
    }
}

fn ip(r: &mut Reader<'_>) -> Result<Ipv4Addr, Errno> {
    r.addr().map(Ipv4Addr::from_bits)
}
