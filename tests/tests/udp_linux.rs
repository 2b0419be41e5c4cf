//! /dev/udp, /dev/icmp and /dev/rawip against this machine's own kernel, as a neighbour, as a
//! router and as a host behind it: across a TAP, a TUN and a packet socket on a veth.
//!
//! ```text
//!   [linux]                                                             [far]
//!   192.0.2.2 ours ═ tap0, tun0 or a veth ═ 192.0.2.1 Linux 198.51.100.1 ═ veth ═ 198.51.100.2
//!     this program, inside                   forwards                      echoes datagrams
//! ```
//!
//! What the machine forbids is SKIPPED, with the reason.
//!
//! Spec: RFC 768, RFC 791 3.2, RFC 792, RFC 1191, RFC 1393 section 1 (how traceroute works);
//! udp(7P), icmp(7P).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::Duration;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::packet::Packet;
use dlpi::link::tap::Tap;
use dlpi::link::tun::{Tun, TunOptions};
use ipmod::ire::RTF_GATEWAY;
use ipmod::plumb;
use ipmod::raw_options::IP_HDRINCL;
use ipmod::tpi_options::IP_TTL;
use ipmod::udp_options::SO_DGRAM_ERRIND;
use libtest_mimic::{Arguments, Failed, Trial};
use streams::{Cred, Kernel, Process};
use vtunl_tests::netns::{As, Lab, Skip, have};
use vtunl_tests::packets::{Ip4, ip4};
use vtunl_tests::transport::{Endpoint, PATIENCE};

const LINUX: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const PORT: u16 = 7000;
const CLOSED: u16 = 7001;
/// ECONNREFUSED of Solaris.
const ECONNREFUSED: u32 = 146;
const T_UDERROR_IND: u32 = 21;
const IPPROTO_IP: u32 = 0;
const SOL_SOCKET: u32 = 0xffff;

type Test = fn(&Process);

const TESTS: &[(&str, Test)] = &[
    ("datagrams_of_every_size", datagrams_of_every_size),
    ("a_closed_port_either_way", a_closed_port_either_way),
    ("traceroute", traceroute),
    ("path_mtu_discovery", path_mtu_discovery),
];

const MEDIA: &[&str] = &["tap", "tun", "veth"];

/// The first argument that says: this is the process inside, or the one that echoes.
const INSIDE: &str = "--inside";
const ECHO: &str = "--echo";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [INSIDE, medium, name] => {
            let test = TESTS.iter().find(|t| t.0 == name).expect("a test").1;
            inside(medium, test);
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
        for (name, _) in TESTS {
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
    lab.wire(
        &linux,
        "v0",
        "198.51.100.1/24",
        &far,
        "v1",
        "198.51.100.2/24",
    );
    far.ok("ip route add default via 198.51.100.1");
    for host in [&linux, &far] {
        host.ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratemask=0");
    }
    if medium == "veth" {
        linux.ok("ip link add e0 type veth peer name e1");
        linux.ok("ip addr add 192.0.2.1/24 dev e1");
        linux.ok("ip link set e0 up");
        linux.ok("ip link set e1 up");
        // The kernel is on e0 as well, and would send what is for us back.
        linux.ok("sysctl -qw net.ipv4.conf.e0.forwarding=0");
        // What would be left to hardware is done.
        for (host, end) in [(&linux, "e1"), (&linux, "v0"), (&far, "v1")] {
            host.ok(&format!("ethtool -K {end} tx off gso off gro off tso off"));
        }
    }
    let me = std::env::current_exe()?;
    let me = me.to_str().ok_or("the program's name is not text")?;
    let mut echo = far.spawn([me, ECHO]);
    echo.wait_line("listening", Duration::from_secs(10));
    let out = linux.run(["timeout", "100", me, INSIDE, medium, name])?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(format!("{}\n{said}", out.status).into())
}

/// The host behind the router: every datagram goes back to where it came from.
fn echo() -> ExitCode {
    let s = UdpSocket::bind((FAR, PORT)).expect("a socket");
    println!("listening");
    let mut b = vec![0; 65536];
    while let Ok((n, from)) = s.recv_from(&mut b) {
        let _ = s.send_to(&b[..n], from); // who waits for it says so
    }
    ExitCode::SUCCESS
}

/// The link to this machine's kernel; the kernel's address on it.
fn link(medium: &str) -> io::Result<Box<dyn Link>> {
    let (link, set): (Box<dyn Link>, _) = match medium {
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

/// ip(8) in our namespace.
#[track_caller]
fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status();
    assert!(done.is_ok_and(|s| s.success()), "ip {line}");
}

/// The emulated host: a neighbour of this machine's kernel, which is its router.
fn inside(medium: &str, test: Test) {
    let k = Kernel::new().expect("a kernel");
    ipmod::register(&k).expect("names");
    let m = medium.to_owned();
    dlpi::register(&k, "le", Links::new(Box::new(move |_| link(&m)))).expect("a name");
    let p = k.process(Cred::ROOT);
    let le0 = plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, &le0, OURS).expect("address");
    match medium {
        "tun" => plumb::set_destination(&p, &le0, LINUX),
        _ => plumb::set_netmask(&p, &le0, Ipv4Addr::new(255, 255, 255, 0)),
    }
    .expect("the other end");
    plumb::up(&p, &le0).expect("up");
    plumb::route_add(
        &p,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::UNSPECIFIED,
        LINUX,
        RTF_GATEWAY,
    )
    .expect("a route");
    test(&p);
}

/// Bytes that no shift leaves the same.
fn content(n: usize) -> Vec<u8> {
    (0..n as u32)
        .map(|i| (i.wrapping_mul(i) >> 5) as u8)
        .collect()
}

fn theirs() -> UdpSocket {
    let s = UdpSocket::bind((LINUX, PORT)).expect("a socket");
    s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    s
}

/// RFC 768, RFC 791 3.2: from no byte to the largest, in fragments, both ways, and to a host
/// behind the router and back.
fn datagrams_of_every_size(p: &Process) {
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let theirs = theirs();
    let (here, there) = (
        SocketAddrV4::new(OURS, PORT),
        SocketAddrV4::new(LINUX, PORT),
    );
    let far = SocketAddrV4::new(FAR, PORT);
    let mut b = vec![0; 65536];
    for size in [
        0, 1, 2, 511, 512, 1471, 1472, 1473, 2960, 4001, 9000, 32768, 65507,
    ] {
        let data = content(size);
        theirs.send_to(&data, here).expect("sent");
        assert!(
            ours.recv_from() == (there, data.clone()),
            "{size} from Linux"
        );
        ours.send_to(there, &data);
        let (n, from) = theirs.recv_from(&mut b).expect("it comes");
        assert_eq!((from, n), (here.into(), size));
        assert!(b[..n] == data, "{size} to Linux");
        ours.send_to(far, &data);
        assert!(
            ours.recv_from() == (far, data),
            "{size} to the far host and back"
        );
    }
}

/// RFC 792, RFC 1122 4.1.3.3: port unreachable reaches the program, on either side.
fn a_closed_port_either_way(p: &Process) {
    let theirs = theirs();
    theirs.connect((OURS, CLOSED)).expect("connected");
    theirs.send(b"anybody?").expect("sent");
    let e = theirs.recv(&mut [0; 8]).expect_err("nobody");
    assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);

    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    ours.set(SOL_SOCKET, SO_DGRAM_ERRIND, 1);
    for host in [LINUX, FAR] {
        ours.send_to(SocketAddrV4::new(host, CLOSED), b"anybody?");
        let w = ours.next_words();
        assert_eq!((w[0], w[5]), (T_UDERROR_IND, ECONNREFUSED), "{host}");
    }
}

/// The way to the far host, as traceroute finds it: one hop more with each TTL, told by
/// time exceeded, and port unreachable at its end.
fn traceroute(p: &Process) {
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

/// RFC 1191: a datagram with DF meets a narrow link; the router says how narrow, IP believes
/// it, and from then on the router has nothing to fragment.
fn path_mtu_discovery(p: &Process) {
    ip("route add 198.51.100.2 dev v0 mtu lock 1300");
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let far = SocketAddrV4::new(FAR, PORT);
    let data = content(1472);

    // Without DF and without knowledge: the router fragments.
    let before = fragments_created();
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data.clone()));
    assert_eq!(fragments_created(), before + 2);

    let ears = Endpoint::datagrams(p, "/dev/icmp", 0);
    let raw = Endpoint::datagrams(p, "/dev/rawip", 0);
    raw.set(IPPROTO_IP, IP_HDRINCL, 1);
    let whole: Ip4 = ip4(OURS, FAR).df().id(7).udp(PORT, PORT, &data);
    raw.send_to(SocketAddrV4::new(FAR, 0), &whole.bytes());
    let (from, said) = ears.recv_from();
    let icmp = &said[20..];
    assert_eq!((*from.ip(), icmp[0], icmp[1]), (LINUX, 3, 4));
    assert_eq!(u16::from_be_bytes([icmp[6], icmp[7]]), 1300);

    // Now our own IP makes the fragments; the far host's come back whole.
    let before = fragments_created();
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data));
    assert_eq!(fragments_created(), before);
    assert!(!ears.hears(Duration::ZERO), "nobody complains");
}

/// FragCreates of this namespace's kernel.
fn fragments_created() -> u64 {
    let all = std::fs::read_to_string("/proc/self/net/snmp").expect("counters");
    let mut ip = all.lines().filter(|l| l.starts_with("Ip: "));
    let (names, values) = (ip.next().expect("names"), ip.next().expect("values"));
    let at = names.split(' ').position(|n| n == "FragCreates");
    let n = values.split(' ').nth(at.expect("it is counted"));
    n.and_then(|n| n.parse().ok()).expect("a number")
}
