//! The event loop
//!
//! For programs that never wait inside a call. One descriptor stands for the whole handle; a loop watches it beside its
//! own, and nothing in here blocks or calls back:
//!
//! ```c
//! int fd = redlock_fd(rl);                        /* watch it for reading */
//! redlock_submit_lock(rl, request, NULL);         /* from now on the loop does the rest */
//! ...
//! redlock_process(rl);                            /* whenever fd is readable */
//! while ((event = redlock_next_event(rl)) != NULL) {
//!     react(event);
//!     redlock_event_free(event);
//! }
//! ```
//!
//! The descriptor is readable while something is to be done: something submitted is to be sent, a node has answered, a
//! timer is due, or events wait to be fetched. It stays so until redlock_process() was called and
//! redlock_next_event() has returned NULL. That fits loops that watch for the state (poll, select, epoll) as well as
//! those that watch for changes (EPOLLET, Go, Rust), as long as these go on to that NULL each time. Readiness may be
//! spurious, and so may calls: without anything to do they do nothing. include/redlock/ has adapters for libuv,
//! libevent, glib and sd-event.
//!
//! Every operation that was submitted ends in exactly one REDLOCK_EVENT_DONE, whatever becomes of it; if submitting
//! itself failed there is none. The number that it carries is the caller's to choose; redlock_cancel() ends by it.
//! Leases from redlock_submit_lock() report their loss and their automatic extensions by events. The loop must go on
//! for that: a lease that extends itself is lost when nobody calls redlock_process() for a ttl.
//!
//! redlock_next_event() hands out what was there when redlock_process() ran: what comes later belongs to the next call, so
//! that a program may submit while it fetches. The descriptor may be duplicated, made non-blocking and put into another
//! epoll set. After redlock_free() no more events can be had: whoever bridges to another runtime then fails what is pending
//! itself, and also after REDLOCK_E_FORKED or REDLOCK_E_INTERNAL from redlock_process(). No event about a lease follows
//! redlock_lease_free(), and no loss is told of a lease that was unlocked.
//!
//! Calls may come from any thread, also while others wait in the blocking functions of the same handle: both kinds
//! share connections, queues and results. Submitting from one thread wakes the loop of another. Two threads may call
//! redlock_process() and redlock_next_event() at the same time; each event goes to one of them.

use std::ptr;

use super::error::ErrorOut;
use super::event::redlock_event_t;
use super::guard::guard;
use super::handle::{at_work, redlock_t};
use super::pointer::{Places, give, share};
use super::read::read;
use super::status::{self, REDLOCK_E_INTERNAL, redlock_status_t};

/// The descriptor to watch for reading; the same one every time. It is the handle's: only watch it, stop watching
/// before redlock_free(), never read it and never close it. It is close-on-exec.
///
/// A REDLOCK_E_ value, which is negative, where there is none: REDLOCK_E_INVALID for NULL, REDLOCK_E_FORKED,
/// REDLOCK_E_INTERNAL when the process has no descriptor to spare. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_fd(rl: *const redlock_t) -> i32 {
    read(REDLOCK_E_INTERNAL, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") };
        let fd = handle.and_then(|handle| {
            let _inside = handle.enter()?;
            handle.engine.fd()
        });
        fd.unwrap_or_else(|error| status::number(error.status))
    })
}

/// For loops that cannot watch a descriptor, or poll by themselves: after how many milliseconds redlock_process() is
/// due if nothing arrives before. 0: now; -1: only when something arrives, also where rl is NULL or the parent's. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_timeout_ms(rl: *const redlock_t) -> i64 {
    read(-1, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") };
        let timeout_ms = handle.and_then(|handle| {
            let _inside = handle.enter()?;
            handle.engine.timeout_ms()
        });
        timeout_ms.unwrap_or(-1)
    })
}

/// Does what is due and never waits: reads what has arrived, sends what was submitted, runs expired timers, queues
/// events. REDLOCK_OK also if nothing was due.
///
/// rl: not NULL.
///
/// REDLOCK_E_FORKED in a child, REDLOCK_E_INTERNAL after a defect: stop watching the descriptor. What nodes do is told
/// by events alone. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_process(rl: *const redlock_t) -> redlock_status_t {
    guard(ErrorOut::unwanted(), || {
        // SAFETY: a live handle or NULL.
        unsafe { at_work(rl, |engine| engine.process()) }
    })
}

/// The next event, oldest first, to be freed with redlock_event_free(). NULL when there is none, or rl is NULL or the
/// parent's. Events that are never fetched end with the handle; leases in them are released by redlock_free(). Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_next_event(rl: *const redlock_t) -> *mut redlock_event_t {
    read(ptr::null_mut(), || {
        // SAFETY: a live handle or NULL.
        let Ok(handle) = (unsafe { share(rl, "rl") }) else { return ptr::null_mut() };
        let event = handle.enter().and_then(|_inside| handle.engine.next_event()).ok().flatten();
        event.map_or(ptr::null_mut(), |event| give(redlock_event_t::new(event, &handle.poison)))
    })
}

/// The next events, oldest first, as many as there are and fit: redlock_next_event() for runtimes in which each call is
/// expensive.
///
/// events: room for capacity pointers, each of which is to be freed with redlock_event_free(). NULL is allowed only where
/// capacity is 0.
///
/// How many events were written. 0 when there is none, or rl is NULL or the parent's. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_next_events(
    rl: *const redlock_t,
    events: *mut *mut redlock_event_t,
    capacity: usize,
) -> usize {
    read(0, || {
        // SAFETY: a live handle or NULL.
        let Ok(handle) = (unsafe { share(rl, "rl") }) else { return 0 };
        // SAFETY: NULL or room for `capacity` pointers.
        let Ok(mut places) = (unsafe { Places::new(events, capacity) }) else { return 0 };
        let Ok(_inside) = handle.enter() else { return 0 };
        while !places.is_full()
            && let Ok(Some(event)) = handle.engine.next_event()
        {
            places.put(give(redlock_event_t::new(event, &handle.poison)));
        }
        places.count()
    })
}
