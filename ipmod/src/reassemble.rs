//! Reassembly: pieces of a datagram are kept until it is whole, or time or room is up.
//!
//! ```text
//!   source, destination, ident, protocol ─► [ piece 0 | hole | piece 2 .. ] ─► whole
//!                                               60 s later, or 1 MB of pieces: given up
//! ```
//!
//! Pieces are kept apart, sorted by offset, and joined once: what overlaps differently
//! than it did before is an attack and ends the datagram (as RFC 5722 has it for IPv6); an
//! exact duplicate is dropped.
//!
//! Spec: RFC 791 3.2, RFC 815, RFC 1122 3.3.2; ip_reass_queue_bytes.
//! Differs: Solaris keeps the newer bytes of an overlap.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::FxHashMap;
use streams::Msg;

use crate::wire::{IP_MF, IP_OFFMASK, be16, be32, fill_checksum, put16};

/// How long a datagram may take (RFC 1122 3.3.2).
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of pieces kept at most (ip_reass_queue_bytes).
pub const MAX_BYTES: usize = 1_000_000;
/// Pieces of one datagram at most.
const MAX_PIECES: usize = 1024;

type Key = (u32, u32, u16, u8);

/// What became of a piece.
pub enum Outcome {
    /// It is kept.
    Kept,
    /// It was the last that was missing: the datagram.
    Whole(Msg),
    /// It is refused, and why.
    Dropped(Msg, &'static str),
}

/// A datagram that was given up.
pub struct Expired {
    /// Its first piece, if it was there: what ICMP can quote.
    pub first: Option<Msg>,
}

struct Entry {
    /// Data by offset.
    pieces: BTreeMap<usize, Msg>,
    /// Header length of each piece is the piece's own; the first one's is kept.
    since: Duration,
    /// Bytes of data in all, once the last piece has told.
    total: Option<usize>,
    bytes: usize,
}

/// The datagrams in pieces.
#[derive(Default)]
pub struct Reassembly {
    entries: FxHashMap<Key, Entry>,
    bytes: usize,
}

impl Reassembly {
    /// Bytes kept now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A piece whose header is sound (`wire::check`) and in the first block.
    pub fn input(&mut self, now: Duration, mut mp: Msg) -> Outcome {
        if mp.cont().is_some() && !mp.pullupmsg(None) {
            return Outcome::Dropped(mp, "fragment cut short");
        }
        let b = mp.rd();
        let ihl = usize::from(b.first().copied().unwrap_or(0) & 0xf) * 4;
        let (frag, len) = (be16(b, 6), b.len());
        if len < ihl || ihl < 20 {
            return Outcome::Dropped(mp, "fragment cut short");
        }
        let (at, size, more) = (
            usize::from(frag & IP_OFFMASK) * 8,
            len - ihl,
            frag & IP_MF != 0,
        );
        if (more && size % 8 != 0) || size == 0 {
            return Outcome::Dropped(mp, "fragment not a multiple of eight");
        }
        if ihl + at + size > 65535 {
            return Outcome::Dropped(mp, "fragment past 65535 bytes");
        }
        let key = (be32(b, 12), be32(b, 16), be16(b, 4), b[9]);
        let full = self.bytes + len > MAX_BYTES;
        if full && !self.make_room(key, len) {
            return Outcome::Dropped(mp, "too many fragments waiting");
        }
        let e = self.entries.entry(key).or_insert_with(|| Entry {
            pieces: BTreeMap::new(),
            since: now,
            total: None,
            bytes: 0,
        });
        if e.pieces.len() >= MAX_PIECES {
            self.forget(key);
            return Outcome::Dropped(mp, "too many fragments of one datagram");
        }
        match e.fits(at, size, more) {
            Fit::New => {}
            Fit::Duplicate => return Outcome::Dropped(mp, "fragment twice"),
            Fit::Conflict => {
                self.forget(key);
                return Outcome::Dropped(mp, "fragments overlap");
            }
        }
        if !more {
            e.total = Some(at + size);
        }
        e.bytes += len;
        self.bytes += len;
        e.pieces.insert(at, mp);
        if !e.is_whole() {
            return Outcome::Kept;
        }
        let Some(e) = self.forget(key) else {
            return Outcome::Kept;
        };
        match e.join() {
            Ok(mp) => Outcome::Whole(mp),
            Err(mp) => Outcome::Dropped(mp, "fragments past 65535 bytes"),
        }
    }

    /// Gives up what is older than a minute.
    pub fn expire(&mut self, now: Duration) -> Vec<Expired> {
        let old: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, e)| now >= e.since + TIMEOUT)
            .map(|(k, _)| *k)
            .collect();
        let mut out = Vec::with_capacity(old.len());
        for k in old {
            if let Some(mut e) = self.forget(k) {
                out.push(Expired {
                    first: e.pieces.remove(&0),
                });
            }
        }
        out
    }

    /// When the next datagram is given up.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.entries.values().map(|e| e.since + TIMEOUT).min()
    }

    fn forget(&mut self, key: Key) -> Option<Entry> {
        let e = self.entries.remove(&key)?;
        self.bytes -= e.bytes;
        Some(e)
    }

    /// Gives up the oldest datagrams, but `keep`, until `len` bytes fit.
    fn make_room(&mut self, keep: Key, len: usize) -> bool {
        while self.bytes + len > MAX_BYTES {
            let oldest = self
                .entries
                .iter()
                .filter(|(k, _)| **k != keep)
                .min_by_key(|(_, e)| e.since);
            match oldest.map(|(k, _)| *k) {
                Some(k) => drop(self.forget(k)),
                None => return false,
            }
        }
        true
    }
}

enum Fit {
    New,
    Duplicate,
    Conflict,
}

/// Data bytes of a piece.
fn data(mp: &Msg) -> &[u8] {
    let b = mp.rd();
    let ihl = usize::from(b.first().copied().unwrap_or(0) & 0xf) * 4;
    b.get(ihl..).unwrap_or(&[])
}

impl Entry {
    fn fits(&self, at: usize, size: usize, more: bool) -> Fit {
        if let Some(p) = self.pieces.get(&at)
            && data(p).len() == size
        {
            return Fit::Duplicate;
        }
        let end = at + size;
        let before = self.pieces.range(..=at).next_back();
        let behind = self.pieces.range(at..).next();
        let hits = before.is_some_and(|(o, p)| o + data(p).len() > at)
            || behind.is_some_and(|(o, _)| *o < end);
        let past = self.total.is_some_and(|t| end > t || (!more && end != t));
        let last_too_early = !more
            && self
                .pieces
                .iter()
                .next_back()
                .is_some_and(|(o, p)| o + data(p).len() > end);
        if hits || past || last_too_early {
            Fit::Conflict
        } else {
            Fit::New
        }
    }

    fn is_whole(&self) -> bool {
        let Some(total) = self.total else {
            return false;
        };
        let mut next = 0;
        for (o, p) in &self.pieces {
            if *o != next {
                return false;
            }
            next += data(p).len();
        }
        next == total
    }

    /// The first piece's header, then all data, in one block.
    fn join(mut self) -> Result<Msg, Msg> {
        let Some(first) = self.pieces.remove(&0) else {
            return Err(Msg::allocb(0));
        };
        let total = self.total.unwrap_or(0);
        let ihl = first.len() - data(&first).len();
        if ihl + total > 65535 {
            return Err(first);
        }
        let mut mp = Msg::with_headroom(128, ihl + total);
        mp.set_tag(first.tag());
        mp.append(first.rd());
        for p in self.pieces.values() {
            mp.append(data(p));
        }
        let b = mp.rd_mut();
        put16(b, 2, (ihl + total) as u16);
        put16(b, 6, 0);
        fill_checksum(b, ihl);
        Ok(mp)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fragment::fragment;
    use crate::wire::{HEADER, check, header};

    const T0: Duration = Duration::from_secs(1000);

    fn piece(ident: u16, at: usize, data: &[u8], more: bool) -> Msg {
        let mut b = header(HEADER + data.len(), 17, 9, 0, ident, 1 << 24, 2 << 24).to_vec();
        put16(&mut b, 6, (at / 8) as u16 | if more { IP_MF } else { 0 });
        fill_checksum(&mut b, HEADER);
        b.extend_from_slice(data);
        Msg::data(&b)
    }

    fn outcome(o: Outcome) -> String {
        match o {
            Outcome::Kept => "kept".into(),
            Outcome::Whole(m) => format!("whole {}", m.msgsize() - HEADER),
            Outcome::Dropped(_, why) => why.into(),
        }
    }

    #[test]
    fn the_table_of_pieces() {
        // RFC 791 3.2, RFC 815: (offset, bytes, more) .. and what each gets
        type Row<'a> = (&'a [(usize, usize, bool)], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (&[(0, 16, true), (16, 8, false)], &["kept", "whole 24"]),
            (&[(16, 8, false), (0, 16, true)], &["kept", "whole 24"]),
            (
                &[(0, 8, true), (16, 5, false), (8, 8, true)],
                &["kept", "kept", "whole 21"],
            ),
            (
                &[(0, 8, true), (0, 8, true), (8, 8, false)],
                &["kept", "fragment twice", "whole 16"],
            ),
            (
                &[(0, 16, true), (8, 16, false)],
                &["kept", "fragments overlap"],
            ),
            (
                &[(0, 24, true), (8, 8, false)],
                &["kept", "fragments overlap"],
            ),
            (
                &[(16, 8, false), (24, 8, true)],
                &["kept", "fragments overlap"],
            ),
            (&[(0, 12, true)], &["fragment not a multiple of eight"]),
            (&[(65528, 16, false)], &["fragment past 65535 bytes"]),
        ];
        for (pieces, want) in rows {
            let mut r = Reassembly::default();
            for ((at, n, more), want) in pieces.iter().zip(*want) {
                let got = outcome(r.input(T0, piece(1, *at, &vec![7; *n], *more)));
                assert_eq!(got, *want, "{pieces:?} at {at}");
            }
        }
    }

    #[test]
    fn a_minute_is_the_end_and_the_first_piece_is_there_to_quote() {
        let mut r = Reassembly::default();
        r.input(T0, piece(1, 0, &[1; 8], true));
        r.input(T0, piece(2, 8, &[1; 8], true));
        assert_eq!(r.next_expiry(), Some(T0 + TIMEOUT));
        assert!(r.expire(T0 + TIMEOUT - Duration::from_millis(1)).is_empty());
        let gone = r.expire(T0 + TIMEOUT);
        assert_eq!(
            (
                gone.len(),
                gone.iter().filter(|e| e.first.is_some()).count()
            ),
            (2, 1)
        );
        assert_eq!(r.bytes(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut r = Reassembly::default();
        for i in 0..5000u16 {
            r.input(
                T0 + Duration::from_millis(i.into()),
                piece(i, 0, &[0; 1400], true),
            );
            assert!(r.bytes() <= MAX_BYTES);
        }
        assert_eq!(
            outcome(r.input(T0, piece(4999, 1400, &[0; 8], false))),
            "whole 1408"
        );
        assert_eq!(outcome(r.input(T0, piece(0, 1400, &[0; 8], false))), "kept");
    }

    proptest! {
        #[test]
        fn what_is_cut_and_shuffled_comes_out_whole(
            data in proptest::collection::vec(any::<u8>(), 1..4000),
            mtu in 68usize..1500,
            keys in proptest::collection::vec(any::<u32>(), 600),
        ) {
            let mut b = header(HEADER + data.len(), 17, 9, 0, 7, 1 << 24, 2 << 24).to_vec();
            b.extend_from_slice(&data);
            let mut pieces = Vec::new();
            prop_assert!(fragment(Msg::data(&b), mtu, |p| pieces.push(p)).is_ok());
            let n = pieces.len();
            let mut order: Vec<(u32, Msg)> = keys.into_iter().cycle().zip(pieces).collect();
            // Each piece once more, as a duplicate.
            let twice: Vec<(u32, Msg)> = order.iter().map(|(k, m)| (k.rotate_left(7), m.copymsg())).collect();
            order.extend(twice);
            order.sort_by_key(|(k, _)| *k);
            let mut r = Reassembly::default();
            let mut whole = Vec::new();
            for (_, p) in order {
                if n == 1 {
                    whole.push(p);
                } else if let Outcome::Whole(m) = r.input(T0, p) {
                    whole.push(m);
                }
            }
            prop_assert!(!whole.is_empty());
            for m in whole {
                prop_assert!(check(m.rd(), m.msgsize()).is_ok());
                prop_assert_eq!(&m.to_vec()[HEADER..], &data[..]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut r = Reassembly::default();
            let _ = r.input(T0, Msg::data(&bytes));
            let _ = r.expire(T0 + TIMEOUT);
        }
    }
}
