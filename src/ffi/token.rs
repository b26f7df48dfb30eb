//! By token
//!
//! What another process can do with a lock when it was told the resource and the token of the lease. The handle
//! must be one for the same nodes, with the same prefix. Nothing here knows how long a lease lasts: that is the
//! holder's knowledge.

use std::ffi::{c_char, c_void};

use super::error::{ErrorOut, redlock_error_t};
use super::guard::guard;
use super::handle::{at_work, redlock_t};
use super::pointer::{bytes, string};
use super::status::redlock_status_t;

/// Releases the lock on a resource if it belongs to this token.
///
/// rl, resource, token: not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes deleted it, REDLOCK_E_LOST if it was not this token's,
/// REDLOCK_E_NO_QUORUM if more than N - q nodes failed or timed out, REDLOCK_E_UNKNOWN if too few confirmed for
/// mixed reasons. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock_token(
    rl: *const redlock_t,
    resource: *const c_char,
    token: *const c_char,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and strings, or NULL.
        unsafe { at_work(rl, |engine| engine.unlock_token(string(resource, "resource")?, string(token, "token")?)) }
    })
}

/// redlock_unlock_token() for any bytes. NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock_token_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    token: *const c_void,
    token_len: usize,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.unlock_token(bytes(resource, resource_len, "resource")?, bytes(token, token_len, "token")?)
            })
        }
    })
}

/// redlock_unlock_token() that does not wait: the release is handed to the kernel, or follows as soon as a node can be
/// reached. It needs no event loop and queues no event; the outcome goes to the counters alone.
///
/// rl, resource, token: not NULL. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock_token_nowait(
    rl: *const redlock_t,
    resource: *const c_char,
    token: *const c_char,
) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: a live handle and strings, or NULL.
        unsafe {
            at_work(rl, |engine| engine.unlock_token_nowait(string(resource, "resource")?, string(token, "token")?))
        }
    })
}

/// redlock_unlock_token_nowait() for any bytes. NULL is allowed only for no bytes. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock_token_nowait_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    token: *const c_void,
    token_len: usize,
) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe {
            at_work(rl, |engine| {
                let (resource, token) = (bytes(resource, resource_len, "resource")?, bytes(token, token_len, "token")?);
                engine.unlock_token_nowait(resource, token)
            })
        }
    })
}

/// Makes the lock on a resource last ttl_ms from now on if it belongs to this token; it is never shortened.
///
/// rl, resource, token: not NULL.
/// ttl_ms: at least 1.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed it, REDLOCK_E_LOST if the lock was not this token's. Waits: at most
/// a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_extend_token(
    rl: *const redlock_t,
    resource: *const c_char,
    token: *const c_char,
    ttl_ms: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and strings, or NULL.
        unsafe {
            at_work(rl, |engine| engine.extend_token(string(resource, "resource")?, string(token, "token")?, ttl_ms))
        }
    })
}

/// redlock_extend_token() for any bytes. NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_extend_token_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    token: *const c_void,
    token_len: usize,
    ttl_ms: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.extend_token(
                    bytes(resource, resource_len, "resource")?,
                    bytes(token, token_len, "token")?,
                    ttl_ms,
                )
            })
        }
    })
}
