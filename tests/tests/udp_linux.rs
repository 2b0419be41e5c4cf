//! /dev/udp against this machine's own kernel, as a neighbour and as a host behind it: across a
//! TAP, a TUN and a packet socket on a veth.
//!
//! ```text
//!   [linux]                                                             [far]
//!   192.0.2.2 ours ═ tap0, tun0 or a veth ═ 192.0.2.1 Linux 198.51.100.1 ═ veth ═ 198.51.100.2
//!     this program, inside                   forwards                      echoes datagrams
//! ```
//!
//! What the machine forbids is SKIPPED, with the reason.
//!
//! Spec: RFC 768, RFC 791 3.2, RFC 792; udp(7P).

use std::io;
use std::net::SocketAddrV4;
use std::process::ExitCode;

use ipmod::tpi;
use ipmod::udp_options::SO_DGRAM_ERRIND;
use vtunl_tests::linux::{
    self, CLOSED, Case, FAR, LINUX, MEDIA, OURS, PORT, Side, content, theirs,
};
use vtunl_tests::peer::Both;
use vtunl_tests::transport::Endpoint;

/// ECONNREFUSED of Solaris.
const ECONNREFUSED: u32 = 146;
const SOL_SOCKET: u32 = 0xffff;

const CASES: &[Case] = &[
    ("datagrams_of_every_size", MEDIA, datagrams_of_every_size),
    ("a_closed_port_either_way", MEDIA, a_closed_port_either_way),
];

fn main() -> ExitCode {
    linux::main(CASES)
}

/// RFC 768, RFC 791 3.2: from no byte to the largest, in fragments, both ways, and to a host
/// behind the router and back.
fn datagrams_of_every_size(side: Side) {
    let host = side.host();
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    let theirs = theirs();
    let (here, there) = (
        SocketAddrV4::new(OURS, PORT),
        SocketAddrV4::new(LINUX, PORT),
    );
    let far = SocketAddrV4::new(FAR, PORT);
    let mut b = vec![0; 65536];
    for size in [
        0, 1, 2, 511, 512, 1471, 1472, 1473, 2960, 4001, 9000, 32768, 65507,
    ] {
        let data = content(size);
        let pieces = (size as u64 + 8).div_ceil(1480);
        let (cut, whole) = if pieces > 1 { (pieces, 1) } else { (0, 0) };
        let both = Both::begin(side, &host);
        theirs.send_to(&data, here).expect("sent");
        assert!(
            ours.recv_from() == (there, data.clone()),
            "{size} from Linux"
        );
        ours.send_to(there, &data);
        let (n, from) = theirs.recv_from(&mut b).expect("it comes");
        assert_eq!((from, n), (here.into(), size));
        assert!(b[..n] == data, "{size} to Linux");
        both.same("Udp: OutDatagrams", "udpInDatagrams", 1);
        both.same("Udp: InDatagrams", "udpOutDatagrams", 1);
        both.same("Ip: FragCreates", "ipReasmReqds", cut);
        both.same("Ip: ReasmReqds", "ipFragCreates", cut);
        both.same("Ip: ReasmOKs", "ipReasmOKs", whole);
        // RFC 1122 4.1.3.4: and nobody found a checksum wrong.
        both.same("Udp: InErrors", "udpInErrors", 0);
        both.frames(pieces);
        ours.send_to(far, &data);
        assert!(
            ours.recv_from() == (far, data),
            "{size} to the far host and back"
        );
    }
}

/// RFC 792, RFC 1122 4.1.3.3: port unreachable reaches the program, on either side.
fn a_closed_port_either_way(side: Side) {
    let host = side.host();
    let both = Both::begin(side, &host);
    let p = &host.p;
    let theirs = theirs();
    theirs.connect((OURS, CLOSED)).expect("connected");
    theirs.send(b"anybody?").expect("sent");
    let e = theirs.recv(&mut [0; 8]).expect_err("nobody");
    assert_eq!(e.kind(), io::ErrorKind::ConnectionRefused);
    both.same("Icmp: InDestUnreachs", "udpNoPorts", 1);

    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    ours.set(SOL_SOCKET, SO_DGRAM_ERRIND, 1);
    for host in [LINUX, FAR] {
        ours.send_to(SocketAddrV4::new(host, CLOSED), b"anybody?");
        let w = ours.next_words();
        assert_eq!((w[0], w[5]), (tpi::T_UDERROR_IND, ECONNREFUSED), "{host}");
    }
    // The far host's passed by; Linux itself said it once.
    both.same("Udp: NoPorts", "", 1);
    both.same("Icmp: OutDestUnreachs", "", 1);
    both.same("", "icmpInMsgs", 2);
}
