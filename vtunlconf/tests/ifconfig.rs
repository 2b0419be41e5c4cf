//! ifconfig with several addresses on an interface, as its user sees it (ifconfig(1M)).

mod common;
use common::run;

const HOST: &str = "wire net; host a; plumb le0 on net; ifconfig le0 10.9.0.1/24 up;";

#[test]
fn addresses_are_added_shown_and_removed() {
    let made = "ifconfig le0:1 10.7.0.1/16 up; ifconfig le0 addif 10.8.0.1/24 up;";
    let shown = run(&[], &format!("{HOST} {made} ifconfig -a")).expect("ifconfig");
    for line in [
        "created logical interface le0:2",
        "le0:1: flags=843<UP,BROADCAST,RUNNING,MULTICAST> mtu 1500",
        "        inet 10.7.0.1 netmask ffff0000 broadcast 10.7.255.255",
        "        inet 10.8.0.1 netmask ffffff00 broadcast 10.8.0.255",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
    }
    // One link, one link address.
    assert_eq!(shown.matches("ether").count(), 1, "{shown}");
    let gone = "ifconfig le0 removeif 10.8.0.1; ifconfig le0:1 unplumb; netstat -i";
    let left = run(&[], &format!("{HOST} {made} {gone}")).expect("removeif");
    assert!(
        !left.contains("le0:1 ") && !left.contains("10.8.0.1"),
        "{left}"
    );
}

#[test]
fn the_configuration_makes_them_again() {
    let script = format!("{HOST} ifconfig le0:1 10.7.0.1/16 up; ifconfig lo0:1 10.1.1.1 up;");
    let config = run(&[], &format!("{script} show config all")).expect("config");
    let (_, config) = config.split_once("is plumbed\n").expect("the note");
    let again = run(&[], &format!("{config}\nshow config all")).expect("the configuration runs");
    let wanted = |t: &str| t.lines().filter(|l| l.starts_with("ifconfig")).count();
    assert_eq!((wanted(config), wanted(&again)), (3, 3), "{config}");
}

#[test]
fn errors_name_the_mend() {
    let e = run(&[], &format!("{HOST} ifconfig le0 removeif 10.9.0.1")).expect_err("the first one");
    assert!(e.contains("keeps its first address"), "{e}");
    let e =
        run(&[], &format!("{HOST} ifconfig le0 removeif 10.9.0.9")).expect_err("no such address");
    assert!(e.contains("`ifconfig -a` lists"), "{e}");
    let e = run(
        &[],
        &format!("{HOST} ifconfig le0 addif 10.9.0.1 netmask 255.255.255.0 up"),
    )
    .expect_err("it is there");
    assert!(e.contains("on one interface only"), "{e}");
}

#[test]
fn routes_are_shown_as_netstat_does() {
    // netstat(1M) -r
    let script = "ifconfig le0:1 10.7.0.1/16 up; route add default 10.9.0.254 1;
        route add 10.1.0.0/16 10.7.0.9 1; route add host 10.1.0.5 10.7.0.8 1 reject;";
    let shown = run(&[], &format!("{HOST} {script} netstat -rn")).expect("netstat");
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    for row in [
        &["Destination", "Gateway", "Flags", "Interface"][..],
        &["127.0.0.1", "127.0.0.1", "UH", "lo0"],
        &["10.9.0.0", "10.9.0.1", "U", "le0"],
        &["10.7.0.0", "10.7.0.1", "U", "le0:1"],
        &["default", "10.9.0.254", "UG"],
        &["10.1.0.0", "10.7.0.9", "UG"],
        &["10.1.0.5", "10.7.0.8", "UGHR"],
    ] {
        assert!(rows.iter().any(|r| r[..] == *row), "{row:?}: {shown}");
    }
    let all = run(&[], &format!("{HOST} netstat -ra")).expect("netstat");
    assert!(all.contains("UHL") && all.contains("UHb"), "{all}");
}

/// dlpi(7P) DL_NOTE_LINK_DOWN, if(7P) IFF_RUNNING.
#[test]
fn an_interface_runs_while_its_link_has_a_carrier() {
    let shown = run(
        &[],
        &format!("{HOST} wire net down; ifconfig le0; wire net up; ifconfig le0"),
    )
    .expect("ifconfig");
    let flags: Vec<_> = shown.lines().filter(|l| l.contains("flags=")).collect();
    let [down, up] = flags[..] else {
        panic!("{shown}");
    };
    assert!(down.contains("flags=803<UP,BROADCAST,MULTICAST>"), "{down}");
    assert!(
        up.contains("flags=843<UP,BROADCAST,RUNNING,MULTICAST>"),
        "{up}"
    );
}
