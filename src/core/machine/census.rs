//! How much a machine remembers: what tests count to see that nothing is kept for ever.

use super::Machine;

/// Numbers of things remembered. All are zero at rest: no operation under way, every lease given back, every release
/// confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// Operations under way.
    pub operations: usize,
    /// Leases and attempts.
    pub leases: usize,
    /// Resources that somebody wants or has.
    pub resources: usize,
    /// Wake-ups.
    pub timers: usize,
    /// Requests that wait for a connection.
    pub parked: usize,
    /// Requests without an answer.
    pub in_flight: usize,
    /// Releases to be sent again.
    pub pending_releases: usize,
}

impl Machine {
    /// Counts what the machine remembers.
    #[doc(hidden)]
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            operations: self.ops.len(),
            leases: self.leases.len(),
            resources: self.resources.len(),
            timers: self.timers.len(),
            parked: self.nodes.iter().map(|node| node.parked.len()).sum(),
            in_flight: self.nodes.iter().map(|node| node.in_flight.len()).sum(),
            pending_releases: self.nodes.iter().map(|node| node.pending_releases.len()).sum(),
        }
    }
}
