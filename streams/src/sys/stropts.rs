//! Constants of sys/stropts.h that are no commands.
//!
//! Spec: sys/stropts.h, the reference's 2.3.

/// I_SETSIG: an ordinary message has become the first one.
pub const S_INPUT: i32 = 0x01;
/// A high-priority message is there.
pub const S_HIPRI: i32 = 0x02;
/// Band 0 can be written again.
pub const S_OUTPUT: i32 = 0x04;
/// The same as [`S_OUTPUT`].
pub const S_WRNORM: i32 = S_OUTPUT;
/// A module has sent M_SIG or M_PCSIG with SIGPOLL.
pub const S_MSG: i32 = 0x08;
/// M_ERROR.
pub const S_ERROR: i32 = 0x10;
/// M_HANGUP.
pub const S_HANGUP: i32 = 0x20;
/// A message of band 0 has become the first one.
pub const S_RDNORM: i32 = 0x40;
/// A message of a band above 0 has become the first one.
pub const S_RDBAND: i32 = 0x80;
/// A band above 0 can be written again.
pub const S_WRBAND: i32 = 0x100;
/// With [`S_RDBAND`]: SIGURG instead of SIGPOLL.
pub const S_BANDURG: i32 = 0x200;
/// Every event.
pub(crate) const S_ALL: i32 = 0x3ff;

/// I_ATMARK: is the message marked?
pub const ANYMARK: i32 = 1;
/// I_ATMARK: is it the last one that is marked?
pub const LASTMARK: i32 = 2;

/// I_SERROPT: a read error stays.
pub const RERRNORM: i32 = 1;
/// I_SERROPT: a read error goes when it was reported.
pub const RERRNONPERSIST: i32 = 2;
/// I_SERROPT: a write error stays.
pub const WERRNORM: i32 = 4;
/// I_SERROPT: a write error goes when it was reported.
pub const WERRNONPERSIST: i32 = 8;

/// getmsg, putmsg, I_PEEK, I_FDINSERT: high priority.
pub const RS_HIPRI: u32 = 1;
