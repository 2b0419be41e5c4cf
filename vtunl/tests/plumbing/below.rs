//! The stand-ins for /dev/ip and a data link, and the test's end of them.

use dlpi::prim::{self, InfoAck, Prim};
use streams::prelude::*;

/// What the stand-in drivers share with the test: the queue that taps them.
#[derive(Default)]
pub struct Wire {
    tap: Option<QRef>,
    stream: Option<QRef>,
    /// Answer binds with this TLI or DLPI error instead.
    refuse: Option<u32>,
    /// Keep the datagrams: no room.
    full: bool,
}

/// A driver that is IP or a data link to vtunl. Its first stream is the test's end:
/// what vtunl sends down is read there, what is written there goes up to vtunl.
pub struct Below<const IP: bool> {
    tap: bool,
}

impl<const IP: bool> Module for Below<IP> {
    type Shared = Wire;
    const INFO: ModuleInfo = ModuleInfo::named(1, if IP { "ip" } else { "le" }).marks(2000, 100);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(wput).srv(wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let me = q.rd().qref();
        let w = q.shared();
        let tap = w.tap.is_none(); // the first open is the test's end
        *(if tap { &mut w.tap } else { &mut w.stream }) = Some(me);
        Ok(Below { tap })
    }
}

fn wsrv<const IP: bool>(q: &mut Queue<'_, Below<IP>>) {
    while let Some(mp) = q.getq() {
        if q.shared().full {
            return q.putbq(mp);
        }
        pass(q, mp);
    }
}

/// To the other one of the two streams.
fn pass<const IP: bool>(q: &mut Queue<'_, Below<IP>>, mp: Msg) {
    let tap = q.ptr().tap;
    let w = q.shared();
    match if tap { w.stream } else { w.tap } {
        Some(to) => q.putnext_of(to, mp),
        None => q.freemsg(mp),
    }
}

fn wput<const IP: bool>(q: &mut Queue<'_, Below<IP>>, mut mp: Msg) {
    let words: Vec<u32> = mp
        .rd()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|w| u32::from_ne_bytes(*w))
        .collect();
    let refuse = q.shared().refuse;
    match mp.ty() {
        MsgType::Data if q.shared().full => q.putq(mp),
        MsgType::Data => pass(q, mp),
        // The test's end: byte 0 of the control part says what the datagram goes up as.
        MsgType::Proto if q.ptr().tap => {
            let how = mp.rd()[0];
            let Some(mut data) = mp.take_cont() else {
                return;
            };
            match how {
                b'c' => data.set_ty(MsgType::Ctl),
                b'f' => {
                    q.shared().full = true;
                    return q.freemsg(data);
                }
                b'e' => {
                    q.shared().full = false;
                    if let Some(mut other) = q.shared().stream.and_then(|s| q.at(s)) {
                        other.wr().qenable();
                    }
                    return q.freemsg(data);
                }
                b'r' => {
                    q.shared().refuse = Some(u32::from(data.rd()[0]));
                    return q.freemsg(data);
                }
                b'i' => {
                    let mut ind = Prim::UnitdataInd {
                        dest: vec![255; 8],
                        src: vec![1; 8],
                        group: 1,
                    }
                    .emit();
                    ind.set_cont(Some(data));
                    data = ind;
                }
                _ => {}
            }
            pass(q, data);
        }
        MsgType::Proto | MsgType::PcProto if IP => {
            // ip_bind: address length 0, the protocol behind.
            let ack: Vec<u32> = match (words[0], refuse) {
                (6, Some(tli)) => vec![18, 6, tli, 13],
                (6, None) => {
                    assert_eq!((&words[1..], mp.rd()[16]), (&[0, 16, 0][..], 4));
                    vec![17, 0, 16, 0]
                }
                (7, _) => vec![19, 7],
                (n, _) => panic!("TPI primitive {n}"),
            };
            let b: Vec<u8> = ack.iter().flat_map(|w| w.to_ne_bytes()).collect();
            q.qreply(Msg::of(MsgType::PcProto, &b));
        }
        MsgType::Proto | MsgType::PcProto => {
            let p = Prim::parse(&mp).expect("a DLPI request");
            let n = p.number();
            let answer = match (p, refuse) {
                (_, Some(e)) if n == e => Prim::error_ack(n, prim::DlErrno::BADPPA),
                (Prim::BindReq { sap, .. }, _) => Prim::BindAck {
                    sap,
                    addr: vec![0; 8],
                    max_conind: 0,
                    xidtest_flg: 0,
                },
                (Prim::InfoReq, _) => Prim::InfoAck {
                    info: InfoAck::default(),
                },
                _ => Prim::ok_ack(n),
            };
            q.qreply(answer.emit());
        }
        MsgType::Flush => q.flush_driver(mp),
        MsgType::Ioctl => q.iocnak(mp, Errno::ENOTTY),
        _ => q.freemsg(mp),
    }
}
