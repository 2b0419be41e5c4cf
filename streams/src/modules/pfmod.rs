//! pfmod: lets up what a filter program accepts, and nothing else.
//!
//! ```text
//!   word:  operator (6 bits) │ action (10 bits)       action: push something on the stack
//!                                                     operator: combine the two on top
//!   PUSHWORD+6, PUSHLIT|EQ, 0x0008      accepts what has 8 in its seventh 16-bit word
//! ```
//!
//! The program sees the bytes behind any M_PROTO blocks, as 16-bit words in the machine's
//! own order. Only the read side is filtered.
//!
//! Spec: pfmod(7M), sys/pfmod.h.
//! Kept: both sizes of the argument, short-circuit and branch operators, the offset
//! register; a program that runs off its end, its stack or the packet rejects.
//! Differs: blocks need not be aligned; a word may straddle two of them.

use crate::prelude::*;

/// Replace the filter (I_STR: struct packetfilt or Pf_ext_packetfilt).
pub const PFIOCSETF: i32 = (b'P' as i32) << 8 | 1;
/// Words in a packetfilt.
pub const ENMAXFILTERS: usize = 255;
/// Words in a Pf_ext_packetfilt.
pub const PF_MAXFILTERS: usize = 2047;

/// Operators and actions of a filter program.
#[allow(missing_docs)] // each is the one of its name in sys/pfmod.h
pub mod enf {
    pub const NBPA: u32 = 10;
    pub const NOP: u16 = 0;
    pub const EQ: u16 = 1 << NBPA;
    pub const LT: u16 = 2 << NBPA;
    pub const LE: u16 = 3 << NBPA;
    pub const GT: u16 = 4 << NBPA;
    pub const GE: u16 = 5 << NBPA;
    pub const AND: u16 = 6 << NBPA;
    pub const OR: u16 = 7 << NBPA;
    pub const XOR: u16 = 8 << NBPA;
    pub const COR: u16 = 9 << NBPA;
    pub const CAND: u16 = 10 << NBPA;
    pub const CNOR: u16 = 11 << NBPA;
    pub const CNAND: u16 = 12 << NBPA;
    pub const NEQ: u16 = 13 << NBPA;
    pub const NOPUSH: u16 = 0;
    pub const PUSHLIT: u16 = 1;
    pub const PUSHZERO: u16 = 2;
    pub const PUSHONE: u16 = 3;
    pub const PUSHFFFF: u16 = 4;
    pub const PUSHFF00: u16 = 5;
    pub const PUSH00FF: u16 = 6;
    pub const LOAD_OFFSET: u16 = 7;
    pub const BRTR: u16 = 8;
    pub const BRFL: u16 = 9;
    pub const POP: u16 = 10;
    pub const PUSHWORD: u16 = 16;
}

/// One instance: its program.
pub struct PfMod(Vec<u16>);

impl Module for PfMod {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(22, "pfmod").marks(0, 0);
    const PERIMETER: Perimeter = Perimeter::MTQPAIR;
    const READ: QInit<Self> = QInit::put(rput);
    const WRITE: QInit<Self> = QInit::put(wput);

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push().map_err(|_| Errno::EINVAL)?;
        Ok(PfMod(Vec::new()))
    }
}

fn rput(q: &mut Queue<'_, PfMod>, mp: Msg) {
    if matches!(mp.ty(), MsgType::Data | MsgType::Proto) && !accepts(&q.ptr().0, &mp) {
        return q.discard(mp, "rejected by the filter");
    }
    q.putnext(mp);
}

fn wput(q: &mut Queue<'_, PfMod>, mut mp: Msg) {
    if mp.ty() != MsgType::Ioctl || mp.ioctl_cmd() != Some(PFIOCSETF) {
        return q.putnext(mp);
    }
    match program(&mut mp) {
        Ok(p) => {
            q.ptr().0 = p;
            q.iocack0(mp, 0);
        }
        Err(e) => q.iocnak(mp, e),
    }
}

/// The program in a packetfilt {u8 priority, u8 length, u16[255]} or a Pf_ext_packetfilt
/// {u8 priority, u32 length, u16[2047]}; their sizes tell them apart.
fn program(mp: &mut Msg) -> Result<Vec<u16>, Errno> {
    const SMALL: usize = 2 + 2 * ENMAXFILTERS;
    const LARGE: usize = (8 + 2 * PF_MAXFILTERS).next_multiple_of(4);
    let count = mp.ioc().map_or(0, |i| i.count);
    let (len, at) = match count {
        SMALL => {
            let b = mp.miocpullup(SMALL)?;
            let len = usize::from(b[1]);
            // The small form refuses an empty program, the large one doesn't.
            (
                if len == 0 {
                    return Err(Errno::EINVAL);
                } else {
                    len
                },
                2,
            )
        }
        LARGE => {
            let b = mp.miocpullup(LARGE)?;
            let len = b[4..8].try_into().map_or(u32::MAX, u32::from_ne_bytes);
            (usize::try_from(len).unwrap_or(usize::MAX), 8)
        }
        _ => return Err(Errno::EINVAL),
    };
    if len > (count - at) / 2 {
        return Err(Errno::EINVAL);
    }
    let bytes = mp.miocpullup(count)?;
    let words = bytes[at..].chunks_exact(2).take(len);
    Ok(words.map(|w| u16::from_ne_bytes([w[0], w[1]])).collect())
}

/// The argument of PFIOCSETF for a program; `None` if it is too long for any.
pub fn packetfilt(words: &[u16]) -> Option<Vec<u8>> {
    let (mut b, room) = match words.len() {
        0..=ENMAXFILTERS => (vec![0, words.len() as u8], ENMAXFILTERS),
        n if n <= PF_MAXFILTERS => {
            let mut b = vec![0; 4];
            b.extend((n as u32).to_ne_bytes());
            (b, PF_MAXFILTERS)
        }
        _ => return None,
    };
    let all = words.iter().copied().chain(std::iter::repeat(0)).take(room);
    b.extend(all.flat_map(u16::to_ne_bytes));
    if room == PF_MAXFILTERS {
        b.resize(b.len().next_multiple_of(4), 0);
    }
    Some(b)
}

/// Does the program accept the message? No program, or no data at all, accepts.
fn accepts(program: &[u16], mp: &Msg) -> bool {
    let body: Vec<&Msg> = mp
        .blocks()
        .skip_while(|b| b.ty() == MsgType::Proto)
        .collect();
    if body.is_empty() || program.is_empty() {
        return true;
    }
    let byte = |mut at: usize| {
        for b in &body {
            match b.rd().get(at) {
                Some(x) => return Some(*x),
                None => at -= b.len(),
            }
        }
        None
    };
    let word = |i: usize| Some(u16::from_ne_bytes([byte(2 * i)?, byte(2 * i + 1)?]));
    run(program, word).unwrap_or(false)
}

/// Runs a program over the words of a packet; `None`: it went wrong.
fn run(program: &[u16], word: impl Fn(usize) -> Option<u16>) -> Option<bool> {
    let mut stack: Vec<u16> = vec![1];
    let mut offset = 0usize;
    let mut pc = 0;
    while pc < program.len() {
        let (op, action) = (program[pc] & !0x3ff, program[pc] & 0x3ff);
        pc += 1;
        match action {
            enf::NOPUSH => {}
            enf::PUSHLIT => {
                stack.push(*program.get(pc)?);
                pc += 1;
            }
            enf::PUSHZERO => stack.push(0),
            enf::PUSHONE => stack.push(1),
            enf::PUSHFFFF => stack.push(0xffff),
            enf::PUSHFF00 => stack.push(0xff00),
            enf::PUSH00FF => stack.push(0x00ff),
            enf::LOAD_OFFSET => {
                offset = usize::from(*program.get(pc)?);
                pc += 1;
            }
            enf::BRTR | enf::BRFL => {
                let top = *stack.last()? != 0;
                let far = usize::from(*program.get(pc)?);
                // The distance is from the literal; 0 would never end.
                pc += if top == (action == enf::BRTR) {
                    far.max(1)
                } else {
                    1
                };
                if pc >= program.len() {
                    return None;
                }
            }
            enf::POP => {
                stack.pop()?;
            }
            _ => stack.push(word(
                usize::from(action.checked_sub(enf::PUSHWORD)?) + offset,
            )?),
        }
        if stack.len() > ENMAXFILTERS {
            return None;
        }
        if op == enf::NOP {
            continue;
        }
        let arg = stack.pop()?;
        let top = stack.last_mut()?;
        let yes = |b: bool| u16::from(b);
        match op {
            enf::AND => *top &= arg,
            enf::OR => *top |= arg,
            enf::XOR => *top ^= arg,
            enf::EQ => *top = yes(*top == arg),
            enf::NEQ => *top = yes(*top != arg),
            enf::LT => *top = yes(*top < arg),
            enf::LE => *top = yes(*top <= arg),
            enf::GT => *top = yes(*top > arg),
            enf::GE => *top = yes(*top >= arg),
            enf::COR | enf::CAND | enf::CNOR | enf::CNAND => {
                let equal = stack.pop()? == arg;
                match op {
                    enf::COR if equal => return Some(true),
                    enf::CAND if !equal => return Some(false),
                    enf::CNOR if equal => return Some(false),
                    enf::CNAND if !equal => return Some(true),
                    _ => {}
                }
            }
            _ => return None,
        }
    }
    Some(*stack.last()? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(program: &[u16], packet: &[u16]) -> bool {
        run(program, |i| packet.get(i).copied()).unwrap_or(false)
    }

    #[test]
    fn programs_of_the_manual() {
        use enf::*;
        let ip = [PUSHWORD + 6, PUSHLIT | EQ, 8];
        let arp_or_ip = [
            PUSHWORD + 6,
            PUSHLIT | COR,
            8,
            PUSHWORD + 6,
            PUSHLIT | EQ,
            0x0608,
        ];
        let packet = |ty| [0, 0, 0, 0, 0, 0, ty];
        for (program, ty, want) in [
            (&ip[..], 8, true),
            (&ip, 9, false),
            (&arp_or_ip, 8, true),
            (&arp_or_ip, 0x0608, true),
            (&arp_or_ip, 1, false),
            (&[PUSHZERO], 8, false),
            (&[PUSHLIT], 8, false),      // the literal is missing
            (&[POP, POP], 8, false),     // underflow
            (&[PUSHWORD + 7], 8, false), // past the packet
            (&[LOAD_OFFSET, 6, PUSHWORD, PUSHLIT | EQ, 8], 8, true),
            (&[PUSHONE, BRTR, 3, PUSHZERO, NOPUSH, PUSHONE], 8, true),
            (&[PUSHZERO, BRTR, 9, PUSHONE], 8, true), // not taken
            (&[PUSHONE, BRTR, 9, PUSHONE], 8, false), // off the end
            (&[PUSHONE, BRTR, 0, PUSHONE], 8, true),  // no loop
            (&[PUSHLIT | 0x3800, 1], 8, false),       // no such operator
            (&[11], 8, false),                        // no such action
            (&[PUSHLIT, 3, PUSHLIT | LT, 4], 8, true),
            (&[PUSHLIT, 4, PUSHLIT | GE, 4, PUSHONE | AND], 8, true),
        ] {
            assert_eq!(pass(program, &packet(ty)), want, "{program:?} on {ty}");
        }
        assert!(!pass(&[PUSHONE; 400], &packet(8))); // overflow
    }
}
