//! The kernel objects that an event loop waits on: eventfd, timerfd, epoll.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Interest, checked, timespec};

/// A descriptor that other threads make readable.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not signalled.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; the descriptor is new and nobody else's.
        let fd = unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))? };
        Ok(EventFd(fd))
    }

    /// Makes it readable until it is drained.
    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: reads eight bytes of `one`. It fails only when the counter is full, and then it is readable.
        unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable; returns whether it had been signalled.
    pub fn drain(&self) -> bool {
        drain(&self.0)
    }

    /// The descriptor to wait for, readable while signalled.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A descriptor that becomes readable at a moment on `CLOCK_BOOTTIME`.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// A new one, disarmed.
    pub fn new() -> io::Result<TimerFd> {
        // SAFETY: no pointers; the descriptor is new and nobody else's.
        let fd = unsafe { owned(libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK))? };
        Ok(TimerFd(fd))
    }

    /// Readable once [`boottime_ns`](super::boottime_ns) has reached `at_ns`, at once if it has; `None` disarms it and
    /// makes it unreadable.
    pub fn arm(&self, at_ns: Option<u64>) {
        let spec = libc::itimerspec {
            it_interval: timespec(0),
            // Zero would disarm; one nanosecond after boot is past just as well.
            it_value: timespec(at_ns.map_or(0, |at_ns| at_ns.max(1))),
        };
        // SAFETY: `spec` is valid and only read, the old value is not asked for. It cannot fail with a valid
        // descriptor and nanoseconds below 10^9.
        let result = unsafe { libc::timerfd_settime(self.fd(), libc::TFD_TIMER_ABSTIME, &spec, ptr::null_mut()) };
        debug_assert_eq!(result, 0);
    }

    /// Makes it unreadable; returns whether the moment had come.
    pub fn drain(&self) -> bool {
        drain(&self.0)
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A set of descriptors that is itself a descriptor, readable (level-triggered) while one of them is ready.
///
/// It watches open files, not numbers: delete a descriptor before closing it, or a duplicate in a forked child keeps
/// it in the set, where nobody can get rid of it any more (epoll(7)).
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new empty set.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the descriptor is new and nobody else's.
        let fd = unsafe { owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
        Ok(Epoll(fd))
    }

    /// Begins to watch `fd`.
    pub fn add(&self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest)
    }

    /// Watches `fd`, already in the set, for something else.
    pub fn modify(&self, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest)
    }

    /// No longer watches `fd`.
    pub fn delete(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, Interest::default())
    }

    /// The descriptor of the set.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, interest: Interest) -> io::Result<()> {
        let mut events = 0;
        if interest.read {
            events |= libc::EPOLLIN;
        }
        if interest.write {
            events |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: events as u32, u64: 0 };
        // SAFETY: `event` is valid and only read; a wrong descriptor is an error, not undefined.
        checked(unsafe { libc::epoll_ctl(self.fd(), operation, fd, &mut event) })?;
        Ok(())
    }
}

/// Reads the counter of an eventfd or timerfd away.
fn drain(fd: &OwnedFd) -> bool {
    let mut count = [0u8; 8];
    // SAFETY: writes at most eight bytes into `count`. The descriptor does not block: nothing to read is EAGAIN.
    let read = unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    read > 0
}

/// Takes ownership of a descriptor that a call has just returned.
///
/// # Safety
/// `result` is −1 or a new descriptor that nothing else owns.
unsafe fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = checked(result)?;
    // SAFETY: not negative, and the caller vouches for the ownership.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::super::{PollFd, Polled, boottime_ns, poll};
    use super::*;

    const MS: u64 = 1_000_000;

    fn is_ready(fd: RawFd, wait_ns: u64) -> bool {
        let mut fds = [PollFd::new(fd, Interest::READ)];
        poll(&mut fds, Some(wait_ns)).unwrap() == Polled::Ready(1) && fds[0].is_readable()
    }

    #[test]
    fn an_event_is_readable_from_signal_to_drain() {
        let event = EventFd::new().unwrap();
        assert!(!is_ready(event.fd(), 0) && !event.drain());
        event.signal();
        event.signal();
        assert!(is_ready(event.fd(), 0));
        assert!(event.drain());
        assert!(!is_ready(event.fd(), 0));
    }

    #[test]
    fn a_timer_fires_at_its_moment_at_once_for_the_past_and_never_when_disarmed() {
        let timer = TimerFd::new().unwrap();
        let at_ns = boottime_ns() + 30 * MS;
        timer.arm(Some(at_ns));
        assert!(!is_ready(timer.fd(), 0));
        assert!(is_ready(timer.fd(), 10_000 * MS));
        assert!(boottime_ns() >= at_ns);
        assert!(timer.drain());
        timer.arm(Some(0));
        assert!(is_ready(timer.fd(), 10_000 * MS));
        timer.arm(None);
        assert!(!is_ready(timer.fd(), 20 * MS));
    }

    #[test]
    fn a_set_is_readable_while_a_member_is() {
        let (set, event) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        set.add(event.fd(), Interest::READ).unwrap();
        assert!(set.add(event.fd(), Interest::READ).is_err());
        assert!(!is_ready(set.fd(), 0));
        event.signal();
        assert!(is_ready(set.fd(), 0) && is_ready(set.fd(), 0));
        set.modify(event.fd(), Interest::default()).unwrap();
        assert!(!is_ready(set.fd(), 0));
        set.modify(event.fd(), Interest::BOTH).unwrap();
        assert!(is_ready(set.fd(), 0));
        set.delete(event.fd()).unwrap();
        assert!(!is_ready(set.fd(), 0));
        assert!(set.delete(event.fd()).is_err());
    }
}
