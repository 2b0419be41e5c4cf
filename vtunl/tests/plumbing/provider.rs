//! What vtunl is to the IP above it: a data link provider.

use dlpi::prim::{self, Prim};
use streams::prelude::*;
use streams::{Ioctl, StrIoctl, Sys};
use vtunl::client::Binding;

use crate::world::*;

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
