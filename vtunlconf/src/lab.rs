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

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use dlpi::link::fault::Faults;
use dlpi::link::wire::Wire;
use ipmod::{ioctl, plumb};
use streams::trace::What;
use streams::{Config, Cred, Errno, Kernel, Process, StackView, Sys, oflag};

use crate::devices::{Devices, Gate, Outputs};
use crate::diag::{Fail, Tried};
use crate::values::Names;
use crate::way::{Event, Seen};

/// Events kept of all hosts together; the oldest go first.
const KEEP: usize = 200_000;

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
    /// The stream of Figure 2(c), if `plumb control` made one.
    pub control: Option<i32>,
    /// What is behind its data links.
    pub devices: Devices,
    /// The interfaces that were plumbed, in their order.
    pub plumbed: Vec<Plumbed>,
    /// UDP ports that `listen` opened: port and descriptor.
    pub listening: Vec<(u16, i32)>,
    /// The lab's time when the kernel's began.
    born: Duration,
}

/// An interface, and how it came to be.
pub struct Plumbed {
    /// Its name.
    pub name: String,
    /// The command that plumbs it.
    pub line: String,
    /// The multiplexor ids of its streams: ip and, if not 0, arp.
    pub links: [i32; 2],
    /// What VTUNL_GETCONF said before ip was pushed over it.
    pub conf: Option<vtunl::ioctl::Conf>,
    /// What holds its capture back.
    pub gate: Option<Gate>,
    /// Driver and unit.
    pub device: Option<(String, u32)>,
}

impl Plumbed {
    /// An interface that was plumbed just now.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn new(host: &Host, name: &str, line: String) -> Result<Plumbed, Fail> {
        let links = mux_ids(&host.admin, name).tried(format!("SIOCGIFMUXID {name}"))?;
        Ok(Plumbed {
            name: name.to_owned(),
            line,
            links,
            conf: None,
            gate: None,
            device: None,
        })
    }
}

/// SIOCGIFMUXID.
fn mux_ids(sys: &Process, name: &str) -> Result<[i32; 2], Errno> {
    let fd = sys.open(plumb::MUX, oflag::O_RDWR)?;
    let reply = sys.i_str(fd, ioctl::SIOCGIFMUXID, &ioctl::ifreq(name, &[]));
    sys.close(fd)?;
    let data = reply?.data;
    let id = |at: usize| {
        let b = data.get(at..at + 4).and_then(|b| b.try_into().ok());
        b.map(i32::from_ne_bytes).ok_or(Errno::EPROTO)
    };
    Ok([id(16)?, id(20)?])
}

impl Host {
    /// Takes an interface down.
    ///
    /// # Errors
    /// ENXIO: there is none of this name; what unlinking says.
    pub fn unplumb(&mut self, name: &str) -> Result<(), Errno> {
        plumb::unplumb(&self.admin, name)?;
        if let Some(at) = self.plumbed.iter().position(|p| p.name == name) {
            let gone = self.plumbed.remove(at);
            if let Some((driver, ppa)) = gone.device {
                self.devices.clear(&driver, ppa);
            }
        }
        Ok(())
    }

    /// Calls `f` with a stream that has vtunl right under the head: the one that was
    /// plumbed, or one for the time of the call.
    ///
    /// # Errors
    /// vtunl is not loaded, or what `f` says.
    pub fn with_control<T>(
        &self,
        f: impl FnOnce(&Process, i32) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        if let Some(fd) = self.control {
            return f(&self.admin, fd);
        }
        let fd = self.open_control()?;
        let done = f(&self.admin, fd);
        let closed = self.admin.close(fd).tried("close");
        done.and_then(|v| closed.map(|()| v))
    }

    /// Opens /dev/vtunl.
    ///
    /// # Errors
    /// vtunl is not loaded.
    pub fn open_control(&self) -> Result<i32, Fail> {
        self.admin.open("/dev/vtunl", oflag::O_RDWR).map_err(|e| {
            let fail = Fail::errno("/dev/vtunl", e);
            match e {
                Errno::ENXIO | Errno::ENOENT => {
                    fail.mend("vtunl is not loaded on this host: `add_drv vtunl`")
                }
                _ => fail,
            }
        })
    }

    /// What each stream is called: its interface, else the node it was opened by.
    pub fn labels(&self) -> HashMap<u32, String> {
        let stacks = self.kernel.stacks();
        stacks.iter().map(|s| (s.id, self.label(s))).collect()
    }

    /// What a stream is called.
    pub fn label(&self, s: &StackView) -> String {
        let id = s.linked_under.as_ref().map_or(0, |l| l.muxid);
        if let Some(p) = self
            .plumbed
            .iter()
            .find(|p| id != 0 && p.links.contains(&id))
        {
            return p.name.clone();
        }
        s.path.trim_start_matches("/dev/").to_owned()
    }
}

/// Every host, wire and name.
pub struct Lab {
    /// Names of addresses.
    pub names: Names,
    /// What moves time. Fixed when the first host is made.
    pub clock: ClockKind,
    /// The wires, by name.
    pub wires: BTreeMap<String, Wire>,
    /// Their faults, and the words that ask for them.
    pub faults: BTreeMap<String, (Faults, String)>,
    outputs: Outputs,
    hosts: Vec<Host>,
    current: usize,
    start: Instant,
    tracing: bool,
    log: VecDeque<Seen>,
}

impl Lab {
    /// A lab without hosts.
    pub fn new(clock: ClockKind) -> Lab {
        Lab {
            names: Names::default(),
            clock,
            wires: BTreeMap::new(),
            faults: BTreeMap::new(),
            outputs: Outputs::default(),
            hosts: Vec::new(),
            current: 0,
            start: Instant::now(),
            tracing: false,
            log: VecDeque::new(),
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

    /// Which of the hosts is the current one.
    pub fn here(&self) -> usize {
        self.current
    }

    /// Takes down whatever is plumbed: capture files are complete then.
    pub fn shut_down(&mut self) {
        for h in &mut self.hosts {
            let names: Vec<String> = h.plumbed.iter().rev().map(|p| p.name.clone()).collect();
            for n in names {
                let _ = h.unplumb(&n); // what can't be taken down ends with the process
            }
            h.admin.exit();
        }
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
        let devices = Devices::of(name, &self.outputs);
        register(&kernel, &devices).tried("drivers")?;
        let admin = kernel.process(Cred::ROOT);
        kernel.set_trace(self.tracing);
        self.hosts.push(Host {
            name: name.to_owned(),
            kernel,
            admin,
            control: None,
            devices,
            plumbed: Vec::new(),
            listening: Vec::new(),
            born: self.start.elapsed(),
        });
        self.current = self.hosts.len() - 1;
        Ok(&mut self.hosts[self.current])
    }

    /// Lets everything happen that is under way. With the emulated clock: until nothing
    /// is; with the machine's: until it has been quiet for a moment.
    pub fn settle(&mut self) {
        self.collect();
        if self.clock == ClockKind::Real {
            std::thread::sleep(Duration::from_millis(10));
            return self.collect();
        }
        // Bounded: hosts that answer one another for ever must end here.
        for _ in 0..1_000_000 {
            let mut busy = false;
            for at in 0..self.hosts.len() {
                if self.hosts[at].kernel.step() {
                    busy = true;
                    // Host by host, so that the log has cause before effect.
                    self.collect_from(at);
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// Lets time pass on every host: in small steps, so that what one sends reaches the
    /// others at about its time.
    pub fn pass(&mut self, time: Duration) {
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

    // ---- the trace ----

    /// Turns the trace of every host on or off, of those made later too.
    pub fn set_trace(&mut self, on: bool) {
        self.tracing = on;
        for h in &self.hosts {
            h.kernel.set_trace(on);
        }
    }

    /// Is it on?
    pub fn tracing(&self) -> bool {
        self.tracing
    }

    /// Forgets what was traced.
    pub fn clear_trace(&mut self) {
        for h in &self.hosts {
            h.kernel.take_trace();
        }
        self.log.clear();
    }

    /// What was traced, in its order.
    pub fn traced(&mut self) -> Vec<Seen> {
        self.collect();
        self.log.iter().cloned().collect()
    }

    /// Takes what the kernels have traced since.
    fn collect(&mut self) {
        match self.clock {
            ClockKind::Emulated => (0..self.hosts.len()).for_each(|at| self.collect_from(at)),
            ClockKind::Real => {
                let mut all = Vec::new();
                for h in &self.hosts {
                    all.extend(taken(h));
                }
                all.sort_by_key(|(when, _)| *when); // stable
                self.keep(all.into_iter().map(|e| e.1));
            }
        }
    }

    fn collect_from(&mut self, at: usize) {
        if self.tracing {
            let new = self.hosts.get(at).map(taken).unwrap_or_default();
            self.keep(new.into_iter().map(|e| e.1));
        }
    }

    fn keep(&mut self, new: impl Iterator<Item = Seen>) {
        self.log.extend(new);
        while self.log.len() > KEEP {
            self.log.pop_front();
        }
    }
}

/// What one kernel has traced since, at the lab's time.
fn taken(h: &Host) -> Vec<(Duration, Seen)> {
    let events = h.kernel.take_trace();
    if events.is_empty() {
        return Vec::new();
    }
    let labels = h.labels();
    let seen = |e: streams::trace::Event| {
        let event = match e.what {
            What::Put => Event::Came,
            What::Queued => Event::Queued,
            What::Full => Event::Full,
            What::Drop(why) => Event::Dropped(why.to_owned()),
            What::Log(_, text) => Event::Said(text),
            What::Service => return None,
        };
        let stream = labels.get(&e.stream).cloned();
        Some((
            h.born + e.when,
            Seen {
                host: h.name.clone(),
                tag: e.tag,
                stream: stream.unwrap_or_else(|| format!("stream {}", e.stream)),
                module: e.module.to_owned(),
                up: e.read_side,
                event,
                bytes: e.snap.to_vec(),
                len: e.len,
                ty: format!("M_{:?}", e.ty).to_uppercase(),
            },
        ))
    };
    events.into_iter().filter_map(seen).collect()
}

/// A driver that `add_drv` loads.
pub struct Loadable {
    /// Its name.
    pub name: &'static str,
    /// Loads it: the driver, and the module of its name if it is one too.
    pub add: fn(&Kernel) -> Result<(), Errno>,
}

/// Every driver that `add_drv` loads; the others are there when a host is made.
pub const LOADABLE: &[Loadable] = &[Loadable {
    name: "vtunl",
    add: vtunl::register,
}];

/// Makes known to a kernel what is there when a host is made: all but [`LOADABLE`].
fn register(kernel: &Kernel, devices: &Devices) -> Result<(), Errno> {
    streams::register(kernel)?;
    ipmod::register(kernel)?;
    devices.register(kernel)
}
