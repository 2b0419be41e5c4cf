//! IEEE 802.2 logical link control, class I: the header behind an 802.3 length.
//!
//! ```text
//!   | dst 6 | src 6 | length 2 | DSAP | SSAP | control | information ..          UI, XID, TEST
//!                                AA     AA     03        | SNAP 5 | data ..      SNAP
//!   DSAP  bit 0 set: a group's, FF everybody's, 00 the station's own
//!   SSAP  bit 0 set: a response
//!   XID   information 81 01 00: IEEE format, class I, no window
//! ```
//!
//! Spec: IEEE 802.2 (ISO 8802-2) 3, 5.4, 6.5 to 6.7; RFC 1042 for SNAP.
//! Kept: unnumbered PDUs of class I and their bits.
//! Not done: classes II to IV; the duplicate address check.

/// Bytes of a header with a control field of one byte.
pub const LLC_HDR: usize = 3;
/// Bytes of a SNAP header behind it.
pub const SNAP_HDR: usize = 5;
/// The SAP of SNAP.
pub const LSAP_SNAP: u8 = 0xaa;
/// Every SAP of a station.
pub const LSAP_GLOBAL: u8 = 0xff;
/// The station itself.
pub const LSAP_NULL: u8 = 0;
/// The information field of XID: class I.
pub const XID_CLASS_I: [u8; 3] = [0x81, 0x01, 0x00];

/// Unnumbered information.
pub const UI: u8 = 0x03;
/// Exchange identification.
pub const XID: u8 = 0xaf;
/// Test.
pub const TEST: u8 = 0xe3;
/// Poll bit of a command, final bit of a response.
pub const POLL_FINAL: u8 = 0x10;

/// An LSAP that a stream may bind: an individual one is even.
pub fn is_individual(lsap: u32) -> bool {
    lsap <= 0xff && lsap & 1 == 0
}

/// An LLC header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Llc {
    /// To which SAP.
    pub dsap: u8,
    /// From which, without the response bit.
    pub ssap: u8,
    /// A response, not a command.
    pub response: bool,
    /// UI, XID, TEST or something of another class, without poll or final bit.
    pub control: u8,
    /// The poll or final bit.
    pub poll: bool,
    /// Organisation and type, for UI between SNAP SAPs.
    pub snap: Option<[u8; SNAP_HDR]>,
}

impl Llc {
    /// The header at the start of an 802.3 payload; `None` if it is too short for one.
    pub fn parse(payload: &[u8]) -> Option<Llc> {
        let [dsap, ssap, control] = *payload.first_chunk::<LLC_HDR>()?;
        let plain = control & !POLL_FINAL;
        let snap = match (dsap, ssap & !1, plain) {
            (LSAP_SNAP, LSAP_SNAP, UI) => payload[LLC_HDR..].first_chunk().copied(),
            _ => None,
        };
        Some(Llc {
            dsap,
            ssap: ssap & !1,
            response: ssap & 1 != 0,
            control: plain,
            poll: control & POLL_FINAL != 0,
            snap,
        })
    }

    /// The bytes: 3, or 8 with SNAP.
    pub fn emit(&self) -> Vec<u8> {
        let control = if self.poll {
            self.control | POLL_FINAL
        } else {
            self.control
        };
        let mut b = vec![self.dsap, self.ssap | u8::from(self.response), control];
        b.extend(self.snap.iter().flatten());
        b
    }

    /// The response to a command, from this SAP.
    pub fn response(&self, from: u8) -> Llc {
        Llc {
            dsap: self.ssap,
            ssap: from,
            response: true,
            snap: None,
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_both_ways() {
        // IEEE 802.2 5.4.1.1.2: TEST command with the poll bit from SAP 04 to SAP 42
        let bytes = [0x42, 0x04, 0xf3, 1, 2];
        let h = Llc::parse(&bytes).expect("a header");
        assert_eq!(
            h,
            Llc {
                dsap: 0x42,
                ssap: 4,
                response: false,
                control: TEST,
                poll: true,
                snap: None
            }
        );
        assert_eq!(h.emit(), bytes[..3]);
        let r = h.response(0x42);
        assert_eq!(r.emit(), [0x04, 0x43, 0xf3]);
        assert_eq!(Llc::parse(&r.emit()), Some(r));
        assert_eq!(Llc::parse(&bytes[..2]), None);
    }

    #[test]
    fn snap_is_seen_where_it_is() {
        // RFC 1042: AA AA 03 00 00 00 and an Ethernet type
        let arp = [0xaa, 0xaa, 3, 0, 0, 0, 8, 6, 9];
        let h = Llc::parse(&arp).expect("a header");
        assert_eq!(h.snap, Some([0, 0, 0, 8, 6]));
        assert_eq!(h.emit(), arp[..8]);
        let short = Llc::parse(&arp[..7]).expect("a header");
        assert_eq!(short.snap, None);
        let xid = Llc::parse(&[0xaa, 0xaa, 0xbf, 0x81, 1, 0, 0, 0]).expect("a header");
        assert_eq!(xid.snap, None, "XID has no SNAP header");
        for (lsap, good) in [
            (0, true),
            (4, true),
            (5, false),
            (0xfe, true),
            (0x100, false),
        ] {
            assert_eq!(is_individual(lsap), good, "{lsap:#x}");
        }
    }
}
