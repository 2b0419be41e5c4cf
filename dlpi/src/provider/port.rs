//! The links of a device name, and the streams attached to each.
//!
//! ```text
//!   Links ─┬─ port 0: ppa 0 ─ link ─┬─ user: filter, fast, raw, notes   (stream a)
//!          │                        └─ user: ..                         (stream b)
//!          └─ port 1: ppa 7 ─ link ─── user
//!   the link's doorbell is the first user's; when it detaches, the next one's
//! ```
//!
//! Spec: dlpi(7P) DL_ATTACH_REQ, DL_DETACH_REQ.
//! Kept: initialised at the first attach, stopped at the last detach; what a stream asked
//! of the link (groups, promiscuity) ends with its attachment.

use std::io;
use std::time::Duration;

use streams::prelude::*;
use streams::{Doorbell, Watch};

use super::llc::Mode;
use super::stats::Statistics;
use super::{Dlpi, TICK};
use crate::addr::{ETHER_HDR, Mac};
use crate::filter::Filter;
use crate::link::{Factory, Link, Medium};
use crate::prim::{DL_PROMISC_PHYS, DlErrno, DlError};

/// The links of one device name: what all its streams share.
pub struct Links {
    make: Factory,
    style1: Option<u32>,
    ports: Vec<Option<Port>>,
    /// Where frames in several blocks are joined, and those too long for a pooled block
    /// are read.
    pub(super) scratch: Vec<u8>,
}

impl Links {
    /// Links made by `make` at the first attach of a PPA.
    pub fn new(make: Factory) -> Links {
        Links {
            make,
            style1: None,
            ports: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Style 1: each open is attached to this PPA.
    pub fn style1_of(mut self, ppa: u32) -> Links {
        self.style1 = Some(ppa);
        self
    }

    pub(super) fn style1(&self) -> Option<u32> {
        self.style1
    }

    #[inline]
    pub(super) fn port(&mut self, at: usize) -> Option<&mut Port> {
        self.ports.get_mut(at)?.as_mut()
    }

    /// Every port in use.
    pub(super) fn all(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// The port and the scratch buffer at once.
    #[inline]
    pub(super) fn port_and_scratch(&mut self, at: usize) -> Option<(&mut Port, &mut Vec<u8>)> {
        Some((self.ports.get_mut(at)?.as_mut()?, &mut self.scratch))
    }
}

impl Default for Links {
    /// No PPA has a link.
    fn default() -> Links {
        Links::new(Box::new(|_| Err(io::ErrorKind::NotFound.into())))
    }
}

/// A link and who uses it.
pub(super) struct Port {
    pub ppa: u32,
    /// When it was attached first.
    pub born: Duration,
    pub link: Box<dyn Link>,
    pub medium: Medium,
    /// The address that it was made with.
    pub factory: Medium,
    /// Largest frame, with the header.
    pub max_frame: usize,
    pub timed: bool,
    pub patient: bool,
    /// It has to be asked for events.
    pub polled: bool,
    pub users: Vec<User>,
    /// Streams that see every frame: those sent too.
    pub snoopers: usize,
    pub stats: Statistics,
    pub up: bool,
    /// When the link was last asked for events.
    pub asked: Option<Duration>,
    /// Whose doorbell the link rings.
    bell: Option<(QRef, Doorbell)>,
    watch: Option<Watch>,
    /// When the next TICK comes.
    tick_at: Option<Duration>,
}

/// A stream on a link, with what a frame is matched against.
pub(super) struct User {
    /// Its read queue.
    pub q: QRef,
    pub filter: Filter,
    pub bound: bool,
    pub fast: bool,
    pub raw: bool,
    /// Its SAP is an LSAP.
    pub llc: Option<Mode>,
    /// DL_NOTE_* bits that it asked for.
    pub notes: u32,
}

impl Port {
    fn new(ppa: u32, link: Box<dyn Link>, born: Duration) -> Port {
        let mut port = Port {
            ppa,
            born,
            medium: link.medium(),
            factory: link.medium(),
            max_frame: 0,
            timed: link.timed(),
            patient: link.patient(),
            polled: link.polled(),
            link,
            users: Vec::new(),
            snoopers: 0,
            stats: Statistics::default(),
            up: true,
            asked: None,
            bell: None,
            watch: None,
            tick_at: None,
        };
        port.measure();
        port
    }

    /// Takes over the link's MTU.
    pub fn measure(&mut self) {
        self.max_frame = self.mtu() + self.header();
    }
    pub fn mtu(&self) -> usize {
        self.link.mtu() as usize
    }
    /// Bytes of the link's header.
    pub fn header(&self) -> usize {
        match self.medium {
            Medium::Ether(_) => ETHER_HDR,
            Medium::PointToPoint => 0,
        }
    }
    /// Counts whom a frame was sent to.
    #[inline]
    pub fn count_sent(&mut self, frame: &[u8]) {
        if let Medium::Ether(_) = self.medium {
            self.stats.sent(frame.first_chunk());
        }
    }
    /// What went over it, with what the link lost by itself.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            norcvbuf: self.link.lost(),
            ..self.stats
        }
    }
    /// Asks for an interrupt.
    pub fn ring(&self) {
        if let Some((_, bell)) = &self.bell {
            bell.ring();
        }
    }
    /// The watch ends: the link is broken.
    pub fn unwatch(&mut self) {
        self.watch = None;
    }
    /// Does any other stream than `q` have this group?
    pub fn has_group(&self, group: &Mac, but: QRef) -> bool {
        self.users
            .iter()
            .any(|u| u.q != but && u.filter.groups().contains(group))
    }
}

/// A UNIX error of Solaris for one of the host.
pub(super) fn errno_of(e: &io::Error) -> Errno {
    use io::ErrorKind::*;
    match e.kind() {
        NotFound => Errno::ENXIO,
        PermissionDenied => Errno::EACCES,
        ResourceBusy | AddrInUse => Errno::EBUSY,
        InvalidInput | InvalidData => Errno::EINVAL,
        NetworkDown | NotConnected => Errno::ENETDOWN,
        OutOfMemory => Errno::ENOMEM,
        Unsupported => Errno::EOPNOTSUPP,
        _ => Errno::EIO,
    }
}

/// DL_ATTACH_REQ: makes the link if it is not there, and adds the stream.
pub(super) fn attach(q: &mut Queue<'_, Dlpi>, ppa: u32, raw: bool) -> Result<usize, DlError> {
    let me = q.rd().qref();
    let now = q.now();
    let links = q.shared();
    let known = links
        .ports
        .iter()
        .position(|p| p.as_ref().is_some_and(|p| p.ppa == ppa));
    let at = match known {
        Some(at) => at,
        None => {
            let link = (links.make)(ppa).map_err(|e| {
                let errno = match e.kind() {
                    io::ErrorKind::NotFound => DlErrno::BADPPA,
                    io::ErrorKind::PermissionDenied => DlErrno::ACCESS,
                    io::ErrorKind::NotConnected => DlErrno::NOTINIT,
                    _ => DlErrno::INITFAILED,
                };
                DlError::from(errno).with_unix(errno_of(&e) as i32)
            })?;
            let free = links.ports.iter().position(Option::is_none);
            let at = free.unwrap_or(links.ports.len());
            if at == links.ports.len() {
                links.ports.push(None);
            }
            links.ports[at] = Some(Port::new(ppa, link, now));
            at
        }
    };
    if let Some(p) = links.port(at) {
        let filter = Filter::default();
        p.users.push(User {
            q: me,
            filter,
            bound: false,
            fast: false,
            raw,
            llc: None,
            notes: 0,
        });
        if p.bell.is_none() {
            take_bell(&mut q.rd(), at);
        }
    }
    Ok(at)
}

/// Makes the link ring the doorbell of this read queue.
fn take_bell(q: &mut Queue<'_, Dlpi>, at: usize) {
    let (me, bell) = (q.qref(), q.doorbell());
    let Some(p) = q.shared().port(at) else { return };
    p.bell = Some((me, bell.clone()));
    p.tick_at = None;
    p.link.attach(bell.clone());
    // The clone is the same open file; the watch keeps it.
    let fd = p.link.fd().and_then(|f| f.try_clone_to_owned().ok());
    let watch = fd.and_then(|fd| q.watch_owned(fd).ok());
    if let Some(p) = q.shared().port(at) {
        p.watch = watch;
    }
    bell.ring(); // what is there already rings nobody
}

/// DL_DETACH_REQ, or the close.
pub(super) fn detach(q: &mut Queue<'_, Dlpi>, at: usize) {
    let me = q.rd().qref();
    let links = q.shared();
    let Some(p) = links.port(at) else { return };
    let Some(i) = p.users.iter().position(|u| u.q == me) else {
        return;
    };
    let gone = p.users.swap_remove(i);
    let _ = p.link.flush(); // what it can't write now it can't write later
    if p.users.is_empty() {
        links.ports[at] = None;
        return;
    }
    for g in gone.filter.groups() {
        if !p.has_group(g, me) {
            let _ = p.link.multicast(g, false); // it was on; the link may refuse to hear less
        }
    }
    if gone.filter.has(DL_PROMISC_PHYS) {
        p.snoopers -= 1;
        if p.snoopers == 0 {
            let _ = p.link.promiscuous(false); // as above
        }
    }
    if p.bell.as_ref().is_some_and(|(owner, _)| *owner == me) {
        (p.bell, p.watch) = (None, None);
        let heir = p.users[0].q;
        if let Some(mut q) = q.at(heir) {
            take_bell(&mut q, at);
        }
    }
}

/// The entry of this stream at its link.
pub(super) fn with_user<T>(q: &mut Queue<'_, Dlpi>, f: impl FnOnce(&mut User) -> T) -> Option<T> {
    let me = q.rd().qref();
    let (d, links) = q.both();
    let port = links.port(d.port?)?;
    port.users.iter_mut().find(|u| u.q == me).map(f)
}

/// Tells a link that looks at the time what time it is, and comes back when it wants.
pub(super) fn tick(q: &mut Queue<'_, Dlpi>, at: usize) {
    let now = q.now();
    let Some(p) = q.shared().port(at) else { return };
    let Some(due) = p.link.tick(now) else { return };
    if p.tick_at.is_some_and(|t| t <= due && t > now) {
        return;
    }
    let owner = p.bell.as_ref().map(|(owner, _)| *owner);
    p.tick_at = Some(due);
    if let Some(mut owner) = owner.and_then(|o| q.at(o)) {
        owner.qtimeout(due.saturating_sub(now), TICK);
    }
}

/// The timeout that [`tick`] set has come.
pub(super) fn tick_came(q: &mut Queue<'_, Dlpi>) {
    let now = q.now();
    let Some(at) = q.try_ptr().and_then(|d| d.port) else {
        return;
    };
    if let Some(p) = q.shared().port(at)
        && p.tick_at.is_some_and(|t| t <= now)
    {
        p.tick_at = None;
    }
}
