//! Datagrams for the unit tests.

use streams::message::Msg;

use crate::header::{Ipv4, Outer};

pub const US: u32 = 0x0a00_0001;
pub const EXIT: u32 = 0xc0a8_0201;
pub const SRC: u32 = 0x0a05_0005;
pub const DST: u32 = 0x0a01_0003;

/// A header to start from: 28 bytes of UDP from SRC to DST.
pub const UDP: Outer = Outer {
    tos: 0,
    len: 28,
    ident: 7,
    df: false,
    ttl: 17,
    proto: 17,
    src: SRC,
    dst: DST,
};

/// The bytes of a datagram with header `o`, its payload counting up.
pub fn bytes(o: Outer) -> Vec<u8> {
    let mut b = o.bytes().to_vec();
    b.extend((20..o.len).map(|i| i as u8));
    b
}

/// The same as a message with headroom.
pub fn datagram(o: Outer) -> Msg {
    let b = bytes(o);
    let mut mp = Msg::with_headroom(64, b.len());
    mp.append(&b);
    mp
}

/// The header of a message.
pub fn header(mp: &Msg) -> Ipv4 {
    Ipv4::read(&mp.to_vec()).unwrap()
}

/// Every way to cut `b` in two blocks, and whole.
pub fn cut(b: &[u8]) -> Vec<Msg> {
    let mut v = vec![Msg::data(b)];
    for at in 1..b.len().min(50) {
        let mut mp = Msg::data(&b[..at]);
        mp.linkb(Msg::data(&b[at..]));
        v.push(mp);
    }
    v
}
