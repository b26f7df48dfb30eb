//! One client: a machine of the library, and what its only thread has and does.

use std::hash::Hash;

use redlock::core::entropy::Entropy;
use redlock::core::machine::{Context, Machine};
use redlock::core::operation::{LeaseKey, LeaseState, LockParams, OpKey, Operation};
use redlock::core::request::Bytes;
use redlock::core::time::Now;

use crate::fingerprint::fingerprint;
use crate::scenario::{Act, Scenario, TTL_MS, WAIT_MS};

/// Tokens in order, and for the first client always the shortest pause, for the second the longest.
#[derive(Debug, Clone, Hash)]
struct Tokens {
    client: u8,
    count: u8,
}

impl Entropy for Tokens {
    fn token(&mut self) -> Bytes {
        self.count += 1;
        Bytes::from([self.client, self.count].as_slice())
    }

    fn up_to(&mut self, most: u64) -> u64 {
        if self.client == 0 { 0 } else { most }
    }
}

/// Whose token it is.
pub fn owner(token: &[u8]) -> usize {
    usize::from(token[0])
}

pub fn named(token: &[u8]) -> String {
    format!("t{}.{}", token[0], token[1])
}

/// A lease in its owner's hands.
#[derive(Debug, Clone, Hash)]
pub struct Claim {
    pub lease: LeaseKey,
    pub token: Bytes,
    pub state: LeaseState,
    pub valid_until_ns: u64,
    /// Its owner began to give it back.
    pub is_let_go: bool,
    /// Nodes that have said since then that they deleted the key.
    pub deletions: usize,
}

impl Claim {
    /// Whether its owner may use it.
    pub fn is_valid(&self, now_ns: u64) -> bool {
        self.state == LeaseState::Held && !self.is_let_go && now_ns < self.valid_until_ns
    }
}

#[derive(Clone)]
pub struct Client {
    pub machine: Machine,
    tokens: Tokens,
    /// What remains to be done.
    pub script: &'static [Act],
    /// The operation under way, and what it is.
    pub pending: Option<(OpKey, Act)>,
    pub claim: Option<Claim>,
    /// Of all of the above.
    pub fingerprint: u128,
}

impl Client {
    pub fn new(client: usize, scenario: &Scenario) -> Client {
        Client {
            machine: Machine::new(scenario.config()),
            tokens: Tokens { client: client as u8, count: 0 },
            script: scenario.scripts[client],
            pending: None,
            claim: None,
            fingerprint: 0,
        }
    }

    pub fn context(&mut self, now_ns: u64) -> (&mut Machine, Context<'_>) {
        (&mut self.machine, Context { now: at(now_ns), entropy: &mut self.tokens })
    }

    pub fn note_fingerprint(&mut self) {
        let Client { machine, tokens, script, pending, claim, fingerprint: _ } = self;
        let pending = pending.map(|(op, act)| (op, act as u8));
        self.fingerprint = fingerprint(&(machine, tokens, script.len(), pending, claim));
    }

    /// The next line of the script.
    pub fn next_act(&self) -> Option<Act> {
        self.script.first().copied().filter(|_| self.pending.is_none())
    }

    /// What the library is asked for.
    pub fn operation(&self, act: Act, fence: bool) -> Operation {
        let lease = self.claim.as_ref().map(|claim| claim.lease).unwrap_or_default();
        match act {
            Act::Extend => Operation::Extend { lease, ttl_ms: TTL_MS },
            Act::Inspect => Operation::Inspect { key: Bytes::from(b"r".as_slice()) },
            Act::Unlock => Operation::Unlock { lease },
            Act::Lock | Act::Retry | Act::Wait => Operation::Lock(LockParams {
                key: Bytes::from(b"r".as_slice()),
                ttl_ms: TTL_MS,
                wait_ms: Some(if act == Act::Wait { WAIT_MS } else { 0 }),
                retries: Some(1),
                token: None,
                explain: false,
                auto_extend: false,
                max_hold_ms: None,
                watch: false,
                fence,
            }),
        }
    }
}

/// All clocks of clients are right.
pub fn at(now_ns: u64) -> Now {
    Now { mono_ns: now_ns, lease_ns: now_ns }
}
