//! Signals: kept away from the library's own threads, and let in only during the sleeps of an interruptible wait, so that
//! none is handled between two of them unnoticed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use super::timespec;

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

thread_local! {
    /// The mask that this thread's sleeps are to have, while it is in an interruptible wait.
    static SLEEPING_MASK: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
}

/// Raised by the fault of an instruction, or by one's own abort: never held back.
const SYNCHRONOUS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT];

/// While this lives, signals reach the current thread only in `poll` and `SleepWord::sleep`, which tell of it. A handler that ran anywhere else would be noticed by nobody.
#[must_use]
pub struct SignalsOnlyInSleeps {
    before: libc::sigset_t,
    // The mask belongs to a thread.
    _not_send: PhantomData<*const ()>,
}

impl SignalsOnlyInSleeps {
    /// From now on.
    pub fn new() -> SignalsOnlyInSleeps {
        let mut held_back = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initializes the set, from which valid signals are taken out; pthread_sigmask cannot fail with
        // SIG_SETMASK and valid pointers, and initializes `before`.
        let before = unsafe {
            libc::sigfillset(held_back.as_mut_ptr());
            for signal in SYNCHRONOUS {
                libc::sigdelset(held_back.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, held_back.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        SLEEPING_MASK.set(Some(before));
        SignalsOnlyInSleeps { before, _not_send: PhantomData }
    }
}

impl Default for SignalsOnlyInSleeps {
    fn default() -> SignalsOnlyInSleeps {
        SignalsOnlyInSleeps::new()
    }
}

impl Drop for SignalsOnlyInSleeps {
    fn drop(&mut self) {
        SLEEPING_MASK.set(None);
        // SAFETY: `before` is the mask that this very thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
    }
}

/// The mask to sleep with; `None`: the thread's own.
pub(super) fn sleeping_mask() -> Option<libc::sigset_t> {
    SLEEPING_MASK.get()
}

/// Lets in what was held back since the last sleep. True when a signal handler ran.
pub(super) fn let_in(mask: &libc::sigset_t) -> bool {
    let now = timespec(0);
    // SAFETY: no descriptors; the timeout and the mask are valid and only read.
    unsafe { libc::ppoll(ptr::null_mut(), 0, &now, mask) == -1 }
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
