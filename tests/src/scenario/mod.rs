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
//!   %do    [@n] rd|wr CALL ..              a probe calls putq, getq, canputnext .. (probe.rs)
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
//! kept, and so does `key=$x`; `key=!$x` must be another. `-> _` is any. Behind `->` keys in any order; `band` and `flag` not named are 0.

mod arp;
pub mod conformance;
mod datagram;
mod groups;
mod inside;
mod ip;
mod link;
pub mod message;
pub mod names;
pub mod text;
mod tunnel;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use streams::sys::{MORECTL, MOREDATA, StrIoctl};
use streams::{
    Config, Cred, Errno, FdInsert, Got, Ioctl, IoctlReply, Kernel, PollFd, Process, Sys, Which,
};

use crate::probe::{self, Place, Side, show_time};
use text::{Case, Step, Tok, show};

/// `%kstat`: a statistic; `class` is that of the kstat (kstat(1M) shows it as one).
fn kstat(k: &Kernel, args: &[Tok]) -> Result<Vec<Tok>, Wrong> {
    let [Tok::Word(path)] = args else {
        return Err("%kstat module:instance:name:statistic".into());
    };
    let parts: Vec<&str> = path.split(':').collect();
    let [module, instance, name, statistic] = parts[..] else {
        return Err(format!("{path} has not four parts"));
    };
    let instance = instance.parse().map_err(|_| format!("{path}: instance"))?;
    let all = k.kstats();
    let Some(found) = all.find(module, instance, name) else {
        return Ok(vec![Tok::word("nothing")]);
    };
    Ok(vec![match (statistic, found.get(statistic)) {
        ("class", _) => Tok::word(found.class),
        (_, Some(v)) => match v.number() {
            Some(n) => Tok::Num(n as i64),
            None => Tok::word(v.to_string()),
        },
        (_, None) => return Err(format!("{path}: no such statistic")),
    }])
}

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

    // ---- the calls ----

    fn call(&mut self, verb: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
        Ok(match verb {
            "open" => return self.open(args),
            "close" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.close(fd).map(nothing)
            }
            "use" => {
                let (name, _) = at_name(args).ok_or("%use @name")?;
                self.fd = name.to_owned();
                Ok(Vec::new())
            }
            "dup" => {
                let [Tok::Key(name, from)] = args else {
                    return Err("%dup new=@old".into());
                };
                let (p, fd, _) = self.on_fd(std::slice::from_ref(&**from))?;
                p.dup(fd).map(|new| {
                    self.fds.insert(name.clone(), (self.proc.clone(), new));
                    Vec::new()
                })
            }
            "flags" => {
                let (p, fd, rest) = self.on_fd(args)?;
                p.set_flags(fd, flags(rest)?).map(nothing)
            }
            "pipe" => {
                let [Tok::Word(a), Tok::Word(b)] = args else {
                    return Err("%pipe a b".into());
                };
                self.process(&self.proc)?.pipe().map(|(x, y)| {
                    self.fds.insert(a.clone(), (self.proc.clone(), x));
                    self.fds.insert(b.clone(), (self.proc.clone(), y));
                    self.fd = a.clone();
                    Vec::new()
                })
            }
            "push" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let (name, module) = named(rest).ok_or("%push [name=]module")?;
                let from = probe::next_id();
                let r = p.ioctl(fd, Ioctl::Push(module.clone())).map(reply_value);
                self.adopt(from, Place::Module, &name.unwrap_or(module));
                r
            }
            "pop" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.ioctl(fd, Ioctl::Pop).map(reply_value)
            }
            "write" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Bytes(data)] = rest else {
                    return Err("%write \"data\"".into());
                };
                p.write(fd, data).map(|n| vec![Tok::Num(n as i64)])
            }
            "read" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Num(n)] = rest else {
                    return Err("%read COUNT".into());
                };
                p.read(fd, *n as usize).map(|d| vec![Tok::Bytes(d)])
            }
            "put" | "putmsg" | "putpmsg" => return self.putpmsg(verb, args),
            "getpmsg" => return self.getpmsg(args),
            "getmsg" => {
                let (fd, rest) = at_name(args).map_or((None, args), |(n, r)| (Some(n), r));
                let mut full = Vec::new();
                full.extend(fd.map(|n| Tok::word(format!("@{n}"))));
                if !rest.first().is_some_and(|t| t.is("hipri")) {
                    full.push(Tok::word("any"));
                }
                full.extend_from_slice(rest);
                return self.getpmsg(&full);
            }
            "poll" => return self.poll(args),
            "ioctl" => return self.ioctl(args),
            "raw" => return self.raw(args),
            "nomem" => {
                let after = match args {
                    [Tok::Num(n)] => *n as u32,
                    _ => 0,
                };
                self.kernel.fail_allocations(Some(after));
                Ok(Vec::new())
            }
            "mem" => {
                self.kernel.fail_allocations(None);
                Ok(Vec::new())
            }
            "tune" => {
                use streams::Tunable::{NStrPush, StrCtlSz, StrMsgSz};
                let all = [
                    ("strmsgsz", StrMsgSz),
                    ("strctlsz", StrCtlSz),
                    ("nstrpush", NStrPush),
                ];
                let [Tok::Key(k, v)] = args else {
                    return Err("%tune NAME=N".into());
                };
                let known = all.iter().find(|(n, _)| n == k);
                let (Some((_, t)), Tok::Num(n)) = (known, &**v) else {
                    return Err(format!("%tune {k}?"));
                };
                self.kernel.tune(*t, *n as usize);
                Ok(Vec::new())
            }
            "fork" => {
                let Some(Tok::Word(name)) = args.first() else {
                    return Err("%fork NAME".into());
                };
                let child = self.process(&self.proc)?.fork();
                self.procs.insert(name.clone(), Arc::new(child));
                Ok(Vec::new())
            }
            "cloexec" => {
                let (p, fd, _) = self.on_fd(args)?;
                p.set_cloexec(fd, true).map(nothing)
            }
            "exec" => {
                let (name, _) = self.named_proc(args);
                self.process(&name)?.exec();
                Ok(Vec::new())
            }
            "sendsig" => {
                let [to, Tok::Word(sig)] = args else {
                    return Err("%sendsig PROCESS|PID SIGNAL".into());
                };
                let pid = self.pid(Some(to))?;
                let sig = probe::signal(sig)?;
                self.process(&self.proc)?
                    .send_signal(pid, Some(sig))
                    .map(nothing)
            }
            "sigaction" => {
                let (name, rest) = self.named_proc(args);
                let [Tok::Word(sig), Tok::Word(how)] = &rest[..] else {
                    return Err("%sigaction [proc] SIGNAL ignore|catch|default".into());
                };
                let how = match how.as_str() {
                    "ignore" => streams::Action::Ignore,
                    "catch" => streams::Action::Catch,
                    "default" => streams::Action::Default,
                    _ => return Err(format!("{how}?")),
                };
                let p = self.process(&name)?;
                p.sigaction(probe::signal(sig)?, how).map(nothing)
            }
            "limit" => {
                let [Tok::Num(n)] = args else {
                    return Err("%limit DESCRIPTORS".into());
                };
                self.process(&self.proc)?.set_nofiles(*n as usize);
                Ok(Vec::new())
            }
            "istr" => return self.istr(args),
            "dl" => {
                let (p, fd, rest) = self.on_fd(args)?;
                link::ask(&p, fd, rest)?
            }
            "net" => ip::net(&*self.process(&self.proc)?, args)?,
            "ifconfig" => ip::ifconfig(&*self.process(&self.proc)?, args)?,
            "route" => ip::route(&*self.process(&self.proc)?, args)?,
            "sioc" => {
                let (p, fd, rest) = self.on_fd(args)?;
                ip::sioc(&p, fd, rest)?
            }
            "ire" => ip::ire(&*self.process("init")?, args)?,
            "ndd" => ip::ndd(&*self.process(&self.proc)?, args)?,
            "mib" => ip::mib(&*self.process("init")?, args)?,
            "kstat" => Ok(kstat(&self.kernel, args)?),
            "drops" => ip::drops(&self.kernel, args)?,
            "group" => {
                let (p, fd, rest) = self.on_fd(args)?;
                groups::option(&p, fd, rest)?
            }
            "members" => groups::members(&*self.process("init")?, args)?,
            "in" => {
                self.wires.arrive(args)?;
                Ok(Vec::new())
            }
            "add_drv" | "rem_drv" | "modinfo" => tunnel::kernel(&self.kernel, verb, args)?,
            "tunnel" => tunnel::tunnel(&*self.process(&self.proc)?, args)?,
            "hear" => tunnel::hear(&*self.process(&self.proc)?, args)?,
            "vt" => {
                let (p, fd, rest) = self.on_fd(args)?;
                tunnel::ioctl(&p, fd, rest)?
            }
            "down" => {
                let (p, fd, rest) = self.on_fd(args)?;
                tunnel::down(&p, fd, &datagram::build(&datagram::Fields(rest))?)
            }
            "bounce" => {
                let (name, rest) = args.split_first().ok_or("%bounce INTERFACE TYPE.CODE")?;
                self.wires
                    .arrived(name, tunnel::bounce(&self.last, rest)?)?;
                Ok(Vec::new())
            }
            "arp" => {
                let (p, fd, rest) = self.on_fd(args)?;
                arp::ioctl(&p, fd, rest)?
            }
            "arpin" => arp::arrive(&self.wires, args)?,
            "arpout" => arp::left(&self.wires, args.first().ok_or("%arpout INTERFACE")?)?,
            "hush" => {
                self.wires.hush(args.first().ok_or("%hush INTERFACE")?)?;
                Ok(Vec::new())
            }
            "forget" => {
                self.wires.forget();
                Ok(Vec::new())
            }
            "log" => {
                let p = self.process(&self.proc)?;
                tunnel::log(&p, args)?.map(|fd| {
                    self.fds.insert("log".into(), (self.proc.clone(), fd));
                    Vec::new()
                })
            }
            "said" => {
                let (p, fd, _) = self.on_fd(&[Tok::word("@log")])?;
                tunnel::said(&p, fd)
            }
            "notice" => {
                let (p, fd, _) = self.on_fd(args)?;
                tunnel::notice(&p, fd)
            }
            "send" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let d = datagram::build(&datagram::Fields(rest))?;
                p.putmsg(fd, None, Some(&d), false).map(nothing)
            }
            "tpi" => {
                let (p, fd, rest) = self.on_fd(args)?;
                ip::ask(&p, fd, rest)?
            }
            "tpistate" => {
                let (p, fd, _) = self.on_fd(args)?;
                ip::state(&p, fd)?
            }
            "accept" => {
                let Some((on, rest)) = args.split_last() else {
                    return Err("%accept [@n] @on".into());
                };
                let (p, fd, _) = self.on_fd(rest)?;
                let on = self.on_fd(std::slice::from_ref(on))?.1;
                ip::accept(&p, fd, on)?
            }
            "tpinext" => {
                let (p, fd, _) = self.on_fd(args)?;
                ip::answer(&p, fd)?
            }
            "dlget" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::got(&self.kernel, &p, fd)
            }
            "dlinfo" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::info_fields(&p, fd)?
            }
            "dlstate" => {
                let (p, fd, _) = self.on_fd(args)?;
                link::state(&p, fd)?
            }
            "link" | "plink" => {
                let Some(last) = args.last() else {
                    return Err("%link [@upper] [l=]@low".into());
                };
                let (name, low) = match last {
                    Tok::Key(k, v) => (k.clone(), (**v).clone()),
                    t => ("lower".to_owned(), t.clone()),
                };
                let low = match &low {
                    Tok::Num(n) => *n as i32,
                    t => self.on_fd(std::slice::from_ref(t))?.1,
                };
                let (p, fd, _) = self.on_fd(if args.len() > 1 { args } else { &[] })?;
                let from = probe::next_id();
                let how = if verb == "link" {
                    Ioctl::Link(low)
                } else {
                    Ioctl::Plink(low)
                };
                let r = p.ioctl(fd, how).map(reply_value);
                self.adopt(from, Place::Lower, &name);
                r
            }
            "unlink" | "punlink" => {
                let (p, fd, rest) = self.on_fd(args)?;
                let [Tok::Num(id)] = rest else {
                    return Err("%unlink ID".into());
                };
                let id = *id as i32;
                let how = if verb == "unlink" {
                    Ioctl::Unlink(id)
                } else {
                    Ioctl::Punlink(id)
                };
                p.ioctl(fd, how).map(reply_value)
            }
            "do" => {
                let (id, side, op) = self.on_probe(args)?;
                let side = side.ok_or("which side, rd or wr?")?;
                self.perform(id, side, op)?
            }
            "emit" => {
                let (id, side, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("putnext")];
                op.extend_from_slice(what);
                self.perform(id, side.unwrap_or(Side::Rd), &op)?
            }
            "after" => {
                let (id, side, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("after")];
                op.extend_from_slice(what);
                self.perform(id, side.unwrap_or(Side::Rd), &op)?
            }
            "reply" => {
                let (id, _, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("reply")];
                op.extend_from_slice(what);
                self.perform(id, Side::Wr, &op)?
            }
            "answer" => {
                let (id, _, what) = self.on_probe(args)?;
                probe::answer(id, what)?;
                Ok(Vec::new())
            }
            "set" => {
                let (id, side, what) = self.on_probe(args)?;
                let [Tok::Word(how)] = what else {
                    return Err("%set [@n] [rd|wr] HOW".into());
                };
                probe::set(id, side, how)?;
                if how == "go" {
                    return self.perform(id, side.unwrap_or(Side::Wr), &[Tok::word("qenable")]);
                }
                Ok(Vec::new())
            }
            "onopen" => {
                probe::on_open(args)?;
                Ok(Vec::new())
            }
            "advance" => {
                let [Tok::Word(t)] = args else {
                    return Err("%advance TIME".into());
                };
                self.kernel.advance(time(t)?);
                Ok(Vec::new())
            }
            "proc" => {
                let Some(Tok::Word(name)) = args.first() else {
                    return Err("%proc NAME".into());
                };
                let cred = match args.get(1) {
                    Some(Tok::Key(k, v)) if k == "uid" => match **v {
                        Tok::Num(0) => Cred::ROOT,
                        Tok::Num(n) => Cred::user(n as u32),
                        _ => return Err("uid=N".into()),
                    },
                    _ => Cred::ROOT,
                };
                self.procs
                    .insert(name.clone(), Arc::new(self.kernel.process(cred)));
                Ok(Vec::new())
            }
            "as" => {
                let (name, _) = self.named_proc(args);
                if !args.first().is_some_and(|t| t.is(&name)) {
                    return Err("%as PROCESS".into());
                }
                probe::set_process(&self.process(&name)?);
                self.proc = name;
                Ok(Vec::new())
            }
            "exit" => {
                let (name, _) = self.named_proc(args);
                self.process(&name)?.exit();
                self.fds.retain(|_, (owner, _)| *owner != name);
                Ok(Vec::new())
            }
            "kill" => {
                let (name, rest) = self.named_proc(args);
                let [Tok::Word(sig)] = &rest[..] else {
                    return Err("%kill [proc] SIGNAL".into());
                };
                self.process(&name)?.kill(probe::signal(sig)?);
                Ok(Vec::new())
            }
            _ => return Err("no such verb".into()),
        })
    }

    fn open(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (name, path) = named(args).ok_or("%open [name=]PATH [FLAGS]")?;
        let mut how = flags(&args[1..])?;
        if !args[1..].iter().any(|_| how & 3 != 0) {
            how |= streams::oflag::O_RDWR;
        }
        let name = name.unwrap_or_else(|| "fd".into());
        let from = probe::next_id();
        let r = self.process(&self.proc)?.open(&path, how);
        self.adopt(from, Place::Driver, &name);
        Ok(r.map(|fd| {
            self.fds.insert(name.clone(), (self.proc.clone(), fd));
            self.fd = name;
            Vec::new()
        }))
    }

    fn putpmsg(&mut self, verb: &str, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut ctl, mut data, mut hipri, mut band) = (None, None, false, 0);
        for t in rest {
            match t {
                Tok::Bytes(b) => data = Some(&b[..]),
                Tok::Word(w) if w == "hipri" => hipri = true,
                Tok::Key(k, v) => match (k.as_str(), &**v) {
                    ("ctl", Tok::Bytes(b)) => ctl = Some(&b[..]),
                    ("data", Tok::Bytes(b)) => data = Some(&b[..]),
                    ("band", Tok::Num(n)) => {
                        band = u8::try_from(*n).map_err(|_| "a band is 0 to 255")?;
                    }
                    _ => return Err(format!("%{verb} has no {k}")),
                },
                t => return Err(format!("%{verb}: {t}?")),
            }
        }
        Ok(p.putpmsg(fd, ctl, data, hipri, band).map(nothing))
    }

    fn getpmsg(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut ctlmax, mut datmax) = (65536, 65536);
        let mut which = None;
        for t in rest {
            match t {
                Tok::Word(w) if w == "any" => which = Some(Which::Any),
                Tok::Word(w) if w == "hipri" => which = Some(Which::Hipri(true)),
                Tok::Word(w) if w == "badhipri" => which = Some(Which::Hipri(false)),
                Tok::Key(k, v) => match (k.as_str(), &**v) {
                    ("band", Tok::Num(n)) => which = Some(Which::Band(*n as u8)),
                    ("ctlmax", Tok::Num(n)) => ctlmax = *n as i32,
                    ("datamax", Tok::Num(n)) => datmax = *n as i32,
                    _ => return Err(format!("%getpmsg has no {k}")),
                },
                t => return Err(format!("%getpmsg: {t}?")),
            }
        }
        let which = which.ok_or("any, hipri or band=N")?;
        Ok(p.getpmsg(fd, ctlmax, datmax, which).map(got))
    }

    fn poll(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (mut events, mut timeout) = (None, Some(Duration::ZERO));
        for t in rest {
            match t {
                Tok::Num(n) => events = Some(*n as u16),
                Tok::Key(k, v) if k == "timeout" => {
                    timeout = match &**v {
                        Tok::Word(w) if w == "never" => None,
                        Tok::Word(w) => Some(time(w)?),
                        Tok::Num(0) => Some(Duration::ZERO),
                        t => return Err(format!("timeout={t}")),
                    }
                }
                t => return Err(format!("%poll: {t}?")),
            }
        }
        let events = events.ok_or("%poll EVENTS")?;
        let mut fds = [PollFd {
            fd,
            events,
            revents: 0,
        }];
        Ok(p.poll(&mut fds, timeout)
            .map(|_| vec![Tok::Num(fds[0].revents.into())]))
    }

    fn istr(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let Some((Tok::Num(cmd), rest)) = rest.split_first() else {
            return Err("%istr COMMAND [\"data\"] [timeout=N]".into());
        };
        let mut req = StrIoctl {
            cmd: *cmd as i32,
            timeout: 0,
            data: Vec::new(),
        };
        for t in rest {
            match t {
                Tok::Bytes(b) => req.data = b.clone(),
                Tok::Key(k, v) if k == "timeout" => match **v {
                    Tok::Num(n) => req.timeout = n as i32,
                    _ => return Err("timeout=SECONDS".into()),
                },
                t => return Err(format!("%istr: {t}?")),
            }
        }
        Ok(p.ioctl(fd, Ioctl::Str(req)).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if !r.data.is_empty() {
                v.push(Tok::Bytes(r.data));
            }
            v
        }))
    }

    /// `%ioctl NAME args`: return value, then what is copied out.
    fn ioctl(&mut self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let Some((Tok::Num(cmd), rest)) = rest.split_first() else {
            return Err("%ioctl COMMAND ..".into());
        };
        let cmd = *cmd as i32;
        let word = |i: usize| match rest.get(i) {
            Some(Tok::Bytes(b)) => Ok(String::from_utf8_lossy(b).into_owned()),
            Some(Tok::Word(w)) => Ok(w.clone()),
            _ => Err("a name is missing".to_string()),
        };
        let int = |i: usize| match rest.get(i) {
            Some(Tok::Num(n)) => Ok(*n as i32),
            _ => Err("a number is missing".to_string()),
        };
        use streams::sys::*;
        let request = match cmd {
            I_NREAD => Ioctl::Nread,
            I_PUSH => Ioctl::Push(word(0)?),
            I_POP => Ioctl::Pop,
            I_LOOK => Ioctl::Look,
            I_FLUSH => Ioctl::Flush(int(0)?),
            I_SRDOPT => Ioctl::SetReadOpt(int(0)?),
            I_GRDOPT => Ioctl::GetReadOpt,
            I_FIND => Ioctl::Find(word(0)?),
            I_LINK | I_PLINK => return Err("write %link or %plink".into()),
            I_UNLINK => Ioctl::Unlink(int(0)?),
            I_PUNLINK => Ioctl::Punlink(int(0)?),
            I_SWROPT => Ioctl::SetWriteOpt(int(0)?),
            I_GWROPT => Ioctl::GetWriteOpt,
            I_LIST => Ioctl::List,
            I_FLUSHBAND => match rest {
                [Tok::Num(how), Tok::Key(k, v)] if k == "band" => match **v {
                    Tok::Num(b) => Ioctl::FlushBand {
                        band: b as u8,
                        how: *how as i32,
                    },
                    _ => return Err("band=N".into()),
                },
                _ => return Err("I_FLUSHBAND FLUSHR band=N".into()),
            },
            I_CKBAND => Ioctl::CkBand(int(0)?),
            I_GETBAND => Ioctl::GetBand,
            I_SETCLTIME => Ioctl::SetClTime(int(0)?),
            I_GETCLTIME => Ioctl::GetClTime,
            I_CANPUT => Ioctl::CanPut(int(0)?),
            I_PEEK => Ioctl::Peek {
                ctlmax: key_or(rest, "ctlmax", 65536)?,
                datmax: key_or(rest, "datamax", 65536)?,
                hipri: rest.iter().any(|t| t.is("hipri")),
            },
            I_SETSIG => Ioctl::SetSig(int(0)?),
            I_GETSIG => Ioctl::GetSig,
            I_ESETSIG => Ioctl::ESetSig {
                pid: self.pid(rest.first())?,
                events: int(1)?,
            },
            I_EGETSIG => Ioctl::EGetSig {
                pid: self.pid(rest.first())?,
            },
            I_SENDFD => Ioctl::SendFd(self.on_fd(rest)?.1),
            I_RECVFD => return self.recvfd(&p, fd, rest),
            I_FDINSERT => Ioctl::FdInsert(self.fd_insert(rest)?),
            I_ATMARK => Ioctl::AtMark(int(0)?),
            I_ANCHOR => Ioctl::Anchor,
            I_SERROPT => Ioctl::SetErrOpt(int(0)?),
            I_GERROPT => Ioctl::GetErrOpt,
            I_PUSH_NOCTTY => Ioctl::PushNoCtty(word(0)?),
            I_MUXID2FD => Ioctl::MuxId2Fd(int(0)?),
            I_INSERT => Ioctl::Insert {
                pos: int(0)?,
                name: word(1)?,
            },
            I_REMOVE => Ioctl::Remove {
                pos: int(0)?,
                name: word(1)?,
            },
            FIONREAD => Ioctl::Fionread,
            FIORDCHK => Ioctl::FioRdChk,
            c if (0x5301..=0x5333).contains(&c) => {
                return Err(format!("{} is asked for by %raw", names::command(c)));
            }
            cmd => {
                let arg = match rest.first() {
                    Some(Tok::Num(n)) => *n as u64,
                    _ => USER_BASE,
                };
                let mem = rest.iter().find_map(|t| match t {
                    Tok::Bytes(b) => Some(b.clone()),
                    _ => None,
                });
                Ioctl::Raw {
                    cmd,
                    arg,
                    mem: mem.unwrap_or_default(),
                }
            }
        };
        Ok(p.ioctl(fd, request).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if cmd == I_PEEK {
                return peeked(v, r);
            }
            let one_int = matches!(
                cmd,
                I_NREAD | I_GRDOPT | I_GWROPT | I_GETBAND | I_GETCLTIME | I_GETSIG | I_EGETSIG
            ) || matches!(cmd, I_GERROPT | FIONREAD);
            match <[u8; 4]>::try_from(&r.data[..]) {
                Ok(int) if one_int => v.push(Tok::Num(i32::from_ne_bytes(int).into())),
                _ if r.data.is_empty() => {}
                _ => v.push(Tok::Bytes(r.data)),
            }
            v.extend(r.names.into_iter().map(|n| Tok::Bytes(n.into_bytes())));
            v
        }))
    }

    /// `%ioctl I_ESETSIG q ..`: a process by its name, `-q` for its group, or a number.
    fn pid(&self, tok: Option<&Tok>) -> Result<i32, Wrong> {
        let Some(tok) = tok else {
            return Err("which process?".into());
        };
        match tok {
            Tok::Num(n) => Ok(*n as i32),
            Tok::Word(w) => match w.strip_prefix('-') {
                Some(w) => Ok(-(self.process(w)?.pgrp() as i32)),
                None => Ok(self.process(w)?.pid() as i32),
            },
            t => Err(format!("{t} is no process")),
        }
    }

    /// `%ioctl I_RECVFD [name]`: the descriptor gets the name; what comes out is the uid.
    fn recvfd(&mut self, p: &Process, fd: i32, rest: &[Tok]) -> Result<Outcome, Wrong> {
        let name = match rest {
            [Tok::Word(name)] => name.clone(),
            _ => "received".to_owned(),
        };
        Ok(p.ioctl(fd, Ioctl::RecvFd).map(|r| {
            let Some(got) = r.received() else {
                return vec![Tok::word("nothing")];
            };
            self.fds.insert(name, (self.proc.clone(), got.fd));
            vec![
                Tok::Num(r.rval.into()),
                Tok::key("uid", Tok::Num(got.uid.into())),
            ]
        }))
    }

    /// `%ioctl I_FDINSERT @other ctl="..." ["data"] offset=N [flags=N]`
    fn fd_insert(&self, rest: &[Tok]) -> Result<FdInsert, Wrong> {
        let mut req = FdInsert {
            flags: key_or(rest, "flags", 0)? as u32,
            offset: key_or(rest, "offset", 0)?,
            fildes: match rest.first() {
                Some(Tok::Num(n)) => *n as i32,
                _ => self.on_fd(rest)?.1,
            },
            ..FdInsert::default()
        };
        for t in rest {
            match t {
                Tok::Bytes(b) => req.data = Some(b.clone()),
                Tok::Key(k, v) if k == "ctl" => match &**v {
                    Tok::Bytes(b) => req.ctl = b.clone(),
                    t => return Err(format!("ctl={t}")),
                },
                _ => {}
            }
        }
        Ok(req)
    }

    /// `%raw COMMAND ARG "memory"`: ioctl(2) as it is; `-> RVAL "memory"`.
    fn raw(&self, args: &[Tok]) -> Result<Outcome, Wrong> {
        let (p, fd, rest) = self.on_fd(args)?;
        let (Some(Tok::Num(cmd)), Some(Tok::Num(arg))) = (rest.first(), rest.get(1)) else {
            return Err("%raw COMMAND ARG [\"memory\"]".into());
        };
        let mem = match rest.get(2) {
            Some(Tok::Bytes(b)) => b.clone(),
            _ => Vec::new(),
        };
        let (cmd, arg) = (*cmd as i32, *arg as u64);
        let had = mem.clone();
        Ok(p.ioctl(fd, Ioctl::Raw { cmd, arg, mem }).map(|r| {
            let mut v = vec![Tok::Num(r.rval.into())];
            if r.data != had {
                v.push(Tok::Bytes(r.data));
            }
            v
        }))
    }

    /// `%out`, `%up`, `%ctl`: the next datagram, by the fields that are expected.
    fn datagram(&mut self, verb: &str, args: &[Tok], want: Option<&[Tok]>) -> Result<(), Failure> {
        let want = want.ok_or_else(|| format!("%{verb} .. -> FIELDS or nothing"))?;
        let mut to = "unicast";
        let got = match verb {
            "out" => {
                let name = args.first().ok_or("%out INTERFACE".to_owned())?;
                let left = self.wires.left(name)?;
                left.map(|(how, d)| {
                    to = how;
                    d
                })
            }
            "up" => {
                let (p, fd, _) = self.on_fd(args)?;
                let got = p.getmsg(fd, 0, 65536, false);
                got.ok().and_then(|g| g.data)
            }
            "above" => {
                let (p, fd, _) = self.on_fd(args)?;
                tunnel::above(&p, fd)
            }
            _ => {
                let (id, _, _) = self.on_probe(args)?;
                let seen = probe::take_seen(id, Side::Rd);
                let ctl = seen
                    .into_iter()
                    .find(|m| m.first().is_some_and(|t| t.is("M_CTL")));
                let bytes = ctl.iter().flatten().filter_map(|t| match t {
                    Tok::Bytes(b) => Some(&b[..]),
                    _ => None,
                });
                let bytes: Vec<u8> = bytes.flatten().copied().collect();
                ctl.is_some().then_some(bytes)
            }
        };
        if let (Some(b), "out") = (&got, verb) {
            self.last.clone_from(b);
        }
        let shown = match got {
            None => vec![Tok::word("nothing")],
            Some(_) if want.iter().any(|t| t.is("nothing")) => vec![Tok::word("a datagram")],
            Some(b) => datagram::look(&b, to, want).map_err(Failure::Differs)?,
        };
        self.compare(want, &Ok(shown))
    }

    // ---- the probes ----

    /// ESRCH if the probe could not be got to do it.
    fn perform(&mut self, id: usize, side: Side, op: &[Tok]) -> Result<Outcome, Wrong> {
        let kernel = self.kernel.clone();
        let done = probe::run(id, side, op, || {
            kernel.run_until_idle();
        });
        done.map(|r| r.ok_or(Errno::ESRCH))
    }

    fn sees(&mut self, args: &[Tok]) -> Result<(), Failure> {
        let (id, side, want) = self.on_probe(args)?;
        let side = match (side, probe::place(id)) {
            (Some(s), _) => s,
            (None, Place::Driver) => Side::Wr,
            (None, Place::Lower) => Side::Rd,
            (None, Place::Module) => {
                return Err(Failure::Wrong("which side of the module, rd or wr?".into()));
            }
        };
        let seen = probe::take_seen(id, side);
        let want: Vec<&[Tok]> = match want {
            [t] if t.is("nothing") => Vec::new(),
            w => w.split(|t| t.is(",")).collect(),
        };
        let all = |v: &[&[Tok]]| {
            let texts: Vec<String> = v.iter().map(|m| show(m)).collect();
            if texts.is_empty() {
                "nothing".into()
            } else {
                texts.join(", ")
            }
        };
        let fits = want.len() == seen.len()
            && want.iter().zip(&seen).all(|(w, s)| {
                let (w, s) = (w.split(|t| t.is("+")), s.split(|t| t.is("+")));
                let (w, s): (Vec<_>, Vec<_>) = (w.collect(), s.collect());
                w.len() == s.len() && w.iter().zip(&s).all(|(w, s)| matches(w, s, &mut self.vars))
            });
        if fits {
            return Ok(());
        }
        let seen: Vec<&[Tok]> = seen.iter().map(Vec::as_slice).collect();
        Err(Failure::Differs(format!(
            "expected {}, got {}",
            all(&want),
            all(&seen)
        )))
    }

    /// `{m.wr {fd.wr fd.wr} m.wr}`: who was entered and left, in order.
    fn path(&self) -> Vec<Tok> {
        let name = |id: usize| {
            let known = self.probes.iter().find(|(_, i)| **i == id);
            known.map_or_else(|| id.to_string(), |(n, _)| n.clone())
        };
        probe::take_path()
            .into_iter()
            .map(|(id, which, entered)| {
                let (a, b) = if entered { ("{", "") } else { ("", "}") };
                Tok::Word(format!("{a}{}.{which}{b}", name(id)))
            })
            .collect()
    }

    fn signals(&self, name: &str) -> Result<Vec<Tok>, Wrong> {
        let all = self.process(name)?.take_signals();
        if all.is_empty() {
            return Ok(vec![Tok::word("none")]);
        }
        Ok(all
            .into_iter()
            .map(|s| Tok::word(format!("{s:?}")))
            .collect())
    }
}

/// Keys that mean something by being there: one that is not expected may not come.
const STRICT: &[&str] = &["band", "flag", "ctl"];

/// Positional words in their order; keys in any. Binds `$x`.
fn matches(expect: &[Tok], got: &[Tok], vars: &mut BTreeMap<String, Tok>) -> bool {
    let positional = |t: &&Tok| !matches!(t, Tok::Key(..));
    let (want, have): (Vec<_>, Vec<_>) = (
        expect.iter().filter(positional).collect(),
        got.iter().filter(positional).collect(),
    );
    let mut fits = want.len() == have.len();
    for (w, h) in want.iter().zip(&have) {
        fits &= match w {
            Tok::Word(v) if v == "_" => true,
            Tok::Word(v) if v.starts_with('$') => {
                *vars.entry(v.clone()).or_insert_with(|| (*h).clone()) == **h
            }
            w => w == h,
        };
    }
    let value = |toks: &[Tok], key: &str| {
        toks.iter().find_map(|t| match t {
            Tok::Key(k, v) if k == key => Some((**v).clone()),
            _ => None,
        })
    };
    let zero = Some(Tok::Num(0));
    for t in expect.iter().chain(got) {
        let Tok::Key(k, _) = t else { continue };
        let (w, h) = (value(expect, k), value(got, k));
        let strict = STRICT.contains(&k.as_str());
        if let (Some(Tok::Word(v)), Some(h)) = (&w, &h)
            && let Some(name) = v
                .strip_prefix('!')
                .or(Some(v))
                .filter(|n| n.starts_with('$'))
        {
            let known = vars.entry(name.to_owned()).or_insert_with(|| h.clone());
            fits &= (known == h) != v.starts_with('!');
            continue;
        }
        fits &= match (&w, &h) {
            (Some(_), None) => w == zero && strict,
            (None, Some(_)) => !strict || h == zero,
            _ => w == h,
        };
    }
    fits
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

fn peeked(mut v: Vec<Tok>, r: IoctlReply) -> Vec<Tok> {
    let Some(p) = r.peeked() else { return v };
    if p.hipri {
        v.push(Tok::word("hipri"));
    }
    v.extend(p.data.map(Tok::Bytes));
    v.extend(p.ctl.map(|c| Tok::key("ctl", Tok::Bytes(c))));
    v
}

fn nothing<T>(_: T) -> Vec<Tok> {
    Vec::new()
}

fn reply_value(r: IoctlReply) -> Vec<Tok> {
    vec![Tok::Num(r.rval.into())]
}

fn got(g: Got) -> Vec<Tok> {
    let mut v = Vec::new();
    if g.hipri {
        v.push(Tok::word("hipri"));
    }
    if let Some(d) = g.data {
        v.push(Tok::Bytes(d));
    }
    if let Some(c) = g.ctl {
        v.push(Tok::key("ctl", Tok::Bytes(c)));
    }
    v.push(Tok::key("band", Tok::Num(g.band.into())));
    if g.more & MORECTL != 0 {
        v.push(Tok::word("MORECTL"));
    }
    if g.more & MOREDATA != 0 {
        v.push(Tok::word("MOREDATA"));
    }
    v
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

/// `value` or `name=value`.
fn named(args: &[Tok]) -> Option<(Option<String>, String)> {
    match args.first()? {
        Tok::Word(w) => Some((None, w.clone())),
        Tok::Bytes(b) => Some((None, String::from_utf8_lossy(b).into_owned())),
        Tok::Key(k, v) => match &**v {
            Tok::Word(w) => Some((Some(k.clone()), w.clone())),
            _ => None,
        },
        Tok::Num(_) => None,
    }
}

fn flags(args: &[Tok]) -> Result<u32, Wrong> {
    args.iter().try_fold(0, |sum, t| match t {
        Tok::Num(n) => Ok(sum | *n as u32),
        t => Err(format!("{t} is no open flag")),
    })
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
