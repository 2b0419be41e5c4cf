//! Processes: who makes the calls, forks and signals.
//!
//! Spec: fork(2), exec(2), kill(2), sigaction(2), streamio(7I) I_ESETSIG.

use std::sync::Arc;

use streams::Cred;

use super::text::Tok;
use super::{Machine, Outcome, Wrong, nothing};
use crate::probe;

impl Machine {
    /// What is done to a process; `None` if the verb is none of them.
    pub(super) fn process_verb(
        &mut self,
        verb: &str,
        args: &[Tok],
    ) -> Result<Option<Outcome>, Wrong> {
        Ok(Some(match verb {
            "proc" => {
                let Some(Tok::Word(name)) = args.first() else {
                    return Err("%proc NAME".into());
                };
                let cred = match args.get(1) {
                    Some(Tok::Key(k, v)) if k == "uid" => match **v {
                        Tok::Num(0) => Cred::ROOT,
                        Tok::Num(n) => Cred::user(n as u32),
                        _ => return Err("uid=N".into()),
                    },
                    _ => Cred::ROOT,
                };
                self.procs
                    .insert(name.clone(), Arc::new(self.kernel.process(cred)));
                Ok(Vec::new())
            }
            "as" => {
                let (name, _) = self.named_proc(args);
                if !args.first().is_some_and(|t| t.is(&name)) {
                    return Err("%as PROCESS".into());
                }
                probe::set_process(&self.process(&name)?);
                self.proc = name;
                Ok(Vec::new())
            }
            "fork" => {
                let Some(Tok::Word(name)) = args.first() else {
                    return Err("%fork NAME".into());
                };
                let child = self.process(&self.proc)?.fork();
                self.procs.insert(name.clone(), Arc::new(child));
                Ok(Vec::new())
            }
            "exec" => {
                let (name, _) = self.named_proc(args);
                self.process(&name)?.exec();
                Ok(Vec::new())
            }
            "exit" => {
                let (name, _) = self.named_proc(args);
                self.process(&name)?.exit();
                self.fds.retain(|_, (owner, _)| *owner != name);
                Ok(Vec::new())
            }
            "limit" => {
                let [Tok::Num(n)] = args else {
                    return Err("%limit DESCRIPTORS".into());
                };
                self.process(&self.proc)?.set_nofiles(*n as usize);
                Ok(Vec::new())
            }
            "sendsig" => {
                let [to, Tok::Word(sig)] = args else {
                    return Err("%sendsig PROCESS|PID SIGNAL".into());
                };
                let pid = self.pid(Some(to))?;
                let sig = probe::signal(sig)?;
                self.process(&self.proc)?
                    .send_signal(pid, Some(sig))
                    .map(nothing)
            }
            "kill" => {
                let (name, rest) = self.named_proc(args);
                let [Tok::Word(sig)] = &rest[..] else {
                    return Err("%kill [proc] SIGNAL".into());
                };
                self.process(&name)?.kill(probe::signal(sig)?);
                Ok(Vec::new())
            }
            "sigaction" => {
                let (name, rest) = self.named_proc(args);
                let [Tok::Word(sig), Tok::Word(how)] = &rest[..] else {
                    return Err("%sigaction [proc] SIGNAL ignore|catch|default".into());
                };
                let how = match how.as_str() {
                    "ignore" => streams::Action::Ignore,
                    "catch" => streams::Action::Catch,
                    "default" => streams::Action::Default,
                    _ => return Err(format!("{how}?")),
                };
                let p = self.process(&name)?;
                p.sigaction(probe::signal(sig)?, how).map(nothing)
            }
            _ => return Ok(None),
        }))
    }

    /// `%ioctl I_ESETSIG q ..`: a process by its name, `-q` for its group, or a number.
    pub(super) fn pid(&self, tok: Option<&Tok>) -> Result<i32, Wrong> {
        let Some(tok) = tok else {
            return Err("which process?".into());
        };
        match tok {
            Tok::Num(n) => Ok(*n as i32),
            Tok::Word(w) => match w.strip_prefix('-') {
                Some(w) => Ok(-(self.process(w)?.pgrp() as i32)),
                None => Ok(self.process(w)?.pid() as i32),
            },
            t => Err(format!("{t} is no process")),
        }
    }

    pub(super) fn signals(&self, name: &str) -> Result<Vec<Tok>, Wrong> {
        let all = self.process(name)?.take_signals();
        if all.is_empty() {
            return Ok(vec![Tok::word("none")]);
        }
        Ok(all
            .into_iter()
            .map(|s| Tok::word(format!("{s:?}")))
            .collect())
    }
}
