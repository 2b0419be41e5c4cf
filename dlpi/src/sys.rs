//! The only unsafe code of this crate: descriptors of libraries that hand out bare numbers.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// The descriptor of something that owns one, borrowed for as long as its owner is.
pub(crate) fn borrow_fd<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: `owner` keeps the descriptor open as long as it lives, and the borrow can't
    // outlive it; an AsRawFd never hands out -1 here (tun-tap fails to open instead).
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
