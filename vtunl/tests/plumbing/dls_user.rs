//! Figure 2(b): a user of a data link, whose multicasts and broadcasts it tunnels.

use std::net::Ipv4Addr;

use streams::prelude::*;
use vtunl::client::{Binding, DEFAULT};
use vtunl::encap_table::{ENCAP_B, ENCAP_D};
use vtunl::ioctl::*;

use crate::world::*;

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
