//! The table of routes: added, deleted, and the best one to a destination.
//!
//! ```text
//!   dst ─► trie.rs: longest prefix ─► its value ─┬─► the name of the one route to use
//!                                                └─► "several": choose by hash of dst
//!   (net, length) ─► prefix ─► its routes, best first
//! ```
//!
//! Spec:    order of lookup as in Solaris `inet/ip.h`, route(7P), RFC 1812 5.2.4.3.
//! Kept:    longest mask first; at equal length own addresses and broadcasts, then cached,
//!          host, interface, prefix and default routes; several gateways for one prefix.
//! Differs: several gateways are chosen by a hash of the destination, not in turn: a flow
//!          keeps its path, and a lookup changes nothing. One table for what Solaris keeps
//!          in a cache table and a forwarding table. Uses of a route are not counted.
//! Not done: masks with holes (EINVAL), routes by source address or by TOS.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use streams::Errno;

use crate::ire::{Ire, IreId, IreKind, len_of, mask_of};
use crate::slab::Slab;
use crate::trie::{self, SHARDS, Trie};

/// Value in the trie: the number of a prefix with several routes to choose from. Without
/// it: the name of a route, plus one.
const SEVERAL: u32 = 1 << 30;
/// Routes, and prefixes, that fit below it.
const MOST: usize = (trie::VALUE & !SEVERAL) as usize;

/// The routes of one prefix.
#[derive(Default)]
struct Prefix {
    net: u32,
    len: u8,
    /// What the trie has for it.
    value: u32,
    /// By rank, then by age.
    routes: SmallVec<[IreId; 2]>,
}

/// The routes, and the trie over their prefixes.
pub struct IreTable {
    slots: Slab<Option<Ire>>,
    prefixes: Slab<Prefix>,
    /// In shards, so that no change waits for one large hash to grow.
    by_prefix: Vec<FxHashMap<(u32, u8), u32>>,
    /// Prefixes of each length.
    count: [u32; 33],
    trie: Trie,
    generation: u64,
    gone: Ire,
    /// Gateways of default routes that do not answer.
    dead: Vec<u32>,
}

impl Default for IreTable {
    fn default() -> IreTable {
        IreTable::new()
    }
}

/// The shard of `by_prefix` that knows a prefix.
fn shard(net: u32, len: u8) -> usize {
    trie::shard(net ^ u32::from(len))
}

impl IreTable {
    /// A table without routes.
    pub fn new() -> IreTable {
        IreTable {
            slots: Slab::default(),
            prefixes: Slab::default(),
            by_prefix: vec![FxHashMap::default(); SHARDS],
            count: [0; 33],
            trie: Trie::new(),
            generation: 0,
            gone: Ire::GONE,
            dead: Vec::new(),
        }
    }

    /// The route to `dst`: the longest prefix, the best kind; among several gateways of that
    /// kind, the one that a hash of `dst` chooses.
    #[inline]
    pub fn lookup(&self, dst: u32) -> Option<IreId> {
        let value = self.trie.get(dst);
        if value & SEVERAL == 0 {
            return value.checked_sub(1);
        }
        Some(self.share(value & !SEVERAL, dst))
    }

    /// The longest interface route to an address by one of these links, whatever other routes
    /// there are.
    pub fn on_link(&self, dst: u32, able: impl Fn(u32) -> bool) -> Option<&Ire> {
        let on = |k| matches!(k, IreKind::IfResolver | IreKind::IfNoResolver);
        (0..=32).rev().find_map(|len| {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            let pid = self.prefix(dst & mask, len)?;
            let mut ires = self.prefixes[pid].routes.iter().map(|id| self.get(*id));
            ires.find(|i| on(i.kind) && able(i.ill))
        })
    }

    /// The number of a prefix.
    fn prefix(&self, net: u32, len: u8) -> Option<u32> {
        self.by_prefix[shard(net, len)].get(&(net, len)).copied()
    }

    /// One of several gateways.
    fn share(&self, prefix: u32, dst: u32) -> IreId {
        let routes = &self.prefixes[prefix].routes;
        let n = self.sharers(routes) as u64;
        let hash = u64::from(dst.wrapping_mul(0x9e37_79b9));
        routes[((hash * n) >> 32) as usize]
    }

    /// How many of these, from the first, are alternatives to each other: gateways of one kind.
    /// Own addresses, broadcasts and interface routes are not: the first one added is used.
    fn sharers(&self, routes: &[IreId]) -> usize {
        let first = self.get(routes[0]);
        let alike = |id: &&IreId| {
            let ire = self.get(**id);
            ire.gateway != 0 && self.order(ire) == self.order(first)
        };
        routes.iter().take_while(alike).count().max(1)
    }

    /// The order among the routes of a prefix; the lowest is used.
    fn order(&self, ire: &Ire) -> (u8, bool) {
        let dead = ire.mask == 0 && self.dead.contains(&ire.gateway);
        (ire.kind.rank(), dead)
    }

    /// Says that a gateway of a default route does not answer: the others are used before it;
    /// or that it does again. True if that is new.
    pub fn set_dead(&mut self, gateway: u32, dead: bool) -> bool {
        if self.is_dead(gateway) == dead {
            return false;
        }
        let pid = self.prefix(0, 0);
        let routes = pid.map(|pid| &self.prefixes[pid].routes);
        let mut ires = routes.into_iter().flatten().map(|id| self.get(*id));
        let known = gateway != 0 && ires.any(|i| i.gateway == gateway);
        if !dead {
            self.dead.retain(|g| *g != gateway);
        } else if known {
            self.dead.push(gateway);
        }
        if let Some(pid) = pid.filter(|_| known) {
            let mut routes = std::mem::take(&mut self.prefixes[pid].routes);
            routes.sort_by_key(|id| self.order(self.get(*id)));
            self.prefixes[pid].routes = routes;
            self.repick(pid);
            self.generation += 1;
        }
        known
    }

    /// Is it a gateway of a default route that does not answer?
    pub fn is_dead(&self, gateway: u32) -> bool {
        self.dead.contains(&gateway)
    }

    /// The best route to `dst` that `pred` agrees to, for the rare questions: every length
    /// is tried.
    pub fn find(&self, dst: u32, pred: impl Fn(&Ire) -> bool) -> Option<IreId> {
        (0..=32u8)
            .rev()
            .filter(|&l| self.count[usize::from(l)] > 0)
            .find_map(|len| {
                let pid = self.prefix(dst & mask_of(len), len)?;
                let routes = &self.prefixes[pid].routes;
                routes.iter().copied().find(|&id| pred(self.get(id)))
            })
    }

    /// Adds a route; the host part of its destination is cleared.
    ///
    /// # Errors
    /// EINVAL: the mask has a hole. EEXIST: there is one of this kind with the same
    /// destination, mask and gateway (without a gateway: and address of an interface).
    /// ENOMEM: the table is full, at 2^26 routes.
    pub fn add(&mut self, mut ire: Ire) -> Result<IreId, Errno> {
        let len = len_of(ire.mask).ok_or(Errno::EINVAL)?;
        ire.dst &= ire.mask;
        let found = self.prefix(ire.dst, len);
        if let Some(pid) = found {
            let routes = &self.prefixes[pid].routes;
            if routes.iter().any(|&id| self.get(id).same(&ire)) {
                return Err(Errno::EEXIST);
            }
        }
        if self.len() >= MOST {
            return Err(Errno::ENOMEM);
        }
        let pid = found.unwrap_or_else(|| self.new_prefix(ire.dst, len));
        let id = self.slots.insert(Some(ire));
        let routes = &self.prefixes[pid].routes;
        let at = routes.partition_point(|r| self.order(self.get(*r)) <= self.order(&ire));
        self.prefixes[pid].routes.insert(at, id);
        self.repick(pid);
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
        let pid = self.prefix(dst & mask, len).ok_or(Errno::ESRCH)?;
        let fits = |ire: &Ire| gateway.is_none_or(|g| g == ire.gateway) && pred(ire);
        let mut routes = self.prefixes[pid].routes.iter().copied();
        let id = routes.find(|&id| fits(self.get(id))).ok_or(Errno::ESRCH)?;
        Ok(self.remove(pid, id))
    }

    /// Deletes every route to which `pred` agrees and says how many there were. All are looked
    /// at, for which a million takes 2.5 ms: an index by interface would cost each of them 8
    /// bytes more, and an interface goes down rarely.
    pub fn delete_where(&mut self, mut pred: impl FnMut(&Ire) -> bool) -> usize {
        let mut gone = Vec::new();
        for (id, ire) in self.iter().filter(|(_, ire)| pred(ire)) {
            let len = ire.mask.count_ones() as u8;
            if let Some(pid) = self.prefix(ire.dst, len) {
                gone.push((pid, id));
            }
        }
        for &(pid, id) in &gone {
            self.remove(pid, id);
        }
        gone.len()
    }

    /// A route by its name; [`Ire::GONE`] if there is none of that name.
    #[inline]
    pub fn get(&self, id: IreId) -> &Ire {
        self.slots
            .get(id)
            .and_then(Option::as_ref)
            .unwrap_or(&self.gone)
    }

    /// A route, to change its flags, MTU or source. Kind, destination, mask and
    /// gateway are what it is filed by: to change those, delete it and add another.
    #[inline]
    pub fn get_mut(&mut self, id: IreId) -> &mut Ire {
        self.gone = Ire::GONE;
        self.slots
            .get_mut(id)
            .and_then(Option::as_mut)
            .unwrap_or(&mut self.gone)
    }

    /// All routes, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (IreId, &Ire)> {
        let all = self.slots.iter();
        all.filter_map(|(id, ire)| Some((id, ire.as_ref()?)))
    }

    /// Changes with every route added or deleted: what a caller remembers from a lookup is
    /// good as long as this stays the same.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Routes in the table.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No routes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a route of a prefix away.
    fn remove(&mut self, pid: u32, id: IreId) -> Ire {
        let ire = self.slots.remove(id).unwrap_or(Ire::GONE);
        self.generation += 1;
        self.prefixes[pid].routes.retain(|r| *r != id);
        if self.prefixes[pid].routes.is_empty() {
            self.drop_prefix(pid);
        } else {
            self.repick(pid);
        }
        ire
    }

    /// Settles what a lookup that ends at this prefix gives.
    fn repick(&mut self, pid: u32) {
        let p = &self.prefixes[pid];
        let several = self.sharers(&p.routes) > 1;
        let new = if several {
            SEVERAL | pid
        } else {
            p.routes[0] + 1
        };
        match p.value {
            0 => self.trie.add(p.net, p.len, new),
            old => self.trie.replace(p.net, p.len, old, new),
        }
        self.prefixes[pid].value = new;
    }

    /// A prefix without routes yet.
    fn new_prefix(&mut self, net: u32, len: u8) -> u32 {
        let prefix = Prefix {
            net,
            len,
            value: 0,
            routes: SmallVec::new(),
        };
        let pid = self.prefixes.insert(prefix);
        self.by_prefix[shard(net, len)].insert((net, len), pid);
        self.count[usize::from(len)] += 1;
        pid
    }

    fn drop_prefix(&mut self, pid: u32) {
        let Prefix {
            net, len, value, ..
        } = self.prefixes.remove(pid);
        self.by_prefix[shard(net, len)].remove(&(net, len));
        self.count[usize::from(len)] -= 1;
        let (by, count, prefixes) = (&self.by_prefix, &self.count, &self.prefixes);
        self.trie.remove(net, len, value, |net, len| {
            if count[usize::from(len)] == 0 {
                return 0;
            }
            let pid = by[shard(net, len)].get(&(net, len));
            pid.map_or(0, |pid| prefixes[*pid].value)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ire::RTF_UP;
    use proptest::prelude::*;

    fn ire(kind: IreKind, dst: u32, len: u8, gateway: u32) -> Ire {
        Ire {
            kind,
            dst,
            mask: mask_of(len),
            gateway,
            ill: 0,
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
        assert!(t.trie.is_clear());
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

    #[test]
    fn who_does_not_answer_comes_last() {
        // RFC 1122 3.3.1.5
        let mut t = IreTable::new();
        for g in 1..=3 {
            t.add(ire(IreKind::Default, 0, 0, g)).unwrap();
        }
        let used = |t: &IreTable| {
            let of = |dst: u32| t.get(t.lookup(dst << 20).unwrap()).gateway;
            let mut all: Vec<u32> = (0..1000).map(of).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        assert!(!t.set_dead(9, true), "nobody's gateway");
        let before = t.generation();
        assert!(t.set_dead(2, true) && !t.set_dead(2, true));
        assert!(t.generation() > before);
        assert_eq!(used(&t), [1, 3]);
        assert!(t.set_dead(1, true) && t.set_dead(3, true));
        assert_eq!(used(&t), [1, 2, 3], "all alike again");
        assert!(t.set_dead(3, false));
        assert_eq!(used(&t), [3]);
        // One that goes is no longer dead when it comes back, if it has answered.
        t.delete(0, 0, Some(1), |_| true).unwrap();
        assert!(!t.set_dead(1, false) && !t.is_dead(1));
        t.add(ire(IreKind::Default, 0, 0, 1)).unwrap();
        assert_eq!(used(&t), [1, 3]);
        t.set_dead(2, false);
        t.delete_where(|_| true);
        assert!(t.trie.is_clear());
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
            prop_assert!(t.trie.is_clear());
        }
    }
}
