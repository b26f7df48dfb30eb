//! What the event-loop API gives the program to poll.

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::net::sys::{Epoll, EventFd, Interest, TimerFd};

/// The descriptors of one handle's event-loop API, valid as long as the handle.
#[derive(Debug)]
pub(crate) struct LoopDescriptors {
    pub(crate) epoll: Arc<Epoll>,
    pub(crate) timer: TimerFd,
    pub(crate) ready: EventFd,
}

impl LoopDescriptors {
    pub(crate) fn new() -> std::io::Result<LoopDescriptors> {
        let descriptors =
            LoopDescriptors { epoll: Arc::new(Epoll::new()?), timer: TimerFd::new()?, ready: EventFd::new()? };
        descriptors.epoll.add(descriptors.timer.fd(), Interest::READ)?;
        descriptors.epoll.add(descriptors.ready.fd(), Interest::READ)?;
        Ok(descriptors)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.epoll.fd()
    }

    /// How many [`LoopDescriptors::fds`] there are.
    pub(crate) const COUNT: usize = 3;

    /// All of them.
    pub(crate) fn fds(&self) -> [RawFd; LoopDescriptors::COUNT] {
        [self.epoll.fd(), self.timer.fd(), self.ready.fd()]
    }
}
