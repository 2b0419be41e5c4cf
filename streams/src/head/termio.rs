//! The ioctls of terminals that the head knows the sizes of: it sends them as an I_STR does.
//!
//! Spec: termio(7I), sys/termios.h, the reference's 2.1 step 7.

/// How the argument of a terminal's ioctl goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sized {
    /// An int, by value.
    Value,
    /// So many bytes are copied in.
    In(usize),
    /// So many bytes are copied out.
    Out(usize),
}

/// struct termio, termios, winsize, sgttyb, tchars, ltchars.
const TERMIO: usize = 18;
const TERMIOS: usize = 36;
const WINSIZE: usize = 8;
const CHARS: usize = 6;
const INT: usize = 4;

/// What is known of a command; `None`: it is sent as a transparent ioctl.
pub(super) fn sized(cmd: i32) -> Option<Sized> {
    let [.., family, n] = cmd.to_be_bytes();
    if cmd >> 16 != 0 {
        return None;
    }
    Some(match (family, n) {
        (b'T', 1) => Sized::Out(TERMIO),               // TCGETA
        (b'T', 2..=4) => Sized::In(TERMIO),            // TCSETA, TCSETAW, TCSETAF
        (b'T', 5..=7 | 32) => Sized::Value,            // TCSBRK, TCXONC, TCFLSH, TCDSET
        (b'T', 13) => Sized::Out(TERMIOS),             // TCGETS
        (b'T', 14..=16) => Sized::In(TERMIOS),         // TCSETS, TCSETSW, TCSETSF
        (b'T', 103) => Sized::In(WINSIZE),             // TIOCSWINSZ
        (b'T', 104) => Sized::Out(WINSIZE),            // TIOCGWINSZ
        (b't', 8 | 18 | 116) => Sized::Out(CHARS),     // TIOCGETP, TIOCGETC, TIOCGLTC
        (b't', 9 | 10 | 17 | 117) => Sized::In(CHARS), // TIOCSETP, TIOCSETN, TIOCSETC, TIOCSLTC
        (b't', 23) => Sized::In(1),                    // TIOCSTI
        (b't', 26..=28 | 125..=127) => Sized::In(INT), // TIOCMSET, TIOCMBIS, .. TIOCLBIS
        (b't', 29 | 115 | 124) => Sized::Out(INT),     // TIOCMGET, TIOCOUTQ, TIOCLGET
        _ => return None,
    })
}
