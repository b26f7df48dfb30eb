//! Leases
//!
//! A lock that was taken. Its time runs on this machine's clock, on which the library counts what it knows of
//! the nodes: redlock_lease_remaining_ms() is the one question to ask before touching what the lock protects.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Arc, OnceLock};

use super::arguments::check_timeout;
use super::canceller::redlock_canceller_t;
use super::error::{ErrorOut, redlock_error_t};
use super::guard::{Poison, guard};
use super::pointer::{Terminated, borrow, look, take};
use super::read::read;
use super::status::redlock_status_t;
use crate::core::report::Status;
use crate::engine::{Error, Lease, LeaseState};

/// A lock that was taken.
///
/// Lifetime: until redlock_lease_free(), before or after that of its handle.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_lease_free(), which does not unlock.
pub struct redlock_lease_t {
    pub(super) engine: Lease,
    /// Its handle's.
    pub(super) poison: Arc<Poison>,
    // Copies that end with NUL; many leases are never asked.
    token: OnceLock<Terminated>,
    resource: OnceLock<Terminated>,
}

impl redlock_lease_t {
    pub(super) fn new(engine: Lease, poison: Arc<Poison>) -> redlock_lease_t {
        redlock_lease_t { engine, poison, token: OnceLock::new(), resource: OnceLock::new() }
    }
}

/// redlock_lease_state(): the lock is ours, as far as is known.
pub const REDLOCK_LEASE_HELD: i32 = 1;
/// redlock_lease_state(): the lease is over without having been released: expired, deleted, or lost with its
/// nodes.
pub const REDLOCK_LEASE_LOST: i32 = 2;
/// redlock_lease_state(): it was unlocked.
pub const REDLOCK_LEASE_RELEASED: i32 = 3;

/// Releases the lock. The lease stays to be asked, and is over whatever this returns.
///
/// lease: not NULL; not consumed: redlock_lease_free() is still due.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed that the lock was ours until now. REDLOCK_E_LOST if it was not:
/// somebody else may have had it meanwhile. REDLOCK_E_NO_QUORUM if more than N - q nodes failed or timed out,
/// REDLOCK_E_UNKNOWN if too few confirmed for mixed reasons: the key goes as soon as they answer, at the latest
/// with its time. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock(
    lease: *const redlock_lease_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        let _inside = lease.poison.enter()?;
        lease.engine.unlock()
    })
}

/// Releases the lock and does not wait: the release is handed to the kernel, or follows as soon as a node can be reached.
/// For destructors and finalizers: it needs no event loop and queues no event, and redlock_lease_free() may follow at
/// once. The outcome goes to the counters alone. The lease has ended.
///
/// lease: not NULL; redlock_lease_free() is still due.
///
/// REDLOCK_OK if the release is on its way, also where the lease had ended before. REDLOCK_E_CLOSED, REDLOCK_E_FORKED: the
/// lock stays until its TTL ends. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_unlock_nowait(lease: *const redlock_lease_t) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        let _inside = lease.poison.enter()?;
        lease.engine.unlock_nowait()
    })
}

/// Makes the lock last ttl_ms from now on, where that is longer than what it has left; it is never shortened.
///
/// lease: not NULL.
/// ttl_ms: at least 1.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK if a quorum of nodes confirmed it. REDLOCK_E_LOST if the lease is over. After any other failure
/// the lease goes on for what redlock_lease_remaining_ms() says, and this may be called again. A lease
/// whose confirmed keys fell below a quorum has ended, although nodes that have not answered yet may have the key:
/// another client may have held the lock in between. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_extend(
    lease: *const redlock_lease_t,
    ttl_ms: u64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        let _inside = lease.poison.enter()?;
        lease.engine.extend(ttl_ms)
    })
}

/// The token that makes the lock ours, to be handed to redlock_unlock_token() in another process. Borrowed from
/// lease.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted. A token that
/// the library made is text; one's own may contain NUL.
///
/// NULL where lease is NULL; length is untouched then. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_token(lease: *const redlock_lease_t, length: *mut usize) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: a live lease or NULL.
        let Some(lease) = (unsafe { look(lease) }) else { return ptr::null() };
        let token = lease.token.get_or_init(|| Terminated::new(lease.engine.token()));
        // SAFETY: NULL or a place for one number.
        unsafe { token.with_length(length) }
    })
}

/// The resource as it was given, without the prefix of the options. Borrowed from lease.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where lease is NULL; length is untouched then. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_resource(lease: *const redlock_lease_t, length: *mut usize) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: a live lease or NULL.
        let Some(lease) = (unsafe { look(lease) }) else { return ptr::null() };
        let resource = lease.resource.get_or_init(|| Terminated::new(lease.engine.resource()));
        // SAFETY: NULL or a place for one number.
        unsafe { resource.with_length(length) }
    })
}

/// The fencing token: a number above 0 and below 2^53, larger than that of every lease on the same resource that
/// was taken before this one, wherever. 0 where none was asked for (redlock_request_set_fence()) or lease is NULL.
///
/// A process that is stopped after it has looked at redlock_lease_remaining_ms() can still write late. Send this
/// number with every write, and let the resource remember the largest it has seen and reject smaller ones: then
/// such a write does no harm. It stays the same when the lease is extended. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_fence(lease: *const redlock_lease_t) -> u64 {
    // SAFETY: a live lease or NULL.
    read(0, || unsafe { look(lease) }.and_then(|lease| lease.engine.fence()).unwrap_or(0))
}

/// For how many more milliseconds the lock is ours; 0 or less when it is over, released, or lease is NULL. No
/// server is asked. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_remaining_ms(lease: *const redlock_lease_t) -> i64 {
    // SAFETY: a live lease or NULL.
    read(0, || unsafe { look(lease) }.map_or(0, |lease| lease.engine.remaining_ms()))
}

/// When the lease is over, in nanoseconds of CLOCK_BOOTTIME. It moves: forward by an extension, back when a
/// node is found to have lost the key. 0 where the lease is over or NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_valid_until_ns(lease: *const redlock_lease_t) -> u64 {
    // SAFETY: a live lease or NULL.
    read(0, || unsafe { look(lease) }.map_or(0, |lease| lease.engine.valid_until_ns()))
}

/// One of the REDLOCK_LEASE_ values; 0 where lease is NULL. A lease that was seen lost stays so for ever. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_state(lease: *const redlock_lease_t) -> i32 {
    read(0, || {
        // SAFETY: a live lease or NULL.
        unsafe { look(lease) }.map_or(0, |lease| match lease.engine.state() {
            LeaseState::Held => REDLOCK_LEASE_HELD,
            LeaseState::Lost => REDLOCK_LEASE_LOST,
            LeaseState::Released => REDLOCK_LEASE_RELEASED,
        })
    })
}

/// On how many nodes the lock is known to be ours. It may grow for a moment after locking, when late nodes
/// answer. 0 where lease is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_node_count_held(lease: *const redlock_lease_t) -> usize {
    // SAFETY: a live lease or NULL.
    read(0, || unsafe { look(lease) }.map_or(0, |lease| lease.engine.node_count_held()))
}

/// Waits until the lease is over, however that comes about: its time, a deletion on the servers, redlock_unlock() by
/// another thread. While the lease is watched like this the nodes announce changes of its key, so that a deletion is
/// known within a round trip and not only at the deadline.
///
/// timeout_ms: 0 only looks, -1 waits without limit.
///
/// REDLOCK_OK if it is still held after that time. REDLOCK_E_LOST as soon as it is over, also where lease was released.
/// REDLOCK_E_INTERRUPTED, REDLOCK_E_CLOSED, REDLOCK_E_FORKED, REDLOCK_E_INVALID say nothing about the lease: look at
/// redlock_lease_state(). Waits: at most timeout_ms. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_wait_lost(lease: *const redlock_lease_t, timeout_ms: i64) -> redlock_status_t {
    // SAFETY: the same promises, and NULL for the canceller.
    unsafe { redlock_lease_wait_lost_cancellable(lease, timeout_ms, ptr::null()) }
}

/// redlock_lease_wait_lost() that a canceller ends with REDLOCK_E_CANCELLED, which says nothing about the lease either.
///
/// lease: not NULL.
/// canceller: NULL for none. Waits: at most timeout_ms. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_wait_lost_cancellable(
    lease: *const redlock_lease_t,
    timeout_ms: i64,
    canceller: *const redlock_canceller_t,
) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: a live lease or NULL.
        let lease = unsafe { borrow(lease, "lease") }?;
        // SAFETY: a live canceller or NULL.
        let canceller = unsafe { look(canceller) }.map(|canceller| &canceller.engine);
        let _inside = lease.poison.enter()?;
        check_timeout(timeout_ms)?;
        match lease.engine.wait_lost(timeout_ms, canceller)? {
            false => Ok(()),
            true => Err(Error::plain(Status::Lost, "over")),
        }
    })
}

/// Frees the lease and tells no server: a lock that was not released lasts until its time is over. NULL is
/// allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lease_free(lease: *mut redlock_lease_t) {
    // SAFETY: a lease of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(lease) }));
}
