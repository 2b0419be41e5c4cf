//! Pings between us and this machine's own kernel, of every size there is at the edges of what
//! one frame, two fragments and a datagram hold; and to a host behind it. Both ends count the
//! same requests, replies and fragments.
//!
//! ```text
//!   ping(8) ─► Linux ═ link ═ our IP answers            /dev/icmp ─► Linux answers, or [far]
//! ```
//!
//! Spec: RFC 792, RFC 791 3.2, RFC 1122 3.2.2.6, RFC 2011; icmp(7P); the shell's ping.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, ExitCode};

use ipmod::tpi;
use streams::Sys;
use vtunl_tests::linux::{self, Case, FAR, Host, LINUX, MEDIA, OURS, Side, content};
use vtunl_tests::packets::checksum;
use vtunl_tests::peer::Both;
use vtunl_tests::transport::{Endpoint, sockaddr, words};
use vtunlconf::diag::Source;

const CASES: &[Case] = &[
    ("linux_pings_us", MEDIA, linux_pings_us),
    ("we_ping_linux", MEDIA, we_ping_linux),
    ("the_shell_pings", MEDIA, the_shell_pings),
];

/// Bytes behind the ICMP header: from nothing to the most. Each line is about an edge.
const SIZES: &[usize] = &[
    0, 1, 2, 3, 7, 8, 9, // parity, and the eight bytes that an error would quote
    55, 56, 57, // what ping sends by itself
    1471, 1472, 1473, // one frame: 1500 - 20 - 8
    1479, 1480, 1481, 2951, 2952, 2953, // two fragments: 2 * 1480 - 8
    4431, 4432, 4433, 8183, 8184, 8185, // three; /dev/icmp's queue of 8192
    16_383, 32_767, 32_768, // a sign bit
    65_506, 65_507, // 65535 - 20 - 8
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// Frames of 1500 bytes that a ping of this size takes each way.
fn pieces(size: usize) -> u64 {
    (size as u64 + 8).div_ceil(1480)
}

/// What both ends have counted of one ping of this size.
#[track_caller]
fn compare(both: &Both<'_>, side: Side, size: usize) {
    let n = pieces(size);
    let (cut, whole) = if n > 1 { (n, 1) } else { (0, 0) };
    both.same("Ip: FragCreates", "ipReasmReqds", cut);
    both.same("Ip: ReasmReqds", "ipFragCreates", cut);
    both.same("Ip: ReasmOKs", "ipReasmOKs", whole);
    both.same("Ip: ReasmFails", "ipReasmFails", 0);
    both.same("Icmp: InErrors", "icmpInErrs", 0);
    both.same("Icmp: OutMsgs", "icmpInMsgs", 1);
    both.frames(n);
    if side.medium == "tun" {
        both.same("link tx", "link in", n);
        both.same("link rx", "link out", n);
    }
}

/// RFC 1122 3.2.2.6: we answer ping(8), and it finds its bytes unchanged.
fn linux_pings_us(side: Side) {
    let host = side.host();
    for &size in SIZES {
        let both = Both::begin(side, &host);
        let ping = format!("-n -c 1 -W 60 -p a55a3c -s {size} {OURS}");
        let done = Command::new("ping").args(ping.split(' ')).output();
        let done = done.expect("ping");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{size}: {said}");
        assert!(!said.contains("wrong data"), "{size}: {said}");
        both.same("Icmp: OutEchos", "", 1);
        both.same("Icmp: InEchoReps", "icmpOutMsgs", 1);
        compare(&both, side, size);
    }
}

/// Sends an echo request over /dev/icmp; the bytes of the reply must be the same.
#[track_caller]
fn ping(host: &Host, to: Ipv4Addr, size: usize) {
    let e = Endpoint::datagrams(&host.p, "/dev/icmp", 0);
    let text = content(size);
    let mut echo = [&[8, 0, 0, 0, 0x12, 0x34, 0, 1][..], &text].concat();
    let sum = checksum(&[&echo]);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    let req = tpi::unitdata_req(&sockaddr(SocketAddrV4::new(to, 0)));
    host.p
        .putmsg(e.fd, Some(&req), Some(&echo), false)
        .expect("sent");
    let (ctl, got) = e.whole();
    assert_eq!(words(&ctl)[0], 20, "T_UNITDATA_IND");
    assert_eq!((got[0], got[9], got[20]), (0x45, 1, 0));
    assert_eq!(got[12..16], to.octets());
    assert!(got[28..] == text, "{size}: {} bytes", got.len() - 28);
}

/// icmp(7P): Linux answers us, and so does the host behind it, through Linux.
fn we_ping_linux(side: Side) {
    let host = side.host();
    for &size in SIZES {
        let both = Both::begin(side, &host);
        ping(&host, LINUX, size);
        // What a program sends over /dev/icmp is no message of our ICMP's.
        both.same("Icmp: InEchos", "", 1);
        both.same("", "icmpOutMsgs", 0);
        both.same("Icmp: OutEchoReps", "", 1);
        compare(&both, side, size);

        let both = Both::begin(side, &host);
        ping(&host, FAR, size);
        // Fragments are put together at the ends alone (RFC 791 3.2).
        both.same("Ip: ForwDatagrams", "", 2 * pieces(size));
        both.same("Ip: ReasmReqds", "", 0);
        both.same("Icmp: InMsgs", "", 0);
        both.same("", "icmpInMsgs", 1);
    }
}

/// The shell's ping: its sizes are those of the data.
fn the_shell_pings(side: Side) {
    let (mut sh, said) = side.shell();
    for to in [LINUX, FAR] {
        for size in [0, 56, 1472, 1473, 65_507] {
            let line = format!("ping {to} size {size} wait 60s");
            let n = said.text().len();
            sh.run_source(Source::new("test", &line)).expect("answered");
            let want = format!("{} bytes from {to}: icmp_seq=0. time=", size + 8);
            let said = &said.text()[n..];
            assert!(said.starts_with(&want), "{line}: {said}");
        }
    }
    sh.lab.shut_down();
}
