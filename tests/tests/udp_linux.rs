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
use std::net::SocketAddrV4;
use std::process::{Command, ExitCode};
use std::time::Duration;

use ipmod::raw_options::IP_HDRINCL;
use ipmod::tpi_options::IP_TTL;
use ipmod::udp_options::SO_DGRAM_ERRIND;
use vtunl_tests::linux::{
    self, CLOSED, Case, FAR, Host, LINUX, MEDIA, OURS, PORT, Side, content, ip, snmp, theirs,
};
use vtunl_tests::packets::{Ip4, ip4};
use vtunl_tests::transport::Endpoint;

/// ECONNREFUSED of Solaris.
const ECONNREFUSED: u32 = 146;
const T_UDERROR_IND: u32 = 21;
const IPPROTO_IP: u32 = 0;
const SOL_SOCKET: u32 = 0xffff;

const CASES: &[Case] = &[
    ("datagrams_of_every_size", MEDIA, datagrams_of_every_size),
    ("a_closed_port_either_way", MEDIA, a_closed_port_either_way),
    ("pings_of_every_size", MEDIA, pings_of_every_size),
    ("traceroute", MEDIA, traceroute),
    ("path_mtu_discovery", MEDIA, path_mtu_discovery),
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// RFC 768, RFC 791 3.2: from no byte to the largest, in fragments, both ways, and to a host
/// behind the router and back.
fn datagrams_of_every_size(side: Side) {
    let Host { p, .. } = &side.host();
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
fn a_closed_port_either_way(side: Side) {
    let Host { p, .. } = &side.host();
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

/// RFC 1122 3.2.2.6: we answer ping(8) from no byte to the largest, and it finds its bytes
/// unchanged; Linux counts an answer each.
fn pings_of_every_size(side: Side) {
    let _host = side.host();
    for size in [0, 1, 56, 1472, 1473, 2960, 9000, 32768, 65507] {
        let before = snmp("Icmp:", "InEchoReps");
        let ping = format!("-n -c 1 -W 60 -p a55a3c -s {size} {OURS}");
        let done = Command::new("ping").args(ping.split(' ')).output();
        let done = done.expect("ping");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{size}: {said}");
        assert!(!said.contains("wrong data"), "{size}: {said}");
        assert_eq!(snmp("Icmp:", "InEchoReps"), before + 1, "{size}");
    }
}

/// The way to the far host, as traceroute finds it: one hop more with each TTL, told by
/// time exceeded, and port unreachable at its end.
fn traceroute(side: Side) {
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

/// RFC 1191: a datagram with DF meets a narrow link; the router says how narrow, IP believes
/// it, and from then on the router has nothing to fragment.
fn path_mtu_discovery(side: Side) {
    let Host { p, .. } = &side.host();
    ip("route add 198.51.100.2 dev v0 mtu lock 1300");
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let far = SocketAddrV4::new(FAR, PORT);
    let data = content(1472);

    // Without DF and without knowledge: the router fragments.
    let before = snmp("Ip:", "FragCreates");
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data.clone()));
    assert_eq!(snmp("Ip:", "FragCreates"), before + 2);

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
    let before = snmp("Ip:", "FragCreates");
    ours.send_to(far, &data);
    assert!(ours.recv_from() == (far, data));
    assert_eq!(snmp("Ip:", "FragCreates"), before);
    assert!(!ears.hears(Duration::ZERO), "nobody complains");
}
