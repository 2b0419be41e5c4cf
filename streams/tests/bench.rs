//! The bench itself: what it promises to the authors of modules.

use std::time::Duration;

use streams::prelude::*;
use streams::testbench::{Bench, Outcome, Side};

/// Opens by asking below, counts instances, keeps time, sends something at each turn.
struct Asker {
    answered: bool,
}
#[derive(Default)]
struct Count(u32);
impl Module for Asker {
    type Shared = Count;
    const INFO: ModuleInfo = ModuleInfo::named(1, "asker");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| {
        q.ptr().answered = true;
        q.putnext(mp);
    });
    const WRITE: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| q.putq(mp)).srv(|q| {
        while let Some(mp) = q.getq() {
            q.putnext(mp);
        }
    });
    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.cred.require_priv()?;
        q.shared().0 += 1;
        q.wr().putnext(Msg::of(MsgType::Proto, b"who?"));
        q.qtimeout(Duration::from_secs(5), 9);
        Ok(Asker { answered: false })
    }
    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        Ok(if q.ptr().answered {
            Wait::Done
        } else {
            Wait::Again
        })
    }
    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        q.putnext(Msg::data(&[tag as u8]));
    }
    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        q.wr().putnext(Msg::of(MsgType::Proto, b"bye"));
        Wait::Done
    }
}

#[test]
fn what_open_and_close_send_is_recorded() {
    let reply = |mp: &Msg| (mp.rd() == b"who?").then(|| Msg::of(MsgType::PcProto, b"me"));
    let mut b = Bench::<Asker>::setup()
        .shared(Count(41))
        .answer(reply)
        .open()
        .expect("answered");
    assert_eq!(b.below_bytes(), [b"who?"]);
    assert_eq!(b.above_bytes(), [b"me"]);
    assert_eq!(b.shared(|s| s.0), Some(42));
    b.close();
    assert_eq!(b.below_bytes(), [b"bye"]);
    assert_eq!(b.module(|_| ()), None);
    assert_eq!(b.shared(|_| ()), None);
    b.down(Msg::data(b"straight through")); // nothing is there any more
    assert_eq!(b.below().len(), 1);
}

#[test]
fn an_open_that_nobody_answers_is_an_error_and_not_a_hang() {
    // It gives up when even the module's own timer has brought nothing but data up.
    let r = Bench::<Asker>::setup().cred(Cred::user(7)).open();
    assert_eq!(r.err(), Some(Errno::EPERM));
    struct Never;
    impl Module for Never {
        type Shared = ();
        const INFO: ModuleInfo = ModuleInfo::named(1, "never");
        const PERIMETER: Perimeter = Perimeter::MTSAFE;
        const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
        const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
        fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
            Ok(Never)
        }
        fn opened(_: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
            Ok(Wait::Again)
        }
        fn close(_: &mut Queue<'_, Self>, _: &Close) -> Wait {
            Wait::Again
        }
    }
    assert_eq!(Bench::<Never>::new().err(), Some(Errno::EDEADLK));
}

#[test]
fn service_procedures_and_timers_run_when_told() {
    let reply = |_: &Msg| Some(Msg::of(MsgType::PcProto, b"me"));
    let mut b = Bench::<Asker>::setup().answer(reply).open().expect("open");
    b.below();
    b.above();
    b.down(Msg::data(b"x"));
    assert_eq!(b.queue(Side::Write).messages, 1);
    assert!(b.queue(Side::Write).enabled);
    assert!(b.below().is_empty());
    assert!(b.step());
    assert_eq!(b.below().len(), 1);
    b.above();
    b.advance(Duration::from_millis(4999));
    assert!(b.above().is_empty());
    b.advance(Duration::from_millis(1));
    assert_eq!(b.above_bytes(), [[9]]);
    // This module queues even M_IOCTL: it is passed on once the service procedure ran.
    assert!(matches!(b.ioctl(1, b"x"), Outcome::Passed(_)));
}

/// A driver under test: what it answers comes out above; put(9E) of a driver, the reference's
/// 1.1 and 5.11.
#[test]
fn a_driver_can_be_the_subject() {
    use streams::drivers::echo::Echo;
    let mut b = Bench::<Echo>::new_driver().expect("open");
    b.down(Msg::data(b"hello"));
    b.run();
    assert_eq!(b.above_bytes(), [b"hello"]);
    assert!(b.below().is_empty());
    b.down(Msg::of(MsgType::Flush, &[3]));
    let up = b.above();
    assert_eq!(up[0].ty(), MsgType::Flush);
    assert_eq!(up[0].rd(), [1]); // FLUSHW is cleared, FLUSHR turned round
    b.close();
    assert!(b.module(|_| ()).is_none());
}

/// A driver whose device has bytes: an interrupt brings them up.
struct Port(Vec<u8>);
impl Module for Port {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(95, "port");
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| {
        q.ptr().0.extend(mp.rd());
        q.freemsg(mp);
    });
    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        q.rd().putnext(Msg::data(b"up"));
        Ok(Port(Vec::new()))
    }
    fn interrupt(q: &mut Queue<'_, Self>) {
        let n = q.ptr().0.len();
        match q.allocb(n) {
            Some(mut mp) => {
                mp.append(&std::mem::take(&mut q.ptr().0));
                q.rd().putnext(mp);
            }
            None => {
                q.qbufcall(1);
            }
        }
    }
    fn bufcall(q: &mut Queue<'_, Self>, _: u64) {
        Self::interrupt(q);
    }
}

/// qbufcall(9F): a driver without memory is called back when there is some.
#[test]
fn memory_can_fail_on_the_bench() {
    let mut b = Bench::<Port>::new_driver().expect("open");
    assert_eq!(b.above_bytes(), [b"up"]); // sent by the open
    b.down(Msg::data(b"x"));
    b.kernel().fail_allocations(Some(0));
    b.interrupt();
    assert!(b.above().is_empty());
    b.kernel().fail_allocations(None);
    b.run();
    assert_eq!(b.above_bytes(), [b"x"]);
}
