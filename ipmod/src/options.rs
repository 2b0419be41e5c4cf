//! IPv4 options of a datagram that is forwarded: routes and times are recorded, a
//! malformed option is refused.
//!
//! ```text
//!   | type | length | pointer | data ..      7 record route, 68 timestamp, 131 137 source route
//! ```
//!
//! Spec: RFC 791 3.1, RFC 1122 3.2.1.8, RFC 1812 5.2.4 and 5.3.13.
//! Differs: a source route whose next hop is reached here is not followed: datagrams with
//! one that is not used up are forwarded by their destination (ip_forward_src_routed 0).

use std::time::Duration;

use crate::wire::{HEADER, fill_checksum};

const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;

/// Works on the options of the header in `b` (of `ihl` bytes), as the router with address
/// `addr` at the time `now`. The header checksum is kept right.
///
/// # Errors
/// The offset of what is malformed, for a parameter problem.
pub fn forward(b: &mut [u8], ihl: usize, addr: u32, now: Duration) -> Result<(), u8> {
    let Some(h) = b.get_mut(..ihl) else {
        return Err(0);
    };
    let mut at = HEADER;
    let mut changed = false;
    while at < ihl {
        let ty = h[at];
        match ty {
            END => break,
            NOP => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let bad = |o: usize| Err((at + o) as u8);
        let Some(&len) = h.get(at + 1) else {
            return bad(0);
        };
        let len = usize::from(len);
        if len < 2 || at + len > ihl {
            return bad(1);
        }
        match ty {
            RECORD_ROUTE => {
                if len < 3 || h[at + 2] < 4 {
                    return bad(2);
                }
                let p = usize::from(h[at + 2]) - 1;
                // Full: forwarded as it is (RFC 791).
                if p + 4 <= len {
                    h[at + p..at + p + 4].copy_from_slice(&addr.to_be_bytes());
                    h[at + 2] += 4;
                    changed = true;
                }
            }
            TIMESTAMP => {
                if len < 4 || h[at + 2] < 5 {
                    return bad(2);
                }
                let p = usize::from(h[at + 2]) - 1;
                let with_address = match h[at + 3] & 0xf {
                    0 => false,
                    1 => true,
                    3 => p + 8 <= len && h[at + p..at + p + 4] == addr.to_be_bytes(),
                    _ => return bad(3),
                };
                let want = if h[at + 3] & 0xf == 0 { 4 } else { 8 };
                if p + want > len {
                    // No room: counted, and refused when the count is full.
                    if h[at + 3] >> 4 == 15 {
                        return bad(3);
                    }
                    h[at + 3] += 0x10;
                    changed = true;
                } else if want == 4 || with_address {
                    let ms = (now.as_millis() % 86_400_000) as u32 | 0x8000_0000; // not UT
                    let t = at + p + want - 4;
                    if want == 8 {
                        h[at + p..at + p + 4].copy_from_slice(&addr.to_be_bytes());
                    }
                    h[t..t + 4].copy_from_slice(&ms.to_be_bytes());
                    h[at + 2] += want as u8;
                    changed = true;
                }
            }
            _ => {}
        }
        at += len;
    }
    if changed {
        fill_checksum(h, ihl);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::sum;

    const ME: u32 = 0x0a00_0001;

    fn with(options: &[u8]) -> Vec<u8> {
        let mut b = crate::wire::header(HEADER + options.len(), 17, 9, 0, 1, 5, 6).to_vec();
        b[0] = 0x40 | ((HEADER + options.len()) / 4) as u8;
        b.extend_from_slice(options);
        let ihl = b.len();
        fill_checksum(&mut b, ihl);
        b
    }

    #[test]
    fn a_route_is_recorded_until_it_is_full() {
        // RFC 791 3.1
        let mut b = with(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let ihl = b.len();
        for want in [8, 12, 12] {
            assert_eq!(forward(&mut b, ihl, ME, Duration::ZERO), Ok(()));
            assert_eq!(b[22], want);
            assert_eq!(sum(&b), 0xffff);
        }
        assert_eq!(b[23..27], [10, 0, 0, 1]);
    }

    #[test]
    fn a_full_timestamp_is_counted_then_refused() {
        let mut b = with(&[68, 4, 5, 0xe0]);
        let ihl = b.len();
        assert_eq!(forward(&mut b, ihl, ME, Duration::ZERO), Ok(()));
        assert_eq!(b[23] >> 4, 15);
        assert_eq!(forward(&mut b, ihl, ME, Duration::ZERO), Err(23));
    }

    #[test]
    fn malformed_options_are_named_by_their_place() {
        let refused = |o: &[u8]| {
            let mut b = with(o);
            let ihl = b.len();
            forward(&mut b, ihl, ME, Duration::ZERO)
        };
        assert_eq!(refused(&[7, 1, 0, 0]), Err(21)); // length below two
        assert_eq!(refused(&[7, 9, 4, 0]), Err(21)); // past the header
        assert_eq!(refused(&[7, 3, 1, 0]), Err(22)); // pointer into the head
        assert_eq!(refused(&[1, 1, 1, 0]), Ok(()));
        assert_eq!(refused(&[0, 7, 1, 0]), Ok(())); // behind the end
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut b in proptest::collection::vec(any::<u8>(), 0..80), ihl in 0usize..64) {
            let _ = forward(&mut b, ihl, ME, Duration::from_secs(7));
        }
    }
}
