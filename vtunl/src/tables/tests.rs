//! The commands of Table 3, byte by byte.

use super::*;
use crate::decap_table::DECAP_IF_DST;
use crate::encap_table::{ENCAP_B, ENCAP_S};
use crate::texit_table::PMTU_START;
use proptest::prelude::*;

const MH1: u32 = 0x0a01_0001;
const MH3: u32 = 0x0a01_0003;
const FA1: u32 = 0xc0a8_0101;
const FA2: u32 = 0xc0a8_0201;
const T0: Duration = Duration::from_secs(100);

fn req(target_addr: u32, t_exit_addr: u32, encap_flags: u16) -> Req {
    Req {
        target_addr,
        t_exit_addr,
        encap_flags,
        ..Req::default()
    }
}

/// Sends a request in its short form if it fits.
fn send(t: &mut Tables, cmd: i32, q: Req) -> Result<Vec<u8>, Errno> {
    let n = if q.target_mask != 0 || q.lifetime != 0 {
        XREQ_LEN
    } else {
        REQ_LEN
    };
    t.command(cmd, &q.emit()[..n], T0)
}

fn add(t: &mut Tables, target: u32, exit: u32, flags: u16) -> Result<Vec<u8>, Errno> {
    send(t, VTUNL_ENCAP_ADD, req(target, exit, flags))
}

#[test]
fn encap_get_holds_exactly_what_the_paper_lists() {
    let mut t = Tables::default();
    assert_eq!(
        t.command(VTUNL_ENCAP_SIZE, &[0; 4], T0),
        Ok(12u32.to_ne_bytes().to_vec())
    );
    add(&mut t, MH3, FA1, 0).unwrap();
    add(&mut t, MH3, FA2, ENCAP_S).unwrap();
    add(&mut t, MH1, FA2, 0).unwrap();
    send(
        &mut t,
        VTUNL_MAXPMTU_SET,
        Req {
            address: FA2,
            mtu_bound: 1400,
            ..Req::default()
        },
    )
    .unwrap();
    let size = 8 + (8 + 4) + (8 + 8) + 4 + 2 * 10;
    assert_eq!(
        t.command(VTUNL_ENCAP_SIZE, &[0; 4], T0),
        Ok((size as u32).to_ne_bytes().to_vec())
    );
    let mut want = Vec::new();
    let n = |w: &mut Vec<u8>, v: u32| w.extend(v.to_ne_bytes());
    let a = |w: &mut Vec<u8>, v: u32| w.extend(v.to_be_bytes());
    let h = |w: &mut Vec<u8>, v: u16| w.extend(v.to_ne_bytes());
    n(&mut want, size as u32); // number of bytes filled
    n(&mut want, 2); // number of encapsulation targets
    a(&mut want, MH1);
    n(&mut want, 1);
    a(&mut want, FA2);
    a(&mut want, MH3);
    n(&mut want, 2);
    a(&mut want, FA1);
    a(&mut want, FA2);
    n(&mut want, 2); // number of tunnel exits
    for (exit, pmtu) in [(FA1, PMTU_START), (FA2, 1400)] {
        a(&mut want, exit);
        h(&mut want, pmtu); // current estimate
        h(&mut want, pmtu); // maximum
        h(&mut want, 0); // state
    }
    assert_eq!(
        t.command(VTUNL_ENCAP_GET, &vec![0; size], T0),
        Ok(want.clone())
    );
    assert_eq!(
        t.command(VTUNL_ENCAP_GET, &vec![0; size + 99], T0),
        Ok(want)
    );
    // The decisions: a buffer too small is ENOSPC.
    assert_eq!(
        t.command(VTUNL_ENCAP_GET, &vec![0; size - 1], T0),
        Err(Errno::ENOSPC)
    );
}

#[test]
fn decap_get_holds_exactly_what_the_paper_lists() {
    let mut t = Tables::default();
    let q = Req {
        target_addr: MH1,
        decap_flags: DECAP_IF_DST,
        ..Req::default()
    };
    send(&mut t, VTUNL_DECAP_ADD, q).unwrap();
    send(&mut t, VTUNL_DECAP_ADD, Req::default()).unwrap(); // a zero target: all
    let mut want = Vec::new();
    for v in [18u32, 1, 1] {
        want.extend(v.to_ne_bytes());
    }
    want.extend(MH1.to_be_bytes());
    want.extend(DECAP_IF_DST.to_ne_bytes());
    assert_eq!(
        t.command(VTUNL_DECAP_SIZE, &[0; 4], T0),
        Ok(18u32.to_ne_bytes().to_vec())
    );
    assert_eq!(t.command(VTUNL_DECAP_GET, &[0; 18], T0), Ok(want.clone()));
    assert_eq!(t.command(VTUNL_DECAP_GET, &[0; 17], T0), Err(Errno::ENOSPC));
    send(&mut t, VTUNL_DECAP_REM, Req::default()).unwrap(); // turns that off again
    want[4..8].fill(0);
    assert_eq!(t.command(VTUNL_DECAP_GET, &[0; 18], T0), Ok(want));
}

#[test]
fn encap_ok_and_decap_ok() {
    // The paper, Table 3; the decisions, ENCAP_OK.
    let mut t = Tables::default();
    let ok = |t: &mut Tables, a| send(t, VTUNL_ENCAP_OK, req(a, 0, 0)).err();
    assert_eq!(ok(&mut t, MH1), Some(Errno::ENXIO));
    add(&mut t, MH1, FA1, 0).unwrap();
    assert_eq!(
        (ok(&mut t, MH1), ok(&mut t, MH3)),
        (None, Some(Errno::ENXIO))
    );
    let q = Req {
        target_addr: 0x0a01_0000,
        target_mask: 0xffff_0000,
        ..req(0, FA1, 0)
    };
    send(&mut t, VTUNL_ENCAP_ADD, q).unwrap();
    assert_eq!(
        (ok(&mut t, MH3), ok(&mut t, 0x0b00_0001)),
        (None, Some(Errno::ENXIO))
    );
    add(&mut t, DEFAULT_ADDR, FA1, 0).unwrap();
    assert_eq!(ok(&mut t, 0x0b00_0001), None);
    let d = |t: &mut Tables, a| send(t, VTUNL_DECAP_OK, req(a, 0, 0)).err();
    assert_eq!(d(&mut t, MH1), Some(Errno::ENXIO));
    send(&mut t, VTUNL_DECAP_ADD, Req::default()).unwrap();
    assert_eq!(d(&mut t, MH1), None);
}

#[test]
fn what_encap_add_refuses() {
    let mut t = Tables::default();
    // (target, exit, flags): EINVAL each
    let rows = [
        (0, FA1, 0),           // 0 means all, in ENCAP_REM
        (0x7f00_0001, FA1, 0), // loopback
        (0xf000_0001, FA1, 0), // class E but the default
        (MH1, 0, 0),           // exits are hosts
        (MH1, 0xe000_0001, 0),
        (MH1, u32::MAX, 0),
        (MH1, DEFAULT_ADDR, 0),
        (MH1, 0x7f00_0001, 0),
        (MH1, FA1, 0x18), // M and G
    ];
    for (target, exit, flags) in rows {
        assert_eq!(
            add(&mut t, target, exit, flags),
            Err(Errno::EINVAL),
            "{target:x} {exit:x}"
        );
    }
    // The decisions: multicast targets are legal, broadcast ones too, V has no effect.
    for (target, flags) in [(0xe000_0109, 0), (u32::MAX, 0), (MH1, 0x84), (MH1, 0x4203)] {
        assert_eq!(add(&mut t, target, FA1, flags), Ok(vec![]));
    }
    for i in 0..8 {
        add(&mut t, MH3, FA1 + i, ENCAP_S).unwrap();
    }
    assert_eq!(add(&mut t, MH3, FA2, ENCAP_S), Err(Errno::ENOSPC));
    let q = Req {
        target_addr: MH1,
        target_mask: 0xff00_0000,
        ..req(0, FA1, 0)
    };
    assert_eq!(send(&mut t, VTUNL_ENCAP_ADD, q), Err(Errno::EINVAL));
}

#[test]
fn encap_rem_of_a_pair_a_target_and_all() {
    let mut t = Tables::default();
    add(&mut t, MH1, FA1, 0).unwrap();
    add(&mut t, MH1, FA2, ENCAP_S).unwrap();
    add(&mut t, MH3, FA2, 0).unwrap();
    let rem = |t: &mut Tables, a, e| send(t, VTUNL_ENCAP_REM, req(a, e, 0)).err();
    assert_eq!(rem(&mut t, MH1, FA1), None);
    assert_eq!(rem(&mut t, MH1, FA1), Some(Errno::ENXIO));
    assert_eq!(rem(&mut t, MH1, 0), None);
    assert_eq!(rem(&mut t, MH1, 0), Some(Errno::ENXIO));
    assert_eq!((rem(&mut t, 0, 0), rem(&mut t, 0, 0)), (None, None));
    assert!(t.encap.is_empty() && t.exits.is_empty());
}

#[test]
fn maxpmtu() {
    // The decisions, MAXPMTU_SET.
    let mut t = Tables::default();
    let q = |address, mtu_bound| Req {
        address,
        mtu_bound,
        ..Req::default()
    };
    assert_eq!(
        send(&mut t, VTUNL_MAXPMTU_SET, q(FA1, 1400)),
        Err(Errno::ENXIO)
    );
    assert_eq!(
        send(&mut t, VTUNL_MAXPMTU_GET, q(FA1, 0)),
        Err(Errno::ENXIO)
    );
    add(&mut t, MH1, FA1, 0).unwrap();
    assert_eq!(
        send(&mut t, VTUNL_MAXPMTU_SET, q(FA1, 67)),
        Err(Errno::EINVAL)
    );
    send(&mut t, VTUNL_MAXPMTU_SET, q(FA1, 68)).unwrap();
    let got = send(&mut t, VTUNL_MAXPMTU_GET, q(FA1, 0)).unwrap();
    assert_eq!(Req::parse(&got), Ok(q(FA1, 68)));
    assert_eq!(got.len(), REQ_LEN);
}

#[test]
fn debug_levels() {
    let mut t = Tables::default();
    for (n, want) in [
        (3u32, Ok(vec![])),
        (0, Ok(vec![])),
        (4, Err(Errno::EINVAL)),
        (u32::MAX, Err(Errno::EINVAL)),
    ] {
        assert_eq!(t.command(VTUNL_DEBUG_SET, &n.to_ne_bytes(), T0), want);
    }
    t.command(VTUNL_DEBUG_SET, &2u32.to_ne_bytes(), T0).unwrap();
    assert_eq!(
        t.command(VTUNL_DEBUG_GET, &[0; 4], T0),
        Ok(2u32.to_ne_bytes().to_vec())
    );
}

#[test]
fn lifetimes_end_are_renewed_and_go_with_their_binding() {
    // The paper, section 5.
    let mut t = Tables::default();
    let with = |target, exit, flags, lifetime| Req {
        lifetime,
        ..req(target, exit, flags)
    };
    send(&mut t, VTUNL_ENCAP_ADD, with(MH1, FA1, 0, 10)).unwrap();
    send(&mut t, VTUNL_ENCAP_ADD, with(MH1, FA2, ENCAP_S, 20)).unwrap();
    send(&mut t, VTUNL_ENCAP_ADD, with(MH3, FA1, 0, 30)).unwrap();
    assert_eq!(t.expire(T0 + Duration::from_secs(9)), None);
    let n = t.expire(T0 + Duration::from_secs(10)).unwrap();
    assert_eq!(
        (n.number, &n.expired[..]),
        (
            1,
            &[Binding {
                key: Key::host(MH1),
                exit: FA1
            }][..]
        )
    );
    assert_eq!(t.encap.lookup(MH1).map(|h| t.encap.count(h)), Some(1));
    // Renewed for ever; replaced by one without an end; removed.
    send(&mut t, VTUNL_ENCAP_ADD, with(MH1, FA2, ENCAP_S, 0)).unwrap();
    add(&mut t, MH3, FA2, 0).unwrap();
    assert!(t.lifetimes.is_empty());
    send(&mut t, VTUNL_ENCAP_ADD, with(MH3, FA1, ENCAP_S, 5)).unwrap();
    send(&mut t, VTUNL_ENCAP_REM, req(MH3, 0, 0)).unwrap();
    assert_eq!(t.expire(T0 + Duration::from_secs(999)), None);
    assert_eq!(t.stats.expired.get(), 1);
}

#[test]
fn what_ends_at_once_is_ended_in_pieces_and_first_what_is_asked_about() {
    // The paper, section 5: the event list. A datagram that comes meanwhile waits for one
    // piece at most.
    let mut t = Tables::default();
    let many = 3 * EXPIRE_MOST as u32 + 1;
    for i in 0..many {
        let q = Req {
            lifetime: 5,
            ..req(MH1 + i, FA1, 0)
        };
        send(&mut t, VTUNL_ENCAP_ADD, q).unwrap();
    }
    let late = T0 + Duration::from_secs(5);
    assert_eq!(
        t.expire_of(Key::host(MH1), late),
        None,
        "nothing is overdue"
    );
    let n = t.expire(late).unwrap();
    assert_eq!((n.expired.len(), t.overdue), (EXPIRE_MOST, true));
    let last = Key::host(MH1 + many - 1);
    let n = t.expire_of(last, late).unwrap();
    assert_eq!((n.number, n.expired.len(), n.expired[0].key), (2, 1, last));
    assert_eq!(t.encap.get(last), None);
    assert_eq!(t.expire_of(last, late), None);
    while t.overdue {
        t.expire(late).unwrap();
    }
    assert!(t.encap.is_empty() && t.lifetimes.is_empty());
    assert_eq!((t.notices, t.stats.expired.get()), (4, many.into()));
}

#[test]
fn extended_dumps_come_in_pieces() {
    let mut t = Tables::default();
    for i in 0..10 {
        let q = Req {
            lifetime: 60,
            ..req(MH1 + i, FA1, ENCAP_B)
        };
        send(&mut t, VTUNL_ENCAP_ADD, q).unwrap();
    }
    let mut seen = 0u32;
    loop {
        let mut arg = vec![0; 8 + 3 * 40];
        arg[..4].copy_from_slice(&seen.to_ne_bytes());
        let b = t.command(VTUNL_ENCAP_GETX, &arg, T0).unwrap();
        let mut r = Reader(&b);
        assert_eq!(r.u32(), Ok(b.len() as u32));
        let n = r.u32().unwrap();
        if n == 0 {
            break;
        }
        assert_eq!(
            (r.addr(), r.addr(), r.u32()),
            (Ok(MH1 + seen), Ok(u32::MAX), Ok(1))
        );
        r.u64().unwrap();
        r.u64().unwrap();
        assert_eq!(
            (r.addr(), r.u16(), r.u16(), r.u32()),
            (Ok(FA1), Ok(ENCAP_B), Ok(0), Ok(60))
        );
        seen += n;
    }
    assert_eq!(seen, 10);
    assert_eq!(
        t.command(VTUNL_ENCAP_GETX, &[0; 20], T0),
        Err(Errno::ENOSPC)
    );
    for cmd in [VTUNL_STATS, VTUNL_EXIT_GETX, VTUNL_DECAP_GETX] {
        let b = t.command(cmd, &[0; 4096], T0).unwrap();
        assert_eq!(Reader(&b).u32(), Ok(b.len() as u32));
        assert_eq!(t.command(cmd, &[0; 3], T0), Err(Errno::EINVAL));
    }
}

#[test]
fn policy_and_exit_options() {
    let mut t = Tables::default();
    assert_eq!(
        t.command(VTUNL_POLICY_GET, &[0; 4], T0),
        Ok(vec![64, 0, 0xff, 0])
    );
    for bad in [
        [0, 0, 0xff, 0],
        [64, 2, 0xff, 0],
        [64, 0, 64, 0],
        [64, 0, 0xff, 3],
    ] {
        assert_eq!(t.command(VTUNL_POLICY_SET, &bad, T0), Err(Errno::EINVAL));
    }
    t.command(VTUNL_POLICY_SET, &[60, 1, 46, 2], T0).unwrap();
    assert_eq!(
        t.command(VTUNL_POLICY_GET, &[0; 4], T0),
        Ok(vec![60, 1, 46, 2])
    );
    let e = ExitReq {
        addr: FA1,
        flags: GRE_KEY,
        key: 7,
        ttl: 9,
    };
    assert_eq!(t.command(VTUNL_EXIT_SET, &e.emit(), T0), Err(Errno::ENXIO));
    add(&mut t, MH1, FA1, 0).unwrap();
    t.command(VTUNL_EXIT_SET, &e.emit(), T0).unwrap();
    let x = t.exits.get(FA1).unwrap();
    assert_eq!((x.path().ttl, x.gre().and_then(|g| g.key)), (9, Some(7)));
    let bad = ExitReq { flags: 8, ..e };
    assert_eq!(
        t.command(VTUNL_EXIT_SET, &bad.emit(), T0),
        Err(Errno::EINVAL)
    );
}

/// RFC 2890 2.2: the receiver drops a number that is not after the last one, so that a
/// count which began anew would silence the tunnel.
#[test]
fn options_set_again_leave_the_gre_sequence_where_it_is() {
    let mut t = Tables::default();
    add(&mut t, MH1, FA1, 0).unwrap();
    let e = ExitReq {
        addr: FA1,
        flags: GRE_SEQUENCE,
        key: 0,
        ttl: 0,
    };
    let set = |t: &mut Tables, e: ExitReq| t.command(VTUNL_EXIT_SET, &e.emit(), T0).unwrap();
    set(&mut t, e);
    t.exits.get(FA1).unwrap().begin_sequence(41);
    assert!(t.exits.get(FA1).unwrap().receive_sequence(99));
    set(&mut t, ExitReq { ttl: 9, ..e });
    // The next one sent, and whether 99 and 100 are after the last one received.
    let counts = |t: &Tables| {
        let x = t.exits.get(FA1).unwrap();
        let sent = x.next_sequence();
        (sent, x.receive_sequence(99), x.receive_sequence(100))
    };
    assert_eq!(counts(&t), (41, false, true));
    set(
        &mut t,
        ExitReq {
            flags: GRE_KEY,
            ..e
        },
    );
    assert_eq!(counts(&t), (0, true, true));
}

#[test]
fn a_wrong_length_is_einval_for_each_command() {
    let mut t = Tables::default();
    for r in IOCTLS.iter().filter(|r| !r.instance) {
        for n in (0..70).filter(|n| !r.arg.takes(*n)) {
            assert_eq!(
                t.command(r.cmd, &vec![0; n], T0),
                Err(Errno::EINVAL),
                "{} {n}",
                r.name
            );
        }
    }
    for cmd in [0, 0x5600, 0x5612, 0x5301, -1, VTUNL_GETCONF] {
        assert_eq!(t.command(cmd, &[0; 24], T0), Err(Errno::EINVAL));
    }
}

proptest! {
    /// Any command with any bytes: an answer; and after it every pair in the tables holds
    /// its exit, and the sizes told are the sizes given.
    #[test]
    fn any_ioctl_leaves_the_tables_sound(
        ops in prop::collection::vec((0usize..27, prop::collection::vec(0u8..6, 0..40), any::<bool>()), 0..40)
    ) {
        let mut t = Tables::default();
        for (i, mut b, fit) in ops {
            let r = &IOCTLS[i % IOCTLS.len()];
            if fit && matches!(r.arg, Arg::Req | Arg::ReqOut) {
                b.resize(if b.len() > 20 { 32 } else { 24 }, 1);
            }
            let _ = t.command(r.cmd, &b, T0);
            let size = t.encap_size() as usize;
            let got = t.command(VTUNL_ENCAP_GET, &vec![0; size], T0).unwrap();
            prop_assert_eq!(got.len(), size);
            let pairs: u32 = t.encap.iter().map(|(_, h)| t.encap.count(h) as u32).sum();
            prop_assert_eq!(t.exits.iter().map(|(id, _)| t.exits.refs(id)).sum::<u32>(), pairs);
            prop_assert!(t.lifetimes.len() <= pairs as usize);
        }
    }
}
