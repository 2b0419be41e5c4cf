//! Writes doc/CONFORMANCE.md from the cases. With `--check` only says whether it is up to
//! date.

use std::process::ExitCode;

use vtunl_tests::scenario::{conformance, text};

fn main() -> ExitCode {
    match write() {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<String, String> {
    let dir = conformance::case_dir();
    let cases = text::read_dir(&dir).map_err(|e| e.join("\n"))?;
    let list =
        std::fs::read_to_string(dir.join("not-applicable.txt")).map_err(|e| e.to_string())?;
    let ioctls = std::fs::read_to_string(dir.join("ioctls.txt")).map_err(|e| e.to_string())?;
    let cells = conformance::ioctls(&ioctls, &cases)?;
    let text = conformance::render(&cases, &cells, &conformance::not_applicable(&list)?);
    let path = conformance::top().join("doc/CONFORMANCE.md");
    if std::env::args().any(|a| a == "--check") {
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        return if old == text {
            Ok("doc/CONFORMANCE.md is up to date".into())
        } else {
            Err("doc/CONFORMANCE.md is older than the cases".into())
        };
    }
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(format!("{} cases in {}", cases.len(), path.display()))
}
