//! Waiting for a lock that another holds: by push where the nodes announce changes, else by jittered retry.
//!
//! Pushes are hints. A waiter contends when a quorum of nodes is believed free; what decides is the vote. A holder that
//! died announces nothing in time (servers expire lazily), so the remaining life of its keys is a second wake-up.
//! When rivals are seen, one node – the same for all of them – is asked first, and only its winner asks the rest.

use super::machine::{Context, Machine};
use super::mutant::{self, Mutant};
use super::node::{Asker, Link, Node};
use super::operation::OpKey;
use super::ops::{LockOp, Op, Phase};
use super::quorum::NodeSet;
use super::report::Status;
use super::request::{Bytes, MAX_NODES, NodeId, Push, Remaining, Reply, Request};
use super::round::Answer;
use super::time::{NS_PER_MS, Now};
use super::timers::Sleeper;

/// Longer keys are not watched: every push repeats the key.
const WATCHED_KEY_BYTES_MAX: usize = 4096;

/// A push can be lost with its connection or its server's tracking table: this often the keys are read again.
const REREAD_MS: u64 = 2_000;

/// Waiters for the same dead holder do not wake up in the same millisecond.
const EXPIRY_JITTER_NS: u64 = 5 * NS_PER_MS;

/// A handle does not hold back longer than this for others who want what it has just released.
const COURTESY_MAX_NS: u64 = 10 * NS_PER_MS;

/// How long a node is given to answer before anything is known about its speed.
const UNKNOWN_REPLY_NS: u64 = 10 * NS_PER_MS;

/// What a waiter believes about the nodes.
#[derive(Debug, Clone, Default, Hash)]
pub struct Watch {
    /// Nodes that will announce a change of the key.
    armed: NodeSet,
    /// Nodes on which the key is believed to be gone.
    free: NodeSet,
    /// When the key ends on the others, on the wait clock, as far as known.
    free_at_mono_ns: [Option<u64>; MAX_NODES],
    /// Until then others may take it first, unless they have done so already; on the wait clock.
    gives_way_until_mono_ns: Option<u64>,
}

impl Watch {
    /// What was believed about the nodes is about to be tried. Should that fail, those that were believed free are read
    /// again, also where they would still announce a change: not all of them may have been asked.
    pub(super) fn begin_attempt(&mut self) {
        self.free.iter().for_each(|node| self.armed.remove(node));
        self.free = NodeSet::default();
    }

    /// The key is gone there, whatever was known of its end; to try it is worth nothing before the node's vote counts.
    fn believe_free(&mut self, node: NodeId, guarded_until_mono_ns: Option<u64>) {
        if guarded_until_mono_ns.is_none() {
            self.free.insert(node);
        }
        self.free_at_mono_ns[node] = guarded_until_mono_ns;
    }

    /// Nodes whose key should have ended by now, although they have announced nothing.
    fn overdue(&self, now: Now) -> impl Iterator<Item = NodeId> + use<> {
        let ends = self.free_at_mono_ns;
        (0..MAX_NODES).filter(move |&node| ends[node].is_some_and(|end| end <= now.mono_ns))
    }

    /// What was read is out of date there.
    fn read_again(&mut self, node: NodeId) {
        self.armed.remove(node);
        self.free_at_mono_ns[node] = None;
    }
}

impl Machine {
    /// After a failed attempt: waits for whatever promises that the next one is worth it.
    pub(super) fn wait(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let tally = lock.last_votes.tally();
        let is_split = tally.done > 0 && tally.not > 0;
        let is_after_wake_up = lock.is_woken;
        lock.has_rivals |= is_split || is_after_wake_up;
        lock.lost_races = lock.lost_races.saturating_add(u32::from(is_split));
        if tally.not == 0 {
            self.pause(cx, op);
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
        let most_ns = self.patience_ns().saturating_mul(1 << lock.lost_races.min(16)).min(retry_ns);
        let until = cx.now.mono_ns.saturating_add(cx.entropy.up_to(most_ns));
        self.rest_until(op, Phase::Settle, Some(until));
    }

    /// This handle has just released a lock that others wait for. They hear of it a moment later, and by then whoever
    /// asks again at once has it again: without this the same process may win for ever.
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let courtesy_ns = self.courtesy_ns();
        let until = cx.now.mono_ns.saturating_add(courtesy_ns / 2).saturating_add(cx.entropy.up_to(courtesy_ns / 2));
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.has_rivals = true;
            lock.watch.gives_way_until_mono_ns = Some(until);
        }
        if self.can_watch(op) {
            self.watch(cx, op);
        } else {
            self.rest_until(op, Phase::Settle, Some(until));
        }
    }

    /// How long the others are given to find a released lock free.
    pub(super) fn courtesy_ns(&self) -> u64 {
        self.usual_reply_ns().saturating_mul(2).min(COURTESY_MAX_NS)
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
        if lock.watch.armed.contains(node) || lock.watch.free.contains(node) || !self.nodes[node].is_up() {
            return;
        }
        let key = lock.params.key.clone();
        lock.watch.free_at_mono_ns[node] = None;
        if self.nodes[node].tracks {
            lock.watch.armed.insert(node);
            self.ask(cx.now, node, Request::Track, Asker::Tracking);
        }
        self.ask(cx.now, node, Request::Remaining { key }, Asker::Question(op));
    }

    /// A node said how long the key has left there. One that will not announce its end is tried again after the
    /// retry delay, as without pushes.
    pub(super) fn on_watched(&mut self, cx: &mut Context<'_>, from: NodeId, op: OpKey, reply: &Reply) {
        let guarded_until = self.guarded_until(cx.now, from);
        let retry_at = cx.now.mono_after_ms(self.config.retry_delay_ms);
        let announces = self.nodes[from].tracks;
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let is_watching = matches!(lock.phase, Phase::Watch);
        match reply {
            _ if !is_watching => lock.watch.armed.remove(from),
            Reply::Remaining(Remaining::Absent) => lock.watch.believe_free(from, guarded_until),
            Reply::Remaining(Remaining::Ms(left_ms)) => {
                // Somebody else has it: they had their turn.
                lock.watch.gives_way_until_mono_ns = None;
                lock.left_ms[from] = Some(*left_ms);
                let end = cx.now.mono_after_ms(*left_ms);
                let end = if announces { end } else { end.min(retry_at) };
                lock.watch.free_at_mono_ns[from] = guarded_until.max(Some(end));
            }
            // No client of ours sets a key without an end. Perhaps it is no lock at all, which its value shows.
            Reply::Remaining(Remaining::Forever) => {
                let key = lock.params.key.clone();
                self.ask(cx.now, from, Request::Holder { key }, Asker::Question(op));
            }
            Reply::Refused(fault) if fault.text.starts_with("WRONGTYPE") => {
                lock.last_votes.answer(from, Answer::Failed(fault.clone().into()), cx.now);
                if lock.last_votes.tally().trouble(self.nodes.len(), self.quorum) == Some(Status::Config) {
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
                    self.believe_free(cx, op, from);
                }
                self.check_again(cx, &key, from);
            }
            Push::Flush => {
                let waiting: Vec<OpKey> = self.ops.iter().filter(|(_, op)| op.is_waiting()).map(|(op, _)| op).collect();
                for op in waiting {
                    self.believe_free(cx, op, from);
                }
                self.revoke(cx, from, "was flushed meanwhile");
            }
        }
    }

    fn believe_free(&mut self, cx: &mut Context<'_>, op: OpKey, node: NodeId) {
        let guarded_until = self.guarded_until(cx.now, node);
        if let Some(Op::Lock(lock)) = self.ops.get_mut(op) {
            lock.watch.armed.remove(node);
            if matches!(lock.phase, Phase::Watch) {
                lock.watch.believe_free(node, guarded_until);
                self.reconsider(cx, op);
            }
        }
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
        if lock.watch.free.len() >= self.quorum {
            let gives_way_until = lock.watch.gives_way_until_mono_ns.filter(|&until| until > cx.now.mono_ns);
            match gives_way_until {
                Some(until) => self.rest_until(op, Phase::Watch, Some(until)),
                None => self.runnable.push_back(op),
            }
            return;
        }
        let mut ends: Vec<u64> = lock.watch.free_at_mono_ns.iter().flatten().copied().collect();
        ends.sort_unstable();
        let decisive = ends.get(self.quorum - lock.watch.free.len() - 1).copied();
        let expiry =
            decisive.map(|end| end.saturating_add(NS_PER_MS).saturating_add(cx.entropy.up_to(EXPIRY_JITTER_NS)));
        let reread = cx.now.mono_after_ms(REREAD_MS);
        let is_by_push_alone = mutant::is(Mutant::PushAlone);
        let ends = if is_by_push_alone { [None; 2] } else { [expiry, Some(reread)] };
        let due = ends.into_iter().flatten().min();
        self.rest_until(op, Phase::Watch, due);
    }

    /// The watch ended: by belief, by time, or by the deadline.
    pub(super) fn resume_watch(&mut self, cx: &mut Context<'_>, op: OpKey) {
        let Some(Op::Lock(lock)) = self.ops.get_mut(op) else { return };
        let overdue = lock.watch.overdue(cx.now);
        overdue.for_each(|node| lock.watch.believe_free(node, None));
        let is_last_chance = lock.deadline_mono_ns.is_some_and(|deadline| deadline <= cx.now.mono_ns);
        if lock.watch.free.len() >= self.quorum || is_last_chance {
            lock.is_woken = true;
            self.attempt(cx, op);
        } else {
            lock.watch.armed = NodeSet::default();
            self.watch(cx, op);
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
        self.timers.set(Sleeper::Op(op), &mut lock.wake_at, due);
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

    /// How long a first-asked node may be silent before the next one is asked: twice what its slowest usual reply takes.
    pub(super) fn patience_ns(&self) -> u64 {
        let most_ns = self.config.node_timeout_ms.saturating_mul(NS_PER_MS);
        self.usual_reply_ns().saturating_mul(2).clamp(NS_PER_MS.min(most_ns), most_ns)
    }

    /// Nearly every reply of every node that is up comes within this.
    fn usual_reply_ns(&self) -> u64 {
        let usual = self.nodes.iter().filter(|node| node.is_up()).filter_map(Node::usual_reply_ns).max();
        usual.unwrap_or(UNKNOWN_REPLY_NS)
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
