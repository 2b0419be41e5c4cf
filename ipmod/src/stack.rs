//! One IP: what all instances of ip, arp and udp in a kernel share.
//!
//! ```text
//!   ills (links) ── ipif addresses ──► ires (routes) ──► which link, which gateway
//!   neighbours (per link): address ──► link header        subscribers: protocol ──► stream
//! ```
//!
//! Spec: ip(7P); the reference's ip-tpi sections 1, 6, 7.

use std::time::Duration;

use rustc_hash::FxHashMap;
use streams::QRef;

use crate::icmp::RateLimit;
use crate::ill::Ill;
use crate::ire::{IreId, IreKind, IreTable};
use crate::mib::Mib;
use crate::multicast::Multicast;
use crate::neighbour::Neighbours;
use crate::pmtu::PathMtus;
use crate::reassemble::Reassembly;

/// No interface.
pub const NO_ILL: u32 = u32::MAX;
/// No route, where one is remembered.
const NO_IRE: IreId = IreId::MAX;
/// Destinations remembered with their routes.
const CACHED: usize = 256;

/// A stream that receives a protocol's datagrams (T_BIND_REQ on /dev/ip).
#[derive(Clone, Copy, Debug)]
pub struct Subscriber {
    /// The protocol.
    pub proto: u8,
    /// Its read queue.
    pub q: QRef,
    /// Only datagrams to this address; 0 for any.
    pub local: u32,
    /// Only datagrams from this address; 0 for any.
    pub remote: u32,
    /// A /dev/icmp stream: it gets T_UNITDATA_IND.
    pub tpi: bool,
    /// And asked for T_UDERROR_IND.
    pub errind: bool,
}

/// What ndd(1M) sets.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// `ip_forwarding`.
    pub forwarding: bool,
    /// `ip_def_ttl`.
    pub def_ttl: u8,
    /// `ip_respond_to_echo_broadcast`.
    pub echo_broadcast: bool,
    /// `ip_respond_to_echo_multicast`.
    pub echo_multicast: bool,
    /// `ip_broadcast_ttl`.
    pub broadcast_ttl: u8,
    /// `ip_forward_directed_broadcasts`.
    pub directed_broadcasts: bool,
    /// `ip_forward_src_routed`.
    pub forward_src_routed: bool,
    /// `ip_respond_to_timestamp`.
    pub timestamp: bool,
    /// `ip_respond_to_timestamp_broadcast`.
    pub timestamp_broadcast: bool,
    /// `ip_respond_to_address_mask_broadcast`.
    pub mask_broadcast: bool,
    /// `ip_icmp_return_data_bytes`.
    pub return_data: usize,
    /// `ip_send_redirects`.
    pub send_redirects: bool,
    /// `ip_ignore_redirect`.
    pub ignore_redirect: bool,
    /// `ip_ire_redirect_interval`: how long a redirect is believed.
    pub redirect_interval: Duration,
    /// `ip_ire_arp_interval`: a neighbour not heard of for so long is forgotten.
    pub arp_interval: Duration,
    /// `ip_addrs_per_if`: addresses of one interface at most.
    pub addrs_per_if: u32,
    /// `ip_strict_dst_multihoming`: an address is only taken by its own interface.
    pub strict_dst: bool,
    /// `ip_ire_timer_interval`: how often silent neighbours are looked for.
    pub timer_interval: Duration,
    /// `ip_wroff_extra`: bytes left in front of what users write, beyond our own headers.
    pub wroff_extra: usize,
    /// Announcing, probing and defending addresses.
    pub dad: crate::dad::Params,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            forwarding: true,
            def_ttl: 255,
            echo_broadcast: true,
            echo_multicast: true,
            broadcast_ttl: 1,
            directed_broadcasts: false,
            forward_src_routed: true,
            timestamp: true,
            timestamp_broadcast: false,
            mask_broadcast: false,
            return_data: crate::icmp::QUOTE,
            send_redirects: true,
            ignore_redirect: false,
            redirect_interval: Duration::from_secs(60),
            arp_interval: Duration::from_secs(1200),
            addrs_per_if: 256,
            strict_dst: false,
            timer_interval: Duration::from_secs(60),
            wroff_extra: 32,
            dad: crate::dad::Params::default(),
        }
    }
}

/// A UDP port and the stream bound to it.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Local address; 0 for any.
    pub addr: u32,
    /// Whom it is connected to; it hears nobody else then.
    pub peer: Option<(u32, u16)>,
    /// It asked for T_UDERROR_IND.
    pub errind: bool,
    /// The stream's read queue.
    pub q: QRef,
}

/// The tables of one IP.
pub struct Stack {
    /// The interfaces, by index; a hole where one was unplumbed.
    pub ills: Vec<Option<Ill>>,
    /// The routes.
    pub ires: IreTable,
    /// Neighbours, by interface and address.
    pub neighbours: Neighbours,
    /// Who receives which protocol.
    pub subscribers: Vec<Subscriber>,
    /// Routes that redirects made: where to, and until when.
    pub redirects: Vec<(u32, Duration)>,
    /// UDP ports.
    pub ports: FxHashMap<u16, Vec<Port>>,
    /// Counters.
    pub mib: Mib,
    /// Parameters.
    pub params: Params,
    /// The next identification.
    pub ident: u16,
    /// Datagrams in pieces.
    pub reassembly: Reassembly,
    /// Bounds ICMP errors.
    pub icmp_limit: RateLimit,
    /// Path MTUs that routers have told.
    pub path_mtu: PathMtus,
    /// Destinations looked up lately, each while the table has this generation.
    cache: Box<[(u64, u32, IreId); CACHED]>,
    /// TCP.
    pub(crate) tcp: crate::tcp_engine::Engine,
    /// Groups.
    pub multicast: Multicast,
    /// Last anonymous port given.
    pub last_port: u16,
}

impl Default for Stack {
    fn default() -> Stack {
        let mut s = Stack {
            ills: Vec::new(),
            ires: IreTable::new(),
            neighbours: Neighbours::default(),
            subscribers: Vec::new(),
            redirects: Vec::new(),
            ports: FxHashMap::default(),
            mib: Mib::default(),
            params: Params::default(),
            ident: 1,
            reassembly: Reassembly::default(),
            icmp_limit: RateLimit::default(),
            path_mtu: PathMtus::default(),
            cache: Box::new([(u64::MAX, 0, 0); CACHED]),
            tcp: crate::tcp_engine::Engine::default(),
            multicast: Multicast::default(),
            last_port: 32767,
        };
        // lo0 has no stream: 127.0.0.1 is looped back inside.
        s.ills.push(Some(Ill::loopback()));
        s.add_interface_routes(0, 0);
        s
    }
}

/// The route to an address that is not remembered; it is from now on.
#[cold]
fn look_up(ires: &IreTable, slot: &mut (u64, u32, IreId), dst: u32) -> IreId {
    let id = ires.lookup(dst).unwrap_or(NO_IRE);
    *slot = (ires.generation(), dst, id);
    id
}

impl Stack {
    /// A stack that draws TCP's initial sequence numbers and IGMP's delays from this.
    pub fn seeded(seed: u64) -> Stack {
        Stack {
            tcp: crate::tcp_engine::Engine::seeded(seed),
            multicast: Multicast::seeded(seed),
            ..Stack::default()
        }
    }

    /// The route to an address; the answer is remembered (Solaris's IRE_CACHE), that there is
    /// none as well: sources are asked for too.
    #[inline]
    pub fn route(&mut self, dst: u32) -> Option<IreId> {
        let generation = self.ires.generation();
        let slot = &mut self.cache[((dst ^ (dst >> 7) ^ (dst >> 16)) as usize) % CACHED];
        let id = if slot.0 == generation && slot.1 == dst {
            slot.2
        } else {
            look_up(&self.ires, slot, dst)
        };
        (id != NO_IRE).then_some(id)
    }

    /// An interface by index.
    #[inline]
    pub fn ill(&self, at: u32) -> Option<&Ill> {
        self.ills.get(at as usize)?.as_ref()
    }

    /// An interface by index, to be changed.
    #[inline]
    pub fn ill_mut(&mut self, at: u32) -> Option<&mut Ill> {
        self.ills.get_mut(at as usize)?.as_mut()
    }

    /// An interface by name.
    pub fn ill_named(&self, name: &str) -> Option<u32> {
        self.ills
            .iter()
            .position(|i| i.as_ref().is_some_and(|i| i.name == name))
            .map(|i| i as u32)
    }

    /// Makes room for an interface.
    pub fn add_ill(&mut self, ill: Ill) -> u32 {
        match self.ills.iter().position(Option::is_none) {
            Some(i) => {
                self.ills[i] = Some(ill);
                i as u32
            }
            None => {
                self.ills.push(Some(ill));
                self.ills.len() as u32 - 1
            }
        }
    }

    /// The next identification of a datagram that this host sends.
    #[inline]
    pub fn next_ident(&mut self) -> u16 {
        self.ident = self.ident.wrapping_add(1);
        self.ident
    }

    /// One of our own addresses?
    #[inline]
    pub fn is_local(&mut self, addr: u32) -> bool {
        self.route(addr)
            .is_some_and(|id| matches!(self.ires.get(id).kind, IreKind::Local | IreKind::Loopback))
    }
}
