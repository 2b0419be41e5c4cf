//! /dev/tcp and the TCP of this machine's own kernel, across a TAP, a TUN and a packet socket on
//! a veth: connections both ways, a megabyte each way at once, orderly release from either end,
//! refusal, resets, twenty connections at once. What Linux counts of it is what we count.
//!
//! Spec: tihdr(7P), tcp(7P), RFC 793, RFC 2012.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use ipmod::tcp_options::{IPPROTO_TCP, SO_LINGER, TCP_MAXSEG};
use ipmod::tpi::{self, T_CONN_CON, T_DISCON_IND};
use ipmod::tpi_options::{SOL_SOCKET, T_CURRENT, T_NEGOTIATE};
use streams::Sys;
use vtunl_tests::linux::{self, CLOSED, Case, FAR, Host, LINUX, MEDIA, OURS, PORT, Side, ip, snmp};
use vtunl_tests::netns::PATIENCE;
use vtunl_tests::peer::Both;
use vtunl_tests::transport::{Endpoint, bytes};

const SIZE: u32 = 1 << 20;
/// ECONNREFUSED and ECONNRESET of Solaris.
const ECONNREFUSED: u32 = 146;
const ECONNRESET: u32 = 131;

const CASES: &[Case] = &[
    (
        "our_client_their_listener",
        MEDIA,
        our_client_their_listener,
    ),
    (
        "their_client_our_listener",
        MEDIA,
        their_client_our_listener,
    ),
    ("they_release_first", MEDIA, they_release_first),
    ("refusal_both_ways", MEDIA, refusal_both_ways),
    ("resets_both_ways", MEDIA, resets_both_ways),
    ("our_close_loses_nothing", MEDIA, our_close_loses_nothing),
    ("so_linger", MEDIA, so_linger),
    ("many_at_once", MEDIA, many_at_once),
    ("the_path_becomes_narrow", MEDIA, the_path_becomes_narrow),
    (
        "read_and_write_through_tirdwr",
        MEDIA,
        read_and_write_through_tirdwr,
    ),
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// A megabyte that no shift leaves the same.
fn content(seed: u32) -> Vec<u8> {
    let of = |i: u32| (i.wrapping_mul(i).wrapping_add(seed) >> 7) as u8;
    (0..SIZE).map(of).collect()
}

/// A megabyte each way at once on this machine's side: what was read up to the peer's FIN.
fn talk(s: TcpStream, say: Vec<u8>) -> Vec<u8> {
    s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = s.try_clone().expect("a second descriptor");
    let writing = thread::spawn(move || {
        writer.write_all(&say).expect("written");
        writer.shutdown(Shutdown::Write).expect("FIN");
    });
    let mut heard = Vec::new();
    (&s).read_to_end(&mut heard).expect("read");
    writing.join().expect("the writer");
    heard
}

/// The same on ours; release comes after the last byte.
fn talk_ours(e: &Endpoint<'_>, say: &[u8]) -> Vec<u8> {
    thread::scope(|s| {
        s.spawn(|| {
            e.write(say);
            e.release();
        });
        e.read_to_end()
    })
}

fn same(got: &[u8], want: &[u8]) {
    assert!(got == want, "{} of {} bytes", got.len(), want.len());
}

/// RFC 2012: every segment that one end sends the other receives, and none is broken. (Ours
/// counts what is sent again among those sent, Linux apart.)
#[track_caller]
fn segments_agree(both: &Both<'_>) {
    both.alike("Tcp: InSegs", "tcpOutSegs", 700);
    let sent = || both.linux("Tcp: OutSegs") + both.linux("Tcp: RetransSegs");
    let end = Instant::now() + PATIENCE;
    while sent() != both.ours("tcpInSegs") {
        let come = both.ours("tcpInSegs");
        assert!(Instant::now() < end, "{} sent, {come} come", sent());
        thread::yield_now();
    }
    both.same("Tcp: InErrs", "", 0);
}

/// T_CONN_REQ, T_CONN_CON, data, T_ORDREL_REQ; RFC 793 3.4, 3.5.
fn our_client_their_listener(side: Side) {
    let host = side.host();
    let both = Both::begin(side, &host);
    let p = &host.p;
    let (theirs, ours) = (content(1), content(2));
    let listener = TcpListener::bind((LINUX, PORT)).expect("listen");
    let say = theirs.clone();
    let linux = thread::spawn(move || {
        let (s, peer) = listener.accept().expect("accept");
        assert_eq!(peer.ip(), OURS);
        talk(s, say)
    });
    let e = Endpoint::tcp(p, 0, 0);
    let con = e.connect(SocketAddrV4::new(LINUX, PORT));
    assert_eq!(con[0], T_CONN_CON);
    same(&talk_ours(&e, &ours), &theirs);
    same(&linux.join().expect("linux"), &ours);
    both.same("Tcp: PassiveOpens", "tcpActiveOpens", 1);
    segments_agree(&both);
}

/// T_CONN_IND, T_CONN_RES, data, T_ORDREL_REQ; RFC 793 3.4, 3.5.
fn their_client_our_listener(side: Side) {
    let host = side.host();
    let both = Both::begin(side, &host);
    let p = &host.p;
    let (theirs, ours) = (content(3), content(4));
    let listener = Endpoint::tcp(p, PORT, 2);
    let say = theirs.clone();
    let linux =
        thread::spawn(move || talk(TcpStream::connect((OURS, PORT)).expect("connected"), say));
    let e = listener.accept();
    same(&talk_ours(&e, &ours), &theirs);
    same(&linux.join().expect("linux"), &ours);
    both.same("Tcp: ActiveOpens", "tcpPassiveOpens", 1);
    segments_agree(&both);
}

/// The peer's FIN is T_ORDREL_IND, and what is written after it still arrives: tihdr(7P),
/// TS_WREQ_ORDREL; RFC 793 3.5 case 2.
fn they_release_first(side: Side) {
    let Host { p, .. } = &side.host();
    let (theirs, ours) = (content(5), content(6));
    let listener = Endpoint::tcp(p, PORT, 1);
    let say = theirs.clone();
    let linux = thread::spawn(move || {
        let mut s = TcpStream::connect((OURS, PORT)).expect("connected");
        s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        s.write_all(&say).expect("written");
        s.shutdown(Shutdown::Write).expect("FIN");
        let mut heard = Vec::new();
        s.read_to_end(&mut heard).expect("read");
        heard
    });
    let e = listener.accept();
    same(&e.read_to_end(), &theirs);
    e.write(&ours);
    e.release();
    same(&linux.join().expect("linux"), &ours);
}

/// RFC 793 3.4: a connection to a port that nobody has is reset.
fn refusal_both_ways(side: Side) {
    let Host { p, .. } = &side.host();
    let e = Endpoint::tcp(p, 0, 0);
    let said = e.connect(SocketAddrV4::new(LINUX, CLOSED));
    assert_eq!(said[..2], [T_DISCON_IND, ECONNREFUSED]);
    let refused = TcpStream::connect((OURS, CLOSED)).expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// RFC 793 3.4: T_DISCON_REQ resets; a reset that is heard is T_DISCON_IND. (This machine
/// resets when it closes what it has not read all of: RFC 1122 4.2.2.13.)
fn resets_both_ways(side: Side) {
    let Host { p, .. } = &side.host();
    let listener = TcpListener::bind((LINUX, PORT)).expect("listen");
    let connect = || {
        let e = Endpoint::tcp(p, 0, 0);
        assert_eq!(e.connect(SocketAddrV4::new(LINUX, PORT))[0], T_CONN_CON);
        let (s, _) = listener.accept().expect("accept");
        s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        (e, s)
    };
    let (e, s) = connect();
    assert_eq!(
        e.ask(&bytes(&[tpi::T_DISCON_REQ, u32::MAX]))[0],
        tpi::T_OK_ACK
    );
    let reset = (&s).read(&mut [0; 9]).expect_err("a reset");
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);

    let (e, s) = connect();
    e.write(b"nobody reads this");
    s.peek(&mut [0]).expect("it has come");
    drop(s);
    assert_eq!(e.next_words()[..2], [T_DISCON_IND, ECONNRESET]);
}

/// RFC 793 3.9 CLOSE: a stream that is closed behind its last write loses nothing, though it
/// was the only one.
fn our_close_loses_nothing(side: Side) {
    let Host { p, .. } = &side.host();
    let ours = content(7);
    let listener = TcpListener::bind((LINUX, PORT)).expect("listen");
    let linux = thread::spawn(move || {
        let (s, _) = listener.accept().expect("accept");
        talk(s, Vec::new())
    });
    let e = Endpoint::tcp(p, 0, 0);
    assert_eq!(e.connect(SocketAddrV4::new(LINUX, PORT))[0], T_CONN_CON);
    e.write(&ours);
    drop(e);
    same(&linux.join().expect("linux"), &ours);
}

/// SO_LINGER with no time: a close is a reset. Switched off again, it is a release.
fn so_linger(side: Side) {
    let Host { p, .. } = &side.host();
    let listener = TcpListener::bind((LINUX, PORT)).expect("listen");
    for on in [1, 0] {
        let e = Endpoint::tcp(p, 0, 0);
        for on in [1, on] {
            let linger = [SOL_SOCKET, SO_LINGER, 8, on, 0]; // level, name, length, value
            let head = [tpi::T_SVR4_OPTMGMT_REQ, 20, 16, T_NEGOTIATE];
            let ack = e.ask(&[bytes(&head), bytes(&linger)].concat());
            assert_eq!((ack[0], &ack[4..9]), (tpi::T_OPTMGMT_ACK, &linger[..]));
        }
        assert_eq!(e.connect(SocketAddrV4::new(LINUX, PORT))[0], T_CONN_CON);
        let (mut s, _) = listener.accept().expect("accept");
        s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        drop(e);
        let heard = s.read(&mut [0; 9]);
        match on {
            1 => assert_eq!(
                heard.expect_err("a reset").kind(),
                io::ErrorKind::ConnectionReset
            ),
            _ => assert_eq!(heard.expect("a release"), 0),
        }
    }
}

/// Twenty connections to one listener, each with its own content; none gets another's.
fn many_at_once(side: Side) {
    let Host { p, .. } = &side.host();
    const MANY: u32 = 20;
    let listener = Endpoint::tcp(p, PORT, 16);
    let clients: Vec<_> = (0..MANY)
        .map(|n| {
            thread::spawn(move || {
                let mut say = content(n);
                say.truncate(50_000);
                say[0] = n as u8;
                let s = TcpStream::connect((OURS, PORT)).expect("connected");
                let heard = talk(s, say.clone());
                assert!(heard == say, "{n}: {} bytes came back", heard.len());
            })
        })
        .collect();
    thread::scope(|s| {
        for _ in 0..MANY {
            let e = listener.accept();
            s.spawn(move || {
                let all = e.read_to_end();
                e.write(&all);
                e.release();
            });
        }
    });
    for c in clients {
        c.join().expect("a client");
    }
}

/// RFC 1191 6.4: while data flow, a link behind Linux becomes narrow. Linux says so, once or a
/// few times, and never fragments; the segments become smaller, and everything arrives.
fn the_path_becomes_narrow(side: Side) {
    let Host { p, .. } = &side.host();
    let ours = content(8);
    let e = Endpoint::tcp(p, 0, 0);
    assert_eq!(e.connect(SocketAddrV4::new(FAR, PORT))[0], T_CONN_CON);
    let maxseg = || {
        e.ask(&tpi::optmgmt_req(
            T_CURRENT,
            &[(IPPROTO_TCP, TCP_MAXSEG, 0)],
        ))[7]
    };
    assert_eq!(maxseg(), 1460);
    let (first, rest) = ours.split_at(10_000);
    e.write(first);
    let mut heard = Vec::new();
    while heard.len() < first.len() {
        heard.extend(e.next().data.expect("data"));
    }
    ip("route add 198.51.100.2 dev v0 mtu lock 1000");
    let fragments = snmp("Ip:", "FragCreates");
    let said = snmp("Icmp:", "OutDestUnreachs");
    thread::scope(|s| {
        s.spawn(|| {
            e.write(rest);
            e.release();
        });
        heard.extend(e.read_to_end());
    });
    same(&heard, &ours);
    assert_eq!(snmp("Ip:", "FragCreates"), fragments);
    let said = snmp("Icmp:", "OutDestUnreachs") - said;
    assert!((1..100).contains(&said), "said {said} times");
    let other = Endpoint::tcp(p, 0, 0);
    assert_eq!(other.connect(SocketAddrV4::new(FAR, PORT))[0], T_CONN_CON);
    let req = tpi::optmgmt_req(T_CURRENT, &[(IPPROTO_TCP, TCP_MAXSEG, 0)]);
    assert_eq!(other.ask(&req)[7], 960, "known from the start");
}

/// tirdwr(7M): a program that knows read and write alone.
fn read_and_write_through_tirdwr(side: Side) {
    let Host { p, .. } = &side.host();
    let listener = TcpListener::bind((LINUX, PORT)).expect("listen");
    let linux = thread::spawn(move || {
        let (mut s, _) = listener.accept().expect("accept");
        s.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // Only then: control at the head would refuse the push.
        let mut first = [0; 7];
        s.read_exact(&mut first).expect("read");
        [&first[..], &talk(s, b"from linux".to_vec())].concat()
    });
    let e = Endpoint::tcp(p, 0, 0);
    assert_eq!(e.connect(SocketAddrV4::new(LINUX, PORT))[0], T_CONN_CON);
    p.push(e.fd, "tirdwr").expect("I_PUSH");
    e.write(b"from us");
    let mut heard = Vec::new();
    loop {
        match p.read(e.fd, 100).expect("read") {
            end if end.is_empty() => break,
            more => heard.extend(more),
        }
    }
    assert_eq!(heard, b"from linux");
    drop(e); // T_ORDREL_REQ, as the other side has released
    same(&linux.join().expect("linux"), b"from us");
}
