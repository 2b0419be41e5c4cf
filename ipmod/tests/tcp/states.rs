//! What each primitive gives in each state: tihdr(7P), the tables of the Transport Provider
//! Interface Specification, appendix B; ip-tpi 4.1, 4.3, 4.5.

use ipmod::tpi::{self, state::*};
use streams::{Errno, Sys};

use crate::hosts::*;

/// Each state that a stream can rest in.
const STATES: [u32; 7] = [
    UNBND,
    IDLE,
    WCON_CREQ,
    WRES_CIND,
    DATA_XFER,
    WIND_ORDREL,
    WREQ_ORDREL,
];

const TBADADDR: u32 = 1;
const TOUTSTATE: u32 = 6;
const TBADSEQ: u32 = 7;
const TSYSERR: u32 = 8;
const TNOTSUPPORT: u32 = 18;

/// What a request comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gives {
    /// This primitive, and then this state.
    Ack(u32, u32),
    /// T_OK_ACK, and then this state.
    Ok(u32),
    /// T_ERROR_ACK with this TLI_error; the state stays.
    No(u32),
    /// M_ERROR EPROTO.
    Fatal,
    /// No answer, and then this state.
    Silent(u32),
}
use Gives::{Ack, Fatal, No, Silent};

/// A stream in a state, with a stream of the other host that goes with it.
fn at(pair: &Pair, state: u32) -> (Tcp<'_>, Vec<Tcp<'_>>) {
    let (t, others) = match state {
        UNBND => (pair.a.open(), vec![]),
        IDLE => (pair.a.bound(0, 0), vec![]),
        WCON_CREQ => {
            let t = pair.a.bound(0, 0);
            t.connect(B, PORT); // B has not run yet
            (t, vec![])
        }
        WRES_CIND => {
            let (t, other) = (pair.a.bound(PORT, 1), pair.b.bound(0, 0));
            other.connect(A, PORT);
            pair.settle();
            assert_eq!(t.next()[0], T_CONN_IND);
            (t, vec![other])
        }
        _ => {
            let (t, other, listener) = pair.connected();
            match state {
                WIND_ORDREL => t.send(&bytes(&[T_ORDREL_REQ])),
                WREQ_ORDREL => other.send(&bytes(&[T_ORDREL_REQ])),
                _ => {}
            }
            pair.a.k.run_until_idle();
            if state == WREQ_ORDREL {
                pair.settle();
                assert_eq!(t.next(), [T_ORDREL_IND]);
            }
            (t, vec![other, listener])
        }
    };
    assert_eq!(t.state(), state);
    (t, others)
}

fn try_it(state: u32, req: &[u8]) -> Gives {
    let pair = Pair::new();
    let (t, _others) = at(&pair, state);
    t.send(req);
    pair.a.k.run_until_idle();
    match t.got().map(|g| words(&g.ctl.expect("a control part"))) {
        Err(Errno::EPROTO) => Fatal,
        Err(Errno::EAGAIN) => Silent(t.state()),
        Err(e) => panic!("{e}"),
        Ok(w) if w[0] == tpi::T_ERROR_ACK => {
            assert_eq!((w[1], t.state()), (words(req)[0], state));
            No(w[2])
        }
        Ok(w) if w[0] == tpi::T_OK_ACK => {
            assert_eq!(w[1], words(req)[0]);
            Gives::Ok(t.state())
        }
        Ok(w) => Ack(w[0], t.state()),
    }
}

/// A request in the seven states of [`STATES`].
fn row(name: &str, req: &[u8], gives: [Gives; 7]) {
    for (state, want) in STATES.into_iter().zip(gives) {
        assert_eq!(try_it(state, req), want, "{name} in state {state}");
    }
}

fn everywhere(g: Gives) -> [Gives; 7] {
    [g; 7]
}

/// The same acknowledgement everywhere, and the state stays.
fn ack(prim: u32) -> [Gives; 7] {
    STATES.map(|s| Ack(prim, s))
}

/// Allowed in some states, TOUTSTATE in the others.
fn only(allowed: &[(u32, Gives)]) -> [Gives; 7] {
    STATES.map(|s| {
        let hit = allowed.iter().find(|a| a.0 == s);
        hit.map_or(No(TOUTSTATE), |a| a.1)
    })
}

#[test]
fn local_management_in_every_state() {
    row("T_INFO_REQ", &bytes(&[5]), ack(16));
    row("T_ADDR_REQ", &bytes(&[tpi::T_ADDR_REQ]), ack(25));
    row("T_CAPABILITY_REQ", &bytes(&[30, 3]), ack(31));
    let nodelay = [(6, 1, 1)];
    row(
        "T_SVR4_OPTMGMT_REQ",
        &tpi::optmgmt_req(4, &nodelay),
        ack(22),
    );
    let xti = tpi::xti_optmgmt_req(4, &[(6, 1, Some(1))]);
    row("T_OPTMGMT_REQ", &xti, ack(22));
    for prim in [tpi::T_BIND_REQ, tpi::O_T_BIND_REQ] {
        let bind = bytes(&[prim, 0, 0, 0]);
        row("T_BIND_REQ", &bind, only(&[(UNBND, Ack(17, IDLE))]));
    }
    let unbind = bytes(&[tpi::T_UNBIND_REQ]);
    row("T_UNBIND_REQ", &unbind, only(&[(IDLE, Gives::Ok(UNBND))]));
}

#[test]
fn connection_establishment_in_every_state() {
    let connect = tpi::conn_req(&sock(PORT, B));
    row(
        "T_CONN_REQ",
        &connect,
        only(&[(IDLE, Gives::Ok(WCON_CREQ))]),
    );
    let nowhere = tpi::conn_req(&[]);
    row("T_CONN_REQ", &nowhere, only(&[(IDLE, No(TBADADDR))]));
    // Which connection is meant is looked at when there is one.
    for prim in [1, T_CONN_RES] {
        let res = bytes(&[prim, 0, 0, 0, 999]);
        row("T_CONN_RES", &res, only(&[(WRES_CIND, No(TBADSEQ))]));
    }
}

#[test]
fn disconnection_in_every_state() {
    let req = bytes(&[T_DISCON_REQ, u32::MAX]);
    let ends = |s| (s, Gives::Ok(IDLE));
    let allowed = [
        ends(WCON_CREQ),
        (WRES_CIND, No(TBADSEQ)),
        ends(DATA_XFER),
        ends(WIND_ORDREL),
        ends(WREQ_ORDREL),
    ];
    row("T_DISCON_REQ", &req, only(&allowed));
}

/// TPI: T_DATA_REQ, T_EXDATA_REQ and T_ORDREL_REQ have no answer; out of their state they are
/// fatal, but for TS_IDLE, where a disconnection may have crossed them.
#[test]
fn data_and_release_in_every_state() {
    let of = |data, wind, wreq| [Fatal, Silent(IDLE), Fatal, Fatal, data, wind, wreq];
    let data = of(Silent(DATA_XFER), Fatal, Silent(WREQ_ORDREL));
    row("T_DATA_REQ", &bytes(&[3, 0]), data);
    let ordrel = of(Silent(WIND_ORDREL), Fatal, Silent(IDLE));
    row("T_ORDREL_REQ", &bytes(&[T_ORDREL_REQ]), ordrel);
    // ETSDU_size is -2: there is no state for it.
    row("T_EXDATA_REQ", &bytes(&[4, 0]), everywhere(Fatal));
}

/// What TPI has and TCP has not, and what nobody has; requests cut short.
#[test]
fn foreign_and_malformed_in_every_state() {
    for prim in [8, 12, 77, 0x1001] {
        let req = bytes(&[prim, 0, 0, 0, 0]);
        row("foreign", &req, everywhere(No(TNOTSUPPORT)));
    }
    for prim in [0, 1, T_DISCON_REQ, 9, 26, 27, T_CONN_RES] {
        row("cut short", &bytes(&[prim]), everywhere(No(TSYSERR)));
    }
    for prim in [0u32, 9, 26, 27] {
        let outside = bytes(&[prim, 16, 4000, 0, 0]);
        row("offset", &outside, everywhere(No(TSYSERR)));
    }
}

/// tihdr(7P) T_BIND_REQ: the addresses that can't be.
#[test]
fn addresses_that_are_refused() {
    const TACCES: u32 = 3;
    const TADDRBUSY: u32 = 23;
    let pair = Pair::new();
    let t = pair.a.open();
    assert_eq!(t.ask(&tpi::bind_req(&[1, 2, 3]))[2], TBADADDR);
    let foreign = t.ask(&tpi::bind_req(&sock(0, "10.9.9.9")));
    assert_eq!(foreign[2..], [TSYSERR, 126]); // EADDRNOTAVAIL
    let _holder = pair.a.bound(PORT, 1);
    assert_eq!(t.bind(tpi::T_BIND_REQ, PORT, 0)[2], TADDRBUSY);
    // Before XTI another port was given, and the user had to compare.
    let other = t.bind(tpi::O_T_BIND_REQ, PORT, 0);
    assert_eq!(other[0], tpi::T_BIND_ACK);
    assert_ne!(other[4], words(&sock(PORT, "0.0.0.0"))[0]);
    // Ports below 1024 are the superuser's.
    let user = pair.a.k.process(streams::Cred::user(100));
    let fd = user
        .open(
            "/dev/tcp",
            streams::oflag::O_RDWR | streams::oflag::O_NONBLOCK,
        )
        .expect("open");
    let t = Tcp { p: &user, fd };
    assert_eq!(t.bind(tpi::T_BIND_REQ, 80, 0)[2], TACCES);
}

/// T_CONN_REQ: whom nobody can connect to; user data, for which CDATA_size leaves no room.
#[test]
fn destinations_that_are_refused() {
    const TBADDATA: u32 = 10;
    let pair = Pair::new();
    let t = pair.a.bound(0, 0);
    for (to, port) in [
        ("0.0.0.0", PORT),
        (B, 0),
        ("224.0.0.1", PORT),
        ("10.0.0.255", PORT),
        ("255.255.255.255", PORT),
    ] {
        assert_eq!(t.ask(&tpi::conn_req(&sock(port, to)))[2], TBADADDR, "{to}");
    }
    let nowhere = t.ask(&tpi::conn_req(&sock(PORT, "192.0.2.1")));
    assert_eq!(nowhere[2..], [TSYSERR, 128]); // ENETUNREACH
    let req = tpi::conn_req(&sock(PORT, B));
    t.p.putmsg(t.fd, Some(&req), Some(b"data"), false)
        .expect("putmsg");
    assert_eq!(t.next()[2], TBADDATA);
    assert_eq!(t.state(), IDLE);
    // A stream that listens does not connect.
    let listener = pair.a.bound(PORT, 1);
    assert_eq!(listener.ask(&req)[2], TOUTSTATE);
}

/// T_ADDR_REQ: nothing, the address bound, both ends of the connection.
#[test]
fn addresses_are_told() {
    let pair = Pair::new();
    let ends = |t: &Tcp<'_>| {
        t.send(&bytes(&[tpi::T_ADDR_REQ]));
        let ack = t.got().expect("an answer").ctl.expect("T_ADDR_ACK");
        let w = words(&ack);
        let part = |i: usize| ack[w[i + 1] as usize..][..w[i] as usize].to_vec();
        (part(1), part(3))
    };
    let none = Vec::new();
    assert_eq!(ends(&pair.a.open()), (none.clone(), none.clone()));
    let (a, b, listener) = pair.connected();
    assert_eq!(ends(&listener), (sock(PORT, "0.0.0.0").to_vec(), none));
    let (own, peer) = ends(&a);
    assert_eq!(
        (&own[4..8], &peer[..]),
        (&[10, 0, 0, 1][..], &sock(PORT, B)[..])
    );
    assert_eq!(
        ends(&b),
        (peer, own),
        "the accepting stream's ends are the connection's"
    );
}
