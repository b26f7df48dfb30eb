//! The moments at which operations and leases want to be woken, in order.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use slotmap::SecondaryMap;

use crate::core::operation::{LeaseKey, OpKey};

/// Who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sleeper {
    /// An operation.
    Op(OpKey),
    /// A lease: to be extended, or over.
    Lease(LeaseKey),
}

/// At most one wake-up per sleeper, on the wait clock.
#[derive(Debug, Clone, Default)]
pub struct Timers {
    due: BTreeSet<(u64, Sleeper)>,
    of_ops: SecondaryMap<OpKey, u64>,
    of_leases: SecondaryMap<LeaseKey, u64>,
}

impl Timers {
    /// Moves a wake-up from where it was to where it shall be; `None`: there is none.
    pub fn set(&mut self, sleeper: Sleeper, due_mono_ns: Option<u64>) {
        let earlier = self.of(sleeper);
        if earlier == due_mono_ns {
            return;
        }
        if let Some(earlier) = earlier {
            self.due.remove(&(earlier, sleeper));
        }
        if let Some(due) = due_mono_ns {
            self.due.insert((due, sleeper));
        }
        self.note(sleeper, due_mono_ns);
    }

    /// When this sleeper is woken.
    #[must_use]
    pub fn of(&self, sleeper: Sleeper) -> Option<u64> {
        match sleeper {
            Sleeper::Op(op) => self.of_ops.get(op).copied(),
            Sleeper::Lease(lease) => self.of_leases.get(lease).copied(),
        }
    }

    /// The next sleeper that is due at `mono_ns`, its wake-up taken out.
    pub fn pop_due(&mut self, mono_ns: u64) -> Option<Sleeper> {
        let &(due, sleeper) = self.due.first()?;
        (due <= mono_ns).then(|| {
            self.due.remove(&(due, sleeper));
            self.note(sleeper, None);
            sleeper
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// When the next wake-up is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.due.first().map(|&(due, _)| due)
    }

    fn note(&mut self, sleeper: Sleeper, due_mono_ns: Option<u64>) {
        match (sleeper, due_mono_ns) {
            (Sleeper::Op(op), Some(due)) => drop(self.of_ops.insert(op, due)),
            (Sleeper::Op(op), None) => drop(self.of_ops.remove(op)),
            (Sleeper::Lease(lease), Some(due)) => drop(self.of_leases.insert(lease, due)),
            (Sleeper::Lease(lease), None) => drop(self.of_leases.remove(lease)),
        }
    }
}

/// The order is all there is; the maps only find a place in it.
impl Hash for Timers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.due.hash(state);
    }
}
