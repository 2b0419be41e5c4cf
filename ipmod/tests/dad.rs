//! Two emulated hosts that want one address: RFC 5227, with probing and without.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlpi::link::Link;
use dlpi::link::wire::{Port, Wire};
use ipmod::ill::iff;
use ipmod::plumb;
use streams::{Config, Cred, Kernel, Process};

const ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// Hosts on a wire, and somebody who listens.
struct Net {
    hosts: Vec<(Kernel, Process)>,
    tap: Port,
}

impl Net {
    fn new(hosts: u8) -> Net {
        let w = Wire::default();
        let host = |n: u8| {
            let k = Kernel::with_config(Config::test()).expect("a kernel");
            ipmod::register(&k).expect("names");
            let ports = vec![(w.clone(), [8, 0, 0x20, 0, 0, n])];
            dlpi::register_wire(&k, "le", ports).expect("names");
            let p = k.process(Cred::ROOT);
            plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
            plumb::set_netmask(&p, "le0", MASK).expect("netmask");
            (k, p)
        };
        Net {
            hosts: (1..=hosts).map(host).collect(),
            tap: w.port([8, 0, 0x20, 0, 0, 99]),
        }
    }

    fn probing(self) -> Net {
        for (_, p) in &self.hosts {
            plumb::nd_set(p, "arp_probe_count", "3").expect("ndd");
        }
        self
    }

    fn up(&self, host: usize, addr: Ipv4Addr) {
        let p = &self.hosts[host].1;
        plumb::set_address(p, "le0", addr).expect("address");
        plumb::up(p, "le0").expect("up");
        self.settle();
    }

    fn settle(&self) {
        let busy = |(k, _): &(Kernel, Process)| k.run_until_idle();
        while self.hosts.iter().map(busy).sum::<usize>() > 0 {}
    }

    /// Time passes for all, in steps that keep their clocks together.
    fn wait(&self, secs: u64) {
        for _ in 0..secs * 10 {
            for (k, _) in &self.hosts {
                k.advance(Duration::from_millis(100));
            }
            self.settle();
        }
    }

    fn is_up(&self, host: usize) -> bool {
        plumb::flags(&self.hosts[host].1, "le0").expect("flags") & iff::UP != 0
    }

    fn claim(&self, host: usize) -> String {
        let all = plumb::interfaces(&self.hosts[host].1).expect("list");
        let le0 = all.into_iter().find(|i| i.name == "le0");
        le0.expect("le0").claim
    }

    /// Frames since the last time.
    fn heard(&mut self) -> usize {
        let mut buf = [0; 2000];
        std::iter::from_fn(|| self.tap.recv(&mut buf).expect("recv")).count()
    }
}

#[test]
fn the_second_to_come_goes_without() {
    // RFC 5227 2.1.1
    let net = Net::new(2).probing();
    net.up(0, ADDR);
    assert_eq!((net.is_up(0), net.claim(0).as_str()), (false, "probing"));
    net.wait(5);
    assert_eq!((net.is_up(0), net.claim(0).as_str()), (true, "ours"));
    net.up(1, ADDR);
    assert_eq!((net.is_up(1), net.claim(1).as_str()), (false, "duplicate"));
    assert!(net.is_up(0));
    // Another address is to be had.
    net.up(1, OTHER);
    net.wait(5);
    assert_eq!((net.is_up(1), net.claim(1).as_str()), (true, "ours"));
}

#[test]
fn it_comes_up_once_the_first_is_gone() {
    // Solaris 10: ip_dup_recovery, 300 seconds
    let net = Net::new(2).probing();
    net.up(0, ADDR);
    net.wait(5);
    net.up(1, ADDR);
    net.wait(310);
    assert!(!net.is_up(1), "it is there still");
    plumb::unplumb(&net.hosts[0].1, "le0").expect("unplumb");
    net.wait(310);
    assert!(net.is_up(1));
}

#[test]
fn of_two_at_once_neither_has_it() {
    // RFC 5227 2.1.1: both see the other's probe
    let net = Net::new(2).probing();
    for (_, p) in &net.hosts {
        plumb::set_address(p, "le0", ADDR).expect("address");
        plumb::up(p, "le0").expect("up");
    }
    net.settle();
    net.wait(5);
    assert_eq!(
        [net.claim(0), net.claim(1)],
        ["duplicate", "duplicate"].map(String::from)
    );
}

#[test]
fn two_who_defend_make_no_storm() {
    // RFC 5227 2.4 (c): one defence in ten seconds each
    let mut net = Net::new(2);
    net.up(0, ADDR);
    net.up(1, ADDR);
    net.wait(20); // the announcements
    net.heard();
    let said = "10.0.0.1";
    plumb::set_address(&net.hosts[1].1, "le0", said.parse().expect("address")).expect("again");
    net.settle();
    net.wait(120);
    // Five announcements, and each side's defences, which the other hears and defends against.
    let n = net.heard();
    assert!((5..=5 + 2 * 13).contains(&n), "{n} frames in two minutes");
    assert!(net.is_up(0) && net.is_up(1));
}

#[test]
fn with_probing_two_who_are_joined_do_not_both_keep_it() {
    // RFC 5227 2.4 (b): two nets are joined, each has the address up already
    let net = Net::new(2);
    net.up(0, ADDR);
    net.up(1, ADDR);
    let net = net.probing();
    for _ in 0..4 {
        // Each time the first one speaks, the second hears somebody else with its address.
        plumb::nd_set(&net.hosts[0].1, "arp_probe_count", "0").expect("ndd");
        plumb::down(&net.hosts[0].1, "le0").expect("down");
        plumb::up(&net.hosts[0].1, "le0").expect("up");
        net.settle();
    }
    assert_eq!(net.claim(1), "duplicate");
    assert!(net.is_up(0));
}
