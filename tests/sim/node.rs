//! A model of one Redis master: the commands that the library sends, expiry on the server's own clock, tracking.

use redlock::core::request::{Bytes, Fault, FaultKind, Push, Remaining, Reply, Request, ServerInfo};
use redlock::core::time::NS_PER_MS;

use crate::clock::Clock;
use crate::rng::{Rng, TokenId};

/// What a server does to commands at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Obliging,
    /// LOADING, OOM, READONLY, …: nothing is applied.
    Refusing,
    /// NOPERM: nothing is applied, and only a person can cure it.
    Forbidding,
    /// Errors after which a command may have been applied.
    Unclear,
}

/// A lock key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub resource: u8,
    pub token: TokenId,
    /// On the server's clock, whole milliseconds.
    pub expires_ns: u64,
}

/// What a command changed, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Granted,
    Extended,
    Deleted,
}

/// How the clock of a server's machine was set when the server had just started, and had no keys yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// It was not.
    Right,
    /// It was an hour behind and was set right: the server says that it has been running for an hour.
    ClockSetRight,
    /// It was right and was set ahead by an hour: the same, but its time is not the others'.
    ClockSetWrong,
}

const US_PER_S: u64 = 1_000_000;
const AN_HOUR_US: u64 = 3_600 * US_PER_S;

/// Faults in the server's scripts rather than in the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFault {
    /// Unlock deletes whatever is there.
    UnlockWithoutCompare,
    /// Extension lengthens whatever is there.
    ExtendWithoutCompare,
    /// Extension sets the life also where it was longer.
    ExtendShortens,
    /// SET without NX.
    SetWithoutNx,
    /// A grant leaves the fencing counter where it is.
    CounterStands,
    /// A grant makes the counter the proposal or leaves it, but never adds one.
    CounterRepeats,
    /// An extension does not raise the counter.
    CounterNotRaised,
}

#[derive(Debug)]
pub struct Node {
    pub clock: Clock,
    pub keys: Vec<Key>,
    /// Fencing counters, by resource.
    pub counters: Vec<(u8, u64)>,
    /// What its clock showed at the beginning, were it exact.
    zero_ns: u64,
    pub is_up: bool,
    /// While down, it does not even refuse connections.
    pub is_silent: bool,
    pub is_paused: bool,
    pub mood: Mood,
    pub mood_until_ns: u64,
    pub starts: u32,
    /// In true time.
    pub started_ns: u64,
    /// What its clock showed when it started.
    started_us: u64,
    /// How far its `TIME` is ahead of what its machine's clock showed at the beginning.
    ahead_us: u64,
    /// It evicts keys when its memory is full, says its configuration. It never is.
    pub is_evicting: bool,
    /// Its clock was set: keys may live longer than they should.
    pub was_stepped: bool,
    pub script_fault: Option<ScriptFault>,
    /// Resources, as bits, on which a stranger has a key that nobody will ever release: what a client of another library
    /// left behind.
    pub strangers: u8,
    node: usize,
}

impl Node {
    pub fn new(node: usize, clock: Clock, skew_ns: u64, uptime_s: u64) -> Node {
        Node {
            clock,
            keys: Vec::new(),
            counters: Vec::new(),
            zero_ns: clock.at(0) - skew_ns,
            is_up: true,
            is_silent: false,
            is_paused: false,
            mood: Mood::Obliging,
            mood_until_ns: 0,
            starts: 0,
            started_ns: 0,
            started_us: EPOCH_US + skew_ns / 1_000 - uptime_s * US_PER_S,
            ahead_us: 0,
            is_evicting: false,
            was_stepped: false,
            script_fault: None,
            strangers: 0,
            node,
        }
    }

    pub fn info(&self, now_ns: u64) -> ServerInfo {
        ServerInfo {
            run_id: format!("{}.{}", self.node, self.starts),
            // As servers reckon it: the difference of two readings of a clock that somebody may have set in between.
            uptime_s: (self.time_us(now_ns) / US_PER_S).saturating_sub(self.started_us / US_PER_S),
            time_us: self.time_us(now_ns),
            maxmemory_policy: if self.is_evicting { "allkeys-lru" } else { "noeviction" }.to_owned(),
            can_track: true,
            ..ServerInfo::default()
        }
    }

    /// `TIME`.
    pub fn time_us(&self, now_ns: u64) -> u64 {
        EPOCH_US + self.ahead_us + self.clock.at(now_ns).saturating_sub(self.zero_ns) / 1_000
    }

    /// Its `TIME` is an hour ahead of everybody else's.
    pub fn is_ahead(&self) -> bool {
        self.ahead_us > 0
    }

    /// A new process.
    pub fn start(&mut self, now_ns: u64, boot: Boot) {
        self.is_up = true;
        self.starts += 1;
        self.started_ns = now_ns;
        self.started_us = self.time_us(now_ns);
        match boot {
            Boot::Right => {}
            Boot::ClockSetRight => self.started_us -= AN_HOUR_US,
            Boot::ClockSetWrong => self.ahead_us = AN_HOUR_US,
        }
    }

    /// The server's time as its commands see it: whole milliseconds.
    fn time_ns(&self, now_ns: u64) -> u64 {
        self.clock.at(now_ns) / NS_PER_MS * NS_PER_MS
    }

    /// Removes what has expired. Which resources that concerned, as bits.
    pub fn purge(&mut self, now_ns: u64) -> u32 {
        let time_ns = self.time_ns(now_ns);
        let mut gone = 0;
        self.keys.retain(|key| {
            let lives = key.expires_ns > time_ns;
            gone |= u32::from(!lives) << key.resource;
            lives
        });
        gone
    }

    /// The true moment at which the token's key ends here; 0 when it is not here.
    pub fn holds_until(&self, now_ns: u64, resource: u8, token: TokenId) -> u64 {
        let time_ns = self.time_ns(now_ns);
        let mine = |key: &&Key| key.resource == resource && key.token == token && key.expires_ns > time_ns;
        self.keys.iter().find(mine).map_or(0, |key| self.clock.when(key.expires_ns))
    }

    /// Executes a command. The reply, and what it changed.
    pub fn execute(&mut self, now_ns: u64, request: &Request, rng: &mut Rng) -> (Reply, Option<Change>) {
        let mood = if now_ns < self.mood_until_ns { self.mood } else { Mood::Obliging };
        match mood {
            Mood::Obliging => self.apply(now_ns, request, rng),
            Mood::Refusing => (Reply::Refused(Fault::new(FaultKind::Refused, "LOADING")), None),
            Mood::Forbidding => (Reply::Refused(Fault::new(FaultKind::Permanent, "NOPERM")), None),
            Mood::Unclear => {
                let change = if rng.one_in(2) { self.apply(now_ns, request, rng).1 } else { None };
                (Reply::Unclear(Fault::new(FaultKind::Refused, "ERR something happened")), change)
            }
        }
    }

    /// What is answered about a key of a stranger's.
    fn is_strange(&self, request: &Request) -> Option<Reply> {
        let (key, reply) = match request {
            Request::Set { key, .. } | Request::Release { key, .. } | Request::Extend { key, .. } => (key, Reply::Not),
            Request::Remaining { key } => (key, Reply::Remaining(Remaining::Forever)),
            Request::Holder { key } => (key, Reply::Holder((&[0xFF; 4][..]).into())),
            Request::SetFenced { .. } | Request::ExtendFenced { .. } | Request::Track => return None,
        };
        (self.strangers & 1 << resource_of(key) != 0).then_some(reply)
    }

    /// Whether a lock on this resource would be granted.
    pub fn is_free(&self, now_ns: u64, resource: u8) -> bool {
        let time_ns = self.time_ns(now_ns);
        let is_held = self.keys.iter().any(|key| key.resource == resource && key.expires_ns > time_ns);
        self.is_up && !is_held && self.strangers & 1 << resource == 0
    }

    fn apply(&mut self, now_ns: u64, request: &Request, rng: &mut Rng) -> (Reply, Option<Change>) {
        // Commands see a time that may be a little old (the server caches it), but expiry looks at the present.
        let stale_ns = if rng.one_in(4) { NS_PER_MS } else { 0 };
        let time_ns = self.time_ns(now_ns) - stale_ns;
        let fault = self.script_fault;
        let found = |keys: &[Key], name: &Bytes| keys.iter().position(|key| key.resource == resource_of(name));
        if let Some(reply) = self.is_strange(request) {
            return (reply, None);
        }
        match request {
            Request::Set { key, token, ttl_ms } => {
                let at = found(&self.keys, key);
                if at.is_some() && fault != Some(ScriptFault::SetWithoutNx) {
                    return (Reply::Not, None);
                }
                at.map(|at| self.keys.swap_remove(at));
                let expires_ns = time_ns + ttl_ms * NS_PER_MS;
                self.keys.push(Key { resource: resource_of(key), token: TokenId::of(token), expires_ns });
                (Reply::Done, Some(Change::Granted))
            }
            Request::Release { key, token } => match found(&self.keys, key) {
                Some(at)
                    if self.keys[at].token == TokenId::of(token)
                        || fault == Some(ScriptFault::UnlockWithoutCompare) =>
                {
                    self.keys.swap_remove(at);
                    (Reply::Done, Some(Change::Deleted))
                }
                _ => (Reply::Not, None),
            },
            Request::Extend { key, token, ttl_ms, .. } => match found(&self.keys, key) {
                Some(at)
                    if self.keys[at].token == TokenId::of(token)
                        || fault == Some(ScriptFault::ExtendWithoutCompare) =>
                {
                    let expires_ns = time_ns + ttl_ms * NS_PER_MS;
                    let key = &mut self.keys[at];
                    let shortens = fault == Some(ScriptFault::ExtendShortens);
                    key.expires_ns = if shortens { expires_ns } else { expires_ns.max(key.expires_ns) };
                    (Reply::Done, Some(Change::Extended))
                }
                _ => (Reply::Not, None),
            },
            Request::SetFenced { key, token, ttl_ms, proposal, .. } => {
                let set = Request::Set { key: key.clone(), token: token.clone(), ttl_ms: *ttl_ms };
                match self.apply(now_ns, &set, rng) {
                    (Reply::Done, change) => {
                        let time_us = self.time_us(now_ns);
                        let counter = self.count(resource_of(key), *proposal, time_us);
                        (Reply::Fenced { counter, time_us }, change)
                    }
                    refused => refused,
                }
            }
            Request::ExtendFenced { key, token, ttl_ms, fence } => {
                let (key, token, ttl_ms) = (key.clone(), token.clone(), *ttl_ms);
                let resource = resource_of(&key);
                let extended = self.apply(now_ns, &Request::Extend { key, token, ttl_ms }, rng);
                if extended.0 == Reply::Done && fault != Some(ScriptFault::CounterNotRaised) {
                    let known = self.counters.iter().find(|(of, _)| *of == resource).map_or(0, |(_, counter)| *counter);
                    self.counters.retain(|(of, _)| *of != resource);
                    self.counters.push((resource, known.max(*fence)));
                }
                extended
            }
            Request::Track => (Reply::Done, None),
            Request::Remaining { key } => {
                let remaining = match found(&self.keys, key) {
                    None => Remaining::Absent,
                    Some(at) => Remaining::Ms((self.keys[at].expires_ns.saturating_sub(time_ns)) / NS_PER_MS),
                };
                (Reply::Remaining(remaining), None)
            }
            Request::Holder { key } => match found(&self.keys, key) {
                None => (Reply::Not, None),
                Some(at) => (Reply::Holder(self.keys[at].token.bytes()), None),
            },
        }
    }
}

impl Node {
    /// What a granted lock makes of the resource's counter.
    fn count(&mut self, resource: u8, proposal: u64, time_us: u64) -> u64 {
        let known = self.counters.iter().find(|(of, _)| *of == resource).map(|(_, counter)| *counter);
        let stands = self.script_fault == Some(ScriptFault::CounterStands);
        let repeats = self.script_fault == Some(ScriptFault::CounterRepeats);
        let counter = match known {
            Some(counter) if stands => counter,
            Some(counter) => proposal.max(counter + u64::from(!repeats)),
            None => proposal.max(time_us),
        };
        self.counters.retain(|(of, _)| *of != resource);
        self.counters.push((resource, counter));
        counter
    }
}

/// Servers' time at the beginning of a schedule.
const EPOCH_US: u64 = 1_700_000_000_000_000;

/// More resources than any schedule has.
pub const RESOURCES_MAX: usize = 4;

/// The resource that a key stands for: its last byte.
pub fn resource_of(key: &[u8]) -> u8 {
    key[key.len() - 1] - b'a'
}

/// The key of a resource.
pub fn key_of(resource: u8) -> Bytes {
    Bytes::from([b'l', b'/', b'a' + resource].as_slice())
}

/// The invalidation of a resource's key.
pub fn invalidation(resource: u8) -> Push {
    Push::Key(key_of(resource).to_vec())
}
