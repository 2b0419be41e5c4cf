//! The drivers that come with the framework; one line each to know them.

pub mod echo;

use crate::{Errno, Kernel};

/// Makes every driver here known, with its node.
///
/// # Errors
/// EEXIST: one of the names is taken.
pub fn register(kernel: &Kernel) -> Result<(), Errno> {
    kernel.add_drv::<echo::Echo>().map(|_| ())
}
