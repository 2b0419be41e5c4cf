//! What a provider tells about its link unasked: up, down, another size.
//!
//! ```text
//!   naming: .. PHYS_ADDR ─► DL_NOTIFY_REQ ─► DL_NOTIFY_ACK ─► UNBIND ..
//!   later:  DL_NOTIFY_IND ─► IFF_RUNNING, the MTU of the addresses and of their routes
//! ```
//!
//! Spec: dlpi(7P) DL_NOTIFY_REQ, DL_NOTIFY_IND; if(7P) IFF_RUNNING; the reference's dlpi 1.5
//! and 10 step 6.
//! Kept: a provider that knows no DL_NOTIFY_REQ is taken as it is.
//! Not done: DL_NOTE_PHYS_ADDR is not asked for, so that a new link address ends the streams
//! by M_ERROR, as with 2.6 (le(7D)).

use dlpi::prim::Prim;
use dlpi::prim::note::{DL_NOTE_LINK_DOWN, DL_NOTE_LINK_UP, DL_NOTE_SDU_SIZE};
use streams::Msg;

use crate::ifreq::of_ipif;
use crate::ill::{IP_MIN_MTU, iff};
use crate::stack::Stack;

/// Asks for what [`indicated`] acts on.
pub(crate) fn request() -> Msg {
    Prim::NotifyReq {
        notifications: DL_NOTE_LINK_DOWN | DL_NOTE_LINK_UP | DL_NOTE_SDU_SIZE,
        timelimit: 0,
    }
    .emit()
}

/// A DL_NOTIFY_IND of the interface's provider.
pub(crate) fn indicated(s: &mut Stack, ill: u32, notification: u32, data: u32) {
    let Some(i) = s.ill_mut(ill) else { return };
    match notification {
        DL_NOTE_LINK_DOWN => {
            i.no_carrier = true;
            i.flags &= !iff::RUNNING;
        }
        DL_NOTE_LINK_UP => {
            i.no_carrier = false;
            i.flags |= iff::RUNNING;
        }
        DL_NOTE_SDU_SIZE if data >= IP_MIN_MTU => {
            let before = std::mem::replace(&mut i.info.max_sdu, data);
            // What was set lower by SIOCSIFMTU stays.
            let follows = |mtu: u32| mtu == before || mtu > data;
            let changed: Vec<u16> = i
                .ipifs
                .iter_mut()
                .filter(|p| follows(p.mtu))
                .map(|p| {
                    p.mtu = data;
                    p.id
                })
                .collect();
            for id in changed {
                of_ipif(s, ill, id, |r| r.mtu = data);
            }
        }
        _ => {}
    }
}
