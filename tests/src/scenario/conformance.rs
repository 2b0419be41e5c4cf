//! doc/CONFORMANCE.md from the cases: behaviour, source, case, state.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::text::{Case, State};

/// The top of the repository.
pub fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where the cases are.
pub fn case_dir() -> PathBuf {
    top().join("tests/conformance")
}

/// What of the sources does not apply here, from `not-applicable.txt`: lines of
/// `source | behaviour | reason`, `#` for a comment.
///
/// # Errors
/// A line that has not three parts.
pub fn not_applicable(text: &str) -> Result<Vec<[String; 3]>, String> {
    text.lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'))
        .map(|(i, l)| {
            let parts: Vec<_> = l.split(" | ").map(|p| p.trim().to_owned()).collect();
            <[String; 3]>::try_from(parts)
                .map_err(|_| format!("not-applicable.txt:{}: source | behaviour | reason", i + 1))
        })
        .collect()
}

/// One cell of `ioctls.txt`: a command and `ok` or an error, and the case that shows it.
pub struct Cell {
    /// The command.
    pub command: String,
    /// `ok` or an errno.
    pub outcome: String,
    /// `file/name`; `None`: no case shows it.
    pub case: Option<String>,
}

/// What `ioctls.txt` asks for, and where it is shown: a case that cites the command, and in
/// which the error is cited or comes out; for `ok` one that cites no error.
///
/// # Errors
/// A line that is not `COMMAND: ok EINVAL ..`.
pub fn ioctls(text: &str, cases: &[Case]) -> Result<Vec<Cell>, String> {
    let has = |text: &str, word: &str| {
        let name = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        text.split(name).any(|w| w.trim_start_matches('_') == word)
    };
    let is_errno = |w: &str| w.len() > 3 && w.starts_with('E') && w == w.to_uppercase();
    let mut cells = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parts = line.split_once(": ");
        let (command, outcomes) =
            parts.ok_or_else(|| format!("ioctls.txt:{}: COMMAND: ok ERRNO ..", i + 1))?;
        for outcome in outcomes.split_whitespace() {
            let shows = |c: &&Case| {
                let cites = c.cites.join("; ");
                if c.state != State::Holds || !has(&cites, command) {
                    return false;
                }
                if outcome == "ok" {
                    let name = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
                    return !cites.split(name).any(is_errno);
                }
                let comes = |s: &super::text::Step| {
                    let expected = s.expect.iter().flatten();
                    expected.into_iter().any(|t| t.is(outcome))
                };
                has(&cites, outcome) || c.steps.iter().any(comes)
            };
            cells.push(Cell {
                command: command.to_owned(),
                outcome: outcome.to_owned(),
                case: cases
                    .iter()
                    .find(shows)
                    .map(|c| format!("{}/{}", c.file, c.name)),
            });
        }
    }
    Ok(cells)
}

/// The document.
pub fn render(cases: &[Case], cells: &[Cell], absent: &[[String; 3]]) -> String {
    let count = |f: fn(&State) -> bool| cases.iter().filter(|c| f(&c.state)).count();
    let holds = count(|s| *s == State::Holds);
    let fails = count(|s| matches!(s, State::Fails(_)));
    let missing = count(|s| matches!(s, State::Absent(_)));
    let mut out = format!(
        "# Conformance\n\n\
         What Solaris promises, where, and the case that shows it. Made from\n\
         `tests/conformance/*.st` by `cargo run -p vtunl-tests --example conformance`; a test fails\n\
         if this file is older than the cases.\n\n\
         {} cases: {holds} hold, {fails} fail, {missing} are of something absent; {} behaviours\n\
         do not apply.\n",
        cases.len(),
        absent.len(),
    );
    let mut files: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for c in cases {
        files.entry(&c.file).or_default().push(c);
    }
    for (file, cases) in files {
        let _ = write!(
            out,
            "\n## {file}\n\n| behaviour | source | case | state |\n|---|---|---|---|\n"
        );
        for c in cases {
            let state = match &c.state {
                State::Holds => "holds".to_owned(),
                State::Fails(why) => format!("**fails**: {why}"),
                State::Absent(why) => format!("absent: {why}"),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                cell(&c.info),
                cell(&c.cites.join("; ")),
                c.name,
                cell(&state)
            );
        }
    }
    out.push_str(
        "\n## Every ioctl and its errors\n\n| command | outcome | shown by |\n|---|---|---|\n",
    );
    for c in cells {
        let by = c.case.as_deref().unwrap_or("**nothing**");
        let _ = writeln!(out, "| {} | {} | {by} |", c.command, c.outcome);
    }
    out.push_str("\n## Not applicable\n\n| behaviour | source | reason |\n|---|---|---|\n");
    for [source, behaviour, reason] in absent {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            cell(behaviour),
            cell(source),
            cell(reason)
        );
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Rows of a rendered document whose case does not exist: `file/name`.
pub fn unknown_cases(document: &str, cases: &[Case]) -> Vec<String> {
    let mut file = "";
    let mut unknown = Vec::new();
    for line in document.lines() {
        if let Some(f) = line.strip_prefix("## ") {
            file = f;
        }
        // `\|` inside a cell is no border.
        let line = line.replace("\\|", "");
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let [_, _, _, name, _, _] = cells[..]
            && name != "case"
            && !name.starts_with('-')
            && !cases.iter().any(|c| c.file == file && c.name == name)
        {
            unknown.push(format!("{file}/{name}"));
        }
    }
    unknown
}
