//! The transparent form of IP's ioctls: the structure is fetched, and brought back.
//!
//! ```text
//!   M_IOCTL ─► start ─ M_COPYIN ─► head ─ M_IOCDATA ─► resume ─► ioctl.rs runs it
//!                                                                  │ answer
//!   M_IOCACK ◄─ resume ◄─ M_IOCDATA ◄─ head ◄─ M_COPYOUT ──────────┘
//! ```
//!
//! How much there is to fetch, and whether there is something to bring back, is in the
//! number (sys/ioccom.h). SIOCGIFCONF has two places to write to: the list, then its length.
//!
//! Spec: ioccom(7), copyreq(9S), the reference's ip-tpi 5.1 and 5.3 "form".
//! Kept: the structures of a 32-bit program; a pointer in an ifconf is 4 bytes.

use streams::message::Ctl;
use streams::prelude::*;

use crate::ioctl::{
    IF_UNITSEL, IFREQ, LIFREQ, O_SIOCGIFCONF, SIOCGIFCONF, SIOCLIFADDIF, SIOCLIFREMOVEIF,
    SIOCSLIFNAME,
};
use crate::module::OnStack;

const IOC_OUT: u32 = 0x4000_0000;
const IOC_IN: u32 = 0x8000_0000;

/// The structure is on its way here.
const IN: u8 = 0;
/// The last thing to be brought back is on its way.
const OUT: u8 = 1;
/// The list of an ifconf is on its way; its length comes next.
const LIST: u8 = 2;

/// Does an ioctl have a transparent form here? ndd's, for one, has not.
pub(crate) fn known(cmd: i32) -> bool {
    cmd == IF_UNITSEL || matches!(cmd as u32 >> 8 & 0xff, 0x69 | 0x72)
}

fn size(cmd: i32) -> usize {
    match cmd {
        SIOCSLIFNAME | SIOCLIFADDIF | SIOCLIFREMOVEIF => LIFREQ,
        _ => (cmd as u32 >> 16 & 0xff) as usize,
    }
}

/// What M_IOCDATA brings back of us: the step, the call's argument, an ifconf.
fn private(step: u8, arg: u64, ifconf: [u8; 8]) -> Msg {
    Msg::data(&[&[step][..], &arg.to_ne_bytes(), &ifconf].concat())
}

/// A transparent ioctl whose structure is here.
pub(crate) struct Fetched {
    /// The message to answer.
    pub mp: Msg,
    /// Its command.
    pub cmd: i32,
    /// Who asks.
    pub cred: Cred,
    /// The structure.
    pub data: Vec<u8>,
    /// Where it was.
    pub arg: u64,
}

/// A transparent M_IOCTL: fetches its structure. It is here at once if there is none.
pub(crate) fn start<M: OnStack>(q: &mut Queue<'_, M>, mp: Msg) -> Option<Fetched> {
    let (Some(i), Some(arg)) = (mp.ioc().copied(), mp.ioctl_addr()) else {
        q.iocnak(mp, Errno::EINVAL);
        return None;
    };
    if !known(i.cmd) {
        q.iocnak(mp, Errno::EINVAL);
        return None;
    }
    if i.cmd as u32 & IOC_IN == 0 {
        return Some(Fetched {
            mp,
            cmd: i.cmd,
            cred: i.cr,
            data: Vec::new(),
            arg,
        });
    }
    q.mcopyin(mp, Some(private(IN, arg, [0; 8])), size(i.cmd), None);
    None
}

/// An M_IOCDATA: the structure is here, or something was brought back.
pub(crate) fn resume<M: OnStack>(q: &mut Queue<'_, M>, mut mp: Msg) -> Option<Fetched> {
    let Some(Ctl::CopyResp(r)) = mp.ctl_mut() else {
        q.discard(mp, "an M_IOCDATA without its head");
        return None;
    };
    if r.rval != 0 {
        q.freemsg(mp); // copyresp(9S): the head has told the caller already
        return None;
    }
    let (cmd, cred) = (r.cmd, r.cr);
    let state = r.private.take().map(|p| p.to_vec()).unwrap_or_default();
    let (Some(step), Some(arg), Some(ifconf)) = (
        state.first(),
        state.get(1..9).and_then(|b| b.try_into().ok()),
        state.get(9..17).and_then(|b| b.try_into().ok()),
    ) else {
        q.iocnak(mp, Errno::EINVAL); // not one of ours
        return None;
    };
    let arg = u64::from_ne_bytes(arg);
    match *step {
        IN => {
            let data = mp.take_cont();
            return Some(Fetched {
                cmd,
                cred,
                data: data.map(|d| d.to_vec()).unwrap_or_default(),
                arg,
                mp,
            });
        }
        LIST => q.mcopyout(
            mp,
            Some(private(OUT, arg, ifconf)),
            Some(arg),
            Msg::data(&ifconf),
        ),
        _ => q.iocack0(mp, 0),
    }
    None
}

/// The ioctl has been done: brings its result back, then acknowledges it.
pub(crate) fn answer<M: OnStack>(q: &mut Queue<'_, M>, f: Fetched, out: &[u8]) {
    let Fetched {
        mp, cmd, data, arg, ..
    } = f;
    if matches!(cmd, SIOCGIFCONF | O_SIOCGIFCONF) {
        // ifconf: bytes there are for the list, and where; then how many it took.
        let word = |at: usize| data.get(at..at + 4).and_then(|w| w.try_into().ok());
        let (Some(room), Some(at)) = (word(0), word(4)) else {
            return q.iocnak(mp, Errno::EINVAL);
        };
        let room = usize::try_from(i32::from_ne_bytes(room)).unwrap_or(0);
        let fits = out.len().min(room / IFREQ * IFREQ); // 5.3: cut silently
        let mut ifconf = [0; 8];
        ifconf[..4].copy_from_slice(&(fits as u32).to_ne_bytes());
        ifconf[4..].copy_from_slice(&at);
        let list = Msg::data(&out[..fits]);
        let at = u64::from(u32::from_ne_bytes(at));
        return q.mcopyout(mp, Some(private(LIST, arg, ifconf)), Some(at), list);
    }
    if out.is_empty() || cmd as u32 & IOC_OUT == 0 {
        return q.iocack0(mp, 0);
    }
    q.mcopyout(
        mp,
        Some(private(OUT, arg, [0; 8])),
        Some(arg),
        Msg::data(out),
    );
}
