//! IPv6 in the tunnel: sit.

use crate::LIBRARY;
use crate::Test;
use crate::ends::Ends;

pub const TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("udp_and_tcp", udp_and_tcp),
    ("errors_inside", errors_inside),
];

/// RFC 4213 3.5: as one piece and in fragments of the source's making.
fn ping_of_several_sizes(e: &mut Ends) {
    configured_mtu(e);
    for size in [0, 56, 999, 1232, 1432, 4000] {
        e.ping(&format!("-c 3 -s {size}"));
        e.ping_back(&format!("-c 3 -s {size}"));
    }
}

fn udp_and_tcp(e: &mut Ends) {
    configured_mtu(e);
    e.flow("udp", 500);
    e.flow_back("udp", 500);
    e.flow("tcp", 2000);
    e.flow_back("tcp", 2000);
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

/// What an administrator gives the route, so that the first datagram fits.
fn configured_mtu(e: &Ends) {
    e.linux
        .ok("ip route change 2001:db8:2::/64 dev tun0 src 2001:db8:1::1 mtu 1480");
}
