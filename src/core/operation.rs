//! What callers ask of the machine, and what they get.

use slotmap::new_key_type;

use super::report::{Failure, NodeReport, Status};
use super::request::{Bytes, Fault, NodeId, Push, Remaining, Reply, Request, ServerInfo};

new_key_type! {
    /// An operation under way.
    pub struct OpKey;
    /// A lease, or an attempt at one.
    pub struct LeaseKey;
}

/// What can be submitted. Arguments have been validated.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Acquire a lock.
    Lock(LockParams),
    /// Release a lease.
    Unlock {
        /// Which.
        lease: LeaseKey,
    },
    /// Lengthen a lease.
    Extend {
        /// Which.
        lease: LeaseKey,
        /// Life from now on, in milliseconds.
        ttl_ms: u64,
    },
    /// Release a lock that another process acquired.
    UnlockToken {
        /// The lock key.
        key: Bytes,
        /// The token it was acquired with.
        token: Bytes,
    },
    /// Lengthen a lock that another process acquired.
    ExtendToken {
        /// The lock key.
        key: Bytes,
        /// The token it was acquired with.
        token: Bytes,
        /// Life from now on, in milliseconds.
        ttl_ms: u64,
    },
    /// Read who holds a lock.
    Inspect {
        /// The lock key.
        key: Bytes,
    },
    /// Wait until a lease is over.
    WaitLost {
        /// Which.
        lease: LeaseKey,
        /// How long to wait; `None`: without limit.
        wait_ms: Option<u64>,
    },
    /// Wait until a quorum of nodes is connected.
    Ready {
        /// How long to wait; `None`: without limit.
        wait_ms: Option<u64>,
    },
}

/// The parameters of one acquisition.
#[derive(Debug, Clone, Hash)]
pub struct LockParams {
    /// The lock key, prefix included.
    pub key: Bytes,
    /// Life of the lease in milliseconds.
    pub ttl_ms: u64,
    /// How long to wait for another holder; 0: one attempt; `None`: without limit.
    pub wait_ms: Option<u64>,
    /// How many further attempts after the first; `None`: as many as the wait allows.
    pub retries: Option<u64>,
    /// The caller's own token; `None`: a fresh one for every attempt.
    pub token: Option<Bytes>,
    /// The caller reads the report of a failure, so that one more question about the holder is worth its round trip.
    pub explain: bool,
    /// The lease extends itself, and its owner is told at once when it is over.
    pub auto_extend: bool,
    /// The lease extends itself no further than this many milliseconds after its acquisition.
    pub max_hold_ms: Option<u64>,
    /// The owner is told at once when the lease is over.
    pub watch: bool,
    /// A fencing token is wanted.
    pub fence: bool,
}

/// What happens to the machine from outside.
#[derive(Debug)]
pub enum Input {
    /// A connection to the node is being made.
    Dialing {
        /// Which node.
        node: NodeId,
    },
    /// The connection is ready for requests.
    Up {
        /// Which node.
        node: NodeId,
        /// What the handshake learnt.
        info: ServerInfo,
    },
    /// The connection, or the attempt to make one, ended.
    Down {
        /// Which node.
        node: NodeId,
        /// Why.
        fault: Fault,
    },
    /// The node refused the oldest request for the command that it was said with, and would answer to another: the request
    /// is to be sent again.
    Rephrase {
        /// Who refused.
        node: NodeId,
    },
    /// The answer to the oldest unanswered request of this node.
    Reply {
        /// Which node.
        node: NodeId,
        /// The answer.
        reply: Reply,
    },
    /// The node says that a watched key changed.
    Push {
        /// Which node.
        node: NodeId,
        /// What changed.
        push: Push,
    },
    /// Time has passed and everything that had arrived by now was handled.
    Tick,
    /// End an operation now.
    Cancel {
        /// Which.
        op: OpKey,
        /// The status it ends with.
        status: Status,
    },
    /// The caller saw the lease's deadline pass; it must not come to life again.
    Expired {
        /// Which.
        lease: LeaseKey,
    },
    /// The caller gave the lease back; nothing is said to any server.
    Forget {
        /// Which.
        lease: LeaseKey,
    },
}

/// What the machine wants done or known.
#[derive(Debug, Clone, Hash)]
pub enum Output {
    /// Queue this on the node's connection.
    Send {
        /// Which node.
        node: NodeId,
        /// What to say.
        request: Request,
    },
    /// Give up the node's connection; the machine regards it as down already.
    Reset {
        /// Which node.
        node: NodeId,
    },
    /// An operation ended. Exactly one per submitted operation.
    Completed {
        /// Which.
        op: OpKey,
        /// How.
        result: Result<Completion, Failure>,
    },
    /// A lease has tried to extend itself.
    Extended {
        /// Which.
        lease: LeaseKey,
        /// Whether it succeeded.
        result: Result<(), Failure>,
    },
    /// A lease changed.
    Lease {
        /// Which.
        lease: LeaseKey,
        /// Its state now.
        view: LeaseView,
    },
}

/// A successful end.
#[derive(Debug, Clone, Hash)]
pub enum Completion {
    /// A lock was acquired.
    Locked {
        /// The new lease.
        lease: LeaseKey,
        /// Its token.
        token: Bytes,
        /// Its fencing token, if one was asked for.
        fence: Option<u64>,
        /// Its state.
        view: LeaseView,
    },
    /// Done as asked.
    Done,
    /// Who holds the lock, per node, in order.
    Inspected(Vec<NodeView>),
}

/// A lease as its owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseView {
    /// Held, lost or released.
    pub state: LeaseState,
    /// Usable until this lease time.
    pub valid_until_ns: u64,
    /// How many nodes confirmed it.
    pub node_count_held: usize,
}

/// The life of a lease. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// Usable until `valid_until`.
    Held,
    /// Over without having been released.
    Lost,
    /// Given back.
    Released,
}

/// What one node says about a lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeView {
    /// [`Outcome::Done`](super::report::Outcome::Done) when it answered.
    pub report: NodeReport,
    /// The holder's token (its first [`HOLDER_BYTES`](super::request::HOLDER_BYTES) bytes).
    pub token: Option<Bytes>,
    /// The key's remaining life.
    pub remaining: Option<Remaining>,
}
