//! Which sources of a group are wanted: a mode and a list.
//!
//! ```text
//!   EXCLUDE {}     everything: an ordinary join        INCLUDE {}   nothing: no member
//!   EXCLUDE {a}    all but a (IP_BLOCK_SOURCE)         INCLUDE {a}  a alone (IP_ADD_SOURCE_..)
//!
//!   stream 1 ─┐
//!   stream 2 ─┼─► merge ─► the interface's filter ─► IGMP reports
//!   stream 3 ─┘
//! ```
//!
//! Spec: RFC 3376 sections 2 and 3.

use std::collections::BTreeSet;

/// A filter on the sources of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The sources are those not wanted.
    pub exclude: bool,
    /// The sources.
    pub sources: BTreeSet<u32>,
}

impl Filter {
    /// Of an ordinary member: any source.
    pub fn everything() -> Filter {
        Filter {
            exclude: true,
            sources: BTreeSet::new(),
        }
    }

    /// Is a datagram from this source wanted?
    pub fn admits(&self, source: u32) -> bool {
        self.sources.contains(&source) != self.exclude
    }

    /// Nothing is wanted: who has this is no member.
    pub fn is_nothing(&self) -> bool {
        !self.exclude && self.sources.is_empty()
    }

    /// What an interface has to receive so that each of these gets what it wants (RFC 3376
    /// 3.2).
    pub fn merge<'a>(all: impl Iterator<Item = &'a Filter>) -> Filter {
        let mut included = BTreeSet::new();
        let mut excluded: Option<BTreeSet<u32>> = None;
        for f in all {
            if !f.exclude {
                included.extend(&f.sources);
                continue;
            }
            excluded = Some(match excluded {
                None => f.sources.clone(),
                Some(e) => &e & &f.sources,
            });
        }
        match excluded {
            None => Filter {
                exclude: false,
                sources: included,
            },
            Some(e) => Filter {
                exclude: true,
                sources: &e - &included,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn f(exclude: bool, sources: &[u32]) -> Filter {
        Filter {
            exclude,
            sources: sources.iter().copied().collect(),
        }
    }

    #[test]
    fn the_examples_of_rfc_3376() {
        // 3.2: the first example, then the second
        let (a, b, c, d) = (1, 2, 3, 4);
        let ex = [
            f(true, &[a, b, c, d]),
            f(true, &[b, c, d, 5]),
            f(false, &[d, 5, 6]),
        ];
        assert_eq!(Filter::merge(ex.iter()), f(true, &[b, c]));
        let inc = [f(false, &[a, b, c]), f(false, &[b, c, d])];
        assert_eq!(Filter::merge(inc.iter()), f(false, &[a, b, c, d]));
        assert!(Filter::merge([].iter()).is_nothing());
    }

    proptest! {
        /// The interface takes whatever one of the streams wants. It may take more: an
        /// intersection of exclusions loses nothing, but an inclusion pierces it.
        #[test]
        fn a_merged_filter_starves_nobody(
            all in prop::collection::vec((any::<bool>(), prop::collection::vec(0..6u32, 0..5)), 0..6),
            source in 0..6u32,
        ) {
            let all: Vec<Filter> = all.iter().map(|(e, s)| f(*e, s)).collect();
            let wanted = all.iter().any(|f| f.admits(source));
            prop_assert_eq!(Filter::merge(all.iter()).admits(source), wanted);
        }
    }
}
