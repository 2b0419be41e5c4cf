//! Every case of `tests/conformance/*.st`, one trial each: `cargo test --test conformance
//! flush` runs those with `flush` in their name.
//!
//! A case marked `%state fails` or `absent` has to fail: when it passes, the mark is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::scenario::text::{Case, State, read_dir};
use vtunl_tests::scenario::{self, Failure, conformance};

/// Orders of service procedures: as they come, and three shuffled ones.
const SEEDS: [u64; 4] = [0, 1, 2, 3];

/// A case takes a millisecond; one that takes this long is taken for endless.
const LIMIT: Duration = Duration::from_secs(120);

fn main() {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    match read_dir(&conformance::case_dir()) {
        Ok(cases) => {
            let all = Arc::new(cases.clone());
            trials.extend(
                cases
                    .into_iter()
                    .map(|c| Trial::test(c.id(), move || judge(&c))),
            );
            let cases = all.clone();
            trials.push(Trial::test("every_ioctl_and_its_errors", move || {
                every_ioctl(&cases)
            }));
            let cases = all.clone();
            trials.push(Trial::test("document_is_up_to_date", move || {
                up_to_date(&cases)
            }));
            trials.push(Trial::test("document_names_only_cases", move || {
                only_cases(&all)
            }));
        }
        Err(wrong) => trials.extend(
            wrong
                .into_iter()
                .map(|w| Trial::test("case_files_can_be_read", move || Err(w.into()))),
        ),
    }
    libtest_mimic::run(&args, trials).exit();
}

fn judge(case: &Case) -> Result<(), Failed> {
    let result = SEEDS.into_iter().try_for_each(|seed| bounded(case, seed));
    match (&case.state, result) {
        (State::Holds, Err(f)) => {
            let cites = case.cites.join("; ");
            Err(format!("{}\n  {}\n  source: {cites}", case.info, f.text()).into())
        }
        // What fails must fail by its outcome; what is absent may not even be askable.
        (State::Fails(_), Err(Failure::Wrong(why))) => Err(why.into()),
        (State::Fails(_) | State::Absent(_), Ok(())) => {
            Err("it passes now: take its %state away".into())
        }
        _ => Ok(()),
    }
}

/// Runs a case on a thread of its own, so that one that never ends is a failure too.
fn bounded(case: &Case, seed: u64) -> Result<(), Failure> {
    let (tx, rx) = channel();
    let owned = case.clone();
    let run = move || {
        let r = catch_unwind(AssertUnwindSafe(|| scenario::run(&owned, seed)));
        // Nobody listens any more if it took too long.
        let _ =
            tx.send(r.unwrap_or_else(|p| {
                Err(Failure::Differs(format!("panicked: {}", panic_text(&p))))
            }));
    };
    std::thread::spawn(run);
    rx.recv_timeout(LIMIT)
        .unwrap_or_else(|_| Err(Failure::Differs("it never ends".into())))
}

fn panic_text(p: &Box<dyn std::any::Any + Send>) -> String {
    let s = p.downcast_ref::<String>().cloned();
    s.or_else(|| p.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_default()
}

fn up_to_date(cases: &[Case]) -> Result<(), Failed> {
    let dir = conformance::case_dir();
    let list =
        std::fs::read_to_string(dir.join("not-applicable.txt")).map_err(|e| e.to_string())?;
    let want = conformance::render(cases, &cells(cases)?, &conformance::not_applicable(&list)?);
    if document() == want {
        return Ok(());
    }
    Err(
        "doc/CONFORMANCE.md is older than the cases: cargo run -p vtunl-tests --example conformance"
            .into(),
    )
}

/// The ioctls and their errors, each with its case.
fn cells(cases: &[Case]) -> Result<Vec<conformance::Cell>, Failed> {
    let path = conformance::case_dir().join("ioctls.txt");
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    Ok(conformance::ioctls(&text, cases)?)
}

/// Every command of the header is in the table, and every cell of it has a case.
fn every_ioctl(cases: &[Case]) -> Result<(), Failed> {
    let cells = cells(cases)?;
    let known = scenario::names::commands();
    let mut missing: Vec<String> = known
        .filter(|c| !cells.iter().any(|cell| cell.command == *c))
        .map(|c| format!("{c} is not in ioctls.txt"))
        .collect();
    for c in &cells {
        if c.case.is_none() {
            missing.push(format!("no case shows {} {}", c.command, c.outcome));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(missing.join("\n").into())
}

fn only_cases(cases: &[Case]) -> Result<(), Failed> {
    match conformance::unknown_cases(&document(), cases) {
        v if v.is_empty() => Ok(()),
        v => Err(format!(
            "doc/CONFORMANCE.md names cases that don't exist: {}",
            v.join(", ")
        )
        .into()),
    }
}

fn document() -> String {
    std::fs::read_to_string(conformance::top().join("doc/CONFORMANCE.md")).unwrap_or_default()
}
