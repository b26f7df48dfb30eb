//! What a fenced attempt remembers of its votes; why tokens grow is in `machine/fence.rs`.

use crate::core::quorum::NodeSet;
use crate::core::request::{MAX_NODES, NodeId};

/// The fencing of one attempt, and of the lease that it becomes.
#[derive(Debug, Clone, Hash)]
pub struct Fencing {
    pub proposal: u64,
    /// What no counter can be and be believed while the votes are under way.
    pub limit: u64,
    /// The largest vote so far, once a quorum has voted; 0 before. Fixed when the lock is acquired.
    pub token: u64,
    /// What each node's counter is at least, while it has our key; 0: not known.
    pub counters: [u64; MAX_NODES],
    /// What each node's counter was last asked to be raised to.
    pub wanted: [u64; MAX_NODES],
    /// Nodes whose counters were found to be credible.
    pub credible: NodeSet,
}

impl Fencing {
    /// For an attempt that begins now.
    #[must_use]
    pub fn new(proposal: u64, limit: u64) -> Box<Fencing> {
        let unknown = [0; MAX_NODES];
        Box::new(Fencing {
            proposal,
            limit,
            token: 0,
            counters: unknown,
            wanted: unknown,
            credible: NodeSet::default(),
        })
    }

    /// The node granted the key and told its counter.
    pub fn granted(&mut self, node: NodeId, counter: u64) {
        self.counters[node] = counter;
        self.credible.remove(node);
    }

    /// The node has granted the key at some time.
    pub fn has_granted(&self, node: NodeId) -> bool {
        self.counters[node] > 0
    }

    /// The node has our key and has raised its counter to what was asked for, if it was less. The token may be above
    /// that by now.
    pub fn raised(&mut self, node: NodeId) {
        self.counters[node] = self.counters[node].max(self.wanted[node]);
    }
}
