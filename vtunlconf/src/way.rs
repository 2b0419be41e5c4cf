//! The way of each datagram: through which streams and modules of which hosts it went,
//! what was changed on the way, and where and why it ended.
//!
//! ```text
//!   1. 10.0.0.2 > 10.1.0.3 icmp echo request 1, 84 bytes, ttl 64
//!      ha   le0  ↑ ip
//!           ip0  ↓ vtunl     ttl 63
//!           ip0  ↓ /dev/ip   outer 192.168.0.1 > 192.168.1.1 ipip ttl 255
//!      fa1  le0  ↑ ip
//!   ..
//! ```
//!
//! Within a host the kernel's trace numbers messages; from host to host a datagram is
//! known by what nobody changes: addresses, protocol and identification of the innermost
//! header. Both together tell which events belong to one way.

use std::collections::HashMap;

use crate::peek::{Datagram, Early, Key, Peeked, peek, protocol};
use crate::style::{Paint, Style};

/// What happened to a message at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It came to a module.
    Came,
    /// It was put on the module's queue.
    Queued,
    /// The next queue was full.
    Full,
    /// It ended here, and why.
    Dropped(String),
    /// The module logged a line.
    Said(String),
}

/// One event, with names as people know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The host.
    pub host: String,
    /// The number that the host's kernel gave the message; 0 for none.
    pub tag: u32,
    /// The stream: an interface or a node.
    pub stream: String,
    /// The module or driver.
    pub module: String,
    /// Going up, towards the head.
    pub up: bool,
    /// What.
    pub event: Event,
    /// The message's first bytes of data.
    pub bytes: Vec<u8>,
    /// All its bytes of data.
    pub len: usize,
    /// The message's type.
    pub ty: String,
}

/// What the data link says of a frame that is for another host on the wire.
const NOT_OURS: &str = "no stream for this SAP or address";

/// The events of one datagram, in their order.
#[derive(Clone, Debug)]
pub struct Way {
    /// The events; the second part is what the message was then.
    pub steps: Vec<(Seen, Option<Peeked>)>,
}

impl Way {
    /// Is it an ARP message's?
    pub fn is_arp(&self) -> bool {
        matches!(self.first(), Some(Peeked::Arp(_)))
    }
    /// What it was when it was first recognized; if it can be, when IP had completed it.
    pub fn first(&self) -> Option<&Peeked> {
        let mut all = self.steps.iter().filter_map(|s| s.1.as_ref());
        let complete = all.clone().find(|p| match p {
            Peeked::Ip(d) => !d.innermost().src.is_unspecified(),
            Peeked::Arp(_) => true,
        });
        complete.or_else(|| all.next())
    }
    /// Leaves out that other hosts on a wire heard it too, and took it for not theirs.
    pub fn without_bystanders(mut self) -> Way {
        self.steps
            .retain(|(s, _)| !matches!(&s.event, Event::Dropped(why) if why == NOT_OURS));
        self
    }
    /// Why it ended, if it was dropped anywhere.
    pub fn drops(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|(s, _)| match &s.event {
            Event::Dropped(why) => Some(why.as_str()),
            _ => None,
        })
    }
}

/// Sorts events into ways, in the order in which the ways begin. Events of messages that
/// are no datagrams (control) are left out.
pub fn ways(events: Vec<Seen>) -> Vec<Way> {
    let mut groups = Groups::default();
    let mut placed = Vec::new();
    for seen in events {
        let peeked = peek(&seen.bytes);
        let key = match &peeked {
            Some(Peeked::Ip(d)) => Some((d.key(), d.early_key())),
            _ => None,
        };
        let tag = (seen.tag != 0).then(|| (seen.host.clone(), seen.tag));
        if peeked.is_none() && tag.is_none() {
            continue;
        }
        let group = groups.of(tag, key);
        placed.push((group, seen, peeked));
    }
    let mut order: Vec<usize> = Vec::new();
    let mut ways: HashMap<usize, Way> = HashMap::new();
    for (group, seen, peeked) in placed {
        let root = groups.root(group);
        let way = ways.entry(root).or_insert_with(|| {
            order.push(root);
            Way { steps: Vec::new() }
        });
        way.steps.push((seen, peeked));
    }
    order
        .into_iter()
        .filter_map(|g| ways.remove(&g))
        .filter(|w| w.first().is_some())
        .collect()
}

/// Which tags and keys belong together (union by parent).
#[derive(Default)]
struct Groups {
    parent: Vec<usize>,
    tags: HashMap<(String, u32), usize>,
    keys: HashMap<Key, usize>,
    /// Datagrams that IP has not completed yet, by what they have already.
    open: HashMap<Key, usize>,
}

impl Groups {
    fn root(&self, mut g: usize) -> usize {
        while let Some(p) = self.parent.get(g)
            && *p != g
        {
            g = *p;
        }
        g
    }

    fn of(&mut self, tag: Option<(String, u32)>, key: Option<(Key, Early)>) -> usize {
        let by_tag = tag.as_ref().and_then(|t| self.tags.get(t)).copied();
        let by_key = key.as_ref().and_then(|(k, early)| {
            let complete = || match early {
                Early::Complete(k) => self.open.get(k),
                Early::Open(_) => None,
            };
            self.keys.get(k).or_else(complete).copied()
        });
        let group = match (by_tag, by_key) {
            (Some(a), Some(b)) => {
                let (a, b) = (self.root(a), self.root(b));
                if let Some(p) = self.parent.get_mut(b.max(a)) {
                    *p = a.min(b);
                }
                a.min(b)
            }
            (Some(g), None) | (None, Some(g)) => self.root(g),
            (None, None) => {
                self.parent.push(self.parent.len());
                self.parent.len() - 1
            }
        };
        if let Some(t) = tag {
            self.tags.insert(t, group);
        }
        match key {
            // An incomplete header is no name yet: the next datagram may look the same.
            Some((_, Early::Open(k))) => {
                self.open.insert(k, group);
            }
            Some((k, Early::Complete(early))) => {
                self.open.remove(&early);
                self.keys.insert(k, group);
            }
            None => {}
        }
        group
    }
}

/// The way in lines.
pub fn draw(number: usize, way: &Way, ascii: bool, paint: Paint) -> String {
    let (up, down) = if ascii { ("^", "v") } else { ("↑", "↓") };
    let mut out = String::new();
    let title = match way.first() {
        Some(Peeked::Ip(d)) => {
            let d = d.innermost();
            format!("{d}, {} bytes, ttl {}", d.len, d.ttl)
        }
        Some(Peeked::Arp(text)) => text.clone(),
        None => "a message".into(),
    };
    out.push_str(&format!("{number}. {}\n", paint.on(Style::Strong, &title)));
    let wide = |f: fn(&Seen) -> &str| {
        let all = way.steps.iter().map(|s| f(&s.0).chars().count());
        all.max().unwrap_or(0)
    };
    let (h, s, m) = (wide(|s| &s.host), wide(|s| &s.stream), wide(|s| &s.module));
    let (mut host, mut last): (&str, Option<Datagram>) = ("", None);
    for (seen, peeked) in &way.steps {
        let shown = if host == seen.host { "" } else { &seen.host };
        host = &seen.host;
        let arrow = if seen.up { up } else { down };
        let now = match peeked {
            Some(Peeked::Ip(d)) => Some(d),
            _ => None,
        };
        let mut what = match &seen.event {
            Event::Came => now.map_or(String::new(), |d| changed(last.as_ref(), d)),
            Event::Queued => "waits in the queue".into(),
            Event::Full => "no room in the next queue".into(),
            Event::Said(text) => text.clone(),
            Event::Dropped(why) => paint.on(Style::Bad, &format!("dropped: {why}")),
        };
        if last.is_none() && now.is_some_and(|d| d.inner.is_none()) && seen.event == Event::Came {
            what.clear(); // the title has said it
        }
        last = match (now, last) {
            // What is inside is known from before.
            (Some(n), Some(l)) if n.is_cut_tunnel() && !same(n, l.innermost()) => {
                Some(n.around(l.innermost()))
            }
            (Some(n), _) => Some(n.clone()),
            (None, l) => l,
        };
        let place = format!("{shown:h$}  {:s$} {arrow} {:m$}", seen.stream, seen.module);
        out.push_str(format!("   {place}  {what}").trim_end());
        out.push('\n');
    }
    out
}

/// What is new about a datagram since it was last seen.
fn changed(before: Option<&Datagram>, now: &Datagram) -> String {
    let mut new = Vec::new();
    // Of a tunnelled datagram in several blocks only the outer header may be seen.
    let whole;
    let now = match before.map(Datagram::innermost) {
        Some(inner) if now.is_cut_tunnel() && !same(inner, now) => {
            whole = now.around(inner);
            &whole
        }
        _ => now,
    };
    let outer_before = before.map(Datagram::outers).unwrap_or_default();
    let outer_now = now.outers();
    // The outermost come first; the innermost ends of both lists stand for each other.
    let mut old = outer_before.iter().rev();
    for o in outer_now.iter().rev() {
        match old.next() {
            Some(b) if same(b, o) => {
                if b.ttl != o.ttl {
                    new.push(format!("outer ttl {}", o.ttl));
                }
            }
            _ => new.push(format!(
                "outer {} > {} {} ttl {}",
                o.src,
                o.dst,
                protocol(o.proto),
                o.ttl
            )),
        }
    }
    if outer_now.len() < outer_before.len() {
        let what = if outer_now.is_empty() {
            "no outer header"
        } else {
            "an outer header less"
        };
        new.push(what.to_owned());
    }
    if let Some(b) = before.map(Datagram::innermost) {
        let n = now.innermost();
        // That IP has filled in the source is told by the title.
        let src = if b.src.is_unspecified() { n.src } else { b.src };
        if (src, b.dst, b.proto) != (n.src, n.dst, n.proto) {
            new.push(n.to_string());
        } else if b.fragment != n.fragment {
            let (at, more) = n.fragment;
            let more = if more { "+" } else { "" };
            new.push(format!("fragment {at}{more}, {} bytes", n.len));
        }
        if b.ttl != n.ttl {
            new.push(format!("ttl {}", n.ttl));
        }
    }
    new.join(", ")
}

fn same(a: &Datagram, b: &Datagram) -> bool {
    (a.src, a.dst, a.proto) == (b.src, b.dst, b.proto)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(src: u8, dst: u8, proto: u8, ttl: u8, ident: u8, payload: &[u8]) -> Vec<u8> {
        let mut b = vec![
            0x45,
            0,
            0,
            20 + payload.len() as u8,
            0,
            ident,
            0,
            0,
            ttl,
            proto,
            0,
            0,
        ];
        b.extend([10, 0, 0, src, 10, 0, 0, dst]);
        b.extend(payload);
        b
    }

    fn seen(host: &str, tag: u32, at: &str, bytes: &[u8], event: Event) -> Seen {
        let (stream, module) = at.split_once(' ').unwrap();
        let up = module.starts_with('^');
        Seen {
            host: host.into(),
            tag,
            stream: stream.into(),
            module: module.trim_start_matches('^').into(),
            up,
            event,
            bytes: bytes.to_vec(),
            len: bytes.len(),
            ty: "Data".into(),
        }
    }

    #[test]
    fn a_way_from_host_to_host_through_a_tunnel() {
        let echo = [8, 0, 0, 0, 0, 1, 0, 1];
        let plain = header(1, 9, 1, 64, 7, &echo);
        let fwd = header(1, 9, 1, 63, 7, &echo);
        let tunnelled = header(2, 3, 4, 255, 1, &fwd);
        let other = header(5, 6, 1, 64, 8, &echo);
        let events = vec![
            seen("ha", 1, "le0 ^ip", &plain, Event::Came),
            seen("ha", 1, "ip0 vtunl", &fwd, Event::Came),
            seen("ha", 2, "le0 ^ip", &other, Event::Came),
            seen(
                "ha",
                2,
                "ip0 vtunl",
                &other,
                Event::Dropped("no encapsulation".into()),
            ),
            seen("ha", 1, "ip0 /dev/ip", &tunnelled, Event::Came),
            seen("fa", 1, "le0 ^ip", &tunnelled, Event::Came),
            seen("fa", 1, "ip0 ^ip", &fwd, Event::Came),
        ];
        let ways = ways(events);
        assert_eq!(ways.len(), 2);
        assert_eq!(
            draw(1, &ways[0], false, Paint::PLAIN),
            "\
1. 10.0.0.1 > 10.0.0.9 icmp echo request 1, 28 bytes, ttl 64
   ha  le0 ↑ ip
       ip0 ↓ vtunl    ttl 63
       ip0 ↓ /dev/ip  outer 10.0.0.2 > 10.0.0.3 ipip ttl 255
   fa  le0 ↑ ip
       ip0 ↑ ip       no outer header
"
        );
        assert_eq!(ways[1].drops().collect::<Vec<_>>(), ["no encapsulation"]);
        assert!(draw(2, &ways[1], true, Paint::PLAIN).contains("v vtunl  dropped: no encap"));
    }

    #[test]
    fn messages_that_are_no_datagrams_have_no_way() {
        assert!(ways(vec![seen("a", 0, "x y", &[1, 2], Event::Came)]).is_empty());
        assert!(ways(vec![seen("a", 3, "x y", &[], Event::Came)]).is_empty());
    }
}
