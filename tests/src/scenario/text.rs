//! The text of a case file: words, strings, and the cases they make up.
//!
//! ```text
//!   %case   flushband_spares_the_others            a case begins
//!   %info   I_FLUSHBAND empties only its own band  the behaviour, one sentence
//!   %cite   streamio(7I) I_FLUSHBAND               where it is promised; may be repeated
//!   %state  fails the head ignores the band        only if it does not hold today
//!   %open   /dev/echo        %push nullmod         steps; several may share a line
//!   %ioctl  I_CKBAND 3 -> 1                        `->`: what must come out
//! ```

use std::fmt;
use std::path::Path;

use super::names;

/// One word of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tok {
    /// A number, or a name that stands for one (`RMSGD`, `POLLIN|POLLOUT`).
    Num(i64),
    /// A string: `"abc"`, `"x"*5000`, `"\x00\n"`.
    Bytes(Vec<u8>),
    /// Anything else: `EAGAIN`, `@low`, `$mux`, `nothing`, `+`, `,`.
    Word(String),
    /// `key=value`.
    Key(String, Box<Tok>),
}

impl Tok {
    /// A word.
    pub fn word(w: impl Into<String>) -> Tok {
        Tok::Word(w.into())
    }
    /// A key with a value.
    pub fn key(k: impl Into<String>, v: Tok) -> Tok {
        Tok::Key(k.into(), Box::new(v))
    }
    /// The word, if it is this one.
    pub fn is(&self, w: &str) -> bool {
        matches!(self, Tok::Word(x) if x == w)
    }
}

impl fmt::Display for Tok {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tok::Num(n) => write!(f, "{n}"),
            Tok::Word(w) => f.write_str(w),
            Tok::Key(k, v) => write!(f, "{k}={v}"),
            Tok::Bytes(b) => match b.first() {
                Some(first) if b.len() > 8 && b.iter().all(|x| x == first) => {
                    write!(f, "\"{}\"*{}", [*first].escape_ascii(), b.len())
                }
                _ if b.len() > 200 => {
                    write!(f, "\"{}\"...({} bytes)", b[..64].escape_ascii(), b.len())
                }
                _ => write!(f, "\"{}\"", b.escape_ascii()),
            },
        }
    }
}

/// Words with blanks between.
pub fn show(toks: &[Tok]) -> String {
    if toks.is_empty() {
        return "(nothing)".into();
    }
    toks.iter()
        .map(Tok::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// One step of a case: `%verb args -> expected`.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands in the file.
    pub line: usize,
    /// Without the `%`.
    pub verb: String,
    /// Before `->`.
    pub args: Vec<Tok>,
    /// Behind `->`, if there is one.
    pub expect: Option<Vec<Tok>>,
}

/// What is known about a case beforehand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// It holds.
    #[default]
    Holds,
    /// It does not, and why.
    Fails(String),
    /// What it is about is not there yet.
    Absent(String),
}

/// One behaviour.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// The file, without directory and `.st`.
    pub file: String,
    /// Where it begins.
    pub line: usize,
    /// Unique in its file.
    pub name: String,
    /// The behaviour, in a sentence.
    pub info: String,
    /// Where it is promised.
    pub cites: Vec<String>,
    /// Whether it holds.
    pub state: State,
    /// What is done and expected.
    pub steps: Vec<Step>,
}

impl Case {
    /// `file/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }
}

/// Something wrong with a file itself: `file:line: what`.
pub type SyntaxError = String;

/// Reads every `.st` file of a directory, in the order of the names.
///
/// # Errors
/// The first thing wrong in each file that has something wrong.
pub fn read_dir(dir: &Path) -> Result<Vec<Case>, Vec<SyntaxError>> {
    let mut files: Vec<_> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(Result::ok).map(|e| e.path()).collect(),
        Err(e) => return Err(vec![format!("{}: {e}", dir.display())]),
    };
    files.retain(|p| p.extension().is_some_and(|x| x == "st"));
    files.sort();
    let (mut cases, mut wrong) = (Vec::new(), Vec::new());
    for path in files {
        let name = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        match std::fs::read_to_string(&path) {
            Ok(text) => match parse(&name, &text) {
                Ok(more) => cases.extend(more),
                Err(e) => wrong.push(e),
            },
            Err(e) => wrong.push(format!("{}: {e}", path.display())),
        }
    }
    if wrong.is_empty() {
        Ok(cases)
    } else {
        Err(wrong)
    }
}

/// Reads the text of one file.
///
/// # Errors
/// The first thing wrong.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, SyntaxError> {
    let mut cases: Vec<Case> = Vec::new();
    let mut prelude: Vec<Step> = Vec::new();
    for (i, raw) in text.lines().enumerate() {
        let line = i + 1;
        let at = |e: &str| format!("{file}.st:{line}: {e}");
        for (verb, rest) in directives(raw).map_err(|e| at(&e))? {
            let words = rest.trim();
            if verb == "case" {
                finish(cases.last()).map_err(|e| at(&e))?;
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                if words.is_empty() || !words.chars().all(good) {
                    return Err(at(&format!(
                        "a case is named in lower case and _, not {words:?}"
                    )));
                }
                if cases.iter().any(|c| c.name == words) {
                    return Err(at(&format!("there is a case {words} already")));
                }
                cases.push(Case {
                    file: file.into(),
                    line,
                    name: words.into(),
                    steps: prelude.clone(),
                    ..Case::default()
                });
                continue;
            }
            let Some(case) = cases.last_mut() else {
                // Steps before the first case begin every case of the file.
                prelude.push(step(line, verb, rest).map_err(|e| at(&e))?);
                continue;
            };
            match verb {
                "info" => case.info = words.into(),
                "cite" => case.cites.push(words.into()),
                "state" => {
                    let (what, why) = words.split_once(' ').unwrap_or((words, ""));
                    case.state = match what {
                        _ if why.is_empty() => return Err(at("%state fails|absent REASON")),
                        "fails" => State::Fails(why.into()),
                        "absent" => State::Absent(why.into()),
                        _ => return Err(at("%state fails|absent REASON")),
                    };
                }
                _ => case.steps.push(step(line, verb, rest).map_err(|e| at(&e))?),
            }
        }
    }
    finish(cases.last()).map_err(|e| format!("{file}.st: {e}"))?;
    Ok(cases)
}

fn finish(case: Option<&Case>) -> Result<(), String> {
    match case {
        Some(c) if c.info.is_empty() => Err(format!("case {} has no %info", c.name)),
        Some(c) if c.cites.is_empty() => Err(format!("case {} has no %cite", c.name)),
        _ => Ok(()),
    }
}

fn step(line: usize, verb: &str, rest: &str) -> Result<Step, String> {
    let toks = lex(rest)?;
    let arrow = toks.iter().position(|t| t.is("->"));
    let (args, expect) = match arrow {
        None => (toks, None),
        Some(i) => (toks[..i].to_vec(), Some(toks[i + 1..].to_vec())),
    };
    if expect.as_ref().is_some_and(Vec::is_empty) {
        return Err(format!("%{verb}: nothing behind ->"));
    }
    Ok(Step {
        line,
        verb: verb.into(),
        args,
        expect,
    })
}

/// Cuts a line where a word begins with `%`, and drops what is behind `#`.
fn directives(line: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut cuts = Vec::new();
    let mut end = line.len();
    let (mut quoted, mut escaped, mut fresh) = (false, false, true);
    // What %info, %cite and %state say is prose.
    let prose = ["%info", "%cite", "%state"]
        .iter()
        .any(|p| line.trim_start().starts_with(p));
    for (i, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if !prose => quoted = !quoted,
            '#' if fresh && !quoted && !prose => {
                end = i;
                break;
            }
            '%' if fresh && !quoted && (!prose || cuts.is_empty()) => cuts.push(i),
            _ => {}
        }
        fresh = c.is_whitespace();
    }
    if quoted {
        return Err("a string does not end".into());
    }
    let lead = &line[..cuts.first().copied().unwrap_or(end)];
    if !lead.trim().is_empty() {
        return Err(format!("{:?} is not behind a %verb", lead.trim()));
    }
    let ends = cuts.iter().skip(1).copied().chain([end]);
    Ok(cuts
        .iter()
        .zip(ends)
        .map(|(from, to)| {
            let d = &line[from + 1..to];
            d.split_once(char::is_whitespace).unwrap_or((d, ""))
        })
        .collect())
}

/// Cuts text into words.
///
/// # Errors
/// A string that does not end, an unknown escape.
pub fn lex(text: &str) -> Result<Vec<Tok>, String> {
    let mut toks = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (tok, after) = lex_one(rest)?;
        toks.push(tok);
        rest = after.trim_start();
    }
    Ok(toks)
}

fn lex_one(text: &str) -> Result<(Tok, &str), String> {
    if text.starts_with('"') {
        return lex_string(text);
    }
    if let Some(after) = text.strip_prefix(',') {
        return Ok((Tok::word(","), after));
    }
    let end = text
        .find(|c: char| c.is_whitespace() || c == ',' || c == '"')
        .unwrap_or(text.len());
    let word = &text[..end];
    if let Some((key, value)) = word.split_once('=')
        && key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    {
        if value.is_empty() && text[end..].starts_with('"') {
            let (s, after) = lex_string(&text[end..])?;
            return Ok((Tok::key(key, s), after));
        }
        return Ok((Tok::key(key, plain(value)), &text[end..]));
    }
    if text[end..].starts_with('"') {
        return Err(format!("{word:?} stands against a string"));
    }
    Ok((plain(word), &text[end..]))
}

fn plain(word: &str) -> Tok {
    match names::number(word) {
        Some(n) => Tok::Num(n),
        None => Tok::word(word),
    }
}

fn lex_string(text: &str) -> Result<(Tok, &str), String> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    let end = loop {
        let Some((i, c)) = chars.next() else {
            return Err("a string does not end".into());
        };
        match c {
            '"' => break i + 1,
            '\\' => match chars.next().map(|(_, e)| e) {
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('r') => bytes.push(b'\r'),
                Some('0') => bytes.push(0),
                Some(q @ ('"' | '\\' | '\'')) => bytes.push(q as u8),
                Some('x') => {
                    let hex: String = chars.by_ref().take(2).map(|(_, h)| h).collect();
                    let b = u8::from_str_radix(&hex, 16).map_err(|_| format!("\\x{hex}"))?;
                    bytes.push(b);
                }
                e => return Err(format!("the escape \\{}", e.unwrap_or(' '))),
            },
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    };
    let mut rest = &text[end..];
    if let Some(after) = rest.strip_prefix('*') {
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let n: usize = after[..digits]
            .parse()
            .map_err(|_| "\"..\"* needs a number".to_string())?;
        bytes = bytes.repeat(n);
        rest = &after[digits..];
    }
    Ok((Tok::Bytes(bytes), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_hold_several_steps() {
        let text = "%case a\n%info x, 100% sure\n%cite y(2) # 1\n%open /dev/echo   %push nullmod\n\
                    %put band=1 \"a %b\" # why\n%get -> EAGAIN";
        let c = &parse("f", text).unwrap()[0];
        assert_eq!(
            (c.info.as_str(), c.cites[0].as_str()),
            ("x, 100% sure", "y(2) # 1")
        );
        let verbs: Vec<_> = c.steps.iter().map(|s| s.verb.as_str()).collect();
        assert_eq!(verbs, ["open", "push", "put", "get"]);
        assert_eq!(show(&c.steps[2].args), "band=1 \"a %b\"");
        assert_eq!(c.steps[3].expect, Some(vec![Tok::word("EAGAIN")]));
    }

    #[test]
    fn steps_before_the_first_case_begin_every_case() {
        let text = "%open /dev/echo\n%case a\n%info x\n%cite y\n%case b\n%info x\n%cite y\n%pop";
        let cases = parse("f", text).unwrap();
        assert_eq!((cases[0].steps.len(), cases[1].steps.len()), (1, 2));
    }

    #[test]
    fn strings_repeat_and_escape() {
        assert_eq!(
            lex("\"ab\"*3 k=\"\\x00z\"").unwrap(),
            [
                Tok::Bytes(b"ababab".to_vec()),
                Tok::key("k", Tok::Bytes(vec![0, b'z'])),
            ]
        );
        assert!(lex("\"ab").is_err());
    }

    #[test]
    fn names_are_numbers() {
        assert_eq!(
            lex("POLLIN|POLLOUT -1 0x10 15s").unwrap()[..3],
            [Tok::Num(5), Tok::Num(-1), Tok::Num(16)]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let no_info = "%case a\n%cite y\n\n%case b\n";
        assert_eq!(
            parse("f", no_info).unwrap_err(),
            "f.st:4: case a has no %info"
        );
        assert!(
            parse("f", "%case a\n stray")
                .unwrap_err()
                .starts_with("f.st:2:")
        );
        assert!(parse("f", "%case A b").unwrap_err().starts_with("f.st:1:"));
    }
}
