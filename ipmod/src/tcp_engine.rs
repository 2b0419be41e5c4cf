//! The TCP engine of one IP: smoltcp's, between what IP delivers and what IP sends.
//!
//! ```text
//!   deliver.rs ─► rx ─► smoltcp Interface::poll ─► tx ─► output.rs
//!                          │ sockets of the streams in tcp.rs
//! ```
//!
//! Spec: RFC 793, RFC 1122 4.2, RFC 5681 (Reno), as smoltcp has them; RST to ports nobody has
//! included.
//! Kept: segments fit the MTU of the route to the peer, as it is when the connection is
//! made (tcp_news.rs writes it into the SYNs of both sides).
//! Differs: the engine's segments keep their size when the path becomes narrow; tcp_segment.rs
//! cuts them. Initial sequence numbers are drawn one after the other from the kernel's random seed: other
//! ones in each run, under a clock set by hand the same. RFC 6528 wants a hash of the ends and a
//! secret instead; the library has its generator inside.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpEndpoint, Ipv4Address};
use streams::{Errno, QRef, TimeoutId};

use crate::mib::TcpMib;
use crate::tcp_options::Options;
use crate::tpi::state;

/// How long a connection whose stream has closed may take to end
/// (`tcp_fin_wait_2_flush_interval`).
const PARTING: Duration = Duration::from_secs(675);
/// Bytes that a socket holds each way.
pub(crate) const BUFFER: usize = 32768;

/// An address and a port.
pub(crate) type End = (u32, u16);

/// Segments on their way in and out, each with its IP header.
#[derive(Default)]
pub(crate) struct Phy {
    pub rx: VecDeque<Vec<u8>>,
    pub tx: VecDeque<Vec<u8>>,
}

pub(crate) struct Rx(Vec<u8>);
pub(crate) struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut b = vec![0; len];
        let r = f(&mut b);
        self.0.push_back(b);
        r
    }
}

impl Device for Phy {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;
    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.rx.pop_front()?), Tx(&mut self.tx)))
    }
    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tx))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut c = DeviceCapabilities::default();
        c.medium = Medium::Ip;
        c.max_transmission_unit = 65535; // the SYNs say how much it really is
        c
    }
}

/// A /dev/tcp stream as the engine knows it.
pub(crate) struct Conn {
    /// ACCEPTOR_id.
    pub id: u32,
    /// Its read queue.
    pub rq: QRef,
    /// TPI's state.
    pub state: u32,
    /// What it is bound to.
    pub bound: End,
    /// CONIND_number.
    pub qlen: usize,
    pub options: Options,
    /// Its connection.
    pub sock: Option<SocketHandle>,
    /// Both ends of it.
    pub ends: Option<(End, End)>,
    /// What was heard of it that will have been the reason if it ends.
    pub why: Option<Errno>,
    /// The peer has released it.
    pub fin: bool,
    /// When the peer was heard last, or the stream began to wait for it.
    pub heard: Duration,
    /// An answer of the peer is due.
    waiting: bool,
    /// Sockets that listen for it.
    pub listening: Vec<SocketHandle>,
    /// Connections indicated and not yet accepted, by SEQ_number.
    pub pending: Vec<(u32, SocketHandle)>,
}

impl Conn {
    pub fn new(id: u32, rq: QRef) -> Conn {
        Conn {
            id,
            rq,
            state: state::UNBND,
            bound: (0, 0),
            qlen: 0,
            options: Options::default(),
            sock: None,
            ends: None,
            why: None,
            fin: false,
            heard: Duration::ZERO,
            waiting: false,
            listening: Vec::new(),
            pending: Vec::new(),
        }
    }
}

impl Conn {
    /// When it is given up if its peer says nothing.
    fn deadline(&self) -> Option<Duration> {
        let open = !matches!(self.state, state::UNBND | state::IDLE);
        let making = self.state == state::WCON_CREQ;
        let patience = self.options.patience(making, self.waiting);
        self.sock.filter(|_| open)?;
        Some(self.heard + patience?)
    }
}

/// All TCP of one IP.
pub(crate) struct Engine {
    iface: Interface,
    pub sockets: SocketSet<'static>,
    pub phy: Phy,
    pub conns: Vec<Conn>,
    /// Sockets whose stream has closed and that have yet to say goodbye; until when, if that
    /// is known yet.
    orphans: Vec<(SocketHandle, Option<Duration>)>,
    /// The engine runs: what arrives meanwhile waits in `phy.rx`.
    pub busy: bool,
    /// The timer that is set: when it comes, and on which queue.
    pub armed: Option<(Duration, QRef, TimeoutId)>,
    pub next_seq: u32,
    /// The last SYNs for listeners: whose, to whom, and the largest segment for them.
    syns: VecDeque<(End, End, u16)>,
    /// Last anonymous port given.
    pub last_port: u16,
    /// Counters.
    pub mib: TcpMib,
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(now.as_micros() as i64)
}

/// An end as a pair.
pub(crate) fn end(e: IpEndpoint) -> End {
    let IpAddress::Ipv4(a) = e.addr;
    (a.into(), e.port)
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::seeded(0)
    }
}

impl Engine {
    /// Without connections; `seed` is what initial sequence numbers are drawn from.
    pub fn seeded(seed: u64) -> Engine {
        let mut phy = Phy::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut phy, Instant::ZERO);
        // IP has judged already which addresses are ours: any is taken here (192.0.0.8 is
        // the dummy address of RFC 7600, never sent).
        let dummy = Ipv4Address::new(192, 0, 0, 8);
        iface.set_any_ip(true);
        iface.update_ip_addrs(|a| {
            let _ = a.push(IpCidr::new(IpAddress::Ipv4(dummy), 32)); // empty: has room
        });
        let _ = iface.routes_mut().add_default_ipv4_route(dummy);
        Engine {
            iface,
            sockets: SocketSet::new(Vec::new()),
            phy,
            conns: Vec::new(),
            orphans: Vec::new(),
            busy: false,
            armed: None,
            next_seq: 1,
            syns: VecDeque::new(),
            last_port: 32767,
            mib: TcpMib::default(),
        }
    }
}

impl Engine {
    fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut s = tcp::Socket::new(buffer(), buffer());
        s.set_congestion_control(tcp::CongestionControl::Reno); // RFC 1122 4.2.2.15
        self.sockets.add(s)
    }

    /// As many sockets listen as a stream may have connections that it has not answered; none
    /// while it has one itself.
    pub fn listen(&mut self, i: usize) {
        let c = &self.conns[i];
        let want = match c.sock {
            None => c.qlen.saturating_sub(c.pending.len()),
            Some(_) => 0,
        };
        let ((addr, port), options) = (c.bound, c.options);
        while self.conns[i].listening.len() < want {
            let h = self.socket();
            let addr = (addr != 0).then(|| IpAddress::Ipv4(addr.into()));
            let at = smoltcp::wire::IpListenEndpoint { addr, port };
            let s = self.tcp(h);
            let _ = s.listen(at); // fresh, port not 0
            options.apply(s);
            // For the handshake alone: it is taken away when that is over.
            let handshake = options.patience(true, true).map(Into::into);
            s.set_timeout(handshake);
            self.conns[i].listening.push(h);
        }
    }

    /// A socket that connects; `None` if it can't.
    pub fn connect(&mut self, from: End, to: End, options: &Options) -> Option<SocketHandle> {
        // RFC 1122 4.2.2.13: what is left of an older connection of the same ends makes way.
        let old = |s: &tcp::Socket<'_>| {
            s.state() == State::TimeWait
                && s.local_endpoint().map(end) == Some(from)
                && s.remote_endpoint().map(end) == Some(to)
        };
        let sockets = &mut self.sockets;
        self.orphans.retain(|(h, _)| {
            let gone = old(sockets.get(*h));
            if gone {
                sockets.remove(*h);
            }
            !gone
        });
        let h = self.socket();
        let point = |(a, p): End| (IpAddress::Ipv4(a.into()), p);
        let s = self.sockets.get_mut::<tcp::Socket<'_>>(h);
        if s.connect(self.iface.context(), point(to), point(from))
            .is_err()
        {
            self.sockets.remove(h);
            return None;
        }
        options.apply(s);
        Some(h)
    }

    /// Is a port in use? One that only a parting connection has is good for a listener.
    pub fn port_is_busy(&self, port: u16, anonymous: bool) -> bool {
        let leaving = |o: &(SocketHandle, _)| {
            let s = self.sockets.get::<tcp::Socket<'_>>(o.0);
            s.local_endpoint().is_some_and(|e| e.port == port)
        };
        self.conns.iter().any(|c| c.bound.1 == port)
            || anonymous && self.orphans.iter().any(leaving)
    }

    /// A port that nobody has: each comes again as late as can be.
    pub fn anonymous_port(&mut self) -> Option<u16> {
        let next = |p: u16| p.checked_add(1).unwrap_or(32768).max(32768);
        let first = next(self.last_port);
        let mut p = first;
        while self.port_is_busy(p, true) {
            p = next(p);
            if p == first {
                return None;
            }
        }
        self.last_port = p;
        Some(p)
    }

    /// Forgets a stream: connections that nobody has accepted are reset, the one that it
    /// has is released in order, or reset if SO_LINGER says so.
    pub fn remove(&mut self, i: usize) {
        let c = self.conns.remove(i);
        self.stop_listening(c.listening);
        for (_, h) in c.pending {
            self.part(h, true);
        }
        if let Some(h) = c.sock {
            self.part(h, c.options.aborts());
        }
    }

    /// A socket that no stream has any more: it is reset, or released in order.
    pub fn part(&mut self, h: SocketHandle, reset: bool) {
        let s = self.tcp(h);
        match reset {
            true => s.abort(),
            false => s.close(),
        }
        s.set_timeout(None);
        self.orphans.push((h, None));
    }

    /// Sockets that listen are no more; those in the handshake are reset.
    pub fn stop_listening(&mut self, sockets: Vec<SocketHandle>) {
        for h in sockets {
            self.part(h, true);
        }
    }

    /// A SYN, and the largest segment that its sender takes.
    pub fn heard_syn(&mut self, own: End, peer: End, mss: u16) {
        if let Some(c) = self.between(own, peer) {
            c.options.maxseg = mss.into();
            return;
        }
        self.syns.truncate(63);
        self.syns.push_front((own, peer, mss));
    }

    /// The largest segment for a connection that a listener has got.
    pub fn mss_between(&self, own: End, peer: End) -> Option<u32> {
        let of = self.syns.iter().find(|s| (s.0, s.1) == (own, peer));
        of.map(|s| s.2.into())
    }

    /// Somebody listens there, and has no room for another connection.
    pub fn queue_is_full(&self, (addr, port): End) -> bool {
        let free =
            |h: &SocketHandle| self.sockets.get::<tcp::Socket<'_>>(*h).state() == State::Listen;
        let mut listeners = self
            .conns
            .iter()
            .filter(|c| c.qlen > 0 && c.bound.1 == port && (c.bound.0 == 0 || c.bound.0 == addr));
        listeners.any(|c| !c.listening.iter().any(free))
    }

    /// Who has the connection with these ends.
    pub fn between(&mut self, own: End, peer: End) -> Option<&mut Conn> {
        let these = Some((own, peer));
        self.conns
            .iter_mut()
            .find(|c| c.ends == these && c.sock.is_some())
    }

    /// The type of service that a connection's stream wants.
    pub fn tos_between(&mut self, own: End, peer: End) -> u8 {
        if self.conns.iter().all(|c| c.options.tos == 0) {
            return 0;
        }
        self.between(own, peer).map_or(0, |c| c.options.tos)
    }

    /// The queues of a timer are going.
    pub fn forget_timer_of(&mut self, queues: &[QRef]) {
        self.armed.take_if(|a| queues.contains(&a.1));
    }

    pub fn tcp(&mut self, h: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(h)
    }

    /// Nobody uses TCP, and nobody has to be told goodbye.
    pub fn is_quiet(&self) -> bool {
        self.conns.is_empty() && self.orphans.is_empty()
    }

    /// Connections that are established, or that only the peer has released (RFC 2012
    /// tcpCurrEstab).
    pub fn established(&self) -> u64 {
        let counts = |s: &&smoltcp::socket::Socket<'_>| {
            let smoltcp::socket::Socket::Tcp(s) = s;
            matches!(s.state(), State::Established | State::CloseWait)
        };
        self.sockets.iter().map(|(_, s)| s).filter(counts).count() as u64
    }

    /// Lets the engine work.
    pub fn poll(&mut self, now: Duration) {
        self.give_up(now);
        self.iface
            .poll(instant(now), &mut self.phy, &mut self.sockets);
        let sockets = &mut self.sockets;
        self.orphans.retain(|(h, _)| {
            let open = sockets.get::<tcp::Socket<'_>>(*h).is_open();
            if !open {
                sockets.remove(*h);
            }
            open
        });
    }

    /// Resets connections whose peer has been silent for too long. The library would count
    /// the time that nobody had anything to say.
    fn give_up(&mut self, now: Duration) {
        for c in &mut self.conns {
            let Some(h) = c.sock else { continue };
            let s = self.sockets.get_mut::<tcp::Socket<'_>>(h);
            let parting = matches!(s.state(), State::FinWait1 | State::Closing | State::LastAck);
            let waiting = c.state == state::WCON_CREQ || parting || s.send_queue() > 0;
            if waiting && !c.waiting {
                c.heard = now;
            }
            c.waiting = waiting;
            if c.deadline().is_some_and(|d| d <= now) {
                s.abort();
            }
        }
        for (h, until) in &mut self.orphans {
            if *until.get_or_insert(now + PARTING) <= now {
                self.sockets.get_mut::<tcp::Socket<'_>>(*h).abort();
            }
        }
    }

    /// How long until it must work again.
    pub fn delay(&mut self, now: Duration) -> Option<Duration> {
        let mine = self.conns.iter().filter_map(Conn::deadline);
        let mine = mine.chain(self.orphans.iter().filter_map(|o| o.1)).min();
        let d = self.iface.poll_delay(instant(now), &self.sockets);
        let d = d.map(|d| Duration::from_micros(d.total_micros()));
        let d = d.into_iter().chain(mine.map(|m| m.saturating_sub(now)));
        d.min().map(|d| d.max(Duration::from_millis(1)))
    }
}
