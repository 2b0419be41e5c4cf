//! What the framework costs: a hop, a perimeter, a queue, a pipe.
//!
//! `cargo bench -p streams`. A message goes up a chain of modules and is freed at the top;
//! what the same way costs without the modules is taken off, the rest divided by the hops.

#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use streams::prelude::*;
use streams::{Kernel, Process, Sys, oflag};

/// Hops in the measured chain: as many modules as can be pushed.
const CHAIN: usize = 9;

macro_rules! passer {
    ($name:ident, $text:literal, $perimeter:expr) => {
        struct $name;
        impl Module for $name {
            type Shared = ();
            const INFO: ModuleInfo = ModuleInfo::named(1, $text);
            const PERIMETER: Perimeter = $perimeter;
            const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
            const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
            fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
                how.require_push()?;
                Ok($name)
            }
        }
    };
}
passer!(Free, "free", Perimeter::MTSAFE);
passer!(Pair, "pair", Perimeter::MTQPAIR);

/// A driver that sends `n` messages up its stream, or queues them, and times that: an
/// M_IOCTL starts it, the nanoseconds come back in the answer. Up it sends from a service
/// procedure: in the put procedure the modules above would still be inside, and their
/// perimeters busy.
struct Source(Option<Msg>);

impl Module for Source {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(2, "source");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(source_rsrv);
    const WRITE: QInit<Self> = QInit::put(source_wput).srv(source_wsrv);
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Source(None))
    }
}

/// How many messages an M_IOCTL asks for.
fn wanted(mp: &Msg) -> u64 {
    let word = |c: &Msg| u64::from_ne_bytes(c.rd().try_into().unwrap_or_default());
    mp.cont().map_or(0, word)
}

fn answer(q: &mut Queue<'_, Source>, mut mp: Msg, start: Instant) {
    let ns = start.elapsed().as_nanos() as u64;
    mp.set_cont(Some(Msg::data(&ns.to_ne_bytes())));
    q.iocack(mp, 0);
}

fn source_rsrv(q: &mut Queue<'_, Source>) {
    let Some(mp) = q.ptr().0.take() else { return };
    let start = Instant::now();
    for _ in 0..wanted(&mp) {
        let m = q.alloc(0, 64);
        q.putnext(m);
    }
    answer(&mut q.wr(), mp, start);
}

fn source_wput(q: &mut Queue<'_, Source>, mp: Msg) {
    match mp.ty() {
        MsgType::Ioctl => {
            let n = wanted(&mp);
            let cmd = mp.ioc().map_or(0, |i| i.cmd);
            let start = Instant::now();
            match cmd {
                // Up through the chain to the sink.
                1 => {
                    q.ptr().0 = Some(mp);
                    return q.rd().qenable();
                }
                // The same while everybody above is inside: each waits on a syncq.
                4 => {
                    for _ in 0..n {
                        let m = q.alloc(0, 64);
                        q.qreply(m);
                    }
                }
                // Queued, for the service procedure to run when the put procedure is done.
                3 => {
                    for _ in 0..n {
                        let m = q.alloc(0, 64);
                        q.putq(m);
                    }
                }
                // putq and getq alone.
                _ => {
                    let mut m = Some(Msg::data(&[0; 64]));
                    for _ in 0..n {
                        if let Some(m) = m.take() {
                            q.putq(m);
                        }
                        m = q.getq();
                    }
                }
            }
            answer(q, mp, start);
        }
        _ => q.freemsg(mp),
    }
}

fn source_wsrv(q: &mut Queue<'_, Source>) {
    while let Some(mp) = q.getq() {
        q.freemsg(mp);
    }
}

/// Right under the head: frees what comes up.
struct Sink;
impl Module for Sink {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(3, "sink");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Data => q.freemsg(mp),
        _ => q.putnext(mp),
    });
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Sink)
    }
}

fn kernel() -> Kernel {
    let k = Kernel::new().expect("a kernel");
    streams::register(&k).expect("names");
    k.add_drv::<Source>().expect("name");
    k.add_mod::<Free>().expect("name");
    k.add_mod::<Pair>().expect("name");
    k.add_mod::<Sink>().expect("name");
    k
}

/// Time of `n` rounds measured inside the kernel.
fn rounds(p: &Process, fd: i32, cmd: i32, n: u64) -> Duration {
    let r = p.i_str(fd, cmd, &n.to_ne_bytes()).expect("ioctl");
    Duration::from_nanos(u64::from_ne_bytes(r.data.try_into().expect("eight bytes")))
}

/// A source with `CHAIN - 1` modules of a name above it (none for "bare") and a sink.
fn chain(name: &str) -> (Process, i32) {
    let p = kernel().process(Cred::ROOT);
    let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
    if name != "bare" {
        for _ in 0..CHAIN - 1 {
            p.push(fd, name).expect("push");
        }
    }
    p.push(fd, "sink").expect("push");
    (p, fd)
}

fn hops(c: &mut Criterion) {
    let mut g = c.benchmark_group("putnext");
    for name in ["bare", "free", "pair"] {
        let (p, fd) = chain(name);
        g.bench_function(format!("up through 8 modules: {name}"), |b| {
            b.iter_custom(|n| rounds(&p, fd, 1, n))
        });
    }
    g.finish();

    // The three in turn, so that a machine whose speed drifts drifts for all.
    let chains = ["bare", "free", "pair"].map(chain);
    let n = 200_000;
    let mut runs: Vec<[f64; 3]> = (0..31)
        .map(|_| {
            let t =
                |i: usize| rounds(&chains[i].0, chains[i].1, 1, n).as_secs_f64() * 1e9 / n as f64;
            [t(0), t(1), t(2)]
        })
        .collect();
    let mut per = |i: usize| {
        runs.sort_by(|a, b| (a[i] - a[0]).total_cmp(&(b[i] - b[0])));
        (runs[15][i] - runs[15][0]) / (CHAIN - 1) as f64
    };
    println!("hop through a module without a perimeter: {:.2} ns", per(1));
    println!(
        "hop through a module with its own perimeter: {:.2} ns",
        per(2)
    );
    let (p, fd) = &chains[2];
    let mut busy: Vec<f64> = (0..31)
        .map(|_| rounds(p, *fd, 4, 100).as_secs_f64() * 1e9 / 100.0)
        .collect();
    busy.sort_by(f64::total_cmp);
    println!(
        "a message left on the syncq of a busy perimeter: {:.2} ns",
        busy[15]
    );
}

fn queue(c: &mut Criterion) {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
    c.bench_function("putq and getq", |b| b.iter_custom(|n| rounds(&p, fd, 2, n)));

    // An ioctl queues 200 messages; the service procedure frees them before it returns.
    const BATCH: u64 = 200;
    let time = |n: u64| {
        let start = Instant::now();
        for _ in 0..1000 {
            rounds(&p, fd, 3, n);
        }
        start.elapsed().as_secs_f64() * 1e9 / 1000.0
    };
    let mut t: Vec<f64> = (0..31)
        .map(|_| (time(BATCH) - time(0)) / BATCH as f64)
        .collect();
    t.sort_by(f64::total_cmp);
    println!(
        "putq plus service, allocation and free included: {:.2} ns",
        t[15]
    );
}

fn pipe(c: &mut Criterion) {
    let mut g = c.benchmark_group("pipe, write and read 64 bytes");
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let (a, b) = p.pipe().expect("pipe");
    let data = [7u8; 64];
    g.bench_function("streams", |bench| {
        bench.iter(|| {
            p.write(a, &data).expect("write");
            p.read(b, 64).expect("read").len()
        })
    });
    let (mut r, mut w) = std::io::pipe().expect("a pipe of the host");
    let mut buf = [0u8; 64];
    g.bench_function("the host kernel's", |bench| {
        bench.iter(|| {
            use std::io::{Read, Write};
            w.write_all(&data).expect("write");
            r.read_exact(&mut buf).expect("read");
        })
    });
    g.finish();
}

/// Two threads, each on a stream of its own in one kernel, beside one thread: how much more
/// gets done. One after the other in each round, so that a machine's drift hits both.
fn threads(_: &mut Criterion) {
    const N: u64 = 200_000;
    let k = kernel();
    let ends: Vec<_> = (0..2)
        .map(|_| {
            let p = k.process(Cred::ROOT);
            let (a, b) = p.pipe().expect("pipe");
            (p, a, b)
        })
        .collect();
    let pipe = |i: usize| {
        let (p, a, b) = &ends[i];
        for _ in 0..N {
            p.write(*a, &[7; 64]).expect("write");
            assert_eq!(p.read(*b, 64).expect("read").len(), 64);
        }
    };
    gain("write and read over a pipe", &pipe);
    let p = k.process(Cred::ROOT);
    let fds: Vec<i32> = (0..2)
        .map(|_| {
            let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
            for _ in 0..CHAIN - 1 {
                p.push(fd, "free").expect("push");
            }
            p.push(fd, "sink").expect("push");
            fd
        })
        .collect();
    gain("hops through 8 modules", &|i| {
        rounds(&p, fds[i], 1, 10 * N);
    });
}

/// Seconds that `n` threads need, each for its own work.
fn spent(n: usize, work: &(impl Fn(usize) + Sync)) -> f64 {
    let gate = std::sync::Barrier::new(n + 1);
    std::thread::scope(|s| {
        for i in 0..n {
            let gate = &gate;
            s.spawn(move || {
                gate.wait();
                work(i);
                gate.wait();
            });
        }
        gate.wait();
        let start = Instant::now();
        gate.wait();
        start.elapsed().as_secs_f64()
    })
}

/// Work done by two threads in the time that one needs for its own, median of 15 rounds.
/// All of them are fresh threads: what a thread costs by itself is on both sides.
fn gain(what: &str, work: &(impl Fn(usize) + Sync)) {
    let mut gains: Vec<f64> = (0..15)
        .map(|_| 2.0 * spent(1, work) / spent(2, work))
        .collect();
    gains.sort_by(f64::total_cmp);
    println!(
        "two threads on two streams, {what}: {:.2} times one thread",
        gains[7]
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = hops, queue, pipe, threads
}
criterion_main!(benches);
