//! What a frame costs through the driver: DL_UNITDATA against the fast path.
//!
//! ```text
//!   sending   putmsg ─► head ─► driver ─► null
//!   crossing  putmsg ─► head ─► driver ─► wire ─► driver ─► head ─► getmsg
//! ```
//!
//! `cargo bench -p dlpi`. Both ends are one program on one thread, so a crossing holds two
//! system calls and a poll(2), as a program pays them.
#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dlpi::addr::{Dlsap, Mac};
use dlpi::client::Client;
use dlpi::link::Medium;
use dlpi::link::null::Null;
use dlpi::link::wire::Wire;
use dlpi::prim::SAP_IP;
use dlpi::{Dlpi, Links};
use streams::{Config, Cred, Kernel};

const A: Mac = [2, 0, 0, 0, 0, 1];
const B: Mac = [2, 0, 0, 0, 0, 2];

/// The DLSAP of IP at a station.
fn ip_at(mac: Mac) -> Vec<u8> {
    Dlsap::ether(&mac, SAP_IP as u16).as_slice().to_vec()
}

fn sending(c: &mut Criterion) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    let null = Null::new(Medium::Ether(A));
    let count = null.count();
    let mut null = Some(null);
    let links = Links::new(Box::new(move |_| {
        let link = null.take().ok_or(std::io::ErrorKind::NotFound)?;
        Ok(Box::new(link))
    }));
    k.add_drv_with::<Dlpi>("le", links).expect("name");
    let p = k.process(Cred::ROOT);
    let a = Client::open(&p, "/dev/le", Some(0)).expect("open");
    a.bind(SAP_IP).expect("bind");
    let to_b = ip_at(B);
    let header = a.fast_path(&to_b).expect("fast path");
    let mut g = c.benchmark_group("sending");
    for len in [64, 1400] {
        let data = vec![0xa5; len];
        let frame = [&header[..], &data].concat();
        let (before, mut sent) = (count.frames(), 0);
        g.bench_function(format!("DL_UNITDATA, {len} bytes"), |b| {
            b.iter(|| {
                sent += 1;
                a.send(&to_b, &data).expect("send");
            });
        });
        g.bench_function(format!("fast path, {len} bytes"), |b| {
            b.iter(|| {
                sent += 1;
                a.send_frame(&frame).expect("send");
            });
        });
        k.run_until_idle();
        assert_eq!(count.frames() - before, sent, "every frame went out");
    }
    g.finish();
}

fn crossing(c: &mut Criterion) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    let wire = Wire::default();
    dlpi::register_wire(&k, "le", vec![(wire.clone(), A), (wire, B)]).expect("name");
    let p = k.process(Cred::ROOT);
    let [a, b] = [0, 1].map(|ppa| {
        let c = Client::open(&p, "/dev/le", Some(ppa)).expect("open");
        c.bind(SAP_IP).expect("bind");
        c
    });
    let to_b = ip_at(B);
    let mut g = c.benchmark_group("crossing");
    for len in [64, 1400] {
        let data = vec![0xa5; len];
        g.bench_function(format!("DL_UNITDATA, {len} bytes"), |bench| {
            bench.iter(|| {
                a.send(&to_b, &data).expect("send");
                assert_eq!(b.recv().expect("a datagram").data.len(), len);
            });
        });
    }
    // From here on both streams give and take M_DATA.
    let header = a.fast_path(&to_b).expect("fast path");
    b.fast_path(&ip_at(A)).expect("fast path");
    for len in [64, 1400] {
        let frame = [&header[..], &vec![0xa5; len]].concat();
        g.bench_function(format!("fast path, {len} bytes"), |bench| {
            bench.iter(|| {
                a.send_frame(&frame).expect("send");
                assert_eq!(b.recv().expect("a datagram").data.len(), len);
            });
        });
    }
    assert!(k.drops().is_empty(), "{:?}", k.drops());
    g.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = sending, crossing
}
criterion_main!(benches);
