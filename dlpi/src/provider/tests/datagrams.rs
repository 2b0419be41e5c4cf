//! Datagrams: DL_UNITDATA_REQ and _IND, fast path, DLIOCRAW.

use super::*;

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
