//! What a link counts, as kstats.

use super::*;

#[test]
fn a_link_has_its_kstat_while_it_is_attached() {
    // kstat(1M) class net; le(7D), hme(7D) in netstat -k
    let wire = Wire::default();
    let (ka, pa) = host(&wire, &[A]);
    let (kb, pb) = host(&wire, &[B]);
    assert!(ka.kstats().chain.is_empty());
    let a = open(&pa, "/dev/le", 0, SAP_IP);
    let b = open(&pb, "/dev/le", 0, SAP_IP);
    b.multicast(&GROUP, true).expect("enabled");
    let before = ka.kstats();
    for dest in [B, GROUP, [0xff; 6]] {
        a.send(&to(dest, SAP_IP), &[7; 50]).expect("sent");
    }
    kb.run_until_idle();
    let moved = ka.kstats().since(&before);
    let sent = |name: &str| moved.number(&format!("le:0:le0:{name}"));
    assert_eq!((sent("opackets"), sent("opackets64")), (Some(3), Some(3)));
    assert_eq!((sent("obytes"), sent("obytes64")), (Some(192), Some(192)));
    assert_eq!((sent("multixmt"), sent("brdcstxmt")), (Some(1), Some(1)));
    assert_eq!((sent("ipackets"), sent("collisions")), (Some(0), Some(0)));
    let all = kb.kstats();
    let got = |name: &str| all.number(&format!("le:0:le0:{name}"));
    assert_eq!((got("ipackets"), got("rbytes64")), (Some(3), Some(192)));
    assert_eq!((got("multircv"), got("brdcstrcv")), (Some(1), Some(1)));
    assert_eq!(all.find("le", 0, "le0").map(|k| k.class), Some("net"));
    drop(b);
    assert!(kb.kstats().find("le", 0, "le0").is_none(), "detached");
}

#[test]
fn a_carrier_that_goes_and_comes_is_told() {
    // dlpi(7P) DL_NOTIFY_IND: DL_NOTE_LINK_DOWN, DL_NOTE_LINK_UP
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A]);
    let c = open(&p, "/dev/le", 0, SAP_IP);
    wire.set_up(false);
    let notifications = DL_NOTE_LINK_UP | DL_NOTE_LINK_DOWN;
    let timelimit = 0;
    let ask = Prim::NotifyReq {
        notifications,
        timelimit,
    };
    c.request(&ask).expect("an acknowledgement");
    let told = || match c.indication() {
        Ok(Prim::NotifyInd { notification, .. }) => notification,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(), DL_NOTE_LINK_DOWN, "how things stand");
    c.send(&to(B, SAP_IP), b"x").expect("sent");
    assert_eq!(k.kstats().number("le:0:le0:oerrors"), Some(1));
    for (up, note) in [(true, DL_NOTE_LINK_UP), (false, DL_NOTE_LINK_DOWN)] {
        wire.set_up(up);
        k.run_until_idle();
        assert_eq!(told(), note);
    }
    assert_eq!(c.try_recv(), Ok(None));
}

#[test]
fn what_a_full_ring_loses_is_norcvbuf() {
    // Frames that nobody reads: the second kernel's thread of control does not run.
    let wire = Wire::default();
    let (ka, pa) = host(&wire, &[A]);
    let (kb, pb) = host(&wire, &[B]);
    let a = open(&pa, "/dev/le", 0, SAP_IP);
    let _b = open(&pb, "/dev/le", 0, SAP_IP);
    for _ in 0..1030 {
        a.send(&to(B, SAP_IP), b"x").expect("sent");
    }
    assert_eq!(kb.kstats().number("le:0:le0:norcvbuf"), Some(6));
    assert_eq!(ka.kstats().number("le:0:le0:opackets"), Some(1030));
}
