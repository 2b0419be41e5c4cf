//! The tunnel: what Tables 2 and 3 of the paper offer, as commands.
//!
//! Every ioctl goes to a stream with vtunl right under the head, Figure 2(c): the one
//! that `plumb control` made, or one opened for the time of the command.

use std::net::Ipv4Addr;

use streams::{Errno, Process};
use vtunl::client::{Binding, Client, DEFAULT};
use vtunl::encap::{Df, Policy};
use vtunl::ioctl::{
    DECAP_FLAGS, ENCAP_FLAGS, ExitReq, GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE, VTUNL_DECAP_SIZE,
    VTUNL_ENCAP_SIZE,
};
use vtunl::texit_table as state;

use crate::command::{Args, Command, Group};
use crate::diag::{Done, Fail};
use crate::lex::Word;
use crate::out::Table;
use crate::shell::Shell;
use crate::values::{self, Names, mask_of};

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "encap",
        aliases: &[],
        group: Group::Tunnel,
        usage: &[
            "add TARGET EXIT [flags FLAGS | for TIME]...",
            "rem TARGET [EXIT]",
            "rem all",
            "ok TARGET",
            "size",
            "(show | get) [TARGET]",
        ],
        help: "whom to encapsulate for, and to which exits",
        long: "`add` sends what is for TARGET through the tunnel to EXIT \
               (VTUNL_ENCAP_ADD). Without the flag S it replaces the exits that the target \
               had, with S it adds one, up to eight; the same target and exit again \
               updates flags and lifetime. The target `default` is for every destination \
               that has no entry of its own. Only what is routed into the tunnel \
               interface comes here at all: see `route`. `ok` fails with ENXIO if nobody \
               would encapsulate for the address (VTUNL_ENCAP_OK). What `show` prints is \
               a list of commands.",
        examples: &[
            "encap add mh1 fa2",
            "encap add mh3 fa1; encap add mh3 fa2 flags S",
            "encap add 10.1.0.0/16 fa1 flags M for 10m",
            "encap add default fa3",
            "encap ok mh1",
            "encap rem mh3 fa1",
            "encap show",
        ],
        run: encap,
    },
    Command {
        name: "decap",
        aliases: &[],
        group: Group::Tunnel,
        usage: &[
            "add (all | TARGET [src | dst | either])",
            "rem (all | TARGET)",
            "ok TARGET",
            "from add TARGET",
            "from rem TARGET",
            "size",
            "(show | get)",
        ],
        help: "whom to decapsulate for",
        long: "Nothing is decapsulated until a host is added (VTUNL_DECAP_ADD): by its \
               address as source, destination or either (the default) of the inner \
               datagram. `all` serves every datagram. `from` limits the tunnel entries \
               from which datagrams are taken; with none listed all are. `ok` fails with \
               ENXIO if nobody would decapsulate for the address.",
        examples: &[
            "decap add mh1",
            "decap add 10.1.0.0/16 dst",
            "decap add all",
            "decap from add ha",
            "decap show",
        ],
        run: decap,
    },
    Command {
        name: "exits",
        aliases: &["texit"],
        group: Group::Tunnel,
        usage: &[
            "[show]",
            "set EXIT [ttl NUMBER | key NUMBER | checksum | sequence]...",
        ],
        help: "the tunnel's exits: path MTU, state, options towards each",
        long: "Shows the t_exit structures: how many targets share each, the path MTU and \
               its bound, what ICMP messages told, what was sent. `set` chooses the TTL of \
               outer headers and the options of GRE towards an exit.",
        examples: &[
            "exits",
            "exits set fa1 ttl 64",
            "exits set fa1 key 7 checksum",
        ],
        run: exits,
    },
    Command {
        name: "maxpmtu",
        aliases: &[],
        group: Group::Tunnel,
        usage: &["set EXIT BYTES", "get EXIT"],
        help: "the upper bound on the path MTU to an exit",
        long: "VTUNL_MAXPMTU_SET and VTUNL_MAXPMTU_GET. The bound is 68 or more; it stays \
               until the last target that uses the exit goes.",
        examples: &["maxpmtu set fa1 1400", "maxpmtu get fa1"],
        run: maxpmtu,
    },
    Command {
        name: "policy",
        aliases: &[],
        group: Group::Tunnel,
        usage: &[
            "[ttl NUMBER | dscp (copy | NUMBER) | ecn (normal | compat) | df (copy | always | inner)]...",
        ],
        help: "TTL, DSCP, ECN and DF of outer headers",
        long: "Without arguments: shows them. `ecn` is RFC 6040's normal or compatibility \
               mode; `dscp copy` is the uniform model, a number the pipe model of RFC 2983. \
               What is too big for the tunnel and may be fragmented is: outside with \
               `df copy` and `always`, before it is encapsulated with `df inner`.",
        examples: &["policy", "policy ttl 64 df always", "policy df inner"],
        run: policy,
    },
    Command {
        name: "debug",
        aliases: &[],
        group: Group::Tunnel,
        usage: &["[get]", "set LEVEL"],
        help: "vtunl's debug level",
        long: "VTUNL_DEBUG_SET and VTUNL_DEBUG_GET: 0 is quiet, 3 the most verbose. The \
               lines go to the flow trace: see `trace`.",
        examples: &["debug set 2", "debug get"],
        run: debug,
    },
];

/// Calls `f` with a client on a stream of Figure 2(c) of the current host.
fn control<T>(
    sh: &mut Shell,
    f: impl FnOnce(&Client<'_, Process>, &Names) -> Result<T, Fail>,
) -> Result<T, Fail> {
    sh.lab.host()?;
    let names = sh.lab.names.clone();
    let host = sh.lab.host()?;
    host.with_control(|admin, fd| f(&Client::new(admin, fd), &names))
}

/// A target: address and mask (0.0.0.0 for a single address).
fn target(names: &Names, w: &Word) -> Result<(Ipv4Addr, Ipv4Addr), Fail> {
    if w.text == "default" && !w.quoted {
        return Ok((DEFAULT, Ipv4Addr::UNSPECIFIED));
    }
    Ok(match names.prefix(w)? {
        (addr, None | Some(32)) => (addr, Ipv4Addr::UNSPECIFIED),
        (addr, Some(len)) => (addr, mask_of(len)),
    })
}

/// A target as commands take it.
fn target_word(names: &Names, addr: Ipv4Addr, mask: Ipv4Addr) -> String {
    if addr == DEFAULT {
        return "default".into();
    }
    match values::len_of(mask) {
        None | Some(0 | 32) => names.word(addr),
        Some(len) => format!("{addr}/{len}"),
    }
}

fn encap_flags(w: &Word) -> Result<u16, Fail> {
    if w.text == "none" {
        return Ok(0);
    }
    let mut flags = 0;
    for c in w.text.chars() {
        let known = ENCAP_FLAGS
            .iter()
            .find(|(name, _)| *name == c.to_ascii_uppercase());
        let Some((_, bit)) = known else {
            return Err(Fail::usage(format!("`{c}` is no encapsulation flag"))
                .at(w.span)
                .mend("they are S (keep earlier exits), B, D, M (minimal), G (GRE) and V"));
        };
        flags |= bit;
    }
    Ok(flags)
}

fn flags_word(flags: u16) -> String {
    let set = ENCAP_FLAGS.iter().filter(|(_, bit)| flags & bit != 0);
    set.map(|(c, _)| *c).collect()
}

/// Turns a client's error into one that says what was asked.
fn said<T>(r: Result<T, Errno>, what: &str, w: &Word) -> Result<T, Fail> {
    r.map_err(|e| {
        let fail = Fail::errno(what, e).at(w.span);
        match e {
            Errno::ENOSPC => fail.mend("a target has at most 8 exits"),
            Errno::EPERM => fail.mend("it needs privilege"),
            _ => fail,
        }
    })
}

fn encap(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("add") {
        let (t, x) = (args.need("TARGET")?, args.need("EXIT")?);
        return control(sh, |c, names| {
            let (addr, mask) = target(names, t)?;
            let mut b = Binding::new(addr, names.addr(x)?);
            b.mask = mask;
            if let Some(w) = args.find("FLAGS") {
                b.flags = encap_flags(w)?;
            }
            if let Some(w) = args.find("TIME") {
                let secs = values::time(w)?.as_secs_f64().ceil();
                b.lifetime = secs.clamp(1.0, f64::from(u32::MAX)) as u32;
            }
            said(c.encap_add(&b), "VTUNL_ENCAP_ADD", t).map_err(|f| match f.errno {
                Some(Errno::EINVAL) => f.mend(
                    "a target is a host, a prefix or a multicast group, an exit a host; \
                     the flags M and G exclude each other",
                ),
                _ => f,
            })
        });
    }
    if args.has("rem") {
        if args.has("all") {
            return control(sh, |c, _| {
                said(c.encap_rem_all(), "VTUNL_ENCAP_REM", args.name)
            });
        }
        let t = args.need("TARGET")?;
        return control(sh, |c, names| {
            let (addr, mask) = target(names, t)?;
            let exit = args.find("EXIT").map(|w| names.addr(w)).transpose()?;
            said(c.encap_rem(addr, mask, exit), "VTUNL_ENCAP_REM", t)
        });
    }
    if args.has("ok") {
        let t = args.need("TARGET")?;
        let (text, offered) = control(sh, |c, names| {
            let (addr, _) = target(names, t)?;
            let ok = said(c.encap_ok(addr), "VTUNL_ENCAP_OK", t)?;
            Ok((names.show(addr), ok))
        })?;
        if !offered {
            return Err(
                Fail::errno(format!("no encapsulation for {text}"), Errno::ENXIO).at(t.span),
            );
        }
        sh.out.line(format!("{text} is served"));
        return Ok(());
    }
    if args.has("size") {
        let n = int(sh, VTUNL_ENCAP_SIZE, args.name)?;
        sh.out.line(format!("{n} bytes"));
        return Ok(());
    }
    let lines = control(sh, |c, names| {
        let only = args.find("TARGET").map(|w| target(names, w)).transpose()?;
        let lines = encap_lines(c, names, only);
        said(lines, "VTUNL_ENCAP_GETX", args.name)
    })?;
    for line in lines {
        sh.out.line(line);
    }
    Ok(())
}

/// The encapsulation table as commands, with what was counted behind a #.
fn encap_lines(
    c: &Client<'_, Process>,
    names: &Names,
    only: Option<(Ipv4Addr, Ipv4Addr)>,
) -> Result<Vec<String>, Errno> {
    let mut lines = Vec::new();
    for t in c.targets()? {
        let word = target_word(names, t.addr, t.mask);
        let wanted = only.is_none_or(|o| o.0 == t.addr && (o.1.is_unspecified() || o.1 == t.mask));
        if !wanted {
            continue;
        }
        for (i, (exit, flags, left)) in t.exits.iter().enumerate() {
            // Read back, every exit but the first has to keep those before it.
            let flags = flags & !S | if i > 0 { S } else { 0 };
            let mut line = format!("encap add {word} {}", names.word(*exit));
            if flags != 0 {
                line.push_str(&format!(" flags {}", flags_word(flags)));
            }
            if *left != 0 {
                line.push_str(&format!(" for {left}s"));
            }
            if i == 0 {
                line.push_str(&format!(
                    "  # {} datagrams, {} bytes",
                    t.datagrams, t.octets
                ));
            }
            lines.push(line);
        }
    }
    Ok(lines)
}

const S: u16 = vtunl::encap_table::ENCAP_S;

fn decap(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("from") {
        let t = args.need("TARGET")?;
        let add = args.has("add");
        return control(sh, |c, names| {
            let (addr, len) = names.prefix(t)?;
            let mask = mask_of(len.unwrap_or(32));
            let done = if add {
                c.source_add(addr, mask)
            } else {
                c.source_rem(addr, mask)
            };
            said(
                done,
                if add {
                    "VTUNL_SOURCE_ADD"
                } else {
                    "VTUNL_SOURCE_REM"
                },
                t,
            )
        });
    }
    if args.has("add") || args.has("rem") {
        let add = args.has("add");
        let what = if add {
            "VTUNL_DECAP_ADD"
        } else {
            "VTUNL_DECAP_REM"
        };
        if let Some(all) = args.find("all") {
            return control(sh, |c, _| said(c.decap_all(add), what, all));
        }
        let t = args.need("TARGET")?;
        let chosen = DECAP_FLAGS.iter().find(|(name, _)| args.has(name));
        let flags = chosen.map_or(vtunl::decap_table::DECAP_IF_EITHER, |f| f.1);
        return control(sh, |c, names| {
            let (addr, mask) = target(names, t)?;
            let done = if add {
                c.decap_add(addr, mask, flags)
            } else {
                c.decap_rem(addr, mask)
            };
            said(done, what, t)
        });
    }
    if args.has("ok") {
        let t = args.need("TARGET")?;
        let (text, served) = control(sh, |c, names| {
            let addr = names.addr(t)?;
            Ok((
                names.show(addr),
                said(c.decap_ok(addr), "VTUNL_DECAP_OK", t)?,
            ))
        })?;
        if !served {
            return Err(
                Fail::errno(format!("no decapsulation for {text}"), Errno::ENXIO).at(t.span),
            );
        }
        sh.out.line(format!("{text} is served"));
        return Ok(());
    }
    if args.has("size") {
        let n = int(sh, VTUNL_DECAP_SIZE, args.name)?;
        sh.out.line(format!("{n} bytes"));
        return Ok(());
    }
    let lines = control(sh, |c, names| {
        said(decap_lines(c, names), "VTUNL_DECAP_GETX", args.name)
    })?;
    for line in lines {
        sh.out.line(line);
    }
    Ok(())
}

/// The decapsulation table as commands.
fn decap_lines(c: &Client<'_, Process>, names: &Names) -> Result<Vec<String>, Errno> {
    let conf = c.decap_targets()?;
    let mut lines = Vec::new();
    if conf.all {
        lines.push("decap add all".into());
    }
    for (addr, mask, flags) in conf.targets {
        let which = DECAP_FLAGS
            .iter()
            .find(|(_, f)| *f == flags)
            .map_or("either", |f| f.0);
        lines.push(format!(
            "decap add {} {which}",
            target_word(names, addr, mask)
        ));
    }
    for (addr, mask) in conf.sources {
        lines.push(match values::len_of(mask) {
            None | Some(32) => format!("decap from add {}", names.word(addr)),
            Some(len) => format!("decap from add {addr}/{len}"),
        });
    }
    Ok(lines)
}

/// An ioctl that gives an int.
fn int(sh: &mut Shell, cmd: i32, w: &Word) -> Result<u32, Fail> {
    let host = sh.lab.host()?;
    host.with_control(|admin, fd| {
        let reply = streams::Sys::i_str(admin, fd, cmd, &[0; 4]);
        let data = said(reply, "the size", w)?.data;
        let bytes: [u8; 4] = data
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .unwrap_or_default();
        Ok(u32::from_ne_bytes(bytes))
    })
}

/// What the state bits of an exit say.
fn state_words(bits: u16) -> String {
    let all = [
        (state::EXIT_NET_UNREACH, "net unreachable"),
        (state::EXIT_HOST_UNREACH, "host unreachable"),
        (state::EXIT_PROTO_UNREACH, "protocol unreachable"),
        (state::EXIT_TTL_EXCEEDED, "ttl exceeded"),
        (state::EXIT_CONGESTED, "congested"),
        (state::EXIT_PMTU_LEARNED, "mtu learned"),
    ];
    let set: Vec<&str> = all
        .iter()
        .filter(|(b, _)| bits & b != 0)
        .map(|(_, w)| *w)
        .collect();
    if set.is_empty() {
        "ok".into()
    } else {
        set.join(", ")
    }
}

fn exits(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("set") {
        let x = args.need("EXIT")?;
        return control(sh, |c, names| {
            let addr = names.addr(x)?;
            let now = said(c.exits(), "VTUNL_EXIT_GETX", x)?;
            let now = now.iter().find(|e| e.conf.addr == addr).ok_or_else(|| {
                Fail::errno(names.show(addr), Errno::ENXIO)
                    .at(x.span)
                    .mend("an exit is there as long as a target uses it: `encap add`")
            })?;
            let mut req = ExitReq {
                addr: addr.to_bits(),
                flags: now.gre_flags,
                key: now.gre_key,
                ttl: now.ttl,
            };
            if args.has("ttl")
                && let Some(w) = args.after("ttl")
            {
                req.ttl = values::number8(w, 0..=255)?;
            }
            if args.has("key")
                && let Some(w) = args.after("key")
            {
                req.key = values::number(w, 0..=u32::MAX)?;
                req.flags |= GRE_KEY;
            }
            if args.has("checksum") {
                req.flags |= GRE_CHECKSUM;
            }
            if args.has("sequence") {
                req.flags |= GRE_SEQUENCE;
            }
            said(c.exit_set(&req), "VTUNL_EXIT_SET", x)
        });
    }
    let (list, names) = control(sh, |c, names| {
        Ok((
            said(c.exits(), "VTUNL_EXIT_GETX", args.name)?,
            names.clone(),
        ))
    })?;
    let mut t = Table::new(&[
        "Exit",
        "Targets",
        "PMTU",
        "Max",
        "State",
        "Datagrams",
        "Bytes",
    ]);
    for e in list {
        t.row([
            names.show(e.conf.addr),
            e.refs.to_string(),
            e.conf.pmtu.to_string(),
            e.conf.maxpmtu.to_string(),
            state_words(e.conf.state),
            e.datagrams.to_string(),
            e.octets.to_string(),
        ]);
    }
    sh.out.table(&t);
    Ok(())
}

fn maxpmtu(sh: &mut Shell, args: &Args<'_>) -> Done {
    let x = args.need("EXIT")?;
    if let Some(w) = args.find("BYTES") {
        let bound = values::number16(w, 0..=u16::MAX)?;
        return control(sh, |c, names| {
            let addr = names.addr(x)?;
            c.maxpmtu_set(addr, bound).map_err(|e| {
                let fail = Fail::errno("VTUNL_MAXPMTU_SET", e);
                match e {
                    Errno::EINVAL => fail.at(w.span).mend("IPv4 needs 68 bytes or more"),
                    Errno::ENXIO => fail
                        .at(x.span)
                        .mend("no target uses this exit: `encap add`"),
                    _ => fail.at(x.span),
                }
            })
        });
    }
    let line = control(sh, |c, names| {
        let addr = names.addr(x)?;
        let bound = said(c.maxpmtu_get(addr), "VTUNL_MAXPMTU_GET", x)?;
        Ok(format!("maxpmtu set {} {bound}", names.word(addr)))
    })?;
    sh.out.line(line);
    Ok(())
}

fn policy(sh: &mut Shell, args: &Args<'_>) -> Done {
    let mut p: Policy = control(sh, |c, _| {
        said(c.policy_get(), "VTUNL_POLICY_GET", args.name)
    })?;
    if args.words.is_empty() {
        sh.out.line(policy_line(&p));
        return Ok(());
    }
    let words: Vec<(&str, &Word)> = args.items().collect();
    for pair in words.windows(2) {
        let (key, value) = (pair[0].0, pair[1].1);
        match (key, value.text.as_str()) {
            ("ttl", _) => p.ttl = values::number8(value, 1..=255)?,
            ("dscp", "copy") => p.pipe = None,
            ("dscp", _) => p.pipe = Some(values::number8(value, 0..=63)?),
            ("ecn", how) => p.ecn_compat = how == "compat",
            ("df", how) => {
                p.df = match how {
                    "always" => Df::Always,
                    "inner" => Df::Inner,
                    _ => Df::Copy,
                }
            }
            _ => {}
        }
    }
    control(sh, |c, _| {
        said(c.policy_set(&p), "VTUNL_POLICY_SET", args.name)
    })
}

fn policy_line(p: &Policy) -> String {
    format!(
        "policy ttl {} dscp {} ecn {} df {}",
        p.ttl,
        p.pipe.map_or_else(|| "copy".to_owned(), |n| n.to_string()),
        if p.ecn_compat { "compat" } else { "normal" },
        match p.df {
            Df::Copy => "copy",
            Df::Always => "always",
            Df::Inner => "inner",
        }
    )
}

fn debug(sh: &mut Shell, args: &Args<'_>) -> Done {
    if let Some(w) = args.find("LEVEL") {
        let level = values::number(w, 0..=3)?;
        return control(sh, |c, _| said(c.debug_set(level), "VTUNL_DEBUG_SET", w));
    }
    let level = control(sh, |c, _| said(c.debug_get(), "VTUNL_DEBUG_GET", args.name))?;
    sh.out.line(format!("debug set {level}"));
    Ok(())
}

/// All that the tunnel has, as commands that make it again; nothing if vtunl is not there.
pub fn config_lines(sh: &mut Shell) -> Result<Vec<String>, Fail> {
    let name = Word {
        text: "show".into(),
        span: crate::lex::Span::default(),
        quoted: false,
    };
    control(sh, |c, names| {
        let mut lines = said(encap_lines(c, names, None), "VTUNL_ENCAP_GETX", &name)?;
        for l in &mut lines {
            // What was counted is no configuration.
            l.truncate(l.find("  # ").unwrap_or(l.len()));
        }
        for e in said(c.exits(), "VTUNL_EXIT_GETX", &name)? {
            let word = names.word(e.conf.addr);
            // The bound that a new exit starts with needs no line.
            if e.conf.maxpmtu != u16::MAX && e.conf.maxpmtu != 0 {
                lines.push(format!("maxpmtu set {word} {}", e.conf.maxpmtu));
            }
            let mut set = String::new();
            if e.ttl != 0 {
                set.push_str(&format!(" ttl {}", e.ttl));
            }
            for (bit, text) in [
                (GRE_KEY, format!(" key {}", e.gre_key)),
                (GRE_CHECKSUM, " checksum".to_owned()),
                (GRE_SEQUENCE, " sequence".to_owned()),
            ] {
                if e.gre_flags & bit != 0 {
                    set.push_str(&text);
                }
            }
            if !set.is_empty() {
                lines.push(format!("exits set {word}{set}"));
            }
        }
        lines.extend(said(decap_lines(c, names), "VTUNL_DECAP_GETX", &name)?);
        let p = said(c.policy_get(), "VTUNL_POLICY_GET", &name)?;
        lines.push(policy_line(&p));
        let level = said(c.debug_get(), "VTUNL_DEBUG_GET", &name)?;
        if level != 0 {
            lines.push(format!("debug set {level}"));
        }
        Ok(lines)
    })
}
