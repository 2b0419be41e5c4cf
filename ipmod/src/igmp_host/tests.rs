//! The state machine by itself, with a clock that the test keeps.

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

const G: u32 = 0xef01_0203;
const H: u32 = 0xef01_0204;

/// A host and its clock.
struct At {
    host: Host,
    time: Duration,
    rng: Rng,
    max: Version,
}

fn s(n: f64) -> Duration {
    Duration::from_secs_f64(n)
}

impl At {
    fn new() -> At {
        At {
            host: Host::default(),
            time: s(1000.0),
            rng: Rng::seeded(7),
            max: Version::V3,
        }
    }
    fn now<R>(&mut self, f: impl FnOnce(&mut Host, &mut Now<'_>) -> R) -> R {
        let mut now = Now {
            time: self.time,
            rng: &mut self.rng,
            max: self.max,
        };
        f(&mut self.host, &mut now)
    }
    fn change(&mut self, group: u32, exclude: bool, sources: &[u32]) -> Vec<Send> {
        let to = Filter {
            exclude,
            sources: sources.iter().copied().collect(),
        };
        self.now(|h, now| h.change(group, to, now))
    }
    fn join(&mut self, group: u32) -> Vec<Send> {
        self.change(group, true, &[])
    }
    fn leave(&mut self, group: u32) -> Vec<Send> {
        self.change(group, false, &[])
    }
    fn asked(&mut self, version: Version, within: f64, group: u32, sources: &[u32]) {
        let q = Query {
            version,
            within: s(within),
            group,
            sources: sources.iter().copied().collect(),
            robustness: 0,
            interval: Duration::ZERO,
        };
        self.now(|h, now| h.query(&q, now));
    }
    /// What is sent in the next so many seconds, and how long after now.
    fn pass(&mut self, secs: f64) -> Vec<(f64, Send)> {
        let (from, end) = (self.time, self.time + s(secs));
        let mut all = Vec::new();
        while let Some(t) = self.host.next().filter(|t| *t <= end) {
            self.time = t.max(self.time);
            let after = (self.time - from).as_secs_f64();
            let said = self.now(|h, now| h.expire(now));
            all.extend(said.into_iter().map(|m| (after, m)));
        }
        self.time = end;
        all
    }
    fn version(&mut self) -> Version {
        self.now(|h, now| h.version(now))
    }
}

fn record(kind: Kind, group: u32, sources: &[u32]) -> Send {
    Send::Records(vec![Record {
        kind,
        group,
        sources: sources.to_vec(),
    }])
}

fn what(all: Vec<(f64, Send)>) -> Vec<Send> {
    all.into_iter().map(|(_, m)| m).collect()
}

#[test]
fn v3_a_join_and_a_leave_are_said_twice() {
    // RFC 3376 5.1, 8.1
    let mut a = At::new();
    let to_ex = record(Kind::ToExclude, G, &[]);
    assert_eq!(a.join(G), std::slice::from_ref(&to_ex));
    let later = a.pass(100.0);
    assert!(later[0].0 <= 1.0, "8.11: {later:?}");
    assert_eq!(what(later), [to_ex]);
    assert!(a.host.hears(G));

    let to_in = record(Kind::ToInclude, G, &[]);
    assert_eq!(a.leave(G), std::slice::from_ref(&to_in));
    assert!(!a.host.hears(G), "it is not received, but not forgotten");
    assert_eq!(what(a.pass(100.0)), [to_in]);
    assert!(a.host.groups.is_empty());
}

#[test]
fn v3_who_leaves_before_the_repeat_says_only_that() {
    // RFC 3376 5.1: a pending state-change report is replaced
    let mut a = At::new();
    a.join(G);
    a.leave(G);
    assert_eq!(what(a.pass(9.0)), [record(Kind::ToInclude, G, &[])]);
}

#[test]
fn v3_a_general_query_is_answered_with_every_group_at_once() {
    // RFC 3376 5.2, rule 2
    let mut a = At::new();
    a.join(G);
    a.join(H);
    a.join(ALL_SYSTEMS);
    a.pass(10.0);
    a.asked(Version::V3, 10.0, 0, &[]);
    let [(after, Send::Records(r))] = &a.pass(60.0)[..] else {
        panic!("one report");
    };
    assert!(*after <= 10.0);
    let said: Vec<_> = r.iter().map(|r| (r.kind, r.group)).collect();
    assert_eq!(said, [(Kind::IsExclude, G), (Kind::IsExclude, H)]);
}

#[test]
fn v3_a_group_query_is_about_the_group() {
    // RFC 3376 5.2, rules 3 to 5
    let mut a = At::new();
    a.change(G, false, &[1, 2, 3]);
    a.join(H);
    a.pass(10.0);
    a.asked(Version::V3, 1.0, G, &[]);
    let whole = record(Kind::IsInclude, G, &[1, 2, 3]);
    assert_eq!(what(a.pass(2.0)), std::slice::from_ref(&whole));
    a.asked(Version::V3, 1.0, G, &[2, 9]);
    a.asked(Version::V3, 1.0, G, &[3]);
    assert_eq!(what(a.pass(2.0)), [record(Kind::IsInclude, G, &[2, 3])]);
    a.asked(Version::V3, 1.0, G, &[2]);
    a.asked(Version::V3, 1.0, G, &[]); // rule 4
    assert_eq!(what(a.pass(2.0)), [whole]);
    a.asked(Version::V3, 1.0, G, &[9]);
    assert_eq!(a.pass(2.0), [], "none of ours");
    a.asked(Version::V3, 1.0, H, &[9]);
    let all_but = record(Kind::IsInclude, H, &[9]);
    assert_eq!(what(a.pass(2.0)), [all_but], "B - A of an exclude mode");
    a.asked(Version::V3, 1.0, G + 9, &[]);
    assert_eq!(a.pass(2.0), [], "not a member");
}

#[test]
fn v3_a_change_of_sources() {
    // RFC 3376 5.1: ALLOW and BLOCK
    let mut a = At::new();
    assert_eq!(a.change(G, false, &[1]), [record(Kind::Allow, G, &[1])]);
    a.pass(9.0);
    let said = a.change(G, false, &[2]);
    let [Send::Records(r)] = &said[..] else {
        panic!("{said:?}");
    };
    let of = |r: &Record| (r.kind, r.sources.clone());
    let both = [(Kind::Allow, vec![2]), (Kind::Block, vec![1])];
    assert_eq!(r.iter().map(of).collect::<Vec<_>>(), both);
    a.pass(9.0);
    assert_eq!(a.change(G, true, &[7]), [record(Kind::ToExclude, G, &[7])]);
    a.pass(9.0);
    assert_eq!(a.change(G, true, &[]), [record(Kind::Allow, G, &[7])]);
    assert_eq!(what(a.pass(9.0)), [record(Kind::Allow, G, &[7])]);
}

#[test]
fn a_router_of_version_2_is_spoken_to_in_version_2_until_it_is_gone() {
    // RFC 3376 7.2.1, 8.12
    let mut a = At::new();
    a.join(G);
    a.asked(Version::V2, 10.0, 0, &[]);
    assert_eq!(a.version(), Version::V2);
    let said = a.pass(20.0);
    assert!(said[0].0 <= 10.0);
    // and the repeat of the version 3 report is not
    assert_eq!(what(said), [Send::Report(Version::V2, G)]);
    assert_eq!(a.join(H), [Send::Report(Version::V2, H)]);
    let again = a.pass(20.0);
    assert!(again[0].0 <= 10.0, "RFC 2236 8.10");
    assert_eq!(what(again), [Send::Report(Version::V2, H)]);
    assert_eq!(a.leave(H), [Send::Leave(H)]);
    a.pass(219.0);
    assert_eq!(a.version(), Version::V2);
    a.pass(1.0);
    assert_eq!(a.version(), Version::V3);
    assert_eq!(a.leave(G), [record(Kind::ToInclude, G, &[])]);
}

#[test]
fn v2_somebody_elses_report_is_enough() {
    // RFC 2236 3: suppression, and who does not report last leaves in silence
    let mut a = At::new();
    a.asked(Version::V2, 10.0, 0, &[]);
    a.join(G);
    a.join(H);
    a.pass(30.0);
    a.asked(Version::V2, 10.0, 0, &[]);
    let heard = a.now(|h, now| h.heard(G, now));
    assert!(heard);
    assert_eq!(what(a.pass(30.0)), [Send::Report(Version::V2, H)]);
    assert_eq!(a.leave(G), []);
    assert_eq!(a.leave(H), [Send::Leave(H)]);
    assert!(!a.now(|h, now| h.heard(G, now)));
}

#[test]
fn v2_a_shorter_time_sets_the_timer_anew_and_a_longer_does_not() {
    // RFC 2236 3, figure 1: a timer that would be too late is set anew
    let mut a = At::new();
    a.asked(Version::V2, 10.0, 0, &[]);
    a.join(G);
    a.pass(30.0);
    a.asked(Version::V2, 25.5, 0, &[]);
    a.asked(Version::V2, 0.1, G, &[]);
    a.asked(Version::V2, 25.5, 0, &[]);
    let said = a.pass(60.0);
    assert_eq!(said.len(), 1);
    assert!(said[0].0 <= 0.1, "{said:?}");
}

#[test]
fn v1_has_no_leave_and_its_router_comes_before_one_of_version_2() {
    // RFC 2236 4, RFC 3376 7.2.1
    let mut a = At::new();
    a.asked(Version::V1, 10.0, 0, &[]);
    a.asked(Version::V2, 1.0, 0, &[]);
    assert_eq!(a.join(G), [Send::Report(Version::V1, G)]);
    a.pass(30.0);
    assert_eq!(a.leave(G), []);
    assert!(a.host.groups.is_empty());
}

#[test]
fn the_highest_version_may_be_set() {
    // igmp_max_version
    let mut a = At::new();
    a.max = Version::V2;
    assert_eq!(a.join(G), [Send::Report(Version::V2, G)]);
    a.pass(30.0);
    a.max = Version::V1;
    assert_eq!(a.leave(G), []);
}

#[test]
fn the_router_says_how_robust() {
    // RFC 3376 4.1.6, 4.1.7: three times; and the older router is gone later
    let mut a = At::new();
    let q = Query {
        version: Version::V3,
        within: s(1.0),
        group: 0,
        sources: [].into(),
        robustness: 3,
        interval: s(60.0),
    };
    a.now(|h, now| h.query(&q, now));
    assert_eq!(a.pass(9.0), []);
    a.join(G);
    assert_eq!(a.pass(9.0).len(), 2);
    a.asked(Version::V2, 1.0, 0, &[]);
    a.pass(189.0);
    assert_eq!(a.version(), Version::V2);
    a.pass(1.0);
    assert_eq!(a.version(), Version::V3);
}

#[test]
fn all_systems_is_never_reported() {
    // RFC 2236 6: 224.0.0.1 is a special case
    let mut a = At::new();
    assert_eq!(a.join(ALL_SYSTEMS), []);
    for v in [Version::V3, Version::V2, Version::V1] {
        a.asked(v, 1.0, 0, &[]);
        a.asked(v, 1.0, ALL_SYSTEMS, &[]);
        assert_eq!(a.pass(30.0), []);
    }
    assert_eq!(a.leave(ALL_SYSTEMS), []);
    assert!(a.host.groups.is_empty());
}

#[test]
fn an_interface_that_comes_up_again_says_all() {
    let mut a = At::new();
    a.join(G);
    a.host.silence();
    assert_eq!(a.pass(9.0), []);
    let said = a.now(|h, now| h.announce(now));
    assert_eq!(said, [record(Kind::ToExclude, G, &[])]);
    assert_eq!(a.pass(9.0).len(), 1);
}

proptest! {
    /// Whatever comes in whatever order: no report of what was not joined, every delay is
    /// kept, and who has left everything and waits has nothing left.
    #[test]
    fn nothing_is_left_over(steps in prop::collection::vec((0..9u8, 0..4u32, any::<u16>()), 0..80)) {
        let mut a = At::new();
        for (what, g, n) in steps {
            let (group, sources) = (G + g, [u32::from(n) % 3, 9]);
            let within = f64::from(n % 100) / 10.0;
            match what {
                0 => drop(a.join(group)),
                1 => drop(a.leave(group)),
                2 => drop(a.change(group, n & 1 == 0, &sources[..usize::from(n % 3)])),
                3 => a.asked(Version::V3, within, group * u32::from(n & 1), &sources),
                4 => a.asked(Version::V3, within, group * u32::from(n & 1), &[]),
                5 => a.asked(Version::V2, within, group * u32::from(n & 1), &[]),
                6 => a.asked(Version::V1, 10.0, 0, &[]),
                7 => drop(a.now(|h, now| h.heard(group, now))),
                _ => {
                    for (_, said) in a.pass(within) {
                        let groups: Vec<u32> = match said {
                            Send::Records(r) => r.iter().map(|r| r.group).collect(),
                            Send::Report(_, g) | Send::Leave(g) => vec![g],
                        };
                        prop_assert!(!groups.is_empty());
                        prop_assert!(groups.iter().all(|g| (G..G + 4).contains(g)));
                    }
                }
            }
        }
        for g in 0..4 {
            a.leave(G + g);
        }
        a.pass(20.0);
        prop_assert!(a.host.groups.is_empty());
        a.pass(20.0);
        prop_assert_eq!(a.host.next(), None);
    }
}
