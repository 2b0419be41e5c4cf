//! Looking while others change: two threads, as in a kernel with the real clock.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use super::*;
use crate::encap_table::ENCAP_S;
use crate::ioctl::{
    REQ_LEN, Reader as Fields, Req, VTUNL_ENCAP_ADD, VTUNL_ENCAP_GETX, VTUNL_ENCAP_REM,
};
use crate::tables::Tables;

const T0: Duration = Duration::from_secs(1);
const BASE: u32 = 0x0a00_0000;
const EXIT: u32 = 0xc0a8_0100;
/// Looks of a reader.
const LOOKS: u32 = 300_000;

/// Tells the other thread when a reader is done, however it ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn req(target: u32, exit: u32, flags: u16) -> [u8; REQ_LEN] {
    let q = Req {
        target_addr: target,
        t_exit_addr: exit,
        encap_flags: flags,
        ..Req::default()
    };
    let mut b = [0; REQ_LEN];
    b.copy_from_slice(&q.emit()[..REQ_LEN]);
    b
}

/// Datagrams counted for a target.
fn counted(t: &mut Tables, target: u32) -> u64 {
    let mut page = vec![0; 0xffff];
    let page = loop {
        let b = t.command(VTUNL_ENCAP_GETX, &page, T0).unwrap();
        let mut r = Fields(&b[4..]);
        let n = r.u32().unwrap();
        for _ in 0..n {
            let (addr, _, exits) = (r.addr().unwrap(), r.u32(), r.u32().unwrap());
            let (datagrams, _) = (r.u64().unwrap(), r.u64());
            (0..3 * exits).for_each(|_| assert!(r.u32().is_ok()));
            if addr == target {
                return datagrams;
            }
        }
        let seen = u32::from_ne_bytes([page[0], page[1], page[2], page[3]]);
        page[..4].copy_from_slice(&(seen + n).to_ne_bytes());
        if n == 0 {
            break page;
        }
    };
    unreachable!("no target {target:x} in {} bytes", page.len())
}

/// The paper, section 2, Figure 3: the tables are on every datagram's way. A target that
/// stays is found by each look, and each look is counted, while segments grow, split, join
/// and shrink around it.
#[test]
fn what_stays_is_found_and_counted_whatever_moves() {
    let steady = [BASE + 7, BASE + 70_000, BASE + 140_000];
    let mut t = Tables::default();
    for target in steady {
        t.command(VTUNL_ENCAP_ADD, &req(target, EXIT, 0), T0)
            .unwrap();
    }
    let (mut reader, done) = (t.reader(), AtomicBool::new(false));
    let changes = thread::scope(|s| {
        s.spawn(|| {
            let _done = Done(&done);
            for i in 0..LOOKS {
                let target = steady[i as usize % steady.len()];
                let view = reader.look();
                let (count, hit) = view.encap.serve(target).expect("it is always there");
                let (id, _) = hit.only().expect("one exit");
                assert_eq!(view.exits.at(id).map(|x| x.addr()), Some(EXIT));
                assert!(!count.count(20), "no carrying yet");
            }
        });
        let mut changes = 0u32;
        loop {
            for (cmd, n) in [(VTUNL_ENCAP_ADD, 6000), (VTUNL_ENCAP_REM, 6000)] {
                for i in 0..n {
                    let target = BASE + 1000 + i * 3;
                    if !steady.contains(&target) {
                        t.command(cmd, &req(target, EXIT + 1 + i % 50, 0), T0)
                            .unwrap();
                        changes += 1;
                    }
                }
            }
            if done.load(Ordering::Acquire) {
                return changes;
            }
        }
    });
    assert!(changes >= 12_000);
    // As long as what was replaced may still be looked at, and when it no longer is.
    for _ in 0..2 {
        for target in steady {
            let each = u64::from(LOOKS) / steady.len() as u64;
            assert_eq!(counted(&mut t, target), each, "{target:x}");
        }
        reader.look();
        t.reclaim();
    }
    assert!(!t.is_lagging());
}

/// RFC 2002 section 3.3 (S): a datagram goes to the exits before a change or after it, never
/// to some of both, nor to an exit that took the number of one that is gone.
#[test]
fn a_set_of_exits_is_seen_whole_or_not_at_all() {
    let target = BASE + 1;
    let mut t = Tables::default();
    let pair = |t: &mut Tables, first: u32| {
        // Without S the former exits go; the second one comes beside the first.
        t.command(VTUNL_ENCAP_ADD, &req(target, EXIT + first, 0), T0)
            .unwrap();
        t.command(VTUNL_ENCAP_ADD, &req(target, EXIT + first + 1, ENCAP_S), T0)
            .unwrap();
    };
    pair(&mut t, 0);
    let (mut reader, done) = (t.reader(), AtomicBool::new(false));
    thread::scope(|s| {
        s.spawn(|| {
            let _done = Done(&done);
            for _ in 0..LOOKS {
                let view = reader.look();
                let (_, hit) = view.encap.serve(target).expect("it is always there");
                let addr = |(id, _)| view.exits.at(id).expect("an exit").addr() - EXIT;
                let exits: Vec<u32> = view.encap.exits(hit).map(addr).collect();
                let whole = match exits[..] {
                    [a] => a % 2 == 0 && a < 40,
                    [a, b] => a % 2 == 0 && a < 40 && b == a + 1,
                    _ => false,
                };
                assert!(whole, "{exits:?}");
            }
        });
        let mut n = 0;
        while !done.load(Ordering::Acquire) {
            pair(&mut t, n % 20 * 2);
            // Others take the numbers of what has gone.
            let other = req(BASE + 2, EXIT + 100 + n % 7, 0);
            t.command(VTUNL_ENCAP_ADD, &other, T0).unwrap();
            n += 1;
        }
    });
}

/// What nobody looks at is freed; what somebody may look at is not.
#[test]
fn what_is_old_is_kept_until_every_reader_has_passed_it() {
    let mut t = Tables::default();
    let (mut a, mut b) = (t.reader(), t.reader());
    t.command(VTUNL_ENCAP_ADD, &req(BASE, EXIT, 0), T0).unwrap();
    let view = Arc::downgrade(&b.view);
    t.command(VTUNL_ENCAP_REM, &[0; REQ_LEN], T0).unwrap();
    a.look();
    t.reclaim();
    assert!(view.upgrade().is_some(), "b may look at it");
    assert!(
        b.view.encap.serve(BASE).is_none(),
        "b began before the target came"
    );
    assert!(
        b.look().encap.serve(BASE).is_none(),
        "and looks again after it went"
    );
    t.reclaim();
    assert!(view.upgrade().is_none());
}
