//! The modules that come with the framework, on the bench and on streams.

mod common;

use std::time::Duration;

use common::{drain, open, root};
use streams::modules::bufmod::*;
use streams::modules::faulty::*;
use streams::modules::pfmod::{PFIOCSETF, PfMod, enf, packetfilt};
use streams::modules::pipemod::PipeMod;
use streams::modules::timod::*;
use streams::modules::tirdwr::TiRdWr;
use streams::modules::tpi::{prim, words};
use streams::prelude::*;
use streams::sys::USER_BASE;
use streams::testbench::{Bench, Outcome, Side};
use streams::{Ioctl, Sys, oflag};

fn acked(o: Outcome) -> Vec<u8> {
    match o {
        Outcome::Ack(0, data) => data,
        other => panic!("{other:?}"),
    }
}

// ---- pipemod: pipemod(7M), the reference's 5.11 ----

#[test]
fn pipemod_exchanges_the_flush_bits_both_ways_and_nothing_else() {
    let mut b = Bench::<PipeMod>::new().expect("open");
    for (how, want) in [
        (FLUSHR, FLUSHW),
        (FLUSHW, FLUSHR),
        (FLUSHRW, FLUSHRW),
        (FLUSHR | FLUSHBAND, FLUSHW | FLUSHBAND),
    ] {
        b.down(Msg::of(MsgType::Flush, &[how, 7]));
        b.up(Msg::of(MsgType::Flush, &[how, 7]));
        assert_eq!(b.below_bytes(), [[want, 7]]);
        assert_eq!(b.above_bytes(), [[want, 7]]);
    }
    b.down(Msg::of(MsgType::Flush, &[])); // malformed: passed, not read
    assert_eq!(b.below().len(), 1);
    b.down(Msg::data(&[FLUSHR]));
    assert_eq!(b.below_bytes(), [[FLUSHR]]);
}

#[test]
fn with_pipemod_a_flush_of_the_write_side_empties_the_other_ends_read_queue() {
    let (_k, p) = root();
    let (a, b) = p.pipe().expect("pipe");
    p.set_flags(b, oflag::O_RDWR | oflag::O_NONBLOCK)
        .expect("F_SETFL");
    p.write(a, b"x").expect("write");
    p.ioctl(a, Ioctl::Flush(2)).expect("FLUSHW");
    assert_eq!(p.read(b, 9), Ok(b"x".to_vec())); // without it the bits mean the wrong side
    p.push(a, "pipemod").expect("I_PUSH");
    p.write(a, b"y").expect("write");
    p.ioctl(a, Ioctl::Flush(2)).expect("FLUSHW");
    assert_eq!(p.read(b, 9), Err(Errno::EAGAIN));
}

// ---- faulty ----

fn order(b: &mut Bench<Faulty>, cmd: i32, f: Fault) {
    acked(b.ioctl(cmd, &f.to_bytes()));
}

fn numbered(b: &mut Bench<Faulty>, n: u8) -> Vec<u8> {
    for i in 0..n {
        b.down(Msg::data(&[i]));
    }
    b.run();
    b.below_bytes().concat()
}

#[test]
fn faults_hit_every_nth_message() {
    for (cmd, every, want) in [
        (FLT_DROP, 3, vec![0, 1, 3, 4, 6]),
        (FLT_DUP, 2, vec![0, 1, 1, 2, 3, 3, 4, 5, 5, 6]),
        (FLT_REORDER, 2, vec![0, 2, 1, 3, 5, 4, 6]),
        (FLT_DROP, 0, vec![0, 1, 2, 3, 4, 5, 6]),
    ] {
        let mut b = Bench::<Faulty>::new().expect("open");
        order(&mut b, cmd, Fault::down(every, 0));
        assert_eq!(numbered(&mut b, 7), want, "{cmd:#x}");
        b.up(Msg::data(b"other side"));
        b.run();
        assert_eq!(b.above().len(), 1); // untouched
    }
}

#[test]
fn a_delay_keeps_the_order_and_clear_loses_nothing() {
    let mut b = Bench::<Faulty>::new().expect("open");
    order(&mut b, FLT_DELAY, Fault::down(2, 50));
    assert_eq!(numbered(&mut b, 3), [0]);
    b.advance(Duration::from_millis(49));
    assert!(b.below().is_empty());
    b.advance(Duration::from_millis(1));
    assert_eq!(b.below_bytes().concat(), [1, 2]);
    assert_eq!(numbered(&mut b, 1), []); // the fourth is held again
    order(&mut b, FLT_CLEAR, Fault::default());
    assert_eq!(numbered(&mut b, 1), [0, 0]);
}

#[test]
fn faulty_naks_errors_and_hangs_up_on_order() {
    let mut b = Bench::<Faulty>::new().expect("open");
    order(&mut b, FLT_NAK, Fault::down(2, Errno::EIO.number() as u32));
    assert!(matches!(b.ioctl(77, b""), Outcome::Passed(_)));
    assert!(matches!(b.ioctl(77, b""), Outcome::Nak(Errno::EIO)));
    order(&mut b, FLT_ERROR, Fault::up(0, 5));
    order(&mut b, FLT_HANGUP, Fault::default());
    order(&mut b, FLT_HANGUP, Fault::up(0, 1));
    let up: Vec<_> = b.above().iter().map(Msg::ty).collect();
    assert_eq!(up, [MsgType::Error, MsgType::Hangup, MsgType::UnHangup]);
    for bad in [
        &b""[..],
        b"short",
        &Fault {
            side: 2,
            ..Fault::default()
        }
        .to_bytes(),
    ] {
        assert!(matches!(
            b.ioctl(FLT_DROP, bad),
            Outcome::Nak(Errno::EINVAL)
        ));
    }
}

#[test]
fn a_push_can_be_slow_or_refused_and_so_can_a_pop() {
    let (k, p) = root();
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    p.push(fd, "faulty").expect("push");
    let next = |every, errno: u32| Fault::up(every, errno).to_bytes();
    p.i_str(fd, FLT_NEXT, &next(0, 12)).expect("FLT_NEXT");
    assert_eq!(p.push(fd, "faulty"), Err(Errno::ENOMEM));
    p.i_str(fd, FLT_NEXT, &next(250, 5)).expect("FLT_NEXT");
    let before = k.now();
    assert_eq!(p.push(fd, "faulty"), Err(Errno::EIO));
    assert_eq!(k.now() - before, Duration::from_millis(250));
    p.push(fd, "faulty").expect("only the next one");
    p.i_str(fd, FLT_CLOSE, &next(0, 400)).expect("FLT_CLOSE");
    let before = k.now();
    p.ioctl(fd, Ioctl::Pop).expect("I_POP");
    assert_eq!(k.now() - before, Duration::from_millis(400));
    assert_eq!(p.ioctl(fd, Ioctl::List).map(|r| r.rval), Ok(2));
}

// ---- bufmod: bufmod(7M) ----

fn word(n: u32) -> [u8; 4] {
    n.to_ne_bytes()
}

fn timeval(s: i64, us: i64) -> Vec<u8> {
    [s.to_ne_bytes(), us.to_ne_bytes()].concat()
}

/// The messages in a chunk: (original length, drops, data).
fn unpack(mut chunk: &[u8]) -> Vec<(u32, u32, Vec<u8>)> {
    let mut all = Vec::new();
    while !chunk.is_empty() {
        let w = |i: usize| u32::from_ne_bytes(chunk[4 * i..4 * i + 4].try_into().expect("four"));
        let (orig, len, total, drops) = (w(0), w(1) as usize, w(2) as usize, w(3));
        assert_eq!(total % 8, 0);
        all.push((orig, drops, chunk[SB_HDR..SB_HDR + len].to_vec()));
        chunk = &chunk[total.min(chunk.len())..];
    }
    all
}

#[test]
fn a_chunk_goes_up_when_the_next_message_does_not_fit() {
    let mut b = Bench::<BufMod>::new().expect("open");
    acked(b.ioctl(SBIOCSCHUNK, &word(100)));
    assert_eq!(b.above()[0].ty(), MsgType::SetOpts); // the head's marks follow
    b.up(Msg::data(b"first")); // 24 + 5 + 3
    b.up(Msg::data(b"second")); // 24 + 6 + 2
    assert!(b.above().is_empty());
    b.up(Msg::data(b"the third is too long for it"));
    let up = b.above();
    assert_eq!(
        unpack(&up[0].to_vec()),
        [(5, 0, b"first".to_vec()), (6, 0, b"second".to_vec())]
    );
    assert_eq!(acked(b.ioctl(SBIOCGCHUNK, &word(0))), word(100));
}

#[test]
fn a_chunk_goes_up_when_its_time_is_over() {
    let mut b = Bench::<BufMod>::new().expect("open");
    assert!(matches!(
        b.ioctl(SBIOCGTIME, &timeval(0, 0)),
        Outcome::Nak(Errno::ERANGE) // none set: infinite
    ));
    acked(b.ioctl(SBIOCSTIME, &timeval(0, 250_000)));
    assert_eq!(
        acked(b.ioctl(SBIOCGTIME, &timeval(0, 0))),
        timeval(0, 250_000)
    );
    b.up(Msg::data(b"a"));
    b.advance(Duration::from_millis(200));
    b.up(Msg::data(b"b"));
    assert!(b.above().is_empty());
    b.advance(Duration::from_millis(50)); // from the first message on
    assert_eq!(unpack(&b.above_bytes()[0]).len(), 2);
    acked(b.ioctl(SBIOCCTIME, b""));
    b.up(Msg::data(b"c"));
    b.advance(Duration::from_secs(3600));
    assert!(b.above().is_empty());
    for bad in [&timeval(-1, 0)[..], &timeval(0, -1), b"12345"] {
        assert!(matches!(
            b.ioctl(SBIOCSTIME, bad),
            Outcome::Nak(Errno::EINVAL)
        ));
    }
    acked(b.ioctl(SBIOCSTIME, &timeval(0, 0))); // polling: no chunks at all
    assert_eq!(acked(b.ioctl(SBIOCGCHUNK, b"")), word(0));
    b.above();
    b.up(Msg::data(b"d"));
    assert_eq!(b.above().len(), 1);
}

#[test]
fn snap_cuts_and_the_header_tells_the_original_length() {
    let mut b = Bench::<BufMod>::new().expect("open");
    acked(b.ioctl(SBIOCSSNAP, &word(4)));
    let mut two = Msg::of(MsgType::Proto, b"pro");
    two.linkb(Msg::data(b"data"));
    b.up(two); // M_PROTO counts as data
    b.up(Msg::of(MsgType::Delay, b"")); // anything else ordinary ends the chunk
    let up = b.above();
    assert_eq!(unpack(&up[0].to_vec()), [(7, 0, b"prod".to_vec())]);
    assert_eq!((up[0].ty(), up[1].ty()), (MsgType::Data, MsgType::Delay));
}

#[test]
fn the_flags_of_bufmod() {
    let mut b = Bench::<BufMod>::new().expect("open");
    let flags = SB_NO_HEADER | SB_NO_PROTO_CVT | SB_SEND_ON_WRITE;
    acked(b.ioctl(SBIOCSFLAGS, &word(flags)));
    b.up(Msg::data(b"a"));
    b.up(Msg::data(b"b"));
    b.down(Msg::data(b"question"));
    assert_eq!(b.above_bytes(), [b"ab"]);
    b.up(Msg::data(b"c"));
    b.up(Msg::of(MsgType::Proto, b"p"));
    assert_eq!(b.above_bytes(), [b"c", b"p"]);
    acked(b.ioctl(SBIOCSFLAGS, &word(SB_NO_HEADER | SB_DEFER_CHUNK)));
    b.up(Msg::data(b"at once"));
    assert_eq!(b.above_bytes(), [b"at once"]);
    b.up(Msg::data(b"waits"));
    assert!(b.above().is_empty());
    b.up(Msg::of(MsgType::Flush, &[FLUSHR]));
    assert_eq!(b.above().len(), 1); // the flush; the chunk is gone
}

#[test]
fn a_slow_reader_costs_messages_unless_told_otherwise() {
    let mut b = Bench::<BufMod>::new().expect("open");
    acked(b.ioctl(SBIOCSCHUNK, &word(0)));
    b.above();
    b.full_above(true);
    b.up(Msg::data(b"lost"));
    b.full_above(false);
    b.up(Msg::data(b"kept"));
    assert_eq!(unpack(&b.above_bytes()[0]), [(4, 1, b"kept".to_vec())]);
    acked(b.ioctl(SBIOCSFLAGS, &word(SB_NO_DROPS | SB_NO_HEADER)));
    b.full_above(true);
    b.up(Msg::data(b"one"));
    b.up(Msg::data(b"two"));
    assert!(b.above().is_empty());
    assert_eq!(b.queue(Side::Read).messages, 2);
    b.full_above(false);
    b.run();
    assert_eq!(b.above_bytes(), [b"one", b"two"]);
}

#[test]
fn bufmod_answers_transparent_ioctls() {
    let (_k, p) = root();
    let fd = open(&p, "/dev/echo");
    p.push(fd, "bufmod").expect("push");
    common::transparent(&p, fd, SBIOCSSNAP, &word(7)).expect("copyin");
    let r = common::transparent(&p, fd, SBIOCGSNAP, &word(0)).expect("copyout");
    assert_eq!(r.data, word(7));
    let bad = Ioctl::Raw {
        cmd: SBIOCSSNAP,
        arg: 8,
        mem: vec![],
    };
    assert_eq!(p.ioctl(fd, bad), Err(Errno::EFAULT));
    common::transparent(&p, fd, SBIOCSTIME, &timeval(0, 0)).expect("copyin");
    p.write(fd, b"12345678").expect("write");
    assert_eq!(unpack(&drain(&p, fd)), [(8, 0, b"1234567".to_vec())]);
}

// ---- pfmod: pfmod(7M) ----

#[test]
fn pfmod_lets_up_what_its_program_accepts() {
    let mut b = Bench::<PfMod>::new().expect("open");
    b.up(Msg::data(b"no program"));
    assert_eq!(b.above().len(), 1);
    let program = [
        enf::PUSHWORD,
        enf::PUSHLIT | enf::EQ,
        u16::from_ne_bytes(*b"ip"),
    ];
    acked(b.ioctl(PFIOCSETF, &packetfilt(&program).expect("short")));
    b.up(Msg::data(b"ip packet"));
    b.up(Msg::data(b"arp packet"));
    let mut split = Msg::of(MsgType::Proto, b"header is not looked at");
    split.linkb(Msg::data(b"i"));
    split.linkb(Msg::data(b"p")); // a word over two blocks
    b.up(split);
    b.up(Msg::of(MsgType::Proto, b"no body")); // accepted
    b.up(Msg::data(b"i")); // too short for the program
    b.up(Msg::of(MsgType::Hangup, b""));
    assert_eq!(b.above().len(), 4);
    assert_eq!(
        b.drops().get(&("pfmod", "rejected by the filter")),
        Some(&2)
    );
    b.down(Msg::data(b"arp"));
    assert_eq!(b.below_bytes(), [b"arp"]);
}

#[test]
fn pfmod_takes_both_sizes_and_refuses_others() {
    let mut b = Bench::<PfMod>::new().expect("open");
    let long = vec![enf::PUSHZERO; 300];
    acked(b.ioctl(PFIOCSETF, &packetfilt(&long).expect("long")));
    b.up(Msg::data(b"xx"));
    assert!(b.above().is_empty()); // a stack of 300 overflows: rejected
    let mut small = packetfilt(&[enf::PUSHONE]).expect("short");
    assert!(matches!(
        b.ioctl(PFIOCSETF, &small[1..]),
        Outcome::Nak(Errno::EINVAL)
    ));
    small[1] = 0;
    assert!(matches!(
        b.ioctl(PFIOCSETF, &small),
        Outcome::Nak(Errno::EINVAL)
    ));
    let mut large = packetfilt(&long).expect("long");
    large[4..8].copy_from_slice(&4000u32.to_ne_bytes());
    assert!(matches!(
        b.ioctl(PFIOCSETF, &large),
        Outcome::Nak(Errno::EINVAL)
    ));
    assert!(packetfilt(&[0; 2048]).is_none());
}

// ---- timod: timod(7M), the TPI reference's section 4 ----

fn provider(mp: &Msg) -> Option<Msg> {
    let first = u32::from_ne_bytes(mp.rd().get(..4)?.try_into().ok()?);
    let pc = |w: &[u32], tail: &[u8]| {
        Some(Msg::of(
            MsgType::PcProto,
            &[words(w), tail.to_vec()].concat(),
        ))
    };
    match first {
        prim::T_INFO_REQ => pc(&[prim::T_INFO_ACK, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], b""),
        prim::T_BIND_REQ => pc(&[prim::T_BIND_ACK, 4, 16, 0], b"addr"),
        prim::T_UNBIND_REQ => pc(&[prim::T_OK_ACK, first], b""),
        prim::O_T_BIND_REQ => pc(&[prim::T_ERROR_ACK, first, 8, 125], b""),
        prim::T_SVR4_OPTMGMT_REQ => pc(&[prim::T_ERROR_ACK, first, 2, 99], b""),
        prim::T_ADDR_REQ => pc(&[prim::T_OK_ACK, 4711], b""), // somebody else's
        _ => None,
    }
}

fn timod() -> Bench<TiMod> {
    Bench::setup().answer(provider).open().expect("open")
}

#[test]
fn timod_makes_one_ioctl_of_request_and_acknowledgement() {
    let mut b = timod();
    let info = acked(b.ioctl(TI_GETINFO, &words(&[prim::T_INFO_REQ])));
    assert_eq!(info.len(), 44);
    assert_eq!(b.below()[0].ty(), MsgType::PcProto);
    let ack = acked(b.ioctl(TI_BIND, &words(&[prim::T_BIND_REQ, 0, 0, 0])));
    assert_eq!(&ack[16..], b"addr");
    assert_eq!(b.below()[0].ty(), MsgType::Proto);
    let ok = acked(b.ioctl(TI_UNBIND, &words(&[prim::T_UNBIND_REQ])));
    assert_eq!(ok, words(&[prim::T_OK_ACK, prim::T_UNBIND_REQ]));
    let sync = acked(b.ioctl(TI_SYNC, &words(&[TSRF_INFO_REQ])));
    assert_eq!(&sync[..44], info);
    assert_eq!(sync.len(), 52);
}

#[test]
fn a_providers_refusal_is_the_value_of_the_ioctl() {
    let mut b = timod();
    let r = b.ioctl(TI_BIND, &words(&[prim::O_T_BIND_REQ, 0, 0, 0]));
    assert!(matches!(r, Outcome::Ack(v, _) if v == 8 | 125 << 8)); // TSYSERR, EADDRINUSE
    let r = b.ioctl(TI_OPTMGMT, &words(&[prim::T_SVR4_OPTMGMT_REQ, 0, 0, 0]));
    assert!(matches!(r, Outcome::Ack(2, _))); // TBADOPT; no UNIX error with it
}

#[test]
fn timod_refuses_what_it_cannot_send_and_waits_for_one_at_a_time() {
    let mut b = timod();
    for (cmd, data) in [
        (TI_BIND, words(&[prim::T_INFO_REQ])), // not what the command is for
        (TI_BIND, vec![1]),
        (TI_GETINFO, vec![]),
        (TI_SYNC - 1, words(&[0])),
    ] {
        assert!(matches!(b.ioctl(cmd, &data), Outcome::Nak(Errno::EINVAL)));
    }
    assert!(matches!(b.ioctl(77, b""), Outcome::Passed(_)));
    assert!(matches!(
        b.ioctl(TI_GETADDRS, &words(&[prim::T_ADDR_REQ])),
        Outcome::Held
    ));
    assert_eq!(b.above().len(), 1); // an acknowledgement of something else went by
    assert!(matches!(
        b.ioctl(TI_GETINFO, &words(&[prim::T_INFO_REQ])),
        Outcome::Nak(Errno::EAGAIN)
    ));
    b.up(Msg::of(
        MsgType::PcProto,
        &words(&[prim::T_ADDR_ACK, 0, 0, 0, 0]),
    ));
    assert_eq!(b.above()[0].ty(), MsgType::IocAck);
}

#[test]
fn timod_knows_the_name_that_was_bound() {
    let mut b = timod();
    let netbuf = |max: u32| {
        let buf = USER_BASE + 16;
        [&word(max)[..], &word(0), &buf.to_ne_bytes(), &[0; 8]].concat()
    };
    let mut mem = netbuf(8);
    acked(b.transparent(TI_GETMYNAME, &mut mem));
    assert_eq!(&mem[4..8], word(0));
    acked(b.ioctl(TI_BIND, &words(&[prim::T_BIND_REQ, 0, 0, 0])));
    acked(b.transparent(TI_GETMYNAME, &mut mem));
    assert_eq!((&mem[4..8], &mem[16..20]), (&word(4)[..], &b"addr"[..]));
    let mut small = netbuf(3);
    let r = b.transparent(TI_GETMYNAME, &mut small);
    assert!(matches!(r, Outcome::Nak(Errno::ENAMETOOLONG)));
    b.transparent(TI_GETPEERNAME, &mut [0; 3]); // a fault: no answer, no panic
}

// ---- tirdwr: tirdwr(7M) ----

fn proto(w: u32, data: Option<&[u8]>) -> Msg {
    let mut mp = Msg::of(MsgType::Proto, &words(&[w]));
    mp.set_cont(data.map(Msg::data));
    mp
}

#[test]
fn tirdwr_takes_the_headers_off() {
    let mut b = Bench::<TiRdWr>::new().expect("open");
    b.up(proto(prim::T_DATA_IND, Some(b"data")));
    b.up(proto(prim::T_DATA_IND, Some(b""))); // nothing in it
    b.up(Msg::data(b"plain"));
    b.down(Msg::data(b"out"));
    assert_eq!(b.above_bytes(), [&b"data"[..], b"plain"]);
    assert_eq!(b.below_bytes(), [b"out"]);
    b.up(proto(prim::T_ORDREL_IND, None));
    let up = b.above();
    assert_eq!((up[0].ty(), up[0].msgdsize()), (MsgType::Data, 0)); // end of file
    b.close();
    assert_eq!(b.below_bytes(), [words(&[prim::T_ORDREL_REQ])]);
}

#[test]
fn tirdwr_hangs_up_on_a_disconnect_and_fails_on_other_control() {
    let mut b = Bench::<TiRdWr>::new().expect("open");
    b.up(proto(prim::T_DISCON_IND, Some(b"last")));
    let up: Vec<_> = b.above().iter().map(Msg::ty).collect();
    assert_eq!(up, [MsgType::Data, MsgType::Hangup]);
    b.down(proto(prim::T_CONN_REQ, None));
    let up = b.above();
    assert_eq!((up[0].ty(), up[0].rd()), (MsgType::Error, &[71][..])); // EPROTO
    b.up(Msg::data(b"x"));
    b.down(Msg::data(b"x"));
    assert!(b.above().is_empty() && b.below().is_empty());
}

#[test]
fn a_push_of_tirdwr_strips_what_waits_at_the_head() {
    let (_k, p) = root();
    let fd = open(&p, "/dev/echo");
    let ind = words(&[prim::T_DATA_IND]);
    p.putmsg(fd, Some(&ind), Some(b"one "), false)
        .expect("putmsg");
    p.putmsg(fd, Some(&ind), None, false).expect("putmsg");
    p.write(fd, b"two").expect("write");
    assert_eq!(p.read(fd, 99), Err(Errno::EBADMSG)); // RPROTNORM
    p.push(fd, "tirdwr").expect("push");
    assert_eq!(p.read(fd, 99), Ok(b"one two".to_vec()));
    p.ioctl(fd, Ioctl::Pop).expect("pop");
    p.putmsg(fd, Some(b"odd"), Some(b"x"), false)
        .expect("putmsg");
    assert_eq!(p.push(fd, "tirdwr"), Err(Errno::EPROTO));
}
