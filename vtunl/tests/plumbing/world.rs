//! A kernel with vtunl in a stream, and the datagrams that pass it.

use std::net::Ipv4Addr;

use dlpi::prim::Prim;
use streams::prelude::*;
use streams::{Config, Got, Kernel, Process, Sys, oflag};
use vtunl::client::Client;
use vtunl::header::{IPPROTO_ENCAP, Ipv4, Outer, checksum};

use crate::below::Below;

pub const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const MH: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
pub const CALI: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 5);
pub const FA1: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const FA2: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);
pub const HOST: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

pub struct World {
    pub k: Kernel,
    pub p: Process,
    pub fd: i32,
    pub tap: i32,
}

/// A stream with vtunl over /dev/ip or /dev/le, and the test's end of the latter.
pub fn world(below: &'static str) -> World {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    streams::register(&k).expect("fresh names");
    vtunl::register(&k).expect("fresh names");
    k.add_drv::<Below<true>>().expect("ip");
    k.add_drv::<Below<false>>().expect("le");
    let p = k.process(Cred::ROOT);
    let dev = if below == "ip" { "/dev/ip" } else { "/dev/le" };
    let tap = p.open(dev, oflag::O_RDWR | oflag::O_NONBLOCK).expect("tap");
    let fd = p
        .open(dev, oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("device");
    p.push(fd, "vtunl").expect("push");
    World { k, p, fd, tap }
}

impl World {
    pub fn vtunl(&self) -> Client<'_, Process> {
        Client::new(&self.p, self.fd)
    }

    pub fn dl(&self, p: &Prim) -> Prim {
        self.p
            .putmsg(
                self.fd,
                Some(&p.emit_bytes()),
                None,
                p.msg_type() == MsgType::PcProto,
            )
            .expect("putmsg");
        let got = self.p.getmsg(self.fd, 512, 0, false).expect("an answer");
        Prim::parse_bytes(&got.ctl.expect("a control part")).expect("a primitive")
    }

    /// Attached and bound, as IP above does.
    pub fn bind(&self) {
        let attach = Prim::AttachReq { ppa: 0 };
        assert_eq!(self.dl(&attach), Prim::ok_ack(attach.number()));
        assert!(matches!(self.dl(&Prim::bind(0x800)), Prim::BindAck { .. }));
    }

    /// A datagram from IP above.
    pub fn down(&self, b: &[u8]) {
        let req = Prim::UnitdataReq {
            dest: vec![],
            priority_min: 0,
            priority_max: 0,
        };
        self.p
            .putmsg(self.fd, Some(&req.emit_bytes()), Some(b), false)
            .expect("putmsg");
    }

    /// What went down to IP, if anything.
    pub fn below(&self) -> Option<Vec<u8>> {
        self.p
            .getmsg(self.tap, 0, 70_000, false)
            .ok()
            .and_then(|g| g.data)
    }

    /// Sends something up from below.
    pub fn up(&self, how: u8, b: &[u8]) {
        self.p
            .putmsg(self.tap, Some(&[how]), Some(b), false)
            .expect("putmsg");
    }

    /// What came up to IP above, if anything.
    pub fn above(&self) -> Option<Vec<u8>> {
        let Got { ctl, data, .. } = self.p.getmsg(self.fd, 512, 70_000, false).ok()?;
        let ind = Prim::parse_bytes(&ctl.expect("DL_UNITDATA_IND")).expect("a primitive");
        assert_eq!(
            ind,
            Prim::UnitdataInd {
                dest: vec![],
                src: vec![],
                group: 0
            }
        );
        data
    }

    pub fn dropped(&self, why: &str) -> u64 {
        self.k
            .drops()
            .iter()
            .filter(|((m, w), _)| *m == "vtunl" && *w == why)
            .map(|(_, n)| *n)
            .sum()
    }
}

/// Figure 2(a), plumbed and bound.
pub fn figure_2a() -> World {
    let w = world("ip");
    w.vtunl()
        .setconf_transport(US, IPPROTO_ENCAP)
        .expect("setconf");
    w.bind();
    w
}

/// Figure 2(b), plumbed and bound.
pub fn figure_2b() -> World {
    let w = world("le");
    w.vtunl()
        .setconf_dlsuser(Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(255, 255, 0, 0), 2)
        .unwrap();
    w.bind();
    w
}

pub fn datagram(src: Ipv4Addr, dst: Ipv4Addr, len: u16, df: bool) -> Vec<u8> {
    let o = Outer {
        tos: 0,
        len,
        ident: 9,
        df,
        ttl: 31,
        proto: 17,
        src: src.to_bits(),
        dst: dst.to_bits(),
    };
    let mut b = o.bytes().to_vec();
    b.resize(usize::from(len), 0xab);
    b
}

pub fn header(b: &[u8]) -> Ipv4 {
    assert_eq!(checksum(&b[..20]), 0);
    Ipv4::read(b).expect("a header")
}

pub fn outer(src: Ipv4Addr, dst: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let len = inner.len() as u16 + 20;
    let o = Outer {
        tos: 0,
        len,
        ident: 1,
        df: false,
        ttl: 60,
        proto: 4,
        src: src.to_bits(),
        dst: dst.to_bits(),
    };
    [&o.bytes()[..], inner].concat()
}
