//! Counters of one IP stack, and the one way a datagram ends without arriving.
//!
//! Spec: RFC 2011 (the MIB-II ip and icmp groups), netstat(1M) -s.

macro_rules! mib {
    ($($(#[$doc:meta])* $field:ident $name:literal;)*) => {
        /// The counters. Each counts datagrams since the stack was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Mib { $($(#[$doc])* pub $field: u64),* }

        impl Mib {
            /// Names and values, in the order of netstat -s.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field)),*]
            }
        }
    };
}

mib! {
    /// Received from below.
    in_receives "ipInReceives";
    /// Dropped for their header.
    in_hdr_errors "ipInHdrErrors";
    /// Dropped for their destination.
    in_addr_errors "ipInAddrErrors";
    /// Forwarded.
    forw_datagrams "ipForwDatagrams";
    /// Not forwarded: this host is no router.
    forw_prohibits "ipForwProhibits";
    /// For a protocol that nobody has.
    in_unknown_protos "ipInUnknownProtos";
    /// Dropped for another reason on the way in.
    in_discards "ipInDiscards";
    /// Given to a protocol.
    in_delivers "ipInDelivers";
    /// Sent by this host.
    out_requests "ipOutRequests";
    /// Dropped for another reason on the way out.
    out_discards "ipOutDiscards";
    /// Dropped: no route.
    out_no_routes "ipOutNoRoutes";
    /// Fragments received for reassembly.
    reasm_reqds "ipReasmReqds";
    /// Datagrams reassembled.
    reasm_oks "ipReasmOKs";
    /// Datagrams given up.
    reasm_fails "ipReasmFails";
    /// Fragments that were there already.
    reasm_duplicates "ipReasmDuplicates";
    /// Datagrams cut into fragments.
    frag_oks "ipFragOKs";
    /// Datagrams that could not be cut.
    frag_fails "ipFragFails";
    /// Fragments made.
    frag_creates "ipFragCreates";
    /// ICMP messages received.
    icmp_in_msgs "icmpInMsgs";
    /// ICMP errors received.
    icmp_in_errors "icmpInErrs";
    /// Redirects not believed.
    icmp_in_bad_redirects "icmpInBadRedirects";
    /// ICMP messages sent.
    icmp_out_msgs "icmpOutMsgs";
    /// ICMP errors kept back: not allowed, or too many.
    icmp_out_drops "icmpOutDrops";
    /// UDP datagrams given to a port.
    udp_in_datagrams "udpInDatagrams";
    /// UDP datagrams for a port that nobody has.
    udp_no_ports "udpNoPorts";
    /// UDP datagrams damaged.
    udp_in_errors "udpInErrors";
    /// UDP datagrams sent.
    udp_out_datagrams "udpOutDatagrams";
}
