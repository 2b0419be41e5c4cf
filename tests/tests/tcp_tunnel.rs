//! A TCP conversation between two emulated programs, through the tunnel, over a wire that
//! loses, doubles and reorders: Figure 1 of the paper complete; RFC 793, RFC 2003.
//!
//! ```text
//!   program ─ /dev/tcp ─ ip ─ ip0 vtunl ══ le0 ~~~ le0 ══ vtunl ip0 ─ ip ─ /dev/tcp ─ program
//!                                     protocol 4    protocol 6 on the way back
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::fault::{Faults, Faulty};
use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

/// A host with le0 on the wire, and a tunnel with `inner` as the address of ip0.
fn host(n: u8, wire: &Wire, inner: &str) -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let wire = wire.clone();
    let make = move |_| {
        let faults = Faults {
            seed: u64::from(n),
            loss: 0.02,
            duplicate: 0.01,
            reorder: 0.02,
            reorder_by: Duration::from_millis(3),
            ..Faults::default()
        };
        let port = wire.port([8, 0, 0x20, 0, 0, n]);
        Ok(Box::new(Faulty::new(port, faults)) as Box<dyn Link>)
    };
    dlpi::register(&k, "le", Links::new(Box::new(make))).expect("a name");
    let p = k.process(Cred::ROOT);
    let own = Ipv4Addr::new(10, 9, 0, n);
    let le0 = plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, &le0, own).expect("address");
    plumb::set_netmask(&p, &le0, ip("255.255.255.0")).expect("netmask");
    plumb::up(&p, &le0).expect("up");
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    p.push(fd, "vtunl").expect("push");
    Client::new(&p, fd)
        .setconf_transport(own, 4)
        .expect("SETCONF_TRANSPORT");
    plumb::plumb_fd(&p, fd, "/dev/ip", 0).expect("plumb");
    plumb::set_address(&p, "ip0", ip(inner)).expect("address");
    plumb::set_destination(&p, "ip0", ip("192.0.2.1")).expect("destination");
    plumb::up(&p, "ip0").expect("up");
    p.close(fd).expect("close");
    (k, p)
}

/// A /dev/tcp stream bound to a port, with a queue of connections so long.
fn tcp(p: &Process, port: u16, qlen: u32) -> i32 {
    let fd = p
        .open("/dev/tcp", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let mut req = tpi::bind_req(&tpi::sockaddr_bytes(port, 0));
    req[12..16].copy_from_slice(&qlen.to_ne_bytes());
    p.putmsg(fd, Some(&req), None, false).expect("bind");
    assert_eq!(next(p, fd).map(|w| w[0]), Some(tpi::T_BIND_ACK));
    fd
}

/// The words of the next control part, if there is one.
fn next(p: &Process, fd: i32) -> Option<Vec<u32>> {
    let c = p.getmsg(fd, 256, 0, false).ok()?.ctl?;
    let word = |w: &[u8]| u32::from_ne_bytes(w.try_into().expect("four"));
    Some(c.chunks_exact(4).map(word).collect())
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

#[test]
fn a_megabyte_through_the_tunnel_over_a_bad_wire() {
    let wire = Wire::default();
    let (ka, a) = host(1, &wire, "10.9.0.1");
    let (kb, b) = host(2, &wire, "10.2.0.1");
    plumb::route_add(&a, ip("10.2.0.1"), Ipv4Addr::BROADCAST, ip("192.0.2.1"), 0).expect("route");
    let ctl = a.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    Client::new(&a, ctl)
        .encap_add(&Binding::new(ip("10.2.0.1"), ip("10.9.0.2")))
        .expect("ENCAP_ADD");
    let ctl = b.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    Client::new(&b, ctl).decap_all(true).expect("DECAP_ADD");

    let turn = || {
        while ka.run_until_idle() + kb.run_until_idle() > 0 {}
        ka.advance(Duration::from_millis(5));
        kb.advance(Duration::from_millis(5));
    };
    let wait = |p: &Process, fd: i32| {
        (0..20_000).find_map(|_| {
            turn();
            next(p, fd)
        })
    };
    let (listener, acceptor, fd) = (tcp(&b, 7000, 1), tcp(&b, 0, 0), tcp(&a, 0, 0));
    let to = tpi::sockaddr_bytes(7000, ip("10.2.0.1").into());
    a.putmsg(fd, Some(&tpi::conn_req(&to)), None, false)
        .expect("T_CONN_REQ");
    assert_eq!(next(&a, fd).map(|w| w[0]), Some(tpi::T_OK_ACK));
    assert_eq!(wait(&a, fd).map(|w| w[0]), Some(12), "T_CONN_CON");
    let ind = wait(&b, listener).expect("T_CONN_IND");
    b.putmsg(
        acceptor,
        Some(&bytes(&[tpi::T_CAPABILITY_REQ, 2])),
        None,
        false,
    )
    .expect("T_CAPABILITY_REQ");
    let id = *next(&b, acceptor)
        .expect("T_CAPABILITY_ACK")
        .last()
        .expect("ACCEPTOR_id");
    b.putmsg(
        listener,
        Some(&bytes(&[tpi::T_CONN_RES, id, 0, 0, ind[5]])),
        None,
        false,
    )
    .expect("T_CONN_RES");
    assert_eq!(next(&b, listener).map(|w| w[0]), Some(tpi::T_OK_ACK));

    let data: Vec<u8> = (0..1_000_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..200_000 {
        if sent < data.len() {
            let end = (sent + 4000).min(data.len());
            sent += a.write(fd, &data[sent..end]).unwrap_or(0);
        }
        turn();
        while let Ok(m) = b.getmsg(acceptor, 64, 65_536, false) {
            got.extend(m.data.unwrap_or_default());
        }
        if got.len() == data.len() {
            break;
        }
    }
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    let ctl = a.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    let stats = Client::new(&a, ctl).stats().expect("stats");
    let through = stats
        .iter()
        .find(|s| s.0 == "encapsulated")
        .map_or(0, |s| s.1);
    assert!(through > 600, "{through} datagrams went through the tunnel");
    a.putmsg(fd, Some(&bytes(&[tpi::T_ORDREL_REQ])), None, false)
        .expect("T_ORDREL_REQ");
    assert_eq!(wait(&b, acceptor), Some(vec![23]), "T_ORDREL_IND");
}
