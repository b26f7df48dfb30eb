//! The handle
//!
//! One handle stands for one set of nodes and is made once per process. Making it returns at once and
//! begins to connect; the calls that need a connection go on with it. Nodes may be down and come up later.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::Arc;

use super::arguments::{check_timeout, yes_or_no};
use super::canceller::redlock_canceller_t;
use super::error::{ErrorOut, redlock_error_t};
use super::guard::{Inside, Poison, guard};
use super::lease::redlock_lease_t;
use super::options::redlock_options_t;
use super::pointer::{
    Out, Terminated, borrow, bytes, give, give_shared, list, look, put_number, share, string, take_shared,
};
use super::read::{invalid, read};
use super::request::redlock_request_t;
use super::status::redlock_status_t;
use crate::core::request::MAX_NODES;
use crate::engine::{Error, LockRequest, Redlock};

/// A handle: the connections to a set of nodes, and everything that is under way on them.
///
/// Lifetime: until redlock_free(); leases made from it may be freed before or after.
/// Threads: may be used by all threads at once.
/// Freed by: redlock_free().
pub struct redlock_t {
    pub(super) engine: Redlock,
    urls: Vec<Terminated>,
    pub(super) poison: Arc<Poison>,
}

impl redlock_t {
    /// To be held while the engine is at work for C.
    pub(super) fn enter(&self) -> Result<Inside<'_>, Error> {
        self.poison.enter()
    }

    fn lock(&self, request: &LockRequest, out: Out<redlock_lease_t>) -> Result<(), Error> {
        let _inside = self.enter()?;
        let lease = self.engine.lock(request)?;
        out.put(give(redlock_lease_t::new(lease, Arc::clone(&self.poison))));
        Ok(())
    }
}

/// Puts the engine of a handle to work. What C passed besides is best looked at in there: one block says what is
/// promised of all of it.
///
/// # Safety
/// `rl` is NULL or a live handle.
pub(super) unsafe fn at_work<T>(
    rl: *const redlock_t,
    work: impl FnOnce(&Redlock) -> Result<T, Error>,
) -> Result<T, Error> {
    // SAFETY: as promised.
    let handle = unsafe { share(rl, "rl") }?;
    let _inside = handle.enter()?;
    work(&handle.engine)
}

/// Makes a handle for the nodes at these URLs and starts connecting to them.
///
/// urls: count strings, none of them NULL: `redis://[user:password@]host[:port][/db]`, `rediss://...` for TLS,
/// `unix:///path`. At least 1, at most 15; an odd number survives more failures. All clients must use the same
/// list.
/// options: NULL for the defaults.
/// out: receives the handle, to be freed with redlock_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_INVALID for no URLs, REDLOCK_E_CONFIG for a malformed one. Nodes that cannot be reached are no
/// error here: redlock_wait_ready() tells. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_new(
    urls: *const *const c_char,
    count: usize,
    options: *const redlock_options_t,
    out: *mut *mut redlock_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: NULL or a place for one pointer.
        let out = unsafe { Out::new(out, "out") }?;
        // SAFETY: NULL or `count` strings.
        let urls = unsafe { url_list(urls, count) }?;
        // SAFETY: NULL or live options.
        let options = unsafe { look(options) }.map(|options| options.engine.clone()).unwrap_or_default();
        let engine = Redlock::new(&urls, &options)?;
        let urls = (0..engine.node_count()).filter_map(|node| engine.node_url(node).map(Terminated::new)).collect();
        out.put(give_shared(Arc::new(redlock_t { engine, urls, poison: Arc::default() })));
        Ok(())
    })
}

/// Closes the handle: calls in progress return REDLOCK_E_CLOSED, and so does every later call on it and on its leases.
/// It may be called while other threads use the handle; redlock_free() is still due. Submitted operations end with
/// REDLOCK_E_CLOSED, and their events can be fetched until redlock_free().
///
/// rl: not NULL.
/// release_leases: 1: leases that are held are released. 0: they stay locked until their TTL ends. Leases in events that
/// were not fetched are released in either case.
/// timeout_ms: how long to wait until connected nodes have confirmed all releases: 0 sends them and does not wait, -1
/// waits without limit. Nodes that are not connected are not waited for.
/// error: NULL if no details are wanted.
///
/// REDLOCK_OK is also returned if it was closed before. REDLOCK_E_UNKNOWN if the time was over before every release was confirmed:
/// they were sent all the same. Waits: at most timeout_ms. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_close(
    rl: *const redlock_t,
    release_leases: i32,
    timeout_ms: i64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        let releases_leases = yes_or_no(release_leases, "release_leases")?;
        check_timeout(timeout_ms)?;
        // SAFETY: a live handle or NULL.
        unsafe { at_work(rl, |engine| engine.close(releases_leases, timeout_ms)) }
    })
}

/// Frees the handle. If redlock_close() was not called it closes first, without releasing leases and without waiting:
/// what is queued is handed to the kernel. The handle must not be used during or after this call; its leases may be.
///
/// rl: NULL is allowed. In a forked child it only closes descriptors. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_free(rl: *mut redlock_t) {
    read((), || {
        // SAFETY: a handle of the caller's, not used again, or NULL.
        if let Some(handle) = unsafe { take_shared(rl) } {
            handle.engine.end();
        }
    });
}

/// Waits until a quorum of nodes is connected and ready. Calling it is optional: it tells a program that starts
/// whether its configuration works.
///
/// rl: not NULL.
/// timeout_ms: 0 only looks, -1 waits without limit.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NO_QUORUM if the time is over, REDLOCK_E_CONFIG as soon as too many nodes fail permanently for a quorum to
/// be left. Waits: at most timeout_ms. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_wait_ready(
    rl: *const redlock_t,
    timeout_ms: i64,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: the same promises, and NULL for the canceller.
    unsafe { redlock_wait_ready_cancellable(rl, timeout_ms, ptr::null(), error) }
}

/// redlock_wait_ready() that a canceller ends with REDLOCK_E_CANCELLED.
///
/// rl: not NULL.
/// canceller: NULL for none.
/// error: NULL if no details are wanted. Waits: at most timeout_ms. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_wait_ready_cancellable(
    rl: *const redlock_t,
    timeout_ms: i64,
    canceller: *const redlock_canceller_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        check_timeout(timeout_ms)?;
        // SAFETY: a live canceller or NULL.
        let canceller = unsafe { look(canceller) }.map(|canceller| &canceller.engine);
        // SAFETY: a live handle or NULL.
        unsafe { at_work(rl, |engine| engine.wait_ready(timeout_ms, canceller)) }
    })
}

/// How many nodes the handle has. 0 where rl is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_node_count(rl: *const redlock_t) -> usize {
    // SAFETY: a live handle or NULL.
    read(0, || unsafe { look(rl) }.map_or(0, |handle| handle.urls.len()))
}

/// The URL of a node, counted from 0, without user name and password. Borrowed from rl. NULL where rl is NULL
/// or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_node_url(rl: *const redlock_t, node: usize) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { look(rl) };
        handle.and_then(|handle| handle.urls.get(node)).map_or(ptr::null(), Terminated::as_ptr)
    })
}

/// Takes the lock on a resource.
///
/// resource: names what is protected, and with the prefix of the options is the key on the servers. Not NULL,
/// not "".
/// ttl_ms: how long the lock lasts unless it is extended, at least 1. The lease lasts less: the time that
/// locking took, and what clocks may drift apart, are taken off.
/// wait_ms: how long to wait while somebody else holds it: 0 makes one attempt, -1 waits without limit.
/// lease: receives the lease, to be freed with redlock_lease_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NOT_ACQUIRED if somebody else held it to the end, REDLOCK_E_NO_QUORUM if too few nodes answered.
/// On failure no key of ours is left on any node that can be told so. Waits: at most wait_ms and a node
/// timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lock(
    rl: *const redlock_t,
    resource: *const c_char,
    ttl_ms: u64,
    wait_ms: i64,
    lease: *mut *mut redlock_lease_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or a string.
        let resource = unsafe { string(resource, "resource") }?.to_vec();
        // SAFETY: NULL or a place for one pointer.
        let out = unsafe { Out::new(lease, "lease") }?;
        handle.lock(&LockRequest { resource, ttl_ms, wait_ms, ..LockRequest::default() }, out)
    })
}

/// redlock_lock() for any bytes. resource: NULL is allowed only for no bytes, which are REDLOCK_E_INVALID. Waits: at most
/// wait_ms and a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lock_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    ttl_ms: u64,
    wait_ms: i64,
    lease: *mut *mut redlock_lease_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or as many bytes.
        let resource = unsafe { bytes(resource, resource_len, "resource") }?.to_vec();
        // SAFETY: NULL or a place for one pointer.
        let out = unsafe { Out::new(lease, "lease") }?;
        handle.lock(&LockRequest { resource, ttl_ms, wait_ms, ..LockRequest::default() }, out)
    })
}

/// Takes the lock that a request describes; else like redlock_lock().
///
/// request: not NULL; not changed, and may be used again, also by several threads at once.
/// lease: receives the lease, to be freed with redlock_lease_free(). Not NULL.
/// error: NULL if no details are wanted. Waits: at most the wait_ms of the request and a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_lock_request(
    rl: *const redlock_t,
    request: *const redlock_request_t,
    lease: *mut *mut redlock_lease_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: a live request or NULL.
        let request = unsafe { borrow(request, "request") }?;
        // SAFETY: NULL or a place for one pointer.
        let out = unsafe { Out::new(lease, "lease") }?;
        handle.lock(&request.engine, out)
    })
}

/// Ends every operation of the handle that carries this tag. Each returns REDLOCK_E_CANCELLED, unless it was about to
/// return something else, and leaves no key behind. An operation that begins later is not concerned: for that there are
/// cancellers (redlock_canceller_cancel()). The lease of an operation that has ended is not touched.
///
/// rl: not NULL.
/// tag: as in redlock_request_set_tag(); not 0.
///
/// REDLOCK_OK also if there is no such operation. Any thread. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_cancel(rl: *const redlock_t, tag: u64) -> redlock_status_t {
    // SAFETY: the same promises, and NULL for the count.
    unsafe { redlock_cancel_count(rl, tag, ptr::null_mut()) }
}

/// redlock_cancel() that says how many operations it met.
///
/// rl: not NULL.
/// count: receives the number; NULL if it is not wanted. Waits: never. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_cancel_count(rl: *const redlock_t, tag: u64, count: *mut usize) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        if tag == 0 {
            return Err(invalid("tag is 0, which no operation carries"));
        }
        // SAFETY: a live handle or NULL.
        let met = unsafe { at_work(rl, |engine| engine.cancel(tag)) }?;
        // SAFETY: NULL or a place for one number.
        unsafe { put_number(count, met) };
        Ok(())
    })
}

/// # Safety
/// `urls` is NULL or the first of `count` strings, each NULL or ended by NUL, that are not changed during `'a`.
unsafe fn url_list<'a>(urls: *const *const c_char, count: usize) -> Result<Vec<&'a str>, Error> {
    // Checked before anything is read: a wrong count must not lead us through memory.
    if !(1..=MAX_NODES).contains(&count) {
        return Err(invalid(format!("{count} URLs; a handle has 1 to {MAX_NODES} nodes")));
    }
    // SAFETY: as promised.
    let urls = unsafe { list(urls, count, "urls") }?;
    let texts = urls.iter().enumerate().map(|(index, &url)| {
        let name = format!("urls[{index}]");
        // SAFETY: as promised.
        let bytes = unsafe { string(url, &name) }?;
        str::from_utf8(bytes).map_err(|_| invalid(format!("{name} is not UTF-8")))
    });
    texts.collect()
}
