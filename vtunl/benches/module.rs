//! What a datagram costs in the module: from a put above to the put below, and back.
//!
//! ```text
//!   source ──► vtunl ──► "ip" (frees)        down: look-up, header on
//!   sink  ◄── vtunl ◄── "ip" (source)        up: header off, checks
//! ```
//!
//! The same runs without vtunl are taken off: what is left is vtunl with its hop.
//! `cargo bench -p vtunl --bench module`

#![allow(missing_docs)] // criterion_group! makes a public function without any

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dlpi::prim::{self, Prim};
use streams::prelude::*;
use streams::{Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::header::Outer;

const US: [u8; 4] = [10, 0, 0, 1];
const EXIT: [u8; 4] = [192, 168, 2, 1];
const MH: [u8; 4] = [10, 1, 0, 3];

fn addr(a: [u8; 4]) -> u32 {
    u32::from_be_bytes(a)
}

fn outer(len: u16, proto: u8, src: [u8; 4], dst: [u8; 4]) -> Outer {
    Outer {
        tos: 0,
        len,
        ident: 7,
        df: true,
        ttl: 63,
        proto,
        src: addr(src),
        dst: addr(dst),
    }
}

/// Sends datagrams when told to by an M_PROTO of two words: how many, of what length.
fn flood<M: Module>(q: &mut Queue<'_, M>, mp: Msg, nested: bool) {
    let (w, _) = mp.rd().as_chunks::<4>();
    let (n, len) = (u32::from_ne_bytes(w[1]), u32::from_ne_bytes(w[2]) as u16);
    let inner = outer(len, 17, [10, 5, 0, 5], MH).bytes();
    let head = outer(len + 20, 4, EXIT, US).bytes();
    let mut template = vec![0; usize::from(len) - 20];
    template.splice(0..0, inner);
    if nested {
        template.splice(0..0, head);
    }
    for _ in 0..n {
        let mut mp = q.alloc(64, template.len());
        // The first bytes only: what is measured is not the copying of a payload.
        let n = template.len().min(64);
        mp.room_mut()[..n].copy_from_slice(&template[..n]);
        mp.advance_wptr(template.len());
        q.putnext(mp);
    }
}

/// Over vtunl: sends down, takes what comes up.
struct Above;

impl Module for Above {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(2, "above");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Data => q.freemsg(mp),
        _ => q.putnext(mp),
    });
    const WRITE: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Proto if mp.rd().first() == Some(&b'D') => flood(q, mp, false),
        _ => q.putnext(mp),
    });
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Above)
    }
}

/// Under vtunl: /dev/ip as far as vtunl needs it.
struct Below;

impl Module for Below {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1, "ip");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| match mp.ty() {
        MsgType::Data => q.freemsg(mp),
        // `other` turns round: a flood goes up.
        MsgType::Ioctl => q.iocnak(mp, Errno::EINVAL),
        MsgType::Break => {
            let n = mp.clone_bytes();
            flood(&mut q.other(), n, true);
        }
        _ if mp.rd().first() == Some(&6) => {
            let ack: Vec<u8> = [17u32, 0, 16, 0]
                .iter()
                .flat_map(|w| w.to_ne_bytes())
                .collect();
            q.qreply(Msg::of(MsgType::PcProto, &ack));
        }
        _ => {
            let ok: Vec<u8> = [19u32, 7].iter().flat_map(|w| w.to_ne_bytes()).collect();
            q.qreply(Msg::of(MsgType::PcProto, &ok));
        }
    });
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Below)
    }
}

trait Bytes {
    fn clone_bytes(&self) -> Msg;
}
impl Bytes for Msg {
    fn clone_bytes(&self) -> Msg {
        Msg::data(self.rd())
    }
}

/// Turns an M_PROTO 'U' into something that no module looks at, down to the driver.
struct Turn;

impl Module for Turn {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(3, "turn");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mut mp| {
        if mp.ty() == MsgType::Proto && mp.rd().first() == Some(&b'U') {
            mp.set_ty(MsgType::Break);
        }
        q.putnext(mp);
    });
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Turn)
    }
}

struct Lab {
    kernel: Kernel,
    p: Process,
    fd: i32,
}

fn lab(with_vtunl: bool) -> Lab {
    let k = Kernel::new().expect("a kernel");
    vtunl::register(&k).expect("fresh names");
    k.add_drv::<Below>().expect("fresh name");
    k.add_mod::<Above>().expect("fresh name");
    k.add_mod::<Turn>().expect("fresh name");
    let p = k.process(Cred::ROOT);
    let fd = p.open("/dev/ip", oflag::O_RDWR).expect("ip");
    if with_vtunl {
        p.push(fd, "vtunl").expect("push");
        let c = Client::new(&p, fd);
        c.setconf_transport(US.into(), 4).expect("setconf");
        c.encap_add(&Binding::new(MH.into(), EXIT.into()))
            .expect("add");
        c.decap_add(MH.into(), [0; 4].into(), 2).expect("add");
        for r in [Prim::AttachReq { ppa: 0 }, Prim::bind(prim::SAP_IP)] {
            p.putmsg(fd, Some(&r.emit_bytes()), None, false)
                .expect("putmsg");
            p.getmsg(fd, 64, 0, false).expect("ack");
        }
        let probe = Prim::UnitdataReq {
            dest: vec![],
            priority_min: 0,
            priority_max: 0,
        };
        p.i_str(fd, prim::DL_IOC_HDR_INFO, &probe.emit_bytes())
            .expect("fast path");
    }
    p.push(fd, "above").expect("push");
    p.push(fd, "turn").expect("push");
    Lab { kernel: k, p, fd }
}

impl Lab {
    fn run(&self, way: u8, n: u32, len: u16) -> Duration {
        let mut ctl = vec![way, 0, 0, 0];
        ctl.extend(n.to_ne_bytes());
        ctl.extend(u32::from(len).to_ne_bytes());
        let start = Instant::now();
        self.p
            .putmsg(self.fd, Some(&ctl), None, false)
            .expect("putmsg");
        start.elapsed()
    }
}

fn ways(c: &mut Criterion) {
    let (with, without) = (lab(true), lab(false));
    for (name, way) in [("down", b'D'), ("up", b'U')] {
        for len in [64u16, 1400] {
            c.bench_function(&format!("module {name} {len}"), |b| {
                b.iter_custom(|n| {
                    let mut total = Duration::ZERO;
                    let mut left = n;
                    while left > 0 {
                        let k = left.min(10_000) as u32;
                        let t = with.run(way, k, len);
                        total += t.saturating_sub(without.run(way, k, len));
                        left -= u64::from(k);
                    }
                    total
                });
            });
        }
    }
    // It was the real thing: nothing was dropped.
    assert!(with.kernel.drops().is_empty(), "{:?}", with.kernel.drops());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = ways
}
criterion_main!(benches);
