//! The tunnel is configured while datagrams go through it at full rate: none of a target
//! that does not change is lost, doubled or sent elsewhere (the paper, section 2: tables
//! shared by all instances; Table 3).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dlpi::Links;
use dlpi::link::null::{Null, NullCount};
use dlpi::link::{Link, Medium};
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Kernel, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::decap_table::DECAP_IF_DST;
use vtunl::encap_table::ENCAP_S;

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
    let others = std::thread::scope(|s| {
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
        let changer = s.spawn(|| change_everything(&k, &done));
        for t in senders {
            t.join().expect("no panic");
        }
        done.store(true, Ordering::Release);
        changer.join().expect("no panic")
    });
    k.advance(Duration::from_secs(10));
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
    // What was left there is there, in order, and nothing else.
    let there: Vec<Ipv4Addr> = targets.iter().map(|r| r.addr).collect();
    let steady = steady.map(ip).into_iter();
    let want: Vec<Ipv4Addr> = steady.chain(others).collect();
    assert_eq!(there, want);
}

/// Adds, changes, removes, dumps and lets expire, all but the steady targets, until it is
/// told to stop and has done each. Enough targets that tables grow and shrink on the way.
/// Says what is there at the end.
fn change_everything(k: &Kernel, done: &AtomicBool) -> BTreeSet<Ipv4Addr> {
    const OTHERS: u32 = 6000;
    let p = k.process(Cred::ROOT);
    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    let vt = Client::new(&p, ctl);
    let mut there = BTreeSet::new();
    let mut n = 0u32;
    while !done.load(Ordering::Acquire) || n < OTHERS {
        // A rising tide, then a falling one.
        let (falling, i) = (n / OTHERS % 2 == 1, n % OTHERS);
        let other = Ipv4Addr::from(u32::from(ip("10.7.1.0")) + i.wrapping_mul(7) % OTHERS);
        let exit = Ipv4Addr::from(u32::from(ip("10.5.0.2")) + i % 5);
        let short = i % 5 == 4; // ends by itself
        if falling {
            let gone = vt.encap_rem(other, Ipv4Addr::BROADCAST, None);
            assert_eq!(gone.is_ok(), there.remove(&other), "{other}");
            let _ = vt.decap_rem(other, Ipv4Addr::BROADCAST); // not all are there
        } else {
            let binding = Binding {
                flags: if i.is_multiple_of(3) { ENCAP_S } else { 0 },
                lifetime: u32::from(short),
                ..Binding::new(other, exit)
            };
            vt.encap_add(&binding).expect("ENCAP_ADD");
            vt.decap_add(other, Ipv4Addr::BROADCAST, DECAP_IF_DST)
                .expect("DECAP_ADD");
            if !short {
                there.insert(other);
            }
        }
        if i % 500 == 499 {
            k.advance(Duration::from_secs(2)); // many end at once
            assert!(vt.targets().expect("targets").len() >= there.len());
            assert!(!vt.exits().expect("exits").is_empty());
            vt.decap_targets().expect("decapsulation targets");
        }
        n += 1;
    }
    there
}
