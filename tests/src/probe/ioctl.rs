//! What a probe answers to M_IOCTL and M_IOCDATA: the next answer of the case's script.
//!
//! Spec: streamio(7I), mioctl(9S): M_IOCACK, M_IOCNAK, M_COPYIN, M_COPYOUT.

use streams::message::{CopyReq, Ctl, IocBlk, TRANSPARENT};
use streams::prelude::*;
use streams::sys::USER_BASE;

use super::module::Numbered;
use super::{errno, inst, num};
use crate::scenario::text::Tok;

/// What an M_IOCTL or M_IOCDATA is answered with.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Ack {
        rval: i32,
        error: i32,
        data: Option<Vec<u8>>,
    },
    Nak(i32),
    CopyIn {
        addr: Option<u64>,
        size: usize,
    },
    CopyOut {
        addr: Option<u64>,
        data: Vec<u8>,
    },
    /// Keeps it until `reply`.
    Hold,
    /// Frees it: no answer ever.
    Drop,
}

/// Answers with the next of the script; M_IOCNAK with EINVAL if there is none.
pub(super) fn give_answer<M: Numbered>(q: &mut Queue<'_, M>, id: usize, mp: Msg) {
    // A copy that failed is the end of it (the reference's 3.4).
    if let Some(Ctl::CopyResp(r)) = mp.ctl()
        && r.rval != 0
    {
        return q.freemsg(mp);
    }
    let a = inst(id, |i| i.answers.pop_front()).unwrap_or(Answer::Nak(Errno::EINVAL.number()));
    carry_out(q, id, mp, a);
}

pub(super) fn carry_out<M: Numbered>(q: &mut Queue<'_, M>, id: usize, mut mp: Msg, a: Answer) {
    match a {
        Answer::Hold => inst(id, |i| i.held.push_back(mp)),
        Answer::Drop => q.freemsg(mp),
        Answer::Nak(error) => {
            to_iocblk(&mut mp, MsgType::IocNak, -1, error);
            if let Some(rest) = mp.take_cont() {
                q.freemsg(rest);
            }
            q.qreply(mp);
        }
        Answer::Ack { rval, error, data } => {
            if let Some(old) = mp.set_cont(data.map(|d| Msg::data(&d))) {
                q.freemsg(old);
            }
            to_iocblk(&mut mp, MsgType::IocAck, rval, error);
            q.qreply(mp);
        }
        Answer::CopyIn { addr, size } => copy(q, mp, MsgType::CopyIn, addr, size, None),
        Answer::CopyOut { addr, data } => {
            let size = data.len();
            copy(q, mp, MsgType::CopyOut, addr, size, Some(Msg::data(&data)));
        }
    }
}

/// The head of an M_IOCTL or M_IOCDATA: command, who, id.
fn asked(mp: &Msg) -> Option<(i32, Cred, u32)> {
    match mp.ctl()? {
        Ctl::Ioc(i) => Some((i.cmd, i.cr, i.id)),
        Ctl::CopyResp(r) => Some((r.cmd, r.cr, r.id)),
        _ => None,
    }
}

fn to_iocblk(mp: &mut Msg, ty: MsgType, rval: i32, error: i32) {
    let Some((cmd, cr, id)) = asked(mp) else {
        return;
    };
    let count = mp.cont().map_or(0, Msg::msgsize);
    mp.set_ty(ty);
    mp.set_ctl(Some(Ctl::Ioc(IocBlk {
        cmd,
        cr,
        id,
        count,
        rval,
        error,
    })));
}

fn copy<M: Numbered>(
    q: &mut Queue<'_, M>,
    mut mp: Msg,
    ty: MsgType,
    addr: Option<u64>,
    size: usize,
    data: Option<Msg>,
) {
    let Some((cmd, cr, id)) = asked(&mp) else {
        return q.discard(mp, "no ioctl to answer");
    };
    // Without an address of its own, the one that the user gave as the argument.
    let arg = match mp.ioc() {
        Some(i) if i.count == TRANSPARENT => mp
            .cont()
            .and_then(|c| c.rd().try_into().ok())
            .map_or(USER_BASE, u64::from_ne_bytes),
        _ => USER_BASE,
    };
    let addr = addr.unwrap_or(arg);
    if let Some(old) = mp.set_cont(data) {
        q.freemsg(old);
    }
    mp.set_ty(ty);
    mp.set_ctl(Some(Ctl::CopyReq(CopyReq {
        cmd,
        cr,
        id,
        addr,
        size,
        private: None,
    })));
    q.qreply(mp);
}

pub(super) fn parse_answer(args: &[Tok]) -> Result<Answer, String> {
    let mut rval = 0;
    let mut error = 0;
    let mut addr = None;
    let mut size = None;
    let mut data = None;
    for t in args.iter().skip(1) {
        match t {
            Tok::Key(k, v) => match (k.as_str(), &**v) {
                ("rval", v) => rval = num(v)? as i32,
                ("error", Tok::Word(e)) => error = errno(e)?.number(),
                ("addr", v) => addr = Some(num(v)? as u64),
                ("size", v) => size = Some(num(v)? as usize),
                _ => return Err(format!("an answer has no {k}")),
            },
            Tok::Bytes(b) => data = Some(b.clone()),
            Tok::Word(e) => error = errno(e)?.number(),
            Tok::Num(n) => size = Some(*n as usize),
        }
    }
    match args.first() {
        Some(t) if t.is("ack") => Ok(Answer::Ack { rval, error, data }),
        Some(t) if t.is("nak") => Ok(Answer::Nak(error)),
        Some(t) if t.is("hold") => Ok(Answer::Hold),
        Some(t) if t.is("drop") => Ok(Answer::Drop),
        Some(t) if t.is("copyin") => Ok(Answer::CopyIn {
            addr,
            size: size.ok_or("copyin SIZE")?,
        }),
        Some(t) if t.is("copyout") => Ok(Answer::CopyOut {
            addr,
            data: data.ok_or("copyout \"data\"")?,
        }),
        _ => Err("ack | nak | hold | drop | copyin SIZE | copyout \"data\"".into()),
    }
}
