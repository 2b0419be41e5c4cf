//! Signals: what a process does about each, and how one ends a sleeping call.
//!
//! ```text
//!   kill, SIGPOLL, SIGPIPE ──► post ──► ignored, or queued: it ends a call that sleeps
//!                                                 └──► handler, when the call returns
//! ```
//!
//! Spec: signal(3HEAD), siginfo(3HEAD), sigaction(2), the reference's 1.4 and 5.6.
//! Differs: a fresh process catches every signal and only notes it ([`Action::Catch`]), so
//! that a test sees what was sent. A kill that finds the process outside any call ends its
//! next sleep: a thread can be stopped without a race.
//! Not done: masks, stopping and continuing.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::ThreadId;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use crate::sync::Mutex;

use crate::errno::Errno;
use crate::message::Cred;

macro_rules! signals {
    ($($name:ident = $num:literal),* $(,)?) => {
        /// Signals, with Solaris's numbers.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        #[allow(missing_docs, clippy::upper_case_acronyms)]
        #[repr(u8)]
        pub enum Signal { $($name = $num),* }

        impl Signal {
            /// Every signal, by number.
            pub const ALL: &'static [Signal] = &[$(Signal::$name),*];

            /// The signal with this number.
            pub const fn from_number(n: u8) -> Option<Signal> {
                match n { $($num => Some(Signal::$name),)* _ => None }
            }
        }
    };
}

signals! {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGKILL = 9, SIGPIPE = 13, SIGALRM = 14,
    SIGTERM = 15, SIGUSR1 = 16, SIGUSR2 = 17, SIGCLD = 18, SIGPWR = 19, SIGWINCH = 20,
    SIGURG = 21, SIGPOLL = 22, SIGSTOP = 23, SIGTSTP = 24, SIGCONT = 25, SIGTTIN = 26,
    SIGTTOU = 27,
}

impl Signal {
    /// The default is to do nothing. (For those that stop a process too: see the head.)
    const fn ignored_by_default(self) -> bool {
        use Signal::*;
        matches!(
            self,
            SIGCLD | SIGPWR | SIGWINCH | SIGURG | SIGSTOP | SIGTSTP | SIGCONT | SIGTTIN | SIGTTOU
        )
    }
}

/// `si_code` of a SIGPOLL; 0 if there is none.
pub mod si_code {
    /// S_INPUT.
    pub const POLL_IN: i32 = 1;
    /// S_OUTPUT.
    pub const POLL_OUT: i32 = 2;
    /// S_MSG.
    pub const POLL_MSG: i32 = 3;
    /// S_ERROR; `si_errno` tells which.
    pub const POLL_ERR: i32 = 4;
    /// S_HIPRI.
    pub const POLL_PRI: i32 = 5;
    /// S_HANGUP.
    pub const POLL_HUP: i32 = 6;
}

/// A signal as a handler gets it (siginfo(3HEAD)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// Which.
    pub signal: Signal,
    /// Why: POLL_IN.. for a SIGPOLL.
    pub code: i32,
    /// `si_band`: of the message, for POLL_IN and POLL_OUT.
    pub band: u8,
    /// `si_errno`, for POLL_ERR.
    pub errno: i32,
    /// The process that sent it; `None`: the kernel.
    pub sender: Option<u32>,
}

impl SigInfo {
    pub(crate) fn kernel(signal: Signal) -> SigInfo {
        SigInfo {
            signal,
            code: 0,
            band: 0,
            errno: 0,
            sender: None,
        }
    }
}

/// What a process does about a signal (sigaction(2)).
#[derive(Clone, Default)]
pub enum Action {
    /// Notes it for `take_signals` and ends the call that sleeps.
    #[default]
    Catch,
    /// Runs this when the call returns, with the process's descriptors usable.
    Handle(Arc<dyn Fn(SigInfo) + Send + Sync>),
    /// SIG_IGN: as if it had not been sent.
    Ignore,
    /// SIG_DFL: nothing, or the end of the process.
    Default,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Catch => "Catch",
            Action::Handle(_) => "Handle",
            Action::Ignore => "Ignore",
            Action::Default => "Default",
        })
    }
}

/// Who makes a system call.
#[repr(align(128))]
pub(crate) struct Caller {
    pub cred: Cred,
    pub pid: u32,
    pub ids: Mutex<Ids>,
    signals: Mutex<Signals>,
    /// Something for [`Caller::returns`] to do: most calls spare the lock.
    news: AtomicBool,
    dead: AtomicBool,
}

/// Where a process belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    pub ppid: u32,
    pub pgrp: u32,
    pub sid: u32,
    /// The stream that is the controlling terminal.
    pub ctty: Option<u32>,
}

#[derive(Default)]
struct Signals {
    actions: BTreeMap<Signal, Action>,
    /// Each ends one sleep.
    pending: VecDeque<SigInfo>,
    /// Handlers still to run.
    to_handle: Vec<SigInfo>,
    /// For `take_signals`.
    caught: Vec<SigInfo>,
    /// Calls that sleep, by thread.
    sleepers: Vec<(ThreadId, Waker)>,
    /// A signal has ended the process.
    killed: Option<Signal>,
}

impl Caller {
    pub fn new(cred: Cred, pid: u32, ids: Ids) -> Caller {
        Caller {
            cred,
            pid,
            ids: Mutex::new(ids),
            signals: Mutex::default(),
            news: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        }
    }

    /// A child's: the same actions, nothing pending.
    pub fn child(&self, pid: u32) -> Caller {
        let ids = Ids {
            ppid: self.pid,
            ..*self.ids.lock()
        };
        let child = Caller::new(self.cred, pid, ids);
        child.signals.lock().actions = self.signals.lock().actions.clone();
        child
    }

    /// Sends a signal from the kernel to the process.
    pub fn post(&self, sig: Signal) {
        self.post_info(SigInfo::kernel(sig));
    }

    /// Sends a signal to the process.
    pub fn post_info(&self, info: SigInfo) {
        let mut s = self.signals.lock();
        match s.actions.get(&info.signal) {
            _ if info.signal == Signal::SIGKILL => s.killed = Some(info.signal),
            Some(Action::Ignore) => return,
            Some(Action::Default) if info.signal.ignored_by_default() => return,
            Some(Action::Default) => s.killed = Some(info.signal),
            Some(Action::Handle(_)) => s.to_handle.push(info),
            Some(Action::Catch) | None => s.caught.push(info),
        }
        if s.killed.is_some() {
            self.dead.store(true, Ordering::Relaxed);
        }
        s.pending.push_back(info);
        self.news.store(true, Ordering::Release);
        for (_, w) in s.sleepers.drain(..) {
            w.wake();
        }
    }

    /// A signal that a sleep must end for? Else remembers whom to wake for one.
    pub fn interrupted(&self, waker: &Waker) -> bool {
        let mut s = self.signals.lock();
        if s.pending.pop_front().is_some() || s.killed.is_some() {
            return true;
        }
        self.news.store(true, Ordering::Release);
        let me = crate::sync::thread::current().id();
        match s.sleepers.iter_mut().find(|(t, _)| *t == me) {
            Some((_, w)) => w.clone_from(waker),
            None => s.sleepers.push((me, waker.clone())),
        }
        false
    }

    /// Has a signal come, or a call slept, since a call last returned?
    #[inline]
    pub fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }

    /// A call returns: what the kernel sent meanwhile has been delivered with it. Says
    /// which handlers to run, and whether a signal has ended the process.
    pub fn returns(&self) -> (Vec<(Action, SigInfo)>, Option<Signal>) {
        let mut s = self.signals.lock();
        self.news.store(s.sleepers.len() > 1, Ordering::Release);
        s.pending.retain(|i| i.sender.is_some());
        let me = crate::sync::thread::current().id();
        s.sleepers.retain(|(t, _)| *t != me);
        let infos = std::mem::take(&mut s.to_handle);
        let run = infos
            .into_iter()
            .filter_map(|i| Some((s.actions.get(&i.signal)?.clone(), i)))
            .collect();
        (run, s.killed)
    }

    /// ESRCH once a signal has ended the process.
    pub fn alive(&self) -> Result<(), Errno> {
        match self.dead.load(Ordering::Relaxed) {
            true => Err(Errno::ESRCH),
            false => Ok(()),
        }
    }

    pub fn killed(&self) -> Option<Signal> {
        self.signals.lock().killed
    }

    /// Everything caught since the last time.
    pub fn take_caught(&self) -> Vec<SigInfo> {
        let mut s = self.signals.lock();
        s.pending.clear();
        std::mem::take(&mut s.caught)
    }

    /// sigaction(2): EINVAL for SIGKILL and SIGSTOP.
    pub fn set_action(&self, sig: Signal, action: Action) -> Result<Action, Errno> {
        if matches!(sig, Signal::SIGKILL | Signal::SIGSTOP) {
            return Err(Errno::EINVAL);
        }
        let mut s = self.signals.lock();
        Ok(s.actions.insert(sig, action).unwrap_or_default())
    }

    /// exec(2): handlers are gone with the old program; what is ignored stays ignored.
    pub fn exec(&self) {
        for a in self.signals.lock().actions.values_mut() {
            if matches!(a, Action::Handle(_)) {
                *a = Action::Default;
            }
        }
    }
}
