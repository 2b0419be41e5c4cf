//! Groups of the whole stack: what streams have joined, what interfaces receive, and the way
//! of datagrams to groups out and in.
//!
//! ```text
//!   streams' Groups ─ commit ─► merged for each interface ─┬─► igmp_host ─► reports
//!                                                          └─► DL_ENABMULTI_REQ 01:00:5e:..
//!   out: ip_output ─► interface ─┬─► a copy for this host, if a member listens
//!                                └─► the link, unless TTL 0
//!   in:  ip_input ─► does the interface receive it? ─► deliver ─► streams that joined
//!   link ─► IGMP (protocol 2) ─► checks ─► igmp_host      timer ─► igmp_host ─► reports
//! ```
//!
//! Spec: RFC 1112, RFC 2236, RFC 3376; ip(7P), dlpi(7P); the reference's dlpi 7, ip-tpi 2.1, 3.
//! Kept: 224.0.0.1 is received while an interface is up; DL_ENABMULTI_REQ on links with ARP
//! only, and broadcasts (IFF_MULTI_BCAST) where it is refused; groups stay joined while an
//! interface is down; a datagram that came for nobody's group is dropped uncounted.
//! Kept: /dev/udp, /dev/icmp and /dev/rawip hear the groups that their stream has joined,
//! but of PIM and RSVP all.
//! Differs: a stream of /dev/ip hears every group that its interface receives. Multicasts are
//! never forwarded (no mrouted(1M), no MRT_INIT).

use std::collections::BTreeSet;
use std::time::Duration;

use dlpi::prim::{DL_DISABMULTI_REQ, DL_ENABMULTI_REQ, Prim};
use rustc_hash::FxHashMap;
use streams::TimeoutId;
use streams::prelude::*;

use crate::filter::Filter;
use crate::forward::in_pieces;
use crate::igmp::{self, ALL_SYSTEMS, Bad, Message, Send, Version};
use crate::igmp_host::{Host, Now, Rng};
use crate::ill::{Ill, iff};
use crate::membership::{Groups, Joined};
use crate::module::OnStack;
use crate::stack::Stack;
use crate::wire::{Header, IP_DF, be16, be32, is_multicast};
use crate::{deliver, input, output};

/// The timer of IGMP, on the stream of an interface.
pub(crate) const IGMP: u64 = 3;

/// The link address of a group (RFC 1112 6.4).
pub fn link_address(group: u32) -> [u8; 6] {
    let [_, b, c, d] = group.to_be_bytes();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

/// An interface's side of it.
#[derive(Default)]
struct Link {
    host: Host,
    /// It was up when it was last looked at.
    up: bool,
    /// Link addresses that the provider has been asked to receive.
    enabled: BTreeSet<[u8; 6]>,
    timer: Option<(TimeoutId, Duration)>,
}

/// The groups of a stack.
pub struct Multicast {
    streams: FxHashMap<QRef, Groups>,
    links: FxHashMap<u32, Link>,
    rng: Rng,
    /// `igmp_max_version`.
    pub max_version: u8,
}

impl Default for Multicast {
    fn default() -> Multicast {
        Multicast::seeded(1)
    }
}

impl Multicast {
    /// With random delays from this seed.
    pub fn seeded(seed: u64) -> Multicast {
        Multicast {
            streams: FxHashMap::default(),
            links: FxHashMap::default(),
            rng: Rng::seeded(seed),
            max_version: 3,
        }
    }

    /// The groups of a stream, which its read queue names.
    pub fn of(&self, q: QRef) -> Groups {
        self.streams.get(&q).cloned().unwrap_or_default()
    }

    /// Has the stream joined a group on this interface, from this source?
    #[inline]
    pub fn wants(&self, q: QRef, ill: u32, group: u32, source: u32) -> bool {
        let groups = self.streams.get(&q);
        groups.is_some_and(|g| g.wants(ill, group, source))
    }

    fn of_group(&self, ill: u32, group: u32) -> impl Iterator<Item = &Joined> {
        let all = self.streams.values().flat_map(|g| &g.joined);
        all.filter(move |j| j.ill == ill && j.group == group)
    }

    fn host(&mut self, ill: u32, now: Duration) -> (&mut Host, Now<'_>) {
        let max = match self.max_version {
            1 => Version::V1,
            2 => Version::V2,
            _ => Version::V3,
        };
        let host = &mut self.links.entry(ill).or_default().host;
        (
            host,
            Now {
                time: now,
                rng: &mut self.rng,
                max,
            },
        )
    }
}

/// A line of `netstat -g`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The interface.
    pub ill: u32,
    /// The group.
    pub group: u32,
    /// How many have joined; 224.0.0.1 IP itself.
    pub references: usize,
    /// From whom it is received.
    pub filter: Filter,
}

impl Stack {
    /// Does an interface receive a group?
    #[inline]
    pub fn hears(&self, ill: u32, group: u32) -> bool {
        let joined = self.multicast.links.get(&ill);
        joined.is_some_and(|l| l.host.hears(group))
            || (group == ALL_SYSTEMS && self.all_systems(ill))
    }

    /// RFC 1112 7.1: every interface that can and is up.
    fn all_systems(&self, ill: u32) -> bool {
        let able = iff::UP | iff::MULTICAST;
        self.ill(ill).is_some_and(|i| i.flags & able == able)
    }

    /// The groups of every interface.
    pub fn members(&self) -> Vec<Member> {
        let mut all = Vec::new();
        for ill in 0..self.ills.len() as u32 {
            let groups = self.multicast.links.get(&ill);
            let mut groups: Vec<(u32, Filter)> = groups.map_or_else(Vec::new, |l| {
                l.host.groups().map(|(a, f)| (a, f.clone())).collect()
            });
            let own = usize::from(self.all_systems(ill));
            if own == 1 && groups.first().is_none_or(|g| g.0 != ALL_SYSTEMS) {
                groups.insert(0, (ALL_SYSTEMS, Filter::everything()));
            }
            all.extend(groups.into_iter().map(|(group, filter)| Member {
                ill,
                group,
                references: self.multicast.of_group(ill, group).count()
                    + if group == ALL_SYSTEMS { own } else { 0 },
                filter,
            }));
        }
        all
    }

    /// The source address of what a stream sends to a group, for transports that sum it.
    pub(crate) fn multicast_source(&mut self, stream: QRef, group: u32) -> u32 {
        let out = self.multicast.streams.get(&stream).and_then(|g| g.out);
        match out {
            Some((out, named)) => self.source_on(out, named),
            None => self
                .multicast_ill(group)
                .map_or(0, |o| self.source_on(o, 0)),
        }
    }

    /// An address of an interface to speak to groups from: the one that it was named by, or
    /// its first.
    fn source_on(&self, ill: u32, named: u32) -> u32 {
        let Some(i) = self.ill(ill) else { return 0 };
        let named = i.with_addr(named);
        named.or_else(|| i.up().next()).map_or(0, |p| p.addr)
    }

    /// The largest datagram to a group on an interface.
    fn mtu_to_groups(&self, ill: u32) -> u32 {
        let i = self.ill(ill);
        let p = i.and_then(|i| i.up().next().or(i.ipifs.first()));
        p.map_or(0, |p| p.mtu)
    }
}

/// The groups of this stream are these from now on.
pub(crate) fn commit<M: OnStack>(q: &mut Queue<'_, M>, to: Groups) {
    let me = q.rd().qref();
    let m = &mut q.shared().multicast;
    let was = match to == Groups::default() {
        true => m.streams.remove(&me),
        false => m.streams.insert(me, to.clone()),
    };
    let was = was.unwrap_or_default();
    let changed = |a: &Groups, b: &Groups| {
        let new = a.joined.iter().filter(|j| !b.joined.contains(j));
        new.map(|j| (j.ill, j.group)).collect::<BTreeSet<_>>()
    };
    for (ill, group) in &changed(&was, &to) | &changed(&to, &was) {
        refresh(q, ill, group);
    }
}

/// The stream closes: it leaves all that it has joined.
pub(crate) fn leave_all<M: OnStack>(q: &mut Queue<'_, M>) {
    commit(q, Groups::default());
}

/// Who has joined a group on an interface is not who it was.
fn refresh<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, group: u32) {
    let now = q.now();
    let s = q.shared();
    let up = s.ill(ill).is_some_and(|i| i.is_up() && i.wq.is_some());
    let filter = Filter::merge(s.multicast.of_group(ill, group).map(|j| &j.filter));
    let (host, mut now) = s.multicast.host(ill, now);
    let said = host.change(group, filter, &mut now);
    if !up {
        // lo0 has no router to tell; one that is down tells when it comes up.
        return host.silence();
    }
    listen(q, ill);
    send(q, ill, &said);
}

/// Has the link receive what the interface's groups need, and nothing else.
fn listen<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let s = q.shared();
    let Some(i) = s.ill(ill) else { return };
    let (wq, resolves, up) = (i.wq, i.resolves(), i.is_up());
    let broadcasts = i.flags & iff::MULTI_BCAST != 0;
    let Some(wq) = wq.filter(|_| resolves) else {
        return;
    };
    let mut wanted = BTreeSet::new();
    let link = s.multicast.links.entry(ill).or_default();
    if up && !broadcasts {
        wanted.insert(link_address(ALL_SYSTEMS));
        wanted.extend(link.host.groups().map(|(g, _)| link_address(g)));
    }
    let is = std::mem::replace(&mut link.enabled, wanted.clone());
    for mac in is.difference(&wanted) {
        let addr = mac.to_vec();
        q.putnext_of(wq, Prim::DisabmultiReq { addr }.emit());
    }
    for mac in wanted.difference(&is) {
        let addr = mac.to_vec();
        q.putnext_of(wq, Prim::EnabmultiReq { addr }.emit());
    }
}

/// The provider's answer to that; true if it was one.
pub(crate) fn dl_answer<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, p: &Prim) -> bool {
    match p {
        Prim::OkAck { correct_primitive } => {
            matches!(*correct_primitive, DL_ENABMULTI_REQ | DL_DISABMULTI_REQ)
        }
        Prim::ErrorAck {
            error_primitive, ..
        } if *error_primitive == DL_ENABMULTI_REQ => {
            refused(q, ill);
            true
        }
        Prim::ErrorAck {
            error_primitive, ..
        } => *error_primitive == DL_DISABMULTI_REQ,
        _ => false,
    }
}

/// The link has no multicast: its broadcasts do.
#[cold]
fn refused<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let s = q.shared();
    let Some(i) = s.ill_mut(ill) else { return };
    if i.flags & iff::MULTI_BCAST != 0 {
        return;
    }
    i.flags |= iff::MULTI_BCAST;
    let text = format!("{}: no multicast on this link, using broadcasts", i.name);
    // What was known of groups' link addresses is wrong now.
    let known = s.neighbours.iter().map(|(k, _)| *k);
    let known: Vec<_> = known.filter(|k| k.0 == ill && is_multicast(k.1)).collect();
    for k in known {
        s.neighbours.remove(k);
    }
    listen(q, ill);
    q.strlog(1, format_args!("{text}"));
}

/// An interface has come up: its groups are said anew.
fn up<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let now = q.now();
    let s = q.shared();
    if s.ill(ill)
        .is_none_or(|i| i.wq.is_none() || i.flags & iff::MULTICAST == 0)
    {
        return;
    }
    let (host, mut now) = s.multicast.host(ill, now);
    let said = host.announce(&mut now);
    listen(q, ill);
    send(q, ill, &said);
}

/// An interface has gone down: it stays a member, and says nothing.
fn down<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    if let Some(l) = q.shared().multicast.links.get_mut(&ill) {
        l.host.silence();
        listen(q, ill);
        rearm(q, ill);
    }
}

/// An address of an interface has gone up or down: perhaps the interface has.
pub(crate) fn follow<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let s = q.shared();
    let is = s.ill(ill).is_some_and(|i| i.is_up() && i.wq.is_some());
    let link = s.multicast.links.entry(ill).or_default();
    match (std::mem::replace(&mut link.up, is), is) {
        (false, true) => up(q, ill),
        (true, false) => down(q, ill),
        _ => {}
    }
}

/// An interface is no more, and neither is what was joined on it.
pub(crate) fn gone<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let m = &mut q.shared().multicast;
    for g in m.streams.values_mut() {
        g.joined.retain(|j| j.ill != ill);
        g.out = g.out.filter(|o| o.0 != ill);
    }
    if let Some((id, _)) = m.links.remove(&ill).and_then(|l| l.timer) {
        q.quntimeout(id);
    }
}

/// Sends reports and leaves, and sees to the timer.
fn send<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, said: &[Send]) {
    rearm(q, ill);
    let s = q.shared();
    let (src, mtu) = (s.source_on(ill, 0), s.mtu_to_groups(ill) as usize);
    for (dst, bytes) in said.iter().flat_map(|m| igmp::datagrams(m, src, mtu)) {
        let s = q.shared();
        s.mib.igps_snd_reports += 1;
        s.mib.out_requests += 1;
        let mut mp = q.alloc(64, bytes.len());
        mp.append(&bytes);
        output::send(q, ill, dst, mp);
    }
}

/// Has the next thing that is due noticed.
fn rearm<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let now = q.now();
    let s = q.shared();
    let Some(wq) = s.ill(ill).and_then(|i| i.wq) else {
        return;
    };
    let Some(link) = s.multicast.links.get_mut(&ill) else {
        return;
    };
    let next = link.host.next();
    let set = link.timer;
    if set.map(|t| t.1) == next {
        return;
    }
    link.timer = None;
    let Some(mut timed) = q.at(wq) else { return };
    if let Some((id, _)) = set {
        timed.quntimeout(id);
    }
    let Some(at) = next else { return };
    let id = timed.qtimeout(at.saturating_sub(now), IGMP);
    if let Some(link) = q.shared().multicast.links.get_mut(&ill) {
        link.timer = Some((id, at));
    }
}

/// The timer of an interface.
pub(crate) fn expire<M: OnStack>(q: &mut Queue<'_, M>, ill: u32) {
    let now = q.now();
    let s = q.shared();
    let up = s.ill(ill).is_some_and(|i| i.is_up());
    let Some(link) = s.multicast.links.get_mut(&ill) else {
        return;
    };
    link.timer = None;
    if !up {
        return link.host.silence();
    }
    let (host, mut now) = s.multicast.host(ill, now);
    let said = host.expire(&mut now);
    send(q, ill, &said);
}

/// A datagram to a group, header first and checked.
pub(crate) fn ip_output<M: OnStack>(q: &mut Queue<'_, M>, mut mp: Msg) {
    let b = mp.rd();
    let (dst, src, frag) = (be32(b, 16), be32(b, 12), be16(b, 6));
    let (ihl, len, ttl) = (usize::from(b[0] & 0xf) * 4, usize::from(be16(b, 2)), b[8]);
    let me = q.rd().qref();
    let s = q.shared();
    let (out, loopback) = match s.multicast.streams.get(&me) {
        Some(g) => (g.out, g.loopback),
        None => (None, true),
    };
    let out = out.or_else(|| s.multicast_ill(dst).map(|o| (o, 0)));
    let Some(((out, named), i)) = out.and_then(|o| Some((o, s.ill(o.0)?))) else {
        s.mib.out_no_routes += 1;
        return q.discard(mp, "no route");
    };
    let (mtu, lo) = (s.mtu_to_groups(out), i.wq.is_none());
    let from = if src != 0 {
        src
    } else {
        s.source_on(out, named)
    };
    output::finish_header(s, &mut mp, ihl, from, frag);
    if lo {
        return input::ip_input(q, out, mp, true);
    }
    if loopback && s.hears(out, dst) {
        let copy = mp.copymsg();
        input::ip_input(q, out, copy, true);
    }
    if ttl == 0 {
        return q.discard(mp, "multicast with TTL 0: it stays on this host");
    }
    if len > mtu as usize {
        if frag & IP_DF != 0 {
            q.shared().mib.frag_fails += 1;
            return q.discard(mp, "too big, and must not be fragmented");
        }
        return in_pieces(q, mp, out, dst, mtu);
    }
    output::send(q, out, dst, mp);
}

/// A datagram to a group has arrived.
#[inline]
pub(crate) fn ip_input<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mp: Msg) {
    if !q.shared().hears(ill, h.dst) {
        // Not counted: groups may share a link address, and a link may hear all of them.
        return q.discard(mp, "multicast to a group that nobody has joined");
    }
    deliver::deliver(q, ill, h, mp, true);
}

/// IGMP has arrived.
pub(crate) fn igmp_input<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, h: &Header, mut mp: Msg) {
    q.shared().mib.in_delivers += 1;
    q.shared().mib.igps_rcv_total += 1;
    if mp.cont().is_some() && !mp.pullupmsg(None) {
        q.shared().mib.igps_rcv_tooshort += 1;
        return q.discard(mp, "IGMP cut short");
    }
    let now = q.now();
    let s = q.shared();
    let message = igmp::parse(mp.rd().get(h.ihl..).unwrap_or(&[]));
    let done = match message {
        Err(Bad::Short) => {
            s.mib.igps_rcv_tooshort += 1;
            Err("IGMP cut short")
        }
        Err(Bad::Checksum) => {
            s.mib.igps_rcv_badsum += 1;
            Err("IGMP checksum")
        }
        Ok(_) if s.is_local(h.src) => Ok(()), // our own, looped back
        Ok(Message::Query(query)) => {
            s.mib.igps_rcv_queries += 1;
            asked(s, ill, h, &query, now).inspect_err(|_| {
                s.mib.igps_rcv_badqueries += 1;
            })
        }
        Ok(Message::Report(of)) => {
            s.mib.igps_rcv_reports += 1;
            heard(s, ill, h, of, now).inspect_err(|_| {
                s.mib.igps_rcv_badreports += 1;
            })
        }
        Ok(Message::Other) => Ok(()),
    };
    if let Err(why) = done {
        return q.discard(mp, why);
    }
    rearm(q, ill);
    deliver::copies(q, ill, h, &mut mp);
    q.freemsg(mp);
}

type Checked = Result<(), &'static str>;

/// A query, if it is one that has to be answered.
fn asked(s: &mut Stack, ill: u32, h: &Header, query: &igmp::Query, now: Duration) -> Checked {
    if h.ttl != 1 {
        return Err("IGMP from another link"); // RFC 3376 4
    }
    if query.group != 0 && !is_multicast(query.group) {
        return Err("IGMP query about no group");
    }
    // RFC 1112 appendix I: to all systems, about all groups. RFC 3376 9.1 for the others.
    let to_all = h.dst == ALL_SYSTEMS;
    let old = query.version == Version::V1;
    if (old && (!to_all || query.group != 0))
        || (query.group == 0 && is_multicast(h.dst) && !to_all)
    {
        return Err("IGMP query to another group");
    }
    if s.ill(ill).is_some_and(|i| i.wq.is_some()) {
        let (host, mut now) = s.multicast.host(ill, now);
        let mut query = query.clone();
        query.version = query.version.min(now.max); // as a router that has no more
        host.query(&query, &mut now);
    }
    Ok(())
}

/// A neighbour's report.
fn heard(s: &mut Stack, ill: u32, h: &Header, of: u32, now: Duration) -> Checked {
    if h.ttl != 1 {
        return Err("IGMP from another link");
    }
    if !is_multicast(of) || of != h.dst {
        return Err("IGMP report of another group");
    }
    // RFC 2236 10: from a neighbour, or from one that has no address yet.
    let near = |i: &Ill| {
        h.src == 0 || i.flags & iff::POINTOPOINT != 0 || i.up().any(|p| p.on_subnet(h.src))
    };
    if !s.ill(ill).is_some_and(near) {
        return Err("IGMP report from another net");
    }
    let (host, now) = s.multicast.host(ill, now);
    if host.heard(of, &now) {
        s.mib.igps_rcv_ourreports += 1;
    }
    Ok(())
}
