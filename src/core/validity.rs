//! Until when a lease may be used: one formula for early return, stragglers, extension and the loss of nodes.
//!
//! For every node there is a lower bound of the moment at which the key with our token may be gone there. A lease is
//! valid until the q-th largest of these bounds: up to then at least q nodes still hold it, so nobody else can have q.

use super::mutant::{self, Mutant};
use super::request::{MAX_NODES, NodeId};
use super::time::NS_PER_MS;

/// Redis rounds expiry to milliseconds, at the start and at the end of a key's life.
const EXPIRY_GRANULARITY_NS: u64 = 2 * NS_PER_MS;

const PPM: u128 = 1_000_000;

/// The earliest moment (lease time) at which a key may expire that was given `ttl_ms` by a request queued at
/// `asked_lease_ns`, where the server's clock may run faster than ours by `drift_ppm`.
#[must_use]
pub fn lower_bound(asked_lease_ns: u64, ttl_ms: u64, drift_ppm: u64) -> u64 {
    let ttl_ns = u128::from(ttl_ms) * u128::from(NS_PER_MS);
    let drift_ppm = if mutant::is(Mutant::NoDrift) { 0 } else { drift_ppm };
    let certain_ns = ttl_ns.saturating_mul(PPM.saturating_sub(u128::from(drift_ppm))) / PPM;
    let certain_ns = u64::try_from(certain_ns).unwrap_or(u64::MAX);
    let granularity_ns = if mutant::is(Mutant::NoGranularity) { 0 } else { EXPIRY_GRANULARITY_NS };
    asked_lease_ns.saturating_add(certain_ns.saturating_sub(granularity_ns))
}

/// The latest moment (lease time) at which such a key can still exist, if the request had been executed by
/// `done_lease_ns` and the server's clock runs slower than ours by `drift_ppm`.
#[must_use]
pub fn upper_bound(done_lease_ns: u64, ttl_ms: u64, drift_ppm: u64) -> u64 {
    let ttl_ns = u128::from(ttl_ms) * u128::from(NS_PER_MS);
    let possible_ns = ttl_ns.saturating_add(ttl_ns.saturating_mul(u128::from(drift_ppm)) / PPM);
    let possible_ns = u64::try_from(possible_ns).unwrap_or(u64::MAX);
    done_lease_ns.saturating_add(possible_ns).saturating_add(EXPIRY_GRANULARITY_NS)
}

/// The bound of every node; 0 stands for "never confirmed, or known to be lost" (minus infinity).
#[derive(Debug, Clone, Default, Hash)]
pub struct Bounds([u64; MAX_NODES]);

impl Bounds {
    /// The node confirmed that it keeps the key at least until `bound_ns`. Bounds only rise by confirmation: an
    /// extension never shortens a key's life.
    pub fn raise(&mut self, node: NodeId, bound_ns: u64) {
        self.0[node] = self.0[node].max(bound_ns);
    }

    /// The node no longer has the key, or nothing can be said any more. True when something could be said before.
    pub fn clear(&mut self, node: NodeId) -> bool {
        if mutant::is(Mutant::LostNodeCounts) {
            return false;
        }
        std::mem::take(&mut self.0[node]) > 0
    }

    /// Whether the node has confirmed and is not known to have lost the key.
    #[must_use]
    pub fn holds(&self, node: NodeId) -> bool {
        self.0[node] > 0
    }

    /// How many nodes hold the key at `lease_ns`.
    #[must_use]
    pub fn count_after(&self, lease_ns: u64) -> usize {
        self.0.iter().filter(|&&bound| bound > lease_ns).count()
    }

    /// The q-th largest bound: until then `quorum` nodes hold the key. 0 when fewer than `quorum` confirmed.
    #[must_use]
    pub fn valid_until(&self, quorum: usize) -> u64 {
        let mut sorted = self.0;
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        if mutant::is(Mutant::ValidAsBestNode) { sorted[0] } else { sorted[quorum - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_valid_until_the_qth_largest_bound() {
        let mut bounds = Bounds::default();
        for (node, bound) in [(0, 50), (1, 40), (2, 30)] {
            bounds.raise(node, bound);
        }
        assert_eq!(bounds.valid_until(3), 30);
        bounds.raise(3, 60);
        assert_eq!(bounds.valid_until(3), 40, "a straggler lengthens the lease");
        bounds.clear(0);
        assert_eq!(bounds.valid_until(3), 30, "a lost node shortens it");
        bounds.clear(1);
        assert_eq!(bounds.valid_until(3), 0, "fewer than q bounds: lost now");
    }

    #[test]
    fn a_bound_never_falls_by_confirmation() {
        let mut bounds = Bounds::default();
        bounds.raise(0, 50);
        bounds.raise(0, 20);
        assert_eq!(bounds.valid_until(1), 50);
    }

    #[test]
    fn the_lower_bound_deducts_drift_and_granularity() {
        assert_eq!(lower_bound(7, 10_000, 10_000), 7 + 9_900 * NS_PER_MS - 2 * NS_PER_MS);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(lower_bound(5, 1, 10_000), 5, "a ttl of 1 ms leaves nothing");
        assert_eq!(lower_bound(5, 0, 0), 5);
        assert_eq!(lower_bound(5, 1_000, 2_000_000), 5, "drift above 100 % leaves nothing");
        assert_eq!(lower_bound(u64::MAX, u64::MAX, 0), u64::MAX);
        assert_eq!(upper_bound(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn the_upper_bound_is_above_the_lower_bound() {
        for ttl_ms in [0, 1, 2, 1_000, 86_400_000] {
            assert!(upper_bound(1, ttl_ms, 10_000) > lower_bound(1, ttl_ms, 10_000));
        }
    }
}
