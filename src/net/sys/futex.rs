//! Sleeping on a word of memory.
//!
//! Not std's `Condvar` or `park`: those restart their wait after a signal handler ran and tell nobody, so that Ruby's
//! `Timeout` and Python's Ctrl-C would hang until the lock is free.

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU32;

use super::timespec;

/// How a [`futex_wait`] ended. `Woken` and `Changed` may be spurious: look at the word again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FutexWait {
    /// A [`futex_wake`] on this word.
    Woken,
    /// The word did not have the expected value to begin with.
    Changed,
    /// The time is over.
    TimedOut,
    /// A signal handler ran in this thread.
    Interrupted,
}

/// Sleeps while `word` holds `expected`, for at most `timeout_ns`.
///
/// There is always a timeout, and not only for prudence: without one the kernel restarts the wait after a handler that
/// was installed with `SA_RESTART` (futex(2), signal(7)), and Ruby's and Python's are. The time is relative and on
/// `CLOCK_MONOTONIC`, so it stands still while the machine is suspended: a caller with a deadline on `CLOCK_BOOTTIME`
/// that must be met soon after a resume waits in slices.
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout_ns: u64) -> FutexWait {
    let timeout = timespec(timeout_ns);
    // SAFETY: the word outlives the call, and the kernel only compares it; the timeout is valid and only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &timeout as *const libc::timespec,
            ptr::null::<u32>(),
            0u32,
        )
    };
    if result == 0 {
        return FutexWait::Woken;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ETIMEDOUT) => FutexWait::TimedOut,
        Some(libc::EINTR) => FutexWait::Interrupted,
        // EAGAIN. The others (EFAULT, EINVAL, ENOSYS) cannot happen to valid arguments; a caller's loop would notice.
        _ => FutexWait::Changed,
    }
}

/// Wakes at most `count` threads that sleep on `word`; returns how many.
pub fn futex_wake(word: &AtomicU32, count: u32) -> usize {
    let count = count.min(i32::MAX as u32);
    // SAFETY: the kernel uses the word's address only as a key.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, count) };
    usize::try_from(result).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use super::*;

    const LONG_NS: u64 = 20_000_000_000;

    #[test]
    fn a_wait_ends_at_once_when_the_word_has_changed_and_in_time_when_it_has_not() {
        let word = AtomicU32::new(1);
        assert_eq!(futex_wait(&word, 0, LONG_NS), FutexWait::Changed);
        let start = Instant::now();
        assert_eq!(futex_wait(&word, 1, 20_000_000), FutexWait::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(futex_wait(&word, 1, 0), FutexWait::TimedOut);
    }

    #[test]
    fn a_wake_ends_the_wait_of_a_sleeper() {
        let word = Arc::new(AtomicU32::new(0));
        let sleeper = std::thread::spawn({
            let word = Arc::clone(&word);
            move || futex_wait(&word, 0, LONG_NS)
        });
        while futex_wake(&word, 1) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(sleeper.join().unwrap(), FutexWait::Woken);
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }
}
