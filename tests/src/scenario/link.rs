//! `%dl`: data link primitives and their answers, by name. /dev/le is on an Ethernet in
//! memory, style 2, with one port.

use dlpi::link::wire::Wire;
use dlpi::prim::*;
use dlpi::state::State;
use streams::{Errno, Kernel, MsgType, Process, Sys};

use super::text::Tok;
use super::{Outcome, Wrong};

const US: [u8; 6] = [8, 0, 0x20, 0, 0, 1];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 9];

/// Makes /dev/le known.
pub fn register(k: &Kernel) -> Result<(), Errno> {
    dlpi::register_wire(k, "le", vec![(Wire::default(), US)])
}

/// The request with fields that are right: what is wrong with it can only be the state.
fn request(number: u32) -> Vec<u8> {
    let dest = [&US[..], &[8, 0]].concat();
    match number {
        DL_ATTACH_REQ => Prim::AttachReq { ppa: 0 }.emit_bytes(),
        DL_BIND_REQ => Prim::bind(0x800).emit_bytes(),
        DL_ENABMULTI_REQ | DL_DISABMULTI_REQ => {
            let addr = GROUP.to_vec();
            match number {
                DL_ENABMULTI_REQ => Prim::EnabmultiReq { addr }.emit_bytes(),
                _ => Prim::DisabmultiReq { addr }.emit_bytes(),
            }
        }
        DL_PROMISCON_REQ => Prim::PromisconReq { level: 1 }.emit_bytes(),
        DL_PROMISCOFF_REQ => Prim::PromiscoffReq { level: 1 }.emit_bytes(),
        DL_PHYS_ADDR_REQ => Prim::PhysAddrReq { addr_type: 1 }.emit_bytes(),
        DL_SET_PHYS_ADDR_REQ => Prim::SetPhysAddrReq { addr: US.to_vec() }.emit_bytes(),
        DL_UNITDATA_REQ => Prim::UnitdataReq {
            dest,
            priority_min: 0,
            priority_max: 0,
        }
        .emit_bytes(),
        // Every field zero: no address, no option.
        n => [&n.to_ne_bytes()[..], &[0; 60]].concat(),
    }
}

/// The number of a primitive.
pub fn named(name: &str) -> Result<u32, Wrong> {
    let known = Prim::ALL.iter().find(|a| a.1 == name);
    known
        .map(|a| a.0)
        .ok_or_else(|| format!("{name} is no primitive"))
}

/// Sends a primitive; the name of the answer and what it says is wrong.
pub fn ask(p: &Process, fd: i32, number: u32) -> Outcome {
    let hipri = Prim::ALL
        .iter()
        .any(|a| a.0 == number && a.2 == MsgType::PcProto);
    let data = (number == DL_UNITDATA_REQ).then_some(&b"data"[..]);
    p.putmsg(fd, Some(&request(number)), data, hipri)?;
    Ok(answer(p, fd))
}

/// What has come, `nothing` if nothing has.
fn answer(p: &Process, fd: i32) -> Vec<Tok> {
    let got = p.getmsg(fd, 512, 512, false);
    let Some(ctl) = got.ok().and_then(|g| g.ctl) else {
        return vec![Tok::word("nothing")];
    };
    let Ok(prim) = Prim::parse_bytes(&ctl) else {
        return vec![Tok::word("unreadable")];
    };
    let mut v = vec![Tok::word(prim.name())];
    if let Prim::ErrorAck { errno, .. } | Prim::UderrorInd { errno, .. } = prim {
        v.push(Tok::word(DlErrno(errno).name()));
    }
    v
}

/// `dl_current_state`.
pub fn state(p: &Process, fd: i32) -> Result<Outcome, Wrong> {
    let req = Prim::InfoReq.emit_bytes();
    if let Err(e) = p.putmsg(fd, Some(&req), None, true) {
        return Ok(Err(e));
    }
    let ctl = p.getmsg(fd, 512, 0, true).ok().and_then(|g| g.ctl);
    let Some(Ok(Prim::InfoAck { info })) = ctl.map(|c| Prim::parse_bytes(&c)) else {
        return Err("no DL_INFO_ACK".into());
    };
    let name = State::from_value(info.current_state).map_or("DL_?", State::name);
    Ok(Ok(vec![Tok::word(name)]))
}
