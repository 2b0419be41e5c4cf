//! Messages as text: `M_PROTO band=1 "control" + M_DATA "data"`.
//!
//! | type | what may follow |
//! |---|---|
//! | any | `"bytes"`, `band=N`, `flag=MSGDELIM` |
//! | M_FLUSH | `FLUSHR`, `FLUSHW` or `FLUSHRW`; with `band=N` of that band only |
//! | M_ERROR | one error for both sides, or one for each; `0` and `NOERROR` too |
//! | M_SIG, M_PCSIG | a signal |
//! | M_SETOPTS | `readopt= wroff= minpsz= maxpsz= hiwat= lowat= so_band= mread= ndel= delim= erropt= tail=` |
//! | M_IOCTL, M_IOCACK, M_IOCNAK | `cmd= count= rval= error= id= uid=` |
//! | M_COPYIN, M_COPYOUT, M_IOCDATA | `cmd= addr= size= id=`, `cmd= rval=` |
//!
//! `describe` writes what `build` reads.

use streams::message::{
    CopyReq, CopyResp, Cred, Ctl, FLUSHBAND, IocBlk, Msg, MsgType, StrOptions, TRANSPARENT,
};
use streams::{Errno, Signal};

use super::names;
use super::text::Tok;
use crate::probe::{errno, signal};

/// The type of this name.
pub fn type_named(name: &str) -> Option<MsgType> {
    MsgType::ALL.iter().copied().find(|t| t.name() == name)
}

/// A message as words.
pub fn describe(mp: &Msg) -> Vec<Tok> {
    let mut out = Vec::new();
    for (i, b) in mp.blocks().enumerate() {
        if i > 0 {
            // The argument of a transparent ioctl is shown with the iocblk.
            if i == 1 && is_transparent(mp) {
                continue;
            }
            out.push(Tok::word("+"));
        }
        block(b, mp, &mut out);
    }
    out
}

fn is_transparent(mp: &Msg) -> bool {
    mp.ty() == MsgType::Ioctl && mp.ioc().is_some_and(|i| i.count == TRANSPARENT)
}

fn block(b: &Msg, whole: &Msg, out: &mut Vec<Tok>) {
    out.push(Tok::word(b.ty().name()));
    let mut key = |k: &str, v: Tok| out.push(Tok::key(k, v));
    if b.band() != 0 {
        key("band", Tok::Num(b.band().into()));
    }
    if b.flag() != 0 {
        key("flag", Tok::Num(b.flag().into()));
    }
    match b.ctl() {
        None => {}
        Some(Ctl::Ioc(i)) => {
            key("cmd", command(i.cmd));
            key("uid", Tok::Num(i.cr.uid.into()));
            if i.count == TRANSPARENT {
                key("count", Tok::word("TRANSPARENT"));
                if let Some(arg) = whole.cont().and_then(|c| c.rd().try_into().ok()) {
                    key("arg", Tok::Num(u64::from_ne_bytes(arg) as i64));
                }
            } else {
                key("count", Tok::Num(i.count as i64));
            }
            key("rval", Tok::Num(i.rval.into()));
            key("error", error_tok(i.error));
        }
        Some(Ctl::CopyReq(c)) => {
            key("cmd", command(c.cmd));
            key("addr", Tok::Num(c.addr as i64));
            key("size", Tok::Num(c.size as i64));
        }
        Some(Ctl::CopyResp(c)) => {
            key("cmd", command(c.cmd));
            key("rval", error_tok(c.rval));
        }
        Some(Ctl::Link(l)) => {
            key(
                "qtop",
                Tok::word(if l.qtop.is_some() { "yes" } else { "no" }),
            );
            key("index", Tok::Num(l.index.into()));
        }
        Some(Ctl::SetOpts(_)) => {}
        Some(Ctl::PassFp(_, cred)) => key("uid", Tok::Num(cred.uid.into())),
        #[allow(unreachable_patterns)] // what is added to Ctl has no text of its own yet
        Some(_) => {}
    }
    bytes(b, out);
}

fn bytes(b: &Msg, out: &mut Vec<Tok>) {
    let rd = b.rd();
    match b.ty() {
        MsgType::Flush => {
            let how = rd.first().copied().unwrap_or(0);
            out.push(Tok::Num((how & !FLUSHBAND).into()));
            if how & FLUSHBAND != 0 {
                out.push(Tok::key(
                    "band",
                    Tok::Num(rd.get(1).copied().unwrap_or(0).into()),
                ));
            }
        }
        MsgType::Error => out.extend(rd.iter().map(|e| match e {
            0xff => Tok::word("NOERROR"),
            e => error_tok((*e).into()),
        })),
        MsgType::Sig | MsgType::PcSig => out.extend(rd.iter().map(|n| {
            let named = [
                Signal::SIGINT,
                Signal::SIGPOLL,
                Signal::SIGTSTP,
                Signal::SIGHUP,
            ]
            .into_iter()
            .find(|s| *s as u8 == *n);
            named.map_or(Tok::Num((*n).into()), |s| Tok::word(format!("{s:?}")))
        })),
        MsgType::Data | MsgType::Proto | MsgType::PcProto if b.ctl().is_none() => {
            out.push(Tok::Bytes(rd.to_vec()));
        }
        _ if rd.is_empty() => {}
        _ => out.push(Tok::Bytes(rd.to_vec())),
    }
}

/// A command: a number, so that a name in a case is the same.
fn command(cmd: i32) -> Tok {
    Tok::Num(cmd.into())
}

fn error_tok(e: i32) -> Tok {
    match Errno::ALL.iter().find(|x| x.number() == e) {
        Some(x) => Tok::word(x.name()),
        None => Tok::Num(e.into()),
    }
}

/// Words as a message.
///
/// # Errors
/// What makes no sense in it.
pub fn build(toks: &[Tok]) -> Result<Msg, String> {
    let mut whole: Option<Msg> = None;
    for part in toks.split(|t| t.is("+")) {
        let b = build_block(part)?;
        match &mut whole {
            None => whole = Some(b),
            Some(m) => m.linkb(b),
        }
    }
    whole.ok_or_else(|| "a message is missing".into())
}

fn build_block(toks: &[Tok]) -> Result<Msg, String> {
    let Some((Tok::Word(name), args)) = toks.split_first() else {
        return Err("a message begins with its type".into());
    };
    let ty = type_named(name).ok_or_else(|| format!("no type {name}"))?;
    let mut data = Vec::new();
    let mut keys = Vec::new();
    for t in args {
        match t {
            Tok::Bytes(b) => data.extend_from_slice(b),
            Tok::Num(n) => data.push(u8::try_from(*n).map_err(|_| format!("{n} is no byte"))?),
            Tok::Word(w) if w == "NOERROR" => data.push(0xff),
            Tok::Word(w) => match (errno(w), signal(w)) {
                (Ok(e), _) => data.push(e.number() as u8),
                (_, Ok(s)) => data.push(s as u8),
                _ => return Err(format!("{w} in an {name}")),
            },
            Tok::Key(k, v) => keys.push((k.as_str(), &**v)),
        }
    }
    let mut mp = match ctl(ty, &keys)? {
        Some(c) => {
            let mut mp = Msg::control(ty, c);
            if !data.is_empty() {
                mp.linkb(Msg::data(&data));
            }
            mp
        }
        None => Msg::of(ty, &data),
    };
    for (k, v) in keys {
        match (k, v) {
            ("band", Tok::Num(n)) if ty == MsgType::Flush => {
                let how = data.first().copied().unwrap_or(0) | FLUSHBAND;
                mp = Msg::of(ty, &[how, *n as u8]);
            }
            ("band", Tok::Num(n)) => mp.set_band(*n as u8),
            ("flag", Tok::Num(n)) => mp.set_flag(*n as u16),
            _ => {}
        }
    }
    Ok(mp)
}

/// The typed head that a type has, from its keys.
fn ctl(ty: MsgType, keys: &[(&str, &Tok)]) -> Result<Option<Ctl>, String> {
    let find = |k: &str| keys.iter().find(|(n, _)| *n == k).map(|(_, v)| *v);
    let number = |k: &str| match find(k) {
        Some(Tok::Num(n)) => Ok(Some(*n)),
        Some(Tok::Word(w)) => match errno(w) {
            Ok(e) => Ok(Some(e.number().into())),
            Err(_) => names::number(w).map(Some).ok_or_else(|| format!("{k}={w}")),
        },
        None => Ok(None),
        Some(v) => Err(format!("{k}={v}")),
    };
    let or0 = |k: &str| number(k).map(|n| n.unwrap_or(0));
    let cr = Cred::ROOT;
    let (cmd, id) = (or0("cmd")? as i32, or0("id")? as u32);
    Ok(match ty {
        MsgType::Ioctl | MsgType::IocAck | MsgType::IocNak => Some(Ctl::Ioc(IocBlk {
            cmd,
            cr,
            id,
            count: or0("count")? as usize,
            rval: or0("rval")? as i32,
            error: or0("error")? as i32,
        })),
        MsgType::CopyIn | MsgType::CopyOut => Some(Ctl::CopyReq(CopyReq {
            cmd,
            cr,
            id,
            addr: or0("addr")? as u64,
            size: or0("size")? as usize,
            private: None,
        })),
        MsgType::IocData => {
            let rval = or0("rval")? as i32;
            Some(Ctl::CopyResp(CopyResp {
                cmd,
                cr,
                id,
                rval,
                private: None,
            }))
        }
        MsgType::SetOpts => {
            let on = |k: &str| match find(k) {
                None => Ok(None),
                Some(t) if t.is("on") => Ok(Some(true)),
                Some(t) if t.is("off") => Ok(Some(false)),
                Some(t) => Err(format!("{k}={t}: on or off")),
            };
            Some(Ctl::SetOpts(StrOptions {
                readopt: number("readopt")?.map(|n| n as i32),
                wroff: number("wroff")?.map(|n| n as u16),
                tail: number("tail")?.map(|n| n as u16),
                minpsz: number("minpsz")?,
                maxpsz: number("maxpsz")?,
                hiwat: number("hiwat")?.map(|n| n as usize),
                lowat: number("lowat")?.map(|n| n as usize),
                band: number("so_band")?.map(|n| n as u8),
                mread: on("mread")?,
                ndel: on("ndel")?,
                istty: on("istty")?,
                tostop: on("tostop")?,
                delim: on("delim")?,
                erropt: number("erropt")?.map(|n| n as i32),
                maxblk: number("maxblk")?,
            }))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::text::{lex, show};
    use super::*;

    #[test]
    fn what_is_built_is_described_so() {
        for text in [
            "M_DATA \"abc\"",
            "M_PROTO band=3 \"c\" + M_DATA \"d\"",
            "M_FLUSH 3",
            "M_FLUSH 1 band=7",
            "M_ERROR EIO NOERROR",
            "M_SIG SIGPOLL",
            "M_HANGUP",
            "M_PCPROTO \"\"",
        ] {
            let mp = build(&lex(text).unwrap()).unwrap();
            assert_eq!(show(&describe(&mp)), text);
        }
        assert!(build(&lex("M_WHAT").unwrap()).is_err());
    }
}
