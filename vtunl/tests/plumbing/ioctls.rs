//! The ioctls of Tables 2 and 3, of an instance and of Figure 2(c), and who may.

use std::net::Ipv4Addr;

use streams::prelude::*;
use streams::{Ioctl, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::ioctl::*;

use crate::world::*;

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
