//! A whole emulated host with a tunnel, as Figure 2(a), between two links of the test's own.
//!
//! ```text
//!   inner datagrams ──► mem0 ─ ip ──► ip0 ─ vtunl ─ /dev/ip ──► mem1 ──► outer datagrams
//!                  ◄──                                              ◄──
//!      the "inside"                                                    the "outside"
//! ```
//!
//! Everything is done by system calls, as the shell does it.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dlpi::link::pcap::Pcap;
use dlpi::link::{Link, Medium};
use dlpi::{Dlpi, Links};
use ipmod::plumb;
use streams::{Config, Cred, Doorbell, Errno, Kernel, Process, Sys, oflag};
use vtunl::client::{Binding, Client};
use vtunl::header::IPPROTO_ENCAP;

use crate::delta::{Counters, Snapshot};

/// The gateway's address on the inside.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 2);
/// Who is at the other end of the inside link.
pub const INSIDE_PEER: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 1);
/// Any address: the host route to it leads into the tunnel.
pub const DUMMY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The addresses of a gateway's outer side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours: the outer source.
    pub here: Ipv4Addr,
    /// The exit: the outer destination.
    pub there: Ipv4Addr,
}

impl Ends {
    /// Two gateways on one wire.
    pub const LEFT: Ends = Ends {
        here: Ipv4Addr::new(10, 9, 0, 1),
        there: Ipv4Addr::new(10, 9, 0, 2),
    };
    /// The one at the other end.
    pub const RIGHT: Ends = Ends {
        here: Ends::LEFT.there,
        there: Ends::LEFT.here,
    };
}

/// A link whose frames the test gives and takes.
#[derive(Clone, Default)]
pub struct MemLink(Arc<Mutex<Mem>>);

#[derive(Default)]
struct Mem {
    bell: Option<Doorbell>,
    inbox: VecDeque<Vec<u8>>,
    /// One frame that comes in over and over, and how often yet.
    again: (Vec<u8>, usize),
    outbox: Vec<Vec<u8>>,
    count_only: bool,
    sent: usize,
}

impl MemLink {
    fn with<R>(&self, f: impl FnOnce(&mut Mem) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
    fn ring(&self) {
        if let Some(b) = self.with(|m| m.bell.clone()) {
            b.ring();
        }
    }
    /// Frames come in.
    pub fn feed(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.with(|m| m.inbox.extend(frames));
        self.ring();
    }
    /// The same frame comes in `n` times, without anything being allocated for it.
    pub fn feed_again(&self, frame: &[u8], n: usize) {
        self.with(|m| {
            m.again.0.clear();
            m.again.0.extend_from_slice(frame);
            m.again.1 = n;
        });
        self.ring();
    }
    /// What was sent since it was last asked.
    pub fn take(&self) -> Vec<Vec<u8>> {
        self.with(|m| std::mem::take(&mut m.outbox))
    }
    /// Only counts what is sent, from now on.
    pub fn count_only(&self) {
        self.with(|m| m.count_only = true);
    }
    /// How many frames were sent.
    pub fn sent(&self) -> usize {
        self.with(|m| m.sent)
    }
}

impl Link for MemLink {
    fn medium(&self) -> Medium {
        Medium::PointToPoint
    }
    fn mtu(&self) -> u32 {
        1500
    }
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.with(|m| {
            m.sent += 1;
            if !m.count_only {
                m.outbox.push(frame.to_vec());
            }
        });
        Ok(())
    }
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.with(|m| {
            if m.again.1 > 0 {
                m.again.1 -= 1;
                let n = m.again.0.len();
                buf[..n].copy_from_slice(&m.again.0);
                return Some(n);
            }
            m.inbox.pop_front().map(|f| {
                buf[..f.len()].copy_from_slice(&f);
                f.len()
            })
        }))
    }
    fn attach(&mut self, bell: Doorbell) {
        self.with(|m| m.bell = Some(bell));
    }
}

/// The host.
pub struct Gateway {
    /// Its kernel.
    pub kernel: Kernel,
    /// The process that configured it.
    pub admin: Process,
    /// The tunnel's interface.
    pub tunnel: String,
}

impl Gateway {
    /// A gateway between two links, all of whose traffic for anybody unknown goes to one
    /// exit; everything that comes from there is decapsulated.
    ///
    /// # Errors
    /// Whatever one of the steps says.
    pub fn new(
        inside: impl FnMut() -> io::Result<Box<dyn Link>> + Send + 'static,
        outside: impl FnMut() -> io::Result<Box<dyn Link>> + Send + 'static,
        ends: Ends,
    ) -> Result<Gateway, Errno> {
        let kernel = Kernel::with_config(Config::test()).map_err(|_| Errno::EAGAIN)?;
        streams::register(&kernel)?;
        ipmod::register(&kernel)?;
        vtunl::register(&kernel)?;
        let (mut inside, mut outside) = (inside, outside);
        let make = move |ppa: u32| if ppa == 0 { inside() } else { outside() };
        kernel.add_drv_with::<Dlpi>("mem", Links::new(Box::new(make)))?;
        let admin = kernel.process(Cred::ROOT);
        let sys: &dyn Sys = &admin;

        for (ppa, own, peer) in [(0, INSIDE, INSIDE_PEER), (1, ends.here, ends.there)] {
            let name = plumb::plumb(sys, "/dev/mem", &[], ppa)?;
            plumb::set_address(sys, &name, own)?;
            plumb::set_destination(sys, &name, peer)?;
            plumb::up(sys, &name)?;
        }

        // Figure 2(a): vtunl over /dev/ip, ip over vtunl.
        let fd = sys.open("/dev/ip", oflag::O_RDWR)?;
        sys.push(fd, "vtunl")?;
        Client::new(sys, fd).setconf_transport(ends.here, IPPROTO_ENCAP)?;
        let tunnel = plumb::plumb_fd(sys, fd, "/dev/ip", u32::MAX)?;
        sys.close(fd)?;
        plumb::set_address(sys, &tunnel, ends.here)?;
        plumb::set_destination(sys, &tunnel, DUMMY)?;
        plumb::up(sys, &tunnel)?;

        let ctl = sys.open("/dev/vtunl", oflag::O_RDWR)?;
        let vtunl = Client::new(sys, ctl);
        vtunl.encap_add(&Binding::new(vtunl::client::DEFAULT, ends.there))?;
        vtunl.decap_all(true)?;
        sys.close(ctl)?;
        Ok(Gateway {
            kernel,
            admin,
            tunnel,
        })
    }

    /// A gateway between two links of memory.
    ///
    /// # Errors
    /// As [`Gateway::new`].
    pub fn in_memory(ends: Ends) -> Result<(Gateway, MemLink, MemLink), Errno> {
        let (a, b) = (MemLink::default(), MemLink::default());
        let (inside, outside) = (a.clone(), b.clone());
        let gateway = Gateway::new(
            move || Ok(Box::new(inside.clone())),
            move || Ok(Box::new(outside.clone())),
            ends,
        )?;
        Ok((gateway, a, b))
    }

    /// A gateway whose links are capture files: what one of them holds comes in, what goes
    /// out is written to the other.
    ///
    /// # Errors
    /// As [`Gateway::new`]; ENXIO if a file can't be opened.
    pub fn between_captures(
        read: Side,
        input: &Path,
        output: &Path,
        ends: Ends,
    ) -> Result<Gateway, Errno> {
        let (input, output) = (input.to_owned(), output.to_owned());
        let reader = move || Ok(Box::new(Pcap::open(Some(&input), None)?) as Box<dyn Link>);
        let writer = move || Ok(Box::new(Pcap::open(None, Some(&output))?) as Box<dyn Link>);
        let g = match read {
            Side::Inside => Gateway::new(reader, writer, ends),
            Side::Outside => Gateway::new(writer, reader, ends),
        }?;
        // A file takes datagrams of any size: a full-sized one fits with its outer header.
        for name in ["mem0", "mem1"] {
            plumb::set_mtu(&g.admin, name, 65535)?;
        }
        Ok(g)
    }

    /// Everything not routed elsewhere goes through the tunnel.
    ///
    /// # Errors
    /// Those of SIOCADDRT.
    pub fn default_route_into_tunnel(&self) -> Result<(), Errno> {
        let any = Ipv4Addr::UNSPECIFIED;
        plumb::route_add(&self.admin, any, any, DUMMY, ipmod::ire::RTF_GATEWAY)
    }

    /// Everything not routed elsewhere goes to the inside.
    ///
    /// # Errors
    /// Those of SIOCADDRT.
    pub fn default_route_inside(&self) -> Result<(), Errno> {
        let any = Ipv4Addr::UNSPECIFIED;
        plumb::route_add(&self.admin, any, any, INSIDE_PEER, ipmod::ire::RTF_GATEWAY)
    }

    /// Unplumbs everything: what was to be written to a capture is written.
    ///
    /// # Errors
    /// As `ifconfig unplumb`.
    pub fn shut_down(self) -> Result<(), Errno> {
        for i in plumb::interfaces(&self.admin)? {
            if i.name != "lo0" {
                plumb::unplumb(&self.admin, &i.name)?;
            }
        }
        self.admin.exit();
        Ok(())
    }

    /// Runs until there is nothing to do.
    pub fn settle(&self) {
        self.kernel.run_until_idle();
    }

    /// IP's counters.
    pub fn ip(&self) -> Snapshot {
        plumb::counters(&self.admin).unwrap_or_default().snapshot()
    }

    /// What was dropped: `module: reason`.
    pub fn drops(&self) -> Snapshot {
        let drops = self.kernel.drops();
        drops
            .into_iter()
            .map(|((module, why), n)| (format!("{module}: {why}"), n))
            .collect()
    }
}

/// Which side of a gateway a capture is read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Inner datagrams are read, outer ones written.
    Inside,
    /// The other way.
    Outside,
}
