//! Hosts of the machine's own: network namespaces, joined by veth pairs.
//!
//! ```text
//!   Lab::new(As::Root)   each host: unshare -n
//!   Lab::new(As::User)   the first: unshare -Urn, the others below it: no privilege needed
//!
//!   [host a] veth ════════ veth [host b]        a.run(["ping", ..])   b.spawn([..])
//! ```
//!
//! A host is a process that holds the namespace open by reading a pipe from us. It ends
//! when the pipe closes: at drop, after a panic, and if the test is killed. The kernel then
//! takes away the namespace and all that was in it; no names are left behind, so none can
//! collide.
//!
//! Where the host forbids any of this, [`Lab::new`] says why, and the test says SKIPPED.
//!
//! Spec: namespaces(7), user_namespaces(7), unshare(1), nsenter(1), veth(4).

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long anybody may take on a busy machine. A wait that has its answer ends; only one in
/// vain lasts so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whose privilege makes the namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum As {
    /// The superuser's.
    Root,
    /// Nobody's: a user namespace in which the caller is root.
    User,
}

/// Why a test can't run here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skip(pub String);

/// Some hosts and the wires between them.
pub struct Lab {
    who: As,
    hosts: usize,
    first: Option<u32>,
}

/// One host.
pub struct Host {
    name: String,
    pid: u32,
    who: As,
    holder: Child,
    _pipe: Option<ChildStdin>,
}

impl Lab {
    /// A lab without hosts.
    ///
    /// # Errors
    /// The reason, if this machine forbids namespaces, veth pairs or TUN devices.
    pub fn new(who: As) -> Result<Lab, Skip> {
        if who == As::Root && !is_root() {
            return Err(Skip("not root".into()));
        }
        for tool in ["ip", "unshare", "nsenter"] {
            if !have(tool) {
                return Err(Skip(format!("{tool} is not installed")));
            }
        }
        let mut probe = Lab {
            who,
            hosts: 0,
            first: None,
        };
        let host = probe.host("probe")?;
        for (what, cmd) in [
            (
                "a veth pair",
                "ip link add probe0 type veth peer name probe1",
            ),
            ("a TUN device", "ip tuntap add probe2 mode tun"),
        ] {
            let out = host.run(cmd.split(' ')).map_err(|e| Skip(e.to_string()))?;
            if !out.status.success() {
                let why = String::from_utf8_lossy(&out.stderr);
                return Err(Skip(format!("{what} is refused: {}", why.trim())));
            }
        }
        Ok(Lab {
            who,
            hosts: 0,
            first: None,
        })
    }

    /// A new host, with its loopback up.
    ///
    /// # Errors
    /// The reason, if the machine refuses.
    pub fn host(&mut self, name: &str) -> Result<Host, Skip> {
        let hold = "echo ready; exec cat";
        let mut cmd = match (self.who, self.first) {
            (As::Root, _) => command("unshare", ["-n", "sh", "-c", hold]),
            (As::User, None) => command("unshare", ["-Urn", "sh", "-c", hold]),
            (As::User, Some(pid)) => {
                let mut c = enter(pid, As::User);
                c.args(["unshare", "-n", "sh", "-c", hold]);
                c
            }
        };
        cmd.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut holder = cmd.spawn().map_err(|e| Skip(format!("unshare: {e}")))?;
        let pipe = holder.stdin.take();
        let mut line = String::new();
        if let Some(out) = holder.stdout.take() {
            let _ = BufReader::new(out).read_line(&mut line); // nothing read: refused, below
        }
        if line.trim() != "ready" {
            let mut why = String::new();
            if let Some(mut e) = holder.stderr.take() {
                let _ = e.read_to_string(&mut why); // the reason is a courtesy
            }
            let _ = holder.wait();
            return Err(Skip(format!("no namespace: {}", why.trim())));
        }
        let pid = holder.id();
        self.first.get_or_insert(pid);
        self.hosts += 1;
        let host = Host {
            name: name.into(),
            pid,
            who: self.who,
            holder,
            _pipe: pipe,
        };
        host.ok("ip link set lo up");
        Ok(host)
    }

    /// Joins two hosts with a veth pair. Each end has a name, and an address with a prefix
    /// length if the host's own stack is to use it.
    pub fn wire(&self, a: &Host, a_end: &str, a_addr: &str, b: &Host, b_end: &str, b_addr: &str) {
        a.ok(&format!(
            "ip link add {a_end} type veth peer name {b_end} netns {}",
            b.pid
        ));
        for (host, end, addr) in [(a, a_end, a_addr), (b, b_end, b_addr)] {
            if !addr.is_empty() {
                host.ok(&format!("ip addr add {addr} dev {end}"));
            }
            host.ok(&format!("ip link set {end} up"));
        }
        a.until_carrier(a_end);
        b.until_carrier(b_end);
    }
}

impl Host {
    /// Waits until an interface that was set up carries frames. The end of a veth pair that
    /// was up first follows when the kernel gets to it (linkwatch): what is sent there before
    /// is dropped, and counted nowhere.
    pub fn until_carrier(&self, end: &str) {
        let patience = Instant::now() + PATIENCE;
        while !self.ok(&format!("ip link show {end}")).contains("state UP") {
            assert!(Instant::now() < patience, "{end} has no carrier");
        }
    }

    /// The process whose namespaces these are.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A command in the host's namespace.
    pub fn command<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut c = enter(self.pid, self.who);
        c.args(argv);
        c
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> io::Result<Output> {
        self.command(argv).stdin(Stdio::null()).output()
    }

    /// Runs a command, words separated by single blanks, and returns what it printed.
    ///
    /// # Panics
    /// If it fails, with what it said.
    #[track_caller]
    pub fn ok(&self, cmd: &str) -> String {
        match self.run(cmd.split(' ')) {
            Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).into_owned(),
            Ok(out) => panic!(
                "{}: {cmd}: {}\n{}{}",
                self.name,
                out.status,
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            ),
            Err(e) => panic!("{}: {cmd}: {e}", self.name),
        }
    }

    /// Starts a command; it is killed when the value is dropped.
    ///
    /// # Panics
    /// If it can't be started.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Running {
        let mut cmd = self.command(argv);
        cmd.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match cmd.spawn() {
            Ok(child) => Running::new(child),
            Err(e) => panic!("{}: {cmd:?}: {e}", self.name),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self._pipe.take());
        let _ = self.holder.kill(); // it may have ended already
        let _ = self.holder.wait();
    }
}

/// A process of ours; its lines, from both outputs, are read as they come.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn new(mut child: Child) -> Running {
        let (tx, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|o| Box::new(o) as _),
            child.stderr.take().map(|e| Box::new(e) as _),
        ];
        for out in outputs.into_iter().flatten() {
            let tx = tx.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if tx.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Running {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line that contains this, and returns it.
    ///
    /// # Panics
    /// If the process ends first, or says nothing of the kind within the time.
    #[track_caller]
    pub fn wait_line(&mut self, what: &str, within: Duration) -> String {
        self.lines_to(what, within).pop().unwrap_or_default()
    }

    /// Waits for a line that contains this, and returns all from the last wait to it.
    ///
    /// # Panics
    /// As [`Running::wait_line`].
    #[track_caller]
    pub fn lines_to(&mut self, what: &str, within: Duration) -> Vec<String> {
        let end = Instant::now() + within;
        let from = self.seen.len();
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let found = line.contains(what);
                    self.seen.push(line);
                    if found {
                        return self.seen[from..].to_vec();
                    }
                }
                Err(e) => {
                    let why = match e {
                        RecvTimeoutError::Timeout => "not said in time",
                        RecvTimeoutError::Disconnected => "it ended",
                    };
                    panic!(
                        "waited for {what:?}: {why}; it said:\n{}",
                        self.seen.join("\n")
                    );
                }
            }
        }
    }

    /// What the process reads.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the end and returns success and every line.
    pub fn finish(mut self) -> (bool, Vec<String>) {
        drop(self.child.stdin.take());
        let ok = self.child.wait().is_ok_and(|s| s.success());
        while let Ok(line) = self.lines.recv() {
            self.seen.push(line);
        }
        (ok, std::mem::take(&mut self.seen))
    }

    /// Does the process end within the time? Then [`Running::finish`] has all its lines.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(e) => return e == RecvTimeoutError::Disconnected,
            }
        }
    }

    /// Asks the process to end (SIGTERM).
    pub fn terminate(&self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
    }

    /// Asks the process to end (SIGINT), as tcpdump wants it to write the last packets.
    pub fn interrupt(&self) {
        let _ = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended already
        let _ = self.child.wait();
    }
}

fn enter(pid: u32, who: As) -> Command {
    let pid = pid.to_string();
    match who {
        As::Root => command("nsenter", ["-n", "-t", &pid]),
        As::User => command(
            "nsenter",
            ["--preserve-credentials", "-U", "-n", "-t", &pid],
        ),
    }
}

fn command<const N: usize>(program: &str, args: [&str; N]) -> Command {
    let mut c = Command::new(program);
    c.args(args).env("PATH", path()).env("LC_ALL", "C");
    c
}

fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Is this program to be found?
pub fn have(tool: &str) -> bool {
    path()
        .split(':')
        .any(|dir| std::path::Path::new(dir).join(tool).is_file())
}

/// Does this process run as the superuser?
pub fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| {
        s.lines()
            .find_map(|l| l.strip_prefix("Uid:"))
            .is_some_and(|uids| uids.split_whitespace().nth(1) == Some("0"))
    })
}
