//! The runner of conformance cases: text in, the emulated system calls made, what comes out
//! compared.
//!
//! A case has a kernel of its own, with a clock set by hand: a call that has to wait makes
//! time jump to the next timer, and one that nothing could ever end comes back as `sleeps`.
//! Every case runs with service procedures in their order, and again in the orders of some
//! seeds.
//!
//! ```text
//!   %open  [n=]/dev/echo [O_NONBLOCK ..]   the descriptor is called n, `fd` if not named
//!   %close @n   %dup m=@n   %use @n   %flags @n O_NONBLOCK   %pipe a b
//!   %push  [m=]probe   %pop                a probe that is pushed is called m, else as its module
//!   %write "abc" -> 3                      %read 10 -> "abc"
//!   %put   [hipri] [band=1] [ctl="c"] ["data"]       putpmsg
//!   %get   [hipri] [band=1] [ctl="c"] ["data"]       getpmsg(MSG_ANY): what is expected
//!   %getpmsg any|hipri|band=N [ctlmax=N] [datamax=N] -> ctl="c" "data" MORECTL MOREDATA
//!   %putmsg, %getmsg                       the same with RS_HIPRI or nothing
//!   %poll  POLLIN|POLLOUT [timeout=2s] -> POLLIN
//!   %ioctl I_NREAD -> 1 10                 return value, then what was copied out
//!   %ioctl @b I_RECVFD got -> 0 uid=0      the descriptor received is called got
//!   %raw   I_NREAD USER_BASE "\0\0\0\0"    ioctl(2) with the caller's memory
//!   %cloexec @n   %exec [q]   %sendsig q SIGINT   %sigaction [q] SIGINT ignore
//!   %fork q   %limit 3                     a child of the process; descriptors it may have
//!   %nomem [N]  %mem   %tune strmsgsz=100  allocations fail (after N more), or not
//!   %istr  CMD ["data"] [timeout=N] -> RVAL "data"
//!   %link  [l=]@low -> $id   %plink   %unlink $id   %punlink MUXID_ALL
//!   %emit  [@n] M_DATA "x"                 the probe at the bottom sends this up
//!   %sees  [@n] [rd|wr] M_DATA "x", M_FLUSH FLUSHW       all that came to it; or `nothing`
//!   %do    [@n] rd|wr CALL ..              a probe calls putq, getq, canputnext .. (../probe)
//!   %after 2s CALL ..                      the same from a timeout
//!   %answer [@n] ack|nak|copyin|copyout|hold|drop ..    to the next M_IOCTL
//!   %reply  [@n] ack ..                    to one that is held
//!   %set   [@n] [rd|wr] pass|sink|queue|echo|inner|outer|stop|go
//!   %onopen ENXIO | minor=5 | wait         what the next open of a probe does
//!   %life  open:probe:clone close:probe    opens and closes, in order
//!   %path  {m.wr {fd.wr fd.wr} m.wr}       put procedures entered and left, in order
//!   %proc  q uid=100   %as q   %exit q   %kill q SIGINT   %signals q SIGPOLL
//!   %dl    [@n] DL_BIND_REQ [sap=0 ..] ["data"] -> DL_BIND_ACK     asks a data link provider
//!   %dlget [@n] -> DL_TEST_IND flag=1 dest=b:0x42 src=a:0x4 "data"    what has come: link.rs
//!   %dlinfo [@n] -> max_sdu=1500 ..        DL_INFO_ACK
//!   %dlstate [@n] -> DL_IDLE               what DL_INFO_ACK says of the state
//!   %kstat le:0:le0:ipackets -> 7         a statistic by its four names; or `nothing`
//!   %net %ifconfig %route %ndd %in %out ..     a host with IP and its links: ip.rs, arp.rs
//!   %tunnel %hear %vt %bounce %notice ..       vtunl: tunnel.rs, what is inside: inside.rs
//!   %advance 15s   %took 15s               time passes; the last call took so long
//! ```
//!
//! Without `->` a step must only succeed. `-> $x` keeps a value, or compares with the one
//! kept, and so does `key=$x`; `key=!$x` must be another. `-> _` is any. Behind `->` keys in any
//! order; `band` and `flag` not named are 0.
//!
//! ```text
//!   text.rs ─► Step ─► calls ioctls processes probes network kernel ─► Outcome ─► matching.rs
//!                        │                    └─► ip arp groups link tunnel
//!                        └─► streams::Process
//! ```

mod arp;
mod calls;
pub mod conformance;
mod datagram;
mod groups;
mod inside;
mod ioctls;
mod ip;
mod kernel;
mod link;
mod matching;
pub mod message;
pub mod names;
mod network;
mod probes;
mod processes;
pub mod text;
mod tunnel;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use streams::{Config, Cred, Errno, IoctlReply, Kernel, Process};

use crate::probe::{self, Place, Side, show_time};
use matching::matches;
use text::{Case, Step, Tok, show};

/// What a step gave: words, or an error.
type Outcome = Result<Vec<Tok>, Errno>;

/// Why a step could not even be done: the case is written wrongly.
type Wrong = String;

/// Why a case did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Something else came out than was expected.
    Differs(String),
    /// The case itself makes no sense, or asks for what can't be asked for.
    Wrong(String),
}

impl From<Wrong> for Failure {
    fn from(w: Wrong) -> Failure {
        Failure::Wrong(w)
    }
}

impl Failure {
    fn map(self, f: impl FnOnce(String) -> String) -> Failure {
        match self {
            Failure::Differs(t) => Failure::Differs(f(t)),
            Failure::Wrong(t) => Failure::Wrong(f(t)),
        }
    }
    /// Where and what.
    pub fn text(&self) -> &str {
        match self {
            Failure::Differs(t) | Failure::Wrong(t) => t,
        }
    }
}

/// Runs a case once.
///
/// # Errors
/// Where it went another way: file, line, what was expected, what came.
pub fn run(case: &Case, seed: u64) -> Result<(), Failure> {
    // After a panic the kernel may be locked for good: it is leaked, not closed.
    let m = Machine::new(seed).map_err(|e| Failure::Wrong(format!("{}: {e}", case.id())))?;
    let mut m = ManuallyDrop::new(m);
    let r = case.steps.iter().try_for_each(|s| {
        m.step(s).map_err(|failure| {
            let mut what = s.verb.clone();
            if !s.args.is_empty() {
                what = format!("{what} {}", show(&s.args));
            }
            failure.map(|why| format!("{}.st:{}: %{what}: {why}", case.file, s.line))
        })
    });
    m.procs.values().for_each(|p| p.exit());
    drop(ManuallyDrop::into_inner(m));
    probe::reset();
    let order = format!("\n(with service procedures in the order of seed {seed})");
    r.map_err(|f| if seed == 0 { f } else { f.map(|t| t + &order) })
}

struct Machine {
    kernel: Kernel,
    procs: BTreeMap<String, Arc<Process>>,
    /// The process that makes the calls.
    proc: String,
    /// Descriptors by name: whose, and which.
    fds: BTreeMap<String, (String, i32)>,
    fd: String,
    probes: BTreeMap<String, usize>,
    vars: BTreeMap<String, Tok>,
    took: Duration,
    wires: ip::Wires,
    /// The last datagram that a case has looked at.
    last: Vec<u8>,
}

impl Machine {
    fn new(seed: u64) -> Result<Machine, Wrong> {
        let config = if seed == 0 {
            Config::test()
        } else {
            Config::seeded(seed)
        };
        let kernel = Kernel::with_config(config).map_err(|e| e.to_string())?;
        streams::register(&kernel).map_err(|e| e.to_string())?;
        probe::register(&kernel).map_err(|e| e.to_string())?;
        link::register(&kernel).map_err(|e| e.to_string())?;
        let mut wires = ip::Wires::default();
        wires.register(&kernel).map_err(|e| e.to_string())?;
        let init = Arc::new(kernel.process(Cred::ROOT));
        probe::set_process(&init);
        Ok(Machine {
            kernel,
            procs: BTreeMap::from([("init".to_owned(), init)]),
            proc: "init".into(),
            fds: BTreeMap::new(),
            fd: "fd".into(),
            probes: BTreeMap::new(),
            vars: BTreeMap::new(),
            took: Duration::ZERO,
            wires,
            last: Vec::new(),
        })
    }

    fn step(&mut self, s: &Step) -> Result<(), Failure> {
        let args = self.substitute(&s.args)?;
        // In these the arguments are what is expected.
        let (outcome, expect) = match s.verb.as_str() {
            "get" => (self.timed(|m| m.getpmsg(&[Tok::word("any")]))?, Some(&args)),
            "sees" => return self.sees(&args),
            "out" | "up" | "ctl" | "above" => {
                return self.datagram(&s.verb, &args, s.expect.as_deref());
            }
            "life" => (Ok(probe::take_life()), Some(&args)),
            "path" => (Ok(self.path()), Some(&args)),
            "took" => (Ok(vec![Tok::word(show_time(self.took))]), Some(&args)),
            "signals" => {
                let (p, rest) = self.named_proc(&args);
                return self.compare(&rest, &Ok(self.signals(&p)?));
            }
            verb => (self.timed(|m| m.call(verb, &args))?, s.expect.as_ref()),
        };
        self.kernel.run_until_idle();
        match expect {
            Some(e) => self.compare(e, &outcome),
            None => match outcome {
                Ok(_) => Ok(()),
                Err(e) => Err(Failure::Differs(format!(
                    "expected success, got {}",
                    error_word(e)
                ))),
            },
        }
    }

    fn timed(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<Outcome, Wrong>,
    ) -> Result<Outcome, Wrong> {
        let from = self.kernel.now();
        let r = f(self);
        self.took = self.kernel.now() - from;
        r
    }

    fn substitute(&self, args: &[Tok]) -> Result<Vec<Tok>, Wrong> {
        args.iter()
            .map(|t| match t {
                Tok::Word(w) if w.starts_with('$') => self
                    .vars
                    .get(w)
                    .cloned()
                    .ok_or_else(|| format!("{w} has no value yet")),
                t => Ok(t.clone()),
            })
            .collect()
    }

    fn compare(&mut self, expect: &[Tok], got: &Outcome) -> Result<(), Failure> {
        let got = match got {
            Ok(v) => v.clone(),
            Err(e) => vec![Tok::word(error_word(*e))],
        };
        if matches(expect, &got, &mut self.vars) {
            Ok(())
        } else {
            Err(Failure::Differs(format!(
                "expected {}, got {}",
                show(expect),
                show(&got)
            )))
        }
    }

    // ---- who is meant ----

    /// The descriptor that the arguments begin with, else the current one; and the rest.
    fn on_fd<'a>(&self, args: &'a [Tok]) -> Result<(Arc<Process>, i32, &'a [Tok]), Wrong> {
        let (name, rest) = at_name(args).unwrap_or((&self.fd, args));
        let (owner, fd) = match self.fds.get(name) {
            Some(f) => f.clone(),
            None if name == "closed" => (self.proc.clone(), 1000),
            None => return Err(format!("no descriptor is called {name}")),
        };
        Ok((self.process(&owner)?, fd, rest))
    }

    fn process(&self, name: &str) -> Result<Arc<Process>, Wrong> {
        self.procs
            .get(name)
            .cloned()
            .ok_or_else(|| format!("no process is called {name}"))
    }

    fn named_proc(&self, args: &[Tok]) -> (String, Vec<Tok>) {
        match args.split_first() {
            Some((Tok::Word(p), rest)) if self.procs.contains_key(p) => (p.clone(), rest.to_vec()),
            _ => (self.proc.clone(), args.to_vec()),
        }
    }

    /// The probe and side that the arguments begin with, else the driver of the current
    /// descriptor.
    fn on_probe<'a>(&self, args: &'a [Tok]) -> Result<(usize, Option<Side>, &'a [Tok]), Wrong> {
        let (name, rest) = at_name(args).unwrap_or((&self.fd, args));
        let id = *self
            .probes
            .get(name)
            .ok_or_else(|| format!("no probe is called {name}"))?;
        Ok(match rest.first() {
            Some(t) if t.is("rd") => (id, Some(Side::Rd), &rest[1..]),
            Some(t) if t.is("wr") => (id, Some(Side::Wr), &rest[1..]),
            _ => (id, None, rest),
        })
    }

    /// Gives a name to the first probe made since `from` that stands in this place.
    fn adopt(&mut self, from: usize, at: Place, name: &str) {
        if let Some(id) = (from..probe::next_id()).find(|i| probe::place(*i) == at) {
            self.probes.insert(name.into(), id);
        }
    }

    // ---- the steps ----

    fn call(&mut self, verb: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
        let all = [
            Machine::call_verb,
            Machine::ioctl_verb,
            Machine::process_verb,
            Machine::probe_verb,
            Machine::network_verb,
            Machine::kernel_verb,
        ];
        for of in all {
            if let Some(outcome) = of(self, verb, args)? {
                return Ok(outcome);
            }
        }
        Err("no such verb".into())
    }
}

/// The number that a key has, or what it is without.
fn key_or(args: &[Tok], key: &str, otherwise: i32) -> Result<i32, Wrong> {
    for t in args {
        match t {
            Tok::Key(k, v) if k == key => match **v {
                Tok::Num(n) => return Ok(n as i32),
                _ => return Err(format!("{key}=N")),
            },
            _ => {}
        }
    }
    Ok(otherwise)
}

fn nothing<T>(_: T) -> Vec<Tok> {
    Vec::new()
}

fn reply_value(r: IoctlReply) -> Vec<Tok> {
    vec![Tok::Num(r.rval.into())]
}

/// EDEADLK is what the kernel says of a call that nothing could ever end.
fn error_word(e: Errno) -> &'static str {
    if e == Errno::EDEADLK {
        "sleeps"
    } else {
        e.name()
    }
}

/// `@name ...`
fn at_name(args: &[Tok]) -> Option<(&str, &[Tok])> {
    match args.split_first() {
        Some((Tok::Word(w), rest)) => w.strip_prefix('@').map(|n| (n, rest)),
        _ => None,
    }
}

/// `15s`, `200ms`.
pub(crate) fn time(text: &str) -> Result<Duration, Wrong> {
    let bad = || format!("{text} is no time: 15s, 200ms");
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse().map(Duration::from_millis).map_err(|_| bad());
    }
    let s = text.strip_suffix('s').ok_or_else(bad)?;
    s.parse().map(Duration::from_secs).map_err(|_| bad())
}
