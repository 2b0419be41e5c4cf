//! Wires with faults, captures that are played, and what can't be had.

use std::path::{Path, PathBuf};

use crate::lab::ClockKind;
use crate::out::Look;
use crate::testing::{QUIET, run, run_by};

/// A capture of this repository: 79 datagrams in a third of a second.
fn capture() -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/linux-tun.pcap");
    format!("'{}'", top.display())
}

/// A file for a test to write, gone afterwards.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let name = format!("vtunlconf-{}-{name}", std::process::id());
        Temporary(std::env::temp_dir().join(name))
    }
    fn quoted(&self) -> String {
        format!("'{}'", self.0.display())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pair(wire: &str) -> String {
    format!(
        "wire net {wire}; host a; plumb le0 on net; ifconfig le0 10.0.0.1 up;
         host b; plumb le0 on net; ifconfig le0 10.0.0.2 up;"
    )
}

#[test]
fn a_wire_has_the_faults_that_it_is_given() {
    // Nothing arrives at all; then everything, but late.
    let why = run(&format!("{} ping 10.0.0.1", pair("loss 100%")), QUIET).unwrap_err();
    assert!(why.contains("10.0.0.1"), "{why}");
    let counted = format!(
        "{} ping 10.0.0.1; kstat -p ip:0:ip:snaptime",
        pair("delay 200ms")
    );
    let text = run(&counted, QUIET).unwrap();
    // What a says of itself when it comes up is heard by b after all; then the echo, both ways.
    assert!(text.contains("snaptime\t0.600000000"), "{text}");
    // Two bytes in a millisecond: 42 bytes twice and 98 twice take 140; ping looks each 100.
    let text = run(
        &format!(
            "{} ping 10.0.0.1; kstat -p ip:0:ip:snaptime",
            pair("rate 16k")
        ),
        QUIET,
    )
    .unwrap();
    assert!(text.contains("snaptime\t0.200000000"), "{text}");
    // The same seed, the same losses.
    let lossy = |seed: u32| {
        let script = format!(
            "{} on a kstat -p le:0:le0:ipackets; ping 10.0.0.1 count 40; on a kstat -p le:0:le0:ipackets",
            pair(&format!("loss 30% seed {seed}"))
        );
        match run(&script, QUIET) {
            Ok(t) | Err(t) => t,
        }
    };
    assert_eq!(lossy(3), lossy(3));
    for bad in [
        "loss 101%",
        "loss x",
        "rate 0",
        "rate 5T",
        "delay soon",
        "seed",
    ] {
        assert!(run(&format!("wire net {bad}"), QUIET).is_err(), "{bad}");
    }
}

#[test]
fn faults_are_part_of_the_configuration() {
    let script = "wire net loss 5% delay 10ms rate 2M seed 7; wire; show config all";
    let text = run(&format!("{script}; host a; show config all"), QUIET).unwrap();
    assert!(
        text.contains("wire net loss 5% delay 10ms rate 2M seed 7\n"),
        "{text}"
    );
}

#[test]
fn a_wire_without_a_carrier_loses_everything() {
    let script = format!("{} wire net down; ping 10.0.0.1", pair(""));
    assert!(run(&script, QUIET).is_err());
    let script = format!("{} wire net down; wire net up; ping 10.0.0.1", pair(""));
    assert!(run(&script, QUIET).is_ok());
    assert!(run("wire net; wire other down", QUIET).is_err());
}

#[test]
fn a_capture_is_played_step_by_step_or_as_recorded() {
    let plumb = format!(
        "plumb pcap0 in {}; ifconfig pcap0 10.0.0.1 10.0.0.2 up;",
        capture()
    );
    let text = run(
        &format!("{plumb} replay pcap0 step 3; replay pcap0 step 1; replay pcap0"),
        QUIET,
    )
    .unwrap();
    let came = ["3", "1", "75"].map(|n| format!("{n} datagrams came in\n"));
    assert_eq!(text, came.concat());
    let timed = |how: &str| {
        let script = format!("{plumb} replay pcap0 {how}; kstat -p ip:0:ip:snaptime");
        let text = run(&script, QUIET).unwrap();
        assert!(text.starts_with("79 datagrams came in\n"), "{text}");
        let at = text.trim().rsplit('\t').next().and_then(|t| t.parse().ok());
        at.unwrap_or(f64::NAN)
    };
    assert_eq!(timed(""), 0.0);
    assert!(timed("recorded") > 0.3, "{}", timed("recorded"));
    assert!(run("host a; replay le0", QUIET).is_err());
}

#[test]
fn interfaces_that_write_one_pcapng_are_interfaces_in_it() {
    let file = Temporary::new("two.pcapng");
    let script = format!(
        "host a; plumb pcap0 in {} out {out}; ifconfig pcap0 10.0.0.1 10.0.0.2 up;
         plumb pcap1 out {out}; ifconfig pcap1 10.1.0.1 10.1.0.2 up;
         host b; plumb pcap0 out {out}; ifconfig pcap0 10.2.0.1 10.2.0.2 up;
         on a replay pcap0 step 5; on a unplumb pcap0; on a unplumb pcap1; unplumb pcap0",
        capture(),
        out = file.quoted()
    );
    run(&script, QUIET).unwrap();
    let bytes = std::fs::read(&file.0).unwrap();
    // draft-ietf-opsawg-pcapng: type, length, body, length; 1 is an interface, option 2 its name
    let (mut at, mut names) = (0, Vec::new());
    while let Some(head) = bytes.get(at..at + 8) {
        let word = |b: &[u8]| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
        let len = word(&head[4..]) as usize;
        if word(head) == 1 {
            let body = &bytes[at + 16..at + len];
            let n = usize::from(u16::from_ne_bytes([body[2], body[3]]));
            names.push(String::from_utf8_lossy(&body[4..4 + n]).into_owned());
        }
        at += len;
    }
    assert_eq!(names, ["a:pcap0", "a:pcap1", "b:pcap0"]);
}

#[test]
fn what_this_machine_does_not_have_is_said() {
    for (command, clock, said) in [
        ("plumb tun0 fd 77", ClockKind::Real, "descriptor 77"),
        ("plumb le0 fd 77", ClockKind::Real, "descriptor 77"),
        ("plumb le0 live no-such-if", ClockKind::Real, "no-such-if"),
        ("plumb tun0 fd 3", ClockKind::Emulated, "clock"),
        ("plumb le0 live eth0", ClockKind::Emulated, "clock"),
        ("plumb tun0 live eth0", ClockKind::Real, "no Ethernet"),
        ("plumb pcap0 fd 3", ClockKind::Real, "files"),
        ("plumb tun0 mtu 60", ClockKind::Real, "68"),
    ] {
        let why = run_by(clock, command, QUIET).unwrap_err();
        assert!(why.contains(said), "{command}: {why}");
    }
    let json = Look {
        json: true,
        ..QUIET
    };
    let why = run_by(ClockKind::Real, "plumb tun0 fd 77", json);
    assert!(why.is_err());
}
