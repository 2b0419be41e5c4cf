//! Looking at the open streams from outside: what `show stacks` draws.

use std::sync::Arc;

use crate::head::link::Upper;
use crate::kernel::Env;
use crate::queue::{NONE, flag};

/// One open stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackView {
    /// Its number, as in the trace.
    pub id: u32,
    /// The node it was opened by; `pipe` for a pipe end.
    pub path: String,
    /// Major and minor of its device.
    pub device: Option<(u32, u32)>,
    /// Its modules from the top down, the driver last.
    pub modules: Vec<ModuleView>,
    /// Under which driver it is linked.
    pub linked_under: Option<LinkView>,
}

/// One module of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleView {
    /// Its name.
    pub name: String,
    /// The driver at the bottom.
    pub driver: bool,
    /// Messages and bytes on its read queue.
    pub read_queue: (usize, usize),
    /// Messages and bytes on its write queue.
    pub write_queue: (usize, usize),
}

/// A link that a stream hangs by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The multiplexor id.
    pub muxid: i32,
    /// The driver's name.
    pub driver: String,
    /// I_PLINK.
    pub persistent: bool,
    /// The upper stream, for I_LINK.
    pub upper: Option<u32>,
}

/// Every open stream of a kernel, by number.
pub(crate) fn stacks(env: &Arc<Env>) -> Vec<StackView> {
    let streams: Vec<_> = env
        .streams
        .lock()
        .values()
        .filter_map(|w| w.upgrade())
        .collect();
    let links = env.links.lock().by_id.clone();
    let driver = |major: u32| {
        let reg = env.registry.read();
        reg.drivers
            .get(&major)
            .map_or_else(|| major.to_string(), |d| d.entry.name.to_owned())
    };
    let mut out = Vec::new();
    for s in streams {
        let modules = s.with(|dom| {
            let mut v = Vec::new();
            let mut at = dom.slot(s.head | 1).next;
            while at != NONE && at & 1 == 1 {
                let (r, w) = (dom.slot(at & !1), dom.slot(at | 1));
                v.push(ModuleView {
                    name: w.name.to_owned(),
                    driver: w.has(flag::QISDRV),
                    read_queue: (r.list.len(), r.count),
                    write_queue: (w.list.len(), w.count),
                });
                at = dom.slot(at).next;
            }
            v
        });
        let link = links
            .iter()
            .find(|(_, l)| l.lower.id == s.id)
            .map(|(id, l)| LinkView {
                muxid: *id,
                driver: driver(l.upper_major),
                persistent: matches!(l.upper, Upper::Major(_)),
                upper: match l.upper {
                    Upper::Stream(n) => Some(n),
                    Upper::Major(_) => None,
                },
            });
        out.push(StackView {
            id: s.id,
            path: s.path.clone(),
            device: s.major.map(|m| (m, s.minor)),
            modules,
            linked_under: link,
        });
    }
    out
}
