//! The kernel under test, and the account of every message beside it.
//!
//! An end is a descriptor one can write and read at; what is written at end `a` is read at
//! `peer(a)`. A message carries its end, its band and its number there.

use std::collections::HashMap;
use std::time::Duration;

use streams::sys::event::{POLLHUP, POLLIN, POLLNVAL, POLLPRI, POLLRDBAND, POLLRDNORM};
use streams::{
    Config, Cred, Errno, Got, Ioctl, Kernel, PollFd, Process, StrIoctl, Sys, Which, oflag,
};

use crate::modules;
use crate::op::Op;

/// As many ends as a sequence has at most.
const ENDS: usize = 16;
/// Bytes of a message.
const SIZE: usize = 12;

struct End {
    fd: i32,
    peer: usize,
    open: bool,
    /// Modules pushed here.
    modules: usize,
    /// Messages sent so far.
    sent: u32,
    /// Messages read whose sender is the peer.
    read: u32,
    /// The number that the next message of a band must reach.
    next: HashMap<u8, u32>,
    /// A flush, a close or a pop may have cost messages on the way here.
    lossy: bool,
    /// Files sent here and not received yet.
    files: u32,
}

pub struct World {
    k: Kernel,
    p: Process,
    ends: Vec<End>,
    /// Descriptors of streams that are linked under a mux.
    lowers: Vec<i32>,
    muxes: Vec<Mux>,
    /// Allocations may fail.
    starving: bool,
}

/// A stream of mux with its one lower stream.
struct Mux {
    end: usize,
    low: i32,
    id: i32,
    persist: bool,
}

fn e(what: &str, r: Errno) -> String {
    format!("{what}: {r:?}")
}

impl World {
    pub fn new(seed: u64) -> World {
        let config = Config {
            stepped: seed.is_multiple_of(3),
            ..Config::seeded(seed | 1)
        };
        let k = Kernel::with_config(config).expect("a kernel");
        streams::register(&k).expect("names");
        modules::register(&k).expect("names");
        let p = k.process(Cred::ROOT);
        World {
            k,
            p,
            ends: vec![],
            lowers: vec![],
            muxes: vec![],
            starving: false,
        }
    }

    /// Does a step, then looks the kernel over.
    pub fn apply(&mut self, op: &Op) -> Result<(), String> {
        self.step(op)?;
        match self.k.broken_invariants().first() {
            None => Ok(()),
            Some(w) => Err(w.clone()),
        }
    }

    fn nonblock(&self, fd: i32) -> Result<(), String> {
        self.p
            .set_flags(fd, oflag::O_RDWR | oflag::O_NONBLOCK)
            .map_err(|r| e("fcntl", r))
    }

    fn add(&mut self, a: i32, b: Option<i32>) -> Result<(), String> {
        let n = self.ends.len();
        let pair = [(a, if b.is_some() { n + 1 } else { n })];
        for (fd, peer) in pair.into_iter().chain(b.map(|b| (b, n))) {
            self.nonblock(fd)?;
            self.ends.push(End {
                fd,
                peer,
                open: true,
                modules: 0,
                sent: 0,
                read: 0,
                next: HashMap::new(),
                lossy: false,
                files: 0,
            });
        }
        Ok(())
    }

    /// The end that a step means.
    fn end(&self, n: usize) -> Option<usize> {
        let open: Vec<usize> = (0..self.ends.len())
            .filter(|i| self.ends[*i].open)
            .collect();
        (!open.is_empty()).then(|| open[n % open.len()])
    }

    /// From here on messages between this end and its peer may be missing.
    fn spoil(&mut self, i: usize) {
        let peer = self.ends[i].peer;
        self.ends[i].lossy = true;
        self.ends[peer].lossy = true;
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let room = self.ends.len() + 2 <= ENDS;
        if matches!(op, Op::Loop | Op::Mux(_)) {
            self.feed(); // half of them made is not a topology
        }
        match *op {
            Op::Pipe if room => {
                let (a, b) = self.p.pipe().map_err(|r| e("pipe", r))?;
                return self.add(a, Some(b));
            }
            Op::Loop if room => {
                let (a, b) = self.joined()?;
                return self.add(a, Some(b));
            }
            Op::Echo if room => {
                let a = self.open("/dev/echo")?;
                return self.add(a, None);
            }
            Op::Mux(persist) if room => {
                let up = self.open("/dev/mux")?;
                let (low, far) = self.joined()?;
                let id = self.link(up, low, persist)?;
                self.lowers.push(low);
                let end = self.ends.len();
                self.muxes.push(Mux {
                    end,
                    low,
                    id,
                    persist,
                });
                return self.add(up, Some(far));
            }
            Op::Pipe | Op::Loop | Op::Echo | Op::Mux(_) => return Ok(()),
            Op::Step => {
                self.k.step();
                return Ok(());
            }
            Op::Advance(ms) => {
                self.k.advance(Duration::from_millis(ms));
                return Ok(());
            }
            Op::Fork => {
                drop(self.p.fork());
                return Ok(());
            }
            Op::Lower(n) => return self.lower(n),
            Op::Relink(n) => return self.relink(n),
            Op::Starve(after) => {
                self.k.fail_allocations(Some(after));
                self.starving = true;
                return Ok(());
            }
            Op::Feed => {
                self.feed();
                return Ok(());
            }
            _ => {}
        }
        let n = match *op {
            Op::Push(n, _) | Op::Pop(n) | Op::Write(n, _) | Op::Plain(n) | Op::High(n) => n,
            Op::Get(n) | Op::Read(n) | Op::Mode(n, _) | Op::Flush(n, _) => n,
            Op::FlushBand(n, ..) | Op::Poll(n) | Op::Peek(n) | Op::Dup(n) => n,
            Op::Close(n) | Op::Sig(n) | Op::Ioctl(n) => n,
            Op::Insert(n, ..) | Op::Remove(n, _) | Op::SendFd(n) | Op::Attach(n) => n,
            _ => return Ok(()),
        };
        match self.end(n) {
            Some(i) => self.at_end(i, op),
            None => Ok(()),
        }
    }

    fn feed(&mut self) {
        self.k.fail_allocations(None);
        self.starving = false;
    }

    /// Links `low` under the mux `up` and sends all through it, both ways.
    fn link(&mut self, up: i32, low: i32, persist: bool) -> Result<i32, String> {
        let link = if persist {
            Ioctl::Plink(low)
        } else {
            Ioctl::Link(low)
        };
        let id = self.p.ioctl(up, link).map_err(|r| e("link", r))?.rval;
        use streams::drivers::mux::{MUX_INPUT, MUX_ROUTE};
        for cmd in [MUX_ROUTE, MUX_INPUT] {
            let r = self.p.i_str(up, cmd, &id.to_ne_bytes());
            r.map_err(|r| e("MUX_ROUTE", r))?;
        }
        Ok(id)
    }

    /// Unlinked, the lower stream is its user's; then it is linked again.
    fn relink(&mut self, n: usize) -> Result<(), String> {
        self.feed();
        let open: Vec<usize> = (0..self.muxes.len())
            .filter(|m| self.ends[self.muxes[*m].end].open)
            .collect();
        let Some(&m) = open.get(n % open.len().max(1)) else {
            return Ok(());
        };
        let Mux {
            end,
            low,
            id,
            persist,
        } = self.muxes[m];
        self.spoil(end);
        let up = self.ends[end].fd;
        let unlink = if persist {
            Ioctl::Punlink(id)
        } else {
            Ioctl::Unlink(id)
        };
        self.p.ioctl(up, unlink).map_err(|r| e("unlink", r))?;
        self.nonblock(low)?;
        match self.p.read(low, 64) {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(r) => return Err(e("a read of what is linked no more", r)),
        }
        // Its other end may be closed: then it is hung up and can't be linked again.
        self.muxes[m].id = match self.link(up, low, persist) {
            Ok(id) => id,
            Err(_) if !self.ends[self.ends[end].peer].open => {
                self.muxes.remove(m);
                self.lowers.retain(|l| *l != low);
                return Ok(());
            }
            Err(r) => return Err(r),
        };
        Ok(())
    }

    fn open(&self, path: &str) -> Result<i32, String> {
        self.p.open(path, oflag::O_RDWR).map_err(|r| e(path, r))
    }

    /// Two streams of loop, joined.
    fn joined(&self) -> Result<(i32, i32), String> {
        let (a, b) = (self.open("/dev/loop")?, self.open("/dev/loop")?);
        let minor = self.p.device(b).ok().flatten().map_or(0, |d| d.1);
        let set = streams::drivers::looping::LOOP_SET;
        let r = self.p.i_str(a, set, &minor.to_ne_bytes());
        r.map(|_| (a, b)).map_err(|r| e("LOOP_SET", r))
    }

    fn at_end(&mut self, i: usize, op: &Op) -> Result<(), String> {
        let fd = self.ends[i].fd;
        match *op {
            Op::Push(_, m) if self.ends[i].modules < 5 => match self.p.push(fd, modules::name(m)) {
                Ok(()) => self.ends[i].modules += 1,
                Err(r) => self.hung_up(i, "I_PUSH", r)?,
            },
            Op::Pop(_) => {
                self.spoil(i);
                match self.p.ioctl(fd, Ioctl::Pop) {
                    Ok(_) => self.ends[i].modules -= 1,
                    Err(Errno::EINVAL) if self.ends[i].modules == 0 => {}
                    Err(r) => self.hung_up(i, "I_POP", r)?,
                }
            }
            Op::Insert(_, pos, m) if self.ends[i].modules < 5 => {
                let pos = pos.min(self.ends[i].modules);
                let name = modules::name(m).to_owned();
                let insert = Ioctl::Insert {
                    pos: pos as i32,
                    name,
                };
                match self.p.ioctl(fd, insert) {
                    Ok(_) => self.ends[i].modules += 1,
                    Err(r) => self.hung_up(i, "_I_INSERT", r)?,
                }
            }
            Op::Remove(_, pos) if pos < self.ends[i].modules => {
                self.spoil(i);
                let names = match self.p.ioctl(fd, Ioctl::List) {
                    Ok(r) => r.names,
                    Err(r) => return self.hung_up(i, "I_LIST", r),
                };
                let Some(name) = names.get(pos).cloned() else {
                    return Err(format!("I_LIST tells {} names", names.len()));
                };
                match self.p.ioctl(
                    fd,
                    Ioctl::Remove {
                        pos: pos as i32,
                        name,
                    },
                ) {
                    Ok(_) => self.ends[i].modules -= 1,
                    Err(r) => self.hung_up(i, "_I_REMOVE", r)?,
                }
            }
            Op::SendFd(_) => match self.p.ioctl(fd, Ioctl::SendFd(fd)) {
                Ok(_) => {
                    let to = self.ends[i].peer;
                    self.ends[to].files += 1;
                }
                Err(Errno::EAGAIN | Errno::EINVAL) => {} // full, or no pipe
                Err(r) => self.hung_up(i, "I_SENDFD", r)?,
            },
            Op::Attach(_) => return self.attach(i),
            Op::Write(_, band) => {
                let data = self.message(i, band);
                let r = self.p.putpmsg(fd, None, Some(&data), false, band);
                return self.sent(i, r);
            }
            Op::Plain(_) => {
                let data = self.message(i, 0);
                let r = self.p.write(fd, &data).map(|_| ());
                return self.sent(i, r);
            }
            Op::High(_) => {
                self.spoil(i);
                match self.p.putmsg(fd, Some(&[9; 4]), None, true) {
                    Ok(()) | Err(Errno::EAGAIN) => {}
                    Err(r) => self.hung_up(i, "putmsg of high priority", r)?,
                }
            }
            Op::Get(_) => {
                self.get(i)?;
            }
            Op::Read(_) => match self.p.read(fd, SIZE) {
                Ok(d) if d.is_empty() => {}
                Ok(d) => return self.arrived(i, &d, None),
                Err(Errno::EBADMSG) => return self.file(i),
                Err(Errno::EAGAIN) => {}
                Err(r) => self.hung_up(i, "read", r)?,
            },
            Op::Mode(_, m) => {
                let r = self.p.ioctl(fd, Ioctl::SetReadOpt(m)).map(|_| ());
                r.or_else(|r| self.hung_up(i, "I_SRDOPT", r))?;
            }
            Op::Flush(_, how) => {
                self.spoil(i);
                let r = self.p.ioctl(fd, Ioctl::Flush(how)).map(|_| ());
                r.or_else(|r| self.hung_up(i, "I_FLUSH", r))?;
            }
            Op::FlushBand(_, band, how) => {
                self.spoil(i);
                let r = self.p.ioctl(fd, Ioctl::FlushBand { band, how }).map(|_| ());
                r.or_else(|r| self.hung_up(i, "I_FLUSHBAND", r))?;
            }
            Op::Poll(_) => return self.poll(i),
            Op::Peek(_) => {
                let before = self.p.ioctl(fd, Ioctl::Nread).map(|r| (r.rval, r.data));
                let peek = Ioctl::Peek {
                    ctlmax: 64,
                    datmax: 64,
                    hipri: false,
                };
                let _ = self.p.ioctl(fd, peek);
                if before != self.p.ioctl(fd, Ioctl::Nread).map(|r| (r.rval, r.data)) {
                    return Err("I_PEEK changed what I_NREAD says".to_owned());
                }
            }
            Op::Dup(_) => {
                let new = self.p.dup(fd).map_err(|r| e("dup", r))?;
                self.p.close(fd).map_err(|r| e("close of a duplicate", r))?;
                self.ends[i].fd = new;
            }
            Op::Close(_) => {
                self.spoil(i);
                self.ends[i].open = false;
                self.p.close(fd).map_err(|r| e("close", r))?;
            }
            Op::Sig(_) => {
                let r = self.p.ioctl(fd, Ioctl::SetSig(0x0041)).map(|_| ());
                r.or_else(|r| self.hung_up(i, "I_SETSIG", r))?;
                self.p.take_signals();
            }
            Op::Ioctl(_) => {
                let str = StrIoctl {
                    cmd: 0x7a7a,
                    timeout: 1,
                    data: vec![],
                };
                match self.p.ioctl(fd, Ioctl::Str(str)) {
                    Err(_) => {}
                    Ok(r) => return Err(format!("an unknown ioctl returned {}", r.rval)),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The stream by a name of its own; the descriptor is another one then.
    fn attach(&mut self, i: usize) -> Result<(), String> {
        let (fd, name) = (self.ends[i].fd, "/tmp/end");
        let _ = self.p.mkfile(name, 0o600); // it is there the second time
        self.p.fattach(fd, name).map_err(|r| e("fattach", r))?;
        let opened = self.p.open(name, oflag::O_RDWR | oflag::O_NONBLOCK);
        self.p.fdetach(name).map_err(|r| e("fdetach", r))?;
        match opened {
            Ok(new) => {
                self.p
                    .close(fd)
                    .map_err(|r| e("close of a named stream", r))?;
                self.ends[i].fd = new;
                Ok(())
            }
            Err(r) => self.hung_up(i, "open of a named stream", r),
        }
    }

    /// A message that is no data stands first: a passed file, if some was sent here.
    fn file(&mut self, i: usize) -> Result<(), String> {
        match self.p.ioctl(self.ends[i].fd, Ioctl::RecvFd) {
            Ok(r) => {
                let Some(got) = r.received() else {
                    return Err("I_RECVFD without a file".to_owned());
                };
                if self.ends[i].files == 0 {
                    return Err("a file that nobody sent".to_owned());
                }
                self.ends[i].files -= 1;
                self.p
                    .close(got.fd)
                    .map_err(|r| e("close of a passed file", r))
            }
            Err(Errno::EBADMSG) => Ok(()), // a high-priority message
            Err(r) => Err(e("I_RECVFD", r)),
        }
    }

    /// Errors that only an end may give whose peer is gone (or a signal, once asked for).
    fn hung_up(&self, i: usize, what: &str, r: Errno) -> Result<(), String> {
        let peer = &self.ends[self.ends[i].peer];
        match r {
            Errno::ENXIO | Errno::EPIPE | Errno::EIO if !peer.open => Ok(()),
            Errno::ENOSR | Errno::EAGAIN if self.starving => Ok(()),
            r => Err(e(what, r)),
        }
    }

    fn message(&self, i: usize, band: u8) -> [u8; SIZE] {
        let mut d = [0; SIZE];
        d[0] = i as u8;
        d[1] = band;
        d[4..8].copy_from_slice(&self.ends[i].sent.to_ne_bytes());
        d
    }

    fn sent(&mut self, i: usize, r: Result<(), Errno>) -> Result<(), String> {
        match r {
            Ok(()) => self.ends[i].sent += 1,
            Err(Errno::EAGAIN) => {}
            Err(r) => {
                self.p.take_signals(); // SIGPIPE
                self.hung_up(i, "a write", r)?;
            }
        }
        Ok(())
    }

    /// A message was read at `i`: the right one of its band?
    fn arrived(&mut self, i: usize, d: &[u8], band: Option<u8>) -> Result<(), String> {
        let peer = self.ends[i].peer;
        let [from, sent_band, _, _, n0, n1, n2, n3, ..] = *d else {
            return Err(format!("{} bytes of a message", d.len()));
        };
        let n = u32::from_ne_bytes([n0, n1, n2, n3]);
        if d.len() != SIZE || usize::from(from) != peer {
            return Err(format!("a message of end {from} at {i}: {} bytes", d.len()));
        }
        if band.is_some_and(|b| b != sent_band) {
            return Err(format!("sent in band {sent_band}, read in {band:?}"));
        }
        if n >= self.ends[peer].sent {
            return Err("a message that nobody sent".to_owned());
        }
        let me = &mut self.ends[i];
        let next = me.next.entry(sent_band).or_default();
        if n < *next {
            return Err(format!(
                "number {n} of band {sent_band} after {}",
                *next - 1
            ));
        }
        *next = n + 1;
        me.read += 1;
        Ok(())
    }

    /// Reads a message, if there is one.
    fn get(&mut self, i: usize) -> Result<bool, String> {
        match self.p.getpmsg(self.ends[i].fd, 64, 64, Which::Any) {
            Ok(Got { hipri: true, .. }) => Ok(true),
            Ok(Got {
                data: Some(d),
                band,
                ..
            }) if !d.is_empty() => self.arrived(i, &d, Some(band)).map(|()| true),
            Ok(_) | Err(Errno::EAGAIN) => Ok(false),
            Err(Errno::EBADMSG) => self.file(i).map(|()| true),
            Err(r) => self.hung_up(i, "getpmsg", r).map(|()| false),
        }
    }

    /// poll(2) says that there is something to read exactly if there is.
    fn poll(&mut self, i: usize) -> Result<(), String> {
        let events = POLLIN | POLLRDNORM | POLLRDBAND | POLLPRI;
        let mut fds = [PollFd {
            fd: self.ends[i].fd,
            events,
            revents: 0,
        }];
        let none = Some(Duration::ZERO);
        self.p.poll(&mut fds, none).map_err(|r| e("poll", r))?;
        let said = fds[0].revents & events != 0;
        let peek = Ioctl::Nread;
        if let Ok(r) = self.p.ioctl(self.ends[i].fd, peek)
            && (r.rval > 0) != said
            && fds[0].revents & POLLHUP == 0
        // then a read says so at once
        {
            return Err(format!("poll: {:#x}, I_NREAD: {}", fds[0].revents, r.rval));
        }
        Ok(())
    }

    /// A linked stream is nobody's to read (invariant 8).
    fn lower(&mut self, n: usize) -> Result<(), String> {
        let Some(&fd) = self.lowers.get(n % self.lowers.len().max(1)) else {
            return Ok(());
        };
        let mut fds = [PollFd {
            fd,
            events: POLLIN,
            revents: 0,
        }];
        let none = Some(Duration::ZERO);
        self.p.poll(&mut fds, none).map_err(|r| e("poll", r))?;
        let linked = self
            .k
            .stacks()
            .iter()
            .filter(|s| s.linked_under.is_some())
            .count();
        if linked == self.lowers.len() {
            if fds[0].revents & POLLNVAL == 0 {
                return Err("poll of a linked stream".to_owned());
            }
            if self.p.read(fd, 1) != Err(Errno::EINVAL) {
                return Err("read of a linked stream".to_owned());
            }
        }
        Ok(())
    }

    /// Reads all that is left, then looks at the account.
    pub fn finish(mut self) -> Result<(), String> {
        self.feed();
        let mut quiet = 0;
        while quiet < 3 {
            let mut any = false;
            for i in 0..self.ends.len() {
                while self.ends[i].open && self.get(i)? {
                    any = true;
                }
            }
            self.k.advance(Duration::from_millis(10));
            quiet = if any { 0 } else { quiet + 1 };
        }
        for (i, end) in self.ends.iter().enumerate() {
            let sent = self.ends[end.peer].sent;
            if !end.lossy && end.read != sent {
                return Err(format!("end {i}: {} of {sent} messages arrived", end.read));
            }
        }
        match self.k.broken_invariants().first() {
            None => Ok(()),
            Some(w) => Err(w.clone()),
        }
    }
}
