//! What a module author imports.

pub use crate::errno::Errno;
pub use crate::handle::Queue;
pub use crate::message::{Cred, Ctl, IocBlk, LinkBlk, Msg, MsgType, StrOptions, TRANSPARENT};
pub use crate::message::{FLUSHBAND, FLUSHR, FLUSHRW, FLUSHW};
pub use crate::module::{Close, Module, ModuleInfo, Open, QInit, SFlag, Wait};
pub use crate::perimeter::Perimeter;
pub use crate::queue::{Flush, QRef};
