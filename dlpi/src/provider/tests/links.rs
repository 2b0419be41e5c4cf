//! Links with a will of their own: no room, faults, captures, that break.

use super::*;

#[test]
fn a_link_without_room_delays_and_loses_nothing() {
    let null = Null::new(Medium::PointToPoint).stuttering();
    let count: NullCount = null.count();
    let (k, p) = over(null);
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    for n in 0..10 {
        c.send(&[], &packet(n)).expect("sent");
    }
    assert_eq!(count.frames(), 0);
    k.advance(Duration::from_millis(50));
    assert_eq!(count.frames(), 10);
    assert_eq!(c.statistics().expect("statistics").opackets, 10);
    c.send(&[], &packet(11)).expect("sent");
    c.unbind().expect("unbound");
    k.advance(Duration::from_millis(50));
    assert_eq!(count.frames(), 10, "an unbind flushes what waits");
}

#[test]
fn faults_run_on_the_kernels_time() {
    let slow = Faults {
        delay: Duration::from_millis(10),
        ..Faults::default()
    };
    let null = Null::new(Medium::PointToPoint).looped();
    let (k, p) = over(Faulty::with(null, slow, slow));
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    c.send(&[], &packet(1)).expect("sent");
    k.advance(Duration::from_millis(19));
    assert_eq!(c.try_recv(), Ok(None));
    k.advance(Duration::from_millis(1));
    assert_eq!(c.recv().expect("it").data, packet(1));
}

fn capture(n: u8) -> Vec<u8> {
    let mut f = Vec::new();
    for w in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 65535, 101] {
        f.extend_from_slice(&w.to_be_bytes());
    }
    for i in 0..n {
        for w in [u32::from(i), 0, 20, 20] {
            f.extend_from_slice(&w.to_be_bytes());
        }
        f.extend_from_slice(&packet(i));
    }
    f
}

fn replay(n: u8, speed: Speed) -> Pcap {
    let options = PcapOptions {
        speed,
        ..PcapOptions::default()
    };
    Pcap::new(
        Some(Box::new(std::io::Cursor::new(capture(n)))),
        None,
        options,
    )
    .expect("a capture")
}

#[test]
fn a_replay_waits_for_a_bound_stream_and_for_room_and_loses_nothing() {
    let link = replay(255, Speed::Fast);
    let control = link.control();
    let (k, p) = over(link);
    let c = Client::open(&p, "/dev/pt", Some(0)).expect("attached");
    k.run_until_idle();
    assert_eq!(control.read(), 0, "nobody is bound");
    c.bind(SAP_IP).expect("bound");
    k.run_until_idle();
    let first = control.read();
    assert!(
        first > 0 && !control.ended(),
        "{first} of 255 fill the stream"
    );
    for i in 0..255 {
        assert_eq!(c.recv().expect("a packet").data, packet(i));
    }
    assert!(control.ended());
    assert_eq!(drops(&k), BTreeMap::new());
}

#[test]
fn recorded_speed_is_the_kernels() {
    let (k, p) = over(replay(3, Speed::Recorded));
    let c = open(&p, "/dev/pt", 0, SAP_IP);
    k.run_until_idle();
    for i in 0..3 {
        assert_eq!(c.recv().expect("due").data, packet(i));
        assert_eq!(c.try_recv(), Ok(None));
        k.advance(Duration::from_secs(1));
    }
}

#[test]
fn the_doorbell_passes_on_when_its_stream_closes() {
    let null = Null::new(Medium::PointToPoint).with_frame(&packet(7));
    let count = null.count();
    let (k, p) = over(null);
    let first = open(&p, "/dev/pt", 0, SAP_IP);
    let second = open(&p, "/dev/pt", 0, SAP_IP);
    drop(first);
    count.order(100); // more than a batch
    k.run_until_idle();
    for _ in 0..100 {
        assert_eq!(second.recv().expect("a frame").data, packet(7));
    }
    drop(second);
    count.order(1);
    k.run_until_idle();
    let again = Client::open(&p, "/dev/pt", Some(0));
    assert_eq!(
        dl(again),
        DlErrno::BADPPA,
        "the link went with its last stream"
    );
}

#[test]
fn frames_that_are_no_good_are_counted_drops() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A]);
    let _c = open(&p, "/dev/le", 0, SAP_IP);
    let mut far = wire.port(B);
    let header = Ether {
        dst: A,
        src: B,
        kind: 100,
    }
    .emit();
    for bad in [&[0; 13][..], &[], &header, &[0; 1515]] {
        far.send(bad).expect("the wire takes all");
    }
    k.run_until_idle();
    let d = drops(&k);
    assert_eq!(d["shorter than an Ethernet header"], 2);
    assert_eq!(d["shorter than its 802.3 length"], 1);
    assert_eq!(d["longer than the link's MTU"], 1);
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

#[test]
fn a_storm_of_primitives_ends_in_answers_or_counted_drops() {
    let wire = Wire::default();
    let (k, p) = host(&wire, &[A, B]);
    let c = Client::open(&p, "/dev/le", None).expect("open");
    let far = open(&p, "/dev/le", 1, SAP_IP);
    let mut seed = 7;
    for _ in 0..20_000 {
        let r = random(&mut seed);
        let number = Prim::ALL[(r % Prim::ALL.len() as u64) as usize].0;
        let mut block = sample(number);
        if r & 0x100 != 0 {
            let at = (r >> 9) as usize % block.len();
            block[at] = (r >> 40) as u8;
        }
        if r & 0x200 != 0 {
            block.truncate((r >> 20) as usize % (block.len() + 1));
        }
        let data = (r & 0x400 != 0).then(|| vec![r as u8; (r >> 30) as usize % 2000]);
        let hipri = r & 0x800 != 0 && data.is_none();
        // EAGAIN and its like are answers too.
        let _ = p.putmsg(
            c.fd(),
            (!block.is_empty()).then_some(&block[..]),
            data.as_deref(),
            hipri,
        );
        for fd in [c.fd(), far.fd()] {
            p.ioctl(fd, Ioctl::Flush(streams::message::FLUSHR.into()))
                .expect("flushed");
        }
    }
    k.run_until_idle();
    assert!(c.info().is_ok());
    drop(c);
    assert!(Client::open(&p, "/dev/le", Some(0)).is_ok());
}
