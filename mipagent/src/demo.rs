//! `mipagent demo`: two mobile nodes walk through a small internet in memory.
//!
//! ```text
//!   hh mn1 mn2 ──home── ha ──backbone──┬── fa1 ──cell1      cn ──TCP──► mn1
//!                                      ├── fa2 ──cell2      cn ◄─UDP──► mn2
//!                                      └── gw  ──campus
//! ```
//!
//! The hosts are those of demo/world.vt, each daemon has its file in demo/, and time is the
//! emulated clock's: it takes a second or two, and is the same every time.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use streams::Errno;
use vtunlconf::diag::{Fail, Tried};

use crate::status;
use crate::traffic::{Client, Numbers, Server, pattern};
use crate::world::{Daemons, Line, World};

/// The internet, as a script of the shell.
pub const WORLD: &str = include_str!("../demo/world.vt");
/// Who runs a daemon, and its file.
pub const CONFS: [(&str, &str); 6] = [
    ("ha", include_str!("../demo/ha.conf")),
    ("fa1", include_str!("../demo/fa1.conf")),
    ("fa2", include_str!("../demo/fa2.conf")),
    ("gw", include_str!("../demo/gw.conf")),
    ("mn1", include_str!("../demo/mn1.conf")),
    ("mn2", include_str!("../demo/mn2.conf")),
];
/// The home address of mn1.
pub const MN1: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 71);
/// The home address of mn2.
pub const MN2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 72);
/// The host that they talk to.
pub const CN: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 9);
/// The walk: in which second which mobile node goes to which wire.
pub const WALK: [(u64, &str, &str); 7] = [
    (2, "mn1", "cell1"),
    (4, "mn2", "cell1"),
    (7, "mn1", "cell2"),
    (9, "mn2", "cell2"),
    (12, "mn1", "campus"),
    (15, "mn1", "home"),
    (17, "mn2", "home"),
];
const SECONDS: u64 = 24;
const STEP: Duration = Duration::from_millis(20);
const BYTES: usize = 1_000_000;

/// Where the demo prints, and how.
pub struct Print<'a> {
    /// There.
    pub out: &'a mut dyn Write,
    /// One JSON object a line.
    pub json: bool,
    /// A reader has gone: nothing more is printed, and that is no failure.
    broken: bool,
}

impl<'a> Print<'a> {
    /// Prints there.
    pub fn new(out: &'a mut dyn Write, json: bool) -> Print<'a> {
        let broken = false;
        Print { out, json, broken }
    }

    fn put(&mut self, text: &str) -> Result<(), Fail> {
        if self.broken {
            return Ok(());
        }
        match self.out.write_all(text.as_bytes()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.broken = true;
                Ok(())
            }
            r => r.map_err(|e| Fail::io("standard output", &e)),
        }
    }

    fn line(&mut self, when: Duration, host: &str, text: &str) -> Result<(), Fail> {
        let when = when.as_secs_f64();
        let line = match self.json {
            true => json!({ "time": when, "host": host, "event": text }).to_string(),
            false => format!("{when:7.2}  {host:<4} {text}"),
        };
        self.put(&format!("{line}\n"))
    }

    fn log(&mut self, lines: &mut Vec<Line>) -> Result<(), Fail> {
        for l in lines.drain(..) {
            let e = &l.entry;
            let text = match e.role {
                "mobile" => e.text.clone(),
                _ => format!("{} {}", e.home, e.text),
            };
            self.line(l.when, &l.host, &text)?;
        }
        Ok(())
    }

    fn status(&mut self, when: Duration, all: &Value) -> Result<(), Fail> {
        if self.json {
            let object = json!({ "time": when.as_secs_f64(), "status": all });
            return self.put(&format!("{object}\n"));
        }
        for (host, s) in all.as_object().into_iter().flatten() {
            for line in status::render(s).lines() {
                self.put(&format!("{:9}{host:<4}   {line}\n", ""))?;
            }
        }
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// A byte of the transfer is missing or wrong, a datagram came twice; what the hosts
/// refused.
pub fn run(print: &mut Print<'_>) -> Result<(), Fail> {
    let mut w = World::build("demo/world.vt", WORLD)?;
    let p = w.processes();
    let of = |host: &str| {
        p.get(host)
            .ok_or_else(|| Fail::failed(format!("no host {host}")))
    };
    let mut d = Daemons::default();
    for (host, conf) in CONFS {
        d.start(host, of(host)?, conf, w.now())?;
    }
    d.settle(&mut w)?;
    let data = pattern(BYTES);
    let mut server = Server::new(of("cn")?, 80, data.clone()).tried("/dev/tcp")?;
    let mut client = Client::new(of("mn1")?, MN1, (CN, 80)).tried("/dev/tcp")?;
    let mut down = Numbers::new(of("mn2")?, MN2, 7).tried("/dev/udp")?;
    let mut up = Numbers::new(of("cn")?, CN, 7).tried("/dev/udp")?;
    for second in 0..SECONDS {
        for (_, host, wire) in WALK.iter().filter(|m| m.0 == second) {
            print.line(w.now(), host, &format!("goes to {wire}"))?;
            w.run(&format!("on {host} move le0 to {wire}"))?;
        }
        // TCP may have given up, which is then this demo's failure.
        let turn = |_: &mut World| {
            let mut all = || {
                server.turn(2400)?;
                client.turn()?;
                if second < SECONDS - 2 {
                    up.send((MN2, 7))?;
                    down.send((CN, 7))?;
                }
                up.receive()?;
                down.receive()
            };
            all().map_err(|e: Errno| Fail::errno("the traffic", e))
        };
        d.pass(&mut w, Duration::from_secs(1), STEP, turn)?;
        print.log(&mut d.log)?;
        if second == 10 {
            print.status(w.now(), &d.status(w.now()))?;
        }
    }
    let whole = client.ended && client.got == data;
    let streams = [("cn to mn2", &up, &down), ("mn2 to cn", &down, &up)];
    let sorted = streams
        .iter()
        .all(|(_, _, to)| to.came.windows(2).all(|n| n[0] < n[1]));
    if print.json {
        let udp = streams.iter().map(|(name, from, to)| {
            json!({ "stream": name, "sent": from.sent(), "received": to.came.len() })
        });
        let object = json!({
            "time": w.now().as_secs_f64(),
            "tcp": { "sent": BYTES, "received": client.got.len(), "identical": whole },
            "udp": udp.collect::<Vec<_>>(), "udp_in_order": sorted,
            "handovers": WALK.len(),
        });
        print.put(&format!("{object}\n"))?;
    } else {
        let same = if whole { "identical" } else { "NOT identical" };
        let n = client.got.len();
        print.put(&format!("tcp cn to mn1: {n} of {BYTES} bytes, {same}\n"))?;
        for (name, from, to) in streams {
            let (sent, came) = (from.sent(), to.came.len());
            print.put(&format!("udp {name}: {came} of {sent} datagrams\n"))?;
        }
    }
    if !whole || !sorted {
        return Err(Fail::failed("the traffic did not survive the handovers"));
    }
    Ok(())
}
