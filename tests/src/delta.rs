//! Counters before and after: what moved, and that nothing else did.
//!
//! ```
//! use vtunl_tests::{assert_delta, delta::Counters};
//! let mut ip = std::collections::BTreeMap::from([("in_receives", 7), ("in_discards", 0)]);
//! let before = ip.snapshot();
//! *ip.get_mut("in_receives").unwrap() += 1;
//! assert_delta!(ip, before, { in_receives: 1 });
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;

/// The values of some counters at one moment, by name.
pub type Snapshot = BTreeMap<String, u64>;

/// Anything with named counters.
pub trait Counters {
    /// What they say now.
    fn snapshot(&self) -> Snapshot;
}

impl<K: Display> Counters for BTreeMap<K, u64> {
    fn snapshot(&self) -> Snapshot {
        self.iter().map(|(k, v)| (k.to_string(), *v)).collect()
    }
}

impl<K: Display> Counters for [(K, u64)] {
    fn snapshot(&self) -> Snapshot {
        self.iter().map(|(k, v)| (k.to_string(), *v)).collect()
    }
}

impl<K: Display> Counters for Vec<(K, u64)> {
    fn snapshot(&self) -> Snapshot {
        self.as_slice().snapshot()
    }
}

/// What moved between two snapshots. A counter that one of them lacks stood at 0.
pub fn moved(before: &Snapshot, after: &Snapshot) -> BTreeMap<String, i64> {
    let names = before.keys().chain(after.keys());
    let value = |s: &Snapshot, name: &str| s.get(name).copied().unwrap_or(0) as i64;
    names
        .map(|n| (n.clone(), value(after, n) - value(before, n)))
        .filter(|(_, by)| *by != 0)
        .collect()
}

/// Compares what moved with what should have; the text of the difference if they differ.
pub fn compare(
    before: &Snapshot,
    after: &Snapshot,
    expected: &[(&str, i64)],
) -> Result<(), String> {
    let moved = moved(before, after);
    let mut wrong = Vec::new();
    for (name, by) in expected {
        let got = moved.get(*name).copied().unwrap_or(0);
        if got != *by {
            wrong.push(format!("{name}: expected {by:+}, moved {got:+}"));
        }
    }
    for (name, by) in &moved {
        if !expected.iter().any(|(n, _)| n == name) {
            wrong.push(format!("{name}: moved {by:+}, unexpectedly"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// Asserts which counters moved since `before`, and by how much. One that moved and is not
/// named is a failure. Names are identifiers, or strings where they are none.
#[macro_export]
macro_rules! assert_delta {
    ($source:expr, $before:expr, { $($name:tt : $by:expr),* $(,)? }) => {{
        let after = $crate::delta::Counters::snapshot(&$source);
        let expected: &[(&str, i64)] = &[$((stringify!($name).trim_matches('"'), $by)),*];
        if let Err(difference) = $crate::delta::compare(&$before, &after, expected) {
            panic!("counters of {}:\n{difference}", stringify!($source));
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unnamed_counter_that_moved_is_told() {
        let before = vec![("a", 1), ("b", 2)].snapshot();
        let after = vec![("a", 2), ("b", 4)].snapshot();
        assert_eq!(compare(&before, &after, &[("a", 1), ("b", 2)]), Ok(()));
        let told = compare(&before, &after, &[("a", 1)]).unwrap_err();
        assert_eq!(told, "b: moved +2, unexpectedly");
    }

    #[test]
    fn a_counter_that_did_not_move_is_told() {
        let before = vec![("a", 1)].snapshot();
        let told = compare(&before, &before, &[("a", 1)]).unwrap_err();
        assert_eq!(told, "a: expected +1, moved +0");
    }

    #[test]
    fn names_may_be_strings() {
        let mut v = vec![("ip: no route", 0)];
        let before = v.snapshot();
        v[0].1 = 3;
        assert_delta!(v, before, { "ip: no route": 3 });
    }

    #[test]
    #[should_panic(expected = "b: moved -1")]
    fn a_counter_may_not_go_back_unnoticed() {
        let before = vec![("b", 1)].snapshot();
        assert_delta!(vec![("b", 0)], before, {});
    }
}
