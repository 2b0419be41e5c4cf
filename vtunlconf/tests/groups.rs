//! Groups in the shell: join, leave, send, netstat -g (ip(7P), netstat(1M) -g).

mod common;
use common::run;

const HOSTS: &str = "wire net
    host a; plumb le0 on net; ifconfig le0 10.9.0.1/24 up
    host b; plumb le0 on net; ifconfig le0 10.9.0.2/24 up; listen 5000";

/// A line of words, however far apart.
fn has(text: &str, line: &str) -> bool {
    let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    text.lines().any(|l| words(l) == words(line))
}

#[test]
fn what_is_sent_to_a_group_comes_to_who_has_joined() {
    let send = "host a; send udp 239.1.2.3 5000 hello via le0; host b; received";
    let none = run(&[], &format!("{HOSTS}; {send}")).expect("sent");
    assert!(none.contains("nothing was received"), "{none}");
    let join = "join 239.1.2.3 5000; netstat -g";
    let some = run(&[], &format!("{HOSTS}; {join}; {send}")).expect("joined");
    assert!(has(&some, "Interface Group RefCnt"), "{some}");
    assert!(has(&some, "le0 239.1.2.3 1"), "{some}");
    assert!(has(&some, "le0 224.0.0.1 1"), "{some}");
    assert!(some.contains("5 bytes from 10.9.0.1 1024: hello"), "{some}");
    let left = format!("{HOSTS}; {join}; leave 239.1.2.3 5000 on le0; {send}");
    let left = run(&[], &left).expect("left");
    assert!(left.contains("nothing was received"), "{left}");
}

#[test]
fn a_group_can_be_pinged_and_sources_be_chosen() {
    let ping = run(&[], &format!("{HOSTS}; host a; ping 224.0.0.1 via le0")).expect("ping");
    assert!(ping.contains("bytes from 224.0.0.1"), "{ping}");
    let source = "join 239.1.2.3 5000 source 10.9.0.9; netstat -gv; \
                  host a; send udp 239.1.2.3 5000 no; send udp 239.1.2.3 5000 yes from 10.9.0.9; \
                  host b; received";
    let said = run(&[], &format!("{HOSTS}; {source}")).expect("joined");
    assert!(has(&said, "le0 239.1.2.3 1 INCLUDE 10.9.0.9"), "{said}");
    assert!(said.contains(": yes") && !said.contains(": no"), "{said}");
}

#[test]
fn json_has_the_columns() {
    let said = run(
        &["--json"],
        &format!("{HOSTS}; join 239.1.2.3 5000; netstat -g"),
    );
    let said = said.expect("netstat -g");
    let row = r#"{"group":"239.1.2.3","interface":"le0","refcnt":"1"}"#;
    assert!(said.contains(row), "{said}");
}

#[test]
fn errors_name_the_mend() {
    let fails = |last: &str| run(&[], &format!("{HOSTS}; {last}")).expect_err(last);
    let e = fails("join 10.9.0.1 5000");
    assert!(e.contains("224.0.0.0 to 239.255.255.255"), "{e}");
    let e = fails("join 239.1.2.3 5000; join 239.1.2.3 5000");
    assert!(e.contains("joined already"), "{e}");
    let e = fails("leave 239.1.2.3 5000");
    assert!(e.contains("netstat -g"), "{e}");
    let e = fails("join 239.1.2.3 5001");
    assert!(e.contains("`listen 5001` opens it"), "{e}");
    let e = fails("join 239.1.2.3 5000 on le7");
    assert!(e.contains("le7"), "{e}");
}
