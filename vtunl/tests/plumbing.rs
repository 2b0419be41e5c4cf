//! vtunl in streams, as in Figure 2, over stand-ins for /dev/ip and a data link. Each test
//! cites the row that it reads.
//!
//! ```text
//!    test process (as ip: DLPI up here)        getmsg, putmsg
//!          │
//!        vtunl
//!          │
//!    "ip" or "le" of this file                 answers binds; what goes down comes to the
//!                                              stream opened first, and back
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::prim::{self, InfoAck, Prim};
use streams::prelude::*;
use streams::{Config, Got, Ioctl, Kernel, Process, Signal, StrIoctl, Sys, Which, oflag};
use vtunl::client::{Binding, Client, DEFAULT};
use vtunl::encap_table::{ENCAP_B, ENCAP_D, ENCAP_G, ENCAP_S};
use vtunl::header::{IPPROTO_ENCAP, Ipv4, Outer, checksum};
use vtunl::ioctl::*;
use vtunl::lifetime::Notice;

/// What the stand-in drivers share with the test: the queue that taps them.
#[derive(Default)]
struct Wire {
    tap: Option<QRef>,
    stream: Option<QRef>,
    /// Answer binds with this TLI or DLPI error instead.
    refuse: Option<u32>,
    /// Keep the datagrams: no room.
    full: bool,
}

/// A driver that is IP or a data link to vtunl. Its first stream is the test's end:
/// what vtunl sends down is read there, what is written there goes up to vtunl.
struct Below<const IP: bool> {
    tap: bool,
}

impl<const IP: bool> Module for Below<IP> {
    type Shared = Wire;
    const INFO: ModuleInfo = ModuleInfo::named(1, if IP { "ip" } else { "le" }).marks(2000, 100);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let me = q.rd().qref();
        let w = q.shared();
        let tap = w.tap.is_none(); // the first open is the test's end
        *(if tap { &mut w.tap } else { &mut w.stream }) = Some(me);
        Ok(Below { tap })
    }
}

fn wsrv<const IP: bool>(q: &mut Queue<'_, Below<IP>>) {
    while let Some(mp) = q.getq() {
        if q.shared().full {
            return q.putbq(mp);
        }
        pass(q, mp);
    }
}

/// To the other one of the two streams.
fn pass<const IP: bool>(q: &mut Queue<'_, Below<IP>>, mp: Msg) {
    let tap = q.ptr().tap;
    let w = q.shared();
    match if tap { w.stream } else { w.tap } {
        Some(to) => q.putnext_of(to, mp),
        None => q.freemsg(mp),
    }
}

fn wput<const IP: bool>(q: &mut Queue<'_, Below<IP>>, mut mp: Msg) {
    let words: Vec<u32> = mp
        .rd()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|w| u32::from_ne_bytes(*w))
        .collect();
    let refuse = q.shared().refuse;
    match mp.ty() {
        MsgType::Data if q.shared().full => q.putq(mp),
        MsgType::Data => pass(q, mp),
        // The test's end: byte 0 of the control part says what the datagram goes up as.
        MsgType::Proto if q.ptr().tap => {
            let how = mp.rd()[0];
            let Some(mut data) = mp.take_cont() else {
                return;
            };
            match how {
                b'c' => data.set_ty(MsgType::Ctl),
                b'f' => {
                    q.shared().full = true;
                    return q.freemsg(data);
                }
                b'e' => {
                    q.shared().full = false;
                    if let Some(mut other) = q.shared().stream.and_then(|s| q.at(s)) {
                        other.wr().qenable();
                    }
                    return q.freemsg(data);
                }
                b'r' => {
                    q.shared().refuse = Some(u32::from(data.rd()[0]));
                    return q.freemsg(data);
                }
                b'i' => {
                    let mut ind = Prim::UnitdataInd {
                        dest: vec![255; 8],
                        src: vec![1; 8],
                        group: 1,
                    }
                    .emit();
                    ind.set_cont(Some(data));
                    data = ind;
                }
                _ => {}
            }
            pass(q, data);
        }
        MsgType::Proto | MsgType::PcProto if IP => {
            // ip_bind: address length 0, the protocol behind.
            let ack: Vec<u32> = match (words[0], refuse) {
                (6, Some(tli)) => vec![18, 6, tli, 13],
                (6, None) => {
                    assert_eq!((&words[1..], mp.rd()[16]), (&[0, 16, 0][..], 4));
                    vec![17, 0, 16, 0]
                }
                (7, _) => vec![19, 7],
                (n, _) => panic!("TPI primitive {n}"),
            };
            let b: Vec<u8> = ack.iter().flat_map(|w| w.to_ne_bytes()).collect();
            q.qreply(Msg::of(MsgType::PcProto, &b));
        }
        MsgType::Proto | MsgType::PcProto => {
            let p = Prim::parse(&mp).expect("a DLPI request");
            let n = p.number();
            let answer = match (p, refuse) {
                (_, Some(e)) if n == e => Prim::error_ack(n, prim::DlErrno::BADPPA),
                (Prim::BindReq { sap, .. }, _) => Prim::BindAck {
                    sap,
                    addr: vec![0; 8],
                    max_conind: 0,
                    xidtest_flg: 0,
                },
                (Prim::InfoReq, _) => Prim::InfoAck {
                    info: InfoAck::default(),
                },
                _ => Prim::ok_ack(n),
            };
            q.qreply(answer.emit());
        }
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl => q.iocnak(mp, Errno::ENOTTY),
        _ => q.freemsg(mp),
    }
}

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MH: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
const CALI: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 5);
const FA1: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const FA2: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 1);
const HOST: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

struct World {
    k: Kernel,
    p: Process,
    fd: i32,
    tap: i32,
}

/// A stream with vtunl over /dev/ip or /dev/le, and the test's end of the latter.
fn world(below: &'static str) -> World {
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
    fn vtunl(&self) -> Client<'_, Process> {
        Client::new(&self.p, self.fd)
    }

    fn dl(&self, p: &Prim) -> Prim {
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
    fn bind(&self) {
        let attach = Prim::AttachReq { ppa: 0 };
        assert_eq!(self.dl(&attach), Prim::ok_ack(attach.number()));
        assert!(matches!(self.dl(&Prim::bind(0x800)), Prim::BindAck { .. }));
    }

    /// A datagram from IP above.
    fn down(&self, b: &[u8]) {
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
    fn below(&self) -> Option<Vec<u8>> {
        self.p
            .getmsg(self.tap, 0, 70_000, false)
            .ok()
            .and_then(|g| g.data)
    }

    /// Sends something up from below.
    fn up(&self, how: u8, b: &[u8]) {
        self.p
            .putmsg(self.tap, Some(&[how]), Some(b), false)
            .expect("putmsg");
    }

    /// What came up to IP above, if anything.
    fn above(&self) -> Option<Vec<u8>> {
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

    fn dropped(&self, why: &str) -> u64 {
        self.k
            .drops()
            .iter()
            .filter(|((m, w), _)| *m == "vtunl" && *w == why)
            .map(|(_, n)| *n)
            .sum()
    }
}

/// Figure 2(a), plumbed and bound.
fn figure_2a() -> World {
    let w = world("ip");
    w.vtunl()
        .setconf_transport(US, IPPROTO_ENCAP)
        .expect("setconf");
    w.bind();
    w
}

fn datagram(src: Ipv4Addr, dst: Ipv4Addr, len: u16, df: bool) -> Vec<u8> {
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

fn header(b: &[u8]) -> Ipv4 {
    assert_eq!(checksum(&b[..20]), 0);
    Ipv4::read(b).expect("a header")
}

fn outer(src: Ipv4Addr, dst: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
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

#[test]
fn modinfo_shows_a_driver_and_a_module() {
    // The paper, section 4: "The output should indicate two entries for vtunl".
    let w = world("ip");
    let rows: Vec<_> =
        w.k.modinfo()
            .into_iter()
            .filter(|r| r.name == "vtunl")
            .collect();
    assert_eq!(
        (
            rows.len(),
            rows.iter().filter(|r| r.major.is_some()).count()
        ),
        (2, 1)
    );
    assert_eq!(w.k.rem_drv("vtunl"), Err(Errno::EBUSY));
}

#[test]
fn figure_2a_encapsulates_for_each_exit() {
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.vtunl()
        .encap_add(&Binding {
            flags: ENCAP_S,
            ..Binding::new(MH, FA2)
        })
        .unwrap();
    let d = datagram(CALI, MH, 100, false);
    w.down(&d);
    for fa in [FA1, FA2] {
        let b = w.below().expect("an outer datagram");
        let h = header(&b);
        assert_eq!(
            (h.src, h.dst, h.proto, h.len),
            (US.to_bits(), fa.to_bits(), 4, 120)
        );
        assert_eq!(b[20..], d);
    }
    assert_eq!(w.below(), None);
    let t = &w.vtunl().targets().unwrap()[0];
    assert_eq!((t.datagrams, t.octets, t.exits.len()), (1, 100, 2));
    // The paper, section 2: "encapsulation is denied and the packet dropped".
    w.down(&datagram(CALI, CALI, 100, false));
    assert_eq!(
        (
            w.below(),
            w.dropped("no encapsulation for this destination")
        ),
        (None, 1)
    );
    // DEFAULT_ADDR serves those without an entry.
    w.vtunl().encap_add(&Binding::new(DEFAULT, FA2)).unwrap();
    w.down(&datagram(MH, CALI, 100, false));
    assert_eq!(header(&w.below().unwrap()).dst, FA2.to_bits());
    let counts = w.vtunl().instance_stats().unwrap();
    let counts: Vec<(&str, u64)> = counts.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert_eq!(
        counts[..3],
        [("encapsulated", 3), ("decapsulated", 0), ("dropped", 1)]
    );
    let why: Vec<_> = counts[3..].iter().filter(|(_, n)| *n != 0).collect();
    assert_eq!(why, [&("no encapsulation for this destination", 1)]);
}

#[test]
fn figure_2a_decapsulates_whom_it_serves() {
    let w = figure_2a();
    let d = datagram(CALI, MH, 64, false);
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(
        (w.above(), w.dropped("no decapsulation for these hosts")),
        (None, 1)
    );
    w.vtunl().decap_add(MH, HOST, 2).unwrap();
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(w.above(), Some(d.clone()));
    w.vtunl().decap_rem(MH, HOST).unwrap();
    w.vtunl().decap_all(true).unwrap();
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(w.above(), Some(d));
}

#[test]
fn nothing_passes_before_configuration_and_bind() {
    let w = world("ip");
    w.bind();
    w.down(&datagram(CALI, MH, 64, false));
    w.vtunl().setconf_transport(US, 4).unwrap();
    assert_eq!(w.dl(&Prim::UnbindReq), Prim::ok_ack(prim::DL_UNBIND_REQ));
    w.down(&datagram(CALI, MH, 64, false));
    let got = w.p.getmsg(w.fd, 64, 0, false).unwrap().ctl.unwrap();
    let out = prim::DlErrno::OUTSTATE.0;
    assert!(matches!(Prim::parse_bytes(&got), Ok(Prim::UderrorInd { errno, .. }) if errno == out));
    w.up(b'd', &outer(FA1, US, &datagram(CALI, MH, 64, false)));
    assert_eq!((w.below(), w.dropped("the tunnel is not up")), (None, 3));
}

#[test]
fn the_provider_is_point_to_point_and_keeps_its_states() {
    // dlpi(7P), and how Solaris IP reads it: no addresses, no broadcast.
    let w = world("ip");
    let Prim::InfoAck { info } = w.dl(&Prim::InfoReq) else {
        panic!("no DL_INFO_ACK")
    };
    assert!(info.is_point_to_point());
    assert_eq!(
        (info.provider_style, info.current_state, info.max_sdu),
        (prim::DL_STYLE2, 4, 65515)
    );
    let out = |p: &Prim| Prim::error_ack(p.number(), prim::DlErrno::OUTSTATE);
    for p in [Prim::bind(0x800), Prim::UnbindReq, Prim::DetachReq] {
        assert_eq!(w.dl(&p), out(&p));
    }
    let attach = Prim::AttachReq { ppa: 3 };
    assert_eq!(w.dl(&attach), Prim::ok_ack(prim::DL_ATTACH_REQ));
    assert_eq!(w.dl(&attach), out(&attach));
    assert_eq!(
        w.dl(&Prim::bind(0x1234)),
        Prim::error_ack(prim::DL_BIND_REQ, prim::DlErrno::BADADDR)
    );
    assert_eq!(
        w.dl(&Prim::PhysAddrReq { addr_type: 2 }),
        Prim::PhysAddrAck { addr: vec![] }
    );
    let promisc = Prim::PromisconReq { level: 1 };
    assert_eq!(
        w.dl(&promisc),
        Prim::error_ack(promisc.number(), prim::DlErrno::NOTSUPPORTED)
    );
    assert!(matches!(w.dl(&Prim::bind(0x800)), Prim::BindAck { .. }));
    // Malformed: DL_BADPRIM.
    w.p.putmsg(w.fd, Some(&[0x99, 0, 0, 0]), None, false)
        .unwrap();
    let got = w.p.getmsg(w.fd, 64, 0, false).unwrap().ctl.unwrap();
    assert!(matches!(
        Prim::parse_bytes(&got),
        Ok(Prim::ErrorAck { errno: 9, .. })
    ));
}

#[test]
fn the_fast_path_is_bare_m_data_both_ways() {
    // dlpi.md 8, DL_IOC_HDR_INFO: a link header of no bytes.
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.vtunl().decap_all(true).unwrap();
    let req = Prim::UnitdataReq {
        dest: vec![],
        priority_min: 0,
        priority_max: 0,
    }
    .emit_bytes();
    let probe = |data: Vec<u8>| {
        w.p.ioctl(
            w.fd,
            Ioctl::Str(StrIoctl {
                cmd: prim::DL_IOC_HDR_INFO,
                timeout: 0,
                data,
            }),
        )
    };
    assert_eq!(probe(vec![]), Err(Errno::EINVAL));
    assert_eq!(probe(req.clone()).map(|r| r.data), Ok(req));
    let d = datagram(CALI, MH, 64, false);
    w.p.putmsg(w.fd, None, Some(&d), false).unwrap();
    assert_eq!(w.below().unwrap()[20..], d);
    w.up(b'd', &outer(FA1, US, &d));
    let got = w.p.getmsg(w.fd, 64, 2000, false).unwrap();
    assert_eq!((got.ctl, got.data), (None, Some(d)));
}

#[test]
fn one_subscriber_for_each_protocol() {
    // The paper, section 2: "at most one instance is subscribed"; the decisions: EBUSY.
    let w = figure_2a();
    let fd = w.p.open("/dev/ip", oflag::O_RDWR).unwrap();
    w.p.push(fd, "vtunl").unwrap();
    let second = Client::new(&w.p, fd);
    assert_eq!(second.setconf_transport(US, 4), Err(Errno::EBUSY));
    assert_eq!(second.getconf().unwrap().kind, VTUNL_NONE);
    let first = w.vtunl().getconf().unwrap();
    assert_eq!(
        (first.kind, first.ip_protocol, first.modname.as_str()),
        (VTUNL_TRANSPORT, 4, "ip")
    );
    assert_eq!((first.last_req, first.last_resp, first.state), (6, 17, 3));
    // The same again is no second one; another source is taken.
    assert_eq!(w.vtunl().setconf_transport(FA1, 4), Ok(()));
    assert_eq!(w.vtunl().getconf().unwrap().address, FA1.to_bits());
    assert_eq!(w.vtunl().setconf_transport(US, 47), Err(Errno::EBUSY));
    // It goes with the instance.
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    assert_eq!(second.setconf_transport(US, 4), Ok(()));
}

#[test]
fn what_setconf_refuses() {
    let w = world("ip");
    let v = w.vtunl();
    assert_eq!(v.setconf_transport(US, 17), Err(Errno::EINVAL)); // encapsulates nothing
    for a in [
        HOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        assert_eq!(v.setconf_transport(a, 4), Err(Errno::EADDRNOTAVAIL)); // Solaris's tun
    }
    assert_eq!(
        v.setconf_dlsuser(US, Ipv4Addr::new(255, 0, 0, 0), 0),
        Err(Errno::EINVAL)
    );
    // IP says no: (TLI error, what the user sees)
    for (tli, e) in [
        (1, Errno::EADDRNOTAVAIL),
        (8, Errno::EACCES),
        (3, Errno::EINVAL),
    ] {
        w.up(b'r', &[tli]);
        assert_eq!(v.setconf_transport(US, 4), Err(e));
        assert_eq!(v.getconf().unwrap().kind, VTUNL_NONE);
    }
    let fd = w.p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    assert_eq!(
        Client::new(&w.p, fd).setconf_transport(US, 4),
        Err(Errno::EINVAL)
    );
}

#[test]
fn figure_2c_issues_the_global_ioctls_that_figure_2a_sees() {
    let w = figure_2a();
    let fd = w.p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    let c = Client::new(&w.p, fd);
    c.encap_add(&Binding::new(MH, FA1)).unwrap();
    assert_eq!(w.vtunl().encap_ok(MH), Ok(true));
    c.maxpmtu_set(FA1, 1400).unwrap();
    assert_eq!(w.vtunl().maxpmtu_get(FA1), Ok(1400));
    let conf = w.vtunl().encap_get().unwrap();
    assert_eq!(conf.targets, [(MH, vec![FA1])]);
    assert_eq!((conf.exits[0].addr, conf.exits[0].pmtu), (FA1, 1400));
    c.decap_add(MH, HOST, 1).unwrap();
    assert_eq!(c.decap_get().unwrap().targets, [(MH, 1)]);
    c.encap_rem_all().unwrap();
    assert_eq!(w.vtunl().encap_ok(MH), Ok(false));
    assert_eq!(
        (c.debug_set(2), c.debug_get(), c.debug_set(4)),
        (Ok(()), Ok(2), Err(Errno::EINVAL))
    );
    assert_eq!(c.getconf().unwrap(), Conf::default());
    c.source_add(FA1, HOST).unwrap();
    assert_eq!(
        c.decap_targets().unwrap().sources,
        [(FA1, Ipv4Addr::BROADCAST)]
    );
    assert!(
        c.stats()
            .unwrap()
            .iter()
            .any(|(n, v)| n == "encapsulated" && *v == 0)
    );
}

#[test]
fn who_may() {
    // The decisions, "who may": EPERM for an unprivileged credential.
    let w = figure_2a();
    let p = w.k.process(Cred::user(100));
    let fd = p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    for r in IOCTLS {
        let n = (0..64).find(|n| r.arg.takes(*n) && *n > 0).unwrap();
        let got = p.i_str(fd, r.cmd, &vec![0; n]).err();
        assert_eq!(
            got == Some(Errno::EPERM),
            r.privileged,
            "{}: {got:?}",
            r.name
        );
    }
}

#[test]
fn ioctls_of_wrong_length_and_of_others() {
    let w = world("ip");
    assert_eq!(
        w.p.i_str(w.fd, VTUNL_ENCAP_ADD, &[0; 23]).err(),
        Some(Errno::EINVAL)
    );
    assert_eq!(
        w.p.i_str(w.fd, VTUNL_GETCONF, &[0; 8]).err(),
        Some(Errno::EINVAL)
    );
    // Not vtunl's: the module passes it on, the driver refuses.
    assert_eq!(w.p.i_str(w.fd, 0x1234, &[]).err(), Some(Errno::ENOTTY));
    let fd = w.p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    assert_eq!(w.p.i_str(fd, 0x1234, &[]).err(), Some(Errno::EINVAL));
    // Not by I_STR.
    let raw = Ioctl::Raw {
        cmd: VTUNL_DEBUG_GET,
        arg: 0,
        mem: vec![],
    };
    assert_eq!(w.p.ioctl(fd, raw).err(), Some(Errno::EINVAL));
}

#[test]
fn too_big_with_df_is_told_and_dropped() {
    // The decisions: ICMP with the tunnel MTU less the encapsulation's size.
    for (flags, over) in [(0, 20), (ENCAP_G, 24)] {
        let w = figure_2a();
        w.vtunl()
            .encap_add(&Binding {
                flags,
                ..Binding::new(MH, FA1)
            })
            .unwrap();
        w.vtunl().maxpmtu_set(FA1, 1400).unwrap();
        w.down(&datagram(CALI, MH, 1400, true));
        let b = w.below().unwrap();
        let h = header(&b);
        assert_eq!((h.src, h.dst, h.proto), (US.to_bits(), CALI.to_bits(), 1));
        assert_eq!(
            (b[20], b[21], u16::from_be_bytes([b[26], b[27]])),
            (3, 4, 1400 - over)
        );
        assert_eq!(
            (w.below(), w.dropped("too big for the tunnel, DF set")),
            (None, 1)
        );
    }
}

#[test]
fn ipv6_too_big_is_told_upwards_and_dropped() {
    // RFC 4213 3.2.2: an ICMPv6 "packet too big" with the tunnel's MTU, 1280 or more.
    for (flags, bound, mtu) in [(0, 1400, 1380), (ENCAP_G, 1400, 1376), (0, 1000, 1280)] {
        let w = figure_2a();
        let default = vtunl::client::DEFAULT;
        w.vtunl()
            .encap_add(&Binding {
                flags,
                ..Binding::new(default, FA1)
            })
            .unwrap();
        w.vtunl().maxpmtu_set(FA1, bound).unwrap();
        let mut d = vec![0x60, 0, 0, 0, 5, 0x78, 17, 64];
        d.resize(1440, 0);
        (d[8], d[24]) = (0x20, 0x20);
        w.down(&d);
        let e = w.above().unwrap();
        assert_eq!((e[6], e[7], e[40], e[41]), (58, 255, 2, 0));
        assert_eq!(u32::from_be_bytes([e[44], e[45], e[46], e[47]]), mtu);
        assert_eq!((&e[24..40], &e[48..]), (&d[8..24], &d[..1232]));
        assert_eq!(
            (w.below(), w.dropped("too big for the tunnel, DF set")),
            (None, 1)
        );
    }
}

#[test]
fn icmp_from_below_becomes_soft_state_and_is_relayed() {
    // RFC 2003 4 and 5; ip: M_CTL with the ICMP message about a datagram of ours.
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    let d = datagram(CALI, MH, 1400, true);
    w.down(&d);
    let sent = w.below().unwrap();
    let icmp = |code: u8, mtu: u16| {
        let router = Outer {
            tos: 0,
            len: 576,
            ident: 0,
            df: false,
            ttl: 64,
            proto: 1,
            src: 9,
            dst: US.to_bits(),
        };
        let mut b = router.bytes().to_vec();
        b.extend([3, code, 0, 0, 0, 0]);
        b.extend(mtu.to_be_bytes());
        b.extend(&sent[..548]);
        b
    };
    w.up(b'c', &icmp(4, 1300));
    let b = w.below().expect("relayed");
    assert_eq!(
        (header(&b).dst, b[21], u16::from_be_bytes([b[26], b[27]])),
        (CALI.to_bits(), 4, 1280)
    );
    assert_eq!(w.vtunl().encap_get().unwrap().exits[0].pmtu, 1300);
    // Unreachable: relayed, and the next datagram's source is told while it is sent.
    w.up(b'c', &icmp(1, 0));
    assert_eq!(w.below().map(|b| (b[20], b[21])), Some((3, 1)));
    w.down(&datagram(CALI, MH, 100, false));
    assert_eq!(w.below().map(|b| (b[9], b[20], b[21])), Some((1, 3, 1)));
    assert_eq!(w.below().map(|b| b[9]), Some(4));
    // Soft: forgotten after a while; the path MTU after ten minutes.
    w.k.advance(Duration::from_secs(61));
    w.down(&datagram(CALI, MH, 100, false));
    assert_eq!((w.below().map(|b| b[9]), w.below()), (Some(4), None));
    w.k.advance(Duration::from_secs(600));
    assert_eq!(w.vtunl().encap_get().unwrap().exits[0].pmtu, 65535);
}

#[test]
fn a_lifetime_ends_and_the_marked_stream_is_told() {
    // The paper, section 5: M_PCPROTO, SIGPOLL.
    let w = figure_2a();
    let fd =
        w.p.open("/dev/vtunl", oflag::O_RDWR | oflag::O_NONBLOCK)
            .unwrap();
    let c = Client::new(&w.p, fd);
    c.notify(true).unwrap();
    c.encap_add(&Binding {
        lifetime: 60,
        ..Binding::new(MH, FA1)
    })
    .unwrap();
    c.encap_add(&Binding {
        lifetime: 90,
        ..Binding::new(CALI, FA1)
    })
    .unwrap();
    w.k.advance(Duration::from_secs(59));
    assert_eq!(
        (c.encap_ok(MH), c.targets().unwrap()[0].exits[0].2),
        (Ok(true), 1)
    );
    w.k.advance(Duration::from_secs(1));
    assert_eq!((c.encap_ok(MH), c.encap_ok(CALI)), (Ok(false), Ok(true)));
    let got =
        w.p.getpmsg(fd, 512, 0, Which::Hipri(true))
            .expect("M_PCPROTO");
    let n = Notice::parse(&got.ctl.unwrap()).expect("a notice");
    assert_eq!(
        (n.number, n.expired.len(), n.expired[0].key.addr),
        (1, 1, MH.to_bits())
    );
    // The instance that set the timer goes: another one takes it over.
    w.p.close(fd).unwrap();
    w.k.advance(Duration::from_secs(30));
    assert_eq!(w.vtunl().encap_ok(CALI), Ok(false));
    let _ = Signal::SIGPOLL;
}

#[test]
fn a_full_stream_below_holds_the_datagrams_in_order() {
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.up(b'f', &[0]);
    for len in 1000..1010 {
        w.down(&datagram(CALI, MH, len, false));
    }
    assert_eq!(w.below(), None);
    w.up(b'e', &[0]);
    w.k.run_until_idle();
    let lens: Vec<u16> = std::iter::from_fn(|| w.below())
        .map(|b| header(&b).len - 20)
        .collect();
    assert_eq!(lens, (1000..1010).collect::<Vec<u16>>());
}

/// Figure 2(b), plumbed and bound.
fn figure_2b() -> World {
    let w = world("le");
    w.vtunl()
        .setconf_dlsuser(Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(255, 255, 0, 0), 2)
        .unwrap();
    w.bind();
    w
}

#[test]
fn figure_2b_attaches_binds_and_says_so() {
    let w = figure_2b();
    let c = w.vtunl().getconf().unwrap();
    assert_eq!(
        (c.kind, c.ppa, c.modname.as_str()),
        (VTUNL_DLSUSER, 2, "le")
    );
    assert_eq!((c.last_req, c.last_resp, c.state), (0x1f, 0x06, 3));
    assert_eq!((c.address, c.addr_mask), (0x0a01_0001, 0xffff_0000));
    let w = world("le");
    for (at, e) in [(0x0b, Errno::ENXIO), (0x01, Errno::ENXIO)] {
        w.up(b'r', &[at]);
        assert_eq!(
            w.vtunl()
                .setconf_dlsuser(US, Ipv4Addr::new(255, 0, 0, 0), 0),
            Err(e)
        );
        assert_eq!(w.vtunl().getconf().unwrap().kind, VTUNL_NONE);
    }
}

#[test]
fn figure_2b_tunnels_a_multicast_that_it_hears() {
    // The paper, section 2: 224.159.3.20; RFC 2003 3.1: TTL decremented.
    let group = Ipv4Addr::new(224, 159, 3, 20);
    let w = figure_2b();
    w.vtunl().encap_add(&Binding::new(DEFAULT, FA2)).unwrap();
    let d = datagram(CALI, group, 90, false);
    w.up(b'i', &d);
    assert_eq!(
        w.above(),
        None,
        "the default entry is not for what is heard"
    );
    w.vtunl().encap_add(&Binding::new(group, FA1)).unwrap();
    for how in [b'i', b'd'] {
        w.up(how, &d);
        let b = w.above().expect("given to IP for rerouting");
        let h = header(&b);
        assert_eq!((h.src, h.dst, h.proto), (0x0a01_0001, FA1.to_bits(), 4));
        assert_eq!((header(&b[20..]).ttl, &b[40..]), (30, &d[20..]));
    }
    // Our own, and what is not for a group.
    w.up(
        b'i',
        &datagram(Ipv4Addr::new(10, 1, 0, 1), group, 90, false),
    );
    w.up(b'i', &datagram(CALI, MH, 90, false));
    assert_eq!((w.above(), w.dropped("inner source is our own")), (None, 1));
}

#[test]
fn figure_2b_broadcasts_for_those_with_b_nested_without_d() {
    // RFC 2002 4.3; the decisions, B and D.
    let w = figure_2b();
    let broadcast = Ipv4Addr::new(10, 1, 255, 255);
    let d = datagram(CALI, broadcast, 90, false);
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.up(b'i', &d);
    assert_eq!(w.above(), None, "no B");
    w.vtunl()
        .encap_add(&Binding {
            flags: ENCAP_B | ENCAP_D,
            ..Binding::new(MH, FA1)
        })
        .unwrap();
    w.up(b'i', &d);
    let b = w.above().unwrap();
    assert_eq!((header(&b).dst, &b[20..]), (FA1.to_bits(), &d[..]));
    w.vtunl()
        .encap_add(&Binding {
            flags: ENCAP_B,
            ..Binding::new(MH, FA1)
        })
        .unwrap();
    for dst in [broadcast, Ipv4Addr::BROADCAST] {
        let d = datagram(CALI, dst, 90, false);
        w.up(b'i', &d);
        let b = w.above().unwrap();
        assert_eq!((header(&b).dst, header(&b).len), (FA1.to_bits(), 130));
        let inner = header(&b[20..]);
        assert_eq!(
            (inner.src, inner.dst, inner.proto),
            (0x0a01_0001, MH.to_bits(), 4)
        );
        assert_eq!(b[40..], d);
    }
    assert_eq!(w.above(), None);
}

#[test]
fn popping_gives_the_protocol_back_and_closing_leaves_nothing_behind() {
    let w = figure_2a();
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    w.p.push(w.fd, "vtunl").unwrap();
    assert_eq!(w.vtunl().setconf_transport(US, 4), Ok(()));
    w.p.close(w.fd).unwrap();
    let fd = w.p.open("/dev/ip", oflag::O_RDWR).unwrap();
    w.p.push(fd, "vtunl").unwrap();
    assert_eq!(Client::new(&w.p, fd).setconf_transport(US, 4), Ok(()));
    let w = figure_2b();
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    w.p.close(w.fd).unwrap();
    assert_eq!(
        w.k.modinfo()
            .iter()
            .filter(|r| r.name == "vtunl")
            .map(|r| r.opens)
            .sum::<u32>(),
        0
    );
    assert_eq!(w.k.rem_drv("vtunl"), Ok(()));
}
