//! A link over a link that loses, doubles, delays, reorders and spoils frames, from a seed.
//!
//! ```text
//!   send ──► lost? spoiled? doubled? ──► line: due times ──tick(now)──► inner.send
//!   recv ◄── line ◄── lost? spoiled? doubled? ◄── inner.recv
//! ```
//!
//! Both directions have a line of their own. Time is the kernel's, so that with a manual
//! clock a run of a seed is the same every time. Reordering is delay: a frame chosen for
//! it is overtaken by all that follow within [`Faults::reorder_by`].
//!
//! Spec: none. The kinds of fault are those RFC 791 expects of a network.
//! Not done: faults that depend on the length of a frame or come in bursts.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use streams::Doorbell;

use super::{Event, Link, Medium, copy_cut};
use crate::addr::Mac;

/// Frames that a line holds.
const DEPTH: usize = 4096;

/// How bad the link is. Probabilities are from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Faults {
    /// Where the random numbers come from.
    pub seed: u64,
    /// A frame is lost.
    pub loss: f64,
    /// A frame comes twice.
    pub duplicate: f64,
    /// A frame is overtaken.
    pub reorder: f64,
    /// By what follows within this time.
    pub reorder_by: Duration,
    /// One bit of a frame is flipped.
    pub corrupt: f64,
    /// Time a frame takes.
    pub delay: Duration,
    /// Up to so much more.
    pub jitter: Duration,
    /// Bits per second; 0 for no limit.
    pub rate: u64,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            seed: 1,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(10),
            corrupt: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: 0,
        }
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// True with this probability.
    fn chance(&mut self, p: f64) -> bool {
        // Always draws, so that changing one probability leaves the other draws alone.
        let x = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        x < p
    }
    fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }
}

/// One direction.
struct Line {
    faults: Faults,
    random: Random,
    /// By the time they are due, then by the order they came.
    frames: BTreeMap<(Duration, u64), Vec<u8>>,
    sequence: u64,
    /// When the line is free for the next frame.
    free_at: Duration,
    lost: u64,
}

impl Line {
    fn new(faults: Faults, salt: u64) -> Line {
        let random = Random(faults.seed ^ salt);
        let (frames, free_at) = (BTreeMap::new(), Duration::ZERO);
        Line {
            faults,
            random,
            frames,
            sequence: 0,
            free_at,
            lost: 0,
        }
    }

    fn push(&mut self, mut frame: Vec<u8>, now: Duration) {
        let f = self.faults;
        let lost = self.random.chance(f.loss);
        let double = self.random.chance(f.duplicate);
        let late = self.random.chance(f.reorder);
        let spoiled = self.random.chance(f.corrupt);
        let bit = self.random.below(frame.len() as u64 * 8);
        let jitter = self.random.below(f.jitter.as_nanos() as u64 + 1);
        if lost || self.frames.len() >= DEPTH {
            self.lost += 1;
            return;
        }
        if spoiled && let Some(b) = frame.get_mut((bit / 8) as usize) {
            *b ^= 1 << (bit % 8);
        }
        let mut at = now;
        if let Some(time) = (frame.len() as u64 * 8_000_000_000).checked_div(f.rate) {
            at = at.max(self.free_at) + Duration::from_nanos(time);
            self.free_at = at;
        }
        at += f.delay + Duration::from_nanos(jitter);
        if late {
            at += f.reorder_by;
        }
        if double {
            self.store(frame.clone(), at);
        }
        self.store(frame, at);
    }

    fn store(&mut self, frame: Vec<u8>, at: Duration) {
        self.sequence += 1;
        self.frames.insert((at, self.sequence), frame);
    }

    /// The first frame that is due.
    fn pop(&mut self, now: Duration) -> Option<Vec<u8>> {
        let first = self.frames.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn due(&self) -> Option<Duration> {
        self.frames.first_key_value().map(|(k, _)| k.0)
    }
}

/// A [`Link`] with faults.
pub struct Faulty<L> {
    inner: L,
    out: Line,
    inward: Line,
    now: Duration,
    buf: Vec<u8>,
}

impl<L: Link> Faulty<L> {
    /// Both directions have these faults.
    pub fn new(inner: L, faults: Faults) -> Faulty<L> {
        Faulty::with(inner, faults, faults)
    }

    /// Faults for what is sent, and for what is received.
    pub fn with(inner: L, out: Faults, inward: Faults) -> Faulty<L> {
        let buf = vec![0; inner.mtu() as usize + 64];
        Faulty {
            inner,
            out: Line::new(out, 0),
            inward: Line::new(inward, 0x5555_5555_5555_5555),
            now: Duration::ZERO,
            buf,
        }
    }

    /// Frames lost on purpose: sent, received.
    pub fn losses(&self) -> (u64, u64) {
        (self.out.lost, self.inward.lost)
    }

    /// Sends what is due. What the inner link has no room for waits.
    fn drain(&mut self) {
        while let Some(frame) = self.out.pop(self.now) {
            match self.inner.send(&frame) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let again = self.now + Duration::from_millis(1);
                    self.out.store(frame, again);
                    return;
                }
                Ok(()) => {}
                Err(_) => self.out.lost += 1,
            }
        }
    }
}

impl<L: Link> Link for Faulty<L> {
    fn medium(&self) -> Medium {
        self.inner.medium()
    }
    fn mtu(&self) -> u32 {
        self.inner.mtu()
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.out.push(frame.to_vec(), self.now);
        self.drain();
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        // Bounded: a flood must not keep the driver here.
        for _ in 0..64 {
            match self.inner.recv(&mut self.buf)? {
                Some(n) => self.inward.push(self.buf[..n].to_vec(), self.now),
                None => break,
            }
        }
        Ok(self.inward.pop(self.now).map(|f| copy_cut(&f, buf)))
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
    fn attach(&mut self, bell: Doorbell) {
        self.inner.attach(bell);
    }
    fn mac_type(&self) -> u32 {
        self.inner.mac_type()
    }
    fn timed(&self) -> bool {
        true
    }
    fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.now = now;
        let inner = if self.inner.timed() {
            self.inner.tick(now)
        } else {
            None
        };
        self.drain();
        [inner, self.out.due(), self.inward.due()]
            .into_iter()
            .flatten()
            .min()
    }
    fn lost(&self) -> u64 {
        self.inner.lost() + self.inward.lost
    }
    fn polled(&self) -> bool {
        self.inner.polled()
    }
    fn event(&mut self) -> Option<Event> {
        self.inner.event()
    }
    fn multicast(&mut self, group: &Mac, on: bool) -> io::Result<()> {
        self.inner.multicast(group, on)
    }
    fn promiscuous(&mut self, on: bool) -> io::Result<()> {
        self.inner.promiscuous(on)
    }
    fn set_address(&mut self, mac: &Mac) -> io::Result<()> {
        self.inner.set_address(mac)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Port, Wire};
    use super::*;

    fn pair(faults: Faults) -> (Faulty<Port>, Port) {
        let wire = Wire::default();
        let (a, b) = (wire.port([2, 0, 0, 0, 0, 1]), wire.port([2, 0, 0, 0, 0, 2]));
        (Faulty::with(a, faults, Faults::default()), b)
    }

    fn send(a: &mut impl Link, n: u16) {
        let mut f = vec![0xff; 14];
        f.extend_from_slice(&n.to_be_bytes());
        assert!(a.send(&f).is_ok());
    }

    fn all(b: &mut impl Link) -> Vec<Vec<u8>> {
        let mut buf = [0; 64];
        let mut v = Vec::new();
        while let Ok(Some(n)) = b.recv(&mut buf) {
            v.push(buf[..n].to_vec());
        }
        v
    }

    fn numbers(b: &mut impl Link) -> Vec<u16> {
        all(b)
            .iter()
            .map(|f| u16::from_be_bytes([f[14], f[15]]))
            .collect()
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn no_faults_change_nothing() {
        let (mut a, mut b) = pair(Faults::default());
        (0..100).for_each(|n| send(&mut a, n));
        assert_eq!(numbers(&mut b), (0..100).collect::<Vec<_>>());
        (0..100).for_each(|n| send(&mut b, n));
        assert_eq!(numbers(&mut a), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_loses_the_same_frames_every_time() {
        let run = |seed| {
            let (mut a, mut b) = pair(Faults {
                seed,
                loss: 0.25,
                ..Faults::default()
            });
            (0..1000).for_each(|n| send(&mut a, n));
            let got = numbers(&mut b);
            assert_eq!(got.len() as u64 + a.losses().0, 1000);
            got
        };
        let first = run(7);
        assert!((650..850).contains(&first.len()), "{}", first.len());
        assert_eq!(first, run(7));
        assert_ne!(first, run(8));
    }

    #[test]
    fn doubling_and_spoiling() {
        let (mut a, mut b) = pair(Faults {
            duplicate: 1.0,
            ..Faults::default()
        });
        send(&mut a, 5);
        assert_eq!(numbers(&mut b), [5, 5]);
        let (mut a, mut b) = pair(Faults {
            corrupt: 1.0,
            ..Faults::default()
        });
        send(&mut a, 0xffff);
        let got = all(&mut b);
        let flipped: u32 = got[0].iter().map(|b| b.count_zeros()).sum();
        assert_eq!(flipped, 1, "one bit");
    }

    #[test]
    fn delay_and_rate_take_the_kernels_time() {
        let slow = Faults {
            delay: 10 * MS,
            rate: 16 * 8 * 1000,
            ..Faults::default()
        };
        let (mut a, mut b) = pair(slow); // 16 bytes take a millisecond
        (0..3).for_each(|n| send(&mut a, n));
        assert_eq!(numbers(&mut b), [0u16; 0]);
        assert_eq!(a.tick(Duration::ZERO), Some(11 * MS));
        assert_eq!(a.tick(11 * MS), Some(12 * MS));
        assert_eq!(numbers(&mut b), [0]);
        assert_eq!(a.tick(20 * MS), None);
        assert_eq!(numbers(&mut b), [1, 2]);
    }

    #[test]
    fn a_reordered_frame_is_overtaken() {
        let (mut a, mut b) = pair(Faults {
            seed: 3,
            reorder: 0.3,
            reorder_by: 5 * MS,
            ..Faults::default()
        });
        (0..50).for_each(|n| send(&mut a, n));
        a.tick(5 * MS);
        let got = numbers(&mut b);
        let mut sorted = got.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>(), "none lost");
        assert_ne!(got, sorted);
    }
}
