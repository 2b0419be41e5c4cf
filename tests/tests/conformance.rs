//! Every case of `tests/conformance/*.st`, one trial each: `cargo test --test conformance
//! flush` runs those with `flush` in their name.
//!
//! A case marked `%state fails` or `absent` has to fail: when it passes, the mark is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use vtunl_tests::scenario::text::{Case, State, read_dir};
use vtunl_tests::scenario::{self, conformance};

/// Orders of service procedures: as they come, and three shuffled ones.
const SEEDS: [u64; 4] = [0, 1, 2, 3];

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
    let run = |seed| {
        catch_unwind(AssertUnwindSafe(|| scenario::run(case, seed)))
            .unwrap_or_else(|p| Err(format!("panicked: {}", panic_text(&p))))
    };
    let result = SEEDS.into_iter().try_for_each(run);
    match (&case.state, result) {
        (State::Holds, Err(e)) => {
            let cites = case.cites.join("; ");
            Err(format!("{}\n  {e}\n  source: {cites}", case.info).into())
        }
        (State::Fails(_) | State::Absent(_), Ok(())) => {
            Err("it passes now: take its %state away".into())
        }
        _ => Ok(()),
    }
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
    let want = conformance::render(cases, &conformance::not_applicable(&list)?);
    if document() == want {
        return Ok(());
    }
    Err(
        "doc/CONFORMANCE.md is older than the cases: cargo run -p vtunl-tests --bin conformance"
            .into(),
    )
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
