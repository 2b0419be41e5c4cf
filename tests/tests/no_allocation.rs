//! In the steady state a datagram costs no allocation: not in, not encapsulated, not out.
//! A binary of its own, for its allocator counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vtunl_tests::gateway::{Ends, Gateway, MemLink};
use vtunl_tests::packets::ip4;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator with the arguments it came
// with; counting touches only a thread-local that never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps GlobalAlloc's contract, which is System's too.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, hence from System, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as for `dealloc`; the new size is the caller's to answer for.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while `n` datagrams go from one link to the other.
fn allocations(g: &Gateway, from: &MemLink, to: &MemLink, frame: &[u8], n: usize) -> u64 {
    let sent = to.sent();
    from.feed_again(frame, n);
    let before = COUNT.get();
    g.settle();
    let after = COUNT.get();
    assert_eq!(to.sent() - sent, n, "{:?}", g.drops());
    after - before
}

/// Allocations that come with datagrams: what every run has anyhow is taken off.
///
/// The pump's turns (64 datagrams each) have a list of events of their own, which is
/// allowed for; a datagram has nothing.
fn assert_none(g: &Gateway, from: &MemLink, to: &MemLink, frame: &[u8]) {
    allocations(g, from, to, frame, 20_000); // to the steady state
    let (few, many) = (1_000, 11_000);
    let a = allocations(g, from, to, frame, few);
    let b = allocations(g, from, to, frame, many);
    let turns = (many - few) as u64 / 64;
    let more = b.saturating_sub(a);
    assert!(
        more <= turns + 8,
        "{more} allocations for {} datagrams",
        many - few
    );
}

#[test]
fn encapsulating_allocates_nothing() {
    for size in [64 - 28, 1400 - 28] {
        let (g, inside, outside) = Gateway::in_memory(Ends::LEFT).expect("a gateway");
        g.default_route_into_tunnel().expect("route");
        outside.count_only();
        let inner = ip4([10, 1, 0, 1], [10, 2, 0, 1])
            .udp(1, 2, &vec![7; size])
            .bytes();
        assert_none(&g, &inside, &outside, &inner);
    }
}

#[test]
fn decapsulating_allocates_nothing() {
    for size in [64 - 28, 1400 - 28] {
        let (g, inside, outside) = Gateway::in_memory(Ends::RIGHT).expect("a gateway");
        g.default_route_inside().expect("route");
        inside.count_only();
        let inner = ip4([10, 1, 0, 1], [10, 2, 0, 1])
            .udp(1, 2, &vec![7; size])
            .bytes();
        let outer = ip4(Ends::LEFT.here, Ends::LEFT.there).ipip(&inner).bytes();
        assert_none(&g, &outside, &inside, &outer);
    }
}
