//! What `plumb` puts behind a data link: a wire, a device of this machine, capture files.
//!
//! ```text
//!   plumb le0 on net        a port on a wire, with the wire's faults
//!   plumb le0 tap emu0      the other end of a TAP        plumb le0 live eth1   packet(7)
//!   plumb tun0 name emu1    a TUN                         plumb tun0 fd 3       a parent's
//!   plumb pcap0 in FILE out FILE
//! ```

use std::io;
use std::path::PathBuf;

use dlpi::link::tun::TunOptions;
use dlpi::link::wire::Wire;

use crate::command::Args;
use crate::devices::{Gate, PCAP, Spec, TUN};
use crate::diag::{Done, Fail};
use crate::lab::ClockKind;
use crate::lex::{Word, quote};
use crate::shell::Shell;
use crate::values::{self, mask_of};

/// What this machine refused.
pub fn refused(e: &io::Error, spec: &Spec, w: &Word) -> Fail {
    let what = match spec {
        Spec::Tun(_) | Spec::Tap(..) => format!("/dev/net/tun for {}", w.text),
        Spec::Live(name) => format!("packet(7) on {name} for {}", w.text),
        Spec::Handed(number) => format!("descriptor {number} for {}", w.text),
        Spec::Wire(..) | Spec::Pcap(..) => w.text.clone(),
    };
    let fail = Fail::io(what, e).at(w.span);
    match (spec, e.kind()) {
        (Spec::Tun(_) | Spec::Tap(..), io::ErrorKind::PermissionDenied) => fail
            .mend("a TUN or TAP device needs the privilege CAP_NET_ADMIN: root, or `unshare -Urn`"),
        (Spec::Tun(_) | Spec::Tap(..), io::ErrorKind::NotFound) => {
            fail.mend("this machine has no TUN or TAP devices: is the kernel's module tun loaded?")
        }
        (Spec::Tun(_) | Spec::Tap(..), io::ErrorKind::ResourceBusy) => {
            fail.mend("another process has the device open")
        }
        (Spec::Live(_), io::ErrorKind::PermissionDenied) => {
            fail.mend("a packet socket needs the privilege CAP_NET_RAW: root, or `unshare -Urn`")
        }
        (Spec::Handed(_), _) => fail.mend(
            "it has to be open in this process, a TUN's for tun0, a TAP's for le0, and made \
             with IFF_NO_PI",
        ),
        _ => fail,
    }
}

/// A device of this machine can't be had under the emulated clock.
fn needs_real_clock(sh: &Shell, what: &str, w: &Word) -> Done {
    if sh.lab.clock == ClockKind::Real {
        return Ok(());
    }
    Err(
        Fail::failed(format!("a {what} device lives by the machine's clock"))
            .at(w.span)
            .mend("make `clock real` the first command, or start with --clock real"),
    )
}

/// Only Ethernet drivers go there.
fn needs_ethernet(driver: &str, w: &Word) -> Done {
    if driver != TUN && driver != PCAP {
        return Ok(());
    }
    Err(Fail::usage(format!("{} is no Ethernet", w.text))
        .at(w.span)
        .mend("le0, hme0, .. are"))
}

/// The wire of a name.
///
/// # Errors
/// There is none.
pub fn wire_named(sh: &Shell, name: &Word) -> Result<Wire, Fail> {
    sh.lab.wires.get(&name.text).cloned().ok_or_else(|| {
        Fail::failed(format!("there is no wire `{}`", name.text))
            .at(name.span)
            .meant(&name.text, sh.lab.wires.keys().map(String::as_str))
            .mend(format!("`wire {}` makes one", quote(&name.text)))
    })
}

/// What is to be behind unit `ppa` of `driver`, and what plays it if it is a capture. Adds
/// to the line that plumbs it again.
///
/// # Errors
/// The words don't say it, or it doesn't go with that driver.
pub fn spec_of(
    sh: &mut Shell,
    args: &Args<'_>,
    (driver, ppa): (&str, u32),
    line: &mut String,
) -> Result<(Spec, Option<Gate>), Fail> {
    let w = args.need("DEVICE")?;
    if let Some(name) = args.find("WIRE") {
        needs_ethernet(driver, w)?;
        let wire = wire_named(sh, name)?;
        let faults = sh.lab.faults.get(&name.text).map(|f| f.0);
        line.push_str(&format!(" on {}", quote(&name.text)));
        let mac = match ether(args, line)? {
            Some(mac) => mac,
            None => {
                sh.lab.host()?; // the first command may make it
                let n = sh.lab.here() as u16 + 1;
                // Sun's prefix, the host, the unit.
                [8, 0, 0x20, (n >> 8) as u8, n as u8, ppa as u8]
            }
        };
        return Ok((Spec::Wire(wire, mac, faults.unwrap_or_default()), None));
    }
    if let Some(name) = args.find("TAP") {
        needs_ethernet(driver, w)?;
        needs_real_clock(sh, "TAP", w)?;
        line.push_str(&format!(" tap {}", quote(&name.text)));
        let options = options(sh, args, &name.text, line)?;
        return Ok((Spec::Tap(options, ether(args, line)?), None));
    }
    if let Some(name) = args.find("LIVE") {
        needs_ethernet(driver, w)?;
        needs_real_clock(sh, "live", w)?;
        line.push_str(&format!(" live {}", quote(&name.text)));
        return Ok((Spec::Live(name.text.clone()), None));
    }
    if let Some(number) = args.after("fd") {
        if driver == PCAP {
            return Err(Fail::usage(format!("{} reads files", w.text)).at(w.span));
        }
        needs_real_clock(sh, "TUN or TAP", w)?;
        let number = values::number(number, 0..=i32::MAX as u32)?;
        line.push_str(&format!(" fd {number}"));
        return Ok((Spec::Handed(number as i32), None));
    }
    let file = |label| args.find(label).map(|f: &Word| PathBuf::from(&f.text));
    let (input, output) = (file("IN"), file("OUT"));
    if input.is_some() || output.is_some() {
        if driver != PCAP {
            return Err(Fail::usage(format!("{} is no capture device", w.text))
                .at(w.span)
                .mend("pcap0, pcap1, .. are"));
        }
        for (word, path) in [("in", &input), ("out", &output)] {
            if let Some(p) = path {
                line.push_str(&format!(" {word} {}", quote(&p.to_string_lossy())));
            }
        }
        let gate = Gate::default();
        return Ok((Spec::Pcap(input, output, gate.clone()), Some(gate)));
    }
    if driver == TUN {
        needs_real_clock(sh, "TUN", w)?;
        let name = match args.find("NAME") {
            Some(n) => {
                line.push_str(&format!(" name {}", quote(&n.text)));
                n.text.clone()
            }
            None => format!("{driver}{ppa}"),
        };
        return Ok((Spec::Tun(options(sh, args, &name, line)?), None));
    }
    let mend = match driver {
        PCAP => format!("plumb {} in FILE out FILE", w.text),
        _ => format!("plumb {} on WIRE", w.text),
    };
    Err(Fail::usage(format!("what is behind {}?", w.text))
        .at(w.span)
        .mend(mend))
}

/// The hardware address that is asked for.
fn ether(args: &Args<'_>, line: &mut String) -> Result<Option<[u8; 6]>, Fail> {
    let Some(m) = args.find("ETHER") else {
        return Ok(None);
    };
    line.push_str(&format!(" ether {}", m.text));
    values::ether(m).map(Some)
}

/// How a TUN or TAP is made.
fn options(sh: &Shell, args: &Args<'_>, name: &str, line: &mut String) -> Result<TunOptions, Fail> {
    let mut o = TunOptions::named(name);
    if let Some(w) = args.find("BYTES") {
        let mtu = values::number(w, 68..=65535)?;
        line.push_str(&format!(" mtu {mtu}"));
        o.mtu = Some(mtu);
    }
    if let Some(w) = args.find("ADDR/LEN") {
        let (addr, len) = sh.lab.names.prefix(w)?;
        let len = len.unwrap_or(32);
        line.push_str(&format!(" address {addr}/{len}"));
        o.address = Some((addr, mask_of(len)));
    }
    o.persist = args.has("persist");
    if o.persist {
        line.push_str(" persist");
    }
    Ok(o)
}
