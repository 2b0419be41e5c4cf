//! The usage line is the grammar: what help prints is what the parser reads and what
//! completion offers, so the three cannot drift apart.
//!
//! ```text
//!   encap add TARGET EXIT [flags FLAGS] [for TIME]      lower case: the word itself
//!   ifconfig IF [ADDR [DST]] [netmask MASK | up]...     UPPER CASE: a slot
//!   [x] may be left out   a | b   (a | b) a choice   x... as often as you like
//! ```
//!
//! A line compiles to a small automaton; words are matched by following all its threads
//! at once, so the time is words times places and no input can make it worse. A slot
//! never takes an unquoted word that is a keyword of its line: `ifconfig ip0 up` has no
//! address.

use crate::lex::Word;
use crate::slots::{self, Slot};

/// A compiled usage line.
#[derive(Debug)]
pub struct Usage {
    /// As it is written.
    pub text: &'static str,
    nodes: Vec<Node>,
    start: usize,
    keywords: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Word(&'static str, usize),
    Slot(&'static Slot, usize),
    Split(usize, usize),
    End,
}

/// What may stand at a place.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// A keyword.
    Word(&'static str),
    /// A slot.
    Slot(&'static Slot),
    /// Nothing: the command may end here.
    End,
}

/// One matched word: the keyword or slot name, and which word it was.
pub type Found = (&'static str, usize);

/// Where matching stopped, and what could have stood there.
#[derive(Debug)]
pub struct Stopped {
    /// Index of the word that does not fit; the number of words if one is missing.
    pub at: usize,
    /// What would fit.
    pub expected: Vec<Expected>,
}

#[derive(Clone)]
struct Thread {
    node: usize,
    found: Vec<Found>,
}

impl Usage {
    /// Compiles a usage line without its command name.
    ///
    /// # Panics
    /// If the line is not well formed: usage lines are constants, a test compiles them all.
    pub fn compile(text: &'static str) -> Usage {
        let mut p = Compiler {
            tokens: tokens(text),
            at: 0,
            nodes: vec![Node::End],
            keywords: Vec::new(),
            text,
        };
        let tree = p.choice();
        assert!(p.at == p.tokens.len(), "usage: unbalanced brackets: {text}");
        let start = p.emit(&tree, 0);
        Usage {
            text,
            nodes: p.nodes,
            start,
            keywords: p.keywords,
        }
    }

    /// Compiles the usage lines of one command. A slot of one never takes a keyword of
    /// another: `hosts delete x` does not name an address `delete`.
    pub fn compile_all(lines: &[&'static str]) -> Vec<Usage> {
        let mut all: Vec<Usage> = lines.iter().map(|u| Usage::compile(u)).collect();
        let keywords: Vec<&'static str> = all.iter().flat_map(|u| u.keywords.clone()).collect();
        for u in &mut all {
            u.keywords.clone_from(&keywords);
        }
        all
    }

    /// Every keyword of the command.
    pub fn keywords(&self) -> &[&'static str] {
        &self.keywords
    }

    /// Every slot of the line, in its order.
    pub fn slots(&self) -> impl Iterator<Item = &'static Slot> {
        tokens(self.text).into_iter().filter_map(slots::find)
    }

    /// Matches all the words.
    ///
    /// # Errors
    /// The first word that doesn't fit, or that something is missing at the end.
    pub fn matches(&self, words: &[Word]) -> Result<Vec<Found>, Stopped> {
        let threads = self.follow(words)?;
        let end = threads
            .iter()
            .find(|t| matches!(self.nodes[t.node], Node::End));
        match end {
            Some(t) => Ok(t.found.clone()),
            None => Err(Stopped {
                at: words.len(),
                expected: self.expected(&threads),
            }),
        }
    }

    /// What may follow these words; `None` if they don't fit themselves.
    pub fn next(&self, words: &[Word]) -> Option<Vec<Expected>> {
        self.follow(words).ok().map(|t| self.expected(&t))
    }

    fn follow(&self, words: &[Word]) -> Result<Vec<Thread>, Stopped> {
        let mut threads = Vec::new();
        let mut seen = vec![false; self.nodes.len()];
        self.spread(self.start, &[], &mut threads, &mut seen);
        for (i, word) in words.iter().enumerate() {
            let mut next = Vec::new();
            let mut seen = vec![false; self.nodes.len()];
            for t in &threads {
                let (label, to) = match self.nodes[t.node] {
                    Node::Word(w, to) if !word.quoted && w == word.text => (w, to),
                    Node::Slot(s, to) if s.free || self.may_fill(word) => (s.name, to),
                    _ => continue,
                };
                let mut found = t.found.clone();
                found.push((label, i));
                self.spread(to, &found, &mut next, &mut seen);
            }
            if next.is_empty() {
                return Err(Stopped {
                    at: i,
                    expected: self.expected(&threads),
                });
            }
            threads = next;
        }
        Ok(threads)
    }

    fn may_fill(&self, word: &Word) -> bool {
        word.quoted || !self.keywords.contains(&word.text.as_str())
    }

    /// Adds the threads that start at `node`, in order of preference.
    fn spread(&self, node: usize, found: &[Found], out: &mut Vec<Thread>, seen: &mut [bool]) {
        if std::mem::replace(&mut seen[node], true) {
            return;
        }
        match self.nodes[node] {
            Node::Split(a, b) => {
                self.spread(a, found, out, seen);
                self.spread(b, found, out, seen);
            }
            _ => out.push(Thread {
                node,
                found: found.to_vec(),
            }),
        }
    }

    fn expected(&self, threads: &[Thread]) -> Vec<Expected> {
        threads
            .iter()
            .map(|t| match self.nodes[t.node] {
                Node::Word(w, _) => Expected::Word(w),
                Node::Slot(s, _) => Expected::Slot(s),
                _ => Expected::End,
            })
            .collect()
    }
}

// ---- compiling ----

fn tokens(text: &'static str) -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
            continue;
        } else if rest.starts_with("...") {
            3
        } else if "[]()|".contains(first) {
            1
        } else {
            let stop = |c: char| c.is_whitespace() || "[]()|".contains(c);
            let end = rest.find(stop).unwrap_or(rest.len());
            rest[..end].find("...").unwrap_or(end)
        };
        out.push(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

enum Tree {
    Word(&'static str),
    Slot(&'static Slot),
    Seq(Vec<Tree>),
    Choice(Vec<Tree>),
    Optional(Box<Tree>),
    Repeat(Box<Tree>),
}

struct Compiler {
    tokens: Vec<&'static str>,
    at: usize,
    nodes: Vec<Node>,
    keywords: Vec<&'static str>,
    text: &'static str,
}

impl Compiler {
    fn peek(&self) -> Option<&'static str> {
        self.tokens.get(self.at).copied()
    }

    fn choice(&mut self) -> Tree {
        let mut all = vec![self.sequence()];
        while self.peek() == Some("|") {
            self.at += 1;
            all.push(self.sequence());
        }
        match all.len() {
            1 => all.remove(0),
            _ => Tree::Choice(all),
        }
    }

    fn sequence(&mut self) -> Tree {
        let mut all = Vec::new();
        while let Some(t) = self.peek() {
            let mut item = match t {
                "|" | "]" | ")" => break,
                "[" => {
                    self.at += 1;
                    let inner = self.choice();
                    self.close("]");
                    Tree::Optional(Box::new(inner))
                }
                "(" => {
                    self.at += 1;
                    let inner = self.choice();
                    self.close(")");
                    inner
                }
                word if word.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    self.at += 1;
                    let slot = slots::find(word);
                    assert!(slot.is_some(), "usage: unknown slot {word}: {}", self.text);
                    match slot {
                        Some(s) => Tree::Slot(s),
                        None => Tree::Word(word),
                    }
                }
                word => {
                    self.at += 1;
                    self.keywords.push(word);
                    Tree::Word(word)
                }
            };
            if self.peek() == Some("...") {
                self.at += 1;
                item = Tree::Repeat(Box::new(item));
            }
            all.push(item);
        }
        Tree::Seq(all)
    }

    fn close(&mut self, bracket: &str) {
        assert!(
            self.peek() == Some(bracket),
            "usage: {bracket} is missing: {}",
            self.text
        );
        self.at += 1;
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Emits the automaton of a tree that goes on at `next`; returns where it starts.
    fn emit(&mut self, tree: &Tree, next: usize) -> usize {
        match tree {
            Tree::Word(w) => self.add(Node::Word(w, next)),
            Tree::Slot(s) => self.add(Node::Slot(s, next)),
            Tree::Seq(all) => all.iter().rev().fold(next, |to, t| self.emit(t, to)),
            Tree::Choice(all) => {
                let starts: Vec<usize> = all.iter().map(|t| self.emit(t, next)).collect();
                let mut rest = starts.into_iter().rev();
                let last = rest.next().unwrap_or(next);
                rest.fold(last, |b, a| self.add(Node::Split(a, b)))
            }
            Tree::Optional(t) => {
                let inner = self.emit(t, next);
                self.add(Node::Split(inner, next))
            }
            Tree::Repeat(t) => {
                // Once or more; an optional inside makes it none or more.
                let again = self.add(Node::Split(next, next));
                let inner = self.emit(t, again);
                self.nodes[again] = Node::Split(inner, next);
                inner
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::statements;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<Word> {
        statements(text)
            .unwrap()
            .pop()
            .map_or(Vec::new(), |s| s.words)
    }

    fn labels(usage: &'static str, text: &str) -> Option<Vec<&'static str>> {
        let found = Usage::compile(usage).matches(&words(text)).ok()?;
        Some(found.into_iter().map(|f| f.0).collect())
    }

    #[test]
    fn ifconfig_as_people_type_it() {
        let u = "IF [ADDR [DST]] [netmask MASK | mtu BYTES | up | down]...";
        let got = |t| labels(u, t).unwrap().join(" ");
        assert_eq!(got("ip0 nobel1 dummy up"), "IF ADDR DST up");
        assert_eq!(got("ip0 up"), "IF up");
        assert_eq!(
            got("le0 a netmask 255.0.0.0 mtu 1400 up"),
            "IF ADDR netmask MASK mtu BYTES up"
        );
        assert_eq!(got("le0"), "IF");
        assert_eq!(got("le0 'up'"), "IF ADDR");
        assert_eq!(labels(u, "le0 netmask"), None);
        assert_eq!(labels(u, ""), None);
    }

    #[test]
    fn where_it_stops_and_what_would_fit() {
        let u = Usage::compile("add TARGET EXIT | rem TARGET [EXIT] | show");
        let stop = u.matches(&words("rme x")).unwrap_err();
        assert_eq!((stop.at, stop.expected.len()), (0, 3));
        let stop = u.matches(&words("add x")).unwrap_err();
        assert_eq!(stop.at, 2);
        assert!(matches!(stop.expected[..], [Expected::Slot(s)] if s.name == "EXIT"));
        let stop = u.matches(&words("show x")).unwrap_err();
        assert!(stop.at == 1 && matches!(stop.expected[..], [Expected::End]));
        assert_eq!(u.next(&words("rem x")).unwrap().len(), 2);
    }

    #[test]
    fn repetition_ends_and_nesting_closes() {
        assert_eq!(labels("[NAME]...", "").unwrap().len(), 0);
        assert_eq!(labels("[NAME]...", "a b c").unwrap().len(), 3);
        assert_eq!(labels("NAME... to ADDR", "a b to c").unwrap().len(), 4);
        assert_eq!(labels("[[NAME]...]...", "a b").unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_words_match_or_not_in_reasonable_time(text in "[ab ]{0,200}") {
            let u = Usage::compile("[a | b | NAME [a]...]... [[NAME]... b]...");
            let _ = u.matches(&words(&text));
        }
    }
}
