//! What went over a link: the numbers of DL_GET_STATISTICS_ACK and of its kstat.
//!
//! ```text
//!   Port::stats ──┬── DL_GET_STATISTICS_REQ ─► fourteen numbers, 64 bits each
//!                 └── Kernel::kstats() ─► le:0:le0  net   ipackets, ipackets64, ..
//! ```
//!
//! Spec: kstat(1M) on `net`; the names are those of le(7D) and hme(7D) in netstat -k.
//! Kept: a frame of this host that it sends to itself counts as sent and not as received;
//! what is for other stations counts only if a stream listens to it; counters that wrap at 32
//! bits beside those that do not.
//! Differs: `collisions` never moves, as none of the links has any; `unknowns` has the frames
//! that no stream wanted, which le counts nowhere.

use std::time::Duration;

use streams::kstat::Kstat;

use super::port::Links;

/// What went over a link since its first attach. DL_GET_STATISTICS_ACK carries these
/// numbers in this order, 64 bits each, in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames received.
    pub ipackets: u64,
    /// Their bytes.
    pub rbytes: u64,
    /// Frames received that were no good.
    pub ierrors: u64,
    /// Frames received for no stream.
    pub unknowns: u64,
    /// Frames that the stream above had no room for.
    pub nocanput: u64,
    /// Frames sent.
    pub opackets: u64,
    /// Their bytes.
    pub obytes: u64,
    /// Frames that the link refused.
    pub oerrors: u64,
    /// Times that the link had no room.
    pub noxmtbuf: u64,
    /// Frames received for a group address.
    pub multircv: u64,
    /// Frames received for everybody.
    pub brdcstrcv: u64,
    /// Frames sent to a group address.
    pub multixmt: u64,
    /// Frames sent to everybody.
    pub brdcstxmt: u64,
    /// Frames that the link lost before they could be received.
    pub norcvbuf: u64,
}

impl Statistics {
    fn fields(&mut self) -> [&mut u64; 14] {
        let Statistics {
            ipackets,
            rbytes,
            ierrors,
            unknowns,
            nocanput,
            opackets,
            obytes,
            oerrors,
            noxmtbuf,
            multircv,
            brdcstrcv,
            multixmt,
            brdcstxmt,
            norcvbuf,
        } = self;
        [
            ipackets, rbytes, ierrors, unknowns, nocanput, opackets, obytes, oerrors, noxmtbuf,
            multircv, brdcstrcv, multixmt, brdcstxmt, norcvbuf,
        ]
    }
    /// As DL_GET_STATISTICS_ACK carries them.
    pub fn to_bytes(mut self) -> Vec<u8> {
        self.fields().iter().flat_map(|f| f.to_ne_bytes()).collect()
    }
    /// From a DL_GET_STATISTICS_ACK; `None` if it is of another layout.
    pub fn from_bytes(b: &[u8]) -> Option<Statistics> {
        let (words, rest) = b.as_chunks::<8>();
        let mut s = Statistics::default();
        let fields = s.fields();
        if words.len() != fields.len() || !rest.is_empty() {
            return None;
        }
        for (f, w) in fields.into_iter().zip(words) {
            *f = u64::from_ne_bytes(*w);
        }
        Some(s)
    }

    /// Counts whom a frame was sent to, if that was more than one.
    #[inline]
    pub(super) fn sent(&mut self, dst: Option<&[u8; 6]>) {
        if let Some(dst) = dst.filter(|d| d[0] & 1 != 0) {
            match *dst == crate::addr::BROADCAST {
                true => self.brdcstxmt += 1,
                false => self.multixmt += 1,
            }
        }
    }

    /// The kstat of unit `ppa` of `driver`.
    fn kstat(self, driver: &str, ppa: u32, born: Duration) -> Kstat {
        let mut k = Kstat::new(driver, ppa, format!("{driver}{ppa}"), "net").since_time(born);
        k.u32("ipackets", self.ipackets);
        k.u32("ierrors", self.ierrors);
        k.u32("opackets", self.opackets);
        k.u32("oerrors", self.oerrors);
        k.u32("collisions", 0);
        k.u32("unknowns", self.unknowns);
        k.u32("nocanput", self.nocanput);
        k.u32("rbytes", self.rbytes);
        k.u32("obytes", self.obytes);
        k.u32("multircv", self.multircv);
        k.u32("multixmt", self.multixmt);
        k.u32("brdcstrcv", self.brdcstrcv);
        k.u32("brdcstxmt", self.brdcstxmt);
        k.u32("norcvbuf", self.norcvbuf);
        k.u32("noxmtbuf", self.noxmtbuf);
        k.u64("ipackets64", self.ipackets);
        k.u64("opackets64", self.opackets);
        k.u64("rbytes64", self.rbytes);
        k.u64("obytes64", self.obytes);
        k
    }
}

/// The kstats of every link that a stream is attached to.
pub(super) fn kstats(links: &mut Links, driver: &str) -> Vec<Kstat> {
    let of = |p: &super::port::Port| p.statistics().kstat(driver, p.ppa, p.born);
    links.all().map(of).collect()
}
