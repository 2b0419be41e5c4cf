//! pipemod: sits in the middle of a pipe, where one's write side becomes the other's read side.
//!
//! ```text
//!   head A ──► [pipemod] ══► head B      FLUSHW from A must reach B as FLUSHR
//! ```
//!
//! Spec: pipemod(7M), streamio(7I) I_FLUSH, the reference's 5.11.

use crate::prelude::*;

/// The module.
pub struct PipeMod;

impl Module for PipeMod {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x7069, "pipemod");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(exchange);
    const WRITE: QInit<Self> = QInit::put(exchange);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(PipeMod)
    }
}

fn exchange(q: &mut Queue<'_, PipeMod>, mut mp: Msg) {
    if mp.ty() == MsgType::Flush
        && let Some(how) = mp.rd_mut().first_mut()
    {
        let (r, w) = (*how & FLUSHR, *how & FLUSHW);
        *how = *how & !(FLUSHR | FLUSHW) | r << 1 | w >> 1;
    }
    q.putnext(mp);
}
