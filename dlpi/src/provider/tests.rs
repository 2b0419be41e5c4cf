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

mod datagrams;
mod links;
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
