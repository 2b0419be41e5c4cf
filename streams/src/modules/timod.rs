//! timod: a transport request and its acknowledgement as one ioctl.
//!
//! ```text
//!   I_STR TI_BIND, T_BIND_REQ ──► M_PROTO T_BIND_REQ ──► provider
//!         ◄── M_IOCACK, T_BIND_ACK ◄── M_PCPROTO T_BIND_ACK
//!         ◄── value TLI_error | UNIX_error << 8 ◄── T_ERROR_ACK
//! ```
//!
//! Everything else passes. It remembers the addresses that it has seen go by, for
//! TI_GETMYNAME and TI_GETPEERNAME.
//!
//! Spec: timod(7M), sys/timod.h, the reference's (IP and TPI) section 4.
//! Kept: one request at a time; an error of the provider is the value of the ioctl.
//! Not done: TI_SETMYNAME and TI_SETPEERNAME (only the kernel's own TLI used them): EINVAL.

use super::tpi::{self, TSYSERR, prim, prim_of, words};
use crate::prelude::*;

const TIMOD: i32 = (b'T' as i32) << 8;
/// T_INFO_REQ, answered by T_INFO_ACK.
pub const TI_GETINFO: i32 = TIMOD | 140;
/// T_OPTMGMT_REQ, answered by T_OPTMGMT_ACK.
pub const TI_OPTMGMT: i32 = TIMOD | 141;
/// T_BIND_REQ, answered by T_BIND_ACK.
pub const TI_BIND: i32 = TIMOD | 142;
/// T_UNBIND_REQ, answered by T_OK_ACK.
pub const TI_UNBIND: i32 = TIMOD | 143;
/// The address bound here, into a struct netbuf (transparent).
pub const TI_GETMYNAME: i32 = TIMOD | 144;
/// The address connected to, into a struct netbuf (transparent).
pub const TI_GETPEERNAME: i32 = TIMOD | 145;
/// struct ti_sync_req, answered by struct ti_sync_ack.
pub const TI_SYNC: i32 = TIMOD | 148;
/// T_ADDR_REQ, answered by T_ADDR_ACK.
pub const TI_GETADDRS: i32 = TIMOD | 149;
/// T_CAPABILITY_REQ, answered by T_CAPABILITY_ACK.
pub const TI_CAPABILITY: i32 = TIMOD | 150;

/// ti_sync_req: the answer begins with a T_INFO_ACK.
pub const TSRF_INFO_REQ: u32 = 1;
/// Words of a T_info_ack.
const INFO_WORDS: usize = 11;
/// Bytes of a struct netbuf with a 64-bit pointer.
const NETBUF: usize = 16;

/// A command, the requests that it may carry, and the acknowledgement.
struct Row {
    cmd: i32,
    requests: &'static [u32],
    ack: u32,
    high: bool,
}

const ROWS: &[Row] = &[
    row(TI_GETINFO, &[prim::T_INFO_REQ], prim::T_INFO_ACK, true),
    row(
        TI_OPTMGMT,
        &[prim::T_SVR4_OPTMGMT_REQ, prim::T_OPTMGMT_REQ],
        prim::T_OPTMGMT_ACK,
        false,
    ),
    row(
        TI_BIND,
        &[prim::O_T_BIND_REQ, prim::T_BIND_REQ],
        prim::T_BIND_ACK,
        false,
    ),
    row(TI_UNBIND, &[prim::T_UNBIND_REQ], prim::T_OK_ACK, false),
    row(TI_GETADDRS, &[prim::T_ADDR_REQ], prim::T_ADDR_ACK, true),
    row(
        TI_CAPABILITY,
        &[prim::T_CAPABILITY_REQ],
        prim::T_CAPABILITY_ACK,
        false,
    ),
];

const fn row(cmd: i32, requests: &'static [u32], ack: u32, high: bool) -> Row {
    Row {
        cmd,
        requests,
        ack,
        high,
    }
}

/// A request that waits for its acknowledgement.
struct Pending {
    /// The M_IOCTL.
    mp: Msg,
    request: u32,
    ack: u32,
    /// A TI_SYNC: the answer is a ti_sync_ack.
    sync: bool,
}

/// One instance.
#[derive(Default)]
pub struct TiMod {
    pending: Option<Pending>,
    local: Vec<u8>,
    remote: Vec<u8>,
}

impl Module for TiMod {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(3, "timod").marks(4096, 1024);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(rput);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        let (min, max) = q.wr().next_packet_sizes();
        q.wr().set_packet_sizes(min, max);
        Ok(TiMod::default())
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        if let Some(p) = q.ptr().pending.take() {
            q.wr().iocnak(p.mp, Errno::EINVAL);
        }
        Wait::Done
    }
}

// ---- down ----

fn wput(q: &mut Queue<'_, TiMod>, mp: Msg) {
    let cmd = mp.ioctl_cmd().unwrap_or(0);
    match mp.ty() {
        MsgType::Ioctl if matches!(cmd, TI_GETMYNAME | TI_GETPEERNAME) => {
            let user = Msg::data(&mp.ioctl_addr().unwrap_or(0).to_ne_bytes());
            q.mcopyin(mp, Some(user), NETBUF, None);
        }
        MsgType::IocData if matches!(cmd, TI_GETMYNAME | TI_GETPEERNAME) => name(q, cmd, mp),
        MsgType::Ioctl if cmd & !0xff == TIMOD && cmd & 0xff >= 140 => ioctl(q, cmd, mp),
        _ => q.putnext(mp),
    }
}

fn ioctl(q: &mut Queue<'_, TiMod>, cmd: i32, mut mp: Msg) {
    let first = mp.miocpullup(4).ok().and_then(|b| tpi::word(b, 0));
    let Some(first) = first else {
        return q.iocnak(mp, Errno::EINVAL);
    };
    if q.ptr().pending.is_some() {
        return q.iocnak(mp, Errno::EAGAIN); // the provider still owes an answer
    }
    if cmd == TI_SYNC {
        return sync(q, first, mp);
    }
    match ROWS.iter().find(|r| r.cmd == cmd) {
        Some(r) if r.requests.contains(&first) => {
            let Some(request) = mp.take_cont() else {
                return q.iocnak(mp, Errno::EINVAL);
            };
            ask(q, r, first, mp, request, false);
        }
        _ => q.iocnak(mp, Errno::EINVAL),
    }
}

/// Sends a request down and keeps the ioctl until it is answered.
fn ask(q: &mut Queue<'_, TiMod>, r: &Row, request: u32, mp: Msg, mut body: Msg, sync: bool) {
    body.set_ty(if r.high {
        MsgType::PcProto
    } else {
        MsgType::Proto
    });
    q.ptr().pending = Some(Pending {
        mp,
        request,
        ack: r.ack,
        sync,
    });
    q.putnext(body);
}

fn sync(q: &mut Queue<'_, TiMod>, flags: u32, mp: Msg) {
    if flags & TSRF_INFO_REQ == 0 {
        return q.iocack_with(mp, &words(&[0; INFO_WORDS + 2]));
    }
    let body = Msg::data(&words(&[prim::T_INFO_REQ]));
    ask(q, &ROWS[0], prim::T_INFO_REQ, mp, body, true);
}

/// TI_GETMYNAME, TI_GETPEERNAME, a step at a time. What the private message holds says
/// which: the user's address (the netbuf has come), address and netbuf (the name has gone
/// out), nothing (the netbuf has gone back).
fn name(q: &mut Queue<'_, TiMod>, cmd: i32, mut mp: Msg) {
    let private = match mp.ctl_mut() {
        Some(Ctl::CopyResp(r)) if r.rval == 0 => r.private.take(),
        _ => return q.freemsg(mp), // 3.4: the call has failed
    };
    let private = private.map(|p| p.to_vec()).unwrap_or_default();
    let Some(user) = address(&private) else {
        return q.iocack0(mp, 0);
    };
    if let Some(netbuf) = private.get(8..).filter(|b| b.len() == NETBUF) {
        let done = Msg::data(&[]);
        return q.mcopyout(mp, Some(done), Some(user), Msg::data(netbuf));
    }
    let me = q.ptr();
    let name = match cmd {
        TI_GETMYNAME => me.local.clone(),
        _ => me.remote.clone(),
    };
    match filled_netbuf(&mp, name.len()) {
        Err(e) => q.iocnak(mp, e),
        Ok((netbuf, _)) if name.is_empty() => {
            let done = Msg::data(&[]);
            q.mcopyout(mp, Some(done), Some(user), Msg::data(&netbuf));
        }
        Ok((netbuf, to)) => {
            let todo = Msg::data(&[&private[..8], &netbuf].concat());
            q.mcopyout(mp, Some(todo), Some(to), Msg::data(&name));
        }
    }
}

/// The netbuf {u32 maxlen, u32 len, u64 buf} that was copied in, with `len` set, and `buf`.
fn filled_netbuf(mp: &Msg, len: usize) -> Result<(Vec<u8>, u64), Errno> {
    let mut netbuf = mp.cont().map(Msg::to_vec).unwrap_or_default();
    if netbuf.len() != NETBUF {
        return Err(Errno::EINVAL);
    }
    if (tpi::word(&netbuf, 0).unwrap_or(0) as usize) < len {
        return Err(Errno::ENAMETOOLONG);
    }
    netbuf[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    let to = address(&netbuf[8..]).unwrap_or(0);
    Ok((netbuf, to))
}

/// A user address at the front of some bytes.
fn address(b: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(b.get(..8)?.try_into().ok()?))
}

// ---- up ----

fn rput(q: &mut Queue<'_, TiMod>, mp: Msg) {
    let control = matches!(mp.ty(), MsgType::Proto | MsgType::PcProto);
    let Some(first) = prim_of(&mp).filter(|_| control) else {
        return q.putnext(mp);
    };
    remember(q, first, &mp);
    let Some(p) = &q.ptr().pending else {
        return q.putnext(mp);
    };
    let of = tpi::word(mp.rd(), 1);
    let ours = match first {
        prim::T_ERROR_ACK => of == Some(p.request),
        prim::T_OK_ACK => p.ack == first && of == Some(p.request),
        _ => first == p.ack,
    };
    match q.ptr().pending.take_if(|_| ours) {
        Some(p) => answer(q, p, first, mp),
        None => q.putnext(mp),
    }
}

/// The addresses that go by.
fn remember(q: &mut Queue<'_, TiMod>, first: u32, mp: &Msg) {
    let there = tpi::part(mp.rd(), 1)
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    let me = q.ptr();
    match first {
        prim::T_BIND_ACK => me.local = there,
        prim::T_CONN_CON => me.remote = there,
        prim::T_DISCON_IND => me.remote.clear(),
        prim::T_OK_ACK if tpi::word(mp.rd(), 1) == Some(prim::T_UNBIND_REQ) => me.local.clear(),
        _ => {}
    }
}

fn answer(q: &mut Queue<'_, TiMod>, p: Pending, first: u32, ack: Msg) {
    if first == prim::T_ERROR_ACK {
        let tli = tpi::word(ack.rd(), 2).unwrap_or(TSYSERR) & 0xff;
        let unix = tpi::word(ack.rd(), 3).unwrap_or(0) & 0xff;
        let value = if tli == TSYSERR { tli | unix << 8 } else { tli };
        q.freemsg(ack);
        return q.wr().iocack0(p.mp, value as i32);
    }
    let mut data = ack.to_vec();
    q.freemsg(ack);
    if p.sync {
        data.resize(4 * INFO_WORDS, 0);
        data.extend(words(&[0, 0])); // tsa_qlen, tsa_flags
    }
    q.wr().iocack_with(p.mp, &data);
}
