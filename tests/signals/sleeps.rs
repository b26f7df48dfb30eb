//! Signals end every sleep, also where the handler was installed with `SA_RESTART`, as Ruby's and Python's are.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use redlock::net::sys::{EventFd, FutexWait, Interest, PollFd, Polled, futex_wait, poll};

const LONG_NS: u64 = 20_000_000_000;

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Runs `sleep` in a thread, signals that thread until the sleep is over, and says how it ended.
fn interrupted<T: Send + 'static>(sleep: impl FnOnce() -> T + Send + 'static) -> T {
    // SAFETY: installs a handler that only touches an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let (identity, identify) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        // SAFETY: no arguments.
        identity.send(unsafe { libc::pthread_self() }).unwrap();
        sleep()
    });
    let thread_id = identify.recv().unwrap();
    let start = Instant::now();
    while !sleeper.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(10), "the wait went on after the handler had run");
        thread::sleep(Duration::from_millis(20));
        // SAFETY: the thread has not been joined, so its id is valid.
        unsafe { libc::pthread_kill(thread_id, libc::SIGUSR1) };
    }
    sleeper.join().unwrap()
}

#[test]
fn a_signal_ends_a_futex_wait() {
    static WORD: AtomicU32 = AtomicU32::new(0);
    assert_eq!(interrupted(|| futex_wait(&WORD, 0, LONG_NS)), FutexWait::Interrupted);
    assert!(HANDLED.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_signal_ends_a_poll_with_and_without_a_limit() {
    for limit in [Some(LONG_NS), None] {
        let (polled, stale) = interrupted(move || {
            let event = EventFd::new().unwrap();
            let mut fds = [PollFd::new(event.fd(), Interest::BOTH)];
            // Ready to be written at first, so that there is a finding to forget.
            assert_eq!(poll(&mut fds, None).unwrap(), Polled::Ready(1));
            fds[0] = PollFd::new(event.fd(), Interest::READ);
            let polled = poll(&mut fds, limit).unwrap();
            (polled, fds[0].is_readable() || fds[0].is_writable())
        });
        assert_eq!(polled, Polled::Interrupted);
        assert!(!stale);
    }
}
