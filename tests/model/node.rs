//! A model of one Redis master with one lock key.

use redlock::core::request::{Bytes, Remaining, Reply, Request, ServerInfo};
use redlock::core::time::NS_PER_MS;

/// What the clocks show at the beginning: more than any uptime.
pub const BEGIN_NS: u64 = 1_000_000_000 * NS_PER_MS;

/// The servers' `TIME` when the clocks show zero, in microseconds.
const EPOCH_US: u64 = 1_700_000_000_000_000;

/// Faults in the server's scripts rather than in the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptFault {
    /// Unlock deletes whatever is there.
    UnlockWithoutCompare,
    /// SET without NX.
    SetWithoutNx,
    /// A grant leaves the fencing counter where it is.
    CounterStands,
    /// The write-back of a fencing token is confirmed and not done.
    FenceNotWrittenBack,
}

#[derive(Debug, Clone, Hash)]
pub struct Key {
    pub token: Bytes,
    pub expires_ns: u64,
}

#[derive(Debug, Clone, Hash)]
pub struct Node {
    pub key: Option<Key>,
    /// The fencing counter beside the key; 0: none.
    counter: u64,
    starts: u8,
    started_ns: u64,
}

impl Node {
    /// It has been running for a day.
    pub fn new() -> Node {
        Node { key: None, counter: 0, starts: 0, started_ns: BEGIN_NS - 86_400_000 * NS_PER_MS }
    }

    /// The process dies, and a new one stands in its place with nothing.
    pub fn restart(&mut self, now_ns: u64) {
        *self = Node { key: None, counter: 0, starts: self.starts + 1, started_ns: now_ns };
    }

    pub fn info(&self, node: usize, now_ns: u64, can_track: bool) -> ServerInfo {
        ServerInfo {
            run_id: format!("{node}.{}", self.starts),
            uptime_s: (now_ns - self.started_ns) / (1_000 * NS_PER_MS),
            time_us: time_us(now_ns),
            can_track,
            ..ServerInfo::default()
        }
    }

    /// Removes the key if it has expired. True if it had.
    pub fn purge(&mut self, now_ns: u64) -> bool {
        self.key.take_if(|key| key.expires_ns <= now_ns).is_some()
    }

    pub fn has(&self, token: &Bytes) -> bool {
        self.key.as_ref().is_some_and(|key| key.token == *token)
    }

    /// Executes a command. The reply, and whether the key changed.
    pub fn execute(&mut self, now_ns: u64, request: &Request, fault: Option<ScriptFault>) -> (Reply, bool) {
        let is_faulty = |this: ScriptFault| fault == Some(this);
        match request {
            Request::Set { token, ttl_ms, .. } => match self.key {
                Some(_) if !is_faulty(ScriptFault::SetWithoutNx) => (Reply::Not, false),
                _ => {
                    self.key = Some(Key { token: token.clone(), expires_ns: expiry(now_ns, *ttl_ms) });
                    (Reply::Done, true)
                }
            },
            Request::SetFenced { key, token, ttl_ms, proposal, .. } => {
                let set = Request::Set { key: key.clone(), token: token.clone(), ttl_ms: *ttl_ms };
                match self.execute(now_ns, &set, fault) {
                    (Reply::Done, _) => {
                        let grown = self.counter + u64::from(!is_faulty(ScriptFault::CounterStands));
                        let least = if self.counter == 0 { time_us(now_ns) } else { grown };
                        self.counter = least.max(*proposal);
                        (Reply::Fenced { counter: self.counter, time_us: time_us(now_ns) }, true)
                    }
                    refused => refused,
                }
            }
            Request::Release { token, .. } => {
                let is_meant = self.has(token) || is_faulty(ScriptFault::UnlockWithoutCompare) && self.key.is_some();
                if is_meant {
                    self.key = None;
                }
                (if is_meant { Reply::Done } else { Reply::Not }, is_meant)
            }
            Request::Extend { token, ttl_ms, .. } => match self.key.as_mut().filter(|key| key.token == *token) {
                Some(key) => {
                    key.expires_ns = key.expires_ns.max(expiry(now_ns, *ttl_ms));
                    (Reply::Done, true)
                }
                None => (Reply::Not, false),
            },
            Request::ExtendFenced { key, token, ttl_ms, fence } => {
                let (key, token, ttl_ms) = (key.clone(), token.clone(), *ttl_ms);
                let extend = Request::Extend { key, token, ttl_ms };
                let extended = self.execute(now_ns, &extend, fault);
                if extended.0 == Reply::Done && !is_faulty(ScriptFault::FenceNotWrittenBack) {
                    self.counter = self.counter.max(*fence);
                }
                extended
            }
            Request::Track => (Reply::Done, false),
            Request::Remaining { .. } => {
                let left = |key: &Key| Remaining::Ms(key.expires_ns.saturating_sub(now_ns) / NS_PER_MS);
                (Reply::Remaining(self.key.as_ref().map_or(Remaining::Absent, left)), false)
            }
            Request::Holder { .. } => {
                (self.key.as_ref().map_or(Reply::Not, |key| Reply::Holder(key.token.clone())), false)
            }
        }
    }
}

fn time_us(now_ns: u64) -> u64 {
    EPOCH_US + now_ns / 1_000
}

/// As early as a server may expire a key: its clock is 1 % fast, and counts whole milliseconds at both ends.
fn expiry(now_ns: u64, ttl_ms: u64) -> u64 {
    now_ns + ttl_ms * NS_PER_MS * 99 / 100 - 2 * NS_PER_MS
}
