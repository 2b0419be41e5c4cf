//! The commands, a file per group.

mod lab;
mod script;

pub use lab::read_hosts;
pub use script::wrapped;

use crate::command::Command;

/// Every command.
pub const ALL: &[&[Command]] = &[lab::COMMANDS, script::COMMANDS];
