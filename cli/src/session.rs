//! The one place that waits: for the nodes, for signals, and for a moment. One thread, no callbacks.

use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use redlock::engine::{Event, LockRequest, Redlock, Value};
use redlock::net::sys::{Interest, PollFd, poll};
use std::os::fd::AsRawFd as _;

use crate::exit::{Failure, SIGNALLED};

/// What a user or a supervisor may send; the job gets them too.
pub const FORWARDED: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];
/// Those of them that end a wait for the lock.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The tag of the lock, and that of the look at its holder.
const LOCK_TAG: u64 = 1;
const LOOK_TAG: u64 = 2;
/// A cancelled attempt removes its keys within this.
const CLEAN_UP_MS: u64 = 2_000;
const CLOSE_MS: i64 = 1_000;

/// Why [`Session::next`] returned.
#[derive(Debug)]
pub enum Wake {
    /// The handle has something to tell.
    Event(Event),
    /// A signal arrived.
    Signal(Signal),
    /// The moment has come.
    Time,
}

/// A handle driven by this thread, and the signals of the process.
pub struct Session {
    pub redlock: Redlock,
    signals: SignalFd,
}

impl Session {
    /// Blocks the signals in this thread and takes them from a descriptor from now on.
    pub fn new(redlock: Redlock) -> Result<Session, Failure> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGCHLD);
        set.thread_block().map_err(|error| Failure::system("cannot block signals", error))?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|error| Failure::system("no signal descriptor", error))?;
        Ok(Session { redlock, signals })
    }

    /// Waits for whatever comes first; `until`: not beyond this moment.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Wake, Failure> {
        loop {
            self.redlock.process()?;
            if let Some(event) = self.redlock.next_event()? {
                return Ok(Wake::Event(event));
            }
            let pending = self.signals.read_signal().map_err(|error| Failure::system("cannot read signals", error))?;
            if let Some(signal) = pending.and_then(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok()) {
                return Ok(Wake::Signal(signal));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Wake::Time);
            }
            let mut fds = [self.redlock.fd()?, self.signals.as_raw_fd()].map(|fd| PollFd::new(fd, Interest::READ));
            let left_ns = left.map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
            poll(&mut fds, left_ns).map_err(|error| Failure::system("cannot wait", error))?;
        }
    }

    /// Takes the lock. `progress` is called about once a second with what a look at the holder showed.
    ///
    /// A signal ends the wait, leaves no key behind, and becomes a failure.
    pub fn lock(
        &mut self,
        request: LockRequest,
        mut progress: impl FnMut(&redlock::engine::Inspection),
    ) -> Result<redlock::engine::Lease, Failure> {
        let resource = request.resource.clone();
        self.redlock.submit_lock(&LockRequest { tag: LOCK_TAG, ..request })?;
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        loop {
            match self.next(Some(look_at))? {
                Wake::Event(Event::Done { tag: LOCK_TAG, result, .. }) => {
                    return match result? {
                        Value::Lease(lease) => Ok(lease),
                        Value::Inspection(_) | Value::Nothing => unreachable_value(),
                    };
                }
                Wake::Event(Event::Done { tag: LOOK_TAG, result: Ok(Value::Inspection(seen)), .. }) => progress(&seen),
                Wake::Event(_) => {}
                Wake::Signal(signal) if ENDING.contains(&signal) => return Err(self.give_up(signal)),
                Wake::Signal(_) => {}
                Wake::Time => {
                    look_at = Instant::now() + LOOK_INTERVAL;
                    self.redlock.submit_inspect(&resource, LOOK_TAG)?;
                }
            }
        }
    }

    /// Cancels the lock and waits until its keys are gone, as long as that takes in a healthy network.
    fn give_up(&mut self, signal: Signal) -> Failure {
        let until = Instant::now() + std::time::Duration::from_millis(CLEAN_UP_MS);
        if self.redlock.cancel(LOCK_TAG).is_ok() {
            while let Ok(wake) = self.next(Some(until)) {
                match wake {
                    Wake::Event(Event::Done { tag: LOCK_TAG, result, .. }) => {
                        if let Ok(Value::Lease(lease)) = result {
                            // It was acquired at the very moment; a failed release ends with the TTL.
                            let _ = lease.unlock();
                        }
                        break;
                    }
                    Wake::Time => break,
                    Wake::Event(_) | Wake::Signal(_) => {}
                }
            }
        }
        // What was cancelled may still have keys to remove.
        let _ = self.redlock.close(false, CLOSE_MS);
        let code = SIGNALLED + u8::try_from(signal as i32).unwrap_or(0);
        Failure::new(code, format!("{} while waiting for the lock", signal.as_str()))
    }
}

const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

fn unreachable_value<T>() -> Result<T, Failure> {
    Err(Failure::new(crate::exit::INTERNAL, "a lock without a lease"))
}
