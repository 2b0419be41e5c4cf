//! The modules that come with the framework; one line each to know them.

pub mod nullmod;
pub mod pipemod;

use crate::{Errno, Kernel};

/// Makes every module here known to I_PUSH.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    kernel.add_mod::<nullmod::NullMod>()?;
    kernel.add_mod::<pipemod::PipeMod>()?;
    Ok(())
}
