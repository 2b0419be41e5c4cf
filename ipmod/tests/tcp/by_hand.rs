//! A peer made by hand: segments that no engine of ours would send.
//!
//! ```text
//!   A: /dev/tcp ◄── le0 ── le0 ──► B: /dev/ip, subscribed to protocol 6
//! ```

use std::time::Duration;

use dlpi::link::fault::Faults;
use ipmod::{tpi, wire};
use streams::{Config, Sys, oflag};

use crate::hosts::*;

const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// The peer on B.
struct Hand<'a> {
    pair: &'a Pair,
    fd: i32,
    /// A's port, and the next bytes of both.
    port: u16,
    snd: u32,
    rcv: u32,
    window: u16,
}

impl<'a> Hand<'a> {
    fn new(pair: &'a Pair) -> Hand<'a> {
        let p = &pair.b.p;
        let how = oflag::O_RDWR | oflag::O_NONBLOCK;
        let fd = p.open("/dev/ip", how).expect("open");
        let bind = tpi::bind_protocol(tpi::T_BIND_REQ, &[], wire::proto::TCP).to_vec();
        p.putmsg(fd, Some(&bind), None, false).expect("bind");
        p.getmsg(fd, 64, 0, false).expect("T_BIND_ACK");
        Hand {
            pair,
            fd,
            port: 0,
            snd: 5000,
            rcv: 0,
            window: 0x4000,
        }
    }

    /// Header and payload of the next segment of A.
    fn hears(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.pair.settle();
        let got = self.pair.b.p.getmsg(self.fd, 0, 4096, false).ok()?;
        let t = got.data?[20..].to_vec();
        let n = usize::from(t[12] >> 4) * 4;
        Some((t[..n].to_vec(), t[n..].to_vec()))
    }

    /// A segment with options (a multiple of four bytes) and an urgent pointer.
    fn says(&mut self, flags: u8, urgent: u16, options: &[u8], data: &[u8]) {
        let mut t = Vec::new();
        t.extend(PORT.to_be_bytes());
        t.extend(self.port.to_be_bytes());
        t.extend(self.snd.to_be_bytes());
        t.extend(self.rcv.to_be_bytes());
        t.extend([(5 + options.len() as u8 / 4) << 4, flags]);
        t.extend(self.window.to_be_bytes());
        t.extend([0, 0]);
        t.extend(urgent.to_be_bytes());
        t.extend(options);
        t.extend(data);
        let (a, b) = (u32::from(ip(A)), u32::from(ip(B)));
        let sum = u64::from(a) + u64::from(b) + 6 + t.len() as u64 + u64::from(wire::sum(&t));
        wire::put16(&mut t, 16, !wire::fold(sum));
        let head = wire::header(20 + t.len(), wire::proto::TCP, 64, 0, 0, b, a);
        let all = [&head[..], &t].concat();
        let put = self.pair.b.p.putmsg(self.fd, None, Some(&all), false);
        put.expect("putmsg");
        self.pair.settle();
        self.snd += data.len() as u32 + u32::from(flags & SYN != 0);
    }

    /// Answers A's SYN with a SYN that has these options; the MSS that A has said.
    fn accepts(&mut self, options: &[u8]) -> u16 {
        let (syn, _) = self.hears().expect("a SYN");
        self.port = wire::be16(&syn, 0);
        self.rcv = wire::be32(&syn, 4) + 1;
        self.says(SYN | ACK, 0, options, &[]);
        assert_eq!(syn[20..22], [2, 4], "MSS comes first");
        wire::be16(&syn, 22)
    }
}

fn connecting(pair: &Pair) -> (Tcp<'_>, Hand<'_>) {
    let hand = Hand::new(pair);
    let a = pair.a.bound(0, 0);
    a.connect(B, PORT);
    (a, hand)
}

fn maxseg(t: &Tcp<'_>) -> u32 {
    t.ask(&tpi::optmgmt_req(0x80, &[(6, 2, 0)]))[7]
}

/// RFC 793 3.7, SO_OOBINLINE: urgent data come in their place among the others.
#[test]
fn urgent_data_come_as_data() {
    let pair = Pair::new();
    let (a, mut b) = connecting(&pair);
    b.accepts(&[2, 4, 5, 180]);
    assert_eq!(a.next()[0], T_CONN_CON);
    b.says(ACK | PSH | URG, 3, &[], b"abcdef");
    assert_eq!(a.got().expect("data").data, Some(b"abcdef".to_vec()));
}

/// RFC 1122 4.2.2.17: a closed window is asked after, again and again, and the connection kept
/// for as long as the peer answers.
#[test]
fn a_closed_window_is_probed() {
    let pair = Pair::new();
    let (a, mut b) = connecting(&pair);
    b.window = 0;
    b.accepts(&[2, 4, 5, 180]);
    assert_eq!(a.next()[0], T_CONN_CON);
    a.p.write(a.fd, b"hello").expect("write");
    let mut probes = 0;
    for _ in 0..1000 {
        pair.wait(Duration::from_secs(1));
        while let Some((_, data)) = b.hears() {
            assert!(data.len() <= 1, "{data:?} into a closed window");
            probes += data.len();
            if !data.is_empty() {
                b.says(ACK, 0, &[], &[]);
            }
        }
    }
    assert!(probes > 10, "{probes} in 1000 s");
    assert_eq!(a.next(), [0; 0], "still there");
    b.window = 0x4000;
    b.says(ACK, 0, &[], &[]);
    let said = std::iter::from_fn(|| b.hears()).map(|s| s.1);
    assert_eq!(said.collect::<Vec<_>>().concat(), b"hello");
}

/// RFC 1122 4.2.2.6: who says no MSS takes 536 bytes; ours is the link's.
#[test]
fn a_peer_without_mss() {
    let pair = Pair::new();
    let (a, mut b) = connecting(&pair);
    assert_eq!(b.accepts(&[]), 1460);
    assert_eq!((a.next()[0], maxseg(&a)), (T_CONN_CON, 536));
    a.p.write(a.fd, &[7; 600]).expect("write");
    let first = std::iter::from_fn(|| b.hears()).find(|s| !s.1.is_empty());
    assert_eq!(first.expect("data").1.len(), 536);
}

/// RFC 1122 4.2.2.6: a larger MSS than the route takes is cut to it, wherever in the options
/// it stands; the checksum still fits, or the segment would not be taken.
#[test]
fn a_larger_mss_than_the_route() {
    for options in [
        &[2, 4, 0x23, 0x28][..],         // 9000
        &[1, 2, 4, 0x23, 0x28, 1, 1, 0], // at an odd place
        &[1, 1, 2, 4, 0x23, 0x28, 0, 0], // at an even one
        &[3, 3, 0, 2, 4, 0x23, 0x28, 0], // behind another
    ] {
        let pair = Pair::new();
        let (a, mut b) = connecting(&pair);
        b.accepts(options);
        assert_eq!((a.next()[0], maxseg(&a)), (T_CONN_CON, 1460), "{options:?}");
        a.p.write(a.fd, &[7; 4000]).expect("write");
        let first = std::iter::from_fn(|| b.hears()).find(|s| !s.1.is_empty());
        assert_eq!(first.expect("data").1.len(), 1460);
    }
}

/// Options that run over their end, and offsets beyond the segment, break nothing.
#[test]
fn malformed_options() {
    for options in [
        &[2, 4, 5, 180, 2, 0, 0, 0][..],
        &[2, 200, 0, 0],
        &[1, 1, 1, 2],
        &[255, 0, 255, 0],
    ] {
        let pair = Pair::new();
        let (a, mut b) = connecting(&pair);
        b.accepts(options);
        assert!(matches!(a.next()[..], [] | [T_CONN_CON, ..]));
    }
}

/// RFC 6528: initial sequence numbers are other ones for each connection and each run; the
/// seed of a run that is to be repeated repeats them.
#[test]
fn initial_sequence_numbers() {
    let of = |seed| {
        let pair = Pair::made(Faults::default(), Config::seeded(seed));
        let hand = Hand::new(&pair);
        let next = |_| {
            let a = pair.a.bound(0, 0);
            a.connect(B, PORT);
            let (syn, _) = hand.hears().expect("a SYN");
            wire::be32(&syn, 4)
        };
        (0..4).map(next).collect::<Vec<_>>()
    };
    let (one, two) = (of(1), of(2));
    assert_eq!(one, of(1));
    let mut all = [one, two].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8, "{all:?}");
}

/// The same without a seed and with the clock that runs: nobody can say which come.
#[test]
fn initial_sequence_numbers_differ_from_boot_to_boot() {
    let of = || streams::Kernel::new().expect("a kernel").random_seed();
    assert_ne!(of(), of());
}

/// RFC 1122 4.2.3.6, tcp(7P): SO_KEEPALIVE asks a peer that has been silent for two hours,
/// keeps the connection while it answers, and gives it up when it no longer does. Without the
/// option nobody is asked.
#[test]
fn a_silent_peer_is_asked() {
    for keepalive in [false, true] {
        let pair = Pair::new();
        let mut hand = Hand::new(&pair);
        let a = pair.a.bound(0, 0);
        let set = tpi::optmgmt_req(4, &[(0xffff, 8, keepalive.into())]);
        assert_eq!(a.ask(&set)[0], 22); // T_OPTMGMT_ACK
        a.connect(B, PORT);
        hand.accepts(&[]);
        while hand.hears().is_some() {}
        while !a.next().is_empty() {}
        for hours in 0..3 {
            pair.wait(Duration::from_secs(7190));
            assert_eq!(hand.hears(), None, "{hours}: too early");
            pair.wait(Duration::from_secs(20));
            let asked = hand.hears();
            assert_eq!(asked.is_some(), keepalive);
            if let Some((t, data)) = asked {
                assert_eq!(wire::be32(&t, 4), hand.rcv - 1, "what is known already");
                assert!(data.len() <= 1);
                while hand.hears().is_some() {}
                hand.says(ACK, 0, &[], &[]);
                while hand.hears().is_some() {}
            }
            assert!(a.next().is_empty(), "{hours}: it is still there");
        }
        // It answers no more.
        pair.wait(Duration::from_secs(7190 + 490));
        let said = a.next();
        assert_eq!(said.first().copied(), keepalive.then_some(23 - 10)); // T_DISCON_IND
    }
}
