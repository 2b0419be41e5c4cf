//! The drivers that come with the framework: loop, nuls, mux, and clone opens.

mod common;

use std::time::Duration;

use common::{drain, kernel, open, root, str_int};
use streams::drivers::looping::LOOP_SET;
use streams::drivers::mux::{MUX_INPUT, MUX_ROUTE};
use streams::prelude::*;
use streams::sys::event;
use streams::{Ioctl, PollFd, Process, Sys, oflag};

// ---- clone(7D), the reference's 8.4 ----

#[test]
fn a_clone_node_names_its_target_by_the_minor() {
    let (k, p) = root();
    let echo = k.major("echo").expect("echo");
    k.mknod("/dev/again", "clone", Some(echo)).expect("mknod");
    let (a, b) = (open(&p, "/dev/again"), open(&p, "/dev/again"));
    let (da, db) = (p.device(a), p.device(b));
    assert_ne!(da, db); // a new stream each time
    assert_eq!(da.expect("open").map(|d| d.0), Some(echo));
    p.write(a, b"mine").expect("write");
    assert_eq!(p.read(b, 9), Err(Errno::EAGAIN));
    assert_eq!(p.read(a, 9), Ok(b"mine".to_vec()));
}

#[test]
fn a_clone_node_without_a_target_is_enxio_and_clone_cannot_be_pushed() {
    let (k, p) = root();
    k.mknod("/dev/none", "clone", Some(4711)).expect("mknod");
    assert_eq!(p.open("/dev/none", oflag::O_RDWR), Err(Errno::ENXIO));
    assert_eq!(p.open("/dev/clone", oflag::O_RDWR), Err(Errno::ENXIO));
    let fd = open(&p, "/dev/echo");
    assert_eq!(p.push(fd, "clone"), Err(Errno::ENXIO));
    assert_eq!(
        k.mknod("/dev/none", "echo", None),
        Err(Errno::EEXIST) // mknod(2)
    );
    assert_eq!(k.mknod("/dev/x", "nobody", None), Err(Errno::ENXIO));
}

/// A driver that does with its device number what its minor says.
struct Chooser;
impl Module for Chooser {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(9, "chooser");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        match (how.sflag, how.minor) {
            (SFlag::Driver, Some(5)) => how.minor = Some(77), // picks its own minor
            (SFlag::Clone, None) => how.major += 1,
            _ => {}
        }
        Ok(Chooser)
    }
}

#[test]
fn a_clone_open_that_answers_with_another_major_is_closed_again() {
    let (k, p) = root();
    k.add_drv::<Chooser>().expect("add_drv");
    assert_eq!(p.open("/dev/chooser", oflag::O_RDWR), Err(Errno::ENXIO));
    let row = k.modinfo().into_iter().find(|r| r.name == "chooser");
    assert_eq!(row.map(|r| r.opens), Some(0));
    assert!(k.stacks().is_empty());
}

#[test]
fn a_driver_opened_by_its_own_node_may_pick_a_new_minor() {
    let (k, p) = root();
    let major = k.add_drv::<Chooser>().expect("add_drv");
    k.mknod("/dev/chooser5", "chooser", Some(5)).expect("mknod");
    k.mknod("/dev/chooser6", "chooser", Some(6)).expect("mknod");
    let a = open(&p, "/dev/chooser5");
    assert_eq!(p.device(a), Ok(Some((major, 77))));
    let (b, c) = (open(&p, "/dev/chooser6"), open(&p, "/dev/chooser6"));
    assert_eq!(p.device(b), Ok(Some((major, 6))));
    assert_eq!(p.device(b), p.device(c));
    assert_eq!(k.stacks().len(), 2); // the same minor is the same stream (8.2)
}

// ---- loop: the STREAMS Programming Guide's loop-around driver ----

fn minor(p: &Process, fd: i32) -> i32 {
    let dev = p.device(fd).expect("open").expect("a device");
    i32::try_from(dev.1).expect("a small minor")
}

fn joined() -> (streams::Kernel, Process, i32, i32) {
    let (k, p) = root();
    let (a, b) = (open(&p, "/dev/loop"), open(&p, "/dev/loop"));
    assert_eq!(str_int(&p, a, LOOP_SET, minor(&p, b)), Ok(0));
    (k, p, a, b)
}

#[test]
fn joined_minors_read_what_the_other_writes() {
    let (_k, p, a, b) = joined();
    p.write(a, b"over").expect("write");
    p.write(b, b"back").expect("write");
    assert_eq!(p.read(b, 9), Ok(b"over".to_vec()));
    assert_eq!(p.read(a, 9), Ok(b"back".to_vec()));
    p.putmsg(a, Some(b"c"), Some(b"d"), true).expect("putmsg");
    assert!(p.getmsg(b, 9, 9, false).expect("getmsg").hipri);
}

#[test]
fn loop_set_refuses_what_cannot_be_joined() {
    let (_k, p, a, b) = joined();
    let c = open(&p, "/dev/loop");
    assert_eq!(str_int(&p, c, LOOP_SET, minor(&p, a)), Err(Errno::EBUSY));
    assert_eq!(str_int(&p, a, LOOP_SET, minor(&p, c)), Err(Errno::EBUSY));
    assert_eq!(str_int(&p, c, LOOP_SET, 99), Err(Errno::ENXIO));
    assert_eq!(str_int(&p, c, LOOP_SET, -1), Err(Errno::ENXIO));
    assert_eq!(p.i_str(c, LOOP_SET, b"xy"), Err(Errno::EINVAL));
    assert_eq!(p.i_str(c, LOOP_SET, b""), Err(Errno::EINVAL));
    assert_eq!(p.i_str(c, 1, b""), Err(Errno::EINVAL));
    assert_eq!(str_int(&p, c, LOOP_SET, minor(&p, c)), Ok(0)); // with itself: an echo
    p.write(c, b"me").expect("write");
    assert_eq!(p.read(c, 9), Ok(b"me".to_vec()));
    p.close(b).expect("close");
}

#[test]
fn writing_to_an_unjoined_minor_is_an_error_of_the_stream() {
    let (_k, p) = root();
    let a = open(&p, "/dev/loop");
    p.write(a, b"nobody").expect("the head can't know yet");
    assert_eq!(p.write(a, b"again"), Err(Errno::ENXIO));
    assert_eq!(p.read(a, 1), Err(Errno::ENXIO));
}

#[test]
fn a_slow_reader_stops_the_writer_at_the_other_end() {
    let (_k, p, a, b) = joined();
    let mut sent = Vec::new();
    while let Ok(n) = p.write(a, &[sent.len() as u8; 300]) {
        sent.extend(vec![(sent.len()) as u8; n]);
        assert!(sent.len() < 100_000, "never stopped");
    }
    let mut out = [PollFd {
        fd: a,
        events: event::POLLOUT,
        revents: 0,
    }];
    assert_eq!(p.poll(&mut out, Some(Duration::ZERO)), Ok(0));
    assert_eq!(drain(&p, b), sent); // nothing lost, nothing out of order
    assert_eq!(p.poll(&mut out, Some(Duration::ZERO)), Ok(1));
}

#[test]
fn closing_one_minor_hangs_the_other_up() {
    let (_k, p, a, b) = joined();
    p.write(a, b"last").expect("write");
    p.close(a).expect("close");
    assert_eq!(p.read(b, 9), Ok(b"last".to_vec()));
    assert_eq!(p.read(b, 9), Ok(vec![])); // 5.8: data, then 0
    assert_eq!(p.write(b, b"x"), Err(Errno::EIO));
}

#[test]
fn flushing_reaches_what_waits_on_the_other_minor() {
    let (_k, p, a, b) = joined();
    while p.write(a, &[1; 300]).is_ok() {}
    p.ioctl(b, Ioctl::Flush(1)).expect("I_FLUSH FLUSHR");
    assert_eq!(p.read(b, 9), Err(Errno::EAGAIN));
    p.write(a, b"fresh").expect("there is room again");
    assert_eq!(p.read(b, 9), Ok(b"fresh".to_vec()));
}

// ---- nuls ----

#[test]
fn nuls_takes_everything_and_reads_as_zeros() {
    let (k, p) = root();
    let fd = p.open("/dev/nuls", oflag::O_RDWR).expect("open");
    for _ in 0..100 {
        assert_eq!(p.write(fd, &[1; 4096]), Ok(4096)); // null(7D): never full
    }
    assert_eq!(p.read(fd, 1000), Ok(vec![0; 1000])); // zero(7D)
    assert_eq!(p.read(fd, 3), Ok(vec![0; 3]));
    assert_eq!(p.i_str(fd, 7, b""), Err(Errno::EINVAL));
    assert!(k.drops().is_empty());
}

// ---- mux: the reference's 4.5 ----

/// One upper stream over two loop minors; the far ends of both.
struct Fan {
    p: Process,
    up: i32,
    ids: [i32; 2],
    far: [i32; 2],
    k: streams::Kernel,
}

fn fan() -> Fan {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    let up = open(&p, "/dev/mux");
    let mut ids = [0; 2];
    let mut far = [0; 2];
    for i in 0..2 {
        let (low, end) = (open(&p, "/dev/loop"), open(&p, "/dev/loop"));
        str_int(&p, low, LOOP_SET, minor(&p, end)).expect("LOOP_SET");
        ids[i] = p.ioctl(up, Ioctl::Link(low)).expect("I_LINK").rval;
        far[i] = end;
        p.close(low).expect("4.3: the link keeps it open");
    }
    Fan { p, up, ids, far, k }
}

#[test]
fn mux_route_chooses_the_stream_below() {
    let f = fan();
    f.p.write(f.up, b"first")
        .expect("the first link is the route");
    assert_eq!(f.p.read(f.far[0], 9), Ok(b"first".to_vec()));
    assert_eq!(str_int(&f.p, f.up, MUX_ROUTE, f.ids[1]), Ok(0));
    f.p.write(f.up, b"second").expect("write");
    assert_eq!(f.p.read(f.far[1], 9), Ok(b"second".to_vec()));
    assert_eq!(str_int(&f.p, f.up, MUX_ROUTE, 99), Err(Errno::ENXIO));
    assert_eq!(f.p.i_str(f.up, MUX_ROUTE, b"x"), Err(Errno::EINVAL));
}

#[test]
fn mux_input_chooses_who_reads_a_stream_below() {
    let f = fan();
    f.p.write(f.far[0], b"up").expect("write");
    assert_eq!(f.p.read(f.up, 9), Ok(b"up".to_vec()));
    let other = open(&f.p, "/dev/mux");
    assert_eq!(str_int(&f.p, other, MUX_INPUT, f.ids[0]), Ok(0));
    f.p.write(f.far[0], b"there").expect("write");
    assert_eq!(f.p.read(f.up, 9), Err(Errno::EAGAIN));
    assert_eq!(f.p.read(other, 9), Ok(b"there".to_vec()));
    // The second link has no reader yet: a counted drop.
    f.p.write(f.far[1], b"lost").expect("write");
    assert_eq!(f.k.drops().get(&("mux", "no stream above")), Some(&1));
}

#[test]
fn a_full_upper_stream_stops_the_writer_below_and_a_full_lower_one_the_writer_above() {
    let f = fan();
    for (from, to) in [(f.far[0], f.up), (f.up, f.far[0])] {
        let mut sent = 0;
        while let Ok(n) = f.p.write(from, &[9; 300]) {
            sent += n;
            assert!(sent < 100_000, "never stopped");
        }
        assert_eq!(drain(&f.p, to).len(), sent);
        assert_eq!(f.p.write(from, b"x"), Ok(1)); // back-enabled through the middle
        drain(&f.p, to);
    }
}

#[test]
fn after_unlink_a_route_is_gone_and_messages_are_counted_drops() {
    let f = fan();
    f.p.ioctl(f.up, Ioctl::Unlink(f.ids[0])).expect("I_UNLINK");
    f.p.write(f.up, b"nowhere").expect("write");
    assert_eq!(f.k.drops().get(&("mux", "no stream below")), Some(&1));
    assert_eq!(f.p.read(f.far[0], 9), Ok(vec![])); // its stream was closed: hung up
}
