//! The tunnel devices of a stock Linux kernel at one end, vtunl at the other.
//!
//! ```text
//!   [namespace]                                                            [guest]
//!   Linux 10.1.0.1 ═ tun0 ═ 172.16.1.2 vtunl ┄┄┄┄┄┄ tunnel ┄┄┄┄┄┄ ipip, gre 10.2.0.1
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
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::netns::{As, Host, Lab, Running, Skip, have};
use vtunl_tests::uml::{self, Console};
use vtunlconf::diag::Source;
use vtunlconf::lab::ClockKind;
use vtunlconf::out::Look;
use vtunlconf::shell::Shell;

/// The first argument that says: this process is the vtunl end.
const SHELL: &str = "--shell";
/// The one that Debian's packages are for.
const PYTHON: &str = "/usr/bin/python3";
const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
const OURS: &str = "172.16.1.2";
const THEIRS: &str = "10.9.0.2";
const INSTALL: &str = "apt-get install user-mode-linux python3-scapy tshark iproute2 iputils-ping";

/// A kind of tunnel: what is said to either end.
struct Kind {
    name: &'static str,
    /// `ip tunnel add` in the guest.
    linux: &'static str,
    /// Bytes in front of the inner datagram.
    overhead: u32,
    /// Of `plumb tunnel`.
    proto: &'static str,
    /// Of `encap add`, and the options of the exit.
    flags: &'static str,
    options: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "ipip",
        linux: "mode ipip",
        overhead: 20,
        proto: "ipip",
        flags: "none",
        options: "",
    },
    Kind {
        name: "gre",
        linux: "mode gre key 7 csum seq",
        overhead: 36,
        proto: "gre",
        flags: "G",
        options: "exits set theirs key 7 checksum sequence",
    },
];

type Test = fn(&mut Ends);

const TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("udp_and_tcp", udp_and_tcp),
    ("path_mtu", path_mtu),
    ("fragments", fragments),
    ("errors_inside", errors_inside),
    ("errors_outside", errors_outside),
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SHELL) {
        shell();
        return ExitCode::SUCCESS;
    }
    let args = Arguments::from_args();
    let who = lab();
    if let (Err(Skip(why)), false) = (&who, args.list) {
        println!("SKIPPED interop: {why}");
    }
    let mut trials = Vec::new();
    for kind in KINDS {
        for (name, test) in TESTS {
            let full = format!("{}::{name}", kind.name);
            trials.push(match who {
                Ok(who) => Trial::test(full, move || run(who, kind, *test)),
                Err(_) => Trial::test(full, || Ok(())).with_ignored_flag(true),
            });
        }
    }
    libtest_mimic::run(&args, trials).exit_code()
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

/// Both ends of a tunnel.
struct Ends {
    kind: &'static Kind,
    guest: Console,
    shell: Console,
    linux: Host,
    wire: Running,
    capture: PathBuf,
    /// What outer headers may have.
    ttls: &'static [&'static str],
}

fn run(who: As, kind: &'static Kind, test: Test) -> Result<(), Failed> {
    let mut lab = Lab::new(who).map_err(|Skip(why)| why)?;
    let linux = lab.host("linux").map_err(|Skip(why)| why)?;
    let mut ends = Ends::new(linux, kind);
    test(&mut ends);
    ends.judge();
    Ok(())
}

impl Ends {
    fn new(linux: Host, kind: &'static Kind) -> Ends {
        // What Linux says by itself about IPv6 is not our traffic.
        linux
            .ok("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        linux.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratemask=0");
        for line in [
            "addr add 10.1.0.1/32 dev lo",
            "tuntap add w0 mode tap",
            "addr add 10.9.0.1/24 dev w0",
            "link set w0 up",
            "tuntap add tun0 mode tun",
            "addr add 172.16.1.1 peer 172.16.1.2 dev tun0",
            "link set tun0 up",
            "route add 10.2.0.0/16 dev tun0 src 10.1.0.1",
        ] {
            linux.ok(&format!("ip {line}"));
        }

        let mut guest = uml::boot(&linux, "w0", &Path::new(LIBRARY).join("init"));
        guest.ok("echo 1 >/proc/sys/net/ipv4/ip_forward");
        guest.ok("echo 0 >/proc/sys/net/ipv4/icmp_ratemask");
        guest.ok("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
        guest.ok("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
        for line in [
            "addr add 10.2.0.1/32 dev lo",
            "addr add 10.9.0.2/24 dev eth0",
            "link set eth0 up",
            "route add 172.16.1.0/24 via 10.9.0.1",
        ] {
            guest.ok(&format!("ip {line}"));
        }
        tunnel(&mut guest, kind, "ttl 64");

        let me = std::env::current_exe().expect("this program");
        let me = me.to_str().expect("a name that is text");
        let mut shell = Console::new("shell", linux.spawn([me, SHELL]), "shell");
        for line in [
            "host a; hosts here 172.16.1.2; hosts linux 172.16.1.1; hosts theirs 10.9.0.2",
            "add_drv vtunl; plumb tun0; ifconfig tun0 here linux up",
            "route add default linux 1",
            &format!("plumb tunnel from here proto {}", kind.proto),
            "ifconfig ip0 here 192.0.2.1 up; route add 10.2.0.0/16 192.0.2.1 1",
            &format!(
                "encap add default theirs flags {}; decap add all",
                kind.flags
            ),
            kind.options,
        ] {
            shell.ok(line);
        }

        let capture = std::env::temp_dir().join(format!("interop-{}.pcap", linux.pid()));
        let mut wire = linux.spawn([
            "dumpcap",
            "-q",
            "-P",
            "-i",
            "tun0",
            "-w",
            capture.to_str().expect("a name that is text"),
        ]);
        wire.wait_line("File:", Duration::from_secs(10));
        Ends {
            kind,
            guest,
            shell,
            linux,
            wire,
            capture,
            ttls: &["64"],
        }
    }

    /// A command in the namespace: success, and what it said.
    fn here(&self, line: &str) -> (bool, String) {
        let out = self.linux.run(line.split(' ')).expect("it starts");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (out.status.success(), said)
    }

    /// A ping that must be answered, from the namespace.
    #[track_caller]
    fn ping(&self, options: &str) {
        let (ok, said) = self.here(&format!("ping -q -i 0.02 -W 2 {options} 10.2.0.1"));
        assert!(
            ok && said.contains(" 0% packet loss"),
            "ping {options}: {said}"
        );
    }

    /// The same from the guest.
    #[track_caller]
    fn ping_back(&mut self, options: &str) {
        let said = self
            .guest
            .ok(&format!("ping -q -i 0.02 -W 2 {options} 10.1.0.1"));
        assert!(said.contains(" 0% packet loss"), "ping {options}: {said}");
    }

    /// A ping from the namespace that must be refused like this.
    #[track_caller]
    fn refused(&self, options: &str, why: &str) {
        let (ok, said) = self.here(&format!("ping -c 1 -W 2 {options}"));
        assert!(
            !ok && said.contains(why),
            "ping {options}, not {why}: {said}"
        );
    }

    /// The same from the guest.
    #[track_caller]
    fn refused_back(&mut self, options: &str, why: &str) {
        let (status, said) = self.guest.run(&format!("ping -c 1 -W 2 {options}"));
        assert!(
            status != 0 && said.contains(why),
            "ping {options}, not {why}: {said}"
        );
    }

    /// One of the counters of vtunl's IP.
    #[track_caller]
    fn counter(&mut self, name: &str) -> u64 {
        let all = self.shell.ok("netstat -s");
        let line = all.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|n| n.trim().parse().ok()).expect("a counter")
    }

    /// A flow from the namespace to the guest: the same arrives.
    #[track_caller]
    fn flow(&mut self, kind: &str, count: u32) {
        let py = format!("{LIBRARY}/flow.py");
        self.guest.ok("rm -f /tmp/in");
        self.guest.ok(&format!(
            "python3 {py} {kind}-in 10.2.0.1 5001 >/tmp/in 2>&1 &"
        ));
        self.guest
            .ok("for i in {1..100}; do grep -q listening /tmp/in && break; sleep 0.1; done");
        let (ok, sent) = self.here(&format!("python3 {py} {kind}-out 10.2.0.1 5001 {count}"));
        assert!(ok, "{kind}: {sent}");
        let came = self.guest.ok("wait; cat /tmp/in");
        assert!(
            came.contains(sent.trim()),
            "{kind}: sent {sent}, came {came}"
        );
    }

    /// A flow from the guest.
    #[track_caller]
    fn flow_back(&mut self, kind: &str, count: u32) {
        let py = format!("{LIBRARY}/flow.py");
        let mut sink =
            self.linux
                .spawn(["python3", &py, &format!("{kind}-in"), "10.1.0.1", "5001"]);
        sink.wait_line("listening", Duration::from_secs(10));
        let sent = self
            .guest
            .ok(&format!("python3 {py} {kind}-out 10.1.0.1 5001 {count}"));
        let (ok, came) = sink.finish();
        assert!(
            ok && came.iter().any(|l| l == sent.trim()),
            "{kind}: {sent}, came {came:?}"
        );
    }

    /// The end: what tshark and scapy say about all that passed tun0.
    #[track_caller]
    fn judge(mut self) {
        // The kernel gives dumpcap what passed in blocks: the last ping, there, in the tunnel,
        // and back in both forms, says that all came before it.
        self.ping_back(&format!("-c 1 -s 40 -p {}", "7f".repeat(16)));
        let all = |b: &[u8]| b.windows(24).filter(|w| **w == [0x7f; 24]).count() >= 4;
        let end = Instant::now() + Duration::from_secs(10);
        while !std::fs::read(&self.capture).is_ok_and(|b| all(&b)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.wire.interrupt();
        let (ok, captured) = self.wire.finish();
        assert!(ok, "dumpcap: {captured:?}");
        let counters = self.shell.ok("netstat -s; exits; show drops");
        let file = self.capture.to_str().expect("a name that is text");
        // The datagrams are there bare and in the tunnel: no streams are put together.
        // What an ICMP error quotes is cut off: its checksums can't be right.
        let bad = "_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0 \
                   || (!icmp.type in {3, 11} && (_ws.expert.severity == error \
                   || udp.checksum.status == 0 || tcp.checksum.status == 0 \
                   || gre.checksum.status == 0))";
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-r", file, "-Y", bad]);
        // What the flows carry is no protocol.
        tshark.args(["-d", "udp.port==5001,data", "-d", "tcp.port==5001,data"]);
        for option in [
            "ip.check_checksum:TRUE",
            "udp.check_checksum:TRUE",
            "tcp.check_checksum:TRUE",
            "tcp.analyze_sequence_numbers:FALSE",
        ] {
            tshark.args(["-o", option]);
        }
        let out = tshark.output().expect("tshark starts");
        let found = String::from_utf8_lossy(&out.stdout);
        let complaint = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "tshark: {complaint}");
        assert!(found.is_empty(), "tshark finds wrong:\n{found}\n{counters}");

        let out = Command::new(PYTHON)
            .arg(format!("{LIBRARY}/judge.py"))
            .args([self.kind.name, file, OURS, THEIRS])
            .args(self.ttls)
            .output()
            .expect("python3 starts");
        let said = String::from_utf8_lossy(&out.stdout);
        let complaint = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success(),
            "scapy: {said}{complaint}\n{counters}\n{file}: {captured:?}"
        );
        println!("{}: {}", self.kind.name, said.trim());
        let _ = std::fs::remove_file(&self.capture); // it is in a temporary directory
    }
}

/// The device in the guest, and the route through it.
#[track_caller]
fn tunnel(guest: &mut Console, kind: &Kind, options: &str) {
    let (mode, ends) = (kind.linux, format!("local {THEIRS} remote {OURS}"));
    guest.ok(&format!("ip tunnel add t0 {mode} {ends} {options}"));
    guest.ok("ip link set t0 up");
    guest.ok("ip route add 10.1.0.0/16 dev t0 src 10.2.0.1");
}

/// The vtunl end: runs what it reads, a line at a time.
fn shell() {
    let mut sh = Shell::new(ClockKind::Real, Look::PLAIN);
    println!("shell");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let status = i32::from(sh.run_source(Source::new("-", &line)).is_err());
        println!("status {status}");
    }
    sh.lab.shut_down();
}

/// RFC 792, RFC 2003 3.1: from nothing to what is fragmented inside and outside.
fn ping_of_several_sizes(e: &mut Ends) {
    for size in [0, 56, 999, 1400, 1452, 4000, 20000] {
        e.ping(&format!("-c 3 -M dont -s {size}"));
        e.ping_back(&format!("-c 3 -M dont -s {size}"));
    }
}

fn udp_and_tcp(e: &mut Ends) {
    e.flow("udp", 500);
    e.flow_back("udp", 500);
    e.flow("tcp", 2000);
    e.flow_back("tcp", 2000);
}

/// RFC 2003 5.1, RFC 1191: what is too big for the path between the ends, and for the one
/// behind vtunl.
fn path_mtu(e: &mut Ends) {
    let mtu = 1300 - e.kind.overhead;
    let (fits, too_big) = (format!("-M do -s {}", mtu - 28), "-M do -s 1400");
    let told = format!("From {OURS} icmp_seq=1 Frag needed and DF set (mtu = {mtu})");

    // vtunl's datagrams: a router says so, vtunl believes it and tells the source; asked
    // once more it knows.
    e.linux.ok("ip link set w0 mtu 1300");
    e.refused(&format!("{too_big} 10.2.0.1"), &told);
    let exits = e.shell.ok("exits");
    assert!(exits.contains(" 1300 "), "{exits}");
    e.refused(
        &format!("{too_big} 10.2.0.1"),
        &format!("message too long, mtu={mtu}"),
    );
    e.linux.ok("ip route flush cache");
    e.refused(&format!("{too_big} 10.2.0.1"), &told);
    e.ping(&format!("-c 2 {fits}"));
    e.linux.ok("ip route flush cache");
    e.flow("tcp", 300);

    // Linux's datagrams, the same.
    e.linux.ok("ip link set w0 mtu 1500");
    e.linux.ok("ip link set tun0 mtu 1300");
    let back = format!("{too_big} 10.1.0.1");
    let (_, first) = e.guest.run(&format!("ping -c 1 -W 1 {back}"));
    assert!(first.contains(" 100% packet loss"), "{first}");
    e.refused_back(&back, &format!("(mtu = {mtu})"));
    e.ping_back(&format!("-c 2 {fits}"));
    e.flow_back("tcp", 300);

    // Out of the tunnel, and too big for the link there: IP says so, through the tunnel.
    e.linux.ok("ip link set tun0 mtu 1500");
    e.guest.ok("ip route flush cache");
    e.shell.ok("ifconfig tun0 mtu 1000");
    let told = format!("From {OURS} icmp_seq=1 Frag needed and DF set (mtu = 1000)");
    e.refused_back("-M do -s 1100 10.1.0.1", &told);
    e.ping_back("-c 2 -M do -s 972");
}

/// RFC 791 3.2, RFC 2003 5.1: fragments of outer datagrams, on the way from Linux in random
/// order and doubled.
fn fragments(e: &mut Ends) {
    e.guest.ok("ip tunnel del t0");
    tunnel(&mut e.guest, e.kind, "nopmtudisc");
    e.guest.ok("ip link set t0 mtu 3000");
    // With DF inside Linux sets it outside as well.
    e.guest.ok("echo 1 >/proc/sys/net/ipv4/ip_no_pmtu_disc");
    // RFC 2890 2.2: with sequence numbers what is overtaken is dropped.
    let netem = match e.kind.options {
        "" => "delay 3ms 3ms duplicate 20%",
        _ => "duplicate 20%",
    };
    e.guest.ok(&format!(
        "tc qdisc add dev eth0 root netem limit 10000 {netem}"
    ));
    e.flow_back("udp", 500);
    e.guest.ok("tc qdisc del dev eth0 root");
    e.ping_back("-c 3 -M dont -s 2900");
    e.flow("udp", 500);
    // Fifty large datagrams each way, and outside they were in pieces each way.
    assert!(e.counter("ipReasmOKs") > 50 && e.counter("ipFragOKs") > 50);
}

/// RFC 792 through the tunnel: who has no port, no way, or no time left.
fn errors_inside(e: &mut Ends) {
    let refused = format!("python3 {LIBRARY}/flow.py refused");
    let (ok, said) = e.here(&format!("{refused} 10.2.0.1 5009"));
    assert!(ok, "{said}");
    e.guest.ok(&format!("{refused} 10.1.0.1 5009"));

    e.guest.ok("ip route add unreachable 10.2.0.99");
    e.refused(
        "10.2.0.99",
        "From 10.2.0.1 icmp_seq=1 Destination Host Unreachable",
    );
    e.linux.ok("ip route add unreachable 10.1.0.99");
    let here = "From 10.1.0.1 icmp_seq=1 Destination Host Unreachable";
    e.refused_back("10.1.0.99", here);

    // vtunl's host and the guest as routers, in both directions.
    e.guest.ok("ip route add 10.2.8.0/24 dev eth0");
    let expired = |who: &str| format!("From {who} icmp_seq=1 Time to live exceeded");
    e.refused("-t 1 10.2.8.1", &expired(OURS));
    e.refused("-t 2 10.2.8.1", &expired("10.2.0.1"));
    e.refused_back("-t 1 10.1.0.1", &expired(OURS));
    e.linux.ok("ip route add 10.1.8.0/24 dev w0");
    e.refused_back("-t 2 10.1.8.1", &expired("10.1.0.1"));
}

/// RFC 2003 4: errors about outer datagrams, told to the inner source.
fn errors_outside(e: &mut Ends) {
    // 4.1: the router knows no way to the exit. 4.4: the outer TTL is used up there.
    e.linux.ok("ip route add unreachable 10.9.0.2");
    let unreachable = format!("From {OURS} icmp_seq=1 Destination Host Unreachable");
    e.refused("10.2.0.1", &unreachable);
    let exits = e.shell.ok("exits");
    assert!(exits.contains("host"), "{exits}");
    e.linux.ok("ip route del unreachable 10.9.0.2");
    e.shell.ok("exits set theirs ttl 1");
    e.ttls = &["64", "1"];
    e.refused("10.2.0.1", &unreachable);
    e.shell.ok("exits set theirs ttl 64");
    // 5: an exit said to be dead is sent to all the same.
    e.ping_back("-c 2");
}
