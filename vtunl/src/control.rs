//! The tables in the hands of whoever has a command for them, and the event list's timer.
//!
//! ```text
//!   /dev/vtunl ──┐ waits its turn                     ┌──► news: notices, by doorbell
//!   /dev/vtunl ──┼─► [ lock │ tables.rs │ members ] ──┤
//!   vtunl ───────┘ comes again if it is taken         └──► view.rs: what datagrams look at
//!     │
//!     └─► mail: who has come, who has gone; read by whoever has the lock next
//! ```
//!
//! A control stream has a domain without datagrams, and may wait for the lock. A stream with
//! datagrams never does: that it comes and goes it says by mail, and what it has to ask it
//! asks again after others have had their turn.
//!
//! Spec: the paper, section 3, Table 3, and section 5 (event list, notifications).

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use streams::prelude::*;
use streams::{Doorbell, QRef};

use crate::ioctl::Req;
use crate::lifetime::Notice;
use crate::personality::{Role, Vtunl, addr};
use crate::tables::Tables;
use crate::view::{Feed, Passed, Reader};
use crate::why::Stats;

/// The tag of the event list's timer.
pub(crate) const LIFETIME: u64 = 1;

/// An instance, as the others know it.
struct Member {
    /// Its read queue.
    q: QRef,
    bell: Doorbell,
    news: Sender<News>,
    passed: Passed,
    /// A control stream: it may wait.
    driver: bool,
    /// It wants to be told, by VTUNL_NOTIFY.
    marked: bool,
}

/// What instances are told.
enum News {
    /// Bindings have ended.
    Ended(Notice),
    /// Who had the timer of the event list has gone.
    Timer,
}

/// What instances send.
enum Mail {
    Come(Member),
    Gone(QRef),
}

/// The tables and who uses them.
#[derive(Default)]
struct State {
    tables: Tables,
    members: Vec<Member>,
    /// The instance that has the timer of the event list, and when it is due.
    timer: Option<(QRef, Duration)>,
}

/// The tables, for one at a time.
pub struct Control {
    state: Mutex<State>,
    feed: Arc<Feed>,
    mail: Sender<Mail>,
    inbox: Receiver<Mail>,
}

impl Default for Control {
    fn default() -> Control {
        let state = State::default();
        let (mail, inbox) = unbounded();
        Control {
            feed: state.tables.feed(),
            state: Mutex::new(state),
            mail,
            inbox,
        }
    }
}

/// What an instance has of it.
pub(crate) struct Desk {
    control: Arc<Control>,
    bell: Doorbell,
    news: Receiver<News>,
    /// A command that is to be tried again.
    put_off: Option<Msg>,
    /// There is more to be ended.
    overdue: bool,
}

/// What is left to do when the lock is free again.
struct Rest {
    notices: Vec<Notice>,
    /// Who is told of them.
    told: Vec<(QRef, Sender<News>, Doorbell)>,
    debug: u8,
    overdue: bool,
    /// The timer is to be set so far ahead.
    timer: Option<Duration>,
}

impl Control {
    /// The counters of all instances.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        self.feed.stats()
    }

    /// Does something with the tables. `wait`: when others have done with them; without, none
    /// if somebody has them.
    fn with<R>(&self, wait: bool, f: impl FnOnce(&mut State) -> R) -> Option<R> {
        let mut state = if wait {
            self.state.lock()
        } else {
            self.state.try_lock()?
        };
        self.read(&mut state);
        let r = f(&mut state);
        drop(state);
        self.read_rest();
        Some(r)
    }

    fn read(&self, state: &mut State) {
        for m in self.inbox.try_iter() {
            match m {
                Mail::Come(member) => state.come(member),
                Mail::Gone(q) => state.gone(q),
            }
        }
    }

    /// Reads what came while the lock was held: who sent it could not.
    fn read_rest(&self) {
        while !self.inbox.is_empty() {
            match self.state.try_lock() {
                Some(mut state) => self.read(&mut state),
                None => return, // who has the lock now reads it
            }
        }
    }

    fn post(&self, mail: Mail) {
        let _ = self.mail.send(mail); // both ends are ours
        self.read_rest();
    }
}

impl State {
    fn come(&mut self, m: Member) {
        self.tables.add_reader(m.passed.clone());
        self.members.push(m);
    }

    fn gone(&mut self, q: QRef) {
        if let Some(at) = self.members.iter().position(|m| m.q == q) {
            let m = self.members.swap_remove(at);
            self.tables.remove_reader(&m.passed);
        }
        // Somebody else sets the timer, one without datagrams if there is any.
        let driver = self.members.iter().find(|m| m.driver);
        if self.timer.take_if(|(who, _)| *who == q).is_some()
            && let Some(heir) = driver.or(self.members.first())
        {
            let _ = heir.news.send(News::Timer); // it may be about to go, too
            heir.bell.ring();
        }
    }

    /// Ends what has ended: at most so much at once that others need not wait long.
    fn expire(&mut self, me: QRef, now: Duration) -> Vec<Notice> {
        self.timer.take_if(|(who, due)| *who == me && *due <= now);
        self.tables.expire(now).into_iter().collect()
    }

    /// What a command is about to look at is ended first, if others are still before it.
    fn expire_of(&mut self, arg: &[u8], now: Duration) -> Vec<Notice> {
        let mut all = Vec::new();
        let Ok(req) = Req::parse(arg) else { return all };
        let t = &mut self.tables;
        loop {
            let exact = req.target().ok();
            let serving = t.encap.key_of(req.target_addr);
            let of = [exact, serving].into_iter().flatten();
            match of.into_iter().find_map(|key| t.expire_of(key, now)) {
                Some(notice) => all.push(notice),
                None => return all,
            }
        }
    }

    /// What is left to do for the instance that had the lock.
    fn rest(&mut self, me: QRef, now: Duration, notices: Vec<Notice>) -> Rest {
        let marked = self.members.iter().filter(|m| m.marked);
        let told = if notices.is_empty() {
            Vec::new()
        } else {
            let all = marked.map(|m| (m.q, m.news.clone(), m.bell.clone()));
            all.collect()
        };
        if self.tables.is_lagging() {
            // Who has no datagram to look for passes what is old when he is rung for.
            self.members.iter().for_each(|m| m.bell.ring());
        }
        let overdue = self.tables.overdue;
        let next = self.tables.lifetimes.next().filter(|_| !overdue);
        // Unless a timer is set that comes before it.
        let next = next.filter(|next| self.timer.is_none_or(|(_, due)| due > *next));
        if let Some(next) = next {
            self.timer = Some((me, next));
        }
        Rest {
            notices,
            told,
            debug: self.tables.debug(),
            overdue,
            timer: next.map(|next| next.saturating_sub(now)),
        }
    }
}

/// A new instance comes to the tables.
pub(crate) fn come(q: &mut Queue<'_, Vtunl>, role: Role) -> (Desk, Reader) {
    let control = q.shared().control.clone();
    let rq = q.rd();
    let (send, news) = unbounded();
    let (bell, passed) = (rq.doorbell(), Passed::default());
    control.post(Mail::Come(Member {
        q: rq.qref(),
        bell: bell.clone(),
        news: send,
        passed: passed.clone(),
        driver: role == Role::Driver,
        marked: false,
    }));
    let reader = Reader::new(control.feed.clone(), passed);
    let desk = Desk {
        control,
        bell,
        news,
        put_off: None,
        overdue: false,
    };
    (desk, reader)
}

/// An instance goes.
pub(crate) fn go(q: &mut Queue<'_, Vtunl>) {
    let me = q.rd().qref();
    let desk = &mut q.ptr().desk;
    let left = desk.put_off.take();
    desk.control.post(Mail::Gone(me));
    if let Some(mp) = left {
        q.freemsg(mp);
    }
}

/// Does something with the tables and what follows from it; none if others have them, and
/// datagrams would have to wait.
fn at_desk<R>(
    q: &mut Queue<'_, Vtunl>,
    f: impl FnOnce(&mut State, QRef, Duration, &mut Vec<Notice>) -> R,
) -> Option<R> {
    let (me, now) = (q.rd().qref(), q.now());
    let v = q.ptr();
    let wait = v.role == Role::Driver;
    let (r, rest) = v.desk.control.clone().with(wait, |state| {
        let mut notices = state.expire(me, now);
        let r = f(state, me, now, &mut notices);
        (r, state.rest(me, now, notices))
    })?;
    announce(q, &rest);
    if let Some(ahead) = rest.timer {
        q.rd().qtimeout(ahead, LIFETIME);
    }
    if rest.overdue {
        again(q);
    }
    Some(r)
}

/// Tells who wants to know what has ended.
fn announce(q: &mut Queue<'_, Vtunl>, rest: &Rest) {
    for notice in &rest.notices {
        if rest.debug >= 1 {
            for e in &notice.expired {
                let (a, x) = (addr(e.key.addr), addr(e.exit));
                q.strlog(1, format_args!("{a}/{} at {x} has expired", e.key.len));
            }
        }
        for (who, news, bell) in &rest.told {
            match q.at(*who) {
                Some(mut to) => to.rd().putnext(notice.emit()),
                // In another domain, or gone.
                None => {
                    let _ = news.send(News::Ended(notice.clone()));
                    bell.ring();
                }
            }
        }
    }
}

/// A global command. None: it is to be tried again.
pub(crate) fn command(
    q: &mut Queue<'_, Vtunl>,
    cmd: i32,
    arg: &[u8],
) -> Option<Result<Vec<u8>, Errno>> {
    at_desk(q, |state, _, now, notices| {
        if state.tables.overdue {
            notices.extend(state.expire_of(arg, now));
        }
        state.tables.command(cmd, arg, now)
    })
}

/// VTUNL_NOTIFY: the stream wants to be told of what ends, or no longer. None: it is to be
/// tried again.
pub(crate) fn notify(q: &mut Queue<'_, Vtunl>, on: bool) -> Option<Result<Vec<u8>, Errno>> {
    at_desk(q, |state, me, _, _| {
        for m in state.members.iter_mut().filter(|m| m.q == me) {
            m.marked = on;
        }
        Ok(Vec::new())
    })
}

/// A command that others were before is tried again when they have had their turn.
pub(crate) fn put_off(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    let desk = &mut q.ptr().desk;
    desk.put_off = Some(mp);
    desk.bell.ring_after_others();
}

/// Ends what has ended, and sees to it that what is left is ended at its time.
pub(crate) fn expire(q: &mut Queue<'_, Vtunl>) {
    if at_desk(q, |_, _, _, _| ()).is_none() {
        again(q);
    }
}

/// Ends the rest when others have had their turn.
fn again(q: &mut Queue<'_, Vtunl>) {
    let desk = &mut q.ptr().desk;
    desk.overdue = true;
    desk.bell.ring_after_others();
}

/// Others have had their turn, or have something to tell. What is put off is the caller's.
pub(crate) fn interrupt(q: &mut Queue<'_, Vtunl>) -> Option<Msg> {
    let mut due = std::mem::take(&mut q.ptr().desk.overdue);
    while let Ok(news) = q.ptr().desk.news.try_recv() {
        match news {
            News::Ended(notice) => q.rd().putnext(notice.emit()),
            News::Timer => due = true,
        }
    }
    // What is old is passed, and freed if this was the last one to pass it.
    let v = q.ptr();
    v.reader.look();
    v.desk.control.with(false, |state| state.tables.reclaim());
    if due {
        expire(q);
    }
    q.ptr().desk.put_off.take()
}

#[cfg(test)]
mod tests;
