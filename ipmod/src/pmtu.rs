//! Path MTUs: how much goes to a destination in one piece, as routers on the way have said.
//!
//! ```text
//!   icmp_in.rs ─ 3/4 about a datagram of ours ─► learn ─► output.rs: the smaller MTU counts
//!                                                  └─ ten minutes later: forgotten
//! ```
//!
//! Spec:    RFC 1191, icmp_inbound_too_big, the reference's ip-tpi 2.2 and tunnel-rfcs 6.
//! Kept:    the plateaus of Solaris; never below 68, never up; ip_ire_pathmtu_interval.
//! Differs: DF is the sender's alone. Solaris sets it on what a route with path MTU discovery
//!          carries; here a tunnel or a transport says so itself.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::ill::IP_MIN_MTU;

/// What a router that says no MTU may have meant (Solaris's form of RFC 1191's table 7-1).
const PLATEAUS: [u32; 10] = [32000, 17914, 8166, 4352, 2002, 1496, 1006, 508, 296, 68];
/// Destinations remembered.
const MOST: usize = 1024;

/// The path MTUs of a host.
pub struct PathMtus {
    map: FxHashMap<u32, (u32, Duration)>,
    /// `ip_path_mtu_discovery`.
    pub discovery: bool,
    /// How long one is remembered (`ip_ire_pathmtu_interval`).
    pub interval: Duration,
}

impl Default for PathMtus {
    fn default() -> PathMtus {
        PathMtus {
            map: FxHashMap::default(),
            discovery: true,
            interval: Duration::from_secs(600),
        }
    }
}

impl PathMtus {
    /// A router could not pass on `offending` bytes to `dst` and says `hint`, or 0. True if
    /// something was learned.
    pub fn learn(&mut self, dst: u32, hint: u32, offending: u32, now: Duration) -> bool {
        let below = |n: u32| PLATEAUS.iter().copied().find(|p| *p < n);
        let mtu = match hint {
            n if n >= IP_MIN_MTU => n,
            _ => below(offending).unwrap_or(IP_MIN_MTU),
        };
        // RFC 1191 3: a host must not increase its estimate for such a message.
        if !self.discovery || mtu >= offending || mtu >= self.get(dst, now) {
            return false;
        }
        if self.map.len() >= MOST && !self.map.contains_key(&dst) {
            let interval = self.interval;
            self.map.retain(|_, m| now < m.1 + interval);
            if self.map.len() >= MOST {
                return false;
            }
        }
        self.map.insert(dst, (mtu, now));
        true
    }

    /// Nothing is known of any destination.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// What goes to `dst`; `u32::MAX` if nobody has said.
    pub fn get(&self, dst: u32, now: Duration) -> u32 {
        match self.map.get(&dst) {
            Some((mtu, since)) if now < *since + self.interval => *mtu,
            _ => u32::MAX,
        }
    }

    /// How many destinations are remembered.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Destination, MTU and when it was learned, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, Duration)> {
        self.map.iter().map(|(d, (m, t))| (*d, *m, *t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn what_is_learned_from_a_router() {
        // ip-tpi.md 2.2: (hint, offending length), the MTU then
        for (hint, offending, want) in [
            (1400, 1500, 1400),
            (68, 1500, 68),
            (67, 1500, 1496),
            (0, 1500, 1496),
            (0, 1496, 1006),
            (0, 65535, 32000),
            (0, 100, 68),
            (0, 68, u32::MAX),
            (1500, 1500, u32::MAX),
            (9000, 1500, u32::MAX),
        ] {
            let mut p = PathMtus::default();
            p.learn(1, hint, offending, S(0));
            assert_eq!(p.get(1, S(0)), want, "{hint} of {offending}");
        }
    }

    #[test]
    fn it_goes_down_only_and_is_forgotten_after_ten_minutes() {
        // RFC 1191 3 and 6.3; ip_ire_pathmtu_interval
        let mut p = PathMtus::default();
        assert!(p.learn(1, 1400, 1500, S(0)));
        assert!(!p.learn(1, 1450, 1500, S(1)));
        assert!(p.learn(1, 1000, 1400, S(2)));
        assert_eq!((p.get(1, S(601)), p.get(1, S(602))), (1000, u32::MAX));
        assert!(p.learn(1, 1450, 1500, S(700)));
        p.discovery = false;
        assert!(!p.learn(1, 576, 1500, S(700)));
    }

    #[test]
    fn strangers_cannot_fill_it_for_ever() {
        let mut p = PathMtus::default();
        for d in 0..100_000 {
            p.learn(d, 576, 1500, S(0));
        }
        assert_eq!(p.len(), MOST);
        assert!(!p.learn(1 << 20, 576, 1500, S(1)));
        assert!(p.learn(1 << 20, 576, 1500, S(600)));
        assert_eq!(p.len(), 1);
    }
}
