//! The drivers that come with the framework; one line each to know them.

pub mod clone;
pub mod echo;
pub mod log;
pub mod looping;
pub mod mux;
pub mod nuls;
pub mod sad;

use crate::{Errno, Kernel};

/// Makes every driver here known, with its nodes.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    kernel.add_drv::<clone::Clone>()?;
    kernel.add_mod::<clone::Clone>()?;
    kernel.add_drv::<echo::Echo>()?;
    kernel.add_drv::<log::Log>()?;
    kernel.mknod("/dev/conslog", "log", Some(log::CONSMIN))?;
    kernel.add_drv::<looping::Loop>()?;
    kernel.add_drv::<mux::Mux>()?;
    kernel.add_drv::<nuls::Nuls>()?;
    kernel.add_drv::<sad::Sad>()?;
    kernel.rmnod("/dev/sad")?;
    kernel.mknod("/dev/sad/admin", "sad", Some(sad::ADMMIN))?;
    kernel.mknod("/dev/sad/user", "sad", Some(sad::USRMIN))?;
    Ok(())
}
