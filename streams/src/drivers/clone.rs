//! clone: the node through which each open of a driver is a new stream.
//!
//! ```text
//!   node (clone major, minor = major of echo) ──► echo's open, CLONEOPEN, a minor of its choice
//! ```
//!
//! The driver itself opens nothing: open(2) sees its major and goes to the target instead.
//! `/dev/NAME` of add_drv is such a node already.
//!
//! Spec: clone(7D), the reference's 8.4.

use crate::prelude::*;

/// The driver, and the module that nobody can push.
pub struct Clone;

impl Module for Clone {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(0x636c, "clone");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));

    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Err(Errno::ENXIO) // pushed, or without a target
    }
}
