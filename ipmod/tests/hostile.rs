//! Datagrams that nobody meant well, by the hundred thousand, through a whole host.
//!
//! ```text
//!   seed ─► Feed (Ethernet) ─► ip, arp ─► our own, forwarded, refused ─► null
//! ```
//!
//! Nothing may panic, and what the host keeps has to be bounded whatever comes: neighbours,
//! path MTUs, pieces of datagrams, memory. `HOSTILE=10000000 cargo test --release -p ipmod
//! --test hostile` makes it ten million.
//!
//! Spec: RFC 791, 792, 826, 1122 3.2; RFC 6274 (what to expect of strangers).

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dlpi::link::null::Null;
use dlpi::link::{Link, Medium};
use dlpi::{Dlpi, Links};
use ipmod::{plumb, tpi, wire};
use streams::{Config, Cred, Doorbell, Kernel, Process, Sys, oflag};

const MAC: [u8; 6] = [8, 0, 0x20, 0, 0, 1];
const US: u32 = 0x0a00_0001;

/// xorshift64*: the same frames for the same seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let n = self.below(most + 1);
        (0..n).map(|_| self.next() as u8).collect()
    }

    fn address(&mut self) -> u32 {
        let any = self.next() as u32;
        let ours = [US, 0x0a00_0000 | any & 0xff_ffff, 0x0aff_ffff, 0x0b00_0001];
        let odd = [0, u32::MAX, 0x7f00_0001, 0xe000_0001 | any & 0xff, any];
        match self.below(3) {
            0 => US,
            1 => self.of(&ours),
            _ => self.of(&odd),
        }
    }

    fn datagram(&mut self, depth: u8) -> Vec<u8> {
        let options = if self.below(4) == 0 {
            let mut o = self.bytes(40);
            if o.len() > 3 {
                o[0] = self.of(&[7, 68, 131, 137, 1, 0, 148]);
                o[1] = o.len() as u8;
                o[2] = self.of(&[4, 5, 8, 0, 255]);
            }
            o.truncate(o.len() & !3);
            o
        } else {
            Vec::new()
        };
        let proto = self.of(&[1, 1, 2, 4, 6, 17, 17, 55, 200]);
        let body = match proto {
            1 => {
                let mut b = vec![self.of(&[0, 3, 3, 4, 5, 8, 11, 12, 13, 17, 99]), 0];
                b[1] = self.of(&[0, 1, 2, 3, 4, 5, 13]);
                b.extend([0, 0, 0, 0, self.next() as u8, self.next() as u8]);
                if depth > 0 {
                    b.extend(self.datagram(depth - 1));
                } else {
                    b.extend(self.bytes(60));
                }
                let sum = wire::checksum(&b);
                wire::put16(&mut b, 2, sum);
                b
            }
            4 if depth > 0 => self.datagram(depth - 1),
            17 => {
                let data = self.bytes(200);
                let mut b = Vec::new();
                for w in [
                    self.next() as u16,
                    self.of(&[7, 53, 2000]),
                    data.len() as u16 + 8,
                    0,
                ] {
                    b.extend(w.to_be_bytes());
                }
                b.extend(data);
                b
            }
            _ => self.bytes(1400),
        };
        let ihl = wire::HEADER + options.len();
        let (src, dst) = (self.address(), self.address());
        let ttl = self.of(&[0, 1, 2, 64, 255]);
        let mut h = wire::header(ihl + body.len(), proto, ttl, 0, 0, src, dst).to_vec();
        h[0] = 0x40 | (ihl / 4) as u8;
        h[1] = self.next() as u8;
        wire::put16(&mut h, 4, self.next() as u16);
        if self.below(3) == 0 {
            let frag = self.of(&[0x2000, 0x2001, 1, 2, 0x1fff, 0x4000, 0x6000]);
            wire::put16(&mut h, 6, frag);
        }
        h.extend(options);
        wire::fill_checksum(&mut h, ihl);
        let mut all = [h, body].concat();
        match self.below(20) {
            0 => {
                let n = self.below(all.len());
                all.truncate(n);
            }
            1 => {
                let at = self.below(all.len());
                all[at] ^= 1 << self.below(8);
            }
            2 => all.extend(self.bytes(40)),
            _ => {}
        }
        all
    }

    /// An Ethernet frame.
    fn frame(&mut self) -> Vec<u8> {
        let to = self.of(&[MAC, MAC, [0xff; 6], [1, 0, 0x5e, 0, 0, 1]]);
        let from = [2, 0, 0, 0, 0, self.next() as u8];
        let (ty, body) = match self.below(10) {
            0 => (0x0800u16, self.bytes(100)),
            1 | 2 => {
                let mut b = vec![0, 1, 8, 0, 6, 4, 0, self.of(&[1, 1, 2, 9])];
                b.extend(from);
                b.extend(self.address().to_be_bytes());
                b.extend([0; 6]);
                b.extend(self.address().to_be_bytes());
                b.extend(self.bytes(18));
                if self.below(5) == 0 {
                    b = self.bytes(60);
                }
                (0x0806, b)
            }
            _ => (0x0800, self.datagram(2)),
        };
        [&to[..], &from, &ty.to_be_bytes(), &body].concat()
    }
}

struct Feed {
    rng: Rng,
    left: Arc<AtomicU64>,
    bell: Arc<Mutex<Option<Doorbell>>>,
}

impl Link for Feed {
    fn medium(&self) -> Medium {
        Medium::Ether(MAC)
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
        let f = self.rng.frame();
        let n = f.len().min(buf.len());
        buf[..n].copy_from_slice(&f[..n]);
        Ok(Some(n))
    }
    fn attach(&mut self, bell: Doorbell) {
        *self.bell.lock().expect("lock") = Some(bell);
    }
}

fn ip(a: u32) -> Ipv4Addr {
    a.into()
}

/// Kilobytes that this process has in memory.
fn resident() -> u64 {
    let s = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    s.split(' ')
        .nth(1)
        .and_then(|w| w.parse().ok())
        .unwrap_or(0)
        * 4
}

fn host(seed: u64) -> (Kernel, Process, impl Fn(u64)) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    let left = Arc::new(AtomicU64::new(0));
    let bell: Arc<Mutex<Option<Doorbell>>> = Arc::default();
    let (l, b) = (left.clone(), bell.clone());
    let make = move |ppa: u32| -> io::Result<Box<dyn Link>> {
        Ok(match ppa {
            0 => Box::new(Feed {
                rng: Rng(seed),
                left: l.clone(),
                bell: b.clone(),
            }),
            _ => Box::new(Null::new(Medium::PointToPoint)),
        })
    };
    k.add_drv_with::<Dlpi>("le", Links::new(Box::new(make)))
        .expect("name");
    let p = k.process(Cred::ROOT);
    plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, "le0", ip(US)).expect("address");
    plumb::up(&p, "le0").expect("up");
    plumb::plumb(&p, "/dev/le", &[], 1).expect("plumb");
    plumb::set_address(&p, "le1", ip(0x0b00_0001)).expect("address");
    plumb::set_destination(&p, "le1", ip(0x0b00_0002)).expect("destination");
    plumb::up(&p, "le1").expect("up");
    let none = Ipv4Addr::UNSPECIFIED;
    plumb::route_add(&p, none, none, ip(0x0b00_0002), 0).expect("default");
    let run = {
        let k = k.clone();
        move |n: u64| {
            left.store(n, Ordering::Relaxed);
            if let Some(b) = &*bell.lock().expect("lock") {
                b.ring();
            }
            k.run_until_idle();
            assert_eq!(left.load(Ordering::Relaxed), 0);
        }
    };
    (k, p, run)
}

#[test]
fn nothing_grows_and_nothing_breaks() {
    let all: u64 = std::env::var("HOSTILE")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200_000);
    let (k, p, run) = host(0x9e37_79b9_7f4a_7c15);
    let fd = p
        .open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let bind = tpi::bind_req(&tpi::sockaddr_bytes(2000, 0));
    p.putmsg(fd, Some(&bind), None, false).expect("bind");
    let round = all / 20;
    let mut early = 0;
    for i in 0..20 {
        run(round);
        k.advance(Duration::from_millis(100));
        while p.getmsg(fd, 256, 2000, false).is_ok() {}
        if i == 4 {
            early = resident();
        }
    }
    let report = |n: &str| plumb::nd_get(&p, n).expect(n).lines().count();
    let grown = resident().saturating_sub(early);
    eprintln!("{} neighbours, {grown} kB", report("arp_cache_status"));
    eprintln!("{}", plumb::nd_get(&p, "ip_mib").expect("mib"));
    assert!(report("arp_cache_status") <= 4096);
    assert!(
        grown < 8192,
        "{grown} kB more than after a quarter of the frames"
    );
}
