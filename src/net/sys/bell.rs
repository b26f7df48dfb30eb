//! A signal to an eventfd that any thread and any signal handler may give, also after the descriptor is gone.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use super::EventFd;

const NONE: RawFd = -1;

/// Wakes whoever waits for an eventfd, and remembers that it did. It outlives the descriptor, which is written to only
/// between [`Bell::hang`] and [`Bell::take_down`].
#[derive(Debug)]
pub struct Bell {
    fd: AtomicI32,
    /// Calls of [`Bell::ring`] that may be about to use the descriptor.
    ringing: AtomicU32,
    was_rung: AtomicBool,
}

impl Default for Bell {
    fn default() -> Bell {
        Bell { fd: AtomicI32::new(NONE), ringing: AtomicU32::new(0), was_rung: AtomicBool::new(false) }
    }
}

impl Bell {
    /// From now on ringing makes this descriptor readable.
    pub fn hang(&self, event: &EventFd) {
        self.fd.store(event.fd(), Ordering::SeqCst);
    }

    /// To be called before the descriptor is closed: no ring uses it any more.
    pub fn take_down(&self) {
        self.fd.store(NONE, Ordering::SeqCst);
        while self.ringing.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }

    /// Async-signal-safe: atomic operations and one write(2); errno is as it was.
    pub fn ring(&self) {
        self.was_rung.store(true, Ordering::SeqCst);
        self.ringing.fetch_add(1, Ordering::SeqCst);
        let fd = self.fd.load(Ordering::SeqCst);
        if fd != NONE {
            let one = 1u64.to_ne_bytes();
            // SAFETY: reads eight bytes of `one`; `take_down` waits for us before the descriptor is closed. errno belongs
            // to this thread, and whatever a signal handler interrupted may be about to read it.
            unsafe {
                let errno = libc::__errno_location();
                let before = *errno;
                libc::write(fd, one.as_ptr().cast(), one.len());
                *errno = before;
            }
        }
        self.ringing.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether it was rung since the last time.
    pub fn take(&self) -> bool {
        self.was_rung.load(Ordering::Relaxed) && self.was_rung.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_seen_once_and_needs_no_descriptor() {
        let (bell, event) = (Bell::default(), EventFd::new().unwrap());
        bell.ring();
        assert!(bell.take() && !bell.take());
        bell.hang(&event);
        bell.ring();
        assert!(event.drain() && bell.take());
        bell.take_down();
        bell.ring();
        assert!(!event.drain() && bell.take());
    }
}
