//! What the event-loop API hands out: events, in the order in which they happened.

use std::sync::Arc;

use crate::core::report::Failure;
use crate::core::request::NodeId;

use super::error::Error;
use super::inspection::Inspection;
use super::lease::Lease;
use super::outcome::Success;
use super::owner::Owner;
use super::queue::{Fact, Submission, Work};

/// Something that happened since the last look.
#[derive(Debug)]
pub enum Event {
    /// A submitted operation ended. Every one does, exactly once.
    Done {
        /// The caller's tag.
        tag: u64,
        /// What was submitted.
        work: Work,
        /// How it ended.
        result: Result<Value, Error>,
    },
    /// A lease that was submitted with this tag is over without having been released.
    Lost {
        /// The tag of its acquisition.
        tag: u64,
    },
    /// A lease that was submitted with this tag has tried to extend itself. Of those tries that nobody has fetched yet
    /// only the last is told.
    Extended {
        /// The tag of its acquisition.
        tag: u64,
        /// Whether it succeeded. After a failure it tries again while there is time.
        result: Result<(), Error>,
    },
    /// A node came or went.
    Node {
        /// Which, from 0.
        node: NodeId,
        /// Whether it is connected now.
        is_up: bool,
    },
}

/// What a submitted operation yields.
#[derive(Debug)]
pub enum Value {
    /// The lease that was acquired.
    Lease(Lease),
    /// Who holds the lock.
    Inspection(Inspection),
    /// Nothing more than that it was done.
    Nothing,
}

impl Event {
    /// The fact, as the owner of the handle sees it.
    pub(super) fn new(fact: Fact, owner: &Arc<Owner>) -> Event {
        let named = |failure: Failure| Error::from_failure(failure, &owner.urls);
        let value = |success: Success, resource: Box<[u8]>| match success {
            Success::Locked { lease, token, fence, cell } => {
                Value::Lease(Lease::new(Arc::clone(owner), lease, cell, resource, token, fence))
            }
            Success::Inspected(views) => Value::Inspection(Inspection::new(views, &owner.urls)),
            Success::Done => Value::Nothing,
        };
        match fact {
            Fact::Lost { tag } => Event::Lost { tag },
            Fact::Extended { tag, result } => Event::Extended { tag, result: result.map_err(named) },
            Fact::Node { node, is_up } => Event::Node { node, is_up },
            Fact::Done { submission: Submission { tag, work, resource }, finished } => {
                Event::Done { tag, work, result: finished.map(|success| value(success, resource)).map_err(named) }
            }
        }
    }
}
