//! Who gets the result of each operation, found by the operation and by the tag that its caller gave it.

use std::collections::BTreeSet;

use slotmap::{Key, KeyData, SecondaryMap};

use crate::core::operation::OpKey;

use super::queue::Submission;

/// Who gets the result of an operation.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A thread inside a blocking call with this tag; how it waits is in `handover.rs`.
    Thread(u64),
    /// The event queue.
    Queue(Submission),
}

impl Waiter {
    fn tag(&self) -> u64 {
        match self {
            Waiter::Thread(tag) => *tag,
            Waiter::Queue(submission) => submission.tag,
        }
    }
}

/// The waiters of one handle. An operation is cancelled by its tag in a time that does not grow with their number.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    of_ops: SecondaryMap<OpKey, Waiter>,
    /// Of the operations that have a tag, which is not 0, and their keys as numbers: those have an order to rely on.
    by_tag: BTreeSet<(u64, u64)>,
}

impl Waiters {
    pub(super) fn insert(&mut self, op: OpKey, waiter: Waiter) {
        if waiter.tag() != 0 {
            self.by_tag.insert((waiter.tag(), op.data().as_ffi()));
        }
        self.of_ops.insert(op, waiter);
    }

    pub(super) fn remove(&mut self, op: OpKey) -> Option<Waiter> {
        let waiter = self.of_ops.remove(op)?;
        if waiter.tag() != 0 {
            self.by_tag.remove(&(waiter.tag(), op.data().as_ffi()));
        }
        Some(waiter)
    }

    /// The operations with this tag, which is not 0.
    pub(super) fn tagged(&self, tag: u64) -> Vec<OpKey> {
        let numbers = self.by_tag.range((tag, 0)..=(tag, u64::MAX));
        numbers.map(|&(_, number)| OpKey::from(KeyData::from_ffi(number))).collect()
    }
}
