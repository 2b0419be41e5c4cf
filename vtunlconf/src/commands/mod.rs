//! The commands, a file per group.

mod behind;
mod config;
mod drivers;
mod getconf;
mod groups;
mod ip;
mod kstat;
mod lab;
mod probe;
mod script;
mod show;
mod streams;
mod traceroute;
mod tunnel;
mod wires;

pub use lab::read_hosts;
pub use script::wrapped;

use crate::command::Command;

/// Every command; the help groups them by what they are about.
pub const ALL: &[&[Command]] = &[
    lab::COMMANDS,
    streams::COMMANDS,
    wires::COMMANDS,
    drivers::COMMANDS,
    ip::COMMANDS,
    probe::COMMANDS,
    groups::COMMANDS,
    traceroute::COMMANDS,
    tunnel::COMMANDS,
    getconf::COMMANDS,
    show::COMMANDS,
    kstat::COMMANDS,
    config::COMMANDS,
    script::COMMANDS,
];
