//! Traffic for the demo and the tests: a TCP transfer and numbered UDP datagrams, each
//! polled and never waiting.
//!
//! ```text
//!   Server  /dev/tcp  T_BIND_REQ, T_CONN_IND, T_CONN_RES    writes its bytes, so many a turn
//!   Client  /dev/tcp  T_CONN_REQ, T_CONN_CON                reads, and compares at the end
//!   Numbers /dev/udp                                        which came, how often, in order?
//! ```
//!
//! Spec: tihdr(7P).

use std::net::Ipv4Addr;

use ipmod::tpi;
use streams::{Errno, Got, Sys, oflag};

/// An open stream that is never waited for.
struct Stream<'a>(&'a dyn Sys, i32);

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let _ = self.0.close(self.1); // the process may have ended
    }
}

impl<'a> Stream<'a> {
    fn open(sys: &'a dyn Sys, device: &str) -> Result<Stream<'a>, Errno> {
        let fd = sys.open(device, oflag::O_RDWR | oflag::O_NONBLOCK)?;
        Ok(Stream(sys, fd))
    }

    fn bind(&self, addr: Ipv4Addr, port: u16, conind: u32) -> Result<(), Errno> {
        let mut req = tpi::bind_req(&tpi::sockaddr_bytes(port, addr.into()));
        req[12..16].copy_from_slice(&conind.to_ne_bytes());
        match self.ask(&req)?[0] {
            tpi::T_BIND_ACK => Ok(()),
            _ => Err(Errno::EADDRINUSE),
        }
    }

    fn put(&self, ctl: &[u8]) -> Result<(), Errno> {
        self.0.putmsg(self.1, Some(ctl), None, false)
    }

    /// A request that is answered at once.
    fn ask(&self, ctl: &[u8]) -> Result<[u32; 4], Errno> {
        self.put(ctl)?;
        let got = self.0.getmsg(self.1, 256, 0, false)?;
        Ok(tpi::words(&got.ctl.ok_or(Errno::EPROTO)?))
    }

    fn get(&self) -> Result<Option<Got>, Errno> {
        match self.0.getmsg(self.1, 256, 65536, false) {
            Ok(got) => Ok(Some(got)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn words(w: &[u32]) -> Vec<u8> {
    w.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

/// The bytes that are transferred: no two places look alike.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9u32;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Waits for a connection and sends its bytes by and by.
pub struct Server<'a> {
    listener: Stream<'a>,
    peer: Option<Stream<'a>>,
    data: Vec<u8>,
    sent: usize,
    released: bool,
}

impl<'a> Server<'a> {
    /// Listens on a port.
    ///
    /// # Errors
    /// EADDRINUSE; those of open(2).
    pub fn new(sys: &'a dyn Sys, port: u16, data: Vec<u8>) -> Result<Server<'a>, Errno> {
        let listener = Stream::open(sys, "/dev/tcp")?;
        listener.bind(Ipv4Addr::UNSPECIFIED, port, 1)?;
        Ok(Server {
            listener,
            peer: None,
            data,
            sent: 0,
            released: false,
        })
    }

    /// Its turn: at most so many bytes are written.
    ///
    /// # Errors
    /// The connection broke: ECONNRESET; those of system calls.
    pub fn turn(&mut self, most: usize) -> Result<(), Errno> {
        let Some(peer) = &self.peer else {
            return self.accept();
        };
        let end = (self.sent + most).min(self.data.len());
        if self.sent < end {
            match peer.0.write(peer.1, &self.data[self.sent..end]) {
                Ok(n) => self.sent += n,
                Err(Errno::EAGAIN) => {}
                Err(e) => return Err(e),
            }
        } else if !self.released {
            peer.put(&words(&[tpi::T_ORDREL_REQ]))?;
            self.released = true;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Errno> {
        let Some(got) = self.listener.get()? else {
            return Ok(());
        };
        let ctl = got.ctl.ok_or(Errno::EPROTO)?;
        if tpi::words(&ctl)[0] != tpi::T_CONN_IND {
            return Err(Errno::EPROTO);
        }
        let seq = ctl.get(20..24).ok_or(Errno::EPROTO)?.to_vec();
        let to = Stream::open(self.listener.0, "/dev/tcp")?;
        to.bind(Ipv4Addr::UNSPECIFIED, 0, 0)?;
        to.put(&words(&[tpi::T_CAPABILITY_REQ, 2]))?; // TC1_ACCEPTOR_ID
        let ack = to.get()?.and_then(|g| g.ctl).ok_or(Errno::EPROTO)?;
        let id = ack.last_chunk::<4>().ok_or(Errno::EPROTO)?;
        let mut res = words(&[tpi::T_CONN_RES, u32::from_ne_bytes(*id), 0, 0]);
        res.extend(seq);
        match self.listener.ask(&res)?[0] {
            tpi::T_OK_ACK => self.peer = Some(to),
            _ => return Err(Errno::EPROTO),
        }
        Ok(())
    }

    /// Bytes that TCP has taken.
    pub fn sent(&self) -> usize {
        self.sent
    }
}

/// Connects and reads to the end.
pub struct Client<'a> {
    stream: Stream<'a>,
    /// What has come.
    pub got: Vec<u8>,
    /// The peer has released: all is there.
    pub ended: bool,
}

impl<'a> Client<'a> {
    /// Connects from an address of this host.
    ///
    /// # Errors
    /// EADDRNOTAVAIL; those of system calls.
    pub fn new(sys: &'a dyn Sys, from: Ipv4Addr, to: (Ipv4Addr, u16)) -> Result<Client<'a>, Errno> {
        let stream = Stream::open(sys, "/dev/tcp")?;
        stream.bind(from, 0, 0)?;
        let req = tpi::conn_req(&tpi::sockaddr_bytes(to.1, to.0.into()));
        if stream.ask(&req)?[0] != tpi::T_OK_ACK {
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(Client {
            stream,
            got: Vec::new(),
            ended: false,
        })
    }

    /// Its turn.
    ///
    /// # Errors
    /// The connection broke: ECONNRESET and its like; those of system calls.
    pub fn turn(&mut self) -> Result<(), Errno> {
        while let Some(got) = self.stream.get()? {
            if let Some(ctl) = &got.ctl {
                match tpi::words(ctl) {
                    [tpi::T_CONN_CON, ..] => {}
                    [tpi::T_ORDREL_IND, ..] => {
                        self.ended = true;
                        self.stream.put(&words(&[tpi::T_ORDREL_REQ]))?;
                        return Ok(());
                    }
                    [tpi::T_DISCON_IND, why, ..] => return Err(Errno::from_number(why as i32)),
                    _ => {}
                }
            }
            match got.data {
                Some(data) => self.got.extend(data),
                None if got.ctl.is_none() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}

/// Numbered datagrams to one port, and those that came to it.
pub struct Numbers<'a> {
    stream: Stream<'a>,
    next: u32,
    /// The numbers that came, in their order.
    pub came: Vec<u32>,
}

impl<'a> Numbers<'a> {
    /// Opens a port.
    ///
    /// # Errors
    /// EADDRINUSE; those of system calls.
    pub fn new(sys: &'a dyn Sys, addr: Ipv4Addr, port: u16) -> Result<Numbers<'a>, Errno> {
        let stream = Stream::open(sys, "/dev/udp")?;
        stream.bind(addr, port, 0)?;
        Ok(Numbers {
            stream,
            next: 0,
            came: Vec::new(),
        })
    }

    /// Sends the next number.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send(&mut self, to: (Ipv4Addr, u16)) -> Result<(), Errno> {
        let req = tpi::unitdata_req(&tpi::sockaddr_bytes(to.1, to.0.into()));
        let (sys, fd) = (self.stream.0, self.stream.1);
        sys.putmsg(fd, Some(&req), Some(&self.next.to_be_bytes()), false)?;
        self.next += 1;
        Ok(())
    }

    /// Numbers sent.
    pub fn sent(&self) -> u32 {
        self.next
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// Those of getmsg(2).
    pub fn receive(&mut self) -> Result<(), Errno> {
        while let Some(got) = self.stream.get()? {
            let n = got.data.as_deref().and_then(|d| d.first_chunk::<4>());
            self.came.extend(n.map(|n| u32::from_be_bytes(*n)));
        }
        Ok(())
    }
}
