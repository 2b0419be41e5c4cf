//! ARP with this machine's own kernel, both ways: each as its `ip neigh` or `arp -a` shows it.
//!
//! ```text
//!   Linux: who has 192.0.2.2? ──► us      ip neigh: 192.0.2.2 lladdr .. REACHABLE
//!   us: who has 192.0.2.1? ──► Linux      arp -a:   192.0.2.1 at ..
//! ```
//!
//! Spec: RFC 826, RFC 1122 2.3.2 (expiry, the queue), RFC 5944 4.6 (proxy, gratuitous), RFC
//! 1027; arp(7P), arp(1M).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use ipmod::ill::iff;
use ipmod::udp_options::SO_DGRAM_ERRIND;
use ipmod::{plumb, tpi};
use streams::Config;
use streams::Process;
use vtunl_tests::linux::{
    self, Case, ETHERNETS, Host, LINUX, OURS, PORT, Side, ip, sysctl, theirs,
};
use vtunl_tests::transport::Endpoint;

const CASES: &[Case] = &[
    ("linux_asks", ETHERNETS, linux_asks),
    ("we_ask", ETHERNETS, we_ask),
    ("the_latest_wait", ETHERNETS, the_latest_wait),
    (
        "linux_changes_its_address",
        ETHERNETS,
        linux_changes_its_address,
    ),
    ("we_announce_ours", ETHERNETS, we_announce_ours),
    ("we_answer_for_others", ETHERNETS, we_answer_for_others),
    ("nobody_answers", ETHERNETS, nobody_answers),
    ("silence_is_forgotten", ETHERNETS, silence_is_forgotten),
];

/// An address on the link that nobody has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
/// A mobile node that is away, and we its home agent.
const MOBILE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const SOL_SOCKET: u32 = 0xffff;
/// EHOSTUNREACH of Solaris.
const EHOSTUNREACH: u32 = 148;

fn main() -> ExitCode {
    linux::main(CASES)
}

fn port(of: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(of, PORT)
}

/// `2:0:5e:0:0:1` or `02:00:5e:00:00:01` as bytes.
fn mac(text: &str) -> Vec<u8> {
    let byte = |b| u8::from_str_radix(b, 16).expect("a link address");
    text.split(':').map(byte).collect()
}

/// Our link address.
fn our_mac(p: &Process) -> Vec<u8> {
    let all = plumb::interfaces(p).expect("interfaces");
    mac(&all.iter().find(|i| i.name == "le0").expect("le0").mac)
}

/// Linux's link address.
fn linux_mac(side: Side) -> Vec<u8> {
    let said = ip(&format!("-o link show dev {}", side.dev()));
    mac(after(&said, "link/ether"))
}

/// The word behind a word.
fn after<'a>(said: &'a str, word: &str) -> &'a str {
    let mut words = said.split_whitespace().skip_while(|w| *w != word);
    words.nth(1).unwrap_or_default()
}

/// What `arp -a` has of an address: nothing, an incomplete entry, its link address.
#[derive(PartialEq, Debug)]
enum Known {
    No,
    Incomplete,
    As(Vec<u8>),
}

fn known(p: &Process, of: Ipv4Addr) -> Known {
    let all = plumb::arp_table(p).expect("arp -a");
    match all.into_iter().find(|e| e.addr == of) {
        None => Known::No,
        Some(e) if e.mac == "incomplete" => Known::Incomplete,
        Some(e) => Known::As(mac(&e.mac)),
    }
}

/// `ip neigh` of an address: its link address, if there is one.
fn neighbour(side: Side, of: Ipv4Addr) -> Option<Vec<u8>> {
    let said = ip(&format!("neigh show {of} dev {}", side.dev()));
    Some(after(&said, "lladdr"))
        .filter(|m| !m.is_empty())
        .map(mac)
}

fn forget(side: Side) {
    ip(&format!("neigh flush dev {}", side.dev()));
}

/// RFC 826: Linux asks, we answer: what waited there arrives, our address is REACHABLE, and
/// who asked is known here.
fn linux_asks(side: Side) {
    let Host { p, .. } = &side.host();
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let theirs = theirs();
    forget(side);
    assert_eq!(known(p, LINUX), Known::No);
    theirs.send_to(b"first", port(OURS)).expect("sent");
    assert_eq!(ours.recv_from(), (port(LINUX), b"first".to_vec()));
    let said = ip(&format!("neigh show {OURS} dev {}", side.dev()));
    assert_eq!(mac(after(&said, "lladdr")), our_mac(p));
    assert!(said.contains("REACHABLE"), "{said}");
    assert_eq!(known(p, LINUX), Known::As(linux_mac(side)));
}

/// RFC 826, RFC 1122 2.3.2.2: we ask, and the datagram that made us ask arrives.
fn we_ask(side: Side) {
    let Host { p, .. } = &side.host();
    let ours = Endpoint::datagrams(p, "/dev/udp", PORT);
    let theirs = theirs();
    assert_eq!(known(p, LINUX), Known::No);
    ours.send_to(port(LINUX), b"first");
    let mut b = [0; 9];
    let (n, from) = theirs.recv_from(&mut b).expect("it comes");
    assert_eq!((&b[..n], from), (&b"first"[..], port(OURS).into()));
    assert_eq!(known(p, LINUX), Known::As(linux_mac(side)));
}

/// RFC 1122 2.3.2.2: of more datagrams than may wait for an answer the latest go out, in
/// order.
fn the_latest_wait(side: Side) {
    let host = side.host_with(Config::test(), None);
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    let theirs = theirs();
    let discards = host.counter("ipOutDiscards");
    for n in 0..11 {
        ours.send_to(port(LINUX), &[n]);
    }
    assert_eq!(known(&host.p, LINUX), Known::Incomplete);
    assert_eq!(host.counter("ipOutDiscards"), discards + 3);
    host.until("an answer", |p| {
        known(p, LINUX) == Known::As(linux_mac(side))
    });
    for n in 3..11 {
        let mut b = [0; 9];
        let (len, _) = theirs.recv_from(&mut b).expect("it comes");
        assert_eq!(b[..len], [n]);
    }
}

/// RFC 826, RFC 5944 4.6: a gratuitous request of somebody known is taken over; the next
/// datagram goes to the new address.
fn linux_changes_its_address(side: Side) {
    let host = side.host();
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    let theirs = theirs();
    ours.send_to(port(LINUX), b"before");
    theirs.recv_from(&mut [0; 9]).expect("it comes");
    let old = linux_mac(side);
    sysctl(&format!("net.ipv4.conf.{}.arp_notify=1", side.dev()));
    ip(&format!(
        "link set dev {} address 02:00:5e:00:53:77",
        side.dev()
    ));
    let new = linux_mac(side);
    assert_ne!(new, old);
    let new = Known::As(new);
    host.until("the new address", |p| known(p, LINUX) == new);
    ours.send_to(port(LINUX), b"after");
    let mut b = [0; 9];
    let (n, _) = theirs.recv_from(&mut b).expect("it comes");
    assert_eq!(&b[..n], b"after");
}

/// RFC 5227 2.3, RFC 5944 4.6: an interface that comes up says where its address is, and
/// Linux corrects what it believed.
fn we_announce_ours(side: Side) {
    let host = side.host();
    let dev = side.dev();
    sysctl(&format!("net.ipv4.neigh.{dev}.locktime=0"));
    plumb::set_flags(&host.p, "le0", 0, iff::UP).expect("down");
    ip(&format!(
        "neigh replace {OURS} lladdr 02:00:5e:00:53:01 nud stale dev {dev}"
    ));
    assert_ne!(neighbour(side, OURS), Some(our_mac(&host.p)));
    plumb::up(&host.p, "le0").expect("up");
    host.until("ip neigh", |p| neighbour(side, OURS) == Some(our_mac(p)));
}

/// RFC 1027, RFC 5944 4.6: a published entry is announced, and answered for, with our link
/// address; when it is deleted nobody answers.
fn we_answer_for_others(side: Side) {
    let host = side.host();
    let (p, dev) = (&host.p, side.dev());
    let ours = our_mac(p);
    sysctl(&format!("net.ipv4.neigh.{dev}.locktime=0"));
    sysctl(&format!("net.ipv4.neigh.{dev}.retrans_time_ms=50"));
    ip(&format!(
        "neigh replace {MOBILE} lladdr 02:00:5e:00:53:02 nud stale dev {dev}"
    ));
    let own: [u8; 6] = ours[..].try_into().expect("six bytes");
    plumb::arp_set(p, MOBILE, Some(own), true, true).expect("arp -s .. pub");
    host.until("the gratuitous request", |_| {
        neighbour(side, MOBILE).as_ref() == Some(&ours)
    });

    forget(side);
    let theirs = theirs();
    theirs.send_to(b"where?", port(MOBILE)).expect("sent");
    host.until("the answer", |_| {
        neighbour(side, MOBILE).as_ref() == Some(&ours)
    });

    plumb::arp_set(p, MOBILE, None, false, false).expect("arp -d");
    forget(side);
    theirs.send_to(b"where?", port(MOBILE)).expect("sent");
    host.until("Linux gives up", |_| failed(side, MOBILE));
}

/// Linux has asked for an address, and given up.
fn failed(side: Side, whom: Ipv4Addr) -> bool {
    let said = ip(&format!("neigh show {whom} dev {} nud failed", side.dev()));
    !said.is_empty()
}

/// RFC 1122 2.3.2.2, 3.3.1.6: five questions a second apart, and what waited is lost, which
/// its sender is told. Linux asks as in vain for an address that is not ours.
fn nobody_answers(side: Side) {
    let host = side.host_with(Config::test(), None);
    sysctl(&format!("net.ipv4.neigh.{}.retrans_time_ms=50", side.dev()));
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    ours.set(SOL_SOCKET, SO_DGRAM_ERRIND, 1);
    ours.send_to(port(NOBODY), b"anybody?");
    for _ in 0..4 {
        host.k.advance(Duration::from_secs(1));
        host.k.run_until_idle();
        assert_eq!(known(&host.p, NOBODY), Known::Incomplete);
        assert!(!ours.hears(Duration::ZERO), "it is still asked for");
    }
    host.k.advance(Duration::from_secs(1));
    host.k.run_until_idle();
    assert_eq!(known(&host.p, NOBODY), Known::No);
    let w = ours.next_words();
    assert_eq!((w[0], w[5]), (tpi::T_UDERROR_IND, EHOSTUNREACH));

    theirs().send_to(b"where?", port(NOBODY)).expect("sent");
    host.until("Linux gives up", |_| failed(side, NOBODY));
}

/// RFC 1122 2.3.2.1: who has been silent for `ip_ire_arp_interval` is forgotten, and found
/// again when needed.
fn silence_is_forgotten(side: Side) {
    let host = side.host_with(Config::test(), None);
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    let theirs = theirs();
    let mut b = [0; 9];
    let there = Known::As(linux_mac(side));
    for _ in 0..2 {
        ours.send_to(port(LINUX), b"ask");
        host.until("an answer", |p| known(p, LINUX) == there);
        theirs.recv_from(&mut b).expect("it comes");
        host.k.advance(Duration::from_secs(1199));
        host.k.run_until_idle();
        assert_eq!(known(&host.p, LINUX), there, "20 minutes are not over");
        for _ in 0..2 {
            host.k.advance(Duration::from_secs(60));
            host.k.run_until_idle();
        }
        assert_eq!(known(&host.p, LINUX), Known::No);
    }
}
