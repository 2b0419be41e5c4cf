//! A test that runs again inside a network namespace of its own, where it is root.
//!
//! ```text
//!   a test ─ unshare -Urn ─► itself again, alone: devices, addresses and routes as it likes
//! ```
//!
//! Where the host forbids namespaces or devices the test says SKIPPED and why.
//!
//! Spec: unshare(1), user_namespaces(7), network_namespaces(7).

use std::process::Command;
use std::time::{Duration, Instant};

/// In the environment of a test that is inside.
const INSIDE: &str = "TEST_INSIDE_NAMESPACE";

/// Runs a test of the calling file again inside a fresh namespace; true there.
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let probe = "ip tuntap add p0 mode tun && ip link add p1 type veth peer name p2";
    let probe = Command::new("unshare")
        .args(["-Urn", "sh", "-c", probe])
        .output();
    let refused = match &probe {
        Err(e) => Some(e.to_string()),
        Ok(o) if !o.status.success() => Some(String::from_utf8_lossy(&o.stderr).trim().to_owned()),
        Ok(_) => None,
    };
    if let Some(why) = refused {
        println!("SKIPPED {test}: {why}");
        return false;
    }
    let out = Command::new("unshare")
        .arg("-Urn")
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}{errors}");
    false
}

/// ip(8), words separated by single blanks.
pub fn ip(args: &str) {
    let done = Command::new("ip")
        .args(args.split(' '))
        .status()
        .expect("ip");
    assert!(done.success(), "ip {args}");
}

/// A veth pair, both ends up and carrying frames.
///
/// The end that was up first follows when the kernel gets to it (linkwatch): what is sent
/// there before is dropped, and counted nowhere.
pub fn veth(a: &str, b: &str) {
    ip(&format!("link add {a} type veth peer name {b}"));
    for end in [a, b] {
        ip(&format!("link set {end} up"));
    }
    let patience = Instant::now() + Duration::from_secs(60);
    for end in [a, b] {
        while !carries(end) {
            assert!(Instant::now() < patience, "{end} has no carrier");
        }
    }
}

fn carries(end: &str) -> bool {
    let shown = Command::new("ip").args(["link", "show", end]).output();
    String::from_utf8_lossy(&shown.expect("ip").stdout).contains("state UP")
}
