//! The name space: fattach, fdetach, FIFOs, links, isastream.

mod common;

use common::{kernel, root};
use streams::prelude::*;
use streams::sys::event;
use streams::{Ioctl, Kernel, PollFd, Signal, Sys, oflag};

const NB: u32 = oflag::O_NONBLOCK;

// ---- fattach(3C), fdetach(3C): the reference's section 9 ----

#[test]
fn an_attached_name_opens_the_stream_itself_until_it_is_detached() {
    let (k, p) = root();
    let (a, b) = p.pipe().expect("pipe");
    p.mkfile("/tmp/door", 0o666).expect("mkfile");
    assert_eq!(p.open("/tmp/door", oflag::O_RDWR), Err(Errno::ENXIO)); // only a file
    p.fattach(b, "/tmp/door").expect("fattach");
    p.close(b).expect("the attachment keeps the stream open");
    let other = k.process(Cred::user(9));
    let fd = other.open("/tmp/door", oflag::O_RDWR).expect("open");
    other.write(fd, b"knock").expect("write");
    assert_eq!(p.read(a, 9), Ok(b"knock".to_vec()));
    p.fdetach("/tmp/door").expect("fdetach");
    p.write(a, b"still").expect("who has it open keeps it");
    assert_eq!(other.read(fd, 9), Ok(b"still".to_vec()));
    assert_eq!(p.open("/tmp/door", oflag::O_RDWR), Err(Errno::ENXIO));
    other.close(fd).expect("close");
    assert_eq!(p.read(a, 9), Ok(vec![]));
}

#[test]
fn one_stream_may_have_many_names_and_a_name_one_stream() {
    let (_k, p) = root();
    let echo = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    for path in ["/one", "/two"] {
        p.mkfile(path, 0o666).expect("mkfile");
        p.fattach(echo, path).expect("fattach");
        let fd = p.open(path, oflag::O_RDWR).expect("open");
        p.write(fd, path.as_bytes()).expect("write");
        assert_eq!(p.read(echo, 9), Ok(path.as_bytes().to_vec()));
    }
    assert_eq!(p.fattach(echo, "/one"), Err(Errno::EBUSY));
    assert_eq!(p.unlink("/one"), Err(Errno::EBUSY));
    p.fattach(echo, "/dev/nuls")
        .expect("over a device node too");
    let fd = p.open("/dev/nuls", oflag::O_RDWR | NB).expect("open");
    assert_eq!(
        p.ioctl(fd, Ioctl::List).map(|r| r.names),
        Ok(vec!["echo".into()])
    );
    p.fdetach("/dev/nuls").expect("fdetach");
    let fd = p.open("/dev/nuls", oflag::O_RDWR).expect("open");
    assert_eq!(
        p.ioctl(fd, Ioctl::List).map(|r| r.names),
        Ok(vec!["nuls".into()])
    );
}

#[test]
fn fattach_and_fdetach_refuse_as_the_manual_says() {
    let (k, p) = root();
    let fd = p.open("/dev/echo", oflag::O_RDWR).expect("open");
    p.mkfile("/tmp/root", 0o644).expect("mkfile");
    p.symlink("/tmp/loop2", "/tmp/loop1").expect("symlink");
    p.symlink("/tmp/loop1", "/tmp/loop2").expect("symlink");
    p.symlink("/tmp/root", "/tmp/short").expect("symlink");
    let long = format!("/{}", "x".repeat(256));
    let deep = "/x".repeat(600);
    for (path, want) in [
        ("/tmp/none", Errno::ENOENT),
        ("", Errno::ENOENT),
        ("relative", Errno::ENOENT),
        ("/tmp/root/below", Errno::ENOTDIR),
        ("/dev/echo/below", Errno::ENOTDIR),
        ("/tmp/loop1", Errno::ELOOP),
        (&long, Errno::ENAMETOOLONG),
        (&deep, Errno::ENAMETOOLONG),
    ] {
        assert_eq!(p.fattach(fd, path), Err(want), "{path:.20}");
        assert_eq!(p.fdetach(path), Err(want), "{path:.20}");
        assert_eq!(p.open(path, oflag::O_RDWR), Err(want), "{path:.20}");
    }
    assert_eq!(p.fattach(99, "/tmp/root"), Err(Errno::EBADF));
    assert_eq!(p.fdetach("/tmp/root"), Err(Errno::EINVAL)); // nothing is attached
    assert_eq!(p.fdetach("/dev/echo"), Err(Errno::EINVAL));

    let user = k.process(Cred::user(7));
    let own = user.open("/dev/echo", oflag::O_RDWR).expect("open");
    assert_eq!(user.fattach(own, "/tmp/root"), Err(Errno::EPERM)); // not the owner
    user.mkfile("/tmp/readonly", 0o444).expect("mkfile");
    assert_eq!(user.fattach(own, "/tmp/readonly"), Err(Errno::EACCES));
    p.fattach(fd, "/tmp/short").expect("through a link");
    assert_eq!(user.fdetach("/tmp/root"), Err(Errno::EPERM));
    assert_eq!(user.open("/tmp/root", oflag::O_RDWR), Err(Errno::EACCES)); // 0644
    user.open("/tmp/root", oflag::O_RDONLY)
        .expect("others may read");
    p.fdetach("/tmp/root").expect("fdetach");
}

#[test]
fn names_are_made_once_and_unlinked_by_their_owner() {
    let (k, p) = root();
    p.mkfile("/f", 0o600).expect("mkfile");
    assert_eq!(p.mkfile("/f", 0o600), Err(Errno::EEXIST));
    assert_eq!(p.mkfifo("/dev/echo", 0o600), Err(Errno::EEXIST));
    assert_eq!(p.mkfile("/f/g", 0o600), Err(Errno::ENOTDIR));
    assert_eq!(p.mkfile("/f/", 0o600), Err(Errno::ENOENT));
    assert_eq!(k.process(Cred::user(3)).unlink("/f"), Err(Errno::EPERM));
    assert_eq!(p.unlink("/dev/echo"), Err(Errno::EPERM));
    p.unlink("/f").expect("unlink");
    assert_eq!(p.unlink("/f"), Err(Errno::ENOENT));
}

#[test]
fn isastream_knows_descriptors() {
    let (_k, p) = root();
    let (a, _) = p.pipe().expect("pipe");
    assert_eq!(p.isastream(a), Ok(true)); // isastream(3C)
    assert_eq!(p.isastream(77), Err(Errno::EBADF));
    assert_eq!(p.isastream(-1), Err(Errno::EBADF));
}

// ---- FIFOs: open(2), read(2), write(2) ----

#[test]
fn a_fifo_is_one_stream_for_all_who_open_it() {
    let (k, p) = root();
    p.mkfifo("/q", 0o666).expect("mkfifo");
    let r = p
        .open("/q", oflag::O_RDONLY | NB)
        .expect("readers need not wait");
    assert_eq!(p.open("/q", oflag::O_WRONLY | NB), Ok(r + 1));
    let q = k.process(Cred::user(5));
    let w = q.open("/q", oflag::O_WRONLY).expect("there is a reader");
    q.write(w, b"line").expect("write");
    assert_eq!(p.read(r, 99), Ok(b"line".to_vec()));
    assert_eq!(p.read(r, 99), Err(Errno::EAGAIN)); // writers are there
    p.close(r + 1).expect("close");
    q.write(w, b"last").expect("write");
    q.close(w).expect("the last writer goes");
    assert_eq!(p.read(r, 99), Ok(b"last".to_vec()));
    assert_eq!(p.read(r, 99), Ok(vec![])); // end of file
    let w = p.open("/q", oflag::O_WRONLY).expect("again");
    assert_eq!(p.read(r, 99), Err(Errno::EAGAIN)); // and it is none any more
    p.close(r).expect("the last reader goes");
    assert_eq!(p.write(w, b"x"), Err(Errno::EPIPE));
    assert_eq!(p.take_signals(), [Signal::SIGPIPE]);
}

#[test]
fn an_open_of_a_fifo_waits_for_the_other_side() {
    let (_k, p) = root();
    p.mkfifo("/q", 0o600).expect("mkfifo");
    assert_eq!(p.open("/q", oflag::O_WRONLY | NB), Err(Errno::ENXIO));
    assert_eq!(p.open("/q", oflag::O_RDONLY), Err(Errno::EDEADLK)); // nobody will come
    p.kill(Signal::SIGALRM);
    assert_eq!(p.open("/q", oflag::O_WRONLY), Err(Errno::EINTR));
    let both = p.open("/q", oflag::O_RDWR).expect("both sides at once");
    p.write(both, b"me").expect("write");
    assert_eq!(p.read(both, 9), Ok(b"me".to_vec()));

    let k = Kernel::new().expect("a kernel");
    let p = k.process(Cred::ROOT);
    p.mkfifo("/q", 0o600).expect("mkfifo");
    std::thread::scope(|s| {
        let reader = s.spawn(|| {
            let p = k.process(Cred::ROOT);
            let fd = p.open("/q", oflag::O_RDONLY)?;
            p.read(fd, 9)
        });
        let w = p.open("/q", oflag::O_WRONLY).expect("a reader comes");
        p.write(w, b"met").expect("write");
        assert_eq!(reader.join().expect("no panic"), Ok(b"met".to_vec()));
    });
}

#[test]
fn modules_on_a_fifo_are_passed_twice_and_can_be_popped() {
    let k = kernel();
    k.set_trace(true);
    let p = k.process(Cred::ROOT);
    p.mkfifo("/q", 0o600).expect("mkfifo");
    let fd = p.open("/q", oflag::O_RDWR | NB).expect("open");
    p.push(fd, "nullmod").expect("push");
    p.push(fd, "pipemod").expect("push");
    assert_eq!(
        p.ioctl(fd, Ioctl::List).map(|r| r.names),
        Ok(vec!["pipemod".into(), "nullmod".into()])
    );
    k.take_trace();
    p.write(fd, b"x").expect("write");
    let way: Vec<_> = k
        .take_trace()
        .iter()
        .filter(|e| e.what == streams::trace::What::Put)
        .map(|e| (e.module, e.read_side))
        .collect();
    assert_eq!(
        way,
        [
            ("pipemod", false),
            ("nullmod", false),
            ("nullmod", true),
            ("pipemod", true),
            ("strhead", true)
        ]
    );
    assert_eq!(p.read(fd, 9), Ok(b"x".to_vec()));
    p.ioctl(fd, Ioctl::Pop).expect("pop");
    p.write(fd, b"y").expect("write");
    p.ioctl(fd, Ioctl::Pop).expect("pop");
    assert_eq!(p.ioctl(fd, Ioctl::Pop), Err(Errno::EINVAL));
    p.write(fd, b"z").expect("write");
    assert_eq!(p.read(fd, 9), Ok(b"yz".to_vec()));
    p.push(fd, "nullmod").expect("push");
    let again = p.open("/q", oflag::O_RDWR | NB).expect("8.2: reopen");
    p.close(fd).expect("close");
    p.write(again, b"w").expect("write");
    assert_eq!(p.read(again, 9), Ok(b"w".to_vec()));
    p.close(again).expect("close");
    assert!(k.stacks().is_empty());
}

#[test]
fn a_full_fifo_stops_its_writer() {
    let (_k, p) = root();
    p.mkfifo("/q", 0o600).expect("mkfifo");
    let fd = p.open("/q", oflag::O_RDWR | NB).expect("open");
    let mut sent = 0;
    while let Ok(n) = p.write(fd, &[3; 1000]) {
        sent += n;
        assert!(sent < 100_000, "never stopped");
    }
    let mut at = [PollFd {
        fd,
        events: event::POLLOUT,
        revents: 0,
    }];
    assert_eq!(p.poll(&mut at, Some(std::time::Duration::ZERO)), Ok(0));
    assert_eq!(common::drain(&p, fd).len(), sent);
    assert_eq!(p.poll(&mut at, Some(std::time::Duration::ZERO)), Ok(1));
}
