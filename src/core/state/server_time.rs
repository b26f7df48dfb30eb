//! What time it is at the nodes: their `TIME`, carried forward on our wait clock.
//!
//! On the wait clock and not in lease time, which jumps forward with our wall clock: only some of the readings are
//! from before such a jump, and the nodes would seem to disagree.

use crate::core::time::Now;

/// A reading of one node's clock.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct ServerTime {
    /// Microseconds since 1970; 0: never read, or hidden by ACLs.
    time_us: u64,
    /// When it was read, on the wait clock.
    read_mono_ns: u64,
}

impl ServerTime {
    /// A reading of `time_us` at `read_mono_ns` on the wait clock.
    #[must_use]
    pub fn new(time_us: u64, read_mono_ns: u64) -> ServerTime {
        ServerTime { time_us, read_mono_ns }
    }

    /// The node's time now, in microseconds since 1970.
    #[must_use]
    pub fn at(self, now: Now) -> Option<u64> {
        let passed_us = now.mono_ns.saturating_sub(self.read_mono_ns) / 1_000;
        (self.time_us != 0).then(|| self.time_us.saturating_add(passed_us))
    }
}
