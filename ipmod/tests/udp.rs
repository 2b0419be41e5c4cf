//! /dev/udp as a transport provider: each state x primitive, options, who gets what.
//! tihdr(7P), udp(7P); ip-tpi.md 4.

use std::net::Ipv4Addr;

use ipmod::tpi::{self, state};
use ipmod::udp_options::*;
use ipmod::{plumb, wire};
use streams::{Config, Cred, Errno, Kernel, Process, Sys, oflag};

const LO: &str = "127.0.0.1";

fn addr(a: &str) -> u32 {
    a.parse::<Ipv4Addr>().expect("an address").into()
}

fn sock(port: u16, a: &str) -> [u8; 16] {
    tpi::sockaddr_bytes(port, addr(a))
}

/// A host with lo0 and another local address on an interface that goes nowhere.
fn host() -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    dlpi::register_wire(&k, "le", vec![(Default::default(), [8, 0, 0x20, 0, 0, 1])]).expect("le");
    let p = k.process(Cred::ROOT);
    let le0 = plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, &le0, "10.0.0.1".parse().expect("an address")).expect("address");
    plumb::up(&p, &le0).expect("up");
    (k, p)
}

struct Udp<'a> {
    k: &'a Kernel,
    p: &'a Process,
    fd: i32,
}

impl<'a> Udp<'a> {
    fn open(k: &'a Kernel, p: &'a Process) -> Udp<'a> {
        let fd = p
            .open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
        Udp { k, p, fd }
    }
    /// In this state: unbound, bound to a port, or connected to port 9.
    fn at(k: &'a Kernel, p: &'a Process, s: u32) -> Udp<'a> {
        let u = Udp::open(k, p);
        if s != state::UNBND {
            u.ask(&tpi::bind_req(&[]));
        }
        if s == state::DATA_XFER {
            u.ask(&tpi::conn_req(&sock(9, LO)));
            u.next(); // T_CONN_CON
        }
        u
    }
    fn bound(k: &'a Kernel, p: &'a Process, port: u16, a: &str) -> Udp<'a> {
        let u = Udp::open(k, p);
        assert_eq!(u.ask(&tpi::bind_req(&sock(port, a)))[0], tpi::T_BIND_ACK);
        u
    }
    /// Sends a request; the words of the answer, 0 for none.
    fn ask(&self, req: &[u8]) -> [u32; 4] {
        self.p
            .putmsg(self.fd, Some(req), None, false)
            .expect("putmsg");
        tpi::words(&self.next())
    }
    /// The control part of the next message; empty for none.
    fn next(&self) -> Vec<u8> {
        self.k.run_until_idle();
        match self.p.getmsg(self.fd, 256, 0, false) {
            Ok(g) => g.ctl.unwrap_or_default(),
            Err(Errno::EAGAIN) => Vec::new(),
            Err(e) => panic!("{e}"),
        }
    }
    fn send(&self, to: &[u8], data: &[u8]) {
        let req = tpi::unitdata_req(to);
        self.p
            .putmsg(self.fd, Some(&req), Some(data), false)
            .expect("sent");
        self.k.run_until_idle();
    }
    fn got(&self) -> Option<Vec<u8>> {
        self.p.getmsg(self.fd, 256, 256, false).ok()?.data
    }
    fn state(&self) -> u32 {
        let ack = self
            .p
            .putmsg(self.fd, Some(&5u32.to_ne_bytes()), None, true);
        ack.expect("T_INFO_REQ");
        let info = self.next();
        u32::from_ne_bytes(info[36..40].try_into().expect("CURRENT_state"))
    }
}

/// tihdr(7P), the table of ip-tpi.md 4.5: what each primitive gives in each state.
#[test]
fn every_state_and_primitive() {
    let (k, p) = host();
    let all = [state::UNBND, state::IDLE, state::DATA_XFER];
    let refused = |prim: u32, tli: u32| [tpi::T_ERROR_ACK, prim, tli, 0];
    let out_of_state = |prim: u32| refused(prim, 6);
    for s in all {
        let at = |req: &[u8]| {
            let u = Udp::at(&k, &p, s);
            let answer = u.ask(req);
            (answer, u.state())
        };
        let word = |n: u32| n.to_ne_bytes();
        // T_INFO_REQ, T_ADDR_REQ, T_CAPABILITY_REQ: any state, and none changes it.
        assert_eq!(at(&word(5)).0[..2], [16, 65507]);
        let (local, remote) =
            [(0, 0), (16, 0), (16, 16)][all.iter().position(|x| *x == s).expect("one")];
        let (w, after) = at(&word(24));
        assert_eq!((w[0], w[1], w[3], after), (25, local, remote, s));
        assert_eq!(at(&[word(30), word(1)].concat()), ([31, 1, 16, 65507], s));
        // T_BIND_REQ and O_T_BIND_REQ: unbound only.
        for prim in [tpi::T_BIND_REQ, tpi::O_T_BIND_REQ] {
            let req = [word(prim), word(0), word(0), word(0)].concat();
            match s {
                state::UNBND => assert_eq!((at(&req).0[0], at(&req).1), (17, state::IDLE)),
                _ => assert_eq!(at(&req), (out_of_state(prim), s)),
            }
        }
        // T_UNBIND_REQ and T_CONN_REQ: bound and not connected.
        match s {
            state::IDLE => assert_eq!(at(&word(7)), ([19, 7, 0, 0], state::UNBND)),
            _ => assert_eq!(at(&word(7)), (out_of_state(7), s)),
        }
        let connect = tpi::conn_req(&sock(7, LO));
        match s {
            state::IDLE => assert_eq!(at(&connect).0[..2], [19, 0]),
            _ => assert_eq!(at(&connect), (out_of_state(0), s)),
        }
        // T_DISCON_REQ: connected.
        match s {
            state::DATA_XFER => assert_eq!(at(&word(2)), ([19, 2, 0, 0], state::IDLE)),
            _ => assert_eq!(at(&word(2)), (out_of_state(2), s)),
        }
        // T_UNITDATA_REQ in the wrong state: T_UDERROR_IND, the state stays.
        let u = Udp::at(&k, &p, s);
        u.send(&sock(7, LO), b"x");
        let error = u
            .next()
            .get(20..24)
            .map(|w| u32::from_ne_bytes(w.try_into().expect("a word")));
        let want = match s {
            state::UNBND => Some(71),      // EPROTO
            state::DATA_XFER => Some(133), // EISCONN
            _ => None,
        };
        assert_eq!((error, u.state()), (want, s));
        // What TPI has and UDP has not, and what nobody has: TNOTSUPPORT.
        for prim in [1, 3, 4, 10, 28, 77, 0x1001] {
            assert_eq!(at(&word(prim)), (refused(prim, 18), s));
        }
        // Offsets that lead out of the block.
        for prim in [26u32, 9, 0] {
            let req = [word(prim), word(16), word(4000), word(0), word(0)].concat();
            assert_eq!(at(&req), ([tpi::T_ERROR_ACK, prim, 8, 22], s)); // TSYSERR, EINVAL
        }
        let (w, after) = at(&[word(8), word(16), word(4000), word(0), word(0)].concat());
        assert_eq!((w[0], after), (tpi::T_UDERROR_IND, s));
    }
}

/// udp(7P): a connected stream sends M_DATA to its peer and hears nobody else.
#[test]
fn a_connected_stream_hears_its_peer() {
    let (k, p) = host();
    let a = Udp::bound(&k, &p, 1000, "0.0.0.0");
    let (b, c) = (
        Udp::bound(&k, &p, 2000, "0.0.0.0"),
        Udp::bound(&k, &p, 3000, "0.0.0.0"),
    );
    a.ask(&tpi::conn_req(&sock(2000, LO)));
    assert_eq!(tpi::words(&a.next())[..2], [12, 16]); // T_CONN_CON
    p.write(a.fd, b"hello").expect("write");
    k.run_until_idle();
    assert_eq!(b.got(), Some(b"hello".to_vec()));
    c.send(&sock(1000, LO), b"stranger");
    assert_eq!(a.got(), None);
    b.send(&sock(1000, LO), b"peer");
    assert_eq!(a.got(), Some(b"peer".to_vec()));
    // Disconnected, it hears everybody again.
    a.ask(&2u32.to_ne_bytes());
    c.send(&sock(1000, LO), b"stranger");
    assert_eq!(a.got(), Some(b"stranger".to_vec()));
}

/// RFC 1122 4.1.3.5: the stream with the exact address gets what is for it.
#[test]
fn the_exact_address_comes_first() {
    let (k, p) = host();
    let exact = Udp::bound(&k, &p, 1000, "10.0.0.1");
    let other = Udp::bound(&k, &p, 1000, LO);
    let from = Udp::bound(&k, &p, 2000, "0.0.0.0");
    from.send(&sock(1000, LO), b"one");
    from.send(&sock(1000, "10.0.0.1"), b"two");
    assert_eq!((exact.got(), exact.got()), (Some(b"two".to_vec()), None));
    assert_eq!((other.got(), other.got()), (Some(b"one".to_vec()), None));
}

/// tihdr(7P) T_OPTMGMT_REQ; ip-tpi.md 4.2, 4.5.
#[test]
fn options_are_negotiated() {
    let (k, p) = host();
    let u = Udp::bound(&k, &p, 1000, "0.0.0.0");
    let ttl = |w: u32| [(IPPROTO_IP, IP_TTL, w)];
    let value = |req: &[u8]| {
        p.putmsg(u.fd, Some(req), None, false).expect("putmsg");
        let ack = u.next();
        let [prim, _, _, flags] = tpi::words(&ack);
        assert_eq!((prim, flags), (22, T_SUCCESS));
        u32::from_ne_bytes(ack[28..32].try_into().expect("a value"))
    };
    assert_eq!(value(&tpi::optmgmt_req(T_CURRENT, &ttl(0))), 255);
    assert_eq!(value(&tpi::optmgmt_req(T_NEGOTIATE, &ttl(7))), 7);
    assert_eq!(value(&tpi::optmgmt_req(T_CURRENT, &ttl(0))), 7);
    assert_eq!(value(&tpi::optmgmt_req(T_DEFAULT, &ttl(0))), 255);
    let refused = |flags, opts: &[_], tli| {
        let w = u.ask(&tpi::optmgmt_req(flags, opts));
        assert_eq!(w, [tpi::T_ERROR_ACK, 9, tli, 0]);
    };
    refused(3, &ttl(7), 16); // TBADFLAG
    refused(T_NEGOTIATE, &ttl(0), 2); // TBADOPT: a TTL of 0
    refused(T_NEGOTIATE, &[(IPPROTO_IP, IP_TOS, 8), (77, 1, 1)], 2);
    let tos = [(IPPROTO_IP, IP_TOS, 0)];
    assert_eq!(
        value(&tpi::optmgmt_req(T_CURRENT, &tos)),
        0,
        "nothing of it was set"
    );

    // They are on the wire: a raw stream sees the header.
    let raw = p
        .open("/dev/ip", oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("open");
    let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], wire::proto::UDP).to_vec();
    p.putmsg(raw, Some(&bind), None, false).expect("bind");
    p.getmsg(raw, 64, 0, false).expect("ack");
    u.ask(&tpi::optmgmt_req(
        T_NEGOTIATE,
        &[(IPPROTO_IP, IP_TOS, 0x10), (IPPROTO_IP, IP_TTL, 9)],
    ));
    u.send(&sock(4444, LO), b"nobody has this port");
    let seen = p
        .getmsg(raw, 64, 256, false)
        .expect("a datagram")
        .data
        .expect("data");
    assert_eq!((seen[1], seen[8]), (0x10, 9));
}

/// ip-tpi.md 4.5 T_UDERROR_IND: of what became of a datagram only who asked is told.
#[test]
fn errors_are_told_to_who_asked() {
    let (k, p) = host();
    let u = Udp::bound(&k, &p, 1000, "0.0.0.0");
    u.send(&sock(9, LO), b"nobody is there");
    assert_eq!(u.next(), Vec::<u8>::new());
    u.ask(&tpi::optmgmt_req(
        T_NEGOTIATE,
        &[(SOL_SOCKET, SO_DGRAM_ERRIND, 1)],
    ));
    u.send(&sock(9, LO), b"nobody is there");
    let told = u.next();
    assert_eq!(tpi::words(&told)[0], tpi::T_UDERROR_IND);
    assert_eq!(told[20..24], 146u32.to_ne_bytes(), "ECONNREFUSED");
}
