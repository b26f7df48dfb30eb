//! The queue behind the event-loop API: what happened, in order, as plain facts.

use std::collections::{HashMap, VecDeque};

use slotmap::SecondaryMap;

use crate::core::operation::{LeaseKey, LeaseState, LeaseView};
use crate::core::quorum::NodeSet;
use crate::core::report::Failure;
use crate::core::request::NodeId;

use super::outcome::{Finished, Success};

/// What was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    /// An acquisition.
    Lock,
    /// A release, of a lease or by token.
    Unlock,
    /// An extension, of a lease or by token.
    Extend,
    /// An inspection.
    Inspect,
}

/// Who submitted an operation, and what for.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) tag: u64,
    pub(crate) work: Work,
    /// The resource of a lock, for its lease.
    pub(crate) resource: Box<[u8]>,
}

impl Submission {
    /// Of something other than a lock.
    pub(crate) fn plain(tag: u64, work: Work) -> Submission {
        Submission { tag, work, resource: Box::default() }
    }
}

/// Something that happened, without the handle that a lease in it will keep alive.
#[derive(Debug)]
pub(crate) enum Fact {
    /// A submitted operation ended.
    Done { submission: Submission, finished: Finished },
    /// A lease is over without having been released.
    Lost { tag: u64 },
    /// A lease has tried to extend itself.
    Extended { tag: u64, result: Result<(), Failure> },
    /// A node came or went.
    Node { node: NodeId, is_up: bool },
}

/// A fact in its place in the order.
#[derive(Debug)]
enum Queued {
    Done {
        submission: Submission,
        finished: Finished,
    },
    Lost {
        tag: u64,
    },
    /// See [`EventQueue::extensions`].
    Extended(LeaseKey),
}

/// How a lease's last try to extend itself ended.
#[derive(Debug)]
struct Extension {
    tag: u64,
    result: Result<(), Failure>,
}

/// The queue of events and what is known about the descriptors; part of the handle's state.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: VecDeque<Queued>,
    /// How many of them may be fetched: those that were there when the loop last came. A program that submits while it
    /// fetches, and whose operations end at once, would fetch for ever.
    visible: usize,
    /// Extensions to be told. One a lease, at the place of the first in the queue, so that a loop that fetches nothing
    /// does not fill the memory.
    extensions: HashMap<LeaseKey, Extension>,
    /// Nodes that came or went since they were last told of. One entry a node, so that the queue stays bounded.
    changed_nodes: VecDeque<NodeId>,
    /// Nodes that were last told of as connected.
    up_nodes: NodeSet,
    /// Leases whose owners get events, with the tags of their acquisitions.
    owners: SecondaryMap<LeaseKey, u64>,
    /// The eventfd is readable.
    pub(crate) is_signalled: bool,
    /// What the timer is set to, on the wait clock.
    pub(crate) timer_mono_ns: Option<u64>,
    /// The generation of the poll set that the epoll set corresponds to.
    pub(crate) registered_generation: Option<u64>,
}

impl EventQueue {
    /// A submitted operation ended.
    pub(crate) fn done(&mut self, submission: Submission, finished: Finished) {
        if let Ok(Success::Locked { lease, .. }) = &finished {
            self.owners.insert(*lease, submission.tag);
        }
        self.events.push_back(Queued::Done { submission, finished });
    }

    /// A lease changed. Its end is told once; what its owner did himself is not told.
    pub(crate) fn lease_changed(&mut self, lease: LeaseKey, view: LeaseView) {
        if view.state != LeaseState::Held
            && let Some(tag) = self.owners.remove(lease)
            && view.state == LeaseState::Lost
        {
            self.events.push_back(Queued::Lost { tag });
        }
    }

    /// A lease has tried to extend itself.
    pub(crate) fn lease_extended(&mut self, lease: LeaseKey, result: Result<(), Failure>) {
        if let Some(&tag) = self.owners.get(lease) {
            let is_queued = self.extensions.insert(lease, Extension { tag, result }).is_some();
            if !is_queued {
                self.events.push_back(Queued::Extended(lease));
            }
        }
    }

    /// The owner gave the lease back.
    pub(crate) fn forget(&mut self, lease: LeaseKey) {
        self.owners.remove(lease);
    }

    /// A node came or went.
    pub(crate) fn node_changed(&mut self, node: NodeId) {
        if !self.changed_nodes.contains(&node) {
            self.changed_nodes.push_back(node);
        }
    }

    /// What is here now may be fetched.
    pub(crate) fn show(&mut self) {
        self.visible = self.events.len();
    }

    /// Whether there is anything to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.changed_nodes.is_empty()
    }

    /// The leases in events that nobody has fetched.
    pub(crate) fn unfetched_leases(&self) -> Vec<LeaseKey> {
        let lease = |queued: &Queued| match queued {
            Queued::Done { finished: Ok(Success::Locked { lease, .. }), .. } => Some(*lease),
            _ => None,
        };
        self.events.iter().filter_map(lease).collect()
    }

    /// A node that is not what it was when it was last told of.
    fn next_change(&mut self, is_up: impl Fn(NodeId) -> bool) -> Option<Fact> {
        while let Some(node) = self.changed_nodes.pop_front() {
            let is_up = is_up(node);
            if is_up != self.up_nodes.contains(node) {
                if is_up {
                    self.up_nodes.insert(node)
                } else {
                    self.up_nodes.remove(node)
                }
                return Some(Fact::Node { node, is_up });
            }
        }
        None
    }

    /// The next event, oldest first; `is_up` tells a node's state.
    pub(crate) fn next(&mut self, is_up: impl Fn(NodeId) -> bool) -> Option<Fact> {
        let Some(visible) = self.visible.checked_sub(1) else { return self.next_change(is_up) };
        let queued = self.events.pop_front()?;
        self.visible = visible;
        Some(match queued {
            Queued::Done { submission, finished } => Fact::Done { submission, finished },
            Queued::Lost { tag } => Fact::Lost { tag },
            Queued::Extended(lease) => {
                // Queued and remembered together.
                let Extension { tag, result } = self.extensions.remove(&lease)?;
                Fact::Extended { tag, result }
            }
        })
    }
}
