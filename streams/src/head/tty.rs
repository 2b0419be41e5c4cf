//! Controlling terminals, as far as the stream head has to do with them.
//!
//! A stream that SO_ISTTY has made a terminal becomes the controlling one of the session
//! leader that opens it, unless O_NOCTTY. Then M_SIG reaches its foreground group, and a
//! hangup its session leader.
//!
//! Spec: termio(7I), the reference's 2.1 step 7, 5.8, 5.9 and 5.10.
//! Not done: stopping background processes (SIGTTIN, SIGTTOU).

use super::Stream;
use crate::domain::Domain;
use crate::errno::Errno;
use crate::process::{Caller, SigInfo, Signal, oflag};
use crate::sys::USER_BASE;

pub(super) const SIGTSTP: u8 = Signal::SIGTSTP as u8;

/// TIOCGPGRP: the foreground group.
const TIOCGPGRP: i32 = (b't' as i32) << 8 | 20;
/// TIOCSPGRP: sets the foreground group.
const TIOCSPGRP: i32 = (b't' as i32) << 8 | 21;
/// TIOCGSID: the session.
const TIOCGSID: i32 = (b't' as i32) << 8 | 22;

/// What a head knows of its being a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tty {
    pub istty: bool,
    pub tostop: bool,
    /// The session whose controlling terminal it is.
    pub sid: Option<u32>,
    /// The foreground group.
    pub pgrp: Option<i32>,
}

/// M_HANGUP of a controlling terminal: SIGHUP to the session leader.
pub(super) fn hangup(dom: &mut Domain, head: u32) {
    let sid = dom.head(head).and_then(|h| h.tty.sid);
    if let Some(pid) = sid.and_then(|s| i32::try_from(s).ok()) {
        dom.env.procs.signal(pid, SigInfo::kernel(Signal::SIGHUP));
    }
}

impl Stream {
    /// Makes a terminal that has no session the controlling one of a session leader that
    /// has no terminal.
    pub(crate) fn acquire_tty(&self, caller: &Caller, flags: u32) {
        if flags & oflag::O_NOCTTY != 0 || self.major.is_none() {
            return;
        }
        let ids = *caller.ids.lock();
        if ids.sid != caller.pid || ids.ctty.is_some() {
            return;
        }
        let taken = self.with(|dom| {
            let h = dom.head(self.head)?;
            if !h.tty.istty || h.tty.sid.is_some() {
                return None;
            }
            h.tty.sid = Some(ids.sid);
            h.tty.pgrp = i32::try_from(ids.pgrp).ok();
            Some(())
        });
        if taken.is_some() {
            caller.ids.lock().ctty = Some(self.id);
        }
    }

    /// The terminal ioctls that the head answers itself; `None` for any other.
    pub(crate) fn tty_ioctl(
        &self,
        caller: &Caller,
        cmd: i32,
        arg: u64,
        mem: &mut [u8],
    ) -> Option<Result<i32, Errno>> {
        if !matches!(cmd, TIOCGPGRP | TIOCSPGRP | TIOCGSID) {
            return None;
        }
        let tty = self.with(|dom| dom.head(self.head).map(|h| h.tty))?;
        if !tty.istty {
            return None; // the driver's, if it knows it
        }
        Some(self.tty_answer(caller, cmd, arg, mem, tty))
    }

    fn tty_answer(
        &self,
        caller: &Caller,
        cmd: i32,
        arg: u64,
        mem: &mut [u8],
        tty: Tty,
    ) -> Result<i32, Errno> {
        self.usable(super::Sides::Both, Some(Errno::ENXIO))?;
        if caller.ids.lock().ctty != Some(self.id) {
            return Err(Errno::ENOTTY);
        }
        let at = arg.checked_sub(USER_BASE).ok_or(Errno::EFAULT)?;
        let at = usize::try_from(at).map_err(|_| Errno::EFAULT)?;
        let int = at
            .checked_add(4)
            .and_then(|end| mem.get_mut(at..end))
            .ok_or(Errno::EFAULT)?;
        match cmd {
            TIOCGPGRP => int.copy_from_slice(&tty.pgrp.unwrap_or(0).to_ne_bytes()),
            TIOCGSID => int.copy_from_slice(&tty.sid.unwrap_or(0).to_ne_bytes()),
            _ => {
                let group = i32::from_ne_bytes([int[0], int[1], int[2], int[3]]);
                let sid = caller.ids.lock().sid;
                let members = self.env.procs.find(-group.max(1));
                if group < 1 || !members.iter().any(|c| c.ids.lock().sid == sid) {
                    return Err(Errno::EPERM);
                }
                self.with(|dom| {
                    if let Some(h) = dom.head(self.head) {
                        h.tty.pgrp = Some(group);
                    }
                });
            }
        }
        Ok(0)
    }
}
