//! What a failed call returns to its caller.

use std::fmt;
use std::sync::Arc;

use crate::core::report::{Failure, Outcome, Status};
use crate::core::time::NS_PER_MS;

/// A failed call: its status, a message for people, and the outcome at every node that was concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub status: Status,
    /// One line for people, without secrets.
    pub message: String,
    /// One entry per node, in order; empty when no node was concerned.
    pub nodes: Vec<NodeDetail>,
}

/// What one node contributed to a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDetail {
    /// The node's URL without credentials.
    pub url: Arc<str>,
    /// What it said or did not say.
    pub outcome: Outcome,
    /// How long that took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Error {
    /// An error that concerns no node.
    pub fn plain(status: Status, detail: impl Into<Box<str>>) -> Error {
        Error::from_failure(Failure::plain(status, detail), &[])
    }

    /// A failure of the core, with the nodes' names.
    #[must_use]
    pub(crate) fn from_failure(failure: Failure, urls: &[Arc<str>]) -> Error {
        let message = failure.to_string();
        let detail = |(report, url): (crate::core::report::NodeReport, &Arc<str>)| NodeDetail {
            url: Arc::clone(url),
            outcome: report.outcome,
            elapsed_ms: report.elapsed_ns / NS_PER_MS,
        };
        Error { status: failure.status, message, nodes: failure.nodes.into_iter().zip(urls).map(detail).collect() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
