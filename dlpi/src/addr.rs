//! Addresses: which frames a stream gets, and what a DLSAP looks like.
//!
//! ```text
//!   Ethernet frame   | dst 6 | src 6 | type 2 | payload ..     type > 1500: Ethernet II
//!                                      length                  <= 1500: 802.3, LLC is user data
//!   DLSAP            | address 6 | SAP 2 in host order |       sap_length -2
//!   point to point   (empty)                                   sap_length 0
//!
//!   frame ─► SAP?  bound SAP = type │ both 802.3 │ PROMISC_SAP
//!         ─► dst?  ours │ broadcast │ on the list │ PROMISC_MULTI │ PROMISC_PHYS
//! ```
//!
//! Spec: le(7D), hme(7D); dlpi(7P) on DLSAPs.
//! Kept: all SAPs up to 1500 are one ("802.3 mode"): each such stream gets every 802.3
//! frame; several streams may have one SAP; a multicast list per stream; levels of
//! promiscuity independent of one another.
//! Differs: on a point-to-point link the SAP of a frame is what its first nibble says.
//! Not done: LLC, VLAN tags.

use crate::prim::{DL_PROMISC_MULTI, DL_PROMISC_PHYS, DL_PROMISC_SAP, DlErrno, SAP_IP, SAP_IPV6};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// Bytes of an Ethernet header.
pub const ETHER_HDR: usize = 14;
/// The largest value of the type field that is a length; SAPs up to it are 802.3 mode.
pub const MAX_LENGTH: u32 = 1500;
/// Multicast addresses a stream may have (le class drivers).
pub const MAX_MULTICAST: usize = 64;

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

    /// The SAP that a frame with this header is for; 0 stands for all of 802.3.
    #[inline]
    pub fn sap(&self) -> u32 {
        let k = u32::from(self.kind);
        if k > MAX_LENGTH { k } else { 0 }
    }
}

/// The SAP of a frame on a link without headers: what its first nibble says.
#[inline]
pub fn sap_of_packet(packet: &[u8]) -> Option<u32> {
    match packet.first()? >> 4 {
        4 => Some(SAP_IP),
        6 => Some(SAP_IPV6),
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

/// Which frames one stream gets.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The SAP, normalised: 0 for all of 802.3. `None` while unbound.
    sap: Option<u32>,
    multicast: Vec<Mac>,
    levels: u8,
}

/// The bit of a promiscuous level; `None` if there is no such level.
fn level_bit(level: u32) -> Option<u8> {
    (DL_PROMISC_PHYS..=DL_PROMISC_MULTI)
        .contains(&level)
        .then(|| 1 << level)
}

impl Filter {
    /// DL_BIND_REQ and DL_UNBIND_REQ.
    pub fn bind(&mut self, sap: Option<u32>) {
        self.sap = sap.map(|s| if s > MAX_LENGTH { s } else { 0 });
    }

    /// DL_ENABMULTI_REQ: DL_BADADDR unless a group address, DL_TOOMANY beyond the limit.
    /// True if the stream did not have it.
    pub fn enable(&mut self, addr: &[u8]) -> Result<bool, DlErrno> {
        let mac = Mac::try_from(addr)
            .ok()
            .filter(is_group)
            .ok_or(DlErrno::BADADDR)?;
        if self.multicast.contains(&mac) {
            return Ok(false);
        }
        if self.multicast.len() >= MAX_MULTICAST {
            return Err(DlErrno::TOOMANY);
        }
        self.multicast.push(mac);
        Ok(true)
    }

    /// DL_DISABMULTI_REQ: DL_BADADDR unless a group address, DL_NOTENAB if it isn't enabled.
    pub fn disable(&mut self, addr: &[u8]) -> Result<Mac, DlErrno> {
        let mac = Mac::try_from(addr)
            .ok()
            .filter(is_group)
            .ok_or(DlErrno::BADADDR)?;
        let at = self
            .multicast
            .iter()
            .position(|m| *m == mac)
            .ok_or(DlErrno::NOTENAB)?;
        Ok(self.multicast.swap_remove(at))
    }

    /// The groups enabled.
    pub fn groups(&self) -> &[Mac] {
        &self.multicast
    }

    /// DL_PROMISCON_REQ: DL_UNSUPPORTED for a level that there isn't. True if it was off.
    pub fn promisc_on(&mut self, level: u32) -> Result<bool, DlErrno> {
        let bit = level_bit(level).ok_or(DlErrno::UNSUPPORTED)?;
        let was_off = self.levels & bit == 0;
        self.levels |= bit;
        Ok(was_off)
    }

    /// DL_PROMISCOFF_REQ: DL_NOTENAB if it is off.
    pub fn promisc_off(&mut self, level: u32) -> Result<(), DlErrno> {
        let bit = level_bit(level).ok_or(DlErrno::UNSUPPORTED)?;
        if self.levels & bit == 0 {
            return Err(DlErrno::NOTENAB);
        }
        self.levels &= !bit;
        Ok(())
    }

    /// Is this level on?
    #[inline]
    pub fn has(&self, level: u32) -> bool {
        level_bit(level).is_some_and(|b| self.levels & b != 0)
    }

    /// Does a frame for `sap` and `dest` go to this stream?
    #[inline]
    pub fn accepts(&self, sap: u32, dest: Dest) -> bool {
        if self.levels == 0 {
            // What nearly every stream is asked.
            return self.sap == Some(sap) && self.hears(dest);
        }
        (self.sap == Some(sap) || self.has(DL_PROMISC_SAP))
            && (self.has(DL_PROMISC_PHYS)
                || self.hears(dest)
                || (self.has(DL_PROMISC_MULTI) && dest.is_group()))
    }

    #[inline]
    fn hears(&self, dest: Dest) -> bool {
        match dest {
            Dest::Us | Dest::Broadcast => true,
            Dest::Multicast(m) => self.multicast.contains(&m),
            Dest::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = [2, 0, 0, 0, 0, 1];
    const GROUP: Mac = [1, 0, 0x5e, 0, 0, 9];

    fn bound(sap: u32) -> Filter {
        let mut f = Filter::default();
        f.bind(Some(sap));
        f
    }

    #[test]
    fn a_type_above_1500_matches_exactly() {
        // le(7D): SAP above 1500 is an Ethernet type
        let f = bound(0x800);
        assert!(f.accepts(0x800, Dest::Us));
        assert!(!f.accepts(0x806, Dest::Us));
        assert!(!f.accepts(0, Dest::Us));
        assert!(!Filter::default().accepts(0x800, Dest::Us), "unbound");
    }

    #[test]
    fn every_sap_up_to_1500_is_802_3_mode() {
        // hme(7D): SAPs 0 to 1500 are equivalent; each gets every 802.3 frame
        for sap in [0, 1, 255, 1500] {
            let f = bound(sap);
            for kind in [0u16, 46, 1500] {
                let h = Ether {
                    dst: US,
                    src: US,
                    kind,
                };
                assert!(f.accepts(h.sap(), Dest::Us), "{sap} {kind}");
            }
            assert!(!f.accepts(1501, Dest::Us));
        }
        assert_eq!(Ether::to_sap(US, US, 0, 46).kind, 46);
        assert_eq!(Ether::to_sap(US, US, 0x800, 46).kind, 0x800);
    }

    #[test]
    fn groups_are_heard_when_enabled() {
        let mut f = bound(0x800);
        let to = Dest::of(&GROUP, &US);
        assert_eq!(to, Dest::Multicast(GROUP));
        assert!(!f.accepts(0x800, to));
        assert_eq!(f.enable(&GROUP), Ok(true));
        assert_eq!(f.enable(&GROUP), Ok(false));
        assert!(f.accepts(0x800, to));
        assert!(!f.accepts(0x806, to), "only for the bound SAP");
        assert_eq!(f.disable(&GROUP), Ok(GROUP));
        assert_eq!(f.disable(&GROUP), Err(DlErrno::NOTENAB));
        for bad in [&US[..], &GROUP[..5], &[]] {
            assert_eq!(f.enable(bad), Err(DlErrno::BADADDR));
            assert_eq!(f.disable(bad), Err(DlErrno::BADADDR));
        }
        for i in 0..MAX_MULTICAST {
            assert_eq!(f.enable(&[1, 0, 0, 0, 1, i as u8]), Ok(true));
        }
        assert_eq!(f.enable(&GROUP), Err(DlErrno::TOOMANY));
    }

    #[test]
    fn levels_of_promiscuity_are_independent() {
        // dlpi(7P) DL_PROMISCON_REQ: (level, sap matches, dest) -> accepted
        let cases = [
            (DL_PROMISC_PHYS, true, Dest::Other, true),
            (DL_PROMISC_PHYS, true, Dest::Multicast(GROUP), true),
            (DL_PROMISC_PHYS, false, Dest::Us, false),
            (DL_PROMISC_SAP, false, Dest::Us, true),
            (DL_PROMISC_SAP, false, Dest::Other, false),
            (DL_PROMISC_MULTI, true, Dest::Multicast(GROUP), true),
            (DL_PROMISC_MULTI, true, Dest::Other, false),
            (DL_PROMISC_MULTI, false, Dest::Multicast(GROUP), false),
        ];
        for (level, sap_matches, dest, want) in cases {
            let mut f = bound(0x800);
            assert_eq!(f.promisc_off(level), Err(DlErrno::NOTENAB));
            assert_eq!(f.promisc_on(level), Ok(true));
            assert_eq!(f.promisc_on(level), Ok(false));
            let sap = if sap_matches { 0x800 } else { 0x806 };
            assert_eq!(
                f.accepts(sap, dest),
                want,
                "level {level} {sap:#x} {dest:?}"
            );
            assert_eq!(f.promisc_off(level), Ok(()));
            assert!(!f.has(level));
        }
        for level in [0, 4, 40, u32::MAX] {
            assert_eq!(bound(0).promisc_on(level), Err(DlErrno::UNSUPPORTED));
        }
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
