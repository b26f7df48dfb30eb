//! Who holds a lock, put together from what the nodes said.

use std::sync::Arc;

use crate::core::operation::NodeView;
use crate::core::quorum::quorum;
use crate::core::report::Outcome;
use crate::core::request::{Bytes, Remaining};

/// The state of a lock at the moment of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The token found on most nodes, if any was found.
    pub holder: Option<Holder>,
    /// What each node said, in order.
    pub nodes: Vec<InspectedNode>,
}

/// The token found on most nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The token, cut at 256 bytes.
    pub token: Bytes,
    /// On how many nodes it was found.
    pub node_count: usize,
    /// Whether these are a quorum, so that the lock is really held.
    pub is_quorum: bool,
    /// Milliseconds until fewer than a quorum of the nodes have it (until the last one loses it, when it has no
    /// quorum); `None`: never expires.
    pub remaining_ms: Option<u64>,
}

/// What one node said about a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedNode {
    /// The node's URL without credentials.
    pub url: Arc<str>,
    /// [`Outcome::Done`] when it answered.
    pub outcome: Outcome,
    /// The token it has, cut at 256 bytes.
    pub token: Option<Bytes>,
    /// The life the key has left there, in milliseconds; `None`: no key, or it never expires.
    pub remaining_ms: Option<u64>,
}

impl Inspection {
    pub(crate) fn new(views: Vec<NodeView>, urls: &[Arc<str>]) -> Inspection {
        let holder = holder(&views);
        let inspected = |(view, url): (NodeView, &Arc<str>)| InspectedNode {
            url: Arc::clone(url),
            remaining_ms: remaining_ms(&view),
            outcome: view.report.outcome,
            token: view.token,
        };
        Inspection { holder, nodes: views.into_iter().zip(urls).map(inspected).collect() }
    }
}

fn remaining_ms(view: &NodeView) -> Option<u64> {
    match view.remaining {
        Some(Remaining::Ms(left_ms)) => Some(left_ms),
        Some(Remaining::Absent | Remaining::Forever) | None => None,
    }
}

fn holder(views: &[NodeView]) -> Option<Holder> {
    let count = |token: &Bytes| views.iter().filter(|view| view.token.as_ref() == Some(token)).count();
    let token = views.iter().filter_map(|view| view.token.as_ref()).max_by_key(|token| count(token))?;
    let (node_count, quorum) = (count(token), quorum(views.len()));
    let mut lives: Vec<u64> = views
        .iter()
        .filter(|view| view.token.as_ref() == Some(token))
        .map(|view| remaining_ms(view).unwrap_or(u64::MAX))
        .collect();
    lives.sort_unstable_by(|a, b| b.cmp(a));
    let decisive = lives[node_count.min(quorum) - 1];
    let decisive = if node_count < quorum { lives[0] } else { decisive };
    Some(Holder {
        token: Arc::clone(token),
        node_count,
        is_quorum: node_count >= quorum,
        remaining_ms: (decisive != u64::MAX).then_some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report::NodeReport;

    fn views(keys: &[Option<(&str, u64)>]) -> Vec<NodeView> {
        let view = |(node, key): (usize, &Option<(&str, u64)>)| NodeView {
            report: NodeReport { node, outcome: Outcome::Done, elapsed_ns: 0 },
            token: key.map(|(token, _)| Bytes::from(token.as_bytes())),
            remaining: Some(key.map_or(Remaining::Absent, |(_, left_ms)| Remaining::Ms(left_ms))),
        };
        keys.iter().enumerate().map(view).collect()
    }

    #[test]
    fn a_lock_lasts_until_fewer_than_a_quorum_of_nodes_have_it() {
        let found = holder(&views(&[Some(("a", 900)), Some(("a", 100)), Some(("a", 500)), Some(("b", 999)), None]));
        let found = found.expect("three nodes hold it");
        assert_eq!((&*found.token, found.node_count, found.is_quorum), (&b"a"[..], 3, true));
        assert_eq!(found.remaining_ms, Some(100));
    }

    #[test]
    fn a_minority_is_reported_as_such() {
        let found = holder(&views(&[Some(("a", 900)), None, None])).expect("one node has a key");
        assert_eq!((found.is_quorum, found.remaining_ms), (false, Some(900)));
    }

    #[test]
    fn nobody_holds_a_free_lock() {
        assert_eq!(holder(&views(&[None, None, None])), None);
    }
}
