//! What a waiter believes about the nodes; how it comes to believe it is in `machine/wait.rs`.

use crate::core::quorum::NodeSet;
use crate::core::request::{MAX_NODES, NodeId};
use crate::core::time::Now;

/// What a waiter believes about the nodes.
#[derive(Debug, Clone, Default, Hash)]
pub struct Watch {
    /// Nodes that will announce a change of the key.
    pub armed: NodeSet,
    /// Nodes on which the key is gone, by what they said or by its end.
    pub free: NodeSet,
    /// Nodes that announced a change since they were read.
    pub changed: NodeSet,
    /// The node that is read to find out what such changes meant.
    pub reading: Option<NodeId>,
    /// The node to ask first in the attempt that begins: one on which the key is gone.
    pub first: Option<NodeId>,
    /// When the key ends on the others, on the wait clock, as far as known.
    pub free_at_mono_ns: [Option<u64>; MAX_NODES],
    /// Until then others may take it first, unless they have done so already; on the wait clock.
    pub yields_until_mono_ns: Option<u64>,
}

impl Watch {
    /// What was believed about the nodes is about to be tried. Should that fail, those that were believed free are read
    /// again, also where they would still announce a change: not all of them may have been asked.
    pub fn begin_attempt(&mut self) {
        self.free.iter().chain(self.changed.iter()).for_each(|node| self.armed.remove(node));
        self.free = NodeSet::default();
        self.changed = NodeSet::default();
        self.reading = None;
        self.first = None;
    }

    /// The key is gone there, whatever was known of its end; to try it is worth nothing before the node's vote counts.
    pub fn believe_free(&mut self, node: NodeId, guarded_until_mono_ns: Option<u64>) {
        if guarded_until_mono_ns.is_none() {
            self.free.insert(node);
        }
        self.free_at_mono_ns[node] = guarded_until_mono_ns;
    }

    /// Nodes on which the key is gone, or may be.
    #[must_use]
    pub fn maybe_free(&self) -> NodeSet {
        let mut nodes = self.free;
        self.changed.iter().for_each(|node| nodes.insert(node));
        nodes
    }

    /// The node to ask first, if the next attempt begins with one.
    #[must_use]
    pub fn first(&self) -> Option<NodeId> {
        self.first
    }

    /// Nodes whose key should have ended by now, although they have announced nothing.
    pub fn overdue(&self, now: Now) -> impl Iterator<Item = NodeId> + use<> {
        let ends = self.free_at_mono_ns;
        (0..MAX_NODES).filter(move |&node| ends[node].is_some_and(|end| end <= now.mono_ns))
    }

    /// What was read is out of date there.
    pub fn read_again(&mut self, node: NodeId) {
        self.armed.remove(node);
        self.free_at_mono_ns[node] = None;
    }
}
