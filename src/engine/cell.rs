//! The state of a lease where its owner reads it without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::core::operation::{LeaseState, LeaseView};

/// Values of [`LeaseCell::valid_until`] that are no moments.
const LOST: u64 = 0;
const RELEASED: u64 = 1;

/// The state of a lease where its owner can read it without a lock. One word decides: what an owner has seen as over
/// can never be made valid again by an extension that was confirmed at the same time.
#[derive(Debug)]
pub(crate) struct LeaseCell {
    valid_until: AtomicU64,
    node_count_held: AtomicUsize,
}

impl LeaseCell {
    pub(crate) fn new(view: LeaseView) -> LeaseCell {
        LeaseCell {
            valid_until: AtomicU64::new(view.valid_until_ns),
            node_count_held: AtomicUsize::new(view.node_count_held),
        }
    }

    /// Takes over what the core says. False when the owner has seen the lease as over, and the core has not.
    pub(crate) fn update(&self, view: LeaseView) -> bool {
        self.node_count_held.store(view.node_count_held, Ordering::Relaxed);
        let word = match view.state {
            LeaseState::Held => view.valid_until_ns,
            LeaseState::Lost => LOST,
            LeaseState::Released => RELEASED,
        };
        let step = |current: u64| (current != LOST && current != RELEASED).then_some(word);
        let updated = self.valid_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        updated.is_ok() || view.state != LeaseState::Held
    }

    /// The moment until which the lease is valid, if it is at `lease_ns`; noticing that it is over makes it so.
    pub(super) fn valid_until(&self, lease_ns: u64) -> Result<u64, LeaseState> {
        loop {
            match self.valid_until.load(Ordering::Acquire) {
                LOST => return Err(LeaseState::Lost),
                RELEASED => return Err(LeaseState::Released),
                valid_until if valid_until > lease_ns => return Ok(valid_until),
                expired => {
                    let seen = self.valid_until.compare_exchange(expired, LOST, Ordering::AcqRel, Ordering::Acquire);
                    if seen.is_ok() {
                        return Err(LeaseState::Lost);
                    }
                }
            }
        }
    }

    /// On how many nodes the lease was known to be held when it last changed.
    pub(super) fn node_count_held(&self) -> usize {
        self.node_count_held.load(Ordering::Relaxed)
    }
}
