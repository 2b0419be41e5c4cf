//! What must hold whenever nobody is inside a domain, whatever was called before.
//!
//! ```text
//!   Kernel::broken_invariants() ──► each domain, alone ──► each queue ──► what is wrong
//!                                                          its accounts, marks, order
//!                                                          its neighbours
//!                                                          its perimeter: at rest
//!                                                          its place in the run queue
//! ```
//!
//! Numbers are those of section 10 of the facts this emulation was built from: 2 (one
//! M_PCPROTO), 3 (accounts), 4 (QFULL), 5 (QWANTW), 6 (perimeters); and what follows from
//! queue(9S) and mt-streams(9F) for the links between queues and the scheduler.

use crate::domain::Domain;
use crate::kernel::Kernel;
use crate::message::MsgType;
use crate::queue::{NONE, flag};

impl Kernel {
    /// What is wrong with the queues of this kernel just now, a sentence each; nothing if
    /// all is well. For tests of modules: call it between system calls.
    pub fn broken_invariants(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for cell in self.env.live_domains() {
            cell.with(|dom| dom.look_over(&mut wrong));
        }
        wrong
    }
}

impl Domain {
    fn look_over(&self, wrong: &mut Vec<String>) {
        for even in self.pairs() {
            for idx in [even, even + 1] {
                let s = self.slot(idx);
                let mut say = |what: String| {
                    let side = if idx & 1 == 0 { "read" } else { "write" };
                    wrong.push(format!("{} ({side} queue {idx}): {what}", s.name));
                };
                if let Err(e) = s.accounts() {
                    say(e.to_owned());
                }
                // 4: the mark follows the count.
                if s.flag & flag::QFULL != 0 && s.count < s.hiwat {
                    say(format!("QFULL at {} of {} bytes", s.count, s.hiwat));
                }
                if s.flag & flag::QFULL == 0 && s.count > 0 && s.count >= s.hiwat {
                    say(format!("not QFULL at {} of {} bytes", s.count, s.hiwat));
                }
                // 5: who waits for room is told once it is there.
                if s.flag & flag::QWANTW != 0 && s.list.is_empty() && s.count == 0 {
                    say("empty, and somebody still waits for room".to_owned());
                }
                // 6: nobody is inside, so nobody may wait to get in.
                if !s.perim.is_free() {
                    say("its perimeter is not at rest".to_owned());
                }
                if s.nsync + s.ndeferred != 0 && self.deferred.is_empty() {
                    say("messages wait for ever to be put".to_owned());
                }
                if s.flag & flag::QENAB != 0 && !self.runq.contains(&idx) {
                    say("enabled, and not in the run queue".to_owned());
                }
                // 2: one high-priority protocol message at a head.
                let pc = |m: &&crate::message::Msg| m.ty() == MsgType::PcProto;
                if s.has(flag::QHEAD) && idx == even && s.list.iter().filter(pc).count() > 1 {
                    say("two M_PCPROTO at a stream head".to_owned());
                }
                if s.next == NONE {
                    continue;
                }
                let n = self.slot(s.next);
                if !n.has(flag::QUSE) {
                    say(format!("its q_next {} is not in use", s.next));
                }
                // Going down, the one below leads back up here.
                let straight = idx & 1 == 1 && s.next & 1 == 1;
                if straight && self.slot(s.next ^ 1).next != even {
                    say(format!("{} below does not lead back up to it", n.name));
                }
            }
        }
    }
}
