//! Plumbing: building the streams of the paper's Figures 1 and 2, and taking them down.

use std::net::Ipv4Addr;

use ipmod::ill::iff;
use ipmod::plumb;
use streams::{Errno, Sys, oflag};
use vtunl::client::Client;

use crate::command::{Args, Command, Group};
use crate::commands::behind::{refused, spec_of};
use crate::devices;
use crate::diag::{Done, Fail, Tried};
use crate::lab::{Host, Plumbed};
use crate::lex::Word;
use crate::shell::Shell;
use crate::values::{self, class_mask};

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "plumb",
        aliases: &[],
        group: Group::Streams,
        usage: &[
            "DEVICE on WIRE [ether ETHER | through vtunl ADDR [netmask MASK]]...",
            "DEVICE tap TAP [ether ETHER | mtu BYTES | address ADDR/LEN | persist \
             | through vtunl ADDR [netmask MASK]]...",
            "DEVICE (live LIVE | fd NUMBER) [through vtunl ADDR [netmask MASK]]",
            "DEVICE [name NAME | mtu BYTES | address ADDR/LEN | persist]...",
            "DEVICE (in IN [out OUT] | out OUT)",
            "(tunnel | /dev/ip vtunl ip) [from ADDR | proto PROTO]...",
            "(control | /dev/vtunl)",
        ],
        help: "build the stream of an interface, or of the tunnel",
        long: "An interface is a stream with IP on top of a data link, linked under \
               /dev/udp (I_PLINK), which keeps it when the process that made it ends. \
               `le0 on WIRE` is a port on a wire in memory; `le0 tap NAME` the other end of \
               a TAP device of this machine, `le0 live NAME` one of its Ethernet interfaces; \
               `tun0` a TUN device: its MTU, this machine's address on it and whether it stays \
               can be given. `fd NUMBER` takes a TUN's or TAP's descriptor that the parent of \
               this process has opened, which needs no privilege here. \
               `pcap0 in FILE out FILE` are capture files: see `replay`; several interfaces \
               that write one .pcapng are interfaces in it. \
               `tunnel` puts vtunl between /dev/ip and ip, Figure 2(a) of the paper: the \
               interface is called ip0, datagrams routed to it go through the tunnel, from \
               the address given or the first of an interface that is up. `through vtunl` puts \
               it between the data link and ip, Figure 2(b): it hears broadcasts and \
               multicasts. `control` opens /dev/vtunl, Figure 2(c), and keeps it open for \
               the commands that configure the tunnel; without it they open it each time.",
        examples: &[
            "wire net; plumb le0 on net",
            "plumb tun0",
            "plumb tun0 name emu0 mtu 1400 address 10.9.0.1/24 persist",
            "plumb tun0 fd 3",
            "plumb le0 tap emu1",
            "plumb le0 live eth1",
            "plumb pcap0 in in.pcap out out.pcap",
            "plumb tunnel from 192.168.1.1",
            "plumb /dev/ip vtunl ip",
            "plumb le1 on net through vtunl 10.0.0.1 netmask 255.255.255.0",
            "plumb control",
        ],
        run: plumb_,
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
];

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
    let from = match args.find("ADDR") {
        Some(w) => sh.lab.names.addr(w)?,
        None => first_address(sh.lab.host()?).map_err(|f| f.at(args.span()))?,
    };
    line.push_str(&format!(" from {from}"));
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

/// Where a tunnel starts that nobody has said it of.
fn first_address(host: &Host) -> Result<Ipv4Addr, Fail> {
    let all = plumb::interfaces(&host.admin).tried("interfaces")?;
    let able = |i: &&plumb::Interface| i.flags & iff::UP != 0 && i.flags & iff::LOOPBACK == 0;
    let first = all.iter().find(able).map(|i| i.addr);
    first.ok_or_else(|| {
        Fail::failed("no interface is up that the tunnel could start at")
            .mend("bring one up with `ifconfig`, or say `plumb tunnel from ADDR`")
    })
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
    let (spec, gate) = spec_of(sh, args, (driver, ppa), &mut line)?;
    let through = through_vtunl(sh, args, &mut line)?;
    let host = sh.lab.host()?;
    if host.devices.has(driver, ppa) {
        let e = Fail::errno(format!("plumb {}", w.text), Errno::EEXIST).at(w.span);
        return Err(explain(e, &w.text));
    }
    host.devices.set(driver, ppa, spec.clone());
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
                Some(e) => refused(&e, &spec, w),
                None => explain(fail.at(w.span), &w.text),
            })
        }
    }
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
