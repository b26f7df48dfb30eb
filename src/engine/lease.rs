//! A lease in its owner's hands.

use std::fmt;
use std::sync::Arc;

use crate::core::operation::{LeaseKey, LeaseState, Operation};
use crate::core::report::Status;
use crate::core::request::Bytes;
use crate::core::time::NS_PER_MS;

use super::blocking::CallOptions;
use super::canceller::Canceller;
use super::cell::LeaseCell;
use super::error::Error;
use super::options::wait_ms;
use super::owner::Owner;
use super::queue::{Submission, Work};

/// A lock that was acquired. Dropping it says nothing to any server: the keys live on for their ttl unless
/// [`Lease::unlock`] was called. All methods may be called from any thread.
pub struct Lease {
    shared: Arc<Owner>,
    key: LeaseKey,
    cell: Arc<LeaseCell>,
    resource: Box<[u8]>,
    token: Bytes,
    fence: Option<u64>,
}

impl Lease {
    pub(crate) fn new(
        shared: Arc<Owner>,
        key: LeaseKey,
        cell: Arc<LeaseCell>,
        resource: Box<[u8]>,
        token: Bytes,
        fence: Option<u64>,
    ) -> Lease {
        Lease { shared, key, cell, resource, token, fence }
    }

    /// Releases the lock; returns at a quorum of deletions.
    ///
    /// # Errors
    /// [`Status::Lost`] when it was over before; [`Status::NoQuorum`] or [`Status::Unknown`] when too few nodes
    /// confirmed: the lease is over all the same and what was not confirmed remains owed by the handle.
    pub fn unlock(&self) -> Result<(), Error> {
        self.shared.call(Operation::Unlock { lease: self.key }).map(|_| ())
    }

    /// Makes the lock last `ttl_ms` milliseconds from now; never shortens it.
    ///
    /// # Errors
    /// [`Status::Lost`] when it is over; [`Status::NoQuorum`] or [`Status::Unknown`] when too few nodes confirmed: it
    /// is then valid as long as it was. A failed extension releases nothing.
    pub fn extend(&self, ttl_ms: u64) -> Result<(), Error> {
        self.shared.check_ttl(ttl_ms)?;
        self.shared.call(Operation::Extend { lease: self.key, ttl_ms })?;
        match self.state() {
            LeaseState::Held => Ok(()),
            _ => Err(Error::plain(Status::Lost, "expired before it was extended")),
        }
    }

    /// Waits until the lease is over, however that comes about: deadline, deletion, eviction, release by another
    /// thread. False when it is still held after `timeout_ms` milliseconds (−1: without limit).
    ///
    /// # Errors
    /// [`Status::Interrupted`], [`Status::Cancelled`], [`Status::Closed`], [`Status::Forked`], [`Status::Invalid`].
    pub fn wait_lost(&self, timeout_ms: i64, canceller: Option<&Canceller>) -> Result<bool, Error> {
        let operation = Operation::WaitLost { lease: self.key, wait_ms: wait_ms(timeout_ms)? };
        match self.shared.call_with(operation, CallOptions { tag: 0, is_wait: true, canceller }) {
            Ok(_) => Ok(false),
            Err(error) if error.status == Status::Lost => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Submits [`Lease::unlock`]; its end is an [`Event::Done`](super::Event::Done).
    ///
    /// # Errors
    /// [`Status::Closed`], [`Status::Forked`]; then there is no event.
    pub fn submit_unlock(&self, tag: u64) -> Result<(), Error> {
        self.shared.submit(Operation::Unlock { lease: self.key }, Submission::plain(tag, Work::Unlock), None)
    }

    /// Submits [`Lease::extend`]; its end is an [`Event::Done`](super::Event::Done).
    ///
    /// # Errors
    /// [`Status::Invalid`], [`Status::Closed`], [`Status::Forked`]; then there is no event.
    pub fn submit_extend(&self, ttl_ms: u64, tag: u64) -> Result<(), Error> {
        self.shared.check_ttl(ttl_ms)?;
        self.shared.submit(Operation::Extend { lease: self.key, ttl_ms }, Submission::plain(tag, Work::Extend), None)
    }

    /// Releases the lock and does not wait for the nodes: the outcome goes to the counters alone.
    ///
    /// # Errors
    /// [`Status::Closed`], [`Status::Forked`], [`Status::Internal`]: nothing was sent.
    pub fn unlock_nowait(&self) -> Result<(), Error> {
        self.shared.begin_unawaited(Operation::Unlock { lease: self.key })
    }

    /// The token that the keys hold.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// The fencing token, if one was asked for: larger than that of every lease on this resource that was acquired
    /// before this one. It stays the same when the lease is extended.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.fence
    }

    /// The resource, without the handle's prefix.
    #[must_use]
    pub fn resource(&self) -> &[u8] {
        &self.resource
    }

    /// Milliseconds for which the lease may still be used, rounded down; 0 when it is over.
    #[must_use]
    pub fn remaining_ms(&self) -> i64 {
        let left_ns = self.read().map_or(0, |(now_ns, until_ns)| until_ns - now_ns);
        i64::try_from(left_ns / NS_PER_MS).unwrap_or(i64::MAX)
    }

    /// The end of the lease on `CLOCK_BOOTTIME`, in nanoseconds; 0 when it is over.
    #[must_use]
    pub fn valid_until_ns(&self) -> u64 {
        self.read().map_or(0, |(_, until_ns)| self.shared.boottime_of_lease(until_ns))
    }

    /// Held, lost or released.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.read().map_or_else(|over| over, |_| LeaseState::Held)
    }

    /// The lease time now and the end of the lease, if it is not over. In a forked child it always is: the lock is
    /// the parent's.
    fn read(&self) -> Result<(u64, u64), LeaseState> {
        let now = self.shared.now_unless_forked().ok_or(LeaseState::Lost)?;
        self.cell.valid_until(now.lease_ns).map(|until_ns| (now.lease_ns, until_ns))
    }

    /// On how many nodes the lease is known to be held.
    #[must_use]
    pub fn node_count_held(&self) -> usize {
        match self.state() {
            LeaseState::Held => self.cell.node_count_held(),
            LeaseState::Lost | LeaseState::Released => 0,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.forget(self.key);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("state", &self.state()).field("remaining_ms", &self.remaining_ms()).finish()
    }
}
