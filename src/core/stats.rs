//! Counters, kept where the events happen. They only grow; a reader takes a copy.

use super::request::MAX_NODES;

/// Counters of one handle since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds of SET sent to the nodes, retries included.
    pub attempts: u64,
    /// Locks acquired.
    pub acquired: u64,
    /// Attempts that failed because another holder was in the way.
    pub contended: u64,
    /// Operations that ended because too few nodes answered.
    pub no_quorum: u64,
    /// Leases released by a quorum of deletions.
    pub released: u64,
    /// Successful extensions.
    pub extended: u64,
    /// Leases that were over before they were released.
    pub lost: u64,
    /// Nanoseconds from submission to acquisition, summed over `acquired`.
    pub acquire_ns_sum: u64,
    /// Per node, in order; entries past the node count stay zero.
    pub nodes: [NodeStats; MAX_NODES],
}

/// Counters of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Requests sent.
    pub requests: u64,
    /// Replies received.
    pub replies: u64,
    /// Requests that were not answered within the node timeout.
    pub timeouts: u64,
    /// Error replies.
    pub errors: u64,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Nanoseconds from request to reply, summed over `replies`.
    pub latency_ns_sum: u64,
    /// Releases not confirmed yet, which will be sent again after a reconnect.
    pub pending_releases: u64,
    /// 1 while the node is connected and answers in time, else 0.
    pub is_up: u64,
}
