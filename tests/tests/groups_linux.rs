//! Groups with this machine's own kernel: our joins as a snooping bridge and an IGMP host of
//! Linux see them, its queries answered, datagrams to groups both ways.
//!
//! ```text
//!   us ═ tap0 or a veth ═ br0   bridge mdb show: who has joined what; its querier asks us
//!   us ═ tap0 or a veth ═ Linux 239.1.2.3 joined by a program: each hears the other
//! ```
//!
//! Spec: RFC 1112, RFC 2236 3, RFC 3376 5 and 7.2, RFC 4541 (snooping); bridge(8), ip-link(8).

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::Duration;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::capture::CaptureFile;
use dlpi::link::pcap::{Pcap, PcapOptions};
use ipmod::membership::{
    self, IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_MEMBERSHIP,
    IP_DROP_SOURCE_MEMBERSHIP, IP_MULTICAST_TTL,
};
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Kernel};
use vtunl_tests::linux::{
    self, Case, ETHERNETS, LINUX, MEDIA, OURS, PORT, Side, ip, sysctl, theirs,
};
use vtunl_tests::netns::have;
use vtunl_tests::transport::Endpoint;

const CASES: &[Case] = &[
    ("a_bridge_sees_our_join_in_v3", ETHERNETS, |s| bridge(s, 3)),
    ("a_bridge_sees_our_join_in_v2", ETHERNETS, |s| bridge(s, 2)),
    ("a_bridge_sees_our_sources", ETHERNETS, sources),
    ("each_hears_the_other", MEDIA, each_hears_the_other),
    ("linux_reports_and_we_are_silent", ETHERNETS, suppression),
    ("an_analyser_finds_no_fault", &["tap"], no_fault),
];

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
/// A source that some of the tests ask for.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

fn main() -> ExitCode {
    linux::main(CASES)
}

/// IP_ADD_MEMBERSHIP and its like, on the only interface.
#[track_caller]
fn option(e: &Endpoint<'_>, name: u32, group: &[Ipv4Addr]) {
    let value = [group, &[OURS]].concat();
    let ack = e.ask(&membership::request(name, &value));
    assert_eq!(ack[0], tpi::T_OPTMGMT_ACK, "option {name}: {ack:?}");
}

/// Puts Linux's end of the link into a bridge that snoops, and asks every second.
fn bridged(side: Side, version: u8) {
    let dev = side.dev();
    ip("link add br0 type bridge");
    ip(&format!(
        "link set br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_igmp_version {version} \
         mcast_query_interval 100 mcast_query_response_interval 50 \
         mcast_startup_query_interval 100 mcast_membership_interval 300 \
         mcast_last_member_interval 10"
    ));
    ip(&format!("addr flush dev {dev}"));
    ip(&format!("link set {dev} master br0"));
    ip("addr add 192.0.2.1/24 dev br0");
    ip("link set br0 up");
}

/// Has entries of the bridge live for an hour.
const LONG: &str = "link set br0 type bridge mcast_membership_interval 360000";

/// What the bridge knows of the group.
fn mdb() -> String {
    let done = Command::new("bridge").args(["-d", "mdb", "show"]).output();
    let said = done.expect("bridge").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let of = |l: &&str| l.contains(&GROUP.to_string());
    said.lines().filter(of).collect::<Vec<_>>().join("\n")
}

/// RFC 3376 5.1, 5.2; RFC 2236 3: the bridge learns of our join from its report, keeps it
/// for as long as its queries are answered, and loses it with our leave.
fn bridge(side: Side, version: u8) {
    if !have("bridge") {
        return println!("SKIPPED: bridge is not installed");
    }
    let host = side.host();
    bridged(side, version);
    host.until("a query", |_| host.counter("igps_rcv_queries") > 0);
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    option(&ours, IP_ADD_MEMBERSHIP, &[GROUP]);
    host.until("the bridge knows", |_| !mdb().is_empty());
    let port = format!("port {}", side.dev());
    assert!(mdb().contains(&port), "{}", mdb());
    // An entry lives for three seconds without an answer. Six more queries, a second apart:
    let asked = host.counter("igps_rcv_queries");
    host.until("six more queries", |_| {
        assert!(!mdb().is_empty(), "its queries are not answered");
        host.counter("igps_rcv_queries") >= asked + 6
    });
    assert_eq!(host.counter("igps_rcv_badqueries"), 0);
    // From now on an entry lives for an hour, unless we leave.
    ip(LONG);
    let asked = host.counter("igps_rcv_queries");
    host.until("an answer to that", |_| {
        host.counter("igps_rcv_queries") >= asked + 3
    });
    option(&ours, IP_DROP_MEMBERSHIP, &[GROUP]);
    host.until("the bridge forgets", |_| mdb().is_empty());
}

/// RFC 3376 5.1: a join for one source is an entry of that source in a bridge that keeps them.
fn sources(side: Side) {
    if !have("bridge") {
        return println!("SKIPPED: bridge is not installed");
    }
    let host = side.host();
    bridged(side, 3);
    ip(LONG);
    host.until("a query", |_| host.counter("igps_rcv_queries") > 0);
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    option(&ours, IP_ADD_SOURCE_MEMBERSHIP, &[GROUP, SOURCE]);
    let source = format!("source_list {SOURCE}");
    host.until("the bridge knows the source", |_| mdb().contains(&source));
    assert!(mdb().contains("filter_mode include"), "{}", mdb());
    option(&ours, IP_DROP_SOURCE_MEMBERSHIP, &[GROUP, SOURCE]);
    host.until("the bridge forgets", |_| mdb().is_empty());
}

/// RFC 1112 6, 7: a program of Linux that has joined hears ours, and ours hears Linux's; who
/// has left hears nothing.
fn each_hears_the_other(side: Side) {
    let host = side.host();
    ip(&format!("route add 224.0.0.0/4 dev {}", side.dev()));
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    option(&ours, IP_ADD_MEMBERSHIP, &[GROUP]);
    // Bound to any address: one that is bound to its own hears no group.
    let theirs = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("a socket");
    let patience = vtunl_tests::netns::PATIENCE;
    theirs.set_read_timeout(Some(patience)).expect("a timeout");
    theirs.join_multicast_v4(&GROUP, &LINUX).expect("joined");
    theirs.set_multicast_loop_v4(false).expect("no loop");
    ours.set(0, membership::IP_MULTICAST_LOOP, 0);
    ours.set(0, IP_MULTICAST_TTL, 3);
    let group = SocketAddrV4::new(GROUP, PORT);
    let mut b = [0; 4000];
    for size in [1, 1472, 3000] {
        let data = linux::content(size);
        ours.send_to(group, &data);
        let (n, from) = theirs.recv_from(&mut b).expect("it comes");
        assert_eq!(
            (&b[..n], from),
            (&data[..], SocketAddrV4::new(OURS, PORT).into())
        );
        theirs.send_to(&data, group).expect("sent");
        assert_eq!(ours.recv_from(), (SocketAddrV4::new(LINUX, PORT), data));
    }
    option(&ours, IP_DROP_MEMBERSHIP, &[GROUP]);
    theirs.send_to(b"gone?", group).expect("sent");
    theirs
        .send_to(b"unicast", SocketAddrV4::new(OURS, PORT))
        .expect("sent");
    assert_eq!(ours.recv_from().1, b"unicast");
}

/// RFC 2236 3: Linux reports the group that we have reported and would report again; now we
/// need not, neither then nor when we leave.
fn suppression(side: Side) {
    let host = side.host_with(Config::test(), None);
    plumb::nd_set(&host.p, "igmp_max_version", "2").expect("version 2");
    sysctl(&format!(
        "net.ipv4.conf.{}.force_igmp_version=2",
        side.dev()
    ));
    let ours = Endpoint::datagrams(&host.p, "/dev/udp", PORT);
    option(&ours, IP_ADD_MEMBERSHIP, &[GROUP]);
    assert_eq!(host.counter("igps_snd_reports"), 1);
    let theirs = theirs();
    theirs.join_multicast_v4(&GROUP, &LINUX).expect("joined");
    host.until("Linux's report", |_| {
        host.counter("igps_rcv_ourreports") > 0
    });
    assert_eq!(host.counter("igps_rcv_badreports"), 0);
    host.k.advance(Duration::from_secs(60));
    host.k.run_until_idle();
    assert_eq!(host.counter("igps_snd_reports"), 1, "not again");
    option(&ours, IP_DROP_MEMBERSHIP, &[GROUP]);
    assert_eq!(host.counter("igps_snd_reports"), 1, "and no leave");
}

/// Every message that a host sends, in a capture: tshark decodes them all and has nothing to
/// complain of.
fn no_fault(_: Side) {
    if !have("tshark") {
        return println!("SKIPPED: tshark is not installed");
    }
    let path = std::env::temp_dir().join(format!("igmp-{}.pcap", std::process::id()));
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    let to = path.clone();
    let make = move |_| {
        let options = PcapOptions {
            ethernet: Some([8, 0, 0x20, 0, 0, 1]),
            ..PcapOptions::default()
        };
        let link = Pcap::new(None, Some(CaptureFile::create(&to)?), options)?;
        Ok(Box::new(link) as Box<dyn Link>)
    };
    dlpi::register(&k, "le", Links::new(Box::new(make))).expect("a name");
    let p = k.process(Cred::ROOT);
    plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, "le0", OURS).expect("address");
    plumb::up(&p, "le0").expect("up");
    let ours = Endpoint::datagrams(&p, "/dev/udp", PORT);
    let pass = || {
        k.advance(Duration::from_secs(20));
        k.run_until_idle();
    };
    for version in ["3", "2", "1"] {
        plumb::nd_set(&p, "igmp_max_version", version).expect("a version");
        option(&ours, IP_ADD_MEMBERSHIP, &[GROUP]);
        pass();
        option(&ours, IP_DROP_MEMBERSHIP, &[GROUP]);
        pass();
    }
    plumb::nd_set(&p, "igmp_max_version", "3").expect("version 3");
    option(&ours, IP_ADD_SOURCE_MEMBERSHIP, &[GROUP, SOURCE]);
    pass();
    drop(ours);
    pass();
    plumb::unplumb(&p, "le0").expect("unplumbed");
    let shown = |filter: &str| {
        let args = ["-o", "ip.check_checksum:TRUE", "-Y", filter, "-r"];
        let out = Command::new("tshark").args(args).arg(&path).output();
        let out = out.expect("tshark");
        let why = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{why}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let all = shown("igmp");
    // v3: TO_EX, TO_IN, ALLOW, BLOCK, each twice; v2: twice a report, a leave; v1: two reports.
    assert_eq!(all.lines().count(), 8 + 3 + 2, "{all}");
    let faults =
        "_ws.malformed || _ws.expert || ip.checksum.status == 0 || igmp.checksum.status == 0";
    assert_eq!(shown(&format!("igmp && ({faults})")), "");
    std::fs::remove_file(&path).expect("removed");
}
