//! Who is answered, and with what.

use super::*;
use crate::header::checksum;

const US: u32 = 0xac10_0102;

/// An IPv6 datagram from 2001:db8::1 to 2001:db8::2.
fn datagram(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    b[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    for host in [1, 2] {
        b.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    b.extend(payload);
    b
}

/// RFC 4443 2.2, 2.3, 2.4 (c), 3.2; RFC 4213 3.7.
#[test]
fn the_error_is_from_our_link_local_address_and_quotes_up_to_1280_bytes() {
    for size in [0, 1, 33, 1192, 1193, 1440] {
        let d = datagram(17, &vec![0xa5; size]);
        let e = error(US, &d, ICMP6_TOO_BIG, 0, 1480).unwrap().to_vec();
        let quoted = d.len().min(1232);
        assert_eq!(e.len(), 48 + quoted);
        assert_eq!(e[..4], [0x60, 0, 0, 0]);
        assert_eq!(usize::from(u16::from_be_bytes([e[4], e[5]])), 8 + quoted);
        assert_eq!((e[6], e[7]), (58, 255));
        let from = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 172, 16, 1, 2];
        assert_eq!((&e[8..24], &e[24..40]), (&from[..], &d[8..24]));
        assert_eq!((e[40], e[41], &e[44..48]), (2, 0, &[0, 0, 5, 200][..]));
        assert_eq!(e[48..], d[..quoted]);
        let mut pseudo = e[8..40].to_vec();
        pseudo.extend(((e.len() - 40) as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, 58]);
        pseudo.extend(&e[40..]);
        assert_eq!(checksum(&pseudo), 0);
    }
}

/// RFC 4443 2.4 (e).
#[test]
fn who_must_not_be_answered() {
    let unreach = |d: &[u8]| error(US, d, ICMP6_UNREACH, ICMP6_UNREACH_ADDR, 0).is_some();
    let icmp = |ty: u8| [ty, 0, 0, 0, 0, 0, 0, 0];
    for (ty, answered) in [
        (1, false),
        (4, false),
        (127, false),
        (128, true),
        (137, false),
    ] {
        assert_eq!(unreach(&datagram(58, &icmp(ty))), answered, "{ty}");
        // Behind a destination options header, and a first fragment's.
        let mut options = vec![44, 0, 1, 4, 0, 0, 0, 0, 58, 0, 0, 1, 0, 0, 0, 9];
        options.extend(icmp(ty));
        assert_eq!(unreach(&datagram(60, &options)), answered, "{ty}");
    }
    // A later fragment of an ICMPv6 message may be an error's.
    assert!(!unreach(&datagram(44, &[58, 0, 0, 8, 0, 0, 0, 9, 1, 2])));
    assert!(unreach(&datagram(44, &[17, 0, 0, 8, 0, 0, 0, 9, 1, 2])));

    // To a multicast, only that it is too big; from one, or from nobody, nothing.
    let mut group = datagram(17, &[0; 8]);
    group[24] = 0xff;
    assert!(!unreach(&group) && error(US, &group, ICMP6_TOO_BIG, 0, 1280).is_some());
    for from in [0xff, 0] {
        let mut d = datagram(17, &[0; 8]);
        d[8..24].fill(from);
        assert!(!unreach(&d), "{from}");
    }
    // No IPv6 header, not all of one.
    assert!(!unreach(&datagram(17, &[])[..39]));
    assert!(!unreach(&[0x45; 60]));
}

/// A chain of headers without end is not followed for ever.
#[test]
fn a_chain_of_headers_is_looked_through_so_far() {
    let chain: Vec<u8> = [60, 0, 1, 4, 0, 0, 0, 0].repeat(100);
    assert!(error(US, &datagram(60, &chain), ICMP6_TOO_BIG, 0, 1280).is_none());
}
