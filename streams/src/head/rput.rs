//! The head's read put procedure: a message has come up.
//!
//! | message | what becomes of it |
//! |---|---|
//! | M_DATA, M_PROTO, M_PASSFP | queued; readers, pollers and SIGPOLL are told |
//! | M_PCPROTO | queued if it is the only one |
//! | M_SIG | a signal, once it is the first |
//! | M_IOCACK .. M_COPYOUT | the ioctl that waits |
//! | M_ERROR, M_HANGUP, M_SETOPTS, M_FLUSH, M_PCSIG | at once |
//! | anything else | freed without a word (5.12) |
//!
//! Spec: the reference's 1.1, 5.8, 5.9, 5.12.

use super::{ioctl, setopts, tty};
use crate::domain::Domain;
use crate::message::{Ctl, FLUSHR, FLUSHW, Msg, MsgType};
use crate::queue::NONE;
use crate::sys::stropts::{S_ERROR, S_HANGUP, S_HIPRI, S_INPUT, S_RDBAND, S_RDNORM};

pub(super) fn strrput(dom: &mut Domain, idx: u32, mp: Msg) {
    match mp.ty() {
        MsgType::Data | MsgType::Proto | MsgType::PassFp => {
            let band = mp.band();
            let front = dom.slot(idx).list.front();
            let first = front.is_none_or(|f| !f.is_high_pri() && f.band() < band);
            dom.putq(idx, mp);
            let Some(h) = dom.head(idx) else { return };
            let signals = first && !h.registered.is_empty();
            dom.wake_head(idx);
            if signals {
                dom.sigpoll(idx, input_events(band), band, 0);
            }
        }
        _ => nondata(dom, idx, mp),
    }
}

/// What S_ events an ordinary message that is first stands for (5.6).
pub(super) fn input_events(band: u8) -> i32 {
    S_INPUT | if band == 0 { S_RDNORM } else { S_RDBAND }
}

fn nondata(dom: &mut Domain, idx: u32, mut mp: Msg) {
    match mp.ty() {
        MsgType::PcProto => {
            let Some(h) = dom.head(idx) else {
                return dom.pool.free(mp);
            };
            // At most one is held; the first stays (invariant 2).
            if h.pri {
                return dom.discard(idx, mp, "a second M_PCPROTO");
            }
            h.pri = true;
            dom.putq(idx, mp);
            dom.wake_head(idx);
            dom.sigpoll(idx, S_HIPRI, 0, 0);
            return;
        }
        MsgType::IocAck | MsgType::IocNak | MsgType::CopyIn | MsgType::CopyOut => {
            return ioctl::answer(dom, idx, mp);
        }
        MsgType::Ioctl => {
            // A twisted pipe: nobody down there can answer.
            mp.set_ty(MsgType::IocNak);
            return dom.putnext(idx | 1, mp);
        }
        MsgType::Flush => return super::flush::at_head(dom, idx, mp),
        MsgType::Sig => {
            let sig = mp.rd().first().copied().unwrap_or(0);
            // 5.9: in its turn; SIGTSTP doesn't wait for somebody to read.
            let read = dom.head(idx).is_some_and(|h| !h.waiters.is_empty());
            let at_once = dom.slot(idx).list.is_empty() || (sig == tty::SIGTSTP && !read);
            if !at_once {
                return dom.putq(idx, mp);
            }
            dom.strsignal(idx, sig, mp.band());
        }
        MsgType::PcSig => {
            let sig = mp.rd().first().copied().unwrap_or(0);
            dom.strsignal(idx, sig, mp.band());
        }
        MsgType::SetOpts => {
            if let Some(Ctl::SetOpts(o)) = mp.ctl() {
                let o = *o;
                setopts::setopts(dom, idx, &o);
            }
        }
        MsgType::Error => error(dom, idx, mp.rd()),
        MsgType::Hangup => {
            if let Some(h) = dom.head(idx) {
                h.hup = true;
            }
            dom.wake_head(idx);
            dom.sigpoll(idx, S_HANGUP, 0, 0);
            tty::hangup(dom, idx);
        }
        MsgType::UnHangup => {
            if let Some(h) = dom.head(idx) {
                h.hup = false;
            }
            dom.wake_head(idx);
        }
        _ => {}
    }
    dom.pool.free(mp);
}

/// M_ERROR (5.8): one byte sets both sides, two set each; 0xff leaves a side.
fn error(dom: &mut Domain, idx: u32, bytes: &[u8]) {
    let Some(h) = dom.head(idx) else { return };
    let mut flush = 0;
    let mut set = |err: &mut i32, byte: u8, side: u8| {
        if byte != 0xff {
            if byte != 0 && *err == 0 {
                flush |= side;
            }
            *err = byte as i32;
        }
    };
    match *bytes {
        [] | [0] => return,
        [e] => {
            set(&mut h.rerr, e, FLUSHR);
            set(&mut h.werr, e, FLUSHW);
        }
        [r, w, ..] => {
            set(&mut h.rerr, r, FLUSHR);
            set(&mut h.werr, w, FLUSHW);
        }
    }
    let now = if h.rerr != 0 { h.rerr } else { h.werr };
    dom.wake_head(idx);
    if now != 0 {
        dom.sigpoll(idx, S_ERROR, 0, now);
    }
    if flush != 0 && dom.slot(idx | 1).next != NONE {
        let mp = Msg::of(MsgType::Flush, &[flush]);
        dom.putnext(idx | 1, mp);
    }
}
