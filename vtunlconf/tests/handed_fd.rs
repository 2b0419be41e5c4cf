//! `plumb tun0 fd N`: the parent opens the TUN, the shell only gets the descriptor.
//!
//! ```text
//!   this test ─ unshare -Urn ─► itself again: makes emu0, 10.9.4.1 ─ stdin ─► vtunlconf
//!                                             Linux answers ◄── ping 10.9.4.1 ──┘ tun0
//! ```
//!
//! Where the host forbids namespaces or TUN devices the test says SKIPPED and why.
#![allow(missing_docs)]

use std::process::Command;

use dlpi::link::Link;
use dlpi::link::tun::{Tun, TunOptions};

const INSIDE: &str = "VTUNLCONF_TEST_INSIDE";
const TEST: &str = "a_parents_tun_is_plumbed";

#[test]
fn a_parents_tun_is_plumbed() {
    if std::env::var_os(INSIDE).is_some() {
        return parent();
    }
    let probe = Command::new("unshare")
        .args(["-Urn", "ip", "tuntap", "add", "p0", "mode", "tun"])
        .output();
    let refused = match &probe {
        Err(e) => Some(e.to_string()),
        Ok(o) if !o.status.success() => Some(String::from_utf8_lossy(&o.stderr).trim().to_owned()),
        Ok(_) => None,
    };
    if let Some(why) = refused {
        println!("SKIPPED {TEST}: {why}");
        return;
    }
    let out = Command::new("unshare")
        .arg("-Urn")
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Inside the namespace.
fn parent() {
    let options = TunOptions {
        address: Some(([10, 9, 4, 1].into(), [255, 255, 255, 0].into())),
        ..TunOptions::named("emu0")
    };
    let tun = Tun::with(&options).expect("a TUN");
    let fd = tun
        .fd()
        .and_then(|f| f.try_clone_to_owned().ok())
        .expect("a descriptor");
    let script = "plumb tun0 fd 0; ifconfig tun0 10.9.4.2 10.9.4.1 up; ping 10.9.4.1;
                  show config; kstat -p tun:0:tun0:opackets";
    let out = Command::new(env!("CARGO_BIN_EXE_vtunlconf"))
        .args(["--clock", "real", "--quiet", "-c", script])
        .stdin(fd)
        .output()
        .expect("vtunlconf");
    let said = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}{errors}");
    assert!(said.contains("64 bytes from 10.9.4.1"), "{said}{errors}");
    assert!(said.contains("plumb tun0 fd 0\n"), "{said}");
    assert!(said.contains("tun:0:tun0:opackets\t"), "{said}");
}
