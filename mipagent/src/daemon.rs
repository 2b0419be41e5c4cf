//! `mipagent home`, `foreign`, `agent` and `mobile`: a daemon on an emulated host whose links are
//! TAP and TUN devices of this machine.
//!
//! ```text
//!   setup script (vtunlconf) ─► host: plumb le0 tap tap0, addresses, routes, tunnel
//!   mipagent.conf ─► Agent or MobileNode ─┬─ poll(2) on its streams, or its next timer
//!                                         ├─ log on standard output
//!                                         └─ status file, for mipagent stat
//! ```
//!
//! Spec: mipagent(1M), mipagentstat(1M).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use streams::sys::event::{POLLIN, POLLPRI};
use streams::{Cred, Errno, PollFd, Process, Sys};
use vtunlconf::diag::{Done, Fail, Kind, Tried};
use vtunlconf::lab::ClockKind;
use vtunlconf::out::Look;
use vtunlconf::shell::Shell;

use crate::agent::Agent;
use crate::conf::Conf;
use crate::mobile::MobileNode;
use crate::status::{self, Log};
use crate::world;

/// Seconds from 1900 to 1970 (RFC 5905).
const TO_UNIX: u64 = 2_208_988_800;
/// The longest wait: signals and timers of the other side are noticed after it.
const LONGEST: Duration = Duration::from_millis(250);

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// The configuration file.
    pub conf: PathBuf,
    /// The script that builds the host.
    pub setup: PathBuf,
    /// Where the status goes.
    pub status: Option<PathBuf>,
    /// Stop after this many seconds.
    pub seconds: Option<u64>,
    /// One JSON object a line.
    pub json: bool,
}

/// What a daemon is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// What its configuration makes of it: home agent, foreign agent, both, or a router.
    Agent,
    /// The home agent alone.
    Home,
    /// The foreign agent alone.
    Foreign,
    /// A mobile node.
    Mobile,
}

enum Role<'a> {
    Agent(Box<Agent<'a>>),
    Mobile(Box<MobileNode<'a>>),
}

impl Role<'_> {
    fn poll(&mut self, now: Duration, log: &mut Log) -> Result<bool, Errno> {
        match self {
            Role::Agent(a) => a.poll(now, log),
            Role::Mobile(m) => m.poll(now, log),
        }
    }
    fn fds(&self) -> Vec<i32> {
        match self {
            Role::Agent(a) => a.fds(),
            Role::Mobile(m) => m.fds().to_vec(),
        }
    }
    fn next(&self) -> Option<Duration> {
        match self {
            Role::Agent(a) => a.next(),
            Role::Mobile(m) => m.next(),
        }
    }
    fn status(&self, now: Duration) -> Value {
        match self {
            Role::Agent(a) => a.status(now),
            Role::Mobile(m) => json!({ "mobile": status::mobile_json(m, now) }),
        }
    }
}

/// Seconds since 1900.
fn time_of_day() -> Duration {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    unix.unwrap_or_default() + Duration::from_secs(TO_UNIX)
}

/// Runs until SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// Usage: the configuration is wrong, or of another role. HostForbids: a file can't be read,
/// this machine gives no TAP device. Failed: what the emulated host refuses.
pub fn run(what: As, o: &Options) -> Done {
    let text = std::fs::read_to_string(&o.conf).map_err(|e| Fail::io(o.conf.display(), &e))?;
    let conf = world::read(&o.conf.display().to_string(), &text)?;
    let conf = part_of(what, conf, &o.conf)?;
    let mobile = what == As::Mobile;
    let look = Look {
        quiet: true,
        ..Look::PLAIN
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [2, 15, 1] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|e| Fail::io("signals", &e))?;
    }
    let mut shell = Shell::new(ClockKind::Real, look);
    let done = shell.run_file(&o.setup.to_string_lossy()).and_then(|()| {
        let host = shell.lab.host()?;
        let p = host.kernel.process(Cred::ROOT);
        serve(&p, mobile, conf, o, &stop)
    });
    shell.lab.shut_down();
    done
}

/// The part of a configuration that is meant; it has to be there.
fn part_of(what: As, mut conf: Conf, file: &Path) -> Result<Conf, Fail> {
    let (there, want) = match what {
        As::Agent => (!conf.advertise.is_empty(), "[Advertisements IF]"),
        As::Home => (
            conf.home.is_some(),
            "[Advertisements IF] with HomeAgent = yes",
        ),
        As::Foreign => (
            conf.foreign.is_some(),
            "[Advertisements IF] with ForeignAgent = yes",
        ),
        As::Mobile => (conf.mobile.is_some(), "[Node]"),
    };
    if !there {
        let cause = format!("{}: there is no section {want}", file.display());
        return Err(Fail::new(Kind::Usage, cause).mend("add it, or start another role"));
    }
    let (home, foreign) = (what != As::Foreign, what != As::Home);
    conf.home = conf.home.filter(|_| home);
    conf.foreign = conf.foreign.filter(|_| foreign);
    for a in &mut conf.advertise {
        (a.home, a.foreign) = (a.home && home, a.foreign && foreign);
    }
    Ok(conf)
}

fn serve(p: &Process, mobile: bool, conf: Conf, o: &Options, stop: &AtomicBool) -> Done {
    let begun = std::time::Instant::now();
    // The time of day at the start, then a clock that nobody sets.
    let day = time_of_day();
    let now = || day + begun.elapsed();
    let mut role = match conf.mobile.clone().filter(|_| mobile) {
        Some(m) => Role::Mobile(Box::new(MobileNode::new(p, m, now()).map_err(explain)?)),
        None => Role::Agent(Box::new(Agent::new(p, conf, now()).map_err(explain)?)),
    };
    let mut log = Log::default();
    let mut out = std::io::stdout().lock();
    let mut told = None;
    loop {
        while role.poll(now(), &mut log).tried("the emulated host")? {}
        for e in log.take() {
            let when = begun.elapsed().as_secs_f64();
            let line = match o.json {
                true => json!({ "time": when, "role": e.role,
                                "mobile_node": e.home.to_string(), "event": e.text })
                .to_string(),
                false => format!("{when:9.3}  {} {} {}", e.role, e.home, e.text),
            };
            let printed = writeln!(out, "{line}").and_then(|()| out.flush());
            printed.map_err(|e| Fail::io("standard output", &e))?;
        }
        // Once a second: what is left of lifetimes changes too.
        let second = begun.elapsed().as_secs();
        if told != Some(second)
            && let Some(path) = &o.status
        {
            told = Some(second);
            write_status(path, &role.status(now()))?;
        }
        let over = o.seconds.is_some_and(|s| begun.elapsed().as_secs() >= s);
        if over || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wait = role.next().map_or(LONGEST, |t| t.saturating_sub(now()));
        let event = |fd| PollFd {
            fd,
            events: POLLIN | POLLPRI,
            revents: 0,
        };
        let mut fds: Vec<PollFd> = role.fds().into_iter().map(event).collect();
        match p.poll(&mut fds, Some(wait.min(LONGEST))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Fail::errno("poll", e)),
        }
    }
}

/// What the start of a daemon fails with, and what to do.
fn explain(e: Errno) -> Fail {
    let fail = Fail::errno("the daemon cannot start", e);
    match e {
        Errno::ENXIO => fail.mend(
            "every interface of the configuration has to be plumbed and up, and vtunl loaded: \
             `add_drv vtunl` in the setup script",
        ),
        Errno::EADDRNOTAVAIL => {
            fail.mend("the care-of address and the home agent's have to be on interfaces")
        }
        Errno::EADDRINUSE => fail.mend("UDP port 434 is taken on this host"),
        Errno::EINVAL => {
            fail.mend("agents and mobile nodes need an Ethernet: `plumb le0 tap NAME`")
        }
        Errno::ENOENT => fail.mend("vtunl is not loaded: `add_drv vtunl` in the setup script"),
        _ => fail,
    }
}

/// Whole or not at all: readers never see half a file.
fn write_status(path: &Path, status: &Value) -> Done {
    let new = path.with_extension("new");
    let done =
        std::fs::write(&new, format!("{status:#}\n")).and_then(|()| std::fs::rename(&new, path));
    done.map_err(|e| Fail::io(path.display(), &e))
}

/// Prints a status file as mipagentstat does, or as it is.
///
/// # Errors
/// HostForbids: it can't be read. Failed: it is no status.
pub fn stat(path: &Path, json: bool) -> Result<String, Fail> {
    let text = std::fs::read_to_string(path).map_err(|e| Fail::io(path.display(), &e))?;
    let status: Value = serde_json::from_str(&text).map_err(|e| {
        Fail::failed(format!("{}: this is no status: {e}", path.display()))
            .mend("a daemon writes one with --status FILE")
    })?;
    Ok(match json {
        true => text,
        false => status::render(&status),
    })
}
