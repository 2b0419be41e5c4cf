//! The runner itself: that it passes what is right, and tells what is wrong and where.

use super::text::parse;
use super::*;

fn run_text(steps: &str) -> Result<(), Failure> {
    let text = format!("%case c\n%info i\n%cite c\n{steps}");
    let cases = parse("t", &text).map_err(Failure::Wrong)?;
    run(&cases[0], 0)
}

fn differs(steps: &str) -> String {
    match run_text(steps) {
        Err(Failure::Differs(t)) => t,
        other => panic!("{other:?}"),
    }
}

fn wrong(steps: &str) -> String {
    match run_text(steps) {
        Err(Failure::Wrong(t)) => t,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_outcome_is_compared() {
    assert_eq!(run_text("%open /dev/echo\n%write \"abc\" -> 3"), Ok(()));
    assert_eq!(
        differs("%open /dev/echo\n%write \"abc\" -> 4"),
        "t.st:5: %write \"abc\": expected 4, got 3"
    );
}

#[test]
fn an_error_that_was_not_expected_is_a_difference() {
    assert_eq!(
        differs("%open /dev/echo\n%pop"),
        "t.st:5: %pop: expected success, got EINVAL"
    );
    assert!(differs("%open /dev/echo -> ENOENT").ends_with("expected ENOENT, got (nothing)"));
}

#[test]
fn bands_and_control_parts_may_not_come_unexpected() {
    let open = "%open /dev/probe\n%emit M_PROTO band=2 \"c\" + M_DATA \"d\"\n";
    assert_eq!(
        run_text(&format!("{open}%get ctl=\"c\" \"d\" band=2")),
        Ok(())
    );
    assert!(differs(&format!("{open}%get \"d\" band=2")).contains("got \"d\" ctl=\"c\" band=2"));
    differs(&format!("{open}%get ctl=\"c\" \"d\""));
}

#[test]
fn every_message_must_be_seen_in_its_order() {
    let open = "%open /dev/probe\n%write \"a\"\n%write \"b\"\n";
    assert_eq!(
        run_text(&format!("{open}%sees M_DATA \"a\", M_DATA \"b\"")),
        Ok(())
    );
    differs(&format!("{open}%sees M_DATA \"b\", M_DATA \"a\""));
    differs(&format!("{open}%sees M_DATA \"a\""));
    differs(&format!("{open}%sees nothing"));
}

#[test]
fn a_value_is_kept_and_compared() {
    let link = "%open low=/dev/probe\n%open up=/dev/probemux\n%link @low -> $id\n";
    assert_eq!(run_text(&format!("{link}%unlink $id")), Ok(()));
    assert!(wrong("%open /dev/echo\n%unlink $id").contains("$id has no value"));
}

#[test]
fn time_is_the_kernels() {
    assert_eq!(
        run_text("%open /dev/probe\n%after 90s putnext M_DATA \"x\"\n%read 1\n%took 90s"),
        Ok(())
    );
    assert!(differs("%open /dev/probe\n%read 1 -> \"x\"").contains("got sleeps"));
}

#[test]
fn a_case_that_makes_no_sense_is_told() {
    assert!(wrong("%frobnicate").contains("no such verb"));
    assert!(wrong("%open /dev/echo\n%sees nothing").contains("no probe is called fd"));
    assert!(wrong("%open /dev/probe\n%emit M_NONSENSE").contains("no type"));
}
