//! The loss of a lease, and who is told: the local deadline, definite answers, and pushes about the holder's own keys.

use super::{Context, Machine};
use crate::core::operation::{Completion, LeaseKey, LeaseState, OpKey, Output};
use crate::core::report::{Failure, Status};
use crate::core::request::{Bytes, NodeId, Reply, Request};
use crate::core::state::lease::{Lease, Stage};
use crate::core::state::node::ReplyTo;
use crate::core::state::ops::{Op, WaitLostOp};
use crate::core::state::timers::Sleeper;
use crate::core::time::Now;

/// A lease of the event loop is watched once it has been held for this share of its ttl, within these bounds.
const ARMING_SHARE: u64 = 40;
const ARMING_MIN_MS: u64 = 5;
const ARMING_MAX_MS: u64 = 100;

impl Machine {
    /// Waits until the lease is over.
    pub(super) fn submit_wait_lost(
        &mut self,
        cx: &mut Context<'_>,
        lease_key: LeaseKey,
        wait_ms: Option<u64>,
    ) -> OpKey {
        let op = self.ops.insert(Op::WaitLost(WaitLostOp { lease: lease_key, is_due: wait_ms == Some(0) }));
        self.timers.set(Sleeper::Op(op), wait_ms.map(|wait_ms| cx.now.mono_after_ms(wait_ms)));
        if let Some(lease) = self.leases.get_mut(lease_key) {
            lease.loss_waiters.push(op);
        }
        self.watch_lease(cx, lease_key);
        self.runnable.push_back(op);
        op
    }

    pub(super) fn resume_wait_lost(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::WaitLost(wait)) = self.ops.get(op) else { return };
        let (is_due, lease_key) = (wait.is_due, wait.lease);
        self.publish(cx.now, lease_key);
        let stage = self.leases.get(lease_key).map(|lease| lease.stage);
        match stage {
            Some(Stage::Acquired(LeaseState::Held)) if is_due => self.complete(op, Ok(Completion::Done)),
            Some(Stage::Acquired(LeaseState::Held)) => {}
            Some(Stage::Acquired(LeaseState::Released)) => {
                self.complete(op, Err(Failure::plain(Status::Lost, "already released")));
            }
            _ => self.complete(op, Err(Failure { status: Status::Lost, detail: None, nodes: Vec::new() })),
        }
    }

    /// From now on the owner is told at once when the lease is over: the deadline gets a timer, and the nodes
    /// announce changes of the keys.
    pub(super) fn watch_lease(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) {
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        if lease.is_armed() {
            return;
        }
        lease.is_watched = true;
        self.arm_lease(cx, lease_key);
        self.schedule_lease(cx.now, lease_key);
    }

    /// The same, but the nodes are asked only if the lease is still held a while later: one that is released soon costs
    /// no request. What has happened by then is found by the first look at the keys.
    pub(super) fn watch_lease_later(&mut self, now: Now, lease_key: LeaseKey) {
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let delay_ms = (lease.ttl_ms / ARMING_SHARE).clamp(ARMING_MIN_MS, ARMING_MAX_MS);
        lease.is_watched = true;
        lease.arm_at_mono_ns = Some(now.mono_after_ms(delay_ms));
        self.schedule_lease(now, lease_key);
    }

    /// Has the nodes announce changes of the lease's keys, and looks at what they are now.
    pub(super) fn arm_lease(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) {
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        lease.arm_at_mono_ns = None;
        for node in lease.may_hold.iter() {
            self.check(cx, lease_key, node);
        }
    }

    /// Asks a node whether the key still has our token, and to announce when that changes.
    pub(super) fn check(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey, node: NodeId) {
        let Some(lease) = self.leases.get(lease_key) else { return };
        let is_held = lease.is_held(self.quorum, cx.now) && !lease.is_releasing;
        let is_watchable = self.nodes[node].tracks && self.nodes[node].is_up() && lease.may_hold.contains(node);
        if is_held && is_watchable {
            let request = Request::Holder { key: lease.key.clone() };
            self.ask(cx.now, node, Request::Track, ReplyTo::Tracking);
            self.ask(cx.now, node, request, ReplyTo::Check(lease_key));
        }
    }

    /// A push said that a key of ours changed – perhaps by our own extension. The node is asked, not the push believed.
    pub(super) fn check_again(&mut self, cx: &mut Context<'_>, key: &Bytes, node: NodeId) {
        if let Some(lease_key) = self.resources.holder(key)
            && self.leases.get(lease_key).is_some_and(Lease::is_armed)
        {
            self.check(cx, lease_key, node);
        }
    }

    pub(super) fn on_checked(&mut self, cx: &mut Context<'_>, from: NodeId, lease_key: LeaseKey, reply: &Reply) {
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let is_ours = match reply {
            Reply::Holder(token) => *token == lease.token,
            Reply::Not => false,
            Reply::Done | Reply::Fenced { .. } | Reply::Remaining(_) | Reply::Refused(_) | Reply::Unclear(_) => return,
        };
        if !is_ours {
            lease.miss(from);
            self.publish(cx.now, lease_key);
        }
    }

    /// Tells the owner what became of the lease, and notices that it is over.
    pub(super) fn publish(&mut self, now: Now, lease_key: LeaseKey) {
        let Some(lease) = self.leases.get(lease_key) else { return };
        if matches!(lease.stage, Stage::Attempt(_)) {
            return;
        }
        if lease.stage == Stage::Acquired(LeaseState::Held) && !lease.is_held(self.quorum, now) {
            self.lease_is_over(lease_key);
        }
        let view = self.leases[lease_key].view(self.quorum, now);
        self.emit(Output::Lease { lease: lease_key, view });
        self.schedule_lease(now, lease_key);
    }

    /// The owner saw the deadline pass: whatever the nodes still say, the lease is over.
    pub(super) fn lease_expired(&mut self, now: Now, lease_key: LeaseKey) {
        if self.leases.get(lease_key).is_some_and(|lease| lease.stage == Stage::Acquired(LeaseState::Held)) {
            self.lease_is_over(lease_key);
            self.publish(now, lease_key);
        }
    }

    fn lease_is_over(&mut self, lease_key: LeaseKey) {
        let lease = &mut self.leases[lease_key];
        lease.stage = Stage::Acquired(LeaseState::Lost);
        let key = lease.key.clone();
        self.stats.lost += 1;
        self.resources.let_go(&key, lease_key);
        self.wake_loss_waiters(lease_key);
    }

    /// Whoever waits for the end of this lease looks again.
    pub(super) fn wake_loss_waiters(&mut self, lease_key: LeaseKey) {
        if let Some(lease) = self.leases.get(lease_key) {
            self.runnable.extend(&lease.loss_waiters);
        }
    }
}
