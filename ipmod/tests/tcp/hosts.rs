//! Two hosts on a wire, and a stream of /dev/tcp on one of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::fault::{Faults, Faulty};
use dlpi::link::wire::Wire;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Errno, Got, Kernel, Process, Sys, oflag};

pub use ipmod::tpi::{
    T_CONN_CON, T_CONN_IND, T_CONN_RES, T_DISCON_IND, T_DISCON_REQ, T_ORDREL_IND, T_ORDREL_REQ,
};

pub const A: &str = "10.0.0.1";
pub const B: &str = "10.0.0.2";
/// Where B listens.
pub const PORT: u16 = 7000;

pub fn ip(a: &str) -> Ipv4Addr {
    a.parse().expect("an address")
}

pub fn sock(port: u16, a: &str) -> [u8; 16] {
    tpi::sockaddr_bytes(port, ip(a).into())
}

pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

pub fn words(b: &[u8]) -> Vec<u32> {
    b.chunks_exact(4)
        .map(|w| u32::from_ne_bytes(w.try_into().expect("four")))
        .collect()
}

pub struct Host {
    pub k: Kernel,
    pub p: Process,
}

/// Two hosts, le0 of each on one wire.
pub struct Pair {
    pub a: Host,
    pub b: Host,
}

fn host(n: u8, wire: &Wire, faults: Faults, addr: &str, config: Config) -> Host {
    let k = Kernel::with_config(config).expect("a kernel");
    streams::register(&k).expect("names");
    ipmod::register(&k).expect("names");
    let wire = wire.clone();
    let make = move |_| {
        let port = wire.port([8, 0, 0x20, 0, 0, n]);
        Ok(Box::new(Faulty::new(port, faults)) as Box<dyn Link>)
    };
    dlpi::register(&k, "le", Links::new(Box::new(make))).expect("a name");
    let p = k.process(Cred::ROOT);
    let le0 = plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, &le0, ip(addr)).expect("address");
    plumb::set_netmask(&p, &le0, ip("255.255.255.0")).expect("netmask");
    plumb::up(&p, &le0).expect("up");
    Host { k, p }
}

impl Pair {
    pub fn new() -> Pair {
        Pair::with(Faults::default())
    }
    /// Each frame, either way, meets these faults.
    pub fn with(faults: Faults) -> Pair {
        Pair::made(faults, Config::test())
    }
    /// A's and B's kernels are made so.
    pub fn made(faults: Faults, config: Config) -> Pair {
        let wire = Wire::default();
        let other = Faults {
            seed: faults.seed + 1,
            ..faults
        };
        Pair {
            a: host(1, &wire, faults, A, config),
            b: host(2, &wire, other, B, config),
        }
    }
    /// Runs both until neither has anything to do.
    pub fn settle(&self) {
        while self.a.k.run_until_idle() + self.b.k.run_until_idle() > 0 {}
    }
    /// Time passes on both, a few milliseconds at a time.
    pub fn wait(&self, long: Duration) {
        let step = (long / 100).max(Duration::from_millis(5));
        let mut past = Duration::ZERO;
        while past < long {
            self.a.k.advance(step);
            self.b.k.advance(step);
            self.settle();
            past += step;
        }
    }
    /// A stream of A connected to one of B, and B's listener.
    pub fn connected(&self) -> (Tcp<'_>, Tcp<'_>, Tcp<'_>) {
        let listener = self.b.bound(PORT, 2);
        let client = self.a.bound(0, 0);
        client.connect(B, PORT);
        self.settle();
        assert_eq!(client.next()[0], T_CONN_CON);
        let ind = listener.next();
        assert_eq!(ind[0], T_CONN_IND);
        let server = self.b.bound(0, 0);
        listener.accept(&server, ind[5]);
        (client, server, listener)
    }
}

impl Host {
    pub fn open(&self) -> Tcp<'_> {
        let how = oflag::O_RDWR | oflag::O_NONBLOCK;
        let fd = self.p.open("/dev/tcp", how).expect("open");
        Tcp { p: &self.p, fd }
    }
    /// A stream bound to a port, with a queue of connections so long.
    pub fn bound(&self, port: u16, qlen: u32) -> Tcp<'_> {
        let t = self.open();
        assert_eq!(t.bind(tpi::T_BIND_REQ, port, qlen)[0], tpi::T_BIND_ACK);
        t
    }
    pub fn counter(&self, name: &str) -> u64 {
        let all = plumb::counters(&self.p).expect("counters");
        all.iter().find(|c| c.0 == name).expect("a counter").1
    }
}

/// A stream of /dev/tcp; closed when it is dropped.
pub struct Tcp<'a> {
    pub p: &'a Process,
    pub fd: i32,
}

impl Tcp<'_> {
    pub fn send(&self, req: &[u8]) {
        self.p
            .putmsg(self.fd, Some(req), None, false)
            .expect("putmsg");
    }
    /// Sends a request; the words of the answer.
    pub fn ask(&self, req: &[u8]) -> Vec<u32> {
        self.send(req);
        self.next()
    }
    pub fn bind(&self, prim: u32, port: u16, qlen: u32) -> Vec<u32> {
        let addr = tpi::sockaddr_bytes(port, 0);
        let head = bytes(&[prim, 16, 16, qlen]);
        self.ask(&[&head[..], &addr].concat())
    }
    /// T_CONN_REQ, which the provider takes.
    pub fn connect(&self, to: &str, port: u16) {
        assert_eq!(self.ask(&tpi::conn_req(&sock(port, to)))[0], tpi::T_OK_ACK);
    }
    pub fn acceptor_id(&self) -> u32 {
        let ack = self.ask(&bytes(&[tpi::T_CAPABILITY_REQ, 2]));
        *ack.last().expect("ACCEPTOR_id")
    }
    pub fn accept(&self, on: &Tcp<'_>, seq: u32) {
        let ok = self.ask(&bytes(&[T_CONN_RES, on.acceptor_id(), 0, 0, seq]));
        assert_eq!(ok[..2], [tpi::T_OK_ACK, T_CONN_RES]);
    }
    pub fn got(&self) -> Result<Got, Errno> {
        self.p.getmsg(self.fd, 256, 65_536, false)
    }
    /// The words of the next control part; none if nothing waits.
    pub fn next(&self) -> Vec<u32> {
        match self.got() {
            Ok(g) => words(&g.ctl.expect("a control part")),
            Err(Errno::EAGAIN) => Vec::new(),
            Err(e) => panic!("{e}"),
        }
    }
    /// CURRENT_state, of T_INFO_ACK.
    pub fn state(&self) -> u32 {
        let req = bytes(&[5]);
        let put = self.p.putmsg(self.fd, Some(&req), None, true);
        put.expect("T_INFO_REQ");
        let got = self.p.getmsg(self.fd, 256, 0, true).expect("T_INFO_ACK");
        words(&got.ctl.expect("a control part"))[9]
    }
    pub fn close(self) {}
}

impl Drop for Tcp<'_> {
    fn drop(&mut self) {
        let _ = self.p.close(self.fd); // open: nobody else closes it
    }
}

/// Writes all of `data` on one and reads it on the other; what came.
pub fn carry(pair: &Pair, from: &Tcp<'_>, to: &Tcp<'_>, data: &[u8]) -> Vec<u8> {
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..20_000 {
        if sent < data.len() {
            let end = (sent + 4000).min(data.len());
            sent += from.p.write(from.fd, &data[sent..end]).unwrap_or(0);
        }
        pair.settle();
        while let Ok(m) = to.got() {
            assert_eq!(m.ctl, None);
            got.extend(m.data.unwrap_or_default());
        }
        if got.len() == data.len() {
            break;
        }
        pair.wait(Duration::from_millis(5));
    }
    got
}

/// Bytes that no shift leaves the same.
pub fn content(n: u32) -> Vec<u8> {
    (0..n).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect()
}
