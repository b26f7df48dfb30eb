//! Time as the core sees it: two readings taken together, passed in by whoever drives the machine.
//!
//! Leases and waits are measured on different clocks. A lease must count every moment in which the servers may have
//! counted, also a suspended laptop or a paused virtual machine; a wait must not end because somebody set the wall clock.

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;

/// One reading of both clocks, in nanoseconds since an origin that the driver chose and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Now {
    /// `CLOCK_BOOTTIME`: deadlines of waits, replies and back-offs.
    pub mono_ns: u64,
    /// Lease time: never slower than `CLOCK_BOOTTIME` nor than forward steps of `CLOCK_REALTIME`.
    pub lease_ns: u64,
}

impl Now {
    /// The moment on the wait clock at which lease time will have reached `lease_ns`, if no clock is stepped.
    #[must_use]
    pub fn mono_at_lease(&self, lease_ns: u64) -> u64 {
        self.mono_ns.saturating_add(lease_ns.saturating_sub(self.lease_ns))
    }

    /// The moment `ms` milliseconds from now on the wait clock; far too much means never.
    #[must_use]
    pub fn mono_after_ms(&self, ms: u64) -> u64 {
        self.mono_ns.saturating_add(ms.saturating_mul(NS_PER_MS))
    }
}
