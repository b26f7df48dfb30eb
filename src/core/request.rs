//! The conversation with one node in the core's own terms: requests, replies, what a node is.
//!
//! One [`Request`] is exactly one command on the wire and gets exactly one [`Reply`], in order. How either is written
//! in RESP is the business of `src/redis`.

use std::sync::Arc;

/// Shared immutable bytes: a key or a token travels to N nodes without being copied N times.
pub type Bytes = Arc<[u8]>;

/// A node's position in the list of URLs, from 0. Messages for people count from 1.
pub type NodeId = usize;

/// The most nodes a handle can have. Fifteen masters survive seven failures; nobody has been seen to run more.
pub const MAX_NODES: usize = 15;

/// What is said to a node. Keys carry the handle's prefix already.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// `SET key token NX PX ttl`: [`Reply::Done`] or [`Reply::Not`] (another token holds the key).
    Set {
        /// The lock key.
        key: Bytes,
        /// The value that makes the key ours.
        token: Bytes,
        /// Life of the key in milliseconds.
        ttl_ms: u64,
    },
    /// [`Request::Set`] and, where it succeeds, count: [`Reply::Fenced`] or [`Reply::Not`]. The counter that stands
    /// beside the key becomes `proposal` or, if it would not grow by that, grows by one; where there was none, it becomes
    /// the server's time in microseconds, if that is more than `proposal`.
    SetFenced {
        /// The lock key.
        key: Bytes,
        /// The value that makes the key ours.
        token: Bytes,
        /// Life of the key in milliseconds.
        ttl_ms: u64,
        /// What the counter is to become.
        proposal: u64,
        /// A counter above this will not be believed, and keeps the life that it has: it is to vanish.
        limit: u64,
    },
    /// Delete the key if its value is `token`: [`Reply::Done`] (deleted) or [`Reply::Not`] (absent or another's).
    Release {
        /// The lock key.
        key: Bytes,
        /// The value that makes the key ours.
        token: Bytes,
    },
    /// Lengthen the key's life to `ttl_ms` if its value is `token`, never shorten it: [`Reply::Done`] or [`Reply::Not`].
    Extend {
        /// The lock key.
        key: Bytes,
        /// The value that makes the key ours.
        token: Bytes,
        /// The wanted remaining life in milliseconds.
        ttl_ms: u64,
    },
    /// [`Request::Extend`] and, where the key is ours, raise the counter to `fence` unless it is more already:
    /// [`Reply::Done`] or [`Reply::Not`].
    ExtendFenced {
        /// The lock key.
        key: Bytes,
        /// The value that makes the key ours.
        token: Bytes,
        /// The wanted remaining life in milliseconds.
        ttl_ms: u64,
        /// What the counter is to be, at least.
        fence: u64,
    },
    /// `CLIENT CACHING YES`: the next command's key is watched. [`Reply::Done`].
    Track,
    /// `PTTL key`: [`Reply::Remaining`].
    Remaining {
        /// The lock key.
        key: Bytes,
    },
    /// The first [`HOLDER_BYTES`] bytes of the key's value: [`Reply::Holder`] or [`Reply::Not`] (no such key).
    Holder {
        /// The lock key.
        key: Bytes,
    },
}

/// The kind of a request: all that is needed to understand its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// [`Request::Set`]
    Set,
    /// [`Request::SetFenced`]
    SetFenced,
    /// [`Request::Release`]
    Release,
    /// [`Request::Extend`]
    Extend,
    /// [`Request::ExtendFenced`]
    ExtendFenced,
    /// [`Request::Track`]
    Track,
    /// [`Request::Remaining`]
    Remaining,
    /// [`Request::Holder`]
    Holder,
}

impl RequestKind {
    /// Whether such a request gives a key life.
    #[must_use]
    pub fn gives_life(self) -> bool {
        matches!(self, RequestKind::Set | RequestKind::SetFenced | RequestKind::Extend | RequestKind::ExtendFenced)
    }
}

impl Request {
    /// Which kind of request this is.
    #[must_use]
    pub fn kind(&self) -> RequestKind {
        match self {
            Request::Set { .. } => RequestKind::Set,
            Request::SetFenced { .. } => RequestKind::SetFenced,
            Request::Release { .. } => RequestKind::Release,
            Request::Extend { .. } => RequestKind::Extend,
            Request::ExtendFenced { .. } => RequestKind::ExtendFenced,
            Request::Track => RequestKind::Track,
            Request::Remaining { .. } => RequestKind::Remaining,
            Request::Holder { .. } => RequestKind::Holder,
        }
    }
}

/// How much of a holder's token is read: any client's token fits, a hostile value does not fill our memory.
pub const HOLDER_BYTES: usize = 256;

/// A node's answer to one request, classified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Done as asked.
    Done,
    /// Definitely not done: the key is another's, or absent.
    Not,
    /// The key is ours, and the node has counted.
    Fenced {
        /// Its counter now.
        counter: u64,
        /// Its time, in microseconds since 1970.
        time_us: u64,
    },
    /// The key's remaining life.
    Remaining(Remaining),
    /// The first bytes of the value.
    Holder(Bytes),
    /// A definite error: nothing was applied and it is no statement about the lock ("no vote").
    Refused(Fault),
    /// An error after which the request may or may not have been applied.
    Unclear(Fault),
}

/// What `PTTL` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remaining {
    /// No such key.
    Absent,
    /// The key never expires: not a Redlock client's work.
    Forever,
    /// Milliseconds left.
    Ms(u64),
}

/// Why a node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What kind of trouble.
    pub kind: FaultKind,
    /// For people: the server's own words or the system's, escaped, without secrets, at most [`FAULT_TEXT_MAX`] bytes.
    pub text: Box<str>,
}

/// Upper limit of [`Fault::text`] in bytes.
pub const FAULT_TEXT_MAX: usize = 256;

/// Kinds of trouble with a node, as far as the algorithm or a caller would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The server answered with an error that time may cure (LOADING, READONLY, OOM, MISCONF, MASTERDOWN, BUSY, …).
    Refused,
    /// An error that only a person can cure (WRONGPASS, NOAUTH, NOPERM, WRONGTYPE, MOVED, a replica, a duplicate, bad TLS trust, …).
    Permanent,
    /// No answer within the node timeout.
    Timeout,
    /// No connection: refused, reset, closed, unresolvable, TLS or handshake not finished in time.
    Unreachable,
    /// The peer does not speak RESP, or exceeded a limit.
    Protocol,
}

impl Fault {
    /// A fault with its text.
    pub fn new(kind: FaultKind, text: impl Into<Box<str>>) -> Fault {
        Fault { kind, text: text.into() }
    }
}

/// What the handshake learnt of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// `run_id` of INFO server: changes with every start of the process. Empty where ACLs hide it.
    pub run_id: String,
    /// Seconds since that start (`uptime_in_seconds`).
    pub uptime_s: u64,
    /// The server's `TIME` in microseconds since 1970, 0 where ACLs hide it.
    pub time_us: u64,
    /// It follows another master and must not vote.
    pub is_replica: bool,
    /// `maxmemory_policy`, empty where hidden.
    pub maxmemory_policy: String,
    /// The connection that was given up before this one was closed at the server too: what was sent on it and not executed
    /// by now never will be.
    pub is_previous_closed: bool,
    /// Invalidation pushes can be asked for (RESP3 and `CLIENT TRACKING ON OPTIN` accepted).
    pub can_track: bool,
}

/// An invalidation push.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Push {
    /// This key changed, was deleted or expired.
    Key(Vec<u8>),
    /// The whole database was flushed.
    Flush,
}
