//! IPv6 through the tunnel by a program, as `atun` did it in the kernel: our IP is IPv4.
//!
//! ```text
//!   /dev/tun, SAP 0x86dd ◄── DL_UNITDATA ──► us ◄── DL_UNITDATA ──► vtunl ── /dev/ip
//!      IPv6 of the TUN device                        protocol 41 or 47, Figure 2(a)
//! ```
//!
//! Spec: dlpi(7P), RFC 4213 section 3, RFC 2784.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use dlpi::prim::{Prim, SAP_IPV6};
use streams::modules::bufmod::SBIOCSCHUNK;
use streams::{Cred, Errno, Ioctl, Kernel, Process, Sys, oflag};
use vtunl::client::Client;

use crate::ends::OURS;

/// Bytes that may wait for us.
const READ_QUEUE: u32 = 1 << 20;

/// Starts two threads that carry datagrams, one each way, until the process ends.
/// `protocol` is 41 or, for GRE, 47.
pub fn start(kernel: &Kernel, protocol: &str) -> bool {
    let p = Arc::new(kernel.process(Cred::ROOT));
    match streams(&p, protocol) {
        Ok((link, tunnel)) => {
            let q = Arc::clone(&p);
            thread::spawn(move || carry(&p, link, tunnel));
            thread::spawn(move || carry(&q, tunnel, link));
            true
        }
        Err(e) => {
            println!("atun: {e}");
            false
        }
    }
}

/// A stream on the TUN device, one on the tunnel.
fn streams(p: &Process, protocol: &str) -> Result<(i32, i32), Errno> {
    let link = p.open("/dev/tun", oflag::O_RDWR)?;
    let tunnel = p.open("/dev/ip", oflag::O_RDWR)?;
    p.push(tunnel, "vtunl")?;
    let protocol = protocol.parse().map_err(|_| Errno::EINVAL)?;
    let ours: Ipv4Addr = OURS.parse().map_err(|_| Errno::EINVAL)?;
    Client::new(p, tunnel).setconf_transport(ours, protocol)?;
    for fd in [link, tunnel] {
        // The read queue of a stream head holds 5 KB; bufmod(7M) is how a program gets more.
        p.push(fd, "bufmod")?;
        p.i_str(fd, SBIOCSCHUNK, &READ_QUEUE.to_ne_bytes())?;
        p.ioctl(fd, Ioctl::Pop)?;
        for req in [Prim::AttachReq { ppa: 0 }, Prim::bind(SAP_IPV6)] {
            p.putmsg(fd, Some(&req.emit_bytes()), None, false)?;
            let ack = p.getmsg(fd, 256, 256, true)?.ctl.unwrap_or_default();
            if !matches!(
                Prim::parse_bytes(&ack),
                Ok(Prim::OkAck { .. } | Prim::BindAck { .. })
            ) {
                return Err(Errno::EPROTO);
            }
        }
    }
    Ok((link, tunnel))
}

fn carry(p: &Process, from: i32, to: i32) {
    let request = Prim::UnitdataReq {
        dest: vec![],
        priority_min: 0,
        priority_max: 0,
    };
    let ctl = request.emit_bytes();
    while let Ok(got) = p.getmsg(from, 256, 65536, false) {
        let Some(data) = got.data else { continue };
        if p.putmsg(to, Some(&ctl), Some(&data), false).is_err() {
            return;
        }
    }
}
