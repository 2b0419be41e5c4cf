//! nullmod: hands every message on, unchanged, in both directions.
use crate::prelude::*;

/// The module.
pub struct NullMod;

impl Module for NullMod {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x6e75, "nullmod");
    const PERIMETER: Perimeter = Perimeter::MTSAFE; // no state, nothing to exclude
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?; // a module, never a device
        Ok(NullMod)
    }
}
