//! TPI messages: what a transport user and provider say to one another.
//!
//! Spec: tihdr(7P), sys/tihdr.h, the reference's ip-tpi section 4.
//! Native 32-bit words, offsets from the start of the block.

use streams::prelude::*;

use crate::module::OnStack;
use crate::wire::HEADER;

pub use streams::modules::tpi::prim::*;

/// A T_INFO_ACK is wanted.
const TC1_INFO: u32 = 1;
/// The highest number of a primitive that TPI gives to users or providers.
const LAST: u32 = 31;

/// States.
pub mod state {
    /// TS_UNBND.
    pub const UNBND: u32 = 0;
    /// TS_IDLE.
    pub const IDLE: u32 = 3;
    /// TS_WCON_CREQ.
    pub const WCON_CREQ: u32 = 6;
    /// TS_WRES_CIND.
    pub const WRES_CIND: u32 = 7;
    /// TS_WIND_ORDREL.
    pub const WIND_ORDREL: u32 = 10;
    /// TS_WREQ_ORDREL.
    pub const WREQ_ORDREL: u32 = 11;
    /// TS_DATA_XFER.
    pub const DATA_XFER: u32 = 9;
}

/// TLI errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tli(pub u32);

#[allow(missing_docs)] // the T errors of sys/tpicommon.h
impl Tli {
    pub const BADADDR: Tli = Tli(1);
    pub const BADOPT: Tli = Tli(2);
    pub const BADDATA: Tli = Tli(10);
    pub const ACCES: Tli = Tli(3);
    pub const BADF: Tli = Tli(4);
    pub const BADSEQ: Tli = Tli(7);
    pub const NOADDR: Tli = Tli(5);
    pub const OUTSTATE: Tli = Tli(6);
    pub const SYSERR: Tli = Tli(8);
    pub const BADFLAG: Tli = Tli(16);
    pub const NOTSUPPORT: Tli = Tli(18);
    pub const ADDRBUSY: Tli = Tli(23);
}

/// A request of a transport user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tpi {
    /// T_INFO_REQ.
    InfoReq,
    /// T_BIND_REQ or O_T_BIND_REQ.
    Bind {
        /// Which of the two.
        prim: u32,
        /// The address.
        addr: Vec<u8>,
        /// CONIND_number.
        conind: u32,
        /// The byte behind the address: IP's protocol number, on /dev/ip.
        trailer: Option<u8>,
    },
    /// T_UNBIND_REQ.
    UnbindReq,
    /// T_UNITDATA_REQ.
    UnitdataReq {
        /// Where to.
        dest: Vec<u8>,
    },
    /// T_CONN_REQ.
    ConnReq {
        /// Whom to.
        dest: Vec<u8>,
    },
    /// T_DISCON_REQ.
    DisconReq,
    /// T_ADDR_REQ.
    AddrReq,
    /// T_CAPABILITY_REQ: the bits asked for.
    CapabilityReq(u32),
    /// T_SVR4_OPTMGMT_REQ or T_OPTMGMT_REQ.
    OptmgmtReq {
        /// Which of the two.
        prim: u32,
        /// The options.
        opts: Vec<u8>,
        /// MGMT_flags.
        flags: u32,
    },
}

/// Why a request can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// TPI has it, and nobody here does: T_ERROR_ACK TNOTSUPPORT.
    Unsupported(u32),
    /// No number of TPI's, or no number at all.
    Unknown(u32),
    /// Its lengths and offsets lead out of the block.
    Malformed(u32),
}

fn word(b: &[u8], i: usize) -> Option<u32> {
    b.get(4 * i..4 * i + 4)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

fn part(b: &[u8], len: u32, off: u32) -> Option<&[u8]> {
    if len == 0 {
        return Some(&[]);
    }
    b.get(off as usize..(off as usize).checked_add(len as usize)?)
}

impl Tpi {
    /// Reads a request.
    ///
    /// # Errors
    /// Which kind of bad it is.
    pub fn parse(b: &[u8]) -> Result<Tpi, Bad> {
        let prim = word(b, 0).ok_or(Bad::Unknown(u32::MAX))?;
        let known = matches!(
            prim,
            T_CONN_REQ
                | T_DISCON_REQ
                | T_INFO_REQ
                | O_T_BIND_REQ
                | T_UNBIND_REQ
                | T_UNITDATA_REQ
                | T_SVR4_OPTMGMT_REQ
                | T_OPTMGMT_REQ
                | T_ADDR_REQ
                | T_BIND_REQ
                | T_CAPABILITY_REQ
        );
        if !known && prim <= LAST {
            return Err(Bad::Unsupported(prim));
        }
        if !known {
            return Err(Bad::Unknown(prim));
        }
        Tpi::read(prim, b).ok_or(Bad::Malformed(prim))
    }

    fn read(prim: u32, b: &[u8]) -> Option<Tpi> {
        Some(match prim {
            T_DISCON_REQ => Tpi::DisconReq,
            T_ADDR_REQ => Tpi::AddrReq,
            T_CAPABILITY_REQ => Tpi::CapabilityReq(word(b, 1)?),
            T_CONN_REQ => Tpi::ConnReq {
                dest: part(b, word(b, 1)?, word(b, 2)?)?.to_vec(),
            },
            prim @ (T_SVR4_OPTMGMT_REQ | T_OPTMGMT_REQ) => Tpi::OptmgmtReq {
                prim,
                opts: part(b, word(b, 1)?, word(b, 2)?)?.to_vec(),
                flags: word(b, 3)?,
            },
            T_INFO_REQ => Tpi::InfoReq,
            T_UNBIND_REQ => Tpi::UnbindReq,
            prim @ (T_BIND_REQ | O_T_BIND_REQ) => {
                let (len, off) = (word(b, 1)?, word(b, 2)?);
                let end = if len == 0 {
                    16
                } else {
                    off as usize + len as usize
                };
                Tpi::Bind {
                    prim,
                    addr: part(b, len, off)?.to_vec(),
                    conind: word(b, 3)?,
                    trailer: (b.len() > end).then(|| b[b.len() - 1]),
                }
            }
            T_UNITDATA_REQ => Tpi::UnitdataReq {
                dest: part(b, word(b, 1)?, word(b, 2)?)?.to_vec(),
            },
            _ => return None,
        })
    }
}

fn message(ty: MsgType, words: &[u32], tail: &[u8]) -> Msg {
    let mut b: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    b.extend_from_slice(tail);
    Msg::of(ty, &b)
}

/// T_BIND_REQ for a protocol, as a transport over /dev/ip sends it: the address, then
/// the protocol number, which ADDR_length does not count.
pub fn bind_protocol(prim: u32, addr: &[u8], protocol: u8) -> Msg {
    let off = if addr.is_empty() { 0 } else { 16 };
    let mut mp = message(MsgType::Proto, &[prim, addr.len() as u32, off, 0], addr);
    let mut tail = mp.rd().to_vec();
    tail.push(protocol);
    mp = Msg::of(MsgType::Proto, &tail);
    mp
}

/// T_BIND_ACK.
pub fn bind_ack(addr: &[u8], conind: u32) -> Msg {
    let off = if addr.is_empty() { 0 } else { 16 };
    message(
        MsgType::PcProto,
        &[T_BIND_ACK, addr.len() as u32, off, conind],
        addr,
    )
}

/// T_OK_ACK.
pub fn ok_ack(prim: u32) -> Msg {
    message(MsgType::PcProto, &[T_OK_ACK, prim], &[])
}

/// T_ERROR_ACK.
pub fn error_ack(prim: u32, tli: Tli, unix: Option<Errno>) -> Msg {
    let unix = unix.map_or(0, |e| e.number() as u32);
    message(MsgType::PcProto, &[T_ERROR_ACK, prim, tli.0, unix], &[])
}

/// T_INFO_ACK of a connectionless provider with this TSDU size.
pub fn info_ack(tsdu: u32, state: u32) -> Msg {
    let invalid = (-2i32) as u32;
    let (t_clts, flags) = (3, 1 | 4);
    let w = [
        T_INFO_ACK, tsdu, invalid, invalid, invalid, 16, 256, tsdu, t_clts, state, flags,
    ];
    message(MsgType::PcProto, &w, &[])
}

/// T_INFO_ACK of a connection-oriented provider with orderly release.
pub fn info_ack_cots(state: u32) -> Msg {
    let none = (-2i32) as u32;
    let (t_cots_ord, flags) = (2, 1 | 4);
    let w = [
        T_INFO_ACK, 0, none, none, none, 16, 256, 16384, t_cots_ord, state, flags,
    ];
    message(MsgType::PcProto, &w, &[])
}

/// T_CONN_IND.
pub fn conn_ind(peer: &[u8], seq: u32) -> Msg {
    message(
        MsgType::Proto,
        &[T_CONN_IND, peer.len() as u32, 24, 0, 0, seq],
        peer,
    )
}

/// T_DISCON_IND; `seq`: of the connection indicated that is gone, -1 for the one there is.
pub fn discon_ind(why: Errno, seq: u32) -> Msg {
    message(
        MsgType::Proto,
        &[T_DISCON_IND, why.number() as u32, seq],
        &[],
    )
}

/// T_ORDREL_IND.
pub fn ordrel_ind() -> Msg {
    message(MsgType::Proto, &[T_ORDREL_IND], &[])
}

/// T_CAPABILITY_ACK: with a T_INFO_ACK if it was asked for.
pub fn capability_ack(bits: u32, info: &Msg) -> Msg {
    capability_ack_as(bits, info, 0)
}

/// T_CAPABILITY_ACK of a stream that can accept: with its ACCEPTOR_id.
pub fn capability_ack_as(bits: u32, info: &Msg, acceptor: u32) -> Msg {
    let none = [0; 44];
    let accept = bits & 2; // TC1_ACCEPTOR_ID
    let (granted, info) = match bits & TC1_INFO {
        0 => (0, &none[..]),
        _ => (TC1_INFO, info.rd()),
    };
    let mut body = info.to_vec();
    body.extend(acceptor.to_ne_bytes());
    message(
        MsgType::PcProto,
        &[
            T_CAPABILITY_ACK,
            granted | if acceptor == 0 { 0 } else { accept },
        ],
        &body,
    )
}

/// T_ADDR_ACK: the local and the remote address, empty for none.
pub fn addr_ack(local: &[u8], remote: &[u8]) -> Msg {
    let (l, r) = (local.len() as u32, remote.len() as u32);
    let off = |n: u32, at: u32| if n == 0 { 0 } else { at };
    let w = [T_ADDR_ACK, l, off(l, 20), r, off(r, 20 + l)];
    message(MsgType::PcProto, &w, &[local, remote].concat())
}

/// T_CONN_CON.
pub fn conn_con(peer: &[u8]) -> Msg {
    let w = [T_CONN_CON, peer.len() as u32, 20, 0, 0];
    message(MsgType::Proto, &w, peer)
}

/// T_OPTMGMT_ACK.
pub fn optmgmt_ack(opts: &[u8], flags: u32) -> Msg {
    let off = if opts.is_empty() { 0 } else { 16 };
    let w = [T_OPTMGMT_ACK, opts.len() as u32, off, flags];
    message(MsgType::PcProto, &w, opts)
}

/// T_UNITDATA_IND, without its data.
pub fn unitdata_ind(src: &[u8]) -> Msg {
    message(
        MsgType::Proto,
        &[T_UNITDATA_IND, src.len() as u32, 20, 0, 0],
        src,
    )
}

/// T_UDERROR_IND.
pub fn uderror_ind(dest: &[u8], e: Errno) -> Msg {
    let w = [
        T_UDERROR_IND,
        dest.len() as u32,
        24,
        0,
        0,
        e.number() as u32,
    ];
    message(MsgType::Proto, &w, dest)
}

/// A reply's first word and its next three.
pub fn words(b: &[u8]) -> [u32; 4] {
    std::array::from_fn(|i| word(b, i).unwrap_or(0))
}

/// Port and address (host order) of a 16-byte sockaddr_in.
pub fn sockaddr(b: &[u8]) -> Option<(u16, u32)> {
    let b: &[u8; 16] = b.try_into().ok()?;
    let family = u16::from_ne_bytes([b[0], b[1]]);
    (family == 2).then(|| {
        (
            u16::from_be_bytes([b[2], b[3]]),
            u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
        )
    })
}

/// A 16-byte sockaddr_in.
pub fn sockaddr_bytes(port: u16, addr: u32) -> [u8; 16] {
    let mut b = [0; 16];
    b[..2].copy_from_slice(&2u16.to_ne_bytes());
    b[2..4].copy_from_slice(&port.to_be_bytes());
    b[4..8].copy_from_slice(&addr.to_be_bytes());
    b
}

/// T_UNITDATA_REQ's control part.
pub fn unitdata_req(dest: &[u8]) -> Vec<u8> {
    message(
        MsgType::Proto,
        &[T_UNITDATA_REQ, dest.len() as u32, 20, 0, 0],
        dest,
    )
    .to_vec()
}

/// T_SVR4_OPTMGMT_REQ's control part: options of (level, name, value).
pub fn optmgmt_req(flags: u32, options: &[(u32, u32, u32)]) -> Vec<u8> {
    let words = options.iter().flat_map(|(l, n, v)| [*l, *n, 4, *v]);
    let opts: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    let w = [T_SVR4_OPTMGMT_REQ, opts.len() as u32, 16, flags];
    message(MsgType::Proto, &w, &opts).to_vec()
}

/// T_OPTMGMT_REQ's control part, with XTI's T_opthdr: options of (level, name, value).
pub fn xti_optmgmt_req(flags: u32, options: &[(u32, u32, Option<u32>)]) -> Vec<u8> {
    let mut opts: Vec<u32> = Vec::new();
    for (level, name, value) in options {
        opts.extend([16 + 4 * value.is_some() as u32, *level, *name, 0]);
        opts.extend(value);
    }
    let opts: Vec<u8> = opts.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let w = [T_OPTMGMT_REQ, opts.len() as u32, 16, flags];
    message(MsgType::Proto, &w, &opts).to_vec()
}

/// T_CONN_REQ's control part for a sockaddr.
pub fn conn_req(dest: &[u8]) -> Vec<u8> {
    let w = [T_CONN_REQ, dest.len() as u32, 20, 0, 0];
    message(MsgType::Proto, &w, dest).to_vec()
}

/// T_BIND_REQ's control part for a sockaddr.
pub fn bind_req(addr: &[u8]) -> Vec<u8> {
    let off = if addr.is_empty() { 0 } else { 16 };
    message(
        MsgType::Proto,
        &[T_BIND_REQ, addr.len() as u32, off, 0],
        addr,
    )
    .to_vec()
}
/// At open: so many bytes wait at the stream head before a datagram is dropped, and what is
/// written has room for the headers in front (`ip_wroff_extra`).
pub(crate) fn head_room<M: OnStack>(q: &mut Queue<'_, M>, bytes: usize) {
    let extra = q.shared().params.wroff_extra;
    let opts = StrOptions {
        hiwat: Some(bytes),
        wroff: Some((HEADER + 8 + extra) as _),
        ..StrOptions::default()
    };
    q.rd()
        .putnext(Msg::control(MsgType::SetOpts, Ctl::SetOpts(opts)));
}
