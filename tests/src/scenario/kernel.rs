//! The kernel of a case: its memory, tunables, drivers, clock and statistics.
//!
//! Spec: kstat(1M), add_drv(1M), modinfo(1M), system(4).

use streams::Kernel;

use super::text::Tok;
use super::{Machine, Outcome, Wrong, time, tunnel};

impl Machine {
    /// What is done to the kernel; `None` if the verb is none of them.
    pub(super) fn kernel_verb(
        &mut self,
        verb: &str,
        args: &[Tok],
    ) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "nomem" => {
                let after = match args {
                    [Tok::Num(n)] => *n as u32,
                    _ => 0,
                };
                self.kernel.fail_allocations(Some(after));
                Ok(Vec::new())
            }
            "mem" => {
                self.kernel.fail_allocations(None);
                Ok(Vec::new())
            }
            "tune" => {
                use streams::Tunable::{NStrPush, StrCtlSz, StrMsgSz};
                let all = [
                    ("strmsgsz", StrMsgSz),
                    ("strctlsz", StrCtlSz),
                    ("nstrpush", NStrPush),
                ];
                let [Tok::Key(k, v)] = args else {
                    return Err("%tune NAME=N".into());
                };
                let known = all.iter().find(|(n, _)| n == k);
                let (Some((_, t)), Tok::Num(n)) = (known, &**v) else {
                    return Err(format!("%tune {k}?"));
                };
                self.kernel.tune(*t, *n as usize);
                Ok(Vec::new())
            }
            "kstat" => Ok(kstat(&self.kernel, args)?),
            "add_drv" | "rem_drv" | "modinfo" => tunnel::kernel(&self.kernel, verb, args)?,
            "advance" => {
                let [Tok::Word(t)] = args else {
                    return Err("%advance TIME".into());
                };
                self.kernel.advance(time(t)?);
                Ok(Vec::new())
            }
            _ => return Ok(None),
        }))
    }
}

/// `%kstat`: a statistic; `class` is that of the kstat (kstat(1M) shows it as one).
fn kstat(k: &Kernel, args: &[Tok]) -> Result<Vec<Tok>, Wrong> {
    let [Tok::Word(path)] = args else {
        return Err("%kstat module:instance:name:statistic".into());
    };
    let parts: Vec<&str> = path.split(':').collect();
    let [module, instance, name, statistic] = parts[..] else {
        return Err(format!("{path} has not four parts"));
    };
    let instance = instance.parse().map_err(|_| format!("{path}: instance"))?;
    let all = k.kstats();
    let Some(found) = all.find(module, instance, name) else {
        return Ok(vec![Tok::word("nothing")]);
    };
    Ok(vec![match (statistic, found.get(statistic)) {
        ("class", _) => Tok::word(found.class),
        (_, Some(v)) => match v.number() {
            Some(n) => Tok::Num(n as i64),
            None => Tok::word(v.to_string()),
        },
        (_, None) => return Err(format!("{path}: no such statistic")),
    }])
}
