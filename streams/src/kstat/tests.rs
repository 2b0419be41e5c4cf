//! A module with counters, the chain, its selectors and differences.

use super::*;
use crate::prelude::*;
use crate::{Config, Kernel, Sys, oflag};

/// What all instances count together.
#[derive(Default)]
struct Counts {
    writes: u64,
    bytes: u64,
}

struct Meter;

impl Module for Meter {
    type Shared = Counts;
    const INFO: ModuleInfo = ModuleInfo::named(0x6d65, "meter");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q: &mut Queue<'_, Meter>, mp| {
        if mp.ty() != MsgType::Data {
            return q.discard(mp, "no data");
        }
        let n = mp.msgdsize() as u64;
        let c = q.shared();
        (c.writes, c.bytes) = (c.writes + 1, c.bytes + n);
        q.freemsg(mp);
    });

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        Ok(Meter)
    }

    fn kstats(c: &mut Counts, name: &'static str) -> Vec<Kstat> {
        let mut k = Kstat::new(name, 0, format!("{name}0"), "misc");
        k.u32("writes", c.writes);
        k.u64("bytes64", c.bytes);
        k.text("unit", "octets");
        vec![k]
    }
}

fn kernel() -> (Kernel, crate::Process) {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    k.add_drv::<Meter>().expect("the name is free");
    k.add_drv_sharing::<Meter>("alias", "meter")
        .expect("it is there");
    let p = k.process(Cred::ROOT);
    (k, p)
}

#[test]
fn statistics_are_there_from_the_first_open_and_once() {
    // kstat(3KSTAT): the chain has what is installed.
    let (k, p) = kernel();
    assert!(k.kstats().chain.is_empty());
    let fd = p.open("/dev/alias", oflag::O_WRONLY).expect("open");
    p.write(fd, b"seven b").expect("write");
    let s = k.kstats();
    assert_eq!(s.chain.len(), 1, "two names share one state");
    assert_eq!(s.number("meter:0:meter0:writes"), Some(1));
    assert_eq!(s.number("meter:0:meter0:bytes64"), Some(7));
    assert_eq!(s.number("meter:0:meter0:unit"), None);
    for wrong in [
        "meter:1:meter0:writes",
        "meter:0:meter0",
        "meter",
        "",
        "::::",
    ] {
        assert_eq!(s.number(wrong), None, "{wrong}");
    }
    p.close(fd).expect("close");
    assert_eq!(
        k.kstats().number("meter:0:meter0:writes"),
        Some(1),
        "they outlive the instance"
    );
}

#[test]
fn a_difference_is_what_moved_and_wraps_as_the_counter_does() {
    let (k, p) = kernel();
    let fd = p.open("/dev/meter", oflag::O_WRONLY).expect("open");
    p.write(fd, b"abc").expect("write");
    let before = k.kstats();
    k.advance(Duration::from_secs(2));
    p.write(fd, b"de").expect("write");
    let now = k.kstats();
    assert_eq!(now.at - before.at, Duration::from_secs(2));
    let moved = now.since(&before);
    assert_eq!(moved.number("meter:0:meter0:writes"), Some(1));
    assert_eq!(moved.number("meter:0:meter0:bytes64"), Some(2));
    // KSTAT_DATA_UINT32 holds 32 bits.
    let of = |n: u64, born| {
        let mut one = Kstat::new("m", 0, "m0", "net").since_time(Duration::from_secs(born));
        one.u32("n", n);
        one.u64("n64", n);
        Snapshot {
            at: Duration::ZERO,
            chain: vec![one],
        }
    };
    let moved = of((1 << 32) + 2, 0).since(&of((1 << 32) - 1, 0));
    assert_eq!(moved.number("m:0:m0:n"), Some(3));
    assert_eq!(moved.number("m:0:m0:n64"), Some(3));
    let other = of(5, 1).since(&of(3, 0));
    assert_eq!(
        other.number("m:0:m0:n64"),
        Some(5),
        "a later one of the name"
    );
}

#[test]
fn selectors_take_parts_with_globs() {
    // kstat(1M): module:instance:name:statistic
    let mut le = Kstat::new("le", 0, "le0", "net");
    for n in ["ipackets", "opackets", "ierrors"] {
        le.u64(n, 1);
    }
    let mut ip = Kstat::new("ip", 0, "icmp", "mib2");
    ip.u64("inMsgs", 2);
    let all = Snapshot {
        at: Duration::ZERO,
        chain: vec![ip, le],
    };
    let got = |text: &str| -> Vec<String> {
        let s: Selector = text.parse().expect("a selector");
        let found = all.select(&[s]);
        let rows = found.chain.iter().flat_map(|k| {
            let row = |d: &(Cow<'static, str>, Value)| format!("{}:{}", k.name, d.0);
            k.data.iter().map(row)
        });
        rows.collect()
    };
    assert_eq!(got("le"), ["le0:ipackets", "le0:opackets", "le0:ierrors"]);
    assert_eq!(got(":::?packets"), ["le0:ipackets", "le0:opackets"]);
    assert_eq!(got("le:0:le[0-3]:[!o]*"), ["le0:ipackets", "le0:ierrors"]);
    assert_eq!(got("*:0:icmp"), ["icmp:inMsgs"]);
    for none in [
        "le:1",
        "l",
        "le::le",
        "le:::i",
        "le:0:le0:[",
        "[]",
        "le:::*z*",
    ] {
        assert!(got(none).is_empty(), "{none}");
    }
    assert_eq!(all.select(&[]), all);
    let net = Selector::default().of_class("net");
    assert_eq!(all.select(&[net]).chain.len(), 1);
    for bad in ["a:b:c:d:e", "le:x", "le:-1", "le:99999999999"] {
        assert_eq!(bad.parse::<Selector>(), Err(Errno::EINVAL), "{bad}");
    }
}
