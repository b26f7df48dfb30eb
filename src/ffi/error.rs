//! Errors
//!
//! What a call that failed offers through its last parameter: the status again, a sentence, and what each node
//! contributed. Passwords are in none of the texts.

use std::ffi::c_char;
use std::ptr::{self, NonNull};

use super::outcome::{self, REDLOCK_NODE_NONE};
use super::pointer::{Terminated, give, look, take};
use super::read::read;
use super::status::{self, REDLOCK_OK, redlock_status_t};
use crate::core::report::Outcome;
use crate::engine::{Error, NodeDetail};

/// Why a call failed, in detail.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_error_free().
pub struct redlock_error_t {
    code: redlock_status_t,
    message: Terminated,
    nodes: Vec<Node>,
}

struct Node {
    url: Terminated,
    outcome: i32,
    text: Terminated,
    elapsed_ms: u64,
    remaining_ms: i64,
}

/// Frees an error object. NULL is allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_free(error: *mut redlock_error_t) {
    // SAFETY: an error object of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(error) }));
}

/// The status that the call returned. REDLOCK_OK where error is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_code(error: *const redlock_error_t) -> redlock_status_t {
    // SAFETY: a live error object or NULL.
    read(REDLOCK_OK, || unsafe { look(error) }.map_or(REDLOCK_OK, |error| error.code))
}

/// One line for people, such as "not acquired: held on nodes 1,2,4 (7.3 s left); node 3: timeout after 100 ms".
/// Nodes are counted from 1 in it. Borrowed from error. Never NULL; "" where error is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_message(error: *const redlock_error_t) -> *const c_char {
    // SAFETY: a live error object or NULL.
    read(c"".as_ptr(), || unsafe { look(error) }.map_or(c"".as_ptr(), |error| error.message.as_ptr()))
}

/// How many nodes the error object tells about: all of the handle's, or 0 where none was asked or error is
/// NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_count(error: *const redlock_error_t) -> usize {
    // SAFETY: a live error object or NULL.
    read(0, || unsafe { look(error) }.map_or(0, |error| error.nodes.len()))
}

/// The URL of a node, counted from 0, without user name and password. Borrowed from error. NULL where error is
/// NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_url(error: *const redlock_error_t, node: usize) -> *const c_char {
    // SAFETY: a live error object or NULL.
    read(ptr::null(), || unsafe { node_of(error, node) }.map_or(ptr::null(), |node| node.url.as_ptr()))
}

/// What a node, counted from 0, contributed: one of the REDLOCK_NODE_ values. REDLOCK_NODE_NONE where error is
/// NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_outcome(error: *const redlock_error_t, node: usize) -> i32 {
    // SAFETY: a live error object or NULL.
    read(REDLOCK_NODE_NONE, || unsafe { node_of(error, node) }.map_or(REDLOCK_NODE_NONE, |node| node.outcome))
}

/// The words of a node, counted from 0: the server's or the system's, escaped and cut at 256 bytes, else the
/// text of its outcome. Borrowed from error. NULL where error is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_text(error: *const redlock_error_t, node: usize) -> *const c_char {
    // SAFETY: a live error object or NULL.
    read(ptr::null(), || unsafe { node_of(error, node) }.map_or(ptr::null(), |node| node.text.as_ptr()))
}

/// Milliseconds from the request to this outcome, of a node counted from 0. 0 where nothing was sent, error is
/// NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_elapsed_ms(error: *const redlock_error_t, node: usize) -> u64 {
    // SAFETY: a live error object or NULL.
    read(0, || unsafe { node_of(error, node) }.map_or(0, |node| node.elapsed_ms))
}

/// How long the other holder's key still lives on a node, counted from 0, whose outcome is REDLOCK_NODE_HELD,
/// as far as it was learnt. -1 where it is not known, error is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_error_node_remaining_ms(error: *const redlock_error_t, node: usize) -> i64 {
    // SAFETY: a live error object or NULL.
    read(-1, || unsafe { node_of(error, node) }.map_or(-1, |node| node.remaining_ms))
}

/// # Safety
/// As for [`look`].
unsafe fn node_of<'a>(error: *const redlock_error_t, node: usize) -> Option<&'a Node> {
    // SAFETY: as promised.
    unsafe { look(error) }?.nodes.get(node)
}

impl redlock_error_t {
    pub(super) fn code(&self) -> redlock_status_t {
        self.code
    }
}

impl From<Error> for redlock_error_t {
    fn from(error: Error) -> redlock_error_t {
        redlock_error_t {
            code: status::number(error.status),
            message: Terminated::new(&error.message),
            nodes: error.nodes.iter().map(Node::from).collect(),
        }
    }
}

impl From<&NodeDetail> for Node {
    fn from(detail: &NodeDetail) -> Node {
        Node {
            url: Terminated::new(detail.url.as_bytes()),
            outcome: outcome::number(&detail.outcome),
            text: Terminated::new(outcome::text(&detail.outcome)),
            elapsed_ms: detail.elapsed_ms,
            remaining_ms: match detail.outcome {
                Outcome::Held(Some(left_ms)) => i64::try_from(left_ms).unwrap_or(i64::MAX),
                _ => -1,
            },
        }
    }
}

/// The last parameter of functions that can fail.
pub(super) struct ErrorOut(Option<NonNull<*mut redlock_error_t>>);

impl ErrorOut {
    /// # Safety
    /// `place` is NULL or may be written until the call from C returns.
    pub(super) unsafe fn new(place: *mut *mut redlock_error_t) -> ErrorOut {
        ErrorOut(NonNull::new(place))
    }

    /// For functions without that parameter.
    pub(super) fn unwanted() -> ErrorOut {
        ErrorOut(None)
    }

    pub(super) fn put(self, error: Error) {
        if let Some(place) = self.0 {
            // SAFETY: as promised to `new`. `write` reads nothing: what was there may be uninitialised.
            unsafe { place.write(give(redlock_error_t::from(error))) }
        }
    }
}
