//! The server process behind a node, as far as its age and its settings say whether it may vote.

use crate::core::mutant::{self, Mutant};
use crate::core::request::ServerInfo;
use crate::core::time::{NS_PER_MS, Now};

/// `uptime_in_seconds` is the difference of two truncated numbers: the true age is above it less this.
const UPTIME_RESOLUTION_S: u64 = 1;

/// The server process behind a node.
#[derive(Debug, Clone, Default, Hash)]
pub struct Process {
    /// When this handle met it, on the wait clock.
    met_mono_ns: u64,
    /// How long it had been running then, at least, if its clock is to be believed.
    claimed_age_ns: u64,
    /// Another process stood here before, as far as this handle knows.
    pub is_successor: bool,
    /// Its votes count, for good.
    pub is_cleared: bool,
    /// ACLs hide its `run_id`.
    pub is_nameless: bool,
    /// The policy by which it evicts keys when its memory is full; empty: it does not, or hides it.
    pub eviction: String,
}

impl Process {
    /// The process met now; `predecessor_mono_ns` is when the one before it certainly was alive.
    #[must_use]
    pub fn met(now: Now, info: &ServerInfo, predecessor_mono_ns: Option<u64>) -> Process {
        let claimed_s = info.uptime_s.saturating_sub(UPTIME_RESOLUTION_S);
        let claimed_ns = claimed_s.saturating_mul(1_000 * NS_PER_MS);
        let possible_ns = predecessor_mono_ns.map_or(u64::MAX, |alive| now.mono_ns.saturating_sub(alive));
        let is_possible = claimed_ns <= possible_ns || mutant::is(Mutant::UptimeBelieved);
        Process {
            met_mono_ns: wait_clock_ns(now),
            // Older than the death of the one before it: its clock was set since.
            claimed_age_ns: if is_possible { claimed_ns } else { 0 },
            is_successor: predecessor_mono_ns.is_some(),
            is_cleared: false,
            is_nameless: info.run_id.is_empty(),
            eviction: if is_evicting(&info.maxmemory_policy) { info.maxmemory_policy.clone() } else { String::new() },
        }
    }

    /// How long it has been running, at least.
    #[must_use]
    pub fn age_ns(&self, now: Now, is_claim_believed: bool) -> u64 {
        let known_ns = wait_clock_ns(now).saturating_sub(self.met_mono_ns);
        known_ns.saturating_add(if is_claim_believed { self.claimed_age_ns } else { 0 })
    }
}

fn wait_clock_ns(now: Now) -> u64 {
    if mutant::is(Mutant::GuardInLeaseTime) { now.lease_ns } else { now.mono_ns }
}

/// The policy makes a server forget keys when its memory is full.
#[must_use]
pub fn is_evicting(policy: &str) -> bool {
    !matches!(policy, "" | "noeviction")
}
