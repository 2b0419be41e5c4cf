//! /dev/tcp: two emulated hosts on a wire connect, talk and part. tihdr(7P), RFC 793.

use std::net::Ipv4Addr;

use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};

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

/// A /dev/tcp stream bound to a port, with a queue of connections so long.
fn tcp(p: &Process, port: u16, qlen: u32) -> i32 {
    let fd = p
        .open("/dev/tcp", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let mut req = tpi::bind_req(&tpi::sockaddr_bytes(port, 0));
    req[12..16].copy_from_slice(&qlen.to_ne_bytes());
    assert_eq!(ask(p, fd, &req)[0], tpi::BIND_ACK);
    fd
}

fn ask(p: &Process, fd: i32, req: &[u8]) -> Vec<u32> {
    p.putmsg(fd, Some(req), None, false).expect("putmsg");
    next(p, fd)
}

/// The words of the next control part.
fn next(p: &Process, fd: i32) -> Vec<u32> {
    let c = p.getmsg(fd, 256, 0, false).expect("a message").ctl;
    let c = c.expect("a control part");
    c.chunks_exact(4)
        .map(|w| u32::from_ne_bytes(w.try_into().expect("four")))
        .collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

#[test]
fn connect_accept_talk_and_release() {
    let w = Wire::default();
    let ((ka, a), (kb, b)) = (host(1, &[&w]), host(2, &[&w]));
    up(&a, 0, "10.0.0.1", "255.255.255.0");
    up(&b, 0, "10.0.0.2", "255.255.255.0");
    let (listener, acceptor) = (tcp(&b, 7000, 2), tcp(&b, 0, 0));
    let fd = tcp(&a, 0, 0);
    let to = tpi::sockaddr_bytes(7000, ip("10.0.0.2").into());
    assert_eq!(ask(&a, fd, &tpi::conn_req(&to))[0], tpi::OK_ACK);
    settle(&[&ka, &kb]);
    assert_eq!(next(&a, fd)[0], 12, "T_CONN_CON");
    let ind = next(&b, listener);
    assert_eq!(ind[0], 11, "T_CONN_IND");
    // A sequence number that was never given is refused (TBADSEQ).
    let cap = ask(&b, acceptor, &bytes(&[30, 2]));
    let id = *cap.last().expect("ACCEPTOR_id");
    assert_eq!(ask(&b, listener, &bytes(&[1, id, 0, 0, ind[5] + 9]))[2], 7);
    assert_eq!(
        ask(&b, listener, &bytes(&[1, id, 0, 0, ind[5]]))[0],
        tpi::OK_ACK
    );
    // More than a window, both ends' contents compared.
    let data: Vec<u8> = (0..200_000u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..2000 {
        if sent < data.len() {
            let end = (sent + 4000).min(data.len());
            sent += a.write(fd, &data[sent..end]).unwrap_or(0);
        }
        settle(&[&ka, &kb]);
        while let Ok(m) = b.getmsg(acceptor, 64, 65536, false) {
            got.extend(m.data.unwrap_or_default());
        }
        if got.len() == data.len() {
            break;
        }
        ka.advance(std::time::Duration::from_millis(20));
        kb.advance(std::time::Duration::from_millis(20));
    }
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    // Orderly release both ways.
    a.putmsg(fd, Some(&bytes(&[10])), None, false)
        .expect("T_ORDREL_REQ");
    settle(&[&ka, &kb]);
    assert_eq!(next(&b, acceptor), [23], "T_ORDREL_IND");
    b.putmsg(acceptor, Some(&bytes(&[10])), None, false)
        .expect("T_ORDREL_REQ");
    settle(&[&ka, &kb]);
    assert_eq!(next(&a, fd), [23], "T_ORDREL_IND");
}

/// RFC 793 3.4: a connection to a port that nobody has is reset.
#[test]
fn a_port_nobody_has_refuses() {
    let w = Wire::default();
    let ((ka, a), (kb, b)) = (host(1, &[&w]), host(2, &[&w]));
    up(&a, 0, "10.0.0.1", "255.255.255.0");
    up(&b, 0, "10.0.0.2", "255.255.255.0");
    let (_other, fd) = (tcp(&b, 7000, 1), tcp(&a, 0, 0));
    let to = tpi::sockaddr_bytes(7001, ip("10.0.0.2").into());
    assert_eq!(ask(&a, fd, &tpi::conn_req(&to))[0], tpi::OK_ACK);
    settle(&[&ka, &kb]);
    assert_eq!(next(&a, fd)[0], 13, "T_DISCON_IND");
}
