//! A capture in, a capture out: real traffic is encapsulated datagram by datagram; what a
//! protocol analyser makes of the result; and what comes out again at the other side.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use pcap_file::pcap::PcapReader;
use vtunl_tests::gateway::{Ends, Gateway, Side};
use vtunl_tests::netns::have;
use vtunl_tests::packets::*;

/// A test's name, the test, and the program that it needs.
type Test = (&'static str, fn(), Option<&'static str>);

fn main() {
    let args = Arguments::from_args();
    let tests: [Test; 3] = [
        (
            "every_datagram_comes_out_as_it_went_in_but_for_its_ttl",
            every_datagram_comes_out_as_it_went_in_but_for_its_ttl,
            None,
        ),
        (
            "an_analyser_reads_the_result_as_ip_in_ip_without_fault",
            an_analyser_reads_the_result_as_ip_in_ip_without_fault,
            Some("tshark"),
        ),
        (
            "a_capture_cut_short_ends_where_it_is_cut",
            a_capture_cut_short_ends_where_it_is_cut,
            None,
        ),
    ];
    let trial = |(name, test, needs): Test| {
        let missing = needs.filter(|tool| !have(tool));
        if let (Some(tool), false) = (missing, args.list) {
            println!("SKIPPED {name}: {tool} is not installed");
        }
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    };
    let trials = tests.into_iter().map(trial).collect();
    libtest_mimic::run(&args, trials).exit();
}

const CAPTURES: [&str; 2] = ["linux-tun.pcap", "linux-ether.pcap"];

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(name)
}

/// A file of this test's own, in the directory that cargo gives tests.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The IPv4 datagrams of a capture, without link headers.
fn datagrams(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::File::open(path).expect("the capture");
    let mut r = PcapReader::new(file).expect("a capture");
    let skip = match r.header().datalink {
        pcap_file::DataLink::ETHERNET => 14,
        _ => 0,
    };
    let mut all = Vec::new();
    while let Some(p) = r.next_packet() {
        let frame = p.expect("a packet").data.into_owned();
        if frame.len() > skip && frame[skip] >> 4 == 4 && (skip == 0 || frame[12..14] == [8, 0]) {
            // Ethernet pads; the datagram knows its length.
            let len = usize::from(u16::from_be_bytes([frame[skip + 2], frame[skip + 3]]));
            all.push(frame[skip..skip + len].to_vec());
        }
    }
    all
}

/// Encapsulates a capture into `outer`, and that into `inner` again.
fn through(input: &Path, outer: &Path, inner: &Path) {
    let left = Gateway::between_captures(Side::Inside, input, outer, Ends::LEFT).expect("left");
    left.default_route_into_tunnel().expect("route");
    left.settle();
    assert_eq!(left.drops(), Default::default());
    left.shut_down().expect("unplumbed");
    let right = Gateway::between_captures(Side::Outside, outer, inner, Ends::RIGHT).expect("right");
    right.default_route_inside().expect("route");
    right.settle();
    assert_eq!(right.drops(), Default::default());
    right.shut_down().expect("unplumbed");
}

fn every_datagram_comes_out_as_it_went_in_but_for_its_ttl() {
    for name in CAPTURES {
        let (outer, inner) = (
            scratch(&format!("outer-{name}")),
            scratch(&format!("inner-{name}")),
        );
        through(&capture(name), &outer, &inner);
        let (sent, wrapped, got) = (
            datagrams(&capture(name)),
            datagrams(&outer),
            datagrams(&inner),
        );
        assert!(sent.len() > 60, "{name}: {}", sent.len());
        assert_eq!(
            (wrapped.len(), got.len()),
            (sent.len(), sent.len()),
            "{name}"
        );
        for ((before, outer), after) in sent.iter().zip(&wrapped).zip(&got) {
            expect(
                outer,
                &[
                    proto(IPIP),
                    src(Ends::LEFT.here),
                    dst(Ends::LEFT.there),
                    sums_right(),
                ],
            );
            expect(outer, &[inside(&[same_but_ttl(before)])]);
            expect(after, &[same_but_ttl(before), sums_right()]);
        }
    }
}

fn an_analyser_reads_the_result_as_ip_in_ip_without_fault() {
    for name in CAPTURES {
        let (outer, inner) = (
            scratch(&format!("t-outer-{name}")),
            scratch(&format!("t-inner-{name}")),
        );
        through(&capture(name), &outer, &inner);
        let all = tshark(&outer, "ip.proto == 4");
        assert_eq!(
            all,
            datagrams(&capture(name)).len(),
            "{name}: not all are protocol 4"
        );
        let faults = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 \
                      || tcp.checksum.status == 0 || icmp.checksum.status == 0";
        assert_eq!(
            tshark(&outer, faults),
            0,
            "{name}: faults in the outer capture"
        );
        assert_eq!(
            tshark(&inner, faults),
            0,
            "{name}: faults in the inner capture"
        );
        assert_eq!(
            tshark(&inner, "ip.proto == 4"),
            0,
            "{name}: still encapsulated"
        );
    }
}

/// How many packets of a capture a display filter selects, with every checksum verified.
fn tshark(path: &Path, filter: &str) -> usize {
    let mut cmd = Command::new("tshark");
    for proto in ["ip", "udp", "tcp"] {
        cmd.args(["-o", &format!("{proto}.check_checksum:TRUE")]);
    }
    // Fragments one by one: reassembled they would be counted with their last.
    let out = cmd
        .arg("-r")
        .arg(path)
        .args(["-Y", filter])
        .output()
        .expect("tshark");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).lines().count()
}

fn a_capture_cut_short_ends_where_it_is_cut() {
    let whole = std::fs::read(capture("linux-tun.pcap")).expect("the capture");
    let all = datagrams(&capture("linux-tun.pcap")).len();
    for cut in [whole.len() - 1, whole.len() / 2, 24 + 16 + 5, 24 + 3, 24] {
        let (input, output) = (
            scratch(&format!("cut-{cut}")),
            scratch(&format!("cut-{cut}-out")),
        );
        std::fs::write(&input, &whole[..cut]).expect("written");
        let g = Gateway::between_captures(Side::Inside, &input, &output, Ends::LEFT).expect("left");
        g.default_route_into_tunnel().expect("route");
        g.settle();
        g.shut_down().expect("unplumbed");
        let n = datagrams(&output).len();
        assert!(n < all, "{cut}: {n} of {all}");
    }
}
