//! Emulated hosts on a wire: plumbing, ARP, forwarding, through system calls alone.

use std::net::Ipv4Addr;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Errno, Kernel, Process, Sys, oflag};

const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

/// A host with one port on each wire: le0, le1, ..
fn host(n: u8, wires: &[&Wire]) -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    let ports = wires
        .iter()
        .enumerate()
        .map(|(i, w)| ((*w).clone(), [8, 0, 0x20, 0, i as u8, n]));
    dlpi::register_wire(&k, "le", ports.collect()).expect("names");
    let p = k.process(Cred::ROOT);
    (k, p)
}

fn up(p: &Process, ppa: u32, addr: &str, mask: &str) -> String {
    let name = plumb::plumb(p, "/dev/le", &[], ppa).expect("plumb");
    plumb::set_address(p, &name, ip(addr)).expect("address");
    plumb::set_netmask(p, &name, ip(mask)).expect("netmask");
    plumb::up(p, &name).expect("up");
    name
}

/// Runs several hosts until none has anything to do.
fn settle(hosts: &[&Kernel]) {
    while hosts.iter().map(|k| k.run_until_idle()).sum::<usize>() > 0 {}
}

fn udp(p: &Process, addr: &str, port: u16) -> i32 {
    let fd = p
        .open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let req = tpi::bind_req(&tpi::sockaddr_bytes(port, ip(addr).into()));
    p.putmsg(fd, Some(&req), None, false).expect("bind");
    let ack = p
        .getmsg(fd, 64, 64, false)
        .expect("ack")
        .ctl
        .expect("control part");
    assert_eq!(tpi::words(&ack)[0], tpi::BIND_ACK);
    fd
}

fn send(p: &Process, fd: i32, to: &str, port: u16, data: &[u8]) {
    let req = tpi::unitdata_req(&tpi::sockaddr_bytes(port, ip(to).into()));
    p.putmsg(fd, Some(&req), Some(data), false).expect("sent");
}

#[test]
fn an_interface_is_plumbed_named_and_unplumbed() {
    // ip-tpi.md 6.1, 6.2
    let w = Wire::default();
    let (k, p) = host(1, &[&w]);
    assert_eq!(up(&p, 0, "10.0.0.1", "255.255.255.0"), "le0");
    let all = plumb::interfaces(&p).expect("list");
    let le0 = all.iter().find(|i| i.name == "le0").expect("le0");
    assert_eq!(
        (le0.addr, le0.broadcast, le0.mtu),
        (ip("10.0.0.1"), ip("10.0.0.255"), 1500)
    );
    assert_eq!(le0.mac, "8:0:20:0:0:1");
    assert_eq!(plumb::plumb(&p, "/dev/le", &[], 0), Err(Errno::EEXIST));
    assert_eq!(plumb::plumb(&p, "/dev/le", &[], 7), Err(Errno::ENXIO));
    assert_eq!(
        k.stacks()
            .iter()
            .filter(|s| s.linked_under.is_some())
            .count(),
        2
    ); // ip and arp
    plumb::unplumb(&p, "le0").expect("unplumb");
    assert_eq!(k.stacks().len(), 0);
    assert_eq!(
        plumb::set_address(&p, "le0", ip("10.0.0.1")),
        Err(Errno::ENXIO)
    );
    assert_eq!(up(&p, 0, "10.0.0.1", "255.255.255.0"), "le0");
}

#[test]
fn two_hosts_resolve_one_another_and_talk() {
    let w = Wire::default();
    let ((ka, a), (kb, b)) = (host(1, &[&w]), host(2, &[&w]));
    up(&a, 0, "10.0.0.1", "255.255.255.0");
    up(&b, 0, "10.0.0.2", "255.255.255.0");
    let (fa, fb) = (udp(&a, "0.0.0.0", 1000), udp(&b, "0.0.0.0", 2000));
    for n in 0..3u8 {
        send(&a, fa, "10.0.0.2", 2000, &[n; 100]);
        settle(&[&ka, &kb]);
        let got = b.getmsg(fb, 64, 1000, false).expect("a datagram");
        assert_eq!(got.data, Some(vec![n; 100]));
        let from = tpi::sockaddr(&got.ctl.expect("control part")[20..36]);
        assert_eq!(from, Some((1000, ip("10.0.0.1").into())));
    }
    let arps = plumb::arp_table(&a).expect("arp");
    assert!(
        arps.iter()
            .any(|e| e.addr == ip("10.0.0.2") && e.mac == "8:0:20:0:0:2"),
        "{arps:?}"
    );
    assert!(ka.drops().is_empty(), "{:?}", ka.drops());
    send(&a, fa, "10.0.0.2", 9, b"nobody");
    settle(&[&ka, &kb]);
    assert_eq!(
        kb.drops().get(&("ip", "no UDP port")),
        Some(&1),
        "{:?}",
        kb.drops()
    );
    // RFC 1122 4.1.3.3: the sender hears of it
    let err = a
        .getmsg(fa, 64, 1000, false)
        .expect("T_UDERROR_IND")
        .ctl
        .expect("control part");
    assert_eq!(tpi::words(&err)[0], 21);
}

#[test]
fn a_router_forwards_and_takes_one_from_the_ttl() {
    let (w1, w2) = (Wire::default(), Wire::default());
    let (ka, a) = host(1, &[&w1]);
    let (kr, r) = host(2, &[&w1, &w2]);
    let (kb, b) = host(3, &[&w2]);
    up(&a, 0, "10.0.1.1", "255.255.255.0");
    up(&r, 0, "10.0.1.2", "255.255.255.0");
    up(&r, 1, "10.0.2.2", "255.255.255.0");
    up(&b, 0, "10.0.2.1", "255.255.255.0");
    plumb::route_add(&a, NONE, NONE, ip("10.0.1.2"), 0).expect("default");
    plumb::route_add(&b, NONE, NONE, ip("10.0.2.2"), 0).expect("default");
    assert_eq!(
        plumb::route_add(&a, NONE, NONE, ip("10.0.1.2"), 0),
        Err(Errno::EEXIST)
    );
    assert_eq!(
        plumb::route_add(&a, NONE, NONE, ip("172.16.0.1"), 0),
        Err(Errno::ENETUNREACH)
    );
    let (fa, fb) = (udp(&a, "0.0.0.0", 1000), udp(&b, "0.0.0.0", 2000));
    send(&a, fa, "10.0.2.1", 2000, b"over the router");
    settle(&[&ka, &kr, &kb]);
    assert_eq!(
        b.getmsg(fb, 64, 1000, false).map(|g| g.data),
        Ok(Some(b"over the router".to_vec()))
    );
    let counters = plumb::counters(&r).expect("mib");
    let get = |n: &str| counters.iter().find(|c| c.0 == n).map(|c| c.1);
    assert_eq!(get("ipForwDatagrams"), Some(1));
    plumb::nd_set(&r, "ip_forwarding", "0").expect("ndd");
    send(&a, fa, "10.0.2.1", 2000, b"not now");
    settle(&[&ka, &kr, &kb]);
    assert_eq!(kr.drops().get(&("ip", "not a router")), Some(&1));
    let user = kr.process(Cred::user(100));
    assert_eq!(
        plumb::nd_set(&user, "ip_forwarding", "1"),
        Err(Errno::EPERM)
    );
}

#[test]
fn a_neighbour_that_does_not_answer_is_given_up() {
    let w = Wire::default();
    let (k, p) = host(1, &[&w]);
    up(&p, 0, "10.0.0.1", "255.255.255.0");
    let fd = udp(&p, "0.0.0.0", 1000);
    send(&p, fd, "10.0.0.9", 9, b"hello?");
    k.advance(std::time::Duration::from_secs(10));
    assert_eq!(
        k.drops().get(&("arp", "no answer to ARP")),
        Some(&1),
        "{:?}",
        k.drops()
    );
}

#[test]
fn our_own_address_is_looped_back() {
    let w = Wire::default();
    let (_k, p) = host(1, &[&w]);
    up(&p, 0, "10.0.0.1", "255.255.255.0");
    let (a, b) = (udp(&p, "0.0.0.0", 1000), udp(&p, "0.0.0.0", 2000));
    for to in ["10.0.0.1", "127.0.0.1"] {
        send(&p, a, to, 2000, b"self");
        assert_eq!(
            p.getmsg(b, 64, 100, false).map(|g| g.data),
            Ok(Some(b"self".to_vec()))
        );
    }
}

/// Sends a datagram as it is (ip-tpi.md 3): header, options and data in one piece.
fn raw(p: &Process, bytes: &[u8]) {
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    assert_eq!(p.write(fd, bytes), Ok(bytes.len()));
    p.close(fd).expect("close");
}

/// A datagram of UDP from port 1000 to 2000.
fn datagram(from: &str, to: &str, frag: u16, options: &[u8], data: &[u8]) -> Vec<u8> {
    use ipmod::wire;
    let ihl = wire::HEADER + options.len();
    let len = ihl + 8 + data.len();
    let mut b = wire::header(len, 17, 64, 0, 0, ip(from).into(), ip(to).into()).to_vec();
    b[0] = 0x40 | (ihl / 4) as u8;
    wire::put16(&mut b, 6, frag);
    b.extend_from_slice(options);
    for w in [1000u16, 2000, data.len() as u16 + 8, 0] {
        b.extend_from_slice(&w.to_be_bytes());
    }
    b.extend_from_slice(data);
    b
}

fn counter(p: &Process, name: &str) -> u64 {
    let all = plumb::counters(p).expect("mib");
    all.iter().find(|c| c.0 == name).map_or(0, |c| c.1)
}

#[test]
fn a_datagram_that_stays_in_pieces_is_given_up_after_a_minute() {
    // RFC 1122 3.3.2: no other fragment has to come for that, and the sender hears of it
    let w = Wire::default();
    let ((ka, a), (kb, b)) = (host(1, &[&w]), host(2, &[&w]));
    up(&a, 0, "10.0.0.1", "255.255.255.0");
    up(&b, 0, "10.0.0.2", "255.255.255.0");
    let fd = udp(&a, "0.0.0.0", 1000);
    raw(
        &a,
        &datagram("10.0.0.1", "10.0.0.2", ipmod::wire::IP_MF, &[], &[7; 16]),
    );
    settle(&[&ka, &kb]);
    assert_eq!(counter(&b, "ipReasmReqds"), 1);
    kb.advance(std::time::Duration::from_secs(59));
    settle(&[&ka, &kb]);
    assert_eq!(counter(&b, "ipReasmFails"), 0);
    kb.advance(std::time::Duration::from_secs(1));
    settle(&[&ka, &kb]);
    assert_eq!(counter(&b, "ipReasmFails"), 1);
    let err = a.getmsg(fd, 64, 100, false).expect("T_UDERROR_IND").ctl;
    assert_eq!(tpi::words(&err.expect("control part"))[0], 21);
}
