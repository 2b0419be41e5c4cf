//! Modules that queue, wait, share and exclude, by the book: what a module author writes.

use std::time::Duration;

use streams::prelude::*;
use streams::{Kernel, MsgType};

/// What is pushed.
pub const NAMES: [&str; 8] = [
    "nullmod", "pass", "queuing", "paired", "permod", "shared", "outer", "slow",
];

/// A number that names the module that loses messages, for the test of the test.
pub const LOSING: usize = 1000;

/// The name behind a number.
pub fn name(n: usize) -> &'static str {
    if n == LOSING {
        "losing"
    } else {
        NAMES[n % NAMES.len()]
    }
}

pub fn register(k: &Kernel) -> Result<(), Errno> {
    k.add_mod::<Pass>()?;
    k.add_mod::<Queuing>()?;
    k.add_mod::<Paired>()?;
    k.add_mod::<PerMod>()?;
    k.add_mod::<Shared>()?;
    k.add_mod::<Outer>()?;
    k.add_mod::<Slow>()?;
    k.add_mod::<Losing>()
}

/// put(9E) as the manual has it: on if there is room and nobody waits, else queued.
fn put<M: Module>(q: &mut Queue<'_, M>, mp: Msg) {
    if mp.ty() == MsgType::Flush {
        q.flush_sides(&mp, true, true);
        return q.putnext(mp);
    }
    if mp.is_high_pri() || (q.qsize() == 0 && q.bcanputnext(mp.band())) {
        return q.putnext(mp);
    }
    q.putq(mp);
}

/// srv(9E) as the manual has it.
fn srv<M: Module>(q: &mut Queue<'_, M>) {
    while let Some(mp) = q.getq() {
        if mp.is_high_pri() || q.bcanputnext(mp.band()) {
            q.putnext(mp);
        } else {
            return q.putbq(mp);
        }
    }
}

macro_rules! module {
    ($(#[$doc:meta])* $name:ident, $text:literal, $perimeter:expr) => {
        $(#[$doc])*
        struct $name;
        impl Module for $name {
            type Shared = ();
            const INFO: ModuleInfo = ModuleInfo::named(77, $text).marks(64, 16);
            const PERIMETER: Perimeter = $perimeter;
            const READ: QInit<Self> = QInit::put(put).srv(srv);
            const WRITE: QInit<Self> = QInit::put(put).srv(srv);
            fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
                how.require_push()?;
                Ok($name)
            }
            fn writer(q: &mut Queue<'_, Self>, mp: Msg, _: u32) {
                put(q, mp);
            }
        }
    };
}
module!(Queuing, "queuing", Perimeter::MTSAFE);
module!(Paired, "paired", Perimeter::MTQPAIR);
module!(PerMod, "permod", Perimeter::MTPERMOD);
module!(Shared, "shared", Perimeter::MTPERQ.put_shared());

/// No queue of its own.
struct Pass;
impl Module for Pass {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(78, "pass");
    const PERIMETER: Perimeter = Perimeter::MTPERQ;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Pass)
    }
}

/// Everything but control goes through qwriter(9F), exclusive in the outer perimeter.
struct Outer;
impl Module for Outer {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(79, "outer").marks(64, 16);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR.outer();
    const READ: QInit<Self> = QInit::put(outer).srv(srv);
    const WRITE: QInit<Self> = QInit::put(outer).srv(srv);
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Outer)
    }
    fn writer(q: &mut Queue<'_, Self>, mp: Msg, _: u32) {
        put(q, mp);
    }
}
fn outer(q: &mut Queue<'_, Outer>, mp: Msg) {
    if mp.datamsg() && !mp.is_high_pri() {
        q.qwriter_outer(mp, 0);
    } else {
        put(q, mp);
    }
}

/// Holds what it gets for a millisecond (qtimeout(9F)).
struct Slow {
    waiting: [bool; 2],
}
impl Module for Slow {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(80, "slow").marks(64, 16);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(slow).srv(slow_srv);
    const WRITE: QInit<Self> = QInit::put(slow).srv(slow_srv);
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Slow {
            waiting: [false; 2],
        })
    }
    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        q.ptr().waiting[tag as usize & 1] = false;
        let mut side = if tag == 0 { q.rd() } else { q.wr() };
        side.qenable();
    }
}
fn slow(q: &mut Queue<'_, Slow>, mp: Msg) {
    if mp.is_high_pri() || mp.ty() == MsgType::Flush || !mp.datamsg() {
        return put(q, mp);
    }
    q.putq(mp);
}
fn slow_srv(q: &mut Queue<'_, Slow>) {
    let side = usize::from(!q.is_read());
    if q.qsize() > 0 && !q.ptr().waiting[side] {
        // Once a millisecond, all that is there.
        q.ptr().waiting[side] = true;
        q.qtimeout(Duration::from_millis(1), side as u64);
        srv(q);
    }
}

/// Loses every third message without a word.
struct Losing(u32);
impl Module for Losing {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(81, "losing");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(lose);
    const WRITE: QInit<Self> = QInit::put(lose);
    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Losing(0))
    }
}
fn lose(q: &mut Queue<'_, Losing>, mp: Msg) {
    if mp.ty() == MsgType::Data {
        q.ptr().0 += 1;
        if q.ptr().0.is_multiple_of(3) {
            return q.freemsg(mp);
        }
    }
    q.putnext(mp);
}
