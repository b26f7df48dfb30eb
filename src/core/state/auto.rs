//! What a lease remembers that extends itself.

use crate::core::operation::OpKey;
use crate::core::time::{NS_PER_MS, Now};

/// A lease that extends itself.
#[derive(Debug, Clone, Hash)]
pub struct Auto {
    /// Life asked for each time.
    pub ttl_ms: u64,
    /// No extension reaches beyond this moment of the wait clock.
    pub hold_until_mono_ns: Option<u64>,
    /// When the next extension is due, on the wait clock.
    pub next_mono_ns: u64,
    /// The extension under way.
    pub op: Option<OpKey>,
}

impl Auto {
    /// For a lease acquired now.
    #[must_use]
    pub fn new(ttl_ms: u64, max_hold_ms: Option<u64>, now: Now) -> Auto {
        let hold_until_mono_ns = max_hold_ms.map(|max_hold_ms| now.mono_after_ms(max_hold_ms));
        Auto { ttl_ms, hold_until_mono_ns, next_mono_ns: u64::MAX, op: None }
    }

    /// The life to ask for now: the ttl, but not beyond the longest hold. `None`: that is reached.
    #[must_use]
    pub fn ttl_now_ms(&self, now: Now) -> Option<u64> {
        let left_ns = self.hold_until_mono_ns.map_or(u64::MAX, |until| until.saturating_sub(now.mono_ns));
        let ttl_ms = self.ttl_ms.min(left_ns / NS_PER_MS);
        (ttl_ms > 0).then_some(ttl_ms)
    }
}
