//! What fuzzing runs: a function for each thing that strangers or users send, from bytes to
//! a whole emulated host, fresh each time. Nothing may panic, and no queue may be left
//! wrong (`Kernel::broken_invariants`).
//!
//! ```text
//!   bytes ─► cut in pieces, two bytes of length each ─► frames on le0, system calls
//!                                                        └─► the host runs until idle
//! ```
//!
//! `fuzz/` has a libFuzzer target for each; what they found is in `tests/fuzz/TARGET/` and
//! run by every `cargo test`.

use std::collections::VecDeque;
use std::io::{self, Cursor};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dlpi::link::null::Null;
use dlpi::link::pcap::{Pcap, PcapOptions};
use dlpi::link::{Link, Medium};
use dlpi::prim::Prim;
use dlpi::{Dlpi, Links};
use ipmod::{plumb, tpi, wire};
use streams::sys::USER_BASE;
use streams::{Config, Cred, Doorbell, Ioctl, Kernel, Process, StrIoctl, Sys, oflag};
use vtunl::client::{Binding, Client};

/// A target: its name, and what it does with some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("dlpi", dlpi_prims),
    ("ip", ip),
    ("icmp", icmp),
    ("igmp", igmp),
    ("reassembly", reassembly),
    ("arp", arp),
    ("udp", udp),
    ("tcp", tcp),
    ("tpi", transport),
    ("capture", capture),
    ("decap", decap),
    ("ioctl", ioctls),
    ("mip", mip),
];

const MAC: [u8; 6] = [8, 0, 0x20, 0, 0, 1];
const US: u32 = 0x0a00_0001;
const THEM: u32 = 0x0a00_0002;

/// Frames that are to come in on a link.
#[derive(Clone, Default)]
struct Feed {
    frames: Arc<Mutex<VecDeque<Vec<u8>>>>,
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
        let frame = self.frames.lock().map_or(None, |mut f| f.pop_front());
        Ok(frame.map(|f| {
            let n = f.len().min(buf.len());
            buf[..n].copy_from_slice(&f[..n]);
            n
        }))
    }
    fn attach(&mut self, bell: Doorbell) {
        if let Ok(mut b) = self.bell.lock() {
            *b = Some(bell);
        }
    }
}

/// A host: le0 on an Ethernet, le1 to a router, a tunnel from 10.0.0.1.
struct Host {
    k: Kernel,
    p: Process,
    feed: Feed,
}

impl Host {
    fn new() -> Host {
        let k = Kernel::with_config(Config::test()).expect("a kernel");
        ipmod::register(&k).expect("names");
        vtunl::register(&k).expect("names");
        let feed = Feed::default();
        let mine = feed.clone();
        let make = move |ppa: u32| -> io::Result<Box<dyn Link>> {
            Ok(match ppa {
                0 => Box::new(mine.clone()),
                _ => Box::new(Null::new(Medium::PointToPoint)),
            })
        };
        k.add_drv_with::<Dlpi>("le", Links::new(Box::new(make)))
            .expect("a name");
        dlpi::register_llc1(&k, "le").expect("a name");
        let p = k.process(Cred::ROOT);
        Host { k, p, feed }
    }

    /// With interfaces, and the tunnel too if wanted.
    fn plumbed(tunnel: bool) -> Host {
        let h = Host::new();
        let p = &h.p;
        let a = Ipv4Addr::from;
        plumb::plumb(p, "/dev/le", &[], 0).expect("plumb");
        plumb::set_address(p, "le0", a(US)).expect("address");
        plumb::up(p, "le0").expect("up");
        plumb::plumb(p, "/dev/le", &[], 1).expect("plumb");
        plumb::set_address(p, "le1", a(0x0b00_0001)).expect("address");
        plumb::set_destination(p, "le1", a(0x0b00_0002)).expect("destination");
        plumb::up(p, "le1").expect("up");
        plumb::route_add(p, a(0), a(0), a(0x0b00_0002), 0).expect("default");
        if tunnel {
            let fd = p.open("/dev/ip", oflag::O_RDWR).expect("open");
            p.push(fd, "vtunl").expect("push");
            Client::new(p, fd)
                .setconf_transport(a(US), 4)
                .expect("SETCONF_TRANSPORT");
            for proto in [41, 47, 55] {
                // Not every build serves all of them on one stream.
                let _ = Client::new(p, fd).setconf_transport(a(US), proto);
            }
            plumb::plumb_fd(p, fd, "/dev/ip", 0).expect("plumb");
            plumb::set_address(p, "ip0", a(US)).expect("address");
            plumb::set_destination(p, "ip0", a(0x0c00_0001)).expect("destination");
            plumb::up(p, "ip0").expect("up");
            let ctl = p.open("/dev/vtunl", oflag::O_RDWR).expect("control");
            let vt = Client::new(p, ctl);
            vt.encap_add(&Binding::new(a(0x0a00_0077), a(THEM)))
                .expect("ENCAP_ADD");
            vt.decap_all(true).expect("DECAP_ADD");
            p.close(ctl).expect("close");
        }
        h
    }

    /// A frame comes in on le0, and all that follows happens.
    fn frame(&self, kind: u16, body: &[u8]) {
        let from = [2, 0, 0, 0, 0, 9];
        let f = [&MAC[..], &from, &kind.to_be_bytes(), body].concat();
        if let Ok(mut all) = self.feed.frames.lock() {
            all.push_back(f);
        }
        if let Ok(b) = self.feed.bell.lock()
            && let Some(b) = &*b
        {
            b.ring();
        }
        self.k.run_until_idle();
    }

    /// A datagram of a protocol to us.
    fn datagram(&self, proto: u8, frag: u16, id: u16, body: &[u8]) {
        let body = &body[..body.len().min(1480)];
        let mut h = wire::header(20 + body.len(), proto, 64, 0, id, THEM, US);
        wire::put16(&mut h, 6, frag);
        wire::put16(&mut h, 10, 0);
        wire::fill_checksum(&mut h, 20);
        self.frame(0x0800, &[&h[..], body].concat());
    }

    /// All timers run, and every queue is as it should be.
    fn end(self) {
        self.k.advance(Duration::from_secs(90));
        let broken = self.k.broken_invariants();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

/// The pieces of an input: two bytes of length, then as many or what is left.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (n, rest) = data.split_first_chunk::<2>()?;
        let n = usize::from(u16::from_le_bytes(*n) & 0x7ff).min(rest.len());
        let (piece, rest) = rest.split_at(n);
        data = rest;
        Some(piece)
    })
}

/// Ethernet frames with IPv4; the first byte of each says whether length and checksum are
/// made right, so that what is behind the checks is reached too.
pub fn ip(data: &[u8]) {
    let h = Host::plumbed(true);
    for piece in pieces(data) {
        let Some((how, bytes)) = piece.split_first() else {
            continue;
        };
        let mut b = bytes.to_vec();
        if how & 1 == 0 && b.len() >= 20 {
            let len = b.len().min(1500) as u16;
            b[0] = 0x40 | (b[0] & 0xf);
            wire::put16(&mut b, 2, len);
            if how & 2 == 0 {
                wire::put32(&mut b, 16, US);
            }
            let ihl = usize::from(b[0] & 0xf) * 4;
            if ihl >= 20 && ihl <= b.len() {
                wire::put16(&mut b, 10, 0);
                wire::fill_checksum(&mut b, ihl);
            }
        }
        h.frame(0x0800, &b);
    }
    h.end();
}

/// ICMP messages with the right checksum.
pub fn icmp(data: &[u8]) {
    let h = Host::plumbed(true);
    for piece in pieces(data) {
        let mut b = piece.to_vec();
        if b.len() >= 8 {
            wire::put16(&mut b, 2, 0);
            let sum = wire::checksum(&b);
            wire::put16(&mut b, 2, sum);
        }
        h.datagram(1, 0, 1, &b);
    }
    h.end();
}

/// IGMP messages with the right checksum, to a host that joins and leaves groups meanwhile.
/// The first byte says what: 1 a membership, 2 time passes, 4 to the group instead of to all
/// systems, 8 as is, with any TTL.
pub fn igmp(data: &[u8]) {
    let h = Host::plumbed(false);
    let fd =
        h.p.open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
    for piece in pieces(data) {
        let Some((how, rest)) = piece.split_first() else {
            continue;
        };
        if how & 1 != 0 {
            // IP_MULTICAST_IF to IP_DROP_SOURCE_MEMBERSHIP, of few groups and sources.
            let any = |i: usize| rest.get(i).copied().unwrap_or(0);
            let name = 0x10 + u32::from(any(0)) % 9;
            let mut value = vec![239, 1, 2, any(1) & 3];
            if name >= 0x15 {
                value.extend([10, 0, 0, any(2)]);
            }
            value.extend([[0; 4], [10, 0, 0, 1], [11, 0, 0, 1]][usize::from(any(3)) % 3]);
            let words = [
                9,
                12 + value.len() as u32,
                16,
                4,
                0,
                name,
                value.len() as u32,
            ];
            let mut req: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
            req.extend(value);
            h.p.putmsg(fd, Some(&req), None, false).expect("putmsg");
            while h.p.getmsg(fd, 256, 2000, false).is_ok() {}
        }
        if how & 2 != 0 {
            h.k.advance(Duration::from_millis(u64::from(*how) * 50));
        }
        let mut b = rest.to_vec();
        if b.len() >= 8 {
            wire::put16(&mut b, 2, 0);
            let sum = wire::checksum(&b);
            wire::put16(&mut b, 2, sum);
        }
        b.truncate(1400);
        let dst = match (how & 4, b.get(4..8)) {
            (4, Some(_)) => wire::be32(&b, 4),
            _ => 0xe000_0001,
        };
        let ttl = if how & 8 != 0 { how >> 4 } else { 1 };
        let head = wire::header(20 + b.len(), 2, ttl, 0, 1, THEM, dst);
        h.frame(0x0800, &[&head[..], &b].concat());
    }
    h.end();
}

/// Fragments: three bytes of place and number, then the bytes.
pub fn reassembly(data: &[u8]) {
    let h = Host::plumbed(false);
    for piece in pieces(data) {
        let Some(([a, b, id], body)) = piece.split_first_chunk::<3>() else {
            continue;
        };
        let frag = u16::from_be_bytes([*a, *b]);
        h.datagram(17, frag, u16::from(*id & 3), body);
        if *id & 0x80 != 0 {
            h.k.advance(Duration::from_secs(u64::from(*id & 0x7f)));
        }
    }
    h.end();
}

/// ARP packets; what is missing is zero if the first byte is even.
pub fn arp(data: &[u8]) {
    let h = Host::plumbed(false);
    for piece in pieces(data) {
        let Some((how, bytes)) = piece.split_first() else {
            continue;
        };
        let mut b = bytes.to_vec();
        if how & 1 == 0 {
            b.resize(28.max(b.len()), 0);
            b[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        }
        h.frame(0x0806, &b);
    }
    h.end();
}

/// UDP datagrams, to a port that somebody has.
pub fn udp(data: &[u8]) {
    let h = Host::plumbed(false);
    let fd =
        h.p.open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
    let bind = tpi::bind_req(&tpi::sockaddr_bytes(2000, 0));
    h.p.putmsg(fd, Some(&bind), None, false).expect("bind");
    for piece in pieces(data) {
        let mut b = piece.to_vec();
        if b.len() >= 8 {
            b[2..4].copy_from_slice(&2000u16.to_be_bytes());
            b[6..8].fill(0); // no checksum
        }
        h.datagram(17, 0, 1, &b);
        while h.p.getmsg(fd, 256, 2000, false).is_ok() {}
    }
    h.end();
}

/// putmsg(2) of anything: what a program may write to a provider.
fn messages(h: &Host, fd: i32, data: &[u8]) {
    for piece in pieces(data) {
        let Some((how, b)) = piece.split_first() else {
            continue;
        };
        let at = usize::from(how >> 2).min(b.len());
        let (ctl, body) = b.split_at(b.len() - at);
        let body = (how & 2 != 0).then_some(body);
        let _ = h.p.putmsg(fd, Some(ctl), body, how & 1 != 0);
        h.k.run_until_idle();
        while h.p.getmsg(fd, 1024, 2000, false).is_ok() {}
    }
}

/// DLPI primitives: read and written again, and sent to a provider.
pub fn dlpi_prims(data: &[u8]) {
    for piece in pieces(data) {
        if let Ok(p) = Prim::parse_bytes(piece) {
            let again = Prim::parse_bytes(&p.emit_bytes());
            assert_eq!(again.as_ref(), Ok(&p), "what was written reads differently");
        }
    }
    let h = Host::new();
    let fd = h.p.open("/dev/le0", oflag::O_RDWR | oflag::O_NONBLOCK);
    let fd = match fd {
        Ok(fd) => fd,
        Err(_) => {
            h.p.open("/dev/le", oflag::O_RDWR | oflag::O_NONBLOCK)
                .expect("open")
        }
    };
    messages(&h, fd, data);
    let body = &data[..data.len().min(1500)];
    h.frame(0x0800, body);
    // IEEE 802.2, to a stream that has XID and TEST answered, and the station itself.
    let llc = dlpi::client::Client::open(&h.p, "/dev/llc1", Some(0)).expect("attached");
    let lsap = body.first().map_or(0x42, |b| b & 0xfe);
    llc.bind_llc(lsap, 3).expect("bound");
    h.frame(body.len() as u16, body);
    drop(llc);
    h.end();
}

/// TCP segments, right but for what the input says: to a port where somebody listens, from
/// few others, so that some belong together.
pub fn tcp(data: &[u8]) {
    let h = Host::plumbed(false);
    let open = || {
        h.p.open("/dev/tcp", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open")
    };
    let (listener, client) = (open(), open());
    let mut bind = tpi::bind_req(&tpi::sockaddr_bytes(2000, 0));
    bind[12] = 2;
    let connect = tpi::conn_req(&tpi::sockaddr_bytes(3000, THEM));
    for (fd, req) in [
        (listener, &bind),
        (client, &tpi::bind_req(&tpi::sockaddr_bytes(2001, 0))),
        (client, &connect),
    ] {
        h.p.putmsg(fd, Some(req), None, false).expect("putmsg");
    }
    for piece in pieces(data) {
        let mut b = piece.to_vec();
        b.resize(b.len().max(20), 0);
        let port = 0xd0 | (b[3] & 1); // 2000 or 2001
        b[0..4].copy_from_slice(&[0x0b, 0xb8, 7, port]);
        b[4..7].fill(0);
        b[8..11].fill(0);
        b[16..18].fill(0);
        let ends = u64::from(THEM) + u64::from(US) + 6 + b.len() as u64;
        let sum = wire::fold(ends + u64::from(wire::sum(&b)));
        b[16..18].copy_from_slice(&(!sum).to_be_bytes());
        h.datagram(6, 0, 1, &b);
        for fd in [listener, client] {
            while h.p.getmsg(fd, 256, 2000, false).is_ok() {}
        }
    }
    h.k.advance(Duration::from_secs(700));
    h.end();
}

/// TPI primitives to every provider.
pub fn transport(data: &[u8]) {
    let h = Host::plumbed(false);
    for dev in ["/dev/udp", "/dev/ip", "/dev/tcp", "/dev/icmp"] {
        let fd =
            h.p.open(dev, oflag::O_RDWR | oflag::O_NONBLOCK)
                .expect("open");
        messages(&h, fd, data);
    }
    h.end();
}

/// A capture file, pcap or pcapng by its first bytes, read to its end.
pub fn capture(data: &[u8]) {
    let input = Box::new(Cursor::new(data.to_vec()));
    let Ok(mut p) = Pcap::new(Some(input), None, PcapOptions::default()) else {
        return;
    };
    let control = p.control();
    let mut buf = vec![0; 70_000];
    for _ in 0..10_000 {
        match p.recv(&mut buf) {
            Ok(Some(n)) => assert!(n <= buf.len()),
            Ok(None) if control.ended() => break,
            Ok(None) => {
                let _ = p.tick(Duration::from_secs(3600));
            }
            Err(_) => break,
        }
    }
}

/// What comes to the tunnel's end: the first byte says in which protocol.
pub fn decap(data: &[u8]) {
    let h = Host::plumbed(true);
    for piece in pieces(data) {
        let Some((how, b)) = piece.split_first() else {
            continue;
        };
        let mut b = b.to_vec();
        let proto = [4, 4, 47, 55, 41][usize::from(how >> 1) % 5];
        if proto == 4 && how & 1 == 0 && b.len() >= 20 {
            b[0] = 0x45;
            let len = b.len().min(1480) as u16;
            wire::put16(&mut b, 2, len);
            wire::put16(&mut b, 10, 0);
            wire::fill_checksum(&mut b, 20);
        }
        h.datagram(proto, 0, 1, &b);
    }
    h.end();
}

/// ioctl(2) on the tunnel's control stream: a command's low byte, how, and the bytes.
pub fn ioctls(data: &[u8]) {
    let h = Host::plumbed(true);
    let fd =
        h.p.open("/dev/vtunl", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("control");
    for piece in pieces(data) {
        let Some(([low, how], b)) = piece.split_first_chunk::<2>() else {
            continue;
        };
        let cmd = vtunl::ioctl::VTUNLIOC | i32::from(*low);
        let request = match how & 1 {
            0 => Ioctl::Str(StrIoctl {
                cmd,
                timeout: 1,
                data: b.to_vec(),
            }),
            _ => Ioctl::Raw {
                cmd,
                arg: USER_BASE,
                mem: b.to_vec(),
            },
        };
        let _ = h.p.ioctl(fd, request);
        if how & 2 != 0 {
            h.datagram(4, 0, 1, b);
        }
        if how & 4 != 0 {
            h.k.advance(Duration::from_secs(u64::from(*how)));
        }
    }
    h.end();
}

/// Mobile IP: registrations to an agent and a mobile node, advertisements, configurations.
/// The first byte of each says which, and whether it is completed and signed, so that what
/// is behind the authentication is reached too.
pub fn mip(data: &[u8]) {
    use mipagent::extension::{MOBILE_HOME, ordered, without};
    use mipagent::message::{Key, Reply, Request};

    let key = Key {
        spi: 300,
        secret: vec![3; 16],
    };
    let spi = "[SPI 300]\nKey = 03030303030303030303030303030303\n";
    let agent = format!("{spi}[Advertisements le0]\n[Address 10.0.0.119]\nType = node\nSPI = 300");
    let node = format!("{spi}[Node]\nHomeAddress = 10.0.0.1/8\nHomeAgent = 10.0.0.2\nSPI = 300");
    let conf = |text: &str| mipagent::conf::Conf::parse(text).expect("sound");
    let (h, m) = (Host::plumbed(true), Host::new());
    for k in [&h.k, &m.k] {
        streams::register(k).expect("names");
    }
    plumb::plumb(&m.p, "/dev/le", &[], 0).expect("plumb");
    let mut now = Duration::from_secs(1000);
    let mut log = mipagent::status::Log::default();
    let mut a = mipagent::agent::Agent::new(&h.p, conf(&agent), now).expect("an agent");
    let node = conf(&node).mobile.expect("a node");
    let mut n = mipagent::mobile::MobileNode::new(&m.p, node, now).expect("a node");
    for piece in pieces(data) {
        let Some((how, bytes)) = piece.split_first() else {
            continue;
        };
        now += Duration::from_millis(u64::from(*how) * 10);
        // The parsers alone: a refusal is fine.
        let _ = mipagent::conf::Conf::parse(&String::from_utf8_lossy(bytes));
        let _ = mipagent::advert::Advertisement::parse(bytes);
        let _ = (
            ordered(bytes, usize::from(how & 31)),
            without(bytes, 20, 33),
        );
        let word = |at: usize| bytes.get(at..at + 4).map_or(0, |b| wire::be32(b, 0));
        let id = now.as_secs() << 32 | u64::from(word(0));
        let head = match how >> 4 & 3 {
            0 => Vec::new(),
            1 => Request {
                flags: word(4) as u8,
                lifetime: word(5) as u16,
                home: if how & 8 == 0 {
                    0x0a00_0077
                } else {
                    0x0a00_0055
                }
                .into(),
                agent: if how & 4 == 0 { US } else { word(8) }.into(),
                care_of: if how & 2 == 0 { THEM } else { word(9) }.into(),
                id,
            }
            .bytes(),
            _ => Reply {
                code: word(4) as u8 & 1,
                lifetime: word(5) as u16,
                home: US.into(),
                agent: THEM.into(),
                id,
            }
            .bytes(),
        };
        let mut b = [&head[..], bytes].concat();
        if how & 1 != 0 {
            b = key.sign(b, MOBILE_HOME);
        }
        for (host, to) in [(&h, true), (&m, false)] {
            if how >> 6 == 3 {
                let mut icmp = bytes.to_vec();
                if icmp.len() >= 8 {
                    icmp[0] = 9 + (how & 1);
                    wire::put16(&mut icmp, 2, 0);
                    let sum = wire::checksum(&icmp);
                    wire::put16(&mut icmp, 2, sum);
                }
                host.datagram(1, 0, 1, &icmp);
            } else {
                let mut udp = vec![1, 178, 1, 178, 0, 0, 0, 0]; // 434, no checksum
                udp.extend_from_slice(&b);
                let len = udp.len() as u16;
                wire::put16(&mut udp, 4, len);
                host.datagram(17, 0, 1, &udp);
            }
            let done = match to {
                true => a.poll(now, &mut log),
                false => n.poll(now, &mut log),
            };
            done.expect("whatever comes, the daemon goes on");
            host.k.run_until_idle();
        }
    }
    drop((a, n));
    h.end();
    m.end();
}
