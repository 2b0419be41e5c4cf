//! Streams drawn as the paper's Figure 2: the head, the modules down to the driver, and
//! what is linked under what.
//!
//! ```text
//!   ┌────────────────────┐   ┌─────────────┐
//!   │      /dev/udp      │   │ stream head │
//!   └───┬──────────┬─────┘   ├─────────────┤
//!    link 1     link 2       │ /dev/vtunl  │
//!    ┌──┴─┐   ┌────┴────┐    └─────────────┘
//!    │ ip │   │   ip    │       Fig. 2(c)
//!    ├────┤   ├─────────┤
//!    │ le │   │  vtunl  │
//!    └────┘   ├─────────┤
//!      le0    │ /dev/ip │
//!             └─────────┘
//!                 ip0
//!              Fig. 2(a)
//! ```
//!
//! What is drawn is plain data ([`Drawing`]); the characters are Unicode's boxes or ASCII.

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// The boxes from the top down.
    pub boxes: Vec<String>,
    /// Lines below: the interface, what figure it is, what it carries.
    pub under: Vec<String>,
    /// The text at the line by which it hangs from its multiplexor.
    pub link: String,
}

/// A multiplexing driver and the streams linked under it, or (without a name) streams
/// that are linked nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    /// The driver's node.
    pub mux: Option<String>,
    /// The streams.
    pub columns: Vec<Column>,
}

/// All of a host's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// The banks, drawn side by side and broken into rows as the width allows.
    pub banks: Vec<Bank>,
}

struct Pen {
    h: char,
    v: char,
    tl: char,
    tr: char,
    bl: char,
    br: char,
    left: char,
    right: char,
    down: char,
    up: char,
}

const UNICODE: Pen = Pen {
    h: '─',
    v: '│',
    tl: '┌',
    tr: '┐',
    bl: '└',
    br: '┘',
    left: '├',
    right: '┤',
    down: '┬',
    up: '┴',
};

const ASCII: Pen = Pen {
    h: '-',
    v: '|',
    tl: '+',
    tr: '+',
    bl: '+',
    br: '+',
    left: '+',
    right: '+',
    down: '+',
    up: '+',
};

/// A block of lines, all of one width.
#[derive(Clone, Default)]
struct Block {
    lines: Vec<String>,
    width: usize,
}

impl Block {
    fn push(&mut self, line: String) {
        self.width = self.width.max(line.chars().count());
        self.lines.push(line);
    }
}

/// Draws in at most this many columns, if one bank fits; a single stream is never cut.
pub fn draw(drawing: &Drawing, width: usize, ascii: bool) -> String {
    let pen = if ascii { &ASCII } else { &UNICODE };
    let blocks = drawing
        .banks
        .iter()
        .flat_map(|b| bank_blocks(b, width, pen))
        .collect::<Vec<_>>();
    let mut out = String::new();
    let mut row: Vec<&Block> = Vec::new();
    let mut used = 0;
    for b in &blocks {
        if !row.is_empty() && used + GAP + b.width > width {
            put_row(&row, &mut out);
            out.push('\n');
            row.clear();
            used = 0;
        }
        used += b.width + if row.is_empty() { 0 } else { GAP };
        row.push(b);
    }
    put_row(&row, &mut out);
    out
}

const GAP: usize = 3;

fn put_row(row: &[&Block], out: &mut String) {
    let height = row.iter().map(|b| b.lines.len()).max().unwrap_or(0);
    for y in 0..height {
        let mut line = String::new();
        for (i, b) in row.iter().enumerate() {
            if i > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let text = b.lines.get(y).map_or("", String::as_str);
            line.push_str(text);
            line.push_str(&" ".repeat(b.width - text.chars().count()));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// The blocks of a bank: one, or more if it is too wide.
fn bank_blocks(bank: &Bank, width: usize, pen: &Pen) -> Vec<Block> {
    let columns: Vec<(Block, usize)> = bank
        .columns
        .iter()
        .map(|c| column(c, bank.mux.is_some(), pen))
        .collect();
    let Some(mux) = &bank.mux else {
        return columns.into_iter().map(|c| c.0).collect();
    };
    let mut out = Vec::new();
    let mut part: Vec<&(Block, usize)> = Vec::new();
    let mut used = 2;
    for c in &columns {
        if !part.is_empty() && used + GAP + c.0.width > width {
            out.push(under_mux(mux, &part, pen));
            part.clear();
            used = 2;
        }
        used += c.0.width + if part.is_empty() { 0 } else { GAP };
        part.push(c);
    }
    out.push(under_mux(mux, &part, pen));
    out
}

/// Columns side by side with the driver's box above them.
fn under_mux(mux: &str, columns: &[&(Block, usize)], pen: &Pen) -> Block {
    let blocks: Vec<&Block> = columns.iter().map(|c| &c.0).collect();
    let mut ties = Vec::new();
    let mut at = 1;
    for (b, tie) in columns {
        ties.push(at + tie);
        at += b.width + GAP;
    }
    let inner = at.saturating_sub(GAP + 1).max(mux.chars().count() + 2);
    let mut out = Block::default();
    out.push(edge(pen.tl, pen.h, pen.tr, inner));
    out.push(format!("{}{}{}", pen.v, centred(mux, inner), pen.v));
    let mut bottom: Vec<char> = edge(pen.bl, pen.h, pen.br, inner).chars().collect();
    for t in &ties {
        if let Some(c) = bottom.get_mut(*t) {
            *c = pen.down;
        }
    }
    out.push(bottom.into_iter().collect());
    let mut below = String::new();
    put_row(&blocks, &mut below);
    for line in below.lines() {
        out.push(format!(" {line}"));
    }
    out
}

/// A stream's boxes, and where it is tied to what is above.
fn column(c: &Column, linked: bool, pen: &Pen) -> (Block, usize) {
    let widest = c.boxes.iter().map(|b| b.chars().count()).max().unwrap_or(0);
    let inner = widest + 2;
    let texts = c.under.iter().chain(std::iter::once(&c.link));
    let text = texts.map(|t| t.chars().count()).max().unwrap_or(0);
    // What stands below a box may be wider than the box: the box is centred over it.
    let width = (inner + 2).max(text);
    let margin = (width - inner - 2) / 2;
    let tie = margin + (inner + 2) / 2;
    let pad = " ".repeat(margin);
    let mut out = Block::default();
    if linked {
        if !c.link.is_empty() {
            let half = c.link.chars().count() / 2;
            out.push(format!(
                "{}{}",
                " ".repeat(tie.saturating_sub(half)),
                c.link
            ));
        } else {
            out.push(format!("{}{}", " ".repeat(tie), pen.v));
        }
    }
    for (i, text) in c.boxes.iter().enumerate() {
        let line = match i {
            0 => {
                let mut e: Vec<char> = edge(pen.tl, pen.h, pen.tr, inner).chars().collect();
                if linked && let Some(c) = e.get_mut(tie - margin) {
                    *c = pen.up;
                }
                e.into_iter().collect()
            }
            _ => edge(pen.left, pen.h, pen.right, inner),
        };
        out.push(format!("{pad}{line}"));
        out.push(format!("{pad}{}{}{}", pen.v, centred(text, inner), pen.v));
    }
    out.push(format!("{pad}{}", edge(pen.bl, pen.h, pen.br, inner)));
    for text in &c.under {
        let half = text.chars().count() / 2;
        out.push(format!("{}{text}", " ".repeat(tie.saturating_sub(half))));
    }
    (out, tie)
}

fn edge(left: char, mid: char, right: char, inner: usize) -> String {
    let mut s = String::from(left);
    s.extend(std::iter::repeat_n(mid, inner));
    s.push(right);
    s
}

fn centred(text: &str, width: usize) -> String {
    let len = text.chars().count();
    let left = width.saturating_sub(len) / 2;
    let right = width.saturating_sub(len + left);
    format!("{}{text}{}", " ".repeat(left), " ".repeat(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn col(boxes: &[&str], under: &[&str], link: &str) -> Column {
        Column {
            boxes: boxes.iter().map(|s| (*s).into()).collect(),
            under: under.iter().map(|s| (*s).into()).collect(),
            link: link.into(),
        }
    }

    fn figure_2() -> Drawing {
        Drawing {
            banks: vec![
                Bank {
                    mux: Some("/dev/udp".into()),
                    columns: vec![
                        col(&["ip", "le"], &["le0"], "link 1"),
                        col(&["ip", "vtunl", "/dev/ip"], &["ip0", "Fig. 2(a)"], "link 2"),
                    ],
                },
                Bank {
                    mux: None,
                    columns: vec![col(&["stream head", "/dev/vtunl"], &["Fig. 2(c)"], "")],
                },
            ],
        }
    }

    #[test]
    fn figure_2_in_unicode() {
        assert_eq!(
            draw(&figure_2(), 80, false),
            "\
┌────────────────────┐   ┌─────────────┐
│      /dev/udp      │   │ stream head │
└───┬──────────┬─────┘   ├─────────────┤
 link 1     link 2       │ /dev/vtunl  │
 ┌──┴─┐   ┌────┴────┐    └─────────────┘
 │ ip │   │   ip    │       Fig. 2(c)
 ├────┤   ├─────────┤
 │ le │   │  vtunl  │
 └────┘   ├─────────┤
   le0    │ /dev/ip │
          └─────────┘
              ip0
           Fig. 2(a)
"
        );
    }

    #[test]
    fn figure_2_in_ascii_has_no_other_characters() {
        let text = draw(&figure_2(), 80, true);
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn what_is_too_wide_goes_below() {
        let text = draw(&figure_2(), 20, false);
        assert_eq!(text.matches("/dev/udp").count(), 2, "{text}");
    }

    proptest! {
        #[test]
        fn drawing_never_panics(
            names in prop::collection::vec("[a-zé]{0,12}", 0..5),
            width in 0usize..100, mux in any::<bool>(),
        ) {
            let c = Column { boxes: names.clone(), under: names.clone(), link: "l".into() };
            let bank = Bank { mux: mux.then(|| "/dev/ip".into()), columns: vec![c; 3] };
            let _ = draw(&Drawing { banks: vec![bank] }, width, false);
        }
    }
}
