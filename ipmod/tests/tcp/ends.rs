//! Connections that are refused, reset or given up.

use std::time::Duration;

use ipmod::{plumb, tpi, wire};
use streams::{Errno, Sys, oflag};

use crate::hosts::*;

fn reason(ind: &[u32]) -> (u32, i32) {
    (ind[0], ind[1] as i32)
}

fn is(e: Errno) -> (u32, i32) {
    (T_DISCON_IND, e.number())
}

/// RFC 793 3.4: a connection to a port that nobody has is reset, though nobody over there
/// uses TCP at all.
#[test]
fn a_port_nobody_has_refuses() {
    let pair = Pair::new();
    let a = pair.a.bound(0, 0);
    a.connect(B, PORT);
    pair.settle();
    assert_eq!(reason(&a.next()), is(Errno::ECONNREFUSED));
    assert_eq!(a.state(), tpi::state::IDLE);
    // The same stream connects when somebody listens.
    let _listener = pair.b.bound(PORT, 1);
    a.connect(B, PORT);
    pair.settle();
    assert_eq!(a.next()[0], T_CONN_CON);
}

/// T_DISCON_REQ with SEQ_number: the listener refuses one connection; the other end hears
/// that it is gone (RFC 793 3.4, after the handshake a reset).
#[test]
fn a_listener_refuses() {
    let pair = Pair::new();
    let listener = pair.b.bound(PORT, 2);
    let (a, other) = (pair.a.bound(0, 0), pair.a.bound(0, 0));
    a.connect(B, PORT);
    pair.settle();
    other.connect(B, PORT);
    pair.settle();
    let (first, second) = (listener.next(), listener.next());
    assert_eq!(a.next()[0], T_CONN_CON);
    assert_eq!(
        listener.ask(&bytes(&[T_DISCON_REQ, first[5]]))[0],
        tpi::T_OK_ACK
    );
    pair.settle();
    assert_eq!(reason(&a.next()), is(Errno::ECONNRESET));
    // The other one is still to be had.
    assert_eq!(listener.state(), tpi::state::WRES_CIND);
    listener.accept(&pair.b.open(), second[5]);
    assert_eq!(other.next()[0], T_CONN_CON);
    assert_eq!(other.next(), [0; 0]);
}

/// T_DISCON_IND with SEQ_number: the connection indicated is gone before it was accepted.
#[test]
fn a_connection_that_nobody_accepted_goes() {
    let pair = Pair::new();
    let listener = pair.b.bound(PORT, 1);
    let a = pair.a.bound(0, 0);
    a.connect(B, PORT);
    pair.settle();
    let seq = listener.next()[5];
    assert_eq!(a.next()[0], T_CONN_CON);
    assert_eq!(a.ask(&bytes(&[T_DISCON_REQ, u32::MAX]))[0], tpi::T_OK_ACK);
    pair.settle();
    let ind = listener.next();
    assert_eq!((reason(&ind), ind[2]), (is(Errno::ECONNRESET), seq));
    assert_eq!(listener.state(), tpi::state::IDLE);
}

/// T_CONN_RES: who can't accept is TBADF; the queue has room again when one is accepted.
#[test]
fn who_accepts() {
    const TBADF: u32 = 3 + 1;
    let pair = Pair::new();
    let (_a, b, listener) = pair.connected();
    let other = pair.a.bound(0, 0);
    other.connect(B, PORT);
    pair.settle();
    let seq = listener.next()[5];
    let res = |id| listener.ask(&bytes(&[T_CONN_RES, id, 0, 0, seq]))[2];
    assert_eq!(res(b.acceptor_id()), TBADF, "it has a connection");
    let third = pair.a.bound(0, 0);
    third.connect(B, PORT);
    pair.settle();
    let other_seq = listener.next()[5];
    assert_eq!(res(listener.acceptor_id()), TBADF, "another one waits");
    listener.ask(&bytes(&[T_DISCON_REQ, other_seq]));
    assert_eq!(res(999_999), TBADF, "no such stream");
    // An unbound stream will do.
    let fresh = pair.b.open();
    listener.accept(&fresh, seq);
    assert_eq!(fresh.state(), tpi::state::DATA_XFER);
}

/// T_CONN_RES: a listener may take its only connection itself, and listens again when that has
/// ended; meanwhile nobody is indicated.
#[test]
fn a_listener_accepts_on_itself() {
    let pair = Pair::new();
    let listener = pair.b.bound(PORT, 1);
    for orderly in [true, false, true] {
        let a = pair.a.bound(0, 0);
        a.connect(B, PORT);
        pair.settle();
        assert_eq!(a.next()[0], T_CONN_CON);
        let ind = listener.next();
        let id = listener.acceptor_id();
        let res = bytes(&[T_CONN_RES, id, 0, 0, ind[5]]);
        assert_eq!(listener.ask(&res)[0], tpi::T_OK_ACK);
        assert_eq!(listener.state(), tpi::state::DATA_XFER);
        assert!(carry(&pair, &a, &listener, b"hello") == b"hello");
        let late = pair.a.bound(0, 0);
        late.connect(B, PORT);
        pair.settle();
        assert_eq!((late.next(), listener.next()), (vec![], vec![]));
        late.close();
        if orderly {
            for (one, other) in [(&a, &listener), (&listener, &a)] {
                one.send(&bytes(&[T_ORDREL_REQ]));
                pair.settle();
                assert_eq!(other.next(), [T_ORDREL_IND]);
            }
        } else {
            a.ask(&bytes(&[T_DISCON_REQ, u32::MAX]));
            pair.settle();
            assert_eq!(reason(&listener.next()), is(Errno::ECONNRESET));
        }
        assert_eq!(listener.state(), tpi::state::IDLE);
    }
}

/// CONIND_number: a connection too many is not refused, it waits; tihdr(7P), listen(3N).
#[test]
fn the_queue_of_connections_is_as_long_as_asked() {
    let pair = Pair::new();
    let listener = pair.b.bound(PORT, 1);
    let (a, late) = (pair.a.bound(0, 0), pair.a.bound(0, 0));
    a.connect(B, PORT);
    pair.settle();
    late.connect(B, PORT);
    pair.settle();
    assert_eq!((a.next()[0], late.next()), (T_CONN_CON, vec![]));
    let drops = pair.b.k.drops();
    assert!(
        drops
            .iter()
            .any(|((_, why), n)| *why == "the connection queue is full" && *n == 1),
        "{drops:?}"
    );
    let ind = listener.next();
    listener.accept(&pair.b.open(), ind[5]);
    pair.wait(Duration::from_secs(10));
    assert_eq!(late.next()[0], T_CONN_CON);
    assert_eq!(listener.next()[0], T_CONN_IND);
}

/// T_DISCON_REQ resets; the other end's M_FLUSH takes what it has not read (TPI 3.3).
#[test]
fn an_abort_flushes() {
    let pair = Pair::new();
    let (a, b, _listener) = pair.connected();
    assert_eq!(a.p.write(a.fd, b"never read"), Ok(10));
    pair.settle();
    assert_eq!(a.ask(&bytes(&[T_DISCON_REQ, u32::MAX]))[0], tpi::T_OK_ACK);
    pair.settle();
    assert_eq!(reason(&b.next()), is(Errno::ECONNRESET));
    assert_eq!((a.state(), b.state()), (tpi::state::IDLE, tpi::state::IDLE));
}

/// RFC 1122 4.2.3.5: a connection whose peer is silent is given up, one whose users are
/// silent never.
#[test]
fn a_silent_peer_is_given_up() {
    let pair = Pair::new();
    let (a, b, _listener) = pair.connected();
    pair.wait(Duration::from_secs(7200));
    assert!(carry(&pair, &a, &b, b"still there") == b"still there");
    // From now on B's kernel does not run.
    assert_eq!(a.p.write(a.fd, b"is anybody there?"), Ok(17));
    let alone = |secs| {
        for _ in 0..secs {
            pair.a.k.advance(Duration::from_secs(1));
            pair.a.k.run_until_idle();
        }
    };
    alone(470);
    assert_eq!(a.next(), [0; 0]);
    alone(20); // tcp_ip_abort_interval is 480 s
    assert_eq!(reason(&a.next()), is(Errno::ETIMEDOUT));
}

/// The same while the connection is being made, with a threshold of the user's.
#[test]
fn a_connection_that_nobody_answers_is_given_up() {
    let pair = Pair::new();
    let a = pair.a.bound(0, 0);
    // The address is known, its owner is gone.
    plumb::arp_set(
        &pair.a.p,
        ip("10.0.0.9"),
        Some([8, 0, 0x20, 9, 9, 9]),
        true,
        false,
    )
    .expect("SIOCSARP");
    a.ask(&tpi::optmgmt_req(4, &[(6, 0x13, 30_000)])); // TCP_CONN_ABORT_THRESHOLD
    a.connect("10.0.0.9", PORT);
    pair.wait(Duration::from_secs(28));
    assert_eq!(a.next(), [0; 0]);
    pair.wait(Duration::from_secs(4));
    assert_eq!(reason(&a.next()), is(Errno::ETIMEDOUT));
}

/// RFC 1122 4.2.3.9: a hard ICMP error ends a connection that is being made, a soft one is
/// no more than the reason why there is none in the end.
#[test]
fn icmp_errors_about_a_connection() {
    for (code, at_once) in [(3, true), (1, false)] {
        let pair = Pair::new();
        // On B somebody else is TCP: a subscriber of the protocol, who sends what it likes.
        let b = &pair.b.p;
        let raw = b
            .open("/dev/ip", oflag::O_RDWR | oflag::O_NONBLOCK)
            .expect("open");
        let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], wire::proto::TCP).to_vec();
        b.putmsg(raw, Some(&bind), None, false).expect("bind");
        b.getmsg(raw, 64, 0, false).expect("T_BIND_ACK");
        let a = pair.a.bound(0, 0);
        a.ask(&tpi::optmgmt_req(4, &[(6, 0x13, 5000)]));
        a.connect(B, PORT);
        pair.settle();
        let syn = b.getmsg(raw, 0, 256, false).expect("a SYN").data;
        let syn = syn.expect("a SYN");
        let icmp = ipmod::icmp::error(&syn, 3, code, 0, ip(B).into(), 64, 64);
        b.putmsg(raw, None, Some(&icmp.expect("an error")), false)
            .expect("putmsg");
        pair.settle();
        let now = a.next();
        if at_once {
            assert_eq!(reason(&now), is(Errno::ECONNREFUSED));
            continue;
        }
        assert_eq!(now, [0; 0]);
        pair.wait(Duration::from_secs(6));
        assert_eq!(reason(&a.next()), is(Errno::EHOSTUNREACH));
    }
}

/// RFC 1122 4.2.2.13: a port whose connection is in TIME-WAIT can be used for the same
/// destination again, and an anonymous one is another.
#[test]
fn the_ends_of_an_old_connection_can_be_used_again() {
    let pair = Pair::new();
    let listener = pair.b.bound(PORT, 1);
    for _ in 0..3 {
        let a = pair.a.bound(5000, 0);
        a.connect(B, PORT);
        pair.settle();
        assert_eq!(a.next()[0], T_CONN_CON);
        let b = pair.b.open();
        listener.accept(&b, listener.next()[5]);
        // A releases first: TIME-WAIT is A's.
        a.send(&bytes(&[T_ORDREL_REQ]));
        pair.settle();
        assert_eq!(b.next(), [T_ORDREL_IND]);
        b.send(&bytes(&[T_ORDREL_REQ]));
        pair.settle();
        assert_eq!(a.next(), [T_ORDREL_IND]);
    }
}
