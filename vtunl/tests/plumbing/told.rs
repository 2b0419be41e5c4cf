//! What is said of a datagram or an entry: errors up and down, soft state, notices.

use std::time::Duration;

use streams::{Signal, Sys, Which, oflag};
use vtunl::client::{Binding, Client};
use vtunl::encap_table::ENCAP_G;
use vtunl::header::Outer;
use vtunl::lifetime::Notice;

use crate::world::*;

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
    w.vtunl().notify(true).unwrap(); // in the other domain
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
    let told = |fd| {
        let got = w.p.getpmsg(fd, 512, 0, Which::Hipri(true));
        let ctl = got.expect("M_PCPROTO").ctl.unwrap();
        let n = Notice::parse(&ctl).expect("a notice");
        (n.number, n.expired.len(), n.expired[0].key.addr)
    };
    assert_eq!(told(fd), (1, 1, MH.to_bits()));
    assert_eq!(told(w.fd), (1, 1, MH.to_bits()));
    // The instance that set the timer goes: another one takes it over.
    w.p.close(fd).unwrap();
    w.k.advance(Duration::from_secs(30));
    assert_eq!(told(w.fd), (2, 1, CALI.to_bits()));
    assert_eq!(w.vtunl().encap_ok(CALI), Ok(false));
    let _ = Signal::SIGPOLL;
}
