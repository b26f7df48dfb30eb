//! Waiting for descriptors. `ppoll`, not `select`: descriptors above 1024 are ordinary in a large host.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

use super::signals::{let_in, sleeping_mask};
use super::{Interest, timespec};

/// One descriptor to wait for, and afterwards what was found. Lives in a vector that is used again and again.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct PollFd(libc::pollfd);

impl PollFd {
    /// Waits for `interest` on `fd`; a negative descriptor is skipped.
    #[must_use]
    pub fn new(fd: RawFd, interest: Interest) -> PollFd {
        let mut events = 0;
        if interest.read {
            events |= libc::POLLIN;
        }
        if interest.write {
            events |= libc::POLLOUT;
        }
        PollFd(libc::pollfd { fd, events, revents: 0 })
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.0.fd
    }

    /// Reading will not block: data, the end, or an error.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.0.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    /// Writing will not block: room, or an error.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.revents & (libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

impl fmt::Debug for PollFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PollFd({}, {:#x} -> {:#x})", self.0.fd, self.0.events, self.0.revents)
    }
}

/// How a [`poll`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// So many descriptors have something to tell; 0: the time is over.
    Ready(usize),
    /// A signal handler ran in this thread. `ppoll` is never restarted, `SA_RESTART` or not (signal(7)).
    Interrupted,
}

/// Waits until a descriptor is ready, for at most `timeout_ns`; `None`: without limit. As with
/// [`futex_wait`](super::futex_wait) the time stands still while the machine is suspended.
pub fn poll(fds: &mut [PollFd], timeout_ns: Option<u64>) -> io::Result<Polled> {
    let timeout = timeout_ns.map(timespec);
    let timeout_ptr = timeout.as_ref().map_or(ptr::null(), |timeout| timeout as *const libc::timespec);
    let mask = sleeping_mask();
    let mask_ptr = mask.as_ref().map_or(ptr::null(), |mask| mask as *const libc::sigset_t);
    // SAFETY: PollFd is a transparent pollfd, the slice is exclusively ours, the timeout is valid or null, and so is the
    // mask; a null one leaves the thread's signals as they are.
    let result = unsafe { libc::ppoll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, timeout_ptr, mask_ptr) };
    match usize::try_from(result) {
        // Descriptors that are ready end the call before a signal is looked at: on a busy handle always.
        Ok(1..) if mask.as_ref().is_some_and(let_in) => {
            fds.iter_mut().for_each(|fd| fd.0.revents = 0);
            Ok(Polled::Interrupted)
        }
        Ok(count) => Ok(Polled::Ready(count)),
        Err(_) => {
            // The kernel leaves the old findings in place on failure, and nobody must act on those.
            fds.iter_mut().for_each(|fd| fd.0.revents = 0);
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Polled::Interrupted),
                error => Err(error),
            }
        }
    }
}
