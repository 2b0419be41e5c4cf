//! Looking: streams as drawings, links, the ways of datagrams, drops.

use serde_json::{Value, json};
use streams::StackView;
use vtunl::client::Client;

use crate::command::{Args, Command, Group};
use crate::commands::{config, ip};
use crate::diag::{Done, Fail, Tried};
use crate::draw::{self, Bank, Column, Drawing};
use crate::lab::Host;
use crate::lex;
use crate::out::Table;
use crate::peek::{Peeked, peek};
use crate::shell::Shell;
use crate::style::Style;
use crate::values;
use crate::way::{self, Event, Seen, Way};

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "show",
        aliases: &[],
        group: Group::Looking,
        usage: &[
            "stacks | links",
            "ways [all | last COUNT]",
            "trace | drops | counters",
            "interfaces | routes | arp",
            "encap | decap | exits",
            "config [all]",
        ],
        help: "show streams, ways of datagrams, drops, configuration",
        long: "`stacks` draws the current host's streams as Figure 2 of the paper: the \
               modules from the head down to the driver, and what is linked under what. \
               `ways` tells for each datagram since `trace on` through which modules of \
               which hosts it went, what was changed on the way, and why it was dropped; \
               with `all` ARP messages and the hosts that only overheard it too. `trace` lists the single events. `drops` \
               counts, by module and reason. `config` prints the commands that make the \
               current host what it is, with `all` those of every host.",
        examples: &[
            "show stacks",
            "trace on; show ways",
            "show ways last 1",
            "show config all",
        ],
        run: show,
    },
    Command {
        name: "trace",
        aliases: &[],
        group: Group::Looking,
        usage: &["[on | off | clear]"],
        help: "trace every message on every host, or stop it",
        long: "`show ways` and `show trace` show what was traced. `clear` forgets it. \
               Without arguments: tells whether it is on.",
        examples: &["trace on", "trace clear"],
        run: trace,
    },
];

fn show(sh: &mut Shell, args: &Args<'_>) -> Done {
    match args.items().next().map(|(label, _)| label) {
        Some("stacks") => stacks(sh),
        Some("links") => links(sh),
        Some("drops") => drops(sh),
        Some("ways") => ways(sh, args),
        Some("trace") => events(sh),
        Some("counters") => counters(sh),
        Some("interfaces") => other(sh, "ifconfig -a"),
        Some("routes") => other(sh, "netstat -r"),
        Some("arp") => other(sh, "arp -a"),
        Some("encap") => other(sh, "encap show"),
        Some("decap") => other(sh, "decap show"),
        Some("exits") => other(sh, "exits"),
        Some("config") => config(sh, args.has("all")),
        _ => Err(Fail::usage("nothing to show")),
    }
}

/// What another command shows.
fn other(sh: &mut Shell, command: &str) -> Done {
    match lex::statements(command) {
        Ok(list) => list
            .iter()
            .try_for_each(|s| sh.run_words(s))
            .map_err(|mut f| {
                f.span = None; // it is a place in the other command
                f
            }),
        Err(e) => Err(Fail::usage(e.cause)),
    }
}

fn config(sh: &mut Shell, all: bool) -> Done {
    let lines = match all {
        true => config::all_lines(sh)?,
        false => config::host_lines(sh)?,
    };
    for line in lines {
        sh.out.line(line);
    }
    Ok(())
}

/// The counters of IP, and of vtunl if it is loaded.
fn counters(sh: &mut Shell) -> Done {
    ip::show_counters(sh)?;
    let host = sh.lab.host()?;
    if !host.kernel.modinfo().iter().any(|r| r.name == "vtunl") {
        return Ok(());
    }
    let rows =
        host.with_control(|admin, fd| Client::new(admin, fd).stats().tried("VTUNL_STATS"))?;
    let mut t = Table::new(&["Tunnel", "Value"]);
    for (name, n) in rows.into_iter().filter(|r| r.1 != 0) {
        t.row([name, n.to_string()]);
    }
    if !t.rows.is_empty() {
        sh.out.table(&t);
    }
    Ok(())
}

fn stacks(sh: &mut Shell) -> Done {
    let ascii = sh.out.look.ascii;
    let host = sh.lab.host()?;
    let list = host.kernel.stacks();
    let drawing = drawing_of(host, &list);
    let text = draw::draw(&drawing, 78, ascii);
    let value: Vec<Value> = list.iter().map(|s| stack_json(host, s)).collect();
    if list.is_empty() {
        sh.out.note("no stream is open");
    }
    sh.out.shown(&text, Value::Array(value));
    Ok(())
}

fn stack_json(host: &Host, s: &StackView) -> Value {
    let modules = s.modules.iter().map(|m| {
        json!({ "name": m.name, "driver": m.driver,
                "read": { "messages": m.read_queue.0, "bytes": m.read_queue.1 },
                "write": { "messages": m.write_queue.0, "bytes": m.write_queue.1 } })
    });
    let link = s
        .linked_under
        .as_ref()
        .map(|l| json!({ "muxid": l.muxid, "under": l.driver, "persistent": l.persistent }));
    json!({ "stream": s.id, "label": host.label(s), "path": s.path,
            "modules": modules.collect::<Vec<_>>(), "link": link })
}

/// Which part of the paper's Figure 2 a stream is.
fn figure(s: &StackView) -> Option<&'static str> {
    let names: Vec<&str> = s.modules.iter().map(|m| m.name.as_str()).collect();
    let at = names.iter().position(|n| *n == "vtunl")?;
    match (s.modules.get(at)?.driver, names.get(at + 1)) {
        (true, _) => Some("Fig. 2(c)"),
        (false, Some(&"ip")) => Some("Fig. 2(a)"),
        (false, _) => Some("Fig. 2(b)"),
    }
}

/// A host's streams as a drawing: those under a multiplexor in its bank, the others free.
fn drawing_of(host: &Host, list: &[StackView]) -> Drawing {
    let mut banks: Vec<Bank> = Vec::new();
    let mut free = Bank::default();
    for s in list {
        let mut boxes: Vec<String> = s
            .modules
            .iter()
            .map(|m| {
                let name = match m.driver {
                    true => format!("/dev/{}", m.name),
                    false => m.name.clone(),
                };
                match m.read_queue.0 + m.write_queue.0 {
                    0 => name,
                    n => format!("{name} ({n} queued)"),
                }
            })
            .collect();
        let label = host.label(s);
        let mut under: Vec<String> = Vec::new();
        under.extend(figure(s).map(str::to_owned));
        match &s.linked_under {
            Some(link) => {
                under.insert(0, label);
                let how = if link.persistent { "" } else { " (I_LINK)" };
                let column = Column {
                    boxes,
                    under,
                    link: format!("link {}{how}", link.muxid),
                };
                let mux = format!("/dev/{}", link.driver);
                match banks.iter_mut().find(|b| b.mux.as_ref() == Some(&mux)) {
                    Some(b) => b.columns.push(column),
                    None => banks.push(Bank {
                        mux: Some(mux),
                        columns: vec![column],
                    }),
                }
            }
            None => {
                boxes.insert(0, "stream head".into());
                if host.control.is_some() && figure(s) == Some("Fig. 2(c)") {
                    under.insert(0, "control".into());
                }
                free.columns.push(Column {
                    boxes,
                    under,
                    link: String::new(),
                });
            }
        }
    }
    if !free.columns.is_empty() {
        banks.push(free);
    }
    Drawing { banks }
}

fn links(sh: &mut Shell) -> Done {
    let host = sh.lab.host()?;
    let mut t = Table::new(&["Mux", "Under", "Kind", "Stream", "Modules"]);
    for s in host.kernel.stacks() {
        let Some(link) = &s.linked_under else {
            continue;
        };
        let modules: Vec<&str> = s.modules.iter().map(|m| m.name.as_str()).collect();
        t.row([
            link.muxid.to_string(),
            format!("/dev/{}", link.driver),
            if link.persistent { "I_PLINK" } else { "I_LINK" }.to_owned(),
            host.label(&s),
            modules.join(" "),
        ]);
    }
    sh.out.table(&t);
    Ok(())
}

fn drops(sh: &mut Shell) -> Done {
    let mut t = Table::new(&["Module", "Dropped", "Reason"]);
    for ((module, why), n) in sh.lab.host()?.kernel.drops() {
        t.row([module.to_owned(), n.to_string(), why.to_owned()]);
    }
    if t.rows.is_empty() {
        sh.out.line("no message was dropped");
    } else {
        sh.out.table(&t);
    }
    Ok(())
}

fn ways(sh: &mut Shell, args: &Args<'_>) -> Done {
    let all = args.has("all");
    let mut list: Vec<Way> = way::ways(sh.lab.traced());
    if !all {
        list.retain(|w| !w.is_arp());
        list = list.into_iter().map(Way::without_bystanders).collect();
        list.retain(|w| !w.steps.is_empty());
    }
    let total = list.len();
    if let Some(w) = args.find("COUNT") {
        let n = values::number(w, 1..=u32::MAX)? as usize;
        list.drain(..total.saturating_sub(n));
    }
    if list.is_empty() {
        let why = match sh.lab.tracing() {
            true => "no datagram was traced",
            false => "nothing is traced: `trace on` starts it",
        };
        sh.out.line(why);
        return Ok(());
    }
    let look = sh.out.look;
    for (i, w) in list.iter().enumerate() {
        let number = total - list.len() + i + 1;
        let text = way::draw(number, w, look.ascii, look.paint);
        sh.out.shown(&text, way_json(number, w));
    }
    Ok(())
}

fn way_json(number: usize, w: &Way) -> Value {
    let what = |p: &Option<Peeked>| match p {
        Some(Peeked::Ip(d)) => Value::from(d.to_string()),
        Some(Peeked::Arp(text)) => Value::from(text.as_str()),
        None => Value::Null,
    };
    let steps = w.steps.iter().map(|(s, p)| {
        json!({ "host": s.host, "stream": s.stream, "module": s.module,
                "direction": if s.up { "up" } else { "down" },
                "event": event_word(&s.event), "why": event_text(&s.event),
                "datagram": what(p) })
    });
    json!({ "number": number, "datagram": what(&w.first().cloned()),
            "dropped": w.drops().collect::<Vec<_>>(), "steps": steps.collect::<Vec<_>>() })
}

fn event_word(e: &Event) -> &'static str {
    match e {
        Event::Came => "put",
        Event::Queued => "queued",
        Event::Full => "full",
        Event::Dropped(_) => "dropped",
        Event::Said(_) => "log",
    }
}

fn event_text(e: &Event) -> &str {
    match e {
        Event::Dropped(text) | Event::Said(text) => text,
        _ => "",
    }
}

fn events(sh: &mut Shell) -> Done {
    let mut t = Table::new(&["Host", "Stream", "Dir", "Module", "Event", "Message"]);
    for s in sh.lab.traced() {
        t.row(event_row(&s));
    }
    sh.out.table(&t);
    Ok(())
}

fn event_row(s: &Seen) -> [String; 6] {
    let what = match (peek(&s.bytes), &s.event) {
        (_, Event::Said(text)) => text.clone(),
        (Some(Peeked::Ip(d)), _) => match d.inner {
            Some(_) => format!("{d} [{}]", d.innermost()),
            None => d.to_string(),
        },
        (Some(Peeked::Arp(text)), _) => text,
        (None, _) if s.len == 0 => s.ty.clone(),
        (None, _) => format!("{} {} bytes", s.ty, s.len),
    };
    let event = match &s.event {
        Event::Dropped(why) => format!("dropped: {why}"),
        e => event_word(e).to_owned(),
    };
    [
        s.host.clone(),
        s.stream.clone(),
        if s.up { "up" } else { "down" }.to_owned(),
        s.module.clone(),
        event,
        what,
    ]
}

fn trace(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("on") || args.has("off") {
        sh.lab.set_trace(args.has("on"));
    } else if args.has("clear") {
        sh.lab.clear_trace();
    } else {
        let on = if sh.lab.tracing() { "on" } else { "off" };
        let text = sh.out.look.paint.on(Style::Strong, &format!("trace {on}"));
        sh.out.line(text);
    }
    Ok(())
}
