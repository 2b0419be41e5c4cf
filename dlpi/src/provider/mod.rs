//! The DLPI driver: one for every link, connectionless, style 2 or 1.
//!
//! ```text
//!   open ─► UNATTACHED ─ ATTACH ─► UNBOUND ─ BIND ─► IDLE      request.rs, by the table
//!                                                                          in state.rs
//!   UNITDATA_REQ, M_DATA ──► output.rs ──► Link::send          no room: the write queue
//!   Link::recv ──► input.rs ──► UNITDATA_IND, M_DATA           a copy to each stream
//!                  llc.rs: XID and TEST of streams with LLC
//!                  port.rs: the links, the streams on each    stats.rs: what they count
//! ```
//!
//! A link is made at the first attach of its PPA and dropped at the last detach. M_DATA
//! goes down as it is on a stream that asked for it (DL_IOC_HDR_INFO, DLIOCRAW); that way
//! allocates nothing.
//!
//! Spec: dlpi(7P), le(7D), hme(7D), streamio(7I).
//! Kept: one answer to every request; the flush rule of a driver; unknown ioctls are
//! refused with EINVAL; input that the stream above has no room for is lost, counted.
//! Differs: M_DATA on a stream that asked for no fast path is a counted drop and no
//! M_ERROR. A write queue holds frames that the link had no room for, Solaris's the whole
//! backlog.
//! Not done: DLIOCNATIVE.

mod input;
mod llc;
mod output;
mod port;
mod request;
mod stats;

use streams::kstat::Kstat;
use streams::prelude::*;

use crate::prim::*;
use crate::state::State;

pub use llc::LLC1;
pub use port::Links;
pub use stats::Statistics;

/// A stream of the driver.
pub struct Dlpi {
    /// Which link of [`Links`] it is attached to.
    port: Option<usize>,
    state: State,
    /// Who opened it: DL_SET_PHYS_ADDR_REQ asks.
    cred: Cred,
    style1: bool,
    /// The SAP bound, as given.
    sap: u16,
    /// Opened as /dev/llc1.
    llc1: bool,
    /// The SAP is an LSAP.
    llc: Option<llc::Mode>,
    fast: bool,
    raw: bool,
    /// M_DATA goes out as it is: idle, and fast or raw.
    bare: bool,
    /// Frames wait on the write queue: all that follow must too.
    waiting: bool,
    /// WATCH will come.
    watching: bool,
}

impl Dlpi {
    /// Bytes of a SAP in a DLSAP.
    fn sap_len(&self) -> usize {
        if self.llc1 { 1 } else { 2 }
    }

    fn set_state(&mut self, s: State) {
        self.state = s;
        self.bare = s == State::Idle && (self.fast || self.raw);
    }
}

/// The timeout of a write queue whose link had no room.
const RETRY: u64 = 1;
/// The timeout of a link that looks at the time.
const TICK: u64 = 2;
/// The timeout of a stream that is told what happens to its link.
const WATCH: u64 = 3;

impl Module for Dlpi {
    type Shared = Links;
    const INFO: ModuleInfo = ModuleInfo::named(0x646c, "dlpi").marks(65536, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(input::receive);
    const WRITE: QInit<Self> = QInit::put(wput).srv(output::resume);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        // The node's mode is 0600: le(7D).
        how.cred.require_priv().map_err(|_| Errno::EACCES)?;
        let mut me = Dlpi {
            port: None,
            state: State::Unattached,
            cred: how.cred,
            style1: false,
            sap: 0,
            llc1: how.name == LLC1,
            llc: None,
            fast: false,
            raw: false,
            bare: false,
            waiting: false,
            watching: false,
        };
        if let Some(ppa) = q.shared().style1() {
            let port = port::attach(q, ppa, false).map_err(|e| match e.unix {
                0 => Errno::ENXIO,
                n => Errno::from_number(n),
            })?;
            (me.style1, me.port) = (true, Some(port));
            me.set_state(State::Unbound);
        }
        Ok(me)
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        q.set_number(0);
        // dlpi(7P): an implicit unbind and detach.
        if let Some(me) = q.try_ptr() {
            me.set_state(State::Unattached);
            if let Some(port) = me.port.take() {
                port::detach(q, port);
            }
        }
        Wait::Done
    }

    fn kstats(links: &mut Links, name: &'static str) -> Vec<Kstat> {
        stats::kstats(links, name)
    }

    fn interrupt(q: &mut Queue<'_, Self>) {
        input::receive(&mut q.rd());
    }

    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        match tag {
            RETRY => output::retry(&mut q.wr()),
            WATCH => input::watched(&mut q.rd()),
            _ => {
                port::tick_came(q);
                input::receive(&mut q.rd());
            }
        }
    }
}

/// The write side's put procedure.
fn wput(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    match mp.ty() {
        MsgType::Data => output::bare(q, mp),
        MsgType::Proto if Prim::number_of(mp.rd()) == Some(DL_UNITDATA_REQ) => {
            output::unitdata(q, mp);
        }
        _ => {
            // Whatever it changes: meanwhile M_DATA asks for the state.
            q.set_number(0);
            control(q, mp);
            output::aim(q);
        }
    }
}

/// The same of what is no datagram.
#[inline(never)]
fn control(q: &mut Queue<'_, Dlpi>, mp: Msg) {
    match mp.ty() {
        MsgType::Proto | MsgType::PcProto => match Prim::number_of(mp.rd()) {
            Some(DL_UNITDATA_REQ) => output::unitdata(q, mp), // as M_PCPROTO
            Some(number @ (DL_XID_REQ | DL_XID_RES | DL_TEST_REQ | DL_TEST_RES)) => {
                llc::request(q, number, mp);
            }
            Some(number) => request::request(q, number, mp),
            None => q.discard(mp, "M_PROTO too short for a primitive"),
        },
        MsgType::Ioctl => ioctl(q, mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        MsgType::Flush => {
            q.flush_driver(mp);
            if q.qsize() == 0 {
                q.ptr().waiting = false;
            }
        }
        _ => q.discard(mp, "not for a data link"),
    }
}

fn ioctl(q: &mut Queue<'_, Dlpi>, mut mp: Msg) {
    match mp.ioc().map_or(0, |i| i.cmd) {
        // le(7D): whole frames as M_DATA, for good.
        DLIOCRAW => {
            q.ptr().raw = true;
            let state = q.ptr().state;
            q.ptr().set_state(state);
            port::with_user(q, |u| u.raw = true);
            if let Some(rest) = mp.take_cont() {
                q.freemsg(rest);
            }
            q.iocack(mp, 0);
        }
        DL_IOC_HDR_INFO => {
            let template = mp.cont().and_then(|t| fast::unitdata_req(t.rd()).ok());
            let Some(header) = template.and_then(|u| output::header_for(q, u.dest)) else {
                return q.iocnak(mp, Errno::EINVAL);
            };
            q.ptr().fast = true;
            q.ptr().set_state(State::Idle); // header_for asked for that state
            port::with_user(q, |u| u.fast = true);
            // The header goes behind the template, in a block of its own even if empty.
            let mut block = q.alloc(0, header.as_slice().len());
            block.append(header.as_slice());
            mp.linkb(block);
            q.iocack(mp, 0);
        }
        _ => q.iocnak(mp, Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests;
