//! Which modules and drivers the kernel knows, and the device nodes.
//!
//! ```text
//!   add_drv::<Echo>()  ──► major 3 ──► /dev/echo   (a clone node: each open a new stream)
//!   add_mod::<NullMod>() ──► "nullmod"             for I_PUSH
//! ```
//!
//! Registration is one line of the embedding program; nothing is loaded from files.
//!
//! Spec: add_drv(1M), rem_drv(1M), modinfo(1M), modload(1M).

use crate::sync::atomic::{AtomicU32, Ordering};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::Mutex;

use crate::domain::DomainCell;
use crate::errno::Errno;
use crate::kernel::Env;
use crate::kstat::Kstat;
use crate::module::{Module, Ops, ops};
use crate::private::Private;
use crate::queue::NONE;

/// A registered module type under one name: what its streams are made from.
pub(crate) struct Entry {
    pub name: &'static str,
    pub ops: &'static Ops,
    ty: TypeId,
    home: Arc<Home>,
    /// Instances open now, as driver and as module: one binary, which is busy with either.
    pub opens: Arc<AtomicU32>,
}

/// What all instances of a module share, and of other modules that share it with them.
struct Home {
    ty: TypeId,
    /// Of the module or driver that it was made for.
    name: &'static str,
    /// The start value of the shared state, until the first open takes it.
    start: Mutex<Option<Private>>,
    /// Where all instances live, if they must live together.
    cell: Mutex<Option<Arc<DomainCell>>>,
    modslot: AtomicU32,
}

impl Home {
    fn of<M: Module>(name: &'static str, start: Option<M::Shared>) -> Arc<Home> {
        Arc::new(Home {
            ty: TypeId::of::<M::Shared>(),
            name,
            start: Mutex::new(start.map(Private::new)),
            cell: Mutex::new(None),
            modslot: AtomicU32::new(NONE),
        })
    }
}

impl Entry {
    /// The pair that stands for what the instances share; NONE if nothing.
    pub fn modslot(&self) -> u32 {
        self.home.modslot.load(Ordering::Acquire)
    }

    /// The statistics of the instances; none before the first open.
    pub fn kstats(&self) -> Vec<Kstat> {
        let cell = self.home.cell.lock().clone();
        let at = self.modslot();
        let Some(cell) = cell.filter(|_| at != NONE) else {
            return Vec::new();
        };
        cell.with(|dom| match dom.shared_at(at) {
            Some(shared) => (self.ops.kstats)(shared, self.home.name),
            None => Vec::new(),
        })
    }

    /// The domain that a stream with this module must be in: the module's own, made at
    /// the first open; `None` if the module doesn't care.
    pub fn home(&self, env: &Arc<Env>) -> Option<Arc<DomainCell>> {
        if !self.ops.one_domain {
            return None;
        }
        let mut home = self.home.cell.lock();
        if let Some(cell) = &*home {
            return Some(cell.root());
        }
        let cell = DomainCell::new(env);
        let start = self.home.start.lock().take();
        cell.with(|dom| {
            let even = dom.alloc_pair(0);
            dom.share(even, start.unwrap_or_else(self.ops.shared));
            dom.slot_mut(even).name = self.name;
            self.home.modslot.store(even, Ordering::Release);
        });
        *home = Some(cell.clone());
        Some(cell)
    }
}

/// A driver with its major number.
pub(crate) struct Driver {
    pub major: u32,
    pub entry: Arc<Entry>,
}

/// A device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub major: u32,
    /// `None`: a clone node.
    pub minor: Option<u32>,
}

/// A row of modinfo(1M).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModInfoRow {
    /// `mi_idnum`.
    pub id: u16,
    /// The name.
    pub name: &'static str,
    /// The major number, for a driver.
    pub major: Option<u32>,
    /// Instances open now.
    pub opens: u32,
}

/// Where the shared state of a module comes from.
pub(crate) enum State<'a, M: Module> {
    /// `Default`.
    Default,
    /// This value.
    Start(M::Shared),
    /// What the module or driver of this name has.
    With(&'a str),
}

/// Names to modules, majors to drivers, paths to nodes.
#[derive(Default)]
pub(crate) struct Registry {
    pub drivers: BTreeMap<u32, Driver>,
    pub modules: BTreeMap<&'static str, Arc<Entry>>,
    pub nodes: BTreeMap<String, Node>,
    last_major: u32,
}

impl Registry {
    /// The entry of `M` under `name`; a driver and a module of one name and type share it,
    /// unless each is given a state of its own.
    fn entry<M: Module>(&mut self, name: &'static str, start: Option<M::Shared>) -> Arc<Entry> {
        let ty = TypeId::of::<M>();
        let known = self
            .drivers
            .values()
            .map(|d| &d.entry)
            .chain(self.modules.values())
            .find(|e| e.name == name && e.ty == ty);
        let opens = match known {
            Some(e) if start.is_none() => return e.clone(),
            Some(e) => e.opens.clone(),
            None => Arc::default(),
        };
        Arc::new(Entry {
            name,
            ops: ops::<M>(),
            ty,
            home: Home::of::<M>(name, start),
            opens,
        })
    }

    fn entry_for<M: Module>(
        &mut self,
        name: &'static str,
        state: State<'_, M>,
    ) -> Result<Arc<Entry>, Errno> {
        match state {
            State::Default => Ok(self.entry::<M>(name, None)),
            State::Start(s) => Ok(self.entry::<M>(name, Some(s))),
            State::With(other) => self.sharing::<M>(name, other),
        }
    }

    /// An entry of `M` that shares the state of the one named `with`: several protocols over
    /// one stack. EINVAL if there is none, or its shared state has another type.
    fn sharing<M: Module>(&self, name: &'static str, with: &str) -> Result<Arc<Entry>, Errno> {
        let mut all = self
            .drivers
            .values()
            .map(|d| &d.entry)
            .chain(self.modules.values());
        let home = all
            .find(|e| e.name == with)
            .map(|e| e.home.clone())
            .ok_or(Errno::EINVAL)?;
        if home.ty != TypeId::of::<M::Shared>() {
            return Err(Errno::EINVAL);
        }
        let ty = TypeId::of::<M>();
        let mut all = self
            .drivers
            .values()
            .map(|d| &d.entry)
            .chain(self.modules.values());
        if let Some(e) = all.find(|e| e.name == name && e.ty == ty) {
            return Ok(e.clone());
        }
        Ok(Arc::new(Entry {
            name,
            ops: ops::<M>(),
            ty,
            home,
            opens: Arc::default(),
        }))
    }

    /// add_drv(1M): a driver under a name, with the clone node `/dev/NAME`.
    pub fn add_drv<M: Module>(
        &mut self,
        name: &'static str,
        state: State<'_, M>,
    ) -> Result<u32, Errno> {
        M::PERIMETER.check()?;
        if self.drivers.values().any(|d| d.entry.name == name) {
            return Err(Errno::EEXIST);
        }
        let entry = self.entry_for::<M>(name, state)?;
        self.last_major += 1;
        let major = self.last_major;
        self.drivers.insert(major, Driver { major, entry });
        self.nodes
            .insert(format!("/dev/{name}"), Node { major, minor: None });
        Ok(major)
    }

    /// A module under a name, for I_PUSH.
    pub fn add_mod<M: Module>(
        &mut self,
        name: &'static str,
        state: State<'_, M>,
    ) -> Result<(), Errno> {
        M::PERIMETER.check()?;
        if self.modules.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let entry = self.entry_for::<M>(name, state)?;
        self.modules.insert(name, entry);
        Ok(())
    }

    /// mknod(2) of a device node: `minor` of `major`, or without one a clone node.
    pub fn mknod(&mut self, path: &str, node: Node) -> Result<(), Errno> {
        if self.nodes.contains_key(path) {
            return Err(Errno::EEXIST);
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// The major number of a driver.
    pub fn major(&self, name: &str) -> Option<u32> {
        let mut all = self.drivers.values();
        all.find(|d| d.entry.name == name).map(|d| d.major)
    }

    /// A node of the clone driver stands for a clone open of the major that its minor names
    /// (clone(7D)).
    pub fn through_clone(&self, node: Node) -> Node {
        let is_clone = self
            .drivers
            .get(&node.major)
            .is_some_and(|d| d.entry.ty == TypeId::of::<crate::drivers::clone::Clone>());
        match node.minor {
            Some(target) if is_clone => Node {
                major: target,
                minor: None,
            },
            _ => node,
        }
    }

    /// rem_drv(1M): EBUSY while a stream is open, ENOENT if there is none.
    pub fn rem_drv(&mut self, name: &str) -> Result<(), Errno> {
        let d = self
            .drivers
            .values()
            .find(|d| d.entry.name == name)
            .ok_or(Errno::ENOENT)?;
        if d.entry.opens.load(Ordering::Acquire) > 0 {
            return Err(Errno::EBUSY);
        }
        let major = d.major;
        self.drivers.remove(&major);
        self.nodes.retain(|_, n| n.major != major);
        Ok(())
    }

    /// Unloads a module: EBUSY while it is pushed somewhere.
    pub fn rem_mod(&mut self, name: &str) -> Result<(), Errno> {
        let e = self.modules.get(name).ok_or(Errno::ENOENT)?;
        if e.opens.load(Ordering::Acquire) > 0 {
            return Err(Errno::EBUSY);
        }
        self.modules.remove(name);
        Ok(())
    }

    /// modinfo(1M): a module that is also a driver has two rows.
    pub fn modinfo(&self) -> Vec<ModInfoRow> {
        let row = |e: &Arc<Entry>, major| ModInfoRow {
            id: e.ops.info.id,
            name: e.name,
            major,
            opens: e.opens.load(Ordering::Acquire),
        };
        let drivers = self.drivers.values().map(|d| row(&d.entry, Some(d.major)));
        let mut v: Vec<_> = drivers
            .chain(self.modules.values().map(|e| row(e, None)))
            .collect();
        v.sort_by_key(|r| (r.name, r.major.is_none()));
        v
    }
}
