//! Captures made here, byte by byte or with the writer, read back.

use super::super::capture::Format;
use super::*;

/// A smallest IPv4 packet whose source ends in `n`.
fn ip(n: u8) -> Vec<u8> {
    let mut p = vec![
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, n, 10, 0, 0, 1,
    ];
    p[8] = n;
    p
}

fn ether(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    f.extend_from_slice(&kind.to_be_bytes());
    f.extend_from_slice(payload);
    f
}

/// A pcap file, big endian, microseconds: (seconds, microseconds, original length, frame).
fn pcap_be(link: u32, frames: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
    let mut f = Vec::new();
    for w in [0xa1b2_c3d4u32, 0x0002_0004, 0, 0, 96, link] {
        f.extend_from_slice(&w.to_be_bytes());
    }
    for (s, us, orig, data) in frames {
        for w in [*s, *us, data.len() as u32, *orig] {
            f.extend_from_slice(&w.to_be_bytes());
        }
        f.extend_from_slice(data);
    }
    f
}

fn open(capture: Vec<u8>, options: PcapOptions) -> Pcap {
    Pcap::new(Some(Box::new(Cursor::new(capture))), None, options).expect("a capture")
}

fn all(p: &mut Pcap) -> Vec<Vec<u8>> {
    let mut buf = [0; 2000];
    let mut v = Vec::new();
    while let Ok(Some(n)) = p.recv(&mut buf) {
        v.push(buf[..n].to_vec());
    }
    v
}

/// Where a test's output goes.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(b);
        Ok(b.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn ip_is_found_under_every_link_type() {
    let cooked = |proto: u16| [&[0; 14][..], &proto.to_be_bytes(), &ip(1)].concat();
    let cooked2 = |proto: u16| [&proto.to_be_bytes()[..], &[0; 18], &ip(1)].concat();
    let cases: [(u32, Vec<u8>, bool); 12] = [
        (1, ether(0x0800, &ip(1)), true),
        (1, ether(0x0806, &[0; 28]), false),
        (
            1,
            ether(0x8100, &[&[0, 7, 8, 0][..], &ip(1)].concat()),
            true,
        ), // VLAN 7
        (1, vec![0; 13], false),
        (101, ip(1), true),
        (228, ip(1), true),
        (101, vec![0x15; 20], false), // neither 4 nor 6
        (113, cooked(0x0800), true),
        (113, cooked(0x0806), false),
        (276, cooked2(0x0800), true),
        (0, [&[2, 0, 0, 0][..], &ip(1)].concat(), true),
        (105, ip(1), false), // 802.11
    ];
    for (link, frame, found) in cases {
        let mut p = open(pcap_be(link, &[(1, 0, 20, frame)]), PcapOptions::default());
        let want: Vec<_> = if found { vec![ip(1)] } else { vec![] };
        assert_eq!(all(&mut p), want, "link type {link}");
        assert_eq!(p.control().skipped(), u64::from(!found));
        assert!(p.control().ended() && p.control().damage().is_none());
    }
}

#[test]
fn an_ethernet_shows_frames_as_they_are() {
    let frames = [ether(0x0800, &ip(1)), ether(0x0806, &[0; 28])];
    let capture = pcap_be(1, &frames.clone().map(|f| (0, 0, f.len() as u32, f)));
    let mac = [2, 0, 0, 0, 0, 1];
    let mut p = open(
        capture,
        PcapOptions {
            ethernet: Some(mac),
            ..PcapOptions::default()
        },
    );
    assert_eq!(p.medium(), Medium::Ether(mac));
    assert_eq!(all(&mut p), frames);
}

#[test]
fn a_capture_cut_short_gives_what_is_before_the_cut() {
    let capture = pcap_be(101, &[(1, 0, 20, ip(1)), (2, 0, 20, ip(2))]);
    for cut in 24..capture.len() {
        let mut p = open(capture[..cut].to_vec(), PcapOptions::default());
        let whole = match cut {
            0..60 => 0,
            _ => 1,
        };
        assert_eq!(all(&mut p).len(), whole, "cut at {cut}");
        assert!(p.control().ended());
        assert_eq!(
            p.control().damage().is_some(),
            cut != 24 && cut != 60,
            "cut at {cut}"
        );
    }
    for cut in 0..24 {
        let r = Pcap::new(
            Some(Box::new(Cursor::new(capture[..cut].to_vec()))),
            None,
            Default::default(),
        );
        assert!(r.is_err(), "cut at {cut}: no header");
    }
    // A snap length: the frame is shorter than it was.
    let mut p = open(pcap_be(101, &[(1, 0, 9000, ip(1))]), PcapOptions::default());
    assert_eq!(all(&mut p).len(), 1);
    // A length that no file can hold.
    let mut bad = pcap_be(101, &[(1, 0, 20, ip(1))]);
    bad[32..36].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut p = open(bad, PcapOptions::default());
    assert!(all(&mut p).is_empty() && p.control().damage().is_some());
}

#[test]
fn recorded_speed_keeps_the_pauses() {
    let frames = [
        (10, 0, 20, ip(1)),
        (10, 500_000, 20, ip(2)),
        (12, 0, 20, ip(3)),
        (11, 0, 20, ip(4)),
    ];
    let speed = Speed::Recorded;
    let mut p = open(
        pcap_be(101, &frames),
        PcapOptions {
            speed,
            ..PcapOptions::default()
        },
    );
    let start = Duration::from_secs(100);
    let ms = Duration::from_millis;
    p.tick(start);
    assert_eq!(all(&mut p), [ip(1)]);
    assert_eq!(p.tick(start), Some(start + ms(500)));
    assert_eq!(p.tick(start + ms(499)), Some(start + ms(500)));
    assert!(all(&mut p).is_empty());
    p.tick(start + ms(500));
    assert_eq!(all(&mut p), [ip(2)]);
    p.tick(start + ms(2000));
    assert_eq!(
        all(&mut p),
        [ip(3), ip(4)],
        "a stamp that goes back is due at once"
    );
    assert_eq!(p.tick(start + ms(2000)), None);
}

#[test]
fn the_speed_may_change_on_the_way() {
    let frames: Vec<_> = (0..6).map(|n| (n, 0, 20, ip(n as u8))).collect();
    let options = PcapOptions {
        speed: Speed::Step,
        paced: true,
        ..PcapOptions::default()
    };
    let mut p = open(pcap_be(101, &frames), options);
    let c = p.control();
    let s = Duration::from_secs;
    p.tick(s(50));
    assert_eq!((all(&mut p).len(), c.due()), (0, None));
    c.step(1);
    assert_eq!(all(&mut p), [ip(0)]);
    p.tick(s(100));
    c.run_at(Speed::Recorded); // the pauses count from here
    assert_eq!(all(&mut p), [ip(1)]);
    assert_eq!((p.tick(s(100)), c.due()), (Some(s(101)), Some(s(101))));
    p.tick(s(101));
    assert_eq!(all(&mut p), [ip(2)]);
    c.pause();
    p.tick(s(102));
    assert_eq!((all(&mut p).len(), c.due()), (0, None));
    c.run_at(Speed::Fast);
    assert_eq!(all(&mut p), [ip(3), ip(4), ip(5)]);
    assert!(c.ended());
}

#[test]
fn steps_let_go_as_many_as_told() {
    let frames: Vec<_> = (0..10).map(|n| (0, 0, 20, ip(n))).collect();
    let speed = Speed::Step;
    let mut p = open(
        pcap_be(101, &frames),
        PcapOptions {
            speed,
            ..PcapOptions::default()
        },
    );
    let c = p.control();
    assert!(all(&mut p).is_empty());
    c.step(3);
    assert_eq!(all(&mut p).len(), 3);
    c.run();
    assert_eq!(all(&mut p).len(), 7);
    assert_eq!((c.read(), c.ended()), (10, true));
}

#[test]
fn what_is_sent_can_be_read_back_in_both_formats() {
    for format in [Format::Pcap, Format::PcapNg] {
        let sink = Sink::default();
        let out = CaptureFile::to(sink.clone(), format);
        let options = PcapOptions {
            stamp: Stamp::Kernel,
            ..PcapOptions::default()
        };
        let mut p = Pcap::new(None, Some(out.clone()), options.clone()).expect("a link");
        for n in 0..3u8 {
            p.tick(Duration::new(1, u32::from(n)));
            let packet = ip(n);
            assert!(p.send(&packet).is_ok());
        }
        assert!(p.flush().is_ok());
        let written = sink.0.lock().clone();
        let speed = Speed::Recorded;
        let mut back = open(
            written,
            PcapOptions {
                speed,
                ..PcapOptions::default()
            },
        );
        back.tick(Duration::ZERO);
        assert_eq!(all(&mut back), [ip(0)], "{format:?}");
        back.tick(Duration::from_nanos(2));
        assert_eq!(all(&mut back), [ip(1), ip(2)], "nanoseconds survive");
        assert!(back.control().damage().is_none());
    }
}

#[test]
fn pcapng_has_an_interface_for_each_link_and_pcap_one_type() {
    let sink = Sink::default();
    let out = CaptureFile::to(sink.clone(), Format::PcapNg);
    let mac = [2, 0, 0, 0, 0, 9];
    let eth = PcapOptions {
        ethernet: Some(mac),
        name: "le0".into(),
        ..PcapOptions::default()
    };
    let mut a = Pcap::new(None, Some(out.clone()), eth.clone()).expect("a link");
    let mut b = Pcap::new(None, Some(out), PcapOptions::default()).expect("a link");
    let frame = ether(0x0800, &ip(1));
    assert!(a.send(&frame).is_ok());
    assert!(b.send(&ip(2)).is_ok());
    drop((a, b)); // dropping flushes
    let mut back = open(sink.0.lock().clone(), PcapOptions::default());
    assert_eq!(all(&mut back), [ip(1), ip(2)]);

    let out = CaptureFile::to(Sink::default(), Format::Pcap);
    assert!(Pcap::new(None, Some(out.clone()), PcapOptions::default()).is_ok());
    assert!(Pcap::new(None, Some(out), eth).is_err());
    assert_eq!(Format::of(Path::new("a.pcapng")), Format::PcapNg);
    assert_eq!(Format::of(Path::new("a.pcap")), Format::Pcap);
}

/// pcapng blocks in little endian.
fn block(ty: u32, body: &[u8]) -> Vec<u8> {
    let len = (12 + body.len() as u32).to_le_bytes();
    [&ty.to_le_bytes()[..], &len, body, &len].concat()
}

#[test]
fn pcapng_blocks_of_other_writers_are_understood() {
    let w = |v: &[u32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let shb = block(0x0a0d_0d0a, &w(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    let idb = block(1, &w(&[101, 0])); // raw IP, no snap length, microseconds
    // An enhanced packet whose options end without opt_endofopt.
    let epb = block(
        6,
        &[w(&[0, 0, 5, 20, 20]), ip(1), w(&[0x0004_0002, 0])].concat(),
    );
    let spb = block(3, &[w(&[20]), ip(2)].concat());
    let opb = block(2, &[w(&[0, 0, 9, 20, 20]), ip(3)].concat());
    let other = block(0xbad, b"junk");
    let nowhere = block(6, &[w(&[7, 0, 5, 20, 20]), ip(4)].concat()); // no interface 7
    let lie = block(6, &[w(&[0, 0, 5, 400, 400]), ip(5)].concat()); // longer than the block
    let file = [
        &shb[..],
        &idb,
        &epb,
        &other,
        &spb,
        &nowhere,
        &lie,
        &opb,
        &shb,
        &epb,
    ]
    .concat();
    let mut p = open(file.clone(), PcapOptions::default());
    // The last one has no interface in its section.
    assert_eq!(all(&mut p), [ip(1), ip(2), ip(3)]);
    assert!(p.control().damage().is_none());
    for cut in 28..file.len() {
        let mut p = open(file[..cut].to_vec(), PcapOptions::default());
        all(&mut p); // no panic, and it ends
        assert!(p.control().ended());
    }
}

#[test]
fn spoiled_captures_end_without_a_panic() {
    let frames: Vec<_> = (0..20)
        .map(|n| (u32::from(n), 0, 34, ether(0x0800, &ip(n))))
        .collect();
    let w = |v: &[u32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let shb = block(0x0a0d_0d0a, &w(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    let idb = block(1, &w(&[1, 0, 0x0001_0009, 9, 0]));
    let epb = block(
        6,
        &[w(&[0, 0, 5, 34, 34]), ether(0x0800, &ip(1)), vec![0; 2]].concat(),
    );
    let ng = [&shb[..], &idb, &epb, &epb, &epb].concat();
    let mut seed = 1u64;
    for whole in [pcap_be(1, &frames), ng] {
        for _ in 0..300 {
            let mut bad = whole.clone();
            for _ in 0..4 {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(99);
                let at = (seed >> 33) as usize % bad.len();
                bad[at] = (seed >> 20) as u8;
            }
            let input: Box<dyn Read + Send> = Box::new(Cursor::new(bad));
            if let Ok(mut p) = Pcap::new(Some(input), None, PcapOptions::default()) {
                all(&mut p);
                assert!(p.control().ended());
            }
        }
    }
}
