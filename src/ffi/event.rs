//! Events
//!
//! What redlock_next_event() hands out. An event is of one of four kinds; the getters of the others answer as if there
//! were nothing. Numbers of kinds and of work may be added: pass over those that are unknown.

use std::ptr;
use std::sync::Arc;

use super::error::redlock_error_t;
use super::guard::Poison;
use super::inspect::redlock_inspection_t;
use super::lease::redlock_lease_t;
use super::pointer::{borrow_mut, give, look, take};
use super::read::read;
use super::status::{self, REDLOCK_OK, redlock_status_t};
use crate::engine::{Error, Event, Lease, Value, Work};

/// Something that happened on a handle that an event loop drives.
///
/// Lifetime: until redlock_event_free(); before redlock_free() of its handle, or a lease in it cannot be released.
/// Threads: may be read by all threads at once; the functions that take something out of it, and
/// redlock_event_free(), need it alone.
/// Freed by: redlock_event_free(), which releases a lease that nobody took out of it.
pub struct redlock_event_t {
    kind: Kind,
    tag: u64,
    status: redlock_status_t,
    error: Option<redlock_error_t>,
}

enum Kind {
    Done { work: Work, lease: Option<NewLease>, inspect: Option<redlock_inspection_t> },
    Lost,
    Extended,
    Node { node: usize, is_up: bool },
}

/// A lease until somebody takes it.
struct NewLease {
    engine: Lease,
    poison: Arc<Poison>,
}

/// redlock_event_kind(): a submitted operation ended. There is exactly one for each.
pub const REDLOCK_EVENT_DONE: i32 = 1;
/// redlock_event_kind(): a lease is over without having been released; the tag is that of its redlock_submit_lock().
/// There is one at most for each lease.
pub const REDLOCK_EVENT_LEASE_LOST: i32 = 2;
/// redlock_event_kind(): a lease has tried to extend itself; the tag is that of its redlock_submit_lock(). The status
/// says whether it could. After a failure it tries again while there is time. One at most for each lease waits to be
/// fetched: a newer one takes the place of the one before.
pub const REDLOCK_EVENT_LEASE_EXTENDED: i32 = 3;
/// redlock_event_kind(): a node connected or disconnected.
pub const REDLOCK_EVENT_NODE: i32 = 4;

/// redlock_event_operation(): redlock_submit_lock().
pub const REDLOCK_OPERATION_LOCK: i32 = 1;
/// redlock_event_operation(): redlock_submit_unlock() or redlock_submit_unlock_token().
pub const REDLOCK_OPERATION_UNLOCK: i32 = 2;
/// redlock_event_operation(): redlock_submit_extend() or redlock_submit_extend_token().
pub const REDLOCK_OPERATION_EXTEND: i32 = 3;
/// redlock_event_operation(): redlock_submit_inspect().
pub const REDLOCK_OPERATION_INSPECT: i32 = 4;

/// One of the REDLOCK_EVENT_ values; 0 where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_kind(event: *const redlock_event_t) -> i32 {
    read(0, || {
        // SAFETY: a live event or NULL.
        unsafe { look(event) }.map_or(0, |event| match event.kind {
            Kind::Done { .. } => REDLOCK_EVENT_DONE,
            Kind::Lost => REDLOCK_EVENT_LEASE_LOST,
            Kind::Extended => REDLOCK_EVENT_LEASE_EXTENDED,
            Kind::Node { .. } => REDLOCK_EVENT_NODE,
        })
    })
}

/// The number that the operation was submitted with; of an event about a lease, the one that its acquisition was
/// submitted with. 0 for an event about a node, and where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_tag(event: *const redlock_event_t) -> u64 {
    // SAFETY: a live event or NULL.
    read(0, || unsafe { look(event) }.map_or(0, |event| event.tag))
}

/// The result of the operation: the status that the blocking function would have returned. REDLOCK_E_LOST for
/// REDLOCK_EVENT_LEASE_LOST. REDLOCK_OK for an event about a node, and where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_status(event: *const redlock_event_t) -> redlock_status_t {
    read(REDLOCK_OK, || {
        // SAFETY: a live event or NULL.
        unsafe { look(event) }.map_or(REDLOCK_OK, |event| event.status)
    })
}

/// What was submitted: one of the REDLOCK_OPERATION_ values. 0 for other events than REDLOCK_EVENT_DONE, and where event
/// is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_operation(event: *const redlock_event_t) -> i32 {
    read(0, || {
        // SAFETY: a live event or NULL.
        unsafe { look(event) }.map_or(0, |event| match event.kind {
            Kind::Done { work: Work::Lock, .. } => REDLOCK_OPERATION_LOCK,
            Kind::Done { work: Work::Unlock, .. } => REDLOCK_OPERATION_UNLOCK,
            Kind::Done { work: Work::Extend, .. } => REDLOCK_OPERATION_EXTEND,
            Kind::Done { work: Work::Inspect, .. } => REDLOCK_OPERATION_INSPECT,
            Kind::Lost | Kind::Extended | Kind::Node { .. } => 0,
        })
    })
}

/// Why the operation or the extension failed. Borrowed from event. NULL where it did not fail, for other events, and
/// where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_error(event: *const redlock_event_t) -> *const redlock_error_t {
    read(ptr::null(), || {
        // SAFETY: a live event or NULL.
        let error = unsafe { look(event) }.and_then(|event| event.error.as_ref());
        error.map_or(ptr::null(), ptr::from_ref)
    })
}

/// Takes the reason out of the event. It belongs to the caller, to be freed with redlock_error_free().
/// redlock_event_status() stays as it is.
///
/// NULL the second time, where nothing failed, and where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_take_error(event: *mut redlock_event_t) -> *mut redlock_error_t {
    read(ptr::null_mut(), || {
        // SAFETY: a live event that is nobody else's now, or NULL.
        let error = unsafe { borrow_mut(event, "event") }.ok().and_then(|event| event.error.take());
        error.map_or(ptr::null_mut(), give)
    })
}

/// Takes the lease out of the event of a successful redlock_submit_lock(). It belongs to the caller, to be freed with
/// redlock_lease_free(). A lease that nobody takes is released by redlock_event_free().
///
/// NULL the second time, for every other event, and where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_take_lease(event: *mut redlock_event_t) -> *mut redlock_lease_t {
    read(ptr::null_mut(), || {
        // SAFETY: a live event that is nobody else's now, or NULL.
        match unsafe { borrow_mut(event, "event") }.map(|event| &mut event.kind) {
            Ok(Kind::Done { lease, .. }) => {
                let taken = lease.take();
                taken.map_or(ptr::null_mut(), |taken| give(redlock_lease_t::new(taken.engine, taken.poison)))
            }
            _ => ptr::null_mut(),
        }
    })
}

/// Takes what the nodes said out of the event of a successful redlock_submit_inspect(). It belongs to the caller, to
/// be freed with redlock_inspection_free().
///
/// NULL the second time, for every other event, and where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_take_inspection(event: *mut redlock_event_t) -> *mut redlock_inspection_t {
    read(ptr::null_mut(), || {
        // SAFETY: a live event that is nobody else's now, or NULL.
        match unsafe { borrow_mut(event, "event") }.map(|event| &mut event.kind) {
            Ok(Kind::Done { inspect, .. }) => inspect.take().map_or(ptr::null_mut(), give),
            _ => ptr::null_mut(),
        }
    })
}

/// Which node connected or disconnected, counted from 0. -1 for other events than REDLOCK_EVENT_NODE, and where event is NULL.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_node(event: *const redlock_event_t) -> i32 {
    read(-1, || {
        // SAFETY: a live event or NULL.
        unsafe { look(event) }.map_or(-1, |event| match event.kind {
            Kind::Node { node, .. } => i32::try_from(node).unwrap_or(-1),
            Kind::Done { .. } | Kind::Lost | Kind::Extended => -1,
        })
    })
}

/// 1 if that node was connected when the event was fetched. 0 if not, for other events than REDLOCK_EVENT_NODE, and
/// where event is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_node_is_up(event: *const redlock_event_t) -> i32 {
    read(0, || {
        // SAFETY: a live event or NULL.
        unsafe { look(event) }.map_or(0, |event| match event.kind {
            Kind::Node { is_up, .. } => i32::from(is_up),
            Kind::Done { .. } | Kind::Lost | Kind::Extended => 0,
        })
    })
}

/// Frees an event. A lease that is still in it is released, without waiting for the nodes. NULL is allowed. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_event_free(event: *mut redlock_event_t) {
    read((), || {
        // SAFETY: an event of the caller's, not used again, or NULL.
        let event = unsafe { take(event) };
        if let Some(Kind::Done { lease: Some(lease), .. }) = event.map(|event| event.kind)
            && let Ok(_inside) = lease.poison.enter()
        {
            // A handle that is closed has released it.
            let _ = lease.engine.unlock_nowait();
        }
    });
}

impl redlock_event_t {
    pub(super) fn new(event: Event, poison: &Arc<Poison>) -> redlock_event_t {
        let reason = |failed: Error| Some(redlock_error_t::from(failed));
        let (kind, tag, error) = match event {
            Event::Done { tag, work, result } => {
                let (mut lease, mut inspect, mut error) = (None, None, None);
                match result {
                    Ok(Value::Lease(engine)) => lease = Some(NewLease { engine, poison: Arc::clone(poison) }),
                    Ok(Value::Inspection(inspection)) => inspect = Some(redlock_inspection_t::from(inspection)),
                    Ok(Value::Nothing) => {}
                    Err(failed) => error = reason(failed),
                }
                (Kind::Done { work, lease, inspect }, tag, error)
            }
            Event::Lost { tag } => (Kind::Lost, tag, None),
            Event::Extended { tag, result } => (Kind::Extended, tag, result.err().and_then(reason)),
            Event::Node { node, is_up } => (Kind::Node { node, is_up }, 0, None),
        };
        let status = match (&kind, &error) {
            (Kind::Lost, _) => status::REDLOCK_E_LOST,
            (_, Some(error)) => error.code(),
            (_, None) => REDLOCK_OK,
        };
        redlock_event_t { kind, tag, status, error }
    }
}
