//! The flow trace: every hop, queueing, flow stop and drop of the streams that are traced.
//!
//! Off, it costs nothing: a hop to a traced queue takes the slow way anyhow (QSLOW), and
//! the others don't ask. A message gets a number when it is first seen, and keeps it when
//! it is duplicated or a header is put in front.
//!
//! Spec: strlog(9F) for the log lines among the events.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use crate::domain::Domain;
use crate::message::{Msg, MsgType};
use crate::queue::flag;

/// Events kept; the oldest go first.
const KEEP: usize = 65_536;
/// Bytes of each message kept, from its first M_DATA block on.
pub const SNAP: usize = 64;

/// One event of the trace.
#[derive(Clone, Debug)]
pub struct Event {
    /// Since the kernel was made.
    pub when: Duration,
    /// The message's number; 0 for an event without one.
    pub tag: u32,
    /// The stream.
    pub stream: u32,
    /// `mi_idname` of the module.
    pub module: &'static str,
    /// Read side (going up) or write side (going down).
    pub read_side: bool,
    /// What happened.
    pub what: What,
    /// Type of the message.
    pub ty: MsgType,
    /// Its bytes of data.
    pub len: usize,
    /// Its first bytes of data, at most [`SNAP`].
    pub snap: SmallVec<[u8; SNAP]>,
}

/// What an [`Event`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The queue's put procedure was called.
    Put,
    /// The message was put on the queue.
    Queued,
    /// The service procedure ran.
    Service,
    /// A sender was told that the queue is full.
    Full,
    /// The message ended here, and why.
    Drop(&'static str),
    /// A strlog line: its level and text.
    Log(u8, String),
}

/// The ring of a domain.
#[derive(Default)]
pub struct Trace {
    events: VecDeque<Event>,
}

impl Trace {
    fn push(&mut self, e: Event) {
        if self.events.len() == KEEP {
            self.events.pop_front();
        }
        self.events.push_back(e);
    }

    pub(crate) fn absorb(&mut self, other: &mut Trace) {
        self.events.append(&mut other.events);
        self.events.make_contiguous().sort_by_key(|e| e.when);
        while self.events.len() > KEEP {
            self.events.pop_front();
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }
}

impl Domain {
    fn event(&mut self, idx: u32, mp: Option<&Msg>, what: What) {
        let when = self.now();
        let s = self.slot(idx);
        let data = mp.and_then(|m| m.blocks().find(|b| b.ty() == MsgType::Data));
        let snap = data.map_or_else(SmallVec::new, |d| {
            d.rd().iter().take(SNAP).copied().collect()
        });
        let e = Event {
            when,
            tag: mp.map_or(0, Msg::tag),
            stream: s.stream,
            module: s.name,
            read_side: s.has(flag::QREADR),
            what,
            ty: mp.map_or(MsgType::Data, Msg::ty),
            len: mp.map_or(0, Msg::msgdsize),
            snap,
        };
        self.trace.push(e);
    }

    /// A hop to a traced queue; numbers the message if it has no number yet.
    pub(crate) fn trace_put(&mut self, idx: u32, mp: &mut Msg) {
        if mp.tag() == 0 {
            let tag = mp.blocks().map(Msg::tag).find(|t| *t != 0);
            mp.set_tag(tag.unwrap_or_else(|| self.env.next_tag()));
        }
        // The data behind a protocol header is the same message.
        let tag = mp.tag();
        if let Some(c) = mp.cont_mut()
            && c.tag() == 0
        {
            c.set_tag(tag);
        }
        self.event(idx, Some(mp), What::Put);
    }

    #[inline]
    pub(crate) fn trace_queue(&mut self, idx: u32, mp: &Msg) {
        if self.slot(idx).has(flag::QTRACE) {
            self.event(idx, Some(mp), What::Queued);
        }
    }

    pub(crate) fn trace_service(&mut self, idx: u32) {
        if self.slot(idx).has(flag::QTRACE) {
            self.event(idx, None, What::Service);
        }
    }

    pub(crate) fn trace_full(&mut self, idx: u32) {
        if self.slot(idx).has(flag::QTRACE) {
            self.event(idx, None, What::Full);
        }
    }

    pub(crate) fn trace_drop(&mut self, idx: u32, mp: &Msg, why: &'static str) {
        if self.slot(idx).has(flag::QTRACE) || self.env.tracing() {
            self.event(idx, Some(mp), What::Drop(why));
        }
    }

    /// strlog(9F): kept in the trace if the kernel traces, and counted for the log driver.
    pub(crate) fn strlog(&mut self, idx: u32, level: u8, text: std::fmt::Arguments<'_>) {
        if self.env.tracing() || self.slot(idx).has(flag::QTRACE) {
            self.event(idx, None, What::Log(level, text.to_string()));
        }
    }
}
