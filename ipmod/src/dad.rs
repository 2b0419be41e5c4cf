//! Is an address ours alone? Announcing it, defending it, and asking before it is used.
//!
//! ```text
//!   up ─► announce ─ 2 s ─► announce ─ ..  five times        arp_probe_count 0, as it is first
//!   up ─► probe ─ 1.5 s ─► probe ─ .. ─► up, announce        arp_probe_count 3, say
//!           │ somebody has it, or asks too                    ▲
//!           └──► duplicate: down ─── 5 minutes ─► probe ──────┘
//!
//!   up, and somebody else speaks with the address ─► said in the log, announced once more;
//!                     with probing: too often ─► duplicate
//! ```
//!
//! Which of the two: an address is used at once and announced, as systems of 2.6 do; that
//! is the default. Solaris 10 probes first (RFC 5227); `arp_probe_count` asks for it, with
//! that system's other parameters and their defaults. An address under a probe is not up.
//!
//! Spec: RFC 5227 2.1, 2.3, 2.4; RFC 826; arp(7P), ndd(1M); the Solaris Tunable Parameters
//! Reference, "duplicate address detection".
//! Kept: who probes does not learn from it; a probe from somebody else is a conflict too;
//! the defence is one announcement and at most one in ten seconds.
//! Differs: the first probe goes out at once, not after a random part of a second; there is
//! no fast probing by link state and no announcing over and over later (arp_defend_interval).

use std::time::Duration;

use streams::prelude::*;
use streams::strlog::{SL_CONSOLE, SL_TRACE, SL_WARN};

use crate::ill::Ill;
use crate::ipif::Ipif;
use crate::module::OnStack;
use crate::multicast;
use crate::resolve::{self, Arp, Packet};
use crate::stack::Stack;

/// RFC 5227 2.4: at most one defence in this time.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A timer of ours; below it are the claim's turn and the number of the address.
pub(crate) const CLAIM: u64 = 1 << 63;

/// What ndd(1M) sets about it.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// `arp_probe_count`: probes before an address is used; 0 for none.
    pub probe_count: u32,
    /// `arp_probe_interval`: from one to the next, and from the last to use.
    pub probe_interval: Duration,
    /// `arp_publish_count`: announcements of an address.
    pub publish_count: u32,
    /// `arp_publish_interval`.
    pub publish_interval: Duration,
    /// `ip_max_defend`: so many conflicts in `defend_interval` are borne.
    pub max_defend: u32,
    /// `ip_defend_interval`.
    pub defend_interval: Duration,
    /// `ip_dup_recovery`: a duplicate address is tried again after this; 0 for never.
    pub dup_recovery: Duration,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            probe_count: 0,
            probe_interval: Duration::from_millis(1500),
            publish_count: 5,
            publish_interval: Duration::from_secs(2),
            max_defend: 3,
            defend_interval: Duration::from_secs(30),
            dup_recovery: Duration::from_secs(300),
        }
    }
}

/// What is being done about an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stand {
    /// It is used, or it is not wanted.
    #[default]
    Settled,
    /// It is asked for on the link before it comes up.
    Probing,
    /// Somebody else has it, so it is down.
    Duplicate,
}

/// An address's claim to be the only one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Where it stands.
    pub stand: Stand,
    /// Probes or announcements still to be sent.
    left: u32,
    /// The timers with this number are its own; those of claims before are not.
    turn: u32,
    /// Conflicts since `first`.
    conflicts: u32,
    first: Duration,
    /// When it was last defended.
    defended: Option<Duration>,
}

impl Stack {
    /// Starts a claim afresh.
    fn claim(&mut self, at: u32, id: u16, stand: Stand, left: u32) -> Option<&mut Claim> {
        let ill = self.ill_mut(at)?;
        ill.turns += 1;
        let turn = ill.turns;
        let p = ill.ipif_mut(id)?;
        p.claim = Claim {
            stand,
            left,
            turn,
            ..p.claim
        };
        Some(&mut p.claim)
    }

    /// Nothing more is to be done about an address; is it one that was waited for?
    pub(crate) fn give_claim_up(&mut self, at: u32, id: u16) -> bool {
        let Some(p) = self.ill_mut(at).and_then(|i| i.ipif_mut(id)) else {
            return false;
        };
        let was = std::mem::take(&mut p.claim).stand;
        was != Stand::Settled
    }
}

fn tag(turn: u32, id: u16) -> u64 {
    CLAIM | u64::from(turn) << 16 | u64::from(id)
}

/// Has what is next to be done about a claim done after a while.
fn later<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16, after: Duration) {
    let Some(i) = q.shared().ill(at) else { return };
    let (Some(arp), Some(turn)) = (i.arp, i.ipif(id).map(|p| p.claim.turn)) else {
        return;
    };
    if let Some(mut a) = q.at(arp) {
        a.qtimeout(after, tag(turn, id));
    }
}

/// An address is to come up on a link that is bound: at once, or when nobody else has it.
pub(crate) fn rise<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16) {
    let s = q.shared();
    let count = s.params.dad.probe_count;
    let resolves = s.ill(at).filter(|i| i.resolves() && i.arp.is_some());
    let addr = resolves.and_then(|i| i.ipif(id)).map_or(0, |p| p.addr);
    if addr != 0 && count > 0 {
        s.claim(at, id, Stand::Probing, count);
        return probe(q, at, id);
    }
    s.give_claim_up(at, id);
    s.ipif_up(at, id);
    announce(q, at, id);
}

/// One probe (RFC 5227 2.1.1): who has it? From nobody.
fn probe<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16) {
    let s = q.shared();
    let every = s.params.dad.probe_interval;
    let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id)) else {
        return;
    };
    if p.claim.left == 0 {
        // Nobody has spoken up.
        s.give_claim_up(at, id);
        s.ipif_up(at, id);
        return announce(q, at, id);
    }
    p.claim.left -= 1;
    let target = p.addr;
    resolve::send_request(q, at, 0, target);
    later(q, at, id, every);
}

/// An address that has come up is announced, and a few times more (RFC 5227 2.3).
pub(crate) fn announce<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16) {
    multicast::follow(q, at);
    let s = q.shared();
    let resolves = s.ill(at).filter(|i| i.resolves());
    if resolves
        .and_then(|i| i.ipif(id))
        .is_none_or(|p| p.addr == 0 || !p.is_up())
    {
        return;
    }
    let count = s.params.dad.publish_count;
    s.claim(at, id, Stand::Settled, count);
    again(q, at, id);
}

/// The next announcement.
fn again<M: OnStack>(q: &mut Queue<'_, M>, at: u32, id: u16) {
    let s = q.shared();
    let every = s.params.dad.publish_interval;
    let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id)) else {
        return;
    };
    if p.claim.left == 0 || !p.is_up() {
        return;
    }
    p.claim.left -= 1;
    let (addr, more) = (p.addr, p.claim.left > 0);
    resolve::send_request(q, at, addr, addr);
    if more {
        later(q, at, id, every);
    }
}

/// A timer of a claim.
pub(crate) fn timeout(q: &mut Queue<'_, Arp>, at: u32, tag: u64) {
    let (turn, id) = ((tag >> 16) as u32, tag as u16);
    let s = q.shared();
    let p = s.ill(at).and_then(|i| i.ipif(id));
    let Some(stand) = p.filter(|p| p.claim.turn == turn).map(|p| p.claim.stand) else {
        return; // of a claim that is no more
    };
    match stand {
        Stand::Settled => again(q, at, id),
        Stand::Probing => probe(q, at, id),
        Stand::Duplicate => rise(q, at, id),
    }
}

/// An ARP packet from somebody else: is it about an address of ours? What is said with our
/// address is of no further use.
pub(crate) fn hear(q: &mut Queue<'_, Arp>, at: u32, f: &Packet) -> bool {
    let s = q.shared();
    let Some(i) = s.ill(at) else { return false };
    if f.spa != 0
        && let Some(p) = i.with_addr(f.spa)
    {
        let id = p.id;
        conflict(q, at, id, f);
        return true;
    }
    let meant = if f.spa != 0 { f.spa } else { f.tpa };
    // RFC 5227 2.1.1: a probe by somebody else is one who wants it too.
    let tried = |p: &&Ipif| p.claim.stand == Stand::Probing && p.addr == meant;
    if (f.spa != 0 || f.is_request())
        && let Some(id) = i.ipifs.iter().find(tried).map(|p| p.id)
    {
        duplicate(q, at, id, f);
        return true;
    }
    false
}

/// Somebody else speaks with an address of ours (RFC 5227 2.4).
fn conflict(q: &mut Queue<'_, Arp>, at: u32, id: u16, f: &Packet) {
    let now = q.now();
    let s = q.shared();
    let d = s.params.dad;
    let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id)) else {
        return;
    };
    let c = &mut p.claim;
    if c.conflicts == 0 || now.saturating_sub(c.first) > d.defend_interval {
        (c.conflicts, c.first) = (0, now);
    }
    c.conflicts += 1;
    if d.probe_count > 0 && c.conflicts > d.max_defend {
        s.ipif_down(at, id);
        multicast::follow(q, at);
        return duplicate(q, at, id, f);
    }
    let lately = |then: Duration| now.saturating_sub(then) < DEFEND_INTERVAL;
    if c.defended.is_some_and(lately) {
        return;
    }
    c.defended = Some(now);
    let addr = p.addr;
    warn(
        q,
        format_args!(
            "IP: Hardware address '{}' trying to be our address {}!",
            f.sender(),
            std::net::Ipv4Addr::from(addr)
        ),
    );
    resolve::send_request(q, at, addr, addr);
}

/// Somebody else has it: it stays down until it is tried again.
fn duplicate(q: &mut Queue<'_, Arp>, at: u32, id: u16, f: &Packet) {
    let s = q.shared();
    let after = s.params.dad.dup_recovery;
    let Some(i) = s.ill(at) else { return };
    let name = i.name_of(id);
    let addr = i.ipif(id).map_or(0, |p| p.addr);
    if let Some(c) = s.claim(at, id, Stand::Duplicate, 0) {
        (c.conflicts, c.defended) = (0, None);
    }
    warn(
        q,
        format_args!(
            "{name} has duplicate address {} (in use by {}); disabled",
            std::net::Ipv4Addr::from(addr),
            f.sender()
        ),
    );
    if !after.is_zero() {
        later(q, at, id, after);
    }
}

/// A published address is spoken with by who should be spoken for: told to the log.
pub(crate) fn proxy_problem(q: &mut Queue<'_, Arp>, at: u32, f: &Packet) {
    let name = q.shared().ill(at).map_or("-", |i| &i.name).to_owned();
    warn(
        q,
        format_args!(
            "IP: Proxy ARP problem? Node '{}' is using {} on {name}",
            f.sender(),
            std::net::Ipv4Addr::from(f.spa)
        ),
    );
}

fn warn(q: &mut Queue<'_, Arp>, text: std::fmt::Arguments<'_>) {
    q.strlog_to(0, 1, SL_TRACE | SL_CONSOLE | SL_WARN, text);
}

/// A word for a report: what is being done about an address.
pub(crate) fn word(i: &Ill, p: &Ipif) -> &'static str {
    match p.claim.stand {
        Stand::Probing => "probing",
        Stand::Duplicate => "duplicate",
        Stand::Settled if p.is_up() && i.resolves() => "ours",
        Stand::Settled => "-",
    }
}
