//! Hops that nest too deep for the stack are deferred, and keep their order.
//!
//! ```text
//!   deep: put n+1 to itself ─► .. ─► the stack is deep: later ┐
//!   sink ◄─ n, on the way back ◄──── the deepest one later ◄──┘   the others behind it
//! ```

use streams::prelude::*;
use streams::{Config, Kernel, Sys, oflag};

/// How often a message goes round.
const ROUNDS: u32 = 20_000;

/// What both drivers share.
#[derive(Default)]
struct Shared {
    sink: Option<QRef>,
    /// The numbers put to the sink, in the order of the calls, and as they came.
    put: Vec<u32>,
    came: Vec<u32>,
}

/// A driver that puts a message to itself again and again, and a number to the sink on the
/// way back from each.
struct Deep;

impl Module for Deep {
    type Shared = Shared;
    const INFO: ModuleInfo = ModuleInfo::named(1, "deep");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| {
        let (me, n) = (q.qref(), word(&mp));
        q.freemsg(mp);
        if n < ROUNDS {
            q.put(me, Msg::data(&(n + 1).to_ne_bytes()));
        }
        let s = q.shared();
        s.put.push(n);
        if let Some(sink) = s.sink {
            q.put(sink, Msg::data(&n.to_ne_bytes()));
        }
    });

    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Deep)
    }
}

fn word(mp: &Msg) -> u32 {
    mp.rd().first_chunk().map_or(0, |b| u32::from_ne_bytes(*b))
}

/// Notes what comes; `P` chooses its perimeters.
struct Sink<const P: usize>;

const PERIMETERS: [Perimeter; 6] = [
    Perimeter::MTSAFE,
    Perimeter::MTPERQ,
    Perimeter::MTQPAIR,
    Perimeter::MTPERMOD,
    Perimeter::MTQPAIR.put_shared(),
    Perimeter::MTQPAIR.outer(),
];

impl<const P: usize> Module for Sink<P> {
    type Shared = Shared;
    const INFO: ModuleInfo = ModuleInfo::named(2, "sink");
    const PERIMETER: Perimeter = PERIMETERS[P];
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| {
        let n = word(&mp);
        q.freemsg(mp);
        q.shared().came.push(n);
    });

    fn open(q: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        let me = q.wr().qref();
        q.shared().sink = Some(me);
        Ok(Sink)
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let s = q.shared();
        assert_eq!(s.put.len(), ROUNDS as usize + 1);
        assert!(!s.put.is_sorted_by(|a, b| a > b), "it never was too deep");
        assert!(s.put == s.came, "one has overtaken another");
        Wait::Done
    }
}

fn in_order<const P: usize>() {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    k.add_drv::<Sink<P>>().expect("sink");
    k.add_drv_sharing::<Deep>("deep", "sink").expect("deep");
    let p = k.process(Cred::ROOT);
    let sink = p.open("/dev/sink", oflag::O_RDWR).expect("sink");
    let deep = p.open("/dev/deep", oflag::O_RDWR).expect("deep");
    p.write(deep, &0u32.to_ne_bytes()).expect("write");
    k.run_until_idle();
    p.close(sink).expect("close");
}

#[test]
fn messages_for_one_queue_keep_their_order() {
    // put(9E), mt-streams(9F): first in first out on each queue, whatever its perimeters
    in_order::<0>();
    in_order::<1>();
    in_order::<2>();
    in_order::<3>();
    in_order::<4>();
    in_order::<5>();
}
