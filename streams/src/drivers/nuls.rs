//! nuls: takes whatever is written, and gives zeros to whoever reads.
//!
//! ```text
//!   M_DATA, M_PROTO ──► freed
//!   M_READ n ──► n zeros up          (the head sends one before a read sleeps)
//! ```
//!
//! The zeros need no queue and no timer: SO_MREADON makes the head ask for them.
//!
//! Spec: streamio(7I) SO_MREADON, M_READ in the STREAMS Programming Guide, null(7D), zero(7D).

use crate::prelude::*;

/// Zeros in one answer, at most.
const MOST: usize = 65_536;

/// The driver.
pub struct Nuls;

impl Module for Nuls {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x6e7a, "nuls");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let opts = StrOptions {
            mread: Some(true),
            ..StrOptions::default()
        };
        q.rd()
            .putnext(Msg::control(MsgType::SetOpts, Ctl::SetOpts(opts)));
        Ok(Nuls)
    }
}

fn wput(q: &mut Queue<'_, Nuls>, mp: Msg) {
    match mp.ty() {
        MsgType::Read => {
            let bytes = mp.rd().try_into().map_or(0, u64::from_ne_bytes);
            let n = usize::try_from(bytes).unwrap_or(MOST).min(MOST);
            q.freemsg(mp);
            if n > 0 {
                q.qreply(Msg::data(&vec![0; n]));
            }
        }
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl | MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        _ => q.freemsg(mp),
    }
}
