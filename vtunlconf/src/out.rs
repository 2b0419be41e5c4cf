//! What commands print: text for people, or one JSON object per command.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::style::{Paint, Style};

/// Columns and rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The headings.
    pub columns: Vec<&'static str>,
    /// The rows, a cell per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&'static str]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
    /// Lines with aligned columns.
    pub fn lines(&self) -> Vec<String> {
        let head = self.columns.iter().map(|c| (*c).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let width: Vec<usize> = (0..self.columns.len())
            .map(|c| {
                let cell = |r: &&Vec<String>| r.get(c).map_or(0, |s| s.chars().count());
                all.iter().map(cell).max().unwrap_or(0)
            })
            .collect();
        all.iter()
            .map(|r| {
                let cells = r.iter().zip(&width);
                let line: Vec<String> = cells.map(|(s, w)| format!("{s:<w$}")).collect();
                line.join("  ").trim_end().to_owned()
            })
            .collect()
    }
    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|r| {
            let cells = self.columns.iter().zip(r);
            let fields = cells.map(|(k, v)| ((*k).to_lowercase(), Value::from(v.as_str())));
            Value::Object(fields.collect())
        });
        Value::Array(rows.collect())
    }
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// One JSON object per command.
    pub json: bool,
    /// No notes about what was done.
    pub quiet: bool,
    /// No characters beyond ASCII in drawings.
    pub ascii: bool,
    /// Colour.
    pub paint: Paint,
}

impl Look {
    /// Plain text for people.
    pub const PLAIN: Look = Look {
        json: false,
        quiet: false,
        ascii: false,
        paint: Paint::PLAIN,
    };
}

/// Where commands print.
pub struct Out {
    writer: Box<dyn Write + Send>,
    /// How.
    pub look: Look,
    /// What the running command printed, for JSON.
    values: Vec<Value>,
    /// What the running command printed, as plain text.
    now: String,
    /// What the last command that printed something printed, for `expect`.
    last: String,
    broken: bool,
}

impl Out {
    /// Prints there.
    pub fn new(writer: Box<dyn Write + Send>, look: Look) -> Out {
        Out {
            writer,
            look,
            values: Vec::new(),
            now: String::new(),
            last: String::new(),
            broken: false,
        }
    }

    /// A line of a command's result.
    pub fn line(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.print(text, Some(Value::from(unpainted(text))));
    }

    /// Several lines.
    pub fn text(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// A note about what was done: not printed with --quiet.
    pub fn note(&mut self, text: impl AsRef<str>) {
        if !self.look.quiet {
            let text = self.look.paint.on(Style::Dim, text.as_ref());
            self.print(&text, Some(json!({ "note": unpainted(&text) })));
        }
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        for (i, line) in table.lines().iter().enumerate() {
            let line = match i {
                0 => self.look.paint.on(Style::Strong, line),
                _ => line.clone(),
            };
            self.print(&line, None);
        }
        if self.look.json {
            self.values.push(table.json());
        }
    }

    /// Lines for people, and the value they show for programs.
    pub fn shown(&mut self, text: &str, value: Value) {
        for line in text.lines() {
            self.print(line, None);
        }
        if self.look.json {
            self.values.push(value);
        }
    }

    fn print(&mut self, text: &str, value: Option<Value>) {
        self.now.push_str(&unpainted(text));
        self.now.push('\n');
        if self.look.json {
            self.values.extend(value);
        } else {
            self.raw(&format!("{text}\n"));
        }
    }

    /// Writes as it is, past JSON and recording.
    pub fn raw(&mut self, text: &str) {
        // A reader that went away (`| head`) is no failure of a command.
        let done = self.writer.write_all(text.as_bytes());
        if done.and_then(|()| self.writer.flush()).is_err() {
            self.broken = true;
        }
    }

    /// The reader went away: there is nobody to go on for.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// A command begins.
    pub fn begin(&mut self) {
        self.now.clear();
        self.values.clear();
    }

    /// A command has ended: with JSON, prints its object.
    pub fn end(&mut self, head: impl FnOnce() -> serde_json::Map<String, Value>) {
        if !self.now.is_empty() {
            self.last = std::mem::take(&mut self.now);
        }
        if self.look.json {
            let mut object = head();
            let values = std::mem::take(&mut self.values);
            object.insert("result".into(), Value::Array(values));
            let line = Value::Object(object).to_string();
            self.raw(&format!("{line}\n"));
        }
    }

    /// What the last command that printed something printed.
    pub fn last(&self) -> &str {
        &self.last
    }
    /// Keeps what is being printed from becoming what `expect` looks at.
    pub fn keep_last(&mut self) {
        self.now.clear();
    }
}

/// Text without colour.
pub fn unpainted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\x1b[") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        rest = tail.find('m').map_or("", |m| &tail[m + 1..]);
    }
    out.push_str(rest);
    out
}

/// A writer whose text can be read afterwards: for tests.
#[derive(Clone, Debug, Default)]
pub struct Capture(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Capture {
    /// Everything written so far.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(|e| e.into_inner());
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Capture {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut bytes = self.0.lock().unwrap_or_else(|e| e.into_inner());
        bytes.extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let mut t = Table::new(&["Destination", "Mask"]);
        t.row(["10.0.0.0".into(), "255.0.0.0".into()]);
        t.row(["default".into(), String::new()]);
        assert_eq!(
            t.lines(),
            ["Destination  Mask", "10.0.0.0     255.0.0.0", "default"]
        );
    }

    #[test]
    fn json_is_one_object_per_command() {
        let capture = Capture::default();
        let look = Look {
            json: true,
            ..Look::PLAIN
        };
        let mut out = Out::new(Box::new(capture.clone()), look);
        out.begin();
        out.line("a \"quoted\" line");
        let mut t = Table::new(&["K"]);
        t.row(["v".into()]);
        out.table(&t);
        out.end(|| [("ok".to_owned(), Value::from(true))].into_iter().collect());
        let v: Value = serde_json::from_str(&capture.text()).unwrap();
        assert_eq!(v["result"][0], "a \"quoted\" line");
        assert_eq!(v["result"][1][0]["k"], "v");
        assert!(out.last().contains("quoted"));
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(unpainted("a\x1b[1;31mb\x1b[0mc"), "abc");
        assert_eq!(unpainted("a\x1b["), "a");
    }
}
