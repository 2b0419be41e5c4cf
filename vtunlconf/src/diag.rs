//! What a failure says: where, which word, why, and what to do.
//!
//! ```text
//!   lab.vt:12:7: error: encap has no action `ad`
//!      12 | encap ad mh1 fa2
//!         |       ^^
//!         = did you mean `add`?
//! ```

use std::fmt;
use std::process::ExitCode;

use streams::Errno;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::lex::Span;
use crate::style::{Paint, Style};

/// What kind of failure it is: what the process returns to its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A command was understood and failed.
    Failed,
    /// A command could not be understood.
    Usage,
    /// This machine forbids it: no TUN device, no permission, a file that can't be read.
    HostForbids,
    /// An `expect` was not met.
    Expectation,
}

impl Kind {
    /// The exit status; the manual lists them.
    pub const fn status(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::HostForbids => 3,
            Kind::Expectation => 4,
        }
    }
}

/// The exit statuses, for the help and the manual.
pub const STATUSES: &[(u8, &str)] = &[
    (0, "every command succeeded"),
    (1, "a command failed"),
    (
        2,
        "a command or the command line could not be understood; of a script nothing was run",
    ),
    (
        3,
        "this machine forbids it: no TUN device, no permission, a file that can't be read",
    ),
    (4, "an expect in a script was not met"),
];

/// A failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fail {
    /// For the exit status.
    pub kind: Kind,
    /// The word or words meant; `None`: the whole command.
    pub span: Option<Span>,
    /// What is wrong.
    pub cause: String,
    /// What to do about it, a line each.
    pub mend: Vec<String>,
    /// The error number, if a system call gave one.
    pub errno: Option<Errno>,
    /// It was shown already (by a script that this command ran).
    pub shown: bool,
}

/// What a command returns.
pub type Done = Result<(), Fail>;

impl Fail {
    /// Ends a program with it: on standard error, unless it was shown already, and as the exit
    /// status.
    pub fn end(&self, program: &str) -> ExitCode {
        if !self.shown {
            eprintln!("{program}: {}", self.cause);
            for m in &self.mend {
                eprintln!("  {m}");
            }
        }
        ExitCode::from(self.kind.status())
    }

    /// A failure of this kind.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Fail {
        Fail {
            kind,
            span: None,
            cause: cause.into(),
            mend: Vec::new(),
            errno: None,
            shown: false,
        }
    }
    /// A command that was understood and failed.
    pub fn failed(cause: impl Into<String>) -> Fail {
        Fail::new(Kind::Failed, cause)
    }
    /// A command that is not understood.
    pub fn usage(cause: impl Into<String>) -> Fail {
        Fail::new(Kind::Usage, cause)
    }
    /// The machine forbids it.
    pub fn host(cause: impl Into<String>) -> Fail {
        Fail::new(Kind::HostForbids, cause)
    }
    /// A system call's error: what was tried, and the error in words.
    pub fn errno(what: impl fmt::Display, e: Errno) -> Fail {
        Fail {
            errno: Some(e),
            ..Fail::failed(format!("{what}: {e}"))
        }
    }
    /// An error of the machine that the shell runs on.
    pub fn io(what: impl fmt::Display, e: &std::io::Error) -> Fail {
        Fail::host(format!("{what}: {e}"))
    }
    /// Points at a word.
    pub fn at(mut self, span: Span) -> Fail {
        self.span.get_or_insert(span);
        self
    }
    /// Adds a line of advice.
    pub fn mend(mut self, advice: impl Into<String>) -> Fail {
        self.mend.push(advice.into());
        self
    }
    /// Adds "did you mean", if there is a word to be meant.
    pub fn meant<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Fail {
        match crate::suggest::nearest(word, known) {
            Some(w) => self.mend(format!("did you mean `{w}`?")),
            None => self,
        }
    }
}

/// Adds what was tried to a system call's error.
pub trait Tried<T> {
    /// The error with what was tried in front.
    ///
    /// # Errors
    /// The call's own.
    fn tried(self, what: impl fmt::Display) -> Result<T, Fail>;
}

impl<T> Tried<T> for Result<T, Errno> {
    fn tried(self, what: impl fmt::Display) -> Result<T, Fail> {
        self.map_err(|e| Fail::errno(what, e))
    }
}

/// A text with a name, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name, `-c` or `-`.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
    /// The number of its first line.
    pub first_line: usize,
}

/// A place: line and column from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl<'a> Source<'a> {
    /// A source that starts with line 1.
    pub fn new(name: &'a str, text: &'a str) -> Source<'a> {
        Source {
            name,
            text,
            first_line: 1,
        }
    }

    /// Line and column of a byte.
    pub fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Place {
            line: self.first_line + before.matches('\n').count(),
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// `file:line:col` of a byte.
    pub fn where_is(&self, at: usize) -> String {
        let p = self.place(at);
        format!("{}:{}:{}", self.name, p.line, p.column)
    }

    /// The failure as it is shown: place, cause, line, caret, advice.
    pub fn render(&self, fail: &Fail, whole: Span, paint: Paint) -> String {
        let span = fail.span.unwrap_or(whole);
        let start = span.start.min(self.text.len());
        let place = self.place(start);
        let mut out = format!(
            "{}: {}: {}\n",
            paint.on(Style::Strong, &self.where_is(start)),
            paint.on(Style::Bad, "error"),
            paint.on(Style::Strong, &fail.cause)
        );
        let line_start = self
            .text
            .get(..start)
            .and_then(|t| t.rfind('\n'))
            .map_or(0, |i| i + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len().max(4));
        if !line.is_empty() {
            let shown: String = line.chars().map(visible).collect();
            out.push_str(&format!(
                "{} {shown}\n",
                paint.on(Style::Dim, &format!("{number:>4} |"))
            ));
            let from = (start - line_start).min(line.len());
            let to = span.end.saturating_sub(line_start).clamp(from, line.len());
            let width = |s: Option<&str>| {
                let seen: String = s.unwrap_or_default().chars().map(visible).collect();
                seen.width()
            };
            let (pad, marks) = (width(line.get(..from)), width(line.get(from..to)).max(1));
            out.push_str(&format!(
                "{} {}{}\n",
                paint.on(Style::Dim, &format!("{gutter} |")),
                " ".repeat(pad),
                paint.on(Style::Bad, &"^".repeat(marks))
            ));
        }
        for m in &fail.mend {
            out.push_str(&format!(
                "{} {m}\n",
                paint.on(Style::Dim, &format!("{gutter} ="))
            ));
        }
        out
    }
}

/// A character as an error shows it: a control character must not reach the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || c.width().is_none() => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex;
    use proptest::prelude::*;

    #[test]
    fn an_error_points_at_its_word() {
        let text = "host a\n\tencap ad mh1 fa2 # x\n";
        let s = lex::statements(text).unwrap();
        let word = s[1].words[1].span;
        let fail = Fail::usage("encap has no action `ad`")
            .at(word)
            .meant("ad", ["add", "rem"]);
        assert_eq!(
            Source::new("lab.vt", text).render(&fail, s[1].span(), Paint::PLAIN),
            "lab.vt:2:8: error: encap has no action `ad`\n   2 |  encap ad mh1 fa2 # x\n     |        ^^\n     = did you mean `add`?\n"
        );
    }

    #[test]
    fn wide_characters_count_as_they_are_shown() {
        let text = "echo 日本 x";
        let fail = Fail::failed("no").at((12..13).into());
        let shown = Source::new("-", text).render(&fail, Span::default(), Paint::PLAIN);
        assert!(shown.contains("\n     |           ^\n"), "{shown}");
        assert!(shown.starts_with("-:1:9: "), "{shown}");
    }

    #[test]
    fn an_error_at_the_end_of_the_text_has_a_caret_too() {
        let fail = Fail::usage("more").at((4..4).into());
        let shown = Source::new("-", "ping").render(&fail, Span::default(), Paint::PLAIN);
        assert!(shown.contains("\n     |     ^\n"), "{shown}");
    }

    proptest! {
        #[test]
        fn rendering_never_panics(text in ".*", a in 0usize..80, b in 0usize..80) {
            let fail = Fail::failed("x").at(Span { start: a, end: b });
            let shown = Source::new("f", &text).render(&fail, Span::default(), Paint::PLAIN);
            prop_assert!(!shown.contains('\x1b'));
        }
    }
}
