//! A datagram through a whole host: link, IP, route, tunnel, IP again, link; and back.

use vtunl_tests::assert_delta;
use vtunl_tests::gateway::{Ends, Gateway, INSIDE_PEER};
use vtunl_tests::packets::*;

fn udp_inner() -> Ip4 {
    ip4([10, 1, 0, 1], [10, 2, 0, 1])
        .id(7)
        .ttl(64)
        .udp(4000, 53, b"a question")
}

#[test]
fn a_datagram_is_encapsulated() {
    let (g, inside, outside) = Gateway::in_memory(Ends::LEFT).expect("a gateway");
    g.default_route_into_tunnel().expect("route");
    let drops = g.drops();
    let inner = udp_inner().bytes();
    inside.feed([inner.clone()]);
    g.settle();
    let out = outside.take();
    assert_eq!(out.len(), 1, "{:?}", g.drops());
    expect(
        &out[0],
        &[
            src(Ends::LEFT.here),
            dst(Ends::LEFT.there),
            proto(IPIP),
            sums_right(),
            inside_is(&inner),
        ],
    );
    assert_eq!(inside.take(), Vec::<Vec<u8>>::new());
    assert_delta!(g.drops(), drops, {});
}

/// RFC 2003 3.1: the inner TTL is decremented by the forwarding, once.
fn inside_is(inner: &[u8]) -> Check {
    let ttl_after = Ip4::parse(inner).map_or(0, |i| i.ttl - 1);
    vtunl_tests::packets::inside(&[same_but_ttl(inner), ttl(ttl_after)])
}

#[test]
fn a_datagram_is_decapsulated() {
    let (g, inside, outside) = Gateway::in_memory(Ends::RIGHT).expect("a gateway");
    g.default_route_inside().expect("route");
    let inner = udp_inner().bytes();
    let outer = ip4(Ends::LEFT.here, Ends::LEFT.there)
        .id(9)
        .ttl(60)
        .ipip(&inner)
        .bytes();
    outside.feed([outer]);
    g.settle();
    let out = inside.take();
    assert_eq!(out.len(), 1, "{:?}", g.drops());
    expect(
        &out[0],
        &[same_but_ttl(&inner), ttl(63), sums_right(), udp_to(53)],
    );
}

#[test]
fn malformed_datagrams_are_counted_and_nothing_comes_out() {
    let (g, inside, outside) = Gateway::in_memory(Ends::LEFT).expect("a gateway");
    g.default_route_into_tunnel().expect("route");
    let good = udp_inner().bytes();
    let mut bad_sum = good.clone();
    bad_sum[10] ^= 0xff;
    let mut version = good.clone();
    version[0] = 0x65;
    let mut too_long = good.clone();
    too_long[2] = 0xff;
    let cases = [
        bad_sum,
        version,
        too_long,
        good[..19].to_vec(),
        Vec::new(),
        vec![0x45],
    ];
    let n = cases.len() as u64;
    let dropped = |g: &Gateway| g.drops().values().sum::<u64>();
    let before = dropped(&g);
    inside.feed(cases);
    g.settle();
    assert_eq!(outside.take(), Vec::<Vec<u8>>::new());
    assert_eq!(dropped(&g) - before, n, "{:?}", g.drops());
    // And nothing that was configured is lost.
    inside.feed([good]);
    g.settle();
    assert_eq!(outside.take().len(), 1);
}

#[test]
fn a_ttl_that_ends_here_is_told_to_the_source() {
    let (g, inside, outside) = Gateway::in_memory(Ends::LEFT).expect("a gateway");
    g.default_route_into_tunnel().expect("route");
    let from_peer = ip4(INSIDE_PEER, [10, 2, 0, 1])
        .ttl(1)
        .udp(1, 2, b"x")
        .bytes();
    inside.feed([from_peer]);
    g.settle();
    assert_eq!(outside.take(), Vec::<Vec<u8>>::new());
    let back = inside.take();
    assert_eq!(back.len(), 1, "{:?} {:?}", g.drops(), g.ip());
    expect(&back[0], &[icmp(11, 0), dst(INSIDE_PEER), sums_right()]);
}

#[test]
fn an_outer_datagram_in_fragments_is_put_together_and_decapsulated() {
    let (g, inside, outside) = Gateway::in_memory(Ends::RIGHT).expect("a gateway");
    g.default_route_inside().expect("route");
    let inner = ip4([10, 1, 0, 1], [10, 2, 0, 1])
        .udp(1, 2, &[7; 1400])
        .bytes();
    let outer = ip4(Ends::LEFT.here, Ends::LEFT.there).id(9).ipip(&inner);
    outside.feed(outer.fragments(1000));
    g.settle();
    let out = inside.take();
    assert_eq!(out.len(), 1, "{:?}", g.drops());
    expect(&out[0], &[same_but_ttl(&inner), sums_right()]);
}

/// RFC 791: the inner datagram is itself a fragment, and its payload no whole UDP.
#[test]
fn an_inner_fragment_is_carried_as_it_is() {
    let (g, inside, outside) = Gateway::in_memory(Ends::RIGHT).expect("a gateway");
    g.default_route_inside().expect("route");
    let whole = ip4([10, 1, 0, 1], [10, 2, 0, 1])
        .id(3)
        .udp(1, 2, &[7; 1400]);
    let pieces = whole.fragments(600);
    for p in &pieces {
        outside.feed([ip4(Ends::LEFT.here, Ends::LEFT.there).ipip(p).bytes()]);
    }
    g.settle();
    let out = inside.take();
    assert_eq!(out.len(), pieces.len(), "{:?}", g.drops());
    for (p, o) in pieces.iter().zip(&out) {
        expect(o, &[same_but_ttl(p)]);
    }
}

#[test]
fn an_inner_fragment_in_outer_fragments_comes_out() {
    let (g, inside, outside) = Gateway::in_memory(Ends::RIGHT).expect("a gateway");
    g.default_route_inside().expect("route");
    let pieces = ip4([10, 1, 0, 1], [10, 2, 0, 1])
        .id(3)
        .udp(1, 2, &[7; 3000])
        .fragments(1500);
    outside.feed(
        ip4(Ends::LEFT.here, Ends::LEFT.there)
            .id(1)
            .ipip(&pieces[0])
            .fragments(1500),
    );
    g.settle();
    let out = inside.take();
    assert_eq!(out.len(), 1, "{:?}", g.drops());
    expect(&out[0], &[same_but_ttl(&pieces[0])]);
}
