//! What an agent or a mobile node is told; conf_file.rs reads it from mipagent.conf.
//!
//! Spec: mipagent.conf(4); RFC 5944 2.3 (intervals and lifetimes), 5.7.1 (clock skew).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::auth::Key;
pub use crate::conf_file::Wrong;
use crate::identification::{Replay, SKEW};
use crate::tunnel::DUMMY;

/// Whether reverse tunnels are had (RFC 3024).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reverse {
    /// No.
    #[default]
    No,
    /// Who wants.
    Yes,
    /// Everybody must.
    Required,
}

/// A mobile node as its home agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The security association.
    pub key: Key,
    /// How replays are noticed.
    pub replay: Replay,
}

/// A home agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its address, on the home link.
    pub address: Ipv4Addr,
    /// ip0's destination: host routes of mobile nodes lead there.
    pub dummy: Ipv4Addr,
    /// The longest lifetime granted, seconds.
    pub lifetime: u16,
    /// How far a timestamp may be off, seconds.
    pub skew: u64,
    /// Simultaneous bindings are served.
    pub simultaneous: bool,
    /// Reverse tunnels.
    pub reverse: Reverse,
    /// Foreign agents that we share a key with.
    pub peers: HashMap<Ipv4Addr, Key>,
    /// Requests by way of other foreign agents are denied (HA-FAauth = yes).
    pub peers_only: bool,
    /// Its mobile nodes, by home address.
    pub nodes: HashMap<Ipv4Addr, Node>,
}

impl Home {
    /// A home agent without mobile nodes.
    pub fn new(address: Ipv4Addr) -> Home {
        Home {
            address,
            dummy: DUMMY,
            lifetime: 300,
            skew: SKEW,
            simultaneous: true,
            reverse: Reverse::No,
            peers: HashMap::new(),
            peers_only: false,
            nodes: HashMap::new(),
        }
    }
}

/// A foreign agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The care-of address that it offers.
    pub care_of: Ipv4Addr,
    /// The longest lifetime, seconds.
    pub lifetime: u16,
    /// Everybody must register here (flag R).
    pub required: bool,
    /// Takes no new visitors (flag B).
    pub busy: bool,
    /// Minimal encapsulation is decapsulated.
    pub minimal: bool,
    /// GRE is decapsulated.
    pub gre: bool,
    /// Visitors and pending requests at most.
    pub most: usize,
    /// How long a home agent may take to answer.
    pub patience: Duration,
    /// Home agents that we share a key with.
    pub peers: HashMap<Ipv4Addr, Key>,
    /// Requests for other home agents are refused (HA-FAauth = yes).
    pub peers_only: bool,
    /// Mobile nodes that we share a key with.
    pub nodes: HashMap<Ipv4Addr, Key>,
    /// Other mobile nodes are refused (MN-FAauth = yes).
    pub nodes_only: bool,
}

impl Foreign {
    /// A foreign agent that shares keys with nobody.
    pub fn new(care_of: Ipv4Addr) -> Foreign {
        Foreign {
            care_of,
            lifetime: 300,
            required: false,
            busy: false,
            minimal: false,
            gre: false,
            most: 1000,
            patience: Duration::from_secs(7),
            peers: HashMap::new(),
            peers_only: false,
            nodes: HashMap::new(),
            nodes_only: false,
        }
    }
}

/// What is advertised on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// The interface.
    pub interface: String,
    /// As a home agent.
    pub home: bool,
    /// As a foreign agent.
    pub foreign: bool,
    /// How often.
    pub interval: Duration,
    /// How long an advertisement may be believed, seconds.
    pub lifetime: u16,
    /// The longest registration, seconds.
    pub registration: u16,
    /// With prefix lengths.
    pub prefixes: bool,
    /// To 255.255.255.255 instead of 224.0.0.1.
    pub broadcast: bool,
    /// Only if asked.
    pub solicited_only: bool,
}

impl Advertise {
    /// An interface where nothing is advertised: RFC 5944 2.3 and Solaris's defaults.
    pub fn on(interface: &str) -> Advertise {
        Advertise {
            interface: interface.to_owned(),
            home: false,
            foreign: false,
            interval: Duration::from_secs(10),
            lifetime: 30,
            registration: 300,
            prefixes: true,
            broadcast: false,
            solicited_only: false,
        }
    }
}

/// An address that a mobile node may use on a network without a foreign agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CareOf {
    /// The address.
    pub addr: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// The router there.
    pub router: Ipv4Addr,
}

/// A mobile node, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mobile {
    /// Its interface.
    pub interface: String,
    /// Its home address.
    pub home: Ipv4Addr,
    /// The prefix length of its home network.
    pub prefix: u8,
    /// The router at home, if there is one.
    pub router: Option<Ipv4Addr>,
    /// Its home agent; unspecified: asked for (3.6.1.2).
    pub agent: Ipv4Addr,
    /// The security association with it.
    pub key: Key,
    /// How replays are noticed.
    pub replay: Replay,
    /// S, B, M, G, T.
    pub flags: u8,
    /// The lifetime that is asked for, seconds.
    pub lifetime: u16,
    /// Addresses for networks without a foreign agent.
    pub care_of: Vec<CareOf>,
    /// Foreign agents that we share a key with.
    pub peers: HashMap<Ipv4Addr, Key>,
}

impl Mobile {
    /// A mobile node that asks for 300 seconds.
    pub fn new(interface: &str, home: Ipv4Addr, prefix: u8, agent: Ipv4Addr, key: Key) -> Mobile {
        Mobile {
            interface: interface.to_owned(),
            home,
            prefix,
            router: None,
            agent,
            key,
            replay: Replay::Timestamps,
            flags: 0,
            lifetime: 300,
            care_of: Vec::new(),
            peers: HashMap::new(),
        }
    }
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    /// `[Advertisements IF]`.
    pub advertise: Vec<Advertise>,
    /// A home agent, but for its address if it is that of the interface.
    pub home: Option<Home>,
    /// A foreign agent; its care-of address may be unspecified: the interface's.
    pub foreign: Option<Foreign>,
    /// `[Node]`.
    pub mobile: Option<Mobile>,
}
