//! What the two ends of one exchange have counted: Linux in /proc/net, we in netstat -s and the
//! link's kstat.
//!
//! ```text
//!   Both::begin ─► the exchange ─► same("Icmp: InEchos", "icmpOutMsgs", 3)
//!     every counter of both         moved by 3 at either end, or the test fails
//! ```
//!
//! Counters that are not there yet have a minute; one that has moved too far has failed.
//!
//! Spec: proc_net(5), RFC 1213, RFC 2011; netstat(1M), kstat(1M).

use std::collections::BTreeMap;
use std::time::Instant;

use ipmod::plumb;

use crate::linux::{Host, Side};
use crate::netns::PATIENCE;

/// The counters of both ends when an exchange began.
pub struct Both<'a> {
    side: Side,
    host: &'a Host,
    linux: BTreeMap<String, u64>,
    ours: BTreeMap<String, u64>,
}

impl<'a> Both<'a> {
    /// From now on.
    #[track_caller]
    pub fn begin(side: Side, host: &'a Host) -> Both<'a> {
        Both {
            side,
            host,
            linux: linux(side),
            ours: ours(host),
        }
    }

    /// By how much a counter of Linux's has moved: `Ip: FragCreates`, or `link tx` and
    /// `link rx`, frames on its end of the link.
    #[track_caller]
    pub fn linux(&self, name: &str) -> u64 {
        moved(&self.linux, &linux(self.side), name)
    }

    /// By how much one of ours has: a name of netstat -s, or `link in` and `link out`.
    #[track_caller]
    pub fn ours(&self, name: &str) -> u64 {
        moved(&self.ours, &ours(self.host), name)
    }

    /// Both have moved by so much. No name: the other end does not count this.
    #[track_caller]
    pub fn same(&self, linux: &str, ours: &str, by: u64) {
        self.agree(linux, ours, |l, o| {
            let far = (!linux.is_empty() && l > by) || (!ours.is_empty() && o > by);
            let there = (linux.is_empty() || l == by) && (ours.is_empty() || o == by);
            assert!(!far, "{linux} moved by {l}, {ours} by {o}, not by {by}");
            there
        });
    }

    /// Both have moved alike, and by so much or more: of what is sent again nobody knows how
    /// many there are.
    #[track_caller]
    pub fn alike(&self, linux: &str, ours: &str, least: u64) {
        self.agree(linux, ours, |l, o| l == o && l >= least);
    }

    /// At least so many frames each way, and since there is the link as many on either side of
    /// it. (Not since we began: ARP may have been about to send one then.)
    #[track_caller]
    pub fn frames(&self, least: u64) {
        for (theirs, of) in [("link tx", "link in"), ("link rx", "link out")] {
            let end = Instant::now() + PATIENCE;
            loop {
                let (l, o) = (linux(self.side)[theirs], ours(self.host)[of]);
                if l == o && self.ours(of) >= least {
                    break;
                }
                let why = format!("Linux's {theirs} is {l}, our {of} {o}, of it {least} new");
                assert!(Instant::now() < end, "{why}");
                std::thread::yield_now();
            }
        }
    }

    #[track_caller]
    fn agree(&self, linux: &str, ours: &str, so: impl Fn(u64, u64) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let l = if linux.is_empty() {
                0
            } else {
                self.linux(linux)
            };
            let o = if ours.is_empty() { 0 } else { self.ours(ours) };
            if so(l, o) {
                return;
            }
            assert!(
                Instant::now() < end,
                "Linux's {linux:?} moved by {l}, our {ours:?} by {o}"
            );
            std::thread::yield_now();
        }
    }
}

#[track_caller]
fn moved(then: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>, name: &str) -> u64 {
    let n = now.get(name).unwrap_or_else(|| panic!("no counter {name}"));
    n - then.get(name).unwrap_or(&0)
}

/// Every counter of this namespace's kernel.
fn linux(side: Side) -> BTreeMap<String, u64> {
    let read = |name: &str| {
        let path = format!("/proc/self/net/{name}");
        std::fs::read_to_string(path).expect("counters")
    };
    let mut all = BTreeMap::new();
    // Two lines for each group: names, then values.
    let snmp = read("snmp");
    let lines: Vec<&str> = snmp.lines().collect();
    for pair in lines.chunks_exact(2) {
        let (group, names) = pair[0].split_once(' ').expect("names");
        let values = pair[1].split(' ').skip(1);
        for (name, value) in names.split(' ').zip(values) {
            // Tcp's MaxConn is -1: there is no limit.
            all.insert(format!("{group} {name}"), value.parse().unwrap_or(0));
        }
    }
    let dev = read("dev");
    let ours = format!("{}:", side.dev());
    if let Some(line) = dev.lines().find_map(|l| l.trim().strip_prefix(&ours)) {
        let n: Vec<u64> = line
            .split_whitespace()
            .map(|w| w.parse().unwrap_or(0))
            .collect();
        all.insert("link rx".into(), n[1]);
        all.insert("link tx".into(), n[9]);
    }
    all
}

/// Every counter of an emulated host's IP and TCP, and those of le0.
#[track_caller]
fn ours(host: &Host) -> BTreeMap<String, u64> {
    let all = plumb::counters(&host.p).expect("counters");
    let mut all: BTreeMap<String, u64> = all.into_iter().collect();
    let kstats = host.k.kstats();
    for (name, path) in [
        ("link in", "le:0:le0:ipackets64"),
        ("link out", "le:0:le0:opackets64"),
        ("tcpActiveOpens", "tcp:0:tcp:activeOpens"),
        ("tcpPassiveOpens", "tcp:0:tcp:passiveOpens"),
        ("tcpAttemptFails", "tcp:0:tcp:attemptFails"),
        ("tcpInSegs", "tcp:0:tcp:inSegs"),
        ("tcpOutSegs", "tcp:0:tcp:outSegs"),
        ("tcpOutRsts", "tcp:0:tcp:outRsts"),
    ] {
        let n = kstats.number(path);
        all.insert(name.into(), n.unwrap_or_else(|| panic!("no kstat {path}")));
    }
    all
}
