//! Options of the IP header: recorded routes, timestamps, source routes.
//!
//! ```text
//!   record route        7  len ptr │ a1 │ a2 │ .. │ free │        ptr counts from the type, 1
//!   timestamp          68  len ptr ovf/flag │ [addr] time │ ..
//!   loose, strict    131, 137  len ptr │ been │ next │ .. │
//! ```
//!
//! A router writes itself into the first two as it forwards. A source route names the next
//! destination to the host that the datagram is addressed to; that host puts its own
//! address in its place, so that the way back can be read from what arrives.
//!
//! Spec:    RFC 791 3.1, RFC 1122 3.2.1.8, RFC 1812 4.2.2.2, 5.2.4.1 and 5.3.13.
//! Kept:    what is unknown is passed on unchanged; the pointer of a parameter problem is
//!          the octet that is wrong.
//! Differs: timestamps count from boot, and say by their high bit that they are not
//!          milliseconds since midnight (RFC 791 allows both).
//! Not done: security options are not looked at.
//!
//! What IP does with all this is source_route.rs.

use std::time::Duration;

use crate::wire::{HEADER, be32, fill_checksum, put32};

/// End of the list.
pub const END: u8 = 0;
/// Nothing.
pub const NOP: u8 = 1;
/// Record route.
pub const RR: u8 = 7;
/// Timestamp.
pub const TS: u8 = 68;
/// Loose source route.
pub const LSRR: u8 = 131;
/// Strict source route.
pub const SSRR: u8 = 137;

/// One option: where it starts in the header, what it is, how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opt {
    /// Offset of its type.
    pub at: usize,
    /// Its type.
    pub kind: u8,
    /// Its length in bytes.
    pub len: usize,
}

/// The option at or behind `at`, in the header `h`; the error is the octet that is wrong.
fn next(h: &[u8], mut at: usize) -> Result<Option<Opt>, u8> {
    while h.get(at) == Some(&NOP) {
        at += 1;
    }
    let kind = match h.get(at) {
        None | Some(&END) => return Ok(None),
        Some(&k) => k,
    };
    match h.get(at + 1) {
        Some(&l) if l >= 2 && at + usize::from(l) <= h.len() => Ok(Some(Opt {
            at,
            kind,
            len: usize::from(l),
        })),
        _ => Err(at as u8 + 1),
    }
}

/// All options of a header of `ihl` bytes.
///
/// # Errors
/// The offset of the first octet that makes no sense.
pub fn all(b: &[u8], ihl: usize) -> Result<Vec<Opt>, u8> {
    let h = b.get(..ihl.min(60)).unwrap_or(&[]);
    let (mut at, mut v) = (HEADER, Vec::new());
    while let Some(o) = next(h, at)? {
        at = o.at + o.len;
        v.push(o);
    }
    Ok(v)
}

/// The place for an address or a time in an option that is filled from the front: where,
/// or `None` if it is full, or the octet that is wrong.
fn slot(h: &[u8], o: Opt, first: usize, size: usize) -> Result<Option<usize>, u8> {
    let wrong = o.at as u8 + 2;
    let ptr = usize::from(*h.get(o.at + 2).ok_or(wrong)?);
    if o.len < first - 1 || ptr < first {
        return Err(wrong);
    }
    if ptr > o.len {
        return Ok(None);
    }
    if ptr + size - 1 > o.len {
        return Err(wrong); // RFC 791: not full, and yet no room for a whole entry
    }
    Ok(Some(o.at + ptr - 1))
}

/// The time as a timestamp option has it.
pub fn stamp(now: Duration) -> u32 {
    now.as_millis() as u32 | 1 << 31
}

/// A datagram passes: writes `addr`, the address that it leaves by, where it is asked for,
/// and makes the checksum right. `ours` tells our own addresses.
///
/// # Errors
/// The pointer of a parameter problem: nothing behind that octet was changed.
pub fn record(
    b: &mut [u8],
    ihl: usize,
    addr: u32,
    now: Duration,
    ours: impl Fn(u32) -> bool,
) -> Result<(), u8> {
    for o in all(b, ihl)? {
        match o.kind {
            RR => {
                if let Some(at) = slot(b, o, 4, 4)? {
                    put32(b, at, addr);
                    b[o.at + 2] += 4;
                }
            }
            TS => timestamp(b, o, addr, now, &ours)?,
            LSRR | SSRR => {
                slot(b, o, 4, 4)?;
            }
            _ => {}
        }
    }
    fill_checksum(b, ihl);
    Ok(())
}

/// RFC 791 3.1 "Internet Timestamp".
fn timestamp(
    b: &mut [u8],
    o: Opt,
    addr: u32,
    now: Duration,
    ours: impl Fn(u32) -> bool,
) -> Result<(), u8> {
    let wrong = o.at as u8 + 3;
    if o.len < 4 {
        return Err(o.at as u8 + 1);
    }
    let (over, flag) = (b[o.at + 3] >> 4, b[o.at + 3] & 0xf);
    let size = match flag {
        0 => 4,
        1 | 3 => 8,
        _ => return Err(wrong),
    };
    let Some(at) = slot(b, o, 5, size)? else {
        if over == 15 {
            return Err(wrong); // the count of those who had no room overflows
        }
        b[o.at + 3] += 0x10;
        return Ok(());
    };
    match flag {
        0 => put32(b, at, stamp(now)),
        1 => {
            put32(b, at, addr);
            put32(b, at + 4, stamp(now));
        }
        _ if ours(be32(b, at)) => put32(b, at + 4, stamp(now)),
        _ => return Ok(()), // somebody else's turn
    }
    b[o.at + 2] += size as u8;
    Ok(())
}

/// A source route in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceRoute {
    /// Where the option starts.
    pub at: usize,
    /// Strict: each next hop is a neighbour.
    pub strict: bool,
    /// The place of the next destination, and that; `None` if the way is at its end.
    pub next: Option<(usize, u32)>,
}

/// The source route of a datagram, if it has one.
///
/// # Errors
/// The pointer of a parameter problem.
pub fn source_route(b: &[u8], ihl: usize) -> Result<Option<SourceRoute>, u8> {
    let mut found = None;
    for o in all(b, ihl)? {
        if !matches!(o.kind, LSRR | SSRR) {
            continue;
        }
        if found.is_some() {
            return Err(o.at as u8); // RFC 791: at most once
        }
        found = Some(SourceRoute {
            at: o.at,
            strict: o.kind == SSRR,
            next: slot(b, o, 4, 4)?.map(|at| (at, be32(b, at))),
        });
    }
    Ok(found)
}

/// The address that was written into a source route last.
pub fn last_hop(b: &[u8], route: SourceRoute) -> Option<u32> {
    let (len, ptr) = (*b.get(route.at + 1)?, *b.get(route.at + 2)?);
    let been = usize::from(ptr.min(len.checked_add(1)?)).checked_sub(8)?;
    Some(be32(b, route.at + 7 + been - 4))
}

/// Goes on along a source route: the next address becomes the destination, `addr` takes its
/// place. Does nothing at its end.
pub fn advance(b: &mut [u8], ihl: usize, route: SourceRoute, addr: u32) {
    if let Some((at, next)) = route.next {
        put32(b, 16, next);
        put32(b, at, addr);
        if let Some(ptr) = b.get_mut(route.at + 2) {
            *ptr = ptr.wrapping_add(4);
        }
        fill_checksum(b, ihl);
    }
}

/// Turns the source route of a datagram that has arrived, whose destination is already its
/// sender, into that of the answer (RFC 1122 3.2.2.6): back over the same hosts.
pub fn reverse(b: &mut [u8], ihl: usize) {
    let Ok(Some(route)) = source_route(b, ihl) else {
        return;
    };
    let (len, ptr) = (usize::from(b[route.at + 1]), usize::from(b[route.at + 2]));
    let used = ptr.min(len + 1).saturating_sub(4) / 4;
    if route.next.is_some() || used == 0 {
        return;
    }
    // [a1 a2 .. an], back to s: by way of an to [an-1 .. a1 s].
    let first = route.at + 3;
    let been: Vec<u32> = (0..used).map(|i| be32(b, first + 4 * i)).collect();
    let sender = be32(b, 16);
    let back = been.iter().rev().skip(1).copied().chain([sender]);
    for (i, a) in back.enumerate() {
        put32(b, first + 4 * i, a);
    }
    put32(b, 16, been[used - 1]);
    b[route.at + 2] = 4;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, check};
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_millis(5);

    fn header(options: &[u8]) -> (Vec<u8>, usize) {
        let mut b = wire::header(0, 17, 9, 0, 0, 1, 2).to_vec();
        b.extend_from_slice(options);
        b.resize(b.len().next_multiple_of(4), 0);
        let ihl = b.len();
        b[0] = 0x40 | (ihl / 4) as u8;
        wire::put16(&mut b, 2, ihl as u16);
        fill_checksum(&mut b, ihl);
        (b, ihl)
    }

    fn recorded(options: &[u8]) -> Result<Vec<u8>, u8> {
        let (mut b, ihl) = header(options);
        record(&mut b, ihl, 0x0102_0304, NOW, |a| a == 0x0102_0304)?;
        check(&b, b.len()).expect("the checksum is right");
        Ok(b[HEADER..HEADER + options.len()].to_vec())
    }

    #[test]
    fn what_a_router_writes() {
        // RFC 791 3.1, row by row
        let t = [0x80, 0, 0, 5];
        type Row<'a> = (&'a str, &'a [u8], Result<Vec<u8>, u8>);
        let rows: &[Row<'_>] = &[
            (
                "a route is recorded",
                &[7, 7, 4, 0, 0, 0, 0],
                Ok(vec![7, 7, 8, 1, 2, 3, 4]),
            ),
            (
                "full",
                &[7, 7, 8, 9, 9, 9, 9],
                Ok(vec![7, 7, 8, 9, 9, 9, 9]),
            ),
            ("no room for an address", &[7, 6, 4, 0, 0, 0], Err(22)),
            ("pointer into itself", &[7, 7, 3, 0, 0, 0, 0], Err(22)),
            ("length past the header", &[1, 7, 40, 4], Err(22)),
            ("length of one", &[7, 1, 0, 0], Err(21)),
            (
                "times only",
                &[68, 8, 5, 0, 0, 0, 0, 0],
                Ok([&[68, 8, 9, 0][..], &t].concat()),
            ),
            (
                "addresses and times",
                &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                Ok([&[68, 12, 13, 1, 1, 2, 3, 4][..], &t].concat()),
            ),
            (
                "our turn",
                &[68, 12, 5, 3, 1, 2, 3, 4, 0, 0, 0, 0],
                Ok([&[68, 12, 13, 3, 1, 2, 3, 4][..], &t].concat()),
            ),
            (
                "another's turn",
                &[68, 12, 5, 3, 9, 2, 3, 4, 0, 0, 0, 0],
                Ok(vec![68, 12, 5, 3, 9, 2, 3, 4, 0, 0, 0, 0]),
            ),
            (
                "one more without room",
                &[68, 4, 5, 0x20],
                Ok(vec![68, 4, 5, 0x30]),
            ),
            ("and one too many", &[68, 4, 5, 0xf0], Err(23)),
            ("an unknown flag", &[68, 8, 5, 2, 0, 0, 0, 0], Err(23)),
            (
                "the unknown stays",
                &[0x94, 4, 1, 2, 0x82, 2, 1, 0],
                Ok(vec![0x94, 4, 1, 2, 0x82, 2, 1, 0]),
            ),
            (
                "nothing behind the end",
                &[0, 7, 99, 99],
                Ok(vec![0, 7, 99, 99]),
            ),
        ];
        for (what, options, want) in rows {
            assert_eq!(&recorded(options), want, "{what}");
        }
    }

    #[test]
    fn a_source_route_there_and_back() {
        // RFC 791 3.1 "Loose Source and Record Route", RFC 1122 3.2.2.6
        let (mut b, ihl) = header(&[0x83, 11, 4, 0, 0, 0, 20, 0, 0, 0, 30]);
        put32(&mut b, 12, 1); // from 1, to 10, then 20, then 30
        put32(&mut b, 16, 10);
        for (me, next) in [(11, 20), (21, 30)] {
            let r = source_route(&b, ihl).expect("sound").expect("there");
            assert_eq!((r.strict, r.next.map(|n| n.1)), (false, Some(next)));
            advance(&mut b, ihl, r, me);
            assert_eq!((be32(&b, 16), last_hop(&b, r)), (next, Some(me)));
            check(&b, b.len()).expect("the checksum is right");
        }
        let r = source_route(&b, ihl).expect("sound").expect("there");
        assert_eq!(r.next, None);
        put32(&mut b, 16, 1); // the answer goes to the sender ..
        reverse(&mut b, ihl);
        assert_eq!(be32(&b, 16), 21); // .. by way of the last router first
        assert_eq!((be32(&b, 23), be32(&b, 27), b[22]), (11, 1, 4));
    }

    #[test]
    fn two_source_routes_are_one_too_many() {
        // RFC 791: "appears at most once in a datagram"
        let (b, ihl) = header(&[0x83, 7, 4, 0, 0, 0, 20, 0x89, 7, 4, 0, 0, 0, 30]);
        assert_eq!(source_route(&b, ihl), Err(27));
    }

    proptest! {
        #[test]
        fn any_bytes(mut b in prop::collection::vec(any::<u8>(), 0..80), ihl in 0..80usize) {
            if let Ok(Some(r)) = source_route(&b, ihl) {
                last_hop(&b, r);
                advance(&mut b, ihl, r, 7);
            }
            let _ = record(&mut b, ihl, 7, NOW, |a| a & 1 == 0);
            if b.len() >= HEADER {
                reverse(&mut b, ihl);
            }
        }
    }
}
