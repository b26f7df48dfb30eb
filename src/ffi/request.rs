//! Requests
//!
//! A lock with everything that can be asked for: for redlock_lock_request(). The setters copy what they are given,
//! and on REDLOCK_E_INVALID leave the request as it was. The request itself must not be NULL.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::arguments::yes_or_no;
use super::canceller::redlock_canceller_t;
use super::error::ErrorOut;
use super::guard::guard;
use super::pointer::{borrow_mut, bytes, give, look, optional_string, string, take};
use super::read::{invalid, read};
use super::status::redlock_status_t;
use crate::engine::{Error, LockRequest};

/// A description of a lock to be taken, reusable.
///
/// Lifetime: independent of handles and leases.
/// Threads: any number of threads may lock by it at once; setters and redlock_request_free() need it alone.
/// Freed by: redlock_request_free().
pub struct redlock_request_t {
    pub(super) engine: LockRequest,
}

/// wait_ms, timeout_ms, retries and retry_count: without limit.
pub const REDLOCK_NO_LIMIT: i32 = -1;
/// redlock_request_set_retries(): as often as the options of the handle say.
pub const REDLOCK_RETRIES_OF_HANDLE: i32 = -2;

/// A new request: one attempt, no resource and no ttl yet, which both must be set. Never NULL, except after a
/// defect in the library. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn redlock_request_new() -> *mut redlock_request_t {
    read(ptr::null_mut(), || {
        let engine = LockRequest::default();
        give(redlock_request_t { engine })
    })
}

/// Frees a request. NULL is allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_free(request: *mut redlock_request_t) {
    // SAFETY: a request of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(request) }));
}

/// What is to be locked. Not NULL, not "". Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_resource(
    request: *mut redlock_request_t,
    resource: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        // SAFETY: NULL or a string.
        engine.resource = unsafe { string(resource, "resource") }?.to_vec();
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// redlock_request_set_resource() for any bytes. NULL is allowed only for no bytes. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_resource_bytes(
    request: *mut redlock_request_t,
    resource: *const c_void,
    resource_len: usize,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        // SAFETY: NULL or as many bytes as are said.
        engine.resource = unsafe { bytes(resource, resource_len, "resource") }?.to_vec();
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// How long the lock lasts unless it is extended, in milliseconds: at least 1. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_ttl_ms(request: *mut redlock_request_t, ttl_ms: u64) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        if ttl_ms == 0 {
            return Err(invalid("ttl_ms is 0"));
        }
        engine.ttl_ms = ttl_ms;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// How long to wait while somebody else holds the lock, in milliseconds: 0 makes one attempt (the default),
/// REDLOCK_NO_LIMIT waits without limit. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_wait_ms(
    request: *mut redlock_request_t,
    wait_ms: i64,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        if wait_ms < i64::from(REDLOCK_NO_LIMIT) {
            return Err(invalid(format!("wait_ms is {wait_ms}")));
        }
        engine.wait_ms = wait_ms;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// How often a failed attempt is repeated within wait_ms: 0 and more, REDLOCK_NO_LIMIT, or
/// REDLOCK_RETRIES_OF_HANDLE (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_retries(
    request: *mut redlock_request_t,
    retries: i64,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.retries = match u64::try_from(retries) {
            Ok(count) => Some(count),
            // Nobody lives to see the difference.
            Err(_) if retries == i64::from(REDLOCK_NO_LIMIT) => Some(u64::MAX),
            Err(_) if retries == i64::from(REDLOCK_RETRIES_OF_HANDLE) => None,
            Err(_) => return Err(invalid(format!("retries is {retries}"))),
        };
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// A token of one's own instead of a fresh one per attempt; NULL for fresh ones (the default). It must differ
/// from every other token that is in use for this resource anywhere: a token used twice makes two holders one, and
/// a release that is still on its way deletes the key of the next who uses it. Where a connection was lost with a
/// release under way and the server does not permit CLIENT KILL, this handle gets no vote there for the token for two
/// minutes; another process that uses the token again must wait as long by itself.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_token(
    request: *mut redlock_request_t,
    token: *const c_char,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        // SAFETY: NULL or a string.
        engine.token = own_token(unsafe { optional_string(token) })?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// redlock_request_set_token() for any bytes, at least one; NULL and 0 for fresh tokens. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_token_bytes(
    request: *mut redlock_request_t,
    token: *const c_void,
    token_len: usize,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        // SAFETY: NULL or as many bytes as are said.
        let given = unsafe { bytes(token, token_len, "token") }?;
        engine.token = own_token((!token.is_null()).then_some(given))?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// 1: a fencing token comes with the lease: redlock_lease_fence(). 0: none does (the default).
///
/// All who lock the resource must ask for one. It takes no further round trip, except when nodes disagree about
/// the number. Each node keeps a counter beside the lock, for a day after it was last used, under the name
/// `{key}:redlock-fence`, or `key:redlock-fence` where the key has a {tag}. Resources may not end in
/// ":redlock-fence".
///
/// Tokens grow, whatever the clocks say, as long as the nodes keep their counters. Where one is lost (restart
/// without data, a day without use), the server's time takes its place: then tokens grow as long as the servers'
/// clocks agree within max_ttl_ms less 0.1 s (clients read them to within that) and restarted nodes are guarded
/// (redlock_options_set_restart_guard()). A node whose clock or counter is ahead of the nodes' median by more than
/// max_ttl_ms (10 s where that is not set) gets no vote: one wrong clock would otherwise set the counter for ever.
/// After FLUSH nothing is promised. Release by redlock_unlock_token() is as good as any; extension by
/// redlock_extend_token() does not lengthen the counters' life.
///
/// Needs scripts, also where redlock_options_set_avoid_lua() is in use: the rights +eval +get +set +time +pttl
/// +pexpire on the key and on the counter. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_fence(request: *mut redlock_request_t, fence: i32) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.fence = yes_or_no(fence, "fence")?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// A number by which redlock_cancel() can end the operation, and which the events of redlock_submit_lock() and its lease
/// carry; several may carry the same. 0 for none (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_tag(request: *mut redlock_request_t, tag: u64) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.tag = tag;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// What ends the operation from outside: redlock_canceller_cancel(). NULL for nothing (the default). The request and its
/// operations keep what they need: the canceller may be freed at any time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_canceller(
    request: *mut redlock_request_t,
    canceller: *const redlock_canceller_t,
) -> redlock_status_t {
    // SAFETY: a live canceller or NULL.
    let canceller = unsafe { look(canceller) }.map(|canceller| canceller.engine.clone());
    let change = |engine: &mut LockRequest| {
        engine.canceller = canceller;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// 1: nodes announce the loss of a lease from redlock_submit_lock(), so that it is known before its deadline (the
/// default). 0: they do not, which saves requests for leases that are held only briefly; such a lease is still lost at its
/// deadline, and one that extends itself is watched in either case. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_watch(request: *mut redlock_request_t, watch: i32) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.watch = yes_or_no(watch, "watch")?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// 1: an attempt that failed may take one more round trip to tell, in the error, for how long others hold the lock:
/// redlock_error_node_remaining_ms(). 0: the error tells what is known without asking (the default). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_report_remaining(
    request: *mut redlock_request_t,
    report_remaining: i32,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.report_remaining = yes_or_no(report_remaining, "report_remaining")?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// 1: the lease extends itself by its ttl whenever a third of its time has passed, until it is released, lost, freed or
/// held for long enough, and its loss is noticed at once. 0: it does not (the default). After a failed extension it
/// tries again while there is time. In the event loop the loop drives this; for a lease from a blocking call one thread
/// of the handle does, which is started for the first such lease. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_auto_extend(
    request: *mut redlock_request_t,
    auto_extend: i32,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.auto_extend = yes_or_no(auto_extend, "auto_extend")?;
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// A lease that extends itself does not do so beyond this many milliseconds after its acquisition, so that a holder that
/// hangs does not keep the lock for ever: then it is lost. 0: without such an end (the default). Has no effect without
/// redlock_request_set_auto_extend(). Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_request_set_max_hold_ms(
    request: *mut redlock_request_t,
    max_hold_ms: u64,
) -> redlock_status_t {
    let change = |engine: &mut LockRequest| {
        engine.max_hold_ms = (max_hold_ms > 0).then_some(max_hold_ms);
        Ok(())
    };
    // SAFETY: a live request that is nobody else's now, or NULL.
    unsafe { set(request, change) }
}

/// # Safety
/// `request` is NULL or a live request that nobody else uses now.
unsafe fn set(
    request: *mut redlock_request_t,
    change: impl FnOnce(&mut LockRequest) -> Result<(), Error>,
) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: as promised.
        let request = unsafe { borrow_mut(request, "request") }?;
        change(&mut request.engine)
    })
}

fn own_token(given: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
    match given {
        Some([]) => Err(invalid("token is empty")),
        given => Ok(given.map(<[u8]>::to_vec)),
    }
}
