//! The way of a request to a node and of its answer back: what is asked now, later or not at all, whose answer a reply is, and
//! when nobody waits for it any more.

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::{LeaseKey, LeaseState, OpKey, Output};
use crate::core::request::{Fault, FaultKind, NodeId, Reply, Request, ServerInfo};
use crate::core::state::lease::{Lease, Stage};
use crate::core::state::node::{Link, Node, Parked, Pending, PendingRelease, ReplyTo};
use crate::core::state::server_time::ServerTime;
use crate::core::time::Now;

impl Machine {
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
        release: PendingRelease,
        op: Option<OpKey>,
    ) -> Option<Fault> {
        let node = &mut self.nodes[to];
        let request = Request::Release { key: release.key.clone(), token: release.token.clone() };
        match node.link {
            Link::Up if node.in_flight.len() < node.limits.in_flight => {
                let suspicion = node.refusal(now);
                let op = op.filter(|_| suspicion.is_none());
                self.send(now, to, request, ReplyTo::Release { op, release });
                suspicion
            }
            Link::Connecting if node.parked.len() < node.limits.in_flight => {
                node.parked.push_back(Parked { request, reply_to: ReplyTo::Release { op, release }, since: now });
                None
            }
            Link::Up | Link::Connecting => {
                // Not behind its SET, which may be among what is under way: nobody knows when that is executed.
                node.owe(now, PendingRelease { void_after_lease_ns: u64::MAX, ..release });
                Some(Node::too_many())
            }
            Link::Down | Link::BackingOff => {
                node.owe(now, release);
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

    pub(super) fn node_up(&mut self, cx: &mut Context<'_>, up: NodeId, info: ServerInfo) {
        if let Some(fault) = self.unfit(up, &info) {
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

    pub(super) fn send_owed_releases(&mut self, now: Now, to: NodeId) {
        for release in std::mem::take(&mut self.nodes[to].pending_releases) {
            self.pay(now, to, release);
        }
    }

    fn pay(&mut self, now: Now, to: NodeId, release: PendingRelease) {
        match self.user_of(&release) {
            Some(lease) => self.leases[lease].inherit(to),
            None => drop(self.release_on(now, to, release, None)),
        }
    }

    /// A token that the caller chose serves every attempt of its operation. What an earlier one owed must not delete
    /// the key of a later one, which inherits it until it ends.
    fn user_of(&self, release: &PendingRelease) -> Option<LeaseKey> {
        // Asked for each release that is owed: a walk over all leases must not be the rule.
        if !self.reuses_tokens || mutant::is(Mutant::ReleaseNotInherited) {
            return None;
        }
        let is_it = |lease: &Lease| lease.token == release.token && lease.key == release.key && !lease.is_releasing;
        self.leases.iter().find(|(_, lease)| is_it(lease)).map(|(key, _)| key)
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

    pub(super) fn node_down(&mut self, cx: &mut Context<'_>, down: NodeId, fault: Fault) {
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

    pub(super) fn node_replied(&mut self, cx: &mut Context<'_>, from: NodeId, reply: Reply) {
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
        if let (ReplyTo::Release { release, .. }, Reply::Refused(_) | Reply::Unclear(_)) = (&pending.reply_to, &reply) {
            node.owe(cx.now, release.renewed(pending.queued, cx.now));
            node.retry_releases_later(cx.now);
        }
        self.deliver(cx, from, pending.reply_to, pending.queued, reply);
        self.pay_as_there_is_room(cx.now, from);
    }

    /// Only releases are ever said in another way.
    pub(super) fn send_again(&mut self, cx: &mut Context<'_>, to: NodeId) {
        let node = &mut self.nodes[to];
        let Some(pending) = node.in_flight.pop_front() else { return };
        node.judged = node.judged.saturating_sub(1);
        node.alive_mono_ns = node.alive_mono_ns.max(pending.queued.mono_ns);
        self.stats.nodes[to].replies += 1;
        if let ReplyTo::Release { op, release } = pending.reply_to {
            let release = release.renewed(pending.queued, cx.now);
            let refusal = self.release_on(cx.now, to, release, op);
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
            && let Some(release) = self.nodes[to].pending_releases.pop_front()
        {
            self.pay(now, to, release);
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
        if let ReplyTo::Release { release, .. } = &parked.reply_to {
            self.nodes[from].owe(cx.now, release.clone());
        }
        self.deliver(cx, from, parked.reply_to, parked.since, Reply::Refused(fault));
    }

    /// A node that does not answer in time becomes suspect; one that does not for much longer loses its connection.
    pub(super) fn judge_late_requests(&mut self, cx: &mut Context<'_>, late: NodeId) {
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

    pub(super) fn judge_parked_requests(&mut self, cx: &mut Context<'_>, at: NodeId) {
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
}
