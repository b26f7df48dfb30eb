//! Extension: only where the value is still our token, only upward, successful at a quorum with time left.

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{Completion, LeaseKey, LeaseState, OpKey};
use crate::core::report::{Failure, Outcome, Status};
use crate::core::request::{Bytes, NodeId, Reply, Request};
use crate::core::state::lease::Stage;
use crate::core::state::node::ReplyTo;
use crate::core::state::ops::{ExtendOp, Op};
use crate::core::state::round::{Answer, Round};
use crate::core::time::Now;
use crate::core::validity::lower_bound;

impl Machine {
    pub(super) fn submit_extend(
        &mut self,
        cx: &mut Context<'_>,
        lease_key: LeaseKey,
        ttl_ms: u64,
        is_automatic: bool,
    ) -> OpKey {
        let op = self.begin_extension(cx.now, Some(lease_key), ttl_ms, is_automatic);
        let Some(lease) = self.leases.get_mut(lease_key) else {
            self.complete(op, Err(Failure::plain(Status::Closed, "the lease is not known any more")));
            return op;
        };
        if !lease.is_held(self.quorum, cx.now) {
            let was_released = lease.stage == Stage::Acquired(LeaseState::Released);
            let detail = if was_released { "already released" } else { "expired before it was extended" };
            self.publish(cx.now, lease_key);
            self.complete(op, Err(Failure::plain(Status::Lost, detail)));
            return op;
        }
        lease.largest_ttl_ms = lease.largest_ttl_ms.max(ttl_ms);
        let (request, may_hold) = (lease.extend_request(ttl_ms), lease.may_hold);
        for node in 0..self.nodes.len() {
            if may_hold.contains(node) {
                self.ask_extension(cx.now, op, node, request.clone(), Some(lease_key), ttl_ms);
            } else {
                self.note_extension(cx.now, op, node, Answer::Not);
            }
        }
        self.judge_extension(cx, op);
        op
    }

    pub(super) fn submit_extend_token(
        &mut self,
        cx: &mut Context<'_>,
        key: &Bytes,
        token: &Bytes,
        ttl_ms: u64,
    ) -> OpKey {
        let op = self.begin_extension(cx.now, None, ttl_ms, false);
        for node in 0..self.nodes.len() {
            let (key, token) = (key.clone(), token.clone());
            let request = Request::Extend { key, token, ttl_ms };
            self.ask_extension(cx.now, op, node, request, None, ttl_ms);
        }
        self.judge_extension(cx, op);
        op
    }

    fn begin_extension(&mut self, now: Now, lease: Option<LeaseKey>, ttl_ms: u64, is_automatic: bool) -> OpKey {
        self.ops.insert(Op::Extend(ExtendOp { lease, ttl_ms, round: Round::new(now), is_automatic }))
    }

    fn ask_extension(
        &mut self,
        now: Now,
        op: OpKey,
        node: NodeId,
        request: Request,
        lease: Option<LeaseKey>,
        ttl_ms: u64,
    ) {
        let refusal = self.ask(now, node, request, ReplyTo::Extension { op, lease, ttl_ms });
        self.note_extension(now, op, node, refusal.map_or(Answer::Awaited, |fault| Answer::Failed(fault.into())));
    }

    fn note_extension(&mut self, now: Now, op: OpKey, node: NodeId, answer: Answer) {
        if let Some(Op::Extend(extend)) = self.ops.get_mut(op) {
            extend.round.answer(node, answer, now);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an answer with everything its reply_to noted")]
    pub(super) fn on_extension(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        op: OpKey,
        lease_key: Option<LeaseKey>,
        ttl_ms: u64,
        queued: Now,
        reply: Reply,
    ) {
        let is_asked = reply == Reply::Done && !mutant::is(Mutant::ExtensionIgnoresGuard);
        let guarded = if is_asked { self.guarded(cx.now, from) } else { None };
        if let Some(lease_key) = lease_key
            && guarded.is_none()
        {
            self.apply_extension(cx, from, op, lease_key, ttl_ms, queued, &reply);
        }
        let answer = match reply {
            Reply::Done => guarded.map_or(Answer::Done, Answer::Guarded),
            Reply::Not if mutant::is(Mutant::AbsentIsExtended) => Answer::Done,
            Reply::Refused(fault) | Reply::Unclear(fault) => Answer::Failed(fault.into()),
            Reply::Not | Reply::Remaining(_) | Reply::Holder(_) | Reply::Fenced { .. } => Answer::Not,
        };
        self.note_extension(cx.now, op, from, answer);
        self.judge_extension(cx, op);
    }

    /// What the answer means for the lease, whether or not somebody still waits for the extension. A lease that was
    /// over before the answer came stays over, also if keys remain.
    #[expect(clippy::too_many_arguments, reason = "an answer with everything its reply_to noted")]
    fn apply_extension(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        op: OpKey,
        lease_key: LeaseKey,
        ttl_ms: u64,
        queued: Now,
        reply: &Reply,
    ) {
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let queued = if mutant::is(Mutant::ValidFromAnswer) { cx.now } else { queued };
        let was_held = lease.is_held(self.quorum, cx.now) || mutant::is(Mutant::ExtensionRevives);
        match reply {
            Reply::Done if was_held => lease.confirm(from, queued, ttl_ms, &self.config),
            Reply::Not if mutant::is(Mutant::AbsentIsExtended) => lease.confirm(from, queued, ttl_ms, &self.config),
            Reply::Not => lease.miss(from),
            Reply::Unclear(_) => lease.unsure.insert(from),
            Reply::Done | Reply::Refused(_) | Reply::Remaining(_) | Reply::Holder(_) | Reply::Fenced { .. } => {}
        }
        let is_straggler_of_success = lease.confirmed_extension == Some(op);
        self.publish(cx.now, lease_key);
        if *reply == Reply::Not && is_straggler_of_success {
            self.set_again(cx, lease_key, from);
        }
    }

    fn judge_extension(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Extend(extend)) = self.ops.get(op) else { return };
        let (node_count, mut tally) = (self.nodes.len(), extend.round.tally());
        if let Some(lease) = extend.lease.and_then(|lease| self.leases.get(lease)) {
            // A node that extended the key and has lost it since does not count.
            let is_lost = |&node: &NodeId| matches!(extend.round.of(node), Answer::Done) && !lease.bounds.holds(node);
            let lost = (0..node_count).filter(is_lost).count();
            tally.done -= lost;
            tally.not += lost;
        }
        let is_over = match extend.lease {
            Some(lease) => self.leases.get(lease).is_none_or(|lease| !lease.is_held(self.quorum, cx.now)),
            None => {
                let asked_ns = extend.round.asked().lease_ns;
                lower_bound(asked_ns, extend.ttl_ms, self.config.drift_ppm) <= cx.now.lease_ns
            }
        };
        if tally.done >= self.quorum && !is_over {
            return self.extended(cx, op);
        }
        if !is_over && tally.done < self.quorum && tally.done + tally.awaited >= self.quorum {
            return;
        }
        let not_mine = |_: NodeId| Outcome::NotMine;
        let is_lost = is_over || (extend.lease.is_none() && tally.not > node_count - self.quorum);
        let failure = if is_lost {
            Failure { status: Status::Lost, detail: None, nodes: extend.round.reports(node_count, not_mine) }
        } else {
            extend.round.failure(node_count, self.quorum, Status::Unknown, not_mine)
        };
        if mutant::is(Mutant::FailedExtensionReleases)
            && let Some(lease) = extend.lease
        {
            self.give_up_keys(cx, lease);
        }
        self.complete(op, Err(failure));
    }

    /// The mutant's mistake.
    fn give_up_keys(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) {
        let Some(lease) = self.leases.get(lease_key) else { return };
        let pending_releases =
            lease.may_hold.iter().map(|node| (node, lease.pending_release(node, cx.now, &self.config)));
        for (node, release) in pending_releases.collect::<Vec<_>>() {
            self.release_on(cx.now, node, release, None);
        }
    }

    fn extended(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Extend(extend)) = self.ops.get(op) else { return };
        let missing: Vec<NodeId> =
            (0..self.nodes.len()).filter(|&node| matches!(extend.round.of(node), Answer::Not)).collect();
        if let Some(lease_key) = extend.lease {
            let ttl_ms = extend.ttl_ms;
            if let Some(lease) = self.leases.get_mut(lease_key) {
                lease.ttl_ms = ttl_ms;
                lease.confirmed_extension = Some(op);
            }
            for node in missing {
                self.set_again(cx, lease_key, node);
            }
        }
        self.stats.extended += 1;
        self.complete(op, Ok(Completion::Done));
    }

    /// Sets the key again on a node that has lost it. Only once a quorum has confirmed, or two holders could each
    /// gather nodes; never behind a release, or the key would outlive it; and not where another extension has
    /// set it meanwhile, or a SET still waits to be sent: the second would be refused because of the first, and our own key taken for another's.
    fn set_again(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey, node: NodeId) {
        let Some(lease) = self.leases.get(lease_key) else { return };
        let is_set = lease.may_hold.contains(node) || matches!(lease.votes.of(node), Answer::Awaited);
        let is_over = lease.is_releasing || !lease.is_held(self.quorum, cx.now);
        if is_set || is_over && !mutant::is(Mutant::SetAgainBehindRelease) {
            return;
        }
        let ttl_ms = lease.ttl_ms;
        let request = lease.vote_request();
        let refusal = self.ask(cx.now, node, request, ReplyTo::Vote { lease: lease_key, ttl_ms });
        let answer = refusal.map_or(Answer::Awaited, |fault| Answer::Failed(fault.into()));
        self.leases[lease_key].votes.answer(node, answer, cx.now);
    }
}
