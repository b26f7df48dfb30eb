//! Every system call, each behind a small safe type.
//!
//! With `src/ffi` this is the only home of `unsafe`. Calls that can sleep all take a timeout and report a signal as a
//! value of its own, because Ruby's `Timeout` and Python's Ctrl-C work by interrupting them; nothing here raises
//! SIGPIPE; every descriptor is close-on-exec.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod bell;
mod events;
mod fork;
mod futex;
mod poll;
mod signals;
mod sleep;
mod socket;

use std::io;

pub use bell::Bell;
pub use events::{Epoll, EventFd, TimerFd};
pub use fork::{Inherited, fork_generation};
pub use futex::{FutexWait, futex_wait, futex_wake};
pub use poll::{PollFd, Polled, poll};
pub use signals::{SignalsBlocked, SignalsOnlyInSleeps};
pub use sleep::SleepWord;
pub use socket::Socket;

const NS_PER_S: u64 = 1_000_000_000;

/// What a descriptor is watched for. Errors and hang-ups are always reported, as readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Something to read, or the end.
    pub read: bool,
    /// Room to write, or a connect that has come to its end.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writing only.
    pub const WRITE: Interest = Interest { read: false, write: true };
    /// Reading and writing.
    pub const BOTH: Interest = Interest { read: true, write: true };
}

/// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970 by the wall clock (`CLOCK_REALTIME`), which people and NTP may set.
#[must_use]
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Goes through the C library's symbol, not the raw call: the vDSO makes it cheap and a preloaded shim can replace it.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    debug_assert_eq!(result, 0, "both clocks exist since Linux 2.6.39");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_S).saturating_add(nanoseconds)
}

/// A duration or a moment as the kernel wants it; what does not fit becomes the largest that does.
fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(ns / NS_PER_S).unwrap_or(libc::time_t::MAX),
        // Less than 10^9, which fits every platform's c_long.
        tv_nsec: (ns % NS_PER_S) as _,
    }
}

/// The result of a call that returns −1 and sets errno on failure.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for calls that return a byte count.
fn checked_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_and_only_forward_within_a_thread() {
        let (boot, real) = (boottime_ns(), realtime_ns());
        assert!(boot > 0 && real > boot);
        assert!(boottime_ns() >= boot);
    }

    #[test]
    fn a_timespec_splits_seconds_and_nanoseconds() {
        let time = timespec(3 * NS_PER_S + 7);
        assert_eq!((time.tv_sec, time.tv_nsec), (3, 7));
        assert!(timespec(u64::MAX).tv_sec > 0);
    }
}
