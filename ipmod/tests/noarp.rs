//! IFF_NOARP on an Ethernet, and ARP entries that are published with somebody else's
//! address: what a mobile node and a home agent need (RFC 5944 4.6).
//!
//! ```text
//!   le0 10.0.0.1 ════ wire ════ ear: every frame, and what is sent from here
//! ```

use std::net::Ipv4Addr;

use dlpi::link::Link;
use dlpi::link::wire::{Port, Wire};
use ipmod::ill::iff;
use ipmod::{plumb, tpi};
use streams::{Config, Cred, Errno, Kernel, Process, Sys, oflag};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THEM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const MAC: [u8; 6] = [8, 0, 0x20, 0, 0, 1];
const EAR: [u8; 6] = [8, 0, 0x20, 0, 0, 9];

struct Host {
    k: Kernel,
    p: Process,
    ear: Port,
}

fn host() -> Host {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    ipmod::register(&k).expect("names");
    let wire = Wire::default();
    let ear = wire.port(EAR);
    dlpi::register_wire(&k, "le", vec![(wire, MAC)]).expect("names");
    let p = k.process(Cred::ROOT);
    plumb::plumb(&p, "/dev/le", &[], 0).expect("plumb");
    plumb::set_address(&p, "le0", US).expect("address");
    plumb::set_netmask(&p, "le0", [255, 255, 255, 0].into()).expect("netmask");
    plumb::up(&p, "le0").expect("up");
    let mut h = Host { k, p, ear };
    h.heard();
    h
}

impl Host {
    /// The frames on the wire since it was asked last.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        self.k.run_until_idle();
        let mut all = Vec::new();
        let mut buf = [0; 1600];
        while let Ok(Some(n)) = self.ear.recv(&mut buf) {
            all.push(buf[..n].to_vec());
        }
        all
    }

    /// A datagram to somebody on the link.
    fn send(&mut self) -> Vec<Vec<u8>> {
        let fd = self.p.open("/dev/udp", oflag::O_RDWR).expect("open");
        let bind = tpi::bind_req(&tpi::sockaddr_bytes(0, 0));
        self.p.putmsg(fd, Some(&bind), None, false).expect("bind");
        let to = tpi::unitdata_req(&tpi::sockaddr_bytes(9, THEM.into()));
        self.p
            .putmsg(fd, Some(&to), Some(b"hello"), false)
            .expect("sent");
        let heard = self.heard();
        self.p.close(fd).expect("close");
        heard
    }

    /// Somebody asks for an address: the link address of the answer.
    fn ask(&mut self, target: Ipv4Addr) -> Option<Vec<u8>> {
        let head = [&[0xff; 6][..], &EAR, &[8, 6]].concat();
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &EAR, &[10, 0, 0, 9]].concat();
        let frame = [&head[..], &arp, &[0; 6], &target.octets()].concat();
        self.ear.send(&frame).expect("sent");
        let answer = |f: &Vec<u8>| (f[20..22] == [0, 2]).then(|| f[22..28].to_vec());
        self.heard().iter().find_map(answer)
    }
}

fn kind(f: &[u8]) -> u16 {
    u16::from_be_bytes([f[12], f[13]])
}

#[test]
fn nobody_is_asked_or_answered_and_entries_by_hand_serve() {
    // ifconfig(1M) -arp; RFC 5944 4.6
    let mut h = host();
    assert_eq!(h.ask(US).as_deref(), Some(&MAC[..]));
    plumb::set_flags(&h.p, "le0", iff::NOARP, 0).expect("-arp");
    let flags = plumb::flags(&h.p, "le0").expect("flags");
    assert_eq!(flags & (iff::NOARP | iff::UP), iff::NOARP | iff::UP);
    assert_eq!(h.ask(US), None);
    assert!(h.send().is_empty(), "neither a question nor the datagram");
    let lost = h.k.drops();
    assert!(
        lost.keys().any(|k| k.1 == "no ARP on this interface"),
        "{lost:?}"
    );
    // No announcement when the address changes (RFC 5944 4.6: none while away).
    plumb::set_address(&h.p, "le0", [10, 0, 0, 3].into()).expect("address");
    plumb::set_address(&h.p, "le0", US).expect("address");
    assert!(h.heard().is_empty());
    plumb::arp_set(&h.p, THEM, Some([8, 0, 0x20, 0, 0, 2]), true, false).expect("by hand");
    let sent = h.send();
    assert_eq!((sent.len(), kind(&sent[0])), (1, 0x800));
    assert_eq!(sent[0][..6], [8, 0, 0x20, 0, 0, 2]);
    plumb::set_flags(&h.p, "le0", 0, iff::NOARP).expect("arp");
    assert_eq!(h.ask(US).as_deref(), Some(&MAC[..]));
}

#[test]
fn a_published_entry_is_answered_and_announced_with_its_own_address() {
    // arp(1M) -s HOST ETHER pub; RFC 5944 4.6 (gratuitous ARP for who came back)
    let mut h = host();
    let theirs = [8, 0, 0x20, 0, 0, 2];
    plumb::arp_set(&h.p, THEM, Some(theirs), true, true).expect("published");
    let said = h.heard();
    assert_eq!((said.len(), kind(&said[0])), (1, 0x806));
    assert_eq!(
        (&said[0][22..28], &said[0][28..32]),
        (&theirs[..], &THEM.octets()[..])
    );
    assert_eq!(h.ask(THEM).as_deref(), Some(&theirs[..]));
    plumb::arp_set(&h.p, THEM, None, false, false).expect("deleted");
    assert_eq!(h.ask(THEM), None);
    let none = plumb::arp_set(&h.p, THEM, None, false, false);
    assert_eq!(none, Err(Errno::ENXIO));
}
