//! The operations under way: what each of them remembers between two inputs.

use slotmap::SlotMap;

use super::lease::Lease;
use super::round::Round;
use super::watch::Watch;
use crate::core::operation::{LeaseKey, LockParams, NodeView};
use crate::core::report::{NodeReport, Outcome};
use crate::core::request::{MAX_NODES, NodeId};
use crate::core::time::Now;

/// An operation under way.
#[derive(Debug, Clone, Hash)]
pub enum Op {
    /// See `acquire.rs`.
    Lock(Box<LockOp>),
    /// See `release.rs`: a release, ours or by token.
    Unlock(Round),
    /// See `extend.rs`.
    Extend(ExtendOp),
    /// See `inspect.rs`.
    Inspect(InspectOp),
    /// See `ready.rs`.
    Ready(ReadyOp),
    /// See `loss.rs`.
    WaitLost(WaitLostOp),
}

/// An acquisition.
#[derive(Debug, Clone, Hash)]
pub struct LockOp {
    /// What was asked for.
    pub params: LockParams,
    /// When.
    pub submitted: Now,
    /// When the wait is over, on the wait clock; `None`: never.
    pub deadline_mono_ns: Option<u64>,
    /// Attempts that remain; `None`: any number.
    pub attempts_left: Option<u64>,
    /// It stands in the resource's queue.
    pub is_queued: bool,
    /// What it does at the moment.
    pub phase: Phase,
    /// Of the open attempt only the first-asked nodes have been asked so far.
    pub is_staged: bool,
    /// The node that was asked first.
    pub first_asked: NodeId,
    /// The last attempt began like that.
    pub was_staged: bool,
    /// Others want the lock at the same time: nodes are asked in stages.
    pub has_rivals: bool,
    /// It has tried because the lock seemed to be free.
    pub is_woken: bool,
    /// Attempts that ended with the nodes divided between us and others, or refused by a node that seemed to be free, since
    /// a holder was seen.
    pub lost_races: u32,
    /// A node that seemed to be free has refused since a holder was seen.
    pub was_refused: bool,
    /// It has let others of this handle go first, and tries again after this, on the wait clock.
    pub not_before_mono_ns: Option<u64>,
    /// An attempt ended with its connections, and was made again for that reason.
    pub was_cut_off: bool,
    /// What it believes about the nodes.
    pub watch: Watch,
    /// The votes of the last failed attempt.
    pub last_votes: Round,
    /// How long the holder has left at each node, in milliseconds, as far as known.
    pub left_ms: [Option<u64>; MAX_NODES],
}

/// What an acquisition does at the moment.
#[derive(Debug, Clone, Hash)]
pub enum Phase {
    /// Others of this handle are before it.
    Queued,
    /// It is about to try.
    Eager,
    /// Votes are being collected.
    Attempt(LeaseKey),
    /// It waits for a while before the next attempt.
    Pause,
    /// It lets the winner of a race finish before it looks at the nodes.
    Settle,
    /// It waits for the nodes to announce a change.
    Watch,
    /// It has failed and asks the nodes that said "held" who and for how long; answers still awaited.
    Explain(Box<Round>),
}

/// An extension.
#[derive(Debug, Clone, Hash)]
pub struct ExtendOp {
    /// The lease; `None`: by token.
    pub lease: Option<LeaseKey>,
    /// Life asked for.
    pub ttl_ms: u64,
    /// The nodes' answers.
    pub round: Round,
    /// Nobody asked for it but the lease itself.
    pub is_automatic: bool,
}

/// An inspection.
#[derive(Debug, Clone, Hash)]
pub struct InspectOp {
    /// What each node said so far.
    pub views: Vec<NodeView>,
    /// Who has finished answering.
    pub round: Round,
}

/// A wait for the connections.
#[derive(Debug, Clone, Hash)]
pub struct ReadyOp {
    /// That moment has come.
    pub is_due: bool,
}

/// A wait for the end of a lease.
#[derive(Debug, Clone, Hash)]
pub struct WaitLostOp {
    /// Which.
    pub lease: LeaseKey,
    /// That moment has come.
    pub is_due: bool,
}

impl Op {
    /// The wake-up came.
    pub fn woken(&mut self) {
        match self {
            Op::Ready(ready) => ready.is_due = true,
            Op::WaitLost(wait) => wait.is_due = true,
            Op::Lock(_) | Op::Unlock(_) | Op::Extend(_) | Op::Inspect(_) => {}
        }
    }

    /// How far it has come, node by node, and the attempt that is open, if one is.
    #[must_use]
    pub fn state_of_affairs(
        &self,
        node_count: usize,
        leases: &SlotMap<LeaseKey, Lease>,
    ) -> (Vec<NodeReport>, Option<LeaseKey>) {
        let not_mine = |_: NodeId| Outcome::NotMine;
        match self {
            Op::Lock(lock) => {
                let attempt = match lock.phase {
                    Phase::Attempt(attempt) => Some(attempt),
                    _ => None,
                };
                let votes =
                    attempt.and_then(|attempt| leases.get(attempt)).map_or(&lock.last_votes, |open| &open.votes);
                (lock.reports(votes, node_count), attempt)
            }
            Op::Unlock(round) => (round.reports(node_count, not_mine), None),
            Op::Extend(extend) => (extend.round.reports(node_count, not_mine), None),
            Op::Inspect(inspect) => (inspect.round.reports(node_count, not_mine), None),
            Op::Ready(_) | Op::WaitLost(_) => (Vec::new(), None),
        }
    }
}

impl LockOp {
    /// The reports of an attempt, with what is known about the holder.
    #[must_use]
    pub fn reports(&self, votes: &Round, node_count: usize) -> Vec<NodeReport> {
        votes.reports(node_count, |node| Outcome::Held(self.left_ms[node]))
    }
}
