//! The shell itself: help, scripts, assertions.

use streams::Errno;

use crate::command::{Args, Command, Entry, Group, table};
use crate::diag::{Done, Fail, Kind, STATUSES};
use crate::lex::Statement;
use crate::shell::Shell;
use crate::style::Style;

/// The rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "help",
        aliases: &["?"],
        group: Group::Shell,
        usage: &["[TOPIC]"],
        help: "list the commands, or tell about one",
        long: "A usage line is what the parser reads: lower-case words are typed as they \
               are, UPPER-CASE ones stand for something, [x] may be left out, a | b is a \
               choice, x... can be repeated.",
        examples: &["help", "help encap"],
        run: help,
    },
    Command {
        name: "echo",
        aliases: &[],
        group: Group::Shell,
        usage: &["[TEXT]..."],
        help: "print the words",
        long: "With a blank between them.",
        examples: &["echo 'the tunnel is up'"],
        run: echo,
    },
    Command {
        name: "source",
        aliases: &["."],
        group: Group::Shell,
        usage: &["FILE"],
        help: "run the commands of a file",
        long: "The whole file is read before its first command runs: if one of them can't be \
               understood none is run. The first command that fails ends it.",
        examples: &["source lab.vt"],
        run: source,
    },
    Command {
        name: "expect",
        aliases: &[],
        group: Group::Shell,
        usage: &["TEXT", "not TEXT", "error ERRNO from WORDS..."],
        help: "fail unless the output, or the error, is as expected",
        long: "Looks for the text in what the last command that printed something printed; \
               a run of blanks in it stands for any run of blanks. `error` runs a command \
               that has to fail with this error, or for any reason with the word `any`. An \
               expectation that is not met has its own exit status.",
        examples: &[
            "echo a; expect a; expect not b",
            "expect error any from source /nonexistent.vt",
        ],
        run: expect,
    },
    Command {
        name: "quit",
        aliases: &["exit"],
        group: Group::Shell,
        usage: &[""],
        help: "leave",
        long: "The hosts and all that they did are gone; `save` writes a configuration.",
        examples: &["quit"],
        run: quit,
    },
];

fn help(sh: &mut Shell, args: &Args<'_>) -> Done {
    match args.find("TOPIC") {
        Some(topic) => {
            let entry = table().lookup(topic)?;
            let text = about(entry, sh);
            sh.out.text(&text);
        }
        None => {
            let text = overview(sh);
            sh.out.text(&text);
        }
    }
    Ok(())
}

fn overview(sh: &Shell) -> String {
    let paint = sh.out.look.paint;
    let wide = table().entries.iter().map(|e| e.command.name.len()).max();
    let wide = wide.unwrap_or(0);
    let mut s = String::new();
    for group in Group::ALL {
        let list: Vec<&Entry> = table()
            .entries
            .iter()
            .filter(|e| e.command.group == group)
            .collect();
        if list.is_empty() {
            continue;
        }
        s.push_str(&format!("{}\n", paint.on(Style::Strong, group.title())));
        for e in list {
            let name = format!("{:wide$}", e.command.name);
            s.push_str(&format!(
                "  {}  {}\n",
                paint.on(Style::Name, &name),
                e.command.help
            ));
        }
    }
    s.push_str("\n`help COMMAND` tells more. Commands end with the line or with ;\n");
    s.push_str(
        "# starts a comment, \\ at the end of a line joins the next, '..' and \"..\" quote.\n",
    );
    s
}

/// The help of one command.
fn about(entry: &Entry, sh: &Shell) -> String {
    let c = entry.command;
    let paint = sh.out.look.paint;
    let mut s = format!("{}: {}\n\n", paint.on(Style::Strong, c.name), c.help);
    for line in entry.usage_lines() {
        s.push_str(&format!("  {}\n", paint.on(Style::Name, &line)));
    }
    s.push_str(&format!("\n{}\n", wrapped(c.long, 78, "")));
    let mut seen = Vec::new();
    for slot in entry.usages.iter().flat_map(|u| u.slots()) {
        if !seen.contains(&slot.name) {
            if seen.is_empty() {
                s.push('\n');
            }
            seen.push(slot.name);
            s.push_str(&format!("  {:9} {}\n", slot.name, slot.help));
        }
    }
    if !c.aliases.is_empty() {
        s.push_str(&format!("\nAlso called {}.\n", c.aliases.join(", ")));
    }
    s.push_str(&format!("\n{}\n", paint.on(Style::Strong, "Examples")));
    for e in c.examples {
        s.push_str(&format!("  {e}\n"));
    }
    if c.name == "expect" || c.name == "quit" {
        s.push_str(&format!("\n{}\n", paint.on(Style::Strong, "Exit status")));
        for (n, what) in STATUSES {
            s.push_str(&format!("  {n}  {what}\n"));
        }
    }
    s
}

/// Text in lines of at most this width.
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut line = String::from(indent);
    for word in text.split_whitespace() {
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
            out.push_str(&line);
            out.push('\n');
            line = format!("{indent}{word}");
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    out.push_str(&line);
    out
}

fn echo(sh: &mut Shell, args: &Args<'_>) -> Done {
    let words: Vec<&str> = args.all("TEXT").map(|w| w.text.as_str()).collect();
    sh.out.line(words.join(" "));
    Ok(())
}

fn source(sh: &mut Shell, args: &Args<'_>) -> Done {
    let file = args.need("FILE")?;
    sh.run_file(&file.text).map_err(|f| {
        let span = f.span;
        // The place inside the file was shown; here the word is the file's name.
        Fail { span: None, ..f }.at(if span.is_some() {
            file.span
        } else {
            args.span()
        })
    })
}

fn quit(sh: &mut Shell, _: &Args<'_>) -> Done {
    sh.quit = true;
    Ok(())
}

fn expect(sh: &mut Shell, args: &Args<'_>) -> Done {
    if args.has("error") {
        return expect_error(sh, args);
    }
    let text = args.need("TEXT")?;
    sh.out.keep_last();
    let plain = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = plain(sh.out.last()).contains(&plain(&text.text));
    if found != args.has("not") {
        return Ok(());
    }
    let what = if found { "is in" } else { "is not in" };
    let mut fail = Fail::new(
        Kind::Expectation,
        format!("`{}` {what} what was printed last", text.text),
    )
    .at(text.span);
    let last = sh.out.last();
    if last.is_empty() {
        fail = fail.mend("nothing was printed");
    }
    let lines: Vec<&str> = last.lines().collect();
    for line in lines.iter().take(20) {
        fail = fail.mend(format!("printed: {line}"));
    }
    if lines.len() > 20 {
        fail = fail.mend(format!("and {} more lines", lines.len() - 20));
    }
    Err(fail)
}

fn expect_error(sh: &mut Shell, args: &Args<'_>) -> Done {
    let name = args.need("ERRNO")?;
    let want = Errno::from_name(&name.text);
    if want.is_none() && name.text != "any" {
        return Err(Fail::usage(format!("there is no error `{}`", name.text))
            .at(name.span)
            .meant(&name.text, Errno::ALL.iter().map(|e| e.name()))
            .mend("`any` stands for every error"));
    }
    let words = args.rest("WORDS").to_vec();
    let span = words
        .first()
        .map_or(args.span(), |w| w.span.to(args.span()));
    match sh.run_words(&Statement { words }) {
        Ok(()) => Err(Fail::new(
            Kind::Expectation,
            format!("the command succeeded; {} was expected", name.text),
        )
        .at(span)),
        Err(f) if name.text == "any" || (want.is_some() && f.errno == want) => {
            sh.out.note(format!("as expected: {}", f.cause));
            Ok(())
        }
        Err(f) => Err(Fail {
            kind: Kind::Expectation,
            cause: format!("{} was expected, it said: {}", name.text, f.cause),
            ..f
        }),
    }
}
