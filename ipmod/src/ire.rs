//! Routes: the internet routing entries (IREs) and the longest match over them.
//!
//! ```text
//!   dst ─► a host route in its /16? ─► hosts, by address ─► pick
//!        │ no, or not this one
//!        ▼
//!   dst  1100'0000 1010'1000 | 0000'0001 | 0000'0111
//!        root, 65536 entries | middle    | low, only where a prefix is longer than /24
//!        [..., leaf, child]──►[256]──────►[runs: bits + values]
//!                │
//!                ▼ number of a prefix
//!        pick[prefix] ──► the one route, or "several": choose by hash of dst
//! ```
//!
//! The trie is leaf-pushed: an entry is either a child or the longest prefix that covers
//! it, with its length, so that a lookup is one to three steps and never backs up. A new
//! prefix overwrites the entries of shorter ones in its range; a deleted one leaves its
//! entries to the longest prefix that covers it, found in a hash by (address, length).
//! The low level keeps runs of equal entries instead of all 256.
//!
//! Host routes are in a hash and not in the trie: nothing is longer, so who is found there
//! is found, and a home agent has as many as it has mobile hosts. A bit for each /16 says
//! whether there are any, and keeps the question from all other destinations.
//!
//! Spec:    IRE types and order of lookup as in Solaris `inet/ip.h`, route(7P), RFC 1812 5.2.4.3.
//! Kept:    longest mask first; at equal length own addresses and broadcasts, then cached,
//!          host, interface, prefix and default routes; several gateways for one prefix.
//! Differs: several gateways are chosen by a hash of the destination, not in turn: a flow
//!          keeps its path, and a lookup changes nothing. One table for what Solaris keeps
//!          in a cache table and a forwarding table.
//! Not done: masks with holes (EINVAL), routes by source address or by TOS.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use streams::Errno;

/// The route may be used.
pub const RTF_UP: u16 = 0x1;
/// The next hop is a gateway, not the destination.
pub const RTF_GATEWAY: u16 = 0x2;
/// The destination is one host.
pub const RTF_HOST: u16 = 0x4;
/// Datagrams are refused with host unreachable.
pub const RTF_REJECT: u16 = 0x8;
/// Made by a redirect.
pub const RTF_DYNAMIC: u16 = 0x10;
/// Changed by a redirect.
pub const RTF_MODIFIED: u16 = 0x20;
/// Added by hand.
pub const RTF_STATIC: u16 = 0x800;
/// Datagrams are dropped without a word.
pub const RTF_BLACKHOLE: u16 = 0x1000;
/// Not to be told to others by a routing daemon.
pub const RTF_PRIVATE: u16 = 0x2000;

/// [`Ire::ill`] of a route that names no interface.
pub const NO_ILL: u32 = u32::MAX;

/// What a route is, with the numbers of `inet/ip.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum IreKind {
    /// A broadcast address of an interface.
    Broadcast = 0x01,
    /// A default route.
    Default = 0x02,
    /// An address of this host.
    Local = 0x04,
    /// An address of the loopback interface.
    Loopback = 0x08,
    /// A network by way of a gateway.
    Prefix = 0x10,
    /// What is known about one destination.
    Cache = 0x20,
    /// On the link, and the link needs no address resolution.
    IfNoResolver = 0x40,
    /// On the link, by address resolution.
    IfResolver = 0x80,
    /// A host by way of a gateway.
    Host = 0x100,
    /// A host by way of the gateway that a redirect named.
    HostRedirect = 0x200,
}

impl IreKind {
    /// The order among routes of equal length; the lowest is used.
    fn rank(self) -> u8 {
        match self {
            IreKind::Broadcast | IreKind::Local | IreKind::Loopback => 0,
            IreKind::Cache => 1,
            IreKind::HostRedirect => 2, // newer than the host route that it corrects
            IreKind::Host => 3,
            IreKind::IfNoResolver | IreKind::IfResolver => 4,
            IreKind::Prefix => 5,
            IreKind::Default => 6,
        }
    }
}

/// One route. Addresses are in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ire {
    /// What it is.
    pub kind: IreKind,
    /// The destination, an address or a network.
    pub dst: u32,
    /// How much of `dst` counts; ones without a gap, from the left.
    pub mask: u32,
    /// The next hop; 0: the destination itself.
    pub gateway: u32,
    /// The number of the interface; [`NO_ILL`]: that by which the gateway is reached.
    pub ill: u32,
    /// The number of the address there that the route belongs to, and goes down with.
    pub ipif: u16,
    /// The source address for what starts here; 0: none said.
    pub src: u32,
    /// RTF bits.
    pub flags: u16,
    /// The largest datagram, 0 if not known.
    pub mtu: u32,
    /// Datagrams that went this way.
    pub uses: u64,
}

impl Ire {
    /// What the name of a deleted route gives: everything sent to it is dropped.
    pub const GONE: Ire = Ire {
        kind: IreKind::Default,
        dst: 0,
        mask: 0,
        gateway: 0,
        ill: NO_ILL,
        ipif: 0,
        src: 0,
        flags: RTF_BLACKHOLE,
        mtu: 0,
        uses: 0,
    };

    /// Same route, for EEXIST: routes without a gateway may differ by their interface and
    /// its address, since each of those has its own 255.255.255.255.
    fn same(&self, o: &Ire) -> bool {
        let place = |i: &Ire| (i.ill, i.ipif);
        self.kind == o.kind
            && self.gateway == o.gateway
            && (self.gateway != 0 || place(self) == place(o))
    }
}

/// The name of a route in its table, good until the table's generation changes.
pub type IreId = u32;

/// Trie entry: the rest is the number of a child node.
const CHILD: u32 = 1 << 31;
/// Trie entry of a prefix: its length starts here, its number is below.
const LEN_SHIFT: u32 = 25;
/// Prefix numbers must fit below the length.
const PID_MASK: u32 = (1 << LEN_SHIFT) - 1;
/// In `pick`: several routes share the prefix.
const SEVERAL: u32 = 1 << 31;
/// In `pick`: no route.
const NONE: u32 = u32::MAX;

/// The routes of one prefix.
struct Prefix {
    net: u32,
    len: u8,
    /// By rank, then by age.
    routes: SmallVec<[IreId; 2]>,
}

struct Slot {
    ire: Ire,
    /// The prefix it belongs to; 0 when the slot is free.
    prefix: u32,
}

/// 256 entries as runs of equal ones.
#[derive(Default)]
struct Runs {
    /// A bit where a run starts.
    bits: [u64; 4],
    /// Runs that start in the words before.
    base: [u8; 4],
    vals: Box<[u32]>,
}

impl Runs {
    #[inline]
    fn get(&self, i: u32) -> u32 {
        let w = (i >> 6 & 3) as usize;
        let upto = self.bits[w] & (u64::MAX >> (63 - (i & 63)));
        let run = u32::from(self.base[w]) + upto.count_ones();
        self.vals[(run as usize).wrapping_sub(1)]
    }

    fn pack(all: &[u32; 256]) -> Runs {
        let mut r = Runs::default();
        let mut vals = Vec::with_capacity(8);
        for (i, &v) in all.iter().enumerate() {
            if i & 63 == 0 {
                r.base[i >> 6] = vals.len() as u8;
            }
            if vals.last() != Some(&v) {
                r.bits[i >> 6] |= 1 << (i & 63);
                vals.push(v);
            }
        }
        r.vals = vals.into_boxed_slice();
        r
    }

    fn unpack(&self) -> [u32; 256] {
        let mut all = [0; 256];
        let (mut run, mut v) = (0, 0);
        for (i, e) in all.iter_mut().enumerate() {
            if self.bits[i >> 6] >> (i & 63) & 1 == 1 {
                v = self.vals[run];
                run += 1;
            }
            *e = v;
        }
        all
    }
}

/// A change to the entries of a range.
#[derive(Clone, Copy)]
enum Edit {
    /// Write this one over entries that are no longer.
    Put(u32),
    /// Write the second where the first is.
    Swap(u32, u32),
}

impl Edit {
    fn apply(self, e: &mut u32) {
        match self {
            Edit::Put(new) if *e >> LEN_SHIFT <= new >> LEN_SHIFT => *e = new,
            Edit::Swap(old, new) if *e == old => *e = new,
            _ => {}
        }
    }
}

/// The routes, and the trie over them.
pub struct IreTable {
    slots: Vec<Slot>,
    free_slots: Vec<IreId>,
    /// By prefix number: what a lookup that ends there uses. Number 0 is "no prefix".
    pick: Vec<u32>,
    prefixes: Vec<Prefix>,
    free_prefixes: Vec<u32>,
    by_prefix: FxHashMap<(u32, u8), u32>,
    /// Prefixes of each length.
    count: [u32; 33],
    /// What a lookup of a host gives, by its address; as `pick`.
    hosts: FxHashMap<u32, u32>,
    /// How many of them there are in each /16, and a bit for those that have some.
    hosts_in: Vec<u32>,
    some_in: Box<[u64; 1024]>,
    root: Vec<u32>,
    mid: Vec<[u32; 256]>,
    free_mid: Vec<u32>,
    low: Vec<Runs>,
    free_low: Vec<u32>,
    live: usize,
    generation: u64,
    gone: Ire,
}

impl Default for IreTable {
    fn default() -> IreTable {
        IreTable::new()
    }
}

impl IreTable {
    /// A table without routes.
    pub fn new() -> IreTable {
        IreTable {
            slots: Vec::new(),
            free_slots: Vec::new(),
            pick: vec![NONE],
            prefixes: vec![Prefix {
                net: 0,
                len: 0,
                routes: SmallVec::new(),
            }],
            free_prefixes: Vec::new(),
            by_prefix: FxHashMap::default(),
            count: [0; 33],
            hosts: FxHashMap::default(),
            hosts_in: vec![0; 1 << 16],
            some_in: Box::new([0; 1024]),
            root: vec![0; 1 << 16],
            mid: Vec::new(),
            free_mid: Vec::new(),
            low: Vec::new(),
            free_low: Vec::new(),
            live: 0,
            generation: 0,
            gone: Ire::GONE,
        }
    }

    /// The route to `dst`: the longest prefix, the best kind; among several gateways of that
    /// kind, the one that a hash of `dst` chooses.
    #[inline]
    pub fn lookup(&self, dst: u32) -> Option<IreId> {
        let net = (dst >> 16) as usize;
        if self.some_in[net >> 6] >> (net & 63) & 1 == 1
            && let Some(&p) = self.hosts.get(&dst)
        {
            return self.picked(p, dst);
        }
        let mut e = self.root[net];
        if e & CHILD != 0 {
            e = self.mid[(e & !CHILD) as usize][(dst >> 8 & 255) as usize];
            if e & CHILD != 0 {
                e = self.low[(e & !CHILD) as usize].get(dst & 255);
            }
        }
        self.picked(self.pick[(e & PID_MASK) as usize], dst)
    }

    /// The route that an entry of `pick` stands for.
    #[inline]
    fn picked(&self, p: u32, dst: u32) -> Option<IreId> {
        if p & SEVERAL == 0 {
            return Some(p);
        }
        if p == NONE {
            None
        } else {
            Some(self.share(p & !SEVERAL, dst))
        }
    }

    /// One of several gateways.
    fn share(&self, prefix: u32, dst: u32) -> IreId {
        let routes = &self.prefixes[prefix as usize].routes;
        let n = self.sharers(routes) as u64;
        let hash = u64::from(dst.wrapping_mul(0x9e37_79b9));
        routes[((hash * n) >> 32) as usize]
    }

    /// How many of these, from the first, are alternatives to each other: gateways of one kind.
    /// Own addresses, broadcasts and interface routes are not: the first one added is used.
    fn sharers(&self, routes: &[IreId]) -> usize {
        let first = &self.slots[routes[0] as usize].ire;
        let alike = |id: &&IreId| {
            let ire = &self.slots[**id as usize].ire;
            ire.gateway != 0 && ire.kind.rank() == first.kind.rank()
        };
        routes.iter().take_while(alike).count().max(1)
    }

    /// The best route to `dst` that `pred` agrees to, for the rare questions: every length
    /// is tried.
    pub fn find(&self, dst: u32, pred: impl Fn(&Ire) -> bool) -> Option<IreId> {
        (0..=32u8)
            .rev()
            .filter(|&l| self.count[usize::from(l)] > 0)
            .find_map(|len| {
                let pid = *self.by_prefix.get(&(dst & mask_of(len), len))?;
                let routes = &self.prefixes[pid as usize].routes;
                routes
                    .iter()
                    .copied()
                    .find(|&id| pred(&self.slots[id as usize].ire))
            })
    }

    /// Adds a route; the host part of its destination is cleared.
    ///
    /// # Errors
    /// EINVAL: the mask has a hole. EEXIST: there is one of this kind with the same
    /// destination, mask and gateway (without a gateway: and address of an interface). ENOMEM: the table
    /// is full, at 2^25 prefixes.
    pub fn add(&mut self, mut ire: Ire) -> Result<IreId, Errno> {
        let len = len_of(ire.mask).ok_or(Errno::EINVAL)?;
        ire.dst &= ire.mask;
        let found = self.by_prefix.get(&(ire.dst, len)).copied();
        if let Some(pid) = found {
            let routes = &self.prefixes[pid as usize].routes;
            if routes
                .iter()
                .any(|&id| self.slots[id as usize].ire.same(&ire))
            {
                return Err(Errno::EEXIST);
            }
        }
        let pid = match found {
            Some(pid) => pid,
            None => self.new_prefix(ire.dst, len)?,
        };
        let slot = Slot { ire, prefix: pid };
        let id = match self.free_slots.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as IreId
            }
        };
        let rank = |id: &IreId| self.slots[*id as usize].ire.kind.rank();
        let routes = &self.prefixes[pid as usize].routes;
        let at = routes.partition_point(|r| rank(r) <= ire.kind.rank());
        self.prefixes[pid as usize].routes.insert(at, id);
        self.repick(pid);
        self.live += 1;
        self.generation += 1;
        Ok(id)
    }

    /// Deletes the first route, in order of preference, with this destination and mask, this
    /// gateway if one is given, and to which `pred` agrees.
    ///
    /// # Errors
    /// ESRCH: there is none.
    pub fn delete(
        &mut self,
        dst: u32,
        mask: u32,
        gateway: Option<u32>,
        pred: impl Fn(&Ire) -> bool,
    ) -> Result<Ire, Errno> {
        let len = len_of(mask).ok_or(Errno::ESRCH)?;
        let pid = *self.by_prefix.get(&(dst & mask, len)).ok_or(Errno::ESRCH)?;
        let fits = |ire: &Ire| gateway.is_none_or(|g| g == ire.gateway) && pred(ire);
        let mut routes = self.prefixes[pid as usize].routes.iter().copied();
        let id = routes
            .find(|&id| fits(&self.slots[id as usize].ire))
            .ok_or(Errno::ESRCH)?;
        Ok(self.remove(id))
    }

    /// Deletes every route to which `pred` agrees and says how many there were.
    pub fn delete_where(&mut self, mut pred: impl FnMut(&Ire) -> bool) -> usize {
        let gone: Vec<IreId> = self
            .iter()
            .filter(|(_, i)| pred(i))
            .map(|(id, _)| id)
            .collect();
        for &id in &gone {
            self.remove(id);
        }
        gone.len()
    }

    /// A route by its name; [`Ire::GONE`] if there is none of that name.
    #[inline]
    pub fn get(&self, id: IreId) -> &Ire {
        self.slots.get(id as usize).map_or(&self.gone, |s| &s.ire)
    }

    /// A route, to change its counters, flags, MTU or source. Kind, destination, mask and
    /// gateway are what it is filed by: to change those, delete it and add another.
    #[inline]
    pub fn get_mut(&mut self, id: IreId) -> &mut Ire {
        self.gone = Ire::GONE;
        self.slots
            .get_mut(id as usize)
            .map_or(&mut self.gone, |s| &mut s.ire)
    }

    /// All routes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (IreId, &Ire)> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, s)| s.prefix != 0)
            .map(|(id, s)| (id as IreId, &s.ire))
    }

    /// Changes with every route added or deleted: what a caller remembers from a lookup is
    /// good as long as this stays the same.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Routes in the table.
    pub fn len(&self) -> usize {
        self.live
    }

    /// No routes.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn remove(&mut self, id: IreId) -> Ire {
        let slot = &mut self.slots[id as usize];
        let (ire, pid) = (slot.ire, slot.prefix);
        *slot = Slot {
            ire: Ire::GONE,
            prefix: 0,
        };
        self.free_slots.push(id);
        self.live -= 1;
        self.generation += 1;
        self.prefixes[pid as usize].routes.retain(|r| *r != id);
        if self.prefixes[pid as usize].routes.is_empty() {
            self.drop_prefix(pid);
        } else {
            self.repick(pid);
        }
        ire
    }

    /// Settles what a lookup that ends at this prefix gives.
    fn repick(&mut self, pid: u32) {
        let routes = &self.prefixes[pid as usize].routes;
        let several = self.sharers(routes) > 1;
        let pick = if several { SEVERAL | pid } else { routes[0] };
        self.pick[pid as usize] = pick;
        let Prefix { net, len, .. } = self.prefixes[pid as usize];
        if len == 32 && self.hosts.insert(net, pick).is_none() {
            self.count_host(net, 1);
        }
    }

    fn new_prefix(&mut self, net: u32, len: u8) -> Result<u32, Errno> {
        let prefix = Prefix {
            net,
            len,
            routes: SmallVec::new(),
        };
        let pid = match self.free_prefixes.pop() {
            Some(pid) => {
                self.prefixes[pid as usize] = prefix;
                pid
            }
            None if self.prefixes.len() > PID_MASK as usize => return Err(Errno::ENOMEM),
            None => {
                self.prefixes.push(prefix);
                self.pick.push(NONE);
                (self.prefixes.len() - 1) as u32
            }
        };
        self.by_prefix.insert((net, len), pid);
        self.count[usize::from(len)] += 1;
        if len < 32 {
            self.edit(net, len, Edit::Put(leaf(len, pid)));
        }
        Ok(pid)
    }

    /// One host route more or less (-1) in the /16 of `host`.
    fn count_host(&mut self, host: u32, change: i32) {
        let net = (host >> 16) as usize;
        let n = &mut self.hosts_in[net];
        *n = n.saturating_add_signed(change);
        let bit = 1 << (net & 63);
        match *n {
            0 => self.some_in[net >> 6] &= !bit,
            _ => self.some_in[net >> 6] |= bit,
        }
    }

    fn drop_prefix(&mut self, pid: u32) {
        let Prefix { net, len, .. } = self.prefixes[pid as usize];
        self.by_prefix.remove(&(net, len));
        self.count[usize::from(len)] -= 1;
        self.free_prefixes.push(pid);
        self.pick[pid as usize] = NONE;
        if len == 32 {
            if self.hosts.remove(&net).is_some() {
                self.count_host(net, -1);
            }
            return;
        }
        let shorter = (0..len).rev().filter(|&l| self.count[usize::from(l)] > 0);
        let cover = shorter
            .filter_map(|l| Some(leaf(l, *self.by_prefix.get(&(net & mask_of(l), l))?)))
            .next()
            .unwrap_or(0);
        self.edit(net, len, Edit::Swap(leaf(len, pid), cover));
    }

    /// Changes the entries of a prefix's range, on whatever level they are. Nodes are made on
    /// the way down, and given back on the way up if all their entries have become one.
    fn edit(&mut self, net: u32, len: u8, edit: Edit) {
        let at = (net >> 16) as usize;
        if len <= 16 {
            for i in at..at + (1 << (16 - len)) {
                if self.root[i] & CHILD == 0 {
                    edit.apply(&mut self.root[i]);
                } else {
                    let node = self.root[i] & !CHILD;
                    self.edit_mid(node, 0, 256, edit);
                }
            }
            return;
        }
        if self.root[at] & CHILD == 0 {
            let node = take(&mut self.mid, &mut self.free_mid, [self.root[at]; 256]);
            self.root[at] = CHILD | node;
        }
        let node = self.root[at] & !CHILD;
        let i = (net >> 8 & 255) as usize;
        if len <= 24 {
            self.edit_mid(node, i, 1 << (24 - len), edit);
        } else {
            self.edit_low(node, i, net, len, edit);
        }
        let m = &self.mid[node as usize];
        if m[0] & CHILD == 0 && m.iter().all(|e| *e == m[0]) {
            self.root[at] = m[0];
            self.free_mid.push(node);
        }
    }

    fn edit_mid(&mut self, node: u32, from: usize, n: usize, edit: Edit) {
        for e in &mut self.mid[node as usize][from..from + n] {
            if *e & CHILD == 0 {
                edit.apply(e);
                continue;
            }
            let low = &mut self.low[(*e & !CHILD) as usize];
            let mut all = low.unpack();
            all.iter_mut().for_each(|e| edit.apply(e));
            *low = Runs::pack(&all);
        }
    }

    /// Longer than /24: in entry `i` of a middle node.
    fn edit_low(&mut self, node: u32, i: usize, net: u32, len: u8, edit: Edit) {
        let e = &mut self.mid[node as usize][i];
        let mut all = match *e & CHILD {
            0 => [*e; 256],
            _ => self.low[(*e & !CHILD) as usize].unpack(),
        };
        let from = (net & 255) as usize;
        all[from..from + (1 << (32 - len))]
            .iter_mut()
            .for_each(|e| edit.apply(e));
        let runs = Runs::pack(&all);
        match (*e & CHILD != 0, runs.vals.len() == 1) {
            (false, _) => *e = CHILD | take(&mut self.low, &mut self.free_low, runs),
            (true, false) => self.low[(*e & !CHILD) as usize] = runs,
            (true, true) => {
                let child = *e & !CHILD;
                *e = runs.vals[0];
                self.low[child as usize] = Runs::default();
                self.free_low.push(child);
            }
        }
    }
}

/// Puts a node into a free place or a new one.
fn take<T>(nodes: &mut Vec<T>, free: &mut Vec<u32>, node: T) -> u32 {
    match free.pop() {
        Some(i) => {
            nodes[i as usize] = node;
            i
        }
        None => {
            nodes.push(node);
            (nodes.len() - 1) as u32
        }
    }
}

fn leaf(len: u8, pid: u32) -> u32 {
    u32::from(len) << LEN_SHIFT | pid
}

/// The mask with `len` ones; all of them from 32 on.
pub fn mask_of(len: u8) -> u32 {
    (u64::MAX << 32u32.saturating_sub(u32::from(len))) as u32
}

/// How many ones a mask has; none if there is a gap.
pub fn len_of(mask: u32) -> Option<u8> {
    let len = mask.leading_ones() as u8;
    (mask_of(len) == mask).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ire(kind: IreKind, dst: u32, len: u8, gateway: u32) -> Ire {
        Ire {
            kind,
            dst,
            mask: mask_of(len),
            gateway,
            ill: 0,
            ipif: 0,
            flags: RTF_UP,
            mtu: 1500,
            ..Ire::GONE
        }
    }

    #[test]
    fn longest_then_kind() {
        let mut t = IreTable::new();
        assert_eq!(t.lookup(1), None);
        let table = [
            (IreKind::Default, 0, 0, 0x0a00_0001),
            (IreKind::Prefix, 0xc0a8_0000, 16, 0x0a00_0002),
            (IreKind::IfResolver, 0xc0a8_0100, 24, 0),
            (IreKind::Prefix, 0xc0a8_0100, 24, 0x0a00_0003),
            (IreKind::Host, 0xc0a8_0107, 32, 0x0a00_0004),
            (IreKind::Local, 0xc0a8_0107, 32, 0),
            (IreKind::Broadcast, 0xc0a8_01ff, 32, 0),
        ];
        let ids: Vec<_> = table
            .map(|(k, d, l, g)| t.add(ire(k, d, l, g)).unwrap())
            .into();
        for (dst, want) in [
            (1, 0),
            (0xc0a8_0201, 1),
            (0xc0a8_0101, 2),
            (0xc0a8_0107, 5),
            (0xc0a8_01ff, 6),
        ] {
            assert_eq!(t.lookup(dst), Some(ids[want]), "{dst:#x}");
        }
        assert_eq!(
            t.find(0xc0a8_0107, |i| i.kind == IreKind::Default),
            Some(ids[0])
        );
        assert_eq!(
            t.add(ire(IreKind::Host, 0xc0a8_0107, 32, 0x0a00_0004)),
            Err(Errno::EEXIST)
        );
        assert_eq!(
            t.add(Ire {
                mask: 0xff00_ff00,
                ..Ire::GONE
            }),
            Err(Errno::EINVAL)
        );
        assert_eq!(t.delete(1, u32::MAX, None, |_| true), Err(Errno::ESRCH));
        let g = t.generation();
        assert!(
            t.delete(0xc0a8_0100, mask_of(24), Some(0), |_| true)
                .is_ok()
        );
        assert_ne!(t.generation(), g);
        assert_eq!(t.lookup(0xc0a8_0101), Some(ids[3]));
        assert_eq!(*t.get(ids[2]), Ire::GONE);
        assert_eq!(t.delete_where(|_| true), 6);
        assert!(t.is_empty() && t.lookup(1).is_none());
        assert!(t.root.iter().all(|e| *e == 0));
        assert_eq!(
            (t.mid.len(), t.low.len()),
            (t.free_mid.len(), t.free_low.len())
        );
    }

    #[test]
    fn several_gateways_share() {
        let mut t = IreTable::new();
        for g in 1..=3 {
            t.add(ire(IreKind::Default, 0, 0, g)).unwrap();
        }
        let mut hits = [0; 3];
        for dst in 0..30_000u32 {
            let id = t.lookup(dst << 8).unwrap();
            assert_eq!(t.lookup(dst << 8), Some(id));
            hits[t.get(id).gateway as usize - 1] += 1;
        }
        assert!(hits.iter().all(|h| *h > 8_000), "{hits:?}");
    }

    /// Few bits set, so that prefixes nest and collide.
    fn prefix() -> impl Strategy<Value = (u32, u8)> {
        let bits = prop_oneof![
            Just(0u32),
            Just(0xc0a8_0000),
            Just(0xc0a8_0100),
            any::<u32>()
        ];
        let end = prop_oneof![Just(0u32), 0..4u32, Just(0xff), Just(0x80), Just(0xff00)];
        (bits, end, 0..=32u8).prop_map(|(b, e, l)| (b ^ e, l))
    }

    fn kinds() -> impl Strategy<Value = IreKind> {
        use IreKind::*;
        prop::sample::select(vec![
            Local,
            Cache,
            HostRedirect,
            Host,
            IfResolver,
            Prefix,
            Default,
        ])
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_scan(
            ops in prop::collection::vec((prefix(), kinds(), 0..3u32, any::<bool>()), 1..60),
            asks in prop::collection::vec(prefix(), 20),
        ) {
            let mut t = IreTable::new();
            let mut model: Vec<Ire> = Vec::new();
            for ((dst, len), kind, gateway, add) in ops {
                let mut i = ire(kind, dst, len, gateway);
                i.dst &= i.mask;
                let key = |m: &Ire| (m.dst, m.mask, m.gateway, m.kind as u16);
                let old = model.iter().position(|m| key(m) == key(&i));
                if add {
                    prop_assert_eq!(t.add(i).is_ok(), old.is_none());
                    if old.is_none() { model.push(i); }
                } else {
                    let got = t.delete(dst, i.mask, Some(gateway), |m| m.kind == kind);
                    prop_assert_eq!(got.is_ok(), old.is_some());
                    if let Some(at) = old { model.remove(at); }
                }
                for &(ask, _) in asks.iter().chain(&[(dst, 0), (dst ^ 1, 0), (dst ^ 0x100, 0)]) {
                    let covers = model.iter().filter(|m| ask & m.mask == m.dst);
                    let key = |m: &Ire| (!m.mask, m.kind.rank());
                    let best = covers.clone().map(key).min();
                    let mut fit = covers.filter(|m| Some(key(m)) == best);
                    let got = t.lookup(ask).map(|id| *t.get(id));
                    match got {
                        None => prop_assert!(best.is_none()),
                        Some(g) => prop_assert!(fit.any(|m| *m == g), "{:x} {:?}", ask, g),
                    }
                    prop_assert_eq!(t.find(ask, |_| true).is_some(), got.is_some());
                }
            }
            prop_assert_eq!(t.len(), model.len());
            t.delete_where(|_| true);
            prop_assert!(t.root.iter().all(|e| *e == 0));
        }
    }
}
