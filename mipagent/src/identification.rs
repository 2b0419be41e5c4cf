//! Replay protection: what the Identification field holds.
//!
//! ```text
//!              high 32 bits                       low 32 bits
//!   timestamps request: seconds since 1900        fraction      reply: as the request's, or
//!                                                               with 133 the agent's seconds
//!   nonces     request: the agent's last nonce    the node's    reply: the agent's next
//!                                                 next nonce    nonce, the node's copied
//! ```
//!
//! Spec: RFC 5944 5.7.1 (timestamps), 5.7.2 (nonces).
//! Kept: a reply always has the low half of the request; a timestamp has to be later than
//! all before it, and near the agent's time; a refused request teaches the node the
//! agent's time or nonce.

use std::time::Duration;

use crate::auth::Key;

/// How far a timestamp may be off, by default (5.7.1: 7 seconds).
pub const SKEW: u64 = 7;

/// Which of the two a mobile node and its home agent use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Mandatory to have.
    Timestamps,
    /// Optional.
    Nonces,
}

/// A number that nobody can guess who has not the key: `what` and `n` never come twice.
fn nonce(key: &Key, what: &[u8], n: u64, now: Duration) -> u32 {
    let now = now.as_nanos().to_be_bytes();
    let mac = key.hmac(&[what, &n.to_be_bytes(), &now]);
    u32::from_be_bytes([mac[0], mac[1], mac[2], mac[3]])
}

/// NTP's format: seconds, and fractions of 2^-32.
fn ntp(t: Duration) -> u64 {
    let fraction = (u64::from(t.subsec_nanos()) << 32) / 1_000_000_000;
    t.as_secs() << 32 | fraction
}

/// The home agent's side, of one mobile node.
#[derive(Clone, Debug)]
pub struct Judge {
    how: Replay,
    skew: u64,
    last: u64,
    nonce: Option<u32>,
    given: u64,
}

impl Judge {
    /// Nothing has come yet.
    pub fn new(how: Replay, skew: u64) -> Judge {
        Judge {
            how,
            skew,
            last: 0,
            nonce: None,
            given: 0,
        }
    }

    /// Is an authenticated request new? It is remembered if so.
    pub fn is_new(&mut self, id: u64, now: Duration) -> bool {
        let new = match self.how {
            Replay::Timestamps => id > self.last && (id >> 32).abs_diff(now.as_secs()) <= self.skew,
            Replay::Nonces => self.nonce == Some((id >> 32) as u32),
        };
        if new {
            self.last = id;
        }
        new
    }

    /// The reply's Identification; `matched`: the request's was right.
    pub fn reply(&mut self, id: u64, matched: bool, key: &Key, now: Duration) -> u64 {
        let high = match self.how {
            Replay::Timestamps if matched => id >> 32,
            Replay::Timestamps => now.as_secs() & 0xffff_ffff,
            Replay::Nonces => {
                self.given += 1;
                let new = nonce(key, b"home agent", self.given, now);
                self.nonce = Some(new);
                new.into()
            }
        };
        high << 32 | id & 0xffff_ffff
    }
}

/// The mobile node's side.
#[derive(Clone, Debug)]
pub struct Author {
    how: Replay,
    /// What the agent's clock is ahead of ours, seconds.
    ahead: i64,
    last: u64,
    theirs: u32,
    made: u64,
}

impl Author {
    /// Nothing is known of the agent's time or nonces yet.
    pub fn new(how: Replay) -> Author {
        Author {
            how,
            ahead: 0,
            last: 0,
            theirs: 0,
            made: 0,
        }
    }

    /// The Identification of the next request.
    pub fn next(&mut self, key: &Key, now: Duration) -> u64 {
        let id = match self.how {
            Replay::Timestamps => {
                let secs = now.as_secs().saturating_add_signed(self.ahead);
                let t = ntp(Duration::new(secs & 0xffff_ffff, now.subsec_nanos()));
                t.max(self.last + 1)
            }
            Replay::Nonces => {
                self.made += 1;
                let own = nonce(key, b"mobile node", self.made, now);
                u64::from(self.theirs) << 32 | u64::from(own)
            }
        };
        self.last = id;
        id
    }

    /// Is this the reply to the last request (3.6.2.1: the low halves agree)?
    pub fn matches(&self, id: u64) -> bool {
        self.last as u32 == id as u32
    }

    /// An authenticated reply: what it teaches. `mismatch`: its code is 133.
    pub fn learn(&mut self, id: u64, mismatch: bool, now: Duration) {
        let high = id >> 32;
        match self.how {
            Replay::Timestamps if mismatch => {
                self.ahead = high as i64 - (now.as_secs() & 0xffff_ffff) as i64;
                self.last = 0; // the agent's time may be before what we had
            }
            Replay::Timestamps => {}
            Replay::Nonces => self.theirs = high as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn key() -> Key {
        Key {
            spi: 256,
            secret: vec![3; 16],
        }
    }

    /// One request and its reply; was it new?
    fn round(a: &mut Author, j: &mut Judge, at: Duration, there: Duration) -> (u64, bool) {
        let id = a.next(&key(), at);
        let new = j.is_new(id, there);
        let reply = j.reply(id, new, &key(), there);
        assert!(a.matches(reply));
        a.learn(reply, !new, at);
        (id, new)
    }

    #[test]
    fn timestamps_are_accepted_once_and_a_wrong_clock_is_set() {
        // RFC 5944 5.7.1
        let (mut a, mut j) = (
            Author::new(Replay::Timestamps),
            Judge::new(Replay::Timestamps, 7),
        );
        let (first, new) = round(&mut a, &mut j, S(1000), S(1007));
        assert!(new && !j.is_new(first, S(1007)), "a replay");
        assert!(
            round(&mut a, &mut j, S(1000), S(1000)).1,
            "in the same moment"
        );
        // Our clock is 500 seconds behind: refused, told, accepted.
        assert!(!round(&mut a, &mut j, S(1001), S(1501)).1);
        assert!(round(&mut a, &mut j, S(1002), S(1502)).1);
        // .. and 5000 seconds ahead
        let mut a = Author::new(Replay::Timestamps);
        assert!(!round(&mut a, &mut j, S(9000), S(1510)).1);
        assert!(round(&mut a, &mut j, S(9001), S(1511)).1);
    }

    #[test]
    fn nonces_alternate_and_a_lost_reply_is_made_good() {
        // RFC 5944 5.7.2
        let (mut a, mut j) = (Author::new(Replay::Nonces), Judge::new(Replay::Nonces, 7));
        assert!(!round(&mut a, &mut j, S(0), S(9)).1, "no nonce yet");
        let (id, new) = round(&mut a, &mut j, S(1), S(9));
        assert!(new && !j.is_new(id, S(9)), "a replay");
        let lost = a.next(&key(), S(2));
        assert!(j.is_new(lost, S(9)));
        j.reply(lost, true, &key(), S(9));
        assert!(!round(&mut a, &mut j, S(3), S(9)).1);
        assert!(round(&mut a, &mut j, S(4), S(9)).1);
    }
}
