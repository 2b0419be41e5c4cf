//! Which frames one stream gets: its SAPs, its groups, its levels of promiscuity.
//!
//! ```text
//!   frame ─► SAP?  bound SAP = type │ both 802.3 │ LSAP = DSAP │ PROMISC_SAP
//!         ─► dst?  ours │ broadcast │ on the list │ PROMISC_MULTI │ PROMISC_PHYS
//!
//!   SAPs of a stream   the one bound, then those of DL_SUBS_BIND_REQ
//! ```
//!
//! Spec: le(7D), hme(7D), llc1(7D); DLPI 2.0.0 DL_SUBS_BIND_REQ.
//! Kept: all SAPs up to 1500 are one ("802.3 mode"): each such stream gets every 802.3
//! frame; several streams may have one SAP; a multicast list per stream; levels of
//! promiscuity independent of one another. An LLC stream hears its LSAP, the groups bound
//! beside it and the global SAP; a SNAP SAP bound under LSAP AA narrows that one.
//! Differs: on a point-to-point link the SAP of a frame is what its first nibble says.
//! Not done: VLAN tags.

use crate::addr::{Dest, MAX_LENGTH, Mac, is_group};
use crate::llc::{LSAP_GLOBAL, LSAP_SNAP, Llc, SNAP_HDR, UI};
use crate::prim::{DL_PROMISC_MULTI, DL_PROMISC_PHYS, DL_PROMISC_SAP, DlErrno};

/// Multicast addresses a stream may have (le class drivers).
pub const MAX_MULTICAST: usize = 64;
/// SAPs that DL_SUBS_BIND_REQ may add to a stream.
pub const MAX_SUBS: usize = 32;

/// What a stream is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sap {
    /// An Ethernet type, above 1500.
    Type(u16),
    /// 802.3 mode: every frame that has a length; what is in it is the user's.
    Raw,
    /// An LLC service access point; an odd one is a group's.
    Lsap(u8),
    /// Organisation and type behind LSAP AA.
    Snap([u8; SNAP_HDR]),
}

impl Sap {
    /// The SAP of a number without LLC: a type, or 802.3 mode.
    #[inline]
    pub fn of(number: u16) -> Sap {
        if u32::from(number) > MAX_LENGTH {
            Sap::Type(number)
        } else {
            Sap::Raw
        }
    }
}

/// What a frame is for: its type, or 802.3 with what its LLC header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Carried {
    /// A type, or [`Sap::Raw`].
    pub sap: Sap,
    /// Of an 802.3 frame that is long enough for one.
    pub llc: Option<Llc>,
}

impl Carried {
    /// A frame of this type.
    #[inline]
    pub fn of_type(number: u16) -> Carried {
        Carried {
            sap: Sap::of(number),
            llc: None,
        }
    }
}

/// Which frames one stream gets.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `None` while unbound.
    sap: Option<Sap>,
    further: Vec<Sap>,
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
    /// DL_BIND_REQ and DL_UNBIND_REQ, which takes further SAPs away too.
    pub fn bind(&mut self, sap: Option<Sap>) {
        self.sap = sap;
        self.further.clear();
    }

    /// DL_SUBS_BIND_REQ: DL_BADADDR if the stream has the SAP, DL_TOOMANY beyond the limit.
    pub fn bind_further(&mut self, sap: Sap) -> Result<(), DlErrno> {
        if self.sap == Some(sap) || self.further.contains(&sap) {
            return Err(DlErrno::BADADDR);
        }
        if self.further.len() >= MAX_SUBS {
            return Err(DlErrno::TOOMANY);
        }
        self.further.push(sap);
        Ok(())
    }

    /// DL_SUBS_UNBIND_REQ: DL_BADADDR unless DL_SUBS_BIND_REQ has bound it.
    pub fn unbind_further(&mut self, sap: Sap) -> Result<(), DlErrno> {
        let at = self.further.iter().position(|s| *s == sap);
        self.further.swap_remove(at.ok_or(DlErrno::BADADDR)?);
        Ok(())
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

    /// Is the SAP that DL_BIND_REQ gave the one that the frame is for?
    #[inline]
    pub fn is_first(&self, c: &Carried) -> bool {
        self.sap == Some(c.sap)
    }

    /// The same of a frame with this number, if that is a type.
    #[inline]
    pub fn is_first_type(&self, number: u16) -> bool {
        matches!(self.sap, Some(Sap::Type(t)) if t == number)
    }

    /// Does one of the LLC SAPs take the frame?
    pub fn by_llc(&self, c: &Carried) -> bool {
        let Some(h) = c.llc else { return false };
        let mut all = self.sap.iter().chain(&self.further);
        all.any(|sap| match sap {
            Sap::Snap(snap) => h.snap.as_ref() == Some(snap),
            // UI for SNAP goes by the SNAP SAPs, once there are any.
            Sap::Lsap(LSAP_SNAP) if h.control == UI && self.has_snap() => false,
            Sap::Lsap(l) => h.dsap == *l || h.dsap == LSAP_GLOBAL,
            _ => false,
        })
    }

    fn has_snap(&self) -> bool {
        self.further.iter().any(|s| matches!(s, Sap::Snap(_)))
    }

    #[inline]
    fn has_sap(&self, c: &Carried) -> bool {
        self.is_first(c)
            || (!self.further.is_empty() && self.further.contains(&c.sap))
            || (c.llc.is_some() && self.by_llc(c))
    }

    /// Does a frame with this in it, for `dest`, go to this stream?
    #[inline]
    pub fn accepts(&self, c: &Carried, dest: Dest) -> bool {
        if self.levels == 0 {
            // What nearly every stream is asked.
            return self.has_sap(c) && self.hears(dest);
        }
        (self.has_sap(c) || self.has(DL_PROMISC_SAP))
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

    fn bound(sap: u16) -> Filter {
        let mut f = Filter::default();
        f.bind(Some(Sap::of(sap)));
        f
    }

    fn ty(t: u16) -> Carried {
        Carried::of_type(t)
    }

    fn llc(payload: &[u8]) -> Carried {
        Carried {
            sap: Sap::Raw,
            llc: Llc::parse(payload),
        }
    }

    #[test]
    fn a_type_above_1500_matches_exactly() {
        // le(7D): SAP above 1500 is an Ethernet type
        let f = bound(0x800);
        assert!(f.accepts(&ty(0x800), Dest::Us));
        assert!(!f.accepts(&ty(0x806), Dest::Us));
        assert!(!f.accepts(&ty(0), Dest::Us));
        let unbound = Filter::default();
        assert!(!unbound.accepts(&ty(0x800), Dest::Us));
    }

    #[test]
    fn every_sap_up_to_1500_is_802_3_mode() {
        // hme(7D): SAPs 0 to 1500 are equivalent; each gets every 802.3 frame
        for sap in [0, 1, 255, 1500] {
            let f = bound(sap);
            for length in [0u16, 46, 1500] {
                assert!(f.accepts(&ty(length), Dest::Us), "{sap} {length}");
            }
            assert!(f.accepts(&llc(&[4, 4, 3]), Dest::Us), "LLC is user data");
            assert!(!f.accepts(&ty(1501), Dest::Us));
        }
    }

    #[test]
    fn further_saps_are_heard_until_they_are_unbound() {
        // DLPI 2.0.0 DL_SUBS_BIND_REQ, DL_PEER_BIND
        let mut f = bound(0x800);
        let arp = Sap::Type(0x806);
        assert_eq!(f.bind_further(arp), Ok(()));
        assert_eq!(f.bind_further(arp), Err(DlErrno::BADADDR));
        assert_eq!(f.bind_further(Sap::Type(0x800)), Err(DlErrno::BADADDR));
        assert!(f.accepts(&ty(0x806), Dest::Us) && f.accepts(&ty(0x800), Dest::Us));
        assert!(f.is_first(&ty(0x800)) && !f.is_first(&ty(0x806)));
        assert_eq!(f.unbind_further(Sap::Type(0x800)), Err(DlErrno::BADADDR));
        assert_eq!(f.unbind_further(arp), Ok(()));
        assert!(!f.accepts(&ty(0x806), Dest::Us));
        for i in 0..MAX_SUBS as u16 {
            assert_eq!(f.bind_further(Sap::Type(0x9000 + i)), Ok(()));
        }
        assert_eq!(f.bind_further(arp), Err(DlErrno::TOOMANY));
        f.bind(None);
        f.bind(Some(Sap::Raw));
        assert!(!f.accepts(&ty(0x9000), Dest::Us), "an unbind takes all");
    }

    #[test]
    fn an_llc_stream_hears_its_saps() {
        // IEEE 802.2 3.3.1.1: individual, group and global addresses
        let mut f = Filter::default();
        f.bind(Some(Sap::Lsap(0x42)));
        let to = |dsap| llc(&[dsap, 4, UI, 0, 0, 0, 8, 0]);
        assert!(f.accepts(&to(0x42), Dest::Us) && f.accepts(&to(LSAP_GLOBAL), Dest::Us));
        assert!(!f.accepts(&to(0x44), Dest::Us) && !f.accepts(&to(0x43), Dest::Us));
        assert!(!f.accepts(&ty(0x42), Dest::Us), "too short for a header");
        assert_eq!(f.bind_further(Sap::Lsap(0x43)), Ok(()));
        assert!(f.accepts(&to(0x43), Dest::Us), "a group");
        // RFC 1042: SNAP under LSAP AA
        let snap = |t: u8| llc(&[0xaa, 0xaa, UI, 0, 0, 0, 8, t]);
        f.bind(Some(Sap::Lsap(LSAP_SNAP)));
        assert!(f.accepts(&snap(0), Dest::Us) && f.accepts(&snap(6), Dest::Us));
        assert_eq!(f.bind_further(Sap::Snap([0, 0, 0, 8, 6])), Ok(()));
        assert!(!f.accepts(&snap(0), Dest::Us) && f.accepts(&snap(6), Dest::Us));
        let test = llc(&[0xaa, 4, crate::llc::TEST]);
        assert!(f.accepts(&test, Dest::Us), "TEST is the LSAP's");
    }

    #[test]
    fn groups_are_heard_when_enabled() {
        let mut f = bound(0x800);
        let to = Dest::of(&GROUP, &US);
        assert_eq!(to, Dest::Multicast(GROUP));
        assert!(!f.accepts(&ty(0x800), to));
        assert_eq!(f.enable(&GROUP), Ok(true));
        assert_eq!(f.enable(&GROUP), Ok(false));
        assert!(f.accepts(&ty(0x800), to));
        assert!(!f.accepts(&ty(0x806), to), "only for the bound SAP");
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
                f.accepts(&ty(sap), dest),
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
}
