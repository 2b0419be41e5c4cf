//! Locks, atomics and threads: parking_lot's and the standard library's, or under
//! `--cfg shuttle` those of the model checker, which chooses who runs next at each of them
//! (tests/model.rs).

#[cfg(not(shuttle))]
use parking_lot::MutexGuard;
#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, RwLock};
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic;
#[cfg(not(shuttle))]
pub(crate) use std::thread;

#[cfg(shuttle)]
pub(crate) use model::{Mutex, RwLock};
#[cfg(shuttle)]
use shuttle::sync::MutexGuard;
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic;
#[cfg(shuttle)]
pub(crate) use shuttle::thread;

/// Unlocks, and hands the lock to who sleeps for it: who unlocks can't have it again before.
pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
    #[cfg(not(shuttle))]
    MutexGuard::unlock_fair(guard);
    #[cfg(shuttle)]
    drop(guard);
}

/// The checker's locks with the face of parking_lot's: nothing is ever poisoned, as the
/// checker ends at the first panic.
#[cfg(shuttle)]
mod model {
    use shuttle::sync;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(t: T) -> Mutex<T> {
            Mutex(sync::Mutex::new(t))
        }
        pub fn lock(&self) -> sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|e| e.into_inner())
        }
    }

    #[derive(Default)]
    pub(crate) struct RwLock<T>(sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn read(&self) -> sync::RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(|e| e.into_inner())
        }
        pub fn write(&self) -> sync::RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(|e| e.into_inner())
        }
    }
}
