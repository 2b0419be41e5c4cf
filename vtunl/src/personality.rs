//! The two personalities of vtunl: a driver, and a module over IP or over a data link.
//!
//! ```text
//!    (c) head           (a)   ip              (b)   ip
//!         │                   │ DLPI                │ DLPI
//!       vtunl               vtunl                 vtunl
//!      (driver)               │ TPI, datagrams      │ DLPI
//!                           /dev/ip               /dev/le
//!    global ioctls     transport.rs, provider.rs  dls_user.rs, provider.rs
//! ```
//!
//! One type is registered as the driver `/dev/vtunl` and as the module `vtunl`; all instances
//! share the tables (`control.rs`). The drivers are in one domain, the modules, which have
//! the datagrams, in another, so that neither waits for the other. A module becomes what is
//! under (a) or (b) by VTUNL_SETCONF_TRANSPORT or VTUNL_SETCONF_DLSUSER.
//!
//! Spec: the paper, sections 2 and 3, Figure 2, Table 2.
//! Kept: global ioctls work on any instance that is directly under the head; behind another
//! module, whether that lets them pass or not, they are EINVAL.
//! Kept: an ioctl that is not vtunl's is passed on by the module and refused by the driver.
//! Differs: no perimeter: state is never held across a put, and all modules are in one
//! domain, so that entries never overlap; a put that comes back to us through IP finds
//! everything as it would afterwards.

use std::sync::Arc;

use dlpi::state::State;
use streams::QRef;
use streams::kstat::Kstat;
use streams::message::TRANSPARENT;
use streams::prelude::*;

use crate::control::{self, Control, Desk, LIFETIME};
use crate::ioctl::{
    Arg, Conf, Req, VTUNL_DLSUSER, VTUNL_GETCONF, VTUNL_INST_STATS, VTUNL_NONE, VTUNL_NOTIFY,
    VTUNL_SETCONF_DLSUSER, VTUNL_SETCONF_TRANSPORT, VTUNL_TRANSPORT, row,
};
use crate::soft_state::Limiter;
use crate::tables::stats_reply;
use crate::view::Reader;
use crate::why::Why;
use crate::{dls_user, provider, transport};

/// What an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Opened as /dev/vtunl, Figure 2(c).
    Driver,
    /// Pushed, not configured.
    Module,
    /// Over /dev/ip, Figure 2(a).
    Transport,
    /// Over a DLPI device, Figure 2(b).
    DlsUser,
}

/// What the module below was asked and has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    /// T_BIND_REQ.
    TBind,
    /// T_UNBIND_REQ, on the way out.
    TUnbind,
    /// DL_ATTACH_REQ.
    Attach,
    /// DL_BIND_REQ.
    Bind,
    /// DL_PROMISCON_REQ.
    Promisc,
    /// DL_UNBIND_REQ, on the way out.
    Unbind,
    /// DL_DETACH_REQ, on the way out.
    Detach,
}

/// What the drivers share, and what the modules do.
#[derive(Default)]
pub struct Shared {
    pub(crate) control: Arc<Control>,
    /// ICMP errors that may be sent.
    pub(crate) limiter: Limiter,
    /// Which instance has subscribed to which protocol.
    pub(crate) subscribers: Vec<(u8, QRef)>,
}

impl Shared {
    fn with(control: &Arc<Control>) -> Shared {
        Shared {
            control: control.clone(),
            ..Shared::default()
        }
    }
}

/// One instance of vtunl.
pub struct Vtunl {
    /// Looks at the tables for each datagram.
    pub(crate) reader: Reader,
    pub(crate) desk: Desk,
    pub(crate) role: Role,
    /// Configured below and bound above: datagrams pass.
    pub(crate) up: bool,
    /// The module above takes and gives bare M_DATA.
    pub(crate) fast: bool,
    /// The protocol subscribed to.
    pub(crate) protocol: u8,
    /// Tunnel source, or the address of the DLS provider.
    pub(crate) address: u32,
    /// Netmask of the DLS provider.
    pub(crate) mask: u32,
    /// What the module above sees: our state as DLS provider.
    pub(crate) dl_state: State,
    /// PPA of the DLS provider below.
    pub(crate) ppa: u8,
    pub(crate) last_req: u32,
    pub(crate) last_resp: u32,
    /// Our state as the user of what is below: TS_* or DL_*.
    pub(crate) below: u32,
    pub(crate) asked: Asked,
    /// The SETCONF that waits for an answer from below.
    pub(crate) pending: Option<Msg>,
    /// What is below has failed; it answers no more.
    pub(crate) dead: bool,
    pub(crate) encapsulated: u64,
    pub(crate) decapsulated: u64,
    /// Datagrams dropped, by [`Why`].
    pub(crate) drops: [u64; Why::ALL.len()],
}

impl Vtunl {
    fn new(role: Role, desk: Desk, reader: Reader) -> Vtunl {
        Vtunl {
            reader,
            desk,
            role,
            up: false,
            fast: false,
            protocol: 0,
            address: 0,
            mask: 0,
            dl_state: State::Unattached,
            ppa: 0,
            last_req: 0,
            last_resp: 0,
            below: 0,
            asked: Asked::Nothing,
            pending: None,
            dead: false,
            encapsulated: 0,
            decapsulated: 0,
            drops: [0; Why::ALL.len()],
        }
    }

    /// Sets [`Vtunl::up`] from what it depends on.
    pub(crate) fn settle(&mut self) {
        let below = match self.role {
            Role::Transport => self.below == transport::TS_IDLE,
            Role::DlsUser => self.below == State::Idle as u32 && self.asked == Asked::Nothing,
            Role::Driver | Role::Module => false,
        };
        self.up = below && !self.dead && self.dl_state == State::Idle;
    }

    /// The last message exchanged with what is below, as VTUNL_GETCONF shows it.
    pub(crate) fn ask(&mut self, asked: Asked, number: u32) {
        self.asked = asked;
        self.last_req = number;
    }

    fn conf(&self, below: &str) -> Conf {
        Conf {
            kind: match self.role {
                Role::Transport => VTUNL_TRANSPORT,
                Role::DlsUser => VTUNL_DLSUSER,
                Role::Driver | Role::Module => VTUNL_NONE,
            },
            ppa: self.ppa,
            ip_protocol: self.protocol,
            address: self.address,
            addr_mask: self.mask,
            last_req: self.last_req.into(),
            last_resp: self.last_resp.into(),
            state: self.below.into(),
            modname: below.to_owned(),
        }
    }
}

impl Module for Vtunl {
    type Shared = Shared;
    const INFO: ModuleInfo = ModuleInfo::named(0x7674, "vtunl").marks(65536, 1024);
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(rput).srv(provider::rsrv);
    const WRITE: QInit<Self> = QInit::put(wput).srv(provider::wsrv);

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        let role = if how.sflag == SFlag::Module {
            Role::Module
        } else {
            Role::Driver
        };
        let (desk, reader) = control::come(q, role);
        Ok(Vtunl::new(role, desk, reader))
    }

    fn opened(q: &mut Queue<'_, Self>) -> Result<Wait, Errno> {
        // While no instance was open nobody had the timer.
        control::expire(q);
        Ok(Wait::Done)
    }

    fn kstats(s: &mut Shared, name: &'static str) -> Vec<Kstat> {
        let mut k = Kstat::new(name, 0, name, "net");
        let stats = s.control.stats();
        for (name, n) in stats.rows() {
            k.u64(name.replace(' ', "_"), n); // a statistic's name has no blanks
        }
        k.u32("targets", stats.targets.get());
        k.u32("exits", stats.exits.get());
        k.u32("decapsulated_from", stats.decapsulated_from.get());
        vec![k]
    }

    fn close(q: &mut Queue<'_, Self>, _: &Close) -> Wait {
        let role = q.ptr().role;
        let left = match role {
            Role::Transport => transport::unbind(&mut q.wr()),
            Role::DlsUser => dls_user::leave(&mut q.wr()),
            Role::Driver | Role::Module => Wait::Done,
        };
        if left == Wait::Again {
            return left;
        }
        if let Some(mp) = q.ptr().pending.take() {
            q.freemsg(mp);
        }
        let me = q.rd().qref();
        q.shared().subscribers.retain(|(_, i)| *i != me);
        control::go(q);
        Wait::Done
    }

    fn timeout(q: &mut Queue<'_, Self>, tag: u64) {
        if tag == LIFETIME {
            control::expire(q);
        }
    }

    fn interrupt(q: &mut Queue<'_, Self>) {
        if let Some(mp) = control::interrupt(q) {
            wioctl(&mut q.wr(), mp);
        }
    }
}

/// An address, to be shown.
pub(crate) fn addr(a: u32) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from(a)
}

/// From the module above.
fn wput(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    match mp.ty() {
        MsgType::Data => provider::wdata(q, mp),
        MsgType::Proto | MsgType::PcProto => provider::wproto(q, mp),
        MsgType::Ioctl => wioctl(q, mp),
        MsgType::Flush if !q.has_next() => q.flush_driver(mp),
        MsgType::Flush => q.flush_module(mp),
        _ if q.has_next() => q.putnext(mp),
        MsgType::IocData => q.iocnak(mp, Errno::EINVAL),
        _ => q.freemsg(mp),
    }
}

/// From the module below.
fn rput(q: &mut Queue<'_, Vtunl>, mp: Msg) {
    match mp.ty() {
        MsgType::Data => provider::rdata(q, mp),
        MsgType::Proto | MsgType::PcProto => match q.ptr().role {
            Role::Transport => transport::answer(q, mp),
            Role::DlsUser => dls_user::rproto(q, mp),
            Role::Module | Role::Driver => q.putnext(mp),
        },
        MsgType::Ctl if q.ptr().role == Role::Transport => transport::icmp(q, mp),
        MsgType::Flush => q.flush_module(mp),
        MsgType::Error | MsgType::Hangup => {
            let me = q.ptr();
            me.dead = true;
            me.settle();
            if let Some(ioc) = q.ptr().pending.take() {
                q.wr().iocnak(ioc, Errno::ENXIO);
            }
            q.putnext(mp);
        }
        _ => q.putnext(mp),
    }
}

/// An ioctl: ours is answered, another's goes on.
fn wioctl(q: &mut Queue<'_, Vtunl>, mut mp: Msg) {
    let Some(ioc) = mp.ioc().copied() else {
        return q.discard(mp, "M_IOCTL without iocblk");
    };
    if ioc.cmd == dlpi::prim::DL_IOC_HDR_INFO {
        return provider::fastpath(q, mp);
    }
    let Some(row) = row(ioc.cmd) else {
        return if q.has_next() {
            q.putnext(mp)
        } else {
            q.iocnak(mp, Errno::EINVAL)
        };
    };
    // The paper, section 3: "vtunl appears directly underneath the stream head". What a module
    // in between has let pass may have meant something else to it.
    if !q.is_topmost() {
        return q.iocnak(mp, Errno::EINVAL);
    }
    if row.privileged && ioc.cr.require_priv().is_err() {
        return q.iocnak(mp, Errno::EPERM);
    }
    // The paper, section 3: "All vtunl commands must be issued using the I_STR ioctl".
    let arg = match mp.cont() {
        _ if ioc.count == TRANSPARENT => return q.iocnak(mp, Errno::EINVAL),
        Some(data) => data.to_vec(),
        None => Vec::new(),
    };
    let bad_length = !row.arg.takes(ioc.count) || arg.len() != ioc.count;
    // A VTUNL_NOTIFY without argument marks the stream.
    if bad_length && !(ioc.cmd == VTUNL_NOTIFY && arg.is_empty()) {
        return q.iocnak(mp, Errno::EINVAL);
    }
    let answer = match ioc.cmd {
        VTUNL_SETCONF_TRANSPORT => return set(q, mp, &arg, transport::configure),
        VTUNL_SETCONF_DLSUSER => return set(q, mp, &arg, dls_user::configure),
        VTUNL_GETCONF => {
            let below = q.driver_name();
            let below = if q.has_next() { below } else { "" };
            Ok(q.ptr().conf(below).emit().to_vec())
        }
        VTUNL_INST_STATS => {
            let v = q.ptr();
            let mut rows = vec![
                ("encapsulated", v.encapsulated),
                ("decapsulated", v.decapsulated),
                ("dropped", v.drops.iter().sum()),
            ];
            rows.extend(Why::ALL.iter().map(|w| (w.text(), v.drops[*w as usize])));
            stats_reply(&arg, rows)
        }
        cmd => {
            let answer = if cmd == VTUNL_NOTIFY {
                control::notify(q, arg.iter().any(|b| *b != 0) || arg.is_empty())
            } else {
                control::command(q, cmd, &arg)
            };
            match answer {
                Some(answer) => answer,
                None => return control::put_off(q, mp),
            }
        }
    };
    if q.ptr().reader.look().debug >= 1 {
        let said = answer.as_ref().map_or_else(|e| e.name(), |_| "done");
        q.strlog(1, format_args!("{}: {said}", row.name));
    }
    match answer {
        Ok(data) => {
            let data = match row.arg {
                Arg::Req | Arg::IntIn | Arg::PolicyIn | Arg::ExitIn => None,
                _ => Some(Msg::data(&data)),
            };
            if let Some(old) = mp.set_cont(data) {
                q.freemsg(old);
            }
            q.iocack(mp, 0);
        }
        Err(e) => q.iocnak(mp, e),
    }
}

/// A SETCONF: what it needs from below may take time, then it is answered later.
fn set(
    q: &mut Queue<'_, Vtunl>,
    mut mp: Msg,
    arg: &[u8],
    configure: fn(&mut Queue<'_, Vtunl>, &Req) -> Result<Wait, Errno>,
) {
    if q.ptr().asked != Asked::Nothing {
        return q.iocnak(mp, Errno::EBUSY);
    }
    if let Some(old) = mp.take_cont() {
        q.freemsg(old);
    }
    // It has to be here before the answer comes, which may be before the question returns.
    q.ptr().pending = Some(mp);
    match Req::parse(arg).and_then(|req| configure(q, &req)) {
        Ok(Wait::Again) => {}
        Ok(Wait::Done) => finish(q, Ok(())),
        Err(e) => finish(q, Err(e)),
    }
}

/// Answers the SETCONF that waits.
pub(crate) fn finish(q: &mut Queue<'_, Vtunl>, r: Result<(), Errno>) {
    let me = q.ptr();
    me.settle();
    let Some(mp) = me.pending.take() else { return };
    match r {
        Ok(()) => q.wr().iocack(mp, 0),
        Err(e) => q.wr().iocnak(mp, e),
    }
}

/// Makes the driver `/dev/vtunl` and the module `vtunl` known.
///
/// # Errors
/// EEXIST: the name is taken.
pub fn register(kernel: &streams::Kernel) -> Result<(), Errno> {
    register_with(kernel, &Arc::default())
}

/// The same with these tables. Drivers and modules have a state of their own each, and so a
/// domain.
pub(crate) fn register_with(kernel: &streams::Kernel, tables: &Arc<Control>) -> Result<(), Errno> {
    kernel.add_drv_with::<Vtunl>("vtunl", Shared::with(tables))?;
    kernel.add_mod_with::<Vtunl>("vtunl", Shared::with(tables))
}
