//! Spoiled input: no message and no ioctl makes a module or driver panic, and a stream
//! that got them can still be closed.

mod common;

use common::{kernel, open};
use streams::modules::*;
use streams::prelude::*;
use streams::sys::USER_BASE;
use streams::testbench::Bench;
use streams::{Ioctl, Sys};

/// xorshift64: the same numbers in every run.
struct Dice(u64);
impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn bytes(&mut self) -> Vec<u8> {
        let n = self.below(40);
        let small = self.below(2) == 0; // small words look like primitives and lengths
        (0..n)
            .map(|i| match small && i % 4 != 0 {
                true => 0,
                false => self.next() as u8 & if small { 31 } else { 255 },
            })
            .collect()
    }
    fn ty(&mut self) -> MsgType {
        MsgType::ALL[self.below(MsgType::ALL.len())]
    }
    /// A command that some module knows, or none.
    fn cmd(&mut self) -> i32 {
        let families = b"BPTFlmDLS";
        let family = i32::from(families[self.below(families.len())]);
        let n = if family == i32::from(b'T') { 140 } else { 0 };
        family << 8 | (n + self.below(20) as i32)
    }
    fn msg(&mut self) -> Msg {
        let mut mp = Msg::of(self.ty(), &self.bytes());
        while self.below(3) == 0 {
            mp.linkb(Msg::of(self.ty(), &self.bytes()));
        }
        mp.set_band(self.below(4) as u8 * 80);
        mp
    }
}

fn abuse<M: Module>() {
    for seed in 1..60 {
        let mut d = Dice(seed);
        let mut b = Bench::<M>::new().expect("open");
        for _ in 0..60 {
            match d.below(7) {
                0 | 1 => b.up(d.msg()),
                2 | 3 => b.down(d.msg()),
                4 => {
                    let (cmd, data) = (d.cmd(), d.bytes());
                    b.ioctl(cmd, &data);
                }
                5 => {
                    let (cmd, mut mem) = (d.cmd(), d.bytes());
                    b.transparent(cmd, &mut mem);
                }
                _ => {
                    let full = d.below(2) == 0;
                    b.full_above(full);
                    b.full_below(!full);
                    b.advance(std::time::Duration::from_millis(10));
                }
            }
        }
        b.full_above(false);
        b.full_below(false);
        b.run();
        b.close();
    }
}

#[test]
fn no_message_makes_a_module_panic() {
    abuse::<nullmod::NullMod>();
    abuse::<pipemod::PipeMod>();
    abuse::<faulty::Faulty>();
    abuse::<bufmod::BufMod>();
    abuse::<pfmod::PfMod>();
    abuse::<timod::TiMod>();
    abuse::<tirdwr::TiRdWr>();
}

/// Makes of each M_DATA that goes down a message of the type that its first byte names.
struct Inject;
impl Module for Inject {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1, "inject");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q: &mut Queue<'_, Self>, mp| {
        let made = match mp.rd() {
            [ty, rest @ ..] if mp.ty() == MsgType::Data => {
                MsgType::from_value(*ty).map(|ty| Msg::of(ty, rest))
            }
            _ => None,
        };
        q.putnext(made.unwrap_or(mp));
    });
    fn open(_: &mut Queue<'_, Self>, _: &mut Open) -> Result<Self, Errno> {
        Ok(Inject)
    }
}

#[test]
fn no_message_makes_a_driver_panic() {
    for path in [
        "/dev/echo",
        "/dev/loop",
        "/dev/nuls",
        "/dev/mux",
        "/dev/log",
        "/dev/conslog",
        "/dev/sad/admin",
        "/dev/sad/user",
    ] {
        for seed in 1..40 {
            let mut d = Dice(seed);
            let k = kernel();
            k.add_mod::<Inject>().expect("add_mod");
            let p = k.process(Cred::ROOT);
            let fd = open(&p, path);
            let low = open(&p, "/dev/echo");
            let _ = p.ioctl(fd, Ioctl::Link(low)); // only the multiplexor takes it
            p.push(fd, "inject").expect("push");
            for _ in 0..60 {
                let bytes = d.bytes();
                match d.below(4) {
                    0 => {
                        let _ = p.i_str(fd, d.cmd(), &bytes);
                    }
                    1 => {
                        let (cmd, mem) = (d.cmd(), bytes);
                        let arg = USER_BASE + d.below(3) as u64;
                        let _ = p.ioctl(fd, Ioctl::Raw { cmd, arg, mem });
                    }
                    2 => {
                        let mut b = vec![d.ty() as u8];
                        b.extend(bytes);
                        let _ = p.write(fd, &b);
                    }
                    _ => {
                        let _ = p.putmsg(fd, Some(&bytes), Some(b"x"), d.below(2) == 0);
                        let _ = p.getmsg(fd, 99, 99, false);
                    }
                }
            }
            p.close(fd).expect("close");
        }
    }
}
