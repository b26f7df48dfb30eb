//! Release: compare-and-delete on every node that may hold the key; done at a quorum of deletions.

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{Completion, LeaseKey, LeaseState, OpKey};
use crate::core::report::{Failure, Outcome, Status};
use crate::core::request::{Bytes, NodeId, Reply};
use crate::core::state::lease::Stage;
use crate::core::state::node::PendingRelease;
use crate::core::state::ops::Op;
use crate::core::state::round::{Answer, Round};
use crate::core::state::timers::Sleeper;
use crate::core::validity::upper_bound;

/// How long the release of a lock by token is owed to an unreachable node, where no `max_ttl` was agreed on: nobody
/// told us how long its key lives.
const UNKNOWN_TTL_MS: u64 = 3_600_000;

impl Machine {
    pub(super) fn submit_unlock(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) -> OpKey {
        let op = self.ops.insert(Op::Unlock(Round::new(cx.now)));
        let Some(lease) = self.leases.get_mut(lease_key) else {
            self.complete(op, Err(Failure::plain(Status::Closed, "the lease is not known any more")));
            return op;
        };
        if lease.is_releasing {
            self.complete(op, Err(Failure::plain(Status::Lost, "already released")));
            return op;
        }
        let was_held = lease.is_held(self.quorum, cx.now);
        self.stats.lost += u64::from(!was_held && lease.stage == Stage::Acquired(LeaseState::Held));
        lease.is_releasing = true;
        lease.stage = Stage::Acquired(if was_held { LeaseState::Released } else { LeaseState::Lost });
        let key = lease.key.clone();
        let pending_releases: Vec<(NodeId, PendingRelease)> =
            lease.may_hold.iter().map(|node| (node, lease.pending_release(node, cx.now, &self.config))).collect();
        for (node, release) in pending_releases {
            self.ask_release(cx, op, node, release);
        }
        let others_until_mono_ns = cx.now.mono_ns.saturating_add(self.yield_ns());
        if self.leases.get(lease_key).is_some_and(|lease| lease.had_rivals) {
            self.resources.others_turn(&key, others_until_mono_ns);
        }
        self.resources.let_go(&key, lease_key);
        self.hint_released(&key);
        self.wake_loss_waiters(lease_key);
        self.publish(cx.now, lease_key);
        if was_held {
            self.judge_release(op);
        } else {
            self.complete(op, Err(Failure::plain(Status::Lost, "expired before it was released")));
        }
        op
    }

    pub(super) fn submit_unlock_token(&mut self, cx: &mut Context<'_>, key: &Bytes, token: &Bytes) -> OpKey {
        let op = self.ops.insert(Op::Unlock(Round::new(cx.now)));
        let ttl_ms = self.config.max_ttl_ms.unwrap_or(UNKNOWN_TTL_MS);
        let void_after_lease_ns = upper_bound(cx.now.lease_ns, ttl_ms, self.config.drift_ppm);
        for node in 0..self.nodes.len() {
            let (key, token) = (key.clone(), token.clone());
            let release = PendingRelease { key, token, is_callers_token: true, void_after_lease_ns };
            self.ask_release(cx, op, node, release);
        }
        self.hint_released(key);
        self.judge_release(op);
        op
    }

    fn ask_release(&mut self, cx: &mut Context<'_>, op: OpKey, node: NodeId, release: PendingRelease) {
        let refusal = self.release_on(cx.now, node, release, Some(op));
        if let Some(Op::Unlock(round)) = self.ops.get_mut(op) {
            match refusal {
                None => round.await_answer(node),
                Some(fault) => round.answer(node, Answer::Failed(fault.into()), cx.now),
            }
        }
    }

    pub(super) fn on_release(&mut self, cx: &mut Context<'_>, from: NodeId, op: OpKey, reply: Reply) {
        let Some(Op::Unlock(round)) = self.ops.get_mut(op) else { return };
        let answer = match reply {
            Reply::Done => Answer::Done,
            Reply::Not if mutant::is(Mutant::AbsentIsReleased) => Answer::Done,
            Reply::Refused(fault) | Reply::Unclear(fault) => Answer::Failed(fault.into()),
            Reply::Not | Reply::Remaining(_) | Reply::Holder(_) | Reply::Fenced { .. } => Answer::Not,
        };
        round.answer(from, answer, cx.now);
        self.judge_release(op);
    }

    /// Released at a quorum of deletions. Otherwise the lock was lost before if so many nodes definitely did not have
    /// the key that nobody can have held it; else nobody knows, and what could not be deleted remains owed.
    fn judge_release(&mut self, op: OpKey) {
        let Some(Op::Unlock(round)) = self.ops.get(op) else { return };
        let (node_count, tally) = (self.nodes.len(), round.tally());
        if tally.done >= self.quorum {
            self.stats.released += 1;
            return self.complete(op, Ok(Completion::Done));
        }
        if tally.done + tally.awaited >= self.quorum {
            return;
        }
        let without = node_count - tally.done - tally.awaited - tally.failed;
        let not_mine = |_: NodeId| Outcome::NotMine;
        let failure = if without > node_count - self.quorum {
            Failure { status: Status::Lost, detail: None, nodes: round.reports(node_count, not_mine) }
        } else {
            round.failure(node_count, self.quorum, Status::Unknown, not_mine)
        };
        self.complete(op, Err(failure));
    }

    /// The caller gave the lease back. Nothing is said to any server; the key lives on for its ttl unless it was
    /// released before.
    pub(super) fn forget(&mut self, lease_key: LeaseKey) {
        if let Some(lease) = self.leases.remove(lease_key) {
            self.timers.set(Sleeper::Lease(lease_key), None);
            self.resources.let_go(&lease.key, lease_key);
            self.runnable.extend(lease.loss_waiters);
        }
    }
}
