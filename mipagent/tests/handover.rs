//! Two mobile nodes, one of which hands over while both receive a stream.
//!
//! ```text
//!   cn ──w1── ha ──w2── a, b          a goes from w2 to w3, b stays
//!             │└───w3── (a)
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use mipagent::home::{HomeAgent, code};
use mipagent::message::{Key, Reply, Request};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};
use vtunl::client::Client;

const NET: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const AGENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

struct Host {
    k: Kernel,
    p: Process,
}

fn host(n: u8, links: &[(&Wire, [u8; 4])]) -> Host {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let port = |(i, l): (usize, &(&Wire, [u8; 4]))| (l.0.clone(), [8, 0, 0x20, 0, i as u8, n]);
    dlpi::register_wire(&k, "le", links.iter().enumerate().map(port).collect()).expect("names");
    let p = k.process(Cred::ROOT);
    for (i, l) in links.iter().enumerate() {
        let name = plumb::plumb(&p, "/dev/le", &[], i as u32).expect("plumb");
        plumb::set_address(&p, &name, l.1.into()).expect("address");
        plumb::set_netmask(&p, &name, NET).expect("netmask");
        plumb::up(&p, &name).expect("up");
    }
    Host { k, p }
}

impl Host {
    /// Figure 2(a), with `addr` on ip0.
    fn tunnel(&self, from: Ipv4Addr, addr: Ipv4Addr) {
        let p = &self.p;
        let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
        p.push(fd, "vtunl").expect("push");
        Client::new(p, fd)
            .setconf_transport(from, 4)
            .expect("SETCONF");
        plumb::plumb_fd(p, fd, "/dev/ip", 0).expect("plumb");
        plumb::set_address(p, "ip0", addr).expect("address");
        plumb::set_destination(p, "ip0", DUMMY).expect("destination");
        plumb::up(p, "ip0").expect("up");
    }

    fn udp(&self, port: u16) -> i32 {
        let how = oflag::O_RDWR | oflag::O_NONBLOCK;
        let fd = self.p.open("/dev/udp", how).expect("open");
        let req = tpi::bind_req(&tpi::sockaddr_bytes(port, 0));
        self.p.putmsg(fd, Some(&req), None, false).expect("bind");
        self.p.getmsg(fd, 64, 64, false).expect("ack");
        fd
    }

    fn send(&self, fd: i32, to: Ipv4Addr, port: u16, data: &[u8]) {
        let to = tpi::unitdata_req(&tpi::sockaddr_bytes(port, to.into()));
        self.p
            .putmsg(fd, Some(&to), Some(data), false)
            .expect("sent");
    }

    fn got(&self, fd: i32) -> Option<Vec<u8>> {
        self.p.getmsg(fd, 64, 2048, false).ok()?.data
    }
}

fn settle(hosts: &[&Host]) {
    while hosts.iter().map(|h| h.k.run_until_idle()).sum::<usize>() > 0 {}
}

fn mobile(n: u8, w2: &Wire, w3: &Wire) -> (Host, Ipv4Addr, Key) {
    let h = host(n, &[(w2, [10, 2, 0, n]), (w3, [10, 3, 0, n])]);
    plumb::down(&h.p, "le1").expect("down");
    plumb::route_add(&h.p, ANY, ANY, [10, 2, 0, 1].into(), 1).expect("route");
    let home = Ipv4Addr::new(10, 1, 0, n);
    h.tunnel([10, 2, 0, n].into(), home);
    let ctl = h.p.open("/dev/vtunl", oflag::O_RDWR).expect("open");
    Client::new(&h.p, ctl).decap_all(true).expect("DECAP_ADD");
    let key = Key {
        spi: 256 + u32::from(n),
        secret: vec![n; 16],
    };
    (h, home, key)
}

#[test]
fn one_hands_over_and_the_other_loses_nothing() {
    // RFC 5944 3.6, 3.8; codes 131 and 133 of 3.4; replay: 5.7.1.
    let (w1, w2, w3) = (Wire::default(), Wire::default(), Wire::default());
    let cn = host(9, &[(&w1, [10, 1, 0, 9])]);
    let ha = host(
        1,
        &[
            (&w1, [10, 1, 0, 1]),
            (&w2, [10, 2, 0, 1]),
            (&w3, [10, 3, 0, 1]),
        ],
    );
    ha.tunnel(AGENT, AGENT);
    let ((a, a_home, a_key), (b, b_home, b_key)) = (mobile(71, &w2, &w3), mobile(72, &w2, &w3));
    let all = [&cn, &ha, &a, &b];
    let mut agent = HomeAgent::new(&ha.p, AGENT, [8, 0, 0x20, 0, 0, 1], DUMMY, 300).expect("434");
    agent.serve(a_home, a_key.clone());
    agent.serve(b_home, b_key.clone());
    let (reg_a, reg_b) = (a.udp(5000), b.udp(5000));
    let mut ask = |h: &Host, fd: i32, request: &[u8], key: &Key| -> Reply {
        h.send(fd, AGENT, 434, request);
        settle(&all);
        agent.poll(Duration::from_secs(1000)).expect("served");
        settle(&all);
        let reply = h.got(fd).expect("a reply");
        assert_eq!(Reply::proven(&reply, key), Some(true));
        Reply::parse(&reply).expect("a reply")
    };
    let request = |home, care_of: [u8; 4], lifetime, n: u64| Request {
        flags: 0,
        lifetime,
        home,
        agent: AGENT,
        care_of: care_of.into(),
        id: 1000 << 32 | n,
    };
    let first = request(a_home, [10, 2, 0, 71], 600, 1).emit(&a_key);
    let forged = request(a_home, [10, 2, 0, 72], 600, 2).emit(&b_key);
    assert_eq!(ask(&b, reg_b, &forged, &a_key).code, code::AUTHENTICATION);
    let reply = ask(&a, reg_a, &first, &a_key);
    assert_eq!(
        (reply.code, reply.lifetime, reply.id),
        (0, 300, 1000 << 32 | 1)
    );
    assert_eq!(ask(&a, reg_a, &first, &a_key).code, code::IDENTIFICATION);
    let stay = request(b_home, [10, 2, 0, 72], 600, 1).emit(&b_key);
    assert_eq!(ask(&b, reg_b, &stay, &b_key).code, code::ACCEPTED);

    let (from, to_a, to_b) = (cn.udp(1000), a.udp(2000), b.udp(2000));
    for n in 0..90u8 {
        if n == 30 {
            plumb::down(&a.p, "le0").expect("down");
            plumb::up(&a.p, "le1").expect("up");
            let _ = plumb::route_delete(&a.p, ANY, ANY, [10, 2, 0, 1].into());
            plumb::route_add(&a.p, ANY, ANY, [10, 3, 0, 1].into(), 1).expect("route");
        }
        if n == 35 {
            let moved = request(a_home, [10, 3, 0, 71], 600, 3).emit(&a_key);
            assert_eq!(ask(&a, reg_a, &moved, &a_key).code, code::ACCEPTED);
        }
        cn.send(from, a_home, 2000, &[n]);
        cn.send(from, b_home, 2000, &[n]);
        settle(&all);
    }
    let came = |h: &Host, fd| {
        std::iter::from_fn(|| h.got(fd))
            .flatten()
            .collect::<Vec<u8>>()
    };
    assert_eq!(
        came(&b, to_b),
        (0..90).collect::<Vec<u8>>(),
        "{:?}",
        ha.k.drops()
    );
    // Lost is what was sent between leaving and the registration, nothing else.
    let kept: Vec<u8> = (0..30).chain(35..90).collect();
    assert_eq!(came(&a, to_a), kept, "{:?} {:?}", ha.k.drops(), a.k.drops());

    // Back home: deregistered, no longer answered for.
    let bye = request(a_home, a_home.octets(), 0, 4).emit(&a_key);
    assert_eq!(ask(&a, reg_a, &bye, &a_key).code, code::ACCEPTED);
    let ours = plumb::arp_table(&ha.p).expect("table");
    assert!(ours.iter().all(|e| e.addr != a_home));
    assert!(ours.iter().any(|e| e.addr == b_home));
}

#[test]
fn each_code_of_a_home_agent_and_the_end_of_a_lifetime() {
    // RFC 5944 3.4, 3.8.2, 3.8.3; RFC 3024 3.4 for 137.
    let (w1, w2, w3) = (Wire::default(), Wire::default(), Wire::default());
    let at = [(&w1, [10, 1, 0, 1]), (&w2, [10, 2, 0, 1])];
    let ha = host(1, &at);
    ha.tunnel(AGENT, AGENT);
    let (a, home, key) = mobile(71, &w2, &w3);
    let mut agent = HomeAgent::new(&ha.p, AGENT, [8, 0, 0x20, 0, 0, 1], DUMMY, 300).expect("434");
    agent.serve(home, key.clone());
    let fd = a.udp(5000);
    let mut n = 0;
    let mut code = |flags, to: Ipv4Addr, exit: u8, time: u64, tail: &[u8]| {
        n += 1;
        let r = Request {
            flags,
            lifetime: 60,
            home,
            agent: to,
            care_of: [10, 2, 0, exit].into(),
            id: time << 32 | n,
        };
        let mut b = r.emit(&key);
        b.splice(24..24, tail.iter().copied());
        a.send(fd, AGENT, 434, &b);
        settle(&[&ha, &a]);
        agent.poll(Duration::from_secs(1000)).expect("served");
        settle(&[&ha, &a]);
        Reply::parse(&a.got(fd).expect("a reply")).expect("a reply")
    };
    assert_eq!(
        code(0, AGENT, 71, 1000, &[200, 0]).code,
        code::AUTHENTICATION
    );
    assert_eq!(code(0, AGENT, 71, 1000, &[200, 99]).code, code::MALFORMED);
    assert_eq!(code(0, DUMMY, 71, 1000, &[]).code, code::UNKNOWN_AGENT);
    assert_eq!(code(0x02, AGENT, 71, 1000, &[]).code, code::REVERSE_TUNNEL);
    let late = code(0, AGENT, 71, 900, &[]);
    assert_eq!((late.code, late.id >> 32), (code::IDENTIFICATION, 1000));
    for exit in 0..8 {
        assert_eq!(
            code(0x80, AGENT, 100 + exit, 1001, &[]).code,
            code::ACCEPTED
        );
    }
    assert_eq!(code(0x80, AGENT, 120, 1001, &[]).code, code::TOO_MANY);
    let served = || {
        plumb::arp_table(&ha.p)
            .expect("table")
            .iter()
            .any(|e| e.addr == home)
    };
    assert!(served());
    ha.k.advance(Duration::from_secs(61));
    agent.poll(Duration::from_secs(1061)).expect("served");
    assert!(!served());
}
