//! When two machines are in the same state: what a search through all states compares.

use std::hash::{Hash, Hasher};

use super::Machine;

/// Everything that has a say in what the machine will do, for one configuration. Not the counters, which nobody reads
/// but their reader; nor where the operations and leases that are over have stood.
impl Hash for Machine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Machine {
            config: _,
            quorum: _,
            nodes,
            ops,
            leases,
            resources,
            timers,
            runnable,
            extended_alone,
            stats: _,
            highest_fence,
            largest_ttl_ms,
            reuses_tokens,
            out,
            lease_ahead_ns,
            leapt_mono_ns,
        } = self;
        (ops.len(), leases.len()).hash(state);
        ops.iter().for_each(|op| op.hash(state));
        leases.iter().for_each(|lease| lease.hash(state));
        (nodes, resources, timers, runnable, extended_alone, out).hash(state);
        (highest_fence, largest_ttl_ms, reuses_tokens, lease_ahead_ns, leapt_mono_ns).hash(state);
    }
}
