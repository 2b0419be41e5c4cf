//! Figure 2(a): a transport protocol over /dev/ip, from configuration to close.

use std::net::Ipv4Addr;

use dlpi::prim::{self, Prim};
use streams::prelude::*;
use streams::{Ioctl, Sys, oflag};
use vtunl::client::{Binding, Client, DEFAULT};
use vtunl::decap_table::DECAP_IF_DST;
use vtunl::encap_table::ENCAP_S;
use vtunl::ioctl::*;

use crate::world::*;

#[test]
fn figure_2a_encapsulates_for_each_exit() {
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.vtunl()
        .encap_add(&Binding {
            flags: ENCAP_S,
            ..Binding::new(MH, FA2)
        })
        .unwrap();
    let d = datagram(CALI, MH, 100, false);
    w.down(&d);
    for fa in [FA1, FA2] {
        let b = w.below().expect("an outer datagram");
        let h = header(&b);
        assert_eq!(
            (h.src, h.dst, h.proto, h.len),
            (US.to_bits(), fa.to_bits(), 4, 120)
        );
        assert_eq!(b[20..], d);
    }
    assert_eq!(w.below(), None);
    let t = &w.vtunl().targets().unwrap()[0];
    assert_eq!((t.datagrams, t.octets, t.exits.len()), (1, 100, 2));
    // The paper, section 2: "encapsulation is denied and the packet dropped".
    w.down(&datagram(CALI, CALI, 100, false));
    assert_eq!(
        (
            w.below(),
            w.dropped("no encapsulation for this destination")
        ),
        (None, 1)
    );
    // DEFAULT_ADDR serves those without an entry.
    w.vtunl().encap_add(&Binding::new(DEFAULT, FA2)).unwrap();
    w.down(&datagram(MH, CALI, 100, false));
    assert_eq!(header(&w.below().unwrap()).dst, FA2.to_bits());
    let counts = w.vtunl().instance_stats().unwrap();
    let counts: Vec<(&str, u64)> = counts.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert_eq!(
        counts[..3],
        [("encapsulated", 3), ("decapsulated", 0), ("dropped", 1)]
    );
    let why: Vec<_> = counts[3..].iter().filter(|(_, n)| *n != 0).collect();
    assert_eq!(why, [&("no encapsulation for this destination", 1)]);
}

#[test]
fn figure_2a_decapsulates_whom_it_serves() {
    let w = figure_2a();
    let d = datagram(CALI, MH, 64, false);
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(
        (w.above(), w.dropped("no decapsulation for these hosts")),
        (None, 1)
    );
    w.vtunl().decap_add(MH, HOST, 2).unwrap();
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(w.above(), Some(d.clone()));
    w.vtunl().decap_rem(MH, HOST).unwrap();
    w.vtunl().decap_all(true).unwrap();
    w.up(b'd', &outer(FA1, US, &d));
    assert_eq!(w.above(), Some(d));
}

#[test]
fn nothing_passes_before_configuration_and_bind() {
    let w = world("ip");
    w.bind();
    w.down(&datagram(CALI, MH, 64, false));
    w.vtunl().setconf_transport(US, 4).unwrap();
    assert_eq!(w.dl(&Prim::UnbindReq), Prim::ok_ack(prim::DL_UNBIND_REQ));
    w.down(&datagram(CALI, MH, 64, false));
    let got = w.p.getmsg(w.fd, 64, 0, false).unwrap().ctl.unwrap();
    let out = prim::DlErrno::OUTSTATE.0;
    assert!(matches!(Prim::parse_bytes(&got), Ok(Prim::UderrorInd { errno, .. }) if errno == out));
    w.up(b'd', &outer(FA1, US, &datagram(CALI, MH, 64, false)));
    assert_eq!((w.below(), w.dropped("the tunnel is not up")), (None, 3));
}

#[test]
fn one_subscriber_for_each_protocol() {
    // The paper, section 2: "at most one instance is subscribed"; the decisions: EBUSY.
    let w = figure_2a();
    let fd = w.p.open("/dev/ip", oflag::O_RDWR).unwrap();
    w.p.push(fd, "vtunl").unwrap();
    let second = Client::new(&w.p, fd);
    assert_eq!(second.setconf_transport(US, 4), Err(Errno::EBUSY));
    assert_eq!(second.getconf().unwrap().kind, VTUNL_NONE);
    let first = w.vtunl().getconf().unwrap();
    assert_eq!(
        (first.kind, first.ip_protocol, first.modname.as_str()),
        (VTUNL_TRANSPORT, 4, "ip")
    );
    assert_eq!((first.last_req, first.last_resp, first.state), (6, 17, 3));
    // The same again is no second one; another source is taken.
    assert_eq!(w.vtunl().setconf_transport(FA1, 4), Ok(()));
    assert_eq!(w.vtunl().getconf().unwrap().address, FA1.to_bits());
    assert_eq!(w.vtunl().setconf_transport(US, 47), Err(Errno::EBUSY));
    // It goes with the instance.
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    assert_eq!(second.setconf_transport(US, 4), Ok(()));
}

#[test]
fn what_setconf_refuses() {
    let w = world("ip");
    let v = w.vtunl();
    assert_eq!(v.setconf_transport(US, 17), Err(Errno::EINVAL)); // encapsulates nothing
    for a in [
        HOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        assert_eq!(v.setconf_transport(a, 4), Err(Errno::EADDRNOTAVAIL)); // Solaris's tun
    }
    assert_eq!(
        v.setconf_dlsuser(US, Ipv4Addr::new(255, 0, 0, 0), 0),
        Err(Errno::EINVAL)
    );
    // IP says no: (TLI error, what the user sees)
    for (tli, e) in [
        (1, Errno::EADDRNOTAVAIL),
        (8, Errno::EACCES),
        (3, Errno::EINVAL),
    ] {
        w.up(b'r', &[tli]);
        assert_eq!(v.setconf_transport(US, 4), Err(e));
        assert_eq!(v.getconf().unwrap().kind, VTUNL_NONE);
    }
    let fd = w.p.open("/dev/vtunl", oflag::O_RDWR).unwrap();
    assert_eq!(
        Client::new(&w.p, fd).setconf_transport(US, 4),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_full_stream_below_holds_the_datagrams_in_order() {
    let w = figure_2a();
    w.vtunl().encap_add(&Binding::new(MH, FA1)).unwrap();
    w.up(b'f', &[0]);
    for len in 1000..1010 {
        w.down(&datagram(CALI, MH, len, false));
    }
    assert_eq!(w.below(), None);
    w.up(b'e', &[0]);
    w.k.run_until_idle();
    let lens: Vec<u16> = std::iter::from_fn(|| w.below())
        .map(|b| header(&b).len - 20)
        .collect();
    assert_eq!(lens, (1000..1010).collect::<Vec<u16>>());
}

/// srv(9E): what is put off keeps its order, and goes before the procedure that it came by
/// returns to who waits. So many targets that datagrams are looked up ahead.
#[test]
fn among_many_targets_each_datagram_goes_in_its_order() {
    const MANY: u32 = 17_000;
    let w = figure_2a();
    let host = Ipv4Addr::BROADCAST;
    for n in 0..MANY {
        let other = Ipv4Addr::from_bits(MH.to_bits() + n);
        let exit = Ipv4Addr::from_bits(FA1.to_bits() + n % 3);
        w.vtunl().encap_add(&Binding::new(other, exit)).unwrap();
        w.vtunl().decap_add(other, host, DECAP_IF_DST).unwrap();
    }
    for n in [0, 1, 2, MANY - 1] {
        let to = Ipv4Addr::from_bits(MH.to_bits() + n);
        let exit = FA1.to_bits() + n % 3;
        let d = datagram(CALI, to, 100, false);
        w.down(&d);
        let b = w.below().expect("one goes as soon as it came");
        assert_eq!((header(&b).dst, &b[20..]), (exit, &d[..]));
        w.up(b'd', &outer(FA1, US, &d));
        assert_eq!(w.above().expect("one comes as soon as it came"), d);
    }
    w.down(&datagram(CALI, CALI, 100, false));
    assert_eq!(w.dropped("no encapsulation for this destination"), 1);
    w.up(b'd', &outer(FA1, US, &datagram(CALI, CALI, 100, false)));
    assert_eq!(w.dropped("no decapsulation for these hosts"), 1);
    // Held up below: as many as fit, which are more bytes than are looked up at once.
    w.up(b'f', &[0]);
    for len in 1000..1050 {
        let to = Ipv4Addr::from_bits(MH.to_bits() + u32::from(len));
        w.down(&datagram(CALI, to, len, false));
        w.k.run_until_idle();
    }
    assert_eq!(w.below(), None);
    w.up(b'e', &[0]);
    w.k.run_until_idle();
    let lens = std::iter::from_fn(|| w.below()).map(|b| header(&b).len - 20);
    assert_eq!(lens.collect::<Vec<u16>>(), (1000..1050).collect::<Vec<_>>());
}

#[test]
fn popping_gives_the_protocol_back_and_closing_leaves_nothing_behind() {
    let w = figure_2a();
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    w.p.push(w.fd, "vtunl").unwrap();
    assert_eq!(w.vtunl().setconf_transport(US, 4), Ok(()));
    w.p.close(w.fd).unwrap();
    let fd = w.p.open("/dev/ip", oflag::O_RDWR).unwrap();
    w.p.push(fd, "vtunl").unwrap();
    assert_eq!(Client::new(&w.p, fd).setconf_transport(US, 4), Ok(()));
    let w = figure_2b();
    w.p.ioctl(w.fd, Ioctl::Pop).unwrap();
    w.p.close(w.fd).unwrap();
    assert_eq!(
        w.k.modinfo()
            .iter()
            .filter(|r| r.name == "vtunl")
            .map(|r| r.opens)
            .sum::<u32>(),
        0
    );
    assert_eq!(w.k.rem_drv("vtunl"), Ok(()));
}
