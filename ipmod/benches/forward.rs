//! A router between two links: what forwarding a datagram costs, and what a second thread
//! brings.
//!
//! ```text
//!   link ─► provider ─► [hook] ─► ip ─► (route) ─► ip ─► [hook] ─► provider ─► link
//!                          └─► provider ─► link      mirrored: the same without IP
//! ```
//!
//! `cargo bench -p ipmod --bench forward`. The links make and swallow their frames in
//! memory, 64 in each interrupt. With a fast path data is bare M_DATA; without, the hook
//! refuses DL_IOC_HDR_INFO and data goes as DL_UNITDATA_IND and _REQ. What IP costs by
//! itself is the whole way less the mirrored one, in the same round; the median of 31.
//!
//! Two threads: one host with four links forwards from a to b on one thread and from c to d
//! on another; beside it two hosts with a thread each. The figure is datagrams a second over
//! those of one thread, each at its best in 16 rounds; it means something where both
//! processors are free.
#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dlpi::link::null::{Null, NullCount};
use dlpi::link::{Link, Medium};
use dlpi::prim::DL_IOC_HDR_INFO;
use dlpi::{Dlpi, Links};
use ipmod::{plumb, wire};
use streams::prelude::*;
use streams::{Config, Cred, Kernel, Process};

/// Type of service of the datagrams that the hook sends back.
const MIRRORED: u8 = 0xfc;

/// Between provider and ip: sends some datagrams back, and may refuse the fast path.
struct Hook<const FAST: bool>;

impl<const FAST: bool> Module for Hook<FAST> {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(999, if FAST { "hook" } else { "slow" });
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| {
        let back = mp.ty() == MsgType::Data && mp.rd().get(1) == Some(&MIRRORED);
        if back { q.qreply(mp) } else { q.putnext(mp) }
    });
    const WRITE: QInit<Self> = QInit::put(|q, mp| match mp.ioctl_cmd() {
        Some(DL_IOC_HDR_INFO) if !FAST => q.iocnak(mp, Errno::EINVAL),
        _ => q.putnext(mp),
    });

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Hook)
    }
}

/// Somewhere behind the n-th link.
fn behind(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 100 + n as u8, 0, 1)
}

/// A datagram of `len` bytes from behind link `from` to behind the next one.
fn frame(from: u32, len: usize, tos: u8) -> Vec<u8> {
    let (src, dst) = (behind(from).into(), behind(from + 1).into());
    let mut h = wire::header(len, 17, 64, tos, 1, src, dst).to_vec();
    h.resize(len, 0xa5);
    h
}

/// A host that routes between pairs of links, 0 to 1 and 2 to 3.
struct Host {
    k: Kernel,
    _p: Process,
    links: Vec<NullCount>,
}

impl Host {
    fn new(links: u32, fast: bool, len: usize, tos: u8) -> Host {
        let k = Kernel::with_config(Config::test()).expect("a kernel");
        ipmod::register(&k).expect("names");
        k.add_mod::<Hook<true>>().expect("a name");
        k.add_mod::<Hook<false>>().expect("a name");
        let mut all: Vec<Null> = (0..links)
            .map(|n| Null::new(Medium::PointToPoint).with_frame(&frame(n, len, tos)))
            .collect();
        let counts = all.iter().map(Null::count).collect();
        all.reverse();
        let make = move |_: u32| -> io::Result<Box<dyn Link>> {
            let link = all.pop().ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(link))
        };
        let links_of = Links::new(Box::new(make));
        k.add_drv_with::<Dlpi>("pt", links_of).expect("a name");
        let p = k.process(Cred::ROOT);
        for n in 0..links {
            let hook = if fast { "hook" } else { "slow" };
            let name = plumb::plumb(&p, "/dev/pt", &[hook], n).expect("plumb");
            let (here, there) = ([10, n as u8, 0, 1].into(), [10, n as u8, 0, 2].into());
            plumb::set_address(&p, &name, here).expect("address");
            plumb::set_destination(&p, &name, there).expect("destination");
            plumb::up(&p, &name).expect("up");
            let mask = Ipv4Addr::new(255, 255, 0, 0);
            plumb::route_add(&p, behind(n), mask, there, 0).expect("route");
        }
        Host {
            k,
            _p: p,
            links: counts,
        }
    }

    /// Forwards `n` datagrams that come in on a link, on this thread.
    fn run(&self, from: usize, n: u64) -> Duration {
        let start = Instant::now();
        self.links[from].order(n);
        self.k.run_until_idle();
        start.elapsed()
    }

    /// All that went out of the links.
    fn sent(&self) -> u64 {
        self.links.iter().map(NullCount::frames).sum()
    }
}

fn forwarding(c: &mut Criterion) {
    let mut g = c.benchmark_group("forwarding");
    for (name, fast) in [("fast path", true), ("unitdata", false)] {
        for len in [64, 1400] {
            let host = Host::new(2, fast, len, 0);
            host.run(0, 1000);
            assert_eq!(host.sent(), 1000, "{:?}", host.k.drops());
            g.bench_function(format!("{name}, {len} bytes"), |b| {
                b.iter_custom(|n| host.run(0, n));
            });
        }
    }
    g.finish();
}

/// A name on the command line asks for some of criterion's only.
fn is_asked_for_one() -> bool {
    std::env::args().skip(1).any(|a| !a.starts_with('-'))
}

/// What is IP's own.
fn inside(_: &mut Criterion) {
    if is_asked_for_one() {
        return;
    }
    const N: u64 = 50_000;
    for len in [64, 1400] {
        let [ip, none] = [0, MIRRORED].map(|tos| Host::new(2, true, len, tos));
        let ns = |h: &Host| h.run(0, N).as_secs_f64() * 1e9 / N as f64;
        let mut more: Vec<f64> = (0..32).map(|_| ns(&ip) - ns(&none)).skip(1).collect();
        more.sort_by(f64::total_cmp);
        assert_eq!((ip.sent(), none.sent()), (32 * N, 32 * N));
        println!("inside ip, {len} bytes: {:.0} ns", more[15]);
    }
}

/// Two interfaces on two threads, of one host and of two.
fn threads(_: &mut Criterion) {
    if is_asked_for_one() {
        return;
    }
    const N: u64 = 100_000;
    let (one, twin) = (Host::new(4, true, 64, 0), Host::new(4, true, 64, 0));
    let side_by_side = |second: &Host, from: usize| {
        let start = Instant::now();
        std::thread::scope(|s| {
            s.spawn(|| second.run(from, N));
            one.run(0, N);
        });
        2.0 * N as f64 / start.elapsed().as_secs_f64()
    };
    let mut best = [0.0f64; 3];
    for _ in 0..16 {
        let alone = N as f64 / one.run(0, N).as_secs_f64();
        let rates = [alone, side_by_side(&one, 2), side_by_side(&twin, 2)];
        for (best, rate) in best.iter_mut().zip(rates) {
            *best = best.max(rate);
        }
    }
    assert_eq!((one.sent(), twin.sent()), (64 * N, 16 * N));
    for (name, rate) in ["one host", "two hosts"].iter().zip(&best[1..]) {
        println!(
            "two threads, {name}: {:.2} times one thread",
            rate / best[0]
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = forwarding, inside, threads
}
criterion_main!(benches);
