//! The driver thread from outside: who wants it, whether there is one, and how it is woken. What it does is in `driver.rs`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::net::sys::{EventFd, Inherited};

/// The thread, where there is one.
#[derive(Debug, Default)]
pub(super) struct Driver {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// For a forked child.
    pub(super) descriptor: Arc<Inherited>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) thread: Option<JoinHandle<()>>,
    pub(super) is_running: bool,
    pub(super) is_closed: bool,
    /// Calls under way that want it.
    pub(super) wanted: usize,
    /// How often that has changed.
    pub(super) changes: u64,
    /// Ends its sleep.
    pub(super) kick: Option<Arc<EventFd>>,
}

/// A call that wants the driver, until it has its lease.
pub(super) struct Wanted<'d>(&'d Driver);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.wanted -= 1;
        inner.changes += 1;
        drop(inner);
        self.0.changed.notify_all();
    }
}

impl Driver {
    /// One more call wants it.
    pub(super) fn want(&self, mut inner: MutexGuard<'_, Inner>) -> Wanted<'_> {
        inner.wanted += 1;
        inner.changes += 1;
        drop(inner);
        self.changed.notify_all();
        Wanted(self)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends its sleep: what it sleeps on has changed.
    pub(super) fn kick(&self) {
        if let Some(kick) = &self.lock().kick {
            kick.signal();
        }
    }

    /// Ends the thread and waits for it. Called without the state mutex.
    pub(super) fn end(&self) {
        let thread = {
            let mut inner = self.lock();
            inner.is_closed = true;
            inner.thread.take()
        };
        self.changed.notify_all();
        self.kick();
        if let Some(thread) = thread {
            // A panic of its own has poisoned the state already.
            let _ = thread.join();
        }
    }

    /// Sleeps for a while, or until calls have come or gone that want it, or the handle is closed.
    pub(super) fn nap(&self, time: Duration, changes: u64) {
        let inner = self.lock();
        let nothing_new = |inner: &mut Inner| inner.changes == changes && !inner.is_closed;
        let _ = self.changed.wait_timeout_while(inner, time, nothing_new);
    }

    /// Ends this thread, unless somebody wants it.
    pub(super) fn may_end(&self) -> bool {
        let mut inner = self.lock();
        let may_end = inner.wanted == 0;
        inner.is_running &= !may_end;
        may_end
    }
}
