//! The process table: numbers, groups, sessions, and who may send a signal to whom.
//!
//! Spec: kill(2), setpgid(2), setsid(2), fork(2), the reference's 2.2 I_ESETSIG.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::sync::Mutex;

use super::Process;
use super::signal::{Caller, Ids, SigInfo, Signal};
use crate::errno::Errno;

/// Every process of a kernel, by its number.
#[derive(Default)]
pub(crate) struct Procs(Mutex<BTreeMap<u32, Weak<Caller>>>);

impl Procs {
    pub fn add(&self, c: &Arc<Caller>) {
        self.0.lock().insert(c.pid, Arc::downgrade(c));
    }

    pub fn remove(&self, pid: u32) {
        self.0.lock().remove(&pid);
    }

    /// The processes that `pid` names as for kill(2): one, or a group if it is negative.
    pub fn find(&self, pid: i32) -> Vec<Arc<Caller>> {
        let table = self.0.lock();
        if pid >= 0 {
            let one = table.get(&pid.unsigned_abs()).and_then(Weak::upgrade);
            return one.into_iter().collect();
        }
        let all: Vec<_> = table.values().filter_map(Weak::upgrade).collect();
        drop(table);
        let group = pid.unsigned_abs();
        all.into_iter()
            .filter(|c| c.ids.lock().pgrp == group)
            .collect()
    }

    /// Sends a signal to everybody that `pid` names.
    pub fn signal(&self, pid: i32, info: SigInfo) {
        for c in self.find(pid) {
            c.post_info(info);
        }
    }
}

impl Caller {
    /// May this process send signals to that one (kill(2))?
    pub fn may_signal(&self, to: &Caller) -> bool {
        self.cred.privileged || self.pid == to.pid || self.cred.uid == to.cred.uid
    }

    /// The check of kill(2) with signal 0; `pid` 0 is the caller himself.
    ///
    /// # Errors
    /// ESRCH: there is no such process or group. EPERM: none of them may be signalled.
    pub fn check_kill(&self, procs: &Procs, pid: i32) -> Result<(), Errno> {
        if pid == 0 {
            return Ok(());
        }
        let them = procs.find(pid);
        if them.is_empty() {
            return Err(Errno::ESRCH);
        }
        match them.iter().any(|c| self.may_signal(c)) {
            true => Ok(()),
            false => Err(Errno::EPERM),
        }
    }
}

impl Process {
    /// getppid(2): 1 for a process that no other made.
    pub fn ppid(&self) -> u32 {
        self.caller.ids.lock().ppid
    }
    /// getpgrp(2).
    pub fn pgrp(&self) -> u32 {
        self.caller.ids.lock().pgrp
    }
    /// getsid(2).
    pub fn sid(&self) -> u32 {
        self.caller.ids.lock().sid
    }

    /// setpgid(2) of this process: 0 for a group of its own.
    ///
    /// # Errors
    /// EPERM: it leads a session, or its session has no such group.
    pub fn setpgid(&self, pgrp: u32) -> Result<(), Errno> {
        let pgrp = if pgrp == 0 { self.pid() } else { pgrp };
        let Ids { sid, .. } = *self.caller.ids.lock();
        let known = i32::try_from(pgrp).is_ok_and(|g| {
            let members = self.env.procs.find(-g);
            members.iter().any(|c| c.ids.lock().sid == sid)
        });
        if sid == self.pid() || !(known || pgrp == self.pid()) {
            return Err(Errno::EPERM);
        }
        self.caller.ids.lock().pgrp = pgrp;
        Ok(())
    }

    /// setsid(2): a session of its own, without a controlling terminal.
    ///
    /// # Errors
    /// EPERM: the process leads a group already.
    pub fn setsid(&self) -> Result<u32, Errno> {
        let pid = self.pid();
        let mut ids = self.caller.ids.lock();
        if ids.pgrp == pid {
            return Err(Errno::EPERM);
        }
        ids.pgrp = pid;
        ids.sid = pid;
        ids.ctty = None;
        Ok(pid)
    }

    /// kill(2): a process, or a group if `pid` is negative; `None` is signal 0, the check
    /// alone.
    ///
    /// # Errors
    /// ESRCH, EPERM.
    pub fn send_signal(&self, pid: i32, sig: Option<Signal>) -> Result<(), Errno> {
        let pid = if pid == 0 {
            -i32::try_from(self.pgrp()).map_err(|_| Errno::ESRCH)?
        } else {
            pid
        };
        self.caller.check_kill(&self.env.procs, pid)?;
        let Some(signal) = sig else { return Ok(()) };
        let info = SigInfo {
            sender: Some(self.pid()),
            ..SigInfo::kernel(signal)
        };
        for c in self.env.procs.find(pid) {
            if self.caller.may_signal(&c) {
                c.post_info(info);
            }
        }
        Ok(())
    }
}
