//! Automatic extension: at a third of the validity, again and again, until the lease is over or held for long enough.

use super::{Context, Machine};
use crate::core::operation::{LeaseKey, LeaseState, Output};
use crate::core::report::Failure;
use crate::core::state::lease::{Lease, Stage};
use crate::core::state::timers::Sleeper;
use crate::core::time::{NS_PER_MS, Now};

/// Extensions of one lease are at least this far apart.
const EXTENSION_PAUSE_MIN_NS: u64 = 10 * NS_PER_MS;

impl Machine {
    /// Whether there are leases that must be minded although nobody waits for anything.
    #[must_use]
    pub fn has_leases_that_extend(&self) -> bool {
        let extends = |lease: &Lease| lease.auto.is_some() && lease.stage == Stage::Acquired(LeaseState::Held);
        self.leases.values().any(extends)
    }

    /// Plans the next extension after an acquisition, a success or a failure: at a third of what is left. After
    /// failures the tries come closer and closer together towards the deadline.
    pub(super) fn plan_extension(&mut self, now: Now, lease_key: LeaseKey) {
        let quorum = self.quorum;
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let left_ns = lease.valid_until_ns(quorum).saturating_sub(now.lease_ns);
        if let Some(auto) = &mut lease.auto {
            auto.next_mono_ns = now.mono_ns.saturating_add((left_ns / 3).max(EXTENSION_PAUSE_MIN_NS));
        }
        self.schedule_lease(now, lease_key);
    }

    /// Sets the lease's timer: the next extension, or its end for those who want to be told.
    pub(super) fn schedule_lease(&mut self, now: Now, lease_key: LeaseKey) {
        let quorum = self.quorum;
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let due = if lease.stage == Stage::Acquired(LeaseState::Held) { lease.next_event(quorum, now) } else { None };
        self.timers.set(Sleeper::Lease(lease_key), due);
    }

    /// The lease's timer fired.
    pub(super) fn lease_woken(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) {
        let quorum = self.quorum;
        let Some(lease) = self.leases.get_mut(lease_key) else { return };
        let is_extension_due = lease.is_held(quorum, cx.now)
            && lease.auto.as_ref().is_some_and(|auto| auto.op.is_none() && auto.next_mono_ns <= cx.now.mono_ns);
        if is_extension_due {
            // Planned before it is tried: one that fails at once must not be due again at the same moment.
            self.plan_extension(cx.now, lease_key);
            self.extend_by_itself(cx, lease_key);
        }
        if self.leases.get(lease_key).is_some_and(|lease| lease.arm_at_mono_ns.is_some_and(|at| at <= cx.now.mono_ns)) {
            self.arm_lease(cx, lease_key);
        }
        self.publish(cx.now, lease_key);
    }

    fn extend_by_itself(&mut self, cx: &mut Context<'_>, lease_key: LeaseKey) {
        let Some(auto) = self.leases.get(lease_key).and_then(|lease| lease.auto.as_ref()) else { return };
        match auto.ttl_now_ms(cx.now) {
            Some(ttl_ms) => {
                let op = self.submit_extend(cx, lease_key, ttl_ms, true);
                if self.ops.contains_key(op)
                    && let Some(auto) = self.leases.get_mut(lease_key).and_then(|lease| lease.auto.as_mut())
                {
                    auto.op = Some(op);
                }
            }
            None => {
                if let Some(lease) = self.leases.get_mut(lease_key) {
                    lease.auto = None;
                }
            }
        }
    }

    /// An extension that nobody asked for ended. The owner learns it as an event, not as a completion.
    pub(super) fn extended_by_itself(&mut self, now: Now, lease_key: LeaseKey, result: Result<(), Failure>) {
        if let Some(auto) = self.leases.get_mut(lease_key).and_then(|lease| lease.auto.as_mut()) {
            auto.op = None;
        }
        self.emit(Output::Extended { lease: lease_key, result });
        self.plan_extension(now, lease_key);
    }
}
