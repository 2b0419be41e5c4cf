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
use ipmod::plumb;
use streams::{Config, Cred, Doorbell, Kernel, Msg, Process, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::encap::{Policy, encapsulate};
use vtunl::encap_table::{ENCAP_G, ENCAP_M, ENCAP_S};
use vtunl::header::{IPPROTO_ENCAP, IPPROTO_GRE, IPPROTO_MINIMAL, Ipv4, Outer, checksum_update};
use vtunl::texit_table::ExitTable;
use vtunl::why::Stats;

/// A link that gives the same frame as often as it is told to, or one to each of so many
/// destinations, at random.
struct Gen {
    frame: Vec<u8>,
    spread: u32,
    random: u32,
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
        let n = self.frame.len();
        buf[..n].copy_from_slice(&self.frame);
        if self.spread > 1 {
            self.random = self
                .random
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223);
            let at = (u64::from(self.random) * u64::from(self.spread)) >> 32;
            let mut sum = u16::from_be_bytes([buf[10], buf[11]]);
            for (i, add) in [(16, (at >> 16) as u16), (18, at as u16)] {
                let old = u16::from_be_bytes([buf[i], buf[i + 1]]);
                sum = checksum_update(sum, old, old + add);
                buf[i..i + 2].copy_from_slice(&(old + add).to_be_bytes());
            }
            buf[10..12].copy_from_slice(&sum.to_be_bytes());
        }
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

/// A datagram of `len` bytes, or one inside another, by this encapsulation.
fn frame(len: usize, inside: Option<u8>, dst: &str) -> Vec<u8> {
    let inner = Outer {
        tos: 0,
        len: len as u16,
        ident: 1,
        df: false,
        ttl: 64,
        proto: 17,
        src: addr("10.1.0.9"),
        dst: addr(dst),
    };
    let mut inner = inner.bytes().to_vec();
    inner.resize(len, 0xa5);
    let Some(how) = inside else { return inner };
    let flags = match how {
        IPPROTO_GRE => ENCAP_G,
        IPPROTO_MINIMAL => ENCAP_M,
        _ => 0,
    };
    let mut exits = ExitTable::default();
    let id = exits.hold(addr("10.2.0.1")).expect("room");
    let exit = exits.at(id).expect("just made");
    let (mut mp, policy, stats) = (Msg::data(&inner), Policy::default(), Stats::default());
    let h = Ipv4::of(&mut mp).expect("a header");
    encapsulate(&mut mp, &h, exit, flags, addr("10.2.0.2"), &policy, &stats).expect("fits");
    mp.to_vec()
}

/// The host under test and its generator.
struct Lab {
    k: Kernel,
    _p: Process,
    left: Arc<AtomicU64>,
    bell: Arc<parking_lot::Mutex<Option<Doorbell>>>,
}

fn lab(frame: Vec<u8>) -> Lab {
    lab_for(frame, 0, 1, IPPROTO_ENCAP, 1)
}

/// With the flags of the target, so many exits for it, the protocol subscribed to, and so
/// many targets.
fn lab_for(frame: Vec<u8>, flags: u16, exits: u8, proto: u8, targets: u32) -> Lab {
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
                spread: targets,
                random: 1,
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
        .setconf_transport(ip("10.2.0.1"), proto)
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
    if targets > 1 {
        // 11.0.0.0/8 into the tunnel, 12.0.0.0/8 past it; exits shared by many.
        let net = ip("255.0.0.0");
        plumb::route_add(&p, ip("11.0.0.0"), net, ip("10.9.0.254"), 0).expect("route");
        plumb::route_add(&p, ip("12.0.0.0"), net, ip("10.2.0.2"), 0).expect("route");
        for n in 0..targets {
            let target = Ipv4Addr::from(addr("11.0.0.0") + n);
            let exit = Ipv4Addr::from(addr("10.5.0.1") + n % 64);
            vt.encap_add(&Binding::new(target, exit))
                .expect("ENCAP_ADD");
        }
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
    for (name, inside, dst) in [
        ("forwarding", None, "10.4.0.1"),
        ("encapsulating", None, "10.3.0.77"),
        ("decapsulating", Some(IPPROTO_ENCAP), "10.4.0.1"),
    ] {
        let mut g = c.benchmark_group(name);
        for len in [64, 1400] {
            let lab = lab(frame(len, inside, dst));
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
/// That is the whole way less the same way without a tunnel, measured in turn, in rounds of
/// a few thousand datagrams: short enough to run undisturbed most of the time. The tenth
/// fastest of a hundred rounds stands for each way, the same for both.
fn inside(_: &mut Criterion) {
    let filter = std::env::args().nth(1).unwrap_or_default();
    for len in [64, 1400] {
        let plain = lab(frame(len, None, "10.4.0.1"));
        let (to, from) = ("10.3.0.77", "10.4.0.1");
        let down = || frame(len, None, to);
        let up = |how| frame(len, Some(how), from);
        let cases = [
            ("encapsulating, IPIP", down(), 0, 1),
            ("encapsulating, minimal", down(), ENCAP_M, 1),
            ("encapsulating, GRE", down(), ENCAP_G, 1),
            ("replicating to 2 exits", down(), ENCAP_S, 2),
            ("replicating to 8 exits", down(), ENCAP_S, 8),
            ("decapsulating, IPIP", up(IPPROTO_ENCAP), 0, 1),
            ("decapsulating, minimal", up(IPPROTO_MINIMAL), 0, 1),
            ("decapsulating, GRE", up(IPPROTO_GRE), 0, 1),
        ];
        for (name, frame, flags, exits) in cases {
            if !name.contains(&filter) && filter != "inside" && !filter.starts_with('-') {
                continue;
            }
            let proto = if name.starts_with("decap") {
                frame[9]
            } else {
                IPPROTO_ENCAP
            };
            let lab = lab_for(frame, flags, exits, proto, 1);
            println!(
                "inside the tunnel, {len} bytes, {name}: {}",
                more(&lab, &plain)
            );
        }
    }
    if !"encapsulating among".contains(&filter) && filter != "inside" {
        return;
    }
    for targets in [1_000, 1_000_000] {
        let [plain, lab] = ["12.0.0.0", "11.0.0.0"]
            .map(|to| lab_for(frame(64, None, to), 0, 1, IPPROTO_ENCAP, targets));
        println!(
            "inside the tunnel, 64 bytes, encapsulating among {targets} targets: {}",
            more(&lab, &plain)
        );
    }
}

/// How much longer a datagram takes in one lab than in the other.
fn more(lab: &Lab, plain: &Lab) -> String {
    const N: u64 = 4_096;
    const ROUNDS: usize = 101;
    let ns = |l: &Lab| l.run(N).as_secs_f64() * 1e9 / N as f64;
    let _warm = (ns(lab), ns(plain));
    let (mut with, mut without): (Vec<f64>, Vec<f64>) =
        (0..ROUNDS).map(|_| (ns(lab), ns(plain))).unzip();
    with.sort_by(f64::total_cmp);
    without.sort_by(f64::total_cmp);
    assert!(lab.k.drops().is_empty(), "{:?}", lab.k.drops());
    let (a, b) = (with[ROUNDS / 10], without[ROUNDS / 10]);
    format!("{:.0} ns ({a:.0} less {b:.0})", a - b)
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
