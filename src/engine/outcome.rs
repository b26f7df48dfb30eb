//! How an operation ends, as the core tells it.

use std::sync::Arc;

use crate::core::operation::{LeaseKey, NodeView};
use crate::core::report::Failure;
use crate::core::request::Bytes;

use super::cell::LeaseCell;

/// How an operation ended, with what its caller needs from the state.
pub(crate) type Finished = Result<Success, Failure>;

/// A successful end.
#[derive(Debug)]
pub(crate) enum Success {
    /// A lock was acquired.
    Locked { lease: LeaseKey, token: Bytes, fence: Option<u64>, cell: Arc<LeaseCell> },
    /// Done as asked.
    Done,
    /// Who holds the lock, per node.
    Inspected(Vec<NodeView>),
}
