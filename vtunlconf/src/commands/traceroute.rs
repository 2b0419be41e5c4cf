//! traceroute: the routers on the way to a host, one hop after the other.
//!
//! ```text
//!   /dev/rawip ─► probe, TTL 1 ─► first router ─► time exceeded ──────┐
//!              ─► probe, TTL 2 ──────► second router ─► the same ─────┤
//!              ─► probe, TTL n ────────────► the host ─► no such port ┴─► /dev/icmp
//! ```
//!
//! An error quotes the probe: its ports say which it was. With -I probes are echo requests,
//! and the host answers with a reply.
//!
//! Spec: traceroute(1M); RFC 792, RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1 (codes), RFC 1191 4
//! (the MTU behind !F).
//! Kept: names and defaults of the options, the marks, a way that ends where it is refused.
//! Differs: no times under the emulated clock; a host that is not reached is a failure.
//! Not done: -g, -t, -r, -x and those for IPv6.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipmod::raw_options::IP_HDRINCL;
use ipmod::tpi;
use ipmod::tpi_options::{IPPROTO_IP, T_NEGOTIATE};
use serde_json::{Value, json};
use streams::{Errno, Sys, oflag};

use super::probe::{HEADER, ICMP, UDP, checksum, header, wait_for};
use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail, Tried};
use crate::lab::ClockKind;
use crate::shell::Shell;
use crate::values::{self, Names};

/// The row.
pub const COMMANDS: &[Command] = &[Command {
    name: "traceroute",
    aliases: &[],
    group: Group::Ip,
    usage: &[
        "[-n | -I | -F | -f NUMBER | -m NUMBER | -q COUNT | -w TIME | -p PORT | -s SRC]... ADDR [BYTES]",
    ],
    help: "show the routers on the way to a host",
    long: "Sends probes with a TTL of 1, 2 and so on; whoever drops one because its time is \
           over says so. Probes are UDP datagrams to ports that nobody should have, from \
           33434 (-p) on; with -I echo requests. -n: no names. -f and -m: first and last TTL \
           (1, 30). -q: probes for each (3). -w: how long to wait for an answer (5s). -F: \
           with DF. BYTES is the whole datagram's length (40).\n\
           \n\
           Behind a time: ! the answer came with a TTL of 1 or less; !N no way to the \
           network; !H none to the host; !P the protocol is not there; !F-1300 DF, and the \
           link takes 1300 bytes; !S source route failed; !<n> another code of unreachable. \
           Fails if the host is not reached.",
    examples: &["traceroute mh1", "traceroute -n -I -q 1 10.1.0.3"],
    run: traceroute,
}];

/// A probe without anything in it.
const LEAST: usize = HEADER + 8;

/// What was asked for.
struct Options {
    dst: Ipv4Addr,
    src: Ipv4Addr,
    numeric: bool,
    icmp: bool,
    df: bool,
    first: u8,
    last: u8,
    queries: u16,
    wait: Duration,
    port: u16,
    length: usize,
}

impl Options {
    fn of(args: &Args<'_>, names: &Names) -> Result<Options, Fail> {
        let after = |flag| args.after(flag).filter(|_| args.has(flag));
        let ttl = |flag, default| match after(flag) {
            Some(w) => values::number8(w, 1..=255),
            None => Ok(default),
        };
        let o = Options {
            dst: names.addr(args.need("ADDR")?)?,
            src: match args.find("SRC") {
                Some(w) => names.addr(w)?,
                None => Ipv4Addr::UNSPECIFIED,
            },
            numeric: args.has("-n"),
            icmp: args.has("-I"),
            df: args.has("-F"),
            first: ttl("-f", 1)?,
            last: ttl("-m", 30)?,
            queries: match args.find("COUNT") {
                Some(w) => values::number16(w, 1..=100)?,
                None => 3,
            },
            wait: match args.find("TIME") {
                Some(w) => values::time(w)?,
                None => Duration::from_secs(5),
            },
            port: match args.find("PORT") {
                Some(w) => values::number16(w, 1..=u16::MAX)?,
                None => 33434,
            },
            length: match args.find("BYTES") {
                Some(w) => values::number(w, LEAST as u32..=65_535)? as usize,
                None => 40,
            },
        };
        if o.first > o.last {
            return Err(Fail::usage(format!(
                "the first TTL, {}, is behind the last, {}",
                o.first, o.last
            ))
            .mend("-f is no more than -m"));
        }
        Ok(o)
    }

    /// The probe of this number. `ident` is the source port, or an echo request's identifier.
    fn probe(&self, ident: u16, seq: u16, ttl: u8) -> Vec<u8> {
        let mut b = Vec::with_capacity(self.length);
        let data = (LEAST..self.length).map(|i| i as u8);
        let proto = if self.icmp {
            b.extend([8, 0, 0, 0]);
            b.extend(ident.to_be_bytes());
            b.extend(seq.to_be_bytes());
            b.extend(data);
            let sum = checksum(&b);
            b[2..4].copy_from_slice(&sum.to_be_bytes());
            ICMP
        } else {
            let length = (self.length - HEADER) as u16;
            b.extend(ident.to_be_bytes());
            b.extend(self.port.wrapping_add(seq).to_be_bytes());
            b.extend(length.to_be_bytes());
            b.extend([0, 0]); // no checksum: IP has yet to choose the source
            b.extend(data);
            UDP
        };
        let mut datagram = header(proto, self.src, self.dst, ttl, self.df, b.len());
        datagram.extend(b);
        datagram
    }

    /// What a message on /dev/icmp says about the probe of this number; nothing if it is
    /// about something else.
    fn answer(&self, datagram: &[u8], ident: u16, seq: u16) -> Option<Answer> {
        let (outer, icmp) = split(datagram)?;
        let from = address(outer, 12)?;
        let (kind, code) = (*icmp.first()?, *icmp.get(1)?);
        if kind == 0 {
            let ours = self.icmp && be16(icmp, 4)? == ident && be16(icmp, 6)? == seq;
            return ours.then_some(Answer {
                from,
                there: true,
                mark: String::new(),
            });
        }
        if !matches!(kind, 3 | 11) {
            return None;
        }
        let (quoted, data) = split(icmp.get(8..)?)?;
        let (proto, its) = match self.icmp {
            true => (ICMP, (be16(data, 4)?, be16(data, 6)?)),
            false => (
                UDP,
                (be16(data, 0)?, be16(data, 2)?.wrapping_sub(self.port)),
            ),
        };
        if *quoted.get(9)? != proto || address(quoted, 16)? != self.dst || its != (ident, seq) {
            return None;
        }
        // RFC 792: 11 is time exceeded, and 3 destination unreachable.
        let (there, mark) = match (kind, code) {
            (11, _) => (false, String::new()),
            // A host that sends errors with the TTL that is left of the probe.
            (_, 3) if outer[8] <= 1 => (true, "!".into()),
            (_, 3) => (true, String::new()),
            (_, 0) => (false, "!N".into()),
            (_, 1) => (false, "!H".into()),
            (_, 2) => (true, "!P".into()),
            (_, 4) => match be16(icmp, 6)? {
                0 => (false, "!F".into()),
                mtu => (false, format!("!F-{mtu}")),
            },
            (_, 5) => (false, "!S".into()),
            (_, n) => (false, format!("!<{n}>")),
        };
        Some(Answer { from, there, mark })
    }
}

/// Who answered a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    from: Ipv4Addr,
    /// It is the host.
    there: bool,
    /// What is printed behind the time.
    mark: String,
}

/// Header and payload of a datagram.
fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = usize::from(datagram.first()? & 15) * 4;
    (header >= HEADER).then(|| datagram.split_at_checked(header))?
}

fn be16(b: &[u8], at: usize) -> Option<u16> {
    let two = b.get(at..at + 2)?;
    Some(u16::from_be_bytes([two[0], two[1]]))
}

fn address(header: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
    Some(four.into())
}

/// The answers to the probes of one TTL, and how long each took.
struct Hop {
    ttl: u8,
    probes: Vec<Option<(Answer, Option<Duration>)>>,
}

impl Hop {
    /// ` 2  r2 (10.0.2.1)  0.041 ms  * 0.038 ms !H`
    fn line(&self, o: &Options, names: &Names) -> String {
        let mut line = format!("{:2} ", self.ttl);
        let mut last = None;
        for p in &self.probes {
            let Some((a, took)) = p else {
                line += " *";
                continue;
            };
            if last != Some(a.from) {
                last = Some(a.from);
                line += &match o.numeric {
                    true => format!(" {}", a.from),
                    false => format!(" {}", names.show(a.from)),
                };
            }
            if let Some(t) = took {
                line += &format!("  {:.3} ms", t.as_secs_f64() * 1e3);
            }
            if !a.mark.is_empty() {
                line += &format!(" {}", a.mark);
            }
        }
        line
    }

    fn json(&self, names: &Names) -> Value {
        let probes = self.probes.iter().map(|p| {
            p.as_ref().map_or(Value::Null, |(a, took)| {
                let mark = Some(&a.mark).filter(|m| !m.is_empty());
                json!({ "from": a.from.to_string(), "name": names.name_of(a.from),
                        "ms": took.map(|t| t.as_secs_f64() * 1e3), "mark": mark })
            })
        });
        json!({ "ttl": self.ttl, "probes": probes.collect::<Vec<_>>() })
    }

    /// Did the host answer?
    fn there(&self) -> bool {
        self.probes.iter().flatten().any(|(a, _)| a.there)
    }

    /// No use in going on: all probes but one, or the only one, were refused.
    fn refused(&self) -> Option<&Answer> {
        let mut all = self.probes.iter().flatten().map(|(a, _)| a);
        let refused = all.clone().filter(|a| !a.there && !a.mark.is_empty());
        let enough = refused.count() + 1 >= self.probes.len();
        all.find(|a| enough && !a.there && !a.mark.is_empty())
    }
}

fn traceroute(sh: &mut Shell, args: &Args<'_>) -> Done {
    let w = args.need("ADDR")?;
    let o = Options::of(args, &sh.lab.names)?;
    let shown = sh.lab.names.show(o.dst);
    let host = sh.lab.host()?;
    let send = host.admin.open("/dev/rawip", oflag::O_RDWR);
    let send = send.tried("/dev/rawip")?;
    let flags = oflag::O_RDWR | oflag::O_NONBLOCK;
    let hear = host.admin.open("/dev/icmp", flags).tried("/dev/icmp");
    let way = match hear {
        Ok(hear) => {
            let way = follow(sh, &o, send, hear);
            let closed = sh.lab.host()?.admin.close(hear).tried("close");
            closed.and(way)
        }
        Err(e) => Err(e),
    };
    sh.lab.host()?.admin.close(send).tried("close")?;
    let Some(last) = way? else {
        return Err(Fail::errno("traceroute", Errno::EINTR).at(w.span));
    };
    if last.there() {
        return Ok(());
    }
    let fail = match last.refused() {
        Some(a) => {
            let by = sh.lab.names.show(a.from);
            Fail::errno(format!("{by} refuses: {}", a.mark), Errno::EHOSTUNREACH)
        }
        None => {
            let far = format!("{shown} is not reached with a TTL of {}", o.last);
            Fail::errno(far, Errno::ETIMEDOUT)
        }
    };
    Err(fail
        .at(w.span)
        .mend("`trace on`, again, and `show ways` tells where the probes went"))
}

/// Prints hop after hop; the last of them, or nothing if the user would not wait.
fn follow(sh: &mut Shell, o: &Options, send: i32, hear: i32) -> Result<Option<Hop>, Fail> {
    let host = sh.lab.host()?;
    for fd in [send, hear] {
        ask(&host.admin, fd, &tpi::bind_req(&[]), tpi::T_BIND_ACK).tried("T_BIND_REQ")?;
    }
    let whole = tpi::optmgmt_req(T_NEGOTIATE, &[(IPPROTO_IP, IP_HDRINCL, 1)]);
    ask(&host.admin, send, &whole, tpi::T_OPTMGMT_ACK).tried("IP_HDRINCL")?;
    let ident = host.admin.pid() as u16 | 0x8000;
    let target = sh.lab.names.show(o.dst);
    let (hops, length) = (o.last, o.length);
    sh.out.note(format!(
        "traceroute to {target}, {hops} hops max, {length} byte packets"
    ));
    let mut seq = 0u16;
    for ttl in o.first..=o.last {
        let mut hop = Hop {
            ttl,
            probes: Vec::new(),
        };
        for _ in 0..o.queries {
            seq = seq.wrapping_add(1);
            let probe = o.probe(ident, seq, ttl);
            let to = tpi::unitdata_req(&tpi::sockaddr_bytes(0, o.dst.into()));
            let start = Instant::now();
            let host = sh.lab.host()?;
            host.admin
                .putmsg(send, Some(&to), Some(&probe), false)
                .tried("traceroute")?;
            let said = wait_for(sh, hear, o.wait, |d| o.answer(d, ident, seq))?;
            let took = (sh.lab.clock == ClockKind::Real).then(|| start.elapsed());
            hop.probes.push(said.map(|a| (a, took)));
            if sh.signals.raised() {
                break;
            }
        }
        let (line, value) = (hop.line(o, &sh.lab.names), hop.json(&sh.lab.names));
        sh.out.shown(&line, value);
        if sh.signals.pending() {
            return Ok(None);
        }
        if hop.there() || hop.refused().is_some() || ttl == o.last {
            return Ok(Some(hop));
        }
    }
    Ok(None)
}

/// A request of TPI and its answer.
fn ask(sys: &dyn Sys, fd: i32, req: &[u8], want: u32) -> Result<(), Errno> {
    sys.putmsg(fd, Some(req), None, false)?;
    let ack = sys.getmsg(fd, 256, 0, false)?;
    match tpi::words(&ack.ctl.unwrap_or_default())[0] == want {
        true => Ok(()),
        false => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
#[path = "traceroute_tests.rs"]
mod tests;
