//! Majorities, and small sets of nodes.

use super::mutant::{self, Mutant};
use super::request::{MAX_NODES, NodeId};

/// The smallest number of nodes that any two majorities of `node_count` must share one of: N/2 + 1, right for even N too.
#[must_use]
pub fn quorum(node_count: usize) -> usize {
    if mutant::is(Mutant::QuorumMinusOne) && node_count > 1 {
        return node_count / 2;
    }
    if mutant::is(Mutant::EvenQuorum) {
        return node_count.div_ceil(2);
    }
    node_count / 2 + 1
}

/// A set of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct NodeSet(u16);

const _: () = assert!(MAX_NODES <= u16::BITS as usize);

impl NodeSet {
    /// Adds a node.
    pub fn insert(&mut self, node: NodeId) {
        self.0 |= 1 << node;
    }

    /// Takes a node out.
    pub fn remove(&mut self, node: NodeId) {
        self.0 &= !(1 << node);
    }

    /// Whether the node is in.
    #[must_use]
    pub fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node) != 0
    }

    /// How many are in.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether nobody is in.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        (0..MAX_NODES).filter(move |&node| self.contains(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_always_share_a_node() {
        for node_count in 1..=MAX_NODES {
            assert!(2 * quorum(node_count) > node_count, "N = {node_count}");
            assert!(quorum(node_count) <= node_count, "N = {node_count}");
            assert!(2 * (quorum(node_count) - 1) <= node_count, "the smallest such number, N = {node_count}");
        }
    }

    #[test]
    fn a_node_set_remembers_its_members() {
        let mut set = NodeSet::default();
        assert!(set.is_empty());
        set.insert(0);
        set.insert(14);
        set.insert(14);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 14]);
        set.remove(0);
        assert_eq!((set.len(), set.contains(0), set.contains(14)), (1, false, true));
    }
}
