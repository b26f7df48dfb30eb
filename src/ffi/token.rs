//! By token
//!
//! What another process can do with a lock when it was told the resource and the token of the lease. The handle
//! must be one for the same nodes, with the same prefix. Nothing here knows how long a lease lasts: that is the
//! holder's knowledge.

use std::ffi::{c_char, c_void};

use super::error::{ErrorOut, redlock_error_t};
use super::guard::guard;
use super::handle::redlock_t;
use super::pointer::{bytes, share, string};
use super::status::redlock_status_t;

/// Releases the lock on a resource if it belongs to this token.
///
/// rl, resource, token: not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes deleted it, REDLOCK_E_LOST if it was not this token's,
/// REDLOCK_E_NO_QUORUM if more than N − q nodes failed or timed out, REDLOCK_E_UNKNOWN if too few confirmed for
/// mixed reasons. Since 0.1.0.
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
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or strings.
        let (resource, token) = unsafe { (string(resource, "resource")?, string(token, "token")?) };
        let _inside = handle.enter()?;
        handle.engine.unlock_token(resource, token)
    })
}

/// redlock_unlock_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
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
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or as many bytes as are said.
        let resource = unsafe { bytes(resource, resource_len, "resource") }?;
        // SAFETY: NULL or as many bytes as are said.
        let token = unsafe { bytes(token, token_len, "token") }?;
        let _inside = handle.enter()?;
        handle.engine.unlock_token(resource, token)
    })
}

/// Makes the lock on a resource last ttl_ms from now on if it belongs to this token; it is never shortened.
///
/// rl, resource, token: not NULL.
/// ttl_ms: at least 1.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed it, REDLOCK_E_LOST if the lock was not this token's. Since 0.1.0.
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
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or strings.
        let (resource, token) = unsafe { (string(resource, "resource")?, string(token, "token")?) };
        let _inside = handle.enter()?;
        handle.engine.extend_token(resource, token, ttl_ms)
    })
}

/// redlock_extend_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
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
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or as many bytes as are said.
        let resource = unsafe { bytes(resource, resource_len, "resource") }?;
        // SAFETY: NULL or as many bytes as are said.
        let token = unsafe { bytes(token, token_len, "token") }?;
        let _inside = handle.enter()?;
        handle.engine.extend_token(resource, token, ttl_ms)
    })
}
