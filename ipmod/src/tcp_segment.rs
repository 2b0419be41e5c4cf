//! Segments that the path to the peer no longer carries: cut into several that it does.
//!
//! ```text
//!   engine ─ 1460 bytes, seq 1000, FIN ─► cut ─► 1260 bytes, seq 1000
//!                                            └─► 200 bytes, seq 2260, FIN
//! ```
//!
//! The engine's segments have the size that the SYNs agreed on; what a router has said since
//! (pmtu.rs) is heeded here. What was lost on the way the engine sends again when its time is
//! up, not at once.
//!
//! Spec: RFC 1191 6.4 (TCP and path MTU discovery), RFC 793 3.1.

use crate::wire::{HEADER, be32, fold, proto, put16, put32, sum};

const FLAGS: usize = 13;
/// FIN and PSH belong to the last byte.
const AT_END: u8 = 1 | 8;

/// Does a segment, with its IP header of 20 bytes, need cutting?
pub(crate) fn too_long(b: &[u8], mtu: usize) -> bool {
    b.len() > mtu && b.len() > data_at(b)
}

/// Where the data begin.
fn data_at(b: &[u8]) -> usize {
    HEADER + usize::from(b[HEADER + 12] >> 4) * 4
}

/// The pieces of a segment, each at most `mtu` bytes long with its IP header, whose length and
/// checksum are the caller's.
pub(crate) fn cut(b: &[u8], mtu: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
    let (head, data) = b.split_at(data_at(b).min(b.len()));
    let most = mtu.saturating_sub(head.len()).max(8);
    let last = data.len().saturating_sub(1) / most;
    data.chunks(most).enumerate().map(move |(i, some)| {
        let mut piece = [head, some].concat();
        let t = &mut piece[HEADER..];
        put32(t, 4, be32(t, 4).wrapping_add((i * most) as u32));
        if i != last {
            t[FLAGS] &= !AT_END;
        }
        put16(t, 16, 0);
        let len = t.len();
        let pseudo = u64::from(be32(b, 12)) + u64::from(be32(b, 16));
        let all = pseudo + u64::from(proto::TCP) + len as u64 + u64::from(sum(t));
        put16(&mut piece[HEADER..], 16, !fold(all));
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(data: &[u8], options: usize, flags: u8) -> Vec<u8> {
        let mut b = vec![0; HEADER + 20 + options];
        b[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        put32(&mut b, HEADER + 4, u32::MAX - 1);
        b[HEADER + 12] = (((20 + options) / 4) << 4) as u8;
        b[HEADER + FLAGS] = flags;
        b.extend_from_slice(data);
        b
    }

    #[test]
    fn pieces_fit_and_are_the_segment() {
        // RFC 793 3.1: the sequence number wraps; FIN and PSH come behind all data
        let data: Vec<u8> = (0..1000).map(|i| (i * 7) as u8).collect();
        for (mtu, options) in [(68, 0), (68, 12), (576, 0), (1039, 0), (1040, 12)] {
            let whole = segment(&data, options, 0x19);
            assert!(too_long(&whole, mtu));
            let (mut got, mut flags) = (Vec::new(), Vec::new());
            for p in cut(&whole, mtu) {
                assert!(p.len() <= mtu, "{mtu}");
                let at = (u32::MAX - 1).wrapping_add(got.len() as u32);
                assert_eq!(be32(&p, HEADER + 4), at);
                flags.push(p[HEADER + FLAGS]);
                let t = &p[HEADER..];
                let pseudo = (10 << 24) + 1 + (10 << 24) + 2 + 6 + t.len() as u64;
                assert_eq!(fold(pseudo + u64::from(sum(t))), 0xffff, "the checksum");
                got.extend_from_slice(&p[HEADER + 20 + options..]);
            }
            assert_eq!(got, data);
            assert_eq!(flags.pop(), Some(0x19));
            assert!(flags.iter().all(|f| *f == 0x10) && !flags.is_empty());
        }
        let whole = segment(&data, 0, 0x19);
        assert!(!too_long(&whole, 1040));
        assert!(!too_long(&segment(&[], 40, 0x10), 68), "nothing to cut");
    }
}
