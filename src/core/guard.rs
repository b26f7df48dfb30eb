//! Whom we let vote: every node must be a master of its own.

use super::node::{Link, Node};
use super::request::{Fault, FaultKind, NodeId, ServerInfo};

/// Why the server that just answered at `node` cannot be one of the N independent masters.
#[must_use]
pub fn refusal(nodes: &[Node], node: NodeId, info: &ServerInfo) -> Option<Fault> {
    if info.is_replica {
        return Some(Fault::new(FaultKind::Permanent, "is a replica; every node must be an independent master"));
    }
    let is_twin =
        |&other: &NodeId| other != node && nodes[other].link == Link::Up && nodes[other].run_id == info.run_id;
    let twin = (0..nodes.len()).find(is_twin).filter(|_| !info.run_id.is_empty())?;
    Some(Fault::new(FaultKind::Permanent, format!("is the same server as node {}", twin + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(run_id: &str) -> ServerInfo {
        ServerInfo { run_id: run_id.to_owned(), ..ServerInfo::default() }
    }

    fn connected(run_ids: &[&str]) -> Vec<Node> {
        let node = |run_id: &&str| {
            let mut node = Node::new();
            node.connected(server(run_id));
            node
        };
        run_ids.iter().map(node).collect()
    }

    #[test]
    fn a_server_listed_twice_is_refused_by_name() {
        let nodes = connected(&["a", "b", "c"]);
        let fault = refusal(&nodes, 2, &server("a")).expect("the same server");
        assert_eq!((fault.kind, &*fault.text), (FaultKind::Permanent, "is the same server as node 1"));
    }

    #[test]
    fn a_node_may_come_back_as_itself() {
        assert_eq!(refusal(&connected(&["a", "b"]), 0, &server("a")), None);
    }

    #[test]
    fn servers_that_hide_their_run_id_are_not_taken_for_twins() {
        assert_eq!(refusal(&connected(&["", ""]), 1, &server("")), None);
    }

    #[test]
    fn a_replica_is_refused() {
        let replica = ServerInfo { is_replica: true, ..server("z") };
        assert!(refusal(&connected(&["a"]), 0, &replica).is_some());
    }
}
