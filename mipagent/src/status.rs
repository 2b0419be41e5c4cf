//! What is going on: a log of what happened, and the tables of mipagentstat.
//!
//! ```text
//!   Mobile Node      Foreign Agent    Flags  Time Granted/Remaining
//! ```
//!
//! Spec: mipagentstat(1M) -h (home agent's table), -f (foreign agent's table).

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use vtunlconf::out::Table;

use crate::code;
use crate::foreign::ForeignAgent;
use crate::home::HomeAgent;
use crate::message::letters;
use crate::mobile::MobileNode;

/// Something that happened to a mobile node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who tells: home, foreign, mobile.
    pub role: &'static str,
    /// The mobile node, by its home address.
    pub home: Ipv4Addr,
    /// What.
    pub text: String,
}

/// What has happened since somebody looked.
#[derive(Clone, Debug, Default)]
pub struct Log(Vec<Entry>);

impl Log {
    /// Adds an entry. The latest are kept.
    pub fn add(&mut self, role: &'static str, home: Ipv4Addr, text: impl Into<String>) {
        const MOST: usize = 10_000;
        if self.0.len() >= MOST {
            self.0.drain(..MOST / 2);
        }
        let text = text.into();
        self.0.push(Entry { role, home, text });
    }

    /// Takes what there is.
    pub fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.0)
    }
}

/// Seconds left, as vtunl tells them: 0 is for ever.
pub(crate) fn remaining(left: u32) -> Option<u32> {
    (left != 0).then_some(left)
}

fn left_text(left: Option<u32>) -> String {
    left.map_or("forever".to_owned(), |s| s.to_string())
}

/// A home agent's bindings, as JSON.
pub fn home_json(h: &HomeAgent<'_>) -> Value {
    let bound = h.bindings().unwrap_or_default();
    let rows = bound.iter().map(|b| {
        json!({ "mobile_node": b.home.to_string(), "care_of": b.care_of.to_string(),
                "flags": b.flags, "remaining": b.left })
    });
    let c = h.counters;
    json!({
        "address": h.address().to_string(),
        "bindings": rows.collect::<Vec<_>>(),
        "accepted": c.accepted, "denied": c.denied,
        "discarded": c.discarded, "security_violations": c.violations,
    })
}

/// A foreign agent's visitors, as JSON.
pub fn foreign_json(f: &ForeignAgent<'_>, now: std::time::Duration) -> Value {
    let rows = f.visitors().map(|v| {
        json!({ "mobile_node": v.home.to_string(), "home_agent": v.agent.to_string(),
                "interface": f.link_name(v.link), "flags": letters(v.flags),
                "granted": v.granted, "remaining": v.left(now) })
    });
    let c = f.counters;
    json!({
        "care_of": f.care_of().to_string(),
        "visitors": rows.collect::<Vec<_>>(),
        "pending": f.pending(), "relayed": c.relayed, "accepted": c.accepted,
        "denied": c.denied, "discarded": c.discarded, "security_violations": c.violations,
    })
}

/// A mobile node, as JSON.
pub fn mobile_json(m: &MobileNode<'_>, now: std::time::Duration) -> Value {
    json!({
        "home_address": m.home().to_string(),
        "where": m.place().to_string(),
        "care_of": m.care_of().map(|c| c.to_string()),
        "state": m.state_text(),
        "remaining": m.left(now),
        "last_code": m.last_code(),
        "last_reason": m.last_code().map(code::text),
        "handovers": m.handovers(),
    })
}

/// The tables of a status that [`home_json`] and its kin made, for people.
pub fn render(status: &Value) -> String {
    let text = |v: &Value, k: &str| match v.get(k) {
        Some(Value::String(s)) => s.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let left = |v: &Value| {
        let n = v.get("remaining").and_then(Value::as_u64);
        left_text(n.and_then(|n| u32::try_from(n).ok()))
    };
    let rows = |v: &Value, k: &str| {
        v.get(k)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let mut out = String::new();
    let mut add = |t: &Table| {
        for line in t.lines() {
            out.push_str(&line);
            out.push('\n');
        }
    };
    if let Some(h) = status.get("home").filter(|h| !h.is_null()) {
        let mut t = Table::new(&["Mobile Node", "Care-of Address", "Flags", "Remaining"]);
        for b in rows(h, "bindings") {
            t.row([
                text(&b, "mobile_node"),
                text(&b, "care_of"),
                text(&b, "flags"),
                left(&b),
            ]);
        }
        add(&t);
    }
    if let Some(f) = status.get("foreign").filter(|f| !f.is_null()) {
        let columns = [
            "Visitor",
            "Home Agent",
            "Interface",
            "Flags",
            "Granted",
            "Remaining",
        ];
        let mut t = Table::new(&columns);
        for v in rows(f, "visitors") {
            let cells = ["mobile_node", "home_agent", "interface", "flags", "granted"];
            t.row(cells.map(|k| text(&v, k)).into_iter().chain([left(&v)]));
        }
        add(&t);
    }
    if let Some(m) = status.get("mobile").filter(|m| !m.is_null()) {
        let mut t = Table::new(&[
            "Home Address",
            "Where",
            "Care-of Address",
            "State",
            "Remaining",
        ]);
        let cells = ["home_address", "where", "care_of", "state", "remaining"];
        t.row(cells.map(|k| text(m, k)));
        add(&t);
    }
    out
}
