//! Each code of a reply, from the agent that gives it; lifetimes and simultaneous bindings.
//!
//! The agents are asked as their daemon asks them; what they do is done to an emulated host
//! with a link, a tunnel and a clock set by hand.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::link::wire::Wire;
use ipmod::plumb;
use mipagent::code;
use mipagent::conf::{Foreign, Home, Node, Reverse};
use mipagent::extension::{FOREIGN_HOME, MOBILE_FOREIGN, MOBILE_HOME};
use mipagent::foreign::{ForeignAgent, On, Send};
use mipagent::home::{From, HomeAgent};
use mipagent::identification::Replay;
use mipagent::link::{Heard, What};
use mipagent::message::{B, D, G, Key, M, Proof, REPLY_LEN, Reply, Request, S, T};
use mipagent::status::Log;
use mipagent::tunnel::{self, DUMMY};
use streams::{Config, Cred, Errno, Kernel, Process};

const AGENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const HOME: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 71);
const FA: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const DAY: u64 = 1000;

fn host(addr: Ipv4Addr) -> (Kernel, Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    streams::register(&k).expect("names");
    ipmod::register(&k).expect("names");
    vtunl::register(&k).expect("names");
    let wire = Wire::default();
    dlpi::register_wire(&k, "le", vec![(wire, [8, 0, 0x20, 0, 0, 1])]).expect("names");
    let p = k.process(Cred::ROOT);
    plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, "le0", addr).expect("address");
    plumb::set_netmask(&p, "le0", [255, 255, 255, 0].into()).expect("netmask");
    plumb::up(&p, "le0").expect("up");
    tunnel::plumb(&p, 4, addr, addr, DUMMY).expect("a tunnel");
    (k, p)
}

fn key(n: u8) -> Key {
    Key {
        spi: 256 + u32::from(n),
        secret: vec![n; 16],
    }
}

fn request(n: u64) -> Request {
    Request {
        flags: 0,
        lifetime: 60,
        home: HOME,
        agent: AGENT,
        care_of: FA,
        id: DAY << 32 | n,
    }
}

fn home_conf() -> Home {
    let mut conf = Home::new(AGENT);
    let (key, replay) = (key(1), Replay::Timestamps);
    conf.nodes.insert(HOME, Node { key, replay });
    conf
}

fn ask(h: &mut HomeAgent<'_>, b: &[u8]) -> Option<Reply> {
    let from = From {
        addr: FA,
        mac: None,
    };
    let now = Duration::from_secs(DAY);
    let b = h.answer(b, from, now, &mut Log::default())?;
    assert_eq!(Reply::proven(&b, &key(1)), Ok(Proof::Sound));
    Reply::parse(&b)
}

fn code_of(h: &mut HomeAgent<'_>, r: Request) -> u8 {
    ask(h, &r.emit(&key(1))).expect("a reply").code
}

#[test]
fn who_is_not_who_he_says_is_denied() {
    // RFC 5944 3.8.2.1 (131, 132), 3.5.1
    let (_k, p) = host(AGENT);
    let mut conf = home_conf();
    conf.peers.insert(FA, key(9));
    let mut h = HomeAgent::new(&p, conf).expect("an agent");
    let mut n = 0;
    let mut code = |sign: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        n += 1;
        ask(&mut h, &sign(request(n).bytes()))
            .expect("a reply")
            .code
    };
    let mn = |b: Vec<u8>| key(1).sign(b, MOBILE_HOME);
    assert_eq!(code(&|b| b), code::AUTHENTICATION);
    assert_eq!(code(&|b| key(2).sign(b, MOBILE_HOME)), code::AUTHENTICATION);
    let spi = Key { spi: 999, ..key(1) };
    assert_eq!(code(&|b| spi.sign(b, MOBILE_HOME)), code::AUTHENTICATION);
    assert_eq!(code(&mn), code::FOREIGN_AUTHENTICATION);
    let forged = |b| key(8).sign(mn(b), FOREIGN_HOME);
    assert_eq!(code(&forged), code::FOREIGN_AUTHENTICATION);
    let right = |b| key(9).sign(mn(b), FOREIGN_HOME);
    assert_eq!(code(&right), code::ACCEPTED);
    assert_eq!(h.counters.violations, 5);
    // The reply to the foreign agent is authenticated for it too (3.8.3.3).
    let from = From {
        addr: FA,
        mac: None,
    };
    let now = Duration::from_secs(DAY);
    let b = right(request(100).bytes());
    let b = h
        .answer(&b, from, now, &mut Log::default())
        .expect("a reply");
    assert_eq!(key(9).check(&b, REPLY_LEN, FOREIGN_HOME), Ok(Proof::Sound));
}

#[test]
fn agents_without_a_key_are_denied_if_all_have_to_have_one() {
    // mipagent.conf(4) HA-FAauth; RFC 5944 3.4 (132)
    let (_k, p) = host(AGENT);
    let mut conf = home_conf();
    conf.peers_only = true;
    let mut h = HomeAgent::new(&p, conf).expect("an agent");
    let code = code_of(&mut h, request(1));
    assert_eq!(code, code::FOREIGN_AUTHENTICATION);
    let own = Request {
        flags: D, // from its own address, which is FA's here
        ..request(2)
    };
    assert_eq!(code_of(&mut h, own), code::ACCEPTED);
}

#[test]
fn a_replay_is_denied_and_told_the_time() {
    // RFC 5944 5.7.1, code 133
    let (_k, p) = host(AGENT);
    let mut h = HomeAgent::new(&p, home_conf()).expect("an agent");
    assert_eq!(code_of(&mut h, request(7)), code::ACCEPTED);
    for id in [
        DAY << 32 | 7,
        DAY << 32 | 6,
        (DAY - 8) << 32,
        (DAY + 8) << 32,
    ] {
        let reply = ask(&mut h, &Request { id, ..request(0) }.emit(&key(1))).expect("a reply");
        assert_eq!(reply.code, code::IDENTIFICATION);
        assert_eq!((reply.id >> 32, reply.id as u32), (DAY, id as u32));
    }
    assert_eq!(code_of(&mut h, request(8)), code::ACCEPTED);
}

#[test]
fn what_is_skipped_denied_and_left_without_an_answer() {
    // RFC 5944 1.8 (extensions), 3.8.2.1, 3.8.3.1
    let (_k, p) = host(AGENT);
    let mut h = HomeAgent::new(&p, home_conf()).expect("an agent");
    let mut n = 0;
    let mut with = |ext: &[u8]| {
        n += 1;
        let b = [&request(n).bytes()[..], ext].concat();
        ask(&mut h, &key(1).sign(b, MOBILE_HOME)).map(|r| r.code)
    };
    assert_eq!(with(&[200, 2, 1, 2]), Some(code::ACCEPTED));
    assert_eq!(with(&[99, 0]), None);
    assert_eq!(with(&[200, 255]), Some(code::MALFORMED));
    assert_eq!(with(&[33, 0]), Some(code::MALFORMED), "out of order");
    let stranger = Request {
        home: FA,
        ..request(50)
    };
    assert_eq!(ask(&mut h, &stranger.emit(&key(1))), None);
    assert_eq!(ask(&mut h, &[1, 2, 3]), None);
    let mut n = 100;
    let mut code = |change: &dyn Fn(&mut Request)| {
        n += 1;
        let mut r = request(n);
        change(&mut r);
        let reply = ask(&mut h, &r.emit(&key(1))).expect("a reply");
        assert_eq!(reply.agent, AGENT);
        reply.code
    };
    let all = Ipv4Addr::new(10, 1, 0, 255);
    assert_eq!(code(&|r| r.agent = all), code::UNKNOWN_AGENT);
    assert_eq!(code(&|r| r.flags = T), code::REVERSE_TUNNEL);
    assert_eq!(code(&|r| r.care_of = HOME), code::MALFORMED);
    assert_eq!(code(&|r| r.care_of = Ipv4Addr::BROADCAST), code::MALFORMED);
    // Bits that mean nothing are no reason to deny (3.3: r and x are ignored).
    assert_eq!(code(&|r| r.flags = 0x05), code::ACCEPTED);
    assert_eq!(code(&|r| r.flags = M | G | B), code::ACCEPTED);
    assert_eq!(h.bindings().expect("bindings")[0].flags, "BM");
}

#[test]
fn a_reverse_tunnel_is_taken_from_where_it_was_registered() {
    // RFC 3024 3.4, 4.3
    let (_k, p) = host(AGENT);
    let mut conf = home_conf();
    conf.reverse = Reverse::Required;
    let mut h = HomeAgent::new(&p, conf).expect("an agent");
    assert_eq!(code_of(&mut h, request(1)), code::REVERSE_MANDATORY);
    let r = Request {
        flags: T | D,
        ..request(2)
    };
    assert_eq!(code_of(&mut h, r), code::ACCEPTED);
    let fd = streams::Sys::open(&p, "/dev/vtunl", 2).expect("open");
    let vt = vtunl::client::Client::new(&p, fd);
    let table = || vt.decap_targets().expect("a table");
    assert_eq!(table().targets, [(HOME, Ipv4Addr::BROADCAST, 1)]);
    assert_eq!(table().sources, [(FA, Ipv4Addr::BROADCAST)]);
    assert_eq!(h.bindings().expect("bindings")[0].flags, "DT");
    let bye = Request {
        lifetime: 0,
        care_of: HOME,
        ..request(3)
    };
    assert_eq!(code_of(&mut h, bye), code::ACCEPTED);
    assert!(table().targets.is_empty() && table().sources.is_empty());
}

#[test]
fn eight_bindings_at_once_and_the_end_of_their_lifetimes() {
    // RFC 5944 3.3 (S), 3.8.3.1 (135, 1), 3.8.3.2; lifetimes: 3.8.3
    let (k, p) = host(AGENT);
    let mut h = HomeAgent::new(&p, home_conf()).expect("an agent");
    let at = |n: u64, exit: u64| Request {
        flags: S,
        care_of: [10, 2, 0, exit as u8].into(),
        ..request(n)
    };
    for n in 1..=8 {
        assert_eq!(code_of(&mut h, at(n, n)), code::ACCEPTED);
    }
    assert_eq!(code_of(&mut h, at(9, 9)), code::TOO_MANY);
    assert_eq!(h.bindings().expect("bindings").len(), 8);
    let one = Request {
        lifetime: 0,
        ..at(10, 3)
    };
    assert_eq!(code_of(&mut h, one), code::ACCEPTED);
    assert_eq!(h.bindings().expect("bindings").len(), 7);
    let served = || {
        let a = plumb::arp_table(&p).expect("a table");
        let r = plumb::routes(&p).expect("routes");
        (
            a.iter().any(|e| e.addr == HOME && e.flags.contains('P')),
            r.iter().any(|r| r.dst == HOME),
        )
    };
    assert_eq!(served(), (true, true));
    let mut log = Log::default();
    k.advance(Duration::from_secs(61));
    h.poll(&mut log).expect("polled");
    assert_eq!(served(), (false, false));
    assert!(h.bindings().expect("bindings").is_empty());
    let expired = log
        .take()
        .iter()
        .filter(|e| e.text.contains("expired"))
        .count();
    assert_eq!(expired, 7);
}

#[test]
fn an_agent_without_simultaneous_bindings_says_so() {
    // RFC 5944 3.4 code 1; 3.3: 0xffff is for ever
    let (k, p) = host(AGENT);
    let mut conf = home_conf();
    (conf.simultaneous, conf.lifetime) = (false, u16::MAX);
    let mut h = HomeAgent::new(&p, conf).expect("an agent");
    let mut r = request(1);
    (r.flags, r.lifetime) = (S, u16::MAX);
    let reply = ask(&mut h, &r.emit(&key(1))).expect("a reply");
    assert_eq!(
        (reply.code, reply.lifetime),
        (code::ACCEPTED_ALONE, u16::MAX)
    );
    (r.id, r.care_of) = (DAY << 32 | 2, [10, 2, 0, 9].into());
    assert_eq!(code_of(&mut h, r), code::ACCEPTED_ALONE);
    k.advance(Duration::from_secs(100_000));
    h.poll(&mut Log::default()).expect("polled");
    let all = h.bindings().expect("bindings");
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].care_of, all[0].left), (r.care_of, None));
}

// ---- the foreign agent ----

const LINK: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);
const MAC: [u8; 6] = [8, 0, 0x20, 0, 7, 1];

fn foreign_conf() -> Foreign {
    Foreign {
        lifetime: 100,
        ..Foreign::new(LINK)
    }
}

struct Visited<'a> {
    f: ForeignAgent<'a>,
    now: Duration,
    ttl: u8,
}

fn visited(p: &Process, conf: Foreign) -> Visited<'_> {
    let on = On {
        name: "le0".to_owned(),
        addr: LINK,
    };
    Visited {
        f: ForeignAgent::new(p, conf, vec![on]).expect("an agent"),
        now: Duration::from_secs(DAY),
        ttl: 255,
    }
}

impl Visited<'_> {
    fn raw(&mut self, b: &[u8]) -> Option<Send> {
        let heard = Heard {
            mac: MAC,
            src: HOME,
            dst: LINK,
            ttl: self.ttl,
            what: What::Registration(434, b.to_vec()),
        };
        self.f
            .request(0, &heard, 434, b, self.now, &mut Log::default())
    }

    /// The code of the agent's own reply; `None`: the request goes on.
    fn code(&mut self, change: impl Fn(&mut Request)) -> Option<u8> {
        let mut r = here(1);
        change(&mut r);
        match self.raw(&r.emit(&key(1)))? {
            Send::Link(to, b) => {
                assert_eq!((to.mac, to.addr, to.from, to.port), (MAC, HOME, LINK, 434));
                Some(Reply::parse(&b).expect("a reply").code)
            }
            Send::Home(agent, _) => {
                assert_eq!(agent, r.agent);
                None
            }
        }
    }

    fn answered(&mut self, b: &[u8]) -> Option<Reply> {
        let sent = self.f.reply(b, self.now, &mut Log::default());
        match sent.expect("done") {
            Some(Send::Link(to, b)) => {
                assert_eq!(to.mac, MAC);
                Reply::parse(&b)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }
}

fn here(n: u64) -> Request {
    Request {
        care_of: LINK,
        ..request(n)
    }
}

fn reply(n: u64, code: u8, lifetime: u16) -> Reply {
    Reply {
        code,
        lifetime,
        home: HOME,
        agent: AGENT,
        id: DAY << 32 | n,
    }
}

#[test]
fn what_a_foreign_agent_refuses() {
    // RFC 5944 3.7.2.1, 3.4 (64 to 79); RFC 3024 3.4 (74, 76)
    let (_k, p) = host(LINK);
    let mut v = visited(&p, foreign_conf());
    assert_eq!(v.code(|r| r.lifetime = 101), Some(code::FA_LIFETIME));
    assert_eq!(v.code(|r| r.lifetime = u16::MAX), Some(code::FA_LIFETIME));
    assert_eq!(
        v.code(|r| r.home = [0, 0, 0, 0].into()),
        Some(code::FA_REQUEST)
    );
    assert_eq!(
        v.code(|r| r.agent = [224, 0, 0, 1].into()),
        Some(code::FA_REQUEST)
    );
    assert_eq!(v.code(|r| r.agent = LINK), Some(code::UNKNOWN_AGENT));
    assert_eq!(v.code(|r| r.care_of = FA), Some(code::FA_CARE_OF));
    assert_eq!(v.code(|r| r.flags = M), Some(code::FA_ENCAPSULATION));
    assert_eq!(v.code(|r| r.flags = G), Some(code::FA_ENCAPSULATION));
    assert_eq!(v.code(|r| r.flags = T), Some(code::FA_REVERSE));
    v.ttl = 254;
    assert_eq!(v.code(|r| r.flags = T), Some(code::FA_DISTANT));
    v.ttl = 255;
    // Without the home agent's authentication, and extensions (1.8).
    let bare = v.raw(&here(1).bytes());
    assert!(matches!(bare, Some(Send::Link(_, b)) if b[1] == code::FA_REQUEST));
    let odd = [&here(1).bytes()[..], &[99, 0]].concat();
    assert_eq!(v.raw(&odd), None);
    // With an address of one's own the agent is on the way only (3.1, flag R).
    assert_eq!(v.code(|r| (r.flags, r.care_of) = (D | M, FA)), None);
    assert_eq!(v.f.counters.relayed, 1);

    let mut conf = foreign_conf();
    (conf.minimal, conf.gre, conf.peers_only) = (true, true, true);
    let mut v = visited(&p, conf);
    assert_eq!(v.code(|r| r.flags = M), Some(code::FA_PROHIBITED));
    let mut conf = foreign_conf();
    (conf.busy, conf.minimal) = (true, true);
    let mut v = visited(&p, conf);
    assert_eq!(v.code(|r| r.flags = M), Some(code::FA_RESOURCES));
    assert_eq!(v.code(|r| r.lifetime = 0), None, "who leaves may");
    let mut conf = foreign_conf();
    conf.nodes.insert(HOME, key(5));
    let mut v = visited(&p, conf);
    assert_eq!(v.code(|_| ()), Some(code::FA_MN_AUTHENTICATION));
    let signed = key(5).sign(here(1).emit(&key(1)), MOBILE_FOREIGN);
    let Some(Send::Home(_, on)) = v.raw(&signed) else {
        panic!("relayed")
    };
    assert_eq!(on, here(1).emit(&key(1)), "what was for us is off");
}

#[test]
fn a_reply_makes_a_visitor_and_an_untimely_one_does_not() {
    // RFC 5944 3.7.2.2, 3.7.3.1, 3.7.3.2
    let (_k, p) = host(LINK);
    let mut conf = foreign_conf();
    conf.peers.insert(AGENT, key(9));
    let mut v = visited(&p, conf);
    let good = |n, code, life| key(9).sign(reply(n, code, life).emit(&key(1)), FOREIGN_HOME);
    assert_eq!(v.answered(&good(1, 0, 60)), None, "nothing is pending");
    assert_eq!(v.code(|_| ()), None);
    assert_eq!(v.answered(&good(2, 0, 60)), None, "another identification");
    assert_eq!(
        v.answered(&[&reply(1, 0, 60).bytes()[..], &[99, 0]].concat()),
        None
    );
    let first = v.answered(&good(1, 0, 90)).expect("relayed");
    assert_eq!((first.code, first.lifetime), (0, 90));
    // 3.7.3.1: served no longer than was asked for
    let granted: Vec<u16> = v.f.visitors().map(|x| x.granted).collect();
    assert_eq!(granted, [60]);
    let entry = |p: &Process| {
        let a = plumb::arp_table(p).expect("a table");
        a.iter().any(|e| e.addr == HOME && e.mac == "8:0:20:0:7:1")
    };
    assert!(entry(&p));
    // A denial changes nothing.
    assert_eq!(v.code(|r| r.id = DAY << 32 | 5), None);
    assert_eq!(v.answered(&good(5, 133, 0)).expect("relayed").code, 133);
    assert_eq!(v.f.visitors().count(), 1);
    // Not from the home agent we share a key with: 68; without any authentication: 71.
    assert_eq!(v.code(|_| ()), None);
    let alone = reply(1, 0, 60).emit(&key(1));
    assert_eq!(
        v.answered(&alone).expect("ours").code,
        code::FA_HA_AUTHENTICATION
    );
    assert_eq!(v.code(|_| ()), None);
    let bare = key(9).sign(reply(1, 0, 60).bytes(), FOREIGN_HOME);
    assert_eq!(v.answered(&bare).expect("ours").code, code::FA_REPLY);
    // Leaving.
    assert_eq!(v.code(|r| (r.id, r.lifetime) = (DAY << 32 | 8, 0)), None);
    assert_eq!(v.answered(&good(8, 0, 0)).expect("relayed").code, 0);
    assert!(v.f.visitors().count() == 0 && !entry(&p));
}

#[test]
fn a_home_agent_that_does_not_answer() {
    // RFC 5944 3.4 codes 78, 80, 81, 82, 88
    let (_k, p) = host(LINK);
    let mut v = visited(&p, foreign_conf());
    let codes = |sends: Vec<Send>| -> Vec<u8> {
        let code = |s: &Send| match s {
            Send::Link(_, b) => b[1],
            Send::Home(..) => 0,
        };
        sends.iter().map(code).collect()
    };
    for (e, code) in [
        (Errno::ENETUNREACH, code::HOME_NETWORK),
        (Errno::EHOSTUNREACH, code::HOME_HOST),
        (Errno::ECONNREFUSED, code::HOME_PORT),
        (Errno::EMSGSIZE, code::HOME_OTHER),
    ] {
        assert_eq!(v.code(|_| ()), None);
        let sends = v.f.unreachable(FA, e, &mut Log::default());
        assert!(sends.is_empty(), "another agent");
        let sends = v.f.unreachable(AGENT, e, &mut Log::default());
        assert_eq!(codes(sends), [code]);
    }
    assert_eq!(v.code(|_| ()), None);
    let mut at = |secs| {
        let sends = v.f.expire(Duration::from_secs(secs), &mut Log::default());
        codes(sends.expect("done"))
    };
    assert_eq!(at(DAY + 6), Vec::<u8>::new());
    assert_eq!(at(DAY + 7), [code::FA_TIMEOUT]);
    assert_eq!(at(DAY + 8), Vec::<u8>::new());
}
