//! The moments at which operations and leases want to be woken, in order.

use std::collections::BTreeSet;

use super::operation::{LeaseKey, OpKey};

/// Who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sleeper {
    /// An operation.
    Op(OpKey),
    /// A lease: to be extended, or over.
    Lease(LeaseKey),
}

/// At most one wake-up per sleeper, on the wait clock. The sleeper remembers the moment to be able to take it back.
#[derive(Debug, Clone, Default, Hash)]
pub struct Timers(BTreeSet<(u64, Sleeper)>);

impl Timers {
    /// Moves a wake-up from where it was to where it shall be.
    pub fn set(&mut self, sleeper: Sleeper, remembered: &mut Option<u64>, due_mono_ns: Option<u64>) {
        if *remembered == due_mono_ns {
            return;
        }
        if let Some(earlier) = remembered.take() {
            self.0.remove(&(earlier, sleeper));
        }
        if let Some(due) = due_mono_ns {
            self.0.insert((due, sleeper));
        }
        *remembered = due_mono_ns;
    }

    /// The next sleeper that is due at `mono_ns`, its wake-up taken out.
    pub fn pop_due(&mut self, mono_ns: u64) -> Option<Sleeper> {
        let &(due, sleeper) = self.0.first()?;
        (due <= mono_ns).then(|| {
            self.0.remove(&(due, sleeper));
            sleeper
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
