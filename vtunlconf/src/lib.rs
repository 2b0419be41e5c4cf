//! The vtunl shell: builds emulated systems, plumbs and configures them, and shows what
//! goes on in them. `vtunlconf --help`, and `help` inside, tell how to use it.
//!
//! ```text
//!   line, script ─► lex ─► command (rows) ─► grammar ─► commands/* ─► system calls
//!                    │          │                          │        of an emulated kernel
//!                    └─► diag ◄─┴── place, cause, mend     └─► out (text or JSON), draw
//! ```
//!
//! A command is a row: name, usage, help, function. The usage line is the grammar, so
//! what is parsed, completed, hinted, printed by `help` and by the manual page is one text.
#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod commands;
pub mod devices;
pub mod diag;
pub mod draw;
pub mod grammar;
pub mod interactive;
pub mod lab;
pub mod lex;
pub mod out;
pub mod peek;
pub mod shell;
pub mod signals;
pub mod slots;
pub mod style;
pub mod suggest;
#[cfg(test)]
mod testing;
pub mod values;
pub mod way;
