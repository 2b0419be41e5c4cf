//! T_SVR4_OPTMGMT_REQ and T_OPTMGMT_REQ: tihdr(7P), tcp(7P), XTI chapter 6; ip-tpi 4.2, 4.3.

use ipmod::tcp_options::*;
use ipmod::tpi;
use ipmod::tpi_options::*;

use crate::hosts::*;

/// Level, name and value of each option of a T_OPTMGMT_ACK, T_SUCCESS.
fn svr4(t: &Tcp<'_>, flags: u32, options: &[(u32, u32, u32)]) -> Vec<(u32, u32, u32)> {
    let w = t.ask(&tpi::optmgmt_req(flags, options));
    assert_eq!((w[0], w[3]), (tpi::T_OPTMGMT_ACK, T_SUCCESS));
    w[4..].chunks(4).map(|o| (o[0], o[1], o[3])).collect()
}

#[test]
fn svr4_options_are_set_and_told() {
    let pair = Pair::new();
    let (a, _b, _l) = pair.connected();
    let defaults = [
        (IPPROTO_TCP, TCP_NODELAY, 0),
        (IPPROTO_TCP, TCP_MAXSEG, 1460),
        (IPPROTO_TCP, TCP_ABORT_THRESHOLD, 480_000),
        (IPPROTO_TCP, TCP_CONN_ABORT_THRESHOLD, 180_000),
        (SOL_SOCKET, SO_KEEPALIVE, 0),
        (SOL_SOCKET, SO_TYPE, 2),
        (SOL_SOCKET, SO_SNDBUF, 32768),
        (SOL_SOCKET, SO_RCVBUF, 32768),
        (IPPROTO_IP, IP_TTL, 64),
        (IPPROTO_IP, IP_TOS, 0),
    ];
    let asked = defaults.map(|(l, n, _)| (l, n, 0));
    assert_eq!(svr4(&a, T_CURRENT, &asked), defaults);
    assert_eq!(svr4(&a, T_CHECK, &asked), defaults);
    let new = [
        (IPPROTO_TCP, TCP_NODELAY, 1),
        (SOL_SOCKET, SO_KEEPALIVE, 1),
        (IPPROTO_IP, IP_TTL, 7),
        (IPPROTO_TCP, TCP_ABORT_THRESHOLD, 1000),
    ];
    assert_eq!(svr4(&a, T_NEGOTIATE, &new), new);
    assert_eq!(svr4(&a, T_CURRENT, &new.map(|(l, n, _)| (l, n, 9))), new);
    let ttl = [(IPPROTO_IP, IP_TTL, 0)];
    assert_eq!(svr4(&a, T_DEFAULT, &ttl), [(IPPROTO_IP, IP_TTL, 64)]);
}

/// One option that can't be fails the request, and nothing of it is set.
#[test]
fn svr4_options_that_are_refused() {
    let pair = Pair::new();
    let t = pair.a.open();
    let refused = |flags, options: &[_]| t.ask(&tpi::optmgmt_req(flags, options))[2];
    let nodelay = (IPPROTO_TCP, TCP_NODELAY, 1);
    assert_eq!(refused(T_NEGOTIATE | T_CHECK, &[nodelay]), 16); // TBADFLAG
    assert_eq!(refused(T_NEGOTIATE, &[nodelay, (77, 1, 1)]), 2); // TBADOPT
    assert_eq!(refused(T_NEGOTIATE, &[nodelay, (0, IP_TTL, 256)]), 2);
    assert_eq!(refused(T_NEGOTIATE, &[nodelay, (0, IP_TOS, 256)]), 2);
    assert_eq!(refused(T_NEGOTIATE, &[nodelay, (6, TCP_MAXSEG, 9)]), 3); // TACCES
    assert_eq!(svr4(&t, T_CURRENT, &[nodelay])[0].2, 0);
    let cut = &tpi::optmgmt_req(T_NEGOTIATE, &[nodelay])[..28];
    let cut = [&cut[..4], &12u32.to_ne_bytes(), &cut[8..]].concat();
    assert_eq!(t.ask(&cut)[2], 2);
}

/// XTI: each option has its own status, and the acknowledgement the worst of them.
#[test]
fn xti_options_have_a_status_each() {
    let pair = Pair::new();
    let t = pair.a.open();
    let req = [
        (IPPROTO_TCP, TCP_NODELAY, Some(1)),
        (IPPROTO_IP, IP_TTL, Some(0)),
        (IPPROTO_TCP, TCP_MAXSEG, Some(9)),
        (77, 1, Some(1)),
    ];
    let answers = |n: usize| {
        let w = t.ask(&tpi::xti_optmgmt_req(T_NEGOTIATE, &req[..n]));
        assert_eq!(w[0], tpi::T_OPTMGMT_ACK);
        (w[3], w[4..].to_vec())
    };
    let (worst, all) = answers(4);
    let want = [
        vec![20, IPPROTO_TCP, TCP_NODELAY, T_SUCCESS, 1],
        vec![20, IPPROTO_IP, IP_TTL, T_FAILURE, 64],
        vec![20, IPPROTO_TCP, TCP_MAXSEG, T_READONLY, 536],
        vec![16, 77, 1, T_NOTSUPPORT],
    ];
    assert_eq!((worst, all), (T_NOTSUPPORT, want.concat()));
    let worsts = [1, 2, 3].map(|n| answers(n).0);
    assert_eq!(worsts, [T_SUCCESS, T_FAILURE, T_READONLY]);
}

/// XTI: T_ALLOPT is every option of the level; T_NEGOTIATE sets them back.
#[test]
fn xti_all_options_of_a_level() {
    let pair = Pair::new();
    let t = pair.a.open();
    let ask =
        |flags, name, value| t.ask(&tpi::xti_optmgmt_req(flags, &[(IPPROTO_TCP, name, value)]));
    assert_eq!(ask(T_NEGOTIATE, TCP_NODELAY, Some(1))[3], T_SUCCESS);
    let all = ask(T_CURRENT, T_ALLOPT, None);
    let names: Vec<u32> = all[4..].chunks(5).map(|o| o[2]).collect();
    let tcp = [
        TCP_NODELAY,
        TCP_MAXSEG,
        TCP_ABORT_THRESHOLD,
        TCP_CONN_ABORT_THRESHOLD,
    ];
    assert_eq!(names, tcp);
    assert_eq!(all[8], 1);
    assert_eq!(
        ask(T_NEGOTIATE, T_ALLOPT, None)[3],
        T_READONLY,
        "TCP_MAXSEG"
    );
    assert_eq!(ask(T_CURRENT, TCP_NODELAY, None)[8], 0);
    assert_eq!(ask(T_CHECK, T_ALLOPT, None)[2], 2); // TBADOPT
}
