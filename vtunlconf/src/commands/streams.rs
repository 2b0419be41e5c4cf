//! Plumbing: building the streams of the paper's Figures 1 and 2, and taking them down.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use dlpi::link::wire::Wire;
use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::Client;

use crate::command::{Args, Command, Group};
use crate::devices::{self, Gate, PCAP, Spec, TUN};
use crate::diag::{Done, Fail, Tried};
use crate::lab::{ClockKind, Host, Plumbed};
use crate::lex::{Word, quote};
use crate::out::Table;
use crate::shell::Shell;
use crate::values::{self, class_mask};

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "wire",
        aliases: &[],
        group: Group::Lab,
        usage: &["[NAME]"],
        help: "make an Ethernet in memory that joins hosts",
        long: "`plumb DEVICE on WIRE` gives a host a port on it. Without a name: lists the \
               wires.",
        examples: &["wire backbone", "wire"],
        run: wire,
    },
    Command {
        name: "plumb",
        aliases: &[],
        group: Group::Streams,
        usage: &[
            "DEVICE on WIRE [ether ETHER | through vtunl ADDR [netmask MASK]]...",
            "DEVICE tap TAP [through vtunl ADDR [netmask MASK]]",
            "DEVICE [name NAME]",
            "DEVICE (in IN [out OUT] | out OUT)",
            "(tunnel | /dev/ip vtunl ip) [from ADDR | proto PROTO]...",
            "(control | /dev/vtunl)",
        ],
        help: "build the stream of an interface, or of the tunnel",
        long: "An interface is a stream with IP on top of a data link, linked under \
               /dev/udp (I_PLINK), which keeps it when the process that made it ends. \
               `le0 on WIRE` is a port on a wire in memory; `le0 tap NAME` the other end of \
               a TAP device of this machine; `tun0` a TUN device of this \
               machine; `pcap0 in FILE out FILE` capture files: see `replay`. \
               `tunnel` puts vtunl between /dev/ip and ip, Figure 2(a) of the paper: the \
               interface is called ip0, datagrams routed to it go through the tunnel, from \
               the address given or that of the link they leave by. `through vtunl` puts \
               it between the data link and ip, Figure 2(b): it hears broadcasts and \
               multicasts. `control` opens /dev/vtunl, Figure 2(c), and keeps it open for \
               the commands that configure the tunnel; without it they open it each time.",
        examples: &[
            "wire net; plumb le0 on net",
            "plumb tun0",
            "plumb pcap0 in in.pcap out out.pcap",
            "plumb tunnel from 192.168.1.1",
            "plumb /dev/ip vtunl ip",
            "plumb le1 on net through vtunl 10.0.0.1 netmask 255.255.255.0",
            "plumb control",
        ],
        run: plumb_,
    },
    Command {
        name: "move",
        aliases: &[],
        group: Group::Streams,
        usage: &["IF to WIRE"],
        help: "unplug an interface from its wire and plug it into another",
        long: "The host is told nothing, as a mobile node that is carried to another \
               network; frames on their way to it are lost.",
        examples: &["move le0 to cell2"],
        run: move_,
    },
    Command {
        name: "unplumb",
        aliases: &[],
        group: Group::Streams,
        usage: &["(control | IF)"],
        help: "take an interface's stream down",
        long: "Undoes the links (I_PUNLINK) and closes the stream: routes through the \
               interface go, a capture file is complete.",
        examples: &["unplumb le0", "unplumb control"],
        run: unplumb,
    },
    Command {
        name: "replay",
        aliases: &["pcap"],
        group: Group::Streams,
        usage: &["IF"],
        help: "let the datagrams of a capture file come in",
        long: "The interface was plumbed with `in FILE`. All its datagrams come in one \
               after the other, as fast as the host takes them.",
        examples: &["replay pcap0"],
        run: replay,
    },
];

fn wire(sh: &mut Shell, args: &Args<'_>) -> Done {
    match args.find("NAME") {
        Some(w) if sh.lab.wires.contains_key(&w.text) => {}
        Some(w) => {
            sh.lab.wires.insert(w.text.clone(), Wire::default());
        }
        None => {
            let names: Vec<String> = sh.lab.wires.keys().cloned().collect();
            let mut t = Table::new(&["Wire", "Ports"]);
            for name in names {
                let on = format!(" on {}", quote(&name));
                let ports = sh.lab.hosts().iter().flat_map(|h| {
                    let mine = h
                        .plumbed
                        .iter()
                        .filter(|p| p.line.ends_with(&on) || p.line.contains(&format!("{on} ")));
                    mine.map(|p| format!("{}:{}", h.name, p.name))
                });
                let ports: Vec<String> = ports.collect();
                t.row([name, ports.join(" ")]);
            }
            sh.out.table(&t);
        }
    }
    Ok(())
}

fn plumb_(sh: &mut Shell, args: &Args<'_>) -> Done {
    let name = if args.has("control") || args.has("/dev/vtunl") {
        return plumb_control(sh, args);
    } else if args.has("tunnel") || args.has("/dev/ip") {
        plumb_tunnel(sh, args)?
    } else {
        plumb_device(sh, args)?
    };
    sh.out.note(format!("{name} is plumbed"));
    Ok(())
}

/// What a plumbing error means, where more can be said than the errno.
fn explain(fail: Fail, what: &str) -> Fail {
    match fail.errno {
        Some(Errno::EEXIST) => fail.mend(format!("{what} is plumbed already: see `ifconfig -a`")),
        Some(Errno::EINVAL) => {
            fail.mend("is vtunl loaded? `add_drv vtunl`; `modinfo` lists the modules")
        }
        _ => fail,
    }
}

fn plumb_control(sh: &mut Shell, args: &Args<'_>) -> Done {
    let host = sh.lab.host()?;
    if host.control.is_some() {
        return Err(Fail::failed("the control stream is open already").at(args.span()));
    }
    host.control = Some(host.open_control()?);
    Ok(())
}

/// Figure 2(a): /dev/ip, vtunl, SETCONF_TRANSPORT, and only then ip on top.
fn plumb_tunnel(sh: &mut Shell, args: &Args<'_>) -> Result<String, Fail> {
    let mut line = String::from("plumb tunnel");
    let mut from = Ipv4Addr::UNSPECIFIED;
    if let Some(w) = args.find("ADDR") {
        from = sh.lab.names.addr(w)?;
        line.push_str(&format!(" from {from}"));
    }
    let mut proto = 4;
    if let Some(w) = args.find("PROTO") {
        proto = match w.text.as_str() {
            "ipip" => 4,
            "minimal" => 55,
            "gre" => 47,
            _ => values::number8(w, 1..=255)?,
        };
        line.push_str(&format!(" proto {}", w.text));
    }
    let host = sh.lab.host()?;
    let fd = host.admin.open("/dev/ip", oflag::O_RDWR).tried("/dev/ip")?;
    let done = tunnel_on(host, fd, from, proto);
    host.admin.close(fd).tried("close")?;
    let (name, conf) = done.map_err(|f| f.at(args.span()))?;
    let mut plumbed = Plumbed::new(host, &name, line)?;
    plumbed.conf = Some(conf);
    host.plumbed.push(plumbed);
    Ok(name)
}

fn tunnel_on(
    host: &Host,
    fd: i32,
    from: Ipv4Addr,
    proto: u8,
) -> Result<(String, vtunl::ioctl::Conf), Fail> {
    host.admin.push(fd, "vtunl").map_err(|e| {
        Fail::errno("I_PUSH vtunl", e).mend("is it loaded? `add_drv vtunl` loads it")
    })?;
    let vtunl = Client::new(&host.admin, fd);
    vtunl.setconf_transport(from, proto).map_err(|e| {
        let fail = Fail::errno("VTUNL_SETCONF_TRANSPORT", e);
        match e {
            Errno::EBUSY => fail.mend(
                "another tunnel has subscribed to the protocol: there is one for each \
                 encapsulation",
            ),
            Errno::EADDRNOTAVAIL => fail.mend(format!(
                "{from} has to be the address of an interface that is up"
            )),
            _ => fail,
        }
    })?;
    // VTUNL_GETCONF reaches vtunl only until ip is above it.
    let conf = vtunl.getconf().tried("VTUNL_GETCONF")?;
    let name = plumb::plumb_fd(&host.admin, fd, "/dev/ip", u32::MAX).tried("plumb tunnel")?;
    Ok((name, conf))
}

fn plumb_device(sh: &mut Shell, args: &Args<'_>) -> Result<String, Fail> {
    let w = args.need("DEVICE")?;
    let (driver, ppa) = devices::split(&w.text).ok_or_else(|| {
        Fail::usage(format!("`{}` is no data link", w.text))
            .at(w.span)
            .mend(
                "le0, hme0, .. are ports on a wire, tun0, .. TUN devices of this machine, \
             pcap0, .. capture files; `plumb tunnel` makes the tunnel",
            )
    })?;
    let mut line = format!("plumb {driver}{ppa}");
    let (spec, gate) = spec_of(sh, args, w, driver, ppa, &mut line)?;
    let through = through_vtunl(sh, args, &mut line)?;
    let host = sh.lab.host()?;
    if host.devices.has(driver, ppa) {
        let e = Fail::errno(format!("plumb {}", w.text), Errno::EEXIST).at(w.span);
        return Err(explain(e, &w.text));
    }
    host.devices.set(driver, ppa, spec);
    match link_device(host, driver, ppa, through) {
        Ok((name, conf)) => {
            let mut plumbed = Plumbed::new(host, &name, line)?;
            plumbed.conf = conf;
            plumbed.gate = gate;
            plumbed.device = Some((driver.to_owned(), ppa));
            host.plumbed.push(plumbed);
            Ok(name)
        }
        Err(fail) => {
            host.devices.clear(driver, ppa);
            Err(match host.devices.take_error() {
                Some(e) => refused(&e, driver, w),
                None => explain(fail.at(w.span), &w.text),
            })
        }
    }
}

/// What this machine refused.
fn refused(e: &std::io::Error, driver: &str, w: &Word) -> Fail {
    let what = match driver {
        PCAP => w.text.clone(),
        _ => format!("/dev/net/tun for {}", w.text),
    };
    let fail = Fail::io(what, e).at(w.span);
    match (driver, e.kind()) {
        (PCAP, _) => fail,
        (_, std::io::ErrorKind::PermissionDenied) => fail
            .mend("a TUN or TAP device needs the privilege CAP_NET_ADMIN: root, or `unshare -Urn`"),
        (_, std::io::ErrorKind::NotFound) => {
            fail.mend("this machine has no TUN or TAP devices: is the kernel's module tun loaded?")
        }
        (_, std::io::ErrorKind::ResourceBusy) => fail.mend("another process has the device open"),
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

/// What is to be behind the unit.
fn spec_of(
    sh: &mut Shell,
    args: &Args<'_>,
    w: &Word,
    driver: &str,
    ppa: u32,
    line: &mut String,
) -> Result<(Spec, Option<Gate>), Fail> {
    if let Some(name) = args.find("WIRE") {
        if driver == TUN || driver == PCAP {
            return Err(Fail::usage(format!("{} does not go on a wire", w.text))
                .at(w.span)
                .mend("le0, hme0, .. do"));
        }
        let wire = wire_named(sh, name)?;
        line.push_str(&format!(" on {}", quote(&name.text)));
        let mac = match args.find("ETHER") {
            Some(m) => {
                line.push_str(&format!(" ether {}", m.text));
                values::ether(m)?
            }
            None => {
                sh.lab.host()?; // the first command may make it
                let n = sh.lab.here() as u16 + 1;
                // Sun's prefix, the host, the unit.
                [8, 0, 0x20, (n >> 8) as u8, n as u8, ppa as u8]
            }
        };
        return Ok((Spec::Wire(wire, mac), None));
    }
    if let Some(name) = args.find("TAP") {
        if driver == TUN || driver == PCAP {
            return Err(Fail::usage(format!("{} is no Ethernet", w.text))
                .at(w.span)
                .mend("le0, hme0, .. are"));
        }
        needs_real_clock(sh, "TAP", w)?;
        line.push_str(&format!(" tap {}", quote(&name.text)));
        return Ok((Spec::Tap(name.text.clone()), None));
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
        return Ok((Spec::Tun(name), None));
    }
    let mend = match driver {
        PCAP => format!("plumb {} in FILE out FILE", w.text),
        _ => format!("plumb {} on WIRE", w.text),
    };
    Err(Fail::usage(format!("what is behind {}?", w.text))
        .at(w.span)
        .mend(mend))
}

/// Address and netmask of a link that vtunl listens to, Figure 2(b).
fn through_vtunl(
    sh: &Shell,
    args: &Args<'_>,
    line: &mut String,
) -> Result<Option<(Ipv4Addr, Ipv4Addr)>, Fail> {
    let Some(w) = args.find("ADDR").filter(|_| args.has("through")) else {
        return Ok(None);
    };
    let addr = sh.lab.names.addr(w)?;
    let mask = match args.find("MASK") {
        Some(m) => values::mask(m)?,
        None => class_mask(addr),
    };
    line.push_str(&format!(" through vtunl {addr} netmask {mask}"));
    Ok(Some((addr, mask)))
}

fn link_device(
    host: &Host,
    driver: &str,
    ppa: u32,
    through: Option<(Ipv4Addr, Ipv4Addr)>,
) -> Result<(String, Option<vtunl::ioctl::Conf>), Fail> {
    let path = format!("/dev/{driver}");
    let Some((addr, mask)) = through else {
        let name = plumb::plumb(&host.admin, &path, &[], ppa).tried("plumb")?;
        return Ok((name, None));
    };
    let fd = host.admin.open(&path, oflag::O_RDWR).tried(&path)?;
    let done = (|| {
        host.admin.push(fd, "vtunl").tried("I_PUSH vtunl")?;
        let vtunl = Client::new(&host.admin, fd);
        let ppa8 = u8::try_from(ppa).unwrap_or(u8::MAX);
        vtunl
            .setconf_dlsuser(addr, mask, ppa8)
            .tried("VTUNL_SETCONF_DLSUSER")?;
        let conf = vtunl.getconf().tried("VTUNL_GETCONF")?;
        let name = plumb::plumb_fd(&host.admin, fd, &path, ppa).tried("plumb")?;
        Ok((name, Some(conf)))
    })();
    host.admin.close(fd).tried("close")?;
    done
}

fn move_(sh: &mut Shell, args: &Args<'_>) -> Done {
    let (w, to) = (args.need("IF")?, args.need("WIRE")?);
    let wire = wire_named(sh, to)?;
    let host = sh.lab.host()?;
    let known = host.plumbed.iter_mut().find(|p| p.name == w.text);
    let moved = known.and_then(|p| {
        let (driver, ppa) = p.device.clone()?;
        let (before, after) = p.line.split_once(" on ")?;
        let rest = after.split_once(' ').map_or("", |r| r.1);
        let line = format!("{before} on {} {rest}", quote(&to.text));
        p.line = line.trim_end().to_owned();
        Some((driver, ppa))
    });
    match moved {
        Some((driver, ppa)) if host.devices.move_to(&driver, ppa, &wire) => Ok(()),
        _ => Err(Fail::failed(format!("`{}` is not on a wire", w.text))
            .at(w.span)
            .mend(format!("`plumb {} on WIRE` plugs it in", w.text))),
    }
}

/// The wire of a name.
fn wire_named(sh: &Shell, name: &Word) -> Result<Wire, Fail> {
    sh.lab.wires.get(&name.text).cloned().ok_or_else(|| {
        Fail::failed(format!("there is no wire `{}`", name.text))
            .at(name.span)
            .meant(&name.text, sh.lab.wires.keys().map(String::as_str))
            .mend(format!("`wire {}` makes one", quote(&name.text)))
    })
}

fn unplumb(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("control") {
        let host = sh.lab.host()?;
        let fd = host
            .control
            .take()
            .ok_or_else(|| Fail::failed("no control stream is open").at(args.span()))?;
        return host.admin.close(fd).tried("close");
    }
    let w = args.need("IF")?;
    unplumb_interface(sh, w)
}

/// Takes an interface down.
pub fn unplumb_interface(sh: &mut Shell, w: &Word) -> Done {
    let host = sh.lab.host()?;
    host.unplumb(&w.text).map_err(|e| {
        let known: Vec<String> = host.plumbed.iter().map(|p| p.name.clone()).collect();
        Fail::errno(format!("unplumb {}", w.text), e)
            .at(w.span)
            .meant(&w.text, known.iter().map(String::as_str))
    })
}

fn replay(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("IF")?;
    let host = sh.lab.host()?;
    let gate = host
        .plumbed
        .iter()
        .find(|p| p.name == w.text)
        .and_then(|p| p.gate.clone());
    let gate = gate.ok_or_else(|| {
        Fail::failed(format!("`{}` has no capture to play", w.text))
            .at(w.span)
            .mend(format!("`plumb {} in FILE` gives it one", w.text))
    })?;
    gate.open();
    sh.lab.settle();
    // With the machine's clock it goes on by itself for a while.
    while sh.lab.clock == ClockKind::Real && !gate.ended() {
        sh.lab.settle();
        if sh.signals.pending() {
            return Err(Fail::failed("interrupted").at(w.span));
        }
    }
    sh.out.line(format!("{} datagrams came in", gate.came()));
    Ok(())
}
