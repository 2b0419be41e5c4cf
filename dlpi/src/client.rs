//! The user's side: a DLPI stream as a program sees it, over the system calls.
//!
//! ```text
//!   Client ── putmsg(DL_*_REQ) ──► stream head ──► driver
//!          ◄─ getmsg(ack, hipri) ─      "            one request, one answer
//!          ◄─ getmsg(UNITDATA_IND) ─    "
//! ```
//!
//! Datagrams that arrive while an answer is awaited stay on the stream: answers are
//! high-priority messages and overtake them.
//!
//! Spec: dlpi(7P), getmsg(2), putmsg(2).
//! Kept: nothing a program on Solaris could not do.
//! Not done: several requests under way at once.

use std::fmt;
use std::time::Duration;

use streams::sys::event::{POLLIN, POLLPRI};
use streams::{Errno, PollFd, Sys};

use crate::Statistics;
use crate::addr::{Dlsap, Mac};
use crate::prim::*;

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// A system call did.
    Sys(Errno),
    /// The provider said no to this primitive.
    Dl(&'static str, DlError),
    /// It answered with another primitive than this one.
    Unexpected(&'static str),
    /// Nothing came in time.
    Timeout,
}

impl From<Errno> for Error {
    fn from(e: Errno) -> Error {
        Error::Sys(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sys(e) => e.fmt(f),
            Error::Dl(prim, e) => write!(f, "{prim}: {e}"),
            Error::Unexpected(prim) => write!(f, "{prim} came instead of the answer"),
            Error::Timeout => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for Error {}

/// Something received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Datagram {
    /// The DLSAP it was sent to; empty for bare M_DATA.
    pub dest: Vec<u8>,
    /// The DLSAP it came from; empty for bare M_DATA.
    pub src: Vec<u8>,
    /// It was sent to a group.
    pub group: bool,
    /// The payload, or the whole frame on a raw stream.
    pub data: Vec<u8>,
}

/// A DLPI stream of a process; closed when dropped.
pub struct Client<'a> {
    sys: &'a dyn Sys,
    fd: i32,
    /// How long an answer or a datagram is awaited.
    pub timeout: Duration,
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        let _ = self.sys.close(self.fd); // the process may have closed it
    }
}

impl<'a> Client<'a> {
    /// Opens a device for reading and writing, and attaches it to a PPA (style 2).
    ///
    /// # Errors
    /// Those of open(2); the provider's refusal of the attach.
    pub fn open(sys: &'a dyn Sys, path: &str, ppa: Option<u32>) -> Result<Client<'a>, Error> {
        let fd = sys.open(path, streams::oflag::O_RDWR)?;
        let client = Client {
            sys,
            fd,
            timeout: Duration::from_secs(15),
        };
        if let Some(ppa) = ppa {
            client.ok(&Prim::AttachReq { ppa })?;
        }
        Ok(client)
    }

    /// The descriptor.
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Sends a primitive, with data if given, and awaits nothing.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn put(&self, p: &Prim, data: Option<&[u8]>) -> Result<(), Error> {
        let hipri = p.msg_type().is_high_pri();
        Ok(self
            .sys
            .putmsg(self.fd, Some(&p.emit_bytes()), data, hipri)?)
    }

    /// Sends a request and awaits its answer.
    ///
    /// # Errors
    /// The provider's refusal as [`Error::Dl`].
    pub fn request(&self, p: &Prim) -> Result<Prim, Error> {
        self.put(p, None)?;
        match p {
            // Answered in M_PROTO, in turn with the datagrams.
            Prim::NotifyReq { .. } | Prim::CapabilityReq { .. } | Prim::ControlReq { .. } => {
                self.indication()
            }
            _ => self.answer(),
        }
    }

    /// Awaits the answer to a request.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn answer(&self) -> Result<Prim, Error> {
        self.wait(POLLPRI)?;
        let got = self.sys.getmsg(self.fd, 4096, 0, true)?;
        Self::understood(got.ctl)
    }

    /// The primitive in a control part; a DL_ERROR_ACK is an error.
    fn understood(ctl: Option<Vec<u8>>) -> Result<Prim, Error> {
        match Prim::parse_bytes(ctl.as_deref().unwrap_or_default()) {
            Ok(Prim::ErrorAck {
                error_primitive,
                errno,
                unix_errno,
            }) => {
                let e = DlError {
                    errno: DlErrno(errno),
                    unix: unix_errno as i32,
                };
                Err(Error::Dl(Prim::name_of(error_primitive), e))
            }
            Ok(p) => Ok(p),
            Err(_) => Err(Error::Unexpected("a malformed primitive")),
        }
    }

    fn wait(&self, events: u16) -> Result<(), Error> {
        let mut fds = [PollFd {
            fd: self.fd,
            events,
            revents: 0,
        }];
        match self.sys.poll(&mut fds, Some(self.timeout))? {
            0 => Err(Error::Timeout),
            _ => Ok(()),
        }
    }

    /// A request that DL_OK_ACK answers.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn ok(&self, p: &Prim) -> Result<(), Error> {
        match self.request(p)? {
            Prim::OkAck { correct_primitive } if correct_primitive == p.number() => Ok(()),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DL_INFO_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn info(&self) -> Result<InfoAck, Error> {
        match self.request(&Prim::InfoReq)? {
            Prim::InfoAck { info } => Ok(info),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DL_DETACH_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn detach(&self) -> Result<(), Error> {
        self.ok(&Prim::DetachReq)
    }

    /// DL_BIND_REQ for connectionless service; the DLSAP bound.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn bind(&self, sap: u32) -> Result<Vec<u8>, Error> {
        match self.request(&Prim::bind(sap))? {
            Prim::BindAck { addr, .. } => Ok(addr),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DL_BIND_REQ to an LSAP with LLC, and with DL_AUTO_XID, DL_AUTO_TEST; the DLSAP bound.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn bind_llc(&self, lsap: u8, auto: u32) -> Result<Vec<u8>, Error> {
        let mut p = Prim::bind(lsap.into());
        if let Prim::BindReq { xidtest_flg, .. } = &mut p {
            *xidtest_flg = auto;
        }
        match self.request(&p)? {
            Prim::BindAck { addr, .. } => Ok(addr),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DL_SUBS_BIND_REQ of a class.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn subs_bind(&self, sap: &[u8], class: u32) -> Result<(), Error> {
        let sap = OffLen(sap.to_vec());
        match self.request(&Prim::SubsBindReq { sap, class })? {
            Prim::SubsBindAck { .. } => Ok(()),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DL_SUBS_UNBIND_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn subs_unbind(&self, sap: &[u8]) -> Result<(), Error> {
        let sap = OffLen(sap.to_vec());
        self.ok(&Prim::SubsUnbindReq { sap })
    }

    /// DL_UNBIND_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn unbind(&self) -> Result<(), Error> {
        self.ok(&Prim::UnbindReq)
    }

    /// DL_PHYS_ADDR_REQ for the address in use; empty on a point-to-point link.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn phys_addr(&self) -> Result<Vec<u8>, Error> {
        match self.request(&Prim::PhysAddrReq {
            addr_type: DL_CURR_PHYS_ADDR,
        })? {
            Prim::PhysAddrAck { addr } => Ok(addr),
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// The link's DLSAP for a SAP: where others reach it. Empty on a point-to-point link.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn dlsap(&self, sap: u32) -> Result<Vec<u8>, Error> {
        let addr = self.phys_addr()?;
        Ok(Mac::try_from(&addr[..]).map_or(Vec::new(), |mac| {
            Dlsap::ether(&mac, sap as u16).as_slice().to_vec()
        }))
    }

    /// DL_PROMISCON_REQ and DL_PROMISCOFF_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn promiscuous(&self, level: u32, on: bool) -> Result<(), Error> {
        self.ok(&if on {
            Prim::PromisconReq { level }
        } else {
            Prim::PromiscoffReq { level }
        })
    }

    /// DL_ENABMULTI_REQ and DL_DISABMULTI_REQ.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn multicast(&self, group: &Mac, on: bool) -> Result<(), Error> {
        let addr = group.to_vec();
        self.ok(&if on {
            Prim::EnabmultiReq { addr }
        } else {
            Prim::DisabmultiReq { addr }
        })
    }

    /// DL_GET_STATISTICS_REQ.
    ///
    /// # Errors
    /// As [`Client::request`]; Unexpected for a provider with counters of its own.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        match self.request(&Prim::GetStatisticsReq)? {
            Prim::GetStatisticsAck { stat } => {
                Statistics::from_bytes(&stat).ok_or(Error::Unexpected("other statistics"))
            }
            other => Err(Error::Unexpected(other.name())),
        }
    }

    /// DLIOCRAW: whole frames from now on.
    ///
    /// # Errors
    /// Those of I_STR.
    pub fn raw(&self) -> Result<(), Error> {
        self.sys.i_str(self.fd, DLIOCRAW, &[])?;
        Ok(())
    }

    /// DL_IOC_HDR_INFO: the link header to put before data for a DLSAP, and M_DATA is
    /// taken and given from now on.
    ///
    /// # Errors
    /// EINVAL: not bound, or not an address of the link.
    pub fn fast_path(&self, dest: &[u8]) -> Result<Vec<u8>, Error> {
        let template = Prim::UnitdataReq {
            dest: dest.to_vec(),
            priority_min: 0,
            priority_max: 0,
        }
        .emit_bytes();
        let mut got = self.sys.i_str(self.fd, DL_IOC_HDR_INFO, &template)?.data;
        Ok(got.split_off(template.len().min(got.len())))
    }

    /// DL_UNITDATA_REQ. What the provider has against it comes as DL_UDERROR_IND.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send(&self, dest: &[u8], data: &[u8]) -> Result<(), Error> {
        let p = Prim::UnitdataReq {
            dest: dest.to_vec(),
            priority_min: 0,
            priority_max: 0,
        };
        self.put(&p, Some(data))
    }

    /// Bare M_DATA: on a raw or fast-path stream a whole frame.
    ///
    /// # Errors
    /// Those of putmsg(2).
    pub fn send_frame(&self, frame: &[u8]) -> Result<(), Error> {
        Ok(self.sys.putmsg(self.fd, None, Some(frame), false)?)
    }

    /// Awaits a datagram. Other indications on the way are passed over.
    ///
    /// # Errors
    /// [`Error::Dl`] for a DL_UDERROR_IND; Timeout.
    pub fn recv(&self) -> Result<Datagram, Error> {
        loop {
            self.wait(POLLIN)?;
            let got = self.sys.getmsg(self.fd, 4096, 1 << 17, false)?;
            let data = got.data.unwrap_or_default();
            let Some(ctl) = got.ctl else {
                return Ok(Datagram {
                    data,
                    ..Datagram::default()
                });
            };
            match Prim::parse_bytes(&ctl) {
                Ok(Prim::UnitdataInd { dest, src, group }) => {
                    return Ok(Datagram {
                        dest,
                        src,
                        group: group != 0,
                        data,
                    });
                }
                Ok(Prim::UderrorInd {
                    errno, unix_errno, ..
                }) => {
                    let e = DlError {
                        errno: DlErrno(errno),
                        unix: unix_errno as i32,
                    };
                    return Err(Error::Dl("DL_UNITDATA_REQ", e));
                }
                _ => {}
            }
        }
    }

    /// A datagram, if one is there now.
    ///
    /// # Errors
    /// As [`Client::recv`].
    pub fn try_recv(&self) -> Result<Option<Datagram>, Error> {
        let mut fds = [PollFd {
            fd: self.fd,
            events: POLLIN,
            revents: 0,
        }];
        match self.sys.poll(&mut fds, Some(Duration::ZERO))? {
            0 => Ok(None),
            _ => self.recv().map(Some),
        }
    }

    /// Awaits whatever comes next: a DL_NOTIFY_IND, for instance.
    ///
    /// # Errors
    /// Timeout, those of getmsg(2), a DL_ERROR_ACK as [`Error::Dl`].
    pub fn indication(&self) -> Result<Prim, Error> {
        self.indication_with_data().map(|(p, _)| p)
    }

    /// The same with its data: DL_TEST_CON, for instance.
    ///
    /// # Errors
    /// As [`Client::indication`].
    pub fn indication_with_data(&self) -> Result<(Prim, Vec<u8>), Error> {
        self.wait(POLLIN | POLLPRI)?;
        let got = self.sys.getmsg(self.fd, 4096, 1 << 17, false)?;
        Self::understood(got.ctl).map(|p| (p, got.data.unwrap_or_default()))
    }
}
