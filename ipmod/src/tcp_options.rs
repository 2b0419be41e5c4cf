//! The options of a /dev/tcp stream; tpi_options.rs reads the requests.
//!
//! Spec: tcp(7P), sys/socket.h, netinet/tcp.h; RFC 1122 4.2.3.5 (when a connection is given
//! up), 4.2.3.6 (keep-alives).
//! Kept: SO_LINGER with no time resets the connection at close. Differs: with a time, close does
//! not wait; what is written goes out behind it, as without the option.
//! Absent: SO_OOBINLINE, the notification thresholds; buffers can't be sized.

use std::time::Duration;

use smoltcp::socket::tcp::Socket;

use crate::tcp_engine::BUFFER;
use crate::tpi_options::{self, Refused};
pub use crate::tpi_options::{IP_TOS, IP_TTL, IPPROTO_IP, SOL_SOCKET};

/// Level of TCP's own options.
pub const IPPROTO_TCP: u32 = 6;
/// Small segments are not held back (Nagle).
pub const TCP_NODELAY: u32 = 1;
/// The largest segment that is sent; it only tells.
pub const TCP_MAXSEG: u32 = 2;
/// Milliseconds after which a connection whose peer is silent is given up.
pub const TCP_ABORT_THRESHOLD: u32 = 0x11;
/// The same while it is being made.
pub const TCP_CONN_ABORT_THRESHOLD: u32 = 0x13;
/// A silent peer is asked whether it is there.
pub const SO_KEEPALIVE: u32 = 8;
/// struct linger: whether, and how many seconds, a close waits for what is written.
pub const SO_LINGER: u32 = 0x80;
/// Bytes of the send buffer; it only tells.
pub const SO_SNDBUF: u32 = 0x1001;
/// Bytes of the receive buffer; it only tells.
pub const SO_RCVBUF: u32 = 0x1002;
/// SOCK_STREAM.
pub const SO_TYPE: u32 = 0x1008;

/// `tcp_keepalive_interval`.
const KEEPALIVE: Duration = Duration::from_secs(7200);
/// RFC 1122 4.2.2.6: what a peer takes that says nothing.
const DEFAULT_MSS: u32 = 536;

/// The options of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// TCP_NODELAY.
    pub nodelay: bool,
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// SO_LINGER: l_onoff, l_linger.
    pub linger: (bool, u32),
    /// IP_TTL.
    pub ttl: u8,
    /// IP_TOS (RFC 1122 4.2.4.2).
    pub tos: u8,
    /// TCP_ABORT_THRESHOLD, ms.
    pub abort: u32,
    /// TCP_CONN_ABORT_THRESHOLD, ms.
    pub conn_abort: u32,
    /// TCP_MAXSEG, of the connection that there is.
    pub maxseg: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodelay: false,
            keepalive: false,
            linger: (false, 0),
            ttl: 64,
            tos: 0,
            abort: 480_000,      // tcp_ip_abort_interval
            conn_abort: 180_000, // tcp_ip_abort_cinterval
            maxseg: DEFAULT_MSS,
        }
    }
}

impl Options {
    /// Tells a socket.
    pub(crate) fn apply(&self, s: &mut Socket<'_>) {
        s.set_nagle_enabled(!self.nodelay);
        s.set_hop_limit(Some(self.ttl));
        s.set_keep_alive(self.keepalive.then_some(KEEPALIVE.into()));
    }

    /// A close resets the connection.
    pub(crate) fn aborts(&self) -> bool {
        self.linger == (true, 0)
    }

    /// How long a peer may say nothing: `waiting` for an answer of it, or not.
    pub(crate) fn patience(&self, making: bool, waiting: bool) -> Option<Duration> {
        let abort = Duration::from_millis(self.abort.into());
        match (making, waiting) {
            (true, _) => Some(Duration::from_millis(self.conn_abort.into())),
            (_, true) => Some(abort),
            (_, false) => self.keepalive.then_some(KEEPALIVE + abort),
        }
    }
}

impl tpi_options::Options for Options {
    const ALL: &'static [(u32, u32)] = &[
        (SOL_SOCKET, SO_KEEPALIVE),
        (SOL_SOCKET, SO_LINGER),
        (SOL_SOCKET, SO_SNDBUF),
        (SOL_SOCKET, SO_RCVBUF),
        (SOL_SOCKET, SO_TYPE),
        (IPPROTO_TCP, TCP_NODELAY),
        (IPPROTO_TCP, TCP_MAXSEG),
        (IPPROTO_TCP, TCP_ABORT_THRESHOLD),
        (IPPROTO_TCP, TCP_CONN_ABORT_THRESHOLD),
        (IPPROTO_IP, IP_TTL),
        (IPPROTO_IP, IP_TOS),
    ];

    fn get(&self, level: u32, name: u32) -> Option<u32> {
        Some(match (level, name) {
            (SOL_SOCKET, SO_KEEPALIVE) => self.keepalive.into(),
            (SOL_SOCKET, SO_LINGER) => self.linger.0.into(),
            (SOL_SOCKET, SO_SNDBUF | SO_RCVBUF) => BUFFER as u32,
            (SOL_SOCKET, SO_TYPE) => 2, // SOCK_STREAM of Solaris
            (IPPROTO_TCP, TCP_NODELAY) => self.nodelay.into(),
            (IPPROTO_TCP, TCP_MAXSEG) => self.maxseg,
            (IPPROTO_TCP, TCP_ABORT_THRESHOLD) => self.abort,
            (IPPROTO_TCP, TCP_CONN_ABORT_THRESHOLD) => self.conn_abort,
            (IPPROTO_IP, IP_TTL) => self.ttl.into(),
            (IPPROTO_IP, IP_TOS) => self.tos.into(),
            _ => return None,
        })
    }

    fn set(&mut self, level: u32, name: u32, value: u32) -> Result<(), Refused> {
        match (level, name) {
            (SOL_SOCKET, SO_KEEPALIVE) => self.keepalive = value != 0,
            (SOL_SOCKET, SO_SNDBUF | SO_RCVBUF | SO_TYPE) | (IPPROTO_TCP, TCP_MAXSEG) => {
                return Err(Refused::ReadOnly);
            }
            (IPPROTO_TCP, TCP_NODELAY) => self.nodelay = value != 0,
            (IPPROTO_TCP, TCP_ABORT_THRESHOLD) if value > 0 => self.abort = value,
            (IPPROTO_TCP, TCP_CONN_ABORT_THRESHOLD) if value > 0 => self.conn_abort = value,
            (IPPROTO_IP, IP_TTL) if (1..256).contains(&value) => self.ttl = value as u8,
            (IPPROTO_IP, IP_TOS) if value < 256 => self.tos = value as u8,
            _ if self.get(level, name).is_some() => return Err(Refused::Value),
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    fn second(&self, level: u32, name: u32) -> Option<u32> {
        ((level, name) == (SOL_SOCKET, SO_LINGER)).then_some(self.linger.1)
    }

    fn set_two(&mut self, level: u32, name: u32, value: [u32; 2]) -> Result<(), Refused> {
        match (level, name) {
            (SOL_SOCKET, SO_LINGER) => self.linger = (value[0] != 0, value[1]),
            _ => return Err(Refused::Unknown),
        }
        Ok(())
    }

    fn fresh(&self) -> Options {
        Options::default()
    }
}
