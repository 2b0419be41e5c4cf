//! Links of this machine in the shell: a TUN that the parent opened, a TAP, a packet socket.
//!
//! ```text
//!   this test ─ unshare -Urn ─► itself again ─ vtunlconf ── ping ──► Linux, in that namespace
//!     plumb tun0 fd 0        emu0, made here, its descriptor is the shell's standard input
//!     plumb le0 tap emu1     emu1, made by the shell
//!     plumb le0 live v0      packet(7) on v0 ══ veth ══ v1, which has the address
//! ```
//!
//! Where the host forbids namespaces or these devices the test says SKIPPED and why.
#![allow(missing_docs)]

#[path = "../../dlpi/tests/namespace/mod.rs"]
mod namespace;

use std::process::{Command, Stdio};

use dlpi::link::Link;
use dlpi::link::tun::{Tun, TunOptions};
use namespace::{inside, ip, veth};

/// What the shell prints when it runs these commands.
fn shell(script: &str, stdin: impl Into<Stdio>) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_vtunlconf"))
        .args(["--clock", "real", "--quiet", "-c", script])
        .stdin(stdin)
        .output()
        .expect("vtunlconf");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}{errors}");
    said
}

#[test]
fn a_parents_tun_is_plumbed() {
    if !inside("a_parents_tun_is_plumbed") {
        return;
    }
    let options = TunOptions {
        address: Some(([10, 9, 4, 1].into(), [255, 255, 255, 0].into())),
        ..TunOptions::named("emu0")
    };
    let tun = Tun::with(&options).expect("a TUN");
    let fd = tun
        .fd()
        .and_then(|f| f.try_clone_to_owned().ok())
        .expect("a descriptor");
    let said = shell(
        "plumb tun0 fd 0; ifconfig tun0 10.9.4.2 10.9.4.1 up; ping 10.9.4.1;
         show config; kstat -p tun:0:tun0:opackets",
        fd,
    );
    assert!(said.contains("64 bytes from 10.9.4.1"), "{said}");
    assert!(said.contains("plumb tun0 fd 0\n"), "{said}");
    assert!(said.contains("tun:0:tun0:opackets\t"), "{said}");
}

#[test]
fn a_tap_has_the_address_it_is_given() {
    if !inside("a_tap_has_the_address_it_is_given") {
        return;
    }
    let said = shell(
        "plumb le0 tap emu1 address 10.9.6.1/24 mtu 1400 ether 2:0:0:0:0:77 persist;
         ifconfig le0 10.9.6.2 netmask 255.255.255.0 up; ping 10.9.6.1; show config",
        Stdio::null(),
    );
    assert!(said.contains("64 bytes from 10.9.6.1"), "{said}");
    let line = "plumb le0 tap emu1 mtu 1400 address 10.9.6.1/24 persist ether 2:0:0:0:0:77\n";
    assert!(said.contains(line), "{said}");
    ip("link show emu1"); // it stays
}

#[test]
fn a_packet_socket_reaches_the_other_end_of_a_veth() {
    if !inside("a_packet_socket_reaches_the_other_end_of_a_veth") {
        return;
    }
    veth("v0", "v1");
    ip("addr add 10.9.7.1/24 dev v1");
    let said = shell(
        "plumb le0 live v0; ifconfig le0 10.9.7.2 netmask 255.255.255.0 up; ping 10.9.7.1",
        Stdio::null(),
    );
    assert!(said.contains("64 bytes from 10.9.7.1"), "{said}");
}
