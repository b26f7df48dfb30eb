//! Sleeping on a word of memory so that signals can be let in: a futex for the usual short sleep, a descriptor for long ones.
//!
//! `futex` cannot unblock signals for the time of its sleep, as `ppoll` can. Whoever is in an interruptible wait
//! ([`SignalsOnlyInSleeps`](super::SignalsOnlyInSleeps)) therefore sleeps on the futex for a moment only, which is what most
//! waits take, and then in `ppoll`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::signals::{let_in, sleeping_mask};
use super::{EventFd, FutexWait, Interest, PollFd, Polled, futex_wait, futex_wake, poll};

/// Signals that come so soon are handled after this.
const FUTEX_MAX_NS: u64 = 2_000_000;

/// A word, and where its one sleeper may be.
#[derive(Debug, Default)]
pub struct SleepWord {
    word: AtomicU32,
    /// There while the sleeper is in `ppoll`.
    descriptor: Mutex<Option<EventFd>>,
}

impl SleepWord {
    /// What the word says.
    #[must_use]
    pub fn load(&self) -> u32 {
        self.word.load(Ordering::Acquire)
    }

    /// Changes what it says. The sleeper has to be woken.
    pub fn store(&self, value: u32) {
        // Not only released: whoever wakes looks for the descriptor next, whoever sleeps looks at the word after it has put
        // it there, and one of them must see the other.
        self.word.store(value, Ordering::SeqCst);
    }

    /// Wakes the sleeper.
    pub fn wake(&self) {
        futex_wake(&self.word, 1);
        if let Some(descriptor) = &*self.descriptor.lock().unwrap_or_else(PoisonError::into_inner) {
            descriptor.signal();
        }
    }

    /// Sleeps while the word says `expected`, for at most `timeout_ns`.
    pub fn sleep(&self, expected: u32, timeout_ns: u64) -> FutexWait {
        let Some(mask) = sleeping_mask() else { return futex_wait(&self.word, expected, timeout_ns) };
        match futex_wait(&self.word, expected, timeout_ns.min(FUTEX_MAX_NS)) {
            FutexWait::TimedOut if let_in(&mask) => FutexWait::Interrupted,
            FutexWait::TimedOut if timeout_ns > FUTEX_MAX_NS => self.sleep_in_poll(expected, timeout_ns - FUTEX_MAX_NS),
            ended => ended,
        }
    }

    fn sleep_in_poll(&self, expected: u32, timeout_ns: u64) -> FutexWait {
        // Without one more descriptor: another moment on the futex, and signals are let in after it.
        let Ok(descriptor) = EventFd::new() else { return FutexWait::Changed };
        let mut fds = [PollFd::new(descriptor.fd(), Interest::READ)];
        *self.descriptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(descriptor);
        let ended = if self.word.load(Ordering::SeqCst) == expected {
            match poll(&mut fds, Some(timeout_ns)) {
                Ok(Polled::Interrupted) => FutexWait::Interrupted,
                Ok(Polled::Ready(0)) => FutexWait::TimedOut,
                Ok(Polled::Ready(_)) | Err(_) => FutexWait::Woken,
            }
        } else {
            FutexWait::Changed
        };
        *self.descriptor.lock().unwrap_or_else(PoisonError::into_inner) = None;
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::SignalsOnlyInSleeps;
    use super::*;

    const LONG_NS: u64 = 20_000_000_000;

    #[test]
    fn a_sleeper_is_woken_from_the_futex_and_from_poll() {
        for before_ms in [0, 30] {
            let sleeper = Arc::new(SleepWord::default());
            let thread = std::thread::spawn({
                let sleeper = Arc::clone(&sleeper);
                move || {
                    let _signals = SignalsOnlyInSleeps::new();
                    while sleeper.load() == 0 {
                        sleeper.sleep(0, LONG_NS);
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(before_ms));
            let begun = Instant::now();
            sleeper.store(1);
            sleeper.wake();
            thread.join().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
    }

    #[test]
    fn a_sleep_ends_in_time() {
        let (sleeper, _signals) = (SleepWord::default(), SignalsOnlyInSleeps::new());
        let begun = Instant::now();
        assert_eq!(sleeper.sleep(0, 20_000_000), FutexWait::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(20));
        assert_eq!(sleeper.sleep(1, LONG_NS), FutexWait::Changed);
    }
}
