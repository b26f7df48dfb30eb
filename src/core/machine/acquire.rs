//! Acquisition: attempts, votes, cleaning up, pauses (the Redis "Distributed Locks" page, with early decisions).

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{Completion, LeaseKey, LeaseState, LockParams, OpKey};
use crate::core::report::{Failure, Status};
use crate::core::request::{FaultKind, MAX_NODES, NodeId, Reply};
use crate::core::state::auto::Auto;
use crate::core::state::fencing::Fencing;
use crate::core::state::lease::{Lease, Stage};
use crate::core::state::node::{Link, ReplyTo};
use crate::core::state::ops::{LockOp, Op, Phase};
use crate::core::state::round::{Answer, Round};
use crate::core::state::timers::Sleeper;
use crate::core::state::watch::Watch;
use crate::core::time::{NS_PER_MS, Now};

impl Machine {
    pub(super) fn submit_lock(&mut self, cx: &mut Context<'_>, params: LockParams) -> OpKey {
        let deadline_mono_ns = params.wait_ms.map(|wait_ms| cx.now.mono_after_ms(wait_ms));
        let may_wait = params.wait_ms != Some(0);
        let retries = params.retries.or(self.config.retry_count);
        let key = params.key.clone();
        self.reuses_tokens |= params.token.is_some();
        let op = self.ops.insert(Op::Lock(Box::new(LockOp {
            params,
            submitted: cx.now,
            deadline_mono_ns,
            attempts_left: retries.map(|retries| retries.saturating_add(1)),
            is_queued: may_wait,
            phase: Phase::Eager,
            is_staged: false,
            first_asked: 0,
            was_staged: false,
            has_rivals: false,
            is_woken: false,
            lost_races: 0,
            was_refused: false,
            not_before_mono_ns: None,
            was_cut_off: false,
            watch: Watch::default(),
            last_votes: Round::default(),
            left_ms: [None; MAX_NODES],
        })));
        if may_wait && !self.resources.join(&key, op) {
            self.rest_until(op, Phase::Queued, deadline_mono_ns);
        } else if may_wait && self.resources.is_others_turn(&key, cx.now.mono_ns) {
            self.yield_turn(cx, op);
        } else {
            self.runnable.push_back(op);
        }
        op
    }

    /// The operation was woken: by its timer, by the one before it in the queue, by a push, or by a release nearby.
    pub(super) fn resume_lock(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        match lock.phase {
            Phase::Queued if self.resources.first(&lock.params.key) == Some(op) => self.take_first_place(cx, op),
            Phase::Queued if self.timers.of(Sleeper::Op(op)).is_none() => {
                let detail = "other callers of this handle are waiting for it";
                self.complete(op, Err(Failure::plain(Status::NotAcquired, detail)));
            }
            Phase::Eager | Phase::Pause => self.attempt(cx, op),
            Phase::Settle => self.rest(cx, op),
            Phase::Watch => self.resume_watch(cx, op),
            Phase::Attempt(attempt) if lock.is_staged => self.ask_next_first(cx, op, attempt),
            Phase::Queued | Phase::Attempt(_) | Phase::Explain(_) => {}
        }
    }

    /// First in the queue now. While a lease of this very handle holds the resource, an attempt would only be refused.
    fn take_first_place(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let holder = self.resources.holder(&lock.params.key).and_then(|holder| self.leases.get(holder));
        if holder.is_some_and(|holder| holder.is_held(self.quorum, cx.now)) {
            self.rest(cx, op);
        } else if let Some(not_before) = lock.not_before_mono_ns.filter(|&until| until > cx.now.mono_ns) {
            self.rest_until(op, Phase::Pause, Some(not_before));
        } else {
            self.attempt(cx, op);
        }
    }

    /// Asks the nodes, with a token that was never used before: a late SET of an earlier attempt can then never be
    /// taken for this one's. All nodes at once, unless rivals were seen and a quorum seems to be free: then one of these
    /// first, the same for all rivals.
    pub(super) fn attempt(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let is_callers_token = lock.params.token.is_some() && !mutant::is(Mutant::ReusedToken);
        let token = lock.params.token.clone().unwrap_or_else(|| cx.entropy.token());
        let (key, ttl_ms) = (lock.params.key.clone(), lock.params.ttl_ms);
        let first = lock.watch.first().filter(|_| lock.has_rivals);
        let is_staged = first.is_some();
        lock.first_asked = first.unwrap_or(0);
        if mutant::is(Mutant::ReusedToken) {
            lock.params.token = Some(token.clone());
        }
        lock.attempts_left = lock.attempts_left.map(|left| left.saturating_sub(1));
        let is_fenced = lock.params.fence;
        let mut lease = Lease::attempt(op, key, token, ttl_ms, cx.now);
        lease.is_callers_token = is_callers_token;
        lease.fencing = is_fenced.then(|| Fencing::new(self.propose_fence(cx.now), self.counter_limit(cx.now)));
        let attempt = self.leases.insert(lease);
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        lock.phase = Phase::Attempt(attempt);
        lock.watch.begin_attempt();
        (lock.is_staged, lock.was_staged) = (is_staged, is_staged);
        self.timers.set(Sleeper::Op(op), None);
        self.stats.attempts += 1;
        if is_staged {
            self.ask_next_first(cx, op, attempt);
        } else {
            self.ask_the_rest(cx, attempt);
            self.judge_attempt(cx, op, attempt);
        }
    }

    fn ask_vote(&mut self, cx: &mut Context<'_>, attempt: LeaseKey, node: NodeId) {
        let lease = &self.leases[attempt];
        let (request, ttl_ms) = (lease.vote_request(), lease.ttl_ms);
        let refusal = self.ask(cx.now, node, request, ReplyTo::Vote { lease: attempt, ttl_ms });
        let votes = &mut self.leases[attempt].votes;
        match refusal {
            None => votes.await_answer(node),
            Some(fault) => votes.answer(node, Answer::Failed(fault.into()), cx.now),
        }
    }

    fn ask_the_rest(&mut self, cx: &mut Context<'_>, attempt: LeaseKey) {
        for node in 0..self.nodes.len() {
            if matches!(self.leases[attempt].votes.of(node), Answer::Unasked) {
                self.ask_vote(cx, attempt, node);
            }
        }
    }

    /// The first-asked node, or the next one when it is silent or fails. When nobody is left, the votes decide. The
    /// whole stage may last for one node timeout: one after the other, silent nodes would make an attempt N times as
    /// long, far beyond the caller's wait.
    fn ask_next_first(&mut self, cx: &mut Context<'_>, op: OpKey, attempt: LeaseKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let (count, first) = (self.nodes.len(), lock.first_asked);
        let stage_ends = self.leases[attempt].votes.asked().mono_after_ms(self.config.node_timeout_ms);
        for node in (0..count).map(|step| (first + step) % count) {
            if !matches!(self.leases[attempt].votes.of(node), Answer::Unasked) || cx.now.mono_ns >= stage_ends {
                continue;
            }
            self.ask_vote(cx, attempt, node);
            if matches!(self.leases[attempt].votes.of(node), Answer::Awaited) {
                let due = cx.now.mono_ns.saturating_add(self.hedge_delay_ns(node)).min(stage_ends);
                self.timers.set(Sleeper::Op(op), Some(due));
                return;
            }
        }
        self.end_stage(op);
        self.ask_the_rest(cx, attempt);
        self.judge_attempt(cx, op, attempt);
    }

    fn end_stage(&mut self, op: OpKey) {
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.is_staged = false;
        }
        self.timers.set(Sleeper::Op(op), None);
    }

    /// A node answered a SET. A definite answer that comes after the node was given up still counts: its bound is
    /// measured from the moment of the request. But a lease that had expired by then stays over.
    pub(super) fn on_vote(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        lease_key: LeaseKey,
        ttl_ms: u64,
        queued: Now,
        reply: Reply,
    ) {
        let lease_key = if mutant::is(Mutant::OldVoteCounts) { self.some_open_attempt(lease_key) } else { lease_key };
        let queued = if mutant::is(Mutant::ValidFromAnswer) { cx.now } else { queued };
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let is_expired = lease.stage == Stage::Acquired(LeaseState::Held) && !lease.is_held(self.quorum, cx.now);
        if is_expired && !mutant::is(Mutant::VoteRevives) {
            self.publish(cx.now, lease_key);
        }
        if let Reply::Fenced { time_us, .. } = reply {
            self.learn_time(cx.now, from, queued, time_us);
        }
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let answer = match reply {
            Reply::Done => {
                lease.confirm(from, queued, ttl_ms, &self.config);
                if let Some(fencing) = &mut lease.fencing {
                    fencing.raised(from);
                }
                Answer::Done
            }
            Reply::Fenced { counter, .. } => {
                lease.confirm(from, queued, ttl_ms, &self.config);
                if let Some(fencing) = &mut lease.fencing {
                    fencing.granted(from, counter);
                }
                Answer::Done
            }
            Reply::Unclear(_) if mutant::is(Mutant::TimeoutIsYes) => {
                lease.confirm(from, queued, ttl_ms, &self.config);
                Answer::Done
            }
            Reply::Unclear(_) if mutant::is(Mutant::TimeoutIsNo) => {
                lease.deny(from);
                Answer::Not
            }
            Reply::Refused(_) if mutant::is(Mutant::ErrorIsHeld) => {
                lease.deny(from);
                Answer::Not
            }
            Reply::Refused(fault) => {
                if lease.fencing.as_ref().is_some_and(|fencing| fencing.has_granted(from)) {
                    // It would not raise its counter; the key that it granted before is there all the same.
                    lease.bounds.clear(from);
                } else {
                    lease.deny(from);
                }
                Answer::Failed(fault.into())
            }
            Reply::Unclear(fault) => {
                lease.lose_sight_of_set(from);
                Answer::Failed(fault.into())
            }
            Reply::Not | Reply::Remaining(_) | Reply::Holder(_) => {
                lease.refuse(from);
                Answer::Not
            }
        };
        lease.votes.answer(from, answer, cx.now);
        match lease.stage {
            Stage::Attempt(op) => self.judge_attempt(cx, op, lease_key),
            Stage::Acquired(_) => {
                self.discount_unfit_votes(cx.now, lease_key);
                self.raise_those_below(cx, lease_key);
                self.publish(cx.now, lease_key);
            }
        }
    }

    /// Takes back what nodes confirmed that must not count.
    fn discount_unfit_votes(&mut self, now: Now, lease_key: LeaseKey) {
        if mutant::is(Mutant::UnfitVotesCount) {
            return;
        }
        for node in 0..self.nodes.len() {
            if !self.leases.get(lease_key).is_some_and(|lease| matches!(lease.votes.of(node), Answer::Done)) {
                continue;
            }
            let why = self.guarded(now, node).map(Answer::Guarded);
            let why = why.or_else(|| Some(Answer::Failed(self.incredible(now, lease_key, node)?.into())));
            if let Some(why) = why {
                let lease = &mut self.leases[lease_key];
                lease.bounds.clear(node);
                lease.votes.revise(node, why);
            }
        }
    }

    /// The mutant's mistake: which attempt a vote belongs to is guessed.
    fn some_open_attempt(&self, asked: LeaseKey) -> LeaseKey {
        let mut open = self.leases.iter().filter(|(_, lease)| matches!(lease.stage, Stage::Attempt(_)));
        if self.leases.contains_key(asked) { asked } else { open.next().map_or(asked, |(key, _)| key) }
    }

    /// Decides as soon as the outcome is certain: stragglers cannot change it any more.
    pub(super) fn judge_attempt(&mut self, cx: &mut Context<'_>, op: OpKey, attempt: LeaseKey) {
        let Some(lease) = self.leases.get(attempt) else { return };
        let tally = lease.votes.tally();
        if let Some(Op::Lock(lock)) = self.ops.get(op)
            && lock.is_staged
        {
            if matches!(lease.votes.of(lock.first_asked), Answer::Not) {
                // It seemed to be free: a rival was faster.
                self.attempt_failed(cx, op, attempt);
            } else if tally.done + tally.not > 0 {
                self.end_stage(op);
                self.ask_the_rest(cx, attempt);
                self.judge_attempt(cx, op, attempt);
            } else if tally.awaited == 0 {
                self.ask_next_first(cx, op, attempt);
            }
            return;
        }
        if tally.done < self.quorum && tally.done + tally.awaited >= self.quorum {
            return;
        }
        // Not before: by now as many clocks are known as there are votes.
        self.discount_unfit_votes(cx.now, attempt);
        let tally = self.leases[attempt].votes.tally();
        if tally.done >= self.quorum {
            if !self.settle_fence(cx, attempt) {
                return self.judge_attempt(cx, op, attempt);
            }
            let lease = &self.leases[attempt];
            if lease.valid_until_ns(self.quorum) > cx.now.lease_ns {
                self.acquired(cx, op, attempt);
            } else {
                self.attempt_failed(cx, op, attempt);
            }
        } else if tally.done + tally.awaited < self.quorum {
            self.attempt_failed(cx, op, attempt);
        }
    }

    fn acquired(&mut self, cx: &mut Context<'_>, op: OpKey, acquired: LeaseKey) {
        let lease = &mut self.leases[acquired];
        lease.stage = Stage::Acquired(LeaseState::Held);
        let (token, fence) = (lease.token.clone(), lease.fence());
        let view = lease.view(self.quorum, cx.now);
        self.resources.hold(&lease.key, acquired);
        self.stats.acquired += 1;
        if let Some(Op::Lock(lock)) = self.ops.get(op) {
            lease.had_rivals = lock.has_rivals;
            self.stats.acquire_ns_sum += cx.now.mono_ns.saturating_sub(lock.submitted.mono_ns);
            if lock.params.auto_extend {
                lease.auto = Some(Auto::new(lock.params.ttl_ms, lock.params.max_hold_ms, cx.now));
            }
            if lock.params.auto_extend {
                self.watch_lease(cx, acquired);
                self.plan_extension(cx.now, acquired);
            } else if lock.params.watch {
                self.watch_lease_later(cx.now, acquired);
            }
        }
        self.complete(op, Ok(Completion::Locked { lease: acquired, token, fence, view }));
    }

    fn attempt_failed(&mut self, cx: &mut Context<'_>, op: OpKey, attempt: LeaseKey) {
        let votes = self.leases[attempt].votes.clone();
        self.abandon(cx, attempt);
        let (node_count, quorum) = (self.nodes.len(), self.quorum);
        let is_cut_off = self.is_cut_off(&votes);
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let tally = votes.tally();
        lock.last_votes = votes;
        if is_cut_off && !std::mem::replace(&mut lock.was_cut_off, true) {
            // Not before the other connections have been looked at: they may have ended as well.
            return self.rest_until(op, Phase::Pause, Some(cx.now.mono_ns));
        }
        self.stats.contended += u64::from(tally.not > 0);
        let is_hopeless = tally.failure_status(node_count, quorum) == Some(Status::Config);
        let has_time = lock.deadline_mono_ns.is_none_or(|deadline| cx.now.mono_ns < deadline);
        let may_retry = lock.attempts_left.is_none_or(|left| left > 0) && has_time && !is_hopeless;
        if may_retry {
            self.wait(cx, op);
        } else if lock.params.explain && tally.not > 0 {
            self.explain(cx, op);
        } else {
            self.give_up(cx, op);
        }
    }

    /// What kept the attempt from its quorum are connections that ended under its requests: closed over night, killed by
    /// an administrator, cut by a middlebox. New ones are being made. Whether the servers executed the requests is
    /// unknown, so that nothing may be sent twice, but another attempt, with a token of its own, is as good as the first
    /// would have been a moment later.
    fn is_cut_off(&self, votes: &Round) -> bool {
        let is_unreachable =
            |node: NodeId| matches!(votes.of(node), Answer::Failed(fault) if fault.kind == FaultKind::Unreachable);
        let is_cut_off = |&node: &NodeId| self.nodes[node].link == Link::Connecting && is_unreachable(node);
        let (node_count, tally) = (self.nodes.len(), votes.tally());
        let cut_off = (0..node_count).filter(is_cut_off).count();
        tally.failure_status(node_count, self.quorum) == Some(Status::NoQuorum)
            && tally.done + tally.awaited + cut_off >= self.quorum
    }

    /// Leaves no key of this attempt behind, on any node that may hold one.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>, attempt: LeaseKey) {
        let Some(lease) = self.leases.remove(attempt) else { return };
        if mutant::is(Mutant::AttemptNotCleaned) {
            return;
        }
        for node in lease.may_hold.iter() {
            let release = lease.pending_release(node, cx.now, &self.config);
            self.release_on(cx.now, node, release, None);
        }
    }

    /// The report of the last attempt is what the caller gets.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let votes = &lock.last_votes;
        let status = votes.tally().failure_status(self.nodes.len(), self.quorum).unwrap_or(Status::NotAcquired);
        let detail = (votes.tally().done >= self.quorum).then(|| {
            let took_ms = cx.now.mono_ns.saturating_sub(votes.asked().mono_ns) / NS_PER_MS;
            format!("granted after {took_ms} ms, too late for a ttl of {} ms", lock.params.ttl_ms).into()
        });
        let nodes = lock.reports(votes, self.nodes.len());
        self.complete(op, Err(Failure { status, detail, nodes }));
    }
}
