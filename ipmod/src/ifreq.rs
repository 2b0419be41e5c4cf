//! The ioctls about an interface or one of its addresses: ifreq, lifreq.
//!
//! ```text
//!   SIOCSIFADDR le0:1 ─► the ipif, made if it is new ─► down, change, up ─► announced
//!   SIOCSIFFLAGS up ─► is the address free? ─► link bound? ─┬─ yes: routes
//!                                                           └─ no: DL_BIND_REQ first
//!   down, or SIOCLIFREMOVEIF ─► routes gone ─► the link's last address? ─► DL_UNBIND_REQ
//! ```
//!
//! Spec: if(7P), ifconfig(1M), the reference's ip-tpi 5.1 to 5.3, 6.2.
//! Kept: what sets something of `le0:1` makes it; what gets something of it does not.

use dlpi::prim::Prim;
use streams::prelude::*;

use crate::dad::{self, Stand};
use crate::ill::{Dl, IP_MIN_MTU, iff};
use crate::ioctl::*;
use crate::ipif::Ipif;
use crate::ire::Ire;
use crate::module::OnStack;
use crate::multicast;
use crate::stack::Stack;
use crate::tpi::{sockaddr, sockaddr_bytes};
use crate::wire::class_mask;

/// The ioctls whose argument is an ifreq.
pub(crate) fn interface<M: OnStack>(
    q: &mut Queue<'_, M>,
    cmd: i32,
    data: &[u8],
) -> Result<Done, Errno> {
    if data.len() != IFREQ {
        return Err(Errno::EINVAL);
    }
    let name = name_of(data);
    let s = q.shared();
    let found = s.ipif_named(&name);
    if let Some((at, id)) = found
        && let Some(union) = get(s, cmd, at, id)?
    {
        return Ok(Done::Data(ifreq(&name, &union)));
    }
    if !matches!(
        cmd,
        SIOCSIFADDR
            | SIOCSIFDSTADDR
            | SIOCSIFNETMASK
            | SIOCSIFBRDADDR
            | SIOCSIFMTU
            | SIOCSIFMETRIC
            | SIOCSIFMUXID
            | SIOCSIFINDEX
            | SIOCSIFFLAGS
    ) {
        return Err(found.map_or(Errno::ENXIO, |_| Errno::EINVAL));
    }
    let (at, id) = s.ipif_made(&name)?;
    let done = set(q, cmd, at, id, data);
    if found.is_none() && done.is_err() {
        let _ = q.shared().remove_ipif(at, id); // number 0 is never new
    }
    done
}

/// What an ioctl asks about an address; `None` if it does not ask.
fn get(s: &Stack, cmd: i32, at: u32, id: u16) -> Result<Option<Vec<u8>>, Errno> {
    let i = s.ill(at).ok_or(Errno::ENXIO)?;
    let p = i.ipif(id).ok_or(Errno::ENXIO)?;
    let addr = |a| sockaddr_bytes(0, a).to_vec();
    let only = |flag, a| match i.flags & flag {
        0 => Err(Errno::EADDRNOTAVAIL),
        _ => Ok(addr(a)),
    };
    Ok(Some(match cmd {
        SIOCGIFADDR => addr(p.addr),
        SIOCGIFDSTADDR => only(iff::POINTOPOINT, p.dst)?,
        SIOCGIFBRDADDR => only(iff::BROADCAST, p.broadcast)?,
        SIOCGIFNETMASK => addr(p.mask),
        SIOCGIFFLAGS => i.flags_of(p).to_ne_bytes().to_vec(),
        SIOCGIFMTU => p.mtu.to_ne_bytes().to_vec(),
        SIOCGIFMETRIC => p.metric.to_ne_bytes().to_vec(),
        SIOCGIFINDEX => i.index.unwrap_or(at + 1).to_ne_bytes().to_vec(), // the link's
        SIOCGIFMUXID => [i.muxid[0].to_ne_bytes(), i.muxid[1].to_ne_bytes()].concat(),
        _ => return Ok(None),
    }))
}

/// Sets something of an address. What changes while it is up takes its routes down and up
/// again.
fn set<M: OnStack>(
    q: &mut Queue<'_, M>,
    cmd: i32,
    at: u32,
    id: u16,
    data: &[u8],
) -> Result<Done, Errno> {
    let s = q.shared();
    let i = s.ill(at).ok_or(Errno::ENXIO)?;
    let p = i.ipif(id).ok_or(Errno::ENXIO)?;
    let (p2p, broadcasts) = (
        i.flags & iff::POINTOPOINT != 0,
        i.flags & iff::BROADCAST != 0,
    );
    let word = data[16..20].try_into().map_or(0, u32::from_ne_bytes);
    let addr = || {
        sockaddr(&data[16..32])
            .map(|a| a.1)
            .ok_or(Errno::EAFNOSUPPORT)
    };
    let (up, claimed) = (p.is_up(), p.claim.stand != Stand::Settled);
    let mut new = p.clone();
    match cmd {
        SIOCSIFADDR => {
            let a = addr()?;
            let m = if p.mask == 0 { class_mask(a) } else { p.mask };
            Stack::valid_address(a, m, p2p)?;
            if up && a == 0 {
                return Err(Errno::EADDRNOTAVAIL);
            }
            if up {
                free(s, at, id, a)?;
            }
            new.set_addr(a, p2p, broadcasts);
        }
        SIOCSIFDSTADDR => {
            if !p2p {
                return Err(Errno::EINVAL);
            }
            new.dst = addr()?;
        }
        SIOCSIFNETMASK => {
            let m = addr()?;
            if m.leading_ones() + m.trailing_zeros() < 32 {
                return Err(Errno::EINVAL);
            }
            new.mask = m;
            if broadcasts {
                new.broadcast = new.addr | !m;
            }
        }
        SIOCSIFBRDADDR => {
            if !broadcasts {
                return Err(Errno::EADDRNOTAVAIL);
            }
            new.broadcast = addr()?;
        }
        SIOCSIFMTU => {
            let loopback = i.flags & iff::LOOPBACK != 0;
            let limit = if loopback { 65535 } else { i.info.max_sdu };
            if word < IP_MIN_MTU || word > limit {
                return Err(Errno::EINVAL);
            }
            new.mtu = word;
        }
        SIOCSIFMETRIC => new.metric = word,
        SIOCSIFMUXID => {
            let id = |at: usize| data[at..at + 4].try_into().map_or(0, i32::from_ne_bytes);
            let ids = [id(16), id(20)];
            s.ill_mut(at).ok_or(Errno::ENXIO)?.muxid = ids;
            return Ok(Done::Data(Vec::new()));
        }
        SIOCSIFINDEX => {
            let used = |n: u32| s.ill(n).is_some_and(|o| o.index.unwrap_or(n + 1) == word);
            if word == 0 {
                return Err(Errno::EINVAL);
            }
            if (0..s.ills.len() as u32).any(|n| n != at && used(n)) {
                return Err(Errno::EEXIST);
            }
            s.ill_mut(at).ok_or(Errno::ENXIO)?.index = Some(word);
            return Ok(Done::Data(Vec::new()));
        }
        SIOCSIFFLAGS => {
            match set_flags(s, at, id, word as u16)? {
                Next::Nothing => {}
                Next::Bind => return Ok(Done::BringUp(at, id)),
                Next::Rise => dad::rise(q, at, id),
                Next::Fall => {
                    q.shared().ipif_down(at, id);
                    fallen(q, at);
                }
            }
            return Ok(Done::Data(Vec::new()));
        }
        _ => return Err(Errno::EINVAL),
    }
    if cmd == SIOCSIFADDR && (up || claimed) {
        // Down, change, up: and the new one may have to be asked for.
        s.remove_interface_routes(at, id);
        let addr = new.addr;
        change(s, at, new, false);
        of_ipif(s, at, id, |r| r.src = addr);
        if let Some(i) = s.ill_mut(at) {
            i.set_up(id, false);
        }
        dad::rise(q, at, id);
        return Ok(Done::Data(Vec::new()));
    }
    change(s, at, new, up && cmd != SIOCSIFMETRIC);
    if cmd == SIOCSIFMTU {
        of_ipif(s, at, id, |r| r.mtu = word);
    }
    Ok(Done::Data(Vec::new()))
}

/// Changes the routes that belong to an address.
pub(crate) fn of_ipif(s: &mut Stack, at: u32, id: u16, f: impl Fn(&mut Ire)) {
    let of_it = |(n, r): (u32, &Ire)| (r.ill == at && r.ipif == id).then_some(n);
    let routes: Vec<u32> = s.ires.iter().filter_map(of_it).collect();
    for r in routes {
        f(s.ires.get_mut(r));
    }
}

/// Puts a changed address in its place.
fn change(s: &mut Stack, at: u32, new: Ipif, rebuild: bool) {
    let id = new.id;
    if rebuild {
        s.remove_interface_routes(at, id);
    }
    if let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id)) {
        *p = new;
    }
    if rebuild {
        s.add_interface_routes(at, id);
    }
}

/// Is an address free for this one to have? Point-to-point links may share theirs, and are
/// flagged for it.
fn free(s: &mut Stack, at: u32, id: u16, addr: u32) -> Result<(), Errno> {
    let p2p = |s: &Stack, at| s.ill(at).is_some_and(|i| i.flags & iff::POINTOPOINT != 0);
    let mine = p2p(s, at);
    let mut shared = false;
    for other in 0..s.ills.len() as u32 {
        let has = |p: &&Ipif| p.addr == addr && (other, p.id) != (at, id);
        let Some(holder) = s.ill(other).and_then(|i| i.up().find(has)).map(|p| p.id) else {
            continue;
        };
        if mine {
            shared = true;
        } else if p2p(s, other) {
            if let Some(p) = s.ill_mut(other).and_then(|i| i.ipif_mut(holder)) {
                p.flags |= iff::UNNUMBERED;
            }
        } else if other == at {
            return Err(Errno::EADDRINUSE);
        } else {
            return Err(Errno::EADDRNOTAVAIL);
        }
    }
    if let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id)) {
        p.flags = p.flags & !iff::UNNUMBERED | if shared { iff::UNNUMBERED } else { 0 };
    }
    Ok(())
}

/// What is to be done after the flags are set.
enum Next {
    Nothing,
    /// The address comes up, when nobody else has it.
    Rise,
    /// The same, when the provider has bound the link.
    Bind,
    /// The address goes down, or will not come up.
    Fall,
}

/// SIOCSIFFLAGS: only some bits are the user's; coming up may have to wait for the provider.
fn set_flags(s: &mut Stack, at: u32, id: u16, flags: u16) -> Result<Next, Errno> {
    let i = s.ill(at).ok_or(Errno::ENXIO)?;
    let p = i.ipif(id).ok_or(Errno::ENXIO)?;
    let (was, want, addr) = (p.is_up(), flags & iff::UP != 0, p.addr);
    let rising = want && !was && p.claim.stand != Stand::Probing;
    if rising {
        if i.wq.is_some() && (i.name.is_empty() || i.dl != Dl::Idle) {
            return Err(Errno::EINVAL);
        }
        if i.flags & iff::POINTOPOINT != 0 && p.dst == 0 {
            return Err(Errno::EINVAL); // 5.3: point-to-point without a far end
        }
        if addr != 0 {
            free(s, at, id, addr)?;
        }
    }
    let i = s.ill_mut(at).ok_or(Errno::ENXIO)?;
    let keep = iff::FIXED | iff::OF_ADDRESS;
    let before = i.flags;
    i.flags = i.flags & keep | flags & !keep;
    if i.flags & (iff::BROADCAST | iff::LOOPBACK) == 0 {
        i.flags |= iff::NOARP;
    }
    if (before ^ i.flags) & iff::NOARP != 0 {
        // Down and up again: whether its routes need ARP has changed.
        let up: Vec<u16> = i.up().map(|p| p.id).collect();
        for id in up {
            s.remove_interface_routes(at, id);
            s.add_interface_routes(at, id);
        }
    }
    let i = s.ill_mut(at).ok_or(Errno::ENXIO)?;
    let ready = i.bound || i.wq.is_none();
    if let Some(p) = i.ipif_mut(id) {
        let fixed = iff::FIXED | iff::UP;
        p.flags = p.flags & fixed | flags & iff::OF_ADDRESS & !fixed;
    }
    Ok(match (rising, ready) {
        (true, true) => Next::Rise,
        (true, false) => Next::Bind,
        _ if want => Next::Nothing,
        _ => Next::Fall,
    })
}

/// An address of a link has gone down: groups are left and the link is unbound behind the last
/// one, unless one is still asked for (the reference's dlpi 10 step 10). The answer is not waited
/// for.
pub(crate) fn fallen<M: OnStack>(q: &mut Queue<'_, M>, at: u32) {
    multicast::follow(q, at);
    let s = q.shared();
    let Some(i) = s.ill_mut(at) else { return };
    let claimed = |p: &Ipif| p.is_up() || p.claim.stand != Stand::Settled;
    if !i.bound || i.dl != Dl::Idle || i.ipifs.iter().any(claimed) {
        return;
    }
    i.bound = false;
    let wq = i.wq;
    s.neighbours.forget_headers(at); // DL_UNBIND_REQ ends the fast path
    if let Some(wq) = wq {
        q.putnext_of(wq, Prim::UnbindReq.emit());
    }
}

/// SIOCLIFADDIF, SIOCLIFREMOVEIF (lifreq): another address for an interface, one less.
///
/// SIOCLIFADDIF with `le0` takes the next free number and says which in the name; with
/// `le0:3` that one. SIOCLIFREMOVEIF goes by the address, or by the number if there is none.
pub(crate) fn logical<M: OnStack>(
    q: &mut Queue<'_, M>,
    cmd: i32,
    data: &[u8],
) -> Result<Vec<u8>, Errno> {
    if data.len() != LIFREQ {
        return Err(Errno::EINVAL);
    }
    let name = name_of(data);
    let s = q.shared();
    let (link, id) = crate::ipif::split_name(&name).ok_or(Errno::ENXIO)?;
    let at = s.ill_named(link).ok_or(Errno::ENXIO)?;
    let given = &data[LIFR_UNION..LIFR_UNION + 16];
    let addr = match given[..2] {
        [0, 0] => 0,
        _ => sockaddr(given).ok_or(Errno::EAFNOSUPPORT)?.1,
    };
    if cmd == SIOCLIFREMOVEIF {
        let id = match addr {
            0 => id,
            _ => {
                let i = s.ill(at).ok_or(Errno::ENXIO)?;
                let has = i.ipifs.iter().find(|p| p.addr == addr);
                has.ok_or(Errno::EADDRNOTAVAIL)?.id
            }
        };
        s.remove_ipif(at, id)?;
        fallen(q, at);
        return Ok(Vec::new());
    }
    let i = s.ill(at).ok_or(Errno::ENXIO)?;
    let (p2p, broadcasts) = (
        i.flags & iff::POINTOPOINT != 0,
        i.flags & iff::BROADCAST != 0,
    );
    if addr != 0 {
        Stack::valid_address(addr, class_mask(addr), p2p)?;
    }
    let id = match id {
        0 => s.free_ipif(at)?,
        n if i.ipif(n).is_some() => return Err(Errno::EEXIST),
        n => n,
    };
    let name = i.name_of(id);
    s.ipif_made(&name)?;
    if addr != 0
        && let Some(p) = s.ill_mut(at).and_then(|i| i.ipif_mut(id))
    {
        p.set_addr(addr, p2p, broadcasts);
    }
    let mut out = lifreq(&name, &[]);
    out[32..].copy_from_slice(&data[32..]);
    Ok(out)
}
