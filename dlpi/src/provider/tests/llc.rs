//! LLC class I: XID and TEST by hand and by the provider, SNAP, further SAPs, quality.

use super::*;
use crate::client::Datagram;
use crate::llc::XID_CLASS_I;

/// Two hosts on a wire, each with /dev/le and /dev/llc1 over it.
struct Pair {
    ka: Kernel,
    pa: Process,
    kb: Kernel,
    pb: Process,
}

fn pair() -> Pair {
    let wire = Wire::default();
    let ((ka, pa), (kb, pb)) = (host(&wire, &[A]), host(&wire, &[B]));
    for k in [&ka, &kb] {
        crate::register_llc1(k, "le").expect("le is there");
    }
    Pair { ka, pa, kb, pb }
}

impl Pair {
    /// What was sent arrives, and what that causes too.
    fn settle(&self) {
        while self.ka.step() | self.kb.step() {}
    }
}

/// A DLSAP of llc1.
fn at(mac: Mac, lsap: u8) -> Vec<u8> {
    [&mac[..], &[lsap]].concat()
}

fn test_req(dest: Vec<u8>) -> Prim {
    Prim::TestReq {
        flag: DL_POLL_FINAL,
        dest,
    }
}

#[test]
fn llc1_says_what_it_is() {
    // llc1(7D): 1497, 6 + 1, DL_CSMACD, sap_length -1, even SAPs up to 0xfe
    let p = pair();
    let c = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    let info = c.info().expect("info");
    assert_eq!(
        (info.max_sdu, info.addr_length, info.sap_length),
        (1497, 7, -1)
    );
    assert_eq!((info.mac_type, info.addr), (mac::DL_CSMACD, vec![0; 7]));
    for bad in [1, 0x43, 0x100, 0x800] {
        assert_eq!(dl(c.bind(bad)), DlErrno::BADSAP, "{bad:#x}");
    }
    assert_eq!(c.bind_llc(0x42, 0), Ok(at(A, 0x42)));
    assert_eq!(c.info().expect("info").addr, at(A, 0x42));
    // The same link as le's.
    let le = open(&p.pa, "/dev/le", 0, SAP_IP);
    assert_eq!(le.phys_addr(), c.phys_addr());
    assert_eq!(le.info().expect("info").max_sdu, 1500);
    let (k, _p) = kernel();
    assert_eq!(crate::register_llc1(&k, "le"), Err(Errno::EINVAL));
}

#[test]
fn a_stream_tests_a_stream_on_another_host() {
    // DLPI 2.0.0 DL_TEST_REQ, DL_TEST_IND, DL_TEST_RES, DL_TEST_CON
    let p = pair();
    let a = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    let b = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    a.bind_llc(0x04, 0).expect("bound");
    b.bind_llc(0x42, 0).expect("bound");
    a.put(&test_req(at(B, 0x42)), Some(b"are you there?"))
        .expect("sent");
    p.settle();
    let (ind, data) = b.indication_with_data().expect("an indication");
    let (flag, dest, src) = (DL_POLL_FINAL, at(B, 0x42), at(A, 0x04));
    assert_eq!(ind, Prim::TestInd { flag, dest, src });
    assert_eq!(data, b"are you there?");
    assert_eq!(a.try_recv(), Ok(None), "nobody has answered");
    let dest = at(A, 0x04);
    b.put(&Prim::TestRes { flag, dest }, Some(&data))
        .expect("sent");
    p.settle();
    let (con, data) = a.indication_with_data().expect("a confirmation");
    let (dest, src) = (at(A, 0x04), at(B, 0x42));
    assert_eq!(con, Prim::TestCon { flag, dest, src });
    assert_eq!(data, b"are you there?");
}

#[test]
fn the_provider_answers_by_itself_if_the_bind_says_so() {
    // DLPI 2.0.0 DL_BIND_REQ dl_xidtest_flg; IEEE 802.2 6.6, 6.7
    let p = pair();
    let a = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    a.bind_llc(0x04, 0).expect("bound");
    // le takes the flags too: LLC is on for that stream then.
    let b = Client::open(&p.pb, "/dev/le", Some(0)).expect("attached");
    assert_eq!(
        b.bind_llc(0x42, DL_AUTO_XID | DL_AUTO_TEST),
        Ok(to(B, 0x42))
    );
    assert_eq!(b.info().expect("info").max_sdu, 1497);
    a.put(&test_req(at(B, 0x42)), Some(b"ping")).expect("sent");
    let flag = 0; // no poll bit: no final bit
    let dest = at(B, 0x42);
    a.put(&Prim::XidReq { flag, dest }, None).expect("sent");
    p.settle();
    let (con, data) = a.indication_with_data().expect("of the test");
    let (dest, src) = (at(A, 0x04), at(B, 0x42));
    let poll = DL_POLL_FINAL;
    assert_eq!(
        con,
        Prim::TestCon {
            flag: poll,
            dest: dest.clone(),
            src: src.clone()
        }
    );
    assert_eq!(data, b"ping");
    let (con, data) = a.indication_with_data().expect("of the XID");
    assert_eq!(
        (con, &data[..]),
        (Prim::XidCon { flag, dest, src }, &XID_CLASS_I[..])
    );
    assert_eq!(b.try_recv(), Ok(None));
    // And who is answered for may not ask.
    for (number, e) in [
        (DL_XID_REQ, DlErrno::XIDAUTO),
        (DL_XID_RES, DlErrno::XIDAUTO),
        (DL_TEST_REQ, DlErrno::TESTAUTO),
        (DL_TEST_RES, DlErrno::TESTAUTO),
    ] {
        let ctl = link_test(number, A, 4);
        p.pb.putmsg(b.fd(), Some(&ctl), None, false).expect("put");
        assert_eq!(dl(b.answer()), e);
    }
}

#[test]
fn a_station_answers_at_the_null_address_and_everybody_at_the_global_one() {
    // IEEE 802.2 3.3.1.1, 6.6: null DSAP 00, global DSAP FF
    let p = pair();
    let a = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    a.bind_llc(0x04, 0).expect("bound");
    a.put(&test_req(at(B, 0)), Some(b"1")).expect("sent");
    p.settle();
    assert_eq!(a.try_recv(), Ok(None), "no stream there has LLC on");
    let b = [0x42, 0x44].map(|lsap| {
        let c = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
        c.bind_llc(lsap, DL_AUTO_TEST).expect("bound");
        c
    });
    a.put(&test_req(at([0xff; 6], 0)), Some(b"2"))
        .expect("sent");
    p.settle();
    let (con, data) = a.indication_with_data().expect("the station's");
    assert!(matches!(con, Prim::TestCon { src, .. } if src == at(B, 0)));
    assert_eq!(data, b"2");
    a.put(&test_req(at(B, 0xff)), Some(b"3")).expect("sent");
    p.settle();
    let mut from: Vec<u8> = Vec::new();
    while let Ok(Some(_)) =
        p.pa.poll(
            &mut [streams::PollFd {
                fd: a.fd(),
                events: streams::sys::event::POLLIN,
                revents: 0,
            }],
            Some(Duration::ZERO),
        )
        .map(|n| (n > 0).then_some(n))
    {
        match a.indication() {
            Ok(Prim::TestCon { src, .. }) => from.push(src[6]),
            other => panic!("{other:?}"),
        }
    }
    from.sort_unstable();
    assert_eq!(from, [0x42, 0x44]);
    drop(b);
}

#[test]
fn data_goes_from_lsap_to_lsap_and_le_sees_the_header() {
    // IEEE 802.2 UI; le(7D): in 802.3 mode the LLC header is user data
    let p = pair();
    let a = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    let b = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    let other = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    let raw = open(&p.pb, "/dev/le", 0, 0);
    a.bind_llc(0x04, 0).expect("bound");
    b.bind_llc(0x42, 0).expect("bound");
    other.bind_llc(0x44, 0).expect("bound");
    a.send(&at(B, 0x42), b"hello").expect("sent");
    p.settle();
    let got = b.recv().expect("it");
    let want = Datagram {
        dest: at(B, 0x42),
        src: at(A, 0x04),
        group: false,
        data: b"hello".to_vec(),
    };
    assert_eq!(got, want);
    assert_eq!(other.try_recv(), Ok(None));
    assert_eq!(raw.recv().expect("it").data, b"\x42\x04\x03hello");
    a.send(&at(B, 0x42), &[0; 1497]).expect("sent");
    p.settle();
    assert_eq!(b.recv().expect("the largest").data.len(), 1497);
    for (dest, len, e) in [
        (at(B, 0x42), 1498, DlErrno::BADDATA),
        (to(B, 0x42), 1, DlErrno::BADADDR),
        (B.to_vec(), 1, DlErrno::BADADDR),
        ([&at(B, 0x42)[..], &[0; 5]].concat(), 1, DlErrno::BADADDR),
        (vec![], 1, DlErrno::BADADDR),
    ] {
        a.send(&dest, &vec![0; len]).expect("sent");
        assert_eq!(dl(a.recv()), e, "{dest:?}");
        a.put(&test_req(dest), Some(&vec![0; len])).expect("sent");
        assert_eq!(dl(a.answer()), e);
    }
    assert!(
        a.fast_path(&at(B, 0x42)).is_err(),
        "the length is not fixed"
    );
}

#[test]
fn snap_is_a_hierarchy_below_lsap_aa() {
    // RFC 1042; DLPI 2.0.0 DL_SUBS_BIND_REQ, DL_HIERARCHICAL_BIND
    let p = pair();
    let a = Client::open(&p.pa, "/dev/llc1", Some(0)).expect("attached");
    let b = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    a.bind_llc(0xaa, 0).expect("bound");
    b.bind_llc(0xaa, 0).expect("bound");
    let arp = [0, 0, 0, 8, 6];
    b.subs_bind(&arp, DL_HIERARCHICAL_BIND).expect("bound");
    for snap in [arp, [0, 0, 0, 8, 0]] {
        let dest = [&at(B, 0xaa)[..], &snap].concat();
        a.send(&dest, &snap[3..]).expect("sent");
    }
    p.settle();
    let got = b.recv().expect("ARP");
    assert_eq!(got.data, [8, 6]);
    assert_eq!(got.dest, [&at(B, 0xaa)[..], &arp].concat());
    assert_eq!(got.src, [&at(A, 0xaa)[..], &arp].concat());
    assert_eq!(b.try_recv(), Ok(None), "another SNAP SAP");
    b.subs_unbind(&arp).expect("unbound");
    assert_eq!(dl(b.subs_unbind(&arp)), DlErrno::BADADDR);
    a.send(&got.src, b"again").expect("sent to ourselves");
}

#[test]
fn a_peer_bind_adds_a_type() {
    // DLPI 2.0.0 DL_SUBS_BIND_REQ, DL_PEER_BIND
    let p = pair();
    let a = open(&p.pa, "/dev/le", 0, SAP_IP);
    let b = open(&p.pb, "/dev/le", 0, SAP_IP);
    let arp = (SAP_ARP as u16).to_ne_bytes();
    b.fast_path(&to(A, SAP_IP)).expect("a header");
    b.subs_bind(&arp, DL_PEER_BIND).expect("bound");
    a.send(&to(B, SAP_ARP), b"arp").expect("sent");
    a.send(&to(B, SAP_IP), b"ip").expect("sent");
    p.settle();
    let got = b.recv().expect("it");
    assert_eq!((got.dest, got.data), (to(B, SAP_ARP), b"arp".to_vec()));
    let got = b.recv().expect("it");
    assert_eq!((got.dest, got.data), (vec![], b"ip".to_vec()), "M_DATA");
    let refused = [
        (&arp[..], DL_PEER_BIND, DlErrno::BADADDR), // bound already
        (
            &(SAP_IP as u16).to_ne_bytes(),
            DL_PEER_BIND,
            DlErrno::BADADDR,
        ),
        (&[8], DL_PEER_BIND, DlErrno::BADADDR),
        (&[], DL_PEER_BIND, DlErrno::BADADDR),
        (&[0, 0, 0, 8, 6], DL_PEER_BIND, DlErrno::BADADDR),
        (&[0, 0, 0, 8, 6], DL_HIERARCHICAL_BIND, DlErrno::UNSUPPORTED),
        (&arp, 3, DlErrno::UNSUPPORTED),
        (&arp, 0, DlErrno::UNSUPPORTED),
    ];
    for (sap, class, e) in refused {
        assert_eq!(dl(b.subs_bind(sap, class)), e, "{sap:?} {class}");
    }
    for i in 1..crate::filter::MAX_SUBS as u16 {
        b.subs_bind(&(0x9000 + i).to_ne_bytes(), DL_PEER_BIND)
            .expect("room");
    }
    assert_eq!(dl(b.subs_bind(&[0x77; 2], DL_PEER_BIND)), DlErrno::TOOMANY);
    let ip = (SAP_IP as u16).to_ne_bytes();
    assert_eq!(dl(b.subs_unbind(&ip)), DlErrno::BADADDR, "DL_UNBIND_REQ's");
    b.unbind().expect("unbound");
    b.bind(SAP_IP).expect("bound again");
    a.send(&to(B, SAP_ARP), b"arp").expect("sent");
    p.settle();
    assert_eq!(b.try_recv(), Ok(None));
    // An LLC stream's peers are LSAPs: groups, or others of its own.
    let c = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    c.bind_llc(0x42, 0).expect("bound");
    c.subs_bind(&[0x43], DL_PEER_BIND).expect("a group");
    for bad in [&[0x42][..], &[0], &[0xff], &arp, &[0, 0, 0, 8, 6]] {
        assert_eq!(
            dl(c.subs_bind(bad, DL_PEER_BIND)),
            DlErrno::BADADDR,
            "{bad:?}"
        );
    }
    let snap = [0, 0, 0, 8, 6];
    let e = dl(c.subs_bind(&snap, DL_HIERARCHICAL_BIND));
    assert_eq!(e, DlErrno::UNSUPPORTED, "not below LSAP AA");
}

#[test]
fn streams_without_llc_have_no_xid_and_no_test() {
    let p = pair();
    for (path, sap) in [("/dev/le", SAP_IP), ("/dev/le", 0)] {
        let c = open(&p.pa, path, 0, sap);
        for number in [DL_XID_REQ, DL_XID_RES, DL_TEST_REQ, DL_TEST_RES] {
            let ctl = link_test(number, B, 0x42);
            p.pa.putmsg(c.fd(), Some(&ctl), Some(b"x"), false)
                .expect("put");
            assert_eq!(dl(c.answer()), DlErrno::NOTSUPPORTED);
        }
    }
    assert_eq!(drops(&p.ka)["XID or TEST that was refused"], 8);
    let (_k, p) = over(Null::new(Medium::PointToPoint));
    let c = Client::open(&p, "/dev/pt", Some(0)).expect("attached");
    assert_eq!(dl(c.bind_llc(0x42, DL_AUTO_XID)), DlErrno::NOAUTO);
}

#[test]
fn what_is_not_class_one_is_dropped_and_listeners_answer_nobody() {
    let p = pair();
    let a = open(&p.pa, "/dev/le", 0, 0);
    let b = Client::open(&p.pb, "/dev/llc1", Some(0)).expect("attached");
    b.bind_llc(0x42, DL_AUTO_TEST | DL_AUTO_XID).expect("bound");
    b.promiscuous(DL_PROMISC_PHYS, true).expect("on");
    // SABME, a response that nobody asked for, a UI response
    for llc in [[0x42, 4, 0x7f], [0x42, 5, 0xe3], [0x42, 5, 3]] {
        a.send(&to(B, 0), &llc).expect("sent");
    }
    // TEST for another station, and from a group
    a.send(&to([2; 6], 0), &[0x42, 4, 0xe3]).expect("sent");
    a.raw().expect("raw");
    let from_group = [&B[..], &[1; 6], &[0, 3, 0x42, 4, 0xe3]].concat();
    a.send_frame(&from_group).expect("sent");
    p.settle();
    let d = drops(&p.kb);
    assert_eq!(d["LLC of another class than I"], 2);
    assert_eq!(d["LLC response that nobody asked for"], 1);
    assert_eq!(d["LLC command from a group"], 1);
    assert_eq!(a.try_recv(), Ok(None), "no answers");
    let heard = b.recv().expect("by promiscuity");
    assert_eq!(heard.data, [0x42, 4, 0xe3]);
}

#[test]
fn quality_that_the_link_does_not_promise() {
    // DLPI 2.0.0 DL_UDQOS_REQ
    let p = pair();
    let c = open(&p.pa, "/dev/le", 0, SAP_IP);
    let ask = |qos| c.ok(&Prim::UdqosReq { qos });
    let sel = DL_QOS_CL_SEL1 as i32;
    assert_eq!(ask(quality(sel, DL_UNKNOWN, DL_PROT_NONE)), Ok(()));
    assert_eq!(ask(quality(sel, 0, DL_UNKNOWN)), Ok(()));
    for bad in [quality(sel, 1, DL_UNKNOWN), quality(sel, 0, 0xb03)] {
        assert_eq!(dl(ask(bad)), DlErrno::BADQOSPARAM);
    }
    assert_eq!(
        dl(ask(quality(sel, 0, 0)[..8].to_vec())),
        DlErrno::BADQOSPARAM
    );
    assert_eq!(dl(ask(quality(0x102, 0, 0))), DlErrno::BADQOSTYPE);
    assert_eq!(dl(ask(vec![])), DlErrno::BADQOSTYPE);
}
