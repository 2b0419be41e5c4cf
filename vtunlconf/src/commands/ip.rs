//! IP: addresses, routes, neighbours, parameters.

use std::net::Ipv4Addr;

use ipmod::ill::iff;
use ipmod::ire::{RTF_BLACKHOLE, RTF_GATEWAY, RTF_HOST, RTF_REJECT, RTF_STATIC};
use ipmod::plumb::{self, Interface, Route};
use streams::Errno;

use crate::command::{Args, Command, Group};
use crate::commands::streams::unplumb_interface;
use crate::diag::{Done, Fail, Tried};
use crate::lex::Word;
use crate::out::Table;
use crate::shell::Shell;
use crate::values::{self, Names, class_mask, len_of, mask_of};

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "ifconfig",
        aliases: &[],
        group: Group::Ip,
        usage: &[
            "[-a]",
            "IF [ADDR/LEN [DST]] [netmask MASK | broadcast ADDR | mtu BYTES | up | down]...",
            "IF (addif ADDR/LEN [DST] | removeif ADDR) [netmask MASK | broadcast ADDR | mtu BYTES | up | down]...",
            "IF unplumb",
        ],
        help: "address, state and size of an interface",
        long: "Without an interface: shows all. The parameters take effect from left to \
               right. An address without a netmask gets that of its class, or of the \
               prefix length if it has one. A point-to-point interface, as ip0 and tun0 \
               are, takes the address of the other end too; it may share its own address \
               with another interface. More addresses have names such as le0:1: they come \
               to be when one is given to them, or by `addif`, which takes the next free \
               number; what follows `addif` is about the new one. `removeif` and `unplumb` \
               take them away.",
        examples: &[
            "ifconfig le0 192.168.15.1 netmask 255.255.255.0 up",
            "ifconfig ip0 nobel1 dummy up",
            "ifconfig le0:1 192.168.16.1 up",
            "ifconfig le0 addif 192.168.17.1/24 up",
            "ifconfig le0 mtu 1400",
            "ifconfig -a",
        ],
        run: ifconfig,
    },
    Command {
        name: "route",
        aliases: &[],
        group: Group::Ip,
        usage: &[
            "add [net | host] DEST GATEWAY [METRIC | netmask MASK | reject | blackhole]...",
            "delete [net | host] DEST GATEWAY [netmask MASK]",
            "show",
            "get ADDR",
        ],
        help: "add, delete and show routes",
        long: "As route(1M). DEST is a host, unless it is `default`, has a prefix length or a \
               netmask, or is the number of a network of its class. GATEWAY is a neighbour, \
               or one of this host's own addresses: then what is routed is on that \
               interface's link. To send a host's datagrams through the tunnel, route it \
               to the other end of ip0: `route add cali dummy 1`. `get` shows the route \
               that an address takes.",
        examples: &[
            "route add cali dummy 1",
            "route add default 192.168.15.254 1",
            "route add 10.1.0.0/16 dummy 1",
            "route delete cali dummy",
            "route get cali",
        ],
        run: route,
    },
    Command {
        name: "netstat",
        aliases: &[],
        group: Group::Ip,
        usage: &["-r", "-rn", "-ra", "-i", "-s", "-g", "-gv"],
        help: "show routes (-r), interfaces (-i), counters (-s), groups (-g)",
        long: "`-r` is the routing table in the form of the paper's Table 1, `-rn` in that of \
               netstat(1M): U up, G by a gateway, H a host, R reject, B blackhole, D by a \
               redirect; `-ra` shows IP's own too: L local, b broadcast. `-g` has the groups of \
               each interface and how many have joined, `-gv` from which sources.",
        examples: &["netstat -r", "netstat -rn", "netstat -s", "netstat -g"],
        run: netstat,
    },
    Command {
        name: "arp",
        aliases: &[],
        group: Group::Ip,
        usage: &["[-a]", "-s ADDR ETHER [temp | pub]...", "-d ADDR", "ADDR"],
        help: "show and change the table of neighbours",
        long: "`-s` makes an entry, which stays unless it is `temp`; with `pub` the host \
               answers for the address (proxy ARP), as a home agent does for a mobile host \
               that is away.",
        examples: &["arp -a", "arp -s mh1 8:0:20:1:2:3 pub", "arp -d mh1"],
        run: arp,
    },
    Command {
        name: "ndd",
        aliases: &[],
        group: Group::Ip,
        usage: &["get NAME", "set NAME NUMBER"],
        help: "parameters of IP: ip_forwarding, ip_def_ttl and more",
        long: "As ndd(1M) on /dev/ip: ip_forwarding, ip_def_ttl, \
               ip_respond_to_echo_broadcast, ip_forward_directed_broadcasts.",
        examples: &["ndd get ip_forwarding", "ndd set ip_forwarding 0"],
        run: ndd,
    },
];

// ---- ifconfig ----

fn ifconfig(sh: &mut Shell, args: &Args<'_>) -> Done {
    let Some(w) = args.find("IF") else {
        return show_interfaces(sh, None);
    };
    if args.has("unplumb") {
        return unplumb_interface(sh, w);
    }
    if args.words.len() == 1 {
        return show_interfaces(sh, Some(w));
    }
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    let sys = &host.admin;
    let mut last = "";
    let mut current = w.text.clone();
    for (label, word) in args.items() {
        let name = current.as_str();
        let done = match (last, label) {
            ("addif", "ADDR/LEN") => {
                let (addr, len) = names.prefix(word)?;
                plumb::add_logical(sys, name, addr).and_then(|made| {
                    sh.out.line(format!("created logical interface {made}"));
                    current = made;
                    match len {
                        Some(len) => plumb::set_netmask(sys, &current, mask_of(len)),
                        None => Ok(()),
                    }
                })
            }
            ("removeif", _) => plumb::remove_logical(sys, name, Some(names.addr(word)?)),
            (_, "ADDR/LEN") => {
                let (addr, len) = names.prefix(word)?;
                plumb::set_address(sys, name, addr).and_then(|()| match len {
                    Some(len) => plumb::set_netmask(sys, name, mask_of(len)),
                    None => Ok(()),
                })
            }
            (_, "DST") => plumb::set_destination(sys, name, names.addr(word)?),
            ("netmask", _) => plumb::set_netmask(sys, name, values::mask(word)?),
            ("broadcast", _) => plumb::set_broadcast(sys, name, names.addr(word)?),
            ("mtu", _) => plumb::set_mtu(sys, name, values::number(word, 0..=u32::MAX)?),
            (_, "up") => plumb::up(sys, name),
            (_, "down") => plumb::down(sys, name),
            _ => Ok(()),
        };
        last = label;
        if let Err(e) = done {
            return Err(ifconfig_error(sys, e, w, word, label));
        }
    }
    Ok(())
}

/// What an error of the interface ioctls means.
fn ifconfig_error(sys: &streams::Process, e: Errno, name: &Word, word: &Word, label: &str) -> Fail {
    let known = plumb::interfaces(sys).unwrap_or_default();
    let fail = Fail::errno(format!("ifconfig {}", name.text), e);
    match e {
        Errno::ENXIO => fail
            .at(name.span)
            .meant(&name.text, known.iter().map(|i| i.name.as_str()))
            .mend("`ifconfig -a` lists the interfaces, `plumb` makes one"),
        Errno::EINVAL if label == "DST" => {
            fail.at(word.span).mend("only a point-to-point interface has an address at the other end")
        }
        Errno::EINVAL if label == "up" => fail.at(word.span).mend(format!(
            "a point-to-point interface needs both addresses first: ifconfig {} ADDR DST up",
            name.text
        )),
        Errno::EINVAL if label == "BYTES" => {
            let most = known.iter().find(|i| i.name == name.text).map_or(0, |i| i.mtu);
            fail.at(word.span).mend(format!("68 or more, and at most what the link takes (now {most})"))
        }
        Errno::EADDRNOTAVAIL if label == "ADDR" => {
            fail.at(word.span).mend("`ifconfig -a` lists the addresses of each interface")
        }
        Errno::EINVAL if label == "ADDR" => fail
            .at(word.span)
            .mend("an interface keeps its first address: `ifconfig IF unplumb` takes all"),
        Errno::ENOBUFS => fail
            .at(word.span)
            .mend("`ndd set ip_addrs_per_if NUMBER` allows an interface more addresses"),
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => {
            fail.at(word.span).mend("it has to be an address that a host can have with this netmask, and on one interface only")
        }
        _ => fail.at(word.span),
    }
}

/// Names of the flags, in the order in which ifconfig prints them.
const FLAGS: &[(u16, &str)] = &[
    (iff::UP, "UP"),
    (iff::BROADCAST, "BROADCAST"),
    (iff::LOOPBACK, "LOOPBACK"),
    (iff::POINTOPOINT, "POINTOPOINT"),
    (iff::RUNNING, "RUNNING"),
    (iff::NOARP, "NOARP"),
    (iff::MULTICAST, "MULTICAST"),
    (iff::MULTI_BCAST, "MULTI_BCAST"),
    (iff::UNNUMBERED, "UNNUMBERED"),
    (iff::DHCPRUNNING, "DHCP"),
    (iff::PRIVATE, "PRIVATE"),
];

fn show_interfaces(sh: &mut Shell, only: Option<&Word>) -> Done {
    let host = sh.lab.host()?;
    let all = plumb::interfaces(&host.admin).tried("ip_ipif_status")?;
    let mut lines = Vec::new();
    for i in all.iter().filter(|i| only.is_none_or(|w| w.text == i.name)) {
        let mut set: Vec<&str> = FLAGS
            .iter()
            .filter(|f| i.flags & f.0 != 0)
            .map(|f| f.1)
            .collect();
        set.extend((i.claim == "probing").then_some("PROBING"));
        set.extend((i.claim == "duplicate").then_some("DUPLICATE"));
        lines.push(format!(
            "{}: flags={:x}<{}> mtu {}",
            i.name,
            i.flags,
            set.join(","),
            i.mtu
        ));
        let mask = u32::from(i.mask);
        lines.push(if i.flags & iff::POINTOPOINT != 0 {
            format!("        inet {} --> {} netmask {mask:08x}", i.addr, i.dst)
        } else if i.flags & iff::BROADCAST != 0 {
            format!(
                "        inet {} netmask {mask:08x} broadcast {}",
                i.addr, i.broadcast
            )
        } else {
            format!("        inet {} netmask {mask:08x}", i.addr)
        });
        if i.mac != "-" && !i.name.contains(':') {
            lines.push(format!("        ether {}", i.mac));
        }
    }
    if let Some(w) = only
        && lines.is_empty()
    {
        return Err(Fail::errno(format!("ifconfig {}", w.text), Errno::ENXIO)
            .at(w.span)
            .meant(&w.text, all.iter().map(|i| i.name.as_str())));
    }
    for l in lines {
        sh.out.line(l);
    }
    Ok(())
}

// ---- route ----

/// Destination and mask of a route; flags that go with them.
fn destination(names: &Names, args: &Args<'_>) -> Result<(Ipv4Addr, Ipv4Addr, u16), Fail> {
    let w = args.need("DEST")?;
    if w.text == "default" && !w.quoted {
        return Ok((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, 0));
    }
    let (addr, len) = names.prefix(w)?;
    let mask = match (args.find("MASK"), len) {
        (Some(m), _) => values::mask(m)?,
        (None, Some(len)) => mask_of(len),
        (None, None) if args.has("host") => mask_of(32),
        (None, None) => {
            let class = class_mask(addr);
            let is_net = u32::from(addr) & !u32::from(class) == 0;
            if is_net || args.has("net") {
                class
            } else {
                mask_of(32)
            }
        }
    };
    if u32::from(addr) & !u32::from(mask) != 0 {
        let net = Ipv4Addr::from(u32::from(addr) & u32::from(mask));
        return Err(Fail::usage(format!(
            "{addr} has bits that the mask {mask} doesn't cover"
        ))
        .at(w.span)
        .mend(format!("the network is {net}")));
    }
    let host = len_of(mask) == Some(32);
    Ok((addr, mask, if host { RTF_HOST } else { 0 }))
}

fn route(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("show") {
        return show_routes(sh);
    }
    if args.has("get") {
        return route_get(sh, args.need("ADDR")?);
    }
    let names = sh.lab.names.clone();
    let (dst, mask, host_flag) = destination(&names, args)?;
    let gw_word = args.need("GATEWAY")?;
    let gw = names.addr(gw_word)?;
    let host = sh.lab.host()?;
    let sys = &host.admin;
    if args.has("delete") {
        return plumb::route_delete(sys, dst, mask, gw).map_err(|e| {
            let fail = Fail::errno("route delete", e).at(args.span());
            match e {
                Errno::ESRCH => fail.mend("`route show` lists the routes"),
                _ => fail,
            }
        });
    }
    let mut flags = RTF_STATIC | host_flag;
    if args.has("reject") {
        flags |= RTF_REJECT;
    }
    if args.has("blackhole") {
        flags |= RTF_BLACKHOLE;
    }
    if let Some(w) = args.find("METRIC")
        && values::number(w, 0..=u32::MAX)? > 0
    {
        flags |= RTF_GATEWAY;
    }
    plumb::route_add(sys, dst, mask, gw, flags).map_err(|e| {
        let fail = Fail::errno("route add", e);
        match e {
            Errno::ENETUNREACH => fail.at(gw_word.span).mend(format!(
                "{} has to be a neighbour on an interface that is up, or an address of this \
                 host: see `ifconfig -a`",
                names.show(gw)
            )),
            Errno::EEXIST => fail.at(args.span()).mend("`route show` lists the routes"),
            _ => fail.at(args.span()),
        }
    })
}

/// Is the route one that a user sees, not one of IP's own for its addresses?
fn is_plain(r: &Route) -> bool {
    !matches!(r.kind.as_str(), "Broadcast" | "Local" | "Cache")
}

fn show_routes(sh: &mut Shell) -> Done {
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    let mut t = Table::new(&["Destination", "Mask", "Gateway", "Device", "Flags"]);
    for r in plumb::routes(&host.admin)
        .tried("ip_ire_status")?
        .iter()
        .filter(|r| is_plain(r))
    {
        let default = r.mask.is_unspecified();
        let dst = match names.name_of(r.dst) {
            _ if default => "default".to_owned(),
            Some(n) if len_of(r.mask) == Some(32) => n.to_owned(),
            _ => r.dst.to_string(),
        };
        // Table 1 of the paper has no device where a gateway decides.
        let through = r.flags & RTF_GATEWAY != 0;
        t.row([
            dst,
            r.mask.to_string(),
            names.word(r.gateway),
            if through {
                String::new()
            } else {
                r.interface.clone()
            },
            route_flags(r.flags),
        ]);
    }
    sh.out.table(&t);
    Ok(())
}

fn route_flags(flags: u16) -> String {
    let all = [
        (ipmod::ire::RTF_UP, 'U'),
        (RTF_GATEWAY, 'G'),
        (RTF_HOST, 'H'),
        (RTF_REJECT, 'R'),
        (RTF_BLACKHOLE, 'B'),
        (RTF_STATIC, 'S'),
    ];
    all.iter()
        .filter(|(b, _)| flags & b != 0)
        .map(|(_, c)| *c)
        .collect()
}

fn route_get(sh: &mut Shell, w: &Word) -> Done {
    let names = sh.lab.names.clone();
    let addr = names.addr(w)?;
    let host = sh.lab.host()?;
    let routes = plumb::routes(&host.admin).tried("ip_ire_status")?;
    let takes = |r: &&Route| {
        let mask = u32::from(r.mask);
        u32::from(addr) & mask == u32::from(r.dst) & mask
    };
    let best = routes
        .iter()
        .filter(takes)
        .max_by_key(|r| u32::from(r.mask).count_ones());
    let Some(r) = best else {
        return Err(
            Fail::errno(format!("no route to {}", names.show(addr)), Errno::ESRCH).at(w.span),
        );
    };
    let dst = match len_of(r.mask) {
        Some(0) => "default".to_owned(),
        Some(32) | None => names.show(r.dst),
        Some(len) => format!("{}/{len}", r.dst),
    };
    let how = if r.flags & RTF_GATEWAY != 0 {
        format!("by way of {}", names.show(r.gateway))
    } else {
        format!("on the link of {}", names.show(r.gateway))
    };
    // RFC 1191: what a router has said of the way behind the first link.
    let all = plumb::path_mtus(&host.admin).tried("ip_pmtu_status")?;
    let path = all.iter().find(|p| p.0 == addr && p.1 < r.mtu);
    let path = path.map_or_else(String::new, |p| format!(", path mtu {}", p.1));
    sh.out.line(format!(
        "{}: {dst} {how}, interface {}, mtu {}{path}",
        names.show(addr),
        r.interface,
        r.mtu
    ));
    Ok(())
}

// ---- netstat, arp, ndd ----

fn netstat(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("-r") {
        return show_routes(sh);
    }
    if args.has("-rn") || args.has("-ra") {
        return routing_table(sh, args.has("-ra"));
    }
    if args.has("-g") || args.has("-gv") {
        return super::groups::show(sh, args.has("-gv"));
    }
    if args.has("-s") {
        return show_counters(sh);
    }
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    let mut t = Table::new(&["Name", "Mtu", "Address", "Netmask", "State"]);
    for i in plumb::interfaces(&host.admin).tried("ip_ipif_status")? {
        let up = if i.flags & iff::UP != 0 { "up" } else { "down" };
        t.row([
            i.name,
            i.mtu.to_string(),
            names.show(i.addr),
            i.mask.to_string(),
            up.into(),
        ]);
    }
    sh.out.table(&t);
    Ok(())
}

/// The routes as netstat(1M) -rn prints them, or with those of IP's own, -ra.
fn routing_table(sh: &mut Shell, all: bool) -> Done {
    let host = sh.lab.host()?;
    let mut t = Table::new(&["Destination", "Gateway", "Flags", "Interface"]);
    let routes = plumb::routes(&host.admin).tried("ip_ire_status")?;
    for r in routes.iter().filter(|r| all || is_plain(r)) {
        let dst = match r.mask.is_unspecified() {
            true => "default".to_owned(),
            false => r.dst.to_string(),
        };
        let host = len_of(r.mask) == Some(32);
        let derived = ipmod::ire::RTF_UP | if host { RTF_HOST } else { 0 };
        let mut flags = route_flags((r.flags | derived) & !RTF_STATIC);
        flags.push_str(match r.kind.as_str() {
            "Local" => "L",
            "Broadcast" => "b",
            "HostRedirect" => "D",
            _ => "",
        });
        let through = r.flags & RTF_GATEWAY != 0;
        let interface = if through { "" } else { &r.interface };
        t.row([dst, r.gateway.to_string(), flags, interface.to_owned()]);
    }
    sh.out.table(&t);
    Ok(())
}

/// The counters of IP that are not 0.
pub fn show_counters(sh: &mut Shell) -> Done {
    let host = sh.lab.host()?;
    let all = plumb::counters(&host.admin).tried("ip_mib")?;
    let mut t = Table::new(&["Counter", "Value"]);
    for (name, value) in all.into_iter().filter(|c| c.1 != 0) {
        t.row([name, value.to_string()]);
    }
    sh.out.table(&t);
    Ok(())
}

fn arp(sh: &mut Shell, args: &Args<'_>) -> Done {
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    let sys = &host.admin;
    let fail = |e, w: &Word| {
        let fail = Fail::errno("arp", e).at(w.span);
        match e {
            Errno::ENETUNREACH => fail.mend("the address is on no Ethernet of this host"),
            Errno::ENXIO => fail.mend("`arp -a` lists the entries"),
            _ => fail,
        }
    };
    if args.has("-s") {
        let (w, mac) = (args.need("ADDR")?, values::ether(args.need("ETHER")?)?);
        let addr = names.addr(w)?;
        let done = plumb::arp_set(sys, addr, Some(mac), !args.has("temp"), args.has("pub"));
        return done.map_err(|e| fail(e, w));
    }
    if args.has("-d") {
        let w = args.need("ADDR")?;
        let done = plumb::arp_set(sys, names.addr(w)?, None, false, false);
        return done.map_err(|e| fail(e, w));
    }
    let only = args.find("ADDR").map(|w| names.addr(w)).transpose()?;
    let mut t = Table::new(&["Device", "Address", "Ether", "Flags"]);
    for e in plumb::arp_table(sys).tried("arp_cache_status")? {
        if only.is_none_or(|a| a == e.addr) {
            t.row([e.interface, names.show(e.addr), e.mac, e.flags]);
        }
    }
    if let (Some(w), true) = (args.find("ADDR"), t.rows.is_empty()) {
        return Err(fail(Errno::ENXIO, w));
    }
    sh.out.table(&t);
    Ok(())
}

fn ndd(sh: &mut Shell, args: &Args<'_>) -> Done {
    let name = args.need("NAME")?;
    let host = sh.lab.host()?;
    let sys = &host.admin;
    let fail = |e| {
        let fail = Fail::errno(format!("ndd {}", name.text), e);
        let known = [
            "ip_forwarding",
            "ip_def_ttl",
            "ip_respond_to_echo_broadcast",
            "ip_forward_directed_broadcasts",
        ];
        match e {
            Errno::ENOENT => fail.at(name.span).meant(&name.text, known),
            _ => fail,
        }
    };
    if let Some(value) = args.find("NUMBER") {
        let n = values::number(value, 0..=u32::MAX)?;
        return plumb::nd_set(sys, &name.text, &n.to_string()).map_err(|e| fail(e).at(value.span));
    }
    let text = plumb::nd_get(sys, &name.text).map_err(fail)?;
    sh.out.text(&text);
    Ok(())
}

// ---- as commands ----

/// Interfaces, routes and neighbours as commands that make them again; `plumbed` has the
/// command that plumbs each interface.
pub fn config_lines(
    sys: &streams::Process,
    plumbed: &[(String, String)],
) -> Result<Vec<String>, Errno> {
    let mut lines = Vec::new();
    if plumb::nd_get(sys, "ip_forwarding")?.trim() == "0" {
        lines.push("ndd set ip_forwarding 0".to_owned());
    }
    let ttl = plumb::nd_get(sys, "ip_def_ttl")?;
    if ttl.trim() != "255" {
        lines.push(format!("ndd set ip_def_ttl {}", ttl.trim()));
    }
    let all = plumb::interfaces(sys)?;
    for (name, line) in plumbed {
        lines.push(line.clone());
        lines.extend(of_link(&all, name).filter_map(ifconfig_line));
    }
    lines.extend(
        of_link(&all, "lo0")
            .filter(|i| i.name.contains(':'))
            .filter_map(ifconfig_line),
    );
    for r in plumb::routes(sys)?
        .iter()
        .filter(|r| r.flags & RTF_STATIC != 0)
    {
        lines.push(route_line(r));
    }
    for e in plumb::arp_table(sys)?
        .iter()
        .filter(|e| e.flags.contains('S'))
    {
        let published = if e.flags.contains('P') { " pub" } else { "" };
        lines.push(format!("arp -s {} {}{published}", e.addr, e.mac));
    }
    Ok(lines)
}

/// The addresses of a link: le0, le0:1 ..
fn of_link<'a>(all: &'a [Interface], link: &'a str) -> impl Iterator<Item = &'a Interface> {
    let own = move |i: &&Interface| i.name.split(':').next() == Some(link);
    all.iter().filter(own)
}

fn ifconfig_line(i: &Interface) -> Option<String> {
    if i.addr.is_unspecified() && i.flags & iff::UP == 0 {
        return None;
    }
    let mut line = format!("ifconfig {} {}", i.name, i.addr);
    if i.flags & iff::POINTOPOINT != 0 && !i.dst.is_unspecified() {
        line.push_str(&format!(" {}", i.dst));
    }
    line.push_str(&format!(" netmask {} mtu {}", i.mask, i.mtu));
    line.push_str(if i.flags & iff::UP != 0 {
        " up"
    } else {
        " down"
    });
    Some(line)
}

fn route_line(r: &Route) -> String {
    let dst = match len_of(r.mask) {
        Some(0) => "default".to_owned(),
        Some(32) => format!("host {}", r.dst),
        Some(len) => format!("{}/{len}", r.dst),
        None => format!("{} netmask {}", r.dst, r.mask),
    };
    let metric = u8::from(r.flags & RTF_GATEWAY != 0);
    let mut line = format!("route add {dst} {} {metric}", r.gateway);
    if r.flags & RTF_REJECT != 0 {
        line.push_str(" reject");
    }
    if r.flags & RTF_BLACKHOLE != 0 {
        line.push_str(" blackhole");
    }
    line
}
