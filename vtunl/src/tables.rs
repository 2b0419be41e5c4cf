//! The tables for who changes them: the commands, the policy, the counters.
//!
//! ```text
//!   ioctl ──► Tables::command ──► encap_table ── texit_table ──┐
//!             (by number)         decap_table    event list    ├──► view.rs: what datagrams
//!                                 policy, stats ───────────────┘             look at
//! ```
//!
//! The commands of Table 3 and the extensions are functions of the tables, the argument's
//! bytes and the time: what a stream adds to them is in `control.rs`.
//!
//! Spec: the paper, section 3, Table 3; the decisions, "Behaviour".
//! Kept: a command that fails has changed nothing.
//! Kept: what a command has done holds for the first datagram after it.
//! Differs: a dump is limited to the 64 KiB of an I_STR; the extended ones take the number
//! of entries to skip in the buffer's first word, and so give a large table in pieces.
//! Kept short: no command and no expiry takes longer because the tables are large, as
//! other commands wait for it.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use streams::Errno;

use crate::addr_map::Replaced;
use crate::bury::bury;
use crate::decap_table::{DECAP_IF_EITHER, DecapTable};
use crate::encap::Policy;
use crate::encap_table::{DEFAULT_ADDR, DEFAULT_KEY, ENCAP_G, ENCAP_M, EncapTable, Target};
use crate::ioctl::*;
use crate::lifetime::{Binding, EventList, Notice};
use crate::prefix_map::Key;
use crate::texit_table::{ExitId, ExitTable, GreOptions, PMTU_FLOOR, TExit};
use crate::view::{Feed, Passed, Reader, View};
use crate::why::Stats;

/// The tables.
#[derive(Debug)]
pub struct Tables {
    /// Targets.
    pub encap: EncapTable,
    /// Exits.
    pub exits: ExitTable,
    /// Who is decapsulated.
    pub decap: DecapTable,
    /// Bindings that end.
    pub lifetimes: EventList,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Notifications made.
    pub notices: u32,
    /// Bindings have ended that are still in the table.
    pub overdue: bool,
    policy: Policy,
    debug: u8,
    /// Policy or debug level are others than those shown.
    changed: bool,
    feed: Arc<Feed>,
    readers: Vec<Passed>,
    /// What datagrams may still look at, and the version that they have to pass.
    old: VecDeque<(u64, Old)>,
}

/// What is no longer to be looked at.
#[derive(Debug)]
enum Old {
    /// The exit with this number.
    Exit(ExitId),
    /// The set of exits with this number.
    Set(u32),
    /// A part of the targets, by prefix length, in which something may still be counted.
    Targets(u8, Replaced<Target>),
    /// Memory, of so many entries.
    Memory(Box<dyn Any + Send>, usize),
}

/// Bindings that are taken out at once when their lifetime ends; a datagram may come in
/// before the next ones.
pub const EXPIRE_MOST: usize = 32;

/// Things that may be old before readers without a datagram are asked to pass them.
const LAG: usize = 64;

/// Entries in one piece of a dump, of as many as fit the buffer.
pub const PIECE: usize = 128;

/// Bytes of a name in VTUNL_STATS.
pub const STAT_NAME: usize = 48;

impl Default for Tables {
    fn default() -> Tables {
        let (encap, exits, decap) = <(EncapTable, ExitTable, DecapTable)>::default();
        let (policy, stats) = (Policy::default(), Arc::<Stats>::default());
        let view = View::of(&encap, &exits, &decap, policy, 0, &stats);
        Tables {
            encap,
            exits,
            decap,
            lifetimes: EventList::default(),
            stats,
            notices: 0,
            overdue: false,
            policy,
            debug: 0,
            changed: false,
            feed: Arc::new(Feed::new(view)),
            readers: Vec::new(),
            old: VecDeque::new(),
        }
    }
}

impl Tables {
    // ---- what datagrams look at ----

    /// Where datagrams look.
    pub fn feed(&self) -> Arc<Feed> {
        self.feed.clone()
    }

    /// A reader that looks for datagrams from now on.
    pub fn reader(&mut self) -> Reader {
        let passed = Passed::default();
        self.add_reader(passed.clone());
        Reader::new(self.feed(), passed)
    }

    /// One more reader, to be waited for with what is old.
    pub fn add_reader(&mut self, passed: Passed) {
        self.readers.push(passed);
    }

    /// A reader that looks no more.
    pub fn remove_reader(&mut self, passed: &Passed) {
        self.readers.retain(|r| !Arc::ptr_eq(r, passed));
    }

    /// Is there so much that is old that readers without a datagram should pass it?
    pub fn is_lagging(&self) -> bool {
        let large = |(_, old): &(u64, Old)| matches!(old, Old::Memory(_, entries) if *entries > 0);
        self.old.len() > LAG || self.old.iter().any(large)
    }

    /// Shows what has changed, and keeps what is old from now on.
    fn publish(&mut self) {
        let changed = std::mem::take(&mut self.changed)
            | self.encap.take_changed()
            | self.exits.take_changed()
            | self.decap.take_changed();
        let mut old: Vec<Old> = Vec::new();
        old.extend(self.exits.take_freed().into_iter().map(Old::Exit));
        old.extend(self.encap.take_freed().into_iter().map(Old::Set));
        if changed {
            let targets = self.encap.take_replaced().into_iter();
            old.extend(targets.map(|(len, r)| Old::Targets(len, r)));
            let exits = self.exits.take_replaced();
            let decap = self.decap.take_replaced();
            old.push(Old::Memory(Box::new((exits, decap)), 0));
        }
        self.retire(changed, old);
    }

    fn retire(&mut self, changed: bool, old: Vec<Old>) {
        self.stats.targets.set(self.encap.len() as u64);
        self.stats.exits.set(self.exits.len() as u64);
        self.stats.decapsulated_from.set(self.decap.len() as u64);
        if changed || !old.is_empty() {
            let (encap, exits, decap) = (&self.encap, &self.exits, &self.decap);
            let view = || View::of(encap, exits, decap, self.policy, self.debug, &self.stats);
            let view = changed.then(view);
            let (version, before) = self.feed.publish(view);
            let before = before.map(|view| Old::Memory(Box::new(view), 0));
            self.old
                .extend(old.into_iter().chain(before).map(|o| (version, o)));
        }
    }

    /// Frees what every reader has passed; each command does so first. Whoever became a
    /// reader before the last command has been added.
    pub fn reclaim(&mut self) {
        if self.old.is_empty() {
            return;
        }
        let passed = self.readers.iter().map(|r| r.load(Ordering::Acquire)).min();
        let passed = passed.unwrap_or(u64::MAX);
        while let Some((_, old)) = self.old.pop_front_if(|(version, _)| *version <= passed) {
            match old {
                Old::Exit(id) => self.exits.give_back(id),
                Old::Set(id) => self.encap.give_back(id),
                Old::Targets(len, r) => self.encap.settle(len, &r),
                Old::Memory(memory, entries) => bury(memory, entries),
            }
        }
    }

    /// Sees to it that numbers for one more exit and set are shown before they are used.
    fn make_room(&mut self) {
        self.exits.make_room();
        self.encap.make_room();
        if self.exits.take_changed() | self.encap.take_changed() {
            self.changed = true;
            self.publish();
        }
    }

    /// The debug level, 0 to 3.
    pub fn debug(&self) -> u8 {
        self.debug
    }

    // ---- commands ----

    /// Does a global command; the answer is the argument that goes back to the user.
    ///
    /// # Errors
    /// EINVAL for what no command is, or a wrong length or value; else as the command.
    pub fn command(&mut self, cmd: i32, arg: &[u8], now: Duration) -> Result<Vec<u8>, Errno> {
        let row = row(cmd).filter(|r| !r.instance).ok_or(Errno::EINVAL)?;
        if !row.arg.takes(arg.len()) {
            return Err(Errno::EINVAL);
        }
        self.reclaim();
        if cmd == VTUNL_ENCAP_ADD {
            self.make_room();
        }
        if row.arg == Arg::Buffer {
            self.tidy();
        }
        let answer = self.run(cmd, arg, now);
        self.publish();
        answer
    }

    /// Puts all in order that is about to be dumped.
    fn tidy(&mut self) {
        self.encap.tidy();
        self.exits.tidy();
        self.decap.tidy();
    }

    fn run(&mut self, cmd: i32, arg: &[u8], now: Duration) -> Result<Vec<u8>, Errno> {
        match cmd {
            VTUNL_ENCAP_ADD => self.encap_add(&Req::parse(arg)?, now).map(|()| vec![]),
            VTUNL_ENCAP_REM => self.encap_rem(&Req::parse(arg)?).map(|()| vec![]),
            VTUNL_ENCAP_OK => {
                let q = Req::parse(arg)?;
                let hit = self.encap.lookup(q.target_addr).ok_or(Errno::ENXIO)?;
                debug_assert!(self.encap.count(hit) > 0, "a target without exits");
                Ok(vec![])
            }
            VTUNL_ENCAP_SIZE => Ok(int(self.encap_size())),
            VTUNL_ENCAP_GET => self.encap_get(arg.len(), now),
            VTUNL_DECAP_ADD => self.decap_add(&Req::parse(arg)?).map(|()| vec![]),
            VTUNL_DECAP_REM => self.decap_rem(&Req::parse(arg)?).map(|()| vec![]),
            VTUNL_DECAP_OK => {
                let q = Req::parse(arg)?;
                self.decap
                    .flags(q.target_addr)
                    .ok_or(Errno::ENXIO)
                    .map(|_| vec![])
            }
            VTUNL_DECAP_SIZE => Ok(int(self.decap_size())),
            VTUNL_DECAP_GET => self.decap_get(arg.len()),
            VTUNL_DEBUG_SET => match Reader(arg).u32()? {
                n @ 0..=3 => {
                    self.debug = n as u8;
                    self.changed = true;
                    Ok(vec![])
                }
                _ => Err(Errno::EINVAL),
            },
            VTUNL_DEBUG_GET => Ok(int(self.debug.into())),
            VTUNL_MAXPMTU_SET => {
                let q = Req::parse(arg)?;
                if q.mtu_bound < PMTU_FLOOR {
                    return Err(Errno::EINVAL);
                }
                let x = self.exits.get(q.address).ok_or(Errno::ENXIO)?;
                x.set_bound(q.mtu_bound);
                Ok(vec![])
            }
            VTUNL_MAXPMTU_GET => {
                let mut q = Req::parse(arg)?;
                let x = self.exits.get(q.address).ok_or(Errno::ENXIO)?;
                q.mtu_bound = x.path().maxpmtu;
                Ok(q.emit()[..arg.len()].to_vec())
            }
            VTUNL_STATS => stats_reply(arg, self.stats.rows()),
            VTUNL_ENCAP_GETX => self.encap_getx(arg, now),
            VTUNL_EXIT_GETX => self.exit_getx(arg, now),
            VTUNL_DECAP_GETX => self.decap_getx(arg),
            VTUNL_POLICY_SET => self.policy_set(arg).map(|()| vec![]),
            VTUNL_POLICY_GET => {
                let p = &self.policy;
                Ok(p.emit().to_vec())
            }
            VTUNL_EXIT_SET => self.exit_set(&ExitReq::parse(arg)?).map(|()| vec![]),
            VTUNL_SOURCE_ADD => {
                let q = Req::parse(arg)?;
                unicast(q.address)?;
                self.decap.add_source(Key::masked(q.address, q.addr_mask)?);
                Ok(vec![])
            }
            VTUNL_SOURCE_REM => {
                let q = Req::parse(arg)?;
                self.decap
                    .remove_source(Key::masked(q.address, q.addr_mask)?)
                    .map(|()| vec![])
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn encap_add(&mut self, q: &Req, now: Duration) -> Result<(), Errno> {
        let key = q.target()?;
        legal_target(key)?;
        unicast(q.t_exit_addr)?;
        // The decisions, M and G: one encapsulation or the other.
        if q.encap_flags & ENCAP_M != 0 && q.encap_flags & ENCAP_G != 0 {
            return Err(Errno::EINVAL);
        }
        let gone = self
            .encap
            .add(&mut self.exits, key, q.t_exit_addr, q.encap_flags)?;
        for exit in gone {
            self.lifetimes.set(Binding { key, exit }, None);
        }
        let end = (q.lifetime != 0).then(|| now + Duration::from_secs(q.lifetime.into()));
        self.lifetimes.set(
            Binding {
                key,
                exit: q.t_exit_addr,
            },
            end,
        );
        Ok(())
    }

    fn encap_rem(&mut self, q: &Req) -> Result<(), Errno> {
        // The paper, Table 3: "If vr_target_addr is 0, cancel all encapsulation services".
        if q.target_addr == 0 && q.target_mask == 0 {
            self.encap_clear();
            return Ok(());
        }
        let key = q.target()?;
        if q.t_exit_addr != 0 {
            self.encap
                .remove_exit(&mut self.exits, key, q.t_exit_addr)?;
            self.lifetimes.set(
                Binding {
                    key,
                    exit: q.t_exit_addr,
                },
                None,
            );
            return Ok(());
        }
        for exit in self.encap.remove(&mut self.exits, key)? {
            self.lifetimes.set(Binding { key, exit }, None);
        }
        Ok(())
    }

    /// All at once: datagrams see the old tables or the new ones, which are empty.
    fn encap_clear(&mut self) {
        let entries = self.encap.len().max(self.exits.len());
        let tables = (
            std::mem::take(&mut self.encap),
            std::mem::take(&mut self.exits),
            std::mem::take(&mut self.lifetimes),
        );
        // Numbers that are old belonged to the old tables.
        self.old.retain(|(_, o)| matches!(o, Old::Memory(..)));
        self.make_room();
        self.retire(true, vec![Old::Memory(Box::new(tables), entries)]);
    }

    fn decap_add(&mut self, q: &Req) -> Result<(), Errno> {
        // The paper, Table 3: "A zero target enables decapsulation of ALL datagrams."
        if q.target_addr == 0 && q.target_mask == 0 {
            if q.decap_flags & !DECAP_IF_EITHER != 0 {
                return Err(Errno::EINVAL);
            }
            self.decap.set_all(true);
            return Ok(());
        }
        self.decap.add(q.target()?, q.decap_flags)
    }

    fn decap_rem(&mut self, q: &Req) -> Result<(), Errno> {
        if q.target_addr == 0 && q.target_mask == 0 {
            self.decap.set_all(false);
            return Ok(());
        }
        self.decap.remove(q.target()?)
    }

    /// Takes out bindings whose lifetime has ended, and says so to who wants to know: at most
    /// [`EXPIRE_MOST`]. [`Tables::overdue`]: there are more.
    pub fn expire(&mut self, now: Duration) -> Option<Notice> {
        self.reclaim();
        let due = std::iter::from_fn(|| self.lifetimes.pop_due(now));
        let due: Vec<Binding> = due.take(EXPIRE_MOST).collect();
        self.overdue = self.lifetimes.next().is_some_and(|next| next <= now);
        self.end(due)
    }

    /// The same for one target, before something is said or done about it.
    pub fn expire_of(&mut self, key: Key, now: Duration) -> Option<Notice> {
        if !self.overdue {
            return None;
        }
        let hit = self.encap.get(key)?;
        let exits = self
            .encap
            .exits(hit)
            .filter_map(|(id, _)| self.exits.at(id));
        let bindings = exits.map(|x| Binding {
            key,
            exit: x.addr(),
        });
        let due = self.lifetimes.take_due(bindings.collect(), now);
        self.end(due)
    }

    fn end(&mut self, due: Vec<Binding>) -> Option<Notice> {
        let mut expired = due;
        expired.retain(|b| {
            let gone = self.encap.remove_exit(&mut self.exits, b.key, b.exit);
            gone.is_ok()
        });
        self.publish();
        if expired.is_empty() {
            return None;
        }
        self.stats.expired.add(expired.len() as u64);
        self.notices = self.notices.wrapping_add(1);
        Some(Notice {
            number: self.notices,
            expired,
        })
    }

    fn encap_size(&self) -> u32 {
        let targets = 8 * self.encap.len() + 4 * self.encap.bindings();
        (8 + targets + 4 + 10 * self.exits.len()) as u32
    }

    /// The paper's buffer, field by field.
    fn encap_get(&mut self, room: usize, now: Duration) -> Result<Vec<u8>, Errno> {
        let size = self.encap_size() as usize;
        if room < size {
            return Err(Errno::ENOSPC);
        }
        let mut w = Writer::new(size);
        w.u32(size as u32).u32(self.encap.len() as u32);
        for (key, hit) in self.encap.iter() {
            w.addr(key.addr).u32(self.encap.count(hit) as u32);
            for (id, _) in self.encap.exits(hit) {
                w.addr(self.exits.at(id).map_or(0, TExit::addr));
            }
        }
        w.u32(self.exits.len() as u32);
        for (_, x) in self.exits.iter() {
            x.age(now);
            let p = x.path();
            w.addr(x.addr()).u16(p.pmtu).u16(p.maxpmtu).u16(p.state);
        }
        debug_assert_eq!(w.0.len(), size);
        Ok(w.0)
    }

    fn decap_size(&self) -> u32 {
        (12 + 6 * self.decap.len()) as u32
    }

    fn decap_get(&self, room: usize) -> Result<Vec<u8>, Errno> {
        let size = self.decap_size() as usize;
        if room < size {
            return Err(Errno::ENOSPC);
        }
        let mut w = Writer::new(size);
        w.u32(size as u32)
            .u32(self.decap.all().into())
            .u32(self.decap.len() as u32);
        for (key, flags) in self.decap.iter() {
            w.addr(key.addr).u16(flags);
        }
        Ok(w.0)
    }

    fn encap_getx(&mut self, arg: &[u8], now: Duration) -> Result<Vec<u8>, Errno> {
        let page: Vec<_> = self.encap.iter_from(skip(arg)?).take(PIECE).collect();
        let entry = |(key, hit)| {
            let replaced = self.old.iter().filter_map(|(_, old)| match old {
                Old::Targets(len, r) => Some((*len, r)),
                _ => None,
            });
            let (datagrams, octets) = self.encap.counts(key, replaced);
            let count = self.encap.count(hit);
            let mut w = Writer::new(28 + 12 * count);
            w.addr(key.addr)
                .addr(key.mask())
                .u32(count as u32)
                .u64(datagrams)
                .u64(octets);
            for (id, flags) in self.encap.exits(hit) {
                let exit = self.exits.at(id).map_or(0, TExit::addr);
                let left = self.lifetimes.remaining(Binding { key, exit }, now);
                w.addr(exit).u16(flags).u16(0).u32(left);
            }
            w.0
        };
        paged(arg, page.into_iter().map(entry), &[])
    }

    fn exit_getx(&self, arg: &[u8], now: Duration) -> Result<Vec<u8>, Errno> {
        let exits = self.exits.iter_from(skip(arg)?).take(PIECE);
        let entry = |(id, x): (ExitId, &TExit)| {
            x.age(now);
            let p = x.path();
            let (flags, key) = gre_flags(x);
            let mut w = Writer::new(40);
            w.addr(x.addr())
                .u32(self.exits.refs(id))
                .u16(p.pmtu)
                .u16(p.maxpmtu)
                .u16(p.state);
            w.bytes(&[p.ttl, 0])
                .u64(x.datagrams.get())
                .u64(x.octets.get())
                .u32(flags)
                .u32(key);
            w.0
        };
        paged(arg, exits.map(entry), &[])
    }

    fn decap_getx(&self, arg: &[u8]) -> Result<Vec<u8>, Errno> {
        let sources = self.decap.source_count();
        if 8 * sources > arg.len() {
            return Err(Errno::ENOSPC);
        }
        let mut tail = Writer::new(4 + 8 * sources);
        tail.u32(sources as u32);
        for k in self.decap.sources() {
            tail.addr(k.addr).addr(k.mask());
        }
        let mut out = paged(
            arg,
            self.decap.iter_from(skip(arg)?).map(|(key, flags)| {
                let mut w = Writer::new(12);
                w.addr(key.addr).addr(key.mask()).u32(flags.into());
                w.0
            }),
            &tail.0,
        )?;
        // vtunldecapall stands between the size and the number of targets.
        out.splice(4..4, u32::from(self.decap.all()).to_ne_bytes());
        let size = out.len() as u32;
        out[..4].copy_from_slice(&size.to_ne_bytes());
        if out.len() > arg.len() {
            return Err(Errno::ENOSPC);
        }
        Ok(out)
    }

    fn policy_set(&mut self, arg: &[u8]) -> Result<(), Errno> {
        self.policy = Policy::parse(arg).ok_or(Errno::EINVAL)?;
        self.changed = true;
        Ok(())
    }

    fn exit_set(&mut self, q: &ExitReq) -> Result<(), Errno> {
        if q.flags & !(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE) != 0 {
            return Err(Errno::EINVAL);
        }
        let x = self.exits.get(q.addr).ok_or(Errno::ENXIO)?;
        let has = |bit| q.flags & bit != 0;
        x.set_ttl(q.ttl);
        x.set_gre(GreOptions {
            checksum: has(GRE_CHECKSUM),
            key: has(GRE_KEY).then_some(q.key),
            sequence: has(GRE_SEQUENCE),
        });
        Ok(())
    }
}

/// What VTUNL_STATS and VTUNL_INST_STATS give: a name and a value a row.
pub(crate) fn stats_reply(arg: &[u8], rows: Vec<(&'static str, u64)>) -> Result<Vec<u8>, Errno> {
    let rows = rows.into_iter().map(|(name, value)| {
        let mut w = Writer::new(STAT_NAME + 8);
        let mut field = [0; STAT_NAME];
        for (to, from) in field.iter_mut().zip(name.bytes().take(STAT_NAME - 1)) {
            *to = from;
        }
        w.bytes(&field).u64(value);
        w.0
    });
    paged(arg, rows.skip(skip(arg)?), &[])
}

fn gre_flags(x: &TExit) -> (u32, u32) {
    let Some(o) = x.gre() else {
        return (0, 0);
    };
    let bit = |has: bool, bit: u32| if has { bit } else { 0 };
    let flags = bit(o.checksum, GRE_CHECKSUM)
        | bit(o.key.is_some(), GRE_KEY)
        | bit(o.sequence, GRE_SEQUENCE);
    (flags, o.key.unwrap_or(0))
}

/// Entries of a dump to skip, as the buffer's first word says.
fn skip(arg: &[u8]) -> Result<usize, Errno> {
    Ok(Reader(arg).u32()? as usize)
}

/// Size, number of entries, entries: as many as fit and a [`PIECE`] at most. ENOSPC if not
/// even one fits where there is one.
fn paged(
    arg: &[u8],
    entries: impl Iterator<Item = Vec<u8>>,
    tail: &[u8],
) -> Result<Vec<u8>, Errno> {
    let mut w = Writer::new(arg.len().min(PIECE * 128));
    w.u32(0).u32(0);
    let mut count = 0u32;
    for e in entries.take(PIECE) {
        if w.0.len() + e.len() + tail.len() > arg.len() {
            if count == 0 {
                return Err(Errno::ENOSPC);
            }
            break;
        }
        w.bytes(&e);
        count += 1;
    }
    w.bytes(tail);
    if w.0.len() > arg.len() {
        return Err(Errno::ENOSPC);
    }
    let size = w.0.len() as u32;
    w.0[..4].copy_from_slice(&size.to_ne_bytes());
    w.0[4..8].copy_from_slice(&count.to_ne_bytes());
    Ok(w.0)
}

/// EINVAL unless datagrams can go to such a target: any unicast, multicast or broadcast
/// address, a prefix, or the default entry; 0 means something else.
fn legal_target(key: Key) -> Result<(), Errno> {
    let a = key.addr;
    let reserved = a >> 28 == 0xf && a != u32::MAX && a != DEFAULT_ADDR;
    let bad = key.len == 32 && (a == 0 || a >> 24 == 127 || reserved);
    if bad || (key.len < 32 && a == DEFAULT_KEY.addr) {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// EINVAL unless one host can have the address.
fn unicast(a: u32) -> Result<(), Errno> {
    let bad = a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 0xe;
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}

fn int(n: u32) -> Vec<u8> {
    n.to_ne_bytes().to_vec()
}

/// Puts fields at the end of a buffer.
struct Writer(Vec<u8>);

impl Writer {
    fn new(size: usize) -> Writer {
        Writer(Vec::with_capacity(size))
    }
    fn bytes(&mut self, b: &[u8]) -> &mut Writer {
        self.0.extend_from_slice(b);
        self
    }
    fn u16(&mut self, v: u16) -> &mut Writer {
        self.bytes(&v.to_ne_bytes())
    }
    fn u32(&mut self, v: u32) -> &mut Writer {
        self.bytes(&v.to_ne_bytes())
    }
    fn u64(&mut self, v: u64) -> &mut Writer {
        self.bytes(&v.to_ne_bytes())
    }
    fn addr(&mut self, v: u32) -> &mut Writer {
        self.bytes(&v.to_be_bytes())
    }
}

#[cfg(test)]
mod tests;
