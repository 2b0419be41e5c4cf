//! T_OPTMGMT_REQ: the options of one stream, looked at and set. What each provider has is
//! in udp_options.rs, tcp_options.rs and raw_options.rs; groups of all in membership.rs.
//!
//! ```text
//!   SVR4  [level name len value]..         one that can't be: T_ERROR_ACK, nothing is set
//!   XTI   [len level name status value]..  each has its own status; the ack has the worst
//!
//!   T_NEGOTIATE ──► set        T_CURRENT, T_CHECK ──► looked up        T_DEFAULT ──► a fresh
//!                                                                      stream's
//! ```
//!
//! Spec: tihdr(7P) T_SVR4_OPTMGMT_REQ and T_OPTMGMT_REQ, XTI (CAE C438) chapter 6,
//! sys/tihdr.h, the reference's ip-tpi 4.1 to 4.5. Values are one word, or two; those
//! of membership.rs up to three, or a byte.
//! Kept: the structures, flags and statuses; T_ALLOPT; an option that only tells: TACCES
//! (SVR4), T_READONLY (XTI).
//! Differs: SVR4's T_CHECK does not try a value, it tells the one there is.

use smallvec::SmallVec;
use streams::prelude::*;

use crate::membership::{self, Groups};
use crate::stack::Stack;
use crate::tpi::{self, Tli};

/// Level of options of the socket layer.
pub const SOL_SOCKET: u32 = 0xffff;
/// Level of options of IP.
pub const IPPROTO_IP: u32 = 0;
/// Type of service.
pub const IP_TOS: u32 = 3;
/// Time to live of unicast datagrams.
pub const IP_TTL: u32 = 4;

/// T_NEGOTIATE: set.
pub const T_NEGOTIATE: u32 = 4;
/// T_CHECK.
pub const T_CHECK: u32 = 8;
/// T_DEFAULT.
pub const T_DEFAULT: u32 = 0x10;
/// T_SUCCESS: in the answer.
pub const T_SUCCESS: u32 = 0x20;
/// T_FAILURE: no such value.
pub const T_FAILURE: u32 = 0x40;
/// T_CURRENT.
pub const T_CURRENT: u32 = 0x80;
/// T_READONLY: it only tells.
pub const T_READONLY: u32 = 0x200;
/// T_NOTSUPPORT: no such option.
pub const T_NOTSUPPORT: u32 = 0x400;
/// T_ALLOPT: every option of the level.
pub const T_ALLOPT: u32 = 0;

/// Why an option can't be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none of this level and name.
    Unknown,
    /// It can't have this value.
    Value,
    /// It only tells.
    ReadOnly,
    /// Only the superuser may.
    Privilege,
    /// The system refuses it (TSYSERR).
    Errno(Errno),
}

/// The options of a stream of one kind of provider.
pub trait Options: Clone {
    /// Level and name of each.
    const ALL: &'static [(u32, u32)];
    /// What it is; `None` for no such option.
    fn get(&self, level: u32, name: u32) -> Option<u32>;
    /// Sets it.
    ///
    /// # Errors
    /// Why it can't.
    fn set(&mut self, level: u32, name: u32, value: u32) -> Result<(), Refused>;
    /// The second word of an option that has two, as SO_LINGER's structure.
    fn second(&self, _level: u32, _name: u32) -> Option<u32> {
        None
    }
    /// Sets one that has two.
    ///
    /// # Errors
    /// Why it can't.
    fn set_two(&mut self, _level: u32, _name: u32, _value: [u32; 2]) -> Result<(), Refused> {
        Err(Refused::Unknown)
    }
    /// What a fresh stream has.
    fn fresh(&self) -> Self;
}

/// What the options of groups need.
pub(crate) struct Net<'a> {
    /// Its interfaces and routes.
    pub stack: &'a mut Stack,
    /// The groups of the stream.
    pub groups: &'a mut Groups,
}

/// The options of a provider that has none of its own: /dev/ip.
#[derive(Clone)]
pub(crate) struct NoOptions;

impl Options for NoOptions {
    const ALL: &'static [(u32, u32)] = &[];
    fn get(&self, _: u32, _: u32) -> Option<u32> {
        None
    }
    fn set(&mut self, _: u32, _: u32, _: u32) -> Result<(), Refused> {
        Err(Refused::Unknown)
    }
    fn fresh(&self) -> NoOptions {
        NoOptions
    }
}

/// A stream's own options, and those of its groups.
struct All<'a, O> {
    own: O,
    net: Option<Net<'a>>,
}

/// The answer to a request; `mine` and the groups are changed only if all of it can be read.
pub(crate) fn manage<O: Options>(
    mine: &mut O,
    net: Option<Net<'_>>,
    prim: u32,
    opts: &[u8],
    flags: u32,
) -> Msg {
    if !matches!(flags, T_NEGOTIATE | T_CHECK | T_DEFAULT | T_CURRENT) {
        return tpi::error_ack(prim, Tli::BADFLAG, None);
    }
    let mut all = All {
        own: mine.clone(),
        net,
    };
    let before = all.net.as_ref().map(|n| n.groups.clone());
    let done = match prim {
        tpi::T_SVR4_OPTMGMT_REQ => svr4(&mut all, opts, flags),
        _ => xti(&mut all, opts, flags),
    };
    match done {
        Ok((out, flags)) => {
            *mine = all.own;
            tpi::optmgmt_ack(&out, flags)
        }
        Err((tli, errno)) => {
            if let (Some(net), Some(before)) = (all.net, before) {
                *net.groups = before;
            }
            tpi::error_ack(prim, tli, errno)
        }
    }
}

/// A value: words, or a byte.
pub(crate) type Value = SmallVec<[u8; 12]>;
/// Why all of a request is refused.
type Why = (Tli, Option<Errno>);

fn words_of(words: impl IntoIterator<Item = u32>) -> Value {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

impl<O: Options> All<'_, O> {
    /// What is asked for, of a value that may be there.
    fn one(
        &mut self,
        flags: u32,
        (level, name): (u32, u32),
        value: &[u8],
    ) -> Result<Value, Refused> {
        if level == IPPROTO_IP
            && membership::is_option(name)
            && let Some(net) = &mut self.net
        {
            return of_group(net, flags, name, value);
        }
        let o = &mut self.own;
        match flags {
            T_NEGOTIATE if o.second(level, name).is_some() => {
                let two = value.first_chunk::<8>().ok_or(Refused::Value)?;
                let [a, b, ..] = tpi::words(two);
                o.set_two(level, name, [a, b])?;
                told(o, level, name)
            }
            T_NEGOTIATE => {
                let word = value.first_chunk().ok_or(Refused::Value)?;
                o.set(level, name, u32::from_ne_bytes(*word))?;
                told(o, level, name)
            }
            T_DEFAULT => told(&o.fresh(), level, name),
            _ => told(o, level, name),
        }
        .ok_or(Refused::Unknown)
    }

    /// What a fresh stream has.
    fn default(&self, level: u32, name: u32) -> Value {
        if level == IPPROTO_IP && membership::is_option(name) {
            return Groups::default().get(name).unwrap_or_default();
        }
        told(&self.own.fresh(), level, name).unwrap_or_default()
    }
}

/// The same of an option of groups. Memberships are set, and then told as they were given.
fn of_group(net: &mut Net<'_>, flags: u32, name: u32, value: &[u8]) -> Result<Value, Refused> {
    let now = match flags {
        T_NEGOTIATE => {
            net.groups.set(net.stack, name, value)?;
            net.groups.get(name)
        }
        T_CHECK if net.groups.get(name).is_err() => {
            net.groups.clone().set(net.stack, name, value)?;
            net.groups.get(name)
        }
        T_DEFAULT => return Groups::default().get(name),
        _ => return net.groups.get(name),
    };
    Ok(match now {
        // Given as a byte, told as a byte.
        Ok(word) if value.len() == 1 => {
            let word = word.first_chunk().map_or(0, |w| u32::from_ne_bytes(*w));
            Value::from_slice(&[word as u8])
        }
        Ok(word) => word,
        Err(_) => value.into(),
    })
}

/// One word or two.
fn told<O: Options>(o: &O, level: u32, name: u32) -> Option<Value> {
    let first = o.get(level, name)?;
    Some(words_of(
        std::iter::once(first).chain(o.second(level, name)),
    ))
}

/// Some words, then a value filled up to whole words.
fn put(out: &mut Vec<u8>, words: &[u32], value: &[u8]) {
    out.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn svr4<O: Options>(
    o: &mut All<'_, O>,
    mut rest: &[u8],
    flags: u32,
) -> Result<(Vec<u8>, u32), Why> {
    let bad = (Tli::BADOPT, None);
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<12>().ok_or(bad)?;
        let [level, name, len, ..] = tpi::words(head);
        let value = behind.get(..len as usize).ok_or(bad)?;
        rest = behind
            .get((len as usize).next_multiple_of(4)..)
            .unwrap_or(&[]);
        let now = o.one(flags, (level, name), value).map_err(|e| match e {
            Refused::ReadOnly | Refused::Privilege => (Tli::ACCES, None),
            Refused::Errno(e) => (Tli::SYSERR, Some(e)),
            _ => bad,
        })?;
        put(&mut out, &[level, name, now.len() as u32], &now);
    }
    Ok((out, T_SUCCESS))
}

fn xti<O: Options>(o: &mut All<'_, O>, mut rest: &[u8], flags: u32) -> Result<(Vec<u8>, u32), Why> {
    let bad = (Tli::BADOPT, None);
    let mut out = Vec::new();
    let mut worst = T_SUCCESS; // the flags are numbered from best to worst
    while !rest.is_empty() {
        let head = rest.first_chunk::<16>().ok_or(bad)?;
        let [len, level, name, _] = tpi::words(head);
        let value = rest.get(16..len as usize).ok_or(bad)?;
        rest = rest
            .get((len as usize).next_multiple_of(4)..)
            .unwrap_or(&[]);
        if name == T_ALLOPT && flags == T_CHECK {
            return Err(bad);
        }
        if name != T_ALLOPT {
            answer(o, flags, (level, name), value, &mut out, &mut worst);
            continue;
        }
        for &(l, n) in O::ALL.iter().filter(|(l, _)| *l == level) {
            // T_NEGOTIATE of all of them: back to their defaults, where that can be.
            let default = o.default(l, n);
            answer(o, flags, (l, n), &default, &mut out, &mut worst);
        }
    }
    Ok((out, worst))
}

fn answer<O: Options>(
    o: &mut All<'_, O>,
    flags: u32,
    at: (u32, u32),
    value: &[u8],
    out: &mut Vec<u8>,
    worst: &mut u32,
) {
    let current = |o: &mut All<'_, O>| o.one(T_CURRENT, at, &[]).ok();
    let (status, now) = match o.one(flags, at, value) {
        Ok(now) => (T_SUCCESS, Some(now)),
        Err(Refused::Unknown) => (T_NOTSUPPORT, None),
        Err(Refused::ReadOnly) => (T_READONLY, current(o)),
        Err(_) => (T_FAILURE, current(o)),
    };
    *worst = status.max(*worst);
    let now = now.unwrap_or_default();
    put(out, &[16 + now.len() as u32, at.0, at.1, status], &now);
}
