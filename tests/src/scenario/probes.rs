//! The probes of a case: what they are told to do, what they saw.

use streams::Errno;

use super::text::{Tok, show};
use super::{Failure, Machine, Outcome, Wrong, matches};
use crate::probe::{self, Place, Side};

impl Machine {
    /// What a probe is told; `None` if the verb is none of them.
    pub(super) fn probe_verb(
        &mut self,
        verb: &str,
        args: &[Tok],
    ) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "do" => {
                let (id, side, op) = self.on_probe(args)?;
                let side = side.ok_or("which side, rd or wr?")?;
                self.perform(id, side, op)?
            }
            "emit" => {
                let (id, side, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("putnext")];
                op.extend_from_slice(what);
                self.perform(id, side.unwrap_or(Side::Rd), &op)?
            }
            "after" => {
                let (id, side, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("after")];
                op.extend_from_slice(what);
                self.perform(id, side.unwrap_or(Side::Rd), &op)?
            }
            "reply" => {
                let (id, _, what) = self.on_probe(args)?;
                let mut op = vec![Tok::word("reply")];
                op.extend_from_slice(what);
                self.perform(id, Side::Wr, &op)?
            }
            "answer" => {
                let (id, _, what) = self.on_probe(args)?;
                probe::answer(id, what)?;
                Ok(Vec::new())
            }
            "set" => {
                let (id, side, what) = self.on_probe(args)?;
                let [Tok::Word(how)] = what else {
                    return Err("%set [@n] [rd|wr] HOW".into());
                };
                probe::set(id, side, how)?;
                if how == "go" {
                    self.perform(id, side.unwrap_or(Side::Wr), &[Tok::word("qenable")])?
                } else {
                    Ok(Vec::new())
                }
            }
            "onopen" => {
                probe::on_open(args)?;
                Ok(Vec::new())
            }
            _ => return Ok(None),
        }))
    }

    /// ESRCH if the probe could not be got to do it.
    fn perform(&mut self, id: usize, side: Side, op: &[Tok]) -> Result<Outcome, Wrong> {
        let kernel = self.kernel.clone();
        let done = probe::run(id, side, op, || {
            kernel.run_until_idle();
        });
        done.map(|r| r.ok_or(Errno::ESRCH))
    }

    pub(super) fn sees(&mut self, args: &[Tok]) -> Result<(), Failure> {
        let (id, side, want) = self.on_probe(args)?;
        let side = match (side, probe::place(id)) {
            (Some(s), _) => s,
            (None, Place::Driver) => Side::Wr,
            (None, Place::Lower) => Side::Rd,
            (None, Place::Module) => {
                return Err(Failure::Wrong("which side of the module, rd or wr?".into()));
            }
        };
        let seen = probe::take_seen(id, side);
        let want: Vec<&[Tok]> = match want {
            [t] if t.is("nothing") => Vec::new(),
            w => w.split(|t| t.is(",")).collect(),
        };
        let all = |v: &[&[Tok]]| {
            let texts: Vec<String> = v.iter().map(|m| show(m)).collect();
            if texts.is_empty() {
                "nothing".into()
            } else {
                texts.join(", ")
            }
        };
        let fits = want.len() == seen.len()
            && want.iter().zip(&seen).all(|(w, s)| {
                let (w, s) = (w.split(|t| t.is("+")), s.split(|t| t.is("+")));
                let (w, s): (Vec<_>, Vec<_>) = (w.collect(), s.collect());
                w.len() == s.len() && w.iter().zip(&s).all(|(w, s)| matches(w, s, &mut self.vars))
            });
        if fits {
            return Ok(());
        }
        let seen: Vec<&[Tok]> = seen.iter().map(Vec::as_slice).collect();
        Err(Failure::Differs(format!(
            "expected {}, got {}",
            all(&want),
            all(&seen)
        )))
    }

    /// `{m.wr {fd.wr fd.wr} m.wr}`: who was entered and left, in order.
    pub(super) fn path(&self) -> Vec<Tok> {
        let name = |id: usize| {
            let known = self.probes.iter().find(|(_, i)| **i == id);
            known.map_or_else(|| id.to_string(), |(n, _)| n.clone())
        };
        probe::take_path()
            .into_iter()
            .map(|(id, which, entered)| {
                let (a, b) = if entered { ("{", "") } else { ("", "}") };
                Tok::Word(format!("{a}{}.{which}{b}", name(id)))
            })
            .collect()
    }
}
