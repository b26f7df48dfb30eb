//! The moments at which operations want to be woken, in order.

use std::collections::BTreeSet;

use super::operation::OpKey;

/// At most one wake-up per operation, on the wait clock.
#[derive(Debug, Default)]
pub struct Timers(BTreeSet<(u64, OpKey)>);

impl Timers {
    /// Wakes the operation at `mono_ns`. The caller remembers that moment to be able to take it back.
    pub fn set(&mut self, mono_ns: u64, op: OpKey) {
        self.0.insert((mono_ns, op));
    }

    /// Takes a wake-up back.
    pub fn clear(&mut self, mono_ns: u64, op: OpKey) {
        self.0.remove(&(mono_ns, op));
    }

    /// The next operation that is due at `mono_ns`, its wake-up taken out.
    pub fn pop_due(&mut self, mono_ns: u64) -> Option<OpKey> {
        let &(due, op) = self.0.first()?;
        (due <= mono_ns).then(|| {
            self.0.remove(&(due, op));
            op
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next wake-up is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.0.first().map(|&(due, _)| due)
    }
}
