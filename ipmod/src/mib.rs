//! Counters of one IP stack: what netstat -s shows, and the kstats of ip.
//!
//! ```text
//!   Mib ──┬─ rows() ─► ip_mib (ndd), netstat -s         ipInReceives ..
//!         └─ kstats() ─► ip:0:ip  ip:0:icmp  udp:0:udp  tcp:0:tcp     class mib2
//! ```
//!
//! Spec: RFC 2011 (the MIB-II ip and icmp groups), RFC 2012 (tcp), RFC 2013 (udp);
//! igmpstat of netinet/igmp_var.h; netstat(1M) -s, kstat(1M).
//! Kept: the kstats have the names of the MIB without its group; a UDP datagram for nobody
//! is ip's `noPorts`.
//! Differs: `outSegs` counts segments that are sent again too; the counters are 64 bits wide,
//! and the kstats show all of them.

use streams::kstat::Kstat;

use crate::stack::Stack;

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
    /// IGMP messages received.
    igps_rcv_total "igps_rcv_total";
    /// IGMP messages cut short.
    igps_rcv_tooshort "igps_rcv_tooshort";
    /// IGMP messages with a wrong checksum.
    igps_rcv_badsum "igps_rcv_badsum";
    /// Membership queries received.
    igps_rcv_queries "igps_rcv_queries";
    /// Membership queries that make no sense.
    igps_rcv_badqueries "igps_rcv_badqueries";
    /// Membership reports received.
    igps_rcv_reports "igps_rcv_reports";
    /// Membership reports that make no sense.
    igps_rcv_badreports "igps_rcv_badreports";
    /// Membership reports received of groups that are ours too.
    igps_rcv_ourreports "igps_rcv_ourreports";
    /// Membership reports and leaves sent.
    igps_snd_reports "igps_snd_reports";
    /// UDP datagrams given to a port.
    udp_in_datagrams "udpInDatagrams";
    /// UDP datagrams for a port that nobody has.
    udp_no_ports "udpNoPorts";
    /// UDP datagrams damaged.
    udp_in_errors "udpInErrors";
    /// UDP datagrams sent.
    udp_out_datagrams "udpOutDatagrams";
}

/// The counters of TCP, by the names of RFC 2012.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpMib {
    /// Connections asked for here.
    pub active_opens: u64,
    /// Connections that came to a listener.
    pub passive_opens: u64,
    /// Connections asked for that were not made.
    pub attempt_fails: u64,
    /// Segments received.
    pub in_segs: u64,
    /// Segments sent.
    pub out_segs: u64,
    /// Of these, with RST.
    pub out_rsts: u64,
}

/// The group of a counter, and its name in it: `ipInReceives` is `inReceives` of `ip`.
fn split(name: &'static str) -> (&'static str, String) {
    match name {
        "udpNoPorts" => return ("ip", "noPorts".to_owned()), // as Solaris has it
        "icmpInErrs" => return ("icmp", "inErrors".to_owned()),
        _ => {}
    }
    if name.starts_with("igps_") {
        return ("igmp", name.to_owned());
    }
    let at = name.find(|c: char| c.is_ascii_uppercase()).unwrap_or(0);
    let (group, rest) = name.split_at(at);
    let mut letters = rest.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    (group, first.into_iter().chain(letters).collect())
}

/// The kstats of a stack.
pub(crate) fn kstats(s: &mut Stack) -> Vec<Kstat> {
    let mut ip = Kstat::new("ip", 0, "ip", "mib2");
    // RFC 2011: forwarding 1, not-forwarding 2.
    ip.u32("forwarding", if s.params.forwarding { 1 } else { 2 });
    ip.u32("defaultTTL", s.params.def_ttl.into());
    let mut all = vec![ip];
    for (name, n) in s.mib.rows() {
        let (group, name) = split(name);
        let at = all.iter().position(|k| k.name == group).unwrap_or_else(|| {
            // ICMP and IGMP are parts of the module ip.
            let module = if group == "udp" { "udp" } else { "ip" };
            all.push(Kstat::new(module, 0, group, "mib2"));
            all.len() - 1
        });
        all[at].u64(name, n);
    }
    let mut tcp = Kstat::new("tcp", 0, "tcp", "mib2");
    let m = s.tcp.mib;
    tcp.u64("activeOpens", m.active_opens);
    tcp.u64("passiveOpens", m.passive_opens);
    tcp.u64("attemptFails", m.attempt_fails);
    tcp.u32("currEstab", s.tcp.established());
    tcp.u64("inSegs", m.in_segs);
    tcp.u64("outSegs", m.out_segs);
    tcp.u64("outRsts", m.out_rsts);
    all.push(tcp);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kstats_have_the_names_of_the_mib_and_every_counter() {
        // kstat(1M) -m ip; RFC 2011, RFC 2013
        assert_eq!(split("ipReasmOKs"), ("ip", "reasmOKs".into()));
        assert_eq!(split("icmpInMsgs"), ("icmp", "inMsgs".into()));
        assert_eq!(split("udpOutDatagrams"), ("udp", "outDatagrams".into()));
        let mut s = Stack::default();
        s.mib.in_receives = 1 << 40;
        s.mib.udp_no_ports = 3;
        let all = kstats(&mut s);
        let value = |name: &str, stat: &str| {
            let k = all.iter().find(|k| k.name == name)?;
            k.get(stat)?.number()
        };
        assert_eq!(value("ip", "inReceives"), Some(1 << 40));
        assert_eq!(value("ip", "noPorts"), Some(3));
        assert_eq!(value("ip", "defaultTTL"), Some(255));
        assert_eq!(value("tcp", "currEstab"), Some(0));
        let rows: usize = all.iter().map(|k| k.data.len()).sum();
        assert_eq!(rows, s.mib.rows().len() + 2 + 7);
        assert!(
            all.iter()
                .all(|k| !k.module.is_empty() && k.class == "mib2")
        );
    }
}
