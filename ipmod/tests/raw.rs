//! /dev/icmp and /dev/rawip: icmp(7P), rawip(7P), tihdr(7P); ip-tpi 2.1, 4.

use std::net::Ipv4Addr;

use ipmod::raw_options::*;
use ipmod::tpi::{self, state::*};
use ipmod::tpi_options::{T_CURRENT, T_NEGOTIATE};
use ipmod::wire::{self, proto};
use streams::{Config, Cred, Errno, Kernel, Process, Sys, oflag};

const LO: &str = "127.0.0.1";
const TOUTSTATE: u32 = 6;
const TACCES: u32 = 3;

fn sock(a: &str) -> [u8; 16] {
    tpi::sockaddr_bytes(0, a.parse::<Ipv4Addr>().expect("an address").into())
}

fn words(b: &[u8]) -> Vec<u32> {
    let word = |w: &[u8]| u32::from_ne_bytes(w.try_into().expect("four"));
    b.chunks_exact(4).map(word).collect()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

struct Raw<'a> {
    k: &'a Kernel,
    p: &'a Process,
    fd: i32,
}

fn kernel() -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    let p = k.process(Cred::ROOT);
    (k, p)
}

impl<'a> Raw<'a> {
    fn open(k: &'a Kernel, p: &'a Process, path: &str) -> Raw<'a> {
        let fd = p.open(path, oflag::O_RDWR | oflag::O_NONBLOCK);
        let fd = fd.expect("open");
        Raw { k, p, fd }
    }
    fn bound(k: &'a Kernel, p: &'a Process, protocol: u8) -> Raw<'a> {
        let r = Raw::open(k, p, "/dev/rawip");
        r.set(SOL_SOCKET, SO_PROTOTYPE, protocol.into());
        assert_eq!(r.ask(&tpi::bind_req(&[]))[0], tpi::T_BIND_ACK);
        r
    }
    fn set(&self, level: u32, name: u32, value: u32) {
        let req = tpi::optmgmt_req(T_NEGOTIATE, &[(level, name, value)]);
        assert_eq!(self.ask(&req)[0], 22, "T_OPTMGMT_ACK");
    }
    fn send(&self, ctl: &[u8], data: Option<&[u8]>) {
        self.p
            .putmsg(self.fd, Some(ctl), data, false)
            .expect("putmsg");
        self.k.run_until_idle();
    }
    fn ask(&self, req: &[u8]) -> Vec<u32> {
        self.send(req, None);
        self.next().map(|m| words(&m.0)).unwrap_or_default()
    }
    /// Control and data of the next message.
    fn next(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self.p.getmsg(self.fd, 256, 4096, false) {
            Ok(g) => Some((g.ctl.unwrap_or_default(), g.data.unwrap_or_default())),
            Err(Errno::EAGAIN) => None,
            Err(e) => panic!("{e}"),
        }
    }
    fn state(&self) -> u32 {
        let put = self.p.putmsg(self.fd, Some(&bytes(&[5])), None, true);
        put.expect("T_INFO_REQ");
        let got = self.p.getmsg(self.fd, 256, 0, true).expect("T_INFO_ACK");
        words(&got.ctl.expect("a control part"))[9]
    }
}

/// An echo request with its checksum.
fn echo(text: &[u8]) -> Vec<u8> {
    let mut b = [&[8, 0, 0, 0, 0, 1, 0, 7][..], text].concat();
    let c = wire::checksum(&b);
    b[2..4].copy_from_slice(&c.to_be_bytes());
    b
}

/// icmp(7P): what comes has its IP header, whose length field is BSD's.
#[test]
fn a_ping_over_dev_icmp() {
    let (k, p) = kernel();
    let r = Raw::open(&k, &p, "/dev/icmp");
    let ack = r.ask(&tpi::bind_req(&sock(LO)));
    assert_eq!(ack[..2], [tpi::T_BIND_ACK, 16]);
    let request = echo(b"hello");
    r.send(&tpi::unitdata_req(&sock(LO)), Some(&request));
    // The request itself is heard too: it came to this host.
    let (ctl, data) = r.next().expect("the request");
    assert_eq!((words(&ctl)[0], data[20]), (tpi::T_UNITDATA_IND, 8));
    let (ctl, data) = r.next().expect("the reply");
    assert_eq!(words(&ctl)[..3], [tpi::T_UNITDATA_IND, 16, 20]);
    assert_eq!(ctl[20..36], sock(LO), "SRC");
    assert_eq!((data[0], data[8], data[9]), (0x45, 255, proto::ICMP));
    assert_eq!(data[2..4], 13u16.to_ne_bytes(), "length without the header");
    assert_eq!((data[20], &data[28..]), (0, &b"hello"[..]));
    assert_eq!(r.next(), None);
}

/// SO_PROTOTYPE: another protocol, its datagrams alone, each stream its own.
#[test]
fn another_protocol() {
    let (k, p) = kernel();
    let (a, b, c) = (
        Raw::bound(&k, &p, 89),
        Raw::bound(&k, &p, 89),
        Raw::bound(&k, &p, 90),
    );
    a.set(IPPROTO_IP, IP_TTL, 9);
    a.set(IPPROTO_IP, IP_TOS, 0x10);
    a.send(&tpi::unitdata_req(&sock(LO)), Some(b"hello"));
    for r in [&a, &b] {
        let (_, data) = r.next().expect("a copy each");
        assert_eq!((data[9], data[8], data[1]), (89, 9, 0x10));
        assert_eq!(&data[20..], b"hello");
    }
    assert_eq!(c.next(), None);
}

/// IP_HDRINCL: the user writes the header; IP finishes it.
#[test]
fn a_header_of_the_users_own() {
    let (k, p) = kernel();
    let (a, b) = (Raw::bound(&k, &p, 255), Raw::bound(&k, &p, 91));
    let lo = u32::from_be_bytes([127, 0, 0, 1]);
    let whole = [&wire::header(25, 91, 3, 0, 0, 0, lo)[..], b"hello"].concat();
    a.send(&tpi::unitdata_req(&sock(LO)), Some(&whole));
    let (_, data) = b.next().expect("the datagram");
    assert_eq!((data[8], &data[12..16]), (3, &[127, 0, 0, 1][..]));
    // And as M_DATA, with nobody connected.
    assert_eq!(p.write(a.fd, &whole), Ok(25));
    k.run_until_idle();
    assert!(b.next().is_some());
}

/// T_CONN_REQ: M_DATA goes to the peer, and nobody else is heard.
#[test]
fn a_connected_stream() {
    let (k, p) = kernel();
    let (a, b) = (Raw::bound(&k, &p, 92), Raw::bound(&k, &p, 92));
    a.send(&tpi::conn_req(&sock(LO)), None);
    assert_eq!(words(&a.next().expect("T_OK_ACK").0)[0], tpi::T_OK_ACK);
    assert_eq!(words(&a.next().expect("T_CONN_CON").0)[..2], [12, 16]);
    assert_eq!(p.write(a.fd, b"hello"), Ok(5));
    k.run_until_idle();
    assert_eq!(&b.next().expect("a datagram").1[20..], b"hello");
    // Connected to somebody else it hears nothing from here.
    assert_eq!(a.ask(&bytes(&[2]))[0], tpi::T_OK_ACK);
    while a.next().is_some() {}
    a.send(&tpi::conn_req(&sock("192.0.2.1")), None);
    while a.next().is_some() {}
    b.send(&tpi::unitdata_req(&sock(LO)), Some(b"x"));
    assert_eq!(a.next(), None);
}

/// SO_DGRAM_ERRIND: an ICMP error about what was sent is T_UDERROR_IND for who asked.
#[test]
fn errors_are_told_to_who_asked() {
    let (k, p) = kernel();
    let r = Raw::bound(&k, &p, 93);
    // Bound to an address that no datagram comes from: what it sends nobody takes.
    let other = Raw::bound(&k, &p, 94);
    other.set(SOL_SOCKET, SO_DGRAM_ERRIND, 1);
    let unreachable = |p: u8| {
        let lo = u32::from_be_bytes([127, 0, 0, 1]);
        let sent = [&wire::header(28, p, 64, 0, 0, lo, lo)[..], &[0; 8]].concat();
        let mut b = [&[3, 2, 0, 0, 0, 0, 0, 0][..], &sent].concat();
        let c = wire::checksum(&b);
        b[2..4].copy_from_slice(&c.to_be_bytes());
        b
    };
    let icmp = Raw::bound(&k, &p, proto::ICMP);
    for about in [93, 94] {
        icmp.send(&tpi::unitdata_req(&sock(LO)), Some(&unreachable(about)));
    }
    assert_eq!(r.next(), None);
    let (ctl, _) = other.next().expect("T_UDERROR_IND");
    assert_eq!((words(&ctl)[0], words(&ctl)[5]), (tpi::T_UDERROR_IND, 146)); // ECONNREFUSED
    assert_eq!(other.next(), None);
}

/// tihdr(7P): each primitive in each state.
#[test]
fn every_state_and_primitive() {
    let (k, p) = kernel();
    let at = |s: u32, req: &[u8]| -> (Vec<u32>, Result<u32, Errno>) {
        let r = Raw::open(&k, &p, "/dev/icmp");
        if s != UNBND {
            r.ask(&tpi::bind_req(&[]));
        }
        if s == DATA_XFER {
            r.ask(&tpi::conn_req(&sock(LO)));
            r.next();
        }
        r.send(req, None);
        match p.getmsg(r.fd, 256, 0, false) {
            Err(Errno::EPROTO) => (vec![], Err(Errno::EPROTO)),
            Err(_) => (vec![], Ok(r.state())),
            Ok(g) => (words(&g.ctl.unwrap_or_default()), Ok(r.state())),
        }
    };
    for s in [UNBND, IDLE, DATA_XFER] {
        for (req, ack) in [
            (bytes(&[5]), 16),
            (bytes(&[24]), 25),
            (bytes(&[30, 1]), 31),
            (tpi::optmgmt_req(T_CURRENT, &[(0, IP_TTL, 0)]), 22),
            (tpi::xti_optmgmt_req(T_CURRENT, &[(0, IP_TTL, None)]), 22),
        ] {
            let (w, after) = at(s, &req);
            assert_eq!((w[0], after), (ack, Ok(s)));
        }
        let only = |ok: u32, req: &[u8], ack: u32, next: u32| {
            let (w, after) = at(s, req);
            let prim = words(req)[0];
            if s == ok {
                assert_eq!((w[0], after), (ack, Ok(next)), "{prim} in {s}");
            } else {
                assert_eq!((&w[..3], after), (&[18, prim, TOUTSTATE][..], Ok(s)));
            }
        };
        only(UNBND, &bytes(&[26, 0, 0, 0]), 17, IDLE);
        only(UNBND, &bytes(&[6, 0, 0, 0]), 17, IDLE);
        only(IDLE, &bytes(&[7]), 19, UNBND);
        only(IDLE, &tpi::conn_req(&sock(LO)), 19, DATA_XFER);
        only(DATA_XFER, &bytes(&[2]), 19, IDLE);
        for prim in [3, 4, 10] {
            assert_eq!(at(s, &bytes(&[prim])).1, Err(Errno::EPROTO));
        }
        for prim in [1, 28, 77] {
            let (w, after) = at(s, &bytes(&[prim]));
            assert_eq!((&w[..3], after), (&[18, prim, 18][..], Ok(s)));
        }
        let (w, after) = at(s, &tpi::unitdata_req(&[1, 2]));
        let why = [(UNBND, 71), (IDLE, 22), (DATA_XFER, 133)]; // EPROTO, EINVAL, EISCONN
        let want = why.iter().find(|x| x.0 == s).expect("a state").1;
        assert_eq!((w[0], w[5], after), (tpi::T_UDERROR_IND, want, Ok(s)));
    }
}

/// rawip(7P): ICMP is everybody's, other protocols and headers are the superuser's.
#[test]
fn privilege() {
    let (k, _root) = kernel();
    let p = k.process(Cred::user(100));
    let r = Raw::open(&k, &p, "/dev/icmp");
    for (level, name, value, want) in [
        (SOL_SOCKET, SO_PROTOTYPE, 89, Some(TACCES)),
        (IPPROTO_IP, IP_HDRINCL, 1, Some(TACCES)),
        (SOL_SOCKET, SO_TYPE, 1, Some(TACCES)),
        (SOL_SOCKET, SO_PROTOTYPE, 1, None),
    ] {
        let w = r.ask(&tpi::optmgmt_req(T_NEGOTIATE, &[(level, name, value)]));
        assert_eq!((w[0] == 18).then(|| w[2]), want);
    }
}
