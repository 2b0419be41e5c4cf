//! Neighbours: the link headers of hosts on our links, and what waits for those not known.
//!
//! ```text
//!   unresolved ── reply ──► resolved ── 20 minutes of silence ──► forgotten
//!     │ waiting: 8 datagrams      │ header: goes in front of each datagram
//!     └── 5 questions, no answer ─┴─► forgotten
//! ```
//!
//! Strangers decide what is in here: who scans our net makes unresolved neighbours, who
//! asks for us under many names makes resolved ones. Each kind has a bound of its own, so
//! that a scan from afar can't push out the neighbours that there are; of too many
//! resolved ones the first to come goes.
//!
//! Invariant: what waits, waits for an unresolved neighbour; the counts agree with the map.
//!
//! Spec: RFC 1122 2.3.2 (a cache with expiry, a queue of at least one datagram for each),
//! RFC 6583 (what scans do), the reference's ip-tpi 7 and 8.3.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use streams::Msg;

/// Datagrams that wait for one neighbour.
pub const WAITING: usize = 8;
/// Datagrams that wait in all.
pub const WAITING_IN_ALL: usize = 512;
/// Unresolved neighbours.
pub const UNRESOLVED: usize = 1024;
/// Resolved neighbours, those set by hand not counted.
pub const RESOLVED: usize = 3072;
/// A question is repeated at most once in this time.
pub const AGAIN: Duration = Duration::from_secs(1);
/// Questions without an answer before what waits is given up.
pub const TRIES: u8 = 5;

/// An interface and an address on its link.
pub type Key = (u32, u32);

/// A link header, short enough to be kept in its place.
pub type LinkHeader = SmallVec<[u8; 16]>;

/// A neighbour on a broadcast link.
#[derive(Default)]
pub struct Neighbour {
    header: Option<LinkHeader>,
    mac: Option<[u8; 6]>,
    waiting: VecDeque<Msg>,
    since: Duration,
    tries: u8,
    /// The provider has been asked for its link header.
    probed: bool,
    /// Set by hand (SIOCSARP).
    pub permanent: bool,
    /// We answer for it (proxy ARP).
    pub published: bool,
}

impl Neighbour {
    /// Its link address, once it is known.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// One that is set by hand.
    pub fn by_hand(mac: [u8; 6], permanent: bool, published: bool, now: Duration) -> Neighbour {
        Neighbour {
            mac: Some(mac),
            since: now,
            permanent,
            published,
            ..Neighbour::default()
        }
    }

    /// Its link header is to be asked for: said once for each link address, for a provider
    /// without a fast path refuses.
    fn probe(&mut self) -> bool {
        let now = !self.probed && self.header.is_none();
        self.probed |= now;
        now
    }

    fn kept(&self) -> bool {
        self.permanent || self.published
    }
}

/// What to do about a datagram for an unresolved neighbour.
#[derive(Debug)]
pub struct Waits {
    /// Ask for it on the link.
    pub ask: bool,
    /// A datagram that had no room, and why.
    pub dropped: Option<(Msg, &'static str)>,
}

/// All neighbours of all links.
#[derive(Default)]
pub struct Neighbours {
    map: FxHashMap<Key, Neighbour>,
    /// Resolved ones in the order in which they came; some are gone.
    order: VecDeque<Key>,
    unresolved: usize,
    by_hand: usize,
    waiting: usize,
}

impl Neighbours {
    /// The link header of a neighbour.
    #[inline]
    pub fn header(&self, at: Key) -> Option<&[u8]> {
        self.map.get(&at)?.header.as_deref()
    }

    /// A neighbour.
    pub fn get(&self, at: Key) -> Option<&Neighbour> {
        self.map.get(&at)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Neighbour)> {
        self.map.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// A datagram waits until its neighbour is resolved.
    pub fn wait(&mut self, at: Key, mp: Msg, now: Duration) -> Waits {
        let new = !self.map.contains_key(&at);
        let full = if self.map.get(&at).is_some_and(|n| n.mac.is_some()) {
            Some("a resolved neighbour that is waited for") // the caller looks before
        } else if new && self.unresolved >= UNRESOLVED {
            Some("too many neighbours asked for")
        } else if self.waiting >= WAITING_IN_ALL {
            Some("too many wait for ARP")
        } else {
            None
        };
        if let Some(why) = full {
            return Waits {
                ask: false,
                dropped: Some((mp, why)),
            };
        }
        if new {
            self.unresolved += 1;
        }
        let n = self.map.entry(at).or_default();
        let ask = n.tries == 0;
        if ask {
            n.tries = 1;
            n.since = now;
        }
        n.waiting.push_back(mp);
        self.waiting += 1;
        let mut dropped = None;
        if n.waiting.len() > WAITING {
            // RFC 1122 2.3.2.2: the latest are kept.
            dropped = n.waiting.pop_front().map(|m| (m, "too many wait for ARP"));
            self.waiting -= 1;
        }
        self.check();
        Waits { ask, dropped }
    }

    /// A second has passed since a question: ask again? `None`: there is nothing to ask.
    /// `Some(false)`: it has been asked for often enough.
    pub fn again(&mut self, at: Key, now: Duration) -> Option<bool> {
        let n = self.map.get_mut(&at)?;
        if n.mac.is_some() {
            return None;
        }
        if n.tries >= TRIES {
            return Some(false);
        }
        n.tries += 1;
        n.since = now;
        Some(true)
    }

    /// A neighbour's link address has been heard of. What waited for it; and whether its link
    /// header is to be asked for. A permanent one stays as it is.
    pub fn learn(&mut self, at: Key, mac: [u8; 6], now: Duration) -> (VecDeque<Msg>, bool) {
        let mut waiting = VecDeque::new();
        let resolved = match self.map.get_mut(&at) {
            Some(n) if n.permanent && n.mac != Some(mac) => return (waiting, false),
            Some(n) if n.mac == Some(mac) => {
                n.since = now;
                return (waiting, n.probe());
            }
            Some(n) if n.mac.is_some() => {
                (n.mac, n.header, n.since, n.probed) = (Some(mac), None, now, false);
                return (waiting, n.probe());
            }
            Some(n) => {
                waiting = std::mem::take(&mut n.waiting);
                self.waiting -= waiting.len();
                self.unresolved -= 1;
                n
            }
            None => self.map.entry(at).or_default(),
        };
        (resolved.mac, resolved.since, resolved.tries) = (Some(mac), now, 0);
        let probe = resolved.probe();
        self.order.push_back(at);
        self.bound();
        self.check();
        (waiting, probe)
    }

    /// The link header of everyone with this link address on an interface.
    pub fn set_header(&mut self, ill: u32, mac: [u8; 6], header: &[u8]) {
        let all = self.map.iter_mut().filter(|(k, _)| k.0 == ill);
        for (_, n) in all.filter(|(_, n)| n.mac == Some(mac)) {
            n.header = Some(LinkHeader::from_slice(header));
        }
    }

    /// Puts a neighbour in by hand; what waited for it.
    pub fn put(&mut self, at: Key, n: Neighbour) -> VecDeque<Msg> {
        let waiting = self.remove(at).map(|n| n.waiting).unwrap_or_default();
        if n.kept() {
            self.by_hand += 1;
        } else {
            self.order.push_back(at);
        }
        self.map.insert(at, n);
        self.bound();
        self.check();
        waiting
    }

    /// Removes one; what waited for it is in [`Removed::waiting`].
    pub fn remove(&mut self, at: Key) -> Option<Removed> {
        let n = self.map.remove(&at)?;
        if n.kept() {
            self.by_hand -= 1;
        } else if n.mac.is_none() {
            self.unresolved -= 1;
        }
        self.waiting -= n.waiting.len();
        Some(Removed { waiting: n.waiting })
    }

    /// Removes those of an interface to which `pred` agrees; what waited for them.
    pub fn remove_where(&mut self, ill: u32, pred: impl Fn(&Neighbour) -> bool) -> Vec<Msg> {
        let gone = self.map.iter().filter(|(k, n)| k.0 == ill && pred(n));
        let gone: Vec<Key> = gone.map(|(k, _)| *k).collect();
        let waiting = gone.into_iter().filter_map(|k| self.remove(k));
        let waiting = waiting.flat_map(|r| r.waiting).collect();
        self.check();
        waiting
    }

    /// Are there some on an interface that silence will remove?
    pub fn sweepable(&self, ill: u32) -> bool {
        let one = |(k, n): (&Key, &Neighbour)| k.0 == ill && !n.kept() && n.mac.is_some();
        self.map.iter().any(one)
    }

    /// The provider has forgotten the fast path: the link headers are asked for anew.
    pub fn forget_headers(&mut self, ill: u32) {
        for (_, n) in self.map.iter_mut().filter(|(k, _)| k.0 == ill) {
            (n.header, n.probed) = (None, false);
        }
    }

    /// Forgets the neighbours of an interface that were not heard of since `before`.
    pub fn sweep(&mut self, ill: u32, before: Duration) {
        self.remove_where(ill, |n| !n.kept() && n.mac.is_some() && n.since < before);
    }

    /// Too many: the first to come goes.
    fn bound(&mut self) {
        while self.map.len() - self.unresolved - self.by_hand > RESOLVED {
            let Some(at) = self.order.pop_front() else {
                return;
            };
            let resolved = |n: &Neighbour| n.mac.is_some() && !n.kept();
            if self.map.get(&at).is_some_and(resolved) {
                self.remove(at);
            }
        }
        if self.order.len() > 2 * RESOLVED {
            let map = &self.map;
            self.order.retain(|k| map.contains_key(k));
        }
    }

    fn check(&self) {
        if cfg!(debug_assertions) && self.map.len() < 64 {
            let count = |f: fn(&Neighbour) -> bool| self.map.values().filter(|n| f(n)).count();
            assert_eq!(self.unresolved, count(|n| n.mac.is_none()));
            assert_eq!(self.by_hand, count(Neighbour::kept));
            let waiting: usize = self.map.values().map(|n| n.waiting.len()).sum();
            assert_eq!(self.waiting, waiting);
            assert!(
                self.map
                    .values()
                    .all(|n| n.mac.is_none() || n.waiting.is_empty())
            );
        }
    }
}

/// A neighbour that was removed.
#[derive(Debug)]
pub struct Removed {
    /// What waited for it.
    pub waiting: VecDeque<Msg>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const M: [u8; 6] = [8, 0, 0x20, 0, 0, 1];

    fn one() -> Msg {
        Msg::data(&[1])
    }

    #[test]
    fn what_waits_goes_out_when_the_answer_comes() {
        // RFC 1122 2.3.2.2
        let mut n = Neighbours::default();
        assert!(n.wait((1, 9), one(), S(0)).ask);
        assert!(!n.wait((1, 9), one(), S(0)).ask); // 2.3.2.1: one question a second
        assert_eq!(n.header((1, 9)), None);
        let (waiting, new) = n.learn((1, 9), M, S(1));
        assert_eq!((waiting.len(), new), (2, true));
        assert!(!n.learn((1, 9), M, S(1)).1, "asked for once only");
        n.set_header(1, M, &[7; 14]);
        assert_eq!(n.header((1, 9)), Some(&[7; 14][..]));
        assert!(!n.learn((1, 9), M, S(2)).1, "nothing new");
        // it has moved: the old header is of no use
        assert!(n.learn((1, 9), [9; 6], S(2)).1);
        assert_eq!(n.header((1, 9)), None);
    }

    #[test]
    fn five_questions_then_no_more() {
        let mut n = Neighbours::default();
        n.wait((1, 9), one(), S(0));
        let asked = (1..9).take_while(|t| n.again((1, 9), S(*t)) == Some(true));
        assert_eq!(asked.count(), 4);
        assert_eq!(n.remove((1, 9)).map(|r| r.waiting.len()), Some(1));
        assert_eq!(n.again((1, 9), S(9)), None);
        assert!(n.is_empty());
    }

    #[test]
    fn a_scan_pushes_nobody_out() {
        // RFC 6583: unresolved ones are bounded by themselves
        let mut n = Neighbours::default();
        n.learn((1, 1), M, S(0));
        let mut dropped = 0;
        for a in 2..100_000 {
            dropped += usize::from(n.wait((1, a), one(), S(0)).dropped.is_some());
        }
        assert_eq!(dropped, 99_998 - WAITING_IN_ALL);
        assert!(n.len() <= UNRESOLVED + 1 && n.get((1, 1)).is_some());
        // .. and neither do those who ask under many names those set by hand
        n.put((1, 2), Neighbour::by_hand(M, true, false, S(0)));
        for a in 200_000..300_000 {
            n.learn((1, a), M, S(0));
        }
        assert!(n.len() <= UNRESOLVED + RESOLVED + 1 && n.get((1, 2)).is_some());
        assert!(n.order.len() <= 2 * RESOLVED + 1);
    }

    #[test]
    fn the_ninth_pushes_the_first_out() {
        let mut n = Neighbours::default();
        for i in 0..=WAITING {
            let w = n.wait((1, 9), Msg::data(&[i as u8]), S(0));
            let first = w.dropped.map(|d| d.0.rd()[0]);
            assert_eq!(first, (i == WAITING).then_some(0));
        }
    }

    #[test]
    fn silence_is_forgotten_but_not_what_is_set_by_hand() {
        // ip_ire_arp_interval, ip-tpi.md 8.3
        let mut n = Neighbours::default();
        n.learn((1, 1), M, S(0));
        n.learn((1, 2), M, S(100));
        n.learn((2, 1), M, S(0));
        n.put((1, 3), Neighbour::by_hand(M, false, true, S(0)));
        n.sweep(1, S(50));
        let mut left: Vec<Key> = n.iter().map(|(k, _)| *k).collect();
        left.sort_unstable();
        assert_eq!(left, [(1, 2), (1, 3), (2, 1)]);
        assert!(!n.learn((1, 9), M, S(0)).0.iter().any(|_| true));
    }

    proptest! {
        /// In any order the counts agree with the map (`check`).
        #[test]
        fn the_books_are_right(steps in prop::collection::vec((0..8u8, 0..6u32), 0..200)) {
            let mut n = Neighbours::default();
            for (i, (what, a)) in steps.into_iter().enumerate() {
                let (at, now) = ((1, a), S(i as u64));
                match what {
                    0 | 1 => drop(n.wait(at, one(), now)),
                    2 => drop(n.learn(at, [a as u8; 6], now)),
                    3 => drop(n.put(at, Neighbour::by_hand(M, a % 2 == 0, a % 3 == 0, now))),
                    4 => drop(n.remove(at)),
                    5 => n.sweep(1, now - S(3).min(now)),
                    6 => drop(n.again(at, now)),
                    _ => drop(n.remove_where(1, |n| n.mac().is_none())),
                }
                n.check();
            }
        }
    }
}
