//! For tests: a script, and what it prints.

use crate::diag::Source;
use crate::lab::ClockKind;
use crate::out::{Capture, Look};
use crate::shell::Shell;

/// Plain text without notes.
pub const QUIET: Look = Look {
    quiet: true,
    ..Look::PLAIN
};

/// Runs a script under the emulated clock.
///
/// # Errors
/// What is shown of the failure.
pub fn run(script: &str, look: Look) -> Result<String, String> {
    run_by(ClockKind::Emulated, script, look)
}

/// Runs a script.
///
/// # Errors
/// What is shown of the failure.
pub fn run_by(clock: ClockKind, script: &str, look: Look) -> Result<String, String> {
    let (out, err) = (Capture::default(), Capture::default());
    let mut sh = Shell::new(clock, look).printing_to(Box::new(out.clone()), Box::new(err.clone()));
    let source = Source {
        name: "test",
        first_line: 1,
        text: script,
    };
    let done = sh.run_source(source);
    sh.lab.shut_down();
    match done {
        Ok(()) => Ok(out.text()),
        Err(_) => Err(err.text()),
    }
}
