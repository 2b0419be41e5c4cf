//! The tunnel devices of a stock Linux kernel at one end, vtunl at the other.
//!
//! ```text
//!   [namespace]                                                            [guest]
//!   Linux 10.1.0.1 ═ tun0 ═ 172.16.1.2 vtunl ┄┄┄┄┄┄ tunnel ┄┄┄┄┄ ipip, gre, sit 10.2.0.1
//!          │                    │ outer                              eth0 10.9.0.2
//!          └──── forwards ◄─────┘═══════════════ w0 ════════════════════┘
//! ```
//!
//! The guest is Debian's kernel under user-mode-linux ([`vtunl_tests::uml`]): this machine's
//! own may have no such devices. The vtunl end is the shell, in a process of its own. What
//! passes tun0 is captured; tshark and scapy judge it when the traffic is over.
//!
//! Spec: RFC 2003, RFC 2784, RFC 2890, RFC 792, RFC 1191; the guest's own source is the
//! other implementation.

use std::io::BufRead;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::netns::{As, Lab, Skip, have};
use vtunl_tests::uml;
use vtunlconf::diag::Source;
use vtunlconf::lab::ClockKind;
use vtunlconf::out::Look;
use vtunlconf::shell::Shell;

use ends::Ends;

mod atun;
mod ends;
mod v4;
mod v6;

/// The first argument that says: this process is the vtunl end.
const SHELL: &str = "--shell";
/// The one that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";
/// What the guest and the judges run.
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");
const INSTALL: &str = "apt-get install user-mode-linux python3-scapy tshark iproute2 iputils-ping";

type Test = fn(&mut Ends);

/// A kind of tunnel: what is said to either end.
struct Kind {
    name: &'static str,
    /// `ip tunnel add` in the guest.
    linux: &'static str,
    /// The shell's commands for the vtunl end.
    vtunl: &'static [&'static str],
    /// Bytes in front of the inner datagram.
    overhead: u32,
    /// Inner addresses: the namespace's, the guest's.
    near: &'static str,
    far: &'static str,
    tests: &'static [(&'static str, Test)],
}

impl Kind {
    fn is_v6(&self) -> bool {
        self.near.contains(':')
    }
}

const KINDS: &[Kind] = &[
    Kind {
        name: "ipip",
        linux: "mode ipip",
        vtunl: &[
            "plumb tunnel from here proto ipip; ifconfig ip0 here 192.0.2.1 up",
            "route add 10.2.0.0/16 192.0.2.1 1; encap add default theirs; decap add all",
        ],
        overhead: 20,
        near: "10.1.0.1",
        far: "10.2.0.1",
        tests: v4::TESTS,
    },
    Kind {
        name: "gre",
        linux: "mode gre key 7 csum seq",
        vtunl: &[
            "plumb tunnel from here proto gre; ifconfig ip0 here 192.0.2.1 up",
            "route add 10.2.0.0/16 192.0.2.1 1; encap add default theirs flags G; decap add all",
            "exits set theirs key 7 checksum sequence",
        ],
        overhead: 36,
        near: "10.1.0.1",
        far: "10.2.0.1",
        tests: v4::TESTS,
    },
    Kind {
        name: "gre-bare",
        linux: "mode gre",
        vtunl: &[
            "plumb tunnel from here proto gre; ifconfig ip0 here 192.0.2.1 up",
            "route add 10.2.0.0/16 192.0.2.1 1; encap add default theirs flags G; decap add all",
        ],
        overhead: 24,
        near: "10.1.0.1",
        far: "10.2.0.1",
        tests: v4::BARE_TESTS,
    },
    Kind {
        name: "sit",
        linux: "mode sit",
        vtunl: &["encap add default theirs; decap add all", "atun 41"],
        overhead: 20,
        near: "2001:db8:1::1",
        far: "2001:db8:2::1",
        tests: v6::TESTS,
    },
    Kind {
        name: "gre-v6",
        linux: "mode gre",
        vtunl: &["encap add default theirs flags G; decap add all", "atun 47"],
        overhead: 24,
        near: "2001:db8:1::1",
        far: "2001:db8:2::1",
        tests: v6::GRE_TESTS,
    },
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SHELL) {
        shell();
        return ExitCode::SUCCESS;
    }
    let args = Arguments::from_args();
    let who = lab();
    let mut trials = Vec::new();
    for kind in KINDS {
        for (name, test) in kind.tests {
            let full = format!("{}::{name}", kind.name);
            trials.push(match &who {
                Ok(who) => {
                    let who = *who;
                    Trial::test(full, move || run(who, kind, *test))
                }
                Err(Skip(why)) => {
                    if !args.list {
                        println!("SKIPPED {full}: {why}");
                    }
                    Trial::test(full, || Ok(())).with_ignored_flag(true)
                }
            });
        }
    }
    if who.is_ok() {
        trials.push(Trial::test("judge::cases", judge_cases));
    }
    libtest_mimic::run(&args, trials).exit_code()
}

/// The judge by itself, of captures made to order.
fn judge_cases() -> Result<(), Failed> {
    let cases = format!("{LIBRARY}/judge_cases.py");
    let out = Command::new(PYTHON).arg(cases).output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = [out.stdout, out.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned().into())
}

/// Who can make the namespaces, if all the tools are here.
fn lab() -> Result<As, Skip> {
    for tool in [uml::KERNEL, "python3", "tshark", "dumpcap", "ping"] {
        if !have(tool) {
            return Err(Skip(format!("{tool} is not installed; {INSTALL}")));
        }
    }
    let scapy = Command::new(PYTHON).args(["-c", "import scapy"]).output();
    if !scapy.is_ok_and(|o| o.status.success()) {
        return Err(Skip(format!("scapy is not installed; {INSTALL}")));
    }
    match Lab::new(As::Root) {
        Ok(_) => Ok(As::Root),
        Err(_) => Lab::new(As::User).map(|_| As::User),
    }
}

fn run(who: As, kind: &'static Kind, test: Test) -> Result<(), Failed> {
    let mut lab = Lab::new(who).map_err(|Skip(why)| why)?;
    let linux = lab.host("linux").map_err(|Skip(why)| why)?;
    let mut ends = Ends::new(linux, kind);
    test(&mut ends);
    ends.judge();
    Ok(())
}

/// The vtunl end: runs what it reads, a line at a time.
fn shell() {
    let mut sh = Shell::new(ClockKind::Real, Look::PLAIN);
    println!("shell");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let done = match line.strip_prefix("atun ") {
            Some(protocol) => atun::start(&sh.lab.hosts()[0].kernel, protocol),
            None => sh.run_source(Source::new("-", &line)).is_ok(),
        };
        println!("status {}", i32::from(!done));
    }
    sh.lab.shut_down();
}
