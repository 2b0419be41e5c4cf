//! Typing commands: history, completion and hints from the tables.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use streams::Errno;

use crate::command::table;
use crate::diag::{Done, Fail, Source};
use crate::grammar::Expected;
use crate::lex::{self, Word};
use crate::shell::Shell;
use crate::slots::{From, Slot};
use crate::style::{Paint, Style};

/// What completion knows of the lab; taken before each prompt.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Names of addresses.
    pub names: Vec<String>,
    /// Emulated hosts.
    pub hosts: Vec<String>,
    /// Interfaces of the current host.
    pub interfaces: Vec<String>,
    /// Wires.
    pub wires: Vec<String>,
    /// Modules and drivers of the current host.
    pub modules: Vec<String>,
    /// Device nodes of the current host.
    pub devices: Vec<String>,
    /// Statistics of the current host, `module:instance:name`.
    pub kstats: Vec<String>,
}

/// What can be typed at the end of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Where the unfinished word starts.
    pub start: usize,
    /// What it could be.
    pub words: Vec<String>,
    /// A name of a file could stand here.
    pub files: bool,
    /// What else could stand here, for the hint.
    pub slots: Vec<&'static str>,
}

/// What can be typed at the end of this text.
pub fn offer(text: &str, known: &Known) -> Offer {
    let (before, last) = lex::unfinished(text);
    let mut offer = Offer {
        start: last.span.start,
        ..Offer::default()
    };
    let mut all = candidates(&before, known, &mut offer);
    all.retain(|c| c.starts_with(&last.text) && *c != last.text);
    all.sort();
    all.dedup();
    offer.words = all;
    offer
}

fn candidates(before: &[Word], known: &Known, offer: &mut Offer) -> Vec<String> {
    let Some((name, words)) = before.split_first() else {
        return table().names().map(str::to_owned).collect();
    };
    let Some(entry) = table().find(&name.text) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for usage in &entry.usages {
        for e in usage.next(words).unwrap_or_default() {
            match e {
                Expected::Word(w) => all.push(w.to_owned()),
                Expected::End => {}
                Expected::Slot(s) if s.name == "WORDS" => {
                    // A command inside: its own words from where it starts.
                    let at = usage
                        .matches(words)
                        .ok()
                        .and_then(|f| f.iter().find(|(l, _)| *l == "WORDS").map(|f| f.1));
                    let inner = at.and_then(|i| words.get(i..)).unwrap_or_default();
                    all.extend(candidates(inner, known, offer));
                }
                Expected::Slot(s) => {
                    if !offer.slots.contains(&s.name) {
                        offer.slots.push(s.name);
                    }
                    all.extend(values(s, known, offer));
                }
            }
        }
    }
    all
}

fn values(slot: &Slot, known: &Known, offer: &mut Offer) -> Vec<String> {
    match slot.from {
        From::Typed => Vec::new(),
        From::Names => known.names.clone(),
        From::Interfaces => known.interfaces.clone(),
        From::Hosts => known.hosts.clone(),
        From::Wires => known.wires.clone(),
        From::Modules => known.modules.clone(),
        From::Devices => known.devices.clone(),
        From::Kstats => known.kstats.clone(),
        From::Commands => table().names().map(str::to_owned).collect(),
        From::Errors => Errno::ALL.iter().map(|e| e.name().to_owned()).collect(),
        From::Words(list) => list.iter().map(|w| (*w).to_owned()).collect(),
        From::Files => {
            offer.files = true;
            Vec::new()
        }
    }
}

struct Typing {
    known: Arc<Mutex<Known>>,
    files: FilenameCompleter,
    history: HistoryHinter,
    paint: Paint,
}

impl Typing {
    fn offer(&self, text: &str) -> Offer {
        let known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        offer(text, &known)
    }
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let text = line.get(..pos).unwrap_or(line);
        let offer = self.offer(text);
        if offer.files {
            return self.files.complete(line, pos, ctx);
        }
        let pair = |w: String| Pair {
            replacement: format!("{} ", lex::quote(&w)),
            display: w,
        };
        Ok((offer.start, offer.words.into_iter().map(pair).collect()))
    }
}

impl Hinter for Typing {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<String> {
        if pos < line.len() || line.trim().is_empty() {
            return None;
        }
        let offer = self.offer(line);
        let typed = line.get(offer.start..).unwrap_or_default();
        if typed.is_empty() {
            let all: Vec<&str> = offer
                .slots
                .iter()
                .copied()
                .chain(
                    offer
                        .words
                        .iter()
                        .map(String::as_str)
                        .filter(|_| offer.slots.is_empty()),
                )
                .take(6)
                .collect();
            return (!all.is_empty()).then(|| all.join(" | "));
        }
        match &offer.words[..] {
            [one] => one.get(typed.len()..).map(str::to_owned),
            _ => self.history.hint(line, pos, ctx),
        }
    }
}

impl Highlighter for Typing {
    fn highlight_hint<'h>(&self, hint: &'h str) -> std::borrow::Cow<'h, str> {
        self.paint.on(Style::Dim, hint).into()
    }
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        false
    }
}

impl Validator for Typing {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match lex::statements(ctx.input()) {
            Err(e) if e.incomplete => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Helper for Typing {}

/// Where the history is kept, by the XDG rules.
fn history_file() -> Option<PathBuf> {
    let dir = match std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    Some(dir.join("vtunlconf/history"))
}

/// Reads commands from the terminal and runs them until `quit` or the end of input. A
/// command that fails is shown, and the next one is read.
///
/// # Errors
/// The terminal can't be used.
pub fn run(sh: &mut Shell) -> Done {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let terminal = |e: ReadlineError| Fail::host(format!("the terminal: {e}"));
    let mut editor: Editor<Typing, DefaultHistory> =
        Editor::with_config(config).map_err(terminal)?;
    let known = Arc::new(Mutex::new(Known::default()));
    editor.set_helper(Some(Typing {
        known: known.clone(),
        files: FilenameCompleter::new(),
        history: HistoryHinter::new(),
        paint: sh.out.look.paint,
    }));
    let history = history_file();
    if let Some(file) = &history {
        // A history that can't be read or kept is a pity and no failure.
        let _ = file.parent().map(std::fs::create_dir_all);
        let _ = editor.load_history(file);
    }
    sh.out
        .note("`help` lists the commands, Tab completes, Ctrl-D leaves.");
    while !sh.quit {
        *known.lock().unwrap_or_else(|e| e.into_inner()) = sh.known();
        let prompt = match sh.lab.current() {
            Some(host) => format!("{host}> "),
            None => "vtunl> ".to_owned(),
        };
        match editor.readline(&prompt) {
            Ok(line) => {
                // Each failure has been shown; somebody is there to see it.
                let _ = sh.run_source(Source::new("input", &line));
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(e) => return Err(terminal(e)),
        }
    }
    if let Some(file) = &history {
        let _ = editor.save_history(file); // as above
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        let known = Known {
            hosts: vec!["ha".into(), "fa1".into()],
            names: vec!["mh1".into(), "my host".into()],
            ..Known::default()
        };
        offer(text, &known).words
    }

    #[test]
    fn commands_keywords_and_values_are_offered() {
        assert_eq!(words("ec"), ["echo"]);
        assert_eq!(words("echo a; expe"), ["expect"]);
        assert_eq!(words("run u"), ["until"]);
        assert_eq!(words("run until "), ["idle"]);
        assert_eq!(words("on f"), ["fa1"]);
        assert_eq!(words("on fa1 run un"), ["until"]);
        assert_eq!(words("hosts x m"), ["mh1", "my host"]);
        assert!(words("nosuch ").is_empty());
        assert!(words("expect error ENX").contains(&"ENXIO".to_owned()));
    }

    #[test]
    fn files_are_offered_where_files_go() {
        assert!(offer("source x", &Known::default()).files);
        assert!(!offer("echo x", &Known::default()).files);
    }

    proptest! {
        #[test]
        fn completion_never_panics(text in ".{0,60}", tail in "[a-z\"' ;#\\\\]{0,20}") {
            for t in [text.clone(), tail.clone(), format!("on ha {tail}")] {
                let o = offer(&t, &Known::default());
                prop_assert!(t.get(o.start..).is_some());
            }
        }
    }
}
