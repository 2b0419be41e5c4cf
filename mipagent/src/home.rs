//! The home agent: who of its mobile nodes is where.
//!
//! Spec: RFC 5944 3.8 (home agent), 4.6 (proxy and gratuitous ARP), 5.7.1 (timestamps).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipmod::{plumb, tpi};
use streams::{Errno, Sys, oflag};
use vtunl::client::{Binding, Client};

use crate::PORT;
use crate::message::{Key, Reply, Request, S, T};

/// Codes of a reply (3.4).
pub mod code {
    /// Accepted.
    pub const ACCEPTED: u8 = 0;
    /// Reason unspecified.
    pub const UNSPECIFIED: u8 = 128;
    /// Administratively prohibited.
    pub const PROHIBITED: u8 = 129;
    /// The mobile node failed authentication.
    pub const AUTHENTICATION: u8 = 131;
    /// Registration identification mismatch.
    pub const IDENTIFICATION: u8 = 133;
    /// Poorly formed request.
    pub const MALFORMED: u8 = 134;
    /// Too many simultaneous bindings.
    pub const TOO_MANY: u8 = 135;
    /// Unknown home agent address.
    pub const UNKNOWN_AGENT: u8 = 136;
    /// Requested reverse tunnel unavailable (RFC 3024 3.4).
    pub const REVERSE_TUNNEL: u8 = 137;
}

/// How far a timestamp may be from the agent's clock (5.7.1: default 7 seconds).
const APART: u64 = 7;
const HOST: Ipv4Addr = Ipv4Addr::BROADCAST;

struct Mobile {
    key: Key,
    last: u64,
    away: bool,
}

/// A home agent in one emulated system. Its tunnel, ip0, is plumbed already.
pub struct HomeAgent<'a> {
    sys: &'a dyn Sys,
    udp: i32,
    ctl: i32,
    address: Ipv4Addr,
    mac: [u8; 6],
    dummy: Ipv4Addr,
    most: u16,
    mobiles: HashMap<Ipv4Addr, Mobile>,
}

impl<'a> HomeAgent<'a> {
    /// Binds port 434. `address` and `mac` are those of the home link's interface, `dummy`
    /// is ip0's destination, `most` the longest lifetime granted, in seconds.
    ///
    /// # Errors
    /// Those of open(2); EADDRINUSE: the port is taken.
    pub fn new(
        sys: &'a dyn Sys,
        address: Ipv4Addr,
        mac: [u8; 6],
        dummy: Ipv4Addr,
        most: u16,
    ) -> Result<Self, Errno> {
        let udp = sys.open("/dev/udp", oflag::O_RDWR | oflag::O_NONBLOCK)?;
        let req = tpi::bind_req(&tpi::sockaddr_bytes(PORT, 0));
        sys.putmsg(udp, Some(&req), None, false)?;
        let ack = sys.getmsg(udp, 64, 64, false)?.ctl.ok_or(Errno::EPROTO)?;
        if tpi::words(&ack)[0] != tpi::BIND_ACK {
            return Err(Errno::EADDRINUSE);
        }
        let ctl = sys.open("/dev/vtunl", oflag::O_RDWR)?;
        Ok(HomeAgent {
            sys,
            udp,
            ctl,
            address,
            mac,
            dummy,
            most,
            mobiles: HashMap::new(),
        })
    }

    /// A mobile node of ours, by its home address.
    pub fn serve(&mut self, home: Ipv4Addr, key: Key) {
        let (last, away) = (0, false);
        self.mobiles.insert(home, Mobile { key, last, away });
    }

    /// Answers all requests that have come; `now` is the time of day (seconds since 1900
    /// as in NTP, or any clock that the mobile nodes share).
    ///
    /// # Errors
    /// Those of getmsg(2) and putmsg(2).
    pub fn poll(&mut self, now: Duration) -> Result<(), Errno> {
        self.expire();
        loop {
            let got = match self.sys.getmsg(self.udp, 128, 2048, false) {
                Err(Errno::EAGAIN) => return Ok(()),
                r => r?,
            };
            let from = got.ctl.as_deref().and_then(|c| c.get(20..36));
            let (Some(from), Some(data)) = (from, got.data) else {
                continue;
            };
            let Some(reply) = self.answer(&data, now) else {
                continue;
            };
            let to = tpi::unitdata_req(from);
            self.sys.putmsg(self.udp, Some(&to), Some(&reply), false)?;
        }
    }

    /// The reply to a datagram; `None`: it is no request, or of nobody we know a key of.
    fn answer(&mut self, b: &[u8], now: Duration) -> Option<Vec<u8>> {
        let r = Request::parse(b)?;
        let key = self.mobiles.get(&r.home)?.key.clone();
        let (code, lifetime) = match self.judge(b, &r, &key, now) {
            Ok(granted) => (code::ACCEPTED, granted),
            Err(code) => (code, 0),
        };
        // 5.7.1: the low half is the request's; the high half tells our time if it differs.
        let high = match code {
            code::IDENTIFICATION => now.as_secs() << 32,
            _ => r.id & !0xffff_ffff,
        };
        let reply = Reply {
            code,
            lifetime,
            home: r.home,
            agent: self.address,
            id: high | r.id & 0xffff_ffff,
        };
        Some(reply.emit(&key))
    }

    /// 3.8.2: validity in the order of the RFC, then the binding. The lifetime granted.
    fn judge(&mut self, b: &[u8], r: &Request, key: &Key, now: Duration) -> Result<u16, u8> {
        match Request::proven(b, key) {
            None => return Err(code::MALFORMED),
            Some(false) => return Err(code::AUTHENTICATION),
            Some(true) => {}
        }
        let Some(m) = self.mobiles.get_mut(&r.home) else {
            return Err(code::PROHIBITED);
        };
        if r.id <= m.last || (r.id >> 32).abs_diff(now.as_secs()) > APART {
            return Err(code::IDENTIFICATION);
        }
        m.last = r.id;
        if r.agent != self.address {
            return Err(code::UNKNOWN_AGENT);
        }
        if r.flags & T != 0 {
            return Err(code::REVERSE_TUNNEL);
        }
        let done = if r.lifetime == 0 {
            self.deregister(r).map(|()| 0)
        } else {
            self.register(r)
        };
        done.map_err(|e| match e {
            Errno::ENOSPC => code::TOO_MANY,
            Errno::EINVAL => code::MALFORMED,
            Errno::EPERM => code::PROHIBITED,
            _ => code::UNSPECIFIED,
        })
    }

    fn register(&mut self, r: &Request) -> Result<u16, Errno> {
        let granted = r.lifetime.min(self.most);
        let forever = granted == u16::MAX;
        // S, B, D, M and G have vtunl's places already.
        let binding = Binding {
            flags: u16::from(r.flags & (S | 0x78)),
            lifetime: if forever { 0 } else { granted.into() },
            ..Binding::new(r.home, r.care_of)
        };
        Client::new(self.sys, self.ctl).encap_add(&binding)?;
        if self.mobiles.get(&r.home).is_some_and(|m| m.away) {
            return Ok(granted);
        }
        // First the ARP entry: it is on the interface that the address is behind now.
        plumb::arp_set(self.sys, r.home, Some(self.mac), true, true)?;
        plumb::route_add(self.sys, r.home, HOST, self.dummy, 1)?;
        self.away(r.home, true);
        Ok(granted)
    }

    /// 3.8.3.2: one binding, or with the home address for a care-of address all of them.
    fn deregister(&mut self, r: &Request) -> Result<(), Errno> {
        let exit = (r.care_of != r.home).then_some(r.care_of);
        match Client::new(self.sys, self.ctl).encap_rem(r.home, Ipv4Addr::UNSPECIFIED, exit) {
            Ok(()) | Err(Errno::ENXIO) => {}
            Err(e) => return Err(e),
        }
        self.expire();
        Ok(())
    }

    /// Who has no binding left is taken to be at home.
    fn expire(&mut self) {
        let vt = Client::new(self.sys, self.ctl);
        let gone = |(home, m): (&Ipv4Addr, &Mobile)| {
            (m.away && vt.encap_ok(*home) == Ok(false)).then_some(*home)
        };
        let back: Vec<Ipv4Addr> = self.mobiles.iter().filter_map(gone).collect();
        for home in back {
            // Either may have been removed by hand.
            let _ = plumb::route_delete(self.sys, home, HOST, self.dummy);
            let _ = plumb::arp_set(self.sys, home, None, false, false);
            self.away(home, false);
        }
    }

    fn away(&mut self, home: Ipv4Addr, away: bool) {
        if let Some(m) = self.mobiles.get_mut(&home) {
            m.away = away;
        }
    }
}
