//! The host's side of IGMP on one interface: what to report, when.
//!
//! ```text
//!   join, leave ──► change ──► report at once, and again for robustness
//!   query ────────► query ───► a timer, anywhere within the time the router allows
//!   v1, v2 report ► heard ───► somebody else has said it: silence
//!   time ─────────► expire ──► what is due
//!
//!   v1, v2   a group is idle or its timer runs; reported: was the last report ours?
//!   v3       all groups at once (general), a group, some sources of it (asked);
//!            changes that are still to be repeated (mode, sources), each counted down
//! ```
//!
//! Nothing here does I/O or keeps time: each call is told the time and returns what is to be
//! sent.
//!
//! Spec: RFC 1112 appendix I, RFC 2236 sections 3 to 6, RFC 3376 sections 5, 7.2 and 8.
//! Kept: 224.0.0.1 is never reported; who hears an older router speaks its version until it
//! has been silent for robustness times the query interval and ten seconds.
//! Differs: unsolicited reports of version 3 are a second apart at most (RFC 3376 8.11), of
//! Solaris ten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::filter::Filter;
use crate::igmp::{ALL_SYSTEMS, Kind, Query, Record, Send, Version};

/// Robustness variable and query interval of a router that says none (RFC 3376 8.1, 8.2).
const ROBUSTNESS: u8 = 2;
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
/// Query response interval (8.3).
const RESPONSE_INTERVAL: Duration = Duration::from_secs(10);
/// Unsolicited report interval, of version 1 and 2 (RFC 2236 8.10), and of version 3 (8.11).
const UNSOLICITED: Duration = Duration::from_secs(10);
const UNSOLICITED_V3: Duration = Duration::from_secs(1);
/// Sources asked about that are remembered; of more, all are reported.
const ASKED: usize = 64;

/// Random delays: xorshift64, from the kernel's seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same delays for the same seed.
    pub fn seeded(seed: u64) -> Rng {
        Rng(seed | 1)
    }

    /// Up to `most`, and not nothing.
    pub fn delay(&mut self, most: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let ms = most.as_millis().max(1) as u64;
        Duration::from_millis(self.0 % ms + 1)
    }
}

/// What a call is told.
pub struct Now<'a> {
    /// The time.
    pub time: Duration,
    /// Where delays come from.
    pub rng: &'a mut Rng,
    /// The highest version that is spoken (`igmp_max_version`).
    pub max: Version,
}

/// A group on an interface.
#[derive(Clone, Debug, Default)]
struct Group {
    filter: Filter,
    /// When a query about it is answered; in version 1 and 2 the next report, asked for or
    /// not.
    timer: Option<Duration>,
    /// The sources that were asked about; none: the group.
    asked: BTreeSet<u32>,
    /// The last report on the link was ours (version 2).
    reported: bool,
    /// When a change is said again (version 3).
    again: Option<Duration>,
    /// How often its mode, or that there is a member, is to be said again.
    mode: u8,
    /// How often a change of each source is to be said again.
    sources: BTreeMap<u32, u8>,
}

impl Group {
    /// What the filter is, in answer to a query (RFC 3376 5.2).
    fn current(&self, group: u32) -> Option<Record> {
        let f = &self.filter;
        let sources: Vec<u32> = match (self.asked.is_empty(), f.exclude) {
            (true, _) => f.sources.iter().copied().collect(),
            (_, false) => self.asked.intersection(&f.sources).copied().collect(),
            (_, true) => self.asked.difference(&f.sources).copied().collect(),
        };
        if !self.asked.is_empty() {
            let kind = Kind::IsInclude;
            return (!sources.is_empty()).then_some(Record {
                kind,
                group,
                sources,
            });
        }
        let kind = match f.exclude {
            true => Kind::IsExclude,
            false => Kind::IsInclude,
        };
        (!f.is_nothing()).then_some(Record {
            kind,
            group,
            sources,
        })
    }

    /// What has changed, and one time less to say it (RFC 3376 5.1).
    fn changed(&mut self, group: u32) -> Vec<Record> {
        let f = &self.filter;
        let mut records = Vec::new();
        let mut record = |kind, sources: Vec<u32>| {
            records.push(Record {
                kind,
                group,
                sources,
            });
        };
        if self.mode > 0 {
            self.mode -= 1;
            let kind = match f.exclude {
                true => Kind::ToExclude,
                false => Kind::ToInclude,
            };
            record(kind, f.sources.iter().copied().collect());
        } else {
            let (allow, block): (Vec<u32>, Vec<u32>) =
                self.sources.keys().partition(|s| f.admits(**s));
            for (kind, sources) in [(Kind::Allow, allow), (Kind::Block, block)] {
                if !sources.is_empty() {
                    record(kind, sources);
                }
            }
        }
        for n in self.sources.values_mut() {
            *n -= 1;
        }
        self.sources.retain(|_, n| *n > 0);
        records
    }

    fn quiet(&mut self) {
        (self.timer, self.again, self.mode) = (None, None, 0);
        self.asked.clear();
        self.sources.clear();
    }

    fn unfinished(&self) -> bool {
        self.mode > 0 || !self.sources.is_empty()
    }
}

/// IGMP on one interface.
#[derive(Clone, Debug)]
pub struct Host {
    groups: BTreeMap<u32, Group>,
    /// The version spoken when it was last looked at.
    version: Version,
    /// Until when a router of version 1, of version 2 is believed to be there.
    v1: Option<Duration>,
    v2: Option<Duration>,
    robustness: u8,
    interval: Duration,
    /// When a general query of version 3 is answered.
    general: Option<Duration>,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            groups: BTreeMap::new(),
            version: Version::V3,
            v1: None,
            v2: None,
            robustness: ROBUSTNESS,
            interval: QUERY_INTERVAL,
            general: None,
        }
    }
}

impl Host {
    /// Does the interface receive this group?
    #[inline]
    pub fn hears(&self, group: u32) -> bool {
        self.filter(group).is_some()
    }

    /// The filter of a group that it receives.
    pub fn filter(&self, group: u32) -> Option<&Filter> {
        let f = self.groups.get(&group).map(|g| &g.filter);
        f.filter(|f| !f.is_nothing())
    }

    /// Groups that it receives, and their filters.
    pub fn groups(&self) -> impl Iterator<Item = (u32, &Filter)> {
        let all = self.groups.iter().map(|(a, g)| (*a, &g.filter));
        all.filter(|(_, f)| !f.is_nothing())
    }

    /// The version that it speaks now. One that is another than before ends all that was
    /// still to be said (RFC 3376 7.2.1).
    pub fn version(&mut self, now: &Now<'_>) -> Version {
        let there = |until: Option<Duration>| until.is_some_and(|t| now.time < t);
        let version = match (there(self.v1), there(self.v2)) {
            (true, _) => Version::V1,
            (_, true) => Version::V2,
            _ => Version::V3,
        };
        let version = version.min(now.max);
        if version != self.version {
            self.version = version;
            self.silence();
        }
        version
    }

    /// Nothing more is to be said: the interface is down.
    pub fn silence(&mut self) {
        self.general = None;
        self.groups.values_mut().for_each(Group::quiet);
        self.groups.retain(|_, g| !g.filter.is_nothing());
    }

    /// Says every group anew: the interface has come up.
    pub fn announce(&mut self, now: &mut Now<'_>) -> Vec<Send> {
        let all: Vec<(u32, Filter)> = self.groups().map(|(a, f)| (a, f.clone())).collect();
        self.groups.clear();
        (self.v1, self.v2) = (None, None);
        let said = all.into_iter().flat_map(|(a, f)| self.change(a, f, now));
        said.collect()
    }

    /// The interface is to receive a group so from now on. What is to be sent at once.
    pub fn change(&mut self, group: u32, to: Filter, now: &mut Now<'_>) -> Vec<Send> {
        let version = self.version(now);
        let robustness = self.robustness;
        let g = self.groups.entry(group).or_default();
        let was = std::mem::replace(&mut g.filter, to);
        if was == g.filter || group == ALL_SYSTEMS {
            self.tidy(group);
            return Vec::new();
        }
        let mut said = Vec::new();
        if version == Version::V3 {
            if was.exclude != g.filter.exclude {
                g.mode = robustness;
                g.sources.clear();
            } else {
                let differ = was.sources.symmetric_difference(&g.filter.sources);
                g.sources.extend(differ.map(|s| (*s, robustness)));
            }
            let records = g.changed(group);
            if !records.is_empty() {
                said.push(Send::Records(records));
            }
            let next = g.unfinished().then(|| now.rng.delay(UNSOLICITED_V3));
            g.again = next.map(|d| now.time + d);
            if g.filter.is_nothing() {
                (g.timer, g.asked) = (None, BTreeSet::new());
            }
        } else if was.is_nothing() {
            said.push(Send::Report(version, group));
            g.reported = true;
            g.mode = robustness.saturating_sub(1);
            g.timer = (g.mode > 0).then(|| now.time + now.rng.delay(UNSOLICITED));
        } else if g.filter.is_nothing() {
            // RFC 2236 3: who has not reported last need not say that it leaves.
            if version == Version::V2 && g.reported {
                said.push(Send::Leave(group));
            }
            g.quiet();
        }
        self.tidy(group);
        said
    }

    /// Forgets a group that nobody wants and of which nothing is left to be said.
    fn tidy(&mut self, group: u32) {
        let gone = |g: &Group| g.filter.is_nothing() && !g.unfinished();
        if self.groups.get(&group).is_some_and(gone) {
            self.groups.remove(&group);
        }
    }

    /// A router asks.
    pub fn query(&mut self, q: &Query, now: &mut Now<'_>) {
        // RFC 3376 8.12: older version querier present timeout.
        let gone = now.time + self.interval * self.robustness.into() + RESPONSE_INTERVAL;
        match q.version {
            Version::V1 => self.v1 = Some(gone),
            Version::V2 => self.v2 = Some(gone),
            Version::V3 => {
                // 4.1.6, 4.1.7: as the querier has them.
                self.robustness = if q.robustness == 0 {
                    ROBUSTNESS
                } else {
                    q.robustness
                };
                self.interval = if q.interval.is_zero() {
                    QUERY_INTERVAL
                } else {
                    q.interval
                };
            }
        }
        let at = now.time + now.rng.delay(q.within);
        if self.version(now) == Version::V3 {
            return self.query_v3(q, at);
        }
        let within = now.time + q.within;
        let asked = |a: u32| a != ALL_SYSTEMS && (q.group == 0 || q.group == a);
        for (_, g) in self.groups.iter_mut().filter(|(a, _)| asked(**a)) {
            // RFC 2236 3: a timer that runs is set anew only if it would be too late.
            if g.timer.is_none_or(|t| t > within) {
                g.timer = Some(now.time + now.rng.delay(q.within));
            }
        }
    }

    /// RFC 3376 5.2, its five rules.
    fn query_v3(&mut self, q: &Query, at: Duration) {
        if self.general.is_some_and(|t| t < at) {
            return;
        }
        if q.group == 0 {
            self.general = Some(at);
            return;
        }
        let known = self.groups.get_mut(&q.group);
        let Some(g) = known.filter(|g| !g.filter.is_nothing() && q.group != ALL_SYSTEMS) else {
            return;
        };
        let whole_group = g.timer.is_some() && g.asked.is_empty();
        if q.sources.is_empty() || whole_group {
            g.asked.clear();
        } else {
            g.asked.extend(&q.sources);
        }
        if g.asked.len() > ASKED {
            g.asked.clear();
        }
        g.timer = Some(g.timer.map_or(at, |t| t.min(at)));
    }

    /// A neighbour has reported a group, in version 1 or 2: we need not. True if the group is
    /// ours.
    pub fn heard(&mut self, group: u32, now: &Now<'_>) -> bool {
        let version = self.version(now);
        let Some(g) = self.groups.get_mut(&group) else {
            return false;
        };
        if version < Version::V3 {
            (g.timer, g.mode, g.reported) = (None, 0, false);
        }
        !g.filter.is_nothing()
    }

    /// When [`Host::expire`] has something to do next.
    pub fn next(&self) -> Option<Duration> {
        let timers = self.groups.values().flat_map(|g| [g.timer, g.again]);
        timers.chain([self.general]).flatten().min()
    }

    /// Time has passed: what is due.
    pub fn expire(&mut self, now: &mut Now<'_>) -> Vec<Send> {
        let version = self.version(now);
        let due = |t: Option<Duration>| t.is_some_and(|t| t <= now.time);
        let (mut said, mut records) = (Vec::new(), Vec::new());
        let general = due(self.general);
        if general {
            self.general = None;
        }
        for (&a, g) in self.groups.iter_mut().filter(|(a, _)| **a != ALL_SYSTEMS) {
            if version < Version::V3 {
                if due(g.timer) {
                    said.push(Send::Report(version, a));
                    g.reported = true;
                    g.mode = g.mode.saturating_sub(1);
                    g.timer = (g.mode > 0).then(|| now.time + now.rng.delay(UNSOLICITED));
                }
                continue;
            }
            if general || due(g.timer) {
                if general {
                    g.asked.clear(); // all of it is said
                }
                records.extend(g.current(a));
                g.timer = None;
                g.asked.clear();
            }
            if due(g.again) {
                said.push(Send::Records(g.changed(a)));
                let next = g.unfinished().then(|| now.rng.delay(UNSOLICITED_V3));
                g.again = next.map(|d| now.time + d);
            }
        }
        self.groups
            .retain(|_, g| !g.filter.is_nothing() || g.unfinished());
        if !records.is_empty() {
            said.insert(0, Send::Records(records));
        }
        said
    }
}

#[cfg(test)]
mod tests;
