//! A lease, from the first SET of its attempt to the moment its owner gives it back.

use super::auto::Auto;
use super::fencing::Fencing;
use super::node::PendingRelease;
use super::round::{Answer, Round};
use crate::core::config::Config;
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{LeaseState, LeaseView, OpKey};
use crate::core::quorum::NodeSet;
use crate::core::request::{Bytes, NodeId, Request};
use crate::core::time::Now;
use crate::core::validity::{Bounds, lower_bound, upper_bound};

/// How far a lease has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Votes are being collected for this operation.
    Attempt(OpKey),
    /// Acquired, or what became of it.
    Acquired(LeaseState),
}

/// One token and what is known about its keys.
#[derive(Debug, Clone, Hash)]
pub struct Lease {
    /// The lock key.
    pub key: Bytes,
    /// The token of this attempt.
    pub token: Bytes,
    /// Its caller chose it.
    pub is_callers_token: bool,
    /// How far it has come.
    pub stage: Stage,
    /// The votes of its attempt.
    pub votes: Round,
    /// The life last asked for.
    pub ttl_ms: u64,
    /// The longest life ever asked for.
    pub largest_ttl_ms: u64,
    /// Until when each node holds the key.
    pub bounds: Bounds,
    /// Nodes where the key may exist: it was asked for, and not definitely refused.
    pub may_hold: NodeSet,
    /// Of these, the nodes on which a request that gives the key life is unaccounted for.
    pub unsure: NodeSet,
    /// Of these, the nodes on which that is a SET: it may still bring the key there.
    pub set_unaccounted: NodeSet,
    /// Its fencing token, if one was asked for.
    pub fencing: Option<Box<Fencing>>,
    /// A release has been queued; the key must not be set anywhere again.
    pub is_releasing: bool,
    /// Others wanted it when it was acquired.
    pub had_rivals: bool,
    /// Its owner is told at once when it is over.
    pub is_watched: bool,
    /// When the nodes are asked to announce changes of its keys, on the wait clock; `None`: they were, or never are.
    pub arm_at_mono_ns: Option<u64>,
    /// Operations that wait for its end.
    pub loss_waiters: Vec<OpKey>,
    /// It extends itself.
    pub auto: Option<Auto>,
    /// The last extension that reached its quorum: its stragglers' nodes are set again.
    pub confirmed_extension: Option<OpKey>,
}

impl Lease {
    /// An attempt that begins now.
    #[must_use]
    pub fn attempt(op: OpKey, key: Bytes, token: Bytes, ttl_ms: u64, now: Now) -> Lease {
        Lease {
            key,
            token,
            is_callers_token: false,
            stage: Stage::Attempt(op),
            votes: Round::new(now),
            ttl_ms,
            largest_ttl_ms: ttl_ms,
            bounds: Bounds::default(),
            may_hold: NodeSet::default(),
            unsure: NodeSet::default(),
            set_unaccounted: NodeSet::default(),
            fencing: None,
            is_releasing: false,
            had_rivals: false,
            is_watched: false,
            arm_at_mono_ns: None,
            loss_waiters: Vec::new(),
            auto: None,
            confirmed_extension: None,
        }
    }

    /// The node confirmed at `now` that it keeps the key, by a request of life `ttl_ms` queued at `asked`.
    pub fn confirm(&mut self, node: NodeId, asked: Now, ttl_ms: u64, config: &Config) {
        self.bounds.raise(node, lower_bound(asked.lease_ns, ttl_ms, config.drift_ppm));
        self.may_hold.insert(node);
        self.unsure.remove(node);
        self.set_unaccounted.remove(node);
    }

    /// Whether the node executed the SET, or will, is not known.
    pub fn lose_sight_of_set(&mut self, node: NodeId) {
        self.unsure.insert(node);
        self.set_unaccounted.insert(node);
    }

    /// The node definitely does not have the key.
    pub fn deny(&mut self, node: NodeId) {
        self.bounds.clear(node);
        self.may_hold.remove(node);
        self.unsure.remove(node);
        self.set_unaccounted.remove(node);
    }

    /// The node may hold a key of an earlier attempt with the same token.
    pub fn inherit(&mut self, node: NodeId) {
        self.may_hold.insert(node);
        self.unsure.insert(node);
    }

    /// The node refused a SET: it has another's key, or ours from a request that was never accounted for.
    pub fn refuse(&mut self, node: NodeId) {
        if self.unsure.contains(node) {
            self.bounds.clear(node);
        } else {
            self.deny(node);
        }
    }

    /// The node did not have the key when it was asked. A SET that is on its way since then may bring it back.
    pub fn miss(&mut self, node: NodeId) {
        if matches!(self.votes.of(node), Answer::Awaited) || self.set_unaccounted.contains(node) {
            self.bounds.clear(node);
        } else {
            self.deny(node);
        }
    }

    /// Until when the lease may be used.
    #[must_use]
    pub fn valid_until_ns(&self, quorum: usize) -> u64 {
        self.bounds.valid_until(quorum)
    }

    /// It is ours and may be used at `now`.
    #[must_use]
    pub fn is_held(&self, quorum: usize, now: Now) -> bool {
        self.stage == Stage::Acquired(LeaseState::Held) && self.valid_until_ns(quorum) > now.lease_ns
    }

    /// The nodes have been asked to announce changes of its keys.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.is_watched && self.arm_at_mono_ns.is_none()
    }

    /// As its owner sees it.
    #[must_use]
    pub fn view(&self, quorum: usize, now: Now) -> LeaseView {
        let state = match self.stage {
            Stage::Acquired(state) => state,
            Stage::Attempt(_) => LeaseState::Lost,
        };
        LeaseView {
            state,
            valid_until_ns: self.valid_until_ns(quorum),
            node_count_held: self.bounds.count_after(now.lease_ns),
        }
    }

    /// What the node owes once the key is to be removed there.
    #[must_use]
    pub fn pending_release(&self, node: NodeId, now: Now, config: &Config) -> PendingRelease {
        let void_after_lease_ns = if self.unsure.contains(node) && !mutant::is(Mutant::ReleaseVoidTooEarly) {
            u64::MAX
        } else {
            upper_bound(now.lease_ns, self.largest_ttl_ms, config.drift_ppm)
        };
        let (key, token) = (self.key.clone(), self.token.clone());
        PendingRelease { key, token, is_callers_token: self.is_callers_token, void_after_lease_ns }
    }

    /// The token, once it is decided.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.fencing.as_ref().map(|fencing| fencing.token).filter(|&token| token > 0)
    }

    /// What asks a node for its vote.
    #[must_use]
    pub fn vote_request(&self) -> Request {
        let (key, token, ttl_ms) = (self.key.clone(), self.token.clone(), self.ttl_ms);
        match &self.fencing {
            None => Request::Set { key, token, ttl_ms },
            Some(fencing) => {
                let proposal = fencing.token.max(fencing.proposal);
                Request::SetFenced { key, token, ttl_ms, proposal, limit: fencing.limit }
            }
        }
    }

    /// What lengthens the key's life on a node, and carries the counter along.
    #[must_use]
    pub fn extend_request(&self, ttl_ms: u64) -> Request {
        let (key, token) = (self.key.clone(), self.token.clone());
        match self.fence().filter(|_| !mutant::is(Mutant::ExtensionLeavesCounter)) {
            None => Request::Extend { key, token, ttl_ms },
            Some(fence) => Request::ExtendFenced { key, token, ttl_ms, fence },
        }
    }

    /// The node voted with a number below the token, or has not been raised yet.
    #[must_use]
    pub fn is_below_token(&self, node: NodeId) -> bool {
        let is_done = matches!(self.votes.of(node), Answer::Done);
        is_done && self.fencing.as_ref().is_some_and(|fencing| fencing.counters[node] < fencing.token)
    }

    /// When something is to be done about it, on the wait clock.
    #[must_use]
    pub fn next_event(&self, quorum: usize, now: Now) -> Option<u64> {
        let end = now.mono_at_lease(self.valid_until_ns(quorum));
        match &self.auto {
            Some(auto) if auto.op.is_none() => Some(auto.next_mono_ns.min(end)),
            Some(_) => Some(end),
            None => self.is_watched.then_some(self.arm_at_mono_ns.map_or(end, |arm_at| arm_at.min(end))),
        }
    }
}
