//! What the tests of the shell as a program share.

use std::process::Command;

/// What a script prints with these options; its error if it fails.
pub fn run(options: &[&str], script: &str) -> Result<String, String> {
    let done = Command::new(env!("CARGO_BIN_EXE_vtunlconf"))
        .args(options)
        .args(["-c", script])
        .output()
        .expect("vtunlconf runs");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    match done.status.success() {
        true => Ok(text(&done.stdout)),
        false => Err(text(&done.stderr)),
    }
}
