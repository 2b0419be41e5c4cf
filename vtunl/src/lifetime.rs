//! Lifetimes of bindings: an event list, and what is told when one ends.
//!
//! ```text
//!   ENCAP_ADD, lifetime 60 ──► [ 12.0 s: MH2▸FA3 | 60.0 s: MH1▸FA2 | ... ]
//!                                    │ one timer, for the first
//!                                    ▼
//!                  binding removed ──► M_PCPROTO to the streams marked by VTUNL_NOTIFY
//! ```
//!
//! Spec: the paper, section 5: "timer management should be based on an event list".
//! Kept: the notification is an M_PCPROTO, so that I_SETSIG with S_HIPRI gives a SIGPOLL.
//! Differs: a stream head holds one M_PCPROTO and frees the next; therefore the messages
//! are numbered, and who finds a gap asks for the table (VTUNL_ENCAP_GETX).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use streams::message::{Msg, MsgType};

use crate::bury::bury;
use crate::prefix_map::Key;

/// Event in a notification: bindings have expired.
pub const VTUNL_EV_EXPIRED: u32 = 1;

/// One target at one exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    /// The target.
    pub key: Key,
    /// The exit's address.
    pub exit: u32,
}

/// The bindings that end, in the order in which they do.
#[derive(Clone, Debug, Default)]
pub struct EventList {
    events: BTreeSet<(Duration, Binding)>,
    /// A tree, too: a hash table would move all when it grows.
    when: BTreeMap<Binding, Duration>,
}

impl EventList {
    /// Bindings that end.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// None ends.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Sets the end of a binding, or takes it away.
    pub fn set(&mut self, b: Binding, end: Option<Duration>) {
        if self.when.is_empty() && end.is_none() {
            return;
        }
        if let Some(old) = self.when.remove(&b) {
            self.events.remove(&(old, b));
        }
        if let Some(end) = end {
            self.when.insert(b, end);
            self.events.insert((end, b));
        }
    }

    /// Forgets all; the memory is given back by and by.
    pub fn clear(&mut self) {
        let entries = self.len();
        bury(std::mem::take(self), entries);
    }

    /// Takes out the bindings of these that have ended.
    pub fn take_due(&mut self, mut of: Vec<Binding>, now: Duration) -> Vec<Binding> {
        of.retain(|b| self.when.get(b).is_some_and(|end| *end <= now));
        of.iter().for_each(|b| self.set(*b, None));
        of
    }

    /// When the first one ends.
    pub fn next(&self) -> Option<Duration> {
        self.events.first().map(|e| e.0)
    }

    /// Takes out one binding that has ended.
    pub fn pop_due(&mut self, now: Duration) -> Option<Binding> {
        if self.next()? > now {
            return None;
        }
        let (_, b) = self.events.pop_first()?;
        self.when.remove(&b);
        Some(b)
    }

    /// Seconds that a binding has left, rounded up; 0: it does not end.
    pub fn remaining(&self, b: Binding, now: Duration) -> u32 {
        match self.when.get(&b) {
            None => 0,
            Some(end) => {
                let left = end.saturating_sub(now).as_millis().div_ceil(1000);
                u32::try_from(left).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// A notification, as it stands in an M_PCPROTO (`struct vtunl_event` in vtunl.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Counts notifications, so that a lost one is noticed.
    pub number: u32,
    /// The bindings that have expired.
    pub expired: Vec<Binding>,
}

impl Notice {
    /// The M_PCPROTO: event, number, count, 0; then target, mask and exit of each.
    pub fn emit(&self) -> Msg {
        let mut b = Vec::with_capacity(16 + 12 * self.expired.len());
        for w in [VTUNL_EV_EXPIRED, self.number, self.expired.len() as u32, 0] {
            b.extend_from_slice(&w.to_ne_bytes());
        }
        for e in &self.expired {
            for w in [e.key.addr, e.key.mask(), e.exit] {
                b.extend_from_slice(&w.to_be_bytes());
            }
        }
        Msg::of(MsgType::PcProto, &b)
    }

    /// Reads what [`Notice::emit`] writes.
    pub fn parse(b: &[u8]) -> Option<Notice> {
        let (words, _) = b.as_chunks::<4>();
        let [event, number, count, _, rest @ ..] = words else {
            return None;
        };
        if u32::from_ne_bytes(*event) != VTUNL_EV_EXPIRED {
            return None;
        }
        let count = u32::from_ne_bytes(*count) as usize;
        let (entries, _) = rest.as_chunks::<3>();
        let of = |e: &[[u8; 4]; 3]| {
            let [addr, mask, exit] = e.map(u32::from_be_bytes);
            Key::masked(addr, mask)
                .ok()
                .map(|key| Binding { key, exit })
        };
        let expired: Option<Vec<Binding>> = entries.get(..count)?.iter().map(of).collect();
        Some(Notice {
            number: u32::from_ne_bytes(*number),
            expired: expired?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(i: u32) -> Binding {
        Binding {
            key: Key::host(i),
            exit: 9,
        }
    }
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn events_come_in_the_order_of_time_and_a_renewal_moves_one() {
        // The paper, section 5.
        let mut l = EventList::default();
        for (i, at) in [(1, 30), (2, 10), (3, 20)] {
            l.set(b(i), Some(S(at)));
        }
        l.set(b(2), Some(S(40))); // ENCAP_ADD again: a new lifetime
        l.set(b(3), None); // ENCAP_REM, or a lifetime of 0
        assert_eq!(l.next(), Some(S(30)));
        assert_eq!(l.pop_due(S(29)), None);
        assert_eq!(
            (l.pop_due(S(99)), l.pop_due(S(99)), l.pop_due(S(99))),
            (Some(b(1)), Some(b(2)), None)
        );
        assert!(l.is_empty() && l.when.is_empty());
    }

    #[test]
    fn remaining_is_rounded_up_and_zero_means_for_ever() {
        let mut l = EventList::default();
        l.set(b(1), Some(S(10)));
        assert_eq!(l.remaining(b(1), Duration::from_millis(8001)), 2);
        assert_eq!(l.remaining(b(1), S(11)), 1);
        assert_eq!(l.remaining(b(2), S(0)), 0);
    }

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        let n = Notice {
            number: 3,
            expired: vec![
                b(0x0a00_0001),
                Binding {
                    key: Key {
                        addr: 0x0a00_0000,
                        len: 8,
                    },
                    exit: 1,
                },
            ],
        };
        let mp = n.emit();
        assert_eq!((mp.ty(), mp.len()), (MsgType::PcProto, 40));
        assert_eq!(Notice::parse(mp.rd()), Some(n));
        assert_eq!(Notice::parse(&mp.rd()[..39]), None);
        assert_eq!(Notice::parse(&[]), None);
    }
}
