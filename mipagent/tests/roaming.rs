//! Two mobile nodes hand over between agents while a transfer runs.
//!
//! ```text
//!   hh mn1 mn2 ──home── ha ──backbone──┬── fa1 ──cell1      cn is on the backbone
//!                                      ├── fa2 ──cell2
//!                                      └── gw  ──campus     no agent: own addresses
//! ```
//!
//! The network, the configurations and the walk are those of `mipagent demo`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipmod::plumb;
use mipagent::code;
use mipagent::demo::{CN, CONFS, MN1, MN2, WALK, WORLD};
use mipagent::mobile::Place;
use mipagent::traffic::{Client, Numbers, Server, pattern};
use mipagent::world::{Daemons, World};
use streams::Process;

const FA1: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const FA2: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 3);
const STEP: Duration = Duration::from_millis(20);

const S: fn(u64) -> Duration = Duration::from_secs;

fn world() -> (World, BTreeMap<String, Process>) {
    let mut w = World::build("world.vt", WORLD).expect("a world");
    let p = w.processes();
    (w, p)
}

/// All daemons, with their configurations changed by `edit`.
fn daemons<'a>(
    w: &mut World,
    p: &'a BTreeMap<String, Process>,
    edit: impl Fn(&str, &str) -> String,
) -> Daemons<'a> {
    let mut d = Daemons::default();
    for (host, conf) in CONFS {
        let conf = edit(host, conf);
        d.start(host, &p[host], &conf, w.now()).expect(host);
    }
    d.settle(w).expect("quiet");
    d
}

fn as_it_is(_: &str, conf: &str) -> String {
    conf.to_owned()
}

fn pass(d: &mut Daemons<'_>, w: &mut World, time: Duration) {
    let step = if time > S(5) { S(1) / 4 } else { STEP };
    d.pass(w, time, step, |_| Ok(())).expect("passed");
}

fn told(d: &Daemons<'_>, host: &str, words: &str) -> bool {
    let mine = d.log.iter().filter(|l| l.host == host);
    mine.map(|l| &l.entry.text).any(|t| t.contains(words))
}

fn log(d: &Daemons<'_>) -> String {
    let line = |l: &mipagent::world::Line| {
        format!(
            "{:9.3} {:4} {} {}\n",
            l.when.as_secs_f64(),
            l.host,
            l.entry.home,
            l.entry.text
        )
    };
    d.log.iter().map(line).collect()
}

#[test]
fn a_transfer_and_numbered_datagrams_survive_every_handover() {
    // RFC 5944 1.7, 3.6, 3.7, 3.8: home, fa1, fa2, an own address, home.
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    let data = pattern(900_000);
    let mut server = Server::new(&p["cn"], 80, data.clone()).expect("a server");
    let mut client = Client::new(&p["mn1"], MN1, (CN, 80)).expect("a client");
    let mut down = Numbers::new(&p["mn2"], MN2, 7).expect("a port");
    let mut up = Numbers::new(&p["cn"], CN, 7).expect("a port");
    let mut after: BTreeMap<u64, (Place, Place)> = BTreeMap::new();
    for second in 0..20 {
        for (_, host, wire) in WALK.iter().filter(|m| m.0 == second) {
            w.run(&format!("on {host} move le0 to {wire}"))
                .expect("moved");
        }
        let turn = |_: &mut World| {
            server.turn(1400).expect("a connection");
            client.turn().expect("a connection");
            up.send((MN2, 7)).expect("sent");
            down.send((CN, 7)).expect("sent");
            up.receive().expect("received");
            down.receive().expect("received");
            Ok(())
        };
        d.pass(&mut w, S(1), STEP, turn).expect("a second");
        after.insert(second, (d.mobiles["mn1"].place(), d.mobiles["mn2"].place()));
    }
    d.pass(&mut w, S(9), STEP, |_| {
        server.turn(1400).expect("a connection");
        client.turn().expect("a connection");
        Ok(())
    })
    .expect("the rest");
    assert_eq!(server.sent(), data.len(), "{}", log(&d));
    assert!(
        client.ended,
        "{} bytes of {}\n{}",
        client.got.len(),
        data.len(),
        log(&d)
    );
    assert!(client.got == data, "the bytes differ");
    let places: Vec<(Place, Place)> = [3, 5, 8, 10, 13, 19].map(|t| after[&t]).into();
    let (fa1, fa2) = ([10, 3, 0, 1].into(), [10, 4, 0, 1].into());
    let (at1, at2) = (Place::Foreign(fa1, FA1), Place::Foreign(fa2, FA2));
    let own = Place::Own([10, 5, 0, 71].into());
    let want = [
        (at1, Place::Home),
        (at1, at1),
        (at2, at1),
        (at2, at2),
        (own, at2),
        (Place::Home, Place::Home),
    ];
    assert_eq!(places, want, "{}", log(&d));
    // What was lost was lost while mn2 was between two agents: at most until the next
    // advertisement and a round trip, about a second for each of three moves.
    for n in [&down, &up] {
        let sorted = n.came.windows(2).all(|p| p[0] < p[1]);
        assert!(sorted, "each once and in order");
        let lost = n.sent() as usize - n.came.len();
        assert!((1..3 * 60).contains(&lost), "{lost} lost");
    }
    assert!(d.mobiles.values().all(|m| m.is_settled()));
    assert!(
        told(&d, "ha", "deregistered, all care-of addresses"),
        "{}",
        log(&d)
    );
}

#[test]
fn who_is_away_is_answered_for_at_home_and_nobody_is_who_is_back() {
    // RFC 5944 4.6: proxy and gratuitous ARP; 3.8.3.2: deregistration
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    let mut at_home = Numbers::new(&p["hh"], [10, 1, 0, 9].into(), 9).expect("a port");
    let mut mobile = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
    let mac = |who: &str, a: Ipv4Addr| {
        let all = plumb::arp_table(&p[who]).expect("a table");
        all.iter().find(|e| e.addr == a).map(|e| e.mac.clone())
    };
    let of = |who: &str| {
        let all = plumb::interfaces(&p[who]).expect("interfaces");
        all.iter().find(|i| i.name == "le0").map(|i| i.mac.clone())
    };
    let mut one = |d: &mut Daemons<'_>, w: &mut World| {
        at_home.send((MN1, 9)).expect("sent");
        pass(d, w, STEP);
        mobile.receive().expect("received");
        mobile.came.len()
    };
    pass(&mut d, &mut w, S(2));
    assert_eq!(one(&mut d, &mut w), 1);
    assert_eq!(mac("hh", MN1), of("mn1"));
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(2));
    // The cache of hh was set right by the gratuitous ARP, nothing else was asked.
    assert_eq!(mac("hh", MN1), of("ha"));
    assert_eq!(one(&mut d, &mut w), 2, "{}", log(&d));
    w.run("on mn1 move le0 to home").expect("moved");
    pass(&mut d, &mut w, S(2));
    assert_eq!(mac("hh", MN1), of("mn1"), "{}", log(&d));
    assert_eq!(mac("ha", MN1), None);
    assert_eq!(one(&mut d, &mut w), 3);
    let tunnelled = d.agents["ha"].status(w.now());
    assert_eq!(
        tunnelled["home"]["bindings"].as_array().map(Vec::len),
        Some(0)
    );
}

#[test]
fn a_visitor_is_served_for_its_lifetime_and_no_stranger_is() {
    // RFC 5944 3.7.2.2 (visitor list), 3.8.3 and 3.7.3 (lifetimes), 4.2.2
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(2));
    let now = w.now();
    let at = |d: &Daemons<'_>, host: &str, role: &str, list: &str| {
        let s = d.agents[host].status(mipagent::world::DAY + w.now());
        s[role][list].as_array().map_or(0, Vec::len)
    };
    assert_eq!(
        (
            at(&d, "ha", "home", "bindings"),
            at(&d, "fa1", "foreign", "visitors")
        ),
        (1, 1)
    );
    // The agent allows 200 s at most, and the node asks for no more (3.6.1.1).
    let left = d.mobiles["mn1"].left(mipagent::world::DAY + now);
    assert!(left.is_some_and(|l| (195..=200).contains(&l)), "{left:?}");
    let vtunl = |host: &str| {
        let fd = streams::Sys::open(&p[host], "/dev/vtunl", 2).expect("open");
        vtunl::client::Client::new(&p[host], fd).decap_ok(MN1)
    };
    assert_eq!((vtunl("fa1"), vtunl("fa2")), (Ok(true), Ok(false)));
    // 4.2.2: a tunnel that leads to the wrong agent ends there, with no ICMP.
    w.run("on ha encap add 10.1.0.71 192.168.0.3 flags S; on cn send udp 10.1.0.71 7 hello")
        .expect("sent");
    pass(&mut d, &mut w, STEP);
    w.run("on ha encap rem 10.1.0.71 192.168.0.3")
        .expect("as before");
    let lab = w.shell.lab.hosts();
    let fa2 = lab.iter().find(|h| h.name == "fa2").expect("fa2");
    let drops = fa2.kernel.drops();
    assert!(
        drops.keys().any(|k| k.1.contains("decapsulation")),
        "{drops:?}"
    );
    // It goes out of reach: nobody renews, everybody forgets.
    w.run("wire nowhere; on mn1 move le0 to nowhere")
        .expect("moved");
    pass(&mut d, &mut w, S(400));
    assert!(
        told(&d, "ha", "expired") && told(&d, "fa1", "visits no more: expired"),
        "{}",
        log(&d)
    );
    assert!(told(&d, "mn1", "no agent is heard") && told(&d, "mn1", "registration expired"));
    assert_eq!(vtunl("fa1"), Ok(false));
    let of_mn1 = |host: &str| {
        let r = plumb::routes(&p[host]).expect("routes");
        let a = plumb::arp_table(&p[host]).expect("a table");
        let r = r.iter().filter(|r| r.dst == MN1).map(|r| format!("{r:?}"));
        let a = a.iter().filter(|e| e.addr == MN1).map(|e| format!("{e:?}"));
        r.chain(a).collect::<Vec<String>>()
    };
    let none: [String; 0] = [];
    assert_eq!(
        (of_mn1("fa1"), of_mn1("ha")),
        (none.to_vec(), none.to_vec())
    );
}

#[test]
fn a_registration_is_renewed_before_it_ends() {
    // RFC 5944 3.6
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "mn1" => conf.replace("Lifetime = 300", "Lifetime = 10"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(60));
    let accepted = d.agents["ha"].home().map_or(0, |h| h.counters.accepted);
    assert!((8..=12).contains(&accepted), "{accepted}\n{}", log(&d));
    assert!(
        !told(&d, "ha", "expired") && !told(&d, "fa1", "expired"),
        "{}",
        log(&d)
    );
    assert_eq!(d.mobiles["mn1"].last_code(), Some(code::ACCEPTED));
}

#[test]
fn broadcasts_of_the_home_network_reach_who_asked_for_them() {
    // RFC 5944 4.3: nested by way of an agent, straight to an own address (D)
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "mn1" => conf.replace("Lifetime = 300", "Flags = B"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    let mut hh = Numbers::new(&p["hh"], [10, 1, 0, 9].into(), 9).expect("a port");
    let mut mn1 = Numbers::new(&p["mn1"], Ipv4Addr::UNSPECIFIED, 9).expect("a port");
    let mut mn2 = Numbers::new(&p["mn2"], Ipv4Addr::UNSPECIFIED, 9).expect("a port");
    for (wire, flags) in [("cell1", "B"), ("cell2", "B"), ("campus", "BD")] {
        w.run(&format!(
            "on mn1 move le0 to {wire}; on mn2 move le0 to {wire}"
        ))
        .expect("moved");
        pass(&mut d, &mut w, S(3));
        let bound = d.agents["ha"]
            .home()
            .map(|h| h.bindings().expect("bindings"));
        let of_mn1 = bound.and_then(|b| b.first().map(|b| b.flags.clone()));
        assert_eq!(of_mn1.as_deref(), Some(flags));
        hh.send((Ipv4Addr::BROADCAST, 9)).expect("sent");
        hh.send(([10, 1, 0, 255].into(), 9)).expect("sent");
        pass(&mut d, &mut w, STEP);
        mn1.receive().expect("received");
        mn2.receive().expect("received");
    }
    // With an address of its own the node's IP does not know its home network's broadcast.
    assert_eq!(mn1.came, [0, 1, 2, 3, 4], "{}", log(&d));
    assert!(mn2.came.is_empty(), "it did not ask");
}

#[test]
fn encapsulations_are_asked_for_where_they_are_offered() {
    // RFC 5944 3.6.1.1, 3.7.2.1 (72); RFC 2004 and GRE through both agents
    for (flag, other) in [("M", "minimal"), ("G", "gre")] {
        let (mut w, p) = world();
        let edit = |host: &str, conf: &str| match host {
            "mn1" => conf.replace("Lifetime = 300", &format!("Flags = {flag}")),
            _ => conf.to_owned(),
        };
        let mut d = daemons(&mut w, &p, edit);
        let mut cn = Numbers::new(&p["cn"], CN, 9).expect("a port");
        let mut mn1 = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
        for (wire, want) in [("cell1", flag), ("cell2", "")] {
            w.run(&format!("on mn1 move le0 to {wire}")).expect("moved");
            pass(&mut d, &mut w, S(3));
            let bound = d.agents["ha"]
                .home()
                .map(|h| h.bindings().expect("bindings"));
            assert_eq!(bound.map(|b| b[0].flags.clone()).as_deref(), Some(want));
            cn.send((MN1, 9)).expect("sent");
            pass(&mut d, &mut w, STEP);
        }
        mn1.receive().expect("received");
        assert_eq!(mn1.came, [0, 1], "{other}");
    }
}

#[test]
fn a_reverse_tunnel_from_an_own_address_leads_home_first() {
    // RFC 3024 5 (co-located), 4.3; by way of an agent it is not asked for: not offered
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "mn1" => conf.replace("Lifetime = 300", "Flags = T"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    let mut cn = Numbers::new(&p["cn"], CN, 9).expect("a port");
    let mut mn1 = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
    let taken_off = |w: &World| {
        let hosts = w.shell.lab.hosts();
        let ha = hosts.iter().find(|h| h.name == "ha").expect("ha");
        let fd = streams::Sys::open(&ha.admin, "/dev/vtunl", 2).expect("open");
        let all = vtunl::client::Client::new(&ha.admin, fd)
            .stats()
            .expect("stats");
        all.iter()
            .find(|s| s.0 == "decapsulated")
            .map_or(0, |s| s.1)
    };
    for (wire, flags, by_home) in [("campus", "DT", 1), ("cell1", "", 0), ("campus", "DT", 1)] {
        w.run(&format!("on mn1 move le0 to {wire}")).expect("moved");
        pass(&mut d, &mut w, S(4));
        let bound = d.agents["ha"]
            .home()
            .map(|h| h.bindings().expect("bindings"));
        assert_eq!(
            bound.map(|b| b[0].flags.clone()).as_deref(),
            Some(flags),
            "{}",
            log(&d)
        );
        let before = taken_off(&w);
        mn1.send((CN, 9)).expect("sent");
        cn.send((MN1, 9)).expect("sent");
        pass(&mut d, &mut w, STEP);
        assert_eq!(taken_off(&w) - before, by_home, "{wire}");
    }
    cn.receive().expect("received");
    mn1.receive().expect("received");
    assert_eq!(
        (cn.came, mn1.came),
        (vec![0, 1, 2], vec![0, 1, 2]),
        "{}",
        log(&d)
    );
}

#[test]
fn who_is_away_says_nothing_of_its_home_address_on_the_link() {
    // RFC 5944 4.6: no ARP requests, replies or announcements while visiting
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    let mut ear = w.shell.lab.wires["cell1"].port([8, 0, 0x20, 9, 9, 9]);
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(3));
    // Somebody asks for it.
    let mut ask = [0; 42];
    ask[..6].fill(0xff);
    ask[6..12].copy_from_slice(&[8, 0, 0x20, 9, 9, 9]);
    ask[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    ask[22..28].copy_from_slice(&[8, 0, 0x20, 9, 9, 9]);
    ask[28..32].copy_from_slice(&[10, 3, 0, 99]);
    ask[38..42].copy_from_slice(&MN1.octets());
    dlpi::link::Link::send(&mut ear, &ask).expect("sent");
    let mut cn = Numbers::new(&p["cn"], CN, 9).expect("a port");
    let mut mn1 = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
    mn1.send((CN, 9)).expect("sent");
    pass(&mut d, &mut w, S(2));
    cn.receive().expect("received");
    assert_eq!(cn.came, [0]);
    let mut buf = [0; 1600];
    let (mut frames, mut arp, mut said) = (0, 0, Vec::new());
    while let Some(n) = dlpi::link::Link::recv(&mut ear, &mut buf).expect("a frame") {
        frames += 1;
        // The agent may speak for itself.
        let home = MN1.octets();
        let of_mn1 = n >= 42 && (buf[28..32] == home || buf[6..12] == [8, 0, 0x20, 0, 7, 0]);
        let one = of_mn1 && buf[12..14] == [8, 6];
        if one {
            said.push(format!("{:x?}", &buf[..42]));
        }
        arp += usize::from(one);
    }
    let mac = plumb::interfaces(&p["mn1"]).expect("interfaces");
    assert!(mac.iter().any(|i| i.mac == "8:0:20:0:7:0"));
    assert!(
        frames > 5 && arp == 0,
        "{arp} of {frames}: {said:#?}\n{}",
        log(&d)
    );
}

#[test]
fn a_wrong_key_gets_nowhere_and_a_wrong_clock_is_set() {
    // RFC 5944 3.8.2.1 (131), 5.7.1 (133: the mobile node learns the agent's time)
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "mn1" => conf.replace("Key = 00", "Key = 99"),
        "mn2" => conf.replace("Router = 10.1.0.1", "HomeAgent = 10.1.0.1"),
        _ => conf.to_owned(),
    };
    let mut d = Daemons::default();
    d.behind.insert("mn2".to_owned(), S(3600)); // its clock is an hour behind
    for (host, conf) in CONFS {
        let conf = edit(host, conf).replace("ReplayMethod = nonces", "ReplayMethod = timestamps");
        d.start(host, &p[host], &conf, w.now()).expect(host);
    }
    w.run("on mn1 move le0 to cell1; on mn2 move le0 to cell2")
        .expect("moved");
    pass(&mut d, &mut w, S(30));
    assert!(
        told(&d, "ha", "(131)") && !told(&d, "ha", "bound to 192.168.0.2"),
        "{}",
        log(&d)
    );
    let denied = d.agents["ha"].home().map_or(0, |h| h.counters.violations);
    // Its requests are repeated, less and less often.
    assert!((2..8).contains(&denied), "{denied}");
    assert!(!d.mobiles["mn1"].is_settled());
    assert!(d.mobiles["mn1"].discarded.contains_key("authentication"));
    assert!(
        told(&d, "mn2", "(133)") && d.mobiles["mn2"].is_settled(),
        "{}",
        log(&d)
    );
}

#[test]
fn an_agent_that_was_restarted_is_noticed() {
    // RFC 5944 2.3.2, 2.4.2: sequence numbers
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(4));
    d.agents.remove("fa1");
    let fa1 = CONFS[1].1;
    d.start("fa1", &p["fa1"], fa1, w.now()).expect("again");
    pass(&mut d, &mut w, S(4));
    assert!(told(&d, "mn1", "was restarted"), "{}", log(&d));
    let visits = |l: &&mipagent::world::Line| l.host == "fa1" && l.entry.text.contains("visits");
    assert_eq!(d.log.iter().filter(visits).count(), 2);
    assert!(d.mobiles["mn1"].is_settled());
}

#[test]
fn a_home_agent_that_is_not_known_is_found() {
    // RFC 5944 3.6.1.2: a request to all of the home network; 136 tells the address
    let (mut w, p) = world();
    w.run("on ha ndd set ip_forward_directed_broadcasts 1")
        .expect("set");
    // It begins its life away from home.
    w.run("on mn2 move le0 to campus").expect("moved");
    let mut d = daemons(&mut w, &p, as_it_is);
    pass(&mut d, &mut w, S(4));
    assert!(told(&d, "mn2", "unknown home agent"), "{}", log(&d));
    assert!(d.mobiles["mn2"].is_settled(), "{}", log(&d));
}

#[test]
fn simultaneous_bindings_lose_nothing_on_the_way_back() {
    // RFC 5944 3.3 (S), 4.2.3: a copy goes to each care-of address
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "mn1" => conf.replace("Lifetime = 300", "Flags = S"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    let mut cn = Numbers::new(&p["cn"], CN, 9).expect("a port");
    let mut mn1 = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
    let go = |d: &mut Daemons<'_>, w: &mut World, wire: &str, time| {
        w.run(&format!("on mn1 move le0 to {wire}")).expect("moved");
        pass(d, w, time);
    };
    go(&mut d, &mut w, "cell1", S(2));
    go(&mut d, &mut w, "cell2", S(2));
    let bound = d.agents["ha"]
        .home()
        .map_or(0, |h| h.bindings().expect("bindings").len());
    assert_eq!(bound, 2, "{}", log(&d));
    cn.send((MN1, 9)).expect("sent");
    pass(&mut d, &mut w, STEP);
    // Back again, and before any advertisement was heard.
    go(&mut d, &mut w, "cell1", STEP);
    cn.send((MN1, 9)).expect("sent");
    pass(&mut d, &mut w, STEP);
    mn1.receive().expect("received");
    assert_eq!(mn1.came, [0, 1]);
    go(&mut d, &mut w, "home", S(3));
    let bound = d.agents["ha"]
        .home()
        .map_or(9, |h| h.bindings().expect("bindings").len());
    assert_eq!(bound, 0, "at home all go: {}", log(&d));
}

#[test]
fn a_foreign_agent_that_wants_to_know_its_visitors() {
    // RFC 5944 3.5.3 (mobile-foreign authentication), 67; 3.6.1.1
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "fa1" => format!(
            "{conf}\n[GlobalSecurityParameters]\nMN-FAauth = yes\n[SPI 400]\nKey = abcd\n\
             [Address 10.1.0.71]\nType = node\nSPI = 400\n"
        ),
        "mn1" => {
            format!("{conf}\n[SPI 400]\nKey = abcd\n[Address 10.3.0.1]\nType = agent\nSPI = 400\n")
        }
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    pass(&mut d, &mut w, S(2)); // mn2 learns of its home agent
    w.run("on mn1 move le0 to cell1; on mn2 move le0 to cell1")
        .expect("moved");
    pass(&mut d, &mut w, S(4));
    assert!(d.mobiles["mn1"].is_settled(), "{}", log(&d));
    let m = &d.mobiles["mn2"];
    assert_eq!(
        m.last_code(),
        Some(code::FA_MN_AUTHENTICATION),
        "{}",
        log(&d)
    );
    assert_eq!(m.state_text(), "refused");
}

#[test]
fn an_agent_that_insists_is_on_the_way_of_an_own_address_too() {
    // RFC 5944 2.1.1 and 3.1 (R), 3.7.2.2: relayed, but no visitor's route
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "fa1" => conf.replace("Minimal = yes", "RegistrationRequired = yes"),
        "mn1" => format!("{conf}\n[CareOf 10.3.0.71/24]\nRouter = 10.3.0.1\n"),
        "ha" => conf.replace("[General]", "[General]\n"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    w.run("on ha route add 10.3.0.0/24 192.168.0.2 1; on mn1 move le0 to cell1")
        .expect("moved");
    pass(&mut d, &mut w, S(4));
    let m = &d.mobiles["mn1"];
    assert!(
        m.is_settled() && m.care_of() == Some([10, 3, 0, 71].into()),
        "{}",
        log(&d)
    );
    // 300 s were too long for the agent: 69, then its 200.
    assert!(
        told(&d, "fa1", "(69)") && told(&d, "fa1", "visits for 200 s"),
        "{}",
        log(&d)
    );
    let mut cn = Numbers::new(&p["cn"], CN, 9).expect("a port");
    let mut mn1 = Numbers::new(&p["mn1"], MN1, 9).expect("a port");
    cn.send((MN1, 9)).expect("sent");
    pass(&mut d, &mut w, STEP);
    mn1.receive().expect("received");
    assert_eq!(mn1.came, [0]);
}

#[test]
fn a_router_that_is_both_agents_and_one_that_starts_again() {
    // RFC 5944 1.5: an agent may be both. The bindings are vtunl's and outlive the daemon.
    let (mut w, p) = world();
    let edit = |host: &str, conf: &str| match host {
        "ha" => conf.replace("ForeignAgent = no", "ForeignAgent = yes"),
        _ => conf.to_owned(),
    };
    let mut d = daemons(&mut w, &p, edit);
    pass(&mut d, &mut w, S(3));
    assert!(
        d.mobiles.values().all(|m| m.place() == Place::Home),
        "{}",
        log(&d)
    );
    w.run("on mn1 move le0 to cell1; on mn2 move le0 to campus")
        .expect("moved");
    pass(&mut d, &mut w, S(4));
    assert!(d.mobiles.values().all(|m| m.is_settled()), "{}", log(&d));
    d.agents.remove("ha");
    d.start("ha", &p["ha"], CONFS[0].1, w.now()).expect("again");
    w.run("on mn1 move le0 to home; on mn2 move le0 to home")
        .expect("moved");
    pass(&mut d, &mut w, S(4));
    let all = plumb::routes(&p["ha"]).expect("routes");
    assert!(all.iter().all(|r| r.dst != MN1 && r.dst != MN2), "{all:?}");
    assert!(d.mobiles.values().all(|m| m.is_settled()), "{}", log(&d));
}

#[test]
fn a_lost_reply_is_made_good_and_a_node_that_never_heard_of_one_says_bye() {
    // RFC 5944 3.6.3 (retransmission), 3.6.1 (at home)
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    w.run("on mn1 move le0 to cell1").expect("moved");
    // The way back from the home agent is cut: replies are lost, requests are not.
    w.run("on ha route add 192.168.0.2/32 192.168.0.99 1; on ha arp -s 192.168.0.99 8:0:20:9:9:9")
        .expect("cut");
    pass(&mut d, &mut w, S(4));
    assert!(told(&d, "ha", "bound to 192.168.0.2") && !told(&d, "mn1", "registered"));
    w.run("on mn1 move le0 to home").expect("moved");
    pass(&mut d, &mut w, S(4));
    assert!(
        told(&d, "ha", "deregistered") && d.mobiles["mn1"].is_settled(),
        "{}",
        log(&d)
    );
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(4));
    w.run("on ha route delete 192.168.0.2/32 192.168.0.99")
        .expect("mended");
    pass(&mut d, &mut w, S(5));
    assert!(d.mobiles["mn1"].is_settled(), "{}", log(&d));
    assert_eq!(d.mobiles["mn1"].care_of(), Some(FA1));
}

#[test]
fn a_home_agent_that_is_not_there_is_told_by_icmp_or_by_silence() {
    // RFC 5944 3.4 codes 82 (port), 78 (time-out); RFC 1122 4.1.3.3
    let (mut w, p) = world();
    let mut d = daemons(&mut w, &p, as_it_is);
    pass(&mut d, &mut w, S(2));
    d.agents.remove("ha");
    w.run("on mn1 move le0 to cell1").expect("moved");
    pass(&mut d, &mut w, S(3));
    assert!(told(&d, "mn1", "(82)"), "{}", log(&d));
    assert_eq!(d.mobiles["mn1"].state_text(), "refused");
    // Then the whole network is away, without a word.
    w.run("wire nowhere; on ha move le1 to nowhere")
        .expect("moved");
    w.run("on fa1 arp -s 192.168.0.1 8:0:20:0:1:1")
        .expect("an entry");
    pass(&mut d, &mut w, S(30));
    assert!(told(&d, "mn1", "(78)"), "{}", log(&d));
    // It comes back, and so does the agent: the node has not given up.
    w.run("on ha move le1 to backbone").expect("moved");
    d.start("ha", &p["ha"], CONFS[0].1, w.now()).expect("again");
    pass(&mut d, &mut w, S(80));
    assert!(d.mobiles["mn1"].is_settled(), "{}", log(&d));
}
