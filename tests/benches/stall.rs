//! How long a datagram waits for configuration: a million targets, one thread that sends,
//! and another that adds, removes and dumps at full rate.
//!
//! ```text
//!   sender    write(/dev/ip) ─► route ─► ip0 ─ vtunl ─ /dev/ip ─► null       each one timed
//!   changer   ioctl(/dev/vtunl) one after another                           no lock in common
//! ```
//!
//! `cargo bench -p vtunl-tests --bench stall`. With and without a changer in turn; medians of
//! the rounds. What the machine does to a thread (another program's turn, an interrupt) is in
//! all of them, so the figures say something only beside one another, and on a machine with
//! a processor for each of the two threads.
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dlpi::Links;
use dlpi::link::null::Null;
use dlpi::link::{Link, Medium};
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::decap_table::DECAP_IF_DST;
use vtunl::ioctl::{VTUNL_ENCAP_GETX, VTUNL_EXIT_GETX};

const TARGETS: u32 = 1_000_000;
const ROUNDS: usize = 7;
const SENT: usize = 200_000;

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

fn target(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(ip("11.0.0.0")) + n)
}

/// A host with a tunnel, and a stream into it.
fn lab(k: &Kernel) -> Process {
    ipmod::register(k).expect("names");
    vtunl::register(k).expect("names");
    let make = |_| Ok(Box::new(Null::new(Medium::PointToPoint)) as Box<dyn Link>);
    dlpi::register(k, "pt", Links::new(Box::new(make))).expect("a name");
    let p = k.process(Cred::ROOT);
    let pt0 = plumb::plumb(&p, "/dev/pt", &[], 0).expect("plumb");
    plumb::set_address(&p, &pt0, ip("10.1.0.1")).expect("address");
    plumb::set_destination(&p, &pt0, ip("10.1.0.2")).expect("destination");
    plumb::up(&p, &pt0).expect("up");
    let none = Ipv4Addr::UNSPECIFIED;
    plumb::route_add(&p, none, none, ip("10.1.0.2"), 0).expect("default");
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    p.push(fd, "vtunl").expect("push");
    let c = Client::new(&p, fd);
    c.setconf_transport(ip("10.1.0.1"), 4).expect("SETCONF");
    plumb::plumb_fd(&p, fd, "/dev/ip", 0).expect("plumb");
    plumb::set_address(&p, "ip0", ip("10.1.0.1")).expect("address");
    plumb::set_destination(&p, "ip0", ip("192.0.2.1")).expect("destination");
    plumb::up(&p, "ip0").expect("up");
    let net = ip("255.0.0.0");
    plumb::route_add(&p, ip("11.0.0.0"), net, ip("192.0.2.1"), 0).expect("into the tunnel");
    p
}

/// Sends, and says what share of the datagrams took longest, microseconds.
fn send(k: &Kernel, raw: i32, p: &Process) -> [f64; 4] {
    let h = wire::header(60, 17, 64, 0, 1, ip("10.1.0.1").into(), target(1).into());
    let datagram = [&h[..], &[7; 40]].concat();
    let mut took: Vec<u32> = (0..SENT)
        .map(|_| {
            let start = Instant::now();
            p.write(raw, &datagram).expect("sent");
            start.elapsed().as_nanos() as u32
        })
        .collect();
    took.sort_unstable();
    assert!(k.drops().is_empty(), "{:?}", k.drops());
    [0.5, 0.99, 0.9999, 1.0].map(|s| f64::from(took[((SENT - 1) as f64 * s) as usize]) / 1e3)
}

/// What a changer does, as often as it can.
type Change = fn(&Process, i32, u32);

fn add_and_remove(p: &Process, ctl: i32, n: u32) {
    let vt = Client::new(p, ctl);
    let other = target(2 + n.wrapping_mul(7919) % (2 * TARGETS));
    let exit = Ipv4Addr::from(u32::from(ip("10.5.0.1")) + n % 1000);
    if n.is_multiple_of(2) {
        vt.encap_add(&Binding::new(other, exit)).expect("ENCAP_ADD");
    } else {
        let _ = vt.encap_rem(other, Ipv4Addr::BROADCAST, None); // ENXIO: it wasn't there
    }
    vt.decap_add(other, Ipv4Addr::BROADCAST, DECAP_IF_DST)
        .expect("DECAP_ADD");
}

fn dump(p: &Process, ctl: i32, n: u32) {
    let mut page = vec![0; 0xffff];
    page[..4].copy_from_slice(&(n.wrapping_mul(128) % TARGETS).to_ne_bytes());
    let cmd = if n.is_multiple_of(4) {
        VTUNL_EXIT_GETX
    } else {
        VTUNL_ENCAP_GETX
    };
    p.i_str(ctl, cmd, &page).expect("a page");
}

/// Targets that end in the same second, 5000 at a time, and what is left of them removed.
fn expire(p: &Process, ctl: i32, n: u32) {
    let vt = Client::new(p, ctl);
    let other = target(3 * TARGETS + n % 5000);
    let binding = Binding {
        lifetime: 1,
        ..Binding::new(other, ip("10.5.0.1"))
    };
    vt.encap_add(&binding).expect("ENCAP_ADD");
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let k = Kernel::with_config(Config::default()).expect("a kernel");
    let p = lab(&k);
    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    let vt = Client::new(&p, ctl);
    let fill = |n: u32| {
        let exit = Ipv4Addr::from(u32::from(ip("10.5.0.1")) + n % 64);
        vt.encap_add(&Binding::new(target(n), exit)).expect("added");
    };
    let each = |n: u32, f: &dyn Fn(u32)| {
        let start = Instant::now();
        (0..n).for_each(f);
        start.elapsed().as_nanos() as f64 / f64::from(n)
    };
    // As many as there are, or some all over the table, are taken away and put back.
    let turn = |targets: u32| {
        let (n, step) = (targets.min(20_000), targets / targets.min(20_000));
        let (mut rem, mut add) = (f64::MAX, f64::MAX);
        for _ in 0..if targets < 20_000 { 50 } else { 5 } {
            let none = Ipv4Addr::BROADCAST;
            rem = rem.min(each(n, &|i| {
                vt.encap_rem(target(i * step), none, None).expect("removed");
            }));
            add = add.min(each(n, &|i| fill(i * step)));
        }
        println!("by ioctl, among {targets:>7} targets: add {add:.0} ns, remove {rem:.0} ns");
    };
    (0..1000).for_each(fill);
    turn(1000);
    (1000..TARGETS).for_each(fill);
    turn(TARGETS);
    let raw = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], 255).to_vec();
    p.putmsg(raw, Some(&bind), None, false).expect("bind");
    p.getmsg(raw, 64, 0, false).expect("ack");

    let nothing: Change = |_, _, _| std::thread::sleep(Duration::from_millis(1));
    let kinds: [(&str, Change); 4] = [
        ("no configuration", nothing),
        ("adds and removals", add_and_remove),
        ("dumps", dump),
        ("expiries", expire),
    ];
    let mut all: Vec<Vec<[f64; 4]>> = vec![Vec::new(); kinds.len()];
    let mut done = vec![0; kinds.len()];
    for _ in 0..if quick { 1 } else { ROUNDS } {
        for (i, (_, change)) in kinds.iter().enumerate() {
            let (stop, changes) = (AtomicBool::new(false), AtomicU32::new(0));
            let took = std::thread::scope(|s| {
                s.spawn(|| {
                    let p = k.process(Cred::ROOT);
                    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
                    while !stop.load(Ordering::Acquire) {
                        change(&p, ctl, changes.fetch_add(1, Ordering::Relaxed));
                    }
                });
                let took = send(&k, raw, &p);
                stop.store(true, Ordering::Release);
                took
            });
            all[i].push(took);
            done[i] += changes.load(Ordering::Relaxed);
        }
    }
    println!("a datagram takes, us         median    99 %   99.99 %   longest   changes");
    for ((name, _), (rounds, done)) in kinds.iter().zip(all.iter().zip(done)) {
        let mid = |what: usize| {
            let mut v: Vec<f64> = rounds.iter().map(|r| r[what]).collect();
            v.sort_by(f64::total_cmp);
            v[v.len() / 2]
        };
        let [a, b, c, d] = [mid(0), mid(1), mid(2), mid(3)];
        println!("{name:<24}{a:>11.2}{b:>8.2}{c:>10.1}{d:>10.1}{done:>10}");
    }
    let start = Instant::now();
    vt.encap_rem_all().expect("ENCAP_REM");
    println!("all targets removed in {:?}", start.elapsed());
}
