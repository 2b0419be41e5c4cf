//! IPv4 in the tunnel: ipip and gre.

use crate::LIBRARY;
use crate::Test;
use crate::ends::{Ends, OURS, tunnel};

pub const TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("tos_and_congestion", tos_and_congestion),
    ("udp_and_tcp", udp_and_tcp),
    ("path_mtu", path_mtu),
    ("fragments", fragments),
    ("errors_inside", errors_inside),
    ("errors_outside", errors_outside),
];

/// What options of GRE make a difference to: its size, and what may be overtaken.
pub const BARE_TESTS: &[(&str, Test)] = &[
    ("ping_of_several_sizes", ping_of_several_sizes),
    ("path_mtu", path_mtu),
    ("fragments", fragments),
];

/// RFC 792, RFC 2003 3.1: from nothing to what is fragmented inside and outside.
fn ping_of_several_sizes(e: &mut Ends) {
    for size in [0, 56, 999, 1400, 1452, 4000, 20000] {
        e.ping(3, &format!("-M dont -s {size}"));
        e.ping_back(3, &format!("-M dont -s {size}"));
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
    e.flow("udp", 500);
    e.flow_back("udp", 500);
    e.flow("tcp", 1000);
    e.flow_back("tcp", 1000);
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
    e.ping(2, &fits);
    e.linux.ok("ip route flush cache");
    e.flow("tcp", 300);

    // Linux's datagrams, the same.
    e.linux.ok("ip link set w0 mtu 1500");
    e.linux.ok("ip link set tun0 mtu 1300");
    let back = format!("{too_big} 10.1.0.1");
    e.refused_at_last_back(&back, &format!("(mtu = {mtu})"));
    e.ping_back(2, &fits);
    e.flow_back("tcp", 300);

    // Out of the tunnel, and too big for the link there: IP says so, through the tunnel.
    e.linux.ok("ip link set tun0 mtu 1500");
    e.guest.ok("ip route flush cache");
    e.shell.ok("ifconfig tun0 mtu 1000");
    let told = format!("From {OURS} icmp_seq=1 Frag needed and DF set (mtu = 1000)");
    e.refused_back("-M do -s 1100 10.1.0.1", &told);
    e.ping_back(2, "-M do -s 972");
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
    let netem = match e.kind.name {
        "gre" => "duplicate 20%",
        _ => "delay 3ms 3ms duplicate 20%",
    };
    e.guest.ok(&format!(
        "tc qdisc add dev eth0 root netem limit 10000 {netem}"
    ));
    e.flow_back("udp", 500);
    e.guest.ok("tc qdisc del dev eth0 root");
    e.ping_back(3, "-M dont -s 2900");
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
    e.ping_back(2, "");
}
