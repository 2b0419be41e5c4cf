//! What the framework costs: a hop, a perimeter, a queue, a pipe.
//!
//! `cargo bench -p streams`. A module that bounces a message between two queues makes the
//! chain long enough to divide by: the figure printed is for one message over the chain.

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

/// A driver that sends one message `n` times down a stream above it and times that: an
/// M_IOCTL starts it, the nanoseconds come back in the answer.
struct Source {
    left: u64,
    kept: Option<Msg>,
}

impl Module for Source {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(2, "source");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(|_| {});
    const WRITE: QInit<Self> = QInit::put(source_wput).srv(source_wsrv);
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Source { left: 0, kept: None })
    }
}

fn source_wput(q: &mut Queue<'_, Source>, mp: Msg) {
    match mp.ty() {
        MsgType::Ioctl => {
            let n = mp.cont().map_or(0, |c| u64::from_ne_bytes(c.rd().try_into().unwrap_or_default()));
            let cmd = mp.ioc().map_or(0, |i| i.cmd);
            let start = Instant::now();
            match cmd {
                // Up through the chain; the reflector at the top sends it down to us again.
                1 => {
                    q.ptr().left = n;
                    q.ptr().kept = Some(Msg::data(&[0; 64]));
                    while q.ptr().left > 0 {
                        let Some(m) = q.ptr().kept.take() else { break };
                        q.ptr().left -= 1;
                        q.qreply(m);
                    }
                }
                // putq and service, in batches that a queue would see.
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
            let ns = start.elapsed().as_nanos() as u64;
            let mut mp = mp;
            mp.set_cont(Some(Msg::data(&ns.to_ne_bytes())));
            q.iocack(mp, 0);
        }
        MsgType::Data => q.ptr().kept = Some(mp),
        _ => q.freemsg(mp),
    }
}

fn source_wsrv(q: &mut Queue<'_, Source>) {
    while let Some(mp) = q.getq() {
        q.freemsg(mp);
    }
}

/// Right under the head: sends what comes up down again.
struct Reflector;
impl Module for Reflector {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(3, "reflect");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Data => q.qreply(mp),
        _ => q.putnext(mp),
    });
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Reflector)
    }
}

fn kernel() -> Kernel {
    let k = Kernel::new().expect("a kernel");
    streams::register(&k).expect("names");
    k.add_drv::<Source>().expect("name");
    k.add_mod::<Free>().expect("name");
    k.add_mod::<Pair>().expect("name");
    k.add_mod::<Reflector>().expect("name");
    k
}

/// Time of `n` rounds measured inside the kernel.
fn rounds(p: &Process, fd: i32, cmd: i32, n: u64) -> Duration {
    let r = p.i_str(fd, cmd, &n.to_ne_bytes()).expect("ioctl");
    Duration::from_nanos(u64::from_ne_bytes(r.data.try_into().expect("eight bytes")))
}

fn hops(c: &mut Criterion) {
    let mut g = c.benchmark_group("putnext");
    // A round goes up and down the chain: 2 x (CHAIN - 1) hops through the module measured,
    // plus the reflector and the driver. The difference to the bare round, divided by the
    // hops, is the hop; criterion prints a round, the table below the quotient.
    for name in ["bare", "free", "pair"] {
        let k = kernel();
        let p = k.process(Cred::ROOT);
        let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
        if name != "bare" {
            for _ in 0..CHAIN - 1 {
                p.push(fd, name).expect("push");
            }
        }
        p.push(fd, "reflect").expect("push");
        g.bench_function(format!("round through 16 hops, {name}"), |b| {
            b.iter_custom(|n| rounds(&p, fd, 1, n))
        });
    }
    g.finish();

    let median = |name: &str| {
        let k = kernel();
        let p = k.process(Cred::ROOT);
        let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
        if name != "bare" {
            for _ in 0..CHAIN - 1 {
                p.push(fd, name).expect("push");
            }
        }
        p.push(fd, "reflect").expect("push");
        let n = 200_000;
        let mut t: Vec<f64> =
            (0..21).map(|_| rounds(&p, fd, 1, n).as_secs_f64() * 1e9 / n as f64).collect();
        t.sort_by(f64::total_cmp);
        t[10]
    };
    let (bare, free, pair) = (median("bare"), median("free"), median("pair"));
    let per = |x: f64| (x - bare) / (2 * (CHAIN - 1)) as f64;
    println!("hop through a module without a perimeter: {:.2} ns", per(free));
    println!("hop through a module with its own perimeter: {:.2} ns", per(pair));
}

fn queue(c: &mut Criterion) {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/source", oflag::O_RDWR).expect("open");
    c.bench_function("putq and getq", |b| b.iter_custom(|n| rounds(&p, fd, 2, n)));
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

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = hops, queue, pipe
}
criterion_main!(benches);
