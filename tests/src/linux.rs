//! An emulated host as a neighbour of this machine's own kernel, in a namespace that the test
//! makes: the tests named `*_linux.rs` are programs that run themselves again inside.
//!
//! ```text
//!   main ─► Trial ─► Lab, two namespaces ─► this program --inside MEDIUM TEST ─► test(Side)
//!
//!   [linux]                                                             [far]
//!   192.0.2.2 ours ═ tap0, tun0 or a veth ═ 192.0.2.1 Linux 198.51.100.1 ═ veth ═ 198.51.100.2
//!     this program, inside                   forwards                      echoes datagrams
//! ```
//!
//! Waits for Linux have an end, [`PATIENCE`]; nothing else depends on how fast anybody is.
//! What the machine forbids is SKIPPED, with the reason.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::Instant;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::fault::{Faults, Faulty};
use dlpi::link::packet::Packet;
use dlpi::link::tap::Tap;
use dlpi::link::tun::{Tun, TunOptions};
use ipmod::ire::RTF_GATEWAY;
use ipmod::plumb;
use libtest_mimic::{Arguments, Failed, Trial};
use streams::Config;
use streams::{Cred, Kernel, Process};
use vtunlconf::lab::ClockKind;
use vtunlconf::out::{Capture, Look};
use vtunlconf::shell::Shell;

use crate::netns::{As, Lab, PATIENCE, Skip, have};

/// This machine's kernel on the link.
pub const LINUX: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The emulated host.
pub const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host behind this machine's kernel; it sends every datagram to [`PORT`] back, and what
/// comes over a TCP connection to it.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// Where datagrams go.
pub const PORT: u16 = 7000;
/// A port that nobody has.
pub const CLOSED: u16 = 7001;

/// Links with addresses.
pub const ETHERNETS: &[&str] = &["tap", "veth"];
/// Every kind of link.
pub const MEDIA: &[&str] = &["tap", "tun", "veth"];

/// A name, the links it is for, and what is done.
pub type Case = (&'static str, &'static [&'static str], fn(Side));

/// The first argument that says: this is the process inside, or the one that echoes.
const INSIDE: &str = "--inside";
const ECHO: &str = "--echo";

/// All of a test program.
pub fn main(cases: &'static [Case]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [INSIDE, medium, name] => {
            let test = cases.iter().find(|t| t.0 == name).expect("a test").2;
            let medium = MEDIA.iter().find(|m| **m == medium).expect("a medium");
            test(Side { medium });
            return ExitCode::SUCCESS;
        }
        [ECHO] => return echo(),
        _ => {}
    }
    let args = Arguments::from_args();
    let who = match Lab::new(As::Root) {
        Ok(_) => Ok(As::Root),
        Err(_) => Lab::new(As::User).map(|_| As::User),
    };
    let mut trials = Vec::new();
    for medium in MEDIA {
        let refused = match &who {
            Err(Skip(why)) => Some(why.clone()),
            Ok(_) if *medium == "veth" && !have("ethtool") => {
                Some("ethtool is not installed".into())
            }
            Ok(_) => None,
        };
        for (name, _, _) in cases.iter().filter(|c| c.1.contains(medium)) {
            let full = format!("{medium}::{name}");
            trials.push(match (&refused, &who) {
                (None, Ok(who)) => {
                    let who = *who;
                    Trial::test(full, move || outside(who, medium, name))
                }
                (why, _) => {
                    if !args.list {
                        println!("SKIPPED {full}: {}", why.as_deref().unwrap_or_default());
                    }
                    Trial::test(full, || Ok(())).with_ignored_flag(true)
                }
            });
        }
    }
    libtest_mimic::run(&args, trials).exit_code()
}

/// Makes the namespaces and runs this program in them.
fn outside(who: As, medium: &str, name: &str) -> Result<(), Failed> {
    let mut lab = Lab::new(who).map_err(|Skip(why)| why)?;
    let linux = lab.host("linux").map_err(|Skip(why)| why)?;
    let far = lab.host("far").map_err(|Skip(why)| why)?;
    let (near_end, far_end) = ("198.51.100.1/24", "198.51.100.2/24");
    lab.wire(&linux, "v0", near_end, &far, "v1", far_end);
    far.ok("ip route add default via 198.51.100.1");
    for host in [&linux, &far] {
        host.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratemask=0");
        // What Linux says by itself about IPv6 is not our traffic, and would be counted.
        if std::path::Path::new("/proc/sys/net/ipv6").exists() {
            host.ok("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
            host.ok("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        }
    }
    if medium == "veth" {
        linux.ok("ip link add e0 type veth peer name e1");
        linux.ok("ip addr add 192.0.2.1/24 dev e1");
        linux.ok("ip link set e0 up");
        linux.ok("ip link set e1 up");
        linux.until_carrier("e0");
        // The kernel is on e0 as well: it would send what is for us back, and answer ARP.
        linux.ok("sysctl -qw net.ipv4.conf.e0.forwarding=0 net.ipv4.conf.e0.arp_ignore=8");
        // What would be left to hardware is done.
        for (host, end) in [(&linux, "e1"), (&linux, "v0"), (&far, "v1")] {
            host.ok(&format!("ethtool -K {end} tx off gso off gro off tso off"));
        }
    }
    let me = std::env::current_exe()?;
    let me = me.to_str().ok_or("the program's name is not text")?;
    let mut echo = far.spawn([me, ECHO]);
    echo.wait_line("listening", PATIENCE);
    let out = linux.run(["timeout", "600", me, INSIDE, medium, name])?;
    // What the machine lacks is told there in the middle of a test.
    let said = String::from_utf8_lossy(&out.stdout);
    for line in said.lines().filter(|l| l.starts_with("SKIPPED")) {
        println!("{line}");
    }
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(format!("{}\n{said}", out.status).into())
}

/// The host behind the router: all that comes goes back to where it came from.
fn echo() -> ExitCode {
    let s = UdpSocket::bind((FAR, PORT)).expect("a socket");
    let listener = TcpListener::bind((FAR, PORT)).expect("a listener");
    std::thread::spawn(move || {
        for mut c in listener.incoming().flatten() {
            let Ok(mut out) = c.try_clone() else { continue };
            std::thread::spawn(move || {
                let _ = io::copy(&mut c, &mut out); // who waits for it says so
                let _ = out.shutdown(Shutdown::Write);
            });
        }
    });
    println!("listening");
    let mut b = vec![0; 65536];
    while let Ok((n, from)) = s.recv_from(&mut b) {
        let _ = s.send_to(&b[..n], from); // who waits for it says so
    }
    ExitCode::SUCCESS
}

/// Inside the namespace: the link to its kernel.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// One of [`MEDIA`].
    pub medium: &'static str,
}

/// The emulated host.
pub struct Host {
    /// Its kernel.
    pub k: Kernel,
    /// A process of root's.
    pub p: Process,
}

impl Side {
    /// The name of the kernel's end.
    pub fn dev(self) -> &'static str {
        match self.medium {
            "tap" => "tap0",
            "tun" => "tun0",
            _ => "e1",
        }
    }

    /// The emulated host under a clock that runs.
    pub fn host(self) -> Host {
        self.host_with(Config::default(), None)
    }

    /// The emulated host on a link with these faults.
    pub fn host_with(self, config: Config, faults: Option<Faults>) -> Host {
        let k = Kernel::with_config(config).expect("a kernel");
        streams::register(&k).expect("names");
        ipmod::register(&k).expect("names");
        let make = move |_| {
            let link = self.link()?;
            Ok(match faults {
                None => link,
                Some(f) => shaken(link, f),
            })
        };
        dlpi::register(&k, "le", Links::new(Box::new(make))).expect("a name");
        let p = k.process(Cred::ROOT);
        self.configure(&p, "/dev/le");
        Host { k, p }
    }

    /// The shell with a host of this kind. It prints into [`Capture`].
    pub fn shell(self) -> (Shell, Capture) {
        let said = Capture::default();
        let look = Look {
            quiet: true,
            ..Look::PLAIN
        };
        let errors = Box::new(std::io::stderr());
        let mut sh = Shell::new(ClockKind::Real, look).printing_to(Box::new(said.clone()), errors);
        sh.lab.add("a").expect("a host");
        let host = &sh.lab.hosts()[0];
        // The shell has drivers of the other names.
        let links = Links::new(Box::new(move |_| self.link()));
        dlpi::register(&host.kernel, "net", links).expect("a name");
        self.configure(&host.admin, "/dev/net");
        (sh, said)
    }

    /// Plumbs the link: our address on it, and the default route to Linux.
    fn configure(self, p: &Process, device: &str) {
        let name = plumb::plumb(p, device, &[], 0).expect("plumb");
        plumb::set_address(p, &name, OURS).expect("address");
        match self.medium {
            "tun" => plumb::set_destination(p, &name, LINUX),
            _ => plumb::set_netmask(p, &name, Ipv4Addr::new(255, 255, 255, 0)),
        }
        .expect("the other end");
        plumb::up(p, &name).expect("up");
        let any = Ipv4Addr::UNSPECIFIED;
        plumb::route_add(p, any, any, LINUX, RTF_GATEWAY).expect("a route");
    }

    /// The link; the kernel's address on it.
    fn link(self) -> io::Result<Box<dyn Link>> {
        let (link, set): (Box<dyn Link>, _) = match self.medium {
            "tap" => (
                Box::new(Tap::open(&TunOptions::named("tap0"), None)?),
                "addr add 192.0.2.1/24 dev tap0",
            ),
            "tun" => (
                Box::new(Tun::open("tun0")?),
                "addr add 192.0.2.1 peer 192.0.2.2 dev tun0",
            ),
            _ => return Ok(Box::new(Packet::open("e0")?)),
        };
        ip(set);
        Ok(link)
    }
}

impl Host {
    /// Has the emulated host work until something is so. With a clock set by hand nothing
    /// else does, and no time passes.
    #[track_caller]
    pub fn until(&self, what: &str, mut so: impl FnMut(&Process) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(&self.p) {
            assert!(Instant::now() < end, "not in time: {what}");
            if !self.k.step() {
                std::thread::yield_now();
            }
        }
    }

    /// A counter of netstat -s.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let all = plumb::counters(&self.p).expect("counters");
        all.iter().find(|c| c.0 == name).expect("it is counted").1
    }
}

/// Both ways: frames are doubled, then each copy finds its own way. (A link doubles a frame
/// in its place: two of them, so that the copies part.)
fn shaken(link: Box<dyn Link>, f: Faults) -> Box<dyn Link> {
    let double = Faults {
        seed: f.seed ^ 0xd0b1e,
        duplicate: f.duplicate,
        ..Faults::default()
    };
    let stray = Faults {
        duplicate: 0.0,
        ..f
    };
    let inner = Faulty::with(link, stray, double);
    Box::new(Faulty::with(inner, double, stray))
}

/// ip(8) in our namespace; what it prints.
#[track_caller]
pub fn ip(line: &str) -> String {
    let done = Command::new("ip").args(line.split(' ')).output();
    let done = done.unwrap_or_else(|e| panic!("ip {line}: {e}"));
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {line}: {why}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// sysctl(8) in our namespace.
#[track_caller]
pub fn sysctl(set: &str) {
    let done = Command::new("sysctl").args(["-qw", set]).status();
    assert!(done.is_ok_and(|s| s.success()), "sysctl {set}");
}

/// A socket of this machine's kernel on [`PORT`].
pub fn theirs() -> UdpSocket {
    let s = UdpSocket::bind((LINUX, PORT)).expect("a socket");
    s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    s
}

/// Bytes that no shift leaves the same.
pub fn content(n: usize) -> Vec<u8> {
    let byte = |i: u32| (i.wrapping_mul(i) >> 5) as u8;
    (0..n as u32).map(byte).collect()
}

/// A counter of this namespace's kernel, as `Ip: FragCreates` is named in proc_net(5).
#[track_caller]
pub fn snmp(group: &str, name: &str) -> u64 {
    let all = std::fs::read_to_string("/proc/self/net/snmp").expect("counters");
    let mut of = all.lines().filter_map(|l| l.strip_prefix(group));
    let (names, values) = (of.next().expect("names"), of.next().expect("values"));
    let at = names.split(' ').position(|n| n == name);
    let n = values.split(' ').nth(at.expect("it is counted"));
    n.and_then(|n| n.parse().ok()).expect("a number")
}
