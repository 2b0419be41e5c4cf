//! The driver in a kernel, spoken to over the system calls.

use std::collections::BTreeMap;
use std::time::Duration;

use streams::{Config, Cred, Errno, Ioctl, Kernel, Process, Sys, oflag};

use crate::addr::{Dlsap, ETHER_HDR, Ether, Mac};
use crate::client::{Client, Error};
use crate::link::fault::{Faults, Faulty};
use crate::link::null::{Null, NullCount};
use crate::link::pcap::{Pcap, PcapOptions, Speed};
use crate::link::wire::Wire;
use crate::link::{Link, Medium};
use crate::prim::note::*;
use crate::prim::*;
use crate::state::{Answer, State, TABLE};
use crate::{Links, Statistics};

mod llc;
mod stats;

const A: Mac = [2, 0, 0, 0, 0, 1];
const B: Mac = [2, 0, 0, 0, 0, 2];
const GROUP: Mac = [1, 0, 0x5e, 0, 0, 9];

fn kernel() -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    let p = k.process(Cred::ROOT);
    (k, p)
}

/// A kernel whose `/dev/le` has a port on the wire for each address.
fn host(wire: &Wire, macs: &[Mac]) -> (Kernel, Process) {
    let (k, p) = kernel();
    let ports = macs.iter().map(|m| (wire.clone(), *m)).collect();
    crate::register_wire(&k, "le", ports).expect("the name is free");
    (k, p)
}

/// A kernel whose `/dev/pt` 0 is one link.
fn over(link: impl Link + 'static) -> (Kernel, Process) {
    let (k, p) = kernel();
    let mut link = Some(Box::new(link));
    let make = move |ppa| match (ppa, link.take()) {
        (0, Some(l)) => Ok(l as Box<dyn Link>),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    crate::register(&k, "pt", Links::new(Box::new(make))).expect("the name is free");
    (k, p)
}

fn dl<T>(r: Result<T, Error>) -> DlErrno {
    match r {
        Err(Error::Dl(_, e)) => e.errno,
        Err(e) => panic!("{e:?} instead of a DLPI error"),
        Ok(_) => panic!("success instead of a DLPI error"),
    }
}

fn drops(k: &Kernel) -> BTreeMap<&'static str, u64> {
    k.drops()
        .into_iter()
        .map(|((_, why), n)| (why, n))
        .collect()
}

fn open<'a>(p: &'a Process, path: &str, ppa: u32, sap: u32) -> Client<'a> {
    let c = Client::open(p, path, Some(ppa)).expect("attached");
    c.bind(sap).expect("bound");
    c
}

fn to(mac: Mac, sap: u32) -> Vec<u8> {
    Dlsap::ether(&mac, sap as u16).as_slice().to_vec()
}

fn packet(n: u8) -> Vec<u8> {
    vec![
        0x45, 0, 0, 20, n, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]
}

// ---- states ----

/// A dl_qos_cl_sel1_t.
fn quality(kind: i32, priority: i32, protection: i32) -> Vec<u8> {
    let words = [kind, DL_UNKNOWN, priority, protection, DL_QOS_DONT_CARE];
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

/// XID and TEST to an LSAP, with the poll or final bit.
fn link_test(number: u32, mac: Mac, lsap: u32) -> Vec<u8> {
    let (flag, dest) = (DL_POLL_FINAL, to(mac, lsap));
    match number {
        DL_XID_REQ => Prim::XidReq { flag, dest },
        DL_XID_RES => Prim::XidRes { flag, dest },
        DL_TEST_REQ => Prim::TestReq { flag, dest },
        _ => Prim::TestRes { flag, dest },
    }
    .emit_bytes()
}

/// A request with sensible fields, by its number.
fn sample(number: u32) -> Vec<u8> {
    let prim = match number {
        DL_ATTACH_REQ => Prim::AttachReq { ppa: 0 },
        DL_BIND_REQ => Prim::bind(SAP_IP),
        DL_ENABMULTI_REQ => Prim::EnabmultiReq {
            addr: GROUP.to_vec(),
        },
        DL_DISABMULTI_REQ => Prim::DisabmultiReq {
            addr: GROUP.to_vec(),
        },
        DL_PROMISCON_REQ => Prim::PromisconReq {
            level: DL_PROMISC_SAP,
        },
        DL_PROMISCOFF_REQ => Prim::PromiscoffReq {
            level: DL_PROMISC_SAP,
        },
        DL_PHYS_ADDR_REQ => Prim::PhysAddrReq {
            addr_type: DL_CURR_PHYS_ADDR,
        },
        DL_SET_PHYS_ADDR_REQ => Prim::SetPhysAddrReq { addr: B.to_vec() },
        DL_NOTIFY_REQ => Prim::NotifyReq {
            notifications: 0,
            timelimit: 0,
        },
        DL_UNITDATA_REQ => Prim::UnitdataReq {
            dest: to(B, SAP_IP),
            priority_min: 0,
            priority_max: 0,
        },
        DL_SUBS_BIND_REQ => Prim::SubsBindReq {
            sap: OffLen(0x9000u16.to_ne_bytes().to_vec()),
            class: DL_PEER_BIND,
        },
        DL_SUBS_UNBIND_REQ => Prim::SubsUnbindReq {
            sap: OffLen(0x9001u16.to_ne_bytes().to_vec()),
        },
        DL_UDQOS_REQ => Prim::UdqosReq {
            qos: quality(DL_QOS_CL_SEL1 as i32, DL_QOS_DONT_CARE, DL_QOS_DONT_CARE),
        },
        DL_XID_REQ | DL_XID_RES | DL_TEST_REQ | DL_TEST_RES => return link_test(number, B, 0x42),
        n => return [n.to_ne_bytes(), [0; 4], [0; 4], [0; 4], [0; 4], [0; 4]].concat(),
    };
    prim.emit_bytes()
}

/// What acknowledges a request that is carried out.
fn ack_of(number: u32) -> u32 {
    match number {
        DL_INFO_REQ => DL_INFO_ACK,
        DL_BIND_REQ => DL_BIND_ACK,
        DL_PHYS_ADDR_REQ => DL_PHYS_ADDR_ACK,
        DL_GET_STATISTICS_REQ => DL_GET_STATISTICS_ACK,
        DL_NOTIFY_REQ => DL_NOTIFY_ACK,
        DL_SUBS_BIND_REQ => DL_SUBS_BIND_ACK,
        _ => DL_OK_ACK,
    }
}

#[test]
fn every_primitive_in_every_state_gets_the_answer_of_the_table() {
    for row in TABLE {
        let states = [
            (State::Unattached, row.unattached),
            (State::Unbound, row.unbound),
            (State::Idle, row.idle),
        ];
        for (state, want) in states {
            let wire = Wire::default();
            let (_k, p) = host(&wire, &[A]);
            let c = Client::open(&p, "/dev/le", None).expect("open");
            if state != State::Unattached {
                c.ok(&Prim::AttachReq { ppa: 0 }).expect("attach");
                // So that what turns off has something to turn off.
                c.multicast(&GROUP, true).expect("a group");
                c.promiscuous(DL_PROMISC_SAP, true).expect("promiscuous");
            }
            let silent = matches!(
                row.prim,
                DL_UNITDATA_REQ | DL_XID_REQ | DL_XID_RES | DL_TEST_REQ | DL_TEST_RES
            );
            if state == State::Idle {
                match row.prim {
                    DL_XID_REQ | DL_XID_RES => c.bind_llc(0x42, DL_AUTO_TEST).map(|_| ()),
                    DL_TEST_REQ | DL_TEST_RES => c.bind_llc(0x42, DL_AUTO_XID).map(|_| ()),
                    _ => c.bind(SAP_IP).map(|_| ()),
                }
                .expect("bind");
            }
            if (state, row.prim) == (State::Idle, DL_SUBS_UNBIND_REQ) {
                c.subs_bind(&0x9001u16.to_ne_bytes(), DL_PEER_BIND)
                    .expect("a further SAP");
            }
            let name = Prim::name_of(row.prim);
            let data = silent.then_some(&b"data"[..]);
            let hipri = row.prim == DL_INFO_REQ;
            p.putmsg(c.fd(), Some(&sample(row.prim)), data, hipri)
                .expect("putmsg");
            match want {
                Answer::Do if silent => {
                    assert_eq!(c.try_recv(), Ok(None), "{name}: no answer");
                }
                Answer::Do | Answer::Go(_) => {
                    let got = match row.prim {
                        DL_NOTIFY_REQ => c.indication(), // M_PROTO
                        _ => c.answer(),
                    };
                    let got = got.unwrap_or_else(|e| panic!("{name} in {state:?}: {e}"));
                    assert_eq!(got.number(), ack_of(row.prim), "{name} in {state:?}");
                    if let Prim::OkAck { correct_primitive } = got {
                        assert_eq!(correct_primitive, row.prim);
                    }
                }
                Answer::Nak(e) => assert_eq!(dl(c.answer()), e, "{name} in {state:?}"),
                Answer::UdErr(e) => assert_eq!(dl(c.recv()), e, "{name} in {state:?}"),
            }
            let after = match want {
                Answer::Go(next) => next,
                _ => state,
            };
            assert_eq!(
                c.info().expect("info").current_state,
                after as u32,
                "{name} in {state:?}"
            );
        }
    }
}

#[test]
fn requests_cut_short_are_badprim_and_numbers_without_a_name_too() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A]);
    let c = open(&p, "/dev/le", 0, SAP_IP);
    for number in [
        DL_ATTACH_REQ,
        DL_ENABMULTI_REQ,
        DL_PROMISCON_REQ,
        DL_PHYS_ADDR_REQ,
    ] {
        let whole = sample(number);
        p.putmsg(c.fd(), Some(&whole[..4]), None, false)
            .expect("putmsg");
        assert_eq!(
            dl(c.answer()),
            DlErrno::BADPRIM,
            "{}",
            Prim::name_of(number)
        );
    }
    for number in [0x37u32, 0xffff_ffff] {
        p.putmsg(c.fd(), Some(&number.to_ne_bytes()), None, false)
            .expect("putmsg");
        assert_eq!(dl(c.answer()), DlErrno::BADPRIM);
    }
    // Too short even for a number: nobody can be told what failed.
    p.putmsg(c.fd(), Some(&[1, 2]), None, false)
        .expect("putmsg");
    assert_eq!(drops(&k)["M_PROTO too short for a primitive"], 1);
    assert_eq!(c.info().expect("info").current_state, State::Idle as u32);
}

#[test]
fn an_attach_says_why_it_fails() {
    use std::io::ErrorKind;
    let (k, p) = kernel();
    let make = |ppa: u32| -> std::io::Result<Box<dyn Link>> {
        Err(match ppa {
            0 => ErrorKind::PermissionDenied,
            1 => ErrorKind::NotConnected,
            2 => ErrorKind::ResourceBusy,
            _ => ErrorKind::NotFound,
        }
        .into())
    };
    crate::register(&k, "no", Links::new(Box::new(make))).expect("the name is free");
    let c = Client::open(&p, "/dev/no", None).expect("open");
    let cases = [
        (0, DlErrno::ACCESS, Errno::EACCES),
        (1, DlErrno::NOTINIT, Errno::ENETDOWN),
        (2, DlErrno::INITFAILED, Errno::EBUSY),
        (3, DlErrno::BADPPA, Errno::ENXIO),
    ];
    for (ppa, errno, unix) in cases {
        let e = DlError {
            errno,
            unix: unix as i32,
        };
        assert_eq!(
            c.ok(&Prim::AttachReq { ppa }),
            Err(Error::Dl("DL_ATTACH_REQ", e))
        );
        assert_eq!(
            c.info().expect("info").current_state,
            State::Unattached as u32
        );
    }
    let user = k.process(Cred::user(100));
    assert_eq!(user.open("/dev/no", oflag::O_RDWR), Err(Errno::EACCES)); // le(7D): mode 0600
}

#[test]
fn style_1_is_attached_by_its_open() {
    let (k, p) = kernel();
    let wire = Wire::default();
    let make = move |_| Ok(Box::new(wire.port(A)) as Box<dyn Link>);
    crate::register(&k, "le0", Links::new(Box::new(make)).style1_of(0)).expect("free");
    crate::register(&k, "le1", Links::default().style1_of(1)).expect("free");
    let c = Client::open(&p, "/dev/le0", None).expect("open");
    let info = c.info().expect("info");
    assert_eq!(
        (info.provider_style, info.current_state),
        (DL_STYLE1, State::Unbound as u32)
    );
    assert_eq!(dl(c.ok(&Prim::AttachReq { ppa: 0 })), DlErrno::NOTSUPPORTED);
    assert_eq!(dl(c.detach()), DlErrno::NOTSUPPORTED);
    assert!(c.bind(SAP_IP).is_ok());
    assert_eq!(p.open("/dev/le1", oflag::O_RDWR), Err(Errno::ENXIO));
}

#[test]
fn what_a_bind_refuses() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A]);
    let c = Client::open(&p, "/dev/le", Some(0)).expect("open");
    let bind = |sap, service_mode, xidtest_flg| Prim::BindReq {
        sap,
        max_conind: 0,
        service_mode,
        conn_mgmt: 0,
        xidtest_flg,
    };
    assert_eq!(dl(c.request(&bind(0x800, 2, DL_AUTO_XID))), DlErrno::NOAUTO);
    assert_eq!(dl(c.request(&bind(0x800, 1, 0))), DlErrno::UNSUPPORTED);
    assert_eq!(dl(c.request(&bind(0x1_0000, 2, 0))), DlErrno::BADSAP);
    assert_eq!(c.bind(0xffff), Ok(to(A, 0xffff)));
}

// ---- what a provider says it is ----

#[test]
fn an_ethernet_and_a_point_to_point_link_are_told_apart() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A]);
    let c = open(&p, "/dev/le", 0, SAP_IP);
    // le(7D): 1500, 8 = 6 + 2, DL_ETHER, -2, style 2, broadcast all ones
    let info = c.info().expect("info");
    assert_eq!(
        (
            info.max_sdu,
            info.min_sdu,
            info.addr_length,
            info.sap_length
        ),
        (1500, 0, 8, -2)
    );
    assert_eq!(
        (info.mac_type, info.provider_style, info.version),
        (mac::DL_ETHER, DL_STYLE2, 2)
    );
    assert_eq!(
        (info.addr.clone(), info.brdcst_addr.clone()),
        (to(A, SAP_IP), vec![0xff; 6])
    );
    assert!(!info.is_point_to_point());
    assert_eq!(c.phys_addr(), Ok(A.to_vec()));

    let (_k, p) = over(Null::new(Medium::PointToPoint));
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    let info = c.info().expect("info");
    assert_eq!(
        (info.addr_length, info.sap_length, info.brdcst_addr.len()),
        (0, 0, 0)
    );
    assert!(info.is_point_to_point());
    assert_eq!(c.phys_addr(), Ok(vec![]));
    assert_eq!(dl(c.multicast(&GROUP, true)), DlErrno::NOTSUPPORTED);
    assert_eq!(
        dl(c.ok(&Prim::SetPhysAddrReq { addr: B.to_vec() })),
        DlErrno::NOTSUPPORTED
    );
}

// ---- datagrams ----

#[test]
fn two_kernels_talk_over_a_wire() {
    let wire = Wire::default();
    let (ka, pa) = host(&wire, &[A]);
    let (kb, pb) = host(&wire, &[B]);
    let (a, b) = (
        open(&pa, "/dev/le", 0, SAP_IP),
        open(&pb, "/dev/le", 0, SAP_IP),
    );
    a.send(&to(B, SAP_IP), b"unicast").expect("sent");
    a.send(&to([0xff; 6], SAP_IP), b"broadcast").expect("sent");
    a.send(&to(B, SAP_ARP), b"another SAP").expect("sent");
    a.send(&to([2; 6], SAP_IP), b"another station")
        .expect("sent");
    kb.run_until_idle();
    let got = b.recv().expect("unicast");
    assert_eq!((got.data, got.group), (b"unicast".to_vec(), false));
    assert_eq!((got.dest, got.src), (to(B, SAP_IP), to(A, SAP_IP)));
    let got = b.recv().expect("broadcast");
    assert_eq!((got.data, got.group), (b"broadcast".to_vec(), true));
    assert_eq!(b.try_recv(), Ok(None));
    assert_eq!(drops(&kb)["no stream for this SAP or address"], 2);
    b.send(&got.src, b"back").expect("sent");
    ka.run_until_idle();
    assert_eq!(a.recv().expect("back").data, b"back");
    let stats = b.statistics().expect("statistics");
    // What is for another station is the hardware's to pass over.
    let want = Statistics {
        ipackets: 3,
        rbytes: 69,
        unknowns: 1,
        ierrors: 0,
        opackets: 1,
        obytes: 18,
        ..stats
    };
    assert_eq!(stats, want);
}

#[test]
fn a_datagram_that_can_not_go_is_told_and_counted() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A]);
    let c = open(&p, "/dev/le", 0, SAP_IP);
    c.send(&to(B, SAP_IP), &[0; 1501]).expect("sent");
    assert_eq!(dl(c.recv()), DlErrno::BADDATA);
    c.send(&B, b"six bytes are no DLSAP").expect("sent");
    assert_eq!(dl(c.recv()), DlErrno::BADADDR);
    c.put(
        &Prim::UnitdataReq {
            dest: to(B, SAP_IP),
            priority_min: 0,
            priority_max: 0,
        },
        None,
    )
    .expect("sent");
    assert_eq!(dl(c.recv()), DlErrno::BADDATA);
    p.putmsg(c.fd(), Some(&7u32.to_ne_bytes()), Some(b"short"), false)
        .expect("sent");
    assert_eq!(dl(c.recv()), DlErrno::BADPRIM);
    c.send(&to(B, SAP_IP), &[0; 1500]).expect("sent");
    assert_eq!(c.try_recv(), Ok(None));
    let d = drops(&k);
    assert_eq!(d["larger than the link takes"], 1);
    assert_eq!(d["not an address of this link"], 1);
    assert_eq!(d["a malformed DL_UNITDATA_REQ"], 1);
    // M_DATA without a fast path
    c.send_frame(b"bare").expect("sent");
    assert_eq!(
        drops(&k)["M_DATA on a stream that is neither raw nor fast"],
        1
    );
}

#[test]
fn streams_of_one_sap_get_a_copy_each_and_802_3_is_one_sap() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A, B]);
    let a = open(&p, "/dev/le", 0, SAP_IP);
    let three: Vec<_> = (0..3).map(|_| open(&p, "/dev/le", 1, SAP_IP)).collect();
    let other = open(&p, "/dev/le", 1, SAP_ARP);
    a.send(&to(B, SAP_IP), b"for three").expect("sent");
    for c in &three {
        assert_eq!(c.recv().expect("a copy").data, b"for three");
    }
    assert_eq!(other.try_recv(), Ok(None));
    // hme(7D): SAPs 0 to 1500 are equivalent; the type field has the length
    let (x, y) = (open(&p, "/dev/le", 1, 0), open(&p, "/dev/le", 1, 1500));
    a.send(&to(B, 255), b"llc").expect("sent");
    for c in [&x, &y] {
        let got = c.recv().expect("802.3");
        assert_eq!((got.data, got.dest), (b"llc".to_vec(), to(B, 3)));
    }
}

#[test]
fn groups_and_promiscuity_are_each_streams_own() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A, B]);
    let a = open(&p, "/dev/le", 0, SAP_IP);
    let (b, c) = (
        open(&p, "/dev/le", 1, SAP_IP),
        open(&p, "/dev/le", 1, SAP_IP),
    );
    b.multicast(&GROUP, true).expect("enabled");
    a.send(&to(GROUP, SAP_IP), b"group").expect("sent");
    assert!(b.recv().expect("enabled").group);
    assert_eq!(c.try_recv(), Ok(None));
    b.multicast(&GROUP, false).expect("disabled");
    assert_eq!(dl(b.multicast(&GROUP, false)), DlErrno::NOTENAB);
    assert_eq!(dl(b.multicast(&A, true)), DlErrno::BADADDR);
    // Everything on the medium, what this host sends itself too.
    let snoop = open(&p, "/dev/le", 1, 0);
    snoop.promiscuous(DL_PROMISC_PHYS, true).expect("on");
    snoop.promiscuous(DL_PROMISC_SAP, true).expect("on");
    snoop.raw().expect("raw");
    a.send(&to([4; 6], SAP_ARP), b"not ours").expect("sent");
    k.run_until_idle();
    b.send(&to(A, SAP_IP), b"ours").expect("sent");
    for (src, text, sap) in [(A, &b"not ours"[..], SAP_ARP), (B, b"ours", SAP_IP)] {
        let frame = snoop.recv().expect("a frame").data;
        let h = Ether::parse(&frame).expect("a header");
        assert_eq!(
            (h.src, u32::from(h.kind), &frame[ETHER_HDR..]),
            (src, sap, text)
        );
    }
    assert_eq!(a.recv().expect("ours").data, b"ours");
    snoop.promiscuous(DL_PROMISC_PHYS, false).expect("off");
    b.send(&to(A, SAP_IP), b"unseen").expect("sent");
    assert_eq!(snoop.try_recv(), Ok(None));
}

#[test]
fn what_is_for_ourselves_does_not_leave() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A, B]);
    let (a, b) = (
        open(&p, "/dev/le", 0, SAP_IP),
        open(&p, "/dev/le", 0, SAP_IP),
    );
    let far = open(&p, "/dev/le", 1, SAP_IP);
    far.promiscuous(DL_PROMISC_PHYS, true).expect("on");
    a.send(&to(A, SAP_IP), b"me").expect("sent");
    assert_eq!(
        (a.recv().expect("me").data, b.recv().expect("me").data),
        (b"me".to_vec(), b"me".to_vec())
    );
    assert_eq!(far.try_recv(), Ok(None));
}

// ---- fast path and raw ----

#[test]
fn the_fast_path_gives_a_header_and_takes_and_gives_bare_data() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A, B]);
    let (a, b) = (
        open(&p, "/dev/le", 0, SAP_IP),
        open(&p, "/dev/le", 1, SAP_IP),
    );
    let header = a.fast_path(&to(B, SAP_IP)).expect("a header");
    assert_eq!(
        header,
        Ether {
            dst: B,
            src: A,
            kind: 0x800
        }
        .emit()
    );
    a.send_frame(&[&header[..], b"fast"].concat())
        .expect("sent");
    assert_eq!(b.recv().expect("an indication").data, b"fast");
    b.fast_path(&to(A, SAP_IP)).expect("a header");
    a.send_frame(&[&header[..], b"bare"].concat())
        .expect("sent");
    let got = b.recv().expect("M_DATA");
    assert_eq!((got.data, got.dest.len()), (b"bare".to_vec(), 0));
    // A group still comes as an indication: only that tells it is one.
    a.send(&to([0xff; 6], SAP_IP), b"all").expect("sent");
    assert!(b.recv().expect("an indication").group);
    // Refusals: another address, 802.3, not bound, no template.
    let einval = Err(Error::Sys(Errno::EINVAL));
    assert_eq!(a.fast_path(&B), einval);
    assert_eq!(a.fast_path(&to(B, 100)), einval);
    assert_eq!(
        p.i_str(a.fd(), DL_IOC_HDR_INFO, b"?").map(|r| r.rval),
        Err(Errno::EINVAL)
    );
    let c = Client::open(&p, "/dev/le", Some(0)).expect("attached");
    assert_eq!(c.fast_path(&to(B, SAP_IP)), einval);
    // An unbind ends it.
    a.unbind().expect("unbound");
    a.bind(SAP_IP).expect("bound");
    a.send_frame(&[&header[..], b"lost"].concat())
        .expect("sent");
    assert_eq!(b.try_recv(), Ok(None));
}

#[test]
fn a_point_to_point_link_has_an_empty_header() {
    let null = Null::new(Medium::PointToPoint).looped();
    let (k, p) = over(null);
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    assert_eq!(c.fast_path(&[]), Ok(vec![]));
    c.send_frame(&packet(1)).expect("sent");
    k.run_until_idle();
    assert_eq!(c.recv().expect("it").data, packet(1));
    c.send_frame(&[0x15; 20]).expect("sent");
    c.send_frame(&[0x45; 1501]).expect("sent");
    k.run_until_idle();
    assert_eq!(c.try_recv(), Ok(None));
    let d = drops(&k);
    assert_eq!(d["neither IPv4 nor IPv6"], 1);
    assert_eq!(
        d["longer than the link takes, or shorter than its header"],
        1
    );
}

#[test]
fn other_ioctls_are_refused_and_a_flush_is_turned_round() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A, B]);
    let (a, b) = (
        open(&p, "/dev/le", 0, SAP_IP),
        open(&p, "/dev/le", 1, SAP_IP),
    );
    assert_eq!(
        p.i_str(a.fd(), DLIOCNATIVE, &[]).map(|r| r.rval),
        Err(Errno::EINVAL)
    );
    let raw = Ioctl::Raw {
        cmd: 0x1234,
        arg: 0,
        mem: Vec::new(),
    };
    assert!(p.ioctl(a.fd(), raw).is_err());
    a.send(&to(B, SAP_IP), b"flushed").expect("sent");
    k.run_until_idle();
    p.ioctl(b.fd(), Ioctl::Flush(streams::message::FLUSHRW.into()))
        .expect("flushed");
    assert_eq!(b.try_recv(), Ok(None));
    a.send(&to(B, SAP_IP), b"after").expect("sent");
    assert_eq!(b.recv().expect("after").data, b"after");
}

// ---- addresses and notes ----

#[test]
fn a_new_address_reaches_every_stream() {
    let wire = Wire::default();
    let (_k, p) = host(&wire, &[A, B]);
    let (a, told) = (
        open(&p, "/dev/le", 0, SAP_IP),
        open(&p, "/dev/le", 0, SAP_ARP),
    );
    let unaware = open(&p, "/dev/le", 0, SAP_IPV6);
    let want = DL_NOTE_PHYS_ADDR | DL_NOTE_SDU_SIZE | DL_NOTE_LINK_UP | 0x8000_0000;
    let ack = told.request(&Prim::NotifyReq {
        notifications: want,
        timelimit: 0,
    });
    assert!(
        matches!(ack, Ok(Prim::NotifyAck { notifications }) if notifications & want == want & 0xff)
    );
    let note = |n, data, addr: &[u8]| {
        Ok(Prim::NotifyInd {
            notification: n,
            data,
            addr: addr.to_vec(),
        })
    };
    assert_eq!(told.indication(), note(DL_NOTE_LINK_UP, 0, &[]));
    assert_eq!(told.indication(), note(DL_NOTE_SDU_SIZE, 1500, &[]));
    assert_eq!(
        told.indication(),
        note(DL_NOTE_PHYS_ADDR, DL_CURR_PHYS_ADDR, &A)
    );
    let new = [2, 0, 0, 0, 0, 9];
    for bad in [&GROUP[..], &new[..5]] {
        assert_eq!(
            dl(a.ok(&Prim::SetPhysAddrReq { addr: bad.to_vec() })),
            DlErrno::BADADDR
        );
    }
    a.ok(&Prim::SetPhysAddrReq { addr: new.to_vec() })
        .expect("changed");
    assert_eq!(a.phys_addr(), Ok(new.to_vec()));
    let fact = told.request(&Prim::PhysAddrReq {
        addr_type: DL_FACT_PHYS_ADDR,
    });
    assert_eq!(fact, Ok(Prim::PhysAddrAck { addr: A.to_vec() }));
    assert_eq!(
        told.indication(),
        note(DL_NOTE_PHYS_ADDR, DL_CURR_PHYS_ADDR, &new)
    );
    assert_eq!(
        unaware.info(),
        Err(Error::Sys(Errno::EIO)),
        "le(7D): M_ERROR"
    );
    let far = open(&p, "/dev/le", 1, SAP_IP);
    far.send(&to(new, SAP_IP), b"new").expect("sent");
    assert_eq!(a.recv().expect("new").data, b"new");
}

// ---- links with a will of their own ----

#[test]
fn a_link_without_room_delays_and_loses_nothing() {
    let null = Null::new(Medium::PointToPoint).stuttering();
    let count: NullCount = null.count();
    let (k, p) = over(null);
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    for n in 0..10 {
        c.send(&[], &packet(n)).expect("sent");
    }
    assert_eq!(count.frames(), 0);
    k.advance(Duration::from_millis(50));
    assert_eq!(count.frames(), 10);
    assert_eq!(c.statistics().expect("statistics").opackets, 10);
    c.send(&[], &packet(11)).expect("sent");
    c.unbind().expect("unbound");
    k.advance(Duration::from_millis(50));
    assert_eq!(count.frames(), 10, "an unbind flushes what waits");
}

#[test]
fn faults_run_on_the_kernels_time() {
    let slow = Faults {
        delay: Duration::from_millis(10),
        ..Faults::default()
    };
    let null = Null::new(Medium::PointToPoint).looped();
    let (k, p) = over(Faulty::with(null, slow, slow));
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    c.send(&[], &packet(1)).expect("sent");
    k.advance(Duration::from_millis(19));
    assert_eq!(c.try_recv(), Ok(None));
    k.advance(Duration::from_millis(1));
    assert_eq!(c.recv().expect("it").data, packet(1));
}

fn capture(n: u8) -> Vec<u8> {
    let mut f = Vec::new();
    for w in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65535, 101] {
        f.extend_from_slice(&w.to_be_bytes());
    }
    for i in 0..n {
        for w in [u32::from(i), 0, 20, 20] {
            f.extend_from_slice(&w.to_be_bytes());
        }
        f.extend_from_slice(&packet(i));
    }
    f
}

fn replay(n: u8, speed: Speed) -> Pcap {
    let options = PcapOptions {
        speed,
        ..PcapOptions::default()
    };
    Pcap::new(
        Some(Box::new(std::io::Cursor::new(capture(n)))),
        None,
        options,
    )
    .expect("a capture")
}

#[test]
fn a_replay_waits_for_a_bound_stream_and_for_room_and_loses_nothing() {
    let link = replay(255, Speed::Fast);
    let control = link.control();
    let (k, p) = over(link);
    let c = Client::open(&p, "/dev/pt", Some(0)).expect("attached");
    k.run_until_idle();
    assert_eq!(control.read(), 0, "nobody is bound");
    c.bind(SAP_IP).expect("bound");
    k.run_until_idle();
    let first = control.read();
    assert!(
        first > 0 && !control.ended(),
        "{first} of 255 fill the stream"
    );
    for i in 0..255 {
        assert_eq!(c.recv().expect("a packet").data, packet(i));
    }
    assert!(control.ended());
    assert_eq!(drops(&k), BTreeMap::new());
}

#[test]
fn recorded_speed_is_the_kernels() {
    let (k, p) = over(replay(3, Speed::Recorded));
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    k.run_until_idle();
    for i in 0..3 {
        assert_eq!(c.recv().expect("due").data, packet(i));
        assert_eq!(c.try_recv(), Ok(None));
        k.advance(Duration::from_secs(1));
    }
}

#[test]
fn the_doorbell_passes_on_when_its_stream_closes() {
    let null = Null::new(Medium::PointToPoint).with_frame(&packet(7));
    let count = null.count();
    let (k, p) = over(null);
    let first = open(&p, "/dev/pt", 0, SAP_IP);
    let second = open(&p, "/dev/pt", 0, SAP_IP);
    drop(first);
    count.order(100); // more than a batch
    k.run_until_idle();
    for _ in 0..100 {
        assert_eq!(second.recv().expect("a frame").data, packet(7));
    }
    drop(second);
    count.order(1);
    k.run_until_idle();
    let again = Client::open(&p, "/dev/pt", Some(0));
    assert_eq!(
        dl(again),
        DlErrno::BADPPA,
        "the link went with its last stream"
    );
}

#[test]
fn frames_that_are_no_good_are_counted_drops() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A]);
    let _c = open(&p, "/dev/le", 0, SAP_IP);
    let mut far = wire.port(B);
    let header = Ether {
        dst: A,
        src: B,
        kind: 100,
    }
    .emit();
    for bad in [&[0; 13][..], &[], &header, &[0; 1515]] {
        far.send(bad).expect("the wire takes all");
    }
    k.run_until_idle();
    let d = drops(&k);
    assert_eq!(d["shorter than an Ethernet header"], 2);
    assert_eq!(d["shorter than its 802.3 length"], 1);
    assert_eq!(d["longer than the link's MTU"], 1);
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

#[test]
fn a_storm_of_primitives_ends_in_answers_or_counted_drops() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A, B]);
    let c = Client::open(&p, "/dev/le", None).expect("open");
    let far = open(&p, "/dev/le", 1, SAP_IP);
    let mut seed = 7;
    for _ in 0..20_000 {
        let r = random(&mut seed);
        let number = Prim::ALL[(r % Prim::ALL.len() as u64) as usize].0;
        let mut block = sample(number);
        if r & 0x100 != 0 {
            let at = (r >> 9) as usize % block.len();
            block[at] = (r >> 40) as u8;
        }
        if r & 0x200 != 0 {
            block.truncate((r >> 20) as usize % (block.len() + 1));
        }
        let data = (r & 0x400 != 0).then(|| vec![r as u8; (r >> 30) as usize % 2000]);
        let hipri = r & 0x800 != 0 && data.is_none();
        // EAGAIN and its like are answers too.
        let _ = p.putmsg(
            c.fd(),
            (!block.is_empty()).then_some(&block[..]),
            data.as_deref(),
            hipri,
        );
        for fd in [c.fd(), far.fd()] {
            p.ioctl(fd, Ioctl::Flush(streams::message::FLUSHR.into()))
                .expect("flushed");
        }
    }
    k.run_until_idle();
    assert!(c.info().is_ok());
    drop(c);
    assert!(Client::open(&p, "/dev/le", Some(0)).is_ok());
}
