//! Colour, or none: only on a terminal, and never if NO_COLOR is set.

use std::io::IsTerminal;

/// What a piece of text is, not how it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// A heading or the point of a message.
    Strong,
    /// An error or a drop.
    Bad,
    /// A success.
    Good,
    /// Frames, line numbers, what can be overlooked.
    Dim,
    /// A name: interface, module, host.
    Name,
}

/// Paints or does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paint(bool);

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Paint {
    /// Text as it is.
    pub const PLAIN: Paint = Paint(false);

    /// Whether to paint what goes to this output.
    pub fn choose(when: When, out: &impl IsTerminal) -> Paint {
        Paint(match when {
            When::Always => true,
            When::Never => false,
            // no-color.org: set to anything but the empty string.
            When::Auto => {
                out.is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                    && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        })
    }

    /// The text in its style.
    pub fn on(self, style: Style, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let code = match style {
            Style::Strong => "1",
            Style::Bad => "1;31",
            Style::Good => "32",
            Style::Dim => "2",
            Style::Name => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::PLAIN.on(Style::Bad, "x"), "x");
        assert_eq!(Paint(true).on(Style::Bad, "x"), "\x1b[1;31mx\x1b[0m");
        assert_eq!(Paint(true).on(Style::Bad, ""), "");
    }
}
