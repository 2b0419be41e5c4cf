//! echo: what is sent down comes back up, flow controlled.
//!
//! ```text
//!   M_DATA, M_PROTO ──► write queue ──► (service) ──► up again
//!   M_IOCTL ──► M_IOCNAK        M_FLUSH ──► turned round
//! ```
//!
//! Spec: the STREAMS Programming Guide's loop-around driver in its simplest form.

use crate::prelude::*;

/// The driver.
pub struct Echo;

impl Module for Echo {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x6563, "echo").marks(5120, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(|q| q.other().qenable());
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        Ok(Echo)
    }
}

fn wput(q: &mut Queue<'_, Echo>, mp: Msg) {
    match mp.ty() {
        MsgType::Data | MsgType::Proto => q.putq(mp),
        MsgType::PcProto => q.qreply(mp),
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl | MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        _ => q.freemsg(mp),
    }
}

fn wsrv(q: &mut Queue<'_, Echo>) {
    while let Some(mp) = q.getq() {
        if !mp.is_high_pri() && !q.other().bcanputnext(mp.band()) {
            return q.putbq(mp); // the head's reader back-enables our read side
        }
        q.qreply(mp);
    }
}
