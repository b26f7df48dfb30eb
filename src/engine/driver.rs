//! The thread that minds the handle while nobody is inside: timers and pushes of leases that extend themselves. The only
//! one that the library ever owns for longer than a look-up. It exists while there are such leases, and a little longer.
//!
//! It leads nobody. Callers read for themselves, as if it were not there; where calls come one after the other it
//! sleeps, looks every few milliseconds whether they still do, and polls only in between.

use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crate::core::report::Status;
use crate::net::sys::{self, EventFd, Interest, PollFd, SignalsBlocked};

use super::driver_thread::Wanted;
use super::error::Error;
use super::handover::{LeaderSleep, SLEEP_MAX_NS};
use super::shared::{Shared, forked};

/// How often it looks whether callers still read.
const NAP: Duration = Duration::from_millis(5);

/// For how long it stays when no lease extends itself any more.
const LINGER: Duration = Duration::from_secs(1);

impl Shared {
    /// Makes sure that there is a driver for as long as what this returns lives, and then for the leases.
    pub(super) fn want_driver(self: &Arc<Shared>) -> Result<Wanted<'_>, Error> {
        if self.is_forked() {
            return Err(forked());
        }
        let no_thread = |error: std::io::Error| Error::plain(Status::Internal, format!("no thread: {error}"));
        let mut inner = self.driver.lock();
        if !inner.is_running && !inner.is_closed {
            if let Some(ended) = inner.thread.take() {
                let _ = ended.join();
            }
            let kick = match &inner.kick {
                Some(kick) => Arc::clone(kick),
                None => {
                    let kick = Arc::new(EventFd::new().map_err(no_thread)?);
                    self.driver.descriptor.set(Some(kick.fd()));
                    Arc::clone(inner.kick.insert(kick))
                }
            };
            let shared = Arc::clone(self);
            let _masked = SignalsBlocked::new();
            let drive = move || {
                // The handle fails or is closed, and there is nobody to tell.
                let _ = shared.drive(&kick);
            };
            inner.thread = Some(Builder::new().name("redlock-driver".to_owned()).spawn(drive).map_err(no_thread)?);
            inner.is_running = true;
        }
        Ok(self.driver.want(inner))
    }

    /// Reads and minds the timers whenever no caller does.
    fn drive(&self, kick: &EventFd) -> Result<(), Error> {
        let mut calls = 0;
        let mut is_idle = false;
        loop {
            let changes = self.driver.lock().changes;
            let mut state = self.enter()?;
            if state.is_closed {
                self.leave(state);
                return Ok(());
            }
            if !state.machine.has_leases_that_extend() {
                self.leave(state);
                if is_idle && self.driver.may_end() {
                    return Ok(());
                }
                is_idle = true;
                self.driver.nap(LINGER, changes);
                continue;
            }
            is_idle = false;
            let calls_until_now = state.handover.calls();
            if state.handover.has_leader() || calls_until_now != calls {
                calls = calls_until_now;
                self.leave(state);
                self.driver.nap(NAP, changes);
                continue;
            }
            let now = self.clock.now();
            state.flush(now);
            let mut set = state.poll_set(Some(PollFd::new(kick.fd(), Interest::READ)));
            let until_mono_ns = if state.has_unread() { 0 } else { state.next_deadline().unwrap_or(u64::MAX) };
            state.handover.onlooker_sleeps(LeaderSleep { until_mono_ns, poll_set: set.generation });
            self.leave_unsent(state);
            let left_ns = until_mono_ns.saturating_sub(now.mono_ns).min(SLEEP_MAX_NS);
            let _ = sys::poll(&mut set.fds, Some(left_ns));
            if set.is_kicked() {
                kick.drain();
            }
            let mut state = self.enter()?;
            state.handover.onlooker_wakes();
            if !state.handover.has_leader() {
                state.attend(self.clock.now(), &set);
            }
            state.keep_poll_set(set);
            self.leave(state);
        }
    }
}
