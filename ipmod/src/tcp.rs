//! tcp: the driver /dev/tcp, a connection-oriented transport provider with orderly release.
//!
//! ```text
//!   T_BIND_REQ, T_CONN_REQ, .. ─► tcp_request.rs ─┐                 ┌─► T_CONN_CON, T_CONN_IND
//!   M_DATA, T_DATA_REQ ──► write queue ───────────┼► tcp_engine.rs ─┤   tcp_news.rs
//!   T_ORDREL_REQ ────────► write queue, in order ─┘                 └─► M_DATA, T_ORDREL_IND,
//!                                                                       T_DISCON_IND
//! ```
//!
//! Spec: tcp(7P), tihdr(7P), RFC 793.
//! Kept: T_CONN_IND once the handshake is over; data goes up as M_DATA; the accepting
//! stream is named by the ACCEPTOR_id of its T_CAPABILITY_ACK; what is out of its state and
//! has no answer of its own is M_ERROR EPROTO; M_FLUSH in front of T_DISCON_IND.
//! Differs: a connection that is being made counts against CONIND_number too, and one more
//! SYN is a counted drop.
//! Absent: urgent data (ETSDU_size is -2, T_EXDATA_REQ is M_ERROR EPROTO; what a peer sends
//! as urgent comes as data).

use streams::message::FLUSHRW;
use streams::prelude::*;

use crate::stack::Stack;
use crate::tcp_engine::Conn;
use crate::tcp_news::pump;
use crate::tcp_request::request;
use crate::tpi::{self, T_DATA_REQ, T_EXDATA_REQ, T_ORDREL_REQ, state};

/// A /dev/tcp stream; its state is the engine's.
pub struct Tcp {
    pub(crate) privileged: bool,
}

impl Module for Tcp {
    type Shared = Stack;
    const INFO: ModuleInfo = ModuleInfo::named(5606, "tcp").marks(32768, 4096);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| q.putnext(mp)).srv(pump);
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let (id, rq) = (q.stream_id(), q.rd().qref());
        q.shared().tcp.conns.push(Conn::new(id, rq));
        Ok(Tcp {
            privileged: how.cred.privileged,
        })
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let (me, wq) = (q.rd().qref(), q.wr().qref());
        let e = &mut q.shared().tcp;
        e.forget_timer_of(&[me, wq]);
        if let Some(i) = e.conns.iter().position(|c| c.rq == me) {
            e.remove(i);
        }
        pump(q);
        Wait::Done
    }

    fn timeout(q: &mut Queue<'_, Self>, _: u64) {
        q.shared().tcp.armed = None;
        pump(q);
    }
}

fn wput(q: &mut Queue<'_, Tcp>, mp: Msg) {
    match mp.ty() {
        MsgType::Data => q.putq(mp),
        MsgType::Proto | MsgType::PcProto => match tpi::words(mp.rd())[0] {
            T_DATA_REQ | T_EXDATA_REQ | T_ORDREL_REQ if mp.len() >= 4 => q.putq(mp),
            _ => request(q, mp),
        },
        MsgType::Ioctl | MsgType::IocData => crate::ioctl::client_ioctl(q, mp),
        MsgType::Flush => q.flush_driver(mp),
        _ => q.discard(mp, "not for tcp"),
    }
}

/// Data and the release behind it, in order, as the socket has room.
fn wsrv(q: &mut Queue<'_, Tcp>) {
    let me = q.rd().qref();
    while let Some(mut mp) = q.getq() {
        let e = &mut q.shared().tcp;
        let Some(i) = e.conns.iter().position(|c| c.rq == me) else {
            q.discard(mp, "data without a connection");
            continue;
        };
        let control = (mp.ty() != MsgType::Data).then(|| tpi::words(mp.rd())[0]);
        let (now, sock) = (e.conns[i].state, e.conns[i].sock);
        let sending = matches!(now, state::DATA_XFER | state::WREQ_ORDREL);
        let h = match sock {
            Some(h) if sending && control != Some(T_EXDATA_REQ) => h,
            // TPI: the disconnection may have crossed it.
            _ if now == state::IDLE && control != Some(T_EXDATA_REQ) => {
                q.discard(mp, "data without a connection");
                continue;
            }
            _ => {
                q.discard(mp, "out of state");
                let eproto = Errno::EPROTO.number() as u8;
                q.rd().putnextctl1(MsgType::Error, eproto);
                continue;
            }
        };
        match control {
            Some(T_ORDREL_REQ) => {
                e.tcp(h).close();
                e.conns[i].state = match now {
                    state::DATA_XFER => state::WIND_ORDREL,
                    _ => state::IDLE,
                };
                q.freemsg(mp);
                continue;
            }
            Some(_) => {
                let data = mp.take_cont();
                q.freemsg(mp);
                match data {
                    Some(d) => mp = d,
                    None => continue,
                }
            }
            None => {}
        }
        let e = &mut q.shared().tcp;
        let mut sent = 0;
        for b in mp.blocks() {
            let n = e.tcp(h).send_slice(b.rd()).unwrap_or(0);
            sent += n;
            if n < b.len() {
                break;
            }
        }
        if sent < mp.msgsize() {
            mp.adjmsg(sent as isize);
            q.putbq(mp);
            break; // pump enables us when there is room
        }
        q.freemsg(mp);
    }
    pump(q);
}

/// tihdr(7P): what was on its way when a connection ends at once goes with it.
pub(crate) fn flush<M: crate::module::OnStack>(q: &mut Queue<'_, M>, rq: QRef) {
    if let Some(mut u) = q.at(rq) {
        u.wr().flushq(Flush::Data);
        u.putnextctl1(MsgType::Flush, FLUSHRW);
    }
}
