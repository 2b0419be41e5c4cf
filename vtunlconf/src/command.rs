//! A command is a row: name, usage, help, examples, and the function it runs.
//!
//! The usage lines are compiled ([`crate::grammar`]); parsing, help, completion, hints
//! and the manual page all come from the one row.

use std::sync::OnceLock;

use crate::commands;
use crate::diag::{Done, Fail};
use crate::grammar::{Expected, Found, Usage};
use crate::lex::{Span, Word};
use crate::shell::Shell;

/// What a command is about: the order of the help.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Emulated hosts, wires, names.
    Lab,
    /// Streams and interfaces.
    Streams,
    /// IP: addresses, routes, probes.
    Ip,
    /// The tunnel.
    Tunnel,
    /// What is shown.
    Looking,
    /// The shell itself.
    Shell,
}

impl Group {
    /// Every group, in the order of the help.
    pub const ALL: [Group; 6] = [
        Group::Lab,
        Group::Streams,
        Group::Ip,
        Group::Tunnel,
        Group::Looking,
        Group::Shell,
    ];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Group::Lab => "Hosts and wires",
            Group::Streams => "Streams and drivers",
            Group::Ip => "IP",
            Group::Tunnel => "The tunnel",
            Group::Looking => "Looking",
            Group::Shell => "The shell",
        }
    }
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// What is typed.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it is about.
    pub group: Group,
    /// Usage lines without the name, one per form ([`crate::grammar`]).
    pub usage: &'static [&'static str],
    /// One line of help.
    pub help: &'static str,
    /// The rest of the help, paragraphs.
    pub long: &'static str,
    /// Command lines that show its use.
    pub examples: &'static [&'static str],
    /// Does it.
    pub run: fn(&mut Shell, &Args<'_>) -> Done,
}

/// A command ready to match.
#[derive(Debug)]
pub struct Entry {
    /// The row.
    pub command: &'static Command,
    /// Its usage lines, compiled.
    pub usages: Vec<Usage>,
}

/// Every command.
#[derive(Debug)]
pub struct Table {
    /// In the order of the help.
    pub entries: Vec<Entry>,
}

/// The one table.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut entries: Vec<Entry> = commands::ALL
            .iter()
            .flat_map(|list| list.iter())
            .map(|command| Entry {
                command,
                usages: Usage::compile_all(command.usage),
            })
            .collect();
        entries.sort_by_key(|e| e.command.group); // stable: the file's order within a group
        Table { entries }
    })
}

impl Table {
    /// The command of this name or alias.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let is = |e: &&Entry| e.command.name == name || e.command.aliases.contains(&name);
        self.entries.iter().find(is)
    }

    /// Every name and alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries
            .iter()
            .flat_map(|e| std::iter::once(e.command.name).chain(e.command.aliases.iter().copied()))
    }

    /// The command that a word names.
    ///
    /// # Errors
    /// There is none; with the one that may be meant.
    pub fn lookup(&self, word: &Word) -> Result<&Entry, Fail> {
        self.find(&word.text).ok_or_else(|| {
            Fail::usage(format!("there is no command `{}`", word.text))
                .at(word.span)
                .meant(&word.text, self.names())
                .mend("`help` lists the commands")
        })
    }
}

impl Entry {
    /// Matches a command's words (without its name) to a usage line.
    ///
    /// # Errors
    /// None matches: the word where the best of them stopped, what was expected there.
    pub fn parse<'a>(&self, name: &'a Word, words: &'a [Word]) -> Result<Args<'a>, Fail> {
        let mut furthest = 0;
        let mut expected: Vec<Expected> = Vec::new();
        for usage in &self.usages {
            match usage.matches(words) {
                Ok(found) => {
                    return Ok(Args { name, words, found });
                }
                Err(stop) if stop.at > furthest || expected.is_empty() => {
                    furthest = stop.at;
                    expected = stop.expected;
                }
                Err(stop) if stop.at == furthest => expected.extend(stop.expected),
                Err(_) => {}
            }
        }
        Err(self.misfit(name, words, furthest, &expected))
    }

    fn misfit(&self, name: &Word, words: &[Word], at: usize, expected: &[Expected]) -> Fail {
        let mut keywords: Vec<&'static str> = Vec::new();
        let mut wanted: Vec<String> = Vec::new();
        let mut may_end = false;
        for e in expected {
            match e {
                Expected::Word(w) if !keywords.contains(w) => keywords.push(w),
                Expected::Slot(s) => {
                    let line = format!("{} ({})", s.name, s.help);
                    if !wanted.contains(&line) {
                        wanted.push(line);
                    }
                }
                Expected::End => may_end = true,
                Expected::Word(_) => {}
            }
        }
        let ticked = keywords.iter().map(|k| format!("`{k}`"));
        let all: Vec<String> = ticked.chain(wanted).collect();
        let before: Vec<&str> = std::iter::once(name)
            .chain(&words[..at.min(words.len())])
            .map(|w| w.text.as_str())
            .collect();
        let before = before.join(" ");
        let mut fail = match words.get(at) {
            Some(w) if all.is_empty() => {
                Fail::usage(format!("`{}` is too much after `{before}`", w.text)).at(w.span)
            }
            Some(w) => Fail::usage(format!("`{}` doesn't fit after `{before}`", w.text))
                .at(w.span)
                .meant(&w.text, keywords.iter().copied()),
            None => {
                let end = words.last().unwrap_or(name).span.end;
                Fail::usage(format!("something is missing after `{before}`"))
                    .at(Span { start: end, end })
            }
        };
        if !all.is_empty() {
            let or_end = if may_end { ", or the end" } else { "" };
            fail = fail.mend(format!("expected: {}{or_end}", all.join(", ")));
        }
        for line in self.usage_lines() {
            fail = fail.mend(format!("usage: {line}"));
        }
        fail
    }

    /// The usage lines with the command's name.
    pub fn usage_lines(&self) -> impl Iterator<Item = String> {
        let name = self.command.name;
        self.command.usage.iter().map(move |u| match *u {
            "" => name.to_owned(),
            u => format!("{name} {u}"),
        })
    }
}

/// A command's arguments, matched.
#[derive(Debug)]
pub struct Args<'a> {
    /// The command's name as it was typed.
    pub name: &'a Word,
    /// Every word after it.
    pub words: &'a [Word],
    found: Vec<Found>,
}

impl<'a> Args<'a> {
    /// Was this keyword given?
    pub fn has(&self, keyword: &str) -> bool {
        self.find(keyword).is_some()
    }
    /// The first word of this slot or keyword.
    pub fn find(&self, label: &str) -> Option<&'a Word> {
        self.all(label).next()
    }
    /// Every word of this slot.
    pub fn all(&self, label: &str) -> impl Iterator<Item = &'a Word> {
        self.items()
            .filter_map(move |(l, w)| (l == label).then_some(w))
    }
    /// Every matched word with its slot or keyword, in order.
    pub fn items(&self) -> impl Iterator<Item = (&'static str, &'a Word)> {
        let words = self.words;
        self.found
            .iter()
            .filter_map(move |(l, i)| Some((*l, words.get(*i)?)))
    }
    /// The first word of a slot that the usage line requires.
    ///
    /// # Errors
    /// The usage line does not require it: a slip in the command's row.
    pub fn need(&self, label: &str) -> Result<&'a Word, Fail> {
        self.find(label)
            .ok_or_else(|| Fail::usage(format!("{label} is missing")))
    }
    /// The word after this keyword.
    pub fn after(&self, keyword: &str) -> Option<&'a Word> {
        let i = self.found.iter().position(|(l, _)| *l == keyword)?;
        self.words.get(self.found.get(i + 1)?.1)
    }
    /// From the command's name to its last word.
    pub fn span(&self) -> Span {
        self.words
            .last()
            .map_or(self.name.span, |w| self.name.span.to(w.span))
    }
    /// The words from the first of this slot on, as they were typed.
    pub fn rest(&self, label: &str) -> &'a [Word] {
        let first = self.found.iter().find(|(l, _)| *l == label).map(|f| f.1);
        first.and_then(|i| self.words.get(i..)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::statements;

    fn error(text: &str) -> Fail {
        let s = statements(text).unwrap().remove(0);
        let entry = match table().lookup(&s.words[0]) {
            Ok(e) => e,
            Err(f) => return f,
        };
        entry.parse(&s.words[0], &s.words[1..]).unwrap_err()
    }

    #[test]
    fn every_row_is_well_formed() {
        let mut seen = std::collections::BTreeSet::new();
        for name in table().names() {
            assert!(seen.insert(name), "two commands are called {name}");
        }
        for e in &table().entries {
            let c = e.command;
            assert!(
                !c.usage.is_empty() && !c.help.is_empty() && !c.long.is_empty(),
                "{}",
                c.name
            );
            assert!(
                !c.help.ends_with('.') && c.help.len() <= 66,
                "{}: {}",
                c.name,
                c.help
            );
            assert!(!c.examples.is_empty(), "{} has no example", c.name);
        }
    }

    #[test]
    fn every_example_is_understood() {
        for e in &table().entries {
            for example in e.command.examples {
                for s in statements(example).unwrap() {
                    let entry = table().lookup(&s.words[0]).unwrap();
                    let parsed = entry.parse(&s.words[0], &s.words[1..]);
                    assert!(parsed.is_ok(), "{example}: {parsed:?}");
                }
            }
        }
    }

    #[test]
    fn errors_name_the_word_and_the_mend() {
        let f = error("ehco x");
        assert_eq!(f.cause, "there is no command `ehco`");
        assert_eq!(f.mend[0], "did you mean `echo`?");
        let f = error("expect");
        assert_eq!(f.cause, "something is missing after `expect`");
        assert_eq!(f.span.unwrap().start, 6);
    }
}
