//! Whoever has the tables, datagrams pass.

use std::io;
use std::net::Ipv4Addr;

use dlpi::Links;
use dlpi::link::null::Null;
use dlpi::link::{Link, Medium};
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};

use super::*;
use crate::client::{Binding, Client};
use crate::ioctl::VTUNL_ENCAP_SIZE;
use crate::personality::register_with;

fn ip(a: &str) -> Ipv4Addr {
    a.parse().unwrap()
}

/// A host with a tunnel to one target, a stream that sends into it, and the module's stream.
fn lab(control: &Arc<Control>) -> (Kernel, Process, i32, i32, dlpi::link::null::NullCount) {
    let k = Kernel::with_config(Config::test()).unwrap();
    ipmod::register(&k).unwrap();
    register_with(&k, control).unwrap();
    let link = Null::new(Medium::PointToPoint);
    let count = link.count();
    let mut link = Some(Box::new(link));
    let make = move |_| match link.take() {
        Some(l) => Ok(l as Box<dyn Link>),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    dlpi::register(&k, "pt", Links::new(Box::new(make))).unwrap();
    let p = k.process(Cred::ROOT);
    let pt0 = plumb::plumb(&p, "/dev/pt", &[], 0).unwrap();
    plumb::set_address(&p, &pt0, ip("10.1.0.1")).unwrap();
    plumb::set_destination(&p, &pt0, ip("10.1.0.2")).unwrap();
    plumb::up(&p, &pt0).unwrap();
    let none = Ipv4Addr::UNSPECIFIED;
    plumb::route_add(&p, none, none, ip("10.1.0.2"), 0).unwrap();
    let tunnel = p.open("/dev/ip", oflag::O_RDWR).unwrap();
    p.push(tunnel, "vtunl").unwrap();
    Client::new(&p, tunnel)
        .setconf_transport(ip("10.1.0.1"), 4)
        .unwrap();
    // Another one, that nothing is linked over: its stream can be asked.
    let fd = p.open("/dev/ip", oflag::O_RDWR).unwrap();
    p.push(fd, "vtunl").unwrap();
    Client::new(&p, fd)
        .setconf_transport(ip("10.1.0.1"), 47)
        .unwrap();
    plumb::plumb_fd(&p, tunnel, "/dev/ip", 0).unwrap();
    plumb::set_address(&p, "ip0", ip("10.1.0.1")).unwrap();
    plumb::set_destination(&p, "ip0", ip("192.0.2.1")).unwrap();
    plumb::up(&p, "ip0").unwrap();
    let host = Ipv4Addr::BROADCAST;
    plumb::route_add(&p, ip("10.7.0.1"), host, ip("192.0.2.1"), 0).unwrap();
    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    Client::new(&p, ctl)
        .encap_add(&Binding::new(ip("10.7.0.1"), ip("10.5.0.1")))
        .unwrap();
    let raw = p.open("/dev/ip", oflag::O_RDWR).unwrap();
    let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], 255).to_vec();
    p.putmsg(raw, Some(&bind), None, false).unwrap();
    p.getmsg(raw, 64, 0, false).unwrap();
    (k, p, raw, fd, count)
}

/// The paper, section 2: the tables are shared by all instances; readers never block on
/// writers. The writer here is stopped while it has the tables.
#[test]
fn datagrams_pass_while_somebody_has_the_tables() {
    let control = Arc::<Control>::default();
    let (k, p, raw, fd, count) = lab(&control);
    let (src, dst) = (ip("10.1.0.1").into(), ip("10.7.0.1").into());
    let h = wire::header(60, 17, 64, 0, 1, src, dst);
    let datagram = [&h[..], &[7; 40]].concat();
    let before = count.frames();
    let stopped = control.state.lock();
    for _ in 0..100 {
        p.write(raw, &datagram).unwrap();
    }
    assert_eq!(count.frames() - before, 100, "{:?}", k.drops());
    // A module comes and goes, too, and its stream may ask; the answer comes when it can.
    let other = p.open("/dev/ip", oflag::O_RDWR).unwrap();
    p.push(other, "vtunl").unwrap();
    p.close(other).unwrap();
    let answer = std::thread::scope(|s| {
        let p = &p;
        let asks = s.spawn(move || p.i_str(fd, VTUNL_ENCAP_SIZE, &[0; 4]));
        // Whatever the other thread has got to: the datagram passes.
        p.write(raw, &datagram).unwrap();
        drop(stopped);
        asks.join().unwrap()
    });
    assert_eq!(answer.unwrap().data, (8 + 12 + 4 + 10u32).to_ne_bytes());
    assert_eq!(count.frames() - before, 101);
    assert!(k.drops().is_empty(), "{:?}", k.drops());
}
