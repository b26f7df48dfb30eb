//! Whom we let vote: every node must be a master of its own, and must have been running for so long that no lease which
//! it may have forgotten is still in use.
//!
//! The second rule is what the Redis page "Distributed Locks" calls delayed restarts, enforced by the client because no
//! server does it. Restarts with data count too: nobody can tell from outside how much of the append-only file was
//! written. A guarded node gets every request, so that it knows the holders by the time it votes again, but what it
//! answers counts for nothing. Time is measured on the wait clock: lease time may jump forward, which ends leases early
//! but would end this wait early as well.

use super::{Context, Machine};
use crate::core::config::RestartGuard;
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{LeaseKey, LeaseState, Operation};
use crate::core::report::Milliseconds;
use crate::core::request::{Fault, FaultKind, NodeId, ServerInfo};
use crate::core::state::lease::Stage;
use crate::core::state::node::Link;
use crate::core::state::process::{Process, is_evicting};
use crate::core::state::round::Answer;
use crate::core::time::{NS_PER_MS, Now};
use crate::core::validity::upper_bound;

/// The age that a server claims is believed in strict mode while the clocks of a quorum, its own included, are at most
/// this far from its own: one that was stepped since it started (on a machine that has just booted) makes any age look
/// possible. Not the median: while some nodes are unknown, it may be the clock of a minority that is wrong.
const CLOCK_SKEW_MAX_US: u64 = 500_000;

/// A node whose votes do not count yet.
struct Guard {
    /// How long it has been running, at least.
    age_ns: u64,
    /// For how long its votes will not count.
    left_ns: u64,
    /// Whether its age is what it claims.
    is_claim_believed: bool,
}

impl Machine {
    /// Why the server that just answered at `node` cannot be one of the N independent masters.
    pub(super) fn unfit(&self, node: NodeId, info: &ServerInfo) -> Option<Fault> {
        let permanent = |text: String| Some(Fault::new(FaultKind::Permanent, text));
        if info.is_replica {
            return permanent("is a replica; every node must be an independent master".to_owned());
        }
        let is_twin = |&other: &NodeId| {
            other != node && self.nodes[other].link == Link::Up && self.nodes[other].run_id == info.run_id
        };
        if let Some(twin) = (0..self.nodes.len()).find(is_twin).filter(|_| !info.run_id.is_empty()) {
            return permanent(format!("is the same server as node {}", twin + 1));
        }
        if self.config.restart_guard != RestartGuard::Strict {
            return None;
        }
        if info.run_id.is_empty() {
            return permanent("hides INFO, by which the strict restart guard knows it (+info)".to_owned());
        }
        if is_evicting(&info.maxmemory_policy) {
            let policy = &info.maxmemory_policy;
            return permanent(format!(
                "evicts keys when its memory is full (maxmemory-policy {policy}, not noeviction)"
            ));
        }
        None
    }

    /// What ttl the servers may have been asked for: kept for handles without a `max_ttl`.
    pub(super) fn note_ttl(&mut self, operation: &Operation) {
        let ttl_ms = match operation {
            Operation::Lock(params) => params.ttl_ms,
            Operation::Extend { ttl_ms, .. } | Operation::ExtendToken { ttl_ms, .. } => *ttl_ms,
            _ => 0,
        };
        self.largest_ttl_ms = self.largest_ttl_ms.max(ttl_ms);
    }

    /// Who answers at this node now, before it is asked anything. A process that this handle does not know cannot have
    /// confirmed anything, in whatever mode.
    pub(super) fn meet(&mut self, cx: &mut Context<'_>, at: NodeId, info: &ServerInfo) {
        let connect_timeout_ns = self.config.connect_timeout_ms.saturating_mul(NS_PER_MS);
        let node = &mut self.nodes[at];
        let is_known = node.connections > 0 && node.run_id == info.run_id;
        // One that hid its `run_id` is a predecessor as well: the process that shows it now may be another.
        let predecessor = (node.connections > 0).then_some(node.alive_mono_ns);
        // It answered some time after the connection was begun.
        node.alive_mono_ns = node.alive_mono_ns.max(cx.now.mono_ns.saturating_sub(connect_timeout_ns));
        if is_known {
            return;
        }
        node.process = Process::met(cx.now, info, predecessor);
        if predecessor.is_some() {
            self.revoke(cx, at, "restarted meanwhile");
        }
    }

    /// The node may have forgotten everything: its confirmations are void until it confirms again. What it was asked
    /// to release remains owed, for it may have kept everything as well.
    pub(super) fn revoke(&mut self, cx: &mut Context<'_>, restarted: NodeId, why: &str) {
        let fault = Fault::new(FaultKind::Refused, why);
        for key in self.leases.keys().collect::<Vec<LeaseKey>>() {
            let is_attempt = self.leases.get(key).is_some_and(|lease| matches!(lease.stage, Stage::Attempt(_)));
            if mutant::is(Mutant::NothingRevoked) || is_attempt && mutant::is(Mutant::AttemptsNotRevoked) {
                continue;
            }
            let Some(lease) = self.leases.get_mut(key) else { continue };
            let had_bound = lease.bounds.clear(restarted);
            match lease.stage {
                Stage::Attempt(op) if matches!(lease.votes.of(restarted), Answer::Done) => {
                    lease.votes.answer(restarted, Answer::Failed(fault.clone().into()), cx.now);
                    self.judge_attempt(cx, op, key);
                }
                Stage::Acquired(LeaseState::Held) if had_bound => self.publish(cx.now, key),
                Stage::Attempt(_) | Stage::Acquired(_) => {}
            }
        }
    }

    /// Why what this node says does not count yet. Once it counts it does so for good: a longer ttl that is used for
    /// the first time later says nothing about what was forgotten before.
    pub(super) fn guarded(&mut self, now: Now, node: NodeId) -> Option<Box<str>> {
        let reason = self.doubt(now, node);
        self.nodes[node].process.is_cleared |= reason.is_none();
        reason
    }

    /// Until when, on the wait clock, if nothing is asked for that lasts longer.
    pub(super) fn guarded_until(&self, now: Now, node: NodeId) -> Option<u64> {
        self.guard(now, node).map(|guard| now.mono_ns.saturating_add(guard.left_ns))
    }

    fn doubt(&self, now: Now, node: NodeId) -> Option<Box<str>> {
        let Guard { age_ns, left_ns, is_claim_believed } = self.guard(now, node)?;
        let verb = if self.nodes[node].process.is_successor { "restarted" } else { "may have restarted" };
        let (age, left) = (Milliseconds(age_ns / NS_PER_MS), Milliseconds(left_ns.div_ceil(NS_PER_MS)));
        let why = if is_claim_believed { "" } else { " (its clock is not the others', so its uptime is not believed)" };
        Some(format!("{verb} {age} ago{why}; no vote for {left} more").into())
    }

    fn guard(&self, now: Now, node: NodeId) -> Option<Guard> {
        let process = &self.nodes[node].process;
        let is_doubtful = match self.config.restart_guard {
            RestartGuard::Off => false,
            RestartGuard::Seen => process.is_successor,
            RestartGuard::Strict => true,
        };
        if process.is_cleared || !is_doubtful || mutant::is(Mutant::GuardOff) {
            return None;
        }
        let ttl_ms = self.config.max_ttl_ms.unwrap_or(self.largest_ttl_ms);
        let ttl_ms = if mutant::is(Mutant::GuardHalf) { ttl_ms / 2 } else { ttl_ms };
        let needed_ns = upper_bound(0, ttl_ms, self.config.drift_ppm);
        let is_claim_believed = self.config.restart_guard != RestartGuard::Strict || self.is_clock_right(now, node);
        let age_ns = process.age_ns(now, is_claim_believed);
        let left_ns = needed_ns.checked_sub(age_ns).filter(|&left_ns| left_ns > 0)?;
        Some(Guard { age_ns, left_ns, is_claim_believed })
    }

    fn is_clock_right(&self, now: Now, node: NodeId) -> bool {
        let Some(time_us) = self.node_time_us(node, now) else { return false };
        let others = (0..self.nodes.len()).filter_map(|other| self.node_time_us(other, now));
        let agreeing = others.filter(|other_us| other_us.abs_diff(time_us) <= CLOCK_SKEW_MAX_US).count();
        agreeing >= self.quorum || mutant::is(Mutant::ClockBelieved)
    }

    /// What a person should know about this node, if anything: why it does not vote, or what is wrong with it.
    #[must_use]
    pub fn node_note(&self, now: Now, node: NodeId) -> Option<Box<str>> {
        let state = &self.nodes[node];
        if state.link != Link::Up {
            return Some(state.why_down().text);
        }
        if let Some(fault) = state.refusal(now) {
            return Some(fault.text);
        }
        self.doubt(now, node).or_else(|| {
            let process = &state.process;
            let eviction = &process.eviction;
            if !eviction.is_empty() {
                Some(format!("may evict locks when its memory is full (maxmemory-policy {eviction})").into())
            } else if process.is_nameless && self.config.restart_guard != RestartGuard::Off {
                Some("hides INFO (+info): its restarts cannot be seen".into())
            } else {
                None
            }
        })
    }
}
