//! Unit tests of messages: each names the manual page it reads.

use super::*;

#[test]
fn prepend_uses_the_headroom_of_an_unshared_block() {
    let mut mp = Msg::with_headroom(32, 64);
    mp.append(b"data");
    mp.prepend(3, 0).copy_from_slice(b"hdr");
    assert_eq!(mp.rd(), b"hdrdata");
    assert!(mp.cont().is_none());
    assert_eq!(mp.headroom(), 29);
}

#[test]
fn prepend_to_a_shared_block_leaves_the_others_alone() {
    let mut mp = Msg::with_headroom(32, 64);
    mp.append(b"data");
    let dup = mp.dupmsg(); // dupmsg(9F): data shared
    mp.prepend(3, 8).copy_from_slice(b"hdr");
    assert_eq!(mp.to_vec(), b"hdrdata");
    assert_eq!(dup.to_vec(), b"data");
    assert_eq!(mp.headroom(), 8);
}

#[test]
fn writing_a_duplicate_copies_and_the_last_owner_gets_the_buffer_back() {
    let mut mp = Msg::data(b"abc");
    let mut dup = mp.dupmsg();
    dup.rd_mut()[0] = b'X';
    assert_eq!((mp.rd(), dup.rd()), (&b"abc"[..], &b"Xbc"[..]));
    drop(dup);
    assert!(mp.is_shared());
    mp.rd_mut()[1] = b'Y';
    assert!(!mp.is_shared());
    assert_eq!(mp.rd(), b"aYc");
}

#[test]
fn adjmsg_trims_over_block_boundaries_but_not_over_types() {
    // adjmsg(9F)
    let mut mp = Msg::data(b"abc");
    mp.linkb(Msg::data(b"defg"));
    assert!(mp.adjmsg(4));
    assert_eq!(mp.to_vec(), b"efg");
    assert!(mp.adjmsg(-2));
    assert_eq!(mp.to_vec(), b"e");
    assert!(!mp.adjmsg(2));
    let mut mp = Msg::of(MsgType::Proto, b"pr");
    mp.linkb(Msg::data(b"data"));
    assert!(!mp.adjmsg(-5));
    assert!(!mp.adjmsg(3));
    assert!(mp.adjmsg(-4));
    assert_eq!(mp.to_vec(), b"pr");
}

#[test]
fn pullupmsg_joins_blocks_and_keeps_the_rest() {
    let mut mp = Msg::data(b"ab");
    mp.linkb(Msg::data(b"cdef"));
    mp.linkb(Msg::data(b"gh"));
    assert!(!mp.pullupmsg(Some(9)));
    assert!(mp.pullupmsg(Some(4)));
    assert_eq!(mp.rd(), b"abcd");
    assert_eq!(mp.to_vec(), b"abcdefgh");
    assert!(mp.pullupmsg(None));
    assert_eq!(mp.rd(), b"abcdefgh");
    let mut p = Msg::of(MsgType::Proto, b"ctl");
    p.linkb(Msg::data(b"data"));
    assert!(p.pullupmsg(None)); // M_PROTO does not swallow M_DATA
    assert_eq!(p.rd(), b"ctl");
}

#[test]
fn rmvb_takes_one_block_out() {
    let mut mp = Msg::data(b"a");
    mp.linkb(Msg::data(b"b"));
    mp.linkb(Msg::data(b"c"));
    let (rest, gone) = mp.rmvb(1);
    assert_eq!(gone.map(|g| g.to_vec()), Some(b"b".to_vec()));
    assert_eq!(rest.map(|r| r.to_vec()), Some(b"ac".to_vec()));
}

#[test]
fn a_chain_of_a_million_blocks_is_freed_without_recursion() {
    let mut mp = Msg::data(b"x");
    for _ in 0..1_000_000 {
        let mut front = Msg::allocb(0);
        front.set_cont(Some(mp));
        mp = front;
    }
    drop(mp);
}

#[test]
fn the_pool_gives_back_what_it_took() {
    let mut pool = Pool::default();
    let mut mp = pool.alloc(64, 100);
    mp.append(b"hello");
    mp.set_ty(MsgType::Proto);
    pool.free(mp);
    assert_eq!(pool.len(), 1);
    let again = pool.alloc(10, 500);
    assert_eq!(
        (again.ty(), again.len(), again.headroom()),
        (MsgType::Data, 0, 10)
    );
    assert_eq!(pool.len(), 0);
}
