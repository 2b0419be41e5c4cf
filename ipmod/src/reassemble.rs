//! Reassembly: pieces of a datagram are kept until it is whole, or time or room is up.
//!
//! ```text
//!   source, destination, protocol, ident ─► [ piece 0 | hole | piece 2 .. ] ─► whole
//!
//!   order of arrival: [oldest .. newest]    60 s each: the oldest is the next to expire,
//!                                           and the first to go when memory runs out
//! ```
//!
//! Pieces are kept apart, sorted by offset, and joined once. The clock is the caller's:
//! [`Reassembly::expire`] says what is too old, [`Reassembly::arm`] when to ask again. A
//! piece is charged with its whole buffer and its block, as Solaris charges it, and one in a
//! buffer much too large is copied into a small one: the bound holds for memory, not only
//! for bytes of data. Whatever comes, a piece costs about the same time.
//!
//! Spec:    RFC 791 3.2, RFC 815, RFC 1122 3.3.2, RFC 3168 5.3 (ECN); ip_reass_queue_bytes.
//! Differs: RFC 791 lets the later of two overlapping pieces win. Here an exact duplicate is
//!          dropped, and any other overlap ends the datagram, as RFC 5722 has it for IPv6: no
//!          sender makes one, and attacks do (RFC 1858).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use streams::Msg;

use crate::wire::{HEADER, IP_MF, IP_OFFMASK, be16, be32, fill_checksum, put16};

/// How long a datagram may take (RFC 1122 3.3.2).
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Memory for all pieces (ip_reass_queue_bytes).
pub const MAX_BYTES: usize = 1_000_000;
/// What a piece costs besides its buffer: its block and its place in the list.
const PIECE: usize = 192;
/// What a datagram costs besides its pieces: its place in the tables.
const DATAGRAM: usize = 384;
/// A buffer may be so much larger than what it holds.
const SLACK: usize = 512;
/// The longest datagram.
const MAX: usize = 65535;

/// What became of a piece.
#[derive(Debug)]
pub enum Outcome {
    /// It is kept.
    Kept,
    /// It was the last that was missing: the datagram.
    Whole(Msg),
    /// It is there already: RFC 791 would have it overwrite the same bytes with the same.
    Twice(Msg),
    /// It is refused, and why.
    Dropped(Msg, &'static str),
}

/// A datagram that was given up.
#[derive(Debug)]
pub struct Expired {
    /// Its first piece, if it was there: what ICMP can quote.
    pub first: Option<Msg>,
}

/// RFC 791 3.2: what the pieces of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    src: u32,
    dst: u32,
    ident: u16,
    proto: u8,
}

/// A piece: where its data starts and ends in the datagram's, and the length of its header.
struct Piece {
    start: usize,
    end: usize,
    ihl: usize,
    mp: Msg,
}

/// A datagram in pieces.
struct Partial {
    /// By offset, no two of them overlapping.
    pieces: Vec<Piece>,
    /// Bytes of data in all, once the last piece has told.
    total: Option<usize>,
    /// Bytes of data that have come.
    have: usize,
    /// What its pieces are charged.
    cost: usize,
    /// Tells it from an earlier datagram with the same key.
    serial: u64,
    /// A bit for each ECN codepoint seen.
    ecn: u8,
}

/// The datagrams in pieces.
pub struct Reassembly {
    /// With the standard hash and its random key: these keys are a stranger's choice.
    all: HashMap<Key, Partial>,
    /// When each is given up, oldest first; and some of those that are gone already.
    order: VecDeque<(Duration, Key, u64)>,
    serial: u64,
    bytes: usize,
    timer: Duration,
    /// Bound of what all pieces are charged.
    pub limit: usize,
    /// Datagrams given up for want of memory.
    pub pruned: u64,
}

impl Default for Reassembly {
    fn default() -> Reassembly {
        Reassembly {
            all: HashMap::new(),
            order: VecDeque::new(),
            serial: 0,
            bytes: 0,
            timer: Duration::ZERO,
            limit: MAX_BYTES,
            pruned: 0,
        }
    }
}

impl Reassembly {
    /// What the pieces kept now are charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Datagrams in pieces.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// No datagram in pieces.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A piece whose header is sound (`wire::check`) and in the first block.
    pub fn input(&mut self, now: Duration, mut mp: Msg) -> Outcome {
        if mp.cont().is_some() && !mp.pullupmsg(None) {
            return Outcome::Dropped(mp, "fragment cut short");
        }
        let Some(h) = mp.rd().first_chunk::<HEADER>() else {
            return Outcome::Dropped(mp, "fragment cut short");
        };
        let ihl = usize::from(h[0] & 0xf) * 4;
        if ihl < HEADER || mp.len() < ihl {
            return Outcome::Dropped(mp, "fragment cut short");
        }
        let (frag, tos) = (be16(h, 6), h[1]);
        let key = Key {
            src: be32(h, 12),
            dst: be32(h, 16),
            ident: be16(h, 4),
            proto: h[9],
        };
        let start = usize::from(frag & IP_OFFMASK) * 8;
        let end = start + mp.len() - ihl;
        let more = frag & IP_MF != 0;
        if end == start || (more && !end.is_multiple_of(8)) {
            return Outcome::Dropped(mp, "fragment not a multiple of eight");
        }
        if end + ihl > MAX {
            return Outcome::Dropped(mp, "fragment past 65535 bytes");
        }
        let p = match self.all.entry(key) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => {
                self.serial += 1;
                self.order.push_back((now + TIMEOUT, key, self.serial));
                self.bytes += DATAGRAM;
                e.insert(Partial::new(self.serial))
            }
        };
        let at = p.pieces.partition_point(|x| x.start < start);
        match p.fits(at, start, end, more) {
            Fit::New => {}
            Fit::Duplicate => return Outcome::Twice(mp),
            Fit::Conflict => {
                self.forget(key);
                return Outcome::Dropped(mp, "fragments overlap");
            }
        }
        if mp.headroom() + mp.tailroom() > SLACK {
            let tag = mp.tag();
            mp = Msg::data(mp.rd());
            mp.set_tag(tag);
        }
        let cost = mp.headroom() + mp.len() + mp.tailroom() + PIECE;
        if !more {
            p.total = Some(end);
        }
        p.have += end - start;
        p.cost += cost;
        p.ecn |= 1 << (tos & 3);
        self.bytes += cost;
        p.pieces.insert(
            at,
            Piece {
                start,
                end,
                ihl,
                mp,
            },
        );
        if p.total != Some(p.have) {
            self.prune(key);
            return Outcome::Kept;
        }
        match self.forget(key) {
            Some(p) => p.join(),
            None => Outcome::Kept,
        }
    }

    /// Gives up what is older than a minute.
    pub fn expire(&mut self, now: Duration) -> Vec<Expired> {
        let mut out = Vec::new();
        while let Some(&(at, key, n)) = self.order.front() {
            let live = self.is_live(key, n);
            if live && at > now {
                break;
            }
            self.order.pop_front();
            if live && let Some(p) = self.forget(key) {
                out.push(Expired { first: p.first() });
            }
        }
        out
    }

    /// How long until something expires, if nobody waits for that yet; whoever asks is
    /// expected to call [`Reassembly::expire`] then. One that is lost (its stream was closed)
    /// counts no longer once its time is past.
    pub fn arm(&mut self, now: Duration) -> Option<Duration> {
        if self.timer > now {
            return None;
        }
        while let Some(&(at, key, n)) = self.order.front() {
            if self.is_live(key, n) {
                self.timer = at;
                return Some(at.saturating_sub(now));
            }
            self.order.pop_front();
        }
        None
    }

    fn is_live(&self, key: Key, serial: u64) -> bool {
        self.all.get(&key).is_some_and(|p| p.serial == serial)
    }

    fn forget(&mut self, key: Key) -> Option<Partial> {
        let p = self.all.remove(&key)?;
        self.bytes -= p.cost;
        Some(p)
    }

    /// Gives up the oldest datagrams until there is room; last of all the one that has just
    /// grown.
    fn prune(&mut self, grown: Key) {
        if self.order.len() > 2 * self.all.len() + 16 {
            let all = &self.all;
            self.order
                .retain(|(_, k, n)| all.get(k).is_some_and(|p| p.serial == *n));
        }
        let keep = self.all.get(&grown).map(|p| p.serial);
        while self.bytes > self.limit {
            let first_is_it = self.order.front().map(|o| o.2) == keep;
            let key = match self.order.remove(usize::from(first_is_it)) {
                Some((_, key, n)) if self.is_live(key, n) => key,
                Some(_) => continue,
                None => grown,
            };
            self.forget(key);
            self.pruned += 1;
        }
    }
}

enum Fit {
    New,
    Duplicate,
    Conflict,
}

impl Partial {
    fn new(serial: u64) -> Partial {
        Partial {
            pieces: Vec::new(),
            total: None,
            have: 0,
            cost: DATAGRAM,
            serial,
            ecn: 0,
        }
    }

    /// May a piece be put at place `at`?
    fn fits(&self, at: usize, start: usize, end: usize, more: bool) -> Fit {
        let behind = self.pieces.get(at);
        if behind.is_some_and(|x| x.start == start && x.end == end) {
            return Fit::Duplicate;
        }
        let before = at.checked_sub(1).and_then(|i| self.pieces.get(i));
        let hits = before.is_some_and(|x| x.end > start) || behind.is_some_and(|x| x.start < end);
        let past = match (self.total, more) {
            (Some(t), true) => end > t,
            (Some(t), false) => end != t,
            (None, true) => false,
            (None, false) => self.pieces.last().is_some_and(|x| x.end > end),
        };
        if hits || past {
            Fit::Conflict
        } else {
            Fit::New
        }
    }

    fn first(self) -> Option<Msg> {
        let first = self.pieces.into_iter().next();
        first.filter(|p| p.start == 0).map(|p| p.mp)
    }

    /// The first piece's header, then all data, in one block.
    fn join(self) -> Outcome {
        const NOT_ECT: u8 = 1;
        const CE: u8 = 1 << 3;
        let (ecn, total) = (self.ecn, self.have);
        let mut mp = Msg::allocb(0);
        let mut ihl = 0;
        for p in self.pieces {
            if p.start == 0 {
                ihl = p.ihl;
                if ihl + total > MAX {
                    return Outcome::Dropped(p.mp, "fragments past 65535 bytes");
                }
                // RFC 3168 5.3: a mark is kept; mixed with Not-ECT the datagram is bad.
                if ecn & (CE | NOT_ECT) == CE | NOT_ECT {
                    return Outcome::Dropped(p.mp, "fragments differ in ECN");
                }
                mp = Msg::with_headroom(128, ihl + total);
                mp.set_tag(p.mp.tag());
                mp.append(p.mp.rd());
            } else {
                mp.append(p.mp.rd().get(p.ihl..).unwrap_or(&[]));
            }
        }
        let b = mp.rd_mut();
        if ecn & CE != 0
            && let Some(tos) = b.get_mut(1)
        {
            *tos |= 3;
        }
        put16(b, 2, (ihl + total) as u16);
        put16(b, 6, 0);
        fill_checksum(b, ihl);
        Outcome::Whole(mp)
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
            Outcome::Twice(_) => "fragment twice".into(),
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
        assert_eq!((r.arm(T0), r.arm(T0)), (Some(TIMEOUT), None)); // once is enough
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
        // Small pieces in the buffers of a link, and large ones: ip-tpi 8.3
        for size in [8, 1400] {
            let mut r = Reassembly::default();
            for i in 0..20_000u16 {
                let mut mp = Msg::with_headroom(64, 9000);
                mp.append(piece(i, 0, &vec![0; size], true).rd());
                r.input(T0, mp);
                let held = r.all.values().flat_map(|p| &p.pieces);
                if i % 1000 == 999 {
                    let held: usize = held.map(|p| p.mp.tailroom() + p.mp.len() + 128).sum();
                    assert!(held <= MAX_BYTES, "{held}");
                }
                assert!(r.bytes() <= MAX_BYTES && r.order.len() <= 2 * r.len() + 17);
            }
            assert!(r.len() > 400 && r.pruned == 20_000 - r.len() as u64);
        }
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

    #[test]
    fn the_longest_datagram_in_the_smallest_pieces() {
        // RFC 791: 68 bytes go through any link whole
        let mut r = Reassembly::default();
        let pieces = 65_515usize.div_ceil(48);
        for i in 0..pieces {
            let n = (65_515 - i * 48).min(48);
            let got = outcome(r.input(T0, piece(1, i * 48, &vec![1; n], i + 1 < pieces)));
            let last = i + 1 == pieces;
            assert_eq!(got, if last { "whole 65515" } else { "kept" });
        }
        assert!(r.is_empty() && r.bytes() == 0);
    }

    #[test]
    fn a_datagram_that_is_whole_leaves_nothing_behind() {
        let mut r = Reassembly::default();
        for i in 0..10_000u16 {
            r.input(T0, piece(i, 0, &[0; 8], true));
            assert_eq!(
                outcome(r.input(T0, piece(i, 8, &[0; 8], false))),
                "whole 16"
            );
        }
        assert!(r.is_empty() && r.bytes() == 0 && r.order.len() < 64);
        assert_eq!(r.arm(T0), None);
    }

    #[test]
    fn congestion_marks_survive() {
        // RFC 3168 5.3: (ECN of the pieces), ECN of the whole
        let marked = |at, more, ecn: u8| {
            let mut mp = piece(7, at, &[0; 8], more);
            mp.rd_mut()[1] = ecn;
            fill_checksum(mp.rd_mut(), HEADER);
            mp
        };
        for (one, two, want) in [
            (2, 3, Some(3)),
            (3, 1, Some(3)),
            (2, 2, Some(2)),
            (0, 3, None),
        ] {
            let mut r = Reassembly::default();
            r.input(T0, marked(0, true, one));
            let got = match r.input(T0, marked(8, false, two)) {
                Outcome::Whole(mp) => Some(mp.rd()[1]),
                _ => None,
            };
            assert_eq!(got, want, "{one} {two}");
        }
    }

    #[test]
    fn datagrams_are_told_apart_by_all_four_fields() {
        // RFC 791 3.2: "source, destination, protocol, identification"
        let mut r = Reassembly::default();
        r.input(T0, piece(7, 0, &[0; 8], true));
        for (at, v) in [(5, 8), (9, 6), (15, 9), (19, 9)] {
            let mut mp = piece(7, 8, &[0; 8], false);
            mp.rd_mut()[at] = v;
            fill_checksum(mp.rd_mut(), HEADER);
            assert_eq!(outcome(r.input(T0, mp)), "kept", "byte {at}");
        }
        assert_eq!(r.len(), 5);
    }

    proptest! {
        /// Whatever comes, the books are right.
        #[test]
        fn what_is_charged_is_what_is_held(
            all in proptest::collection::vec((0..4u16, 0..40usize, 0..80usize, any::<bool>()), 1..200),
        ) {
            let mut r = Reassembly { limit: 2000, ..Reassembly::default() };
            for (i, (ident, at, n, more)) in all.into_iter().enumerate() {
                let now = Duration::from_secs(i as u64);
                r.input(now, piece(ident, at * 8, &vec![1; n], more));
                r.expire(now);
                prop_assert!(r.bytes() <= 2000);
                prop_assert_eq!(r.bytes(), r.all.values().map(|p| p.cost).sum::<usize>());
            }
            r.expire(T0);
            prop_assert!(r.is_empty() && r.bytes() == 0 && r.order.is_empty());
        }

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
