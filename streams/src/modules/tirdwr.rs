//! tirdwr: read and write on a transport that speaks TPI and has a connection.
//!
//! ```text
//!   T_DATA_IND + data ──► data         T_ORDREL_IND ──► end of file (zero-length message)
//!   write ──► data, unchanged          T_DISCON_IND ──► M_HANGUP
//!   anything else that is control: M_ERROR EPROTO, and nothing passes any more
//! ```
//!
//! Spec: tirdwr(7M).
//! Kept: the push fails with EPROTO if the head has control messages other than
//! T_DATA_IND, whose headers are taken off there; T_ORDREL_REQ at the pop after the other
//! side's orderly release.

use super::tpi::{prim, prim_of, words};
use crate::prelude::*;

/// One instance.
#[derive(Default)]
pub struct TiRdWr {
    /// The other side has released in order.
    ordrel: bool,
    /// Nothing passes any more.
    fatal: bool,
}

impl Module for TiRdWr {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(4, "tirdwr").marks(4096, 1024);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(rput);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        // The head sizes its messages by the queue below it: ours, so the provider's.
        let (min, max) = q.wr().next_packet_sizes();
        q.wr().set_packet_sizes(min, max);
        if !q.above().all(readable) {
            return Err(Errno::EPROTO);
        }
        q.strip_above(|mut mp| match mp.ty() {
            MsgType::Proto => mp.take_cont().filter(|d| d.msgdsize() > 0),
            MsgType::Data => (mp.msgdsize() > 0).then_some(mp),
            _ => Some(mp),
        });
        Ok(TiRdWr::default())
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let me = std::mem::take(q.ptr());
        if me.ordrel && !me.fatal {
            let rel = Msg::of(MsgType::Proto, &words(&[prim::T_ORDREL_REQ]));
            q.wr().putnext(rel);
        }
        Wait::Done
    }
}

/// Can a read make sense of this message that waits at the head?
fn readable(mp: &Msg) -> bool {
    match mp.ty() {
        MsgType::Data | MsgType::Sig => true,
        MsgType::Proto => {
            let data = mp.cont().is_none_or(|c| c.ty() == MsgType::Data);
            data && prim_of(mp) == Some(prim::T_DATA_IND)
        }
        _ => false,
    }
}

fn rput(q: &mut Queue<'_, TiRdWr>, mut mp: Msg) {
    if q.ptr().fatal {
        return q.discard(mp, "after a fatal error");
    }
    if !matches!(mp.ty(), MsgType::Proto | MsgType::PcProto) {
        return q.putnext(mp);
    }
    match prim_of(&mp) {
        None => q.discard(mp, "shorter than a primitive"),
        Some(prim::T_DATA_IND) => {
            let data = mp.take_cont().filter(|d| d.msgdsize() > 0);
            q.freemsg(mp);
            if let Some(d) = data {
                q.putnext(d);
            }
        }
        Some(prim::T_ORDREL_IND) => {
            q.ptr().ordrel = true;
            q.freemsg(mp);
            q.putnext(Msg::data(&[])); // a read of it returns 0
        }
        Some(prim::T_DISCON_IND) => {
            q.ptr().ordrel = false;
            let data = mp.take_cont().filter(|d| d.msgdsize() > 0);
            q.freemsg(mp);
            if let Some(d) = data {
                q.putnext(d);
            }
            q.putnextctl(MsgType::Hangup);
        }
        Some(_) => fatal(q, mp),
    }
}

fn wput(q: &mut Queue<'_, TiRdWr>, mp: Msg) {
    match mp.ty() {
        _ if q.ptr().fatal => q.discard(mp, "after a fatal error"),
        MsgType::Proto | MsgType::PcProto => fatal(q, mp),
        _ => q.putnext(mp),
    }
}

/// A message that no read or write can express: the stream is of no use any more.
fn fatal(q: &mut Queue<'_, TiRdWr>, mp: Msg) {
    q.ptr().fatal = true;
    q.discard(mp, "control on a read and write stream");
    q.rd()
        .putnextctl1(MsgType::Error, Errno::EPROTO.number() as u8);
}
