//! Kernel statistics: named counters of a module, an instance, a name and a class.
//!
//! ```text
//!   Module::kstats(shared) ── when somebody asks ──► Kstat le:0:le0  net   ipackets 7 ..
//!   Kernel::kstats() ──► Snapshot ── select "le:0:le0:*packets" ──► rows
//!                            └── since(an earlier one) ──► what has moved
//! ```
//!
//! A module keeps its counters where it needs them, in what its instances share, and hands
//! out a copy when it is asked (`ks_update`): counting costs nothing more than the count.
//! The statistics of a module that has never been opened are not there, as those of a
//! driver that is not attached.
//!
//! Spec: kstat(3KSTAT), kstat_chain_update(3KSTAT), kstat(9S) KSTAT_TYPE_NAMED, kstat(1M).
//! Kept: the four names of a statistic and their globs; a chain in the order of the names;
//! snaptime and crtime; a 32-bit counter wraps, and so does its difference.
//! Differs: a program asks [`Kernel::kstats`](crate::Kernel::kstats), there is no
//! /dev/kstat; a snapshot is of the whole chain.
//! Not done: KSTAT_TYPE_RAW, _INTR, _IO and _TIMER; kstat_write.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::errno::Errno;
use crate::kernel::Env;
use crate::registry::Entry;

/// The value of a statistic (`kstat_named_t`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// KSTAT_DATA_UINT32: a counter that wraps.
    U32(u32),
    /// KSTAT_DATA_UINT64.
    U64(u64),
    /// KSTAT_DATA_STRING.
    Text(String),
}

impl Value {
    /// The number, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::U32(n) => Some(u64::from(*n)),
            Value::U64(n) => Some(*n),
            Value::Text(_) => None,
        }
    }

    /// What has been added since an earlier value; a text is what it is now.
    fn since(&self, earlier: &Value) -> Value {
        match (self, earlier) {
            (Value::U32(n), Value::U32(e)) => Value::U32(n.wrapping_sub(*e)),
            (Value::U64(n), Value::U64(e)) => Value::U64(n.wrapping_sub(*e)),
            _ => self.clone(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::U32(n) => n.fmt(f),
            Value::U64(n) => n.fmt(f),
            Value::Text(t) => t.fmt(f),
        }
    }
}

/// The statistics of one thing, KSTAT_TYPE_NAMED.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kstat {
    /// `ks_module`: the driver or module, `le`.
    pub module: String,
    /// `ks_instance`: which of them, 0 for le0.
    pub instance: u32,
    /// `ks_name`: of what, `le0`.
    pub name: String,
    /// `ks_class`: `net`, `mib2`.
    pub class: &'static str,
    /// `ks_crtime`: the kernel's time when it began to count.
    pub crtime: Duration,
    /// The statistics in the order of the module.
    pub data: Vec<(Cow<'static, str>, Value)>,
}

impl Kstat {
    /// kstat_create(9F), without statistics yet.
    pub fn new(module: &str, instance: u32, name: impl Into<String>, class: &'static str) -> Kstat {
        Kstat {
            module: module.to_owned(),
            instance,
            name: name.into(),
            class,
            crtime: Duration::ZERO,
            data: Vec::new(),
        }
    }

    /// Has counted since this time of the kernel.
    pub fn since_time(mut self, crtime: Duration) -> Kstat {
        self.crtime = crtime;
        self
    }

    /// Adds a 32-bit counter: the low half of `n`.
    pub fn u32(&mut self, name: impl Into<Cow<'static, str>>, n: u64) {
        self.data.push((name.into(), Value::U32(n as u32)));
    }

    /// Adds a 64-bit counter.
    pub fn u64(&mut self, name: impl Into<Cow<'static, str>>, n: u64) {
        self.data.push((name.into(), Value::U64(n)));
    }

    /// Adds a text.
    pub fn text(&mut self, name: impl Into<Cow<'static, str>>, text: impl Into<String>) {
        self.data.push((name.into(), Value::Text(text.into())));
    }

    /// kstat_data_lookup(3KSTAT).
    pub fn get(&self, statistic: &str) -> Option<&Value> {
        let mut all = self.data.iter();
        all.find(|(n, _)| n == statistic).map(|(_, v)| v)
    }
}

/// Every statistic of a kernel at one time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// `ks_snaptime`: the kernel's time.
    pub at: Duration,
    /// By module, instance and name.
    pub chain: Vec<Kstat>,
}

impl Snapshot {
    /// kstat_lookup(3KSTAT).
    pub fn find(&self, module: &str, instance: u32, name: &str) -> Option<&Kstat> {
        let mut all = self.chain.iter();
        all.find(|k| k.module == module && k.instance == instance && k.name == name)
    }

    /// The number of `module:instance:name:statistic`, spelt out.
    pub fn number(&self, path: &str) -> Option<u64> {
        let mut parts = path.splitn(4, ':');
        let (module, instance) = (parts.next()?, parts.next()?.parse().ok()?);
        let k = self.find(module, instance, parts.next()?)?;
        k.get(parts.next()?)?.number()
    }

    /// What has moved since an earlier snapshot: differences of numbers; what was not there
    /// then counts from nothing.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let mut now = self.clone();
        for k in &mut now.chain {
            let Some(then) = earlier.find(&k.module, k.instance, &k.name) else {
                continue;
            };
            if then.crtime != k.crtime {
                continue; // another one of the same name: le0 was unplumbed and plumbed again
            }
            for (name, v) in &mut k.data {
                if let Some(e) = then.get(name) {
                    *v = v.since(e);
                }
            }
        }
        now
    }

    /// What the selectors name, statistics that none of them does left out. Without
    /// selectors everything.
    pub fn select(&self, selectors: &[Selector]) -> Snapshot {
        if selectors.is_empty() {
            return self.clone();
        }
        let mut chain = Vec::new();
        for k in &self.chain {
            let mine: Vec<&Selector> = selectors.iter().filter(|s| s.takes(k)).collect();
            let mut k = k.clone();
            k.data
                .retain(|(n, _)| mine.iter().any(|s| glob(&s.statistic, n)));
            if !k.data.is_empty() {
                chain.push(k);
            }
        }
        Snapshot { at: self.at, chain }
    }
}

/// `module:instance:name:statistic` as kstat(1M) takes it: a part that is empty or missing
/// takes all, `*`, `?` and `[a-z]` are globs (gmatch(3GEN)).
///
/// ```
/// use streams::kstat::Selector;
/// let s: Selector = "le:0::*packets".parse()?;
/// assert_eq!(s.to_string(), "le:0:*:*packets");
/// assert!("le:x:le0".parse::<Selector>().is_err());
/// # Ok::<(), streams::Errno>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    module: String,
    instance: Option<u32>,
    name: String,
    statistic: String,
    class: String,
}

impl Selector {
    /// Only of this class.
    pub fn of_class(mut self, class: &str) -> Selector {
        class.clone_into(&mut self.class);
        self
    }

    fn takes(&self, k: &Kstat) -> bool {
        glob(&self.module, &k.module)
            && self.instance.is_none_or(|i| i == k.instance)
            && glob(&self.name, &k.name)
            && glob(&self.class, k.class)
    }
}

impl Default for Selector {
    /// Takes everything.
    fn default() -> Selector {
        let all = || "*".to_owned();
        Selector {
            module: all(),
            instance: None,
            name: all(),
            statistic: all(),
            class: all(),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = Errno;

    /// EINVAL: more than four parts, or an instance that is no number.
    fn from_str(text: &str) -> Result<Selector, Errno> {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() > 4 {
            return Err(Errno::EINVAL);
        }
        let part = |i: usize| match parts.get(i) {
            None | Some(&"") => "*",
            Some(p) => p,
        };
        let instance = match part(1) {
            "*" => None,
            n => Some(n.parse().map_err(|_| Errno::EINVAL)?),
        };
        Ok(Selector {
            module: part(0).to_owned(),
            instance,
            name: part(2).to_owned(),
            statistic: part(3).to_owned(),
            ..Selector::default()
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.module)?;
        match self.instance {
            Some(i) => write!(f, "{i}:")?,
            None => f.write_str("*:")?,
        }
        write!(f, "{}:{}", self.name, self.statistic)
    }
}

/// gmatch(3GEN): does the glob match all of the text? In time pattern times text.
fn glob(pattern: &str, text: &str) -> bool {
    let p: Vec<char> = pattern.chars().collect();
    let t: Vec<char> = text.chars().collect();
    let (mut pi, mut ti) = (0, 0);
    // Where to go on if what follows the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while ti < t.len() {
        if p.get(pi) == Some(&'*') {
            star = Some((pi + 1, ti));
            pi += 1;
        } else if let Some(next) = one(&p, pi, t[ti]) {
            (pi, ti) = (next, ti + 1);
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (pi, ti) = (after, from + 1);
        } else {
            return false;
        }
    }
    p[pi..].iter().all(|c| *c == '*')
}

/// Matches one character with what is at `at`; where the pattern goes on.
fn one(p: &[char], at: usize, c: char) -> Option<usize> {
    match *p.get(at)? {
        '?' => Some(at + 1),
        '[' => {
            let end = at + 1 + p.get(at + 1..)?.iter().position(|x| *x == ']')?;
            let (not, set) = match p.get(at + 1) {
                Some('!') => (true, &p[at + 2..end]),
                _ => (false, &p[at + 1..end]),
            };
            let mut i = 0;
            let mut found = false;
            while i < set.len() {
                if set.get(i + 1) == Some(&'-') && i + 2 < set.len() {
                    found |= (set[i]..=set[i + 2]).contains(&c);
                    i += 3;
                } else {
                    found |= set[i] == c;
                    i += 1;
                }
            }
            (found != not).then_some(end + 1)
        }
        x => (x == c).then_some(at + 1),
    }
}

/// Asks every module for its statistics.
pub(crate) fn snapshot(env: &Arc<Env>) -> Snapshot {
    let entries: Vec<Arc<Entry>> = {
        let reg = env.registry.read();
        let drivers = reg.drivers.values().map(|d| d.entry.clone());
        drivers.chain(reg.modules.values().cloned()).collect()
    };
    let mut all = BTreeMap::new();
    for e in entries {
        for k in e.kstats() {
            // A driver and a module that share their state tell the same.
            let key = (k.module.clone(), k.instance, k.name.clone());
            all.entry(key).or_insert(k);
        }
    }
    Snapshot {
        at: env.now(),
        chain: all.into_values().collect(),
    }
}

#[cfg(test)]
mod tests;
