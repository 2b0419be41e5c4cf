//! The modules that come with the framework; one line each to know them.

pub mod bufmod;
pub mod connld;
pub mod faulty;
pub mod nullmod;
pub mod pfmod;
pub mod pipemod;
pub mod timod;
pub mod tirdwr;
pub mod tpi;

use crate::{Errno, Kernel};

/// Makes every module here known to I_PUSH.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    kernel.add_mod::<bufmod::BufMod>()?;
    kernel.add_mod::<connld::ConnLd>()?;
    kernel.add_mod::<faulty::Faulty>()?;
    kernel.add_mod::<nullmod::NullMod>()?;
    kernel.add_mod::<pfmod::PfMod>()?;
    kernel.add_mod::<pipemod::PipeMod>()?;
    kernel.add_mod::<timod::TiMod>()?;
    kernel.add_mod::<tirdwr::TiRdWr>()?;
    Ok(())
}
