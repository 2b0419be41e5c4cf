//! What the tests of drivers and modules share.
#![allow(dead_code)] // each test program uses its part

use streams::prelude::*;
use streams::sys::USER_BASE;
use streams::{Config, Ioctl, IoctlReply, Kernel, Process, Sys, oflag};

/// A kernel with everything of this crate, its clock set by hand.
pub fn kernel() -> Kernel {
    let k = Kernel::with_config(Config::test()).expect("a kernel");
    streams::register(&k).expect("fresh names");
    k
}

/// A superuser's process of a fresh kernel.
pub fn root() -> (Kernel, Process) {
    let k = kernel();
    let p = k.process(Cred::ROOT);
    (k, p)
}

/// Opens without sleeping: a read of nothing is EAGAIN.
pub fn open(p: &Process, path: &str) -> i32 {
    p.open(path, oflag::O_RDWR | oflag::O_NONBLOCK)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// An I_STR with an int.
pub fn str_int(p: &Process, fd: i32, cmd: i32, arg: i32) -> Result<i32, Errno> {
    p.i_str(fd, cmd, &arg.to_ne_bytes()).map(|r| r.rval)
}

/// A transparent ioctl whose argument points at these bytes; what they are afterwards.
pub fn transparent(p: &Process, fd: i32, cmd: i32, mem: &[u8]) -> Result<IoctlReply, Errno> {
    let mem = mem.to_vec();
    let arg = USER_BASE;
    p.ioctl(fd, Ioctl::Raw { cmd, arg, mem })
}

/// Everything that can be read now.
pub fn drain(p: &Process, fd: i32) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(v) = p.read(fd, 4096) {
        if v.is_empty() {
            break;
        }
        all.extend(v);
    }
    all
}
