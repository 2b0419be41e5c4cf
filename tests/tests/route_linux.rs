//! Ways of several hops, found by whom they serve: Linux through routers of ours, we through
//! Linux. traceroute(8), tracepath(8), the shell's traceroute, and path MTU discovery.
//!
//! ```text
//!   Linux ═ [0] ── [1] ── [2] ── [3]        traceroute: four hops of ours, each told from
//!              1500   1000   1500           the other; ip route get: mtu 1000
//!
//!   us ═ Linux ──── [far]                   the shell's traceroute: two hops, and the marks
//!           1300                            of refusals that Linux's routes make
//! ```
//!
//! Spec: RFC 792, RFC 1122 3.2.2.1, RFC 1812 4.3.2.4, 5.2.7.1, RFC 1191, RFC 1393 section 1
//! (how traceroute works); traceroute(1M).

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ipmod::plumb;
use ipmod::raw_options::IP_HDRINCL;
use ipmod::tpi_options::IP_TTL;
use vtunl_tests::linux::{
    self, CLOSED, Case, FAR, Host, LINUX, MEDIA, OURS, PORT, Side, content, ip, snmp,
};
use vtunl_tests::netns::{PATIENCE, have};
use vtunl_tests::packets::{Ip4, ip4};
use vtunl_tests::peer::Both;
use vtunl_tests::row::{END, LENGTH, hop, row};
use vtunl_tests::transport::Endpoint;
use vtunlconf::diag::Source;

const IPPROTO_IP: u32 = 0;

const CASES: &[Case] = &[
    ("linux_traces_our_routers", MEDIA, linux_traces_our_routers),
    (
        "linux_learns_our_path_mtu",
        MEDIA,
        linux_learns_our_path_mtu,
    ),
    ("our_probes_by_hand", MEDIA, our_probes_by_hand),
    ("the_shell_traces_linux", MEDIA, the_shell_traces_linux),
    ("what_linux_refuses", MEDIA, what_linux_refuses),
    ("we_learn_linux_path_mtu", MEDIA, we_learn_linux_path_mtu),
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// Runs a program of Linux's: what it printed. Nothing if it is not installed, aloud.
#[track_caller]
fn run(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let tool = words.next().unwrap_or_default();
    if !have(tool) {
        println!("SKIPPED {line}: {tool} is not installed");
        return None;
    }
    let done = Command::new(tool).args(words).output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {said}{why}");
    Some(said)
}

/// The addresses of a traceroute's hops, from ` 2  10.0.1.2  0.041 ms ..`. A star is a failure.
#[track_caller]
fn hops(said: &str) -> Vec<Ipv4Addr> {
    assert!(!said.contains('*'), "{said}");
    let line = |l: &str| l.split_whitespace().nth(1)?.parse().ok();
    said.lines().filter_map(line).collect()
}

/// RFC 792: with each TTL one router more; the last is the host, which has no such port or
/// answers the echo. What our routers have said is what Linux has heard.
fn linux_traces_our_routers(side: Side) {
    let all = row(side);
    let way: Vec<Ipv4Addr> = (1..=LENGTH).map(hop).collect();
    for how in ["", "-I "] {
        // One probe at a time, two for each TTL.
        let line = format!("traceroute -n -N 1 -q 2 -w 60 {how}{END}");
        let both = Both::begin(side, &all[0]);
        let messages = || -> u64 { all.iter().map(|h| h.counter("icmpOutMsgs")).sum() };
        let before = messages();
        let Some(said) = run(&line) else { continue };
        assert_eq!(hops(&said), way, "{said}");
        let routers = u64::from(LENGTH) - 1;
        both.same("Icmp: InTimeExcds", "", 2 * routers);
        let last = match how {
            "" => "Icmp: InDestUnreachs",
            _ => "Icmp: InEchoReps",
        };
        both.same(last, "", 2);
        assert_eq!(messages() - before, 2 * (routers + 1));
        // The first router said it twice and forwarded the rest there and back.
        both.same("", "ipForwDatagrams", 2 * 2 * routers);
    }
    let all = |said: &str| way.iter().all(|h| said.contains(&h.to_string()));
    tracepath(|said| said.contains("pmtu 1500") && said.contains("reached") && all(said));
}

/// tracepath(8) to the end finds this. It waits a second for an answer and goes on without: on
/// a busy machine it is asked again.
#[track_caller]
fn tracepath(found: impl Fn(&str) -> bool) {
    let end = Instant::now() + PATIENCE;
    while let Some(said) = run(&format!("tracepath -n {END}")) {
        if found(&said) {
            return;
        }
        assert!(Instant::now() < end, "{said}");
    }
}

/// A UDP socket of Linux's whose datagrams have DF, as far as Linux knows the path.
fn with_df() -> UdpSocket {
    let s = UdpSocket::bind((LINUX, 0)).expect("a socket");
    s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    s.connect((END, PORT)).expect("connected");
    s
}

/// RFC 1191, RFC 1812 4.3.3.4: our second router says how narrow the link behind it is; Linux
/// believes it, and TCP, UDP and ping send no more in one piece.
fn linux_learns_our_path_mtu(side: Side) {
    let all = row(side);
    plumb::set_mtu(&all[1].p, "qe1", 1000).expect("mtu");
    let both = Both::begin(side, &all[0]);
    let refused = || all[1].counter("ipFragFails");
    let ping = |size: u32| {
        let line = format!("-n -c 1 -W 60 -M do -s {size} {END}");
        let done = Command::new("ping").args(line.split(' ')).output();
        let done = done.expect("ping");
        let said = [done.stdout, done.stderr].concat();
        (
            done.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let known = || ip(&format!("route get {END}"));
    assert!(!known().contains("mtu"), "{}", known());

    // The router says it, once; Linux knows it from then on.
    let (ok, said) = ping(1400);
    let told = format!(
        "From {} icmp_seq=1 Frag needed and DF set (mtu = 1000)",
        hop(2)
    );
    assert!(!ok && said.contains(&told), "{said}");
    assert_eq!(refused(), 1);
    both.same("Icmp: InDestUnreachs", "", 1);
    assert!(known().contains(" mtu 1000"), "{}", known());
    let (ok, said) = ping(1400);
    assert!(!ok && said.contains("message too long, mtu=1000"), "{said}");
    let (ok, said) = ping(972);
    assert!(ok, "{said}");
    assert_eq!(refused(), 1, "nothing too big was sent any more");

    // UDP: one that is too big is cut by Linux, as it knows the path, and arrives.
    let ours = Endpoint::datagrams(&all[3].p, "/dev/udp", PORT);
    let cut = both.linux("Ip: FragCreates");
    let s = with_df();
    let here = s.local_addr().expect("an address");
    s.send(&content(1472)).expect("sent");
    let (from, data) = ours.recv_from();
    assert_eq!(std::net::SocketAddr::from(from), here);
    assert!(data == content(1472));
    both.same("Ip: FragCreates", "", cut + 2);
    assert_eq!(all[3].counter("ipReasmOKs"), 1);
    assert_eq!((refused(), all[1].counter("ipFragOKs")), (1, 0));

    // TCP: forgotten, and found again by its segments.
    ip("route flush cache");
    let listener = Endpoint::tcp(&all[3].p, PORT, 1);
    let say = content(200_000);
    let linux = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut c = std::net::TcpStream::connect((END, PORT)).expect("connected");
        c.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        c.write_all(&say).expect("written");
        c.shutdown(std::net::Shutdown::Write).expect("FIN");
        c.read_to_end(&mut Vec::new()).expect("read");
    });
    let c = listener.accept();
    let heard = c.read_to_end();
    c.release();
    linux.join().expect("linux");
    assert!(heard == content(200_000), "{} bytes", heard.len());
    assert!(refused() > 1, "no segment met the narrow link");
    assert_eq!(all[1].counter("ipFragOKs"), 0);
    assert!(known().contains(" mtu 1000"), "{}", known());

    // tracepath finds it by itself.
    ip("route flush cache");
    tracepath(|said| said.contains("pmtu 1000") && said.contains("reached"));
}

/// The way to the far host, by /dev/udp with IP_TTL: one hop more with each TTL, told by time
/// exceeded, and port unreachable at its end.
fn our_probes_by_hand(side: Side) {
    let Host { p, .. } = &side.host();
    let probe = Endpoint::datagrams(p, "/dev/udp", PORT);
    let ears = Endpoint::datagrams(p, "/dev/icmp", 0);
    for (ttl, who, what) in [(1, LINUX, (11, 0)), (2, FAR, (3, 3)), (9, FAR, (3, 3))] {
        probe.set(IPPROTO_IP, IP_TTL, ttl);
        probe.send_to(SocketAddrV4::new(FAR, CLOSED), b"how far?");
        let (from, said) = ears.recv_from();
        let icmp = &said[20..];
        assert_eq!((*from.ip(), (icmp[0], icmp[1])), (who, what), "ttl {ttl}");
        // The quote: our datagram as it was when its time was over.
        assert_eq!(
            &icmp[8 + 12..8 + 20],
            [OURS.octets(), FAR.octets()].concat()
        );
        assert_eq!(icmp[8 + 8], if ttl == 9 { 8 } else { 1 });
        assert_eq!(&icmp[8 + 22..8 + 24], CLOSED.to_be_bytes());
    }
}

/// What the shell prints for a line, and whether it succeeds.
fn shell(side: Side) -> impl FnMut(&str) -> (bool, String) {
    let (mut sh, said) = side.shell();
    move |line| {
        let n = said.text().len();
        let ok = sh.run_source(Source::new("test", line)).is_ok();
        (ok, said.text()[n..].to_owned())
    }
}

/// traceroute(1M) through Linux to the host behind it; Linux has sent as many errors as we had
/// probes for it.
fn the_shell_traces_linux(side: Side) {
    let mut run = shell(side);
    for how in ["", "-I "] {
        let expired = snmp("Icmp:", "OutTimeExcds");
        let (ok, said) = run(&format!("traceroute -n -w 60s {how}{FAR}"));
        assert!(ok, "{said}");
        assert_eq!(hops(&said), [LINUX, FAR], "{said}");
        assert_eq!(said.matches(" ms").count(), 6, "{said}");
        assert_eq!(snmp("Icmp:", "OutTimeExcds") - expired, 3);
    }
    let (ok, said) = run(&format!("traceroute -n -w 60s -q 1 {LINUX}"));
    assert!(ok && hops(&said) == [LINUX], "{said}");
    let (ok, said) = run(&format!("traceroute -n -w 60s -q 1 -m 1 {FAR}"));
    assert!(!ok && hops(&said) == [LINUX], "{said}");
}

/// The marks of traceroute(1M), each made by a route of Linux's.
fn what_linux_refuses(side: Side) {
    let mut run = shell(side);
    ip("route add unreachable 203.0.113.1");
    ip("route add prohibit 203.0.113.2");
    ip("route add blackhole 203.0.113.3");
    ip("route add 198.51.100.2 dev v0 mtu lock 1300");
    // One probe each: Linux says so five times, then once a second.
    for (to, mark) in [
        ("203.0.113.1", "!H"),
        ("203.0.113.2", "!<13>"), // RFC 1812 5.2.7.1: administratively prohibited
        ("203.0.113.4", "!N"),    // no route at all
    ] {
        let said_so = snmp("Icmp:", "OutDestUnreachs");
        let (ok, said) = run(&format!("traceroute -n -w 60s -q 1 {to}"));
        assert!(!ok && hops(&said) == [LINUX], "{said}");
        assert!(said.ends_with(&format!(" ms {mark}\n")), "{said}");
        assert_eq!(snmp("Icmp:", "OutDestUnreachs") - said_so, 1);
    }
    let (ok, said) = run("traceroute -n -w 100ms -q 2 -m 2 203.0.113.3");
    assert_eq!((ok, &said[..]), (false, " 1  * *\n 2  * *\n"));

    let (ok, said) = run(&format!("traceroute -n -w 60s -q 1 -F {FAR} 1400"));
    let lines: Vec<&str> = said.lines().collect();
    assert!(!ok && lines.len() == 2, "{said}");
    assert!(lines[1].contains("192.0.2.1") && lines[1].ends_with(" !F-1300"));
    let (ok, said) = run(&format!("route get {FAR}"));
    assert!(ok && said.contains("mtu 1500, path mtu 1300"), "{said}");
    let (ok, said) = run(&format!("traceroute -n -w 60s -q 1 -F {FAR} 1300"));
    assert!(ok && hops(&said) == [LINUX, FAR], "{said}");
}

/// RFC 1191: a datagram with DF meets a narrow link; the router says how narrow, IP believes
/// it, and from then on the router has nothing to fragment.
fn we_learn_linux_path_mtu(side: Side) {
    let host = side.host();
    let p = &host.p;
    ip("route add 198.51.100.2 dev v0 mtu lock 1300");
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let far = SocketAddrV4::new(FAR, PORT);
    let data = content(1472);

    // Without DF and without knowledge: the router fragments.
    let both = Both::begin(side, &host);
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data.clone()));
    both.same("Ip: FragCreates", "", 2);
    both.same("", "ipFragCreates", 0);

    let ears = Endpoint::datagrams(p, "/dev/icmp", 0);
    let raw = Endpoint::datagrams(p, "/dev/rawip", 0);
    raw.set(IPPROTO_IP, IP_HDRINCL, 1);
    let whole: Ip4 = ip4(OURS, FAR).df().id(7).udp(PORT, PORT, &data);
    raw.send_to(SocketAddrV4::new(FAR, 0), &whole.bytes());
    let (from, said) = ears.recv_from();
    let icmp = &said[20..];
    assert_eq!((*from.ip(), icmp[0], icmp[1]), (LINUX, 3, 4));
    assert_eq!(u16::from_be_bytes([icmp[6], icmp[7]]), 1300);
    both.same("Icmp: OutDestUnreachs", "icmpInMsgs", 1);
    both.same("Ip: FragFails", "", 1);
    assert_eq!(plumb::path_mtus(p).expect("path MTUs"), [(FAR, 1300)]);

    // Now our own IP makes the fragments; the far host's come back whole.
    let both = Both::begin(side, &host);
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data));
    both.same("Ip: FragCreates", "", 0);
    both.same("", "ipFragCreates", 2);
    assert!(!ears.hears(Duration::ZERO), "nobody complains");
}
