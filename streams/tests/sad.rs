//! sad(7D) and autopush: the reference's 8.1 and 8.5.

mod common;

use common::{open, root, transparent};
use streams::autopush::*;
use streams::drivers::sad::*;
use streams::prelude::*;
use streams::sys::USER_BASE;
use streams::{Ioctl, Kernel, Process, Sys, oflag};

fn sap(major: u32, cmd: u32, minor: u32, last: u32, list: &[&str]) -> StrApush {
    StrApush {
        cmd,
        major,
        minor,
        last,
        list: list.iter().map(|s| (*s).to_owned()).collect(),
        anchor: 0,
    }
}

struct Admin {
    k: Kernel,
    p: Process,
    fd: i32,
    echo: u32,
}

fn admin() -> Admin {
    let (k, p) = root();
    let fd = open(&p, "/dev/sad/admin");
    let echo = k.major("echo").expect("echo");
    for minor in 0..6 {
        k.mknod(&format!("/dev/echo{minor}"), "echo", Some(minor))
            .expect("mknod");
    }
    Admin { k, p, fd, echo }
}

impl Admin {
    fn set(&self, s: &StrApush) -> Result<(), Errno> {
        transparent(&self.p, self.fd, SAD_SAP, &s.to_bytes(0)).map(|_| ())
    }
    fn clear(&self, minor: u32) -> Result<(), Errno> {
        self.set(&sap(self.echo, SAP_CLEAR, minor, 0, &[]))
    }
    fn get(&self, minor: u32) -> Result<StrApush, Errno> {
        let ask = sap(self.echo, 0, minor, 0, &[]).to_bytes(0);
        let r = transparent(&self.p, self.fd, SAD_GAP, &ask)?;
        StrApush::parse(&r.data)
    }
    fn stack(&self, path: &str) -> Vec<String> {
        let fd = open(&self.p, path);
        let r = self.p.ioctl(fd, Ioctl::List).expect("I_LIST");
        self.p.close(fd).expect("close");
        r.names
    }
}

#[test]
fn an_open_pushes_what_is_configured_in_its_order() {
    let a = admin();
    a.set(&sap(a.echo, SAP_ONE, 2, 0, &["nullmod", "pipemod"]))
        .expect("SAP_ONE");
    a.set(&sap(a.echo, SAP_RANGE, 3, 4, &["bufmod"]))
        .expect("SAP_RANGE");
    assert_eq!(a.stack("/dev/echo2"), ["pipemod", "nullmod", "echo"]);
    assert_eq!(a.stack("/dev/echo1"), ["echo"]);
    assert_eq!(a.stack("/dev/echo3"), ["bufmod", "echo"]);
    assert_eq!(a.stack("/dev/echo4"), ["bufmod", "echo"]);
    assert_eq!(a.stack("/dev/echo5"), ["echo"]);
    let nuls = a.k.major("nuls").expect("nuls");
    a.set(&sap(nuls, SAP_ALL, 0, 0, &["nullmod"]))
        .expect("SAP_ALL");
    assert_eq!(a.stack("/dev/nuls"), ["nullmod", "nuls"]); // clone opens too
}

#[test]
fn what_is_set_can_be_asked_for_and_cleared() {
    let a = admin();
    let range = sap(a.echo, SAP_RANGE, 2, 4, &["nullmod"]);
    a.set(&range).expect("SAP_RANGE");
    assert_eq!(a.get(3), Ok(range)); // by any minor of the range
    assert_eq!(a.get(1), Err(Errno::ENODEV));
    assert_eq!(a.clear(3), Err(Errno::ERANGE)); // not its first minor
    assert_eq!(a.clear(1), Err(Errno::ENODEV));
    assert_eq!(a.clear(2), Ok(()));
    assert_eq!(a.get(3), Err(Errno::ENODEV));
    a.set(&sap(a.echo, SAP_ALL, 0, 0, &["nullmod"]))
        .expect("set");
    assert_eq!(a.clear(3), Err(Errno::EINVAL)); // all: only by minor 0
    assert_eq!(a.clear(0), Ok(()));
}

#[test]
fn sad_sap_refuses_what_cannot_be_pushed() {
    let a = admin();
    a.set(&sap(a.echo, SAP_RANGE, 2, 4, &["nullmod"]))
        .expect("set");
    let nine = ["nullmod"; 9];
    for (s, want) in [
        (sap(a.echo, SAP_ONE, 4, 0, &["nullmod"]), Errno::EEXIST),
        (sap(a.echo, SAP_ALL, 0, 0, &["nullmod"]), Errno::EEXIST),
        (sap(a.echo, SAP_RANGE, 1, 2, &["nullmod"]), Errno::EEXIST),
        (sap(a.echo, SAP_RANGE, 8, 8, &["nullmod"]), Errno::ERANGE),
        (sap(a.echo, SAP_ONE, 9, 0, &[]), Errno::EINVAL),
        (sap(a.echo, SAP_ONE, 9, 0, &nine), Errno::EINVAL), // MAXAPUSH
        (sap(a.echo, SAP_ONE, 9, 0, &["nosuch"]), Errno::EINVAL),
        (sap(a.echo, 4, 9, 0, &["nullmod"]), Errno::EINVAL),
        (sap(4711, SAP_ONE, 9, 0, &["nullmod"]), Errno::EINVAL),
        (sap(4711, SAP_CLEAR, 9, 0, &[]), Errno::EINVAL),
    ] {
        assert_eq!(a.set(&s), Err(want), "{s:?}");
    }
    let eight = ["nullmod"; MAXAPUSH];
    a.set(&sap(a.echo, SAP_ONE, 0, 0, &eight)).expect("eight");
    assert_eq!(a.stack("/dev/echo0").len(), 9);
}

#[test]
fn sad_is_for_transparent_ioctls_and_admin_for_the_privileged() {
    let a = admin();
    let s = sap(a.echo, SAP_ONE, 1, 0, &["nullmod"]);
    assert_eq!(
        a.p.i_str(a.fd, SAD_SAP, &s.to_bytes(0)).map(|_| ()),
        Err(Errno::EINVAL)
    );
    let short = &s.to_bytes(0)[..91];
    assert_eq!(
        transparent(&a.p, a.fd, SAD_SAP, short).map(|_| ()),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        transparent(&a.p, a.fd, SAD_VML + 1, short).map(|_| ()),
        Err(Errno::EINVAL)
    );
    let u = a.k.process(Cred::user(7));
    assert_eq!(u.open("/dev/sad/admin", oflag::O_RDWR), Err(Errno::EPERM));
    let fd = open(&u, "/dev/sad/user");
    assert_eq!(
        transparent(&u, fd, SAD_SAP, &s.to_bytes(0)).map(|_| ()),
        Err(Errno::EPERM)
    );
    a.set(&s).expect("SAP_ONE");
    let r = transparent(&u, fd, SAD_GAP, &s.to_bytes(0)).expect("users may ask");
    assert_eq!(StrApush::parse(&r.data), Ok(s));
    let twice = open(&u, "/dev/sad/user");
    assert_ne!(u.device(fd), u.device(twice)); // each open is its own
    assert_eq!(u.open("/dev/sad", oflag::O_RDWR), Err(Errno::ENOENT));
}

#[test]
fn an_anchor_keeps_the_modules_below_it() {
    let a = admin();
    let mut s = sap(a.echo, SAP_ONE, 1, 0, &["nullmod", "pipemod"]);
    s.anchor = 1;
    transparent(&a.p, a.fd, SAD_SAP_V1, &s.to_bytes(1)).expect("SAD_SAP, version 1");
    let r = transparent(&a.p, a.fd, SAD_GAP_V1, &s.to_bytes(1)).expect("SAD_GAP");
    assert_eq!(StrApush::parse(&r.data).map(|s| s.anchor), Ok(1));
    let u = a.k.process(Cred::user(7));
    let fd = open(&u, "/dev/echo1");
    u.ioctl(fd, Ioctl::Pop).expect("above the anchor");
    assert_eq!(u.ioctl(fd, Ioctl::Pop), Err(Errno::EPERM)); // 2.2 I_POP
    let root = open(&a.p, "/dev/echo1");
    a.p.ioctl(root, Ioctl::Pop).expect("the privileged may");
    s.anchor = 3;
    s.minor = 2;
    assert_eq!(
        transparent(&a.p, a.fd, SAD_SAP_V1, &s.to_bytes(1)).map(|_| ()),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_module_that_refuses_fails_the_whole_open() {
    let a = admin();
    a.k.add_mod::<Refuser>().expect("add_mod");
    a.set(&sap(a.echo, SAP_ONE, 1, 0, &["nullmod", "refuser"]))
        .expect("SAP_ONE");
    let before = a.k.stacks().len();
    assert_eq!(a.p.open("/dev/echo1", oflag::O_RDWR), Err(Errno::ENOSR)); // 8.1
    assert_eq!(a.k.stacks().len(), before);
    assert!(
        a.k.modinfo()
            .iter()
            .all(|r| r.name == "sad" || r.opens == 0)
    );
}

struct Refuser;
impl Module for Refuser {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1, "refuser");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Err(Errno::ENOSR)
    }
}

#[test]
fn sad_vml_says_whether_all_names_are_modules() {
    let a = admin();
    let ask = |n: i32, names: &[&str]| {
        let mut mem = n.to_ne_bytes().to_vec();
        mem.extend([0; 4]);
        mem.extend((USER_BASE + 16).to_ne_bytes());
        for name in names {
            let mut b = name.as_bytes().to_vec();
            b.resize(9, 0);
            mem.extend(b);
        }
        transparent(&a.p, a.fd, SAD_VML, &mem).map(|r| r.rval)
    };
    assert_eq!(ask(2, &["nullmod", "connld"]), Ok(0));
    assert_eq!(ask(2, &["nullmod", "echo"]), Ok(1)); // a driver is no module
    assert_eq!(ask(1, &["longer than eight"]), Ok(1));
    assert_eq!(ask(0, &[]), Err(Errno::EINVAL));
    assert_eq!(ask(-1, &[]), Err(Errno::EINVAL));
    assert_eq!(ask(3, &["nullmod"]), Err(Errno::EFAULT));
    assert_eq!(ask(i32::MAX, &["nullmod"]), Err(Errno::EFAULT));
}
