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
        assert_eq!(tpi::words(&ack)[0], tpi::T_BIND_ACK);
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

/// Hears every frame of a wire: attached, bound to IP, promiscuous.
fn snoop(w: &Wire) -> (Host, i32) {
    use dlpi::prim::{DL_PROMISC_PHYS, Prim, SAP_IP};
    let h = host(99, &[w]);
    let fd =
        h.p.open("/dev/le", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
    let level = DL_PROMISC_PHYS;
    for req in [
        Prim::AttachReq { ppa: 0 },
        Prim::bind(SAP_IP),
        Prim::PromisconReq { level },
    ] {
        h.p.putmsg(fd, Some(&req.emit().to_vec()), None, false)
            .expect("request");
        let ack =
            h.p.getmsg(fd, 128, 0, false)
                .expect("ack")
                .ctl
                .expect("control part");
        assert_ne!(ack[..4], 5u32.to_ne_bytes(), "{req:?}"); // DL_ERROR_ACK
    }
    (h, fd)
}

/// The datagrams heard since it was last asked.
fn heard(h: &Host, fd: i32) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| h.p.getmsg(fd, 128, 2000, false).ok().and_then(|g| g.data)).collect()
}

fn addresses(datagram: &[u8]) -> (u8, Ipv4Addr, Ipv4Addr) {
    let h = ipmod::wire::check(datagram, datagram.len()).expect("a sound header");
    (h.proto, h.src.into(), h.dst.into())
}

#[test]
fn figure_3_four_mobile_hosts_three_agents_and_one_of_them_at_two() {
    // The paper, Figure 3.
    let (w1, w2) = (Wire::default(), Wire::default());
    let (cn, ha) = (host(1, &[&w1]), host(2, &[&w1, &w2]));
    let fas = [host(3, &[&w2]), host(4, &[&w2]), host(5, &[&w2])];
    let (ear, fd) = snoop(&w2);
    cn.up(0, "10.1.0.9");
    ha.up(0, "10.1.0.1");
    ha.up(1, "10.2.0.9");
    for (i, fa) in fas.iter().enumerate() {
        fa.up(0, &format!("10.2.0.{}", i + 1));
    }
    cn.route("10.5.0.0", "255.255.255.0", "10.1.0.1");
    ha.tunnel("10.2.0.9", "10.9.0.254");
    ha.route("10.5.0.0", "255.255.255.0", "10.9.0.254");
    let ctl = ha.control();
    let vt = Client::new(&ha.p, ctl);
    let s = vtunl::encap_table::ENCAP_S;
    for (mh, fa, flags) in [(1, 2, 0), (2, 3, 0), (3, 1, 0), (3, 2, s), (4, 2, 0)] {
        let target = ip(&format!("10.5.0.{mh}"));
        let exit = ip(&format!("10.2.0.{fa}"));
        vt.encap_add(&Binding {
            flags,
            ..Binding::new(target, exit)
        })
        .expect("ENCAP_ADD");
    }
    let mut all: Vec<&Host> = fas.iter().collect();
    all.extend([&cn, &ha, &ear]);
    let from = cn.udp(1000);
    for (mh, want) in [(1, &[2][..]), (2, &[3]), (3, &[1, 2]), (4, &[2]), (5, &[])] {
        heard(&ear, fd);
        cn.send(from, &format!("10.5.0.{mh}"), 2000, b"data");
        settle(&all);
        let mut exits: Vec<_> = heard(&ear, fd)
            .iter()
            .filter(|d| addresses(d).0 == 4) // the agents, without vtunl, answer with ICMP
            .map(|d| (addresses(d), addresses(&d[20..])))
            .inspect(|(outer, inner)| {
                assert_eq!((outer.0, outer.1), (4, ip("10.2.0.9")));
                assert_eq!(
                    (inner.1, inner.2),
                    (ip("10.1.0.9"), ip(&format!("10.5.0.{mh}")))
                );
            })
            .map(|(outer, _)| outer.2)
            .collect();
        exits.sort();
        let want: Vec<_> = want.iter().map(|fa| ip(&format!("10.2.0.{fa}"))).collect();
        assert_eq!(exits, want, "MH{mh}");
    }
    assert_eq!(
        ha.k.drops()
            .get(&("vtunl", "no encapsulation for this destination")),
        Some(&1)
    );
    // Table 1's note: without the route the presence of a target is irrelevant.
    plumb::route_delete(&ha.p, ip("10.5.0.0"), ip("255.255.255.0"), ip("10.9.0.254"))
        .expect("delete");
    heard(&ear, fd);
    cn.send(from, "10.5.0.1", 2000, b"data");
    settle(&all);
    assert!(heard(&ear, fd).is_empty());
    assert_eq!(
        ha.k.drops().get(&("ip", "no route")),
        Some(&1),
        "{:?}",
        ha.k.drops()
    );
}

#[test]
fn figure_2b_a_broadcast_of_the_home_net_is_tunnelled_to_who_asked_for_it() {
    // The paper, Figure 2(b); RFC 2002 4.3: nested without D, direct with it.
    use vtunl::encap_table::{ENCAP_B, ENCAP_D};
    let (w1, w2) = (Wire::default(), Wire::default());
    let (cn, ha, fa) = (host(1, &[&w1]), host(2, &[&w1, &w2]), host(3, &[&w2]));
    let (ear, ears) = snoop(&w2);
    cn.up(0, "10.1.0.9");
    ha.up(0, "10.1.0.1");
    ha.up(1, "10.2.0.9");
    fa.up(0, "10.2.0.1");
    let p = &ha.p;
    let fd = p.open("/dev/le", oflag::O_RDWR).expect("open");
    p.push(fd, "vtunl").expect("push");
    let vt = Client::new(p, fd);
    vt.setconf_dlsuser(ip("10.1.0.1"), ip("255.255.255.0"), 0)
        .expect("SETCONF_DLSUSER");
    let name = plumb::plumb_fd(p, fd, "/dev/le", 5).expect("plumb");
    plumb::set_address(p, &name, ip("10.1.0.1")).expect("address");
    plumb::set_destination(p, &name, ip("10.9.0.250")).expect("destination");
    plumb::up(p, &name).expect("up");
    p.close(fd).expect("close");
    let ctl = ha.control();
    let vt = Client::new(p, ctl);
    let from = cn.udp(1000);
    for (flags, nested) in [(ENCAP_B, true), (ENCAP_B | ENCAP_D, false), (0, false)] {
        let mh = Binding {
            flags,
            ..Binding::new(ip("10.1.0.77"), ip("10.2.0.1"))
        };
        vt.encap_add(&mh).expect("ENCAP_ADD");
        heard(&ear, ears);
        cn.send(from, "10.1.0.255", 2000, b"to all");
        settle(&[&cn, &ha, &fa, &ear]);
        let got = heard(&ear, ears);
        if flags == 0 {
            assert!(got.is_empty(), "without B nobody asked for it");
            continue;
        }
        assert_eq!(got.len(), 1, "{:?}", ha.k.drops());
        assert_eq!(
            (addresses(&got[0]).0, addresses(&got[0]).2),
            (4, ip("10.2.0.1"))
        );
        let mut inner = &got[0][20..];
        if nested {
            assert_eq!(
                (addresses(inner).0, addresses(inner).2),
                (4, ip("10.1.0.77"))
            );
            inner = &inner[20..];
        }
        assert_eq!(
            (addresses(inner).0, addresses(inner).2),
            (17, ip("10.1.0.255"))
        );
    }
}

#[test]
fn the_second_subscriber_is_refused_and_the_links_outlive_their_process() {
    // Decisions: EBUSY; the paper, section 2: I_PLINK outlives the process.
    let w = Wire::default();
    let h = host(1, &[&w]);
    h.up(0, "10.2.0.1");
    h.tunnel("10.2.0.1", "10.9.0.254");
    let other = h.k.process(Cred::ROOT);
    let fd = other.open("/dev/ip", oflag::O_RDWR).expect("open");
    other.push(fd, "vtunl").expect("push");
    let vt = Client::new(&other, fd);
    assert_eq!(vt.setconf_transport(ip("10.2.0.1"), 4), Err(Errno::EBUSY));
    drop(other);
    h.p.exit();
    let again = h.k.process(Cred::ROOT);
    assert!(
        plumb::interfaces(&again)
            .expect("list")
            .iter()
            .any(|i| i.name == "ip0")
    );
    plumb::unplumb(&again, "ip0").expect("undone from another process");
    let fd = again.open("/dev/ip", oflag::O_RDWR).expect("open");
    again.push(fd, "vtunl").expect("push");
    Client::new(&again, fd)
        .setconf_transport(ip("10.2.0.1"), 4)
        .expect("free again");
    // Only the one who may configures (EPERM).
    let user = h.k.process(Cred::user(100));
    let ctl = user.open("/dev/vtunl", oflag::O_RDWR).expect("open");
    let vt = Client::new(&user, ctl);
    assert_eq!(
        vt.encap_add(&Binding::new(ip("10.5.0.1"), ip("10.2.0.2"))),
        Err(Errno::EPERM)
    );
    assert_eq!(vt.encap_ok(ip("10.5.0.1")), Ok(false));
}
