//! One client process: a machine of the library, its links, and the threads that use it.

use redlock::core::machine::Machine;
use redlock::core::operation::{LeaseKey, LeaseState, OpKey};
use redlock::core::redial::Redial;
use redlock::core::time::{NS_PER_MS, Now};

use crate::clock::Clock;
use crate::knobs::ClientKnobs;
use crate::net::{ConnId, Item};
use crate::rng::{Chance, Rng, TokenId};

/// The connection to one node over its whole life: a model of the engine's link.
#[derive(Debug)]
pub struct Link {
    pub phase: Phase,
    pub redial: Redial,
    /// A connection that was given up and that the server may still have.
    pub abandoned: Option<ConnId>,
}

#[derive(Debug, Clone, Copy)]
pub enum Phase {
    Resting { until_mono_ns: u64 },
    Greeting { conn: ConnId, since_mono_ns: u64 },
    Ready { conn: ConnId },
}

impl Link {
    pub fn conn(&self) -> Option<ConnId> {
        match self.phase {
            Phase::Resting { .. } => None,
            Phase::Greeting { conn, .. } | Phase::Ready { conn, .. } => Some(conn),
        }
    }

    pub fn deadline_mono_ns(&self, connect_timeout_ns: u64) -> Option<u64> {
        match self.phase {
            Phase::Resting { until_mono_ns } => Some(until_mono_ns),
            Phase::Greeting { since_mono_ns, .. } => Some(since_mono_ns + connect_timeout_ns),
            Phase::Ready { .. } => None,
        }
    }

    /// The connection that is given up, if there is one.
    pub fn give_up(&mut self, now: Now) -> Option<ConnId> {
        let conn = self.conn()?;
        if matches!(self.phase, Phase::Ready { .. }) {
            self.abandoned = Some(conn);
        }
        self.phase = Phase::Resting { until_mono_ns: self.redial.ended(now) };
        Some(conn)
    }
}

/// What a thread asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Lock { resource: u8, own_token: bool },
    Unlock { claim: usize },
    Extend { claim: usize, ttl_ms: u64 },
    WaitLost { claim: usize },
    UnlockToken { token: TokenId },
    ExtendToken { token: TokenId, ttl_ms: u64 },
    Inspect,
    Ready,
}

/// An operation whose end has not been told yet.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    pub op: OpKey,
    pub worker: usize,
    pub asked: Asked,
    pub submitted_ns: u64,
    pub submitted_lease_ns: u64,
    /// How often the resource had become free by then.
    pub turns_before: u64,
    /// The thread does not wait for it, as in an event loop.
    pub is_detached: bool,
    /// Nodes that refused a lock because of another holder.
    pub said_held: u16,
    /// On the wait clock; `u64::MAX`: no promise yet.
    pub must_end_mono_ns: u64,
}

/// A lease in its owner's hands.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    pub lease: LeaseKey,
    pub resource: u8,
    pub token: TokenId,
    pub state: LeaseState,
    pub valid_until_ns: u64,
    /// The owner saw the deadline pass.
    pub is_seen_over: bool,
    /// The owner began to give it back.
    pub is_let_go: bool,
}

impl Claim {
    /// Whether its owner believes at `lease_ns` to hold the lock.
    pub fn is_active(&self, lease_ns: u64) -> bool {
        self.state == LeaseState::Held && !self.is_seen_over && !self.is_let_go && lease_ns < self.valid_until_ns
    }
}

/// A thread: locks, holds, gives back.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    pub is_waiting: bool,
    pub rounds_left: u32,
    pub claim: Option<usize>,
}

/// What happened to one token, whatever the clients believe.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenFate {
    /// Nodes that set a key with it.
    pub granted: u16,
    /// When each node last deleted it on request.
    pub deleted_ns: [u64; 7],
    /// When each node last extended it.
    pub extended_ns: [u64; 7],
    /// Nodes whose last word to the owner was that they do not have it.
    pub denied: u16,
    /// A server lost it, or a stranger unlocked it: no quorum of keys is promised any more.
    pub is_robbed: bool,
    /// Nothing keeps the servers that lost it from granting the lock to another: no promise at all any more.
    pub is_exposed: bool,
    /// The owner gave the lease back without releasing it, or a stranger lengthened it: it may stay for its ttl.
    pub is_left: bool,
}

pub struct Client {
    pub machine: Machine,
    pub knobs: ClientKnobs,
    pub chance: Chance,
    /// How far lease time has been stepped ahead.
    pub lease_ahead_ns: u64,
    pub links: Vec<Link>,
    /// The servers' processes that it has met last.
    pub met: Vec<Option<String>>,
    /// Nodes whose server it has known and accepted, as bits.
    pub accepted: u16,
    /// Nodes that it has seen restart, as bits.
    pub successors: u16,
    pub workers: Vec<Worker>,
    pub pending: Vec<Pending>,
    pub claims: Vec<Claim>,
    /// How many attempts its locks were worth.
    pub allowed_attempts: u64,
    pub fates: Vec<TokenFate>,
    /// Queued and not handed to the kernel yet.
    pub unsent: Vec<(ConnId, Item)>,
    pub paused_until_ns: u64,
    pub looked_ns: u64,
    pub wake_ns: u64,
    pub is_alive: bool,
}

impl Client {
    pub fn new(client: usize, knobs: ClientKnobs, rng: Rng) -> Client {
        let links = (0..knobs.config.node_count)
            .map(|_| Link { phase: Phase::Resting { until_mono_ns: 0 }, redial: Redial::default(), abandoned: None })
            .collect();
        let idle = Worker { is_waiting: false, rounds_left: knobs.rounds, claim: None };
        Client {
            machine: Machine::new(knobs.config.clone()),
            chance: Chance { rng, client, tokens: 0 },
            lease_ahead_ns: 0,
            links,
            met: vec![None; knobs.config.node_count],
            accepted: 0,
            successors: 0,
            workers: vec![idle; knobs.workers],
            pending: Vec::new(),
            claims: Vec::new(),
            allowed_attempts: 0,
            fates: Vec::new(),
            unsent: Vec::new(),
            paused_until_ns: knobs.starts_ns,
            looked_ns: 0,
            wake_ns: u64::MAX,
            is_alive: true,
            knobs,
        }
    }

    pub fn clock(&self) -> Clock {
        self.knobs.clock
    }

    /// Both clocks at a true moment.
    pub fn now(&self, true_ns: u64) -> Now {
        let mono_ns = self.knobs.clock.at(true_ns);
        Now { mono_ns, lease_ns: mono_ns + self.lease_ahead_ns }
    }

    /// The true moment at which lease time will have reached `lease_ns`.
    pub fn when_lease(&self, lease_ns: u64) -> u64 {
        self.knobs.clock.when(lease_ns.saturating_sub(self.lease_ahead_ns))
    }

    pub fn fate(&mut self, token: TokenId) -> &mut TokenFate {
        if self.fates.len() <= token.count {
            self.fates.resize(token.count + 1, TokenFate::default());
        }
        &mut self.fates[token.count]
    }

    /// Somebody is inside the library: reads sockets and looks at the clock.
    pub fn is_attended(&self) -> bool {
        !self.knobs.is_blocking || !self.pending.is_empty()
    }

    pub fn connect_timeout_ns(&self) -> u64 {
        self.knobs.config.connect_timeout_ms * NS_PER_MS
    }

    /// How long an operation may take besides what its caller allows for: two questions (a last attempt, and who
    /// holds the lock), each of which may first wait for the connection. Where rivals were seen, the attempt asks
    /// single nodes before the rest, for one node timeout altogether.
    pub fn grace_ns(&self) -> u64 {
        let config = &self.knobs.config;
        (2 * (config.connect_timeout_ms + config.node_timeout_ms) + config.node_timeout_ms + 5) * NS_PER_MS
    }
}
