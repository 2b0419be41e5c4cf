//! `%do`: the calls that a module may make, by the manual's names (section 9F).

use streams::QField;
use streams::prelude::*;

use super::ioctl::{carry_out, parse_answer};
use super::module::Numbered;
use super::{Op, Side, bench, inst, num, show_time, signal};
use crate::scenario::message::{build, describe};
use crate::scenario::text::Tok;

/// One `%do`: what a module may do with its queue, by the manual's names.
pub(super) fn perform<M: Numbered>(q: &mut Queue<'_, M>, op: &[Tok]) -> Result<Vec<Tok>, String> {
    let id = q.ptr().id();
    let Some((Tok::Word(what), args)) = op.split_first() else {
        return Err("%do [@probe] [rd|wr] CALL ..".into());
    };
    let yes = |b: bool| Ok(vec![Tok::Num(i64::from(b))]);
    let arg = |i: usize| args.get(i).map_or(Ok(0), num);
    let flush = || match args.last() {
        Some(t) if t.is("FLUSHALL") => Flush::All,
        _ => Flush::Data,
    };
    match what.as_str() {
        "putnext" => q.putnext(build(args)?),
        "qreply" => q.qreply(build(args)?),
        "put" => {
            let me = q.qref();
            q.put(me, build(args)?);
        }
        "putq" => q.putq(build(args)?),
        "putbq" => q.putbq(build(args)?),
        "insq" => match q.insq(arg(0)? as usize, build(&args[1..])?) {
            Ok(()) => return yes(true),
            Err(mp) => {
                q.freemsg(mp);
                return yes(false);
            }
        },
        "getq" => return Ok(took(q.getq())),
        "rmvq" => return Ok(took(q.rmvq(arg(0)? as usize))),
        "flushq" => q.flushq(flush()),
        "flushband" => q.flushband(arg(0)? as u8, flush()),
        "qsize" => return Ok(vec![Tok::Num(q.qsize() as i64)]),
        "count" => return Ok(vec![Tok::Num(q.count() as i64)]),
        "messages" => {
            let texts: Vec<_> = q.messages().map(describe).collect();
            return Ok(if texts.is_empty() {
                vec![Tok::word("nothing")]
            } else {
                texts.join(&Tok::word(","))
            });
        }
        "canputnext" => return yes(q.canputnext()),
        "canput" => {
            let me = q.qref();
            return yes(q.canput(me));
        }
        "bcanputnext" => {
            let b = arg(0)? as u8;
            return yes(q.bcanputnext(b));
        }
        "strqset" => {
            let (field, band, value) = (arg(0)? as i32, arg(1)? as u8, arg(2)?);
            let set = QField::from_number(field).and_then(|f| q.strqset(f, band, value));
            return Ok(vec![Tok::word(set.err().map_or("done", |e| e.name()))]);
        }
        "strqget" => {
            let (field, band) = (arg(0)? as i32, arg(1)? as u8);
            let got = QField::from_number(field).and_then(|f| q.strqget(f, band));
            return Ok(vec![got.map_or_else(|e| Tok::word(e.name()), Tok::Num)]);
        }
        "allocb" => {
            let got = q.allocb(arg(0)? as usize);
            let there = got.is_some();
            if let Some(mp) = got {
                q.freemsg(mp);
            }
            return yes(there);
        }
        "bufcall" => {
            let op = Op(Side::of(q), args.to_vec());
            let tag = inst(id, |i| {
                i.timers.push(op);
                i.timers.len() - 1
            });
            q.qbufcall(tag as u64);
        }
        "unbufcall" => {
            let call = q.qbufcall(0);
            return yes(q.qunbufcall(call));
        }
        "qenable" => q.qenable(),
        "noenable" => q.noenable(),
        "enableok" => q.enableok(),
        "marks" => q.set_marks(arg(0)? as usize, arg(1)? as usize),
        "sizes" => q.set_packet_sizes(arg(0)?, arg(1)?),
        "putnextctl" => return yes(q.putnextctl(msg_type(args)?)),
        "putnextctl1" => {
            let (ty, byte) = (msg_type(args)?, arg(1)? as u8);
            return yes(q.putnextctl1(ty, byte));
        }
        "served" => {
            let side = Side::of(q) as usize;
            return Ok(vec![Tok::Num(
                inst(id, |i| std::mem::take(&mut i.served[side])).into(),
            )]);
        }
        "reply" => {
            let a = parse_answer(args)?;
            let mp = inst(id, |i| i.held.pop_front()).ok_or("it holds no ioctl")?;
            carry_out(&mut q.wr(), id, mp, a);
        }
        "twice" => {
            // The same thing again, within one entry: what a put procedure meets when it
            // is called while it runs.
            perform(q, args)?;
            return perform(q, args);
        }
        "after" => {
            let Some((Tok::Word(t), rest)) = args.split_first() else {
                return Err("after TIME CALL ..".into());
            };
            let after = crate::scenario::time(t)?;
            let op = Op(Side::of(q), rest.to_vec());
            let tag = inst(id, |i| {
                i.timers.push(op);
                i.timers.len() - 1
            });
            q.qtimeout(after, tag as u64);
        }
        "now" => return Ok(vec![Tok::word(show_time(q.now()))]),
        "kill" => {
            let Some(Tok::Word(s)) = args.first() else {
                return Err("kill SIGNAL".into());
            };
            let sig = signal(s)?;
            if let Some(p) = bench(|b| b.process.upgrade()) {
                p.kill(sig);
            }
        }
        other => return Err(format!("%do knows no {other}")),
    }
    Ok(Vec::new())
}

fn took(mp: Option<Msg>) -> Vec<Tok> {
    match mp {
        Some(mp) => describe(&mp),
        None => vec![Tok::word("nothing")],
    }
}

fn msg_type(args: &[Tok]) -> Result<MsgType, String> {
    match args.first() {
        Some(Tok::Word(w)) => {
            crate::scenario::message::type_named(w).ok_or_else(|| format!("no type {w}"))
        }
        _ => Err("a message type is missing".into()),
    }
}
