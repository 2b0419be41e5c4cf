//! Words with their places: how a command line or a script is cut up.
//!
//! ```text
//!   encap add mh3 fa1; encap add mh3 "fa 2" \      one statement per ; or line
//!         flags S                # a comment      \ at the end of a line joins the next
//!   'taken as it is'   "with \n \t \" \\ \x41"    two kinds of quotes
//! ```
//!
//! Every word keeps the bytes of the source it came from, so that an error points at it.
//! No input makes it panic; what it can't read it says, with the place.

use std::ops::Range;

/// Where in a source something stands: a range of bytes on character boundaries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// From the first of the two to the end of the other.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

impl From<Range<usize>> for Span {
    fn from(r: Range<usize>) -> Span {
        Span {
            start: r.start,
            end: r.end,
        }
    }
}

/// A word of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// What it says, quotes and escapes undone.
    pub text: String,
    /// Where it stands, quotes included.
    pub span: Span,
    /// Some of it was quoted: it is never a keyword.
    pub quoted: bool,
}

/// A command with its arguments: at least one word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The words.
    pub words: Vec<Word>,
}

impl Statement {
    /// From the first word to the last.
    pub fn span(&self) -> Span {
        match (self.words.first(), self.words.last()) {
            (Some(a), Some(b)) => a.span.to(b.span),
            _ => Span::default(),
        }
    }
}

/// Why a source can't be cut into words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LexError {
    /// What is wrong.
    pub cause: &'static str,
    /// What to do.
    pub mend: &'static str,
    /// Where.
    pub span: Span,
    /// More input could make it right: an open quote, a `\` at the end.
    pub incomplete: bool,
}

/// Cuts a source into statements.
///
/// # Errors
/// An open quote, an escape that is none, a `\` with nothing after it.
pub fn statements(text: &str) -> Result<Vec<Statement>, LexError> {
    let mut lexer = Lexer {
        text,
        at: 0,
        done: Vec::new(),
        words: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.done)
}

/// The statements and the word that is being typed at the end of `text`: what completion
/// starts from. The second part is the words before the unfinished one, in the last
/// statement; the third the unfinished one, empty after a blank.
pub fn unfinished(text: &str) -> (Vec<Word>, Word) {
    let mut lexer = Lexer {
        text,
        at: 0,
        done: Vec::new(),
        words: Vec::new(),
    };
    let failed = lexer.run_until_end().err();
    let end = text.len();
    let empty = Word {
        text: String::new(),
        span: (end..end).into(),
        quoted: false,
    };
    if let Some(e) = failed {
        // An open quote: the word so far is what was typed after it.
        let raw = text.get(e.span.start..).unwrap_or_default();
        let word = Word {
            text: raw.trim_start_matches(['"', '\'', '\\']).to_owned(),
            span: (e.span.start..end).into(),
            quoted: true,
        };
        return (lexer.words, word);
    }
    match lexer.words.last() {
        Some(w) if w.span.end == end => {
            let word = w.clone();
            lexer.words.pop();
            (lexer.words, word)
        }
        _ => (lexer.words, empty),
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    done: Vec<Statement>,
    words: Vec<Word>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn end_statement(&mut self) {
        if !self.words.is_empty() {
            let words = std::mem::take(&mut self.words);
            self.done.push(Statement { words });
        }
    }

    fn run(&mut self) -> Result<(), LexError> {
        self.run_until_end()?;
        self.end_statement();
        Ok(())
    }

    /// Leaves the last statement in `words`.
    fn run_until_end(&mut self) -> Result<(), LexError> {
        while let Some(c) = self.peek() {
            match c {
                '\n' | ';' => {
                    self.next();
                    self.end_statement();
                }
                c if c.is_whitespace() => {
                    self.next();
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '\\' if self.line_joins() => {}
                _ => {
                    let word = self.word()?;
                    self.words.push(word);
                }
            }
        }
        Ok(())
    }

    /// Passes over `\` and the end of the line.
    fn line_joins(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        for join in ["\\\n", "\\\r\n"] {
            if rest.starts_with(join) {
                self.at += join.len();
                return true;
            }
        }
        false
    }

    fn word(&mut self) -> Result<Word, LexError> {
        let start = self.at;
        let mut text = String::new();
        let mut quoted = false;
        while let Some(c) = self.peek() {
            let here = self.at;
            match c {
                ';' => break,
                c if c.is_whitespace() => break,
                '\'' => {
                    self.next();
                    quoted = true;
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => text.push(c),
                            None => return Err(open_quote(here, "a ' is never closed")),
                        }
                    }
                }
                '"' => {
                    self.next();
                    quoted = true;
                    self.double(here, &mut text)?;
                }
                '\\' if self.line_joins() => {}
                '\\' => {
                    self.next();
                    match self.next() {
                        Some(c) => {
                            quoted = true;
                            text.push(c);
                        }
                        None => {
                            return Err(LexError {
                                cause: "nothing follows the \\",
                                mend: "write \\\\ for the character itself",
                                span: (here..self.at).into(),
                                incomplete: true,
                            });
                        }
                    }
                }
                c => {
                    self.next();
                    text.push(c);
                }
            }
        }
        Ok(Word {
            text,
            span: (start..self.at).into(),
            quoted,
        })
    }

    /// The inside of "..", up to its end.
    fn double(&mut self, open: usize, text: &mut String) -> Result<(), LexError> {
        let unclosed = || open_quote(open, "a \" is never closed");
        loop {
            let here = self.at;
            match self.next().ok_or_else(unclosed)? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or_else(unclosed)? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    '\n' => {}
                    c @ ('"' | '\\') => text.push(c),
                    'x' => {
                        let digits = self.text.get(self.at..self.at + 2).unwrap_or_default();
                        match u8::from_str_radix(digits, 16) {
                            Ok(b) if b < 0x80 && !digits.starts_with('+') => {
                                text.push(char::from(b));
                                self.at += 2;
                            }
                            _ => {
                                return Err(LexError {
                                    cause: "\\x takes two hexadecimal digits, 00 to 7f",
                                    mend: "write \\x41 for A",
                                    span: (here..self.at).into(),
                                    incomplete: false,
                                });
                            }
                        }
                    }
                    _ => {
                        return Err(LexError {
                            cause: "no such escape",
                            mend: "known are \\n \\t \\r \\0 \\\" \\\\ and \\xHH",
                            span: (here..self.at).into(),
                            incomplete: false,
                        });
                    }
                },
                c => text.push(c),
            }
        }
    }
}

fn open_quote(at: usize, cause: &'static str) -> LexError {
    LexError {
        cause,
        mend: "close it, or write \\ before it for the character itself",
        span: (at..at + 1).into(),
        incomplete: true,
    }
}

/// A word as it has to be written to be read back as this text.
pub fn quote(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"'\"\\;#".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut s = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => s.extend(['\\', c]),
            '\n' => s.push_str("\\n"),
            '\t' => s.push_str("\\t"),
            '\r' => s.push_str("\\r"),
            '\0' => s.push_str("\\0"),
            c if c.is_ascii_control() => s.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => s.push(c),
        }
    }
    s.push('"');
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let text_of = |s: Statement| s.words.into_iter().map(|w| w.text).collect();
        statements(text).unwrap().into_iter().map(text_of).collect()
    }

    #[test]
    fn blanks_semicolons_and_comments() {
        let got = words("a b;c # d; e\n\n  f\t#\n;;g#h");
        assert_eq!(
            got,
            [vec!["a", "b"], vec!["c"], vec!["f"], vec!["g#h"]],
            "a # inside a word is part of it"
        );
    }

    #[test]
    fn quotes_and_escapes() {
        let got = words(r#"echo 'it''s' "a\tb\x41\"" c\ d \# "" 'x y'z"#);
        assert_eq!(got[0], ["echo", "its", "a\tbA\"", "c d", "#", "", "x yz"]);
    }

    #[test]
    fn a_backslash_joins_lines() {
        assert_eq!(words("a \\\n b\\\r\nc"), [vec!["a", "bc"]]);
    }

    #[test]
    fn words_know_their_place() {
        let s = statements("  ping  'a b' ü x").unwrap();
        let spans: Vec<_> = s[0]
            .words
            .iter()
            .map(|w| (w.span.start, w.span.end))
            .collect();
        assert_eq!(spans, [(2, 6), (8, 13), (14, 16), (17, 18)]);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        for (text, at, incomplete) in [
            ("a 'b", 2, true),
            ("a \"b\\", 2, true),
            ("a \\", 2, true),
            ("a \"\\q\"", 3, false),
            ("a \"\\xzz\"", 3, false),
            ("\"\\xf", 1, false),
        ] {
            let e = statements(text).unwrap_err();
            assert_eq!((e.span.start, e.incomplete), (at, incomplete), "{text}");
        }
    }

    #[test]
    fn the_word_being_typed() {
        let (before, last) = unfinished("a b; encap ad");
        assert_eq!(
            (before[0].text.as_str(), last.text.as_str()),
            ("encap", "ad")
        );
        let (before, last) = unfinished("encap add ");
        assert_eq!((before.len(), last.text.as_str()), (2, ""));
        let (before, last) = unfinished("source \"my fi");
        assert_eq!(
            (before.len(), last.text.as_str(), last.span.start),
            (1, "my fi", 7)
        );
        assert_eq!(unfinished("a # b").1.text, "");
    }

    proptest! {
        #[test]
        fn no_input_panics_and_places_are_on_boundaries(text in ".*") {
            let check = |s: Span| text.get(s.start..s.end).is_some();
            match statements(&text) {
                Ok(list) => for w in list.iter().flat_map(|s| &s.words) {
                    prop_assert!(check(w.span));
                },
                Err(e) => prop_assert!(check(e.span)),
            }
            let (_, last) = unfinished(&text);
            prop_assert!(check(last.span));
        }

        #[test]
        fn shell_like_input_does_not_panic(text in "[a\"'\\\\ ;#\n\rx7é]{0,40}") {
            let _ = statements(&text);
            let _ = unfinished(&text);
        }

        #[test]
        fn a_quoted_word_reads_back(text in any::<String>()) {
            let got = statements(&format!("x {}", quote(&text))).unwrap();
            prop_assert_eq!(&got[0].words[1].text, &text);
        }
    }
}
