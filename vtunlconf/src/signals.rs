//! Ctrl-C, SIGTERM: they end a `run`, and outside of one the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What signals have come.
#[derive(Debug, Default)]
pub struct Signals {
    waiting: AtomicBool,
    got: Mutex<Option<i32>>,
    bell: Condvar,
}

impl Signals {
    /// The one of this process; nothing is caught before [`Signals::catch`].
    pub fn shared() -> Arc<Signals> {
        static SHARED: OnceLock<Arc<Signals>> = OnceLock::new();
        SHARED.get_or_init(Arc::default).clone()
    }

    /// Catches SIGINT, SIGTERM and SIGHUP from now on: while somebody waits they end the
    /// wait, else they end the process with the status that a shell gives it.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn catch(self: &Arc<Self>) -> std::io::Result<()> {
        let me = self.clone();
        let mut source = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in source.forever() {
                    if !me.waiting.load(Ordering::Acquire) {
                        std::process::exit(128 + signal);
                    }
                    me.raise(signal);
                }
            })?;
        Ok(())
    }

    /// As if the signal had come.
    pub fn raise(&self, signal: i32) {
        *self.got.lock().unwrap_or_else(|e| e.into_inner()) = Some(signal);
        self.bell.notify_all();
    }

    /// Waits that long (`None`: for ever), or until a signal comes; returns it.
    pub fn wait(&self, time: Option<Duration>) -> Option<&'static str> {
        self.waiting.store(true, Ordering::Release);
        let end = time.map(|t| Instant::now() + t);
        let mut got = self.got.lock().unwrap_or_else(|e| e.into_inner());
        while got.is_none() {
            let left = end.map(|e| e.saturating_duration_since(Instant::now()));
            got = match left {
                Some(t) if t.is_zero() => break,
                Some(t) => {
                    let r = self.bell.wait_timeout(got, t);
                    r.unwrap_or_else(|e| e.into_inner()).0
                }
                None => self.bell.wait(got).unwrap_or_else(|e| e.into_inner()),
            };
        }
        self.waiting.store(false, Ordering::Release);
        got.take().map(|s| match s {
            SIGINT => "SIGINT",
            SIGTERM => "SIGTERM",
            _ => "SIGHUP",
        })
    }

    /// A signal has come since; it stays for who can act on it.
    pub fn raised(&self) -> bool {
        self.got.lock().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    /// A signal has come since; takes it.
    pub fn pending(&self) -> bool {
        self.wait(Some(Duration::ZERO)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_wait_and_the_time_does() {
        let s = Arc::new(Signals::default());
        assert_eq!(s.wait(Some(Duration::from_millis(1))), None);
        let other = s.clone();
        let t = std::thread::spawn(move || other.wait(None));
        s.raise(SIGTERM);
        assert_eq!(t.join().unwrap(), Some("SIGTERM"));
    }
}
