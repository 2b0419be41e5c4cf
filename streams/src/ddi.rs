//! The rest of the DDI on `Queue`: memory that may fail, queue fields, a frozen stream.
//!
//! ```text
//!   let Some(mp) = q.allocb(n) else { q.qbufcall(n, TAG); return };    ──► Module::bufcall
//!   let mut f = q.freezestr();  f.strqget(QField::Count, 0);  f.insq(0, mp);
//! ```
//!
//! Spec: allocb(9F), esballoc(9F), qbufcall(9F), qunbufcall(9F), strqget(9F), strqset(9F),
//! freezestr(9F), putctl(9F), the reference's 1.2, 6.3 and 6.6.
//! Kept: what a procedure may do while it holds a stream frozen is a type: [`Frozen`] has
//! no putnext, and can't be frozen again.
//! Differs: a domain runs one thing at a time, so freezing stops nobody who would run.

use bytes::Bytes;

use crate::errno::Errno;
use crate::handle::Queue;
use crate::message::{Msg, MsgType};
use crate::module::Module;
use crate::queue::{QB_FULL, QRef, flag};
use crate::tunable::BufcallId;

/// `qfields_t`: what strqget(9F) and strqset(9F) name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QField {
    /// QHIWAT.
    Hiwat,
    /// QLOWAT.
    Lowat,
    /// QMAXPSZ, of band 0 only.
    MaxPsz,
    /// QMINPSZ, of band 0 only.
    MinPsz,
    /// QCOUNT: bytes queued.
    Count,
    /// QFIRST: is there a first message (1 or 0)? A message has no address here.
    First,
    /// QLAST: the same of the last.
    Last,
    /// QFLAG: `q_flag` or `qb_flag`, with Solaris's bits.
    Flag,
}

impl QField {
    /// The field with this number; EINVAL for QBAD, QSTRUIOT and beyond.
    ///
    /// # Errors
    /// EINVAL.
    pub fn from_number(n: i32) -> Result<QField, Errno> {
        use QField::*;
        let all = [Hiwat, Lowat, MaxPsz, MinPsz, Count, First, Last, Flag];
        let at = usize::try_from(n).map_err(|_| Errno::EINVAL)?;
        all.get(at).copied().ok_or(Errno::EINVAL)
    }
}

/// The bits of `q_flag` that are Solaris's.
const PUBLIC_FLAGS: u32 = 0x3f_ffff;

impl<M: Module> Queue<'_, M> {
    /// allocb(9F): `None` when there is no memory; see [`Queue::qbufcall`].
    pub fn allocb(&mut self, size: usize) -> Option<Msg> {
        self.dom.allocb(0, size)
    }
    /// esballoc(9F): a block over an outsider's buffer; `free` runs when the last block
    /// that looks at it is gone. `None`, and `free` never run, when there is no memory.
    pub fn esballoc(&mut self, data: Bytes, free: impl FnOnce() + Send + 'static) -> Option<Msg> {
        if !self.dom.may_alloc() {
            return None;
        }
        Some(Msg::esballoc_with(data, free))
    }
    /// dupmsg(9F): `None` when there is no memory for the new blocks.
    pub fn dupmsg(&mut self, mp: &mut Msg) -> Option<Msg> {
        let blocks = mp.blocks().count();
        if (0..blocks).all(|_| self.dom.may_alloc()) {
            Some(mp.dupmsg())
        } else {
            None
        }
    }
    /// copymsg(9F): `None` when there is no memory.
    pub fn copymsg(&mut self, mp: &Msg) -> Option<Msg> {
        let blocks = mp.blocks().count();
        if (0..blocks).all(|_| self.dom.may_alloc()) {
            Some(mp.copymsg())
        } else {
            None
        }
    }
    /// msgpullup(9F): `None` when there is no memory, or not so much data.
    pub fn msgpullup(&mut self, mp: &Msg, len: Option<usize>) -> Option<Msg> {
        if !self.dom.may_alloc() {
            return None;
        }
        mp.msgpullup(len)
    }
    /// testb(9F): would an allocation succeed now?
    pub fn testb(&self) -> bool {
        self.dom.env.memory.available()
    }
    /// qbufcall(9F): [`Module::bufcall`] with `tag`, inside the perimeter, once there is
    /// memory again.
    pub fn qbufcall(&mut self, tag: u64) -> BufcallId {
        let q = self.qref();
        self.dom.qbufcall(q, tag)
    }
    /// qunbufcall(9F): true if it had not been called back yet.
    pub fn qunbufcall(&mut self, id: BufcallId) -> bool {
        let n = self.dom.bufcalls.len();
        self.dom.bufcalls.retain(|b| b.id != id.0);
        self.dom.bufcalls.len() < n
    }

    /// putctl(9F): a control message without data to the put procedure of a queue. False
    /// for a data type, without memory, or if the queue is gone.
    pub fn putctl(&mut self, q: QRef, ty: MsgType) -> bool {
        self.putctl_with(q, ty, &[])
    }
    /// putctl1(9F): with one byte.
    pub fn putctl1(&mut self, q: QRef, ty: MsgType, byte: u8) -> bool {
        self.putctl_with(q, ty, &[byte])
    }
    fn putctl_with(&mut self, q: QRef, ty: MsgType, bytes: &[u8]) -> bool {
        let Some(idx) = self.dom.resolve(q) else {
            return false;
        };
        if ty.is_data() && ty != MsgType::Delay {
            return false;
        }
        let Some(mut mp) = self.dom.allocb(0, bytes.len()) else {
            return false;
        };
        mp.append(bytes);
        mp.set_ty(ty);
        self.dom.put(idx, mp);
        true
    }

    /// freezestr(9F): looking at and changing queues while nothing moves.
    pub fn freezestr(&mut self) -> Frozen<'_, M> {
        Frozen(self.at_self())
    }
    fn at_self(&mut self) -> Queue<'_, M> {
        Queue::new(self.dom, self.idx)
    }
    /// strqget(9F), frozen for the length of the call.
    ///
    /// # Errors
    /// EINVAL: packet sizes have no bands.
    pub fn strqget(&mut self, what: QField, band: u8) -> Result<i64, Errno> {
        self.freezestr().strqget(what, band)
    }
    /// strqset(9F), frozen for the length of the call.
    ///
    /// # Errors
    /// As [`Frozen::strqset`].
    pub fn strqset(&mut self, what: QField, band: u8, value: i64) -> Result<(), Errno> {
        self.freezestr().strqset(what, band, value)
    }
}

/// A frozen stream, seen at one queue. Dropping it is unfreezestr(9F).
pub struct Frozen<'a, M>(Queue<'a, M>);

impl<M: Module> Frozen<'_, M> {
    /// insq(9F).
    ///
    /// # Errors
    /// The message, if the order of the queue would break.
    pub fn insq(&mut self, at: usize, mp: Msg) -> Result<(), Msg> {
        self.0.insq(at, mp)
    }
    /// rmvq(9F).
    pub fn rmvq(&mut self, at: usize) -> Option<Msg> {
        self.0.rmvq(at)
    }
    /// The messages on the queue, first to last.
    pub fn messages(&self) -> impl Iterator<Item = &Msg> {
        self.0.dom.slot(self.0.idx).list.iter()
    }
    /// The other queue of the pair, frozen too.
    pub fn other(&mut self) -> Frozen<'_, M> {
        Frozen(self.0.other())
    }

    /// strqget(9F). A band that no message has made yet has the marks of the queue.
    ///
    /// # Errors
    /// EINVAL: packet sizes have no bands.
    pub fn strqget(&self, what: QField, band: u8) -> Result<i64, Errno> {
        let s = self.0.dom.slot(self.0.idx);
        let of_band = |m: &&Msg| m.band() == band && (band == 0 || !m.is_high_pri());
        let any = || i64::from(s.list.iter().any(|m| of_band(&m)));
        if band == 0 {
            return Ok(match what {
                QField::Hiwat => s.hiwat as i64,
                QField::Lowat => s.lowat as i64,
                QField::MaxPsz => s.maxpsz,
                QField::MinPsz => s.minpsz,
                QField::Count => s.count as i64,
                QField::First | QField::Last => i64::from(!s.list.is_empty()),
                QField::Flag => i64::from(s.flag & PUBLIC_FLAGS),
            });
        }
        let b = s.bands.get(band as usize - 1);
        Ok(match what {
            QField::Hiwat => b.map_or(s.hiwat, |b| b.hiwat) as i64,
            QField::Lowat => b.map_or(s.lowat, |b| b.lowat) as i64,
            QField::Count => b.map_or(0, |b| b.count) as i64,
            QField::First | QField::Last => any(),
            QField::Flag => i64::from(b.map_or(0, |b| b.flag)),
            QField::MaxPsz | QField::MinPsz => return Err(Errno::EINVAL),
        })
    }

    /// strqset(9F). A band that does not exist is made.
    ///
    /// # Errors
    /// EPERM: the field can't be set. EINVAL: packet sizes have no bands, or a mark is
    /// negative. EAGAIN: no memory for the band.
    pub fn strqset(&mut self, what: QField, band: u8, value: i64) -> Result<(), Errno> {
        let (dom, idx) = (&mut *self.0.dom, self.0.idx);
        let mark = usize::try_from(value).map_err(|_| Errno::EINVAL);
        match what {
            QField::Count | QField::First | QField::Last | QField::Flag => {
                return Err(Errno::EPERM);
            }
            QField::MaxPsz | QField::MinPsz if band != 0 => return Err(Errno::EINVAL),
            QField::MaxPsz => dom.slot_mut(idx).maxpsz = value,
            QField::MinPsz => dom.slot_mut(idx).minpsz = value,
            QField::Hiwat | QField::Lowat if band != 0 => {
                let mark = mark?;
                let new = dom.slot(idx).bands.len() < band.into();
                if new && !dom.may_alloc() {
                    return Err(Errno::EAGAIN);
                }
                let b = dom.band_mut(idx, band);
                match what {
                    QField::Lowat => b.lowat = mark,
                    _ => b.hiwat = mark,
                }
                b.flag &= !QB_FULL;
                if b.count > 0 && b.count >= b.hiwat {
                    b.flag |= QB_FULL;
                }
            }
            QField::Lowat => dom.slot_mut(idx).lowat = mark?,
            QField::Hiwat => {
                let s = dom.slot_mut(idx);
                s.hiwat = mark?;
                s.flag &= !flag::QFULL;
                if !s.list.is_empty() && s.count >= s.hiwat {
                    s.flag |= flag::QFULL;
                }
            }
        }
        Ok(())
    }
}
