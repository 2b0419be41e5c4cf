//! A transport user on /dev/tcp, /dev/udp or /dev/icmp under a clock that runs: what a
//! program does with TLI.
//!
//! ```text
//!   bind ─► T_BIND_REQ        connect ─► T_CONN_REQ .. T_CONN_CON
//!   accept ─► T_CONN_IND .. T_CAPABILITY_REQ, T_CONN_RES      write, release, read_to_end
//!   send_to ─► T_UNITDATA_REQ      recv_from ◄─ T_UNITDATA_IND      set ─► T_OPTMGMT_REQ
//! ```
//!
//! Every wait has an end: [`PATIENCE`].
//!
//! Spec: tihdr(7P).

use std::net::SocketAddrV4;
use std::time::Duration;

use ipmod::tpi;
use ipmod::tpi_options::T_NEGOTIATE;
use streams::sys::event::{POLLIN, POLLPRI};
use streams::{Got, PollFd, Process, Sys, oflag};

use crate::netns::PATIENCE;

/// An open stream of a transport provider.
pub struct Endpoint<'a> {
    p: &'a Process,
    /// Its descriptor.
    pub fd: i32,
}

/// The words of a control part.
pub fn words(ctl: &[u8]) -> Vec<u32> {
    ctl.chunks_exact(4)
        .map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]))
        .collect()
}

/// A control part of words.
pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

/// The 16 bytes of a TPI address.
pub fn sockaddr(a: SocketAddrV4) -> [u8; 16] {
    tpi::sockaddr_bytes(a.port(), (*a.ip()).into())
}

impl<'a> Endpoint<'a> {
    /// Opens /dev/tcp and binds it: a port (0 for any) and CONIND_number.
    ///
    /// # Panics
    /// As every call here: if the provider refuses or says nothing in time.
    #[track_caller]
    pub fn tcp(p: &'a Process, port: u16, qlen: u32) -> Endpoint<'a> {
        let fd = p.open("/dev/tcp", oflag::O_RDWR).expect("open");
        let e = Endpoint { p, fd };
        let mut req = tpi::bind_req(&tpi::sockaddr_bytes(port, 0));
        req[12..16].copy_from_slice(&qlen.to_ne_bytes());
        assert_eq!(e.ask(&req)[0], tpi::T_BIND_ACK);
        e
    }

    /// An open stream of any provider.
    pub fn over(p: &'a Process, fd: i32) -> Endpoint<'a> {
        Endpoint { p, fd }
    }

    /// Control and data of the next message, however many calls it takes.
    #[track_caller]
    pub fn whole(&self) -> (Vec<u8>, Vec<u8>) {
        let mut got = self.next();
        let ctl = got.ctl.take().unwrap_or_default();
        let mut data = got.data.take().unwrap_or_default();
        while got.more != 0 {
            got = self.next();
            data.extend(got.data.take().unwrap_or_default());
        }
        (ctl, data)
    }

    /// Opens a connectionless provider, /dev/udp or /dev/icmp, and binds it: a port, 0 for
    /// any.
    #[track_caller]
    pub fn datagrams(p: &'a Process, device: &str, port: u16) -> Endpoint<'a> {
        let fd = p.open(device, oflag::O_RDWR).expect("open");
        let e = Endpoint { p, fd };
        let ack = e.ask(&tpi::bind_req(&tpi::sockaddr_bytes(port, 0)));
        assert_eq!(ack[0], tpi::T_BIND_ACK);
        e
    }

    /// Sets an option: level, name, value.
    #[track_caller]
    pub fn set(&self, level: u32, name: u32, value: u32) {
        let ack = self.ask(&tpi::optmgmt_req(T_NEGOTIATE, &[(level, name, value)]));
        assert_eq!(ack[0], tpi::T_OPTMGMT_ACK, "option {level}, {name}");
    }

    /// T_UNITDATA_REQ.
    #[track_caller]
    pub fn send_to(&self, to: SocketAddrV4, data: &[u8]) {
        let req = tpi::unitdata_req(&sockaddr(to));
        self.p
            .putmsg(self.fd, Some(&req), Some(data), false)
            .expect("putmsg");
    }

    /// T_UNITDATA_IND: who sent it, and the data.
    #[track_caller]
    pub fn recv_from(&self) -> (SocketAddrV4, Vec<u8>) {
        let got = self.next();
        let ctl = got.ctl.expect("a control part");
        assert_eq!(words(&ctl)[0], tpi::T_UNITDATA_IND);
        let (port, a) = tpi::sockaddr(&ctl[20..36]).expect("an address");
        (
            SocketAddrV4::new(a.into(), port),
            got.data.unwrap_or_default(),
        )
    }

    /// Does anything come within the time?
    pub fn hears(&self, within: Duration) -> bool {
        let mut fds = [PollFd {
            fd: self.fd,
            events: POLLIN | POLLPRI,
            revents: 0,
        }];
        self.p.poll(&mut fds, Some(within)).expect("poll") == 1
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> Got {
        let mut fds = [PollFd {
            fd: self.fd,
            events: POLLIN | POLLPRI,
            revents: 0,
        }];
        let n = self.p.poll(&mut fds, Some(PATIENCE)).expect("poll");
        assert_eq!(n, 1, "nothing came within {PATIENCE:?}");
        self.p.getmsg(self.fd, 256, 65536, false).expect("getmsg")
    }

    /// The words of the next message's control part.
    #[track_caller]
    pub fn next_words(&self) -> Vec<u32> {
        words(&self.next().ctl.expect("a control part"))
    }

    /// Sends a request; the answer's words.
    #[track_caller]
    pub fn ask(&self, req: &[u8]) -> Vec<u32> {
        self.send(req);
        self.next_words()
    }

    /// Sends a request that has no answer.
    #[track_caller]
    pub fn send(&self, req: &[u8]) {
        self.p
            .putmsg(self.fd, Some(req), None, false)
            .expect("putmsg");
    }

    /// Connects; the words of T_CONN_CON or T_DISCON_IND.
    #[track_caller]
    pub fn connect(&self, to: SocketAddrV4) -> Vec<u32> {
        assert_eq!(self.ask(&tpi::conn_req(&sockaddr(to)))[0], tpi::T_OK_ACK);
        self.next_words()
    }

    /// Waits for a connection and takes it on a stream of its own.
    #[track_caller]
    pub fn accept(&self) -> Endpoint<'a> {
        let ind = self.next_words();
        assert_eq!(ind[0], tpi::T_CONN_IND);
        let to = Endpoint::tcp(self.p, 0, 0);
        let id = to.ask(&bytes(&[tpi::T_CAPABILITY_REQ, 2]));
        let id = *id.last().expect("ACCEPTOR_id");
        let ok = self.ask(&bytes(&[tpi::T_CONN_RES, id, 0, 0, ind[5]]));
        assert_eq!(ok[0], tpi::T_OK_ACK);
        to
    }

    /// Writes all of it; waits while the provider has no room.
    #[track_caller]
    pub fn write(&self, mut data: &[u8]) {
        while !data.is_empty() {
            let n = self.p.write(self.fd, data).expect("write");
            data = &data[n..];
        }
    }

    /// Releases in order.
    #[track_caller]
    pub fn release(&self) {
        self.send(&bytes(&[tpi::T_ORDREL_REQ]));
    }

    /// All data up to the peer's orderly release.
    #[track_caller]
    pub fn read_to_end(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let got = self.next();
            if let Some(ctl) = got.ctl {
                let w = words(&ctl);
                assert_eq!(w[0], tpi::T_ORDREL_IND, "{w:?} after {} bytes", all.len());
                return all;
            }
            all.extend(got.data.unwrap_or_default());
        }
    }
}

impl Drop for Endpoint<'_> {
    fn drop(&mut self) {
        let _ = self.p.close(self.fd); // open, or the process has gone
    }
}
