//! Fencing tokens over N masters: numbers that grow from one holder to the next, for the resource to reject whoever
//! comes late with a smaller one (Martin Kleppmann, "How to do distributed locking", 2016).
//!
//! Every node keeps a counter beside the lock key. Its vote sets the counter to something above what it was – to our
//! proposal, if that is – and tells it. When all voters of a quorum agree, their number is the token. Otherwise the
//! token is the largest of them, and every voter that is below it must be raised before the lock is ours.
//!
//! Why tokens grow: a quorum of nodes had the earlier holder's key and a counter of at least its token, both at once.
//! A later holder's voters share a node with them, where its vote came after that moment: while its own key is there
//! the other cannot be, and it counts a node only as long as its key is certainly there. That vote exceeds the earlier
//! token, and the token is no smaller than any vote. No clock takes part in this; clocks only make the voters agree.
//! When counters are lost, the node's time takes their place: this is why restarted nodes are guarded for as long as
//! clocks may differ, and why nobody's clock or counter may be further ahead.

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{LeaseKey, LeaseState};
use crate::core::report::Milliseconds;
use crate::core::request::{Fault, FaultKind, MAX_NODES, NodeId};
use crate::core::state::lease::Stage;
use crate::core::state::node::ReplyTo;
use crate::core::state::round::Answer;
use crate::core::time::Now;

/// How far a clock or counter may be ahead of the nodes' median where no `max_ttl` was agreed on.
const AHEAD_MAX_MS: u64 = 10_000;

/// A proposal is so much above the newest time known: the request takes a moment, and a node without a counter would
/// otherwise answer with its own later time, so that the voters disagree.
pub(super) const LEAD_US: u64 = 2_000;

const US_PER_MS: u64 = 1_000;

/// Counters stay below this: Lua's numbers are doubles.
const COUNTER_MAX: u64 = 1 << 53;

impl Machine {
    /// A number that all voters will most likely accept as it is: above every token that this handle has seen, whatever
    /// it was for – which costs no memory per resource – and above every node's time.
    pub(super) fn propose_fence(&self, now: Now) -> u64 {
        let newest_us = self.median_time_us(now).map_or(0, |median_us| {
            let limit_us = median_us.saturating_add(self.ahead_max_us());
            let times = self.nodes.iter().filter_map(|node| node.time.at(now));
            times.filter(|&time_us| time_us <= limit_us).max().unwrap_or(median_us).saturating_add(LEAD_US)
        });
        newest_us.max(self.highest_fence.saturating_add(1))
    }

    /// Counters above this will not be believed when their votes come: the bound of [`Machine::incredible`], with as much
    /// again for the time that passes until then.
    pub(super) fn counter_limit(&self, now: Now) -> u64 {
        self.median_time_us(now).map_or(COUNTER_MAX, |median_us| {
            let under_way_us = self.config.stall_timeout_ms.saturating_mul(US_PER_MS);
            median_us.saturating_add(self.ahead_max_us().saturating_mul(2)).saturating_add(under_way_us)
        })
    }

    /// Why the counter that came with this node's vote cannot be believed. One clock that was wrong for a moment would
    /// otherwise set the counter for ever. Asked once per vote.
    pub(super) fn incredible(&mut self, now: Now, lease_key: LeaseKey, node: NodeId) -> Option<Fault> {
        let fencing = self.leases.get(lease_key)?.fencing.as_ref()?;
        let counter = fencing.counters[node];
        let limit_us = self.median_time_us(now)?.saturating_add(self.ahead_max_us());
        if fencing.credible.contains(node) || counter == 0 || mutant::is(Mutant::EveryCounterCredible) {
            return None;
        }
        let ahead_of_limit = |us: u64| us.checked_sub(limit_us).filter(|&us| us > 0);
        let ahead = |us: u64| Milliseconds((us.saturating_add(self.ahead_max_us())) / US_PER_MS);
        let clock_us = self.node_time_us(node, now).unwrap_or(0);
        if let Some(us) = ahead_of_limit(clock_us) {
            let text = format!("its clock is {} ahead of the nodes' median", ahead(us));
            return Some(Fault::new(FaultKind::Refused, text));
        }
        if let Some(us) = ahead_of_limit(counter) {
            let text = format!("its fencing counter is {} ahead of the nodes' clocks", ahead(us));
            return Some(Fault::new(FaultKind::Refused, text));
        }
        if let Some(fencing) = self.leases.get_mut(lease_key).and_then(|lease| lease.fencing.as_mut()) {
            fencing.credible.insert(node);
        }
        None
    }

    /// A quorum has voted: decides the token. False while nodes are being raised to it; their answers are votes. One that
    /// votes meanwhile may take the place of one that is being raised: the quorum that counts in the end is another then,
    /// and the token must not be less than any of its votes either.
    pub(super) fn settle_fence(&mut self, cx: &mut Context<'_>, attempt: LeaseKey) -> bool {
        let Some(lease) = self.leases.get_mut(attempt) else { return false };
        let Some(fencing) = lease.fencing.as_mut() else { return true };
        let voters = (0..MAX_NODES).filter(|&node| matches!(lease.votes.of(node), Answer::Done));
        let votes = voters.map(|node| fencing.counters[node]);
        let decisive_vote = if mutant::is(Mutant::LowestVoteIsToken) { votes.min() } else { votes.max() };
        fencing.token = fencing.token.max(decisive_vote.unwrap_or(fencing.proposal));
        self.highest_fence = self.highest_fence.max(fencing.token);
        mutant::is(Mutant::NobodyRaised) || !self.raise_those_below(cx, attempt)
    }

    /// Raises the counters of the nodes that granted the key with a number below the token: until then they do not
    /// count, neither for the quorum nor for the validity. True if there were any.
    pub(super) fn raise_those_below(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) -> bool {
        let mut were_any = false;
        for node in 0..self.nodes.len() {
            let Some(lease) = self.leases.get_mut(lease_key).filter(|lease| lease.is_below_token(node)) else {
                continue;
            };
            were_any = true;
            lease.bounds.clear(node);
            let is_wanted = match lease.stage {
                Stage::Attempt(_) => true,
                Stage::Acquired(state) => state == LeaseState::Held && !lease.is_releasing,
            };
            let (request, ttl_ms) = (lease.extend_request(lease.ttl_ms), lease.ttl_ms);
            lease.votes.revise(node, Answer::Awaited);
            if let Some(fencing) = lease.fencing.as_mut() {
                fencing.wanted[node] = fencing.token;
            }
            if is_wanted
                && let Some(fault) = self.ask(cx.now, node, request, ReplyTo::Vote { lease: lease_key, ttl_ms })
            {
                self.leases[lease_key].votes.answer(node, Answer::Failed(fault.into()), cx.now);
            }
        }
        were_any
    }

    fn ahead_max_us(&self) -> u64 {
        self.config.max_ttl_ms.unwrap_or(AHEAD_MAX_MS).saturating_mul(US_PER_MS)
    }
}
