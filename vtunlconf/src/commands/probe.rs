//! Sending and receiving: ping, crafted datagrams, UDP ports that listen.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipmod::tpi;
use streams::{Errno, PollFd, Sys, oflag, sys::event};

use crate::command::{Args, Command, Group};
use crate::commands::groups;
use crate::diag::{Done, Fail, Tried};
use crate::lab::ClockKind;
use crate::out::unpainted;
use crate::shell::Shell;
use crate::values;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        aliases: &[],
        group: Group::Ip,
        usage: &[
            "ADDR [from SRC | size BYTES | count COUNT | ttl NUMBER | wait TIME | via IF | df]...",
        ],
        help: "send ICMP echo requests and wait for the answers",
        long: "From this host; one request if no count is given, waiting up to 2 seconds for \
               its answer. Fails if an answer is missing. `trace on` before and `show ways` \
               after tell where a request went and why it got no answer. One to a group has TTL \
               1 if none is given, and goes by the interface that `via` names.",
        examples: &["ping mh1", "ping mh1 count 3 size 1400"],
        run: ping,
    },
    Command {
        name: "send",
        aliases: &[],
        group: Group::Ip,
        usage: &[
            "udp ADDR PORT [TEXT] [from SRC | sport PORT | ttl NUMBER | size BYTES | via IF | df]...",
            "proto PROTO ADDR [TEXT] [from SRC | ttl NUMBER | size BYTES | via IF | df]...",
        ],
        help: "send one datagram, made to order",
        long: "Through /dev/ip, header and all, as a raw user does. `from` may be any \
               address. `size` fills the payload up to so many bytes. Nobody waits for an \
               answer. To a group, an address from 224.0.0.0 on, it goes with TTL 1 if none is \
               given, by the interface that `via` names, or that a route for groups does.",
        examples: &[
            "send udp mh1 7 hello",
            "send udp 10.1.0.1 7 size 1400 df",
            "send proto 89 mh1",
            "send udp 239.1.2.3 5000 hello via le0 ttl 3",
        ],
        run: send,
    },
    Command {
        name: "listen",
        aliases: &[],
        group: Group::Ip,
        usage: &["PORT"],
        help: "open a UDP port on the current host",
        long: "What comes to it is kept and shown by `received`.",
        examples: &["listen 7"],
        run: listen,
    },
    Command {
        name: "received",
        aliases: &[],
        group: Group::Ip,
        usage: &["[PORT]"],
        help: "show what came to the UDP ports that listen",
        long: "Each datagram once, with its sender.",
        examples: &["received", "received 7"],
        run: received,
    },
];

pub(super) const HEADER: usize = 20;
pub(super) const ICMP: u8 = 1;
pub(super) const UDP: u8 = 17;

/// The checksum of RFC 1071.
pub(super) fn checksum(b: &[u8]) -> u16 {
    let mut sum = 0u64;
    for pair in b.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A header that IP completes: identification, checksum, and the source if it is 0.
pub(super) fn header(
    proto: u8,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    ttl: u8,
    df: bool,
    payload: usize,
) -> Vec<u8> {
    let len = u16::try_from(HEADER + payload).unwrap_or(u16::MAX);
    let mut h = vec![0x45, 0];
    h.extend(len.to_be_bytes());
    h.extend([0, 0, if df { 0x40 } else { 0 }, 0, ttl, proto, 0, 0]);
    h.extend(src.octets());
    h.extend(dst.octets());
    let sum = checksum(&h);
    h[10..12].copy_from_slice(&sum.to_be_bytes());
    h
}

/// `ttl`, `size`, `from`, `df` of a command.
struct Options {
    src: Ipv4Addr,
    ttl: u8,
    size: Option<usize>,
    df: bool,
}

fn options(sh: &Shell, args: &Args<'_>, dst: Ipv4Addr) -> Result<Options, Fail> {
    let src = match args.find("SRC") {
        Some(w) => sh.lab.names.addr(w)?,
        None => Ipv4Addr::UNSPECIFIED,
    };
    let ttl = match args.after("ttl").filter(|_| args.has("ttl")) {
        Some(w) => values::number8(w, 0..=255)?,
        None if dst.is_multicast() => 1, // RFC 1112 6.1
        None => 255,
    };
    let size = match args.find("BYTES") {
        Some(w) => Some(values::number(w, 0..=65_507)? as usize),
        None => None,
    };
    Ok(Options {
        src,
        ttl,
        size,
        df: args.has("df"),
    })
}

// ---- ping ----

fn ping(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("ADDR")?;
    let dst = sh.lab.names.addr(w)?;
    let o = options(sh, args, dst)?;
    let count = match args.find("COUNT") {
        Some(w) => values::number16(w, 1..=u16::MAX)?,
        None => 1,
    };
    let wait = match args.find("TIME") {
        Some(w) => values::time(w)?,
        None => Duration::from_secs(2),
    };
    let shown = sh.lab.names.show(dst);
    let host = sh.lab.host()?;
    let flags = oflag::O_RDWR | oflag::O_NONBLOCK;
    let fd = host.admin.open("/dev/ip", flags).tried("/dev/ip")?;
    let ident = (host.admin.pid() as u16) << 8 | (fd as u16 & 0xff);
    let answers = groups::via(&host.admin, fd, args)
        .and_then(|()| pings(sh, fd, dst, ident, count, wait, &o));
    let host = sh.lab.host()?;
    host.admin.close(fd).tried("close")?;
    let (got, times) = answers?;
    let size = o.size.unwrap_or(56) + 8;
    for (seq, time) in &times {
        sh.out
            .line(format!("{size} bytes from {shown}: icmp_seq={seq}{time}"));
    }
    if got == count {
        return Ok(());
    }
    let mend = match sh.lab.tracing() {
        true => "`show ways` tells where it went",
        false => "`trace on`, again, and `show ways` tells where it went",
    };
    Err(Fail::errno(
        format!("no answer from {shown} ({got} of {count} came)"),
        Errno::ETIMEDOUT,
    )
    .at(w.span)
    .mend(mend))
}

/// Sends the requests; how many answers came, and what to print of each.
fn pings(
    sh: &mut Shell,
    fd: i32,
    dst: Ipv4Addr,
    ident: u16,
    count: u16,
    wait: Duration,
    o: &Options,
) -> Result<(u16, Vec<(u16, String)>), Fail> {
    let host = sh.lab.host()?;
    // T_BIND_REQ for ICMP: the protocol stands behind the address.
    let mut bind: Vec<u8> = [tpi::O_T_BIND_REQ, 0, 0, 0]
        .iter()
        .flat_map(|w| w.to_ne_bytes())
        .collect();
    bind.push(ICMP);
    host.admin
        .putmsg(fd, Some(&bind), None, false)
        .tried("T_BIND_REQ")?;
    let ack = host.admin.getmsg(fd, 256, 0, false).tried("T_BIND_ACK")?;
    if tpi::words(&ack.ctl.unwrap_or_default())[0] != tpi::T_BIND_ACK {
        return Err(Fail::errno("T_BIND_REQ", Errno::EPROTO));
    }
    let (mut got, mut times) = (0, Vec::new());
    for seq in 0..count {
        let mut icmp = vec![8, 0, 0, 0];
        icmp.extend(ident.to_be_bytes());
        icmp.extend(seq.to_be_bytes());
        icmp.extend((0..o.size.unwrap_or(56)).map(|i| i as u8));
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut datagram = header(ICMP, o.src, dst, o.ttl, o.df, icmp.len());
        datagram.extend(icmp);
        let start = Instant::now();
        let host = sh.lab.host()?;
        host.admin
            .putmsg(fd, None, Some(&datagram), false)
            .tried("ping")?;
        let ours = |d: &[u8]| is_answer(d, ident, seq).then_some(());
        if wait_for(sh, fd, wait, ours)?.is_some() {
            got += 1;
            let took = start.elapsed();
            times.push((
                seq,
                match sh.lab.clock {
                    ClockKind::Real => format!(". time={:.3} ms", took.as_secs_f64() * 1e3),
                    ClockKind::Emulated => String::new(),
                },
            ));
        }
        if sh.signals.pending() {
            break;
        }
    }
    Ok((got, times))
}

/// Waits for a message in whose data something is found.
pub(super) fn wait_for<T>(
    sh: &mut Shell,
    fd: i32,
    wait: Duration,
    find: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, Fail> {
    let mut left = wait;
    let step = Duration::from_millis(100);
    loop {
        if sh.lab.clock == ClockKind::Emulated {
            sh.lab.settle();
        }
        let host = sh.lab.host()?;
        loop {
            match host.admin.getmsg(fd, 256, 65_536, false) {
                Ok(m) => {
                    if let Some(found) = find(m.data.as_deref().unwrap_or_default()) {
                        return Ok(Some(found));
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(Fail::errno("getmsg", e)),
            }
        }
        if left.is_zero() {
            return Ok(None);
        }
        let now = left.min(step);
        match sh.lab.clock {
            ClockKind::Emulated => {
                sh.lab.pass(now);
                left -= now;
            }
            ClockKind::Real => {
                let start = Instant::now();
                let mut fds = [PollFd {
                    fd,
                    events: event::POLLIN,
                    revents: 0,
                }];
                let host = sh.lab.host()?;
                host.admin.poll(&mut fds, Some(now)).tried("poll")?;
                left = left.saturating_sub(start.elapsed());
                if sh.signals.raised() {
                    return Ok(None);
                }
            }
        }
    }
}

fn is_answer(datagram: &[u8], ident: u16, seq: u16) -> bool {
    let ihl = usize::from(datagram.first().copied().unwrap_or(0) & 15) * 4;
    let icmp = datagram.get(ihl..).unwrap_or_default();
    let number = |at: usize| {
        icmp.get(at..at + 2)
            .map(|b| u16::from_be_bytes([b[0], b[1]]))
    };
    icmp.first() == Some(&0) && number(4) == Some(ident) && number(6) == Some(seq)
}

// ---- send ----

fn send(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("ADDR")?;
    let dst = sh.lab.names.addr(w)?;
    let o = options(sh, args, dst)?;
    let mut payload = args
        .find("TEXT")
        .map(|t| t.text.clone().into_bytes())
        .unwrap_or_default();
    if let Some(n) = o.size {
        payload.resize(n, b'.');
    }
    let (proto, body) = match args.has("udp") {
        true => {
            let mut ports = args.all("PORT");
            let dport = ports
                .next()
                .map(|w| values::number16(w, 1..=u16::MAX))
                .transpose()?;
            let sport = ports
                .next()
                .map(|w| values::number16(w, 1..=u16::MAX))
                .transpose()?;
            let body = udp(
                sh,
                &o,
                dst,
                sport.unwrap_or(1024),
                dport.unwrap_or(7),
                &payload,
            )?;
            (UDP, body)
        }
        false => {
            let p = args.need("PROTO")?;
            let proto = match p.text.as_str() {
                "ipip" => 4,
                "minimal" => 55,
                "gre" => 47,
                _ => values::number8(p, 0..=255)?,
            };
            (proto, payload)
        }
    };
    if body.len() + HEADER > usize::from(u16::MAX) {
        return Err(Fail::errno("send", Errno::EMSGSIZE).at(w.span));
    }
    let mut datagram = header(proto, o.src, dst, o.ttl, o.df, body.len());
    datagram.extend(body);
    let host = sh.lab.host()?;
    let fd = host.admin.open("/dev/ip", oflag::O_RDWR).tried("/dev/ip")?;
    let put = || host.admin.putmsg(fd, None, Some(&datagram), false);
    let done = groups::via(&host.admin, fd, args).and_then(|()| put().tried("send"));
    // Before the stream goes, so that the trace can name it.
    sh.lab.settle();
    let host = sh.lab.host()?;
    let closed = host.admin.close(fd).tried("close");
    done.and(closed)
}

/// A UDP datagram; without a checksum if IP is to choose the source, which it covers.
fn udp(
    _: &Shell,
    o: &Options,
    dst: Ipv4Addr,
    sport: u16,
    dport: u16,
    payload: &[u8],
) -> Result<Vec<u8>, Fail> {
    let len = u16::try_from(payload.len() + 8).map_err(|_| Fail::errno("send", Errno::EMSGSIZE))?;
    let mut b = Vec::new();
    b.extend(sport.to_be_bytes());
    b.extend(dport.to_be_bytes());
    b.extend(len.to_be_bytes());
    b.extend([0, 0]);
    b.extend(payload);
    if !o.src.is_unspecified() {
        let mut all = o.src.octets().to_vec();
        all.extend(dst.octets());
        all.extend([0, UDP]);
        all.extend(len.to_be_bytes());
        all.extend(&b);
        let sum = match checksum(&all) {
            0 => 0xffff,
            n => n,
        };
        b[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(b)
}

// ---- listen, received ----

fn listen(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("PORT")?;
    let port = values::number16(w, 1..=u16::MAX)?;
    let host = sh.lab.host()?;
    let flags = oflag::O_RDWR | oflag::O_NONBLOCK;
    let fd = host.admin.open("/dev/udp", flags).tried("/dev/udp")?;
    let bind = [tpi::T_BIND_REQ, 16, 16, 0]
        .iter()
        .flat_map(|w| w.to_ne_bytes());
    let mut req: Vec<u8> = bind.collect();
    req.extend(tpi::sockaddr_bytes(port, 0));
    let done = (|| {
        host.admin.putmsg(fd, Some(&req), None, false)?;
        let ack = host.admin.getmsg(fd, 256, 0, false)?;
        match tpi::words(&ack.ctl.unwrap_or_default()) {
            [tpi::T_BIND_ACK, ..] => Ok(()),
            [tpi::T_ERROR_ACK, _, 23, _] => Err(Errno::EADDRINUSE),
            _ => Err(Errno::EPROTO),
        }
    })();
    if let Err(e) = done {
        host.admin.close(fd).tried("close")?;
        return Err(Fail::errno(format!("port {port}"), e).at(w.span));
    }
    host.listening.push((port, fd));
    Ok(())
}

fn received(sh: &mut Shell, args: &Args<'_>) -> Done {
    sh.lab.settle();
    let only = match args.find("PORT") {
        Some(w) => Some((w, values::number16(w, 1..=u16::MAX)?)),
        None => None,
    };
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    if let Some((w, p)) = only
        && !host.listening.iter().any(|l| l.0 == p)
    {
        return Err(Fail::failed(format!("nobody listens to port {p}"))
            .at(w.span)
            .mend(format!("`listen {p}` opens it")));
    }
    let mut lines = Vec::new();
    for (port, fd) in host
        .listening
        .iter()
        .filter(|l| only.is_none_or(|o| o.1 == l.0))
    {
        loop {
            match host.admin.getmsg(*fd, 256, 65_536, false) {
                Ok(m) => {
                    let ctl = m.ctl.unwrap_or_default();
                    let Some((sport, from)) = ctl.get(20..36).and_then(tpi::sockaddr) else {
                        continue;
                    };
                    let data = m.data.unwrap_or_default();
                    let text = printable(&data);
                    let from = names.show(Ipv4Addr::from(from));
                    lines.push(format!(
                        "{port}: {} bytes from {from} {sport}: {text}",
                        data.len()
                    ));
                }
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(Fail::errno(format!("port {port}"), e)),
            }
        }
    }
    if lines.is_empty() {
        lines.push("nothing was received".into());
    }
    for l in lines {
        sh.out.line(unpainted(&l));
    }
    Ok(())
}

/// Bytes as a terminal may see them, the first 60.
fn printable(data: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(data)
        .chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .take(60)
        .collect();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_right_checksum() {
        let h = header(
            UDP,
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 1, 0, 3),
            64,
            true,
            8,
        );
        assert_eq!(checksum(&h), 0);
        assert_eq!(&h[2..4], &[0, 28]);
    }

    #[test]
    fn answers_are_told_from_other_things() {
        let mut d = header(ICMP, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, 1, false, 8);
        d.extend([0, 0, 0, 0, 1, 2, 0, 7]);
        assert!(is_answer(&d, 0x102, 7));
        assert!(!is_answer(&d, 0x102, 8));
        assert!(!is_answer(&d[..22], 0x102, 7));
        assert!(!is_answer(&[], 0, 0));
    }
}
