//! What a module or driver is: a table and the few functions it needs.
//!
//! Spec: module_info(9S), qinit(9S), streamtab(9S), open(9E), close(9E), put(9E), srv(9E).
//! Kept: "has a service procedure" is a fact in the table, for flow control looks for it.
//! Differs: qprocson and qprocsoff are the framework's: procedures run from the return of
//! `open` until `close` has ended; qwait(9F) is [`Wait::Again`].

use std::marker::PhantomData;

use crate::domain::Domain;
use crate::errno::Errno;
use crate::handle::Queue;
use crate::kstat::Kstat;
use crate::message::{Cred, INFPSZ, Msg};
use crate::perimeter::Perimeter;
use crate::private::Private;
use crate::queue::{PutFn, SrvFn};

/// module_info(9S): identity and limits of a module's queues.
#[derive(Clone, Copy, Debug)]
pub struct ModuleInfo {
    /// `mi_idnum`.
    pub id: u16,
    /// `mi_idname`, at most 8 characters.
    pub name: &'static str,
    /// `mi_minpsz`, bytes.
    pub minpsz: i64,
    /// `mi_maxpsz`, bytes; [`INFPSZ`] for no limit.
    pub maxpsz: i64,
    /// `mi_hiwat`, bytes.
    pub hiwat: usize,
    /// `mi_lowat`, bytes.
    pub lowat: usize,
}

impl ModuleInfo {
    /// A module with this id and name, any packet size, and marks of 5120 and 1024 bytes.
    pub const fn named(id: u16, name: &'static str) -> ModuleInfo {
        ModuleInfo {
            id,
            name,
            minpsz: 0,
            maxpsz: INFPSZ,
            hiwat: 5120,
            lowat: 1024,
        }
    }
    /// Other water marks.
    pub const fn marks(mut self, hiwat: usize, lowat: usize) -> ModuleInfo {
        self.hiwat = hiwat;
        self.lowat = lowat;
        self
    }
    /// Other packet sizes.
    pub const fn packet_sizes(mut self, minpsz: i64, maxpsz: i64) -> ModuleInfo {
        self.minpsz = minpsz;
        self.maxpsz = maxpsz;
        self
    }
}

/// A put procedure: takes one message (put(9E)).
pub type Put<M> = fn(&mut Queue<'_, M>, Msg);
/// A service procedure: works on the queue until it is empty or blocked (srv(9E)).
pub type Srv<M> = fn(&mut Queue<'_, M>);

/// qinit(9S): the procedures of one side.
pub struct QInit<M> {
    pub(crate) put: Put<M>,
    pub(crate) srv: Option<Srv<M>>,
}

impl<M> QInit<M> {
    /// A side with a put procedure only.
    pub const fn put(put: Put<M>) -> QInit<M> {
        QInit { put, srv: None }
    }
    /// Adds a service procedure.
    pub const fn srv(mut self, srv: Srv<M>) -> QInit<M> {
        self.srv = Some(srv);
        self
    }
}

/// The third argument of open(9E) and what goes with it.
#[derive(Debug)]
pub struct Open {
    /// Major number of the device that was opened.
    pub major: u32,
    /// Minor number; of a clone open, the one that the driver chooses. A driver that
    /// leaves a clone open at `None` gets an unused one.
    pub minor: Option<u32>,
    /// O_* bits of the open; 0 for a pushed module.
    pub flag: u32,
    /// DRVOPEN, MODOPEN or CLONEOPEN.
    pub sflag: SFlag,
    /// Who opens.
    pub cred: Cred,
    /// The name that was pushed or opened: a type registered under several names can tell.
    pub name: &'static str,
}

/// `sflag` of open(9E).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SFlag {
    /// A driver, opened through its own minor.
    Driver,
    /// MODOPEN: pushed as a module.
    Module,
    /// CLONEOPEN: through the clone driver.
    Clone,
}

impl Open {
    /// ENXIO unless pushed as a module.
    pub fn require_push(&self) -> Result<(), Errno> {
        if self.sflag == SFlag::Module {
            Ok(())
        } else {
            Err(Errno::ENXIO)
        }
    }
    /// ENXIO if pushed as a module.
    pub fn require_device(&self) -> Result<(), Errno> {
        if self.sflag == SFlag::Module {
            Err(Errno::ENXIO)
        } else {
            Ok(())
        }
    }
}

/// What close(9E) is told.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// O_* bits of the last file that was open.
    pub flag: u32,
    /// Who closes.
    pub cred: Cred,
}

/// Whether an open or close has ended, or waits for a message (qwait(9F)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It has ended.
    Done,
    /// Ask again after the next put or service procedure of the pair.
    Again,
}

/// A STREAMS module or driver. One value of the type is one instance: the manual's
/// `q_ptr`, given to both queues of the pair.
pub trait Module: Sized + Send + 'static {
    /// What all instances in a kernel share. `()` if nothing: then streams with this
    /// module stay independent of one another.
    type Shared: Default + Send + 'static;

    /// Identity and limits.
    const INFO: ModuleInfo;
    /// Who may be inside at once.
    const PERIMETER: Perimeter;
    /// The read side: messages from below.
    const READ: QInit<Self>;
    /// The write side: messages from above.
    const WRITE: QInit<Self>;
    /// A multiplexing driver's lower sides (st_muxrinit, st_muxwinit).
    const MUX: Option<(QInit<Self>, QInit<Self>)> = None;

    /// open(9E) of a new instance. Messages may be sent from here on; procedures of this
    /// instance run as soon as it has returned.
    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno>;

    /// An open that must wait for an answer says so here, and is asked again
    /// (qwait(9F)). An error undoes the open.
    fn opened(_q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        Ok(Wait::Done)
    }

    /// open(9E) of an instance that is open already.
    fn reopen(_q: &mut Queue<'_, Self>, _how: &mut Open) -> Result<(), Errno> {
        Ok(())
    }

    /// close(9E); may have to wait for an answer.
    fn close(_q: &mut Queue<'_, Self>, _how: &Close) -> Wait {
        Wait::Done
    }

    /// A timeout set with `qtimeout` has come.
    fn timeout(_q: &mut Queue<'_, Self>, _tag: u64) {}

    /// There is memory again, for a `qbufcall` with this tag (qbufcall(9F)).
    fn bufcall(_q: &mut Queue<'_, Self>, _tag: u64) {}

    /// What a `qwriter` asked for: alone in the inner or outer perimeter (qwriter(9F)).
    fn writer(q: &mut Queue<'_, Self>, mp: Msg, _tag: u32) {
        q.discard(mp, "a qwriter without a writer");
    }

    /// A doorbell was rung: a device wants attention.
    fn interrupt(_q: &mut Queue<'_, Self>) {}

    /// The statistics of all instances (kstat(9S) `ks_update`), asked for when somebody
    /// looks. `name` is the driver's or module's own: of several names that share one state
    /// the first.
    fn kstats(_shared: &mut Self::Shared, _name: &'static str) -> Vec<Kstat> {
        Vec::new()
    }
}

/// An open that makes an instance.
pub(crate) type OpenFn = fn(&mut Domain, u32, &mut Open) -> Result<Box<Private>, Errno>;

/// The functions of a module with their types taken away, as the framework calls them.
pub(crate) struct Ops {
    pub info: ModuleInfo,
    pub perimeter: Perimeter,
    pub rput: PutFn,
    pub wput: PutFn,
    pub rsrv: Option<SrvFn>,
    pub wsrv: Option<SrvFn>,
    pub mux: Option<MuxOps>,
    pub open: OpenFn,
    pub opened: fn(&mut Domain, u32) -> Result<Wait, Errno>,
    pub reopen: fn(&mut Domain, u32, &mut Open) -> Result<(), Errno>,
    pub close: fn(&mut Domain, u32, &Close) -> Wait,
    pub timeout: fn(&mut Domain, u32, u64),
    pub bufcall: fn(&mut Domain, u32, u64),
    pub interrupt: fn(&mut Domain, u32),
    pub writer: fn(&mut Domain, u32, Msg, u32),
    pub shared: fn() -> Private,
    pub kstats: fn(&mut Private, &'static str) -> Vec<Kstat>,
    /// All instances are in one domain: there is shared state, or a perimeter over all.
    pub one_domain: bool,
}

/// The lower side of a multiplexing driver.
#[derive(Clone, Copy)]
pub(crate) struct MuxOps {
    pub rput: PutFn,
    pub wput: PutFn,
    pub rsrv: Option<SrvFn>,
    pub wsrv: Option<SrvFn>,
}

/// Runs a put procedure, unless so many are running that it had better wait.
#[inline(always)]
fn put<M: Module>(dom: &mut Domain, idx: u32, mp: Msg, procedure: Put<M>) {
    if dom.stack_is_deep() {
        return dom.defer(idx, mp);
    }
    procedure(&mut Queue::new(dom, idx), mp);
}

struct Table<M>(PhantomData<M>);

impl<M: Module> Table<M> {
    const OPS: Ops = Ops {
        info: M::INFO,
        perimeter: M::PERIMETER,
        rput: |dom, idx, mp| put(dom, idx, mp, M::READ.put),
        wput: |dom, idx, mp| put(dom, idx, mp, M::WRITE.put),
        rsrv: match M::READ.srv {
            Some(_) => Some(|dom, idx| {
                if let Some(f) = M::READ.srv {
                    f(&mut Queue::new(dom, idx))
                }
            }),
            None => None,
        },
        wsrv: match M::WRITE.srv {
            Some(_) => Some(|dom, idx| {
                if let Some(f) = M::WRITE.srv {
                    f(&mut Queue::new(dom, idx))
                }
            }),
            None => None,
        },
        mux: match M::MUX {
            None => None,
            Some((ref r, ref w)) => Some(MuxOps {
                rput: |dom, idx, mp| {
                    if let Some((r, _)) = M::MUX {
                        put(dom, idx, mp, r.put)
                    }
                },
                wput: |dom, idx, mp| {
                    if let Some((_, w)) = M::MUX {
                        put(dom, idx, mp, w.put)
                    }
                },
                rsrv: match r.srv {
                    None => None,
                    Some(_) => Some(|dom, idx| {
                        if let Some((r, _)) = M::MUX
                            && let Some(f) = r.srv
                        {
                            f(&mut Queue::new(dom, idx))
                        }
                    }),
                },
                wsrv: match w.srv {
                    None => None,
                    Some(_) => Some(|dom, idx| {
                        if let Some((_, w)) = M::MUX
                            && let Some(f) = w.srv
                        {
                            f(&mut Queue::new(dom, idx))
                        }
                    }),
                },
            }),
        },
        open: |dom, idx, how| {
            let m = M::open(&mut Queue::new(dom, idx), how)?;
            Ok(Box::new(Private::new(m)))
        },
        opened: |dom, idx| M::opened(&mut Queue::new(dom, idx)),
        reopen: |dom, idx, how| M::reopen(&mut Queue::new(dom, idx), how),
        close: |dom, idx, how| M::close(&mut Queue::new(dom, idx), how),
        timeout: |dom, idx, tag| M::timeout(&mut Queue::new(dom, idx), tag),
        bufcall: |dom, idx, tag| M::bufcall(&mut Queue::new(dom, idx), tag),
        interrupt: |dom, idx| M::interrupt(&mut Queue::new(dom, idx)),
        writer: |dom, idx, mp, tag| M::writer(&mut Queue::new(dom, idx), mp, tag),
        shared: || Private::new(M::Shared::default()),
        kstats: |shared, name| match shared.get::<M::Shared>() {
            Some(s) => M::kstats(s, name),
            None => Vec::new(),
        },
        one_domain: size_of::<M::Shared>() != 0
            || M::PERIMETER.outer
            || matches!(M::PERIMETER.inner, crate::perimeter::Inner::PerMod),
    };
}

/// The table of a module type.
pub(crate) fn ops<M: Module>() -> &'static Ops {
    &const { Table::<M>::OPS }
}

/// The table of a slot that nobody uses.
pub(crate) static NO_OPS: Ops = Ops {
    info: ModuleInfo::named(0, "none"),
    perimeter: Perimeter::MTSAFE,
    rput: |dom, idx, mp| dom.discard(idx, mp, "no such queue"),
    wput: |dom, idx, mp| dom.discard(idx, mp, "no such queue"),
    rsrv: None,
    wsrv: None,
    mux: None,
    open: |_, _, _| Err(Errno::ENXIO),
    opened: |_, _| Ok(Wait::Done),
    reopen: |_, _, _| Err(Errno::ENXIO),
    close: |_, _, _| Wait::Done,
    timeout: |_, _, _| {},
    bufcall: |_, _, _| {},
    interrupt: |_, _| {},
    writer: |dom, idx, mp, _| dom.discard(idx, mp, "no such queue"),
    shared: || Private::new(()),
    kstats: |_, _| Vec::new(),
    one_domain: false,
};
