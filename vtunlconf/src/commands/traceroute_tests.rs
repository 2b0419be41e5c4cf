use super::*;
use crate::diag::Source;
use crate::out::{Capture, Look};

fn options(words: &str) -> Options {
    let line = crate::lex::statements(&format!("traceroute {words}")).unwrap();
    let (name, words) = line[0].words.split_first().unwrap();
    let entry = crate::command::table().find("traceroute").unwrap();
    Options::of(&entry.parse(name, words).unwrap(), &Names::default()).unwrap()
}

/// An ICMP message from a router, about a datagram.
fn about(quoted: &[u8], kind: u8, code: u8, rest: [u8; 4], ttl: u8) -> Vec<u8> {
    let icmp = [&[kind, code, 0, 0][..], &rest, quoted].concat();
    let router = Ipv4Addr::new(10, 0, 0, 9);
    let mut all = header(ICMP, router, Ipv4Addr::LOCALHOST, ttl, false, icmp.len());
    all.extend(icmp);
    all
}

fn mark(o: &Options, kind: u8, code: u8, rest: [u8; 4]) -> Option<(bool, String)> {
    let probe = o.probe(0x8123, 5, 1);
    // RFC 792: the header and eight bytes are enough.
    let said = about(&probe[..28], kind, code, rest, 60);
    o.answer(&said, 0x8123, 5).map(|a| (a.there, a.mark))
}

/// RFC 792, RFC 1812 5.2.7.1, traceroute(1M): a mark for each code.
#[test]
fn marks() {
    for icmp in ["", "-I "] {
        let o = options(&format!("{icmp}10.0.0.1"));
        let is = |kind, code, rest| mark(&o, kind, code, rest).unwrap();
        assert_eq!(is(11, 0, [0; 4]), (false, String::new()));
        assert_eq!(is(3, 3, [0; 4]), (true, String::new()));
        assert_eq!(is(3, 0, [0; 4]), (false, "!N".into()));
        assert_eq!(is(3, 1, [0; 4]), (false, "!H".into()));
        assert_eq!(is(3, 2, [0; 4]), (true, "!P".into()));
        assert_eq!(is(3, 4, [0; 4]), (false, "!F".into()));
        assert_eq!(is(3, 4, [0, 0, 5, 20]), (false, "!F-1300".into()));
        assert_eq!(is(3, 5, [0; 4]), (false, "!S".into()));
        assert_eq!(is(3, 13, [0; 4]), (false, "!<13>".into()));
        assert_eq!(mark(&o, 5, 0, [0; 4]), None); // a redirect is no answer
        let probe = o.probe(0x8123, 5, 1);
        let last = o.answer(&about(&probe, 3, 3, [0; 4], 1), 0x8123, 5);
        assert_eq!(last.unwrap().mark, "!");
    }
}

/// What is about another probe, another program's, or too short is no answer.
#[test]
fn answers_are_told_from_other_things() {
    let (o, other) = (options("10.0.0.1"), options("10.0.0.2"));
    let icmp = options("-I 10.0.0.1");
    let probe = o.probe(0x8123, 5, 1);
    let said = about(&probe, 11, 0, [0; 4], 60);
    assert!(o.answer(&said, 0x8123, 5).is_some());
    assert_eq!(o.answer(&said, 0x8123, 6), None);
    assert_eq!(o.answer(&said, 0x8124, 5), None);
    assert_eq!(other.answer(&said, 0x8123, 5), None);
    assert_eq!(icmp.answer(&said, 0x8123, 5), None);
    for n in 0..20 + 8 + 24 {
        assert_eq!(o.answer(&said[..n], 0x8123, 5), None, "{n} bytes");
    }
    let mut reply = icmp.probe(0x8123, 5, 1);
    reply[20] = 0;
    assert!(icmp.answer(&reply, 0x8123, 5).unwrap().there);
    assert_eq!(icmp.answer(&reply, 0x8123, 6), None);
    assert_eq!(o.answer(&reply, 0x8123, 5), None);
}

/// Four hosts in a row, the routers between them with names.
const ROW: &str = "
    wire w1; wire w2; wire w3
    hosts r1 10.0.1.2; hosts r2 10.0.2.2; hosts far 10.0.3.2
    host d; plumb le0 on w3; ifconfig le0 10.0.3.2 netmask 255.255.255.0 up; route add default 10.0.3.1 1
    host c; plumb le0 on w2; ifconfig le0 10.0.2.2 netmask 255.255.255.0 up
    plumb le1 on w3; ifconfig le1 10.0.3.1 netmask 255.255.255.0 up; route add default 10.0.2.1 1
    host b; plumb le0 on w1; ifconfig le0 10.0.1.2 netmask 255.255.255.0 up
    plumb le1 on w2; ifconfig le1 10.0.2.1 netmask 255.255.255.0 up; route add 10.0.3.0/24 10.0.2.2 1
    host a; plumb le0 on w1; ifconfig le0 10.0.1.1 netmask 255.255.255.0 up; route add default 10.0.1.2 1
";

/// What the last of these commands prints in the lab above, and whether it succeeds.
fn says(json: bool, commands: &[&str]) -> (bool, String) {
    let said = Capture::default();
    let look = Look {
        json,
        quiet: true,
        ..Look::PLAIN
    };
    let mut sh = Shell::new(ClockKind::Emulated, look)
        .printing_to(Box::new(said.clone()), Box::new(std::io::sink()));
    sh.run_source(Source::new("row", ROW)).unwrap();
    let (last, before) = commands.split_last().unwrap();
    for c in before {
        sh.run_source(Source::new("before", c)).unwrap();
    }
    let n = said.text().len();
    let ok = sh.run_source(Source::new("last", last)).is_ok();
    let text = said.text()[n..].to_owned();
    sh.lab.shut_down();
    (ok, text)
}

/// traceroute(1M): a line for each hop, by datagrams and by echo requests.
#[test]
fn the_way_along_a_row_of_routers() {
    let lines = " 1  r1 (10.0.1.2)\n 2  r2 (10.0.2.2)\n 3  far (10.0.3.2)\n";
    for line in [
        "traceroute far",
        "traceroute -I far",
        "traceroute -q 1 far 1400",
    ] {
        assert_eq!(says(false, &[line]), (true, lines.into()), "{line}");
    }
    let second = " 2  10.0.2.2\n";
    let (ok, said) = says(false, &["traceroute -n -f 2 -m 2 far"]);
    assert_eq!((ok, &said[..]), (false, second));
}

/// Routers that don't answer, that know no way, and that refuse what is too big.
#[test]
fn what_goes_wrong_on_the_way() {
    let (ok, said) = says(false, &["traceroute -n -m 4 -w 6s -q 2 10.0.2.99"]);
    let want = " 1  10.0.1.2\n 2  10.0.1.2 !H !H\n";
    assert_eq!((ok, &said[..]), (false, want), "an address nobody has");

    let no_route = [
        "host b; route delete 10.0.3.0/24 10.0.2.2; host a",
        "traceroute -n far",
    ];
    let (ok, said) = says(false, &no_route);
    assert!(!ok && said == " 1  10.0.1.2 !H !H !H\n", "{said}");

    let narrow = [
        "host b; ifconfig le1 mtu 600; host a",
        "traceroute -n -F far 1000",
    ];
    let (ok, said) = says(false, &narrow);
    // What the router said is believed: after the first our own IP refuses.
    let want = " 1  10.0.1.2\n 2  10.0.1.2 !F-600 10.0.1.1 !F-600 !F-600\n";
    assert_eq!((ok, &said[..]), (false, want));

    let silent = [
        "host c; ifconfig le0 down; host a",
        "traceroute -n -w 10ms -m 2 -q 2 far",
    ];
    let (ok, said) = says(false, &silent);
    assert!(!ok && said.starts_with(" 1  10.0.1.2\n 2 "), "{said}");
}

#[test]
fn json_has_every_probe() {
    let (ok, said) = says(true, &["traceroute -q 2 far"]);
    let v: Value = serde_json::from_str(&said).unwrap();
    let hops = v["result"].as_array().unwrap();
    assert!(ok && hops.len() == 3, "{said}");
    let third = json!({ "from": "10.0.3.2", "name": "far", "ms": null, "mark": null });
    assert_eq!(hops[2], json!({ "ttl": 3, "probes": [third, third] }));
}
