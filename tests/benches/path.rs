//! The whole way of a datagram: link, IP module, route, vtunl, IP driver, output.
//!
//! ```text
//!   encapsulating   gen ─► ip ─► (route) ─► ip0: ip ─ vtunl ─ /dev/ip ─► (route) ─► null
//!   decapsulating   gen ─► ip ─► /dev/ip ─ vtunl ─ ip: ip0 ─► (route) ─► null
//!   forwarding      gen ─► ip ─► (route) ─► null             (what the rest costs)
//! ```
//!
//! `cargo bench -p vtunl-tests --bench path`. The link makes its frames in memory, so the
//! figures hold one copy of the frame and one turn of the pump in 64 frames.
#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dlpi::link::null::Null;
use dlpi::link::{Link, Medium};
use dlpi::{Dlpi, Links};
use ipmod::{plumb, wire};
use streams::{Config, Cred, Doorbell, Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::encap_table::{ENCAP_G, ENCAP_M, ENCAP_S};

/// A link that gives the same frame as often as it is told to.
struct Gen {
    frame: Vec<u8>,
    left: Arc<AtomicU64>,
    bell: Arc<parking_lot::Mutex<Option<Doorbell>>>,
}

impl Link for Gen {
    fn medium(&self) -> Medium {
        Medium::PointToPoint
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(None);
        }
        self.left.store(left - 1, Ordering::Relaxed);
        buf[..self.frame.len()].copy_from_slice(&self.frame);
        Ok(Some(self.frame.len()))
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.bell.lock() = Some(bell);
    }
}

fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

fn addr(a: &str) -> u32 {
    ip(a).into()
}

/// A datagram of `len` bytes, or one inside another.
fn frame(len: usize, nested: bool, dst: &str) -> Vec<u8> {
    let mut inner = wire::header(len, 17, 64, 0, 1, addr("10.1.0.9"), addr(dst)).to_vec();
    inner.resize(len, 0xa5);
    if !nested {
        return inner;
    }
    let outer = wire::header(len + 20, 4, 64, 0, 2, addr("10.2.0.2"), addr("10.2.0.1"));
    [&outer[..], &inner].concat()
}

/// The host under test and its generator.
struct Lab {
    k: Kernel,
    _p: Process,
    left: Arc<AtomicU64>,
    bell: Arc<parking_lot::Mutex<Option<Doorbell>>>,
}

fn lab(frame: Vec<u8>) -> Lab {
    lab_with(frame, 0, 1)
}

/// With the flags of the target, and so many exits for it.
fn lab_with(frame: Vec<u8>, flags: u16, exits: u8) -> Lab {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let left = Arc::new(AtomicU64::new(0));
    let bell: Arc<parking_lot::Mutex<Option<Doorbell>>> = Arc::default();
    let (l, b) = (left.clone(), bell.clone());
    let make = move |ppa: u32| -> io::Result<Box<dyn Link>> {
        Ok(match ppa {
            0 => Box::new(Gen {
                frame: frame.clone(),
                left: l.clone(),
                bell: b.clone(),
            }),
            _ => Box::new(Null::new(Medium::PointToPoint)),
        })
    };
    k.add_drv_with::<Dlpi>("pt", Links::new(Box::new(make)))
        .expect("name");
    let p = k.process(Cred::ROOT);
    for (ppa, a, d) in [(0, "10.1.0.1", "10.1.0.9"), (1, "10.2.0.1", "10.2.0.2")] {
        let n = plumb::plumb(&p, "/dev/pt", &[], ppa).expect("plumb");
        plumb::set_address(&p, &n, ip(a)).expect("address");
        plumb::set_destination(&p, &n, ip(d)).expect("destination");
        plumb::up(&p, &n).expect("up");
    }
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
    p.push(fd, "vtunl").expect("push");
    Client::new(&p, fd)
        .setconf_transport(ip("10.2.0.1"), 4)
        .expect("SETCONF_TRANSPORT");
    plumb::plumb_fd(&p, fd, "/dev/ip", 0).expect("plumb");
    plumb::set_address(&p, "ip0", ip("10.2.0.1")).expect("address");
    plumb::set_destination(&p, "ip0", ip("10.9.0.254")).expect("destination");
    plumb::up(&p, "ip0").expect("up");
    let host = Ipv4Addr::BROADCAST;
    plumb::route_add(&p, ip("10.3.0.77"), host, ip("10.9.0.254"), 0)
        .expect("route into the tunnel");
    plumb::route_add(&p, ip("10.4.0.0"), ip("255.255.255.0"), ip("10.2.0.2"), 0)
        .expect("plain route");
    let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
    let vt = Client::new(&p, ctl);
    plumb::route_add(&p, ip("10.5.0.0"), ip("255.255.255.0"), ip("10.2.0.2"), 0)
        .expect("route to the exits");
    for n in 1..=exits {
        let exit = Ipv4Addr::new(10, 5, 0, n);
        let binding = Binding {
            flags,
            ..Binding::new(ip("10.3.0.77"), exit)
        };
        vt.encap_add(&binding).expect("ENCAP_ADD");
    }
    vt.decap_all(true).expect("DECAP_ADD");
    p.close(ctl).expect("close");
    Lab {
        k,
        _p: p,
        left,
        bell,
    }
}

impl Lab {
    fn run(&self, n: u64) -> Duration {
        self.left.store(n, Ordering::Relaxed);
        if let Some(b) = &*self.bell.lock() {
            b.ring();
        }
        let start = Instant::now();
        self.k.run_until_idle();
        let t = start.elapsed();
        assert_eq!(self.left.load(Ordering::Relaxed), 0);
        t
    }
}

fn path(c: &mut Criterion) {
    for (name, nested, dst) in [
        ("forwarding", false, "10.4.0.1"),
        ("encapsulating", false, "10.3.0.77"),
        ("decapsulating", true, "10.4.0.1"),
    ] {
        let mut g = c.benchmark_group(name);
        for len in [64, 1400] {
            let lab = lab(frame(len, nested, dst));
            lab.run(1000);
            assert!(lab.k.drops().is_empty(), "{name}: {:?}", lab.k.drops());
            g.bench_function(format!("{len} bytes"), |b| b.iter_custom(|n| lab.run(n)));
            assert!(lab.k.drops().is_empty(), "{name}: {:?}", lab.k.drops());
        }
        g.finish();
    }
}

/// What the tunnel costs by itself: from the IP module's hand-over to vtunl to the IP
/// driver's hand-over to the link, look-ups of target and route included; and the other way.
/// That is the whole way less the same way without a tunnel, one after the other in each of
/// 31 rounds; the median of the differences.
fn inside(_: &mut Criterion) {
    const N: u64 = 50_000;
    for len in [64, 1400] {
        let plain = lab(frame(len, false, "10.4.0.1"));
        let (to, from) = ("10.3.0.77", "10.4.0.1");
        let cases = [
            ("encapsulating, IPIP", frame(len, false, to), 0, 1),
            ("encapsulating, minimal", frame(len, false, to), ENCAP_M, 1),
            ("encapsulating, GRE", frame(len, false, to), ENCAP_G, 1),
            ("replicating to 2 exits", frame(len, false, to), ENCAP_S, 2),
            ("replicating to 8 exits", frame(len, false, to), ENCAP_S, 8),
            ("decapsulating, IPIP", frame(len, true, from), 0, 1),
        ];
        for (name, frame, flags, exits) in cases {
            let lab = lab_with(frame, flags, exits);
            let ns = |l: &Lab| l.run(N).as_secs_f64() * 1e9 / N as f64;
            let _warm = (ns(&lab), ns(&plain));
            let mut more: Vec<f64> = (0..31).map(|_| ns(&lab) - ns(&plain)).collect();
            more.sort_by(f64::total_cmp);
            assert!(lab.k.drops().is_empty(), "{name}: {:?}", lab.k.drops());
            println!("inside the tunnel, {len} bytes, {name}: {:.0} ns", more[15]);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = path, inside
}
criterion_main!(benches);
