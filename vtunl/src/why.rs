//! Why a datagram ended in vtunl, and the counters of all of vtunl.
//!
//! Every end has a name here; [`Why::text`] is what the framework counts and traces it
//! under, and [`Stats`] is what VTUNL_STATS reads.
//!
//! Spec: RFC 2003, 2004, 2784, 4213, 6040 as named at each reason.

use crate::counter::Counter;

macro_rules! whys {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a datagram was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Why { $($(#[$doc])* $name),* }

        impl Why {
            /// Every reason, in the order in which VTUNL_STATS gives their counts.
            pub const ALL: &'static [Why] = &[$(Why::$name),*];

            /// In words, as counters and traces show it.
            pub const fn text(self) -> &'static str {
                match self { $(Why::$name => $text),* }
            }
        }
    };
}

whys! {
    /// Shorter than its header says, or not IP at all.
    Malformed = "malformed datagram";
    /// The inner header's checksum is wrong.
    InnerChecksum = "bad inner header checksum";
    /// No entry in encap_table serves the destination ("encapsulation is denied").
    NoTarget = "no encapsulation for this destination";
    /// RFC 2003 3.1: a TTL of 0 is not encapsulated, nor delivered after decapsulation.
    TtlZero = "inner TTL is 0";
    /// RFC 2003 3.2: the datagram arrived from a link with our own address as source.
    OwnSource = "inner source is our own";
    /// RFC 2003 3.2: the inner source is the tunnel's exit.
    ExitSource = "inner source is the exit";
    /// The tunnel leads into itself: too many of our own headers.
    Nesting = "tunnel in tunnel too deep";
    /// Inner DF set and the datagram larger than the tunnel carries.
    TooBig = "too big for the tunnel, DF set";
    /// The outer datagram would be longer than 65535.
    TooLong = "outer datagram over 65535 bytes";
    /// The instance is not configured for it, or the IP above has not bound it.
    NotUp = "the tunnel is not up";
    /// Nobody serves this host in decap_table.
    NotServed = "no decapsulation for these hosts";
    /// RFC 2003 6.2: the outer source is not among those allowed.
    Stranger = "outer source not allowed";
    /// The outer header's protocol is none that we take apart.
    Protocol = "not an encapsulating protocol";
    /// RFC 6040: inner Not-ECT, outer CE.
    EcnMarked = "congestion marked, inner not ECN capable";
    /// RFC 2004 3: the minimal header's checksum is wrong.
    MinimalChecksum = "bad minimal encapsulation checksum";
    /// RFC 1701's source routing, which RFC 2784 2.3 has discarded.
    GreRouting = "GRE routing present";
    /// RFC 2784 2.3, 2.4: reserved bits, another version or payload.
    GreHeader = "GRE header not understood";
    /// RFC 2784 2.2: the GRE checksum is wrong.
    GreChecksum = "bad GRE checksum";
    /// RFC 2890 2.2: an older sequence number than expected.
    GreSequence = "GRE out of sequence";
    /// RFC 2784 3.1: the payload goes back to who encapsulated it.
    GreLoop = "GRE payload loops back";
    /// RFC 4213 3.6: an inner or outer address that no such datagram can have.
    Martian = "martian address";
    /// The module above has no room.
    NoRoom = "no room above";
}

/// The counters of all instances together.
#[derive(Debug, Default)]
pub struct Stats {
    /// Outer datagrams made.
    pub encapsulated: Counter,
    /// Inner datagrams delivered upwards.
    pub decapsulated: Counter,
    /// Fragments made of inner datagrams before they were encapsulated.
    pub pieces: Counter,
    /// Inner datagrams that RFC 2004 cannot carry and that went as IPIP.
    pub minimal_as_ipip: Counter,
    /// ICMP errors heard about our outer datagrams.
    pub icmp_heard: Counter,
    /// ICMP errors sent to inner sources.
    pub icmp_relayed: Counter,
    /// ICMP errors not sent because of the rate limit.
    pub icmp_limited: Counter,
    /// RFC 6040 figure 4: combinations of ECN fields that should not be.
    pub ecn_alarms: Counter,
    /// Bindings whose lifetime has ended.
    pub expired: Counter,
    /// Broadcasts and multicasts heard on links and tunnelled.
    pub heard: Counter,
    /// Targets in the table.
    pub targets: Counter,
    /// Exits in the table.
    pub exits: Counter,
    /// Whose datagrams are decapsulated.
    pub decapsulated_from: Counter,
    /// Datagrams dropped, by [`Why`].
    pub drops: [Counter; Why::ALL.len()],
}

impl Stats {
    /// Counts a drop.
    #[inline]
    pub fn count_drop(&self, why: Why) {
        self.drops[why as usize].add(1);
    }

    /// Datagrams dropped for this reason.
    pub fn dropped(&self, why: Why) -> u64 {
        self.drops[why as usize].get()
    }

    /// Names and values, as VTUNL_STATS gives them.
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let mut v = vec![
            ("encapsulated", self.encapsulated.get()),
            ("decapsulated", self.decapsulated.get()),
            ("inner fragments made", self.pieces.get()),
            ("minimal as IPIP", self.minimal_as_ipip.get()),
            ("ICMP heard", self.icmp_heard.get()),
            ("ICMP relayed", self.icmp_relayed.get()),
            ("ICMP limited", self.icmp_limited.get()),
            ("ECN alarms", self.ecn_alarms.get()),
            ("expired", self.expired.get()),
            ("heard on links", self.heard.get()),
        ];
        v.extend(Why::ALL.iter().map(|w| (w.text(), self.dropped(*w))));
        v
    }
}
