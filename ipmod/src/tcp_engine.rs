//! The TCP engine of one IP: smoltcp's, between what IP delivers and what IP sends.
//!
//! ```text
//!   deliver.rs ─► rx ─► smoltcp Interface::poll ─► tx ─► output.rs
//!                          │ sockets of the streams in tcp.rs
//! ```
//!
//! Spec: RFC 793, RFC 1122 4.2, as smoltcp has them; RST to ports nobody has included.
//! Differs: segments are cut for an MTU of 1500, and sent without DF: IP fragments them.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use streams::QRef;

/// Bytes that a socket holds each way.
const BUFFER: usize = 32768;

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
        c.max_transmission_unit = 1500;
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
    pub addr: u32,
    pub port: u16,
    /// Its connection.
    pub sock: Option<SocketHandle>,
    /// Sockets that listen for it, CONIND_number of them.
    pub listening: Vec<SocketHandle>,
    /// Connections indicated and not yet accepted, by SEQ_number.
    pub pending: Vec<(u32, SocketHandle)>,
}

/// All TCP of one IP.
pub(crate) struct Engine {
    iface: Interface,
    pub sockets: SocketSet<'static>,
    pub phy: Phy,
    pub conns: Vec<Conn>,
    /// Sockets whose stream has closed and that have yet to say goodbye.
    pub orphans: Vec<SocketHandle>,
    /// The engine runs: what arrives meanwhile waits in `phy.rx`.
    pub busy: bool,
    /// When the timer that is set will come.
    pub armed: Option<Duration>,
    pub next_seq: u32,
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(now.as_micros() as i64)
}

impl Default for Engine {
    fn default() -> Engine {
        let mut phy = Phy::default();
        let config = Config::new(HardwareAddress::Ip);
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
        }
    }
}

impl Engine {
    /// A fresh socket.
    pub fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// A fresh socket that listens; address 0 for any.
    pub fn listen(&mut self, addr: u32, port: u16) -> SocketHandle {
        let h = self.socket();
        let addr = (addr != 0).then(|| IpAddress::Ipv4(addr.into()));
        let at = smoltcp::wire::IpListenEndpoint { addr, port };
        let _ = self.tcp(h).listen(at); // fresh, port not 0
        h
    }

    /// A socket that connects; `None` if it can't.
    pub fn connect(&mut self, from: (u32, u16), to: (u32, u16)) -> Option<SocketHandle> {
        let h = self.socket();
        let end = |(a, p): (u32, u16)| (IpAddress::Ipv4(a.into()), p);
        let s = self.sockets.get_mut::<tcp::Socket<'_>>(h);
        if s.connect(self.iface.context(), end(to), end(from)).is_err() {
            self.sockets.remove(h);
            return None;
        }
        Some(h)
    }

    pub fn tcp(&mut self, h: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(h)
    }

    /// Lets the engine work.
    pub fn poll(&mut self, now: Duration) {
        self.iface
            .poll(instant(now), &mut self.phy, &mut self.sockets);
        let sockets = &mut self.sockets;
        self.orphans.retain(|h| {
            let open = sockets.get::<tcp::Socket<'_>>(*h).is_open();
            if !open {
                sockets.remove(*h);
            }
            open
        });
    }

    /// How long until it must work again.
    pub fn delay(&mut self, now: Duration) -> Option<Duration> {
        let d = self.iface.poll_delay(instant(now), &self.sockets)?;
        Some(Duration::from_micros(d.total_micros().max(1000)))
    }
}
