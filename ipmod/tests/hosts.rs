//! Emulated hosts on a wire: plumbing, ARP, forwarding, through system calls alone.

use std::net::Ipv4Addr;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi, udp_options as opt};
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
    assert_eq!(tpi::words(&ack)[0], tpi::T_BIND_ACK);
    // Errors are told to who asks for them.
    let ask = [(opt::SOL_SOCKET, opt::SO_DGRAM_ERRIND, 1)];
    let req = tpi::optmgmt_req(opt::T_NEGOTIATE, &ask);
    p.putmsg(fd, Some(&req), None, false).expect("options");
    p.getmsg(fd, 64, 64, false).expect("ack");
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

/// A /dev/ip stream that gets what is for a protocol (ip-tpi.md 2).
fn subscribe(p: &Process, protocol: u8) -> i32 {
    let fd = p
        .open("/dev/ip", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let req = tpi::bind_protocol(tpi::T_BIND_REQ, &[], protocol).to_vec();
    p.putmsg(fd, Some(&req), None, false).expect("bind");
    let ack = p.getmsg(fd, 64, 0, false).expect("ack").ctl;
    assert_eq!(tpi::words(&ack.expect("control part"))[0], tpi::T_BIND_ACK);
    fd
}

/// The next datagram of a subscriber: its header, all of its bytes.
fn next(p: &Process, fd: i32) -> Option<(ipmod::wire::Header, Vec<u8>)> {
    let b = p.getmsg(fd, 0, 70000, false).ok()?.data?;
    Some((ipmod::wire::check(&b, b.len()).expect("sound"), b))
}

/// Three hosts in a row, the middle one a router: 10.0.1.1 - 10.0.1.2 10.0.2.2 - 10.0.2.1.
fn row() -> [(Kernel, Process); 3] {
    let (w1, w2) = (Wire::default(), Wire::default());
    let (a, r, b) = (host(1, &[&w1]), host(2, &[&w1, &w2]), host(3, &[&w2]));
    up(&a.1, 0, "10.0.1.1", "255.255.255.0");
    up(&r.1, 0, "10.0.1.2", "255.255.255.0");
    up(&r.1, 1, "10.0.2.2", "255.255.255.0");
    up(&b.1, 0, "10.0.2.1", "255.255.255.0");
    plumb::route_add(&a.1, NONE, NONE, ip("10.0.1.2"), 0).expect("default");
    plumb::route_add(&b.1, NONE, NONE, ip("10.0.2.2"), 0).expect("default");
    [a, r, b]
}

/// An ICMP query.
fn query(ty: u8, to: &str, options: &[u8], body: &[u8]) -> Vec<u8> {
    use ipmod::wire;
    let ihl = wire::HEADER + options.len();
    let len = ihl + 4 + body.len();
    let mut b = wire::header(len, 1, 64, 0, 0, 0, ip(to).into()).to_vec();
    b[0] = 0x40 | (ihl / 4) as u8;
    b.extend_from_slice(options);
    b.extend_from_slice(&[ty, 0, 0, 0]);
    b.extend_from_slice(body);
    let sum = wire::checksum(&b[ihl..]);
    wire::put16(&mut b, ihl + 2, sum);
    b
}

#[test]
fn queries_are_answered_in_kind() {
    // RFC 792; RFC 950; RFC 1122 3.2.2.9: a router tells the mask, a host does not
    let [(ka, a), (kr, _r), (kb, b)] = row();
    let fd = subscribe(&a, 1);
    let body = [1, 2, 3, 4, 5, 5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0];
    plumb::nd_set(&b, "ip_forwarding", "0").expect("ndd");
    for (ty, to, want) in [
        (8, "10.0.2.1", Some(0)),
        (8, "10.0.1.1", Some(0)), // our own
        (13, "10.0.2.1", Some(14)),
        (17, "10.0.1.2", Some(18)),
        (17, "10.0.2.1", None),
    ] {
        raw(&a, &query(ty, to, &[], &body));
        settle(&[&ka, &kr, &kb]);
        // our own request comes by too, to this subscriber of the same host
        let got = std::iter::from_fn(|| next(&a, fd)).last();
        assert_eq!(got.as_ref().map(|g| g.1[20]), want, "type {ty} to {to}");
        let Some((h, b)) = got else { continue };
        assert_eq!((h.src, h.len), (u32::from(ip(to)), 40), "type {ty}");
        assert_eq!(ipmod::wire::sum(&b[20..]), 0xffff, "type {ty}");
        match ty {
            17 => assert_eq!(b[28..32], [255, 255, 255, 0]),
            13 => assert!(b[32] & b[36] & 0x80 != 0, "not since midnight: {b:x?}"),
            _ => assert_eq!(b[24..], body),
        }
    }
}

#[test]
fn a_route_is_recorded_there_and_back() {
    // RFC 791 3.1, RFC 1122 3.2.2.6
    let [(ka, a), (kr, _r), (kb, _b)] = row();
    let fd = subscribe(&a, 1);
    let mut rr = [0; 20];
    rr[..3].copy_from_slice(&[7, 19, 4]);
    raw(&a, &query(8, "10.0.2.1", &rr, &[0; 4]));
    settle(&[&ka, &kr, &kb]);
    let (h, b) = next(&a, fd).expect("an answer");
    assert_eq!((h.ihl, b[40], b[22]), (40, 0, 16));
    let been: Vec<_> = b[23..35]
        .chunks(4)
        .map(|c| [c[0], c[1], c[2], c[3]])
        .collect();
    assert_eq!(been, [[10, 0, 2, 2], [10, 0, 2, 1], [10, 0, 1, 2]]);
}

#[test]
fn source_routes_are_followed_and_turned_round() {
    // RFC 791 3.1, RFC 1812 5.3.13: 131 loose, 137 strict; code 5 source route failed
    let [(ka, a), (kr, r), (kb, b)] = row();
    let fd = subscribe(&a, 1);
    let ping = |kind: u8, first: &str, then: &str| {
        let option = [&[1, kind, 7, 4], &ip(then).octets()[..]].concat();
        raw(&a, &query(8, first, &option, &[0; 4]));
        settle(&[&ka, &kr, &kb]);
        next(&a, fd).map(|(h, d)| (h.src.into(), d[h.ihl], d[h.ihl + 1]))
    };
    let answer = |from: &str, ty, code| Some((ip(from), ty, code));
    let router = "10.0.1.2";
    assert_eq!(ping(131, router, "10.0.2.1"), answer("10.0.2.1", 0, 0));
    assert_eq!(ping(137, router, "10.0.2.1"), answer("10.0.2.1", 0, 0));
    // A strict hop that is no neighbour; a strict route that leads elsewhere than over us.
    assert_eq!(ping(137, router, "10.9.9.9"), answer(router, 3, 5));
    assert_eq!(ping(137, "10.0.2.1", "10.0.2.9"), answer(router, 3, 5));
    plumb::nd_set(&r, "ip_forward_src_routed", "0").expect("ndd");
    assert_eq!(ping(131, router, "10.0.2.1"), answer(router, 3, 5));
    assert_eq!(kr.drops().get(&("ip", "source route failed")), Some(&3));
    assert_eq!(counter(&b, "icmpInMsgs"), 2);
    // And the parameter problem, with the place of what is wrong.
    raw(
        &a,
        &query(8, "10.0.2.1", &[7, 7, 2, 0, 0, 0, 0, 0], &[0; 4]),
    );
    settle(&[&ka, &kr, &kb]);
    let (_, d) = next(&a, fd).expect("an answer");
    assert_eq!(d[20..25], [12, 0, d[22], d[23], 22]);
}

#[test]
fn parameters_have_ranges_and_reports_are_read_only() {
    // ip-tpi.md 8.3
    let (_k, p) = host(1, &[]);
    let names = plumb::nd_get(&p, "?").expect("names");
    for line in names.lines().filter(|l| l.ends_with("(read and write)")) {
        let name = line.split(' ').next().expect("a name");
        let was = plumb::nd_get(&p, name).expect("a value");
        assert_eq!(plumb::nd_set(&p, name, &was), Ok(()), "{name}");
        assert_eq!(plumb::nd_get(&p, name), Ok(was), "{name}");
        let (minus, huge) = ("-1", "99999999999");
        assert_eq!(plumb::nd_set(&p, name, minus), Err(Errno::EINVAL));
        assert_eq!(plumb::nd_set(&p, name, huge), Err(Errno::EINVAL));
    }
    assert_eq!(plumb::nd_set(&p, "ip_mib", "1"), Err(Errno::EACCES));
    assert_eq!(plumb::nd_set(&p, "ip_no", "1"), Err(Errno::ENOENT));
}

#[test]
fn a_silent_neighbour_is_forgotten_after_twenty_minutes() {
    // ip_ire_arp_interval, ip-tpi.md 8.3; RFC 1122 2.3.2.1
    let w = Wire::default();
    let ((ka, a), (kb, b)) = (host(1, &[&w]), host(2, &[&w]));
    up(&a, 0, "10.0.0.1", "255.255.255.0");
    up(&b, 0, "10.0.0.2", "255.255.255.0");
    let by_hand = ip("10.0.0.7");
    plumb::arp_set(&a, by_hand, Some([9; 6]), true, false).expect("arp -s");
    let fd = udp(&a, "0.0.0.0", 1000);
    send(&a, fd, "10.0.0.2", 2000, b"hello");
    settle(&[&ka, &kb]);
    let known = |who: &str| {
        let all = plumb::arp_table(&a).expect("arp");
        all.iter()
            .any(|e| e.addr == ip(who) && e.mac != "incomplete")
    };
    assert!(known("10.0.0.2") && known("10.0.0.7"));
    ka.advance(std::time::Duration::from_secs(1199));
    assert!(known("10.0.0.2"));
    ka.advance(std::time::Duration::from_secs(62));
    assert!(!known("10.0.0.2") && known("10.0.0.7"));
}

#[test]
fn a_router_tells_the_path_mtu_and_it_is_kept_to() {
    // RFC 1191; ip-tpi.md 2.2 and 3: with DF the sender hears, without it goes in pieces
    let [(ka, a), (kr, r), (kb, b)] = row();
    plumb::set_mtu(&r, "le1", 600).expect("mtu");
    let fd = udp(&a, "0.0.0.0", 1000);
    let to = udp(&b, "0.0.0.0", 2000);
    let probe = |frag: u16, size: usize| {
        raw(
            &a,
            &datagram("10.0.1.1", "10.0.2.1", frag, &[], &vec![5; size]),
        );
        settle(&[&ka, &kr, &kb]);
    };
    probe(ipmod::wire::IP_DF, 1000);
    assert_eq!(
        plumb::nd_get(&a, "ip_pmtu_status").as_deref(),
        Ok("10.0.2.1 600\n")
    );
    assert_eq!(counter(&r, "ipFragFails"), 1);
    let err = a.getmsg(fd, 64, 100, false).expect("T_UDERROR_IND").ctl;
    let err = err.expect("control part");
    assert_eq!(err[20..24], 97u32.to_ne_bytes(), "EMSGSIZE");
    // the second is refused here already
    probe(ipmod::wire::IP_DF, 1000);
    assert_eq!(
        (counter(&r, "ipFragFails"), counter(&a, "ipFragFails")),
        (1, 1)
    );
    // the third is cut here: the router has nothing to cut
    probe(0, 1000);
    assert_eq!((counter(&a, "ipFragOKs"), counter(&r, "ipFragOKs")), (1, 0));
    let got = b.getmsg(to, 64, 2000, false).expect("a datagram").data;
    assert_eq!(got, Some(vec![5; 1000]));
    // ten minutes later it is tried again
    ka.advance(std::time::Duration::from_secs(600));
    probe(ipmod::wire::IP_DF, 1000);
    assert_eq!(counter(&r, "ipFragFails"), 2);
}

#[test]
fn every_ioctl_works_in_its_transparent_form_too() {
    // ip-tpi.md 5.3 "form"; the C programs' way: ioctl(fd, SIOCGIFADDR, &ifreq)
    use ipmod::ioctl::{self as io, ifreq, name_of};
    use streams::{Ioctl, sys::USER_BASE};
    let raw = |p: &Process, fd, cmd, mem: &[u8]| {
        let mem = mem.to_vec();
        let arg = USER_BASE;
        p.ioctl(fd, Ioctl::Raw { cmd, arg, mem }).map(|r| r.data)
    };
    let w = Wire::default();
    let (k, p) = host(1, &[&w]);
    // plumbing: IF_UNITSEL and SIOCGIFFLAGS on the interface stream
    let dev = p.open("/dev/le", oflag::O_RDWR).expect("open");
    p.push(dev, "ip").expect("push");
    raw(&p, dev, io::IF_UNITSEL, &0u32.to_ne_bytes()).expect("IF_UNITSEL");
    assert_eq!(raw(&p, dev, io::IF_UNITSEL, &[0; 4]), Err(Errno::EALREADY));
    let flags = raw(&p, dev, io::SIOCGIFFLAGS, &ifreq("", &[])).expect("flags");
    assert_eq!(name_of(&flags), "le0");
    assert_eq!(
        raw(&p, dev, io::SIOCGIFMTU, &ifreq("", &[])),
        Err(Errno::EINVAL)
    );
    let mux = p.open("/dev/udp", oflag::O_RDWR).expect("open");
    p.ioctl(mux, Ioctl::Plink(dev)).expect("I_PLINK");
    // configuring: on a client stream
    let addr = tpi::sockaddr_bytes(0, ip("10.0.0.1").into());
    raw(&p, mux, io::SIOCSIFADDR, &ifreq("le0", &addr)).expect("address");
    raw(&p, mux, io::SIOCSIFFLAGS, &ifreq("le0", &[1, 0])).expect("up");
    let got = raw(&p, mux, io::SIOCGIFADDR, &ifreq("le0", &[])).expect("get");
    assert_eq!(got[16..32], addr);
    assert_eq!(plumb::flags(&p, "le0").map(|f| f & 0x41), Ok(0x41));
    assert_eq!(
        raw(&p, mux, io::SIOCGIFNUM, &[0; 4]),
        Ok(2u32.to_ne_bytes().to_vec())
    );
    let gw = io::rtentry(0, 0, ip("10.0.0.9").into(), 0);
    raw(&p, mux, io::SIOCADDRT, &gw).expect("route");
    assert_eq!(raw(&p, mux, io::SIOCADDRT, &gw), Err(Errno::EEXIST));
    // ifconf: the list goes elsewhere than its length, cut to whole ifreqs
    for (room, fits) in [(200u32, 64u32), (64, 64), (63, 32), (31, 0)] {
        let mut mem = vec![0; 256];
        mem[..4].copy_from_slice(&room.to_ne_bytes());
        mem[4..8].copy_from_slice(&(USER_BASE as u32 + 16).to_ne_bytes());
        let got = raw(&p, mux, io::SIOCGIFCONF, &mem).expect("ifconf");
        assert_eq!(got[..4], fits.to_ne_bytes());
        let names: Vec<_> = got[16..].chunks(32).map(name_of).collect();
        let all = ["lo0", "le0"];
        assert_eq!(
            names[..2],
            if fits == 64 {
                all
            } else if fits == 32 {
                ["lo0", ""]
            } else {
                ["", ""]
            }
        );
    }
    // errors: memory that is not there, who may not, ndd (I_STR only), no such thing
    assert_eq!(raw(&p, mux, io::SIOCGIFADDR, &[0; 8]), Err(Errno::EFAULT));
    assert_eq!(
        raw(&p, mux, io::SIOCGIFADDR, &ifreq("le9", &[])),
        Err(Errno::ENXIO)
    );
    assert_eq!(raw(&p, mux, io::ND_GET, &[0; 64]), Err(Errno::EINVAL));
    let user = k.process(Cred::user(100));
    let fd = user.open("/dev/udp", oflag::O_RDWR).expect("open");
    assert_eq!(
        raw(&user, fd, io::SIOCSIFADDR, &ifreq("le0", &addr)),
        Err(Errno::EPERM)
    );
    assert!(raw(&user, fd, io::SIOCGIFADDR, &ifreq("le0", &[])).is_ok());
}
