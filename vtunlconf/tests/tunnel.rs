//! The tunnel's policy and the outer sources allowed, as the shell's user sets and sees them
//! (RFC 4459 3.4, RFC 2003 6.2).

mod common;
use common::run;

const HOST: &str = "wire net; host a; plumb le0 on net; ifconfig le0 10.9.0.1/24 up; \
                    add_drv vtunl; plumb tunnel from 10.9.0.1; ifconfig ip0 10.9.0.1 192.0.2.1 up;";

#[test]
fn each_policy_is_set_shown_and_taken_back() {
    for df in ["copy", "always", "inner"] {
        let line = format!("policy ttl 60 dscp 46 ecn compat df {df}");
        let shown = run(&[], &format!("{HOST} {line}; policy")).expect("policy");
        assert!(shown.lines().any(|l| l == line), "{shown}");
    }
    let shown = run(&[], &format!("{HOST} policy df inner; show config all")).expect("config");
    let line = "policy ttl 64 dscp copy ecn normal df inner";
    assert!(shown.lines().any(|l| l == line), "{shown}");
}

#[test]
fn outer_sources_are_listed_and_taken_from_the_list() {
    let add = "decap add all; decap from add 10.9.0.2; decap from add 10.4.0.0/16;";
    let shown = run(&[], &format!("{HOST} {add} decap show")).expect("decap");
    for line in ["decap from add 10.9.0.2", "decap from add 10.4.0.0/16"] {
        assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
    }
    let left = run(
        &[],
        &format!("{HOST} {add} decap from rem 10.9.0.2; decap show"),
    )
    .expect("rem");
    assert!(!left.contains("10.9.0.2"), "{left}");
    let e = run(&[], &format!("{HOST} decap from rem 10.9.0.9")).expect_err("not listed");
    assert!(e.contains("ENXIO"), "{e}");
}

/// VTUNL_SETCONF_TRANSPORT's vr_address (paper, Table 2), when nobody says it.
#[test]
fn a_tunnel_starts_at_the_first_interface_that_is_up() {
    let up = "wire net; host a; plumb le0 on net; ifconfig le0 10.9.0.1/24 up; add_drv vtunl;";
    let shown = run(&[], &format!("{up} plumb tunnel; show config")).expect("tunnel");
    assert!(
        shown.lines().any(|l| l == "plumb tunnel from 10.9.0.1"),
        "{shown}"
    );
    let why = run(&[], "host a; add_drv vtunl; plumb tunnel").expect_err("nothing is up");
    assert!(why.contains("plumb tunnel from ADDR"), "{why}");
}
