//! Transparent ioctls, a driver's or module's side: asking the head to copy.
//!
//! ```text
//!   M_IOCTL ─► mcopyin ─► M_COPYIN ─► head ─► M_IOCDATA ─► (again, or mcopyout) ─► iocack
//! ```
//!
//! Spec: mcopyin(9F), mcopyout(9F), miocpullup(9F), copyreq(9S), the reference's 3.4.
//! Differs: the routines send the message too; the manual's are followed by a qreply(9F).

use crate::errno::Errno;
use crate::handle::Queue;
use crate::message::{CopyReq, Ctl, Msg, MsgType, TRANSPARENT};
use crate::module::Module;

impl Msg {
    /// The command of an M_IOCTL or M_IOCDATA.
    pub fn ioctl_cmd(&self) -> Option<i32> {
        match self.ctl()? {
            Ctl::Ioc(i) => Some(i.cmd),
            Ctl::CopyResp(r) => Some(r.cmd),
            _ => None,
        }
    }

    /// An M_IOCTL whose data is the user's third argument and nothing else.
    pub fn is_transparent(&self) -> bool {
        self.ioc().is_some_and(|i| i.count == TRANSPARENT)
    }

    /// The third argument of a transparent ioctl.
    pub fn ioctl_addr(&self) -> Option<u64> {
        if !self.is_transparent() {
            return None;
        }
        let arg = self.cont()?.rd().get(..8)?;
        Some(u64::from_ne_bytes(arg.try_into().ok()?))
    }

    /// miocpullup(9F): the first `size` bytes of an I_STR's data, in one piece.
    ///
    /// # Errors
    /// EINVAL: the ioctl is transparent, or brings less.
    pub fn miocpullup(&mut self, size: usize) -> Result<&[u8], Errno> {
        if self.is_transparent() {
            return Err(Errno::EINVAL);
        }
        let data = self.cont_mut().ok_or(Errno::EINVAL)?;
        if !data.pullupmsg(Some(size)) {
            return Err(Errno::EINVAL);
        }
        data.rd().get(..size).ok_or(Errno::EINVAL)
    }
}

impl<M: Module> Queue<'_, M> {
    /// mcopyin(9F), sent: asks for `size` bytes at `addr`; `None` for the third argument of
    /// the call. They come with an M_IOCDATA, and `private` with them.
    pub fn mcopyin(&mut self, mp: Msg, private: Option<Msg>, size: usize, addr: Option<u64>) {
        self.copy_request(mp, MsgType::CopyIn, private, size, addr, None);
    }

    /// mcopyout(9F), sent: has `data` copied to `addr`; `None` for the third argument of
    /// the call. An M_IOCDATA says how that went, and brings `private`.
    pub fn mcopyout(&mut self, mp: Msg, private: Option<Msg>, addr: Option<u64>, data: Msg) {
        let size = data.msgsize();
        self.copy_request(mp, MsgType::CopyOut, private, size, addr, Some(data));
    }

    fn copy_request(
        &mut self,
        mut mp: Msg,
        ty: MsgType,
        private: Option<Msg>,
        size: usize,
        addr: Option<u64>,
        data: Option<Msg>,
    ) {
        let addr = addr.or_else(|| mp.ioctl_addr());
        let (cmd, cr, id) = match mp.ctl() {
            Some(Ctl::Ioc(i)) => (i.cmd, i.cr, i.id),
            Some(Ctl::CopyResp(r)) => (r.cmd, r.cr, r.id),
            _ => return self.discard(mp, "a copy request for no ioctl"),
        };
        let Some(addr) = addr else {
            return self.iocnak(mp, Errno::EINVAL); // an I_STR has no address
        };
        mp.set_ty(ty);
        mp.set_ctl(Some(Ctl::CopyReq(CopyReq {
            cmd,
            cr,
            id,
            addr,
            size,
            private,
        })));
        if let Some(old) = mp.set_cont(data) {
            self.freemsg(old);
        }
        self.qreply(mp);
    }

    /// iocack without data: the data that came with the ioctl is freed (miocack(9F) with
    /// a count of 0).
    pub fn iocack0(&mut self, mut mp: Msg, rval: i32) {
        if let Some(data) = mp.take_cont() {
            self.freemsg(data);
        }
        self.iocack(mp, rval);
    }

    /// iocack with these bytes for the caller of an I_STR (miocack(9F) with their count).
    pub fn iocack_with(&mut self, mut mp: Msg, data: &[u8]) {
        if let Some(old) = mp.set_cont(Some(Msg::data(data))) {
            self.freemsg(old);
        }
        self.iocack(mp, 0);
    }
}
