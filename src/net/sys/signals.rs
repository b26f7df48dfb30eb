//! Keeps signals away from the library's own threads: they are the host's to handle, in the host's threads.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// All signals are blocked in the current thread while this lives; a thread spawned meanwhile inherits that for life,
/// so that there is no moment at which a signal could be delivered to it.
#[must_use]
pub struct SignalsBlocked {
    before: libc::sigset_t,
    // The mask belongs to a thread: the guard must be dropped where it was made.
    _not_send: PhantomData<*const ()>,
}

impl SignalsBlocked {
    /// Blocks all signals in this thread.
    pub fn new() -> SignalsBlocked {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initializes `all`; pthread_sigmask cannot fail with SIG_SETMASK and valid pointers, and
        // initializes `before`.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        SignalsBlocked { before, _not_send: PhantomData }
    }
}

impl Default for SignalsBlocked {
    fn default() -> SignalsBlocked {
        SignalsBlocked::new()
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask that this very thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blocked(signal: libc::c_int) -> bool {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: with a null set the call only writes the present mask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn a_thread_spawned_under_the_guard_never_sees_a_signal_and_the_spawner_gets_its_mask_back() {
        assert!(!is_blocked(libc::SIGUSR2));
        let guard = SignalsBlocked::new();
        let thread = std::thread::spawn(|| is_blocked(libc::SIGUSR2));
        drop(guard);
        assert!(!is_blocked(libc::SIGUSR2));
        assert!(thread.join().unwrap());
    }
}
