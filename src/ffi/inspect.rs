//! Inspection
//!
//! Who holds a lock, as the nodes say. Reading takes no lock and says nothing about the next moment: never act
//! on it in place of a lock.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::error::{ErrorOut, redlock_error_t};
use super::guard::guard;
use super::handle::redlock_t;
use super::outcome::{self, REDLOCK_NODE_NONE};
use super::pointer::{Out, Terminated, bytes, give, look, share, string, take};
use super::read::read;
use super::status::redlock_status_t;
use crate::engine::{Error, Inspection};

/// What the nodes said about one resource.
///
/// Lifetime: independent of the handle and of everything else.
/// Threads: may be read by all threads at once.
/// Freed by: redlock_inspection_free().
pub struct redlock_inspection_t {
    holder: Option<Holder>,
    nodes: Vec<Node>,
}

struct Holder {
    token: Terminated,
    node_count: usize,
    is_quorum: bool,
    remaining_ms: i64,
}

struct Node {
    url: Terminated,
    outcome: i32,
    text: Terminated,
    token: Option<Terminated>,
    remaining_ms: i64,
}

/// Asks all nodes who holds the lock on a resource, and changes nothing.
///
/// rl, resource: not NULL.
/// out: receives what they said, to be freed with redlock_inspection_free(). Not NULL.
/// error: NULL if no details are wanted.
///
/// REDLOCK_E_NO_QUORUM if too few nodes answered. A lock that nobody holds is REDLOCK_OK. Waits: at most
/// a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspect(
    rl: *const redlock_t,
    resource: *const c_char,
    out: *mut *mut redlock_inspection_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: NULL or a string.
        let resource = unsafe { string(resource, "resource") }?;
        // SAFETY: as promised.
        unsafe { inspect(rl, resource, out) }
    })
}

/// redlock_inspect() for any bytes. resource: NULL is allowed only for no bytes. Waits: at most a node timeout. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspect_bytes(
    rl: *const redlock_t,
    resource: *const c_void,
    resource_len: usize,
    out: *mut *mut redlock_inspection_t,
    error: *mut *mut redlock_error_t,
) -> redlock_status_t {
    // SAFETY: NULL or a place for one pointer.
    let error = unsafe { ErrorOut::new(error) };
    guard(error, || {
        // SAFETY: NULL or as many bytes as are said.
        let resource = unsafe { bytes(resource, resource_len, "resource") }?;
        // SAFETY: as promised.
        unsafe { inspect(rl, resource, out) }
    })
}

/// Frees an inspection. NULL is allowed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_free(inspect: *mut redlock_inspection_t) {
    // SAFETY: an inspection of the caller's, not used again, or NULL.
    read((), || drop(unsafe { take(inspect) }));
}

/// 1 if one token is on a quorum of the nodes: somebody holds the lock. 0 if not, or inspect is NULL. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_is_held(inspect: *const redlock_inspection_t) -> i32 {
    // SAFETY: a live inspection or NULL.
    read(0, || unsafe { holder_of(inspect) }.map_or(0, |holder| i32::from(holder.is_quorum)))
}

/// The token that is on most nodes, its first 256 bytes. Borrowed from inspect.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where no node has the key, or inspect is NULL; length is untouched then. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_token(
    inspect: *const redlock_inspection_t,
    length: *mut usize,
) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: a live inspection or NULL.
        let Some(holder) = (unsafe { holder_of(inspect) }) else { return ptr::null() };
        // SAFETY: NULL or a place for one number.
        unsafe { holder.token.with_length(length) }
    })
}

/// For how many more milliseconds a quorum keeps that token, or as many nodes as have it. -1: for ever, which
/// is no work of this library. 0 where no node has the key, or inspect is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_remaining_ms(inspect: *const redlock_inspection_t) -> i64 {
    // SAFETY: a live inspection or NULL.
    read(0, || unsafe { holder_of(inspect) }.map_or(0, |holder| holder.remaining_ms))
}

/// How many nodes have that token. 0 where no node has the key, or inspect is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_count_held(inspect: *const redlock_inspection_t) -> usize {
    // SAFETY: a live inspection or NULL.
    read(0, || unsafe { holder_of(inspect) }.map_or(0, |holder| holder.node_count))
}

/// How many nodes were asked. 0 where inspect is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_count(inspect: *const redlock_inspection_t) -> usize {
    // SAFETY: a live inspection or NULL.
    read(0, || unsafe { look(inspect) }.map_or(0, |inspect| inspect.nodes.len()))
}

/// The URL of a node, counted from 0, without user name and password. Borrowed from inspect. NULL where inspect
/// is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_url(
    inspect: *const redlock_inspection_t,
    node: usize,
) -> *const c_char {
    // SAFETY: a live inspection or NULL.
    read(ptr::null(), || unsafe { node_of(inspect, node) }.map_or(ptr::null(), |node| node.url.as_ptr()))
}

/// How a node, counted from 0, answered: REDLOCK_NODE_DONE if it did, with or without a key, else another of
/// the REDLOCK_NODE_ values. REDLOCK_NODE_NONE where inspect is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_outcome(inspect: *const redlock_inspection_t, node: usize) -> i32 {
    // SAFETY: a live inspection or NULL.
    read(REDLOCK_NODE_NONE, || unsafe { node_of(inspect, node) }.map_or(REDLOCK_NODE_NONE, |node| node.outcome))
}

/// The words of a node, counted from 0: the server's or the system's, else the text of its outcome. Borrowed
/// from inspect. NULL where inspect is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_text(
    inspect: *const redlock_inspection_t,
    node: usize,
) -> *const c_char {
    // SAFETY: a live inspection or NULL.
    read(ptr::null(), || unsafe { node_of(inspect, node) }.map_or(ptr::null(), |node| node.text.as_ptr()))
}

/// The token on a node, counted from 0, its first 256 bytes. Borrowed from inspect.
///
/// length: receives the number of bytes, without the NUL behind them; NULL if it is not wanted.
///
/// NULL where the node has no key or did not answer, or inspect is NULL or has no such node; length is
/// untouched then. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_token(
    inspect: *const redlock_inspection_t,
    node: usize,
    length: *mut usize,
) -> *const c_char {
    read(ptr::null(), || {
        // SAFETY: a live inspection or NULL.
        let token = unsafe { node_of(inspect, node) }.and_then(|node| node.token.as_ref());
        // SAFETY: NULL or a place for one number.
        token.map_or(ptr::null(), |token| unsafe { token.with_length(length) })
    })
}

/// For how many more milliseconds a node, counted from 0, keeps its key. -1: for ever. 0 where it has none or
/// did not answer, or inspect is NULL or has no such node. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn redlock_inspection_node_remaining_ms(
    inspect: *const redlock_inspection_t,
    node: usize,
) -> i64 {
    // SAFETY: a live inspection or NULL.
    read(0, || unsafe { node_of(inspect, node) }.map_or(0, |node| node.remaining_ms))
}

/// # Safety
/// `rl` is NULL or a live handle, `out` is NULL or a place for one pointer.
unsafe fn inspect(rl: *const redlock_t, resource: &[u8], out: *mut *mut redlock_inspection_t) -> Result<(), Error> {
    // SAFETY: as promised.
    let (handle, out) = unsafe { (share(rl, "rl")?, Out::new(out, "out")?) };
    let _inside = handle.enter()?;
    out.put(give(redlock_inspection_t::from(handle.engine.inspect(resource)?)));
    Ok(())
}

/// # Safety
/// As for [`look`].
unsafe fn holder_of<'a>(inspect: *const redlock_inspection_t) -> Option<&'a Holder> {
    // SAFETY: as promised.
    unsafe { look(inspect) }?.holder.as_ref()
}

/// # Safety
/// As for [`look`].
unsafe fn node_of<'a>(inspect: *const redlock_inspection_t, node: usize) -> Option<&'a Node> {
    // SAFETY: as promised.
    unsafe { look(inspect) }?.nodes.get(node)
}

impl From<Inspection> for redlock_inspection_t {
    fn from(inspection: Inspection) -> redlock_inspection_t {
        let holder = inspection.holder.map(|holder| Holder {
            token: Terminated::new(&holder.token),
            node_count: holder.node_count,
            is_quorum: holder.is_quorum,
            remaining_ms: remaining(holder.remaining_ms),
        });
        let nodes = inspection.nodes.iter().map(|node| Node {
            url: Terminated::new(node.url.as_bytes()),
            outcome: outcome::number(&node.outcome),
            text: Terminated::new(outcome::text(&node.outcome)),
            remaining_ms: node.token.as_ref().map_or(0, |_| remaining(node.remaining_ms)),
            token: node.token.as_ref().map(Terminated::new),
        });
        redlock_inspection_t { holder, nodes: nodes.collect() }
    }
}

/// A key's remaining life as C is told: -1 for one that never ends.
fn remaining(ms: Option<u64>) -> i64 {
    ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX))
}
