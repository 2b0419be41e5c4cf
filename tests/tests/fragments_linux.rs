//! Fragments between us and this machine's own kernel, on a link that doubles them and brings
//! them in any order: what comes out, and what either side has counted.
//!
//! ```text
//!   Linux ─ fragments ─► doubled ─► each copy delayed on its own ─► le0 ─► reassembly
//!         ◄──── each copy delayed on its own ◄─ doubled ◄─ fragments ─
//! ```
//!
//! A datagram may arrive twice: when all pieces of the copy come behind the first. Then both
//! are whole, and both are counted.
//!
//! Spec: RFC 791 3.2, RFC 815, RFC 1122 3.3.2; RFC 2011 (ipReasmOKs and its neighbours), as
//! Linux prints them in /proc/net/snmp.

use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use dlpi::link::fault::Faults;
use ipmod::raw_options::IP_HDRINCL;
use ipmod::reassemble::TIMEOUT;
use streams::Config;
use vtunl_tests::linux::{
    self, Case, LINUX, MEDIA, OURS, PORT, Side, content, snmp, sysctl, theirs,
};
use vtunl_tests::packets::ip4;
use vtunl_tests::transport::Endpoint;

const CASES: &[Case] = &[
    ("any_order_and_twice", MEDIA, any_order_and_twice),
    ("many_at_once", MEDIA, many_at_once),
    ("one_that_is_never_whole", MEDIA, one_that_is_never_whole),
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// A third of the frames come twice, all of them somewhere within 8 ms.
fn rough(seed: u64) -> Faults {
    Faults {
        seed,
        duplicate: 0.33,
        reorder: 0.3,
        reorder_by: Duration::from_millis(4),
        jitter: Duration::from_millis(4),
        ..Faults::default()
    }
}

const IPPROTO_IP: u32 = 0;
const OKS: &str = "ipReasmOKs";
const OKS_OF_LINUX: &str = "ReasmOKs";

/// A datagram that says which it is.
fn numbered(n: usize, size: usize) -> Vec<u8> {
    let mut d = content(size);
    d[..4].copy_from_slice(&(n as u32).to_be_bytes());
    d
}

/// Which of these is it? None of them is a failure: its content was changed.
#[track_caller]
fn which(sent: &[Vec<u8>], got: &[u8]) -> usize {
    let n = got
        .first_chunk()
        .map_or(u32::MAX, |n| u32::from_be_bytes(*n)) as usize;
    let same = sent.get(n).is_some_and(|d| d == got);
    assert!(same, "{n}: {} bytes came", got.len());
    n
}

/// Sends bursts both ways. Every datagram must arrive unchanged, and each side's ReasmOKs
/// tell how many have, its ReasmFails none.
fn exchange(side: Side, seed: u64, sizes: &[usize], burst: usize) {
    // The rest of a copy is not given up before we look.
    sysctl("net.ipv4.ipfrag_time=1000");
    let start = Instant::now();
    let host = side.host_with(Config::default(), Some(rough(seed)));
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    let theirs = theirs();
    let here = SocketAddrV4::new(OURS, PORT);
    let there = SocketAddrV4::new(LINUX, PORT);
    let number = |(n, size): (usize, &usize)| numbered(n, *size);
    let sent: Vec<_> = sizes.iter().enumerate().map(number).collect();

    // From Linux.
    let (oks, fails) = (host.counter(OKS), host.counter("ipReasmFails"));
    let made = snmp("Ip:", "FragCreates");
    let reqds = host.counter("ipReasmReqds");
    let mut times = vec![0; sent.len()];
    for (i, some) in sent.chunks(burst).enumerate() {
        for d in some {
            theirs.send_to(d, here).expect("sent");
        }
        let these = i * burst..i * burst + some.len();
        while times[these.clone()].contains(&0) {
            let (from, d) = ours.recv_from();
            assert_eq!(from, there);
            times[which(&sent, &d)] += 1;
        }
    }
    // What comes has been counted before; what is counted comes.
    loop {
        let came: u64 = times.iter().sum();
        let counted = host.counter(OKS) - oks;
        assert!(came <= counted, "ours, of {times:?}: {counted}");
        if came == counted {
            break;
        }
        times[which(&sent, &ours.recv_from().1)] += 1;
    }
    let failed = host.counter("ipReasmFails") - fails;
    assert!(failed == 0 || start.elapsed() >= TIMEOUT, "{failed} failed");
    let made = snmp("Ip:", "FragCreates") - made;
    let came = host.counter("ipReasmReqds") - reqds;
    assert!(came > made, "{came} of {made}: none came twice");
    assert!(host.counter("ipReasmDuplicates") > 0);

    // To Linux.
    let (oks, fails) = (snmp("Ip:", OKS_OF_LINUX), snmp("Ip:", "ReasmFails"));
    let made = host.counter("ipFragCreates");
    let reqds = snmp("Ip:", "ReasmReqds");
    let mut times = vec![0; sent.len()];
    let mut b = vec![0; 65536];
    for (i, some) in sent.chunks(burst).enumerate() {
        for d in some {
            ours.send_to(there, d);
        }
        let these = i * burst..i * burst + some.len();
        while times[these.clone()].contains(&0) {
            let (n, from) = theirs.recv_from(&mut b).expect("it comes");
            assert_eq!(from, here.into());
            times[which(&sent, &b[..n])] += 1;
        }
    }
    loop {
        let came: u64 = times.iter().sum();
        let counted = snmp("Ip:", OKS_OF_LINUX) - oks;
        assert!(came <= counted, "Linux's, of {times:?}: {counted}");
        if came == counted {
            break;
        }
        let (n, _) = theirs.recv_from(&mut b).expect("it comes");
        times[which(&sent, &b[..n])] += 1;
    }
    assert_eq!(snmp("Ip:", "ReasmFails"), fails);
    let made = host.counter("ipFragCreates") - made;
    let came = snmp("Ip:", "ReasmReqds") - reqds;
    assert!(came > made, "{came} of {made}: none came twice");
}

/// RFC 791 3.2: the pieces of one datagram in any order, up to the longest there is.
fn any_order_and_twice(side: Side) {
    exchange(
        side,
        1,
        &[1473, 2960, 4001, 9000, 20_000, 65_507, 65_506, 3000],
        1,
    );
}

/// RFC 791 3.2: pieces of different datagrams don't mix.
fn many_at_once(side: Side) {
    let sizes: Vec<usize> = (0..40).map(|n| 1500 + n * 61).collect();
    exchange(side, 2, &sizes, 4);
}

/// RFC 1122 3.3.2, RFC 792: pieces whose time is over are given up, counted, and told to the
/// sender if the first is among them.
fn one_that_is_never_whole(side: Side) {
    sysctl("net.ipv4.ipfrag_time=1");
    let host = side.host();
    let ears = Endpoint::datagrams(&host.p, "/dev/icmp", 0);
    let raw = Endpoint::datagrams(&host.p, "/dev/rawip", 0);
    raw.set(IPPROTO_IP, IP_HDRINCL, 1);
    let fails = snmp("Ip:", "ReasmFails");
    let mut first = ip4(OURS, LINUX).id(77).udp(PORT, PORT, &content(1000));
    first.mf = true;
    raw.send_to(SocketAddrV4::new(LINUX, 0), &first.bytes());
    let (from, said) = ears.recv_from();
    assert_eq!((*from.ip(), &said[20..22]), (LINUX, &[11, 1][..]));
    // The quote: the first piece, with more to come.
    assert_eq!(
        (said[28 + 6], &said[48..50]),
        (0x20, &PORT.to_be_bytes()[..])
    );
    assert_eq!(snmp("Ip:", "ReasmFails"), fails + 1);
}
