//! The command line of `mipagent`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use vtunlconf::diag::{Done, Fail, Kind};

use crate::{daemon, demo};

/// Mobile IP on emulated Solaris hosts: home agent, foreign agent, mobile node (RFC 5944).
///
/// Everything is done with the system calls of the emulated host: UDP port 434, DLPI for
/// the links, vtunl's ioctls for the tunnels, ioctls of IP for addresses, routes and ARP.
#[derive(Parser, Debug)]
#[command(
    name = "mipagent",
    version,
    max_term_width = 90,
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = AFTER
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub what: What,
}

const AFTER: &str = "\
Configuration:
  In the form of mipagent.conf(4): [General], [Advertisements IF], [GlobalSecurityParameters],
  [SPI n], [Address a]; a mobile node has [Node] and a [CareOf a/n] for each network where
  it has an address of its own. Examples are in mipagent/demo; README.md has the names.

Setup script:
  Commands of vtunlconf that plumb the host's links, set addresses and load vtunl:
      add_drv vtunl; plumb le0 tap tap0; ifconfig le0 10.1.0.1 netmask 255.255.255.0 up
      plumb tunnel from 10.1.0.1; ifconfig ip0 10.1.0.1 192.0.2.1 up
  A mobile node needs the first two only.

Exit status:
  0  done, or stopped by a signal
  1  the emulated host refused something, or the demo's traffic was damaged
  2  the command line or the configuration could not be understood
  3  this machine forbids it: no TAP device, no permission, a file that can't be read";

/// Subcommands.
#[derive(Subcommand, Debug)]
pub enum What {
    /// Hand two mobile nodes over between agents, in memory, while traffic runs
    ///
    /// A home agent, two foreign agents, a router, a correspondent and two mobile nodes
    /// under an emulated clock. A TCP transfer to one node and UDP both ways with the other
    /// run all the time. Prints what happened, with a table of bindings and visitors.
    Demo {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Be the home agent that the configuration tells
    Home(Daemon),
    /// Be the foreign agent that the configuration tells
    Foreign(Daemon),
    /// Be both, or a router that advertises itself, as the configuration says
    Agent(Daemon),
    /// Be a mobile node
    Mobile(Daemon),
    /// Print the bindings, visitors or state that a daemon has written
    Stat {
        /// The daemon's --status file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Look whether a configuration is right
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the manual page (roff)
    Man,
}

/// What both daemons need.
#[derive(Args, Debug)]
pub struct Daemon {
    /// The configuration
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/inet/mipagent.conf"
    )]
    pub config: PathBuf,
    /// The commands that build the host
    #[arg(short, long, value_name = "SCRIPT")]
    pub setup: PathBuf,
    /// Write bindings, visitors or state there, every second
    #[arg(long, value_name = "FILE")]
    pub status: Option<PathBuf>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl From<&Daemon> for daemon::Options {
    fn from(d: &Daemon) -> daemon::Options {
        daemon::Options {
            conf: d.config.clone(),
            setup: d.setup.clone(),
            status: d.status.clone(),
            seconds: d.seconds,
            json: d.json,
        }
    }
}

/// The program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print(); // nowhere else to say it
            let wrong = e.use_stderr();
            return ExitCode::from(if wrong { Kind::Usage.status() } else { 0 });
        }
    };
    match run(&cli.what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(f) => f.end("mipagent"),
    }
}

fn run(what: &What) -> Done {
    match what {
        What::Demo { json } => {
            let mut out = std::io::stdout().lock();
            demo::run(&mut demo::Print::new(&mut out, *json))
        }
        What::Home(d) => daemon::run(daemon::As::Home, &d.into()),
        What::Foreign(d) => daemon::run(daemon::As::Foreign, &d.into()),
        What::Agent(d) => daemon::run(daemon::As::Agent, &d.into()),
        What::Mobile(d) => daemon::run(daemon::As::Mobile, &d.into()),
        What::Stat { file, json } => {
            daemon::stat(file, *json).and_then(|text| print(text.as_bytes()))
        }
        What::Check { file } => {
            let text = std::fs::read_to_string(file).map_err(|e| Fail::io(file.display(), &e))?;
            crate::world::read(&file.display().to_string(), &text).map(|_| ())
        }
        What::Man => {
            let mut page = Vec::new();
            let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
            made.map_err(|e| Fail::io("the manual page", &e))?;
            print(&page)
        }
    }
}

fn print(text: &[u8]) -> Done {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fail::io("standard output", &e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_are_right() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");
        let files = std::fs::read_dir(dir).expect("the demo's files");
        let confs = files.flatten().map(|f| f.path());
        let confs: Vec<PathBuf> = confs
            .filter(|p| p.extension().is_some_and(|e| e == "conf"))
            .collect();
        assert_eq!(confs.len(), 6);
        for file in confs {
            assert!(run(&What::Check { file: file.clone() }).is_ok(), "{file:?}");
        }
    }
}
