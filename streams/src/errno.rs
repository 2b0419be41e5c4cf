//! Error numbers with Solaris's values and words.
//!
//! Spec: intro(2), sys/errno.h. Many above 34 differ from Linux.

use std::fmt;

macro_rules! errnos {
    ($($name:ident = $num:literal, $text:literal;)*) => {
        /// A Solaris error number.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[allow(missing_docs, clippy::upper_case_acronyms)]
        #[repr(i32)]
        pub enum Errno { $($name = $num),* }

        impl Errno {
            /// Every error, by number.
            pub const ALL: &'static [Errno] = &[$(Errno::$name),*];

            /// The name in errno.h.
            pub const fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name)),* }
            }

            /// What strerror(3C) says.
            pub const fn text(self) -> &'static str {
                match self { $(Errno::$name => $text),* }
            }

            /// The error with this number; EINVAL for a number that is none.
            pub const fn from_number(n: i32) -> Errno {
                match n { $($num => Errno::$name,)* _ => Errno::EINVAL }
            }
        }
    };
}

errnos! {
    EPERM = 1, "Not owner";
    ENOENT = 2, "No such file or directory";
    ESRCH = 3, "No such process";
    EINTR = 4, "Interrupted system call";
    EIO = 5, "I/O error";
    ENXIO = 6, "No such device or address";
    E2BIG = 7, "Arg list too long";
    EBADF = 9, "Bad file number";
    EAGAIN = 11, "Resource temporarily unavailable";
    ENOMEM = 12, "Not enough space";
    EACCES = 13, "Permission denied";
    EFAULT = 14, "Bad address";
    EBUSY = 16, "Device busy";
    EEXIST = 17, "File exists";
    ENODEV = 19, "No such device";
    ENOTDIR = 20, "Not a directory";
    EINVAL = 22, "Invalid argument";
    ENFILE = 23, "File table overflow";
    EMFILE = 24, "Too many open files";
    ENOTTY = 25, "Inappropriate ioctl for device";
    ENOSPC = 28, "No space left on device";
    EPIPE = 32, "Broken pipe";
    ERANGE = 34, "Result too large";
    EDEADLK = 45, "Deadlock situation detected/avoided";
    ENOSTR = 60, "Not a stream device";
    ENODATA = 61, "No data available";
    ETIME = 62, "Timer expired";
    ENOSR = 63, "Out of stream resources";
    EPROTO = 71, "Protocol error";
    EBADMSG = 77, "Not a data message";
    ENAMETOOLONG = 78, "File name too long";
    EOVERFLOW = 79, "Value too large for defined data type";
    ELOOP = 90, "Number of symbolic links encountered during path name traversal exceeds MAXSYMLINKS";
    ENOTEMPTY = 93, "Directory not empty";
    ENOTSOCK = 95, "Socket operation on non-socket";
    EDESTADDRREQ = 96, "Destination address required";
    EMSGSIZE = 97, "Message too long";
    EPROTONOSUPPORT = 120, "Protocol not supported";
    EOPNOTSUPP = 122, "Operation not supported on transport endpoint";
    EAFNOSUPPORT = 124, "Address family not supported by protocol family";
    EADDRINUSE = 125, "Address already in use";
    EADDRNOTAVAIL = 126, "Cannot assign requested address";
    ENETDOWN = 127, "Network is down";
    ENETUNREACH = 128, "Network is unreachable";
    ECONNRESET = 131, "Connection reset by peer";
    ENOBUFS = 132, "No buffer space available";
    EISCONN = 133, "Transport endpoint is already connected";
    ENOTCONN = 134, "Transport endpoint is not connected";
    ETIMEDOUT = 145, "Connection timed out";
    ECONNREFUSED = 146, "Connection refused";
    EHOSTUNREACH = 148, "No route to host";
    EALREADY = 149, "Operation already in progress";
    EINPROGRESS = 150, "Operation now in progress";
}

impl Errno {
    /// The number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The error with this name, such as `"ENXIO"`.
    pub fn from_name(name: &str) -> Option<Errno> {
        Errno::ALL.iter().copied().find(|e| e.name() == name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.name())
    }
}

impl std::error::Error for Errno {}
