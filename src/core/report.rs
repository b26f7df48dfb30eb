//! What an operation tells its caller when it did not succeed: a status, and the outcome at every node.

use std::fmt;

use super::request::{Fault, MAX_NODES, NodeId};

/// Why an operation failed. The numbers of the C ABI are given in `src/ffi/status.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Somebody else holds the lock, or it was granted too late to be of use.
    NotAcquired,
    /// More than N − q nodes failed or timed out.
    NoQuorum,
    /// The lease is over: expired, deleted, or never ours.
    Lost,
    /// `cancel` ended the operation.
    Cancelled,
    /// A signal ended the wait.
    Interrupted,
    /// An argument is out of its range.
    Invalid,
    /// Something only a person can cure: configuration, credentials, rights.
    Config,
    /// The handle belongs to the parent process.
    Forked,
    /// The request may or may not have been applied.
    Unknown,
    /// The handle was freed.
    Closed,
    /// A defect in this library; the handle is not used any more.
    Internal,
}

impl Status {
    /// One English phrase, the beginning of every message with this status.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Status::NotAcquired => "not acquired",
            Status::NoQuorum => "no quorum",
            Status::Lost => "lock lost",
            Status::Cancelled => "cancelled",
            Status::Interrupted => "interrupted by a signal",
            Status::Invalid => "invalid argument",
            Status::Config => "configuration error",
            Status::Forked => "handle belongs to the parent process",
            Status::Unknown => "outcome unknown",
            Status::Closed => "handle is closed",
            Status::Internal => "internal error",
        }
    }
}

/// What one node contributed to one operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// Another token holds the key there; with the milliseconds it has left, where known.
    Held(Option<u64>),
    /// The key is absent there or another's (release, extend, inspect).
    NotMine,
    /// The operation was decided before this node answered.
    NotAwaited,
    /// It answered in time, but its vote does not count yet (restart guard).
    Guarded(Box<str>),
    /// It failed.
    Failed(Fault),
}

/// One node's outcome and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeReport {
    /// Which node, from 0.
    pub node: NodeId,
    /// What it contributed.
    pub outcome: Outcome,
    /// Nanoseconds from the request to its outcome; 0 when nothing was sent.
    pub elapsed_ns: u64,
}

/// A failed operation, in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The kind of failure.
    pub status: Status,
    /// What happened, in words, where the status alone does not say it ("granted after 12 ms, too late for a ttl of 10 ms").
    pub detail: Option<Box<str>>,
    /// One report per node, in order; empty when no node was asked.
    pub nodes: Vec<NodeReport>,
}

impl Failure {
    /// A failure that concerns no node.
    pub fn plain(status: Status, detail: impl Into<Box<str>>) -> Failure {
        Failure { status, detail: Some(detail.into()), nodes: Vec::new() }
    }
}

impl fmt::Display for Failure {
    /// `not acquired: held on nodes 1,2,4 (7.3 s left); node 3: timeout after 100 ms; node 5: NOPERM needs +evalsha`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.text())?;
        let mut separator = ": ";
        if let Some(detail) = &self.detail {
            write!(f, "{separator}{detail}")?;
            separator = "; ";
        }
        for (phrase, matches) in GROUPS {
            let members = self.nodes.iter().filter(|report| matches(&report.outcome));
            if let Some(list) = node_list(members.clone().map(|report| report.node)) {
                write!(f, "{separator}{phrase} {list}")?;
                separator = "; ";
                let left = members.filter_map(|report| match report.outcome {
                    Outcome::Held(left_ms) => left_ms,
                    _ => None,
                });
                if let Some(left_ms) = left.max() {
                    write!(f, " ({} left)", Milliseconds(left_ms))?;
                }
            }
        }
        for report in &self.nodes {
            match &report.outcome {
                Outcome::Failed(fault) => write!(f, "{separator}node {}: {}", report.node + 1, fault.text)?,
                Outcome::Guarded(why) => write!(f, "{separator}node {}: {why}", report.node + 1)?,
                _ => continue,
            }
            separator = "; ";
        }
        Ok(())
    }
}

type Matcher = fn(&Outcome) -> bool;

/// The outcomes that are told as one phrase for all nodes that share them.
const GROUPS: [(&str, Matcher); 4] = [
    ("held on", |outcome| matches!(outcome, Outcome::Held(_))),
    ("not ours on", |outcome| matches!(outcome, Outcome::NotMine)),
    ("done on", |outcome| matches!(outcome, Outcome::Done)),
    ("not awaited:", |outcome| matches!(outcome, Outcome::NotAwaited)),
];

/// `node 3` or `nodes 1,2,4`; nothing for nobody.
fn node_list(nodes: impl Iterator<Item = NodeId>) -> Option<String> {
    let numbers: Vec<String> = nodes.take(MAX_NODES).map(|node| (node + 1).to_string()).collect();
    match numbers.len() {
        0 => None,
        1 => Some(format!("node {}", numbers[0])),
        _ => Some(format!("nodes {}", numbers.join(","))),
    }
}

/// Milliseconds as people read them: `850 ms`, `7.3 s`.
pub struct Milliseconds(pub u64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1000 => write!(f, "{ms} ms"),
            ms => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
        }
    }
}
