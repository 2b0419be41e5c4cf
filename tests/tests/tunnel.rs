//! The paper's tunnel on emulated hosts: correspondent, home agent, foreign agent and
//! mobile host, every hop through real streams.
//!
//! ```text
//!   cn ──w1── ha ══════ w2 ══════ fa ──w3── mh      mh's home address is on w1's net
//!             encapsulates       decapsulates
//! ```

use std::net::Ipv4Addr;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Errno, Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

struct Host {
    k: Kernel,
    p: Process,
}

fn host(n: u8, wires: &[&Wire]) -> Host {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let ports = wires
        .iter()
        .enumerate()
        .map(|(i, w)| ((*w).clone(), [8, 0, 0x20, 0, i as u8, n]));
    dlpi::register_wire(&k, "le", ports.collect()).expect("names");
    let p = k.process(Cred::ROOT);
    Host { k, p }
}

impl Host {
    fn up(&self, ppa: u32, addr: &str) {
        let name = plumb::plumb(&self.p, "/dev/le", &[], ppa).expect("plumb");
        plumb::set_address(&self.p, &name, ip(addr)).expect("address");
        plumb::set_netmask(&self.p, &name, ip("255.255.255.0")).expect("netmask");
        plumb::up(&self.p, &name).expect("up");
    }

    /// Figure 2(a): vtunl between /dev/ip and ip, then `ifconfig ip0 ADDR DST up`.
    fn tunnel(&self, addr: &str, dummy: &str) {
        let p = &self.p;
        let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
        p.push(fd, "vtunl").expect("push vtunl");
        Client::new(p, fd)
            .setconf_transport(ip(addr), 4)
            .expect("SETCONF_TRANSPORT");
        let name = plumb::plumb_fd(p, fd, "/dev/ip", 0).expect("plumb");
        assert_eq!(name, "ip0");
        plumb::set_address(p, "ip0", ip(addr)).expect("address");
        plumb::set_destination(p, "ip0", ip(dummy)).expect("destination");
        plumb::up(p, "ip0").expect("up");
        p.close(fd).expect("close");
    }

    fn control(&self) -> i32 {
        self.p
            .open("/dev/vtunl", oflag::O_RDWR)
            .expect("control stream")
    }

    fn route(&self, dst: &str, mask: &str, gw: &str) {
        plumb::route_add(&self.p, ip(dst), ip(mask), ip(gw), 0).expect("route");
    }

    fn udp(&self, port: u16) -> i32 {
        let fd = self
            .p
            .open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
        let req = tpi::bind_req(&tpi::sockaddr_bytes(port, 0));
        self.p.putmsg(fd, Some(&req), None, false).expect("bind");
        let ack = self
            .p
            .getmsg(fd, 64, 64, false)
            .expect("ack")
            .ctl
            .expect("control part");
        assert_eq!(tpi::words(&ack)[0], tpi::BIND_ACK);
        fd
    }

    fn send(&self, fd: i32, to: &str, port: u16, data: &[u8]) {
        let req = tpi::unitdata_req(&tpi::sockaddr_bytes(port, ip(to).into()));
        self.p
            .putmsg(fd, Some(&req), Some(data), false)
            .expect("sent");
    }

    fn got(&self, fd: i32) -> Result<Vec<u8>, Errno> {
        self.p
            .getmsg(fd, 64, 70_000, false)
            .map(|g| g.data.unwrap_or_default())
    }
}

fn settle(hosts: &[&Host]) {
    while hosts.iter().map(|h| h.k.run_until_idle()).sum::<usize>() > 0 {}
}

#[test]
fn a_datagram_goes_through_the_tunnel_and_comes_out_whole() {
    // The paper, section 2 and Figure 2(a).
    let (w1, w2, w3) = (Wire::default(), Wire::default(), Wire::default());
    let (cn, ha) = (host(1, &[&w1]), host(2, &[&w1, &w2]));
    let (fa, mh) = (host(3, &[&w2, &w3]), host(4, &[&w3]));
    cn.up(0, "10.1.0.9");
    ha.up(0, "10.1.0.1");
    ha.up(1, "10.2.0.1");
    fa.up(0, "10.2.0.2");
    fa.up(1, "10.3.0.1");
    mh.up(0, "10.3.0.77");
    cn.route("10.9.0.0", "255.255.255.0", "10.1.0.1");
    mh.route("0.0.0.0", "0.0.0.0", "10.3.0.1");
    fa.route("10.1.0.0", "255.255.255.0", "10.2.0.1");
    // The mobile host has its home address on lo0's side too: its own second interface.
    mh.route("10.9.0.0", "255.255.255.0", "10.3.0.1");

    ha.tunnel("10.2.0.1", "10.9.0.254");
    fa.tunnel("10.2.0.2", "10.9.0.253");
    ha.route("10.3.0.77", "255.255.255.255", "10.9.0.254");
    cn.route("10.3.0.0", "255.255.255.0", "10.1.0.1");

    let ctl = ha.control();
    let vt = Client::new(&ha.p, ctl);
    let (from, to) = (cn.udp(1000), mh.udp(2000));
    let all = [&cn, &ha, &fa, &mh];

    // Nobody serves the target yet: encapsulation is denied.
    cn.send(from, "10.3.0.77", 2000, b"denied");
    settle(&all);
    assert_eq!(mh.got(to), Err(Errno::EAGAIN));
    assert_eq!(ha.k.drops().len(), 1, "{:?}", ha.k.drops());

    vt.encap_add(&Binding::new(ip("10.3.0.77"), ip("10.2.0.2")))
        .expect("ENCAP_ADD");
    cn.send(from, "10.3.0.77", 2000, b"not decapsulated");
    settle(&all);
    assert_eq!(mh.got(to), Err(Errno::EAGAIN));
    assert_eq!(fa.k.drops().len(), 1, "{:?}", fa.k.drops());

    let fctl = fa.control();
    Client::new(&fa.p, fctl)
        .decap_all(true)
        .expect("DECAP_ADD 0");
    cn.send(from, "10.3.0.77", 2000, b"through the tunnel");
    settle(&all);
    assert_eq!(
        mh.got(to),
        Ok(b"through the tunnel".to_vec()),
        "{:?} {:?} {:?}",
        ha.k.drops(),
        fa.k.drops(),
        mh.k.drops()
    );

    // Larger than the tunnel's MTU: in pieces, and whole again at the far end.
    let big: Vec<u8> = (0..6000u32).map(|i| i as u8).collect();
    cn.send(from, "10.3.0.77", 2000, &big);
    settle(&all);
    let whole = mh.got(to) == Ok(big);
    assert!(
        whole,
        "{:?} {:?} {:?}",
        ha.k.drops(),
        fa.k.drops(),
        mh.k.drops()
    );
}
