//! The tunnel is configured while datagrams go through it at full rate: none of a target
//! that does not change is lost, doubled or sent elsewhere (the paper, section 2: tables
//! shared by all instances; Table 3).

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use dlpi::Links;
use dlpi::link::null::{Null, NullCount};
use dlpi::link::{Link, Medium};
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Kernel, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::decap_table::DECAP_IF_DST;

/// Datagrams that each sender sends.
const MANY: u32 = 20_000;

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

#[test]
fn no_datagram_of_an_unchanged_target_is_lost() {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let link = Null::new(Medium::PointToPoint);
    let count: NullCount = link.count();
    let mut link = Some(Box::new(link));
    let make = move |_| match link.take() {
        Some(l) => Ok(l as Box<dyn Link>),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    dlpi::register(&k, "pt", Links::new(Box::new(make))).expect("a name");
    let p = k.process(Cred::ROOT);
    let pt0 = plumb::plumb(&p, "/dev/pt", &[], 0).expect("plumb");
    plumb::set_address(&p, &pt0, ip("10.1.0.1")).expect("address");
    plumb::set_destination(&p, &pt0, ip("10.1.0.2")).expect("destination");
    plumb::up(&p, &pt0).expect("up");
    let none = Ipv4Addr::UNSPECIFIED;
    plumb::route_add(&p, none, none, ip("10.1.0.2"), 0).expect("default");
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    p.push(fd, "vtunl").expect("push");
    Client::new(&p, fd)
        .setconf_transport(ip("10.1.0.1"), 4)
        .expect("SETCONF_TRANSPORT");
    plumb::plumb_fd(&p, fd, "/dev/ip", 0).expect("plumb");
    plumb::set_address(&p, "ip0", ip("10.1.0.1")).expect("address");
    plumb::set_destination(&p, "ip0", ip("192.0.2.1")).expect("destination");
    plumb::up(&p, "ip0").expect("up");
    let (net, mask) = (ip("10.7.0.0"), ip("255.255.0.0"));
    plumb::route_add(&p, net, mask, ip("192.0.2.1"), 0).expect("into the tunnel");
    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    let steady = ["10.7.0.1", "10.7.0.2"];
    for t in steady {
        Client::new(&p, ctl)
            .encap_add(&Binding::new(ip(t), ip("10.5.0.1")))
            .expect("ENCAP_ADD");
    }
    let before = count.frames();

    let done = AtomicBool::new(false);
    let changes = std::thread::scope(|s| {
        let senders: Vec<_> = steady
            .iter()
            .map(|to| {
                let k = &k;
                s.spawn(move || {
                    let p = k.process(Cred::ROOT);
                    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
                    let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], 255).to_vec();
                    p.putmsg(fd, Some(&bind), None, false).expect("bind");
                    p.getmsg(fd, 64, 0, false).expect("ack");
                    let (src, dst) = (u32::from(ip("10.1.0.1")), u32::from(ip(to)));
                    let h = wire::header(60, 17, 64, 0, 1, src, dst);
                    let datagram = [&h[..], &[7; 40]].concat();
                    for _ in 0..MANY {
                        p.write(fd, &datagram).expect("sent");
                    }
                })
            })
            .collect();
        let changer = s.spawn(|| {
            let p = k.process(Cred::ROOT);
            let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
            let vt = Client::new(&p, ctl);
            let mut n = 0u32;
            while !done.load(Ordering::Acquire) || n == 0 {
                let other = Ipv4Addr::from(u32::from(ip("10.7.1.0")) + n % 5000);
                vt.encap_add(&Binding::new(other, ip("10.5.0.2")))
                    .expect("ENCAP_ADD");
                if n.is_multiple_of(3) {
                    vt.encap_rem(other, Ipv4Addr::BROADCAST, None)
                        .expect("ENCAP_REM");
                }
                vt.decap_add(other, Ipv4Addr::BROADCAST, DECAP_IF_DST)
                    .expect("DECAP_ADD");
                n += 1;
            }
            n
        });
        for t in senders {
            t.join().expect("no panic");
        }
        done.store(true, Ordering::Release);
        changer.join().expect("no panic")
    });
    k.run_until_idle();
    assert!(changes > 0);
    assert_eq!(
        count.frames() - before,
        2 * u64::from(MANY),
        "{:?}",
        k.drops()
    );
    assert!(k.drops().is_empty(), "{:?}", k.drops());
    let targets = Client::new(&p, ctl).targets().expect("targets");
    for t in steady {
        let row = targets.iter().find(|r| r.addr == ip(t)).expect("its row");
        assert_eq!(row.datagrams, u64::from(MANY), "{t}");
    }
}
