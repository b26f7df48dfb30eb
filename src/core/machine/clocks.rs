//! The clocks: what time it is at the nodes, and when lease time leapt ahead of the wait clock.

use super::Machine;
use crate::core::operation::LeaseKey;
use crate::core::request::NodeId;
use crate::core::state::server_time::ServerTime;
use crate::core::time::{NS_PER_MS, Now};

/// A reply that took longer says too little about when the server read its clock.
const PROMPT_REPLY_NS: u64 = 100 * NS_PER_MS;

/// Steps of lease time that timers need not follow: the clocks are corrected by less all the time.
const LEAP_NS: u64 = NS_PER_MS;

/// A clock that is set ahead by a little again and again is followed no more often than this: each time all leases are
/// looked at. Whether one is held is asked of lease time itself, so only what is told of its end may be so late.
const LEAP_PAUSE_NS: u64 = 10 * NS_PER_MS;

impl Machine {
    /// The median of the nodes' clocks, of two in the middle the earlier: a clock that is ahead never decides. `None`
    /// while fewer than a quorum are known: a minority could all be wrong.
    pub(super) fn median_time_us(&self, now: Now) -> Option<u64> {
        let mut times: Vec<u64> = self.nodes.iter().filter_map(|node| node.time.at(now)).collect();
        times.sort_unstable();
        (times.len() >= self.quorum).then(|| times[(times.len() - 1) / 2])
    }

    /// What time it is at this node.
    pub(super) fn node_time_us(&self, node: NodeId, now: Now) -> Option<u64> {
        self.nodes[node].time.at(now)
    }

    /// A node told its time in a reply to a request that was queued at `queued`. Reckoned from there it comes out a
    /// little late, by about what the next request will take to be there.
    pub(super) fn learn_time(&mut self, now: Now, from: NodeId, queued: Now, time_us: u64) {
        let was_prompt = now.mono_ns.saturating_sub(queued.mono_ns) <= PROMPT_REPLY_NS;
        let read = if was_prompt { queued } else { now };
        self.nodes[from].time = ServerTime::new(time_us, read.mono_ns);
    }

    /// Lease time is so far ahead of where it was that leases are over earlier than their timers know.
    pub(super) fn has_lease_time_leapt(&self, now: Now) -> bool {
        let leap_ns = now.lease_ns.saturating_sub(now.mono_ns).saturating_sub(self.lease_ahead_ns);
        let is_time = now.mono_ns >= self.leapt_mono_ns.saturating_add(LEAP_PAUSE_NS);
        leap_ns > LEAP_PAUSE_NS || leap_ns > LEAP_NS && is_time
    }

    /// Tells the owners of leases what a leap of lease time made of them.
    pub(super) fn follow_leap(&mut self, now: Now) {
        if self.has_lease_time_leapt(now) {
            self.lease_ahead_ns = now.lease_ns.saturating_sub(now.mono_ns);
            self.leapt_mono_ns = now.mono_ns;
            let leases: Vec<LeaseKey> = self.leases.keys().collect();
            for lease in leases {
                self.publish(now, lease);
            }
        }
    }
}
