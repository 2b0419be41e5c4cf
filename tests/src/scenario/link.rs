//! `%dl`, `%dlget`: data link primitives and their answers, by name.
//!
//! ```text
//!   /dev/le, /dev/llc1   PPA 0 is station a, PPA 1 station b, on one Ethernet in memory
//!   /dev/le0             style 1, station c
//!   DLSAPs   b/0x800     6 + 2 bytes      b:0x42    6 + 1 (llc1)     b:0xaa:0.0.0.8.6   with SNAP
//!            all: everybody, group: a multicast address, x: nobody
//! ```

use dlpi::Links;
use dlpi::addr::Mac;
use dlpi::link::wire::Wire;
use dlpi::prim::*;
use dlpi::state::State;
use streams::{Errno, Kernel, MsgType, Process, Sys};

use super::text::Tok;
use super::{Outcome, Wrong};

const STATIONS: &[(&str, Mac)] = &[
    ("a", [8, 0, 0x20, 0, 0, 1]),
    ("b", [8, 0, 0x20, 0, 0, 2]),
    ("c", [8, 0, 0x20, 0, 0, 3]),
    ("x", [8, 0, 0x20, 0, 0, 9]),
    ("group", [1, 0, 0x5e, 0, 0, 9]),
    ("all", [0xff; 6]),
];

fn station(name: &str) -> Result<Mac, Wrong> {
    let known = STATIONS.iter().find(|s| s.0 == name);
    known
        .map(|s| s.1)
        .ok_or_else(|| format!("no station {name}"))
}

/// Makes the devices known.
pub fn register(k: &Kernel) -> Result<(), Errno> {
    let wire = Wire::default();
    let ports = ["a", "b"].map(|n| (wire.clone(), station(n).unwrap_or_default()));
    dlpi::register_wire(k, "le", ports.to_vec())?;
    dlpi::register_llc1(k, "le")?;
    let mac = station("c").unwrap_or_default();
    let make = move |_| Ok(Box::new(wire.port(mac)) as Box<dyn dlpi::link::Link>);
    dlpi::register(k, "le0", Links::new(Box::new(make)).style1_of(0))
}

/// The bytes of a DLSAP; of a station alone its address.
fn dlsap(text: &str) -> Result<Vec<u8>, Wrong> {
    let number = |n: &str| -> Result<u16, Wrong> {
        let n = n.strip_prefix("0x").ok_or("a SAP is 0x..")?;
        u16::from_str_radix(n, 16).map_err(|e| e.to_string())
    };
    if let Some((mac, sap)) = text.split_once('/') {
        return Ok([&station(mac)?[..], &number(sap)?.to_ne_bytes()].concat());
    }
    let mut parts = text.split(':');
    let mut v = station(parts.next().unwrap_or_default())?.to_vec();
    if let Some(sap) = parts.next() {
        v.push(u8::try_from(number(sap)?).map_err(|e| e.to_string())?);
    }
    for n in parts.flat_map(|snap| snap.split('.')) {
        v.push(n.parse().map_err(|_| format!("no SNAP in {text}"))?);
    }
    Ok(v)
}

/// The same as text.
fn shown(dlsap: &[u8]) -> Tok {
    let Some((mac, rest)) = dlsap.split_first_chunk::<6>() else {
        return Tok::Bytes(dlsap.to_vec());
    };
    let name = STATIONS.iter().find(|s| s.1 == *mac).map_or("?", |s| s.0);
    Tok::word(match rest {
        [] => name.to_owned(),
        [l] => format!("{name}:{l:#x}"),
        [a, b] => format!("{name}/{:#x}", u16::from_ne_bytes([*a, *b])),
        [l, snap @ ..] => {
            let snap: Vec<String> = snap.iter().map(u8::to_string).collect();
            format!("{name}:{l:#x}:{}", snap.join("."))
        }
    })
}

/// What a case says of a request.
struct Fields<'a>(&'a [Tok]);

impl Fields<'_> {
    fn key(&self, name: &str) -> Option<&Tok> {
        self.0.iter().find_map(|t| match t {
            Tok::Key(k, v) if k == name => Some(&**v),
            _ => None,
        })
    }
    fn number(&self, name: &str, default: u32) -> Result<u32, Wrong> {
        match self.key(name) {
            None => Ok(default),
            Some(Tok::Num(n)) => Ok(*n as u32),
            Some(t) => Err(format!("{name}={t}: not a number")),
        }
    }
    fn bytes(&self, name: &str, default: &str) -> Result<Vec<u8>, Wrong> {
        match self.key(name) {
            None => dlsap(default),
            Some(Tok::Bytes(b)) => Ok(b.clone()),
            Some(Tok::Word(w)) => dlsap(w),
            Some(t) => Err(format!("{name}={t}: no address")),
        }
    }
    /// A SAP: a number of two bytes, `0x42` of one with `lsap=`, or bytes.
    fn sap(&self) -> Result<OffLen, Wrong> {
        let lsap = self.key("lsap");
        Ok(OffLen(match (self.key("sap"), lsap) {
            (_, Some(Tok::Num(n))) => vec![*n as u8],
            (None, _) => 0x806u16.to_ne_bytes().to_vec(),
            (Some(Tok::Num(n)), _) => (*n as u16).to_ne_bytes().to_vec(),
            (Some(Tok::Bytes(b)), _) => b.clone(),
            (Some(t), _) => return Err(format!("sap={t}: no SAP")),
        }))
    }
    /// A dl_qos_cl_sel1_t; `qos=` its type, the rest as named.
    fn quality(&self) -> Result<Vec<u8>, Wrong> {
        let words = [
            self.number("qos", DL_QOS_CL_SEL1)?,
            self.number("delay", DL_QOS_DONT_CARE as u32)?,
            self.number("priority", DL_QOS_DONT_CARE as u32)?,
            self.number("protection", DL_PROT_NONE as u32)?,
            self.number("errors", DL_QOS_DONT_CARE as u32)?,
        ];
        Ok(words.iter().flat_map(|w| w.to_ne_bytes()).collect())
    }
    fn data(&self) -> Option<&[u8]> {
        self.0.iter().find_map(|t| match t {
            Tok::Bytes(b) => Some(&b[..]),
            _ => None,
        })
    }
}

/// The request with fields that are right unless the case has others: what is wrong with it
/// can only be what the case says, or the state.
fn request(number: u32, f: &Fields<'_>) -> Result<Vec<u8>, Wrong> {
    let prim = match number {
        DL_ATTACH_REQ => Prim::AttachReq {
            ppa: f.number("ppa", 0)?,
        },
        DL_BIND_REQ => Prim::BindReq {
            sap: f.number("sap", 0x800)?,
            max_conind: 0,
            service_mode: f.number("mode", DL_CLDLS)? as u16,
            conn_mgmt: 0,
            xidtest_flg: f.number("xidtest", 0)?,
        },
        DL_SUBS_BIND_REQ => Prim::SubsBindReq {
            sap: f.sap()?,
            class: f.number("class", DL_PEER_BIND)?,
        },
        DL_SUBS_UNBIND_REQ => Prim::SubsUnbindReq { sap: f.sap()? },
        DL_ENABMULTI_REQ => Prim::EnabmultiReq {
            addr: f.bytes("addr", "group")?,
        },
        DL_DISABMULTI_REQ => Prim::DisabmultiReq {
            addr: f.bytes("addr", "group")?,
        },
        DL_PROMISCON_REQ => Prim::PromisconReq {
            level: f.number("level", DL_PROMISC_PHYS)?,
        },
        DL_PROMISCOFF_REQ => Prim::PromiscoffReq {
            level: f.number("level", DL_PROMISC_PHYS)?,
        },
        DL_PHYS_ADDR_REQ => Prim::PhysAddrReq {
            addr_type: f.number("type", DL_FACT_PHYS_ADDR)?,
        },
        DL_SET_PHYS_ADDR_REQ => Prim::SetPhysAddrReq {
            addr: f.bytes("addr", "a")?,
        },
        DL_NOTIFY_REQ => Prim::NotifyReq {
            notifications: f.number("notes", 0)?,
            timelimit: 0,
        },
        DL_UDQOS_REQ => Prim::UdqosReq { qos: f.quality()? },
        DL_UNITDATA_REQ => Prim::UnitdataReq {
            dest: f.bytes("dest", "b/0x800")?,
            priority_min: 0,
            priority_max: 0,
        },
        DL_XID_REQ | DL_XID_RES | DL_TEST_REQ | DL_TEST_RES => {
            let flag = f.number("flag", 1)?;
            let dest = f.bytes("dest", "b:0x42")?;
            match number {
                DL_XID_REQ => Prim::XidReq { flag, dest },
                DL_XID_RES => Prim::XidRes { flag, dest },
                DL_TEST_REQ => Prim::TestReq { flag, dest },
                _ => Prim::TestRes { flag, dest },
            }
        }
        // Every field zero: no address, no option.
        n => return Ok([&n.to_ne_bytes()[..], &[0; 60]].concat()),
    };
    Ok(prim.emit_bytes())
}

/// The number of a primitive.
fn named(name: &str) -> Result<u32, Wrong> {
    let known = Prim::ALL.iter().find(|a| a.1 == name);
    known
        .map(|a| a.0)
        .ok_or_else(|| format!("{name} is no primitive"))
}

/// Sends a primitive; the name of the answer and what it says is wrong.
pub fn ask(p: &Process, fd: i32, args: &[Tok]) -> Result<Outcome, Wrong> {
    let (number, rest) = match args.split_first() {
        Some((Tok::Word(name), rest)) => (named(name)?, rest),
        Some((Tok::Num(n), rest)) => (*n as u32, rest),
        _ => return Err("%dl [@n] DL_PRIMITIVE [field=value ..] [\"data\"]".into()),
    };
    let f = Fields(rest);
    let hipri = Prim::ALL
        .iter()
        .any(|a| a.0 == number && a.2 == MsgType::PcProto);
    let data = f
        .data()
        .or((number == DL_UNITDATA_REQ).then_some(&b"data"[..]));
    if let Err(e) = p.putmsg(fd, Some(&request(number, &f)?), data, hipri) {
        return Ok(Err(e));
    }
    let Some((ctl, _)) = next(p, fd) else {
        return Ok(Ok(vec![Tok::word("nothing")]));
    };
    let Ok(prim) = Prim::parse_bytes(&ctl) else {
        return Ok(Ok(vec![Tok::word("unreadable")]));
    };
    let mut v = vec![Tok::word(prim.name())];
    if let Prim::ErrorAck { errno, .. } | Prim::UderrorInd { errno, .. } = prim {
        v.push(Tok::word(DlErrno(errno).name()));
    }
    Ok(Ok(v))
}

/// Control and data part of what has come.
fn next(p: &Process, fd: i32) -> Option<(Vec<u8>, Vec<u8>)> {
    let got = p.getmsg(fd, 512, 2048, false).ok()?;
    Some((got.ctl.unwrap_or_default(), got.data.unwrap_or_default()))
}

/// What has come once the wire is quiet: its name, fields and data; `nothing` if nothing has.
pub fn got(k: &Kernel, p: &Process, fd: i32) -> Outcome {
    k.run_until_idle();
    let Some((ctl, data)) = next(p, fd) else {
        return Ok(vec![Tok::word("nothing")]);
    };
    let data = Tok::Bytes(data);
    if ctl.is_empty() {
        return Ok(vec![Tok::word("M_DATA"), data]);
    }
    let Ok(prim) = Prim::parse_bytes(&ctl) else {
        return Ok(vec![Tok::word("unreadable")]);
    };
    let mut v = vec![Tok::word(prim.name())];
    match &prim {
        Prim::UnitdataInd { dest, src, group } => {
            v.push(Tok::key("dest", shown(dest)));
            v.push(Tok::key("src", shown(src)));
            v.push(Tok::key("group", Tok::Num((*group).into())));
            v.push(data);
        }
        Prim::XidInd { flag, dest, src }
        | Prim::XidCon { flag, dest, src }
        | Prim::TestInd { flag, dest, src }
        | Prim::TestCon { flag, dest, src } => {
            v.push(Tok::key("flag", Tok::Num((*flag).into())));
            v.push(Tok::key("dest", shown(dest)));
            v.push(Tok::key("src", shown(src)));
            v.push(data);
        }
        Prim::NotifyInd {
            notification,
            data,
            addr,
        } => {
            v.push(Tok::key("note", Tok::Num((*notification).into())));
            v.push(Tok::key("data", Tok::Num((*data).into())));
            v.push(Tok::key("addr", shown(addr)));
        }
        _ => {}
    }
    Ok(v)
}

/// `dl_current_state`.
pub fn state(p: &Process, fd: i32) -> Result<Outcome, Wrong> {
    let info = match info(p, fd)? {
        Ok(info) => info,
        Err(e) => return Ok(Err(e)),
    };
    let name = State::from_value(info.current_state).map_or("DL_?", State::name);
    Ok(Ok(vec![Tok::word(name)]))
}

/// DL_INFO_ACK, field by field.
pub fn info_fields(p: &Process, fd: i32) -> Result<Outcome, Wrong> {
    let i = match info(p, fd)? {
        Ok(info) => info,
        Err(e) => return Ok(Err(e)),
    };
    let n = |k: &str, v: i64| Tok::key(k, Tok::Num(v));
    Ok(Ok(vec![
        n("max_sdu", i.max_sdu.into()),
        n("min_sdu", i.min_sdu.into()),
        n("addr_length", i.addr_length.into()),
        n("mac_type", i.mac_type.into()),
        n("sap_length", i.sap_length.into()),
        n("service_mode", i.service_mode.into()),
        n("style", i.provider_style.into()),
        n("version", i.version.into()),
        Tok::key("brdcst", shown(&i.brdcst_addr)),
        Tok::key("addr", shown(&i.addr)),
    ]))
}

fn info(p: &Process, fd: i32) -> Result<Result<InfoAck, Errno>, Wrong> {
    let req = Prim::InfoReq.emit_bytes();
    if let Err(e) = p.putmsg(fd, Some(&req), None, true) {
        return Ok(Err(e));
    }
    let ctl = p.getmsg(fd, 512, 0, true).ok().and_then(|g| g.ctl);
    match ctl.map(|c| Prim::parse_bytes(&c)) {
        Some(Ok(Prim::InfoAck { info })) => Ok(Ok(info)),
        _ => Err("no DL_INFO_ACK".into()),
    }
}
