//! Addresses: what a frame's header and a DLSAP look like.
//!
//! ```text
//!   Ethernet frame   | dst 6 | src 6 | type 2 | payload ..     type > 1500: Ethernet II
//!                                      length                  <= 1500: 802.3, then LLC (llc.rs)
//!   DLSAP            | address 6 | SAP 2 in host order |       sap_length -2
//!   point to point   (empty)                                   sap_length 0
//! ```
//!
//! Spec: le(7D), hme(7D); dlpi(7P) on DLSAPs.
//! Differs: on a point-to-point link the SAP of a frame is what its first nibble says.
//! Not done: VLAN tags.

use crate::prim::{DlErrno, SAP_IP, SAP_IPV6};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// Bytes of an Ethernet header.
pub const ETHER_HDR: usize = 14;
/// The largest value of the type field that is a length; SAPs up to it are 802.3 mode.
pub const MAX_LENGTH: u32 = 1500;

/// A multicast or broadcast address: the group bit.
#[inline]
pub fn is_group(mac: &Mac) -> bool {
    mac[0] & 1 != 0
}

/// A DLSAP address of either kind, in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dlsap {
    bytes: [u8; 8],
    len: u8,
}

impl Dlsap {
    /// That of a link without addresses.
    pub const NONE: Dlsap = Dlsap {
        bytes: [0; 8],
        len: 0,
    };

    /// An Ethernet address and a SAP behind it.
    #[inline]
    pub fn ether(mac: &Mac, sap: u16) -> Dlsap {
        let [a, b, c, d, e, f] = *mac;
        let [g, h] = sap.to_ne_bytes();
        Dlsap {
            bytes: [a, b, c, d, e, f, g, h],
            len: 8,
        }
    }

    /// Takes an Ethernet DLSAP apart; DL_BADADDR if it is none.
    #[inline]
    pub fn split_ether(dlsap: &[u8]) -> Result<(Mac, u16), DlErrno> {
        match *dlsap {
            [a, b, c, d, e, f, g, h] => Ok(([a, b, c, d, e, f], u16::from_ne_bytes([g, h]))),
            _ => Err(DlErrno::BADADDR),
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The header of an Ethernet frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ether {
    /// To whom.
    pub dst: Mac,
    /// From whom.
    pub src: Mac,
    /// The type, or the length of an 802.3 frame.
    pub kind: u16,
}

impl Ether {
    /// The header of a frame, if it is long enough for one.
    #[inline]
    pub fn parse(frame: &[u8]) -> Option<Ether> {
        let h = frame.first_chunk::<ETHER_HDR>()?;
        let [a, b, c, d, e, f, g, i, j, k, l, m, x, y] = *h;
        Some(Ether {
            dst: [a, b, c, d, e, f],
            src: [g, i, j, k, l, m],
            kind: u16::from_be_bytes([x, y]),
        })
    }

    /// The bytes.
    #[inline]
    pub fn emit(&self) -> [u8; ETHER_HDR] {
        let mut h = [0; ETHER_HDR];
        h[..6].copy_from_slice(&self.dst);
        h[6..12].copy_from_slice(&self.src);
        h[12..].copy_from_slice(&self.kind.to_be_bytes());
        h
    }

    /// The header for `len` bytes to a SAP: in 802.3 mode the length takes the type's place.
    #[inline]
    pub fn to_sap(dst: Mac, src: Mac, sap: u16, len: usize) -> Ether {
        let kind = if u32::from(sap) > MAX_LENGTH {
            sap
        } else {
            len as u16
        };
        Ether { dst, src, kind }
    }
}

/// The SAP of a frame on a link without headers: what its first nibble says.
#[inline]
pub fn sap_of_packet(packet: &[u8]) -> Option<u16> {
    match packet.first()? >> 4 {
        4 => Some(SAP_IP as u16),
        6 => Some(SAP_IPV6 as u16),
        _ => None,
    }
}

/// To whom a frame is addressed, seen from the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dest {
    /// The link's own address, or the other end of a point-to-point link.
    Us,
    /// Everybody.
    Broadcast,
    /// A group.
    Multicast(Mac),
    /// Somebody else.
    Other,
}

impl Dest {
    /// Who `dst` is when `own` is our address.
    #[inline]
    pub fn of(dst: &Mac, own: &Mac) -> Dest {
        if dst == own {
            Dest::Us
        } else if *dst == BROADCAST {
            Dest::Broadcast
        } else if is_group(dst) {
            Dest::Multicast(*dst)
        } else {
            Dest::Other
        }
    }
    /// `dl_group_address`.
    #[inline]
    pub fn is_group(self) -> bool {
        matches!(self, Dest::Broadcast | Dest::Multicast(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_length_takes_the_place_of_the_type_in_802_3_mode() {
        // hme(7D)
        assert_eq!(Ether::to_sap(US, US, 0, 46).kind, 46);
        assert_eq!(Ether::to_sap(US, US, 0x800, 46).kind, 0x800);
        let group = [1, 0, 0x5e, 0, 0, 9];
        assert_eq!(Dest::of(&group, &US), Dest::Multicast(group));
        assert_eq!(Dest::of(&BROADCAST, &US), Dest::Broadcast);
        assert_eq!(Dest::of(&[2; 6], &US), Dest::Other);
    }

    #[test]
    fn a_dlsap_is_the_address_and_the_sap_in_host_order() {
        // le(7D): sap_length -2
        let d = Dlsap::ether(&US, 0x0800);
        let mut want = US.to_vec();
        want.extend_from_slice(&0x0800u16.to_ne_bytes());
        assert_eq!(d.as_slice(), &want[..]);
        assert_eq!(Dlsap::split_ether(d.as_slice()), Ok((US, 0x0800)));
        for n in [0, 2, 6, 7, 9] {
            assert_eq!(Dlsap::split_ether(&[0; 9][..n]), Err(DlErrno::BADADDR));
        }
        assert!(Dlsap::NONE.as_slice().is_empty());
    }

    #[test]
    fn a_header_survives_both_ways_and_a_short_one_is_none() {
        let h = Ether {
            dst: BROADCAST,
            src: US,
            kind: 0x806,
        };
        let bytes = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6];
        assert_eq!(h.emit(), bytes);
        assert_eq!(Ether::parse(&bytes), Some(h));
        assert_eq!(Ether::parse(&bytes[..13]), None);
    }
}
