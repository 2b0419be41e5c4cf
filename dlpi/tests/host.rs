//! The links that need the host: TUN, TAP, packet sockets, in a namespace of their own.
//!
//! ```text
//!   this test ─ unshare -Urn ─► itself again:  Client ─ /dev/tun ─► tun ─► Linux's stack
//!                                              Client ─ /dev/tap ─► tap ─► Linux's ARP
//!                                              Client ─ /dev/eth ─► v0 ══ v1 ◄─ /dev/eth
//! ```
//!
//! Where the host forbids it the test says SKIPPED and why.
#![allow(missing_docs)]

mod namespace;

use std::io;
use std::process::Command;

use dlpi::addr::{Dlsap, Mac};
use dlpi::client::Client;
use dlpi::link::packet::Packet;
use dlpi::link::tap::Tap;
use dlpi::link::tun::{Tun, TunOptions};
use dlpi::link::{Link, Medium};
use dlpi::prim::{DL_PROMISC_PHYS, DlErrno, Prim, SAP_ARP, SAP_IP, note};
use dlpi::{Links, client};
use namespace::{inside, ip, veth};
use streams::{Cred, Kernel};

fn device(
    k: &Kernel,
    name: &'static str,
    make: impl FnMut(u32) -> io::Result<Box<dyn Link>> + Send + 'static,
) {
    dlpi::register(k, name, Links::new(Box::new(make))).expect("a free name");
}

/// RFC 1071.
fn checksum(b: &[u8]) -> [u8; 2] {
    let words = b
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)));
    let mut s: u32 = words.sum();
    while s > 0xffff {
        s = (s & 0xffff) + (s >> 16);
    }
    (!(s as u16)).to_be_bytes()
}

/// An ICMP echo request.
fn echo(src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'h', b'i'];
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    let mut h = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, 1, 0, 0];
    h.extend_from_slice(&src);
    h.extend_from_slice(&dst);
    let sum = checksum(&h);
    h[10..12].copy_from_slice(&sum);
    [h, icmp].concat()
}

/// Receives until something is wanted.
fn until(c: &Client<'_>, wanted: impl Fn(&client::Datagram) -> bool) -> client::Datagram {
    loop {
        let d = c.recv().expect("within the time");
        if wanted(&d) {
            return d;
        }
    }
}

#[test]
fn linux_answers_a_ping_through_tun() {
    if !inside("linux_answers_a_ping_through_tun") {
        return;
    }
    let k = Kernel::new().expect("a kernel");
    let p = k.process(Cred::ROOT);
    device(&k, "tun", |ppa| match ppa {
        0 => {
            let options = TunOptions {
                mtu: Some(1400),
                ..TunOptions::named("emu0")
            };
            Ok(Box::new(Tun::with(&options)?))
        }
        1 => Ok(Box::new(Tun::open("a-name-that-is-too-long")?)),
        _ => Ok(Box::new(Tun::open("emu0")?)),
    });
    let c = Client::open(&p, "/dev/tun", Some(0)).expect("attached");
    c.bind(SAP_IP).expect("bound");
    let info = c.info().expect("info");
    assert_eq!((info.max_sdu, info.is_point_to_point()), (1400, true));
    ip("addr add 10.9.0.1/24 dev emu0");
    let request = echo([10, 9, 0, 2], [10, 9, 0, 1]);
    c.send(&[], &request).expect("sent");
    let reply = |d: &client::Datagram| d.data.get(9) == Some(&1) && d.data.get(20) == Some(&0);
    let got = until(&c, reply);
    assert_eq!(got.data[24..], request[24..]);
    c.fast_path(&[]).expect("a header of no bytes");
    c.send_frame(&request).expect("sent");
    assert!(until(&c, reply).dest.is_empty());
    // A name that would be cut, and one that is busy.
    for ppa in [1, 2] {
        match Client::open(&p, "/dev/tun", Some(ppa)) {
            Err(client::Error::Dl(_, e)) => assert_eq!(e.errno, DlErrno::INITFAILED),
            _ => panic!("PPA {ppa} attached"),
        }
    }
}

#[test]
fn a_descriptor_from_elsewhere_is_looked_at() {
    if !inside("a_descriptor_from_elsewhere_is_looked_at") {
        return;
    }
    let tun = Tun::open("emu1").expect("a TUN");
    let fd = || {
        tun.fd()
            .expect("a descriptor")
            .try_clone_to_owned()
            .expect("a copy")
    };
    let again = Tun::from_fd(fd()).expect("the same TUN");
    assert_eq!(
        (again.name(), again.medium()),
        ("emu1", Medium::PointToPoint)
    );
    assert!(Tap::from_fd(fd(), None).is_err(), "no TAP");
    let pipe = io::pipe().expect("a pipe");
    assert!(Tun::from_fd(pipe.0.into()).is_err(), "no TUN");
}

#[test]
fn an_interface_stays_if_it_is_told_to_and_has_its_address() {
    if !inside("an_interface_stays_if_it_is_told_to_and_has_its_address") {
        return;
    }
    let there = |name: &str| {
        std::path::Path::new("/proc/sys/net/ipv4/conf")
            .join(name)
            .exists()
    };
    let options = TunOptions {
        persist: true,
        address: Some(([10, 9, 3, 1].into(), [255, 255, 255, 0].into())),
        ..TunOptions::named("emu3")
    };
    drop(Tun::with(&options).expect("a TUN"));
    assert!(there("emu3"), "TUNSETPERSIST");
    let routes = std::fs::read_to_string("/proc/net/fib_trie").expect("the routes");
    assert!(routes.contains("10.9.3.1"), "{routes}");
    // Taken up again without a word about it, it still stays.
    drop(Tun::open("emu3").expect("the same TUN"));
    assert!(there("emu3"));
    let tun = Tun::open("emu3").expect("the same TUN");
    tun.persist(false).expect("TUNSETPERSIST");
    drop(tun);
    assert!(!there("emu3"));
}

#[test]
fn what_the_host_makes_of_an_interface_is_told() {
    if !inside("what_the_host_makes_of_an_interface_is_told") {
        return;
    }
    veth("v0", "v1");
    let k = Kernel::new().expect("a kernel");
    let p = k.process(Cred::ROOT);
    device(&k, "tun", |_| Ok(Box::new(Tun::open("emu5")?)));
    device(&k, "eth", |_| Ok(Box::new(Packet::open("v0")?)));
    for (path, name) in [("/dev/tun", "emu5"), ("/dev/eth", "v0")] {
        let c = Client::open(&p, path, Some(0)).expect("attached");
        c.bind(SAP_IP).expect("bound");
        let notes = note::DL_NOTE_LINK_UP | note::DL_NOTE_LINK_DOWN | note::DL_NOTE_SDU_SIZE;
        c.request(&Prim::NotifyReq {
            notifications: notes,
            timelimit: 0,
        })
        .expect("an acknowledgement");
        let told = || match c.indication() {
            Ok(Prim::NotifyInd {
                notification, data, ..
            }) => (notification, data),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(told(), (note::DL_NOTE_LINK_UP, 0), "{path}");
        assert_eq!(told(), (note::DL_NOTE_SDU_SIZE, 1500));
        ip(&format!("link set {name} mtu 1300"));
        assert_eq!(told(), (note::DL_NOTE_SDU_SIZE, 1300));
        assert_eq!(c.info().expect("info").max_sdu, 1300);
        ip(&format!("link set {name} down"));
        assert_eq!(told(), (note::DL_NOTE_LINK_DOWN, 0));
        ip(&format!("link set {name} up"));
        assert_eq!(told(), (note::DL_NOTE_LINK_UP, 0));
    }
}

#[test]
fn a_packet_socket_that_nobody_reads_counts_what_it_loses() {
    if !inside("a_packet_socket_that_nobody_reads_counts_what_it_loses") {
        return;
    }
    veth("v0", "v1");
    let (mut a, b) = (
        Packet::open("v0").expect("a socket"),
        Packet::open("v1").expect("a socket"),
    );
    assert_eq!(b.lost(), 0);
    let mut frame = vec![0xff; 1400];
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    // Until its buffer is full, and so much more that it must lose some.
    for _ in 0..100_000 {
        let _ = a.send(&frame); // the interface's queue may be full for a moment
        if b.lost() > 10 {
            break;
        }
    }
    let lost = b.lost();
    assert!(lost > 10, "{lost}");
    assert!(b.lost() >= lost, "it is a sum");
}

/// The parent makes the interface and hands the descriptor over by its number; the child,
/// which is this test again, does not open /dev/net/tun.
#[test]
fn a_parent_hands_a_descriptor_over() {
    use std::os::fd::{AsRawFd, OwnedFd};
    const NUMBER: &str = "DLPI_TEST_FD";
    if let Ok(number) = std::env::var(NUMBER) {
        let fd = dlpi::sys::duplicate(number.parse().expect("a number")).expect("it is open");
        let mut fd = Some(Tun::from_fd(fd).expect("a TUN"));
        let k = Kernel::new().expect("a kernel");
        let p = k.process(Cred::ROOT);
        device(&k, "tun", move |_| match fd.take() {
            Some(tun) => Ok(Box::new(tun)),
            None => Err(io::ErrorKind::NotFound.into()),
        });
        let c = Client::open(&p, "/dev/tun", Some(0)).expect("attached");
        c.bind(SAP_IP).expect("bound");
        let request = echo([10, 9, 4, 2], [10, 9, 4, 1]);
        c.send(&[], &request).expect("sent");
        let reply = |d: &client::Datagram| d.data.get(9) == Some(&1) && d.data.get(20) == Some(&0);
        assert_eq!(until(&c, reply).data[24..], request[24..]);
        return;
    }
    if !inside("a_parent_hands_a_descriptor_over") {
        return;
    }
    let options = TunOptions {
        address: Some(([10, 9, 4, 1].into(), [255, 255, 255, 0].into())),
        ..TunOptions::named("emu4")
    };
    let tun = Tun::with(&options).expect("a TUN");
    let fd: OwnedFd = tun
        .fd()
        .and_then(|f| f.try_clone_to_owned().ok())
        .expect("a descriptor");
    // Standard input is what a child inherits for certain.
    let out = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "a_parent_hands_a_descriptor_over", "--nocapture"])
        .env(NUMBER, io::stdin().as_raw_fd().to_string())
        .stdin(fd)
        .output()
        .expect("the child");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}

#[test]
fn linux_answers_arp_through_tap() {
    if !inside("linux_answers_arp_through_tap") {
        return;
    }
    let k = Kernel::new().expect("a kernel");
    let p = k.process(Cred::ROOT);
    device(&k, "tap", |_| {
        Ok(Box::new(Tap::open(&TunOptions::named("emu%d"), None)?))
    });
    let c = Client::open(&p, "/dev/tap", Some(0)).expect("attached");
    c.bind(SAP_ARP).expect("bound");
    ip("addr add 10.9.1.1/24 dev emu0");
    let mac = c.phys_addr().expect("an address");
    // RFC 826: who has 10.9.1.1, tell 10.9.1.2
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let request = [&head[..], &mac, &[10, 9, 1, 2], &[0; 6], &[10, 9, 1, 1]].concat();
    c.send(
        Dlsap::ether(&[0xff; 6], SAP_ARP as u16).as_slice(),
        &request,
    )
    .expect("sent");
    let got = until(&c, |d| d.data.get(7) == Some(&2));
    assert_eq!(got.data[14..18], [10, 9, 1, 1]);
    assert_eq!((&got.dest[..6], got.group), (&mac[..], false));
}

#[test]
fn two_packet_sockets_talk_over_a_veth_pair() {
    if !inside("two_packet_sockets_talk_over_a_veth_pair") {
        return;
    }
    veth("v0", "v1");
    let k = Kernel::new().expect("a kernel");
    let p = k.process(Cred::ROOT);
    device(&k, "eth", |ppa| {
        Ok(Box::new(Packet::open(&format!("v{ppa}"))?))
    });
    let [a, b] = [0, 1].map(|ppa| Client::open(&p, "/dev/eth", Some(ppa)).expect("attached"));
    for c in [&a, &b] {
        c.bind(0x88b5).expect("bound"); // an experimental type that Linux leaves alone
    }
    let dest = b.dlsap(0x88b5).expect("an address");
    a.send(&dest, &[7; 60]).expect("sent");
    let got = b.recv().expect("it");
    assert_eq!(
        (got.data, got.src),
        (vec![7; 60], a.dlsap(0x88b5).expect("an address"))
    );
    let group: Mac = [1, 0, 0x5e, 1, 2, 3];
    b.multicast(&group, true).expect("enabled");
    a.send(Dlsap::ether(&group, 0x88b5).as_slice(), &[8; 60])
        .expect("sent");
    assert!(b.recv().expect("it").group);
    b.promiscuous(DL_PROMISC_PHYS, true).expect("on");
    a.send(Dlsap::ether(&[2; 6], 0x88b5).as_slice(), &[9; 60])
        .expect("sent");
    assert_eq!(b.recv().expect("it").data, [9; 60]);
    b.promiscuous(DL_PROMISC_PHYS, false).expect("off");
    b.multicast(&group, false).expect("disabled");
    assert!(
        Client::open(&p, "/dev/eth", Some(7)).is_err(),
        "no such interface"
    );
}
