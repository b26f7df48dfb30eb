//! Waiting for a lock that another holds: by push where the nodes announce changes, else by jittered retry.
//!
//! Pushes are hints: a key that changed may be free, extended, or another's already. Once a quorum of nodes may be free, the
//! first of them – the same for all rivals – is read; if the key is gone there the waiter contends, and what decides is the
//! vote. A holder that died announces nothing in time (servers expire lazily), so the remaining life of its keys is a
//! second wake-up. When rivals are seen that node is asked first, and only its winner asks the rest. A node that has a key
//! which does not change is never that node, so that its refusal alone prevents nothing.

use super::{Context, Machine};
use crate::core::mutant::{self, Mutant};
use crate::core::operation::OpKey;
use crate::core::quorum::NodeSet;
use crate::core::report::Status;
use crate::core::request::{Bytes, NodeId, Push, Remaining, Reply, Request};
use crate::core::state::node::{Link, Node, ReplyTo};
use crate::core::state::ops::{LockOp, Op, Phase};
use crate::core::state::round::Answer;
use crate::core::state::timers::Sleeper;
use crate::core::state::watch::Watch;
use crate::core::time::{NS_PER_MS, Now};

/// Longer keys are not watched: every push repeats the key.
const WATCHED_KEY_BYTES_MAX: usize = 4096;

/// A push can be lost with its connection or its server's tracking table: this often the keys are read again.
const REREAD_MS: u64 = 2_000;

/// Waiters for the same dead holder do not wake up in the same millisecond.
const EXPIRY_JITTER_NS: u64 = 5 * NS_PER_MS;

/// A handle does not hold back longer than this for others who want what it has just released.
const YIELD_MAX_NS: u64 = 10 * NS_PER_MS;

/// How long a node is given to answer before anything is known about its speed.
const UNKNOWN_REPLY_NS: u64 = 10 * NS_PER_MS;

impl Machine {
    /// After a failed attempt: waits for whatever promises that the next one is worth it.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let tally = lock.last_votes.tally();
        let is_split = tally.done > 0 && tally.not > 0;
        let is_after_wake_up = lock.is_woken;
        lock.has_rivals |= is_split || is_after_wake_up;
        // The first refusal is a race that another won; further ones without a holder in sight are not.
        let is_refused_again = lock.was_staged && std::mem::replace(&mut lock.was_refused, true);
        lock.lost_races = lock.lost_races.saturating_add(u32::from(is_split || is_refused_again));
        if tally.not == 0 {
            self.pause_behind_others(cx, op);
        } else if is_split || lock.was_staged {
            self.settle(cx, op);
        } else {
            self.rest(cx, op);
        }
    }

    /// The winner's requests are still on their way to some nodes: read too early, those would look free. Exponential
    /// back-off with full jitter, so that rivals who divide the nodes again and again get out of step.
    fn settle(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let retry_ns = self.config.retry_delay_ms.saturating_mul(NS_PER_MS);
        let most_ns = self.settling_ns().saturating_mul(1 << lock.lost_races.min(16)).min(retry_ns);
        let until = cx.now.mono_ns.saturating_add(cx.entropy.up_to(most_ns));
        self.rest_until(op, Phase::Settle, Some(until));
    }

    /// This handle has just released a lock that others wait for. They hear of it a moment later, and by then whoever
    /// asks again at once has it again: without this the same process may win for ever.
    pub(super) fn yield_turn(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let yield_ns = self.yield_ns();
        let until = cx.now.mono_ns.saturating_add(yield_ns / 2).saturating_add(cx.entropy.up_to(yield_ns / 2));
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.has_rivals = true;
            lock.watch.yields_until_mono_ns = Some(until);
        }
        if self.can_watch(op) {
            self.watch(cx, op);
        } else {
            self.rest_until(op, Phase::Settle, Some(until));
        }
    }

    /// How long the others are given to find a released lock free.
    pub(super) fn yield_ns(&self) -> u64 {
        self.usual_reply_ns().saturating_mul(2).min(YIELD_MAX_NS)
    }

    /// Waits for pushes if enough nodes send them, else for a while.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>, op: OpKey) {
        if self.can_watch(op) {
            self.watch(cx, op);
        } else {
            self.pause(cx, op);
        }
    }

    fn can_watch(&self, op: OpKey) -> bool {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return false };
        let trackers = self.nodes.iter().filter(|node| node.tracks && node.link == Link::Up).count();
        let is_short_enough = lock.params.key.len() <= WATCHED_KEY_BYTES_MAX;
        self.config.wake && is_short_enough && trackers >= self.quorum
    }

    /// Has the nodes announce changes of the key, and reads what it is now: whatever happens after the reading is
    /// announced.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, op: OpKey) {
        self.rest_until(op, Phase::Watch, None);
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            let overdue = lock.watch.overdue(cx.now);
            overdue.for_each(|node| lock.watch.read_again(node));
        }
        for node in 0..self.nodes.len() {
            self.arm(cx, op, node);
        }
        self.reconsider(cx, op);
    }

    /// One node's part of that. The two requests leave together: "the next command" must be the question.
    fn arm(&mut self, cx: &mut Context<'_>, op: OpKey, node: NodeId) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        if lock.watch.armed.contains(node) || lock.watch.maybe_free().contains(node) || !self.nodes[node].is_up() {
            return;
        }
        let key = lock.params.key.clone();
        lock.watch.free_at_mono_ns[node] = None;
        let mut is_asked = true;
        if self.nodes[node].tracks {
            lock.watch.armed.insert(node);
            is_asked = self.ask(cx.now, node, Request::Track, ReplyTo::Tracking).is_none();
        }
        is_asked &= self.ask(cx.now, node, Request::Remaining { key }, ReplyTo::Question(op)).is_none();
        if !is_asked {
            // There was no room on the connection: nothing is known of this node, and nothing will be announced.
            let guarded_until = self.guarded_until(cx.now, node);
            let retry_at = cx.now.mono_after_ms(self.config.retry_delay_ms);
            if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
                lock.watch.armed.remove(node);
                lock.watch.free_at_mono_ns[node] = guarded_until.max(Some(retry_at));
            }
        }
    }

    /// A node said how long the key has left there. One that will not announce its end is tried again after the
    /// retry delay, as without pushes.
    pub(super) fn on_watched(&mut self, cx: &mut Context<'_>, from: NodeId, op: OpKey, reply: &Reply) {
        let guarded_until = self.guarded_until(cx.now, from);
        let retry_at = cx.now.mono_after_ms(self.config.retry_delay_ms);
        let announces = self.nodes[from].tracks;
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let is_watching = matches!(lock.phase, Phase::Watch);
        let was_reading = lock.watch.reading == Some(from);
        lock.watch.reading = lock.watch.reading.filter(|&node| node != from);
        match reply {
            _ if !is_watching => lock.watch.armed.remove(from),
            Reply::Remaining(Remaining::Absent) => lock.watch.believe_free(from, guarded_until),
            Reply::Remaining(Remaining::Ms(left_ms)) => {
                // Somebody else has it: they had their turn.
                lock.watch.yields_until_mono_ns = None;
                lock.left_ms[from] = Some(*left_ms);
                let end = cx.now.mono_after_ms(*left_ms);
                let end = if announces { end } else { end.min(retry_at) };
                lock.watch.free_at_mono_ns[from] = guarded_until.max(Some(end));
                let held = lock.watch.free_at_mono_ns.iter().flatten().filter(|&&end| end > cx.now.mono_ns).count();
                if held > self.nodes.len() - self.quorum {
                    // There is a holder: the race is over.
                    (lock.lost_races, lock.was_refused) = (0, false);
                }
                if was_reading {
                    self.read_changed(cx, op);
                }
            }
            // No client of ours sets a key without an end. Perhaps it is no lock at all, which its value shows.
            Reply::Remaining(Remaining::Forever) => {
                let key = lock.params.key.clone();
                self.ask(cx.now, from, Request::Holder { key }, ReplyTo::Question(op));
            }
            Reply::Refused(fault) if fault.text.starts_with("WRONGTYPE") => {
                lock.last_votes.answer(from, Answer::Failed(fault.clone().into()), cx.now);
                if lock.last_votes.tally().failure_status(self.nodes.len(), self.quorum) == Some(Status::Config) {
                    return self.give_up(cx, op);
                }
            }
            // Nothing can be learnt from this node but by trying.
            Reply::Refused(_) | Reply::Unclear(_) => {
                lock.watch.free_at_mono_ns[from] = guarded_until.max(Some(retry_at))
            }
            _ => {}
        }
        self.reconsider(cx, op);
    }

    /// A watched key changed: whoever is first in line for it may find it free.
    pub(super) fn on_push(&mut self, cx: &mut Context<'_>, from: NodeId, push: Push) {
        match push {
            Push::Key(key) => {
                let key = Bytes::from(key);
                if let Some(op) = self.resources.first(&key) {
                    self.key_changed(cx, op, from);
                }
                self.check_again(cx, &key, from);
            }
            Push::Flush => {
                let waiting: Vec<OpKey> = self.ops.iter().filter(|(_, op)| op.is_waiting()).map(|(op, _)| op).collect();
                for op in waiting {
                    self.key_changed(cx, op, from);
                }
                self.revoke(cx, from, "was flushed meanwhile");
            }
        }
    }

    fn key_changed(&mut self, cx: &mut Context<'_>, op: OpKey, node: NodeId) {
        let guarded_until = self.guarded_until(cx.now, node);
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.watch.armed.remove(node);
            if matches!(lock.phase, Phase::Watch) {
                lock.watch.free.remove(node);
                lock.watch.free_at_mono_ns[node] = guarded_until;
                if guarded_until.is_none() {
                    let is_believed = mutant::is(Mutant::ChangeIsFree);
                    let changed = if is_believed { &mut lock.watch.free } else { &mut lock.watch.changed };
                    changed.insert(node);
                }
                self.reconsider(cx, op);
            }
        }
    }

    /// Reads the nodes that announced a change: somebody holds the lock, and what they announced is used up.
    fn read_changed(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        for node in std::mem::take(&mut lock.watch.changed).iter() {
            self.arm(cx, op, node);
        }
    }

    /// Of these nodes the first in the order that all rivals share.
    fn first_of(&self, key: &Bytes, nodes: NodeSet) -> Option<NodeId> {
        let (count, primary) = (self.nodes.len(), self.primary(key));
        if mutant::is(Mutant::FirstNodeAlone) {
            return Some(primary);
        }
        (0..count).map(|step| (primary + step) % count).find(|&node| nodes.contains(node) && self.nodes[node].is_up())
    }

    /// A connection is new: what was watched on the old one is watched no more.
    pub(super) fn watch_again(&mut self, cx: &mut Context<'_>, node: NodeId) {
        let waiting: Vec<OpKey> = self.ops.iter().filter(|(_, op)| op.is_waiting()).map(|(op, _)| op).collect();
        for op in waiting {
            if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
                lock.watch.armed.remove(node);
            }
            self.arm(cx, op, node);
        }
        let watched: Vec<_> = self.leases.iter().filter(|(_, lease)| lease.is_armed()).map(|(key, _)| key).collect();
        for lease in watched {
            self.check(cx, lease, node);
        }
    }

    /// Contends if a quorum of nodes is believed free, else sleeps until the next moment that may change it.
    fn reconsider(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        if !matches!(lock.phase, Phase::Watch) {
            return;
        }
        let maybe_free = lock.watch.maybe_free();
        if lock.watch.reading.is_none() && maybe_free.len() >= self.quorum {
            match self.first_of(&lock.params.key, maybe_free) {
                Some(first) if !lock.watch.free.contains(first) => self.read_first(cx, op, first),
                first => return self.may_contend(cx.now, op, first),
            }
        }
        let Some(Op::Lock(lock)) = self.ops.get(op) else { return };
        let mut ends: Vec<u64> = lock.watch.free_at_mono_ns.iter().flatten().copied().collect();
        ends.sort_unstable();
        // Nodes that announced a change count here: together with others whose key has ended they may be a quorum.
        let is_apart = mutant::is(Mutant::EndAndChangeApart);
        let ended = if is_apart { lock.watch.free } else { lock.watch.maybe_free() };
        let missing = self.quorum.saturating_sub(ended.len());
        let decisive = missing.checked_sub(1).and_then(|last| ends.get(last)).copied();
        let expiry =
            decisive.map(|end| end.saturating_add(NS_PER_MS).saturating_add(cx.entropy.up_to(EXPIRY_JITTER_NS)));
        let reread = cx.now.mono_after_ms(REREAD_MS);
        let is_by_push_alone = mutant::is(Mutant::PushAlone);
        let ends = if is_by_push_alone { [None; 2] } else { [expiry, Some(reread)] };
        let due = ends.into_iter().flatten().min();
        self.rest_until(op, Phase::Watch, due);
    }

    /// The lock seems to be free, unless it is the others' turn still.
    fn may_contend(&mut self, now: Now, op: OpKey, first: Option<NodeId>) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let yields_until = lock.watch.yields_until_mono_ns.filter(|&until| until > now.mono_ns);
        match yields_until {
            Some(until) => self.rest_until(op, Phase::Watch, Some(until)),
            None => {
                lock.watch.first = first;
                self.runnable.push_back(op);
            }
        }
    }

    /// Asks the node whose vote would come first what its change meant.
    fn read_first(&mut self, cx: &mut Context<'_>, op: OpKey, first: NodeId) {
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.watch.changed.remove(first);
            lock.watch.reading = Some(first);
        }
        self.arm(cx, op, first);
    }

    /// The watch ended: by belief, by time, or by the deadline.
    pub(super) fn resume_watch(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let overdue = lock.watch.overdue(cx.now);
        overdue.for_each(|node| lock.watch.believe_free(node, None));
        let is_last_chance = lock.deadline_mono_ns.is_some_and(|deadline| deadline <= cx.now.mono_ns);
        if lock.watch.free.len() < self.quorum && !is_last_chance && lock.watch.first.is_none() {
            // Some have ended and others have announced a change: what that means is read.
            let (key, free, maybe_free) = (lock.params.key.clone(), lock.watch.free, lock.watch.maybe_free());
            let is_reading = lock.watch.reading.is_some();
            if !is_reading
                && maybe_free.len() >= self.quorum
                && let Some(first) = self.first_of(&key, maybe_free).filter(|&first| !free.contains(first))
            {
                self.rest_until(op, Phase::Watch, Some(cx.now.mono_after_ms(REREAD_MS)));
                return self.read_first(cx, op, first);
            }
            let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
            lock.watch = Watch { yields_until_mono_ns: lock.watch.yields_until_mono_ns, ..Watch::default() };
            return self.watch(cx, op);
        }
        lock.is_woken = true;
        let (key, free) = (lock.params.key.clone(), lock.watch.free);
        let first = self.first_of(&key, free).filter(|_| !is_last_chance);
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.watch.first = first;
        }
        self.attempt(cx, op);
    }

    /// The same, but whoever of this handle is next in the queue has a try meanwhile: what kept this one from the lock – a
    /// ttl that is too short for the network, fencing tokens that are not credible – need not keep the others.
    fn pause_behind_others(&mut self, cx: &mut Context<'_>, op: OpKey) {
        self.pause(cx, op);
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        if !lock.is_queued {
            return;
        }
        let (key, not_before, deadline) =
            (lock.params.key.clone(), self.timers.of(Sleeper::Op(op)), lock.deadline_mono_ns);
        if let Some(next) = self.resources.step_back(&key, op) {
            lock.not_before_mono_ns = not_before;
            self.rest_until(op, Phase::Queued, deadline);
            self.runnable.push_back(next);
        }
    }

    /// Waits for the retry delay plus jitter, but for a last attempt at the deadline at the latest.
    pub(super) fn pause(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let jitter_ns = cx.entropy.up_to(self.config.retry_jitter_ms.saturating_mul(NS_PER_MS));
        let again_at = cx.now.mono_after_ms(self.config.retry_delay_ms).saturating_add(jitter_ns);
        self.rest_until(op, Phase::Pause, Some(again_at));
    }

    /// Sleeps, but never beyond the deadline: a last attempt is made there.
    pub(super) fn rest_until(&mut self, op: OpKey, phase: Phase, due: Option<u64>) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let deadline = lock.deadline_mono_ns.filter(|_| !mutant::is(Mutant::NoDeadline));
        let due = [due, deadline].into_iter().flatten().min();
        lock.phase = phase;
        self.timers.set(Sleeper::Op(op), due);
    }

    /// A lease of this handle on this resource is being released: whoever waits for it here need not wait any
    /// longer, because its SETs queue behind the release on every connection.
    pub(super) fn hint_released(&mut self, key: &Bytes) {
        if let Some(first) = self.resources.first(key)
            && let Some(Op::Lock(lock)) = self.ops.get_mut(first)
            && lock.is_resting()
        {
            lock.phase = Phase::Eager;
            self.runnable.push_back(first);
        }
    }

    /// The node to ask first for this resource: every client with the same list of nodes comes to the same one, as
    /// long as it is up. FNV-1a, so that they need not share a version of this library either.
    pub(super) fn primary(&self, key: &Bytes) -> NodeId {
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let count = self.nodes.len();
        let first = usize::try_from(hash % count as u64).unwrap_or(0);
        (0..count).map(|step| (first + step) % count).find(|&node| self.nodes[node].is_up()).unwrap_or(first)
    }

    /// How long a first-asked node may be silent before the next one is asked: twice what its usual replies take.
    pub(super) fn hedge_delay_ns(&self, node: NodeId) -> u64 {
        self.twice(self.nodes[node].usual_reply_ns().unwrap_or(UNKNOWN_REPLY_NS))
    }

    /// After this the winner of a race has reached a quorum.
    fn settling_ns(&self) -> u64 {
        self.twice(self.usual_reply_ns())
    }

    fn twice(&self, reply_ns: u64) -> u64 {
        let most_ns = self.config.node_timeout_ms.saturating_mul(NS_PER_MS);
        reply_ns.saturating_mul(2).clamp(NS_PER_MS.min(most_ns), most_ns)
    }

    /// Nearly every reply of the fastest quorum comes within this: a distant node that nobody needs slows nobody.
    fn usual_reply_ns(&self) -> u64 {
        let mut usual: Vec<u64> =
            self.nodes.iter().filter(|node| node.is_up()).filter_map(Node::usual_reply_ns).collect();
        usual.sort_unstable();
        usual.get(self.quorum - 1).or(usual.last()).copied().unwrap_or(UNKNOWN_REPLY_NS)
    }
}

impl LockOp {
    /// It waits for the holder and contends nowhere.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Pause | Phase::Settle | Phase::Watch)
    }
}

impl Op {
    /// It is a lock operation whose pushes matter.
    fn is_waiting(&self) -> bool {
        matches!(self, Op::Lock(lock) if matches!(lock.phase, Phase::Watch))
    }
}
