//! Fragmentation: a datagram too large for a link goes in pieces.
//!
//! ```text
//!   [ header, options | data ........................................ ]
//!        │                 n × 8         n × 8            the rest
//!        ▼
//!   [ header, options | data ]  [ header, copied options | data ]  [ .. | data ]
//!     offset o, MF                offset o + n, MF                   its own MF
//! ```
//!
//! Every piece is one block with its own copy of the data and headroom for a link header:
//! a copy of an MTU's worth costs less than sharing it and unsharing it below.
//!
//! Spec:    RFC 791 3.2, RFC 1122 3.3.5, RFC 1812 4.2.2.7.
//! Kept:    multiples of eight octets; pieces in order, the largest first; options with the
//!          copy bit in all pieces, the others in the first; the MF of a fragment that is cut
//!          again stays on its last piece.
//! Differs: a piece with fewer options carries more data, as RFC 791's procedure says; BSD
//!          gives all pieces the data of the first.

use streams::Msg;
use streams::message::{MSGFORWARDED, MSGTUNNELS};

use crate::wire::{HEADER, IP_DF, IP_MF, IP_OFFMASK, be16, fill_checksum, put16};

/// Headroom of a piece: a link header and an outer IP header fit.
const HEADROOM: usize = 64;

/// Cuts a datagram, whose header is in its first block, into pieces of at most `mtu` bytes,
/// and gives them to `emit` in order. One that fits goes as it is.
///
/// # Errors
/// The datagram comes back if it must not or can't be cut: DF is set, less than eight octets
/// fit behind the header, its bytes are fewer than its lengths say, or it would reach
/// past the offsets that there are.
pub fn fragment(mp: Msg, mtu: usize, mut emit: impl FnMut(Msg)) -> Result<(), Msg> {
    let Some(&first) = mp.rd().first_chunk::<HEADER>() else {
        return Err(mp);
    };
    let ihl = usize::from(first[0] & 0xf) * 4;
    let total = usize::from(be16(&first, 2));
    if ihl < HEADER || total < ihl || mp.len() < ihl || mp.msgsize() < total {
        return Err(mp);
    }
    if total <= mtu {
        emit(mp);
        return Ok(());
    }
    let frag = be16(&first, 6);
    let offset = usize::from(frag & IP_OFFMASK);
    let units = (total - ihl).div_ceil(8);
    if frag & IP_DF != 0 || mtu < ihl + 8 || offset + units > usize::from(IP_OFFMASK) + 1 {
        return Err(mp);
    }
    let (later, later_len) = later_header(&mp.rd()[..ihl]);
    let mut data = Reader::new(&mp, ihl);
    let mut done = 0; // of the data; a multiple of eight
    while done < total - ihl {
        let left = total - ihl - done;
        let header = if done == 0 {
            &mp.rd()[..ihl]
        } else {
            &later[..later_len]
        };
        let (n, more) = match mtu - header.len() {
            room if left <= room => (left, frag & IP_MF),
            room => (room & !7, IP_MF),
        };
        let mut piece = Msg::with_headroom(HEADROOM, header.len() + n);
        piece.set_ty(mp.ty());
        piece.set_band(mp.band());
        piece.set_flag(mp.flag() & (MSGFORWARDED | MSGTUNNELS));
        let b = &mut piece.room_mut()[..header.len() + n];
        b[..header.len()].copy_from_slice(header);
        put16(b, 2, (header.len() + n) as u16);
        put16(b, 6, (offset + done / 8) as u16 | more);
        fill_checksum(b, header.len());
        data.copy_to(&mut b[header.len()..]);
        piece.advance_wptr(header.len() + n);
        emit(piece);
        done += n;
    }
    Ok(())
}

/// The header of all pieces but the first: the options with the copy bit, padded.
fn later_header(h: &[u8]) -> ([u8; 60], usize) {
    let mut out = [0; 60];
    out[..HEADER].copy_from_slice(&h[..HEADER]);
    let (mut n, mut at) = (HEADER, HEADER);
    while let Some(&ty) = h.get(at) {
        let len = match (ty, h.get(at + 1)) {
            (0, _) => break,
            (1, _) => 1,
            (_, Some(&l)) if l >= 2 => usize::from(l),
            _ => break, // malformed: what follows can't be told apart
        };
        // RFC 791 3.1: the copied flag is the high bit of the type.
        if ty & 0x80 != 0 {
            let Some(option) = h.get(at..at + len) else {
                break;
            };
            out[n..n + len].copy_from_slice(option);
            n += len;
        }
        at += len;
    }
    n = n.next_multiple_of(4); // the padding is End of Option List, 0
    out[0] = 0x40 | (n / 4) as u8;
    (out, n)
}

/// The bytes of a message, from an offset in its first block on.
struct Reader<'a> {
    block: Option<&'a Msg>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(mp: &'a Msg, at: usize) -> Reader<'a> {
        Reader {
            block: Some(mp),
            at,
        }
    }

    fn copy_to(&mut self, mut out: &mut [u8]) {
        while let (Some(b), false) = (self.block, out.is_empty()) {
            let have = &b.rd()[self.at..];
            let n = have.len().min(out.len());
            let (now, rest) = out.split_at_mut(n);
            now.copy_from_slice(&have[..n]);
            out = rest;
            self.at += n;
            if self.at == b.len() {
                (self.block, self.at) = (b.cont(), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{check, header};
    use proptest::prelude::*;

    /// A datagram with these options and data, over blocks of `block` bytes.
    fn datagram(options: &[u8], data: &[u8], frag: u16, block: usize) -> Msg {
        let ihl = HEADER + options.len();
        let mut h = header(ihl + data.len(), 17, 64, 0, 7, 1, 2).to_vec();
        h.extend_from_slice(options);
        h[0] = 0x40 | (ihl / 4) as u8;
        put16(&mut h, 6, frag);
        fill_checksum(&mut h, ihl);
        let mut mp = Msg::data(&h);
        for part in data.chunks(block) {
            mp.linkb(Msg::data(part));
        }
        mp
    }

    fn pieces(mp: Msg, mtu: usize) -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        fragment(mp, mtu, |p| all.push(p.to_vec())).ok()?;
        Some(all)
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 791 appendix A, example 2: 472 bytes of data, MTU 280.
        let got = pieces(datagram(&[], &[5; 452], 0, 452), 280).unwrap();
        let lens: Vec<usize> = got.iter().map(Vec::len).collect();
        assert_eq!(lens, [276, 216]);
        assert_eq!((be16(&got[0], 6), be16(&got[1], 6)), (IP_MF, 32));
    }

    #[test]
    fn options_by_their_copy_bit() {
        // record route (not copied), no-op, loose source route (copied)
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 0x83, 7, 4, 9, 9, 9, 9, 0];
        let got = pieces(datagram(&options, &[1; 100], 0, 30), 76).unwrap();
        assert_eq!(&got[0][20..36], &options);
        assert_eq!(got[0].len(), 36 + 40);
        assert_eq!(&got[1][20..28], &[0x83, 7, 4, 9, 9, 9, 9, 0]);
        assert_eq!(got[1].len(), 28 + 48);
        assert_eq!(got.len(), 3);
    }

    #[test]
    fn refusals() {
        assert!(fragment(datagram(&[], &[0; 100], IP_DF, 9), 60, |_| ()).is_err());
        assert!(fragment(datagram(&[], &[0; 100], 0, 9), 27, |_| ()).is_err());
        assert!(fragment(datagram(&[], &[0; 100], 0x1fff, 9), 60, |_| ()).is_err());
        assert!(fragment(Msg::data(&[0x45; 19]), 60, |_| ()).is_err());
        assert!(fragment(datagram(&[], &[0; 100], IP_DF, 9), 120, |_| ()).is_ok());
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_datagram(
            data in prop::collection::vec(any::<u8>(), 0..3000),
            options in prop::collection::vec(any::<u8>(), 0..40),
            mtu in 0..1600usize, offset in 0..100u16, more in any::<bool>(), block in 1..900usize,
        ) {
            let options = &options[..options.len() & !3];
            let more = if more { IP_MF } else { 0 };
            let whole = datagram(options, &data, offset | more, block);
            let Some(got) = pieces(whole, mtu) else {
                prop_assert!(mtu < HEADER + options.len() + 8);
                return Ok(());
            };
            let (mut at, mut joined) = (offset, Vec::new());
            for (i, p) in got.iter().enumerate() {
                let h = check(p, p.len()).unwrap();
                prop_assert!(h.len == p.len() && h.len <= mtu);
                prop_assert_eq!(h.frag & IP_OFFMASK, at);
                let last = i + 1 == got.len();
                prop_assert_eq!(h.frag & IP_MF, if last { more } else { IP_MF });
                prop_assert!(last || (h.len - h.ihl).is_multiple_of(8));
                at += ((h.len - h.ihl) / 8) as u16;
                joined.extend_from_slice(&p[h.ihl..]);
            }
            prop_assert_eq!(joined, data);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), mtu in 0..100usize) {
            let _ = fragment(Msg::data(&bytes), mtu, drop);
        }
    }
}
