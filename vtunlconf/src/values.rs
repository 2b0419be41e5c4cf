//! Words that stand for values: addresses, masks, numbers, times, flags. Every number
//! that a command reads is read here, and every error points at its word.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::diag::Fail;
use crate::lex::Word;

/// Names of addresses, as /etc/hosts has them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    by_name: BTreeMap<String, Ipv4Addr>,
}

impl Names {
    /// Gives a name to an address; a name that was defined before now means the new one.
    pub fn define(&mut self, name: &str, addr: Ipv4Addr) {
        self.by_name.insert(name.to_owned(), addr);
    }
    /// Forgets a name; false if it was not known.
    pub fn forget(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }
    /// Every name with its address, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.by_name.iter().map(|(n, a)| (n.as_str(), *a))
    }
    /// The address of a name.
    pub fn get(&self, name: &str) -> Option<Ipv4Addr> {
        self.by_name.get(name).copied()
    }
    /// A name of an address.
    pub fn name_of(&self, addr: Ipv4Addr) -> Option<&str> {
        self.iter().find(|(_, a)| *a == addr).map(|(n, _)| n)
    }
    /// `name (address)`, or the address alone.
    pub fn show(&self, addr: Ipv4Addr) -> String {
        match self.name_of(addr) {
            Some(n) => format!("{n} ({addr})"),
            None => addr.to_string(),
        }
    }
    /// As a command takes it back: the name if there is one.
    pub fn word(&self, addr: Ipv4Addr) -> String {
        self.name_of(addr)
            .map_or_else(|| addr.to_string(), crate::lex::quote)
    }

    /// An address or a name.
    ///
    /// # Errors
    /// Neither.
    pub fn addr(&self, w: &Word) -> Result<Ipv4Addr, Fail> {
        self.addr_text(&w.text).map_err(|f| f.at(w.span))
    }

    fn addr_text(&self, text: &str) -> Result<Ipv4Addr, Fail> {
        if let Some(a) = self.get(text) {
            return Ok(a);
        }
        if let Ok(a) = text.parse() {
            return Ok(a);
        }
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(Fail::usage(format!("`{text}` is no address"))
                .mend("an address has four numbers from 0 to 255: 10.0.0.1"));
        }
        Err(Fail::usage(format!("no host is called `{text}`"))
            .meant(text, self.by_name.keys().map(String::as_str))
            .mend(format!(
                "`hosts {} 10.0.0.1` defines a name",
                crate::lex::quote(text)
            )))
    }

    /// An address or name with a prefix length, or the whole of it.
    ///
    /// # Errors
    /// No address, or no length.
    pub fn prefix(&self, w: &Word) -> Result<(Ipv4Addr, Option<u8>), Fail> {
        // A name may have a / in it: the name goes first.
        if let Some((addr, len)) = w.text.rsplit_once('/')
            && self.get(&w.text).is_none()
        {
            let addr = self.addr_text(addr).map_err(|f| f.at(w.span))?;
            let len = len.parse().ok().filter(|l| *l <= 32);
            let bad = || {
                Fail::usage(format!("`{}` has no prefix length", w.text))
                    .at(w.span)
                    .mend("a prefix length is 0 to 32: 10.1.0.0/16")
            };
            return Ok((addr, Some(len.ok_or_else(bad)?)));
        }
        Ok((self.addr(w)?, None))
    }
}

/// The mask of a prefix length.
pub fn mask_of(len: u8) -> Ipv4Addr {
    Ipv4Addr::from(
        u32::MAX
            .checked_shl(32 - u32::from(len.min(32)))
            .unwrap_or(0),
    )
}

/// The prefix length of a mask, if its ones are to the left.
pub fn len_of(mask: Ipv4Addr) -> Option<u8> {
    let m = u32::from(mask);
    (m.leading_ones() == m.count_ones()).then(|| m.count_ones() as u8)
}

/// The mask of an address's class: what ifconfig takes if none is given.
pub fn class_mask(addr: Ipv4Addr) -> Ipv4Addr {
    mask_of(match addr.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    })
}

/// A netmask: 255.255.255.0, 0xffffff00, ffffff00 or /24.
///
/// # Errors
/// None of these, or its ones are not all to the left.
pub fn mask(w: &Word) -> Result<Ipv4Addr, Fail> {
    let t = w.text.as_str();
    let hex = t.strip_prefix("0x").unwrap_or(t);
    let got = if let Some(len) = t.strip_prefix('/') {
        len.parse().ok().filter(|l| *l <= 32).map(mask_of)
    } else if hex.len() == 8 && hex.chars().all(|c| c.is_ascii_hexdigit()) {
        u32::from_str_radix(hex, 16).ok().map(Ipv4Addr::from)
    } else {
        t.parse().ok()
    };
    let bad = |why: &str| {
        Fail::usage(format!("`{t}` is no netmask{why}"))
            .at(w.span)
            .mend("write 255.255.255.0, 0xffffff00 or /24")
    };
    let m = got.ok_or_else(|| bad(""))?;
    len_of(m)
        .map(|_| m)
        .ok_or_else(|| bad(": its ones have to be on the left"))
}

/// A number in a range, decimal or 0x hexadecimal.
///
/// # Errors
/// No number, or out of the range.
pub fn number(w: &Word, range: std::ops::RangeInclusive<u32>) -> Result<u32, Fail> {
    let n = match w.text.strip_prefix("0x") {
        Some(hex) if !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        _ if w.text.starts_with('+') => None,
        _ => w.text.parse().ok(),
    };
    n.filter(|n| range.contains(n)).ok_or_else(|| {
        let (from, to) = (range.start(), range.end());
        Fail::usage(format!("`{}` is no number from {from} to {to}", w.text)).at(w.span)
    })
}

/// [`number`] that fits 16 bits.
///
/// # Errors
/// As [`number`].
pub fn number16(w: &Word, range: std::ops::RangeInclusive<u16>) -> Result<u16, Fail> {
    let n = number(w, u32::from(*range.start())..=u32::from(*range.end()))?;
    Ok(u16::try_from(n).unwrap_or(u16::MAX))
}

/// [`number`] that fits 8 bits.
///
/// # Errors
/// As [`number`].
pub fn number8(w: &Word, range: std::ops::RangeInclusive<u8>) -> Result<u8, Fail> {
    let n = number(w, u32::from(*range.start())..=u32::from(*range.end()))?;
    Ok(u8::try_from(n).unwrap_or(u8::MAX))
}

/// A time: 500ms, 10s, 5m, 1h, 1d; a bare number is seconds.
///
/// # Errors
/// No time.
pub fn time(w: &Word) -> Result<Duration, Fail> {
    let t = w.text.as_str();
    let end = t
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(t.len());
    let (digits, unit) = t.split_at(end);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => -1.0,
    };
    let secs: Option<f64> = digits.parse().ok().map(|n: f64| n * scale);
    // A hundred years is for ever.
    secs.filter(|s| (0.0..=3.2e9).contains(s) && scale > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| {
            Fail::usage(format!("`{t}` is no time"))
                .at(w.span)
                .mend("write 500ms, 10s, 5m or 1h")
        })
}

/// A probability: 5%, 0.5%, or 0.05.
///
/// # Errors
/// None, or more than all.
pub fn percent(w: &Word) -> Result<f64, Fail> {
    let (digits, scale) = match w.text.strip_suffix('%') {
        Some(d) => (d, 0.01),
        None => (w.text.as_str(), 1.0),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    let n: Option<f64> = digits.parse().ok().filter(|_| plain);
    n.map(|n| n * scale)
        .filter(|p| (0.0..=1.0).contains(p))
        .ok_or_else(|| {
            Fail::usage(format!("`{}` is no share", w.text))
                .at(w.span)
                .mend("write 5% or 0.5%")
        })
}

/// Bits in a second: 64k, 10M, 1G.
///
/// # Errors
/// No rate.
pub fn rate(w: &Word) -> Result<u64, Fail> {
    let t = w.text.as_str();
    let (digits, scale) = match t.chars().last() {
        Some('k') => (&t[..t.len() - 1], 1_000),
        Some('M') => (&t[..t.len() - 1], 1_000_000),
        Some('G') => (&t[..t.len() - 1], 1_000_000_000),
        _ => (t, 1),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    let n: Option<u64> = digits.parse().ok().filter(|_| plain);
    n.and_then(|n| n.checked_mul(scale))
        .filter(|n| *n > 0)
        .ok_or_else(|| {
            Fail::usage(format!("`{t}` is no rate"))
                .at(w.span)
                .mend("write bits in a second: 64k, 10M or 1G")
        })
}

/// A hardware address of six bytes.
///
/// # Errors
/// It is none.
pub fn ether(w: &Word) -> Result<[u8; 6], Fail> {
    let parts: Vec<&str> = w.text.split(':').collect();
    let mut out = [0; 6];
    let fits = parts.len() == 6
        && out.iter_mut().zip(&parts).all(|(o, p)| {
            let n = u8::from_str_radix(p, 16)
                .ok()
                .filter(|_| !p.starts_with('+'));
            n.inspect(|n| *o = *n).is_some()
        });
    if fits {
        return Ok(out);
    }
    Err(Fail::usage(format!("`{}` is no hardware address", w.text))
        .at(w.span)
        .mend("it has six hexadecimal numbers: 8:0:20:1:2:3"))
}

/// A time as commands take it back.
pub fn time_text(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 if !d.is_zero() => format!("{}us", d.as_micros()),
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ if ms > 10_000 => format!("{:.1}s", d.as_secs_f64()),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn w(text: &str) -> Word {
        Word {
            text: text.into(),
            span: (0..text.len()).into(),
            quoted: false,
        }
    }

    #[test]
    fn names_and_addresses() {
        let mut n = Names::default();
        n.define("cali", Ipv4Addr::new(10, 1, 0, 1));
        assert_eq!(n.addr(&w("cali")).unwrap().to_string(), "10.1.0.1");
        assert_eq!(n.addr(&w("10.1.0.2")).unwrap().to_string(), "10.1.0.2");
        assert_eq!(n.prefix(&w("cali/16")).unwrap().1, Some(16));
        assert_eq!(
            n.addr(&w("cail")).unwrap_err().mend[0],
            "did you mean `cali`?"
        );
        assert!(
            n.addr(&w("10.1.0.256"))
                .unwrap_err()
                .cause
                .contains("no address")
        );
        assert!(n.prefix(&w("10.0.0.0/33")).is_err());
    }

    #[test]
    fn masks() {
        for t in ["255.255.255.0", "0xffffff00", "ffffff00", "/24"] {
            assert_eq!(mask(&w(t)).unwrap(), mask_of(24), "{t}");
        }
        assert!(mask(&w("255.0.255.0")).is_err());
        assert_eq!(mask_of(0), Ipv4Addr::UNSPECIFIED);
        assert_eq!(len_of(mask_of(32)), Some(32));
        assert_eq!(class_mask(Ipv4Addr::new(172, 16, 0, 1)), mask_of(16));
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(number(&w("0x10"), 0..=99).unwrap(), 16);
        assert!(number(&w("100"), 0..=99).is_err());
        assert!(number(&w("+1"), 0..=99).is_err());
        assert!(number(&w("0x+1"), 0..=99).is_err());
        assert_eq!(time(&w("1.5s")).unwrap(), Duration::from_millis(1500));
        assert_eq!(time(&w("10")).unwrap(), Duration::from_secs(10));
        for t in ["", "s", "-1s", "1y", "1e9s", "..s", "99999999999999h"] {
            assert!(time(&w(t)).is_err(), "{t}");
        }
        assert_eq!(time_text(Duration::from_secs(600)), "10m");
    }

    proptest! {
        #[test]
        fn values_never_panic(t in ".{0,20}", u in "[0-9a-fx:/.+msh-]{0,20}") {
            for t in [t, u] {
                let word = w(&t);
                let _ = (mask(&word), number(&word, 0..=9), time(&word), ether(&word));
                let _ = Names::default().prefix(&word);
            }
        }
        #[test]
        fn a_time_reads_back(secs in 0u64..1_000_000) {
            let d = Duration::from_secs(secs);
            prop_assert_eq!(time(&w(&time_text(d))).unwrap(), d);
        }
    }
}
