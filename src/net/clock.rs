//! Lease time: how far the servers' clocks may have come, seen from here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::time::Now;

use super::sys;

/// The wall clock must fall back by more than this before it counts as set back. Reading noise needs no allowance
/// (see [`State::observe`]); this keeps tiny corrections from moving the reference.
const BACKWARD_NS: i64 = 1_000_000;

/// A clock that runs like `CLOCK_BOOTTIME` plus every forward step that `CLOCK_REALTIME` made against it.
///
/// Suspending a machine is counted by `CLOCK_BOOTTIME`. A paused and resumed virtual machine, or a process restored by
/// CRIU (whose time namespace continues boot time where it was dumped), finds boot time going on as if nothing had
/// been, while the servers let keys expire; what jumps forward then is the wall clock, once NTP or the hypervisor has
/// set it. So a forward step counts against every lease. If a person moved the wall clock, leases end early, which is
/// safe; a backward step takes nothing back.
#[derive(Debug)]
pub struct LeaseClock {
    // Held across the readings: one that is applied after a later one would look like a step back.
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// A lower bound of realtime − boottime, the largest seen since the wall clock was last set back.
    reference_ns: i64,
    /// The sum of all forward steps.
    steps_ns: u64,
}

/// The wall clock, read between two readings of boot time.
#[derive(Debug, Clone, Copy)]
struct Reading {
    boot_before_ns: u64,
    real_ns: u64,
    boot_after_ns: u64,
}

impl LeaseClock {
    /// A clock that counts steps from now on.
    #[must_use]
    pub fn new() -> LeaseClock {
        LeaseClock { state: Mutex::new(State::new(read())) }
    }

    /// Reads both clocks of the core.
    pub fn now(&self) -> Now {
        let mut state = self.state();
        let reading = read();
        state.observe(reading);
        Now { mono_ns: reading.boot_after_ns, lease_ns: reading.boot_after_ns.saturating_add(state.steps_ns) }
    }

    /// The moment on `CLOCK_BOOTTIME` at which lease time is `lease_ns`, as far as steps are known by now.
    pub fn boottime_of_lease(&self, lease_ns: u64) -> u64 {
        lease_ns.saturating_sub(self.state().steps_ns)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LeaseClock {
    fn default() -> LeaseClock {
        LeaseClock::new()
    }
}

fn read() -> Reading {
    Reading { boot_before_ns: sys::boottime_ns(), real_ns: sys::realtime_ns(), boot_after_ns: sys::boottime_ns() }
}

impl State {
    fn new(reading: Reading) -> State {
        State { reference_ns: difference(reading.real_ns, reading.boot_after_ns), steps_ns: 0 }
    }

    /// Between two readings a thread may lose its processor for milliseconds, so realtime − boottime is only known to
    /// lie in an interval. A step forward counts as far as the whole interval lies above the reference, one back only
    /// if all of it lies below: noise never accumulates, however busy the machine.
    fn observe(&mut self, reading: Reading) {
        let at_least = difference(reading.real_ns, reading.boot_after_ns);
        let at_most = difference(reading.real_ns, reading.boot_before_ns);
        if at_least > self.reference_ns {
            self.steps_ns = self.steps_ns.saturating_add(at_least.abs_diff(self.reference_ns));
            self.reference_ns = at_least;
        } else if at_most < self.reference_ns.saturating_sub(BACKWARD_NS) {
            // Otherwise a wall clock set back by an hour would hide a pause of less than an hour.
            self.reference_ns = at_least;
        }
    }
}

fn difference(real_ns: u64, boot_ns: u64) -> i64 {
    let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    signed(real_ns).saturating_sub(signed(boot_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;
    const EPOCH: u64 = 1_800_000_000 * S;

    /// Boot time, and the wall clock relative to it, without noise.
    fn at(boot_ns: u64, offset_ns: u64) -> Reading {
        Reading { boot_before_ns: boot_ns, real_ns: boot_ns + offset_ns, boot_after_ns: boot_ns }
    }

    #[test]
    fn a_forward_step_of_the_wall_clock_counts_once() {
        let mut state = State::new(at(S, EPOCH));
        state.observe(at(2 * S, EPOCH + 5 * S));
        state.observe(at(3 * S, EPOCH + 5 * S));
        assert_eq!(state.steps_ns, 5 * S);
    }

    #[test]
    fn a_backward_step_takes_nothing_back_and_hides_no_later_pause() {
        let mut state = State::new(at(S, EPOCH));
        state.observe(at(2 * S, EPOCH + 5 * S));
        state.observe(at(3 * S, EPOCH - 3_600 * S));
        assert_eq!(state.steps_ns, 5 * S);
        state.observe(at(4 * S, EPOCH - 3_600 * S + 7 * S));
        assert_eq!(state.steps_ns, 12 * S);
    }

    #[test]
    fn losing_the_processor_between_two_readings_never_accumulates() {
        let mut state = State::new(at(S, EPOCH));
        for round in 0..1_000 {
            let boot_ns = S + round * 100 * MS;
            let (early, late) = (boot_ns + 30 * MS, boot_ns + 60 * MS);
            let preempted_first = Reading { boot_before_ns: boot_ns, real_ns: late + EPOCH, boot_after_ns: late + 1 };
            let preempted_last = Reading { boot_before_ns: early - 1, real_ns: early + EPOCH, boot_after_ns: late };
            state.observe(if round % 2 == 0 { preempted_first } else { preempted_last });
            assert_eq!(state.steps_ns, 0);
        }
    }

    #[test]
    fn lease_time_converts_to_boot_time_and_back() {
        let clock = LeaseClock::new();
        clock.state().steps_ns = 5 * S;
        let now = clock.now();
        assert!(now.lease_ns >= now.mono_ns + 5 * S);
        assert_eq!(clock.boottime_of_lease(now.lease_ns), now.mono_ns);
    }

    #[test]
    fn the_real_clocks_make_no_steps_while_nobody_sets_them() {
        let clock = LeaseClock::new();
        let first = clock.now();
        for _ in 0..10_000 {
            clock.now();
        }
        let last = clock.now();
        assert!(last.mono_ns >= first.mono_ns);
        // An NTP correction may fall into the test; noise of 10 000 readings would be far above this.
        assert!((last.lease_ns - last.mono_ns) - (first.lease_ns - first.mono_ns) < MS);
    }
}
