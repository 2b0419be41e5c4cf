//! Daemons on the hosts of a lab, under its emulated clock: nothing waits, every run is
//! the same.
//!
//! ```text
//!   step:  every kernel's time ─► all that happens of it ─► every daemon, until all are quiet
//! ```
//!
//! Each daemon has a process of its own on its host, as the shell's commands have theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use streams::{Cred, Errno, Process};
use vtunlconf::diag::{Fail, Kind, Source, Tried};
use vtunlconf::lab::ClockKind;
use vtunlconf::out::Look;
use vtunlconf::shell::Shell;

use crate::agent::Agent;
use crate::conf::Conf;
use crate::mobile::MobileNode;
use crate::status::{self, Entry, Log};

/// The time of day when a lab begins: some day of 2026, in seconds since 1900.
pub const DAY: Duration = Duration::from_secs(3_976_000_000);

/// An entry of a daemon's log: when, on which host.
#[derive(Clone, Debug)]
pub struct Line {
    /// Since the lab began.
    pub when: Duration,
    /// The host.
    pub host: String,
    /// What.
    pub entry: Entry,
}

/// The hosts of a lab.
pub struct World {
    /// The shell that made them, for more commands.
    pub shell: Shell,
    processes: BTreeMap<String, Process>,
}

impl World {
    /// Runs a script of the shell, and gives every host a process for a daemon.
    ///
    /// # Errors
    /// The script's first failure, shown already.
    pub fn build(name: &str, script: &str) -> Result<World, Fail> {
        let look = Look {
            quiet: true,
            ..Look::PLAIN
        };
        let mut shell = Shell::new(ClockKind::Emulated, look);
        shell.run_source(Source::new(name, script))?;
        let all = shell.lab.hosts().iter();
        let processes = all.map(|h| (h.name.clone(), h.kernel.process(Cred::ROOT)));
        let processes = processes.collect();
        Ok(World { shell, processes })
    }

    /// Takes the processes, for daemons to borrow while the world goes on.
    pub fn processes(&mut self) -> BTreeMap<String, Process> {
        std::mem::take(&mut self.processes)
    }

    /// Since the lab began.
    pub fn now(&self) -> Duration {
        let first = self.shell.lab.hosts().first();
        first.map_or(Duration::ZERO, |h| h.kernel.now())
    }

    /// Runs commands of the shell.
    ///
    /// # Errors
    /// The first failure, shown already.
    pub fn run(&mut self, commands: &str) -> Result<(), Fail> {
        self.shell.run_source(Source::new("world", commands))
    }
}

/// The daemons, by host.
#[derive(Default)]
pub struct Daemons<'a> {
    /// Home and foreign agents.
    pub agents: BTreeMap<String, Agent<'a>>,
    /// Mobile nodes.
    pub mobiles: BTreeMap<String, MobileNode<'a>>,
    /// What they told.
    pub log: Vec<Line>,
    /// Hosts whose clock is behind, and by how much; set before they are started.
    pub behind: BTreeMap<String, Duration>,
}

impl<'a> Daemons<'a> {
    /// Starts one from its configuration.
    ///
    /// # Errors
    /// What is wrong with the configuration, or what the host refuses.
    pub fn start(
        &mut self,
        host: &str,
        p: &'a Process,
        conf: &str,
        now: Duration,
    ) -> Result<(), Fail> {
        let conf = read(host, conf)?;
        let now = self.day(host) + now;
        if let Some(m) = conf.mobile {
            let m = MobileNode::new(p, m, now).tried(host)?;
            self.mobiles.insert(host.to_owned(), m);
        } else {
            let a = Agent::new(p, conf, now).tried(host)?;
            self.agents.insert(host.to_owned(), a);
        }
        Ok(())
    }

    /// The time of day on a host when the lab began.
    fn day(&self, host: &str) -> Duration {
        DAY - self.behind.get(host).copied().unwrap_or_default()
    }

    /// Everybody's turn. True: somebody had something to do.
    fn poll(&mut self, now: Duration) -> Result<bool, Errno> {
        let mut any = false;
        let mut log = Log::default();
        let lines = &mut self.log;
        let mut keep = |host: &String, log: &mut Log| {
            let line = |entry| Line {
                when: now,
                host: host.clone(),
                entry,
            };
            lines.extend(log.take().into_iter().map(line));
        };
        for (host, a) in &mut self.agents {
            any |= a.poll(DAY + now, &mut log)?;
            keep(host, &mut log);
        }
        for (host, m) in &mut self.mobiles {
            let day = DAY - self.behind.get(host).copied().unwrap_or_default();
            any |= m.poll(day + now, &mut log)?;
            keep(host, &mut log);
        }
        Ok(any)
    }

    /// Everything that happens without time passing.
    ///
    /// # Errors
    /// A daemon's; EDEADLK: it never ends.
    pub fn settle(&mut self, w: &mut World) -> Result<(), Fail> {
        for _ in 0..10_000 {
            w.shell.lab.settle();
            if !self.poll(w.now()).tried("a daemon")? {
                return Ok(());
            }
        }
        Err(Fail::errno(
            "daemons that answer one another for ever",
            Errno::EDEADLK,
        ))
    }

    /// Lets time pass in steps, and calls `each` after every one.
    ///
    /// # Errors
    /// As [`Daemons::settle`], and what `each` says.
    pub fn pass(
        &mut self,
        w: &mut World,
        time: Duration,
        step: Duration,
        mut each: impl FnMut(&mut World) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let end = w.now() + time;
        while w.now() < end {
            let by = step.min(end - w.now());
            for h in w.shell.lab.hosts() {
                h.kernel.advance(by);
            }
            self.settle(w)?;
            each(w)?;
        }
        self.settle(w)
    }

    /// Every daemon's tables, by host.
    pub fn status(&self, now: Duration) -> Value {
        let mut all = Map::new();
        for (host, a) in &self.agents {
            all.insert(host.clone(), a.status(DAY + now));
        }
        for (host, m) in &self.mobiles {
            let json =
                serde_json::json!({ "mobile": status::mobile_json(m, self.day(host) + now) });
            all.insert(host.clone(), json);
        }
        Value::Object(all)
    }
}

/// Reads a configuration; what is wrong is told with its file.
///
/// # Errors
/// The first line that is wrong.
pub fn read(file: &str, text: &str) -> Result<Conf, Fail> {
    Conf::parse(text).map_err(|w| Fail::new(Kind::Usage, format!("{file}: {w}")).mend(w.mend))
}
