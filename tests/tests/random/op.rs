//! One step, and how steps are thrown.

/// A step. Numbers are taken modulo what there is, so that every sequence is possible and
/// stays so when steps are left out.
#[derive(Clone, Debug)]
pub enum Op {
    /// pipe(2).
    Pipe,
    /// Two streams of loop, joined.
    Loop,
    /// A stream of echo.
    Echo,
    /// A stream of mux over one of two fresh streams of loop; permanently or not.
    Mux(bool),
    /// I_PUSH of the n-th module.
    Push(usize, usize),
    /// I_POP.
    Pop(usize),
    /// `_I_INSERT` of the third under so many others.
    Insert(usize, usize, usize),
    /// `_I_REMOVE` of the module that has so many above it.
    Remove(usize, usize),
    /// I_SENDFD through a pipe; the reader takes the file and closes it.
    SendFd(usize),
    /// fattach(3C), open by the name, close of the original descriptor, fdetach(3C).
    Attach(usize),
    /// I_UNLINK or I_PUNLINK of a mux's lower stream, a look at it, and the link again.
    Relink(usize),
    /// Allocations fail after so many more.
    Starve(u32),
    /// There is memory again.
    Feed,
    /// A message in a band.
    Write(usize, u8),
    /// write(2) of one message.
    Plain(usize),
    /// A high-priority message.
    High(usize),
    /// getpmsg(2).
    Get(usize),
    /// read(2).
    Read(usize),
    /// I_SRDOPT.
    Mode(usize, i32),
    /// I_FLUSH.
    Flush(usize, i32),
    /// I_FLUSHBAND.
    FlushBand(usize, u8, i32),
    /// poll(2), which must agree with what a read then finds.
    Poll(usize),
    /// I_NREAD and I_PEEK take nothing.
    Peek(usize),
    /// dup(2) and close of the original descriptor.
    Dup(usize),
    /// fork(2), and the end of the child.
    Fork,
    /// close(2) of an end.
    Close(usize),
    /// I_SETSIG.
    Sig(usize),
    /// The lower stream's descriptor of a mux is nobody's to read.
    Lower(usize),
    /// An I_STR that nobody knows: exactly one answer.
    Ioctl(usize),
    /// Service procedures run.
    Step,
    /// The clock moves on.
    Advance(u64),
}

/// xorshift64*.
pub struct Rng(pub u64);

impl Rng {
    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// `n` steps. Half of the sequences have none that may lose a message, so that the account
/// at the end must be even.
pub fn sequence(rng: &mut Rng, n: usize) -> Vec<Op> {
    rng.0 = rng.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..4 {
        rng.below(2);
    }
    let gentle = rng.below(2) == 0;
    let banded = rng.below(2) == 0;
    let mut ops = vec![];
    while ops.len() < n {
        let fd = rng.below(64) as usize;
        let band = if banded { rng.below(4) as u8 } else { 0 };
        let how = 1 + rng.below(3) as i32;
        ops.push(match rng.below(100) {
            0..2 => Op::Pipe,
            2..4 => Op::Loop,
            4 => Op::Echo,
            5 => Op::Mux(rng.below(2) == 0),
            6..11 => Op::Push(fd, rng.below(crate::modules::NAMES.len() as u64) as usize),
            11..46 => Op::Write(fd, band),
            46..52 => Op::Plain(fd),
            52..68 => Op::Get(fd),
            68..74 => Op::Read(fd),
            74 => Op::Mode(fd, rng.below(3) as i32),
            75 => Op::Poll(fd),
            76 => Op::Peek(fd),
            77 => Op::Dup(fd),
            78 => Op::Fork,
            79 => Op::Sig(fd),
            80 => Op::Lower(fd),
            81 => Op::Ioctl(fd),
            82 => match rng.below(6) {
                0 | 1 => Op::Insert(fd, rng.below(4) as usize, rng.below(8) as usize),
                2 => Op::SendFd(fd),
                3 => Op::Attach(fd),
                4 => Op::Starve(rng.below(8) as u32),
                _ => Op::Feed,
            },
            83..88 => Op::Step,
            88..93 => Op::Advance(rng.below(20)),
            _ if gentle => continue,
            93 => Op::Pop(fd),
            94 => Op::High(fd),
            95 => Op::Flush(fd, how),
            96 => Op::FlushBand(fd, band, how),
            97 => Op::Close(fd),
            98 => Op::Remove(fd, rng.below(4) as usize),
            _ => Op::Relink(fd),
        });
    }
    ops
}
