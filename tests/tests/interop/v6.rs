//! IPv6 in the tunnel: sit, and gre.

use crate::LIBRARY;
use crate::Test;
use crate::ends::{Ends, tunnel};

/// vtunl's end of the tunnel (RFC 4213 3.7): 172.16.1.2.
const OURS: &str = "fe80::ac10:102";

pub const TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("tos_and_congestion", tos_and_congestion),
    ("udp_and_tcp", udp_and_tcp),
    ("path_mtu", path_mtu),
    ("fragments", fragments),
    ("errors_inside", errors_inside),
    ("errors_outside", errors_outside),
];

/// Linux's gre is no link for IPv6 where the path is narrower than 1280 and 24.
pub const GRE_TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("tos_and_congestion", tos_and_congestion),
    ("udp_and_tcp", udp_and_tcp),
    ("errors_inside", errors_inside),
    ("errors_outside", errors_outside),
];

/// RFC 4213 3.5: as one piece and in fragments of the source's making.
fn ping_of_several_sizes(e: &mut Ends) {
    configured_mtu(e);
    for size in [0, 56, 999, 1232, 1428, 1432, 4000] {
        e.ping(3, &format!("-s {size}"));
        e.ping_back(3, &format!("-s {size}"));
    }
}

/// RFC 6040 4.1 and 4.2, RFC 2983: each mark of congestion, alone and with a DSCP; the judge
/// compares the headers.
fn tos_and_congestion(e: &mut Ends) {
    for tos in [0x01, 0x02, 0x03, 0xb8, 0xbb] {
        e.ping(2, &format!("-Q {tos}"));
        e.ping_back(2, &format!("-Q {tos}"));
    }
    // Linux's are marked on their way: the mark comes out with those that know of it.
    e.guest.ok("tc qdisc add dev eth0 root netem loss 100% ecn");
    for tos in [0x01, 0x02, 0xba] {
        e.ping_back(2, &format!("-Q {tos}"));
        e.marked += 2;
    }
    e.guest.ok("tc qdisc del dev eth0 root");
}

fn udp_and_tcp(e: &mut Ends) {
    configured_mtu(e);
    e.flow("udp", 500);
    e.flow_back("udp", 500);
    e.flow("tcp", 1000);
    e.flow_back("tcp", 1000);
}

/// RFC 4213 3.2.2: what is too big for the path between the ends.
fn path_mtu(e: &mut Ends) {
    let (fits, too_big) = ("-M do -s 1232", "-M do -s 1400");
    let (far, near) = (e.kind.far, e.kind.near);
    let told = format!("From {OURS}%tun0 icmp_seq=1 Packet too big: mtu=1280");

    // vtunl's datagrams: a router says so, vtunl tells the source; asked once more it knows.
    e.linux.ok("ip link set w0 mtu 1300");
    e.refused(&format!("{too_big} {far}"), &told);
    let exits = e.shell.ok("exits");
    assert!(exits.contains(" 1300 "), "{exits}");
    e.refused(&format!("{too_big} {far}"), "message too long, mtu: 1280");
    e.linux.ok("ip -6 route flush cache");
    e.refused(&format!("{too_big} {far}"), &told);
    e.ping(2, fits);
    e.linux.ok("ip -6 route flush cache");
    e.flow("tcp", 300);

    // Linux's datagrams, the same.
    e.linux.ok("ip link set w0 mtu 1500");
    e.linux.ok("ip link set tun0 mtu 1300");
    let back = format!("{too_big} {near}");
    e.refused_at_last_back(&back, "mtu");
    e.ping_back(2, fits);
    e.flow_back("tcp", 300);
}

/// RFC 4213 3.2.2: on a path narrower than 1280 outer datagrams go in fragments, on the way
/// from Linux in random order and doubled.
fn fragments(e: &mut Ends) {
    e.guest.ok("ip tunnel del t0");
    tunnel(&mut e.guest, e.kind, "nopmtudisc");
    e.guest.ok("ip link set eth0 mtu 700");
    e.guest.ok("ip link set t0 mtu 1280");
    let netem = "limit 10000 delay 3ms 3ms duplicate 20%";
    e.guest
        .ok(&format!("tc qdisc add dev eth0 root netem {netem}"));
    e.flow_back("udp", 500);
    e.guest.ok("tc qdisc del dev eth0 root");
    assert!(e.counter("ipReasmOKs") > 50);

    // vtunl's: what finds the path narrow is lost, and its source not told.
    e.linux.ok("ip link set w0 mtu 700");
    e.linux
        .ok("ip route change 2001:db8:2::/64 dev tun0 src 2001:db8:1::1 mtu 1280");
    let (ok, first) = e.here(&format!("ping -c 1 -W 1 -s 1232 {}", e.kind.far));
    assert!(!ok && !first.contains("From "), "{first}");
    e.answered_at_last("-s 1232");
    e.ping(3, "-s 1232");
    e.ping_back(3, "-s 1232");
    e.flow("udp", 500);
}

/// RFC 4443 section 3, through the tunnel: who has no port, no way, no hops left.
fn errors_inside(e: &mut Ends) {
    let refused = format!("python3 {LIBRARY}/flow.py refused");
    let (far, near) = (e.kind.far, e.kind.near);
    let (ok, said) = e.here(&format!("{refused} {far} 5009"));
    assert!(ok, "{said}");
    e.guest.ok(&format!("{refused} {near} 5009"));

    e.guest.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    e.guest.ok("ip route add unreachable 2001:db8:2::99");
    let no_way = format!("From {far} icmp_seq=1 Destination unreachable");
    e.refused("2001:db8:2::99", &no_way);
    e.guest.ok("ip route add 2001:db8:2::8:0/112 dev t0");
    e.refused(
        "-t 1 2001:db8:2::8:1",
        &format!("From {far} icmp_seq=1 Time exceeded"),
    );
}

/// RFC 4213 3.4: an error about an outer datagram, told to the inner source by ICMPv6.
fn errors_outside(e: &mut Ends) {
    e.linux.ok("ip route add unreachable 10.9.0.2");
    let told = format!("From {OURS}%tun0 icmp_seq=1 Destination unreachable: Address unreachable");
    e.refused(e.kind.far, &told);
    e.linux.ok("ip route del unreachable 10.9.0.2");
    e.shell.ok("exits set theirs ttl 1");
    e.ttls = &["64", "1"];
    e.refused(e.kind.far, &told);
    e.shell.ok("exits set theirs ttl 64");
    e.ping_back(2, "");
}

/// What an administrator gives the route, so that the first datagram fits.
fn configured_mtu(e: &Ends) {
    let mtu = 1500 - e.kind.overhead;
    e.linux.ok(&format!(
        "ip route change 2001:db8:2::/64 dev tun0 src 2001:db8:1::1 mtu {mtu}"
    ));
}
