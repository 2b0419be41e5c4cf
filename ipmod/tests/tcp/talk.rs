//! Connections that come about, carry data and end in order.

use std::time::Duration;

use dlpi::link::fault::Faults;
use ipmod::{plumb, tpi};
use streams::{Ioctl, Sys};

use crate::hosts::*;

/// T_CONN_REQ to T_ORDREL_IND, more than a window each way: tihdr(7P), RFC 793 3.4, 3.5.
#[test]
fn connect_accept_talk_and_release() {
    let pair = Pair::new();
    let (a, b, _listener) = pair.connected();
    let data = content(200_000);
    assert!(carry(&pair, &a, &b, &data) == data, "from A to B");
    assert!(carry(&pair, &b, &a, &data) == data, "from B to A");
    a.send(&bytes(&[T_ORDREL_REQ]));
    pair.settle();
    assert_eq!(b.next(), [T_ORDREL_IND]);
    // RFC 793 3.5: the other half is still open.
    assert!(carry(&pair, &b, &a, b"the last word") == b"the last word");
    b.send(&bytes(&[T_ORDREL_REQ]));
    pair.settle();
    assert_eq!(a.next(), [T_ORDREL_IND]);
}

/// RFC 793 3.9 CLOSE: what was written before a close arrives, and its FIN, over a wire that
/// loses, though no stream of /dev/tcp is left whose timer could be used.
#[test]
fn a_closed_stream_says_goodbye() {
    let pair = Pair::with(Faults {
        seed: 7,
        loss: 0.2,
        ..Faults::default()
    });
    let listener = pair.b.bound(PORT, 1);
    let a = pair.a.bound(0, 0);
    a.connect(B, PORT);
    pair.wait(Duration::from_secs(60));
    assert_eq!(a.next()[0], T_CONN_CON);
    let b = pair.b.bound(0, 0);
    listener.accept(&b, listener.next()[5]);
    let data = content(30_000);
    assert_eq!(a.p.write(a.fd, &data), Ok(data.len()));
    pair.a.k.run_until_idle();
    a.close();
    let mut got = Vec::new();
    let end = (0..600).find_map(|_| {
        pair.wait(Duration::from_secs(1));
        while let Ok(m) = b.got() {
            if let Some(c) = m.ctl {
                return Some(words(&c));
            }
            got.extend(m.data.unwrap_or_default());
        }
        None
    });
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert_eq!(end, Some(vec![T_ORDREL_IND]));
}

/// RFC 1122 4.2.2.6, RFC 879: segments fit the route to the peer, either way; the side with
/// the wide route learns it from the other's SYN.
#[test]
fn segments_fit_the_route() {
    let pair = Pair::new();
    plumb::set_mtu(&pair.b.p, "le0", 600).expect("SIOCSIFMTU");
    let (a, b, _listener) = pair.connected();
    let maxseg = |t: &Tcp<'_>| {
        let req = tpi::optmgmt_req(0x80, &[(6, 2, 0)]); // T_CURRENT TCP_MAXSEG
        t.ask(&req)[7]
    };
    assert_eq!((maxseg(&a), maxseg(&b)), (560, 560));
    let data = content(20_000);
    assert!(carry(&pair, &a, &b, &data) == data);
    assert!(carry(&pair, &b, &a, &data) == data);
    let pieces = |h: &Host| (h.counter("ipFragCreates"), h.counter("ipReasmReqds"));
    assert_eq!((pieces(&pair.a), pieces(&pair.b)), ((0, 0), (0, 0)));
}

/// The loopback's MTU is 8232.
#[test]
fn segments_on_the_loopback_are_large() {
    let pair = Pair::new();
    let listener = pair.a.bound(PORT, 1);
    let client = pair.a.bound(0, 0);
    client.connect("127.0.0.1", PORT);
    pair.settle();
    assert_eq!(client.next()[0], T_CONN_CON);
    let req = tpi::optmgmt_req(0x80, &[(6, 2, 0)]);
    assert_eq!(client.ask(&req)[7], 8192);
    let server = pair.a.bound(0, 0);
    listener.accept(&server, listener.next()[5]);
    let data = content(100_000);
    assert!(carry(&pair, &client, &server, &data) == data);
}

/// tihdr(7P): T_ORDREL_IND comes behind the last byte, though both sides have released and all
/// is acknowledged while the reader had yet to read.
#[test]
fn both_release_before_all_is_read() {
    let pair = Pair::new();
    let (a, b, _listener) = pair.connected();
    let data = content(36_000); // what a head and a receive buffer hold
    let mut sent = 0;
    while sent < data.len() {
        sent += a.p.write(a.fd, &data[sent..]).unwrap_or(0);
        pair.settle();
    }
    for t in [&a, &b] {
        t.send(&bytes(&[T_ORDREL_REQ]));
        pair.wait(Duration::from_secs(30));
    }
    assert_eq!(a.next(), [T_ORDREL_IND]);
    let mut got = Vec::new();
    let mut next = || {
        pair.settle();
        b.got().ok()
    };
    let end = std::iter::from_fn(&mut next).find_map(|m| {
        got.extend(m.data.unwrap_or_default());
        m.ctl.map(|c| words(&c))
    });
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    assert_eq!(end, Some(vec![T_ORDREL_IND]));
}

/// RFC 1122 4.2.2.16, 4.2.2.17: a reader that does not read stops the writer; and when it
/// reads, what it then has to say gets through although the wire loses a tenth.
#[test]
fn a_slow_reader_stops_the_writer() {
    let pair = Pair::with(Faults {
        seed: 3,
        loss: 0.1,
        ..Faults::default()
    });
    let listener = pair.b.bound(PORT, 1);
    let a = pair.a.bound(0, 0);
    a.connect(B, PORT);
    pair.wait(Duration::from_secs(20));
    assert_eq!(a.next()[0], T_CONN_CON);
    let b = pair.b.bound(0, 0);
    listener.accept(&b, listener.next()[5]);
    let data = content(400_000);
    let mut sent = 0;
    let write = |sent: &mut usize| {
        while let Ok(n) =
            a.p.write(a.fd, &data[*sent..(*sent + 4000).min(data.len())])
        {
            *sent += n;
            if n == 0 {
                break;
            }
        }
    };
    for _ in 0..30 {
        write(&mut sent);
        pair.wait(Duration::from_secs(1));
    }
    // Both heads' and streams' queues, and both sockets' buffers.
    assert!(sent < 250_000, "{sent}");
    let stopped = sent;
    let mut got = Vec::new();
    for _ in 0..3000 {
        while let Ok(m) = b.got() {
            got.extend(m.data.unwrap_or_default());
        }
        pair.wait(Duration::from_millis(500));
        write(&mut sent);
        if got.len() == data.len() {
            break;
        }
    }
    assert!(
        sent > stopped && got == data,
        "{} of {}",
        got.len(),
        data.len()
    );
}

/// tirdwr(7M): read and write, end of file for T_ORDREL_IND, T_ORDREL_REQ at the pop.
#[test]
fn read_and_write_through_tirdwr() {
    let pair = Pair::new();
    let (a, b, _listener) = pair.connected();
    for t in [&a, &b] {
        t.p.push(t.fd, "tirdwr").expect("I_PUSH");
    }
    for (from, to) in [(&a, &b), (&b, &a)] {
        assert_eq!(from.p.write(from.fd, b"hello"), Ok(5));
        pair.settle();
        assert_eq!(to.p.read(to.fd, 100), Ok(b"hello".to_vec()));
    }
    // A has not heard B's release: its close releases all the same.
    let (p, fd) = (a.p, a.fd);
    p.close(fd).expect("close");
    std::mem::forget(a);
    pair.settle();
    assert_eq!(b.p.read(b.fd, 100), Ok(Vec::new()), "end of file");
    b.p.ioctl(b.fd, Ioctl::Pop).expect("I_POP");
    pair.settle();
    assert_eq!(b.state(), tpi::state::IDLE, "T_ORDREL_REQ was sent");
}

/// timod(7M): bind, addresses and information as ioctls.
#[test]
fn timod_binds_and_tells() {
    const TI_BIND: i32 = (b'T' as i32) << 8 | 142;
    const TI_UNBIND: i32 = TI_BIND + 1;
    const TI_GETADDRS: i32 = TI_BIND + 7;
    let pair = Pair::new();
    let t = pair.a.open();
    t.p.push(t.fd, "timod").expect("I_PUSH");
    let ioctl = |cmd, req: &[u8]| t.p.i_str(t.fd, cmd, req).expect("an answer");
    let bound = ioctl(TI_BIND, &tpi::bind_req(&sock(PORT, A)));
    assert_eq!(words(&bound.data)[..2], [tpi::T_BIND_ACK, 16]);
    assert_eq!(bound.data[16..32], sock(PORT, A));
    // A second one: TOUTSTATE is the value of the ioctl.
    assert_eq!(ioctl(TI_BIND, &tpi::bind_req(&sock(PORT, A))).rval, 6);
    let addrs = ioctl(TI_GETADDRS, &bytes(&[tpi::T_ADDR_REQ]));
    assert_eq!(addrs.data[20..36], sock(PORT, A));
    assert_eq!(ioctl(TI_UNBIND, &bytes(&[tpi::T_UNBIND_REQ])).rval, 0);
}
