//! Autopush: which modules an open pushes by itself, on which devices.
//!
//! ```text
//!   SAP_ONE    major 5, minor 3           open(5, 3) ──► driver open ──► push each, in order
//!   SAP_RANGE  major 5, minors 8 to 15
//!   SAP_ALL    major 7
//! ```
//!
//! Spec: sad(7D), autopush(1M), the reference's 8.1 and 8.5.

use crate::errno::Errno;
use crate::kernel::Env;

/// Modules that autopush pushes on one device, at most.
pub const MAXAPUSH: usize = 8;
/// Characters in a module's name.
pub const FMNAMESZ: usize = 8;
/// Clear a configuration.
pub const SAP_CLEAR: u32 = 0;
/// One minor.
pub const SAP_ONE: u32 = 1;
/// Minors from `minor` to `last`.
pub const SAP_RANGE: u32 = 2;
/// Every minor of the driver.
pub const SAP_ALL: u32 = 3;

/// Bytes of a struct strapush, version 0 and 1.
pub(crate) const V0: usize = 92;
pub(crate) const V1: usize = 96;

/// struct strapush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StrApush {
    /// `sap_cmd`.
    pub cmd: u32,
    /// `sap_major`.
    pub major: u32,
    /// `sap_minor`.
    pub minor: u32,
    /// `sap_lastminor`.
    pub last: u32,
    /// `sap_list`: the modules, the first pushed first.
    pub list: Vec<String>,
    /// `sap_anchor`: how many of them are anchored; version 1.
    pub anchor: u32,
}

impl StrApush {
    /// As in memory: 92 bytes (version 0) or 96 (version 1).
    pub fn to_bytes(&self, version: u32) -> Vec<u8> {
        let words = [
            self.cmd,
            self.major,
            self.minor,
            self.last,
            self.list.len() as u32,
        ];
        let mut b: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        for i in 0..MAXAPUSH {
            let name = self.list.get(i).map_or(&[][..], |n| n.as_bytes());
            let name = name.iter().copied().take(FMNAMESZ);
            b.extend(name.chain(std::iter::repeat(0)).take(FMNAMESZ + 1));
        }
        if version > 0 {
            b.extend(self.anchor.to_ne_bytes());
        }
        b
    }

    /// From memory.
    ///
    /// # Errors
    /// EINVAL: too short, or with more than MAXAPUSH modules.
    pub fn parse(b: &[u8]) -> Result<StrApush, Errno> {
        let word = |at: usize| -> Result<u32, Errno> {
            let w = b.get(at..at + 4).and_then(|w| w.try_into().ok());
            w.map(u32::from_ne_bytes).ok_or(Errno::EINVAL)
        };
        if b.len() < V0 {
            return Err(Errno::EINVAL);
        }
        let npush = word(16)? as usize;
        if npush > MAXAPUSH {
            return Err(Errno::EINVAL);
        }
        let names = b[20..V0].chunks_exact(FMNAMESZ + 1).take(npush);
        Ok(StrApush {
            cmd: word(0)?,
            major: word(4)?,
            minor: word(8)?,
            last: word(12)?,
            list: names.map(name).collect(),
            anchor: word(V0).unwrap_or(0),
        })
    }

    fn covers(&self, minor: u32) -> bool {
        match self.cmd {
            SAP_ONE => minor == self.minor,
            SAP_RANGE => (self.minor..=self.last).contains(&minor),
            _ => true,
        }
    }

    fn overlaps(&self, other: &StrApush) -> bool {
        let span = |s: &StrApush| match s.cmd {
            SAP_ONE => (s.minor, s.minor),
            SAP_RANGE => (s.minor, s.last),
            _ => (0, u32::MAX),
        };
        let ((a, b), (c, d)) = (span(self), span(other));
        self.major == other.major && a <= d && c <= b
    }
}

/// A module's name in its nine bytes.
pub(crate) fn name(b: &[u8]) -> String {
    let end = b.iter().position(|c| *c == 0).unwrap_or(b.len());
    String::from_utf8_lossy(&b[..end.min(FMNAMESZ)]).into_owned()
}

/// Every configuration of a kernel.
#[derive(Default)]
pub(crate) struct AutoPush(Vec<StrApush>);

/// The configuration of a device.
pub(crate) fn find(env: &Env, major: u32, minor: u32) -> Option<StrApush> {
    let table = env.autopush.lock();
    let mut all = table.0.iter();
    all.find(|s| s.major == major && s.covers(minor)).cloned()
}

fn known_driver(env: &Env, major: u32) -> Result<(), Errno> {
    let known = env.registry.read().drivers.contains_key(&major);
    if known { Ok(()) } else { Err(Errno::EINVAL) }
}

/// SAD_SAP.
pub(crate) fn set(env: &Env, s: StrApush) -> Result<(), Errno> {
    match s.cmd {
        SAP_CLEAR => return clear(env, &s),
        SAP_ONE | SAP_RANGE | SAP_ALL => {}
        _ => return Err(Errno::EINVAL),
    }
    if s.list.is_empty() || s.anchor as usize > s.list.len() {
        return Err(Errno::EINVAL);
    }
    if s.cmd == SAP_RANGE && s.last <= s.minor {
        return Err(Errno::ERANGE);
    }
    let missing = {
        let reg = env.registry.read();
        s.list.iter().any(|m| !reg.modules.contains_key(&**m))
    };
    if missing {
        return Err(Errno::EINVAL);
    }
    known_driver(env, s.major)?;
    let mut table = env.autopush.lock();
    if table.0.iter().any(|old| old.overlaps(&s)) {
        return Err(Errno::EEXIST);
    }
    table.0.push(s);
    Ok(())
}

/// SAP_CLEAR: a range by its first minor, all minors by 0.
fn clear(env: &Env, s: &StrApush) -> Result<(), Errno> {
    known_driver(env, s.major)?;
    let mut table = env.autopush.lock();
    let covers = |old: &StrApush| old.major == s.major && old.covers(s.minor);
    let at = table.0.iter().position(covers).ok_or(Errno::ENODEV)?;
    match table.0[at].cmd {
        SAP_RANGE if table.0[at].minor != s.minor => Err(Errno::ERANGE),
        SAP_ALL if s.minor != 0 => Err(Errno::EINVAL),
        _ => {
            table.0.remove(at);
            Ok(())
        }
    }
}

/// SAD_GAP.
pub(crate) fn get(env: &Env, s: &StrApush) -> Result<StrApush, Errno> {
    known_driver(env, s.major)?;
    find(env, s.major, s.minor).ok_or(Errno::ENODEV)
}
