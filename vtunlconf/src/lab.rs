//! The emulated hosts of this process, and what joins them.
//!
//! ```text
//!   Lab ─┬─ names   nobel1 = 192.168.15.1 ..          for every command
//!        ├─ host ha  = Kernel + an administrator's process + what was plumbed
//!        ├─ host fa1 = Kernel + ..
//!        └─ wires    an Ethernet in memory each, with a port per plumbed device
//! ```
//!
//! Time: with the emulated clock nothing happens between commands but what commands
//! cause, and every run of a script is the same; with the machine's clock each kernel
//! has a thread and things happen by themselves, as a TUN device needs it.

use std::time::Duration;

use streams::{Config, Cred, Errno, Kernel, Process};

use crate::diag::{Fail, Tried};
use crate::values::Names;

/// What moves the kernels' time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum ClockKind {
    /// Commands do: every run is the same.
    Emulated,
    /// The machine's clock.
    Real,
}

/// One emulated host.
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its kernel.
    pub kernel: Kernel,
    /// The process that commands run in: a superuser's.
    pub admin: Process,
}

/// Every host, wire and name.
pub struct Lab {
    /// Names of addresses.
    pub names: Names,
    /// What moves time. Fixed when the first host is made.
    pub clock: ClockKind,
    hosts: Vec<Host>,
    current: usize,
}

impl Lab {
    /// A lab without hosts.
    pub fn new(clock: ClockKind) -> Lab {
        Lab {
            names: Names::default(),
            clock,
            hosts: Vec::new(),
            current: 0,
        }
    }

    /// Every host.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host that commands are for, made now if there is none yet.
    ///
    /// # Errors
    /// This machine refuses the kernel.
    pub fn host(&mut self) -> Result<&mut Host, Fail> {
        if self.hosts.is_empty() {
            self.add("localhost")?;
        }
        let at = self.current.min(self.hosts.len() - 1);
        Ok(&mut self.hosts[at])
    }

    /// The current host's name, if there is one.
    pub fn current(&self) -> Option<&str> {
        self.hosts.get(self.current).map(|h| h.name.as_str())
    }

    /// Where a host is.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|h| h.name == name)
    }

    /// Makes another host the current one; returns which it was before.
    pub fn select(&mut self, at: usize) -> usize {
        std::mem::replace(&mut self.current, at)
    }

    /// Makes a host and selects it.
    ///
    /// # Errors
    /// This machine refuses the kernel (too many open files).
    pub fn add(&mut self, name: &str) -> Result<&mut Host, Fail> {
        let config = Config {
            manual_clock: self.clock == ClockKind::Emulated,
            ..Config::default()
        };
        let kernel = Kernel::with_config(config)
            .map_err(|e| Fail::io(format!("a kernel for {name}"), &e))?;
        register(&kernel).tried("drivers")?;
        let admin = kernel.process(Cred::ROOT);
        self.hosts.push(Host {
            name: name.to_owned(),
            kernel,
            admin,
        });
        self.current = self.hosts.len() - 1;
        Ok(&mut self.hosts[self.current])
    }

    /// Lets everything happen that is under way. With the emulated clock: until nothing
    /// is; with the machine's: until it has been quiet for a moment.
    pub fn settle(&self) {
        match self.clock {
            ClockKind::Real => std::thread::sleep(Duration::from_millis(10)),
            ClockKind::Emulated => {
                // Bounded: a loop of hosts that answer one another for ever must end here.
                for _ in 0..1_000_000 {
                    let busy = self.hosts.iter().filter(|h| h.kernel.step()).count();
                    if busy == 0 {
                        return;
                    }
                }
            }
        }
    }

    /// Lets time pass on every host: in small steps, so that what one sends reaches the
    /// others at about its time.
    pub fn pass(&self, time: Duration) {
        if self.clock == ClockKind::Real {
            std::thread::sleep(time);
            return;
        }
        let step = (time / 1000).max(Duration::from_millis(1));
        let mut left = time;
        while !left.is_zero() {
            let now = left.min(step);
            for h in &self.hosts {
                h.kernel.advance(now);
            }
            self.settle();
            left -= now;
        }
    }
}

/// Makes every driver and module known to a kernel.
fn register(kernel: &Kernel) -> Result<(), Errno> {
    streams::register(kernel)
}
