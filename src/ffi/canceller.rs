//! Cancellers
//!
//! A canceller ends operations from outside, and has a life of its own: it may be used before an operation begins, while
//! it runs, and after it has ended. It is sticky: an operation that begins with a canceller that was used returns
//! REDLOCK_E_CANCELLED at once. Requests, redlock_wait_ready_cancellable() and redlock_lease_wait_lost_cancellable()
//! accept one; any number of operations may share it. To begin anew, make a new one: that is cheap. A canceller remembers
//! each handle that it was used with until it is freed.

use std::ptr;

use super::pointer::{give, look, take};
use super::read::read;
use super::status::{REDLOCK_E_INVALID, REDLOCK_OK, redlock_status_t};
use crate::engine::Canceller;

/// What ends operations from outside.
///
/// Lifetime: independent of handles, requests and operations, which keep what they need of it.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_canceller_free().
pub struct redlock_canceller_t {
    pub(super) engine: Canceller,
}

/// A new canceller, not used yet. Never NULL, except after a bug in the library. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_canceller_new() -> *mut redlock_canceller_t {
    read(ptr::null_mut(), || give(redlock_canceller_t { engine: Canceller::new() }))
}

/// Ends every operation that carries this canceller, now and later, with REDLOCK_E_CANCELLED. Each leaves no key behind.
/// One that was about to return something else does so.
///
/// canceller: not NULL.
///
/// REDLOCK_OK also if it was used before or no operation carries it. Any thread, and async-signal-safe: a signal handler
/// may call it, and errno stays as it is. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_canceller_cancel(canceller: *const redlock_canceller_t) -> redlock_status_t {
    // No panic is to be caught: nothing here allocates, locks or can fail.
    // SAFETY: a live canceller or NULL.
    let Some(canceller) = (unsafe { look(canceller) }) else { return REDLOCK_E_INVALID };
    canceller.engine.cancel();
    REDLOCK_OK
}

/// 1 if redlock_canceller_cancel() was called. 0 if not, or canceller is NULL. Async-signal-safe. Waits: never. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_canceller_is_cancelled(canceller: *const redlock_canceller_t) -> i32 {
    // SAFETY: a live canceller or NULL.
    read(0, || unsafe { look(canceller) }.map_or(0, |canceller| i32::from(canceller.engine.is_cancelled())))
}

/// Frees a canceller. Operations that carry it go on. NULL is allowed. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_canceller_free(canceller: *mut redlock_canceller_t) {
    // SAFETY: a canceller of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(canceller) }));
}
