//! Emulated routers in a row behind the link to Linux, and a host at their end.
//!
//! ```text
//!   Linux ═ le0 [0] qe0 ── qe0 [1] qe1 ── qe0 [2] qe1 ── qe0 [3]
//!       192.0.2.2  10.0.1.1  .1.2  10.0.2.1  .2.2  10.0.3.1  .3.2
//! ```
//!
//! Linux knows the way to 10.0.0.0/16, everybody the way to Linux.

use std::net::Ipv4Addr;

use dlpi::Links;
use dlpi::link::Link;
use dlpi::link::wire::Wire;
use ipmod::ire::RTF_GATEWAY;
use ipmod::plumb;
use streams::{Config, Cred, Kernel};

use crate::linux::{Host, LINUX, OURS, Side, ip};

/// How many there are, the last one included.
pub const LENGTH: u8 = 4;
/// The host at the end.
pub const END: Ipv4Addr = Ipv4Addr::new(10, 0, LENGTH - 1, 2);

/// Who answers a probe of this TTL from Linux.
pub fn hop(ttl: u8) -> Ipv4Addr {
    match ttl {
        1 => OURS,
        n => Ipv4Addr::new(10, 0, n.min(LENGTH) - 1, 2),
    }
}

/// The row; the first of them is on the link.
pub fn row(side: Side) -> Vec<Host> {
    let wires: Vec<Wire> = (1..LENGTH).map(|_| Wire::default()).collect();
    let mut all = Vec::new();
    for n in 0..LENGTH {
        let host = match n {
            0 => side.host(),
            _ => bare(),
        };
        // Its wires: towards Linux, then away from it.
        let near = wires.get(usize::from(n).wrapping_sub(1)).cloned();
        let far = wires.get(usize::from(n)).cloned();
        let mine: Vec<(Wire, u8, u8)> = [near.map(|w| (w, n, 2)), far.map(|w| (w, n + 1, 1))]
            .into_iter()
            .flatten()
            .collect();
        let ends = mine.clone();
        let make = move |ppa: u32| {
            let end = ends.get(ppa as usize);
            let (wire, net, of) = end.ok_or(std::io::ErrorKind::NotFound)?;
            Ok(Box::new(wire.port([2, 0, 0, 0, *net, *of])) as Box<dyn Link>)
        };
        dlpi::register(&host.k, "qe", Links::new(Box::new(make))).expect("a name");
        for (ppa, (_, net, of)) in mine.iter().enumerate() {
            let name = plumb::plumb(&host.p, "/dev/qe", &[], ppa as u32).expect("plumb");
            let own = Ipv4Addr::new(10, 0, *net, *of);
            plumb::set_address(&host.p, &name, own).expect("address");
            plumb::set_netmask(&host.p, &name, Ipv4Addr::new(255, 255, 255, 0)).expect("mask");
            plumb::up(&host.p, &name).expect("up");
        }
        if n > 0 {
            let back = Ipv4Addr::new(10, 0, n, 1);
            let any = Ipv4Addr::UNSPECIFIED;
            plumb::route_add(&host.p, any, any, back, RTF_GATEWAY).expect("a route");
        }
        if n + 1 < LENGTH {
            let all = (Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(255, 255, 0, 0));
            let on = Ipv4Addr::new(10, 0, n + 1, 2);
            plumb::route_add(&host.p, all.0, all.1, on, RTF_GATEWAY).expect("a route");
        }
        all.push(host);
    }
    ip(&format!("route add 10.0.0.0/16 via {OURS} src {LINUX}"));
    all
}

/// A host without a link.
fn bare() -> Host {
    let k = Kernel::with_config(Config::default()).expect("a kernel");
    streams::register(&k).expect("names");
    ipmod::register(&k).expect("names");
    let p = k.process(Cred::ROOT);
    Host { k, p }
}
