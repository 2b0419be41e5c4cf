//! Runs commands: finds the row, matches the words, shows what fails and where.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::command::table;
use crate::diag::{Done, Fail, Kind, Source};
use crate::interactive::Known;
use crate::lab::{ClockKind, Lab};
use crate::lex::{self, Statement};
use crate::out::{Look, Out};
use crate::signals::Signals;
use crate::style::{Paint, Style};

/// How deep scripts may call scripts.
const DEPTH: usize = 32;

/// The shell.
pub struct Shell {
    /// Hosts, wires, names.
    pub lab: Lab,
    /// Where commands print.
    pub out: Out,
    /// Where failures are shown: colour.
    pub err_paint: Paint,
    /// Print each command before it runs.
    pub echo: bool,
    /// Somebody types.
    pub interactive: bool,
    /// `quit` was said.
    pub quit: bool,
    /// Ctrl-C and its like.
    pub signals: Arc<Signals>,
    errors: Box<dyn std::io::Write + Send>,
    depth: usize,
}

impl Shell {
    /// A shell without hosts.
    pub fn new(clock: ClockKind, look: Look) -> Shell {
        Shell {
            lab: Lab::new(clock),
            out: Out::new(Box::new(std::io::stdout()), look),
            err_paint: Paint::PLAIN,
            echo: false,
            interactive: false,
            quit: false,
            signals: Signals::shared(),
            errors: Box::new(std::io::stderr()),
            depth: 0,
        }
    }

    /// A shell that prints there, and shows failures there.
    pub fn printing_to(
        mut self,
        out: Box<dyn std::io::Write + Send>,
        errors: Box<dyn std::io::Write + Send>,
    ) -> Shell {
        self.out = Out::new(out, self.out.look);
        self.errors = errors;
        self
    }

    /// Runs a whole source: nothing of it if any of it is not understood, else up to the
    /// first command that fails.
    ///
    /// # Errors
    /// The first failure; it has been shown.
    pub fn run_source(&mut self, source: Source<'_>) -> Done {
        let list = match lex::statements(source.text) {
            Ok(list) => list,
            Err(e) => {
                let fail = Fail::usage(e.cause).mend(e.mend).at(e.span);
                let nothing = Statement { words: Vec::new() };
                return Err(self.not_understood(fail, source, &nothing));
            }
        };
        for s in &list {
            if let Err(fail) = understood(s) {
                return Err(self.not_understood(fail, source, s));
            }
        }
        for s in &list {
            self.run_statement(s, source)?;
            if self.quit {
                break;
            }
        }
        Ok(())
    }

    /// Runs a file.
    ///
    /// # Errors
    /// It can't be read, or its first failure, which has been shown.
    pub fn run_file(&mut self, path: &str) -> Done {
        if self.depth >= DEPTH {
            return Err(Fail::failed(format!("scripts call scripts {DEPTH} deep"))
                .mend("does one of them call itself?"));
        }
        let text = std::fs::read(path).map_err(|e| Fail::io(path, &e))?;
        let text = String::from_utf8(text).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            Fail::usage(format!("{path}:{}: this is no text (UTF-8)", line + 1))
        })?;
        self.depth += 1;
        let done = self.run_source(Source::new(path, &text));
        self.depth -= 1;
        done
    }

    /// Runs one command, and shows it if it fails.
    ///
    /// # Errors
    /// The failure; it has been shown.
    pub fn run_statement(&mut self, s: &Statement, source: Source<'_>) -> Done {
        if self.echo && !self.out.look.json {
            let host = self.lab.current().unwrap_or("").to_owned();
            let text = source.text.get(s.span().start..s.span().end);
            let prompt = self.out.look.paint.on(Style::Dim, &format!("{host}> "));
            self.out.raw(&format!("{prompt}{}\n", text.unwrap_or("")));
        }
        self.out.begin();
        let host = self.lab.current().map(str::to_owned);
        let done = self.run_words(s);
        if done.is_ok() {
            self.lab.settle();
        }
        let fail = done.as_ref().err().filter(|f| !f.shown);
        let error = fail.map(|f| error_object(f, source, s));
        self.out.end(|| {
            let mut object = Map::new();
            object.insert("at".into(), source.where_is(s.span().start).into());
            object.insert("host".into(), host.into());
            let words: Vec<String> = s.words.iter().map(|w| lex::quote(&w.text)).collect();
            object.insert("command".into(), words.join(" ").into());
            object.insert("ok".into(), error.is_none().into());
            if let Some(e) = error {
                object.insert("error".into(), e);
            }
            object
        });
        match done {
            Err(fail) if !fail.shown && !self.out.look.json => {
                Err(self.show_fail(fail, source, s.span()))
            }
            other => other.map_err(|fail| Fail {
                shown: true,
                ..fail
            }),
        }
    }

    /// Runs the words of a command.
    ///
    /// # Errors
    /// Its failure, not shown yet.
    pub fn run_words(&mut self, s: &Statement) -> Done {
        let Some((name, words)) = s.words.split_first() else {
            return Ok(());
        };
        let entry = table().lookup(name)?;
        let args = entry.parse(name, words)?;
        (entry.command.run)(self, &args).map_err(|mut fail| {
            // What a command can't point at better is its first argument, or itself.
            fail.span.get_or_insert(args.span());
            fail
        })
    }

    /// What completion can offer now.
    pub fn known(&self) -> Known {
        let host = self
            .lab
            .hosts()
            .iter()
            .find(|h| Some(h.name.as_str()) == self.lab.current());
        let kernel = host.map(|h| &h.kernel);
        let rows = kernel.map(|k| k.modinfo()).unwrap_or_default();
        let nodes = kernel.map(|k| k.devices()).unwrap_or_default();
        let stats = kernel.map(|k| k.kstats().chain).unwrap_or_default();
        Known {
            names: self.lab.names.iter().map(|n| n.0.to_owned()).collect(),
            hosts: self.lab.hosts().iter().map(|h| h.name.clone()).collect(),
            interfaces: host
                .map(|h| h.plumbed.iter().map(|p| p.name.clone()).collect())
                .unwrap_or_default(),
            wires: self.lab.wires.keys().cloned().collect(),
            modules: rows.iter().map(|r| r.name.to_owned()).collect(),
            devices: nodes.into_iter().map(|n| n.0).collect(),
            kstats: stats
                .iter()
                .map(|k| format!("{}:{}:{}", k.module, k.instance, k.name))
                .collect(),
        }
    }

    /// Shows a failure; with JSON only one that no command's object tells of.
    fn show_fail(&mut self, mut fail: Fail, source: Source<'_>, whole: lex::Span) -> Fail {
        if !fail.shown {
            let text = source.render(&fail, whole, self.err_paint);
            // If errors can't be shown there is nowhere to say so.
            let _ = self.errors.write_all(text.as_bytes());
            let _ = self.errors.flush();
        }
        fail.shown = true;
        fail
    }

    /// Shows a failure before anything ran: with JSON, as an object of its own.
    fn not_understood(&mut self, mut fail: Fail, source: Source<'_>, s: &Statement) -> Fail {
        if self.out.look.json {
            let object = json!({ "ok": false, "error": error_object(&fail, source, s) });
            self.out.raw(&format!("{object}\n"));
            fail.shown = true;
        }
        self.show_fail(fail, source, s.span())
    }
}

/// Is the command there, and do its words fit?
fn understood(s: &Statement) -> Done {
    let Some((name, words)) = s.words.split_first() else {
        return Ok(());
    };
    let args = table().lookup(name)?.parse(name, words)?;
    match args.rest("WORDS") {
        // `expect error` may be there to show that a command is not understood.
        inner if name.text == "on" => understood(&Statement {
            words: inner.to_vec(),
        }),
        _ => Ok(()),
    }
}

fn error_object(fail: &Fail, source: Source<'_>, s: &Statement) -> Value {
    json!({
        "kind": match fail.kind {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::HostForbids => "host",
            Kind::Expectation => "expectation",
        },
        "errno": fail.errno.map(|e| e.name()),
        "cause": fail.cause,
        "mend": fail.mend,
        "at": source.where_is(fail.span.unwrap_or(s.span()).start),
    })
}
