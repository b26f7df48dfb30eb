//! Submitting
//!
//! The operations of the event loop. Each begins what its blocking namesake does, and returns at once; how it ends is
//! told by one REDLOCK_EVENT_DONE with the tag that was given here. A call that fails has begun nothing, and there is no
//! event: REDLOCK_E_INVALID for an argument, REDLOCK_E_CLOSED, REDLOCK_E_FORKED, REDLOCK_E_INTERNAL.
//!
//! tag: any number, 0 included; several operations may carry the same. redlock_cancel() ends by it, except by 0.
//! error: NULL if no details are wanted.

use std::ffi::{c_char, c_void};

use super::error::{ErrorOut, redlock_error_t};
use super::guard::guard;
use super::handle::{at_work, redlock_t};
use super::lease::redlock_lease_t;
use super::pointer::{borrow, bytes, string};
use super::request::redlock_request_t;
use super::status::redlock_status_t;

/// Submits redlock_lock_request(). Its event carries the tag of the request and hands out the lease
/// (redlock_event_take_lease()), whose loss and automatic extensions are events with the same tag.
///
/// rl, request: not NULL. The request may be changed or freed afterwards. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_lock(
    rl: *const redlock_t,
    request: *const redlock_request_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live request or NULL.
        let request = unsafe { borrow(request, "request") }?;
        // SAFETY: a live handle or NULL.
        unsafe { at_work(rl, |engine| engine.submit_lock(&request.engine)) }
    })
}

/// Submits redlock_unlock(). From now on the lease is over.
///
/// lease: not NULL; it may be freed before the event comes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_unlock(
    lease: *const redlock_lease_t,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        let _inside = lease.poison.enter()?;
        lease.engine.submit_unlock(tag)
    })
}

/// Submits redlock_extend().
///
/// lease: not NULL.
/// ttl_ms: at least 1. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_extend(
    lease: *const redlock_lease_t,
    ttl_ms: u64,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        let _inside = lease.poison.enter()?;
        lease.engine.submit_extend(ttl_ms, tag)
    })
}

/// Submits redlock_unlock_token(). rl, resource, token: not NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_unlock_token(
    rl: *const redlock_t,
    resource: *const c_char,
    token: *const c_char,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and strings, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.submit_unlock_token(string(resource, "resource")?, string(token, "token")?, tag)
            })
        }
    })
}

/// redlock_submit_unlock_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_unlock_token_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    token: *const c_void,
    token_len: usize,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.submit_unlock_token(
                    bytes(resource, resource_len, "resource")?,
                    bytes(token, token_len, "token")?,
                    tag,
                )
            })
        }
    })
}

/// Submits redlock_extend_token(). rl, resource, token: not NULL. ttl_ms: at least 1. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_extend_token(
    rl: *const redlock_t,
    resource: *const c_char,
    token: *const c_char,
    ttl_ms: u64,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and strings, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.submit_extend_token(string(resource, "resource")?, string(token, "token")?, ttl_ms, tag)
            })
        }
    })
}

/// redlock_submit_extend_token() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_extend_token_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    token: *const c_void,
    token_len: usize,
    ttl_ms: u64,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe {
            at_work(rl, |engine| {
                engine.submit_extend_token(
                    bytes(resource, resource_len, "resource")?,
                    bytes(token, token_len, "token")?,
                    ttl_ms,
                    tag,
                )
            })
        }
    })
}

/// Submits redlock_inspect(); redlock_event_take_inspection() hands out what the nodes said. rl, resource: not NULL. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_inspect(
    rl: *const redlock_t,
    resource: *const c_char,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and a string, or NULL.
        unsafe { at_work(rl, |engine| engine.submit_inspect(string(resource, "resource")?, tag)) }
    })
}

/// redlock_submit_inspect() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_submit_inspect_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    tag: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle and as many bytes as are said, or NULL.
        unsafe { at_work(rl, |engine| engine.submit_inspect(bytes(resource, resource_len, "resource")?, tag)) }
    })
}
