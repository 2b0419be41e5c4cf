//! kstat: the statistics of the current host's modules and drivers, as kstat(1M) shows them.
//!
//! ```text
//!   kstat le:0:le0:*packets        Kernel::kstats() ─► (since the last) ─► select ─► print
//!   kstat -p :::in* every 10s delta          ▲───────── time passes ──────────┘
//! ```
//!
//! Spec: kstat(1M).
//! Kept: `module:instance:name:statistic` with globs, `-p`, `-l`, `-c`; class, crtime and
//! snaptime among the statistics; to find nothing is a failure.
//! Differs: the interval is `every TIME times COUNT`, and `delta` shows what moved in it.
//! Not done: regular expressions between slashes, `-T`.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use streams::kstat::{Kstat, Selector, Snapshot, Value};

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail};
use crate::shell::Shell;
use crate::values;

/// The command.
pub const COMMANDS: &[Command] = &[Command {
    name: "kstat",
    aliases: &[],
    group: Group::Looking,
    usage: &["[-p | -l | -c CLASS]... [KSTAT]... [every TIME [times COUNT]] [delta]"],
    help: "the kernel's statistics: kstat(1M)",
    long: "A statistic is called by the module that keeps it, the instance, a name and its \
           own: le:0:le0:ipackets. A part that is left out takes all, and * ? [a-z] are globs. \
           Data links have the class net and the counters of le(7D) and hme(7D); ip, icmp, udp \
           and tcp have the class mib2 and the counters of their MIBs; vtunl has its own and \
           its drops. -p prints a line each, -l the names alone. `every` prints again after \
           each TIME, as often as `times` says or until Ctrl-C; with `delta` numbers are what \
           was added since the time before, and those that did not move are left out.",
    examples: &[
        "kstat -p le:0:le0:*packets",
        "kstat -c mib2 ip:0:ip",
        "kstat -p -c net every 10s times 3 delta",
        "kstat -l",
    ],
    run: kstat,
}];

fn kstat(sh: &mut Shell, args: &Args<'_>) -> Done {
    let mut selectors = Vec::new();
    for w in args.all("KSTAT") {
        let s: Selector = w.text.parse().map_err(|_| {
            Fail::usage(format!("`{}` names no statistics", w.text))
                .at(w.span)
                .mend("module:instance:name:statistic, such as le:0:le0:ipackets or ip::icmp")
        })?;
        selectors.push(s);
    }
    if let Some(class) = args.find("CLASS") {
        if selectors.is_empty() {
            selectors.push(Selector::default());
        }
        selectors = selectors
            .into_iter()
            .map(|s| s.of_class(&class.text))
            .collect();
    }
    let every = args.after("every").map(values::time).transpose()?;
    if let Some(w) = args.after("every")
        && every.is_some_and(|t| t.is_zero())
    {
        return Err(Fail::usage("no time passes in 0s").at(w.span));
    }
    let times = match args.after("times") {
        Some(w) => values::number(w, 1..=u32::MAX)?,
        None if every.is_some() && sh.lab.clock == crate::lab::ClockKind::Real => u32::MAX,
        None if every.is_some() => {
            return Err(Fail::usage("with the emulated clock it would never end")
                .at(args.span())
                .mend("`times COUNT` says how often"));
        }
        None => 1,
    };
    let (lines, list, delta) = (args.has("-p"), args.has("-l"), args.has("delta"));
    let mut before = Snapshot::default();
    for round in 0..times {
        let now = sh.lab.host()?.kernel.kstats();
        let shown = if delta {
            now.since(&before)
        } else {
            now.clone()
        };
        let found = with_times(shown).select(&selectors);
        if round == 0 && found.chain.is_empty() {
            return Err(nothing(&now).at(args.span()));
        }
        let moved = |v: &Value| !delta || v.number().is_some_and(|n| n != 0);
        print(sh, &found, lines, list, &moved);
        before = now;
        if round + 1 < times && !wait(sh, every.unwrap_or_default()) {
            break;
        }
    }
    Ok(())
}

/// Lets the interval pass; false if a signal ended it.
fn wait(sh: &mut Shell, time: Duration) -> bool {
    match sh.lab.clock {
        crate::lab::ClockKind::Real => sh.signals.clone().wait(Some(time)).is_none(),
        crate::lab::ClockKind::Emulated => {
            sh.lab.pass(time);
            true
        }
    }
}

fn nothing(now: &Snapshot) -> Fail {
    let fail = Fail::failed("there are no such statistics");
    match now.chain.is_empty() {
        true => fail.mend("a module has statistics from its first open on: `plumb` opens some"),
        false => fail.mend("`kstat -l` lists the names"),
    }
}

/// kstat(1M) has these among the statistics.
fn with_times(mut s: Snapshot) -> Snapshot {
    let at = s.at;
    for k in &mut s.chain {
        let class = k.class;
        let crtime = k.crtime;
        k.text("class", class);
        k.text("crtime", seconds(crtime));
        k.text("snaptime", seconds(at));
        k.data.sort_by(|a, b| a.0.cmp(&b.0));
    }
    s
}

fn seconds(t: Duration) -> String {
    format!("{}.{:09}", t.as_secs(), t.subsec_nanos())
}

fn print(sh: &mut Shell, s: &Snapshot, lines: bool, list: bool, moved: &dyn Fn(&Value) -> bool) {
    let mut text = String::new();
    for k in &s.chain {
        let data: Vec<_> = k.data.iter().filter(|d| list || moved(&d.1)).collect();
        if data.is_empty() {
            continue;
        }
        if lines || list {
            for (name, v) in data {
                let path = format!("{}:{}:{}:{name}", k.module, k.instance, k.name);
                match list {
                    true => text.push_str(&format!("{path}\n")),
                    false => text.push_str(&format!("{path}\t{v}\n")),
                }
            }
            continue;
        }
        text.push_str(&format!(
            "module: {:<30}  instance: {}\nname:   {:<30}  class:    {}\n",
            k.module, k.instance, k.name, k.class
        ));
        for (name, v) in data {
            text.push_str(&format!("        {name:<30}  {v}\n"));
        }
        text.push('\n');
    }
    let value: Vec<Json> = s.chain.iter().filter_map(|k| object(k, moved)).collect();
    sh.out.shown(&text, Json::Array(value));
}

/// A kstat for programs; `None` if nothing of it is shown.
fn object(k: &Kstat, moved: &dyn Fn(&Value) -> bool) -> Option<Json> {
    let data: Map<String, Json> = k
        .data
        .iter()
        .filter(|d| moved(&d.1))
        .map(|(n, v)| {
            let v = v.number().map_or_else(|| v.to_string().into(), Json::from);
            (n.to_string(), v)
        })
        .collect();
    (!data.is_empty()).then(|| {
        json!({ "module": k.module, "instance": k.instance, "name": k.name,
                "class": k.class, "data": data })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Look;
    use crate::testing::{QUIET, run};

    const PAIR: &str = "wire net; host a; plumb le0 on net; ifconfig le0 10.0.0.1 up;
        host b; plumb le0 on net; ifconfig le0 10.0.0.2 up;";

    #[test]
    fn a_ping_is_counted_by_link_and_mib() {
        // kstat(1M) -p
        let script = format!("{PAIR} ping 10.0.0.1; kstat -p icmp:::x le::*:?packets ip::icmp:*");
        let text = run(&script, QUIET).unwrap();
        let rows: Vec<&str> = text.lines().collect();
        for row in [
            "ip:0:icmp:inMsgs\t1",
            "ip:0:icmp:class\tmib2",
            "le:0:le0:ipackets\t2", // the answers to ARP and to the ping
            "le:0:le0:opackets\t3", // ARP: its own address, then the other's; the ping
        ] {
            assert!(rows.contains(&row), "{row} in {text}");
        }
        let text = run(&format!("{PAIR} kstat le:0:le0:brdcstxmt"), QUIET).unwrap();
        assert!(text.starts_with("module: le  "), "{text}");
        assert!(text.contains("\n        brdcstxmt "), "{text}");
    }

    #[test]
    fn an_interval_lets_time_pass_and_delta_shows_what_moved() {
        let script = format!("{PAIR} ping 10.0.0.1; kstat -p ip:0:ip every 5s times 2 delta");
        let text = run(&script, QUIET).unwrap();
        assert!(text.contains("ip:0:ip:inReceives\t1\n"), "{text}");
        assert_eq!(text.matches("inReceives").count(), 1, "then nothing came");
        let script = format!("{PAIR} kstat -p ip:0:ip:snaptime every 5s times 3");
        let times = run(&script, QUIET).unwrap();
        let times: Vec<f64> = times
            .lines()
            .filter_map(|l| l.split('\t').nth(1)?.parse().ok())
            .collect();
        assert_eq!(times.len(), 3);
        assert_eq!(times[2] - times[1], 5.0);
    }

    #[test]
    fn json_has_numbers() {
        let json = Look {
            json: true,
            ..QUIET
        };
        let text = run(&format!("{PAIR} kstat le:0:le0:mult*"), json).unwrap();
        let last: Json = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let k = &last["result"][0][0];
        assert_eq!((&k["module"], &k["class"]), (&json!("le"), &json!("net")));
        assert_eq!(k["data"], json!({ "multircv": 0, "multixmt": 0 }));
    }

    #[test]
    fn what_it_does_not_find_and_does_not_understand() {
        let why = run("host a; kstat", QUIET).unwrap_err();
        assert!(why.contains("there are no such statistics"), "{why}");
        let why = run(&format!("{PAIR} kstat xyz"), QUIET).unwrap_err();
        assert!(why.contains("kstat -l"), "{why}");
        let why = run(&format!("{PAIR} kstat le:zero"), QUIET).unwrap_err();
        assert!(why.contains("names no statistics"), "{why}");
        let why = run(&format!("{PAIR} kstat every 1s"), QUIET).unwrap_err();
        assert!(why.contains("never end"), "{why}");
    }
}
