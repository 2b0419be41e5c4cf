//! SIGPOLL: who asked to be told of what (I_SETSIG), and telling them.
//!
//! ```text
//!   first on the read queue ── S_INPUT, S_RDNORM or S_RDBAND ─┐
//!   M_PCPROTO ── S_HIPRI     M_SIG SIGPOLL ── S_MSG           ├─► each registration: one
//!   M_ERROR ── S_ERROR       M_HANGUP ── S_HANGUP             │   signal for each event
//!   back-enabled ── S_OUTPUT, S_WRBAND ───────────────────────┘
//! ```
//!
//! Spec: streamio(7I) I_SETSIG, I_ESETSIG, signal(3HEAD), the reference's 5.6 and 5.9.

use super::Stream;
use crate::domain::Domain;
use crate::errno::Errno;
use crate::process::{SigInfo, Signal, si_code};
use crate::queue::{QB_BACK, flag};
use crate::sys::stropts::{
    S_ALL, S_BANDURG, S_ERROR, S_HANGUP, S_HIPRI, S_INPUT, S_MSG, S_OUTPUT, S_RDBAND, S_RDNORM,
    S_WRBAND,
};

/// One registration: a process, or a group if `pid` is negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub pid: i32,
    pub events: i32,
}

/// Each event with the `si_code` of its signal (5.6); 0 is a SIGPOLL that says no more.
const EVENTS: [(i32, i32); 9] = [
    (S_INPUT, si_code::POLL_IN),
    (S_HIPRI, si_code::POLL_PRI),
    (S_OUTPUT, si_code::POLL_OUT),
    (S_MSG, si_code::POLL_MSG),
    (S_ERROR, si_code::POLL_ERR),
    (S_HANGUP, si_code::POLL_HUP),
    (S_RDNORM, 0),
    (S_RDBAND, 0),
    (S_WRBAND, 0),
];

impl Domain {
    /// strsendsig: tells everybody who is registered for one of `events`.
    pub(crate) fn sigpoll(&mut self, head: u32, events: i32, band: u8, errno: i32) {
        let Some(h) = self.head(head) else { return };
        if h.registered.iter().all(|r| r.events & events == 0) {
            return;
        }
        let all = h.registered.clone();
        for r in all {
            for (event, code) in EVENTS {
                if r.events & events & event == 0 {
                    continue;
                }
                let urgent = event == S_RDBAND && r.events & S_BANDURG != 0;
                let signal = if urgent {
                    Signal::SIGURG
                } else {
                    Signal::SIGPOLL
                };
                self.env.procs.signal(
                    r.pid,
                    SigInfo {
                        code,
                        band,
                        errno,
                        ..SigInfo::kernel(signal)
                    },
                );
            }
        }
    }

    /// A signal that came as M_SIG or M_PCSIG (5.9): SIGPOLL for those who wait for S_MSG,
    /// any other for the foreground group of the terminal.
    pub(crate) fn strsignal(&mut self, head: u32, sig: u8, band: u8) {
        if sig == Signal::SIGPOLL as u8 {
            return self.sigpoll(head, S_MSG, band, 0);
        }
        let group = self.head(head).and_then(|h| h.tty.pgrp);
        if let (Some(group), Some(sig)) = (group, Signal::from_number(sig)) {
            self.env.procs.signal(-group, SigInfo::kernel(sig));
        }
    }

    /// A process has closed a descriptor of the stream: its registration goes (8.3).
    pub(crate) fn unregister(&mut self, head: u32, pid: u32) {
        if let Some(h) = self.head(head) {
            h.registered.retain(|r| r.pid != pid as i32);
        }
    }
}

/// The head's write service procedure: back-enabled. Wakes who waits for room, and says
/// which bands have it.
pub(super) fn strwsrv(dom: &mut Domain, idx: u32) {
    let head = idx & !1;
    dom.wake_head(head);
    let s = dom.slot_mut(idx);
    let normal = s.has(flag::QBACK);
    s.flag &= !flag::QBACK;
    let mut bands = Vec::new();
    for (i, b) in s.bands.iter_mut().enumerate() {
        if b.flag & QB_BACK != 0 {
            b.flag &= !QB_BACK;
            bands.push(i as u8 + 1);
        }
    }
    if normal && dom.canputnext(idx) {
        dom.sigpoll(head, S_OUTPUT, 0, 0);
    }
    for band in bands {
        if dom.bcanputnext(idx, band) {
            dom.sigpoll(head, S_WRBAND, band, 0);
        }
    }
}

impl Stream {
    /// I_SETSIG and I_ESETSIG: `events` in place of what was asked for before; 0 for nothing.
    pub(crate) fn setsig(&self, pid: i32, events: i32) -> Result<(), Errno> {
        if events & !S_ALL != 0 || (events & S_BANDURG != 0 && events & S_RDBAND == 0) {
            return Err(Errno::EINVAL);
        }
        self.with(|dom| {
            let has_memory = dom.env.memory.available();
            let h = dom.head(self.head).ok_or(Errno::EBADF)?;
            let mine = h.registered.iter_mut().find(|r| r.pid == pid);
            match (mine, events) {
                (None, 0) => return Err(Errno::EINVAL),
                (Some(_), 0) => h.registered.retain(|r| r.pid != pid),
                (Some(r), _) => r.events = events,
                (None, _) if !has_memory => return Err(Errno::EAGAIN),
                (None, _) => h.registered.push(Registration { pid, events }),
            }
            Ok(())
        })
    }

    /// I_GETSIG and I_EGETSIG.
    pub(crate) fn getsig(&self, pid: i32) -> Result<i32, Errno> {
        self.with(|dom| {
            let h = dom.head(self.head).ok_or(Errno::EBADF)?;
            let mine = h.registered.iter().find(|r| r.pid == pid);
            mine.map(|r| r.events).ok_or(Errno::EINVAL)
        })
    }
}
