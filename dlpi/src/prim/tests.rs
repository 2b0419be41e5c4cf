//! Each primitive as a value and as literal bytes, both ways. The bytes are written from
//! the structures in sys/dlpi.h, not with the codec.

use super::*;

/// Words in host order, then bytes.
fn raw(words: &[u32], tail: &[u8]) -> Vec<u8> {
    let mut v: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    v.extend_from_slice(tail);
    v
}

const A: [u8; 8] = [2, 0, 0, 0, 0, 1, 0x00, 0x08];
const B: [u8; 8] = [2, 0, 0, 0, 0, 2, 0x00, 0x08];

fn v(b: &[u8]) -> Vec<u8> {
    b.to_vec()
}

/// Every primitive with what it looks like on a stream (dlpi(7P), sys/dlpi.h).
fn samples() -> Vec<(Prim, Vec<u8>)> {
    let ab = [A, B].concat();
    let o = |b: &[u8]| OffLen(v(b));
    vec![
        (Prim::InfoReq, raw(&[0x00], &[])),
        (Prim::AttachReq { ppa: 7 }, raw(&[0x0b, 7], &[])),
        (Prim::DetachReq, raw(&[0x0c], &[])),
        (
            Prim::BindReq {
                sap: 0x800,
                max_conind: 1,
                service_mode: 2,
                conn_mgmt: 3,
                xidtest_flg: 4,
            },
            {
                let mut b = raw(&[0x01, 0x800, 1], &[]);
                b.extend_from_slice(&2u16.to_ne_bytes());
                b.extend_from_slice(&3u16.to_ne_bytes());
                b.extend_from_slice(&4u32.to_ne_bytes());
                b
            },
        ),
        (
            Prim::BindAck {
                sap: 0x800,
                addr: v(&A),
                max_conind: 0,
                xidtest_flg: 0,
            },
            raw(&[0x04, 0x800, 8, 24, 0, 0], &A),
        ),
        (Prim::UnbindReq, raw(&[0x02], &[])),
        (
            Prim::SubsBindReq {
                sap: o(&[1, 2]),
                class: 2,
            },
            raw(&[0x1b, 16, 2, 2], &[1, 2]),
        ),
        (
            Prim::SubsBindAck { sap: o(&[1, 2]) },
            raw(&[0x1c, 12, 2], &[1, 2]),
        ),
        (
            Prim::SubsUnbindReq { sap: o(&[1, 2]) },
            raw(&[0x15, 12, 2], &[1, 2]),
        ),
        (
            Prim::EnabmultiReq { addr: v(&A[..6]) },
            raw(&[0x1d, 6, 12], &A[..6]),
        ),
        (
            Prim::DisabmultiReq { addr: v(&A[..6]) },
            raw(&[0x1e, 6, 12], &A[..6]),
        ),
        (Prim::PromisconReq { level: 1 }, raw(&[0x1f, 1], &[])),
        (Prim::PromiscoffReq { level: 3 }, raw(&[0x20, 3], &[])),
        (Prim::ok_ack(0x0b), raw(&[0x06, 0x0b], &[])),
        (
            Prim::error_ack(
                0x0b,
                DlError {
                    errno: DlErrno::SYSERR,
                    unix: 1,
                },
            ),
            raw(&[0x05, 0x0b, 4, 1], &[]),
        ),
        (Prim::PhysAddrReq { addr_type: 2 }, raw(&[0x31, 2], &[])),
        (
            Prim::PhysAddrAck { addr: v(&A[..6]) },
            raw(&[0x32, 6, 12], &A[..6]),
        ),
        (Prim::PhysAddrAck { addr: vec![] }, raw(&[0x32, 0, 0], &[])),
        (
            Prim::SetPhysAddrReq { addr: v(&A[..6]) },
            raw(&[0x33, 6, 12], &A[..6]),
        ),
        (Prim::GetStatisticsReq, raw(&[0x34], &[])),
        (
            Prim::GetStatisticsAck {
                stat: v(b"12345678"),
            },
            raw(&[0x35, 8, 12], b"12345678"),
        ),
        (Prim::MonitorLinkLayer, raw(&[0x36], &[])),
        (
            Prim::UnitdataReq {
                dest: v(&A),
                priority_min: 0,
                priority_max: -1,
            },
            raw(&[0x07, 8, 20, 0, u32::MAX], &A),
        ),
        (
            Prim::UnitdataInd {
                dest: v(&A),
                src: v(&B),
                group: 1,
            },
            raw(&[0x08, 8, 24, 8, 32, 1], &ab),
        ),
        (
            // The UNIX error first: the reverse of DL_ERROR_ACK.
            Prim::UderrorInd {
                dest: v(&A),
                unix_errno: 97,
                errno: 6,
            },
            raw(&[0x09, 8, 20, 97, 6], &A),
        ),
        (
            Prim::UdqosReq { qos: v(b"qos!") },
            raw(&[0x0a, 4, 12], b"qos!"),
        ),
        (
            Prim::XidReq {
                flag: 1,
                dest: v(&A),
            },
            raw(&[0x29, 1, 8, 16], &A),
        ),
        (
            Prim::XidInd {
                flag: 1,
                dest: v(&A),
                src: v(&B),
            },
            raw(&[0x2a, 1, 8, 24, 8, 32], &ab),
        ),
        (
            Prim::XidRes {
                flag: 0,
                dest: v(&A),
            },
            raw(&[0x2b, 0, 8, 16], &A),
        ),
        (
            Prim::XidCon {
                flag: 0,
                dest: v(&A),
                src: v(&B),
            },
            raw(&[0x2c, 0, 8, 24, 8, 32], &ab),
        ),
        (
            Prim::TestReq {
                flag: 1,
                dest: v(&A),
            },
            raw(&[0x2d, 1, 8, 16], &A),
        ),
        (
            Prim::TestInd {
                flag: 1,
                dest: v(&A),
                src: v(&B),
            },
            raw(&[0x2e, 1, 8, 24, 8, 32], &ab),
        ),
        (
            Prim::TestRes {
                flag: 0,
                dest: v(&A),
            },
            raw(&[0x2f, 0, 8, 16], &A),
        ),
        (
            Prim::TestCon {
                flag: 0,
                dest: v(&A),
                src: v(&B),
            },
            raw(&[0x30, 0, 8, 24, 8, 32], &ab),
        ),
        (
            Prim::DataAckReq {
                correlation: 9,
                dest: v(&A),
                src: v(&B),
                priority: 1,
                service_class: 2,
            },
            raw(&[0x21, 9, 8, 32, 8, 40, 1, 2], &ab),
        ),
        (
            Prim::DataAckInd {
                dest: v(&A),
                src: v(&B),
                priority: 1,
                service_class: 2,
            },
            raw(&[0x22, 8, 28, 8, 36, 1, 2], &ab),
        ),
        (
            Prim::DataAckStatusInd {
                correlation: 9,
                status: 1,
            },
            raw(&[0x23, 9, 1], &[]),
        ),
        (
            Prim::ReplyReq {
                correlation: 9,
                dest: v(&A),
                src: v(&B),
                priority: 1,
                service_class: 2,
            },
            raw(&[0x24, 9, 8, 32, 8, 40, 1, 2], &ab),
        ),
        (
            Prim::ReplyInd {
                dest: v(&A),
                src: v(&B),
                priority: 1,
                service_class: 2,
            },
            raw(&[0x25, 8, 28, 8, 36, 1, 2], &ab),
        ),
        (
            Prim::ReplyStatusInd {
                correlation: 9,
                status: 1,
            },
            raw(&[0x26, 9, 1], &[]),
        ),
        (
            Prim::ReplyUpdateReq {
                correlation: 9,
                src: v(&B),
            },
            raw(&[0x27, 9, 8, 16], &B),
        ),
        (
            Prim::ReplyUpdateStatusInd {
                correlation: 9,
                status: 1,
            },
            raw(&[0x28, 9, 1], &[]),
        ),
        (
            Prim::ConnectReq {
                dest: v(&A),
                qos: vec![],
                growth: 0,
            },
            raw(&[0x0d, 8, 24, 0, 0, 0], &A),
        ),
        (
            Prim::ConnectInd {
                correlation: 1,
                called: v(&A),
                calling: v(&B),
                qos: vec![],
                growth: 0,
            },
            raw(&[0x0e, 1, 8, 36, 8, 44, 0, 0, 0], &ab),
        ),
        (
            Prim::ConnectRes {
                correlation: 1,
                resp_token: 2,
                qos: v(b"qq"),
                growth: 0,
            },
            raw(&[0x0f, 1, 2, 2, 24, 0], b"qq"),
        ),
        (
            Prim::ConnectCon {
                resp: v(&A),
                qos: vec![],
                growth: 0,
            },
            raw(&[0x10, 8, 24, 0, 0, 0], &A),
        ),
        (Prim::TokenReq, raw(&[0x11], &[])),
        (Prim::TokenAck { token: 5 }, raw(&[0x12, 5], &[])),
        (
            Prim::DisconnectReq {
                reason: 0x800,
                correlation: 1,
            },
            raw(&[0x13, 0x800, 1], &[]),
        ),
        (
            Prim::DisconnectInd {
                originator: 0x700,
                reason: 0x800,
                correlation: 1,
            },
            raw(&[0x14, 0x700, 0x800, 1], &[]),
        ),
        (Prim::ResetReq, raw(&[0x17], &[])),
        (
            Prim::ResetInd {
                originator: 0x701,
                reason: 0x900,
            },
            raw(&[0x18, 0x701, 0x900], &[]),
        ),
        (Prim::ResetRes, raw(&[0x19], &[])),
        (Prim::ResetCon, raw(&[0x1a], &[])),
        (
            Prim::NotifyReq {
                notifications: 0x98,
                timelimit: 0,
            },
            raw(&[0x100, 0x98, 0], &[]),
        ),
        (
            Prim::NotifyAck {
                notifications: 0x90,
            },
            raw(&[0x101, 0x90], &[]),
        ),
        (
            Prim::NotifyInd {
                notification: 1,
                data: 0,
                addr: v(&A[..6]),
            },
            raw(&[0x102, 1, 0, 6, 20], &A[..6]),
        ),
        (
            Prim::AggrReq {
                key: 1,
                port: 2,
                addr: v(&A[..6]),
            },
            raw(&[0x103, 1, 2, 6, 20], &A[..6]),
        ),
        (
            Prim::AggrInd {
                key: 1,
                port: 2,
                addr: v(&A[..6]),
            },
            raw(&[0x104, 1, 2, 6, 20], &A[..6]),
        ),
        (
            Prim::UnaggrReq {
                key: 1,
                port: 2,
                addr: v(&A[..6]),
            },
            raw(&[0x105, 1, 2, 6, 20], &A[..6]),
        ),
        (
            Prim::CapabilityReq { sub: o(b"cap.") },
            raw(&[0x110, 12, 4], b"cap."),
        ),
        (
            Prim::CapabilityAck { sub: o(b"cap.") },
            raw(&[0x111, 12, 4], b"cap."),
        ),
        (
            Prim::ControlReq {
                operation: 1,
                kind: 2,
                key: o(b"k"),
                data: o(b"dd"),
            },
            raw(&[0x112, 1, 2, 28, 1, 29, 2], b"kdd"),
        ),
        (
            Prim::ControlAck {
                operation: 1,
                kind: 2,
                key: o(b""),
                data: o(b""),
            },
            raw(&[0x113, 1, 2, 0, 0, 0, 0], &[]),
        ),
        (Prim::PassiveReq, raw(&[0x114], &[])),
        (Prim::IntrModeReq, raw(&[0x115], &[])),
        // le(7D): DL_INFO_ACK of an Ethernet, 90 bytes.
        (
            Prim::InfoAck {
                info: InfoAck {
                    max_sdu: 1500,
                    addr_length: 8,
                    mac_type: mac::DL_ETHER,
                    current_state: 3,
                    sap_length: -2,
                    addr: v(&A),
                    brdcst_addr: vec![0xff; 6],
                    ..InfoAck::default()
                },
            },
            raw(
                &[
                    3,
                    1500,
                    0,
                    8,
                    4,
                    0,
                    3,
                    -2i32 as u32,
                    2,
                    0,
                    0,
                    0,
                    0,
                    0x501,
                    76,
                    2,
                    6,
                    84,
                    0,
                ],
                &[&A[..], &[0xff; 6]].concat(),
            ),
        ),
        // A point-to-point provider: nothing behind the structure.
        (
            Prim::InfoAck {
                info: InfoAck {
                    max_sdu: 1480,
                    ..InfoAck::default()
                },
            },
            raw(
                &[
                    3, 1480, 0, 0, 9, 0, 4, 0, 2, 0, 0, 0, 0, 0x501, 0, 2, 0, 0, 0,
                ],
                &[],
            ),
        ),
    ]
}

#[test]
fn every_primitive_has_its_bytes_both_ways() {
    for (prim, bytes) in samples() {
        let mp = prim.emit();
        assert_eq!(mp.rd(), &bytes[..], "emit {prim:?}");
        assert_eq!(
            Prim::parse_bytes(&bytes),
            Ok(prim.clone()),
            "parse {}",
            prim.name()
        );
        assert_eq!(Prim::parse(&mp), Ok(prim));
    }
}

#[test]
fn the_samples_leave_none_out() {
    let samples = samples();
    for (number, name, _) in Prim::ALL {
        assert!(
            samples.iter().any(|(p, _)| p.number() == *number),
            "{name} has no sample"
        );
    }
}

#[test]
fn message_types_are_those_of_the_specification() {
    // dlpi(7P): local acknowledgements and DL_INFO_REQ, DL_TOKEN_REQ are M_PCPROTO.
    let pc = [0x00, 0x03, 0x04, 0x05, 0x06, 0x1c, 0x32, 0x35, 0x11, 0x12];
    for (number, name, ty) in Prim::ALL {
        let want = if pc.contains(number) {
            MsgType::PcProto
        } else {
            MsgType::Proto
        };
        assert_eq!(*ty, want, "{name}");
    }
}

#[test]
fn a_primitive_cut_short_is_badprim_at_every_length() {
    for (prim, bytes) in samples() {
        for n in 0..bytes.len() {
            match Prim::parse_bytes(&bytes[..n]) {
                Err(e) => assert!([DlErrno::BADPRIM, DlErrno::BADADDR].contains(&e.errno)),
                // Only an address at the very end may be lost where the reader allows it.
                Ok(p) => assert!(matches!(p, Prim::InfoAck { .. }), "{prim:?} cut at {n}"),
            }
        }
    }
}

#[test]
fn an_unknown_number_is_badprim() {
    for n in [0x16, 0x37, 0x7f, 0x106, 0x116, u32::MAX] {
        assert_eq!(
            Prim::parse_bytes(&raw(&[n, 0, 0, 0], &[])),
            Err(DlErrno::BADPRIM.into())
        );
    }
}

#[test]
fn an_address_outside_the_block_is_badaddr() {
    for (len, off) in [
        (6, 13),
        (u32::MAX, 12),
        (1, u32::MAX),
        (u32::MAX, u32::MAX),
        (7, 12),
    ] {
        let b = raw(&[0x1d, len, off], &A[..6]);
        assert_eq!(
            Prim::parse_bytes(&b),
            Err(DlErrno::BADADDR.into()),
            "{len} {off}"
        );
    }
    // A length of zero makes the offset meaningless.
    let b = raw(&[0x1d, 0, u32::MAX], &[]);
    assert_eq!(
        Prim::parse_bytes(&b),
        Ok(Prim::EnabmultiReq { addr: vec![] })
    );
}

#[test]
fn the_fast_readers_agree_with_the_table() {
    let req = Prim::UnitdataReq {
        dest: v(&A),
        priority_min: 0,
        priority_max: 0,
    };
    let mut mp = Msg::allocb(64);
    assert!(fast::put_unitdata_req(&mut mp, &A));
    assert_eq!((mp.rd(), mp.ty()), (&req.emit_bytes()[..], MsgType::Proto));
    assert_eq!(fast::unitdata_req(mp.rd()).map(|r| r.dest), Ok(&A[..]));
    for (dest, src, group) in [
        (&A[..], &B[..], true),
        (&[], &[], false),
        (&A[..2], &[], false),
    ] {
        let ind = Prim::UnitdataInd {
            dest: v(dest),
            src: v(src),
            group: group.into(),
        };
        let mut mp = Msg::allocb(64);
        assert!(fast::put_unitdata_ind(&mut mp, dest, src, group));
        assert_eq!((mp.rd(), mp.ty()), (&ind.emit_bytes()[..], MsgType::Proto));
        assert_eq!(
            fast::unitdata_ind(mp.rd()),
            Ok(fast::UnitdataInd { dest, src, group })
        );
    }
}

#[test]
fn the_fast_readers_refuse_what_the_table_refuses() {
    let good = raw(&[0x07, 8, 20, 0, 0], &A);
    for n in 0..good.len() {
        assert!(fast::unitdata_req(&good[..n]).is_err(), "cut at {n}");
    }
    assert_eq!(fast::unitdata_ind(&good), Err(DlErrno::BADPRIM.into()));
    let outside = raw(&[0x07, 8, 21, 0, 0], &A);
    assert_eq!(fast::unitdata_req(&outside), Err(DlErrno::BADADDR.into()));
    let mut small = Msg::allocb(20);
    assert!(!fast::put_unitdata_req(&mut small, &A));
    assert!(small.is_empty());
}

#[test]
fn the_error_table_has_its_numbers() {
    for (i, e) in DlErrno::ALL.iter().enumerate() {
        assert_eq!(e.0, i as u32); // sys/dlpi.h counts from 0 without a gap
    }
    assert_eq!(DlErrno::BADPPA.name(), "DL_BADPPA");
    assert_eq!(DlErrno(0x80).name(), "DL_?");
}
