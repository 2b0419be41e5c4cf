//! sad: the STREAMS administrative driver. Autopush, and whether modules exist.
//!
//! ```text
//!   SAD_SAP  /dev/sad/admin   M_COPYIN strapush ─► set, clear
//!   SAD_GAP  /dev/sad/user    M_COPYIN strapush ─► M_COPYOUT strapush
//!   SAD_VML                   M_COPYIN str_list ─► M_COPYIN its names ─► value 0 or 1
//! ```
//!
//! Spec: sad(7D), sys/sad.h, the reference's 8.5.
//! Kept: transparent ioctls only; EPERM at the open of admin, and for SAD_SAP on user;
//! each open is a stream of its own.
//! Differs: ENOSTR can't happen, every driver here is a STREAMS driver. struct str_list
//! has its 64-bit layout: int, padding, pointer.

use crate::autopush::{self, FMNAMESZ, StrApush, V0, V1};
use crate::prelude::*;

const SADIOC: i32 = (b'D' as i32) << 8;
/// Set or clear an autopush configuration (version 0).
pub const SAD_SAP: i32 = SADIOC | 0x01;
/// Get the configuration of a device (version 0).
pub const SAD_GAP: i32 = SADIOC | 0x02;
/// Are these names of modules?
pub const SAD_VML: i32 = SADIOC | 0x03;
/// SAD_SAP with an anchor (version 1).
pub const SAD_SAP_V1: i32 = SADIOC | 0x11;
/// SAD_GAP with an anchor (version 1).
pub const SAD_GAP_V1: i32 = SADIOC | 0x12;

/// Minor of /dev/sad/user.
pub const USRMIN: u32 = 0;
/// Minor of /dev/sad/admin.
pub const ADMMIN: u32 = 1;
/// Bytes of a struct str_list.
const STR_LIST: usize = 16;

/// One open of either node.
pub struct Sad {
    admin: bool,
}

impl Module for Sad {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x7361, "sad").marks(0, 0);
    const PERIMETER: Perimeter = Perimeter::MTPERQ;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        if how.sflag != SFlag::Driver {
            return Err(Errno::EINVAL); // it makes its own minors
        }
        let admin = match how.minor {
            Some(USRMIN) => false,
            Some(ADMMIN) => {
                how.cred.require_priv()?;
                true
            }
            _ => return Err(Errno::EINVAL),
        };
        how.minor = Some(2 + q.stream_id());
        Ok(Sad { admin })
    }
}

fn wput(q: &mut Queue<'_, Sad>, mp: Msg) {
    match mp.ty() {
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::IocData => iocdata(q, mp),
        _ => q.freemsg(mp),
    }
}

fn ioctl(q: &mut Queue<'_, Sad>, mp: Msg) {
    let Some(addr) = mp.ioctl_addr() else {
        return q.iocnak(mp, Errno::EINVAL); // an I_STR
    };
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    // The private message is where the answer goes.
    let here = Some(Msg::data(&addr.to_ne_bytes()));
    match cmd {
        SAD_SAP | SAD_SAP_V1 if !q.ptr().admin => q.iocnak(mp, Errno::EPERM),
        SAD_SAP | SAD_GAP => q.mcopyin(mp, here, V0, None),
        SAD_SAP_V1 | SAD_GAP_V1 => q.mcopyin(mp, here, V1, None),
        SAD_VML => q.mcopyin(mp, here, STR_LIST, None),
        _ => q.iocnak(mp, Errno::EINVAL),
    }
}

fn iocdata(q: &mut Queue<'_, Sad>, mut mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    let private = match mp.ctl_mut() {
        Some(Ctl::CopyResp(r)) if r.rval == 0 => r.private.take(),
        _ => return q.freemsg(mp), // 3.4: the call has failed
    };
    let private = private.map(|p| p.to_vec()).unwrap_or_default();
    let data = mp.cont().map(Msg::to_vec).unwrap_or_default();
    let addr = private.try_into().map(u64::from_ne_bytes);
    let r = match (cmd, addr) {
        (SAD_SAP | SAD_SAP_V1, _) => StrApush::parse(&data)
            .and_then(|s| autopush::set(&q.dom.env, s))
            .map(|()| 0),
        (SAD_GAP | SAD_GAP_V1, Ok(addr)) => match StrApush::parse(&data) {
            Ok(s) => match autopush::get(&q.dom.env, &s) {
                Ok(found) => {
                    let version = u32::from(cmd == SAD_GAP_V1);
                    let out = Msg::data(&found.to_bytes(version));
                    return q.mcopyout(mp, Some(Msg::data(&[])), Some(addr), out);
                }
                Err(e) => Err(e),
            },
            Err(e) => Err(e),
        },
        (SAD_GAP | SAD_GAP_V1, Err(_)) => Ok(0), // it has been copied out
        (SAD_VML, Ok(_)) => match names_at(&data) {
            Ok((size, at)) => return q.mcopyin(mp, Some(Msg::data(&[])), size, Some(at)),
            Err(e) => Err(e),
        },
        (SAD_VML, Err(_)) => Ok(unknown_names(q, &data)),
        _ => Err(Errno::EINVAL),
    };
    match r {
        Ok(rval) => q.iocack0(mp, rval),
        Err(e) => q.iocnak(mp, e),
    }
}

/// struct str_list: how many bytes of names there are, and where.
fn names_at(b: &[u8]) -> Result<(usize, u64), Errno> {
    let n = b.get(..4).and_then(|w| w.try_into().ok());
    let at = b.get(8..16).and_then(|w| w.try_into().ok());
    let n = n.map(i32::from_ne_bytes).ok_or(Errno::EINVAL)?;
    let at = at.map(u64::from_ne_bytes).ok_or(Errno::EINVAL)?;
    match usize::try_from(n) {
        Ok(n) if n > 0 => Ok((n * (FMNAMESZ + 1), at)),
        _ => Err(Errno::EINVAL),
    }
}

/// 1 if any of the names is no module, else 0.
fn unknown_names(q: &Queue<'_, Sad>, names: &[u8]) -> i32 {
    let reg = q.dom.env.registry.read();
    let mut each = names.chunks_exact(FMNAMESZ + 1).map(autopush::name);
    i32::from(!each.all(|n| reg.modules.contains_key(&*n)))
}
