//! The numbers that govern the algorithm, validated once when a handle is made.

use super::request::MAX_NODES;

/// Options of the core. Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How many nodes there are, 1 …= [`MAX_NODES`].
    pub node_count: usize,
    /// A node that has not answered after this is suspect and its answer is not waited for.
    pub node_timeout_ms: u64,
    /// Making a connection – name resolution, TCP, TLS, handshake – may take this long altogether.
    pub connect_timeout_ms: u64,
    /// A connection on which an answer is due for longer than this is given up.
    pub stall_timeout_ms: u64,
    /// How often a failed attempt is repeated within the wait budget; `None`: as often as it allows.
    pub retry_count: Option<u64>,
    /// Wait for a held lock by invalidation push on the nodes that can.
    pub wake: bool,
    /// Pause before an attempt is repeated, where no push announces that it is worth it.
    pub retry_delay_ms: u64,
    /// A random addition of up to this much to every pause.
    pub retry_jitter_ms: u64,
    /// How far apart the rates of two machines' clocks may be, in parts per million.
    pub drift_ppm: u64,
    /// The longest ttl any client of these nodes uses, where one was agreed on.
    pub max_ttl_ms: Option<u64>,
    /// Which restarted nodes may vote.
    pub restart_guard: RestartGuard,
    /// How much may be under way.
    pub limits: Limits,
}

/// Bounds of what is remembered for one node. Not for callers to choose: tests make them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Most requests that may be unanswered on one connection, and most that may wait for one to be made. Those all leave
    /// when it is there.
    pub in_flight: usize,
    /// Most releases that one node may owe, those in flight included. A slot is reserved before a key is set, so that
    /// its removal can always be remembered.
    pub owed: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { in_flight: 32_768, owed: 65_536 }
    }
}

/// Which nodes may vote that may have restarted and forgotten leases. How long is "so long" is said by `max_ttl_ms`;
/// where it is not set, by the largest ttl that this handle has been asked for, which protects only from forgetting
/// leases like its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartGuard {
    /// Every node votes at once.
    Off,
    /// A node that this handle saw restart does not vote until it has been running for so long.
    #[default]
    Seen,
    /// A node votes only when it has certainly been running for so long, seen or not. Needs `max_ttl_ms`.
    Strict,
}

/// [`Config::node_timeout_ms`] unless told otherwise.
pub const NODE_TIMEOUT_MS: u64 = 100;
/// [`Config::stall_timeout_ms`] unless told otherwise.
pub const STALL_TIMEOUT_MS: u64 = 2_000;
/// [`Config::connect_timeout_ms`] unless told otherwise.
pub const CONNECT_TIMEOUT_MS: u64 = 500;
/// [`Config::retry_delay_ms`] unless told otherwise: the Redis page's and both seeds' figure.
pub const RETRY_DELAY_MS: u64 = 200;
/// [`Config::retry_jitter_ms`] unless told otherwise.
pub const RETRY_JITTER_MS: u64 = 100;
/// [`Config::drift_ppm`] unless told otherwise: the 1 % of the Redis "Distributed Locks" page.
pub const DRIFT_PPM: u64 = 10_000;

impl Config {
    /// The defaults for `node_count` nodes.
    #[must_use]
    pub fn new(node_count: usize) -> Config {
        debug_assert!((1..=MAX_NODES).contains(&node_count));
        Config {
            node_count,
            node_timeout_ms: NODE_TIMEOUT_MS,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            stall_timeout_ms: STALL_TIMEOUT_MS,
            retry_count: None,
            wake: true,
            retry_delay_ms: RETRY_DELAY_MS,
            retry_jitter_ms: RETRY_JITTER_MS,
            drift_ppm: DRIFT_PPM,
            max_ttl_ms: None,
            restart_guard: RestartGuard::default(),
            limits: Limits::default(),
        }
    }
}
