//! Notices that this process is a forked child, without a system call.

use std::os::fd::RawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// How often this process is the child of a `fork` since the library was first used: a handle remembers the number it
/// was made with and belongs to somebody else as soon as it differs.
///
/// The check is two atomic loads. `vfork`, `clone` and `fork` as raw system calls run no `pthread_atfork` handlers and
/// are not noticed; a child made that way may only `exec`, as POSIX says of any multithreaded program.
#[must_use]
pub fn fork_generation() -> u32 {
    REGISTERED.call_once(|| {
        // SAFETY: the handler is a function of this library, which is linked never to be unloaded, and does nothing
        // but an atomic addition, as safe in a child as in a signal handler. Out of memory is the only failure, and
        // leaves the process without the check rather than without locks.
        unsafe { libc::pthread_atfork(None, None, Some(count_child)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn count_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The number of an open descriptor, where a forked child finds it without taking a lock: what else knows it may have
/// been in the hands of a thread that the child does not have.
///
/// To be cleared before the descriptor is closed. A child of the moment between then keeps a duplicate too many, but
/// never closes a number that has become somebody else's.
#[derive(Debug)]
pub struct Inherited(AtomicI32);

impl Default for Inherited {
    fn default() -> Inherited {
        Inherited(AtomicI32::new(-1))
    }
}

impl Inherited {
    /// Remembers a descriptor, or none.
    pub fn set(&self, fd: Option<RawFd>) {
        self.0.store(fd.unwrap_or(-1), Ordering::Release);
    }

    /// Closes the child's duplicate, once. The owner must not be dropped in this process any more.
    pub fn close_in_child(&self) {
        let fd = self.0.swap(-1, Ordering::AcqRel);
        if fd >= 0 {
            // SAFETY: no pointers. The number was open at the fork, and its owner is not used in the child.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_sees_another_generation_and_the_parent_does_not() {
        let before = fork_generation();
        // SAFETY: the child only reads an atomic and calls _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let differs = fork_generation() == before + 1;
            // SAFETY: ends the child at once, running nothing of the test harness.
            unsafe { libc::_exit(if differs { 42 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42);
        assert_eq!(fork_generation(), before);
    }
}
