//! UDP port 434, by TPI.
//!
//! ```text
//!   /dev/udp    T_BIND_REQ 434 ─► T_UNITDATA_IND: messages; T_UDERROR_IND: nobody there
//!   /dev/rawip  a whole datagram, for a source address of one's own choice
//! ```
//!
//! Spec: udp(7P), icmp(7P) (SO_DGRAM_ERRIND, IP_HDRINCL); RFC 5944 3.8.3.2 (a reply comes
//! from the address that the request went to).

use std::net::Ipv4Addr;

use ipmod::raw_options::{IP_HDRINCL, SO_PROTOTYPE};
use ipmod::tpi;
use ipmod::tpi_options::T_NEGOTIATE;
use ipmod::udp_options::{IP_TTL, IPPROTO_IP, SO_BROADCAST, SO_DGRAM_ERRIND, SOL_SOCKET};
use streams::{Errno, Sys, oflag};

use crate::PORT;
use crate::link::udp_datagram;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A message and who sent it.
    Message(Ipv4Addr, u16, Vec<u8>),
    /// A message to this address can't get there.
    Failed(Ipv4Addr, Errno),
}

/// The port.
pub struct Port<'a> {
    sys: &'a dyn Sys,
    udp: i32,
    raw: i32,
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        for fd in [self.udp, self.raw] {
            let _ = self.sys.close(fd); // the process may have ended
        }
    }
}

fn bound(
    sys: &dyn Sys,
    device: &str,
    port: u16,
    options: &[(u32, u32, u32)],
) -> Result<i32, Errno> {
    let fd = sys.open(device, oflag::O_RDWR | oflag::O_NONBLOCK)?;
    let ask = |req: &[u8]| {
        sys.putmsg(fd, Some(req), None, false)?;
        let ack = sys.getmsg(fd, 256, 0, false)?.ctl.ok_or(Errno::EPROTO)?;
        Ok::<_, Errno>(tpi::words(&ack)[0])
    };
    let done = (|| {
        for o in options {
            if ask(&tpi::optmgmt_req(T_NEGOTIATE, &[*o]))? == tpi::T_ERROR_ACK {
                return Err(Errno::EPERM);
            }
        }
        match ask(&tpi::bind_req(&tpi::sockaddr_bytes(port, 0)))? {
            tpi::T_BIND_ACK => Ok(fd),
            _ => Err(Errno::EADDRINUSE),
        }
    })();
    if done.is_err() {
        let _ = sys.close(fd); // the error is what counts
    }
    done
}

impl<'a> Port<'a> {
    /// Opens and binds it.
    ///
    /// # Errors
    /// EADDRINUSE: another program has it; EPERM: it needs privilege; those of open(2).
    pub fn open(sys: &'a dyn Sys) -> Result<Port<'a>, Errno> {
        let options = [
            (SOL_SOCKET, SO_BROADCAST, 1),
            (SOL_SOCKET, SO_DGRAM_ERRIND, 1),
            (IPPROTO_IP, IP_TTL, 255), // RFC 3024 3.1: the agent sees who is near
        ];
        let udp = bound(sys, "/dev/udp", PORT, &options)?;
        let whole = [(SOL_SOCKET, SO_PROTOTYPE, 255), (IPPROTO_IP, IP_HDRINCL, 1)];
        match bound(sys, "/dev/rawip", 0, &whole) {
            Ok(raw) => Ok(Port { sys, udp, raw }),
            Err(e) => {
                let _ = sys.close(udp); // the error is what counts
                Err(e)
            }
        }
    }

    /// The descriptor, for poll(2).
    pub fn fd(&self) -> i32 {
        self.udp
    }

    /// What has come, if anything.
    ///
    /// # Errors
    /// Those of getmsg(2).
    pub fn receive(&self) -> Result<Option<Came>, Errno> {
        loop {
            let got = match self.sys.getmsg(self.udp, 128, 65536, false) {
                Err(Errno::EAGAIN) => return Ok(None),
                r => r?,
            };
            let Some(ctl) = got.ctl else { continue };
            let [prim, len, off, _] = tpi::words(&ctl);
            let end = (off as usize).saturating_add(len as usize);
            let who = ctl.get(off as usize..end).and_then(tpi::sockaddr);
            let Some((port, who)) = who else { continue };
            match (prim, got.data) {
                // T_UNITDATA_IND
                (20, Some(data)) => return Ok(Some(Came::Message(who.into(), port, data))),
                // T_UDERROR_IND, with its ERROR_type in the sixth word
                (21, _) => {
                    let e = ctl.get(20..24).and_then(|b| b.try_into().ok());
                    let e = Errno::from_number(e.map_or(0, i32::from_ne_bytes));
                    return Ok(Some(Came::Failed(who.into(), e)));
                }
                _ => {}
            }
        }
    }

    /// Sends from the address that the route gives.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send(&self, to: Ipv4Addr, port: u16, data: &[u8]) -> Result<(), Errno> {
        let req = tpi::unitdata_req(&tpi::sockaddr_bytes(port, to.into()));
        self.sys.putmsg(self.udp, Some(&req), Some(data), false)
    }

    /// Sends from this address of ours.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send_from(
        &self,
        from: Ipv4Addr,
        to: Ipv4Addr,
        port: u16,
        data: &[u8],
    ) -> Result<(), Errno> {
        let whole = udp_datagram((from, PORT), (to, port), 255, data);
        let req = tpi::unitdata_req(&tpi::sockaddr_bytes(0, to.into()));
        self.sys.putmsg(self.raw, Some(&req), Some(&whole), false)
    }
}
