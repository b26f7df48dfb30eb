//! The library's own state machine under virtual time, against model servers, with faults.
//!
//! Every schedule follows from one number. `SEEDS=n` says how many are played, `SEED_BASE=n` where they begin, and
//! `SIM_SEED=n` replays one of them and tells its trace, event by event.

mod checks;
mod client;
mod clock;
mod driver;
mod faults;
mod knobs;
#[cfg(feature = "mutants")]
mod mutants;
mod net;
mod node;
mod rng;
mod runner;
mod trace;
mod traffic;
mod work;
mod world;

use knobs::{Mode, Setup};
use runner::{number_from_env, play_all, replay};

/// In the `sim` profile, `make sim` plays far more.
const SEEDS: u64 = 1_000;

#[test]
fn no_schedule_breaks_a_promise() {
    if let Some(seed) = number_from_env("SIM_SEED") {
        return replay(seed, Setup::PROMISE);
    }
    let outcome = play_all(number_from_env("SEEDS").unwrap_or(SEEDS), Setup::PROMISE);
    println!("{outcome}");
    assert!(outcome.failure.is_none(), "a promise was broken");
    assert!(outcome.total.locked > 0 && outcome.total.extended > 0 && outcome.total.unlocked > 0, "nothing happened");
}

#[test]
fn servers_that_lose_state_break_promises_and_the_checks_see_it() {
    let setup = Setup { mode: Mode::Beyond, ..Setup::PROMISE };
    let outcome = play_all(SEEDS, setup);
    assert!(outcome.failure.is_some(), "the checks are blind");
}
