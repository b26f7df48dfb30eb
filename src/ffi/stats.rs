//! Counters
//!
//! What a handle has done since it was made, copied at one moment. Counters only grow, except where it says
//! otherwise.

use std::ffi::c_char;
use std::ptr;

use super::error::{ErrorOut, redlock_error_t};
use super::guard::guard;
use super::handle::redlock_t;
use super::pointer::{Out, Terminated, give, look, share, take};
use super::read::read;
use super::status::redlock_status_t;
use crate::core::stats::{NodeStats, Stats};

/// The counters of a handle at one moment.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_stats_free().
pub struct redlock_stats_t {
    stats: Stats,
    urls: Vec<Terminated>,
    notes: Vec<Terminated>,
}

/// Copies the counters of a handle. No server is asked.
///
/// rl: not NULL.
/// out: receives the copy, to be freed with redlock_stats_free(). Not NULL.
/// error: NULL if no details are wanted. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats(
    rl: *const redlock_t,
    out: *mut *mut redlock_stats_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: a live handle or NULL.
        let handle = unsafe { share(rl, "rl") }?;
        // SAFETY: NULL or a place for one pointer.
        let out = unsafe { Out::new(out, "out") }?;
        let _inside = handle.enter()?;
        let stats = handle.engine.stats()?;
        let urls = (0..handle.engine.node_count()).filter_map(|node| handle.engine.node_url(node));
        let notes = handle.engine.node_notes()?;
        out.put(give(redlock_stats_t {
            stats,
            urls: urls.map(Terminated::new).collect(),
            notes: notes.iter().map(|note| Terminated::new(&**note)).collect(),
        }));
        Ok(())
    })
}

/// Frees a copy of counters. NULL is allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_free(stats: *mut redlock_stats_t) {
    // SAFETY: counters of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(stats) }));
}

/// Rounds of SET sent to the nodes, retries included. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_attempts(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.attempts) }
}

/// Locks acquired. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_acquired(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.acquired) }
}

/// Attempts that failed because another holder was in the way. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_contended(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.contended) }
}

/// Operations that ended because too few nodes answered. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_no_quorum(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.no_quorum) }
}

/// Leases released by a quorum of deletions. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_released(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.released) }
}

/// Successful extensions. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_extended(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.extended) }
}

/// Leases that were over before they were released. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_lost(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.lost) }
}

/// Nanoseconds from the call to the lock, summed over the locks acquired. 0 where stats is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_acquire_ns_sum(stats: *const redlock_stats_t) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { total(stats, |stats| stats.acquire_ns_sum) }
}

/// How many nodes the handle has. The functions below answer 0 where stats is NULL or has no such node. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_count(stats: *const redlock_stats_t) -> usize {
    // SAFETY: live counters or NULL.
    read(0, || unsafe { look(stats) }.map_or(0, |stats| stats.urls.len()))
}

/// The URL of a node, counted from 0, without user name and password. Borrowed from stats. NULL where stats is
/// NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_url(stats: *const redlock_stats_t, node: usize) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: live counters or NULL.
        let stats = unsafe { look(stats) };
        stats.and_then(|stats| stats.urls.get(node)).map_or(ptr::null(), Terminated::as_ptr)
    })
}

/// 1 if a node, counted from 0, is connected and answers in time, else 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_is_up(stats: *const redlock_stats_t, node: usize) -> i32 {
    // SAFETY: live counters or NULL.
    i32::from(unsafe { of_node(stats, node, |node| node.is_up) } != 0)
}

/// What a person should know about a node, counted from 0, in English: why it does not vote ("restarted 3.2 s
/// ago; no vote for 6.8 s more", "no answer for 1200 ms", a connection error), or what is wrong with it (it may
/// evict locks when its memory is full; it hides INFO, so that its restarts cannot be seen). "" where all is well.
/// Borrowed from stats. NULL where stats is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_note(stats: *const redlock_stats_t, node: usize) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: live counters or NULL.
        let stats = unsafe { look(stats) };
        stats.and_then(|stats| stats.notes.get(node)).map_or(ptr::null(), Terminated::as_ptr)
    })
}

/// Requests sent to a node, counted from 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_requests(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.requests) }
}

/// Replies received from a node, counted from 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_replies(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.replies) }
}

/// Requests that a node, counted from 0, did not answer within the node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_timeouts(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.timeouts) }
}

/// Error replies of a node, counted from 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_errors(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.errors) }
}

/// Connections made to a node, counted from 0, after the first. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_reconnects(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.reconnects) }
}

/// Nanoseconds from request to reply, summed over the replies of a node, counted from 0. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_latency_ns_sum(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.latency_ns_sum) }
}

/// Releases that a node, counted from 0, has not confirmed yet. Falls again when it does. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_stats_node_pending_releases(stats: *const redlock_stats_t, node: usize) -> u64 {
    // SAFETY: live counters or NULL.
    unsafe { of_node(stats, node, |node| node.pending_releases) }
}

/// # Safety
/// As for [`look`].
unsafe fn total(stats: *const redlock_stats_t, counter: impl FnOnce(&Stats) -> u64) -> u64 {
    // SAFETY: as promised.
    read(0, || unsafe { look(stats) }.map_or(0, |stats| counter(&stats.stats)))
}

/// # Safety
/// As for [`look`].
unsafe fn of_node(stats: *const redlock_stats_t, node: usize, counter: impl FnOnce(&NodeStats) -> u64) -> u64 {
    read(0, || {
        // SAFETY: as promised.
        let stats = unsafe { look(stats) }.filter(|stats| node < stats.urls.len());
        stats.and_then(|stats| stats.stats.nodes.get(node)).map_or(0, counter)
    })
}
