//! The state machine: submit operations, feed inputs, collect outputs.
//!
//! The driver calls [`Machine::submit`] and [`Machine::handle`], then [`Machine::poll_output`] until it is empty, and
//! [`Input::Tick`] when [`Machine::next_deadline`] is due – after having handled everything that arrived before it.
//! This file owns the state, the way of a request to a node and of its answer back; what the operations mean is in
//! `acquire.rs`, `release.rs`, `extend.rs` and `inspect.rs`.

use std::collections::VecDeque;

use slotmap::SlotMap;

use super::config::Config;
use super::entropy::Entropy;
use super::guard;
use super::lease::{Lease, Stage};
use super::mutant::{self, Mutant};
use super::node::{Link, Node, Parked, Pending, PendingRelease, ReplyTo};
use super::operation::{Completion, Input, LeaseKey, LeaseState, OpKey, Operation, Output};
use super::ops::{ExtendOp, Op};
use super::quorum::quorum;
use super::report::{Failure, Status};
use super::request::{Fault, FaultKind, NodeId, Reply, Request, RequestKind, ServerInfo};
use super::resources::Resources;
use super::server_time::ServerTime;
use super::stats::Stats;
use super::time::{NS_PER_MS, Now};
use super::timers::{Sleeper, Timers};

/// Steps of lease time that timers need not follow: the clocks are corrected by less all the time.
const LEAP_NS: u64 = NS_PER_MS;

/// A clock that is set ahead by a little again and again is followed no more often than this: each time all leases are
/// looked at. Whether one is held is asked of lease time itself, so only what is told of its end may be so late.
const LEAP_PAUSE_NS: u64 = 10 * NS_PER_MS;

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
    pub(super) config: Config,
    pub(super) quorum: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) ops: SlotMap<OpKey, Op>,
    pub(super) leases: SlotMap<LeaseKey, Lease>,
    pub(super) resources: Resources,
    pub(super) timers: Timers,
    pub(super) runnable: VecDeque<OpKey>,
    /// Extensions that nobody asked for, and how they ended.
    pub(super) extended_alone: VecDeque<(LeaseKey, Result<(), Failure>)>,
    pub(super) stats: Stats,
    /// The largest fencing token that this handle has seen, for whatever resource.
    pub(super) highest_fence: u64,
    /// The largest ttl that this handle has been asked for.
    pub(super) largest_ttl_ms: u64,
    /// A caller has chosen a token itself.
    pub(super) reuses_tokens: bool,
    pub(super) out: VecDeque<Output>,
    /// How far lease time was ahead of the wait clock when the timers of the leases were set.
    pub(super) lease_ahead_ns: u64,
    /// When that was noticed last, on the wait clock.
    pub(super) leapt_mono_ns: u64,
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

    pub(super) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    /// Ends an operation: nothing of it remains but its output.
    pub(super) fn complete(&mut self, op: OpKey, result: Result<Completion, Failure>) {
        let Some(mut ended) = self.ops.remove(op) else { return };
        if let Some(wake_at) = ended.wake_at() {
            self.timers.set(Sleeper::Op(op), wake_at, None);
        }
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

    /// Asks a node. `Some(fault)`: it cannot be asked, nothing was sent and nothing will be.
    /// Otherwise the answer comes, from the node or from the clock.
    pub(super) fn ask(&mut self, now: Now, to: NodeId, request: Request, reply_to: ReplyTo) -> Option<Fault> {
        let node = &mut self.nodes[to];
        if let Some(fault) = node.unaccounted_release(now, &request) {
            return Some(fault);
        }
        match node.link {
            Link::Up => match node.refusal(now) {
                Some(fault) => Some(fault),
                None => {
                    self.send(now, to, request, reply_to);
                    None
                }
            },
            Link::Connecting if node.is_full() => Some(Node::too_many()),
            Link::Connecting => {
                node.parked.push_back(Parked { request, reply_to, since: now });
                None
            }
            Link::Down | Link::BackingOff => Some(node.why_down()),
        }
    }

    /// Releases a key on a node, now or as soon as it can be reached. `Some(fault)`: not now.
    pub(super) fn release_on(
        &mut self,
        now: Now,
        to: NodeId,
        debt: PendingRelease,
        op: Option<OpKey>,
    ) -> Option<Fault> {
        let node = &mut self.nodes[to];
        let request = Request::Release { key: debt.key.clone(), token: debt.token.clone() };
        match node.link {
            Link::Up if node.in_flight.len() < node.limits.in_flight => {
                let suspicion = node.refusal(now);
                let op = op.filter(|_| suspicion.is_none());
                self.send(now, to, request, ReplyTo::Release { op, debt });
                suspicion
            }
            Link::Connecting if node.parked.len() < node.limits.in_flight => {
                node.parked.push_back(Parked { request, reply_to: ReplyTo::Release { op, debt }, since: now });
                None
            }
            Link::Up | Link::Connecting => {
                // Not behind its SET, which may be among what is under way: nobody knows when that is executed.
                node.owe(now, PendingRelease { void_after_lease_ns: u64::MAX, ..debt });
                Some(Node::too_many())
            }
            Link::Down | Link::BackingOff => {
                node.owe(now, debt);
                Some(node.why_down())
            }
        }
    }

    fn send(&mut self, now: Now, to: NodeId, request: Request, reply_to: ReplyTo) {
        if let ReplyTo::Vote { lease, .. } = reply_to
            && let Some(lease) = self.leases.get_mut(lease)
        {
            lease.may_hold.insert(to);
        }
        let kind = request.kind();
        self.nodes[to].sending(Pending { reply_to, kind, queued: now, sent_mono_ns: now.mono_ns });
        self.stats.nodes[to].requests += 1;
        self.emit(Output::Send { node: to, request });
    }

    fn node_up(&mut self, cx: &mut Context<'_>, up: NodeId, info: ServerInfo) {
        if let Some(fault) = guard::refusal(&self.config, &self.nodes, up, &info) {
            self.emit(Output::Reset { node: up });
            // Refused or not, it is not the server that confirmed leases, or follows another's data now.
            let is_another = info.is_replica || info.run_id != self.nodes[up].run_id;
            if is_another && !mutant::is(Mutant::RefusedNotRevoked) {
                self.revoke(cx, up, &fault.text);
            }
            return self.node_down(cx, up, fault);
        }
        self.meet(cx, up, &info);
        let node = &mut self.nodes[up];
        node.time = ServerTime::new(info.time_us, cx.now.mono_ns);
        node.connected(info);
        node.forget_void_releases(cx.now);
        self.send_owed_releases(cx.now, up);
        for parked in std::mem::take(&mut self.nodes[up].parked) {
            if self.is_still_wanted(&parked.reply_to) {
                self.send(cx.now, up, parked.request, parked.reply_to);
            }
        }
        self.watch_again(cx, up);
        self.check_ready(cx);
    }

    fn send_owed_releases(&mut self, now: Now, to: NodeId) {
        for debt in std::mem::take(&mut self.nodes[to].pending_releases) {
            self.pay(now, to, debt);
        }
    }

    fn pay(&mut self, now: Now, to: NodeId, debt: PendingRelease) {
        match self.user_of(&debt) {
            Some(lease) => self.leases[lease].inherit(to),
            None => drop(self.release_on(now, to, debt, None)),
        }
    }

    /// A token that the caller chose serves every attempt of its operation. What an earlier one owed must not delete
    /// the key of a later one, which inherits the debt until it ends.
    fn user_of(&self, debt: &PendingRelease) -> Option<LeaseKey> {
        let is_it = |lease: &Lease| lease.token == debt.token && lease.key == debt.key && !lease.is_releasing;
        let is_needed = self.reuses_tokens && !mutant::is(Mutant::DebtNotInherited);
        let mut users = self.leases.iter().filter(|(_, lease)| is_needed && is_it(lease));
        users.next().map(|(key, _)| key)
    }

    /// A key is set only for an attempt that is still open or a lease that is not being released. An extension that has
    /// succeeded without this node is still wanted: a node that came back empty gets the key again that way.
    fn is_still_wanted(&self, reply_to: &ReplyTo) -> bool {
        if mutant::is(Mutant::SetSentTooLate) {
            return true;
        }
        match reply_to {
            ReplyTo::Vote { lease, .. } => self.leases.get(*lease).is_some_and(|lease| {
                !lease.is_releasing && matches!(lease.stage, Stage::Attempt(_) | Stage::Acquired(LeaseState::Held))
            }),
            ReplyTo::Release { .. } => true,
            ReplyTo::Extension { op, lease, .. } => {
                let lease = lease.and_then(|lease| self.leases.get(lease));
                let has_succeeded = lease.is_some_and(|lease| {
                    lease.confirmed_extension == Some(*op)
                        && !lease.is_releasing
                        && lease.stage == Stage::Acquired(LeaseState::Held)
                });
                has_succeeded || self.ops.contains_key(*op)
            }
            ReplyTo::Question(op) => self.ops.contains_key(*op),
            ReplyTo::Check(_) | ReplyTo::Tracking => false,
        }
    }

    fn node_down(&mut self, cx: &mut Context<'_>, down: NodeId, fault: Fault) {
        let judged = self.nodes[down].judged;
        let (in_flight, parked) = self.nodes[down].disconnected(cx.now, fault.clone());
        for pending in in_flight.into_iter().skip(judged) {
            self.deliver(cx, down, pending.reply_to, pending.queued, Reply::Unclear(fault.clone()));
        }
        for parked in parked {
            self.deliver_unasked(cx, down, parked, fault.clone());
        }
        self.check_ready(cx);
    }

    fn node_replied(&mut self, cx: &mut Context<'_>, from: NodeId, reply: Reply) {
        let node = &mut self.nodes[from];
        let Some(pending) = node.in_flight.pop_front() else {
            debug_assert!(false, "the driver lets no reply through that nobody awaits");
            return;
        };
        node.judged = node.judged.saturating_sub(1);
        node.alive_mono_ns = node.alive_mono_ns.max(pending.queued.mono_ns);
        let counters = &mut self.stats.nodes[from];
        counters.replies += 1;
        let took_ns = cx.now.mono_ns.saturating_sub(pending.sent_mono_ns);
        counters.latency_ns_sum += took_ns;
        node.measure(took_ns);
        counters.errors += u64::from(matches!(reply, Reply::Refused(_) | Reply::Unclear(_)));
        if let (ReplyTo::Release { debt, .. }, Reply::Refused(_) | Reply::Unclear(_)) = (&pending.reply_to, &reply) {
            node.owe(cx.now, debt.renewed(pending.queued, cx.now));
            node.retry_releases_later(cx.now);
        }
        self.deliver(cx, from, pending.reply_to, pending.queued, reply);
        self.pay_as_there_is_room(cx.now, from);
    }

    /// Only releases are ever said in another way.
    fn send_again(&mut self, cx: &mut Context<'_>, to: NodeId) {
        let node = &mut self.nodes[to];
        let Some(pending) = node.in_flight.pop_front() else { return };
        node.judged = node.judged.saturating_sub(1);
        node.alive_mono_ns = node.alive_mono_ns.max(pending.queued.mono_ns);
        self.stats.nodes[to].replies += 1;
        if let ReplyTo::Release { op, debt } = pending.reply_to {
            let debt = debt.renewed(pending.queued, cx.now);
            let refusal = self.release_on(cx.now, to, debt, op);
            if let (Some(op), Some(fault)) = (op, refusal) {
                self.on_release(cx, to, op, Reply::Refused(fault));
            }
        }
    }

    /// Releases that found the connection full follow as replies make room; those that a node has refused wait for their
    /// time.
    fn pay_as_there_is_room(&mut self, now: Now, to: NodeId) {
        while self.nodes[to].can_pay()
            && !mutant::is(Mutant::RoomNotUsed)
            && let Some(debt) = self.nodes[to].pending_releases.pop_front()
        {
            self.pay(now, to, debt);
        }
    }

    /// Brings an answer to whoever asked.
    fn deliver(&mut self, cx: &mut Context<'_>, from: NodeId, reply_to: ReplyTo, queued: Now, reply: Reply) {
        match reply_to {
            ReplyTo::Vote { lease, ttl_ms } => self.on_vote(cx, from, lease, ttl_ms, queued, reply),
            ReplyTo::Extension { op, lease, ttl_ms } => self.on_extension(cx, from, op, lease, ttl_ms, queued, reply),
            ReplyTo::Release { op: Some(op), .. } => self.on_release(cx, from, op, reply),
            ReplyTo::Release { op: None, .. } => {}
            ReplyTo::Question(op) => self.on_question(cx, from, op, reply),
            ReplyTo::Check(lease) => self.on_checked(cx, from, lease, &reply),
            // No answer in time says nothing about what the server can.
            ReplyTo::Tracking => self.nodes[from].tracks &= !matches!(reply, Reply::Refused(_)),
        }
    }

    /// Tells whoever asked that the question never left: nothing can have been applied.
    fn deliver_unasked(&mut self, cx: &mut Context<'_>, from: NodeId, parked: Parked, fault: Fault) {
        if let ReplyTo::Release { debt, .. } = &parked.reply_to {
            self.nodes[from].owe(cx.now, debt.clone());
        }
        self.deliver(cx, from, parked.reply_to, parked.since, Reply::Refused(fault));
    }

    /// Whether [`Input::Tick`] has something to do: a deadline has come, or lease time has leapt ahead, so that leases
    /// are over earlier than their timers know.
    #[must_use]
    pub fn is_due(&self, now: Now) -> bool {
        self.next_deadline().is_some_and(|due| due <= now.mono_ns) || self.has_lease_time_leapt(now)
    }

    fn has_lease_time_leapt(&self, now: Now) -> bool {
        let leap_ns = now.lease_ns.saturating_sub(now.mono_ns).saturating_sub(self.lease_ahead_ns);
        let is_time = now.mono_ns >= self.leapt_mono_ns.saturating_add(LEAP_PAUSE_NS);
        leap_ns > LEAP_PAUSE_NS || leap_ns > LEAP_NS && is_time
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        if self.has_lease_time_leapt(cx.now) {
            self.lease_ahead_ns = cx.now.lease_ns.saturating_sub(cx.now.mono_ns);
            self.leapt_mono_ns = cx.now.mono_ns;
            let leases: Vec<LeaseKey> = self.leases.keys().collect();
            for lease in leases {
                self.publish(cx.now, lease);
            }
        }
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

    /// A node that does not answer in time becomes suspect; one that does not for much longer loses its connection.
    fn judge_late_requests(&mut self, cx: &mut Context<'_>, late: NodeId) {
        let timeout_ns = self.node_timeout_ns();
        while let Some(pending) = self.nodes[late].in_flight.get(self.nodes[late].judged) {
            if cx.now.mono_ns < pending.sent_mono_ns.saturating_add(timeout_ns) {
                break;
            }
            let (reply_to, queued) = (pending.reply_to.clone(), pending.queued);
            self.nodes[late].judge_next();
            self.stats.nodes[late].timeouts += 1;
            let fault = self.timeout_fault();
            self.deliver(cx, late, reply_to, queued, Reply::Unclear(fault));
        }
        let silent_since = self.nodes[late].silent_since();
        if silent_since.is_some_and(|since| cx.now.mono_ns >= since.saturating_add(self.stall_timeout_ns())) {
            let silent_ms = self.config.stall_timeout_ms;
            self.emit(Output::Reset { node: late });
            let fault = Fault::new(FaultKind::Timeout, format!("no answer for {silent_ms} ms, connection given up"));
            self.node_down(cx, late, fault);
        }
    }

    fn judge_parked_requests(&mut self, cx: &mut Context<'_>, at: NodeId) {
        let timeout_ns = self.connect_timeout_ns();
        while let Some(oldest) = self.nodes[at].parked.front() {
            if cx.now.mono_ns < oldest.since.mono_ns.saturating_add(timeout_ns) {
                break;
            }
            if let Some(parked) = self.nodes[at].parked.pop_front() {
                let fault = self.nodes[at].last_fault.clone().unwrap_or_else(|| {
                    let waited_ms = self.config.connect_timeout_ms;
                    Fault::new(FaultKind::Unreachable, format!("not connected within {waited_ms} ms"))
                });
                self.deliver_unasked(cx, at, parked, fault);
            }
        }
    }

    fn timeout_fault(&self) -> Fault {
        Fault::new(FaultKind::Timeout, format!("timeout after {} ms", self.config.node_timeout_ms))
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
