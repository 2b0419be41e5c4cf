//! DL_INFO_ACK: the one structure whose lengths and offsets are not neighbours.
//!
//! ```text
//!   Ethernet (90 bytes)                      point to point (76 bytes)
//!   addr_length 8 = 6 + |sap_length|         addr_length 0, sap_length 0
//!   sap_length -2: the SAP is behind         brdcst_addr_length 0
//!   brdcst ff:ff:ff:ff:ff:ff at 84
//! ```
//!
//! IP reads the kind of interface from it: a broadcast address means broadcast, no
//! address at all means point to point ([`InfoAck::phys_len`]).
//!
//! Spec: dlpi(7P), le(7D).
//! Kept: the DLSAP address right behind the structure, then the broadcast address.

use super::codec::{Field, Reader, Writer};
use super::{DL_CLDLS, DL_STYLE2, DL_VERSION_2, DlError};

/// The fields of DL_INFO_ACK after `dl_primitive`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InfoAck {
    /// Largest data unit.
    pub max_sdu: u32,
    /// Smallest data unit.
    pub min_sdu: u32,
    /// Length of a DLSAP address. The address below has it or is empty.
    pub addr_length: u32,
    /// DL_ETHER and its like.
    pub mac_type: u32,
    /// `dl_current_state`.
    pub current_state: u32,
    /// Length of the SAP in a DLSAP; negative if it comes last.
    pub sap_length: i32,
    /// DL_CLDLS.
    pub service_mode: u32,
    /// The qos structure in force.
    pub qos: Vec<u8>,
    /// The qos ranges offered.
    pub qos_range: Vec<u8>,
    /// DL_STYLE1 or DL_STYLE2.
    pub provider_style: u32,
    /// The stream's DLSAP address; may be empty.
    pub addr: Vec<u8>,
    /// DL_VERSION_2.
    pub version: u32,
    /// The broadcast address; empty if there is none.
    pub brdcst_addr: Vec<u8>,
}

impl Default for InfoAck {
    /// A connectionless provider of style 2 that has no addresses.
    fn default() -> InfoAck {
        InfoAck {
            max_sdu: 1500,
            min_sdu: 0,
            addr_length: 0,
            mac_type: super::mac::DL_OTHER,
            current_state: crate::state::State::Unattached as u32,
            sap_length: 0,
            service_mode: DL_CLDLS,
            qos: Vec::new(),
            qos_range: Vec::new(),
            provider_style: DL_STYLE2,
            addr: Vec::new(),
            version: DL_VERSION_2,
            brdcst_addr: Vec::new(),
        }
    }
}

impl InfoAck {
    /// Length of the physical address: what is left of the DLSAP without the SAP.
    pub fn phys_len(&self) -> u32 {
        self.addr_length
            .saturating_sub(self.sap_length.unsigned_abs())
    }

    /// IP makes a point-to-point interface of this provider.
    pub fn is_point_to_point(&self) -> bool {
        self.brdcst_addr.is_empty() && self.phys_len() == 0
    }
}

impl Field for InfoAck {
    const SIZE: usize = 18 * 4;

    fn get(r: &mut Reader<'_>) -> Result<InfoAck, DlError> {
        let mut w = [0u32; 18];
        for x in &mut w {
            *x = r.word()?;
        }
        let [
            max_sdu,
            min_sdu,
            addr_length,
            mac_type,
            _reserved,
            current_state,
            sap_length,
            ..,
        ] = w;
        let [
            service_mode,
            qos_len,
            qos_off,
            range_len,
            range_off,
            provider_style,
            addr_off,
            ..,
        ] = *w[7..].first_chunk::<7>().unwrap_or(&[0; 7]);
        let (version, brdcst_len, brdcst_off) = (w[14], w[15], w[16]);
        Ok(InfoAck {
            max_sdu,
            min_sdu,
            addr_length,
            mac_type,
            current_state,
            sap_length: sap_length as i32,
            service_mode,
            qos: r.bytes(qos_off, qos_len)?.to_vec(),
            qos_range: r.bytes(range_off, range_len)?.to_vec(),
            provider_style,
            // Offset 0: no address is given, though it has a length.
            addr: match addr_off {
                0 => Vec::new(),
                off => r.bytes(off, addr_length)?.to_vec(),
            },
            version,
            // IP takes the broadcast length as 0 if the offset is outside the message.
            brdcst_addr: r.bytes(brdcst_off, brdcst_len).unwrap_or_default().to_vec(),
        })
    }

    fn put(&self, w: &mut Writer) {
        let (_, addr_off) = w.tail(&self.addr);
        let (brdcst_len, brdcst_off) = w.tail(&self.brdcst_addr);
        let (qos_len, qos_off) = w.tail(&self.qos);
        let (range_len, range_off) = w.tail(&self.qos_range);
        let addr_length = if self.addr.is_empty() {
            self.addr_length
        } else {
            self.addr.len() as u32
        };
        for x in [
            self.max_sdu,
            self.min_sdu,
            addr_length,
            self.mac_type,
            0,
            self.current_state,
        ] {
            w.word(x);
        }
        w.word(self.sap_length as u32);
        for x in [self.service_mode, qos_len, qos_off, range_len, range_off] {
            w.word(x);
        }
        for x in [
            self.provider_style,
            addr_off,
            self.version,
            brdcst_len,
            brdcst_off,
            0,
        ] {
            w.word(x);
        }
    }
}
