//! Flushing: I_FLUSH and I_FLUSHBAND on their way down, M_FLUSH when it comes up.
//!
//! ```text
//!   I_FLUSH ─► M_FLUSH ─► modules ─► driver ─► M_FLUSH (FLUSHR) ─► head: flushed
//!           ─► M_IOCTL -1 ─────────► driver ─► M_IOCNAK ─────────► and only now returns
//! ```
//!
//! Spec: streamio(7I) I_FLUSH, the reference's 2.5 and 5.11.
//! Kept: the dummy ioctl (command -1, default timeout), whatever becomes of it.

use std::sync::Arc;

use super::Sides;
use crate::domain::Domain;
use crate::errno::Errno;
use crate::file::Stream;
use crate::message::{FLUSHBAND, FLUSHR, FLUSHRW, FLUSHW, MSGNOLOOP, Msg, MsgType};
use crate::process::Caller;
use crate::queue::{Flush, NONE};
use crate::sys::StrIoctl;

/// The command that no module knows.
const UNSUPPORTED: i32 = -1;

impl Stream {
    /// I_FLUSH; with a band I_FLUSHBAND.
    pub(crate) async fn i_flush(
        self: &Arc<Self>,
        caller: &Caller,
        how: i32,
        band: Option<u8>,
    ) -> Result<(), Errno> {
        self.usable(Sides::Both, Some(Errno::ENXIO))?;
        if how & !i32::from(FLUSHRW) != 0 {
            return Err(Errno::EINVAL);
        }
        let how = how as u8;
        self.with(|dom| {
            if dom.slot(self.head | 1).next == NONE {
                return Err(Errno::ENXIO);
            }
            let mut mp = dom.allocb(0, 2).ok_or(Errno::ENOSR)?;
            match band {
                None => mp.append(&[how]),
                Some(b) => mp.append(&[how | FLUSHBAND, b]),
            };
            mp.set_ty(MsgType::Flush);
            dom.putnext(self.head | 1, mp);
            Ok(())
        })?;
        let dummy = StrIoctl {
            cmd: UNSUPPORTED,
            timeout: 0,
            data: Vec::new(),
        };
        // Refused, timed out, interrupted: the flush has been sent either way.
        let _ = self.i_str(caller, dummy).await;
        Ok(())
    }
}

/// M_FLUSH at the head (5.11): flush, then turn the write half round once.
pub(super) fn at_head(dom: &mut Domain, idx: u32, mut mp: Msg) {
    let how = mp.rd().first().copied().unwrap_or(0);
    if how & FLUSHR != 0 {
        let keep = dom.head(idx).is_some_and(|h| h.keep_pcproto);
        if how & FLUSHBAND != 0 {
            let band = mp.rd().get(1).copied().unwrap_or(0);
            if keep && band == 0 {
                let gone =
                    |m: &Msg| m.ty() != MsgType::PcProto && (m.is_high_pri() || m.band() == 0);
                dom.flush_where(idx, gone);
            } else {
                dom.flushband(idx, band, Flush::All);
            }
        } else {
            dom.flush_where(idx, |m| !(keep && m.ty() == MsgType::PcProto));
        }
        dom.rq_signals(idx);
        dom.head_recheck_pri(idx);
        dom.wake_head(idx);
    }
    if how & FLUSHW != 0 && mp.flag() & MSGNOLOOP == 0 {
        if let Some(b) = mp.rd_mut().first_mut() {
            *b &= !FLUSHR;
        }
        mp.set_flag(mp.flag() | MSGNOLOOP);
        dom.putnext(idx | 1, mp);
    } else {
        dom.pool.free(mp);
    }
}
