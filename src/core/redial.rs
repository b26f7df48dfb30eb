//! When a node is dialled again: at once after a connection that was of use or has lasted, else after pauses that double,
//! and never sooner than a while after the last dial.

use super::time::{NS_PER_MS, Now};

/// Pause after the first failed dial, doubled after each further one up to the maximum; and the shortest time from one
/// dial to the next.
pub const REST_MIN_MS: u64 = 10;
const REST_MAX_MS: u64 = 1_000;

/// A connection that lived longer than this was worth it, whatever came over it.
const STEADY_NS: u64 = 1_000 * NS_PER_MS;

/// The history of one node's connections, as far as it matters here. All moments are on the wait clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redial {
    failures: u32,
    dialled_mono_ns: u64,
    /// Since when the connection has been up.
    up_mono_ns: Option<u64>,
    was_of_use: bool,
}

impl Redial {
    /// A dial begins.
    pub fn dialled(&mut self, now: Now) {
        self.dialled_mono_ns = now.mono_ns;
        self.up_mono_ns = None;
        self.was_of_use = false;
    }

    /// The connection is ready for requests since then.
    pub fn is_up(&mut self, since_mono_ns: u64) {
        self.up_mono_ns = Some(since_mono_ns);
    }

    /// It has answered a request: whoever cuts it, the server is not what fails.
    pub fn was_of_use(&mut self) {
        self.was_of_use = true;
    }

    /// The connection is over, or could not be made. When to dial again.
    #[must_use]
    pub fn ended(&mut self, now: Now) -> u64 {
        let was_worth_it =
            self.up_mono_ns.is_some_and(|since| self.was_of_use || now.mono_ns.saturating_sub(since) >= STEADY_NS);
        self.failures = if was_worth_it { 0 } else { self.failures.saturating_add(1) };
        let rest_ms = match self.failures {
            0 => 0,
            failures => REST_MIN_MS.saturating_mul(1 << (failures - 1).min(10)).min(REST_MAX_MS),
        };
        self.not_before(now.mono_after_ms(rest_ms))
    }

    /// When to dial again where the failure does not count, because the next dial will do something else.
    #[must_use]
    pub fn again(&self, now: Now) -> u64 {
        self.not_before(now.mono_after_ms(REST_MIN_MS))
    }

    /// How many dials in a row have failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn not_before(&self, mono_ns: u64) -> u64 {
        mono_ns.max(self.dialled_mono_ns.saturating_add(REST_MIN_MS * NS_PER_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Now {
        Now { mono_ns: ms * NS_PER_MS, lease_ns: ms * NS_PER_MS }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_over_after_a_connection_that_was_of_use() {
        let mut redial = Redial::default();
        let mut now_ms = 0;
        for expected_ms in [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000] {
            redial.dialled(at_ms(now_ms));
            assert_eq!(redial.ended(at_ms(now_ms)), (now_ms + expected_ms) * NS_PER_MS);
            now_ms += expected_ms;
        }
        redial.dialled(at_ms(now_ms));
        redial.is_up(now_ms * NS_PER_MS);
        redial.was_of_use();
        assert_eq!(redial.ended(at_ms(now_ms + 500)), (now_ms + 500) * NS_PER_MS);
        assert_eq!(redial.failures(), 0);
    }

    #[test]
    fn a_server_that_closes_again_and_again_is_not_dialled_in_a_loop_however_useful_it_was() {
        let mut redial = Redial::default();
        redial.dialled(at_ms(100));
        redial.is_up(100 * NS_PER_MS);
        redial.was_of_use();
        assert_eq!(redial.ended(at_ms(101)), 110 * NS_PER_MS);
        assert_eq!(redial.again(at_ms(105)), 115 * NS_PER_MS);
    }

    #[test]
    fn a_connection_that_lasted_counts_as_one_that_was_of_use_and_a_brief_one_does_not() {
        let mut redial = Redial::default();
        redial.dialled(at_ms(0));
        redial.is_up(0);
        assert_eq!(redial.ended(at_ms(1_000)), 1_000 * NS_PER_MS);
        redial.dialled(at_ms(1_000));
        redial.is_up(1_000 * NS_PER_MS);
        assert_eq!(redial.ended(at_ms(1_999)), 2_009 * NS_PER_MS);
    }
}
