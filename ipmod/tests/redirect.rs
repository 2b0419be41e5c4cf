//! ICMP redirects between emulated hosts: RFC 792, RFC 1122 3.2.2.2, RFC 1812 5.2.7.2; the
//! reference's ip-tpi 8.2 and 8.3.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};

const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

/// A host on one wire, 10.0.0.n.
fn host(n: u8, wire: &Wire) -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    dlpi::register_wire(&k, "le", vec![(wire.clone(), [8, 0, 0x20, 0, 0, n])]).expect("le");
    let p = k.process(Cred::ROOT);
    let le0 = plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, &le0, Ipv4Addr::new(10, 0, 0, n)).expect("address");
    plumb::set_netmask(&p, &le0, ip("255.255.255.0")).expect("netmask");
    plumb::up(&p, &le0).expect("up");
    (k, p)
}

/// A host, the router it knows, and the better one to 192.0.2.0.
struct Net {
    k: [Kernel; 3],
    p: [Process; 3],
    fd: i32,
}

fn net() -> Net {
    let w = Wire::default();
    let [(ka, a), (kr, r), (kb, b)] = [1, 2, 3].map(|n| host(n, &w));
    plumb::route_add(&a, NONE, NONE, ip("10.0.0.2"), 0).expect("default");
    let (net, mask) = (ip("192.0.2.0"), ip("255.255.255.0"));
    plumb::route_add(&r, net, mask, ip("10.0.0.3"), 0).expect("by the better router");
    let fd = a
        .open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let bind = tpi::bind_req(&tpi::sockaddr_bytes(1000, 0));
    a.putmsg(fd, Some(&bind), None, false).expect("bind");
    a.getmsg(fd, 64, 64, false).expect("ack");
    Net {
        k: [ka, kr, kb],
        p: [a, r, b],
        fd,
    }
}

impl Net {
    fn settle(&self) {
        while self.k.iter().map(|k| k.run_until_idle()).sum::<usize>() > 0 {}
    }
    fn send(&self, to: &str) {
        let req = tpi::unitdata_req(&tpi::sockaddr_bytes(9, ip(to).into()));
        self.p[0]
            .putmsg(self.fd, Some(&req), Some(b"x"), false)
            .expect("sent");
        self.settle();
    }
    /// The line of a host route in the host's table.
    fn learnt(&self, dst: &str) -> Option<String> {
        let all = plumb::nd_get(&self.p[0], "ip_ire_status").expect("report");
        all.lines().find(|l| l.contains(dst)).map(str::to_owned)
    }
}

fn counter(p: &Process, name: &str) -> u64 {
    let all = plumb::nd_get(p, "ip_mib").expect("mib");
    let line = all.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn a_router_tells_of_the_better_one_and_forwards_all_the_same() {
    // RFC 1812 5.2.7.2
    let n = net();
    n.send("192.0.2.7");
    assert_eq!(counter(&n.p[1], "ipForwDatagrams"), 1);
    assert_eq!(
        counter(&n.p[2], "ipInReceives"),
        1,
        "it came to the better router"
    );
    let line = n.learnt("192.0.2.7").expect("a host route");
    assert!(line.contains("10.0.0.3"), "{line}");
    // The next goes straight there.
    n.send("192.0.2.7");
    assert_eq!(counter(&n.p[1], "ipForwDatagrams"), 1);
    assert_eq!(counter(&n.p[2], "ipInReceives"), 2);
    // Only that host: others of the net are still asked for at the router.
    n.send("192.0.2.8");
    assert_eq!(counter(&n.p[1], "ipForwDatagrams"), 2);
}

#[test]
fn a_redirect_is_believed_for_a_minute() {
    // ip_ire_redirect_interval, ip-tpi.md 8.3
    let n = net();
    n.send("192.0.2.7");
    n.k[0].advance(Duration::from_secs(59));
    assert!(n.learnt("192.0.2.7").is_some());
    n.k[0].advance(Duration::from_secs(2));
    assert_eq!(n.learnt("192.0.2.7"), None);
}

#[test]
fn both_sides_can_be_told_not_to() {
    // ip_send_redirects, ip_ignore_redirect
    let n = net();
    plumb::nd_set(&n.p[0], "ip_ignore_redirect", "1").expect("ndd");
    n.send("192.0.2.7");
    assert_eq!(n.learnt("192.0.2.7"), None);
    assert_eq!(counter(&n.p[0], "icmpInBadRedirects"), 1);
    let n = net();
    plumb::nd_set(&n.p[1], "ip_send_redirects", "0").expect("ndd");
    n.send("192.0.2.7");
    assert_eq!(n.learnt("192.0.2.7"), None);
    assert_eq!(counter(&n.p[1], "icmpOutMsgs"), 0);
}

/// A redirect made by hand, sent to the host by whoever `from` is.
fn forged(n: &Net, who: usize, gateway: &str, about_src: &str) {
    let num = |a: &str| u32::from(ip(a));
    let quoted = wire::header(28, 17, 64, 0, 1, num(about_src), num("192.0.2.7"));
    let mut icmp = vec![5, 1, 0, 0];
    icmp.extend(num(gateway).to_be_bytes());
    icmp.extend(quoted);
    icmp.extend([0; 8]);
    let sum = wire::checksum(&icmp);
    wire::put16(&mut icmp, 2, sum);
    let h = wire::header(20 + icmp.len(), 1, 64, 0, 2, 0, num("10.0.0.1"));
    let p = &n.p[who];
    let fd = p
        .open("/dev/ip", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], 255).to_vec();
    p.putmsg(fd, Some(&bind), None, false).expect("bind");
    p.getmsg(fd, 64, 0, false).expect("ack");
    p.write(fd, &[&h[..], &icmp].concat()).expect("sent");
    n.settle();
}

#[test]
fn strangers_are_not_believed() {
    // RFC 1122 3.2.2.2: from the router in use, to a neighbour, about our own datagrams
    let n = net();
    forged(&n, 2, "10.0.0.3", "10.0.0.1"); // not the router in use
    forged(&n, 1, "172.16.0.1", "10.0.0.1"); // no neighbour
    forged(&n, 1, "10.0.0.1", "10.0.0.1"); // ourselves
    forged(&n, 1, "10.0.0.3", "10.0.0.9"); // not our datagram
    assert_eq!(n.learnt("192.0.2.7"), None);
    assert_eq!(counter(&n.p[0], "icmpInBadRedirects"), 4);
    forged(&n, 1, "10.0.0.3", "10.0.0.1");
    assert!(n.learnt("192.0.2.7").is_some(), "this one is right");
}
