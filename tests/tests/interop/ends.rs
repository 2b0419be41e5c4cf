//! Both ends of a tunnel, what is asked of them, and the judges.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vtunl_tests::netns::{Host, PATIENCE, Running};
use vtunl_tests::uml::{self, Console};

use crate::{Kind, LIBRARY, PYTHON, SHELL};

/// Outer addresses: vtunl's and Linux's.
pub const OURS: &str = "172.16.1.2";
const THEIRS: &str = "10.9.0.2";

/// Both ends of a tunnel.
pub struct Ends {
    pub kind: &'static Kind,
    pub guest: Console,
    pub shell: Console,
    pub linux: Host,
    wire: Running,
    capture: PathBuf,
    /// What outer headers may have.
    pub ttls: &'static [&'static str],
    /// How many datagrams congestion is to have marked inside the tunnel.
    pub marked: u32,
}

impl Ends {
    pub fn new(linux: Host, kind: &'static Kind) -> Ends {
        linux.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratemask=0");
        for line in [
            "addr add 10.1.0.1/32 dev lo",
            "tuntap add w0 mode tap",
            "addr add 10.9.0.1/24 dev w0",
            // What nobody has had time to read yet is not lost.
            "link set w0 txqueuelen 10000",
            "link set w0 up",
            "tuntap add tun0 mode tun",
            "addr add 172.16.1.1 peer 172.16.1.2 dev tun0",
            "link set tun0 txqueuelen 10000",
            "link set tun0 up",
            "route add 10.2.0.0/16 dev tun0 src 10.1.0.1",
        ] {
            linux.ok(&format!("ip {line}"));
        }
        // What Linux says by itself about IPv6 is not our traffic.
        linux.ok("sysctl -qw net.ipv6.conf.w0.disable_ipv6=1 net.ipv6.icmp.ratelimit=0");
        if kind.is_v6() {
            linux.ok("ip addr add 2001:db8:1::1/128 dev lo nodad");
            linux.ok("ip route add 2001:db8:2::/64 dev tun0 src 2001:db8:1::1");
        } else {
            linux.ok("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        }

        let mut guest = uml::boot(&linux, "w0", &Path::new(LIBRARY).join("init"));
        guest.ok("echo 1 >/proc/sys/net/ipv4/ip_forward");
        guest.ok("echo 0 >/proc/sys/net/ipv4/icmp_ratemask");
        guest.ok("echo 0 >/proc/sys/net/ipv6/icmp/ratelimit");
        guest.ok("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6");
        if !kind.is_v6() {
            guest.ok("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
        }
        for line in [
            "addr add 10.2.0.1/32 dev lo",
            "addr add 2001:db8:2::1/128 dev lo nodad",
            "addr add 10.9.0.2/24 dev eth0",
            "link set eth0 txqueuelen 10000",
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
        ]
        .iter()
        .chain(kind.vtunl)
        {
            shell.ok(line);
        }

        let capture = std::env::temp_dir().join(format!("interop-{}.pcap", linux.pid()));
        let mut wire = linux.spawn([
            "dumpcap",
            "-q",
            "-P",
            "-B",
            "64",
            "-i",
            "tun0",
            "-w",
            capture.to_str().expect("a name that is text"),
        ]);
        wire.wait_line("File:", PATIENCE);
        Ends {
            kind,
            guest,
            shell,
            linux,
            wire,
            capture,
            ttls: &["64"],
            marked: 0,
        }
    }

    /// A command in the namespace: success, and what it said.
    pub fn here(&self, line: &str) -> (bool, String) {
        let out = self.linux.run(line.split(' ')).expect("it starts");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (out.status.success(), said)
    }

    /// Pings that must be answered, from the namespace. One at a time: of several, ping(8)
    /// waits for the last no longer than twice the time that the others took.
    #[track_caller]
    pub fn ping(&self, times: u32, options: &str) {
        for _ in 0..times {
            let (ok, said) = self.here(&ping_one(options, self.kind.far));
            assert!(ok, "ping {options}: {said}");
        }
    }

    /// The same from the guest.
    #[track_caller]
    pub fn ping_back(&mut self, times: u32, options: &str) {
        for _ in 0..times {
            self.guest.ok(&ping_one(options, self.kind.near));
        }
    }

    /// A ping from the namespace that must be refused like this.
    #[track_caller]
    pub fn refused(&self, options: &str, why: &str) {
        let (ok, said) = self.here(&format!("ping -c 1 -W 60 {options}"));
        assert!(
            !ok && said.contains(why),
            "ping {options}, not {why}: {said}"
        );
    }

    /// The same from the guest.
    #[track_caller]
    pub fn refused_back(&mut self, options: &str, why: &str) {
        let (status, said) = self.guest.run(&format!("ping -c 1 -W 60 {options}"));
        assert!(
            status != 0 && said.contains(why),
            "ping {options}, not {why}: {said}"
        );
    }

    /// A ping from the guest that is lost, until whoever dropped it has said why: then it is
    /// refused like this. No answer may come.
    #[track_caller]
    pub fn refused_at_last_back(&mut self, options: &str, why: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (status, said) = self.guest.run(&format!("ping -c 1 -W 1 {options}"));
            assert!(status != 0, "ping {options}, not {why}: {said}");
            if said.contains(why) {
                return;
            }
            assert!(Instant::now() < end, "ping {options}, never {why}: {said}");
        }
    }

    /// A ping from the namespace whose first ones may be lost.
    #[track_caller]
    pub fn answered_at_last(&self, options: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let (ok, said) = self.here(&format!("ping -c 1 -W 1 {options} {}", self.kind.far));
            if ok {
                return;
            }
            assert!(Instant::now() < end, "ping {options}: {said}");
        }
    }

    /// One of the counters of vtunl's IP.
    #[track_caller]
    pub fn counter(&mut self, name: &str) -> u64 {
        let all = self.shell.ok("netstat -s");
        let line = all.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|n| n.trim().parse().ok()).expect("a counter")
    }

    /// A flow from the namespace to the guest: the same arrives.
    #[track_caller]
    pub fn flow(&mut self, kind: &str, count: u32) {
        let (py, far) = (format!("{LIBRARY}/flow.py"), self.kind.far);
        self.guest.ok("rm -f /run/in");
        self.guest.ok(&format!(
            "python3 {py} {kind}-in {far} 5001 >/run/in 2>&1 &"
        ));
        self.guest
            .ok("for i in {1..600}; do grep -q listening /run/in && break; sleep 0.1; done");
        let (ok, sent) = self.here(&format!("python3 {py} {kind}-out {far} 5001 {count}"));
        assert!(ok, "{kind}: {sent}");
        let came = self.guest.ok("wait; cat /run/in");
        let drops = self.shell.ok("show drops");
        assert!(
            came.contains(sent.trim()),
            "{kind}: sent {sent}, came {came}, {drops}"
        );
    }

    /// A flow from the guest.
    #[track_caller]
    pub fn flow_back(&mut self, kind: &str, count: u32) {
        let (py, near) = (format!("{LIBRARY}/flow.py"), self.kind.near);
        let mut sink = self
            .linux
            .spawn(["python3", &py, &format!("{kind}-in"), near, "5001"]);
        sink.wait_line("listening", PATIENCE);
        let sent = self
            .guest
            .ok(&format!("python3 {py} {kind}-out {near} 5001 {count}"));
        let (ok, came) = sink.finish();
        assert!(
            ok && came.iter().any(|l| l == sent.trim()),
            "{kind}: {sent}, came {came:?}"
        );
    }

    /// The end: what tshark and scapy say about all that passed tun0.
    #[track_caller]
    pub fn judge(mut self) {
        // The kernel gives dumpcap what passed in blocks: the last ping, there, in the tunnel,
        // and back in both forms, says that all came before it.
        self.ping_back(1, &format!("-s 40 -p {}", "7f".repeat(16)));
        let all = |b: &[u8]| b.windows(24).filter(|w| **w == [0x7f; 24]).count() >= 4;
        let end = Instant::now() + PATIENCE;
        while !std::fs::read(&self.capture).is_ok_and(|b| all(&b)) {
            assert!(Instant::now() < end, "the last ping is not in the capture");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.wire.interrupt();
        let (ok, captured) = self.wire.finish();
        assert!(ok, "dumpcap: {captured:?}");
        let complete = captured.iter().any(|l| l.contains("/0 (pcap:0/dumpcap:0/"));
        assert!(complete, "the capture has holes: {captured:?}");
        let counters = self.shell.ok("netstat -s; exits; show drops");
        let file = self.capture.to_str().expect("a name that is text");
        // The datagrams are there bare and in the tunnel: no streams are put together.
        // What an ICMP error quotes is cut off: its checksums can't be right. Linux sends a
        // checksum of 0xffff, which is 0 (RFC 1624), and tshark does not like it.
        let bad = "_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0 \
                   || icmpv6.checksum.status == 0 \
                   || (!icmp.type in {3, 11} && !icmpv6.type in {1..4} \
                   && !tcp.checksum == 0xffff && (_ws.expert.severity == error \
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
        let marked = format!(" marked {}", self.marked);
        assert!(said.trim().ends_with(&marked), "not{marked}: {said}");
        let _ = std::fs::remove_file(&self.capture); // it is in a temporary directory
    }
}

fn ping_one(options: &str, to: &str) -> String {
    let words = ["ping", "-q", "-c", "1", "-W", "60", options, to];
    words.map(str::trim).join(" ").replace("  ", " ")
}

/// The device in the guest, and the route through it.
#[track_caller]
pub fn tunnel(guest: &mut Console, kind: &Kind, options: &str) {
    let (mode, ends) = (kind.linux, format!("local {THEIRS} remote {OURS}"));
    guest.ok(&format!("ip tunnel add t0 {mode} {ends} {options}"));
    guest.ok("ip link set t0 up");
    guest.ok(match kind.is_v6() {
        false => "ip route add 10.1.0.0/16 dev t0 src 10.2.0.1",
        true => "ip route add 2001:db8:1::/64 dev t0 src 2001:db8:2::1",
    });
}
