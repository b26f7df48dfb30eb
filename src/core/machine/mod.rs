//! The state machine: submit operations, feed inputs, collect outputs.
//!
//! The driver calls [`Machine::submit`] and [`Machine::handle`], then [`Machine::poll_output`] until it is empty, and
//! [`Input::Tick`] when [`Machine::next_deadline`] is due – after having handled everything that arrived before it.
//! This file owns the state and says who is told what. The way of a request to a node and of its answer back is in
//! `requests.rs`; what the operations mean is in the files named after them.

use std::collections::VecDeque;

use slotmap::SlotMap;

use crate::core::config::Config;
use crate::core::entropy::Entropy;
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{Completion, Input, LeaseKey, OpKey, Operation, Output};
use crate::core::quorum::quorum;
use crate::core::report::{Failure, Status};
use crate::core::request::{NodeId, RequestKind};
use crate::core::state::lease::Lease;
use crate::core::state::node::{Link, Node};
use crate::core::state::ops::{ExtendOp, Op};
use crate::core::state::resources::Resources;
use crate::core::state::timers::{Sleeper, Timers};
use crate::core::stats::Stats;
use crate::core::time::{NS_PER_MS, Now};

mod acquire;
mod auto;
pub mod census;
mod clocks;
mod extend;
mod fence;
mod guard;
mod inspect;
mod loss;
mod ready;
mod release;
mod requests;
mod state_hash;
#[cfg(test)]
mod tests;
mod wait;

/// What a step of the machine is given: the time, and randomness.
pub struct Context<'a> {
    /// Both clocks, read just before this step.
    pub now: Now,
    /// Tokens and jitter.
    pub entropy: &'a mut dyn Entropy,
}

/// All state of one handle's algorithm.
#[derive(Debug, Clone)]
pub struct Machine {
    config: Config,
    quorum: usize,
    nodes: Vec<Node>,
    ops: SlotMap<OpKey, Op>,
    leases: SlotMap<LeaseKey, Lease>,
    resources: Resources,
    timers: Timers,
    runnable: VecDeque<OpKey>,
    /// Extensions that nobody asked for, and how they ended.
    extended_alone: VecDeque<(LeaseKey, Result<(), Failure>)>,
    stats: Stats,
    /// The largest fencing token that this handle has seen, for whatever resource.
    highest_fence: u64,
    /// The largest ttl that this handle has been asked for.
    largest_ttl_ms: u64,
    /// A caller has chosen a token itself.
    reuses_tokens: bool,
    out: VecDeque<Output>,
    /// How far lease time was ahead of the wait clock when the timers of the leases were set.
    lease_ahead_ns: u64,
    /// When that was noticed last, on the wait clock.
    leapt_mono_ns: u64,
}

impl Machine {
    /// A machine whose nodes are all unconnected.
    #[must_use]
    pub fn new(config: Config) -> Machine {
        Machine {
            quorum: quorum(config.node_count),
            nodes: (0..config.node_count).map(|_| Node::new(config.limits)).collect(),
            config,
            ops: SlotMap::with_key(),
            leases: SlotMap::with_key(),
            resources: Resources::default(),
            timers: Timers::default(),
            runnable: VecDeque::new(),
            extended_alone: VecDeque::new(),
            stats: Stats::default(),
            highest_fence: 0,
            largest_ttl_ms: 0,
            reuses_tokens: false,
            out: VecDeque::new(),
            lease_ahead_ns: 0,
            leapt_mono_ns: 0,
        }
    }

    /// Begins an operation. It may already be completed when this returns; its [`Output::Completed`] says so.
    pub fn submit(&mut self, cx: &mut Context<'_>, operation: Operation) -> OpKey {
        self.note_ttl(&operation);
        let op = match operation {
            Operation::Lock(params) => self.submit_lock(cx, params),
            Operation::Unlock { lease } => self.submit_unlock(cx, lease),
            Operation::UnlockToken { key, token } => self.submit_unlock_token(cx, &key, &token),
            Operation::Extend { lease, ttl_ms } => self.submit_extend(cx, lease, ttl_ms, false),
            Operation::ExtendToken { key, token, ttl_ms } => self.submit_extend_token(cx, &key, &token, ttl_ms),
            Operation::Inspect { key } => self.submit_inspect(cx, &key),
            Operation::WaitLost { lease, wait_ms } => self.submit_wait_lost(cx, lease, wait_ms),
            Operation::Ready { wait_ms } => self.submit_ready(cx, wait_ms),
        };
        self.run(cx);
        op
    }

    /// Something happened.
    pub fn handle(&mut self, cx: &mut Context<'_>, input: Input) {
        match input {
            Input::Dialing { node } => self.nodes[node].dialing(cx.now),
            Input::Up { node, info } => self.node_up(cx, node, info),
            Input::Down { node, fault } => self.node_down(cx, node, fault),
            Input::Reply { node, reply } => self.node_replied(cx, node, reply),
            Input::Rephrase { node } => self.send_again(cx, node),
            Input::Push { node, push } => self.on_push(cx, node, push),
            Input::Tick => self.tick(cx),
            Input::Cancel { op, status } => self.cancel(cx, op, status),
            Input::Expired { lease } => self.lease_expired(cx.now, lease),
            Input::Forget { lease } => self.forget(lease),
        }
        self.run(cx);
    }

    /// What was queued for this node has left only now. A driver that sends at once need not say so; one that lets
    /// requests wait must, or they could be judged late before the node has seen them.
    pub fn flushed(&mut self, now: Now, node: NodeId) {
        self.nodes[node].flushed(now);
    }

    /// The next thing to do or to tell, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Tick`] is due, on the wait clock. Changes with every `submit` and `handle`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let (answer_ns, stall_ns) = (self.node_timeout_ns(), self.stall_timeout_ns());
        let connect_ns = self.connect_timeout_ns();
        let nodes = self.nodes.iter().filter_map(|node| node.deadline_mono_ns(answer_ns, connect_ns, stall_ns));
        nodes.chain(self.timers.next()).min()
    }

    /// The kind of the request that the node's next reply belongs to.
    #[must_use]
    pub fn awaited(&self, node: NodeId) -> Option<RequestKind> {
        self.nodes[node].in_flight.front().map(|pending| pending.kind)
    }

    /// Releases that are on their way to a connected node that answers, and not confirmed yet.
    #[must_use]
    pub fn releases_in_flight(&self) -> usize {
        let is_release = |kind: RequestKind| kind == RequestKind::Release;
        let connected = self.nodes.iter().filter(|node| !node.is_suspect());
        connected
            .map(|node| {
                let sent = node.in_flight.iter().filter(|pending| is_release(pending.kind)).count();
                let parked = node.parked.iter().filter(|parked| is_release(parked.request.kind())).count();
                sent + parked
            })
            .sum()
    }

    /// The leases that are held.
    pub fn held_leases(&self, now: Now) -> impl Iterator<Item = LeaseKey> + '_ {
        self.leases.iter().filter(move |(_, lease)| lease.is_held(self.quorum, now)).map(|(key, _)| key)
    }

    /// A copy of the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for (node, counters) in self.nodes.iter().zip(&mut stats.nodes) {
            counters.pending_releases = node.pending_releases.len() as u64;
            counters.is_up = u64::from(node.is_up());
            counters.reconnects = node.connections.saturating_sub(1);
        }
        stats
    }

    /// Whether the node is connected.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes[node].link == Link::Up
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The operations under way.
    pub fn operations(&self) -> impl Iterator<Item = OpKey> + '_ {
        self.ops.keys()
    }

    fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// Ends an operation: nothing of it remains but its output.
    fn complete(&mut self, op: OpKey, result: Result<Completion, Failure>) {
        let Some(ended) = self.ops.remove(op) else { return };
        self.timers.set(Sleeper::Op(op), None);
        if let Op::WaitLost(wait) = &ended
            && let Some(lease) = self.leases.get_mut(wait.lease)
        {
            lease.loss_waiters.retain(|&waiter| waiter != op);
        }
        if let Op::Extend(ExtendOp { lease: Some(lease), is_automatic: true, .. }) = ended {
            self.extended_alone.push_back((lease, result.map(|_| ())));
            return;
        }
        if let Err(failure) = &result {
            self.stats.no_quorum += u64::from(failure.status == Status::NoQuorum);
        }
        if let Op::Lock(lock) = &ended
            && lock.is_queued
            && let Some(next) = self.resources.leave(&lock.params.key, op)
            && !mutant::is(Mutant::QueueSleeps)
        {
            self.runnable.push_back(next);
        }
        self.emit(Output::Completed { op, result });
    }

    /// Whether [`Input::Tick`] has something to do: a deadline has come, or lease time has leapt ahead, so that leases
    /// are over earlier than their timers know.
    #[must_use]
    pub fn is_due(&self, now: Now) -> bool {
        self.next_deadline().is_some_and(|due| due <= now.mono_ns) || self.has_lease_time_leapt(now)
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.follow_leap(cx.now);
        for node in 0..self.nodes.len() {
            self.judge_late_requests(cx, node);
            self.judge_parked_requests(cx, node);
            if self.nodes[node].releases_are_due(cx.now) {
                self.send_owed_releases(cx.now, node);
            }
        }
        while let Some(sleeper) = self.timers.pop_due(cx.now.mono_ns) {
            match sleeper {
                Sleeper::Op(op) => {
                    if let Some(op) = self.ops.get_mut(op) {
                        op.woken();
                    }
                    self.runnable.push_back(op);
                }
                Sleeper::Lease(lease) => self.lease_woken(cx, lease),
            }
        }
    }

    fn cancel(&mut self, cx: &mut Context<'_>, op: OpKey, status: Status) {
        let node_count = self.nodes.len();
        let Some(ending) = self.ops.get(op) else { return };
        let (nodes, attempt) = ending.state_of_affairs(node_count, &self.leases);
        if let Some(lease) = attempt {
            self.abandon(cx, lease);
        }
        self.complete(op, Err(Failure { status, detail: None, nodes }));
    }

    /// Resumes the operations that were woken. A loop, not recursion: one that ends may wake the next, thousands long.
    fn run(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some((lease, result)) = self.extended_alone.pop_front() {
                self.extended_by_itself(cx.now, lease, result);
                continue;
            }
            let Some(op) = self.runnable.pop_front() else { break };
            match self.ops.get(op) {
                Some(Op::Lock(_)) => self.resume_lock(cx, op),
                Some(Op::Ready(_)) => self.resume_ready(cx, op),
                Some(Op::WaitLost(_)) => self.resume_wait_lost(cx, op),
                Some(Op::Inspect(_) | Op::Unlock(_) | Op::Extend(_)) | None => {}
            }
        }
    }

    fn node_timeout_ns(&self) -> u64 {
        self.config.node_timeout_ms.saturating_mul(NS_PER_MS)
    }

    fn connect_timeout_ns(&self) -> u64 {
        self.config.connect_timeout_ms.saturating_mul(NS_PER_MS)
    }

    fn stall_timeout_ns(&self) -> u64 {
        self.config.stall_timeout_ms.saturating_mul(NS_PER_MS)
    }
}
