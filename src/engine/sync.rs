//! The primitives that `handover.rs` stands on. A test compiles that very file against a model checker's instead.

use std::sync::atomic::{AtomicU32, Ordering};
pub(crate) use std::sync::{Arc, Mutex};

pub(crate) use crate::net::sys::FutexWait;

use crate::net::sys;

/// A word that threads sleep on.
#[derive(Debug, Default)]
pub(crate) struct Word(AtomicU32);

impl Word {
    /// What it says.
    pub(crate) fn load(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Changes what it says. Sleepers have to be woken.
    pub(crate) fn store(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }

    /// Sleeps while it says `expected`.
    pub(crate) fn sleep(&self, expected: u32, timeout_ns: u64) -> FutexWait {
        sys::futex_wait(&self.0, expected, timeout_ns)
    }

    /// Wakes whoever sleeps on it.
    pub(crate) fn wake(&self) {
        sys::futex_wake(&self.0, 1);
    }
}
