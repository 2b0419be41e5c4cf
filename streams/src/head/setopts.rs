//! M_SETOPTS: what modules and drivers may set at the stream head.
//!
//! Spec: stroptions(9S), the reference's 5.10.
//! Not done: SO_STRHOLD (as on Solaris), SO_COPYOPT.

use super::mode;
use crate::domain::Domain;
use crate::message::StrOptions;
use crate::queue::{QB_FULL, flag};
use crate::sys::stropts::{RERRNONPERSIST, RERRNORM, WERRNONPERSIST, WERRNORM};

impl super::Head {
    /// I_SERROPT and SO_ERROPT: for each side stays, goes, or as it was.
    pub(super) fn set_erropt(&mut self, opt: i32) {
        if opt & (RERRNORM | RERRNONPERSIST) != 0 {
            self.rnonpersist = opt & RERRNONPERSIST != 0;
        }
        if opt & (WERRNORM | WERRNONPERSIST) != 0 {
            self.wnonpersist = opt & WERRNONPERSIST != 0;
        }
    }

    /// I_SRDOPT and SO_READOPT: the mode always, the protocol mode if exactly one is given
    /// (2.5: several together are accepted and ignored).
    pub(super) fn set_readopt(&mut self, opt: i32) {
        let prot = opt & mode::RPROTMASK;
        let prot = if prot.count_ones() == 1 {
            prot
        } else {
            self.readopt & mode::RPROTMASK
        };
        self.readopt = opt & mode::RMODEMASK | prot;
    }
}

pub(super) fn setopts(dom: &mut Domain, idx: u32, o: &StrOptions) {
    if let Some(h) = dom.head(idx) {
        if let Some(r) = o.readopt {
            h.set_readopt(r);
            h.keep_pcproto = r & mode::RFLUSHPCPROT != 0;
        }
        let small = |n: Option<u16>, to: &mut usize| {
            if let Some(n) = n {
                *to = n.into();
            }
        };
        small(o.wroff, &mut h.wroff);
        small(o.tail, &mut h.tail);
        let switch = |on: Option<bool>, to: &mut bool| {
            if let Some(on) = on {
                *to = on;
            }
        };
        switch(o.delim, &mut h.delim);
        switch(o.mread, &mut h.mread);
        switch(o.ndel, &mut h.ndelon);
        switch(o.istty, &mut h.tty.istty);
        switch(o.tostop, &mut h.tty.tostop);
        if let Some(e) = o.erropt {
            h.set_erropt(e);
        }
        if let Some(n) = o.maxblk {
            h.maxblk = n;
        }
    }
    let s = dom.slot_mut(idx);
    if let Some(n) = o.minpsz {
        s.minpsz = n;
    }
    if let Some(n) = o.maxpsz {
        s.maxpsz = n;
    }
    if o.hiwat.is_none() && o.lowat.is_none() {
        return;
    }
    match o.band {
        Some(b) if b > 0 => {
            let qb = dom.band_mut(idx, b);
            qb.hiwat = o.hiwat.unwrap_or(qb.hiwat);
            qb.lowat = o.lowat.unwrap_or(qb.lowat);
            if qb.count < qb.hiwat {
                qb.flag &= !QB_FULL;
            } else {
                qb.flag |= QB_FULL;
            }
        }
        _ => {
            let s = dom.slot_mut(idx);
            s.hiwat = o.hiwat.unwrap_or(s.hiwat);
            s.lowat = o.lowat.unwrap_or(s.lowat);
            if s.count < s.hiwat {
                s.flag &= !flag::QFULL;
            } else {
                s.flag |= flag::QFULL;
            }
        }
    }
    dom.backenable(idx); // flow control is looked at anew
}
