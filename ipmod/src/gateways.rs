//! Default gateways that do not answer: the others are used until they do again.
//!
//! ```text
//!   five questions, no answer ─► is it the gateway of a default route? ─► behind the others
//!                                   what waited goes by one of those ◄──┘     │ asked for
//!   ARP from it, whatever it says ─► as before ◄──────────────────────────────┘ every minute
//! ```
//!
//! Spec: RFC 1122 3.3.1.4 and 3.3.1.5 (dead gateways, and choosing another), RFC 816.
//! Kept: the advice comes from the link layer; if none of them answers, all are used as before.
//! Differs: only the gateways of default routes, as RFC 1122 has it for hosts; no advice of
//! transports is heard.

use streams::prelude::*;

use crate::module::OnStack;
use crate::output;
use crate::resolve::{self, Arp};
use crate::wire::be32;

/// The timers that ask for dead gateways: below it is the address.
pub(crate) const GATEWAY: u64 = 1 << 61;

/// Nobody at this address answers: what waited goes another way if it was a default gateway.
/// What is left has no other way.
pub(crate) fn no_answer<M: OnStack>(
    q: &mut Queue<'_, M>,
    out: u32,
    addr: u32,
    waiting: impl IntoIterator<Item = Msg>,
) -> Vec<Msg> {
    let s = q.shared();
    if s.ires.set_dead(addr, true) {
        ask_later(q, out, addr);
    }
    let mut stuck = Vec::new();
    for mp in waiting {
        let s = q.shared();
        let dst = mp.rd().get(16..20).map_or(0, |b| be32(b, 0));
        let other = s.route(dst).map(|id| *s.ires.get(id));
        match other.filter(|r| r.gateway != 0 && r.gateway != addr) {
            Some(r) if s.ires.is_dead(addr) && mp.msgsize() <= r.mtu as usize => {
                output::send(q, r.ill, r.gateway, mp);
            }
            _ => stuck.push(mp),
        }
    }
    stuck
}

fn ask_later<M: OnStack>(q: &mut Queue<'_, M>, ill: u32, addr: u32) {
    let s = q.shared();
    let every = s.params.timer_interval;
    let arp = s.ill(ill).and_then(|i| i.arp);
    if let Some(mut a) = arp.and_then(|a| q.at(a)) {
        a.qtimeout(every, GATEWAY | u64::from(addr));
    }
}

/// A minute has passed: is it there again?
pub(crate) fn timeout(q: &mut Queue<'_, Arp>, ill: u32, addr: u32) {
    let s = q.shared();
    if !s.ires.is_dead(addr) {
        return;
    }
    let from = s.ill(ill).map_or(0, |i| i.source_to(addr));
    if from != 0 {
        resolve::send_request(q, ill, from, addr);
    }
    ask_later(q, ill, addr);
}
